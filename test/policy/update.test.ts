/** Changes of devices: all of a batch or nothing of it, and what they cost. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePrefix } from '../../lib/base/address.ts';
import { explain } from '../../lib/policy/explain.ts';
import { IpSet, parseKey, rangeOfPrefix } from '../../lib/policy/ip-set.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { Dice } from './generate.ts';
import { compile, device } from './support.ts';

const test = suite('policy/update');

const ANN = 'ann@example.com';
const BOB = 'bob@example.com';
const NAMES = { groups: { 'group:eng': [ANN] }, tagOwners: { 'tag:web': [], 'tag:db': [] } };
const ACLS = [
  { action: 'accept', src: ['group:eng'], dst: ['tag:web:443'] },
  { action: 'accept', src: ['*'], dst: ['tag:db:5432'] },
  { action: 'accept', src: ['autogroup:member'], dst: ['autogroup:self:22'] },
];

test('a batch in which two devices would have one address changes nothing', () => {
  const devices = [device(1, ANN), device(2, BOB), device(5, 'tag:web'), device(6, 'tag:db')];
  const compiler = compile({ ...NAMES, acls: ACLS }, ...devices);
  const before = JSON.stringify([5, 6].map(id => compiler.rulesFor(id)));
  const taken = { ...device(3, ANN), addresses: ['100.64.0.2'] };
  const mapped = { ...device(4, ANN), addresses: ['::ffff:100.64.0.2'] };
  const wrong = { ...device(4, ANN), addresses: ['here'] };
  const route = { ...device(4, ANN), routes: ['10.0.0.0/33'] };
  const retag = { id: 1, device: device(1, 'tag:db') };
  const twins = [
    { id: 8, device: { ...device(8, ANN), addresses: ['100.64.0.88'] } },
    { id: 9, device: { ...device(9, ANN), addresses: ['100.64.0.88'] } },
  ];
  for (const bad of [
    [retag, { id: 3, device: taken }],
    [retag, { id: 4, device: mapped }],
    [retag, { id: 4, device: wrong }],
    [retag, { id: 4, device: route }],
    [retag, { id: 4, device: device(3, ANN) }],
    [retag, ...twins],
  ]) {
    assert.throws(() => compiler.update(bad), /expected/);
    assert.equal([...compiler.directory.members.keys()], [1, 2, 5, 6]);
    assert.is(JSON.stringify([5, 6].map(id => compiler.rulesFor(id))), before);
    assert.ok(explain(compiler, 1, 5, 443).isAllowed);
  }
});

test('devices may swap addresses, and of two changes of one device the last counts', () => {
  const compiler = compile({ ...NAMES, acls: ACLS }, device(1, ANN), device(2, BOB), device(5, 'tag:web'));
  assert.equal(compiler.rulesFor(5)[0]!.SrcIPs, ['100.64.0.1', 'fd7a:115c:a1e0::1']);
  const affected = compiler.update([
    { id: 1, device: { ...device(1, ANN), addresses: device(2, BOB).addresses } },
    { id: 2, device: { ...device(2, BOB), addresses: device(1, ANN).addresses } },
  ]);
  assert.ok(affected.filters.has(5));
  assert.equal(compiler.rulesFor(5)[0]!.SrcIPs, ['100.64.0.2', 'fd7a:115c:a1e0::2']);
  compiler.update([
    { id: 1, device: undefined },
    { id: 2, device: device(2, ANN) },
    { id: 2, device: undefined },
    { id: 1, device: device(1, ANN) },
  ]);
  assert.equal([...compiler.directory.members.keys()].sort(), [1, 5]);
  assert.equal(compiler.rulesFor(5)[0]!.SrcIPs, ['100.64.0.1', 'fd7a:115c:a1e0::1']);
});

test('a device that changes in nothing that a list says leaves filters alone', () => {
  const compiler = compile({ ...NAMES, acls: ACLS }, device(1, ANN), device(2, ANN), device(5, 'tag:web'));
  const before = compiler.rulesFor(5);
  const affected = compiler.update([{ id: 1, device: device(1, ANN) }]);
  assert.not.ok(affected.filters.has(5));
  assert.is(compiler.rulesFor(5), before);
});

test('a device of one user leaves the lists of other users alone', () => {
  const compiler = compile({ ...NAMES, acls: ACLS }, device(1, ANN), device(2, ANN), device(3, BOB), device(4, BOB));
  compiler.rulesFor(3);
  const affected = compiler.update([{ id: 7, device: device(7, ANN) }]);
  assert.equal([...affected.filters].sort(), [1, 2, 7]);
  assert.equal(compiler.rulesFor(2)[0]!.SrcIPs[1], '100.64.0.7');
});

test('a device outside the ranges of the tailnet comes under * with a route, and goes with it', () => {
  const outside = { ...device(1, ANN), addresses: ['10.7.0.1'] };
  const compiler = compile({ ...NAMES, acls: ACLS }, outside, device(6, 'tag:db'), device(8, 'tag:web'));
  const explained = () => explain(compiler, 1, '100.64.0.6', 5432).isAllowed;
  assert.not.ok(explained() || compiler.canSee(1, 6));
  const routed = compiler.update([{ id: 8, device: device(8, 'tag:web', '10.7.0.0/16') }]);
  assert.ok(explained() && compiler.canSee(1, 6));
  assert.ok(routed.visibility.has(1) && routed.visibility.has(6) && routed.filters.has(6));
  const gone = compiler.update([{ id: 8, device: undefined }]);
  assert.not.ok(explained() || compiler.canSee(1, 6));
  assert.ok(gone.visibility.has(1) && gone.visibility.has(6) && gone.filters.has(6));
});

test('a set with one address more or less is the set made anew', () => {
  const edges = ['0.0.0.0', '0.0.0.1', '255.255.255.255', '::', '::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'];
  const near = Array.from({ length: 12 }, (_, i) => `10.0.0.${i}`);
  const all = [...edges, ...near, '10.0.1.0'].map(text => parseKey(text)!);
  for (let seed = 1; seed <= fuzzRounds(300); seed++) {
    const dice = new Dice(seed);
    const kept = new Set(all.filter(() => dice.once(2)));
    let set = IpSet.of([...kept].map(key => [key, key] as const));
    if (dice.once(2)) assert.ok(set.texts.length <= kept.size);
    for (let step = 0; step < 20; step++) {
      const key = dice.pick(all);
      const isThere = kept.has(key);
      if (dice.once(2)) {
        kept.add(key);
        assert.is(set.with(key) === set, isThere);
        set = set.with(key);
      } else {
        kept.delete(key);
        assert.is(set.without(key) === set, !isThere);
        set = set.without(key);
      }
      const fresh = IpSet.of([...kept].map(each => [each, each] as const));
      assert.equal(set.ranges, fresh.ranges, `seed ${seed}`);
      assert.equal(set.texts, fresh.texts, `seed ${seed}`);
      assert.is(set.id, fresh.id);
    }
  }
  const net = IpSet.of([rangeOfPrefix(parsePrefix('10.0.0.0/8')!)]);
  assert.equal(net.without(parseKey('10.0.0.5')!).texts, ['10.0.0.0-10.0.0.4', '10.0.0.6-10.255.255.255']);
  assert.equal(net.without(parseKey('10.0.0.5')!).with(parseKey('10.0.0.5')!).texts, ['10.0.0.0/8']);
});

test.run();
