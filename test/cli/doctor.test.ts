/** `motenet doctor`: each verdict from what it follows, a folder without a mote, and as a process with a real coordinator. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { KeyView } from '../../lib/coordinator/commands.ts';
import { checkLines, runDoctor } from '../../targets/cli/doctor.ts';
import { type Check, checksOf, type Findings } from '../../targets/cli/doctor-checks.ts';
import { stateChecks } from '../../targets/cli/doctor-state.ts';
import { prepareState, socketPath } from '../../targets/cli/state.ts';
import type { UpStatus } from '../../targets/cli/state-protocol.ts';
import { type StateHandler, serveState } from '../../targets/cli/state-server.ts';
import { host, type MoteStatus, type TailnetPeerStatus, type TailnetStatus } from '../../targets/node/index.ts';
import { startServer } from '../../targets/server/index.ts';
import { Command, Folder, run } from './command.ts';
import { until } from './local.ts';

const test = suite('cli doctor');
const folder = new Folder();
const NOW_MS = 1_800_000_000_000;
const DAY_MS = 86_400_000;

const NETWORK = {
  udp: true,
  ipv4: true,
  ipv6: false,
  globalV4: '198.51.100.7:41000',
  globalV6: undefined,
  mappingVariesByDestIp: false,
  endpoints: [],
  home: undefined,
  relays: [],
  tookMs: 5,
};

const PEER: TailnetPeerStatus = {
  id: 2,
  name: 'db.office.test',
  publicKey: 'k',
  addresses: ['10.0.0.2'],
  isOnline: true,
  isExpired: false,
  user: 'ann',
  tags: [],
  relay: 'ams',
  path: 'idle',
  rxBytes: 0,
  txBytes: 0,
  lastHandshakeUnixMs: undefined,
};

const TAILNET: TailnetStatus = {
  control: 'https://mote.test',
  state: 'running',
  name: 'me.office.test',
  domain: 'office',
  user: 'ann',
  tags: [],
  keyExpiryUnixMs: NOW_MS + 30 * DAY_MS,
  health: [],
  inboundRules: 2,
  controlError: undefined,
  clockAheadMs: 0,
  relays: [{ region: 1, code: 'ams', host: 'r.test', isHome: true, isConnected: true }],
  peers: [PEER],
};

/** What is found with a tailnet like this, or with none. */
function findings(
  tailnet: Partial<TailnetStatus> | null = {},
  status: Partial<UpStatus> = {},
  more: Partial<Findings> = {},
): Findings {
  const mote = tailnet === null ? null : ({ tailnet: { ...TAILNET, ...tailnet } } as MoteStatus);
  const up: UpStatus = {
    version: '1.2.3',
    pid: 99,
    startedUnixMs: NOW_MS - 3_600_000,
    control: 'https://mote.test',
    state: 'running',
    authUrl: null,
    trouble: null,
    services: [],
    mote,
    ...status,
  };
  return { status: up, network: NETWORK, clockAheadMs: 120, nowMs: NOW_MS, ...more };
}

/** The only line of one kind. */
function line(name: string, given: Findings): Check {
  const found = checksOf(given).filter(({ check }) => check === name);
  assert.is(found.length, 1, name);
  return found[0]!;
}

function isAsked(check: Check, verdict: Check['verdict'], text: string | RegExp, next?: string | RegExp): void {
  assert.is(check.verdict, verdict, `${check.text}`);
  assert.match(check.text, text);
  if (verdict === 'ok') assert.is(check.next, null);
  else assert.match(check.next!, next ?? /./);
}

test('a device that is well has one line per check, all ok', () => {
  assert.equal(checkLines(checksOf(findings())), [
    'ok  mote         motenet 1.2.3 was started 1 hour ago (process 99)',
    'ok  coordinator  https://mote.test answers',
    "ok  clock        agrees with the coordinator's",
    'ok  login        member of office as me.office.test, owned by ann',
    'ok  UDP          works over IPv4, seen as 198.51.100.7:41000',
    'ok  NAT          one address for all destinations: good for direct paths, or there is none',
    'ok  relay        home relay ams (r.test) is connected',
    'ok  key          expires in 30 days (2027-02-14 08:00 UTC); it is renewed before',
    'ok  policy       2 rules let others reach this device',
    'ok  peers        1 of 1 online',
  ]);
});

test('a coordinator that cannot be reached is a problem, before and after joining', () => {
  isAsked(line('coordinator', findings({ controlError: 'refused' })), 'problem', 'cannot be reached: refused', 'runs');
  const trouble = { code: 'ERR_X', message: 'refused; next try in 3 s' };
  const joining = findings(null, { state: 'starting', trouble });
  isAsked(line('coordinator', joining), 'problem', 'cannot be reached: refused; next try in 3 s');
  isAsked(line('coordinator', findings(null, { state: 'starting' })), 'warning', 'has not answered yet');
});

test('the clock is compared with the coordinator in both directions', () => {
  const clock = (clockAheadMs: number | undefined) => line('clock', findings({}, {}, { clockAheadMs }));
  isAsked(clock(-59_000), 'ok', "59 seconds off the coordinator's");
  isAsked(clock(90_000), 'warning', /is 90 seconds ahead of the coordinator's$/, 'set it');
  isAsked(clock(-2 * DAY_MS), 'problem', /is 2 days behind the coordinator's$/, 'set it');
  isAsked(clock(undefined), 'warning', 'could not be compared');
});

test('what stands between the device and its membership has its next step', () => {
  const login = (state: string, more: Partial<UpStatus> = {}) => line('login', findings(null, { state, ...more }));
  isAsked(
    login('needs-login', { authUrl: 'https://mote.test/r/1' }),
    'problem',
    'nobody has let',
    'open https://mote.test/r/1',
  );
  isAsked(login('needs-login'), 'problem', 'nobody has let', 'auth key');
  isAsked(login('needs-approval'), 'problem', 'waits for the approval', 'motenet devices approve NAME');
  isAsked(line('login', findings({}, { state: 'needs-approval' })), 'problem', 'waits', 'motenet devices approve me');
  isAsked(login('expired'), 'problem', 'has expired', 'log in again');
  isAsked(login('logged-out'), 'problem', 'has left', 'motenet up');
  isAsked(login('connecting'), 'warning', '"connecting"', 'again');
  isAsked(login('running'), 'warning', 'not ready yet', 'again');
  const tagged = line('login', findings({ tags: ['tag:web'] }));
  isAsked(tagged, 'ok', 'owned by tag:web');
});

test('a blocked or hard network is a warning, as everything still goes through relays', () => {
  const network = (more: object) => findings({}, {}, { network: { ...NETWORK, ...more } });
  isAsked(line('UDP', network({ udp: false })), 'warning', 'is blocked', '3478');
  assert.not.ok(checksOf(network({ udp: false })).some(({ check }) => check === 'NAT'));
  isAsked(line('UDP', network({ ipv6: true })), 'ok', 'works over IPv4 and IPv6');
  isAsked(line('NAT', network({ mappingVariesByDestIp: true })), 'warning', 'each destination', 'IPv6');
  isAsked(line('NAT', network({ mappingVariesByDestIp: undefined })), 'ok', 'unknown');
  const failed = findings({}, {}, { network: { error: 'no answer within 15 s' } });
  isAsked(line('UDP', failed), 'warning', 'could not be checked: no answer within 15 s', 'netcheck');
});

test('a home relay that is not connected is a problem, with what is known of it', () => {
  const relay = { ...TAILNET.relays[0]!, isConnected: false, error: 'certificate has expired' };
  isAsked(
    line('relay', findings({ relays: [relay] })),
    'problem',
    /ams \(r\.test\) is not connected: certificate has/,
    'TCP',
  );
  const notHome = { ...relay, isHome: false };
  isAsked(line('relay', findings({ relays: [notHome] })), 'problem', 'ams (r.test) is not connected');
  isAsked(line('relay', findings({ relays: [] })), 'problem', 'there is no home relay', 'administrator');
});

test('a key that expires soon, never, or has expired', () => {
  const key = (keyExpiryUnixMs: number) => line('key', findings({ keyExpiryUnixMs }));
  isAsked(key(0), 'ok', 'never');
  isAsked(key(NOW_MS + 6 * DAY_MS), 'warning', 'expires in 6 days', 'motenet logout');
  isAsked(key(NOW_MS - DAY_MS), 'problem', 'has expired 1 day ago', 'motenet logout');
});

test('a policy that lets nobody in is a problem for a device that exposes something', () => {
  const service = { service: 'expose', protocol: 'tcp', address: '', port: 80, target: '127.0.0.1:1' } as const;
  isAsked(line('policy', findings({ inboundRules: 0 })), 'warning', 'lets nobody', 'a rule');
  isAsked(line('policy', findings({ inboundRules: 0 }, { services: [service] })), 'problem', 'lets nobody', 'a rule');
});

test('peers that are missed, and paths that are relayed and why', () => {
  const peers = (...list: Partial<TailnetPeerStatus>[]) => findings({ peers: list.map(one => ({ ...PEER, ...one })) });
  const away = { name: 'away.office.test', isOnline: false };
  isAsked(line('peers', peers()), 'warning', 'alone', 'motenet up');
  isAsked(line('peers', peers({}, away)), 'ok', /^1 of 2 online; offline: away$/);
  isAsked(line('peers', peers({}, { ...away, path: 'relay' })), 'warning', 'offline: away', 'motenet up');
  isAsked(line('peers', peers(away)), 'warning', '0 of 1 online');
  isAsked(line('peers', peers({}, { ...away, isExpired: true })), 'warning', 'expired: away', 'log in again');
  const many = Array.from({ length: 7 }, (_, i) => ({ ...away, name: `n${i}.x` }));
  isAsked(line('peers', peers({}, ...many)), 'ok', /offline: n0, n1, n2, n3, n4 and 2 more$/);
  assert.not.ok(
    checksOf(peers({})).some(({ check }) => check === 'paths'),
    'none in use',
  );
  const direct = { path: 'direct', endpoint: '192.0.2.1:1', latencyMs: 1.5 } as const;
  isAsked(line('paths', peers(direct)), 'ok', '1 of 1 in use are direct, 1.50 ms at best');
  const relayed = line('paths', peers(direct, { path: 'relay', why: 'no answer from 2 endpoints' }));
  isAsked(
    relayed,
    'warning',
    '1 of 2 in use are direct; relayed: db (no answer from 2 endpoints)',
    'motenet ping db --until-direct',
  );
});

test('what the coordinator finds wrong is told, and nothing that a terminal obeys', () => {
  const [first, second] = checksOf(findings({ health: ['too old', 'a\x1b[2J'] })).filter(
    ({ check }) => check === 'health',
  );
  isAsked(first!, 'warning', 'the coordinator says: too old', 'administrator');
  assert.match(checkLines([second!])[0]!, 'says: a?[2J ->');
});

test('without a mote it says so, and looks at the folder without touching it', () => {
  const levels = (directory: string) => stateChecks(directory).map(({ check, verdict }) => `${check} ${verdict}`);
  const missing = join(folder.path, 'missing');
  assert.equal(levels(missing), ['mote problem', 'folder warning']);
  assert.equal(levels(missing), ['mote problem', 'folder warning'], 'it was not made');
  const own = join(folder.path, 'own');
  mkdirSync(own, { mode: 0o700 });
  assert.equal(levels(own), ['mote problem', 'folder ok', 'login ok']);
  const key = (name: string, bytes: number, mode: number) => {
    writeFileSync(join(own, name), new Uint8Array(bytes).fill(1));
    chmodSync(join(own, name), mode);
  };
  key('machine-key', 33, 0o600);
  assert.match(stateChecks(own).at(-1)!.text, 'logged out, or never let in');
  key('node-key', 33, 0o600);
  assert.match(stateChecks(own).at(-1)!.text, 'needs no login');
  key('node-key', 33, 0o644);
  isAsked(stateChecks(own).at(-1)!, 'problem', 'others may read', 'chmod 600');
  key('node-key', 32, 0o600);
  isAsked(stateChecks(own).at(-1)!, 'problem', 'is damaged', /^remove it .*: rm \S+node-key$/);
  chmodSync(own, 0o755);
  assert.equal(levels(own), ['mote problem', 'folder problem']);
  const link = join(folder.path, 'link');
  symlinkSync(own, link);
  assert.equal(levels(link), ['mote problem', 'folder problem']);
});

test('while the device is not a member, its clock is compared by the date of the coordinator', async () => {
  const dated = new Date(NOW_MS - 2 * DAY_MS).toUTCString();
  const server = createHttpServer((_request, response) => {
    response.setHeader('date', dated);
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await until(() => server.listening);
  const control = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const directory = join(folder.path, 'waiting');
  prepareState(directory);
  const status = findings(null, { control, state: 'needs-login', authUrl: `${control}/r/1` }).status;
  const socket = await serveState(socketPath(directory), { status: () => status } as StateHandler);
  const lines: string[] = [];
  const environment = { out: (text: string) => lines.push(text), unixMs: () => NOW_MS, host, serverDir: folder.path };
  await assertFails(runDoctor({ stateDir: directory, isJson: true }, environment), '2 problems found');
  const { problems, checks } = JSON.parse(lines[0]!);
  assert.is(problems, 2);
  const bad = checks.filter(({ verdict }: Check) => verdict === 'problem');
  assert.equal(
    bad.map(({ text }: Check) => text),
    ["this machine's clock is 2 days ahead of the coordinator's", 'nobody has let this device in yet'],
  );
  assert.match(checks.find(({ check }: Check) => check === 'UDP').text, 'could not be checked');
  await socket.close();
  server.close();
});

test('a running device, one that waits, and one whose coordinator goes away and comes back', async () => {
  const options = { dataDir: join(folder.path, 'data'), listen: { host: '127.0.0.1', port: 0 }, log: () => undefined };
  const first = await startServer({ ...options, stunPort: 0 });
  const outcome = await first.command(
    { name: 'admin', tailnet: undefined },
    { type: 'key-create', tailnet: 'default' },
  );
  const { key } = (outcome as { value: KeyView }).value;
  const state = ['--state', join(folder.path, 'member')];
  const up = new Command(['up', '--control', first.url, '--authkey', key!, '--name', 'me', ...state]);
  await up.line(/^ready/);
  const well = await run(['doctor', ...state]);
  assert.equal([well.code, well.stderr], [0, '']);
  assert.match(well.stdout, /^ok +clock +agrees with the coordinator's$/m);
  assert.match(well.stdout, /^ok +UDP +works over IPv4, seen as 127\.0\.0\.1:\d+$/m);
  assert.match(well.stdout, /^ok +relay +home relay \S+ \(127\.0\.0\.1\) is connected$/m);
  assert.match(well.stdout, /^warning +peers +this device is alone, as far as it may know -> /m);

  const waiting = ['--state', join(folder.path, 'new')];
  const newcomer = new Command(['up', '--control', first.url, ...waiting, '--json']);
  const { url } = JSON.parse(await newcomer.line(/"auth-url"/));
  const asked = await run(['doctor', ...waiting]);
  assert.equal([asked.code, asked.stderr], [1, 'motenet: 1 problem found\n']);
  assert.ok(asked.stdout.includes(`nobody has let this device in yet -> open ${url}\n`));
  assert.match(asked.stdout, /^ok +UDP +works over IPv4/m);
  await newcomer.stop();

  const { port } = new URL(first.url);
  await first.close();
  const report = async () => run(['doctor', ...state]);
  let away = await report();
  for (let i = 0; i < 20 && away.code === 0; i++) away = await report();
  assert.not.ok(up.isEnded, 'a coordinator that stops does not end the command');
  assert.match(away.stdout, /^problem +coordinator +\S+ cannot be reached: /m);
  const again = await startServer({ ...options, stunPort: 0, listen: { host: '127.0.0.1', port: Number(port) } });
  let back = await report();
  for (let i = 0; i < 40 && back.code !== 0; i++) back = await report();
  assert.match(back.stdout, /^ok +coordinator /m);
  assert.is((await up.stop()).code, 0);
  await again.close();
});

async function assertFails(promise: Promise<unknown>, message: string): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (caught: Error) => caught,
  );
  assert.is(error?.message, message);
}

test.after(() => folder.remove());

test.run();
