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

/** What came of a request, by its number `probe`; each ends with one of these. */
export type StunEvent =
  /** The server sees us as `address`; `latencyMs` is from when it left. */
  | {
      readonly type: 'response';
      readonly probe: number;
      readonly server: StunServer;
      readonly latencyMs: number;
      readonly address: Endpoint;
    }
  /** No answer. */
  | { readonly type: 'timeout'; readonly probe: number; readonly server: StunServer };

/** Limits of a STUN client. */
export interface StunLimits {
  /** Requests under way at the same time. */
  readonly probes: number;
}

/** A microcontroller. */
export const STUN_LIMITS_SMALL: StunLimits = Object.freeze({ probes: 16 });
/** A computer: every region, on both families. */
export const STUN_LIMITS_LARGE: StunLimits = Object.freeze({ probes: 256 });
