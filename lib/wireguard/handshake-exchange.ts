/**
 * Handshake messages in and out for all peers (WireGuard §5.4.2, §5.4.3, §5.4.7): the order of the checks, and what
 * becomes of a message that passes them.
 *
 * On receipt: mac1, then the load rule of admission.ts, then Diffie-Hellman; so what a stranger can make us do is
 * bounded. A timestamp, an endpoint or any state of a peer changes only after the message is proven to be the peer's.
 */
import type { Endpoint } from '../base/address.ts';
import { readU32LE } from '../base/bytes.ts';
import { type DropReason, dropReason } from '../base/drop.ts';
import type { Slot } from '../base/slot.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { Admission } from './admission.ts';
import { INITIATION_INTERVAL_MS } from './constants.ts';
import { Handshaker, type ReceivedInitiation, type TransportKeys } from './handshake.ts';
import { MacChecker, openCookieReply, sourceBytes } from './mac.ts';
import {
  COOKIE_REPLY_BYTES,
  COOKIE_REPLY_RECEIVER_OFFSET,
  INITIATION_BYTES,
  INITIATION_MAC1_OFFSET,
  MAC_BYTES,
  RESPONSE_BYTES,
  RESPONSE_MAC1_OFFSET,
  RESPONSE_RECEIVER_OFFSET,
  SENDER_OFFSET,
} from './message.ts';
import type { Peer } from './peer.ts';
import { Session } from './session.ts';
import { TIMESTAMP_BYTES } from './tai64n.ts';
import type { TunnelState } from './tunnel-state.ts';
import type { TunnelOptions } from './types.ts';

const BAD_MAC1 = /* @__PURE__ */ dropReason('wg-bad-mac1');
const COOKIE_REQUIRED = /* @__PURE__ */ dropReason('wg-cookie-required');
const RATE_LIMITED = /* @__PURE__ */ dropReason('wg-rate-limited');
const UNKNOWN_PEER = /* @__PURE__ */ dropReason('wg-unknown-peer');
const LOW_ORDER = /* @__PURE__ */ dropReason('wg-low-order-key');
const STALE_TIMESTAMP = /* @__PURE__ */ dropReason('wg-stale-timestamp');
const FLOOD = /* @__PURE__ */ dropReason('wg-flood');
const UNKNOWN_RECEIVER = /* @__PURE__ */ dropReason('wg-unknown-receiver');
const UNEXPECTED_RESPONSE = /* @__PURE__ */ dropReason('wg-unexpected-response');
const UNEXPECTED_COOKIE = /* @__PURE__ */ dropReason('wg-unexpected-cookie');
const COOKIE_DECRYPT = /* @__PURE__ */ dropReason('wg-cookie-decrypt');

/** The handshake half of a tunnel. */
export class HandshakeExchange {
  readonly #state: TunnelState;
  readonly suite: CryptoSuite;
  readonly #handshaker: Handshaker;
  readonly #macs: MacChecker;
  readonly #admission: Admission;
  readonly #resolver: TunnelOptions['resolver'];
  readonly #cookieReplies: { readonly bytes: Uint8Array; readonly to: Endpoint }[] = [];
  /** The peer whose message was accepted last. */
  acceptedPeer = -1;

  constructor(state: TunnelState, options: TunnelOptions) {
    const { limits } = state;
    this.#state = state;
    this.suite = options.suite;
    this.#resolver = options.resolver;
    this.#handshaker = new Handshaker(options.suite, options.random, options.privateKey);
    this.#macs = new MacChecker(options.suite, options.random, this.#handshaker.publicKey);
    this.#admission = new Admission(options.nowMs, {
      burst: limits.handshakeBurst,
      perSecond: limits.handshakesPerSecond,
      sources: limits.sources,
      seed: state.randomWord(),
    });
  }

  /** Our static public key. */
  get publicKey(): Uint8Array {
    return this.#handshaker.publicKey;
  }

  /** Whether so many handshakes came that some sources are asked for cookies. */
  isUnderLoad(nowMs: number): boolean {
    return !this.#admission.isCalm(nowMs);
  }

  /** Takes an initiation of 148 bytes at `start`: 0 when it was accepted, else the reason to drop it. */
  handleInitiation(nowMs: number, buf: Uint8Array, start: number, from: Endpoint): 0 | DropReason {
    const state = this.#state;
    if (!this.#macs.hasMac1(buf, start, INITIATION_MAC1_OFFSET)) return BAD_MAC1; // CHECK: wg-initiation-mac1
    const refusal = this.#admit(nowMs, buf, start, INITIATION_MAC1_OFFSET, from);
    if (refusal !== 0) return refusal; // CHECK: wg-initiation-admission
    const remoteStatic = new Uint8Array(32);
    const received = this.#handshaker.readInitiationStatic(buf, start, remoteStatic);
    if (typeof received === 'number') return received;
    const isKnown = state.table.find(remoteStatic) >= 0 || this.#resolver?.resolveKey(nowMs, remoteStatic) === true;
    const id = isKnown ? state.table.find(remoteStatic) : -1;
    if (id < 0) return UNKNOWN_PEER; // CHECK: wg-unknown-peer
    const staticStatic = this.#staticStatic(state.active(id), remoteStatic);
    if (staticStatic === undefined) return LOW_ORDER; // CHECK: wg-static-low-order
    const timestamp = new Uint8Array(TIMESTAMP_BYTES);
    const failure = this.#judge(nowMs, id, received, buf, start, staticStatic, timestamp);
    if (failure !== 0) {
      received.noise.wipe();
      if (state.active(id)?.staticStatic !== staticStatic) staticStatic.fill(0);
      return failure;
    }
    const peer = state.activate(id);
    state.table.setTimestamp(id, timestamp);
    peer.initiationReceivedMs = nowMs;
    peer.staticStatic = staticStatic;
    peer.received?.noise.wipe();
    peer.received = received;
    this.#accept(nowMs, peer, INITIATION_BYTES, from);
    state.enqueue(peer);
    return 0;
  }

  /** Takes a response of 92 bytes at `start`: 0 when it completed a handshake, else the reason to drop it. */
  handleResponse(nowMs: number, buf: Uint8Array, start: number, from: Endpoint): 0 | DropReason {
    const state = this.#state;
    if (!this.#macs.hasMac1(buf, start, RESPONSE_MAC1_OFFSET)) return BAD_MAC1; // CHECK: wg-response-mac1
    const receiver = readU32LE(buf, start + RESPONSE_RECEIVER_OFFSET);
    const pending = state.handshakes.get(receiver);
    if (pending === undefined)
      return state.sessions.get(receiver) === undefined ? UNKNOWN_RECEIVER : UNEXPECTED_RESPONSE;
    const refusal = this.#admit(nowMs, buf, start, RESPONSE_MAC1_OFFSET, from);
    if (refusal !== 0) return refusal; // CHECK: wg-response-admission
    // INVARIANT: an initiation is in the table only while its peer is in use.
    const peer = state.active(pending.peerId)!;
    const psk = state.table.presharedKey(peer.id);
    const keys = this.#handshaker.readResponse(pending, buf, start, psk);
    psk.fill(0);
    if (typeof keys === 'number') return keys;
    const session = this.#createSession(nowMs, peer, keys, {
      localIndex: receiver,
      remoteIndex: readU32LE(buf, start + SENDER_OFFSET),
      isInitiator: true,
    });
    this.#accept(nowMs, peer, RESPONSE_BYTES, from);
    peer.onResponseReceived(nowMs, session);
    return 0;
  }

  /** Takes a cookie reply of 64 bytes at `start`. The endpoint stays: a reply proves little about who sent it. */
  handleCookieReply(nowMs: number, buf: Uint8Array, start: number): 0 | DropReason {
    const state = this.#state;
    const receiver = readU32LE(buf, start + COOKIE_REPLY_RECEIVER_OFFSET);
    const awaiting = state.handshakes.get(receiver) ?? state.sessions.get(receiver);
    const peer = state.active(awaiting?.peerId ?? -1);
    if (peer === undefined) return UNKNOWN_RECEIVER; // CHECK: wg-cookie-receiver
    if (peer.mac1 === undefined) return UNEXPECTED_COOKIE; // CHECK: wg-cookie-once
    const cookie = openCookieReply(this.suite, buf, start, state.table.publicKey(peer.id), peer.mac1);
    if (cookie === undefined) return COOKIE_DECRYPT; // CHECK: wg-cookie-tag
    peer.setCookie(nowMs, cookie);
    return 0;
  }

  /** Writes a waiting cookie reply into the slot; false when there is none. */
  writeCookieReply(slot: Slot): boolean {
    const reply = this.#cookieReplies.shift();
    if (reply === undefined) return false;
    slot.buf.set(reply.bytes, slot.start);
    slot.end = slot.start + COOKIE_REPLY_BYTES;
    slot.to = reply.to;
    return true;
  }

  /** Writes the initiation that a peer wants into the slot; false when its key can never shake hands. */
  writeInitiation(nowMs: number, peer: Peer, slot: Slot): boolean {
    const state = this.#state;
    const { buf, start } = slot;
    const remoteStatic = state.table.publicKey(peer.id);
    peer.staticStatic = this.#staticStatic(peer, remoteStatic);
    if (peer.staticStatic === undefined) return false;
    const tick = state.stamps.next(state.unixMs(nowMs), peer.lastTick);
    const pending = this.#handshaker.writeInitiation(buf, start, {
      peerId: peer.id,
      localIndex: state.drawIndex(),
      remoteStatic,
      staticStatic: peer.staticStatic,
      tick,
      cookie: peer.cookie(nowMs),
    });
    if (pending === undefined) return false;
    slot.end = start + INITIATION_BYTES;
    peer.onInitiationSent(nowMs, pending, tick, mac1Of(buf, start, INITIATION_MAC1_OFFSET));
    return true;
  }

  /** Writes the response to the initiation that a peer has received; false when its keys are of low order. */
  writeResponse(nowMs: number, peer: Peer, slot: Slot): boolean {
    const state = this.#state;
    const { buf, start } = slot;
    const received = peer.received!;
    const localIndex = state.drawIndex();
    const psk = state.table.presharedKey(peer.id);
    peer.received = undefined;
    const keys = this.#handshaker.writeResponse(buf, start, received, {
      localIndex,
      remoteStatic: state.table.publicKey(peer.id),
      psk,
      cookie: peer.cookie(nowMs),
    });
    psk.fill(0);
    if (keys === undefined) {
      state.drops.count(LOW_ORDER);
      return false;
    }
    const { remoteIndex } = received;
    const session = this.#createSession(nowMs, peer, keys, { localIndex, remoteIndex, isInitiator: false });
    slot.end = start + RESPONSE_BYTES;
    peer.onResponseSent(nowMs, session, mac1Of(buf, start, RESPONSE_MAC1_OFFSET));
    return true;
  }

  /** Erases what is secret here. */
  wipe(): void {
    this.#macs.wipe();
    this.#cookieReplies.length = 0;
  }

  /** Whether an initiation is what it says, newer than all before it, and not too soon: 0, or the reason to drop it. */
  #judge(
    nowMs: number,
    id: number,
    received: ReceivedInitiation,
    buf: Uint8Array,
    start: number,
    staticStatic: Uint8Array,
    timestamp: Uint8Array,
  ): 0 | DropReason {
    const state = this.#state;
    const failure = this.#handshaker.readInitiationTimestamp(received, buf, start, staticStatic, timestamp);
    if (failure !== 0) return failure; // CHECK: wg-initiation-timestamp
    if (!state.table.isLaterTimestamp(id, timestamp)) return STALE_TIMESTAMP; // CHECK: wg-stale-timestamp
    const sinceMs = nowMs - (state.active(id)?.initiationReceivedMs ?? Number.NEGATIVE_INFINITY);
    if (sinceMs < INITIATION_INTERVAL_MS) return FLOOD; // CHECK: wg-initiation-interval
    return 0;
  }

  /** The load rule for a message with a right mac1: 0 to go on, else the reason to drop it. Queues a cookie if one is due. */
  #admit(nowMs: number, buf: Uint8Array, start: number, mac1Offset: number, from: Endpoint): 0 | DropReason {
    const source = sourceBytes(from);
    const hasCookie = !this.#admission.isCalm(nowMs) && this.#macs.hasMac2(nowMs, buf, start, mac1Offset, source);
    const verdict = this.#admission.judge(nowMs, source, hasCookie);
    if (verdict === 'process') return 0;
    if (verdict === 'refuse') return RATE_LIMITED;
    if (this.#cookieReplies.length < this.#state.limits.cookieReplies) {
      const bytes = new Uint8Array(COOKIE_REPLY_BYTES);
      const sender = readU32LE(buf, start + SENDER_OFFSET);
      this.#macs.writeCookieReply(nowMs, bytes, sender, mac1Of(buf, start, mac1Offset), source);
      this.#cookieReplies.push({ bytes, to: from });
    }
    return COOKIE_REQUIRED;
  }

  /** A message is proven to be the peer's. */
  #accept(nowMs: number, peer: Peer, bytes: number, from: Endpoint): void {
    this.#state.table.addRxBytes(peer.id, bytes);
    this.#state.roam(peer.id, from);
    peer.onAuthenticatedReceived(nowMs);
    this.acceptedPeer = peer.id;
  }

  /** From the peer in use or computed anew; undefined for a key of low order. */
  #staticStatic(peer: Peer | undefined, remoteStatic: Uint8Array): Uint8Array | undefined {
    return peer?.staticStatic ?? this.#handshaker.staticStatic(remoteStatic);
  }

  #createSession(
    nowMs: number,
    peer: Peer,
    keys: TransportKeys,
    o: { localIndex: number; remoteIndex: number; isInitiator: boolean },
  ): Session {
    const session = new Session(this.suite, {
      ...o,
      ...keys,
      peerId: peer.id,
      createdMs: nowMs,
      limits: this.#state.limits,
      isSavable: this.#state.isSavable,
    });
    keys.sendKey.fill(0);
    keys.receiveKey.fill(0);
    return session;
  }
}

function mac1Of(buf: Uint8Array, start: number, mac1Offset: number): Uint8Array {
  return buf.slice(start + mac1Offset, start + mac1Offset + MAC_BYTES);
}
