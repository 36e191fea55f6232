import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '../../lib/base/address.ts';
import { type ErrorCode, NetError } from '../../lib/base/errors.ts';
import { Slot } from '../../lib/base/slot.ts';
import { STACK_LIMITS_LARGE, STACK_LIMITS_SMALL, Stack } from '../../lib/netstack/stack.ts';
import { type UdpSocket, udpDatagram } from '../../lib/netstack/udp.ts';
import { counting, ip, join, udp, v4, v6 } from '../packet/build.ts';
import { eventsOf, packetsOf, seededRandom, StackPair } from './helpers.ts';

const test = suite('netstack/udp');

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return error => error instanceof NetError && error.code === code;
}

/** Everything that waits in a socket. */
function receiveAll(socket: UdpSocket): { data: Uint8Array; from: string; to: string }[] {
  const out = udpDatagram();
  const all = [];
  while (socket.receive(out))
    all.push({
      data: out.data.slice(out.start, out.end),
      from: `${formatAddress(out.remote)} ${out.remotePort}`,
      to: formatAddress(out.local),
    });
  return all;
}

const send = (pair: StackPair, socket: UdpSocket, data: Uint8Array, remote: string, port: number) =>
  socket.send(pair.nowMs, data, 0, data.length, ip(remote), port);

for (const [remote, local, most] of [
  ['10.0.0.2', '10.0.0.1', 65_507],
  ['fd00::2', 'fd00::1', 65_527],
] as const) {
  test(`datagrams of 0 to ${most} bytes are echoed by ${remote}, in fragments where they must`, () => {
    const pair = new StackPair();
    const server = pair.b.udpBind(7);
    const client = pair.a.udpBind(0);
    const headers = local === '10.0.0.1' ? 28 : 48;
    for (const size of [0, 1, 2, 1419 - headers, 1420 - headers, 1421 - headers, 2800, 9000, 30_001, most - 1, most]) {
      const data = counting(size, size);
      assert.is(send(pair, client, data, remote, 7), size);
      pair.run();
      const [got] = receiveAll(server);
      assert.equal(got, { data, from: `${local} ${client.port}`, to: remote }, `${size}`);
      assert.is(send(pair, server, got!.data, local, client.port), size);
      pair.run();
      assert.equal(receiveAll(client), [{ data, from: `${remote} 7`, to: local }]);
    }
    assert.is(pair.a.drops.total + pair.b.drops.total, 0);
  });

  test(`a datagram of more than ${most} bytes to ${remote} is refused and counted`, () => {
    const pair = new StackPair();
    assert.ok(send(pair, pair.a.udpBind(0), new Uint8Array(most + 1), remote, 7) < 0);
    assert.equal(pair.a.drops.snapshot(), { 'udp-too-big': 1 });
    assert.is(pair.run(), 0);
  });

  test(`a closed port at ${remote} comes back as a refused connection on the socket`, () => {
    const pair = new StackPair();
    const socket = pair.a.udpBind(0);
    send(pair, socket, counting(2000), remote, 9);
    pair.run();
    assert.equal(eventsOf(pair.a), [
      { type: 'udp-error', socket, code: 'ERR_CONNECTION_REFUSED', remote: { address: remote, port: 9 } },
    ]);
    assert.is(pair.b.drops.get('udp-no-socket'), 1);
  });
}

test('a range of a larger array is sent, and the array may be reused at once', () => {
  const pair = new StackPair();
  const server = pair.b.udpBind(7);
  const buf = counting(100);
  pair.a.udpBind(0).send(pair.nowMs, buf, 10, 20, ip('10.0.0.2'), 7);
  buf.fill(0);
  pair.run();
  assert.equal(receiveAll(server)[0]!.data, counting(10, 10));
});

test('readable is said once until the socket was drained', () => {
  const pair = new StackPair();
  const server = pair.b.udpBind(7);
  const client = pair.a.udpBind(0);
  const sendAndRun = () => {
    send(pair, client, counting(3), '10.0.0.2', 7);
    pair.run();
    return eventsOf(pair.b);
  };
  assert.equal(sendAndRun(), [{ type: 'udp', socket: server }]);
  assert.equal(sendAndRun(), []);
  const out = udpDatagram();
  assert.ok(server.receive(out));
  assert.equal(sendAndRun(), []); // not drained yet
  assert.is(receiveAll(server).length, 2);
  assert.equal(sendAndRun(), [{ type: 'udp', socket: server }]);
});

test('an ephemeral port is random and above 32767, and differs from those in use', () => {
  const ports = new Set<number>();
  for (let seed = 1; seed <= 40; seed++) {
    const pair = new StackPair({ seed });
    const port = pair.a.udpBind(0).port;
    assert.ok(port >= 32_768 && port <= 65_535);
    ports.add(port);
  }
  assert.ok(ports.size > 30);
  const stack = new Stack({ nowMs: 0, random: out => out.fill(0), mtu: 1420 });
  assert.equal([stack.udpBind(0).port, stack.udpBind(0).port, stack.udpBind(0).port], [32_768, 32_769, 32_770]);
});

test('a port is taken once, on one address or on all, and free again after close', () => {
  const { b } = new StackPair();
  const any = b.udpBind(53);
  assert.throws(() => b.udpBind(53), hasCode('ERR_ADDRESS_IN_USE'));
  assert.throws(() => b.udpBind(53, { address: ip('10.0.0.2') }), hasCode('ERR_ADDRESS_IN_USE'));
  any.close();
  any.close();
  const v4 = b.udpBind(53, { address: ip('10.0.0.2') });
  const v6 = b.udpBind(53, { address: ip('fd00::2') });
  assert.throws(() => b.udpBind(53, { address: ip('10.0.0.2') }), hasCode('ERR_ADDRESS_IN_USE'));
  assert.throws(() => b.udpBind(53), hasCode('ERR_ADDRESS_IN_USE'));
  v4.close();
  v6.close();
  b.udpBind(53);
});

test('a foreign address, a bad port or one socket too many are errors of their own', () => {
  const { b } = new StackPair({ limits: { udpSockets: 2 } });
  assert.throws(() => b.udpBind(53, { address: ip('10.0.0.9') }), hasCode('ERR_ADDRESS_UNAVAILABLE'));
  for (const port of [-1, 65_536, 1.5, Number.NaN]) assert.throws(() => b.udpBind(port), RangeError);
  b.udpBind(1);
  const second = b.udpBind(2);
  assert.throws(() => b.udpBind(3), hasCode('ERR_LIMIT'));
  second.close();
  b.udpBind(3);
});

test('a socket bound to one address takes nothing that was sent to another', () => {
  const pair = new StackPair();
  const v4 = pair.b.udpBind(53, { address: ip('10.0.0.2') });
  const client = pair.a.udpBind(0);
  send(pair, client, counting(1), 'fd00::2', 53);
  send(pair, client, counting(2), '10.0.0.2', 53);
  pair.run();
  assert.equal(
    receiveAll(v4).map(({ data }) => data.length),
    [2],
  );
  assert.is(pair.b.drops.get('udp-no-socket'), 1);
  assert.ok(send(pair, v4, counting(1), 'fd00::1', 5) < 0); // nor does it send from another
  assert.is(pair.b.drops.get('ip-no-source'), 1);
});

test('a closed socket takes nothing more, sends what it had queued, and does not send again', () => {
  const pair = new StackPair();
  const server = pair.b.udpBind(7);
  const client = pair.a.udpBind(0);
  send(pair, client, counting(5), '10.0.0.2', 7);
  client.close();
  pair.run();
  assert.is(receiveAll(server).length, 1);
  assert.throws(() => send(pair, client, counting(5), '10.0.0.2', 7), hasCode('ERR_CLOSED'));
  send(pair, server, counting(5), '10.0.0.1', client.port);
  pair.run();
  assert.not.ok(client.receive(udpDatagram()));
  assert.is(pair.a.drops.get('udp-no-socket'), 1);
  server.close();
  assert.equal(
    eventsOf(pair.b).filter(event => event.type === 'udp'),
    [],
  );
});

test('a bad destination is the caller’s mistake, and one that is no host has no source', () => {
  const pair = new StackPair();
  const socket = pair.a.udpBind(0);
  for (const port of [0, 65_536, 1.5])
    assert.throws(() => send(pair, socket, counting(1), '10.0.0.2', port), RangeError);
  assert.throws(() => socket.send(0, counting(1), 0, 1, new Uint8Array(5), 7), RangeError);
  for (const remote of ['224.0.0.1', '255.255.255.255', '0.0.0.0', '127.0.0.1', 'ff02::1', '::1', '::ffff:10.0.0.2'])
    assert.ok(send(pair, socket, counting(1), remote, 7) < 0, remote);
  assert.is(pair.a.drops.get('ip-no-source'), 7);
});

test('without an address of the family there is no source', () => {
  const stack = new Stack({ nowMs: 0, random: seededRandom(1), mtu: 1420 });
  stack.addAddress({ bytes: ip('10.0.0.1'), bits: 24 });
  const socket = stack.udpBind(0);
  assert.ok(socket.send(0, counting(1), 0, 1, ip('fd00::2'), 7) < 0);
  assert.is(stack.drops.get('ip-no-source'), 1);
});

test('a full receive queue drops the newest and counts it, by bytes and by datagrams', () => {
  const pair = new StackPair({ limits: { udpReceiveBytes: 1000, udpReceiveDatagrams: 5 } });
  const server = pair.b.udpBind(7);
  const client = pair.a.udpBind(0);
  for (let i = 0; i < 8; i++) send(pair, client, Uint8Array.of(i), '10.0.0.2', 7);
  pair.run();
  assert.equal(
    receiveAll(server).map(({ data }) => data[0]),
    [0, 1, 2, 3, 4],
  );
  assert.is(pair.b.drops.get('udp-queue-full'), 3);
  for (let i = 0; i < 4; i++) send(pair, client, new Uint8Array(400), '10.0.0.2', 7);
  pair.run();
  assert.is(receiveAll(server).length, 2);
  assert.is(pair.b.drops.get('udp-queue-full'), 5);
});

test('a full send queue refuses the newest, for one socket and for all together', () => {
  const pair = new StackPair({ limits: { udpSendBytes: 3000, udpSendTotalBytes: 5000 } });
  const sockets = [pair.a.udpBind(0), pair.a.udpBind(0)];
  const taken = sockets.map(socket => {
    let count = 0;
    while (send(pair, socket, new Uint8Array(900), '10.0.0.2', 7) >= 0) count++;
    return count;
  });
  assert.equal(taken, [3, 2]);
  assert.is(pair.a.drops.get('udp-queue-full'), 2);
  assert.is(packetsOf(pair.a, pair.nowMs).length, 5);
  assert.ok(send(pair, sockets[0]!, new Uint8Array(900), '10.0.0.2', 7) >= 0);
});

test('sockets take turns, and the fragments of a datagram stay together', () => {
  const pair = new StackPair();
  const [x, y] = [pair.a.udpBind(1000), pair.a.udpBind(2000)];
  for (let i = 0; i < 3; i++) send(pair, x!, new Uint8Array(2000), '10.0.0.2', 7);
  for (let i = 0; i < 2; i++) send(pair, y!, new Uint8Array(10), '10.0.0.2', 7);
  const turns = packetsOf(pair.a, pair.nowMs).map(packet =>
    packet[7]! > 0 && packet[6]! < 0x20 ? '+' : packet[20]! === 1000 >> 8 ? 'x' : 'y',
  );
  assert.equal(turns.join(''), 'x+yx+yx+');
});

test('a hundred sockets with a hundred datagrams each all get through', () => {
  const pair = new StackPair();
  const server = pair.b.udpBind(7);
  const sockets = Array.from({ length: 100 }, () => pair.a.udpBind(0));
  let received = 0;
  for (let i = 0; i < 10; i++) {
    for (const socket of sockets) for (let j = 0; j < 10; j++) send(pair, socket, counting(20), '10.0.0.2', 7);
    pair.run();
    received += receiveAll(server).length;
  }
  assert.is(received, 10_000);
});

test('errors are believed only about destinations that the socket sent to, and only the last ones', () => {
  const pair = new StackPair({ limits: { udpRecentDestinations: 2 } });
  const socket = pair.a.udpBind(4000);
  const unreachable = (port: number, from = 4000, dst = '10.0.0.2') => {
    const quote = v4({ src: '10.0.0.1', dst }, udp({ src: '10.0.0.1', dst, from, to: port }, counting(0)));
    const body = join([3, 3, 0, 0, 0, 0, 0, 0], quote);
    let sum = 0;
    for (let i = 0; i < body.length; i += 2) sum += body[i]! * 256 + (body[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    body.set([(~sum >> 8) & 255, ~sum & 255], 2);
    const packet = v4({ protocol: 1 }, body);
    return pair.a.handlePacket(pair.nowMs, packet, 0, packet.length);
  };
  for (const port of [7, 8, 9]) send(pair, socket, counting(1), '10.0.0.2', port);
  for (const port of [8, 9]) assert.is(unreachable(port), 0);
  assert.is(eventsOf(pair.a).length, 2);
  assert.ok(unreachable(7) < 0); // forgotten: two are remembered
  assert.ok(unreachable(10) < 0);
  assert.ok(unreachable(8, 4001) < 0);
  assert.ok(unreachable(8, 4000, '10.0.0.3') < 0);
  assert.is(pair.a.drops.get('icmp-no-flow'), 4);
  socket.close();
  assert.ok(unreachable(8) < 0);
  assert.equal(eventsOf(pair.a), []);
});

test('datagrams with bad lengths or checksums are counted and go no further', () => {
  const pair = new StackPair();
  const server = pair.a.udpBind(53);
  const deliver = (packet: Uint8Array) => pair.a.handlePacket(pair.nowMs, packet, 0, packet.length);
  const good = udp({}, counting(4));
  assert.is(deliver(v4({}, good)), 0);
  assert.is(deliver(v4({}, udp({ checksum: 0 }, counting(4)))), 0);
  assert.ok(deliver(v4({}, udp({ checksum: 1 }, counting(4)))) < 0);
  assert.ok(deliver(v4({}, good.slice(0, 7))) < 0);
  assert.ok(deliver(v6({}, udp({ src: 'fd00::2', dst: 'fd00::1', checksum: 0 }, counting(4)))) < 0);
  assert.equal(pair.a.drops.snapshot(), { 'udp-checksum': 2, 'udp-malformed': 1 });
  assert.is(receiveAll(server).length, 2);
});

test('an idle socket holds no queue memory, and a drained one gives a large queue back', () => {
  const pair = new StackPair();
  const server = pair.b.udpBind(7);
  const client = pair.a.udpBind(0);
  assert.is(client.queue, undefined);
  for (let i = 0; i < 3; i++) send(pair, client, new Uint8Array(60_000), '10.0.0.2', 7);
  assert.ok(client.queue!.capacity >= 180_000);
  pair.run();
  assert.is(client.queue, undefined);
  assert.is(receiveAll(server).length, 3);
});

test('a small stack has no queues while nothing waits in them', () => {
  const pair = new StackPair({ limits: STACK_LIMITS_SMALL });
  const server = pair.b.udpBind(7);
  const client = pair.a.udpBind(0);
  for (let i = 0; i < 3; i++) {
    send(pair, client, counting(100), '10.0.0.2', 7);
    assert.ok(client.queue!.capacity <= 256);
    pair.run();
    assert.is(client.queue, undefined);
    assert.is(receiveAll(server).length, 1);
  }
});

test('the presets agree with each other about what they limit', () => {
  assert.equal(Object.keys(STACK_LIMITS_SMALL), Object.keys(STACK_LIMITS_LARGE));
  const numbers = (limits: object) => Object.values(limits).filter(value => typeof value === 'number');
  for (const [i, value] of numbers(STACK_LIMITS_SMALL).entries()) assert.ok(value <= numbers(STACK_LIMITS_LARGE)[i]!);
});

test('the small preset refuses what its queue can never hold', () => {
  const pair = new StackPair({ limits: STACK_LIMITS_SMALL });
  const socket = pair.a.udpBind(0);
  assert.ok(send(pair, socket, new Uint8Array(8192), '10.0.0.2', 7) < 0);
  assert.is(pair.a.drops.get('udp-too-big'), 1);
  assert.is(send(pair, socket, new Uint8Array(8000), '10.0.0.2', 7), 8000);
});

test('a slot of exactly the MTU holds every packet', () => {
  for (const mtu of [576, 1280, 1281, 1420, 9000]) {
    const pair = new StackPair({ mtu });
    const socket = pair.a.udpBind(0);
    send(pair, socket, counting(20_000), '10.0.0.2', 7);
    if (mtu >= 1280) send(pair, socket, counting(20_000), 'fd00::2', 7);
    const slot = new Slot(mtu);
    let packets = 0;
    for (; pair.a.pollTransmit(0, slot); packets++) assert.ok(slot.end - slot.start <= mtu);
    assert.ok(packets >= 3);
  }
});

test.run();
