/**
 * Who is told what, and when: the map sessions of all tailnets (what `/machine/map` streams). A change reaches the viewers
 * that see the device and nobody else; each remembers only that this peer is dirty, and its message is made when the
 * target takes bytes. So a viewer that reads slowly gets the latest state, not every step to it.
 *
 * The first change in a quiet period leaves at once; further ones wait until 100 ms after the last message. A device
 * whose key expires or that loses its approval disappears from all others, and keeps its session, with itself in it.
 * A session whose bytes nobody takes for 30 s ends; the device then comes back and is told everything anew.
 *
 * A change of one device is told to its viewers at once. When the policy itself changes, sessions only note that, and
 * each finds out what it means when its next message is made, so that no call takes the square of the devices.
 */
import { DeadlineHeap } from '../derp/deadline-heap.ts';
import type { WireDerpMap } from '../derp/map.ts';
import type { Policy } from '../policy/policy.ts';
import { type MapEntry, MapTailnet, PresenceGrace, sees, MapSession, type MapSessionOptions } from './map-directory.ts';
import { MapMessages } from './map-messages.ts';
import { Fifo, MapScheduler, type MapSessionLimits } from './map-scheduler.ts';
import type { DeviceRecord, TailnetRecord, UserRecord } from './model.ts';
import { routesInForce } from './map-routes.ts';
import { DIFFERS_PRESENCE, DIFFERS_WHOLE, isUsable, peerDifference, selfDiffers } from './node-view.ts';

/** The limits unless told otherwise. */
export const MAP_SESSION_LIMITS: MapSessionLimits = Object.freeze({
  cacheBytes: 64 << 20,
  messageBytes: 65_536,
  quietMs: 100,
  slowMs: 30_000,
  graceMs: 10_000,
  keepAliveMs: 50_000,
  keepAliveJitterMs: 9_000,
});

const NO_ROUTES: readonly string[] = Object.freeze([]);

/** What happens with sessions. */
export type MapSessionEvent =
  /**
   * A session is over: a newer one of the same device took its place; nobody took its bytes; its device is gone; the map
   * that it was to get once is complete.
   */
  | { readonly type: 'end'; readonly id: number; readonly reason: 'replaced' | 'slow' | 'gone' | 'complete' }
  | { readonly type: 'presence'; readonly tailnet: string; readonly device: number; readonly isOnline: boolean };

/** How a session is opened. */
export interface OpenMapSession extends MapSessionOptions {
  readonly device: DeviceRecord;
}

/** All map sessions. */
export class MapSessions {
  readonly #limits: MapSessionLimits;
  readonly #messages: MapMessages;
  readonly #scheduler: MapScheduler;
  readonly #tailnets = new Map<string, MapTailnet>();
  readonly #entries = new Map<number, MapEntry>();
  readonly #graces = new DeadlineHeap<PresenceGrace>();
  /** By the wall clock. */
  readonly #expiries = new DeadlineHeap<MapEntry>();
  readonly #events = new Fifo<MapSessionEvent>();
  /** Wall clock minus monotonic clock. */
  #wallOffsetMs = 0;

  /** `limits` are those that differ from {@link MAP_SESSION_LIMITS}. */
  constructor(o: {
    random: (out: Uint8Array) => void;
    limits?: Partial<MapSessionLimits> | undefined;
    derpMap: WireDerpMap;
  }) {
    this.#limits = { ...MAP_SESSION_LIMITS, ...o.limits };
    this.#messages = new MapMessages(this.#limits, o.derpMap);
    this.#scheduler = new MapScheduler(this.#limits, this.#messages, o.random);
  }

  /** Sessions that are open. */
  get sessionCount(): number {
    return this.#scheduler.sessions.size;
  }

  /** Bytes of peers that are kept ready. */
  get cacheBytes(): number {
    return this.#messages.cacheBytes;
  }

  /** Another relay map, for everybody. */
  setDerpMap(nowMs: number, map: WireDerpMap): void {
    this.#messages.setDerpMap(map);
    for (const session of this.#scheduler.sessions.values()) {
      session.isDerpDue = true;
      this.#scheduler.wake(nowMs, session);
    }
  }

  /** A tailnet and its users, before their devices. */
  addTailnet(tailnet: TailnetRecord, users: Iterable<UserRecord>): void {
    if (this.#tailnets.has(tailnet.id)) throw new RangeError(`"tailnet" expected a new one, got ${tailnet.id}`);
    const added = new MapTailnet(tailnet);
    for (const user of users) added.setUser(user);
    this.#tailnets.set(tailnet.id, added);
  }

  /** A tailnet is gone with its devices; its sessions end. */
  removeTailnet(_nowMs: number, id: string): void {
    const tailnet = this.#tailnets.get(id);
    if (tailnet === undefined) return;
    this.#tailnets.delete(id);
    for (const session of [...tailnet.sessions]) this.#end(session, 'gone');
    for (const entry of tailnet.order) this.#forget(entry);
  }

  /** What is known of a tailnet has changed. Nothing of that is in a map. */
  tailnetChanged(_nowMs: number, tailnet: TailnetRecord): void {
    const known = this.#tailnets.get(tailnet.id);
    if (known !== undefined) known.record = tailnet;
  }

  /** The policy of a tailnet from now on; undefined: everything is allowed. */
  policyChanged(nowMs: number, id: string, policy: Policy | undefined): void {
    const tailnet = this.#tailnets.get(id);
    if (tailnet === undefined) return;
    tailnet.policy.set(policy);
    this.#reviewAll(nowMs, tailnet);
  }

  /** A user is new or has changed; whoever knows it is told. */
  userChanged(nowMs: number, user: UserRecord): void {
    const tailnet = this.#tailnets.get(user.tailnet);
    if (tailnet === undefined) return;
    const before = tailnet.loginOf(user.id);
    const slot = tailnet.setUser(user);
    if (before !== undefined && before !== user.loginName) {
      const own = tailnet.order.filter(entry => entry.user === slot);
      this.#review(nowMs, tailnet, own);
      for (const entry of own) this.#tellViewers(nowMs, entry, 0);
    }
    for (const session of tailnet.sessions) {
      if (!session.knownUsers.has(slot)) continue;
      session.owedUsers.add(slot);
      this.#scheduler.wake(nowMs, session);
    }
  }

  /** A device is new or has changed. What it was before is known here, and the last argument is not looked at. */
  deviceChanged(nowMs: number, unixMs: number, device: DeviceRecord, _previous?: DeviceRecord | undefined): void {
    this.#tick(nowMs, unixMs);
    const entry = this.#entries.get(device.id);
    if (entry !== undefined) return this.#update(nowMs, unixMs, entry, device);
    const tailnet = this.#tailnets.get(device.tailnet);
    if (tailnet === undefined) return;
    const added = tailnet.add(device);
    this.#entries.set(device.id, added);
    this.#watchExpiry(unixMs, added);
    added.judge();
    this.#review(nowMs, tailnet, [added]);
    this.#route(nowMs, added);
    this.#tellViewers(nowMs, added, DIFFERS_WHOLE);
  }

  /** A device is gone; its session ends, and it is removed from others. */
  deviceRemoved(nowMs: number, device: DeviceRecord): void {
    const entry = this.#entries.get(device.id);
    if (entry === undefined) return;
    const { tailnet } = entry;
    for (const session of [entry.stream, entry.single]) if (session !== undefined) this.#end(session, 'gone');
    entry.isMember = false;
    this.#review(nowMs, tailnet, [entry]);
    this.#route(nowMs, entry);
    this.#tellViewers(nowMs, entry, 0);
    tailnet.remove(entry);
    this.#forget(entry);
  }

  /**
   * Opens a session with a number of the caller's. A stream takes the place of the device's older one. A device that is
   * not known here, or not in order, ends at once as `gone`.
   */
  open(nowMs: number, unixMs: number, id: number, o: OpenMapSession): void {
    if (this.#scheduler.sessions.has(id)) throw new RangeError(`"id" expected a new one, got ${id}`);
    this.#tick(nowMs, unixMs);
    const entry = this.#entries.get(o.device.id);
    if (entry === undefined || !isUsable(entry.record))
      return void this.#events.push({ type: 'end', id, reason: 'gone' });
    const session = new MapSession(id, entry, o);
    const older = o.isStream ? entry.stream : entry.single;
    if (o.isStream) entry.stream = session;
    else entry.single = session;
    if (older !== undefined) this.#end(older, 'replaced');
    entry.tailnet.sessions.add(session);
    this.#watchExpiry(unixMs, entry);
    if (o.isStream) this.#arrive(nowMs, entry);
    this.#scheduler.add(nowMs, session);
  }

  /** The target has closed a session. One that is over already is none any more. */
  close(nowMs: number, id: number): void {
    const session = this.#scheduler.sessions.get(id);
    if (session !== undefined) this.#drop(nowMs, session);
  }

  /** Whether a device has a stream, or had one just now. */
  isOnline(device: number): boolean {
    return this.#entries.get(device)?.isOnline === true;
  }

  /** The next session that has bytes, or undefined. Poll it until it has none; it is named again when it has more. */
  pollReady(): number | undefined {
    return this.#scheduler.pollReady()?.id;
  }

  /** Writes what a session has for its device into `out[start, end)`; returns the bytes, 0 for none now. */
  pollBytes(nowMs: number, unixMs: number, id: number, out: Uint8Array, start: number, end: number): number {
    const session = this.#scheduler.sessions.get(id);
    if (session === undefined || start >= end) return 0;
    this.#wallOffsetMs = unixMs - nowMs;
    const length = this.#scheduler.write(nowMs, unixMs, session, out, start, end);
    if (session.isComplete) this.#end(session, 'complete');
    return length;
  }

  /** The next event, or undefined. */
  pollEvent(): MapSessionEvent | undefined {
    return this.#events.shift();
  }

  /** When {@link handleTimeout} is due, monotonic; the expiry of keys by the wall clock as it was given last. */
  nextTimeout(): number {
    return Math.min(this.#scheduler.nextMs, this.#graces.nextMs, this.#expiries.nextMs - this.#wallOffsetMs);
  }

  /** Time has passed. */
  handleTimeout(nowMs: number, unixMs: number): void {
    this.#tick(nowMs, unixMs);
    while (this.#graces.nextMs <= nowMs) this.#leave(nowMs, this.#graces.first!);
    for (let slow = this.#scheduler.serve(nowMs); slow !== undefined; slow = this.#scheduler.serve(nowMs)) {
      this.#events.push({ type: 'end', id: slow.id, reason: 'slow' });
      this.#drop(nowMs, slow);
    }
  }

  // Devices.

  /** The wall clock, and keys that have expired by it. */
  #tick(nowMs: number, unixMs: number): void {
    this.#wallOffsetMs = unixMs - nowMs;
    while (this.#expiries.nextMs <= unixMs) {
      const entry = this.#expiries.first!;
      this.#update(nowMs, unixMs, entry, entry.record);
    }
  }

  #watchExpiry(unixMs: number, entry: MapEntry): void {
    const { keyExpiryMs } = entry.record;
    entry.isExpired = keyExpiryMs > 0 && keyExpiryMs <= unixMs;
    this.#expiries.set(entry, keyExpiryMs > 0 && !entry.isExpired ? keyExpiryMs : Infinity);
  }

  #update(nowMs: number, unixMs: number, entry: MapEntry, device: DeviceRecord): void {
    const before = entry.record;
    const [wasMember, wasPublished] = [entry.isMember, entry.isPublished];
    entry.record = device;
    this.#watchExpiry(unixMs, entry);
    entry.judge();
    entry.user = entry.tailnet.userSlot(device);
    const bits = peerDifference(before, device);
    if (bits !== 0) this.#messages.forget(entry);
    const isOther = this.#review(nowMs, entry.tailnet, [entry]);
    this.#route(nowMs, entry);
    if (bits !== 0 || isOther || wasPublished !== entry.isPublished) this.#tellViewers(nowMs, entry, bits);
    const isSelfOther = wasMember !== entry.isMember || selfDiffers(before, device);
    for (const session of isSelfOther ? [entry.stream, entry.single] : []) {
      if (session === undefined) continue;
      if (isUsable(device)) this.#tellSelf(nowMs, session, wasMember);
      else this.#end(session, 'gone');
    }
  }

  #tellSelf(nowMs: number, session: MapSession, wasMember: boolean): void {
    const { entry, known } = session;
    if (!session.knownUsers.has(entry.user)) session.owedUsers.add(entry.user);
    session.isSelfDue = true;
    if (entry.isMember && !wasMember) session.isWholeDue = true;
    if (!entry.isMember && wasMember) {
      session.isViewDue = true;
      session.isPolicyDue = true;
      for (const slot of known.slots()) session.removed.add(entry.tailnet.slots[slot]!.id);
      known.clear();
      session.dirty.clear();
      session.knownUsers.clear();
      session.owedUsers.clear();
      session.owedUsers.add(entry.user);
    }
    this.#scheduler.wake(nowMs, session);
  }

  /** Everybody who sees a device, or saw it, is to be told of it. */
  #tellViewers(nowMs: number, entry: MapEntry, bits: number): void {
    for (const session of entry.tailnet.sessions) {
      if (session.options.omitPeers) continue;
      const isKnown = session.known.has(entry.slot);
      if (sees(session.entry, entry)) {
        const toTell = isKnown ? bits & session.interest : DIFFERS_WHOLE;
        if (toTell === 0 || session.isWholeDue) continue;
        session.dirty.mark(entry.slot, toTell);
      } else if (!session.hide(entry)) continue;
      this.#scheduler.wake(nowMs, session);
    }
  }

  // Policy and routes.

  /** What the policy says of these devices may differ; whoever that concerns is to look. False: it does not differ. */
  #review(nowMs: number, tailnet: MapTailnet, entries: readonly MapEntry[]): boolean {
    if (!tailnet.policy.isCompiled) return false; // nobody has been told anything by it
    const changes = entries.map(entry => ({ viewer: entry, device: tailnet.policyDevice(entry) }));
    const concerned = tailnet.policy.update(changes);
    if (concerned === 'all') this.#reviewAll(nowMs, tailnet);
    if (concerned === 'all' || concerned.size === 0) return concerned === 'all';
    for (const id of concerned) {
      const entry = this.#entries.get(id);
      if (entry?.tailnet === tailnet) this.#reviewOwn(nowMs, entry, entries.includes(entry));
    }
    return true;
  }

  #reviewOwn(nowMs: number, entry: MapEntry, isVisibilityDue: boolean): void {
    for (const session of [entry.stream, entry.single]) {
      if (session === undefined) continue;
      session.isPolicyDue = true;
      session.isVisibilityDue ||= isVisibilityDue;
      this.#scheduler.wake(nowMs, session);
    }
  }

  #reviewAll(nowMs: number, tailnet: MapTailnet): void {
    for (const { entry } of tailnet.sessions) this.#reviewOwn(nowMs, entry, true);
  }

  /** The routes of a device, or who serves them, may differ. */
  #route(nowMs: number, entry: MapEntry): void {
    const routes = entry.isPublished ? routesInForce(entry.record) : NO_ROUTES;
    this.#tellRouters(nowMs, entry.tailnet.routes.set(entry, routes));
  }

  #tellRouters(nowMs: number, routers: ReadonlySet<MapEntry>): void {
    for (const router of routers) {
      this.#messages.forget(router);
      this.#tellViewers(nowMs, router, DIFFERS_WHOLE);
      for (const session of [router.stream, router.single]) {
        if (session === undefined) continue;
        session.isSelfDue = true;
        this.#scheduler.wake(nowMs, session);
      }
    }
  }

  #forget(entry: MapEntry): void {
    this.#entries.delete(entry.id);
    this.#expiries.remove(entry);
    if (entry.grace !== undefined) this.#graces.remove(entry.grace);
    this.#messages.forget(entry);
  }

  // Presence.

  #arrive(nowMs: number, entry: MapEntry): void {
    if (entry.grace !== undefined) this.#graces.remove(entry.grace);
    entry.grace = undefined;
    if (!entry.isOnline) this.#setOnline(nowMs, entry, true);
  }

  #leave(nowMs: number, grace: PresenceGrace): void {
    const { entry } = grace;
    this.#graces.remove(grace);
    entry.grace = undefined;
    entry.seenMs = grace.goneUnixMs;
    this.#setOnline(nowMs, entry, false);
  }

  #setOnline(nowMs: number, entry: MapEntry, isOnline: boolean): void {
    entry.isOnline = isOnline;
    this.#messages.forget(entry);
    this.#tellRouters(nowMs, entry.tailnet.routes.elect(entry));
    if (entry.isPublished) this.#tellViewers(nowMs, entry, DIFFERS_PRESENCE);
    this.#events.push({ type: 'presence', tailnet: entry.tailnet.record.id, device: entry.id, isOnline });
  }

  // Sessions.

  #end(session: MapSession, reason: 'replaced' | 'gone' | 'complete'): void {
    this.#events.push({ type: 'end', id: session.id, reason });
    this.#detach(session);
  }

  /** A session is over, and its device, if it has no other one, counts as offline after a while. */
  #drop(nowMs: number, session: MapSession): void {
    const { entry } = session;
    this.#detach(session);
    if (!session.options.isStream || entry.stream !== undefined) return;
    entry.grace = new PresenceGrace(entry, nowMs + this.#wallOffsetMs);
    this.#graces.set(entry.grace, nowMs + this.#limits.graceMs);
  }

  #detach(session: MapSession): void {
    const { entry } = session;
    if (entry.stream === session) entry.stream = undefined;
    if (entry.single === session) entry.single = undefined;
    entry.tailnet.sessions.delete(session);
    this.#scheduler.remove(session);
  }
}
