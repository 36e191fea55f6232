/** Timers that end with their mote. */
import type { Host, Timer } from '../ports.ts';

/** The delays of one mote. */
export class Delays {
  readonly #host: Host;
  readonly #timers = new Set<Timer>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** Runs once after `ms`, unless the returned function is called or the mote is closed before. */
  after(ms: number, run: () => void): () => void {
    const timer = this.#host.createTimer(() => {
      this.#timers.delete(timer);
      run();
    });
    this.#timers.add(timer);
    timer.arm(this.#host.clock.nowMs() + ms);
    return () => {
      this.#timers.delete(timer);
      timer.cancel();
    };
  }

  /** None of them runs any more. */
  close(): void {
    for (const timer of this.#timers) timer.cancel();
  }
}
