/** Helpers of the crypto tests: seeded bytes, hex, and the columns of the reduced Wycheproof files. */
import { fromHex } from '../../lib/base/bytes.ts';

/** Bytes of a hex text; throws when it is none, so that a broken vector file does not pass as an empty one. */
export function hex(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === undefined) throw new Error(`not hex: ${text}`);
  return bytes;
}

/** `length` bytes that count up from `first`. */
export function ramp(length: number, first = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => first + i);
}

/** Reproducible bytes: the same seed gives the same sequence (xorshift32; good enough to vary tests, for nothing else). */
export class Seeded {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** A number of 0 to `limit - 1`. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }

  /** `length` bytes. */
  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.below(256);
    return out;
  }
}

/** A reduced Wycheproof file. */
export interface Wycheproof {
  readonly columns: readonly string[];
  readonly tests: readonly (readonly (string | number)[])[];
}

/** The tests of a reduced file as objects by column; `count` is how many there must be. */
export function casesOf(file: Wycheproof, count: number): { readonly [column: string]: string }[] {
  if (file.tests.length !== count) throw new Error(`expected ${count} tests, got ${file.tests.length}`);
  return file.tests.map(row => Object.fromEntries(file.columns.map((column, i) => [column, String(row[i])])));
}

/** Runs `action` and gives what it throws; fails when it does not. */
export function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('expected a throw');
}
