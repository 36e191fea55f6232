/**
 * Segments for a connection that exists (RFC 9293 §3.10.7.3 and §3.10.7.4, RFC 5961, RFC 7323 §5).
 *
 * Every function returns 0 for a segment that was used, or a negative drop reason (already counted). A check that
 * protects the connection stands on one line with its name.
 */
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, type TcpSegment } from '../packet/tcp.ts';
import { handleAck, updateSendWindow } from './tcp-ack.ts';
import { TCP_DROPS } from './tcp-drops.ts';
import { closeConnection, enterTimeWait, establish, failConnection, takeSynOptions } from './tcp-lifecycle.ts';
import { CHALLENGE_INTERVAL_MS, IDLE_RELEASE_MS, PAWS_IDLE_MS } from './tcp-limits.ts';
import { scheduleAck } from './tcp-output.ts';
import { seqAfter, seqBefore, seqMin } from './tcp-sequence.ts';
import {
  DISCARDING,
  DUE_ACK,
  DUE_SYN,
  echoedMs,
  FIN_ACKED,
  FIN_SENT,
  HAS_PEER_FIN,
  HAS_SACK,
  HAS_TIMESTAMPS,
  markReady,
  PEER_ENDED,
  READY_ENDED,
  READY_READABLE,
  sackOf,
  STATE_CLOSE_WAIT,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN_WAIT_1,
  STATE_FIN_WAIT_2,
  STATE_LAST_ACK,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  type Tcb,
  wantTransmit,
  WINDOW_PROBE_OUT,
} from './tcp-tcb.ts';
import { armKeepAlive } from './tcp-timeouts.ts';
import { noteReceiverRtt, onReceivePause } from './tcp-window.ts';

/** Takes a segment in for the connection it belongs to. `buf` holds its payload. 0, or a negative drop reason. */
export function handleSegment(t: Tcb, nowMs: number, buf: Uint8Array, segment: TcpSegment): number {
  if (t.stateCode === STATE_SYN_SENT) return handleInSynSent(t, nowMs, buf, segment);
  const { drops } = t.owner;
  if (t.stateCode === STATE_SYN_RECEIVED && segment.seq === t.irs && (segment.flags & TCP_SYN) !== 0) {
    if ((segment.flags & TCP_ACK) === 0) return repeatSynAck(t);
    // The other half of a simultaneous open: it acknowledges our SYN, and its own SYN we have.
    segment.flags &= ~TCP_SYN;
    segment.seq = t.rcvNxt;
    t.due |= DUE_ACK;
    wantTransmit(t);
  }
  const { flags } = segment;
  const refused = checkSequence(t, nowMs, segment);
  if (refused !== 0) return refused;
  if ((flags & TCP_RST) !== 0) return handleReset(t, nowMs, segment);
  if ((flags & TCP_SYN) !== 0) return challenge(t, nowMs, TCP_DROPS.unexpectedSyn); // CHECK: tcp-syn-challenge
  if ((flags & TCP_ACK) === 0) return drops.count(TCP_DROPS.malformed); // CHECK: tcp-ack-required
  const unacceptable = checkAck(t, nowMs, segment);
  if (unacceptable !== 0) return unacceptable;
  noteTimestamp(t, nowMs, segment);
  if (nowMs - t.lastReceiveMs > t.rtt.rtoMs) onReceivePause(t);
  t.lastReceiveMs = nowMs;
  t.keepAliveProbes = 0;
  return acceptSegment(t, nowMs, buf, segment);
}

/** The SYN came again: our SYN-ACK was lost, or is late. */
function repeatSynAck(t: Tcb): number {
  t.due |= DUE_SYN;
  wantTransmit(t);
  return t.owner.drops.count(TCP_DROPS.duplicate);
}

/** Timestamps and sequence numbers: whether the segment can belong to the present window at all. */
function checkSequence(t: Tcb, nowMs: number, segment: TcpSegment): number {
  if ((t.flags & HAS_TIMESTAMPS) !== 0 && (segment.flags & (TCP_RST | TCP_SYN)) === 0) {
    if (!segment.hasTimestamps) return t.owner.drops.count(TCP_DROPS.oldTimestamp); // CHECK: tcp-timestamp-required
    const isStale = ((segment.tsVal - t.tsRecent) | 0) < 0 && nowMs - t.tsRecentMs < PAWS_IDLE_MS;
    if (isStale) return answerStale(t, nowMs, segment); // CHECK: tcp-paws
  }
  const length = segment.sequenceLength;
  const end = (segment.seq + length) | 0;
  // A bare acknowledgment may come late, after data that left later: anything since our last one is recent enough.
  const isOld = length === 0 ? seqBefore(segment.seq, t.lastAckSent) : !seqAfter(end, t.rcvNxt);
  if (isOld || seqAfter(segment.seq, t.rcvAdv)) return answerUnacceptable(t, nowMs, segment, isOld, end); // CHECK: tcp-sequence-window
  return 0;
}

/** An old timestamp: an old segment. Data of which the copy was faster is reported, so that the sender learns of it. */
function answerStale(t: Tcb, nowMs: number, segment: TcpSegment): number {
  const { drops } = t.owner;
  const end = (segment.seq + segment.dataEnd - segment.dataStart) | 0;
  if (segment.dataEnd === segment.dataStart || seqAfter(end, t.rcvNxt))
    return challenge(t, nowMs, TCP_DROPS.oldTimestamp);
  reportDuplicate(t, segment.seq, end);
  return drops.count(TCP_DROPS.oldTimestamp);
}

/** `[start, end)` came again: acknowledged at once, and named if SACK is on and it can have been (RFC 2883). */
function reportDuplicate(t: Tcb, start: number, end: number): void {
  const age = (t.rcvNxt - start) | 0;
  if ((t.flags & HAS_SACK) !== 0 && age > 0 && age <= t.rcvTarget) sackOf(t).noteDuplicate(start, end);
  t.due |= DUE_ACK;
  wantTransmit(t);
}

/** Outside the window: answered with the present state of things, at once for data (it was probably sent again). */
function answerUnacceptable(t: Tcb, nowMs: number, segment: TcpSegment, isOld: boolean, end: number): number {
  const { drops } = t.owner;
  if ((segment.flags & TCP_RST) !== 0) return drops.count(TCP_DROPS.badReset);
  const hasData = segment.dataEnd > segment.dataStart;
  // A copy of the segment acknowledged last tells its new send time, or its answer would echo an old one.
  if (hasData && end === t.lastAckSent) noteTimestamp(t, nowMs, segment);
  if (!isOld || !hasData) return challenge(t, nowMs, isOld ? TCP_DROPS.duplicate : TCP_DROPS.outOfWindow);
  reportDuplicate(t, segment.seq, seqMin(end, t.rcvNxt));
  return drops.count(TCP_DROPS.duplicate);
}

/** Answers with an acknowledgment, but not too often (RFC 5961 §3.2, §4.2, §5.2 and §7). */
function challenge(t: Tcb, nowMs: number, reason: number): number {
  const isRecent = nowMs - t.challengedMs < CHALLENGE_INTERVAL_MS;
  if (isRecent) return t.owner.drops.count(reason); // CHECK: tcp-challenge-rate
  t.challengedMs = nowMs;
  t.due |= DUE_ACK;
  wantTransmit(t);
  return t.owner.drops.count(reason);
}

/** A reset in the window counts only if it hits RCV.NXT exactly (RFC 5961 §3.2). */
function handleReset(t: Tcb, nowMs: number, segment: TcpSegment): number {
  if (segment.seq !== t.rcvNxt) return challenge(t, nowMs, TCP_DROPS.badReset); // CHECK: tcp-reset-exact
  if (t.stateCode === STATE_SYN_RECEIVED) failConnection(t, 'ERR_CONNECTION_REFUSED');
  else if (t.stateCode === STATE_CLOSING || t.stateCode === STATE_LAST_ACK) closeConnection(t);
  else failConnection(t, 'ERR_CONNECTION_RESET');
  return 0;
}

/** Whether the acknowledgment is of something that is or was in flight (RFC 5961 §5.2). */
function checkAck(t: Tcb, nowMs: number, segment: TcpSegment): number {
  const { ack } = segment;
  if (t.stateCode === STATE_SYN_RECEIVED) {
    if (ack !== t.sndNxt) return refuseAck(t, ack); // CHECK: tcp-syn-received-ack
    return 0;
  }
  if ((t.flags & WINDOW_PROBE_OUT) !== 0 && ack === ((t.sndNxt + 1) | 0)) takeProbe(t, nowMs);
  if (seqAfter(ack, t.sndNxt)) return challenge(t, nowMs, TCP_DROPS.badAck); // CHECK: tcp-ack-future
  if (seqBefore(ack, (t.sndUna - t.maxSndWnd) | 0)) return challenge(t, nowMs, TCP_DROPS.badAck); // CHECK: tcp-ack-ancient
  return 0;
}

/** An acknowledgment of a SYN that was never sent: whoever sent it believes in another connection. */
function refuseAck(t: Tcb, ack: number): number {
  t.owner.sendReset(t.path, t.localPort, t.remotePort, ack, undefined);
  return t.owner.drops.count(TCP_DROPS.badAck);
}

/** The peer took the octet of a zero-window probe: it counts as sent after all. */
function takeProbe(t: Tcb, nowMs: number): void {
  t.flags &= ~WINDOW_PROBE_OUT;
  if (t.sendRing.length === 0) t.flags |= FIN_SENT;
  t.sndNxt = (t.sndNxt + 1) | 0;
  t.board.push(t.sndNxt, nowMs);
}

/** Remembers the peer's clock if the segment reaches back to our last acknowledgment (RFC 7323 §4.3). */
function noteTimestamp(t: Tcb, nowMs: number, segment: TcpSegment): void {
  if ((t.flags & HAS_TIMESTAMPS) === 0 || seqAfter(segment.seq, t.lastAckSent)) return;
  if (((segment.tsVal - t.tsRecent) | 0) < 0 && nowMs - t.tsRecentMs < PAWS_IDLE_MS) return;
  t.tsRecent = segment.tsVal;
  t.tsRecentMs = nowMs;
}

/** An acceptable segment: acknowledgment, data, FIN, in this order. */
function acceptSegment(t: Tcb, nowMs: number, buf: Uint8Array, segment: TcpSegment): number {
  if (t.stateCode === STATE_SYN_RECEIVED) establish(t, nowMs, segment);
  else {
    const windowBefore = t.sndWnd;
    const isBare = segment.sequenceLength === 0;
    updateSendWindow(t, segment);
    if (!seqBefore(segment.ack, t.sndUna)) handleAck(t, segment, nowMs, isBare && t.sndWnd === windowBefore);
  }
  if ((t.flags & FIN_ACKED) !== 0) onFinAcked(t, nowMs);
  let result = 0;
  if (segment.dataEnd > segment.dataStart) result = handleData(t, nowMs, buf, segment);
  if ((segment.flags & TCP_FIN) !== 0) noteFin(t, (segment.seq + segment.dataEnd - segment.dataStart) | 0);
  if ((t.flags & HAS_PEER_FIN) !== 0 && (t.flags & PEER_ENDED) === 0 && t.rcvNxt === t.peerFinSeq) onPeerFin(t, nowMs);
  return result;
}

/** Our FIN arrived (RFC 9293 §3.10.7.4, fifth). */
function onFinAcked(t: Tcb, nowMs: number): void {
  if (t.stateCode === STATE_FIN_WAIT_1) {
    t.stateCode = STATE_FIN_WAIT_2;
    if (t.keepAliveAt === Infinity) armKeepAlive(t, nowMs);
    if ((t.flags & DISCARDING) !== 0) t.waitAt = nowMs + t.owner.limits.finWaitMs;
  } else if (t.stateCode === STATE_CLOSING) enterTimeWait(t, nowMs);
  else if (t.stateCode === STATE_LAST_ACK) closeConnection(t);
}

/** Payload (RFC 9293 §3.10.7.4, seventh). */
function handleData(t: Tcb, nowMs: number, buf: Uint8Array, segment: TcpSegment): number {
  const { drops } = t.owner;
  const state = t.stateCode;
  if (state !== STATE_ESTABLISHED && state !== STATE_FIN_WAIT_1 && state !== STATE_FIN_WAIT_2)
    return drops.count(TCP_DROPS.badState);
  let { seq, dataStart: start, dataEnd: end } = segment;
  const overlap = (t.rcvNxt - seq) | 0;
  if (overlap > 0) {
    if ((t.flags & HAS_SACK) !== 0) sackOf(t).noteDuplicate(seq, t.rcvNxt);
    start += overlap;
    seq = t.rcvNxt;
    if (start >= end) return 0;
  }
  const room = (t.rcvAdv - seq) | 0;
  if (end - start > room) end = start + Math.max(room, 0); // CHECK: tcp-window-trim
  const isPastFin = (t.flags & HAS_PEER_FIN) !== 0 && ((t.peerFinSeq - seq) | 0) < end - start;
  if (isPastFin) return drops.count(TCP_DROPS.malformed); // CHECK: tcp-data-after-fin
  if (start === end) {
    t.due |= DUE_ACK;
    wantTransmit(t);
    return drops.count(TCP_DROPS.outOfWindow);
  }
  if (end - start > t.rcvMss) t.rcvMss = Math.min(end - start, t.path.mtu);
  if (t.idleAt === Infinity) t.idleAt = nowMs + IDLE_RELEASE_MS;
  return seq === t.rcvNxt ? takeInOrder(t, nowMs, buf, segment, start, end) : takeAhead(t, buf, seq, start, end);
}

function takeInOrder(t: Tcb, nowMs: number, buf: Uint8Array, segment: TcpSegment, start: number, end: number): number {
  const ring = t.receiveRing;
  const hadGap = ring.rangeCount > 0;
  const advance = (t.flags & DISCARDING) !== 0 && !hadGap ? end - start : ring.append(t.rcvNxt, buf, start, end);
  if (advance < 0) return t.owner.drops.count(TCP_DROPS.limit);
  t.rcvNxt = (t.rcvNxt + advance) | 0;
  if (segment.hasTimestamps && (t.flags & HAS_TIMESTAMPS) !== 0 && end - start === t.rcvMss)
    noteReceiverRtt(t, Math.max(nowMs - echoedMs(t, nowMs, segment.tsEcr), 0));
  if ((t.flags & DISCARDING) !== 0) ring.skip(ring.readableBytes);
  else markReady(t, READY_READABLE);
  if (hadGap) t.due |= DUE_ACK;
  scheduleAck(t, nowMs, advance);
  if ((t.due & DUE_ACK) !== 0) wantTransmit(t);
  return 0;
}

/** Beyond a gap: kept if there is room, and answered at once, so that the sender learns of the gap (RFC 5681 §4.2). */
function takeAhead(t: Tcb, buf: Uint8Array, seq: number, start: number, end: number): number {
  const { drops } = t.owner;
  t.due |= DUE_ACK;
  wantTransmit(t);
  const isKnown = t.receiveRing.covers(seq, (seq + end - start) | 0);
  if (isKnown) {
    if ((t.flags & HAS_SACK) !== 0) sackOf(t).noteDuplicate(seq, (seq + end - start) | 0);
    return drops.count(TCP_DROPS.duplicate);
  }
  return t.receiveRing.insert(t.rcvNxt, seq, buf, start, end) ? 0 : drops.count(TCP_DROPS.limit);
}

/** A FIN at `seq`, in the window or right behind it; kept until everything before it is here. */
function noteFin(t: Tcb, seq: number): void {
  if ((t.flags & HAS_PEER_FIN) !== 0 || seqBefore(seq, t.rcvNxt) || seqAfter(seq, t.rcvAdv)) return;
  t.flags |= HAS_PEER_FIN;
  t.peerFinSeq = seq;
}

/** All data up to the peer's FIN is here (RFC 9293 §3.10.7.4, eighth). */
function onPeerFin(t: Tcb, nowMs: number): void {
  t.flags |= PEER_ENDED;
  t.rcvNxt = (t.rcvNxt + 1) | 0;
  if (seqAfter(t.rcvNxt, t.rcvAdv)) t.rcvAdv = t.rcvNxt;
  t.receiveRing.dropRanges();
  t.due |= DUE_ACK;
  wantTransmit(t);
  markReady(t, READY_ENDED);
  if (t.stateCode === STATE_ESTABLISHED) t.stateCode = STATE_CLOSE_WAIT;
  else if (t.stateCode === STATE_FIN_WAIT_1) t.stateCode = STATE_CLOSING;
  else if (t.stateCode === STATE_FIN_WAIT_2) enterTimeWait(t, nowMs);
}

/** SYN-SENT (RFC 9293 §3.10.7.3). */
function handleInSynSent(t: Tcb, nowMs: number, buf: Uint8Array, segment: TcpSegment): number {
  const { drops } = t.owner;
  const { flags, ack } = segment;
  const hasAck = (flags & TCP_ACK) !== 0;
  const isReset = (flags & TCP_RST) !== 0;
  if (hasAck && ack !== t.sndNxt) return isReset ? drops.count(TCP_DROPS.badReset) : refuseAck(t, ack); // CHECK: tcp-syn-sent-ack
  if (isReset) {
    if (!hasAck) return drops.count(TCP_DROPS.badReset); // CHECK: tcp-reset-needs-ack
    failConnection(t, 'ERR_CONNECTION_REFUSED');
    return 0;
  }
  if ((flags & TCP_SYN) === 0) return drops.count(TCP_DROPS.badState);
  takeSynOptions(t, nowMs, segment);
  t.lastReceiveMs = nowMs;
  if (!hasAck) {
    // Both sides opened at once (RFC 9293 §3.5, figure 7).
    t.stateCode = STATE_SYN_RECEIVED;
    t.due |= DUE_SYN;
    wantTransmit(t);
    return 0;
  }
  establish(t, nowMs, segment);
  t.due |= DUE_ACK;
  wantTransmit(t);
  segment.seq = t.rcvNxt;
  let result = 0;
  if (segment.dataEnd > segment.dataStart) result = handleData(t, nowMs, buf, segment);
  if ((flags & TCP_FIN) !== 0) noteFin(t, (segment.seq + segment.dataEnd - segment.dataStart) | 0);
  if ((t.flags & HAS_PEER_FIN) !== 0 && (t.flags & PEER_ENDED) === 0 && t.rcvNxt === t.peerFinSeq) onPeerFin(t, nowMs);
  return result;
}
