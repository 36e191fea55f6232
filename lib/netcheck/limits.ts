/**
 * Limits of netcheck, and what a report says.
 */
import type { Endpoint } from '../base/address.ts';

/** Why a region is home. */
export type HomeReason =
  /** It answered soonest, by the best of the last minutes. */
  | 'nearest'
  /** It was home, and no other is nearer by 10 ms and a third. */
  | 'near-enough'
  /** It was home; it answered no probe, but its relay was heard a moment ago. */
  | 'heard'
  /** Nothing could be measured: it was home or its relay was heard within 2 minutes. */
  | 'unmeasured'
  /** Nothing could be measured or heard: chosen at random once, and then kept. */
  | 'arbitrary'
  /** There is no region that could be home. */
  | 'none';

/** What one check has found. Never changed once it is out. */
export interface NetcheckReport {
  /** When it ended, and how long it took, in ms. */
  readonly atMs: number;
  readonly tookMs: number;
  /** Whether all regions were asked, not just those that were near before. */
  readonly isFull: boolean;
  /** Whether any answer came, and over which family. */
  readonly udp: boolean;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** The address that a server saw us under: the first answer's. */
  readonly globalV4: Endpoint | undefined;
  readonly globalV6: Endpoint | undefined;
  /**
   * Whether the NAT shows another address or port to another server (IPv4): RFC 4787's address-dependent mapping.
   * Undefined: not two servers at different addresses have answered.
   */
  readonly mappingVariesByDestIp: boolean | undefined;
  /** Round trips in ms by region: the least of both families, and each. Only regions that answered this time. */
  readonly latencies: ReadonlyMap<number, number>;
  readonly latenciesV4: ReadonlyMap<number, number>;
  readonly latenciesV6: ReadonlyMap<number, number>;
  /** The region that is to be home; 0: none. */
  readonly preferredRegion: number;
  readonly preferredWhy: HomeReason;
  /** All distinct addresses under which we were seen within 5 minutes, this report's global ones first. */
  readonly endpoints: readonly Endpoint[];
}

/** Limits of a {@link NetcheckReport}'s making. */
export interface NetcheckLimits {
  /** Regions that a full check asks: home, those that were near before, then by id. The others are left out. */
  readonly regions: number;
  /** Requests to which an answer is waited for. One more is not sent. */
  readonly probes: number;
  /** Names of relays whose addresses are kept; servers behind one more name are not asked. */
  readonly names: number;
  /** Addresses that we were seen under; one more takes the place of the one that was not seen for longest. */
  readonly endpoints: number;
}

/** A microcontroller. */
export const NETCHECK_LIMITS_SMALL: NetcheckLimits = /* @__PURE__ */ Object.freeze({
  regions: 32,
  probes: 96,
  names: 32,
  endpoints: 4,
});
/** A computer: each region of a large network, three times on both families. */
export const NETCHECK_LIMITS_LARGE: NetcheckLimits = /* @__PURE__ */ Object.freeze({
  regions: 96,
  probes: 576,
  names: 384,
  endpoints: 16,
});
