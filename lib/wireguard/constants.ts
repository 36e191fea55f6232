/**
 * The constants of WireGuard (§6.1) and the named limits of one {@link Tunnel}, with a preset for a microcontroller
 * and one for a server.
 *
 * DEVIATES: counters are JavaScript numbers, so messages are counted to 2^53 instead of 2^64. A session is renewed
 * from 2^50 messages on and refuses to send or receive at 2^53-1, earlier than the paper asks, never later.
 */

/** Age at which the initiator of a session asks for a new one when it sends. */
export const REKEY_AFTER_TIME_MS = 120_000;
/** Age at which a session neither sends nor receives any more. */
export const REJECT_AFTER_TIME_MS = 180_000;
/** Least time between two handshake messages that this side starts, and the wait for an answer. */
export const REKEY_TIMEOUT_MS = 5_000;
/** How long unanswered initiations are repeated. */
export const REKEY_ATTEMPT_TIME_MS = 90_000;
/** Silence after received data that is broken by an empty packet. */
export const KEEPALIVE_TIMEOUT_MS = 10_000;
/** How long a cookie, and the secret behind it, is good. */
export const COOKIE_REFRESH_TIME_MS = 120_000;
/** Up to this much, uniformly drawn when a timer is armed, is added to the waits for an answer. */
export const MAX_JITTER_MS = 333;
/** Sessions and handshakes are erased after three times the reject time without a new session. */
export const ERASE_AFTER_TIME_MS = 3 * REJECT_AFTER_TIME_MS;
/** Unanswered data for so long starts a handshake. */
export const NEW_HANDSHAKE_TIME_MS = KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS;
/** Age at which the initiator of a session asks for a new one when it only receives. */
export const REKEY_ON_RECEIVE_TIME_MS = REJECT_AFTER_TIME_MS - KEEPALIVE_TIMEOUT_MS - REKEY_TIMEOUT_MS;
/** Initiations of one peer closer together than this are dropped. */
export const INITIATION_INTERVAL_MS = 20;
/** Repeated initiations before giving up: 18, so that 20 leave in all. */
export const MAX_HANDSHAKE_RETRIES = REKEY_ATTEMPT_TIME_MS / REKEY_TIMEOUT_MS;
/** Plaintext is padded to a multiple of this many bytes. */
export const PADDING_BYTES = 16;

/** Messages per session from which on a new session is asked for. */
export const REKEY_AFTER_MESSAGES = 2 ** 50;
/** Counters at and above this are neither sent nor accepted. */
export const REJECT_AFTER_MESSAGES = 2 ** 53 - 1;

/** Bounds of a tunnel; each says what is dropped at the bound. */
export interface TunnelLimits {
  /** Peers that can be added; one more is a RangeError. */
  readonly peers: number;
  /** Bits of a session's replay window, a power of two of at least 64; older packets are dropped. */
  readonly replayBits: number;
  /** Packets kept per peer while a handshake runs; the oldest goes first. */
  readonly stagedPackets: number;
  /** Bytes for the kept packets of all peers, in blocks of 256; the oldest of the peer, else of another, goes first. */
  readonly stagedBytes: number;
  /** Handshake messages that may cost a Diffie-Hellman in a row; beyond half of it, see {@link Admission}. */
  readonly handshakeBurst: number;
  /** Handshake messages per second that may cost a Diffie-Hellman for long. */
  readonly handshakesPerSecond: number;
  /** Source addresses (IPv6: /64 networks) whose rate is remembered; the longest quiet one is forgotten. */
  readonly sources: number;
  /** Cookie replies that wait to be sent; further ones are not made. */
  readonly cookieReplies: number;
  /** Events that wait to be taken; the oldest is forgotten (`peerStatus` has the truth). */
  readonly events: number;
  /** Messages per session from which on a new session is asked for, at most {@link REKEY_AFTER_MESSAGES}. */
  readonly rekeyAfterMessages: number;
  /** Messages per session at which it stops, at most {@link REJECT_AFTER_MESSAGES}. */
  readonly rejectAfterMessages: number;
  /** How far ahead TAI64N stamps are reserved in the store, in ms: one write per so much time. */
  readonly timestampReserveMs: number;
}

/** For a microcontroller: no fixed tables, 8 KB of staged packets at most. */
export const TUNNEL_LIMITS_SMALL: TunnelLimits = /* @__PURE__ */ Object.freeze({
  peers: 1024,
  replayBits: 1024,
  stagedPackets: 4,
  stagedBytes: 8 * 1024,
  handshakeBurst: 32,
  handshakesPerSecond: 4,
  sources: 32,
  cookieReplies: 4,
  events: 32,
  rekeyAfterMessages: REKEY_AFTER_MESSAGES,
  rejectAfterMessages: REJECT_AFTER_MESSAGES,
  timestampReserveMs: 3_600_000,
});

/** For a server. */
export const TUNNEL_LIMITS_LARGE: TunnelLimits = /* @__PURE__ */ Object.freeze({
  peers: 65_536,
  replayBits: 8192,
  stagedPackets: 128,
  stagedBytes: 4 * 1024 * 1024,
  handshakeBurst: 2048,
  handshakesPerSecond: 500,
  sources: 4096,
  cookieReplies: 64,
  events: 4096,
  rekeyAfterMessages: REKEY_AFTER_MESSAGES,
  rejectAfterMessages: REJECT_AFTER_MESSAGES,
  timestampReserveMs: 3_600_000,
});
