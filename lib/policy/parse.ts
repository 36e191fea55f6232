/**
 * Reads a policy file: HuJSON, then its sections. Everything that is wrong is found in one pass, up to a limit, with
 * line and column.
 *
 * Evaluated: groups, hosts, tagOwners, acls, grants, tests, nodeAttrs, autoApprovers, randomizeClientPort. Kept as they
 * came and noted as not evaluated: ssh, sshTests, postures, ipsets, derpMap, disableIPv4, OneCGNATRoute. Where leaving
 * something out would allow more than was meant, less is allowed: a rule with "srcPosture" allows nothing, `ipset:x` is
 * nobody, and "defaultSrcPosture" is refused.
 */
import { parsePrefix } from '../base/address.ts';
import { type Alias, type AliasUse, loginOf, type Names, parseAlias, parseLiteral } from './alias.ts';
import { FieldReader } from './fields.ts';
import { isProblem, type JsonMember, type JsonNode, parseHuJson } from './hujson.ts';
import { type IpSet, rangeOfPrefix } from './ip-set.ts';
import type { AutoApprovers, NodeAttribute, Policy, PolicyResult, PolicyRule, PolicyTest } from './policy.ts';
import { PolicyStop, quote } from './problem.ts';
import { defaultRule, readAcl, readGrant, readTest, RULE_LIMITS } from './rules.ts';

const SECTIONS: readonly string[] = Object.freeze([
  'groups',
  'hosts',
  'tagOwners',
  'acls',
  'grants',
  'nodeAttrs',
  'autoApprovers',
  'ssh',
  'tests',
  'sshTests',
  'randomizeClientPort',
  'postures',
  'defaultSrcPosture',
  'ipsets',
  'derpMap',
  'disableIPv4',
  'OneCGNATRoute',
]);
const UNEVALUATED: readonly string[] = Object.freeze([
  'ssh',
  'sshTests',
  'postures',
  'ipsets',
  'derpMap',
  'disableIPv4',
  'OneCGNATRoute',
]);

/** Reads a policy file of at most 4 Mi characters. */
export function parsePolicy(text: string): PolicyResult {
  const document = parseHuJson(text);
  if (isProblem(document)) return { policy: undefined, errors: [document], notes: [] };
  const reader = new PolicyReader(new FieldReader(document));
  return reader.read();
}

class PolicyReader {
  readonly #fields: FieldReader;
  readonly #groups = new Map<string, readonly string[]>();
  readonly #tags = new Map<string, JsonMember>();
  readonly #hosts = new Map<string, IpSet>();
  readonly #names: Names = { groups: this.#groups, tags: this.#tags, hosts: this.#hosts };
  #sections: ReadonlyMap<string, JsonMember> = new Map();

  constructor(fields: FieldReader) {
    this.#fields = fields;
  }

  read(): PolicyResult {
    let policy: Policy | undefined;
    try {
      policy = this.#readSections();
    } catch (error) {
      if (!(error instanceof PolicyStop)) throw error;
    }
    const { errors, notes } = this.#fields;
    const order = [...errors.problems].sort((a, b) => a.line - b.line || a.column - b.column);
    if (policy === undefined || order.length > 0) return { policy: undefined, errors: order, notes: notes.problems };
    return { policy, notes: notes.problems };
  }

  #readSections(): Policy {
    const { document } = this.#fields;
    this.#sections = this.#fields.known(document.root, 'a policy', SECTIONS);
    this.#readGroups();
    this.#readHosts();
    for (const tag of this.#members('tagOwners')) this.#declareTag(tag);
    const policy: Policy = {
      document,
      names: this.#names,
      tagOwners: this.#readTagOwners(),
      rules: this.#readRules(),
      tests: this.#readTests(),
      nodeAttributes: this.#list('nodeAttrs', node => this.#readNodeAttribute(node)),
      autoApprovers: this.#readAutoApprovers(),
      randomizeClientPort: this.#readSwitch('randomizeClientPort'),
      unevaluated: this.#readUnevaluated(),
    };
    return policy;
  }

  #members(section: string): readonly JsonMember[] {
    const member = this.#sections.get(section);
    return member === undefined ? [] : this.#fields.members(member.value, `"${section}"`);
  }

  #list<T>(section: string, read: (node: JsonNode, index: number) => T | undefined): readonly T[] {
    const member = this.#sections.get(section);
    const out: T[] = [];
    const items = member === undefined ? [] : this.#fields.items(member.value, `"${section}"`);
    items.forEach((node, i) => {
      const value = read(node, i);
      if (value !== undefined) out.push(value);
    });
    return out;
  }

  #readSwitch(section: string): boolean {
    const value = this.#sections.get(section)?.value;
    if (value === undefined) return false;
    if (value.kind === 'boolean') return value.value;
    this.#fields.fail(value, `"${section}" expected true or false, got a ${value.kind}`);
    return false;
  }

  #readGroups(): void {
    for (const member of this.#members('groups')) {
      const isName = /^group:[^\s]+$/.test(member.name);
      if (!isName) this.#fields.fail(member, `${quote(member.name)} is not a group`, 'groups begin with group:');
      const users = new Set<string>();
      for (const { text, start } of this.#fields.strings(member.value, `${quote(member.name)}`)) {
        const isNested = text.startsWith('group:');
        if (isNested) this.#fields.fail({ start }, 'a group is in a group', 'list its users');
        else if (!/^[^\s*]+@[^\s*]*$/.test(text))
          this.#fields.fail(
            { start },
            `${quote(text)} is not a user`,
            'a user has an @ in it, as ann@ or ann@example.com',
          );
        else users.add(loginOf(text));
      }
      this.#groups.set(member.name, [...users]);
    }
  }

  #readHosts(): void {
    for (const member of this.#members('hosts')) {
      const { name } = member;
      if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name) || parseLiteral(name) !== undefined)
        this.#fields.fail(member, `${quote(name)} is not a name of a host`, 'letters, digits, - _ and .');
      const value = this.#fields.string(member.value, `"hosts"`);
      if (value === undefined) continue;
      const parsed = parseLiteral(value.text) ?? { fault: `${quote(value.text)} is not an address or prefix` };
      const set = this.#fields.take(value, parsed);
      if (set !== undefined) this.#hosts.set(name, set);
    }
  }

  #declareTag(member: JsonMember): void {
    const isTag = /^tag:[A-Za-z][A-Za-z0-9-]*$/.test(member.name);
    if (isTag) this.#tags.set(member.name, member);
    else this.#fields.fail(member, `${quote(member.name)} is not a tag`, 'tag: and letters, digits and - behind it');
  }

  #readTagOwners(): ReadonlyMap<string, readonly Alias[]> {
    const out = new Map<string, readonly Alias[]>();
    for (const [tag, member] of this.#tags) out.set(tag, this.#aliases(member.value, tag, 'owner'));
    return out;
  }

  #aliases(node: JsonNode, what: string, use: AliasUse): readonly Alias[] {
    const out: Alias[] = [];
    for (const text of this.#fields.strings(node, what)) {
      const alias = this.#fields.take(text, parseAlias(text.text, use, this.#names));
      if (alias !== undefined) out.push(alias);
    }
    return out;
  }

  /** Absent: everything is allowed. Empty: nothing is. */
  #readRules(): readonly PolicyRule[] {
    const isOpen = !this.#sections.has('acls') && !this.#sections.has('grants');
    if (isOpen) return [defaultRule()]; // CHECK: policy-absent-rules
    const { root } = this.#fields.document;
    const items = ['acls', 'grants'].map(section => this.#sections.get(section)?.value);
    const entries = items.reduce((sum, node) => sum + (node?.kind === 'list' ? node.items.length : 0), 0);
    const most = RULE_LIMITS.rules;
    const many = `there are more than ${most}`;
    if (entries > most) return this.#fields.fail(root, `${many} entries of "acls" and "grants"`) ?? []; // CHECK: policy-entry-limit
    const acls = this.#list('acls', (node, i) => readAcl(this.#fields, node, i, this.#names));
    const grants = this.#list('grants', (node, i) => readGrant(this.#fields, node, i, this.#names));
    const rules = [...acls.flat(), ...grants.flat()];
    const names = rules.reduce((sum, { sources, destinations }) => sum + sources.length + destinations.length, 0);
    const hint = 'groups, tags and lists of ports make rules shorter';
    if (rules.length > most) this.#fields.fail(root, `${many} rules`, hint); // CHECK: policy-rule-limit
    const isWide = names > RULE_LIMITS.names;
    if (isWide) this.#fields.fail(root, `rules have more than ${RULE_LIMITS.names} names`, hint); // CHECK: policy-name-limit
    return rules;
  }

  #readTests(): readonly PolicyTest[] {
    const tests = this.#list('tests', (node, i) => readTest(this.#fields, node, i, this.#names));
    const lines = tests.reduce((sum, { accept, deny }) => sum + accept.length + deny.length, 0);
    const many = `"tests" have more than ${RULE_LIMITS.lines} lines`;
    if (lines > RULE_LIMITS.lines) this.#fields.fail(this.#fields.document.root, many); // CHECK: policy-test-lines
    return tests;
  }

  #readNodeAttribute(node: JsonNode): NodeAttribute | undefined {
    const fields = this.#fields.known(node, 'an entry of "nodeAttrs"', ['target', 'attr', 'ipPool']);
    const [target, attr, pool] = [fields.get('target'), fields.get('attr'), fields.get('ipPool')];
    if (pool !== undefined) this.#fields.fail(pool, '"ipPool" is not supported', 'addresses are drawn by the server');
    if (target === undefined || attr === undefined)
      return this.#fields.fail(node, 'an entry of "nodeAttrs" needs "target" and "attr"');
    const attributes = this.#fields.strings(attr.value, '"attr"').map(({ text }) => text);
    return { ...this.#fields.placeOf(node), targets: this.#aliases(target.value, '"target"', 'target'), attributes };
  }

  #readAutoApprovers(): AutoApprovers {
    const member = this.#sections.get('autoApprovers');
    if (member === undefined) return { routes: [], exitNode: [] };
    const fields = this.#fields.known(member.value, '"autoApprovers"', ['routes', 'exitNode']);
    const routes: { range: ReturnType<typeof rangeOfPrefix>; approvers: readonly Alias[] }[] = [];
    const wanted = fields.get('routes');
    for (const route of wanted === undefined ? [] : this.#fields.members(wanted.value, '"routes"')) {
      const parsed = parseLiteral(route.name) ?? { fault: `${quote(route.name)} is not a prefix`, hint: '10.0.0.0/8' };
      const set = this.#fields.take(route, parsed);
      const approvers = this.#aliases(route.value, quote(route.name), 'owner');
      const prefix = parsePrefix(route.name);
      if (set !== undefined && prefix !== undefined) routes.push({ range: rangeOfPrefix(prefix), approvers });
    }
    const exit = fields.get('exitNode');
    return { routes, exitNode: exit === undefined ? [] : this.#aliases(exit.value, '"exitNode"', 'owner') };
  }

  #readUnevaluated(): ReadonlyMap<string, JsonNode> {
    const out = new Map<string, JsonNode>();
    for (const section of UNEVALUATED) {
      const member = this.#sections.get(section);
      if (member === undefined) continue;
      out.set(section, member.value);
      this.#fields.note(member, `"${section}" is kept but not evaluated`);
    }
    const posture = this.#sections.get('defaultSrcPosture');
    if (posture !== undefined) this.#fields.fail(posture, '"defaultSrcPosture" cannot be evaluated'); // CHECK: policy-default-posture
    return out;
  }
}
