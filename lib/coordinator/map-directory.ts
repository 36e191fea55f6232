/**
 * Tailnets as the map sessions need them: devices in the order of their ids and users, each with a slot (a small number
 * by which viewers remember it), sessions with what each has been told, and the one place that says who sees whom.
 */
import type { DeadlineOwner } from '../derp/deadline-heap.ts';
import type { WireUserProfile } from '../control/message.ts';
import type { WireFilterRule } from '../filter/rule.ts';
import type { PolicyDevice } from '../policy/directory.ts';
import { DirtySet, SlotSet } from './map-dirty.ts';
import { MapPolicy, policyDeviceOf, type Sight, type Viewer } from './map-policy.ts';
import { type Router, RouteTable } from './map-routes.ts';
import { encodeText } from './map-text.ts';
import { type DeviceRecord, suffixOfTailnet, type TailnetRecord, type UserRecord } from './model.ts';
import {
  DIFFERS_CAPABILITY,
  DIFFERS_PRESENCE,
  isPublishable,
  isUsable,
  profileOf,
  TAGGED_USER_ID,
  taggedProfile,
  userIdOf,
} from './node-view.ts';
import { MapFrame } from './zstd-frame.ts';

const NONE: readonly never[] = Object.freeze([]);
const EVERYTHING = 255;

/** A device. As the owner of a deadline: when its key expires, by the wall clock. */
export class MapEntry implements DeadlineOwner, Router, Viewer {
  dueMs = Infinity;
  heapIndex = -1;
  readonly tailnet: MapTailnet;
  readonly slot: number;
  record: DeviceRecord;
  /** Approved, not expired and in order: it may see others. */
  isMember = false;
  /** Others can reach it. */
  isReachable = false;
  isExpired = false;
  isOnline = false;
  /** Last time that it was online or in contact, ms since 1970; 0: never. */
  seenMs: number;
  /** Slot of its user. */
  user = 0;
  routes: readonly string[] = NONE;
  served: readonly string[] = NONE;
  sight: Sight | undefined = undefined;
  sightOf: ReadonlyMap<string, Sight> | undefined = undefined;
  /** The session that it streams the map by, and one that it only looks at it by. */
  stream: MapSession | undefined = undefined;
  single: MapSession | undefined = undefined;
  /** While it has no stream but still counts as online. */
  grace: PresenceGrace | undefined = undefined;
  /** As a peer: `,{…}`, and how long that is (0: not known). */
  whole: Uint8Array | undefined = undefined;
  wholeBytes = 0;
  /** The same for small devices. */
  small: Uint8Array | undefined = undefined;
  smallBytes = 0;
  /** The patch that was made last: for which bits, and `,{…}`. */
  itemBits = 0;
  item: Uint8Array | undefined = undefined;
  /** The message of nothing but a patch that was made last: for which bits, and its content. */
  patchBits = 0;
  patch: Uint8Array | undefined = undefined;

  constructor(tailnet: MapTailnet, slot: number, record: DeviceRecord) {
    this.tailnet = tailnet;
    this.slot = slot;
    this.record = record;
    this.seenMs = record.lastSeenMs;
  }

  get id(): number {
    return this.record.id;
  }

  /** Whether others are told of it. */
  get isPublished(): boolean {
    return this.isMember && this.isReachable;
  }

  /** Says anew, from the record and {@link isExpired}, what it is. */
  judge(): void {
    this.isMember = isMember(this.record, this.isExpired);
    this.isReachable = isPublishable(this.record);
  }
}

function isMember(record: DeviceRecord, isExpired: boolean): boolean {
  if (!record.isApproved) return false; // CHECK: map-approved
  if (isExpired) return false; // CHECK: map-expired
  return isUsable(record);
}

/** When a device that has gone counts as offline (monotonic), and when it went (wall clock). */
export class PresenceGrace implements DeadlineOwner {
  dueMs = Infinity;
  heapIndex = -1;
  readonly entry: MapEntry;
  readonly goneUnixMs: number;

  constructor(entry: MapEntry, goneUnixMs: number) {
    this.entry = entry;
    this.goneUnixMs = goneUnixMs;
  }
}

/** Whether a device is to know another one as a peer. */
export function sees(viewer: MapEntry, device: MapEntry): boolean {
  if (viewer.tailnet !== device.tailnet) return false; // CHECK: map-sees-tailnet
  if (viewer === device) return false;
  if (!viewer.isMember) return false; // CHECK: map-sees-viewer
  if (!device.isMember) return false; // CHECK: map-sees-device
  if (!viewer.tailnet.policy.canSee(viewer, device)) return false; // CHECK: map-sees-policy
  return device.isReachable;
}

/** How a session was asked for. */
export interface MapSessionOptions {
  readonly isZstd: boolean;
  /** False: one whole map, then the end. */
  readonly isStream: boolean;
  readonly omitPeers: boolean;
  readonly keepAlive: boolean;
  /** Only what a small device uses. */
  readonly isSmall: boolean;
  /** Capability version of the reader. */
  readonly capability: number;
}

/** What comes behind the parts of a whole map that are ready. */
export type MapStage = 'users' | 'peers' | 'padding';

/**
 * One session: what its device has been told, what it is still to be told, and the message that is on its way. Nothing
 * is encoded before the target takes bytes, so a session that waits holds a few bits per peer. As the owner of a
 * deadline: whichever of its three times is next.
 */
export class MapSession implements DeadlineOwner {
  dueMs = Infinity;
  heapIndex = -1;
  readonly id: number;
  readonly entry: MapEntry;
  readonly options: MapSessionOptions;

  /** Which differences of a peer that it knows it is told, as bits. */
  readonly interest: number;
  /** Slots of peers and of users that it knows. */
  readonly known = new SlotSet();
  readonly knownUsers = new SlotSet();
  /** Peers of which something is to be said. */
  readonly dirty = new DirtySet();
  /** Ids of peers that it knows and must forget. */
  readonly removed = new Set<number>();
  /** Slots of users to be told of. */
  readonly owedUsers = new Set<number>();
  /** A whole map is due; it includes everything below. */
  isWholeDue = true;
  isSelfDue = false;
  /** Names. */
  isViewDue = false;
  /** Filter and attributes may be other ones; and so may the peers that it is told of. */
  isPolicyDue = false;
  isVisibilityDue = false;
  isDerpDue = false;
  isKeepAliveDue = false;
  /** The filter and the attributes that it has been told. */
  rules: readonly WireFilterRule[] = NONE;
  attributes: readonly string[] = NONE;
  /** Regions of the relay map that it has been told; undefined: all of them. */
  regions: Set<number> | undefined = undefined;

  /** Whether the target has been told that there are bytes, and has not yet come to their end. */
  isAnnounced = false;
  /** It was no stream, and has said its one message. */
  isComplete = false;
  /** When its messages count as not taken. */
  slowMs = Infinity;
  keepAliveMs = Infinity;
  /** From a message to the keepalive behind it; Infinity: it wants none. */
  keepAliveDelayMs = Infinity;
  /** No change leaves before this. */
  quietMs = 0;

  /** The message on its way: parts that are ready, then what its stage says. */
  readonly frame = new MapFrame();
  parts: Uint8Array[] = [];
  partIndex = 0;
  /** The part that is being written, from `partAt`. */
  part: Uint8Array | undefined = undefined;
  partAt = 0;
  stage: MapStage = 'padding';
  /** Bytes that the message needs behind the users, and whether it lists peers. */
  restBytes = 0;
  hasPeers = false;
  /** Whether the list that is being written has an element yet. */
  hasItem = false;
  /** Slots of the users that the message tells of, until it has. */
  users: SlotSet | undefined = undefined;
  userIndex = 0;
  /** Index of the next peer, the order that it belongs to, and the peer before it. */
  peerIndex = 0;
  orderVersion = 0;
  lastPeer = 0;

  constructor(id: number, entry: MapEntry, options: MapSessionOptions) {
    this.id = id;
    this.entry = entry;
    this.options = options;
    this.interest = options.isSmall ? EVERYTHING & ~(DIFFERS_PRESENCE | DIFFERS_CAPABILITY) : EVERYTHING;
  }

  /** Whether a message is partly written. */
  get isMidMessage(): boolean {
    return !this.frame.isDone;
  }

  /** It is not to know this device; true when it did, and is now to be told so. */
  hide(peer: MapEntry): boolean {
    this.dirty.delete(peer.slot);
    if (!this.known.has(peer.slot)) return false;
    this.known.delete(peer.slot);
    this.removed.add(peer.id);
    return true;
  }

  /** Whether something about one peer is all that it is to be told. */
  get hasOnePeer(): boolean {
    return this.dirty.count === 1 && !this.#hasOther;
  }

  /** Whether anything has changed for it that it has not been told. */
  get hasChanges(): boolean {
    return this.dirty.count > 0 || this.#hasOther;
  }

  get #hasOther(): boolean {
    const isOwnDue = this.isWholeDue || this.isSelfDue || this.isViewDue || this.isDerpDue || this.isPolicyDue;
    return isOwnDue || this.isVisibilityDue || this.removed.size > 0 || this.owedUsers.size > 0;
  }
}

/** A user of a tailnet. */
export interface MapUser {
  readonly id: number;
  readonly slot: number;
  /** `,{…}`. */
  profile: Uint8Array;
  /** Empty while it is not known. */
  login: string;
}

/** A tailnet. */
export class MapTailnet {
  record: TailnetRecord;
  readonly suffix: string;
  /** Changes whenever an index into {@link order} may mean another device. */
  orderVersion = 0;
  /** Devices by slot. */
  readonly slots: (MapEntry | undefined)[] = [];
  /** Users by slot; the first is the owner of tagged devices. */
  readonly users: MapUser[] = [];
  readonly sessions = new Set<MapSession>();
  readonly policy = new MapPolicy(() => this.#policyMembers());
  readonly routes = new RouteTable<MapEntry>();
  readonly #order: MapEntry[] = [];
  /** Devices that are not in their place yet. */
  #added: MapEntry[] = [];
  readonly #freeSlots: number[] = [];
  readonly #userSlots = new Map<number, number>();

  constructor(record: TailnetRecord) {
    this.record = record;
    this.suffix = suffixOfTailnet(record.id);
    this.#addUser(TAGGED_USER_ID, '', taggedProfile());
  }

  /** All devices by id, ascending. Many that come at once are put in their places together. */
  get order(): readonly MapEntry[] {
    if (this.#added.length > 0) {
      for (const entry of this.#added) this.#order.push(entry);
      this.#added = [];
      this.#order.sort((a, b) => a.id - b.id);
    }
    return this.#order;
  }

  /** Adds a device that is not there yet. */
  add(record: DeviceRecord): MapEntry {
    const slot = this.#freeSlots.pop() ?? this.slots.length;
    const entry = new MapEntry(this, slot, record);
    this.slots[slot] = entry;
    this.#added.push(entry);
    this.orderVersion++;
    entry.user = this.userSlot(record);
    return entry;
  }

  /** Removes a device; its slot may be given to another one at once. */
  remove(entry: MapEntry): void {
    this.#order.splice(this.indexAfter(entry.id) - 1, 1);
    this.orderVersion++;
    this.slots[entry.slot] = undefined;
    this.#freeSlots.push(entry.slot);
  }

  /** Index in {@link order} of the first device with a greater id. */
  indexAfter(id: number): number {
    const { order } = this;
    let [low, high] = [0, order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order[middle]!.id <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Slot of the user of a device; one that is not known is called by its number. */
  userSlot(device: DeviceRecord): number {
    const id = userIdOf(device);
    return this.#userSlots.get(id) ?? this.#addUser(id, '', profileOf({ id, loginName: '', displayName: '' }));
  }

  /** Adds or changes a user; returns its slot. The owner of tagged devices cannot be changed. */
  setUser(user: UserRecord): number {
    const slot = this.#userSlots.get(user.id);
    if (slot === 0) return 0;
    const profile = profileOf(user);
    if (slot === undefined) return this.#addUser(user.id, user.loginName, profile);
    this.users[slot]!.profile = encodeItem(profile);
    this.users[slot]!.login = user.loginName;
    return slot;
  }

  /** Login of a user; empty for one that is known by its number alone, undefined for one that is not known. */
  loginOf(user: number): string | undefined {
    const slot = this.#userSlots.get(user);
    return slot === undefined ? undefined : this.users[slot]!.login;
  }

  /** A device as the policy knows it; undefined for one that is no member. */
  policyDevice(entry: MapEntry): PolicyDevice | undefined {
    if (!entry.isMember) return undefined; // CHECK: map-policy-member
    return policyDeviceOf(entry.record, this.users[entry.user]!.login);
  }

  *#policyMembers(): IterableIterator<PolicyDevice> {
    for (const entry of this.order) {
      const device = this.policyDevice(entry);
      if (device !== undefined) yield device;
    }
  }

  #addUser(id: number, login: string, profile: WireUserProfile): number {
    const slot = this.users.length;
    this.users.push({ id, slot, profile: encodeItem(profile), login });
    this.#userSlots.set(id, slot);
    return slot;
  }
}

/** An element of a list, with the comma that stands before it. */
export function encodeItem(value: object): Uint8Array {
  return encodeText(`,${JSON.stringify(value)}`);
}
