/**
 * The answering side of STUN (RFC 8489 §6.3.1): a binding request in, what address it came from out. It keeps nothing
 * of a request but how often its source asked.
 *
 * UDP sources can be forged, so that an answer may hit somebody who did not ask. Answers are about as long as requests
 * (32 or 44 bytes for 40), and a source gets no more than a fixed number of them per second. A source is an IPv4
 * address or an IPv6 /64 network. Only requests of tailnet clients are answered (see message.ts).
 */
import { type Endpoint, parseAddress } from '../base/address.ts';
import { readU32BE } from '../base/bytes.ts';
import { parseBindingRequest, unmapAddress, writeBindingResponse } from './message.ts';

/** What a {@link StunResponder} needs. */
export interface StunResponderOptions {
  readonly random: (out: Uint8Array) => void;
  /** Sources that are told apart, rounded up to a power of two. More of them forget each other's debts. Default 4096. */
  readonly sources?: number;
  /** Answers per second and source. Default 20. */
  readonly perSecond?: number;
  /** Answers at once. Default 60: one address may hide many clients. */
  readonly burst?: number;
}

const WAYS = 4;
/** Marks the first key word of an IPv4 source; as IPv6 it would be a multicast network, which is never a source. */
const IPV4_MARK = 0xffff_ffff;

/** The machine; see the top of the file. */
export class StunResponder {
  /** Requests that were answered, that exceeded their source's rate, and datagrams that were none. */
  answered = 0;
  rateLimited = 0;
  malformed = 0;
  readonly #sets: number;
  readonly #seed: number;
  readonly #costMs: number;
  readonly #debtMs: number;
  /** Two words per source. */
  readonly #keys: Uint32Array;
  /** When a source's bucket will be full again. */
  readonly #fullAt: Float64Array;

  /** Throws RangeError for numbers below 1. */
  constructor(options: StunResponderOptions) {
    const { random, sources = 4096, perSecond = 20, burst = 60 } = options;
    for (const [name, value] of Object.entries({ sources, perSecond, burst }))
      if (!(value >= 1)) throw new RangeError(`"${name}" expected 1 or more, got ${value}`);
    const seed = new Uint8Array(4);
    random(seed);
    this.#seed = readU32BE(seed, 0);
    this.#sets = 1 << Math.max(0, Math.ceil(Math.log2(sources / WAYS)));
    this.#costMs = 1000 / perSecond;
    this.#debtMs = (burst - 1) * this.#costMs;
    this.#keys = new Uint32Array(2 * WAYS * this.#sets);
    this.#fullAt = new Float64Array(WAYS * this.#sets).fill(-Infinity);
  }

  /**
   * Answers the datagram `buf[start, end)` that came from `from`: writes to `out` at `outStart` (44 bytes of room) and
   * returns the length, or returns 0 when there is nothing to answer. `out` may be `buf`.
   */
  answer(
    nowMs: number,
    buf: Uint8Array,
    start: number,
    end: number,
    from: Endpoint,
    out: Uint8Array,
    outStart: number,
  ): number {
    const idOffset = parseBindingRequest(buf, start, end);
    const address = parseAddress(from.address);
    if (idOffset < 0 || address === undefined) {
      this.malformed++;
      return 0;
    }
    if (!this.#allow(nowMs, unmapAddress(address))) return this.#limit(); // CHECK: stun-source-rate
    this.answered++;
    const id = buf.slice(idOffset, idOffset + 12);
    return writeBindingResponse(out, outStart, id, 0, from.address, from.port);
  }

  #limit(): number {
    this.rateLimited++;
    return 0;
  }

  #allow(nowMs: number, address: Uint8Array): boolean {
    const isV4 = address.length === 4;
    const high = isV4 ? IPV4_MARK : readU32BE(address, 0);
    const low = readU32BE(address, isV4 ? 0 : 4);
    const entry = this.#find(high, low);
    const fullAt = Math.max(this.#fullAt[entry]!, nowMs);
    if (fullAt - nowMs > this.#debtMs) return false;
    this.#fullAt[entry] = fullAt + this.#costMs;
    return true;
  }

  /** The entry of a source; a new one takes the place of the one in its set that owes least. */
  #find(high: number, low: number): number {
    let hash = Math.imul(this.#seed ^ high, 0x9e37_79b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ low, 0x85eb_ca6b);
    const first = ((hash ^ (hash >>> 13)) & (this.#sets - 1)) * WAYS;
    let least = first;
    for (let entry = first; entry < first + WAYS; entry++) {
      if (this.#keys[2 * entry] === high && this.#keys[2 * entry + 1] === low) return entry;
      if (this.#fullAt[entry]! < this.#fullAt[least]!) least = entry;
    }
    this.#keys[2 * least] = high;
    this.#keys[2 * least + 1] = low;
    this.#fullAt[least] = -Infinity;
    return least;
  }
}
