/**
 * The suite `http2`: the client of lib/http2 against Go's server and that of Node, over real sockets on loopback, both
 * presets, whole and byte by byte; and against a server that means harm (go/h2/hostile.go).
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { HTTP2_LIMITS_LARGE, HTTP2_LIMITS_SMALL, type Http2Limits } from '../../lib/http2/limits.ts';
import { type Bench, type Case, expect } from './case.ts';
import { type Answer, Http2Link } from './http2-link.ts';
import { type Program, until } from './lab.ts';
import { buildTool } from './programs.ts';

/** Of a body each way. */
const BYTES = 2_000_000;
/** What the small preset may hold at most: its window, a header block, what waits to be sent, and change. */
const SMALL_MEMORY_BYTES = 12_000;
/** Header blocks, tables and buffers of the large one, when little is on its way. */
const LARGE_MEMORY_BYTES = 600_000;

const KINDS = Object.freeze([
  ['large', HTTP2_LIMITS_LARGE, false],
  ['large, byte by byte', HTTP2_LIMITS_LARGE, true],
  ['small', HTTP2_LIMITS_SMALL, false],
  ['small, byte by byte', HTTP2_LIMITS_SMALL, true],
] as const);

const content = (bytes: number) => new Uint8Array(bytes).map((_, i) => i % 251);
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const text = (answer: Answer) => Buffer.concat(answer.body).toString();

/** Go's server, and the hostile one. */
async function startGo(
  bench: Bench,
): Promise<{ program: Program; port: number; hostilePort: number; version: string }> {
  const path = buildTool('h2');
  const program = bench.lab.start(undefined, [path], { name: 'h2 (Go)' });
  await until('the address of the Go server', 10_000, () => program.stdout.includes('\n'));
  const [port, hostilePort] = program.stdout
    .split('\n')[0]!
    .split(' ')
    .map(address => Number(address.split(':')[1]));
  return { program, port: port!, hostilePort: hostilePort!, version: netVersion(path) };
}

/** The version of golang.org/x/net in a program, as Go reads it out of it. */
function netVersion(path: string): string {
  const { stdout } = spawnSync('go', ['version', '-m', path], { encoding: 'utf8' });
  return /golang\.org\/x\/net\s+(v[\w.-]+)/.exec(stdout ?? '')?.[1] ?? 'of an unknown version';
}

/** What a well-meaning server is asked, on one connection. */
async function exercise(port: number, name: string, limits: Http2Limits, isByteByByte: boolean): Promise<string> {
  const link = new Http2Link(port, limits, isByteByByte);
  const first = link.request({ path: '/hash' });
  await link.until('the first answer', () => first.isDone); // from here on it knows how many the server takes at once
  const several = [0, 1, 2, 3, 4, 5].map(i => link.request({ path: '/hash', body: new Uint8Array(i * 50) }));
  await link.until('six answers', () => several.every(({ isDone }) => isDone));
  const seen = several.map(answer => text(answer).split(' ').slice(0, 2).join(' ')).join(', ');
  expect(seen === 'GET 0, GET 50, GET 100, GET 150, GET 200, GET 250', `${name}: bodies with GET: ${seen}`);
  const ticks = link.request({ path: '/ticks' });
  await upload(link, name);
  await download(link, name, limits);
  await link.until('ticks beside them', () => text(ticks).split('\n').length > 3);
  link.client.cancel(performance.now(), ticks.id);
  const head = link.request({ path: `/head?n=${limits === HTTP2_LIMITS_SMALL ? 1500 : 60_000}` });
  await link.until('the large head', () => head.isDone);
  expect(head.status === 200 && text(head) === 'body', `${name}: a large head: ${link.client.error?.message}`);
  expect(
    link.log.some(line => line.includes('trailers')),
    `${name}: no trailer: ${link.log.join(' ')}`,
  );
  const isSmall = limits === HTTP2_LIMITS_SMALL;
  expect(!isSmall || link.mostMemory < SMALL_MEMORY_BYTES, `${name}: it held ${link.mostMemory} bytes`);
  link.socket.destroy();
  return `${name}: ${BYTES} bytes each way, at most ${link.mostMemory} held`;
}

async function upload(link: Http2Link, name: string): Promise<void> {
  const bytes = content(BYTES);
  const up = link.request({ method: 'POST', path: '/hash', endStream: false });
  let at = 0;
  let isEnded = false;
  link.onWritable = () => {
    if (isEnded) return;
    at += link.client.sendData(performance.now(), up.id, bytes, at, BYTES, true);
    isEnded = at === BYTES;
  };
  link.onWritable();
  await link.until('the upload', () => up.isDone);
  expect(text(up).startsWith(`POST ${BYTES} ${hashOf(bytes)}`), `${name}: uploaded ${text(up).slice(0, 60)}`);
}

async function download(link: Http2Link, name: string, limits: Http2Limits): Promise<void> {
  link.holds = true;
  const down = link.request({ path: `/bytes/${BYTES}` });
  await new Promise(resolve => setTimeout(resolve, 200));
  const held = down.bytes;
  expect(held > 0 && held <= limits.windowBytes, `${name}: ${held} bytes came without being consumed`);
  link.holds = false;
  link.client.consumed(performance.now(), down.id, held);
  await link.until('the download', () => down.isDone);
  expect(hashOf(Buffer.concat(down.body)) === hashOf(content(BYTES)), `${name}: downloaded something else`);
}

async function runGo(bench: Bench): Promise<string> {
  const { program, port, version } = await startGo(bench);
  const lines: string[] = [];
  for (const [name, limits, isByteByByte] of KINDS) lines.push(await exercise(port, name, limits, isByteByByte));
  const last = new Http2Link(port, HTTP2_LIMITS_SMALL, false);
  const ticks = last.request({ path: '/ticks' });
  await last.until('ticks', () => ticks.bytes > 5);
  program.child.stdin!.end();
  await last.until('a goodbye', () => last.log.some(line => line.includes('goaway')));
  last.client.cancel(performance.now(), ticks.id);
  await last.until('the end', () => last.client.error !== undefined);
  const { code } = last.client.error!;
  expect(code === 'ERR_CLOSED', `the end of the server is ${code}`);
  return `golang.org/x/net/http2 ${version}: ${lines.join('; ')}; it takes leave: ${code}`;
}

/** Node's server in this process, with the same paths as the Go server; never reads what is sent to `/starve`. */
async function startNode(): Promise<{ port: number; close: () => void }> {
  const server = http2.createServer({ maxSendHeaderBlockLength: 10_000_000, settings: { maxConcurrentStreams: 3 } });
  server.on('stream', (stream, headers) => {
    const [path, search] = String(headers[':path']).split('?') as [string, string | undefined];
    stream.on('error', () => undefined);
    if (path === '/hash') {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const body = Buffer.concat(chunks);
        stream.end(`${headers[':method']} ${body.length} ${hashOf(body)}`);
      });
    } else if (path.startsWith('/bytes/')) stream.end(content(Number(path.slice(7))));
    else if (path === '/ticks') {
      const timer = setInterval(() => stream.write('tick\n'), 20);
      stream.on('close', () => clearInterval(timer));
    } else if (path === '/head') {
      stream.respond({ 'x-large': 'h'.repeat(Number(search!.slice(2))) }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ checksum: '7' }));
      stream.end('body');
    } else stream.pause();
  });
  server.on('sessionError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

async function runNode(): Promise<string> {
  const { port, close } = await startNode();
  const lines: string[] = [];
  for (const [name, limits, isByteByByte] of KINDS) lines.push(await exercise(port, name, limits, isByteByByte));
  close();
  return `node:http2 of ${process.version}: ${lines.join('; ')}`;
}

/** One attack; resolves with how the request or the connection ended. */
async function suffer(
  port: number,
  path: string,
  limits: Http2Limits,
  isByteByByte: boolean,
): Promise<{ code: string; isConnection: boolean; memory: number }> {
  const link = new Http2Link(port, { ...limits, stallTimeoutMs: 700 }, isByteByByte);
  const isUpload = path === '/starve';
  const answers = [link.request(isUpload ? { method: 'POST', path, endStream: false } : { path })];
  if (isUpload) {
    let at = 0;
    link.onWritable = () => {
      at += link.client.sendData(performance.now(), answers[0]!.id, content(500_000), at, 500_000, true);
    };
    link.onWritable();
    link.pump();
  }
  // A bomb has two halves, one per answer.
  if (path === '/bomb') answers.push(link.request({ path }));
  const last = answers.at(-1)!;
  await link.until(`the end of ${path}`, () => last.notes.length > 0 || link.client.error !== undefined);
  const isConnection = link.client.error !== undefined;
  const { code } = link.client.error ?? last.notes[0]!;
  await new Promise(resolve => setTimeout(resolve, 20));
  link.socket.destroy();
  return { code, isConnection, memory: link.mostMemory };
}

async function runHostile(bench: Bench): Promise<string> {
  const { program, port, hostilePort, version } = await startGo(bench);
  const node = await startNode();
  const said: string[] = [];
  for (const [name, limits, isByteByByte] of KINDS) {
    const isSmall = limits === HTTP2_LIMITS_SMALL;
    const most = isSmall ? SMALL_MEMORY_BYTES : LARGE_MEMORY_BYTES;
    for (const [path, at, codes] of [
      ['/bomb', hostilePort, ['ERR_LIMIT', 'ERR_PROTOCOL']],
      ['/continuation', hostilePort, ['ERR_LIMIT', 'ERR_PROTOCOL']],
      ['/starve', hostilePort, ['ERR_TIMED_OUT']],
      ['/head?n=1000000', port, ['ERR_LIMIT', 'ERR_PROTOCOL']],
      ['/head?n=1000000', node.port, ['ERR_LIMIT', 'ERR_PROTOCOL']],
      ['/starve', node.port, ['ERR_TIMED_OUT']],
    ] as const) {
      const { code, isConnection, memory } = await suffer(at, path, limits, isByteByByte);
      const what = `${name}: ${path}: ${code} of the ${isConnection ? 'connection' : 'request'}`;
      expect((codes as readonly string[]).includes(code), what);
      expect(path !== '/starve' || !isConnection, `${what}, which others use`);
      expect(memory <= most, `${what}, and it held ${memory} bytes`);
      if (!isByteByByte) said.push(`${what}, at most ${memory} bytes held`);
    }
  }
  node.close();
  await until(
    'the words of the attacker',
    10_000,
    () => program.stdout.trim().split('\n').length >= 1 + 3 * KINDS.length,
  );
  const heard = program.stdout.trim().split('\n').slice(1);
  expect(!heard.some(line => line.includes('still there')), `an attack was endured: ${heard.join('; ')}`);
  return `golang.org/x/net/http2 ${version}, node:http2 of ${process.version}: ${said.join('; ')}. The attacker: ${[...new Set(heard)].join('; ')}`;
}

export const http2Cases: readonly Case[] = [
  {
    name: 'go',
    title: 'requests, bodies, held back and endless answers, trailers and a goodbye with the server of Go',
    isMoteOnly: true,
    run: runGo,
  },
  {
    name: 'node',
    title: 'the same with node:http2',
    isMoteOnly: true,
    run: runNode,
  },
  {
    name: 'hostile',
    title: 'header bomb, CONTINUATION flood and a window that never opens end in a clean error, within bounded memory',
    isMoteOnly: true,
    run: runHostile,
  },
];
