/**
 * The transmission control block (RFC 9293 §3.3.1): all state of one connection, without behaviour.
 *
 * tcp-input, tcp-ack, tcp-output, tcp-window and tcp-timeouts are functions over it; tcp-connection.ts adds what an
 * application calls; tcp.ts owns it through {@link TcpOwner}. Idle memory matters (thousands of quiet connections),
 * so rings, range tables and send records exist only while they hold something.
 */
import type { DropCounters } from '../base/drop.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { IpPath } from './path.ts';
import { Cubic } from './tcp-congestion.ts';
import { MSS_DEFAULT_V4, type TcpLimits } from './tcp-limits.ts';
import { PHASE_OPEN, Recovery, type SackPart } from './tcp-recovery.ts';
import { type MemoryBudget, ReceiveRing, SendRing } from './tcp-rings.ts';
import { RttEstimator } from './tcp-rtt.ts';
import { type Delivery, Scoreboard } from './tcp-scoreboard.ts';

/** Connection states; the order lets ranges be compared (`>= STATE_ESTABLISHED` is synchronized). */
export const STATE_CLOSED = 0;
export const STATE_SYN_SENT = 1;
export const STATE_SYN_RECEIVED = 2;
export const STATE_ESTABLISHED = 3;
export const STATE_FIN_WAIT_1 = 4;
export const STATE_FIN_WAIT_2 = 5;
export const STATE_CLOSE_WAIT = 6;
export const STATE_CLOSING = 7;
export const STATE_LAST_ACK = 8;

/**
 * Names of the states as RFC 9293 §3.3.2 writes them, by number. A connection of which only TIME-WAIT is left is CLOSED
 * for its application, and the last name stands for no number: see tcp-time-wait.ts.
 */
export const STATE_NAMES = Object.freeze([
  'CLOSED',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
] as const);

/** Name of a connection state. */
export type TcpState = (typeof STATE_NAMES)[number];

/** A listener handed this connection over. */
export const READY_ACCEPTED = 1;
/** A connection that this side opened is established. */
export const READY_CONNECTED = 2;
/** Bytes arrived that can be read. */
export const READY_READABLE = 4;
/** There is room again after a `write` that took less than it was given. */
export const READY_WRITABLE = 8;
/** The other side sends no more; all its bytes are read or readable. */
export const READY_ENDED = 16;
/** The connection is over; `error` says why, or is undefined after an orderly end. */
export const READY_CLOSED = 32;

/** What a connection remembers in {@link Tcb.flags}: the application has finished, our FIN left, it was acknowledged. */
export const FIN_QUEUED = 1;
export const FIN_SENT = 2;
export const FIN_ACKED = 4;
/** The peer's FIN was seen; all bytes before it have arrived. */
export const HAS_PEER_FIN = 8;
export const PEER_ENDED = 16;
/** Input is thrown away: the application has closed. */
export const DISCARDING = 32;
/** The application waits for room in the send ring. */
export const WRITE_WANTED = 64;
/** Small segments are sent at once. */
export const NO_DELAY = 128;
/** Send a short segment in spite of Nagle and the silly window (RFC 9293 §3.8.6.2.1). */
export const OVERRIDDEN = 256;
/** One octet beyond the window is out as a probe, not counted in {@link Tcb.sndNxt}. */
export const WINDOW_PROBE_OUT = 512;
/** Options that both sides have. */
export const HAS_SCALE = 1024;
export const HAS_TIMESTAMPS = 2048;
export const HAS_SACK = 4096;
/** In the machine's lists. */
export const EVENT_QUEUED = 8192;
export const TRANSMIT_QUEUED = 16_384;
/** Accepted, and the application has not heard of it yet. */
export const UNANNOUNCED = 32_768;

/** A segment without data that belongs to no connection. Sequence numbers and timestamps are int32. */
export interface TcpReply {
  readonly path: IpPath;
  readonly localPort: number;
  readonly remotePort: number;
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  /** Undefined: without the timestamps option. */
  readonly tsVal: number | undefined;
  readonly tsEcr: number;
}

/** Due at the next poll: an acknowledgment, if nothing leaves that carries it. */
export const DUE_ACK = 1;
/** A SYN or SYN-ACK. */
export const DUE_SYN = 2;
/** A probe for a lost tail (RFC 8985 §7). */
export const DUE_TAIL_PROBE = 4;
/** A probe of a shut window (RFC 9293 §3.8.6.1). */
export const DUE_WINDOW_PROBE = 8;
/** A keep-alive probe (RFC 9293 §3.8.4). */
export const DUE_KEEP_ALIVE = 16;

/** What a connection needs from the machine that owns it. */
export interface TcpOwner {
  readonly limits: TcpLimits;
  readonly budget: MemoryBudget;
  readonly drops: DropCounters;
  /** Makes the SACK part of a connection; undefined in a build without it. */
  readonly createSack: ((board: Scoreboard, rttMs: number) => SackPart) | undefined;
  /** What the acknowledgment delivered that is being handled; one for all connections. */
  readonly delivery: Delivery;
  /** The connection may have something to send. */
  wantTransmit(tcb: Tcb): void;
  /** `readyBits` of the connection are new. */
  wantEvent(tcb: Tcb): void;
  /** Wakes the connection at `at`, absolute milliseconds. */
  wake(tcb: Tcb, at: number): void;
  /** The handshake of a connection from a listener is complete. */
  onAccepted(tcb: Tcb): void;
  /** Both sides have finished, this one first: the four-tuple waits, and the connection is about to be CLOSED. */
  onTimeWait(nowMs: number, tcb: Tcb): void;
  /** The connection is CLOSED: out of every table. */
  onClosed(tcb: Tcb): void;
  /** Sends a reset (with ACK if `ack` is not undefined) that belongs to no connection any more. */
  sendReset(path: IpPath, localPort: number, remotePort: number, seq: number, ack: number | undefined): void;
  /** Sends any such segment. */
  sendReply(reply: TcpReply): void;
}

/** Where a connection came from, as far as the connection cares: a listener. */
export interface TcpOrigin {
  readonly port: number;
}

/** All state of one connection. Sequence numbers are int32, times absolute milliseconds, sizes bytes. */
export class Tcb {
  readonly id: number;
  readonly path: IpPath;
  readonly localPort: number;
  readonly remotePort: number;
  readonly owner: TcpOwner;

  /** The listener that it came from; undefined for one that this side opened. */
  origin: TcpOrigin | undefined = undefined;
  stateCode = STATE_CLOSED;
  /**
   * Why the connection failed; before it did, what a router said that may pass (RFC 9293 §3.9.2.2), the reason given if
   * it does not.
   */
  errorCode: ErrorCode | undefined = undefined;
  readyBits = 0;
  /** What else is to be remembered: bits from {@link FIN_QUEUED} to {@link UNANNOUNCED}. */
  flags = 0;
  /** In the machine's timers and its hash table. */
  wakeAt = Infinity;
  heapAt = 0;
  heapIndex = -1;
  nextInBucket: Tcb | undefined = undefined;

  // Sending
  iss = 0;
  sndUna = 0;
  sndNxt = 0;
  sndWnd = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  maxSndWnd = 0;
  sndShift = 0;
  /** Largest segment that the peer takes, options included in the count (RFC 6691). */
  peerMss = 0;
  /** Largest payload of a segment: path, peer and fixed options considered. */
  mss = 0;
  readonly sendRing: SendRing;
  /** What {@link sendRing} may hold at present; follows the congestion window up to the limit. */
  sendLimit: number;
  /** End of the last segment sent that was not full: Nagle as Minshall amended it. */
  smallEnd = 0;
  /** The window was full up to here when the sender last had more to send. */
  limitedEnd = 0;
  persistBackoff = 0;
  readonly board: Scoreboard;
  readonly rtt = new RttEstimator();
  cubic: Cubic;
  /** From the first sign of a loss on: see {@link recoveryOf}. */
  recovery: Recovery | undefined = undefined;
  /** From the first gap or loss on, where there is SACK: see {@link sackOf}. */
  sack: SackPart | undefined = undefined;

  // Receiving
  irs = 0;
  rcvNxt = 0;
  /** Right edge of the window that was promised. INVARIANT: never moves left. */
  rcvAdv = 0;
  rcvShift = 0;
  readonly receiveRing: ReceiveRing;
  /** How much may be unread or in the window at present; grows only. */
  rcvTarget: number;
  lastAckSent = 0;
  /** Latest in-order timestamp of the peer, and when it came (RFC 7323 §4.3). */
  tsRecent = 0;
  tsRecentMs = 0;
  /** Added to the clock, so that it says nothing about other connections (RFC 7323 §5.4). */
  tsOffset = 0;
  /** Sequence number of the peer's FIN, if {@link HAS_PEER_FIN}. */
  peerFinSeq = 0;
  quickAcks = 0;
  unackedBytes = 0;
  /** Largest payload that came, which is what "full-sized" means to the acknowledgment policy. */
  rcvMss = 0;
  /** Receive window tuning: this round's start and bytes read, the last round's bytes, and the round trip. */
  tuneStartMs = 0;
  tuneBytes = 0;
  tuneLastBytes = 0;
  receiverRttMs = 0;

  /** What is due at the next poll: DUE bits. */
  due = 0;

  // Deadlines
  retransmitAt = Infinity;
  tailProbeAt = Infinity;
  persistAt = Infinity;
  overrideAt = Infinity;
  delayedAckAt = Infinity;
  keepAliveAt = Infinity;
  /** End of patience in FIN-WAIT-2. */
  waitAt = Infinity;
  idleAt = Infinity;

  lastReceiveMs: number;
  lastSendMs: number;
  /** Since when nothing has been acknowledged although it should have been: a SYN at first. NaN while all is well. */
  stuckSinceMs: number;
  keepAliveMs = 0;
  keepAliveProbes = 0;
  challengedMs = -Infinity;

  constructor(nowMs: number, owner: TcpOwner, id: number, path: IpPath, localPort: number, remotePort: number) {
    const { limits, budget } = owner;
    this.owner = owner;
    this.id = id;
    this.path = path;
    this.localPort = localPort;
    this.remotePort = remotePort;
    this.sendRing = new SendRing(budget);
    this.receiveRing = new ReceiveRing(budget);
    this.board = new Scoreboard(owner.delivery);
    this.sendLimit = Math.min(limits.initialSendBytes, limits.sendBufferBytes);
    this.rcvTarget = Math.min(limits.initialWindowBytes, limits.receiveBufferBytes);
    this.cubic = new Cubic(MSS_DEFAULT_V4);
    this.stuckSinceMs = nowMs;
    this.lastReceiveMs = nowMs;
    this.lastSendMs = nowMs;
  }
}

/** Sets or clears bits of {@link Tcb.flags}. */
export function setFlags(tcb: Tcb, bits: number, isOn: boolean): void {
  tcb.flags = isOn ? tcb.flags | bits : tcb.flags & ~bits;
}

/** Adds ready bits and has the connection reported. */
export function markReady(tcb: Tcb, bits: number): void {
  tcb.readyBits |= bits;
  if ((tcb.flags & EVENT_QUEUED) === 0) tcb.owner.wantEvent(tcb);
}

/** The recovery state of a connection, made when it is first needed. */
export function recoveryOf(tcb: Tcb): Recovery {
  tcb.recovery ??= new Recovery(tcb);
  return tcb.recovery;
}

/** The SACK part of a connection that has SACK, made when it is first needed. */
export function sackOf(tcb: Tcb): SackPart {
  tcb.sack ??= tcb.owner.createSack!(tcb.board, tcb.rtt.latestMs);
  return tcb.sack;
}

/** Bytes believed to be in the network. */
export function pipeBytes({ recovery, board }: Tcb): number {
  return recovery === undefined ? board.inFlightBytes : recovery.pipeBytes;
}

/** Whether a recovery or loss phase is on. */
export function isRecovering({ recovery }: Tcb): boolean {
  return recovery !== undefined && recovery.phase !== PHASE_OPEN;
}

/** Puts the connection on the list of those that may have something to send. */
export function wantTransmit(tcb: Tcb): void {
  if ((tcb.flags & TRANSMIT_QUEUED) === 0) tcb.owner.wantTransmit(tcb);
}

/** The connection's own clock, as the timestamps option carries it: milliseconds, int32. */
export function timestampOf(tcb: Tcb, nowMs: number): number {
  return (Math.floor(nowMs) + tcb.tsOffset) | 0;
}

/** When the segment left whose timestamp came back as `tsEcr`: absolute whole milliseconds. */
export function echoedMs(tcb: Tcb, nowMs: number, tsEcr: number): number {
  return Math.floor(nowMs) - ((timestampOf(tcb, nowMs) - tsEcr) | 0);
}
