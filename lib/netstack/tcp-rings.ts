/**
 * Byte rings of a connection: what waits to be sent or acknowledged, and what was received and waits to be read,
 * out-of-order parts included.
 *
 * A ring has no memory until bytes arrive, starts at a small size, doubles on demand within a shared budget, and gives
 * its memory back when told to. Copies go through `TypedArray.set`; nothing here looks at single bytes.
 */
import { copyBytes } from '../base/bytes.ts';

/** Bytes that all rings of one machine may have on top of their first sizes. */
export class MemoryBudget {
  /** Bytes granted at present. */
  usedBytes = 0;
  readonly limitBytes: number;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  /** Takes `bytes`; false, and nothing taken, when they do not fit. */
  take(bytes: number): boolean {
    if (this.usedBytes + bytes > this.limitBytes) return false;
    this.usedBytes += bytes;
    return true;
  }

  /** Gives `bytes` back. */
  give(bytes: number): void {
    this.usedBytes -= bytes;
  }
}

/** Bytes at a moving head. Sizes are powers of two. */
class Ring {
  protected bytes: Uint8Array | undefined = undefined;
  protected mask = -1;
  protected head = 0;
  readonly #budget: MemoryBudget;
  readonly #firstBytes: number;
  #isDetached = false;

  /** `firstBytes` is a power of two; that much is always granted. */
  constructor(budget: MemoryBudget, firstBytes: number) {
    this.#budget = budget;
    this.#firstBytes = firstBytes;
  }

  /** Bytes of memory that the ring holds now. */
  get capacity(): number {
    return this.mask + 1;
  }

  /** Makes room for `needed` bytes from the head on; `span` of them are in use and kept. False when denied. */
  protected grow(needed: number, span: number): boolean {
    let size = this.#firstBytes;
    while (size < needed) size *= 2;
    const had = Math.max(this.capacity, this.#firstBytes);
    if (size > had && !this.#budget.take(size - had)) return false;
    const bytes = new Uint8Array(size);
    if (span > 0) this.copyOut(0, span, bytes, 0);
    this.bytes = bytes;
    this.mask = size - 1;
    this.head = 0;
    return true;
  }

  /** Frees the memory; whatever is in the ring is lost. */
  protected free(): void {
    if (this.bytes === undefined) return;
    if (!this.#isDetached) this.#budget.give(this.capacity - this.#firstBytes);
    this.bytes = undefined;
    this.mask = -1;
    this.head = 0;
  }

  /** Gives the budget back and keeps the bytes: the connection is gone, but somebody may still read. */
  detach(): void {
    if (this.bytes !== undefined && !this.#isDetached) this.#budget.give(this.capacity - this.#firstBytes);
    this.#isDetached = true;
  }

  /** Copies `length` bytes at `offset` from the head to `target[at, ...)`. */
  copyOut(offset: number, length: number, target: Uint8Array, at: number): void {
    const bytes = this.bytes!;
    const from = (this.head + offset) & this.mask;
    const first = bytes.length - from;
    if (length <= first) copyBytes(target, at, bytes, from, from + length);
    else {
      copyBytes(target, at, bytes, from, bytes.length);
      copyBytes(target, at + first, bytes, 0, length - first);
    }
  }

  /** Copies `source[start, end)` in at `offset` from the head. */
  protected copyIn(offset: number, source: Uint8Array, start: number, end: number): void {
    const bytes = this.bytes!;
    const to = (this.head + offset) & this.mask;
    const first = bytes.length - to;
    if (end - start <= first) copyBytes(bytes, to, source, start, end);
    else {
      copyBytes(bytes, to, source, start, start + first);
      copyBytes(bytes, 0, source, start + first, end);
    }
  }
}

/** What the application wrote and the other side has not acknowledged. The head is the first unacknowledged byte. */
export class SendRing extends Ring {
  /** Bytes in the ring. */
  length = 0;

  /** Takes bytes of `source[start, end)` as far as memory allows; returns how many. */
  write(source: Uint8Array, start: number, end: number): number {
    let take = end - start;
    if (this.length + take > this.capacity && !this.grow(this.length + take, this.length)) {
      if (this.bytes === undefined) this.grow(1, 0);
      take = Math.min(take, this.capacity - this.length);
    }
    if (take > 0) this.copyIn(this.length, source, start, start + take);
    this.length += take;
    return take;
  }

  /** Drops `count` acknowledged bytes at the head. */
  discard(count: number): void {
    this.length -= count;
    this.head = this.length === 0 ? 0 : (this.head + count) & this.mask;
  }

  /** Frees the memory if the ring is empty. */
  trim(): void {
    if (this.length === 0) this.free();
  }

  /** Empties the ring and frees its memory. */
  clear(): void {
    this.length = 0;
    this.free();
  }
}

/**
 * What was received: `readableBytes` in order at the head, and beyond them ranges with gaps. The ring does not know
 * RCV.NXT, which is where the readable bytes end; it is told with each call.
 */
export class ReceiveRing extends Ring {
  /** Bytes in order that wait to be read. */
  readableBytes = 0;
  /** Ranges beyond a gap, sorted and apart from each other, in sequence numbers. */
  rangeCount = 0;
  #starts: Int32Array | undefined = undefined;
  #ends: Int32Array | undefined = undefined;
  /** When a range was last touched, in order of arrival: SACK names the latest first (RFC 2018 §4). */
  #touched: Int32Array | undefined = undefined;
  #arrivals = 0;
  readonly #maxRanges: number;

  constructor(budget: MemoryBudget, firstBytes: number, maxRanges: number) {
    super(budget, firstBytes);
    this.#maxRanges = maxRanges;
  }

  /** Start of range `i` in sequence numbers. */
  rangeStart(i: number): number {
    return this.#starts![i];
  }

  /** End of range `i` in sequence numbers. */
  rangeEnd(i: number): number {
    return this.#ends![i];
  }

  /** Order of arrival of the last segment that touched range `i`; larger is later. */
  rangeTouched(i: number): number {
    return this.#touched![i];
  }

  /**
   * Takes in-order bytes `source[start, end)` at RCV.NXT `next`. Returns by how far RCV.NXT moves, which is more than
   * the bytes where a gap closes, or -1 when memory was denied.
   */
  append(next: number, source: Uint8Array, start: number, end: number): number {
    const count = end - start;
    if (!this.#reach(this.readableBytes + count, next)) return -1;
    this.copyIn(this.readableBytes, source, start, end);
    const advance = this.rangeCount === 0 ? count : this.#closeGap(next, count);
    this.readableBytes += advance;
    return advance;
  }

  /** Takes bytes whose sequence number `seq` lies beyond RCV.NXT `next`. False: denied (memory, number of ranges). */
  insert(next: number, seq: number, source: Uint8Array, start: number, end: number): boolean {
    const offset = (seq - next) | 0;
    if (!this.#reach(this.readableBytes + offset + (end - start), next)) return false;
    if (!this.#addRange(seq, (seq + end - start) | 0)) return false;
    this.copyIn(this.readableBytes + offset, source, start, end);
    return true;
  }

  /** Moves up to `end - start` readable bytes to `out`; returns how many. */
  read(out: Uint8Array, start: number, end: number): number {
    const count = Math.min(end - start, this.readableBytes);
    if (count <= 0) return 0;
    this.copyOut(0, count, out, start);
    this.skip(count);
    return count;
  }

  /** Drops `count` (at most {@link readableBytes}) bytes at the head. */
  skip(count: number): void {
    this.readableBytes -= count;
    this.head = this.readableBytes === 0 && this.rangeCount === 0 ? 0 : (this.head + count) & this.mask;
  }

  /** Frees the memory if nothing is in the ring. */
  trim(): void {
    if (this.readableBytes > 0 || this.rangeCount > 0) return;
    this.free();
    this.#starts = this.#ends = this.#touched = undefined;
  }

  /** Forgets the ranges beyond gaps (nobody will fill them any more). */
  dropRanges(): void {
    this.rangeCount = 0;
  }

  /** Whether a range covers `[start, end)` whole. */
  covers(start: number, end: number): boolean {
    for (let i = 0; i < this.rangeCount; i++)
      if (((start - this.#starts![i]) | 0) >= 0 && ((end - this.#ends![i]) | 0) <= 0) return true;
    return false;
  }

  #reach(needed: number, next: number): boolean {
    if (needed <= this.capacity) return true;
    const beyond = this.rangeCount === 0 ? 0 : (this.#ends![this.rangeCount - 1] - next) | 0;
    return this.grow(needed, this.readableBytes + beyond);
  }

  #addRange(start: number, end: number): boolean {
    this.#starts ??= new Int32Array(this.#maxRanges);
    this.#ends ??= new Int32Array(this.#maxRanges);
    this.#touched ??= new Int32Array(this.#maxRanges);
    const starts = this.#starts;
    const ends = this.#ends;
    if (this.rangeCount === 0) this.#arrivals = 0;
    let from = 0;
    while (from < this.rangeCount && ((ends[from] - start) | 0) < 0) from++;
    let to = from;
    let low = start;
    let high = end;
    while (to < this.rangeCount && ((starts[to] - end) | 0) <= 0) {
      if (((starts[to] - low) | 0) < 0) low = starts[to];
      if (((ends[to] - high) | 0) > 0) high = ends[to];
      to++;
    }
    if (from === to && this.rangeCount === this.#maxRanges) return false;
    this.#replaceRanges(from, to);
    starts[from] = low;
    ends[from] = high;
    this.#touched[from] = ++this.#arrivals;
    return true;
  }

  /** Makes ranges `[from, to)` into one place (which may mean opening one). */
  #replaceRanges(from: number, to: number): void {
    const shift = from + 1;
    this.#starts!.copyWithin(shift, to, this.rangeCount);
    this.#ends!.copyWithin(shift, to, this.rangeCount);
    this.#touched!.copyWithin(shift, to, this.rangeCount);
    this.rangeCount += shift - to;
  }

  #closeGap(next: number, count: number): number {
    let reached = (next + count) | 0;
    let gone = 0;
    while (gone < this.rangeCount && ((this.#starts![gone] - reached) | 0) <= 0) {
      if (((this.#ends![gone] - reached) | 0) > 0) reached = this.#ends![gone];
      gone++;
    }
    if (gone > 0) {
      this.#starts!.copyWithin(0, gone, this.rangeCount);
      this.#ends!.copyWithin(0, gone, this.rangeCount);
      this.#touched!.copyWithin(0, gone, this.rangeCount);
      this.rangeCount -= gone;
    }
    return (reached - next) | 0;
  }
}
