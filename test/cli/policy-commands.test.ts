/** `motenet policy get`, `set`, `diff`, `explain` and `edit` against a coordinator that answers as it is told. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import type { ExplainView, PolicyChangeView, PolicyView } from '../../lib/coordinator/policy-commands.ts';
import type { AdminEnvironment } from '../../targets/cli/admin.ts';
import { RunError, UsageError } from '../../targets/cli/errors.ts';
import { FakeContext, serveAdmin, TOKENS } from '../server/admin-support.ts';
import { type Ran, runLine } from './admin-run.ts';
import { Folder } from './command.ts';

const test = suite('cli policy commands');

const folder = new Folder();
const NOW = Date.UTC(2026, 10, 22, 15, 0);
const TEXT = '// all\n{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}';
const VIEW: PolicyView = {
  ...{ tailnet: 'default', version: 3, text: TEXT, setMs: NOW - 7_200_000, setBy: 'admin', inForce: 'current' },
  notes: [],
};
const CHANGE: PolicyChangeView = {
  ...{ version: 4, isDryRun: false, isChanged: true, tests: { passed: 5, failed: 0, lines: [] }, notes: [] },
  diff: { gainedPairs: 0, lostPairs: 0, gained: [], lost: [] },
};
const ALARM = { sinceMs: NOW - 60_000, message: 'a test fails', failing: ['4:3: tests[0]: ann@ to tag:web:22'] };

type Answer = (command: AdminCommand) => object | AdminOutcome | undefined;

function refused(code: 'invalid' | 'tests-failed' | 'conflict', message: string, details?: readonly string[]) {
  return { isOk: false, code, message, ...(details === undefined ? {} : { details }) } as AdminOutcome;
}

/** Runs `motenet policy WORDS` against a coordinator with these answers. */
async function policy(
  words: readonly string[],
  answer: Answer,
  more: Partial<AdminEnvironment> = {},
  policyFiles: readonly object[] = [],
): Promise<Ran & { readonly commands: readonly AdminCommand[] }> {
  const context = new FakeContext();
  context.report = { policyFiles };
  context.answer = command => {
    const value = answer(command);
    if (value === undefined) return undefined;
    return 'isOk' in value ? value : { isOk: true, value };
  };
  const server = await serveAdmin(context);
  const place = ['--admin', `http://127.0.0.1:${server.port}`, '--token', TOKENS.server];
  const ran = await runLine(['policy', ...words, ...place], { now: () => NOW, ...more });
  await server.close();
  return { ...ran, commands: context.commands.map(({ command }) => command) };
}

const write = (text = TEXT) => folder.write('policy.hujson', text);

test('get prints the text byte for byte, and beside it what to know', async () => {
  const plain = await policy(['get'], () => VIEW);
  assert.equal([plain.raw, plain.out, plain.err], [TEXT, [], ['version 3, set 2 hours ago by admin']]);
  assert.equal(plain.commands, [{ type: 'policy-get', tailnet: 'default' }]);
  const json = await policy(['get', '--json'], () => VIEW);
  assert.equal([json.out.length, json.raw, json.err], [1, '', []]);
  assert.equal(JSON.parse(json.out[0]!), VIEW);
});

test('get says when what it prints is not in force, and why', async () => {
  const lines = async (view: Partial<PolicyView>) => (await policy(['get'], () => ({ ...VIEW, ...view }))).err;
  const why = [
    'warning: a test fails (since 2026-11-22 14:59 UTC, 1 minute ago)',
    '  4:3: tests[0]: ann@ to tag:web:22',
  ];
  const set = 'version 3, set 2 hours ago by admin';
  assert.equal(await lines({ alarm: ALARM }), [set, ...why]);
  assert.equal(await lines({ alarm: ALARM, inForce: 'good' }), [
    `${set}; NOT in force: the last good version is`,
    ...why,
  ]);
  assert.equal(await lines({ alarm: ALARM, inForce: 'deny-all', notes: ['7:3: "ssh" is kept'] }), [
    `${set}; NOT in force: nothing is allowed`,
    ...why,
    'note: 7:3: "ssh" is kept',
  ]);
  const none = await policy(['get'], () => ({ ...VIEW, version: 0, text: '', inForce: 'allow-all' }));
  assert.equal([none.raw, none.out], ['', []]);
  assert.equal(none.err, [
    'the tailnet default has no policy: every device may reach every other; `motenet policy set FILE` sets one',
  ]);
});

test('set sends the text as it is, with the version that has to be there', async () => {
  const path = write('\ufeff// é 日本\n{}\n');
  const { commands, out } = await policy(['set', path, '--if-version', '3', '--tailnet', 'lab'], () => CHANGE);
  assert.equal(commands, [{ type: 'policy-set', tailnet: 'lab', text: '// é 日本\n{}\n', version: 3 }]);
  assert.equal(out, [
    'version 4 is in force',
    'tests: all 5 lines passed',
    'nobody gained access',
    'nobody lost access',
  ]);
  const piped = await policy(['set', '-'], () => CHANGE, { readInput: async () => Buffer.from(TEXT) });
  assert.equal(piped.commands, [{ type: 'policy-set', tailnet: 'default', text: TEXT }]);
});

test('set counts and lists the pairs that gain or lose access', async () => {
  const change = (source: string, destination: string) => ({ source, destination, access: 'tcp:22' });
  const gained = [
    { ...change('laptop', 'web'), rule: 'acls[1] in line 12' },
    change('laptop', '10.1.0.0/16 via router'),
    { ...change('db\u001b[2J', 'internet via web'), access: 'tcp:22, udp:53' },
  ];
  const lost = Array.from({ length: 50 }, () => ({ ...change('web', 'laptop'), rule: 'acls[0] in line 3' }));
  const diff = { gainedPairs: 3, lostPairs: 60, gained, lost };
  const { out } = await policy(['set', write()], () => ({ ...CHANGE, diff, notes: ['7:3: "ssh" is kept'] }));
  assert.equal(out.slice(0, 7), [
    'version 4 is in force',
    'tests: all 5 lines passed',
    '3 pairs gained access:',
    '  laptop  ->  web                     tcp:22          acls[1] in line 12',
    '  laptop  ->  10.1.0.0/16 via router  tcp:22',
    '  db?[2J  ->  internet via web        tcp:22, udp:53',
    '60 pairs lost access:',
  ]);
  assert.equal(out.slice(7, 27), Array(20).fill('  web  ->  laptop  tcp:22  until now: acls[0] in line 3'));
  assert.equal(out.slice(27), ['  and 40 more pairs', 'note: 7:3: "ssh" is kept']);
});

test('a policy that the coordinator takes from a file is set with a warning', async () => {
  const files = [
    { tailnet: 'lab', path: '/lab' },
    { tailnet: 'default', path: '/etc/p' },
  ];
  const warning =
    'warning: the coordinator takes this policy from /etc/p again when it starts, and at SIGHUP: put it there, too';
  assert.equal((await policy(['set', write()], () => CHANGE, {}, files)).err, [warning]);
  assert.equal((await policy(['diff', write()], () => ({ ...CHANGE, isDryRun: true }), {}, files)).err, []);
  assert.equal((await policy(['set', write(), '--tailnet', 'x'], () => CHANGE, {}, files)).err, []);
  const edited = await policy(['edit'], taking, { terminal: new Person([() => '{}']) }, files);
  assert.is(edited.err.at(-1), warning);
});

test('a policy without tests never looks as if tests had passed', async () => {
  for (const words of [
    ['set', write()],
    ['set', write(), '--dry-run'],
    ['diff', write()],
  ]) {
    const isDryRun = words.length === 3 || words[0] === 'diff';
    const { out, code } = await policy(words, () => ({
      ...CHANGE,
      isDryRun,
      tests: { passed: 0, failed: 0, lines: [] },
    }));
    assert.is(out[1], 'no tests: nothing was tested; "tests" in the policy would watch over these rules');
    assert.not.match(out.join('\n'), /passed/);
    assert.is(code, 0);
  }
});

test('diff and a dry run change nothing, and say so', async () => {
  const answer: Answer = () => ({ ...CHANGE, isDryRun: true, diff: { ...CHANGE.diff, gainedPairs: 1, gained: [] } });
  for (const words of [
    ['diff', write()],
    ['set', write(), '--dry-run'],
  ]) {
    const { out, commands } = await policy(words, answer);
    assert.equal(commands, [{ type: 'policy-set', tailnet: 'default', text: TEXT, isDryRun: true }]);
    assert.is(out[0], 'nothing was changed; this would be version 4');
    assert.ok(out.includes('1 pair would gain access:') && out.includes('nobody would lose access'));
  }
  const same = await policy(['set', write()], () => ({ ...CHANGE, version: 3, isChanged: false }));
  assert.is(same.out[0], 'nothing to change: this is version 3, which is there already');
});

test('a policy that is refused is exit code 1, each line with the file, and JSON has them as details', async () => {
  const path = write();
  const cases = [
    ['invalid', '4:3: "x" is not known\u001b[2J', 'the policy is not valid (2 problems): nothing was changed'],
    ['tests-failed', 'line 4: ann@ to tag:web:22', '2 access tests would fail: nothing was changed'],
  ] as const;
  for (const [code, line, message] of cases) {
    const answer: Answer = () => refused(code, `refused: ${line} (and 1 more)`, [line, 'and more']);
    const details = [
      `${path}:${code === 'invalid' ? '4:3: "x" is not known?[2J' : '4: ann@ to tag:web:22'}`,
      'and more',
    ];
    for (const words of [
      ['set', path],
      ['diff', path],
    ]) {
      const ran = await policy(words, answer);
      assert.equal([ran.out, ran.err, ran.code, ran.message], [[], details, 1, message]);
    }
    const { error } = JSON.parse((await policy(['set', path, '--json'], answer)).out[0]!);
    assert.equal(error, { code, message, details, exitCode: 1 });
  }
  const conflict = await policy(['set', path], () => refused('conflict', 'version 5 is there'));
  assert.equal([conflict.code, conflict.message], [1, 'version 5 is there']);
  assert.instance((await policy(['set', path], () => refused('invalid', 'no tailnet'))).error, UsageError);
});

test('explain says why, with exit code 0 where it is allowed and 1 where not', async () => {
  const pair = { source: '100.64.0.1', destination: '100.64.0.2', isAllowed: true, rule: 'acls[0] in line 5' };
  const allowed: ExplainView = { isAllowed: true, reason: 'allowed: acls[0] in line 5', pairs: [pair] };
  const yes = await policy(['explain', 'laptop', 'web:22'], () => allowed);
  assert.equal(yes.out, ['allowed: acls[0] in line 5', '  100.64.0.1  ->  100.64.0.2  allowed  acls[0] in line 5']);
  assert.equal([yes.code, yes.err], [0, []]);
  const { rule: _, ...bare } = pair;
  const no = { isAllowed: false, reason: 'no rule allows it', pairs: [{ ...bare, isAllowed: false }] };
  const ran = await policy(['explain', 'laptop', 'web:23'], () => no);
  assert.equal(ran.out, ['not allowed: no rule allows it', '  100.64.0.1  ->  100.64.0.2  not allowed']);
  assert.equal([ran.code, ran.message, ran.err], [1, '', []]);
  const json = await policy(['explain', 'laptop', 'web:23', '--json'], () => no);
  assert.equal([json.code, JSON.parse(json.out[0]!)], [1, no]);
});

test('explain asks of ICMP over each family by its own number', async () => {
  const pairs = [
    { source: '100.64.0.1', destination: '100.64.0.2' },
    { source: 'fd7a::1', destination: 'fd7a::2' },
  ];
  const rule = { name: 'acls[0]', line: 5 };
  const answering =
    (wanted: readonly number[], some = pairs): Answer =>
    command => {
      const { protocol } = command as { protocol: number };
      const answers = some.map(pair => {
        const isAllowed = wanted.includes(protocol) && (protocol === 58) === pair.source.includes(':');
        return { ...pair, isAllowed, ...(isAllowed ? { rule: 'acls[0] in line 5' } : {}) };
      });
      const isAllowed = answers.length > 0 && answers.every(pair => pair.isAllowed);
      const isAny = answers.some(pair => pair.isAllowed);
      return { isAllowed, reason: isAllowed ? 'allowed: x' : 'no', ...(isAny ? { rule } : {}), pairs: answers };
    };
  const cases: readonly [Answer, string, number, readonly number[]][] = [
    [answering([1, 58]), 'allowed: acls[0] in line 5', 0, [1, 58]],
    [answering([]), 'not allowed: no rule allows it', 1, [1, 58]],
    [answering([1]), 'not allowed: only in part: acls[0] in line 5, but not from fd7a::1 to fd7a::2', 1, [1, 58]],
    [
      answering([58]),
      'not allowed: only in part: acls[0] in line 5, but not from 100.64.0.1 to 100.64.0.2',
      1,
      [1, 58],
    ],
    [answering([1], pairs.slice(0, 1)), 'allowed: x', 0, [1]],
    [answering([58], pairs.slice(1)), 'allowed: x', 0, [1, 58]],
    [answering([], []), 'not allowed: no', 1, [1]],
  ];
  for (const [answer, line, code, protocols] of cases) {
    const ran = await policy(['explain', 'a', 'b', '--proto', 'icmp'], answer);
    assert.equal([ran.out[0], ran.code], [line, code]);
    assert.equal(
      ran.commands.map(command => (command as { protocol: number }).protocol),
      protocols,
    );
  }
});

/** A person: edits in turn, and answers in turn. */
class Person {
  readonly edits: ((text: string, path: string) => string | number)[];
  readonly answers: (string | undefined)[];
  readonly questions: string[] = [];
  readonly paths: string[] = [];
  readonly modes: number[] = [];

  constructor(edits: Person['edits'], answers: Person['answers'] = []) {
    this.edits = edits;
    this.answers = answers;
  }

  readonly edit = async (path: string): Promise<number> => {
    this.paths.push(path);
    this.modes.push(statSync(path).mode & 0o777, statSync(dirname(path)).mode & 0o777);
    const result = this.edits.shift()!(readFileSync(path, 'utf8'), path);
    if (typeof result === 'number') return result;
    writeFileSync(path, result);
    return 0;
  };

  readonly ask = async (question: string): Promise<string | undefined> => {
    this.questions.push(question);
    return this.answers.shift();
  };
}

const edited = '{"acls": []}\n';
/** A coordinator with {@link VIEW}, that takes what it is given. */
const taking: Answer = command =>
  command.type === 'policy-get'
    ? VIEW
    : { ...CHANGE, isDryRun: command.type === 'policy-set' && command.isDryRun === true };

test("edit opens the policy in a file that is only its user's, shows what would change, and sets it", async () => {
  const person = new Person(
    [
      text => {
        assert.is(text, TEXT);
        return edited;
      },
    ],
    [''],
  );
  const { out, err, commands, error } = await policy(['edit'], taking, { terminal: person });
  assert.is(error, undefined);
  assert.equal(commands.slice(1), [
    { type: 'policy-set', tailnet: 'default', text: edited, version: 3, isDryRun: true },
    { type: 'policy-set', tailnet: 'default', text: edited, version: 3 },
  ]);
  const path = person.paths[0]!;
  assert.equal(err, [
    `the policy is in ${path} while you edit it`,
    'this would be version 4; nothing is changed yet',
    'tests: all 5 lines passed',
    'nobody would gain access',
    'nobody would lose access',
  ]);
  assert.equal(out, ['version 4 is in force']);
  assert.equal(person.modes, [0o600, 0o700]);
  assert.is(existsSync(dirname(path)), false);
});

test('edit without a terminal sets what passes, and asks nobody', async () => {
  const { commands, code } = await policy(['edit'], taking, { terminal: new Person([() => edited]) });
  assert.equal([commands.length, code], [3, 0]);
});

test('edit offers to edit again what is refused, with the text as it was left', async () => {
  const answer: Answer = command => {
    if (command.type === 'policy-set' && command.text === 'broken')
      return refused('invalid', 'it cannot be read: 1:1: expected {', ['1:1: expected {']);
    return taking(command);
  };
  const person = new Person(
    [
      () => 'broken',
      text => {
        assert.is(text, 'broken');
        return edited;
      },
    ],
    ['', 'y'],
  );
  const ran = await policy(['edit'], answer, { terminal: person });
  assert.is(ran.error, undefined);
  assert.ok(
    ran.err.includes(`${person.paths[0]}:1:1: expected {`) &&
      ran.err.includes('the policy is not valid (1 problem): nothing was changed'),
  );
  assert.equal(person.questions, ['Edit it again? [Y/n] ', 'Put this in force? [Y/n/e to edit again] ']);
  assert.equal(ran.out, ['version 4 is in force']);
});

test('the text that was edited is never lost: wherever it ends, its path is said', async () => {
  const broken: Answer = command => (command.type === 'policy-get' ? VIEW : refused('tests-failed', 'tests fail', []));
  const there: Answer = command => (command.type === 'policy-get' ? VIEW : refused('conflict', 'version 5 is there'));
  const later: Answer = command =>
    command.type === 'policy-set' && command.isDryRun !== true
      ? refused('conflict', 'version 5 is there')
      : taking(command);
  const failing: Answer = command => {
    if (command.type === 'policy-get') return VIEW;
    throw new Error('down');
  };
  const cases: readonly [Answer, string | number, (string | undefined)[], RegExp][] = [
    [broken, edited, ['n'], /^tests fail; nothing was changed, and your text is in PATH$/],
    [broken, edited, [undefined], /^tests fail; nothing was changed, and your text is in PATH$/],
    [taking, edited, ['n'], /^you did not want it in force; nothing was changed, and your text is in PATH$/],
    [taking, 3, [], /^the editor ended with exit code 3; nothing was changed, and your text is in PATH$/],
    [
      there,
      edited,
      [],
      /^version 5 is there; nothing was changed, and your text is in PATH: take over what `motenet policy get` shows now, then `motenet policy set PATH`$/,
    ],
    [later, edited, ['y'], /^version 5 is there; nothing was changed, and your text is in PATH: take over/],
    [failing, edited, [], /^the coordinator failed: its log says why; nothing was changed, and your text is in PATH$/],
  ];
  for (const [answer, result, answers, expected] of cases) {
    const person = new Person([() => result], answers);
    const { error, message, code } = await policy(['edit'], answer, { terminal: person });
    const path = person.paths[0]!;
    assert.instance(error, RunError);
    assert.match(message!.replaceAll(path, 'PATH'), expected);
    assert.is(code, 1);
    assert.is(readFileSync(path, 'utf8'), typeof result === 'string' ? result : TEXT);
  }
});

test('an editor that ends at once without a change may still be open: the text stays', async () => {
  const person = new Person([text => text]);
  const { out, err, commands, code } = await policy(['edit'], taking, { terminal: person });
  assert.equal([out, code, commands.length], [['nothing was changed'], 0, 1]);
  assert.match(err[1]!, /^if your editor opened a window, give it the flag to wait/);
  assert.is(readFileSync(person.paths[0]!, 'utf8'), TEXT);
});

test('edit starts from what holds without a policy, and takes version 0 for granted', async () => {
  let start = '';
  const person = new Person([
    text => {
      start = text;
      return edited;
    },
  ]);
  const answer: Answer = command =>
    command.type === 'policy-get' ? { ...VIEW, version: 0, text: '', inForce: 'allow-all' } : taking(command);
  const { commands } = await policy(['edit'], answer, { terminal: person });
  assert.is((commands[1] as { version?: number }).version, 0);
  const checked = await runLine(['policy', 'check', '-'], { readInput: async () => Buffer.from(start) });
  assert.equal([checked.out, checked.code], [[], 3], 'valid, without a test');
  const open = JSON.parse(start.replace(/^\s*\/\/.*$/gm, '').replace(/,(?=\s*[\]}])/g, ''));
  assert.equal(open.acls, [{ action: 'accept', src: ['*'], dst: ['*:*'] }]);
});

const { TMPDIR } = process.env;
test.before(() => {
  process.env['TMPDIR'] = folder.path; // for what edit leaves behind
});
test.after(() => {
  if (TMPDIR === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = TMPDIR;
  folder.remove();
});

test.run();
