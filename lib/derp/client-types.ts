/**
 * What a relay's client says, and its limits.
 */
import type { NetError } from '../base/errors.ts';
import { KEY_BYTES, MAX_PACKET_BYTES } from './frame.ts';
import type { ServerInfo } from './login.ts';

/** A relay sends something at least every 65 seconds; silence for this long is its end. */
export const KEEPALIVE_TIMEOUT_MS = 120_000;

/** What happened. */
export type DerpClientEvent =
  /** The relay's key is known and ours is on its way: packets flow. */
  | { readonly type: 'connected'; readonly serverKey: Uint8Array }
  /** What the relay said of itself; may come after the first packets. */
  | { readonly type: 'server-info'; readonly info: ServerInfo }
  /** The relay answered our ping. */
  | { readonly type: 'pong'; readonly rttMs: number }
  /** Packets to this node go nowhere; `reason` is GONE_DISCONNECTED, GONE_NOT_HERE or another number. */
  | { readonly type: 'peer-gone'; readonly peer: Uint8Array; readonly reason: number }
  /** The relay sees a problem with this connection; empty when it is over. At most 512 bytes, without control characters. */
  | { readonly type: 'health'; readonly problem: string }
  /** The relay will restart: connect again after the first time, try for the second. */
  | { readonly type: 'restarting'; readonly reconnectInMs: number; readonly tryForMs: number }
  /** The stream is dead; the last event. */
  | { readonly type: 'closed'; readonly error: NetError };

/** Limits of a client. */
export interface DerpClientLimits {
  /** Largest frame payload; larger ones are skipped as they stream. */
  readonly frameBytes: number;
  /** Packets towards the relay; the oldest gives way. */
  readonly sendPackets: number;
  readonly sendBytes: number;
  /** Packets from the relay that were not taken yet; the oldest gives way. Feed at most half of this at once. */
  readonly receivePackets: number;
  readonly receiveBytes: number;
  /** Largest head of an HTTP answer. */
  readonly headBytes: number;
  /** Events that wait. The newest gives way, except for the last. */
  readonly events: number;
  /** From the first byte to the relay's key. */
  readonly loginTimeoutMs: number;
}

/** A microcontroller: the queues together hold at most 16 KB, and a frame in pieces or on its way out 2 KB each. */
export const DERP_CLIENT_LIMITS_SMALL: DerpClientLimits = Object.freeze({
  frameBytes: 2048,
  sendPackets: 32,
  sendBytes: 8192,
  receivePackets: 16,
  receiveBytes: 8192,
  headBytes: 1024,
  events: 8,
  loginTimeoutMs: 10_000,
});

/** A computer. */
export const DERP_CLIENT_LIMITS_LARGE: DerpClientLimits = Object.freeze({
  frameBytes: KEY_BYTES + MAX_PACKET_BYTES,
  sendPackets: 32,
  sendBytes: 32 * 4096,
  receivePackets: 4096,
  receiveBytes: 1_048_576,
  headBytes: 8192,
  events: 256,
  loginTimeoutMs: 10_000,
});
