/**
 * What a device knows of its tailnet: itself, its peers, relays, names, packet filter and users, as the messages of a
 * map stream have built it up. A message changes everything it says at once, or nothing.
 *
 * A new stream starts from nothing, while the old netmap stays in force until the stream's first message is complete;
 * what that message leaves out is then empty.
 */
import { RegionTable } from '../derp/region-table.ts';
import type { WireFilterRule } from '../filter/rule.ts';
import type { MapLimits } from './map-limits.ts';
import { type FilterChunk, MapStage } from './map-stage.ts';
import type { NetmapSelf, PeerPatch } from './map-values.ts';
import type { WireDnsConfig, WireUserProfile } from './message.ts';
import type { NetmapPeer } from './peer-record.ts';
import type { PeerSlimmer } from './peer-slimmer.ts';
import { PeerTable } from './peer-table.ts';

/** What a message has changed. */
export interface NetmapChanges {
  /** The first message of a stream: everything may be new. */
  isFirst: boolean;
  self: boolean;
  /** `all`, or the ids of peers that came, went or changed. */
  peers: 'all' | Set<number>;
  regions: boolean;
  dns: boolean;
  domain: boolean;
  filter: boolean;
  users: boolean;
  health: boolean;
}

/** The netmap of one device. */
export class Netmap {
  self: NetmapSelf | undefined = undefined;
  peers: PeerTable;
  /** Relay regions by id; never changed, but replaced. */
  regions = new RegionTable();
  dns: WireDnsConfig = {};
  /** The tailnet's name, for people. */
  domain = '';
  /** User profiles by id. */
  users: Map<number, WireUserProfile> = new Map();
  /** Problems that the coordinator wants to be shown. */
  health: readonly string[] = [];
  /** The coordinator's clock when it last said so, in ms since 1970; 0: never. */
  controlTimeMs = 0;
  /** Values of applied messages that were dropped alone for their form, and those beyond a limit. */
  malformed = 0;
  overLimit = 0;
  /** Peers that were left out because another peer, or this device, has their key or id. */
  conflicting = 0;
  readonly #limits: MapLimits;
  readonly #slimmer: PeerSlimmer | undefined;
  #chunks = new Map<string, FilterChunk>();
  #isFirst = true;

  /** With a slimmer a table of many peers is slim; without one all records are whole. */
  constructor(limits: MapLimits, slimmer?: PeerSlimmer) {
    this.#limits = limits;
    this.#slimmer = slimmer;
    this.peers = new PeerTable(limits, slimmer);
  }

  /** A new stream begins: the next message is a first one. */
  startStream(): void {
    this.#isFirst = true;
  }

  /** An empty stage for the next message. */
  createStage(): MapStage {
    return new MapStage(this.#limits, this.peers, this.#isFirst, this.#slimmer);
  }

  /** A peer is in use from now on, or not any more: what the coordinator says of those in use is kept whole. */
  setWanted(id: number, isWanted: boolean): void {
    const wanted = this.#slimmer?.wanted;
    const at = wanted?.indexOf(id) ?? -1;
    if (isWanted && at < 0) wanted?.push(id);
    else if (!isWanted && at >= 0) wanted?.splice(at, 1);
  }

  /** Whether something may have to end, by the peers that a message has changed: one has left, or may begin nothing. */
  endsSomething(changed: NetmapChanges['peers']): boolean {
    if (changed === 'all') return true;
    return [...changed].some(id => {
      const slot = this.peers.find(id);
      return slot < 0 || this.peers.peerAt(slot).isJailed;
    });
  }

  /** The packet filter: all chunks, in the order of their names. Empty: nothing may come in. */
  get filterRules(): WireFilterRule[] {
    const names = [...this.#chunks.keys()].sort();
    return names.flatMap(name => this.#chunks.get(name)!.rules.map(text => JSON.parse(text) as WireFilterRule));
  }

  /** What the tailnet's names end in, without the dots around it; empty when the device has no name. */
  get suffix(): string {
    const name = this.self?.name ?? '';
    return name.slice(name.indexOf('.') + 1).replace(/\.$/, '');
  }

  /** The device that has an address (4 or 16 bytes) as its own, with its user. */
  whois(address: Uint8Array): { peer: NetmapPeer; user: WireUserProfile | undefined } | undefined {
    const slot = this.peers.findAddress(address);
    if (slot < 0) return undefined;
    const peer = this.peers.peerAt(slot);
    return { peer, user: this.users.get(peer.user) };
  }

  /** Applies a message that was read whole. Returns a text when it cannot be applied. */
  apply(stage: MapStage): NetmapChanges | string {
    if (stage.problem !== undefined) return stage.problem;
    const isFirst = this.#isFirst;
    if (isFirst && stage.self === undefined) return 'the first message lacks this device'; // CHECK: map-first-node
    if (isFirst) this.#clear();
    this.#isFirst = false;
    if (stage.isFull) this.#applyFullList(stage);
    else if (isFirst) this.peers = new PeerTable(this.#limits, this.#slimmer);
    const peers = stage.isFull ? new Set<number>() : this.#applyPeers(stage);
    const isFilter = this.#applyFilter(stage);
    this.self = stage.self ?? this.self;
    if (this.self !== undefined) for (const id of this.#dropConflicts(this.self, stage)) peers.add(id);
    this.peers.compact();
    stage.regions?.compact();
    this.regions = stage.regions ?? this.regions;
    this.dns = stage.dns ?? this.dns;
    this.domain = stage.domain ?? this.domain;
    this.health = stage.health ?? this.health;
    if (stage.controlTimeMs > 0) this.controlTimeMs = stage.controlTimeMs;
    this.malformed += stage.malformed;
    this.overLimit += stage.overLimit;
    for (const [id, user] of stage.users) {
      if (this.users.size < this.#limits.users || this.users.has(id)) this.users.set(id, user);
      else this.overLimit++;
    }
    return {
      isFirst,
      self: stage.self !== undefined,
      peers: isFirst || stage.isFull ? 'all' : peers,
      regions: isFirst || stage.regions !== undefined,
      dns: isFirst || stage.dns !== undefined,
      domain: isFirst || stage.domain !== undefined,
      filter: isFirst || isFilter,
      users: isFirst || stage.users.size > 0,
      health: isFirst || stage.health !== undefined,
    };
  }

  #clear(): void {
    this.regions = new RegionTable();
    this.dns = {};
    this.domain = '';
    this.users = new Map();
    this.health = [];
    this.#chunks = new Map();
  }

  /** A full list of peers: what was not seen in it goes. */
  #applyFullList({ changed, seen, seenCount }: MapStage): void {
    if (seenCount === 0) {
      this.peers = changed;
      return;
    }
    const { peers } = this;
    if (seenCount < peers.count) peers.keepOnly(seen); // CHECK: map-unlisted-peer
    this.#putAll(changed);
    if (changed.isSlim) peers.slimDown();
    else peers.isSlim = false;
  }

  #putAll(changed: PeerTable): void {
    for (let slot = 0; slot < changed.count; slot++)
      if (!this.peers.put(changed.pageAt(slot), changed.offsetAt(slot))) this.#drop(changed.idAt(slot));
  }

  /** The order that the protocol prescribes. */
  #applyPeers(stage: MapStage): Set<number> {
    const touched = new Set<number>();
    const { peers } = this;
    for (const id of stage.removed) if (peers.remove(id)) touched.add(id);
    const { changed } = stage;
    if (peers.suffix === '') peers.suffix = changed.suffix;
    this.#putAll(changed);
    if (changed.isSlim) peers.slimDown();
    for (let slot = 0; slot < changed.count; slot++) touched.add(changed.idAt(slot));
    for (const [id, isOnline] of stage.online) if (peers.setOnline(id, isOnline)) touched.add(id);
    for (const patch of stage.patches) if (this.#patch(patch, stage.record)) touched.add(patch.id);
    return touched;
  }

  /** A peer that does not fit any more: what was known of it is not true, so it goes. */
  #drop(id: number): void {
    this.overLimit++;
    this.peers.remove(id);
  }

  #patch(patch: PeerPatch, record: Uint8Array): boolean {
    const slot = this.peers.find(patch.id);
    if (slot < 0) return false;
    const { id, ...changes } = patch;
    const peer = { ...this.peers.peerAt(slot), ...changes };
    const length = this.peers.write(record, peer);
    if (length === 0 || !this.peers.put(record, 0)) this.#drop(id);
    return true;
  }

  #applyFilter(stage: MapStage): boolean {
    if (stage.base !== undefined) this.#chunks.set('base', stage.base);
    if (stage.chunks.get('*') === null) this.#chunks.clear();
    for (const [name, chunk] of stage.chunks) {
      if (name === '*') continue;
      if (chunk === null) this.#chunks.delete(name);
      else this.#chunks.set(name, chunk);
    }
    this.#boundFilter();
    return stage.base !== undefined || stage.chunks.size > 0;
  }

  /** Chunks of several messages together: one that is beyond the limit is left out, and thereby denied. */
  #boundFilter(): void {
    let [chunks, rules, bytes] = [0, 0, 0];
    for (const name of [...this.#chunks.keys()].sort()) {
      const chunk = this.#chunks.get(name)!;
      const isOver =
        chunks + 1 > this.#limits.rules ||
        rules + chunk.rules.length > this.#limits.rules ||
        bytes + chunk.bytes > this.#limits.ruleBytes;
      if (isOver) this.#chunks.delete(name); // CHECK: map-filter-total
      if (isOver) this.overLimit++;
      chunks++;
      rules += chunk.rules.length;
      bytes += chunk.bytes;
    }
  }

  /** A node key belongs to one peer, and own id and key to none. Ids of the peers that were dropped for it. */
  #dropConflicts(self: NetmapSelf, stage: MapStage): readonly number[] {
    const hasNewPeers = stage.changed.count > 0;
    const hasNewKeys = stage.self !== undefined || stage.patches.some(({ key }) => key !== undefined);
    if (!hasNewPeers && !hasNewKeys) return [];
    const dropped: number[] = [];
    if (this.peers.remove(self.id)) dropped.push(self.id); // CHECK: map-own-id
    dropped.push(...this.peers.removeSharedKeys(self.key));
    this.conflicting += dropped.length;
    return dropped;
  }
}
