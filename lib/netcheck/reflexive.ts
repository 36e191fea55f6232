/**
 * The addresses under which servers have seen us lately: peers may reach us there.
 */
import { type Endpoint, parseAddress, sameEndpoint } from '../base/address.ts';
import { isLoopback } from './servers.ts';

/** How long an address counts after it was seen. */
const KEEP_MS = 300_000;

/** Recent addresses, each once. */
export class ReflexiveAddresses {
  readonly #limit: number;
  /** The one that was seen last at the end. */
  #seen: { readonly endpoint: Endpoint; readonly atMs: number }[] = [];

  /** Keeps `limit` addresses at most: the ones that were seen last. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many are kept. */
  get size(): number {
    return this.#seen.length;
  }

  /** A server saw us there. */
  note(nowMs: number, endpoint: Endpoint): void {
    this.#seen = this.#seen.filter(each => !sameEndpoint(each.endpoint, endpoint));
    this.#seen.push({ endpoint, atMs: nowMs });
    if (this.#seen.length > this.#limit) this.#seen.shift(); // CHECK: netcheck-endpoints
  }

  /** Forgets all. */
  clear(): void {
    this.#seen = [];
  }

  /** What counts: `first` as far as they are there, then what was seen last. */
  list(nowMs: number, first: readonly (Endpoint | undefined)[]): Endpoint[] {
    this.#seen = this.#seen.filter(({ atMs }) => nowMs - atMs < KEEP_MS);
    const out: Endpoint[] = [];
    for (const endpoint of [...first, ...this.#seen.map(each => each.endpoint).reverse()])
      if (endpoint !== undefined && !out.some(each => sameEndpoint(each, endpoint))) out.push(endpoint);
    return out.slice(0, this.#limit);
  }
}

/**
 * Whether `address` can be where a server at `server` saw us: an address of the same family that one host can have.
 * A server that says otherwise errs or lies, and peers would send there.
 */
export function isPossibleSource(address: string, server: string): boolean {
  const bytes = parseAddress(address);
  if (bytes === undefined || address.includes(':') !== server.includes(':')) return false;
  if (isLoopback(address)) return isLoopback(server);
  if (bytes.length === 4) return bytes[0] !== 0 && bytes[0]! < 224 && !(bytes[0] === 169 && bytes[1] === 254);
  const isLinkLocal = bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
  return bytes[0] !== 0xff && !isLinkLocal && bytes.some(byte => byte !== 0);
}
