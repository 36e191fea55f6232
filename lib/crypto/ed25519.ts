/**
 * Ed25519 signatures (RFC 8032 §5.1) as an interface of their own: only the signing of a tailnet's keys needs them, and
 * the portable implementation is too big for a board. `ed25519-noble.ts` is that one; a board has native code.
 *
 * Whether a signature is valid is decided by the rules of ZIP 215, which leave no case open: all members must agree.
 */

/** Sizes are in bytes. Arguments of a wrong size throw RangeError, except in `verify`, whose inputs may be anybody's. */
export interface Ed25519 {
  /** `noble`, `native`, … as status output shows it. */
  readonly name: string;
  /** The public key of a secret seed; both 32. */
  publicKey(out: Uint8Array, seed: Uint8Array): void;
  /** Signs `message` into `out` (64) with a seed (32). The same inputs give the same signature. */
  sign(out: Uint8Array, seed: Uint8Array, message: Uint8Array): void;
  /**
   * Whether `signature` (64) is one of `message` by `publicKey` (32), by the rules of ZIP 215: points need not be
   * encoded canonically and may be of small order, the scalar must be less than the group's order, and the equation has
   * the cofactor. False for anything else, wrong sizes included; never throws.
   */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}
