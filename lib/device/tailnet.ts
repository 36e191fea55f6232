/**
 * Membership in a tailnet, as a machine beside the tunnel: the control client keeps the netmap, relay links carry
 * sealed datagrams, the gate judges what comes in, and names resolve.
 *
 * The device asks it about every inner packet, and about the path of every sealed datagram. Peers are in the tunnel only
 * while they are in use. Left out: routes behind peers, exit nodes.
 */
import type { Endpoint, Prefix } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';
import { DropCounters, dropReason } from '../base/drop.ts';
import type { ErrorCode, NetError } from '../base/errors.ts';
import type { Slot } from '../base/slot.ts';
import { ControlClient } from '../control/client.ts';
import type { ControlState } from '../control/client-types.ts';
import type { WireHostinfo, WireUserProfile } from '../control/message.ts';
import type { Netmap, NetmapChanges } from '../control/netmap.ts';
import type { NetmapPeer } from '../control/peer-record.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { looksLikeDisco } from '../disco/message.ts';
import type { DiscoOwner } from '../disco/types.ts';
import { type CoordinatorAddress, CoordinatorLink, type LinkEvent } from './coordinator-link.ts';
import { RelayLinks, type RelayStatus } from './relay-links.ts';
import type { TcpConnection } from '../netstack/tcp.ts';
import type { Packet } from '../packet/classify.ts';
import { Streams } from './streams.ts';
import type { SavedSession } from '../wireguard/types.ts';
import { TailnetGate } from './tailnet-gate.ts';
import { TAILNET_LIMITS } from './tailnet-limits.ts';
import { TailnetNames } from './tailnet-names.ts';
import { type PathEvent, TailnetPaths } from './tailnet-paths.ts';
import { TailnetPeers, type TunnelOwner } from './tailnet-peers.ts';
import { Resume } from './tailnet-resume.ts';
import type { TailnetSnapshot } from './tailnet-snapshot.ts';

export type { ControlState } from '../control/client-types.ts';
export type { CoordinatorAddress } from './coordinator-link.ts';
export type { NetcheckReport } from '../netcheck/limits.ts';
export type { RelayStatus } from './relay-links.ts';

/** What a member of a tailnet is made of. */
export interface TailnetOptions {
  readonly nowMs: number;
  readonly unixMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly preset: 'small' | 'large';
  readonly coordinator: CoordinatorAddress;
  /** Both durable before they come here. */
  readonly machineKey: SecretKey;
  readonly nodeKey: SecretKey;
  /** A durable node key of which it is not known whether the coordinator has accepted it. */
  readonly nextNodeKey?: SecretKey;
  /** Key of this run, never stored: peers know this process by its public half. */
  readonly discoKey: SecretKey;
  readonly hostinfo: WireHostinfo;
  readonly authKey?: string;
  readonly isEphemeral?: boolean;
  /** What an earlier run has left; its disco key is `discoKey` then. */
  readonly snapshot?: TailnetSnapshot;
  /** Sessions can be taken over by a later run, and were by an earlier one: `takeSessions` of the tunnel. */
  readonly keepsSessions?: boolean;
  readonly sessions?: readonly SavedSession[];
}

/** Something that the application or the operator may want to know, or must act on. */
export type TailnetEvent =
  | Exclude<LinkEvent, { type: 'netmap' | 'node-key-adopted' }>
  /** The netmap has changed, and what follows from it is done. */
  | { readonly type: 'netmap'; readonly changes: NetmapChanges }
  /** The node key is another one: the device changes its tunnel. */
  | { readonly type: 'key-changed'; readonly nodeKey: SecretKey }
  /** This region is home now; 0: none. */
  | { readonly type: 'home'; readonly region: number }
  | { readonly type: 'relay-error'; readonly region: number; readonly error: NetError; readonly retryInMs: number }
  /** A peer's path, an answer to a ping, a look at the network. */
  | Exclude<PathEvent, { type: 'endpoints' | 'endpoints-wanted' }>;

/** Who has an address. */
export interface Whois {
  readonly peer: NetmapPeer;
  readonly user: WireUserProfile | undefined;
  /** Application capabilities that the policy gives the peer here, by name. */
  readonly capabilities: readonly string[];
}

const NO_RELAY = /* @__PURE__ */ dropReason('derp-no-relay');

/** One member of one tailnet. */
export class Tailnet implements DiscoOwner {
  readonly drops = new DropCounters();
  readonly streams = new Streams();
  readonly client: ControlClient;
  readonly #limits: (typeof TAILNET_LIMITS)['small' | 'large'];
  readonly #owner: TunnelOwner;
  readonly #suite: CryptoSuite;
  readonly #random: (out: Uint8Array) => void;
  readonly #link: CoordinatorLink;
  readonly paths: TailnetPaths;
  readonly #peers: TailnetPeers;
  readonly #gate: TailnetGate;
  readonly #names: TailnetNames;
  /** What an earlier run has left. */
  readonly resume: Resume;
  readonly #discoKey: SecretKey;
  #relays: RelayLinks;
  readonly #events: TailnetEvent[] = [];
  #pendingKey: SecretKey | undefined;
  #interfaces: readonly string[] | undefined;
  #unixOffsetMs: number;

  /** `owner` is the device that this is a part of. */
  constructor(options: TailnetOptions, owner: TunnelOwner) {
    const { nowMs, unixMs, random, suite, preset, coordinator, nodeKey } = options;
    const limits = TAILNET_LIMITS[preset];
    this.#owner = owner;
    this.#suite = suite;
    this.#random = random;
    this.#limits = limits;
    this.#unixOffsetMs = unixMs - nowMs;
    this.resume = new Resume(options.snapshot);
    this.#discoKey = options.discoKey;
    this.client = new ControlClient({
      ...this.resume.clientOptions(unixMs),
      nowMs,
      unixMs,
      random,
      suite,
      machineKey: options.machineKey,
      nodeKey,
      discoKey: publicKeyOf(suite, options.discoKey),
      authority: coordinator.authority,
      path: `${coordinator.path}/ts2021`,
      hostinfo: options.hostinfo,
      limits: preset,
      ...(options.nextNodeKey === undefined ? {} : { nextNodeKey: options.nextNodeKey }),
      ...(options.authKey === undefined ? {} : { authKey: options.authKey }),
      ...(options.isEphemeral === undefined ? {} : { isEphemeral: options.isEphemeral }),
    });
    this.#link = new CoordinatorLink(this.client, this.streams, coordinator, this);
    const own = { discoKey: options.discoKey, nodeKey: publicKeyOf(suite, nodeKey), owner: this };
    const kept = { drops: this.drops, recalled: this.resume.paths };
    this.paths = new TailnetPaths({ nowMs, random, suite, preset, ...own, ...kept });
    this.#peers = new TailnetPeers(this.client.netmap, this.paths, limits.peers, options.sessions);
    this.#names = new TailnetNames(this.client.netmap, limits.names, limits.indexesNames);
    this.#gate = new TailnetGate(limits.filter, this.drops);
    this.#relays = this.#createRelays(nodeKey);
    this.#pendingKey = options.nextNodeKey;
  }

  /** Bytes of a stream that are handled in one go, before packets are taken. */
  get chunkBytes(): number {
    return this.#limits.chunkBytes;
  }

  /** What is known of the tailnet. */
  get netmap(): Netmap {
    return this.client.netmap;
  }

  /** Where joining stands. */
  get state(): ControlState {
    return this.client.state;
  }

  /** The own addresses, empty before the first netmap. */
  get addresses(): readonly Prefix[] {
    return this.netmap.self?.addresses ?? [];
  }

  /** Tells the wall clock. */
  setWallClock(nowMs: number, unixMs: number): void {
    this.#unixOffsetMs = unixMs - nowMs;
  }

  /** The wall clock: ms since 1970. */
  unixMs(nowMs: number): number {
    return nowMs + this.#unixOffsetMs;
  }

  // ---- for the application ----

  /** Addresses of a name of the tailnet (short or full), best first; undefined when there is no such name. */
  resolve(name: string): readonly Uint8Array[] | undefined {
    return this.#names.resolve(name);
  }

  /** Answers a query to the tailnet's resolver; the length of the answer in `out`, 0 for none. */
  answerQuery(query: Uint8Array, start: number, end: number, out: Uint8Array): number {
    return this.#names.answer(query, start, end, out);
  }

  /** The device that has an address, or undefined. */
  whois(address: Uint8Array): Whois | undefined {
    const found = this.#find(address);
    if (found === undefined) return undefined;
    const own = this.addresses.find(({ bytes }) => bytes.length === address.length);
    const capabilities = own === undefined ? [] : this.#gate.filter.capabilities(address, own.bytes);
    return { ...found, capabilities };
  }

  /** A new node key from a `node-key` event is durable now. */
  adoptNodeKey(nowMs: number, key: SecretKey): void {
    this.#pendingKey = key;
    this.client.adoptNodeKey(nowMs, key);
  }

  /** Links to relays. */
  relays(): readonly RelayStatus[] {
    return this.#relays.status();
  }

  /** The home relay's region; 0: none yet. */
  get homeRegion(): number {
    return this.#relays.home;
  }

  /** The id in the tunnel of a peer of the netmap that is in use. */
  tunnelPeer(netmapId: number): number | undefined {
    return this.#peers.tunnelId(netmapId);
  }

  /** The node key of a peer of the tunnel; undefined when it has left. */
  peerKey(tunnelId: number): Uint8Array | undefined {
    return this.paths.disco.nodeKeyOf(tunnelId)?.slice();
  }

  /** Pings a peer on all paths; the answers are `pong` events with the returned number. Undefined: no such address. */
  ping(nowMs: number, address: Uint8Array): number | undefined {
    this.resolveAddress(nowMs, address);
    const peer = this.#owner.tunnel.peerOf(address);
    return peer === undefined ? undefined : this.paths.disco.ping(nowMs, peer);
  }

  /** Addresses of this machine and the port of its UDP socket. */
  setInterfaces(nowMs: number, addresses: readonly string[], port: number): void {
    const before = this.#interfaces;
    this.#interfaces = addresses;
    if (!this.paths.setInterfaces(nowMs, addresses, port) || before === undefined) return;
    this.linkChanged(nowMs);
    // Connections from an address that is lost are dead, and nobody will say so.
    if (!before.some(address => !addresses.includes(address))) return;
    this.#relays.reconnect(nowMs);
    this.#link.reconnect(nowMs);
  }

  /** The network under the device is another one, or time was lost in sleep. */
  linkChanged(nowMs: number): void {
    this.paths.linkChanged(nowMs);
    this.#relays.check(nowMs);
  }

  /** Whether this is a member by what an earlier run has left, until the coordinator is heard. */
  get isGoingOn(): boolean {
    return this.resume.isGoingOn(this.client);
  }

  /** What the next run needs to go on, in at most `maxBytes`; `port` is that of the UDP socket. Undefined: nothing. */
  snapshot(port: number, maxBytes: number): Uint8Array | undefined {
    const [control, client, discoKey, peers] = [this.#link.control, this.client, this.#discoKey, this.#peers];
    const [{ disco }, { homeRegion }] = [this.paths, this];
    return this.resume.write({ control, client, discoKey, peers, disco, homeRegion, port }, maxBytes);
  }

  /** Leaves for now: streams end, the membership stays. */
  close(nowMs: number): void {
    this.#peers.forget(nowMs, this.#owner.tunnel);
    this.client.stop(nowMs);
    this.#link.close();
    this.#relays.stop();
  }

  // ---- for the device ----

  /** Whether the peer with this key joined the tunnel just now. */
  resolveKey(nowMs: number, key: Uint8Array): boolean {
    return this.#peers.resolveKey(nowMs, this.unixMs(nowMs), this.#owner, key);
  }

  /** Whether the peer with this address joined the tunnel just now. */
  resolveAddress(nowMs: number, address: Uint8Array): boolean {
    return this.#peers.resolveAddress(nowMs, this.unixMs(nowMs), this.#owner, address);
  }

  /**
   * Judges an inner packet from a peer of the tunnel: 0 to let it in, 1 when it is settled, else a counted reason.
   * `packet` is scratch memory.
   */
  handleInbound(nowMs: number, packet: Packet, buf: Uint8Array, start: number, end: number, peer: number): number {
    return this.#gate.handleInbound(nowMs, packet, buf, start, end, this.#peers.get(peer)?.isJailed ?? true);
  }

  /** Takes note of an inner packet on its way to a peer of the tunnel: 0, or a counted reason why it may not leave. */
  handleOutbound(nowMs: number, packet: Packet, buf: Uint8Array, start: number, end: number, peer: number): number {
    return this.#gate.handleOutbound(nowMs, packet, buf, start, end, this.#peers.get(peer)?.isJailed ?? true);
  }

  /** Why a connection with another device may not go on; undefined: it may. */
  objectionTo(connection: TcpConnection): ErrorCode | undefined {
    return this.#gate.objectionTo(connection, this.#find(connection.path.remote)?.peer);
  }

  /** Writes an inner packet of its own into the slot; false when there is none. */
  pollInner(slot: Slot): boolean {
    return this.#gate.pollTransmit(slot);
  }

  /**
   * Decides how a sealed datagram goes to a peer of the tunnel: what goes through a relay is sent here. The endpoint that
   * it has to be sent to directly, or undefined.
   */
  route(nowMs: number, peer: number, buf: Uint8Array, start: number, end: number): Endpoint | undefined {
    const { disco } = this.paths;
    this.paths.choosePath(nowMs, peer);
    if (disco.isRelayed) this.sendTo(nowMs, peer, buf, start, end);
    return disco.direct;
  }

  /** Sends a sealed datagram to a peer of the tunnel through its relay. 0, or a counted reason. */
  sendTo(nowMs: number, peer: number, buf: Uint8Array, start: number, end: number): number {
    const inUse = this.#peers.get(peer);
    const key = this.paths.disco.nodeKeyOf(peer);
    return inUse === undefined || key === undefined
      ? this.drops.count(NO_RELAY)
      : this.sendVia(nowMs, inUse.region || inUse.heardRegion, key, buf, start, end);
  }

  /** Sends a sealed datagram to a node key through a region; a peer without a home is tried at ours. */
  sendVia(nowMs: number, region: number, key: Uint8Array, buf: Uint8Array, start: number, end: number): number {
    const isSent = this.#relays.send(nowMs, region, key, buf, start, end);
    return isSent ? 0 : this.drops.count(NO_RELAY);
  }

  /** The next packet from a relay, as `DerpClient.pollPacket` leaves it; undefined for none. */
  pollPacket(nowMs: number): ReturnType<RelayLinks['pollPacket']> {
    return this.#relays.pollPacket(nowMs);
  }

  /** A good datagram of a peer of the tunnel came from here; undefined: through the relay that was polled last. */
  noteHeard(nowMs: number, peer: number, from: Endpoint | undefined): void {
    const inUse = this.#peers.get(peer);
    if (inUse === undefined) return;
    if (from === undefined) inUse.heardRegion = this.#relays.polledRegion;
    this.paths.disco.noteReceived(nowMs, peer, from);
  }

  /** A packet came from the relay polled last. */
  noteRelayHeard(nowMs: number): void {
    this.paths.noteRelayHeard(nowMs, this.#relays.polledRegion);
  }

  /** Takes a disco packet that came through the relay polled last; false when it is something else. */
  handleRelayed(nowMs: number, buf: Uint8Array, start: number, end: number, source: Uint8Array): boolean {
    if (!looksLikeDisco(buf, start, end)) return false;
    this.paths.disco.handleRelayed(nowMs, buf, start, end, this.#relays.polledRegion, source);
    return true;
  }

  /** Writes a datagram of its own that goes out by UDP; what goes through relays is sent here. False: none. */
  pollDatagram(nowMs: number, slot: Slot): boolean {
    const { paths } = this;
    while (paths.pollTransmit(nowMs, slot)) {
      if (slot.to !== undefined) return true;
      const { relayRegion, relayPeer } = paths.disco;
      if (relayPeer !== undefined) this.sendVia(nowMs, relayRegion, relayPeer, slot.buf, slot.start, slot.end);
    }
    return false;
  }

  /** The next event, or undefined. */
  pollEvent(nowMs: number): TailnetEvent | undefined {
    for (let event = this.#link.pollEvent(nowMs); event !== undefined; event = this.#link.pollEvent(nowMs))
      this.#handleNews(nowMs, event);
    for (let event = this.#relays.pollEvent(nowMs); event !== undefined; event = this.#relays.pollEvent(nowMs)) {
      if (event.type === 'relay-connected') {
        this.paths.disco.callAgain(nowMs);
        continue;
      }
      if (event.type === 'home') this.client.setHomeRegion(nowMs, event.region);
      else this.#noteRelayError(nowMs, event.region);
      this.#events.push(event);
    }
    for (let event = this.paths.pollEvent(nowMs); event !== undefined; event = this.paths.pollEvent(nowMs))
      this.#handlePath(nowMs, event);
    return this.#events.shift();
  }

  /** When {@link handleTimeout} wants to be called. */
  nextTimeout(): number {
    const expiryMs = this.#peers.nextExpiryUnixMs() - this.#unixOffsetMs;
    const peersMs = Math.min(expiryMs, this.#peers.nextKeylessMs());
    return Math.min(this.#link.nextTimeout(), this.#relays.nextTimeout(), this.paths.nextTimeout(), peersMs);
  }

  /** Lets due timers act. */
  handleTimeout(nowMs: number): void {
    this.#link.handleTimeout(nowMs);
    this.#relays.handleTimeout(nowMs);
    this.paths.handleTimeout(nowMs);
    this.#peers.expire(nowMs, this.unixMs(nowMs), this.#owner);
    if (this.#peers.takeKeyless(nowMs)) this.client.restartMap(nowMs);
  }

  /** Whether the netmap has a peer with this disco key. */
  knowsPeer(discoKey: Uint8Array): boolean {
    return this.netmap.peers.hasAnyDiscoKey(discoKey);
  }

  /** The id in the tunnel of the peer with this disco key, and this node key; it joins the tunnel if need be. */
  resolvePeer(nowMs: number, discoKey: Uint8Array, key: Uint8Array | undefined): number | undefined {
    return this.#peers.resolveDisco(nowMs, this.unixMs(nowMs), this.#owner, discoKey, key);
  }

  // ---- inside ----

  #createRelays(privateKey: SecretKey): RelayLinks {
    const { derp, links } = this.#limits;
    const [random, suite, streams] = [this.#random, this.#suite, this.streams];
    return new RelayLinks({ random, suite, privateKey, limits: derp, streams, maxLinks: links });
  }

  /** By the tunnel for a peer in use, which is quick; else by looking at every peer. */
  #find(address: Uint8Array): ReturnType<Netmap['whois']> {
    const inUse = this.#peers.get(this.#owner.tunnel.peerOf(address) ?? -1);
    if (inUse === undefined) return this.netmap.whois(address);
    const slot = this.netmap.peers.find(inUse.netmapId);
    if (slot < 0) return undefined;
    const peer = this.netmap.peers.peerAt(slot);
    return { peer, user: this.netmap.users.get(peer.user) };
  }

  #handleNews(nowMs: number, event: LinkEvent): void {
    if (event.type === 'netmap') this.#handleNetmap(nowMs, event.changes);
    else if (event.type === 'node-key-adopted') return this.#changeKey(nowMs, event.publicKey);
    else if (event.type === 'logged-out') this.#relays.stop();
    // Relays admit members only: one that has refused this device until now is tried again at once.
    else if (event.type === 'state' && event.state === 'running') this.#relays.check(nowMs);
    this.#events.push(event);
  }

  /** What broke the connection may have been the network: where are we now? And a relay that fails is not near. */
  #noteRelayError(nowMs: number, region: number): void {
    if (!this.#relays.isTrying(region)) this.paths.noteRelayFailed(nowMs, region);
    if (this.paths.isActive(nowMs)) this.paths.check(nowMs);
  }

  #handlePath(nowMs: number, event: PathEvent): void {
    if (event.type === 'endpoints') return this.client.setEndpoints(nowMs, event.endpoints);
    if (event.type === 'endpoints-wanted') return;
    if (event.type === 'report' && event.report.preferredRegion !== 0)
      this.#relays.prefer(nowMs, event.report.preferredRegion);
    this.#events.push(event);
  }

  #handleNetmap(nowMs: number, changes: NetmapChanges): void {
    const { netmap } = this;
    this.resume.noteNetmap(this.client, this.unixMs(nowMs));
    if (changes.filter || changes.self) this.#gate.setRules(netmap.filterRules, this.addresses);
    if (changes.regions) {
      this.#relays.setRegions(nowMs, netmap.regions);
      this.paths.setRegions(nowMs, netmap.regions);
      if (this.isGoingOn) this.#relays.prefer(nowMs, this.resume.homeRegion);
    }
    this.#peers.handleChanges(nowMs, this.unixMs(nowMs), this.#owner, changes);
    this.#names.handleChanges(changes);
  }

  /** Peers know us by another key from now on: tunnel and relays begin anew with it. */
  #changeKey(nowMs: number, publicKey: Uint8Array): void {
    const key = this.#pendingKey;
    this.#pendingKey = undefined;
    if (key === undefined) return;
    if (!equalBytes(publicKeyOf(this.#suite, key), publicKey)) return;
    this.#peers.forget(nowMs, this.#owner.tunnel);
    this.paths.disco.setNodeKey(publicKey);
    this.#relays.stop();
    this.#relays = this.#createRelays(key);
    this.#relays.setRegions(nowMs, this.netmap.regions);
    this.#events.push({ type: 'key-changed', nodeKey: key });
  }
}

/** The public half of a key: 32 bytes. */
export function publicKeyOf(suite: CryptoSuite, key: SecretKey): Uint8Array {
  const out = new Uint8Array(32);
  suite.publicKey(out, key.bytes);
  return out;
}
