/**
 * For sockets whose `send` ends later: keeps datagrams in order, and their bytes until they are gone.
 *
 * Sends that are under way together overtake each other (seen on Deno), so one follows the other.
 */
import type { Endpoint } from '../../lib/base/address.ts';

/** Datagrams that may wait; further ones are dropped. */
const MAX_QUEUED = 1024;
/** Most datagrams fit into this; larger ones get memory of their own. */
const BUFFER_BYTES = 2048;

interface Waiting {
  readonly memory: Uint8Array;
  length: number;
  to: Endpoint;
}

/** An ordered queue in front of an asynchronous send. */
export class SendQueue {
  readonly #transmit: (bytes: Uint8Array, to: Endpoint) => Promise<unknown>;
  readonly #waiting: Waiting[] = [];
  readonly #free: Waiting[] = [];
  #head = 0;
  #isPumping = false;

  /** `transmit` settles when the bytes are no longer needed; its failure is the loss of one datagram. */
  constructor(transmit: (bytes: Uint8Array, to: Endpoint) => Promise<unknown>) {
    this.#transmit = transmit;
  }

  /** Takes a copy of `buf[start, end)`; false when too many wait. */
  send(buf: Uint8Array, start: number, end: number, to: Endpoint): boolean {
    if (this.#waiting.length - this.#head >= MAX_QUEUED) return false;
    const length = end - start;
    const usual = length <= BUFFER_BYTES ? this.#free.pop() : undefined;
    const next = usual ?? { memory: new Uint8Array(Math.max(length, BUFFER_BYTES)), length: 0, to };
    next.memory.set(buf.subarray(start, end));
    next.length = length;
    next.to = to;
    this.#waiting.push(next);
    if (!this.#isPumping) void this.#pump();
    return true;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting.length = 0;
    this.#head = 0;
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    while (this.#head < this.#waiting.length) {
      const next = this.#waiting[this.#head++]!;
      try {
        await this.#transmit(next.memory.subarray(0, next.length), next.to);
      } catch {
        // lost, as any datagram may be
      }
      if (next.memory.length === BUFFER_BYTES) this.#free.push(next);
      if (this.#head >= MAX_QUEUED) this.#waiting.splice(0, this.#head);
      this.#head %= MAX_QUEUED;
    }
    this.clear();
    this.#isPumping = false;
  }
}
