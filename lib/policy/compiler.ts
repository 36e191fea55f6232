/**
 * A policy and the devices of a tailnet, compiled: packet filters for each device, and who is told of whom.
 *
 * Lists of sources are made once and shared by all devices. A filter has of each rule only what concerns its device:
 * destinations are narrowed to the device's addresses, its approved routes, and the internet if it is an exit node; `*`
 * stays `*`. When a device changes, only the lists of the names that mean it are made again, and only the filters that
 * have one of these lists.
 *
 * Left out: the reverse rules that some of tailscaled's own capabilities imply (drive-sharer, relay-target).
 */
import { formatPrefix, parsePrefix } from '../base/address.ts';
import type { WireCapGrant, WireFilterRule, WireNetPortRange } from '../filter/rule.ts';
import type { Alias } from './alias.ts';
import { Directory, type Member, type PolicyDevice } from './directory.ts';
import { formatKey, IpSet, rangeOfPrefix } from './ip-set.ts';
import type { Policy, PolicyRule, RuleDestination } from './policy.ts';

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

/** Sources of a rule: a set of addresses, or anybody. */
export type Sources = IpSet | 'anybody';

/** Rules about a device, as bits: where its packets may come from, go to, and go to among devices of one user. */
interface Bits {
  readonly source: Uint32Array;
  readonly destination: Uint32Array;
  readonly self: Uint32Array;
}

const ANYBODY: readonly string[] = Object.freeze(['*']);

/** Whether a rule could allow any packet: no packet has protocol 0 or 255. */
export function isLive(rule: PolicyRule): boolean {
  return rule.protocols.length === 0 || rule.protocols.some(protocol => protocol > 0 && protocol < 255);
}

/** The rules and devices of one tailnet. */
export class PolicyCompiler {
  readonly policy: Policy;
  readonly directory: Directory;
  readonly #rules: readonly PolicyRule[];
  readonly #sourceKeys: readonly string[];
  readonly #sets = new Map<string, IpSet>();
  readonly #sources = new Map<string, Sources>();
  readonly #bits = new Map<number, Bits>();
  readonly #filters = new Map<number, readonly WireFilterRule[]>();

  /** Takes the devices that may take part: approved ones with a valid key. */
  constructor(policy: Policy, devices: Iterable<PolicyDevice>) {
    this.policy = policy;
    this.#rules = policy.rules.filter(isLive);
    this.#sourceKeys = this.#rules.map(({ sources }) => [...new Set(sources.map(({ key }) => key))].sort().join('\n'));
    this.directory = new Directory(policy.names);
    for (const device of devices) this.directory.add(device);
  }

  /** The rules that can allow something, in the order of the file. */
  get rules(): readonly PolicyRule[] {
    return this.#rules;
  }

  /** Takes changes and says whom they may concern. */
  update(changes: readonly DeviceChange[]): Affected {
    const filters = new Set<number>();
    const visibility = new Set<number>();
    const names = new Set<string>();
    const wildcard = this.directory.wildcard;
    for (const { id, device } of changes) {
      const before = this.directory.members.get(id);
      if (before !== undefined) this.#see(before, visibility);
      this.directory.remove(id);
      const after = device === undefined ? undefined : this.directory.add(device);
      this.#bits.delete(id);
      this.#filters.delete(id);
      for (const alias of before?.aliases ?? []) names.add(alias);
      for (const alias of after?.aliases ?? []) names.add(alias);
      for (const owner of [before?.owner, after?.owner]) if (owner !== undefined) names.add(`self ${owner}`);
      filters.add(id);
      visibility.add(id);
    }
    if (this.directory.wildcard.id !== wildcard.id) {
      names.add('*');
      this.#bits.clear();
      for (const id of this.directory.members.keys()) visibility.add(id);
    }
    for (const { id } of changes) {
      const member = this.directory.members.get(id);
      if (member !== undefined) this.#see(member, visibility);
    }
    this.#forget(names, filters);
    return { filters, visibility };
  }

  /** The packet filter of a device; the same array until something that concerns it has changed. */
  rulesFor(id: number): readonly WireFilterRule[] {
    const known = this.#filters.get(id);
    if (known !== undefined) return known;
    const member = this.directory.members.get(id);
    if (member === undefined) return [];
    const rules = new FilterBuilder(this, member).build();
    this.#filters.set(id, rules);
    return rules;
  }

  /** Whether two devices are told of each other: when a rule lets one of them reach the other. */
  canSee(a: number, b: number): boolean {
    const [left, right] = [this.directory.members.get(a), this.directory.members.get(b)];
    return left !== undefined && right !== undefined && a !== b && this.#sees(left, right);
  }

  /** The devices that a device is told of. */
  visibleTo(id: number): ReadonlySet<number> {
    const out = new Set<number>();
    const member = this.directory.members.get(id);
    if (member !== undefined) this.#see(member, out);
    return out;
  }

  /** The addresses that an alias means as a source. */
  addressesOf(alias: Alias): IpSet {
    if (alias.addresses !== undefined) return alias.addresses;
    if (alias.kind === 'all') return this.directory.wildcard;
    const known = this.#sets.get(alias.key);
    if (known !== undefined) return known;
    const set = IpSet.of([...this.directory.membersOf(alias)].flatMap(({ own }) => own.ranges));
    this.#sets.set(alias.key, set);
    return set;
  }

  /** The sources of a rule; of one whose destination is `autogroup:self`, those of one owner. */
  sourcesOf(rule: number, owner?: string): Sources {
    const key = owner === undefined ? this.#sourceKeys[rule]! : `self ${owner}\n${this.#sourceKeys[rule]}`;
    const known = this.#sources.get(key);
    if (known !== undefined) return known;
    const sources = owner === undefined ? this.#unionOf(rule) : this.#ownOf(rule, owner);
    this.#sources.set(key, sources);
    return sources;
  }

  /** What of a destination a device takes: addresses, `all`, or undefined for nothing. */
  partOf(rule: PolicyRule, { alias }: RuleDestination, member: Member): IpSet | 'all' | undefined {
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

  #unionOf(rule: number): Sources {
    const { sources } = this.#rules[rule]!;
    if (sources.some(({ kind }) => kind === 'danger-all')) return 'anybody';
    return IpSet.of(sources.flatMap(alias => this.addressesOf(alias).ranges));
  }

  #ownOf(rule: number, owner: string): IpSet {
    const user: Alias = { kind: 'user', text: owner, key: `user ${owner}`, name: owner };
    const own = this.addressesOf(user);
    const sources = this.sourcesOf(rule);
    return sources === 'anybody' ? own : own.intersect(sources);
  }

  /** Forgets what was made of names whose meaning has changed. */
  #forget(names: ReadonlySet<string>, filters: Set<number>): void {
    for (const name of names) this.#sets.delete(name);
    for (const key of [...this.#sources.keys()])
      if (key.split('\n').some(part => names.has(part))) this.#sources.delete(key);
    const changed = new Uint32Array(wordsOf(this.#rules));
    this.#sourceKeys.forEach((key, i) => {
      if (key.split('\n').some(part => names.has(part))) changed[i >> 5]! |= 1 << (i & 31);
    });
    for (const member of this.directory.members.values()) {
      const { destination, self } = this.#bitsOf(member);
      // Sources of a rule about devices of one user are his own, whoever else comes or goes.
      const isOwn = member.owner !== undefined && names.has(`self ${member.owner}`) && self.some(word => word !== 0);
      const isSelf = isOwn || (names.has('*') && meet(self, changed));
      if (!isSelf && !meet(destination, changed)) continue;
      filters.add(member.device.id);
      this.#filters.delete(member.device.id);
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

  #bitsOf(member: Member): Bits {
    const known = this.#bits.get(member.device.id);
    if (known !== undefined) return known;
    const words = wordsOf(this.#rules);
    const bits = { source: new Uint32Array(words), destination: new Uint32Array(words), self: new Uint32Array(words) };
    this.#rules.forEach((rule, i) => {
      const bit = 1 << (i & 31);
      if (rule.sources.some(alias => this.#isSource(alias, member))) bits.source[i >> 5]! |= bit;
      for (const destination of rule.destinations) {
        const part = this.partOf(rule, destination, member);
        if (part === undefined || (part !== 'all' && part.isEmpty)) continue;
        (destination.alias.kind === 'self' ? bits.self : bits.destination)[i >> 5]! |= bit;
      }
    });
    this.#bits.set(member.device.id, bits);
    return bits;
  }

  #isSource(alias: Alias, member: Member): boolean {
    if (alias.kind === 'danger-all') return true;
    if (alias.kind !== 'all' && alias.addresses === undefined) return member.aliases.has(alias.key);
    const set = this.addressesOf(alias);
    return member.sends.ranges.some(range => set.overlaps(range));
  }
}

function wordsOf(rules: readonly PolicyRule[]): number {
  return (rules.length + 31) >>> 5;
}

function meet(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if ((a[i]! & b[i]!) !== 0) return true;
  return false;
}

/** The numbers of the bits that are set in either. */
function numbersIn(a: Uint32Array, b: Uint32Array): readonly number[] {
  const out: number[] = [];
  for (let word = 0; word < a.length; word++) {
    for (let rest = (a[word]! | b[word]!) >>> 0; rest !== 0; rest &= rest - 1) {
      const lowest = 31 - Math.clz32(rest & -rest);
      out.push(word * 32 + lowest);
    }
  }
  return out;
}

/** Makes the filter of one device. */
class FilterBuilder {
  readonly #compiler: PolicyCompiler;
  readonly #member: Member;
  readonly #out: WireFilterRule[] = [];
  /** Where rules of the same sources and protocols gather their destinations. */
  readonly #known = new Map<string, WireNetPortRange[]>();

  constructor(compiler: PolicyCompiler, member: Member) {
    this.#compiler = compiler;
    this.#member = member;
  }

  build(): readonly WireFilterRule[] {
    const compiler = this.#compiler;
    for (const i of compiler.rulesAt(this.#member)) {
      const rule = compiler.rules[i]!;
      // Those about devices of one user come last, since their sources are other ones.
      this.#add(i, rule, undefined);
      if (this.#member.owner !== undefined) this.#add(i, rule, this.#member.owner);
    }
    return this.#out;
  }

  #add(index: number, rule: PolicyRule, owner: string | undefined): void {
    const wanted = rule.destinations.filter(({ alias }) => (alias.kind === 'self') === (owner !== undefined));
    if (wanted.length === 0) return;
    const sources = this.#compiler.sourcesOf(index, owner);
    if (sources !== 'anybody' && sources.isEmpty) return; // CHECK: policy-empty-sources
    const texts = sources === 'anybody' ? ANYBODY : sources.texts;
    if (!rule.isNetwork) return this.#addGrant(rule, texts, wanted);
    const key = `${rule.protocols} ${sources === 'anybody' ? '*' : sources.id}`;
    let ports = this.#known.get(key);
    const isNew = ports === undefined;
    ports ??= [];
    for (const destination of wanted) {
      const part = this.#compiler.partOf(rule, destination, this.#member);
      for (const IP of part === 'all' ? ANYBODY : (part?.texts ?? []))
        for (const { first, last } of destination.ports) ports.push({ IP, Ports: { First: first, Last: last } });
    }
    if (!isNew || ports.length === 0) return;
    this.#known.set(key, ports);
    this.#out.push({ SrcIPs: texts, IPProto: rule.protocols, DstPorts: ports });
  }

  /** Capabilities are about this device's addresses and the routes that the rule touches. */
  #addGrant(rule: PolicyRule, texts: readonly string[], wanted: readonly RuleDestination[]): void {
    const { own, routes, keys, device } = this.#member;
    const dsts = new Set<string>();
    for (const destination of wanted) {
      const part = this.#compiler.partOf(rule, destination, this.#member);
      const set = part === 'all' ? own : part;
      for (const key of keys) if (set?.has(key)) dsts.add(`${formatKey(key)}/${key.length === 9 ? 32 : 128}`);
      const touched = set === undefined || part === 'all' ? [] : routes.ranges.filter(range => set.overlaps(range));
      if (touched.length > 0) for (const text of prefixesOf(device.routes, IpSet.of(touched))) dsts.add(text);
    }
    if (dsts.size === 0) return;
    const CapGrant: WireCapGrant[] = [{ Dsts: [...dsts], CapMap: rule.capabilities! }];
    this.#out.push({ SrcIPs: texts, CapGrant });
  }
}

/** Those of a device's routes that overlap a set, as canonical prefixes. */
function prefixesOf(routes: readonly string[], set: IpSet): readonly string[] {
  const wanted = routes.filter(text => text !== '0.0.0.0/0' && text !== '::/0').map(text => parsePrefix(text)!);
  return wanted.filter(prefix => set.overlaps(rangeOfPrefix(prefix))).map(formatPrefix);
}
