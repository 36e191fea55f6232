/**
 * The addresses under which servers have seen us lately: peers may reach us there.
 */
import { type Endpoint, formatEndpoint, parseAddress } from '../base/address.ts';
import { isLoopback } from './servers.ts';

/** How long an address counts after it was seen. */
const KEEP_MS = 300_000;

/** Recent addresses, each once. */
export class ReflexiveAddresses {
  readonly #limit: number;
  /** By text, the one that was seen last at the end. */
  readonly #seen = new Map<string, { readonly endpoint: Endpoint; readonly atMs: number }>();

  /** Keeps `limit` addresses at most: the ones that were seen last. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A server saw us there. */
  note(nowMs: number, endpoint: Endpoint): void {
    const text = formatEndpoint(endpoint);
    this.#seen.delete(text);
    this.#seen.set(text, { endpoint, atMs: nowMs });
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= this.#limit) return; // CHECK: netcheck-endpoints
      this.#seen.delete(oldest);
    }
  }

  /** Forgets all. */
  clear(): void {
    this.#seen.clear();
  }

  /** What counts: `first` as far as they are there, then what was seen last. */
  list(nowMs: number, first: readonly (Endpoint | undefined)[]): Endpoint[] {
    const out = new Map<string, Endpoint>();
    for (const endpoint of first) if (endpoint !== undefined) out.set(formatEndpoint(endpoint), endpoint);
    for (const [text, { endpoint, atMs }] of [...this.#seen].reverse()) {
      if (nowMs - atMs >= KEEP_MS) this.#seen.delete(text);
      else if (!out.has(text)) out.set(text, endpoint);
    }
    return [...out.values()].slice(0, this.#limit);
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
