/**
 * The Noise handshake pattern IK over 25519, ChaChaPoly and BLAKE2s (Noise rev 34 §7.5), one line per token:
 *
 *     <- s
 *     ...
 *     -> e, es, s, ss
 *     <- e, ee, se
 *
 * The control protocol uses it with empty payloads. A message that does not fit ends the handshake: over a byte stream
 * there is no second try. Who holds the first message can send it again; only what comes after the split proves that
 * the other side holds its key now.
 * Left out: framing, and the transport after the split (the control protocol counts its nonces in another byte order).
 */
import { utf8Encode } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { NoiseResult } from './ikpsk2.ts';
import { NOISE_TAG_BYTES, SymmetricState } from './symmetric.ts';

const PROTOCOL_NAME = 'Noise_IK_25519_ChaChaPoly_BLAKE2s';

/** Bytes of a Curve25519 key. */
const KEY_BYTES = 32;
/** Offset of the encrypted payload in the first message: behind e and the encrypted s. */
const FIRST_PAYLOAD_AT = KEY_BYTES + KEY_BYTES + NOISE_TAG_BYTES;

/** Bytes of the first message with an empty payload: e, s, tag. */
export const IK_FIRST_BYTES = FIRST_PAYLOAD_AT + NOISE_TAG_BYTES;
/** Bytes of the second message with an empty payload: e, tag. */
export const IK_SECOND_BYTES = KEY_BYTES + NOISE_TAG_BYTES;

/** One handshake, as initiator or as responder; the methods of one role are called in the order of the messages. */
export class Ik {
  readonly #suite: CryptoSuite;
  readonly #state: SymmetricState;
  /** Own ephemeral secret. */
  readonly #e = new Uint8Array(KEY_BYTES);
  /** The other side's ephemeral public key. */
  readonly #re = new Uint8Array(KEY_BYTES);
  /** The other side's static public key. */
  readonly #rs = new Uint8Array(KEY_BYTES);

  /** Starts with the pre-message: `responderStatic` is the responder's public key, own or not. */
  constructor(suite: CryptoSuite, prologue: Uint8Array, responderStatic: Uint8Array) {
    this.#suite = suite;
    this.#state = new SymmetricState(suite, utf8Encode(PROTOCOL_NAME));
    this.#state.mixHash(prologue);
    this.#state.mixHash(responderStatic); // <- s
    this.#rs.set(responderStatic);
  }

  /**
   * Initiator: writes `-> e, es, s, ss` and the payload into `out` (96 bytes + payload). `ephemeral` is a fresh random
   * secret; the keys are 32 bytes.
   */
  writeFirst(
    out: Uint8Array,
    ephemeral: Uint8Array,
    staticSecret: Uint8Array,
    staticPublic: Uint8Array,
    payload: Uint8Array,
  ): NoiseResult {
    this.#writeEphemeral(out.subarray(0, KEY_BYTES), ephemeral); // e
    const isContributory = this.#mixDh(this.#e, this.#rs); // es
    if (!isContributory) return 'low-order'; // CHECK: noise-ik-initiator-es
    this.#state.encryptAndHash(out.subarray(KEY_BYTES, FIRST_PAYLOAD_AT), staticPublic); // s
    this.#mixDh(staticSecret, this.#rs); // ss: not all zero, since es with the same key was not
    this.#state.encryptAndHash(out.subarray(FIRST_PAYLOAD_AT), payload);
    return 'ok';
  }

  /**
   * Responder: reads `-> e, es, s, ss` and the payload (96 bytes less than the message), and gives the sender's static
   * key, which is worth something only with `ok`.
   */
  readFirst(senderStatic: Uint8Array, payload: Uint8Array, message: Uint8Array, staticSecret: Uint8Array): NoiseResult {
    this.#readEphemeral(message.subarray(0, KEY_BYTES)); // e
    const isContributory = this.#mixDh(staticSecret, this.#re); // es
    if (!isContributory) return 'low-order'; // CHECK: noise-ik-responder-es
    const isStatic = this.#state.decryptAndHash(senderStatic, message.subarray(KEY_BYTES, FIRST_PAYLOAD_AT)); // s
    if (!isStatic) return 'decrypt'; // CHECK: noise-ik-static-tag
    this.#rs.set(senderStatic);
    const isStaticGood = this.#mixDh(staticSecret, this.#rs); // ss
    if (!isStaticGood) return 'low-order'; // CHECK: noise-ik-responder-ss
    const isAuthentic = this.#state.decryptAndHash(payload, message.subarray(FIRST_PAYLOAD_AT));
    if (!isAuthentic) return 'decrypt'; // CHECK: noise-ik-payload-tag
    return 'ok';
  }

  /** Responder: writes `<- e, ee, se` and the payload into `out` (48 bytes + payload). */
  writeSecond(out: Uint8Array, ephemeral: Uint8Array, payload: Uint8Array): NoiseResult {
    this.#writeEphemeral(out.subarray(0, KEY_BYTES), ephemeral); // e
    this.#mixDh(this.#e, this.#re); // ee and se: readFirst has refused keys of low order
    this.#mixDh(this.#e, this.#rs);
    this.#state.encryptAndHash(out.subarray(KEY_BYTES), payload);
    return 'ok';
  }

  /** Initiator: reads `<- e, ee, se` and the payload (48 bytes less than the message). */
  readSecond(payload: Uint8Array, message: Uint8Array, staticSecret: Uint8Array): NoiseResult {
    this.#readEphemeral(message.subarray(0, KEY_BYTES)); // e
    const isContributory = this.#mixDh(this.#e, this.#re); // ee
    if (!isContributory) return 'low-order'; // CHECK: noise-ik-initiator-ee
    this.#mixDh(staticSecret, this.#re); // se: not all zero, since ee with the same key was not
    const isAuthentic = this.#state.decryptAndHash(payload, message.subarray(KEY_BYTES));
    if (!isAuthentic) return 'decrypt'; // CHECK: noise-ik-response-tag
    return 'ok';
  }

  /** Both: the transport keys, 32 bytes each; the initiator sends with `first`, the responder with `second`. */
  split(first: Uint8Array, second: Uint8Array): void {
    this.#state.split(first, second);
  }

  /** A copy of the handshake hash. */
  handshakeHash(): Uint8Array {
    return this.#state.handshakeHash();
  }

  /** Erases all that is secret or tells who spoke. */
  wipe(): void {
    this.#state.wipe();
    this.#e.fill(0);
    this.#re.fill(0);
    this.#rs.fill(0);
  }

  #writeEphemeral(out: Uint8Array, secret: Uint8Array): void {
    this.#e.set(secret);
    this.#suite.publicKey(out, secret);
    this.#state.mixHash(out);
  }

  #readEphemeral(publicKey: Uint8Array): void {
    this.#re.set(publicKey);
    this.#state.mixHash(publicKey);
  }

  #mixDh(secret: Uint8Array, publicKey: Uint8Array): boolean {
    const shared = new Uint8Array(KEY_BYTES);
    const isContributory = this.#suite.dh(shared, secret, publicKey);
    if (isContributory) this.#state.mixKey(shared);
    shared.fill(0);
    return isContributory;
  }
}
