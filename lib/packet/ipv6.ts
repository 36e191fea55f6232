/**
 * The IPv6 header and its chain of extension headers (RFC 8200 §3, §4; RFC 5095; RFC 6946; RFC 8504 §5.3).
 *
 * The chain is walked once, within bounds on headers, options and bytes, down to the upper-layer header. What a
 * receiver should be told about (unknown header, unknown option, wrong fragment) is left in the walk as a parameter
 * problem; whether it is really sent is the caller's decision. The hop limit is not looked at: RFC 8200 §3 forbids a
 * destination to drop for it. Left out: jumbograms, routing headers with segments left, IPsec, flow labels.
 */
import { readU16BE, readU32BE, writeU16BE, writeU32BE } from '../base/bytes.ts';
import { type DropReason, dropReason } from '../base/drop.ts';
import {
  HEADER_DESTINATION,
  HEADER_FRAGMENT,
  HEADER_HOP_BY_HOP,
  HEADER_ROUTING,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './protocol.ts';

/** Bytes of the fixed header. */
export const IPV6_HEADER_BYTES = 40;
/** Bytes of a fragment header. */
export const IPV6_FRAGMENT_BYTES = 8;
/** Offset of the source address in the header. */
export const IPV6_SOURCE = 8;
/** Offset of the destination address in the header. */
export const IPV6_DESTINATION = 24;
/** Largest payload without jumbograms: everything behind the fixed header. */
export const IPV6_MAX_PAYLOAD_BYTES = 65_535;
/** A packet with more extension headers is dropped (RFC 8504 §5.3 allows a limit). */
export const MAX_EXTENSION_HEADERS = 8;
/** A packet with more bytes of extension headers is dropped. */
export const MAX_EXTENSION_BYTES = 512;
/** A header with more options than this, padding not counted, is dropped. */
export const MAX_OPTIONS = 8;

/** Parameter problem codes (RFC 4443 §3.4). */
export const PROBLEM_HEADER_FIELD = 0;
export const PROBLEM_NEXT_HEADER = 1;
export const PROBLEM_OPTION = 2;
/** No parameter problem to report. */
export const PROBLEM_NONE = -1;

const MALFORMED = /* @__PURE__ */ dropReason('ip-malformed');
const OPTIONS = /* @__PURE__ */ dropReason('ip-options');

/** What {@link walkIpv6Headers} finds; reused from packet to packet. */
export interface Ipv6Walk {
  /** Number of the upper-layer protocol, or of the first header that is not understood. */
  protocol: number;
  /** Offset of that header. */
  payload: number;
  /** Offset of the byte that names {@link protocol}. */
  nextHeaderAt: number;
  /** Offset of the fragment header (also of an atomic one, RFC 6946), or 0. */
  fragmentHeader: number;
  /** Whether this is a real fragment, not a whole datagram. */
  isFragment: boolean;
  /** Offset of the fragment's data in the datagram's fragmentable part, in bytes. */
  fragmentOffset: number;
  hasMoreFragments: boolean;
  /** Identification, 32 bits. */
  fragmentId: number;
  /** Code of the parameter problem that a drop implies, or {@link PROBLEM_NONE}. */
  problemCode: number;
  /** Offset of the byte that the problem is about. */
  problemAt: number;
}

/**
 * Checks the fixed header of the packet in `buf[start, end)`: version and payload length against the buffer. Returns
 * the whole packet's length in bytes or a negative reason. Bytes after it are padding and belong to nobody.
 */
export function checkIpv6Header(buf: Uint8Array, start: number, end: number): number | DropReason {
  if (end - start < IPV6_HEADER_BYTES) return MALFORMED;
  if (buf[start]! >> 4 !== 6) return MALFORMED; // CHECK: ip6-version
  const total = IPV6_HEADER_BYTES + readU16BE(buf, start + 4);
  if (total > end - start) return MALFORMED; // CHECK: ip6-payload-length
  return total;
}

/**
 * Walks the extension headers of a packet whose fixed header was checked and which ends at `end`, and fills `out`.
 * Returns 0, or a negative reason with `out.problemCode` set where RFC 8200 asks for a parameter problem. In a
 * fragment other than the first the walk ends at the fragment header.
 */
export function walkIpv6Headers(buf: Uint8Array, start: number, end: number, out: Ipv6Walk): number {
  out.fragmentHeader = 0;
  out.isFragment = false;
  out.fragmentOffset = 0;
  out.hasMoreFragments = false;
  out.fragmentId = 0;
  out.problemCode = PROBLEM_NONE;
  out.problemAt = 0;
  const first = start + IPV6_HEADER_BYTES;
  let nextHeaderAt = start + 6;
  let at = first;
  for (let headers = 0; ; headers++) {
    const header = buf[nextHeaderAt]!;
    out.protocol = header;
    out.payload = at;
    out.nextHeaderAt = nextHeaderAt;
    if (header === PROTOCOL_TCP || header === PROTOCOL_UDP || header === PROTOCOL_ICMPV6) return 0;
    if (!isExtensionHeader(header)) return 0;
    if (headers >= MAX_EXTENSION_HEADERS) return OPTIONS; // CHECK: ip6-header-count
    if (at + 8 > end) return MALFORMED; // CHECK: ip6-truncated-extension
    const length = header === HEADER_FRAGMENT ? IPV6_FRAGMENT_BYTES : (buf[at + 1]! + 1) * 8;
    if (at + length > end) return MALFORMED; // CHECK: ip6-extension-length
    if (at + length - first > MAX_EXTENSION_BYTES) return OPTIONS; // CHECK: ip6-header-bytes
    const reason = readExtension(buf, at, length, at === first, end, start, out);
    if (reason < 0) return reason;
    nextHeaderAt = at;
    at += length;
    if (out.fragmentOffset > 0) {
      out.protocol = buf[nextHeaderAt]!;
      out.payload = at;
      out.nextHeaderAt = nextHeaderAt;
      return 0;
    }
  }
}

function isExtensionHeader(header: number): boolean {
  return (
    header === HEADER_HOP_BY_HOP ||
    header === HEADER_DESTINATION ||
    header === HEADER_ROUTING ||
    header === HEADER_FRAGMENT
  );
}

function readExtension(
  buf: Uint8Array,
  at: number,
  length: number,
  isFirst: boolean,
  end: number,
  start: number,
  out: Ipv6Walk,
): number {
  const header = out.protocol;
  if (header === HEADER_FRAGMENT) return readFragmentHeader(buf, at, end, start, out);
  if (header === HEADER_ROUTING) return readRoutingHeader(buf, at, out);
  if (header === HEADER_HOP_BY_HOP && !isFirst) return nextHeaderProblem(out); // CHECK: ip6-hop-by-hop-first
  return checkOptions(buf, at + 2, at + length, out);
}

function readFragmentHeader(buf: Uint8Array, at: number, end: number, start: number, out: Ipv6Walk): number {
  if (out.fragmentHeader !== 0) return MALFORMED; // CHECK: ip6-second-fragment-header
  const word = readU16BE(buf, at + 2);
  out.fragmentHeader = at;
  out.fragmentOffset = word & 0xfff8;
  out.hasMoreFragments = (word & 1) !== 0;
  out.fragmentId = readU32BE(buf, at + 4);
  out.isFragment = out.fragmentOffset > 0 || out.hasMoreFragments;
  const dataBytes = end - at - IPV6_FRAGMENT_BYTES;
  const isCut = out.hasMoreFragments && (dataBytes & 7) !== 0;
  if (isCut) return fieldProblem(out, start + 4, MALFORMED); // CHECK: ip6-fragment-length
  const dataEnd = out.fragmentOffset + dataBytes;
  if (dataEnd > IPV6_MAX_PAYLOAD_BYTES) return fieldProblem(out, at + 2, MALFORMED); // CHECK: ip6-fragment-beyond-end
  return 0;
}

/** Type 0 lets a packet bounce between two nodes (RFC 5095); other types are skipped once no segment is left. */
function readRoutingHeader(buf: Uint8Array, at: number, out: Ipv6Walk): number {
  if (buf[at + 2] === 0) return fieldProblem(out, at + 2, OPTIONS); // CHECK: ip6-routing-type-0
  if (buf[at + 3] !== 0) return fieldProblem(out, at + 2, OPTIONS); // CHECK: ip6-routing-segments-left
  return 0;
}

/** Options of a hop-by-hop or destination header (RFC 8200 §4.2): the two high bits say what the unknown ones ask. */
function checkOptions(buf: Uint8Array, start: number, end: number, out: Ipv6Walk): number {
  let options = 0;
  for (let at = start; at < end; ) {
    const type = buf[at]!;
    if (type === 0) {
      at++;
      continue;
    }
    if (at + 1 >= end || at + 2 + buf[at + 1]! > end) return MALFORMED; // CHECK: ip6-option-length
    if (type !== 1 && ++options > MAX_OPTIONS) return OPTIONS; // CHECK: ip6-option-count
    const action = type >> 6;
    if (action === 1) return OPTIONS; // CHECK: ip6-option-discard
    if (action > 1) return optionProblem(out, at); // CHECK: ip6-option-problem
    at += 2 + buf[at + 1]!;
  }
  return 0;
}

function fieldProblem(out: Ipv6Walk, at: number, reason: DropReason): DropReason {
  out.problemCode = PROBLEM_HEADER_FIELD;
  out.problemAt = at;
  return reason;
}

function nextHeaderProblem(out: Ipv6Walk): DropReason {
  out.problemCode = PROBLEM_NEXT_HEADER;
  out.problemAt = out.nextHeaderAt;
  return OPTIONS;
}

/** Action bits 11 forbid the report when the destination is a multicast group; nothing here is delivered to one. */
function optionProblem(out: Ipv6Walk, at: number): DropReason {
  out.problemCode = PROBLEM_OPTION;
  out.problemAt = at;
  return OPTIONS;
}

/**
 * Offset of the upper-layer header that an ICMP error would be about, found by lengths alone: nothing is judged, since
 * this serves packets that were refused. Returns `end` or more when it is not there; `protocolAt` of the result is
 * where its number stands.
 */
export function skipExtensions(buf: Uint8Array, start: number, end: number): { protocolAt: number; at: number } {
  let protocolAt = start + 6;
  let at = start + IPV6_HEADER_BYTES;
  for (let headers = 0; headers < MAX_EXTENSION_HEADERS && at + 8 <= end; headers++) {
    const header = buf[protocolAt]!;
    if (!isExtensionHeader(header)) break;
    protocolAt = at;
    at += header === HEADER_FRAGMENT ? IPV6_FRAGMENT_BYTES : (buf[at + 1]! + 1) * 8;
  }
  return { protocolAt, at };
}

/**
 * Whether no single host outside can be the source at `buf[offset, offset + 16)`: unspecified, loopback and all other
 * addresses of ::/96, IPv4-mapped (::ffff:0:0/96, which would smuggle an IPv4 address past IPv4 rules), multicast.
 */
export function isBogusIpv6Source(buf: Uint8Array, offset: number): boolean {
  if (buf[offset] === 0xff) return true;
  if (buf[offset] !== 0) return false;
  for (let i = 1; i < 10; i++) if (buf[offset + i] !== 0) return false;
  const group = readU16BE(buf, offset + 10);
  return group === 0 || group === 0xffff;
}

/**
 * Writes the fixed header at `buf[start, start + 40)`, traffic class and flow label zero. `payloadBytes` is 0 to
 * 65,535. Addresses are read at the offsets given; they may lie in `buf`, but not inside the new header.
 */
export function writeIpv6Header(
  buf: Uint8Array,
  start: number,
  payloadBytes: number,
  nextHeader: number,
  hopLimit: number,
  source: Uint8Array,
  sourceOffset: number,
  destination: Uint8Array,
  destinationOffset: number,
): void {
  buf[start] = 0x60;
  buf[start + 1] = 0;
  buf[start + 2] = 0;
  buf[start + 3] = 0;
  writeU16BE(buf, start + 4, payloadBytes);
  buf[start + 6] = nextHeader;
  buf[start + 7] = hopLimit;
  for (let i = 0; i < 16; i++) {
    buf[start + IPV6_SOURCE + i] = source[sourceOffset + i]!;
    buf[start + IPV6_DESTINATION + i] = destination[destinationOffset + i]!;
  }
}

/** Writes a fragment header at `buf[at, at + 8)`; `offset` is in bytes and a multiple of 8 (RFC 8200 §4.5). */
export function writeFragmentHeader(
  buf: Uint8Array,
  at: number,
  nextHeader: number,
  offset: number,
  hasMore: boolean,
  id: number,
): void {
  buf[at] = nextHeader;
  buf[at + 1] = 0;
  writeU16BE(buf, at + 2, offset | (hasMore ? 1 : 0));
  writeU32BE(buf, at + 4, id);
}
