/**
 * Wire rules to numbers: texts to ranges of addresses, each text parsed once, within limits.
 *
 * What is malformed is dropped alone and counted, because a rule only ever allows: without it less may come in, never
 * more. That holds for a rule with `SrcBits` or `Bits` too, fields of old versions that widen an address; where
 * tailscaled then refuses the whole filter, here only such a rule is left out.
 */
import type { Prefix } from '../base/address.ts';
import type { FilterLimits } from './limits.ts';
import { lastOfPrefix, parseRanges, RangeList } from './ranges.ts';
import type { WireFilterRule, WireNetPortRange } from './rule.ts';

/** IP protocols of a rule that names none: TCP, UDP, ICMP, ICMPv6. */
const DEFAULT_PROTOCOLS: readonly number[] = Object.freeze([1, 6, 17, 58]);

/** Ports to a range of destinations, of one family. */
export interface ParsedPorts {
  /** Number in the family's list of destinations. */
  readonly range: number;
  readonly first: number;
  readonly last: number;
}

/** One family's part of a rule. */
export interface ParsedSide {
  /** Numbers in the family's list of sources. */
  readonly sources: readonly number[];
  readonly ports: readonly ParsedPorts[];
}

/** A rule of the network. */
export interface ParsedRule {
  /** 1 to 254, each once, in order. */
  readonly protocols: readonly number[];
  readonly v4: ParsedSide;
  readonly v6: ParsedSide;
}

interface Side {
  sources: number[];
  ports: ParsedPorts[];
}

/** Ranges of a text, by family. */
interface Numbers {
  readonly v4: number;
  readonly v6: number;
}

const NONE = -1;

/** Reads rules one by one. */
export class RuleParser {
  readonly sources4 = new RangeList(1);
  readonly sources6 = new RangeList(4);
  readonly destinations4 = new RangeList(1);
  readonly destinations6 = new RangeList(4);
  /** Parts that were dropped for their form. */
  malformed = 0;
  /** Rules that were left out for a limit. */
  overLimit = 0;
  readonly #limits: FilterLimits;
  readonly #holdersOf: (capability: string) => readonly Prefix[];
  readonly #sources = new Map<string, Numbers | undefined>();
  readonly #destinations = new Map<string, Numbers | undefined>();
  #rules = 0;
  #ranges = 0;

  /** `holdersOf` gives the addresses of those who have a capability, for sources `cap:NAME`. */
  constructor(limits: FilterLimits, holdersOf: (capability: string) => readonly Prefix[]) {
    this.#limits = limits;
    this.#holdersOf = holdersOf;
  }

  /** Reads the network part of a rule; undefined when nothing of it is left. */
  parse(rule: WireFilterRule): ParsedRule | undefined {
    const bits = (rule as { SrcBits?: readonly number[] | null }).SrcBits ?? [];
    if (bits.length > 0) return this.#refuse(); // CHECK: filter-source-bits
    const wanted = rule.DstPorts ?? [];
    if (wanted.length === 0) return undefined;
    this.#rules++;
    this.#ranges += rule.SrcIPs.length + wanted.length;
    const isOver = this.#rules > this.#limits.rules || this.#ranges > this.#limits.ranges;
    if (isOver) return this.#leaveOut(); // CHECK: filter-rule-limit
    const protocols = this.#protocolsOf(rule.IPProto ?? []);
    const [v4, v6]: [Side, Side] = [
      { sources: [], ports: [] },
      { sources: [], ports: [] },
    ];
    for (const text of rule.SrcIPs) this.#addSource(text, v4, v6);
    for (const destination of wanted) this.#addPorts(destination, v4, v6);
    return protocols.length === 0 ? undefined : { protocols, v4, v6 };
  }

  #refuse(): undefined {
    this.malformed++;
    return undefined;
  }

  #leaveOut(): undefined {
    this.overLimit++;
    return undefined;
  }

  /** Numbers outside 1 to 254 name nothing that a packet can have and are dropped alone. */
  #protocolsOf(wanted: readonly number[]): readonly number[] {
    if (wanted.length === 0) return DEFAULT_PROTOCOLS;
    const valid = wanted.filter(protocol => Number.isInteger(protocol) && protocol > 0 && protocol < 255);
    this.malformed += wanted.length - valid.length;
    return [...new Set(valid)].sort((a, b) => a - b);
  }

  #addSource(text: string, v4: Side, v6: Side): void {
    if (text.startsWith('cap:')) {
      for (const holder of this.#holdersOf(text.slice(4))) this.#addHolder(holder, v4, v6);
      return;
    }
    const numbers = this.#numbersOf(text, this.#sources, this.sources4, this.sources6);
    if (numbers === undefined) return void this.malformed++;
    if (numbers.v4 !== NONE) v4.sources.push(numbers.v4);
    if (numbers.v6 !== NONE) v6.sources.push(numbers.v6);
  }

  #addHolder({ bytes, bits }: Prefix, v4: Side, v6: Side): void {
    const range = { first: bytes, last: lastOfPrefix(bytes, bits) };
    this.#ranges++;
    if (this.#ranges > this.#limits.ranges) return void this.overLimit++; // CHECK: filter-holder-limit
    if (bytes.length === 4) v4.sources.push(this.sources4.add(range));
    else v6.sources.push(this.sources6.add(range));
  }

  #addPorts(wanted: WireNetPortRange, v4: Side, v6: Side): void {
    const { First: first, Last: last } = wanted.Ports;
    const hasBits = ((wanted as { Bits?: number | null }).Bits ?? null) !== null;
    if (hasBits) return void this.malformed++; // CHECK: filter-destination-bits
    const isRange = Number.isInteger(first) && Number.isInteger(last) && first >= 0 && last <= 65_535 && first <= last;
    if (!isRange) return void this.malformed++; // CHECK: filter-port-range
    const numbers = this.#numbersOf(wanted.IP, this.#destinations, this.destinations4, this.destinations6);
    if (numbers === undefined) return void this.malformed++;
    if (numbers.v4 !== NONE) v4.ports.push({ range: numbers.v4, first, last });
    if (numbers.v6 !== NONE) v6.ports.push({ range: numbers.v6, first, last });
  }

  #numbersOf(text: string, known: Map<string, Numbers | undefined>, v4: RangeList, v6: RangeList): Numbers | undefined {
    if (known.has(text)) return known.get(text);
    const ranges = parseRanges(text);
    const out = { v4: NONE, v6: NONE };
    for (const range of ranges ?? []) {
      if (range.first.length === 4) out.v4 = v4.add(range);
      else out.v6 = v6.add(range);
    }
    const numbers = ranges === undefined ? undefined : out;
    known.set(text, numbers);
    return numbers;
  }
}
