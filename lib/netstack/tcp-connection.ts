/**
 * A connection as an application sees it: read, write, finish, abort (RFC 9293 §3.9.1).
 *
 * Nothing here waits. What cannot be done now is announced with a ready bit when it can: see `takeReady`.
 */
import type { ErrorCode } from '../base/errors.ts';
import { failConnection } from './tcp-lifecycle.ts';
import { IDLE_RELEASE_MS } from './tcp-limits.ts';
import { RECORD_BYTES } from './tcp-scoreboard.ts';
import {
  DISCARDING,
  FIN_QUEUED,
  HAS_SACK,
  HAS_TIMESTAMPS,
  NO_DELAY,
  PEER_ENDED,
  pipeBytes,
  setFlags,
  STATE_CLOSE_WAIT,
  STATE_CLOSED,
  STATE_ESTABLISHED,
  STATE_FIN_WAIT_1,
  STATE_FIN_WAIT_2,
  STATE_LAST_ACK,
  STATE_NAMES,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  Tcb,
  type TcpState,
  wantTransmit,
  WRITE_WANTED,
} from './tcp-tcb.ts';
import type { TcpListener } from './tcp-listener.ts';
import { armKeepAlive, nextDeadline } from './tcp-timeouts.ts';
import { onRead } from './tcp-window.ts';

/** Numbers about one connection, for `status()` and tests. */
export interface TcpInfo {
  readonly state: TcpState;
  /** Smoothed round trip, 0 before the first measurement. */
  readonly rttMs: number;
  readonly minRttMs: number;
  readonly rtoMs: number;
  readonly congestionWindowBytes: number;
  readonly slowStartThresholdBytes: number;
  readonly bytesInFlight: number;
  readonly segmentBytes: number;
  readonly sendWindowBytes: number;
  readonly receiveWindowBytes: number;
  readonly unsentBytes: number;
  readonly retransmits: number;
  readonly timeouts: number;
  /** Reductions of the window that turned out to be mistakes. */
  readonly undone: number;
  readonly hasSack: boolean;
  readonly hasTimestamps: boolean;
  /** Memory of both rings. */
  readonly ringBytes: number;
}

/** One TCP connection. */
export class TcpConnection extends Tcb {
  /** RFC 9293's name of the state. CLOSED where TIME-WAIT begins, which is the machine's business, not a connection's. */
  get state(): TcpState {
    return STATE_NAMES[this.stateCode];
  }

  /** Why the connection failed; undefined while it lives and after an orderly end. */
  get error(): ErrorCode | undefined {
    return this.stateCode === STATE_CLOSED ? this.errorCode : undefined;
  }

  /** The listener that accepted it; undefined for a connection that this side opened. */
  get listener(): TcpListener | undefined {
    return this.origin as TcpListener | undefined;
  }

  /** Takes the READY bits that are new since the last call. 0: nothing new. */
  takeReady(): number {
    const bits = this.readyBits;
    this.readyBits = 0;
    return bits;
  }

  /** Bytes that `read` would give now. */
  get readableBytes(): number {
    return this.receiveRing.readableBytes;
  }

  /** Whether the other side has finished and everything it sent has been read. */
  get isEnded(): boolean {
    return (this.flags & PEER_ENDED) !== 0 && this.receiveRing.readableBytes === 0;
  }

  /** Moves received bytes to `out[start, end)`; returns how many, 0 when none wait. Also after the connection is over. */
  read(nowMs: number, out: Uint8Array, start: number, end: number): number {
    const bytes = this.receiveRing.read(out, start, end);
    if (bytes > 0) {
      onRead(this, nowMs, bytes);
      if (this.stateCode === STATE_CLOSED) this.receiveRing.trim();
    }
    return bytes;
  }

  /** Bytes that `write` would take now. */
  get writableBytes(): number {
    return this.#canWrite() ? Math.max(this.sendLimit - this.sendRing.length, 0) : 0;
  }

  /**
   * Takes bytes of `buf[start, end)` to be sent, as many as fit; returns how many. When that is not all of them,
   * READY_WRITABLE follows once there is room. 0 after `shutdown`, `close`, or the end of the connection.
   */
  write(nowMs: number, buf: Uint8Array, start: number, end: number): number {
    if (!this.#canWrite() || start >= end) return 0;
    const room = Math.max(this.sendLimit - this.sendRing.length, 0);
    const wanted = Math.min(end - start, room);
    const taken = this.sendRing.write(buf, start, start + wanted);
    if (taken < end - start) {
      this.flags |= WRITE_WANTED;
      // Memory is short: what the ring has is the limit now, so that room is announced by it.
      if (taken < wanted) this.sendLimit = this.sendRing.capacity;
    }
    if (taken > 0 && this.stateCode >= STATE_ESTABLISHED) wantTransmit(this);
    if (taken > 0 && this.idleAt === Infinity) this.#wakeBy(nowMs + IDLE_RELEASE_MS);
    return taken;
  }

  /** READY_WRITABLE follows once the other side has acknowledged more, also when `write` took all that it was given. */
  wantRoom(): void {
    if (this.#canWrite()) this.flags |= WRITE_WANTED;
  }

  /** Half close: FIN follows what was written; reading goes on. Safe to call twice. */
  shutdown(_nowMs: number): void {
    if ((this.flags & FIN_QUEUED) !== 0 || this.stateCode === STATE_CLOSED) return;
    this.flags |= FIN_QUEUED;
    this.flags &= ~WRITE_WANTED;
    if (this.stateCode === STATE_ESTABLISHED) this.stateCode = STATE_FIN_WAIT_1;
    else if (this.stateCode === STATE_CLOSE_WAIT) this.stateCode = STATE_LAST_ACK;
    if (this.stateCode >= STATE_ESTABLISHED) wantTransmit(this);
  }

  /**
   * Full close: {@link shutdown}, and whatever still arrives is thrown away. Ends by itself: a peer that stays silent
   * after our FIN was acknowledged is reset after `finWaitMs`.
   */
  close(nowMs: number): void {
    if (this.stateCode === STATE_SYN_SENT) {
      this.abort(nowMs);
      return;
    }
    this.shutdown(nowMs);
    if ((this.flags & DISCARDING) !== 0) return;
    this.flags |= DISCARDING;
    const unread = this.receiveRing.readableBytes;
    this.receiveRing.skip(unread);
    if (unread > 0) onRead(this, nowMs, unread);
    if (this.stateCode !== STATE_FIN_WAIT_2) return;
    this.lastReceiveMs = nowMs;
    this.waitAt = nowMs + this.owner.limits.finWaitMs;
    this.owner.wake(this, nextDeadline(this));
  }

  /** Ends the connection at once with a reset; what was not sent or read is lost. READY_CLOSED with the code. */
  abort(_nowMs: number, code: ErrorCode = 'ERR_ABORTED'): void {
    const state = this.stateCode;
    if (state === STATE_CLOSED) return;
    this.receiveRing.skip(this.receiveRing.readableBytes);
    if (state !== STATE_SYN_SENT) {
      const seq = state === STATE_SYN_RECEIVED ? (this.iss + 1) | 0 : this.sndNxt;
      this.owner.sendReset(this.path, this.localPort, this.remotePort, seq, this.rcvNxt);
    }
    failConnection(this, code);
  }

  /** Probes a silent peer every `intervalMs` (0: not at all); nine unanswered probes end it with `ERR_TIMED_OUT`. */
  setKeepAlive(nowMs: number, intervalMs: number): void {
    if (!(intervalMs >= 0)) throw new RangeError(`"intervalMs" expected 0 or more, got ${intervalMs}`);
    this.keepAliveMs = intervalMs;
    if (this.stateCode === STATE_CLOSED) return;
    armKeepAlive(this, nowMs);
    this.owner.wake(this, nextDeadline(this));
  }

  /** Sends small writes at once (true) instead of gathering them while others are unacknowledged (Nagle, RFC 896). */
  setNoDelay(isOn: boolean): void {
    setFlags(this, NO_DELAY, isOn);
    if (isOn && this.stateCode >= STATE_ESTABLISHED) wantTransmit(this);
  }

  /** A snapshot of the connection's numbers. */
  info(): TcpInfo {
    const { rtt, cubic, board, recovery } = this;
    return {
      state: this.state,
      rttMs: rtt.smoothedMs,
      minRttMs: rtt.minMs,
      rtoMs: rtt.rtoMs,
      congestionWindowBytes: Math.floor(cubic.window),
      slowStartThresholdBytes: cubic.threshold,
      bytesInFlight: pipeBytes(this),
      segmentBytes: this.mss,
      sendWindowBytes: this.sndWnd,
      receiveWindowBytes: Math.max((this.rcvAdv - this.rcvNxt) | 0, 0),
      unsentBytes: Math.max(this.sendRing.length - ((this.sndNxt - this.sndUna) | 0), 0),
      retransmits: recovery?.retransmits ?? 0,
      timeouts: recovery?.timeouts ?? 0,
      undone: recovery?.undone ?? 0,
      hasSack: (this.flags & HAS_SACK) !== 0,
      hasTimestamps: (this.flags & HAS_TIMESTAMPS) !== 0,
      ringBytes: this.sendRing.capacity + this.receiveRing.capacity + RECORD_BYTES * board.count,
    };
  }

  /** States in which the application may still add data. */
  #canWrite(): boolean {
    const state = this.stateCode;
    return (this.flags & FIN_QUEUED) === 0 && state >= STATE_SYN_SENT && state <= STATE_CLOSE_WAIT;
  }

  #wakeBy(at: number): void {
    this.idleAt = at;
    this.owner.wake(this, nextDeadline(this));
  }
}
