/**
 * Connections to relays (data plane over DERP): one to the home relay, which stays, and one to each other relay that a
 * peer in use calls home, as long as it is used.
 *
 * A link that breaks comes back after a pause that grows, at the next relay of its region. The home is the region that
 * {@link RelayLinks.prefer} names; before that, and while that one does not work, it is the one with the lowest id that
 * works. Left out: measuring which relay is nearest.
 */
import { fromHex } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { DerpClient } from '../derp/client.ts';
import type { DerpClientLimits } from '../derp/client-types.ts';
import type { WireDerpNode } from '../derp/map.ts';
import { RegionTable } from '../derp/region-table.ts';
import type { StreamRequest, Streams, StreamUser } from './streams.ts';

/** Pause after the first failure; it grows with the square of failures in a row, up to the maximum. */
const RETRY_MS = 10;
const RETRY_MAX_MS = 5000;
/** A relay that goes on failing is reported again after this. */
const REPORT_MS = 30_000;
/** A link that is not home and carried nothing for this long is closed. */
const IDLE_MS = 60_000;
/** Failures in a row after which another region becomes home. */
const HOME_FAILURES = 2;
/** How long several regions are measured before one is taken as home anyway. */
const HOME_WAIT_MS = 3000;
/** How long a link may take to answer when it is looked at. */
const CHECK_MS = 3000;
const DEFAULT_PORT = 443;
const PIN_PREFIX = 'sha256-raw:';

/** What happened. */
export type RelayLinkEvent =
  /** The home relay is connected, or another one is home now; 0: none. */
  | { readonly type: 'home'; readonly region: number }
  /** The home relay is connected, for the first time or again. */
  | { readonly type: 'relay-connected'; readonly region: number }
  | { readonly type: 'relay-error'; readonly region: number; readonly error: NetError; readonly retryInMs: number };

/** A link as `status` shows it. */
export interface RelayStatus {
  readonly region: number;
  readonly code: string;
  readonly host: string;
  readonly isHome: boolean;
  readonly isConnected: boolean;
}

/** What links need. */
export interface RelayLinkOptions {
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly privateKey: SecretKey;
  readonly limits: DerpClientLimits;
  readonly streams: Streams;
  /** Links beside the home's; one more closes the one that was unused for longest. */
  readonly maxLinks: number;
}

/** All links of one device. */
export class RelayLinks {
  readonly #options: RelayLinkOptions;
  /** Few: looked through. */
  readonly #links: RelayLink[] = [];
  readonly #events: RelayLinkEvent[] = [];
  #regions = new RegionTable();
  #home = 0;
  #announcedHome = 0;
  #isStopped = true;
  /** The nearest region as it was measured; 0: not yet. */
  #preferred = 0;
  /** Several regions wait to be measured until then, before one is taken as home anyway. */
  #waitUntilMs = Number.NEGATIVE_INFINITY;
  /** Where {@link pollPacket} goes on. */
  #polled: RelayLink | undefined;

  constructor(options: RelayLinkOptions) {
    this.#options = options;
  }

  /** The home region once its relay has been reached; 0 before. */
  get home(): number {
    return this.#announcedHome;
  }

  /** Relays as they are known now; links to those that are gone are closed. */
  setRegions(nowMs: number, regions: RegionTable): void {
    this.#regions = regions;
    this.#isStopped = false;
    for (const link of [...this.#links]) {
      if (regions.has(link.region)) link.setRegions(nowMs, regions);
      else this.#drop(link);
    }
    if (this.#canBeHome(this.#home)) return;
    const choices = regions.ids().filter(id => regions.canBeHome(id));
    if (this.#preferred === 0 && choices.length > 1 && this.#waitUntilMs === Number.NEGATIVE_INFINITY)
      this.#waitUntilMs = nowMs + HOME_WAIT_MS;
    else this.#chooseHome(nowMs, 0);
  }

  /** The nearest region was measured: it is home from now on, if it can be. */
  prefer(nowMs: number, region: number): void {
    this.#preferred = region;
    this.#waitUntilMs = Number.NEGATIVE_INFINITY;
    if (region !== this.#home && this.#canBeHome(region)) this.#moveHome(nowMs, region);
    else if (this.#home === 0) this.#chooseHome(nowMs, 0);
  }

  /** Looks whether the links still work: one that does not answer within three seconds connects anew. */
  check(nowMs: number): void {
    for (const link of this.#links) link.check(nowMs);
  }

  /**
   * Sends a sealed datagram to a node at a relay of its region, at our home if that is 0. It waits while the relay is
   * being connected. False: no such region, or no room.
   */
  send(nowMs: number, region: number, to: Uint8Array, buf: Uint8Array, start: number, end: number): boolean {
    const known = region === 0 ? this.#home : region;
    const link = this.#link(known) ?? this.#open(nowMs, known);
    return link?.send(nowMs, to, buf, start, end) ?? false;
  }

  /** The region that the packet of the last {@link pollPacket} came from. */
  get polledRegion(): number {
    return this.#polled?.region ?? 0;
  }

  /** The next packet from any relay, or undefined; see `DerpClient.pollPacket` for where its bytes are. */
  pollPacket(nowMs: number): DerpClient | undefined {
    if (this.#polled?.client?.pollPacket() === true) return this.#polled.client;
    for (const link of this.#links) {
      if (link.client?.pollPacket() !== true) continue;
      this.#polled = link;
      link.usedMs = nowMs;
      return link.client;
    }
    this.#polled = undefined;
    return undefined;
  }

  /** Whether a region has failed no more often than anybody does. */
  isTrying(region: number): boolean {
    return (this.#link(region)?.failures ?? 0) < HOME_FAILURES;
  }

  /** All links connect anew. */
  reconnect(nowMs: number): void {
    for (const link of this.#links) link.reconnect(nowMs);
  }

  /** The next event, or undefined. */
  pollEvent(nowMs: number): RelayLinkEvent | undefined {
    for (const link of [...this.#links]) {
      const error = link.takeError();
      if (error !== undefined) this.#failed(nowMs, link, error);
    }
    if (this.#link(this.#home)?.takeConnected() === true)
      this.#events.push({ type: 'relay-connected', region: this.#home });
    const home = this.#link(this.#home)?.isConnected === true ? this.#home : this.#announcedHome;
    if (home !== this.#announcedHome) {
      this.#announcedHome = home;
      this.#events.push({ type: 'home', region: home });
    }
    return this.#events.shift();
  }

  /** When {@link handleTimeout} wants to be called. */
  nextTimeout(): number {
    let next = this.#home === 0 && this.#waitUntilMs > 0 ? this.#waitUntilMs : Number.POSITIVE_INFINITY;
    for (const link of this.#links) {
      const idleMs = link.region === this.#home ? next : link.usedMs + IDLE_MS;
      next = Math.min(next, idleMs, link.nextTimeout());
    }
    return next;
  }

  /** Lets due timers act. */
  handleTimeout(nowMs: number): void {
    if (this.#home === 0 && this.#waitUntilMs > 0 && nowMs >= this.#waitUntilMs) this.#chooseHome(nowMs, 0);
    for (const link of [...this.#links]) {
      if (link.region !== this.#home && nowMs >= link.usedMs + IDLE_MS) this.#drop(link);
      else link.handleTimeout(nowMs);
    }
  }

  /** Closes all links; {@link setRegions} starts them again. */
  stop(): void {
    this.#isStopped = true;
    for (const link of [...this.#links]) this.#drop(link);
    this.#waitUntilMs = Number.NEGATIVE_INFINITY;
    this.#home = 0;
    this.#announcedHome = 0;
  }

  /** All links. */
  status(): readonly RelayStatus[] {
    return this.#links.map(link => ({
      region: link.region,
      code: this.#regions.codeOf(link.region) ?? '',
      host: link.host,
      isHome: link.region === this.#home,
      isConnected: link.isConnected,
    }));
  }

  #link(region: number): RelayLink | undefined {
    for (const link of this.#links) if (link.region === region) return link;
    return undefined;
  }

  #open(nowMs: number, region: number): RelayLink | undefined {
    if (this.#isStopped || !this.#regions.has(region)) return undefined;
    if (this.#links.length > this.#options.maxLinks) this.#dropIdlest();
    const link = new RelayLink(nowMs, this.#options, region, this.#regions, region === this.#home);
    this.#links.push(link);
    return link;
  }

  #dropIdlest(): void {
    let idlest: RelayLink | undefined;
    for (const link of this.#links)
      if (link.region !== this.#home && (idlest === undefined || link.usedMs < idlest.usedMs)) idlest = link;
    if (idlest !== undefined) this.#drop(idlest);
  }

  #drop(link: RelayLink): void {
    link.close();
    const at = this.#links.indexOf(link);
    if (at >= 0) this.#links.splice(at, 1);
    if (this.#polled === link) this.#polled = undefined;
  }

  #failed(nowMs: number, link: RelayLink, error: NetError): void {
    this.#events.push({ type: 'relay-error', region: link.region, error, retryInMs: link.retryInMs });
    if (link.region === this.#home && link.failures >= HOME_FAILURES) this.#chooseHome(nowMs, this.#home);
  }

  #canBeHome(id: number): boolean {
    return this.#regions.canBeHome(id);
  }

  /** The next region after one that failed, in the order of ids. */
  #chooseHome(nowMs: number, failed: number): void {
    const ids = this.#regions
      .ids()
      .filter(id => this.#canBeHome(id))
      .sort((a, b) => a - b);
    const wanted = ids.filter(id => !this.#regions.isAvoided(id));
    const choice = wanted.length > 0 ? wanted : ids;
    this.#waitUntilMs = Number.NEGATIVE_INFINITY;
    const isPreferred = this.#preferred !== failed && ids.includes(this.#preferred);
    this.#moveHome(nowMs, isPreferred ? this.#preferred : (choice.find(id => id > failed) ?? choice[0] ?? 0));
  }

  #moveHome(nowMs: number, region: number): void {
    this.#home = region;
    for (const link of this.#links) link.setHome(link.region === this.#home);
    if (this.#home !== 0 && this.#link(this.#home) === undefined) this.#open(nowMs, this.#home);
    if (this.#home === 0 && this.#announcedHome !== 0) {
      this.#announcedHome = 0;
      this.#events.push({ type: 'home', region: 0 });
    }
  }
}

/** The link to one region. */
class RelayLink implements StreamUser {
  readonly region: number;
  client: DerpClient | undefined;
  /** When it last carried something. */
  usedMs: number;
  /** Failures since it last worked. */
  failures = 0;
  retryInMs = 0;
  host = '';
  readonly #options: RelayLinkOptions;
  #regions: RegionTable;
  #isHome: boolean;
  #streamId = 0;
  #retryAtMs = Number.POSITIVE_INFINITY;
  #answerByMs = Number.POSITIVE_INFINITY;
  #reportedMs = Number.NEGATIVE_INFINITY;
  #isNewlyConnected = false;
  #error: NetError | undefined;

  constructor(nowMs: number, options: RelayLinkOptions, region: number, regions: RegionTable, isHome: boolean) {
    this.usedMs = nowMs;
    this.#options = options;
    this.#isHome = isHome;
    this.region = region;
    this.#regions = regions;
    this.#connect(nowMs);
  }

  /** Whether packets flow. */
  get isConnected(): boolean {
    return this.client?.isLoggedIn === true;
  }

  /** Relays as they are known now; a link to one that is no longer listed connects anew. */
  setRegions(nowMs: number, regions: RegionTable): void {
    this.#regions = regions;
    if (this.#streamId === 0 || this.#relays().some(node => node.HostName === this.host)) return;
    this.close();
    this.#retryAtMs = nowMs;
  }

  setHome(isHome: boolean): void {
    this.#isHome = isHome;
    this.client?.setPreferred(isHome);
  }

  send(nowMs: number, to: Uint8Array, buf: Uint8Array, start: number, end: number): boolean {
    this.usedMs = nowMs;
    return this.client?.send(nowMs, to, buf, start, end) ?? false;
  }

  /** The failure that {@link RelayLinks} has not heard of yet. */
  takeError(): NetError | undefined {
    const error = this.#error;
    this.#error = undefined;
    return error;
  }

  /** Whether it has become connected since this was asked last. */
  takeConnected(): boolean {
    const isNew = this.#isNewlyConnected;
    this.#isNewlyConnected = false;
    return isNew;
  }

  close(): void {
    this.#answerByMs = Number.POSITIVE_INFINITY;
    this.client?.close();
    this.client = undefined;
    if (this.#streamId !== 0) this.#options.streams.close(this.#streamId);
    this.#streamId = 0;
  }

  /** Asks for a sign of life. */
  check(nowMs: number): void {
    if (this.client === undefined) this.#retryAtMs = nowMs;
    else if (this.#answerByMs === Number.POSITIVE_INFINITY) {
      this.client.ping(nowMs);
      this.#answerByMs = nowMs + CHECK_MS;
    }
  }

  /** Begins again, at the same relay, as if it had never failed. */
  reconnect(nowMs: number): void {
    this.failures = 0;
    this.#connect(nowMs);
  }

  nextTimeout(): number {
    return Math.min(this.#retryAtMs, this.#answerByMs, this.client?.nextTimeout() ?? Number.POSITIVE_INFINITY);
  }

  handleTimeout(nowMs: number): void {
    if (nowMs >= this.#retryAtMs) this.#connect(nowMs);
    this.client?.handleTimeout(nowMs);
    this.#look(nowMs);
    if (nowMs >= this.#answerByMs) this.#fail(nowMs, new NetError('ERR_TIMED_OUT', 'it does not answer any more'));
  }

  handleOpened(_nowMs: number): void {}

  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    this.#answerByMs = Number.POSITIVE_INFINITY;
    this.client?.handleBytes(nowMs, buf, start, end);
    this.#look(nowMs);
  }

  handleEnd(nowMs: number): void {
    this.client?.handleEnd();
    this.#look(nowMs);
  }

  handleFailed(nowMs: number, error: NetError): void {
    this.#streamId = 0;
    this.#fail(nowMs, error);
  }

  pollBytes(_nowMs: number, out: Uint8Array, start: number, end: number): number {
    return this.client?.pollBytes(out, start, end) ?? 0;
  }

  #connect(nowMs: number): void {
    this.#retryAtMs = Number.POSITIVE_INFINITY;
    this.close();
    const nodes = this.#relays();
    const node = nodes[this.failures % Math.max(1, nodes.length)];
    if (node === undefined) return this.#fail(nowMs, new NetError('ERR_PROTOCOL', 'the region has no relay'));
    const { random, suite, privateKey, limits, streams } = this.#options;
    this.host = node.HostName;
    const request = relayRequest(node);
    if (request === undefined)
      return this.#fail(nowMs, new NetError('ERR_PROTOCOL', `the relay '${node.HostName}' has no usable address`));
    this.client = new DerpClient({
      nowMs,
      random,
      suite,
      privateKey,
      host: node.HostName,
      isPreferred: this.#isHome,
      limits,
    });
    this.#streamId = streams.open(request, this);
  }

  /** The nodes of the region that relay. */
  #relays(): readonly WireDerpNode[] {
    const nodes = this.#regions.get(this.region)?.Nodes ?? [];
    return nodes.filter(node => node.STUNOnly !== true);
  }

  #look(nowMs: number): void {
    const { client } = this;
    if (client === undefined) return;
    for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent()) {
      if (event.type === 'connected') this.#isNewlyConnected = true;
      // INVARIANT: not before: a relay hears who we are only after 'connected', and hangs up on whom it does not admit.
      if (event.type === 'server-info') this.failures = 0;
      if (event.type === 'closed') return this.#fail(nowMs, event.error);
    }
  }

  #fail(nowMs: number, error: NetError): void {
    this.close();
    const word = new Uint8Array(1);
    this.#options.random(word);
    this.failures++;
    const pauseMs = Math.min(RETRY_MS * this.failures ** 2, RETRY_MAX_MS);
    // Half to all of it, so that the clients of a relay that restarts do not come back all at once.
    this.retryInMs = Math.round(pauseMs * (0.5 + word[0]! / 512));
    this.#retryAtMs = nowMs + this.retryInMs;
    if (this.failures > HOME_FAILURES && nowMs - this.#reportedMs < REPORT_MS) return;
    this.#reportedMs = nowMs;
    this.#error = new NetError(error.code, `relay ${this.host || this.region}: ${error.message}`, { cause: error });
  }
}

/** How to reach a relay; undefined when it says that it has no address. Its certificate is always verified or pinned. */
export function relayRequest(node: WireDerpNode): StreamRequest | undefined {
  const given = [node.IPv4, node.IPv6].filter(address => address !== undefined && address !== '');
  const addresses = given.filter(address => address !== 'none') as string[];
  if (given.length === 2 && addresses.length === 0) return undefined;
  const certName = node.CertName ?? '';
  const pin = certName.startsWith(PIN_PREFIX) ? fromHex(certName.slice(PIN_PREFIX.length)) : undefined;
  const isPinBroken = certName.startsWith(PIN_PREFIX) && pin?.length !== 32;
  if (isPinBroken) return undefined; // CHECK: relay-pin-broken
  const serverName = certName === '' || pin !== undefined ? node.HostName : certName;
  return {
    host: node.HostName,
    port: node.DERPPort === undefined || node.DERPPort === 0 ? DEFAULT_PORT : node.DERPPort,
    ...(addresses.length === 0 ? {} : { addresses }),
    tls: { serverName, ...(pin === undefined ? {} : { pin }) },
  };
}
