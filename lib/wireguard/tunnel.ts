/**
 * WireGuard as a machine (the paper "WireGuard: Next Generation Kernel Network Tunnel", §5 and §6): one static key, many
 * peers, datagrams in and out. No I/O, no clock, no randomness of its own.
 *
 * The order for whoever drives it: hand in datagrams and packets, then take `pollTransmit` until it is false and, after
 * each, `pollEvent`, since a `timestamp` event must be durable before the datagram leaves; then arm one timer for
 * `nextTimeout`. Packets are sealed and opened in place. Network input never throws: it is dropped for a counted reason.
 *
 * The rules of one peer are in peer.ts, the messages in handshake.ts and session.ts, the load rule in admission.ts.
 * Left out: sockets, path choice between several endpoints of a peer, and what the inner packets mean.
 */
import type { Endpoint } from '../base/address.ts';
import { readU16BE, readU32LE } from '../base/bytes.ts';
import { type DropCounters, type DropReason, dropReason } from '../base/drop.ts';
import { HEADROOM_BYTES, type Slot } from '../base/slot.ts';

import { PADDING_BYTES, TUNNEL_LIMITS_LARGE, TUNNEL_LIMITS_SMALL } from './constants.ts';
import { HandshakeExchange } from './handshake-exchange.ts';
import {
  classify,
  DATA_HEADER_BYTES,
  DATA_OVERHEAD_BYTES,
  DATA_RECEIVER_OFFSET,
  INITIATION_BYTES,
  TAG_BYTES,
  TYPE_COOKIE_REPLY,
  TYPE_DATA,
  TYPE_INITIATION,
} from './message.ts';
import type { Peer } from './peer.ts';
import { expectTunnelOptions } from './peer-config.ts';
import { PeerSet } from './peer-set.ts';
import { NO_PEER } from './prefix-list.ts';
import { restoreSession, saveSession } from './saved-session.ts';
import type { Session } from './session.ts';
import { TunnelState } from './tunnel-state.ts';
import type { PeerChanges, PeerConfig, PeerStatus, SavedSession, TunnelEvent, TunnelOptions } from './types.ts';

export { TUNNEL_LIMITS_LARGE, TUNNEL_LIMITS_SMALL, type TunnelLimits } from './constants.ts';
export type { PeerChanges, PeerConfig, PeerStatus, TunnelEvent, TunnelOptions } from './types.ts';

const DEFAULT_MTU = 1420;
/** Largest UDP payload over IPv4. */
const MAX_DATAGRAM_BYTES = 65_507;
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;

const UNKNOWN_RECEIVER = /* @__PURE__ */ dropReason('wg-unknown-receiver');
const SESSION_EXPIRED = /* @__PURE__ */ dropReason('wg-session-expired');
const INNER_MALFORMED = /* @__PURE__ */ dropReason('wg-inner-malformed');
const INNER_SOURCE = /* @__PURE__ */ dropReason('wg-inner-source');
const NO_ROUTE = /* @__PURE__ */ dropReason('wg-no-route');
const NO_ENDPOINT = /* @__PURE__ */ dropReason('wg-no-endpoint');
const STAGED_OVERFLOW = /* @__PURE__ */ dropReason('wg-staged-overflow');
const LOW_ORDER = /* @__PURE__ */ dropReason('wg-low-order-key');
const TOO_BIG = /* @__PURE__ */ dropReason('wg-too-big');
const SOURCE_PORT = /* @__PURE__ */ dropReason('wg-source-port');

/** One WireGuard interface. */
export class Tunnel {
  /** All that was dropped, by reason. */
  readonly drops: DropCounters;
  /** Peer of the datagram that {@link Tunnel.decapsulate} accepted last, whatever its kind; -1 if it accepted none. */
  decapsulatedPeer = -1;
  /** Peer for which {@link Tunnel.pollTransmit} or {@link Tunnel.encapsulate} wrote last; -1 for a cookie reply. */
  transmitPeer = -1;
  readonly #state: TunnelState;
  readonly #exchange: HandshakeExchange;
  readonly #peers: PeerSet;
  readonly #mtu: number;

  /** RangeError for clocks, limits or a floor that make no sense. */
  constructor(options: TunnelOptions) {
    // The preset of a microcontroller is shared, not copied.
    const isSmall = options.limits === TUNNEL_LIMITS_SMALL;
    const limits = isSmall ? TUNNEL_LIMITS_SMALL : { ...TUNNEL_LIMITS_LARGE, ...options.limits };
    expectTunnelOptions(options, limits);
    this.#state = new TunnelState(options, limits);
    this.#exchange = new HandshakeExchange(this.#state, options);
    this.#mtu = options.mtu ?? DEFAULT_MTU;
    this.#peers = new PeerSet(this.#state, this.#exchange.publicKey);
    this.drops = this.#state.drops;
  }

  /** A copy of our public key, 32 bytes. */
  get publicKey(): Uint8Array {
    return this.#exchange.publicKey.slice();
  }

  // ---- peers ----

  /**
   * Adds a peer and returns its id, a small integer that is stable until the peer is removed and may be used again
   * afterwards. TypeError or RangeError for a bad configuration, our own key, a known key, or too many peers.
   */
  addPeer(nowMs: number, config: PeerConfig): number {
    return this.#peers.add(this.#state.advance(nowMs), config);
  }

  /** Changes a peer; what is absent stays. All is in force at once, a preshared key for the next handshake. */
  updatePeer(nowMs: number, id: number, changes: PeerChanges): void {
    this.#peers.update(this.#state.advance(nowMs), id, changes);
  }

  /** Removes a peer: its keys are erased, its indices freed, its waiting packets dropped. */
  removePeer(nowMs: number, id: number): void {
    this.#state.advance(nowMs);
    this.#peers.remove(id);
  }

  /** The id of a public key. */
  findPeer(publicKey: Uint8Array): number | undefined {
    const id = publicKey.length === 32 ? this.#state.table.find(publicKey) : -1;
    return id < 0 ? undefined : id;
  }

  /** How many peers there are. */
  get peerCount(): number {
    return this.#state.table.size;
  }

  /** How many of them have a session, a handshake or a timer, and so cost more than an idle one. */
  get activePeerCount(): number {
    return this.#state.activeCount;
  }

  /** Whether a peer has a session, a handshake or a timer. */
  isActive(id: number): boolean {
    return this.#state.active(id) !== undefined;
  }

  /** All ids, ascending. */
  peerIds(): IterableIterator<number> {
    return this.#peers.ids();
  }

  /** What is known of a peer, as copies. */
  peerStatus(id: number): PeerStatus {
    return this.#peers.status(id);
  }

  /** Starts a handshake unless there is a session; nothing happens while no endpoint is known. */
  connect(nowMs: number, id: number): void {
    const now = this.#state.advance(nowMs);
    this.#peers.expect(id);
    const peer = this.#state.activate(id);
    if (peer.usableSession(now) === undefined) peer.initiate(now, false);
    this.#state.releaseIfQuiet(peer);
  }

  /** Tells what the wall clock shows; it may jump as it likes. */
  setWallClock(nowMs: number, unixMs: number): void {
    this.#state.setWallClock(this.#state.advance(nowMs), unixMs);
  }

  /** Whether so many handshakes came lately that some sources are asked for cookies. */
  isUnderLoad(nowMs: number): boolean {
    return this.#exchange.isUnderLoad(this.#state.advance(nowMs));
  }

  /**
   * Saves the sessions that are worth it, by the peers' public keys, and ends them here; needs `keepsSessions`. To be
   * called right before {@link Tunnel.close}. What it returns is secret, and goes on once only: see saved-session.ts.
   */
  takeSessions(nowMs: number): SavedSession[] {
    const state = this.#state;
    const now = state.advance(nowMs);
    const out: SavedSession[] = [];
    for (const id of this.peerIds()) {
      const peer = state.active(id);
      const session = peer?.usableSession(now);
      const bytes = session === undefined ? undefined : saveSession(session, now, state.unixMs(now));
      if (bytes === undefined) continue;
      out.push({ publicKey: this.peerStatus(id).publicKey, bytes });
      state.release(peer!);
    }
    return out;
  }

  /** Goes on with a session that {@link Tunnel.takeSessions} has saved in an earlier run; false when it is of no use. */
  resumeSession(nowMs: number, id: number, bytes: Uint8Array): boolean {
    const state = this.#state;
    const now = state.advance(nowMs);
    this.#peers.expect(id);
    const { limits } = state;
    const session = restoreSession(this.#exchange.suite, bytes, now, state.unixMs(now), { peerId: id, limits });
    if (session === undefined) return false;
    const { localIndex } = session;
    const isTaken = state.sessions.get(localIndex) !== undefined || state.handshakes.get(localIndex) !== undefined;
    if (isTaken) return false; // CHECK: wg-saved-index
    state.activate(id).resume(session);
    return true;
  }

  /** Removes all peers and erases all secrets but the private key, which is the caller's. */
  close(nowMs: number): void {
    for (const id of [...this.peerIds()]) this.removePeer(nowMs, id);
    this.#exchange.wipe();
  }

  // ---- sending ----

  /** The peer for the destination of the IP packet `buf[start, end)`, or the reason why there is none (not counted). */
  routePeer(buf: Uint8Array, start: number, end: number): number | DropReason {
    const version = end > start ? buf[start]! >> 4 : 0;
    let peer = NO_PEER;
    if (version === 4 && end - start >= IPV4_HEADER_BYTES) peer = this.#state.allowedIps.lookupV4(buf, start + 16);
    else if (version === 6 && end - start >= IPV6_HEADER_BYTES) peer = this.#state.allowedIps.lookupV6(buf, start + 24);
    else return INNER_MALFORMED;
    return peer === NO_PEER ? NO_ROUTE : peer;
  }

  /** The peer that has an address (4 or 16 bytes) among its allowed IPs. */
  peerOf(address: Uint8Array): number | undefined {
    const { allowedIps } = this.#state;
    const id = address.length === 4 ? allowedIps.lookupV4(address, 0) : allowedIps.lookupV6(address, 0);
    return id === NO_PEER ? undefined : id;
  }

  /** Whether the addresses of `length` bytes (4 or 16) at two offsets in `buf` are carried by the same peer, or none. */
  isSamePeer(buf: Uint8Array, one: number, other: number, length: number): boolean {
    const { allowedIps } = this.#state;
    if (length === 4) return allowedIps.lookupV4(buf, one) === allowedIps.lookupV4(buf, other);
    return allowedIps.lookupV6(buf, one) === allowedIps.lookupV6(buf, other);
  }

  /**
   * Sends the IP packet in the slot to the peer that its destination belongs to. Positive: the slot holds the sealed
   * datagram of that length and `slot.to`, to be sent now. 0: the packet was copied and leaves through `pollTransmit`
   * when the handshake is done. Negative: the reason why it was dropped.
   */
  encapsulate(nowMs: number, slot: Slot): number | DropReason {
    const id = this.routePeer(slot.buf, slot.start, slot.end);
    return id < 0 ? this.drops.count(id) : this.encapsulateTo(nowMs, id, slot);
  }

  /** As {@link Tunnel.encapsulate}, to a peer of the caller's choice. */
  encapsulateTo(nowMs: number, id: number, slot: Slot): number | DropReason {
    const now = this.#state.advance(nowMs);
    const peer = this.#state.active(id);
    // Packets that wait go first, so that none overtakes another.
    if (peer !== undefined && peer.stagedCount === 0) {
      const session = peer.usableSession(now);
      if (session !== undefined) {
        if (!peer.isReachable) return this.drops.count(NO_ENDPOINT);
        return this.#seal(now, peer, session, slot);
      }
    }
    return this.#stage(now, id, slot);
  }

  /**
   * Writes one datagram that is due into the slot (of at least 148 bytes), which need not be reset; false when there is
   * none. `slot.to` is undefined only for a peer that does not roam and has no endpoint: the caller finds the path.
   */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    const state = this.#state;
    const now = state.advance(nowMs);
    if (slot.buf.length < HEADROOM_BYTES + INITIATION_BYTES)
      throw new RangeError(
        `"slot" expected room for ${INITIATION_BYTES} bytes, got ${slot.buf.length - HEADROOM_BYTES}`,
      );
    slot.reset();
    this.transmitPeer = -1;
    if (this.#exchange.writeCookieReply(slot)) return true;
    for (let peer = state.peekQueue(); peer !== undefined; peer = state.peekQueue()) {
      // Should the generator throw here, the peer is still in the queue.
      const isWritten = this.#transmit(now, peer, slot);
      state.dequeue();
      if (isWritten) {
        // Behind all others: peers take turns.
        state.enqueue(peer);
        return true;
      }
      state.releaseIfQuiet(peer);
      slot.reset();
    }
    return false;
  }

  // ---- receiving ----

  /**
   * Takes one UDP datagram `buf[start, end)` and opens it in place. Positive: the length of the inner IP packet, which
   * lies at `buf[start + 16, ...)` and is from the peer `decapsulatedPeer`, whose address it bears. 0: a handshake
   * message, cookie or keepalive was consumed. Negative: the reason why it was dropped, already counted.
   */
  decapsulate(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): number | DropReason {
    const now = this.#state.advance(nowMs);
    this.decapsulatedPeer = -1;
    // Nothing can be sent to port 0: neither a cookie reply nor a session may be bound to it.
    if (from.port === 0) return this.drops.count(SOURCE_PORT); // CHECK: wg-source-port
    const type = classify(buf, start, end);
    const result =
      type === TYPE_DATA
        ? this.#handleData(now, buf, start, end, from)
        : type < 0
          ? type
          : this.#handleHandshake(now, type, buf, start, from);
    return result < 0 ? this.drops.count(result) : result;
  }

  // ---- time ----

  /** When {@link Tunnel.handleTimeout} wants to be called: absolute ms, `Infinity` for never. */
  nextTimeout(): number {
    return this.#state.schedule.next();
  }

  /** Lets due timers act. Early and late calls are harmless. */
  handleTimeout(nowMs: number): void {
    const state = this.#state;
    const now = state.advance(nowMs);
    for (let peer = state.schedule.due(now); peer !== undefined; peer = state.schedule.due(now)) {
      peer.handleTimeout(now);
      state.releaseIfQuiet(peer);
    }
  }

  /** The next event. A `timestamp` event comes before all others. */
  pollEvent(): TunnelEvent | undefined {
    return this.#state.pollEvent();
  }

  // ---- inside ----

  /** Seals the packet in the slot; a slot with too little room is the packet's fault. */
  #seal(nowMs: number, peer: Peer, session: Session, slot: Slot): number | DropReason {
    const { buf, start, end } = slot;
    const length = end - start;
    const paddedEnd = end + this.#paddingOf(length);
    const bytes = paddedEnd - start + DATA_OVERHEAD_BYTES;
    if (start < DATA_HEADER_BYTES || paddedEnd + TAG_BYTES > buf.length || bytes > MAX_DATAGRAM_BYTES)
      return this.drops.count(TOO_BIG);
    for (let at = end; at < paddedEnd; at++) buf[at] = 0;
    session.seal(buf, start, paddedEnd);
    slot.start = start - DATA_HEADER_BYTES;
    slot.end = paddedEnd + TAG_BYTES;
    slot.to = this.#state.table.endpoints[peer.id];
    this.#state.table.addTxBytes(peer.id, bytes);
    this.transmitPeer = peer.id;
    if (length > 0) peer.onDataSent(nowMs);
    peer.onTransportSent(nowMs, session);
    return bytes;
  }

  /** Up to a multiple of 16, but not beyond the MTU: a padded packet must not be larger than the path allows. */
  #paddingOf(length: number): number {
    const mtu = this.#mtu;
    const rest = mtu > 0 && length > mtu ? length % mtu : length;
    const padded = Math.ceil(rest / PADDING_BYTES) * PADDING_BYTES;
    return (mtu > 0 && padded > mtu ? mtu : padded) - rest;
  }

  /** Copies the packet to wait for a session, and starts a handshake if there is none. */
  #stage(nowMs: number, id: number, slot: Slot): 0 | DropReason {
    const state = this.#state;
    this.#peers.expect(id);
    if (state.table.endpoints[id] === undefined && state.table.roams(id)) return this.drops.count(NO_ENDPOINT);
    const peer = state.activate(id);
    const dropped = state.staging.push(peer, slot.buf, slot.start, slot.end);
    if (dropped === undefined) {
      state.releaseIfQuiet(peer);
      return this.drops.count(TOO_BIG);
    }
    state.countDrops(STAGED_OVERFLOW, dropped);
    if (peer.usableSession(nowMs) === undefined) peer.initiate(nowMs, false);
    else state.enqueue(peer);
    return 0;
  }

  /** Writes what is most urgent for one peer into an empty slot. */
  #transmit(nowMs: number, peer: Peer, slot: Slot): boolean {
    if (!peer.isReachable) {
      peer.forgetWork(NO_ENDPOINT);
      return false;
    }
    if (peer.received !== undefined && this.#exchange.writeResponse(nowMs, peer, slot))
      return this.#onWritten(peer, slot);
    const session = peer.usableSession(nowMs);
    if (session !== undefined && (peer.stagedCount > 0 || peer.wantsKeepalive))
      return this.#transmitTransport(nowMs, peer, session, slot);
    if (peer.wantsKeepalive) {
      peer.wantsKeepalive = false;
      peer.initiate(nowMs, false);
    }
    if (!peer.wantsInitiation) return false;
    if (this.#exchange.writeInitiation(nowMs, peer, slot)) return this.#onWritten(peer, slot);
    peer.forgetWork(LOW_ORDER);
    return false;
  }

  #onWritten(peer: Peer, slot: Slot): true {
    slot.to = this.#state.table.endpoints[peer.id];
    this.#state.table.addTxBytes(peer.id, slot.end - slot.start);
    this.transmitPeer = peer.id;
    return true;
  }

  /** The oldest packet that waits, else a keepalive. A packet for which this slot is too small is dropped. */
  #transmitTransport(nowMs: number, peer: Peer, session: Session, slot: Slot): boolean {
    const { staging } = this.#state;
    while (peer.stagedCount > 0) {
      if (slot.start + staging.peekLength(peer) > slot.buf.length) {
        staging.drop(peer);
        this.drops.count(TOO_BIG);
        continue;
      }
      slot.end = slot.start + staging.shift(peer, slot.buf, slot.start);
      if (this.#seal(nowMs, peer, session, slot) > 0) return true;
      slot.reset();
    }
    return peer.wantsKeepalive && this.#seal(nowMs, peer, session, slot) > 0;
  }

  #handleHandshake(nowMs: number, type: number, buf: Uint8Array, start: number, from: Endpoint): 0 | DropReason {
    if (type === TYPE_COOKIE_REPLY) return this.#exchange.handleCookieReply(nowMs, buf, start);
    const result =
      type === TYPE_INITIATION
        ? this.#exchange.handleInitiation(nowMs, buf, start, from)
        : this.#exchange.handleResponse(nowMs, buf, start, from);
    if (result === 0) this.decapsulatedPeer = this.#exchange.acceptedPeer;
    return result;
  }

  #handleData(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): number | DropReason {
    const state = this.#state;
    const session = state.sessions.get(readU32LE(buf, start + DATA_RECEIVER_OFFSET));
    if (session === undefined) return UNKNOWN_RECEIVER;
    if (!session.canReceive(nowMs)) return SESSION_EXPIRED; // CHECK: wg-receive-age
    const length = session.open(buf, start, end);
    if (length < 0) return length;
    // INVARIANT: a session is in the table only while its peer is in use.
    const peer = state.active(session.peerId)!;
    this.decapsulatedPeer = peer.id;
    state.table.addRxBytes(peer.id, end - start);
    peer.confirm(nowMs, session);
    state.roam(peer.id, from);
    peer.onTransportReceived(nowMs);
    if (length === 0) return 0;
    peer.onDataReceived(nowMs);
    return this.#innerLength(buf, start + DATA_HEADER_BYTES, length, peer.id);
  }

  /** Length of the inner packet without its padding, if it is one and comes from an address of the peer. */
  #innerLength(buf: Uint8Array, start: number, available: number, peer: number): number | DropReason {
    const { allowedIps } = this.#state;
    const version = buf[start]! >> 4;
    let length = 0;
    let owner = NO_PEER;
    if (version === 4 && available >= IPV4_HEADER_BYTES) {
      length = readU16BE(buf, start + 2);
      if (length < IPV4_HEADER_BYTES) return INNER_MALFORMED; // CHECK: wg-inner-length-v4
      owner = allowedIps.lookupV4(buf, start + 12);
    } else if (version === 6 && available >= IPV6_HEADER_BYTES) {
      length = IPV6_HEADER_BYTES + readU16BE(buf, start + 4);
      owner = allowedIps.lookupV6(buf, start + 8);
    } else {
      return INNER_MALFORMED;
    }
    if (length > available) return INNER_MALFORMED; // CHECK: wg-inner-length
    if (owner !== peer) return INNER_SOURCE; // CHECK: wg-inner-source
    return length;
  }
}
