/**
 * Cryptokey routing: which peer an inner address belongs to, by longest prefix (WireGuard §2).
 *
 * Up to 16 prefixes lie in a list (prefix-list.ts), more of them in a hash table (prefix-table.ts); a list that is full
 * becomes a table, and a table that is empty a list. A prefix belongs to one peer: inserting it for another moves it.
 */
import type { Prefix } from '../base/address.ts';
import { readU32BE } from '../base/bytes.ts';
import { IPV6_CODE, NO_PEER, PrefixList } from './prefix-list.ts';
import { maskOf, PrefixTable } from './prefix-table.ts';

/** The allowed IPs of all peers. Peers are small non-negative integers. */
export class AllowedIps {
  readonly #seed: number;
  #prefixes: PrefixList | PrefixTable = new PrefixList();
  /** The IPv4 address found last and its peer, {@link NO_PEER} for none: packets of one flow follow each other. */
  #lastV4 = 0;
  #lastPeer = NO_PEER;

  /** `seed` is a random 32-bit number that keeps strangers from choosing addresses that collide. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Gives a prefix to a peer; host bits are cleared. RangeError for an impossible prefix. */
  insert(prefix: Prefix, peer: number): void {
    expectPrefix(prefix);
    this.#lastPeer = NO_PEER;
    const { bytes, bits } = prefix;
    const word = (i: number) => (4 * i < bytes.length ? readU32BE(bytes, 4 * i) & maskOf(bits - 32 * i) : 0);
    const code = bytes.length === 4 ? bits : bits + IPV6_CODE;
    if (this.#prefixes.insert(word(0), word(1), word(2), word(3), code, peer)) return;
    const table = new PrefixTable(this.#seed);
    (this.#prefixes as PrefixList).forEach(table.insert.bind(table));
    table.insert(word(0), word(1), word(2), word(3), code, peer);
    this.#prefixes = table;
  }

  /** Takes all prefixes of a peer away. */
  removePeer(peer: number): void {
    this.#lastPeer = NO_PEER;
    this.#prefixes.removePeer(peer);
    if (this.size === 0) this.#prefixes = new PrefixList();
  }

  /** The peer for the IPv4 address at `buf[offset, offset + 4)`, or {@link NO_PEER}. */
  lookupV4(buf: Uint8Array, offset: number): number {
    const address = readU32BE(buf, offset) | 0;
    if (address === this.#lastV4 && this.#lastPeer !== NO_PEER) return this.#lastPeer;
    this.#lastV4 = address;
    this.#lastPeer = this.#prefixes.lookupV4(address);
    return this.#lastPeer;
  }

  /** The peer for the IPv6 address at `buf[offset, offset + 16)`, or {@link NO_PEER}. */
  lookupV6(buf: Uint8Array, offset: number): number {
    const b = readU32BE(buf, offset + 4) | 0;
    const c = readU32BE(buf, offset + 8) | 0;
    const d = readU32BE(buf, offset + 12) | 0;
    return this.#prefixes.lookupV6(readU32BE(buf, offset) | 0, b, c, d);
  }

  /** The prefixes of a peer: IPv4 before IPv6, each in the order of insertion. */
  list(peer: number): Prefix[] {
    return [...this.#prefixes.list(peer, false), ...this.#prefixes.list(peer, true)];
  }

  /** Prefixes in all. */
  get size(): number {
    return this.#prefixes.size;
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
