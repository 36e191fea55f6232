/**
 * The policies of the case `policies`: a list written by hand, one for each trap that is known, and generated ones.
 *
 * A policy of the list that begins with {@link SEEN} lets everybody know everybody by rules that go the other way, from the
 * receivers to the senders; then the filter alone decides, and not whether the sender is known at all.
 */
import { seededRandom } from './pattern.ts';
import type { PolicyWorld } from './policy-world.ts';

/** A policy with the name under which it is reported. */
export interface NamedPolicy {
  readonly name: string;
  readonly text: string;
}

/** Addresses that policies name. */
interface Addresses {
  readonly gate: readonly [string, string];
  readonly desk: readonly [string, string];
  readonly phone: readonly [string, string];
  readonly pad: readonly [string, string];
}

type Entry = Readonly<Record<string, unknown>>;

const HEAD = Object.freeze({
  groups: {
    'group:dev': ['bob@lab.test'],
    'group:ops': ['carl@lab.test', 'ann@lab.test'],
    'group:none': [],
  },
  tagOwners: {
    'tag:gate': ['ann@lab.test'],
    'tag:web': ['group:ops'],
    'tag:db': ['tag:web'],
    'tag:router': [],
    'tag:exit': [],
  },
  hosts: { subnet: '10.20.0.0/16', part: '10.20.200.0/24', server: '10.20.0.5', subnet6: 'fd00:20::/64' },
});
const OTHERS = Object.freeze(['bob@lab.test', 'carl@lab.test', 'tag:web', 'tag:db', 'tag:router', 'tag:exit']);

/** Rules from the receivers to the senders. */
function seen({ desk, phone }: Addresses): readonly Entry[] {
  const to = (aliases: readonly string[]) => aliases.map(alias => `${alias}:1`);
  return [
    { action: 'accept', src: ['tag:gate'], proto: 'tcp', dst: to([...OTHERS, phone[0], desk[0]]) },
    { action: 'accept', src: [desk[0]], proto: 'tcp', dst: to([...OTHERS, phone[0]]) },
  ];
}

function rule(src: readonly string[], dst: readonly string[], proto?: string): Entry {
  return { action: 'accept', src, dst, ...(proto !== undefined && { proto }) };
}

function write(sections: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ ...HEAD, ...sections }, undefined, 1);
}

/** Nobody is let in by anything but what is written; who is not named is not known. */
function bare(name: string, ...acls: readonly Entry[]): NamedPolicy {
  return { name, text: write({ acls }) };
}

/** All policies for a world. */
export function policiesOf(world: PolicyWorld, generated: number): readonly NamedPolicy[] {
  const at: Addresses = {
    gate: world.addressesOf('gate'),
    desk: world.addressesOf('desk'),
    phone: world.addressesOf('phone'),
    pad: world.addressesOf('pad'),
  };
  const made = Array.from({ length: generated }, (_, seed) => generate(seed + 1, at));
  return [...everything(), ...addresses(at), ...names(at), ...protocols(at), ...routes(at), ...grants(at), ...made];
}

function everything(): readonly NamedPolicy[] {
  return [
    { name: 'no rules at all: all is allowed', text: '{}' },
    { name: 'an empty list of acls: nothing is', text: '{"acls": []}' },
    { name: 'an empty list of grants: nothing is', text: '{"grants": []}' },
    { name: 'empty acls beside a grant', text: write({ acls: [], grants: [{ src: ['*'], dst: ['*'], ip: ['22'] }] }) },
    bare('from * to *', rule(['*'], ['*:*'])),
    bare('from autogroup:danger-all to *', rule(['autogroup:danger-all'], ['*:*'])),
    bare('from autogroup:danger-all to a user', rule(['autogroup:danger-all'], ['ann@lab.test:*'])),
    bare('from * to a user: not from outside the tailnet', rule(['*'], ['ann@lab.test:*'])),
    { name: 'comments, trailing commas and the old names of fields', text: COMMENTED },
    bare('a rule of a group without users', rule(['group:none'], ['*:*'])),
    bare('one device alone', rule(['bob@lab.test'], ['tag:gate:443'], 'tcp')),
  ];
}

const COMMENTED = `{
  // who may do what
  "tagOwners": {"tag:gate": [], /* a router */},
  "acls": [
    {"action": "accept", "users": ["bob@lab.test"], "ports": ["tag:gate:22,80",]},
  ],
}
`;

function addresses(at: Addresses): readonly NamedPolicy[] {
  const list = (name: string, ...acls: readonly Entry[]) => bare(name, ...seen(at), ...acls);
  return [
    list('an IPv4 address leaves IPv6 closed', rule(['*'], [`${at.gate[0]}:*`])),
    list('an IPv6 address leaves IPv4 closed', rule(['*'], [`[${at.gate[1]}]:*`])),
    list('an address in IPv4-mapped form is the IPv4 one', rule(['*'], [`[::ffff:${at.gate[0]}]:443`])),
    list('a source in IPv4-mapped form', rule([`::ffff:${at.pad[0]}`], ['tag:gate:*'])),
    list('a source of one family', rule([at.pad[1]], ['*:*'])),
    list('a source of the whole tailnet range', rule(['100.64.0.0/10'], ['tag:gate:22'])),
    list('a destination wider than the tailnet', rule(['bob@lab.test'], ['0.0.0.0/0:443'])),
    list('all of IPv6 as a destination', rule(['bob@lab.test'], ['[::/0]:443'])),
    list('a prefix of an address that is not there', rule(['*'], ['100.127.255.0/31:*'])),
  ];
}

function names(at: Addresses): readonly NamedPolicy[] {
  const list = (name: string, ...acls: readonly Entry[]) => bare(name, ...seen(at), ...acls);
  return [
    list('a group', rule(['group:dev'], ['tag:gate:*'])),
    list('a group of two', rule(['group:ops'], ['tag:gate:22', 'ann@lab.test:80'])),
    list('a tag that two devices have', rule(['tag:web'], ['tag:gate:443'])),
    list('a tag that one of them has', rule(['tag:db'], ['tag:gate:443'])),
    list('autogroup:member does not mean tagged devices', rule(['autogroup:member'], ['tag:gate:22'])),
    list('autogroup:tagged does not mean users', rule(['autogroup:tagged'], ['*:22'])),
    list('to autogroup:member', rule(['*'], ['autogroup:member:80'])),
    list('to autogroup:tagged', rule(['*'], ['autogroup:tagged:80'])),
    list('autogroup:self from members', rule(['autogroup:member'], ['autogroup:self:*'])),
    list('autogroup:self from a group', rule(['group:ops'], ['autogroup:self:22'])),
    list('autogroup:self from * and others beside it', rule(['*'], ['autogroup:self:22', 'tag:gate:443'])),
    bare('autogroup:self alone: other users are not known', rule(['autogroup:member'], ['autogroup:self:*'])),
    list('a user is not meant by the tag that he owns', rule(['ann@lab.test'], ['tag:gate:443', 'tag:web:443'])),
    list('sources of several kinds', rule(['tag:db', 'bob@lab.test', at.phone[0]], ['*:22,443'])),
    list('two rules that overlap', rule(['group:dev'], ['*:20-100']), rule(['*'], ['tag:gate:80-500'])),
    list(
      'rules of the same sources are one',
      rule(['tag:web'], ['tag:gate:22']),
      rule(['tag:web'], ['ann@lab.test:80']),
    ),
    bare('known by a rule that goes the other way', ...seen(at)),
  ];
}

function protocols(at: Addresses): readonly NamedPolicy[] {
  const list = (name: string, ...acls: readonly Entry[]) => bare(name, ...seen(at), ...acls);
  const about = (name: string, proto: string, ports = '*') => list(name, rule(['*'], [`*:${ports}`], proto));
  return [
    about('tcp alone', 'tcp'),
    about('udp alone', 'udp', '53'),
    about('icmp alone, and the echo of IPv6 with it', 'icmp'),
    about('ipv6-icmp alone', 'ipv6-icmp'),
    about('sctp with a port', 'sctp', '443'),
    about('gre', 'gre'),
    about('gre by number', '47'),
    about('esp, with all ports as a range', 'esp', '0-65535'),
    about('igmp: nothing of what is asked', 'igmp'),
    about('protocol 255: nothing at all', '255'),
    list('ports of a rule without a protocol', rule(['*'], ['tag:gate:53,443'])),
    list('all ports but one: no protocol without ports', rule(['*'], ['tag:gate:1-65535'])),
    list('a port of TCP and another of UDP', rule(['*'], ['*:80'], 'tcp'), rule(['*'], ['*:53'], 'udp')),
    list('port 0', rule(['*'], ['*:0'])),
    list('lists and ranges of ports', rule(['*'], ['tag:gate:1-21,23-79,81-442,444-65535'], 'tcp')),
  ];
}

function routes(at: Addresses): readonly NamedPolicy[] {
  const list = (name: string, ...acls: readonly Entry[]) => bare(name, ...seen(at), ...acls);
  return [
    list('a subnet', rule(['group:dev'], ['subnet:*'])),
    list('a part of a subnet', rule(['group:dev'], ['part:443'])),
    list('a host in a subnet, by its name', rule(['group:dev'], ['server:22'])),
    list('more than a subnet: what is served is enough', rule(['group:dev'], ['10.0.0.0/8:22'])),
    list('a subnet of IPv6', rule(['group:dev'], ['subnet6:*'])),
    list('to a router, not to what is behind it', rule(['*'], ['tag:gate:*'])),
    list('* as a destination is also what is behind a router', rule(['group:dev'], ['*:22'])),
    list('autogroup:internet: no subnet, no device', rule(['group:dev'], ['autogroup:internet:*'])),
    list('a part of the internet', rule(['group:dev'], ['198.51.0.0/16:443', '[2001:db8::/32]:443'])),
    list('private addresses are not the internet', rule(['*'], ['192.168.0.0/16:*'])),
    list('from behind a router', rule(['10.30.0.0/24', 'fd00:30::/64'], ['*:443'])),
    list('from a router, not from behind it', rule(['tag:router'], ['*:443'])),
    list('from the internet by name of its addresses', rule(['203.0.113.0/24'], ['ann@lab.test:*'])),
    list('from an exit node, not from the internet', rule(['tag:exit'], ['ann@lab.test:*'])),
    bare('from behind a router alone', rule(['10.30.0.0/24'], ['subnet:*'])),
  ];
}

function grants(at: Addresses): readonly NamedPolicy[] {
  const list = (name: string, ...entries: readonly Entry[]): NamedPolicy => ({
    name,
    text: write({ acls: seen(at), grants: entries }),
  });
  const [src, dst] = [['group:dev'], ['tag:gate']];
  const app = { 'example.com/cap/files': [{ read: true }] };
  return [
    list('a grant of ports by protocol', { src, dst, ip: ['tcp:443', 'udp:53'] }),
    list('a grant of all', { src, dst, ip: ['*'] }),
    list('a grant of icmp', { src, dst, ip: ['icmp:*'] }),
    list('a grant of gre and a port', { src, dst, ip: ['gre:*', '80'] }),
    list('a grant of a capability lets no packet in', { src: ['*'], dst: ['*'], app }),
    list('a grant of both', { src, dst, ip: ['22'], app }),
    list('the internet via one exit node', { src, dst: ['autogroup:internet'], ip: ['*'], via: ['tag:gate'] }),
    list('the internet via the other exit node', { src, dst: ['autogroup:internet'], ip: ['*'], via: ['tag:exit'] }),
    list('a subnet via its router', { src, dst: ['subnet'], ip: ['22'], via: ['tag:gate'] }),
    list('a subnet via a device that does not serve it', { src, dst: ['subnet'], ip: ['22'], via: ['tag:router'] }),
    list('a rule with a posture allows nothing', { src: ['*'], dst: ['*'], ip: ['*'], srcPosture: ['posture:good'] }),
    list('an ipset stands for nothing', { src: ['ipset:all'], dst: ['*'], ip: ['*'] }),
  ];
}

const SOURCES = Object.freeze(['*', 'ann@lab.test', ...OTHERS, 'group:dev', 'group:ops', 'group:none']);
const WIDE = Object.freeze(['autogroup:member', 'autogroup:tagged', '100.64.0.0/10', '10.30.0.0/24', 'fd00:30::/64']);
const TARGETS = Object.freeze(['*', 'ann@lab.test', 'tag:gate', 'autogroup:member', 'autogroup:tagged', 'subnet']);
const FAR = Object.freeze(['part', 'server', 'subnet6', 'autogroup:internet', '10.0.0.0/8', '198.51.100.0/24']);
const PORTS = Object.freeze(['*', '22', '80,443', '1-1024', '443', '53', '8080', '0-65535', '81-442']);
const PROTOCOLS = Object.freeze([undefined, undefined, undefined, 'tcp', 'udp', 'icmp', 'sctp', '47', 'esp', '58']);
/** Of these the ports must be all. */
const PORTLESS = Object.freeze(['icmp', '47', 'esp', '58']);

/** A policy out of a seed: up to six rules and two grants; every second one lets everybody know everybody. */
function generate(seed: number, at: Addresses): NamedPolicy {
  const random = seededRandom(seed * 7919);
  const pick = <T>(list: readonly T[]): T => list[random() % list.length]!;
  const some = <T>(list: readonly T[], most: number): T[] =>
    Array.from({ length: 1 + (random() % most) }, () => pick(list));
  const sources = () => some([...SOURCES, ...WIDE, at.pad[0], at.phone[1], 'autogroup:danger-all'], 2);
  const targets = [...TARGETS, ...FAR, at.gate[0], at.desk[0]];
  const acls = Array.from({ length: 1 + (random() % 6) }, () => {
    const proto = pick(PROTOCOLS);
    const ports = () => (PORTLESS.includes(proto ?? '') ? '*' : pick(PORTS));
    const dst = some(targets, 3).map(target => `${target}:${ports()}`);
    return rule(sources(), dst, proto);
  });
  if (random() % 3 === 0)
    acls.push(rule([pick(['autogroup:member', 'group:ops', 'ann@lab.test'])], [`autogroup:self:${pick(PORTS)}`]));
  const ways = ['*', 'tcp:22', 'udp:53', 'sctp:443', '443', 'gre:*', 'ipv6-icmp:*'];
  const grantList = Array.from({ length: random() % 3 }, () => ({
    src: sources(),
    dst: some(targets, 2),
    ip: some(ways, 3),
  }));
  const isSeen = seed % 2 === 0;
  const text = write({
    acls: isSeen ? [...seen(at), ...acls] : acls,
    ...(grantList.length > 0 && { grants: grantList }),
  });
  return { name: `generated ${seed}`, text };
}
