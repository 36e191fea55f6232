/**
 * Handshake messages (WireGuard §5.4.2, §5.4.3): the Noise pattern in its frame of type, indices and MACs.
 *
 * This file writes and reads messages; it keeps no state of peers and knows no time. When a handshake starts, what
 * becomes of its result, and in which order the checks around it run is in peer.ts and tunnel.ts.
 */
import { readU32LE, utf8Encode, writeU32LE } from '../base/bytes.ts';
import { type DropReason, dropReason } from '../base/drop.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { FIRST_MESSAGE_OVERHEAD, IkPsk2, type NoiseResult } from '../noise/ikpsk2.ts';
import { writeMacs } from './mac.ts';
import {
  INITIATION_MAC1_OFFSET,
  INITIATION_NOISE_OFFSET,
  INITIATION_TIMESTAMP_OFFSET,
  RESPONSE_MAC1_OFFSET,
  RESPONSE_NOISE_OFFSET,
  RESPONSE_RECEIVER_OFFSET,
  SENDER_OFFSET,
  TYPE_INITIATION,
  TYPE_RESPONSE,
} from './message.ts';
import { TIMESTAMP_BYTES, writeTimestamp } from './tai64n.ts';

const IDENTIFIER = 'WireGuard v1 zx2c4 Jason@zx2c4.com';

const DECRYPT = /* @__PURE__ */ dropReason('wg-handshake-decrypt');
const LOW_ORDER = /* @__PURE__ */ dropReason('wg-low-order-key');

/** An initiation of our own that waits for its response. */
export interface PendingInitiation {
  readonly peerId: number;
  readonly localIndex: number;
  readonly noise: IkPsk2;
}

/** An initiation of another side, authentic, that waits for our response. */
export interface ReceivedInitiation {
  readonly remoteIndex: number;
  readonly noise: IkPsk2;
}

/** The two transport keys in the order of this side, 32 bytes each; whoever has them erases them. */
export interface TransportKeys {
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
}

/** Writes and reads the handshake messages of one static key. */
export class Handshaker {
  readonly #suite: CryptoSuite;
  readonly #random: (out: Uint8Array) => void;
  readonly #secret: SecretKey;
  /** The public key of the static secret. */
  readonly publicKey = new Uint8Array(32);

  constructor(suite: CryptoSuite, random: (out: Uint8Array) => void, secret: SecretKey) {
    this.#suite = suite;
    this.#random = random;
    this.#secret = secret;
    suite.publicKey(this.publicKey, secret.bytes);
  }

  /** The shared secret with another static key; `undefined` for a key of low order, which can never shake hands. */
  staticStatic(publicKey: Uint8Array): Uint8Array | undefined {
    const shared = new Uint8Array(32);
    return this.#suite.dh(shared, this.#secret.bytes, publicKey) ? shared : undefined;
  }

  /** Writes an initiation (148 bytes) at `buf[start, ...)`; `undefined` when the peer's key is of low order. */
  writeInitiation(
    buf: Uint8Array,
    start: number,
    o: {
      peerId: number;
      localIndex: number;
      remoteStatic: Uint8Array;
      staticStatic: Uint8Array;
      tick: number;
      cookie: Uint8Array | undefined;
    },
  ): PendingInitiation | undefined {
    const noise = new IkPsk2(this.#suite, utf8Encode(IDENTIFIER), o.remoteStatic);
    const timestamp = new Uint8Array(TIMESTAMP_BYTES);
    writeTimestamp(timestamp, 0, o.tick);
    writeU32LE(buf, start, TYPE_INITIATION);
    writeU32LE(buf, start + SENDER_OFFSET, o.localIndex);
    const message = buf.subarray(start + INITIATION_NOISE_OFFSET, start + INITIATION_MAC1_OFFSET);
    const ephemeral = this.#drawEphemeral();
    const result = noise.writeFirst(message, ephemeral, this.publicKey, o.staticStatic, timestamp);
    ephemeral.fill(0);
    if (result !== 'ok') return undefined;
    writeMacs(this.#suite, buf, start, INITIATION_MAC1_OFFSET, o.remoteStatic, o.cookie);
    return { peerId: o.peerId, localIndex: o.localIndex, noise };
  }

  /**
   * Reads the first half of the initiation at `buf[start, ...)`: who calls. Gives the sender's static key in
   * `remoteStatic` (32 bytes), not yet proven to be its own; or the reason to drop the message.
   */
  readInitiationStatic(buf: Uint8Array, start: number, remoteStatic: Uint8Array): ReceivedInitiation | DropReason {
    const noise = new IkPsk2(this.#suite, utf8Encode(IDENTIFIER), this.publicKey);
    const from = start + INITIATION_NOISE_OFFSET;
    const message = buf.subarray(from, from + FIRST_MESSAGE_OVERHEAD);
    const result = noise.readFirstStatic(remoteStatic, message, this.#secret.bytes);
    if (result !== 'ok') return reasonOf(result); // CHECK: wg-initiation-static
    return { remoteIndex: readU32LE(buf, start + SENDER_OFFSET), noise };
  }

  /** Reads the second half, which proves the sender: 12 bytes of `timestamp`. Returns 0 or the reason to drop it. */
  readInitiationTimestamp(
    initiation: ReceivedInitiation,
    buf: Uint8Array,
    start: number,
    staticStatic: Uint8Array,
    timestamp: Uint8Array,
  ): 0 | DropReason {
    const sealed = buf.subarray(start + INITIATION_TIMESTAMP_OFFSET, start + INITIATION_MAC1_OFFSET);
    const result = initiation.noise.readFirstPayload(timestamp, sealed, staticStatic);
    return result === 'ok' ? 0 : reasonOf(result);
  }

  /** Writes the response (92 bytes) at `buf[start, ...)` and derives the keys; erases the initiation in any case. */
  writeResponse(
    buf: Uint8Array,
    start: number,
    initiation: ReceivedInitiation,
    o: { localIndex: number; remoteStatic: Uint8Array; psk: Uint8Array; cookie: Uint8Array | undefined },
  ): TransportKeys | undefined {
    writeU32LE(buf, start, TYPE_RESPONSE);
    writeU32LE(buf, start + SENDER_OFFSET, o.localIndex);
    writeU32LE(buf, start + RESPONSE_RECEIVER_OFFSET, initiation.remoteIndex);
    const message = buf.subarray(start + RESPONSE_NOISE_OFFSET, start + RESPONSE_MAC1_OFFSET);
    const ephemeral = this.#drawEphemeral();
    const result = initiation.noise.writeSecond(message, ephemeral, o.psk, new Uint8Array(0));
    ephemeral.fill(0);
    const keys = { sendKey: new Uint8Array(32), receiveKey: new Uint8Array(32) };
    if (result === 'ok') initiation.noise.split(keys.receiveKey, keys.sendKey);
    initiation.noise.wipe();
    if (result !== 'ok') return undefined;
    writeMacs(this.#suite, buf, start, RESPONSE_MAC1_OFFSET, o.remoteStatic, o.cookie);
    return keys;
  }

  /**
   * Reads the response at `buf[start, ...)` to our initiation and derives the keys, or says why it is to be dropped.
   * The initiation is erased on success only: whatever comes that does not fit, a good response can still follow.
   */
  readResponse(
    initiation: PendingInitiation,
    buf: Uint8Array,
    start: number,
    psk: Uint8Array,
  ): TransportKeys | DropReason {
    const message = buf.subarray(start + RESPONSE_NOISE_OFFSET, start + RESPONSE_MAC1_OFFSET);
    const result = initiation.noise.readSecond(new Uint8Array(0), message, this.#secret.bytes, psk);
    if (result !== 'ok') return reasonOf(result); // CHECK: wg-response-tag
    const keys = { sendKey: new Uint8Array(32), receiveKey: new Uint8Array(32) };
    initiation.noise.split(keys.sendKey, keys.receiveKey);
    initiation.noise.wipe();
    return keys;
  }

  #drawEphemeral(): Uint8Array {
    const ephemeral = new Uint8Array(32);
    this.#random(ephemeral);
    return ephemeral;
  }
}

function reasonOf(result: NoiseResult): DropReason {
  return result === 'low-order' ? LOW_ORDER : DECRYPT;
}
