/**
 * Handshakes of peers that the netmap does not have yet: a new device may call before the coordinator's news of it have
 * come. The last few are kept for a moment and tried again when the netmap has changed, instead of being lost until the
 * caller's next try five seconds later (WireGuard §6.4).
 */
import type { Endpoint } from '../base/address.ts';

/** How many are kept; the oldest gives way. */
const MAX_KEPT = 8;
/** For how long: the caller tries again by itself after five seconds. */
const KEEP_MS = 4000;

interface Kept {
  readonly atMs: number;
  readonly bytes: Uint8Array;
  readonly from: Endpoint;
}

/** The handshakes of one device. */
export class EarlyHandshakes {
  #kept: Kept[] = [];

  /** Keeps a copy of the datagram `buf[start, end)`. */
  keep(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): void {
    if (this.#kept.length >= MAX_KEPT) this.#kept.shift();
    this.#kept.push({ atMs: nowMs, bytes: buf.slice(start, end), from });
  }

  /** Gives what is worth another try, and forgets all. */
  take(nowMs: number): readonly Kept[] {
    const kept = this.#kept.filter(({ atMs }) => nowMs - atMs < KEEP_MS);
    this.#kept = [];
    return kept;
  }
}
