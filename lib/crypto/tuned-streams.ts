/**
 * ChaCha20 (RFC 8439 §2.3) and Salsa20 (Bernstein, "Salsa20 specification") for the tuned suite: whole blocks, XORed
 * into 32-bit words.
 *
 * The form follows from what XS charges: a local variable is the cheapest place for a word, a nested assignment saves
 * storing and fetching it, and a rotation written out costs a third of one in a function. Left out: machines that are
 * not little-endian.
 */

/** "expand 32-byte k" as four little-endian words. */
export const SIGMA = Object.freeze([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);

/** A cipher's core: XORs `blocks` blocks of 16 words from `at` on, by the 16 words of `s`, whose counter it advances. */
export type Blocks = (s: number[], words: Int32Array, at: number, blocks: number) => void;

/** ChaCha20; the counter is `s[12]`. */
export function chachaBlocks(s: number[], words: Int32Array, at: number, blocks: number): void {
  for (const end = at + 16 * blocks; at < end; at += 16) {
    let x0 = s[0]!;
    let x1 = s[1]!;
    let x2 = s[2]!;
    let x3 = s[3]!;
    let x4 = s[4]!;
    let x5 = s[5]!;
    let x6 = s[6]!;
    let x7 = s[7]!;
    let x8 = s[8]!;
    let x9 = s[9]!;
    let xa = s[10]!;
    let xb = s[11]!;
    let xc = s[12]!;
    let xd = s[13]!;
    let xe = s[14]!;
    let xf = s[15]!;
    let t = 0;
    for (let i = 10; i > 0; i--) {
      xc = ((t = xc ^ (x0 = (x0 + x4) | 0)) << 16) | ((t >> 16) & 0xffff);
      x4 = ((t = x4 ^ (x8 = (x8 + xc) | 0)) << 12) | ((t >> 20) & 0xfff);
      xc = ((t = xc ^ (x0 = (x0 + x4) | 0)) << 8) | ((t >> 24) & 0xff);
      x4 = ((t = x4 ^ (x8 = (x8 + xc) | 0)) << 7) | ((t >> 25) & 0x7f);
      xd = ((t = xd ^ (x1 = (x1 + x5) | 0)) << 16) | ((t >> 16) & 0xffff);
      x5 = ((t = x5 ^ (x9 = (x9 + xd) | 0)) << 12) | ((t >> 20) & 0xfff);
      xd = ((t = xd ^ (x1 = (x1 + x5) | 0)) << 8) | ((t >> 24) & 0xff);
      x5 = ((t = x5 ^ (x9 = (x9 + xd) | 0)) << 7) | ((t >> 25) & 0x7f);
      xe = ((t = xe ^ (x2 = (x2 + x6) | 0)) << 16) | ((t >> 16) & 0xffff);
      x6 = ((t = x6 ^ (xa = (xa + xe) | 0)) << 12) | ((t >> 20) & 0xfff);
      xe = ((t = xe ^ (x2 = (x2 + x6) | 0)) << 8) | ((t >> 24) & 0xff);
      x6 = ((t = x6 ^ (xa = (xa + xe) | 0)) << 7) | ((t >> 25) & 0x7f);
      xf = ((t = xf ^ (x3 = (x3 + x7) | 0)) << 16) | ((t >> 16) & 0xffff);
      x7 = ((t = x7 ^ (xb = (xb + xf) | 0)) << 12) | ((t >> 20) & 0xfff);
      xf = ((t = xf ^ (x3 = (x3 + x7) | 0)) << 8) | ((t >> 24) & 0xff);
      x7 = ((t = x7 ^ (xb = (xb + xf) | 0)) << 7) | ((t >> 25) & 0x7f);
      xf = ((t = xf ^ (x0 = (x0 + x5) | 0)) << 16) | ((t >> 16) & 0xffff);
      x5 = ((t = x5 ^ (xa = (xa + xf) | 0)) << 12) | ((t >> 20) & 0xfff);
      xf = ((t = xf ^ (x0 = (x0 + x5) | 0)) << 8) | ((t >> 24) & 0xff);
      x5 = ((t = x5 ^ (xa = (xa + xf) | 0)) << 7) | ((t >> 25) & 0x7f);
      xc = ((t = xc ^ (x1 = (x1 + x6) | 0)) << 16) | ((t >> 16) & 0xffff);
      x6 = ((t = x6 ^ (xb = (xb + xc) | 0)) << 12) | ((t >> 20) & 0xfff);
      xc = ((t = xc ^ (x1 = (x1 + x6) | 0)) << 8) | ((t >> 24) & 0xff);
      x6 = ((t = x6 ^ (xb = (xb + xc) | 0)) << 7) | ((t >> 25) & 0x7f);
      xd = ((t = xd ^ (x2 = (x2 + x7) | 0)) << 16) | ((t >> 16) & 0xffff);
      x7 = ((t = x7 ^ (x8 = (x8 + xd) | 0)) << 12) | ((t >> 20) & 0xfff);
      xd = ((t = xd ^ (x2 = (x2 + x7) | 0)) << 8) | ((t >> 24) & 0xff);
      x7 = ((t = x7 ^ (x8 = (x8 + xd) | 0)) << 7) | ((t >> 25) & 0x7f);
      xe = ((t = xe ^ (x3 = (x3 + x4) | 0)) << 16) | ((t >> 16) & 0xffff);
      x4 = ((t = x4 ^ (x9 = (x9 + xe) | 0)) << 12) | ((t >> 20) & 0xfff);
      xe = ((t = xe ^ (x3 = (x3 + x4) | 0)) << 8) | ((t >> 24) & 0xff);
      x4 = ((t = x4 ^ (x9 = (x9 + xe) | 0)) << 7) | ((t >> 25) & 0x7f);
    }
    words[at]! ^= x0 + s[0]!;
    words[at + 1]! ^= x1 + s[1]!;
    words[at + 2]! ^= x2 + s[2]!;
    words[at + 3]! ^= x3 + s[3]!;
    words[at + 4]! ^= x4 + s[4]!;
    words[at + 5]! ^= x5 + s[5]!;
    words[at + 6]! ^= x6 + s[6]!;
    words[at + 7]! ^= x7 + s[7]!;
    words[at + 8]! ^= x8 + s[8]!;
    words[at + 9]! ^= x9 + s[9]!;
    words[at + 10]! ^= xa + s[10]!;
    words[at + 11]! ^= xb + s[11]!;
    words[at + 12]! ^= xc + s[12]!;
    words[at + 13]! ^= xd + s[13]!;
    words[at + 14]! ^= xe + s[14]!;
    words[at + 15]! ^= xf + s[15]!;
    s[12] = (s[12]! + 1) | 0;
  }
}

/** Salsa20; the counter is `s[8]` (its upper half, `s[9]`, stays: no buffer has 2^32 blocks). */
export function salsaBlocks(s: number[], words: Int32Array, at: number, blocks: number): void {
  for (const end = at + 16 * blocks; at < end; at += 16) {
    let x0 = s[0]!;
    let x1 = s[1]!;
    let x2 = s[2]!;
    let x3 = s[3]!;
    let x4 = s[4]!;
    let x5 = s[5]!;
    let x6 = s[6]!;
    let x7 = s[7]!;
    let x8 = s[8]!;
    let x9 = s[9]!;
    let xa = s[10]!;
    let xb = s[11]!;
    let xc = s[12]!;
    let xd = s[13]!;
    let xe = s[14]!;
    let xf = s[15]!;
    let t = 0;
    for (let i = 10; i > 0; i--) {
      x4 ^= ((t = (x0 + xc) | 0) << 7) | ((t >> 25) & 0x7f);
      x8 ^= ((t = (x4 + x0) | 0) << 9) | ((t >> 23) & 0x1ff);
      xc ^= ((t = (x8 + x4) | 0) << 13) | ((t >> 19) & 0x1fff);
      x0 ^= ((t = (xc + x8) | 0) << 18) | ((t >> 14) & 0x3ffff);
      x9 ^= ((t = (x5 + x1) | 0) << 7) | ((t >> 25) & 0x7f);
      xd ^= ((t = (x9 + x5) | 0) << 9) | ((t >> 23) & 0x1ff);
      x1 ^= ((t = (xd + x9) | 0) << 13) | ((t >> 19) & 0x1fff);
      x5 ^= ((t = (x1 + xd) | 0) << 18) | ((t >> 14) & 0x3ffff);
      xe ^= ((t = (xa + x6) | 0) << 7) | ((t >> 25) & 0x7f);
      x2 ^= ((t = (xe + xa) | 0) << 9) | ((t >> 23) & 0x1ff);
      x6 ^= ((t = (x2 + xe) | 0) << 13) | ((t >> 19) & 0x1fff);
      xa ^= ((t = (x6 + x2) | 0) << 18) | ((t >> 14) & 0x3ffff);
      x3 ^= ((t = (xf + xb) | 0) << 7) | ((t >> 25) & 0x7f);
      x7 ^= ((t = (x3 + xf) | 0) << 9) | ((t >> 23) & 0x1ff);
      xb ^= ((t = (x7 + x3) | 0) << 13) | ((t >> 19) & 0x1fff);
      xf ^= ((t = (xb + x7) | 0) << 18) | ((t >> 14) & 0x3ffff);
      x1 ^= ((t = (x0 + x3) | 0) << 7) | ((t >> 25) & 0x7f);
      x2 ^= ((t = (x1 + x0) | 0) << 9) | ((t >> 23) & 0x1ff);
      x3 ^= ((t = (x2 + x1) | 0) << 13) | ((t >> 19) & 0x1fff);
      x0 ^= ((t = (x3 + x2) | 0) << 18) | ((t >> 14) & 0x3ffff);
      x6 ^= ((t = (x5 + x4) | 0) << 7) | ((t >> 25) & 0x7f);
      x7 ^= ((t = (x6 + x5) | 0) << 9) | ((t >> 23) & 0x1ff);
      x4 ^= ((t = (x7 + x6) | 0) << 13) | ((t >> 19) & 0x1fff);
      x5 ^= ((t = (x4 + x7) | 0) << 18) | ((t >> 14) & 0x3ffff);
      xb ^= ((t = (xa + x9) | 0) << 7) | ((t >> 25) & 0x7f);
      x8 ^= ((t = (xb + xa) | 0) << 9) | ((t >> 23) & 0x1ff);
      x9 ^= ((t = (x8 + xb) | 0) << 13) | ((t >> 19) & 0x1fff);
      xa ^= ((t = (x9 + x8) | 0) << 18) | ((t >> 14) & 0x3ffff);
      xc ^= ((t = (xf + xe) | 0) << 7) | ((t >> 25) & 0x7f);
      xd ^= ((t = (xc + xf) | 0) << 9) | ((t >> 23) & 0x1ff);
      xe ^= ((t = (xd + xc) | 0) << 13) | ((t >> 19) & 0x1fff);
      xf ^= ((t = (xe + xd) | 0) << 18) | ((t >> 14) & 0x3ffff);
    }
    words[at]! ^= x0 + s[0]!;
    words[at + 1]! ^= x1 + s[1]!;
    words[at + 2]! ^= x2 + s[2]!;
    words[at + 3]! ^= x3 + s[3]!;
    words[at + 4]! ^= x4 + s[4]!;
    words[at + 5]! ^= x5 + s[5]!;
    words[at + 6]! ^= x6 + s[6]!;
    words[at + 7]! ^= x7 + s[7]!;
    words[at + 8]! ^= x8 + s[8]!;
    words[at + 9]! ^= x9 + s[9]!;
    words[at + 10]! ^= xa + s[10]!;
    words[at + 11]! ^= xb + s[11]!;
    words[at + 12]! ^= xc + s[12]!;
    words[at + 13]! ^= xd + s[13]!;
    words[at + 14]! ^= xe + s[14]!;
    words[at + 15]! ^= xf + s[15]!;
    s[8] = (s[8]! + 1) | 0;
  }
}
