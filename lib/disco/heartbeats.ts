/**
 * Peers with a heartbeat, as a chain through them. All intervals are the same, so the one that was started first is
 * always the next.
 */
import { HEARTBEAT_MS } from './limits.ts';
import type { DiscoPeer } from './peer.ts';

/** The heartbeats of a device. */
export class Heartbeats {
  #first: DiscoPeer | undefined = undefined;
  #last: DiscoPeer | undefined = undefined;

  /** When the next is due; Infinity for none. */
  get nextMs(): number {
    return this.#first === undefined ? Number.POSITIVE_INFINITY : this.#first.heartbeatMs;
  }

  /** The peers, the next one first. */
  values(): readonly DiscoPeer[] {
    const peers: DiscoPeer[] = [];
    for (let peer = this.#first; peer !== undefined; peer = peer.nextHeartbeat) peers.push(peer);
    return peers;
  }

  /** Starts one, unless there is one already. */
  start(nowMs: number, peer: DiscoPeer): void {
    if (peer.heartbeatMs !== Number.POSITIVE_INFINITY) return;
    peer.heartbeatMs = nowMs + HEARTBEAT_MS;
    if (this.#last === undefined) this.#first = peer;
    else this.#last.nextHeartbeat = peer;
    this.#last = peer;
  }

  /** Stops one, if there is one. Looks at all before it: for peers that leave. */
  stop(peer: DiscoPeer): void {
    if (peer.heartbeatMs === Number.POSITIVE_INFINITY) return;
    let before: DiscoPeer | undefined;
    for (let each = this.#first; each !== peer; each = each!.nextHeartbeat) before = each;
    if (before === undefined) this.#first = peer.nextHeartbeat;
    else before.nextHeartbeat = peer.nextHeartbeat;
    if (this.#last === peer) this.#last = before;
    peer.nextHeartbeat = undefined;
    peer.heartbeatMs = Number.POSITIVE_INFINITY;
  }

  /** Stops one that is due and gives its peer. */
  takeDue(nowMs: number): DiscoPeer | undefined {
    const peer = this.#first;
    if (peer === undefined || peer.heartbeatMs > nowMs) return undefined;
    this.stop(peer);
    return peer;
  }
}
