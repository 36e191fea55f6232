/**
 * Bytes that wait, in one array that grows on demand and is let go when they are taken.
 */
import { copyBytes, NO_BYTES } from '../base/bytes.ts';

const LEAST_BYTES = 64;

/** First in, first out. */
export class ByteQueue {
  readonly #stepBytes: number;
  /** The bytes are `buf[start, end)`. */
  buf = NO_BYTES;
  start = 0;
  end = 0;

  /** It doubles, but grows by at most `stepBytes` ahead of what it holds. */
  constructor(stepBytes: number) {
    this.#stepBytes = stepBytes;
  }

  /** Bytes that wait. */
  get length(): number {
    return this.end - this.start;
  }

  /** Bytes of memory that it holds: at most a step more than it held at once, and 64 at least. */
  get capacity(): number {
    return this.buf.length;
  }

  /** Makes room for `count` bytes at the end and returns where they are to be written. */
  reserve(count: number): number {
    const length = this.end - this.start;
    if (this.end + count > this.buf.length) {
      const isEnough = length + count <= this.buf.length;
      const into = isEnough
        ? this.buf
        : new Uint8Array(Math.max(length + count, length + Math.min(length, this.#stepBytes), LEAST_BYTES));
      copyBytes(into, 0, this.buf, this.start, this.end);
      this.buf = into;
      this.start = 0;
      this.end = length;
    }
    const at = this.end;
    this.end += count;
    return at;
  }

  /** Copies `buf[start, end)` to the end. */
  append(buf: Uint8Array, start: number, end: number): void {
    const at = this.reserve(end - start);
    copyBytes(this.buf, at, buf, start, end);
  }

  /** Moves bytes to `out[start, end)`; returns how many. */
  take(out: Uint8Array, start: number, end: number): number {
    const count = Math.min(this.end - this.start, end - start);
    copyBytes(out, start, this.buf, this.start, this.start + count);
    this.start += count;
    if (this.start === this.end) this.clear();
    return count;
  }

  /** Forgets the bytes and lets the memory go. */
  clear(): void {
    this.buf = NO_BYTES;
    this.start = 0;
    this.end = 0;
  }
}
