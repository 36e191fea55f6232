/**
 * Reads an IP packet once and tells all that the layers above want to know: family, addresses, protocol, ports, and
 * whether it is a fragment (RFC 791, RFC 8200, RFC 1858, RFC 7112).
 *
 * The result object is reused from packet to packet; it holds offsets into the packet's buffer, no bytes. A packet
 * whose ports cannot be known has ports of -1, so that no rule about ports can match it. Left out: transport
 * checksums, which belong to the transports, and any judgement about addresses.
 */
import { readU16BE } from '../base/bytes.ts';
import { dropReason } from '../base/drop.ts';
import {
  checkIpv4Header,
  IPV4_DESTINATION,
  IPV4_MAX_BYTES,
  IPV4_HEADER_BYTES,
  IPV4_MORE_FRAGMENTS,
  IPV4_SOURCE,
} from './ipv4.ts';
import {
  checkIpv6Header,
  IPV6_DESTINATION,
  IPV6_FRAGMENT_BYTES,
  IPV6_HEADER_BYTES,
  IPV6_SOURCE,
  type Ipv6Walk,
  PROBLEM_NONE,
  walkIpv6Headers,
} from './ipv6.ts';
import {
  HEADER_FRAGMENT,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  transportHeaderBytes,
} from './protocol.ts';

const MALFORMED = /* @__PURE__ */ dropReason('ip-malformed');

/** What {@link classify} knows about one packet; all offsets are absolute in the packet's buffer. */
export class Packet implements Ipv6Walk {
  family: 4 | 6 = 4;
  /** First byte of the IP header. */
  start = 0;
  /** One past the last byte that belongs to the packet; the buffer may go on with padding. */
  end = 0;
  /** Bytes of one address: 4 or 16. */
  addressBytes = 4;
  /** Offset of the source address; the destination lies `addressBytes` after it. */
  source = 0;
  /** Offset of the destination address. */
  destination = 0;
  protocol = 0;
  payload = 0;
  nextHeaderAt = 0;
  fragmentHeader = 0;
  isFragment = false;
  fragmentOffset = 0;
  hasMoreFragments = false;
  fragmentId = 0;
  problemCode = PROBLEM_NONE;
  problemAt = 0;
  /** Source port of TCP or UDP, -1 where there is none. */
  sourcePort = -1;
  /** Destination port of TCP or UDP, -1 where there is none. */
  destinationPort = -1;
}

/**
 * Classifies the packet in `buf[start, end)` into `out`. Returns 0, or a negative reason: `ip-malformed`,
 * `ip-checksum`, `ip-options`. When the fixed header was good the addresses in `out` are valid also after a drop.
 */
export function classify(buf: Uint8Array, start: number, end: number, out: Packet): number {
  out.start = start;
  out.end = end;
  out.addressBytes = 0;
  out.sourcePort = -1;
  out.destinationPort = -1;
  out.problemCode = PROBLEM_NONE;
  if (start >= end) return MALFORMED;
  const reason = buf[start]! >> 4 === 6 ? classifyIpv6(buf, start, end, out) : classifyIpv4(buf, start, end, out);
  return reason < 0 ? reason : readPorts(buf, out);
}

function classifyIpv4(buf: Uint8Array, start: number, end: number, out: Packet): number {
  const headerBytes = checkIpv4Header(buf, start, end);
  if (headerBytes < 0) return headerBytes;
  setIpv4Fields(buf, start, headerBytes, out);
  out.end = start + readU16BE(buf, start + 2);
  const dataBytes = out.end - out.payload;
  if (out.hasMoreFragments && (dataBytes & 7) !== 0) return MALFORMED; // CHECK: ip4-fragment-length
  const dataEnd = out.fragmentOffset + dataBytes;
  if (dataEnd > IPV4_MAX_BYTES - IPV4_HEADER_BYTES) return MALFORMED; // CHECK: ip4-fragment-beyond-end
  return 0;
}

function setIpv4Fields(buf: Uint8Array, start: number, headerBytes: number, out: Packet): void {
  out.family = 4;
  out.addressBytes = 4;
  out.source = start + IPV4_SOURCE;
  out.destination = start + IPV4_DESTINATION;
  out.protocol = buf[start + 9]!;
  out.nextHeaderAt = start + 9;
  out.payload = start + headerBytes;
  out.fragmentHeader = 0;
  const word = readU16BE(buf, start + 6);
  out.fragmentOffset = (word & 0x1fff) * 8;
  out.hasMoreFragments = (word & IPV4_MORE_FRAGMENTS) !== 0;
  out.isFragment = out.hasMoreFragments || out.fragmentOffset > 0;
  out.fragmentId = readU16BE(buf, start + 4);
}

function classifyIpv6(buf: Uint8Array, start: number, end: number, out: Packet): number {
  const total = checkIpv6Header(buf, start, end);
  if (total < 0) return total;
  setIpv6Fields(start, out);
  out.end = start + total;
  return walkIpv6Headers(buf, start, out.end, out);
}

function setIpv6Fields(start: number, out: Packet): void {
  out.family = 6;
  out.addressBytes = 16;
  out.source = start + IPV6_SOURCE;
  out.destination = start + IPV6_DESTINATION;
}

function readPorts(buf: Uint8Array, out: Packet): number {
  if (out.fragmentOffset > 0) return 0;
  const isComplete = out.payload + transportHeaderBytes(out.protocol) <= out.end;
  if (out.isFragment && !isComplete) return MALFORMED; // CHECK: ip-tiny-first-fragment
  if (isComplete && (out.protocol === PROTOCOL_TCP || out.protocol === PROTOCOL_UDP)) {
    out.sourcePort = readU16BE(buf, out.payload);
    out.destinationPort = readU16BE(buf, out.payload + 2);
  }
  return 0;
}

/**
 * Classifies the beginning of a packet as an ICMP error quotes it in `buf[start, end)`: lengths may go beyond the
 * quote, and neither checksum nor options are judged. Returns 0 when the addresses, the protocol and at least 8 bytes
 * of a TCP, UDP or ICMP header are there and it is no later fragment; else -1 (for the caller to name).
 */
export function classifyQuote(buf: Uint8Array, start: number, end: number, out: Packet): number {
  out.start = start;
  out.end = end;
  out.sourcePort = -1;
  out.destinationPort = -1;
  if (end - start < IPV4_HEADER_BYTES) return -1;
  const version = buf[start]! >> 4;
  if (version === 4) {
    const headerBytes = (buf[start]! & 15) * 4;
    if (headerBytes < IPV4_HEADER_BYTES) return -1;
    setIpv4Fields(buf, start, headerBytes, out);
  } else {
    if (version !== 6 || end - start < IPV6_HEADER_BYTES) return -1;
    setIpv6Fields(start, out);
    if (!readQuotedIpv6(buf, end, out)) return -1;
  }
  const { protocol } = out;
  if (out.fragmentOffset > 0 || out.payload + 8 > end) return -1;
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
    out.sourcePort = readU16BE(buf, out.payload);
    out.destinationPort = readU16BE(buf, out.payload + 2);
    return 0;
  }
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 ? 0 : -1;
}

/** This stack sends no extension header but the fragment header, so a quote of its own packets has no other. */
function readQuotedIpv6(buf: Uint8Array, end: number, out: Packet): boolean {
  out.protocol = buf[out.start + 6]!;
  out.payload = out.start + IPV6_HEADER_BYTES;
  out.fragmentOffset = 0;
  if (out.protocol !== HEADER_FRAGMENT) return true;
  if (out.payload + IPV6_FRAGMENT_BYTES > end) return false;
  out.protocol = buf[out.payload]!;
  out.fragmentOffset = readU16BE(buf, out.payload + 2) & 0xfff8;
  out.payload += IPV6_FRAGMENT_BYTES;
  return true;
}
