/**
 * `motenet serve` and its administration as processes: through the socket, over HTTP with tokens, and on the data folder
 * of a coordinator that does not run. The last test searches everything that was written for everything that is secret.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminResults } from '../../lib/coordinator/commands.ts';
import type { AuditRow } from '../../targets/server/types.ts';
import { COMMAND, Folder } from './command.ts';
import { INSTALLED, install } from './installed.ts';
import { datagrams, until } from './local.ts';

const test = suite('cli admin real');

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LIFETIME_MS = 170_000;
const folder = new Folder();
const data = join(folder.path, 'data');
/** Everything that any process has written, for the last test. */
const written: string[] = [];
const secrets: string[] = [];
const children: ChildProcess[] = [];

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The command, as it is installed. */
function start(
  args: readonly string[],
  environment: Record<string, string> = {},
  program: readonly string[] = [INSTALLED],
) {
  const child = spawn(process.execPath, [...program, ...args], {
    ...{ cwd: ROOT, timeout: LIFETIME_MS, env: { ...process.env, MOTENET_TOKEN: '', ...environment } },
  });
  children.push(child);
  const got = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', text => (got.out += text));
  child.stderr.setEncoding('utf8').on('data', text => (got.err += text));
  const ended = new Promise<Ended>(resolve => {
    child.once('close', code => {
      written.push(got.out, got.err);
      resolve({ code, ...got });
    });
  });
  return { child, got, ended };
}

function run(line: string, environment?: Record<string, string>): Promise<Ended> {
  return start(line.split(' '), environment).ended;
}

/** Runs a command that must succeed, with `--json`; its answer. */
async function json<T>(line: string, environment?: Record<string, string>): Promise<T> {
  const { code, out, err } = await run(`${line} --json`, environment);
  assert.is(code, 0, `${line}: ${err}`);
  assert.match(out, /^[^\n]+\n$/, line);
  return JSON.parse(out) as T;
}

async function serve(more: readonly string[] = []) {
  const usual = ['serve', '--json', '--data', data, '--listen', '127.0.0.1:0', '--stun-port', '0'];
  const process = start([...usual, ...more]);
  let isEnded = false;
  void process.ended.then(() => {
    isEnded = true;
  });
  await until(() => process.got.out.includes('"event":"ready"') || isEnded, 'ready', 60_000);
  const events = () =>
    process.got.out
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>);
  const ready = events().find(({ event }) => event === 'ready');
  if (ready === undefined) throw new Error(`not ready: ${process.got.out}${process.got.err}`);
  return { ...process, url: String(ready['url']), ready, events };
}

let server: Awaited<ReturnType<typeof serve>>;
let labToken = '';
let wholeToken = '';

test.before(install);

test("serve is ready with nothing configured, and its folder is nobody else's", async () => {
  server = await serve();
  assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.is(statSync(data).mode & 0o777, 0o700);
  assert.is(statSync(join(data, 'admin.sock')).mode & 0o777, 0o600);
  await until(() => server.got.out.includes('see who has joined'), 'the next steps');
  const next = server.events().filter(({ event }) => event === 'next');
  assert.is(next[0]!['command'], `motenet keys create --data ${data}`);
  assert.is(next[1]!['command'], `motenet up --control ${server.url} --authkey KEY`);
  assert.is((await fetch(`${server.url}/health`)).status, 200);
});

test('the first tailnet is there, and keys are made in it', async () => {
  const key = await json<AdminResults['key-create']>(
    `keys create --data ${data} --tag web --expires 2h --description x`,
  );
  assert.match(key.key!, /^mote-auth-[0-9a-f]{12}-[A-Za-z0-9_-]{43}$/);
  assert.equal([key.tags, key.expiresMs - key.createdMs, key.state], [['tag:web'], 7_200_000, 'valid']);
  secrets.push(key.key!.slice(23));
  const [plain, tailnets, users, devices] = await Promise.all([
    run(`keys create --data ${data}`),
    json<AdminResults['tailnet-list']>(`tailnets list --data ${data}`),
    json<AdminResults['user-list']>(`users list --data ${data}`),
    run(`devices list --data ${data}`),
  ]);
  assert.match(plain.out, /^mote-auth-[0-9a-f]{12}-[A-Za-z0-9_-]{43}\n$/);
  secrets.push(plain.out.trim().slice(23));
  assert.equal(
    tailnets.map(t => t.id),
    ['default'],
  );
  assert.equal(
    users.map(u => u.loginName),
    ['owner'],
  );
  assert.equal([devices.code, devices.out], [0, '']);
  const revoked = await run(`keys revoke ${key.id} --data ${data}`);
  assert.equal([revoked.code, revoked.out], [0, `revoked the key ${key.id}\n`]);
  const keys = await json<AdminResults['key-list']>(`keys list --data ${data}`);
  assert.equal(new Set(keys.map(({ state }) => state)), new Set(['valid', 'revoked']));
  assert.ok(keys.every(one => one.key === undefined));
});

test('tailnets, users and tokens come, change and go', async () => {
  const lab = await json<AdminResults['tailnet-create']>(
    `tailnets create lab --approval on --key-life 30d --data ${data}`,
  );
  assert.equal([lab.suffix, lab.requiresApproval, lab.keyLifeMs], ['lab.mote.internal', true, 2_592_000_000]);
  const changed = await json<AdminResults['tailnet-update']>(`tailnets update lab --key-life never --data ${data}`);
  assert.equal([changed.requiresApproval, changed.keyLifeMs], [true, 0]);
  const [ann, lab2, whole] = await Promise.all([
    json<AdminResults['user-create']>(`users create ann@example.com --name Ann --tailnet lab --data ${data}`),
    json<AdminResults['token-create']>(`tokens create --tailnet lab --expires 1h --data ${data}`),
    json<AdminResults['token-create']>(`tokens create --server --data ${data}`),
  ]);
  assert.equal([ann.displayName, lab2.tailnet, whole.tailnet], ['Ann', 'lab', '']);
  assert.is(whole.expiresMs - whole.createdMs, 90 * 86_400_000);
  labToken = lab2.token!;
  wholeToken = whole.token!;
  secrets.push(labToken.slice(22), wholeToken.slice(22));
});

test('with a token the same goes from elsewhere, within its tailnet', async () => {
  const at = `--admin ${server.url}`;
  const [key, other, tailnets, made, audit, foreign, whole, wrong] = await Promise.all([
    json<AdminResults['key-create']>(`keys create --tailnet lab ${at} --token ${labToken}`),
    run(`keys create ${at} --json`, { MOTENET_TOKEN: labToken }),
    json<AdminResults['tailnet-list']>(`tailnets list ${at}`, { MOTENET_TOKEN: labToken }),
    run(`tailnets create mine ${at}`, { MOTENET_TOKEN: labToken }),
    json<AuditRow[]>(`audit ${at}`, { MOTENET_TOKEN: labToken }),
    run(`audit --tailnet default ${at}`, { MOTENET_TOKEN: labToken }),
    json<AdminResults['tailnet-list']>(`tailnets list ${at}`, { MOTENET_TOKEN: wholeToken }),
    run(`keys list ${at} --token ${labToken.slice(0, -1)}`),
  ]);
  secrets.push(key.key!.slice(23));
  assert.is(other.code, 1);
  assert.is(JSON.parse(other.out).error.code, 'forbidden');
  assert.equal(
    tailnets.map(t => t.id),
    ['lab'],
  );
  assert.is(made.code, 1);
  assert.ok(audit.length > 0 && audit.every(({ tailnet }) => tailnet === 'lab'));
  assert.is(foreign.code, 1);
  assert.equal(whole.map(t => t.id).sort(), ['default', 'lab']);
  assert.equal(
    [wrong.code, wrong.out, wrong.err],
    [1, '', 'motenet: the token is not valid: it is wrong, expired or revoked\n'],
  );
});

test('what does not exist or cannot be is one line and an exit code', async () => {
  const cases: readonly [string, number, RegExp][] = [
    ['devices expire nobody', 1, /nobody/],
    ['keys revoke 000000000000', 1, /./],
    ['keys list --tailnet nowhere', 1, /nowhere/],
    ['tailnets create lab', 1, /./],
    ['keys create --user nobody', 1, /nobody/],
    ['keys create --expires soon', 2, /--expires expected a time/],
    ['keys lsit', 2, /did you mean keys list\?/],
    ['audit x', 2, /audit takes no arguments/],
  ];
  const ends = await Promise.all(cases.map(([line]) => run(`${line} --data ${data}`)));
  for (const [i, { code, out, err }] of ends.entries()) {
    const [line, expected, pattern] = cases[i]!;
    assert.equal([code, out], [expected, ''], `${line}: ${err}`);
    assert.match(err, /^motenet: [^\n]+\n$/, line);
    assert.match(err, pattern, line);
  }
});

test('a second coordinator on the same folder or port is refused in one line', async () => {
  const { port } = new URL(server.url);
  const [same, taken] = await Promise.all([
    run(`serve --data ${data} --listen 127.0.0.1:0 --stun-port off`),
    run(`serve --data ${join(folder.path, 'other')} --listen 127.0.0.1:${port} --stun-port off`),
  ]);
  for (const { code, out } of [same, taken]) assert.equal([code, out], [1, '']);
  assert.match(same.err, /\nmotenet: [^\n]*(in use|another process)[^\n]*\n$/);
  assert.match(taken.err, new RegExp(`\nmotenet: [^\n]*${port}[^\n]*in use[^\n]*\n$`));
});

test('a backup is a whole database, from the socket and from elsewhere, and can take the place of the first', async () => {
  const [a, b] = [join(folder.path, 'a.db'), join(folder.path, 'b.db')];
  const [local, remote, scoped] = await Promise.all([
    json<{ path: string; bytes: number }>(`backup ${a} --data ${data}`),
    json<{ path: string; bytes: number }>(`backup ${b} --admin ${server.url}`, { MOTENET_TOKEN: wholeToken }),
    run(`backup ${join(folder.path, 'c.db')} --admin ${server.url}`, { MOTENET_TOKEN: labToken }),
  ]);
  for (const { path, bytes } of [local, remote]) {
    assert.is(statSync(path).size, bytes);
    assert.is(statSync(path).mode & 0o777, 0o600);
    assert.is(readFileSync(path, 'latin1').slice(0, 15), 'SQLite format 3');
  }
  assert.is(scoped.code, 1);
  assert.is(existsSync(join(folder.path, 'c.db')), false);
  const restored = join(folder.path, 'restored');
  mkdirSync(restored, { mode: 0o700 });
  copyFileSync(a, join(restored, 'coordinator.db'));
  const [before, after] = await Promise.all(
    [data, restored].map(dir => json<AdminResults['key-list']>(`keys list --tailnet lab --data ${dir}`)),
  );
  assert.equal(after, before);
  assert.is(after!.length, 1);
});

test('SIGTERM ends it in order; then its folder is administered without it, and it takes up what was done', async () => {
  server.child.kill('SIGTERM');
  const { code, err } = await server.ended;
  assert.equal([code, err], [0, '']);
  const events = server.events().map(({ event }) => event);
  assert.equal(events.slice(-2), ['stopping', 'stopped']);
  const made = await json<AdminResults['key-create']>(`keys create --data ${data} --description offline`);
  secrets.push(made.key!.slice(23));
  server = await serve();
  const keys = await json<AdminResults['key-list']>(`keys list --data ${data}`);
  assert.ok(keys.some(({ id, description }) => id === made.id && description === 'offline'));
});

test('after a SIGKILL nothing that was answered is lost, and the socket that stays is no obstacle', async () => {
  const made = await json<AdminResults['key-create']>(`keys create --data ${data} --description last`);
  secrets.push(made.key!.slice(23));
  server.child.kill('SIGKILL');
  await server.ended;
  assert.ok(existsSync(join(data, 'admin.sock')));
  const keys = await json<AdminResults['key-list']>(`keys list --data ${data}`);
  assert.ok(keys.some(({ id }) => id === made.id));
  // Whoever asks while it starts is answered: by the data folder before, by the coordinator after.
  const [started, ...lists] = await Promise.all([
    serve(),
    json<AdminResults['key-list']>(`keys list --data ${data}`),
    json<AdminResults['key-list']>(`keys list --data ${data}`),
  ]);
  server = started;
  for (const again of lists) assert.equal(again.length, keys.length);
});

test('every change is in the audit log, under the name of who asked', async () => {
  const rows = await json<AuditRow[]>(`audit --limit 1000 --data ${data}`);
  const seen = rows.map(({ action, actor }) => `${action} ${actor.replace(/[0-9a-f]{12}/, 'ID')}`);
  for (const line of [
    'tailnet-create coordinator',
    'key-create admin',
    'key-create token:ID',
    'key-revoke admin',
    'tailnet-create admin',
    'tailnet-update admin',
    'user-create admin',
    'token-create admin',
  ])
    assert.ok(seen.includes(line), `${line} in ${seen.join(', ')}`);
  const numbers = rows.map(({ seq }) => seq);
  assert.equal(
    numbers,
    [...numbers].sort((a, b) => b - a),
  );
  const page = await json<AuditRow[]>(`audit --limit 2 --before ${numbers[1]} --data ${data}`);
  assert.equal(
    page.map(({ seq }) => seq),
    numbers.slice(2, 4),
  );
});

test('no key and no token is anywhere but in the one answer that made it', async () => {
  server.child.kill('SIGINT');
  assert.is((await server.ended).code, 0);
  assert.is(secrets.length, 7);
  const files = readdirSync(folder.path, { recursive: true, encoding: 'utf8' })
    .map(name => join(folder.path, name))
    .filter(path => statSync(path).isFile());
  assert.ok(files.some(path => path.endsWith('coordinator.db')));
  for (const secret of secrets) {
    assert.is(secret.length, 43);
    assert.is(written.filter(text => text.includes(secret)).length, 1);
    for (const path of files) assert.not(readFileSync(path, 'latin1').includes(secret), path);
  }
});

test('a port that is taken is named with its flag', async () => {
  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => blocker.once('listening', resolve));
  const { port } = blocker.address() as AddressInfo;
  const udp = await datagrams();
  const line = `serve --data ${join(folder.path, 'third')} --listen 127.0.0.1:0`;
  const [relay, stun] = await Promise.all([
    run(`${line} --stun-port off --relay-port ${port}`),
    run(`${line.replace('third', 'fifth')} --stun-port ${udp.port}`),
  ]);
  blocker.close();
  udp.socket.close();
  assert.equal([relay.code, stun.code], [1, 1]);
  const where = '127.0.0.1 port';
  const next = 'is in use: stop the program that has it or give';
  assert.is(relay.err.trimEnd().split('\n').at(-1), `motenet: ${where} ${port} ${next} --relay-port another port`);
  assert.is(stun.err.trimEnd().split('\n').at(-1), `motenet: ${where} ${udp.port} ${next} --stun-port another port`);
});

test('without the package of the server a line says what to install; in the source tree its source is found', async () => {
  const [alone, source] = await Promise.all([
    start(['serve', '--data', join(folder.path, 'fourth')], {}, [COMMAND]).ended,
    start(['keys', 'list', '--data', data], {}, ['--import', 'tsx', 'targets/cli/main.ts']).ended,
  ]);
  assert.equal([alone.code, alone.out], [1, '']);
  assert.is(alone.err, 'motenet: this needs the package motenet-server beside this one: npm install motenet-server\n');
  assert.equal([source.code, source.err], [0, '']);
  assert.match(source.out, /^ID +STATE/);
});

test.after(() => {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  folder.remove();
});

test.run();
