/**
 * Paths to peers: the disco machine chooses between direct ones and the relay, netcheck finds out where this device can be
 * reached and which relay is nearest. Both share the device's one UDP socket with WireGuard.
 *
 * Nothing is sent for peers that are not in use. Left out: port mapping, peer relays.
 */
import { type Endpoint, sameEndpoint } from '../base/address.ts';
import type { DropCounters } from '../base/drop.ts';
import type { Slot } from '../base/slot.ts';
import type { LocalEndpoint } from '../control/client-types.ts';
import type { NetmapPeer } from '../control/peer-record.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { RegionTable } from '../derp/region-table.ts';
import { Disco } from '../disco/disco.ts';
import { DISCO_LIMITS_LARGE, DISCO_LIMITS_SMALL } from '../disco/limits.ts';
import { looksLikeDisco } from '../disco/message.ts';
import type { DiscoEvent, DiscoOwner } from '../disco/types.ts';
import { NETCHECK_LIMITS_LARGE, NETCHECK_LIMITS_SMALL } from '../netcheck/limits.ts';
import { Netcheck } from '../netcheck/netcheck.ts';
import { familiesOf } from '../netcheck/servers.ts';
import type { NetcheckReport } from '../netcheck/limits.ts';
import { isStun } from '../stun/message.ts';

/** Time between two netchecks while there is traffic: the least, and what chance adds. */
const RECHECK_MS = 20_000;
const RECHECK_JITTER_MS = 6000;
/** Traffic that is younger than this counts. */
const ACTIVE_MS = 45_000;
const TYPE_LOCAL = 1;
const TYPE_STUN = 2;

/** What paths need. */
export interface TailnetPathOptions {
  readonly nowMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly preset: 'small' | 'large';
  /** Key of this run. */
  readonly discoKey: SecretKey;
  /** Own public node key. */
  readonly nodeKey: Uint8Array;
  readonly drops: DropCounters;
  readonly owner: DiscoOwner;
  /** Last direct paths of an earlier run, by ids in the netmap. */
  readonly recalled?: ReadonlyMap<number, Endpoint> | undefined;
}

/** What happened. */
export type PathEvent =
  | DiscoEvent
  /** This device can be reached here now. */
  | { readonly type: 'endpoints'; readonly endpoints: readonly LocalEndpoint[] }
  /** The network was looked at. */
  | { readonly type: 'report'; readonly report: NetcheckReport };

/** A device's way to its peers. */
export class TailnetPaths {
  readonly disco: Disco;
  readonly #netcheck: Netcheck;
  readonly #random: (out: Uint8Array) => void;
  readonly #recalled: ReadonlyMap<number, Endpoint> | undefined;
  readonly #events: PathEvent[] = [];
  #interfaces: readonly string[] = [];
  #port = 0;
  #endpoints: readonly LocalEndpoint[] = [];
  #hasRegions = false;
  #globalV4: Endpoint | undefined;
  #globalV6: Endpoint | undefined;
  #usedMs = Number.NEGATIVE_INFINITY;
  #checkAtMs = Number.POSITIVE_INFINITY;

  constructor(o: TailnetPathOptions) {
    const { nowMs, random, suite, discoKey, nodeKey, drops, owner } = o;
    const limits = o.preset === 'small' ? DISCO_LIMITS_SMALL : DISCO_LIMITS_LARGE;
    this.#random = random;
    this.#recalled = o.recalled;
    this.disco = new Disco({ nowMs, random, suite, privateKey: discoKey, nodeKey, limits, drops, owner });
    this.#netcheck = new Netcheck({
      nowMs,
      random,
      limits: o.preset === 'small' ? NETCHECK_LIMITS_SMALL : NETCHECK_LIMITS_LARGE,
    });
  }

  /** Relays as they are known now. */
  setRegions(nowMs: number, regions: RegionTable): void {
    this.#netcheck.setRegions(nowMs, regions);
    if (!this.#hasRegions && regions.size > 0) this.#netcheck.start(nowMs);
    this.#hasRegions = regions.size > 0;
  }

  /** Addresses of this machine and the port of the UDP socket. True when they are others than before. */
  setInterfaces(nowMs: number, addresses: readonly string[], port: number): boolean {
    const isSame = port === this.#port && addresses.join() === this.#interfaces.join();
    if (isSame) return false;
    this.#interfaces = addresses;
    this.#port = port;
    const { hasV4, hasV6 } = familiesOf(addresses);
    this.#netcheck.setFamilies(hasV4, hasV6);
    this.#tellEndpoints(
      nowMs,
      this.#endpoints.filter(({ type }) => type === TYPE_STUN),
    );
    return true;
  }

  /** The network under the device is another one, or time was lost: what was known of paths is not true any more. */
  linkChanged(nowMs: number): void {
    this.disco.linkChanged(nowMs);
    this.#netcheck.linkChanged(nowMs);
    if (this.#hasRegions) this.#netcheck.start(nowMs);
  }

  /** Whether there was traffic to peers lately. */
  isActive(nowMs: number): boolean {
    return nowMs - this.#usedMs < ACTIVE_MS;
  }

  /** A look at the network now; a `report` event follows. */
  check(nowMs: number): void {
    this.#netcheck.start(nowMs);
  }

  addPeer(nowMs: number, id: number, peer: NetmapPeer): void {
    const { key, discoKey, endpoints, homeRegion } = peer;
    this.disco.addPeer(nowMs, id, { nodeKey: key, discoKey, endpoints, region: homeRegion });
    const recalled = this.#recalled?.get(peer.id);
    if (recalled !== undefined) this.disco.recall(nowMs, id, recalled);
  }

  updatePeer(nowMs: number, id: number, peer: NetmapPeer): void {
    const { discoKey, endpoints, homeRegion } = peer;
    this.disco.updatePeer(nowMs, id, { discoKey, endpoints, region: homeRegion });
  }

  /** A peer whose disco key was not known has shown it. */
  learnKey(nowMs: number, id: number, discoKey: Uint8Array): void {
    if (this.disco.discoKeyOf(id) === undefined) this.disco.updatePeer(nowMs, id, { discoKey });
  }

  /** Decides how a WireGuard datagram goes to a peer: into `disco.direct` and `disco.isRelayed`. */
  choosePath(nowMs: number, id: number): void {
    if (!this.isActive(nowMs)) this.#checkAtMs = Math.min(this.#checkAtMs, nowMs + this.#recheckMs());
    this.#usedMs = nowMs;
    this.disco.choosePath(nowMs, id);
  }

  /** Takes a datagram of the shared socket: true when it was STUN or disco, used or dropped. */
  handleDatagram(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): boolean {
    if (looksLikeDisco(buf, start, end)) {
      this.disco.handleDatagram(nowMs, buf, start, end, from);
      return true;
    }
    if (!isStun(buf, start, end)) return false;
    this.#netcheck.handleStun(nowMs, buf, start, end, from);
    return true;
  }

  /** A frame came from a relay of this region. */
  noteRelayHeard(nowMs: number, region: number): void {
    this.#netcheck.noteRelayHeard(nowMs, region);
  }

  /** The relays of a region could not be reached: it is not the nearest one for a while. */
  noteRelayFailed(nowMs: number, region: number): void {
    this.#netcheck.noteRelayFailed(nowMs, region);
  }

  /** A name that has to be looked up, for {@link handleResolved}. */
  pollResolve(): string | undefined {
    return this.#netcheck.pollResolve();
  }

  handleResolved(nowMs: number, name: string, addresses: readonly string[]): void {
    this.#netcheck.handleResolved(nowMs, name, addresses);
  }

  /** Writes one datagram; `slot.to` is undefined for one that goes through `disco.relayRegion` to `disco.relayPeer`. */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    return this.disco.pollTransmit(nowMs, slot) || this.#netcheck.pollTransmit(nowMs, slot);
  }

  /** The next event, or undefined. */
  pollEvent(nowMs: number): PathEvent | undefined {
    for (let event = this.#netcheck.pollEvent(); event !== undefined; event = this.#netcheck.pollEvent()) {
      this.#events.push(event);
      this.#noteGlobal(nowMs, event.report);
      this.#tellEndpoints(nowMs, event.report.endpoints);
    }
    for (let event = this.disco.pollEvent(); event !== undefined; event = this.disco.pollEvent()) {
      const isLost = event.type === 'path' && event.endpoint === undefined;
      // A path that is lost may mean that we are elsewhere, seen from outside.
      if (event.type === 'endpoints-wanted' || isLost) this.#netcheck.start(nowMs);
      if (event.type !== 'endpoints-wanted') this.#events.push(event);
    }
    return this.#events.shift();
  }

  nextTimeout(): number {
    return Math.min(this.disco.nextTimeout(), this.#netcheck.nextTimeout(), this.#checkAtMs);
  }

  handleTimeout(nowMs: number): void {
    this.disco.handleTimeout(nowMs);
    this.#netcheck.handleTimeout(nowMs);
    if (nowMs < this.#checkAtMs) return;
    const isActive = this.isActive(nowMs);
    this.#checkAtMs = isActive ? nowMs + this.#recheckMs() : Number.POSITIVE_INFINITY;
    if (isActive) this.#netcheck.start(nowMs);
  }

  #recheckMs(): number {
    const word = new Uint8Array(1);
    this.#random(word);
    return RECHECK_MS + Math.floor((word[0]! / 256) * RECHECK_JITTER_MS);
  }

  /** Seen from outside this device is elsewhere than before: a NAT has restarted, and paths through it are no more. */
  #noteGlobal(nowMs: number, { globalV4, globalV6 }: NetcheckReport): void {
    const hasMoved = (before: Endpoint | undefined, now: Endpoint | undefined) =>
      before !== undefined && now !== undefined && !sameEndpoint(before, now);
    if (hasMoved(this.#globalV4, globalV4) || hasMoved(this.#globalV6, globalV6)) this.disco.linkChanged(nowMs);
    this.#globalV4 = globalV4 ?? this.#globalV4;
    this.#globalV6 = globalV6 ?? this.#globalV6;
  }

  /** Peers learn where this device can be reached, by the coordinator and by call-me-maybe: `seen` from outside. */
  #tellEndpoints(nowMs: number, seen: readonly Endpoint[]): void {
    const local = this.#interfaces.map(address => ({ address, port: this.#port, type: TYPE_LOCAL }));
    const others = seen
      .filter(endpoint => !local.some(own => sameEndpoint(own, endpoint)))
      .map(({ address, port }) => ({ address, port, type: TYPE_STUN }));
    const endpoints = this.#port === 0 ? [] : [...others, ...local];
    const isNew = JSON.stringify(endpoints) !== JSON.stringify(this.#endpoints);
    if (isNew) this.#endpoints = endpoints;
    // Also when nothing has changed: those who wait to be called are told what is true as of now.
    this.disco.setOwnEndpoints(nowMs, this.#endpoints);
    if (isNew) this.#events.push({ type: 'endpoints', endpoints });
  }
}
