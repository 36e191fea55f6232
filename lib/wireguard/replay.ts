/**
 * The replay window (RFC 6479, WireGuard §5.4.6): which counters of a session have been seen.
 *
 * A ring of 32-bit words; the word of a counter is `counter / 32` modulo the ring. The word that holds the greatest
 * counter is only partly filled, so the usable window is one word less than the ring:
 *
 *     ...| 31 .. 0 | 31 .. 0 | 31 .. greatest .. 0 |
 *        ^ greatest - window                       ^ cleared as the greatest moves on
 *
 * Counters are numbers of 0 to 2^53-1. Only {@link ReplayWindow.mark} changes anything, and it is to be called after
 * the packet has been authenticated: otherwise anybody could move the window.
 */

/** The window of one session. */
export class ReplayWindow {
  readonly #words: Uint32Array;
  readonly #mask: number;
  /** How far below the greatest counter one may be: `bits - 32`. */
  readonly windowBits: number;
  readonly #limit: number;
  #greatest = 0;

  /** `bits` is a power of two of at least 64; counters of `limit` (at most 2^53) and above are refused. */
  constructor(bits: number, limit: number) {
    if (!Number.isInteger(Math.log2(bits)) || bits < 64 || bits > 2 ** 20)
      throw new RangeError(`"bits" expected a power of two of 64 to 2^20, got ${bits}`);
    this.#words = new Uint32Array(bits / 32);
    this.#mask = bits / 32 - 1;
    this.windowBits = bits - 32;
    this.#limit = limit;
  }

  /** The greatest counter that was seen; 0 also when none was. */
  get greatest(): number {
    return this.#greatest;
  }

  /** Takes every counter up to this one as seen. */
  skipTo(counter: number): void {
    this.#words.fill(0xffff_ffff);
    this.#greatest = counter;
    // What lies above it shares its word.
    for (let bit = (counter % 32) + 1; bit < 32; bit++) this.#words[this.#position(counter)]! &= ~(1 << bit);
  }

  /** Whether the counter is neither seen, nor too old, nor at the limit. Changes nothing. */
  isFresh(counter: number): boolean {
    if (counter >= this.#limit) return false; // CHECK: replay-limit
    if (counter > this.#greatest) return true;
    if (this.#greatest - counter > this.windowBits) return false; // CHECK: replay-too-old
    return (this.#words[this.#position(counter)]! & (1 << (counter % 32))) === 0;
  }

  /** Remembers a counter that {@link isFresh}. */
  mark(counter: number): void {
    if (counter > this.#greatest) this.#advance(counter);
    this.#words[this.#position(counter)]! |= 1 << (counter % 32);
  }

  /** Erases all that was seen (numbers of packets are nobody's business once the session is gone). */
  wipe(): void {
    this.#words.fill(0);
    this.#greatest = 0;
  }

  #advance(counter: number): void {
    const from = Math.floor(this.#greatest / 32);
    const steps = Math.floor(counter / 32) - from;
    if (steps > this.#mask) this.#words.fill(0);
    else for (let i = 1; i <= steps; i++) this.#words[(from + i) & this.#mask] = 0;
    this.#greatest = counter;
  }

  /** INVARIANT: bitwise and takes a number modulo 2^32, which the ring's length divides, so this is right up to 2^53. */
  #position(counter: number): number {
    return Math.floor(counter / 32) & this.#mask;
  }
}
