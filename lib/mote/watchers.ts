/** Who hears of a mote's events. What a watcher throws stops neither the mote nor other watchers. */
import type { Host } from '../ports.ts';
import type { MoteEvent } from './events.ts';
import { mustBeFunction } from './options.ts';

type Watcher = (event: MoteEvent) => void;

const NOBODY: readonly Watcher[] = Object.freeze([]);

/** The watchers of one mote; the list is replaced, never changed, so that it may change while it is told. */
export class Watchers {
  readonly #host: Host;
  #watchers: readonly Watcher[] = NOBODY;

  /** `first` hears of everything from the beginning. */
  constructor(host: Host, first: Watcher | undefined) {
    this.#host = host;
    if (first !== undefined) this.#watchers = [first];
  }

  /** Adds a watcher, until the returned function is called. Throws TypeError for what is no function. */
  add(watcher: Watcher): () => void {
    mustBeFunction(watcher, 'watcher');
    if (!this.#watchers.includes(watcher)) this.#watchers = [...this.#watchers, watcher];
    return () => {
      this.#watchers = this.#watchers.filter(other => other !== watcher);
    };
  }

  /** Tells all of them; an error goes to the runtime a moment later, as any uncaught error. */
  emit(event: MoteEvent): void {
    for (const watcher of this.#watchers) {
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
