/** Administration against a server that is none but the interface: over TCP, over a socket, and without any. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminResults } from '../../lib/coordinator/commands.ts';
import { NetError } from '../../lib/base/errors.ts';
import { openAdmin } from '../../targets/cli/admin-client.ts';
import { RunError, UsageError } from '../../targets/cli/errors.ts';
import type { ServerModule } from '../../targets/cli/server-module.ts';
import { FakeContext, serveAdmin, TOKENS } from '../server/admin-support.ts';
import { runLine } from './admin-run.ts';
import { Folder } from './command.ts';

const test = suite('cli admin client');

const folder = new Folder();
const NOW = Date.UTC(2026, 10, 22, 15, 0);
const DAY = 86_400_000;

/** Runs a command line in this process. */
function run(line: string, module?: Partial<ServerModule>, variables = {}) {
  const load = async () => {
    if (module === undefined) throw new RunError('no package');
    return module as ServerModule;
  };
  return runLine(line.split(' '), { now: () => NOW, load }, variables);
}

/** A context with an answer, behind a port. */
async function withServer<T>(value: unknown, use: (at: string, context: FakeContext) => Promise<T>): Promise<T> {
  const context = new FakeContext();
  context.outcome = { isOk: true, value };
  const server = await serveAdmin(context);
  try {
    return await use(`--admin http://127.0.0.1:${server.port} --token ${TOKENS.server}`, context);
  } finally {
    await server.close();
  }
}

const KEY: AdminResults['key-create'] = {
  ...{ id: '0123456789ab', key: `mote-auth-0123456789ab-${'k'.repeat(43)}`, user: 'owner', description: '' },
  ...{ createdMs: NOW, expiresMs: NOW + 3_600_000, isReusable: false, isEphemeral: false, isPreapproved: false },
  ...{ tags: [], uses: 0, lastUsedMs: 0, state: 'valid' },
};
const DEVICE: AdminResults['device-list'][number] = {
  ...{ id: 77, name: 'laptop', fullName: 'laptop.default.mote.internal', addresses: ['100.64.1.2', 'fd7a::2'] },
  ...{
    user: 'ann',
    tags: [],
    hostname: 'Laptop',
    os: 'linux',
    version: '1.2',
    nodeKey: 'nodekey:0',
    machineKey: 'mkey:0',
  },
  ...{ createdMs: NOW - 9 * DAY, keyExpiryMs: NOW + 90 * DAY, lastSeenMs: NOW - 2 * DAY, isOnline: false },
  ...{ isEphemeral: false, routes: [], state: 'approved' },
};

const ROUTES: AdminResults['device-list'][number]['routes'] = [
  { route: '10.1.0.0/16', isApproved: true, isAdvertised: true },
  { route: '10.2.0.0/16', isApproved: true, isAdvertised: false },
  { route: '::/0', isApproved: false, isAdvertised: true },
];

test('keys create prints the key alone on standard output, and what it is for beside it', async () => {
  await withServer(KEY, async (at, { commands }) => {
    const { out, err, error } = await run(`keys create ${at}`);
    assert.equal([out, error], [[KEY.key], undefined]);
    const text =
      'key 0123456789ab: for one device of owner, until 2026-11-22 16:00 UTC (in 1 hour); it is not shown again';
    assert.equal(err, [text]);
    assert.equal(commands[0]!.command, { type: 'key-create', tailnet: 'default' });
    const json = await run(`keys create --json ${at}`);
    assert.equal([json.out.length, json.err], [1, []]);
    assert.equal(JSON.parse(json.out[0]!), KEY);
  });
  const more = { ...KEY, isReusable: true, isEphemeral: true, isPreapproved: true, tags: ['tag:a'], expiresMs: 0 };
  await withServer(more, async at => {
    const { err } = await run(`keys create ${at}`);
    const what = 'for any number of ephemeral devices with tag:a, without approval';
    assert.equal(err, [`key 0123456789ab: ${what}, for ever; it is not shown again`]);
  });
});

test('devices are a table by name, with relative times', async () => {
  const devices = [
    { ...DEVICE, name: 'web', tags: ['tag:server', 'tag:web'], isOnline: true, keyExpiryMs: 0, isEphemeral: true },
    DEVICE,
    { ...DEVICE, id: 0, name: '', hostname: 'new', state: 'login', pendingId: 'abc', addresses: [], lastSeenMs: 0 },
  ];
  await withServer(devices, async at => {
    const { out } = await run(`devices list ${at}`);
    assert.equal(out, [
      'ID   NAME    ADDRESS     OWNER               OS     VERSION  STATE                SEEN        KEY EXPIRES',
      'abc  new                 ann                 linux  1.2      login waits',
      '77   laptop  100.64.1.2  ann                 linux  1.2      approved             2 days ago  in 90 days',
      '77   web     100.64.1.2  tag:server tag:web  linux  1.2      approved, ephemeral  online      never',
    ]);
  });
});

test('a device that serves routes, or would, has them in its row', async () => {
  await withServer([{ ...DEVICE, routes: ROUTES }], async at => {
    const { out } = await run(`devices list ${at}`);
    assert.match(out[0]!, /KEY EXPIRES {2}ROUTES$/);
    assert.match(out[1]!, /in 90 days {3}10\.1\.0\.0\/16, 10\.2\.0\.0\/16 \(not offered\), ::\/0 \(needs approval\)$/);
  });
});

test('every other answer has its lines', async () => {
  const tailnet = {
    ...{ id: 'lab', suffix: 'lab.mote.internal', createdMs: NOW - DAY, requiresApproval: true, keyLifeMs: 180 * DAY },
    ...{ devices: 3, users: 1, policyVersion: 2 },
  };
  const user = { id: 1, loginName: 'ann', displayName: 'Ann', createdMs: NOW - DAY, devices: 2 };
  const token = { id: 'ba9876543210', tailnet: '', description: 'ci', createdMs: NOW, expiresMs: NOW + DAY };
  const cases: readonly [string, unknown, readonly string[]][] = [
    [
      'keys list',
      [{ ...KEY, lastUsedMs: NOW - DAY, uses: 1, state: 'used', description: 'laptop' }],
      [
        'ID            STATE  USER   KIND  USES  EXPIRES    CREATED  LAST USED  DESCRIPTION',
        '0123456789ab  used   owner  once  1     in 1 hour  now      1 day ago  laptop',
      ],
    ],
    ['keys revoke 0123456789ab', KEY, ['revoked the key 0123456789ab']],
    ['devices approve laptop', DEVICE, ['approved laptop (100.64.1.2)']],
    ['devices rename 77 laptop', DEVICE, ['renamed laptop (100.64.1.2)']],
    ['devices tag laptop web', { ...DEVICE, tags: ['tag:web'] }, ['laptop (100.64.1.2) has tag:web now']],
    ['devices tag laptop --none', DEVICE, ['laptop (100.64.1.2) has no tags now and belongs to ann']],
    [
      'devices routes laptop --approve 10.1.0.0/16,10.2.0.0/16',
      { ...DEVICE, routes: ROUTES },
      [
        'laptop (100.64.1.2) serves 10.1.0.0/16 now; approved, but not offered by it: 10.2.0.0/16; offered, but not approved: ::/0',
      ],
    ],
    ['devices routes laptop --none', DEVICE, ['laptop (100.64.1.2) serves no routes now']],
    ['users rename bob ann', user, ['renamed the user bob to ann']],
    ['devices expire laptop', DEVICE, ['expired the key of laptop (100.64.1.2): it must log in again']],
    ['devices remove laptop', {}, ['removed laptop']],
    [
      'tailnets list',
      [tailnet, { ...tailnet, policyAlarm: 'x' }, { ...tailnet, policyVersion: 0 }],
      [
        'NAME  SUFFIX             DEVICES  USERS  APPROVAL  KEY LIFE  POLICY            CREATED',
        'lab   lab.mote.internal  3        1      on        180 days  version 2         1 day ago',
        'lab   lab.mote.internal  3        1      on        180 days  version 2, ALARM  1 day ago',
        'lab   lab.mote.internal  3        1      on        180 days  none              1 day ago',
      ],
    ],
    [
      'tailnets create lab',
      tailnet,
      ['made the tailnet lab (lab.mote.internal): devices need an approval, their keys last 180 days'],
    ],
    [
      'tailnets update lab --approval on',
      { ...tailnet, keyLifeMs: 0 },
      ['changed the tailnet lab (lab.mote.internal): devices need an approval, their keys never expire'],
    ],
    ['tailnets remove lab', {}, ['removed the tailnet lab']],
    ['users list', [user], ['LOGIN  NAME  DEVICES  CREATED', 'ann    Ann   2        1 day ago']],
    ['users create ann', user, ['made the user ann']],
    ['users remove ann', {}, ['removed the user ann']],
    ['tokens create --server', { ...token, token: 'T' }, ['T']],
    [
      'tokens list',
      [token],
      [
        'ID            FOR               EXPIRES   CREATED  DESCRIPTION',
        'ba9876543210  the whole server  in 1 day  now      ci',
      ],
    ],
    ['tokens revoke ba9876543210', {}, ['revoked the token ba9876543210']],
    [
      'audit',
      undefined,
      [
        'SEQ  TIME                  TAILNET  WHO    WHAT        ON                DETAILS',
        '7    1970-01-01 00:00 UTC  lab      admin  key-create  key:0123456789ab  uses=0',
      ],
    ],
  ];
  for (const [line, value, lines] of cases)
    await withServer(value, async at => assert.equal((await run(`${line} ${at}`)).out, lines, line));
  for (const line of ['keys', 'devices', 'tailnets', 'users', 'tokens'])
    await withServer([], async at => {
      const { out, err } = await run(`${line} list ${at}`);
      assert.equal([out, err.length], [[], 1]);
      assert.equal((await run(`${line} list --json ${at}`)).out, ['[]']);
    });
});

test('what a device calls itself cannot move the cursor', async () => {
  await withServer([{ ...DEVICE, name: '', hostname: '\u001b[2Jx\r\ny', os: '\u009b31m' }], async at => {
    const { out } = await run(`devices list ${at}`);
    assert.is(out.length, 2);
    for (const line of out) assert.not.match(line, /\p{Cc}/u);
  });
});

test('a refusal is one line, exit code by its kind, and JSON for programs', async () => {
  for (const [code, type] of [
    ['not-found', RunError],
    ['conflict', RunError],
    ['forbidden', RunError],
    ['invalid', UsageError],
  ] as const) {
    const context = new FakeContext();
    context.outcome = { isOk: false, code, message: 'no such\u001b[2J thing' };
    const server = await serveAdmin(context);
    const at = `--admin http://127.0.0.1:${server.port} --token ${TOKENS.server}`;
    const { out, error, message } = await run(`devices expire x --json ${at}`);
    assert.instance(error, type);
    assert.is(message, 'no such?[2J thing');
    const exitCode = code === 'invalid' ? 2 : 1;
    assert.equal(JSON.parse(out[0]!), { error: { code, message: 'no such?[2J thing', exitCode } });
    assert.equal((await run(`devices expire x ${at}`)).out, []);
    await server.close();
  }
});

test('a wrong token is said to be one, and not shown', async () => {
  const server = await serveAdmin(new FakeContext());
  const secret = `mote-api-0123456789ab-${'S'.repeat(43)}`;
  const { out, message } = await run(`keys list --json --admin http://127.0.0.1:${server.port} --token ${secret}`);
  assert.is(message, 'the token is not valid: it is wrong, expired or revoked');
  assert.is(JSON.parse(out[0]!).error.code, 'unauthorized');
  assert.not(JSON.stringify([out, message]).includes('SSSS'));
  await server.close();
});

test('a token goes nowhere but to the place that was given', async () => {
  const seen: (string | undefined)[] = [];
  const elsewhere = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end('[]');
  });
  await new Promise<void>(resolve => elsewhere.listen(0, '127.0.0.1', resolve));
  const location = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/api/v1/command`;
  const message = await answering(
    response => response.writeHead(307, { location }).end(),
    async port => (await run(`keys list --admin http://127.0.0.1:${port} --token ${TOKENS.server}`)).message,
  );
  assert.match(message!, /^http:\/\/127\.0\.0\.1:\d+ answered 307, which no coordinator does: check --admin$/);
  assert.equal(seen, []);
  elsewhere.close();
});

test('a place that is no coordinator is named with the next step', async () => {
  const at = (port: number, protocol = 'http') => `keys list --admin ${protocol}://127.0.0.1:${port} --token t`;
  const answers: readonly [(response: ServerResponse) => void, RegExp][] = [
    [response => response.end('<html>'), /did not answer with JSON: is it a coordinator\?$/],
    [response => response.writeHead(404).end('no'), /answered 404, which no coordinator does: check --admin$/],
    [response => response.writeHead(500).end('{"error":null}'), /answered 500, which no coordinator does/],
    [response => response.writeHead(200, { 'content-length': 9 }).end('[]').destroy(), /broke off/],
  ];
  for (const [answer, expected] of answers)
    await answering(answer, async port => assert.match((await run(at(port))).message!, expected));
  await answering(
    response => response.end(),
    async port => assert.match((await run(at(port, 'https'))).message!, /does not speak TLS: try --admin http:\/\//),
  );
  const closed = await new Promise<number>(resolve => {
    const server = createTcpServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
  assert.match(
    (await run(at(closed))).message!,
    /^nothing listens at http:\/\/127\.0\.0\.1:\d+: start the coordinator/,
  );
  const { message } = await run('keys list --admin http://no-such-host.invalid --token t');
  assert.match(message!, /no-such-host\.invalid/);
});

test('a token over plain HTTP to another machine is warned of', async () => {
  const { err } = await run('keys list --admin http://no-such-host.invalid --token t');
  assert.match(
    err[0]!,
    /^warning: http:\/\/no-such-host\.invalid is not https: whoever is on the way can read the token$/,
  );
  await withServer([], async at => assert.not((await run(`keys list --json ${at}`)).err.some(l => /warning/.test(l))));
});

test('on the machine of the coordinator its socket is asked, without a token', async () => {
  const data = join(folder.path, 'running');
  mkdirSync(data);
  const context = new FakeContext(true);
  context.outcome = { isOk: true, value: [] };
  const server = await serveAdmin(context, join(data, 'admin.sock'));
  assert.is((await run(`keys list --data ${data}`)).error, undefined);
  assert.equal(context.commands[0]!.actor, { name: 'admin', tailnet: undefined });
  const path = join(folder.path, 'copy.db');
  const { out } = await run(`backup ${path} --data ${data} --json`);
  const bytes = Buffer.byteLength('SQLite format 3\0 and more');
  assert.equal(JSON.parse(out[0]!), { path, bytes });
  assert.is(readFileSync(path, 'latin1'), 'SQLite format 3\0 and more');
  assert.is(statSync(path).mode & 0o777, 0o600);
  const again = await run(`backup ${path} --data ${data}`);
  assert.instance(again.error, UsageError);
  assert.is(again.message, `there is already something at ${path}: give another name`);
  await server.close();
});

test('a backup that breaks off leaves no file', async () => {
  const path = join(folder.path, 'broken.db');
  const answer = (response: ServerResponse) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('half');
    setTimeout(() => response.destroy(), 20);
  };
  await answering(answer, async port => {
    const { message } = await run(`backup ${path} --admin http://127.0.0.1:${port} --token t`);
    assert.match(message!, /^cannot save the backup to /);
  });
  assert.is(existsSync(path), false);
  const { readdirSync } = await import('node:fs');
  assert.equal(
    readdirSync(folder.path).filter(name => name.includes('.part')),
    [],
  );
});

test('where no coordinator runs, its data is opened, and closed again also after a refusal', async () => {
  const data = join(folder.path, 'offline');
  mkdirSync(data);
  const none = await run(`keys list --data ${data}`, {});
  const hint = 'start one with `motenet serve`, or say where with --data or --admin';
  assert.is(none.message, `no coordinator has its data in ${data}: ${hint}`);
  writeFileSync(join(data, 'coordinator.db'), '');
  const context = new FakeContext(true);
  const opened: string[] = [];
  let closes = 0;
  const module = {
    openOffline: async (dir: string) => {
      opened.push(dir);
      return Object.assign(context, { close: async () => void closes++ });
    },
  };
  context.outcome = { isOk: true, value: [] };
  assert.is((await run(`keys list --data ${data}`, module)).error, undefined);
  context.outcome = { isOk: false, code: 'not-found', message: 'there is no tailnet "x"' };
  assert.is((await run(`keys list --tailnet x --data ${data}`, module)).message, 'there is no tailnet "x"');
  assert.is((await run(`audit --data ${data} --json`, module)).error, undefined);
  assert.equal([opened, closes], [[data, data, data], 3]);
  assert.is((await run(`keys list --data ${data}`)).message, 'no package');
});

test('a socket that a killed coordinator left behind is no obstacle', async () => {
  const data = join(folder.path, 'killed');
  mkdirSync(data);
  writeFileSync(join(data, 'coordinator.db'), '');
  writeFileSync(join(data, 'admin.sock'), '');
  const context = new FakeContext(true);
  context.outcome = { isOk: true, value: [] };
  const module = { openOffline: async () => Object.assign(context, { close: async () => undefined }) };
  assert.is((await run(`keys list --data ${data}`, module)).error, undefined);
  assert.is(context.commands.length, 1);
});

test('a data folder that somebody else holds is waited for, until it is free or its coordinator listens', async () => {
  const data = join(folder.path, 'held');
  mkdirSync(data);
  writeFileSync(join(data, 'coordinator.db'), '');
  const held = new NetError('ERR_STORE', 'in use', { cause: Object.assign(new Error('x'), { code: 'SQLITE_BUSY' }) });
  const context = new FakeContext(true);
  context.outcome = { isOk: true, value: [] };
  let tries = 0;
  const free = Object.assign(context, { close: async () => undefined });
  const openOffline = async () => {
    if (++tries < 3) throw held;
    return free;
  };
  assert.is((await run(`keys list --data ${data}`, { openOffline })).error, undefined);
  assert.equal([tries, context.commands.length], [3, 1]);
  // It was a coordinator that was starting.
  let server: Awaited<ReturnType<typeof serveAdmin>> | undefined;
  const starting = async () => {
    server ??= await serveAdmin(context, join(data, 'admin.sock'));
    throw held;
  };
  assert.is((await run(`keys list --data ${data}`, { openOffline: starting })).error, undefined);
  assert.is(context.commands.length, 2);
  await server!.close();
  const never = async () => {
    throw held;
  };
  const load = async () => ({ openOffline: never }) as unknown as ServerModule;
  const failure = await openAdmin({ dataDir: data }, load, 250).catch((error: Error) => error.message);
  assert.is(failure, 'in use');
  // Any other failure is told at once.
  let others = 0;
  const broken = async () => {
    others++;
    throw new NetError('ERR_STORE', 'damaged');
  };
  assert.is((await run(`keys list --data ${data}`, { openOffline: broken })).message, 'damaged');
  assert.is(others, 1);
});

async function answering<T>(answer: (response: ServerResponse) => void, use: (port: number) => Promise<T>): Promise<T> {
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    request.resume();
    answer(response);
  });
  server.on('connection', socket => sockets.add(socket));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise(resolve => server.close(resolve));
  }
}

test.after(() => folder.remove());

test.run();
