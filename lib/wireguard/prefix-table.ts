/**
 * Prefixes of many peers: one hash table over (family, prefix length, masked address), asked for the prefix lengths in
 * use, longest first. With the usual one to three lengths a lookup is one to three probes, whatever the number of
 * peers, and never more than 33 (IPv4) or 129 (IPv6).
 *
 * A prefix is a row of 28 bytes, besides 6 to 12 of the table; the rows of one peer are linked, so that a peer goes
 * without a walk through all. Addresses and codes are those of prefix-list.ts.
 */
import type { Prefix } from '../base/address.ts';
import { IPV6_CODE, LIST_PREFIXES, NO_PEER, prefixAt } from './prefix-list.ts';

const NONE = -1;
const FIRST_ROWS = 2 * LIST_PREFIXES;
const ROW_WORDS = 7;
/** In a row, behind the address. */
const CODE = 4;
const PEER = 5;
/** Next row of the same peer, or next free row. */
const NEXT = 6;

/** The high `bits` (may be below 0 or above 32) of a word. */
export function maskOf(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

/** The prefixes of both families. */
export class PrefixTable {
  readonly #seed: number;
  /** Open addressing: row + 1, 0 for an empty slot. */
  #slots = new Int32Array(2 * FIRST_ROWS);
  #rows = new Int32Array(FIRST_ROWS * ROW_WORDS);
  #used = 0;
  #free = NONE;
  #size = 0;
  /** First row of each peer, newest first. */
  #heads = new Int32Array(0);
  /** The codes in use, longest first. */
  readonly #v4 = new CodeList();
  readonly #v6 = new CodeList();

  /** `seed` is a random 32-bit number that keeps strangers from choosing addresses that collide. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Prefixes in all. */
  get size(): number {
    return this.#size;
  }

  /** The peer for an IPv4 address, or {@link NO_PEER}. */
  lookupV4(a: number): number {
    const { codes } = this.#v4;
    for (let i = 0; i < codes.length; i++) {
      const code = codes[i]!;
      const row = this.#slots[this.#find(a & maskOf(code), 0, 0, 0, code)]! - 1;
      if (row !== NONE) return this.#rows[row * ROW_WORDS + PEER]!;
    }
    return NO_PEER;
  }

  /** The peer for an IPv6 address, or {@link NO_PEER}. */
  lookupV6(a: number, b: number, c: number, d: number): number {
    const { codes } = this.#v6;
    for (let i = 0; i < codes.length; i++) {
      const code = codes[i]!;
      const bits = code - IPV6_CODE;
      const slot = this.#find(
        a & maskOf(bits),
        b & maskOf(bits - 32),
        c & maskOf(bits - 64),
        d & maskOf(bits - 96),
        code,
      );
      const row = this.#slots[slot]! - 1;
      if (row !== NONE) return this.#rows[row * ROW_WORDS + PEER]!;
    }
    return NO_PEER;
  }

  /** Gives a prefix, masked already, to a peer; there is always room. */
  insert(a: number, b: number, c: number, d: number, code: number, peer: number): true {
    const slot = this.#find(a, b, c, d, code);
    const known = this.#slots[slot]! - 1;
    if (known === NONE) {
      const row = this.#takeRow();
      this.#rows.set([a, b, c, d, code], row * ROW_WORDS);
      this.#slots[slot] = row + 1;
      this.#size++;
      this.#codesOf(code).add(code);
      this.#link(row, peer);
      if (this.#size * 3 > this.#slots.length * 2) this.#rehash(this.#slots.length * 2);
    } else if (this.#rows[known * ROW_WORDS + PEER] !== peer) {
      this.#unlink(known);
      this.#link(known, peer);
    }
    return true;
  }

  /** Takes all prefixes of a peer away. */
  removePeer(peer: number): void {
    let row = this.#headOf(peer);
    if (row !== NONE) this.#heads[peer] = NONE;
    while (row !== NONE) {
      const next = this.#rows[row * ROW_WORDS + NEXT]!;
      this.#remove(row);
      row = next;
    }
  }

  /** The prefixes of a peer in the order of insertion, of which `isV6` says the family. */
  list(peer: number, isV6: boolean): Prefix[] {
    const out: Prefix[] = [];
    const rows = this.#rows;
    for (let row = this.#headOf(peer); row !== NONE; row = rows[row * ROW_WORDS + NEXT]!) {
      const code = rows[row * ROW_WORDS + CODE]!;
      if (code >= IPV6_CODE === isV6) out.push(prefixAt(rows, row * ROW_WORDS, code));
    }
    return out.reverse();
  }

  #headOf(peer: number): number {
    return peer < this.#heads.length ? this.#heads[peer]! : NONE;
  }

  #codesOf(code: number): CodeList {
    return code < IPV6_CODE ? this.#v4 : this.#v6;
  }

  /** The slot that holds the prefix, or the empty one where it belongs. */
  #find(a: number, b: number, c: number, d: number, code: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    const rows = this.#rows;
    for (let slot = this.#hash(a, b, c, d, code) & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot]! - 1;
      if (row === NONE) return slot;
      const at = row * ROW_WORDS;
      if (rows[at + CODE] !== code || rows[at] !== a) continue;
      if (rows[at + 1] === b && rows[at + 2] === c && rows[at + 3] === d) return slot;
    }
  }

  #hash(a: number, b: number, c: number, d: number, code: number): number {
    let hash = Math.imul(this.#seed ^ a, 0x9e37_79b1);
    if (code >= IPV6_CODE) {
      hash = Math.imul(hash ^ (hash >>> 15) ^ b, 0x85eb_ca6b);
      hash = Math.imul(hash ^ (hash >>> 13) ^ c, 0xc2b2_ae35);
      hash = Math.imul(hash ^ (hash >>> 16) ^ d, 0x27d4_eb2f);
    }
    hash = Math.imul(hash ^ (hash >>> 15) ^ code, 0x1656_67b1);
    return hash ^ (hash >>> 16);
  }

  #hashOf(row: number): number {
    const rows = this.#rows;
    const at = row * ROW_WORDS;
    return this.#hash(rows[at]!, rows[at + 1]!, rows[at + 2]!, rows[at + 3]!, rows[at + CODE]!);
  }

  #remove(row: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let gap = this.#hashOf(row) & mask;
    while (slots[gap] !== row + 1) gap = (gap + 1) & mask;
    slots[gap] = 0;
    // Move back what probing would no longer find across the gap.
    for (let slot = (gap + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hashOf(slots[slot]! - 1) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[gap] = slots[slot]!;
      slots[slot] = 0;
      gap = slot;
    }
    const code = this.#rows[row * ROW_WORDS + CODE]!;
    this.#codesOf(code).remove(code);
    this.#rows[row * ROW_WORDS + NEXT] = this.#free;
    this.#free = row;
    this.#size--;
  }

  #rehash(slots: number): void {
    const old = this.#slots;
    this.#slots = new Int32Array(slots);
    for (let i = 0; i < old.length; i++) {
      if (old[i] === 0) continue;
      let slot = this.#hashOf(old[i]! - 1) & (slots - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (slots - 1);
      this.#slots[slot] = old[i]!;
    }
  }

  #takeRow(): number {
    if (this.#free !== NONE) {
      const row = this.#free;
      this.#free = this.#rows[row * ROW_WORDS + NEXT]!;
      return row;
    }
    const { length } = this.#rows;
    if (this.#used * ROW_WORDS === length) this.#rows = grown(this.#rows, length + (this.#used >> 2) * ROW_WORDS);
    return this.#used++;
  }

  #link(row: number, peer: number): void {
    if (peer >= this.#heads.length) {
      const old = this.#heads.length;
      this.#heads = grown(this.#heads, Math.max(peer + 1, old + (old >> 2), FIRST_ROWS));
      this.#heads.fill(NONE, old);
    }
    this.#rows[row * ROW_WORDS + PEER] = peer;
    this.#rows[row * ROW_WORDS + NEXT] = this.#heads[peer]!;
    this.#heads[peer] = row;
  }

  #unlink(row: number): void {
    const rows = this.#rows;
    const peer = rows[row * ROW_WORDS + PEER]!;
    const next = rows[row * ROW_WORDS + NEXT]!;
    if (this.#heads[peer] === row) {
      this.#heads[peer] = next;
      return;
    }
    let before = this.#heads[peer]!;
    while (rows[before * ROW_WORDS + NEXT] !== row) before = rows[before * ROW_WORDS + NEXT]!;
    rows[before * ROW_WORDS + NEXT] = next;
  }
}

/** The codes of one family that are in use, longest first, and how often each is. */
class CodeList {
  readonly codes: number[] = [];
  readonly #counts: number[] = [];

  add(code: number): void {
    const at = this.codes.findIndex(other => other <= code);
    if (at >= 0 && this.codes[at] === code) {
      this.#counts[at]!++;
      return;
    }
    const place = at < 0 ? this.codes.length : at;
    this.codes.splice(place, 0, code);
    this.#counts.splice(place, 0, 1);
  }

  remove(code: number): void {
    const at = this.codes.indexOf(code);
    if (--this.#counts[at]! > 0) return;
    this.codes.splice(at, 1);
    this.#counts.splice(at, 1);
  }
}

function grown(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const out = new Int32Array(length);
  out.set(array);
  return out;
}
