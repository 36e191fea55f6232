/** What strangers can do to a server: little, and not for long. Real sockets, short limits. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Encode } from '../../lib/base/bytes.ts';
import type { KeyView } from '../../lib/coordinator/commands.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { host } from '../../targets/node/host.ts';
import { CoordinatorHost } from '../../targets/server/coordinator-host.ts';
import { SourceGate } from '../../targets/server/source-gate.ts';
import { SERVER_LIMITS, type ServerLimits } from '../../targets/server/types.ts';
import { Coordinator } from '../../lib/coordinator/coordinator.ts';
import { command, messagesOf, random, startTestServer, suiteOfTests, TestDevice, until } from './support.ts';

const test = suite('server limits');

/** Bytes that strangers may send. */
const BYTES = { strangerBytesPerSecond: 10_000, strangerBytesBurst: 20_000 };

const start = (limits: Partial<ServerLimits>) => startTestServer({ limits: { ...SERVER_LIMITS, ...limits } });

/** A raw connection to a server, and what came over it. */
async function raw(url: string): Promise<{ socket: Socket; text: () => string; closed: Promise<unknown> }> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  await once(socket, 'connect');
  return { socket, text: () => text, closed };
}

/** Resolves when a promise does, within a time. */
async function within(promise: Promise<unknown>, what: string, ms = 8000): Promise<void> {
  let isDone = false;
  promise.then(() => {
    isDone = true;
  });
  await until(() => isDone, what, ms);
}

test('a head that dribbles in, or is too large, ends its connection', async () => {
  const { server, stop } = await start({ headTimeoutMs: 700, requestTimeoutMs: 1000 });
  const slow = await raw(server.url);
  slow.socket.write('GET /key?v=1 HTTP/1.1\r\nHost: a\r\n');
  const dribble = setInterval(() => slow.socket.write('x: y\r\n'), 50);
  await within(slow.closed, 'the end of the slow one');
  clearInterval(dribble);
  assert.match(slow.text(), /^HTTP\/1\.1 408 /);
  const silent = await raw(server.url);
  await within(silent.closed, 'the end of the silent one');
  const large = await raw(server.url);
  large.socket.write(`GET / HTTP/1.1\r\nHost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`);
  await within(large.closed, 'the end of the large one');
  assert.match(large.text(), /^HTTP\/1\.1 431 /);
  const secure = connect(server.relayPort!, '127.0.0.1');
  secure.on('error', () => undefined);
  await within(once(secure, 'close'), 'the end of one that does not speak TLS');
  await stop();
});

test('an upgrade that is none is answered and closed', async () => {
  const { server, stop } = await start({});
  for (const [head, status] of [
    ['POST /ts2021 HTTP/1.1\r\nUpgrade: tailscale-control-protocol', 400],
    ['POST /ts2021 HTTP/1.1\r\nUpgrade: tailscale-control-protocol\r\nX-Tailscale-Handshake: AAAA', 400],
    ['GET /ts2021 HTTP/1.1\r\nUpgrade: h2c', 400],
    ['GET /health HTTP/1.1\r\nUpgrade: h2c', 200],
    ['GET /derp HTTP/1.1\r\nUpgrade: something', 426],
    ['GET /nothing HTTP/1.1\r\nUpgrade: DERP', 404],
  ] as const) {
    const { socket, text, closed } = await raw(server.url);
    socket.write(`${head}\r\nHost: a\r\nConnection: Upgrade\r\n\r\n`);
    await within(closed, `the end of ${head}`);
    assert.ok(text().startsWith(`HTTP/1.1 ${status} `), `${head}: ${text()}`);
  }
  await until(() => server.status().connections === 0, 'the end of all');
  await stop();
});

test('an upgrade in one piece with the request before it ends its connection, and no other', async () => {
  const { server, stop } = await start({});
  const heads = [
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
    'POST /ts2021 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tailscale-control-protocol\r\n\r\n',
    'GET /derp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n',
  ];
  for (const head of heads) {
    const { socket, closed, text } = await raw(server.url);
    socket.write(`GET /key HTTP/1.1\r\nHost: a\r\n\r\n${head}`);
    await within(closed, 'the end');
    assert.not.match(text(), /HTTP\/1\.1 (101|400)/);
  }
  assert.is((await fetch(`${server.url}/health`)).status, 200);
  // After the answer it may ask.
  const { socket, closed, text } = await raw(server.url);
  socket.write('GET /key HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => text().includes('publicKey'), 'the key');
  socket.write(heads[1]!);
  await within(closed, 'the end');
  assert.match(text(), /HTTP\/1\.1 400 /);
  await stop();
});

test('a handshake that does not fit is told so, and closed', async () => {
  const { server, stop } = await start({});
  const { socket, text, closed } = await raw(server.url);
  const initiation = Buffer.alloc(101);
  initiation.set([0, 113, 1, 0, 96]);
  socket.write(
    'POST /ts2021 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: tailscale-control-protocol\r\n' +
      `X-Tailscale-Handshake: ${initiation.toString('base64')}\r\n\r\n`,
  );
  await within(closed, 'the end');
  assert.match(text(), /^HTTP\/1\.1 101 /);
  assert.match(text(), 'does not fit');
  assert.is(server.status().controlSessions, 0);
  await stop();
});

test('sessions of strangers are bounded per source, and end when nothing is asked', async () => {
  const { server, stop } = await start({ strangersPerSource: 4, idleTimeoutMs: 1200 });
  const devices: TestDevice[] = [];
  for (let i = 0; i < 3; i++) {
    const device = new TestDevice();
    await device.connect(server.url);
    devices.push(device);
  }
  await until(() => server.status().controlSessions === 3, 'the sessions');
  for (let i = 0; i < 10; i++) (await raw(server.url)).socket.unref();
  await until(() => server.status().refused >= 6, 'the refusals');
  assert.ok(server.status().strangers <= 4);
  await until(() => devices.every(({ isClosed }) => isClosed), 'the end of the idle ones');
  await until(() => server.status().controlSessions === 0, 'the end of their sessions');
  await stop();
});

test('a member’s session stays while it has a map stream, and its connection no longer counts', async () => {
  const { server, stop } = await start({ idleTimeoutMs: 700, strangersPerSource: 3 });
  const { key } = await command<KeyView>(server, { type: 'key-create', tailnet: 'default', isReusable: true });
  const devices: TestDevice[] = [];
  for (let i = 0; i < 5; i++) {
    const device = new TestDevice();
    await device.connect(server.url);
    await device.register(key!);
    const map = device.openMap();
    await until(() => messagesOf(map.body).length > 0, 'the map');
    devices.push(device);
  }
  await new Promise(resolve => setTimeout(resolve, 1500));
  assert.ok(devices.every(({ isClosed }) => !isClosed));
  assert.is(server.status().controlSessions, 5);
  for (const device of devices) device.close();
  await until(() => server.status().controlSessions === 0 && server.status().connections === 0, 'the end');
  await stop();
});

test('a session whose client does not answer a ping ends', async () => {
  const { server, stop } = await start({ pingMs: 300, pongTimeoutMs: 1000 });
  const { key } = await command<KeyView>(server, { type: 'key-create', tailnet: 'default', isReusable: true });
  const [good, gone] = [new TestDevice(), new TestDevice()];
  for (const device of [good, gone]) {
    await device.connect(server.url);
    await device.register(key!);
    const map = device.openMap();
    await until(() => messagesOf(map.body).length > 0, 'the map');
  }
  gone.socket.pause(); // as one whose cable was pulled: no end, no answer
  await until(() => server.status().controlSessions === 1, 'the end of the one that is gone');
  await new Promise(resolve => setTimeout(resolve, 600));
  assert.not.ok(good.isClosed, 'the other answers');
  for (const device of [good, gone]) device.close();
  await stop();
});

test('bodies are bounded, alone and all together, and have to come in time', async () => {
  const { server, stop } = await start({
    bodyBytes: 10_000,
    bodiesBytes: 25_000,
    headTimeoutMs: 1000,
    requestTimeoutMs: 1500,
  });
  const device = new TestDevice();
  await device.connect(server.url);
  assert.is((await device.ask('/machine/register', new Uint8Array(10_001))).status, 413);
  assert.is((await device.ask('/machine/register', utf8Encode('no json'))).status, 400);
  const slow = [0, 1, 2].map(() => device.request('/machine/register', new Uint8Array(9000), { endStream: false }));
  await until(() => slow.some(({ status }) => status === 503), 'the refusal');
  await until(() => slow.every(({ status }) => status !== 0), 'the end of their time');
  assert.equal(slow.map(({ status }) => status).sort(), [408, 408, 503]);
  // What they held is free again.
  assert.is((await device.ask('/machine/register', utf8Encode('no json'))).status, 400);
  device.close();
  await stop();
});

test('what strangers of one source send is read no faster than they may, what a member sends at once', async () => {
  const { server, stop } = await start(BYTES);
  const { key } = await command<KeyView>(server, { type: 'key-create', tailnet: 'default' });
  const member = new TestDevice();
  await member.connect(server.url);
  await member.register(key!);
  const map = member.openMap();
  await until(() => messagesOf(map.body).length > 0, 'the map');
  const stranger = new TestDevice();
  await stranger.connect(server.url);
  const ask = async (device: TestDevice) => {
    const startMs = performance.now();
    for (let i = 0; i < 2; i++) assert.is((await device.ask('/machine/register', new Uint8Array(12_000))).status, 400);
    return performance.now() - startMs;
  };
  // 26,048 bytes beside those of the registration, of which 20,000 are free.
  const slowMs = await ask(stranger);
  assert.ok(slowMs > 400, `${slowMs} ms`);
  const endMs = performance.now();
  for (let i = 0; i < 5; i++) await ask(member);
  assert.ok(performance.now() - endMs < 5000, 'a member would wait twelve seconds');
  for (const device of [member, stranger]) device.close();
  await stop();
});

test('paths inside: what is not there, and how it is asked', async () => {
  const { server, stop } = await start({});
  const device = new TestDevice();
  await device.connect(server.url);
  for (const [path, method, status] of [
    ['/machine/set-dns', 'POST', 501],
    ['/machine/whoami', 'GET', 501],
    ['/nothing', 'GET', 404],
    ['/constructor', 'POST', 404],
    ['/machine/register', 'GET', 405],
    ['/machine/update-health', 'POST', 204],
  ] as const)
    assert.is((await device.ask(path, {}, { method })).status, status, `${method} ${path}`);
  device.close();
  await stop();
});

test('nobody waits for a reader of the map that stops, and it gets the newest once it goes on', async () => {
  const { server, stop } = await start({});
  const { key } = await command<KeyView>(server, { type: 'key-create', tailnet: 'default', isReusable: true });
  const [reader, writer] = [new TestDevice(), new TestDevice()];
  for (const device of [reader, writer]) {
    await device.connect(server.url);
    await device.register(key!);
  }
  const map = reader.openMap();
  const own = writer.openMap();
  await until(() => messagesOf(own.body).length > 0 && messagesOf(map.body).length > 0, 'the maps');
  reader.socket.pause();
  for (let i = 0; i < 60; i++) {
    const endpoints = [`192.0.2.${i}:${1000 + i}`];
    const update = { Version: 113, NodeKey: writer.node, OmitPeers: true, Stream: false, Endpoints: endpoints };
    const answer = await writer.ask('/machine/map', { ...update, Hostinfo: { Hostname: 'w', OS: 'linux' } });
    assert.is(answer.status, 200);
  }
  reader.socket.resume();
  await until(() => Buffer.from(map.body).includes('192.0.2.59:1059'), 'the newest');
  for (const device of [reader, writer]) device.close();
  await stop();
});

test('when there are too many strangers, the first of the source with most makes room for others', () => {
  const gate = new SourceGate({ ...SERVER_LIMITS, strangers: 4, strangersPerSource: 3 });
  const gone: string[] = [];
  const open = (address: string, name: string) => gate.open(0, address, () => gone.push(name));
  const first = open('2001:db8:0:1::1', 'a1')!;
  for (const name of ['a2', 'a3']) assert.ok(open('2001:db8:0:1::2', name));
  assert.ok(open('2001:db8:0:2::1', 'b1'));
  assert.ok(open('2001:db8:0:2::1', 'b2'));
  assert.equal(gone, ['a1']);
  assert.is(open('2001:db8:0:1::3', 'a4'), undefined, 'not for itself');
  assert.ok(open('192.0.2.1', 'c1'));
  assert.ok(open('192.0.2.2', 'd1'));
  assert.is(gate.strangers, 4);
  assert.equal(gone, ['a1', 'a2', 'b1']);
  first.close();
  assert.equal([gate.strangers, gate.connections], [4, 4]);
  assert.is(open('192.0.2.2', 'd2'), undefined, 'as many as any other');
  assert.ok(open('192.0.2.3', 'e1'));
  assert.is(gone.length, 4);
});

test('a source owes what its strangers have sent, whoever of them it was', () => {
  const gate = new SourceGate({ ...SERVER_LIMITS, ...BYTES });
  const [a, b, c] = ['192.0.2.1', '192.0.2.1', '192.0.2.2'].map(address => gate.open(0, address)!);
  assert.is(a!.charge(0, 20_000), 0);
  assert.is(b!.charge(0, 1000), 100);
  assert.is(a!.charge(50, 0), 50);
  assert.is(c!.charge(50, 20_000), 0);
  b!.prove();
  assert.is(b!.charge(50, 1e9), 0);
  assert.is(a!.charge(100, 0), 0);
  assert.is(a!.charge(60_100, 20_000), 0, 'no more than the burst is saved');
  assert.is(a!.charge(60_100, 1), 1);
});

test('the gate counts connections, strangers of a source, and how fast they come', () => {
  const limits = { connections: 4, strangers: 3, strangersPerSource: 2, opensPerSecond: 10, opensBurst: 5, ...BYTES };
  const gate = new SourceGate(limits);
  const [a, b] = [gate.open(0, '192.0.2.1')!, gate.open(0, '::ffff:192.0.2.1')!];
  assert.is(gate.open(0, '192.0.2.1'), undefined, 'the third of a source');
  const c = gate.open(0, '2001:db8::1')!;
  a.prove();
  a.prove();
  const d = gate.open(0, '192.0.2.1')!;
  assert.ok(d !== undefined, 'a member makes room');
  c.prove();
  assert.is(gate.open(0, '2001:db8::2'), undefined, 'the fifth connection');
  for (const ticket of [a, b, c, d, d]) ticket.close();
  assert.equal([gate.connections, gate.strangers, gate.refused], [0, 0, 2]);
  const rate = new SourceGate({ ...limits, opensBurst: 2 });
  const opens = [0, 0, 0, 99, 100, 150, 250].map(nowMs => {
    const ticket = rate.open(nowMs, '2001:db8:1:2::1');
    ticket?.close();
    return ticket !== undefined;
  });
  assert.equal(opens, [true, true, false, false, true, false, true]);
  assert.ok(rate.open(250, '2001:db8:1:3::1'), 'another network');
  assert.is(rate.open(250, '2001:db8:1:2:ffff::1'), undefined, 'the same network');
});

test('when the store fails nothing is confirmed, and everything is refused', async () => {
  const { clock } = host;
  const coordinator = new Coordinator({
    nowMs: clock.nowMs(),
    unixMs: clock.unixMs(),
    random,
    suite: suiteOfTests,
    settings: { url: 'http://127.0.0.1', derpMap: {} },
  });
  let isBroken = false;
  let failures = 0;
  const store = {
    commit: () => {
      if (isBroken) throw new Error('no space left');
    },
  };
  const running = new CoordinatorHost({
    host,
    coordinator,
    store,
    log: () => undefined,
    onRelayDisconnect: () => undefined,
    onFailure: () => failures++,
  });
  const actor = { name: 'admin', tailnet: undefined };
  const create = { type: 'key-create', tailnet: 'default' } as const;
  assert.ok((await running.command(actor, create)).isOk);
  isBroken = true;
  const replies: number[] = [];
  const body = utf8Encode(
    JSON.stringify({ Version: 113, NodeKey: `nodekey:${'1'.repeat(64)}`, Auth: { AuthKey: 'x' } }),
  );
  const exchange = {
    reply: (status: number) => void replies.push(status),
    begin: () => undefined,
    write: () => true,
    isOpen: true,
    end: () => undefined,
  };
  const outcome = await running.command(actor, create);
  assert.not.ok(outcome.isOk);
  await until(() => failures === 1, 'the failure');
  isBroken = false;
  running.register({ machineKey: SecretKey.generate(random).bytes, source: '192.0.2.1', body }, exchange);
  assert.equal(replies, [503]);
  const late = await running.command(actor, create).catch(error => error as { code: string });
  assert.is((late as { code: string }).code, 'ERR_STORE');
  running.close();
});

test.run();
