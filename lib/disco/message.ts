/**
 * Messages of path discovery as bytes: a wrapper in the clear, and in its box a ping, a pong or a call.
 *
 *     6 magic | 32 sender's disco key | 24 nonce | NaCl box: 16 tag | u8 type | u8 version | payload
 *     ping     12 transaction id | 32 node key | zeros as wanted
 *     pong     12 transaction id | 18 address that the ping came from
 *     call     18 per address ("call me maybe")
 *     address  16 bytes, IPv4 in its IPv6 form | u16 port
 *
 * Numbers are big-endian. Left out: the kinds for relays of peers (4 to 9), and padding of pings to measure MTUs.
 */
import { formatAddress, parseAddress, type Endpoint } from '../base/address.ts';
import { copyBytes, readU16BE, readU32BE, writeU16BE } from '../base/bytes.ts';

/** Bytes of the clear part of a message. */
export const DISCO_HEADER_BYTES = 62;
/** Where the sender's disco key and the nonce begin. */
export const DISCO_SENDER_AT = 6;
export const DISCO_NONCE_AT = 38;
/** Bytes of a box's tag. */
export const DISCO_TAG_BYTES = 16;
/** Bytes of a key, and of a ping's transaction id. */
export const DISCO_KEY_BYTES = 32;
export const DISCO_ID_BYTES = 12;
/** Bytes of type and version. */
export const MESSAGE_HEADER_BYTES = 2;
/** Most addresses that {@link writeCall} is given. */
export const MAX_CALL_ENDPOINTS = 32;

const MAGIC = Object.freeze([0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac]);
const ENDPOINT_BYTES = 18;
/** The address that stands for relays, with a region's number as port. No packet may ever be sent to it. */
export const RELAY_ADDRESS = '127.3.3.40';

const TYPE_PING = 1;
const TYPE_PONG = 2;
const TYPE_CALL = 3;

/** Whether a datagram is one of path discovery: the magic, and as long as the clear part (62 bytes). */
export function looksLikeDisco(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start < DISCO_HEADER_BYTES) return false;
  for (let i = 0; i < MAGIC.length; i++) if (buf[start + i] !== MAGIC[i]) return false;
  return true;
}

/** Writes magic, sender (32 bytes) and nonce (24 bytes): 62 bytes. */
export function writeDiscoHeader(out: Uint8Array, start: number, sender: Uint8Array, nonce: Uint8Array): void {
  out.set(MAGIC, start);
  out.set(sender, start + DISCO_SENDER_AT);
  out.set(nonce, start + DISCO_NONCE_AT);
}

/** A ping. `nodeKey` is what the sender says it is; old programs leave it out. */
export interface DiscoPing {
  readonly type: 'ping';
  readonly id: Uint8Array;
  readonly nodeKey: Uint8Array | undefined;
}

/** What was in a box. Arrays are copies. */
export type DiscoMessage =
  | DiscoPing
  /** `observed`: where the ping came from, as its receiver saw it; undefined when that is no address. */
  | { readonly type: 'pong'; readonly id: Uint8Array; readonly observed: Endpoint | undefined }
  /** Addresses of the sender, as many as were asked for at most. */
  | { readonly type: 'call'; readonly endpoints: readonly Endpoint[] }
  /** Any other kind. */
  | { readonly type: 'other' };

/**
 * Reads `buf[start, end)`, the opened box. What follows a known message is skipped. A call of another version, or of a
 * length that does not fit, has no addresses. Undefined for what is too short.
 */
export function parseDiscoMessage(
  buf: Uint8Array,
  start: number,
  end: number,
  maxEndpoints: number,
): DiscoMessage | undefined {
  const at = start + MESSAGE_HEADER_BYTES;
  if (at > end) return undefined; // CHECK: disco-message-header
  const afterId = at + DISCO_ID_BYTES;
  switch (buf[start]) {
    case TYPE_PING: {
      if (afterId > end) return undefined; // CHECK: disco-ping-length
      const hasKey = afterId + DISCO_KEY_BYTES <= end;
      const nodeKey = hasKey ? buf.slice(afterId, afterId + DISCO_KEY_BYTES) : undefined;
      return { type: 'ping', id: buf.slice(at, afterId), nodeKey };
    }
    case TYPE_PONG:
      if (afterId + ENDPOINT_BYTES > end) return undefined; // CHECK: disco-pong-length
      return { type: 'pong', id: buf.slice(at, afterId), observed: readEndpoint(buf, afterId) };
    case TYPE_CALL:
      return { type: 'call', endpoints: buf[start + 1] === 0 ? readEndpoints(buf, at, end, maxEndpoints) : [] };
    default:
      return { type: 'other' };
  }
}

function readEndpoints(buf: Uint8Array, start: number, end: number, max: number): Endpoint[] {
  const out: Endpoint[] = [];
  if ((end - start) % ENDPOINT_BYTES !== 0) return out;
  for (let at = start; at < end && out.length < max; at += ENDPOINT_BYTES) {
    const endpoint = readEndpoint(buf, at);
    if (endpoint !== undefined) out.push(endpoint);
  }
  return out;
}

/** Undefined for port 0. */
function readEndpoint(buf: Uint8Array, at: number): Endpoint | undefined {
  const port = readU16BE(buf, at + 16);
  if (port === 0) return undefined;
  return { address: isMapped(buf, at) ? formatAddress(buf, at + 12, 4) : formatAddress(buf, at, 16), port };
}

function isMapped(buf: Uint8Array, at: number): boolean {
  for (let i = 0; i < 10; i++) if (buf[at + i] !== 0) return false;
  return buf[at + 10] === 0xff && buf[at + 11] === 0xff;
}

/** The first 6 bytes of a transaction id, as a number. */
export function pingNumber(id: Uint8Array): number {
  return readU32BE(id, 0) * 0x1_0000 + readU16BE(id, 4);
}

/** Writes a ping with id (12 bytes) and own node key (32 bytes). Returns its length, 46. */
export function writePing(out: Uint8Array, start: number, id: Uint8Array, nodeKey: Uint8Array): number {
  const at = writeHead(out, start, TYPE_PING);
  out.set(id, at);
  out.set(nodeKey, at + DISCO_ID_BYTES);
  return MESSAGE_HEADER_BYTES + DISCO_ID_BYTES + DISCO_KEY_BYTES;
}

/** Writes the pong to a ping with `id` that came from `from`. Returns its length, 32. */
export function writePong(out: Uint8Array, start: number, id: Uint8Array, from: Endpoint): number {
  const at = writeHead(out, start, TYPE_PONG);
  out.set(id, at);
  writeEndpoint(out, at + DISCO_ID_BYTES, from);
  return MESSAGE_HEADER_BYTES + DISCO_ID_BYTES + ENDPOINT_BYTES;
}

/** Bytes of a call with so many addresses. */
export function callBytes(endpoints: number): number {
  return MESSAGE_HEADER_BYTES + ENDPOINT_BYTES * endpoints;
}

/** Writes a call with own addresses, 32 at most. Returns its length. */
export function writeCall(out: Uint8Array, start: number, endpoints: readonly Endpoint[]): number {
  let at = writeHead(out, start, TYPE_CALL);
  for (const endpoint of endpoints) {
    writeEndpoint(out, at, endpoint);
    at += ENDPOINT_BYTES;
  }
  return at - start;
}

function writeHead(out: Uint8Array, start: number, type: number): number {
  out[start] = type;
  out[start + 1] = 0;
  return start + MESSAGE_HEADER_BYTES;
}

/** A zone is left out; a text that is no address is written as zeros. */
function writeEndpoint(out: Uint8Array, at: number, { address, port }: Endpoint): void {
  const zone = address.indexOf('%');
  const bytes = parseAddress(zone < 0 ? address : address.slice(0, zone));
  out.fill(0, at, at + 16);
  if (bytes?.length === 4) {
    out[at + 10] = 0xff;
    out[at + 11] = 0xff;
    copyBytes(out, at + 12, bytes, 0, 4);
  } else if (bytes !== undefined) {
    out.set(bytes, at);
  }
  writeU16BE(out, at + 16, port);
}
