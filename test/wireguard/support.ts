/**
 * What the tests of this folder share: seeded randomness, IP packets, a toy suite, and pairs of tunnels.
 */
import { type Endpoint, parseAddress, parseEndpoint, type Prefix, parsePrefix } from '../../lib/base/address.ts';
import { fromHex, readU32LE, writeU16BE } from '../../lib/base/bytes.ts';
import { type DropName, dropName } from '../../lib/base/drop.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { Handshaker } from '../../lib/wireguard/handshake.ts';
import { writeMacs } from '../../lib/wireguard/mac.ts';
import { Tunnel, type TunnelEvent, type TunnelOptions } from '../../lib/wireguard/tunnel.ts';
import type { PeerConfig } from '../../lib/wireguard/types.ts';
import { type InFlight, Pair, Side } from '../sim/pair.ts';

/** When stories begin: monotonic time, and the wall clock in 2023. */
export const START_MS = 1_000;
export const START_UNIX_MS = 1_700_000_000_000;

/** Bytes of a hex text without blanks. */
export function hex(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === undefined) throw new Error(`not hex: ${text}`);
  return bytes;
}

/** 32 equal bytes. */
export function repeated(byte: number, length = 32): Uint8Array {
  return new Uint8Array(length).fill(byte);
}

/** A prefix of text. */
export function prefix(text: string): Prefix {
  return parsePrefix(text)!;
}

/** An endpoint of text. */
export function at(text: string): Endpoint {
  return parseEndpoint(text)!;
}

/** Uniform 32-bit numbers from a seed (mulberry32). */
export function seededWords(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (x ^ (x >>> 14)) >>> 0;
  };
}

/** A generator of bytes from a seed. */
export function seededRandom(seed: number): (out: Uint8Array) => void {
  const word = seededWords(seed);
  return out => {
    for (let i = 0; i < out.length; i++) out[i] = word();
  };
}

/** An IP packet of `bytes` (at least a header) between two addresses, its payload filled with `fill`. */
export function packet(from: string, to: string, bytes = 60, fill = 0x61): Uint8Array {
  const source = parseAddress(from)!;
  const out = new Uint8Array(bytes).fill(fill);
  if (source.length === 4) {
    out.fill(0, 0, 20);
    out[0] = 0x45;
    writeU16BE(out, 2, bytes);
    out.set(source, 12);
    out.set(parseAddress(to)!, 16);
  } else {
    out.fill(0, 0, 40);
    out[0] = 0x60;
    writeU16BE(out, 4, bytes - 40);
    out.set(source, 8);
    out.set(parseAddress(to)!, 24);
  }
  return out;
}

/** The name of a drop reason; `undefined` for what is none. */
export function reason(result: number): DropName | undefined {
  return result < 0 ? dropName(result) : undefined;
}

/** Type of a datagram: 1 initiation, 2 response, 3 cookie reply, 4 data. */
export function typeOf(datagram: InFlight): number {
  return datagram.bytes[0]!;
}

/** Types of what is on its way, oldest first; a keepalive counts as 0. */
export function types(flight: readonly InFlight[]): number[] {
  return flight.map(datagram => (typeOf(datagram) === 4 && datagram.bytes.length === 32 ? 0 : typeOf(datagram)));
}

/** Counter of a transport message, below 2^32. */
export function counterOf(datagram: InFlight): number {
  return readU32LE(datagram.bytes, 8);
}

/** Receiver index of a transport message. */
export function receiverOf(datagram: InFlight): number {
  return readU32LE(datagram.bytes, 4);
}

const TOY_PRIME = 2_147_483_647;

function powerOf(base: number, exponent: number): number {
  let result = 1;
  let square = base % TOY_PRIME;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = product(result, square);
    square = product(square, square);
  }
  return result;
}

function product(a: number, b: number): number {
  const high = Math.floor(b / 65536);
  return (((a * high) % TOY_PRIME) * 65536 + a * (b % 65536)) % TOY_PRIME;
}

function toyNumber(bytes: Uint8Array): number {
  return readU32LE(bytes, 0) % TOY_PRIME;
}

/**
 * The portable suite with a Diffie-Hellman over 31 bits, for tests of rules that need handshakes by the thousand.
 * The agreed number is stretched by hashing; zero stands for a low-order point.
 */
export function createToySuite(): CryptoSuite {
  const suite = createNobleSuite();
  const write = (out: Uint8Array, value: number) => {
    out.fill(0);
    for (let i = 0; i < 4; i++) out[i] = Math.floor(value / 256 ** i);
  };
  return {
    name: 'toy',
    hash: (out, a, b) => suite.hash(out, a, b),
    hmac: (out, key, a, b) => suite.hmac(out, key, a, b),
    mac: (out, key, buf, start, end) => suite.mac(out, key, buf, start, end),
    publicKey: (out, secret) => write(out, powerOf(7, toyNumber(secret) || 1)),
    dh: (out, secret, publicKey) => {
      const shared = powerOf(toyNumber(publicKey), toyNumber(secret) || 1);
      write(out, shared);
      if (shared !== 0) suite.hash(out, out);
      return shared !== 0;
    },
    aeadSeal: (out, key, nonce, aad, plaintext) => suite.aeadSeal(out, key, nonce, aad, plaintext),
    aeadOpen: (out, key, nonce, aad, ciphertext) => suite.aeadOpen(out, key, nonce, aad, ciphertext),
    xaeadSeal: (out, key, nonce, aad, plaintext) => suite.xaeadSeal(out, key, nonce, aad, plaintext),
    xaeadOpen: (out, key, nonce, aad, ciphertext) => suite.xaeadOpen(out, key, nonce, aad, ciphertext),
    boxKey: (out, secret, publicKey) => suite.boxKey(out, secret, publicKey),
    boxSeal: (out, key, nonce, plaintext) => suite.boxSeal(out, key, nonce, plaintext),
    boxOpen: (out, key, nonce, ciphertext) => suite.boxOpen(out, key, nonce, ciphertext),
    createCipher: (sealKey, openKey) => suite.createCipher(sealKey, openKey),
  };
}

/** A tunnel whose secret is 32 times `byte`, at {@link START_MS}. */
export function tunnel(byte: number, options: Partial<TunnelOptions> = {}): Tunnel {
  return new Tunnel({
    nowMs: START_MS,
    unixMs: START_UNIX_MS,
    random: seededRandom(byte),
    suite: createToySuite(),
    privateKey: SecretKey.fromBytes(repeated(byte)),
    ...options,
  });
}

export const A_ENDPOINT = at('192.0.2.1:1001');
export const B_ENDPOINT = at('192.0.2.2:1002');
/** Inner addresses of the two sides. */
export const A = '10.0.0.1';
export const B = '10.0.0.2';

export type TunnelSide = Side<Tunnel, TunnelEvent>;
export type TunnelPair = Pair<Tunnel, TunnelEvent>;

/** Options of {@link tunnelPair}; each side's options for tunnel and peer. */
export interface PairOptions {
  readonly both?: Partial<TunnelOptions>;
  readonly a?: Partial<TunnelOptions>;
  readonly b?: Partial<TunnelOptions>;
  /** How `a` has `b` as a peer, and the other way round. */
  readonly aPeer?: Partial<PeerConfig>;
  readonly bPeer?: Partial<PeerConfig>;
}

/** Two tunnels that have each other as peer 0: `a` knows where `b` is, `b` learns it. Each owns one inner address. */
export function tunnelPair(options: PairOptions = {}): TunnelPair {
  const a = tunnel(1, { ...options.both, ...options.a });
  const b = tunnel(2, { ...options.both, ...options.b });
  a.addPeer(START_MS, {
    publicKey: b.publicKey,
    endpoint: B_ENDPOINT,
    allowedIPs: [prefix(`${B}/32`)],
    ...options.aPeer,
  });
  b.addPeer(START_MS, { publicKey: a.publicKey, allowedIPs: [prefix(`${A}/32`)], ...options.bPeer });
  return new Pair<Tunnel, TunnelEvent>(
    START_MS,
    new Side<Tunnel, TunnelEvent>(a, A_ENDPOINT),
    new Side<Tunnel, TunnelEvent>(b, B_ENDPOINT),
  );
}

/** A pair that has a session: `a` has sent a packet, which arrived, and nothing is on its way. */
export function connectedPair(options: PairOptions = {}): TunnelPair {
  const pair = tunnelPair(options);
  pair.send(pair.a, packet(A, B));
  pair.settle();
  return pair;
}

/** Sends a packet from `a` to `b`. */
export function sendAB(pair: TunnelPair, bytes = 60): number {
  return pair.send(pair.a, packet(A, B, bytes));
}

/** Sends a packet from `b` to `a`. */
export function sendBA(pair: TunnelPair, bytes = 60): number {
  return pair.send(pair.b, packet(B, A, bytes));
}

/** Types of the events of a side, oldest first, without `timestamp`. */
export function eventTypes(side: TunnelSide): string[] {
  return side.events.map(({ type }) => type).filter(type => type !== 'timestamp');
}

/** An initiation by the machine with the secret 32 times `byte`, made by hand with any tick. */
export function craftInitiation(o: {
  byte: number;
  to: Uint8Array;
  tick: number;
  index?: number;
  cookie?: Uint8Array;
  suite?: CryptoSuite;
  seed?: number;
}): Uint8Array {
  const suite = o.suite ?? createToySuite();
  const handshaker = new Handshaker(suite, seededRandom(o.seed ?? o.tick), SecretKey.fromBytes(repeated(o.byte)));
  const out = new Uint8Array(148);
  handshaker.writeInitiation(out, 0, {
    peerId: 0,
    localIndex: o.index ?? 77,
    remoteStatic: o.to,
    staticStatic: handshaker.staticStatic(o.to) ?? repeated(1),
    tick: o.tick,
    cookie: o.cookie,
  });
  return out;
}

/** The same message with its macs made anew, as somebody who knows the recipient's public key can. */
export function withMacs(message: Uint8Array, recipient: Uint8Array, cookie?: Uint8Array): Uint8Array {
  const out = message.slice();
  writeMacs(createToySuite(), out, 0, out.length - 32, recipient, cookie);
  return out;
}
