/** The simulated world: links, routers, clocks, streams, and that a seed replays exactly. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NetError } from '../../lib/base/errors.ts';
import { toHex, utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import type { StreamSink } from '../../lib/ports.ts';
import { BEHAVIOURS, NAT_BEHAVIOURS } from './behaviours.ts';
import type { MemoryStream } from './memory-streams.ts';
import { PcapRecorder } from './pcap.ts';
import { hostBehind, punch } from './punch.ts';
import { World } from './world.ts';
import { TestSocket } from './world-host.ts';

const test = suite('world');
const EASY = NAT_BEHAVIOURS.get('ei-ei')!;

/** A client's end of a stream, with what happened to it. */
class Client implements StreamSink {
  readonly happened: string[] = [];
  text = '';
  opened = () => this.happened.push('opened') as unknown as undefined;
  writable = () => this.happened.push('writable') as unknown as undefined;
  ended = () => this.happened.push('ended') as unknown as undefined;
  failed = (error: NetError) => this.happened.push(error.code) as unknown as undefined;
  bytes(buf: Uint8Array, start: number, end: number): void {
    this.text += utf8Decode(buf, start, end);
  }
}

/** A server that echoes streams, and says where they come from. */
function echo(world: World, address: string, port = 80): { from: string[]; streams: MemoryStream[] } {
  const seen = { from: [] as string[], streams: [] as MemoryStream[] };
  world.streams.listen({ address, port }, ({ stream, from }) => {
    seen.from.push(from.address);
    seen.streams.push(stream);
    return {
      opened() {},
      bytes: (buf, start, end) => void stream.write(buf, start, end),
      writable() {},
      ended: () => stream.close(),
      failed() {},
    };
  });
  return seen;
}

function write(stream: { write(buf: Uint8Array, start: number, end: number): number }, text: string): number {
  return stream.write(utf8Encode(text), 0, text.length);
}

test('a datagram takes as long as the links on its way, also through NATs', async () => {
  const world = new World(1);
  const server = new TestSocket(world.host('server', world.internet, ['192.0.2.1'], { delayMs: 3 }), 7);
  const site = world.network('site', world.internet, { nat: EASY, address: '203.0.113.1', link: { delayMs: 20 } });
  const client = new TestSocket(world.host('client', site, ['192.168.1.10'], { delayMs: 1 }));
  client.send('hello', { address: '192.0.2.1', port: 7 });
  await world.clock.advance(23);
  assert.is(server.received.length, 0);
  await world.clock.advance(1);
  assert.is(server.received[0]!.from.address, '203.0.113.1');
  server.send('back', server.received[0]!.from);
  await world.clock.advance(24);
  assert.is(client.received[0]!.text, 'back');
});

test('links lose, repeat, hold back and refuse what is too large', async () => {
  const world = new World(2);
  const a = new TestSocket(world.host('a', world.internet, ['192.0.2.1']));
  const bHost = world.host('b', world.internet, ['192.0.2.2']);
  const b = new TestSocket(bHost, 7);
  const to = { address: '192.0.2.2', port: 7 };
  const { down } = bHost.interfaces[0]!.wire;
  const arrive = async (options: typeof down.options, count: number, text = 'x') => {
    down.options = options;
    b.received.length = 0;
    for (let i = 0; i < count; i++) a.send(`${text}${i}`, to);
    await world.clock.advance(10_000);
    return b.received.map(datagram => datagram.text);
  };
  const lossy = (await arrive({ loss: 0.3 }, 1000)).length;
  assert.ok(lossy > 640 && lossy < 760, `${lossy} of 1000`);
  const doubled = (await arrive({ duplicate: 0.5 }, 1000)).length;
  assert.ok(doubled > 1430 && doubled < 1570, `${doubled} for 1000`);
  assert.equal(
    await arrive({ jitterMs: 50 }, 50),
    Array.from({ length: 50 }, (_, i) => `x${i}`),
  );
  assert.not.equal(
    await arrive({ reorder: 0.2, reorderMs: 5 }, 50),
    Array.from({ length: 50 }, (_, i) => `x${i}`),
  );
  assert.is((await arrive({ mtu: 100 }, 1, 'y'.repeat(71))).length, 1, '20 + 8 + 72 = 100');
  assert.is((await arrive({ mtu: 100 }, 1, 'y'.repeat(72))).length, 0);
  assert.is(
    (await arrive({ rate: 8000, queueBytes: 290 }, 100, 'z')).length,
    10,
    'packets of 30 bytes behind 0 to 290',
  );
});

test('private addresses lead nowhere from outside, and a datagram never turns in circles', async () => {
  const world = new World(3);
  const site = world.network('site', world.internet, { nat: EASY, address: '203.0.113.1' });
  const inside = new TestSocket(world.host('inside', site, ['192.168.1.10']), 7);
  const outside = new TestSocket(world.host('outside', world.internet, ['192.0.2.1']), 7);
  outside.send('in', { address: '192.168.1.10', port: 7 });
  inside.send('lost', { address: '192.168.1.99', port: 7 });
  inside.send('found', { address: '192.0.2.1', port: 7 });
  await world.clock.advance(1000);
  assert.equal(inside.received, []);
  assert.equal(
    outside.received.map(({ text }) => text),
    ['found'],
  );
});

test('where UDP is blocked no datagram passes, and streams do', async () => {
  const world = new World(4);
  const server = new TestSocket(world.host('server', world.internet, ['192.0.2.1']), 7);
  const seen = echo(world, '192.0.2.1');
  const host = hostBehind(world, 'client', BEHAVIOURS.get('blocked')!, 1);
  new TestSocket(host).send('hello', { address: '192.0.2.1', port: 7 });
  const client = new Client();
  const stream = host.port.openStream({ host: '192.0.2.1', port: 80 }, client);
  await world.clock.advance(1000);
  assert.is(write(stream, 'hello'), 5);
  await world.clock.advance(1000);
  assert.is(client.text, 'hello');
  assert.equal(server.received, []);
  assert.is(seen.from.length, 1);
});

test('IPv6 is routed, and a firewall lets in only what was asked for', async () => {
  const world = new World(5);
  const firewall6 = { mapping: 'none', filtering: 'address-and-port-dependent' } as const;
  const site = world.network('site', world.internet, { nat: EASY, address: '203.0.113.1', firewall6 });
  const inner = world.network('inner', site);
  const inside = new TestSocket(world.host('inside', inner, ['10.0.0.1', '2001:db8:1::10']), 7);
  const outside = new TestSocket(world.host('outside', world.internet, ['192.0.2.1', '2001:db8::1']), 7);
  const to = { address: '2001:db8:1::10', port: 7 };
  outside.send('too early', to);
  await world.clock.advance(10);
  inside.send('ask', { address: '2001:db8::1', port: 7 });
  await world.clock.advance(10);
  outside.send('answer', to);
  await world.clock.advance(10);
  assert.equal(outside.sources('ask'), ['[2001:db8:1::10]:7']);
  assert.equal(
    inside.received.map(({ text }) => text),
    ['answer'],
  );
});

test('an address that a host has given up is gone, and the new one works', async () => {
  const world = new World(6);
  const lan = world.network('lan', world.internet, { nat: EASY, address: '203.0.113.1' });
  const cafe = world.network('cafe', world.internet, { nat: EASY, address: '203.0.113.2' });
  const host = world.host('host', lan, ['192.168.1.10']);
  const server = new TestSocket(world.host('server', world.internet, ['192.0.2.1']), 7);
  const socket = new TestSocket(host, 9);
  const to = { address: '192.0.2.1', port: 7 };
  socket.send('one', to);
  await world.clock.advance(10);
  host.move(cafe, ['172.16.0.5']);
  server.send('late', server.received[0]!.from);
  socket.send('two', to);
  await world.clock.advance(10);
  assert.equal(socket.received, []);
  assert.is(server.received[1]!.from.address, '203.0.113.2');
  assert.equal(host.port.interfaces?.(), ['172.16.0.5']);
});

test('a host that sleeps hears nothing, and its timers fire when it wakes', async () => {
  const world = new World(7);
  const host = world.host('host', world.internet, ['192.0.2.1']);
  const socket = new TestSocket(host, 7);
  const other = new TestSocket(world.host('other', world.internet, ['192.0.2.2']));
  const fired: number[] = [];
  const timer = host.port.createTimer(() => fired.push(host.port.clock.nowMs()));
  timer.arm(world.nowMs + 5000);
  const begun = world.nowMs;
  host.sleep(600_000);
  other.send('anybody?', { address: '192.0.2.1', port: 7 });
  await world.clock.advance(600_001);
  other.send('and now?', { address: '192.0.2.1', port: 7 });
  await world.clock.advance(1);
  assert.equal(fired, [begun + 600_000]);
  assert.equal(
    socket.received.map(({ text }) => text),
    ['and now?'],
  );
});

test('a timer fires once, at the last time it was set to, and not after cancel', async () => {
  const world = new World(8);
  const { port } = world.host('host', world.internet, ['192.0.2.1']);
  const fired: number[] = [];
  const timer = port.createTimer(() => fired.push(world.nowMs));
  timer.arm(1500);
  timer.arm(1200);
  await world.clock.advance(1000);
  timer.arm(2500);
  timer.cancel();
  await world.clock.advance(1000);
  assert.equal(fired, [1200]);
});

test('a stream arrives whole and in order through heavy loss', async () => {
  const world = new World(9);
  echo(world, '192.0.2.1');
  world.host('server', world.internet, ['192.0.2.1'], { loss: 0.3, delayMs: 10 });
  const client = new Client();
  const stream = world
    .host('client', world.internet, ['192.0.2.2'])
    .port.openStream({ host: '192.0.2.1', port: 80 }, client);
  await world.clock.advance(30_000);
  let sent = '';
  for (let i = 0; i < 50; i++) {
    sent += `${i},`;
    write(stream, `${i},`);
  }
  stream.close();
  assert.is(client.happened[0], 'opened');
  const other = new Client();
  const second = world.hosts.get('client')!.port.openStream({ host: '192.0.2.1', port: 80 }, other);
  await world.clock.advance(30_000);
  for (let i = 0; i < 50; i++) write(second, `${i},`);
  await world.clock.advance(300_000);
  assert.is(other.text, sent);
});

test('a stream has bounded room, and says when there is more', async () => {
  const world = new World(10);
  const seen = echo(world, '192.0.2.1');
  world.host('server', world.internet, ['192.0.2.1'], { delayMs: 10 });
  const client = new Client();
  const stream = world
    .host('client', world.internet, ['192.0.2.2'])
    .port.openStream({ host: '192.0.2.1', port: 80 }, client);
  await world.clock.advance(1000);
  seen.streams[0]!.pause();
  assert.is(stream.write(new Uint8Array(100_000), 0, 100_000), 65_536);
  await world.clock.advance(1000);
  assert.equal(client.happened, ['opened']);
  seen.streams[0]!.resume();
  await world.clock.advance(1000);
  assert.equal(client.happened, ['opened', 'writable']);
});

test('a stream whose NAT has restarted is reset when the inside sends, and stands still until then', async () => {
  const world = new World(11);
  const seen = echo(world, '192.0.2.1');
  world.host('server', world.internet, ['192.0.2.1']);
  const site = world.network('site', world.internet, { nat: EASY, address: '203.0.113.1' });
  const client = new Client();
  const stream = world.host('client', site, ['192.168.1.10']).port.openStream({ host: '192.0.2.1', port: 80 }, client);
  await world.clock.advance(1000);
  assert.equal(seen.from, ['203.0.113.1']);
  site.router!.reboot();
  write(seen.streams[0]!, 'from the server');
  await world.clock.advance(60_000);
  assert.equal(client.happened, ['opened']);
  assert.is(client.text, '');
  write(stream, 'x');
  await world.clock.advance(1000);
  assert.equal(client.happened, ['opened', 'ERR_CONNECTION_RESET']);
});

test('nobody listens: refused; nobody is there: timed out or unreachable; a server is killed: reset', async () => {
  const world = new World(12);
  const server = world.host('server', world.internet, ['192.0.2.1']);
  const { port } = world.host('client', world.internet, ['192.0.2.2']);
  const open = (address: string) => {
    const client = new Client();
    port.openStream({ host: address, port: 80 }, client);
    return client;
  };
  const refused = open('192.0.2.1');
  const nobody = open('192.0.2.77');
  await world.clock.advance(100);
  echo(world, '192.0.2.1');
  const served = open('192.0.2.1');
  await world.clock.advance(100);
  server.interfaces[0]!.wire.cut(true);
  const cut = open('192.0.2.1');
  await world.clock.advance(11_000);
  server.interfaces[0]!.wire.cut(false);
  world.streams.reset('192.0.2.1');
  await world.clock.advance(100);
  assert.equal(refused.happened, ['ERR_CONNECTION_REFUSED']);
  assert.equal(nobody.happened, ['ERR_UNREACHABLE']);
  assert.equal(cut.happened, ['ERR_TIMED_OUT']);
  assert.equal(served.happened, ['opened', 'ERR_CONNECTION_RESET']);
});

test('the same seed gives the same packets at the same times, and another seed others', async () => {
  const play = async (seed: number) => {
    const world = new World(seed);
    world.recorder = new PcapRecorder();
    const server = new TestSocket(world.host('server', world.internet, ['192.0.2.1'], { loss: 0.2, jitterMs: 9 }), 7);
    server.onDatagram = (text, from) => server.send(text, from);
    const host = hostBehind(world, 'client', BEHAVIOURS.get('double-strict')!, 1);
    const client = new TestSocket(host);
    for (let i = 0; i < 20; i++) {
      client.send(`number ${i}`, { address: '192.0.2.1', port: 7 });
      await world.clock.advance(20);
    }
    return toHex(world.recorder.file());
  };
  const first = await play(1);
  assert.is(await play(1), first);
  assert.is.not(await play(2), first);
});

test('punching is the same with other seeds, too', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    assert.is(await punch(BEHAVIOURS.get('apd-ad')!, BEHAVIOURS.get('apd-ad')!, seed), true);
    assert.is(await punch(BEHAVIOURS.get('ei-apd')!, BEHAVIOURS.get('apd-ad')!, seed), false);
  }
});

test.run();
