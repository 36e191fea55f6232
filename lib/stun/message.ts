/**
 * STUN binding messages (RFC 8489 §5, §14) in the dialect that relays and clients of tailnets speak.
 *
 * A request carries SOFTWARE `tailnode` and a correct FINGERPRINT as its last attribute: stock responders answer
 * nothing else. A response carries one XOR-MAPPED-ADDRESS. Left out: authentication, all other methods, long-term
 * credentials, and requests that arrive at a client.
 */
import { formatAddress, parseAddress } from '../base/address.ts';
import { readU16BE, readU32BE, writeU16BE, writeU32BE } from '../base/bytes.ts';

/** Length of a transaction id. */
export const TRANSACTION_ID_BYTES = 12;
/** Length of what {@link writeBindingRequest} writes. */
export const BINDING_REQUEST_BYTES = 40;
/** Most that {@link writeBindingResponse} writes (an IPv6 address). */
export const BINDING_RESPONSE_MAX_BYTES = 44;
/** The UDP port of a STUN server (RFC 8489 §18.6). */
export const STUN_PORT = 3478;

const HEADER_BYTES = 20;
const MAGIC_COOKIE = 0x2112a442;
const TYPE_REQUEST = 0x0001;
const TYPE_RESPONSE = 0x0101;
const ATTRIBUTE_MAPPED_ADDRESS = 0x0001;
const ATTRIBUTE_XOR_MAPPED_ADDRESS = 0x0020;
/** The number of XOR-MAPPED-ADDRESS in drafts before RFC 5389; some servers still use it. */
const ATTRIBUTE_XOR_MAPPED_ADDRESS_OLD = 0x8020;
const ATTRIBUTE_SOFTWARE = 0x8022;
const ATTRIBUTE_FINGERPRINT = 0x8028;
const FINGERPRINT_XOR = 0x5354554e;
const SOFTWARE = Object.freeze([0x74, 0x61, 0x69, 0x6c, 0x6e, 0x6f, 0x64, 0x65]);

/** Whether a datagram looks like STUN: 20 bytes, two zero bits, the magic cookie (RFC 8489 §5). */
export function isStun(buf: Uint8Array, start: number, end: number): boolean {
  return end - start >= HEADER_BYTES && (buf[start]! & 0xc0) === 0 && readU32BE(buf, start + 4) === MAGIC_COOKIE;
}

/** Writes a binding request of 40 bytes at `start`. `transactionId` is 12 random bytes. */
export function writeBindingRequest(out: Uint8Array, start: number, transactionId: Uint8Array): number {
  writeHeader(out, start, TYPE_REQUEST, BINDING_REQUEST_BYTES - HEADER_BYTES, transactionId, 0);
  writeU16BE(out, start + 20, ATTRIBUTE_SOFTWARE);
  writeU16BE(out, start + 22, SOFTWARE.length);
  out.set(SOFTWARE, start + 24);
  writeU16BE(out, start + 32, ATTRIBUTE_FINGERPRINT);
  writeU16BE(out, start + 34, 4);
  writeU32BE(out, start + 36, (crc32(out, start, start + 32) ^ FINGERPRINT_XOR) >>> 0);
  return BINDING_REQUEST_BYTES;
}

/**
 * Checks a binding request of a tailnet client: its software, and the fingerprint as last attribute.
 * Returns the offset of the transaction id, or -1 for anything else.
 */
export function parseBindingRequest(buf: Uint8Array, start: number, end: number): number {
  if (!isStun(buf, start, end) || readU16BE(buf, start) !== TYPE_REQUEST) return -1;
  const stop = start + HEADER_BYTES + readU16BE(buf, start + 2);
  if (stop !== end) return -1;
  let isTailnode = false;
  for (let at = start + HEADER_BYTES; at + 4 <= stop; ) {
    const type = readU16BE(buf, at);
    const length = readU16BE(buf, at + 2);
    const value = at + 4;
    if (value + length > stop) return -1;
    if (type === ATTRIBUTE_SOFTWARE) isTailnode = isSoftware(buf, value, length);
    if (type === ATTRIBUTE_FINGERPRINT) {
      const isLast = length === 4 && value + 4 === stop;
      const isRight = isLast && readU32BE(buf, value) === (crc32(buf, start, at) ^ FINGERPRINT_XOR) >>> 0;
      return isRight && isTailnode ? start + 8 : -1;
    }
    at = value + ((length + 3) & ~3);
  }
  return -1;
}

/**
 * Writes the response to a request at `idOffset` of `request`: where it came from, as an IPv4 or IPv6 address text (a
 * mapped one is answered as the IPv4 address that it is).
 * Returns its length (32 or 44). `out` has room for 44 bytes at `start`. Throws RangeError for another text.
 */
export function writeBindingResponse(
  out: Uint8Array,
  start: number,
  request: Uint8Array,
  idOffset: number,
  address: string,
  port: number,
): number {
  const parsed = parseAddress(address);
  if (parsed === undefined) throw new RangeError(`"address" expected an IP address, got '${address}'`);
  const bytes = unmapAddress(parsed);
  const length = 8 + bytes.length;
  writeHeader(out, start, TYPE_RESPONSE, length, request, idOffset);
  writeU16BE(out, start + 20, ATTRIBUTE_XOR_MAPPED_ADDRESS);
  writeU16BE(out, start + 22, 4 + bytes.length);
  out[start + 24] = 0;
  out[start + 25] = bytes.length === 4 ? 1 : 2;
  writeU16BE(out, start + 26, port ^ (MAGIC_COOKIE >>> 16));
  for (let i = 0; i < bytes.length; i++) out[start + 28 + i] = bytes[i]! ^ out[start + 4 + i]!;
  return HEADER_BYTES + length;
}

/** What a binding response says. */
export interface BindingResponse {
  /** Offset of the 12 transaction id bytes in the datagram. */
  readonly idOffset: number;
  /** Canonical address text; IPv4 also where the server wrote it in IPv6 form. */
  readonly address: string;
  readonly port: number;
}

/**
 * Parses a binding success response (RFC 8489 §14.1, §14.2; also the attribute's number in old drafts, and the plain
 * form where no other is there). Unknown attributes are skipped. Undefined for anything else.
 */
export function parseBindingResponse(buf: Uint8Array, start: number, end: number): BindingResponse | undefined {
  if (!isStun(buf, start, end) || readU16BE(buf, start) !== TYPE_RESPONSE) return undefined;
  const stop = start + HEADER_BYTES + readU16BE(buf, start + 2);
  if (stop > end) return undefined;
  let plain: BindingResponse | undefined;
  for (let at = start + HEADER_BYTES; at + 4 <= stop; ) {
    const type = readU16BE(buf, at);
    const length = readU16BE(buf, at + 2);
    const value = at + 4;
    if (value + length > stop) return undefined;
    if (type === ATTRIBUTE_XOR_MAPPED_ADDRESS || type === ATTRIBUTE_XOR_MAPPED_ADDRESS_OLD)
      return readMapped(buf, start, value, length, true);
    if (type === ATTRIBUTE_MAPPED_ADDRESS) plain ??= readMapped(buf, start, value, length, false);
    at = value + ((length + 3) & ~3);
  }
  return plain;
}

function readMapped(
  buf: Uint8Array,
  start: number,
  value: number,
  length: number,
  isMasked: boolean,
): BindingResponse | undefined {
  const bytes = length === 8 && buf[value + 1] === 1 ? 4 : length === 20 && buf[value + 1] === 2 ? 16 : 0;
  if (bytes === 0) return undefined;
  const address = buf.slice(value + 4, value + 4 + bytes);
  if (isMasked) for (let i = 0; i < bytes; i++) address[i]! ^= buf[start + 4 + i]!;
  const port = readU16BE(buf, value + 2) ^ (isMasked ? MAGIC_COOKIE >>> 16 : 0);
  return port === 0 ? undefined : { idOffset: start + 8, address: formatAddress(unmapAddress(address)), port };
}

/**
 * The 4 bytes of an IPv4 address that stands in IPv6 form (RFC 4291 §2.5.5.2), other addresses as they are: a socket
 * for both families sees IPv4 peers so, and stock servers on such sockets answer so.
 */
export function unmapAddress(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 16 || bytes[10] !== 0xff || bytes[11] !== 0xff) return bytes;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return bytes;
  return bytes.slice(12);
}

function writeHeader(
  out: Uint8Array,
  start: number,
  type: number,
  length: number,
  id: Uint8Array,
  idOffset: number,
): void {
  writeU16BE(out, start, type);
  writeU16BE(out, start + 2, length);
  writeU32BE(out, start + 4, MAGIC_COOKIE);
  for (let i = 0; i < TRANSACTION_ID_BYTES; i++) out[start + 8 + i] = id[idOffset + i]!;
}

function isSoftware(buf: Uint8Array, at: number, length: number): boolean {
  return length === SOFTWARE.length && SOFTWARE.every((byte, i) => buf[at + i] === byte);
}

/** CRC-32 of ISO 3309, as FINGERPRINT uses it (RFC 8489 §14.7). Bit by bit: the input has 32 bytes. */
function crc32(buf: Uint8Array, start: number, end: number): number {
  let crc = -1;
  for (let i = start; i < end; i++) {
    crc ^= buf[i]!;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}
