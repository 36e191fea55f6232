/** `--expose` and `--forward`, TCP and UDP, over a tunnel in memory: both ways, limits, errors, idle flows. */
import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { RunError } from '../../targets/cli/errors.ts';
import { exposeTcp, forwardTcp } from '../../targets/cli/tcp-proxy.ts';
import { exposeUdp, forwardUdp } from '../../targets/cli/udp-proxy.ts';
import { FakeTunnel } from './fake-tunnel.ts';
import { closed, contextOf, counter, datagrams, open, readAll, serve, type Told, until } from './local.ts';

const test = suite('cli proxies');

const dialOptions = { signal: new AbortController().signal, timeoutMs: 1000 };
const names = (told: readonly Told[]) => told.map(({ event }) => event);
const refusals = (told: readonly Told[]) => told.flatMap(one => (one.event === 'refused' ? [one] : []));
const mapping = (port: number, targetPort: number, host = '127.0.0.1', bind = '127.0.0.1') => ({
  bind,
  port,
  host,
  targetPort,
});

test('an exposed port leads from the tunnel to a local service', async () => {
  const [near, far] = FakeTunnel.pair();
  const { server, port } = await serve(socket => socket.pipe(socket));
  const { context, told } = contextOf(near);
  const service = await exposeTcp(context, mapping(80, port), counter());
  assert.equal(service.info, {
    service: 'expose',
    protocol: 'tcp',
    address: '',
    port: 80,
    target: `127.0.0.1:${port}`,
  });
  const stream = await far.dial('10.0.0.1', 80, dialOptions);
  await stream.write(utf8Encode('through'));
  assert.is(utf8Decode((await stream.read())!), 'through');
  await stream.end();
  assert.is(await stream.read(), undefined);
  await until(() => told.length === 2);
  assert.equal(names(told), ['open', 'close']);
  const [opened, done] = told as [Told & { event: 'open' }, Told & { event: 'close' }];
  assert.equal([opened.from, opened.to], ['10.0.0.2:40000', `127.0.0.1:${port}`]);
  assert.equal([done.sentBytes, done.receivedBytes, done.code], [7, 7, null]);
  await service.close();
  server.close();
});

test('a name leads to a local service on either loopback address', async () => {
  const [near, far] = FakeTunnel.pair();
  const { server, port } = await serve(socket => socket.end('here'));
  const service = await exposeTcp(contextOf(near).context, mapping(80, port, 'localhost'), counter());
  const stream = await far.dial('10.0.0.1', 80, dialOptions);
  assert.is(utf8Decode((await stream.read())!), 'here');
  await service.close();
  server.close();
});

test('without the local service, who connects is reset and one line says what to do', async () => {
  const [near, far] = FakeTunnel.pair();
  const { server, port } = await serve(() => undefined);
  server.close();
  const { context, told } = contextOf(near);
  const service = await exposeTcp(context, mapping(80, port), counter());
  const stream = await far.dial('10.0.0.1', 80, dialOptions);
  const code = await stream.read().catch(error => (error as { code: string }).code);
  assert.is(code, 'ERR_CONNECTION_RESET');
  await until(() => told.length === 1);
  const [refused] = refusals(told);
  assert.is(refused!.code, 'ECONNREFUSED');
  assert.is(refused!.message, `nothing listens on 127.0.0.1:${port}: start the service there`);
  await service.close();
});

test('a forwarded port leads from this machine into the tunnel', async () => {
  const [near, far] = FakeTunnel.pair();
  const { context, told } = contextOf(near);
  const listener = await far.listen(80);
  const service = await forwardTcp(context, mapping(0, 80, '10.0.0.2'), counter());
  assert.ok(service.info.port > 0);
  assert.is(service.info.address, '127.0.0.1');
  const client = await open(service.info.port);
  const got = readAll(client);
  const stream = (await listener.accept())!;
  client.end('question');
  assert.is(utf8Decode((await stream.read())!), 'question');
  assert.is(await stream.read(), undefined);
  await stream.write(utf8Encode('answer'));
  await stream.end();
  assert.is((await got).toString(), 'answer');
  await until(() => told.length === 2);
  assert.equal(names(told), ['open', 'close']);
  await service.close();
});

test('a forwarded connection that the tunnel refuses is reset, and one line says why', async () => {
  const [near] = FakeTunnel.pair();
  const { context, told } = contextOf(near);
  for (const [host, code] of [
    ['10.0.0.2', 'ERR_CONNECTION_REFUSED'],
    ['10.7.7.7', 'ERR_UNREACHABLE'],
    ['nobody', 'ERR_NAME_NOT_FOUND'],
  ] as const) {
    const service = await forwardTcp(context, mapping(0, 80, host), counter());
    const client = await open(service.info.port);
    await closed(client.resume());
    assert.is(refusals(told).at(-1)!.code, code);
    await service.close();
  }
});

test('a client that goes away while the tunnel connects ends the attempt', async () => {
  const [near] = FakeTunnel.pair();
  near.gate = new Promise(() => undefined);
  const { context, told } = contextOf(near);
  const service = await forwardTcp(context, mapping(0, 80, '10.0.0.2'), counter());
  const client = await open(service.info.port);
  await sleep(20);
  client.resetAndDestroy();
  await until(() => told.length === 1);
  assert.is(refusals(told)[0]!.code, 'ERR_ABORTED');
  await service.close();
});

test('one connection too many is reset on both kinds of port, and room is made by closing', async () => {
  const [near, far] = FakeTunnel.pair();
  const { server, port } = await serve(socket => socket.pipe(socket));
  const { context, told } = contextOf(near, { connections: 2 });
  const service = await exposeTcp(context, mapping(80, port), counter());
  const dial = () => far.dial('10.0.0.1', 80, dialOptions);
  const [first, second, third] = [await dial(), await dial(), await dial()];
  assert.is(await third.read().catch(error => (error as { code: string }).code), 'ERR_CONNECTION_RESET');
  assert.is(refusals(told)[0]!.code, 'ERR_LIMIT');
  await first.write(utf8Encode('1'));
  await first.end();
  while ((await first.read()) !== undefined);
  await until(() => told.some(({ event }) => event === 'close'));
  const fourth = await dial();
  await fourth.write(utf8Encode('4'));
  assert.is(utf8Decode((await fourth.read())!), '4');
  second.abort();
  await service.close();
  server.close();
});

test('closing a service resets what is open', async () => {
  const [near, far] = FakeTunnel.pair();
  const { server, port } = await serve(socket => socket.pipe(socket));
  const exposed = await exposeTcp(contextOf(near).context, mapping(80, port), counter());
  const stream = await far.dial('10.0.0.1', 80, dialOptions);
  await stream.write(utf8Encode('x'));
  await stream.read();
  const read = stream.read().catch(error => (error as { code: string }).code);
  await exposed.close();
  assert.is(await read, 'ERR_CONNECTION_RESET');
  const listener = await far.listen(80);
  const forwarded = await forwardTcp(contextOf(near).context, mapping(0, 80, '10.0.0.2'), counter());
  const client = await open(forwarded.info.port);
  await listener.accept();
  await forwarded.close();
  await closed(client.resume());
  await forwarded.close();
  server.close();
});

test('a port in use names itself and the next step', async () => {
  const [near] = FakeTunnel.pair();
  const { server, port } = await serve(() => undefined);
  const { context } = contextOf(near);
  const text = (error: unknown) => (error instanceof RunError ? error.message : String(error));
  const tcp = await forwardTcp(context, mapping(port, 80, '10.0.0.2'), counter()).catch(text);
  assert.is(tcp, `127.0.0.1 port ${port} is in use: stop the program that has it or give --forward another port`);
  const held = await datagrams();
  const udp = await forwardUdp(context, mapping(held.port, 53, '10.0.0.2'), counter()).catch(text);
  assert.is(udp, `127.0.0.1 port ${held.port} is in use: stop the program that has it or give --forward another port`);
  const elsewhere = await forwardTcp(context, mapping(0, 80, '10.0.0.2', '192.0.2.1'), counter()).catch(text);
  assert.is(elsewhere, '192.0.2.1 is not an address of this machine: give --forward one that is, such as 127.0.0.1');
  held.socket.close();
  server.close();
});

test('an exposed UDP port leads datagrams to a local service and answers to their sender', async () => {
  const [near, far] = FakeTunnel.pair();
  const service = await datagrams();
  service.socket.on('message', (data, from) => service.socket.send(`echo:${data}`, from.port, from.address));
  const { context, told } = contextOf(near);
  const exposed = await exposeUdp(context, mapping(53, service.port), counter());
  assert.is(exposed.info.port, 53);
  const [one, two] = [await far.udp(), await far.udp()];
  one.send(utf8Encode('a'), { address: '10.0.0.1', port: 53 });
  two.send(utf8Encode('b'), { address: '10.0.0.1', port: 53 });
  const [first, second] = [(await one.receive())!, (await two.receive())!];
  assert.equal([utf8Decode(first.data), utf8Decode(second.data)], ['echo:a', 'echo:b']);
  assert.equal(first.from, { address: '10.0.0.1', port: 53 });
  await exposed.close();
  assert.equal(names(told), ['open', 'open', 'close', 'close']);
  const close = told[2] as Told & { event: 'close' };
  assert.equal([close.sentBytes, close.receivedBytes], [6, 1]);
  service.socket.close();
});

test('a forwarded UDP port leads datagrams into the tunnel and answers to their sender', async () => {
  const [near, far] = FakeTunnel.pair();
  const inside = await far.udp(53);
  const echo = async () => {
    for (let got = await inside.receive(); got !== undefined; got = await inside.receive())
      inside.send(utf8Encode(`echo:${utf8Decode(got.data)}`), got.from);
  };
  void echo();
  const { context, told } = contextOf(near, {}, { 'dns.internal': '10.0.0.2' });
  const forwarded = await forwardUdp(context, mapping(0, 53, 'dns.internal'), counter());
  const [one, two] = [await datagrams(), await datagrams()];
  one.socket.send('a', forwarded.info.port, '127.0.0.1');
  two.socket.send('b', forwarded.info.port, '127.0.0.1');
  await until(() => one.got.length === 1 && two.got.length === 1);
  assert.equal([one.got[0], two.got[0]], ['echo:a', 'echo:b']);
  const stranger = await far.udp();
  stranger.send(utf8Encode('nobody asked'), { address: '10.0.0.1', port: 40_000 });
  await sleep(20);
  assert.is(one.got.length + two.got.length, 2);
  await forwarded.close();
  assert.is(near.sockets.size, 0);
  const close = told.at(-1) as Told & { event: 'close' };
  assert.equal([close.sentBytes, close.receivedBytes], [1, 6]);
  for (const { socket } of [one, two]) socket.close();
});

test('a silent flow is forgotten and its socket closed', async () => {
  const [near, far] = FakeTunnel.pair();
  const inside = await far.udp(53);
  const { context, told } = contextOf(near, { flowIdleMs: 80 });
  const forwarded = await forwardUdp(context, mapping(0, 53, '10.0.0.2'), counter());
  const client = await datagrams();
  client.socket.send('a', forwarded.info.port, '127.0.0.1');
  await inside.receive();
  assert.is(near.sockets.size, 1);
  for (let i = 0; i < 6; i++) {
    await sleep(30);
    client.socket.send('still here', forwarded.info.port, '127.0.0.1');
  }
  assert.equal(names(told), ['open'], 'a flow in use was forgotten');
  await until(() => told.length === 2);
  assert.is(near.sockets.size, 0);
  client.socket.send('b', forwarded.info.port, '127.0.0.1');
  await until(() => told.length === 3);
  await forwarded.close();
  client.socket.close();
});

test('one client that opens many flows loses its own oldest, and the total is bounded', async () => {
  const [near, far] = FakeTunnel.pair();
  const service = await datagrams();
  const { context, told } = contextOf(near, { flows: 3, flowsPerClient: 2 });
  const exposed = await exposeUdp(context, mapping(53, service.port), counter());
  const to = { address: '10.0.0.1', port: 53 };
  for (let i = 0; i < 5; i++) {
    (await far.udp()).send(utf8Encode(`${i}`), to);
    await sleep(5);
  }
  await until(() => service.got.length === 5);
  assert.equal(names(told), ['open', 'open', 'close', 'open', 'close', 'open', 'close', 'open']);
  const third = new FakeTunnel(near.network, '10.0.0.3');
  (await third.udp()).send(utf8Encode('x'), to);
  (await third.udp()).send(utf8Encode('y'), to);
  await until(() => service.got.length === 6);
  await sleep(30);
  assert.equal(service.got.slice(5), ['x']);
  await exposed.close();
  service.socket.close();
});

test('a local UDP service that is not there drops datagrams and is found again when it comes back', async () => {
  const [near, far] = FakeTunnel.pair();
  const first = await datagrams();
  first.socket.close();
  const { context } = contextOf(near);
  const exposed = await exposeUdp(context, mapping(53, first.port), counter());
  const client = await far.udp();
  const to = { address: '10.0.0.1', port: 53 };
  for (let i = 0; i < 3; i++) {
    client.send(utf8Encode('lost'), to);
    await sleep(10);
  }
  const back = createSocket('udp4').bind(first.port, '127.0.0.1');
  let got = '';
  back.on('message', data => {
    got = data.toString();
  });
  await until(() => {
    client.send(utf8Encode('found'), to);
    return got === 'found';
  });
  await exposed.close();
  back.close();
});

test.run();
