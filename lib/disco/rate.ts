/**
 * So much per second, so much at once: a token bucket that is one number, for things of which there are many.
 */

/**
 * Takes one of `burst` that come back at `perSecond`. `freshAtMs` is when the rate was or will be as good as unused,
 * -Infinity at first; what is returned takes its place. Undefined: there is none to take now.
 */
export function takeOne(freshAtMs: number, nowMs: number, burst: number, perSecond: number): number | undefined {
  const stepMs = 1000 / perSecond;
  const nextMs = Math.max(freshAtMs, nowMs) + stepMs;
  return nextMs - nowMs > burst * stepMs ? undefined : nextMs;
}
