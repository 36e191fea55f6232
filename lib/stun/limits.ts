/**
 * Limits and events of the STUN client.
 */
import type { Endpoint } from '../base/address.ts';

/** Whom to ask. */
export interface StunServer {
  /** The region that the server stands for; comes back with the result. */
  readonly region: number;
  readonly endpoint: Endpoint;
}

/** How to ask one server. */
export interface StunProbeOptions {
  /** Requests at most. Default 3. */
  readonly tries?: number;
  /** From one request to the next, in ms. Default 100. */
  readonly spacingMs?: number;
  /** From the first request to giving up, in ms. Default 3000. */
  readonly timeoutMs?: number;
  /** Until the first request, in ms. Default 0. */
  readonly delayMs?: number;
}

/** What came of a probe; each ends with one of these. */
export type StunEvent =
  /** The server sees us as `address`; `latencyMs` is from the request that was answered. */
  | {
      readonly type: 'response';
      readonly probe: number;
      readonly server: StunServer;
      readonly latencyMs: number;
      readonly address: Endpoint;
    }
  /** No answer to any request. */
  | { readonly type: 'timeout'; readonly probe: number; readonly server: StunServer };

/** Limits of a STUN client. */
export interface StunLimits {
  /** Probes under way at the same time. */
  readonly probes: number;
  /** Requests of one probe. */
  readonly tries: number;
}

/** A microcontroller. */
export const STUN_LIMITS_SMALL: StunLimits = Object.freeze({ probes: 16, tries: 8 });
/** A computer: every region, on both families. */
export const STUN_LIMITS_LARGE: StunLimits = Object.freeze({ probes: 256, tries: 8 });
