/**
 * Peers with a heartbeat. All intervals are the same, so the one that was started first is always the next.
 */
import { HEARTBEAT_MS } from './limits.ts';
import type { DiscoPeer } from './peer.ts';

/** The heartbeats of a device. */
export class Heartbeats {
  /** When the next is due; Infinity for none. */
  nextMs = Number.POSITIVE_INFINITY;
  readonly #peers = new Set<DiscoPeer>();

  /** The peers, the next one first. */
  values(): Iterable<DiscoPeer> {
    return this.#peers;
  }

  /** Starts one, unless there is one already. */
  start(nowMs: number, peer: DiscoPeer): void {
    if (peer.heartbeatMs !== Number.POSITIVE_INFINITY) return;
    peer.heartbeatMs = nowMs + HEARTBEAT_MS;
    this.#peers.add(peer);
    if (this.#peers.size === 1) this.nextMs = peer.heartbeatMs;
  }

  /** Stops one, if there is one. */
  stop(peer: DiscoPeer): void {
    if (!this.#peers.delete(peer)) return;
    peer.heartbeatMs = Number.POSITIVE_INFINITY;
    this.nextMs = Number.POSITIVE_INFINITY;
    for (const { heartbeatMs } of this.#peers) {
      this.nextMs = heartbeatMs;
      return;
    }
  }

  /** Stops one that is due and gives its peer. */
  takeDue(nowMs: number): DiscoPeer | undefined {
    if (this.nextMs > nowMs) return undefined;
    for (const peer of this.#peers) {
      this.stop(peer);
      return peer;
    }
    return undefined;
  }
}
