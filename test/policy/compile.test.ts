/** Policies compiled: filters, visibility, changes of devices, the answers of the evaluator. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { explain } from '../../lib/policy/explain.ts';
import { IpSet, parseKey, rangeOfPrefix } from '../../lib/policy/ip-set.ts';
import { parsePrefix } from '../../lib/base/address.ts';
import { attributesOf, isAutoApproved, mayTag } from '../../lib/policy/roles.ts';
import { addressesOf, compile, device, passes, policyOf } from './support.ts';

const test = suite('policy/compile');

const ANN = 'ann@example.com';
const BOB = 'bob@example.com';
const ENG = { groups: { 'group:eng': [ANN] }, tagOwners: { 'tag:web': ['group:eng'], 'tag:db': [] } };

function accept(src: string[], dst: string[], proto = ''): object {
  return { action: 'accept', src, dst, proto };
}

test('a group reaches a tag: the filter of each device has what concerns it alone', () => {
  const policy = { ...ENG, acls: [accept(['group:eng'], ['tag:web:443'], 'tcp')] };
  const compiler = compile(policy, device(1, ANN), device(5, 'tag:web'), device(6, 'tag:web'), device(7, BOB));
  const ports = (IP: string) => ({ IP, Ports: { First: 443, Last: 443 } });
  assert.equal(compiler.rulesFor(5), [
    {
      SrcIPs: ['100.64.0.1', 'fd7a:115c:a1e0::1'],
      IPProto: [6],
      DstPorts: [ports('100.64.0.5'), ports('fd7a:115c:a1e0::5')],
    },
  ]);
  assert.equal(compiler.rulesFor(1), []);
  assert.equal([...compiler.visibleTo(1)], [5, 6]);
  assert.equal([...compiler.visibleTo(5)], [1]);
  assert.equal([...compiler.visibleTo(7)], []);
  assert.not.ok(compiler.canSee(5, 6));
  assert.not.ok(compiler.canSee(1, 1));
});

test('rules of the same sources and protocols become one', () => {
  const acls = [accept([ANN], ['tag:web:22', 'tag:web:80-81']), accept([ANN], ['tag:web:90']), accept([BOB], ['*:1'])];
  const compiler = compile({ ...ENG, acls }, device(1, ANN), device(2, BOB), device(5, 'tag:web'));
  const rules = compiler.rulesFor(5);
  assert.is(rules.length, 2);
  assert.is(rules[0]!.DstPorts!.length, 6);
  assert.equal(rules[1]!.DstPorts!, [{ IP: '*', Ports: { First: 1, Last: 1 } }]);
});

test('absent rules allow the tailnet everything, empty ones nothing', () => {
  const devices = [device(1, ANN), device(2, BOB)];
  const [a, b] = [addressesOf(1)[0], addressesOf(2)[0]];
  for (const [policy, isOpen] of [
    [{}, true],
    [{ groups: {} }, true],
    [{ acls: [] }, false],
    [{ grants: [] }, false],
    [{ acls: [], grants: [] }, false],
  ] as const) {
    const compiler = compile(policy, ...devices);
    assert.is(passes(compiler, 2, a, b, 22, 6), isOpen, JSON.stringify(policy));
    assert.is(explain(compiler, 1, 2, 22).isAllowed, isOpen);
    assert.is(compiler.canSee(1, 2), isOpen);
  }
});

test('the wildcard as a source is the tailnet and its approved routes, and nothing else', () => {
  const compiler = compile({}, device(1, ANN), device(2, BOB, '10.1.0.0/16'), device(3, BOB, '0.0.0.0/0', '::/0'));
  const to = addressesOf(1)[0];
  assert.ok(passes(compiler, 1, addressesOf(2)[0], to, 22, 6));
  assert.ok(passes(compiler, 1, '10.1.2.3', to, 22, 6));
  for (const from of ['10.2.0.1', '8.8.8.8', '100.115.92.7', '192.168.1.1']) {
    assert.not.ok(passes(compiler, 1, from, to, 22, 6), from);
    assert.not.ok(explain(compiler, from, to, 22).isAllowed, from);
  }
  assert.not.ok(passes(compiler, 1, '2001:db8::1', addressesOf(1)[1], 22, 6));
  const open = compile({ acls: [accept(['autogroup:danger-all'], ['*:*'])] }, device(1, ANN));
  assert.ok(passes(open, 1, '8.8.8.8', to, 22, 6));
  assert.ok(explain(open, '8.8.8.8', to, 22).isAllowed);
});

test('an IPv4 address in IPv6 form is the IPv4 address', () => {
  for (const src of ['100.64.0.1', '::ffff:100.64.0.1', '::ffff:6440:1', '::ffff:100.64.0.1/128']) {
    const compiler = compile({ acls: [accept([src], ['[::ffff:100.64.0.2]:22'])] }, device(1, ANN), device(2, BOB));
    assert.equal(compiler.rulesFor(2)[0]!.SrcIPs, ['100.64.0.1'], src);
    assert.ok(explain(compiler, '::ffff:100.64.0.1', '100.64.0.2', 22).isAllowed, src);
    assert.not.ok(explain(compiler, '::100.64.0.1', '100.64.0.2', 22).isAllowed);
  }
  const wide = compile({ acls: [accept(['::/0'], ['*:*'])] }, device(1, ANN), device(2, BOB));
  assert.not.ok(explain(wide, '::ffff:100.64.0.1', '100.64.0.2', 22).isAllowed);
  assert.not.ok(passes(wide, 2, '100.64.0.1', '100.64.0.2', 22, 6));
});

test('a route is reached where it is approved, and a rule for it leads no further', () => {
  const acls = [accept([ANN], ['10.0.0.0/8:443'])];
  const compiler = compile({ acls }, device(1, ANN), device(2, BOB, '10.1.0.0/16'), device(3, BOB, '0.0.0.0/0'));
  assert.equal(compiler.rulesFor(2)[0]!.DstPorts!, [{ IP: '10.1.0.0/16', Ports: { First: 443, Last: 443 } }]);
  assert.equal(compiler.rulesFor(3), []);
  assert.ok(compiler.canSee(1, 2));
  assert.not.ok(compiler.canSee(1, 3));
  assert.ok(passes(compiler, 2, '100.64.0.1', '10.1.2.3', 443, 6));
  assert.not.ok(passes(compiler, 2, '100.64.0.1', '100.64.0.2', 443, 6));
});

test('the internet is what exit nodes lead to, and not what lies behind them', () => {
  const acls = [accept([ANN], ['autogroup:internet:*'])];
  const exit = device(3, BOB, '0.0.0.0/0', '::/0');
  const compiler = compile({ acls }, device(1, ANN), device(2, BOB, '10.1.0.0/16'), exit);
  assert.ok(passes(compiler, 3, '100.64.0.1', '8.8.8.8', 443, 6));
  assert.ok(passes(compiler, 3, 'fd7a:115c:a1e0::1', '2001:db8::1', 443, 6));
  for (const to of ['10.1.2.3', '192.168.1.1', '172.20.0.1', '100.64.0.3', '100.64.0.9'])
    assert.not.ok(passes(compiler, 3, '100.64.0.1', to, 443, 6), to);
  assert.not.ok(passes(compiler, 3, 'fd7a:115c:a1e0::1', 'fd00::1', 443, 6));
  assert.equal(compiler.rulesFor(2), []);
  assert.ok(explain(compiler, 1, '8.8.8.8', 443).isAllowed);
  assert.not.ok(explain(compiler, 1, 3, 443).isAllowed);
  const none = compile({ acls }, device(1, ANN));
  assert.not.ok(explain(none, 1, '8.8.8.8', 443).isAllowed);
});

test('self is the untagged devices of one user', () => {
  const policy = { ...ENG, acls: [accept(['autogroup:member'], ['autogroup:self:22', 'tag:web:80'])] };
  const [a1, a2, b1, web] = [device(1, ANN), device(2, ANN), device(3, BOB), device(5, 'tag:web')];
  const compiler = compile(policy, a1, a2, b1, web);
  assert.equal(compiler.rulesFor(2)[0]!.SrcIPs, ['100.64.0.1-100.64.0.2', 'fd7a:115c:a1e0::1-fd7a:115c:a1e0::2']);
  assert.ok(explain(compiler, 1, 2, 22).isAllowed);
  assert.not.ok(explain(compiler, 3, 2, 22).isAllowed);
  assert.not.ok(explain(compiler, 1, 5, 22).isAllowed);
  assert.ok(explain(compiler, 1, 5, 80).isAllowed);
  assert.ok(compiler.canSee(1, 2));
  assert.not.ok(compiler.canSee(1, 3));
});

test('a tagged device is not its user, and has nothing of a user', () => {
  const policy = { ...ENG, acls: [accept([ANN], ['*:*'])] };
  const tagged = { ...device(1, ANN), tags: ['tag:web'] };
  const compiler = compile(policy, tagged, device(2, BOB));
  assert.equal(compiler.rulesFor(2), []);
  assert.not.ok(compiler.canSee(1, 2));
});

test('protocols go by name and number, and those without ports need all ports', () => {
  const both = (proto: string, dst = '*:*') =>
    compile({ acls: [accept([ANN], [dst], proto)] }, device(1, ANN), device(2, BOB));
  const answer = (compiler: ReturnType<typeof both>, port: number, protocol: number) => {
    const isAllowed = explain(compiler, '100.64.0.1', '100.64.0.2', port, protocol).isAllowed;
    assert.is(passes(compiler, 2, '100.64.0.1', '100.64.0.2', port, protocol), isAllowed, `${port} ${protocol}`);
    return isAllowed;
  };
  assert.ok(answer(both('gre'), 0, 47) && answer(both('47'), 0, 47));
  assert.not.ok(answer(both(''), 0, 47));
  assert.ok(answer(both(''), 5, 6) && answer(both(''), 5, 17));
  assert.not.ok(answer(both(''), 5, 132));
  assert.ok(answer(both('sctp', '*:5'), 5, 132));
  assert.not.ok(answer(both('sctp', '*:5'), 6, 132));
  assert.not.ok(answer(both('tcp'), 5, 17));
  assert.not.ok(answer(both('udp'), 5, 6));
  assert.not.ok(answer(both('0'), 5, 6));
  assert.not.ok(answer(both('255'), 0, 1));
});

test('ICMP passes where any rule leads, in its own family', () => {
  const compiler = compile({ acls: [accept([ANN], ['100.64.0.2:22'], 'tcp')] }, device(1, ANN), device(2, BOB));
  assert.ok(explain(compiler, '100.64.0.1', '100.64.0.2', 0, 1).isAllowed);
  assert.ok(passes(compiler, 2, '100.64.0.1', '100.64.0.2', 0, 1));
  assert.not.ok(explain(compiler, '100.64.0.1', '100.64.0.2', 0, 58).isAllowed);
  assert.not.ok(explain(compiler, 'fd7a:115c:a1e0::1', 'fd7a:115c:a1e0::2', 0, 58).isAllowed);
  assert.not.ok(passes(compiler, 2, 'fd7a:115c:a1e0::1', 'fd7a:115c:a1e0::2', 0, 58));
});

test('one family alone is access in part, which is no access', () => {
  const compiler = compile({ acls: [accept([ANN], ['fd7a:115c:a1e0::2:22'])] }, device(1, ANN), device(2, BOB));
  const answer = explain(compiler, 1, 2, 22);
  assert.not.ok(answer.isAllowed);
  assert.is(answer.pairs.filter(pair => pair.isAllowed).length, 1);
  assert.match(answer.reason, 'only in part: acls[0] in line 1, but not from 100.64.0.1 to 100.64.0.2');
  assert.is(explain(compiler, 2, 1, 22).reason, 'no rule allows it');
  assert.throws(() => explain(compiler, 9, 1, 22), /expected a device/);
  assert.throws(() => explain(compiler, 'x', 1, 22), /expected an address/);
});

test('a route through tagged routers is open at those alone', () => {
  const grants = [{ src: [ANN], dst: ['10.0.0.0/8'], ip: ['tcp:443'], via: ['tag:web'] }];
  const routers = [device(5, 'tag:web', '10.1.0.0/16'), device(6, 'tag:db', '10.1.0.0/16')];
  const compiler = compile({ ...ENG, grants }, device(1, ANN), ...routers);
  assert.equal(compiler.rulesFor(5)[0]!.DstPorts!, [{ IP: '10.1.0.0/16', Ports: { First: 443, Last: 443 } }]);
  assert.equal(compiler.rulesFor(6), []);
  assert.ok(explain(compiler, 1, '10.1.2.3', 443).isAllowed);
  compiler.update([{ id: 5, device: undefined }]);
  assert.not.ok(explain(compiler, 1, '10.1.2.3', 443).isAllowed);
});

test('a grant of capabilities lets no packet in', () => {
  const app = { 'example.com/cap/x': [{ a: 1 }] };
  const compiler = compile(
    { ...ENG, grants: [{ src: [ANN], dst: ['*'], app }] },
    device(1, ANN),
    device(2, BOB, '10.0.0.0/8'),
  );
  const [rule] = compiler.rulesFor(2);
  assert.is(rule!.DstPorts, undefined);
  assert.equal(rule!.CapGrant![0]!.Dsts, ['100.64.0.2/32', 'fd7a:115c:a1e0::2/128']);
  assert.is(JSON.stringify(rule!.CapGrant![0]!.CapMap), '{"example.com/cap/x":[{"a":1}]}');
  assert.not.ok(explain(compiler, 1, 2, 22).isAllowed);
  assert.not.ok(passes(compiler, 2, '100.64.0.1', '100.64.0.2', 22, 6));
  assert.ok(compiler.canSee(1, 2));
});

test('a device that changes touches the filters that name it, and others keep theirs', () => {
  const acls = [accept(['group:eng'], ['tag:web:443']), accept([BOB], ['tag:db:5432'])];
  const compiler = compile({ ...ENG, acls }, device(1, ANN), device(2, BOB), device(5, 'tag:web'), device(6, 'tag:db'));
  const before = [compiler.rulesFor(5), compiler.rulesFor(6)];
  const joined = compiler.update([{ id: 3, device: device(3, ANN) }]);
  assert.equal([...joined.filters].sort(), [3, 5]);
  assert.equal([...joined.visibility].sort(), [3, 5]);
  assert.is(compiler.rulesFor(6), before[1]);
  assert.equal(compiler.rulesFor(5)[0]!.SrcIPs[0], '100.64.0.1');
  assert.equal(compiler.rulesFor(5)[0]!.SrcIPs[1], '100.64.0.3');
  const tagged = compiler.update([{ id: 3, device: device(3, 'tag:db') }]);
  assert.equal([...tagged.visibility].sort(), [2, 3, 5]);
  assert.equal(compiler.rulesFor(5), before[0]);
  assert.ok(explain(compiler, 2, 3, 5432).isAllowed);
  compiler.update([{ id: 3, device: undefined }]);
  assert.not.ok(compiler.canSee(2, 3));
});

test('attributes, owners of tags and approvers of routes', () => {
  const policy = policyOf({
    ...ENG,
    tagOwners: { 'tag:web': ['group:eng'], 'tag:db': ['tag:web'] },
    nodeAttrs: [
      { target: ['tag:web', ANN], attr: ['funnel'] },
      { target: ['*'], attr: ['x', 'funnel'] },
    ],
    autoApprovers: { routes: { '10.0.0.0/8': ['group:eng', 'tag:web'] }, exitNode: ['tag:web'] },
    acls: [],
  });
  const { directory } = compile({ ...ENG, acls: [] }, device(1, ANN), device(2, BOB), device(5, 'tag:web'));
  assert.equal(attributesOf(policy, directory, 1), ['funnel', 'x']);
  assert.equal(attributesOf(policy, directory, 2), ['x', 'funnel']);
  assert.ok(mayTag(policy, ANN, 'tag:web') && mayTag(policy, ANN, 'tag:db'));
  assert.not.ok(mayTag(policy, BOB, 'tag:db') || mayTag(policy, ANN, 'tag:other'));
  assert.ok(isAutoApproved(policy, directory, 1, '10.2.0.0/16') && isAutoApproved(policy, directory, 5, '10.0.0.0/8'));
  assert.not.ok(isAutoApproved(policy, directory, 2, '10.2.0.0/16'));
  assert.not.ok(
    isAutoApproved(policy, directory, 1, '11.0.0.0/8') || isAutoApproved(policy, directory, 1, '8.0.0.0/6'),
  );
  assert.ok(isAutoApproved(policy, directory, 5, '0.0.0.0/0') && isAutoApproved(policy, directory, 5, '::/0'));
  assert.not.ok(isAutoApproved(policy, directory, 1, '0.0.0.0/0'));
});

test('sets of addresses: unions, intersections, differences, texts', () => {
  const set = (...texts: string[]) => IpSet.of(texts.map(text => rangeOfPrefix(parsePrefix(text)!)));
  assert.equal(set('10.0.0.0/9', '10.128.0.0/9', '10.1.1.1').texts, ['10.0.0.0/8']);
  assert.equal(set('10.0.0.0/8').minus(set('10.0.0.0/32', '10.255.255.255')).texts, ['10.0.0.1-10.255.255.254']);
  assert.equal(set('0.0.0.0/0').minus(set('128.0.0.0/1')).texts, ['0.0.0.0/1']);
  assert.equal(set('0.0.0.0/0', '::/0').texts, ['0.0.0.0/0', '::/0']);
  assert.equal(set('10.0.0.0/8', 'fd00::/8').intersect(set('10.2.0.0/15', '11.0.0.0/8', 'fd12::/16')).texts, [
    '10.2.0.0/15',
    'fd12::/16',
  ]);
  assert.equal(set('255.255.255.255', '::').texts, ['255.255.255.255', '::']);
  assert.ok(set('::ffff:10.0.0.0/104').has(parseKey('10.9.9.9')!));
  assert.not.ok(set('10.0.0.0/8').has(parseKey('11.0.0.0')!));
});

test.run();
