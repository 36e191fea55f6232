/**
 * One member of the network as a machine: WireGuard below, IP and TCP above (design: "The shape").
 *
 * No I/O, no clock, no randomness of its own. The order for whoever drives it, after each batch of input: drain
 * `pollEvent`, then `pollTransmit` until it is empty, saving what `pollSave` gives before the datagram in hand is
 * sent, then arm one timer for `nextTimeout`.
 * Data goes one way down and one way up: a segment is written into the slot, sealed in place and handed out; a
 * datagram is opened in place and read by the stack. Nothing is copied between.
 *
 * With a {@link Tailnet} beside it the tunnel's peers come out of the netmap, their paths are direct or through relays,
 * and what comes in passes the packet filter.
 */
import type { Endpoint } from '../base/address.ts';
import { formatAddress, parseAddress, parseDecimal } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';
import { DropCounters, type DropName, dropReason } from '../base/drop.ts';
import { HEADROOM_BYTES, Slot, TAILROOM_BYTES } from '../base/slot.ts';
import type { NetmapChanges } from '../control/netmap.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { isHostAddress } from '../netstack/addresses.ts';
import type { PacketRoutes } from '../netstack/stack-context.ts';
import type { PeerResolver } from '../wireguard/types.ts';
import type { FragmentStore } from '../netstack/reassembly.ts';
import {
  STACK_LIMITS_LARGE,
  STACK_LIMITS_SMALL,
  Stack,
  type StackEvent,
  type StackOptions,
} from '../netstack/stack.ts';
import { type UdpSocket, udpDatagram } from '../netstack/udp.ts';
import { MAX_UDP_BYTES } from '../dns/answer.ts';
import { EarlyHandshakes } from './early-handshakes.ts';
import type { Tailnet, TailnetEvent, TailnetOptions } from './tailnet.ts';
import type { TunnelOwner } from './tailnet-peers.ts';
import { TYPE_DATA } from '../wireguard/message.ts';
import { TUNNEL_LIMITS_LARGE, TUNNEL_LIMITS_SMALL, Tunnel, type TunnelEvent } from '../wireguard/tunnel.ts';

/** Sizes for a microcontroller or for a server; every limit behind them has a name in its own layer. */
export type Preset = 'small' | 'large';

/** An address of this device inside the tunnel, host bits kept: `10.0.0.2/24`. */
export interface InterfaceAddress {
  /** 4 or 16. */
  readonly bytes: Uint8Array;
  /** Prefix length. */
  readonly bits: number;
}

/** Parts that a small build leaves out: see parts.ts, which names them all. */
export interface DeviceParts {
  /** Without it fragments are dropped. */
  readonly createReassembly?: (preset: Preset) => FragmentStore;
  /** Without it TCP has no selective acknowledgments. */
  readonly createSack?: NonNullable<StackOptions['createSack']>;
  /** Without it a device has the peers that it was given, and joins nothing. */
  readonly createTailnet?: (options: TailnetOptions, owner: TunnelOwner) => Tailnet;
}

/** What a device that joins a tailnet says of itself, beside what it has anyway. */
export type DeviceTailnetOptions = Omit<TailnetOptions, 'nowMs' | 'unixMs' | 'random' | 'suite' | 'preset' | 'nodeKey'>;

/** What {@link Device} is made of. */
export interface DeviceOptions {
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  /** Milliseconds since 1970; may be wrong. */
  readonly unixMs: number;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly privateKey: SecretKey;
  readonly addresses: readonly InterfaceAddress[];
  /** Largest inner packet in bytes, 576 (1280 with IPv6) to 65,535. */
  readonly mtu: number;
  readonly preset: Preset;
  /** The TAI64N floor that an earlier run saved (12 bytes). */
  readonly timestampFloor?: Uint8Array;
  /** Parts that a small build leaves out; none unless given. */
  readonly parts?: DeviceParts;
  /** Joins a tailnet, with `privateKey` as node key; needs the part. */
  readonly tailnet?: DeviceTailnetOptions;
}

/** Something that the application or the operator may want to know. */
export type DeviceEvent =
  | StackEvent
  | Exclude<TunnelEvent, { type: 'timestamp' }>
  | { readonly type: 'tailnet'; readonly event: TailnetEvent };

const NO_ROUTE = /* @__PURE__ */ dropReason('wg-no-route');
const UNKNOWN_PEER = /* @__PURE__ */ dropReason('wg-unknown-peer');
const NO_ENDPOINT = /* @__PURE__ */ dropReason('wg-no-endpoint');

/** The tailnet's resolver, as every member has it: 100.100.100.100 and fd7a:115c:a1e0::53. */
const RESOLVERS = /* @__PURE__ */ Object.freeze([
  Object.freeze([100, 100, 100, 100]),
  Object.freeze([0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53]),
]);
const RESOLVER_PORT = 53;
const MIN_IPV6_MTU_BYTES = 1280;
/** Where data came from that a relay brought. */
const SOME_RELAY: Endpoint = /* @__PURE__ */ Object.freeze({ address: '100::', port: 1 });

/** A WireGuard member with a TCP/IP stack on top. */
export class Device implements TunnelOwner, PacketRoutes, PeerResolver {
  readonly stack: Stack;
  /** The membership; undefined for a device with peers of its own. */
  readonly tailnet: Tailnet | undefined;
  readonly #random: (out: Uint8Array) => void;
  readonly #suite: CryptoSuite;
  readonly #preset: Preset;
  /** Whether sessions outlive this run. */
  readonly #keepsSessions: boolean;
  readonly #slot: Slot;
  #tunnel: Tunnel;
  #tunnelEvents: Exclude<TunnelEvent, { type: 'timestamp' }>[] = [];
  #unsavedFloor: Uint8Array | undefined;
  #lastFloor: Uint8Array | undefined;
  /** Drops of tunnels that are no more. */
  #oldDrops: DropCounters | undefined = undefined;
  #nowMs: number;
  #unixOffsetMs: number;
  /** Made with the first socket of the application: nobody else can ask them. */
  #resolvers: UdpSocket[] | undefined = undefined;
  /** Made with the first. */
  #early: EarlyHandshakes | undefined = undefined;

  constructor(options: DeviceOptions) {
    const { nowMs, unixMs, random, suite, privateKey, mtu, preset } = options;
    const { createReassembly, createSack, createTailnet } = options.parts ?? {};
    this.#random = random;
    this.#suite = suite;
    this.#preset = preset;
    this.#keepsSessions = options.tailnet?.keepsSessions === true;
    this.#nowMs = nowMs;
    this.#lastFloor = options.timestampFloor;
    this.#unixOffsetMs = unixMs - nowMs;
    this.#tunnel = this.#createTunnel(nowMs, privateKey, mtu, options.tailnet !== undefined);
    this.stack = new Stack({
      nowMs,
      random,
      mtu,
      limits: preset === 'small' ? STACK_LIMITS_SMALL : STACK_LIMITS_LARGE,
      routes: this,
      ...(createReassembly === undefined ? {} : { reassembly: createReassembly(preset) }),
      ...(createSack === undefined ? {} : { createSack }),
    });
    for (const address of options.addresses) this.stack.addAddress(address);
    this.#slot = new Slot(mtu, suite.allocate?.(HEADROOM_BYTES + mtu + TAILROOM_BYTES));
    if (options.tailnet === undefined) return;
    if (createTailnet === undefined) throw new TypeError('"parts" expected createTailnet for a device with a tailnet');
    const common = { nowMs, unixMs, random, suite, preset, nodeKey: privateKey };
    this.tailnet = createTailnet({ ...common, ...options.tailnet }, this);
    for (const bytes of this.#resolverAddresses())
      this.stack.addAddress({ bytes, bits: bytes.length * 8 }, { isService: true });
  }

  /** The tunnel; another one after the node key has changed. */
  get tunnel(): Tunnel {
    return this.#tunnel;
  }

  /** Memory that is free for anything until the next {@link pollTransmit}: the output slot's. */
  get scratch(): Uint8Array {
    return this.#slot.buf;
  }

  /** Tells the wall clock, for TAI64N only. Worth calling when it may have been set, stepped or slept through. */
  setWallClock(nowMs: number, unixMs: number): void {
    this.#unixOffsetMs = unixMs - nowMs;
    this.tunnel.setWallClock(nowMs, unixMs);
    this.tailnet?.setWallClock(nowMs, unixMs);
  }

  /** For the stack: a packet goes through one peer only, and the others cannot know what became of it. */
  isSamePeer(buf: Uint8Array, one: number, other: number, length: number): boolean {
    return this.tunnel.isSamePeer(buf, one, other, length);
  }

  /** For the tunnel: lets the peer of the netmap that has this key into it. */
  resolveKey(nowMs: number, publicKey: Uint8Array): boolean {
    return this.tailnet?.resolveKey(nowMs, publicKey) ?? false;
  }

  /** Removes a peer, erases its keys and forgets its events. RangeError unless there is a peer with the id. */
  removePeer(nowMs: number, id: number): void {
    this.tunnel.removePeer(nowMs, id);
    this.#tunnelEvents = this.#tunnelEvents.filter(event => event.peer !== id);
  }

  /** Removes all peers and erases all secrets but the private key, which is the caller's. */
  close(nowMs: number): void {
    this.tailnet?.close(nowMs);
    this.tunnel.close(nowMs);
    this.#tunnelEvents = [];
  }

  /**
   * Takes one UDP datagram `buf[start, end)`, which is opened in place.
   * Returns 0 or more when it was used, else a negative drop reason, which is counted.
   */
  handleDatagram(nowMs: number, buf: Uint8Array, start: number, end: number, from: Endpoint): number {
    this.#nowMs = nowMs;
    const { tailnet } = this;
    if (tailnet?.paths.handleDatagram(nowMs, buf, start, end, from) === true) return 0;
    return this.#decapsulate(nowMs, buf, start, end, from, from);
  }

  /** `path` is where it came from directly; undefined for a relay, and `from` stands for the sender then. */
  #decapsulate(
    nowMs: number,
    buf: Uint8Array,
    start: number,
    end: number,
    from: Endpoint,
    path: Endpoint | undefined,
  ): number {
    const { tailnet } = this;
    const length = this.tunnel.decapsulate(nowMs, buf, start, end, from);
    if (length === UNKNOWN_PEER && tailnet !== undefined) {
      this.#early ??= new EarlyHandshakes();
      this.#early.keep(nowMs, buf, start, end, from);
    }
    if (length >= 0) tailnet?.noteHeard(nowMs, this.tunnel.decapsulatedPeer, path);
    if (length <= 0) return length;
    const inner = start + 16;
    const verdict = this.#judge(nowMs, buf, inner, inner + length);
    if (verdict !== 0) return verdict;
    return this.stack.handlePacket(nowMs, buf, inner, inner + length);
  }

  /** What the tailnet says to an inner packet: 0 to let it in, 1 when it is settled, else a counted reason. */
  #judge(nowMs: number, buf: Uint8Array, start: number, end: number): number {
    const peer = this.tunnel.decapsulatedPeer;
    return this.tailnet?.handleInbound(nowMs, this.stack.packet, buf, start, end, peer) ?? 0;
  }

  /** Bytes of a stream that `tailnet.streams` asked for. */
  handleStreamBytes(nowMs: number, id: number, buf: Uint8Array, start: number, end: number): void {
    this.#nowMs = nowMs;
    const { tailnet } = this;
    if (tailnet === undefined) return;
    for (let at = start; at < end; at += tailnet.chunkBytes) {
      tailnet.streams.handleBytes(nowMs, id, buf, at, Math.min(end, at + tailnet.chunkBytes));
      for (let relay = tailnet.pollPacket(nowMs); relay !== undefined; relay = tailnet.pollPacket(nowMs)) {
        const { packet, packetStart, packetEnd, packetSource } = relay;
        tailnet.noteRelayHeard(nowMs);
        const source = packet.subarray(packetSource, packetSource + 32);
        if (tailnet.handleRelayed(nowMs, packet, packetStart, packetEnd, source)) continue;
        // Only handshakes may be answered there: peers of the netmap do not roam.
        const from = packet[packetStart] === TYPE_DATA ? SOME_RELAY : new RelaySource(source.slice());
        this.#decapsulate(nowMs, packet, packetStart, packetEnd, from, undefined);
      }
    }
  }

  /** Lets due timers act. Early and late calls are harmless. */
  handleTimeout(nowMs: number): void {
    this.#nowMs = nowMs;
    this.tunnel.handleTimeout(nowMs);
    this.stack.handleTimeout(nowMs);
    this.tailnet?.handleTimeout(nowMs);
  }

  /** When {@link handleTimeout} wants to be called: absolute ms, `Infinity` for never. */
  nextTimeout(): number {
    const above = Math.min(this.tunnel.nextTimeout(), this.stack.nextTimeout());
    return Math.min(above, this.tailnet?.nextTimeout() ?? Number.POSITIVE_INFINITY);
  }

  /** The next datagram to send, with its destination in `slot.to`; valid until the next poll. */
  pollTransmit(nowMs: number): Slot | undefined {
    this.#nowMs = nowMs;
    const slot = this.#slot;
    for (;;) {
      if (this.tunnel.pollTransmit(nowMs, slot)) {
        this.#collectTunnelEvents();
        if (this.#isSentDirectly(nowMs, slot)) return slot;
        continue;
      }
      if (this.tailnet?.pollDatagram(nowMs, slot) === true) return slot;
      const isOurs = this.tailnet?.pollInner(slot) === true;
      if (!isOurs && !this.stack.pollTransmit(nowMs, slot)) return undefined;
      const length = this.#encapsulate(nowMs, slot);
      if (length > 0 && this.#isSentDirectly(nowMs, slot)) return slot;
      // The flow learns at once that nobody carries its packets; other reasons pass and are retransmitted.
      if (length === NO_ROUTE || length === NO_ENDPOINT)
        this.stack.handleUnreachable(nowMs, slot.buf, slot.start, slot.end);
    }
  }

  #encapsulate(nowMs: number, slot: Slot): number {
    const { tailnet, tunnel } = this;
    if (tailnet === undefined) return tunnel.encapsulate(nowMs, slot);
    const { buf, start, end } = slot;
    let peer = tunnel.routePeer(buf, start, end);
    if (peer === NO_ROUTE) {
      const isV4 = buf[start]! >> 4 === 4;
      const address = isV4 ? buf.slice(start + 16, start + 20) : buf.slice(start + 24, start + 40);
      if (tailnet.resolveAddress(nowMs, address)) peer = tunnel.routePeer(buf, start, end);
    }
    if (peer < 0) return tunnel.drops.count(peer);
    const verdict = tailnet.handleOutbound(nowMs, this.stack.packet, buf, start, end, peer);
    if (verdict < 0) return verdict;
    return tunnel.encapsulateTo(nowMs, peer, slot);
  }

  /** Whether a sealed datagram goes out by UDP, to `slot.to`; what goes through a relay is sent here. */
  #isSentDirectly(nowMs: number, slot: Slot): boolean {
    const { tailnet, tunnel } = this;
    const { to, buf, start, end } = slot;
    if (tailnet === undefined) return true;
    if (to === undefined) {
      slot.to = tailnet.route(nowMs, tunnel.transmitPeer, buf, start, end);
      return slot.to !== undefined;
    }
    if (to instanceof RelaySource) tailnet.sendVia(nowMs, 0, to.key, buf, start, end);
    return to !== SOME_RELAY && !(to instanceof RelaySource);
  }

  /** A TAI64N floor that must be durable before the datagram last polled is sent, once; otherwise undefined. */
  pollSave(): Uint8Array | undefined {
    const floor = this.#unsavedFloor;
    this.#unsavedFloor = undefined;
    return floor;
  }

  /** The next event; a `tcp` or `udp` event object is valid until the next call. */
  pollEvent(): DeviceEvent | undefined {
    this.#collectTunnelEvents();
    const event = this.#tunnelEvents.shift() ?? this.#pollTailnet(this.#nowMs);
    if (event !== undefined) return event;
    for (let above = this.stack.pollEvent(); above !== undefined; above = this.stack.pollEvent()) {
      if (above.type !== 'udp' || this.#resolvers?.includes(above.socket) !== true) return above;
      this.#answerQueries(this.#nowMs, above.socket);
    }
    return undefined;
  }

  #pollTailnet(nowMs: number): DeviceEvent | undefined {
    const event = this.tailnet?.pollEvent(nowMs);
    if (event === undefined) return undefined;
    if (event.type === 'netmap') this.#handleNetmap(nowMs, event.changes);
    else if (event.type === 'key-changed') this.#replaceTunnel(nowMs, event.nodeKey);
    return { type: 'tailnet', event };
  }

  #handleNetmap(nowMs: number, changes: NetmapChanges): void {
    if (changes.self) this.#followAddresses();
    const { netmap } = this.tailnet!;
    if (changes.self || changes.filter || netmap.endsSomething(changes.peers)) this.#cutConnections(nowMs);
    const early = this.#early?.take(nowMs) ?? [];
    this.#early = undefined;
    for (const { bytes, from } of early)
      this.#decapsulate(nowMs, bytes, 0, bytes.length, from, from instanceof RelaySource ? undefined : from);
  }

  /** Ends the connections that may not go on, with a reset where the peer can still be told. */
  #cutConnections(nowMs: number): void {
    const { stack, tailnet } = this;
    for (const connection of [...stack.tcp.connections()]) {
      const { remote } = connection.path;
      if (stack.addresses.some(({ bytes }) => equalBytes(bytes, remote))) continue;
      const objection = tailnet!.objectionTo(connection);
      if (objection !== undefined) connection.abort(nowMs, objection); // CHECK: device-cut
    }
  }

  /** The own addresses are those of the netmap, and the resolver's. */
  #followAddresses(): void {
    const { stack, tailnet } = this;
    const wanted = [...tailnet!.addresses, ...RESOLVERS.map(bytes => ({ bytes: Uint8Array.from(bytes) }))];
    for (const { bytes } of [...stack.addresses])
      if (!wanted.some(address => equalBytes(address.bytes, bytes))) stack.removeAddress(bytes);
    for (const { bytes } of tailnet!.addresses) {
      const fits = bytes.length === 4 || stack.mtu >= MIN_IPV6_MTU_BYTES;
      const isNew = !stack.addresses.some(address => equalBytes(address.bytes, bytes));
      // What a coordinator sends may not end a device: an address too many, or one that is no host's, is left out.
      if (fits && isNew && stack.addresses.length < stack.maxAddresses && isHostAddress(bytes))
        stack.addAddress({ bytes, bits: bytes.length * 8 });
    }
  }

  /** Binds a UDP socket of the application: see {@link Stack.udpBind}. */
  udpBind(port: number, options: { address?: Uint8Array } = {}): UdpSocket {
    if (this.tailnet !== undefined)
      this.#resolvers ??= this.#resolverAddresses().map(address => this.stack.udpBind(RESOLVER_PORT, { address }));
    return this.stack.udpBind(port, options);
  }

  /** Those of the families that the tunnel carries. */
  #resolverAddresses(): Uint8Array[] {
    const hasIpv6 = this.stack.mtu >= MIN_IPV6_MTU_BYTES;
    return RESOLVERS.filter(({ length }) => hasIpv6 || length === 4).map(bytes => Uint8Array.from(bytes));
  }

  #answerQueries(nowMs: number, socket: UdpSocket): void {
    const query = udpDatagram();
    const answer = new Uint8Array(MAX_UDP_BYTES);
    while (socket.receive(query)) {
      const length = this.tailnet!.answerQuery(query.data, query.start, query.end, answer);
      if (length > 0) socket.send(nowMs, answer, 0, length, query.remote, query.remotePort);
    }
  }

  #createTunnel(nowMs: number, privateKey: SecretKey, mtu: number, isMember: boolean): Tunnel {
    return new Tunnel({
      nowMs,
      unixMs: nowMs + this.#unixOffsetMs,
      random: this.#random,
      suite: this.#suite,
      privateKey,
      mtu,
      limits: this.#preset === 'small' ? TUNNEL_LIMITS_SMALL : TUNNEL_LIMITS_LARGE,
      ...(this.#lastFloor === undefined ? {} : { timestampFloor: this.#lastFloor }),
      keepsSessions: this.#keepsSessions,
      resolver: isMember ? this : undefined,
    });
  }

  /** Another node key: sessions end, peers come back as they are needed; connections inside go on. */
  #replaceTunnel(nowMs: number, privateKey: SecretKey): void {
    this.#collectTunnelEvents();
    this.#tunnelEvents = [];
    this.#oldDrops ??= new DropCounters();
    this.#oldDrops.add(this.tunnel.drops);
    this.tunnel.close(nowMs);
    this.#tunnel = this.#createTunnel(nowMs, privateKey, this.stack.mtu, true);
  }

  #collectTunnelEvents(): void {
    for (let event = this.tunnel.pollEvent(); event !== undefined; event = this.tunnel.pollEvent()) {
      if (event.type === 'timestamp') this.#unsavedFloor = event.floor;
      else this.#tunnelEvents.push(event);
    }
  }

  /** All drops of all layers by reason. */
  drops(): { [name in DropName]?: number } {
    const out: { [name in DropName]?: number } = {};
    for (const counters of [this.tunnel.drops, this.#oldDrops, this.stack.drops, this.tailnet?.drops]) {
      const counts = counters?.snapshot() ?? {};
      for (const name of Object.keys(counts) as DropName[]) out[name] = (out[name] ?? 0) + counts[name]!;
    }
    return out;
  }
}

/** Stands for a node behind a relay, so that load rules and cookies know it: in 100::/64 (RFC 6666). */
class RelaySource implements Endpoint {
  readonly address: string;
  readonly port = 1;
  /** Its node key: 32 bytes, kept. */
  readonly key: Uint8Array;

  constructor(key: Uint8Array) {
    const bytes = new Uint8Array(16);
    bytes[0] = 1;
    bytes.set(key.subarray(0, 8), 8);
    this.address = formatAddress(bytes);
    this.key = key;
  }
}

/** Parses `10.0.0.2/24` or an address alone (its whole length), host bits kept; `undefined` when it is not one. */
export function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const slash = text.indexOf('/');
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const bits = slash < 0 ? bytes.length * 8 : parseDecimal(text.slice(slash + 1), bytes.length * 8);
  return bits === undefined ? undefined : { bytes, bits };
}
