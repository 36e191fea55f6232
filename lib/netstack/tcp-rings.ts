/**
 * Byte rings of a connection: what waits to be sent or acknowledged, and what was received and waits to be read,
 * out-of-order parts included.
 *
 * A ring has no memory until bytes arrive, starts at a small size, doubles on demand within a shared budget, and gives
 * its memory back when told to. Copies go through `TypedArray.set`; nothing here looks at single bytes.
 */
import { copyBytes, NO_BYTES } from '../base/bytes.ts';

/** Numbers that are kept of a range beyond a gap. */
const RANGE_WORDS = 3;

/** What rings are limited by: the fields of TcpLimits with these names. */
export interface RingLimits {
  readonly totalBufferBytes: number;
  readonly ringBytes: number;
  readonly idleRingBytes: number;
  readonly outOfOrderRanges: number;
}

/** Bytes that all rings of one machine may have on top of their first sizes. */
export class MemoryBudget {
  /** Bytes granted at present. */
  usedBytes = 0;
  readonly limits: RingLimits;

  constructor(limits: RingLimits) {
    this.limits = limits;
  }

  /** Most bytes that may be granted. */
  get limitBytes(): number {
    return this.limits.totalBufferBytes;
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
  protected bytes: Uint8Array = NO_BYTES;
  protected head = 0;
  /** Undefined once the ring has given it back for good. */
  protected budget: MemoryBudget | undefined;

  /** The first size, which the budget's limits name, is always granted. */
  constructor(budget: MemoryBudget) {
    this.budget = budget;
  }

  /** Bytes of memory that the ring holds now. */
  get capacity(): number {
    return this.bytes.length;
  }

  /** Makes room for `needed` bytes from the head on; `span` of them are in use and kept. False when denied. */
  protected grow(needed: number, span: number): boolean {
    const budget = this.budget!;
    let size = budget.limits.ringBytes;
    const had = Math.max(this.capacity, size);
    while (size < needed) size *= 2;
    if (size > had && !budget.take(size - had)) return false;
    const bytes = new Uint8Array(size);
    if (span > 0) this.copyOut(0, span, bytes, 0);
    this.bytes = bytes;
    this.head = 0;
    return true;
  }

  /** Frees the memory; whatever is in the ring is lost. */
  protected free(): void {
    if (this.bytes.length === 0) return;
    this.#giveBack();
    this.bytes = NO_BYTES;
    this.head = 0;
  }

  /** The ring has become empty: a small one is not worth keeping. */
  protected onEmpty(): void {
    this.head = 0;
    if (this.budget !== undefined && this.bytes.length <= this.budget.limits.idleRingBytes) this.free();
  }

  /** Gives the budget back and keeps the bytes: the connection is gone, but somebody may still read. */
  detach(): void {
    if (this.bytes.length > 0) this.#giveBack();
    this.budget = undefined;
  }

  #giveBack(): void {
    this.budget?.give(this.bytes.length - this.budget.limits.ringBytes);
  }

  /** Copies `length` bytes at `offset` from the head to `target[at, ...)`. */
  copyOut(offset: number, length: number, target: Uint8Array, at: number): void {
    const { bytes } = this;
    const from = (this.head + offset) & (bytes.length - 1);
    const first = bytes.length - from;
    if (length <= first) copyBytes(target, at, bytes, from, from + length);
    else {
      copyBytes(target, at, bytes, from, bytes.length);
      copyBytes(target, at + first, bytes, 0, length - first);
    }
  }

  /** Copies `source[start, end)` in at `offset` from the head. */
  protected copyIn(offset: number, source: Uint8Array, start: number, end: number): void {
    const { bytes } = this;
    const to = (this.head + offset) & (bytes.length - 1);
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
      if (this.bytes.length === 0) this.grow(1, 0);
      take = Math.min(take, this.capacity - this.length);
    }
    if (take > 0) this.copyIn(this.length, source, start, start + take);
    this.length += take;
    return take;
  }

  /** Drops `count` acknowledged bytes at the head. */
  discard(count: number): void {
    this.length -= count;
    if (this.length > 0) this.head = (this.head + count) & (this.bytes.length - 1);
    else this.onEmpty();
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
  /**
   * Start, end and time of arrival of each range, made with the first gap. The last is when a segment touched the range
   * last, as a number in order: SACK names the latest first (RFC 2018 §4).
   */
  #ranges: Int32Array | undefined = undefined;

  /** Start of range `i` in sequence numbers. */
  rangeStart(i: number): number {
    return this.#ranges![RANGE_WORDS * i];
  }

  /** End of range `i` in sequence numbers. */
  rangeEnd(i: number): number {
    return this.#ranges![RANGE_WORDS * i + 1];
  }

  /** Order of arrival of the last segment that touched range `i`; larger is later. */
  rangeTouched(i: number): number {
    return this.#ranges![RANGE_WORDS * i + 2];
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
    if (this.readableBytes > 0 || this.rangeCount > 0) this.head = (this.head + count) & (this.bytes.length - 1);
    else this.onEmpty();
  }

  /** Frees the memory if nothing is in the ring. */
  trim(): void {
    if (this.readableBytes > 0 || this.rangeCount > 0) return;
    this.free();
    this.#ranges = undefined;
  }

  /** Forgets the ranges beyond gaps (nobody will fill them any more). */
  dropRanges(): void {
    this.rangeCount = 0;
  }

  /** Whether a range covers `[start, end)` whole. */
  covers(start: number, end: number): boolean {
    for (let i = 0; i < this.rangeCount; i++)
      if (((start - this.rangeStart(i)) | 0) >= 0 && ((end - this.rangeEnd(i)) | 0) <= 0) return true;
    return false;
  }

  #reach(needed: number, next: number): boolean {
    if (needed <= this.capacity) return true;
    const beyond = this.rangeCount === 0 ? 0 : (this.rangeEnd(this.rangeCount - 1) - next) | 0;
    return this.grow(needed, this.readableBytes + beyond);
  }

  #addRange(start: number, end: number): boolean {
    const most = this.budget!.limits.outOfOrderRanges;
    const ranges = (this.#ranges ??= new Int32Array(RANGE_WORDS * most));
    let from = 0;
    while (from < this.rangeCount && ((this.rangeEnd(from) - start) | 0) < 0) from++;
    let to = from;
    let low = start;
    let high = end;
    while (to < this.rangeCount && ((this.rangeStart(to) - end) | 0) <= 0) {
      if (((this.rangeStart(to) - low) | 0) < 0) low = this.rangeStart(to);
      if (((this.rangeEnd(to) - high) | 0) > 0) high = this.rangeEnd(to);
      to++;
    }
    if (from === to && this.rangeCount === most) return false;
    let latest = 0;
    for (let i = 0; i < this.rangeCount; i++) latest = Math.max(latest, this.rangeTouched(i));
    this.#moveRanges(to, from + 1);
    ranges[RANGE_WORDS * from] = low;
    ranges[RANGE_WORDS * from + 1] = high;
    ranges[RANGE_WORDS * from + 2] = latest + 1;
    return true;
  }

  /** Moves the ranges from place `from` on to place `to`, over those before it or away from them. */
  #moveRanges(from: number, to: number): void {
    this.#ranges!.copyWithin(RANGE_WORDS * to, RANGE_WORDS * from, RANGE_WORDS * this.rangeCount);
    this.rangeCount += to - from;
  }

  #closeGap(next: number, count: number): number {
    let reached = (next + count) | 0;
    let gone = 0;
    while (gone < this.rangeCount && ((this.rangeStart(gone) - reached) | 0) <= 0) {
      if (((this.rangeEnd(gone) - reached) | 0) > 0) reached = this.rangeEnd(gone);
      gone++;
    }
    if (gone > 0) this.#moveRanges(gone, 0);
    return (reached - next) | 0;
  }
}
