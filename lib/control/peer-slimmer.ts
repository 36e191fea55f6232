/**
 * What a small device needs to keep slim records of peers: a tag for a disco key, and the peers whose records stay whole.
 *
 * The tag is keyed with a secret of this process: 8 bytes of keyed BLAKE2s. It recognises a key that the peer shows in the
 * clear and proves to own. Nobody without the secret can work out tags, so another key with the same tag can only be
 * looked for by sending messages to this device, 2^64 of them, at the rate that strangers are granted.
 */
import type { CryptoSuite } from '../crypto/suite.ts';

/** Bytes of a tag. */
export const DISCO_TAG_BYTES = 8;
const MAC_BYTES = 16;
const SECRET_BYTES = 32;

/** One for each process. */
export class PeerSlimmer {
  /** Ids of peers in use: what the coordinator says of them from now on is kept whole. */
  readonly wanted: number[] = [];
  readonly #suite: CryptoSuite;
  readonly #secret = new Uint8Array(SECRET_BYTES);

  /** `random` is asked once, for the secret. */
  constructor(suite: CryptoSuite, random: (out: Uint8Array) => void) {
    this.#suite = suite;
    random(this.#secret);
  }

  /** The tag of a disco key (32 bytes): a new array of 8. */
  tag(discoKey: Uint8Array): Uint8Array {
    const mac = new Uint8Array(MAC_BYTES);
    this.#suite.mac(mac, this.#secret, discoKey, 0, discoKey.length);
    return mac.subarray(0, DISCO_TAG_BYTES);
  }
}
