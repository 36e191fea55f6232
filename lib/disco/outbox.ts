/**
 * Messages of path discovery that wait to be sent, first in, first out, and bounded for each peer and for all: one peer
 * that asks much does not keep us from answering others.
 */
import type { Endpoint } from '../base/address.ts';
import type { Candidate } from './candidate.ts';
import type { DiscoLimits } from './limits.ts';
import type { DiscoPeer } from './peer.ts';

/** What to send to a peer. Its bytes are made when it leaves, so that its time is right. */
export type DiscoJob =
  /** To a candidate, or through a relay; `ping` is the number of the user's ping, 0 for none. */
  | {
      readonly type: 'ping';
      readonly peer: DiscoPeer;
      readonly candidate: Candidate | undefined;
      readonly region: number;
      readonly ping: number;
    }
  /** The answer to a ping `id`, the way it came: to `to`, or through a relay. */
  | {
      readonly type: 'pong';
      readonly peer: DiscoPeer;
      readonly id: Uint8Array;
      readonly to: Endpoint | undefined;
      readonly region: number;
    }
  /** Own addresses, through the peer's home relay. */
  | { readonly type: 'call'; readonly peer: DiscoPeer };

/** The queue. */
export class Outbox {
  readonly #limits: DiscoLimits;
  /** Undefined while there is none. */
  #jobs: DiscoJob[] | undefined = undefined;
  #head = 0;

  /** An empty queue. */
  constructor(limits: DiscoLimits) {
    this.#limits = limits;
  }

  /** How many wait. */
  get size(): number {
    return this.#jobs === undefined ? 0 : this.#jobs.length - this.#head;
  }

  /** Adds one; false when there is no room. */
  push(job: DiscoJob): boolean {
    if (job.peer.queued >= this.#limits.queuedPerPeer) return false; // CHECK: disco-queue-peer
    if (this.size >= this.#limits.queued) return false; // CHECK: disco-queue
    job.peer.queued++;
    this.#jobs ??= [];
    this.#jobs.push(job);
    return true;
  }

  /** Takes the oldest. */
  shift(): DiscoJob | undefined {
    const jobs = this.#jobs;
    const job = jobs?.[this.#head];
    if (jobs === undefined || job === undefined) return undefined;
    job.peer.queued--;
    this.#head++;
    if (this.#head === jobs.length) this.#restart(undefined);
    else if (this.#head * 2 > jobs.length) this.#restart(jobs.slice(this.#head));
    return job;
  }

  #restart(jobs: DiscoJob[] | undefined): void {
    this.#jobs = jobs;
    this.#head = 0;
  }
}
