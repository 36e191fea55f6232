/**
 * ChaCha20 (RFC 8439 §2.3), four blocks at a time, with Poly1305 running beside it.
 *
 * Each of the sixteen vectors holds one state word of four consecutive blocks. The rounds keep the vector units busy
 * and leave the integer multiplier idle; Poly1305 needs just that. So `keystream` also absorbs up to sixteen blocks of
 * message between its rounds: together they take little longer than ChaCha20 alone.
 *
 * All time depends on lengths only. Left out: block counters that overflow 32 bits (a message would need 256 GiB).
 */
import { POLY } from './poly1305';
import { KEY_BYTES } from './bytes';

/** The 32-byte key, written by the caller before every call and erased after it. */
export const KEY: usize = memory.data(KEY_BYTES, 16);
/** The 12-byte nonce; `hchacha` reads 16. */
export const NONCE: usize = memory.data(16, 16);
/** Where `keystream` leaves four blocks. */
export const STREAM: usize = memory.data(256, 16);

/** Rotates each 32-bit lane left. Rotations by whole bytes are cheaper as a `swizzle`. */
// @ts-ignore: decorator
@inline
function rotate(x: v128, bits: i32): v128 {
  return v128.or(i32x4.shl(x, bits), i32x4.shr_u(x, 32 - bits));
}

/** The lanes of one column, for the transpose at the end: adds the feed-forward and stores 16 bytes of each block. */
// @ts-ignore: decorator
@inline
function emit(at: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5);
  const cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const abHigh = i32x4.shuffle(a, b, 2, 6, 3, 7);
  const cdHigh = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(at, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(at, i64x2.shuffle(ab, cd, 1, 3), 64);
  v128.store(at, i64x2.shuffle(abHigh, cdHigh, 0, 2), 128);
  v128.store(at, i64x2.shuffle(abHigh, cdHigh, 1, 3), 192);
}

/**
 * Writes the blocks `counter` to `counter + 3` of KEY and NONCE to STREAM, and meanwhile absorbs the message blocks
 * `[from, end)` (whole ones, at most 20, an even number) into the Poly1305 state.
 */
export function keystream(counter: u32, from: usize, end: usize): void {
  const by16 = i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  const by8 = i8x16(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14);

  const counters = i32x4.add(i32x4.splat(counter), i32x4(0, 1, 2, 3));
  let x0 = i32x4.splat(0x61707865);
  let x1 = i32x4.splat(0x3320646e);
  let x2 = i32x4.splat(0x79622d32);
  let x3 = i32x4.splat(0x6b206574);
  let x4 = v128.load32_splat(KEY, 0);
  let x5 = v128.load32_splat(KEY, 4);
  let x6 = v128.load32_splat(KEY, 8);
  let x7 = v128.load32_splat(KEY, 12);
  let x8 = v128.load32_splat(KEY, 16);
  let x9 = v128.load32_splat(KEY, 20);
  let x10 = v128.load32_splat(KEY, 24);
  let x11 = v128.load32_splat(KEY, 28);
  let x12 = counters;
  let x13 = v128.load32_splat(NONCE, 0);
  let x14 = v128.load32_splat(NONCE, 4);
  let x15 = v128.load32_splat(NONCE, 8);

  const r0 = load<u64>(POLY, 0);
  const r1 = load<u64>(POLY, 8);
  const r2 = load<u64>(POLY, 16);
  const r3 = load<u64>(POLY, 24);
  let h0 = load<u64>(POLY, 32);
  let h1 = load<u64>(POLY, 40);
  let h2 = load<u64>(POLY, 48);
  let h3 = load<u64>(POLY, 56);
  let h4 = load<u64>(POLY, 64);
  const q0 = (r0 >> 2) * 5;
  const q1 = (r1 >> 2) * 5;
  const q2 = (r2 >> 2) * 5;
  const q3 = (r3 >> 2) * 5;
  const r4 = r0 & 3;

  for (let round = 0; round < 10; round++) {
    for (const stop = min(from + 32, end); from < stop; from += 16) {
      // Poly1305, as in `absorb`
      const s0 = h0 + load<u32>(from, 0);
      let s1 = h1 + load<u32>(from, 4);
      let s2 = h2 + load<u32>(from, 8);
      let s3 = h3 + load<u32>(from, 12);
      let s4 = h4 + 1;
      let y0 = s0 * r0 + s1 * q3 + s2 * q2 + s3 * q1 + s4 * q0;
      let y1 = s0 * r1 + s1 * r0 + s2 * q3 + s3 * q2 + s4 * q1;
      let y2 = s0 * r2 + s1 * r1 + s2 * r0 + s3 * q3 + s4 * q2;
      let y3 = s0 * r3 + s1 * r2 + s2 * r1 + s3 * r0 + s4 * q3;
      let y4 = s4 * r4 + (y3 >> 32);
      h0 = (y0 & 0xffffffff) + (y4 >> 2) * 5;
      h1 = (y1 & 0xffffffff) + (y0 >> 32);
      h2 = (y2 & 0xffffffff) + (y1 >> 32);
      h3 = (y3 & 0xffffffff) + (y2 >> 32);
      h4 = y4 & 3;
    }

    // columns
    x0 = i32x4.add(x0, x4);
    x1 = i32x4.add(x1, x5);
    x2 = i32x4.add(x2, x6);
    x3 = i32x4.add(x3, x7);
    x12 = i8x16.swizzle(v128.xor(x12, x0), by16);
    x13 = i8x16.swizzle(v128.xor(x13, x1), by16);
    x14 = i8x16.swizzle(v128.xor(x14, x2), by16);
    x15 = i8x16.swizzle(v128.xor(x15, x3), by16);
    x8 = i32x4.add(x8, x12);
    x9 = i32x4.add(x9, x13);
    x10 = i32x4.add(x10, x14);
    x11 = i32x4.add(x11, x15);
    x4 = rotate(v128.xor(x4, x8), 12);
    x5 = rotate(v128.xor(x5, x9), 12);
    x6 = rotate(v128.xor(x6, x10), 12);
    x7 = rotate(v128.xor(x7, x11), 12);
    x0 = i32x4.add(x0, x4);
    x1 = i32x4.add(x1, x5);
    x2 = i32x4.add(x2, x6);
    x3 = i32x4.add(x3, x7);
    x12 = i8x16.swizzle(v128.xor(x12, x0), by8);
    x13 = i8x16.swizzle(v128.xor(x13, x1), by8);
    x14 = i8x16.swizzle(v128.xor(x14, x2), by8);
    x15 = i8x16.swizzle(v128.xor(x15, x3), by8);
    x8 = i32x4.add(x8, x12);
    x9 = i32x4.add(x9, x13);
    x10 = i32x4.add(x10, x14);
    x11 = i32x4.add(x11, x15);
    x4 = rotate(v128.xor(x4, x8), 7);
    x5 = rotate(v128.xor(x5, x9), 7);
    x6 = rotate(v128.xor(x6, x10), 7);
    x7 = rotate(v128.xor(x7, x11), 7);

    // diagonals
    x0 = i32x4.add(x0, x5);
    x1 = i32x4.add(x1, x6);
    x2 = i32x4.add(x2, x7);
    x3 = i32x4.add(x3, x4);
    x15 = i8x16.swizzle(v128.xor(x15, x0), by16);
    x12 = i8x16.swizzle(v128.xor(x12, x1), by16);
    x13 = i8x16.swizzle(v128.xor(x13, x2), by16);
    x14 = i8x16.swizzle(v128.xor(x14, x3), by16);
    x10 = i32x4.add(x10, x15);
    x11 = i32x4.add(x11, x12);
    x8 = i32x4.add(x8, x13);
    x9 = i32x4.add(x9, x14);
    x5 = rotate(v128.xor(x5, x10), 12);
    x6 = rotate(v128.xor(x6, x11), 12);
    x7 = rotate(v128.xor(x7, x8), 12);
    x4 = rotate(v128.xor(x4, x9), 12);
    x0 = i32x4.add(x0, x5);
    x1 = i32x4.add(x1, x6);
    x2 = i32x4.add(x2, x7);
    x3 = i32x4.add(x3, x4);
    x15 = i8x16.swizzle(v128.xor(x15, x0), by8);
    x12 = i8x16.swizzle(v128.xor(x12, x1), by8);
    x13 = i8x16.swizzle(v128.xor(x13, x2), by8);
    x14 = i8x16.swizzle(v128.xor(x14, x3), by8);
    x10 = i32x4.add(x10, x15);
    x11 = i32x4.add(x11, x12);
    x8 = i32x4.add(x8, x13);
    x9 = i32x4.add(x9, x14);
    x5 = rotate(v128.xor(x5, x10), 7);
    x6 = rotate(v128.xor(x6, x11), 7);
    x7 = rotate(v128.xor(x7, x8), 7);
    x4 = rotate(v128.xor(x4, x9), 7);
  }

  store<u64>(POLY, h0, 32);
  store<u64>(POLY, h1, 40);
  store<u64>(POLY, h2, 48);
  store<u64>(POLY, h3, 56);
  store<u64>(POLY, h4, 64);

  x0 = i32x4.add(x0, i32x4.splat(0x61707865));
  x1 = i32x4.add(x1, i32x4.splat(0x3320646e));
  x2 = i32x4.add(x2, i32x4.splat(0x79622d32));
  x3 = i32x4.add(x3, i32x4.splat(0x6b206574));
  emit(STREAM, x0, x1, x2, x3);
  x4 = i32x4.add(x4, v128.load32_splat(KEY, 0));
  x5 = i32x4.add(x5, v128.load32_splat(KEY, 4));
  x6 = i32x4.add(x6, v128.load32_splat(KEY, 8));
  x7 = i32x4.add(x7, v128.load32_splat(KEY, 12));
  emit(STREAM + 16, x4, x5, x6, x7);
  x8 = i32x4.add(x8, v128.load32_splat(KEY, 16));
  x9 = i32x4.add(x9, v128.load32_splat(KEY, 20));
  x10 = i32x4.add(x10, v128.load32_splat(KEY, 24));
  x11 = i32x4.add(x11, v128.load32_splat(KEY, 28));
  emit(STREAM + 32, x8, x9, x10, x11);
  x12 = i32x4.add(x12, counters);
  x13 = i32x4.add(x13, v128.load32_splat(NONCE, 0));
  x14 = i32x4.add(x14, v128.load32_splat(NONCE, 4));
  x15 = i32x4.add(x15, v128.load32_splat(NONCE, 8));
  emit(STREAM + 48, x12, x13, x14, x15);
}

/** HChaCha20 (draft-irtf-cfrg-xchacha-03 §2.2): replaces KEY by the subkey of KEY and the 16 bytes of NONCE. */
export function hchacha(): void {
  const by16 = i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  const by8 = i8x16(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14);
  let a = i32x4(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
  let b = v128.load(KEY);
  let c = v128.load(KEY, 16);
  let d = v128.load(NONCE);
  for (let round = 0; round < 20; round++) {
    a = i32x4.add(a, b);
    d = i8x16.swizzle(v128.xor(d, a), by16);
    c = i32x4.add(c, d);
    b = rotate(v128.xor(b, c), 12);
    a = i32x4.add(a, b);
    d = i8x16.swizzle(v128.xor(d, a), by8);
    c = i32x4.add(c, d);
    b = rotate(v128.xor(b, c), 7);
    // Columns become diagonals and, a round later, columns again: turned by 1, 2, 3 lanes and back by as many.
    const even = (round & 1) == 0;
    b = even ? i32x4.shuffle(b, b, 1, 2, 3, 0) : i32x4.shuffle(b, b, 3, 0, 1, 2);
    c = i32x4.shuffle(c, c, 2, 3, 0, 1);
    d = even ? i32x4.shuffle(d, d, 3, 0, 1, 2) : i32x4.shuffle(d, d, 1, 2, 3, 0);
  }
  v128.store(KEY, a);
  v128.store(KEY, d, 16);
}
