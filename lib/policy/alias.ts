/**
 * Who and what a rule names: `*`, an address or prefix, a user, `group:x`, `tag:x`, `autogroup:x`, a name from "hosts".
 *
 * A text is looked at in that order. An address in IPv4-mapped form is the IPv4 address. A prefix with host bits is
 * refused, since somebody meant one of two things. Roles (`autogroup:admin` and the like) are refused: there are none
 * here. `ipset:x` is kept and stands for nothing.
 */
import { formatPrefix, parseAddress, parsePrefix } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';
import { IpSet, rangeOfPrefix } from './ip-set.ts';
import type { Parsed } from './ports.ts';
import { meant, quote } from './problem.ts';

/** What kind of thing an alias is. */
export type AliasKind =
  | 'all'
  | 'addresses'
  | 'user'
  | 'group'
  | 'tag'
  | 'member'
  | 'tagged'
  | 'self'
  | 'internet'
  | 'danger-all'
  | 'nobody';

/** One of the names of a rule. */
export interface Alias {
  readonly kind: AliasKind;
  /** As it was written. */
  readonly text: string;
  /** Equal for aliases that mean the same. */
  readonly key: string;
  /** Login, `group:x` or `tag:x`; empty for other kinds. */
  readonly name: string;
  /** Of addresses and hosts. */
  readonly addresses?: IpSet;
}

/** What names a file declares. */
export interface Names {
  readonly groups: ReadonlyMap<string, readonly string[]>;
  readonly tags: ReadonlyMap<string, unknown>;
  readonly hosts: ReadonlyMap<string, IpSet>;
}

/** Where an alias stands, which says what it may be. */
export type AliasUse = 'source' | 'destination' | 'test-source' | 'target' | 'owner';

const AUTOGROUPS: Readonly<Record<string, readonly AliasUse[]>> = Object.freeze({
  member: Object.freeze(['source', 'destination', 'test-source', 'target', 'owner'] as const),
  tagged: Object.freeze(['source', 'destination', 'test-source', 'target', 'owner'] as const),
  self: Object.freeze(['destination'] as const),
  internet: Object.freeze(['destination'] as const),
  'danger-all': Object.freeze(['source'] as const),
});
const ROLES: readonly string[] = Object.freeze([
  'admin',
  'owner',
  'it-admin',
  'network-admin',
  'billing-admin',
  'auditor',
  'shared',
]);

/** A login as a policy writes it: `ann@` is the local user `ann`. */
export function loginOf(text: string): string {
  return text.endsWith('@') ? text.slice(0, -1) : text;
}

/** Reads an alias. */
export function parseAlias(text: string, use: AliasUse, names: Names): Parsed<Alias> {
  if (text === '') return { fault: 'a name is empty' };
  if (text !== text.trim()) return { fault: `${quote(text)} has blanks around it`, hint: quote(text.trim()) };
  const literal = parseLiteral(text);
  if (literal !== undefined) {
    if ('fault' in literal) return literal;
    if (use === 'owner') return { fault: `${quote(text)} is an address`, hint: 'owners are users, groups and tags' };
    return { value: addressAlias(text, literal.value) };
  }
  if (text === '*') {
    if (use === 'owner') return { fault: '* cannot be an owner', hint: 'write autogroup:member' };
    if (use === 'test-source')
      return { fault: 'a test has one source, not *', hint: 'name a user, group, tag or host' };
    return { value: { kind: 'all', text, key: '*', name: '' } };
  }
  if (text.includes('@')) return parseUser(text);
  if (text.startsWith('group:')) return parseDeclared('group', text, names.groups, '"groups"');
  if (text.startsWith('tag:')) return parseDeclared('tag', text, names.tags, '"tagOwners"');
  if (text.startsWith('autogroup:')) return parseAutogroup(text, use);
  if (text.startsWith('ipset:')) return { value: { kind: 'nobody', text, key: text, name: '' } };
  const host = names.hosts.get(text);
  if (host !== undefined && use !== 'owner') return { value: addressAlias(text, host) };
  const candidates = [...names.hosts.keys(), ...names.groups.keys(), ...names.tags.keys()];
  const user = /^[^\s:*]+$/.test(text) ? `a user has an @ in it: ${quote(`${text}@`)}` : 'a user has an @ in it';
  const known = meant(text, candidates) ?? `${user}; other names are declared in "hosts"`;
  return { fault: `${quote(text)} is not known`, hint: known };
}

/** An address or prefix; undefined when the text is neither and does not look like one. */
export function parseLiteral(text: string): Parsed<IpSet> | undefined {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) {
    const written = parseAddress(text.includes('/') ? text.slice(0, text.indexOf('/')) : text)!;
    const hint = `write ${formatPrefix(prefix)}, or the address alone`;
    if (!equalBytes(written, prefix.bytes)) return { fault: `${quote(text)} has host bits`, hint }; // CHECK: policy-host-bits
    return { value: IpSet.of([rangeOfPrefix(prefix)]) };
  }
  if (/^[0-9.]+(\/.*)?$/.test(text) && text.includes('.')) return { fault: `${quote(text)} is not an IPv4 address` };
  const looksLikeV6 = /^[0-9a-fA-F:]*:[0-9a-fA-F:.]*(\/.*)?$/.test(text) && text.split(':').length > 2;
  return looksLikeV6 ? { fault: `${quote(text)} is not an IPv6 address` } : undefined;
}

function addressAlias(text: string, addresses: IpSet): Alias {
  return { kind: 'addresses', text, key: `ip ${addresses.id}`, name: '', addresses };
}

function parseUser(text: string): Parsed<Alias> {
  const name = loginOf(text);
  const isWild = /\*/.test(name);
  if (isWild) return { fault: `${quote(text)} has a * in it`, hint: 'name each user, or write autogroup:member' };
  if (name === '' || /\s/.test(name)) return { fault: `${quote(text)} is not a user` };
  return { value: { kind: 'user', text, key: `user ${name}`, name } };
}

function parseDeclared(
  kind: 'group' | 'tag',
  text: string,
  declared: ReadonlyMap<string, unknown>,
  section: string,
): Parsed<Alias> {
  const isDeclared = declared.has(text);
  if (!isDeclared) return undeclared(text, declared, section); // CHECK: policy-undeclared
  return { value: { kind, text, key: text, name: text } };
}

function undeclared(text: string, declared: ReadonlyMap<string, unknown>, section: string): Parsed<Alias> {
  const hint = meant(text, declared.keys()) ?? `add it to ${section}`;
  return { fault: `${quote(text)} is not declared`, hint };
}

function parseAutogroup(text: string, use: AliasUse): Parsed<Alias> {
  const name = text.slice('autogroup:'.length);
  if (ROLES.includes(name))
    return { fault: `${text} is a role, and there are none here`, hint: 'name a group instead' };
  const uses = Object.hasOwn(AUTOGROUPS, name) ? AUTOGROUPS[name] : undefined;
  const known = Object.keys(AUTOGROUPS).map(each => `autogroup:${each}`);
  if (uses === undefined) return { fault: `${quote(text)} is not known`, hint: meant(text, known) ?? known.join(', ') };
  if (!uses.includes(use)) return { fault: `${text} cannot be a ${use.replace('-', ' ')}` }; // CHECK: policy-autogroup-use
  return { value: { kind: name as AliasKind, text, key: text, name: '' } };
}
