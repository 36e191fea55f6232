/**
 * A report as plain values, for JSON and for people, with the names that regions have; and its round trips in the form
 * that a coordinator is told.
 */
import { formatEndpoint } from '../base/address.ts';
import type { RegionTable } from '../derp/region-table.ts';
import type { HomeReason, NetcheckReport } from './limits.ts';

/** A region of relays that answered. */
export interface NetcheckRelay {
  readonly region: number;
  readonly code: string;
  readonly name: string;
  /** Round trips in ms: the least of both families, and each; undefined: no answer on it. */
  readonly latencyMs: number;
  readonly latencyV4Ms: number | undefined;
  readonly latencyV6Ms: number | undefined;
  readonly isHome: boolean;
}

/** What a look at the network has shown: a {@link NetcheckReport} as plain values that survive JSON. */
export interface NetcheckStatus {
  /** Whether any relay answered over UDP, and on which family. */
  readonly udp: boolean;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** Where a server sees this machine: address and port. */
  readonly globalV4: string | undefined;
  readonly globalV6: string | undefined;
  /** Whether the NAT shows another address or port to every destination: then direct paths are hard. */
  readonly mappingVariesByDestIp: boolean | undefined;
  /** All addresses under which servers saw this machine within 5 minutes. */
  readonly endpoints: readonly string[];
  /** The home relay's region; undefined: none. */
  readonly home: NetcheckHome | undefined;
  /** Nearest first. */
  readonly relays: readonly NetcheckRelay[];
  /** How long the check took, in ms. */
  readonly tookMs: number;
}

/** Which region is home, and why; `connected`: not the one that was preferred, but one that is connected. */
export interface NetcheckHome {
  readonly region: number;
  readonly code: string;
  readonly name: string;
  readonly why: HomeReason | 'connected';
}

/**
 * Names the regions of a report. `home` is the region whose relay is home by now, the preferred one unless told; 0 for
 * none. Round trips are rounded to a tenth of a millisecond.
 */
export function netcheckStatus(
  report: NetcheckReport,
  regions: RegionTable,
  home: number = report.preferredRegion,
): NetcheckStatus {
  const { globalV4, globalV6, preferredRegion, preferredWhy } = report;
  const nameOf = (region: number) => {
    const known = regions.get(region);
    return { region, code: known?.RegionCode ?? '', name: known?.RegionName ?? '' };
  };
  const relays = [...report.latencies]
    .sort(([a, aMs], [b, bMs]) => aMs - bMs || a - b)
    .map(([region, latencyMs]) => ({
      ...nameOf(region),
      latencyMs: tenths(latencyMs),
      latencyV4Ms: known(report.latenciesV4.get(region), tenths),
      latencyV6Ms: known(report.latenciesV6.get(region), tenths),
      isHome: region === home,
    }));
  const why = home === preferredRegion ? preferredWhy : 'connected';
  return {
    udp: report.udp,
    ipv4: report.ipv4,
    ipv6: report.ipv6,
    globalV4: known(globalV4, formatEndpoint),
    globalV6: known(globalV6, formatEndpoint),
    mappingVariesByDestIp: report.mappingVariesByDestIp,
    endpoints: report.endpoints.map(formatEndpoint),
    home: home === 0 ? undefined : { ...nameOf(home), why },
    relays,
    tookMs: tenths(report.tookMs),
  };
}

/** DERPLatency of the control protocol: seconds by `<region>-v4` and `<region>-v6`. */
export function derpLatencies(report: NetcheckReport): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [region, ms] of report.latenciesV4) out[`${region}-v4`] = ms / 1000;
  for (const [region, ms] of report.latenciesV6) out[`${region}-v6`] = ms / 1000;
  return out;
}

function known<T, U>(value: T | undefined, convert: (value: T) => U): U | undefined {
  return value === undefined ? undefined : convert(value);
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
