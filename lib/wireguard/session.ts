/**
 * One session: the two transport keys of a finished handshake, its counters and its replay window (WireGuard §5.4.5,
 * §5.4.6). Packets are sealed and opened in place; nothing is allocated per packet.
 *
 * Which of a peer's sessions is used for what is decided in peer.ts.
 */
import { concatBytes, readU32LE, writeU32LE, writeU64LE } from '../base/bytes.ts';
import { type DropReason, dropReason } from '../base/drop.ts';
import type { Cipher, CryptoSuite } from '../crypto/suite.ts';
import { REJECT_AFTER_TIME_MS, type TunnelLimits } from './constants.ts';
import { DATA_COUNTER_OFFSET, DATA_HEADER_BYTES, DATA_RECEIVER_OFFSET, TAG_BYTES, TYPE_DATA } from './message.ts';
import { ReplayWindow } from './replay.ts';

const DATA_DECRYPT = /* @__PURE__ */ dropReason('wg-data-decrypt');
const REPLAY = /* @__PURE__ */ dropReason('wg-replay');
const COUNTER_LIMIT = /* @__PURE__ */ dropReason('wg-counter-limit');

/** The limits of a tunnel that its sessions keep. */
export type SessionLimits = Pick<TunnelLimits, 'replayBits' | 'rejectAfterMessages'>;

/** What a session is made of. */
export interface SessionOptions {
  readonly peerId: number;
  /** The index by which the other side names this session. */
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly isInitiator: boolean;
  readonly createdMs: number;
  /** 32 bytes each; the caller erases them. */
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  /** Not copied: all sessions of a tunnel share them. */
  readonly limits: SessionLimits;
  /** The keys are kept as bytes too, so that the session can be saved; they are erased with it. */
  readonly isSavable?: boolean;
}

/** A session of a peer. */
export class Session {
  readonly peerId: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly isInitiator: boolean;
  readonly createdMs: number;
  /** Counter of the next packet to send, and so the number of packets sent. */
  sendCounter = 0;
  readonly #limits: SessionLimits;
  readonly #keys: Uint8Array | undefined;
  /** Gone when the keys are erased. */
  #cipher: Cipher | undefined;
  /** The counter behind the greatest one received: all before it were, as long as there is no window. */
  #expected = 0;
  /** Made with the first packet that is lost or overtaken: many sessions never have one. */
  #replay: ReplayWindow | undefined = undefined;

  constructor(suite: CryptoSuite, o: SessionOptions) {
    this.peerId = o.peerId;
    this.localIndex = o.localIndex;
    this.remoteIndex = o.remoteIndex;
    this.isInitiator = o.isInitiator;
    this.createdMs = o.createdMs;
    this.#limits = o.limits;
    this.#cipher = suite.createCipher(o.sendKey, o.receiveKey);
    this.#keys = o.isSavable === true ? concatBytes(o.sendKey, o.receiveKey) : undefined;
  }

  /** Both keys behind each other, 64 bytes that are erased with the session; undefined unless it can be saved. */
  get keys(): Uint8Array | undefined {
    return this.#keys;
  }

  /** The greatest counter that was received; 0 also when none was. */
  get receiveCounter(): number {
    return Math.max(0, this.#expected - 1);
  }

  /** Goes on with these counters: the next one to send, and the greatest one that counts as received. */
  goOn(sendCounter: number, receiveCounter: number): void {
    this.sendCounter = sendCounter;
    this.#expected = receiveCounter + 1;
  }

  /** Whether it may send: young enough, and with counters left. */
  canSend(nowMs: number): boolean {
    if (nowMs - this.createdMs >= REJECT_AFTER_TIME_MS) return false; // CHECK: wg-send-age
    if (this.sendCounter >= this.#limits.rejectAfterMessages) return false; // CHECK: wg-send-counter
    return true;
  }

  /** Whether it is young enough to receive, whether or not a timer has run. */
  canReceive(nowMs: number): boolean {
    return nowMs - this.createdMs < REJECT_AFTER_TIME_MS;
  }

  /**
   * Seals `buf[start, end)` in place under the next counter, with 16 bytes of header in front of `start` and a tag of
   * 16 behind `end`, for which there must be room. To be called only if {@link canSend}.
   */
  seal(buf: Uint8Array, start: number, end: number): void {
    const counter = this.sendCounter++;
    const header = start - DATA_HEADER_BYTES;
    writeU32LE(buf, header, TYPE_DATA);
    writeU32LE(buf, header + DATA_RECEIVER_OFFSET, this.remoteIndex);
    writeU64LE(buf, header + DATA_COUNTER_OFFSET, counter);
    this.#liveCipher.seal(counter, buf, start, end);
  }

  /**
   * Opens the transport message `buf[start, end)` of at least 32 bytes in place. Returns the length of the plaintext
   * at `start + 16`, or the reason to drop the message.
   */
  open(buf: Uint8Array, start: number, end: number): number | DropReason {
    const high = readU32LE(buf, start + DATA_COUNTER_OFFSET + 4);
    const counter = high * 2 ** 32 + readU32LE(buf, start + DATA_COUNTER_OFFSET);
    // A number above 2^53 is not exact, but it is above the limit all the same.
    if (counter >= this.#limits.rejectAfterMessages) return COUNTER_LIMIT; // CHECK: wg-counter-limit
    // Asking first saves the work for replays; only an authentic packet changes what counts as one.
    if (!this.#isFresh(counter)) return REPLAY; // CHECK: wg-replay
    const isAuthentic = this.#liveCipher.open(counter, buf, start + DATA_HEADER_BYTES, end);
    if (!isAuthentic) return DATA_DECRYPT; // CHECK: wg-data-tag
    this.#mark(counter);
    return end - start - DATA_HEADER_BYTES - TAG_BYTES;
  }

  /** Erases the keys; the session is of no use afterwards. */
  wipe(): void {
    this.#cipher?.wipe();
    this.#cipher = undefined;
    this.#replay?.wipe();
    this.#replay = undefined;
    this.#expected = 0;
    this.#keys?.fill(0);
  }

  /** Whether the keys are erased. */
  get isWiped(): boolean {
    return this.#cipher === undefined;
  }

  get #liveCipher(): Cipher {
    if (this.#cipher === undefined) throw new Error('the session is wiped'); // CHECK: wg-session-wiped
    return this.#cipher;
  }

  #isFresh(counter: number): boolean {
    return this.#replay === undefined ? counter >= this.#expected : this.#replay.isFresh(counter);
  }

  #mark(counter: number): void {
    if (this.#replay === undefined && counter > this.#expected) this.#replay = this.#windowOfAllBefore();
    this.#replay?.mark(counter);
    if (counter >= this.#expected) this.#expected = counter + 1;
  }

  #windowOfAllBefore(): ReplayWindow {
    const { replayBits, rejectAfterMessages } = this.#limits;
    const replay = new ReplayWindow(replayBits, rejectAfterMessages);
    if (this.#expected > 0) replay.skipTo(this.#expected - 1);
    return replay;
  }
}
