/**
 * A netmap as one message of the map stream: what a device stores before it sleeps, so that it can send as soon as it
 * wakes, and asks the coordinator later. The decoder reads it as it reads the stream, with all of its checks.
 *
 * Left out: the packet filter (nothing but replies comes in until the coordinator was heard), users, names of services,
 * and what the coordinator says anew anyway.
 */
import { formatEndpoint, formatPrefix } from '../base/address.ts';
import { concatBytes, utf8Encode, writeU32LE } from '../base/bytes.ts';
import { formatKey } from '../crypto/key-text.ts';
import type { WireDerpRegion } from '../derp/map.ts';
import type { WireMapResponse, WireNode } from './message.ts';
import type { Netmap } from './netmap.ts';
import type { NetmapPeer } from './peer-record.ts';
import { formatTimeMs } from './time.ts';

/** The part of a netmap that {@link snapshotOf} keeps. */
export interface SnapshotParts {
  /** The most important first. */
  readonly peers: readonly NetmapPeer[];
  /** Numbers of the relay regions. */
  readonly regions: readonly number[];
}

/**
 * A netmap's own device, some of its peers and some of its relays as a message with its length in front, of at most
 * `maxBytes`; peers that do not fit are left out from the end. Undefined where there is no own device, or no room for it.
 */
export function snapshotOf(netmap: Netmap, parts: SnapshotParts, maxBytes: number): Uint8Array | undefined {
  const { self } = netmap;
  if (self === undefined) return undefined;
  const Regions: Record<string, WireDerpRegion> = {};
  for (const id of parts.regions) {
    const region = netmap.regions.get(id);
    if (region !== undefined) Regions[id] = region;
  }
  const peers = parts.peers.map(nodeOf);
  for (let count = peers.length; count >= 0; count--) {
    const message: WireMapResponse = {
      Node: {
        ID: self.id,
        StableID: self.stableId,
        Name: self.name,
        User: self.user,
        Key: formatKey('nodekey', self.key),
        ...(self.keyExpiry > 0 ? { KeyExpiry: formatTimeMs(self.keyExpiry * 1000) } : {}),
        Addresses: self.addresses.map(formatPrefix),
        Tags: self.tags,
        MachineAuthorized: self.isAuthorized,
      },
      Domain: netmap.domain,
      DERPMap: { Regions },
      Peers: peers.slice(0, count),
    };
    const json = utf8Encode(JSON.stringify(message));
    if (json.length + 4 > maxBytes) continue;
    const length = new Uint8Array(4);
    writeU32LE(length, 0, json.length);
    return concatBytes(length, json);
  }
  return undefined;
}

function nodeOf(peer: NetmapPeer): WireNode {
  return {
    ID: peer.id,
    StableID: String(peer.id),
    Name: peer.name,
    User: peer.user,
    Key: formatKey('nodekey', peer.key),
    ...(peer.discoKey === undefined ? {} : { DiscoKey: formatKey('discokey', peer.discoKey) }),
    ...(peer.keyExpiry > 0 ? { KeyExpiry: formatTimeMs(peer.keyExpiry * 1000) } : {}),
    Addresses: peer.addresses.map(formatPrefix),
    Endpoints: peer.endpoints.map(formatEndpoint),
    HomeDERP: peer.homeRegion,
    ...(peer.tags.length > 0 ? { Tags: peer.tags } : {}),
    ...(peer.isJailed ? { IsJailed: true } : {}),
    ...(peer.isExpired ? { Expired: true } : {}),
    ...(peer.isWireGuardOnly ? { IsWireGuardOnly: true } : {}),
  };
}
