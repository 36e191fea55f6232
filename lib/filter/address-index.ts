/**
 * Sorted addresses that cut the address space of one family into cells, and the search for an address's cell.
 *
 * Cell 0 begins at the lowest address; each point begins another one. A search reads a packet's bytes in place, takes
 * log2(points) steps and allocates nothing.
 */
import { readU32BE } from '../base/bytes.ts';
import type { RangeList } from './ranges.ts';

type Words = ArrayLike<number>;

/** Collects the points at which cells begin. */
export class PointCollector {
  readonly words: 1 | 4;
  readonly #points: number[] = [];

  constructor(words: 1 | 4) {
    this.words = words;
  }

  /** A cell begins at the address in `words[at]`; nothing changes for the lowest address, where one begins anyway. */
  addFirst(words: readonly number[], at: number): void {
    for (let i = 0; i < this.words; i++) {
      if (words[at + i] === 0) continue;
      for (let j = 0; j < this.words; j++) this.#points.push(words[at + j]!);
      return;
    }
  }

  /** A cell begins behind the address in `words[at]`; nothing changes for the highest address. */
  addBehind(words: readonly number[], at: number): void {
    const next = words.slice(at, at + this.words);
    for (let i = this.words - 1; i >= 0; i--) {
      next[i] = (next[i]! + 1) % 0x1_0000_0000;
      if (next[i] !== 0) return void this.#points.push(...next);
    }
  }

  /** Both ends of a range. */
  addRange(list: RangeList, number: number): void {
    this.addFirst(list.data, list.firstAt(number));
    this.addBehind(list.data, list.lastAt(number));
  }

  /** The points in order, each once. */
  sorted(): Uint32Array {
    const { words } = this;
    const points = this.#points;
    if (words === 1) return withoutRepeats(Uint32Array.from(points).sort(), 1);
    const order = new Uint32Array(points.length / 4).map((_, i) => i * 4);
    order.sort((a, b) => compareWords(points, a, points, b, 4));
    const sorted = new Uint32Array(points.length);
    for (let i = 0; i < points.length; i++) sorted[i] = points[order[i >> 2]! + (i & 3)]!;
    return withoutRepeats(sorted, 4);
  }
}

/** A copy of sorted addresses, each once. */
function withoutRepeats(sorted: Uint32Array, words: 1 | 4): Uint32Array {
  let end = 0;
  for (let at = 0; at < sorted.length; at += words) {
    if (end > 0 && compareWords(sorted, at, sorted, end - words, words) === 0) continue;
    sorted.copyWithin(end, at, at + words);
    end += words;
  }
  return sorted.slice(0, end);
}

function compareWords(a: Words, aAt: number, b: Words, bAt: number, words: number): number {
  for (let i = 0; i < words; i++) if (a[aAt + i] !== b[bAt + i]) return a[aAt + i]! - b[bAt + i]!;
  return 0;
}

/** Cells of one family. */
export class AddressIndex {
  readonly #words: 1 | 4;
  readonly #points: Uint32Array;
  readonly #count: number;

  /** `points` as {@link PointCollector.sorted} gives them. */
  constructor(words: 1 | 4, points: Uint32Array) {
    this.#words = words;
    this.#points = points;
    this.#count = points.length / words;
  }

  /** How many cells there are: at least one. */
  get cells(): number {
    return this.#count + 1;
  }

  /** Bytes that the points take. */
  get heldBytes(): number {
    return this.#points.length * 4;
  }

  /** Cell of the address at `buf[offset]`, which is of this family. */
  cellAt(buf: Uint8Array, offset: number): number {
    const first = readU32BE(buf, offset);
    if (this.#words === 1) return this.#search1(first);
    return this.#search4(first, readU32BE(buf, offset + 4), readU32BE(buf, offset + 8), readU32BE(buf, offset + 12));
  }

  /** Cell of the address in `words[at]`. */
  cellOf(words: readonly number[], at: number): number {
    if (this.#words === 1) return this.#search1(words[at]!);
    return this.#search4(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
  }

  #search1(address: number): number {
    const points = this.#points;
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (points[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #search4(a: number, b: number, c: number, d: number): number {
    const points = this.#points;
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = middle * 4;
      let difference = points[at]! - a;
      if (difference === 0) difference = points[at + 1]! - b;
      if (difference === 0) difference = points[at + 2]! - c;
      if (difference === 0) difference = points[at + 3]! - d;
      if (difference <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
