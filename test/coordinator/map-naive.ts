/**
 * What a policy means for the maps of a tailnet, worked out the long way: every question goes over all rules, all names
 * and all devices again. Written from what the rules say, without a line of lib/policy.
 */
import { parseAddress, parsePrefix } from '../../lib/base/address.ts';
import { toHex } from '../../lib/base/bytes.ts';
import type { DeviceRecord } from '../../lib/coordinator/model.ts';
import type { WireFilterRule } from '../../lib/filter/rule.ts';

export interface NaiveRule {
  readonly src: readonly string[];
  /** `alias:22`, `alias:80-90`, `alias:*`. */
  readonly dst: readonly string[];
  readonly proto?: 'tcp' | 'udp';
}

export interface NaivePolicy {
  readonly groups: Readonly<Record<string, readonly string[]>>;
  readonly hosts: Readonly<Record<string, string>>;
  readonly acls: readonly NaiveRule[];
  readonly nodeAttrs: readonly { readonly target: readonly string[]; readonly attr: readonly string[] }[];
}

export interface NaiveDevice {
  readonly record: DeviceRecord;
  readonly login: string;
}

export const PORTS = Object.freeze([22, 80, 85]);
const PROTOCOLS = Object.freeze({ tcp: 6, udp: 17 });
export const PUBLIC = '8.8.8.8';

/** The file. */
export function textOf({ groups, hosts, acls, nodeAttrs }: NaivePolicy): string {
  const rules = acls.map(rule => ({ action: 'accept', ...rule }));
  return JSON.stringify({ groups, hosts, tagOwners: { 'tag:a': [], 'tag:b': [] }, acls: rules, nodeAttrs });
}

/** A random policy over these logins. */
export function randomPolicy(pick: (most: number) => number, logins: readonly string[]): NaivePolicy {
  const some = <T>(from: readonly T[], most: number) =>
    Array.from({ length: 1 + pick(most) }, () => from[pick(from.length)]!);
  const users = logins.map(login => `${login}@`);
  const groups = { 'group:g': some(users, 2), 'group:h': some(users, 1) };
  const hosts = { box: '100.64.0.3', six: 'fd7a:115c:a1e0::1:5', net: '10.1.0.0/16' };
  const anybody = ['autogroup:member', 'autogroup:tagged', ...Object.keys(groups), ...users, 'tag:a', 'tag:b'];
  const named = [...anybody, ...anybody, ...Object.keys(hosts)];
  const ports = ['22', '80-90', '*'];
  const owners = ['autogroup:member', ...Object.keys(groups), ...users];
  const rule = (): NaiveRule => {
    const isSelf = pick(5) === 0; // which has sources of its own
    const to = isSelf ? ['autogroup:self'] : some([...named, ...named, 'autogroup:internet', '*'], 2);
    return {
      src: some(isSelf ? owners : [...named, ...named, '*'], 2),
      dst: to.map(alias => `${alias}:${some(ports, 0)}`),
      ...(pick(3) === 0 ? { proto: pick(2) === 0 ? 'tcp' : 'udp' } : {}),
    };
  };
  const attr = () => ({ target: some(anybody, 1), attr: some(['funnel', 'attr-x'], 1) });
  return {
    groups,
    hosts,
    acls: Array.from({ length: pick(5) }, rule),
    nodeAttrs: Array.from({ length: pick(3) }, attr),
  };
}

function ownerOf({ record, login }: NaiveDevice): string | undefined {
  return record.tags.length > 0 ? undefined : login;
}

export function routesOf(record: DeviceRecord): string[] {
  return record.advertisedRoutes.filter(route => record.approvedRoutes.includes(route));
}

/** Whether a name of users or tags means a device. */
function isNamed(policy: NaivePolicy, alias: string, device: NaiveDevice): boolean {
  const owner = ownerOf(device);
  if (alias === 'autogroup:tagged') return owner === undefined;
  if (alias === 'autogroup:member') return owner !== undefined;
  if (alias.startsWith('tag:')) return device.record.tags.includes(alias);
  if (owner === undefined) return false;
  if (alias.startsWith('group:')) return policy.groups[alias]!.includes(`${owner}@`);
  return alias === `${owner}@`;
}

function isIn(network: string, address: string): boolean {
  const [prefix, bytes] = [parsePrefix(network)!, parseAddress(address)!];
  if (prefix.bytes.length !== bytes.length) return false;
  for (let bit = 0; bit < prefix.bits; bit++)
    if (((prefix.bytes[bit >> 3]! ^ bytes[bit >> 3]!) & (0x80 >> (bit & 7))) !== 0) return false;
  return true;
}

/** Whether two networks have an address in common: one is inside the other. */
function meet(a: string, b: string): boolean {
  return isIn(a, parts(b)) || isIn(b, parts(a));
}

function parts(network: string): string {
  return network.split('/')[0]!;
}

const isExit = (route: string) => route === '0.0.0.0/0' || route === '::/0';

/** Whether packets from an address of a device, or of what is behind it, have this source. */
function isSource(
  policy: NaivePolicy,
  all: readonly NaiveDevice[],
  alias: string,
  device: NaiveDevice,
  from: string,
): boolean {
  const host = policy.hosts[alias];
  if (host !== undefined) return meet(host, from);
  if (alias !== '*') return device.record.addresses.includes(parts(from)) && isNamed(policy, alias, device);
  const routes = all.flatMap(({ record }) => routesOf(record)).filter(route => !isExit(route));
  return ['100.64.0.0/10', 'fd7a:115c:a1e0::/48', ...routes].some(network => meet(network, from));
}

/** Whether a rule lets anything at all from one device reach the other, or what is behind it. */
function connects(policy: NaivePolicy, all: readonly NaiveDevice[], a: NaiveDevice, b: NaiveDevice): boolean {
  const sends = [...a.record.addresses, ...routesOf(a.record).filter(route => !isExit(route))];
  const takes = [...b.record.addresses, ...routesOf(b.record).filter(route => !isExit(route))];
  return policy.acls.some(({ src, dst }) => {
    if (!src.some(alias => sends.some(from => isSource(policy, all, alias, a, from)))) return false;
    return dst.some(text => {
      const alias = text.slice(0, text.lastIndexOf(':'));
      if (alias === '*') return true;
      if (alias === 'autogroup:self') return ownerOf(a) !== undefined && ownerOf(a) === ownerOf(b);
      if (alias === 'autogroup:internet') return routesOf(b.record).some(isExit);
      const host = policy.hosts[alias];
      if (host !== undefined) return takes.some(to => meet(host, to));
      return isNamed(policy, alias, b);
    });
  });
}

export function naiveSees(policy: NaivePolicy, all: readonly NaiveDevice[], a: NaiveDevice, b: NaiveDevice): boolean {
  return connects(policy, all, a, b) || connects(policy, all, b, a);
}

/** Whether a packet from a device's own address may go to an address of another one, or behind it. */
export function naiveMay(
  policy: NaivePolicy,
  all: readonly NaiveDevice[],
  a: NaiveDevice,
  b: NaiveDevice,
  packet: Packet,
): boolean {
  const { from, to, port, protocol } = packet;
  return policy.acls.some(({ src, dst, proto }) => {
    if (proto !== undefined && PROTOCOLS[proto] !== protocol) return false;
    if (!src.some(alias => isSource(policy, all, alias, a, from))) return false;
    return dst.some(text => {
      const [alias, ports] = [text.slice(0, text.lastIndexOf(':')), text.slice(text.lastIndexOf(':') + 1)];
      const [first, last = first] = ports.split('-').map(Number);
      if (ports !== '*' && !(first! <= port && port <= last!)) return false;
      if (alias === '*') return true;
      const isOwn = b.record.addresses.includes(to);
      if (alias === 'autogroup:self') return isOwn && ownerOf(a) !== undefined && ownerOf(a) === ownerOf(b);
      if (alias === 'autogroup:internet') return to === PUBLIC;
      const host = policy.hosts[alias];
      if (host !== undefined) return meet(host, to);
      return isOwn && isNamed(policy, alias, b);
    });
  });
}

export function naiveAttributes(policy: NaivePolicy, device: NaiveDevice): string[] {
  const { nodeAttrs } = policy;
  return nodeAttrs.flatMap(({ target, attr }) => (target.some(alias => isNamed(policy, alias, device)) ? attr : []));
}

export interface Packet {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: number;
}

/** Packets from one device to another worth looking at: each family, behind it where it serves anything. */
export function packetsTo(a: DeviceRecord, b: DeviceRecord): Packet[] {
  const routes = routesOf(b);
  const targets: [string, string][] = [
    [a.addresses[0], b.addresses[0]],
    [a.addresses[1], b.addresses[1]],
  ];
  if (routes.includes('10.1.0.0/16')) targets.push([a.addresses[0], '10.1.2.3']);
  if (routes.includes('0.0.0.0/0')) targets.push([a.addresses[0], PUBLIC]);
  return targets.flatMap(([from, to]) =>
    PORTS.flatMap(port => [6, 17].map(protocol => ({ from, to, port, protocol }))),
  );
}

/** Whether a filter lets a packet in, its texts read one by one. */
export function filterAllows(rules: readonly WireFilterRule[], { from, to, port, protocol }: Packet): boolean {
  return rules.some(({ SrcIPs, DstPorts = [], IPProto = [] }) => {
    if (IPProto.length > 0 && !IPProto.includes(protocol)) return false;
    if (!SrcIPs.some(text => holds(text, from))) return false;
    return DstPorts.some(({ IP, Ports }) => holds(IP, to) && Ports.First <= port && port <= Ports.Last);
  });
}

function holds(text: string, address: string): boolean {
  if (text === '*') return true;
  if (!text.includes('-')) return isIn(text, address);
  const [first, last, own] = [...text.split('-'), address].map(each => toHex(parseAddress(each)!));
  return first!.length === own!.length && first! <= own! && own! <= last!;
}
