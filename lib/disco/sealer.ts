/**
 * What goes out: a message written, sealed and put into a slot.
 */
import type { Endpoint } from '../base/address.ts';
import { equalRange } from '../base/bytes.ts';
import type { Slot } from '../base/slot.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { flatHex } from './flat-hex.ts';
import {
  callBytes,
  DISCO_HEADER_BYTES,
  DISCO_ID_BYTES,
  DISCO_KEY_BYTES,
  DISCO_NONCE_AT,
  DISCO_TAG_BYTES,
  RELAY_ADDRESS,
  writeCall,
  writeDiscoHeader,
  writePing,
  writePong,
} from './message.ts';
import type { DiscoOptions } from './types.ts';

/** Room for a ping or a pong. Memory for a message is made as it is sealed: that is rare. */
const SHORT_MESSAGE_BYTES = 48;

/** Seals messages. Box keys are 32 bytes; slots have room for 656 bytes (RangeError otherwise). */
export class Sealer {
  /** Our public disco key, and behind it the node key that pings name: 32 bytes each. */
  readonly ownKeys = new Uint8Array(2 * DISCO_KEY_BYTES);
  readonly #random: (out: Uint8Array) => void;
  readonly #suite: CryptoSuite;

  /** For the owner of the private key. */
  constructor({ random, suite, privateKey, nodeKey }: DiscoOptions) {
    this.#random = random;
    this.#suite = suite;
    suite.publicKey(this.ownKeys.subarray(0, DISCO_KEY_BYTES), privateKey.bytes);
    this.ownKeys.set(nodeKey, DISCO_KEY_BYTES);
  }

  /** Our public disco key: 32 bytes, a view. */
  get publicKey(): Uint8Array {
    return this.ownKeys.subarray(0, DISCO_KEY_BYTES);
  }

  /** Whether this is our node key. */
  isOwnNode(nodeKey: Uint8Array): boolean {
    return equalRange(nodeKey, 0, this.ownKeys, DISCO_KEY_BYTES, DISCO_KEY_BYTES);
  }

  /** A ping; its transaction id in hex. */
  ping(slot: Slot, boxKey: Uint8Array): string {
    const plain = new Uint8Array(SHORT_MESSAGE_BYTES);
    const id = new Uint8Array(DISCO_ID_BYTES);
    this.#random(id);
    this.#seal(slot, boxKey, plain, writePing(plain, 0, id, this.ownKeys.subarray(DISCO_KEY_BYTES)));
    return flatHex(id);
  }

  /** The pong to a ping that came from `observed`, or (undefined) through the relay of `region`. */
  pong(slot: Slot, boxKey: Uint8Array, id: Uint8Array, observed: Endpoint | undefined, region: number): void {
    const plain = new Uint8Array(SHORT_MESSAGE_BYTES);
    const from = observed ?? { address: RELAY_ADDRESS, port: region };
    this.#seal(slot, boxKey, plain, writePong(plain, 0, id, from));
  }

  /** A call with up to 32 addresses. */
  call(slot: Slot, boxKey: Uint8Array, endpoints: readonly Endpoint[]): void {
    const plain = new Uint8Array(callBytes(endpoints.length));
    this.#seal(slot, boxKey, plain, writeCall(plain, 0, endpoints));
  }

  #seal(slot: Slot, boxKey: Uint8Array, plain: Uint8Array, length: number): void {
    const { buf, start } = slot;
    const boxAt = start + DISCO_HEADER_BYTES;
    slot.end = boxAt + DISCO_TAG_BYTES + length;
    if (slot.end > buf.length) throw new RangeError(`"slot" expected room for ${slot.end - start} bytes`);
    const nonce = buf.subarray(start + DISCO_NONCE_AT, boxAt);
    this.#random(nonce);
    writeDiscoHeader(buf, start, this.publicKey, nonce);
    this.#suite.boxSeal(buf.subarray(boxAt, slot.end), boxKey, nonce, plain.subarray(0, length));
  }
}
