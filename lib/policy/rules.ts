/**
 * Rules and tests of a policy file. An "acls" entry has ports behind each destination; a "grants" entry has them in
 * "ip", for all destinations. The old names "users" and "ports" of an "acls" entry are read too.
 */
import { parseDecimal } from '../base/address.ts';
import { type Alias, type AliasUse, type Names, parseAlias } from './alias.ts';
import type { FieldReader, Text } from './fields.ts';
import { type JsonMember, type JsonNode, plainValue } from './hujson.ts';
import type { PolicyRule, PolicyTest, PolicyTestTarget, RuleDestination } from './policy.ts';
import {
  ALL_PORTS,
  type Parsed,
  type PortRange,
  parsePorts,
  parseProtocol,
  parseProtocolPorts,
  portFault,
} from './ports.ts';
import { quote } from './problem.ts';

/** What the rules and tests of a policy may add up to. */
export const RULE_LIMITS = /* @__PURE__ */ Object.freeze({
  /** Entries; a grant about several protocols counts for each. */
  rules: 2000,
  /** Sources and destinations of all rules together. */
  names: 10_000,
  /** Lines of all tests together: what is to be accepted or denied. */
  lines: 20_000,
});

/** Most pairs of protocol and destination in one grant. */
const MAX_GRANT_ENTRIES = 10_000;

type Fields = ReadonlyMap<string, JsonMember>;

/** The rule of a policy that has neither "acls" nor "grants": from the tailnet to everything. */
export function defaultRule(): PolicyRule {
  const all: Alias = { kind: 'all', text: '*', key: '*', name: '' };
  const destinations = [{ alias: all, ports: ALL_PORTS }];
  return {
    name: 'default',
    line: 0,
    column: 0,
    sources: [all],
    destinations,
    protocols: [],
    isNetwork: true,
    via: [],
  };
}

/** An entry of "acls"; undefined when it is wrong or allows nothing. */
export function readAcl(reader: FieldReader, node: JsonNode, index: number, names: Names): PolicyRule[] | undefined {
  const table = ['action', 'src', 'dst', 'proto', 'users', 'ports', 'srcPosture'];
  const fields = reader.known(node, 'an entry of "acls"', table);
  const action = fields.get('action');
  if (node.kind !== 'object') return undefined;
  if (action === undefined) return reader.fail(node, 'a rule needs "action"', '"action": "accept"');
  const isAccept = action.value.kind === 'string' && action.value.value === 'accept';
  if (!isAccept) return reader.fail(action.value, 'the only action is "accept"', 'what no rule accepts is denied'); // CHECK: policy-action
  const src = oneOf(reader, node, fields, 'src', 'users');
  const dst = oneOf(reader, node, fields, 'dst', 'ports');
  if (src === undefined || dst === undefined) return undefined;
  const protocol = readProtocol(reader, fields);
  const sources = aliasesOf(reader, src.value, '"src"', 'source', names);
  const destinations: RuleDestination[] = [];
  for (const text of reader.strings(dst.value, '"dst"')) {
    const destination = reader.take(text, parseDestination(text.text, names));
    if (destination === undefined) continue;
    const fault = portFault(protocol, destination.ports);
    if (fault !== undefined) reader.fail(text, fault.fault, fault.hint);
    destinations.push(destination);
  }
  if (!canJudge(reader, fields)) return undefined; // CHECK: policy-posture
  const targets = destinations.map(({ alias }) => alias);
  refuseSelf(reader, src, sources, targets);
  noteEmpty(reader, src, sources);
  noteEmpty(reader, dst, destinations);
  const name = `acls[${index}]`;
  const protocols = protocol === undefined ? [] : [protocol];
  return [{ name, ...reader.placeOf(node), sources, destinations, protocols, isNetwork: true, via: [] }];
}

/** An entry of "grants": one rule for each protocol in "ip", and one for "app". */
export function readGrant(reader: FieldReader, node: JsonNode, index: number, names: Names): PolicyRule[] | undefined {
  const fields = reader.known(node, 'an entry of "grants"', ['src', 'dst', 'ip', 'app', 'via', 'srcPosture']);
  if (node.kind !== 'object') return undefined;
  const [ip, app, via] = [fields.get('ip'), fields.get('app'), fields.get('via')];
  const src = oneOf(reader, node, fields, 'src', 'src');
  const dst = oneOf(reader, node, fields, 'dst', 'dst');
  if (ip === undefined && app === undefined) return reader.fail(node, 'a grant needs "ip" or "app"', '"ip": ["*"]');
  if (src === undefined || dst === undefined) return undefined;
  const sources = aliasesOf(reader, src.value, '"src"', 'source', names);
  const targets = aliasesOf(reader, dst.value, '"dst"', 'destination', names);
  const routers = via === undefined ? [] : readVia(reader, via, names);
  const base = { name: `grants[${index}]`, ...reader.placeOf(node), sources, via: routers };
  const rules: PolicyRule[] = [];
  const allowed: ReadonlyMap<number | undefined, readonly PortRange[]> =
    ip === undefined ? new Map() : readIp(reader, ip);
  const isHuge = allowed.size > 1 && allowed.size * targets.length > MAX_GRANT_ENTRIES;
  if (isHuge) return reader.fail(node, `a grant has more than ${MAX_GRANT_ENTRIES} pairs of "ip" and "dst"`); // CHECK: policy-grant-size
  for (const [protocol, ports] of allowed) {
    const destinations = targets.map(alias => ({ alias, ports }));
    const protocols = protocol === undefined ? [] : [protocol];
    rules.push({ ...base, destinations, protocols, isNetwork: true });
  }
  const capabilities = app === undefined ? undefined : readApp(reader, app);
  refuseSelf(reader, src, sources, targets);
  if (app !== undefined && targets.some(({ kind }) => kind === 'internet'))
    reader.fail(app, 'the internet has no capabilities', 'a grant of its own for "ip"');
  if (app !== undefined && via !== undefined) reader.note(app, '"app" of a grant with "via" gives no capabilities');
  if (ip !== undefined) noteEmpty(reader, ip, [...allowed]);
  if (capabilities !== undefined) {
    const destinations = targets.map(alias => ({ alias, ports: ALL_PORTS }));
    rules.push({ ...base, destinations, protocols: [], isNetwork: false, capabilities });
  }
  if (!canJudge(reader, fields)) return undefined; // CHECK: policy-grant-posture
  // A "via" that names nothing that was understood must not become a rule for every router.
  return via !== undefined && routers.length === 0 ? undefined : rules;
}

/** An entry of "tests". */
export function readTest(reader: FieldReader, node: JsonNode, index: number, names: Names): PolicyTest | undefined {
  const fields = reader.known(node, 'an entry of "tests"', [
    'src',
    'user',
    'proto',
    'accept',
    'allow',
    'deny',
    'srcPostureAttrs',
  ]);
  if (node.kind !== 'object') return undefined;
  const src = oneOf(reader, node, fields, 'src', 'user');
  const posture = fields.get('srcPostureAttrs');
  if (posture !== undefined) return reader.fail(posture, 'tests about postures cannot be evaluated');
  const text = src === undefined ? undefined : reader.string(src.value, '"src"');
  const source = text === undefined ? undefined : reader.take(text, parseAlias(text.text, 'test-source', names));
  const protocol = readProtocol(reader, fields);
  const [accept, deny] = [fields.get('accept') ?? fields.get('allow'), fields.get('deny')];
  if (accept === undefined && deny === undefined) return reader.fail(node, 'a test needs "accept" or "deny"');
  if (source === undefined) return undefined;
  const read = (member: JsonMember | undefined, what: string): PolicyTestTarget[] => {
    const texts = member === undefined ? [] : reader.strings(member.value, what);
    return texts.flatMap(each => readTarget(reader, each, names) ?? []);
  };
  const lists = { accept: read(accept, '"accept"'), deny: read(deny, '"deny"') };
  if (lists.accept.length + lists.deny.length === 0) reader.note(node, 'a test tests nothing');
  return { name: `tests[${index}]`, ...reader.placeOf(node), source, protocol, ...lists };
}

function readTarget(reader: FieldReader, text: Text, names: Names): PolicyTestTarget | undefined {
  const parsed = parseDestination(text.text, names);
  const destination = reader.take(text, parsed);
  if (destination === undefined) return undefined;
  const { alias } = destination;
  const port = parseDecimal(text.text.slice(text.text.lastIndexOf(':') + 1), 65_535);
  if (port === undefined)
    return reader.fail(text, `${quote(text.text)} has no single port`, 'a test is about one port');
  const isWide = alias.addresses?.ranges.some(([first, last]) => first !== last) ?? false;
  if (isWide) return reader.fail(text, 'a test is about single addresses, not prefixes');
  const isConcrete = alias.kind !== 'all' && alias.kind !== 'internet' && alias.kind !== 'nobody';
  if (!isConcrete)
    return reader.fail(text, `${alias.text} cannot be tested`, 'name a user, group, tag, host or address');
  return { text: text.text, ...reader.placeOf(text), alias, port };
}

function oneOf(reader: FieldReader, node: JsonNode, fields: Fields, name: string, old: string): JsonMember | undefined {
  const [member, other] = [fields.get(name), fields.get(old)];
  if (member === undefined && other === undefined) return reader.fail(node, `${quote(name)} is missing`);
  if (member !== undefined && other !== undefined && name !== old)
    return reader.fail(other, `both ${quote(name)} and ${quote(old)} are there`, `keep ${quote(name)}`);
  return member ?? other;
}

/** Undefined for a protocol that is absent or empty. */
function readProtocol(reader: FieldReader, fields: Fields): number | undefined {
  const member = fields.get('proto');
  if (member === undefined) return undefined;
  if (member.value.kind === 'number')
    return reader.fail(member.value, '"proto" expected a text', 'put quotes around it');
  const text = reader.string(member.value, '"proto"');
  return text === undefined || text.text === '' ? undefined : reader.take(text, parseProtocol(text.text));
}

/** False for a rule with a posture: nobody can tell who meets it, so that it allows nothing. */
function canJudge(reader: FieldReader, fields: Fields): boolean {
  const posture = fields.get('srcPosture');
  if (posture === undefined) return true;
  if (posture.value.kind === 'list' && posture.value.items.length === 0) return true;
  reader.note(posture, '"srcPosture" is not evaluated: the rule allows nothing');
  return false;
}

/** `autogroup:self` is about users: what is no user's has no devices of the same one. */
function refuseSelf(reader: FieldReader, at: JsonMember, sources: readonly Alias[], targets: readonly Alias[]): void {
  if (!targets.some(({ kind }) => kind === 'self')) return;
  const wrong = sources.find(({ kind }) => kind === 'tag' || kind === 'tagged' || kind === 'addresses');
  const hint = 'a rule of its own, from users, groups or autogroup:member';
  if (wrong !== undefined) reader.fail(at, `${quote(wrong.text)} cannot be a source of autogroup:self`, hint);
}

function noteEmpty(reader: FieldReader, member: JsonMember, read: readonly unknown[]): void {
  if (read.length === 0) reader.note(member, `${quote(member.name)} is empty: the rule allows nothing`);
}

function aliasesOf(reader: FieldReader, node: JsonNode, what: string, use: AliasUse, names: Names): readonly Alias[] {
  const out: Alias[] = [];
  for (const text of reader.strings(node, what)) {
    const alias = reader.take(text, parseAlias(text.text, use, names));
    if (alias?.kind === 'nobody') reader.note(text, `${alias.text} is not evaluated: it stands for nothing`);
    if (alias !== undefined) out.push(alias);
  }
  return out;
}

/** `alias:ports`, split at the last colon; an IPv6 address may have brackets. */
function parseDestination(text: string, names: Names): Parsed<RuleDestination> {
  const colon = text.lastIndexOf(':');
  const hint = `ports stand behind a colon, like ${quote(`${text}:*`)}`;
  if (colon <= 0) return { fault: `${quote(text)} has no ports`, hint };
  const bracketed = /^\[(.*)\]$/.exec(text.slice(0, colon));
  const name = bracketed?.[1] ?? text.slice(0, colon);
  if (bracketed !== null && !name.includes(':'))
    return { fault: `${quote(text)} has brackets around what is not IPv6` };
  const isBareAlias = /^(tag|group|autogroup|ipset)$/.test(name);
  if (isBareAlias) return { fault: `${quote(text)} has no ports`, hint };
  const ports = parsePorts(text.slice(colon + 1));
  if ('fault' in ports) return ports;
  const alias = parseAlias(name, 'destination', names);
  return 'fault' in alias ? alias : { value: { alias: alias.value, ports: ports.value } };
}

/** Ports by protocol, in the order of the file. */
function readIp(reader: FieldReader, member: JsonMember): ReadonlyMap<number | undefined, readonly PortRange[]> {
  const out = new Map<number | undefined, PortRange[]>();
  for (const text of reader.strings(member.value, '"ip"')) {
    const parsed = reader.take(text, parseProtocolPorts(text.text));
    if (parsed === undefined) continue;
    const ports = out.get(parsed.protocol);
    if (ports === undefined) out.set(parsed.protocol, [...parsed.ports]);
    else ports.push(...parsed.ports);
  }
  return out;
}

function readApp(reader: FieldReader, member: JsonMember): Readonly<Record<string, readonly unknown[]>> {
  const out: Record<string, readonly unknown[]> = Object.create(null);
  for (const capability of reader.members(member.value, '"app"')) {
    const isName = /^[A-Za-z0-9.-]+(:\/\/[A-Za-z0-9.-]+)?\/[^\s]+$/.test(capability.name);
    if (!isName) reader.fail(capability, `${quote(capability.name)} is not a capability`, 'like example.com/cap/name');
    out[capability.name] = reader.items(capability.value, quote(capability.name)).map(plainValue);
  }
  return out;
}

function readVia(reader: FieldReader, member: JsonMember, names: Names): readonly string[] {
  const out: string[] = [];
  for (const text of reader.strings(member.value, '"via"')) {
    const alias = reader.take(text, parseAlias(text.text, 'source', names));
    if (alias === undefined) continue;
    if (alias.kind === 'tag') out.push(alias.name);
    else reader.fail(text, `${quote(text.text)} is not a tag`, 'routers in "via" are named by tag');
  }
  return out;
}
