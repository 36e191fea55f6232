/**
 * Where relays are (DERPMap of the control protocol): types as they stand on the wire, and the reading of one node.
 */

/** One relay. */
export interface WireDerpNode {
  readonly Name: string;
  readonly RegionID: number;
  readonly HostName: string;
  /** The name to verify the certificate against, or `sha256-raw:` and the hex digest of a pinned certificate. */
  readonly CertName?: string;
  /** An address instead of looking `HostName` up; `none`: no IPv4. */
  readonly IPv4?: string;
  readonly IPv6?: string;
  /** 0 or absent: 3478; -1: no STUN. */
  readonly STUNPort?: number;
  readonly STUNOnly?: boolean;
  /** 0 or absent: 443. */
  readonly DERPPort?: number;
  readonly InsecureForTests?: boolean;
  readonly STUNTestIP?: string;
  readonly CanPort80?: boolean;
}

/** Relays that share their clients. Ids 900 to 999 are for user-run regions. */
export interface WireDerpRegion {
  readonly RegionID: number;
  readonly RegionCode: string;
  readonly RegionName: string;
  readonly Avoid?: boolean;
  readonly NoMeasureNoHome?: boolean;
  readonly Nodes: readonly WireDerpNode[];
}

/** All regions, by decimal id. */
export interface WireDerpMap {
  readonly HomeParams?: { readonly RegionScore?: Readonly<Record<string, number>> } | null;
  readonly Regions?: Readonly<Record<string, WireDerpRegion | null>> | null;
  readonly omitDefaultRegions?: boolean;
}
