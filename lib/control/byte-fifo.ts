/**
 * Bytes that wait, first in, first out, in one piece of memory that grows up to a limit.
 */
import { copyBytes, NO_BYTES } from '../base/bytes.ts';

/** What a queue that is empty keeps of its memory at most. */
const KEEP_BYTES = 4096;

/** A queue of bytes. What waits is `buf[start, end)`. */
export class ByteFifo {
  buf = NO_BYTES;
  start = 0;
  end = 0;
  readonly #capacity: number;

  /** Holds at most `capacity` bytes. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Bytes that wait. */
  get length(): number {
    return this.end - this.start;
  }

  /** Bytes that still fit. */
  get room(): number {
    return this.#capacity - this.length;
  }

  /** Makes room for `length` bytes at `buf[end, end + length)`; who has written them adds to `end`. */
  reserve(length: number): void {
    if (length > this.room) throw new RangeError(`"length" expected at most ${this.room} bytes of room, got ${length}`);
    if (this.end + length <= this.buf.length) return;
    const waiting = this.length;
    if (waiting + length <= this.buf.length) {
      this.buf.copyWithin(0, this.start, this.end);
    } else {
      const larger = new Uint8Array(Math.min(this.#capacity, Math.max(waiting + length, 2 * this.buf.length, 256)));
      copyBytes(larger, 0, this.buf, this.start, this.end);
      this.buf = larger;
    }
    this.start = 0;
    this.end = waiting;
  }

  /** Appends as much of `buf[start, end)` as fits; returns how many bytes that is. */
  push(buf: Uint8Array, start: number, end: number): number {
    const taken = Math.min(end - start, this.room);
    if (taken <= 0) return 0;
    this.reserve(taken);
    copyBytes(this.buf, this.end, buf, start, start + taken);
    this.end += taken;
    return taken;
  }

  /** Moves up to `end - start` bytes to `out` at `start`; returns how many. */
  pollBytes(out: Uint8Array, start: number, end: number): number {
    const moved = Math.min(end - start, this.length);
    if (moved <= 0) return 0;
    copyBytes(out, start, this.buf, this.start, this.start + moved);
    this.drop(moved);
    return moved;
  }

  /** Forgets the first `length` bytes. */
  drop(length: number): void {
    this.start += length;
    if (this.start < this.end) return;
    this.start = 0;
    this.end = 0;
    if (this.buf.length > KEEP_BYTES) this.buf = NO_BYTES;
  }

  /** Erases and forgets everything. */
  wipe(): void {
    if (this.buf.length > 0) this.buf.fill(0);
    this.buf = NO_BYTES;
    this.start = 0;
    this.end = 0;
  }
}
