/**
 * What is known of every peer, idle or not, in packed rows: an idle peer costs some 120 bytes, where an object with a
 * few small typed arrays would cost a thousand.
 *
 * A peer's id is its row, a small integer that is stable until the peer is removed and may then be used again.
 * Rows are found by public key: the first few one after another, more of them through open addressing over the keys.
 * Sessions, handshakes and timers live in peer.ts, for peers in use only; cryptokey routing in allowed-ips.ts.
 */
import type { Endpoint } from '../base/address.ts';
import { equalRange, isAllZero, readU32LE } from '../base/bytes.ts';
import { isLaterTimestamp, TIMESTAMP_BYTES } from './tai64n.ts';

const KEY_BYTES = 32;
const FIRST_ROWS = 4;
/** Up to so many rows are searched without a hash table. */
const LISTED_ROWS = 16;

/** A row of bytes: the public key, the greatest timestamp received, flags. */
const TIMESTAMP_AT = KEY_BYTES;
const FLAGS_AT = TIMESTAMP_AT + TIMESTAMP_BYTES;
const ROW_BYTES = FLAGS_AT + 1;
const FLAG_USED = 1;
const FLAG_ROAMS = 2;

/** A row of numbers: what the getters of the same names say. */
const RX_BYTES = 0;
const TX_BYTES = 1;
const HANDSHAKE_UNIX_MS = 2;
/** In a row that is free: the next free one. */
const KEEPALIVE_MS = 3;
const ROW_NUMBERS = 4;

const EMPTY = /* @__PURE__ */ new Uint8Array(0);
const NO_NUMBERS = /* @__PURE__ */ new Float64Array(0);

/** Rows of peers. */
export class PeerTable {
  readonly #seed: number;
  /** Open addressing: row + 1, 0 for an empty slot; none while there are few rows. */
  #slots: Int32Array | undefined = undefined;
  #bytes: Uint8Array = EMPTY;
  #numbers: Float64Array = NO_NUMBERS;
  /** Preshared keys by row, taken with the first one: most networks have none. */
  #psks: Uint8Array = EMPTY;
  #free = -1;
  #size = 0;
  /** Where each peer was last seen, or is configured to be. */
  readonly endpoints: (Endpoint | undefined)[] = [];

  /** `seed` is a random 32-bit number that keeps strangers from choosing keys that collide. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Peers in the table. */
  get size(): number {
    return this.#size;
  }

  /** Rows that are or were in use: ids are below this. */
  get rows(): number {
    return this.endpoints.length;
  }

  /** Adds a key that {@link find} does not know; returns its row. All else is empty: no psk, no timestamp. */
  add(publicKey: Uint8Array): number {
    const row = this.#takeRow();
    this.#bytes.set(publicKey, row * ROW_BYTES);
    this.#bytes[row * ROW_BYTES + FLAGS_AT] = FLAG_USED;
    this.#size++;
    const slots = this.#slots;
    if (slots === undefined) {
      if (this.rows > LISTED_ROWS) this.#rehash(4 * LISTED_ROWS);
    } else if (this.#size * 3 > slots.length * 2) {
      this.#rehash(slots.length * 2);
    } else {
      slots[this.#slotOf(slots, publicKey)] = row + 1;
    }
    return row;
  }

  /** Removes a row and erases what it held. */
  remove(row: number): void {
    if (this.#slots !== undefined) this.#removeSlot(this.#slots, this.#slotOf(this.#slots, this.publicKey(row)));
    this.#bytes.fill(0, row * ROW_BYTES, (row + 1) * ROW_BYTES);
    this.setPresharedKey(row, undefined);
    this.#numbers.fill(0, row * ROW_NUMBERS, (row + 1) * ROW_NUMBERS);
    this.endpoints[row] = undefined;
    this.#numbers[row * ROW_NUMBERS + KEEPALIVE_MS] = this.#free;
    this.#free = row;
    this.#size--;
  }

  /** Whether a number is the id of a peer. */
  has(row: number): boolean {
    return Number.isInteger(row) && ((this.#bytes[row * ROW_BYTES + FLAGS_AT] ?? 0) & FLAG_USED) !== 0;
  }

  /** The row of a 32-byte public key, -1 for an unknown one. */
  find(publicKey: Uint8Array): number {
    if (this.#slots !== undefined) return this.#slots[this.#slotOf(this.#slots, publicKey)]! - 1;
    for (let row = this.rows - 1; row >= 0; row--)
      if (this.has(row) && equalRange(this.#bytes, row * ROW_BYTES, publicKey, 0, KEY_BYTES)) return row;
    return -1;
  }

  /** A copy of a row's public key. */
  publicKey(row: number): Uint8Array {
    return this.#bytes.slice(row * ROW_BYTES, row * ROW_BYTES + KEY_BYTES);
  }

  /** A copy of a row's preshared key, all zero for none; erase it after use. */
  presharedKey(row: number): Uint8Array {
    const psk = new Uint8Array(KEY_BYTES);
    psk.set(this.#psks.subarray(row * KEY_BYTES, (row + 1) * KEY_BYTES));
    return psk;
  }

  /** Whether the preshared key is not all zero. */
  hasPresharedKey(row: number): boolean {
    return !isAllZero(this.#psks.subarray(row * KEY_BYTES, (row + 1) * KEY_BYTES));
  }

  /** Sets (32 bytes) or, with undefined, erases the preshared key. */
  setPresharedKey(row: number, psk: Uint8Array | undefined): void {
    const at = row * KEY_BYTES;
    if (psk === undefined) {
      if (at < this.#psks.length) this.#psks.fill(0, at, at + KEY_BYTES);
      return;
    }
    if (at >= this.#psks.length) {
      const old = this.#psks;
      this.#psks = grownBytes(old, (this.#bytes.length / ROW_BYTES) * KEY_BYTES);
      if (old.length > 0) old.fill(0);
    }
    this.#psks.set(psk, at);
  }

  /** Whether authenticated packets move the endpoint. */
  roams(row: number): boolean {
    return (this.#bytes[row * ROW_BYTES + FLAGS_AT]! & FLAG_ROAMS) !== 0;
  }

  /** Sets {@link PeerTable.roams}. */
  setRoams(row: number, roams: boolean): void {
    const at = row * ROW_BYTES + FLAGS_AT;
    this.#bytes[at] = roams ? this.#bytes[at]! | FLAG_ROAMS : this.#bytes[at]! & ~FLAG_ROAMS;
  }

  /** Interval of the persistent keepalive in ms, 0 for off. */
  keepaliveMs(row: number): number {
    return this.#numbers[row * ROW_NUMBERS + KEEPALIVE_MS]!;
  }

  /** Sets {@link PeerTable.keepaliveMs}. */
  setKeepaliveMs(row: number, intervalMs: number): void {
    this.#numbers[row * ROW_NUMBERS + KEEPALIVE_MS] = intervalMs;
  }

  /** Bytes of datagrams from the peer that were authentic. */
  rxBytes(row: number): number {
    return this.#numbers[row * ROW_NUMBERS + RX_BYTES]!;
  }

  /** Adds to {@link PeerTable.rxBytes}. */
  addRxBytes(row: number, bytes: number): void {
    this.#numbers[row * ROW_NUMBERS + RX_BYTES]! += bytes;
  }

  /** Bytes of datagrams to the peer. */
  txBytes(row: number): number {
    return this.#numbers[row * ROW_NUMBERS + TX_BYTES]!;
  }

  /** Adds to {@link PeerTable.txBytes}. */
  addTxBytes(row: number, bytes: number): void {
    this.#numbers[row * ROW_NUMBERS + TX_BYTES]! += bytes;
  }

  /** Wall clock of the last completed handshake in ms; 0 for none. */
  handshakeUnixMs(row: number): number {
    return this.#numbers[row * ROW_NUMBERS + HANDSHAKE_UNIX_MS]!;
  }

  /** Sets {@link PeerTable.handshakeUnixMs}. */
  setHandshakeUnixMs(row: number, unixMs: number): void {
    this.#numbers[row * ROW_NUMBERS + HANDSHAKE_UNIX_MS] = unixMs;
  }

  /** Whether the 12-byte timestamp is later than all that were stored for the row. */
  isLaterTimestamp(row: number, timestamp: Uint8Array): boolean {
    return isLaterTimestamp(timestamp, 0, this.#bytes, row * ROW_BYTES + TIMESTAMP_AT);
  }

  /** Stores the greatest timestamp. */
  setTimestamp(row: number, timestamp: Uint8Array): void {
    this.#bytes.set(timestamp, row * ROW_BYTES + TIMESTAMP_AT);
  }

  #takeRow(): number {
    const row = this.#free;
    if (row < 0) {
      if (this.rows * ROW_BYTES === this.#bytes.length) this.#grow(this.rows + Math.max(FIRST_ROWS, this.rows >> 2));
      return this.endpoints.push(undefined) - 1;
    }
    this.#free = this.keepaliveMs(row);
    this.setKeepaliveMs(row, 0);
    return row;
  }

  #grow(rows: number): void {
    this.#bytes = grownBytes(this.#bytes, rows * ROW_BYTES);
    const old = this.#numbers;
    this.#numbers = new Float64Array(rows * ROW_NUMBERS);
    this.#numbers.set(old);
  }

  /** The slot that holds the key, or the empty one where it belongs. */
  #slotOf(slots: Int32Array, publicKey: Uint8Array): number {
    const mask = slots.length - 1;
    for (let slot = this.#hash(publicKey, 0) & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot]! - 1;
      if (row < 0 || equalRange(this.#bytes, row * ROW_BYTES, publicKey, 0, KEY_BYTES)) return slot;
    }
  }

  #removeSlot(slots: Int32Array, removed: number): void {
    const mask = slots.length - 1;
    let gap = removed;
    slots[gap] = 0;
    // Move back what probing would no longer find across the gap.
    for (let slot = (gap + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hash(this.#bytes, (slots[slot]! - 1) * ROW_BYTES) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[gap] = slots[slot]!;
      slots[slot] = 0;
      gap = slot;
    }
  }

  /** Makes the hash table anew. */
  #rehash(length: number): void {
    const mask = length - 1;
    const slots = new Int32Array(length);
    for (let row = 0; row < this.rows; row++) {
      if (!this.has(row)) continue;
      let slot = this.#hash(this.#bytes, row * ROW_BYTES) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = row + 1;
    }
    this.#slots = slots;
  }

  #hash(keys: Uint8Array, offset: number): number {
    let hash = Math.imul(this.#seed ^ readU32LE(keys, offset), 0x9e37_79b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ readU32LE(keys, offset + 4), 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 13) ^ readU32LE(keys, offset + 8), 0xc2b2_ae35);
    return hash ^ (hash >>> 16);
  }
}

function grownBytes(array: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length);
  out.set(array);
  return out;
}
