/**
 * How often one source may do something: a token bucket per source, in a table of fixed size (WireGuard §5.3.5).
 *
 * A source is an IPv4 address or an IPv6 /64 network, since whoever has one IPv6 address usually has 2^64 of them.
 * The bucket is kept as the time at which it will be full again (the generic cell rate algorithm: the same decisions
 * from a single number), so a quiet source needs no entry at all. The table has sets of four entries; a new source
 * takes the place of the one in its set that is fullest. That forgets somebody's debt at worst, never more.
 */
import { readU32BE } from '../base/bytes.ts';

/** Ms that one message costs: 20 per second. */
const COST_MS = 50;
/** Ms of debt up to which a further message is allowed: a burst of five. */
const MAX_DEBT_MS = 4 * COST_MS;
const WAYS = 4;
/** Marks the first key word of an IPv4 source; as IPv6 it would be a multicast network, which is never a source. */
const IPV4_MARK = 0xffff_ffff;

/** Buckets of many sources. */
export class RateLimiter {
  readonly #sets: number;
  readonly #seed: number;
  /** Two words per entry. */
  readonly #keys: Uint32Array;
  /** 0: empty; otherwise the class of the bucket plus 1. */
  readonly #classes: Uint8Array;
  /** When the bucket is full again, in ms. */
  readonly #fullAt: Float64Array;

  /** Room for at least `sources` (1 or more); `seed` is a random 32-bit number that keeps strangers from aiming. */
  constructor(sources: number, seed: number) {
    this.#sets = 1 << Math.max(0, Math.ceil(Math.log2(sources / WAYS)));
    this.#seed = seed;
    const entries = this.#sets * WAYS;
    this.#keys = new Uint32Array(2 * entries);
    this.#classes = new Uint8Array(entries);
    this.#fullAt = new Float64Array(entries);
  }

  /**
   * Whether a message from the source is within its rate; if so it is counted. `address` is 16 bytes (IPv4 mapped);
   * `bucketClass` (0 to 254) names one of several independent buckets of the same source.
   */
  allow(nowMs: number, address: Uint8Array, bucketClass: number): boolean {
    const isV4 = isMappedV4(address);
    const high = isV4 ? IPV4_MARK : readU32BE(address, 0);
    const low = readU32BE(address, isV4 ? 12 : 4);
    const entry = this.#find(high, low, bucketClass + 1);
    const fullAt = Math.max(this.#fullAt[entry]!, nowMs);
    if (fullAt - nowMs > MAX_DEBT_MS) return false; // CHECK: wg-source-rate
    this.#fullAt[entry] = fullAt + COST_MS;
    return true;
  }

  /** The entry of a source; for a new one the fullest bucket of its set is emptied for it. */
  #find(high: number, low: number, bucketClass: number): number {
    const first = this.#hash(high, low, bucketClass) * WAYS;
    let oldest = first;
    for (let entry = first; entry < first + WAYS; entry++) {
      if (this.#classes[entry] === bucketClass && this.#keys[2 * entry] === high && this.#keys[2 * entry + 1] === low)
        return entry;
      if (this.#fullAt[entry]! < this.#fullAt[oldest]!) oldest = entry;
    }
    this.#classes[oldest] = bucketClass;
    this.#keys[2 * oldest] = high;
    this.#keys[2 * oldest + 1] = low;
    this.#fullAt[oldest] = 0;
    return oldest;
  }

  #hash(high: number, low: number, bucketClass: number): number {
    let hash = Math.imul(this.#seed ^ high, 0x9e37_79b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ low, 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 13) ^ bucketClass, 0xc2b2_ae35);
    return (hash ^ (hash >>> 16)) & (this.#sets - 1);
  }
}

function isMappedV4(address: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (address[i] !== 0) return false;
  return address[10] === 0xff && address[11] === 0xff;
}
