/**
 * Poly1305 (RFC 8439 §2.5) in radix 2^32 with 64-bit multiplications.
 *
 * The clamp makes the low two bits of r1, r2, r3 zero, so that `q = (r >> 2) * 5` folds 2^130 = 5 exactly: a block
 * costs 21 multiplications and needs no repacking of the message. Carries go one word up and no further:
 *
 * INVARIANT between blocks: h0 < 1.125 * 2^33, h1..h3 < 2^33, h4 < 4. With r < 2^28 and q < 1.25 * 2^28 the largest
 * sum of products is below 1.82 * 2^63, so nothing overflows 64 bits.
 *
 * Every message here is padded to whole blocks (RFC 8439 §2.8), so each block gets the bit 2^128.
 */
import { wipe } from './bytes';

/** r0..r3 and h0..h4 as 64-bit words, then the 16 bytes that the tag adds (s). */
export const POLY: usize = memory.data(96, 16);
/** Where `finish` leaves the tag. */
export const TAG: usize = memory.data(16, 16);
/** One block, zero between uses. */
const LAST: usize = memory.data(16, 16);

/** Starts with the 32-byte one-time key at `key`. */
export function start(key: usize): void {
  store<u64>(POLY, load<u32>(key, 0) & 0x0fffffff, 0);
  store<u64>(POLY, load<u32>(key, 4) & 0x0ffffffc, 8);
  store<u64>(POLY, load<u32>(key, 8) & 0x0ffffffc, 16);
  store<u64>(POLY, load<u32>(key, 12) & 0x0ffffffc, 24);
  wipe(POLY + 32, 32);
  store<u64>(POLY, 0, 64);
  v128.store(POLY, v128.load(key, 16), 72);
}

/** Absorbs the whole blocks of `[from, end)`. */
export function absorb(from: usize, end: usize): void {
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

  for (; from + 16 <= end; from += 16) {
    const s0 = h0 + load<u32>(from, 0);
    const s1 = h1 + load<u32>(from, 4);
    const s2 = h2 + load<u32>(from, 8);
    const s3 = h3 + load<u32>(from, 12);
    const s4 = h4 + 1;
    const y0 = s0 * r0 + s1 * q3 + s2 * q2 + s3 * q1 + s4 * q0;
    const y1 = s0 * r1 + s1 * r0 + s2 * q3 + s3 * q2 + s4 * q1;
    const y2 = s0 * r2 + s1 * r1 + s2 * r0 + s3 * q3 + s4 * q2;
    const y3 = s0 * r3 + s1 * r2 + s2 * r1 + s3 * r0 + s4 * q3;
    const y4 = s4 * r4 + (y3 >> 32);
    h0 = (y0 & 0xffffffff) + (y4 >> 2) * 5;
    h1 = (y1 & 0xffffffff) + (y0 >> 32);
    h2 = (y2 & 0xffffffff) + (y1 >> 32);
    h3 = (y3 & 0xffffffff) + (y2 >> 32);
    h4 = y4 & 3;
  }

  store<u64>(POLY, h0, 32);
  store<u64>(POLY, h1, 40);
  store<u64>(POLY, h2, 48);
  store<u64>(POLY, h3, 56);
  store<u64>(POLY, h4, 64);
}

/** Absorbs `[from, end)`, the last block filled up with zeros. */
export function absorbPadded(from: usize, end: usize): void {
  absorb(from, end);
  const rest = (end - from) & 15;
  if (rest == 0) return;
  memory.copy(LAST, end - rest, rest);
  absorb(LAST, LAST + 16);
  wipe(LAST, 16);
}

/** Absorbs the lengths of additional data and ciphertext, leaves the tag in TAG and erases the state. */
export function finish(aadBytes: u32, bytes: u32): void {
  store<u64>(LAST, aadBytes, 0);
  store<u64>(LAST, bytes, 8);
  absorb(LAST, LAST + 16);
  wipe(LAST, 16);

  // Carry through, twice: the first pass leaves h4 above 3 at most by a little.
  let h0 = load<u64>(POLY, 32);
  let h1 = load<u64>(POLY, 40) + (h0 >> 32);
  let h2 = load<u64>(POLY, 48) + (h1 >> 32);
  let h3 = load<u64>(POLY, 56) + (h2 >> 32);
  let h4 = load<u64>(POLY, 64) + (h3 >> 32);
  h0 = (h0 & 0xffffffff) + (h4 >> 2) * 5;
  h1 = (h1 & 0xffffffff) + (h0 >> 32);
  h2 = (h2 & 0xffffffff) + (h1 >> 32);
  h3 = (h3 & 0xffffffff) + (h2 >> 32);
  h4 = (h4 & 3) + (h3 >> 32);
  h0 &= 0xffffffff;
  h1 &= 0xffffffff;
  h2 &= 0xffffffff;
  h3 &= 0xffffffff;

  // h + 5 reaches 2^130 exactly when h >= p = 2^130 - 5: then 5 more, without the bit 2^130, is h - p.
  let carry = (h0 + 5) >> 32;
  carry = (h1 + carry) >> 32;
  carry = (h2 + carry) >> 32;
  carry = (h3 + carry) >> 32;
  carry = ((h4 + carry) >> 2) * 5;
  carry += h0 + load<u32>(POLY, 72);
  store<u32>(TAG, carry as u32, 0);
  carry = (carry >> 32) + h1 + load<u32>(POLY, 76);
  store<u32>(TAG, carry as u32, 4);
  carry = (carry >> 32) + h2 + load<u32>(POLY, 80);
  store<u32>(TAG, carry as u32, 8);
  carry = (carry >> 32) + h3 + load<u32>(POLY, 84);
  store<u32>(TAG, carry as u32, 12);
  wipe(POLY, 96);
}
