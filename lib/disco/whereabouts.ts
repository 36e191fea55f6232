/**
 * Where we are: own addresses, as old as they are, and the peers that are to be told as soon as they are known anew. A
 * NAT forgets, so a peer that is told an old address would call at a closed door.
 */
import type { Endpoint } from '../base/address.ts';
import { NEVER } from './candidate.ts';
import { ENDPOINTS_FRESH_MS, ENDPOINTS_RETRY_MS } from './limits.ts';
import type { DiscoPeer } from './peer.ts';

/** Our addresses. */
export class Whereabouts {
  /** What peers are told. */
  endpoints: readonly Endpoint[] = [];
  #atMs = NEVER;
  /** Undefined while nobody waits. */
  #waiting: Set<DiscoPeer> | undefined = undefined;
  #askedMs = NEVER;
  #isWanted = false;

  /** They are known as of now. Gives the peers that wait for it. */
  set(nowMs: number, endpoints: readonly Endpoint[]): Iterable<DiscoPeer> {
    const waiting = this.#waiting ?? [];
    this.endpoints = endpoints;
    this.#atMs = nowMs;
    this.#askedMs = NEVER;
    this.#isWanted = false;
    this.#waiting = undefined;
    return waiting;
  }

  /** They are not true any more. */
  doubt(): void {
    this.#atMs = NEVER;
    this.#askedMs = NEVER;
  }

  /** Whether a peer can be told now. */
  isFresh(nowMs: number): boolean {
    return nowMs - this.#atMs < ENDPOINTS_FRESH_MS;
  }

  /** A peer is to be told; asks for addresses, again if nobody has answered for 5 s. */
  await(nowMs: number, peer: DiscoPeer): void {
    this.#waiting ??= new Set();
    this.#waiting.add(peer);
    if (nowMs - this.#askedMs < ENDPOINTS_RETRY_MS) return;
    this.#askedMs = nowMs;
    this.#isWanted = true;
  }

  /** A peer need not be told. */
  forget(peer: DiscoPeer): void {
    this.#waiting?.delete(peer);
  }

  /** Whether addresses are asked for; true once. */
  takeWanted(): boolean {
    const isWanted = this.#isWanted;
    this.#isWanted = false;
    return isWanted;
  }
}
