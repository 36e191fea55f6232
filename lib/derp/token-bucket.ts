/**
 * A rate as a token bucket: so much per second, so much at once. One number of state beside the two of the rate.
 */

/** The bucket. It is full at first. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  /** When it will be full again, or was. */
  #fullAtMs = 0;

  /** `perSecond` above 0; `burst` at least 1. */
  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
  }

  /** Takes `tokens` when there are enough. */
  take(nowMs: number, tokens: number): boolean {
    const fullAtMs = Math.max(this.#fullAtMs, nowMs) + tokens / this.#perMs;
    if (fullAtMs - nowMs > this.#burst / this.#perMs) return false; // CHECK: derp-rate
    this.#fullAtMs = fullAtMs;
    return true;
  }

  /** Takes `tokens` in any case and says when the debt, if there is one now, will be paid (absolute ms, rounded up). */
  owe(nowMs: number, tokens: number): number {
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + tokens / this.#perMs;
    return Math.max(nowMs, Math.ceil(this.#fullAtMs - this.#burst / this.#perMs));
  }
}
