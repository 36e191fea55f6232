/** `motenet policy check`: what it finds, what it says of it, and that no exit code looks better than what was tested. */
import { execFileSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { DeviceView } from '../../lib/coordinator/commands.ts';
import { runLine } from './admin-run.ts';
import { COMMAND, Folder, run as runProcess } from './command.ts';

const test = suite('cli policy check');

const folder = new Folder();
const ANN = 'ann@example.com';
const NAMES = { groups: { 'group:eng': [ANN, 'bob@example.com'], 'group:none': [] }, tagOwners: { 'tag:web': [ANN] } };
const RULES = [{ action: 'accept', src: ['group:eng'], dst: ['tag:web:22,443'] }];

/** Checks what the words say; `-` is `input`. */
function check(words: readonly string[], input = '') {
  return runLine(['policy', 'check', ...words], { readInput: async () => Buffer.from(input) });
}

function policy(more: object): string {
  return JSON.stringify({ ...NAMES, acls: RULES, ...more });
}

/** Checks a policy from standard input. */
const checkText = (text: string, ...words: string[]) => check(['-', ...words], text);

function device(id: number, view: Partial<DeviceView>): object {
  const addresses = [`100.64.0.${id}`, `fd7a:115c:a1e0::${id}`];
  return { id, name: `d${id}`, addresses, user: ANN, tags: [], routes: [], state: 'approved', ...view };
}

test('a policy whose tests pass is the only one that gives exit code 0, and the line says on what', async () => {
  const tests = [{ src: ANN, accept: ['tag:web:22'], deny: ['bob@example.com:22'] }];
  const { out, code } = await checkText(policy({ tests }));
  assert.equal(
    [out, code],
    [[`<stdin>: all 2 test lines passed, on devices made up for ${ANN}, tag:web, bob@example.com`], 0],
  );
});

test('a test that fails is a line with its place, and exit code 1', async () => {
  const text = `{"tagOwners": {"tag:web": []},\n "acls": [],\n "tests": [\n  {"src": "ann@", "accept": ["tag:web:22"], "deny": ["tag:web:80"]}]}`;
  const path = folder.write('fail.hujson', text);
  const { out, code, message } = await check([path]);
  const why = 'ann@ to tag:web:22 should be accepted, but no rule allows 2 of 2 pairs, first 100.127.255.254 to';
  assert.is(out.length, 1);
  assert.ok(out[0]!.startsWith(`${path}:4:30: tests[0]: ${why}`), out[0]);
  assert.equal([code, message], [1, '1 of 2 test lines failed']);
});

test('a policy that is not valid is a line for each problem with its hint, and exit code 1', async () => {
  const rules = '{"src": ["*"], "dst": ["*:*"]},\n {"action": "accept", "src": ["grp:x"], "dst": ["*:*"]}';
  const { out, code, message } = await checkText(`{"acls": [${rules}],\n "tets": []}`);
  assert.is(out[0], '<stdin>:1:11: a rule needs "action" ("action": "accept")');
  assert.match(out[1]!, /^<stdin>:2:31: "grp:x" is not known \(.+\)$/);
  assert.is(out[2], '<stdin>:3:2: a policy has no field "tets" (did you mean "tests"?)');
  assert.equal([out.length, code], [3, 1]);
  assert.is(message, 'the policy is not valid (3 problems), so that no test ran');
  const local = await checkText('{"acls": [{"action": "accept", "src": ["ann"], "dst": ["*:*"]}]}');
  assert.is(
    local.out[0],
    '<stdin>:1:40: "ann" is not known (a user has an @ in it: "ann@"; other names are declared in "hosts")',
  );
  const many = await checkText(JSON.stringify({ acls: Array(500).fill({}) }));
  assert.is(many.message, 'the policy is not valid (100 problems, and maybe more), so that no test ran');
});

test('a policy of which nothing was tested has exit code 3, and says so', async () => {
  for (const more of [{}, { tests: [] }, { sshTests: [{ src: ANN, dst: ['tag:web'], accept: ['root'] }] }]) {
    const { code, message } = await checkText(policy(more));
    assert.is(code, 3);
    assert.is(message, 'the policy is valid, but no test ran: the policy has none: add "tests"');
  }
  const empty = await checkText(policy({ tests: [{ src: ANN, deny: ['group:none:22'] }] }));
  assert.equal([empty.code, empty.message], [3, 'the policy is valid, but no test ran: they concern nobody']);
  assert.match(empty.out[0]!, /^<stdin>:1:\d+: note: tests\[0\]: ann@example.com to group:none:22 concerns nobody$/);
});

test('what is not evaluated is a note, and does not fail', async () => {
  const { out, code } = await checkText(policy({ ssh: [], tests: [{ src: ANN, accept: ['tag:web:22'] }] }));
  assert.match(out[0]!, /^<stdin>:1:\d+: note: "ssh" is kept but not evaluated$/);
  assert.equal([out.length, code], [2, 0]);
});

test('with a list the tests are judged on its devices: those that take part, with routes in force', async () => {
  const listed = (...devices: object[]) => ['--devices', folder.write('devices.json', JSON.stringify(devices))];
  const web = device(5, { tags: ['tag:web'] });
  const text = policy({
    acls: [{ action: 'accept', src: [ANN], dst: ['100.64.0.5:22', 'fd7a:115c:a1e0::5:22'] }],
    tests: [{ src: ANN, accept: ['tag:web:22'] }],
  });
  const one = await checkText(text, ...listed(device(1, {}), web));
  assert.equal(one.out, ['<stdin>: 1 test line passed, on 2 devices of the list']);
  const two = await checkText(text, ...listed(device(1, {}), web, device(6, { tags: ['tag:web'] })));
  assert.is(two.code, 1);
  assert.match(two.out[0]!, /no rule allows 2 of 4 pairs, first 100\.64\.0\.1 to 100\.64\.0\.6$/);
  for (const state of ['waiting', 'expired'] as const) {
    const { out } = await checkText(text, ...listed(device(1, {}), web, device(6, { tags: ['tag:web'], state })));
    assert.equal(out, ['<stdin>: 1 test line passed, on 2 devices of the list']);
  }
  const login = device(0, { state: 'login', addresses: ['', ''] });
  assert.is((await checkText(text, ...listed(device(1, {}), web, login, login))).code, 0);
  const route = { route: '10.1.0.0/16', isApproved: true, isAdvertised: true };
  const routed = policy({
    acls: [{ action: 'accept', src: ['*'], dst: ['tag:web:22'] }],
    tests: [{ src: '10.1.2.3', deny: ['tag:web:22'] }],
  });
  for (const [change, code] of [[{}, 1] as const, [{ isApproved: false }, 0], [{ isAdvertised: false }, 0]] as const)
    assert.is((await checkText(routed, ...listed(device(1, { routes: [{ ...route, ...change }] }), web))).code, code);
});

test('a list that is none is a mistake, told in one line', async () => {
  const cases: readonly [string, RegExp][] = [
    ['{', /got no JSON in /],
    ['{}', /got no list in /],
    ['[{"id": 1}]', /got no device at place 1 in /],
    ['[null]', /got no device at place 1 in /],
    [JSON.stringify([device(1, {}), device(1, {})]), /got no id and addresses of its own for device 2 in /],
    [JSON.stringify([device(1, { addresses: ['x', 'y'] as never })]), /got no addresses of device 1 in /],
  ];
  for (const [text, expected] of cases) {
    const { code, message } = await checkText(policy({}), '--devices', folder.write('list.json', text));
    assert.is(code, 2, text);
    assert.match(message!, expected);
  }
});

test('a file that cannot be read is a mistake, and no coordinator is looked for', async () => {
  const none = `${folder.path}/none`;
  const cases: readonly [readonly string[], RegExp][] = [
    [[none], /^there is no file /],
    [[folder.path], / is a folder$/],
    [['-', '--devices', none], /^--devices: there is no file /],
  ];
  for (const [words, expected] of cases) {
    const { code, message } = await check(words, policy({}));
    assert.is(code, 2);
    assert.match(message!, expected);
  }
  const large = await check([folder.write('large', ' '.repeat(1_048_577))]);
  assert.equal([large.code, large.message!.endsWith('has more than 1 MiB')], [2, true]);
  assert.is((await check([folder.write('whole', `${' '.repeat(1_048_574)}{}`)])).code, 3);
  const bytes = folder.write('bytes', '');
  execFileSync('sh', ['-c', `printf '{"hosts": {"\\377": "10.0.0.1"}}' > ${bytes}`]);
  assert.match((await check([bytes])).message!, /is not text in UTF-8$/);
  assert.is((await check([folder.write('mark', '\ufeff{}')])).code, 3);
});

test('JSON is one line that says everything, with the exit code in it', async () => {
  const tests = [{ src: ANN, accept: ['tag:web:22'], deny: ['tag:web:443'] }];
  const { out, code } = await checkText(policy({ tests, ssh: [] }), '--json');
  assert.is(out.length, 1);
  const { file, exitCode, verdict, errors, notes, tests: lines, devices, invented } = JSON.parse(out[0]!);
  assert.equal([file, exitCode, code, verdict, errors, devices], ['<stdin>', 1, 1, 'failed', [], null]);
  assert.equal(invented, [ANN, 'tag:web']);
  assert.is(notes[0].message, '"ssh" is kept but not evaluated');
  assert.equal(
    lines.map((line: { expected: string; isPassed: boolean; pairs: number }) => [
      line.expected,
      line.isPassed,
      line.pairs,
    ]),
    [
      ['accept', true, 2],
      ['deny', false, 2],
    ],
  );
  const verdicts = ['{}', '{"acls": 1}', policy({ tests: [{ src: ANN, accept: ['tag:web:22'] }] })];
  for (const [i, expected] of (['not-tested', 'invalid', 'passed'] as const).entries())
    assert.is(JSON.parse((await checkText(verdicts[i]!, '--json')).out[0]!).verdict, expected);
});

test('no text of a policy moves the cursor', async () => {
  const { out } = await checkText('{"hosts": {"\u202e\u009b31m": "x", "\\u001b[2J": "y"}}');
  assert.is(out.length, 4);
  for (const line of out) assert.not.match(line, /[\p{Cc}\p{Cf}]/u);
});

test('as a process it ends with these exit codes, its findings on standard output', async () => {
  assert.ok(COMMAND);
  const good = await runProcess(['policy', 'check', '-'], policy({ tests: [{ src: ANN, accept: ['tag:web:22'] }] }));
  assert.equal([good.code, good.stderr], [0, '']);
  const bad = await runProcess(['policy', 'check', '-'], '{"acls": 1}');
  assert.equal([bad.code, bad.stdout.split('\n').length], [1, 2]);
  assert.is(bad.stderr, 'motenet: the policy is not valid (1 problem), so that no test ran\n');
  const none = await runProcess(['policy', 'check', '-'], '{}');
  assert.equal([none.code, none.stdout], [3, '']);
  const large = await runProcess(['policy', 'check', '-'], ' '.repeat(1_048_577));
  assert.equal([large.code, large.stderr], [2, 'motenet: standard input has more than 1048576 bytes\n']);
});

test.after(() => folder.remove());

test.run();
