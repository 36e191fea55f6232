/**
 * Which connection wants to be woken when: a binary heap over deadlines, one entry per connection.
 *
 * A deadline that moves later leaves its entry where it is; the entry is put right when it comes up. So re-arming the
 * retransmission timer with every acknowledgment costs a comparison, and 10,000 idle connections cost nothing.
 * The price is a wake-up now and then that finds nothing due.
 */

/** What the heap keeps: two fields on the connection itself, so that an entry is no object of its own. */
export interface TimerEntry {
  /** When the entry wants to be woken, absolute milliseconds; Infinity for never. Set by {@link TimerHeap.schedule}. */
  wakeAt: number;
  /** When the heap will look at it: at or before {@link wakeAt}. Owned by the heap. */
  heapAt: number;
  /** Place in the heap, -1 when absent. Owned by the heap. */
  heapIndex: number;
}

/** A heap of entries, earliest first. */
export class TimerHeap<T extends TimerEntry> {
  readonly #entries: T[] = [];

  /** Number of entries. */
  get size(): number {
    return this.#entries.length;
  }

  /** When to call {@link take} next, absolute milliseconds; Infinity for never. May be early, never late. */
  get next(): number {
    return this.#entries.length === 0 ? Infinity : this.#entries[0].heapAt;
  }

  /** Wakes `entry` at `at` (Infinity: never) instead of any earlier setting. */
  schedule(entry: T, at: number): void {
    entry.wakeAt = at;
    if (entry.heapIndex < 0) {
      if (at === Infinity) return;
      entry.heapAt = at;
      entry.heapIndex = this.#entries.length;
      this.#entries.push(entry);
      this.#up(entry.heapIndex);
    } else if (at < entry.heapAt) {
      entry.heapAt = at;
      this.#up(entry.heapIndex);
    }
  }

  /** Takes out an entry for good. */
  remove(entry: T): void {
    const index = entry.heapIndex;
    if (index < 0) return;
    entry.heapIndex = -1;
    entry.wakeAt = Infinity;
    const last = this.#entries.pop()!;
    if (last === entry) return;
    this.#put(last, index);
    this.#up(index);
    this.#down(last.heapIndex);
  }

  /** Takes one entry that is due at `nowMs`, or undefined. Entries whose deadline moved later are sorted back in. */
  take(nowMs: number): T | undefined {
    while (this.#entries.length > 0) {
      const entry = this.#entries[0];
      if (entry.heapAt > nowMs) return undefined;
      if (entry.wakeAt <= nowMs || entry.wakeAt === Infinity) {
        const isDue = entry.wakeAt !== Infinity;
        this.remove(entry);
        if (isDue) return entry;
      } else {
        entry.heapAt = entry.wakeAt;
        this.#down(0);
      }
    }
    return undefined;
  }

  #put(entry: T, index: number): void {
    this.#entries[index] = entry;
    entry.heapIndex = index;
  }

  #up(from: number): void {
    const entries = this.#entries;
    const entry = entries[from];
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (entries[parent].heapAt <= entry.heapAt) break;
      this.#put(entries[parent], index);
      index = parent;
    }
    this.#put(entry, index);
  }

  #down(from: number): void {
    const entries = this.#entries;
    const entry = entries[from];
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= entries.length) break;
      if (child + 1 < entries.length && entries[child + 1].heapAt < entries[child].heapAt) child++;
      if (entries[child].heapAt >= entry.heapAt) break;
      this.#put(entries[child], index);
      index = child;
    }
    this.#put(entry, index);
  }
}
