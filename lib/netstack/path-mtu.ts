/**
 * Path MTUs below the stack's own, as routers reported them (RFC 1191 §6.3, RFC 8201 §5.3).
 *
 * Bounded: a full table forgets its oldest entry. An entry is forgotten ten minutes after it was last lowered, so
 * that a path that grew is found again. Nobody can push an MTU below the family's minimum. Whether a report deserves
 * belief is decided before it comes here.
 */
import { equalRange, readU32BE } from '../base/bytes.ts';
import { IpPath } from './path.ts';

/** Least path MTU for IPv4: what every host takes (RFC 1122 §3.3.2). RFC 791's 68 would only serve an attacker. */
export const MIN_MTU_IPV4_BYTES = 576;
/** Least path MTU for IPv6 (RFC 8200 §5). */
export const MIN_MTU_IPV6_BYTES = 1280;
/** How long a report is believed (RFC 8201 §4: at least five minutes, ten recommended). */
export const PATH_MTU_EXPIRY_MS = 600_000;

interface Entry {
  readonly address: Uint8Array;
  readonly hash: number;
  mtu: number;
  expiresMs: number;
}

/** The table; see the top of the file. */
export class PathMtuTable {
  readonly #mtu: number;
  readonly #limit: number;
  readonly #entries: Entry[] = [];

  /** `mtu` is what a path without an entry has; `limit` is the number of entries. */
  constructor(mtu: number, limit: number) {
    this.#mtu = mtu;
    this.#limit = limit;
  }

  /** Entries, expired ones included. */
  get size(): number {
    return this.#entries.length;
  }

  /** Largest packet in bytes towards the address of `length` bytes (4 or 16) at `offset`. */
  get(nowMs: number, buf: Uint8Array, offset: number, length: number): number {
    if (this.#entries.length === 0) return this.#mtu;
    const at = this.#find(buf, offset, length);
    if (at < 0) return this.#mtu;
    const entry = this.#entries[at]!;
    if (entry.expiresMs > nowMs) return entry.mtu;
    this.#entries.splice(at, 1);
    return this.#mtu;
  }

  /** A path between two addresses of one family, with the MTU that it has now. */
  createPath(nowMs: number, local: Uint8Array, remote: Uint8Array): IpPath {
    return new IpPath(local, remote, this.get(nowMs, remote, 0, remote.length));
  }

  /**
   * Lowers the path MTU towards an address to `mtu`, but not below the family's minimum. Returns the MTU that holds
   * now. A report that would raise it changes nothing.
   */
  lower(nowMs: number, buf: Uint8Array, offset: number, length: number, mtu: number): number {
    const current = this.get(nowMs, buf, offset, length);
    const wanted = clampMtu(length === 4 ? 4 : 6, mtu);
    if (wanted >= current) return current;
    const at = this.#find(buf, offset, length);
    const address = buf.slice(offset, offset + length);
    if (at >= 0) this.#entries.splice(at, 1);
    if (this.#entries.length >= this.#limit) this.#entries.shift(); // CHECK: path-mtu-table-limit
    const expiresMs = nowMs + PATH_MTU_EXPIRY_MS;
    this.#entries.push({ address, hash: hashAddress(buf, offset, length), mtu: wanted, expiresMs });
    return wanted;
  }

  #find(buf: Uint8Array, offset: number, length: number): number {
    const hash = hashAddress(buf, offset, length);
    for (let i = 0; i < this.#entries.length; i++) {
      const entry = this.#entries[i]!;
      if (entry.hash !== hash || entry.address.length !== length) continue;
      if (equalRange(entry.address, 0, buf, offset, length)) return i;
    }
    return -1;
  }
}

/** `mtu`, but at least the family's minimum. */
export function clampMtu(family: 4 | 6, mtu: number): number {
  const least = family === 4 ? MIN_MTU_IPV4_BYTES : MIN_MTU_IPV6_BYTES;
  if (mtu < least) return least; // CHECK: path-mtu-floor
  return mtu;
}

function hashAddress(buf: Uint8Array, offset: number, length: number): number {
  let hash = 0;
  for (let i = 0; i < length; i += 4) hash ^= readU32BE(buf, offset + i) | 0;
  return hash;
}
