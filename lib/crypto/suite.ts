/**
 * The crypto that motenet needs, as one synchronous interface (design: "Crypto").
 *
 * Several suites implement it: `noble` (portable, the reference), an accelerated one where the runtime allows, one for
 * XS. All run the same vectors. Nothing here knows a protocol: key derivation and nonces are the callers' business.
 */

/** The two ChaCha20-Poly1305 keys of a session, one for each direction (RFC 8439 §2.8), empty additional data. */
export interface Cipher {
  /**
   * Seals `buf[start, end)` in place and writes the 16-byte tag to `buf[end, end + 16)`.
   * The nonce is 4 zero bytes and `counter` (an integer of 0 to 2^53-1) as 64-bit little-endian.
   */
  seal(counter: number, buf: Uint8Array, start: number, end: number): void;
  /**
   * Opens `buf[start, end)` in place, its last 16 bytes being the tag: true leaves the plaintext in
   * `buf[start, end - 16)`, false means that the tag does not fit and that the bytes are not to be used.
   */
  open(counter: number, buf: Uint8Array, start: number, end: number): boolean;
  /** Erases the keys; later calls throw. */
  wipe(): void;
}

/** The primitives. Sizes are in bytes. Arguments of a wrong size throw RangeError: that is the caller's mistake. */
export interface CryptoSuite {
  /** `noble`, `wasm`, … as status output shows it. */
  readonly name: string;
  /** What whoever runs this has to know about the suite, as one line; a target prints it once. Most have none. */
  readonly warning?: string;
  /** BLAKE2s-256 (RFC 7693) of `a || b`; `out` is 32 and may be `a` or `b`. */
  hash(out: Uint8Array, a: Uint8Array, b?: Uint8Array): void;
  /** HMAC (RFC 2104, block 64) over BLAKE2s-256 of `a || b`; `out` is 32 and may alias any input; `key` at most 64. */
  hmac(out: Uint8Array, key: Uint8Array, a: Uint8Array, b?: Uint8Array): void;
  /** Keyed BLAKE2s with a digest of `out.length` (16 or 32) over `buf[start, end)`; `key` is 1 to 32. */
  mac(out: Uint8Array, key: Uint8Array, buf: Uint8Array, start: number, end: number): void;
  /** X25519 (RFC 7748 §5): all 32. False, with `out` zeroed, when the result is all zero (a low-order point). */
  dh(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean;
  /** The X25519 public key of a secret; both 32. The secret is clamped as RFC 7748 §5 says. */
  publicKey(out: Uint8Array, secret: Uint8Array): void;
  /** ChaCha20-Poly1305 (RFC 8439): key 32, nonce 12, `out` is plaintext + 16 and may overlap `plaintext` at its start. */
  aeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void;
  /**
   * The reverse: `out` is ciphertext - 16 and may overlap `ciphertext` at its start. False, with `out` zeroed, when the
   * tag does not fit.
   */
  aeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean;
  /** XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): nonce 24, otherwise as {@link aeadSeal}. */
  xaeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void;
  /** The reverse, as {@link aeadOpen}. */
  xaeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean;
  /**
   * The key of NaCl's box between a secret and a public key (HSalsa20 of their X25519 result): all 32. False, with
   * `out` zeroed, for a low-order point.
   */
  boxKey(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean;
  /** NaCl's box (XSalsa20-Poly1305): nonce 24, `out` is plaintext + 16, the tag first. `out` may overlap `plaintext`. */
  boxSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): void;
  /** The reverse: `out` is ciphertext - 16. False, with `out` zeroed, when the tag does not fit. */
  boxOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): boolean;
  /** A {@link Cipher} over copies of the 32-byte keys; it opens with the one that it seals with unless given another. */
  createCipher(sealKey: Uint8Array, openKey?: Uint8Array): Cipher;
  /**
   * Memory in which {@link Cipher} works without copying; a suite without such memory leaves it out. Meant for few,
   * long-lived buffers (output slots): what it returns is never given back.
   */
  allocate?(bytes: number): Uint8Array;
}
