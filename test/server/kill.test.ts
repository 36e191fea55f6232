/**
 * A coordinator that is killed at random moments under load. What it had answered is there afterwards, entry by entry;
 * the answers were noted by another process. Motes talk to each other meanwhile, and go on with it when it is back.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AuditEntry } from '../../lib/coordinator/model.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { host, type Mote, up } from '../../targets/node/index.ts';
import { ownDerpMap } from '../../targets/server/derp-map.ts';
import { HttpFront } from '../../targets/server/http-front.ts';
import { certificateDigest, keyStore, loadCertificate } from '../../targets/server/keys.ts';
import { openOffline } from '../../targets/server/offline.ts';
import { RelayHost } from '../../targets/server/relay-host.ts';
import { createRoutes, type RouteTargets } from '../../targets/server/routes.ts';
import { SourceGate } from '../../targets/server/source-gate.ts';
import { Store } from '../../targets/server/store.ts';
import { SERVER_LIMITS } from '../../targets/server/types.ts';
import { ROOT } from '../tools/files.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { AcknowledgedState, type LoadCommand, type LoadMessage } from './kill-model.ts';
import { makeFolder, random, suiteOfTests, until } from './support.ts';

const test = suite('server killed');

/** `npm test` 5, with CI=true 20, `npm run soak` 200. */
const KILLS = fuzzRounds(5) > 5 ? fuzzRounds(20) : process.env['CI'] === undefined ? 5 : 20;
/** How long it works between two kills, at most. */
const MAX_WORK_MS = 600;

const folder = makeFolder();
const dataDir = join(folder, 'data');
const children: ChildProcess[] = [];
const motes: Mote[] = [];

/** The server's program, bundled, so that it starts in a tenth of the time. */
function bundleServer(): string {
  const modules = join(folder, 'node_modules');
  const external = ['libsql', 'ws', '@peculiar/x509'];
  mkdirSync(join(modules, '@peculiar'), { recursive: true });
  for (const name of external) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  const outfile = join(folder, 'server.mjs');
  const entry = fileURLToPath(new URL('kill-server.ts', import.meta.url));
  buildSync({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external,
  });
  return outfile;
}

/** A relay that does not die with the coordinator. */
async function startRelay() {
  const relay = new RelayHost({
    host,
    suite: suiteOfTests,
    privateKey: SecretKey.generate(random),
    limits: {},
    tailnetOf: () => 'default',
    log: () => undefined,
  });
  const handlers = createRoutes(() => ({ relay, log: () => undefined }) as unknown as RouteTargets);
  const tls = await loadCertificate(keyStore(join(folder, 'relay')), '127.0.0.1', Date.now());
  const gate = new SourceGate(SERVER_LIMITS);
  const front = new HttpFront({ clock: host.clock, gate, limits: SERVER_LIMITS, tls, handlers });
  const port = await front.listen('127.0.0.1', 0);
  const digest = certificateDigest(tls.cert);
  const derpMap = ownDerpMap({ host: '127.0.0.1', port, digest, stunPort: undefined });
  const close = () => {
    relay.close();
    return front.close();
  };
  return { derpMap, close };
}

/** A port that is free now, the same for all lives of the server. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** One life of the server. */
class Life {
  readonly child: ChildProcess;
  isReady = false;
  isOver = false;

  constructor(program: string, options: object) {
    this.child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(this.child);
    this.child.stdout!.on('data', () => {
      this.isReady = true;
    });
    this.child.once('exit', () => {
      this.isOver = true;
    });
  }

  async ready(): Promise<void> {
    await until(() => this.isReady || this.isOver, 'the start of the server', 20_000);
    assert.ok(this.isReady, 'the server starts after every end');
  }

  async kill(): Promise<void> {
    assert.not.ok(this.isOver, 'the server is alive until it is killed');
    this.child.kill('SIGKILL');
    await until(() => this.isOver, 'its end');
  }
}

/** What the dead server left, read from a copy, so that the next one finds it as it was left. */
function compareDead(state: AcknowledgedState, round: number): string[] {
  const path = join(folder, `copy-${round}.db`);
  for (const end of ['', '-wal'])
    if (existsSync(`${dataDir}/coordinator.db${end}`)) copyFileSync(`${dataDir}/coordinator.db${end}`, path + end);
  const store = new Store(path);
  const audit: AuditEntry[] = [];
  for (let before = Number.MAX_SAFE_INTEGER; ; ) {
    const rows = store.audit({ limit: 1000, before });
    if (rows.length === 0) break;
    before = rows.at(-1)!.seq;
    audit.unshift(...rows.reverse());
  }
  const { differences, applied } = state.compare([...store.load()], audit);
  store.close();
  for (const end of ['', '-wal']) rmSync(path + end, { force: true });
  assert.equal(differences, [], `after kill ${round}`);
  return applied;
}

/** Two motes: one asks the other by name, over and over. */
async function startTalking(url: string, keys: readonly string[]) {
  const [server, client] = await Promise.all(
    ['server', 'client'].map((name, at) => up({ control: url, authKey: keys[at]!, name })),
  );
  motes.push(server!, client!);
  await server!.serve(() => new Response('here\n'));
  const talk = { answers: 0, failures: [] as string[], isOver: false };
  const talking = (async () => {
    while (!talk.isOver) {
      const failed = (error: Error) => void talk.failures.push(error.message);
      const text = await client!
        .fetch('http://server/')
        .then(response => response.text())
        .catch(failed);
      if (text === 'here\n') talk.answers++;
      await new Promise(resolve => setTimeout(resolve, 5));
    }
  })();
  const stop = () => {
    talk.isOver = true;
    return talking;
  };
  return { server: server!, client: client!, talk, stop };
}

test(`killed ${KILLS} times under load: nothing that was answered is lost, and motes talk meanwhile and resume`, async () => {
  const [program, relay, port] = [bundleServer(), await startRelay(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const offline = await openOffline(dataDir);
  const keys: string[] = [];
  for (let i = 0; i < 3; i++) {
    const outcome = await offline.command(
      { name: 'admin', tailnet: undefined },
      { type: 'key-create', tailnet: 'default' },
    );
    keys.push((outcome as { value: { key: string } }).value.key);
  }
  await offline.close();
  const state = new AcknowledgedState();
  const load = fork(fileURLToPath(new URL('kill-load.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] });
  children.push(load);
  let isDown = false;
  load.on('message', (message: LoadMessage) => {
    if (message.type === 'down') isDown = true;
    else state.handle(message);
  });
  const tell = (command: LoadCommand) => void load.send(command);
  const live = () => new Life(program, { dataDir, port, derpMap: relay.derpMap });

  let life = live();
  await life.ready();
  const { server, client, talk, stop } = await startTalking(url, keys);
  const addresses = [server.addresses, client.addresses];
  let [applied, meanwhile, atStart]: [string[], number, number] = [[], 0, 0];
  for (let kill = 1; kill <= KILLS; kill++) {
    const before = state.acks;
    isDown = false;
    tell({ type: 'go', url, socketPath: join(dataDir, 'admin.sock'), applied });
    await until(() => state.acks > before, 'an answer', 20_000);
    await new Promise(resolve => setTimeout(resolve, Math.random() * MAX_WORK_MS));
    const killedMs = Date.now();
    await life.kill();
    tell({ type: 'stop' });
    await until(() => isDown, 'the news of it', 60_000);
    assert.equal(state.wrong, []);
    assert.ok(
      state.lostMs.every(lostMs => lostMs >= killedMs - 1),
      'no connection was lost before',
    );
    const answers = talk.answers;
    applied = compareDead(state, kill);
    await until(() => talk.answers >= answers + 2, 'a talk of the motes without a coordinator', 20_000);
    meanwhile += talk.answers - answers;
    if (Math.random() < 0.25) {
      const early = live(); // and once more while it starts
      await new Promise(resolve => setTimeout(resolve, Math.random() * 250));
      await early.kill();
      assert.equal(compareDead(state, kill), [], 'nothing is asked for meanwhile');
      atStart++;
    }
    life = live();
    await life.ready();
  }
  load.disconnect();
  // Both hear of a third that joins now, and it of them: they are connected again.
  const third = await up({ control: url, authKey: keys[2]!, name: 'third' });
  motes.push(third);
  await third.serve(() => new Response('new\n'));
  assert.is(await (await third.fetch('http://server/')).text(), 'here\n');
  const knowsThird = (mote: Mote) => mote.status().tailnet!.peers.some(({ name }) => name.startsWith('third.'));
  await until(() => knowsThird(server) && knowsThird(client), 'the news of the third mote', 60_000);
  assert.is(await (await client.fetch('http://third/')).text(), 'new\n');
  assert.equal([server.addresses, client.addresses], addresses);
  await stop();
  assert.equal(talk.failures, []);
  const { acks, unanswered, found, size } = state;
  console.log(
    `  ${acks} changes answered, ${size} records; ${unanswered} without an answer, ${found} of them made; ` +
      `${atStart} more kills at the start; ${meanwhile} of ${talk.answers} answers of a mote without a coordinator`,
  );
  await Promise.all(motes.splice(0).map(mote => mote.close()));
  await life.kill();
  await relay.close();
});

test.after(async () => {
  await Promise.all(motes.map(mote => mote.close()));
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

test.run();
