/**
 * What is known of the ways to one peer: the addresses it may be at, how long each took to answer, the best of them and
 * until when that is trusted. No messages here: {@link Disco} asks, this answers.
 *
 * An address stays while the netmap lists it or the peer's last call names it, and for 45 s after the last ping or
 * pong. Left out: a history of pongs, MTUs per path, and paths through relays of peers.
 */
import { type Endpoint, sameEndpoint } from '../base/address.ts';
import { addressBonus, isBetterPath, isReachable } from './endpoint.ts';
import type { DiscoKey } from './key-ring.ts';
import { type DiscoLimits, GOOD_LATENCY_MS, LEARNED_MS, TRUST_MS, UPGRADE_INTERVAL_MS } from './limits.ts';
import { Rate } from './rate.ts';
import type { DiscoStatus } from './types.ts';

const NEVER = Number.NEGATIVE_INFINITY;

/** An address that a peer may be at. */
export interface Candidate {
  readonly endpoint: Endpoint;
  /** See {@link addressBonus}. */
  readonly bonus: number;
  /** The netmap has it. */
  isListed: boolean;
  /** The peer's last call has it. */
  isCalled: boolean;
  /** No longer one of the peer's. */
  isGone: boolean;
  /** When the last new ping or packet came from there. */
  heardMs: number;
  /** Transaction id, in hex, of the last ping from there. */
  lastPingId: string;
  /** A ping came from there after our last one left. */
  hasKnocked: boolean;
  /** When it was last pinged, and when it last answered; -Infinity for never. */
  pingedMs: number;
  answeredMs: number;
  /** Of the last answer. */
  latencyMs: number;
}

/** The paths of one peer. */
export class DiscoPeer {
  readonly id: number;
  nodeKey: Uint8Array;
  /** `nodeKey` in hex. */
  nodeText: string;
  /** Undefined for a peer that does not take part in path discovery. */
  key: DiscoKey | undefined = undefined;
  /** Home relay; 0 for unknown. */
  region = 0;
  isGone = false;
  readonly candidates: Candidate[] = [];
  best: Candidate | undefined = undefined;
  /** Until when, inclusive, {@link best} is good enough alone. */
  trustUntilMs = NEVER;
  /** Where an earlier run found the peer, and until when that is of use. */
  recalled: Endpoint | undefined = undefined;
  recalledUntilMs = NEVER;
  /** When all candidates were last looked at, and before which none is due. */
  lastRoundMs = NEVER;
  quietUntilMs = NEVER;
  /** When an address was last pinged to find a path, and when the peer was last called. */
  pingedMs = NEVER;
  calledMs = NEVER;
  /** Last user traffic to the peer. */
  lastSendMs = NEVER;
  /** A ping was lost, and no pong has come since. */
  isSilent = false;
  /** Next heartbeat; Infinity for none. */
  heartbeatMs = Number.POSITIVE_INFINITY;
  /** Pings that wait to be sent or answered, and messages that wait to be sent. */
  pings = 0;
  queued = 0;
  /** The last address that a packet came from and that was looked at. */
  lastFrom: Endpoint | undefined = undefined;
  readonly pingRate = new Rate();
  readonly #limits: DiscoLimits;

  /** A peer without addresses. */
  constructor(id: number, nodeKey: Uint8Array, nodeText: string, limits: DiscoLimits) {
    this.id = id;
    this.nodeKey = nodeKey.slice();
    this.nodeText = nodeText;
    this.#limits = limits;
  }

  /** Whether {@link best} is enough alone. */
  isTrusted(nowMs: number): boolean {
    return this.best !== undefined && nowMs <= this.trustUntilMs;
  }

  /** Whether it is time to look at all addresses. */
  wantsRound(nowMs: number): boolean {
    if (!this.isTrusted(nowMs) || this.lastRoundMs === NEVER) return true;
    return this.best!.latencyMs > GOOD_LATENCY_MS && nowMs - this.lastRoundMs >= UPGRADE_INTERVAL_MS;
  }

  /** Follows the netmap's list. */
  list(nowMs: number, endpoints: readonly Endpoint[]): void {
    for (const candidate of this.candidates) candidate.isListed = false;
    let room = this.#limits.listed;
    for (const endpoint of endpoints) {
      if (!isReachable(endpoint)) continue;
      if (room-- <= 0) break; // CHECK: disco-listed-limit
      this.#findOrAdd(endpoint).isListed = true;
    }
    this.prune(nowMs);
  }

  /**
   * Follows the peer's own list. What an earlier list had and this one has not is over, whoever else names it: the
   * peer knows best that it has moved.
   */
  call(nowMs: number, endpoints: readonly Endpoint[]): void {
    const earlier = this.candidates.filter(candidate => candidate.isCalled);
    for (const candidate of earlier) candidate.isCalled = false;
    let room = this.#limits.called;
    for (const endpoint of endpoints) {
      if (!isReachable(endpoint)) continue;
      if (room-- <= 0) break; // CHECK: disco-called-limit
      this.#findOrAdd(endpoint).isCalled = true;
    }
    for (const candidate of earlier) if (!candidate.isCalled) this.#disown(candidate);
    for (const candidate of this.candidates) candidate.pingedMs = NEVER;
    this.quietUntilMs = NEVER;
    this.prune(nowMs);
  }

  /** Something authentic came from an address: it is a candidate from now on. */
  hear(nowMs: number, endpoint: Endpoint): Candidate {
    let candidate = this.find(endpoint);
    if (candidate === undefined) {
      this.prune(nowMs, 1);
      candidate = this.#add(endpoint);
    }
    candidate.heardMs = nowMs;
    return candidate;
  }

  /** A new ping, with this transaction id in hex, came from an address: the way back is open. */
  knock(nowMs: number, endpoint: Endpoint, id: string): void {
    const candidate = this.hear(nowMs, endpoint);
    candidate.lastPingId = id;
    candidate.hasKnocked = true;
    this.quietUntilMs = NEVER;
  }

  /** The candidate with this address. */
  find(endpoint: Endpoint): Candidate | undefined {
    for (const candidate of this.candidates) if (sameEndpoint(candidate.endpoint, endpoint)) return candidate;
    return undefined;
  }

  /** A candidate has answered. It becomes the best if that is not trusted or is worse, and is trusted if it is the best. */
  answer(nowMs: number, candidate: Candidate, latencyMs: number): void {
    const { best } = this;
    const quality = { latencyMs, bonus: candidate.bonus };
    if (candidate !== best && (!this.isTrusted(nowMs) || isBetterPath(quality, best))) this.best = candidate;
    candidate.latencyMs = latencyMs;
    candidate.answeredMs = nowMs;
    this.isSilent = false;
    if (this.best === candidate) this.trustUntilMs = nowMs + TRUST_MS;
  }

  /** How the peer is reached now. */
  status(nowMs: number): DiscoStatus {
    const isDirect = this.isTrusted(nowMs);
    return {
      endpoint: isDirect ? this.best!.endpoint : undefined,
      latencyMs: isDirect ? this.best!.latencyMs : undefined,
      candidates: this.candidates.length,
      why: isDirect ? '' : this.#whyRelayed(),
    };
  }

  #whyRelayed(): string {
    const { length } = this.candidates;
    const endpoints = `${length} ${length === 1 ? 'endpoint' : 'endpoints'}`;
    if (this.key === undefined) return 'takes no part in path discovery';
    if (length === 0) return 'no endpoints known';
    if (this.isSilent) return `no answer from ${endpoints}`;
    return this.lastRoundMs === NEVER ? 'not tried yet' : `waiting for an answer from ${endpoints}`;
  }

  /** There is no best path any more. */
  forgetBest(): void {
    this.best = undefined;
    this.trustUntilMs = NEVER;
  }

  /** All addresses may be of no use now: what was measured counts no more. */
  forgetMeasured(): void {
    for (const candidate of this.candidates) {
      candidate.pingedMs = NEVER;
      candidate.answeredMs = NEVER;
    }
    this.forgetBest();
    this.recalledUntilMs = NEVER;
    this.quietUntilMs = NEVER;
    this.calledMs = NEVER;
    this.isSilent = false;
  }

  /** The peer is another process now: its own list was the old one's. */
  restart(nowMs: number): void {
    for (const candidate of this.candidates) candidate.isCalled = false;
    this.forgetMeasured();
    this.lastFrom = undefined;
    this.lastSendMs = NEVER;
    this.lastRoundMs = NEVER;
    this.prune(nowMs);
  }

  /** Removes addresses that nothing speaks for any more; `spare` of those that nobody lists are made room for. */
  prune(nowMs: number, spare = 0): void {
    let excess = spare - this.#limits.learned;
    for (let i = this.candidates.length - 1; i >= 0; i--) {
      const candidate = this.candidates[i]!;
      if (candidate.isListed || candidate.isCalled) continue;
      if (nowMs - lastHeard(candidate) > LEARNED_MS) this.#remove(i);
      else excess++;
    }
    if (excess > 0) this.#removeOldest(excess); // CHECK: disco-learned-limit
  }

  /** The peer says, by leaving it out, that it is no longer there. */
  #disown(candidate: Candidate): void {
    candidate.heardMs = NEVER;
    candidate.answeredMs = NEVER;
    if (candidate === this.best) this.forgetBest();
  }

  #findOrAdd(endpoint: Endpoint): Candidate {
    return this.find(endpoint) ?? this.#add(endpoint);
  }

  #add(endpoint: Endpoint): Candidate {
    const candidate: Candidate = {
      endpoint,
      bonus: addressBonus(endpoint),
      isListed: false,
      isCalled: false,
      isGone: false,
      heardMs: NEVER,
      lastPingId: '',
      hasKnocked: false,
      pingedMs: NEVER,
      answeredMs: NEVER,
      latencyMs: 0,
    };
    this.candidates.push(candidate);
    this.quietUntilMs = NEVER;
    return candidate;
  }

  /** Of the addresses that nobody lists, those that were quiet longest; the best path last. */
  #removeOldest(count: number): void {
    const unlisted = this.candidates.filter(candidate => !candidate.isListed && !candidate.isCalled);
    const rank = (candidate: Candidate) => (candidate === this.best ? Infinity : lastHeard(candidate));
    unlisted.sort((a, b) => rank(a) - rank(b));
    for (const candidate of unlisted.slice(0, count)) this.#remove(this.candidates.indexOf(candidate));
  }

  #remove(index: number): void {
    const [candidate] = this.candidates.splice(index, 1);
    candidate!.isGone = true;
    this.lastFrom = undefined;
    if (candidate === this.best) this.forgetBest();
  }
}

function lastHeard(candidate: Candidate): number {
  return Math.max(candidate.heardMs, candidate.answeredMs);
}
