/** Policies from the command line: a real server with devices on real sockets, then its data without a server. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminResults } from '../../lib/coordinator/commands.ts';
import type { AdminEnvironment } from '../../targets/cli/admin.ts';
import { runServerDoctor, runServerStatus, type ServerFindings } from '../../targets/cli/server-checks.ts';
import { loadServer } from '../../targets/cli/server-module.ts';
import { command, makeFolder, startTestServer, TestDevice, type TestServer } from '../server/support.ts';
import { type Ran, runLine } from './admin-run.ts';

const test = suite('cli policy server');

const folder = makeFolder();
const { TMPDIR } = process.env;
const data = join(folder, 'data');
const file = join(folder, 'policy.hujson');
const devices: TestDevice[] = [];
let server: TestServer;

const ACL = { action: 'accept', src: ['ann@example.com'], dst: ['tag:web:443'] };
const GUARD = [{ src: 'ann@example.com', accept: ['tag:web:443'], deny: ['tag:db:22'] }];

/** A policy with these rules and tests. */
function policy(acls: readonly object[], tests?: readonly object[]): string {
  const tagOwners = { 'tag:web': [], 'tag:db': [] };
  return JSON.stringify({ tagOwners, acls, ...(tests === undefined ? {} : { tests }) }, null, 1);
}

/** Runs a command line on the data folder. */
function run(line: string, more: Partial<AdminEnvironment> = {}): Promise<Ran> {
  return runLine([...line.split(' '), '--data', data], more);
}

/** Writes the policy file and runs a command line with it. */
function withFile(line: string, text: string): Promise<Ran> {
  writeFileSync(file, text);
  return run(`${line} ${file}`);
}

/** A device that has joined. */
async function joined(name: string, key: object): Promise<TestDevice> {
  const made = await command<AdminResults['key-create']>(server.server, {
    type: 'key-create',
    tailnet: 'default',
    ...key,
  });
  const device = new TestDevice();
  devices.push(device);
  await device.connect(server.server.url);
  const Hostinfo = { Hostname: name, OS: 'linux', RoutableIPs: name === 'db' ? ['10.1.0.0/16'] : [] };
  await device.register(made.key!, { Hostinfo });
  device.openMap({ Hostinfo });
  return device;
}

test.before(async () => {
  process.env['TMPDIR'] = folder; // for what edit leaves behind
  server = await startTestServer({}, folder);
  await command(server.server, { type: 'user-create', tailnet: 'default', loginName: 'ann@example.com' });
  await command(server.server, { type: 'user-create', tailnet: 'default', loginName: 'bob' });
  await joined('laptop', { user: 'ann@example.com' });
  await joined('web', { user: 'bob', tags: ['tag:web'] });
  await joined('db', { user: 'bob', tags: ['tag:db'] });
});

test('the first policy takes access from those that it does not name, and set lists them', async () => {
  const none = await run('policy get');
  assert.match(none.err[0]!, /^the tailnet default has no policy: every device may reach every other/);
  const text = policy([ACL], GUARD);
  const diff = await withFile('policy diff', text);
  assert.is(diff.out[0], 'nothing was changed; this would be version 1');
  assert.is((await run('policy get')).raw, '');
  const { out, code } = await withFile('policy set', text);
  assert.is(code, 0);
  assert.equal(out.slice(0, 4), [
    'version 1 is in force',
    'tests: all 2 lines passed',
    'nobody gained access',
    '6 pairs lost access:',
  ]);
  assert.is(out.length, 10, out.join('\n'));
  assert.ok(
    out.some(line =>
      /^ {2}db +-> {2}laptop +\* +until now: without "acls" and "grants" everything is allowed$/.test(line),
    ),
  );
  assert.is((await run('policy get')).raw, text);
  const json = JSON.parse((await run(`policy set ${file} --json`)).out[0]!) as AdminResults['policy-set'];
  assert.equal([json.version, json.isChanged, json.diff.lostPairs], [1, false, 0]);
});

test('a policy whose tests fail is refused with its lines, and nothing changes', async () => {
  const { err, out, code, message } = await withFile('policy set', policy([], GUARD));
  assert.equal([code, out], [1, []]);
  assert.match(err[0]!, new RegExp(`^${file}:\\d+: ann@example.com to tag:web:443 should be accepted, but no rule`));
  assert.is(message, '1 access test would fail: nothing was changed');
  const open = await withFile('policy set', policy([{ action: 'accept', src: ['*'], dst: ['*:*'] }], GUARD));
  assert.match(open.err[0]!, /should be denied, but acls\[0\] in line \d+ allows/);
  const broken = await withFile('policy set', '{"acls": [{}]');
  assert.equal([broken.code, broken.message], [1, 'the policy is not valid (1 problem): nothing was changed']);
  assert.match(broken.err[0]!, new RegExp(`^${file}:1:\\d+: `));
  assert.is(JSON.parse((await run('policy get --json')).out[0]!).version, 1);
});

test('a version that is not there any more is a conflict', async () => {
  const text = policy([ACL, { ...ACL, dst: ['tag:web:80'] }], GUARD);
  const { code, message } = await withFile('policy set --if-version 7', text);
  assert.equal([code, message], [1, 'the policy has changed: version 1 is in place by now']);
  assert.is((await withFile('policy set --if-version 1', text)).out[0], 'version 2 is in force');
});

test('explain answers for names and addresses of both families, TCP, UDP and ICMP', async () => {
  const list = JSON.parse((await run('devices list --json')).out[0]!) as AdminResults['device-list'];
  const [v4, v6] = list.find(({ name }) => name === 'web')!.addresses;
  const cases: readonly [string, number, RegExp][] = [
    ['laptop web:443', 0, /^allowed: acls\[0\] in line \d+$/],
    [`laptop ${v4}:443`, 0, /^allowed/],
    [`laptop [${v6}]:443`, 0, /^allowed/],
    ['laptop web:443 --proto udp', 0, /^allowed/],
    ['laptop web --proto icmp', 0, /^allowed: acls\[0\]/],
    [`laptop ${v6} --proto icmp`, 0, /^allowed: acls\[0\]/],
    ['laptop web --proto ipv6-icmp', 1, /^not allowed: only in part/],
    ['laptop web --proto 47', 1, /^not allowed: no rule allows it$/],
    ['laptop web:22', 1, /^not allowed: no rule allows it$/],
    ['web laptop:443', 1, /^not allowed/],
    ['laptop db --proto icmp', 1, /^not allowed: no rule allows it$/],
  ];
  for (const [words, code, line] of cases) {
    const ran = await run(`policy explain ${words}`);
    assert.equal([ran.code, ran.err], [code, []], words);
    assert.match(ran.out[0]!, line, words);
  }
  const nobody = await run('policy explain nobody web:22');
  assert.equal([nobody.code, nobody.message], [1, 'there is no device nobody']);
});

test('tags that no test stands against are changed, undeclared ones are a mistake', async () => {
  await withFile('policy set', policy([ACL, { ...ACL, dst: ['tag:db:5432'] }], GUARD));
  assert.match((await run('devices tag web web,db')).out[0]!, /^web \(100\.[0-9.]+\) has tag:web tag:db now$/);
  const owner = await run('devices tag laptop --none');
  assert.match(owner.out[0]!, /^laptop \(100\.[0-9.]+\) has no tags now and belongs to ann@example\.com$/);
  const bad = await run('devices tag laptop nothing');
  assert.equal([bad.code, bad.message], [2, 'the policy does not declare tag:nothing: add it to "tagOwners"']);
});

test('a new name of a user that would open what a test denies is refused', async () => {
  await run('devices tag web web');
  const list = JSON.parse((await run('devices list --json')).out[0]!) as AdminResults['device-list'];
  const laptop = list.find(({ name }) => name === 'laptop')!.addresses[0];
  const rules = [ACL, { ...ACL, src: ['eve@example.com'], dst: ['tag:web:22'] }];
  assert.is((await withFile('policy set', policy(rules, [{ src: laptop, deny: ['tag:web:22'] }]))).code, 0);
  const refused = await run('users rename ann@example.com eve@example.com');
  assert.is(refused.code, 1);
  assert.match(refused.message!, /^access tests would fail: line \d+: .* but acls\[1\] in line \d+ allows/);
  assert.equal((await run('users rename bob bobby')).out, ['renamed the user bob to bobby']);
});

test('a tag that would open what a test denies is refused, with exit code 1 and the reason', async () => {
  await run('devices tag web web');
  await withFile('policy set', policy([ACL, { ...ACL, dst: ['tag:web:22'] }], GUARD));
  const ran = await run('devices tag db db,web');
  assert.is(ran.code, 1);
  assert.match(
    ran.message!,
    /^access tests would fail: line \d+: .* should be denied, but acls\[1\] in line \d+ allows.*; nothing was changed: .*`motenet policy edit`\)$/,
  );
  assert.equal(ran.err, []); // what the message has is not said twice
  const json = JSON.parse((await run('devices tag db db,web --json')).out[0]!);
  assert.equal([json.error.code, json.error.details.length, json.error.exitCode], ['tests-failed', 1, 1]);
  const [view] = (JSON.parse((await run('devices list --json')).out[0]!) as AdminResults['device-list']).filter(
    ({ name }) => name === 'db',
  );
  assert.equal(view!.tags, ['tag:db']);
});

test('routes that a device offers wait until they are approved, and the list says so', async () => {
  assert.ok((await run('devices list')).out.some(line => line.endsWith('10.1.0.0/16 (needs approval)')));
  const ran = await run('devices routes db --approve 10.1.0.0/16,10.2.0.0/16');
  assert.match(ran.out[0]!, /^db \(.*\) serves 10\.1\.0\.0\/16 now; approved, but not offered by it: 10\.2\.0\.0\/16$/);
  assert.ok((await run('devices list')).out.some(line => line.endsWith('10.1.0.0/16, 10.2.0.0/16 (not offered)')));
  const list = join(folder, 'devices.json');
  writeFileSync(list, (await run('devices list --json')).out[0]!);
  const routed = policy([{ ...ACL, src: ['*'] }], [{ src: '10.1.2.3', deny: ['tag:web:443'] }]);
  writeFileSync(file, routed);
  const checked = await runLine(['policy', 'check', file, '--devices', list]);
  assert.equal([checked.code, checked.out.length], [1, 1], 'a list out of a real server is judged with its routes');
  assert.match(
    (await run('devices routes db --none')).out[0]!,
    /^db \(.*\) serves no routes now; offered, but not approved/,
  );
});

test('edit finds out that somebody else was faster, and the text stays', async () => {
  const mine = policy([ACL], GUARD);
  let path = '';
  const edit = async (opened: string) => {
    path = opened;
    writeFileSync(opened, mine);
    assert.is((await withFile('policy set', policy([ACL, ACL], GUARD))).code, 0);
    return 0;
  };
  const ask = async () => undefined;
  const { code, message } = await run('policy edit', { terminal: { edit, ask } });
  assert.is(code, 1);
  assert.match(
    message!,
    /^the policy has changed: version \d+ is in place by now; nothing was changed, and your text is in /,
  );
  assert.is(readFileSync(path, 'utf8'), mine);
  assert.is((await run(`policy set ${path}`)).code, 0, 'the next step that was told works');
  const again = async (opened: string) => {
    path = opened;
    writeFileSync(opened, `// once more\n${mine}`);
    return 0;
  };
  assert.equal((await run('policy edit', { terminal: { edit: again, ask } })).code, 0);
  assert.not(existsSync(dirname(path)));
  assert.is((await run('policy get')).raw, `// once more\n${mine}`);
});

/** `motenet status --server` or `doctor --server` here. */
async function question(ask: typeof runServerStatus, isJson = false) {
  const out: string[] = [];
  const environment = { out: (line: string) => void out.push(line), unixMs: Date.now, load: loadServer };
  const error = await ask({ place: { dataDir: data }, isJson }, environment).then(
    () => undefined,
    (caught: unknown) => caught as Error,
  );
  return { out, message: error?.message };
}

test('status and doctor of the server name the tailnets, and find nothing wrong', async () => {
  const { out } = await question(runServerStatus);
  assert.match(out[0]!, /^http:\/\/127\.0\.0\.1:\d+, for /);
  assert.ok(out.includes('3 devices connected to it'), out.join('\n'));
  assert.match(out.at(-1)!, /^default +3 +3 +version \d+$/);
  const found = JSON.parse((await question(runServerStatus, true)).out[0]!) as ServerFindings;
  assert.equal([found.tailnets[0]!.id, found.alarmed], ['default', []]);
  const doctor = await question(runServerDoctor);
  assert.is(doctor.message, undefined);
  assert.ok(doctor.out.some(line => /^ok +policy +set in 1 of 1 tailnet, without an alarm$/.test(line)));
});

test('without a server its data are asked, and a policy is judged all the same', async () => {
  const pairs = [{ src: '100.64.0.9', deny: ['tag:web:443'] }];
  assert.is((await withFile('policy set', policy([{ ...ACL, src: ['autogroup:member'] }], pairs))).code, 0);
  for (const device of devices) device.close();
  await server.server.close();
  const offline = { load: loadServer };
  const stopped = await question(runServerDoctor);
  assert.match(stopped.out[0]!, /^problem +server +no coordinator runs with these data/);
  const got = await run('policy get', offline);
  assert.is(got.raw, policy([{ ...ACL, src: ['autogroup:member'] }], pairs));
  writeFileSync(file, policy([], GUARD));
  assert.is((await run(`policy set ${file}`, offline)).message, '1 access test would fail: nothing was changed');
  writeFileSync(file, policy([ACL], GUARD));
  assert.match((await run(`policy set ${file}`, offline)).out[0]!, /^version \d+ is in force$/);
});

test.after(() => {
  if (TMPDIR === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = TMPDIR;
  for (const device of devices) device.close();
  rmSync(folder, { recursive: true, force: true });
});

test.run();
