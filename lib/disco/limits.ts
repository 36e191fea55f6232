/**
 * The times of path discovery, which both sides of a path rely on, and the bounds of what a peer may make us keep or send.
 */

import { MAX_CALL_ENDPOINTS } from './message.ts';

/** User traffic younger than this keeps a peer's heartbeat going. */
export const SESSION_ACTIVE_MS = 45_000;
/** From one heartbeat ping to the next. */
export const HEARTBEAT_MS = 3_000;
/** How long a pong makes its path trusted: two heartbeats may be lost. */
export const TRUST_MS = 6_500;
/** How long a ping waits for its pong. */
export const PING_TIMEOUT_MS = 5_000;
/** Least time between two discovery pings to the same address. */
export const PING_INTERVAL_MS = 5_000;
/**
 * The same to an address that the peer has pinged us from since: its NAT lets our pings in now, so waiting on gains
 * nothing. Other programs wait; they answer all the same.
 */
export const KNOCK_INTERVAL_MS = 200;
/** How often a path that works is compared with the others, unless it is {@link GOOD_LATENCY_MS} or better. */
export const UPGRADE_INTERVAL_MS = 60_000;
/** Nothing better is looked for below this. */
export const GOOD_LATENCY_MS = 5;
/** Own addresses as old as this are asked for again before a peer is told of them. */
export const ENDPOINTS_FRESH_MS = 27_000;
/** How long an address lives that only a ping or a packet taught us, after its last ping or pong. */
export const LEARNED_MS = 45_000;
/** How long to wait for own addresses before they are asked for again. */
export const ENDPOINTS_RETRY_MS = 5_000;
/** How long a round that ran into a limit waits with the rest. */
export const CONGESTED_MS = 1_000;
/** A path of an earlier run is taken beside the relay for so long. */
export const RECALL_MS = 10_000;

/** Bounds of a {@link Disco}. The number of peers is the caller's: it adds those that it uses. */
export interface DiscoLimits {
  /** Addresses of a peer from the netmap; further ones are left out. */
  readonly listed: number;
  /** Addresses that a peer's last call names; further ones are left out. */
  readonly called: number;
  /** Addresses that a peer was heard from; the one that was quiet longest gives way. */
  readonly learned: number;
  /** Own addresses in a call; further ones are left out. At most 32. */
  readonly own: number;
  /** Pings to one peer that wait to be sent or answered; further ones are put off. */
  readonly pings: number;
  /** Discovery pings to one peer at once, and per second: nobody can have us flood others by naming their addresses. */
  readonly pingBurst: number;
  readonly pingsPerSecond: number;
  /** Messages to one peer, and to all, that wait to be sent; further ones are dropped and counted. */
  readonly queuedPerPeer: number;
  readonly queued: number;
  /** Longest message inside its box in bytes; longer ones are dropped unopened. At least 46. */
  readonly messageBytes: number;
  /** Box keys kept of senders that are not in use; the oldest gives way. */
  readonly strangers: number;
  /** Messages from such senders that are looked at, at once and per second, of UDP and of relays each. */
  readonly strangerBurst: number;
  readonly strangersPerSecond: number;
  /** Answers to {@link Disco.ping} that nobody has taken; the oldest gives way. */
  readonly pongEvents: number;
}

/** Throws RangeError for limits outside what is said of them. */
export function expectLimits({ own, messageBytes }: DiscoLimits): void {
  if (!(own >= 0 && own <= MAX_CALL_ENDPOINTS))
    throw new RangeError(`"own" expected 0 to ${MAX_CALL_ENDPOINTS}, got ${own}`);
  if (!(messageBytes >= 46)) throw new RangeError(`"messageBytes" expected 46 or more, got ${messageBytes}`);
}

/** A microcontroller. */
export const DISCO_LIMITS_SMALL: DiscoLimits = Object.freeze({
  listed: 12,
  called: 16,
  learned: 8,
  own: 16,
  pings: 64,
  pingBurst: 40,
  pingsPerSecond: 8,
  queuedPerPeer: 64,
  queued: 128,
  messageBytes: 1_500,
  strangers: 4,
  strangerBurst: 16,
  strangersPerSecond: 8,
  pongEvents: 16,
});

/** A computer. */
export const DISCO_LIMITS_LARGE: DiscoLimits = Object.freeze({
  listed: 32,
  called: 32,
  learned: 36,
  own: 32,
  pings: 320,
  pingBurst: 128,
  pingsPerSecond: 32,
  queuedPerPeer: 320,
  queued: 8_192,
  messageBytes: 9_216,
  strangers: 64,
  strangerBurst: 256,
  strangersPerSecond: 128,
  pongEvents: 256,
});
