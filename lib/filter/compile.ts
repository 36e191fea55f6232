/**
 * Compiles the rules of one family into a {@link FamilyTable}. Rules that allow the same are merged first, so that a
 * policy with one rule per person costs one set of ports; where many sets meet at a node of the tree they are merged
 * as far as the limit allows, and looked at one by one beyond it.
 */
import type { Prefix } from '../base/address.ts';
import { AddressIndex, PointCollector } from './address-index.ts';
import { ANY_PROTOCOL, BOX_WORDS, crossBase, type FamilyTable, PORTS, type ReachSet } from './match-table.ts';
import { lastOfPrefix, RangeList } from './ranges.ts';
import type { ParsedPorts, ParsedRule, ParsedSide } from './rule-parser.ts';

const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const PROTOCOL_SCTP = 132;
/** A box is cut into at most so many intervals; one that is wide both ways stays whole. */
const MAX_CUTS = 8;
/** So few sets at one node are looked at one by one. */
const MAX_UNMERGED = 3;

/** What is counted against {@link FilterLimits.pieces}, for both families. */
export interface PieceBudget {
  left: number;
  /** Rules that were left out because nothing was left. */
  overLimit: number;
}

/** One set of what may be reached: pairs of first and last number, and boxes. */
interface Reach {
  readonly intervals: number[];
  readonly boxes: number[];
  /** Cells of the sources, as pairs of first and last. */
  readonly cells: number[];
  readonly sources: Set<number>;
}

/** What {@link compileTable} takes. */
export interface CompileInput {
  readonly rules: readonly ParsedRule[];
  readonly sideOf: (rule: ParsedRule) => ParsedSide;
  readonly sources: RangeList;
  readonly destinations: RangeList;
  /** This device's own addresses and routes; those of the other family are passed over. */
  readonly self: readonly Prefix[];
  readonly budget: PieceBudget;
}

/** Compiles the rules of the family whose addresses have `sources.words` words. */
export function compileTable(input: CompileInput): FamilyTable {
  const own = new OwnDestinations(input);
  const reaches = collectReaches(input, own);
  const points = new PointCollector(input.sources.words);
  for (const { sources } of reaches) for (const number of sources) points.addRange(input.sources, number);
  const sources = new AddressIndex(input.sources.words, points.sorted());
  let leaves = 1;
  while (leaves < sources.cells) leaves *= 2;
  for (const reach of reaches) placeSources(reach, input.sources, sources, leaves);
  const tree = new TreeBuilder(leaves, input.budget);
  for (const reach of reaches) tree.add(reach);
  return {
    addressWords: input.sources.words,
    sources: sources.points,
    destinations: own.index.points,
    destinationOf: own.numbers,
    destinationCount: own.count,
    leaves,
    ...tree.finish(),
  };
}

/** This device's own destinations, cut where rules begin and end, and numbered in their order. */
class OwnDestinations {
  readonly index: AddressIndex;
  readonly numbers: Int32Array;
  readonly count: number;
  /** How many own cells lie below each cell; one more at the end. */
  readonly #before: Uint32Array;
  readonly #list: RangeList;

  constructor(input: CompileInput) {
    const { words } = input.destinations;
    this.#list = input.destinations;
    const self = new RangeList(words);
    for (const { bytes, bits } of input.self)
      if (bytes.length === words * 4) self.add({ first: bytes, last: lastOfPrefix(bytes, bits) });
    const borders = new PointCollector(words);
    const points = new PointCollector(words);
    for (let i = 0; i < self.size; i++) borders.addRange(self, i);
    for (let i = 0; i < self.size; i++) points.addRange(self, i);
    const coarse = new AddressIndex(words, borders.sorted());
    const isOwn = markCells(coarse, self);
    for (const number of usedDestinations(input)) {
      const { data } = this.#list;
      const [first, last] = [this.#list.firstAt(number), this.#list.lastAt(number)];
      if (isOwn[coarse.cellOf(data, first)] === 1) points.addFirst(data, first);
      if (isOwn[coarse.cellOf(data, last)] === 1) points.addBehind(data, last);
    }
    this.index = new AddressIndex(words, points.sorted());
    this.numbers = new Int32Array(this.index.cells).fill(-1);
    this.#before = new Uint32Array(this.index.cells + 1);
    const own = markCells(this.index, self);
    let count = 0;
    for (let cell = 0; cell < own.length; cell++) {
      if (own[cell] === 1) this.numbers[cell] = count++;
      this.#before[cell + 1] = count;
    }
    this.count = count;
  }

  /** First and last own destination in a range, by number; the first is greater when there is none. */
  span(range: number): readonly [number, number] {
    const { data } = this.#list;
    const first = this.#before[this.index.cellOf(data, this.#list.firstAt(range))]!;
    const behind = this.#before[this.index.cellOf(data, this.#list.lastAt(range)) + 1]!;
    return [first, behind - 1];
  }
}

function usedDestinations(input: CompileInput): Set<number> {
  const used = new Set<number>();
  for (const rule of input.rules) for (const { range } of input.sideOf(rule).ports) used.add(range);
  return used;
}

/** 1 for each cell that a range covers; ranges begin and end where cells do. */
function markCells(index: AddressIndex, list: RangeList): Uint8Array {
  const marks = new Uint8Array(index.cells);
  for (let i = 0; i < list.size; i++) {
    const first = index.cellOf(list.data, list.firstAt(i));
    marks.fill(1, first, index.cellOf(list.data, list.lastAt(i)) + 1);
  }
  return marks;
}

/** One reach for all rules that allow the same. */
function collectReaches(input: CompileInput, own: OwnDestinations): Reach[] {
  const reaches = new Map<string, Reach>();
  for (const rule of input.rules) {
    const { sources, ports } = input.sideOf(rule);
    const boxes = boxesOf(ports, own);
    if (sources.length === 0 || boxes.length === 0) continue;
    const key = `${rule.protocols}/${boxes}`;
    let reach = reaches.get(key);
    if (reach === undefined) {
      reach = reachOf(rule.protocols, boxes, own.count, input.budget);
      if (reach === undefined) continue;
      reaches.set(key, reach);
    }
    for (const source of sources) reach.sources.add(source);
  }
  return [...reaches.values()];
}

/** Distinct destinations and ports: first and last destination, first and last port, four numbers each, in order. */
function boxesOf(ports: readonly ParsedPorts[], own: OwnDestinations): number[] {
  if (ports.length === 1) {
    const [from, to] = own.span(ports[0]!.range);
    return from <= to ? [from, to, ports[0]!.first, ports[0]!.last] : [];
  }
  const distinct = new Map<string, number[]>();
  for (const { range, first, last } of ports) {
    const [from, to] = own.span(range);
    if (from <= to) distinct.set(`${from} ${to} ${first} ${last}`, [from, to, first, last]);
  }
  const boxes = [...distinct.values()].sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]! || a[2]! - b[2]! || a[3]! - b[3]!);
  return boxes.flat();
}

/** Undefined when it does not fit into the budget. */
function reachOf(
  protocols: readonly number[],
  boxes: readonly number[],
  count: number,
  budget: PieceBudget,
): Reach | undefined {
  const cuts = boxes.reduce((sum, _, at) => (at % 4 === 0 ? sum + cutsOf(boxes, at) : sum), 0);
  const most = boxes.length / 4 + cuts * protocols.length;
  if (most > budget.left) return void budget.overLimit++; // CHECK: filter-piece-limit
  const out: Reach = { intervals: [], boxes: [], cells: [], sources: new Set() };
  for (let at = 0; at < boxes.length; at += 4) {
    const [from, to, first, last] = [boxes[at]!, boxes[at + 1]!, boxes[at + 2]!, boxes[at + 3]!];
    const isAll = first === 0 && last === PORTS - 1;
    addSpan(out, ANY_PROTOCOL, from, to, 0, PORTS - 1, count);
    for (const protocol of protocols) {
      const hasPorts = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
      // ICMP goes by addresses alone, and is not asked for here; that of the other family is like any other protocol,
      // which needs a rule about all ports.
      if (hasPorts || isAll) addSpan(out, protocol, from, to, first, last, count);
    }
  }
  const merged = mergeIntervals(out.intervals);
  budget.left -= merged.length / 2 + out.boxes.length / BOX_WORDS;
  return { ...out, intervals: merged };
}

/** At most how many intervals a box becomes for one protocol. */
function cutsOf(boxes: readonly number[], at: number): number {
  const destinations = boxes[at + 1]! - boxes[at]! + 1;
  const ports = boxes[at + 3]! - boxes[at + 2]! + 1;
  const least = Math.min(destinations, ports);
  return ports === PORTS || least > MAX_CUTS ? 1 : least;
}

function addSpan(
  out: Reach,
  protocol: number,
  from: number,
  to: number,
  first: number,
  last: number,
  count: number,
): void {
  const base = protocol * count;
  if (first === 0 && last === PORTS - 1) {
    out.intervals.push((base + from) * PORTS, (base + to) * PORTS + last);
  } else if (to - from >= MAX_CUTS && last - first >= MAX_CUTS) {
    out.boxes.push(protocol, from, to, first, last);
  } else if (to - from > last - first) {
    const cross = crossBase(count) + protocol * PORTS * count;
    for (let port = first; port <= last; port++)
      out.intervals.push(cross + port * count + from, cross + port * count + to);
  } else {
    for (let i = from; i <= to; i++) out.intervals.push((base + i) * PORTS + first, (base + i) * PORTS + last);
  }
}

/** Pairs of first and last, sorted, with those that overlap or touch made one. */
function mergeIntervals(pairs: readonly number[]): number[] {
  if (pairs.length <= 2) return [...pairs];
  const order = Array.from({ length: pairs.length / 2 }, (_, i) => i * 2);
  order.sort((a, b) => pairs[a]! - pairs[b]!);
  const out: number[] = [];
  for (const at of order) {
    const end = out.length - 1;
    if (end > 0 && pairs[at]! <= out[end]! + 1) out[end] = Math.max(out[end]!, pairs[at + 1]!);
    else out.push(pairs[at]!, pairs[at + 1]!);
  }
  return out;
}

/** Turns the ranges of a reach's sources into cells of the tree. */
function placeSources(reach: Reach, list: RangeList, index: AddressIndex, leaves: number): void {
  const pairs: number[] = [];
  for (const number of reach.sources) {
    const last = index.cellOf(list.data, list.lastAt(number));
    // The highest cell goes to the end of the row, so that a range of everything is the root alone.
    pairs.push(index.cellOf(list.data, list.firstAt(number)), last === index.cells - 1 ? leaves - 1 : last);
  }
  reach.cells.push(...mergeIntervals(pairs));
}

/** Puts sets on the nodes of the tree. */
class TreeBuilder {
  readonly #leaves: number;
  readonly #budget: PieceBudget;
  readonly #at: Map<number, number[]> = new Map();
  readonly #sets: ReachSet[] = [];

  constructor(leaves: number, budget: PieceBudget) {
    this.#leaves = leaves;
    this.#budget = budget;
  }

  /** Adds a reach to the nodes that cover its cells exactly. */
  add(reach: Reach): void {
    const set = this.#sets.push(reach) - 1;
    for (let i = 0; i < reach.cells.length; i += 2) {
      let low = reach.cells[i]! + this.#leaves;
      let high = reach.cells[i + 1]! + this.#leaves + 1;
      for (; low < high; low >>>= 1, high >>>= 1) {
        if ((low & 1) === 1) this.#put(low++, set);
        if ((high & 1) === 1) this.#put(--high, set);
      }
    }
  }

  #put(node: number, set: number): void {
    if (this.#budget.left <= 0) return void this.#budget.overLimit++; // CHECK: filter-entry-limit
    this.#budget.left--;
    const sets = this.#at.get(node);
    if (sets === undefined) this.#at.set(node, [set]);
    else sets.push(set);
  }

  /** The sets, and which of them are at each node; nodes with the same ones share an array. */
  finish(): Pick<FamilyTable, 'nodes' | 'sets'> {
    const known = new Map<string, number[]>();
    for (const [node, sets] of this.#at) {
      const key = sets.join(' ');
      const what = known.get(key) ?? this.#combine(sets);
      known.set(key, what);
      this.#at.set(node, what);
    }
    return { nodes: this.#at, sets: this.#sets };
  }

  /** One set for several, or all of them when they are few or the merged one would be too large. */
  #combine(sets: number[]): number[] {
    const pairs = sets.reduce((sum, set) => sum + this.#sets[set]!.intervals.length, 0) / 2;
    const boxes = sets.reduce((sum, set) => sum + this.#sets[set]!.boxes.length, 0) / BOX_WORDS;
    if (sets.length <= MAX_UNMERGED || pairs + boxes > this.#budget.left) return sets;
    this.#budget.left -= pairs + boxes;
    const intervals = mergeIntervals(sets.flatMap(set => this.#sets[set]!.intervals));
    const joined = sets.flatMap(set => this.#sets[set]!.boxes);
    return [this.#sets.push({ intervals, boxes: joined }) - 1];
  }
}
