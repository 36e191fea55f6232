/**
 * Which peers of the netmap are peers of the tunnel: those in use. A peer joins the tunnel when a packet goes to one of
 * its addresses, or when it begins a handshake; it leaves when the netmap no longer has it so, when its key expires, or
 * to make room for another.
 *
 * On a small device the netmap may know the disco key of a peer by its tag only: the peer then shows the key itself, as
 * soon as it looks for a path. One that does not within seconds is asked of the coordinator, with all its data.
 *
 * A peer has its own addresses as allowed IPs, whatever else the netmap says: routes to what is behind a peer are left out.
 */
import { equalBytes } from '../base/bytes.ts';
import type { Netmap, NetmapChanges } from '../control/netmap.ts';
import type { NetmapPeer } from '../control/peer-record.ts';
import type { Tunnel } from '../wireguard/tunnel.ts';
import type { SavedSession } from '../wireguard/types.ts';
import type { TailnetPaths } from './tailnet-paths.ts';

/** A peer in use may go so long without a disco key until the coordinator is asked for the map again. */
export const KEYLESS_MS = 10_000;
/** The coordinator is not asked again within this time. */
export const KEYLESS_INTERVAL_MS = 600_000;

/** The device: its tunnel, which may be replaced, and the removal of a peer with all that is known of it. */
export interface TunnelOwner {
  readonly tunnel: Tunnel;
  removePeer(nowMs: number, id: number): void;
}

/** A peer of the tunnel. */
export interface PeerInUse {
  /** Its id in the netmap. */
  readonly netmapId: number;
  /** Seconds since 1970; 0: never. */
  keyExpiry: number;
  /** Home relay; 0: unknown. */
  region: number;
  /** The relay that its last packet came through, for a peer whose home is not known yet; 0: none. */
  heardRegion: number;
  isJailed: boolean;
}

/** The peers in use of one device. */
export class TailnetPeers {
  readonly #netmap: Netmap;
  readonly #paths: TailnetPaths;
  readonly #maxPeers: number;
  /** By id in the tunnel; the one that was added first comes first. */
  readonly #inUse = new Map<number, PeerInUse>();
  readonly #tunnelIds = new Map<number, number>();
  /** Sessions of an earlier run; each goes on once. */
  readonly #sessions: SavedSession[];
  /** When to look for peers without a disco key, and not before this. */
  #keylessMs = Infinity;
  #keylessFromMs = -Infinity;
  /** See {@link forget}; undefined once there is another. */
  #oldTunnel: Tunnel | undefined = undefined;

  /** At most `maxPeers` are in the tunnel; `paths` knows the same peers by the same ids. */
  constructor(netmap: Netmap, paths: TailnetPaths, maxPeers: number, sessions: readonly SavedSession[] = []) {
    this.#sessions = [...sessions];
    this.#netmap = netmap;
    this.#paths = paths;
    this.#maxPeers = maxPeers;
  }

  /** What is known of a peer of the tunnel. */
  get(tunnelId: number): PeerInUse | undefined {
    return this.#inUse.get(tunnelId);
  }

  /** Ids of the peers in use: in the netmap, and in the tunnel; the one that was added last comes first. */
  inUse(): readonly (readonly [netmapId: number, tunnelId: number])[] {
    return [...this.#tunnelIds].reverse();
  }

  /** The id in the tunnel of a peer of the netmap. */
  tunnelId(netmapId: number): number | undefined {
    return this.#tunnelIds.get(netmapId);
  }

  /** Lets the peer with this node key into the tunnel, if the netmap has it. */
  resolveKey(nowMs: number, unixMs: number, owner: TunnelOwner, key: Uint8Array): boolean {
    return this.#resolve(nowMs, unixMs, owner, this.#netmap.peers.findKey(key));
  }

  /** Lets the peer with this address (4 or 16 bytes) into the tunnel, if the netmap has it. */
  resolveAddress(nowMs: number, unixMs: number, owner: TunnelOwner, address: Uint8Array): boolean {
    return this.#resolve(nowMs, unixMs, owner, this.#netmap.peers.findAddress(address));
  }

  /**
   * The peer with this disco key, let into the tunnel if need be: its id there. The node key tells several devices with
   * one disco key apart; without it there must be only one.
   */
  resolveDisco(
    nowMs: number,
    unixMs: number,
    owner: TunnelOwner,
    discoKey: Uint8Array,
    key: Uint8Array | undefined,
  ): number | undefined {
    const { peers } = this.#netmap;
    const slot = key === undefined ? peers.findOnlyDiscoKey(discoKey) : peers.findKey(key);
    if (slot < 0) return undefined;
    if (!peers.hasDiscoKey(slot, discoKey)) return undefined; // CHECK: tailnet-disco-key
    const netmapId = peers.idAt(slot);
    const tunnelId = this.#tunnelIds.get(netmapId);
    if (tunnelId === undefined) this.#resolve(nowMs, unixMs, owner, slot, discoKey);
    else this.#paths.learnKey(nowMs, tunnelId, discoKey);
    return this.#tunnelIds.get(netmapId);
  }

  /** The netmap has changed: peers in use follow it. */
  handleChanges(nowMs: number, unixMs: number, owner: TunnelOwner, changes: NetmapChanges): void {
    const ids = changes.peers === 'all' ? [...this.#tunnelIds.keys()] : changes.peers;
    for (const netmapId of ids) {
      const tunnelId = this.#tunnelIds.get(netmapId);
      if (tunnelId !== undefined) this.#follow(nowMs, unixMs, owner, tunnelId, netmapId);
    }
  }

  /** When the first key of a peer in use expires, in ms since 1970. */
  nextExpiryUnixMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { keyExpiry } of this.#inUse.values()) if (keyExpiry > 0) next = Math.min(next, keyExpiry * 1000);
    return next;
  }

  /** Removes peers whose keys have expired. */
  expire(nowMs: number, unixMs: number, owner: TunnelOwner): void {
    for (const [tunnelId, { keyExpiry }] of [...this.#inUse])
      if (isPast(keyExpiry, unixMs)) this.#remove(nowMs, owner, tunnelId);
  }

  /** When {@link takeKeyless} is to be asked. */
  nextKeylessMs(): number {
    return this.#keylessMs;
  }

  /** Whether a peer has been in use for a while without a disco key that the coordinator has. True once in a while only. */
  takeKeyless(nowMs: number): boolean {
    if (nowMs < this.#keylessMs) return false;
    this.#keylessMs = Infinity;
    const { peers } = this.#netmap;
    const isKeyless = [...this.#tunnelIds].some(([netmapId, tunnelId]) => {
      const slot = peers.find(netmapId);
      const hasTag = slot >= 0 && peers.peerAt(slot).discoTag !== undefined;
      return hasTag && this.#paths.disco.discoKeyOf(tunnelId) === undefined;
    });
    if (isKeyless) this.#keylessFromMs = nowMs + KEYLESS_INTERVAL_MS;
    return isKeyless;
  }

  /** This tunnel is over, or about to be replaced: nobody is in use any more, and nobody joins it. */
  forget(nowMs: number, tunnel: Tunnel): void {
    this.#oldTunnel = tunnel;
    for (const tunnelId of this.#inUse.keys()) this.#paths.disco.removePeer(nowMs, tunnelId);
    for (const netmapId of this.#tunnelIds.keys()) this.#netmap.setWanted(netmapId, false);
    this.#inUse.clear();
    this.#tunnelIds.clear();
    this.#sessions.length = 0;
  }

  /** `shownKey`: the disco key that the peer has shown. */
  #resolve(nowMs: number, unixMs: number, owner: TunnelOwner, slot: number, shownKey?: Uint8Array): boolean {
    if (slot < 0) return false;
    if (owner.tunnel === this.#oldTunnel) return false; // CHECK: tailnet-old-tunnel
    this.#oldTunnel = undefined;
    const peer = this.#netmap.peers.peerAt(slot);
    if (!mayTalk(peer, unixMs) || this.#tunnelIds.has(peer.id)) return false;
    if (equalBytes(peer.key, owner.tunnel.publicKey)) return false; // CHECK: tailnet-own-key
    // The netmap may have given the key to another peer, and its news not be read yet.
    const earlier = owner.tunnel.findPeer(peer.key);
    if (earlier !== undefined) this.#remove(nowMs, owner, earlier);
    if (this.#inUse.size >= this.#maxPeers && !this.#makeRoom(nowMs, owner)) return false;
    const tunnelId = owner.tunnel.addPeer(nowMs, { publicKey: peer.key, allowedIPs: peer.addresses, roams: false });
    const { id, key, keyExpiry, homeRegion, isJailed } = peer;
    this.#inUse.set(tunnelId, { netmapId: id, keyExpiry, region: homeRegion, heardRegion: 0, isJailed });
    this.#tunnelIds.set(id, tunnelId);
    const discoKey = peer.discoKey ?? shownKey;
    this.#paths.addPeer(nowMs, tunnelId, { ...peer, discoKey });
    this.#netmap.setWanted(id, true);
    if (peer.discoTag !== undefined && discoKey === undefined) this.#noteKeyless(nowMs);
    this.#resumeSession(nowMs, owner, tunnelId, key);
    return true;
  }

  #noteKeyless(nowMs: number): void {
    this.#keylessMs = Math.min(this.#keylessMs, nowMs + KEYLESS_MS);
    if (this.#keylessMs < this.#keylessFromMs) this.#keylessMs = this.#keylessFromMs; // CHECK: tailnet-keyless-interval
  }

  #resumeSession(nowMs: number, owner: TunnelOwner, tunnelId: number, key: Uint8Array): void {
    const saved = this.#sessions.find(({ publicKey }) => equalBytes(publicKey, key));
    if (saved === undefined) return;
    this.#sessions.splice(this.#sessions.indexOf(saved), 1);
    owner.tunnel.resumeSession(nowMs, tunnelId, saved.bytes);
    saved.bytes.fill(0);
  }

  #follow(nowMs: number, unixMs: number, owner: TunnelOwner, tunnelId: number, netmapId: number): void {
    const slot = this.#netmap.peers.find(netmapId);
    const peer = slot < 0 ? undefined : this.#netmap.peers.peerAt(slot);
    const inUse = this.#inUse.get(tunnelId)!;
    const isSame = peer !== undefined && this.#isKeyOf(tunnelId, peer.key) && mayTalk(peer, unixMs);
    if (!isSame) return this.#remove(nowMs, owner, tunnelId); // CHECK: tailnet-peer-gone
    inUse.region = peer.homeRegion;
    inUse.keyExpiry = peer.keyExpiry;
    inUse.isJailed = peer.isJailed;
    owner.tunnel.updatePeer(nowMs, tunnelId, { allowedIPs: peer.addresses });
    const discoKey = peer.discoKey ?? this.#shownKey(tunnelId, slot);
    this.#paths.updatePeer(nowMs, tunnelId, { ...peer, discoKey });
  }

  #isKeyOf(tunnelId: number, key: Uint8Array): boolean {
    const known = this.#paths.disco.nodeKeyOf(tunnelId);
    return known !== undefined && equalBytes(known, key);
  }

  /** The disco key that a peer with a slim record has shown, while the netmap says that it is the peer's. */
  #shownKey(tunnelId: number, slot: number): Uint8Array | undefined {
    const key = this.#paths.disco.discoKeyOf(tunnelId);
    if (key === undefined || !this.#netmap.peers.hasDiscoKey(slot, key)) return undefined; // CHECK: tailnet-shown-key
    return key;
  }

  #remove(nowMs: number, owner: TunnelOwner, tunnelId: number): void {
    const inUse = this.#inUse.get(tunnelId);
    if (inUse === undefined) return;
    this.#inUse.delete(tunnelId);
    this.#tunnelIds.delete(inUse.netmapId);
    this.#netmap.setWanted(inUse.netmapId, false);
    this.#paths.disco.removePeer(nowMs, tunnelId);
    owner.removePeer(nowMs, tunnelId);
  }

  /** Removes the first peer that has no session. */
  #makeRoom(nowMs: number, owner: TunnelOwner): boolean {
    for (const tunnelId of this.#inUse.keys()) {
      if (owner.tunnel.isActive(tunnelId)) continue;
      this.#remove(nowMs, owner, tunnelId);
      return true;
    }
    return false;
  }
}

/** Whether the netmap lets this peer talk WireGuard to us now. */
function mayTalk(peer: NetmapPeer, unixMs: number): boolean {
  const isExpired = peer.isExpired || isPast(peer.keyExpiry, unixMs);
  if (isExpired) return false; // CHECK: tailnet-peer-expired
  return !peer.isWireGuardOnly && peer.addresses.length > 0;
}

function isPast(seconds: number, unixMs: number): boolean {
  return seconds > 0 && seconds * 1000 <= unixMs;
}
