/** Policies on a real server: over restarts, with a database that somebody has broken, and out of files. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminResults } from '../../lib/coordinator/commands.ts';
import { PolicyFileError } from '../../targets/server/policy-file.ts';
import type { AuditRow, PolicyFile, Server } from '../../targets/server/types.ts';
import { ask } from './admin-support.ts';
import { command, makeFolder, startTestServer, type TestServer } from './support.ts';

const test = suite('server policy');

const NAMES = '"tagOwners": {"tag:web": [], "tag:db": []}';
const RULE = '{"action": "accept", "src": ["tag:web"], "dst": ["tag:db:5432"]}';
const TESTS = '"tests": [{"src": "tag:web", "accept": ["tag:db:5432"], "deny": ["tag:db:22"]}]';
const GOOD = `{ // the good one\n ${NAMES},\n "acls": [${RULE}],\n ${TESTS}}\n`;
const OTHER = GOOD.replace('the good one', 'another');
const FAILING = GOOD.replace('5432"]}]', '5433"]}]');
const BROKEN = '{"acls": [\n  {"action": "accept", "src": ["tag:nope"], "dst": ["*:*"]}]}';

const folders: string[] = [];

function newFolder(): string {
  const folder = makeFolder();
  folders.push(folder);
  return folder;
}

/** A server on a folder of its own that stays when the server stops. */
async function start(folder: string, policies: readonly PolicyFile[] = []): Promise<TestServer> {
  const lines: string[] = [];
  const log = (level: string, message: string) => void lines.push(`${level} ${message}`);
  const { server } = await startTestServer({ policies, log }, folder);
  return { server, folder, lines, stop: () => server.close() };
}

const get = (server: Server) => command<AdminResults['policy-get']>(server, { type: 'policy-get', tailnet: 'default' });
const set = (server: Server, text: string) =>
  command<AdminResults['policy-set']>(server, { type: 'policy-set', tailnet: 'default', text });

/** Whether a device with the first tag would reach the other, by the address that a rule about tags means: none yet. */
async function isOpen(server: Server): Promise<boolean> {
  const question = {
    type: 'policy-explain',
    tailnet: 'default',
    source: '100.64.0.1',
    destination: '100.64.0.2',
  } as const;
  return (await command<AdminResults['policy-explain']>(server, { ...question, port: 1 })).isAllowed;
}

/** Changes a policy in the database of a server that does not run. */
function edit(folder: string, id: 'current' | 'good', text: string | undefined): void {
  const database = new Database(join(folder, 'data', 'coordinator.db'));
  const where = "kind = 'policy' AND tailnet = 'default' AND id = ?";
  const row = database.prepare(`SELECT value FROM records WHERE ${where}`).get(id) as { value: string };
  const value = JSON.stringify({ ...JSON.parse(row.value), text });
  if (text === undefined) database.prepare<unknown[]>(`DELETE FROM records WHERE ${where}`).run(id);
  else database.prepare<unknown[]>(`UPDATE records SET value = ? WHERE ${where}`).run(value, id);
  database.close();
}

/** The metrics as a text, over HTTP with a token. */
async function metrics(server: Server): Promise<string> {
  const { token } = await command<AdminResults['token-create']>(server, { type: 'token-create', tailnet: '' });
  const { status, text } = await ask(server.address.port, '/metrics', { token });
  assert.is(status, 200);
  return text;
}

test('a policy is there again after a restart, byte for byte, and in force', async () => {
  const folder = newFolder();
  const first = await start(folder);
  assert.is((await get(first.server)).inForce, 'allow-all');
  assert.ok(await isOpen(first.server));
  assert.equal((await set(first.server, GOOD)).tests, { passed: 2, failed: 0, lines: [] });
  await first.stop();
  const second = await start(folder);
  const view = await get(second.server);
  assert.equal([view.text, view.version, view.inForce, view.alarm], [GOOD, 1, 'current', undefined]);
  assert.not(await isOpen(second.server));
  assert.is(second.server.status().coordinator.policyAlarms, 0);
  await second.stop();
});

test('restarted with a broken policy in its database it keeps the last good one, and says so everywhere', async () => {
  const cases = [
    [BROKEN, /version 2\) cannot be read: version 2, the last whose tests passed, is in force/, /^2:\d+: "tag:nope"/],
    ['{', /cannot be read/, /^1:\d+: /],
    [FAILING, /fails its tests: version 2, the last/, /^line 4: tag:web to tag:db:5432 should be accepted/],
  ] as const;
  for (const [text, message, line] of cases) {
    const folder = newFolder();
    const first = await start(folder);
    await set(first.server, OTHER);
    await set(first.server, GOOD);
    await first.stop();
    edit(folder, 'current', text);
    const { server, lines, stop } = await start(folder);
    const view = await get(server);
    assert.equal([view.inForce, view.text, view.version], ['good', text, 2]);
    assert.match(view.alarm!.message, message);
    assert.match(view.alarm!.failing[0]!, line);
    assert.not(await isOpen(server), 'what the good one denies is denied');
    assert.ok(
      lines.some(log => log.startsWith('warn ') && log.includes(view.alarm!.message)),
      lines.join('\n'),
    );
    assert.is(server.status().coordinator.policyAlarms, 1);
    const text2 = await metrics(server);
    assert.match(text2, /^motenet_policy_alarm\{tailnet="default"\} 1$/m);
    assert.match(text2, /^motenet_policy_alarms 1$/m);
    const [tailnet] = await command<AdminResults['tailnet-list']>(server, { type: 'tailnet-list' });
    assert.is(tailnet!.policyAlarm, view.alarm!.message);
    // The way out: a policy that passes ends the alarm.
    assert.is((await set(server, GOOD)).version, 3);
    assert.equal([(await get(server)).inForce, (await get(server)).alarm], ['current', undefined]);
    assert.match(await metrics(server), /^motenet_policy_alarm\{tailnet="default"\} 0$/m);
    await stop();
  }
});

test('where the last good one is broken or gone as well, nobody may do anything', async () => {
  for (const good of [BROKEN, undefined]) {
    const folder = newFolder();
    const first = await start(folder);
    await set(first.server, '{}');
    assert.ok(await isOpen(first.server));
    await first.stop();
    edit(folder, 'current', BROKEN);
    edit(folder, 'good', good);
    const { server, stop } = await start(folder);
    const { inForce, alarm } = await get(server);
    assert.is(inForce, 'deny-all');
    assert.match(alarm!.message, /nobody may reach anything/);
    assert.not(await isOpen(server));
    await stop();
  }
});

test('a policy of 1 MiB goes over HTTP, in escapes, and comes back as it was', async () => {
  const { server, stop } = await start(newFolder());
  const { token } = await command<AdminResults['token-create']>(server, { type: 'token-create', tailnet: '' });
  const text = `{"acls": []}\n//${'ü"\\'.repeat(262_000)}`;
  assert.ok(Buffer.byteLength(text) <= 1_048_576);
  const escaped = [...text].map(c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
  const body = `{"type":"policy-set","tailnet":"default","text":"${escaped}"}`;
  const path = '/api/v1/command';
  assert.is((await ask(server.address.port, path, { token, body })).status, 200);
  assert.is((await get(server)).text, text);
  const large = { type: 'policy-set', tailnet: 'default', text: ' '.repeat(1_048_577) };
  const refused = await ask(server.address.port, path, { token, body: large });
  assert.equal([refused.status, (await get(server)).version], [400, 1]);
  await stop();
});

/** A folder with a policy file, and what says that it is one. */
function policyFile(text: string | Uint8Array): { path: string; policies: readonly PolicyFile[] } {
  const path = join(newFolder(), 'policy.hujson');
  writeFileSync(path, text);
  return { path, policies: [{ tailnet: 'default', path }] };
}

test('a policy file is in force before anybody is answered, and is set again only when it differs', async () => {
  const folder = newFolder();
  const { path, policies } = policyFile(`\ufeff${GOOD}`);
  const first = await start(folder, policies);
  assert.equal((await get(first.server)).setBy, 'policy-file');
  assert.ok(first.lines.findIndex(line => line.includes('in force as version 1')) === 0, first.lines.join('\n'));
  assert.match(first.lines[0]!, /^info the policy file .* is in force as version 1: its 2 test lines pass$/);
  await first.server.readPolicies();
  assert.match(first.lines.at(-1)!, /^info the policy file .* is in force as version 1, as it was$/);
  await first.stop();
  const second = await start(folder, policies);
  assert.is((await get(second.server)).version, 1);
  writeFileSync(path, OTHER);
  const [status] = await second.server.readPolicies();
  assert.equal([status!.isInForce, status!.version, status!.problem], [true, 2, undefined]);
  assert.equal([(await get(second.server)).text, (await get(second.server)).version], [OTHER, 2]);
  writeFileSync(path, '{}');
  await second.server.readPolicies();
  assert.match(second.lines.at(-1)!, /in force as version 3: it has no tests$/);
  await second.stop();
});

test('a policy file that is refused leaves the last good one in force, and that is said everywhere', async () => {
  const folder = newFolder();
  const { path, policies } = policyFile(GOOD);
  await (await start(folder, policies)).stop();
  const bad: readonly [string | Uint8Array | undefined, RegExp, readonly RegExp[]][] = [
    [FAILING, /^access tests would fail$/, [/^4: tag:web to tag:db:5432 should be accepted/]],
    [BROKEN, /^the policy cannot be read$/, [/^2:\d+: "tag:nope" is not declared/]],
    [new Uint8Array([0x7b, 0xff, 0x7d]), /^it is not text in UTF-8$/, []],
    [' '.repeat(1_048_577), /^it has more than 1048576 bytes$/, []],
    [undefined, /^there is no such file$/, []],
  ];
  for (const [text, problem, details] of bad) {
    if (text === undefined) rmSync(path);
    else writeFileSync(path, text);
    const { server, lines, stop } = await start(folder, policies);
    const [status] = server.status().policyFiles;
    assert.equal([status!.isInForce, status!.version, status!.path], [false, 1, path]);
    assert.match(status!.problem!, problem);
    assert.is((status!.details ?? []).length, details.length);
    details.forEach((detail, i) => assert.match(status!.details![i]!, detail));
    assert.ok(
      lines.some(line =>
        line.startsWith(`warn the policy file ${path} is not in force: ${status!.problem}; version 1 stays`),
      ),
      lines.join('\n'),
    );
    for (const detail of status!.details ?? []) assert.ok(lines.includes(`warn ${path}:${detail}`));
    assert.equal([(await get(server)).text, (await get(server)).inForce], [GOOD, 'current']);
    assert.match(await metrics(server), /^motenet_policy_file_in_force\{tailnet="default",file="[^"]+"\} 0$/m);
    writeFileSync(path, GOOD);
    assert.is((await server.readPolicies())[0]!.isInForce, true);
    assert.match(await metrics(server), /^motenet_policy_file_in_force\{tailnet="default",file="[^"]+"\} 1$/m);
    await stop();
  }
});

test('without a policy that could stay in force a server does not start with a file that is refused', async () => {
  const cases: readonly [string, string, RegExp][] = [
    [
      'default',
      BROKEN,
      /: the policy cannot be read; the tailnet default has no policy that could stay in force: mend the file, or start without it$/,
    ],
    ['default', FAILING, /: access tests would fail; the tailnet default has no policy/],
    ['lab', GOOD, /: there is no tailnet lab; the tailnet lab has no policy/],
  ];
  for (const [tailnet, text, expected] of cases) {
    const folder = newFolder();
    mkdirSync(join(folder, 'data'));
    const { path } = policyFile(text);
    let error: unknown;
    await start(folder, [{ tailnet, path }]).catch(caught => {
      error = caught;
    });
    assert.instance(error, PolicyFileError);
    assert.match((error as Error).message, expected);
    const again = await start(folder); // the lock of the folder is let go
    assert.is((await get(again.server)).version, 0);
    await again.stop();
  }
});

test('files are read one after the other, each time as it was asked for', async () => {
  const folder = newFolder();
  const { path, policies } = policyFile(GOOD);
  const { server, stop } = await start(folder, policies);
  writeFileSync(path, OTHER);
  const all = await Promise.all([server.readPolicies(), server.readPolicies(), server.readPolicies()]);
  assert.equal(
    all.map(([status]) => status!.version),
    [2, 2, 2],
  );
  const { token } = await command<AdminResults['token-create']>(server, { type: 'token-create', tailnet: '' });
  const rows = (await ask(server.address.port, '/api/v1/audit', { token })).json as AuditRow[];
  const sets = rows.filter(({ action }) => action === 'policy-set');
  assert.equal(
    sets.map(({ actor, details }) => [actor, details['version']]),
    [
      ['policy-file', 2],
      ['policy-file', 1],
    ],
  );
  await stop();
});

test.after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

test.run();
