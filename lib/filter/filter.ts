/**
 * The packet filter of one device: which packets of peers may come in. It follows tailscaled, so that a policy means
 * the same on every member:
 *
 * - Rules only allow. Without a rule nothing comes in but replies; there is no filter for what goes out.
 * - TCP: only the segment that opens a connection (SYN without ACK) needs a rule.
 * - UDP and SCTP: a reply to a flow that this device has opened passes, everything else needs a rule. Other protocols
 *   likewise, by addresses alone; their rule must name the protocol and allow all ports.
 * - ICMP: echo replies and errors pass; the rest needs a rule between the two addresses, about whatever ports.
 * - TSMP (protocol 99) passes: the device answers or uses it, and its network stack never sees it.
 * - Fragments: the first has the whole transport header and is judged as a packet; later ones pass unless they could
 *   overlap such a header (RFC 1858), since without a first one nothing can be put together.
 * - Multicast, link-local destinations, foreign destinations and IPv6 extension headers other than a fragment header
 *   directly behind the fixed one are dropped before any rule.
 *
 * A jailed peer is one from which nothing may come in but replies, whatever the rules say.
 *
 * One thing is stricter: a flow that a peer has opened ends with the rule that allowed it, both ways. Otherwise a
 * service that goes on sending would look like the one who opened it, and the peer's packets like its replies.
 *
 * Left out: an outbound filter, connection tracking of TCP and ICMP, masquerading, the peerapi exception.
 */
import type { Prefix } from '../base/address.ts';
import { readU16BE } from '../base/bytes.ts';
import { type DropCounters, type DropReason, dropReason } from '../base/drop.ts';
import type { Packet } from '../packet/classify.ts';
import {
  ICMP_ECHO_REPLY,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_ECHO_REPLY,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_UNREACHABLE,
} from '../packet/icmp.ts';
import { IPV6_FRAGMENT_BYTES, IPV6_HEADER_BYTES } from '../packet/ipv6.ts';
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  transportHeaderBytes,
} from '../packet/protocol.ts';
import { TCP_ACK, TCP_SYN, tcpFlags } from '../packet/tcp.ts';
import { PROTOCOL_TSMP, TSMP_LEAST_BYTES } from '../packet/tsmp.ts';
import { compileTable } from './compile.ts';
import { expectFlows, FlowTable } from './flows.ts';
import { Grants } from './grants.ts';
import type { FilterLimits } from './limits.ts';
import { ANY_PROTOCOL, MatchTable } from './match-table.ts';
import type { WireFilterRule } from './rule.ts';
import { type ParsedRule, RuleParser } from './rule-parser.ts';

const NO_RULE = /* @__PURE__ */ dropReason('filter-no-rule');
const NOT_LOCAL = /* @__PURE__ */ dropReason('filter-not-local');
const MULTICAST = /* @__PURE__ */ dropReason('filter-multicast');
const LINK_LOCAL = /* @__PURE__ */ dropReason('filter-link-local');
const FRAGMENT = /* @__PURE__ */ dropReason('filter-fragment');
const TRUNCATED = /* @__PURE__ */ dropReason('filter-truncated');
const EXTENSION_HEADER = /* @__PURE__ */ dropReason('filter-extension-header');
const CUT = /* @__PURE__ */ dropReason('filter-cut');

/** Who opened a flow that rules allow. */
const THEIRS = 0;
const OURS = 1;

const PROTOCOL_SCTP = 132;
const SCTP_HEADER_BYTES = 12;
/** A later fragment that begins before this could overlap the largest IPv4 header and a TCP header of a first one. */
const LEAST_FRAGMENT_OFFSET = 80;

/** What a filter is made of. */
export interface FilterOptions {
  readonly limits: FilterLimits;
  readonly drops: DropCounters;
}

/** The filter. Until {@link setRules} was called, every packet is dropped. */
export class PacketFilter {
  readonly #limits: FilterLimits;
  readonly #drops: DropCounters;
  /** Flows that this device has opened; made with the first, as most devices of small networks need none. */
  #flows: FlowTable | undefined = undefined;
  /** Flows that rules allow, marked with who opened them; likewise. */
  #ruled: FlowTable | undefined = undefined;
  #table: MatchTable;
  /** Undefined while no rule has one. */
  #grants: Grants | undefined = undefined;
  #malformed = 0;
  #overLimit = 0;

  constructor(o: FilterOptions) {
    this.#limits = o.limits;
    this.#drops = o.drops;
    expectFlows(o.limits.flows);
    this.#table = this.#compile([], new RuleParser(o.limits, nobody), []);
  }

  /** Parts of the rules in force that were dropped for their form, so that less is allowed than was meant. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Rules in force that were left out, wholly or in part, for a limit. */
  get overLimit(): number {
    return this.#overLimit;
  }

  /** Bytes of memory that the compiled rules and the flows take. */
  get heldBytes(): number {
    return this.#table.heldBytes + (this.#flows?.heldBytes ?? 0) + (this.#ruled?.heldBytes ?? 0);
  }

  /**
   * Replaces all rules. `self` is this device's addresses and the routes that it serves: nothing else may be a
   * destination. `holdersOf` gives the addresses of the peers that have a node capability, for sources `cap:NAME`;
   * without it such sources match nobody. Flows that this device has opened go on; those of peers end with their rule.
   */
  setRules(
    rules: readonly WireFilterRule[],
    self: readonly Prefix[],
    holdersOf: (capability: string) => readonly Prefix[] = nobody,
  ): void {
    const parser = new RuleParser(this.#limits, holdersOf);
    const grants = new Grants(this.#limits, holdersOf);
    const parsed: ParsedRule[] = [];
    for (const rule of rules) {
      const network = parser.parse(rule);
      if (network !== undefined) parsed.push(network);
      grants.add(rule);
    }
    this.#table = this.#compile(parsed, parser, self);
    this.#grants = grants.isEmpty ? undefined : grants;
    this.#malformed = parser.malformed + grants.malformed;
    this.#overLimit += grants.overLimit;
  }

  #compile(rules: readonly ParsedRule[], parser: RuleParser, self: readonly Prefix[]): MatchTable {
    const budget = { left: this.#limits.pieces, overLimit: 0 };
    const v4 = compileTable({
      rules,
      sideOf: rule => rule.v4,
      sources: parser.sources4,
      destinations: parser.destinations4,
      self,
      budget,
    });
    const v6 = compileTable({
      rules,
      sideOf: rule => rule.v6,
      sources: parser.sources6,
      destinations: parser.destinations6,
      self,
      budget,
    });
    this.#overLimit = parser.overLimit + budget.overLimit;
    return new MatchTable(v4, v6);
  }

  /**
   * Judges a packet that came out of the tunnel and was classified: 0 to let it in, or a negative reason, counted. The
   * inner source must have been checked against the peer's allowed IPs. A `filter-no-rule` for a TCP SYN is what the
   * sender may be told by `writeTsmpReject`.
   */
  handleInbound(
    nowMs: number,
    packet: Packet,
    buf: Uint8Array,
    _start: number,
    _end: number,
    isJailed = false,
  ): DropReason {
    const reason = this.#judge(nowMs, packet, buf, isJailed);
    return reason < 0 ? this.#drops.count(reason) : 0;
  }

  /**
   * Remembers the flow of a packet that is about to be sealed, so that replies pass. Also for packets that the
   * device's own network stack has made; never for packets that are only passed on. Flows whose replies some rule
   * allows are kept apart: with its questions a peer can push out the others' flows there, but no reply without a rule.
   *
   * 0, or a negative reason, counted: the packet belongs to a flow that a peer has opened and may not use any more.
   */
  handleOutbound(
    nowMs: number,
    packet: Packet,
    buf: Uint8Array,
    _start: number,
    _end: number,
    isJailed = false,
  ): DropReason {
    const { protocol, source, destination, addressBytes } = packet;
    if (packet.fragmentOffset > 0 || protocol === PROTOCOL_TCP || protocol === PROTOCOL_TSMP) return 0;
    if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 || isTruncated(packet)) return 0;
    const remotePort = destinationPort(packet, buf);
    const localPort = sourcePort(packet, buf);
    const isOurs = this.#flows?.isKnown(nowMs, buf, destination, source, addressBytes, protocol, remotePort, localPort);
    if (isOurs === true) return 0;
    const local = this.#table.destinationAt(packet.family, buf, source);
    if (local < 0) return 0;
    const isRuled = !isJailed && this.#table.allows(packet.family, buf, destination, local, protocol, localPort);
    if (isRuled)
      this.#ruledFlows().note(nowMs, buf, destination, source, addressBytes, protocol, remotePort, localPort, OURS);
    if (isRuled) return 0; // CHECK: filter-flow-of-rule
    const ruled = this.#ruled;
    const mark = ruled?.markOf(nowMs, buf, destination, source, addressBytes, protocol, remotePort, localPort, false);
    if (mark === THEIRS) return this.#drops.count(CUT); // CHECK: filter-cut
    this.#flows ??= new FlowTable(this.#limits.flows);
    this.#flows.note(nowMs, buf, destination, source, addressBytes, protocol, remotePort, localPort);
    return 0;
  }

  /** Whether a rule lets a source open `protocol` to a port of a destination (addresses of 4 or 16 bytes each). */
  allows(source: Uint8Array, destination: Uint8Array, protocol: number, port: number): boolean {
    if (source.length !== destination.length) return false;
    const family = source.length === 4 ? 4 : 6;
    const local = this.#table.destinationAt(family, destination, 0);
    return local >= 0 && this.#table.allows(family, source, 0, local, protocol, port);
  }

  /** Names of the capabilities that a source has on a destination (addresses of 4 or 16 bytes). */
  capabilities(source: Uint8Array, destination: Uint8Array): readonly string[] {
    return [...this.capabilityValues(source, destination).keys()];
  }

  /** The same with the values of all grants together, JSON as it came. */
  capabilityValues(source: Uint8Array, destination: Uint8Array): ReadonlyMap<string, readonly unknown[]> {
    return this.#grants?.find(source, destination) ?? new Map();
  }

  #judge(nowMs: number, packet: Packet, buf: Uint8Array, isJailed: boolean): DropReason {
    if (isMulticast(packet, buf)) return MULTICAST; // CHECK: filter-multicast
    if (isLinkLocal(packet, buf)) return LINK_LOCAL; // CHECK: filter-link-local
    const destination = this.#table.destinationAt(packet.family, buf, packet.destination);
    if (destination < 0) return NOT_LOCAL; // CHECK: filter-not-local
    if (hasOtherExtension(packet)) return EXTENSION_HEADER; // CHECK: filter-extension-header
    if (packet.fragmentOffset > 0) {
      if (packet.fragmentOffset < LEAST_FRAGMENT_OFFSET) return FRAGMENT; // CHECK: filter-fragment-offset
      return 0;
    }
    if (isTruncated(packet)) return TRUNCATED; // CHECK: filter-truncated
    const { protocol } = packet;
    if (protocol === PROTOCOL_TCP) {
      if ((tcpFlags(buf, packet.payload) & (TCP_SYN | TCP_ACK)) !== TCP_SYN) return 0;
      return this.#ask(packet, buf, destination, protocol, packet.destinationPort, isJailed);
    }
    if (protocol === PROTOCOL_TSMP) {
      if (packet.isFragment) return FRAGMENT; // CHECK: filter-tsmp-fragment
      return 0;
    }
    if (protocol === (packet.family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) {
      if (isIcmpReply(packet, buf)) return 0;
      return this.#ask(packet, buf, destination, ANY_PROTOCOL, 0, isJailed);
    }
    const port = destinationPort(packet, buf);
    const { source, addressBytes } = packet;
    const remotePort = sourcePort(packet, buf);
    const isReply = this.#flows?.isKnown(
      nowMs,
      buf,
      source,
      packet.destination,
      addressBytes,
      protocol,
      remotePort,
      port,
    );
    if (isReply === true) return 0;
    const reason = this.#ask(packet, buf, destination, protocol, port, isJailed);
    const local = packet.destination;
    if (reason === 0) {
      this.#ruledFlows().note(nowMs, buf, source, local, addressBytes, protocol, remotePort, port, THEIRS);
      return 0;
    }
    // A peer's flow whose rule is gone stays cut as long as the peer goes on with it; what we opened goes on.
    const mark = this.#ruled?.markOf(nowMs, buf, source, local, addressBytes, protocol, remotePort, port, true);
    return mark === OURS ? 0 : reason;
  }

  #ask(
    packet: Packet,
    buf: Uint8Array,
    destination: number,
    protocol: number,
    port: number,
    isJailed: boolean,
  ): DropReason {
    if (isJailed) return NO_RULE; // CHECK: filter-jailed
    const isAllowed = this.#table.allows(packet.family, buf, packet.source, destination, protocol, port);
    if (!isAllowed) return NO_RULE; // CHECK: filter-no-rule
    return 0;
  }

  /** The flows that rules allow, for a new one. */
  #ruledFlows(): FlowTable {
    this.#ruled ??= new FlowTable(this.#limits.flows, true);
    return this.#ruled;
  }
}

function nobody(): readonly Prefix[] {
  return [];
}

function isMulticast(packet: Packet, buf: Uint8Array): boolean {
  const first = buf[packet.destination]!;
  return packet.family === 4 ? first >> 4 === 14 : first === 255;
}

/** fe80::/10 and 169.254.0.0/16, except 169.254.169.254: the metadata and DNS service of several clouds. */
function isLinkLocal(packet: Packet, buf: Uint8Array): boolean {
  const at = packet.destination;
  if (packet.family === 6) return buf[at] === 0xfe && (buf[at + 1]! & 0xc0) === 0x80;
  return buf[at] === 169 && buf[at + 1] === 254 && !(buf[at + 2] === 169 && buf[at + 3] === 254);
}

function hasOtherExtension(packet: Packet): boolean {
  if (packet.family === 4) return false;
  const first = packet.start + IPV6_HEADER_BYTES;
  if (packet.fragmentHeader === 0) return packet.payload !== first;
  return packet.fragmentHeader !== first || packet.payload !== first + IPV6_FRAGMENT_BYTES;
}

/** Whether a transport header that is judged is not wholly there; in a first fragment it always is. */
function isTruncated(packet: Packet): boolean {
  const { protocol } = packet;
  const least =
    protocol === PROTOCOL_SCTP
      ? SCTP_HEADER_BYTES
      : protocol === PROTOCOL_TSMP
        ? TSMP_LEAST_BYTES
        : transportHeaderBytes(protocol);
  return packet.payload + least > packet.end;
}

function isIcmpReply(packet: Packet, buf: Uint8Array): boolean {
  const type = buf[packet.payload]!;
  const code = buf[packet.payload + 1]!;
  if (packet.family === 6)
    return (
      (type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM) || (type === ICMPV6_ECHO_REPLY && code === 0)
    );
  if (type === ICMP_ECHO_REPLY) return code === 0;
  return type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM;
}

function sourcePort(packet: Packet, buf: Uint8Array): number {
  if (packet.protocol === PROTOCOL_UDP) return packet.sourcePort;
  return packet.protocol === PROTOCOL_SCTP ? readU16BE(buf, packet.payload) : 0;
}

function destinationPort(packet: Packet, buf: Uint8Array): number {
  if (packet.protocol === PROTOCOL_UDP) return packet.destinationPort;
  return packet.protocol === PROTOCOL_SCTP ? readU16BE(buf, packet.payload + 2) : 0;
}
