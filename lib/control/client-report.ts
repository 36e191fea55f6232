/**
 * What a device tells its coordinator of itself: endpoints, home relay, what it is. Changes are collected for a moment
 * and leave as one lite update; after every reconnect everything is told again.
 */
import { formatEndpoint } from '../base/address.ts';
import { formatKey } from '../crypto/key-text.ts';
import type { LocalEndpoint } from './client-types.ts';
import { CAPABILITY_VERSION, SMALL_MAP_FLAG, type WireHostinfo, type WireMapRequest } from './message.ts';

/** Changes within this time leave together. */
export const COALESCE_MS = 200;

/** See the top of the file. */
export class Report {
  /** When the next lite update is due; Infinity: nothing new. */
  dueMs = Infinity;
  #hostinfo: WireHostinfo;
  #endpoints: readonly LocalEndpoint[] = [];
  #netInfo: object | undefined = undefined;
  readonly #discoKey: string | undefined;
  readonly #isSmall: boolean;

  /** `isSmall`: the coordinator is asked for the small map. */
  constructor(hostinfo: WireHostinfo, discoKey: Uint8Array | undefined, isSmall: boolean) {
    this.#hostinfo = hostinfo;
    this.#isSmall = isSmall;
    this.#discoKey = discoKey === undefined ? undefined : formatKey('discokey', discoKey);
  }

  /** What the device says of itself, its network included. */
  get hostinfo(): WireHostinfo {
    const NetInfo = { ...this.#hostinfo.NetInfo, ...this.#netInfo };
    // Absent means unchanged: what is not known yet must not blank what an earlier run has told.
    return Object.keys(NetInfo).length === 0 ? this.#hostinfo : { ...this.#hostinfo, NetInfo };
  }

  setHostinfo(nowMs: number, hostinfo: WireHostinfo): void {
    const isSame = JSON.stringify(hostinfo) === JSON.stringify(this.#hostinfo);
    this.#hostinfo = hostinfo;
    if (!isSame) this.#change(nowMs);
  }

  /** Keeps `endpoints` as they are: the caller does not change them afterwards. */
  setEndpoints(nowMs: number, endpoints: readonly LocalEndpoint[]): void {
    const isSame = JSON.stringify(endpoints) === JSON.stringify(this.#endpoints);
    this.#endpoints = endpoints;
    if (!isSame) this.#change(nowMs);
  }

  /** `latencies` in seconds, by `region-v4` or `region-v6`. */
  setHomeRegion(nowMs: number, region: number, latencies: Readonly<Record<string, number>> | undefined): void {
    const netInfo = { PreferredDERP: region, ...(latencies === undefined ? {} : { DERPLatency: { ...latencies } }) };
    const isSame = JSON.stringify(netInfo) === JSON.stringify(this.#netInfo);
    this.#netInfo = netInfo;
    if (!isSame) this.#change(nowMs);
  }

  /** A map request: for the stream, or a lite update. */
  request(nodeKey: string, isStream: boolean): WireMapRequest {
    return {
      Version: CAPABILITY_VERSION,
      NodeKey: nodeKey,
      ...(this.#discoKey === undefined ? {} : { DiscoKey: this.#discoKey }),
      Stream: isStream,
      OmitPeers: !isStream,
      KeepAlive: isStream,
      Compress: '',
      Hostinfo: this.hostinfo,
      Endpoints: this.#endpoints.map(formatEndpoint),
      EndpointTypes: this.#endpoints.map(({ type }) => type),
      ...(this.#isSmall ? { DebugFlags: [SMALL_MAP_FLAG] } : {}),
    };
  }

  #change(nowMs: number): void {
    this.dueMs = Math.min(this.dueMs, nowMs + COALESCE_MS);
  }
}
