/** Helpers of the path discovery tests: keys, a bench for one machine, and a small world of machines on one clock. */
import { type Endpoint, parseEndpoint } from '../../lib/base/address.ts';
import { concatBytes, toHex } from '../../lib/base/bytes.ts';
import { DropCounters, dropName } from '../../lib/base/drop.ts';
import { Slot } from '../../lib/base/slot.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { Disco } from '../../lib/disco/disco.ts';
import { DISCO_LIMITS_LARGE, type DiscoLimits } from '../../lib/disco/limits.ts';
import { type DiscoMessage, parseDiscoMessage, writeDiscoHeader } from '../../lib/disco/message.ts';
import type { DiscoEvent, DiscoOwner, DiscoPeerConfig } from '../../lib/disco/types.ts';
import { Seeded } from '../crypto/support.ts';

export const noble = createNobleSuite();

/** A suite that counts key exchanges for boxes. */
export function countingSuite(): { readonly suite: typeof noble; readonly exchanges: () => number } {
  const suite = createNobleSuite();
  const boxKey = suite.boxKey.bind(suite);
  let count = 0;
  const value: typeof suite.boxKey = (out, secret, publicKey) => {
    count++;
    return boxKey(out, secret, publicKey);
  };
  Object.defineProperty(suite, 'boxKey', { value });
  return { suite, exchanges: () => count };
}

export function secretOf(byte: number): SecretKey {
  return SecretKey.fromBytes(new Uint8Array(32).fill(byte));
}

const PUBLIC_KEYS = new Map<number, Uint8Array>();

/** The public key of {@link secretOf}. */
export function publicOf(byte: number): Uint8Array {
  let known = PUBLIC_KEYS.get(byte);
  if (known === undefined) {
    known = new Uint8Array(32);
    noble.publicKey(known, new Uint8Array(32).fill(byte));
    PUBLIC_KEYS.set(byte, known);
  }
  return known.slice();
}

const BOX_KEYS = new Map<string, Uint8Array>();

/** The box key between the owners of two secrets. */
export function boxKeyOf(secret: number, other: number): Uint8Array {
  const name = `${secret}:${other}`;
  let known = BOX_KEYS.get(name);
  if (known === undefined) {
    known = new Uint8Array(32);
    noble.boxKey(known, new Uint8Array(32).fill(secret), publicOf(other));
    BOX_KEYS.set(name, known);
  }
  return known;
}

/** `1.2.3.4:5` or `[::1]:5`. */
export function at(text: string): Endpoint {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) throw new Error(`not an endpoint: ${text}`);
  return endpoint;
}

let nonces = 0;

/** A disco message as the owner of `secret` sends it to the owner of `other`. */
export function sealed(secret: number, other: number, plain: Uint8Array, sender = publicOf(secret)): Uint8Array {
  const nonce = new Uint8Array(24);
  nonces++;
  for (let i = 0; i < 4; i++) nonce[i] = nonces >> (8 * i);
  const out = new Uint8Array(62 + 16 + plain.length);
  writeDiscoHeader(out, 0, sender, nonce);
  noble.boxSeal(out.subarray(62), boxKeyOf(secret, other), nonce, plain);
  return out;
}

/** What the owner of `secret` reads in a message from the owner of `other`. */
export function unsealed(secret: number, other: number, bytes: Uint8Array): DiscoMessage {
  const plain = new Uint8Array(bytes.length - 78);
  if (!noble.boxOpen(plain, boxKeyOf(secret, other), bytes.subarray(38, 62), bytes.subarray(62)))
    throw new Error('the box does not open');
  const message = parseDiscoMessage(plain, 0, plain.length, 1000);
  if (message === undefined) throw new Error('the message is malformed');
  return message;
}

/** Plain messages. */
export function pingBytes(id: number, nodeKey: Uint8Array | undefined, padding = 0): Uint8Array {
  return concatBytes(Uint8Array.of(1, 0), idOf(id), nodeKey ?? new Uint8Array(0), new Uint8Array(padding));
}

export function pongBytes(id: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(2, 0), id, new Uint8Array(18).fill(1));
}

export function callBytes(...endpoints: readonly string[]): Uint8Array {
  const parts = endpoints.map(text => {
    const { address, port } = at(text);
    const out = new Uint8Array(18);
    const bytes = address.includes(':') ? v6(address) : address.split('.').map(Number);
    out.set(bytes, 16 - bytes.length);
    if (bytes.length === 4) out.fill(255, 10, 12);
    out[16] = port >> 8;
    out[17] = port;
    return out;
  });
  return concatBytes(Uint8Array.of(3, 0), ...parts);
}

function v6(address: string): number[] {
  const [head = '', tail = ''] = address.split('::');
  const bytes = (text: string) =>
    text === ''
      ? []
      : text.split(':').flatMap(group => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]);
  const front = bytes(head);
  const back = bytes(tail);
  return [...front, ...new Array<number>(16 - front.length - back.length).fill(0), ...back];
}

export function idOf(number: number): Uint8Array {
  const id = new Uint8Array(12).fill(0xee);
  for (let i = 0; i < 4; i++) id[i] = number >> (8 * i);
  return id;
}

/** A message that a machine wants sent. */
export interface Outgoing {
  readonly to: Endpoint | undefined;
  readonly relayPeer: string;
  readonly region: number;
  readonly bytes: Uint8Array;
}

/** One machine alone, with secrets OWN (disco) and OWN_NODE. */
export const OWN = 0x11;
export const OWN_NODE = 0x12;
/** A peer's secrets: disco and node. */
export const PEER = 0x22;
export const PEER_NODE = 0x33;

/** One machine and its hand tools. */
export class Bench {
  readonly disco: Disco;
  readonly drops = new DropCounters();
  nowMs = 1000;
  /** What `resolvePeer` does; nobody is known unless told. */
  resolve: DiscoOwner['resolvePeer'] = () => undefined;
  knows: DiscoOwner['knowsPeer'] = () => false;
  readonly asked: string[] = [];
  readonly slot = new Slot(1400);

  constructor(limits: Partial<DiscoLimits> = {}, suite = noble) {
    const seeded = new Seeded(7);
    this.disco = new Disco({
      nowMs: this.nowMs,
      random: out => out.set(seeded.bytes(out.length)),
      suite,
      privateKey: secretOf(OWN),
      nodeKey: publicOf(OWN_NODE),
      limits: { ...DISCO_LIMITS_LARGE, ...limits },
      drops: this.drops,
      owner: {
        knowsPeer: discoKey => this.knows(discoKey),
        resolvePeer: (nowMs, discoKey, nodeKey) => {
          this.asked.push(`${toHex(discoKey).slice(0, 8)} ${nodeKey === undefined ? '-' : toHex(nodeKey).slice(0, 8)}`);
          return this.resolve(nowMs, discoKey, nodeKey);
        },
      },
    });
  }

  addPeer(changes: Partial<DiscoPeerConfig> = {}, id = 1): void {
    this.disco.addPeer(this.nowMs, id, {
      nodeKey: publicOf(PEER_NODE),
      discoKey: publicOf(PEER),
      endpoints: [],
      region: 7,
      ...changes,
    });
  }

  /** All that the machine wants sent now. */
  sent(): Outgoing[] {
    const out: Outgoing[] = [];
    while (this.disco.pollTransmit(this.nowMs, this.slot)) {
      const { to, buf, start, end } = this.slot;
      const { relayPeer, relayRegion } = this.disco;
      out.push({
        to,
        relayPeer: relayPeer === undefined ? '' : toHex(relayPeer),
        region: relayRegion,
        bytes: buf.slice(start, end),
      });
    }
    return out;
  }

  /** The same as texts: `ping 1.2.3.4:5`, `pong relay 7`, `call relay 7 1.2.3.4:5`. */
  says(other = PEER): string[] {
    return this.sent().map(each => describe(each, unsealed(other, OWN, each.bytes)));
  }

  /** Moves the clock, with all timeouts on the way. */
  until(nowMs: number): void {
    for (let next = this.disco.nextTimeout(); next <= nowMs; next = this.disco.nextTimeout()) {
      this.nowMs = Math.max(this.nowMs, next);
      this.disco.handleTimeout(this.nowMs);
    }
    this.nowMs = nowMs;
  }

  after(ms: number): void {
    this.until(this.nowMs + ms);
  }

  /** Sends user traffic and says how: `direct 1.2.3.4:5`, `relay`, `both 1.2.3.4:5`. */
  path(id = 1): string {
    this.disco.choosePath(this.nowMs, id);
    const { direct, isRelayed } = this.disco;
    if (direct === undefined) return isRelayed ? 'relay' : 'nothing';
    return `${isRelayed ? 'both' : 'direct'} ${text(direct)}`;
  }

  /** Hands in a datagram: `ok` or the drop's name. */
  udp(bytes: Uint8Array, from: string): string {
    const buf = concatBytes(new Uint8Array(3), bytes, new Uint8Array(2));
    const before = buf.slice();
    const reason = this.disco.handleDatagram(this.nowMs, buf, 3, 3 + bytes.length, at(from));
    if (toHex(buf) !== toHex(before)) throw new Error('the datagram was changed');
    return reason === 0 ? 'ok' : dropName(reason);
  }

  /** The same through a relay. */
  relayed(bytes: Uint8Array, source = publicOf(PEER_NODE), region = 7): string {
    const reason = this.disco.handleRelayed(this.nowMs, bytes, 0, bytes.length, region, source);
    return reason === 0 ? 'ok' : dropName(reason);
  }

  /** Answers a ping as the peer: the way that it came, or from another address, or through a `relay`. */
  answer(ping: Outgoing, from = ping.to === undefined ? 'relay' : text(ping.to), other = PEER): string {
    const message = unsealed(other, OWN, ping.bytes);
    if (message.type !== 'ping') throw new Error(`expected a ping, got ${message.type}`);
    const pong = sealed(other, OWN, pongBytes(message.id));
    return from === 'relay' ? this.relayed(pong) : this.udp(pong, from);
  }

  events(): DiscoEvent[] {
    const out: DiscoEvent[] = [];
    for (let event = this.disco.pollEvent(); event !== undefined; event = this.disco.pollEvent()) out.push(event);
    return out;
  }

  /** Events as texts: `path 1 1.2.3.4:5 20`, `endpoints-wanted`, `pong 1 #1 relay 7 20`. */
  news(): string[] {
    return this.events().map(event => {
      if (event.type === 'endpoints-wanted') return event.type;
      const way = event.endpoint === undefined ? 'relay' : text(event.endpoint);
      if (event.type === 'path') return `path ${event.id} ${way} ${event.latencyMs ?? '-'}`;
      return `pong ${event.id} #${event.ping} ${way} ${event.region} ${event.latencyMs}`;
    });
  }

  /** Makes the address the trusted best path, `latencyMs` away. */
  settle(address: string, latencyMs = 20): void {
    this.path();
    const pings = this.sent().filter(({ to }) => to !== undefined && text(to) === address);
    this.nowMs += latencyMs;
    for (const ping of pings) this.answer(ping);
    if (this.path() !== `direct ${address}`) throw new Error(`${address} did not become the path`);
    this.sent();
    this.events();
  }
}

export function text({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function describe({ to, region }: Outgoing, message: DiscoMessage): string {
  const way = to === undefined ? `relay ${region}` : text(to);
  if (message.type === 'pong')
    return `pong ${way}${message.observed === undefined ? '' : ` saw ${text(message.observed)}`}`;
  if (message.type === 'call') return ['call', way, ...message.endpoints.map(text)].join(' ');
  return `${message.type} ${way}`;
}
