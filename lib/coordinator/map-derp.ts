/**
 * The relay map on its way out: known fields only, each in its form, so that no reader refuses the message it is in.
 * What cannot be said of a relay or a region without its missing part is left out whole.
 */
import { parseAddress } from '../base/address.ts';
import type { WireDerpMap, WireDerpNode, WireDerpRegion } from '../derp/map.ts';
import { encodeText, plainText } from './map-text.ts';
import type { DeviceRecord } from './model.ts';

const MOST_TEXT = 255;

/** The relay map as bytes: all of it, and the regions that small devices use. */
export class DerpMaps {
  #map: WireDerpMap;
  #all: Uint8Array;

  constructor(map: WireDerpMap) {
    this.#map = cleanDerpMap(map);
    this.#all = encodeText(JSON.stringify(this.#map));
  }

  /** The map from now on. */
  set(map: WireDerpMap): void {
    this.#map = cleanDerpMap(map);
    this.#all = encodeText(JSON.stringify(this.#map));
  }

  /** The region that a device uses; undefined, which is all, while it has none that there is and is to choose one. */
  regionsFor({ homeRegion }: DeviceRecord): Set<number> | undefined {
    return this.#map.Regions?.[homeRegion] === undefined ? undefined : new Set([homeRegion]);
  }

  /** The map with these regions; undefined: all. */
  bytes(regions: ReadonlySet<number> | undefined): Uint8Array {
    if (regions === undefined) return this.#all;
    const entries = Object.entries(this.#map.Regions!).filter(([id]) => regions.has(Number(id)));
    return encodeText(JSON.stringify({ Regions: Object.fromEntries(entries) }));
  }
}

/** A relay map that every reader takes. */
export function cleanDerpMap(map: WireDerpMap): WireDerpMap {
  const regions: Record<string, WireDerpRegion> = {};
  for (const [key, region] of Object.entries(map.Regions ?? {})) {
    if (region === null) continue;
    if (String(region.RegionID) !== key || !isPort(region.RegionID)) continue; // CHECK: map-out-region
    regions[key] = cleanRegion(region);
  }
  const scores = Object.entries(map.HomeParams?.RegionScore ?? {}).filter(
    ([key, score]) => regions[key] !== undefined && Number.isFinite(score) && score > 0,
  );
  return {
    ...(scores.length > 0 ? { HomeParams: { RegionScore: Object.fromEntries(scores) } } : undefined),
    Regions: regions,
    ...(map.omitDefaultRegions === true ? { omitDefaultRegions: true } : undefined),
  };
}

function cleanRegion(region: WireDerpRegion): WireDerpRegion {
  return {
    RegionID: region.RegionID,
    RegionCode: plainText(region.RegionCode, MOST_TEXT),
    RegionName: plainText(region.RegionName, MOST_TEXT),
    ...(region.Avoid === true ? { Avoid: true } : undefined),
    ...(region.NoMeasureNoHome === true ? { NoMeasureNoHome: true } : undefined),
    Nodes: region.Nodes.filter(node => node.RegionID === region.RegionID && node.HostName !== '').map(cleanNode),
  };
}

function cleanNode(node: WireDerpNode): WireDerpNode {
  return {
    Name: plainText(node.Name, MOST_TEXT),
    RegionID: node.RegionID,
    HostName: plainText(node.HostName, MOST_TEXT),
    ...(node.CertName ? { CertName: plainText(node.CertName, MOST_TEXT) } : undefined),
    ...(isAddress(node.IPv4, 4) ? { IPv4: node.IPv4! } : undefined),
    ...(isAddress(node.IPv6, 16) ? { IPv6: node.IPv6! } : undefined),
    ...(node.STUNPort === -1 || isPort(node.STUNPort) ? { STUNPort: node.STUNPort! } : undefined),
    ...(node.STUNOnly === true ? { STUNOnly: true } : undefined),
    ...(isPort(node.DERPPort) ? { DERPPort: node.DERPPort! } : undefined),
    ...(node.InsecureForTests === true ? { InsecureForTests: true } : undefined),
    ...(isAddress(node.STUNTestIP, 4) || isAddress(node.STUNTestIP, 16) ? { STUNTestIP: node.STUNTestIP! } : undefined),
    ...(node.CanPort80 === true ? { CanPort80: true } : undefined),
  };
}

function isPort(value: number | undefined): boolean {
  return value !== undefined && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

function isAddress(text: string | undefined, bytes: number): boolean {
  return text !== undefined && (text === 'none' || parseAddress(text)?.length === bytes);
}
