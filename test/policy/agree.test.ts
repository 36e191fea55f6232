/**
 * Random policies, devices and packets: the filter that a device is given and the evaluator agree, a compiler that was
 * told of changes and a new one agree, and who reaches somebody sees them.
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
import { seededRandom } from '../netstack/helpers.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { device, letsIn, packetOf, policyOf } from './support.ts';

const test = suite('policy/agree');

const USERS = ['ann@example.com', 'bob@example.com', 'eve@example.com'];
const TAGS = ['tag:web', 'tag:db', 'tag:router'];
const PLAIN = [
  ...USERS,
  ...TAGS,
  'group:eng',
  'group:ops',
  'autogroup:member',
  'autogroup:tagged',
  '*',
  'net',
  'one',
  '100.64.0.0/30',
  '100.64.0.3',
  '10.1.0.0/16',
  '0.0.0.0/0',
  '8.8.8.8',
];
const V6 = ['fd7a:115c:a1e0::2', 'fd7a:115c:a1e0::/126', '::/0', '2001:db8::/32'];
const ROUTES = ['10.1.0.0/16', '10.1.2.0/24', '10.0.0.0/8', '0.0.0.0/0', '::/0', '2001:db8:1::/48'];
const PORTS = ['*', '22', '80,443', '20-30', '0', '65535', '1-65535'];
const PROTOCOLS = ['', '', '', 'tcp', 'udp', 'sctp', 'icmp', 'ipv6-icmp', 'gre', '47', '0'];
const SPOTS = ['10.1.2.3', '10.2.0.1', '8.8.8.8', '192.168.1.1', '100.115.92.9', '100.64.0.9'];
const SPOTS6 = ['2001:db8:1::5', '2606::1', 'fd00::1', 'fd7a:115c:a1e0::9'];

class Dice {
  readonly #random: (out: Uint8Array) => void;
  readonly #bytes = new Uint8Array(4);

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  below(most: number): number {
    this.#random(this.#bytes);
    return (this.#bytes[0]! * 65_536 + this.#bytes[1]! * 256 + this.#bytes[2]!) % most;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  some<T>(items: readonly T[], most: number): T[] {
    return Array.from({ length: 1 + this.below(most) }, () => this.pick(items));
  }
}

function somePolicy(dice: Dice): object {
  const sources = [...PLAIN, ...V6, ...(dice.below(4) === 0 ? ['autogroup:danger-all'] : [])];
  const targets = [...PLAIN, ...V6, 'autogroup:self', 'autogroup:internet'];
  const hasPorts = (proto: string) => ['', 'tcp', 'udp', 'sctp'].includes(proto);
  const acls = Array.from({ length: dice.below(5) }, () => {
    const proto = dice.pick(PROTOCOLS);
    const dst = dice.some(targets, 3).map(each => `${each}:${hasPorts(proto) ? dice.pick(PORTS) : '*'}`);
    return { action: 'accept', src: dice.some(sources, 3), dst, proto };
  });
  const grants = Array.from({ length: dice.below(4) }, () => {
    const via = dice.below(3) === 0 ? { via: dice.some(TAGS, 2) } : {};
    const ip = dice.some(['*', '443', 'tcp:22', 'udp:53,80', 'icmp:*', 'sctp:1-100', '47:*'], 3);
    return { src: dice.some(sources, 2), dst: dice.some(targets, 2), ip, ...via };
  });
  const rules = dice.below(10) === 0 ? {} : { acls, grants };
  return {
    groups: { 'group:eng': dice.some(USERS, 2), 'group:ops': dice.some(USERS, 2) },
    tagOwners: { 'tag:web': [], 'tag:db': [], 'tag:router': [] },
    hosts: { net: '10.0.0.0/8', one: '100.64.0.1' },
    ...rules,
  };
}

function someDevice(dice: Dice, id: number): PolicyDevice {
  const who = dice.below(2) === 0 ? dice.pick(USERS) : dice.some(TAGS, 2).join(' ');
  return device(id, who, ...(dice.below(3) === 0 ? dice.some(ROUTES, 2) : []));
}

/** Judges packets to one device, by filter and by evaluator; returns how many were let in. */
function judge(dice: Dice, compiler: PolicyCompiler, id: number, seed: number): number {
  const member = compiler.directory.members.get(id)!;
  const { addresses, routes } = member.device;
  const filter = new PacketFilter({ limits: FILTER_LIMITS_LARGE, drops: new DropCounters() });
  const served = routes.map(text => parsePrefix(text)!);
  filter.setRules(compiler.rulesFor(id), [...addresses.map(text => parsePrefix(text)!), ...served]);
  assert.is(filter.malformed - protocolZero(compiler, id), 0);
  const all = [...compiler.directory.members.values()].flatMap(each => each.device.addresses);
  let passed = 0;
  for (let i = 0; i < 40; i++) {
    const isV6 = dice.below(2) === 1;
    const ofFamily = (text: string) => text.includes(':') === isV6;
    const spots = isV6 ? SPOTS6 : SPOTS;
    const source = dice.pick([...all.filter(ofFamily), ...spots]);
    const own = addresses.find(ofFamily)!;
    const destination = dice.below(2) === 0 ? own : dice.pick(spots);
    const isServed = destination === own || served.some(prefix => covers(prefix, destination));
    if (!isServed) continue;
    const protocol = dice.pick([6, 6, 17, 132, isV6 ? 58 : 1, 47]);
    const port = dice.pick([22, 53, 80, 443, 25, 1, 65_535]);
    const entrances = entrancesTo(compiler, parseKey(destination)!, port, protocol, member);
    const expected = entranceOf(entrances, parseKey(source)!) !== undefined;
    const isIn = letsIn(filter, packetOf(source, destination, port, protocol));
    assert.is(isIn, expected, `seed ${seed}: ${source} to ${destination} port ${port} protocol ${protocol} at ${id}`);
    if (!isIn) continue;
    passed++;
    const sender = compiler.directory.ownerOf(parseKey(source)!);
    if (sender !== undefined && sender !== member)
      assert.ok(compiler.canSee(sender.device.id, id), `seed ${seed}: unseen`);
  }
  return passed;
}

function protocolZero(compiler: PolicyCompiler, id: number): number {
  return compiler.rulesFor(id).filter(rule => rule.IPProto?.includes(0)).length;
}

function covers(prefix: { bytes: Uint8Array; bits: number }, address: string): boolean {
  const other = parsePrefix(`${address}/${prefix.bits}`);
  return other !== undefined && other.bytes.length === prefix.bytes.length && `${other.bytes}` === `${prefix.bytes}`;
}

test('filters and evaluator agree, before and after devices change', () => {
  let passed = 0;
  const rounds = fuzzRounds(120);
  for (let seed = 1; seed <= rounds; seed++) {
    const dice = new Dice(seed);
    const policy = policyOf(somePolicy(dice));
    const devices = new Map<number, PolicyDevice>();
    for (let id = 1; id <= 5; id++) devices.set(id, someDevice(dice, id));
    const compiler = new PolicyCompiler(policy, devices.values());
    for (const id of devices.keys()) passed += judge(dice, compiler, id, seed);
    for (let step = 0; step < 3; step++) {
      const ids = [...devices.keys(), 6, 7];
      const before = new Map(ids.map(id => [id, [compiler.rulesFor(id), [...compiler.visibleTo(id)].sort()] as const]));
      const id = dice.pick(ids);
      const changed = dice.below(4) === 0 ? undefined : someDevice(dice, id);
      if (changed === undefined) devices.delete(id);
      else devices.set(id, changed);
      const affected = compiler.update([{ id, device: changed }]);
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
  assert.ok(passed > rounds, `${passed} packets passed`);
});

test('an address answers alike as a device and as a text', () => {
  for (let seed = 1000; seed < 1020; seed++) {
    const dice = new Dice(seed);
    const devices = [1, 2, 3].map(id => someDevice(dice, id));
    const compiler = new PolicyCompiler(policyOf(somePolicy(dice)), devices);
    const [a, b] = [dice.pick(devices), dice.pick(devices)];
    const whole = explain(compiler, a.id, b.id, 443);
    const parts = [0, 1].map(i => explain(compiler, a.addresses[i]!, b.addresses[i]!, 443));
    assert.is(
      whole.isAllowed,
      parts.every(part => part.isAllowed),
    );
    for (const { rule, isAllowed } of whole.pairs) assert.is(rule !== undefined, isAllowed);
  }
});

test.run();
