/** Who hears of a mote's events. What a watcher throws stops neither the mote nor other watchers. */
import type { Host } from '../ports.ts';
import type { MoteEvent } from './events.ts';
import { mustBeFunction } from './options.ts';

/** The watchers of one mote. */
export class Watchers {
  readonly #host: Host;
  readonly #watchers = new Set<(event: MoteEvent) => void>();

  /** `first` hears of everything from the beginning. */
  constructor(host: Host, first: ((event: MoteEvent) => void) | undefined) {
    this.#host = host;
    if (first !== undefined) this.#watchers.add(first);
  }

  /** Adds a watcher, until the returned function is called. Throws TypeError for what is no function. */
  add(watcher: (event: MoteEvent) => void): () => void {
    mustBeFunction(watcher, 'watcher');
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** Tells all of them; an error goes to the runtime a moment later, as any uncaught error. */
  emit(event: MoteEvent): void {
    for (const watcher of [...this.#watchers]) {
      try {
        watcher(event);
      } catch (error) {
        this.#host.defer(() => {
          throw error;
        });
      }
    }
  }
}
