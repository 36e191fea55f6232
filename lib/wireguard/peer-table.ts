/**
 * What is known of every peer, idle or not, in columns of typed arrays: an idle peer costs some 200 bytes, where
 * an object with a few small typed arrays would cost a thousand.
 *
 * A peer's id is its row, a small integer that is stable until the peer is removed and may then be used again.
 * Rows are found by public key through open addressing over the key column. Sessions, handshakes and timers live in
 * peer.ts, for peers in use only; cryptokey routing in allowed-ips.ts.
 */
import type { Endpoint } from '../base/address.ts';
import { equalRange, isAllZero, readU32LE } from '../base/bytes.ts';
import { isLaterTimestamp, TIMESTAMP_BYTES } from './tai64n.ts';

const KEY_BYTES = 32;
const FIRST_ROWS = 8;
/** In {@link PeerTable.flags}. */
const FLAG_USED = 1;
const FLAG_ROAMS = 2;

/** Rows of peers. Columns may be replaced when the table grows: read them through the table each time. */
export class PeerTable {
  readonly #seed: number;
  /** Open addressing: row + 1, 0 for an empty slot. */
  #slots = new Int32Array(2 * FIRST_ROWS);
  #keys = new Uint8Array(FIRST_ROWS * KEY_BYTES);
  #psks = new Uint8Array(FIRST_ROWS * KEY_BYTES);
  #timestamps = new Uint8Array(FIRST_ROWS * TIMESTAMP_BYTES);
  #flags = new Uint8Array(FIRST_ROWS);
  /** Ms, 0 for off. */
  #keepalives = new Int32Array(FIRST_ROWS);
  #nextFree = new Int32Array(FIRST_ROWS);
  #free = -1;
  #used = 0;
  #size = 0;
  /** Where each peer was last seen, or is configured to be. */
  readonly endpoints: (Endpoint | undefined)[] = [];
  /** Bytes of datagrams from each peer that were authentic. */
  rxBytes = new Float64Array(FIRST_ROWS);
  /** Bytes of datagrams to each peer. */
  txBytes = new Float64Array(FIRST_ROWS);
  /** Wall clock of the last completed handshake in ms; 0 for none. */
  handshakeUnixMs = new Float64Array(FIRST_ROWS);

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
    return this.#used;
  }

  /** Adds a key that {@link find} does not know; returns its row. All else is empty: no psk, no timestamp. */
  add(publicKey: Uint8Array): number {
    const row = this.#takeRow();
    this.#keys.set(publicKey, row * KEY_BYTES);
    this.#flags[row] = FLAG_USED;
    this.#size++;
    if (this.#size * 3 > this.#slots.length * 2) this.#rehash(this.#slots.length * 2);
    this.#slots[this.#find(publicKey)] = row + 1;
    return row;
  }

  /** Removes a row and erases what it held. */
  remove(row: number): void {
    this.#removeSlot(this.#find(this.publicKey(row)));
    this.#keys.fill(0, row * KEY_BYTES, (row + 1) * KEY_BYTES);
    this.#psks.fill(0, row * KEY_BYTES, (row + 1) * KEY_BYTES);
    this.#timestamps.fill(0, row * TIMESTAMP_BYTES, (row + 1) * TIMESTAMP_BYTES);
    this.#flags[row] = 0;
    this.#keepalives[row] = 0;
    this.endpoints[row] = undefined;
    this.rxBytes[row] = 0;
    this.txBytes[row] = 0;
    this.handshakeUnixMs[row] = 0;
    this.#nextFree[row] = this.#free;
    this.#free = row;
    this.#size--;
  }

  /** Whether a number is the id of a peer. */
  has(row: number): boolean {
    return ((this.#flags[row] ?? 0) & FLAG_USED) !== 0;
  }

  /** The row of a 32-byte public key, -1 for an unknown one. */
  find(publicKey: Uint8Array): number {
    return this.#slots[this.#find(publicKey)]! - 1;
  }

  /** A copy of a row's public key. */
  publicKey(row: number): Uint8Array {
    return this.#keys.slice(row * KEY_BYTES, (row + 1) * KEY_BYTES);
  }

  /** A copy of a row's preshared key, all zero for none; erase it after use. */
  presharedKey(row: number): Uint8Array {
    return this.#psks.slice(row * KEY_BYTES, (row + 1) * KEY_BYTES);
  }

  /** Whether the preshared key is not all zero. */
  hasPresharedKey(row: number): boolean {
    return !isAllZero(this.#psks.subarray(row * KEY_BYTES, (row + 1) * KEY_BYTES));
  }

  /** Sets (32 bytes) or, with undefined, erases the preshared key. */
  setPresharedKey(row: number, psk: Uint8Array | undefined): void {
    if (psk === undefined) this.#psks.fill(0, row * KEY_BYTES, (row + 1) * KEY_BYTES);
    else this.#psks.set(psk, row * KEY_BYTES);
  }

  /** Whether authenticated packets move the endpoint. */
  roams(row: number): boolean {
    return (this.#flags[row]! & FLAG_ROAMS) !== 0;
  }

  /** Sets {@link PeerTable.roams}. */
  setRoams(row: number, roams: boolean): void {
    this.#flags[row] = roams ? this.#flags[row]! | FLAG_ROAMS : this.#flags[row]! & ~FLAG_ROAMS;
  }

  /** Interval of the persistent keepalive in ms, 0 for off. */
  keepaliveMs(row: number): number {
    return this.#keepalives[row]!;
  }

  /** Sets {@link PeerTable.keepaliveMs}. */
  setKeepaliveMs(row: number, intervalMs: number): void {
    this.#keepalives[row] = intervalMs;
  }

  /** Whether the 12-byte timestamp is later than all that were stored for the row. */
  isLaterTimestamp(row: number, timestamp: Uint8Array): boolean {
    return isLaterTimestamp(timestamp, 0, this.#timestamps, row * TIMESTAMP_BYTES);
  }

  /** Stores the greatest timestamp. */
  setTimestamp(row: number, timestamp: Uint8Array): void {
    this.#timestamps.set(timestamp, row * TIMESTAMP_BYTES);
  }

  #takeRow(): number {
    if (this.#free >= 0) {
      const row = this.#free;
      this.#free = this.#nextFree[row]!;
      return row;
    }
    if (this.#used === this.#flags.length) this.#grow(this.#used + Math.max(FIRST_ROWS, this.#used >> 2));
    this.endpoints.push(undefined);
    return this.#used++;
  }

  #grow(rows: number): void {
    this.#keys = grownBytes(this.#keys, rows * KEY_BYTES);
    const psks = this.#psks;
    this.#psks = grownBytes(psks, rows * KEY_BYTES);
    psks.fill(0);
    this.#timestamps = grownBytes(this.#timestamps, rows * TIMESTAMP_BYTES);
    this.#flags = grownBytes(this.#flags, rows);
    this.#keepalives = grownInts(this.#keepalives, rows);
    this.#nextFree = grownInts(this.#nextFree, rows);
    this.rxBytes = grownFloats(this.rxBytes, rows);
    this.txBytes = grownFloats(this.txBytes, rows);
    this.handshakeUnixMs = grownFloats(this.handshakeUnixMs, rows);
  }

  /** The slot that holds the key, or the empty one where it belongs. */
  #find(publicKey: Uint8Array): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(publicKey, 0) & mask; ; slot = (slot + 1) & mask) {
      const row = this.#slots[slot]! - 1;
      if (row < 0 || equalRange(this.#keys, row * KEY_BYTES, publicKey, 0, KEY_BYTES)) return slot;
    }
  }

  #removeSlot(removed: number): void {
    const mask = this.#slots.length - 1;
    let gap = removed;
    this.#slots[gap] = 0;
    // Move back what probing would no longer find across the gap.
    for (let slot = (gap + 1) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hash(this.#keys, (this.#slots[slot]! - 1) * KEY_BYTES) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      this.#slots[gap] = this.#slots[slot]!;
      this.#slots[slot] = 0;
      gap = slot;
    }
  }

  #rehash(slots: number): void {
    const old = this.#slots;
    const mask = slots - 1;
    this.#slots = new Int32Array(slots);
    for (let i = 0; i < old.length; i++) {
      if (old[i] === 0) continue;
      let slot = this.#hash(this.#keys, (old[i]! - 1) * KEY_BYTES) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = old[i]!;
    }
  }

  #hash(keys: Uint8Array, offset: number): number {
    let hash = Math.imul(this.#seed ^ readU32LE(keys, offset), 0x9e37_79b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ readU32LE(keys, offset + 4), 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 13) ^ readU32LE(keys, offset + 8), 0xc2b2_ae35);
    return hash ^ (hash >>> 16);
  }
}

function grownBytes(array: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  out.set(array);
  return out;
}

function grownInts(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const out = new Int32Array(length);
  out.set(array);
  return out;
}

function grownFloats(array: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const out = new Float64Array(length);
  out.set(array);
  return out;
}
