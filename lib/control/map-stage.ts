/**
 * One message of the map stream while it is read: what it would change, checked and compact, without touching the
 * netmap. Everything is bounded: peers by the table's limits, the rest by `stagedBytes` and the limits of each kind.
 *
 * A full list of peers is held as its differences from the table that is there: a peer that comes as it is known is
 * marked as seen, the others go into `changed`; when the message is applied, those that were not seen go.
 *
 * Fields may come in any order, so a patch may stand before the peer that it is for. Such patches wait within a quarter
 * of `stagedBytes`; where one had no room and its peer then comes after all, the message is refused, and the session
 * starts anew with a full one.
 */
import { NO_BYTES } from '../base/bytes.ts';
import { RegionTable } from '../derp/region-table.ts';
import type { WireFilterRule } from '../filter/rule.ts';
import type { MapLimits } from './map-limits.ts';
import {
  asObject,
  type Collected,
  dnsOf,
  healthOf,
  type MapPing,
  type NetmapSelf,
  type PeerPatch,
  patchOf,
  peerOf,
  pingOf,
  positive,
  regionEntryOf,
  ruleOf,
  selfOf,
  userOf,
} from './map-values.ts';
import type { WireDnsConfig, WireUserProfile } from './message.ts';
import { type NetmapPeer, suffixOf } from './peer-record.ts';
import type { PeerSlimmer } from './peer-slimmer.ts';
import { PeerTable } from './peer-table.ts';
import { parseTimeMs } from './time.ts';

const CHANGE_COST = 48;
const PATCH_COST = 64;

/** The rules of one named chunk, and about how many bytes they take in the message. */
export interface FilterChunk {
  /** Each rule as JSON: a third of an object's memory, and read only when the filter is compiled anew. */
  readonly rules: string[];
  bytes: number;
}

/** What one message would change. */
export class MapStage {
  /** Why the message cannot be applied. */
  problem: string | undefined = undefined;
  isKeepAlive = false;
  self: NetmapSelf | undefined = undefined;
  /** Whether `Peers` was not empty: the other fields of peers are not looked at then. */
  isFull = false;
  /** Of `Peers` what is not as it was known, or else `PeersChanged`. */
  changed: PeerTable;
  /** The peers of `Peers` that are as they were known, a bit for each slot, and how many. */
  seen: Uint8Array = NO_BYTES;
  seenCount = 0;
  readonly removed = new Set<number>();
  readonly patches: PeerPatch[] = [];
  readonly online = new Map<number, boolean>();
  regions: RegionTable | undefined = undefined;
  dns: WireDnsConfig | undefined = undefined;
  domain: string | undefined = undefined;
  /** `PacketFilter`. */
  base: FilterChunk | undefined = undefined;
  /** `PacketFilters`, `*` included; null: the chunk goes. */
  readonly chunks = new Map<string, FilterChunk | null>();
  readonly users = new Map<number, WireUserProfile>();
  health: string[] | undefined = undefined;
  controlTimeMs = 0;
  ping: MapPing | undefined = undefined;
  openUrl: string | undefined = undefined;
  /** Values that were dropped alone because of their form or size, or because a limit was reached. */
  malformed = 0;
  overLimit = 0;
  readonly #limits: MapLimits;
  readonly #current: PeerTable;
  /** The table that a delta changes: undefined in the first message of a stream, which starts from nothing. */
  readonly #basis: PeerTable | undefined;
  readonly #slimmer: PeerSlimmer | undefined;
  #scratch: Uint8Array | undefined = undefined;
  #seenBytes = 0;
  /** Whether the list goes by the suffix of the table that is there, without which nothing can be compared. */
  #isComparable: boolean | undefined = undefined;
  #stagedBytes = 0;
  #hasMissed = false;
  #chunk: FilterChunk = { rules: [], bytes: 0 };
  #ruleCount = 0;
  #ruleBytes = 0;

  /** `current` is the table that the message changes, or that its stream will replace when it `isFirst`. */
  constructor(limits: MapLimits, current: PeerTable, isFirst: boolean, slimmer?: PeerSlimmer) {
    this.#limits = limits;
    this.#current = current;
    this.#basis = isFirst ? undefined : current;
    this.#slimmer = slimmer;
    this.changed = new PeerTable(limits, slimmer, isFirst ? '' : current.suffix);
    this.changed.isSlim = !isFirst && current.isSlim;
  }

  /** About how many bytes of memory this holds. */
  get heldBytes(): number {
    const scratch = this.#scratch?.length ?? 0;
    const regions = this.regions?.heldBytes ?? 0;
    return this.changed.heldBytes + regions + this.seen.length + scratch + this.#stagedBytes + this.#ruleBytes;
  }

  /** Scratch memory for a record. */
  get record(): Uint8Array {
    this.#scratch ??= new Uint8Array(this.#limits.recordBytes);
    return this.#scratch;
  }

  /** A list begins. */
  beginList(field: string, key: string): void {
    this.#chunk = { rules: [], bytes: 0 };
    if (field === 'PacketFilter') this.base = this.#chunk;
    if (field === 'PacketFilters') this.#setChunk(key, this.#chunk);
  }

  /** `Regions` is there: it replaces all. */
  beginRegions(): void {
    this.regions = new RegionTable();
  }

  /** A chunk of the filter goes. */
  deleteChunk(key: string): void {
    this.#setChunk(key, null);
  }

  /** A whole field; `undefined` for one that was larger than its limit. */
  set(field: string, value: Collected): void {
    const isText = typeof value === 'string';
    if (field === 'Node') this.self = this.#need(field, selfOf(value, this.#limits));
    else if (field === 'DNSConfig') this.dns = this.#need(field, dnsOf(value));
    else if (field === 'KeepAlive')
      this.isKeepAlive = this.#need(field, typeof value === 'boolean' ? value : undefined) === true;
    else if (field === 'Domain') this.domain = this.#need(field, isText ? value : undefined);
    else if (field === 'ControlTime')
      this.controlTimeMs = this.#need(field, isText ? parseTimeMs(value) : undefined) ?? 0;
    else if (field === 'Health') this.health = this.#orCount(healthOf(value, this.#limits.healthTexts));
    else if (field === 'PingRequest') this.ping = this.#orCount(pingOf(value));
    else if (field === 'PopBrowserURL' && value !== '')
      this.openUrl = this.#orCount(isText && /^https?:\/\/[\x21-\x7e]+$/.test(value) ? value : undefined);
  }

  /** An element of a list; `undefined` for one that was larger than its limit. `cost` is what it takes, in bytes. */
  addElement(field: string, value: Collected, cost: number): void {
    if (field === 'Peers') this.#addListed(peerOf(value, this.#limits));
    else if (field === 'PeersChanged') this.#addChanged(value);
    else if (field === 'PeersRemoved') this.#addRemoved(positive(value));
    else if (field === 'PeersChangedPatch') this.#addPatch(patchOf(value, this.#limits));
    else if (field === 'UserProfiles') this.#addUser(userOf(value));
    else this.#addRule(ruleOf(value), cost);
  }

  /** An entry of an object with any names. */
  addEntry(field: string, key: string, value: Collected): void {
    if (field === 'Regions') return this.#addRegion(key, value);
    const id = /^[1-9][0-9]{0,15}$/.test(key) ? positive(Number(key)) : undefined;
    if (id === undefined || typeof value !== 'boolean') return void this.malformed++;
    if (this.isFull) return;
    if (this.online.has(id) || this.#mayStage(id, CHANGE_COST)) this.online.set(id, value);
  }

  #need<T>(field: string, value: T | undefined): T | undefined {
    if (value === undefined) this.problem ??= `${field} is malformed or too large`; // CHECK: map-whole-form
    return value;
  }

  #orCount<T>(value: T | undefined): T | undefined {
    if (value === undefined) this.malformed++;
    return value;
  }

  #beginFull(): void {
    const { isSlim, liveBytes } = this.#current;
    this.isFull = true;
    this.seen = new Uint8Array((this.#current.count + 7) >> 3);
    this.changed = new PeerTable(this.#limits, this.#slimmer, '');
    // Peers that have become few enough are whole again; not at the edge, where they would change to and fro.
    this.changed.isSlim = isSlim && liveBytes > this.#limits.wholePeerBytes / 2;
  }

  /** The first name says by which suffix the list goes. */
  #adoptSuffix(name: string): void {
    const suffix = suffixOf(name);
    if (this.#isComparable !== undefined || suffix === '') return;
    const known = this.#current.suffix;
    this.#isComparable = suffix === known || this.seenCount > 0;
    this.changed.suffix = this.#isComparable ? known : suffix;
  }

  #addListed(peer: NetmapPeer | undefined): void {
    if (!this.isFull) this.#beginFull();
    if (peer !== undefined) this.#adoptSuffix(peer.name);
    const { record, changed } = this;
    const length = peer === undefined ? 0 : changed.write(record, peer);
    if (peer === undefined || length === 0) return void this.malformed++;
    const slot = this.#isComparable === false ? -1 : this.#current.find(peer.id);
    const isSame = slot >= 0 && this.#current.isSame(slot, record, 0);
    if (slot >= 0) this.#setSeen(slot, isSame);
    if (isSame) changed.remove(peer.id);
    else if (!changed.put(record, 0, this.seenCount, this.#seenBytes)) this.overLimit++;
  }

  #setSeen(slot: number, isSeen: boolean): void {
    const length = this.#current.lengthAt(slot);
    const bit = 1 << (slot & 7);
    const wasSeen = (this.seen[slot >> 3]! & bit) !== 0;
    if (isSeen === wasSeen) return;
    this.seen[slot >> 3]! ^= bit;
    this.seenCount += isSeen ? 1 : -1;
    this.#seenBytes += isSeen ? length : -length;
  }

  /** False when the peer was left out. */
  #addPeer(peer: NetmapPeer | undefined): boolean {
    if (peer !== undefined) this.changed.adoptSuffix(peer.name);
    const length = peer === undefined ? 0 : this.changed.write(this.record, peer);
    if (length === 0) {
      this.malformed++;
      return false;
    }
    const isKept = this.changed.put(this.record, 0);
    if (!isKept) this.overLimit++;
    return isKept;
  }

  #knows(id: number): boolean {
    return this.#basis !== undefined && this.#basis.find(id) >= 0;
  }

  #addChanged(value: Collected): void {
    if (this.isFull) return;
    const id = positive(asObject(value)?.['ID']);
    const isKnown = id !== undefined && this.#knows(id);
    const isKept = this.#addPeer(peerOf(value, this.#limits));
    if (isKept && !isKnown && this.#hasMissed) this.problem ??= 'too many changes in one message';
    if (isKept || id === undefined) return;
    // What was known of a peer whose change cannot be kept is not true any more.
    this.changed.remove(id);
    if (isKnown) this.removed.add(id); // CHECK: map-stale-peer
  }

  #addRemoved(id: number | undefined): void {
    if (id === undefined) this.malformed++;
    else if (!this.isFull && this.#knows(id)) this.removed.add(id);
  }

  #addPatch(patch: PeerPatch | undefined): void {
    if (patch === undefined) return void this.malformed++;
    if (this.isFull) return;
    const cost = PATCH_COST + 16 * Object.keys(patch).length + 64 * (patch.endpoints?.length ?? 0);
    if (this.#mayStage(patch.id, cost)) this.patches.push(patch);
  }

  /** Whether a change of this peer is to be kept until the end of the message. */
  #mayStage(id: number, cost: number): boolean {
    const isKnown = this.#knows(id) || this.changed.find(id) >= 0;
    const room = (isKnown ? 1 : 1 / 4) * this.#limits.stagedBytes - this.#stagedBytes;
    if (cost <= room) {
      this.#stagedBytes += cost;
      return true;
    }
    if (isKnown) this.problem ??= 'too many changes in one message'; // CHECK: map-staged-bytes
    this.#hasMissed = true;
    return false;
  }

  #addRegion(key: string, value: Collected): void {
    if (value === null) return; // some coordinators send them
    const region = regionEntryOf(key, value, this.#limits);
    if (region === undefined) return void this.malformed++;
    const isKept = this.regions!.size < this.#limits.regions && this.regions!.put(region);
    if (!isKept) this.overLimit++; // CHECK: map-region-limit
  }

  #addUser(user: WireUserProfile | undefined): void {
    if (user === undefined) this.malformed++;
    else if (this.users.size < this.#limits.users || this.users.has(user.ID)) this.users.set(user.ID, user);
    else if (!this.#limits.isLean) this.overLimit++;
  }

  #addRule(rule: WireFilterRule | undefined, cost: number): void {
    if (rule === undefined) return void this.malformed++;
    if (rule.DstPorts?.length === 0 && rule.CapGrant === undefined) return; // says nothing
    const isOver = this.#ruleCount >= this.#limits.rules || this.#ruleBytes + cost > this.#limits.ruleBytes;
    if (isOver) return void this.overLimit++; // CHECK: map-rule-limit
    this.#ruleCount++;
    this.#ruleBytes += cost;
    this.#chunk.bytes += cost;
    this.#chunk.rules.push(JSON.stringify(rule));
  }

  #setChunk(key: string, chunk: FilterChunk | null): void {
    if (this.chunks.size < this.#limits.rules || this.chunks.has(key)) this.chunks.set(key, chunk);
    else this.problem ??= 'too many chunks of packet filters';
  }
}
