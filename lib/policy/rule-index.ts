/**
 * Which rules concern a device: as bits by rule, put together from bits by name, so that a device costs what it has
 * names and not what there are rules. Addresses and prefixes in rules are looked at one by one, each once.
 */
import type { Directory, Member } from './directory.ts';
import { partAt } from './filter-plan.ts';
import type { IpSet } from './ip-set.ts';
import type { PolicyRule, RuleDestination } from './policy.ts';

/** Rules about a device, as bits: where its packets may come from, go to, and go to among devices of one user. */
export interface RuleBits {
  readonly source: Uint32Array;
  readonly destination: Uint32Array;
  readonly self: Uint32Array;
}

/** Addresses that rules name, and these rules. */
interface Named {
  readonly addresses: IpSet;
  readonly bits: Uint32Array;
}

/** One side of all rules. */
class Side {
  readonly all: Uint32Array;
  readonly names = new Map<string, Uint32Array>();
  readonly addresses = new Map<string, Named>();
  readonly #words: number;

  constructor(words: number) {
    this.#words = words;
    this.all = new Uint32Array(words);
  }

  add(rule: number, key: string, addresses: IpSet | undefined): void {
    let bits = this.names.get(key) ?? this.addresses.get(key)?.bits;
    if (bits === undefined) {
      bits = new Uint32Array(this.#words);
      if (addresses === undefined) this.names.set(key, bits);
      else this.addresses.set(key, { addresses, bits });
    }
    setBit(bits, rule);
  }

  /** The bits of names and addresses that mean a device. */
  collect(member: Member, reach: IpSet, out: Uint32Array): void {
    for (const alias of member.aliases) unite(out, this.names.get(alias));
    for (const { addresses, bits } of this.addresses.values())
      if (reach.ranges.some(range => addresses.overlaps(range))) unite(out, bits);
  }
}

/** See the top of the file. */
export class RuleIndex {
  readonly #words: number;
  readonly #sources: Side;
  /** Rules from `*`. */
  readonly #wildcard: Uint32Array;
  readonly #destinations: Side;
  readonly #internet: Uint32Array;
  readonly #self: Uint32Array;
  /** Rules by way of routers. */
  readonly #via: { readonly rule: number; readonly destination: RuleDestination }[] = [];
  readonly #rules: readonly PolicyRule[];

  constructor(rules: readonly PolicyRule[]) {
    this.#rules = rules;
    this.#words = (rules.length + 31) >>> 5;
    this.#sources = new Side(this.#words);
    this.#destinations = new Side(this.#words);
    this.#wildcard = this.none();
    this.#internet = this.none();
    this.#self = this.none();
    rules.forEach((rule, i) => {
      this.#addSources(rule, i);
      this.#addDestinations(rule, i);
    });
  }

  /** Bits of no rule. */
  none(): Uint32Array {
    return new Uint32Array(this.#words);
  }

  /** The rules about a device. */
  bitsOf(member: Member, directory: Directory): RuleBits {
    const source = this.#sources.all.slice();
    this.#sources.collect(member, member.sends, source);
    const isWild = member.sends.ranges.some(range => directory.wildcard.overlaps(range));
    if (isWild) unite(source, this.#wildcard);
    const destination = this.#destinations.all.slice();
    this.#destinations.collect(member, member.serves, destination);
    if (!member.internet.isEmpty) unite(destination, this.#internet);
    for (const { rule, destination: way } of this.#via) {
      const part = partAt(this.#rules[rule]!, way, member);
      if (part !== undefined && part !== 'all' && !part.isEmpty) setBit(destination, rule);
    }
    return { source, destination, self: member.owner === undefined ? this.none() : this.#self };
  }

  #addSources({ sources }: PolicyRule, rule: number): void {
    for (const { kind, key, addresses } of sources) {
      if (kind === 'danger-all') setBit(this.#sources.all, rule);
      else if (kind === 'all') setBit(this.#wildcard, rule);
      else this.#sources.add(rule, key, addresses);
    }
  }

  #addDestinations({ destinations, via }: PolicyRule, rule: number): void {
    for (const destination of destinations) {
      const { kind, key, addresses } = destination.alias;
      if (via.length > 0) this.#via.push({ rule, destination });
      else if (kind === 'all') setBit(this.#destinations.all, rule);
      else if (kind === 'internet') setBit(this.#internet, rule);
      else if (kind === 'self') setBit(this.#self, rule);
      else this.#destinations.add(rule, key, addresses);
    }
  }
}

/** Marks a rule. */
export function setBit(bits: Uint32Array, at: number): void {
  bits[at >> 5]! |= 1 << (at & 31);
}

/** Whether a rule is in both. */
export function meet(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if ((a[i]! & b[i]!) !== 0) return true;
  return false;
}

/** The numbers of the rules that are in either. */
export function numbersIn(a: Uint32Array, b: Uint32Array): readonly number[] {
  const out: number[] = [];
  for (let word = 0; word < a.length; word++) {
    for (let rest = (a[word]! | b[word]!) >>> 0; rest !== 0; rest &= rest - 1)
      out.push(word * 32 + 31 - Math.clz32(rest & -rest));
  }
  return out;
}

function unite(out: Uint32Array, bits: Uint32Array | undefined): void {
  if (bits !== undefined) for (let i = 0; i < out.length; i++) out[i]! |= bits[i]!;
}
