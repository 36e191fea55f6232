/**
 * The packet filter of one device, in two halves: what it is about (destinations, ports, capabilities), which changes
 * with the device alone, and the lists of sources, which change with others. When only lists have changed, the entries
 * with other lists are made again and the rest stays.
 *
 * Entries whose rules name the same sources and protocols are one.
 */
import { formatPrefix, parsePrefix } from '../base/address.ts';
import type { WireCapGrant, WireFilterRule, WireNetPortRange } from '../filter/rule.ts';
import type { Member } from './directory.ts';
import { formatKey, IpSet, rangeOfPrefix } from './ip-set.ts';
import type { PolicyRule, RuleDestination } from './policy.ts';
import type { Slot, Sources } from './sources.ts';

/** What a plan is made from. */
export interface PlanRules {
  /** The rules that can allow something. */
  readonly rules: readonly PolicyRule[];
  /** Numbers of those with a destination at a device. */
  rulesAt(member: Member): readonly number[];
  /** The sources of a rule; with an owner those that are the owner's. */
  slotOf(rule: number, owner?: string): Slot;
}

/** What of a destination a device takes: addresses, `all`, or undefined for nothing. */
export function partAt(rule: PolicyRule, { alias }: RuleDestination, member: Member): IpSet | 'all' | undefined {
  const isVia = rule.via.length > 0;
  if (isVia && !rule.via.some(tag => member.device.tags.includes(tag))) return undefined; // CHECK: policy-via
  const reach = isVia ? member.forwards : member.serves;
  if (alias.kind === 'all') return isVia ? reach : 'all';
  if (alias.addresses !== undefined) return alias.addresses.intersect(reach);
  if (alias.kind === 'internet') return member.internet;
  if (isVia) return undefined;
  if (alias.kind === 'self') return member.owner === undefined ? undefined : member.own;
  return member.aliases.has(alias.key) ? member.own : undefined;
}

/** An entry of a filter before it has its sources. */
interface Entry {
  readonly slot: Slot;
  /** All but the sources. */
  readonly rest: Omit<WireFilterRule, 'SrcIPs'>;
  /** What `rule` was made of. */
  made: Sources | undefined;
  /** Undefined when nobody is meant. */
  rule: WireFilterRule | undefined;
}

const ANYBODY: readonly string[] = Object.freeze(['*']);

/** See the top of the file. */
export class FilterPlan {
  readonly #entries: readonly Entry[];
  #rules: readonly WireFilterRule[] | undefined;

  constructor(rules: PlanRules, member: Member) {
    this.#entries = new PlanBuilder(rules, member).build();
  }

  /** The filter; the same array until {@link forget}. */
  get rules(): readonly WireFilterRule[] {
    this.#rules ??= this.#assemble();
    return this.#rules;
  }

  /** Lists of sources may have changed. */
  forget(): void {
    this.#rules = undefined;
  }

  #assemble(): readonly WireFilterRule[] {
    const out: WireFilterRule[] = [];
    for (const entry of this.#entries) {
      const { sources } = entry.slot;
      if (sources !== entry.made) {
        entry.made = sources;
        entry.rule = withSources(sources, entry.rest);
      }
      if (entry.rule !== undefined) out.push(entry.rule);
    }
    return out;
  }
}

function withSources(sources: Sources, rest: Entry['rest']): WireFilterRule | undefined {
  if (sources === 'anybody') return { SrcIPs: ANYBODY, ...rest };
  if (sources.isEmpty) return undefined; // CHECK: policy-empty-sources
  return { SrcIPs: sources.texts, ...rest };
}

/** Makes the entries of one device. */
class PlanBuilder {
  readonly #rules: PlanRules;
  readonly #member: Member;
  readonly #out: Entry[] = [];
  /** Where rules of the same sources and protocols gather their destinations. */
  readonly #known = new Map<string, WireNetPortRange[]>();

  constructor(rules: PlanRules, member: Member) {
    this.#rules = rules;
    this.#member = member;
  }

  build(): readonly Entry[] {
    const { owner } = this.#member;
    for (const i of this.#rules.rulesAt(this.#member)) {
      const rule = this.#rules.rules[i]!;
      const toSelf = rule.destinations.filter(({ alias }) => alias.kind === 'self');
      const others = toSelf.length === 0 ? rule.destinations : rule.destinations.filter(each => !toSelf.includes(each));
      // Those about devices of one user come last, since their sources are other ones.
      if (others.length > 0) this.#add(rule, this.#rules.slotOf(i), others);
      if (owner !== undefined && toSelf.length > 0) this.#add(rule, this.#rules.slotOf(i, owner), toSelf);
    }
    return this.#out;
  }

  #add(rule: PolicyRule, slot: Slot, wanted: readonly RuleDestination[]): void {
    if (!rule.isNetwork) return this.#addGrant(rule, slot, wanted);
    const key = `${slot.number} ${rule.protocols}`;
    const known = this.#known.get(key);
    const ports = known ?? [];
    for (const destination of wanted) {
      const part = partAt(rule, destination, this.#member);
      for (const IP of part === 'all' ? ANYBODY : (part?.texts ?? []))
        for (const { first, last } of destination.ports) ports.push({ IP, Ports: { First: first, Last: last } });
    }
    if (known !== undefined || ports.length === 0) return;
    this.#known.set(key, ports);
    this.#push(slot, { IPProto: rule.protocols, DstPorts: ports });
  }

  /**
   * Capabilities are about this device's addresses and the routes that the rule touches. With "via" they are about
   * nothing, but the router is seen: so does Tailscale's service.
   */
  #addGrant(rule: PolicyRule, slot: Slot, wanted: readonly RuleDestination[]): void {
    if (rule.via.length > 0) return; // CHECK: policy-via-capability
    const { own, routes, keys, device } = this.#member;
    const dsts = new Set<string>();
    for (const destination of wanted) {
      const part = partAt(rule, destination, this.#member);
      const set = part === 'all' ? own : part;
      for (const key of keys) if (set?.has(key)) dsts.add(`${formatKey(key)}/${key.length === 9 ? 32 : 128}`);
      const touched = set === undefined || part === 'all' ? [] : routes.ranges.filter(range => set.overlaps(range));
      if (touched.length > 0) for (const text of prefixesOf(device.routes, IpSet.of(touched))) dsts.add(text);
    }
    if (dsts.size === 0) return;
    const CapGrant: WireCapGrant[] = [{ Dsts: [...dsts], CapMap: rule.capabilities! }];
    this.#push(slot, { CapGrant });
  }

  #push(slot: Slot, rest: Entry['rest']): void {
    this.#out.push({ slot, rest, made: undefined, rule: undefined });
  }
}

/** Those of a device's routes that overlap a set, as canonical prefixes. */
function prefixesOf(routes: readonly string[], set: IpSet): readonly string[] {
  const wanted = routes.filter(text => text !== '0.0.0.0/0' && text !== '::/0').map(text => parsePrefix(text)!);
  return wanted.filter(prefix => set.overlaps(rangeOfPrefix(prefix))).map(formatPrefix);
}
