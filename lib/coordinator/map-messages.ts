/**
 * The messages of map sessions, made while the target takes them: a whole map, what has changed since, a keepalive.
 *
 * A whole map is one message, since a client takes its first message for everything there is and would break off what
 * it has with the peers that are missing. Its length stands at its beginning, though, while a slow reader may take it
 * for half a minute. So the length is the sum of what there is now and a little room, peers are written one by one as
 * they are when their turn comes, and what is left over is filled with blanks. A peer that does not fit any more is in
 * the message behind it. Only changes are bounded by {@link MapMessageLimits.messageBytes}: more of them are more messages.
 *
 * A peer is encoded once per change and shared by all viewers; what that may cost is bounded, the oldest goes.
 */
import { concatBytes } from '../base/bytes.ts';
import type { WireDerpMap } from '../derp/map.ts';
import { cleanDerpMap } from './map-derp.ts';
import { encodeItem, type MapEntry, type MapUser, sees, type MapSession } from './map-directory.ts';
import { keepAliveText, onlineText, selfText, settingsText, viewText } from './map-fields.ts';
import { encodeText } from './map-text.ts';
import { DIFFERS_PRESENCE, DIFFERS_WHOLE, hasEndpoints, noEndpoints, peerNode, peerPatch } from './node-view.ts';

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
/** Peers whose last patch is kept for further viewers. */
const PATCHED_PEERS = 64;

/** Makes messages. */
export class MapMessages {
  /** Bytes of peers that are kept. */
  cacheBytes = 0;
  readonly #limits: MapMessageLimits;
  /** Peers that are kept as bytes, oldest first. */
  readonly #cached = new Set<MapEntry>();
  /** Peers that may have a patch kept, in a ring. */
  readonly #patched: MapEntry[] = [];
  #patchedAt = 0;
  readonly #open = encodeText('{');
  readonly #next = encodeText(',');
  readonly #close = encodeText('}');
  readonly #closeList = encodeText(']');
  readonly #closeUsersOpenPeers = encodeText('],"Peers":[');
  readonly #closeAll = encodeText(']}');
  readonly #changedField = encodeText('"PeersChanged":[');
  readonly #patchField = encodeText('"PeersChangedPatch":[');
  readonly #usersField = encodeText('"UserProfiles":[');
  readonly #blanks = encodeText(' '.repeat(BLANKS));
  /** Length of a keepalive, which no other message may have. */
  readonly #keepAliveBytes = keepAliveText(0).length;
  #derpMap: Uint8Array;

  constructor(limits: MapMessageLimits, derpMap: WireDerpMap) {
    this.#limits = limits;
    this.#derpMap = encodeText(JSON.stringify(cleanDerpMap(derpMap)));
  }

  /** The relay map from now on. */
  setDerpMap(map: WireDerpMap): void {
    this.#derpMap = encodeText(JSON.stringify(cleanDerpMap(map)));
  }

  /** Forgets the bytes of a device that has changed or gone. */
  forget(entry: MapEntry): void {
    this.#evict(entry);
    entry.wholeBytes = 0;
    forgetPatch(entry);
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
    const { tailnet } = entry;
    let userBytes = -1; // the first of a list has no comma
    for (const user of tailnet.users) if (isTold(session, user)) userBytes += user.profile.length;
    let peerBytes = -1;
    const order = session.options.omitPeers ? [] : tailnet.order;
    for (const other of order) if (sees(entry, other)) peerBytes += this.#measure(other);
    session.hasPeers = peerBytes > 0;
    const room = session.hasPeers ? ROOM_BYTES + Math.floor((userBytes + peerBytes) * ROOM_PART) : 0;
    const rest = session.hasPeers
      ? this.#closeUsersOpenPeers.length + peerBytes + this.#closeAll.length
      : this.#closeAll.length;
    const head = [
      encodeText(`{"Node":${selfText(session.entry)},"DERPMap":`),
      this.#derpMap,
      encodeText(`,${settingsText(entry, unixMs)},"UserProfiles":[`),
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
    session.hasItem = false;
    session.stage = session.hasPeers ? 'peers' : 'padding';
    session.part = session.hasPeers ? this.#closeUsersOpenPeers : this.#closeAll;
  }

  #nextPeer(session: MapSession): void {
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
      if (!this.#putItem(session, this.#whole(peer), this.#closeAll.length))
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
    if (session.hasOnePeer && this.#startPatch(session)) return true;
    const { entry } = session;
    const fields: Uint8Array[][] = [];
    if (session.isSelfDue) fields.push([encodeText(`"Node":${selfText(session.entry)}`)]);
    if (session.isDerpDue) fields.push([encodeText('"DERPMap":'), this.#derpMap]);
    if (session.isViewDue) fields.push([encodeText(viewText(entry))]);
    const peers = this.#takePeers(session);
    const users: Uint8Array[] = [];
    for (const slot of session.owedUsers) {
      users.push(entry.tailnet.users[slot]!.profile);
      session.knownUsers.add(slot);
    }
    if (users.length > 0) fields.push(this.#list(this.#usersField, users));
    if (session.removed.size > 0)
      fields.push([encodeText(`"PeersRemoved":[${[...session.removed].sort((a, b) => a - b).join()}]`)]);
    session.isSelfDue = false;
    session.isDerpDue = false;
    session.isViewDue = false;
    if (session.owedUsers.size > 0) session.owedUsers.clear();
    if (session.removed.size > 0) session.removed.clear();
    fields.push(...peers);
    if (fields.length === 0) return false;
    this.#beginChanges(session, this.#object(fields));
    return true;
  }

  /** What most messages are: something about one peer that is known. The bytes are the same for all viewers. */
  #startPatch(session: MapSession): boolean {
    const slot = session.dirty.first;
    const peer = session.entry.tailnet.slots[slot];
    const bits = session.dirty.get(slot);
    if (peer === undefined || (bits & DIFFERS_WHOLE) !== 0) return false;
    if (!session.known.has(slot) || !sees(session.entry, peer)) return false;
    session.dirty.delete(slot);
    if (peer.patch === undefined || peer.patchBits !== bits) {
      this.#remember(peer);
      peer.patch = concatBytes(...this.#object(this.#patchFields([peer], [bits])));
      peer.patchBits = bits;
    }
    this.#beginChanges(session, [peer.patch]);
    return true;
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
        changed.push(this.#whole(peer));
        bytes += peer.wholeBytes;
        tell(session, peer);
      }
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
      else if (!isBack || bits !== DIFFERS_PRESENCE) patches.push(this.#item(peer, bits));
    });
    const fields: Uint8Array[][] = [];
    if (online.length > 0) fields.push([encodeText(onlineText(online))]);
    if (patches.length > 0) fields.push(this.#list(this.#patchField, patches));
    return fields;
  }

  #item(peer: MapEntry, bits: number): Uint8Array {
    if (peer.item === undefined || peer.itemBits !== bits) {
      this.#remember(peer);
      peer.item = encodeItem(peerPatch(peer.record, bits, peer));
      peer.itemBits = bits;
    }
    return peer.item;
  }

  /** Patches are of use only until all viewers have them: those of the last peers are kept. */
  #remember(peer: MapEntry): void {
    if (peer.item !== undefined || peer.patch !== undefined) return;
    const oldest = this.#patched[this.#patchedAt];
    if (oldest !== undefined) forgetPatch(oldest);
    this.#patched[this.#patchedAt] = peer;
    this.#patchedAt = (this.#patchedAt + 1) % PATCHED_PEERS;
  }

  #list(field: Uint8Array, items: readonly Uint8Array[]): Uint8Array[] {
    return [field, items[0]!.subarray(1), ...items.slice(1), this.#closeList];
  }

  #measure(entry: MapEntry): number {
    return entry.wholeBytes > 0 ? entry.wholeBytes : this.#whole(entry).length;
  }

  #whole(entry: MapEntry): Uint8Array {
    if (entry.whole !== undefined) return entry.whole;
    const bytes = encodeItem(peerNode(entry.record, entry.tailnet.suffix, entry));
    entry.whole = bytes;
    entry.wholeBytes = bytes.length;
    this.#cached.add(entry);
    this.cacheBytes += bytes.length;
    for (const oldest of this.#cached) {
      if (this.cacheBytes <= this.#limits.cacheBytes) break;
      this.#evict(oldest);
    }
    return bytes;
  }

  #evict(entry: MapEntry): void {
    if (this.#cached.delete(entry)) this.cacheBytes -= entry.wholeBytes;
    entry.whole = undefined;
  }
}

function forgetPatch(entry: MapEntry): void {
  entry.item = undefined;
  entry.patch = undefined;
}

/** A session knows this peer now, as it is. */
function tell(session: MapSession, peer: MapEntry): void {
  session.known.add(peer.slot);
  session.dirty.delete(peer.slot);
  session.removed.delete(peer.id);
  if (!session.knownUsers.has(peer.user)) session.owedUsers.add(peer.user);
}

/** Whether a whole map has this user's profile: its own, and those of peers. */
function isTold(session: MapSession, user: MapUser): boolean {
  if (user.slot === session.entry.user) return true;
  if (!session.entry.isMember) return false; // CHECK: map-users-member
  return !session.options.omitPeers && user.devices > 0;
}

function bytesOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
