/**
 * Receiver indices: random 32-bit numbers to what they stand for (WireGuard §5.4.2 "sender index").
 *
 * Open addressing with linear probing over an integer array, so that a lookup per packet allocates nothing. Indices
 * are drawn from the generator, never counted up: counted ones would link the sessions of a peer to an onlooker.
 */
import { readU32LE } from '../base/bytes.ts';

const FIRST_SLOTS = 4;
/** A generator that gives taken numbers so often in a row is broken. */
const MAX_DRAWS = 100;

/** A table from index to `T`; it grows and shrinks with what is in it. */
export class IndexTable<T> {
  /** As signed 32-bit numbers, which engines keep unboxed. */
  #indices = new Int32Array(FIRST_SLOTS);
  #values: (T | undefined)[] = new Array(FIRST_SLOTS).fill(undefined);
  #size = 0;

  /** How many indices are in use. */
  get size(): number {
    return this.#size;
  }

  /** What an index (0 to 2^32-1) stands for. */
  get(index: number): T | undefined {
    const key = index | 0;
    const mask = this.#indices.length - 1;
    for (let slot = key & mask; ; slot = (slot + 1) & mask) {
      const value = this.#values[slot];
      if (value === undefined || this.#indices[slot] === key) return value;
    }
  }

  /** Enters an index that is not in the table. */
  set(index: number, value: T): void {
    if ((this.#size + 1) * 2 > this.#indices.length) this.#resize(this.#indices.length * 2);
    this.#put(index | 0, value);
    this.#size++;
  }

  /** Removes an index; an unknown one is fine. */
  delete(index: number): void {
    const key = index | 0;
    const mask = this.#indices.length - 1;
    let slot = key & mask;
    while (this.#values[slot] !== undefined && this.#indices[slot] !== key) slot = (slot + 1) & mask;
    if (this.#values[slot] === undefined) return;
    this.#values[slot] = undefined;
    this.#size--;
    this.#closeGap(slot, mask);
    if (this.#size * 8 < this.#indices.length && this.#indices.length > FIRST_SLOTS)
      this.#resize(this.#indices.length / 2);
  }

  /** Moves what probing would no longer find across the gap. */
  #closeGap(from: number, mask: number): void {
    let gap = from;
    for (let slot = (gap + 1) & mask; this.#values[slot] !== undefined; slot = (slot + 1) & mask) {
      const home = this.#indices[slot]! & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      this.#indices[gap] = this.#indices[slot]!;
      this.#values[gap] = this.#values[slot];
      this.#values[slot] = undefined;
      gap = slot;
    }
  }

  #put(key: number, value: T): void {
    const mask = this.#indices.length - 1;
    let slot = key & mask;
    while (this.#values[slot] !== undefined) slot = (slot + 1) & mask;
    this.#indices[slot] = key;
    this.#values[slot] = value;
  }

  #resize(slots: number): void {
    const indices = this.#indices;
    const values = this.#values;
    this.#indices = new Int32Array(slots);
    this.#values = new Array(slots).fill(undefined);
    for (let i = 0; i < values.length; i++) if (values[i] !== undefined) this.#put(indices[i]!, values[i]!);
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
