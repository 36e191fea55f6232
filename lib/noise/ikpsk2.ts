/**
 * The Noise handshake pattern IKpsk2 over 25519, ChaChaPoly and BLAKE2s (Noise rev 34 §7.5, §9.4), one line per token:
 *
 *     <- s
 *     ...
 *     -> e, es, s, ss
 *     <- e, ee, se, psk
 *
 * The first message is read in two steps, because a WireGuard responder must learn who calls before it can look up the
 * static-static secret. A second message that does not fit leaves the state as it was.
 * Left out: framing, indices and MACs, which are WireGuard's, and the transport after the split.
 */
import { utf8Encode } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { NOISE_TAG_BYTES, SymmetricState } from './symmetric.ts';

const PROTOCOL_NAME = 'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s';

/** Bytes of a Curve25519 key. */
const KEY_BYTES = 32;
/** Bytes of an encrypted static key. */
const SEALED_KEY_BYTES = KEY_BYTES + NOISE_TAG_BYTES;

/** Bytes of the first message in front of its encrypted payload: e, s. */
export const FIRST_MESSAGE_OVERHEAD = KEY_BYTES + SEALED_KEY_BYTES;
/** Bytes of the second message in front of its encrypted payload: e. */
const SECOND_MESSAGE_OVERHEAD = KEY_BYTES;

/** Outcome of a step: done, a Diffie-Hellman result was all zero, or a tag did not fit. */
export type NoiseResult = 'ok' | 'low-order' | 'decrypt';

/** One handshake, as initiator or as responder; the methods of one role are called in the order of the messages. */
export class IkPsk2 {
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
   * Initiator: writes `-> e, es, s, ss` and the payload into `out` (80 bytes + payload + 16).
   * `ephemeral` is a fresh random secret, `staticStatic` the shared secret of both static keys; all 32 bytes.
   */
  writeFirst(
    out: Uint8Array,
    ephemeral: Uint8Array,
    staticPublic: Uint8Array,
    staticStatic: Uint8Array,
    payload: Uint8Array,
  ): NoiseResult {
    const e = out.subarray(0, KEY_BYTES);
    this.#writeEphemeral(e, ephemeral); // e
    const isContributory = this.#mixDh(this.#e, this.#rs); // es
    if (!isContributory) return 'low-order'; // CHECK: noise-initiator-es
    this.#state.encryptAndHash(out.subarray(KEY_BYTES, FIRST_MESSAGE_OVERHEAD), staticPublic); // s
    this.#state.mixKey(staticStatic); // ss
    this.#state.encryptAndHash(out.subarray(FIRST_MESSAGE_OVERHEAD), payload);
    return 'ok';
  }

  /** Responder: reads `-> e, es, s` of the first message (its first 80 bytes) and gives the sender's static key. */
  readFirstStatic(senderStatic: Uint8Array, message: Uint8Array, staticSecret: Uint8Array): NoiseResult {
    this.#readEphemeral(message.subarray(0, KEY_BYTES)); // e
    const isContributory = this.#mixDh(staticSecret, this.#re); // es
    if (!isContributory) return 'low-order'; // CHECK: noise-responder-es
    const sealed = message.subarray(KEY_BYTES, FIRST_MESSAGE_OVERHEAD);
    const isAuthentic = this.#state.decryptAndHash(senderStatic, sealed); // s
    if (!isAuthentic) return 'decrypt'; // CHECK: noise-static-tag
    this.#rs.set(senderStatic);
    return 'ok';
  }

  /** Responder: reads `ss` and the payload, the rest of the first message. */
  readFirstPayload(payload: Uint8Array, ciphertext: Uint8Array, staticStatic: Uint8Array): NoiseResult {
    this.#state.mixKey(staticStatic); // ss
    const isAuthentic = this.#state.decryptAndHash(payload, ciphertext);
    if (!isAuthentic) return 'decrypt'; // CHECK: noise-payload-tag
    return 'ok';
  }

  /** Responder: writes `<- e, ee, se, psk` and the payload into `out` (32 bytes + payload + 16). */
  writeSecond(out: Uint8Array, ephemeral: Uint8Array, psk: Uint8Array, payload: Uint8Array): NoiseResult {
    this.#writeEphemeral(out.subarray(0, KEY_BYTES), ephemeral); // e
    const isEphemeralGood = this.#mixDh(this.#e, this.#re); // ee
    const isStaticGood = this.#mixDh(this.#e, this.#rs); // se
    if (!isEphemeralGood || !isStaticGood) return 'low-order'; // CHECK: noise-responder-ee-se
    this.#state.mixPsk(psk); // psk
    this.#state.encryptAndHash(out.subarray(SECOND_MESSAGE_OVERHEAD), payload);
    return 'ok';
  }

  /**
   * Initiator: reads `<- e, ee, se, psk` and the payload (48 bytes less than the message). Unless it is `ok`, the
   * handshake can go on with another message.
   */
  readSecond(payload: Uint8Array, message: Uint8Array, staticSecret: Uint8Array, psk: Uint8Array): NoiseResult {
    const before = new SymmetricState(this.#suite, new Uint8Array(0));
    before.copyFrom(this.#state);
    const result = this.#tryReadSecond(payload, message, staticSecret, psk);
    if (result !== 'ok') this.#state.copyFrom(before); // CHECK: noise-forged-response
    before.wipe();
    return result;
  }

  #tryReadSecond(payload: Uint8Array, message: Uint8Array, staticSecret: Uint8Array, psk: Uint8Array): NoiseResult {
    this.#readEphemeral(message.subarray(0, KEY_BYTES)); // e
    const isFirstGood = this.#mixDh(this.#e, this.#re); // ee
    const isSecondGood = this.#mixDh(staticSecret, this.#re); // se
    if (!isFirstGood || !isSecondGood) return 'low-order'; // CHECK: noise-initiator-ee-se
    this.#state.mixPsk(psk); // psk
    const isAuthentic = this.#state.decryptAndHash(payload, message.subarray(SECOND_MESSAGE_OVERHEAD));
    return isAuthentic ? 'ok' : 'decrypt';
  }

  /** Both: the transport keys, 32 bytes each; the initiator sends with `first`, the responder with `second`. */
  split(first: Uint8Array, second: Uint8Array): void {
    this.#state.split(first, second);
  }

  /** Erases all that is secret or tells who spoke. */
  wipe(): void {
    this.#state.wipe();
    this.#e.fill(0);
    this.#re.fill(0);
    this.#rs.fill(0);
  }

  /** A copy of the handshake hash. */
  handshakeHash(): Uint8Array {
    return this.#state.handshakeHash();
  }

  #writeEphemeral(out: Uint8Array, secret: Uint8Array): void {
    this.#e.set(secret);
    this.#suite.publicKey(out, secret);
    this.#mixEphemeral(out);
  }

  #readEphemeral(publicKey: Uint8Array): void {
    this.#re.set(publicKey);
    this.#mixEphemeral(publicKey);
  }

  /** The `e` token of a pattern with a psk mixes the key as well as the hash (Noise §9.2). */
  #mixEphemeral(publicKey: Uint8Array): void {
    this.#state.mixHash(publicKey);
    this.#state.mixKey(publicKey);
  }

  #mixDh(secret: Uint8Array, publicKey: Uint8Array): boolean {
    const shared = new Uint8Array(KEY_BYTES);
    const isContributory = this.#suite.dh(shared, secret, publicKey);
    if (isContributory) this.#state.mixKey(shared);
    shared.fill(0);
    return isContributory;
  }
}
