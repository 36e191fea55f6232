/**
 * The TCP machine (RFC 9293): connections, listeners, what goes in and out, in userspace and without I/O.
 *
 * `handleSegment` takes a segment in, `pollTransmit` gives packets out, `pollEvent` connections with news,
 * `nextTimeout`/`handleTimeout` run the clock. Connections that have something to send or to say stand in lists; no
 * call scans all connections. Initial sequence numbers follow RFC 6528, ephemeral ports RFC 6056 §3.3.3.
 * Left out on purpose: urgent data as such, ECN, TCP fast open, MPTCP, path MTU probing without ICMP (RFC 4821).
 */
import type { DropCounters } from '../base/drop.ts';
import { NetError } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import { foldChecksum, pseudoSum, sumBytes } from '../base/checksum.ts';
import type { Slot } from '../base/slot.ts';
import { PROTOCOL_TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, TcpSegment } from '../packet/tcp.ts';
import { Fifo } from './fifo.ts';
import type { IpPath } from './path.ts';
import { PathMtuTable } from './path-mtu.ts';
import { TcpConnection } from './tcp-connection.ts';
import { TCP_DROPS } from './tcp-drops.ts';
import { handleSegment } from './tcp-input.ts';
import { failConnection, lowerMtu, openSend, takeSynOptions } from './tcp-lifecycle.ts';
import { TCP_LIMITS_LARGE, type TcpLimits } from './tcp-limits.ts';
import { type ListenerOwner, ListenerTable, TcpListener } from './tcp-listener.ts';
import { isInFlight, transmit } from './tcp-output.ts';
import type { SackPart } from './tcp-recovery.ts';
import { MemoryBudget } from './tcp-rings.ts';
import { ReplyQueue } from './tcp-replies.ts';
import { Delivery, type Scoreboard } from './tcp-scoreboard.ts';
import { sequenceClock, TcpSecrets } from './tcp-secrets.ts';
import { seqAfter } from './tcp-sequence.ts';
import { ConnectionTable } from './tcp-table.ts';
import {
  EVENT_QUEUED,
  markReady,
  READY_ACCEPTED,
  STATE_CLOSED,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  type Tcb,
  type TcpOwner,
  type TcpReply,
  TRANSMIT_QUEUED,
  UNANNOUNCED,
  wantTransmit,
} from './tcp-tcb.ts';
import { handleTimers, nextDeadline } from './tcp-timeouts.ts';
import { type TimeWait, TimeWaitTable } from './tcp-time-wait.ts';
import { TimerHeap } from './tcp-timers.ts';

export { TcpConnection, type TcpInfo } from './tcp-connection.ts';
export { TcpListener } from './tcp-listener.ts';
export {
  READY_ACCEPTED,
  READY_CLOSED,
  READY_CONNECTED,
  READY_ENDED,
  READY_READABLE,
  READY_WRITABLE,
  type TcpState,
} from './tcp-tcb.ts';

/** How far a connection starts beyond the one whose place in TIME-WAIT it takes: more than any unscaled window. */
const REUSE_DISTANCE = 65_537;

/** What {@link Tcp} is made of. */
export interface TcpOptions {
  readonly nowMs: number;
  /** Fills an array with secure random bytes; a throw passes through. */
  readonly random: (out: Uint8Array) => void;
  readonly limits?: TcpLimits;
  readonly drops: DropCounters;
  /** Selective acknowledgments: `createSack` of tcp-sack.ts. A build that does not pass it does not contain it. */
  readonly createSack?: (board: Scoreboard, rttMs: number) => SackPart;
  /** MTU towards a peer that connects to us, bytes; used when `mtus` is absent. Default 1280. */
  readonly mtu?: number;
  /** Makes the paths to peers that connect to us. */
  readonly mtus?: PathMtuTable;
}

/** Headers of a packet of ours, as an ICMP error quotes it: IP header at `start`, TCP header in `[payload, end)`. */
export interface QuotedSegment {
  readonly family: 4 | 6;
  readonly start: number;
  readonly payload: number;
  readonly end: number;
}

/** The machine; see the top of the file. */
export class Tcp implements TcpOwner, ListenerOwner {
  readonly limits: TcpLimits;
  readonly budget: MemoryBudget;
  readonly drops: DropCounters;
  readonly createSack: TcpOptions['createSack'];
  readonly delivery = new Delivery();
  readonly #mtus: PathMtuTable;
  readonly #secrets: TcpSecrets;
  readonly #segment = new TcpSegment();
  readonly #table: ConnectionTable<TcpConnection>;
  readonly #listeners = new ListenerTable();
  readonly #timers = new TimerHeap<TcpConnection>();
  /** Half-open connections of all listeners, oldest first. */
  readonly #halfOpen: TcpConnection[] = [];
  /** What is in TIME-WAIT; undefined while nothing is. */
  #timeWait: TimeWaitTable | undefined = undefined;
  readonly #replies: ReplyQueue;
  /** INVARIANT: a connection is in each of them at most once. */
  readonly #transmits = new Fifo<TcpConnection>(Infinity);
  readonly #events = new Fifo<TcpConnection>(Infinity);
  #nowMs: number;
  #nextId = 1;

  constructor(options: TcpOptions) {
    const { nowMs, random, limits = TCP_LIMITS_LARGE, drops, createSack, mtu = 1280 } = options;
    this.#nowMs = nowMs;
    this.limits = limits;
    this.budget = new MemoryBudget(limits);
    this.drops = drops;
    this.createSack = createSack;
    this.#mtus = options.mtus ?? new PathMtuTable(mtu, 1);
    this.#secrets = new TcpSecrets(random);
    this.#table = new ConnectionTable(this.#secrets);
    this.#replies = new ReplyQueue(limits.replies);
  }

  /** Connections of all states, TIME-WAIT included. */
  get connectionCount(): number {
    return this.#table.size + this.timeWaitCount;
  }

  /** Connections in SYN-RECEIVED that came from listeners. */
  get halfOpenCount(): number {
    return this.#halfOpen.length;
  }

  /** Four-tuples in TIME-WAIT. */
  get timeWaitCount(): number {
    return this.#timeWait?.size ?? 0;
  }

  /** All connections but those in TIME-WAIT, for `status()`; nothing may be changed meanwhile. */
  connections(): Iterable<TcpConnection> {
    return this.#table;
  }

  /**
   * Takes one segment in: the TCP header at `buf[start, end)`, the IP header (for the addresses) at `ipStart`. Returns
   * 0, or a negative reason, which has been counted. A segment for nobody is answered with a reset (RFC 9293 §3.10.7.1).
   */
  handleSegment(nowMs: number, buf: Uint8Array, ipStart: number, family: 4 | 6, start: number, end: number): number {
    const now = this.#advance(nowMs);
    const segment = this.#segment;
    if (!segment.parse(buf, start, end)) return this.drops.count(TCP_DROPS.malformed);
    const length = family === 4 ? 4 : 16;
    const remoteAt = ipStart + (family === 4 ? 12 : 8);
    const localAt = remoteAt + length;
    const addresses = sumBytes(buf, remoteAt, remoteAt + 2 * length);
    const sum = sumBytes(buf, start, end, pseudoSum(PROTOCOL_TCP, end - start, addresses));
    if (foldChecksum(sum) !== 0) return this.drops.count(TCP_DROPS.checksum); // CHECK: tcp-checksum
    const { sourcePort, destinationPort } = segment;
    const connection = this.#table.find(buf, remoteAt, localAt, length, sourcePort, destinationPort);
    if (connection === undefined) {
      const old = this.#timeWait?.find(buf, remoteAt, localAt, length, sourcePort, destinationPort);
      if (old !== undefined) return this.#handleTimeWait(now, old, buf, remoteAt, localAt, length);
      return this.#handleUnknown(now, buf, remoteAt, localAt, length);
    }
    const result = handleSegment(connection, now, buf, segment);
    if (connection.stateCode !== STATE_CLOSED) this.#timers.schedule(connection, nextDeadline(connection));
    return result;
  }

  /**
   * An ICMP error quotes a segment of ours (RFC 5927 §4.1: its sequence number must be in flight). It ends a
   * connection that is being opened with `code`; one that is established only remembers it (RFC 1122 §4.2.3.9,
   * RFC 5461). `ERR_CONNECTION_REFUSED` for a closed port or protocol, else `ERR_UNREACHABLE`. 0, or a counted reason.
   */
  handleUnreachable(
    nowMs: number,
    buf: Uint8Array,
    quoted: QuotedSegment,
    code: ErrorCode = 'ERR_UNREACHABLE',
  ): number {
    this.#advance(nowMs);
    const connection = this.#findQuoted(buf, quoted);
    if (connection === undefined) return this.drops.count(TCP_DROPS.icmpMismatch);
    connection.errorCode = code;
    if (connection.stateCode === STATE_SYN_SENT) failConnection(connection, code);
    return 0;
  }

  /**
   * A router had no room for a segment of ours and names its MTU in bytes (RFC 1191, RFC 8201). The sequence number
   * must be in flight. The path's MTU is lowered (never raised, never below 576 or 1280), and what was too big is cut
   * and sent again. 0, or a counted reason when the quote is not believed.
   */
  handleTooBig(nowMs: number, buf: Uint8Array, quoted: QuotedSegment, mtu: number): number {
    this.#advance(nowMs);
    const connection = this.#findQuoted(buf, quoted);
    if (connection === undefined) return this.drops.count(TCP_DROPS.icmpMismatch);
    lowerMtu(connection, mtu);
    this.#timers.schedule(connection, nextDeadline(connection));
    return 0;
  }

  /**
   * Accepts connections on `port` (1 to 65535; 0: an ephemeral one), on one local address or on all. Throws NetError
   * `ERR_ADDRESS_IN_USE`. `backlog` is capped by the limits.
   */
  listen(port: number, options: { address?: Uint8Array; backlog?: number } = {}): TcpListener {
    const { address, backlog = this.limits.backlog } = options;
    if (!(Number.isInteger(port) && port >= 0 && port <= 65_535))
      throw new RangeError(`"port" expected 0 to 65535, got ${port}`);
    const chosen = port === 0 ? this.#secrets.randomPort(free => !this.#listeners.has(free)) : port;
    if (chosen === 0 || this.#listeners.hasAddress(chosen, address))
      throw new NetError('ERR_ADDRESS_IN_USE', `TCP port ${chosen} has a listener already; choose another port`);
    const most = Math.max(1, Math.min(backlog, this.limits.backlog));
    const listener = new TcpListener(chosen, address?.slice(), most, this);
    this.#listeners.add(listener);
    return listener;
  }

  /**
   * Opens a connection over `path`; READY_CONNECTED or READY_CLOSED follows. Throws NetError `ERR_ADDRESS_IN_USE` when
   * the four-tuple is taken (or no port is free) and `ERR_LIMIT` when there are too many connections.
   */
  connect(nowMs: number, path: IpPath, remotePort: number, localPort = 0): TcpConnection {
    const now = this.#advance(nowMs);
    if (!(Number.isInteger(remotePort) && remotePort >= 1 && remotePort <= 65_535))
      throw new RangeError(`"remotePort" expected 1 to 65535, got ${remotePort}`);
    if (!(Number.isInteger(localPort) && localPort >= 0 && localPort <= 65_535))
      throw new RangeError(`"localPort" expected 0 to 65535, got ${localPort}`);
    if (!this.#makeRoom())
      throw new NetError('ERR_LIMIT', `${this.limits.connections} connections are open; close some first`);
    const isFree = (port: number) => !this.#listeners.has(port) && this.#isFree(path, port, remotePort);
    const port = localPort === 0 ? this.#secrets.ephemeralPort(path, remotePort, isFree) : localPort;
    if (port === 0 || !this.#isFree(path, port, remotePort))
      throw new NetError('ERR_ADDRESS_IN_USE', `no free local port towards ${path.remoteText} port ${remotePort}`);
    const connection = this.#add(now, path, port, remotePort);
    connection.stateCode = STATE_SYN_SENT;
    wantTransmit(connection);
    return connection;
  }

  /**
   * Writes ONE whole IP packet into `slot` from `slot.start` on (the caller has reset it; its capacity is at least the
   * path MTU). False when nothing is to be sent. Connections take turns, a packet each.
   */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    const now = this.#advance(nowMs);
    if (this.#replies.write(slot)) return true;
    for (let next = this.#transmits.shift(); next !== undefined; next = this.#transmits.shift()) {
      next.flags &= ~TRANSMIT_QUEUED;
      const isWritten = transmit(next, now, slot);
      if (next.stateCode !== STATE_CLOSED) {
        if (isWritten) this.wantTransmit(next);
        this.#timers.schedule(next, nextDeadline(next));
      }
      if (isWritten) return true;
    }
    return false;
  }

  /** When to call {@link handleTimeout} at the latest, absolute milliseconds; Infinity for never. */
  nextTimeout(): number {
    return Math.min(this.#timers.next, this.#timeWait?.nextTimeout ?? Infinity);
  }

  /** Does what is due; `pollTransmit` and `pollEvent` have the results. Early and late calls are harmless. */
  handleTimeout(nowMs: number): void {
    const now = this.#advance(nowMs);
    this.#timeWait?.handleTimeout(now);
    this.#trimTimeWait();
    for (let due = this.#timers.take(now); due !== undefined; due = this.#timers.take(now)) {
      handleTimers(due, now);
      if (due.stateCode !== STATE_CLOSED) this.#timers.schedule(due, nextDeadline(due));
    }
  }

  /** A connection whose `takeReady()` is not 0, each at most once until it is taken; undefined when there is none. */
  pollEvent(): TcpConnection | undefined {
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      next.flags &= ~EVENT_QUEUED;
      if ((next.flags & UNANNOUNCED) !== 0) this.#announce(next);
      if (next.readyBits !== 0) return next;
    }
    return undefined;
  }

  // What connections ask of their owner

  wantTransmit(tcb: Tcb): void {
    if ((tcb.flags & TRANSMIT_QUEUED) !== 0) return;
    tcb.flags |= TRANSMIT_QUEUED;
    this.#transmits.push(tcb as TcpConnection);
  }

  wantEvent(tcb: Tcb): void {
    tcb.flags |= EVENT_QUEUED;
    this.#events.push(tcb as TcpConnection);
  }

  wake(tcb: Tcb, at: number): void {
    if (tcb.stateCode !== STATE_CLOSED) this.#timers.schedule(tcb as TcpConnection, at);
  }

  onAccepted(tcb: Tcb): void {
    const connection = tcb as TcpConnection;
    this.#leaveHalfOpen(connection);
    connection.flags |= UNANNOUNCED;
    connection.listener!.unannouncedCount++;
    markReady(connection, READY_ACCEPTED);
  }

  onTimeWait(nowMs: number, tcb: Tcb): void {
    this.#timeWait ??= new TimeWaitTable(this, this.#secrets);
    this.#timeWait.add(nowMs, tcb);
  }

  onClosed(tcb: Tcb): void {
    const connection = tcb as TcpConnection;
    this.#leaveHalfOpen(connection);
    this.#timers.remove(connection);
    this.#table.remove(connection);
  }

  sendReset(path: IpPath, localPort: number, remotePort: number, seq: number, ack: number | undefined): void {
    const flags = ack === undefined ? TCP_RST : TCP_RST | TCP_ACK;
    const rest = { flags, seq, ack: ack ?? 0, window: 0, tsVal: undefined, tsEcr: 0 };
    this.sendReply({ path, localPort, remotePort, ...rest });
  }

  sendReply(reply: TcpReply): void {
    if (!this.#replies.push(reply)) this.drops.count(TCP_DROPS.limit);
  }

  /** For listeners only. */
  closeListener(listener: TcpListener): void {
    if (!this.#listeners.remove(listener)) return;
    for (const connection of this.#halfOpen.filter(half => half.listener === listener)) connection.abort(this.#nowMs);
  }

  /** Time never runs backwards in here, whatever the caller's clock does. */
  #advance(nowMs: number): number {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
    return this.#nowMs;
  }

  /**
   * A segment for what is in TIME-WAIT. A later SYN for a listener opens a connection that takes the place, well ahead
   * of the old one in sequence numbers (RFC 9293 §3.6.1).
   */
  #handleTimeWait(
    nowMs: number,
    old: TimeWait,
    buf: Uint8Array,
    remoteAt: number,
    localAt: number,
    length: number,
  ): number {
    const timeWait = this.#timeWait!;
    const segment = this.#segment;
    const { path, localPort, remotePort } = old;
    const isLater = timeWait.isLaterSyn(old, segment);
    const listener = isLater ? this.#listeners.find(localPort, buf, localAt, length) : undefined;
    if (listener === undefined) return timeWait.handleSegment(nowMs, old, segment);
    const refusal = this.#refusal(listener);
    if (refusal !== 0) return refusal;
    // INVARIANT: room for one more connection there is now.
    timeWait.remove(old);
    this.#trimTimeWait();
    const result = this.#accept(nowMs, listener, buf, remoteAt, localAt, length);
    const young = this.#table.findByPath(path, remotePort, localPort);
    if (young !== undefined && !seqAfter(young.iss, old.sndNxt))
      openSend(young, (old.sndNxt + REUSE_DISTANCE) | 0, young.tsOffset);
    return result;
  }

  /** A segment without a connection: a SYN for a listener, or something to refuse. */
  #handleUnknown(nowMs: number, buf: Uint8Array, remoteAt: number, localAt: number, length: number): number {
    const segment = this.#segment;
    const { drops } = this;
    if ((segment.flags & TCP_RST) !== 0) return drops.count(TCP_DROPS.noConnection);
    const listener = this.#listeners.find(segment.destinationPort, buf, localAt, length);
    const isSyn = (segment.flags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    if (listener !== undefined && isSyn) return this.#accept(nowMs, listener, buf, remoteAt, localAt, length);
    const path = this.#mtus.createPath(
      nowMs,
      buf.subarray(localAt, localAt + length),
      buf.subarray(remoteAt, remoteAt + length),
    );
    const { sourcePort, destinationPort, seq, ack, flags } = segment;
    if ((flags & TCP_ACK) !== 0) this.sendReset(path, destinationPort, sourcePort, ack, undefined);
    else this.sendReset(path, destinationPort, sourcePort, 0, (seq + segment.sequenceLength) | 0);
    return drops.count(TCP_DROPS.noConnection);
  }

  /** Why a listener does not take a SYN, counted; 0 when it does. */
  #refusal(listener: TcpListener): number {
    const { drops } = this;
    if ((this.#segment.flags & TCP_FIN) !== 0) return drops.count(TCP_DROPS.malformed);
    const isFull = listener.isPaused || listener.unannouncedCount >= listener.backlog;
    if (isFull) return drops.count(TCP_DROPS.backlogFull); // CHECK: tcp-backlog
    return 0;
  }

  /** A SYN for a listener (RFC 9293 §3.10.7.2). */
  #accept(
    nowMs: number,
    listener: TcpListener,
    buf: Uint8Array,
    remoteAt: number,
    localAt: number,
    length: number,
  ): number {
    const segment = this.#segment;
    const refusal = this.#refusal(listener);
    if (refusal !== 0) return refusal;
    if (listener.halfOpenCount >= listener.backlog) this.#forgetOldest(listener); // CHECK: tcp-half-open-listener
    if (this.#halfOpen.length >= this.limits.halfOpen) this.#forgetOldest(undefined); // CHECK: tcp-half-open-total
    if (!this.#makeRoom()) return this.drops.count(TCP_DROPS.limit); // CHECK: tcp-connection-limit
    const local = buf.subarray(localAt, localAt + length);
    const path = this.#mtus.createPath(nowMs, local, buf.subarray(remoteAt, remoteAt + length));
    const connection = this.#add(nowMs, path, segment.destinationPort, segment.sourcePort);
    connection.origin = listener;
    connection.stateCode = STATE_SYN_RECEIVED;
    this.#halfOpen.push(connection);
    listener.halfOpenCount++;
    takeSynOptions(connection, nowMs, segment);
    wantTransmit(connection);
    return 0;
  }

  #add(nowMs: number, path: IpPath, localPort: number, remotePort: number): TcpConnection {
    const connection = new TcpConnection(nowMs, this, this.#nextId++, path, localPort, remotePort);
    const { low, high } = this.#secrets.hashOf(path, localPort, remotePort);
    openSend(connection, (sequenceClock(nowMs) + low) | 0, high);
    this.#table.add(connection);
    return connection;
  }

  /** Drops the oldest half-open connection, of a listener or of all, without a word to either side. */
  #forgetOldest(listener: TcpListener | undefined): void {
    const oldest = this.#halfOpen.find(connection => listener === undefined || connection.listener === listener);
    if (oldest === undefined) return;
    failConnection(oldest, 'ERR_LIMIT');
    this.drops.count(TCP_DROPS.backlogFull);
  }

  #leaveHalfOpen(connection: TcpConnection): void {
    const at = this.#halfOpen.indexOf(connection);
    if (at < 0) return;
    this.#halfOpen.splice(at, 1);
    connection.listener!.halfOpenCount--;
  }

  /** The application is about to hear of an accepted connection. */
  #announce(connection: TcpConnection): void {
    connection.flags &= ~UNANNOUNCED;
    connection.listener!.unannouncedCount--;
  }

  #trimTimeWait(): void {
    if (this.timeWaitCount === 0) this.#timeWait = undefined;
  }

  /** Whether there is room for one more connection; TIME-WAIT gives way. */
  #makeRoom(): boolean {
    if (this.connectionCount >= this.limits.connections) this.#timeWait?.dropOldest();
    return this.connectionCount < this.limits.connections;
  }

  #findQuoted(buf: Uint8Array, quoted: QuotedSegment): TcpConnection | undefined {
    const { family, payload: start, end } = quoted;
    if (end - start < 8) return undefined;
    const length = family === 4 ? 4 : 16;
    const localAt = quoted.start + (family === 4 ? 12 : 8);
    const localPort = (buf[start] << 8) | buf[start + 1];
    const remotePort = (buf[start + 2] << 8) | buf[start + 3];
    const connection = this.#table.find(buf, localAt + length, localAt, length, remotePort, localPort);
    if (connection === undefined) return undefined;
    const seq = (buf[start + 4] << 24) | (buf[start + 5] << 16) | (buf[start + 6] << 8) | buf[start + 7];
    if (!isInFlight(connection, seq)) return undefined; // CHECK: tcp-icmp-sequence
    return connection;
  }

  #isFree(path: IpPath, localPort: number, remotePort: number): boolean {
    const entry = this.#table.findByPath(path, remotePort, localPort);
    return (entry ?? this.#timeWait?.findByPath(path, remotePort, localPort)) === undefined;
  }
}
