/**
 * The form in which routes are kept: canonical prefixes without host bits. None of them lies in the networks that
 * addresses of devices are drawn from: a device would take packets that are meant for others.
 */
import { formatPrefix, parseAddress, parsePrefix, type Prefix, prefixContains } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';

const MAX_ROUTE_CHARS = 64;
const OWN: readonly string[] = Object.freeze(['100.64.0.0/10', 'fd7a:115c:a1e0::/48']);
/** Part of the second where IPv4 networks with the same addresses are told apart ("4via6"): no device is there. */
const VIA = 'fd7a:115c:a1e0:b1a::/64';
const MAPPED = '::ffff:0:0/96';

/** A prefix in the form that is kept, with host bits cleared; undefined for what cannot be a route. */
export function canonicalRoute(text: string): string | undefined {
  const prefix = text.length <= MAX_ROUTE_CHARS && text.includes('/') ? parsePrefix(text) : undefined;
  if (prefix === undefined) return undefined;
  if (isWithin(prefix, MAPPED)) return undefined; // CHECK: policy-route-mapped
  const isOwn = OWN.some(own => isWithin(prefix, own)) && !isWithin(prefix, VIA);
  if (isOwn) return undefined; // CHECK: policy-route-own
  return formatPrefix(prefix);
}

/** Whether a prefix has bits behind its length: somebody meant one of two things. */
export function hasHostBits(text: string): boolean {
  const address = parseAddress(text.slice(0, text.indexOf('/')));
  const prefix = parsePrefix(text);
  return address !== undefined && prefix !== undefined && !equalBytes(address, prefix.bytes);
}

/** The routes that a device offers: what is none is left out, each once, the first so many. */
export function readRoutes(values: readonly unknown[], most: number): readonly string[] {
  const out = new Set<string>();
  for (const value of values) {
    if (out.size >= most) break;
    const route = typeof value === 'string' ? canonicalRoute(value) : undefined;
    if (route !== undefined) out.add(route);
  }
  return [...out];
}

function isWithin(prefix: Prefix, text: string): boolean {
  const outer = parsePrefix(text)!;
  return outer.bytes.length === prefix.bytes.length && prefix.bits >= outer.bits && prefixContains(outer, prefix.bytes);
}
