/**
 * How a connection begins and ends: options of the handshake, ESTABLISHED, CLOSED (RFC 9293 §3.5, §3.6,
 * §3.10; RFC 7323 §2.2 and §3.2; RFC 6298 §5.7).
 */
import type { ErrorCode } from '../base/errors.ts';
import { TCP_SYN, type TcpSegment } from '../packet/tcp.ts';
import { announceRoom } from './tcp-ack.ts';
import { Cubic } from './tcp-congestion.ts';
import { MSS_DEFAULT_V4, MSS_DEFAULT_V6, QUICK_ACKS, RTO_AFTER_SYN_LOSS_MS } from './tcp-limits.ts';
import { updateSegmentSize } from './tcp-output.ts';
import { MIN_MTU_IPV4_BYTES, MIN_MTU_IPV6_BYTES } from './path-mtu.ts';
import {
  DUE_KEEP_ALIVE,
  DUE_SYN,
  DUE_TAIL_PROBE,
  DUE_WINDOW_PROBE,
  echoedMs,
  FIN_QUEUED,
  HAS_SACK,
  HAS_SCALE,
  HAS_TIMESTAMPS,
  markReady,
  READY_CLOSED,
  READY_CONNECTED,
  recoveryOf,
  setFlags,
  STATE_CLOSED,
  STATE_ESTABLISHED,
  STATE_FIN_WAIT_1,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  type Tcb,
  wantTransmit,
} from './tcp-tcb.ts';
import { synWindow, windowShiftFor } from './tcp-window.ts';

/** Starts the sender at `iss`; a SYN is due. */
export function openSend(t: Tcb, iss: number, tsOffset: number): void {
  t.iss = iss;
  t.sndUna = iss;
  t.sndNxt = (iss + 1) | 0;
  t.smallEnd = iss;
  t.limitedEnd = iss;
  t.tsOffset = tsOffset;
  t.due |= DUE_SYN;
  t.peerMss = t.path.family === 4 ? MSS_DEFAULT_V4 : MSS_DEFAULT_V6;
  updateSegmentSize(t);
}

/** Takes the peer's SYN in: its sequence number, window and options. */
export function takeSynOptions(t: Tcb, nowMs: number, segment: TcpSegment): void {
  t.irs = segment.seq;
  t.rcvNxt = (segment.seq + 1) | 0;
  t.rcvAdv = (t.rcvNxt + synWindow(t)) | 0;
  t.lastAckSent = t.rcvNxt;
  if (segment.mss > 0) t.peerMss = segment.mss;
  setFlags(t, HAS_SCALE, segment.windowShift >= 0);
  t.sndShift = Math.max(segment.windowShift, 0);
  t.rcvShift = segment.windowShift >= 0 ? windowShiftFor(t.owner.limits.receiveBufferBytes) : 0;
  setFlags(t, HAS_TIMESTAMPS, segment.hasTimestamps);
  t.tsRecent = segment.tsVal;
  t.tsRecentMs = nowMs;
  setFlags(t, HAS_SACK, segment.isSackPermitted && t.owner.createSack !== undefined);
  updateSegmentSize(t);
}

/** Our SYN is acknowledged by `segment`: ESTABLISHED, or FIN-WAIT-1 when the application has finished already. */
export function establish(t: Tcb, nowMs: number, segment: TcpSegment): void {
  const wasHalfOpen = t.stateCode === STATE_SYN_RECEIVED;
  t.stateCode = (t.flags & FIN_QUEUED) !== 0 ? STATE_FIN_WAIT_1 : STATE_ESTABLISHED;
  t.sndUna = segment.ack;
  t.board.reset(t.sndUna);
  t.cubic = new Cubic(t.mss);
  t.smallEnd = t.limitedEnd = t.sndUna;
  t.sndWnd = (segment.flags & TCP_SYN) !== 0 || !wasHalfOpen ? segment.window : segment.window << t.sndShift;
  t.maxSndWnd = t.sndWnd;
  t.sndWl1 = segment.seq;
  t.sndWl2 = segment.ack;
  t.retransmitAt = Infinity;
  t.stuckSinceMs = Number.NaN;
  t.due &= ~DUE_SYN;
  t.quickAcks = QUICK_ACKS;
  t.tuneStartMs = nowMs;
  measureHandshake(t, nowMs, segment);
  if (wasHalfOpen && t.origin !== undefined) t.owner.onAccepted(t);
  else markReady(t, READY_CONNECTED);
  announceRoom(t);
  if (t.sendRing.length > 0 || (t.flags & FIN_QUEUED) !== 0) wantTransmit(t);
}

/** The handshake's round trip is the first measurement; one with lost SYNs makes the start careful instead. */
function measureHandshake(t: Tcb, nowMs: number, segment: TcpSegment): void {
  const retries = t.rtt.backoffs;
  t.rtt.backoffs = 0;
  // Nothing but the SYN has left.
  const rttMs = retries === 0 ? nowMs - t.lastSendMs : nowMs - echoedMs(t, nowMs, segment.tsEcr);
  if (retries === 0 || ((t.flags & HAS_TIMESTAMPS) !== 0 && rttMs >= 0)) {
    t.rtt.sample(nowMs, rttMs, 1);
    t.receiverRttMs = rttMs;
  } else t.rtt.setInitialRto(RTO_AFTER_SYN_LOSS_MS);
  if (retries > 1) t.cubic.onHandshakeLoss();
}

/**
 * A router has no room for segments of the present size. The path's MTU is lowered (never raised, never below what
 * every path must take), and what was too big is cut and sent again. That is no sign of congestion (RFC 1191 §6.5).
 */
export function lowerMtu(t: Tcb, mtu: number): void {
  const wanted = Math.max(mtu, t.path.family === 4 ? MIN_MTU_IPV4_BYTES : MIN_MTU_IPV6_BYTES);
  if (wanted >= t.path.mtu) return;
  t.path.mtu = wanted;
  updateSegmentSize(t);
  if (t.stateCode === STATE_SYN_SENT || t.stateCode === STATE_SYN_RECEIVED) return;
  t.board.split(t.mss);
  t.sack?.onSplit();
  if (t.board.lostBytes > 0) recoveryOf(t).repair(t.sndNxt);
  wantTransmit(t);
}

/** Both sides have finished: others than the application wait for stray segments (RFC 9293 §3.6.1). */
export function enterTimeWait(t: Tcb, nowMs: number): void {
  t.owner.onTimeWait(nowMs, t);
  closeConnection(t);
}

/** CLOSED, in good order. */
export function closeConnection(t: Tcb): void {
  if (t.stateCode === STATE_CLOSED) return;
  t.stateCode = STATE_CLOSED;
  t.errorCode = undefined;
  release(t);
  t.owner.onClosed(t);
  markReady(t, READY_CLOSED);
}

/** CLOSED, for a reason. A half-open connection of a listener goes without a word: nobody knows it yet. */
export function failConnection(t: Tcb, code: ErrorCode): void {
  const isSilent = t.stateCode === STATE_SYN_RECEIVED && t.origin !== undefined;
  t.errorCode = code;
  t.stateCode = STATE_CLOSED;
  release(t);
  t.owner.onClosed(t);
  if (!isSilent) markReady(t, READY_CLOSED);
}

/** Nothing is sent any more: timers and buffers go, what was received can still be read. */
function release(t: Tcb): void {
  t.sendRing.clear();
  t.receiveRing.dropRanges();
  t.receiveRing.trim();
  t.receiveRing.detach();
  t.board.clear();
  t.flags &= ~HAS_SACK;
  t.sack = undefined;
  t.due &= ~(DUE_TAIL_PROBE | DUE_WINDOW_PROBE | DUE_KEEP_ALIVE);
  t.retransmitAt = t.tailProbeAt = t.persistAt = t.overrideAt = Infinity;
  t.delayedAckAt = t.keepAliveAt = t.waitAt = t.idleAt = Infinity;
}
