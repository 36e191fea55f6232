/**
 * How messages of the map stream follow each other: a 32-bit LITTLE-endian length, then so many bytes of JSON. Nothing
 * is buffered but the length.
 * Left out: compression (this library asks for none).
 */
import { readU32LE } from '../base/bytes.ts';

/** The input is used up. */
export const FRAME_MORE = 0;
/** A piece of a message is `buf[pieceStart, pieceEnd)` of what was given. */
export const FRAME_PIECE = 1;
/** The message is complete. */
export const FRAME_END = 2;
/** A message of no length or above the limit; nothing can follow. */
export const FRAME_BAD = -1;

/** Takes the map stream apart. */
export class MapFrames {
  pieceStart = 0;
  pieceEnd = 0;
  readonly #maxBytes: number;
  readonly #header = new Uint8Array(4);
  #headerBytes = 0;
  #left = 0;
  #isBad = false;
  #at = 0;
  #end = 0;
  #buf: Uint8Array;

  /** Messages above `maxBytes` are refused before they are read. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#buf = this.#header;
  }

  /** Whether the stream stands between two messages. */
  get isBetween(): boolean {
    return this.#headerBytes === 0;
  }

  /** The next input, lent until {@link next} has returned {@link FRAME_MORE}. */
  write(buf: Uint8Array, start: number, end: number): void {
    this.#buf = buf;
    this.#at = start;
    this.#end = end;
  }

  /** What comes next in the input. */
  next(): number {
    if (this.#isBad) return FRAME_BAD;
    if (this.#headerBytes === 4 && this.#left === 0) {
      this.#headerBytes = 0;
      return FRAME_END;
    }
    while (this.#headerBytes < 4) {
      if (this.#at === this.#end) return this.#more();
      this.#header[this.#headerBytes++] = this.#buf[this.#at++]!;
      if (this.#headerBytes === 4 && !this.#start()) return FRAME_BAD;
    }
    this.pieceStart = this.#at;
    this.pieceEnd = Math.min(this.#end, this.#at + this.#left);
    this.#left -= this.pieceEnd - this.pieceStart;
    this.#at = this.pieceEnd;
    return this.pieceEnd > this.pieceStart ? FRAME_PIECE : this.#more();
  }

  /** Lets go of the input. */
  #more(): number {
    this.#buf = this.#header;
    return FRAME_MORE;
  }

  #start(): boolean {
    this.#left = readU32LE(this.#header, 0);
    if (this.#left === 0 || this.#left > this.#maxBytes) this.#isBad = true; // CHECK: map-frame-length
    return !this.#isBad;
  }
}
