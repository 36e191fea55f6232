/**
 * Address ranges as rules write them, and as words: an IPv4 address is one 32-bit word, an IPv6 address four.
 *
 * Forms: an address, a prefix without host bits, a range `a-b` of one family, `*` for everything. Everything else, also
 * a prefix with host bits, is refused: a coordinator that means something else must not be guessed at.
 */
import { maskBytes, parseAddress, parsePrefix } from '../base/address.ts';
import { equalBytes, readU32BE } from '../base/bytes.ts';

/** First and last address of a range, 4 or 16 bytes each, of one family. */
export interface AddressRange {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
}

/** The last address of a prefix. */
export function lastOfPrefix(bytes: Uint8Array, bits: number): Uint8Array {
  const last = maskBytes(bytes, bits);
  for (let i = bits; i < last.length * 8; i++) last[i >> 3]! |= 0x80 >> (i & 7);
  return last;
}

/** The ranges of one text (two for `*`), or undefined when it is malformed. */
export function parseRanges(text: string): readonly AddressRange[] | undefined {
  if (text === '*') return [everything(4), everything(16)];
  const range = text.includes('/') ? prefixRange(text) : text.includes('-') ? spanRange(text) : singleRange(text);
  return range === undefined ? undefined : [range];
}

function everything(bytes: number): AddressRange {
  return { first: new Uint8Array(bytes), last: new Uint8Array(bytes).fill(255) };
}

function prefixRange(text: string): AddressRange | undefined {
  const prefix = parsePrefix(text);
  if (prefix === undefined) return undefined;
  const written = parseAddress(text.slice(0, text.indexOf('/')))!;
  if (!equalBytes(written, prefix.bytes)) return undefined; // CHECK: filter-host-bits
  return { first: prefix.bytes, last: lastOfPrefix(prefix.bytes, prefix.bits) };
}

function spanRange(text: string): AddressRange | undefined {
  const dash = text.indexOf('-');
  const first = parseAddress(text.slice(0, dash));
  const last = parseAddress(text.slice(dash + 1));
  if (first === undefined || last === undefined || first.length !== last.length) return undefined;
  for (let i = 0; i < first.length; i++) {
    if (first[i] !== last[i]) return first[i]! < last[i]! ? { first, last } : undefined;
  }
  return { first, last };
}

function singleRange(text: string): AddressRange | undefined {
  const first = parseAddress(text);
  return first === undefined ? undefined : { first, last: first };
}

/** Ranges of one family by number, in words. */
export class RangeList {
  /** Words of one address: 1 or 4. */
  readonly words: 1 | 4;
  /** First and last address of each range. */
  readonly data: number[] = [];

  constructor(words: 1 | 4) {
    this.words = words;
  }

  /** Adds a range of this family and returns its number. */
  add(range: AddressRange): number {
    const number = this.data.length / (2 * this.words);
    for (let i = 0; i < this.words; i++) this.data.push(readU32BE(range.first, i * 4));
    for (let i = 0; i < this.words; i++) this.data.push(readU32BE(range.last, i * 4));
    return number;
  }

  /** How many ranges there are. */
  get size(): number {
    return this.data.length / (2 * this.words);
  }

  /** Offset in `data` of a range's first address. */
  firstAt(number: number): number {
    return number * 2 * this.words;
  }

  /** Offset in `data` of a range's last address. */
  lastAt(number: number): number {
    return number * 2 * this.words + this.words;
  }
}
