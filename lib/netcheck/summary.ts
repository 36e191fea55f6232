/**
 * A report as plain values, for JSON and for people, with the names that regions have; and its round trips in the form
 * that a coordinator is told.
 */
import { formatEndpoint } from '../base/address.ts';
import type { WireDerpRegion } from '../derp/map.ts';
import type { HomeReason, NetcheckReport } from './limits.ts';

/** A region of relays in a {@link NetcheckSummary}. */
export interface NetcheckRelay {
  readonly region: number;
  readonly code: string;
  readonly name: string;
  /** Round trips in ms: the least of both families, and each; null: no answer on it. */
  readonly latencyMs: number;
  readonly latencyV4Ms: number | null;
  readonly latencyV6Ms: number | null;
  readonly isHome: boolean;
}

/** A {@link NetcheckReport} as plain values. Endpoints are texts with a port. */
export interface NetcheckSummary {
  readonly udp: boolean;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly globalV4: string | null;
  readonly globalV6: string | null;
  /** Null: not known. */
  readonly mappingVariesByDestIp: boolean | null;
  readonly endpoints: readonly string[];
  /** Null: no region can be home. */
  readonly home: {
    readonly region: number;
    readonly code: string;
    readonly name: string;
    readonly why: HomeReason;
  } | null;
  /** Regions that answered, nearest first. */
  readonly relays: readonly NetcheckRelay[];
  /** How long the check took, in ms. */
  readonly tookMs: number;
}

/** Names the regions of a report. Round trips are rounded to a tenth of a millisecond. */
export function summarizeNetcheck(
  report: NetcheckReport,
  regions: ReadonlyMap<number, WireDerpRegion>,
): NetcheckSummary {
  const { globalV4, globalV6, preferredRegion, preferredWhy } = report;
  const nameOf = (region: number) => {
    const known = regions.get(region);
    return { region, code: known?.RegionCode ?? '', name: known?.RegionName ?? '' };
  };
  const relays = [...report.latencies]
    .sort(([a, aMs], [b, bMs]) => aMs - bMs || a - b)
    .map(([region, latencyMs]) => ({
      ...nameOf(region),
      latencyMs: tenths(latencyMs)!,
      latencyV4Ms: tenths(report.latenciesV4.get(region)),
      latencyV6Ms: tenths(report.latenciesV6.get(region)),
      isHome: region === preferredRegion,
    }));
  return {
    udp: report.udp,
    ipv4: report.ipv4,
    ipv6: report.ipv6,
    globalV4: globalV4 === undefined ? null : formatEndpoint(globalV4),
    globalV6: globalV6 === undefined ? null : formatEndpoint(globalV6),
    mappingVariesByDestIp: report.mappingVariesByDestIp ?? null,
    endpoints: report.endpoints.map(formatEndpoint),
    home: preferredRegion === 0 ? null : { ...nameOf(preferredRegion), why: preferredWhy },
    relays,
    tookMs: tenths(report.tookMs)!,
  };
}

/** DERPLatency of the control protocol: seconds by `<region>-v4` and `<region>-v6`. */
export function derpLatencies(report: NetcheckReport): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [region, ms] of report.latenciesV4) out[`${region}-v4`] = ms / 1000;
  for (const [region, ms] of report.latenciesV6) out[`${region}-v6`] = ms / 1000;
  return out;
}

function tenths(ms: number): number;
function tenths(ms: number | undefined): number | null;
function tenths(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 10) / 10;
}
