/** `motenet up` over a tunnel in memory: progress, login, services by name, the questions, and how it ends. */
import { mkdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import { runLogout, runStatus, runWhois } from '../../targets/cli/ask.ts';
import { UsageError } from '../../targets/cli/errors.ts';
import { runNc } from '../../targets/cli/nc.ts';
import { runNetcheck } from '../../targets/cli/netcheck.ts';
import { runPing } from '../../targets/cli/ping.ts';
import type { Report } from '../../targets/cli/report.ts';
import { type UpEnvironment, type UpMote, runUp } from '../../targets/cli/up.ts';
import { parseUpArgs } from '../../targets/cli/up-args.ts';
import { host } from '../../targets/node/host.ts';
import type {
  MoteEvent,
  MoteStatus,
  NetcheckStatus,
  PathPing,
  TailnetMoteOptions,
  Whois,
} from '../../targets/node/index.ts';
import { memoryStore } from '../../targets/node/store.ts';
import { Folder } from './command.ts';
import { type FakeStream, FakeTunnel } from './fake-tunnel.ts';
import { open, readAll, type Told, until } from './local.ts';

const test = suite('cli up');
const folder = new Folder();
const KEY = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const UNIX_MS = 1_800_000_000_000;
const PING = { name: 'db', count: 3, timeoutMs: 1000, isInside: false, isUntilDirect: false };
const RELAYED: PathPing = { path: 'relay', relay: 'ams', latencyMs: 20 };
const DIRECT: PathPing = { path: 'direct', endpoint: '192.0.2.1:41641', latencyMs: 1.234 };
let folders = 0;

/** A member in memory, and another device that is called db. */
class FakeMote extends FakeTunnel implements UpMote {
  readonly publicKey = KEY;
  readonly addresses = ['10.0.0.1/32'];
  readonly listenPort = 4242;
  isClosed = false;
  isLoggedOut = false;
  /** Round trips of the pings to come; undefined: no answer. */
  pings: (number | undefined)[] = [];
  /** The same beneath the tunnel. */
  pathPings: (PathPing | undefined)[] = [];

  status(): MoteStatus {
    const peer = {
      id: 2,
      name: 'db.office.test',
      publicKey: KEY,
      addresses: ['10.0.0.2'],
      isOnline: true,
      isExpired: false,
      user: 'ann',
      tags: [],
      relay: 'ams',
      path: 'relay' as const,
      why: 'no answer from 2 endpoints',
      rxBytes: 1234,
      txBytes: 56_789,
      lastHandshakeUnixMs: UNIX_MS - 3000,
    };
    const gone = {
      ...peer,
      id: 3,
      name: 'old\x1b[2J.office.test',
      isOnline: false,
      path: 'idle' as const,
      tags: ['tag:x'],
    };
    return {
      publicKey: KEY,
      addresses: this.addresses,
      listenPort: this.listenPort,
      local: [],
      mtu: 1280,
      suite: 'noble',
      connections: 0,
      listeners: 0,
      udpSockets: 0,
      drops: { 'wg-replay': 7 },
      peers: [],
      tailnet: {
        control: 'https://mote.test',
        state: 'running',
        name: 'me.office.test',
        domain: 'office',
        user: 'ann',
        tags: [],
        keyExpiryUnixMs: UNIX_MS + 86_400_000 * 30,
        health: ['too old'],
        inboundRules: 1,
        controlError: undefined,
        clockAheadMs: 0,
        relays: [{ region: 1, code: 'ams', host: 'r.test', isHome: true, isConnected: true }],
        peers: [peer, { ...gone, rxBytes: 0, txBytes: 0, addresses: ['10.0.0.3'] }],
      },
    };
  }

  whois(address: string): Whois | undefined {
    if (address !== '10.0.0.2') return undefined;
    const user = { id: 1, loginName: 'ann@test', displayName: 'Ann' };
    return { publicKey: KEY, name: 'db.office.test', addresses: [address], user, tags: [], capabilities: ['cap/a'] };
  }

  async netcheck(): Promise<NetcheckStatus> {
    const home = { region: 1, code: 'ams', name: 'Amsterdam', why: 'nearest' } as const;
    const unknown = { globalV4: undefined, globalV6: undefined, mappingVariesByDestIp: undefined };
    return { udp: true, ipv4: true, ipv6: false, ...unknown, endpoints: [], home, relays: [], tookMs: 5 };
  }

  async ping(host: string): Promise<number> {
    if (host === 'nobody') throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is nobody`);
    const ms = this.pings.shift();
    if (ms === undefined) throw new NetError('ERR_TIMED_OUT', 'no answer');
    return ms;
  }

  async pingPath(host: string): Promise<PathPing> {
    if (host === 'nobody') throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is nobody`);
    const answer = this.pathPings.shift();
    if (answer === undefined) throw new NetError('ERR_TIMED_OUT', 'no answer');
    return answer;
  }

  async logout(): Promise<void> {
    this.isLoggedOut = true;
    await this.close();
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

/** One run of the command. */
class Run {
  readonly told: Told[] = [];
  readonly codes: string[] = [];
  readonly stateDir = join(folder.path, `s${++folders}`);
  readonly mote: FakeMote;
  readonly db: FakeTunnel;
  readonly done: Promise<void>;
  isDone = false;
  options: TailnetMoteOptions | undefined;
  stop: (reason: string) => void = () => undefined;
  #join: () => void = () => undefined;
  #refuse: (error: Error) => void = () => undefined;

  /** `isJoined`: `up` of the library resolves at once. */
  constructor(args: readonly string[] = [], o: { isJoined?: boolean; input?: string; directory?: string } = {}) {
    const network = new Map<string, FakeTunnel>();
    this.mote = new FakeMote(network, '10.0.0.1');
    this.db = new FakeTunnel(network, '10.0.0.2');
    this.stateDir = o.directory ?? this.stateDir;
    const joined = new Promise<void>((resolve, reject) => {
      this.#join = resolve;
      this.#refuse = reject;
    });
    if (o.isJoined !== false) this.#join();
    const stopped = new Promise<string>(resolve => {
      this.stop = resolve;
    });
    const report: Report = (event, fields) => void this.told.push({ event, ...fields } as unknown as Told);
    const environment: UpEnvironment = {
      version: '1.2.3',
      pid: 99,
      report,
      up: async options => {
        this.options = options;
        options.signal?.addEventListener('abort', () =>
          this.refuse(new NetError('ERR_ABORTED', 'joining was aborted')),
        );
        await joined;
        this.event({ type: 'state', state: 'running' });
        return this.mote;
      },
      createStore: () => memoryStore(),
      readInput: async () => o.input ?? '',
      showCode: url => this.codes.push(url),
      unixMs: () => UNIX_MS,
      stopped,
    };
    const argv = ['--control', 'https://mote.test', '--state', this.stateDir, ...args];
    this.done = runUp(parseUpArgs(argv, {}), environment).finally(() => {
      this.isDone = true;
    });
    this.done.catch(() => undefined);
  }

  join(): void {
    this.#join();
  }

  refuse(error: Error): void {
    this.#refuse(error);
  }

  event(event: MoteEvent): void {
    this.options!.onEvent!(event);
  }

  find<N extends Told['event']>(name: N): Extract<Told, { event: N }> | undefined {
    return this.told.find(({ event }) => event === name) as Extract<Told, { event: N }> | undefined;
  }

  async ready(): Promise<this> {
    await until(() => this.find('ready') !== undefined || this.isDone, 'ready');
    if (this.isDone) await this.done;
    return this;
  }
}

async function reason(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: Error) => error,
  );
}

/** What a question prints. */
async function asked(
  run: (environment: { out(line: string): void; unixMs(): number; stopped: Promise<void> }) => Promise<void>,
) {
  const lines: string[] = [];
  await run({ out: line => lines.push(line), unixMs: () => UNIX_MS, stopped: new Promise<void>(() => undefined) });
  return lines;
}

/** Standard input and output of a test. */
function streams() {
  const input = new PassThrough();
  const chunks: Buffer[] = [];
  const output = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { input, output, text: () => Buffer.concat(chunks).toString() };
}

test('it joins, tells every step, serves, and ends with a signal', async () => {
  const run = await new Run(['--name', 'me', '--ephemeral', '--expose', '80=127.0.0.1:1', '--socks', '0']).ready();
  assert.equal(
    run.told.map(({ event }) => event),
    ['joining', 'state', 'joined', 'up', 'listening', 'listening', 'ready'],
  );
  const { control, name, isEphemeral, authKey, authorities } = run.options!;
  assert.equal(
    [control, name, isEphemeral, authKey, authorities],
    ['https://mote.test', 'me', true, undefined, undefined],
  );
  assert.is(run.find('joined')!.name, 'me.office.test');
  run.stop('SIGINT');
  await run.done;
  assert.equal([run.find('stopping')!.reason, run.told.at(-1)!.event], ['SIGINT', 'stopped']);
  assert.ok(run.mote.isClosed);
  const error = await reason(
    runStatus(
      { stateDir: run.stateDir, isJson: true, isVerbose: false },
      { out: () => undefined, unixMs: () => 0, stopped: run.done },
    ),
  );
  assert.match(error.message, /^no mote runs/);
});

test('while a person has to log in, the page is shown, status says so, and questions say what to do', async () => {
  const run = new Run([], { isJoined: false });
  await until(() => run.options !== undefined);
  run.event({ type: 'state', state: 'needs-login' });
  run.event({ type: 'auth-url', url: 'https://mote.test/register/1' });
  assert.equal(run.codes, ['https://mote.test/register/1']);
  assert.is(run.find('auth-url')!.url, 'https://mote.test/register/1');
  const ask = { stateDir: run.stateDir, isJson: false, isVerbose: false };
  const joining = ['joining https://mote.test: needs-login'];
  const login = 'to let this device in, open https://mote.test/register/1';
  assert.equal(await asked(environment => runStatus(ask, environment)), [...joining, login]);
  run.event({ type: 'error', code: 'ERR_X', message: 'no coordinator' });
  const troubled = await asked(environment => runStatus(ask, environment));
  assert.equal(troubled, [...joining, 'problem: no coordinator', login]);
  run.event({ type: 'error', code: 'ERR_X', message: 'relay r.test: refused' });
  assert.equal(await asked(environment => runStatus(ask, environment)), troubled); // relays are for members
  run.event({ type: 'state', state: 'needs-login' });
  assert.equal(await asked(environment => runStatus(ask, environment)), [...joining, login]);
  for (const question of [
    runNc({ ...ask, name: 'db', port: 1, timeoutMs: 1000 }, streams()),
    asked(environment => runLogout(ask, environment)),
    asked(environment => runPing({ ...ask, ...PING, count: 1, isInside: true }, environment)),
    asked(environment => runPing({ ...ask, ...PING, count: 1 }, environment)),
    asked(environment => runWhois({ ...ask, address: '10.0.0.2' }, environment)),
    runNetcheck({ isJson: false, from: ask }, { out: () => undefined, host }),
  ])
    assert.match(
      (await reason(question)).message,
      /not a member yet \(needs-login\): open https:\/\/mote\.test\/register\/1/,
    );
  run.join();
  await run.ready();
  const [json] = await asked(environment => runStatus({ ...ask, isJson: true }, environment));
  const { authUrl, state, version, pid } = JSON.parse(json!);
  assert.equal([authUrl, state, version, pid], [null, 'running', '1.2.3', 99]);
  run.stop('SIGTERM');
  await run.done;
});

test('with --json no code is drawn', async () => {
  const run = new Run(['--json'], { isJoined: false });
  await until(() => run.options !== undefined);
  run.event({ type: 'auth-url', url: 'https://mote.test/register/1' });
  assert.equal([run.codes, run.find('auth-url')!.url], [[], 'https://mote.test/register/1']);
  run.stop('SIGINT');
  await run.done;
});

test('a signal while joining ends it without an error, and frees the folder', async () => {
  const run = new Run([], { isJoined: false });
  await until(() => run.options !== undefined);
  run.stop('SIGINT');
  await run.done;
  assert.is(run.find('ready'), undefined);
  const next = await new Run([], { directory: run.stateDir }).ready();
  next.stop('SIGINT');
  await next.done;
});

test('a refused login says the next step', async () => {
  const refused = new NetError('ERR_LOGIN', 'the coordinator refuses this device: the key has expired');
  const error = async (args: readonly string[]) => {
    const run = new Run(args, { isJoined: false });
    await until(() => run.options !== undefined);
    run.refuse(refused);
    return (await reason(run.done)).message;
  };
  assert.is(await error(['--authkey', 'k']), `${refused.message}: ask for a new auth key`);
  assert.is(await error([]), `${refused.message}: log in again, or use an auth key`);
});

test('trouble on the way is told and passes; a broken socket ends it', async () => {
  const run = await new Run().ready();
  run.event({ type: 'error', code: 'ERR_CONNECTION_REFUSED', message: 'no coordinator; next try in 3 s' });
  assert.is(run.find('trouble')!.code, 'ERR_CONNECTION_REFUSED');
  run.event({ type: 'home', relay: undefined });
  assert.is(run.find('home')!.relay, null);
  run.event({ type: 'error', code: 'ERR_CLOSED', message: 'the UDP socket failed' });
  assert.match((await reason(run.done)).message, /^the UDP socket failed \(ERR_CLOSED\): start the command again$/);
  assert.ok(run.mote.isClosed);
});

test('an auth key from a file or standard input reaches the mote, and no event', async () => {
  const file = folder.write('key', ' mote-auth-1\n');
  for (const [args, input] of [
    [['--authkey-file', file], ''],
    [['--authkey-file', '-'], 'mote-auth-1\n'],
    [['--authkey', 'mote-auth-1'], ''],
  ] as const) {
    const run = await new Run(args, { input }).ready();
    assert.is(run.options!.authKey, 'mote-auth-1');
    assert.not.match(JSON.stringify(run.told), 'mote-auth-1');
    assert.is(run.find('warning') !== undefined, args[0] === '--authkey');
    run.stop('SIGINT');
    await run.done;
  }
  const bad = await reason(new Run(['--authkey-file', folder.write('bad', 'two words')]).done);
  assert.instance(bad, UsageError);
  assert.match(bad.message, /expected the text of one auth key, got something else$/);
});

test('authorities are read from --ca, and what has none is refused', async () => {
  const pem = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';
  const run = await new Run(['--ca', folder.write('ca.pem', pem)]).ready();
  assert.is(run.options!.authorities, pem);
  run.stop('SIGINT');
  await run.done;
  for (const path of [folder.write('none.pem', 'x'), join(folder.path, 'missing.pem')])
    assert.instance(await reason(new Run(['--ca', path]).done), UsageError);
});

test('a second process with the same state is refused', async () => {
  const first = await new Run().ready();
  const second = new Run([], { directory: first.stateDir });
  assert.match((await reason(second.done)).message, /^another `motenet up` runs/);
  assert.is(second.options, undefined, 'before it joined');
  first.stop('SIGINT');
  await first.done;
});

test('--forward knows the names of the tailnet, also one that joins later', async () => {
  const run = await new Run([
    '--forward',
    '0=db:7',
    '--forward',
    '0=late.office.test:7',
    '--host',
    'x=10.0.0.2',
  ]).ready();
  const [port, latePort] = run.find('ready')!.services.map(service => service.port);
  const listener = await run.db.listen(7);
  const serve = async () => {
    const stream = (await listener.accept())!;
    await stream.write(Buffer.from('hello'));
    await stream.end();
  };
  void serve();
  assert.is((await readAll(await open(port!))).toString(), 'hello');
  const refused = connect(latePort!, '127.0.0.1');
  refused.on('error', () => undefined);
  await until(() => run.find('refused') !== undefined);
  assert.is(run.find('refused')!.code, 'ERR_NAME_NOT_FOUND');
  const { status } = run.mote;
  run.mote.status = () => {
    const now = status.call(run.mote);
    const peers = now.tailnet!.peers.map(peer => ({ ...peer, name: peer.name.replace('db', 'late') }));
    return { ...now, tailnet: { ...now.tailnet!, peers } };
  };
  run.event({ type: 'netmap', peers: 2 });
  void serve();
  assert.is((await readAll(await open(latePort!))).toString(), 'hello');
  run.stop('SIGINT');
  await run.done;
});

test('status shows the device, its services and its peers, and nothing that a terminal obeys', async () => {
  const run = await new Run(['--expose', '80=127.0.0.1:3000']).ready();
  const ask = { stateDir: run.stateDir, isJson: false, isVerbose: false };
  const lines = await asked(environment => runStatus(ask, environment));
  assert.equal(lines, [
    'me.office.test  10.0.0.1',
    'running, ann, relay ams, key expires in 30 days (2027-02-14 08:00 UTC)',
    'coordinator https://mote.test',
    'problem: too old',
    'expose: port 80/tcp -> 127.0.0.1:3000',
    '',
    'NAME     ADDRESS   OWNER  STATE    PATH       IN      OUT    HANDSHAKE      WHY RELAYED',
    'db       10.0.0.2  ann    online   relay ams  1.2 kB  57 kB  3 seconds ago  no answer from 2 endpoints',
    'old?[2J  10.0.0.3  tag:x  offline  idle       0       0      3 seconds ago',
  ]);
  const verbose = await asked(environment => runStatus({ ...ask, isVerbose: true }, environment));
  assert.match(verbose.join('\n'), /KEY\n.*xTIBA5[\s\S]*DROPPED {4}PACKETS\nwg-replay {2}7$/);
  run.stop('SIGINT');
  await run.done;
});

test('whois shows a device, and fails for nobody', async () => {
  const run = await new Run().ready();
  const ask = { stateDir: run.stateDir, isJson: false, address: '10.0.0.2' };
  assert.equal(await asked(environment => runWhois(ask, environment)), [
    'name          db.office.test',
    'addresses     10.0.0.2',
    'user          ann@test (Ann)',
    'capabilities  cap/a',
    `key           ${KEY}`,
  ]);
  const [first] = await asked(environment => runNetcheck({ isJson: false, from: ask }, { ...environment, host }));
  assert.is(first, 'UDP         works');
  const none = await reason(asked(environment => runWhois({ ...ask, address: '10.0.0.9' }, environment)));
  assert.is(none.message, 'nobody in this tailnet has the address 10.0.0.9');
  run.stop('SIGINT');
  await run.done;
});

test('status shows a direct path with its endpoint and round trip, and a coordinator that is away', async () => {
  const run = await new Run().ready();
  const { status } = run.mote;
  run.mote.status = () => {
    const now = status.call(run.mote);
    const { why: _, ...peer } = now.tailnet!.peers[0]!;
    const direct = { ...peer, path: 'direct' as const, endpoint: '192.0.2.1:41641', latencyMs: 1.234 };
    return { ...now, tailnet: { ...now.tailnet!, health: [], controlError: 'refused', peers: [direct] } };
  };
  const ask = { stateDir: run.stateDir, isVerbose: false };
  const lines = await asked(environment => runStatus({ ...ask, isJson: false }, environment));
  assert.equal(lines.slice(3), [
    'problem: the coordinator cannot be reached: refused',
    '',
    'NAME  ADDRESS   OWNER  STATE   PATH                    ROUND TRIP  IN      OUT    HANDSHAKE',
    'db    10.0.0.2  ann    online  direct 192.0.2.1:41641  1.23 ms     1.2 kB  57 kB  3 seconds ago',
  ]);
  const [json] = await asked(environment => runStatus({ ...ask, isJson: true }, environment));
  const { path, endpoint, latencyMs, rxBytes, lastHandshakeUnixMs } = JSON.parse(json!).mote.tailnet.peers[0];
  assert.equal(
    [path, endpoint, latencyMs, rxBytes, lastHandshakeUnixMs],
    ['direct', '192.0.2.1:41641', 1.234, 1234, UNIX_MS - 3000],
  );
  run.stop('SIGINT');
  await run.done;
});

test('ping says which path answered, and fails when none does', async () => {
  const run = await new Run().ready();
  const ask = { stateDir: run.stateDir, isJson: false, ...PING };
  run.mote.pathPings = [RELAYED, undefined, DIRECT];
  assert.equal(await asked(environment => runPing(ask, environment, 1)), [
    'pong from db (10.0.0.2) through relay ams in 20.0 ms',
    'no answer from db within 1 s',
    'pong from db (10.0.0.2) directly at 192.0.2.1:41641 in 1.23 ms',
    '2 of 3 replies, 1.23 ms at best, 10.6 ms on average',
  ]);
  run.mote.pathPings = [DIRECT, RELAYED, undefined];
  const json = await asked(environment => runPing({ ...ask, name: '10.0.0.2', isJson: true }, environment, 1));
  const [name, address, endpoint] = ['10.0.0.2', '10.0.0.2', '192.0.2.1:41641'];
  assert.equal(
    json.map(line => JSON.parse(line)),
    [
      { name, sequence: 1, address, path: 'direct', endpoint, relay: null, ms: 1.234 },
      { name, sequence: 2, address, path: 'relay', endpoint: null, relay: 'ams', ms: 20 },
      { name, sequence: 3, code: 'ERR_TIMED_OUT' },
    ],
  );
  const silent = await reason(asked(environment => runPing(ask, environment, 1)));
  assert.match(silent.message, /^db did not answer 3 of 3 pings: `motenet status`/);
  const nobody = await reason(asked(environment => runPing({ ...ask, name: 'nobody' }, environment, 1)));
  assert.is(nobody.message, "'nobody' is nobody");
  run.stop('SIGINT');
  await run.done;
});

test('ping --until-direct ends with the first direct answer, and says why there is none', async () => {
  const run = await new Run().ready();
  const ask = { stateDir: run.stateDir, isJson: true, ...PING, isUntilDirect: true };
  run.mote.pathPings = [RELAYED, DIRECT, RELAYED];
  assert.is((await asked(environment => runPing(ask, environment, 1))).length, 2);
  run.mote.pathPings = [RELAYED, RELAYED, RELAYED, DIRECT];
  const none = await reason(asked(environment => runPing(ask, environment, 1)));
  assert.match(
    none.message,
    /^db did not answer directly in 3 pings \(no answer from 2 endpoints\): `motenet netcheck`/,
  );
  const { status } = run.mote;
  run.mote.status = () => {
    const now = status.call(run.mote);
    const peer = { ...now.tailnet!.peers[0]!, path: 'direct' as const, endpoint: '192.0.2.9:1', latencyMs: 30 };
    return { ...now, tailnet: { ...now.tailnet!, peers: [peer] } };
  };
  run.mote.pathPings = [RELAYED];
  const near = await asked(environment => runPing({ ...ask, isJson: false }, environment, 1));
  assert.equal(near, ['pong from db (10.0.0.2) directly at 192.0.2.9:1 in 30.0 ms'], 'though the relay is nearer');
  run.stop('SIGINT');
  await run.done;
});

test('ping --icmp tells each reply and fails when there is none', async () => {
  const run = await new Run().ready();
  const ask = { stateDir: run.stateDir, isJson: false, ...PING, isInside: true };
  run.mote.pings = [1.234, undefined, 30];
  assert.equal(await asked(environment => runPing(ask, environment, 1)), [
    'reply from db (10.0.0.2) in 1.23 ms',
    'no reply from db within 1 s',
    'reply from db (10.0.0.2) in 30.0 ms',
    '2 of 3 replies, 1.23 ms at best, 15.6 ms on average',
  ]);
  run.mote.pings = [5];
  const [json] = await asked(environment => runPing({ ...ask, count: 1, isJson: true }, environment, 1));
  assert.equal(JSON.parse(json!), { name: 'db', sequence: 1, address: '10.0.0.2', ms: 5 });
  const silent = await reason(asked(environment => runPing(ask, environment, 1)));
  assert.is(silent.message, 'db did not answer 3 of 3 pings');
  const nobody = await reason(asked(environment => runPing({ ...ask, name: 'nobody' }, environment, 1)));
  assert.is(nobody.message, "'nobody' is nobody");
  run.stop('SIGINT');
  await run.done;
});

test('nc carries both ways, and each end on its own', async () => {
  const run = await new Run().ready();
  const listener = await run.db.listen(7);
  const { input, output, text } = streams();
  const carried = runNc({ stateDir: run.stateDir, name: 'db', port: 7, timeoutMs: 1000 }, { input, output });
  const far = (await listener.accept())!;
  input.end('question');
  assert.is(Buffer.from((await far.read())!).toString(), 'question');
  assert.is(await far.read(), undefined, 'the end of standard input is the end of this half');
  const answer = Buffer.alloc(3_000_000, 'ab');
  for (let at = 0; at < answer.length; at += 100_000) await far.write(answer.subarray(at, at + 100_000));
  await far.end();
  await carried;
  assert.ok(text() === answer.toString());
  run.stop('SIGINT');
  await run.done;
});

test('nc goes on sending after the other side has ended, but not at a terminal', async () => {
  const run = await new Run().ready();
  const listener = await run.db.listen(7);
  const nc = { stateDir: run.stateDir, name: '10.0.0.2', port: 7, timeoutMs: 1000 };
  const piped = streams();
  const carried = runNc(nc, piped);
  const far = (await listener.accept())!;
  await far.end();
  piped.input.write('still ');
  assert.is(Buffer.from((await far.read())!).toString(), 'still ');
  piped.input.end('here');
  assert.is(Buffer.from((await far.read())!).toString(), 'here');
  assert.is(await far.read(), undefined);
  await carried;
  const terminal = streams();
  const shown = runNc(nc, { ...terminal, input: Object.assign(terminal.input, { isTTY: true }) });
  await (await listener.accept())!.end();
  await shown;
  run.stop('SIGINT');
  await run.done;
});

test('nc fails when the connection cannot be had or breaks, and when the mote ends', async () => {
  const run = await new Run().ready();
  const nc = { stateDir: run.stateDir, name: 'db', port: 7, timeoutMs: 1000 };
  assert.is((await reason(runNc(nc, streams()))).message, '10.0.0.2 port 7 refused');
  const listener = await run.db.listen(7);
  const broken = reason(runNc(nc, streams()));
  (await listener.accept())!.abort();
  assert.match((await broken).message, /^reset by the other side$/);
  const late = streams();
  const brokenLater = reason(runNc(nc, late));
  const half = (await listener.accept()) as FakeStream;
  await half.end();
  await until(() => half.inFlight === 0);
  late.input.write('x');
  await half.read();
  half.abort();
  late.input.write('y');
  assert.match((await brokenLater).message, /reset by the other side|write after end/);
  const orphan = reason(runNc(nc, streams()));
  await listener.accept();
  run.stop('SIGINT');
  await run.done;
  assert.match((await orphan).message, /`motenet up` has ended/);
});

test('nc does not collect a frame that is longer than any', async () => {
  const directory = join(folder.path, `s${++folders}`);
  mkdirSync(directory, { mode: 0o700 });
  const server = createServer(socket => {
    socket.on('error', () => undefined);
    socket.write('{"result":{"address":"10.0.0.2"}}\n');
    socket.end(Uint8Array.of(0, 0x10, 0, 1));
  });
  await new Promise<void>(resolve => server.listen({ path: join(directory, 'mote.sock') }, resolve));
  const carried = runNc({ stateDir: directory, name: 'db', port: 7, timeoutMs: 1000 }, streams());
  assert.match((await reason(carried)).message, 'is of another version');
  server.close();
});

test('a client that goes away breaks the connection inside, and a reader that goes away is no failure', async () => {
  const run = await new Run().ready();
  const listener = await run.db.listen(7);
  const nc = { stateDir: run.stateDir, name: 'db', port: 7, timeoutMs: 1000 };
  const { input, output } = streams();
  const carried = runNc(nc, { input, output });
  const far = (await listener.accept())!;
  await far.write(Buffer.from('x'));
  output.destroy();
  await carried;
  const error = await reason(
    (async () => {
      while ((await far.read()) !== undefined); // a client that is gone looks like one that has ended,
      for (;;) await far.write(Buffer.alloc(1000)); // until it is written to
    })(),
  );
  assert.is((error as NetError).code, 'ERR_CONNECTION_RESET');
  run.stop('SIGINT');
  await run.done;
});

test('logout leaves the tailnet and ends the running command', async () => {
  const run = await new Run().ready();
  const lines = await asked(environment => runLogout({ stateDir: run.stateDir, isJson: false }, environment));
  assert.equal(lines, ['logged out: the device has left the tailnet, and `motenet up` has ended']);
  await run.done;
  assert.ok(run.mote.isLoggedOut);
  assert.equal([run.find('stopping')!.reason, run.find('stopped')!.drops], ['logged out', { 'wg-replay': 7 }]);
});

test('a logout that the coordinator does not answer is told, and the mote stays', async () => {
  const run = await new Run().ready();
  run.mote.logout = async () => {
    throw new NetError('ERR_TIMED_OUT', 'the coordinator did not answer the logout');
  };
  const error = await reason(asked(environment => runLogout({ stateDir: run.stateDir, isJson: false }, environment)));
  assert.is(error.message, 'the coordinator did not answer the logout');
  assert.not.ok(run.isDone);
  run.stop('SIGINT');
  await run.done;
});

test.after(() => folder.remove());

test.run();
