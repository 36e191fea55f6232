/**
 * What all parts of a tunnel share: its peers, the tables that lead to them, the queue of those with something to
 * send, events, clocks and drops. Rules are elsewhere: of one peer in peer.ts, of messages in handshake-exchange.ts.
 */
import { type Endpoint, sameEndpoint } from '../base/address.ts';
import { readU32LE } from '../base/bytes.ts';
import { DropCounters, type DropReason } from '../base/drop.ts';
import { AllowedIps } from './allowed-ips.ts';
import { MAX_JITTER_MS, type TunnelLimits } from './constants.ts';
import type { PendingInitiation } from './handshake.ts';
import { drawIndex, IndexTable } from './index-table.ts';
import { Peer, type PeerContext } from './peer.ts';
import { PeerTable } from './peer-table.ts';
import { Schedule } from './schedule.ts';
import type { Session } from './session.ts';
import { StagingPool } from './staging.ts';
import { TimestampClock } from './tai64n.ts';
import type { TunnelEvent, TunnelOptions } from './types.ts';

/** The shared state of one tunnel. */
export class TunnelState implements PeerContext {
  readonly limits: TunnelLimits;
  readonly random: (out: Uint8Array) => void;
  readonly drops = new DropCounters();
  readonly table: PeerTable;
  readonly allowedIps: AllowedIps;
  readonly schedule = new Schedule<Peer>();
  readonly sessions = new IndexTable<Session>();
  readonly handshakes = new IndexTable<PendingInitiation>();
  readonly staging: StagingPool;
  readonly stamps: TimestampClock;
  readonly rekeyAfterMessages: number;
  /** Sessions are made so that they can be saved. */
  readonly isSavable: boolean;
  /** Peers in use by id; idle ones are undefined. */
  readonly #active: (Peer | undefined)[] = [];
  #activeCount = 0;
  /** A queue in an array: taken from `#queueHead` on, moved together now and then. */
  readonly #queue: (Peer | undefined)[] = [];
  #queueHead = 0;
  readonly #events: TunnelEvent[] = [];
  #jitter: number;
  #nowMs: number;
  /** Wall clock minus monotonic clock. */
  #unixOffsetMs: number;

  constructor(options: TunnelOptions, limits: TunnelLimits) {
    this.limits = limits;
    this.random = options.random;
    this.isSavable = options.keepsSessions === true;
    this.#nowMs = options.nowMs;
    this.#unixOffsetMs = options.unixMs - options.nowMs;
    this.table = new PeerTable(this.randomWord());
    this.allowedIps = new AllowedIps(this.randomWord());
    this.staging = new StagingPool(limits.stagedBytes, limits.stagedPackets);
    this.stamps = new TimestampClock(limits.timestampReserveMs, options.timestampFloor);
    this.rekeyAfterMessages = limits.rekeyAfterMessages;
    this.#jitter = this.randomWord() | 1;
  }

  // ---- clocks and randomness ----

  /** The time of the last call that told it. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Takes note of the time and returns it; time that goes back stands still instead. */
  advance(nowMs: number): number {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
    return this.#nowMs;
  }

  setWallClock(nowMs: number, unixMs: number): void {
    this.#unixOffsetMs = unixMs - nowMs;
  }

  unixMs(nowMs: number): number {
    return nowMs + this.#unixOffsetMs;
  }

  /** Jitter only spreads load: a small generator, seeded once, does it without asking the real one per packet. */
  jitterMs(): number {
    let x = this.#jitter;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#jitter = x;
    return (x >>> 0) % (MAX_JITTER_MS + 1);
  }

  /** 32 random bits. */
  randomWord(): number {
    const bytes = new Uint8Array(4);
    this.random(bytes);
    return readU32LE(bytes, 0);
  }

  /** A random index that names neither a session nor a handshake. */
  drawIndex(): number {
    return drawIndex(
      this.random,
      index => this.sessions.get(index) !== undefined || this.handshakes.get(index) !== undefined,
    );
  }

  // ---- peers in use ----

  /** How many peers are in use. */
  get activeCount(): number {
    return this.#activeCount;
  }

  /** The object of a peer in use. */
  active(id: number): Peer | undefined {
    return this.#active[id];
  }

  /** The object of a peer, made if it was idle. */
  activate(id: number): Peer {
    let peer = this.#active[id];
    if (peer === undefined) {
      peer = new Peer(id, this);
      while (this.#active.length <= id) this.#active.push(undefined);
      this.#active[id] = peer;
      this.#activeCount++;
    }
    return peer;
  }

  /** Makes a peer idle if it has nothing left to do. */
  releaseIfQuiet(peer: Peer): void {
    if (peer.isQuiet) this.release(peer);
  }

  /** Makes a peer idle and erases all of its keys. */
  release(peer: Peer): void {
    peer.close();
    this.stamps.retire(peer.lastTick);
    const at = peer.isQueued ? this.#queue.indexOf(peer) : -1;
    if (at >= 0) this.#queue[at] = undefined;
    this.#active[peer.id] = undefined;
    this.#activeCount--;
  }

  /** Moves the endpoint of a peer to where an authenticated, fresh packet came from. */
  roam(id: number, from: Endpoint): void {
    const { table } = this;
    if (!table.roams(id)) return; // CHECK: wg-roams-option
    if (sameEndpoint(table.endpoints[id], from)) return;
    table.endpoints[id] = from;
    this.emit({ type: 'endpoint', peer: id, endpoint: from });
  }

  // ---- outputs ----

  enqueue(peer: Peer): void {
    if (peer.isQueued) return;
    peer.isQueued = true;
    this.#queue.push(peer);
  }

  /** The peer that has been waiting longest to send; it stays in the queue until {@link dequeue}. */
  peekQueue(): Peer | undefined {
    const queue = this.#queue;
    while (this.#queueHead < queue.length && queue[this.#queueHead] === undefined) this.#queueHead++;
    return queue[this.#queueHead];
  }

  /** Takes away what {@link peekQueue} gave. */
  dequeue(): void {
    const queue = this.#queue;
    const peer = queue[this.#queueHead];
    if (peer !== undefined) peer.isQueued = false;
    queue[this.#queueHead++] = undefined;
    if (this.#queueHead * 2 < queue.length) return;
    queue.copyWithin(0, this.#queueHead);
    queue.length = Math.max(0, queue.length - this.#queueHead);
    this.#queueHead = 0;
  }

  emit(event: TunnelEvent): void {
    if (this.#events.length >= this.limits.events) this.#events.shift();
    this.#events.push(event);
  }

  /** Forgets the events of a peer that is removed: its id may soon be another's. */
  forgetEvents(id: number): void {
    const kept = this.#events.filter(event => event.type === 'timestamp' || event.peer !== id);
    if (kept.length < this.#events.length) this.#events.splice(0, this.#events.length, ...kept);
  }

  pollEvent(): TunnelEvent | undefined {
    const floor = this.stamps.takeFloor();
    return floor === undefined ? this.#events.shift() : { type: 'timestamp', floor };
  }

  countDrops(reason: DropReason, count: number): void {
    for (let i = 0; i < count; i++) this.drops.count(reason);
  }
}
