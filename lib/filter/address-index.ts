/**
 * Sorted addresses that cut the address space of one family into cells, and the search for an address's cell.
 *
 * Cell 0 begins at the lowest address; each point begins another one. A search takes log2(points) steps and
 * allocates nothing.
 */
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

/** Cells of one family, for the compiler. */
export class AddressIndex {
  /** As {@link PointCollector.sorted} gives them. */
  readonly points: Uint32Array;
  readonly #words: 1 | 4;

  constructor(words: 1 | 4, points: Uint32Array) {
    this.#words = words;
    this.points = points;
  }

  /** How many cells there are: at least one. */
  get cells(): number {
    return this.points.length / this.#words + 1;
  }

  /** Cell of the address in `words[at]`. */
  cellOf(words: readonly number[], at: number): number {
    const { points } = this;
    if (this.#words === 1) return cellOf1(points, 0, points.length, words[at]!);
    return cellOf4(points, 0, points.length / 4, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
  }
}

/** Cell of an IPv4 address, by the `count` points from `words[at]` on. */
export function cellOf1(words: Uint32Array, at: number, count: number, address: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (words[at + middle]! <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Cell of the IPv6 address of the words `a` to `d`, by the `count` points from `words[at]` on. */
export function cellOf4(
  words: Uint32Array,
  at: number,
  count: number,
  a: number,
  b: number,
  c: number,
  d: number,
): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const point = at + middle * 4;
    let difference = words[point]! - a;
    if (difference === 0) difference = words[point + 1]! - b;
    if (difference === 0) difference = words[point + 2]! - c;
    if (difference === 0) difference = words[point + 3]! - d;
    if (difference <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
