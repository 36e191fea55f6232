/**
 * How messages of the map stream follow each other: a 32-bit LITTLE-endian length, then so many bytes of JSON. Nothing
 * is buffered but the length.
 * Left out: compression (this library asks for none).
 */
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
  /** After {@link next}: what was read of the input ends here, and a piece began there. */
  at = 0;
  pieceStart = 0;
  readonly #maxBytes: number;
  /** Bytes of the length that have come, and what is left of the message; -1: nothing can follow. */
  #headerBytes = 0;
  #left = 0;

  /** Messages above `maxBytes` are refused before they are read. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** A new stream. */
  reset(): void {
    this.#headerBytes = 0;
    this.#left = 0;
  }

  /** Whether the stream stands between two messages. */
  get isBetween(): boolean {
    return this.#headerBytes === 0;
  }

  /** What comes next in the input, `buf[at, end)`; go on at {@link at}. */
  next(buf: Uint8Array, at: number, end: number): number {
    if (this.#left < 0) return FRAME_BAD;
    this.at = at;
    if (this.#headerBytes === 4 && this.#left === 0) {
      this.#headerBytes = 0;
      return FRAME_END;
    }
    while (this.#headerBytes < 4) {
      if (this.at === end) return FRAME_MORE;
      this.#left += buf[this.at++]! * 256 ** this.#headerBytes++;
      if (this.#headerBytes === 4 && !this.#start()) return FRAME_BAD;
    }
    this.pieceStart = this.at;
    this.at = Math.min(end, this.at + this.#left);
    this.#left -= this.at - this.pieceStart;
    return this.at > this.pieceStart ? FRAME_PIECE : FRAME_MORE;
  }

  #start(): boolean {
    const isFine = this.#left > 0 && this.#left <= this.#maxBytes;
    if (!isFine) this.#left = -1; // CHECK: map-frame-length
    return this.#left > 0;
  }
}
