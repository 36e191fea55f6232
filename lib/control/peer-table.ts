/**
 * All peers of a netmap, compactly: records of `peer-record.ts` in pages, and their places in the order of their ids.
 * An idle peer costs its record and about five bytes. What a removed or grown record leaves behind is collected when it
 * is more than an eighth of all.
 */
import { copyBytes, equalRange, readU32LE } from '../base/bytes.ts';
import {
  type NetmapPeer,
  RECORD_KEY_AT,
  readPeer,
  recordHasBytes,
  recordId,
  recordLength,
  recordName,
  setRecordOnline,
  suffixOf,
} from './peer-record.ts';

/** What a table may hold. */
export interface PeerTableLimits {
  /** Peers. */
  readonly peers: number;
  /** Bytes of all records together. */
  readonly peerBytes: number;
  /** Bytes of one record; more than a page is never needed. */
  readonly recordBytes: number;
}

const PAGE_BYTES = 4096;
/** The first page grows to that: most tables of a small device have a few peers. */
const FIRST_PAGE_BYTES = 512;
/** What a runtime adds to a page: the array object and its buffer. */
const PAGE_OVERHEAD_BYTES = 112;
const KEY_BYTES = 32;

/** A table of peers, in the order of their ids. */
export class PeerTable {
  /** What most names end in; set by the first name. */
  suffix: string;
  readonly #limits: PeerTableLimits;
  readonly #pageBytes: number;
  #pages: Uint8Array[] = [];
  #pageUsed = 0;
  /** Page number times page size plus offset, of each record, by id. */
  #places = new Uint32Array(0);
  #count = 0;
  #liveBytes = 0;
  #deadBytes = 0;

  /** `suffix` as another table has it whose records will be copied here, or empty. */
  constructor(limits: PeerTableLimits, suffix = '') {
    this.#limits = limits;
    this.#pageBytes = Math.max(PAGE_BYTES, limits.recordBytes);
    this.suffix = suffix;
  }

  /** Peers in the table. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of memory that the table holds. */
  get heldBytes(): number {
    const pages = this.#pages.reduce((sum, page) => sum + page.length + PAGE_OVERHEAD_BYTES, 0);
    return pages + 4 * this.#places.length + this.suffix.length;
  }

  /** Slot of the peer with this id, or -1. Slots change when peers come and go. */
  find(id: number): number {
    const slot = this.#lowerBound(id);
    return slot < this.#count && this.idAt(slot) === id ? slot : -1;
  }

  /** Slot of the peer with this node key (32 bytes), or -1; looks at every peer. */
  findKey(key: Uint8Array): number {
    for (let slot = 0; slot < this.#count; slot++) {
      const at = this.offsetAt(slot) + RECORD_KEY_AT;
      if (equalRange(this.pageAt(slot), at, key, 0, KEY_BYTES)) return slot;
    }
    return -1;
  }

  /** Slot of the first peer behind `after` with this disco key (32 bytes), or -1; reads every peer. */
  findDiscoKey(key: Uint8Array, after = -1): number {
    for (let slot = after + 1; slot < this.#count; slot++) {
      if (!this.hasBytes(slot, key)) continue;
      const { discoKey } = this.peerAt(slot);
      if (discoKey !== undefined && equalRange(discoKey, 0, key, 0, KEY_BYTES)) return slot;
    }
    return -1;
  }

  /** The same for a key that one peer only has; -1 where several have it. */
  findOnlyDiscoKey(key: Uint8Array): number {
    const slot = this.findDiscoKey(key);
    return slot >= 0 && this.findDiscoKey(key, slot) < 0 ? slot : -1;
  }

  /** Slot of the peer that has this address (4 or 16 bytes) as its own, or -1; reads every peer. */
  findAddress(address: Uint8Array): number {
    for (let slot = 0; slot < this.#count; slot++) {
      if (!this.hasBytes(slot, address)) continue;
      const { addresses } = this.peerAt(slot);
      const isOwn = addresses.some(
        ({ bytes, bits }) =>
          bytes.length === address.length &&
          bits === 8 * bytes.length &&
          equalRange(bytes, 0, address, 0, bytes.length),
      );
      if (isOwn) return slot;
    }
    return -1;
  }

  /** Id of the peer in a slot. */
  idAt(slot: number): number {
    return recordId(this.pageAt(slot), this.offsetAt(slot));
  }

  /** The peer in a slot, as a new object. */
  peerAt(slot: number): NetmapPeer {
    return readPeer(this.pageAt(slot), this.offsetAt(slot), this.suffix);
  }

  /** The name of the peer in a slot, without reading the rest. */
  nameAt(slot: number): string {
    return recordName(this.pageAt(slot), this.offsetAt(slot), this.suffix);
  }

  /** Whether an address (4 or 16 bytes) may be one of the peer in a slot: false for certain, or worth reading it. */
  hasBytes(slot: number, address: Uint8Array): boolean {
    return recordHasBytes(this.pageAt(slot), this.offsetAt(slot), address);
  }

  /** The page that holds the record of a slot. */
  pageAt(slot: number): Uint8Array {
    return this.#pages[Math.floor(this.#places[slot]! / this.#pageBytes)]!;
  }

  /** Where in its page the record of a slot begins. */
  offsetAt(slot: number): number {
    return this.#places[slot]! % this.#pageBytes;
  }

  /** The suffix for names of this table; the first name decides it. */
  adoptSuffix(name: string): string {
    if (this.suffix === '') this.suffix = suffixOf(name);
    return this.suffix;
  }

  /** Adds or replaces the record at `buf[start)` (copied). False when a limit is reached; nothing has changed then. */
  put(buf: Uint8Array, start: number): boolean {
    const length = recordLength(buf, start);
    const id = recordId(buf, start);
    const slot = this.#lowerBound(id);
    const isKnown = slot < this.#count && this.idAt(slot) === id;
    const freed = isKnown ? recordLength(this.pageAt(slot), this.offsetAt(slot)) : 0;
    if (!isKnown && this.#count >= this.#limits.peers) return false; // CHECK: map-peer-limit
    if (this.#liveBytes - freed + length > this.#limits.peerBytes) return false; // CHECK: map-peer-bytes
    if (freed === length) {
      copyBytes(this.pageAt(slot), this.offsetAt(slot), buf, start, start + length);
      return true;
    }
    const place = this.#append(buf, start, length);
    if (!isKnown) this.#insert(slot);
    this.#places[slot] = place;
    this.#deadBytes += freed;
    this.#liveBytes += length - freed;
    return true;
  }

  /** Removes a peer by id; false when there was none. */
  remove(id: number): boolean {
    const slot = this.find(id);
    if (slot < 0) return false;
    const length = recordLength(this.pageAt(slot), this.offsetAt(slot));
    this.#liveBytes -= length;
    this.#deadBytes += length;
    this.#places.copyWithin(slot, slot + 1, this.#count--);
    return true;
  }

  /** Marks a peer as online or not; false when there is none with this id. */
  setOnline(id: number, isOnline: boolean): boolean {
    const slot = this.find(id);
    if (slot >= 0) setRecordOnline(this.pageAt(slot), this.offsetAt(slot), isOnline);
    return slot >= 0;
  }

  /** Removes peers whose key another peer with a lower id has, or is `own`; returns how many. */
  removeSharedKeys(own: Uint8Array): number {
    // 21 bits of slot beside 32 bits of key: sorted, equal beginnings stand side by side, lower ids first.
    const order = new Float64Array(this.#count);
    for (let slot = 0; slot < this.#count; slot++) order[slot] = this.#keyStart(slot) * 0x20_0000 + slot;
    order.sort();
    const doomed = new Set<number>();
    for (let i = 0; i < order.length; i++) {
      const slot = order[i]! % 0x20_0000;
      if (this.#hasKey(slot, own, 0)) doomed.add(this.idAt(slot));
      for (let j = i - 1; j >= 0 && Math.floor(order[j]! / 0x20_0000) === this.#keyStart(slot); j--) {
        const other = order[j]! % 0x20_0000;
        if (!this.#hasKey(slot, this.pageAt(other), this.offsetAt(other) + RECORD_KEY_AT)) continue;
        doomed.add(this.idAt(slot));
        break;
      }
    }
    for (const id of doomed) this.remove(id);
    return doomed.size;
  }

  /** Gives memory back that removed and grown records have left, when it is worth it. */
  compact(): void {
    if (this.#deadBytes <= Math.max(this.#pageBytes / 4, this.#liveBytes / 8)) return;
    const old = this.#pages;
    this.#pages = [];
    this.#pageUsed = 0;
    this.#deadBytes = 0;
    const places = new Uint32Array(this.#count);
    for (let slot = 0; slot < this.#count; slot++) {
      const page = old[Math.floor(this.#places[slot]! / this.#pageBytes)]!;
      const offset = this.#places[slot]! % this.#pageBytes;
      places[slot] = this.#append(page, offset, recordLength(page, offset));
    }
    this.#places = places;
  }

  #keyStart(slot: number): number {
    return readU32LE(this.pageAt(slot), this.offsetAt(slot) + RECORD_KEY_AT);
  }

  #hasKey(slot: number, buf: Uint8Array, at: number): boolean {
    return equalRange(this.pageAt(slot), this.offsetAt(slot) + RECORD_KEY_AT, buf, at, KEY_BYTES);
  }

  #lowerBound(id: number): number {
    if (this.#count === 0 || this.idAt(this.#count - 1) < id) return this.#count;
    let [low, high] = [0, this.#count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.idAt(middle) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #append(buf: Uint8Array, start: number, length: number): number {
    const last = this.#pages.at(-1);
    const wanted = this.#pageUsed + length;
    if (last === undefined || wanted > this.#pageBytes) {
      this.#pages.push(new Uint8Array(last === undefined ? Math.max(FIRST_PAGE_BYTES, length) : this.#pageBytes));
      this.#pageUsed = 0;
    } else if (wanted > last.length) {
      const larger = new Uint8Array(Math.min(this.#pageBytes, Math.max(2 * last.length, wanted)));
      larger.set(last);
      this.#pages[this.#pages.length - 1] = larger;
    }
    const page = this.#pages.length - 1;
    copyBytes(this.#pages[page]!, this.#pageUsed, buf, start, start + length);
    this.#pageUsed += length;
    return page * this.#pageBytes + this.#pageUsed - length;
  }

  #insert(slot: number): void {
    if (this.#count === this.#places.length) {
      const larger = new Uint32Array(Math.min(this.#limits.peers, this.#count + Math.max(16, this.#count >> 3)));
      larger.set(this.#places);
      this.#places = larger;
    }
    this.#places.copyWithin(slot + 1, slot, this.#count++);
  }
}
