/**
 * ICMP and ICMPv6 messages: types, checksum, and the fields that hosts use (RFC 792, RFC 4443, RFC 1191 §4,
 * RFC 4884 left out). Both families have the same outline: type, code, checksum, four bytes, body.
 */
import { readU16BE, readU32BE, writeU16BE } from '../base/bytes.ts';
import { foldChecksum, pseudoSum, sumBytes } from '../base/checksum.ts';
import { type DropReason, dropReason } from '../base/drop.ts';
import { PROTOCOL_ICMPV6 } from './protocol.ts';

/** Bytes in front of the body. */
export const ICMP_HEADER_BYTES = 8;

/** IPv4 type: answer to an echo request. */
export const ICMP_ECHO_REPLY = 0;
/** IPv4 type: destination unreachable. */
export const ICMP_UNREACHABLE = 3;
/** IPv4 type: echo request. */
export const ICMP_ECHO_REQUEST = 8;
/** IPv4 type: hop limit or reassembly time exceeded. */
export const ICMP_TIME_EXCEEDED = 11;
/** IPv4 type: a header field is wrong. */
export const ICMP_PARAMETER_PROBLEM = 12;

/** Codes of {@link ICMP_UNREACHABLE} (RFC 792). */
export const UNREACHABLE_NETWORK = 0;
export const UNREACHABLE_HOST = 1;
export const UNREACHABLE_PROTOCOL = 2;
export const UNREACHABLE_PORT = 3;
export const UNREACHABLE_FRAGMENTATION_NEEDED = 4;

/** IPv6 type: destination unreachable. */
export const ICMPV6_UNREACHABLE = 1;
/** IPv6 type: packet too big for a link (RFC 4443 §3.2). */
export const ICMPV6_TOO_BIG = 2;
/** IPv6 type: hop limit or reassembly time exceeded. */
export const ICMPV6_TIME_EXCEEDED = 3;
/** IPv6 type: a header field is wrong (RFC 4443 §3.4). */
export const ICMPV6_PARAMETER_PROBLEM = 4;
/** IPv6 type: echo request. */
export const ICMPV6_ECHO_REQUEST = 128;
/** IPv6 type: answer to an echo request. */
export const ICMPV6_ECHO_REPLY = 129;
/** Code of {@link ICMPV6_UNREACHABLE} for a closed port (RFC 4443 §3.1). */
export const UNREACHABLE6_PORT = 4;
/** Code of a time exceeded message about reassembly, in both families. */
export const TIME_EXCEEDED_REASSEMBLY = 1;

const MALFORMED = /* @__PURE__ */ dropReason('icmp-malformed');
const CHECKSUM = /* @__PURE__ */ dropReason('icmp-checksum');

/** Path MTUs that occur in practice (RFC 1191 §7), for routers that do not say which one is theirs. */
const PLATEAUS = /* @__PURE__ */ Object.freeze([32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 576]);

/**
 * Checks length and checksum of the message in `buf[at, end)`; `addressSum` is the running sum of both IP addresses
 * (ICMPv6 only). Returns 0 or a negative reason.
 */
export function checkIcmp(buf: Uint8Array, at: number, end: number, family: 4 | 6, addressSum: number): DropReason {
  if (end - at < ICMP_HEADER_BYTES) return MALFORMED; // CHECK: icmp-truncated
  const sum = family === 4 ? 0 : pseudoSum(PROTOCOL_ICMPV6, end - at, addressSum);
  if (foldChecksum(sumBytes(buf, at, end, sum)) !== 0) return CHECKSUM; // CHECK: icmp-checksum
  return 0;
}

/** Fills in the checksum of the finished message in `buf[at, end)`. */
export function writeIcmpChecksum(buf: Uint8Array, at: number, end: number, family: 4 | 6, addressSum: number): void {
  writeU16BE(buf, at + 2, 0);
  const sum = family === 4 ? 0 : pseudoSum(PROTOCOL_ICMPV6, end - at, addressSum);
  writeU16BE(buf, at + 2, foldChecksum(sumBytes(buf, at, end, sum)));
}

/**
 * Whether a message of this type must never be answered with an error (RFC 1122 §3.2.2, RFC 4443 §2.4 e): errors
 * themselves, redirects, and every type that is not known to be a query.
 */
export function isIcmpError(family: 4 | 6, type: number): boolean {
  return family === 4 ? type !== ICMP_ECHO_REQUEST && type !== ICMP_ECHO_REPLY : type < 128 || type === 137;
}

/**
 * The next hop's MTU that a "too big" message at `at` names. An IPv4 router that says 0 leaves the choice to a table
 * of usual MTUs below the quoted packet's length (RFC 1191 §5).
 */
export function icmpNextHopMtu(buf: Uint8Array, at: number, family: 4 | 6, quotedBytes: number): number {
  if (family === 6) return readU32BE(buf, at + 4);
  const mtu = readU16BE(buf, at + 6);
  return mtu > 0 ? mtu : (PLATEAUS.find(plateau => plateau < quotedBytes) ?? 0);
}
