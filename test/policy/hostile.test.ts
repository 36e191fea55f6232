/** Files that were made to cost time: a clear error or an answer, with bounded work. Times are in npm run bench. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runTests, TEST_LIMITS } from '../../lib/policy/access-tests.ts';
import { diffAccess } from '../../lib/policy/access-diff.ts';
import { PolicyCompiler } from '../../lib/policy/compiler.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import { formatProblem } from '../../lib/policy/problem.ts';
import { mayTag } from '../../lib/policy/roles.ts';
import { RULE_LIMITS } from '../../lib/policy/rules.ts';
import { compile, device, policyOf } from './support.ts';

const test = suite('policy/hostile');

const BYTES = 1 << 20;

function list(count: number, one: (index: number) => string): string {
  return Array.from({ length: count }, (_, i) => one(i)).join();
}

/** As many of them as fit into 1 MiB. */
function full(head: string, one: (index: number) => string, tail: string): string {
  return head + list(Math.floor((BYTES - head.length - tail.length) / (one(99_999).length + 1)), one) + tail;
}

/** The first problem, or how many rules there are. */
function read(text: string): string {
  const result = parsePolicy(text);
  return result.policy === undefined ? formatProblem(result.errors[0]!) : `${result.policy.rules.length} rules`;
}

test('a megabyte of brackets, values, comments or twins ends in an error', () => {
  assert.match(read('['.repeat(BYTES)), 'nested deeper than 32');
  assert.match(read('{"a":'.repeat(BYTES / 5)), 'nested deeper than 32');
  assert.match(read(`/*${'/* '.repeat(BYTES / 3)}`), 'a comment is not closed');
  assert.match(read('//\n'.repeat(BYTES / 3)), 'more than 50000 comments');
  assert.match(read(full('{"acls":[', () => '1', ']}')), /more than (250000 values|2000 entries)/);
  assert.match(read(full('{', () => '"acls":[]', '}')), '"acls" is there twice');
  assert.match(read(full('{"groups":{', i => `"group:g${i % 7}":[]`, '}}')), '"group:g0" is there twice');
});

test('a megabyte of names ends in an error or an answer', () => {
  assert.match(read(full('{"groups":{', i => `"group:g${i}":["group:g${i + 1}"]`, '}}')), 'a group is in a group');
  assert.match(read(full('{"groups":{', i => `"group:g${i}":["u${i}@"]`, '}}')), '1 rules');
  const ring = policyOf(`{"tagOwners":{${list(40_000, i => `"tag:t${i}":["tag:t${(i + 1) % 40_000}"]`)}}}`);
  assert.not.ok(mayTag(ring, 'ann@example.com', 'tag:t0'));
  const chain = list(40_000, i => `"tag:t${i}":["${i === 0 ? 'ann@example.com' : `tag:t${i - 1}`}"]`);
  assert.ok(mayTag(policyOf(`{"tagOwners":{${chain}}}`), 'ann@example.com', 'tag:t39999'));
  const hosts = list(20_000, i => `"host${i}":"10.0.0.1"`);
  const wrong = list(20_000, i => `"hosd${i}"`);
  const acl = `{"action":"accept","dst":["*:*"],"src":[${wrong}]}`;
  assert.match(read(`{"hosts":{${hosts}},"acls":[${acl}]}`), '"hosd0" is not known');
});

test('rules and the names in them are limited, and a policy at the limit is compiled', () => {
  const acl = (i: number) => `{"action":"accept","src":["u${i}@"],"dst":["*:${i}"]}`;
  const { rules, names } = RULE_LIMITS;
  assert.match(read(`{"acls":[${list(rules + 1, acl)}]}`), `more than ${rules} entries`);
  const grant = '{"src":["*"],"dst":["*"],"ip":["tcp:1","udp:1"]}';
  assert.match(read(`{"grants":[${list(rules / 2 + 1, () => grant)}]}`), `more than ${rules} rules`);
  const src = list(names, i => `"100.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}"`);
  assert.match(read(`{"acls":[{"action":"accept","src":[${src}],"dst":["*:*"]}]}`), `more than ${names} names`);
  const ports = list(2000, String);
  assert.match(read(`{"acls":[{"action":"accept","src":["*"],"dst":["*:${ports}"]}]}`), 'more than 1000 parts');
  const text = `{"acls":[${list(rules, acl)}]}`;
  const compiler = new PolicyCompiler(policyOf(text), [device(1, 'u7'), device(2, 'u9')]);
  assert.is(compiler.rulesFor(2).length, 2);
  assert.is(diffAccess(compiler, compiler, String).gainedPairs, 0);
});

test('lines of tests are limited', () => {
  const { lines } = RULE_LIMITS;
  const line = (i: number) => `"10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:22"`;
  const file = (count: number) => `{"acls":[],"tests":[{"src":"ann@","deny":[${list(count, line)}]}]}`;
  assert.is(policyOf(file(lines)).tests[0]!.deny.length, lines);
  assert.match(read(file(lines + 1)), `more than ${lines} lines`);
});

test('tests that would take too long are not judged, and that is a failure that says so', () => {
  const devices = Array.from({ length: 120 }, (_, i) => device(i + 1, 'ann@example.com'));
  const file = (count: number) => {
    const accept = list(count, i => `"autogroup:member:${i + 1}"`);
    return `{"acls":[{"action":"accept","src":["*"],"dst":["*:*"]}],"tests":[{"src":"autogroup:member","accept":[${accept}]}]}`;
  };
  const judged = (count: number, steps: number) =>
    runTests(compile(file(count), ...devices), 10, { ...TEST_LIMITS, steps }).outcomes.map(each => each.isPassed);
  assert.equal(judged(1, 10_000), [false], 'a line that takes more alone');
  assert.equal(judged(3, 60_000), [true, true, false], 'what is left after others');
  const report = runTests(compile(file(1), ...devices), 10, { ...TEST_LIMITS, steps: 9 });
  assert.match(report.outcomes[0]!.message, 'was not judged: the tests take more than 9 steps');
  assert.not.ok(report.isPassed);
});

test('more names without a device than can be made up are not judged, not even as denied', () => {
  const count = TEST_LIMITS.invented + 1;
  const tags = list(count, i => `"tag:t${i}":[]`);
  const tests = list(count, i => `{"src":"tag:t${i}","deny":["tag:t${i}:1"]}`);
  const report = runTests(compile(`{"tagOwners":{${tags}},"acls":[],"tests":[${tests}]}`));
  assert.ok(report.outcomes.every(({ isPassed }) => !isPassed));
  assert.match(report.outcomes[0]!.message, 'devices to make up');
});

test.run();
