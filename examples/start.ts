/**
 * `npm start`: a private network from nothing, on this machine: a coordinator with its relay, and two motes that join
 * it and find each other by name, all in processes of their own.
 *
 * The coordinator and the first mote are the command line (`motenet serve`, `motenet up --expose`), the second mote is
 * this file again, with the library. An HTTP server that listens on 127.0.0.1 only is fetched by the name of the mote
 * that exposes it. All ports are chosen by the system, and everything that was made is removed again.
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type MoteEvent, up } from '../targets/node/index.ts';

const FILE_BYTES = 8 * 1_048_576;
/** The whole run takes a few seconds; after this something is wrong. */
const TIMEOUT_MS = 60_000;
const THIS_FILE = fileURLToPath(import.meta.url);
const COMMAND = [...process.execArgv, fileURLToPath(new URL('../targets/cli/main.ts', import.meta.url))];

/** One line of the output; the second mote sends its own to the process that shows them. */
interface Step {
  readonly name: string;
  readonly text: string;
}

const startedMs = performance.now();
let stepNumber = 0;

function show({ name, text }: Step): void {
  console.log(`${String(++stepNumber).padStart(2)}  ${name.padEnd(12)} ${text}`);
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const count = (n: number) => n.toLocaleString('en-US');
const took = (fromMs: number) => `${(performance.now() - fromMs).toFixed(0)} ms`;
const rate = (bytes: number, fromMs: number) =>
  `${Math.round((bytes * 8) / 1000 / (performance.now() - fromMs))} Mbit/s`;

/** A real HTTP server on a free loopback port: a page and a file. */
async function startServer(file: Buffer): Promise<{ port: number; close(): void }> {
  const server = createServer((request, response) => {
    if (request.url === '/file') response.end(file);
    else response.end('Hello from a server that listens on 127.0.0.1 only.\n');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, close: () => server.close().closeAllConnections() };
}

/** Starts the command line with `--json` and waits for its `ready` event, whose fields it returns. */
async function start(children: ChildProcess[], args: readonly string[]): Promise<Record<string, unknown>> {
  const child = spawn(process.execPath, [...COMMAND, ...args, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  for await (const line of createInterface(child.stdout)) {
    const event = JSON.parse(line);
    if (event.event !== 'ready') continue;
    child.stdout.resume();
    return event;
  }
  throw new Error(`motenet ${args[0]} ended before it was ready; its message is above`);
}

/** Runs a command that ends by itself and reads its JSON. */
async function ask(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { stdout } = await promisify(execFile)(process.execPath, [...COMMAND, ...args, '--json']);
  return JSON.parse(stdout);
}

/** SIGINT, and the exit code that a clean end has. */
async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGINT');
  const [code] = await ended;
  if (code !== 0) throw new Error(`a process ended with exit code ${code}`);
}

/** Starts everything, shows what happens, and ends everything. */
async function main(children: ChildProcess[], folder: string): Promise<void> {
  console.log('A private network from nothing: a coordinator with its relay, and two motes that find each other.\n');
  const data = join(folder, 'coordinator');
  let fromMs = performance.now();
  const ports = ['--listen', '127.0.0.1:0', '--relay-port', '0', '--stun-port', '0'];
  const { url } = await start(children, ['serve', '--data', data, ...ports]);
  show({ name: 'coordinator', text: `motenet serve: ${url} after ${took(fromMs)}, with relay and STUN` });
  const [first, second] = [await ask('keys', 'create', '--data', data), await ask('keys', 'create', '--data', data)];
  show({ name: 'auth keys', text: `motenet keys create: ${first['id']} and ${second['id']}, for one device each` });

  const file = randomBytes(FILE_BYTES);
  const server = await startServer(file);
  show({ name: 'HTTP server', text: `127.0.0.1:${server.port}, with a file of ${count(FILE_BYTES)} bytes` });
  fromMs = performance.now();
  const join1 = ['up', '--control', String(url), '--authkey', String(first['key']), '--name', 'web'];
  const own = ['--state', join(folder, 'web'), '--expose', `80=127.0.0.1:${server.port}`];
  const web = await start(children, [...join1, ...own]);
  const addresses = (web['addresses'] as string[]).join(' and ');
  show({ name: 'first mote', text: `motenet up --name web --expose 80=…: joined after ${took(fromMs)}, ${addresses}` });

  const fetcher = fork(THIS_FILE, ['fetch']);
  children.push(fetcher);
  fetcher.on('message', step => show(step as Step));
  fetcher.send({ control: url, authKey: second['key'], digest: sha256(file) });
  const [code] = await once(fetcher, 'exit');
  if (code !== 0) throw new Error('the second mote failed; its message is above');

  const devices = (await ask('devices', 'list', '--data', data)) as unknown as Record<string, unknown>[];
  const listed = devices.map(device => `${device['name']} ${device['isOnline'] === true ? 'online' : 'offline'}`);
  show({ name: 'devices', text: `motenet devices list: ${listed.join(', ')}` });
  fromMs = performance.now();
  await stop(children[1]!);
  await stop(children[0]!);
  server.close();
  show({ name: 'end', text: `SIGINT ended mote and coordinator in ${took(fromMs)}` });
  console.log(
    `\nDone in ${((performance.now() - startedMs) / 1000).toFixed(1)} s. Next: npm run motenet -- help serve`,
  );
}

/** The second mote: joins, and fetches from the first by its name. */
async function fetchByName(o: { control: string; authKey: string; digest: string }): Promise<void> {
  const tell = (name: string, text: string) => process.send!({ name, text });
  let fromMs = performance.now();
  const joined: MoteEvent[] = [];
  const mote = await up({
    control: o.control,
    authKey: o.authKey,
    name: 'laptop',
    onEvent: event => joined.push(event),
  });
  const { name } = mote.status().tailnet!;
  tell('second mote', `up(): joined as ${name} after ${took(fromMs)}, ${mote.addresses.join(' and ')}`);
  fromMs = performance.now();
  const page = await mote.fetch('http://web/');
  const body = (await page.text()).trim();
  tell('GET /', `http://web/ gave ${page.status} after ${took(fromMs)}, handshake included: ${body}`);
  const { path, endpoint, relay, latencyMs } = await mote.pingPath('web');
  const way = path === 'direct' ? `directly at ${endpoint}` : `through relay ${relay}`;
  tell('ping', `web answers in ${latencyMs.toFixed(2)} ms, ${way}`);
  fromMs = performance.now();
  const file = new Uint8Array(await (await mote.fetch('http://web.default.mote.internal/file')).arrayBuffer());
  tell('GET /file', `${count(file.length)} bytes in ${took(fromMs)}, ${rate(file.length, fromMs)}`);
  if (sha256(file) !== o.digest) throw new Error('the file did not arrive as it was sent');
  tell('SHA-256', `matches: ${o.digest.slice(0, 16)}…`);
  const web = mote.status().tailnet!.peers.find(peer => peer.name.startsWith('web.'))!;
  const who = mote.whois(web.addresses[0]!)!;
  tell('whois', `${web.addresses[0]} is ${who.name} of ${who.user?.loginName}, key ${who.publicKey.slice(0, 8)}…`);
  await mote.close();
  process.disconnect();
}

if (process.argv[2] === 'fetch') {
  process.once('message', message => {
    fetchByName(message as Parameters<typeof fetchByName>[0]).catch((error: Error) => {
      console.error(`second mote: ${error.message}`);
      process.exit(1);
    });
  });
} else {
  const children: ChildProcess[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'motenet-start-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const fail = (error: Error) => {
    console.error(`npm start failed: ${error.message}`);
    for (const child of children) child.kill('SIGKILL');
    process.exit(1);
  };
  const late = `not done after ${TIMEOUT_MS / 1000} s: is TCP on loopback blocked?`;
  const timer = setTimeout(() => fail(new Error(late)), TIMEOUT_MS);
  main(children, folder).then(() => clearTimeout(timer), fail);
}
