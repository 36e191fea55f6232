/**
 * A bound on memory that many queues share: each takes before it grows and gives back when it shrinks.
 */

/** Bytes that several owners may hold together. */
export class MemoryBudget {
  /** The bound. */
  readonly limitBytes: number;
  /** Bytes that are taken now, never above the limit. */
  usedBytes = 0;

  /** `limitBytes` is 0 or more; Infinity for no bound. */
  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  /** Whether more than half is taken: then what is empty gives back at once what it would otherwise keep for a while. */
  get isTight(): boolean {
    return 2 * this.usedBytes > this.limitBytes;
  }

  /** Takes `bytes`, or takes nothing and says false. */
  take(bytes: number): boolean {
    if (this.usedBytes + bytes > this.limitBytes) return false; // CHECK: derp-memory-budget
    this.usedBytes += bytes;
    return true;
  }

  /** Gives back what was taken. */
  give(bytes: number): void {
    this.usedBytes -= bytes;
  }
}
