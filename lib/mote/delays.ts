/** Timers that end with their mote. */
import type { Host, Timer } from '../ports.ts';

/** The delays of one mote. */
export class Delays {
  readonly #host: Host;
  /** Those that run; made with the first. */
  #timers: Set<Timer> | undefined;

  constructor(host: Host) {
    this.#host = host;
  }

  /** Runs once after `ms`, unless the returned function is called or the mote is closed before. */
  after(ms: number, run: () => void): () => void {
    this.#timers ??= new Set();
    const timers = this.#timers;
    const timer = this.#host.createTimer(() => {
      timers.delete(timer);
      run();
    });
    timers.add(timer);
    timer.arm(this.#host.clock.nowMs() + ms);
    return () => {
      timers.delete(timer);
      timer.cancel();
    };
  }

  /** None of them runs any more. */
  close(): void {
    for (const timer of this.#timers ?? []) timer.cancel();
  }
}
