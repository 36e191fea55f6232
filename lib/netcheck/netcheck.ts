/**
 * Netcheck: how this machine is connected, as far as STUN tells (RFC 8489; RFC 4787 §4.1 for mappings). Whether UDP
 * works, on which families, under which addresses the outside sees us, whether the NAT gives one address for all
 * destinations, how far the relays are, and which of their regions is home.
 *
 * A check asks the STUN servers of regions over the socket that carries the data, so that the mapping it finds is the
 * one that peers can use. It ends when all have answered, soon after three regions have, or after 3 seconds.
 * Left out: round trips by HTTPS and ICMP where UDP is blocked, port mapping, captive portals; and when to check.
 */
import type { Endpoint } from '../base/address.ts';
import type { Slot } from '../base/slot.ts';
import { RegionTable } from '../derp/region-table.ts';
import { StunClient } from '../stun/client.ts';
import type { StunServer } from '../stun/limits.ts';
import { HomeChooser } from './home.ts';
import { NETCHECK_LIMITS_LARGE, type NetcheckLimits, type NetcheckReport } from './limits.ts';
import { makePlan, placesOf, type ProbeSet } from './plan.ts';
import { isPossibleSource, ReflexiveAddresses } from './reflexive.ts';
import { NameBook } from './servers.ts';

/** How long answers are waited for, and how long where names are still being looked up and nothing was measured. */
const STUN_MS = 3000;
const REPORT_MS = 5000;
/** All regions are asked so often; in between those that were nearest. */
const FULL_INTERVAL_MS = 300_000;
/** Once so many regions have answered, the others get little more time. */
const ENOUGH_REGIONS = 3;

/** What a {@link Netcheck} needs. */
export interface NetcheckOptions {
  readonly nowMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly limits?: NetcheckLimits;
}

/** What a {@link Netcheck} tells. */
export interface NetcheckEvent {
  readonly type: 'report';
  readonly report: NetcheckReport;
}

/** One region on one family, being asked. */
interface Asking {
  readonly set: ProbeSet;
  /** From when the delays of its tries count. */
  baseMs: number;
  tries: number;
  /** Waits for a name. */
  isBlocked: boolean;
  /** Has answered, or needs to be asked no more. */
  isDone: boolean;
}

/** A check under way. */
interface Check {
  readonly stun: StunClient;
  readonly startMs: number;
  readonly isFull: boolean;
  readonly asking: Asking[];
  readonly latencies: Map<number, number>;
  readonly latenciesV4: Map<number, number>;
  readonly latenciesV6: Map<number, number>;
  endMs: number;
  globalV4: Endpoint | undefined;
  globalV6: Endpoint | undefined;
  /** The first server on IPv4 that answered. */
  firstServer: string;
  mappingVaries: boolean | undefined;
}

/** The machine; see the top of the file. */
export class Netcheck {
  /** Answers from the right server that name an address we cannot have. */
  refused = 0;
  /** STUN datagrams that answered nothing that was asked, or came from somebody else. */
  ignored = 0;
  readonly #random: (out: Uint8Array) => void;
  readonly #limits: NetcheckLimits;
  readonly #names: NameBook;
  readonly #home: HomeChooser;
  readonly #reflexive: ReflexiveAddresses;
  #regions = new RegionTable();
  #hasV4 = true;
  #hasV6 = true;
  #check: Check | undefined;
  /** Whether the last report had answers on each family. */
  #had4 = false;
  #had6 = false;
  #event: NetcheckEvent | undefined;
  #fullMs = Number.NEGATIVE_INFINITY;

  /** See {@link NetcheckOptions}. Both families count as there until {@link setFamilies}. */
  constructor(options: NetcheckOptions) {
    this.#random = options.random;
    this.#limits = options.limits ?? NETCHECK_LIMITS_LARGE;
    this.#names = new NameBook(this.#limits.names);
    this.#home = new HomeChooser(options.random);
    this.#reflexive = new ReflexiveAddresses(this.#limits.endpoints);
  }

  /** Whether a check is under way. */
  get isRunning(): boolean {
    return this.#check !== undefined;
  }

  /**
   * The relays as they are known now, by region id. `scores` multiply round trips where home is chosen (HomeParams of
   * the map); 1 unless told. Regions that are new make the next check a full one; a check under way goes on.
   */
  setRegions(nowMs: number, regions: RegionTable, scores?: ReadonlyMap<number, number>): void {
    for (const id of regions.ids()) if (!this.#regions.has(id)) this.makeNextFull();
    this.#regions = regions;
    this.#home.setRegions(regions, scores);
    this.#names.keepOnly(name => regions.hasHost(name));
    if (this.#check === undefined) return;
    for (const asking of this.#check.asking) if (!regions.has(asking.set.region)) asking.isDone = true;
    this.#finishIfDone(nowMs, this.#check);
  }

  /** Which families this machine has an address of. A change makes the next check a full one. */
  setFamilies(hasV4: boolean, hasV6: boolean): void {
    if (hasV4 !== this.#hasV4 || hasV6 !== this.#hasV6) this.makeNextFull();
    this.#hasV4 = hasV4;
    this.#hasV6 = hasV6;
  }

  /** The next check asks all regions. */
  makeNextFull(): void {
    this.#fullMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * The network is another one (address changed, long sleep): forgets what was measured and how we were seen, but not
   * which region is home. A check under way begins anew.
   */
  linkChanged(nowMs: number): void {
    this.makeNextFull();
    this.#home.forgetHistory(nowMs);
    this.#reflexive.clear();
    this.#names.expire();
    if (this.#check === undefined) return;
    this.#check = undefined;
    this.start(nowMs);
  }

  /** Begins a check; while one is under way, that one's report is the answer. */
  start(nowMs: number): void {
    if (this.#check !== undefined) return;
    const isDue = nowMs - this.#fullMs >= FULL_INTERVAL_MS;
    const isFull = isDue || !this.#home.hasMeasured;
    if (isFull) this.#fullMs = nowMs;
    const plan = makePlan({
      isFull,
      regions: this.#regions,
      hasV4: this.#hasV4,
      hasV6: this.#hasV6,
      home: this.#home.region,
      limit: this.#limits.regions,
      latencyOf: region => this.#home.latencyOf(region),
      had4: this.#had4,
      had6: this.#had6,
    });
    this.#check = {
      stun: new StunClient({ random: this.#random, limits: { probes: this.#limits.probes } }),
      startMs: nowMs,
      isFull,
      asking: plan.map(set => ({ set, baseMs: nowMs, tries: 0, isBlocked: false, isDone: false })),
      latencies: new Map(),
      latenciesV4: new Map(),
      latenciesV6: new Map(),
      endMs: nowMs + STUN_MS,
      globalV4: undefined,
      globalV6: undefined,
      firstServer: '',
      mappingVaries: undefined,
    };
    for (const set of plan)
      for (const place of placesOf(this.#regions, set))
        if (place.address === undefined) this.#names.want(nowMs, place.name);
    for (const asking of this.#check.asking) this.#unblock(nowMs, asking);
    this.#finishIfDone(nowMs, this.#check);
  }

  /** Takes the name of a relay that has to be looked up; {@link handleResolved} is to be called for each, always. */
  pollResolve(): string | undefined {
    return this.#names.pollQuestion();
  }

  /** The addresses of a name, best first; none: it could not be looked up. Call {@link pollTransmit} afterwards. */
  handleResolved(nowMs: number, name: string, addresses: readonly string[]): void {
    if (!this.#names.answer(nowMs, name, addresses) || this.#check === undefined) return;
    for (const asking of this.#check.asking) this.#unblock(nowMs, asking);
    this.#finishIfDone(nowMs, this.#check);
  }

  /** A datagram that looks like STUN (`isStun`) came on the shared socket. True when it answers a request of ours. */
  handleStun(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): boolean {
    const isOurs = this.#check?.stun.handleDatagram(nowMs, buf, start, end, from) ?? false;
    if (isOurs) this.#drainStun(nowMs);
    else this.ignored++;
    return isOurs;
  }

  /** Writes one request that is due into the slot, with its destination. False when none is. */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    while (this.#check !== undefined) {
      if (this.#check.stun.pollTransmit(nowMs, slot)) return true;
      if (!this.#ask(nowMs)) return false;
    }
    return false;
  }

  /** Takes the report of a check that has ended. */
  pollEvent(): NetcheckEvent | undefined {
    const event = this.#event;
    this.#event = undefined;
    return event;
  }

  /** A frame came from the relay of a region: it is there, whatever STUN says. */
  noteRelayHeard(nowMs: number, region: number): void {
    this.#home.noteHeard(nowMs, region);
  }

  /** The relay of a region could not be reached, though tried more than once: not home for 5 minutes, unless heard. */
  noteRelayFailed(nowMs: number, region: number): void {
    this.#home.noteFailed(nowMs, region);
  }

  /** When {@link handleTimeout} and {@link pollTransmit} want to be called. */
  nextTimeout(): number {
    if (this.#check === undefined) return Number.POSITIVE_INFINITY;
    let nextMs = this.#check.endMs;
    for (const asking of this.#check.asking) nextMs = Math.min(nextMs, dueMs(asking));
    return nextMs;
  }

  /** Ends a check whose time is up. */
  handleTimeout(nowMs: number): void {
    const check = this.#check;
    if (check === undefined || nowMs < check.endMs) return;
    const lastMs = check.startMs + REPORT_MS;
    if (check.latencies.size === 0 && nowMs < lastMs && check.asking.some(each => this.#isWaiting(each)))
      check.endMs = lastMs;
    else this.#finish(nowMs, check);
  }

  /** Makes the next try that is due into a request; false when there is none. */
  #ask(nowMs: number): boolean {
    const check = this.#check;
    const asking = check?.asking.find(each => dueMs(each) <= nowMs);
    if (check === undefined || asking === undefined) return false;
    const { set } = asking;
    if (!helps(check, set)) asking.isDone = true;
    else {
      const server = this.#server(set, asking.tries);
      asking.isBlocked = server === undefined;
      if (server !== undefined) {
        asking.tries++;
        check.stun.probe(nowMs, server, REPORT_MS);
      }
    }
    this.#finishIfDone(nowMs, check);
    return this.#check === check;
  }

  /** The server of a try, or the next one whose address is known. */
  #server(set: ProbeSet, tries: number): StunServer | undefined {
    const places = placesOf(this.#regions, set);
    for (let i = 0; i < places.length; i++) {
      const place = places[(tries + i) % places.length]!;
      const address = this.#names.addressOf(place, set.isV6);
      if (address !== undefined) return { region: set.region, endpoint: { address, port: place.port } };
    }
    return undefined;
  }

  /** Looks whether there is a server to ask now; where there was none and none can come, asking is over. */
  #unblock(nowMs: number, asking: Asking): void {
    if (asking.isDone || asking.tries > 0) return;
    const wasBlocked = asking.isBlocked;
    asking.isBlocked = this.#server(asking.set, 0) === undefined;
    if (wasBlocked && !asking.isBlocked) asking.baseMs = nowMs;
    if (asking.isBlocked && !this.#isWaiting(asking)) asking.isDone = true;
  }

  #isWaiting({ set, isBlocked, isDone }: Asking): boolean {
    return isBlocked && !isDone && placesOf(this.#regions, set).some(place => this.#names.isAsked(place.name));
  }

  #drainStun(nowMs: number): void {
    for (let check = this.#check; check !== undefined; check = this.#check) {
      const event = check.stun.pollEvent();
      if (event === undefined) return;
      if (event.type !== 'response') continue;
      this.#answered(nowMs, check, event.server, event.latencyMs, event.address);
    }
  }

  #answered(nowMs: number, check: Check, server: StunServer, latencyMs: number, seen: Endpoint): void {
    const { region, endpoint } = server;
    if (!isPossibleSource(seen.address, endpoint.address)) return this.#refuse(); // CHECK: netcheck-source
    if (!this.#regions.has(region)) return;
    const isV6 = endpoint.address.includes(':');
    const isNew = !check.latencies.has(region);
    lower(check.latencies, region, latencyMs);
    lower(isV6 ? check.latenciesV6 : check.latenciesV4, region, latencyMs);
    this.#reflexive.note(nowMs, seen);
    if (isV6) check.globalV6 ??= seen;
    else noteMapping(check, endpoint.address, seen);
    for (const asking of check.asking)
      if (asking.set.region === region && asking.set.isV6 === isV6) asking.isDone = true;
    if (isNew && check.latencies.size === ENOUGH_REGIONS) {
      const moreMs = Math.max(...check.latencies.values()) * (check.isFull ? 2 : 1);
      check.endMs = Math.min(check.endMs, nowMs + moreMs);
    }
    this.#finishIfDone(nowMs, check);
  }

  #refuse(): void {
    this.refused++;
  }

  #finishIfDone(nowMs: number, check: Check): void {
    if (check.asking.every(asking => asking.isDone)) this.#finish(nowMs, check);
  }

  #finish(nowMs: number, check: Check): void {
    this.#check = undefined;
    const { startMs, isFull, globalV4, globalV6, latencies, latenciesV4, latenciesV6 } = check;
    for (const each of [latencies, latenciesV4, latenciesV6])
      for (const region of each.keys()) if (!this.#regions.has(region)) each.delete(region);
    const { region, why } = this.#home.choose(nowMs, startMs, latencies);
    const report: NetcheckReport = {
      atMs: nowMs,
      tookMs: nowMs - startMs,
      isFull,
      udp: latencies.size > 0,
      ipv4: latenciesV4.size > 0,
      ipv6: latenciesV6.size > 0,
      globalV4,
      globalV6,
      mappingVariesByDestIp: check.mappingVaries,
      latencies,
      latenciesV4,
      latenciesV6,
      preferredRegion: region,
      preferredWhy: why,
      endpoints: this.#reflexive.list(nowMs, [globalV4, globalV6]),
    };
    this.#had4 = report.ipv4;
    this.#had6 = report.ipv6;
    this.#event = { type: 'report', report };
  }
}

/** When the next try of a region leaves; Infinity for never. */
function dueMs({ set, baseMs, tries, isBlocked, isDone }: Asking): number {
  return isDone || isBlocked || tries >= set.delaysMs.length ? Number.POSITIVE_INFINITY : baseMs + set.delaysMs[tries]!;
}

/** Whether another answer of this region on this family would tell anything new. */
function helps(check: Check, { region, isV6 }: ProbeSet): boolean {
  if (!check.latencies.has(region)) return true;
  return isV6 ? check.latenciesV6.size === 0 : check.mappingVaries === undefined;
}

/** Another address at any server tells that mappings vary; the same one tells something only at another address. */
function noteMapping(check: Check, server: string, seen: Endpoint): void {
  if (check.globalV4 === undefined) {
    check.globalV4 = seen;
    check.firstServer = server;
    return;
  }
  const isSame = check.globalV4.address === seen.address && check.globalV4.port === seen.port;
  if (!isSame) check.mappingVaries = true;
  else if (server !== check.firstServer) check.mappingVaries ??= false;
}

function lower(latencies: Map<number, number>, region: number, latencyMs: number): void {
  latencies.set(region, Math.min(latencyMs, latencies.get(region) ?? latencyMs));
}
