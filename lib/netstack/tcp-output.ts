/**
 * Sending: which segment leaves next, and its bytes (RFC 9293 §3.8 and §3.10, RFC 1122 §4.2.3.4 for Nagle and silly
 * windows, RFC 896).
 *
 * {@link transmit} writes one packet per call, in this order: SYN; lost segments; probes; new data and FIN; a bare
 * acknowledgment. Every segment carries the acknowledgment, so a batch of input is answered once.
 */
import { foldChecksum, pseudoSum, sumBytes } from '../base/checksum.ts';
import type { Slot } from '../base/slot.ts';
import {
  PROTOCOL_TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_HEADER_BYTES,
  TCP_PSH,
  TCP_SYN,
  TIMESTAMPS_BYTES,
  writeMss,
  writeSackPermitted,
  writeTcpChecksum,
  writeTcpHeader,
  writeTimestamps,
  writeWindowShift,
} from '../packet/tcp.ts';
import { type IpPath, writeIpHeader } from './path.ts';
import { DELAYED_ACK_MS, IDLE_RELEASE_MS, MSS_MIN, SEND_OVERRIDE_MS } from './tcp-limits.ts';
import { seqAfter, seqBefore } from './tcp-sequence.ts';
import {
  DUE_ACK,
  DUE_KEEP_ALIVE,
  DUE_SYN,
  DUE_TAIL_PROBE,
  DUE_WINDOW_PROBE,
  FIN_QUEUED,
  FIN_SENT,
  HAS_SACK,
  HAS_SCALE,
  HAS_TIMESTAMPS,
  isRecovering,
  NO_DELAY,
  OVERRIDDEN,
  pipeBytes,
  recoveryOf,
  sackOf,
  STATE_CLOSED,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  type Tcb,
  timestampOf,
  WINDOW_PROBE_OUT,
} from './tcp-tcb.ts';
import { advertise, synWindow, windowShiftFor } from './tcp-window.ts';

/** Bytes that options may take together (RFC 9293 §3.1: a header of 60 bytes). */
const OPTIONS_BYTES = 40;
/** A peer may wait this long with its acknowledgment of a single segment (RFC 8985 §7.2). */
const WORST_ACK_DELAY_MS = 200;
/** Wait before a tail loss probe as long as no round trip was measured. */
const FIRST_PROBE_MS = 1000;

/** Writes the next packet of the connection into the slot. False when nothing is to be sent now. */
export function transmit(t: Tcb, nowMs: number, slot: Slot): boolean {
  const state = t.stateCode;
  if (state === STATE_CLOSED) return false;
  if (state === STATE_SYN_SENT || state === STATE_SYN_RECEIVED) {
    if ((t.due & DUE_SYN) !== 0) return sendSyn(t, nowMs, slot);
  } else {
    if (t.board.lostBytes > 0) {
      if (sendLost(t, nowMs, slot)) return true;
    } else {
      if ((t.due & DUE_TAIL_PROBE) !== 0 && sendTailProbe(t, nowMs, slot)) return true;
      if (sendNew(t, nowMs, slot, false)) return true;
    }
    if ((t.due & DUE_WINDOW_PROBE) !== 0 && sendWindowProbe(t, nowMs, slot)) return true;
    if ((t.due & DUE_KEEP_ALIVE) !== 0) return sendKeepAlive(t, nowMs, slot);
  }
  if ((t.due & DUE_ACK) === 0 || state === STATE_SYN_SENT) return false;
  writeSegment(t, nowMs, slot, t.sndNxt, TCP_ACK, 0, 0);
  return true;
}

/** Sequence number after the last byte that the application wrote; where FIN goes. */
function dataEnd(t: Tcb): number {
  return (t.sndUna + t.sendRing.length) | 0;
}

/** Whether something waits that was never sent: data or FIN. */
export function hasUnsent(t: Tcb): boolean {
  return t.sndNxt !== dataEnd(t)
    ? (t.flags & FIN_SENT) === 0
    : (t.flags & FIN_QUEUED) !== 0 && (t.flags & FIN_SENT) === 0;
}

/** Payload that fits beside the options of a data segment now. */
function segmentRoom(t: Tcb): number {
  if (!hasBlocks(t)) return t.mss;
  return t.mss - Math.min(4 + 8 * (t.receiveRing.rangeCount + 1), OPTIONS_BYTES - TIMESTAMPS_BYTES);
}

/** Whether the next segment reports what arrived beyond a gap, or twice. */
function hasBlocks(t: Tcb): boolean {
  return (t.flags & HAS_SACK) !== 0 && (t.receiveRing.rangeCount > 0 || t.sack?.hasDuplicate === true);
}

/** Sends the first lost segment again, if the window has room for it. */
function sendLost(t: Tcb, nowMs: number, slot: Slot): boolean {
  const { board } = t;
  const i = board.nextLost();
  if (i < 0) return false;
  const bytes = (board.endOf(i) - board.startOf(i)) | 0;
  const pipe = pipeBytes(t);
  // With nothing in the network no answer would ever open the window again: one segment may always be out.
  if (t.recovery?.mustRetransmit !== true && pipe > 0 && pipe + bytes > t.cubic.window) {
    t.limitedEnd = t.sndNxt;
    return false;
  }
  sendAgain(t, nowMs, slot, i);
  return true;
}

/** Sends record `i` again, at most one segment's worth of it as the path is now. */
function sendAgain(t: Tcb, nowMs: number, slot: Slot, i: number): void {
  const { board } = t;
  const start = board.startOf(i);
  const end = board.endOf(i);
  const hasFin = (t.flags & FIN_SENT) !== 0 && ((end - dataEnd(t)) | 0) > 0;
  const bytes = ((end - start) | 0) - (hasFin ? 1 : 0);
  board.markRetransmitted(i, nowMs);
  if ((t.flags & HAS_SACK) !== 0) sackOf(t).onRetransmit((board.firstId + i) | 0, nowMs);
  const recovery = recoveryOf(t);
  recovery.onSend((end - start) | 0, end, true, nowMs);
  recovery.retransmits++;
  const flags = TCP_ACK | (bytes > 0 ? TCP_PSH : 0) | (hasFin ? TCP_FIN : 0);
  writeSegment(t, nowMs, slot, start, flags, (start - t.sndUna) | 0, bytes);
  if (t.retransmitAt === Infinity) t.retransmitAt = nowMs + t.rtt.rtoMs;
}

/** Sends the next segment of new data, FIN included, if the windows and Nagle allow it. `isForced`: a probe. */
function sendNew(t: Tcb, nowMs: number, slot: Slot, isForced: boolean): boolean {
  const unsent = (t.flags & FIN_SENT) !== 0 ? 0 : (dataEnd(t) - t.sndNxt) | 0;
  const isFinDue = (t.flags & FIN_QUEUED) !== 0 && (t.flags & FIN_SENT) === 0;
  if (unsent <= 0 && !isFinDue) return false;
  const { board } = t;
  if (board.count >= t.owner.limits.segmentsInFlight) return false;
  const usable = (t.sndUna + t.sndWnd - t.sndNxt) | 0;
  const room = segmentRoom(t);
  const bytes = Math.max(Math.min(unsent, room, usable), 0);
  const hasFin = isFinDue && bytes === unsent && usable > bytes;
  if (bytes === 0 && !hasFin) return waitForWindow(t, nowMs);
  if (!isForced && bytes < room && !mayBeShort(t, nowMs, bytes, unsent)) return false;
  if (!hasCongestionRoom(t, nowMs, bytes, isForced)) return false;
  emitNew(t, nowMs, slot, bytes, hasFin, bytes === unsent);
  return true;
}

/** Whether a segment of `bytes`, less than full, may leave: silly window and Nagle. */
function mayBeShort(t: Tcb, nowMs: number, bytes: number, unsent: number): boolean {
  if ((t.flags & OVERRIDDEN) !== 0) return true;
  if (bytes < unsent) {
    // The peer's window cuts it short (RFC 9293 §3.8.6.2.1 (3)).
    if (bytes * 2 >= t.maxSndWnd) return true;
    if (t.board.count === 0 && t.overrideAt === Infinity) t.overrideAt = nowMs + SEND_OVERRIDE_MS;
    return false;
  }
  return (t.flags & NO_DELAY) !== 0 || (t.flags & FIN_QUEUED) !== 0 || !seqAfter(t.smallEnd, t.sndUna);
}

/** Whether the congestion window has room for `bytes`; notes that it held the sender back. Restarts it after idling. */
function hasCongestionRoom(t: Tcb, nowMs: number, bytes: number, isForced: boolean): boolean {
  if (t.board.count === 0 && nowMs - t.lastSendMs > t.rtt.rtoMs) t.cubic.onIdle();
  const pipe = pipeBytes(t);
  if (isForced || pipe === 0 || pipe + bytes <= t.cubic.window) return true;
  t.limitedEnd = t.sndNxt;
  return false;
}

/** The peer's window is shut: have it probed, unless something in flight brings an answer anyway. */
function waitForWindow(t: Tcb, nowMs: number): boolean {
  if (t.board.count === 0 && t.persistAt === Infinity) t.persistAt = nowMs + t.rtt.rtoMs;
  return false;
}

function emitNew(t: Tcb, nowMs: number, slot: Slot, bytes: number, hasFin: boolean, isLast: boolean): void {
  const seq = t.sndNxt;
  const end = (seq + bytes + (hasFin ? 1 : 0)) | 0;
  t.board.push(end, nowMs);
  t.recovery?.onSend((end - seq) | 0, end, false, nowMs);
  t.sndNxt = end;
  t.flags &= ~OVERRIDDEN;
  t.overrideAt = t.persistAt = Infinity;
  t.flags &= ~WINDOW_PROBE_OUT;
  t.due &= ~DUE_WINDOW_PROBE;
  if (bytes < t.mss) t.smallEnd = end;
  if (hasFin) t.flags |= FIN_SENT;
  const flags = TCP_ACK | (isLast && bytes > 0 ? TCP_PSH : 0) | (hasFin ? TCP_FIN : 0);
  writeSegment(t, nowMs, slot, seq, flags, (seq - t.sndUna) | 0, bytes);
  if (t.retransmitAt === Infinity) t.retransmitAt = nowMs + t.rtt.rtoMs;
  armTailProbe(t, nowMs);
  if (t.idleAt === Infinity) t.idleAt = nowMs + IDLE_RELEASE_MS;
}

/** Arms the tail loss probe after new data or progress (RFC 8985 §7.2). */
export function armTailProbe(t: Tcb, nowMs: number): void {
  t.tailProbeAt = Infinity;
  const { board, rtt } = t;
  if ((t.flags & HAS_SACK) === 0 || board.count === 0 || isRecovering(t)) return;
  if (t.sack?.isProbeOut === true || board.sackedBytes > 0) return;
  const delayMs = board.count === 1 ? WORST_ACK_DELAY_MS : 2;
  const at = nowMs + (rtt.smoothedMs === 0 ? FIRST_PROBE_MS : 2 * rtt.smoothedMs + delayMs);
  if (at < t.retransmitAt) t.tailProbeAt = at;
}

/** Tail loss probe: new data if the peer has room, else the last segment again (RFC 8985 §7.3). */
function sendTailProbe(t: Tcb, nowMs: number, slot: Slot): boolean {
  const { board } = t;
  t.due &= ~DUE_TAIL_PROBE;
  if (board.count === 0 || (t.flags & HAS_SACK) === 0) return false;
  const isNew = sendNew(t, nowMs, slot, true);
  if (!isNew) sendAgain(t, nowMs, slot, board.count - 1);
  sackOf(t).onProbe(t.sndNxt, isNew);
  t.tailProbeAt = Infinity;
  t.retransmitAt = nowMs + t.rtt.rtoMs;
  return true;
}

/** Zero-window probe: what the window takes, or one octet beyond it (RFC 9293 §3.8.6.1). */
function sendWindowProbe(t: Tcb, nowMs: number, slot: Slot): boolean {
  t.due &= ~DUE_WINDOW_PROBE;
  if (t.board.count > 0 || !hasUnsent(t)) return false;
  if (sendNew(t, nowMs, slot, true)) return true;
  const bytes = t.sendRing.length > 0 ? 1 : 0;
  t.flags |= WINDOW_PROBE_OUT;
  writeSegment(t, nowMs, slot, t.sndNxt, TCP_ACK | (bytes === 0 ? TCP_FIN : TCP_PSH), 0, bytes);
  t.persistAt = nowMs + Math.min(t.rtt.rtoMs * 2 ** Math.min(t.persistBackoff, 10), 60_000);
  return true;
}

/** Keep-alive: nothing new, from just before the window, so that it must be answered (RFC 9293 §3.8.4). */
function sendKeepAlive(t: Tcb, nowMs: number, slot: Slot): boolean {
  t.due &= ~DUE_KEEP_ALIVE;
  writeSegment(t, nowMs, slot, (t.sndNxt - 1) | 0, TCP_ACK, 0, 0);
  return true;
}

/** SYN or SYN-ACK with its options. */
function sendSyn(t: Tcb, nowMs: number, slot: Slot): boolean {
  t.due &= ~DUE_SYN;
  const isReply = t.stateCode === STATE_SYN_RECEIVED;
  const { buf } = slot;
  const tcpStart = slot.start + t.path.headerBytes;
  let at = writeMss(buf, tcpStart + TCP_HEADER_BYTES, t.path.mtu - t.path.headerBytes - TCP_HEADER_BYTES);
  if (isReply ? (t.flags & HAS_SACK) !== 0 : t.owner.createSack !== undefined) at = writeSackPermitted(buf, at);
  if (!isReply || (t.flags & HAS_TIMESTAMPS) !== 0)
    at = writeTimestamps(buf, at, timestampOf(t, nowMs), isReply ? t.tsRecent : 0);
  if (!isReply || (t.flags & HAS_SCALE) !== 0)
    at = writeWindowShift(buf, at, windowShiftFor(t.owner.limits.receiveBufferBytes));
  const flags = isReply ? TCP_SYN | TCP_ACK : TCP_SYN;
  const ack = isReply ? t.rcvNxt : 0;
  writeTcpHeader(buf, tcpStart, t.localPort, t.remotePort, t.iss, ack, at - tcpStart, flags, synWindow(t));
  finish(t.path, slot, tcpStart, at);
  onAckSent(t);
  t.lastSendMs = nowMs;
  if (t.retransmitAt === Infinity) t.retransmitAt = nowMs + t.rtt.rtoMs;
  return true;
}

/** Writes a segment outside the handshake: `bytes` of payload at `offset` in the send ring. */
function writeSegment(
  t: Tcb,
  nowMs: number,
  slot: Slot,
  seq: number,
  flags: number,
  offset: number,
  bytes: number,
): void {
  const { path } = t;
  const { buf } = slot;
  const tcpStart = slot.start + path.headerBytes;
  let at = tcpStart + TCP_HEADER_BYTES;
  if ((t.flags & HAS_TIMESTAMPS) !== 0) at = writeTimestamps(buf, at, timestampOf(t, nowMs), t.tsRecent);
  if (hasBlocks(t)) {
    const room = Math.min(tcpStart + TCP_HEADER_BYTES + OPTIONS_BYTES - at, t.mss - bytes);
    at = sackOf(t).writeBlocks(t.receiveRing, buf, at, room);
  }
  writeTcpHeader(buf, tcpStart, t.localPort, t.remotePort, seq, t.rcvNxt, at - tcpStart, flags, advertise(t));
  if (bytes > 0) {
    t.sendRing.copyOut(offset, bytes, buf, at);
    t.lastSendMs = nowMs;
  }
  finish(path, slot, tcpStart, at + bytes);
  onAckSent(t);
}

/** Checksum and IP header of the segment in `[tcpStart, end)`; closes the slot. */
export function finish(path: IpPath, slot: Slot, tcpStart: number, end: number): void {
  const { buf } = slot;
  const sum = sumBytes(buf, tcpStart, end, pseudoSum(PROTOCOL_TCP, end - tcpStart, path.addressSum));
  writeTcpChecksum(buf, tcpStart, foldChecksum(sum));
  writeIpHeader(path, PROTOCOL_TCP, buf, slot.start, end - tcpStart);
  slot.end = end;
}

/** An acknowledgment left, alone or with data. */
function onAckSent(t: Tcb): void {
  if (t.lastAckSent !== t.rcvNxt && t.quickAcks > 0) t.quickAcks--;
  t.lastAckSent = t.rcvNxt;
  t.due &= ~DUE_ACK;
  t.unackedBytes = 0;
  t.delayedAckAt = Infinity;
}

/** `bytes` of data arrived in order: acknowledge now, every second full segment, or a little later (RFC 9293 §3.8.6.3). */
export function scheduleAck(t: Tcb, nowMs: number, bytes: number): void {
  t.unackedBytes += bytes;
  if (t.quickAcks > 0 || t.unackedBytes >= 2 * Math.max(t.rcvMss, 1)) t.due |= DUE_ACK;
  else if (t.delayedAckAt === Infinity) t.delayedAckAt = nowMs + DELAYED_ACK_MS;
}

/** Segment size for the path, the peer and the options in use; what neither can push below {@link MSS_MIN}. */
export function updateSegmentSize(t: Tcb): void {
  const fixed = (t.flags & HAS_TIMESTAMPS) !== 0 ? TIMESTAMPS_BYTES : 0;
  const path = t.path.mtu - t.path.headerBytes - TCP_HEADER_BYTES;
  t.mss = Math.max(Math.min(path, t.peerMss) - fixed, MSS_MIN);
  t.cubic.setSegmentSize(t.mss);
}

/** Whether `seq` has been sent and not been acknowledged. */
export function isInFlight(t: Tcb, seq: number): boolean {
  return !seqBefore(seq, t.sndUna) && seqBefore(seq, t.sndNxt);
}
