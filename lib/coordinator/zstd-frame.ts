/**
 * The framing of the map stream (a 32-bit LITTLE endian length before every message), and inside it, for readers that
 * ask for `zstd`, a Zstandard frame whose blocks are all stored as they are (RFC 8878 §3.1.1): valid for every decoder,
 * and made in pieces while the content is, since nothing about it depends on what the bytes are.
 *
 * Left out: compression. The messages are small, or sent once; a compressor is not in the language.
 */
import { copyBytes, writeU32LE } from '../base/bytes.ts';

/** Most content of one block. */
const BLOCK_BYTES = 131_072;
const BLOCK_HEADER_BYTES = 3;
/** Length, magic, descriptor and content size. */
const MOST_HEAD_BYTES = 4 + 4 + 1 + 4;
const LENGTH_BYTES = 4;
const MAGIC = 0xfd2fb528;
/** Descriptors: one segment (no window), content size of 1, 2 or 4 bytes. */
const SIZE_1 = 0x20;
const SIZE_2 = 0x60;
const SIZE_4 = 0xa0;
/** What a two-byte content size is counted from. */
const SIZE_2_BASE = 256;

/** One message after another, each written in pieces of any size. */
export class MapFrame {
  /** How many bytes of the source the last {@link write} took. */
  taken = 0;
  /** Content of the message that has not been written yet. */
  left = 0;
  readonly #head = new Uint8Array(MOST_HEAD_BYTES);
  #headStart = 0;
  #headEnd = 0;
  #blockLeft = 0;
  #isZstd = false;

  /** Whether the message is written whole. */
  get isDone(): boolean {
    return this.left === 0 && this.#headStart === this.#headEnd;
  }

  /** Begins a message with `length` bytes of content (1 to 2^31). */
  begin(length: number, isZstd: boolean): void {
    this.left = length;
    this.#isZstd = isZstd;
    this.#blockLeft = isZstd ? 0 : length;
    this.#headStart = 0;
    const headBytes = isZstd ? this.#writeZstdHead(length) : 0;
    const blocks = isZstd ? Math.ceil(length / BLOCK_BYTES) : 0;
    writeU32LE(this.#head, 0, headBytes + blocks * BLOCK_HEADER_BYTES + length);
    this.#headEnd = LENGTH_BYTES + headBytes;
  }

  /**
   * Writes into `out[start, end)` what fits of headers that are due and of the content `source[from, to)`, which must not
   * be longer than {@link left}. Returns the bytes written; `taken` says how many of them are content.
   */
  write(out: Uint8Array, start: number, end: number, source: Uint8Array, from: number, to: number): number {
    let at = start;
    let next = from;
    for (;;) {
      if (this.#headStart < this.#headEnd) at += this.#moveHead(out, at, end);
      if (at === end || next === to || this.left === 0) break;
      if (this.#blockLeft === 0) {
        this.#stageBlock();
        continue;
      }
      const moved = Math.min(end - at, to - next, this.#blockLeft);
      copyBytes(out, at, source, next, next + moved);
      at += moved;
      next += moved;
      this.left -= moved;
      this.#blockLeft -= moved;
    }
    this.taken = next - from;
    return at - start;
  }

  #moveHead(out: Uint8Array, start: number, end: number): number {
    const moved = Math.min(end - start, this.#headEnd - this.#headStart);
    copyBytes(out, start, this.#head, this.#headStart, this.#headStart + moved);
    this.#headStart += moved;
    return moved;
  }

  #stageBlock(): void {
    this.#blockLeft = Math.min(this.left, BLOCK_BYTES);
    const isLast = this.#isZstd && this.left === this.#blockLeft;
    const header = this.#blockLeft * 8 + (isLast ? 1 : 0);
    for (let i = 0; i < BLOCK_HEADER_BYTES; i++) this.#head[i] = header >>> (8 * i);
    this.#headStart = 0;
    this.#headEnd = BLOCK_HEADER_BYTES;
  }

  /** Magic, descriptor and content size behind the length; returns their bytes. */
  #writeZstdHead(length: number): number {
    const head = this.#head;
    const sizeAt = LENGTH_BYTES + 5;
    writeU32LE(head, LENGTH_BYTES, MAGIC);
    if (length < SIZE_2_BASE) {
      head[sizeAt - 1] = SIZE_1;
      head[sizeAt] = length;
      return 6;
    }
    if (length < SIZE_2_BASE + 65_536) {
      head[sizeAt - 1] = SIZE_2;
      head[sizeAt] = length - SIZE_2_BASE;
      head[sizeAt + 1] = (length - SIZE_2_BASE) >>> 8;
      return 7;
    }
    head[sizeAt - 1] = SIZE_4;
    writeU32LE(head, sizeAt, length);
    return 9;
  }
}
