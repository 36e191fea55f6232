/**
 * Which handshake messages are worth a Diffie-Hellman: the under-load rule (WireGuard §5.3.1, §5.4.7).
 *
 * There is no queue whose length could tell the load, so work is counted: a bucket of `handshakeBurst` (B) that refills
 * with `handshakesPerSecond`, from which every message that goes on to Diffie-Hellman takes one. By its level:
 *
 *     above B/2     calm: everything goes on
 *     0 to B/2      busy: a source within its own rate (20/s, burst 5) goes on; a louder one is asked for a cookie
 *     -B/2 to 0     under load: only a valid cookie goes on, within the rate of its source; others are asked for one
 *     -B/2          at the limit: nothing goes on
 *
 * So one loud source uses up the calm half and is then held to its own rate, while its neighbours notice nothing; only
 * a flood from very many (forged) sources makes everybody show a cookie, which forged sources never see; and nobody
 * makes this side do more than 1.5 B + rate x time. Messages with and without cookie have separate rates per source,
 * so whoever forges an address cannot use up the rate of its owner.
 */
import { RateLimiter } from './rate-limiter.ts';

/** What is to be done with a handshake message. */
export type Verdict = 'process' | 'cookie' | 'refuse';

/** Counts the work of one tunnel. */
export class Admission {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #sources: number;
  readonly #seed: number;
  /** Made when the calm is over for the first time: 1 KB on a small device, which most never need. */
  #limiter: RateLimiter | undefined = undefined;
  #level: number;
  #refilledMs: number;

  constructor(nowMs: number, o: { burst: number; perSecond: number; sources: number; seed: number }) {
    this.#burst = o.burst;
    this.#perMs = o.perSecond / 1000;
    this.#sources = o.sources;
    this.#seed = o.seed;
    this.#level = o.burst;
    this.#refilledMs = nowMs;
  }

  /** Whether no cookie has to be looked at now. */
  isCalm(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#level > this.#burst / 2;
  }

  /** Judges one message with a right mac1 and, if it may go on, counts it. `address` is 16 bytes (IPv4 mapped). */
  judge(nowMs: number, address: Uint8Array, hasCookie: boolean): Verdict {
    if (!this.isCalm(nowMs)) {
      if (this.#level <= 0 && !hasCookie) return 'cookie'; // CHECK: wg-under-load
      this.#limiter ??= new RateLimiter(this.#sources, this.#seed);
      const isWithinRate = this.#limiter.allow(nowMs, address, hasCookie ? 1 : 0);
      if (!isWithinRate) return hasCookie ? 'refuse' : 'cookie'; // CHECK: wg-busy-rate
      if (this.#level <= -this.#burst / 2) return 'refuse'; // CHECK: wg-handshake-budget
    }
    this.#level -= 1;
    return 'process';
  }

  #refill(nowMs: number): void {
    this.#level = Math.min(this.#burst, this.#level + (nowMs - this.#refilledMs) * this.#perMs);
    this.#refilledMs = nowMs;
  }
}
