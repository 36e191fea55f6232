/**
 * Protocol numbers of the IP headers (IANA registry; RFC 791 §3.1, RFC 8200 §4) that this stack knows.
 */

/** ICMP for IPv4 (RFC 792). */
export const PROTOCOL_ICMP = 1;
/** TCP (RFC 9293). */
export const PROTOCOL_TCP = 6;
/** UDP (RFC 768). */
export const PROTOCOL_UDP = 17;
/** ICMP for IPv6 (RFC 4443). */
export const PROTOCOL_ICMPV6 = 58;
/** IPv6 hop-by-hop options (RFC 8200 §4.3). */
export const HEADER_HOP_BY_HOP = 0;
/** IPv6 routing header (RFC 8200 §4.4). */
export const HEADER_ROUTING = 43;
/** IPv6 fragment header (RFC 8200 §4.5). */
export const HEADER_FRAGMENT = 44;
/** IPv6 "nothing follows" (RFC 8200 §4.7). */
export const HEADER_NONE = 59;
/** IPv6 destination options (RFC 8200 §4.6). */
export const HEADER_DESTINATION = 60;

/**
 * Bytes that a transport header has at least (TCP 20, UDP 8, ICMP 8), or 0 for a protocol that this stack does not
 * know. A first fragment must hold that much, else a filter could not see the ports (RFC 1858, RFC 7112).
 */
export function transportHeaderBytes(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 20;
  return protocol === PROTOCOL_UDP || protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 ? 8 : 0;
}
