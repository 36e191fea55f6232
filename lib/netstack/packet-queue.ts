/**
 * A bounded first-in first-out queue of byte records in one ring: what holds datagrams on their way in and out.
 *
 * Every record is contiguous, so that it can be written and read in place. The ring starts empty, grows by doubling
 * up to its limit, and is given back once it is empty and larger than what is worth keeping: in a queue of a
 * microcontroller that is nothing. A full queue refuses the newest record; nothing that was accepted is lost.
 */
import { NO_BYTES, readU32BE, writeU32BE } from '../base/bytes.ts';

/** Bytes that each record costs on top of its own. */
const RECORD_OVERHEAD_BYTES = 4;
const FIRST_CAPACITY_BYTES = 2048;
/** An empty ring of at most this size is kept for the next records. */
const KEPT_CAPACITY_BYTES = 65_536;
/** A queue with a limit of at most this is a small one: its ring starts smaller, and none is kept while it is empty. */
const SMALL_LIMIT_BYTES = 16_384;
const SMALL_FIRST_CAPACITY_BYTES = 128;

/** The queue; see the top of the file. */
export class PacketQueue {
  readonly #limitBytes: number;
  readonly #limitRecords: number;
  #buf = NO_BYTES;
  #head = 0;
  #tail = 0;
  /** Where the records before the wrap end; meaningful only while `#isWrapped`. */
  #wrapEnd = 0;
  #isWrapped = false;
  #reserved = 0;
  #count = 0;
  #bytes = 0;

  /** `limitBytes` bounds the ring's memory, 4 bytes of overhead per record included; `limitRecords` the records. */
  constructor(limitBytes: number, limitRecords: number) {
    this.#limitBytes = limitBytes;
    this.#limitRecords = limitRecords;
  }

  /** The ring. Changes when the queue grows: read it after {@link reserve} and {@link peek}. */
  get buf(): Uint8Array {
    return this.#buf;
  }

  /** Records that wait. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the records that wait, overhead included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of memory that the ring holds now. */
  get capacity(): number {
    return this.#buf.length;
  }

  /**
   * Finds room for a record of `bytes` and returns its offset in {@link buf}, or -1 when the queue is full. The record
   * counts only after {@link commit}; a later reserve replaces an uncommitted one.
   */
  reserve(bytes: number): number {
    const needed = bytes + RECORD_OVERHEAD_BYTES;
    if (this.#count >= this.#limitRecords) return -1; // CHECK: packet-queue-records
    if (this.#bytes + needed > this.#limitBytes) return -1;
    let at = this.#findRoom(needed);
    if (at < 0 && this.#grow(needed)) at = this.#findRoom(needed);
    if (at < 0) return -1;
    this.#reserved = at;
    writeU32BE(this.#buf, at, bytes);
    return at + RECORD_OVERHEAD_BYTES;
  }

  /** Adds the record that was reserved last. */
  commit(): void {
    const at = this.#reserved;
    const needed = readU32BE(this.#buf, at) + RECORD_OVERHEAD_BYTES;
    if (this.#count > 0 && at < this.#tail) {
      this.#wrapEnd = this.#tail;
      this.#isWrapped = true;
    }
    this.#tail = at + needed;
    this.#count++;
    this.#bytes += needed;
  }

  /** Offset in {@link buf} of the oldest record, or -1 when there is none. */
  peek(): number {
    return this.#count === 0 ? -1 : this.#head + RECORD_OVERHEAD_BYTES;
  }

  /** Bytes of the oldest record. */
  peekBytes(): number {
    return readU32BE(this.#buf, this.#head);
  }

  /** Removes the oldest record. Its bytes stay readable in {@link buf} until the next reserve. */
  shift(): void {
    const bytes = this.peekBytes() + RECORD_OVERHEAD_BYTES;
    this.#count--;
    this.#bytes -= bytes;
    this.#head += bytes;
    if (this.#count === 0) {
      this.#head = 0;
      this.#tail = 0;
      this.#isWrapped = false;
    } else if (this.#isWrapped && this.#head === this.#wrapEnd) {
      this.#head = 0;
      this.#isWrapped = false;
    }
  }

  /**
   * Gives memory back when the queue is empty and its ring is larger than what is kept. Call it once what was read has
   * been used.
   */
  trim(): void {
    const kept = this.#limitBytes <= SMALL_LIMIT_BYTES ? 0 : KEPT_CAPACITY_BYTES;
    if (this.#count === 0 && this.#buf.length > kept) this.#buf = NO_BYTES;
  }

  /** Forgets all records and gives all memory back. */
  clear(): void {
    this.#buf = NO_BYTES;
    this.#head = 0;
    this.#tail = 0;
    this.#isWrapped = false;
    this.#count = 0;
    this.#bytes = 0;
  }

  /** Offset where `needed` bytes fit without touching a waiting record, or -1. */
  #findRoom(needed: number): number {
    if (this.#isWrapped) return this.#head - this.#tail >= needed ? this.#tail : -1;
    if (this.#buf.length - this.#tail >= needed) return this.#tail;
    // INVARIANT: count > 0 here or head is 0, so a record placed at 0 never meets a tail that means "empty".
    return this.#head >= needed ? 0 : -1;
  }

  #grow(needed: number): boolean {
    const first = this.#limitBytes <= SMALL_LIMIT_BYTES ? SMALL_FIRST_CAPACITY_BYTES : FIRST_CAPACITY_BYTES;
    let capacity = Math.max(this.#buf.length * 2, first);
    while (capacity < this.#bytes + needed) capacity *= 2;
    capacity = Math.min(capacity, this.#limitBytes);
    if (capacity <= this.#buf.length) return false;
    const old = this.#buf;
    const next = new Uint8Array(capacity);
    let at = 0;
    if (this.#count > 0) {
      const firstEnd = this.#isWrapped ? this.#wrapEnd : this.#tail;
      next.set(old.subarray(this.#head, firstEnd), 0);
      at = firstEnd - this.#head;
      if (this.#isWrapped) {
        next.set(old.subarray(0, this.#tail), at);
        at += this.#tail;
      }
    }
    this.#buf = next;
    this.#head = 0;
    this.#tail = at;
    this.#isWrapped = false;
    return true;
  }
}
