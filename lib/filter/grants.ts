/**
 * Capability grants: what the sources of a rule may do with an application on this device, as the application learns
 * by whois. The packet filter itself does not look at them. Lookups go through all grants: they are per connection or
 * request, not per packet.
 */
import type { Prefix } from '../base/address.ts';
import { parsePrefix } from '../base/address.ts';
import type { FilterLimits } from './limits.ts';
import { type AddressRange, lastOfPrefix, parseRanges } from './ranges.ts';
import type { WireCapGrant, WireFilterRule } from './rule.ts';

interface Grant {
  readonly sources: readonly AddressRange[];
  readonly destinations: readonly AddressRange[];
  readonly capabilities: ReadonlyMap<string, readonly unknown[]>;
}

/** The capability grants of all rules. */
export class Grants {
  /** Parts that were dropped for their form. */
  malformed = 0;
  /** Grants that were left out for a limit. */
  overLimit = 0;
  readonly #limits: FilterLimits;
  readonly #holdersOf: (capability: string) => readonly Prefix[];
  readonly #grants: Grant[] = [];
  #ranges = 0;

  /** `holdersOf` gives the addresses of those who have a capability, for sources `cap:NAME`. */
  constructor(limits: FilterLimits, holdersOf: (capability: string) => readonly Prefix[]) {
    this.#limits = limits;
    this.#holdersOf = holdersOf;
  }

  /** Whether no rule has had one that counts. */
  get isEmpty(): boolean {
    return this.#grants.length === 0;
  }

  /** Adds the grants of a rule, if it has any. One with source bits is left out: see {@link RuleParser}. */
  add(rule: WireFilterRule): void {
    const wanted = rule.CapGrant ?? [];
    const bits = (rule as { SrcBits?: readonly number[] | null }).SrcBits ?? [];
    if (wanted.length === 0) return;
    if (bits.length > 0) return; // CHECK: filter-grant-bits
    const sources = rule.SrcIPs.flatMap(text => this.#sourcesOf(text));
    for (const grant of wanted) this.#addGrant(sources, grant);
  }

  #addGrant(sources: readonly AddressRange[], grant: WireCapGrant): void {
    this.#ranges += sources.length + grant.Dsts.length;
    const isOver = this.#grants.length >= this.#limits.rules || this.#ranges > this.#limits.ranges;
    if (isOver) return void this.overLimit++; // CHECK: filter-grant-limit
    const destinations = grant.Dsts.flatMap(text => this.#destinationsOf(text));
    const capabilities = new Map<string, readonly unknown[]>();
    for (const name of grant.Caps ?? []) if (name !== '') capabilities.set(name, []);
    for (const [name, values] of Object.entries(grant.CapMap ?? {}))
      if (name !== '') capabilities.set(name, values ?? []);
    this.#grants.push({ sources, destinations, capabilities });
  }

  #sourcesOf(text: string): readonly AddressRange[] {
    if (text.startsWith('cap:'))
      return this.#holdersOf(text.slice(4)).map(({ bytes, bits }) => ({
        first: bytes,
        last: lastOfPrefix(bytes, bits),
      }));
    return parseRanges(text) ?? this.#refuse();
  }

  /** Destinations of grants may have host bits set, which do not count; also the ranges that rules may have. */
  #destinationsOf(text: string): readonly AddressRange[] {
    const prefix = parsePrefix(text);
    if (prefix !== undefined) return [{ first: prefix.bytes, last: lastOfPrefix(prefix.bytes, prefix.bits) }];
    return parseRanges(text) ?? this.#refuse();
  }

  #refuse(): readonly AddressRange[] {
    this.malformed++;
    return [];
  }

  /** What a source has on a destination (addresses of 4 or 16 bytes): capability names to the values of all grants. */
  find(source: Uint8Array, destination: Uint8Array): Map<string, unknown[]> {
    const out = new Map<string, unknown[]>();
    for (const { sources, destinations, capabilities } of this.#grants) {
      if (!covers(sources, source) || !covers(destinations, destination)) continue;
      for (const [name, values] of capabilities) out.set(name, [...(out.get(name) ?? []), ...values]);
    }
    return out;
  }
}

function covers(ranges: readonly AddressRange[], address: Uint8Array): boolean {
  return ranges.some(({ first, last }) => {
    return first.length === address.length && !isBefore(address, first) && !isBefore(last, address);
  });
}

function isBefore(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return false;
}
