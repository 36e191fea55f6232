/**
 * Packets that wait for a session (WireGuard §5.4.6 "packet queue"): copies in blocks of 256 bytes from one pool.
 *
 * The pool is shared by all peers and bounded, each peer's queue is bounded too, and what gives way is the oldest
 * packet of the peer itself, so that a flood to one dead peer cannot push out what others wait for. Only when the pool
 * is full and the peer has nothing in it does another give: the one that has been waiting for longest.
 */

const BLOCK_BYTES = 256;
const FIRST_BLOCKS = 32;
const NONE = -1;

/** A peer's queue; the fields belong to the pool. */
export interface StagedQueue {
  /** First block of the oldest packet, -1 for none. */
  stagedHead: number;
  /** First block of the newest packet. */
  stagedTail: number;
  stagedCount: number;
  /** Neighbours in the list of queues that hold something, in the order in which they began to wait. */
  stagedNext: StagedQueue | undefined;
  stagedPrevious: StagedQueue | undefined;
}

/** The pool. It takes memory as it is needed and keeps it. */
export class StagingPool {
  readonly #maxBlocks: number;
  readonly #maxPackets: number;
  #bytes = new Uint8Array(0);
  /** Next block of the same packet, or next free block. */
  #nextBlock = new Int32Array(0);
  /** By first block: first block of the next packet. */
  #nextPacket = new Int32Array(0);
  /** By first block: length of the packet. */
  #lengths = new Int32Array(0);
  #free = NONE;
  #freeBlocks = 0;
  #firstWaiting: StagedQueue | undefined = undefined;
  #lastWaiting: StagedQueue | undefined = undefined;

  constructor(maxBytes: number, maxPackets: number) {
    this.#maxBlocks = Math.floor(maxBytes / BLOCK_BYTES);
    this.#maxPackets = maxPackets;
  }

  /**
   * Copies `buf[start, end)` to the end of a queue. Returns how many packets were dropped for it, of whichever queue;
   * `undefined` when the packet itself cannot be kept because it is larger than the whole pool.
   */
  push(queue: StagedQueue, buf: Uint8Array, start: number, end: number): number | undefined {
    const blocks = Math.max(1, Math.ceil((end - start) / BLOCK_BYTES));
    if (blocks > this.#maxBlocks || this.#maxPackets < 1) return undefined;
    let dropped = 0;
    if (queue.stagedCount >= this.#maxPackets) {
      this.drop(queue);
      dropped++;
    }
    while (this.#freeBlocks < blocks) {
      if (this.#grow()) continue;
      this.drop(queue.stagedCount > 0 ? queue : this.#firstWaiting!);
      dropped++;
    }
    this.#append(queue, this.#copyIn(buf, start, end, blocks), end - start);
    return dropped;
  }

  /** Length of the oldest packet of a queue that is not empty. */
  peekLength(queue: StagedQueue): number {
    return this.#lengths[queue.stagedHead]!;
  }

  /** Moves the oldest packet of a queue that is not empty to `out` at `offset`; returns its length. */
  shift(queue: StagedQueue, out: Uint8Array, offset: number): number {
    const length = this.#lengths[queue.stagedHead]!;
    let block = queue.stagedHead;
    for (let done = 0; done < length; done += BLOCK_BYTES) {
      const from = block * BLOCK_BYTES;
      out.set(this.#bytes.subarray(from, from + Math.min(BLOCK_BYTES, length - done)), offset + done);
      block = this.#nextBlock[block]!;
    }
    this.drop(queue);
    return length;
  }

  /** Drops the oldest packet of a queue that is not empty. Its bytes are overwritten: it may have been a secret. */
  drop(queue: StagedQueue): void {
    const head = queue.stagedHead;
    queue.stagedHead = this.#nextPacket[head]!;
    queue.stagedCount--;
    let block = head;
    while (block !== NONE) {
      const next = this.#nextBlock[block]!;
      this.#bytes.fill(0, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
      this.#release(block);
      block = next;
    }
    if (queue.stagedCount === 0) this.#unlink(queue);
  }

  /** Drops all of a queue; returns how many packets that were. */
  clear(queue: StagedQueue): number {
    const count = queue.stagedCount;
    while (queue.stagedCount > 0) this.drop(queue);
    return count;
  }

  #copyIn(buf: Uint8Array, start: number, end: number, blocks: number): number {
    const head = this.#free;
    let block = head;
    for (let i = 0; i < blocks; i++) {
      const from = start + i * BLOCK_BYTES;
      this.#bytes.set(buf.subarray(from, Math.min(end, from + BLOCK_BYTES)), block * BLOCK_BYTES);
      const next = this.#nextBlock[block]!;
      if (i === blocks - 1) this.#nextBlock[block] = NONE;
      block = next;
    }
    this.#free = block;
    this.#freeBlocks -= blocks;
    return head;
  }

  #append(queue: StagedQueue, head: number, length: number): void {
    this.#lengths[head] = length;
    this.#nextPacket[head] = NONE;
    if (queue.stagedCount === 0) {
      queue.stagedHead = head;
      this.#link(queue);
    } else {
      this.#nextPacket[queue.stagedTail] = head;
    }
    queue.stagedTail = head;
    queue.stagedCount++;
  }

  #release(block: number): void {
    this.#nextBlock[block] = this.#free;
    this.#free = block;
    this.#freeBlocks++;
  }

  #link(queue: StagedQueue): void {
    queue.stagedPrevious = this.#lastWaiting;
    queue.stagedNext = undefined;
    if (this.#lastWaiting === undefined) this.#firstWaiting = queue;
    else this.#lastWaiting.stagedNext = queue;
    this.#lastWaiting = queue;
  }

  #unlink(queue: StagedQueue): void {
    if (queue.stagedPrevious === undefined) this.#firstWaiting = queue.stagedNext;
    else queue.stagedPrevious.stagedNext = queue.stagedNext;
    if (queue.stagedNext === undefined) this.#lastWaiting = queue.stagedPrevious;
    else queue.stagedNext.stagedPrevious = queue.stagedPrevious;
    queue.stagedNext = undefined;
    queue.stagedPrevious = undefined;
    queue.stagedHead = NONE;
    queue.stagedTail = NONE;
  }

  /** Doubles the pool up to its bound; false when it is there. */
  #grow(): boolean {
    const old = this.#lengths.length;
    const blocks = Math.min(this.#maxBlocks, Math.max(FIRST_BLOCKS, old * 2));
    if (blocks === old) return false;
    const bytes = new Uint8Array(blocks * BLOCK_BYTES);
    bytes.set(this.#bytes);
    this.#bytes.fill(0);
    this.#bytes = bytes;
    this.#nextBlock = grown(this.#nextBlock, blocks);
    this.#nextPacket = grown(this.#nextPacket, blocks);
    this.#lengths = grown(this.#lengths, blocks);
    for (let block = blocks - 1; block >= old; block--) this.#release(block);
    return true;
  }
}

function grown(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const out = new Int32Array(length);
  out.set(array);
  return out;
}
