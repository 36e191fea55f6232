/** A filter with a clock and packets in words: what tests of the filter share. Neutral. */
import { type Prefix, parseAddress, parsePrefix } from '../../lib/base/address.ts';
import { DropCounters, dropName } from '../../lib/base/drop.ts';
import { PacketFilter } from '../../lib/filter/filter.ts';
import { FILTER_LIMITS_SMALL, type FilterLimits } from '../../lib/filter/limits.ts';
import type { WireFilterRule } from '../../lib/filter/rule.ts';
import { classify, Packet } from '../../lib/packet/classify.ts';
import { fragmentHeader, icmp4, icmp6, join, u16, udp, v4, v6 } from '../packet/build.ts';

/** This device, in both families. */
export const ME4 = '100.64.0.1';
export const ME6 = 'fd7a:115c:a1e0::1';
/** A peer. */
export const PEER4 = '100.64.0.2';
export const PEER6 = 'fd7a:115c:a1e0::2';

export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;
const SYN = 2;

/** Prefixes of texts. */
export function prefixes(...texts: string[]): Prefix[] {
  return texts.map(text => parsePrefix(text)!);
}

/** A rule in few words: `ports` as `80`, `1-9` or `*`. */
export function rule(
  sources: readonly string[],
  destinations: readonly string[],
  ports = '*',
  protocols?: readonly number[],
): WireFilterRule {
  const [first, last = first] = ports === '*' ? ['0', '65535'] : ports.split('-');
  const range = { First: Number(first), Last: Number(last) };
  const wire = { SrcIPs: sources, DstPorts: destinations.map(IP => ({ IP, Ports: range })) };
  return protocols === undefined ? wire : { ...wire, IPProto: protocols };
}

/** Everything from everybody. */
export const ALLOW_ALL = rule(['*'], ['*']);

/** The end of a TCP header; ports in front. */
export function tcpHeader(from: number, to: number, flags: number): Uint8Array {
  return join(u16(from), u16(to), new Uint8Array(8), [0x50, flags], new Uint8Array(6));
}

/** An IP packet of either family. */
export function ipPacket(src: string, dst: string, protocol: number, payload: Uint8Array): Uint8Array {
  return src.includes(':') ? v6({ src, dst, next: protocol }, payload) : v4({ src, dst, protocol }, payload);
}

/** A segment that opens a connection, unless other flags are given. */
export function segment(src: string, dst: string, to: number, flags = SYN, from = 40_000): Uint8Array {
  return ipPacket(src, dst, TCP, tcpHeader(from, to, flags));
}

/** A UDP datagram. */
export function datagram(src: string, from: number, dst: string, to: number): Uint8Array {
  return ipPacket(src, dst, UDP, udp({ src, dst, from, to }, Uint8Array.of(1, 2, 3)));
}

/** An SCTP packet: its common header. */
export function sctp(src: string, from: number, dst: string, to: number): Uint8Array {
  return ipPacket(src, dst, SCTP, join(u16(from), u16(to), new Uint8Array(8)));
}

/** An ICMP message of the family. */
export function icmp(src: string, dst: string, type: number, code = 0): Uint8Array {
  const body = new Uint8Array(8);
  return src.includes(':')
    ? ipPacket(src, dst, 58, icmp6(src, dst, type, code, 1, body))
    : ipPacket(src, dst, 1, icmp4(type, code, 1, body));
}

/** A fragment of a datagram of a protocol. */
export function fragment(
  src: string,
  dst: string,
  protocol: number,
  offset: number,
  more: boolean,
  payload: Uint8Array,
): Uint8Array {
  if (src.includes(':')) return v6({ src, dst, next: 44 }, join(fragmentHeader(protocol, offset, more, 7), payload));
  return v4({ src, dst, protocol, flags: (more ? 0x2000 : 0) | (offset / 8), id: 7 }, payload);
}

/** A filter, its clock and its counters. */
export class FilterWorld {
  nowMs = 1000;
  readonly drops = new DropCounters();
  readonly filter: PacketFilter;
  readonly #packet = new Packet();

  constructor(rules: readonly WireFilterRule[] = [], limits: FilterLimits = FILTER_LIMITS_SMALL) {
    this.filter = new PacketFilter({ limits, drops: this.drops });
    this.setRules(rules);
  }

  /** Replaces the rules; this device is {@link ME4} and {@link ME6} unless told. */
  setRules(rules: readonly WireFilterRule[], self = prefixes(ME4, ME6)): void {
    this.filter.setRules(rules, self);
  }

  /** `in`, or the name of the drop reason, which must have been counted once. */
  inbound(bytes: Uint8Array, isJailed = false): string {
    const { drops } = this;
    const buf = this.#read(bytes);
    const before = drops.total;
    const reason = this.filter.handleInbound(this.nowMs, this.#packet, buf, 3, 3 + bytes.length, isJailed);
    const name = reason < 0 ? dropName(reason) : 'in';
    if (drops.total !== before + (reason < 0 ? 1 : 0)) throw new Error(`${name} was not counted once`);
    return name;
  }

  /** A packet leaves: `out`, or the name of the drop reason, which must have been counted once. */
  outbound(bytes: Uint8Array, isJailed = false): string {
    const { drops } = this;
    const buf = this.#read(bytes);
    const before = drops.total;
    const reason = this.filter.handleOutbound(this.nowMs, this.#packet, buf, 3, 3 + bytes.length, isJailed);
    const name = reason < 0 ? dropName(reason) : 'out';
    if (drops.total !== before + (reason < 0 ? 1 : 0)) throw new Error(`${name} was not counted once`);
    return name;
  }

  /** The packet at offset 3 of a buffer, with other bytes around it. */
  #read(bytes: Uint8Array): Uint8Array {
    const buf = join([9, 9, 9], bytes, [9, 9, 9, 9, 9]);
    const reason = classify(buf, 3, 3 + bytes.length, this.#packet);
    if (reason < 0) throw new Error(`the test's packet is bad: ${dropName(reason)}`);
    return buf;
  }
}

/** Bytes of an address text. */
export function address(text: string): Uint8Array {
  return parseAddress(text)!;
}
