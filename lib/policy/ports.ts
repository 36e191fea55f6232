/**
 * Ports and protocols as a policy writes them: `*`, `22`, `80,443`, `1000-2000`; `tcp`, `icmp`, `47`, and in grants
 * `tcp:443`. The protocol numbers are IANA's.
 */
import { parseDecimal } from '../base/address.ts';

/** First and last port, both included; 0 to 65535. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** A text that means something, or why not. */
export type Parsed<T> = { readonly value: T } | { readonly fault: string; readonly hint?: string };

/** All ports. */
export const ALL_PORTS: readonly PortRange[] = Object.freeze([Object.freeze({ first: 0, last: 65_535 })]);
/** What a rule is about that names no protocol: ICMP, TCP, UDP, ICMPv6. */
export const DEFAULT_PROTOCOLS: readonly number[] = Object.freeze([1, 6, 17, 58]);
/** Those with ports: TCP, UDP, SCTP. */
export const PORT_PROTOCOLS: readonly number[] = Object.freeze([6, 17, 132]);
/** Most ranges in one list of ports. */
const MAX_PORT_RANGES = 1000;

/** Names of protocols and their numbers. */
export const PROTOCOL_NAMES: Readonly<Record<string, number>> = Object.freeze({
  icmp: 1,
  igmp: 2,
  ipv4: 4,
  'ip-in-ip': 4,
  tcp: 6,
  egp: 8,
  igp: 9,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  'ipv6-icmp': 58,
  sctp: 132,
  fc: 133,
});

/** A list of ports. */
export function parsePorts(text: string): Parsed<readonly PortRange[]> {
  if (text === '*') return { value: ALL_PORTS };
  const parts = text.split(',');
  if (parts.length > MAX_PORT_RANGES) return { fault: `a list of ports has more than ${MAX_PORT_RANGES} parts` };
  const value: PortRange[] = [];
  for (const part of parts) {
    const range = part.trim();
    const dash = range.indexOf('-');
    const first = parseDecimal(dash < 0 ? range : range.slice(0, dash), 65_535);
    const last = dash < 0 ? first : parseDecimal(range.slice(dash + 1), 65_535);
    const hint = 'ports are like 22, 80,443, 1000-2000 or *';
    if (first === undefined || last === undefined) return { fault: `"${range.slice(0, 40)}" is not a port`, hint };
    if (first > last) return { fault: `the ports ${first}-${last} end before they begin`, hint: `${last}-${first}` };
    value.push({ first, last });
  }
  return { value };
}

/** A protocol by name or number. */
export function parseProtocol(text: string): Parsed<number> {
  const named = Object.hasOwn(PROTOCOL_NAMES, text) ? PROTOCOL_NAMES[text] : undefined;
  const value = named ?? parseDecimal(text, 255);
  if (value !== undefined) return { value };
  const lower = text.toLowerCase();
  if (text === '*') return { fault: '* is not a protocol', hint: 'leave "proto" out for TCP, UDP and ICMP' };
  if (lower === 'icmpv6') return { fault: `"${text}" is not a protocol`, hint: 'write ipv6-icmp' };
  if (Object.hasOwn(PROTOCOL_NAMES, lower)) return { fault: `"${text}" is not a protocol`, hint: `write ${lower}` };
  return {
    fault: `"${text.slice(0, 40)}" is not a protocol`,
    hint: 'a name like tcp, udp, icmp, or a number of 0 to 255',
  };
}

/** Protocol and ports of a grant: `*`, `443`, `tcp:443`, `icmp:*`. Without a protocol the number is undefined. */
export function parseProtocolPorts(
  text: string,
): Parsed<{ protocol: number | undefined; ports: readonly PortRange[] }> {
  const colon = text.indexOf(':');
  const isBare = colon < 0 && /^[0-9*]/.test(text);
  if (isBare) {
    const ports = parsePorts(text);
    return 'fault' in ports ? ports : { value: { protocol: undefined, ports: ports.value } };
  }
  const protocol = parseProtocol(colon < 0 ? text : text.slice(0, colon));
  if ('fault' in protocol) return protocol;
  const ports = colon < 0 ? { value: ALL_PORTS } : parsePorts(text.slice(colon + 1));
  if ('fault' in ports) return ports;
  const fault = portFault(protocol.value, ports.value);
  return fault ?? { value: { protocol: protocol.value, ports: ports.value } };
}

/** Why a protocol cannot have these ports, or undefined when it can. */
export function portFault(
  protocol: number | undefined,
  ports: readonly PortRange[],
): { readonly fault: string; readonly hint: string } | undefined {
  if (protocol === undefined || PORT_PROTOCOLS.includes(protocol) || isAllPorts(ports)) return undefined;
  return { fault: `protocol ${protocol} has no ports`, hint: 'write * for the ports' };
}

/** Whether one of the ranges is all ports. */
export function isAllPorts(ports: readonly PortRange[]): boolean {
  return ports.some(({ first, last }) => first === 0 && last === 65_535);
}

/** Whether a port is in one of the ranges. */
export function hasPort(ports: readonly PortRange[], port: number): boolean {
  return ports.some(({ first, last }) => first <= port && port <= last);
}

/** The same ports as ranges that are sorted and neither overlap nor touch. */
export function unionOfPorts(ranges: readonly PortRange[]): readonly PortRange[] {
  const out: { first: number; last: number }[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const end = out[out.length - 1];
    if (end === undefined || first > end.last + 1) out.push({ first, last });
    else if (last > end.last) end.last = last;
  }
  return out;
}

/** The ports of the first that are not in the second, both as {@link unionOfPorts} gives them. */
export function minusPorts(ranges: readonly PortRange[], taken: readonly PortRange[]): readonly PortRange[] {
  const out: PortRange[] = [];
  for (const { first, last } of ranges) {
    let from = first;
    for (const hole of taken) {
      if (hole.last < from || hole.first > last) continue;
      if (hole.first > from) out.push({ first: from, last: hole.first - 1 });
      from = hole.last + 1;
    }
    if (from <= last) out.push({ first: from, last });
  }
  return out;
}
