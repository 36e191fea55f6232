/** Reading policy files: what is right, what is wrong and where, and files that mean harm. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  commentsBefore,
  HUJSON_LIMITS,
  isProblem,
  type JsonDocument,
  parseHuJson,
  plainValue,
} from '../../lib/policy/hujson.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import { formatProblem } from '../../lib/policy/problem.ts';
import { policyOf, problemOf } from './support.ts';

const test = suite('policy/parse');

function read(text: string): JsonDocument {
  const document = parseHuJson(text);
  if (isProblem(document)) throw new Error(formatProblem(document));
  return document;
}

function wrong(text: string): string {
  const result = parseHuJson(text);
  if (!isProblem(result)) throw new Error('it was accepted');
  return formatProblem(result);
}

function acl(src: string, dst: string, more: object = {}): object {
  return { acls: [{ action: 'accept', src: [src], dst: [dst], ...more }] };
}

test('comments and trailing commas are read, and comments are kept in their place', () => {
  const text = '// who\n{ "a": [1, 2,], /* why */ // really\n "b": {"c": "x\\n",}, }\n// end';
  const document = read(text);
  assert.equal(JSON.stringify(plainValue(document.root)), '{"a":[1,2],"b":{"c":"x\\n"}}');
  assert.is(document.comments.length, 4);
  const { root } = document;
  assert.ok(root.kind === 'object');
  assert.equal(commentsBefore(document, root.members.get('b')!.start), ['why', 'really']);
  assert.equal(commentsBefore(document, root.start), ['who']);
  assert.is(document.text, text);
});

test('what is wrong with the form is told with line, column and a hint', () => {
  assert.is(wrong('{\n  "a": 1\n  "b": 2\n}'), '3:3: expected , or }, got """ (the { that is open here is in line 1)');
  assert.is(wrong('{ "a": tru }'), '1:8: "tru" is not a value (texts stand in double quotes)');
  assert.is(wrong('{ "a": 1,\n "a": 2 }'), '2:2: "a" is there twice, first in line 1 (keep one of them)');
  assert.is(
    wrong("{ 'a': 1 }"),
    '1:3: expected a name in double quotes or }, got "\'" (the { that is open here is in line 1)',
  );
  assert.match(wrong('{ /* x'), '1:3: a comment is not closed');
  assert.match(wrong('{} x'), '1:4: there is something behind');
  assert.match(wrong(''), 'the file is empty');
  assert.match(wrong('["a\nb"]'), '1:4: a text has a line break');
  assert.match(wrong('["\\x"]'), 'a text has an escape');
  assert.match(wrong('[01]'), '"01" is not a value');
  assert.match(wrong('[,]'), '1:2: "," is not a value');
});

test('hostile files end in an error, with little work', () => {
  const million = 1_000_000;
  assert.match(wrong('['.repeat(million)), 'nested deeper than 32');
  assert.match(wrong('{"a":'.repeat(million / 5)), 'nested deeper than 32');
  assert.match(wrong(`[${'1,'.repeat(million / 2)}]`), 'more than 250000 values');
  assert.match(wrong('/**/'.repeat(million / 4)), 'more than 50000 comments');
  assert.match(wrong(`/*${'/* '.repeat(million / 3)}`), 'a comment is not closed');
  assert.match(wrong(' '.repeat(HUJSON_LIMITS.length + 1)), 'the file is longer than');
  assert.match(wrong(`"${'\\u0041'.repeat(million / 6)}`), 'a text is not closed');
  const names = Array.from({ length: 50_000 }, (_, i) => `"group:g${i}": ["u${i}@"]`).join();
  assert.ok(parsePolicy(`{"groups": {${names}}}`).policy !== undefined);
  assert.match(problemOf(`{"groups": {${names}, "group:g7": []}}`), '"group:g7" is there twice');
  const one = Array.from({ length: 40_000 }, (_, i) => `"tag:t${i}": ["tag:a"]`).join();
  assert.ok(parsePolicy(`{"tagOwners": {"tag:a": [], ${one}}}`).policy !== undefined);
  const ip = Array.from({ length: 256 }, (_, i) => `"${i}:*"`).join();
  const dst = `${'"1.2.3.4",'.repeat(50_000)}`;
  assert.match(problemOf(`{"grants": [{"src": ["*"], "dst": [${dst}], "ip": [${ip}]}]}`), 'more than 10000 pairs');
  const errors = parsePolicy(`{"acls": [${'1,'.repeat(1000)}]}`);
  assert.ok(errors.policy === undefined && errors.errors.length === 100);
});

test('a name of a prototype is a name like any other', () => {
  const value = plainValue(read('{"__proto__": {"x": 1}, "constructor": 2}').root) as Record<string, unknown>;
  assert.equal(Object.keys(value), ['__proto__', 'constructor']);
  assert.match(
    problemOf({ acls: [{ action: 'accept', src: ['*'], dst: ['*:*'], proto: 'constructor' }] }),
    'not a protocol',
  );
  assert.match(problemOf(acl('autogroup:constructor', '*:*')), 'is not known');
});

test('mistakes in rules are named, with a hint', () => {
  assert.match(problemOf({ acl: [] }), '1:2: a policy has no field "acl" (did you mean "acls"?)');
  assert.match(problemOf(acl('group:eng', '*:*')), '"group:eng" is not declared (add it to "groups")');
  assert.match(problemOf({ ...acl('tag:wep', '*:*'), tagOwners: { 'tag:web': [] } }), 'did you mean "tag:web"?');
  assert.match(problemOf(acl('*', '*')), '"*" has no ports (ports stand behind a colon, like "*:*")');
  assert.match(problemOf({ ...acl('*', 'tag:web'), tagOwners: { 'tag:web': [] } }), '"tag:web" has no ports');
  assert.match(problemOf(acl('*', '*:80-22')), 'the ports 80-22 end before they begin (22-80)');
  assert.match(problemOf(acl('*', '*:65536')), '"65536" is not a port');
  assert.match(problemOf(acl('*', '*:022')), '"022" is not a port');
  assert.match(problemOf(acl('*', '*:22', { proto: 'icmp' })), 'protocol 1 has no ports');
  assert.match(problemOf(acl('*', '*:*', { proto: '*' })), '* is not a protocol');
  assert.match(problemOf(acl('*', '*:*', { proto: 'TCP' })), '"TCP" is not a protocol (write tcp)');
  assert.match(problemOf(acl('*', '*:*', { proto: '06' })), '"06" is not a protocol');
  assert.match(problemOf(acl('*', '*:*', { proto: '256' })), '"256" is not a protocol');
  assert.match(problemOf(acl('*', '*:*', { proto: 6 })), '"proto" expected a text (put quotes around it)'.slice(0, 22));
  assert.match(problemOf({ acls: [{ action: 'deny', src: ['*'], dst: ['*:*'] }] }), 'the only action is "accept"');
  assert.match(problemOf({ acls: [{ action: 'accept', dst: ['*:*'] }] }), '"src" is missing');
  assert.match(problemOf({ acls: null }), '"acls" expected a list, got a null');
  assert.match(problemOf(acl('autogroup:self', '*:*')), 'autogroup:self cannot be a source');
  assert.match(problemOf(acl('autogroup:internet', '*:*')), 'autogroup:internet cannot be a source');
  assert.match(problemOf(acl('*', 'autogroup:danger-all:*')), 'autogroup:danger-all cannot be a destination');
  assert.match(problemOf(acl('autogroup:admin', '*:*')), 'is a role, and there are none here');
  assert.match(problemOf(acl('100.64.0.300', '*:*')), 'is not an IPv4 address');
  assert.match(problemOf({ groups: { 'group:a': ['group:b'] } }), 'a group is in a group');
  assert.match(problemOf({ grants: [{ src: ['*'], dst: ['*'] }] }), 'a grant needs "ip" or "app"');
  assert.match(problemOf({ grants: [{ src: ['*'], dst: ['*'], ip: ['icmp:80'] }] }), 'protocol 1 has no ports');
  assert.match(problemOf(acl('autogroup:tagged', 'autogroup:self:*')), 'cannot be a source of autogroup:self');
  assert.match(problemOf(acl('10.0.0.0/8', 'autogroup:self:*')), 'cannot be a source of autogroup:self');
  const app = { 'example.com/cap/x': [] };
  assert.match(problemOf({ grants: [{ src: ['*'], dst: ['autogroup:internet'], app }] }), 'has no capabilities');
  assert.match(problemOf({ defaultSrcPosture: ['posture:x'] }), 'cannot be evaluated');
});

test('a prefix with host bits is refused, and the hint says which prefix it is in', () => {
  assert.match(
    problemOf(acl('10.1.2.3/8', '*:*')),
    '"10.1.2.3/8" has host bits (write 10.0.0.0/8, or the address alone)',
  );
  assert.match(problemOf(acl('*', '[fd7a::1]/64:*')), 'is not');
  assert.match(problemOf(acl('*', 'fd7a::1/64:*')), '"fd7a::1/64" has host bits (write fd7a::/64');
  assert.match(problemOf({ hosts: { net: '192.168.1.1/24' } }), 'has host bits');
  assert.match(problemOf({ autoApprovers: { routes: { '10.1.0.0/8': [] } } }), 'has host bits');
});

test('every form of alias, port and protocol is read', () => {
  const policy = policyOf({
    groups: { 'group:eng': ['ann@example.com', 'bob@'] },
    tagOwners: { 'tag:web': ['group:eng'], 'tag:db': ['tag:web', 'autogroup:member'] },
    hosts: { net: '10.0.0.0/8', one: '100.64.0.9' },
    ACLs: [
      {
        Action: 'accept',
        Users: ['ann@example.com', 'bob@', 'group:eng', 'tag:web', 'net', '*'],
        Ports: ['one:22,80-90'],
      },
      {
        action: 'accept',
        src: ['autogroup:danger-all'],
        dst: ['[fd7a::1]:443', 'fd7a::2:443', 'fd7a::/16:*', '10.0.0.0/8:1'],
      },
      { action: 'accept', src: ['autogroup:member'], dst: ['autogroup:self:*', 'autogroup:internet:*'], proto: '' },
      { action: 'accept', src: ['*'], dst: ['*:*'], proto: 'ipv6-icmp' },
      { action: 'accept', src: ['*'], dst: ['*:*'], proto: '47' },
    ],
    grants: [
      { src: ['*'], dst: ['tag:db'], ip: ['tcp:443', 'udp:53,54', 'icmp:*', '99', '*', 'gre'], via: ['tag:web'] },
    ],
  });
  const texts = policy.rules.map(rule => `${rule.name} ${rule.protocols} ${rule.sources.map(each => each.key)}`);
  assert.is(texts[0], 'acls[0]  user ann@example.com,user bob,group:eng,tag:web,ip 40a000000-40affffff,*');
  assert.equal(policy.rules[0]!.destinations[0]!.ports, [
    { first: 22, last: 22 },
    { first: 80, last: 90 },
  ]);
  assert.equal(
    policy.rules[1]!.destinations.map(({ alias }) => alias.text),
    ['fd7a::1', 'fd7a::2', 'fd7a::/16', '10.0.0.0/8'],
  );
  assert.equal(
    policy.rules.map(({ protocols }) => protocols),
    [[], [], [], [58], [47], [6], [17], [1], [], [47]],
  );
  assert.equal(policy.rules[5]!.via, ['tag:web']);
});

test('sections that are not evaluated are kept and noted', () => {
  const ssh = [{ action: 'check', src: ['autogroup:member'], dst: ['autogroup:self'], users: ['root'] }];
  const result = parsePolicy(
    JSON.stringify({ ssh, sshTests: [], postures: { 'posture:a': [] }, ipsets: {}, acls: [] }),
  );
  assert.ok(result.policy !== undefined);
  assert.equal([...result.policy.unevaluated.keys()], ['ssh', 'sshTests', 'postures', 'ipsets']);
  assert.is(JSON.stringify(plainValue(result.policy.unevaluated.get('ssh')!)), JSON.stringify(ssh));
  assert.is(result.notes.length, 4);
  assert.match(result.notes[0]!.message, '"ssh" is kept but not evaluated');
});

test('a rule that depends on what is not evaluated allows nothing', () => {
  assert.is(policyOf(acl('*', '*:*', { srcPosture: ['posture:x'] })).rules.length, 0);
  const grant = { src: ['*'], dst: ['*'], ip: ['*'], srcPosture: ['posture:x'] };
  assert.is(policyOf({ grants: [grant] }).rules.length, 0);
  assert.is(policyOf(acl('ipset:x', '*:*')).rules[0]!.sources[0]!.kind, 'nobody');
});

test.run();
