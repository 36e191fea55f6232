/**
 * The receive window: what is advertised, when it is worth an update, and how it grows with the application's
 * appetite (RFC 9293 §3.8.6, RFC 7323 §2; dynamic right-sizing as Fisk and Feng described it in 2001).
 *
 * INVARIANT: the promised right edge (`rcvAdv`) never moves left, and what lies before it is always accepted. A window
 * that is not a multiple of the scale is rounded up where the buffer allows it; where not, the field understates the
 * promise by less than one unit (RFC 7323 §2.4), and the promise stands.
 */
import { QUICK_ACKS } from './tcp-limits.ts';
import { DUE_ACK, PEER_ENDED, STATE_ESTABLISHED, STATE_FIN_WAIT_2, type Tcb, wantTransmit } from './tcp-tcb.ts';

/** Window shift that lets `bytes` be advertised (0 to 14). */
export function windowShiftFor(bytes: number): number {
  let shift = 0;
  while (shift < 14 && 65_535 * 2 ** shift < bytes) shift++;
  return shift;
}

/** The window field of a SYN, which is never scaled (RFC 7323 §2.2). */
export function synWindow(t: Tcb): number {
  return Math.min(t.rcvTarget, 65_535);
}

/** Right edge that the buffer could hold now. */
function possibleEdge(t: Tcb): number {
  return (t.rcvNxt + t.rcvTarget - t.receiveRing.readableBytes) | 0;
}

/** The window field of a segment that leaves now; moves the promise. Not for SYNs: see {@link synWindow}. */
export function advertise(t: Tcb): number {
  const shift = t.rcvShift;
  const possible = possibleEdge(t);
  let edge = t.rcvAdv;
  // Receiver's silly window (RFC 9293 §3.8.6.2.2): small steps are kept back.
  const least = Math.min(t.rcvTarget >> 1, t.rcvMss > 0 ? t.rcvMss : t.mss);
  if (((possible - edge) | 0) >= least) edge = possible;
  const window = Math.max((edge - t.rcvNxt) | 0, 0);
  let field = window >>> shift;
  if (field << shift !== window && ((possible - t.rcvNxt) | 0) >= (field + 1) << shift) field++;
  if (field > 65_535) field = 65_535;
  const promised = (t.rcvNxt + (field << shift)) | 0;
  if (((promised - t.rcvAdv) | 0) > 0) t.rcvAdv = promised;
  return field;
}

/** Bytes of the promised window that are left. */
export function receiveWindow(t: Tcb): number {
  return Math.max((t.rcvAdv - t.rcvNxt) | 0, 0);
}

/** The application took `bytes`: tunes the window and tells the sender when that helps it. */
export function onRead(t: Tcb, nowMs: number, bytes: number): void {
  tune(t, nowMs, bytes);
  if ((t.flags & PEER_ENDED) !== 0 || t.stateCode < STATE_ESTABLISHED || t.stateCode > STATE_FIN_WAIT_2) return;
  const gain = (possibleEdge(t) - t.rcvAdv) | 0;
  const least = Math.min(t.rcvTarget >> 1, 2 * Math.max(t.rcvMss, t.mss));
  if (gain < least || receiveWindow(t) > t.rcvTarget >> 1) return;
  t.due |= DUE_ACK;
  wantTransmit(t);
}

/** A full data segment came that echoes our clock: how long a round trip takes as the receiver sees it. */
export function noteReceiverRtt(t: Tcb, rttMs: number): void {
  t.receiverRttMs += (rttMs - t.receiverRttMs) / (t.receiverRttMs === 0 ? 1 : 8);
}

/** Data arrived after a silence: acknowledge at once for a while, the sender's window may be small again. */
export function onReceivePause(t: Tcb): void {
  t.quickAcks = QUICK_ACKS;
}

/**
 * Once per round trip: the window has room for twice what was read in it, so that a sender in slow start (which
 * doubles) never waits for it. Not while memory is short.
 */
function tune(t: Tcb, nowMs: number, bytes: number): void {
  t.tuneBytes += bytes;
  const elapsed = nowMs - t.tuneStartMs;
  if (elapsed < Math.max(t.receiverRttMs, 1)) return;
  const { limits, budget } = t.owner;
  const limit = limits.receiveBufferBytes - (1 << t.rcvShift);
  // A silence is no sample: the sender may have had nothing to send.
  const isSample = elapsed < 4 * Math.max(t.receiverRttMs, 50);
  if (isSample && t.rcvTarget < limit && budget.usedBytes < budget.limitBytes * 0.75) {
    const growth = Math.max(t.tuneBytes - t.tuneLastBytes, 0);
    const wanted = 2 * (t.tuneBytes + growth) + 16 * t.rcvMss;
    if (wanted > t.rcvTarget) t.rcvTarget = Math.min(wanted, limit);
  }
  t.tuneLastBytes = isSample ? t.tuneBytes : 0;
  t.tuneBytes = 0;
  t.tuneStartMs = nowMs;
}
