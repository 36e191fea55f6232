/**
 * Congestion control: CUBIC (RFC 9438) with HyStart++ (RFC 9406), counted in bytes (RFC 3465), initial window of ten
 * segments (RFC 6928), window validation (RFC 7661 §4.1: no growth that was not used).
 *
 * The sender asks for nothing but {@link Cubic.window}; how loss is found and how a recovery is paced is the business
 * of tcp-recovery.ts. Left out: pacing (timers of a millisecond are too coarse for it) and ECN.
 */
import { seqAfter } from './tcp-sequence.ts';

const CUBIC_C = 0.4;
const CUBIC_BETA = 0.7;
/** Additive increase that takes the same share as Reno with this beta (RFC 9438 §4.3). */
const CUBIC_ALPHA = (3 * (1 - CUBIC_BETA)) / (1 + CUBIC_BETA);
/** DEVIATES from RFC 9406 §4.3 (8): acknowledgments come coalesced here, up to a batch of 64 segments each. */
const SLOW_START_LIMIT_SEGMENTS = 32;

const MIN_RTT_THRESH_MS = 4;
const MAX_RTT_THRESH_MS = 16;
const MIN_RTT_DIVISOR = 8;
const RTT_SAMPLES = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

/** The congestion state of one connection. */
export class Cubic {
  /** Congestion window in bytes. */
  window: number;
  /** Slow start threshold in bytes. */
  threshold = Infinity;
  #mss: number;
  /** From the first acknowledgment that lets the window grow until slow start ends for the first time. */
  #slowStart: HyStart | undefined = undefined;
  /** From the end of the first slow start on. */
  #avoidance: Avoidance | undefined = undefined;

  constructor(mss: number) {
    this.#mss = mss;
    this.window = initialWindow(mss);
  }

  /** Whether the window is below the threshold. */
  get isSlowStart(): boolean {
    return this.window < this.threshold;
  }

  /** A new segment size (path MTU); the window keeps its bytes but holds at least one segment. */
  setSegmentSize(mss: number): void {
    this.#mss = mss;
    this.window = Math.max(this.window, mss);
  }

  /** A SYN had to be sent more than once: start with a single segment (RFC 5681 §3.1). */
  onHandshakeLoss(): void {
    this.window = this.#mss;
  }

  /**
   * `bytes` were newly acknowledged outside a fast recovery. `una` and `next` are SND.UNA and SND.NXT, `rttMs` the
   * latest sample or 0, `isLimited` whether the window was what held the sender back.
   */
  onAck(
    nowMs: number,
    bytes: number,
    una: number,
    next: number,
    rttMs: number,
    smoothedRttMs: number,
    isLimited: boolean,
  ): void {
    if (this.isSlowStart) {
      // Later slow starts go without HyStart++ (RFC 9406 §4.3).
      if (isLimited && this.#avoidance === undefined) this.#slowStart ??= new HyStart();
      const divisor = this.#slowStart === undefined ? 1 : this.#slowStart.onAck(una, next, rttMs);
      if (divisor === 0) {
        this.threshold = this.window;
        this.#beginAvoidance();
      } else if (isLimited) this.window += Math.min(bytes, SLOW_START_LIMIT_SEGMENTS * this.#mss) / divisor;
      if (this.window > this.threshold) this.window = this.threshold;
      return;
    }
    const avoidance = this.#beginAvoidance();
    // An epoch during which the window was not used says nothing about the path (RFC 9438 §5.8).
    if (isLimited) this.window = avoidance.grow(nowMs, bytes, smoothedRttMs, this.window, this.#mss);
    else avoidance.epochMs = Number.NaN;
  }

  /** Loss was found. Returns the new threshold; the window itself is brought there by the recovery. */
  onLoss(): number {
    this.#beginAvoidance().reduce(this.window, this.threshold);
    this.threshold = Math.max(this.window * CUBIC_BETA, 2 * this.#mss);
    return this.threshold;
  }

  /** The retransmission timer ran out: {@link onLoss}, and start again from `window` bytes. */
  onTimeout(window: number): void {
    this.onLoss();
    this.window = window;
  }

  /** The last reduction was a mistake: nothing had been lost (RFC 4015 §3, RFC 9438 §4.9). */
  undo(): void {
    const avoidance = this.#avoidance;
    if (avoidance === undefined || avoidance.savedWindow === 0) return;
    this.window = Math.max(this.window, avoidance.savedWindow);
    this.threshold = Math.max(this.threshold, avoidance.savedThreshold);
    avoidance.undo();
  }

  /** The sender was idle for longer than a timeout: begin again from the restart window (RFC 9293 §3.8.2, RFC 5681 §4.1). */
  onIdle(): void {
    this.window = Math.min(this.window, initialWindow(this.#mss));
    if (this.#avoidance !== undefined) this.#avoidance.epochMs = Number.NaN;
  }

  #beginAvoidance(): Avoidance {
    this.#slowStart = undefined;
    this.#avoidance ??= new Avoidance();
    return this.#avoidance;
  }
}

/** Congestion avoidance (RFC 9438 §4.2 to §4.6): what a connection that never lost anything does without. */
class Avoidance {
  /** Start of this epoch; NaN until the first acknowledgment in it. */
  epochMs = Number.NaN;
  /** Window and threshold before the last reduction, for taking it back; 0 when there is none to take back. */
  savedWindow = 0;
  savedThreshold = 0;
  /** Window before the last reduction, after fast convergence, in bytes; and what it was before that. */
  #windowMax = 0;
  #savedWindowMax = 0;
  /** Window before the reduction. */
  #priorWindow = 0;
  #k = 0;
  /** What Reno would have by now, in bytes. */
  #friendlyWindow = 0;

  /** Loss was found at `window` bytes. */
  reduce(window: number, threshold: number): void {
    this.savedWindow = window;
    this.savedThreshold = threshold;
    this.#savedWindowMax = this.#windowMax;
    this.#priorWindow = window;
    this.#windowMax = window < this.#windowMax ? (window * (1 + CUBIC_BETA)) / 2 : window;
    this.epochMs = Number.NaN;
  }

  /** The reduction is taken back. */
  undo(): void {
    this.#windowMax = this.#savedWindowMax;
    this.epochMs = Number.NaN;
    this.savedWindow = 0;
  }

  /** `bytes` were acknowledged while the window held the sender back: the new window. */
  grow(nowMs: number, bytes: number, smoothedRttMs: number, window: number, mss: number): number {
    if (Number.isNaN(this.epochMs)) this.#startEpoch(nowMs, window, mss);
    // One round trip ahead.
    const seconds = (nowMs - this.epochMs + smoothedRttMs) / 1000;
    const alpha = this.#friendlyWindow >= this.#priorWindow ? 1 : CUBIC_ALPHA;
    this.#friendlyWindow += (alpha * mss * bytes) / window;
    const cubic = this.#windowMax + CUBIC_C * (seconds - this.#k) ** 3 * mss;
    if (cubic < this.#friendlyWindow) return Math.max(window, this.#friendlyWindow);
    const target = Math.min(Math.max(cubic, window), window * 1.5);
    return window + ((target - window) * bytes) / window;
  }

  #startEpoch(nowMs: number, window: number, mss: number): void {
    this.epochMs = nowMs;
    this.#friendlyWindow = window;
    if (this.#windowMax <= window) {
      this.#windowMax = window;
      this.#k = 0;
    } else this.#k = Math.cbrt((this.#windowMax - window) / mss / CUBIC_C);
  }
}

/** Ten segments, but no more than 14,600 bytes or two segments (RFC 6928 §2). */
function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600));
}

/** HyStart++ (RFC 9406 §4.2): leaves slow start when the round trip grows, after looking twice. */
class HyStart {
  #roundEnd = 0;
  #hasRound = false;
  #lastRoundMinMs = Infinity;
  #roundMinMs = Infinity;
  #samples = 0;
  #baselineMs = Infinity;
  /** Rounds spent in conservative slow start; -1 outside it. */
  #cssRounds = -1;

  /** Takes an acknowledgment in; returns by what growth is divided: 1, or 4 in conservative slow start, or 0 to leave. */
  onAck(una: number, next: number, rttMs: number): number {
    if (!this.#hasRound || seqAfter(una, this.#roundEnd)) {
      if (this.#hasRound && this.#cssRounds >= 0 && ++this.#cssRounds >= CSS_ROUNDS) return 0;
      this.#startRound(next);
    }
    if (rttMs > 0) {
      this.#roundMinMs = Math.min(this.#roundMinMs, rttMs);
      this.#samples++;
    }
    if (this.#samples >= RTT_SAMPLES) this.#look();
    return this.#cssRounds >= 0 ? CSS_GROWTH_DIVISOR : 1;
  }

  #startRound(next: number): void {
    this.#hasRound = true;
    this.#roundEnd = next;
    this.#lastRoundMinMs = this.#roundMinMs;
    this.#roundMinMs = Infinity;
    this.#samples = 0;
  }

  #look(): void {
    if (this.#cssRounds >= 0) {
      if (this.#roundMinMs < this.#baselineMs) {
        this.#cssRounds = -1;
        this.#baselineMs = Infinity;
      }
      return;
    }
    if (this.#lastRoundMinMs === Infinity) return;
    const thresh = Math.max(MIN_RTT_THRESH_MS, Math.min(this.#lastRoundMinMs / MIN_RTT_DIVISOR, MAX_RTT_THRESH_MS));
    if (this.#roundMinMs >= this.#lastRoundMinMs + thresh) {
      this.#baselineMs = this.#roundMinMs;
      this.#cssRounds = 0;
    }
  }
}
