/**
 * Random policies, devices and packets: the filter that a device is given, the evaluator and the reference of another
 * hand agree; so do a compiler that was told of changes and a new one; who is let in is seen.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePrefix } from '../../lib/base/address.ts';
import { DropCounters } from '../../lib/base/drop.ts';
import { PacketFilter } from '../../lib/filter/filter.ts';
import { FILTER_LIMITS_LARGE } from '../../lib/filter/limits.ts';
import { PolicyCompiler } from '../../lib/policy/compiler.ts';
import type { PolicyDevice } from '../../lib/policy/directory.ts';
import { entranceOf, entrancesTo, explain } from '../../lib/policy/explain.ts';
import { parseKey } from '../../lib/policy/ip-set.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { Dice, someDevice, somePacket, somePolicy } from './generate.ts';
import { Reference } from './reference.ts';
import { letsIn, packetOf, policyOf } from './support.ts';

const test = suite('policy/agree');

/** Judges packets to one device three times; returns how many were let in. */
function judge(dice: Dice, compiler: PolicyCompiler, reference: Reference, id: number, what: string): number {
  const member = compiler.directory.members.get(id)!;
  const { addresses, routes } = member.device;
  const filter = new PacketFilter({ limits: FILTER_LIMITS_LARGE, drops: new DropCounters() });
  filter.setRules(
    compiler.rulesFor(id),
    [...addresses, ...routes].map(text => parsePrefix(text)!),
  );
  assert.is(filter.malformed, 0, `${what}: malformed rules`);
  const devices = [...compiler.directory.members.values()].map(({ device }) => device);
  let passed = 0;
  for (let i = 0; i < 40; i++) {
    const { source, destination, port, protocol } = somePacket(dice, member.device, devices);
    if (!member.serves.has(parseKey(destination)!)) continue;
    const words = `${what}: ${source} to ${destination} port ${port} protocol ${protocol} at ${id}`;
    const expected = reference.lets(id, source, destination, port, protocol);
    const entrances = entrancesTo(compiler, parseKey(destination)!, port, protocol, member);
    assert.is(entranceOf(entrances, parseKey(source)!) !== undefined, expected, `evaluator, ${words}`);
    assert.is(letsIn(filter, packetOf(source, destination, port, protocol)), expected, `filter, ${words}`);
    if (!expected) continue;
    passed++;
    const sender = compiler.directory.ownerOf(parseKey(source)!);
    if (sender !== undefined && sender !== member) assert.ok(compiler.canSee(sender.device.id, id), `${words}: unseen`);
  }
  return passed;
}

test('filters, evaluator and reference agree on packets', () => {
  let passed = 0;
  const rounds = fuzzRounds(200);
  for (let seed = 1; seed <= rounds; seed++) {
    const dice = new Dice(seed);
    const text = somePolicy(dice);
    const devices = Array.from({ length: 5 }, (_, i) => someDevice(dice, i + 1));
    const compiler = new PolicyCompiler(policyOf(text), devices);
    const reference = new Reference(text, devices);
    for (const { id } of devices) passed += judge(dice, compiler, reference, id, `seed ${seed}`);
  }
  assert.ok(passed > rounds * 6, `${passed} packets passed`);
});

test('compiler and reference agree on who is told of whom', () => {
  let seen = 0;
  let pairs = 0;
  for (let seed = 1; seed <= fuzzRounds(250); seed++) {
    const dice = new Dice(seed + 1_000_000);
    const text = somePolicy(dice);
    const devices = Array.from({ length: 8 }, (_, i) => someDevice(dice, i + 1));
    const compiler = new PolicyCompiler(policyOf(text), devices);
    const reference = new Reference(text, devices);
    for (const { id } of devices) {
      const expected = devices.filter(each => each.id !== id && reference.sees(id, each.id)).map(each => each.id);
      assert.equal([...compiler.visibleTo(id)].sort(), expected, `seed ${seed}: what ${id} sees`);
      seen += expected.length;
      pairs += 7;
    }
  }
  assert.ok(seen > pairs / 10 && seen < (pairs * 9) / 10, `${seen} of ${pairs} pairs see each other`);
});

test('a compiler that was told of changes is one that was made of the result', () => {
  for (let seed = 1; seed <= fuzzRounds(60); seed++) {
    const dice = new Dice(seed + 2_000_000);
    const policy = policyOf(somePolicy(dice));
    const devices = new Map<number, PolicyDevice>();
    for (let id = 1; id <= 5; id++) devices.set(id, someDevice(dice, id));
    const compiler = new PolicyCompiler(policy, devices.values());
    const ids = [1, 2, 3, 4, 5, 6, 7];
    for (let step = 0; step < 4; step++) {
      const before = new Map(ids.map(id => [id, [compiler.rulesFor(id), [...compiler.visibleTo(id)].sort()] as const]));
      const changes = Array.from({ length: 1 + dice.below(2) }, () => {
        const id = dice.pick(ids);
        return { id, device: dice.once(4) ? undefined : someDevice(dice, id) };
      });
      for (const { id, device } of changes) {
        devices.delete(id);
        if (device !== undefined) devices.set(id, device);
      }
      const affected = compiler.update(changes);
      const fresh = new PolicyCompiler(policy, devices.values());
      for (const each of ids) {
        const rules = fresh.rulesFor(each);
        const seen = [...fresh.visibleTo(each)].sort();
        assert.equal(compiler.rulesFor(each), rules, `seed ${seed}: rules of ${each}`);
        assert.equal([...compiler.visibleTo(each)].sort(), seen, `seed ${seed}: what ${each} sees`);
        const [oldRules, oldSeen] = before.get(each)!;
        if (JSON.stringify(oldRules) !== JSON.stringify(rules)) assert.ok(affected.filters.has(each), `seed ${seed}`);
        if (`${oldSeen}` !== `${seen}`) assert.ok(affected.visibility.has(each), `seed ${seed}: visibility of ${each}`);
      }
    }
  }
});

test('an address answers alike as a device and as a text', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const dice = new Dice(seed + 3_000_000);
    const text = somePolicy(dice);
    const devices = [1, 2, 3].map(id => someDevice(dice, id));
    const compiler = new PolicyCompiler(policyOf(text), devices);
    const [a, b] = [dice.pick(devices), dice.pick(devices)];
    const whole = explain(compiler, a.id, b.id, 443);
    const texts = a.addresses.flatMap(from => b.addresses.map(to => [from, to] as const));
    const parts = texts
      .filter(([from, to]) => from.includes(':') === to.includes(':'))
      .map(([from, to]) => explain(compiler, from, to, 443));
    const isAllowed = parts.length > 0 && parts.every(part => part.isAllowed);
    assert.is(whole.isAllowed, isAllowed, `seed ${seed}`);
    for (const pair of whole.pairs) assert.is(pair.rule !== undefined, pair.isAllowed);
  }
});

test.run();
