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
  /** Window before the last reduction, after fast convergence, in bytes. */
  #windowMax = 0;
  /** Start of this avoidance epoch; NaN until the first acknowledgment in it. */
  #epochMs = Number.NaN;
  /** Window before the reduction. */
  #priorWindow = 0;
  #k = 0;
  /** What Reno would have by now, in bytes. */
  #friendlyWindow = 0;
  readonly #slowStart = new HyStart();
  #saved: readonly [window: number, threshold: number, windowMax: number] | undefined = undefined;

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
      const divisor = this.#slowStart.onAck(una, next, rttMs);
      if (divisor === 0) this.threshold = this.window;
      else if (isLimited) this.window += Math.min(bytes, SLOW_START_LIMIT_SEGMENTS * this.#mss) / divisor;
      if (this.window > this.threshold) this.window = this.threshold;
      return;
    }
    if (!isLimited) {
      // An epoch during which the window was not used says nothing about the path (RFC 9438 §5.8).
      this.#epochMs = Number.NaN;
      return;
    }
    if (Number.isNaN(this.#epochMs)) this.#startEpoch(nowMs);
    this.#avoid((nowMs - this.#epochMs + smoothedRttMs) / 1000, bytes);
  }

  /** Loss was found. Returns the new threshold; the window itself is brought there by the recovery. */
  onLoss(): number {
    this.#saved = [this.window, this.threshold, this.#windowMax];
    const hasShrunk = this.window < this.#windowMax;
    this.#priorWindow = this.window;
    this.#windowMax = hasShrunk ? (this.window * (1 + CUBIC_BETA)) / 2 : this.window;
    this.threshold = Math.max(this.window * CUBIC_BETA, 2 * this.#mss);
    this.#epochMs = Number.NaN;
    this.#slowStart.isDone = true;
    return this.threshold;
  }

  /** The retransmission timer ran out: {@link onLoss}, and start again from `window` bytes. */
  onTimeout(window: number): void {
    this.onLoss();
    this.window = window;
  }

  /** The last reduction was a mistake: nothing had been lost (RFC 4015 §3, RFC 9438 §4.9). */
  undo(): void {
    if (this.#saved === undefined) return;
    const [window, threshold, windowMax] = this.#saved;
    this.window = Math.max(this.window, window);
    this.threshold = Math.max(this.threshold, threshold);
    this.#windowMax = windowMax;
    this.#epochMs = Number.NaN;
    this.#saved = undefined;
  }

  /** The sender was idle for longer than a timeout: begin again from the restart window (RFC 9293 §3.8.2, RFC 5681 §4.1). */
  onIdle(): void {
    this.window = Math.min(this.window, initialWindow(this.#mss));
    this.#epochMs = Number.NaN;
  }

  #startEpoch(nowMs: number): void {
    this.#epochMs = nowMs;
    this.#friendlyWindow = this.window;
    if (this.#windowMax <= this.window) {
      this.#windowMax = this.window;
      this.#k = 0;
    } else this.#k = Math.cbrt((this.#windowMax - this.window) / this.#mss / CUBIC_C);
  }

  /** Congestion avoidance `seconds` into the epoch, one round trip ahead (RFC 9438 §4.2 to §4.5). */
  #avoid(seconds: number, bytes: number): void {
    const mss = this.#mss;
    const alpha = this.#friendlyWindow >= this.#priorWindow ? 1 : CUBIC_ALPHA;
    this.#friendlyWindow += (alpha * mss * bytes) / this.window;
    const cubic = this.#windowMax + CUBIC_C * (seconds - this.#k) ** 3 * mss;
    if (cubic < this.#friendlyWindow) {
      this.window = Math.max(this.window, this.#friendlyWindow);
      return;
    }
    const target = Math.min(Math.max(cubic, this.window), this.window * 1.5);
    this.window += ((target - this.window) * bytes) / this.window;
  }
}

/** Ten segments, but no more than 14,600 bytes or two segments (RFC 6928 §2). */
function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600));
}

/** HyStart++ (RFC 9406 §4.2): leaves slow start when the round trip grows, after looking twice. */
class HyStart {
  /** Whether slow start ended by loss; later slow starts go without this (RFC 9406 §4.3). */
  isDone = false;
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
    if (this.isDone) return 1;
    if (!this.#hasRound || seqAfter(una, this.#roundEnd)) {
      if (this.#hasRound && this.#cssRounds >= 0 && ++this.#cssRounds >= CSS_ROUNDS) {
        this.isDone = true;
        return 0;
      }
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
