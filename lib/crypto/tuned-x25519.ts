/**
 * X25519 (RFC 7748 §5) for the tuned suite, with BigInt. Not constant time: the engine's BigInts take as long as their
 * values are big, and the ladder swaps by a branch.
 *
 * A remainder (`%`) costs XS as much as eight multiplications, so that products are folded: 2^256 is 38, modulo 2p.
 * One fold leaves less than 2^267, and what the next step adds up gets a second one, which leaves less than 2^257. A
 * multiple of p is added where a difference could be negative, for a mask over a negative number is slow.
 */

/** `out` becomes the result for the 32 bytes of `secret` (clamped here) and `point`. All may be the same memory. */
export function tunedX25519(out: Uint8Array, secret: Uint8Array, point: Uint8Array): void {
  const bytes = secret.slice();
  bytes[0]! &= 248;
  bytes[31] = (bytes[31]! & 127) | 64;
  const result = ladder(bytes, toNumber(point) & (2n ** 255n - 1n)); // RFC 7748 §5: the highest bit is ignored
  bytes.fill(0);
  const longs = new BigUint64Array(4);
  for (let i = 0; i < 4; i++) longs[i] = result >> BigInt(64 * i); // stored modulo 2^64
  out.set(new Uint8Array(longs.buffer));
  longs.fill(0n);
}

function toNumber(bytes: Uint8Array): bigint {
  const longs = new BigUint64Array(4);
  new Uint8Array(longs.buffer).set(bytes);
  return longs[0]! | (longs[1]! << 64n) | (longs[2]! << 128n) | (longs[3]! << 192n);
}

/** The numbers that folding needs. Made once per call: in XS a literal in a loop is decoded again each time. */
interface Folding {
  readonly width: bigint;
  readonly mask: bigint;
  readonly factor: bigint;
  readonly p2: bigint;
}

/** RFC 7748 §5 with its names; `a` and `b` are squared in place, `e` is their difference. */
function ladder(scalar: Uint8Array, x1: bigint): bigint {
  const p2 = 2n ** 256n - 38n;
  const folding: Folding = { width: 256n, mask: p2 + 37n, factor: 38n, p2 };
  const { width, mask, factor } = folding;
  const a24 = 121665n;
  const p4 = p2 * 2n;
  const pMany = p2 << 12n; // more than what one fold leaves
  let [x2, z2, x3, z3, t] = [1n, 0n, x1, 1n, 0n];
  let swapped = 0;
  for (let i = 254; i >= 0; i--) {
    const bit = (scalar[i >> 3]! >> (i & 7)) & 1;
    if (bit !== swapped) {
      t = x2;
      x2 = x3;
      x3 = t;
      t = z2;
      z2 = z3;
      z3 = t;
      swapped = bit;
    }
    let a = x2 + z2;
    let b = x2 - z2 + p4;
    t = (x3 - z3 + p4) * a;
    const d = (t & mask) + (t >> width) * factor;
    t = (x3 + z3) * b;
    const c = (t & mask) + (t >> width) * factor;
    a *= a;
    a = (a & mask) + (a >> width) * factor;
    b *= b;
    b = (b & mask) + (b >> width) * factor;
    t = a * b;
    t = (t & mask) + (t >> width) * factor;
    x2 = t - (t >> width) * p2;
    const e = a - b + pMany;
    t = e * (a + e * a24);
    t = (t & mask) + (t >> width) * factor;
    z2 = t - (t >> width) * p2;
    t = c + d;
    t *= t;
    t = (t & mask) + (t >> width) * factor;
    x3 = t - (t >> width) * p2;
    t = d - c;
    t *= t;
    t = ((t & mask) + (t >> width) * factor) * x1;
    t = (t & mask) + (t >> width) * factor;
    z3 = t - (t >> width) * p2;
  }
  return (x2 * invert(z2, folding)) % (p2 / 2n); // a clamped scalar ends in zeros: nothing is left swapped
}

/** `x` to the power of p - 2: its inverse, or 0 of 0. */
function invert(x: bigint, folding: Folding): bigint {
  const multiply = (a: bigint, b: bigint): bigint => squareAndMultiply(a, 0, b, folding);
  const x2 = multiply(x, x);
  const x9 = squareAndMultiply(x2, 2, x, folding);
  const x11 = multiply(x9, x2);
  const ones5 = squareAndMultiply(x11, 1, x9, folding); // 2^5 - 1
  const ones10 = squareAndMultiply(ones5, 5, ones5, folding);
  const ones20 = squareAndMultiply(ones10, 10, ones10, folding);
  const ones40 = squareAndMultiply(ones20, 20, ones20, folding);
  const ones50 = squareAndMultiply(ones40, 10, ones10, folding);
  const ones100 = squareAndMultiply(ones50, 50, ones50, folding);
  const ones200 = squareAndMultiply(ones100, 100, ones100, folding);
  const ones250 = squareAndMultiply(ones200, 50, ones50, folding);
  return squareAndMultiply(ones250, 5, x11, folding); // 2^255 - 32 + 11
}

/** Squares `t` so many times and multiplies it by `by`. */
function squareAndMultiply(t: bigint, times: number, by: bigint, folding: Folding): bigint {
  const { width, mask, factor, p2 } = folding;
  for (; times > 0; times--) {
    t *= t;
    t = (t & mask) + (t >> width) * factor;
    t -= (t >> width) * p2;
  }
  t *= by;
  t = (t & mask) + (t >> width) * factor;
  return t - (t >> width) * p2;
}
