/**
 * The Noise symmetric state over 25519, ChaChaPoly and BLAKE2s (Noise rev 34 §5.2): chaining key, handshake hash,
 * and the key of the moment with its nonce.
 *
 * A failed decryption leaves everything as it was, the nonce included. Nothing here knows a pattern or a message.
 */
import { isAllZero, writeU64LE } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { kdf2, kdf3 } from './kdf.ts';

/** Bytes that an encrypted field is longer than its plaintext. */
export const NOISE_TAG_BYTES = 16;

/** State of one handshake; erase it with {@link SymmetricState.wipe} when the handshake is over. */
export class SymmetricState {
  readonly #suite: CryptoSuite;
  readonly #chainingKey = new Uint8Array(32);
  readonly #hash = new Uint8Array(32);
  readonly #key = new Uint8Array(32);
  /** -1: no key yet, fields pass in the clear (Noise §5.1 `HasKey`). */
  #nonce = -1;

  /** InitializeSymmetric: `protocolName` as ASCII bytes, hashed when longer than 32, else padded with zeros. */
  constructor(suite: CryptoSuite, protocolName: Uint8Array) {
    this.#suite = suite;
    if (protocolName.length <= 32) this.#hash.set(protocolName);
    else suite.hash(this.#hash, protocolName);
    this.#chainingKey.set(this.#hash);
  }

  /** A copy of the handshake hash (channel binding, and what tests look at). */
  handshakeHash(): Uint8Array {
    return this.#hash.slice();
  }

  /** A copy of the chaining key, for tests against vectors. */
  chainingKey(): Uint8Array {
    return this.#chainingKey.slice();
  }

  /** MixHash: `h = HASH(h || data)`. */
  mixHash(data: Uint8Array): void {
    this.#suite.hash(this.#hash, this.#hash, data);
  }

  /** MixKey: chaining key and key from `input`; the nonce starts at 0. */
  mixKey(input: Uint8Array): void {
    kdf2(this.#suite, this.#chainingKey, this.#key, this.#chainingKey, input);
    this.#nonce = 0;
  }

  /** MixKeyAndHash, the `psk` token: `psk` is 32 bytes; all zero is what WireGuard means by none. */
  mixPsk(psk: Uint8Array): void {
    const toHash = new Uint8Array(32);
    kdf3(this.#suite, this.#chainingKey, toHash, this.#key, this.#chainingKey, psk);
    this.mixHash(toHash);
    this.#nonce = 0;
  }

  /** EncryptAndHash: `out` is `plaintext` + 16 bytes, or as long as `plaintext` while there is no key. */
  encryptAndHash(out: Uint8Array, plaintext: Uint8Array): void {
    if (this.#nonce < 0) out.set(plaintext);
    else this.#suite.aeadSeal(out, this.#key, this.#nonceBytes(), this.#hash, plaintext);
    if (this.#nonce >= 0) this.#nonce++;
    this.mixHash(out);
  }

  /** DecryptAndHash: `out` is `ciphertext` - 16 bytes. False, with nothing changed but `out`, when the tag does not fit. */
  decryptAndHash(out: Uint8Array, ciphertext: Uint8Array): boolean {
    if (this.#nonce < 0) {
      out.set(ciphertext);
    } else {
      const isAuthentic = this.#suite.aeadOpen(out, this.#key, this.#nonceBytes(), this.#hash, ciphertext);
      if (!isAuthentic) return false; // CHECK: noise-tag
      this.#nonce++;
    }
    this.mixHash(ciphertext);
    return true;
  }

  /** Split: the two transport keys, 32 bytes each; `first` is the one with which the initiator sends. */
  split(first: Uint8Array, second: Uint8Array): void {
    kdf2(this.#suite, first, second, this.#chainingKey, new Uint8Array(0));
  }

  /** Becomes equal to `other`, so that a message can be tried without risk. */
  copyFrom(other: SymmetricState): void {
    this.#chainingKey.set(other.#chainingKey);
    this.#hash.set(other.#hash);
    this.#key.set(other.#key);
    this.#nonce = other.#nonce;
  }

  /** Erases the secrets; the state is of no use afterwards. */
  wipe(): void {
    this.#chainingKey.fill(0);
    this.#hash.fill(0);
    this.#key.fill(0);
    this.#nonce = -1;
  }

  /** Whether {@link wipe} has left nothing; for tests of key erasure. */
  get isWiped(): boolean {
    return isAllZero(this.#chainingKey) && isAllZero(this.#key) && isAllZero(this.#hash);
  }

  #nonceBytes(): Uint8Array {
    const nonce = new Uint8Array(12);
    writeU64LE(nonce, 4, this.#nonce);
    return nonce;
  }
}
