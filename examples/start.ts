/**
 * `npm start`: two members of a private network in two processes on this machine, and an HTTP server that only one of
 * them can reach.
 *
 * Process A is the command line: `motenet wg - --expose 80=…`, its wg-quick file on standard input. Process B is this
 * file again, with the library: it brings a mote up, pings A and fetches from the server through the tunnel. Between
 * the two there are WireGuard datagrams on loopback and nothing else. All ports are chosen by the system.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { genkey, genpsk, pubkey } from '../targets/cli/keys.ts';
import { createNobleSuite, host, type MoteOptions, up } from '../targets/node/index.ts';

const ADDRESS_A = '10.44.0.1';
const ADDRESS_B = '10.44.0.2';
const FILE_BYTES = 8 * 1_048_576;
/** The whole run takes about two seconds; after this something is wrong. */
const TIMEOUT_MS = 30_000;
const THIS_FILE = fileURLToPath(import.meta.url);
const COMMAND = fileURLToPath(new URL('../targets/cli/main.ts', import.meta.url));

/** One line of the output; process B sends its own to the process that shows them. */
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
const took = (fromMs: number) => `${(performance.now() - fromMs).toFixed(1)} ms`;
const rate = (bytes: number, fromMs: number) =>
  `${Math.round((bytes * 8) / 1000 / (performance.now() - fromMs))} Mbit/s`;

function newKeys(): { privateKey: string; publicKey: string } {
  const privateKey = genkey(host.random);
  return { privateKey, publicKey: pubkey(privateKey, createNobleSuite()) };
}

/** A real HTTP server on a free loopback port: a page, a file, and the digest of whatever is posted. */
async function startServer(file: Buffer): Promise<{ port: number; requests: () => number; close(): void }> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    if (request.method === 'POST') {
      const hash = createHash('sha256');
      request.on('data', chunk => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')));
    } else if (request.url === '/file') response.end(file);
    else
      response.end(
        `Hello from a server that listens on 127.0.0.1 only. Your connection came from ${request.socket.remoteAddress}.\n`,
      );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, requests: () => requests, close: () => server.close().closeAllConnections() };
}

/** Starts process A and waits until it is ready: its UDP port. */
async function startA(config: string, serverPort: number): Promise<{ child: ChildProcess; port: number }> {
  const args = ['wg', '-', '--json', '--expose', `80=127.0.0.1:${serverPort}`];
  const child = spawn(process.execPath, [...process.execArgv, COMMAND, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(config);
  for await (const line of createInterface(child.stdout)) {
    const event = JSON.parse(line);
    if (event.event !== 'ready') continue;
    child.stdout.resume();
    return { child, port: event.listenPort };
  }
  throw new Error('process A ended before it was ready; its message is above');
}

/** Starts everything, shows what happens, and ends everything. */
async function main(children: ChildProcess[]): Promise<void> {
  console.log('Two members of a private network, each in a process of its own, with WireGuard between them.\n');
  const [a, b, presharedKey] = [newKeys(), newKeys(), genpsk(host.random)];
  show({ name: 'keys', text: `A ${a.publicKey.slice(0, 8)}…  B ${b.publicKey.slice(0, 8)}…  and a preshared key` });
  const file = randomBytes(FILE_BYTES);
  const server = await startServer(file);
  show({
    name: 'HTTP server',
    text: `node:http on 127.0.0.1:${server.port}, with a file of ${count(FILE_BYTES)} bytes`,
  });
  const startMs = performance.now();
  const config = [
    ...['[Interface]', `PrivateKey = ${a.privateKey}`, `Address = ${ADDRESS_A}/24`],
    ...['[Peer]', `PublicKey = ${b.publicKey}`, `PresharedKey = ${presharedKey}`, `AllowedIPs = ${ADDRESS_B}/32`],
  ].join('\n');
  const { child, port } = await startA(config, server.port);
  children.push(child);
  const what = `motenet wg - --expose 80=127.0.0.1:${server.port}`;
  show({ name: 'process A', text: `${what}: ready after ${took(startMs)}, ${ADDRESS_A} on UDP port ${port}` });
  const options: MoteOptions = {
    privateKey: b.privateKey,
    addresses: [`${ADDRESS_B}/24`],
    peers: [{ publicKey: a.publicKey, presharedKey, endpoint: `127.0.0.1:${port}`, allowedIPs: [`${ADDRESS_A}/32`] }],
  };
  const fetcher = fork(THIS_FILE, ['fetch']);
  children.push(fetcher);
  fetcher.on('message', step => show(step as Step));
  fetcher.send({ options, digest: sha256(file) });
  const [codeB] = await once(fetcher, 'exit');
  if (codeB !== 0) throw new Error('process B failed; its message is above');
  const before = performance.now();
  child.kill('SIGINT');
  const [codeA] = await once(child, 'exit');
  if (codeA !== 0) throw new Error(`process A ended with exit code ${codeA}`);
  show({ name: 'end', text: `the server saw ${server.requests()} requests; SIGINT ended A in ${took(before)}` });
  server.close();
  console.log(`\nDone in ${((performance.now() - startedMs) / 1000).toFixed(1)} s. Next: npm run motenet -- help wg`);
}

/** Process B: a mote that pings A and fetches from the server behind it. */
async function fetchThroughTunnel(options: MoteOptions, digest: string): Promise<void> {
  const tell = (name: string, text: string) => process.send!({ name, text });
  let fromMs = performance.now();
  const mote = await up(options);
  const { suite, local } = mote.status();
  tell(
    'process B',
    `up(): ready after ${took(fromMs)}, ${ADDRESS_B} on UDP port ${mote.listenPort}, ciphers: ${suite}`,
  );
  if (local.length === 0) throw new Error('no UDP socket');
  fromMs = performance.now();
  const shaken = new Promise<void>(resolve => mote.on(event => event.type === 'handshake' && resolve()));
  const first = mote.ping(ADDRESS_A);
  await shaken;
  tell('handshake', `${took(fromMs)} from the first packet to a session`);
  await first;
  tell('ping', `${ADDRESS_A} answers in ${(await mote.ping(ADDRESS_A)).toFixed(2)} ms`);
  const get = async (path: string, init?: RequestInit) => {
    fromMs = performance.now();
    const response = await mote.fetch(`http://${ADDRESS_A}${path}`, init);
    const body = new Uint8Array(await response.arrayBuffer());
    if (response.status !== 200) throw new Error(`${path} gave status ${response.status}`);
    return body;
  };
  const page = await get('/');
  tell('GET /', `${count(page.length)} bytes in ${took(fromMs)}: ${Buffer.from(page).toString().trim()}`);
  const file = await get('/file');
  tell('GET /file', `${count(file.length)} bytes in ${took(fromMs)}, ${rate(file.length, fromMs)}`);
  if (sha256(file) !== digest) throw new Error('the file did not arrive as it was sent');
  const answer = Buffer.from(await get('/', { method: 'POST', body: file as Uint8Array<ArrayBuffer> })).toString();
  tell('POST /', `${count(file.length)} bytes in ${took(fromMs)}, ${rate(file.length, fromMs)}`);
  if (answer !== digest) throw new Error('the upload did not arrive as it was sent');
  tell('SHA-256', `download and upload match: ${digest.slice(0, 16)}…`);
  const { peers, drops } = mote.status();
  const dropped = Object.entries(drops).map(([reason, times]) => `${reason} ${times}`);
  const bytes = `${count(peers[0]!.rxBytes)} bytes of datagrams received, ${count(peers[0]!.txBytes)} sent`;
  tell('counters', `${bytes}, dropped: ${dropped.join(', ') || 'none'}`);
  await mote.close();
  process.disconnect();
}

if (process.argv[2] === 'fetch') {
  process.once('message', message => {
    const { options, digest } = message as { options: MoteOptions; digest: string };
    fetchThroughTunnel(options, digest).catch((error: Error) => {
      console.error(`process B: ${error.message}`);
      process.exit(1);
    });
  });
} else {
  const children: ChildProcess[] = [];
  const fail = (error: Error) => {
    console.error(`npm start failed: ${error.message}`);
    for (const child of children) child.kill('SIGKILL');
    process.exit(1);
  };
  const text = `not done after ${TIMEOUT_MS / 1000} s: is UDP on loopback blocked?`;
  const timer = setTimeout(() => fail(new Error(text)), TIMEOUT_MS);
  main(children).then(() => clearTimeout(timer), fail);
}
