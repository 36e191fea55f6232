/**
 * The IPv4 header: validation, field offsets and writing (RFC 791 §3.1, RFC 1122 §3.2.1).
 *
 * Options are skipped, as RFC 1122 §3.2.1.8 asks for unknown ones; a packet with a source route is dropped, because
 * it would let a stranger choose the way that replies take. The time to live is not looked at: RFC 1122 §3.2.1.7
 * forbids a destination to drop for it. Left out: forwarding, type of service, security options, router alert.
 */
import { readU16BE, writeU16BE } from '../base/bytes.ts';
import { foldChecksum, sumBytes } from '../base/checksum.ts';
import { type DropReason, dropReason } from '../base/drop.ts';

/** Bytes of a header without options. */
export const IPV4_HEADER_BYTES = 20;
/** Offset of the source address in the header. */
export const IPV4_SOURCE = 12;
/** Offset of the destination address in the header. */
export const IPV4_DESTINATION = 16;
/** Largest packet, header included. */
export const IPV4_MAX_BYTES = 65_535;
/** "Don't fragment" in the word of flags and offset. */
export const IPV4_DONT_FRAGMENT = 0x4000;
/** "More fragments" in the word of flags and offset. */
export const IPV4_MORE_FRAGMENTS = 0x2000;

const MALFORMED = /* @__PURE__ */ dropReason('ip-malformed');
const CHECKSUM = /* @__PURE__ */ dropReason('ip-checksum');
const OPTIONS = /* @__PURE__ */ dropReason('ip-options');

const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_LOOSE_ROUTE = 131;
const OPTION_STRICT_ROUTE = 137;

/**
 * Checks the header of the packet in `buf[start, end)`: version, header length, total length against the buffer,
 * checksum, well-formed options without a source route. Returns the header's length in bytes (20 to 60) or a negative
 * reason. Bytes after the total length are padding and belong to nobody.
 */
export function checkIpv4Header(buf: Uint8Array, start: number, end: number): number | DropReason {
  if (end - start < IPV4_HEADER_BYTES) return MALFORMED;
  const first = buf[start]!;
  const headerBytes = (first & 15) * 4;
  if (first >> 4 !== 4 || headerBytes < IPV4_HEADER_BYTES) return MALFORMED; // CHECK: ip4-version-and-ihl
  const total = readU16BE(buf, start + 2);
  if (total < headerBytes || total > end - start) return MALFORMED; // CHECK: ip4-total-length
  if (foldChecksum(sumBytes(buf, start, start + headerBytes)) !== 0) return CHECKSUM; // CHECK: ip4-checksum
  if (headerBytes === IPV4_HEADER_BYTES) return headerBytes;
  const reason = checkOptions(buf, start + IPV4_HEADER_BYTES, start + headerBytes);
  return reason < 0 ? reason : headerBytes;
}

/** Whether the options `buf[start, end)` are well-formed and name no route: 0 or a negative reason. */
function checkOptions(buf: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; ) {
    const type = buf[at]!;
    if (type === OPTION_END) return 0;
    if (type === OPTION_NOTHING) {
      at++;
      continue;
    }
    const length = at + 1 < end ? buf[at + 1]! : 0;
    if (length < 2 || at + length > end) return MALFORMED; // CHECK: ip4-option-length
    if (type === OPTION_LOOSE_ROUTE || type === OPTION_STRICT_ROUTE) return OPTIONS; // CHECK: ip4-source-route
    at += Math.max(length, 1);
  }
  return 0;
}

/**
 * Whether no single host can be the source at `buf[offset, offset + 4)`: "this network" 0/8, loopback 127/8,
 * multicast 224/4, reserved 240/4 and broadcast (RFC 1122 §3.2.1.3, RFC 6890).
 */
export function isBogusIpv4Source(buf: Uint8Array, offset: number): boolean {
  const first = buf[offset]!;
  return first === 0 || first === 127 || first >= 224;
}

/**
 * Writes a header of 20 bytes with its checksum at `buf[start, start + 20)`. `totalBytes` is 20 to 65,535 and includes
 * the header; `flagsAndOffset` is the word of flags and fragment offset (in units of 8 bytes). Addresses are read at
 * the offsets given; they may lie in `buf`, but not inside the new header.
 */
export function writeIpv4Header(
  buf: Uint8Array,
  start: number,
  totalBytes: number,
  id: number,
  flagsAndOffset: number,
  hopLimit: number,
  protocol: number,
  source: Uint8Array,
  sourceOffset: number,
  destination: Uint8Array,
  destinationOffset: number,
): void {
  buf[start] = 0x45;
  buf[start + 1] = 0;
  writeU16BE(buf, start + 2, totalBytes);
  writeU16BE(buf, start + 4, id);
  writeU16BE(buf, start + 6, flagsAndOffset);
  buf[start + 8] = hopLimit;
  buf[start + 9] = protocol;
  buf[start + 10] = 0;
  buf[start + 11] = 0;
  for (let i = 0; i < 4; i++) {
    buf[start + IPV4_SOURCE + i] = source[sourceOffset + i]!;
    buf[start + IPV4_DESTINATION + i] = destination[destinationOffset + i]!;
  }
  writeU16BE(buf, start + 10, foldChecksum(sumBytes(buf, start, start + IPV4_HEADER_BYTES)));
}
