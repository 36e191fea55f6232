/**
 * Pings under way, by transaction id. All wait equally long, so the oldest is always the next whose time is up.
 */
import type { Candidate } from './candidate.ts';
import { PING_TIMEOUT_MS } from './limits.ts';
import type { DiscoPeer } from './peer.ts';

/** A ping under way. */
export interface SentPing {
  /** Transaction id in hex. */
  readonly id: string;
  readonly peer: DiscoPeer;
  /** Where it was sent; undefined for a relay. */
  readonly candidate: Candidate | undefined;
  readonly region: number;
  /** The number of the user's ping; 0 for none. */
  readonly ping: number;
  readonly atMs: number;
}

/** All of them. Their number is bounded by `DiscoLimits.pings` of each peer. */
export class SentPings {
  /** In the order in which they were sent; undefined while there is none. */
  #pings: Map<string, SentPing> | undefined = undefined;
  /** When the time of the oldest is up; Infinity for none. */
  nextMs = Number.POSITIVE_INFINITY;

  /** The ping with this id. */
  get(id: string): SentPing | undefined {
    return this.#pings?.get(id);
  }

  /** One was sent. */
  add(ping: SentPing): void {
    this.#pings ??= new Map();
    this.#pings.set(ping.id, ping);
    if (this.#pings.size === 1) this.nextMs = ping.atMs + PING_TIMEOUT_MS;
  }

  /** One waits no longer. */
  remove(ping: SentPing): void {
    if (this.#pings?.delete(ping.id) !== true) return;
    ping.peer.pings--;
    this.#look();
  }

  /** None to this peer waits any longer. */
  removeAllOf(peer: DiscoPeer): void {
    for (const ping of this.#pings?.values() ?? []) {
      if (ping.peer !== peer) continue;
      this.#pings!.delete(ping.id);
      peer.pings--;
    }
    this.#look();
  }

  /** Takes one whose time is up. */
  takeDue(nowMs: number): SentPing | undefined {
    if (this.#pings === undefined || this.nextMs > nowMs) return undefined;
    for (const ping of this.#pings.values()) {
      this.remove(ping);
      return ping;
    }
    return undefined;
  }

  #look(): void {
    this.nextMs = Number.POSITIVE_INFINITY;
    for (const ping of this.#pings?.values() ?? []) {
      this.nextMs = ping.atMs + PING_TIMEOUT_MS;
      return;
    }
    this.#pings = undefined;
  }
}
