/**
 * Sets of IP addresses: sorted ranges that neither overlap nor touch. An address is a text of fixed length (`4` or `6`
 * and its hex digits), so that addresses compare as texts and IPv4 never meets IPv6 by accident: `::ffff:1.2.3.4` and
 * `1.2.3.4` are the same address here, the IPv4 one (RFC 4291 §2.5.5.2).
 */
import { formatAddress, parseAddress, type Prefix } from '../base/address.ts';
import { fromHex, toHex } from '../base/bytes.ts';

/** `4` and 8 hex digits, or `6` and 32. */
export type IpKey = string;

/** First and last address, of one family. */
export type IpRange = readonly [IpKey, IpKey];

const MAPPED = '600000000000000000000ffff';

/** An address as a key; one in IPv4-mapped form is the IPv4 address. */
export function keyOfAddress(bytes: Uint8Array): IpKey {
  if (bytes.length === 4) return `4${toHex(bytes)}`;
  const key = `6${toHex(bytes)}`;
  return key.startsWith(MAPPED) ? `4${key.slice(MAPPED.length)}` : key;
}

/** The key of an address text, or undefined when it is none. */
export function parseKey(text: string): IpKey | undefined {
  const bytes = parseAddress(text);
  return bytes === undefined ? undefined : keyOfAddress(bytes);
}

/** The range of a prefix; one inside ::ffff:0:0/96 is an IPv4 prefix. */
export function rangeOfPrefix({ bytes, bits }: Prefix): IpRange {
  const last = bytes.slice();
  for (let i = bits; i < last.length * 8; i++) last[i >> 3]! |= 0x80 >> (i & 7);
  const isMapped = bytes.length === 16 && bits >= 96;
  if (bytes.length === 4 || isMapped) return [keyOfAddress(bytes), keyOfAddress(last)];
  return [`6${toHex(bytes)}`, `6${toHex(last)}`];
}

/** The address of a key in its canonical form. */
export function formatKey(key: IpKey): string {
  return formatAddress(fromHex(key.slice(1))!);
}

/** A set that never changes. */
export class IpSet {
  /** Sorted, IPv4 first. */
  readonly ranges: readonly IpRange[];
  #texts: readonly string[] | undefined;
  #id: string | undefined;

  private constructor(ranges: readonly IpRange[]) {
    this.ranges = ranges;
  }

  /** The union of ranges in any order. */
  static of(ranges: Iterable<IpRange>): IpSet {
    const sorted = [...ranges].sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    const out: [IpKey, IpKey][] = [];
    for (const [first, last] of sorted) {
      const end = out[out.length - 1];
      const touches = end !== undefined && (first <= end[1] || next(end[1]) === first);
      if (!touches) out.push([first, last]);
      else if (last > end[1]) end[1] = last;
    }
    return new IpSet(out);
  }

  /** Whether nothing is in it. */
  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  /** Whether an address is in it. */
  has(key: IpKey): boolean {
    return this.overlaps([key, key]);
  }

  /** Whether any address of a range is in it. */
  overlaps([first, last]: IpRange): boolean {
    const at = this.#firstEndingAt(first);
    const range = this.ranges[at];
    return range !== undefined && range[0] <= last;
  }

  /** The addresses that are in both. */
  intersect(other: IpSet): IpSet {
    const out: IpRange[] = [];
    let [i, j] = [0, 0];
    while (i < this.ranges.length && j < other.ranges.length) {
      const [a, b] = [this.ranges[i]!, other.ranges[j]!];
      const first = higher(a[0], b[0]);
      const last = higher(a[1], b[1]) === a[1] ? b[1] : a[1];
      if (first <= last) out.push([first, last]);
      if (a[1] < b[1]) i++;
      else j++;
    }
    return new IpSet(out);
  }

  /** The addresses of this that are not in the other. */
  minus(other: IpSet): IpSet {
    const out: IpRange[] = [];
    for (const [first, last] of this.ranges) {
      let from: IpKey | undefined = first;
      for (let i = other.#firstEndingAt(first); from !== undefined; i++) {
        const hole = other.ranges[i];
        if (hole === undefined || hole[0] > last) break;
        if (hole[0] > from) out.push([from, before(hole[0])]);
        from = hole[1] >= last ? undefined : next(hole[1])!;
      }
      if (from !== undefined) out.push([from, last]);
    }
    return new IpSet(out);
  }

  /** This and one address more. Texts that are known stay known. */
  with(key: IpKey): IpSet {
    const at = this.#firstEndingAt(key);
    const here = this.ranges[at];
    if (here !== undefined && here[0] <= key) return this;
    const left = this.ranges[at - 1];
    const joinsLeft = left !== undefined && next(left[1]) === key;
    const joinsRight = here !== undefined && next(key) === here[0];
    const range: IpRange = [joinsLeft ? left[0] : key, joinsRight ? here[1] : key];
    return this.#splice(at - Number(joinsLeft), Number(joinsLeft) + Number(joinsRight), [range]);
  }

  /** This without one address. Texts that are known stay known. */
  without(key: IpKey): IpSet {
    const at = this.#firstEndingAt(key);
    const here = this.ranges[at];
    if (here === undefined || here[0] > key) return this;
    const rest: IpRange[] = [];
    if (here[0] < key) rest.push([here[0], before(key)]);
    if (key < here[1]) rest.push([next(key)!, here[1]]);
    return this.#splice(at, 1, rest);
  }

  /** As texts of filter rules: addresses, prefixes without host bits, ranges `a-b`. Made once. */
  get texts(): readonly string[] {
    this.#texts ??= this.ranges.map(textOf);
    return this.#texts;
  }

  /** Equal sets have equal ids. */
  get id(): string {
    this.#id ??= this.ranges.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join();
    return this.#id;
  }

  #splice(at: number, count: number, ranges: readonly IpRange[]): IpSet {
    const spliced = <T>(list: readonly T[], items: readonly T[]): T[] => {
      const out = list.slice();
      out.splice(at, count, ...items);
      return out;
    };
    const set = new IpSet(spliced(this.ranges, ranges));
    if (this.#texts !== undefined) set.#texts = spliced(this.#texts, ranges.map(textOf));
    return set;
  }

  #firstEndingAt(key: IpKey): number {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ranges[middle]![1] < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function higher(a: IpKey, b: IpKey): IpKey {
  if (a > b) return a;
  return b;
}

/** The address behind, or undefined at the end of the family. */
function next(key: IpKey): IpKey | undefined {
  for (let at = key.length - 1; at > 0; at--) {
    if (key[at] === 'f') continue;
    const digit = (Number.parseInt(key[at]!, 16) + 1).toString(16);
    return key.slice(0, at) + digit + '0'.repeat(key.length - at - 1);
  }
  return undefined;
}

/** The address before; there is one. */
function before(key: IpKey): IpKey {
  let at = key.length - 1;
  while (key[at] === '0') at--;
  const digit = (Number.parseInt(key[at]!, 16) - 1).toString(16);
  return key.slice(0, at) + digit + 'f'.repeat(key.length - at - 1);
}

function textOf([first, last]: IpRange): string {
  if (first === last) return formatKey(first);
  const bits = prefixBits(first, last);
  return bits === undefined ? `${formatKey(first)}-${formatKey(last)}` : `${formatKey(first)}/${bits}`;
}

/** Length of the prefix that is exactly this range, if one is. */
function prefixBits(first: IpKey, last: IpKey): number | undefined {
  let at = 1;
  while (first[at] === last[at]) at++;
  const low = Number.parseInt(first[at]!, 16);
  const span = low ^ Number.parseInt(last[at]!, 16);
  const isWhole = (span & (span + 1)) === 0 && (low & span) === 0;
  const rest = first.length - at - 1;
  if (!isWhole || first.slice(at + 1) !== '0'.repeat(rest) || last.slice(at + 1) !== 'f'.repeat(rest)) return undefined;
  return (at - 1) * 4 + Math.clz32(span) - 28;
}
