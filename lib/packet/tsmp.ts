/**
 * TSMP: the small messages that members of a tailnet exchange inside the tunnel, as IP protocol 99 without fragments.
 * A ping is answered with a pong by every member, whatever its filter says; a rejection tells why a connection was not
 * let in; an advertisement carries a disco key, as the first packet of a session.
 *
 *     'p' | 8 bytes                                       ping
 *     'o' | the same 8 bytes | [port of the peerapi, 2]   pong
 *     '!' | protocol | reason | source port, destination port | [flags]   rejection, ports as the rejected packet had them
 *     'a' | 32 bytes of disco key                         advertisement
 *
 * There is no checksum: the tunnel has authenticated every byte. Left out: use of the advertisement, which the reader
 * hands on as bytes.
 */
import { copyBytes, readU16BE, writeU16BE } from '../base/bytes.ts';
import type { Slot } from '../base/slot.ts';
import type { Packet } from './classify.ts';
import { IPV4_HEADER_BYTES, writeIpv4Header } from './ipv4.ts';
import { IPV6_HEADER_BYTES, writeIpv6Header } from './ipv6.ts';

/** IP protocol number. */
export const PROTOCOL_TSMP = 99;
/** A message with fewer bytes than the smallest rejection is dropped. */
export const TSMP_LEAST_BYTES = 7;
/** Opaque bytes of a ping. */
export const TSMP_PING_DATA_BYTES = 8;

/** Types: the first byte of a message. */
export const TSMP_PING = 0x70;
export const TSMP_PONG = 0x6f;
export const TSMP_REJECT = 0x21;
export const TSMP_DISCO_KEY = 0x61;

/** Why a connection was rejected: no rule, nothing may come in, no forwarding, a firewall of the host. */
export const REJECT_NO_RULE = 0x41;
export const REJECT_SHIELDS_UP = 0x53;
export const REJECT_NO_FORWARDING = 0x46;
export const REJECT_HOST_FIREWALL = 0x57;

const PING_BYTES = 1 + TSMP_PING_DATA_BYTES;
const PONG_BYTES = PING_BYTES + 2;
const DISCO_KEY_BYTES = 32;
const HOP_LIMIT = 64;

/**
 * Type of the TSMP message in a classified packet, or 0 when it is none or too short for its type. Types that are not
 * known are returned as they are: they are to be dropped without an answer.
 */
export function tsmpType(packet: Packet, buf: Uint8Array): number {
  if (packet.protocol !== PROTOCOL_TSMP || packet.isFragment) return 0; // CHECK: tsmp-fragment
  const bytes = packet.end - packet.payload;
  if (bytes < TSMP_LEAST_BYTES) return 0; // CHECK: tsmp-short
  const type = buf[packet.payload]!;
  const isPing = type === TSMP_PING || type === TSMP_PONG;
  if (isPing && bytes < PING_BYTES) return 0; // CHECK: tsmp-ping-length
  if (type === TSMP_DISCO_KEY && bytes < 1 + DISCO_KEY_BYTES) return 0; // CHECK: tsmp-key-length
  return type;
}

/**
 * Answers the ping in a classified packet: writes a whole IP packet into `out`, back to where the ping came from, and
 * returns its length in bytes, or 0 when it is no ping. `peerApiPort` 0: there is none.
 */
export function answerTsmpPing(packet: Packet, buf: Uint8Array, out: Slot, peerApiPort = 0): number {
  if (tsmpType(packet, buf) !== TSMP_PING) return 0;
  const at = startMessage(out, packet, buf, PONG_BYTES);
  out.buf[at] = TSMP_PONG;
  copyBytes(out.buf, at + 1, buf, packet.payload + 1, packet.payload + PING_BYTES);
  writeU16BE(out.buf, at + PING_BYTES, peerApiPort);
  return out.end - out.start;
}

/** Writes a ping with 8 bytes of data between two addresses of one family (4 or 16 bytes); its length in bytes. */
export function writeTsmpPing(out: Slot, source: Uint8Array, destination: Uint8Array, data: Uint8Array): number {
  if (data.length !== TSMP_PING_DATA_BYTES)
    throw new RangeError(`"data" expected ${TSMP_PING_DATA_BYTES} bytes, got ${data.length}`);
  const at = startPacket(out, source, 0, destination, 0, source.length, PING_BYTES);
  out.buf[at] = TSMP_PING;
  copyBytes(out.buf, at + 1, data, 0, TSMP_PING_DATA_BYTES);
  return out.end - out.start;
}

/**
 * Writes a rejection of the TCP or UDP packet that was classified, to its sender; its length in bytes, or 0 when the
 * packet has no ports. tailscaled sends one for a TCP SYN over IPv4 that no rule allows. It tells the sender nothing
 * that the lack of an answer would not, but it is a packet per packet: only for those that passed the tunnel.
 */
export function writeTsmpReject(packet: Packet, buf: Uint8Array, out: Slot, reason: number): number {
  if (packet.sourcePort < 0) return 0;
  const at = startMessage(out, packet, buf, TSMP_LEAST_BYTES);
  out.buf[at] = TSMP_REJECT;
  out.buf[at + 1] = packet.protocol;
  out.buf[at + 2] = reason;
  writeU16BE(out.buf, at + 3, packet.sourcePort);
  writeU16BE(out.buf, at + 5, packet.destinationPort);
  return out.end - out.start;
}

/** A rejection that a peer has sent. The flow was from this device, which is the packet's destination, to its source. */
export interface TsmpReject {
  readonly protocol: number;
  /** One of the `REJECT_` constants, or another byte. */
  readonly reason: number;
  /** This device's port. */
  readonly localPort: number;
  /** The port of the peer that was refused. */
  readonly remotePort: number;
  /** The sender is not sure: go on trying. */
  readonly isTentative: boolean;
}

/**
 * The rejection in a classified packet, or undefined when it is none. Believe it only for a connection that is being
 * opened to just the packet's source and this port.
 */
export function readTsmpReject(packet: Packet, buf: Uint8Array): TsmpReject | undefined {
  if (tsmpType(packet, buf) !== TSMP_REJECT) return undefined;
  const at = packet.payload;
  return {
    protocol: buf[at + 1]!,
    reason: buf[at + 2]!,
    localPort: readU16BE(buf, at + 3),
    remotePort: readU16BE(buf, at + 5),
    isTentative: at + 7 < packet.end && (buf[at + 7]! & 1) !== 0,
  };
}

/** Data (8 bytes, copied) and peerapi port (0: none) of the pong in a classified packet, or undefined. */
export function readTsmpPong(
  packet: Packet,
  buf: Uint8Array,
): { readonly data: Uint8Array; readonly peerApiPort: number } | undefined {
  if (tsmpType(packet, buf) !== TSMP_PONG) return undefined;
  const at = packet.payload;
  const peerApiPort = at + PONG_BYTES <= packet.end ? readU16BE(buf, at + PING_BYTES) : 0;
  return { data: buf.slice(at + 1, at + PING_BYTES), peerApiPort };
}

/** The disco key (32 bytes, copied) that the owner of the packet's source advertises, or undefined. */
export function readTsmpDiscoKey(packet: Packet, buf: Uint8Array): Uint8Array | undefined {
  if (tsmpType(packet, buf) !== TSMP_DISCO_KEY) return undefined;
  return buf.slice(packet.payload + 1, packet.payload + 1 + DISCO_KEY_BYTES);
}

/** The IP header of a message back to a packet's source; offset of the message. */
function startMessage(out: Slot, packet: Packet, buf: Uint8Array, bytes: number): number {
  return startPacket(out, buf, packet.destination, buf, packet.source, packet.addressBytes, bytes);
}

function startPacket(
  out: Slot,
  source: Uint8Array,
  sourceAt: number,
  destination: Uint8Array,
  destinationAt: number,
  addressBytes: number,
  bytes: number,
): number {
  out.reset();
  const { buf, start } = out;
  const headerBytes = addressBytes === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  out.end = start + headerBytes + bytes;
  if (addressBytes === 4) {
    const total = headerBytes + bytes;
    writeIpv4Header(buf, start, total, 0, 0, HOP_LIMIT, PROTOCOL_TSMP, source, sourceAt, destination, destinationAt);
  } else {
    writeIpv6Header(buf, start, bytes, PROTOCOL_TSMP, HOP_LIMIT, source, sourceAt, destination, destinationAt);
  }
  return start + headerBytes;
}
