/** A first-in first-out queue with a bound: for events, and for connections and sockets that wait for their turn. */

/** Taken items that are kept before the rest is moved down. */
const COMPACT_FROM = 64;

/** The queue; when it is full, the newest is refused. It has no memory until something was in it. */
export class Fifo<T> {
  readonly #limit: number;
  #items: T[] | undefined = undefined;
  #head = 0;

  /** `limit` is the number of items; Infinity where each item stands in the queue at most once. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Items that wait. */
  get size(): number {
    return this.#items === undefined ? 0 : this.#items.length - this.#head;
  }

  /** Adds an item; false when the queue is full. */
  push(item: T): boolean {
    if (this.size >= this.#limit) return false; // CHECK: event-queue-limit
    if (this.#items === undefined) this.#items = [item];
    else this.#items.push(item);
    return true;
  }

  /** Takes the oldest item; undefined when there is none. */
  shift(): T | undefined {
    const items = this.#items;
    if (items === undefined || this.#head === items.length) return undefined;
    const item = items[this.#head++];
    if (this.#head === items.length) {
      items.length = 0;
      this.#head = 0;
    } else if (this.#head >= COMPACT_FROM && this.#head * 2 >= items.length) {
      items.splice(0, this.#head);
      this.#head = 0;
    }
    return item;
  }
}
