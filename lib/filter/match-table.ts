/**
 * The compiled rules of one address family: whether some rule lets a source reach a protocol and port of a destination.
 *
 * Sources cut the address space into cells. A tree over the cells (a segment tree in an array) has, at few of its
 * nodes, a list of what everybody below may reach; a lookup goes from the source's cell to the root, one node per
 * doubling of the cells. What may be reached is a sorted list of disjoint intervals of one number that holds protocol,
 * destination and port, searched by halving. Destinations are cells too, numbered where they are this device's own.
 */
import type { AddressIndex } from './address-index.ts';

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

/** Numbers of one box in {@link CompiledTable.boxes}: protocol, first and last destination, first and last port. */
export const BOX_WORDS = 5;

/** What the compiler makes; all arrays are final. */
export interface CompiledTable {
  readonly sources: AddressIndex;
  readonly destinations: AddressIndex;
  /** Number of the destination in each cell, or -1 where it is not this device's. */
  readonly destinationOf: Int32Array;
  readonly destinationCount: number;
  /** Cells of the tree's lowest row: a power of two. */
  readonly leaves: number;
  /** For each node: -1 nothing, otherwise a set, or -(place in `lists`) - 2. Node 1 is the root. */
  readonly nodes: Int32Array;
  /** Lists of sets: how many, then which. */
  readonly lists: Int32Array;
  /** Where the intervals of a set begin in `intervals`, in pairs; one more at the end. */
  readonly setStart: Uint32Array;
  /** First and last number of each interval. */
  readonly intervals: Float64Array;
  /** Whether there are intervals beyond {@link crossBase}. */
  readonly hasCross: boolean;
  /** Where the boxes of a set begin, in boxes; one more at the end. */
  readonly boxStart: Uint32Array;
  /** What would need too many intervals; looked at one by one. */
  readonly boxes: Uint32Array;
}

/** Answers lookups; immutable. */
export class MatchTable {
  readonly #table: CompiledTable;

  constructor(table: CompiledTable) {
    this.#table = table;
  }

  /** Bytes of memory that the arrays take. */
  get heldBytes(): number {
    const { sources, destinations, destinationOf, nodes, lists, setStart, intervals, boxStart, boxes } = this.#table;
    const arrays = [destinationOf, nodes, lists, setStart, intervals, boxStart, boxes];
    return sources.heldBytes + destinations.heldBytes + arrays.reduce((sum, array) => sum + array.byteLength, 0);
  }

  /** Number of the destination at `buf[offset]`, or -1 when it is not this device's. */
  destinationAt(buf: Uint8Array, offset: number): number {
    const table = this.#table;
    return table.destinationOf[table.destinations.cellAt(buf, offset)]!;
  }

  /**
   * Whether a rule allows the source at `buf[source]` to reach a destination, by number. `port` is 0 for protocols
   * without ports, which only rules about all ports allow.
   */
  allows(buf: Uint8Array, source: number, destination: number, protocol: number, port: number): boolean {
    const table = this.#table;
    const { nodes } = table;
    for (let node = table.leaves + table.sources.cellAt(buf, source); node > 0; node >>>= 1) {
      const what = nodes[node]!;
      if (what !== -1 && this.#holds(what, destination, protocol, port)) return true;
    }
    return false;
  }

  #holds(what: number, destination: number, protocol: number, port: number): boolean {
    if (what >= 0) return this.#setHolds(what, destination, protocol, port);
    const { lists } = this.#table;
    const at = -what - 2;
    for (let i = at + lists[at]!; i > at; i--) if (this.#setHolds(lists[i]!, destination, protocol, port)) return true;
    return false;
  }

  #setHolds(set: number, destination: number, protocol: number, port: number): boolean {
    const { boxStart, destinationCount, hasCross } = this.#table;
    if (this.#covers(set, (protocol * destinationCount + destination) * PORTS + port)) return true;
    const cross = (protocol * PORTS + port) * destinationCount + destination;
    if (hasCross && this.#covers(set, crossBase(destinationCount) + cross)) return true;
    return boxStart[set] !== boxStart[set + 1] && this.#boxHolds(set, destination, protocol, port);
  }

  /** Whether an interval of the set has this number in it. */
  #covers(set: number, wanted: number): boolean {
    const { intervals, setStart } = this.#table;
    const start = setStart[set]!;
    let low = start;
    let high = setStart[set + 1]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (intervals[middle * 2]! <= wanted) low = middle + 1;
      else high = middle;
    }
    return low > start && intervals[low * 2 - 1]! >= wanted;
  }

  #boxHolds(set: number, destination: number, protocol: number, port: number): boolean {
    const { boxes, boxStart } = this.#table;
    const end = boxStart[set + 1]! * BOX_WORDS;
    for (let at = boxStart[set]! * BOX_WORDS; at < end; at += BOX_WORDS) {
      const isThere = boxes[at] === protocol && boxes[at + 1]! <= destination && destination <= boxes[at + 2]!;
      if (isThere && boxes[at + 3]! <= port && port <= boxes[at + 4]!) return true;
    }
    return false;
  }
}
