/**
 * Disco keys of others with the box keys that follow from them: an X25519 each, so it is done once, and only when a
 * message comes or goes. Keys of peers in use stay; of other senders the last few are kept.
 */
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { flatHex } from './flat-hex.ts';
import { DISCO_KEY_BYTES } from './message.ts';

/** A disco key of somebody else. Keys are equal when their `text` is. */
export interface DiscoKey {
  readonly bytes: Uint8Array;
  /** In hex. */
  readonly text: string;
  /** How many peers in use have it: one, unless a device was shared or changed its owner. */
  peers: number;
  /** Undefined: not worked out yet; false: there is none, since the key is of low order. */
  box: Uint8Array | false | undefined;
}

/** The keys of one device. */
export class KeyRing {
  readonly #suite: CryptoSuite;
  readonly #privateKey: SecretKey;
  readonly #maxStrangers: number;
  readonly #keys = new Map<string, DiscoKey>();
  /** The one that was added first comes first. */
  readonly #strangers = new Map<string, DiscoKey>();

  /** Keeps up to `maxStrangers` keys of senders that are not in use. */
  constructor(suite: CryptoSuite, privateKey: SecretKey, maxStrangers: number) {
    this.#suite = suite;
    this.#privateKey = privateKey;
    this.#maxStrangers = maxStrangers;
  }

  /** Keys of peers in use, and of others; for tests and status. */
  get size(): number {
    return this.#keys.size + this.#strangers.size;
  }

  /** A key that is kept, by its hex text. */
  find(text: string): DiscoKey | undefined {
    return this.#keys.get(text) ?? this.#strangers.get(text);
  }

  /** Keeps the key of a sender that is not in use; copied. */
  addStranger(bytes: Uint8Array, text: string): DiscoKey {
    if (this.#strangers.size >= this.#maxStrangers) this.#dropOldest(); // CHECK: disco-strangers
    const key = { bytes: bytes.slice(), text, peers: 0, box: undefined };
    this.#strangers.set(text, key);
    return key;
  }

  /** A peer in use has this key (32 bytes, copied). */
  join(bytes: Uint8Array): DiscoKey {
    const text = flatHex(bytes);
    const key = this.find(text) ?? { bytes: bytes.slice(), text, peers: 0, box: undefined };
    this.#strangers.delete(text);
    this.#keys.set(text, key);
    key.peers++;
    return key;
  }

  /** A peer no longer has it, or is no longer in use. */
  leave(key: DiscoKey): void {
    if (--key.peers > 0) return;
    this.#keys.delete(key.text);
    if (key.box !== undefined && key.box !== false) key.box.fill(0);
    key.box = undefined;
  }

  /** The box key, 32 bytes, worked out once; undefined for a key of low order. */
  boxKey(key: DiscoKey): Uint8Array | undefined {
    if (key.box === undefined) {
      const box = new Uint8Array(DISCO_KEY_BYTES);
      key.box = this.#suite.boxKey(box, this.#privateKey.bytes, key.bytes) && box;
    }
    return key.box === false ? undefined : key.box;
  }

  #dropOldest(): void {
    for (const [text, { box }] of this.#strangers) {
      if (box !== undefined && box !== false) box.fill(0);
      this.#strangers.delete(text);
      return;
    }
  }
}
