/** Access tests: accept is every pair, deny is no pair, judged for the devices that there are. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runTests, type TestReport } from '../../lib/policy/access-tests.ts';
import type { PolicyCompiler } from '../../lib/policy/compiler.ts';
import type { Member, PolicyDevice } from '../../lib/policy/directory.ts';
import { explain } from '../../lib/policy/explain.ts';
import { parseKey } from '../../lib/policy/ip-set.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { Dice, someDevice, somePolicy } from './generate.ts';
import { readHuJson } from './reference.ts';
import { compile, device, problemOf } from './support.ts';

const test = suite('policy/access-tests');

const ANN = 'ann@example.com';
const BOB = 'bob@example.com';
const NAMES = { groups: { 'group:eng': [ANN, BOB], 'group:none': [] }, tagOwners: { 'tag:web': [], 'tag:db': [] } };

function run(acls: readonly object[], tests: readonly object[], ...devices: PolicyDevice[]): TestReport {
  const rules = acls.map(acl => ({ action: 'accept', ...acl }));
  return runTests(compile({ ...NAMES, acls: rules, tests }, ...devices));
}

/** `+` and `-` for each line. */
function signs(report: TestReport): string {
  assert.is(
    report.isPassed,
    report.outcomes.every(({ isPassed }) => isPassed),
  );
  return report.outcomes.map(({ isPassed }) => (isPassed ? '+' : '-')).join('');
}

test('accept is every pair: one device of two that may is a failure', () => {
  const web = [device(5, 'tag:web'), device(6, 'tag:web')];
  const lines = [{ src: ANN, accept: ['tag:web:443'] }];
  assert.is(signs(run([{ src: [ANN], dst: ['tag:web:443'] }], lines, device(1, ANN), ...web)), '+');
  const part = run([{ src: [ANN], dst: ['100.64.0.5:443', '[fd7a:115c:a1e0::5]:443'] }], lines, device(1, ANN), ...web);
  assert.is(signs(part), '-');
  assert.is(part.outcomes[0]!.pairs, 4);
  assert.is(part.outcomes[0]!.failing, 2);
  assert.match(part.outcomes[0]!.message, 'no rule allows 2 of 4 pairs, first 100.64.0.1 to 100.64.0.6');
});

test('deny is no pair: one address of many that may is a failure, with the rule to blame', () => {
  const lines = [{ src: 'group:eng', deny: ['tag:db:22'] }];
  const devices = [device(1, ANN), device(2, BOB), device(7, 'tag:db')];
  assert.is(signs(run([], lines, ...devices)), '+');
  const leak = run(
    [
      { src: [ANN], dst: ['*:80'] },
      { src: ['fd7a:115c:a1e0::2'], dst: ['*:22'] },
    ],
    lines,
    ...devices,
  );
  assert.is(signs(leak), '-');
  assert.is(leak.outcomes[0]!.failing, 1);
  assert.is(leak.outcomes[0]!.examples[0]!.rule!.name, 'acls[1]');
  assert.match(leak.outcomes[0]!.message, 'should be denied, but acls[1] in line 1 allows 1 of 4 pairs');
});

test('a test without a protocol is about TCP or UDP, one with a protocol about that', () => {
  const devices = [device(1, ANN), device(5, 'tag:web')];
  const udp = [{ src: [ANN], dst: ['tag:web:53'], proto: 'udp' }];
  const lines = [
    { src: ANN, accept: ['tag:web:53'], deny: ['tag:web:53'] },
    { src: ANN, proto: 'udp', accept: ['tag:web:53'] },
    { src: ANN, proto: 'tcp', deny: ['tag:web:53'], accept: ['tag:web:53'] },
  ];
  assert.is(signs(run(udp, lines, ...devices)), '+-+-+');
});

test('a tag, a device and a route that change can falsify a test', () => {
  const rules = [
    { src: [ANN], dst: ['tag:web:443'] },
    { src: ['10.0.0.0/8'], dst: ['tag:db:22'] },
  ];
  const lines = [{ src: ANN, accept: ['tag:web:443'], deny: ['tag:db:22', 'bob@example.com:443'] }];
  const devices = [device(1, ANN), device(2, BOB), device(5, 'tag:web'), device(7, 'tag:db')];
  assert.is(signs(run(rules, lines, ...devices)), '+++');
  const tagged = devices.map(each => (each.id === 7 ? { ...each, tags: ['tag:db', 'tag:web'] } : each));
  assert.is(signs(run([{ src: [ANN], dst: ['tag:web:*'] }], lines, ...tagged)), '+-+');
  const outside = { ...device(1, ANN), addresses: ['10.0.0.1'] };
  const wild = [{ src: ['*'], dst: ['tag:db:22'] }];
  const deny = [{ src: ANN, deny: ['tag:db:22'] }];
  const db = { ...device(7, 'tag:db'), addresses: ['100.64.0.7'] };
  assert.is(signs(run(wild, deny, outside, db)), '+');
  assert.is(signs(run(wild, deny, outside, db, device(5, 'tag:web', '10.0.0.0/24'))), '-');
});

test('without devices a name is judged for one that is made up', () => {
  const rules = [{ src: ['group:eng'], dst: ['tag:web:443', 'autogroup:self:22'] }];
  const lines = [
    { src: 'group:eng', accept: ['tag:web:443'], deny: ['tag:db:443'] },
    { src: ANN, accept: ['autogroup:self:22'], deny: ['bob@example.com:22'] },
    { src: 'autogroup:tagged', deny: ['autogroup:member:22'] },
  ];
  const report = run(rules, lines);
  assert.is(signs(report), '+++++');
  assert.ok(report.outcomes.every(({ pairs }) => pairs > 0));
  assert.ok(report.invented.includes('tag:db'));
  const wrong = run([], lines);
  assert.is(signs(wrong), '-+-++');
});

test('what nobody is meant by cannot be accepted', () => {
  const report = run(
    [{ src: ['*'], dst: ['*:*'] }],
    [{ src: 'group:none', accept: ['tag:web:1'], deny: ['tag:db:1'] }],
  );
  assert.is(signs(report), '-+');
  assert.match(report.outcomes[0]!.message, 'could not be judged');
});

test('self is judged among the devices of one user', () => {
  const devices = [device(1, ANN), device(2, ANN), device(3, BOB), device(4, BOB)];
  const lines = [
    { src: 'group:eng', accept: ['autogroup:self:22'] },
    { src: ANN, deny: ['bob@example.com:22'] },
  ];
  const report = run([{ src: ['autogroup:member'], dst: ['autogroup:self:22'] }], lines, ...devices);
  assert.is(signs(report), '++');
  assert.is(report.outcomes[0]!.pairs, 8);
});

test('a host that nobody serves is judged by the rules alone', () => {
  const rules = [{ src: [ANN], dst: ['10.1.0.0/16:443'] }];
  const lines = [{ src: ANN, accept: ['10.1.2.3:443'], deny: ['10.2.0.1:443'] }];
  assert.is(signs(run(rules, lines, device(1, ANN))), '++');
});

test('tests are about one source, single ports and single addresses', () => {
  const wrong = (each: object) => problemOf({ ...NAMES, tests: [each] });
  assert.match(wrong({ src: '*', accept: ['tag:web:1'] }), 'a test has one source');
  assert.match(wrong({ src: ANN, accept: ['tag:web:1-2'] }), 'no single port');
  assert.match(wrong({ src: ANN, accept: ['tag:web:*'] }), 'no single port');
  assert.match(wrong({ src: ANN, accept: ['10.0.0.0/8:1'] }), 'not prefixes');
  assert.match(wrong({ src: ANN, accept: ['autogroup:internet:1'] }), 'cannot be tested');
  assert.match(wrong({ src: ANN }), 'needs "accept" or "deny"');
  assert.match(wrong({ src: ANN, accept: ['tag:wep:1'] }), 'did you mean "tag:web"?');
});

test('random policies: each line counts the pairs that the evaluator lets in or not', () => {
  let failing = 0;
  for (let seed = 1; seed <= fuzzRounds(60); seed++) {
    const dice = new Dice(seed + 5_000_000);
    const names = ['ann@example.com', 'tag:web', 'tag:db', 'group:eng', 'autogroup:member', 'autogroup:tagged', 'one'];
    const lines = () => dice.some([...names, 'autogroup:self'], 3).map(name => `${name}:${dice.pick([22, 80, 443])}`);
    const tests = Array.from({ length: 4 }, () => {
      const proto = dice.pick(['', 'tcp', 'udp', 'sctp']);
      return { src: dice.pick(names), proto, accept: lines(), deny: lines() };
    });
    const devices = [1, 2, 3, 4, 5, 6, 7, 8].map(id => someDevice(dice, id));
    const compiler = compile({ ...(readHuJson(somePolicy(dice)) as object), tests }, ...devices);
    const before = JSON.stringify(devices.map(({ id }) => compiler.rulesFor(id)));
    const report = runTests(compiler);
    assert.is(JSON.stringify(devices.map(({ id }) => compiler.rulesFor(id))), before);
    assert.is(compiler.directory.members.size, devices.length, 'who was made up has gone');
    for (const outcome of report.outcomes) {
      const { name, source, target, expected } = outcome;
      if (report.invented.includes(source) || report.invented.includes(target.slice(0, target.lastIndexOf(':'))))
        continue;
      const what = tests[Number(name.slice(6, -1))]!;
      const counts = naive(compiler, source, target, expected, what.proto);
      assert.equal([outcome.pairs, outcome.failing], counts, `seed ${seed}: ${source} to ${target} ${expected}`);
      failing += outcome.failing;
    }
  }
  assert.ok(failing > 0);
});

/** Pairs and failing pairs of a line, one by one. */
function naive(compiler: PolicyCompiler, source: string, target: string, expected: string, proto: string): number[] {
  const port = Number(target.slice(target.lastIndexOf(':') + 1));
  const protocols = proto === '' ? [6, 17] : [{ tcp: 6, udp: 17, sctp: 132 }[proto]!];
  const devices = [...compiler.directory.members.values()];
  const addressesIn = (name: string, sender: Member | undefined): string[] => {
    if (name === 'one') return ['100.64.0.1'];
    const isMeant = (member: Member): boolean => {
      if (name === 'autogroup:self') return member.owner !== undefined && member.owner === sender?.owner;
      return member.aliases.has(name.includes('@') ? `user ${name}` : name);
    };
    return devices.filter(isMeant).flatMap(({ device }) => device.addresses);
  };
  const count = (skipsSame: boolean): number[] => {
    let [pairs, failing] = [0, 0];
    for (const from of addressesIn(source, undefined)) {
      const sender = compiler.directory.ownerOf(parseKey(from)!);
      for (const to of addressesIn(target.slice(0, target.lastIndexOf(':')), sender)) {
        const isSame = sender !== undefined && sender === compiler.directory.ownerOf(parseKey(to)!);
        if (from.includes(':') !== to.includes(':') || (skipsSame && isSame)) continue;
        pairs++;
        const isAllowed = protocols.some(protocol => explain(compiler, from, to, port, protocol).isAllowed);
        if (isAllowed !== (expected === 'accept')) failing++;
      }
    }
    return [pairs, failing];
  };
  const others = count(true);
  return others[0] === 0 ? count(false) : others;
}

test.run();
