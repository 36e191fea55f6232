/**
 * The userspace IP stack of one member: IPv4, IPv6, ICMP, UDP and TCP over packets (RFC 791, RFC 8200, RFC 1122).
 *
 * A host, not a router: packets to other addresses are dropped, nothing is forwarded. Packets to its own addresses
 * loop back inside. Whole packets come in through `handlePacket` and leave through `pollTransmit`; the link below has
 * no addresses of its own (a tunnel), so there is no ARP and no neighbour discovery. Reassembly is optional and is
 * given at construction; without it fragments are dropped and their code is not in the build.
 *
 * Left out: multicast and broadcast (never delivered, never sent), raw sockets, forwarding, IPv6 autoconfiguration.
 */
import type { Prefix } from '../base/address.ts';
import { formatAddress } from '../base/address.ts';
import { DropCounters, dropReason } from '../base/drop.ts';
import { NetError } from '../base/errors.ts';
import type { Slot } from '../base/slot.ts';
import { classify, classifyQuote, Packet } from '../packet/classify.ts';
import {
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_TIME_EXCEEDED,
  ICMPV6_UNREACHABLE,
  TIME_EXCEEDED_REASSEMBLY,
  UNREACHABLE6_PORT,
  UNREACHABLE_NETWORK,
  UNREACHABLE_PORT,
  UNREACHABLE_PROTOCOL,
} from '../packet/icmp.ts';
import { isBogusIpv4Source } from '../packet/ipv4.ts';
import { isBogusIpv6Source, PROBLEM_NEXT_HEADER, PROBLEM_NONE } from '../packet/ipv6.ts';
import { HEADER_NONE, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../packet/protocol.ts';
import { Addresses, isHostAddress } from './addresses.ts';
import type { EchoErrorEvent, EchoReplyEvent, StackEvent, UdpErrorEvent } from './events.ts';
import { Fifo } from './fifo.ts';
import { errorCodeOf, Icmp } from './icmp.ts';
import { clampMtu, MIN_MTU_IPV4_BYTES, MIN_MTU_IPV6_BYTES, PathMtuTable } from './path-mtu.ts';
import type { FragmentStore } from './reassembly.ts';
import type { IcmpFlows, StackContext } from './stack-context.ts';
import { STACK_LIMITS_LARGE, type StackLimits } from './stack-limits.ts';
import { Tcp, type TcpConnection, type TcpListener, type TcpOptions } from './tcp.ts';
import type { UdpSocket } from './udp.ts';
import { UdpTable } from './udp-table.ts';

/** Largest echo payload: IPv4 and IPv6. */
const PING_MAX_PAYLOAD_IPV4_BYTES = 65_507;
const PING_MAX_PAYLOAD_IPV6_BYTES = 65_527;
/** ICMP packets in a row after which the other protocols get every second turn. */
const ICMP_BURST = 8;

export type { StackEvent } from './events.ts';
export { STACK_LIMITS_LARGE, STACK_LIMITS_SMALL, type StackLimits } from './stack-limits.ts';

const NOT_LOCAL = /* @__PURE__ */ dropReason('ip-not-local');
const BAD_SOURCE = /* @__PURE__ */ dropReason('ip-bad-source');
const UNKNOWN_PROTOCOL = /* @__PURE__ */ dropReason('ip-unknown-protocol');
const UNSUPPORTED = /* @__PURE__ */ dropReason('ip-fragments-unsupported');
const NO_SOCKET = /* @__PURE__ */ dropReason('udp-no-socket');
const NO_FLOW = /* @__PURE__ */ dropReason('icmp-no-flow');

/** What {@link Stack} is made of. */
export interface StackOptions {
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  readonly random: (out: Uint8Array) => void;
  /** Largest packet of the link in bytes: 576 to 65,535, and at least 1280 once there is an IPv6 address. */
  readonly mtu: number;
  /** Changes to {@link STACK_LIMITS_LARGE}. */
  readonly limits?: Partial<StackLimits>;
  /** `new Reassembly(…)`; without it fragments are dropped. */
  readonly reassembly?: FragmentStore;
  /** Without it everybody may report errors. */
  readonly routes?: StackContext['routes'];
  /** `createSack` of tcp-sack.ts; without it TCP has no selective acknowledgments. */
  readonly createSack?: NonNullable<TcpOptions['createSack']>;
}

/** The stack; see the top of the file. */
export class Stack implements IcmpFlows {
  readonly drops = new DropCounters();
  readonly tcp: Tcp;
  readonly mtu: number;
  readonly #context: StackContext;
  readonly #icmp: Icmp;
  readonly #udp: UdpTable;
  readonly #reassembly: FragmentStore | undefined;
  readonly #events: Fifo<UdpErrorEvent | EchoReplyEvent | EchoErrorEvent>;
  /** Scratch memory for the fields of one packet, also for who judges packets on their way here: lasts for no call. */
  readonly packet = new Packet();
  #tcpEvent: { type: 'tcp'; connection: TcpConnection } | undefined;
  #udpEvent: { type: 'udp'; socket: UdpSocket } | undefined;
  #nowMs: number;
  /** Bytes that UDP sent more than TCP lately, clamped: who is behind comes first. */
  #udpAhead = 0;
  /** ICMP packets that may leave before the others get a turn; each of theirs gives one back. */
  #icmpCredit = ICMP_BURST;
  #hasLoopbackLeft = false;

  constructor(options: StackOptions) {
    const { nowMs, random, mtu, reassembly, routes } = options;
    if (!Number.isInteger(mtu) || mtu < MIN_MTU_IPV4_BYTES || mtu > 65_535)
      throw new RangeError(`"mtu" expected ${MIN_MTU_IPV4_BYTES} to 65535, got ${mtu}`);
    const limits = wholeLimits(options.limits);
    const { drops } = this;
    const mtus = new PathMtuTable(mtu, limits.pathMtus);
    const addresses = new Addresses(limits.addresses);
    this.mtu = mtu;
    this.#nowMs = nowMs;
    this.#context = { random, limits, drops, mtus, addresses, flows: this, routes };
    this.#reassembly = reassembly;
    this.#events = new Fifo(limits.events);
    this.#icmp = new Icmp(this.#context);
    this.#udp = new UdpTable(this.#context);
    this.tcp = new Tcp({
      nowMs,
      random,
      limits: limits.tcp,
      drops,
      mtus,
      ...(options.createSack === undefined ? {} : { createSack: options.createSack }),
    });
  }

  /** The own addresses, in the order of their addition, host bits kept. */
  get addresses(): readonly Prefix[] {
    return this.#context.addresses.list;
  }

  /** How many there may be. */
  get maxAddresses(): number {
    return this.#context.limits.addresses;
  }

  /**
   * Adds an own address with its prefix length, host bits kept. Throws RangeError for what is no host's address or
   * for an IPv6 address on a link below 1280 bytes, NetError `ERR_LIMIT` when there are too many. A service's address
   * is one that nothing leaves from but its answers.
   */
  addAddress(address: Prefix, o: { isService?: boolean } = {}): void {
    if (address.bytes.length === 16 && this.mtu < MIN_MTU_IPV6_BYTES)
      throw new RangeError(`"mtu" expected at least ${MIN_MTU_IPV6_BYTES} for IPv6, got ${this.mtu}`);
    this.#context.addresses.add(address, o.isService === true);
  }

  /** Removes an own address. Its connections are not told: nothing reaches them any more, and they time out. */
  removeAddress(bytes: Uint8Array): void {
    this.#context.addresses.remove(bytes);
  }

  /**
   * Takes one IP packet `buf[start, end)` from outside; the buffer is lent for the call. Returns 0 when it was used,
   * else a negative reason, which is counted in {@link drops}. Never throws.
   */
  handlePacket(nowMs: number, buf: Uint8Array, start: number, end: number): number {
    return this.#handle(this.#advance(nowMs), buf, start, end, false);
  }

  #handle(nowMs: number, buf: Uint8Array, start: number, end: number, isLoopback: boolean): number {
    const packet = this.packet;
    const parsed = classify(buf, start, end, packet);
    // A header that is no good names nobody, so that there is nobody to check, and nobody to tell.
    if (parsed < 0 && packet.problemCode === PROBLEM_NONE) return this.drops.count(parsed);
    const refused = this.#checkAddresses(buf, packet, isLoopback);
    if (refused < 0) return this.drops.count(refused);
    return parsed < 0 ? this.#refuse(nowMs, buf, packet, parsed) : this.#receive(nowMs, buf, packet);
  }

  /** Whether the packet comes from one host elsewhere and goes to us: 0 or a negative reason. */
  #checkAddresses(buf: Uint8Array, packet: Packet, isLoopback: boolean): number {
    const { source, destination, addressBytes } = packet;
    const isV4 = addressBytes === 4;
    const isBogus = isV4 ? isBogusIpv4Source(buf, source) : isBogusIpv6Source(buf, source);
    if (isBogus) return BAD_SOURCE; // CHECK: ip-martian-source
    if (isV4 && this.#context.addresses.isSubnetBroadcast(buf, source)) return BAD_SOURCE; // CHECK: ip-broadcast-source
    if (!isLoopback && this.#context.addresses.has(buf, source, addressBytes)) return BAD_SOURCE; // CHECK: ip-own-source
    if (!this.#context.addresses.has(buf, destination, addressBytes)) return NOT_LOCAL; // CHECK: ip-not-local
    return 0;
  }

  #refuse(nowMs: number, buf: Uint8Array, packet: Packet, reason: number): number {
    const pointer = packet.problemAt - packet.start;
    if (packet.problemCode !== PROBLEM_NONE)
      this.#icmp.sendError(nowMs, buf, packet, ICMPV6_PARAMETER_PROBLEM, packet.problemCode, pointer);
    return this.drops.count(reason);
  }

  /** This and what it calls return 0 or a reason that has been counted. */
  #receive(nowMs: number, buf: Uint8Array, packet: Packet): number {
    if (!packet.isFragment) return this.#deliver(nowMs, buf, packet);
    const reassembly = this.#reassembly;
    if (reassembly === undefined) return this.drops.count(UNSUPPORTED);
    const length = reassembly.handleFragment(nowMs, buf, packet, this.drops);
    if (length <= 0) return length < 0 ? this.drops.count(length) : 0;
    const { whole } = reassembly;
    const parsed = classify(whole.buf, whole.start, whole.end, packet);
    // INVARIANT: no fragment again: the first fragment held all headers, and a second fragment header is malformed.
    const result =
      parsed < 0 ? this.#refuse(nowMs, whole.buf, packet, parsed) : this.#deliver(nowMs, whole.buf, packet);
    reassembly.release?.();
    return result;
  }

  #deliver(nowMs: number, buf: Uint8Array, packet: Packet): number {
    const { family, protocol } = packet;
    if (protocol === PROTOCOL_TCP)
      return this.tcp.handleSegment(nowMs, buf, packet.start, family, packet.payload, packet.end);
    if (protocol === PROTOCOL_UDP) {
      const result = this.#udp.handlePacket(buf, packet);
      if (result === NO_SOCKET) this.#sendUnreachable(nowMs, buf, packet, UNREACHABLE_PORT);
      return result;
    }
    if (protocol === (family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6))
      return this.#icmp.handlePacket(nowMs, buf, packet);
    if (family === 4) this.#sendUnreachable(nowMs, buf, packet, UNREACHABLE_PROTOCOL);
    else if (protocol !== HEADER_NONE) {
      const pointer = packet.nextHeaderAt - packet.start;
      this.#icmp.sendError(nowMs, buf, packet, ICMPV6_PARAMETER_PROBLEM, PROBLEM_NEXT_HEADER, pointer);
    }
    return this.drops.count(UNKNOWN_PROTOCOL);
  }

  /** `code` is the IPv4 one; IPv6 has a port of its own and none for protocols. */
  #sendUnreachable(nowMs: number, buf: Uint8Array, packet: Packet, code: number): void {
    if (packet.family === 4) this.#icmp.sendError(nowMs, buf, packet, ICMP_UNREACHABLE, code);
    else this.#icmp.sendError(nowMs, buf, packet, ICMPV6_UNREACHABLE, UNREACHABLE6_PORT);
  }

  /**
   * Writes one IP packet into `slot` (which is reset): ICMP first, then whichever of UDP and TCP sent less lately.
   * Packets to own addresses are delivered inside instead. False when there is nothing to send.
   */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    const now = this.#advance(nowMs);
    this.#hasLoopbackLeft = false;
    for (let looped = 0; looped < this.#context.limits.loopbackBurst; looped++) {
      slot.reset();
      if (!this.#pollProtocols(now, slot)) return false;
      if (!this.#isToUs(slot)) return true;
      this.#handle(now, slot.buf, slot.start, slot.end, true);
    }
    this.#hasLoopbackLeft = true;
    slot.reset();
    return false;
  }

  #isToUs(slot: Slot): boolean {
    const isV4 = slot.buf[slot.start]! >> 4 === 4;
    return this.#context.addresses.has(slot.buf, slot.start + (isV4 ? 16 : 24), isV4 ? 4 : 16);
  }

  #pollProtocols(nowMs: number, slot: Slot): boolean {
    if (this.#icmpCredit > 0 && this.#icmp.pollTransmit(nowMs, slot)) {
      this.#icmpCredit--;
      return true;
    }
    const isUdpFirst = this.#udpAhead <= 0;
    const isSent = isUdpFirst
      ? this.#pollUdp(nowMs, slot) || this.#pollTcp(nowMs, slot)
      : this.#pollTcp(nowMs, slot) || this.#pollUdp(nowMs, slot);
    this.#icmpCredit = isSent ? Math.min(this.#icmpCredit + 1, ICMP_BURST) : ICMP_BURST;
    return isSent || this.#icmp.pollTransmit(nowMs, slot);
  }

  #pollUdp(nowMs: number, slot: Slot): boolean {
    if (!this.#udp.pollTransmit(nowMs, slot)) return false;
    this.#udpAhead = Math.min(this.#udpAhead + slot.end - slot.start, 2 * this.mtu);
    return true;
  }

  #pollTcp(nowMs: number, slot: Slot): boolean {
    if (!this.tcp.pollTransmit(nowMs, slot)) return false;
    this.#udpAhead = Math.max(this.#udpAhead - slot.end + slot.start, -2 * this.mtu);
    return true;
  }

  /** When {@link handleTimeout} wants to be called: absolute ms, `Infinity` for never. */
  nextTimeout(): number {
    if (this.#hasLoopbackLeft) return this.#nowMs;
    return Math.min(this.tcp.nextTimeout(), this.#reassembly?.nextTimeout() ?? Number.POSITIVE_INFINITY);
  }

  /** Lets due timers act. Early and late calls are harmless. */
  handleTimeout(nowMs: number): void {
    const now = this.#advance(nowMs);
    this.tcp.handleTimeout(now);
    const reassembly = this.#reassembly;
    if (reassembly === undefined) return;
    for (;;) {
      const first = reassembly.pollExpired(now, this.drops);
      if (first === undefined) return;
      this.#sendReassemblyTimeout(now, first);
    }
  }

  /** RFC 1122 §3.3.2, RFC 8200 §4.5: the sender is told, when the first fragment is there to be quoted. */
  #sendReassemblyTimeout(nowMs: number, first: Uint8Array): void {
    const packet = this.packet;
    if (first.length === 0 || classify(first, 0, first.length, packet) < 0) return;
    const type = packet.family === 4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED;
    this.#icmp.sendError(nowMs, first, packet, type, TIME_EXCEEDED_REASSEMBLY);
  }

  /** The next event, or undefined. `tcp` and `udp` events are objects that the next call fills again. */
  pollEvent(): StackEvent | undefined {
    const event = this.#events.shift();
    if (event !== undefined) return event;
    const socket = this.#udp.pollReadable();
    if (socket !== undefined) {
      this.#udpEvent ??= { type: 'udp', socket };
      this.#udpEvent.socket = socket;
      return this.#udpEvent;
    }
    const connection = this.tcp.pollEvent();
    if (connection === undefined) return undefined;
    this.#tcpEvent ??= { type: 'tcp', connection };
    this.#tcpEvent.connection = connection;
    return this.#tcpEvent;
  }

  /**
   * Listens for TCP connections on `port` of one or of all own addresses. Throws NetError `ERR_ADDRESS_IN_USE` or
   * `ERR_ADDRESS_UNAVAILABLE`.
   */
  tcpListen(port: number, options: { address?: Uint8Array; backlog?: number } = {}): TcpListener {
    if (options.address !== undefined) this.#mustBeOurs(options.address);
    return this.tcp.listen(port, options);
  }

  /**
   * Opens a TCP connection to `port` (1 to 65535) of `remote` (4 or 16 bytes), from `local` or the best own address.
   * Throws NetError `ERR_ADDRESS_UNAVAILABLE` when there is no own address of that family or `remote` is no host,
   * and what `Tcp.connect` throws.
   */
  tcpConnect(
    nowMs: number,
    remote: Uint8Array,
    port: number,
    options: { localPort?: number; local?: Uint8Array } = {},
  ): TcpConnection {
    const now = this.#advance(nowMs);
    const local = options.local ?? this.#sourceFor(remote);
    this.#mustBeOurs(local);
    return this.tcp.connect(now, this.#context.mtus.createPath(now, local, remote), port, options.localPort);
  }

  /**
   * Binds a UDP socket to `port` (0: a random free one) of one or of all own addresses. Throws NetError
   * `ERR_ADDRESS_IN_USE`, `ERR_ADDRESS_UNAVAILABLE` or `ERR_LIMIT`, RangeError for a bad port.
   */
  udpBind(port: number, options: { address?: Uint8Array } = {}): UdpSocket {
    return this.#udp.bind(port, options.address);
  }

  /**
   * Sends an ICMP echo request; the answer comes as an `echo-reply` event, a failure that is heard of as `echo-error`.
   * `id` and `sequence` are 0 to 65535, `payloadBytes` 0 to 65,507 (IPv6: 65,527), else RangeError. Throws NetError
   * `ERR_ADDRESS_UNAVAILABLE` as {@link tcpConnect} does. A request that finds the queue full is dropped and counted.
   */
  ping(nowMs: number, remote: Uint8Array, id: number, sequence: number, payloadBytes: number): void {
    const most = remote.length === 4 ? PING_MAX_PAYLOAD_IPV4_BYTES : PING_MAX_PAYLOAD_IPV6_BYTES;
    mustBeWithin('id', id, 0xffff);
    mustBeWithin('sequence', sequence, 0xffff);
    mustBeWithin('payloadBytes', payloadBytes, most);
    this.#icmp.ping(this.#advance(nowMs), this.#sourceFor(remote), remote, id, sequence, payloadBytes);
  }

  /**
   * Says that `buf[start, end)`, a packet that {@link pollTransmit} gave, cannot be routed: its flow hears of it as
   * of an ICMP network unreachable.
   */
  handleUnreachable(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    const packet = this.packet;
    if (classifyQuote(buf, start, end, packet) < 0) return;
    const type = packet.family === 4 ? ICMP_UNREACHABLE : ICMPV6_UNREACHABLE;
    this.handleFlowError(this.#advance(nowMs), buf, packet, type, UNREACHABLE_NETWORK);
  }

  /** For {@link Icmp} only. */
  handleFlowError(nowMs: number, buf: Uint8Array, quote: Packet, type: number, code: number): number {
    const error = errorCodeOf(quote.family, type, code);
    if (quote.protocol === PROTOCOL_UDP) return this.#udp.handleError(buf, quote, error);
    if (quote.protocol !== PROTOCOL_TCP) return this.#icmp.handleQuotedEcho(nowMs, buf, quote, error);
    return this.tcp.handleUnreachable(nowMs, buf, quote, error);
  }

  /** For {@link Icmp} only. */
  handleFlowTooBig(nowMs: number, buf: Uint8Array, quote: Packet, mtu: number): number {
    const { family, protocol, destination, addressBytes } = quote;
    if (protocol === PROTOCOL_TCP) {
      const reason = this.tcp.handleTooBig(nowMs, buf, quote, clampMtu(family, mtu));
      if (reason < 0) return reason; // CHECK: too-big-without-connection
      this.#context.mtus.lower(nowMs, buf, destination, addressBytes, mtu);
      return 0;
    }
    const isLive = protocol === PROTOCOL_UDP ? this.#udp.hasFlow(buf, quote) : this.#icmp.hasQuotedEcho(buf, quote);
    if (!isLive) return this.drops.count(NO_FLOW); // CHECK: too-big-without-flow
    this.#context.mtus.lower(nowMs, buf, destination, addressBytes, mtu);
    return 0;
  }

  /** For {@link Icmp} and UDP only. */
  pushEvent(event: UdpErrorEvent | EchoReplyEvent | EchoErrorEvent): boolean {
    return this.#events.push(event);
  }

  /** The clock that machines see never goes back. */
  #advance(nowMs: number): number {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
    return this.#nowMs;
  }

  #sourceFor(remote: Uint8Array): Uint8Array {
    if (remote.length !== 4 && remote.length !== 16)
      throw new RangeError(`"remote" expected 4 or 16 address bytes, got ${remote.length}`);
    if (!isHostAddress(remote))
      throw new NetError('ERR_ADDRESS_UNAVAILABLE', `${formatAddress(remote)} is not the address of a host`);
    const local = this.#context.addresses.selectCopy(remote);
    const family = remote.length === 4 ? 'IPv4' : 'IPv6';
    if (local === undefined) throw new NetError('ERR_ADDRESS_UNAVAILABLE', `this device has no ${family} address`);
    return local;
  }

  #mustBeOurs(address: Uint8Array): void {
    if (!this.#context.addresses.has(address, 0, address.length))
      throw new NetError('ERR_ADDRESS_UNAVAILABLE', 'the local address is not one of this device');
  }
}

/** The limits themselves where they are all there, as a preset has them; else {@link STACK_LIMITS_LARGE} changed. */
function wholeLimits(limits: Partial<StackLimits> = STACK_LIMITS_LARGE): StackLimits {
  const isWhole = Object.keys(limits).length === Object.keys(STACK_LIMITS_LARGE).length;
  return isWhole ? (limits as StackLimits) : { ...STACK_LIMITS_LARGE, ...limits };
}

function mustBeWithin(name: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw new RangeError(`"${name}" expected 0 to ${most}, got ${value}`);
}
