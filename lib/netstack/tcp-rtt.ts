/**
 * Round-trip time and retransmission timeout (RFC 6298, RFC 7323 appendix G for more than one sample per round trip).
 *
 * Times are milliseconds with fractions. Retransmitted segments are never measured by their send time (Karn); the
 * caller offers an echoed timestamp instead, where there is one.
 */
import { RTO_INITIAL_MS, RTO_MAX_MS, RTO_MIN_MS } from './tcp-limits.ts';

/** How long a smallest round trip is believed: routes change. */
const MIN_RTT_WINDOW_MS = 300_000;

/** The estimator of one connection. */
export class RttEstimator {
  /** Smoothed round trip, 0 before the first sample. */
  smoothedMs = 0;
  /** Smoothed deviation. */
  varianceMs = 0;
  /** Latest sample. */
  latestMs = 0;
  /** Smallest sample of the last five minutes, Infinity before the first. */
  minMs = Infinity;
  /** Timeouts in a row without an answer: each doubles {@link rtoMs} (RFC 6298 §5.5). */
  backoffs = 0;
  #minAtMs = 0;
  #baseMs = RTO_INITIAL_MS;

  /** Retransmission timeout without backoff. */
  get baseRtoMs(): number {
    return this.#baseMs;
  }

  /** Retransmission timeout now, backoff included. */
  get rtoMs(): number {
    return Math.min(this.#baseMs * 2 ** Math.min(this.backoffs, 16), RTO_MAX_MS);
  }

  /** Takes a measurement; `perRoundTrip` is how many of them come per round trip (1 or more). Ends any backoff. */
  sample(nowMs: number, rttMs: number, perRoundTrip: number): void {
    this.latestMs = rttMs;
    this.backoffs = 0;
    if (rttMs <= this.minMs || nowMs - this.#minAtMs > MIN_RTT_WINDOW_MS) {
      this.minMs = rttMs;
      this.#minAtMs = nowMs;
    }
    if (this.smoothedMs === 0) {
      this.smoothedMs = Math.max(rttMs, 0.001);
      this.varianceMs = rttMs / 2;
    } else {
      const deviation = Math.abs(this.smoothedMs - rttMs);
      this.varianceMs += (deviation - this.varianceMs) / (4 * perRoundTrip);
      this.smoothedMs += (rttMs - this.smoothedMs) / (8 * perRoundTrip);
    }
    // DEVIATES: the floor is put under the variance term, not under the sum, so that a long path with a steady round
    // trip does not time out on the delayed acknowledgment of a peer. Never shorter than RFC 6298 with the same floor.
    this.#baseMs = this.smoothedMs + Math.max(RTO_MIN_MS, 4 * this.varianceMs);
  }

  /** A timeout went by without an answer. */
  backOff(): void {
    this.backoffs++;
  }

  /** Sets the timeout by hand, as long as nothing was measured (RFC 6298 §5.7). */
  setInitialRto(rtoMs: number): void {
    if (this.smoothedMs === 0) this.#baseMs = rtoMs;
  }
}
