/** Mistakes that others have paid for, one test each; filters are judged by real packets. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { PolicyCompiler } from '../../lib/policy/compiler.ts';
import { explain } from '../../lib/policy/explain.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import { attributesOf, isAutoApproved, mayTag } from '../../lib/policy/roles.ts';
import { compile, device, passes, policyOf, problemOf } from './support.ts';

const test = suite('policy/traps');

const ANN = 'ann@example.com';
const BOB = 'bob@example.com';
const TAGS = { tagOwners: { 'tag:web': [], 'tag:router': [], 'tag:exit': [] } };

function accept(src: string, dst: string, proto = ''): object {
  return { action: 'accept', src: [src], dst: [dst], proto };
}

/** Filter and evaluator say the same of a packet to a device. */
function isOpen(c: PolicyCompiler, id: number, from: string, to: string, port = 22, protocol = 6): boolean {
  const isIn = passes(c, id, from, to, port, protocol);
  assert.is(explain(c, from, to, port, protocol).isAllowed, isIn, `${from} to ${to} port ${port} protocol ${protocol}`);
  return isIn;
}

test('4-in-6: every form of an IPv4 address is that address, in rules and in questions', () => {
  for (const form of [
    '10.1.2.3',
    '::ffff:10.1.2.3',
    '::ffff:a01:203',
    '0:0:0:0:0:ffff:a01:203',
    '::FFFF:10.1.2.3/128',
  ]) {
    const acls = [accept(ANN, `${form}:22`), accept(form, `${ANN}:22`)];
    const compiler = compile({ acls }, device(1, ANN), device(2, BOB, '10.1.0.0/16'));
    assert.ok(isOpen(compiler, 2, '100.64.0.1', '10.1.2.3'), form);
    assert.ok(isOpen(compiler, 1, '10.1.2.3', '100.64.0.1'), form);
    assert.not.ok(isOpen(compiler, 2, '100.64.0.1', '10.1.2.4'), form);
    assert.ok(explain(compiler, '::ffff:100.64.0.1', '::ffff:10.1.2.3', 22).isAllowed, form);
  }
});

test('4-in-6: a prefix inside ::ffff:0:0/96 is an IPv4 prefix, and ::/0 has no IPv4 in it', () => {
  const devices = [device(1, ANN), device(2, BOB, '10.1.0.0/16')];
  const mapped = compile({ acls: [accept(ANN, '::ffff:10.1.2.0/120:22')] }, ...devices);
  assert.equal(mapped.rulesFor(2)[0]!.DstPorts![0]!.IP, '10.1.2.0/24');
  assert.ok(isOpen(mapped, 2, '100.64.0.1', '10.1.2.9'));
  assert.not.ok(isOpen(mapped, 2, '100.64.0.1', '10.1.3.9'));
  const wide = compile({ acls: [accept('::/0', '*:22')] }, ...devices);
  assert.not.ok(isOpen(wide, 2, '100.64.0.1', '100.64.0.2'));
  assert.ok(isOpen(wide, 2, 'fd7a:115c:a1e0::1', 'fd7a:115c:a1e0::2'));
});

test('4-in-6: an IPv6 packet with an IPv4-mapped source is not let in as that IPv4 device', () => {
  const compiler = compile({ acls: [accept(ANN, `${BOB}:22`)] }, device(1, ANN), device(2, BOB));
  assert.ok(passes(compiler, 2, '100.64.0.1', '100.64.0.2', 22, 6));
  assert.not.ok(passes(compiler, 2, '::ffff:100.64.0.1', 'fd7a:115c:a1e0::2', 22, 6));
  assert.not.ok(passes(compiler, 2, '::100.64.0.1', 'fd7a:115c:a1e0::2', 22, 6));
});

test('wildcard: as a source it is the tailnet and its approved subnets, never what comes through an exit node', () => {
  const devices = [device(1, ANN), device(2, BOB, '10.1.0.0/16', '0.0.0.0/0', '::/0')];
  for (const policy of [{}, { acls: [accept('*', '*:*')] }, { grants: [{ src: ['*'], dst: ['*'], ip: ['*'] }] }]) {
    const compiler = compile(policy, ...devices);
    for (const from of ['100.64.0.2', '10.1.9.9', '100.127.0.1'])
      assert.ok(isOpen(compiler, 1, from, '100.64.0.1'), from);
    for (const from of ['8.8.8.8', '192.168.0.1', '10.2.0.1', '100.115.92.1', '100.128.0.1', '172.16.0.1'])
      assert.not.ok(isOpen(compiler, 1, from, '100.64.0.1'), from);
    for (const from of ['2001:db8::1', 'fe80::1', 'fd00::1', 'fd7a:115c:a1e1::1'])
      assert.not.ok(isOpen(compiler, 1, from, 'fd7a:115c:a1e0::1'), from);
  }
});

test('unmasked CIDR: host bits are refused wherever a prefix stands, with the prefix that was meant', () => {
  const hint = 'has host bits (write 10.0.0.0/8, or the address alone)';
  assert.match(problemOf({ acls: [accept('10.1.2.3/8', '*:*')] }), hint);
  assert.match(problemOf({ acls: [accept('*', '10.1.2.3/8:*')] }), hint);
  assert.match(problemOf({ grants: [{ src: ['*'], dst: ['10.1.2.3/8'], ip: ['*'] }] }), hint);
  assert.match(problemOf({ hosts: { net: '10.1.2.3/8' } }), hint);
  assert.match(problemOf({ acls: [accept('::ffff:10.1.2.3/104', '*:*')] }), 'has host bits');
  const compiler = compile({ acls: [accept('10.1.2.3/32', '*:*')] }, device(1, ANN));
  assert.equal(compiler.rulesFor(1)[0]!.SrcIPs, ['10.1.2.3']);
});

test('empty is not absent: no list allows the tailnet, an empty one nobody, and so does a rule that names nobody', () => {
  const nobody = { groups: { 'group:none': [] }, ...TAGS };
  for (const [policy, isAllowed] of [
    [{}, true],
    [{ groups: {}, tests: [] }, true],
    [{ acls: [] }, false],
    [{ grants: [] }, false],
    [{ acls: [], grants: [] }, false],
    [{ acls: [{ action: 'accept', src: [], dst: ['*:*'] }] }, false],
    [{ acls: [{ action: 'accept', src: ['*'], dst: [] }] }, false],
    [{ grants: [{ src: ['*'], dst: ['*'], ip: [] }] }, false],
    [{ grants: [{ src: ['*'], dst: ['*'], app: {} }] }, false],
    [{ acls: [accept('group:none', '*:*'), accept('tag:web', '*:*')] }, false],
  ] as const) {
    const compiler = compile({ ...nobody, ...policy }, device(1, ANN), device(2, BOB));
    assert.is(isOpen(compiler, 2, '100.64.0.1', '100.64.0.2'), isAllowed, JSON.stringify(policy));
    const empty = compiler.rulesFor(2).filter(({ SrcIPs }) => SrcIPs.length === 0);
    assert.equal(empty, [], 'a filter rule without sources could be read as one from everybody');
  }
  assert.match(problemOf({ acls: null }), 'expected a list');
  const notes = parsePolicy('{"grants": [{"src": ["*"], "dst": ["*"], "ip": []}]}').notes;
  assert.match(notes[0]!.message, '"ip" is empty: the rule allows nothing');
});

test('exit nodes and subnet routers have no more of a rule than they serve', () => {
  const acls = [accept(ANN, '10.0.0.0/8:22'), accept(ANN, 'autogroup:internet:443'), accept(ANN, '8.8.0.0/16:53')];
  const [router, exit] = [device(2, BOB, '10.1.0.0/16'), device(3, BOB, '0.0.0.0/0', '::/0', '10.2.0.0/24')];
  const compiler = compile({ acls }, device(1, ANN), router, exit, device(4, BOB));
  assert.equal([...new Set(compiler.rulesFor(2).flatMap(rule => rule.DstPorts!.map(({ IP }) => IP)))], ['10.1.0.0/16']);
  assert.equal(compiler.rulesFor(4), []);
  assert.not.ok(compiler.canSee(1, 4));
  const filter = (to: string, port: number) => passes(compiler, 3, '100.64.0.1', to, port, 6);
  assert.ok(filter('8.8.8.8', 443) && filter('8.8.8.8', 53) && filter('10.2.0.9', 22));
  for (const to of ['10.1.0.1', '10.2.1.1', '192.168.1.1', '100.64.0.3'])
    assert.not.ok(
      [22, 53, 443].some(port => filter(to, port)),
      to,
    );
  assert.not.ok(filter('8.8.8.8', 22) || filter('9.9.9.9', 53));
  assert.not.ok(explain(compiler, 1, 3, 443).isAllowed);
});

test('an exit node of one family leads to that family only', () => {
  const compiler = compile(
    { acls: [accept(ANN, 'autogroup:internet:*')] },
    device(1, ANN),
    device(3, BOB, '0.0.0.0/0'),
  );
  assert.ok(explain(compiler, 1, '8.8.8.8', 443).isAllowed);
  assert.not.ok(explain(compiler, 1, '2606::1', 443).isAllowed);
  assert.not.ok(compiler.rulesFor(3).some(rule => rule.DstPorts!.some(({ IP }) => IP.includes(':'))));
});

test('"via" opens the routers with the tag and no others, and gives no capabilities', () => {
  const app = { 'example.com/cap/x': [{}] };
  const grants = [{ src: [ANN], dst: ['10.1.0.0/16'], ip: ['tcp:22'], app, via: ['tag:router'] }];
  const other = { ...device(3, 'tag:web'), routes: ['10.1.0.0/16'] };
  const tagged = { ...device(2, 'tag:router'), routes: ['10.1.0.0/16'] };
  const compiler = compile({ ...TAGS, grants }, device(1, ANN), tagged, other, device(4, 'tag:router'));
  assert.ok(passes(compiler, 2, '100.64.0.1', '10.1.2.3', 22, 6));
  assert.not.ok(passes(compiler, 2, '100.64.0.1', '100.64.0.2', 22, 6));
  assert.not.ok(passes(compiler, 3, '100.64.0.1', '10.1.2.3', 22, 6));
  assert.equal([...compiler.visibleTo(1)], [2]);
  assert.ok(compiler.rulesFor(2).every(({ CapGrant }) => CapGrant === undefined));
});

test('a protocol is the same by name and by number, and a rule about one allows no other', () => {
  const numbers = {
    tcp: 6,
    udp: 17,
    sctp: 132,
    gre: 47,
    esp: 50,
    ah: 51,
    igmp: 2,
    ipv4: 4,
    'ip-in-ip': 4,
    egp: 8,
    igp: 9,
    fc: 133,
  };
  for (const [name, number] of Object.entries(numbers)) {
    for (const proto of [name, String(number)]) {
      const compiler = compile({ acls: [accept(ANN, `${BOB}:*`, proto)] }, device(1, ANN), device(2, BOB));
      assert.equal(compiler.rulesFor(2)[0]!.IPProto, [number]);
      for (const other of [6, 17, 132, 47, 50, 2])
        assert.is(isOpen(compiler, 2, '100.64.0.1', '100.64.0.2', 9, other), other === number, `${proto} ${other}`);
    }
  }
  for (const proto of ['TCP', '06', '+6', '6 ', '256', '-1', 'icmp6', '0x6', '6.0', '*', 'any'])
    assert.match(problemOf({ acls: [accept('*', '*:*', proto)] }), 'is not a protocol', proto);
  assert.match(problemOf({ acls: [accept('*', '*:80', 'gre')] }), 'has no ports');
});

test('each protocol of a grant keeps its own ports', () => {
  const grants = [{ src: [ANN], dst: [BOB], ip: ['tcp:22', 'udp:53', 'sctp:9', '443'] }];
  const compiler = compile({ grants }, device(1, ANN), device(2, BOB));
  const open = (port: number, protocol: number) => isOpen(compiler, 2, '100.64.0.1', '100.64.0.2', port, protocol);
  assert.ok(open(22, 6) && open(53, 17) && open(9, 132) && open(443, 6) && open(443, 17));
  assert.not.ok(open(22, 17) || open(53, 6) || open(9, 6) || open(443, 132) || open(22, 132));
});

test('pings pass where anything does and nowhere else; ICMP of the other family is a protocol of its own', () => {
  const [a, b, c] = ['100.64.0.1', '100.64.0.2', '100.64.0.3'];
  const narrow = compile(
    { acls: [accept(ANN, `${BOB}:22`, 'tcp')] },
    device(1, ANN),
    device(2, BOB),
    device(3, 'eve@'),
  );
  assert.ok(isOpen(narrow, 2, a, b, 0, 1) && isOpen(narrow, 2, 'fd7a:115c:a1e0::1', 'fd7a:115c:a1e0::2', 0, 58));
  assert.not.ok(isOpen(narrow, 1, b, a, 0, 1) || isOpen(narrow, 2, c, b, 0, 1) || isOpen(narrow, 2, a, b, 0, 58));
  const wide = compile({ acls: [accept(ANN, `${BOB}:*`)] }, device(1, ANN), device(2, BOB));
  assert.ok(isOpen(wide, 2, a, b, 0, 58), 'a rule without "proto" has both, and all ports');
  const v4 = compile({ acls: [accept(a, `${b}:22`)] }, device(1, ANN), device(2, BOB));
  assert.not.ok(isOpen(v4, 2, 'fd7a:115c:a1e0::1', 'fd7a:115c:a1e0::2', 0, 58));
});

test('IPv6 is written with or without brackets, and a name means both families', () => {
  const devices = [device(1, ANN), device(2, BOB)];
  for (const dst of [
    '[fd7a:115c:a1e0::2]:22',
    'fd7a:115c:a1e0::2:22',
    'fd7a:115c:a1e0::/64:22',
    'fd7a:115c:a1e0:0::2:22',
  ]) {
    const compiler = compile({ acls: [accept(ANN, dst)] }, ...devices);
    assert.ok(isOpen(compiler, 2, 'fd7a:115c:a1e0::1', 'fd7a:115c:a1e0::2'), dst);
    assert.not.ok(isOpen(compiler, 2, '100.64.0.1', '100.64.0.2'), dst);
    assert.match(explain(compiler, 1, 2, 22).reason, 'only in part');
  }
  const both = compile({ acls: [accept(ANN, `${BOB}:22`)] }, ...devices);
  assert.ok(isOpen(both, 2, 'fd7a:115c:a1e0::1', 'fd7a:115c:a1e0::2') && isOpen(both, 2, '100.64.0.1', '100.64.0.2'));
});

test('routes are approved by the lists alone: an exit node by "exitNode", never by a route of length 0', () => {
  const autoApprovers = { routes: { '0.0.0.0/0': ['tag:exit'], '10.0.0.0/8': ['tag:router', ANN] }, exitNode: [BOB] };
  const policy = policyOf({ ...TAGS, acls: [], autoApprovers });
  const tagged = { ...device(4, 'tag:web'), user: ANN };
  const { directory } = compile(
    {},
    device(1, ANN),
    device(2, 'tag:router'),
    device(3, 'tag:exit'),
    tagged,
    device(5, BOB),
  );
  const approved = (id: number, route: string) => isAutoApproved(policy, directory, id, route);
  assert.ok(approved(1, '10.9.0.0/16') && approved(2, '10.0.0.0/8') && approved(3, '192.168.0.0/24'));
  assert.not.ok(approved(2, '11.0.0.0/8') || approved(2, '0.0.0.0/0') || approved(2, '10.0.0.0/7'));
  assert.not.ok(approved(3, '0.0.0.0/0') || approved(3, '::/0') || approved(3, 'fd00::/64'));
  assert.not.ok(approved(4, '10.9.0.0/16'), 'a tagged device is not its user');
  assert.ok(approved(5, '0.0.0.0/0') && approved(5, '::/0'));
  assert.not.ok(approved(5, '10.9.0.0/16') || approved(9, '10.9.0.0/16') || approved(1, 'nonsense'));
});

test('tags are given by owners, directly, by group, or by way of tags that may own each other in a ring', () => {
  const policy = policyOf({
    groups: { 'group:eng': [ANN] },
    tagOwners: {
      'tag:a': ['tag:b'],
      'tag:b': ['tag:a', 'group:eng'],
      'tag:c': ['tag:c'],
      'tag:d': ['autogroup:member'],
      'tag:e': [],
    },
    acls: [],
  });
  const tags = ['tag:a', 'tag:b', 'tag:c', 'tag:d', 'tag:e', 'tag:none'];
  assert.equal(
    tags.filter(tag => mayTag(policy, ANN, tag)),
    ['tag:a', 'tag:b', 'tag:d'],
  );
  assert.equal(
    tags.filter(tag => mayTag(policy, BOB, tag)),
    ['tag:d'],
  );
});

test('attributes go to whom they are meant for, and to no tagged device of a user', () => {
  const attrs = (target: string, attr: string) => ({ target: [target], attr: [attr] });
  const nodeAttrs = [
    attrs(ANN, 'a'),
    attrs('tag:web', 'b'),
    attrs('*', 'c'),
    attrs('autogroup:member', 'd'),
    attrs('100.64.0.2', 'e'),
  ];
  const policy = policyOf({ ...TAGS, acls: [], nodeAttrs });
  const { directory } = compile({}, device(1, ANN), { ...device(2, 'tag:web'), user: ANN }, device(3, BOB));
  assert.equal(
    [1, 2, 3, 4].map(id => attributesOf(policy, directory, id).join('')),
    ['acd', 'bce', 'cd', ''],
  );
});

test.run();
