/**
 * Which of many owners is due next: a binary heap, earliest first, in which every owner has one place at most and knows
 * it, so that a deadline can be moved without leaving an old one behind.
 */

/** Who has a deadline. Both fields belong to the heap. */
export interface DeadlineOwner {
  /** Absolute ms; Infinity while it is not in the heap. */
  dueMs: number;
  /** -1 while it is not in the heap. */
  heapIndex: number;
}

/** The heap. */
export class DeadlineHeap<T extends DeadlineOwner> {
  readonly #owners: T[] = [];

  /** The earliest deadline; Infinity when there is none. */
  get nextMs(): number {
    return this.#owners[0]?.dueMs ?? Infinity;
  }

  /** The owner of the earliest deadline. */
  get first(): T | undefined {
    return this.#owners[0];
  }

  /** Owners with a deadline. */
  get size(): number {
    return this.#owners.length;
  }

  /** Sets or moves the deadline of an owner; Infinity takes it out. */
  set(owner: T, dueMs: number): void {
    if (dueMs === Infinity) return this.remove(owner);
    if (owner.heapIndex < 0) {
      owner.heapIndex = this.#owners.length;
      this.#owners.push(owner);
    }
    owner.dueMs = dueMs;
    this.#up(owner);
    this.#down(owner);
  }

  /** Takes an owner out, if it is in. */
  remove(owner: T): void {
    const at = owner.heapIndex;
    if (at < 0) return;
    owner.heapIndex = -1;
    owner.dueMs = Infinity;
    const last = this.#owners.pop()!;
    if (last === owner) return;
    this.#place(last, at);
    this.#up(last);
    this.#down(last);
  }

  #up(owner: T): void {
    let at = owner.heapIndex;
    while (at > 0) {
      const parent = this.#owners[(at - 1) >> 1]!;
      if (parent.dueMs <= owner.dueMs) break;
      const parentAt = parent.heapIndex;
      this.#place(parent, at);
      at = parentAt;
    }
    this.#place(owner, at);
  }

  #down(owner: T): void {
    const { length } = this.#owners;
    let at = owner.heapIndex;
    for (let child = 2 * at + 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && this.#owners[child + 1]!.dueMs < this.#owners[child]!.dueMs) child++;
      if (this.#owners[child]!.dueMs >= owner.dueMs) break;
      this.#place(this.#owners[child]!, at);
      at = child;
    }
    this.#place(owner, at);
  }

  #place(owner: T, at: number): void {
    this.#owners[at] = owner;
    owner.heapIndex = at;
  }
}
