/** The addresses of this machine that others could use (`Host.interfaces`), on runtimes with Node's modules. */
import { networkInterfaces } from 'node:os';
import { canonicalAddress, parseAddress, parsePrefix, prefixContains } from '../../lib/base/address.ts';

/** One address of an interface, as Node tells it. */
export interface InterfaceAddress {
  readonly address: string;
  readonly internal: boolean;
}

/** What is never of use: nothing, loopback, multicast, the addresses of tailnets, link-local IPv6. */
const USELESS = Object.freeze([
  '0.0.0.0/8',
  '127.0.0.0/8',
  '100.64.0.0/10',
  '224.0.0.0/3',
  '::/127',
  'fe80::/10',
  'fd7a:115c:a1e0::/48',
  'ff00::/8',
]);
const LINK_LOCAL_V4 = '169.254.0.0/16';

/** See `Host.interfaces`: empty where the runtime may not, or cannot, tell. */
export function readInterfaces(): readonly string[] {
  try {
    return usableAddresses(Object.values(networkInterfaces()).flatMap(list => list ?? []));
  } catch {
    return [];
  }
}

/** Those that others could use, in canonical form, each once, in the order given. */
export function usableAddresses(all: readonly InterfaceAddress[]): readonly string[] {
  const found = new Set<string>();
  const linkLocal = new Set<string>();
  for (const { address, internal } of all) {
    const bytes = internal || address.includes('%') ? undefined : parseAddress(address);
    if (bytes === undefined || USELESS.some(text => isWithin(bytes, text))) continue;
    (isWithin(bytes, LINK_LOCAL_V4) ? linkLocal : found).add(canonicalAddress(address)!);
  }
  const hasV4 = [...found].some(address => !address.includes(':'));
  return Object.freeze([...found, ...(hasV4 ? [] : linkLocal)]);
}

function isWithin(bytes: Uint8Array, text: string): boolean {
  const prefix = parsePrefix(text)!;
  return prefix.bytes.length === bytes.length && prefixContains(prefix, bytes);
}
