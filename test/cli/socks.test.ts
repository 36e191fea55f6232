/** The SOCKS server over a tunnel in memory: CONNECT, UDP ASSOCIATE, reply codes, and that nothing leads outside. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, fromHex, toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { NetError } from '../../lib/base/errors.ts';
import { serveSocks, socksReplyCode } from '../../targets/cli/socks.ts';
import { writeSocksDatagram } from '../../targets/cli/socks-machine.ts';
import type { ServiceLimits } from '../../targets/cli/tunnel.ts';
import { FakeTunnel } from './fake-tunnel.ts';
import { closed, contextOf, counter, datagrams, open, readAll, serve, until } from './local.ts';

const test = suite('cli socks');

async function setUp(limits: Partial<ServiceLimits> = {}) {
  const [near, far] = FakeTunnel.pair();
  const { context, told } = contextOf(near, limits, { 'db.internal': far.address });
  const service = await serveSocks(context, '127.0.0.1', 0, counter());
  const listener = await far.listen(80);
  const serveFar = async () => {
    for (let stream = await listener.accept(); stream !== undefined; stream = await listener.accept()) {
      const accepted = stream;
      const echo = async () => {
        for (let data = await accepted.read(); data !== undefined; data = await accepted.read())
          await accepted.write(concatBytes(utf8Encode('echo:'), data));
        await accepted.end();
      };
      void echo().catch(() => undefined);
    }
  };
  void serveFar();
  const done = async () => {
    await service.close();
    await listener.close();
  };
  return { near, far, told, service, port: service.info.port, done };
}

/** Reads `size` bytes as hex. */
async function take(socket: Socket, size: number): Promise<string> {
  for (;;) {
    const got = socket.read(size) as Buffer | null;
    if (got !== null) return got.toString('hex');
    await once(socket, 'readable');
  }
}

/** Reads to the end, closes, and waits until the socket is gone. */
async function ended(socket: Socket): Promise<void> {
  socket.on('end', () => socket.end()).resume();
  await closed(socket);
}

async function request(port: number, hex: string): Promise<{ socket: Socket; reply: string }> {
  const socket = await open(port);
  socket.write(fromHex('050100')!);
  assert.is(await take(socket, 2), '0500');
  socket.write(fromHex(hex)!);
  return { socket, reply: await take(socket, 10) };
}

const v4 = (address: string, port: number, command = '01') =>
  `05${command}0001${toHex(Uint8Array.from(address.split('.'), Number))}${port.toString(16).padStart(4, '0')}`;
const named = (name: string, port: number) =>
  `05010003${name.length.toString(16).padStart(2, '0')}${toHex(utf8Encode(name))}${port.toString(16).padStart(4, '0')}`;

test('CONNECT reaches a service inside the tunnel, half close included', async () => {
  const { port, done } = await setUp();
  const { socket, reply } = await request(port, v4('10.0.0.2', 80));
  assert.match(reply, /^050000010a000001/);
  const got = readAll(socket);
  socket.end('hello');
  assert.is((await got).toString(), 'echo:hello');
  await done();
});

test('data that was sent along with the request arrives', async () => {
  const { port, done } = await setUp();
  const socket = await open(port);
  const got = readAll(socket);
  socket.end(fromHex(`050100${v4('10.0.0.2', 80)}${toHex(utf8Encode('early'))}`)!);
  const bytes = await got;
  assert.is(bytes.subarray(0, 6).toString('hex'), '050005000001');
  assert.is(bytes.subarray(12).toString(), 'echo:early');
  await done();
});

test('a name is looked up inside only: known ones connect, public ones are "host unreachable"', async () => {
  const { port, done, told } = await setUp();
  const { socket, reply } = await request(port, named('DB.internal', 80));
  assert.match(reply, /^0500/);
  socket.destroy();
  for (const name of ['example.com', 'localhost', 'db']) {
    const refused = await request(port, named(name, 80));
    assert.match(refused.reply, /^0504/, name);
    await ended(refused.socket);
    assert.match((told.at(-1) as { message: string }).message, /is not a name inside the tunnel/);
  }
  await done();
});

test('a port that nobody listens on is "connection refused", an address without a peer "network unreachable"', async () => {
  const { port, done } = await setUp();
  assert.match((await request(port, v4('10.0.0.2', 81))).reply, /^0505/);
  assert.match((await request(port, v4('10.9.9.9', 80))).reply, /^0503/);
  await done();
});

test('this machine cannot be reached through the proxy, whichever way its address is written', async () => {
  const { port, near, done } = await setUp();
  const local = await serve(socket => socket.end('the service of this machine'));
  // Also where every address has a peer, as with AllowedIPs = 0.0.0.0/0.
  const dialled: string[] = [];
  near.dial = async host => {
    dialled.push(host);
    throw new NetError('ERR_CONNECTION_REFUSED', 'dialled');
  };
  const mapped = '0501000400000000000000000000ffff7f000001';
  const requests = [
    ...['127.0.0.1', '127.9.9.9', '0.0.0.0', '224.0.0.1', '255.255.255.255'].map(address => v4(address, local.port)),
    named('127.0.0.1', local.port),
    named('::1', local.port),
    `${mapped}${local.port.toString(16).padStart(4, '0')}`,
    `05010004${'00'.repeat(15)}010050`,
    `05010004${'00'.repeat(16)}0050`,
    `05010004ff02${'00'.repeat(13)}010050`,
  ];
  for (const hex of requests) assert.match((await request(port, hex)).reply, /^0502/, hex);
  assert.equal(dialled, []);
  assert.match((await request(port, v4('1.1.1.1', 53))).reply, /^0505/);
  assert.equal(dialled, ['1.1.1.1']);
  local.server.close();
  await done();
});

test('error codes have their replies', () => {
  const codes = [
    'ERR_UNREACHABLE',
    'ERR_TIMED_OUT',
    'ERR_CONNECTION_REFUSED',
    'ERR_NAME_NOT_FOUND',
    'ERR_LIMIT',
  ] as const;
  assert.equal(
    codes.map(code => socksReplyCode(new NetError(code, ''))),
    [3, 4, 5, 4, 1],
  );
});

test('a client that says nothing is dropped in time', async () => {
  const { port, done } = await setUp({ negotiationTimeoutMs: 50 });
  const socket = await open(port);
  const startMs = performance.now();
  await ended(socket);
  assert.ok(performance.now() - startMs < 2000);
  await done();
});

test('a client that goes away while it is being connected leaves nothing behind', async () => {
  const { near, port, done, told } = await setUp();
  near.gate = new Promise(() => undefined);
  const socket = await open(port);
  socket.write(fromHex(`050100${v4('10.0.0.2', 80)}`)!);
  await take(socket, 2);
  await sleep(20);
  socket.resetAndDestroy();
  await until(() => told.length > 0);
  assert.is((told[0] as { code: string }).code, 'ERR_ABORTED');
  await done();
});

test('one connection too many is reset and told', async () => {
  const { port, done, told } = await setUp({ connections: 1 });
  const first = await request(port, v4('10.0.0.2', 80));
  await ended(await open(port));
  await until(() => told.some(({ event }) => event === 'refused'));
  assert.is((told.at(-1) as { code: string }).code, 'ERR_LIMIT');
  first.socket.destroy();
  await done();
});

test('an HTTP client gets an HTTP answer that says what the port is', async () => {
  const { port, done } = await setUp();
  const response = await fetch(`http://127.0.0.1:${port}/`);
  assert.is(response.status, 400);
  assert.match(await response.text(), /SOCKS5/);
  await done();
});

async function associate(port: number) {
  const { socket, reply } = await request(port, v4('0.0.0.0', 0, '03'));
  assert.match(reply, /^050000017f000001/);
  return { control: socket, relay: Number.parseInt(reply.slice(16), 16) };
}

async function udpEcho(tunnel: FakeTunnel, port: number, seen: string[] = []) {
  const socket = await tunnel.udp(port);
  const run = async () => {
    for (let got = await socket.receive(); got !== undefined; got = await socket.receive()) {
      seen.push(Buffer.from(got.data).toString());
      socket.send(concatBytes(utf8Encode('echo:'), got.data), got.from);
    }
  };
  void run();
  return socket;
}

test('UDP ASSOCIATE carries datagrams both ways and ends with its connection', async () => {
  const { near, far, port, done, told } = await setUp();
  const echo = await udpEcho(far, 53);
  const { control, relay } = await associate(port);
  const client = await datagrams();
  const out = (text: string, to = '10.0.0.2') => writeSocksDatagram({ address: to, port: 53 }, utf8Encode(text));
  client.socket.send(out('one'), relay, '127.0.0.1');
  await until(() => client.got.length === 1, 'the first answer');
  assert.is(Buffer.from(client.got[0]!, 'utf8').subarray(10).toString(), 'echo:one');
  assert.is(near.sockets.size, 1);
  control.end();
  await until(() => near.sockets.size === 0, 'the end of the association');
  await until(() => told.some(({ event }) => event === 'close'));
  const close = told.find(({ event }) => event === 'close') as { sentBytes: number; receivedBytes: number };
  assert.equal([close.sentBytes, close.receivedBytes], [3, 8]);
  client.socket.close();
  echo.close();
  await done();
});

test('names in datagrams are looked up inside, this machine and fragments are dropped', async () => {
  const { far, port, done } = await setUp();
  const seen: string[] = [];
  const echo = await udpEcho(far, 53, seen);
  const { control, relay } = await associate(port);
  const client = await datagrams();
  const head = fromHex(`000000030b${toHex(utf8Encode('db.internal'))}0035`)!;
  const fragment = fromHex('000001010a0000020035')!;
  client.socket.send(concatBytes(fragment, utf8Encode('fragment')), relay, '127.0.0.1');
  client.socket.send(writeSocksDatagram({ address: '127.0.0.1', port: 53 }, utf8Encode('self')), relay, '127.0.0.1');
  client.socket.send(utf8Encode('no header'), relay, '127.0.0.1');
  client.socket.send(concatBytes(head, utf8Encode('named')), relay, '127.0.0.1');
  await until(() => client.got.length === 1);
  assert.equal(seen, ['named']);
  control.destroy();
  client.socket.close();
  echo.close();
  await done();
});

test('an association hears only its client, and its client only whom it spoke to', async () => {
  const { near, far, port, done } = await setUp();
  const seen: string[] = [];
  const echo = await udpEcho(far, 53, seen);
  const { control, relay } = await associate(port);
  const client = await datagrams();
  const stranger = await datagrams();
  const elsewhere = await datagrams('127.0.0.2');
  const insider = await new FakeTunnel(near.network, '10.0.0.3').udp(54);
  const to = { address: '10.0.0.2', port: 53 };
  elsewhere.socket.send(writeSocksDatagram(to, utf8Encode('another address')), relay, '127.0.0.1');
  await sleep(30);
  client.socket.send(writeSocksDatagram(to, utf8Encode('mine')), relay, '127.0.0.1');
  await until(() => client.got.length === 1);
  const inside = [...near.sockets.values()][0]!;
  insider.send(utf8Encode('nobody asked'), { address: '10.0.0.1', port: inside.port });
  stranger.socket.send(writeSocksDatagram(to, utf8Encode('another port')), relay, '127.0.0.1');
  await sleep(30);
  assert.equal(seen, ['mine']);
  assert.is(client.got.length, 1);
  assert.equal([stranger.got.length, elsewhere.got.length], [0, 0]);
  control.destroy();
  for (const { socket } of [client, stranger, elsewhere]) socket.close();
  echo.close();
  insider.close();
  await done();
});

test.run();
