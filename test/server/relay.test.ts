/** The relay over real sockets: raw, TLS, WebSocket and fast start; slow, frozen, gone and unwelcome clients. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { toHex } from '../../lib/base/bytes.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import type { RelayLimits } from '../../lib/derp/relay-types.ts';
import { host } from '../../targets/node/host.ts';
import { HttpFront } from '../../targets/server/http-front.ts';
import { keyStore, loadCertificate } from '../../targets/server/keys.ts';
import { RelayHost } from '../../targets/server/relay-host.ts';
import { createRoutes, type RouteTargets } from '../../targets/server/routes.ts';
import { SourceGate } from '../../targets/server/source-gate.ts';
import { SERVER_LIMITS, type ServerLimits } from '../../targets/server/types.ts';
import { makeFolder, random, type RelayWay, suiteOfTests, TestRelayClient, until } from './support.ts';

const test = suite('relay over sockets');

/** A relay behind the listeners of a server, with a stand-in for the coordinator. */
async function startRelay(limits: Partial<ServerLimits> & { readonly relay?: Partial<RelayLimits> } = {}) {
  const all: ServerLimits = { ...SERVER_LIMITS, ...limits };
  const gate = new SourceGate(all);
  const strangers = new Set<string>();
  const tailnets = new Map<string, string>();
  const lines: string[] = [];
  const relay = new RelayHost({
    host,
    suite: suiteOfTests,
    privateKey: SecretKey.generate(random),
    limits: all.relay,
    tailnetOf: key => (strangers.has(toHex(key)) ? undefined : (tailnets.get(toHex(key)) ?? 'a')),
    log: (level, message, fields) => void lines.push(`${level} ${message} ${JSON.stringify(fields)}`),
  });
  const handlers = createRoutes(() => ({ relay, log: () => undefined }) as unknown as RouteTargets);
  const certified = await loadCertificate(keyStore(makeFolder()), '127.0.0.1', Date.now());
  const fronts = [undefined, certified].map(
    tls => new HttpFront({ clock: host.clock, gate, limits: all, tls, handlers }),
  );
  const ports = [await fronts[0]!.listen('127.0.0.1', 0), await fronts[1]!.listen('127.0.0.1', 0)] as const;
  const clients: TestRelayClient[] = [];
  return {
    relay,
    gate,
    strangers,
    tailnets,
    lines,
    ports,
    client: async (way: RelayWay = 'plain', secret?: SecretKey) => {
      const client = new TestRelayClient(secret);
      clients.push(client);
      await client.connect(ports[way === 'tls' ? 1 : 0], way);
      return client;
    },
    stop: async () => {
      for (const client of clients) client.close();
      relay.close();
      for (const front of fronts) await front.close();
    },
  };
}

for (const way of ['plain', 'tls', 'websocket', 'fast-start'] as const)
  test(`packets of every size come through, both ways (${way})`, async () => {
    const world = await startRelay();
    const [one, two] = [await world.client(way), await world.client('plain')];
    const texts = ['x', 'y'.repeat(1400), 'z'.repeat(65_536)];
    for (const text of texts) {
      one.send(two.key, text);
      await until(() => two.packets.at(-1) === text, 'the packet');
      two.send(one.key, `${text}`);
      await until(() => one.packets.at(-1) === text, 'the answer');
    }
    assert.is(world.relay.status().forwardedPackets, 6);
    await world.stop();
  });

test('who is no member is sent away, and reaches nobody', async () => {
  const world = await startRelay();
  const stranger = SecretKey.generate(random);
  world.strangers.add(toHex(new TestRelayClient(stranger).key));
  const member = await world.client();
  const client = new TestRelayClient(stranger);
  await client.connect(world.ports[0], 'plain');
  client.send(member.key, 'hello');
  await until(() => client.isClosed, 'the end');
  assert.equal(member.packets, []);
  assert.ok(world.lines.some(line => /not a member/.test(line)));
  await world.stop();
});

test('nobody reaches another tailnet', async () => {
  const world = await startRelay();
  const secret = SecretKey.generate(random);
  world.tailnets.set(toHex(new TestRelayClient(secret).key), 'b');
  const [one, other] = [await world.client('plain', secret), await world.client()];
  one.send(other.key, 'hello');
  other.send(one.key, 'hello');
  await until(() => world.relay.status().droppedNoDestination === 2, 'both drops');
  assert.equal([...one.packets, ...other.packets], []);
  await world.stop();
});

test('who leaves the tailnet is disconnected', async () => {
  const world = await startRelay();
  const [one, two] = [await world.client(), await world.client('websocket')];
  world.relay.disconnect('b', one.key);
  world.relay.disconnect('a', two.key);
  await until(() => two.isClosed, 'the end');
  assert.not.ok(one.isClosed);
  await world.stop();
});

for (const way of ['plain', 'websocket'] as const)
  test(`a frozen receiver holds nobody up, costs little, and is closed (${way})`, async () => {
    const world = await startRelay({ relay: { writeTimeoutMs: 700 } });
    const [sender, frozen, other] = [await world.client(), await world.client(way), await world.client()];
    frozen.pause();
    const before = process.memoryUsage().arrayBuffers;
    const text = 'f'.repeat(16_000);
    let answered = 0;
    for (let round = 0; !frozen.isClosed && world.relay.status().members === 3 && round < 2000; round++) {
      for (let i = 0; i < 20; i++) sender.send(frozen.key, text);
      sender.send(other.key, `${round}`);
      await until(() => other.packets.at(-1) === `${round}`, 'the packet for the other');
      answered++;
      if (world.relay.status().droppedQueueFull > 0) await new Promise(resolve => setTimeout(resolve, 20));
    }
    const { members, droppedQueueFull } = world.relay.status();
    assert.is(members, 2, 'the frozen one is closed');
    assert.ok(droppedQueueFull > 0, 'packets gave way');
    assert.ok(answered > 5);
    assert.ok(process.memoryUsage().arrayBuffers - before < 64 << 20, 'memory stays small');
    await world.stop();
  });

test('who exceeds its rate is slowed down, and nothing is lost', async () => {
  const world = await startRelay({ relay: { bytesPerSecond: 200_000, burstBytes: 131_072, queuePackets: 1000 } });
  const [one, two] = [await world.client(), await world.client()];
  const started = performance.now();
  for (let i = 0; i < 20; i++) one.send(two.key, `${i} ${'r'.repeat(16_000)}`);
  await until(() => two.packets.length === 20, 'all packets');
  assert.ok(performance.now() - started > 600, `${performance.now() - started} ms`);
  await world.stop();
});

test('a client that ends its half, or vanishes, is forgotten', async () => {
  const world = await startRelay();
  const [one, two] = [await world.client(), await world.client('websocket')];
  const half = connect(world.ports[0], '127.0.0.1');
  half.write('GET /derp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n');
  await once(half, 'data');
  assert.is(world.relay.status().connections, 3);
  half.end();
  await once(half, 'close');
  one.close();
  two.close();
  await until(() => world.relay.status().connections === 0 && world.gate.connections === 0, 'that');
  assert.is(world.gate.strangers, 0);
  await world.stop();
});

test('who does not log in is closed', async () => {
  const world = await startRelay({ relay: { loginTimeoutMs: 300 } });
  const silent = connect(world.ports[0], '127.0.0.1');
  silent.write('GET /derp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n');
  silent.resume();
  await once(silent, 'close');
  await until(() => world.gate.connections === 0, 'that');
  await world.stop();
});

test('too many connections are turned away, and members do not count against their source', async () => {
  const world = await startRelay({ strangersPerSource: 3, relay: { connections: 6 } });
  for (let i = 0; i < 5; i++) await world.client();
  assert.is(world.gate.strangers, 0);
  const waiting = [0, 1, 2].map(() => connect(world.ports[0], '127.0.0.1'));
  for (const socket of waiting) await once(socket, 'connect');
  await until(() => world.gate.strangers === 3, 'three strangers');
  const fourth = connect(world.ports[0], '127.0.0.1');
  fourth.on('error', () => undefined);
  await once(fourth, 'close');
  assert.is(world.gate.refused, 1);
  for (const socket of waiting) socket.destroy();
  await until(() => world.gate.strangers === 0, 'none');
  await world.client();
  const seventh = new TestRelayClient();
  await seventh.connect(world.ports[0], 'plain');
  assert.ok(seventh.isClosed, 'the relay is full');
  await world.stop();
});

test('a WebSocket that sends text, or too much at once, or another protocol, is closed', async () => {
  const world = await startRelay();
  const open = async (protocol: string) => {
    const socket = new WebSocket(`ws://127.0.0.1:${world.ports[0]}/derp`, protocol);
    socket.on('error', () => undefined);
    await once(socket, 'open');
    return socket;
  };
  const text = await open('derp');
  text.send('hello');
  await once(text, 'close');
  const large = await open('derp');
  large.send(new Uint8Array(300_000));
  await once(large, 'close');
  // Without the subprotocol it is taken for the older upgrade of that name, which is no WebSocket.
  const other = new WebSocket(`ws://127.0.0.1:${world.ports[0]}/derp`, 'chat');
  const [error] = (await once(other, 'error')) as [Error];
  assert.ok(error instanceof Error);
  await until(() => world.relay.status().connections === 0, 'none is left');
  await world.stop();
});

test.run();
