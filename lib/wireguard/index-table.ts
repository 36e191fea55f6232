/**
 * Receiver indices: random 32-bit numbers to what they stand for (WireGuard §5.4.2 "sender index").
 *
 * Open addressing with linear probing over an array of what has the index, so that a lookup per packet allocates
 * nothing. Indices are drawn from the generator, never counted up: counted ones would link the sessions of a peer to an
 * onlooker.
 */
import { readU32LE } from '../base/bytes.ts';

const FIRST_SLOTS = 4;
/** A generator that gives taken numbers so often in a row is broken. */
const MAX_DRAWS = 100;

/** What has an index, 0 to 2^32-1. */
export interface Indexed {
  readonly localIndex: number;
}

/** A table from index to `T`; it grows and shrinks with what is in it. */
export class IndexTable<T extends Indexed> {
  /** A power of two of slots. INVARIANT: one is empty, or a search would not end. */
  #slots: (T | undefined)[] = [undefined];
  #size = 0;

  /** How many indices are in use. */
  get size(): number {
    return this.#size;
  }

  /** What has an index. */
  get(index: number): T | undefined {
    return this.#slots[this.#find(index)];
  }

  /** Enters something whose index is not in the table. */
  add(value: T): void {
    if ((this.#size + 1) * 2 > this.#slots.length) this.#resize(Math.max(FIRST_SLOTS, this.#slots.length * 2));
    this.#slots[this.#find(value.localIndex)] = value;
    this.#size++;
  }

  /** Removes an index; an unknown one is fine. */
  delete(index: number): void {
    const slot = this.#find(index);
    if (this.#slots[slot] === undefined) return;
    this.#slots[slot] = undefined;
    this.#size--;
    this.#closeGap(slot);
    const { length } = this.#slots;
    if (this.#size === 0) this.#slots = [undefined];
    else if (this.#size * 8 < length && length > FIRST_SLOTS) this.#resize(length / 2);
  }

  /** The slot of an index, or the empty one where it belongs. */
  #find(index: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = index & mask; ; slot = (slot + 1) & mask) {
      const value = slots[slot];
      if (value === undefined || value.localIndex === index) return slot;
    }
  }

  /** Moves what probing would no longer find across the gap. */
  #closeGap(from: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let gap = from;
    for (let slot = (gap + 1) & mask; slots[slot] !== undefined; slot = (slot + 1) & mask) {
      const home = slots[slot]!.localIndex & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[gap] = slots[slot];
      slots[slot] = undefined;
      gap = slot;
    }
  }

  #resize(length: number): void {
    const old = this.#slots;
    this.#slots = new Array(length).fill(undefined);
    for (const value of old) if (value !== undefined) this.#slots[this.#find(value.localIndex)] = value;
  }
}

/** Draws an index that `isTaken` does not know. */
export function drawIndex(random: (out: Uint8Array) => void, isTaken: (index: number) => boolean): number {
  const bytes = new Uint8Array(4);
  for (let i = 0; i < MAX_DRAWS; i++) {
    random(bytes);
    const index = readU32LE(bytes, 0);
    if (!isTaken(index)) return index;
  }
  throw new Error('the random generator repeats itself');
}
