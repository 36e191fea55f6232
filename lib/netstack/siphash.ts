/**
 * SipHash-2-4 (Aumasson, Bernstein 2012) on 32-bit halves: the keyed function behind initial sequence numbers
 * (RFC 6528 §3), timestamp offsets and ephemeral ports (RFC 6056 §3.3.3).
 *
 * The netstack may not import `crypto/`; a keyed hash of a few words is all it needs. Not for secrets at rest, not
 * constant in time for messages of different lengths. BigInt is avoided (see the design's notes on XS).
 */
import { readU32LE } from '../base/bytes.ts';

/** Bytes of a SipHash key. */
export const SIPHASH_KEY_BYTES = 16;

/** A keyed SipHash-2-4 with a 64-bit result in two int32 halves. */
export class SipHash {
  readonly #key: Int32Array;
  /** v0..v3 as low and high halves. */
  readonly #v = new Int32Array(8);
  /** Low half of the last result, int32. */
  low = 0;
  /** High half of the last result, int32. */
  high = 0;

  /** `key` is {@link SIPHASH_KEY_BYTES} long (RangeError otherwise) and is copied. */
  constructor(key: Uint8Array) {
    if (key.length !== SIPHASH_KEY_BYTES)
      throw new RangeError(`"key" expected ${SIPHASH_KEY_BYTES} bytes, got ${key.length}`);
    this.#key = Int32Array.of(readU32LE(key, 0), readU32LE(key, 4), readU32LE(key, 8), readU32LE(key, 12));
  }

  /** Hashes `message[0, length)` into {@link low} and {@link high}; returns the low half. */
  hash(message: Uint8Array, length: number): number {
    const v = this.#v;
    const k = this.#key;
    v[0] = k[0] ^ 0x70736575;
    v[1] = k[1] ^ 0x736f6d65;
    v[2] = k[2] ^ 0x6e646f6d;
    v[3] = k[3] ^ 0x646f7261;
    v[4] = k[0] ^ 0x6e657261;
    v[5] = k[1] ^ 0x6c796765;
    v[6] = k[2] ^ 0x79746573;
    v[7] = k[3] ^ 0x74656462;
    const whole = length & ~7;
    for (let at = 0; at < whole; at += 8) this.#absorb(readU32LE(message, at), readU32LE(message, at + 4));
    let low = 0;
    let high = length << 24;
    for (let i = whole; i < length; i++) {
      const shift = (i & 3) * 8;
      if (i - whole < 4) low |= message[i] << shift;
      else high |= message[i] << shift;
    }
    this.#absorb(low, high);
    v[4] ^= 0xff;
    for (let i = 0; i < 4; i++) round(v);
    this.low = v[0] ^ v[2] ^ v[4] ^ v[6];
    this.high = v[1] ^ v[3] ^ v[5] ^ v[7];
    return this.low;
  }

  #absorb(low: number, high: number): void {
    const v = this.#v;
    v[6] ^= low;
    v[7] ^= high;
    round(v);
    round(v);
    v[0] ^= low;
    v[1] ^= high;
  }
}

/** One SipRound over v0..v3 at indices 0, 2, 4, 6 (low halves; high halves follow each). */
function round(v: Int32Array): void {
  add(v, 0, 2);
  rotateXor(v, 2, 0, 13);
  swap(v, 0);
  add(v, 4, 6);
  rotateXor(v, 6, 4, 16);
  add(v, 0, 6);
  rotateXor(v, 6, 0, 21);
  add(v, 4, 2);
  rotateXor(v, 2, 4, 17);
  swap(v, 4);
}

/** v[a] += v[b], 64 bits. */
function add(v: Int32Array, a: number, b: number): void {
  const low = (v[a] >>> 0) + (v[b] >>> 0);
  v[a] = low;
  v[a + 1] = v[a + 1] + v[b + 1] + (low > 0xffffffff ? 1 : 0);
}

/** v[a] = rotateLeft(v[a], bits) ^ v[b], 0 < bits < 32. */
function rotateXor(v: Int32Array, a: number, b: number, bits: number): void {
  const low = v[a];
  const high = v[a + 1];
  v[a] = ((low << bits) | (high >>> (32 - bits))) ^ v[b];
  v[a + 1] = ((high << bits) | (low >>> (32 - bits))) ^ v[b + 1];
}

/** v[a] rotated by 32. */
function swap(v: Int32Array, a: number): void {
  const low = v[a];
  v[a] = v[a + 1];
  v[a + 1] = low;
}
