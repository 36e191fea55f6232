/**
 * A world of devices around {@link MapSessions}: a clock that is moved by hand, readers that decode what they get with
 * the client's own decoder, and what each of them should know in the end, worked out in the simplest way.
 */
import { formatPrefix } from '../../lib/base/address.ts';
import { readU32LE, toHex, utf8Decode } from '../../lib/base/bytes.ts';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import type { WireMapResponse } from '../../lib/control/message.ts';
import type { MapSessionLimits } from '../../lib/coordinator/map-scheduler.ts';
import { type MapSessionEvent, MapSessions } from '../../lib/coordinator/map-sessions.ts';
import type { DeviceRecord, TailnetRecord, UserRecord } from '../../lib/coordinator/model.ts';
import type { WireDerpMap } from '../../lib/derp/map.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import {
  filterAllows,
  type NaiveDevice,
  type NaivePolicy,
  naiveAttributes,
  naiveMay,
  naiveSees,
  packetsTo,
  routesOf,
  textOf,
} from './map-naive.ts';

export const START_UNIX_MS = 1_767_323_045_000;

export const DERP_MAP: WireDerpMap = {
  Regions: {
    '900': {
      RegionID: 900,
      RegionCode: 'here',
      RegionName: 'Here',
      Nodes: [{ Name: '900a', RegionID: 900, HostName: 'relay.example', IPv4: '192.0.2.1', STUNPort: 3478 }],
    },
  },
};

/** Random numbers that a seed decides. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 0x1_0000_0000;
  };
}

export function tailnet(id: string): TailnetRecord {
  return { id, createdMs: START_UNIX_MS, requiresApproval: false, keyLifeMs: 0 };
}

export function user(id: number, tailnetId = 'one', name = `user${id}`): UserRecord {
  return { tailnet: tailnetId, id, loginName: name, displayName: name, createdMs: START_UNIX_MS };
}

/** 64 hex digits that a number decides. */
export function hexKey(number: number): string {
  return (number + 1).toString(16).padStart(8, '0').repeat(8);
}

/** A device that is in order: approved, reachable, never expiring. */
export function device(id: number, changes: Partial<DeviceRecord> = {}): DeviceRecord {
  return {
    tailnet: 'one',
    id,
    machineKey: `mkey:${hexKey(id + 3_000_000)}`,
    nodeKey: `nodekey:${hexKey(id)}`,
    discoKey: `discokey:${hexKey(id + 1_000_000)}`,
    user: 1,
    name: `d${id}`,
    isNameFixed: false,
    hostname: `host${id}`,
    addresses: [`100.64.${(id >> 8) & 255}.${id & 255}`, `fd7a:115c:a1e0::1:${(id + 1).toString(16)}`],
    createdMs: START_UNIX_MS,
    keyExpiryMs: 0,
    isApproved: true,
    isEphemeral: false,
    tags: [],
    authKey: '',
    capability: 113,
    os: 'linux',
    version: '1.0',
    services: [{ Proto: 'peerapi4', Port: 4000 }],
    endpoints: [`192.0.2.${id & 255}:41641`],
    homeRegion: 900,
    lastSeenMs: 0,
    keySignature: '',
    advertisedRoutes: [],
    approvedRoutes: [],
    ...changes,
  };
}

/** One reader: takes bytes, keeps whole messages, decodes them. */
export class Reader {
  readonly decoder = new MapDecoder();
  readonly messages: WireMapResponse[] = [];
  /** Everything that came, as text. */
  readonly texts: string[] = [];
  /** Length of each frame's payload. */
  readonly frameBytes: number[] = [];
  end: string | undefined = undefined;
  #pending = new Uint8Array(0);
  readonly isSmall: boolean;
  readonly #isZstd: boolean;

  constructor(isZstd = false, isSmall = false) {
    this.isSmall = isSmall;
    this.#isZstd = isZstd;
    this.decoder.startStream();
  }

  take(bytes: Uint8Array): void {
    const pending = new Uint8Array(this.#pending.length + bytes.length);
    pending.set(this.#pending);
    pending.set(bytes, this.#pending.length);
    let at = 0;
    while (pending.length - at >= 4 && pending.length - at - 4 >= readU32LE(pending, at)) {
      const end = at + 4 + readU32LE(pending, at);
      const content = this.#isZstd ? unzstd(pending.subarray(at + 4, end)) : pending.slice(at + 4, end);
      this.frameBytes.push(end - at - 4);
      this.#decode(content);
      at = end;
    }
    this.#pending = pending.slice(at);
  }

  get last(): WireMapResponse {
    return this.messages[this.messages.length - 1]!;
  }

  #decode(content: Uint8Array): void {
    const text = utf8Decode(content);
    this.texts.push(text);
    this.messages.push(JSON.parse(text) as WireMapResponse);
    const framed = new Uint8Array(content.length + 4);
    new DataView(framed.buffer).setUint32(0, content.length, true);
    framed.set(content, 4);
    if (this.decoder.handleBytes(framed, 0, framed.length) !== 0) throw this.decoder.error!;
    const { netmap } = this.decoder;
    const lost = netmap.malformed + netmap.overLimit + netmap.conflicting;
    if (lost > 0) throw new Error(`the client left ${lost} values out of ${text}`);
  }
}

/** Content of a Zstandard frame of stored blocks; throws for anything else. */
export function unzstd(frame: Uint8Array): Uint8Array {
  if (readU32LE(frame, 0) !== 0xfd2fb528) throw new Error('no magic');
  const descriptor = frame[4]!;
  const sizes: Record<number, () => [number, number]> = {
    32: () => [frame[5]!, 6],
    96: () => [frame[5]! + 256 * frame[6]! + 256, 7],
    160: () => [readU32LE(frame, 5), 9],
  };
  let [length, at] = sizes[descriptor]!();
  const out = new Uint8Array(length);
  for (let isLast = false; !isLast; ) {
    const header = frame[at]! + 256 * frame[at + 1]! + 65_536 * frame[at + 2]!;
    isLast = (header & 1) === 1;
    if ((header & 6) !== 0) throw new Error('not a stored block');
    const size = header >>> 3;
    if (size > 131_072 || size > length) throw new Error('a block that is too large');
    out.set(frame.subarray(at + 3, at + 3 + size), out.length - length);
    at += 3 + size;
    length -= size;
  }
  if (length !== 0 || at !== frame.length) throw new Error('the frame has another length');
  return out;
}

/** The world; see the top of the file. */
export class World {
  nowMs = 1000;
  unixMs = START_UNIX_MS;
  readonly sessions: MapSessions;
  readonly records = new Map<number, DeviceRecord>();
  readonly users = new Map<number, UserRecord>();
  readonly readers = new Map<number, Reader>();
  /** Sessions of readers that take nothing. */
  readonly frozen = new Set<number>();
  readonly events: MapSessionEvent[] = [];
  /** Bytes that a reader is given at once. */
  pieceBytes = 65_536;
  /** The policy of tailnet `one`; undefined: everything is allowed. */
  policy: NaivePolicy | undefined = undefined;
  #nextId = 1;

  constructor(limits: Partial<MapSessionLimits> = {}, random: () => number = seeded(7)) {
    const fill = (out: Uint8Array) => out.forEach((_, i) => void (out[i] = random() * 256));
    this.sessions = new MapSessions({ random: fill, limits, derpMap: DERP_MAP });
    this.addTailnet('one', [user(1)]);
  }

  addTailnet(id: string, users: UserRecord[]): void {
    this.sessions.addTailnet(tailnet(id), users);
    for (const each of users) this.users.set(each.id, each);
  }

  put(record: DeviceRecord): DeviceRecord {
    const previous = this.records.get(record.id);
    this.records.set(record.id, record);
    this.sessions.deviceChanged(this.nowMs, this.unixMs, record, previous);
    return record;
  }

  change(id: number, changes: Partial<DeviceRecord>): DeviceRecord {
    return this.put({ ...this.records.get(id)!, ...changes });
  }

  remove(id: number): void {
    this.sessions.deviceRemoved(this.nowMs, this.records.get(id)!);
    this.records.delete(id);
  }

  /** Sets the policy of tailnet `one`. */
  setPolicy(policy: NaivePolicy | undefined): void {
    this.policy = policy;
    this.setPolicyText(policy === undefined ? undefined : textOf(policy));
  }

  /** The same without a model of what it means. */
  setPolicyText(text: string | undefined, tailnetId = 'one'): void {
    const result = text === undefined ? { policy: undefined, errors: [] } : parsePolicy(text);
    if (result.policy === undefined && text !== undefined) throw new Error(`${text}: ${JSON.stringify(result)}`);
    this.sessions.policyChanged(this.nowMs, tailnetId, result.policy);
  }

  /** Opens a session; its reader gets bytes at the next {@link settle}. */
  open(
    id: number,
    o: {
      isZstd?: boolean;
      isStream?: boolean;
      omitPeers?: boolean;
      keepAlive?: boolean;
      isSmall?: boolean;
      capability?: number;
    } = {},
  ): number {
    const session = this.#nextId++;
    const options = {
      isZstd: false,
      isStream: true,
      omitPeers: false,
      keepAlive: true,
      capability: 113,
      isSmall: false,
      ...o,
    };
    this.readers.set(session, new Reader(options.isZstd, options.isSmall));
    this.sessions.open(this.nowMs, this.unixMs, session, { device: this.records.get(id)!, ...options });
    return session;
  }

  /** Opens a session and lets it have its whole map. */
  read(id: number, o: Parameters<World['open']>[1] = {}): Reader {
    const session = this.open(id, o);
    this.settle();
    return this.readers.get(session)!;
  }

  /** Lets everybody who takes bytes have them. */
  settle(): void {
    for (let id = this.sessions.pollReady(); id !== undefined; id = this.sessions.pollReady()) this.drain(id);
    for (let event = this.sessions.pollEvent(); event !== undefined; event = this.sessions.pollEvent()) {
      this.events.push(event);
      if (event.type === 'end') this.readers.get(event.id)!.end = event.reason;
    }
  }

  drain(id: number): void {
    while (!this.frozen.has(id) && this.take(id, this.pieceBytes) > 0);
  }

  /** Gives one reader at most so many bytes; returns how many there were. */
  take(id: number, most: number): number {
    const out = new Uint8Array(most + 2).fill(0xee);
    const length = this.sessions.pollBytes(this.nowMs, this.unixMs, id, out, 1, most + 1);
    if (out[0] !== 0xee || out[most + 1] !== 0xee || length > most) throw new Error('wrote beyond its room');
    this.readers.get(id)!.take(out.slice(1, 1 + length));
    return length;
  }

  /** Time passes, with every deadline on its way served. */
  pass(ms: number): void {
    this.settle();
    const end = this.nowMs + ms;
    for (let due = this.sessions.nextTimeout(); due <= end; due = this.sessions.nextTimeout()) {
      if (due > this.nowMs) this.#move(due - this.nowMs);
      this.sessions.handleTimeout(this.nowMs, this.unixMs);
      this.settle();
    }
    this.#move(end - this.nowMs);
    this.settle();
  }

  /** A clock that jumps, with nothing served on the way. */
  #move(ms: number): void {
    this.nowMs += ms;
    this.unixMs += ms;
  }

  isMember(record: DeviceRecord): boolean {
    return record.isApproved && (record.keyExpiryMs === 0 || record.keyExpiryMs > this.unixMs);
  }

  /** Members of the tailnet of a device. */
  #members(tailnetId: string): NaiveDevice[] {
    const members = [...this.records.values()].filter(each => each.tailnet === tailnetId && this.isMember(each));
    return members.map(record => ({ record, login: this.users.get(record.user)!.loginName }));
  }

  /** What the device should know, as {@link known} gives it. */
  expected(id: number, isSmall = false): object {
    const self = this.records.get(id)!;
    const isMember = this.isMember(self);
    const all = isMember ? this.#members(self.tailnet) : [];
    const viewer = all.find(({ record }) => record.id === id);
    const peers = all
      .filter(({ record }) => record.id !== id && record.discoKey !== '')
      .filter(each => this.policy === undefined || naiveSees(this.policy, all, viewer!, each))
      .sort((a, b) => a.record.id - b.record.id);
    const mayFrom = (a: NaiveDevice) => (packet: Parameters<typeof naiveMay>[4]) =>
      this.policy === undefined || naiveMay(this.policy, all, a, viewer!, packet);
    return {
      self: [
        id,
        `${self.name}.${self.tailnet}.mote.internal.`,
        self.nodeKey,
        self.isApproved,
        seconds(self.keyExpiryMs),
      ],
      attributes:
        isMember && this.policy !== undefined ? [...new Set(naiveAttributes(this.policy, viewer!))].sort() : [],
      access: all.filter(each => each !== viewer).flatMap(a => packetsTo(a.record, self).filter(mayFrom(a)).map(key)),
      isNamed: isMember,
      peers: peers.map(({ record: peer }) => ({
        id: peer.id,
        name: `${peer.name}.${peer.tailnet}.mote.internal.`,
        user: isSmall ? undefined : peer.tags.length > 0 ? 'tagged-devices' : this.users.get(peer.user)!.loginName,
        key: peer.nodeKey,
        disco: peer.discoKey,
        addresses: [`${peer.addresses[0]}/32`, `${peer.addresses[1]}/128`],
        routes: this.#served(all, peer),
        endpoints: peer.endpoints,
        region: peer.homeRegion,
        expiry: seconds(peer.keyExpiryMs),
        tags: peer.tags,
        isOnline: isSmall ? undefined : this.sessions.isOnline(peer.id),
      })),
    };
  }

  /** Routes that others send to a device: exit routes, and those that no better one of the tailnet serves. */
  #served(all: readonly NaiveDevice[], { id }: DeviceRecord): string[] {
    const routers = all.map(({ record }) => record).filter(({ discoKey }) => discoKey !== '');
    const rank = (router: DeviceRecord) => (this.sessions.isOnline(router.id) ? 0 : 1e15) + router.id;
    return routesOf(this.records.get(id)!)
      .filter(route => {
        const rivals = routers.filter(router => routesOf(router).includes(route));
        const isExit = route === '0.0.0.0/0' || route === '::/0';
        return isExit || rivals.every(router => rank(router) >= rank(this.records.get(id)!));
      })
      .sort();
  }

  /** What a reader knows. */
  known(reader: Reader): object {
    const { netmap } = reader.decoder;
    const { isSmall } = reader;
    const self = netmap.self!;
    const record = this.records.get(self.id)!;
    const others = this.isMember(record)
      ? this.#members(record.tailnet).filter(each => each.record.id !== self.id)
      : [];
    const packets = others.flatMap(other => packetsTo(other.record, record));
    return {
      self: [self.id, self.name, `nodekey:${toHex(self.key)}`, self.isAuthorized, self.keyExpiry],
      attributes: self.capabilities.filter(name => !name.startsWith('https://')).sort(),
      access: packets.filter(packet => filterAllows(netmap.filterRules, packet)).map(key),
      isNamed: (netmap.dns.Domains ?? []).length > 0,
      peers: Array.from({ length: netmap.peers.count }, (_, slot) => netmap.peers.peerAt(slot)).map(peer => ({
        id: peer.id,
        name: peer.name,
        user: isSmall ? undefined : netmap.users.get(peer.user)?.LoginName,
        key: `nodekey:${toHex(peer.key)}`,
        disco: `discokey:${peer.discoKey === undefined ? '' : toHex(peer.discoKey)}`,
        addresses: peer.addresses.map(formatPrefix),
        routes: peer.allowedIPs
          .map(formatPrefix)
          .filter(text => !peer.addresses.map(formatPrefix).includes(text))
          .sort(),
        endpoints: peer.endpoints.map(({ address, port }) => `${address}:${port}`),
        region: peer.homeRegion,
        expiry: peer.keyExpiry,
        tags: peer.tags,
        isOnline: isSmall ? undefined : peer.isOnline,
      })),
    };
  }
}

function key({ from, to, port, protocol }: { from: string; to: string; port: number; protocol: number }): string {
  return `${from}>${to}:${port}/${protocol}`;
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}
