/** Node's HTTP and TLS, undici and this library's own client and server, through a tunnel and over real sockets. */
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { finished } from 'node:stream/promises';
import { Agent, fetch as undiciFetch, request as undiciRequest } from 'undici';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Timers } from '../../lib/mote/byte-stream.ts';
import { HttpClient } from '../../lib/mote/http-client.ts';
import { createServer } from '../../lib/mote/http-server.ts';
import type { Mote } from '../../lib/mote/mote.ts';
import { createAgent, createDispatcherConnect, createSecureAgent } from '../../targets/node/agent.ts';
import { DuplexStream, secureStream } from '../../targets/node/secure-stream.ts';
import { type Attachment, attachServer } from '../../targets/node/server.ts';
import { createConnection } from '../../targets/node/socket.ts';
import { FAR, NEAR, noise, once, pair, sha256, TLS, within } from './node-packages-support.ts';

const suiteOf = suite('node http');

let motes: { near: Mote; far: Mote; close(): Promise<void> };
suiteOf.before(async () => {
  motes = await pair();
  await motes.near.ping(FAR);
});
suiteOf.after(() => motes?.close());

/** A test that fails when it hangs. */
const test = (name: string, run: () => Promise<void>) => suiteOf(name, () => within(60_000, run()));

const timers: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** 20 MB for node:http, and a quarter of that for what runs over the same sockets. */
const HUGE = noise(20_000_000);
const BIG = HUGE.subarray(0, 5_000_000);
const HUGE_HASH = sha256(HUGE);
const BIG_HASH = sha256(BIG);

/** Says what it got: method, path, size and hash of the content; `/huge` and `/big` are content themselves. */
const app: http.RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', chunk => chunks.push(chunk));
  request.on('end', () => {
    if (request.url === '/huge') return void response.setHeader('content-length', HUGE.length).end(HUGE);
    if (request.url === '/big') return void response.setHeader('content-length', BIG.length).end(BIG);
    const content = Buffer.concat(chunks);
    response.setHeader('x-remote', `${request.socket.remoteAddress} ${request.socket.remoteFamily}`);
    response.end(`${request.method} ${request.url} ${content.length} ${sha256(content)}`);
  });
};

interface Answer {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly localPort: number | undefined;
}

/** One request of node:http or node:https. */
async function ask(make: typeof http.request, options: https.RequestOptions & { content?: Buffer }): Promise<Answer> {
  const { content, ...rest } = options;
  const request = make({ host: FAR, ...rest });
  if (content !== undefined) request.write(content);
  request.end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const { localPort } = response.socket;
  const chunks: Buffer[] = [];
  response.on('data', chunk => chunks.push(chunk));
  await finished(response);
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks), localPort };
}

const EMPTY_HASH = sha256(new Uint8Array(0));

/** Runs `run` with node's server attached to a port of the far mote. */
async function withServer(
  port: number,
  server: http.Server | https.Server,
  run: (attachment: Attachment) => Promise<void>,
): Promise<void> {
  const attachment = await attachServer(motes.far, server, port);
  try {
    await run(attachment);
  } finally {
    await attachment.close(500);
    server.close();
  }
}

test('node:http serves a hundred requests at the same time, and keeps connections', async () => {
  await withServer(80, http.createServer(app), async () => {
    const agent = createAgent(motes.near, { keepAlive: true, maxSockets: 20 });
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => {
        const content = noise(i * 400);
        return ask(http.request, { agent, path: `/${i}`, method: 'POST', content }).then(({ body }) =>
          assert.is(body.toString(), `POST /${i} ${content.length} ${sha256(content)}`),
        );
      }),
    );
    assert.is(answers.length, 100);
    const kept = Object.values(agent.freeSockets).flat().length;
    assert.is(kept, 20);
    const one = await ask(http.request, { agent, path: '/a' });
    const two = await ask(http.request, { agent, path: '/b' });
    assert.is(one.localPort, two.localPort, 'the second request had a connection of its own');
    assert.is(one.headers['x-remote'], `${NEAR} IPv4`);
    agent.destroy();
  });
});

test('node:http carries 20 MB up and down unchanged', async () => {
  await withServer(80, http.createServer(app), async () => {
    const agent = createAgent(motes.near);
    const up = await ask(http.request, { agent, path: '/up', method: 'PUT', content: HUGE });
    assert.is(up.body.toString(), `PUT /up ${HUGE.length} ${HUGE_HASH}`);
    const down = await ask(http.request, { agent, path: '/huge' });
    assert.is(sha256(down.body), HUGE_HASH);
    agent.destroy();
  });
});

test('node:http upgrades, times out, aborts and is refused as over any network', async () => {
  const server = http.createServer(app);
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.on('data', data => socket.write(data));
    socket.on('end', () => socket.end());
  });
  const agent = createAgent(motes.near);
  await withServer(80, server, async () => {
    const request = http.request({ host: FAR, agent, headers: { connection: 'upgrade', upgrade: 'echo' } }).end();
    const [, socket] = (await once(request, 'upgrade')) as [unknown, net.Socket];
    socket.write('raw');
    assert.is(String((await once(socket, 'data'))[0]), 'raw');
    socket.end();
    await once(socket, 'close');
  });
  const silent = http.createServer(() => undefined);
  await withServer(81, silent, async () => {
    const slow = http.get({ host: FAR, port: 81, agent, timeout: 50 });
    await once(slow, 'timeout');
    slow.destroy(new Error('gave up'));
    assert.match(((await once(slow, 'error'))[0] as Error).message, 'gave up');
  });
  const refused = http.get({ host: FAR, port: 82, agent });
  assert.is(((await once(refused, 'error'))[0] as Error).message, `connect ECONNREFUSED ${FAR}:82`);
  agent.destroy();
});

test('the time limits of node:http hold for an attached server', async () => {
  const server = http.createServer({ headersTimeout: 100, connectionsCheckingInterval: 30 }, app);
  await withServer(80, server, async () => {
    const socket = createConnection(motes.near, { host: FAR, port: 80 });
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n');
    let text = '';
    socket.on('data', data => {
      text += data;
    });
    await once(socket, 'close');
    assert.match(text, 'HTTP/1.1 408');
  });
});

test('an attachment that is closed lets the answer under way finish, and its server live on', async () => {
  let finish: () => void = () => undefined;
  const server = http.createServer((_request, response) => {
    finish = () => response.end('done');
  });
  const attachment = await attachServer(motes.far, server, 80);
  const agent = createAgent(motes.near, { keepAlive: true });
  const answer = ask(http.request, { agent });
  await once(server, 'request');
  const closing = attachment.close();
  await new Promise(resolve => setTimeout(resolve, 20));
  const refused = http.get({ host: FAR, agent: createAgent(motes.near) });
  assert.is(((await once(refused, 'error'))[0] as { code: string }).code, 'ECONNREFUSED');
  finish();
  assert.is((await answer).body.toString(), 'done');
  agent.destroy();
  await closing;
  await withServer(80, server, async () => {
    const again = ask(http.request, { agent: createAgent(motes.near) });
    await once(server, 'request');
    finish();
    assert.is((await again).body.toString(), 'done');
  });
});

test('node:https checks the certificate, resumes its session and carries 5 MB', async () => {
  await withServer(443, https.createServer(TLS, app), async () => {
    const agent = createSecureAgent(motes.near, { ca: TLS.cert, keepAlive: false });
    const get = (options: https.RequestOptions & { content?: Buffer }) => ask(https.request, { agent, ...options });
    const first = await get({ path: '/tls' });
    assert.is(first.body.toString(), `GET /tls 0 ${EMPTY_HASH}`);
    const named = await get({ host: 'web.test', path: '/name' });
    assert.is(named.status, 200);
    const big = await get({ path: '/big' });
    assert.is(sha256(big.body), BIG_HASH);
    const request = https.get({ host: FAR, agent });
    const [socket] = (await once(request, 'socket')) as [import('node:tls').TLSSocket];
    await once(request, 'response').then(([response]) => (response as http.IncomingMessage).resume());
    assert.ok(socket.isSessionReused());
    const strict = createSecureAgent(motes.near);
    const error = (await once(https.get({ host: FAR, agent: strict }), 'error'))[0] as { code: string };
    assert.is(error.code, 'DEPTH_ZERO_SELF_SIGNED_CERT');
    const other = https.get({
      host: FAR,
      agent: createSecureAgent(motes.near, { ca: TLS.cert, servername: 'other.test' }),
    });
    assert.is(((await once(other, 'error'))[0] as { code: string }).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    agent.destroy();
  });
  const refused = https.get({ host: FAR, port: 444, agent: createSecureAgent(motes.near) });
  assert.is(((await once(refused, 'error'))[0] as { code: string }).code, 'ECONNREFUSED');
});

test('undici keeps a connection, carries 10 MB, speaks TLS and sees a refusal', async () => {
  const content = noise(10_000_000);
  const hash = sha256(content);
  const ports = new Set<number | undefined>();
  const server = http.createServer((request, response) => {
    ports.add(request.socket.remotePort);
    app(request, response);
  });
  const dispatcher = new Agent({ connect: createDispatcherConnect(motes.near, { ca: TLS.cert }), connections: 1 });
  await withServer(80, server, async () => {
    for (let i = 0; i < 3; i++) {
      const response = await undiciFetch(`http://${FAR}/${i}`, { dispatcher });
      assert.is(await response.text(), `GET /${i} 0 ${EMPTY_HASH}`);
    }
    assert.is(ports.size, 1);
    const { body } = await undiciRequest(`http://${FAR}/up`, { method: 'POST', body: content, dispatcher });
    assert.is(await body.text(), `POST /up ${content.length} ${hash}`);
    const down = await undiciRequest(`http://${FAR}/big`, { dispatcher });
    assert.is(sha256(new Uint8Array(await down.body.arrayBuffer())), BIG_HASH);
  });
  await withServer(443, https.createServer(TLS, app), async () => {
    const response = await undiciFetch('https://web.test/s', { dispatcher });
    assert.is(await response.text(), `GET /s 0 ${EMPTY_HASH}`);
  });
  const error = await undiciFetch(`http://${FAR}:83/`, { dispatcher }).catch(
    e => e as Error & { cause: { code: string } },
  );
  assert.is((error as { cause: { code: string } }).cause.code, 'ECONNREFUSED');
  await dispatcher.close();
});

/** A client of this library through the tunnel. */
const ownClient = () =>
  new HttpClient({
    connect: ({ host, port }) => motes.near.dial(host, port),
    secure: (stream, target) => secureStream(stream, target, { ca: TLS.cert }),
    timers,
  });

test("this library's fetch talks to node:http and node:https, 5 MB each way", async () => {
  const client = ownClient();
  await withServer(80, http.createServer(app), async () => {
    const up = await client.fetch(`http://${FAR}/up`, { method: 'POST', body: BIG });
    assert.is(await up.text(), `POST /up ${BIG.length} ${BIG_HASH}`);
    const down = await client.fetch(`http://${FAR}/big`);
    assert.is(sha256(new Uint8Array(await down.arrayBuffer())), BIG_HASH);
    const many = Array.from({ length: 50 }, async (_, i) => (await client.fetch(`http://web.test/${i}`)).text());
    assert.equal(
      await Promise.all(many),
      many.map((_, i) => `GET /${i} 0 ${EMPTY_HASH}`),
    );
  });
  await withServer(443, https.createServer(TLS, app), async () => {
    const response = await client.fetch('https://web.test/big');
    assert.is(sha256(new Uint8Array(await response.arrayBuffer())), BIG_HASH);
    const own = new HttpClient({
      connect: ({ host, port }) => motes.near.dial(host, port),
      secure: (stream, target) => secureStream(stream, target),
    });
    const error = await own.fetch('https://web.test/').catch(e => e as Error);
    assert.match((error as Error).message, 'TLS with web.test failed: self-signed certificate');
  });
  client.close();
});

test("this library's serve answers node:http, undici and its own fetch, 5 MB each way", async () => {
  const server = createServer(
    async (request, info) => {
      const { pathname } = new URL(request.url);
      if (pathname === '/big') return new Response(BIG);
      if (pathname === '/echo') return new Response(request.body);
      const content = new Uint8Array(await request.arrayBuffer());
      return new Response(`${request.method} ${pathname} ${content.length} ${sha256(content)} ${info.remote.address}`);
    },
    { timers, unixMs: () => Date.now() },
  );
  const listener = await motes.far.listen(80);
  const listening = server.listen(listener);
  const agent = createAgent(motes.near, { keepAlive: true });
  const up = await ask(http.request, { agent, path: '/up', method: 'PUT', content: BIG });
  assert.is(up.body.toString(), `PUT /up ${BIG.length} ${BIG_HASH} ${NEAR}`);
  assert.ok(Math.abs(Date.parse(up.headers.date!) - Date.now()) < 5000);
  assert.is(sha256((await ask(http.request, { agent, path: '/big' })).body), BIG_HASH);
  const answers = Array.from({ length: 100 }, (_, i) => ask(http.request, { agent, path: `/${i}` }));
  assert.ok((await Promise.all(answers)).every(({ status }) => status === 200));
  agent.destroy();
  const dispatcher = new Agent({ connect: createDispatcherConnect(motes.near) });
  const echo = await undiciRequest(`http://${FAR}/echo`, { method: 'POST', body: BIG, dispatcher });
  assert.is(sha256(new Uint8Array(await echo.body.arrayBuffer())), BIG_HASH);
  await dispatcher.close();
  const client = ownClient();
  const body = new Blob([BIG]).stream();
  const own = await client.fetch(`http://${FAR}/echo`, { method: 'POST', body, duplex: 'half' });
  assert.is(sha256(new Uint8Array(await own.arrayBuffer())), BIG_HASH);
  client.close();
  await server.close();
  await listening;
  assert.is(server.connectionCount, 0);
});

test('client and server work over any byte stream: here over plain sockets of node:net', async () => {
  const ends = (socket: net.Socket) => ({
    local: { address: socket.localAddress!, port: socket.localPort! },
    remote: { address: socket.remoteAddress!, port: socket.remotePort! },
  });
  const server = createServer(async request => new Response(`over net: ${await request.text()}`), { timers });
  const plain = net.createServer({ allowHalfOpen: true }, socket => {
    void server.handle(new DuplexStream(socket, ends(socket)));
  });
  await new Promise<void>(resolve => plain.listen(0, '127.0.0.1', () => resolve()));
  const { port } = plain.address() as net.AddressInfo;
  const client = new HttpClient({
    connect: async target => {
      const socket = net.connect({ ...target, allowHalfOpen: true });
      await once(socket, 'connect');
      return new DuplexStream(socket, ends(socket));
    },
    timers,
  });
  for (const text of ['one', 'two']) {
    const response = await client.fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: text });
    assert.is(await response.text(), `over net: ${text}`);
  }
  assert.is(client.idleCount, 1);
  const global = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: 'three' });
  assert.is(await global.text(), 'over net: three');
  client.close();
  await server.close();
  plain.close();
});

suiteOf.run();
