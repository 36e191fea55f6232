/**
 * Work that keeps everybody else waiting, such as reading and judging a policy of a megabyte, is done one piece at a
 * time, and after each piece the others get four times as long as it took.
 */

/** How long the others get, in terms of what a piece took, and at most in ms. */
const PAUSE_FACTOR = 4;
const PAUSE_LIMIT_MS = 5000;

/** A queue of pieces of work, first come, first served. */
export class Pace {
  readonly #nowMs: () => number;
  readonly #waiting: (() => void)[] = [];
  #freeAtMs = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `nowMs` is a monotonic clock. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Pieces that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Does `work`, at once where nothing else was done lately. It must not throw. */
  run(work: () => void): void {
    this.#waiting.push(work);
    if (this.#timer === undefined) this.#next();
  }

  /** Does what waits at once, and nothing later. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (let work = this.#waiting.shift(); work !== undefined; work = this.#waiting.shift()) work();
  }

  #next(): void {
    const waitMs = this.#freeAtMs - this.#nowMs();
    if (this.#waiting.length === 0) return;
    if (waitMs > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#next();
      }, Math.ceil(waitMs));
      return;
    }
    const startMs = this.#nowMs();
    this.#waiting.shift()!();
    const endMs = this.#nowMs();
    this.#freeAtMs = endMs + Math.min(PAUSE_LIMIT_MS, (endMs - startMs) * PAUSE_FACTOR);
    this.#next();
  }
}
