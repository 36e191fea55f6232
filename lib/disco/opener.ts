/**
 * What comes in, up to the message inside its box: is it ours to read, who sent it, does its box prove that.
 *
 * The sender's key stands in the clear, so a stranger costs a look at it and nothing else; what is looked up or worked
 * out for senders that are not in use is bounded by a rate, of UDP and of relays each.
 */
import type { Endpoint } from '../base/address.ts';
import { dropReason } from '../base/drop.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { NEVER } from './candidate.ts';
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
import type { PeerSet } from './peer-set.ts';
import { takeOne } from './rate.ts';
import type { DiscoOptions, DiscoOwner } from './types.ts';

const TOO_SHORT = /* @__PURE__ */ dropReason('disco-too-short');
const TOO_LONG = /* @__PURE__ */ dropReason('disco-too-long');
const UNKNOWN_KEY = /* @__PURE__ */ dropReason('disco-unknown-key');
const RATE_LIMITED = /* @__PURE__ */ dropReason('disco-rate-limited');
const BAD_KEY = /* @__PURE__ */ dropReason('disco-bad-key');
const DECRYPT = /* @__PURE__ */ dropReason('disco-decrypt');
const MALFORMED = /* @__PURE__ */ dropReason('disco-malformed');

/**
 * How a message of the owner of `sender`, a disco key, came: over UDP from `from`, or through the relay of `region` from
 * the owner of node key `source`. Keys are lent.
 */
export interface Arrival {
  readonly sender: Uint8Array;
  readonly from: Endpoint | undefined;
  readonly region: number;
  readonly source: Uint8Array | undefined;
}

/** Opens messages. */
export class Opener {
  readonly #suite: CryptoSuite;
  readonly #limits: DiscoLimits;
  readonly #peers: PeerSet;
  readonly #owner: DiscoOwner;
  /** Rates of strangers: see {@link takeOne}. */
  #udpFreshMs = NEVER;
  #relayedFreshMs = NEVER;

  /** `peers` has the keys of those in use, and of others. */
  constructor(options: DiscoOptions, peers: PeerSet) {
    this.#suite = options.suite;
    this.#limits = options.limits;
    this.#peers = peers;
    this.#owner = options.owner;
  }

  /** What `buf[start, end)`, which is not changed, says; or a drop reason. */
  open(nowMs: number, buf: Uint8Array, start: number, end: number, arrival: Arrival): DiscoMessage | number {
    const { sender, source } = arrival;
    const boxAt = start + DISCO_HEADER_BYTES;
    const length = end - boxAt - DISCO_TAG_BYTES;
    if (length < MESSAGE_HEADER_BYTES || !looksLikeDisco(buf, start, end)) return TOO_SHORT; // CHECK: disco-short
    if (length > this.#limits.messageBytes) return TOO_LONG; // CHECK: disco-long
    if (!this.#peers.knows(sender)) {
      if (!this.#mayAsk(nowMs, source !== undefined)) return RATE_LIMITED; // CHECK: disco-stranger-rate
      if (!this.#owner.knowsPeer(sender)) return UNKNOWN_KEY; // CHECK: disco-unknown-key
    }
    const boxKey = this.#peers.boxKeyOf(sender);
    if (boxKey === undefined) return BAD_KEY;
    const opened = new Uint8Array(length); // made for each: messages are rare, and kept memory would have to fit the largest
    const nonce = buf.subarray(start + DISCO_NONCE_AT, boxAt);
    if (!this.#suite.boxOpen(opened, boxKey, nonce, buf.subarray(boxAt, end))) return DECRYPT; // CHECK: disco-box
    return parseDiscoMessage(opened, 0, length, 2 * this.#limits.called) ?? MALFORMED;
  }

  /** Takes one of the messages of strangers that are looked at. */
  #mayAsk(nowMs: number, isRelayed: boolean): boolean {
    const { strangerBurst, strangersPerSecond } = this.#limits;
    const freshMs = isRelayed ? this.#relayedFreshMs : this.#udpFreshMs;
    const nextMs = takeOne(freshMs, nowMs, strangerBurst, strangersPerSecond);
    if (nextMs === undefined) return false;
    if (isRelayed) this.#relayedFreshMs = nextMs;
    else this.#udpFreshMs = nextMs;
    return true;
  }
}

/** The disco key that a message bears: 32 bytes, lent; fewer of what is too short. */
export function senderOf(buf: Uint8Array, start: number): Uint8Array {
  return buf.subarray(start + DISCO_SENDER_AT, start + DISCO_NONCE_AT);
}
