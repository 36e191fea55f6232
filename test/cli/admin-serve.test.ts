/** `motenet serve` without a server behind it: what is checked before, what is told, how it ends. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import { RunError, UsageError } from '../../targets/cli/errors.ts';
import type { Level } from '../../targets/cli/report.ts';
import { certificateWarnings, runServe } from '../../targets/cli/serve.ts';
import { parseServeArgs } from '../../targets/cli/serve-args.ts';
import { createServeReport, SERVE_EVENTS, type ServeEvents } from '../../targets/cli/serve-report.ts';
import type { ServerModule } from '../../targets/cli/server-module.ts';
import type { Server, ServerOptions } from '../../targets/server/types.ts';
import { Folder } from './command.ts';

const test = suite('cli serve');

const folder = new Folder();
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/test-only${name}.pem`, import.meta.url));

/** One of each event. */
const SAMPLES: { readonly [N in keyof ServeEvents]: readonly [ServeEvents[N], string | undefined] } = {
  start: [{ version: '1.2.3', dataDir: '/d' }, 'motenet 1.2.3 serves /d'],
  warning: [{ message: 'odd' }, 'warning: odd'],
  log: [{ level: 'warn', message: 'text', details: { port: 1, name: 'x' } }, 'warning: text (port=1, name=x)'],
  ready: [
    { url: 'http://10.0.0.1:8080', address: '0.0.0.0', port: 8080, stunPort: 3478, relayPort: 8443, dataDir: '/d' },
    'ready: http://10.0.0.1:8080, relay on TCP port 8443, STUN on UDP port 3478',
  ],
  next: [{ what: 'make a key', command: 'motenet keys create' }, '  make a key:              motenet keys create'],
  stopping: [{ reason: 'SIGINT' }, 'stopping: SIGINT'],
  stopped: [{ uptimeMs: 2400 }, 'stopped after 2 s'],
  error: [{ message: 'text', exitCode: 1 }, undefined],
};

/** Runs `motenet serve` with a server that only remembers its options. */
async function serve(
  line: string,
  how: {
    more?: Partial<Server>;
    fail?: Error;
    isJson?: boolean;
    level?: Level;
    reason?: string | Promise<string>;
  } = {},
) {
  const out: string[] = [];
  const err: string[] = [];
  let started: ServerOptions | undefined;
  let closes = 0;
  const startServer = async (options: ServerOptions) => {
    started = options;
    options.log('info', 'from the server\u001b[2J', { port: 1 });
    if (how.fail !== undefined) throw how.fail;
    const { host, port } = options.listen;
    const ports = { stunPort: 3478, relayPort: 8443 };
    const usual = { url: `http://10.1.2.3:${port}`, address: { host, port }, ...ports, failed: new Promise(() => {}) };
    return { ...usual, ...how.more, close: async () => void closes++ } as unknown as Server;
  };
  const report = createServeReport({
    ...{ isJson: how.isJson === true, level: how.level ?? 'info', now: () => 0 },
    ...{ out: (l: string) => out.push(l), err: (l: string) => err.push(l) },
  });
  let error: unknown;
  try {
    const options = parseServeArgs(line.split(' ').filter(Boolean), { XDG_DATA_HOME: '/data' });
    const load = async () => ({ startServer }) as unknown as ServerModule;
    await runServe(options, { version: '1.2.3', report, load, stopped: Promise.resolve(how.reason ?? 'SIGTERM') });
  } catch (caught) {
    error = caught;
  }
  return { out, err, started, closes, error, message: (error as Error | undefined)?.message };
}

test('without any flag it serves, and says what to do next', async () => {
  const { out, err, started, closes, error } = await serve('');
  assert.equal([error, closes], [undefined, 1]);
  const { log: _, ...options } = started!;
  const listen = { host: '0.0.0.0', port: 8080 };
  assert.equal(options, { dataDir: '/data/motenet', listen, stunPort: undefined, relayPort: undefined });
  assert.equal(out, ['ready: http://10.1.2.3:8080, relay on TCP port 8443, STUN on UDP port 3478']);
  assert.equal(err, [
    'motenet 1.2.3 serves /data/motenet',
    'from the server?[2J (port=1)',
    '  make a key to join with: motenet keys create',
    '  join with a mote:        motenet up --control http://10.1.2.3:8080 --authkey KEY',
    '  join with Tailscale:     tailscale up --login-server http://10.1.2.3:8080 --authkey KEY',
    '  see who has joined:      motenet devices list',
    'stopping: SIGTERM',
    'stopped after 0 s',
  ]);
});

test('the next steps name the data folder where it was told, as a shell takes it', async () => {
  const { err } = await serve("--data /d/it's&me --stun-port off", { more: { stunPort: undefined } });
  assert.ok(err.includes("  make a key to join with: motenet keys create --data '/d/it'\\''s&me'"), err.join('\n'));
});

test('a URL that others cannot reach is warned of, unless only this machine is meant', async () => {
  const more = { url: 'http://127.0.0.1:8080' };
  const text = 'warning: only this machine reaches http://127.0.0.1:8080: --url says how others reach it';
  assert.ok((await serve('', { more })).err.includes(text));
  assert.ok((await serve('--listen [::]:8080', { more })).err.includes(text));
  assert.not((await serve('--listen 127.0.0.1:8080', { more })).err.includes(text));
});

test('a store that fails ends it, with an error, in order', async () => {
  const more = { failed: Promise.resolve(new Error('no space left')) };
  const { error, message, closes } = await serve('', { more, reason: new Promise<string>(() => {}) });
  assert.instance(error, RunError);
  assert.is(message, 'the coordinator has stopped: no space left');
  assert.is(closes, 1);
});

test('certificate and key are read, and handed on', async () => {
  const line = `--tls-cert ${fixture('-signed.cert')} --tls-key ${fixture('.key')} --url https://web.test`;
  const { started, error, err } = await serve(line);
  assert.is(error, undefined);
  assert.match(started!.tls!.cert, /BEGIN CERTIFICATE/);
  assert.match(started!.tls!.key, /PRIVATE KEY/);
  assert.is(started!.url, 'https://web.test');
  assert.not(err.some(text => /warning/.test(text)));
});

test('a file that is not what it should be is a mistake, before anything is started', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const other = folder.write('other.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  const [cert, key] = [fixture('.cert'), fixture('.key')];
  const cases: readonly [string, string, string][] = [
    [`${folder.path}/no.pem`, key, `--tls-cert: there is no file "${folder.path}/no.pem"`],
    [cert, `${folder.path}/no.pem`, `--tls-key: there is no file "${folder.path}/no.pem"`],
    [folder.path, key, `--tls-cert: cannot read "${folder.path}": EISDIR: illegal operation on a directory, read`],
    [key, key, `--tls-cert "${key}" is not a certificate in PEM`],
    [cert, cert, `--tls-key "${cert}" is not a private key in PEM without a password`],
    [cert, other, '--tls-key is not the key of --tls-cert: give those that belong together'],
  ];
  for (const [certFile, keyFile, text] of cases) {
    const { error, started, message } = await serve(`--tls-cert ${certFile} --tls-key ${keyFile}`);
    assert.instance(error, UsageError);
    // A long path is cut.
    assert.ok(message === text || text.startsWith(message!.split('…')[0]!), message);
    assert.is(started, undefined);
  }
});

test('a certificate with which nobody joins is warned of', () => {
  const read = (name: string) => new X509Certificate(readFileSync(fixture(name)));
  const now = Date.UTC(2027, 0, 1);
  const end = Date.parse(read('-expired.cert').validTo);
  assert.equal(certificateWarnings(read('-signed.cert'), 'web.test', now), []);
  assert.equal(certificateWarnings(read('-signed.cert'), '127.0.0.1', now), []);
  assert.equal(certificateWarnings(read('-signed.cert'), '0.0.0.0', now), []);
  assert.equal(certificateWarnings(read('-signed.cert'), 'other.test', now), [
    'the certificate is not for other.test: no device will join',
  ]);
  assert.equal(certificateWarnings(read('-signed.cert'), '10.0.0.1', now).length, 1);
  assert.match(certificateWarnings(read('.cert'), 'web.test', now)[0]!, /signed by itself/);
  const expired = (nowMs: number) => certificateWarnings(read('-expired.cert'), 'web.test', nowMs)[0];
  assert.match(expired(end)!, /^the certificate has expired/);
  assert.match(expired(end - 1)!, /^the certificate expires soon/);
  assert.is(expired(end - 14 * 86_400_000), undefined);
});

test('a port that is taken is named with its flag and the next step', async () => {
  const taken = (port: number, syscall: string) =>
    Object.assign(new Error('x'), { code: 'EADDRINUSE', syscall, address: '0.0.0.0', port });
  const where = (port: number, flag: string) =>
    `0.0.0.0 port ${port} is in use: stop the program that has it or give ${flag} another port`;
  assert.is((await serve('', { fail: taken(8080, 'listen') })).message, where(8080, '--listen'));
  assert.is((await serve('', { fail: taken(8443, 'listen') })).message, where(8443, '--relay-port'));
  assert.is((await serve('', { fail: taken(3478, 'bind') })).message, where(3478, '--stun-port'));
  const { message, closes } = await serve('', { fail: new NetError('ERR_STORE', 'another process has it') });
  assert.equal([message, closes], ['another process has it', 0]);
});

test('JSON lines have the event, the time and exactly the fields of the table', async () => {
  const { out, err } = await serve('', { isJson: true, level: 'debug' });
  assert.equal(err, []);
  const events = out.map(line => JSON.parse(line));
  const names = ['start', 'log', 'ready', 'next', 'next', 'next', 'next', 'stopping', 'stopped'];
  assert.equal(
    events.map(one => one.event),
    names,
  );
  for (const { event, time, ...fields } of events) {
    assert.is(time, '1970-01-01T00:00:00.000Z');
    assert.equal(Object.keys(fields).sort(), [...SERVE_EVENTS[event as keyof ServeEvents].fields].sort(), event);
  }
  assert.is(events[2].url, 'http://10.1.2.3:8080');
});

test('each event has its line for people, and its level', async () => {
  const lines = (level: Level) => {
    const told: string[] = [];
    const write = (line: string) => told.push(line);
    const report = createServeReport({ isJson: false, level, out: write, err: write, now: () => 0 });
    for (const [name, [fields]] of Object.entries(SAMPLES)) report(name as 'start', fields as ServeEvents['start']);
    return told;
  };
  assert.equal(
    lines('debug'),
    Object.values(SAMPLES).flatMap(([, text]) => (text === undefined ? [] : [text])),
  );
  assert.equal(lines('warn'), [SAMPLES.warning[1], SAMPLES.log[1], SAMPLES.ready[1]]);
  assert.equal(lines('error'), [SAMPLES.ready[1]]);
});

test('strangers who make the server talk do not fill the log', () => {
  const told: string[] = [];
  const write = (line: string) => told.push(line);
  const report = createServeReport({ isJson: false, level: 'info', out: write, err: write, now: () => 0 });
  for (let i = 0; i < 5000; i++) report('log', { level: 'warn', message: 'bad handshake', details: {} });
  assert.equal([told.length, told.at(-1)], [201, 'warning: further "log" messages are left out for 10 seconds']);
});

test('the README has every event of serve with its level and fields, and no other', () => {
  const readme = readFileSync(new URL('../../targets/cli/README.md', import.meta.url), 'utf8');
  const section = readme.split('## Events of `motenet serve`')[1]!.split('\n## ')[0]!;
  const rows = [...section.matchAll(/^\| `([a-z-]+)` \| ([^|]*) \| (error|warn|info|its own) \|/gm)];
  const documented = rows.map(([, event, fields, level]) => [
    event,
    [...fields!.matchAll(/`(\w+)`/g)].map(m => m[1]),
    level,
  ]);
  const coded = Object.entries(SERVE_EVENTS).map(([name, { level, levelOf, fields }]) => [
    ...[name, [...fields], levelOf === undefined ? level : 'its own'],
  ]);
  assert.equal(documented, coded);
});

test.after(() => folder.remove());

test.run();
