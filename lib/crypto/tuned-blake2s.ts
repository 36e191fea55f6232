/**
 * BLAKE2s (RFC 7693) and HMAC over it (RFC 2104) for the tuned suite. Sums, XORs and rotations of 32-bit numbers; whether
 * an engine does them in constant time is its own affair (XS turns sums of more than 31 bits into doubles and back).
 *
 * The form follows from what XS charges, as in tuned-streams.ts. Left out: salt, personalisation, tree hashing, and
 * machines that are not little-endian.
 */

const IV = Object.freeze([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);

// biome-ignore format: the rounds of RFC 7693 §2.7, one in a row
const ORDER = Object.freeze([
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
  14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3,
  11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4,
  7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8,
  9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13,
  2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9,
  12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11,
  13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10,
  6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5,
  10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0,
]);

const BLOCK_BYTES = 64;

/** One hash at a time: `start`, any number of `update`, `finish`. Keeps its memory for the next one. */
export class TunedBlake2s {
  readonly #h: number[] = [0, 0, 0, 0, 0, 0, 0, 0];
  readonly #m: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  readonly #words = new Int32Array(BLOCK_BYTES / 4);
  readonly #block = new Uint8Array(this.#words.buffer);
  readonly #digest = this.#block.subarray(0, 32);
  #used = 0;
  /** Bytes compressed so far; fewer than 2^53. */
  #count = 0;

  /** Begins a digest of `outBytes` (1 to 32), under a key of at most 32 bytes. */
  start(outBytes: number, key?: Uint8Array): void {
    const h = this.#h;
    for (let i = 0; i < 8; i++) h[i] = IV[i]! | 0;
    const keyBytes = key === undefined ? 0 : key.length;
    h[0]! ^= 0x01010000 ^ (keyBytes << 8) ^ outBytes;
    this.#count = 0;
    this.#used = 0;
    if (key === undefined || keyBytes === 0) return;
    this.#block.fill(0);
    this.#block.set(key);
    this.#used = BLOCK_BYTES;
  }

  /** Adds bytes. */
  update(data: Uint8Array): void {
    const block = this.#block;
    const { length } = data;
    if (length <= BLOCK_BYTES - this.#used) {
      block.set(data, this.#used);
      this.#used += length;
      return;
    }
    for (let at = 0; at < length; ) {
      if (this.#used === BLOCK_BYTES) this.#compress(BLOCK_BYTES, 0); // only now: the last block is marked
      const part = Math.min(BLOCK_BYTES - this.#used, length - at);
      block.set(data.subarray(at, at + part), this.#used);
      this.#used += part;
      at += part;
    }
  }

  /** Gives the digest in 32 bytes that are valid until the next call of any method; `forget` erases them. */
  finish(): Uint8Array {
    this.#block.fill(0, this.#used);
    this.#compress(this.#used, -1);
    for (let i = 0; i < 8; i++) this.#words[i] = this.#h[i]!;
    return this.#digest;
  }

  /** HMAC of `a || b`; as {@link finish}. */
  hmac(key: Uint8Array, a: Uint8Array, b?: Uint8Array): Uint8Array {
    this.start(32);
    this.#pad(key, 0x36363636);
    this.update(a);
    if (b !== undefined) this.update(b);
    const inner = this.finish().slice();
    this.start(32);
    this.#pad(key, 0x5c5c5c5c);
    this.update(inner);
    inner.fill(0);
    return this.finish();
  }

  /** Erases what is left of the last input and digest. */
  forget(): void {
    this.#block.fill(0);
    this.#h.fill(0);
    this.#m.fill(0);
  }

  /** Compresses the key of an HMAC, every byte of the block XORed with a constant. */
  #pad(key: Uint8Array, word: number): void {
    const words = this.#words;
    this.#block.fill(0);
    this.#block.set(key);
    for (let i = 0; i < 16; i++) words[i]! ^= word;
    this.#used = BLOCK_BYTES;
  }

  #compress(bytes: number, last: number): void {
    this.#count += bytes;
    this.#used = 0;
    const m = this.#m;
    const words = this.#words;
    for (let i = 0; i < 16; i++) m[i] = words[i]!;
    mix(this.#h, m, this.#count | 0, Math.floor(this.#count / 0x1_0000_0000) | 0, last);
  }
}

/** The compression function F (RFC 7693 §3.2): `low` and `high` count bytes, `last` is -1 for the last block. */
function mix(h: number[], m: readonly number[], low: number, high: number, last: number): void {
  let v0 = h[0]!;
  let v1 = h[1]!;
  let v2 = h[2]!;
  let v3 = h[3]!;
  let v4 = h[4]!;
  let v5 = h[5]!;
  let v6 = h[6]!;
  let v7 = h[7]!;
  let v8 = 0x6a09e667;
  let v9 = 0xbb67ae85 | 0;
  let va = 0x3c6ef372;
  let vb = 0xa54ff53a | 0;
  let vc = 0x510e527f ^ low;
  let vd = (0x9b05688c | 0) ^ high;
  let ve = 0x1f83d9ab ^ last;
  let vf = 0x5be0cd19;
  let t = 0;
  for (let i = 0; i < 160; ) {
    vc = ((t = vc ^ (v0 = (v0 + v4 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v4 = ((t = v4 ^ (v8 = (v8 + vc) | 0)) << 20) | ((t >> 12) & 0xfffff);
    vc = ((t = vc ^ (v0 = (v0 + v4 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v4 = ((t = v4 ^ (v8 = (v8 + vc) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
    vd = ((t = vd ^ (v1 = (v1 + v5 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v5 = ((t = v5 ^ (v9 = (v9 + vd) | 0)) << 20) | ((t >> 12) & 0xfffff);
    vd = ((t = vd ^ (v1 = (v1 + v5 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v5 = ((t = v5 ^ (v9 = (v9 + vd) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
    ve = ((t = ve ^ (v2 = (v2 + v6 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v6 = ((t = v6 ^ (va = (va + ve) | 0)) << 20) | ((t >> 12) & 0xfffff);
    ve = ((t = ve ^ (v2 = (v2 + v6 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v6 = ((t = v6 ^ (va = (va + ve) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
    vf = ((t = vf ^ (v3 = (v3 + v7 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v7 = ((t = v7 ^ (vb = (vb + vf) | 0)) << 20) | ((t >> 12) & 0xfffff);
    vf = ((t = vf ^ (v3 = (v3 + v7 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v7 = ((t = v7 ^ (vb = (vb + vf) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
    vf = ((t = vf ^ (v0 = (v0 + v5 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v5 = ((t = v5 ^ (va = (va + vf) | 0)) << 20) | ((t >> 12) & 0xfffff);
    vf = ((t = vf ^ (v0 = (v0 + v5 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v5 = ((t = v5 ^ (va = (va + vf) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
    vc = ((t = vc ^ (v1 = (v1 + v6 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v6 = ((t = v6 ^ (vb = (vb + vc) | 0)) << 20) | ((t >> 12) & 0xfffff);
    vc = ((t = vc ^ (v1 = (v1 + v6 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v6 = ((t = v6 ^ (vb = (vb + vc) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
    vd = ((t = vd ^ (v2 = (v2 + v7 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v7 = ((t = v7 ^ (v8 = (v8 + vd) | 0)) << 20) | ((t >> 12) & 0xfffff);
    vd = ((t = vd ^ (v2 = (v2 + v7 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v7 = ((t = v7 ^ (v8 = (v8 + vd) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
    ve = ((t = ve ^ (v3 = (v3 + v4 + m[ORDER[i++]!]!) | 0)) << 16) | ((t >> 16) & 0xffff);
    v4 = ((t = v4 ^ (v9 = (v9 + ve) | 0)) << 20) | ((t >> 12) & 0xfffff);
    ve = ((t = ve ^ (v3 = (v3 + v4 + m[ORDER[i++]!]!) | 0)) << 24) | ((t >> 8) & 0xffffff);
    v4 = ((t = v4 ^ (v9 = (v9 + ve) | 0)) << 25) | ((t >> 7) & 0x1ffffff);
  }
  h[0]! ^= v0 ^ v8;
  h[1]! ^= v1 ^ v9;
  h[2]! ^= v2 ^ va;
  h[3]! ^= v3 ^ vb;
  h[4]! ^= v4 ^ vc;
  h[5]! ^= v5 ^ vd;
  h[6]! ^= v6 ^ ve;
  h[7]! ^= v7 ^ vf;
}
