/**
 * The UDP header (RFC 768, RFC 8200 §8.1, RFC 1122 §4.1.3.4). Left out: UDP-Lite, jumbograms, and the IPv6 zero
 * checksum of tunnel protocols (RFC 6935), which nothing here speaks.
 */
import { readU16BE, writeU16BE } from '../base/bytes.ts';
import { foldChecksum, pseudoSum, sumBytes } from '../base/checksum.ts';
import { type DropReason, dropReason } from '../base/drop.ts';
import { PROTOCOL_UDP } from './protocol.ts';

/** Bytes of the header. */
export const UDP_HEADER_BYTES = 8;

const MALFORMED = /* @__PURE__ */ dropReason('udp-malformed');
const CHECKSUM = /* @__PURE__ */ dropReason('udp-checksum');

/** Source port, 0 to 65535 (0: no reply expected). The caller has checked the bounds, here and below. */
export function udpSourcePort(buf: Uint8Array, at: number): number {
  return readU16BE(buf, at);
}

/** Destination port, 0 to 65535. */
export function udpDestinationPort(buf: Uint8Array, at: number): number {
  return readU16BE(buf, at + 2);
}

/**
 * Checks the datagram at `buf[at, end)`, where `end` is the end of the IP packet: length and checksum.
 * `addressSum` is the running sum of both IP addresses. Returns the datagram's length in bytes, header included (it
 * may be shorter than the packet), or a negative reason. A checksum of zero means "none", in IPv4 only.
 */
export function checkUdp(
  buf: Uint8Array,
  at: number,
  end: number,
  family: 4 | 6,
  addressSum: number,
): number | DropReason {
  if (end - at < UDP_HEADER_BYTES) return MALFORMED;
  const length = readU16BE(buf, at + 4);
  if (length < UDP_HEADER_BYTES || length > end - at) return MALFORMED; // CHECK: udp-length
  const hasChecksum = readU16BE(buf, at + 6) !== 0;
  if (family === 6 && !hasChecksum) return CHECKSUM; // CHECK: udp6-zero-checksum
  if (!hasChecksum) return length;
  const sum = sumBytes(buf, at, at + length, pseudoSum(PROTOCOL_UDP, length, addressSum));
  if (foldChecksum(sum) !== 0) return CHECKSUM; // CHECK: udp-checksum
  return length;
}

/**
 * Writes the header for the payload that already lies at `buf[at + 8, at + length)`, checksum included (a computed
 * zero goes out as ffff). `length` is 8 to 65,535 and counts the header.
 */
export function writeUdpHeader(
  buf: Uint8Array,
  at: number,
  length: number,
  sourcePort: number,
  destinationPort: number,
  addressSum: number,
): void {
  writeU16BE(buf, at, sourcePort);
  writeU16BE(buf, at + 2, destinationPort);
  writeU16BE(buf, at + 4, length);
  writeU16BE(buf, at + 6, 0);
  const checksum = foldChecksum(sumBytes(buf, at, at + length, pseudoSum(PROTOCOL_UDP, length, addressSum)));
  writeU16BE(buf, at + 6, checksum === 0 ? 0xffff : checksum);
}
