/**
 * Arithmetic modulo p = 2^255 - 19 on ten limbs of 26, 25, 26, 25, … bits, as 64-bit words in memory (80 bytes).
 *
 * An element stands for the sum of limb[i] * 2^ceil(25.5 i). A product of two odd limbs lands one bit too high, hence
 * the factors of 2; what reaches 2^255 comes back times 19.
 *
 * INVARIANT: "tight" limbs, as `multiply`, `square`, `addScaled` and `decode` leave them, lie between -2^15 and 2^26 + 2^15
 * (even) or 2^25 + 2^15 (odd). `add` and `subtract` of tight elements give "loose" ones, twice as large. Every function
 * here takes loose elements: a column is then at most 2^61, and 64 bits hold it.
 *
 * No branch and no address depends on a value.
 */

import { wipe } from './bytes';

/** Bytes of an element in memory. */
export const ELEMENT_BYTES: usize = 80;

const MASK26: i64 = 0x3ffffff;
const MASK25: i64 = 0x1ffffff;

/** out = f + g; loose for tight inputs. */
export function add(out: usize, f: usize, g: usize): void {
  for (let i: usize = 0; i < ELEMENT_BYTES; i += 16) v128.store(out + i, i64x2.add(v128.load(f + i), v128.load(g + i)));
}

/** out = f - g; loose for tight inputs. */
export function subtract(out: usize, f: usize, g: usize): void {
  for (let i: usize = 0; i < ELEMENT_BYTES; i += 16) v128.store(out + i, i64x2.sub(v128.load(f + i), v128.load(g + i)));
}

/** Swaps f and g when `mask` is -1, leaves them when it is 0. */
export function swap(f: usize, g: usize, mask: i64): void {
  const select = i64x2.splat(mask);
  for (let i: usize = 0; i < ELEMENT_BYTES; i += 16) {
    const a = v128.load(f + i);
    const b = v128.load(g + i);
    const difference = v128.and(v128.xor(a, b), select);
    v128.store(f + i, v128.xor(a, difference));
    v128.store(g + i, v128.xor(b, difference));
  }
}

/** Carries every column into its neighbour at once, twice: columns of up to 2^61 become tight limbs. */
// @ts-ignore: decorator
@inline
function store10(out: usize, c0: i64, c1: i64, c2: i64, c3: i64, c4: i64, c5: i64, c6: i64, c7: i64, c8: i64, c9: i64): void {
  const d0 = (c0 & MASK26) + (c9 >> 25) * 19;
  const d1 = (c1 & MASK25) + (c0 >> 26);
  const d2 = (c2 & MASK26) + (c1 >> 25);
  const d3 = (c3 & MASK25) + (c2 >> 26);
  const d4 = (c4 & MASK26) + (c3 >> 25);
  const d5 = (c5 & MASK25) + (c4 >> 26);
  const d6 = (c6 & MASK26) + (c5 >> 25);
  const d7 = (c7 & MASK25) + (c6 >> 26);
  const d8 = (c8 & MASK26) + (c7 >> 25);
  const d9 = (c9 & MASK25) + (c8 >> 26);
  store<i64>(out, (d0 & MASK26) + (d9 >> 25) * 19, 0);
  store<i64>(out, (d1 & MASK25) + (d0 >> 26), 8);
  store<i64>(out, (d2 & MASK26) + (d1 >> 25), 16);
  store<i64>(out, (d3 & MASK25) + (d2 >> 26), 24);
  store<i64>(out, (d4 & MASK26) + (d3 >> 25), 32);
  store<i64>(out, (d5 & MASK25) + (d4 >> 26), 40);
  store<i64>(out, (d6 & MASK26) + (d5 >> 25), 48);
  store<i64>(out, (d7 & MASK25) + (d6 >> 26), 56);
  store<i64>(out, (d8 & MASK26) + (d7 >> 25), 64);
  store<i64>(out, (d9 & MASK25) + (d8 >> 26), 72);
}

/** out = f * g; `out` may be either. */
export function multiply(out: usize, f: usize, g: usize): void {
  const f0 = load<i64>(f, 0);
  const f1 = load<i64>(f, 8);
  const f2 = load<i64>(f, 16);
  const f3 = load<i64>(f, 24);
  const f4 = load<i64>(f, 32);
  const f5 = load<i64>(f, 40);
  const f6 = load<i64>(f, 48);
  const f7 = load<i64>(f, 56);
  const f8 = load<i64>(f, 64);
  const f9 = load<i64>(f, 72);
  const g0 = load<i64>(g, 0);
  const g1 = load<i64>(g, 8);
  const g2 = load<i64>(g, 16);
  const g3 = load<i64>(g, 24);
  const g4 = load<i64>(g, 32);
  const g5 = load<i64>(g, 40);
  const g6 = load<i64>(g, 48);
  const g7 = load<i64>(g, 56);
  const g8 = load<i64>(g, 64);
  const g9 = load<i64>(g, 72);
  const f1x2 = f1 * 2;
  const f3x2 = f3 * 2;
  const f5x2 = f5 * 2;
  const f7x2 = f7 * 2;
  const f9x2 = f9 * 2;
  const g1x19 = g1 * 19;
  const g2x19 = g2 * 19;
  const g3x19 = g3 * 19;
  const g4x19 = g4 * 19;
  const g5x19 = g5 * 19;
  const g6x19 = g6 * 19;
  const g7x19 = g7 * 19;
  const g8x19 = g8 * 19;
  const g9x19 = g9 * 19;
  store10(
    out,
    f0 * g0 + f1x2 * g9x19 + f2 * g8x19 + f3x2 * g7x19 + f4 * g6x19 + f5x2 * g5x19 + f6 * g4x19 + f7x2 * g3x19 + f8 * g2x19 + f9x2 * g1x19,
    f0 * g1 + f1 * g0 + f2 * g9x19 + f3 * g8x19 + f4 * g7x19 + f5 * g6x19 + f6 * g5x19 + f7 * g4x19 + f8 * g3x19 + f9 * g2x19,
    f0 * g2 + f1x2 * g1 + f2 * g0 + f3x2 * g9x19 + f4 * g8x19 + f5x2 * g7x19 + f6 * g6x19 + f7x2 * g5x19 + f8 * g4x19 + f9x2 * g3x19,
    f0 * g3 + f1 * g2 + f2 * g1 + f3 * g0 + f4 * g9x19 + f5 * g8x19 + f6 * g7x19 + f7 * g6x19 + f8 * g5x19 + f9 * g4x19,
    f0 * g4 + f1x2 * g3 + f2 * g2 + f3x2 * g1 + f4 * g0 + f5x2 * g9x19 + f6 * g8x19 + f7x2 * g7x19 + f8 * g6x19 + f9x2 * g5x19,
    f0 * g5 + f1 * g4 + f2 * g3 + f3 * g2 + f4 * g1 + f5 * g0 + f6 * g9x19 + f7 * g8x19 + f8 * g7x19 + f9 * g6x19,
    f0 * g6 + f1x2 * g5 + f2 * g4 + f3x2 * g3 + f4 * g2 + f5x2 * g1 + f6 * g0 + f7x2 * g9x19 + f8 * g8x19 + f9x2 * g7x19,
    f0 * g7 + f1 * g6 + f2 * g5 + f3 * g4 + f4 * g3 + f5 * g2 + f6 * g1 + f7 * g0 + f8 * g9x19 + f9 * g8x19,
    f0 * g8 + f1x2 * g7 + f2 * g6 + f3x2 * g5 + f4 * g4 + f5x2 * g3 + f6 * g2 + f7x2 * g1 + f8 * g0 + f9x2 * g9x19,
    f0 * g9 + f1 * g8 + f2 * g7 + f3 * g6 + f4 * g5 + f5 * g4 + f6 * g3 + f7 * g2 + f8 * g1 + f9 * g0,
  );
}

/** out = f * f; `out` may be `f`. */
export function square(out: usize, f: usize): void {
  const f0 = load<i64>(f, 0);
  const f1 = load<i64>(f, 8);
  const f2 = load<i64>(f, 16);
  const f3 = load<i64>(f, 24);
  const f4 = load<i64>(f, 32);
  const f5 = load<i64>(f, 40);
  const f6 = load<i64>(f, 48);
  const f7 = load<i64>(f, 56);
  const f8 = load<i64>(f, 64);
  const f9 = load<i64>(f, 72);
  const f0x2 = f0 * 2;
  const f1x2 = f1 * 2;
  const f1x4 = f1 * 4;
  const f2x2 = f2 * 2;
  const f3x2 = f3 * 2;
  const f3x4 = f3 * 4;
  const f4x2 = f4 * 2;
  const f5x2 = f5 * 2;
  const f5x4 = f5 * 4;
  const f5x19 = f5 * 19;
  const f6x2 = f6 * 2;
  const f6x19 = f6 * 19;
  const f7x2 = f7 * 2;
  const f7x4 = f7 * 4;
  const f7x19 = f7 * 19;
  const f8x2 = f8 * 2;
  const f8x19 = f8 * 19;
  const f9x2 = f9 * 2;
  const f9x19 = f9 * 19;
  store10(
    out,
    f0 * f0 + f1x4 * f9x19 + f2x2 * f8x19 + f3x4 * f7x19 + f4x2 * f6x19 + f5x2 * f5x19,
    f0x2 * f1 + f2x2 * f9x19 + f3x2 * f8x19 + f4x2 * f7x19 + f5x2 * f6x19,
    f0x2 * f2 + f1x2 * f1 + f3x4 * f9x19 + f4x2 * f8x19 + f5x4 * f7x19 + f6 * f6x19,
    f0x2 * f3 + f1x2 * f2 + f4x2 * f9x19 + f5x2 * f8x19 + f6x2 * f7x19,
    f0x2 * f4 + f1x4 * f3 + f2 * f2 + f5x4 * f9x19 + f6x2 * f8x19 + f7x2 * f7x19,
    f0x2 * f5 + f1x2 * f4 + f2x2 * f3 + f6x2 * f9x19 + f7x2 * f8x19,
    f0x2 * f6 + f1x4 * f5 + f2x2 * f4 + f3x2 * f3 + f7x4 * f9x19 + f8 * f8x19,
    f0x2 * f7 + f1x2 * f6 + f2x2 * f5 + f3x2 * f4 + f8x2 * f9x19,
    f0x2 * f8 + f1x4 * f7 + f2x2 * f6 + f3x4 * f5 + f4 * f4 + f9x2 * f9x19,
    f0x2 * f9 + f1x2 * f8 + f2x2 * f7 + f3x2 * f6 + f4x2 * f5,
  );
}

/** out = f + factor * g, for a factor below 2^20. */
export function addScaled(out: usize, f: usize, g: usize, factor: i64): void {
  store10(
    out,
    load<i64>(f, 0) + factor * load<i64>(g, 0),
    load<i64>(f, 8) + factor * load<i64>(g, 8),
    load<i64>(f, 16) + factor * load<i64>(g, 16),
    load<i64>(f, 24) + factor * load<i64>(g, 24),
    load<i64>(f, 32) + factor * load<i64>(g, 32),
    load<i64>(f, 40) + factor * load<i64>(g, 40),
    load<i64>(f, 48) + factor * load<i64>(g, 48),
    load<i64>(f, 56) + factor * load<i64>(g, 56),
    load<i64>(f, 64) + factor * load<i64>(g, 64),
    load<i64>(f, 72) + factor * load<i64>(g, 72),
  );
}

/** Squares f `times` times (at least once). */
function squareTimes(out: usize, f: usize, times: i32): void {
  square(out, f);
  for (let i = 1; i < times; i++) square(out, out);
}

const T0: usize = memory.data(80, 16);
const T1: usize = memory.data(80, 16);
const T2: usize = memory.data(80, 16);
const T3: usize = memory.data(80, 16);

/** out = f^(p-2), the inverse of f, and 0 for 0. 254 squarings and 11 multiplications, whatever f is. */
export function invert(out: usize, f: usize): void {
  square(T0, f); // 2
  squareTimes(T1, T0, 2); // 8
  multiply(T1, T1, f); // 9
  multiply(T0, T0, T1); // 11
  square(T2, T0); // 22
  multiply(T1, T1, T2); // 2^5 - 1
  squareTimes(T2, T1, 5);
  multiply(T1, T2, T1); // 2^10 - 1
  squareTimes(T2, T1, 10);
  multiply(T2, T2, T1); // 2^20 - 1
  squareTimes(T3, T2, 20);
  multiply(T2, T3, T2); // 2^40 - 1
  squareTimes(T2, T2, 10);
  multiply(T1, T2, T1); // 2^50 - 1
  squareTimes(T2, T1, 50);
  multiply(T2, T2, T1); // 2^100 - 1
  squareTimes(T3, T2, 100);
  multiply(T2, T3, T2); // 2^200 - 1
  squareTimes(T2, T2, 50);
  multiply(T1, T2, T1); // 2^250 - 1
  squareTimes(T1, T1, 5); // 2^255 - 2^5
  multiply(out, T1, T0); // 2^255 - 21
  wipe(T0, ELEMENT_BYTES);
  wipe(T1, ELEMENT_BYTES);
  wipe(T2, ELEMENT_BYTES);
  wipe(T3, ELEMENT_BYTES);
}

/** Reads 32 little-endian bytes; the top bit is ignored (RFC 7748 §5), a value of p or more is taken modulo p. */
export function decode(out: usize, from: usize): void {
  store<i64>(out, (load<u32>(from, 0) as i64) & MASK26, 0);
  store<i64>(out, ((load<u32>(from, 3) >> 2) as i64) & MASK25, 8);
  store<i64>(out, ((load<u32>(from, 6) >> 3) as i64) & MASK26, 16);
  store<i64>(out, ((load<u32>(from, 9) >> 5) as i64) & MASK25, 24);
  store<i64>(out, ((load<u32>(from, 12) >> 6) as i64) & MASK26, 32);
  store<i64>(out, (load<u32>(from, 16) as i64) & MASK25, 40);
  store<i64>(out, ((load<u32>(from, 19) >> 1) as i64) & MASK26, 48);
  store<i64>(out, ((load<u32>(from, 22) >> 3) as i64) & MASK25, 56);
  store<i64>(out, ((load<u32>(from, 25) >> 4) as i64) & MASK26, 64);
  store<i64>(out, ((load<u32>(from, 28) >> 6) as i64) & MASK25, 72);
}

/** Writes the value of a tight element, reduced to 0 … p-1, as 32 little-endian bytes. */
export function encode(out: usize, f: usize): void {
  let f0 = load<i64>(f, 0);
  let f1 = load<i64>(f, 8);
  let f2 = load<i64>(f, 16);
  let f3 = load<i64>(f, 24);
  let f4 = load<i64>(f, 32);
  let f5 = load<i64>(f, 40);
  let f6 = load<i64>(f, 48);
  let f7 = load<i64>(f, 56);
  let f8 = load<i64>(f, 64);
  let f9 = load<i64>(f, 72);
  // q = floor(value / p), which is -1, 0 or 1 for a tight element: the carry out of value + 19 * 2^-255 * value.
  let q = (19 * f9 + (1 << 24)) >> 25;
  q = (f0 + q) >> 26;
  q = (f1 + q) >> 25;
  q = (f2 + q) >> 26;
  q = (f3 + q) >> 25;
  q = (f4 + q) >> 26;
  q = (f5 + q) >> 25;
  q = (f6 + q) >> 26;
  q = (f7 + q) >> 25;
  q = (f8 + q) >> 26;
  q = (f9 + q) >> 25;
  // value - q * p = value + 19 q - q * 2^255; the mask at the top drops the last term.
  f0 += 19 * q;
  f1 += f0 >> 26;
  f0 &= MASK26;
  f2 += f1 >> 25;
  f1 &= MASK25;
  f3 += f2 >> 26;
  f2 &= MASK26;
  f4 += f3 >> 25;
  f3 &= MASK25;
  f5 += f4 >> 26;
  f4 &= MASK26;
  f6 += f5 >> 25;
  f5 &= MASK25;
  f7 += f6 >> 26;
  f6 &= MASK26;
  f8 += f7 >> 25;
  f7 &= MASK25;
  f9 += f8 >> 26;
  f8 &= MASK26;
  f9 &= MASK25;
  store<i64>(out, f0 | (f1 << 26) | (f2 << 51), 0);
  store<i64>(out, (f2 >> 13) | (f3 << 13) | (f4 << 38), 8);
  store<i64>(out, f5 | (f6 << 25) | (f7 << 51), 16);
  store<i64>(out, (f7 >> 13) | (f8 << 12) | (f9 << 38), 24);
}
