/**
 * HKDF as Noise uses it (Noise rev 34 §4.3, WireGuard §5.4 "KDF"): HMAC over BLAKE2s-256, one to three outputs.
 *
 * The HMAC is RFC 2104's over the unkeyed hash, not keyed BLAKE2s: WireGuard uses both, side by side, and mixing them
 * up is the classic mistake. The intermediate key is erased.
 */
import type { CryptoSuite } from '../crypto/suite.ts';

/** The shared part of all: `prk = HMAC(key, input)` and `t1 = HMAC(prk, 01)`. */
function extract(suite: CryptoSuite, prk: Uint8Array, t1: Uint8Array, key: Uint8Array, input: Uint8Array): void {
  suite.hmac(prk, key, input);
  suite.hmac(t1, prk, Uint8Array.of(1));
}

/** KDF1: 32 bytes into `t1`, which may be `key`. `key` is 32 bytes, `input` any length. */
export function kdf1(suite: CryptoSuite, t1: Uint8Array, key: Uint8Array, input: Uint8Array): void {
  const prk = new Uint8Array(32);
  extract(suite, prk, t1, key, input);
  prk.fill(0);
}

/** KDF2: 32 bytes each into `t1` (which may be `key`) and `t2`. */
export function kdf2(suite: CryptoSuite, t1: Uint8Array, t2: Uint8Array, key: Uint8Array, input: Uint8Array): void {
  const prk = new Uint8Array(32);
  extract(suite, prk, t1, key, input);
  suite.hmac(t2, prk, t1, Uint8Array.of(2));
  prk.fill(0);
}

/** KDF3: 32 bytes each into `t1` (which may be `key`), `t2` and `t3`. */
export function kdf3(
  suite: CryptoSuite,
  t1: Uint8Array,
  t2: Uint8Array,
  t3: Uint8Array,
  key: Uint8Array,
  input: Uint8Array,
): void {
  const prk = new Uint8Array(32);
  extract(suite, prk, t1, key, input);
  suite.hmac(t2, prk, t1, Uint8Array.of(2));
  suite.hmac(t3, prk, t2, Uint8Array.of(3));
  prk.fill(0);
}
