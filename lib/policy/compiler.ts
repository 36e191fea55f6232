/**
 * A policy and the devices of a tailnet, compiled: packet filters for each device, and who is told of whom.
 *
 * Lists of sources are shared by all devices (sources.ts). A filter has of each rule only what concerns its device
 * (filter-plan.ts): destinations are narrowed to the device's addresses, its approved routes, and the internet if it is
 * an exit node; `*` stays `*`. When a device changes, the lists of the names that mean it are patched, and in filters
 * that have one of these lists the entries with it are made again.
 *
 * Left out: the reverse rules that some of tailscaled's own capabilities imply (drive-sharer, relay-target).
 */
import type { WireFilterRule } from '../filter/rule.ts';
import { Directory, type Member, type MemberChange, type PolicyDevice } from './directory.ts';
import { FilterPlan, partAt } from './filter-plan.ts';
import type { IpSet } from './ip-set.ts';
import type { Policy, PolicyRule, RuleDestination } from './policy.ts';
import { meet, numbersIn, type RuleBits, RuleIndex, setBit } from './rule-index.ts';
import { type Slot, type Sources, SourceTable } from './sources.ts';

/** A device that comes, changes or (without `device`) goes. */
export interface DeviceChange {
  readonly id: number;
  readonly device: PolicyDevice | undefined;
}

/** Who may have to be told something after changes; some may find that nothing is new. */
export interface Affected {
  /** Devices whose filters may differ. */
  readonly filters: ReadonlySet<number>;
  /** Devices who may see other devices than before. */
  readonly visibility: ReadonlySet<number>;
}

/** Whether a rule could allow any packet: no packet has protocol 0 or 255. */
export function isLive(rule: PolicyRule): boolean {
  return rule.protocols.length === 0 || rule.protocols.some(protocol => protocol > 0 && protocol < 255);
}

/** The rules and devices of one tailnet. */
export class PolicyCompiler {
  readonly policy: Policy;
  readonly directory: Directory;
  readonly #rules: readonly PolicyRule[];
  readonly #sources: SourceTable;
  readonly #index: RuleIndex;
  readonly #bits = new Map<number, RuleBits>();
  readonly #plans = new Map<number, FilterPlan>();

  /** Takes the devices that may take part: approved ones with a valid key. Throws what {@link update} throws. */
  constructor(policy: Policy, devices: Iterable<PolicyDevice>) {
    this.policy = policy;
    this.#rules = policy.rules.filter(isLive);
    this.#index = new RuleIndex(this.#rules);
    this.directory = new Directory(policy.names);
    this.#sources = new SourceTable(this.#rules, this.directory);
    for (const device of devices) this.directory.add(device);
  }

  /** The rules that can allow something, in the order of the file. */
  get rules(): readonly PolicyRule[] {
    return this.#rules;
  }

  /**
   * Takes changes, all at once, and says whom they may concern; of several about one device the last counts. Devices may
   * swap addresses. TypeError when two devices would have one address, RangeError for what is no address or prefix: then
   * nothing has changed.
   */
  update(changes: readonly DeviceChange[]): Affected {
    const planned = this.directory.plan(new Map(changes.map(({ id, device }) => [id, device] as const)));
    const filters = new Set<number>();
    const visibility = new Set<number>();
    const isRouting = planned.some(each => [each.before, each.after].some(member => member?.routes.isEmpty === false));
    const outsiders = isRouting ? [...this.directory.outsiders] : [];
    for (const { before } of planned) if (before !== undefined) this.#see(before, visibility);
    for (const member of outsiders) this.#see(member, visibility);
    const wildcard = isRouting ? this.directory.wildcard.id : '';
    this.directory.apply(planned);
    for (const { id } of changes) {
      this.#bits.delete(id);
      this.#plans.delete(id);
      filters.add(id);
      visibility.add(id);
    }
    for (const { device } of outsiders) {
      this.#bits.delete(device.id);
      visibility.add(device.id);
    }
    for (const { after } of planned) if (after !== undefined) this.#see(after, visibility);
    for (const { device } of outsiders) {
      const member = this.directory.members.get(device.id);
      if (member !== undefined) this.#see(member, visibility);
    }
    this.#forget(planned, isRouting && this.directory.wildcard.id !== wildcard, filters);
    return { filters, visibility };
  }

  /** The packet filter of a device; the same array until something that concerns it has changed. */
  rulesFor(id: number): readonly WireFilterRule[] {
    const known = this.#plans.get(id);
    if (known !== undefined) return known.rules;
    const member = this.directory.members.get(id);
    if (member === undefined) return [];
    const plan = new FilterPlan(this, member);
    this.#plans.set(id, plan);
    return plan.rules;
  }

  /** Whether two devices are told of each other: when a rule lets one of them reach the other. */
  canSee(a: number, b: number): boolean {
    const [left, right] = [this.directory.members.get(a), this.directory.members.get(b)];
    return left !== undefined && right !== undefined && a !== b && this.#sees(left, right);
  }

  /**
   * Equal for devices that see the same others and are seen by the same, as long as neither changes; for keeping answers
   * of {@link canSee}. Undefined for who is none. A change of routes may change that of {@link Directory.outsiders}.
   */
  sightOf(id: number): string | undefined {
    const member = this.directory.members.get(id);
    if (member === undefined) return undefined;
    const { source, destination, self } = this.#bitsOf(member);
    const owner = self.some(word => word !== 0) ? member.owner : '';
    return `${source.join()} ${destination.join()} ${self.join()} ${owner}`;
  }

  /** The devices that a device is told of. */
  visibleTo(id: number): ReadonlySet<number> {
    const out = new Set<number>();
    const member = this.directory.members.get(id);
    if (member !== undefined) this.#see(member, out);
    return out;
  }

  /** The sources of a rule; of one whose destination is `autogroup:self`, those of one owner. */
  sourcesOf(rule: number, owner?: string): Sources {
    return this.slotOf(rule, owner).sources;
  }

  /** Where the sources of a rule are kept, for who wants to see when they change. */
  slotOf(rule: number, owner?: string): Slot {
    return this.#sources.slotOf(rule, owner);
  }

  /** What of a destination a device takes: addresses, `all`, or undefined for nothing. */
  partOf(rule: PolicyRule, destination: RuleDestination, member: Member): IpSet | 'all' | undefined {
    return partAt(rule, destination, member);
  }

  /** Numbers of the rules with a destination at a device. */
  rulesAt(member: Member): readonly number[] {
    const { destination, self } = this.#bitsOf(member);
    return numbersIn(destination, self);
  }

  /** Numbers of the rules whose sources have a device, by its addresses or its routes. */
  rulesFrom(member: Member): readonly number[] {
    const { source } = this.#bitsOf(member);
    return numbersIn(source, source);
  }

  /** Forgets what was made of lists that have changed. */
  #forget(changes: readonly MemberChange[], isWildcard: boolean, filters: Set<number>): void {
    const changed = this.#index.none();
    const changedSelf = this.#index.none();
    const owners = new Set<string>();
    for (const { before, after } of changes)
      for (const owner of [before?.owner, after?.owner]) if (owner !== undefined) owners.add(owner);
    this.#sources.change(changes, rule => setBit(changed, rule));
    for (const owner of owners) this.#sources.forgetOwner(owner);
    if (isWildcard)
      this.#sources.forgetWildcard(rule => {
        setBit(changed, rule);
        setBit(changedSelf, rule);
      });
    for (const member of this.directory.members.values()) {
      const { destination, self } = this.#bitsOf(member);
      const isOwn = member.owner !== undefined && owners.has(member.owner) && self.some(word => word !== 0);
      if (!isOwn && !meet(destination, changed) && !meet(self, changedSelf)) continue;
      filters.add(member.device.id);
      this.#plans.get(member.device.id)?.forget();
    }
  }

  #see(member: Member, out: Set<number>): void {
    for (const other of this.directory.members.values())
      if (other !== member && this.#sees(member, other)) out.add(other.device.id);
  }

  #sees(a: Member, b: Member): boolean {
    const [left, right] = [this.#bitsOf(a), this.#bitsOf(b)];
    if (meet(left.source, right.destination) || meet(right.source, left.destination)) return true;
    const isSame = a.owner !== undefined && a.owner === b.owner;
    return isSame && (meet(left.source, right.self) || meet(right.source, left.self)); // INVARIANT: self never crosses users
  }

  #bitsOf(member: Member): RuleBits {
    const known = this.#bits.get(member.device.id);
    if (known !== undefined) return known;
    const bits = this.#index.bitsOf(member, this.directory);
    this.#bits.set(member.device.id, bits);
    return bits;
  }
}
