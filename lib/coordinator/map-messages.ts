/**
 * The messages of map sessions, made while the target takes them: a whole map, what has changed since, a keepalive.
 *
 * A whole map is one message, since a client takes its first message for everything there is and would break off what
 * it has with the peers that are missing. Its length stands at its beginning, though, while a slow reader may take it
 * for half a minute. So the length is the sum of what there is now and a little room, peers are written one by one as
 * they are when their turn comes, and what is left over is filled with blanks. A peer that does not fit any more is in
 * the message behind it. Only changes are bounded by {@link MapMessageLimits.messageBytes}: more of them are more messages.
 *
 * What a change of the policy means for a viewer is found out when its next message is made.
 */
import { concatBytes } from '../base/bytes.ts';
import type { WireDerpMap } from '../derp/map.ts';
import { PeerCache } from './map-cache.ts';
import { DerpMaps } from './map-derp.ts';
import { SlotSet } from './map-dirty.ts';
import { encodeItem, type MapEntry, type MapUser, sees, type MapSession } from './map-directory.ts';
import { attributesOf, keepAliveText, namesText, onlineText, rulesOf, selfText, settingsText } from './map-fields.ts';
import { isSameFilter, MapFilters } from './map-filter.ts';
import { encodeText } from './map-text.ts';
import { DIFFERS_PRESENCE, DIFFERS_REGION, DIFFERS_WHOLE, hasEndpoints, isSameList, noEndpoints } from './node-view.ts';

/** What messages and their parts may cost. */
export interface MapMessageLimits {
  /** Peers as bytes, kept for all viewers together. */
  readonly cacheBytes: number;
  /** A message of changes is ended behind the change that reaches this. */
  readonly messageBytes: number;
}

/** A whole map has this room for what grows while it is written, and a part of its length. */
const ROOM_BYTES = 512;
const ROOM_PART = 1 / 64;
const BLANKS = 256;
/** About what a patch takes. */
const PATCH_BYTES = 128;

/** Makes messages. */
export class MapMessages {
  readonly #limits: MapMessageLimits;
  readonly #cache: PeerCache;
  readonly #filters = new MapFilters();
  readonly #derp: DerpMaps;
  readonly #open = encodeText('{');
  readonly #next = encodeText(',');
  readonly #close = encodeText('}');
  readonly #closeList = encodeText(']');
  readonly #closeUsersOpenPeers = encodeText('],"Peers":[');
  readonly #closeAll = encodeText(']}');
  readonly #changedField = encodeText('"PeersChanged":[');
  readonly #patchField = encodeText('"PeersChangedPatch":[');
  readonly #usersField = encodeText('"UserProfiles":[');
  readonly #nextOpenUsers = encodeText(',"UserProfiles":[');
  readonly #blanks = encodeText(' '.repeat(BLANKS));
  /** Length of a keepalive, which no other message may have. */
  readonly #keepAliveBytes = keepAliveText(0).length;

  constructor(limits: MapMessageLimits, derpMap: WireDerpMap) {
    this.#limits = limits;
    this.#cache = new PeerCache(limits.cacheBytes);
    this.#derp = new DerpMaps(derpMap);
  }

  /** Bytes of peers that are kept. */
  get cacheBytes(): number {
    return this.#cache.bytes;
  }

  /** The relay map from now on. */
  setDerpMap(map: WireDerpMap): void {
    this.#derp.set(map);
  }

  /** Forgets the bytes of a device that has changed or gone. */
  forget(entry: MapEntry): void {
    this.#cache.forget(entry);
  }

  /** Begins the next message of a session; false when nothing is to be said. */
  start(session: MapSession, unixMs: number): boolean {
    if (session.isWholeDue) this.#startWhole(session, unixMs);
    else if (!session.hasChanges || !this.#startChanges(session)) {
      if (!session.isKeepAliveDue) return false;
      this.#begin(session, [encodeText(keepAliveText(unixMs))], this.#keepAliveBytes);
    }
    session.isKeepAliveDue = false;
    return true;
  }

  /** Writes of the message that {@link start} has begun what fits into `out[start, end)`; returns the bytes. */
  write(session: MapSession, out: Uint8Array, start: number, end: number): number {
    const { frame } = session;
    let at = start;
    while (at < end && !frame.isDone) {
      if (session.part === undefined) this.#nextPart(session);
      const part = session.part!;
      const to = Math.min(part.length, session.partAt + frame.left);
      at += frame.write(out, at, end, part, session.partAt, to);
      session.partAt += frame.taken;
      if (session.partAt >= to) session.part = undefined;
    }
    if (frame.isDone) session.parts = [];
    return at - start;
  }

  #begin(session: MapSession, parts: Uint8Array[], length: number): void {
    session.parts = parts;
    session.partIndex = 0;
    session.part = undefined;
    session.stage = 'padding';
    session.frame.begin(length, session.options.isZstd);
  }

  /** Sets the part of the message that is written next. */
  #nextPart(session: MapSession): void {
    session.partAt = 0;
    session.part = session.parts[session.partIndex++];
    if (session.part !== undefined) return;
    if (session.stage === 'users') this.#nextUser(session);
    else if (session.stage === 'peers') this.#nextPeer(session);
    else session.part = this.#blanks;
  }

  #startWhole(session: MapSession, unixMs: number): void {
    const { entry } = session;
    const users = new SlotSet();
    const { isSmall } = session.options;
    const { tailnet } = entry;
    users.add(entry.user);
    session.users = users;
    session.regions = isSmall ? this.#derp.regionsFor(entry.record) : undefined;
    let peerBytes = -1; // the first of a list has no comma
    const order = session.options.omitPeers ? [] : tailnet.order;
    for (const other of order) {
      if (!sees(entry, other)) continue;
      peerBytes += this.#cache.measure(other, isSmall);
      if (!isSmall) users.add(other.user);
      session.regions?.add(other.record.homeRegion);
    }
    let userBytes = -1;
    for (const user of tailnet.users) if (isTold(session, user)) userBytes += user.profile.length;
    session.hasPeers = peerBytes > 0;
    const room = session.hasPeers ? ROOM_BYTES + Math.floor((userBytes + peerBytes) * ROOM_PART) : 0;
    const rest = session.hasPeers
      ? this.#closeUsersOpenPeers.length + peerBytes + this.#closeAll.length
      : this.#closeAll.length;
    session.attributes = attributesOf(entry);
    session.rules = rulesOf(entry);
    const head = [
      encodeText(`{"Node":${selfText(entry, session.attributes, isSmall)},"DERPMap":`),
      this.#derp.bytes(session.regions),
      encodeText(`,${settingsText(entry, unixMs, isSmall)},`),
      ...this.#filters.field(session.rules, session.options.capability, isSmall),
      this.#nextOpenUsers,
    ];
    this.#begin(session, head, bytesOf(head) + userBytes + rest + room);
    session.stage = 'users';
    session.restBytes = rest;
    session.hasItem = false;
    session.userIndex = 0;
    session.lastPeer = 0;
    session.orderVersion = -1;
    session.knownUsers.clear();
    session.owedUsers.clear();
    session.isWholeDue = false;
    session.isSelfDue = false;
    session.isViewDue = false;
    session.isPolicyDue = false;
    session.isVisibilityDue = false;
    session.isDerpDue = false;
  }

  #nextUser(session: MapSession): void {
    const { users } = session.entry.tailnet;
    while (session.userIndex < users.length) {
      const user = users[session.userIndex++]!;
      if (!isTold(session, user)) continue;
      if (this.#putItem(session, user.profile, session.restBytes)) return session.knownUsers.add(user.slot);
      session.owedUsers.add(user.slot);
    }
    session.users = undefined;
    session.hasItem = false;
    session.stage = session.hasPeers ? 'peers' : 'padding';
    session.part = session.hasPeers ? this.#closeUsersOpenPeers : this.#closeAll;
  }

  #nextPeer(session: MapSession): void {
    const { isSmall } = session.options;
    const { tailnet } = session.entry;
    const { order } = tailnet;
    if (session.orderVersion !== tailnet.orderVersion) {
      session.orderVersion = tailnet.orderVersion;
      session.peerIndex = tailnet.indexAfter(session.lastPeer);
    }
    while (session.peerIndex < order.length) {
      const peer = order[session.peerIndex++]!;
      session.lastPeer = peer.id;
      if (!sees(session.entry, peer)) continue;
      // One without room is not known yet, and comes behind this message.
      if (!this.#putItem(session, this.#cache.whole(peer, isSmall), this.#closeAll.length))
        session.dirty.mark(peer.slot, DIFFERS_WHOLE);
      else return tell(session, peer);
    }
    session.stage = 'padding';
    session.part = this.#closeAll;
  }

  /** Makes an element of a list the next part, unless `rest` bytes would not fit behind it. */
  #putItem(session: MapSession, item: Uint8Array, rest: number): boolean {
    const from = session.hasItem ? 0 : 1;
    if (session.frame.left < item.length - from + rest) return false;
    session.part = item;
    session.partAt = from;
    session.hasItem = true;
    return true;
  }

  /** What has changed; false when that is nothing after all. */
  #startChanges(session: MapSession): boolean {
    if (session.isVisibilityDue) lookAgain(session);
    if (session.hasOnePeer && this.#startPatch(session)) return true;
    const peers = this.#takePeers(session);
    const fields = [...this.#takeOwn(session), ...this.#takeUsers(session)];
    if (session.removed.size > 0)
      fields.push([encodeText(`"PeersRemoved":[${[...session.removed].sort((a, b) => a - b).join()}]`)]);
    if (session.removed.size > 0) session.removed.clear();
    fields.push(...peers);
    if (fields.length === 0) return false;
    this.#beginChanges(session, this.#object(fields));
    return true;
  }

  /** What is not about peers and users. */
  #takeOwn(session: MapSession): Uint8Array[][] {
    const { entry, options } = session;
    const fields: Uint8Array[][] = [];
    const [attributes, rules] = session.isPolicyDue
      ? [attributesOf(entry), rulesOf(entry)]
      : [session.attributes, session.rules];
    const isSelfOther = session.isSelfDue || !isSameList(attributes, session.attributes);
    if (isSelfOther) fields.push([encodeText(`"Node":${selfText(entry, attributes, options.isSmall)}`)]);
    if (session.isDerpDue) fields.push([encodeText('"DERPMap":'), this.#derp.bytes(session.regions)]);
    if (session.isViewDue) fields.push([encodeText(namesText(entry))]);
    if (!isSameFilter(rules, session.rules))
      fields.push(this.#filters.field(rules, options.capability, options.isSmall));
    session.attributes = attributes;
    session.rules = rules;
    session.isSelfDue = false;
    session.isDerpDue = false;
    session.isViewDue = false;
    session.isPolicyDue = false;
    return fields;
  }

  #takeUsers(session: MapSession): Uint8Array[][] {
    if (session.owedUsers.size === 0) return [];
    const users: Uint8Array[] = [];
    for (const slot of session.owedUsers) {
      // One that it knows already has changed, and is of interest only as long as a peer is that user's.
      const isOver = session.knownUsers.has(slot) && !hasPeerOf(session, slot);
      if (isOver) session.knownUsers.delete(slot);
      if (isOver) continue; // CHECK: map-users-visible
      users.push(session.entry.tailnet.users[slot]!.profile);
      session.knownUsers.add(slot);
    }
    session.owedUsers.clear();
    return users.length > 0 ? [this.#list(this.#usersField, users)] : [];
  }

  /** What most messages are: something about one peer that is known. The bytes are the same for all viewers. */
  #startPatch(session: MapSession): boolean {
    const slot = session.dirty.first;
    const peer = session.entry.tailnet.slots[slot];
    const bits = session.dirty.get(slot);
    if (peer === undefined || (bits & DIFFERS_WHOLE) !== 0) return false;
    if (!session.known.has(slot) || !sees(session.entry, peer)) return false;
    if ((bits & DIFFERS_REGION) !== 0 && session.regions?.has(peer.record.homeRegion) === false) return false;
    session.dirty.delete(slot);
    this.#beginChanges(session, [this.#cache.patch(peer, bits) ?? this.#makePatch(peer, bits)]);
    return true;
  }

  #makePatch(peer: MapEntry, bits: number): Uint8Array {
    return this.#cache.keepPatch(peer, bits, concatBytes(...this.#object(this.#patchFields([peer], [bits]))));
  }

  #beginChanges(session: MapSession, content: Uint8Array[]): void {
    const length = bytesOf(content);
    // A client may take a message of a keepalive's length for one: then a blank follows.
    this.#begin(session, content, length === this.#keepAliveBytes ? length + 1 : length);
  }

  #object(fields: readonly Uint8Array[][]): Uint8Array[] {
    return [...fields.flatMap((field, i) => [i === 0 ? this.#open : this.#next, ...field]), this.#close];
  }

  /** Fields about peers that are dirty, as many as go into one message; these are clean then. */
  #takePeers(session: MapSession): Uint8Array[][] {
    const { slots } = session.entry.tailnet;
    const { isSmall } = session.options;
    const changed: Uint8Array[] = [];
    const patched: MapEntry[] = [];
    const patchBits: number[] = [];
    const dirty = session.dirty.slots().flatMap(slot => slots[slot] ?? []);
    let bytes = 0;
    for (const peer of dirty.sort((a, b) => a.id - b.id)) {
      if (bytes >= this.#limits.messageBytes) break;
      const bits = session.dirty.get(peer.slot);
      session.dirty.delete(peer.slot);
      if (!sees(session.entry, peer)) continue;
      const isKnown = session.known.has(peer.slot);
      const isWhole = (bits & DIFFERS_WHOLE) !== 0 || !isKnown; // a patch is never the first mention
      if (isWhole) {
        const whole = this.#cache.whole(peer, isSmall);
        changed.push(whole);
        bytes += whole.length;
        tell(session, peer);
      } else tellRegion(session, peer);
      // Clients make a patch of a peer that they know, and lose in it that there are no endpoints.
      const isCleared = isWhole && isKnown && !hasEndpoints(peer.record);
      if (isWhole && !isCleared) continue;
      patched.push(peer);
      patchBits.push(isCleared ? DIFFERS_WHOLE : bits);
      bytes += PATCH_BYTES;
    }
    const patches = this.#patchFields(patched, patchBits);
    return changed.length > 0 ? [this.#list(this.#changedField, changed), ...patches] : patches;
  }

  /** What these bits of these peers say; {@link DIFFERS_WHOLE} that there are no endpoints. */
  #patchFields(peers: readonly MapEntry[], bitsOfPeers: readonly number[]): Uint8Array[][] {
    const patches: Uint8Array[] = [];
    const online: number[] = [];
    peers.forEach((peer, i) => {
      const bits = bitsOfPeers[i]!;
      const isBack = (bits & DIFFERS_PRESENCE) !== 0 && peer.isOnline;
      if (isBack) online.push(peer.id);
      if ((bits & DIFFERS_WHOLE) !== 0) patches.push(encodeItem(noEndpoints(peer.record)));
      else if (!isBack || bits !== DIFFERS_PRESENCE) patches.push(this.#cache.item(peer, bits));
    });
    const fields: Uint8Array[][] = [];
    if (online.length > 0) fields.push([encodeText(onlineText(online))]);
    if (patches.length > 0) fields.push(this.#list(this.#patchField, patches));
    return fields;
  }

  #list(field: Uint8Array, items: readonly Uint8Array[]): Uint8Array[] {
    return [field, items[0]!.subarray(1), ...items.slice(1), this.#closeList];
  }
}

/** A session knows this peer now, as it is. */
function tell(session: MapSession, peer: MapEntry): void {
  session.known.add(peer.slot);
  session.dirty.delete(peer.slot);
  session.removed.delete(peer.id);
  tellRegion(session, peer);
  if (!session.options.isSmall && !session.knownUsers.has(peer.user)) session.owedUsers.add(peer.user);
}

/** A session is to know the relay of this peer. */
function tellRegion(session: MapSession, peer: MapEntry): void {
  const { regions } = session;
  if (regions === undefined || regions.has(peer.record.homeRegion)) return;
  regions.add(peer.record.homeRegion);
  session.isDerpDue = true;
}

/** Which peers a session is to be told of, or to forget, after more than one device has changed for it. */
function lookAgain(session: MapSession): void {
  session.isVisibilityDue = false;
  if (session.options.omitPeers) return;
  for (const peer of session.entry.tailnet.slots) {
    if (peer === undefined) continue;
    const isKnown = session.known.has(peer.slot);
    if (sees(session.entry, peer)) {
      if (!isKnown) session.dirty.mark(peer.slot, DIFFERS_WHOLE);
    } else session.hide(peer);
  }
}

/** Whether a user is the device's own, or that of a peer that a session knows. */
function hasPeerOf(session: MapSession, slot: number): boolean {
  if (session.entry.user === slot) return true;
  return session.entry.tailnet.slots.some(peer => peer?.user === slot && session.known.has(peer.slot));
}

/** Whether a whole map has this user's profile: its own, and those of peers. */
function isTold(session: MapSession, user: MapUser): boolean {
  if (user.slot === session.entry.user) return true;
  if (!session.entry.isMember) return false; // CHECK: map-users-member
  return session.users?.has(user.slot) === true;
}

function bytesOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
