/**
 * A membership that goes on where an earlier run of the device ended: what it starts with, and what it leaves behind.
 *
 * The coordinator is asked some seconds later, or at once when it was not heard for a day: a device that wakes, sends
 * and sleeps again does without. Left out: sessions of the tunnel, which tailnet-peers.ts hands back.
 */
import type { Endpoint } from '../base/address.ts';
import type { ControlClient } from '../control/client.ts';
import type { ControlClientOptions } from '../control/client-types.ts';
import { snapshotOf } from '../control/snapshot.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { Disco } from '../disco/disco.ts';
import type { TailnetPeers } from './tailnet-peers.ts';
import { SNAPSHOT_PEERS, type TailnetSnapshot, writeTailnetSnapshot } from './tailnet-snapshot.ts';

/** So long a device that has woken leaves the coordinator alone. */
export const RESUME_DELAY_MS = 10_000;
/** A coordinator that was not heard for so long is asked at once: keys want to be renewed, peers change. */
export const RESUME_MAX_AGE_MS = 86_400_000;
/** Room for the first line of a snapshot. */
const HEAD_BYTES = 1200;

/** What is written into a snapshot. */
export interface ResumeSource {
  readonly control: string;
  readonly client: ControlClient;
  readonly discoKey: SecretKey;
  readonly peers: TailnetPeers;
  readonly disco: Disco;
  readonly homeRegion: number;
  readonly port: number;
}

/** The beginning and the end of one run. */
export class Resume {
  readonly #snapshot: TailnetSnapshot | undefined;
  #heardUnixMs: number;

  constructor(snapshot: TailnetSnapshot | undefined) {
    this.#snapshot = snapshot;
    this.#heardUnixMs = snapshot?.heardUnixMs ?? 0;
  }

  /** Last direct paths of peers, by their ids in the netmap. */
  get paths(): ReadonlyMap<number, Endpoint> | undefined {
    return this.#snapshot?.paths;
  }

  /** The home relay of the earlier run; 0: none. */
  get homeRegion(): number {
    return this.#snapshot?.homeRegion ?? 0;
  }

  /** UDP port of the earlier run; 0: unknown. */
  get port(): number {
    return this.#snapshot?.port ?? 0;
  }

  /** Whether the device is a member by what it remembers, and the coordinator has not said yet whether it still is. */
  isGoingOn(client: ControlClient): boolean {
    const isUnheard = client.state === 'starting' || client.state === 'connecting';
    return this.#snapshot !== undefined && isUnheard && client.netmap.self !== undefined;
  }

  /** Options of the control client. */
  clientOptions(unixMs: number): Pick<ControlClientOptions, 'snapshot' | 'startDelayMs'> {
    if (this.#snapshot === undefined) return {};
    const ageMs = unixMs - this.#heardUnixMs;
    const isFresh = ageMs >= 0 && ageMs < RESUME_MAX_AGE_MS;
    return { snapshot: this.#snapshot.map, startDelayMs: isFresh ? RESUME_DELAY_MS : 0 };
  }

  /** The netmap has changed. */
  noteNetmap(client: ControlClient, unixMs: number): void {
    if (client.isConnected) this.#heardUnixMs = unixMs;
  }

  /** What the next run needs, in at most `maxBytes`; undefined where there is nothing worth it. */
  write(source: ResumeSource, maxBytes: number): Uint8Array | undefined {
    const { control, client, discoKey, peers, disco, homeRegion, port } = source;
    const { netmap } = client;
    const inUse = peers.inUse();
    const ids = inUse.map(([netmapId]) => netmapId);
    const tunnelIds = new Map(inUse);
    for (let slot = 0; slot < netmap.peers.count && ids.length < SNAPSHOT_PEERS; slot++)
      if (!ids.includes(netmap.peers.idAt(slot))) ids.push(netmap.peers.idAt(slot));
    const kept = ids.slice(0, SNAPSHOT_PEERS).flatMap(id => {
      const slot = netmap.peers.find(id);
      if (slot < 0) return [];
      const peer = netmap.peers.peerAt(slot);
      return [{ ...peer, discoKey: peer.discoKey ?? disco.discoKeyOf(tunnelIds.get(id) ?? -1) }];
    });
    const paths = new Map([...(this.paths ?? [])].filter(([id]) => ids.includes(id)));
    for (const [netmapId, tunnelId] of inUse) {
      const { endpoint } = disco.status(tunnelId);
      if (endpoint !== undefined) paths.set(netmapId, endpoint);
    }
    const regions = [...new Set([homeRegion, ...kept.map(peer => peer.homeRegion)])];
    const map = snapshotOf(netmap, { peers: kept, regions }, maxBytes - HEAD_BYTES);
    if (map === undefined) return undefined;
    const heardUnixMs = this.#heardUnixMs;
    const nodeKey = client.publicKey;
    return writeTailnetSnapshot({ control, nodeKey, heardUnixMs, homeRegion, port, discoKey, paths, map });
  }
}
