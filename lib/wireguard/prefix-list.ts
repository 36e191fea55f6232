/**
 * A few prefixes of both families in one packed list, searched from end to end: what a device with a handful of peers
 * needs. Beyond its bound the hash table of prefix-table.ts takes over.
 *
 * An address is four words; of IPv4 only the first is used, the others are 0. A prefix is its masked address and a
 * *code*, which is its length, plus 256 for IPv6: so a prefix of one family is never taken for one of the other.
 */
import type { Prefix } from '../base/address.ts';
import { writeU32BE } from '../base/bytes.ts';

/** Returned by lookups when no prefix covers the address. */
export const NO_PEER = -1;
/** What the code of an IPv6 prefix is above its length. */
export const IPV6_CODE = 256;
/** Prefixes that a list can hold; 24 bytes each. */
export const LIST_PREFIXES = 16;

const FIRST_PREFIXES = 4;
const ROW_WORDS = 6;
/** In a row, behind the address. */
const CODE = 4;
const PEER = 5;

/** The prefix whose address begins at `rows[at]`. */
export function prefixAt(rows: Int32Array, at: number, code: number): Prefix {
  const bytes = new Uint8Array(code < IPV6_CODE ? 4 : 16);
  for (let i = 0; i < bytes.length; i += 4) writeU32BE(bytes, i, rows[at + i / 4]!);
  return { bytes, bits: code % IPV6_CODE };
}

/** Prefixes in the order of their insertion. */
export class PrefixList {
  #rows: Int32Array = EMPTY;
  #size = 0;

  /** Prefixes in all. */
  get size(): number {
    return this.#size;
  }

  /** The peer for an IPv4 address, or {@link NO_PEER}. */
  lookupV4(a: number): number {
    const rows = this.#rows;
    let longest = -1;
    let peer = NO_PEER;
    for (let at = 0, end = this.#size * ROW_WORDS; at < end; at += ROW_WORDS) {
      const bits = rows[at + CODE]!;
      // No more bits are alike than 32, so an IPv6 prefix never fits.
      if (bits <= longest || Math.clz32(rows[at]! ^ a) < bits) continue;
      longest = bits;
      peer = rows[at + PEER]!;
    }
    return peer;
  }

  /** The peer for an IPv6 address, or {@link NO_PEER}. */
  lookupV6(a: number, b: number, c: number, d: number): number {
    const rows = this.#rows;
    let longest = -1;
    let peer = NO_PEER;
    for (let at = 0, end = this.#size * ROW_WORDS; at < end; at += ROW_WORDS) {
      const bits = rows[at + CODE]! - IPV6_CODE;
      if (bits <= longest) continue;
      let alike = Math.clz32(rows[at]! ^ a);
      if (alike === 32) alike += Math.clz32(rows[at + 1]! ^ b);
      if (alike === 64) alike += Math.clz32(rows[at + 2]! ^ c);
      if (alike === 96) alike += Math.clz32(rows[at + 3]! ^ d);
      if (alike < bits) continue;
      longest = bits;
      peer = rows[at + PEER]!;
    }
    return peer;
  }

  /** Gives a prefix, masked already, to a peer; false when it is a new one and there is no room for it. */
  insert(a: number, b: number, c: number, d: number, code: number, peer: number): boolean {
    const known = this.#find(a, b, c, d, code);
    if (known >= 0) {
      if (this.#rows[known + PEER] === peer) return true;
      // It becomes the last one of its new peer.
      this.#remove(known);
    }
    if (this.#size === LIST_PREFIXES) return false;
    const at = this.#size * ROW_WORDS;
    if (at === this.#rows.length) this.#grow();
    this.#rows.set([a, b, c, d, code, peer], at);
    this.#size++;
    return true;
  }

  /** Takes all prefixes of a peer away. */
  removePeer(peer: number): void {
    for (let at = (this.#size - 1) * ROW_WORDS; at >= 0; at -= ROW_WORDS)
      if (this.#rows[at + PEER] === peer) this.#remove(at);
    if (this.#size === 0) this.#rows = EMPTY;
  }

  /** The prefixes of a peer, of which `isV6` says the family. */
  list(peer: number, isV6: boolean): Prefix[] {
    const out: Prefix[] = [];
    this.forEach((a, b, c, d, code, owner) => {
      if (owner === peer && code >= IPV6_CODE === isV6) out.push(prefixAt(Int32Array.of(a, b, c, d), 0, code));
    });
    return out;
  }

  /** All of them, as {@link PrefixList.insert} takes them. */
  forEach(visit: (a: number, b: number, c: number, d: number, code: number, peer: number) => void): void {
    const rows = this.#rows;
    for (let at = 0, end = this.#size * ROW_WORDS; at < end; at += ROW_WORDS)
      visit(rows[at]!, rows[at + 1]!, rows[at + 2]!, rows[at + 3]!, rows[at + CODE]!, rows[at + PEER]!);
  }

  #find(a: number, b: number, c: number, d: number, code: number): number {
    const rows = this.#rows;
    for (let at = (this.#size - 1) * ROW_WORDS; at >= 0; at -= ROW_WORDS) {
      if (rows[at + CODE] !== code || rows[at] !== a) continue;
      if (rows[at + 1] === b && rows[at + 2] === c && rows[at + 3] === d) return at;
    }
    return -1;
  }

  #remove(at: number): void {
    this.#rows.copyWithin(at, at + ROW_WORDS, this.#size * ROW_WORDS);
    this.#size--;
  }

  #grow(): void {
    const old = this.#rows;
    this.#rows = new Int32Array(Math.max(FIRST_PREFIXES * ROW_WORDS, old.length * 2));
    this.#rows.set(old);
  }
}

const EMPTY = /* @__PURE__ */ new Int32Array(0);
