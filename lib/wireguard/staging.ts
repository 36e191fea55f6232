/**
 * Packets that wait for a session (WireGuard §5.4.6 "packet queue"): a copy of each, counted in blocks of 256 bytes.
 *
 * The bound is shared by all peers, each peer's queue is bounded too, and what gives way is the oldest packet of the
 * peer itself, so that a flood to one dead peer cannot push out what others wait for. Only when the pool is full and
 * the peer has nothing in it does another give: the one that has been waiting for longest. An empty pool takes nothing.
 */

const BLOCK_BYTES = 256;

/** Whose packets wait; the field belongs to the pool. */
export interface StagedQueue {
  stagedCount: number;
}

/** The pool. */
export class StagingPool {
  readonly #maxBlocks: number;
  readonly #maxPackets: number;
  #usedBlocks = 0;
  /** Oldest packet first, by queue in the order in which they began to wait; there only while something waits. */
  #queues: Map<StagedQueue, Uint8Array[]> | undefined = undefined;

  constructor(maxBytes: number, maxPackets: number) {
    this.#maxBlocks = Math.floor(maxBytes / BLOCK_BYTES);
    this.#maxPackets = maxPackets;
  }

  /**
   * Copies `buf[start, end)` to the end of a queue. Returns how many packets were dropped for it, of whichever queue;
   * `undefined` when the packet itself cannot be kept because it is larger than the whole pool.
   */
  push(queue: StagedQueue, buf: Uint8Array, start: number, end: number): number | undefined {
    const blocks = blocksOf(end - start);
    if (blocks > this.#maxBlocks || this.#maxPackets < 1) return undefined;
    let dropped = 0;
    if (queue.stagedCount >= this.#maxPackets) {
      this.drop(queue);
      dropped++;
    }
    while (this.#usedBlocks + blocks > this.#maxBlocks) {
      this.drop(queue.stagedCount > 0 ? queue : this.#firstWaiting());
      dropped++;
    }
    this.#append(queue, buf.slice(start, end));
    return dropped;
  }

  /** Length of the oldest packet of a queue that is not empty. */
  peekLength(queue: StagedQueue): number {
    return this.#packets(queue)[0]!.length;
  }

  /** Moves the oldest packet of a queue that is not empty to `out` at `offset`; returns its length. */
  shift(queue: StagedQueue, out: Uint8Array, offset: number): number {
    const packet = this.#packets(queue)[0]!;
    out.set(packet, offset);
    const { length } = packet;
    this.drop(queue);
    return length;
  }

  /** Drops the oldest packet of a queue that is not empty. Its bytes are overwritten: it may have been a secret. */
  drop(queue: StagedQueue): void {
    const packets = this.#packets(queue);
    const packet = packets.shift()!;
    this.#usedBlocks -= blocksOf(packet.length);
    packet.fill(0);
    if (--queue.stagedCount > 0) return;
    this.#queues!.delete(queue);
    if (this.#queues!.size === 0) this.#queues = undefined;
  }

  /** Drops all of a queue; returns how many packets that were. */
  clear(queue: StagedQueue): number {
    const count = queue.stagedCount;
    while (queue.stagedCount > 0) this.drop(queue);
    return count;
  }

  #packets(queue: StagedQueue): Uint8Array[] {
    return this.#queues!.get(queue)!;
  }

  #firstWaiting(): StagedQueue {
    return this.#queues!.keys().next().value!;
  }

  #append(queue: StagedQueue, packet: Uint8Array): void {
    this.#queues ??= new Map();
    if (queue.stagedCount === 0) this.#queues.set(queue, [packet]);
    else this.#packets(queue).push(packet);
    queue.stagedCount++;
    this.#usedBlocks += blocksOf(packet.length);
  }
}

/** An empty packet counts, too: it is one that waits. */
function blocksOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / BLOCK_BYTES));
}
