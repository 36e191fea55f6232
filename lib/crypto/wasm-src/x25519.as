/**
 * X25519 (RFC 7748 §5): the Montgomery ladder, one step per bit, the same steps for every scalar and point.
 *
 * Whether the result is all zero is for the caller to see; inputs and every intermediate value are erased.
 */
import { KEY_BYTES, wipe } from './bytes';
import { add, addScaled, decode, ELEMENT_BYTES, encode, invert, multiply, square, subtract, swap } from './field';

/** The 32-byte scalar; clamped here. */
export const SCALAR: usize = memory.data(KEY_BYTES, 16);
/** The 32-byte u-coordinate. */
export const POINT: usize = memory.data(KEY_BYTES, 16);
/** The 32-byte result. */
export const RESULT: usize = memory.data(KEY_BYTES, 16);

/** (A - 2) / 4 for the curve's A = 486662. */
const A24: i64 = 121665;

/** All elements of the ladder, so that they are erased as one. */
const ELEMENTS: usize = memory.data(1040, 16);
const X1: usize = ELEMENTS;
const X2: usize = ELEMENTS + 80;
const Z2: usize = ELEMENTS + 160;
const X3: usize = ELEMENTS + 240;
const Z3: usize = ELEMENTS + 320;
const A: usize = ELEMENTS + 400;
const B: usize = ELEMENTS + 480;
const C: usize = ELEMENTS + 560;
const D: usize = ELEMENTS + 640;
const AA: usize = ELEMENTS + 720;
const BB: usize = ELEMENTS + 800;
const DA: usize = ELEMENTS + 880;
const CB: usize = ELEMENTS + 960;

/** RESULT = SCALAR * POINT; SCALAR and POINT are erased. */
export function x25519(): void {
  store<u8>(SCALAR, load<u8>(SCALAR) & 248);
  store<u8>(SCALAR, (load<u8>(SCALAR, 31) & 127) | 64, 31);
  decode(X1, POINT);
  memory.copy(X3, X1, ELEMENT_BYTES);
  wipe(X2, 2 * ELEMENT_BYTES);
  store<i64>(X2, 1);
  wipe(Z3, ELEMENT_BYTES);
  store<i64>(Z3, 1);

  let previous: i64 = 0;
  for (let t = 254; t >= 0; t--) {
    const bit = ((load<u8>(SCALAR + (t >> 3)) as i64) >> (t & 7)) & 1;
    swap(X2, X3, -(bit ^ previous));
    swap(Z2, Z3, -(bit ^ previous));
    previous = bit;
    step();
  }
  swap(X2, X3, -previous);
  swap(Z2, Z3, -previous);

  invert(Z2, Z2);
  multiply(X2, X2, Z2);
  encode(RESULT, X2);
  wipe(ELEMENTS, 1040);
  wipe(SCALAR, KEY_BYTES);
  wipe(POINT, KEY_BYTES);
}

/** One rung: doubles (X2, Z2) and adds it to (X3, Z3). */
// @ts-ignore: decorator
@inline
function step(): void {
  add(A, X2, Z2);
  subtract(B, X2, Z2);
  add(C, X3, Z3);
  subtract(D, X3, Z3);
  multiply(DA, D, A);
  multiply(CB, C, B);
  square(AA, A);
  square(BB, B);
  add(C, DA, CB);
  subtract(D, DA, CB);
  square(X3, C);
  square(D, D);
  multiply(Z3, X1, D);
  multiply(X2, AA, BB);
  subtract(B, AA, BB);
  addScaled(A, AA, B, A24);
  multiply(Z2, B, A);
}
