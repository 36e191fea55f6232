/**
 * A coordinator in a test world: clocks moved by hand, a store that confirms when it is told to, devices with keys, and
 * everything that comes out collected. Requests are JSON as clients write it.
 */
import { formatKey, parseKeyText } from '../../lib/crypto/key-text.ts';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import type { WireRegisterResponse } from '../../lib/control/message.ts';
import type { AdminCommand, AdminOutcome, AdminResults, DeviceView, KeyView } from '../../lib/coordinator/commands.ts';
import { Coordinator } from '../../lib/coordinator/coordinator.ts';
import type { Actor, CoordinatorEvent, MapCarrier } from '../../lib/coordinator/coordinator-types.ts';
import type { CoordinatorLimits } from '../../lib/coordinator/limits.ts';
import type { Change, Commit, DeviceRecord } from '../../lib/coordinator/model.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { Seeded } from '../crypto/support.ts';

export const ADMIN: Actor = { name: 'admin', tailnet: undefined };
export const DAY_MS = 24 * 3_600_000;
export const START_UNIX_MS = 1_790_000_000_000;
const DERP_MAP = { Regions: {} };

/** Answer to a request of a machine. */
export interface Reply {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Options of a {@link World}. */
export interface WorldOptions {
  readonly limits?: Partial<CoordinatorLimits>;
  readonly records?: Iterable<Change>;
  /** The store confirms nothing by itself. */
  readonly isManual?: boolean;
  readonly seed?: number;
  readonly sessions?: MapCarrier;
  /** The wall clock at the start. */
  readonly unixMs?: number;
}

/** See the top of the file. */
export class World {
  nowMs = 1000;
  unixMs = START_UNIX_MS;
  readonly coordinator: Coordinator;
  readonly commits: Commit[] = [];
  readonly events: CoordinatorEvent[] = [];
  readonly replies = new Map<number, Reply>();
  readonly outcomes = new Map<number, AdminOutcome>();
  readonly streams = new Map<number, { text: string; isOver: boolean }>();
  /** Every text that has left, for canaries. */
  readonly random: Seeded;
  isManual: boolean;
  readonly #frames = new Map<number, Uint8Array>();

  constructor(o: WorldOptions = {}) {
    const random = new Seeded(o.seed ?? 1);
    this.random = random;
    this.isManual = o.isManual ?? false;
    this.unixMs = o.unixMs ?? START_UNIX_MS;
    this.coordinator = new Coordinator({
      nowMs: this.nowMs,
      unixMs: this.unixMs,
      random: out => out.set(random.bytes(out.length)),
      suite: createNobleSuite(),
      settings: { url: 'https://control.test/', derpMap: DERP_MAP, limits: o.limits ?? {} },
      ...(o.records !== undefined && { records: o.records }),
      ...(o.sessions !== undefined && { sessions: o.sessions }),
    });
    this.settle();
  }

  /** Lets the store and the event queue run empty. */
  settle(): void {
    if (!this.isManual) this.store();
    this.drain();
  }

  /** Takes all commits and confirms the last. */
  store(): void {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (let commit = this.coordinator.pollCommit(); commit !== undefined; commit = this.coordinator.pollCommit()) {
        this.commits.push(commit);
        isBusy = true;
      }
      if (isBusy) this.coordinator.handleCommitted(this.nowMs, this.commits.at(-1)!.id);
    }
  }

  /** Takes all events, and the bytes of all streams. */
  drain(): void {
    const out = new Uint8Array(65_536);
    for (let id = this.coordinator.pollMap(); id !== undefined; id = this.coordinator.pollMap()) {
      for (;;) {
        this.collect();
        const length = this.coordinator.pollMapBytes(this.nowMs, this.unixMs, id, out, 0, out.length);
        if (length === 0) break;
        this.#frames.set(id, join(this.#frames.get(id), out.subarray(0, length)));
        this.collect();
        const stream = this.streams.get(id);
        if (stream !== undefined) stream.text = utf8Decode(this.#frames.get(id)!);
      }
    }
    this.collect();
  }

  collect(): void {
    for (let event = this.coordinator.pollEvent(); event !== undefined; event = this.coordinator.pollEvent()) {
      this.events.push(event);
      if (event.type === 'reply') {
        const { status, body, headers = {} } = event;
        this.replies.set(event.request, { status, text: utf8Decode(body), headers });
      } else if (event.type === 'outcome') this.outcomes.set(event.request, event.outcome);
      else if (event.type === 'stream') this.streams.set(event.request, { text: '', isOver: false });
      else if (event.type === 'end') this.streams.get(event.request)!.isOver = true;
    }
  }

  /** Moves both clocks, waking the coordinator whenever it asks for it. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    while (this.nowMs < end) {
      const next = Math.min(end, Math.max(this.coordinator.nextTimeout(), this.nowMs + 1));
      this.unixMs += next - this.nowMs;
      this.nowMs = next;
      this.coordinator.handleTimeout(this.nowMs, this.unixMs);
      this.settle();
    }
  }

  /** Moves both clocks at once and wakes the coordinator only then: for days. */
  jump(ms: number): void {
    this.nowMs += ms;
    this.unixMs += ms;
    this.coordinator.handleTimeout(this.nowMs, this.unixMs);
    this.settle();
  }

  /** Posts a register request; returns its number. */
  postRegister(machineKey: Uint8Array, body: object | string, source = '192.0.2.1'): number {
    const bytes = utf8Encode(typeof body === 'string' ? body : JSON.stringify(body));
    const request = this.coordinator.register(this.nowMs, this.unixMs, { machineKey, source, body: bytes });
    this.settle();
    return request;
  }

  /** Posts a map request; returns its number. */
  postMap(machineKey: Uint8Array, body: object | string, version = 113, source = '192.0.2.1'): number {
    const bytes = utf8Encode(typeof body === 'string' ? body : JSON.stringify(body));
    const request = this.coordinator.map(this.nowMs, this.unixMs, { machineKey, source, version, body: bytes });
    this.settle();
    return request;
  }

  /** Gives a command; returns its number. */
  postCommand(command: object, actor = ADMIN): number {
    const request = this.coordinator.command(this.nowMs, this.unixMs, actor, command as AdminCommand);
    this.settle();
    return request;
  }

  /** Gives a command and returns its outcome. */
  outcome(command: object, actor = ADMIN): AdminOutcome {
    const outcome = this.outcomes.get(this.postCommand(command, actor));
    if (outcome === undefined) throw new Error('the command has no outcome');
    return outcome;
  }

  /** Gives a command that succeeds. */
  run<T extends AdminCommand['type']>(command: Extract<AdminCommand, { type: T }>, actor = ADMIN): AdminResults[T] {
    const outcome = this.outcome(command, actor);
    if (!outcome.isOk) throw new Error(`${command.type}: ${outcome.message}`);
    return outcome.value as AdminResults[T];
  }

  /** Makes an auth key; returns its text. */
  key(o: Partial<Extract<AdminCommand, { type: 'key-create' }>> = {}): string {
    const view = this.run({ type: 'key-create', tailnet: 'default', ...o }) as KeyView;
    return view.key!;
  }

  /** All devices of a tailnet, and the logins that wait. */
  devices(tailnet = 'default'): readonly DeviceView[] {
    return this.run({ type: 'device-list', tailnet });
  }

  /** The record of the device with this name. */
  record(name: string, tailnet = 'default'): DeviceRecord {
    for (const change of this.coordinator.records())
      if (change.kind === 'device' && change.tailnet === tailnet && change.value!.name === name) return change.value!;
    throw new Error(`there is no device ${name}`);
  }

  /** The commits with an entry in the audit log, as `actor action target`. */
  get auditLog(): string[] {
    return this.commits.flatMap(({ audit }) =>
      audit === undefined ? [] : [`${audit.actor.replace(/:.*/, ':…')} ${audit.action}`],
    );
  }
}

/** A device's keys, and the requests that it makes. */
export class Machine {
  readonly world: World;
  readonly machineKey: Uint8Array;
  nodeKey: string;
  hostname: string;

  constructor(world: World, seed: number, hostname = `host-${seed}`) {
    this.world = world;
    this.machineKey = keyBytes(seed, 1);
    this.nodeKey = formatKey('nodekey', keyBytes(seed, 2));
    this.hostname = hostname;
  }

  get mkey(): string {
    return formatKey('mkey', this.machineKey);
  }

  get nodeBytes(): Uint8Array {
    return parseKeyText('nodekey', this.nodeKey)!;
  }

  /** A new node key; returns the old one. */
  renew(number: number): string {
    const old = this.nodeKey;
    this.nodeKey = formatKey('nodekey', keyBytes(this.machineKey[4]! + 256 * this.machineKey[5]!, 2 + number));
    return old;
  }

  body(o: object = {}): object {
    const Hostinfo = { Hostname: this.hostname, OS: 'linux', IPNVersion: '1.0' };
    return { Version: 113, NodeKey: this.nodeKey, OldNodeKey: `nodekey:${'0'.repeat(64)}`, Hostinfo, ...o };
  }

  /** Registers; returns the number of the request. */
  post(o: object = {}, source?: string): number {
    return this.world.postRegister(this.machineKey, this.body(o), source);
  }

  /** Registers; returns the answer, which must be 200. */
  register(o: object = {}): WireRegisterResponse {
    const reply = this.world.replies.get(this.post(o));
    if (reply === undefined) throw new Error('the register request has no answer');
    if (reply.status !== 200) throw new Error(`${reply.status} ${reply.text}`);
    return JSON.parse(reply.text) as WireRegisterResponse;
  }

  /** Registers with an auth key. */
  join(authKey: string, o: object = {}): WireRegisterResponse {
    return this.register({ Auth: { AuthKey: authKey }, ...o });
  }

  /** Posts a map request. */
  poll(o: object = {}): number {
    return this.world.postMap(this.machineKey, { Version: 113, NodeKey: this.nodeKey, ...o });
  }

  /** A lite update; returns the answer. */
  update(o: object = {}): Reply {
    const DiscoKey = this.nodeKey.replace('nodekey', 'discokey');
    return this.world.replies.get(this.poll({ OmitPeers: true, DiscoKey, ...o }))!;
  }

  /** Opens a stream, with a disco key; returns its number. */
  stream(o: object = {}): number {
    const DiscoKey = this.nodeKey.replace('nodekey', 'discokey');
    return this.poll({ Stream: true, KeepAlive: true, DiscoKey, ...o });
  }
}

/** 32 bytes that are a key in a test. */
export function keyBytes(seed: number, kind: number): Uint8Array {
  const out = new Uint8Array(32).fill(kind);
  out.set([0x77, kind, kind >> 8, 0, seed, seed >> 8, seed >> 16]);
  return out;
}

/** The address of a login, as its id. */
export function pendingIdOf(response: WireRegisterResponse): string {
  return response.AuthURL.slice(response.AuthURL.lastIndexOf('/') + 1);
}

function join(before: Uint8Array | undefined, more: Uint8Array): Uint8Array {
  const out = new Uint8Array((before?.length ?? 0) + more.length);
  if (before !== undefined) out.set(before);
  out.set(more, before?.length ?? 0);
  return out;
}
