/**
 * What an acknowledgment does to the sender (RFC 9293 §3.10.7.4 "fifth, check the ACK field", RFC 5681, RFC 6298).
 */
import type { TcpSegment } from '../packet/tcp.ts';
import { armTailProbe, hasUnsent } from './tcp-output.ts';
import { SACK_DUPLICATE, SACK_TAIL_LOST } from './tcp-recovery.ts';
import { seqAfter, seqBefore } from './tcp-sequence.ts';
import {
  DUE_TAIL_PROBE,
  echoedMs,
  FIN_ACKED,
  FIN_SENT,
  HAS_SACK,
  HAS_TIMESTAMPS,
  isRecovering,
  markReady,
  pipeBytes,
  READY_WRITABLE,
  recoveryOf,
  sackOf,
  type Tcb,
  wantTransmit,
  WINDOW_PROBE_OUT,
  WRITE_WANTED,
} from './tcp-tcb.ts';

/** Takes the window field of a segment in, if the segment is newer than the last that told a window (RFC 9293). */
export function updateSendWindow(t: Tcb, segment: TcpSegment): void {
  const { seq, ack } = segment;
  const isNewer = seqBefore(t.sndWl1, seq) || (t.sndWl1 === seq && !seqAfter(t.sndWl2, ack));
  if (!isNewer) return;
  const window = segment.window << t.sndShift;
  t.sndWl1 = seq;
  t.sndWl2 = ack;
  if (window === t.sndWnd) return;
  t.sndWnd = window;
  if (window > t.maxSndWnd) t.maxSndWnd = window;
  if (window > 0) t.persistBackoff = 0;
  if (hasUnsent(t)) {
    if (window > 0) t.persistAt = Infinity;
    wantTransmit(t);
  }
}

/**
 * Takes an acknowledgment in that the caller has found acceptable: SND.UNA <= SEG.ACK <= SND.NXT. `isBare` is whether
 * the segment carries no data, SYN or FIN, and tells no new window: then it may count as a duplicate.
 */
export function handleAck(t: Tcb, segment: TcpSegment, nowMs: number, isBare: boolean): void {
  const { board, rtt } = t;
  const previousUna = t.sndUna;
  const advance = (segment.ack - previousUna) | 0;
  // Alive, and that is all that a probe of a shut window asks (RFC 9293 §3.8.6.1: then never give up).
  if (t.sndWnd === 0 || board.count === 0) t.stuckSinceMs = Number.NaN;
  if (advance === 0 && board.count === 0 && ((t.flags & HAS_SACK) === 0 || segment.sackCount === 0)) return;
  const flightBefore = pipeBytes(t);
  const echoMs =
    segment.hasTimestamps && (t.flags & HAS_TIMESTAMPS) !== 0 ? echoedMs(t, nowMs, segment.tsEcr) : Infinity;
  board.beginAck(nowMs, echoMs, rtt.minMs);
  if (advance > 0) advanceUna(t, segment.ack, advance);
  if ((t.flags & HAS_SACK) !== 0 && segment.sackCount > 0) sackOf(t);
  const found = t.sack === undefined ? 0 : t.sack.handleBlocks(segment, previousUna, t.sndNxt);
  const isNewLoss = findLosses(t, segment, nowMs, advance, isBare, found);
  // Where a duplicate is reported, the echo is not of what was sent last: an earlier answer was lost.
  const rttMs = measure(t, nowMs, advance, (found & SACK_DUPLICATE) === 0 ? echoMs : Infinity);
  const recovery = board.lostBytes > 0 ? recoveryOf(t) : t.recovery;
  const mayGrow = recovery?.onAck(advance, t.sndNxt, flightBefore, isNewLoss, echoMs, t.mss) ?? true;
  // What an acknowledgment says of arrivals counts, not by how far it moves: a gap that closes is one arrival.
  const bytes = (t.flags & HAS_SACK) !== 0 ? board.delivery.bytes : advance;
  if (mayGrow && bytes > 0) {
    const isLimited =
      seqBefore(previousUna, t.limitedEnd) || (t.cubic.isSlowStart && flightBefore * 2 > t.cubic.window);
    t.cubic.onAck(nowMs, bytes, t.sndUna, t.sndNxt, rttMs, rtt.smoothedMs, isLimited);
  }
  if (advance > 0) onProgress(t, nowMs);
  if (board.lostBytes > 0 || hasUnsent(t)) wantTransmit(t);
}

/** Moves SND.UNA: bytes leave the ring, records the scoreboard. */
function advanceUna(t: Tcb, ack: number, advance: number): void {
  t.board.ackTo(ack);
  t.sndUna = ack;
  const bytes = Math.min(advance, t.sendRing.length);
  // INVARIANT: only FIN lies beyond the ring, so an acknowledgment of more than the ring is one of FIN.
  t.sendRing.discard(bytes);
  if ((t.flags & FIN_SENT) !== 0 && ack === t.sndNxt) t.flags |= FIN_ACKED;
}

/** Has losses marked, with SACK (which `found` something) or by counting duplicates. Returns whether any is new. */
function findLosses(
  t: Tcb,
  segment: TcpSegment,
  nowMs: number,
  advance: number,
  isBare: boolean,
  found: number,
): boolean {
  const { board, recovery, rtt, sack } = t;
  if ((t.flags & HAS_SACK) === 0) {
    const before = board.lostBytes;
    if (advance > 0) recovery?.onAdvanceWithoutSack(advance, t.mss);
    else if (isBare) recoveryOf(t).onDuplicateAck(t.mss);
    return board.lostBytes > before;
  }
  // All that arrived came in the order in which it was sent: nothing can be lost by the rules of RACK.
  if (sack === undefined) return false;
  if ((found & SACK_DUPLICATE) !== 0) recovery?.onDuplicateReport(segment.sackLeft(0), segment.sackRight(0));
  if ((found & SACK_TAIL_LOST) !== 0) recoveryOf(t).onTailLoss();
  return sack.detect(nowMs, rtt.smoothedMs, rtt.minMs, isRecovering(t));
}

/**
 * Measures the round trip: by the send time of what was sent once, else by the echoed timestamp (Karn). An
 * acknowledgment in order is measured from the oldest segment, which counts the peer's delay in; one beyond a gap from
 * the newest, for the reports before it may have been lost. Returns the freshest measurement, 0 when there is none.
 */
function measure(t: Tcb, nowMs: number, advance: number, echoMs: number): number {
  const { board, rtt } = t;
  const { oldestSentMs, newestSentMs, repeatedSentMs } = board.delivery;
  const perRoundTrip = Math.max(1, Math.ceil(board.inFlightBytes / (2 * t.mss)));
  const isAmbiguous = repeatedSentMs > -Infinity;
  if (newestSentMs > -Infinity && !isAmbiguous) {
    rtt.sample(nowMs, nowMs - (advance > 0 ? oldestSentMs : newestSentMs), perRoundTrip);
    rtt.latestMs = nowMs - newestSentMs;
    return rtt.latestMs;
  }
  if (advance <= 0 || echoMs > nowMs) return 0;
  // An echo from before the last copy is of an earlier one: the path is slow, or the answers to it were lost, which
  // says nothing about the path. So it counts, but not for more than would make the next timeout fit.
  const isOld = isAmbiguous && echoMs < Math.floor(repeatedSentMs);
  const rttMs = Math.max(nowMs - echoMs, 1);
  rtt.sample(nowMs, isOld ? Math.min(rttMs, 2 * rtt.baseRtoMs) : rttMs, perRoundTrip);
  return 0;
}

/** SND.UNA moved: timers start over, and the application may have room again. */
function onProgress(t: Tcb, nowMs: number): void {
  t.stuckSinceMs = Number.NaN;
  t.errorCode = undefined;
  t.rtt.backoffs = 0;
  t.due &= ~DUE_TAIL_PROBE;
  t.flags &= ~WINDOW_PROBE_OUT;
  t.retransmitAt = t.board.count > 0 ? nowMs + t.rtt.rtoMs : Infinity;
  armTailProbe(t, nowMs);
  const { limits } = t.owner;
  const wanted = Math.floor(2 * t.cubic.window + limits.initialSendBytes / 2);
  if (wanted > t.sendLimit) t.sendLimit = Math.min(wanted, limits.sendBufferBytes);
  announceRoom(t);
}

/** Tells the application that it can write again, once a third of the buffer is free. */
export function announceRoom(t: Tcb): void {
  if ((t.flags & WRITE_WANTED) === 0 || (t.sendLimit - t.sendRing.length) * 3 < t.sendLimit) return;
  t.flags &= ~WRITE_WANTED;
  markReady(t, READY_WRITABLE);
}
