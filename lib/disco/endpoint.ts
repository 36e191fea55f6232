/**
 * What kind of address a peer may be at, and which of two paths is the better one.
 *
 * A path is better when it is clearly faster; near addresses and IPv6 get something on top, since they cost less and
 * last longer. Left out: the path MTU as a reason, which nothing measures here.
 */
import { type Endpoint, parseAddress } from '../base/address.ts';

const BONUS_LOOPBACK = 50;
const BONUS_LINK_LOCAL = 30;
const BONUS_PRIVATE = 20;
const BONUS_IPV6 = 10;

/** A path to compare: its address, and its round trip. */
export interface PathQuality extends Endpoint {
  readonly latencyMs: number;
}

/** Whether path `a` is to be used instead of path `b`, which leads to another address. No path is the worst. */
export function isBetterPath(a: PathQuality | undefined, b: PathQuality | undefined): boolean {
  if (a === undefined) return false;
  if (b === undefined) return true;
  const aPoints = speedPoints(a.latencyMs, b.latencyMs) + addressBonus(a);
  const bPoints = speedPoints(b.latencyMs, a.latencyMs) + addressBonus(b);
  // A hundredth faster is no reason to move, or two equal paths would take turns.
  if (aPoints <= 1 && bPoints === 0) return false;
  return aPoints > bPoints;
}

/** By how many hundredths `latencyMs` is below the other's, rounded up. */
function speedPoints(latencyMs: number, otherMs: number): number {
  return latencyMs < otherMs ? 100 - Math.floor((latencyMs * 100) / otherMs) : 0;
}

/** Points for the kind of an address: 50 loopback, 30 link-local, 20 private, and 10 for IPv6; 0 for no address. */
export function addressBonus({ address }: Endpoint): number {
  const bytes = bytesOf(address);
  if (bytes === undefined) return 0;
  const isV6 = bytes.length === 16;
  const near = isLoopback(bytes)
    ? BONUS_LOOPBACK
    : isLinkLocal(bytes)
      ? BONUS_LINK_LOCAL
      : isPrivate(bytes)
        ? BONUS_PRIVATE
        : 0;
  return near + (isV6 ? BONUS_IPV6 : 0);
}

/**
 * Whether a ping can be sent to an address that somebody has named. Not to port 0, nobody, everybody, many, the numbers
 * that stand for relays (127.3.3.40), or link-local IPv6, which says nothing without an interface.
 */
export function isReachable(endpoint: Endpoint): boolean {
  const { address, port } = endpoint;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return false; // CHECK: disco-endpoint-port
  const bytes = parseAddress(address);
  if (bytes === undefined) return false; // CHECK: disco-endpoint-text
  const first = bytes[0]!;
  if (bytes.length === 4) {
    const isRelay = first === 127 && bytes[1] === 3 && bytes[2] === 3 && bytes[3] === 40;
    if (isRelay) return false; // CHECK: disco-endpoint-relay
    return first !== 0 && first < 224;
  }
  if (isLinkLocal(bytes)) return false; // CHECK: disco-endpoint-link-local
  return first !== 0xff && bytes.some(byte => byte !== 0);
}

/** An endpoint whose IPv4 address is not in its IPv6 form (`::ffff:1.2.3.4`), as sockets for both families give it. */
export function plainEndpoint(endpoint: Endpoint): Endpoint {
  const { address, port } = endpoint;
  return address.startsWith('::ffff:') && address.includes('.') ? { address: address.slice(7), port } : endpoint;
}

function bytesOf(address: string): Uint8Array | undefined {
  const zone = address.indexOf('%');
  return parseAddress(zone < 0 ? address : address.slice(0, zone));
}

/** 127.0.0.0/8, ::1. */
function isLoopback(bytes: Uint8Array): boolean {
  return bytes.length === 4 ? bytes[0] === 127 : bytes[15] === 1 && bytes.every((byte, i) => byte === 0 || i === 15);
}

/** 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291 §2.5.6). */
function isLinkLocal(bytes: Uint8Array): boolean {
  if (bytes.length === 4) return bytes[0] === 169 && bytes[1] === 254;
  return bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}

/** RFC 1918; fc00::/7 (RFC 4193). */
function isPrivate(bytes: Uint8Array): boolean {
  const [first = 0, second = 0] = bytes;
  if (bytes.length === 16) return (first & 0xfe) === 0xfc;
  return first === 10 || (first === 172 && (second & 0xf0) === 16) || (first === 192 && second === 168);
}
