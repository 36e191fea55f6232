/**
 * Cryptokey routing: which peer an inner address belongs to, by longest prefix (WireGuard §2).
 *
 * One hash table per family over (prefix length, masked address), asked for the prefix lengths in use, longest first:
 * with the usual one to three lengths a lookup is one to three probes, whatever the number of peers, and never more
 * than 33 (IPv4) or 129 (IPv6). Entries lie in typed arrays (about 30 bytes for an IPv4 prefix, 45 for IPv6), and the
 * prefixes of one peer are linked, so that a peer goes without a walk through all.
 * A prefix belongs to one peer: inserting it for another moves it.
 */
import type { Prefix } from '../base/address.ts';
import { readU32BE, writeU32BE } from '../base/bytes.ts';

const NONE = -1;
const FIRST_ENTRIES = 8;

/** Returned by lookups when no prefix covers the address. */
export const NO_PEER = -1;

/** The allowed IPs of all peers. Peers are small non-negative integers. */
export class AllowedIps {
  readonly #v4: PrefixTable;
  readonly #v6: PrefixTable;

  /** `seed` is a random 32-bit number that keeps strangers from choosing addresses that collide. */
  constructor(seed: number) {
    this.#v4 = new PrefixTable(1, seed);
    this.#v6 = new PrefixTable(4, seed);
  }

  /** Gives a prefix to a peer; host bits are cleared. RangeError for an impossible prefix. */
  insert(prefix: Prefix, peer: number): void {
    expectPrefix(prefix);
    (prefix.bytes.length === 4 ? this.#v4 : this.#v6).insert(prefix.bytes, prefix.bits, peer);
  }

  /** Takes all prefixes of a peer away. */
  removePeer(peer: number): void {
    this.#v4.removePeer(peer);
    this.#v6.removePeer(peer);
  }

  /** The peer for the IPv4 address at `buf[offset, offset + 4)`, or {@link NO_PEER}. */
  lookupV4(buf: Uint8Array, offset: number): number {
    return this.#v4.lookup(readU32BE(buf, offset) | 0, 0, 0, 0);
  }

  /** The peer for the IPv6 address at `buf[offset, offset + 16)`, or {@link NO_PEER}. */
  lookupV6(buf: Uint8Array, offset: number): number {
    const b = readU32BE(buf, offset + 4) | 0;
    const c = readU32BE(buf, offset + 8) | 0;
    const d = readU32BE(buf, offset + 12) | 0;
    return this.#v6.lookup(readU32BE(buf, offset) | 0, b, c, d);
  }

  /** The prefixes of a peer: IPv4 before IPv6, each in the order of insertion. */
  list(peer: number): Prefix[] {
    return [...this.#v4.list(peer), ...this.#v6.list(peer)];
  }

  /** Prefixes in all. */
  get size(): number {
    return this.#v4.size + this.#v6.size;
  }
}

/** Throws RangeError unless the prefix has 4 or 16 bytes and a length that fits. */
export function expectPrefix(prefix: Prefix): void {
  const { bytes, bits } = prefix;
  if (bytes.length !== 4 && bytes.length !== 16)
    throw new RangeError(`"allowedIPs" expected addresses of 4 or 16 bytes, got ${bytes.length}`);
  if (!Number.isInteger(bits) || bits < 0 || bits > bytes.length * 8)
    throw new RangeError(`"allowedIPs" expected a prefix length of 0 to ${bytes.length * 8}, got ${bits}`);
}

/** The high `bits` (may be below 0 or above 32) of a word. */
function maskOf(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

/** The prefixes of one family. An address is 1 or 4 words; words that a family lacks are 0 everywhere. */
class PrefixTable {
  readonly #words: number;
  readonly #seed: number;
  /** Open addressing: entry + 1, 0 for an empty slot. */
  #slots = new Int32Array(2 * FIRST_ENTRIES);
  #keys: Int32Array;
  #bits = new Uint8Array(FIRST_ENTRIES);
  #peers = new Int32Array(FIRST_ENTRIES);
  /** Next entry of the same peer, or next free entry. */
  #next = new Int32Array(FIRST_ENTRIES);
  #used = 0;
  #free = NONE;
  #size = 0;
  /** First entry of each peer, newest first. */
  #heads = new Int32Array(0);
  /** The prefix lengths in use, longest first, and how many entries have each. */
  #lengths = new Uint8Array(0);
  #counts = new Int32Array(0);

  constructor(words: number, seed: number) {
    this.#words = words;
    this.#seed = seed;
    this.#keys = new Int32Array(FIRST_ENTRIES * words);
  }

  get size(): number {
    return this.#size;
  }

  lookup(a: number, b: number, c: number, d: number): number {
    for (let i = 0; i < this.#lengths.length; i++) {
      const bits = this.#lengths[i]!;
      const slot = this.#find(
        a & maskOf(bits),
        b & maskOf(bits - 32),
        c & maskOf(bits - 64),
        d & maskOf(bits - 96),
        bits,
      );
      const entry = this.#slots[slot]! - 1;
      if (entry !== NONE) return this.#peers[entry]!;
    }
    return NO_PEER;
  }

  insert(bytes: Uint8Array, bits: number, peer: number): void {
    const word = (i: number) => (i < this.#words ? readU32BE(bytes, 4 * i) & maskOf(bits - 32 * i) : 0);
    const slot = this.#find(word(0), word(1), word(2), word(3), bits);
    const known = this.#slots[slot]! - 1;
    if (known === NONE) {
      const entry = this.#takeEntry();
      for (let i = 0; i < this.#words; i++) this.#keys[entry * this.#words + i] = word(i);
      this.#bits[entry] = bits;
      this.#slots[slot] = entry + 1;
      this.#size++;
      this.#countLength(bits, 1);
      this.#link(entry, peer);
      if (this.#size * 3 > this.#slots.length * 2) this.#rehash(this.#slots.length * 2);
    } else if (this.#peers[known] !== peer) {
      this.#unlink(known, this.#peers[known]!);
      this.#link(known, peer);
    }
  }

  removePeer(peer: number): void {
    if (peer >= this.#heads.length) return;
    let entry = this.#heads[peer]!;
    this.#heads[peer] = NONE;
    while (entry !== NONE) {
      const next = this.#next[entry]!;
      this.#remove(entry);
      entry = next;
    }
  }

  list(peer: number): Prefix[] {
    const out: Prefix[] = [];
    for (
      let entry = peer < this.#heads.length ? this.#heads[peer]! : NONE;
      entry !== NONE;
      entry = this.#next[entry]!
    ) {
      const bytes = new Uint8Array(this.#words * 4);
      for (let i = 0; i < this.#words; i++) writeU32BE(bytes, 4 * i, this.#keys[entry * this.#words + i]!);
      out.push({ bytes, bits: this.#bits[entry]! });
    }
    return out.reverse();
  }

  /** The slot that holds the prefix, or the empty one where it belongs. */
  #find(a: number, b: number, c: number, d: number, bits: number): number {
    const mask = this.#slots.length - 1;
    const keys = this.#keys;
    for (let slot = this.#hash(a, b, c, d, bits) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots[slot]! - 1;
      if (entry === NONE) return slot;
      if (this.#bits[entry] !== bits) continue;
      const at = entry * this.#words;
      if (keys[at] !== a) continue;
      if (this.#words === 1 || (keys[at + 1] === b && keys[at + 2] === c && keys[at + 3] === d)) return slot;
    }
  }

  #hash(a: number, b: number, c: number, d: number, bits: number): number {
    let hash = Math.imul(this.#seed ^ a, 0x9e37_79b1);
    if (this.#words > 1) {
      hash = Math.imul(hash ^ (hash >>> 15) ^ b, 0x85eb_ca6b);
      hash = Math.imul(hash ^ (hash >>> 13) ^ c, 0xc2b2_ae35);
      hash = Math.imul(hash ^ (hash >>> 16) ^ d, 0x27d4_eb2f);
    }
    hash = Math.imul(hash ^ (hash >>> 15) ^ bits, 0x1656_67b1);
    return hash ^ (hash >>> 16);
  }

  #hashOf(entry: number): number {
    const at = entry * this.#words;
    const word = (i: number) => (i < this.#words ? this.#keys[at + i]! : 0);
    return this.#hash(word(0), word(1), word(2), word(3), this.#bits[entry]!);
  }

  #remove(entry: number): void {
    const mask = this.#slots.length - 1;
    let gap = this.#hashOf(entry) & mask;
    while (this.#slots[gap] !== entry + 1) gap = (gap + 1) & mask;
    this.#slots[gap] = 0;
    // Move back what probing would no longer find across the gap.
    for (let slot = (gap + 1) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hashOf(this.#slots[slot]! - 1) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      this.#slots[gap] = this.#slots[slot]!;
      this.#slots[slot] = 0;
      gap = slot;
    }
    this.#countLength(this.#bits[entry]!, -1);
    this.#next[entry] = this.#free;
    this.#free = entry;
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

  #takeEntry(): number {
    if (this.#free !== NONE) {
      const entry = this.#free;
      this.#free = this.#next[entry]!;
      return entry;
    }
    if (this.#used === this.#bits.length) {
      const entries = this.#used + Math.max(FIRST_ENTRIES, this.#used >> 2);
      this.#keys = grown(this.#keys, entries * this.#words);
      this.#peers = grown(this.#peers, entries);
      this.#next = grown(this.#next, entries);
      const bits = new Uint8Array(entries);
      bits.set(this.#bits);
      this.#bits = bits;
    }
    return this.#used++;
  }

  #link(entry: number, peer: number): void {
    if (peer >= this.#heads.length) {
      const old = this.#heads.length;
      this.#heads = grown(this.#heads, Math.max(peer + 1, old + (old >> 2), FIRST_ENTRIES));
      this.#heads.fill(NONE, old);
    }
    this.#peers[entry] = peer;
    this.#next[entry] = this.#heads[peer]!;
    this.#heads[peer] = entry;
  }

  #unlink(entry: number, peer: number): void {
    if (this.#heads[peer] === entry) {
      this.#heads[peer] = this.#next[entry]!;
      return;
    }
    let before = this.#heads[peer]!;
    while (this.#next[before] !== entry) before = this.#next[before]!;
    this.#next[before] = this.#next[entry]!;
  }

  #countLength(bits: number, change: number): void {
    const at = this.#lengths.indexOf(bits);
    if (at >= 0 && this.#counts[at]! + change > 0) {
      this.#counts[at]! += change;
      return;
    }
    const [lengths, counts] = [[...this.#lengths], [...this.#counts]];
    const shorter = lengths.findIndex(other => other < bits);
    if (at >= 0) {
      lengths.splice(at, 1);
      counts.splice(at, 1);
    } else {
      const place = shorter < 0 ? lengths.length : shorter;
      lengths.splice(place, 0, bits);
      counts.splice(place, 0, change);
    }
    this.#lengths = Uint8Array.from(lengths);
    this.#counts = Int32Array.from(counts);
  }
}

function grown(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const out = new Int32Array(length);
  out.set(array);
  return out;
}
