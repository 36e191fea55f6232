/**
 * All peers of a netmap, compactly: records of `peer-record.ts` in pages, and their places in the order of their ids.
 * An idle peer costs its record and about three bytes. What removed and grown records leave behind is collected, in
 * place, when it is more than an eighth of all.
 *
 * With a slimmer the table is whole only while all records together fit into `wholePeerBytes`. From there on its records
 * are slim, but those of peers in use.
 */
import { copyBytes, equalRange, readU32LE } from '../base/bytes.ts';
import {
  type NetmapPeer,
  readPeer,
  recordHasBytes,
  recordHasDiscoKey,
  recordId,
  recordKeyAt,
  recordLength,
  recordName,
  setRecordOnline,
  suffixOf,
  writePeer,
} from './peer-record.ts';
import type { PeerSlimmer } from './peer-slimmer.ts';

/** What a table may hold. */
export interface PeerTableLimits {
  /** Peers. */
  readonly peers: number;
  /** Bytes of all records together. */
  readonly peerBytes: number;
  /** Bytes of one record, and at least of a page. */
  readonly recordBytes: number;
  /** Bytes of all records together up to which they are whole; Infinity: always. */
  readonly wholePeerBytes: number;
}

/** Short, since a page that grows is there twice for a moment. */
const PAGE_BYTES = 2048;
/** The first page grows by so much: most tables of a small device have a few peers. */
const FIRST_PAGE_BYTES = 512;
/** What a runtime adds to a page: the array object and its buffer. */
const PAGE_OVERHEAD_BYTES = 112;
/** In pages of so many bytes together, even places fit into 16 bits. */
const SHORT_PLACE_BYTES = 131_072;
const KEY_BYTES = 32;

/** A table of peers, in the order of their ids. */
export class PeerTable {
  /** What most names end in; set by the first name. */
  suffix: string;
  /** Whether records are slim, but those of peers in use. */
  isSlim = false;
  readonly #limits: PeerTableLimits;
  readonly #slimmer: PeerSlimmer | undefined;
  #pages: Uint8Array[] = [];
  #pageUsed = 0;
  /** Half of page number times page size plus offset, of each record, by id. */
  #places: Uint16Array | Uint32Array = new Uint16Array(0);
  #count = 0;
  #liveBytes = 0;
  #deadBytes = 0;

  /** `suffix` as another table has it whose records will be copied here, or empty. Without a slimmer all is whole. */
  constructor(limits: PeerTableLimits, slimmer?: PeerSlimmer, suffix = '') {
    this.#limits = limits;
    this.#slimmer = slimmer;
    this.suffix = suffix;
  }

  /** Peers in the table. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all records. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of memory that the table holds. */
  get heldBytes(): number {
    const pages = this.#pages.reduce((sum, page) => sum + page.length + PAGE_OVERHEAD_BYTES, 0);
    return pages + this.#places.byteLength + this.suffix.length;
  }

  /** Slot of the peer with this id, or -1. Slots change when peers come and go. */
  find(id: number): number {
    const slot = this.#lowerBound(id);
    return slot < this.#count && this.idAt(slot) === id ? slot : -1;
  }

  /** Slot of the peer with this node key (32 bytes), or -1; looks at every peer. */
  findKey(key: Uint8Array): number {
    for (let slot = 0; slot < this.#count; slot++) {
      if (this.#hasKey(slot, key, 0)) return slot;
    }
    return -1;
  }

  /** Whether a peer has this disco key (32 bytes), as far as its record can tell; looks at every peer. */
  hasAnyDiscoKey(key: Uint8Array): boolean {
    return this.#findDiscoKey(key, this.#tagOf(key), 0) >= 0;
  }

  /** Slot of the only peer with this disco key (32 bytes); -1 where there is none, or several have it. */
  findOnlyDiscoKey(key: Uint8Array): number {
    const tag = this.#tagOf(key);
    const slot = this.#findDiscoKey(key, tag, 0);
    return slot >= 0 && this.#findDiscoKey(key, tag, slot + 1) < 0 ? slot : -1;
  }

  /** Whether the peer in a slot has this disco key (32 bytes), as far as its record can tell. */
  hasDiscoKey(slot: number, key: Uint8Array): boolean {
    return recordHasDiscoKey(this.pageAt(slot), this.offsetAt(slot), key, this.#tagOf(key));
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

  /** Bytes of the record in a slot. */
  lengthAt(slot: number): number {
    return recordLength(this.pageAt(slot), this.offsetAt(slot));
  }

  /** Whether an address (4 or 16 bytes) may be one of the peer in a slot: false for certain, or worth reading it. */
  hasBytes(slot: number, address: Uint8Array): boolean {
    return recordHasBytes(this.pageAt(slot), this.offsetAt(slot), address);
  }

  /** The page that holds the record of a slot. */
  pageAt(slot: number): Uint8Array {
    return this.#pages[Math.floor((2 * this.#places[slot]!) / this.#pageBytes)]!;
  }

  /** Where in its page the record of a slot begins. */
  offsetAt(slot: number): number {
    return (2 * this.#places[slot]!) % this.#pageBytes;
  }

  /** The suffix for names of this table; the first name decides it. */
  adoptSuffix(name: string): string {
    if (this.suffix === '') this.suffix = suffixOf(name);
    return this.suffix;
  }

  /** Writes a peer into `out` as this table is to keep it; the bytes written, or 0 when it does not fit. */
  write(out: Uint8Array, peer: NetmapPeer): number {
    const isSlim = this.isSlim && this.#slimmer?.wanted.includes(peer.id) !== true;
    return writePeer(out, peer, this.suffix, isSlim ? this.#slimmer : undefined);
  }

  /** Whether the record in a slot is the one at `buf[start)`, to the byte. Both must have the same suffix in mind. */
  isSame(slot: number, buf: Uint8Array, start: number): boolean {
    const length = recordLength(buf, start);
    const page = this.pageAt(slot);
    const offset = this.offsetAt(slot);
    return recordLength(page, offset) === length && equalRange(page, offset, buf, start, length);
  }

  /**
   * Adds or replaces the record at `buf[start)` (copied). `peers` and `bytes` count towards the limits, too. False when
   * a limit is reached; nothing has changed then. Afterwards all records may be slim.
   */
  put(buf: Uint8Array, start: number, peers = 0, bytes = 0): boolean {
    const length = recordLength(buf, start);
    const id = recordId(buf, start);
    const slot = this.#lowerBound(id);
    const isKnown = slot < this.#count && this.idAt(slot) === id;
    const freed = isKnown ? this.lengthAt(slot) : 0;
    const live = this.#liveBytes - freed + length;
    if (!isKnown && this.#count + peers >= this.#limits.peers) return false; // CHECK: map-peer-limit
    if (live + bytes > this.#limits.peerBytes) return false; // CHECK: map-peer-bytes
    if (freed === length) {
      copyBytes(this.pageAt(slot), this.offsetAt(slot), buf, start, start + length);
      return true;
    }
    const place = this.#append(buf, start, length);
    if (!isKnown) this.#insert(slot);
    this.#places[slot] = place / 2;
    this.#deadBytes += freed;
    this.#liveBytes = live;
    if (live + bytes > this.#limits.wholePeerBytes) this.slimDown();
    return true;
  }

  /** Removes a peer by id; false when there was none. */
  remove(id: number): boolean {
    const slot = this.find(id);
    if (slot < 0) return false;
    const length = this.lengthAt(slot);
    this.#liveBytes -= length;
    this.#deadBytes += length;
    this.#places.copyWithin(slot, slot + 1, this.#count--);
    return true;
  }

  /** Removes all peers but those in slots whose bit is set (the lowest of the first byte: slot 0). */
  keepOnly(slots: Uint8Array): void {
    let kept = 0;
    for (let slot = 0; slot < this.#count; slot++) {
      if ((slots[slot >> 3]! & (1 << (slot & 7))) !== 0) {
        this.#places[kept++] = this.#places[slot]!;
        continue;
      }
      const length = this.lengthAt(slot);
      this.#liveBytes -= length;
      this.#deadBytes += length;
    }
    this.#count = kept;
  }

  /** From now on records are slim, those that are there included, but those of peers in use. */
  slimDown(): void {
    if (this.isSlim || this.#slimmer === undefined) return;
    this.isSlim = true;
    this.#collect(new Uint8Array(this.#limits.recordBytes));
  }

  /** Marks a peer as online or not; false when there is none with this id. */
  setOnline(id: number, isOnline: boolean): boolean {
    const slot = this.find(id);
    if (slot >= 0) setRecordOnline(this.pageAt(slot), this.offsetAt(slot), isOnline);
    return slot >= 0;
  }

  /** Removes peers whose key another peer with a lower id has, or is `own`; returns their ids. */
  removeSharedKeys(own: Uint8Array): ReadonlySet<number> {
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
        const page = this.pageAt(other);
        if (!this.#hasKey(slot, page, recordKeyAt(page, this.offsetAt(other)))) continue;
        doomed.add(this.idAt(slot));
        break;
      }
    }
    for (const id of doomed) this.remove(id);
    return doomed;
  }

  /** Gives memory back that removed and grown records have left, when it is worth it. */
  compact(): void {
    if (this.#deadBytes > Math.max(this.#pageBytes / 4, this.#liveBytes / 8)) this.#collect();
    const last = this.#pages.at(-1);
    if (last === undefined || last.length - this.#pageUsed < FIRST_PAGE_BYTES) return;
    this.#pages[this.#pages.length - 1] = last.slice(0, this.#pageUsed);
  }

  get #pageBytes(): number {
    return even(Math.max(PAGE_BYTES, this.#limits.recordBytes));
  }

  /** Makes room for `count` places, of 32 bits where 16 are not enough for the pages that there are. */
  #resizePlaces(count: number): void {
    const isShort = this.#pages.length * this.#pageBytes <= SHORT_PLACE_BYTES;
    const larger = isShort ? new Uint16Array(count) : new Uint32Array(count);
    larger.set(this.#places);
    this.#places = larger;
  }

  #tagOf(discoKey: Uint8Array): Uint8Array | undefined {
    return this.#slimmer?.tag(discoKey);
  }

  #findDiscoKey(key: Uint8Array, tag: Uint8Array | undefined, from: number): number {
    for (let slot = from; slot < this.#count; slot++)
      if (recordHasDiscoKey(this.pageAt(slot), this.offsetAt(slot), key, tag)) return slot;
    return -1;
  }

  /**
   * Moves all records together, in the order of their places, so that none is overwritten before it has moved. With
   * scratch memory for one, they become slim on the way.
   */
  #collect(scratch?: Uint8Array): void {
    const pages = this.#pages;
    const pageBytes = this.#pageBytes;
    let [toPage, to] = [0, 0];
    for (let fromPage = 0; fromPage < pages.length; fromPage++) {
      const page = pages[fromPage]!;
      const end = fromPage === pages.length - 1 ? this.#pageUsed : page.length;
      for (let from = 0, next = 0; from < end; from = next) {
        const length = recordLength(page, from);
        if (length === 0) break;
        next = from + even(length);
        const slot = this.find(recordId(page, from));
        if (slot < 0 || 2 * this.#places[slot]! !== fromPage * pageBytes + from) continue;
        const slim = scratch === undefined ? 0 : this.write(scratch, this.peerAt(slot));
        const room = pages[toPage]!.length - to;
        if (even(slim || length) > room) {
          if (room > 0) pages[toPage]![to] = 0;
          toPage++;
          to = 0;
        }
        if (slim > 0) copyBytes(pages[toPage]!, to, scratch!, 0, slim);
        else if (toPage === fromPage) page.copyWithin(to, from, from + length);
        else copyBytes(pages[toPage]!, to, page, from, from + length);
        this.#places[slot] = (toPage * pageBytes + to) / 2;
        if (slim > 0) this.#liveBytes -= length - slim;
        to += even(slim || length);
      }
    }
    pages.length = Math.min(pages.length, toPage + 1);
    this.#pageUsed = to;
    this.#deadBytes = 0;
  }

  #keyStart(slot: number): number {
    const page = this.pageAt(slot);
    return readU32LE(page, recordKeyAt(page, this.offsetAt(slot)));
  }

  #hasKey(slot: number, buf: Uint8Array, at: number): boolean {
    const page = this.pageAt(slot);
    return equalRange(page, recordKeyAt(page, this.offsetAt(slot)), buf, at, KEY_BYTES);
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

  /** The place of the copy. */
  #append(buf: Uint8Array, start: number, length: number): number {
    const pageBytes = this.#pageBytes;
    let last = this.#pages.at(-1);
    // Before memory is taken for it, what a long message leaves behind is collected.
    if (last === undefined || this.#pageUsed + length > pageBytes) {
      if (this.#deadBytes > Math.max(pageBytes / 4, this.#liveBytes / 8)) this.#collect();
      last = this.#pages.at(-1);
    }
    const wanted = this.#pageUsed + length;
    if (last === undefined || wanted > pageBytes) {
      if (last !== undefined && this.#pageUsed < last.length) last[this.#pageUsed] = 0;
      this.#pages.push(new Uint8Array(last === undefined ? even(Math.max(FIRST_PAGE_BYTES, length)) : pageBytes));
      this.#pageUsed = 0;
      const isTooShort = this.#pages.length * pageBytes > SHORT_PLACE_BYTES && this.#places instanceof Uint16Array;
      if (isTooShort) this.#resizePlaces(this.#places.length);
    } else if (wanted > last.length) {
      const larger = new Uint8Array(Math.min(pageBytes, Math.max(last.length + FIRST_PAGE_BYTES, even(wanted))));
      larger.set(last);
      this.#pages[this.#pages.length - 1] = larger;
    }
    const page = this.#pages.length - 1;
    const offset = this.#pageUsed;
    copyBytes(this.#pages[page]!, offset, buf, start, start + length);
    this.#pageUsed += even(length);
    return page * pageBytes + offset;
  }

  #insert(slot: number): void {
    if (this.#count === this.#places.length)
      this.#resizePlaces(Math.min(this.#limits.peers, this.#count + Math.max(16, this.#count >> 3)));
    this.#places.copyWithin(slot + 1, slot, this.#count++);
  }
}

function even(length: number): number {
  return length + (length & 1);
}
