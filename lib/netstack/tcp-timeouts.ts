/**
 * What happens when time passes: retransmission (RFC 6298 §5), loss by reordering timer and tail probe (RFC 8985),
 * zero-window probes, silly-window override, delayed acknowledgments, keep-alive (RFC 9293 §3.8.4), and giving memory
 * back.
 */
import { closeConnection, failConnection } from './tcp-lifecycle.ts';
import { IDLE_RELEASE_MS, KEEPALIVE_PROBE_MS, KEEPALIVE_PROBES, SYN_ACK_RETRIES } from './tcp-limits.ts';
import { markAllLost } from './tcp-recovery.ts';
import { SENT_SACKED } from './tcp-scoreboard.ts';
import {
  DUE_ACK,
  DUE_KEEP_ALIVE,
  DUE_SYN,
  DUE_TAIL_PROBE,
  DUE_WINDOW_PROBE,
  HAS_SACK,
  isRecovering,
  OVERRIDDEN,
  pipeBytes,
  recoveryOf,
  sackOf,
  STATE_CLOSED,
  STATE_FIN_WAIT_2,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  type Tcb,
  wantTransmit,
} from './tcp-tcb.ts';

/** When the connection wants to be woken next, absolute milliseconds; Infinity for never. */
export function nextDeadline(t: Tcb): number {
  let at = t.retransmitAt;
  if (t.tailProbeAt < at) at = t.tailProbeAt;
  if (t.sack !== undefined && t.sack.reorderAt < at) at = t.sack.reorderAt;
  if (t.persistAt < at) at = t.persistAt;
  if (t.overrideAt < at) at = t.overrideAt;
  if (t.delayedAckAt < at) at = t.delayedAckAt;
  if (t.keepAliveAt < at) at = t.keepAliveAt;
  if (t.waitAt < at) at = t.waitAt;
  if (t.idleAt < at) at = t.idleAt;
  return at;
}

/** Does what is due. */
export function handleTimers(t: Tcb, nowMs: number): void {
  if (t.delayedAckAt <= nowMs) {
    t.delayedAckAt = Infinity;
    t.due |= DUE_ACK;
    wantTransmit(t);
  }
  if (t.retransmitAt <= nowMs) onRetransmitTimeout(t, nowMs);
  if (t.tailProbeAt <= nowMs) {
    t.tailProbeAt = Infinity;
    t.due |= DUE_TAIL_PROBE;
    wantTransmit(t);
  }
  if (t.sack !== undefined && t.sack.reorderAt <= nowMs) onReorderTimeout(t, nowMs);
  if (t.persistAt <= nowMs) onPersistTimeout(t, nowMs);
  if (t.overrideAt <= nowMs) {
    t.overrideAt = Infinity;
    t.flags |= OVERRIDDEN;
    wantTransmit(t);
  }
  if (t.keepAliveAt <= nowMs) onKeepAliveTimeout(t, nowMs);
  if (t.waitAt <= nowMs) onWaitTimeout(t, nowMs);
  if (t.idleAt <= nowMs) onIdleTimeout(t, nowMs);
}

function onRetransmitTimeout(t: Tcb, nowMs: number): void {
  t.retransmitAt = Infinity;
  if (t.stateCode === STATE_SYN_SENT || t.stateCode === STATE_SYN_RECEIVED) return onSynTimeout(t, nowMs);
  const { board, rtt } = t;
  if (board.count === 0) return;
  if (isStuck(t, nowMs)) return;
  // The first segment cannot be beyond a gap: the receiver has thrown away what it reported (RFC 2018 §8).
  if ((board.flagsOf(0) & SENT_SACKED) !== 0) {
    board.clearSacked();
    t.sack?.rescan();
  }
  if ((t.flags & HAS_SACK) !== 0) sackOf(t).detectOnTimeout(nowMs, rtt.smoothedMs, rtt.minMs);
  else markAllLost(board);
  const recovery = recoveryOf(t);
  recovery.onTimeout(t.sndNxt, t.mss, rtt.backoffs === 0);
  rtt.backOff();
  recovery.timeouts++;
  t.tailProbeAt = Infinity;
  t.due &= ~DUE_TAIL_PROBE;
  t.retransmitAt = nowMs + rtt.rtoMs;
  wantTransmit(t);
}

/** Counts the time without an answer; ends the connection when it was too long (R2). */
function isStuck(t: Tcb, nowMs: number): boolean {
  if (Number.isNaN(t.stuckSinceMs)) t.stuckSinceMs = nowMs;
  if (nowMs - t.stuckSinceMs < t.owner.limits.giveUpMs) return false;
  failConnection(t, t.errorCode ?? 'ERR_TIMED_OUT');
  return true;
}

function onSynTimeout(t: Tcb, nowMs: number): void {
  const isHalfOpen = t.stateCode === STATE_SYN_RECEIVED && t.origin !== undefined;
  if (isHalfOpen ? t.rtt.backoffs >= SYN_ACK_RETRIES : nowMs - t.stuckSinceMs >= t.owner.limits.connectGiveUpMs) {
    failConnection(t, t.errorCode ?? 'ERR_TIMED_OUT');
    return;
  }
  t.rtt.backOff();
  t.due |= DUE_SYN;
  t.retransmitAt = nowMs + t.rtt.rtoMs;
  wantTransmit(t);
}

/** Segments sent before one that arrived are late by more than reordering explains. */
function onReorderTimeout(t: Tcb, nowMs: number): void {
  const { board, rtt, sack } = t;
  const flightBefore = pipeBytes(t);
  board.beginAck(nowMs, Infinity, rtt.minMs);
  if (!sack!.detect(nowMs, rtt.smoothedMs, rtt.minMs, isRecovering(t))) return;
  recoveryOf(t).onAck(0, t.sndNxt, flightBefore, true, Infinity, t.mss);
  t.tailProbeAt = Infinity;
  wantTransmit(t);
}

function onPersistTimeout(t: Tcb, nowMs: number): void {
  t.persistAt = Infinity;
  if (isStuck(t, nowMs)) return;
  t.persistBackoff++;
  t.due |= DUE_WINDOW_PROBE;
  wantTransmit(t);
}

/** Interval of keep-alive probes; in FIN-WAIT-2 there always is one, or a vanished peer would be waited for forever. */
function keepAliveInterval(t: Tcb): number {
  if (t.keepAliveMs > 0) return t.keepAliveMs;
  return t.stateCode === STATE_FIN_WAIT_2 ? KEEPALIVE_PROBE_MS : Infinity;
}

/** Starts the keep-alive clock again after the interval or the state changed. */
export function armKeepAlive(t: Tcb, nowMs: number): void {
  t.keepAliveProbes = 0;
  t.keepAliveAt = nowMs + keepAliveInterval(t);
}

function onKeepAliveTimeout(t: Tcb, nowMs: number): void {
  const interval = keepAliveInterval(t);
  t.keepAliveAt = t.lastReceiveMs + interval;
  if (t.keepAliveAt > nowMs) return;
  if (t.board.count > 0 || t.stateCode === STATE_SYN_SENT || t.stateCode === STATE_SYN_RECEIVED) {
    // Retransmissions ask the same question.
    t.keepAliveAt = nowMs + interval;
    return;
  }
  if (t.keepAliveProbes >= KEEPALIVE_PROBES) {
    failConnection(t, 'ERR_TIMED_OUT');
    return;
  }
  t.keepAliveProbes++;
  t.due |= DUE_KEEP_ALIVE;
  t.keepAliveAt = nowMs + Math.min(interval, KEEPALIVE_PROBE_MS);
  wantTransmit(t);
}

function onWaitTimeout(t: Tcb, nowMs: number): void {
  t.waitAt = Infinity;
  if (t.stateCode !== STATE_FIN_WAIT_2) return;
  const end = t.lastReceiveMs + t.owner.limits.finWaitMs;
  if (end > nowMs) {
    t.waitAt = end;
    return;
  }
  t.owner.sendReset(t.path, t.localPort, t.remotePort, t.sndNxt, t.rcvNxt);
  closeConnection(t);
}

/** Gives the memory of empty rings back after a quiet time. */
function onIdleTimeout(t: Tcb, nowMs: number): void {
  // INVARIANT: deadlines are compared as sums, as they are set, or rounding could make one due for ever.
  const end = Math.max(t.lastReceiveMs, t.lastSendMs) + IDLE_RELEASE_MS;
  if (t.stateCode !== STATE_CLOSED && end > nowMs) {
    t.idleAt = end;
    return;
  }
  t.idleAt = Infinity;
  t.sendRing.trim();
  t.receiveRing.trim();
  t.board.trim();
}
