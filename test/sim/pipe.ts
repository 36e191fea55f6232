/**
 * One direction of a link as arithmetic: when does a packet that enters now come out. Same properties as `link.ts`,
 * without a queue of its own, so that all links of a world share one clock. Test-only.
 */
import type { LinkOptions } from './link.ts';
import { SeededRandom } from './link.ts';

/** One direction of a link. */
export class Pipe {
  readonly name: string;
  /** May be replaced at any time. */
  options: LinkOptions;
  /** Nothing passes. */
  isCut = false;
  sent = 0;
  lost = 0;
  readonly #random: SeededRandom;
  #busyUntilMs = 0;
  #lastAtMs = 0;

  constructor(name: string, options: LinkOptions, seed: number) {
    this.name = name;
    this.options = options;
    this.#random = new SeededRandom(seed);
  }

  /** The times at which a packet of `bytes` (IP header included) that enters at `nowMs` arrives: none, one or two. */
  pass(nowMs: number, bytes: number): number[] {
    const { loss = 0, duplicate = 0, mtu = Number.POSITIVE_INFINITY } = this.options;
    this.sent++;
    const arrivals: number[] = [];
    if (!this.isCut && bytes <= mtu && !this.#happens(loss)) {
      this.#enter(nowMs, bytes, arrivals);
      if (arrivals.length > 0 && this.#happens(duplicate)) this.#enter(nowMs, bytes, arrivals);
    }
    if (arrivals.length === 0) this.lost++;
    return arrivals;
  }

  /** A chance of 0 draws nothing: a world does not change by properties that it does not use. */
  #happens(chance: number): boolean {
    return chance > 0 && this.#random.float() < chance;
  }

  #enter(nowMs: number, bytes: number, arrivals: number[]): void {
    const { delayMs = 0, jitterMs = 0, reorder = 0, reorderMs = 0 } = this.options;
    const { rate = Number.POSITIVE_INFINITY, queueBytes = Number.POSITIVE_INFINITY } = this.options;
    const startMs = Math.max(nowMs, this.#busyUntilMs);
    if (((startMs - nowMs) * rate) / 8000 > queueBytes) return;
    this.#busyUntilMs = startMs + (rate === Number.POSITIVE_INFINITY ? 0 : (bytes * 8000) / rate);
    let atMs = this.#busyUntilMs + delayMs + (jitterMs > 0 ? this.#random.float() * jitterMs : 0);
    if (this.#happens(reorder)) {
      atMs += reorderMs;
    } else {
      atMs = Math.max(atMs, this.#lastAtMs);
      this.#lastAtMs = atMs;
    }
    arrivals.push(atMs);
  }
}
