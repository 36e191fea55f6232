/** Clocks, timer and deferral over Moddable's Time and Timer. */
import type { Clock, Timer } from '../../lib/ports.ts';
import type { ModdableIo, TimerIo } from './io.ts';

/** The longest single wait; a later deadline is waited for in parts. */
const MAX_DELAY_MS = 3_600_000;

/** The two clocks. The monotonic one must be asked at least every 24 days, which its own mote's timers do. */
export function createClock(io: Pick<ModdableIo, 'ticks' | 'unixMs'>): Clock {
  return new ModdableClock(io);
}

class ModdableClock implements Clock {
  readonly #io: Pick<ModdableIo, 'ticks' | 'unixMs'>;
  #last: number;
  #passedMs = 0;

  constructor(io: Pick<ModdableIo, 'ticks' | 'unixMs'>) {
    this.#io = io;
    this.#last = io.ticks();
  }

  nowMs(): number {
    const now = this.#io.ticks();
    const step = (now - this.#last) | 0; // right also where the 32-bit counter wraps
    if (step > 0) {
      this.#passedMs += step;
      this.#last = now;
    }
    return this.#passedMs;
  }

  unixMs(): number {
    return this.#io.unixMs();
  }
}

/**
 * One timer. A running one is kept when it ends before the new deadline, and started anew for the rest when it fires:
 * that is cheaper than a new one per packet.
 */
export class ModdableTimer implements Timer {
  readonly #io: TimerIo;
  readonly #clock: Clock;
  readonly #fire: () => void;
  #handle: unknown;
  #handleMs = Number.POSITIVE_INFINITY;
  #wantedMs = Number.POSITIVE_INFINITY;

  /** `fire` is called when it is due. */
  constructor(io: TimerIo, clock: Clock, fire: () => void) {
    this.#io = io;
    this.#clock = clock;
    this.#fire = fire;
  }

  arm(atMs: number): void {
    if (atMs === Number.POSITIVE_INFINITY) return this.cancel();
    this.#wantedMs = atMs;
    if (this.#handle === undefined || atMs < this.#handleMs) this.#start();
  }

  cancel(): void {
    this.#wantedMs = Number.POSITIVE_INFINITY;
    this.#clear();
  }

  #clear(): void {
    if (this.#handle !== undefined) this.#io.clear(this.#handle);
    this.#handle = undefined;
  }

  #start(): void {
    this.#clear();
    const delayMs = Math.min(MAX_DELAY_MS, Math.max(0, Math.ceil(this.#wantedMs - this.#clock.nowMs())));
    this.#handleMs = this.#wantedMs;
    this.#handle = this.#io.set(() => this.#expire(), delayMs);
  }

  #expire(): void {
    this.#handle = undefined;
    if (this.#clock.nowMs() < this.#wantedMs) return this.#start();
    this.#wantedMs = Number.POSITIVE_INFINITY;
    this.#fire();
  }
}
