/**
 * The one timer of many peers: a binary heap by earliest deadline. Only peers with a deadline are in it, so idle peers
 * cost nothing.
 *
 * Deadlines move with almost every packet, mostly later. So the heap keeps for each entry a time at which to look at
 * it: INVARIANT: `dueMs` of an entry is never later than its earliest deadline. Deadlines that move later or vanish
 * leave the heap alone; it is put right when the entry comes to the top.
 */

/** Something with deadlines. The two fields belong to the schedule. */
export interface Scheduled {
  /** When the schedule will look at it. */
  dueMs: number;
  /** Place in the heap, -1 for none. */
  heapIndex: number;
  /** The earliest deadline, absolute ms; `Infinity` for none. */
  earliestDeadline(): number;
}

/** All that is scheduled in one tunnel. */
export class Schedule<T extends Scheduled> {
  readonly #heap: T[] = [];

  /** How many entries have or had a deadline; for tests and status. */
  get size(): number {
    return this.#heap.length;
  }

  /** Says that `entry` has a deadline at `atMs`. */
  add(entry: T, atMs: number): void {
    if (entry.heapIndex < 0) {
      entry.dueMs = atMs;
      entry.heapIndex = this.#heap.length;
      this.#heap.push(entry);
    } else if (atMs < entry.dueMs) {
      entry.dueMs = atMs;
    } else {
      return;
    }
    this.#siftUp(entry);
  }

  /** Forgets an entry; one that is not in the schedule is fine. */
  remove(entry: T): void {
    const at = entry.heapIndex;
    if (at < 0) return;
    entry.heapIndex = -1;
    const last = this.#heap.pop()!;
    if (last === entry) return;
    last.heapIndex = at;
    this.#heap[at] = last;
    this.#siftUp(last);
    this.#siftDown(last);
  }

  /** The earliest deadline of all, exactly; `Infinity` for none. */
  next(): number {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined) return Number.POSITIVE_INFINITY;
      const deadline = top.earliestDeadline();
      if (deadline === top.dueMs) return deadline;
      if (deadline === Number.POSITIVE_INFINITY) {
        this.remove(top);
      } else {
        top.dueMs = deadline;
        this.#siftDown(top);
      }
    }
  }

  /** An entry with a deadline at or before `nowMs`; the caller lets it act, which must move that deadline. */
  due(nowMs: number): T | undefined {
    return this.next() <= nowMs ? this.#heap[0] : undefined;
  }

  #siftUp(entry: T): void {
    let at = entry.heapIndex;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#heap[parentAt]!;
      if (parent.dueMs <= entry.dueMs) break;
      this.#place(parent, at);
      at = parentAt;
    }
    this.#place(entry, at);
  }

  #siftDown(entry: T): void {
    const size = this.#heap.length;
    let at = entry.heapIndex;
    for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && this.#heap[child + 1]!.dueMs < this.#heap[child]!.dueMs) child++;
      const lower = this.#heap[child]!;
      if (entry.dueMs <= lower.dueMs) break;
      this.#place(lower, at);
      at = child;
    }
    this.#place(entry, at);
  }

  #place(entry: T, at: number): void {
    this.#heap[at] = entry;
    entry.heapIndex = at;
  }
}
