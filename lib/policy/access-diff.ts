/**
 * What a change of policy or devices changes: which device gains or loses access to which other device, to which route
 * of a router, or to the internet by an exit node. Read from the rules and the devices of two compilers.
 *
 * Devices that all rules treat alike form a class, on both sides of a connection, and pairs of classes are judged once.
 * Of a route that rules divide, each part that a rule names is a target of its own.
 *
 * Left out: what devices behind a router may reach, as sources; who sees whom without access; capabilities.
 */
import type { PolicyCompiler } from './compiler.ts';
import type { Member } from './directory.ts';
import { describeRule } from './explain.ts';
import { type IpRange, IpSet } from './ip-set.ts';
import type { PolicyRule, RuleDestination } from './policy.ts';
import {
  DEFAULT_PROTOCOLS,
  isAllPorts,
  minusPorts,
  PORT_PROTOCOLS,
  type PortRange,
  PROTOCOL_NAMES,
  unionOfPorts,
} from './ports.ts';

/** One pair and what of its access is new or gone. */
export interface AccessChange {
  /** A device, as labelled by the caller. */
  readonly source: string;
  /** A device, or `10.1.0.0/16 via DEVICE`, `internet via DEVICE`. */
  readonly destination: string;
  /** Like `tcp:22, udp:53`, `icmp`; `*` for all of TCP, UDP and ICMP. */
  readonly access: string;
  /** The first rule that allows some of it: of the new policy when it is gained, of the old one when it is lost. */
  readonly rule?: string;
}

/** Counts of ordered pairs, and the first of them. A pair may gain one thing and lose another. */
export interface AccessDiff {
  readonly gainedPairs: number;
  readonly lostPairs: number;
  /** The first 50. */
  readonly gained: readonly AccessChange[];
  readonly lost: readonly AccessChange[];
}

/** Most changes that are listed each way. */
const MAX_CHANGES = 50;

/** A rule with one of its destinations. */
interface Way {
  readonly rule: PolicyRule;
  readonly destination: RuleDestination;
}

/** Ways as bits, by family: IPv4, IPv6. */
type WayBits = readonly [Uint32Array, Uint32Array];

/** Port ranges by protocol; those without ports have an empty list. */
type Access = ReadonlyMap<number, readonly PortRange[]>;

interface Change {
  readonly gained: string;
  readonly gainedBy: PolicyRule | undefined;
  readonly lost: string;
  readonly lostBy: PolicyRule | undefined;
}

/** Something that can be reached: a device (no part), or what it forwards to. */
interface Target {
  readonly id: number;
  /** Empty for the device itself. */
  readonly part: string;
}

/** Compares who may reach what. `label` names a device that is in either. */
export function diffAccess(before: PolicyCompiler, after: PolicyCompiler, label: (id: number) => string): AccessDiff {
  return new Comparison(new Side(before), new Side(after)).run(label);
}

/** One of the two compilers, its ways numbered. */
class Side {
  readonly compiler: PolicyCompiler;
  readonly ways: readonly Way[];
  /** Ways to devices of the same owner only. */
  readonly self: Uint32Array;
  readonly words: number;
  /** Number of the first way of each rule. */
  readonly #first: readonly number[];
  readonly #access = new Map<string, Access>();

  constructor(compiler: PolicyCompiler) {
    this.compiler = compiler;
    const first: number[] = [];
    const ways: Way[] = [];
    for (const rule of compiler.rules) {
      first.push(ways.length);
      if (rule.isNetwork) for (const destination of rule.destinations) ways.push({ rule, destination });
    }
    this.#first = first;
    this.ways = ways;
    this.words = (ways.length + 31) >>> 5;
    this.self = new Uint32Array(this.words);
    ways.forEach(({ destination }, i) => {
      if (destination.alias.kind === 'self') setBit(this.self, i);
    });
  }

  ownerOf(id: number): string | undefined {
    return this.compiler.directory.members.get(id)?.owner;
  }

  /** The ways that a device may take. */
  from(id: number): WayBits {
    const bits = this.#none();
    const member = this.compiler.directory.members.get(id);
    if (member === undefined) return bits;
    for (const rule of this.compiler.rulesFrom(member)) {
      const sources = this.compiler.sourcesOf(rule);
      for (const key of member.keys) {
        if (sources !== 'anybody' && !sources.has(key)) continue; // CHECK: policy-diff-source
        const family = key.length === 9 ? 0 : 1;
        this.#eachWay(rule, way => setBit(bits[family], way));
      }
    }
    return bits;
  }

  /** The ways that lead to a device itself. */
  to(id: number): WayBits {
    const bits = this.#none();
    const member = this.compiler.directory.members.get(id);
    if (member === undefined) return bits;
    this.#eachPart(member, (part, way) => {
      for (const key of member.keys) if (part === 'all' || part.has(key)) setBit(bits[key.length === 9 ? 0 : 1], way);
    });
    return bits;
  }

  /** What a device forwards to: its routes, the internet, and the parts of these that rules name. */
  forwards(id: number, out: Map<string, IpSet>): void {
    const member = this.compiler.directory.members.get(id);
    if (member === undefined || member.forwards.isEmpty) return;
    const whole = wholesOf(member);
    for (const [name, set] of whole) out.set(name, set);
    this.#eachPart(member, part => {
      if (part === 'all') return;
      for (const set of whole.values()) {
        const common = part.intersect(set);
        if (!common.isEmpty && common.id !== set.id) out.set(nameOf(common), common);
      }
    });
  }

  /** The ways that lead to all of a set behind a device. */
  toAllOf(id: number, set: IpSet): WayBits {
    const bits = this.#none();
    const member = this.compiler.directory.members.get(id);
    if (member === undefined || !contains(member.forwards, set)) return bits;
    this.#eachPart(member, (part, way) => {
      for (const family of [0, 1] as const) {
        const wanted = ofFamily(set, family);
        if (!wanted.isEmpty && (part === 'all' || contains(part, wanted))) setBit(bits[family], way);
      }
    });
    return bits;
  }

  /** What ways allow together, by their numbers; ICMP passes wherever anything does. */
  accessBy(key: string, ways: readonly number[], isIpv6: boolean): Access {
    const known = this.#access.get(key);
    if (known !== undefined) return known;
    const access = new Map<number, readonly PortRange[]>();
    for (const i of ways) {
      const { rule, destination } = this.ways[i]!;
      access.set(isIpv6 ? 58 : 1, []);
      for (const protocol of rule.protocols.length === 0 ? DEFAULT_PROTOCOLS : rule.protocols) {
        if (protocol === 1 || protocol === 58) continue;
        if (PORT_PROTOCOLS.includes(protocol))
          access.set(protocol, unionOfPorts([...(access.get(protocol) ?? []), ...destination.ports]));
        else if (isAllPorts(destination.ports)) access.set(protocol, []);
      }
    }
    this.#access.set(key, access);
    return access;
  }

  #none(): WayBits {
    return [new Uint32Array(this.words), new Uint32Array(this.words)];
  }

  #eachWay(rule: number, visit: (way: number) => void): void {
    const end = this.#first[rule + 1] ?? this.ways.length;
    for (let way = this.#first[rule]!; way < end; way++) visit(way);
  }

  #eachPart(member: Member, visit: (part: IpSet | 'all', way: number) => void): void {
    for (const rule of this.compiler.rulesAt(member))
      this.#eachWay(rule, way => {
        const part = this.compiler.partOf(this.compiler.rules[rule]!, this.ways[way]!.destination, member);
        if (part !== undefined) visit(part, way);
      });
  }
}

/** Devices and targets of both sides, in classes. */
class Comparison {
  readonly #before: Side;
  readonly #after: Side;
  readonly #changes = new Map<number, Change | undefined>();
  readonly #ownerNumbers = new Map<string, number>();
  readonly #sources: { readonly before: WayBits; readonly after: WayBits }[] = [];
  readonly #targets: { readonly before: WayBits; readonly after: WayBits }[] = [];

  constructor(before: Side, after: Side) {
    this.#before = before;
    this.#after = after;
  }

  run(label: (id: number) => string): AccessDiff {
    const [before, after] = [this.#before, this.#after];
    const ids = new Set([...after.compiler.directory.members.keys(), ...before.compiler.directory.members.keys()]);
    const sources = new Classes(this.#sources);
    const targets = new Classes(this.#targets);
    const from = [...ids].map(id => ({ id, kind: sources.add(before.from(id), after.from(id)), ...this.#owners(id) }));
    const to = [...ids].flatMap(id => this.#targetsAt(id, targets));
    const gained: AccessChange[] = [];
    const lost: AccessChange[] = [];
    let [gainedPairs, lostPairs] = [0, 0];
    const tell = (source: number, target: Target, access: string, rule: PolicyRule | undefined): AccessChange => {
      const destination = target.part === '' ? label(target.id) : `${target.part} via ${label(target.id)}`;
      const by = rule === undefined ? {} : { rule: describeRule(rule) };
      return { source: label(source), destination, access, ...by };
    };
    // Pairs are many and kinds few: what one kind of source has met is kept at hand while sources are of that kind.
    let row: (Change | 'none' | undefined)[] = [];
    let rowKind = -1;
    for (const source of from) {
      if (source.kind !== rowKind) [row, rowKind] = [[], source.kind];
      for (const target of to) {
        if (source.id === target.id) continue;
        const wasOwn = source.before >= 0 && source.before === target.before;
        const isOwn = source.after >= 0 && source.after === target.after;
        const at = target.kind * 4 + (wasOwn ? 2 : 0) + (isOwn ? 1 : 0);
        row[at] ??= this.#change(source.kind, target.kind, wasOwn, isOwn) ?? 'none';
        const change = row[at];
        if (change === 'none') continue;
        if (change.gained !== '' && ++gainedPairs <= MAX_CHANGES)
          gained.push(tell(source.id, target, change.gained, change.gainedBy));
        if (change.lost !== '' && ++lostPairs <= MAX_CHANGES)
          lost.push(tell(source.id, target, change.lost, change.lostBy));
      }
    }
    return { gainedPairs, lostPairs, gained, lost };
  }

  /** Numbers of a device's owners; -1 for none. */
  #owners(id: number): { readonly before: number; readonly after: number } {
    return { before: this.#numberOf(this.#before.ownerOf(id)), after: this.#numberOf(this.#after.ownerOf(id)) };
  }

  #numberOf(owner: string | undefined): number {
    if (owner === undefined) return -1;
    const known = this.#ownerNumbers.get(owner) ?? this.#ownerNumbers.size;
    this.#ownerNumbers.set(owner, known);
    return known;
  }

  #targetsAt(id: number, classes: Classes) {
    const owners = this.#owners(id);
    const out: (Target & typeof owners & { readonly kind: number })[] = [];
    out.push({ id, part: '', ...owners, kind: classes.add(this.#before.to(id), this.#after.to(id)) });
    const parts = new Map<string, IpSet>();
    this.#before.forwards(id, parts);
    this.#after.forwards(id, parts);
    for (const [part, set] of parts) {
      const kind = classes.add(this.#before.toAllOf(id, set), this.#after.toAllOf(id, set));
      out.push({ id, part, ...owners, kind });
    }
    return out;
  }

  /** What changes between two classes; undefined for nothing. */
  #change(source: number, target: number, wasOwn: boolean, isOwn: boolean): Change | undefined {
    const key = ((source * this.#targets.length + target) * 2 + Number(wasOwn)) * 2 + Number(isOwn);
    if (this.#changes.has(key)) return this.#changes.get(key);
    const [from, to] = [this.#sources[source]!, this.#targets[target]!];
    const gained = new Map<number, readonly PortRange[]>();
    const lost = new Map<number, readonly PortRange[]>();
    for (const family of [0, 1] as const) {
      const old = accessOf(this.#before, from.before[family], to.before[family], wasOwn, family === 1);
      const now = accessOf(this.#after, from.after[family], to.after[family], isOwn, family === 1);
      subtract(now.access, old.access, gained);
      subtract(old.access, now.access, lost);
    }
    const change =
      gained.size === 0 && lost.size === 0
        ? undefined
        : {
            gained: textOf(gained),
            gainedBy: blame(this.#after, from.after, to.after, isOwn, gained),
            lost: textOf(lost),
            lostBy: blame(this.#before, from.before, to.before, wasOwn, lost),
          };
    this.#changes.set(key, change);
    return change;
  }
}

/** Numbers for pairs of bits that are equal on both sides. */
class Classes {
  readonly #list: { readonly before: WayBits; readonly after: WayBits }[];
  readonly #numbers = new Map<string, number>();

  constructor(list: { readonly before: WayBits; readonly after: WayBits }[]) {
    this.#list = list;
  }

  add(before: WayBits, after: WayBits): number {
    const key = [...before, ...after].map(sparse).join(';');
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.#list.length);
    this.#list.push({ before, after });
    return this.#list.length - 1;
  }
}

function setBit(bits: Uint32Array, at: number): void {
  bits[at >> 5]! |= 1 << (at & 31);
}

/** The words that are not zero, with their numbers. */
function sparse(bits: Uint32Array): string {
  let out = '';
  for (let i = 0; i < bits.length; i++) if (bits[i] !== 0) out += `${i}:${bits[i]!.toString(36)},`;
  return out;
}

/** Ways that are in both, without those of `self` unless the two have one owner. */
function common(side: Side, from: Uint32Array, to: Uint32Array, isOwn: boolean): number[] {
  const out: number[] = [];
  for (let word = 0; word < side.words; word++) {
    let rest = (from[word]! & to[word]!) >>> 0;
    if (!isOwn) rest = (rest & ~side.self[word]!) >>> 0; // CHECK: policy-diff-self
    for (; rest !== 0; rest &= rest - 1) out.push(word * 32 + 31 - Math.clz32(rest & -rest));
  }
  return out;
}

function accessOf(side: Side, from: Uint32Array, to: Uint32Array, isOwn: boolean, isIpv6: boolean) {
  const ways = common(side, from, to, isOwn);
  return { ways, access: side.accessBy(`${Number(isIpv6)} ${ways}`, ways, isIpv6) };
}

/** The first rule that allows some of what has changed. */
function blame(side: Side, from: WayBits, to: WayBits, isOwn: boolean, changed: Access): PolicyRule | undefined {
  for (const family of [0, 1] as const) {
    for (const way of common(side, from[family], to[family], isOwn)) {
      const alone = side.accessBy(`${family} ${way}`, [way], family === 1);
      for (const [protocol, ports] of alone) {
        const wanted = changed.get(protocol);
        if (wanted === undefined) continue;
        const isSome = wanted.length === 0 || wanted.some(a => ports.some(b => a.first <= b.last && b.first <= a.last));
        if (isSome) return side.ways[way]!.rule;
      }
    }
  }
  return undefined;
}

/** Adds to `out` what is in one and not in the other. */
function subtract(one: Access, other: Access, out: Map<number, readonly PortRange[]>): void {
  for (const [protocol, ports] of one) {
    const taken = other.get(protocol);
    if (ports.length === 0) {
      if (taken === undefined) out.set(protocol, []);
      continue;
    }
    const left = taken === undefined ? ports : minusPorts(ports, taken);
    if (left.length > 0) out.set(protocol, unionOfPorts([...(out.get(protocol) ?? []), ...left]));
  }
}

function textOf(access: Access): string {
  const isAll = [6, 17].every(protocol => isAllPorts(access.get(protocol) ?? []));
  const out: string[] = isAll && (access.has(1) || access.has(58)) ? ['*'] : [];
  for (const protocol of [...access.keys()].sort((a, b) => orderOf(a) - orderOf(b))) {
    if (out[0] === '*' && DEFAULT_PROTOCOLS.includes(protocol)) continue;
    const ports = access.get(protocol)!;
    const isPing = protocol === 1 || protocol === 58;
    const name = isPing ? 'icmp' : (Object.entries(PROTOCOL_NAMES).find(each => each[1] === protocol)?.[0] ?? protocol);
    const list = ports.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join();
    const text = ports.length === 0 ? `${name}` : `${name}:${isAllPorts(ports) ? '*' : list}`;
    if (!out.includes(text)) out.push(text);
  }
  return out.join(', ');
}

/** TCP, UDP, the others, and pings last, since they follow from the rest. */
function orderOf(protocol: number): number {
  if (protocol === 6) return -2;
  if (protocol === 17) return -1;
  return protocol === 1 || protocol === 58 ? 256 + protocol : protocol;
}

function wholesOf(member: Member): Map<string, IpSet> {
  const out = new Map<string, IpSet>();
  for (const range of member.routes.ranges) {
    const set = IpSet.of([range]);
    out.set(nameOf(set), set);
  }
  const internet = member.internet.minus(member.routes);
  if (!internet.isEmpty) out.set('internet', internet);
  return out;
}

function nameOf(set: IpSet): string {
  const { texts } = set;
  return texts.length > 3 ? `${texts.slice(0, 3).join()} and ${texts.length - 3} more` : texts.join();
}

function ofFamily(set: IpSet, family: 0 | 1): IpSet {
  const length = family === 0 ? 9 : 33;
  return IpSet.of(set.ranges.filter(([first]: IpRange) => first.length === length));
}

function contains(outer: IpSet, inner: IpSet): boolean {
  return inner.minus(outer).isEmpty;
}
