/**
 * What goes out: a message written, sealed and put into a slot.
 */
import type { Endpoint } from '../base/address.ts';
import type { Slot } from '../base/slot.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import {
  DISCO_HEADER_BYTES,
  DISCO_KEY_BYTES,
  DISCO_TAG_BYTES,
  MAX_MESSAGE_BYTES,
  writeCall,
  writeDiscoHeader,
  writePing,
  writePong,
} from './message.ts';
import type { DiscoOptions } from './types.ts';

const NONCE_BYTES = 24;
/** Room for a ping or a pong. Memory for a message is made as it is sealed: that is rare, and kept it would be 578 bytes. */
const SHORT_MESSAGE_BYTES = 48;

/** Seals messages. Box keys are 32 bytes; slots have room for 656 bytes (RangeError otherwise). */
export class Sealer {
  /** Our public disco key, and the node key that pings name. */
  readonly publicKey = new Uint8Array(DISCO_KEY_BYTES);
  nodeKey: Uint8Array;
  readonly #random: (out: Uint8Array) => void;
  readonly #suite: CryptoSuite;
  readonly #nonce = new Uint8Array(NONCE_BYTES);

  /** For the owner of the private key. */
  constructor({ random, suite, privateKey, nodeKey }: DiscoOptions) {
    this.#random = random;
    this.#suite = suite;
    this.nodeKey = nodeKey.slice();
    suite.publicKey(this.publicKey, privateKey.bytes);
  }

  /** A ping with this transaction id (12 bytes). */
  ping(slot: Slot, boxKey: Uint8Array, id: Uint8Array): void {
    const plain = new Uint8Array(SHORT_MESSAGE_BYTES);
    this.#seal(slot, boxKey, plain, writePing(plain, 0, id, this.nodeKey));
  }

  /** The pong to a ping that came from `observed`. */
  pong(slot: Slot, boxKey: Uint8Array, id: Uint8Array, observed: Endpoint): void {
    const plain = new Uint8Array(SHORT_MESSAGE_BYTES);
    this.#seal(slot, boxKey, plain, writePong(plain, 0, id, observed));
  }

  /** A call with up to 32 addresses. */
  call(slot: Slot, boxKey: Uint8Array, endpoints: readonly Endpoint[]): void {
    const plain = new Uint8Array(MAX_MESSAGE_BYTES);
    this.#seal(slot, boxKey, plain, writeCall(plain, 0, endpoints));
  }

  #seal(slot: Slot, boxKey: Uint8Array, plain: Uint8Array, length: number): void {
    const { buf, start } = slot;
    const boxAt = start + DISCO_HEADER_BYTES;
    slot.end = boxAt + DISCO_TAG_BYTES + length;
    if (slot.end > buf.length) throw new RangeError(`"slot" expected room for ${slot.end - start} bytes`);
    this.#random(this.#nonce);
    writeDiscoHeader(buf, start, this.publicKey, this.#nonce);
    this.#suite.boxSeal(buf.subarray(boxAt, slot.end), boxKey, this.#nonce, plain.subarray(0, length));
  }
}
