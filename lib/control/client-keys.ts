/**
 * The node keys of a device: the one in force, and the next one, which replaces it when the coordinator has accepted it.
 *
 * INVARIANT: a key is used only after the caller has said that it is stored. So a device that stops at any point has
 * every key that the coordinator may know of.
 */
import { formatKey } from '../crypto/key-text.ts';
import { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';

/** See the top of the file. */
export class NodeKeys {
  /** In force. */
  current: SecretKey;
  /** Stored, not accepted yet. */
  next: SecretKey | undefined;
  readonly #suite: CryptoSuite;
  #offered: SecretKey | undefined = undefined;

  constructor(suite: CryptoSuite, current: SecretKey, next: SecretKey | undefined) {
    this.#suite = suite;
    this.current = current;
    this.next = next;
  }

  /** A new key that the caller is to store; undefined while an earlier one waits for that. */
  offer(random: (out: Uint8Array) => void): SecretKey | undefined {
    if (this.#offered !== undefined) return undefined;
    this.#offered = SecretKey.generate(random);
    return this.#offered;
  }

  /** The caller has stored the key that was offered. RangeError for any other key. */
  adopt(key: SecretKey): void {
    if (key !== this.#offered) throw new RangeError('"key" expected the key of the last node-key event'); // CHECK: control-adopt-key
    this.next = key;
    this.#offered = undefined;
  }

  /** The coordinator has accepted the next key. */
  promote(): void {
    this.current = this.next ?? this.current;
    this.next = undefined;
  }

  /** Public half of a key, worked out anew each time: 32 bytes. */
  publicOf(key: SecretKey): Uint8Array {
    const bytes = new Uint8Array(32);
    this.#suite.publicKey(bytes, key.bytes);
    return bytes;
  }

  /** Public half of a key as text; zeros for none. */
  textOf(key: SecretKey | undefined): string {
    return formatKey('nodekey', key === undefined ? new Uint8Array(32) : this.publicOf(key));
  }
}
