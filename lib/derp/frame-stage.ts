/**
 * The frame that is on its way out: once begun it must be finished, whatever happens to the queue that it came from.
 */
import { copyBytes } from '../base/bytes.ts';
import { FRAME_HEADER_BYTES, writeFrameHeader } from './frame.ts';
import type { FrameQueue } from './frame-queue.ts';

/** One frame, or nothing. A record of a queue is copied only when it does not fit the room at once. */
export class FrameStage {
  /** Undefined while nothing was copied. */
  #buf: Uint8Array | undefined = undefined;
  #start = 0;
  #end = 0;
  #queue: FrameQueue | undefined = undefined;

  /** Whether nothing is on its way. */
  get isEmpty(): boolean {
    return this.#start === this.#end && this.#queue === undefined;
  }

  /** Takes over whole bytes; only while {@link isEmpty}, or behind what is there. */
  put(bytes: Uint8Array): void {
    const waiting = this.#end - this.#start;
    const out = new Uint8Array(waiting + bytes.length);
    if (this.#buf !== undefined) copyBytes(out, 0, this.#buf, this.#start, this.#end);
    out.set(bytes, waiting);
    this.#buf = out;
    this.#start = 0;
    this.#end = out.length;
  }

  /** Makes a frame of a type and a payload. */
  putFrame(type: number, payload: Uint8Array): void {
    const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
    frame.set(payload, writeFrameHeader(frame, 0, type, payload.length));
    this.put(frame);
  }

  /** Takes the oldest record of a queue, which {@link take} must follow before the queue is touched; only while empty. */
  putRecord(queue: FrameQueue): void {
    this.#queue = queue;
  }

  /** Moves bytes to `out[start, end)`; returns how many. */
  take(out: Uint8Array, start: number, end: number): number {
    const queue = this.#queue;
    if (queue !== undefined) {
      this.#queue = undefined;
      const record = queue.start;
      const { length } = queue;
      if (length <= end - start) {
        copyBytes(out, start, queue.buf, record, record + length);
        queue.shift();
        return length;
      }
      this.#buf = queue.buf.slice(record, record + length);
      this.#start = 0;
      this.#end = length;
      queue.shift();
    }
    if (this.#buf === undefined) return 0;
    const taken = Math.min(this.#end - this.#start, end - start);
    copyBytes(out, start, this.#buf, this.#start, this.#start + taken);
    this.#start += taken;
    if (this.#start === this.#end && this.#end > 0) this.clear();
    return taken;
  }

  /** Bytes of memory that it holds. */
  get capacity(): number {
    return this.#buf?.length ?? 0;
  }

  /** Forgets what is left. */
  clear(): void {
    this.#buf = undefined;
    this.#start = 0;
    this.#end = 0;
    this.#queue = undefined;
  }
}
