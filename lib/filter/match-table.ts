/**
 * The compiled rules: whether some rule lets a source reach a protocol and port of a destination.
 *
 * Sources cut the address space into cells. A tree over the cells (a segment tree in an array) has, at few of its
 * nodes, a list of what everybody below may reach; a lookup goes from the source's cell to the root, one node per
 * doubling of the cells. What may be reached is a sorted list of disjoint intervals of one number that holds protocol,
 * destination and port, searched by halving. Destinations are cells too, numbered where they are this device's own.
 *
 * All of it, both families, lies in one piece of memory: about 800 bytes for a rule about a handful of peers.
 */
import { readU32BE } from '../base/bytes.ts';
import { cellOf1, cellOf4 } from './address-index.ts';

/** In place of a protocol: any packet between two addresses, whatever its protocol and ports. */
export const ANY_PROTOCOL = 256;
/** How many protocol numbers there are, {@link ANY_PROTOCOL} included. */
export const PROTOCOLS = 257;
/** Ports of one protocol and destination in the number space of intervals. */
export const PORTS = 65_536;
/**
 * Where a second number space begins, in which ports stand before destinations: few ports of many destinations are few
 * intervals there.
 */
export function crossBase(destinationCount: number): number {
  return PROTOCOLS * destinationCount * PORTS;
}

/** Numbers of one box in {@link ReachSet.boxes}: protocol, first and last destination, first and last port. */
export const BOX_WORDS = 5;

/** What may be reached by somebody. */
export interface ReachSet {
  /** First and last number of each interval, in order. */
  readonly intervals: readonly number[];
  /** What would need too many intervals; looked at one by one. */
  readonly boxes: readonly number[];
}

/** What the compiler makes of one family's rules. */
export interface FamilyTable {
  /** Words of one address: 1 or 4. */
  readonly addressWords: 1 | 4;
  /** Where cells of sources begin. */
  readonly sources: Uint32Array;
  /** Where cells of destinations begin. */
  readonly destinations: Uint32Array;
  /** Number of the destination in each cell, or -1 where it is not this device's. */
  readonly destinationOf: Int32Array;
  readonly destinationCount: number;
  /** Cells of the tree's lowest row: a power of two. */
  readonly leaves: number;
  /** Which sets there are at a node of the tree; nothing for most. Node 1 is the root. */
  readonly nodes: ReadonlyMap<number, readonly number[]>;
  readonly sets: readonly ReachSet[];
}

// A family's head: these words. Those that end in _AT say where in the words an array begins.
/** Points of sources. */
const SOURCES_AT = 0;
const SOURCE_POINTS = 1;
/** Points of destinations. */
const DESTINATIONS_AT = 2;
const DESTINATION_POINTS = 3;
/** For each cell the number of the destination plus 1, or 0. */
const NUMBERS_AT = 4;
const DESTINATION_COUNT = 5;
const LEAVES = 6;
/** For each node 0, or twice where its set is in the words; plus 1 for a list: how many sets, then where each is. */
const NODES_AT = 7;
/** 1 when there are intervals beyond {@link crossBase}. */
const HAS_CROSS = 8;
const HEAD_WORDS = 9;
const HEAD4 = 0;
const HEAD6 = HEAD_WORDS;

// A set: these words. Its end is where the next one begins; behind the last stand words of none.
/** The first of its pairs in the intervals. */
const FIRST_PAIR = 0;
/** Where its boxes begin in the words. */
const FIRST_BOX = 1;
const SET_WORDS = 2;
const END_PAIR = SET_WORDS + FIRST_PAIR;
const END_BOX = SET_WORDS + FIRST_BOX;

/** Answers lookups; immutable. */
export class MatchTable {
  readonly #words: Uint32Array;
  /** The intervals of all sets, in the same memory. */
  readonly #intervals: Float64Array;

  constructor(v4: FamilyTable, v6: FamilyTable) {
    const pairs = pairsOf(v4) + pairsOf(v6);
    const words = 2 * HEAD_WORDS + wordsOf(v4) + wordsOf(v6);
    const memory = new ArrayBuffer(pairs * 16 + words * 4);
    this.#intervals = new Float64Array(memory, 0, pairs * 2);
    this.#words = new Uint32Array(memory, pairs * 16);
    const next = this.#pack(v4, HEAD4, 2 * HEAD_WORDS, 0);
    this.#pack(v6, HEAD6, next, pairsOf(v4));
  }

  /** Writes a family from `words[from]` and the pair `firstPair` on; returns the offset behind it. */
  #pack(table: FamilyTable, head: number, from: number, firstPair: number): number {
    const words = this.#words;
    let at = from;
    const put = (array: ArrayLike<number>): number => {
      words.set(array, at);
      at += array.length;
      return at - array.length;
    };
    words[head + SOURCES_AT] = put(table.sources);
    words[head + SOURCE_POINTS] = table.sources.length / table.addressWords;
    words[head + DESTINATIONS_AT] = put(table.destinations);
    words[head + DESTINATION_POINTS] = table.destinations.length / table.addressWords;
    words[head + NUMBERS_AT] = put(table.destinationOf.map(number => number + 1));
    words[head + DESTINATION_COUNT] = table.destinationCount;
    words[head + LEAVES] = table.leaves;
    const nodes = at;
    words[head + NODES_AT] = nodes;
    at += 2 * table.leaves;
    const base = crossBase(table.destinationCount);
    const sets = at;
    at += SET_WORDS * (table.sets.length + 1);
    let pair = firstPair;
    table.sets.forEach(({ intervals, boxes }, number) => {
      const set = sets + SET_WORDS * number;
      words[set + FIRST_PAIR] = pair;
      words[set + FIRST_BOX] = put(boxes);
      this.#intervals.set(intervals, pair * 2);
      pair += intervals.length / 2;
      words[set + END_PAIR] = pair;
      words[set + END_BOX] = at;
      if (intervals.some(end => end >= base)) words[head + HAS_CROSS] = 1;
    });
    // Nodes with the same sets share the compiler's array of them, and its copy here.
    const lists = new Map<readonly number[], number>();
    for (const [node, numbers] of table.nodes) {
      const places = numbers.map(number => sets + SET_WORDS * number);
      const list = numbers.length === 1 ? undefined : (lists.get(numbers) ?? put([numbers.length, ...places]));
      if (list !== undefined) lists.set(numbers, list);
      words[nodes + node] = list === undefined ? places[0]! * 2 : list * 2 + 1;
    }
    return at;
  }

  /** Bytes of memory that it takes. */
  get heldBytes(): number {
    return this.#words.buffer.byteLength;
  }

  /** Number of the destination at `buf[offset]`, or -1 when it is not this device's. */
  destinationAt(family: 4 | 6, buf: Uint8Array, offset: number): number {
    const words = this.#words;
    const head = family === 4 ? HEAD4 : HEAD6;
    const cell = cellAt(family, words, words[head + DESTINATIONS_AT]!, words[head + DESTINATION_POINTS]!, buf, offset);
    return words[words[head + NUMBERS_AT]! + cell]! - 1;
  }

  /**
   * Whether a rule allows the source at `buf[source]` to reach a destination, by number. `port` is 0 for protocols
   * without ports, which only rules about all ports allow.
   */
  allows(family: 4 | 6, buf: Uint8Array, source: number, destination: number, protocol: number, port: number): boolean {
    const words = this.#words;
    const head = family === 4 ? HEAD4 : HEAD6;
    const cell = cellAt(family, words, words[head + SOURCES_AT]!, words[head + SOURCE_POINTS]!, buf, source);
    const nodes = words[head + NODES_AT]!;
    for (let node = words[head + LEAVES]! + cell; node > 0; node >>>= 1) {
      const what = words[nodes + node]!;
      if (what !== 0 && this.#holds(head, what, destination, protocol, port)) return true;
    }
    return false;
  }

  #holds(head: number, what: number, destination: number, protocol: number, port: number): boolean {
    const at = what >>> 1;
    if ((what & 1) === 0) return this.#setHolds(head, at, destination, protocol, port);
    const words = this.#words;
    for (let i = at + words[at]!; i > at; i--)
      if (this.#setHolds(head, words[i]!, destination, protocol, port)) return true;
    return false;
  }

  #setHolds(head: number, set: number, destination: number, protocol: number, port: number): boolean {
    const words = this.#words;
    const count = words[head + DESTINATION_COUNT]!;
    if (this.#covers(set, (protocol * count + destination) * PORTS + port)) return true;
    const cross = (protocol * PORTS + port) * count + destination;
    if (words[head + HAS_CROSS] === 1 && this.#covers(set, crossBase(count) + cross)) return true;
    return words[set + FIRST_BOX] !== words[set + END_BOX] && this.#boxHolds(set, destination, protocol, port);
  }

  /** Whether an interval of the set has this number in it. */
  #covers(set: number, wanted: number): boolean {
    const intervals = this.#intervals;
    const start = this.#words[set + FIRST_PAIR]!;
    let low = start;
    let high = this.#words[set + END_PAIR]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (intervals[middle * 2]! <= wanted) low = middle + 1;
      else high = middle;
    }
    return low > start && intervals[low * 2 - 1]! >= wanted;
  }

  #boxHolds(set: number, destination: number, protocol: number, port: number): boolean {
    const words = this.#words;
    const end = words[set + END_BOX]!;
    for (let at = words[set + FIRST_BOX]!; at < end; at += BOX_WORDS) {
      const isThere = words[at] === protocol && words[at + 1]! <= destination && destination <= words[at + 2]!;
      if (isThere && words[at + 3]! <= port && port <= words[at + 4]!) return true;
    }
    return false;
  }
}

/** Cell of the address at `buf[offset]`, by the `count` points from `words[at]` on. */
function cellAt(family: 4 | 6, words: Uint32Array, at: number, count: number, buf: Uint8Array, offset: number): number {
  const first = readU32BE(buf, offset);
  if (family === 4) return cellOf1(words, at, count, first);
  const second = readU32BE(buf, offset + 4);
  return cellOf4(words, at, count, first, second, readU32BE(buf, offset + 8), readU32BE(buf, offset + 12));
}

/** How many intervals there are. */
function pairsOf({ sets }: FamilyTable): number {
  return sets.reduce((sum, { intervals }) => sum + intervals.length / 2, 0);
}

/** How many words a family takes beside its head and its intervals. */
function wordsOf({ sources, destinations, destinationOf, leaves, nodes, sets }: FamilyTable): number {
  const arrays = sources.length + destinations.length + destinationOf.length + 2 * leaves;
  const lists = [...new Set(nodes.values())].filter(({ length }) => length > 1);
  const boxes = sets.reduce((sum, set) => sum + set.boxes.length, SET_WORDS * (sets.length + 1));
  return arrays + boxes + lists.reduce((sum, { length }) => sum + 1 + length, 0);
}
