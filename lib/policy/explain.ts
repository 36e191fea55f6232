/**
 * May A reach a port of B, and by which rule: the one answer for server, command line and verifier. It is read from the
 * rules themselves, not from compiled filters, so that each can be held against the other.
 *
 * As the filters of devices do: a protocol without ports needs a rule about all ports; ICMP (1 to an IPv4, 58 to an IPv6
 * address) passes where any rule leads from one address to the other, and the ICMP of the other family is a protocol
 * without ports like others. An address that no device serves is judged by the
 * rules alone, as if somebody did. Of several routers for an address each counts.
 *
 * Left out: replies, which pass without a rule; TSMP (protocol 99), which every device takes; multicast and link-local
 * destinations, which no device takes.
 */
import { type IpKey, type IpRange, formatKey, parseKey } from './ip-set.ts';
import type { PolicyCompiler } from './compiler.ts';
import type { Member } from './directory.ts';
import type { PolicyRule, RuleDestination } from './policy.ts';
import type { Sources } from './sources.ts';
import { DEFAULT_PROTOCOLS, hasPort, isAllPorts, PORT_PROTOCOLS } from './ports.ts';

/** A way in: a rule and who may use it. */
export interface Entrance {
  readonly rule: PolicyRule;
  readonly sources: Sources;
  /** Equal for entrances that are the same. */
  readonly id: string;
}

/** One pair of addresses and its answer. */
export interface PairAnswer {
  readonly source: string;
  readonly destination: string;
  readonly isAllowed: boolean;
  /** The first rule that allows it. */
  readonly rule: PolicyRule | undefined;
}

/** An answer. */
export interface Explanation {
  /** Whether every pair of addresses of one family may. */
  readonly isAllowed: boolean;
  /** The rule of the first pair that may. */
  readonly rule: PolicyRule | undefined;
  /** One line for people. */
  readonly reason: string;
  readonly pairs: readonly PairAnswer[];
}

/**
 * The ways to a port of an address, in the order of the file. `server` is the device that takes the packets; without
 * one, of all that might. Ports are of no matter for protocols without them.
 */
export function entrancesTo(
  compiler: PolicyCompiler,
  destination: IpKey,
  port: number,
  protocol: number,
  server?: Member,
): readonly Entrance[] {
  const servers = server === undefined ? compiler.directory.serversOf(destination) : [server];
  const out: Entrance[] = [];
  const isIcmp = protocol === (destination.length === 9 ? 1 : 58);
  for (const i of rulesTo(compiler, servers)) {
    const rule = compiler.rules[i]!;
    if (!rule.isNetwork) continue; // CHECK: policy-app-no-network
    for (const way of rule.destinations) {
      const fits = isIcmp || fitsPort(rule, way, port, protocol);
      if (!fits) continue; // CHECK: policy-explain-port
      const isSelf = way.alias.kind === 'self';
      const at = servers.filter(member => leadsTo(compiler, rule, way, destination, member));
      if (at.length === 0 && !(servers.length === 0 && leadsAnywhere(rule, way, destination))) continue;
      for (const owner of isSelf ? new Set(at.map(member => member.owner)) : [undefined])
        out.push({ rule, sources: compiler.sourcesOf(i, owner), id: owner === undefined ? `${i}` : `${i} ${owner}` });
    }
  }
  return out;
}

/** Numbers of the rules that may lead to any of the servers, in the order of the file; without a server all. */
function rulesTo(compiler: PolicyCompiler, servers: readonly Member[]): Iterable<number> {
  const [first] = servers;
  if (first === undefined) return compiler.rules.keys();
  if (servers.length === 1) return compiler.rulesAt(first);
  return [...new Set(servers.flatMap(member => compiler.rulesAt(member)))].sort((a, b) => a - b);
}

/** The first entrance that a source may use. */
export function entranceOf(entrances: readonly Entrance[], source: IpKey): Entrance | undefined {
  return entrances.find(({ sources }) => sources === 'anybody' || sources.has(source));
}

/**
 * Answers for two devices (numbers: their ids) or addresses (texts), TCP unless told. TypeError for a device that is not
 * there, RangeError for a text that is no address, a port or a protocol out of range.
 */
export function explain(
  compiler: PolicyCompiler,
  a: number | string,
  b: number | string,
  port: number,
  protocol = 6,
): Explanation {
  const isPort = Number.isInteger(port) && port >= 0 && port <= 65_535;
  if (!isPort) throw new RangeError(`"port" expected 0 to 65535, got ${port}`);
  const isProtocol = Number.isInteger(protocol) && protocol >= 0 && protocol <= 255;
  if (!isProtocol) throw new RangeError(`"protocol" expected 0 to 255, got ${protocol}`);
  const pairs: PairAnswer[] = [];
  const sources = keysOf(compiler, a, 'a');
  for (const destination of keysOf(compiler, b, 'b')) {
    const entrances = entrancesTo(compiler, destination, port, protocol);
    for (const source of sources) {
      if (source[0] !== destination[0]) continue;
      const rule = entranceOf(entrances, source)?.rule;
      const isAllowed = rule !== undefined;
      pairs.push({ source: formatKey(source), destination: formatKey(destination), isAllowed, rule });
    }
  }
  const rule = pairs.find(({ isAllowed }) => isAllowed)?.rule;
  const isAllowed = pairs.length > 0 && pairs.every(pair => pair.isAllowed); // INVARIANT: one pair is not all
  return { isAllowed, rule, pairs, reason: reasonOf(pairs, rule, isAllowed) };
}

/** `acls[3] in line 12`, for people. */
export function describeRule(rule: PolicyRule): string {
  if (rule.line === 0) return 'without "acls" and "grants" everything is allowed';
  return `${rule.name} in line ${rule.line}`;
}

function reasonOf(pairs: readonly PairAnswer[], rule: PolicyRule | undefined, isAllowed: boolean): string {
  if (pairs.length === 0) return 'the two have no address of the same family';
  if (rule === undefined) return 'no rule allows it';
  if (isAllowed) return `allowed: ${describeRule(rule)}`;
  const { source, destination } = pairs.find(pair => !pair.isAllowed)!;
  return `only in part: ${describeRule(rule)}, but not from ${source} to ${destination}`;
}

function keysOf(compiler: PolicyCompiler, subject: number | string, what: string): readonly IpKey[] {
  if (typeof subject === 'number') {
    const member = compiler.directory.members.get(subject);
    if (member === undefined) throw new TypeError(`"${what}" expected a device, got ${subject}`);
    return member.keys;
  }
  const key = parseKey(subject);
  if (key === undefined) throw new RangeError(`"${what}" expected an address, got ${JSON.stringify(subject)}`);
  return [key];
}

function fitsPort(rule: PolicyRule, { ports }: RuleDestination, port: number, protocol: number): boolean {
  const { protocols } = rule;
  if (!(protocols.length === 0 ? DEFAULT_PROTOCOLS : protocols).includes(protocol)) return false; // CHECK: policy-explain-protocol
  return PORT_PROTOCOLS.includes(protocol) ? hasPort(ports, port) : isAllPorts(ports);
}

function leadsTo(
  compiler: PolicyCompiler,
  rule: PolicyRule,
  way: RuleDestination,
  destination: IpKey,
  member: Member,
): boolean {
  const part = compiler.partOf(rule, way, member);
  return part === 'all' || (part?.has(destination) ?? false);
}

/** Whether a rule is about an address that nobody serves. */
function leadsAnywhere(rule: PolicyRule, { alias }: RuleDestination, destination: IpKey): boolean {
  const range: IpRange = [destination, destination];
  return rule.via.length === 0 && (alias.kind === 'all' || (alias.addresses?.overlaps(range) ?? false));
}
