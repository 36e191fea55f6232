/**
 * A bounded first-in first-out queue of frames in one ring, which makes room by dropping its oldest (what a relay owes
 * to a slow reader: the newest packets are worth more than the first).
 *
 * Every record is contiguous, so that it is written, read and opened in place. The ring starts empty, grows by doubling
 * up to its limit, and is given back once it is empty and larger than {@link FREE_BYTES}. That much is every queue's
 * own; beyond it the memory comes from a budget that many queues may share.
 */
import { readU32BE, writeU32BE } from '../base/bytes.ts';
import type { MemoryBudget } from './memory-budget.ts';

/** Bytes of a ring that need no budget. */
export const FREE_BYTES = 4096;
/** Bytes that each record costs on top of its own. */
const OVERHEAD_BYTES = 4;
const FIRST_CAPACITY_BYTES = 512;

/** The queue; see the top of the file. */
export class FrameQueue {
  readonly #limitRecords: number;
  readonly #limitBytes: number;
  readonly #budget: MemoryBudget | undefined;
  /** Undefined before the first record. */
  #buf: Uint8Array | undefined = undefined;
  #head = 0;
  #tail = 0;
  /** Where the records before the wrap end; meaningful only while `#isWrapped`. */
  #wrapEnd = 0;
  #isWrapped = false;
  /** Records that wait. */
  count = 0;
  /** Records that were dropped: the oldest for a newer one, or a new one for which there was no memory. */
  dropped = 0;

  /** `limitBytes` bounds the ring's memory, {@link OVERHEAD_BYTES} per record included; `limitRecords` the records. */
  constructor(limitRecords: number, limitBytes: number, budget?: MemoryBudget) {
    this.#limitRecords = limitRecords;
    this.#limitBytes = limitBytes;
    this.#budget = budget;
  }

  /** The ring. Changes when the queue grows: read it after {@link push}; only once there was one. */
  get buf(): Uint8Array {
    return this.#buf!;
  }

  /** Bytes of memory that the ring holds now. */
  get capacity(): number {
    return this.#buf?.length ?? 0;
  }

  /** First byte of the oldest record in {@link buf}; only while {@link count} is above 0. */
  get start(): number {
    return this.#head + OVERHEAD_BYTES;
  }

  /** Length of the oldest record; only while {@link count} is above 0. */
  get length(): number {
    return readU32BE(this.buf, this.#head);
  }

  /**
   * Adds a record of `bytes` and returns where in {@link buf} it is to be written, dropping the oldest as needed. -1,
   * counted as dropped, when it is larger than the limit or there is no memory.
   */
  push(bytes: number): number {
    const needed = bytes + OVERHEAD_BYTES;
    if (needed > this.#limitBytes) return this.#refuse(); // CHECK: derp-queue-bytes
    if (this.count >= this.#limitRecords) this.#dropOldest(); // CHECK: derp-queue-records
    let at = this.#place(needed);
    while (at < 0) {
      if (this.count === 0) return this.#refuse();
      this.#dropOldest();
      at = this.#place(needed);
    }
    writeU32BE(this.buf, at, bytes);
    this.#tail = at + needed;
    this.count++;
    return at + OVERHEAD_BYTES;
  }

  /** Removes the oldest record; its bytes stay readable until the next {@link push} or {@link trim}. */
  shift(): void {
    this.#head += OVERHEAD_BYTES + this.length;
    this.count--;
    if (this.#isWrapped && this.#head === this.#wrapEnd) {
      this.#head = 0;
      this.#isWrapped = false;
    }
  }

  /** Gives the memory of an empty queue back, except for what needs no budget. */
  trim(): void {
    if (this.count === 0 && this.capacity > FREE_BYTES) this.clear();
  }

  /** Drops everything, uncounted, and gives all memory back. */
  clear(): void {
    this.#budget?.give(beyondFree(this.capacity));
    this.#buf = undefined;
    this.#head = 0;
    this.#tail = 0;
    this.#isWrapped = false;
    this.count = 0;
  }

  #refuse(): number {
    this.dropped++;
    return -1;
  }

  #dropOldest(): void {
    this.shift();
    this.dropped++;
  }

  /** Offset of `needed` free contiguous bytes, growing the ring as far as it may; -1 when there are none. */
  #place(needed: number): number {
    if (this.count === 0) {
      this.#head = 0;
      this.#tail = 0;
      this.#isWrapped = false;
    }
    if (this.#isWrapped) {
      if (this.#tail + needed <= this.#head) return this.#tail;
    } else {
      if (this.#tail + needed <= this.capacity) return this.#tail;
      if (needed <= this.#head) {
        this.#wrapEnd = this.#tail;
        this.#isWrapped = true;
        return 0;
      }
    }
    return this.#grow(needed) ? this.#tail : -1;
  }

  /** Makes a larger ring in which all records lie in a row with `needed` bytes behind them. */
  #grow(needed: number): boolean {
    const used = this.#isWrapped ? this.#wrapEnd - this.#head + this.#tail : this.#tail - this.#head;
    const { capacity } = this;
    let size = Math.max(FIRST_CAPACITY_BYTES, capacity);
    while (size < used + needed) size *= 2;
    size = Math.min(size, this.#limitBytes);
    if (size < used + needed || !this.#afford(capacity, size)) return false;
    const larger = new Uint8Array(size);
    const end = this.#isWrapped ? this.#wrapEnd : this.#tail;
    if (this.#buf !== undefined) larger.set(this.#buf.subarray(this.#head, end));
    if (this.#isWrapped) larger.set(this.buf.subarray(0, this.#tail), end - this.#head);
    this.#buf = larger;
    this.#head = 0;
    this.#tail = used;
    this.#isWrapped = false;
    return true;
  }

  #afford(from: number, to: number): boolean {
    return this.#budget?.take(beyondFree(to) - beyondFree(from)) ?? true;
  }
}

/** How much of a buffer of `bytes` a budget has to cover. */
export function beyondFree(bytes: number): number {
  return bytes > FREE_BYTES ? bytes : 0;
}
