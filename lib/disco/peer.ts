/**
 * What is known of the ways to one peer: the addresses it may be at, how long each took to answer, the best of them and
 * until when that is trusted. No messages here: {@link Disco} asks, this answers.
 *
 * An address stays while the netmap lists it or the peer's last call names it, and for 45 s after the last ping or
 * pong. Left out: a history of pongs, MTUs per path, and paths through relays of peers.
 */
import { type Endpoint, sameEndpoint } from '../base/address.ts';
import { CALLED, Candidate, GONE, KNOCKED, LISTED, NEVER } from './candidate.ts';
import { isBetterPath, isReachable } from './endpoint.ts';
import { type DiscoLimits, GOOD_LATENCY_MS, LEARNED_MS, TRUST_MS, UPGRADE_INTERVAL_MS } from './limits.ts';
import type { DiscoStatus } from './types.ts';

/** {@link DiscoPeer.keyState}: there is no disco key, so the peer takes no part in path discovery. */
export const NO_KEY = 0;
/** There is one; its box key is not worked out yet, is, or cannot be since the disco key is of low order. */
export const BOX_UNKNOWN = 1;
export const BOX_KNOWN = 2;
export const BOX_NONE = 3;

/** The paths of one peer. */
export class DiscoPeer {
  readonly id: number;
  /** See {@link NO_KEY}; the keys themselves are in the `PeerSet`. */
  keyState = NO_KEY;
  /** Home relay; 0 for unknown. */
  region = 0;
  readonly candidates: Candidate[] = [];
  /** Trusted for {@link TRUST_MS} after its last answer. */
  best: Candidate | undefined = undefined;
  /** Where an earlier run found the peer, and until when that is of use. */
  recalled: (Endpoint & { readonly untilMs: number }) | undefined = undefined;
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
  /** Next heartbeat; Infinity for none. The peer whose heartbeat comes after it. */
  heartbeatMs = Number.POSITIVE_INFINITY;
  nextHeartbeat: DiscoPeer | undefined = undefined;
  /** Pings that wait to be sent or answered, and messages that wait to be sent. */
  pings = 0;
  queued = 0;
  /** The last address that a packet came from and that was looked at. */
  lastFrom: Endpoint | undefined = undefined;
  /** Rate of discovery pings: see `takeOne`. */
  pingFreshMs = NEVER;

  /** A peer without addresses and disco key. */
  constructor(id: number) {
    this.id = id;
  }

  /** Whether {@link best} is enough alone. */
  isTrusted(nowMs: number): boolean {
    return this.best !== undefined && nowMs <= this.best.answeredMs + TRUST_MS;
  }

  /** Whether it is time to look at all addresses. */
  wantsRound(nowMs: number): boolean {
    if (!this.isTrusted(nowMs) || this.lastRoundMs === NEVER) return true;
    return this.best!.latencyMs > GOOD_LATENCY_MS && nowMs - this.lastRoundMs >= UPGRADE_INTERVAL_MS;
  }

  /** Follows the netmap's list. */
  list(nowMs: number, endpoints: readonly Endpoint[], limits: DiscoLimits): void {
    for (const candidate of this.candidates) candidate.marks &= ~LISTED;
    let room = limits.listed;
    for (const endpoint of endpoints) {
      if (!isReachable(endpoint)) continue;
      if (room-- <= 0) break; // CHECK: disco-listed-limit
      this.#findOrAdd(endpoint).marks |= LISTED;
    }
    this.prune(nowMs, limits);
  }

  /**
   * Follows the peer's own list. What an earlier list had and this one has not is over, whoever else names it: the
   * peer knows best that it has moved.
   */
  call(nowMs: number, endpoints: readonly Endpoint[], limits: DiscoLimits): void {
    const earlier = this.candidates.filter(candidate => candidate.is(CALLED));
    for (const candidate of earlier) candidate.marks &= ~CALLED;
    let room = limits.called;
    for (const endpoint of endpoints) {
      if (!isReachable(endpoint)) continue;
      if (room-- <= 0) break; // CHECK: disco-called-limit
      this.#findOrAdd(endpoint).marks |= CALLED;
    }
    for (const candidate of earlier) if (!candidate.is(CALLED)) this.#disown(candidate);
    for (const candidate of this.candidates) candidate.pingedMs = NEVER;
    this.quietUntilMs = NEVER;
    this.prune(nowMs, limits);
  }

  /** Something authentic came from an address: it is a candidate from now on. */
  hear(nowMs: number, endpoint: Endpoint, limits: DiscoLimits): Candidate {
    let candidate = this.find(endpoint);
    if (candidate === undefined) {
      this.prune(nowMs, limits, 1);
      candidate = this.#add(endpoint);
    }
    candidate.heardMs = nowMs;
    return candidate;
  }

  /** A new ping came from an address: the way back is open. `ping` is {@link Candidate.lastPing}. */
  knock(nowMs: number, endpoint: Endpoint, ping: number, limits: DiscoLimits): void {
    const candidate = this.hear(nowMs, endpoint, limits);
    candidate.lastPing = ping;
    candidate.marks |= KNOCKED;
    this.quietUntilMs = NEVER;
  }

  /** The candidate with this address. */
  find(endpoint: Endpoint): Candidate | undefined {
    for (const candidate of this.candidates) if (sameEndpoint(candidate, endpoint)) return candidate;
    return undefined;
  }

  /** A candidate has answered. It becomes the best if that is not trusted or is worse, and is trusted if it is the best. */
  answer(nowMs: number, candidate: Candidate, latencyMs: number): void {
    const { best } = this;
    const isTrusted = this.isTrusted(nowMs);
    candidate.latencyMs = latencyMs;
    candidate.answeredMs = nowMs;
    this.isSilent = false;
    if (candidate !== best && (!isTrusted || isBetterPath(candidate, best))) this.best = candidate;
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
    if (this.keyState === NO_KEY) return 'takes no part in path discovery';
    if (length === 0) return 'no endpoints known';
    if (this.isSilent) return `no answer from ${endpoints}`;
    return this.lastRoundMs === NEVER ? 'not tried yet' : `waiting for an answer from ${endpoints}`;
  }

  /** There is no best path any more. */
  forgetBest(): void {
    this.best = undefined;
  }

  /** All addresses may be of no use now: what was measured counts no more. */
  forgetMeasured(): void {
    for (const candidate of this.candidates) {
      candidate.pingedMs = NEVER;
      candidate.answeredMs = NEVER;
    }
    this.forgetBest();
    this.recalled = undefined;
    this.quietUntilMs = NEVER;
    this.calledMs = NEVER;
    this.isSilent = false;
  }

  /** The peer is another process now: its own list was the old one's. */
  restart(nowMs: number, limits: DiscoLimits): void {
    for (const candidate of this.candidates) candidate.marks &= ~CALLED;
    this.forgetMeasured();
    this.lastFrom = undefined;
    this.lastSendMs = NEVER;
    this.lastRoundMs = NEVER;
    this.prune(nowMs, limits);
  }

  /** Removes addresses that nothing speaks for any more; `spare` of those that nobody lists are made room for. */
  prune(nowMs: number, limits: DiscoLimits, spare = 0): void {
    let excess = spare - limits.learned;
    for (let i = this.candidates.length - 1; i >= 0; i--) {
      const candidate = this.candidates[i]!;
      if (candidate.is(LISTED | CALLED)) continue;
      if (nowMs - candidate.lastHeardMs > LEARNED_MS) this.#remove(i);
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
    const candidate = new Candidate(endpoint);
    this.candidates.push(candidate);
    this.quietUntilMs = NEVER;
    return candidate;
  }

  /** Of the addresses that nobody lists, those that were quiet longest; the best path last. */
  #removeOldest(count: number): void {
    const unlisted = this.candidates.filter(candidate => !candidate.is(LISTED | CALLED));
    const rank = (candidate: Candidate) => (candidate === this.best ? Infinity : candidate.lastHeardMs);
    unlisted.sort((a, b) => rank(a) - rank(b));
    for (const candidate of unlisted.slice(0, count)) this.#remove(this.candidates.indexOf(candidate));
  }

  #remove(index: number): void {
    const [candidate] = this.candidates.splice(index, 1);
    candidate!.marks |= GONE;
    this.lastFrom = undefined;
    if (candidate === this.best) this.forgetBest();
  }
}
