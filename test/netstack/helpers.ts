/** Shared by the tests of packet, netstack and base: a seeded generator and small conveniences. */

/** A seeded generator with the signature of the `random` port (xorshift128+-like, 32-bit state words). */
export function seededRandom(seed: number): (out: Uint8Array) => void {
  let a = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return out => {
    for (let i = 0; i < out.length; i++) {
      a ^= a << 13;
      a ^= a >>> 17;
      a ^= a << 5;
      out[i] = a >>> 11;
    }
  };
}
