/**
 * What one viewer has been told and still has to be told, by slot: small numbers that a tailnet gives to its devices and
 * users. Every viewer has these sets, so a full mesh has as many of them as the square of its devices is large: a bit
 * per device for what is known, and a byte for what is dirty only while much is.
 */

/** A set of small numbers, a bit each. */
export class SlotSet {
  #bits = new Uint8Array(0);

  has(slot: number): boolean {
    return ((this.#bits[slot >> 3] ?? 0) & (1 << (slot & 7))) !== 0;
  }

  add(slot: number): void {
    if (slot >> 3 >= this.#bits.length) this.#grow(slot);
    this.#bits[slot >> 3]! |= 1 << (slot & 7);
  }

  delete(slot: number): void {
    if (slot >> 3 < this.#bits.length) this.#bits[slot >> 3]! &= ~(1 << (slot & 7));
  }

  clear(): void {
    this.#bits = new Uint8Array(0);
  }

  /** All members, ascending. */
  slots(): number[] {
    const out: number[] = [];
    for (let slot = 0; slot < 8 * this.#bits.length; slot++) if (this.has(slot)) out.push(slot);
    return out;
  }

  #grow(slot: number): void {
    const larger = new Uint8Array(Math.max(16, Math.ceil(((slot >> 3) + 1) * 1.5)));
    larger.set(this.#bits);
    this.#bits = larger;
  }
}

/** Up to this many dirty slots are a list. */
const LISTED = 24;

/** Slots with up to eight bits each that say what of them is dirty. */
export class DirtySet {
  /** Slots with any bit. */
  count = 0;
  /** Slot times 256 plus bits, while there are few. */
  #list: number[] = [];
  /** Bits by slot, while there are many. */
  #table: Uint8Array | undefined = undefined;

  /** A dirty slot; -1: there is none. */
  get first(): number {
    if (this.#table !== undefined) return this.#table.findIndex(bits => bits !== 0);
    return this.#list.length > 0 ? Math.floor(this.#list[0]! / 256) : -1;
  }

  /** The bits of a slot; 0: clean. */
  get(slot: number): number {
    if (this.#table !== undefined) return this.#table[slot] ?? 0;
    const at = this.#find(slot);
    return at < 0 ? 0 : this.#list[at]! % 256;
  }

  /** Adds bits (1 to 255) to a slot. */
  mark(slot: number, bits: number): void {
    if (this.#table === undefined) {
      const at = this.#find(slot);
      if (at >= 0) {
        this.#list[at]! |= bits;
        return;
      }
      if (this.count < LISTED) {
        this.#list.push(slot * 256 + bits);
        this.count++;
        return;
      }
      this.#spill();
    }
    if (slot >= this.#table!.length) this.#grow(slot);
    if (this.#table![slot] === 0) this.count++;
    this.#table![slot]! |= bits;
  }

  /** Makes a slot clean. */
  delete(slot: number): void {
    if (this.#table === undefined) {
      const at = this.#find(slot);
      if (at < 0) return;
      this.#list[at] = this.#list[this.count - 1]!;
      this.#list.pop();
      this.count--;
    } else if ((this.#table[slot] ?? 0) !== 0) {
      this.#table[slot] = 0;
      this.count--;
      if (this.count === 0) this.#table = undefined;
    }
  }

  clear(): void {
    this.#list = [];
    this.#table = undefined;
    this.count = 0;
  }

  /** All dirty slots, in no order. */
  slots(): number[] {
    if (this.#table === undefined) return this.#list.map(item => Math.floor(item / 256));
    const out: number[] = [];
    for (let slot = 0; slot < this.#table.length; slot++) if (this.#table[slot] !== 0) out.push(slot);
    return out;
  }

  #find(slot: number): number {
    for (let i = 0; i < this.#list.length; i++) if (Math.floor(this.#list[i]! / 256) === slot) return i;
    return -1;
  }

  #spill(): void {
    this.#table = new Uint8Array(256);
    for (const item of this.#list) {
      const slot = Math.floor(item / 256);
      if (slot >= this.#table.length) this.#grow(slot);
      this.#table[slot] = item % 256;
    }
    this.#list = [];
  }

  #grow(slot: number): void {
    const larger = new Uint8Array(Math.ceil((slot + 1) * 1.5));
    larger.set(this.#table!);
    this.#table = larger;
  }
}
