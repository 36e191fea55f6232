/** Policies with the commands as processes: files and SIGHUP of `motenet serve`, exit codes, a real editor. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Folder } from './command.ts';
import { INSTALLED, install } from './installed.ts';
import { until } from './local.ts';

const test = suite('cli policy real');

const LIFETIME_MS = 170_000;
const folder = new Folder();
const data = join(folder.path, 'data');
const children: ChildProcess[] = [];

const GOOD =
  '{"tagOwners": {"tag:web": []},\n "acls": [{"action": "accept", "src": ["ann@"], "dst": ["tag:web:80"]}],\n "tests": [{"src": "ann@", "accept": ["tag:web:80"]}]}\n';
const FAILING = GOOD.replace('tag:web:80"]}],\n "tests"', 'tag:web:81"]}],\n "tests"');

/** Starts the command as it is installed. */
function start(args: readonly string[], environment: Record<string, string> = {}) {
  const child = spawn(process.execPath, [INSTALLED, ...args], {
    ...{ timeout: LIFETIME_MS, env: { ...process.env, TMPDIR: folder.path, ...environment } },
  });
  children.push(child);
  const got = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', text => (got.out += text));
  child.stderr.setEncoding('utf8').on('data', text => (got.err += text));
  const ended = new Promise<{ code: number | null; out: string; err: string }>(resolve => {
    child.once('close', code => resolve({ code, ...got }));
  });
  return { child, got, ended };
}

function run(line: string, environment: Record<string, string> = {}) {
  return start([...line.split(' '), '--data', data], environment).ended;
}

const serveArgs = ['serve', '--data', data, '--listen', '127.0.0.1:0', '--stun-port', '0', '--policy'];

test.before(install);

test('serve takes a policy from a file, again at SIGHUP, and goes on with the last good one', async () => {
  const path = folder.write('policy.hujson', GOOD);
  const server = start([...serveArgs, path]);
  await until(() => server.got.out.includes('ready'), 'ready', 60_000);
  assert.match(server.got.err, /the policy file .* is in force as version 1: its test line passes/);
  const got = await run('policy get');
  assert.equal([got.code, got.out], [0, GOOD]);
  assert.match(got.err, /^version 1, set .* by policy-file\n$/);
  assert.is((await run('doctor --server')).code, 0);
  writeFileSync(path, FAILING);
  server.child.kill('SIGHUP');
  await until(() => server.got.err.includes('version 1 stays'), 'the refusal');
  assert.match(
    server.got.err,
    /^warning: the policy file \S+ is not in force: access tests would fail; version 1 stays/m,
  );
  assert.match(server.got.err, /^warning: \S+policy\.hujson:3: ann@ to tag:web:80 should be accepted/m);
  const doctor = await run('doctor --server');
  assert.equal([doctor.code, doctor.err], [1, 'motenet: 1 problem found\n']);
  assert.match(doctor.out, /^problem +policy +\S+ is not in force in default, version 1 is: access tests would fail/m);
  assert.match((await run('status --server')).out, /^ALARM: policy file /m);
  assert.is((await run('policy get')).out, GOOD);
  writeFileSync(path, `// better\n${GOOD}`);
  server.child.kill('SIGHUP');
  await until(() => server.got.err.includes('in force as version 2'), 'the new one');
  assert.is((await run('doctor --server')).code, 0);
  server.child.kill('SIGTERM');
  assert.is((await server.ended).code, 0);
});

test('serve does not start with a file that is refused where nothing could stay in force', async () => {
  const path = folder.write('bad.hujson', '{"acls": 1}');
  const args = [
    'serve',
    '--data',
    join(folder.path, 'fresh'),
    '--listen',
    '127.0.0.1:0',
    '--stun-port',
    '0',
    '--policy',
  ];
  const { code, out, err } = await start([...args, path]).ended;
  assert.equal([code, out], [2, '']);
  assert.match(
    err,
    /^motenet: \S+bad\.hujson: the policy cannot be read; the tailnet default has no policy that could/m,
  );
});

test('without policy files SIGHUP ends serve, as a closed terminal does', async () => {
  const server = start(serveArgs.slice(0, -1));
  await until(() => server.got.out.includes('ready'), 'ready', 60_000);
  server.child.kill('SIGHUP');
  assert.is((await server.ended).code, 0);
  assert.match(server.got.err, /stopping: SIGHUP/);
});

test('edit starts the editor that the environment names, as a shell would', async () => {
  const good = await run('policy edit', { VISUAL: '', EDITOR: 'sh -c \'sed -i s/better/best/ "$1"\' edit' });
  assert.equal([good.code, good.out], [0, 'version 3 is in force\n'], good.err);
  assert.is((await run('policy get')).out, `// best\n${GOOD}`);
  const bad = await run('policy edit', { VISUAL: 'sh -c \'echo broken > "$1"\' edit', EDITOR: 'false' });
  assert.is(bad.code, 1);
  const path = /your text is in (\S+)\n$/.exec(bad.err)![1]!;
  assert.match(bad.err, new RegExp(`^${path}:1:1: `, 'm'));
  assert.is(readFileSync(path, 'utf8'), 'broken\n');
  const none = await run('policy edit', { VISUAL: '', EDITOR: 'no-such-editor-here' });
  assert.equal([none.code, /cannot start the editor "no-such-editor-here": set EDITOR/.test(none.err)], [1, true]);
  const fails = await run('policy edit', { VISUAL: '', EDITOR: 'exit 3;' });
  assert.match(fails.err, /the editor ended with exit code 3; nothing was changed, and your text is in /);
});

test('exit codes: 0 allowed, 1 refused or not allowed, 2 wrong usage', async () => {
  const codes: readonly [string, number][] = [
    ['policy explain 10.0.0.1 100.64.0.1:80', 1],
    ['policy explain 10.0.0.1 100.64.0.1', 2],
    ['policy set /nowhere/x', 2],
    [`policy set ${folder.write('f.hujson', FAILING)}`, 1],
    [`policy diff ${folder.write('g.hujson', '{}')}`, 0],
    [`policy set ${join(folder.path, 'g.hujson')}`, 0],
    ['policy explain 10.0.0.1 100.64.0.1:80', 1],
    ['policy explain 100.64.0.2 100.64.0.1:80', 0],
    ['policy frobnicate', 2],
  ];
  for (const [line, code] of codes) {
    const ran = await run(line);
    assert.is(ran.code, code, `${line}: ${ran.out}${ran.err}`);
  }
});

test.after(() => {
  for (const child of children) child.kill('SIGKILL');
  folder.remove();
});

test.run();
