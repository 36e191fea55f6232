/**
 * What comes in, up to the message inside its box: is it ours to read, who sent it, does its box prove that.
 *
 * The sender's key stands in the clear, so a stranger costs a look at it and nothing else; what is looked up or worked
 * out for senders that are not in use is bounded by a rate, of UDP and of relays each.
 */
import { dropReason } from '../base/drop.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { flatHex } from './flat-hex.ts';
import type { DiscoKey, KeyRing } from './key-ring.ts';
import type { DiscoLimits } from './limits.ts';
import {
  DISCO_HEADER_BYTES,
  DISCO_NONCE_AT,
  DISCO_SENDER_AT,
  DISCO_TAG_BYTES,
  type DiscoMessage,
  looksLikeDisco,
  MESSAGE_HEADER_BYTES,
  parseDiscoMessage,
} from './message.ts';
import { Rate } from './rate.ts';
import type { DiscoOptions } from './types.ts';

const TOO_SHORT = /* @__PURE__ */ dropReason('disco-too-short');
const TOO_LONG = /* @__PURE__ */ dropReason('disco-too-long');
const UNKNOWN_KEY = /* @__PURE__ */ dropReason('disco-unknown-key');
const RATE_LIMITED = /* @__PURE__ */ dropReason('disco-rate-limited');
const BAD_KEY = /* @__PURE__ */ dropReason('disco-bad-key');
const DECRYPT = /* @__PURE__ */ dropReason('disco-decrypt');
const MALFORMED = /* @__PURE__ */ dropReason('disco-malformed');

/** Opens messages. */
export class Opener {
  /** After {@link open}: who sent it. */
  key: DiscoKey | undefined = undefined;
  /** After {@link open}: what it says. */
  message: DiscoMessage | undefined = undefined;
  readonly #suite: CryptoSuite;
  readonly #limits: DiscoLimits;
  readonly #keys: KeyRing;
  readonly #knowsPeer: DiscoOptions['knowsPeer'];
  readonly #udpStrangers = new Rate();
  readonly #relayedStrangers = new Rate();

  /** For the owner of `keys`. */
  constructor(options: DiscoOptions, keys: KeyRing) {
    this.#suite = options.suite;
    this.#limits = options.limits;
    this.#knowsPeer = options.knowsPeer;
    this.#keys = keys;
  }

  /** Opens `buf[start, end)`, which is not changed. 0, with {@link key} and {@link message} set, or a drop reason. */
  open(nowMs: number, buf: Uint8Array, start: number, end: number, isRelayed: boolean): number {
    const boxAt = start + DISCO_HEADER_BYTES;
    const length = end - boxAt - DISCO_TAG_BYTES;
    if (length < MESSAGE_HEADER_BYTES || !looksLikeDisco(buf, start, end)) return TOO_SHORT; // CHECK: disco-short
    if (length > this.#limits.messageBytes) return TOO_LONG; // CHECK: disco-long
    const sender = buf.subarray(start + DISCO_SENDER_AT, start + DISCO_NONCE_AT);
    const text = flatHex(sender);
    let key = this.#keys.find(text);
    if (key === undefined) {
      const rate = isRelayed ? this.#relayedStrangers : this.#udpStrangers;
      const { strangerBurst, strangersPerSecond } = this.#limits;
      if (!rate.take(nowMs, strangerBurst, strangersPerSecond)) return RATE_LIMITED; // CHECK: disco-stranger-rate
      if (!this.#knowsPeer(sender)) return UNKNOWN_KEY; // CHECK: disco-unknown-key
      key = this.#keys.addStranger(sender, text);
    }
    const boxKey = this.#keys.boxKey(key);
    if (boxKey === undefined) return BAD_KEY;
    const opened = new Uint8Array(length); // made for each: messages are rare, and kept memory would have to fit the largest
    const nonce = buf.subarray(start + DISCO_NONCE_AT, boxAt);
    if (!this.#suite.boxOpen(opened, boxKey, nonce, buf.subarray(boxAt, end))) return DECRYPT; // CHECK: disco-box
    this.key = key;
    this.message = parseDiscoMessage(opened, 0, length, 2 * this.#limits.called);
    return this.message === undefined ? MALFORMED : 0;
  }
}
