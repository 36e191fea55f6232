/**
 * Path discovery as a machine: finds and keeps a direct path to each peer in use, by pings to every address that it may
 * be at, and by telling it through its relay where we are. Until a path is trusted, relays carry what is sent, too.
 *
 * User traffic drives all of it: a peer without any for 45 s costs no packet and no timer. The wrapper says who sends,
 * the box proves it; only peers are answered. The same box key serves both directions, so what we sent can come back
 * with the sender exchanged: pings of our own are refused, or an eavesdropper could have us answer ourselves.
 * Left out: relays of peers (kinds 4 to 9 and Geneve), MTU probes, probes of how long a NAT keeps a path.
 */
import { type Endpoint, sameEndpoint } from '../base/address.ts';
import { type DropCounters, dropReason } from '../base/drop.ts';
import type { Slot } from '../base/slot.ts';
import { type Candidate, GONE, KNOCKED, NEVER } from './candidate.ts';
import { isReachable, plainEndpoint } from './endpoint.ts';
import { flatHex } from './flat-hex.ts';
import { Heartbeats } from './heartbeats.ts';
import {
  CONGESTED_MS,
  type DiscoLimits,
  expectLimits,
  KNOCK_INTERVAL_MS,
  PING_INTERVAL_MS,
  RECALL_MS,
  SESSION_ACTIVE_MS,
} from './limits.ts';
import { DISCO_KEY_BYTES, type DiscoMessage, type DiscoPing, pingNumber } from './message.ts';
import { type Arrival, Opener, senderOf } from './opener.ts';
import { type DiscoJob, Outbox } from './outbox.ts';
import { type DiscoPeer, NO_KEY } from './peer.ts';
import { expectKey, PeerSet } from './peer-set.ts';
import { takeOne } from './rate.ts';
import { Sealer } from './sealer.ts';
import { SentPings } from './sent-pings.ts';
import type { DiscoEvent, DiscoOptions, DiscoPeerConfig, DiscoStatus } from './types.ts';
import { Whereabouts } from './whereabouts.ts';

const UNKNOWN_TYPE = /* @__PURE__ */ dropReason('disco-unknown-type');
const UNKNOWN_PEER = /* @__PURE__ */ dropReason('disco-unknown-peer');
const REFLECTED = /* @__PURE__ */ dropReason('disco-reflected');
const DUPLICATE = /* @__PURE__ */ dropReason('disco-duplicate');
const UNEXPECTED_PONG = /* @__PURE__ */ dropReason('disco-unexpected-pong');
const NOT_RELAYED = /* @__PURE__ */ dropReason('disco-not-relayed');
const QUEUE_FULL = /* @__PURE__ */ dropReason('disco-queue-full');

/** The machine; see the top of the file. */
export class Disco {
  /** After {@link choosePath}: where to send by UDP. */
  direct: Endpoint | undefined = undefined;
  /** After {@link choosePath}: whether to send through a relay, also when {@link direct} is there. */
  isRelayed = true;
  /** After {@link pollTransmit} without `slot.to`: the node key (a view) and the region to send to. */
  relayPeer: Uint8Array | undefined = undefined;
  relayRegion = 0;
  readonly #limits: DiscoLimits;
  readonly #drops: DropCounters;
  readonly #peers: PeerSet;
  readonly #opener: Opener;
  readonly #sealer: Sealer;
  readonly #outbox: Outbox;
  readonly #sent = new SentPings();
  readonly #heartbeats = new Heartbeats();
  readonly #whereabouts = new Whereabouts();
  /** Peers whose best path is news; undefined for none. */
  #changed: Set<DiscoPeer> | undefined = undefined;
  readonly #pongs: DiscoEvent[] = [];
  #lastPing = 0;
  #nowMs: number;

  /** Throws RangeError for a node key that has not 32 bytes, or limits outside what is said of them. */
  constructor(options: DiscoOptions) {
    const { limits } = options;
    expectKey('nodeKey', options.nodeKey);
    expectLimits(limits);
    this.#nowMs = options.nowMs;
    this.#limits = limits;
    this.#drops = options.drops;
    this.#sealer = new Sealer(options);
    this.#peers = new PeerSet(options, this.#sealer.ownKeys);
    this.#opener = new Opener(options, this.#peers);
    this.#outbox = new Outbox(limits);
  }

  /** Our public disco key, 32 bytes. */
  get publicKey(): Uint8Array {
    return this.#sealer.publicKey;
  }

  /** Our node key is another one now: 32 bytes, copied. */
  setNodeKey(nodeKey: Uint8Array): void {
    expectKey('nodeKey', nodeKey);
    this.#sealer.ownKeys.set(nodeKey, DISCO_KEY_BYTES);
  }

  /** Where we are, as of now, also when nothing has changed. Peers that wait for it are told. */
  setOwnEndpoints(nowMs: number, endpoints: readonly Endpoint[]): void {
    this.#nowMs = nowMs;
    const { own } = this.#limits;
    const waiting = this.#whereabouts.set(nowMs, endpoints.length > own ? endpoints.slice(0, own) : endpoints);
    for (const peer of waiting) this.#push({ type: 'call', peer });
  }

  /** A peer is in use now. RangeError for an id that is taken, or keys that have not 32 bytes. */
  addPeer(nowMs: number, id: number, config: DiscoPeerConfig): void {
    this.#nowMs = nowMs;
    this.#peers.add(nowMs, id, config);
  }

  /** The netmap has news of a peer. A disco key that is really another one makes all that was measured void. */
  updatePeer(nowMs: number, id: number, changes: Partial<DiscoPeerConfig>): void {
    this.#nowMs = nowMs;
    const peer = this.#peers.expect(id);
    const { nodeKey, discoKey, region, endpoints } = changes;
    if (nodeKey !== undefined) expectKey('nodeKey', nodeKey);
    if (discoKey !== undefined) expectKey('discoKey', discoKey);
    const { best } = peer;
    if (nodeKey !== undefined) this.#peers.setNodeKey(peer, nodeKey);
    if (region !== undefined) peer.region = region;
    if ('discoKey' in changes) this.#changeKey(nowMs, peer, discoKey);
    if (endpoints !== undefined) peer.list(nowMs, endpoints, this.#limits);
    this.#noteBest(peer, best);
  }

  /** A peer is not in use any more: everything about it is forgotten. An unknown one is fine. */
  removePeer(nowMs: number, id: number): void {
    this.#nowMs = nowMs;
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.remove(peer);
    this.#heartbeats.stop(peer);
    this.#whereabouts.forget(peer);
    this.#changed?.delete(peer);
    this.#sent.removeAllOf(peer);
  }

  /** A disco message `buf[start, end)` came over UDP; it is not changed. 0, or why it was dropped (counted). */
  handleDatagram(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): number {
    const sender = senderOf(buf, start);
    return this.#handle(nowMs, buf, start, end, { sender, from: plainEndpoint(from), region: 0, source: undefined });
  }

  /** The same through the relay of `region`, from the owner of node key `source` (32 bytes, lent). */
  handleRelayed(
    nowMs: number,
    buf: Uint8Array,
    start: number,
    end: number,
    region: number,
    source: Uint8Array,
  ): number {
    return this.#handle(nowMs, buf, start, end, { sender: senderOf(buf, start), from: undefined, region, source });
  }

  /**
   * Call for every WireGuard datagram to a peer: writes {@link direct} and {@link isRelayed}. A path that is trusted is
   * taken alone, one that is not beside the relay. Notes the traffic, and sees to it that a path is looked for.
   */
  choosePath(nowMs: number, id: number): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) {
      this.direct = undefined;
      this.isRelayed = true;
      return;
    }
    this.#nowMs = nowMs;
    const isTrusted = peer.isTrusted(nowMs);
    if (!isTrusted) this.#round(nowMs, peer, true);
    if (peer.recalled !== undefined && nowMs > peer.recalled.untilMs) peer.recalled = undefined;
    this.direct = peer.best ?? peer.recalled;
    this.isRelayed = !isTrusted;
    this.#noteTraffic(nowMs, peer);
  }

  /**
   * The path that an earlier run of this device ended with: for {@link RECALL_MS}, or until a path is known, it is taken
   * beside the relay. RangeError for an unknown peer; what cannot be an endpoint is ignored.
   */
  recall(nowMs: number, id: number, endpoint: Endpoint): void {
    const peer = this.#peers.expect(id);
    if (!isReachable(endpoint)) return; // CHECK: disco-recall
    const { address, port } = plainEndpoint(endpoint);
    peer.recalled = { address, port, untilMs: nowMs + RECALL_MS };
  }

  /**
   * Call for every authentic WireGuard datagram from a peer, with where it came from; undefined for a relay. An address
   * that nobody has named is pinged with the others from now on.
   */
  noteReceived(nowMs: number, id: number, from: Endpoint | undefined): void {
    if (from === undefined) return;
    const peer = this.#peers.get(id);
    if (peer === undefined || peer.keyState === NO_KEY) return;
    if (sameEndpoint(from, peer.best) || sameEndpoint(from, peer.lastFrom)) return;
    const { best } = peer;
    const plain = plainEndpoint(from);
    const candidate = peer.hear(nowMs, plain, this.#limits);
    peer.lastFrom = plain === from ? candidate : from;
    this.#noteBest(peer, best);
  }

  /**
   * Pings a peer for its user: through its relay, and by its path or, without one that is trusted, all addresses.
   * Returns the number that `pong` events bear. RangeError for an unknown peer.
   */
  ping(nowMs: number, id: number): number {
    this.#nowMs = nowMs;
    const peer = this.#peers.expect(id);
    const ping = ++this.#lastPing;
    if (peer.keyState === NO_KEY) return ping;
    if (peer.region > 0) this.#pushPing(peer, undefined, ping);
    if (peer.isTrusted(nowMs)) this.#pushPing(peer, peer.best, ping);
    else for (const candidate of peer.candidates) this.#pushPing(peer, candidate, ping);
    this.#noteTraffic(nowMs, peer);
    return ping;
  }

  /**
   * We are elsewhere: an interface or address has changed, or the device has slept. What was measured is forgotten, own
   * addresses are to be found out again, and peers with traffic are pinged at once.
   */
  linkChanged(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#whereabouts.doubt();
    for (const peer of this.#peers.values()) {
      const { best } = peer;
      this.#sent.removeAllOf(peer);
      peer.forgetMeasured();
      this.#noteBest(peer, best);
    }
    for (const peer of this.#heartbeats.values())
      if (nowMs - peer.lastSendMs <= SESSION_ACTIVE_MS) this.#round(nowMs, peer, true);
  }

  /**
   * Relays can be reached again: calls may have been lost. Peers with traffic and without a trusted path are pinged and
   * called anew, the others are left alone.
   */
  callAgain(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const peer of this.#heartbeats.values()) {
      if (nowMs - peer.lastSendMs > SESSION_ACTIVE_MS || peer.isTrusted(nowMs)) continue;
      peer.calledMs = NEVER;
      this.#round(nowMs, peer, true);
    }
  }

  /** The node key of a peer: 32 bytes, lent until the next peer is added; undefined when there is no such peer. */
  nodeKeyOf(id: number): Uint8Array | undefined {
    return this.#peers.nodeKey(this.#peers.get(id));
  }

  /** A copy of the disco key of a peer; undefined when none is known yet, or there is no such peer. */
  discoKeyOf(id: number): Uint8Array | undefined {
    return this.#peers.discoKey(this.#peers.get(id))?.slice();
  }

  /** How a peer is reached, as of `nowMs` or else of the last call that had a time. RangeError for an unknown one. */
  status(id: number, nowMs: number = this.#nowMs): DiscoStatus {
    return this.#peers.expect(id).status(nowMs);
  }

  /**
   * Writes one message that is due into `slot` (reset first). With `slot.to` it goes over UDP, otherwise through a
   * relay: see {@link relayPeer}, {@link relayRegion}. False when there is none. The slot takes up to 656 bytes.
   */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    this.#nowMs = nowMs;
    for (let job = this.#outbox.shift(); job !== undefined; job = this.#outbox.shift()) {
      if (this.#peers.get(job.peer.id) !== job.peer) continue;
      slot.reset();
      if (this.#write(nowMs, slot, job)) return true;
      if (job.type === 'ping') job.peer.pings--;
    }
    return false;
  }

  /** Takes one event. */
  pollEvent(): DiscoEvent | undefined {
    if (this.#whereabouts.takeWanted()) return { type: 'endpoints-wanted' };
    for (const peer of this.#changed ?? []) {
      this.#changed!.delete(peer);
      const { id, best } = peer;
      return { type: 'path', id, endpoint: best?.endpoint, latencyMs: best?.latencyMs };
    }
    this.#changed = undefined;
    return this.#pongs.shift();
  }

  /** When to call {@link handleTimeout}: absolute ms, Infinity for never. */
  nextTimeout(): number {
    return Math.min(this.#heartbeats.nextMs, this.#sent.nextMs);
  }

  /** Time has passed: heartbeats, and pings that nobody answered. */
  handleTimeout(nowMs: number): void {
    this.#nowMs = nowMs;
    for (let ping = this.#sent.takeDue(nowMs); ping !== undefined; ping = this.#sent.takeDue(nowMs)) {
      const { peer, candidate } = ping;
      if (candidate === undefined) continue;
      peer.isSilent = true;
      if (candidate !== peer.best || peer.isTrusted(nowMs)) continue;
      peer.forgetBest();
      this.#noteBest(peer, candidate);
    }
    for (let peer = this.#heartbeats.takeDue(nowMs); peer !== undefined; peer = this.#heartbeats.takeDue(nowMs))
      this.#heartbeat(nowMs, peer);
  }

  // What comes in

  #handle(nowMs: number, buf: Uint8Array, start: number, end: number, arrival: Arrival): number {
    this.#nowMs = nowMs;
    const opened = this.#opener.open(nowMs, buf, start, end, arrival);
    const reason = typeof opened === 'number' ? opened : this.#dispatch(nowMs, opened, arrival);
    return reason < 0 ? this.#drops.count(reason) : 0;
  }

  #dispatch(nowMs: number, message: DiscoMessage, arrival: Arrival): number {
    switch (message.type) {
      case 'ping':
        return this.#handlePing(nowMs, message, arrival);
      case 'pong':
        return this.#handlePong(nowMs, message.id, arrival);
      case 'call':
        return this.#handleCall(nowMs, message.endpoints, arrival);
      default:
        return UNKNOWN_TYPE;
    }
  }

  #handlePing(nowMs: number, { id, nodeKey }: DiscoPing, { sender, from, region, source }: Arrival): number {
    if (this.#sent.get(flatHex(id)) !== undefined) return REFLECTED; // CHECK: disco-reflected-id
    if (nodeKey !== undefined && this.#sealer.isOwnNode(nodeKey)) return REFLECTED; // CHECK: disco-reflected-key
    const peers = this.#peers;
    const peer = source === undefined ? peers.ofPing(nowMs, sender, nodeKey) : peers.withKeys(nowMs, sender, source);
    if (peer === undefined) return UNKNOWN_PEER; // CHECK: disco-ping-peer
    if (from !== undefined) {
      const number = pingNumber(id);
      if (peer.find(from)?.lastPing === number) return DUPLICATE; // CHECK: disco-duplicate
      const { best } = peer;
      peer.knock(nowMs, from, number, this.#limits);
      this.#noteBest(peer, best);
    }
    return this.#outbox.push({ type: 'pong', peer, id, to: from, region }) ? 0 : QUEUE_FULL;
  }

  #handlePong(nowMs: number, id: Uint8Array, arrival: Arrival): number {
    const sent = this.#sent.get(flatHex(id));
    if (sent === undefined) return UNEXPECTED_PONG;
    const { peer, candidate, ping, region } = sent;
    if (!this.#peers.isKeyOf(peer, arrival.sender)) return UNEXPECTED_PONG; // CHECK: disco-pong-key
    const isRelayed = candidate === undefined;
    if (isRelayed !== (arrival.from === undefined)) return UNEXPECTED_PONG; // CHECK: disco-pong-path
    this.#sent.remove(sent);
    const latencyMs = nowMs - sent.atMs;
    if (candidate !== undefined && !candidate.is(GONE)) {
      const { best } = peer;
      peer.answer(nowMs, candidate, latencyMs);
      this.#noteBest(peer, best);
    }
    if (ping > 0) this.#notePong({ type: 'pong', id: peer.id, ping, endpoint: candidate?.endpoint, region, latencyMs });
    return 0;
  }

  #handleCall(nowMs: number, endpoints: readonly Endpoint[], { sender, source }: Arrival): number {
    if (source === undefined) return NOT_RELAYED; // CHECK: disco-call-relayed
    const peer = this.#peers.withKeys(nowMs, sender, source);
    if (peer === undefined) return UNKNOWN_PEER; // CHECK: disco-call-peer
    const { best } = peer;
    peer.call(nowMs, endpoints.map(plainEndpoint), this.#limits);
    this.#noteBest(peer, best);
    // No call in answer to a call, or two peers would call each other for ever.
    this.#round(nowMs, peer, false);
    return 0;
  }

  // What goes out

  /** Pings all addresses that are due; if there was one and `mayCall`, tells the peer where we are. */
  #round(nowMs: number, peer: DiscoPeer, mayCall: boolean): void {
    if (peer.keyState === NO_KEY) return;
    peer.lastRoundMs = nowMs;
    const hasPinged = nowMs >= peer.quietUntilMs && this.#pingDue(nowMs, peer);
    // Pings that a call of the peer brought about are told of by the next traffic of our own: it may know us at another
    // address. Not with every packet, or two that cannot reach each other would call all the time.
    const owesCall = peer.pingedMs > peer.calledMs && nowMs - peer.calledMs >= PING_INTERVAL_MS;
    if (!mayCall || peer.region === 0 || !(hasPinged || owesCall)) return;
    peer.calledMs = nowMs;
    if (this.#whereabouts.isFresh(nowMs)) this.#push({ type: 'call', peer });
    else this.#whereabouts.await(nowMs, peer);
  }

  /** Pings the addresses whose turn it is. Whether there was one that has not knocked: that one needs no call. */
  #pingDue(nowMs: number, peer: DiscoPeer): boolean {
    const { best } = peer;
    peer.prune(nowMs, this.#limits);
    this.#noteBest(peer, best);
    let quietUntilMs = Number.POSITIVE_INFINITY;
    let hasPinged = false;
    for (const candidate of peer.candidates) {
      const { pingedMs } = candidate;
      const hasKnocked = candidate.is(KNOCKED);
      let nextMs = pingedMs + (hasKnocked ? KNOCK_INTERVAL_MS : PING_INTERVAL_MS);
      if (nextMs <= nowMs) {
        const isSent = this.#explore(nowMs, peer, candidate);
        nextMs = nowMs + (isSent ? PING_INTERVAL_MS : CONGESTED_MS);
        if (isSent && !hasKnocked) peer.pingedMs = nowMs;
        hasPinged ||= isSent && nowMs - pingedMs >= PING_INTERVAL_MS;
      }
      quietUntilMs = Math.min(quietUntilMs, nextMs);
    }
    peer.quietUntilMs = quietUntilMs;
    return hasPinged;
  }

  /** Pings an address to see whether the peer is there. */
  #explore(nowMs: number, peer: DiscoPeer, candidate: Candidate): boolean {
    const { pingBurst, pingsPerSecond } = this.#limits;
    const freshMs = takeOne(peer.pingFreshMs, nowMs, pingBurst, pingsPerSecond);
    if (freshMs === undefined) return false; // CHECK: disco-ping-rate
    peer.pingFreshMs = freshMs;
    if (!this.#pushPing(peer, candidate, 0)) return false;
    candidate.pingedMs = nowMs;
    candidate.marks &= ~KNOCKED;
    return true;
  }

  #heartbeat(nowMs: number, peer: DiscoPeer): void {
    if (nowMs - peer.lastSendMs > SESSION_ACTIVE_MS) return;
    const { best } = peer;
    if (best !== undefined && this.#pushPing(peer, best, 0)) best.pingedMs = nowMs;
    if (peer.wantsRound(nowMs)) this.#round(nowMs, peer, true);
    this.#heartbeats.start(nowMs, peer);
  }

  #noteTraffic(nowMs: number, peer: DiscoPeer): void {
    peer.lastSendMs = nowMs;
    if (peer.keyState !== NO_KEY) this.#heartbeats.start(nowMs, peer);
  }

  #pushPing(peer: DiscoPeer, candidate: Candidate | undefined, ping: number): boolean {
    if (peer.pings >= this.#limits.pings) return false; // CHECK: disco-ping-limit
    if (!this.#push({ type: 'ping', peer, candidate, region: candidate === undefined ? peer.region : 0, ping }))
      return false;
    peer.pings++;
    return true;
  }

  #push(job: DiscoJob): boolean {
    const isQueued = this.#outbox.push(job);
    if (!isQueued) this.#drops.count(QUEUE_FULL);
    return isQueued;
  }

  /** Writes a message that waits; false when it is not wanted any more. */
  #write(nowMs: number, slot: Slot, job: DiscoJob): boolean {
    const { peer } = job;
    const boxKey = this.#peers.boxKey(peer);
    if (boxKey === undefined) return false;
    this.relayRegion = job.type === 'call' ? peer.region : job.region;
    if (job.type === 'ping') {
      const { candidate, region, ping } = job;
      if (candidate?.is(GONE) === true) return false;
      const id = this.#sealer.ping(slot, boxKey);
      slot.to = candidate;
      this.#sent.add({ id, peer, candidate, region, ping, atMs: nowMs });
    } else if (job.type === 'pong') {
      this.#sealer.pong(slot, boxKey, job.id, job.to, job.region);
      slot.to = job.to;
    } else {
      if (peer.region === 0) return false;
      this.#sealer.call(slot, boxKey, this.#whereabouts.endpoints);
    }
    this.relayPeer = slot.to === undefined ? this.#peers.nodeKey(peer) : undefined;
    return true;
  }

  // Peers and events

  #changeKey(nowMs: number, peer: DiscoPeer, discoKey: Uint8Array | undefined): void {
    const hadKey = peer.keyState !== NO_KEY;
    if (discoKey === undefined ? !hadKey : this.#peers.isKeyOf(peer, discoKey)) return;
    this.#peers.setDiscoKey(peer, discoKey);
    if (!hadKey) return; // nothing was measured, and what it sends and is known to be at stays true
    this.#sent.removeAllOf(peer);
    this.#whereabouts.forget(peer);
    this.#heartbeats.stop(peer);
    peer.restart(nowMs, this.#limits);
  }

  #noteBest(peer: DiscoPeer, before: Candidate | undefined): void {
    if (peer.best === before) return;
    this.#changed ??= new Set();
    this.#changed.add(peer);
  }

  #notePong(event: DiscoEvent): void {
    this.#pongs.push(event);
    if (this.#pongs.length > this.#limits.pongEvents) this.#pongs.shift(); // CHECK: disco-pong-events
  }
}
