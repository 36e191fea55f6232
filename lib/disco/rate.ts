/**
 * So much per second, so much at once: a token bucket that is one number, for things of which there are many.
 */

/** The rate. It is not used up at first. */
export class Rate {
  /** When it will be as good as unused again, or was. */
  #freshAtMs = Number.NEGATIVE_INFINITY;

  /** Takes one of `burst` that come back at `perSecond`; false when there is none. */
  take(nowMs: number, burst: number, perSecond: number): boolean {
    const stepMs = 1000 / perSecond;
    const freshAtMs = Math.max(this.#freshAtMs, nowMs) + stepMs;
    if (freshAtMs - nowMs > burst * stepMs) return false;
    this.#freshAtMs = freshAtMs;
    return true;
  }
}
