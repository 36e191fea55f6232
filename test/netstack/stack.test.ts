import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readU16BE } from '../../lib/base/bytes.ts';
import { type ErrorCode, NetError } from '../../lib/base/errors.ts';
import { Slot } from '../../lib/base/slot.ts';
import { REASSEMBLY_LIMITS_LARGE, Reassembly } from '../../lib/netstack/reassembly.ts';
import { Stack, type StackOptions } from '../../lib/netstack/stack.ts';
import {
  READY_ACCEPTED,
  READY_CLOSED,
  READY_CONNECTED,
  READY_ENDED,
  type TcpConnection,
} from '../../lib/netstack/tcp.ts';
import { udpDatagram } from '../../lib/netstack/udp.ts';
import { counting, extension, fragmentHeader, icmp4, icmp6, ip, join, udp, v4, v6 } from '../packet/build.ts';
import { eventsOf, packetsOf, StackPair, seededRandom } from './helpers.ts';

const test = suite('netstack/stack');

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return error => error instanceof NetError && error.code === code;
}

function make(options: Partial<StackOptions> = {}): Stack {
  const stack = new Stack({ nowMs: 0, random: seededRandom(1), mtu: 1420, ...options });
  stack.addAddress({ bytes: ip('10.0.0.1'), bits: 24 });
  if (stack.mtu >= 1280) stack.addAddress({ bytes: ip('fd00::1'), bits: 64 });
  return stack;
}

const say = (stack: Stack, packet: Uint8Array, nowMs = 0) => stack.handlePacket(nowMs, packet, 0, packet.length);

/** The connections that a stack has news of. */
function connectionsOf(stack: Stack): TcpConnection[] {
  return eventsOf(stack).flatMap(event => (event.type === 'tcp' ? [event.connection] : []));
}

/** Sends `data` from one connection to the other and returns what arrived. */
function carry(pair: StackPair, from: TcpConnection, to: TcpConnection, data: Uint8Array): Uint8Array {
  const got = new Uint8Array(data.length);
  let sent = 0;
  let received = 0;
  for (let i = 0; i < 2000 && received < data.length; i++) {
    sent += from.write(pair.nowMs, data, sent, data.length);
    pair.advance(5);
    received += to.read(pair.nowMs, got, received, got.length);
  }
  return got.slice(0, received);
}

for (const remote of ['10.0.0.2', 'fd00::2']) {
  test(`TCP carries bytes both ways and closes, to ${remote}`, () => {
    const pair = new StackPair();
    pair.b.tcpListen(80);
    const client = pair.a.tcpConnect(pair.nowMs, ip(remote), 80);
    pair.run();
    const [server] = connectionsOf(pair.b);
    assert.ok(server!.takeReady() & READY_ACCEPTED);
    assert.equal(connectionsOf(pair.a), [client]);
    assert.ok(client.takeReady() & READY_CONNECTED);
    assert.equal(carry(pair, client, server!, counting(50_000)), counting(50_000));
    assert.equal(carry(pair, server!, client, counting(50_000, 3)), counting(50_000, 3));
    client.shutdown(pair.nowMs);
    pair.advance(100);
    assert.ok(server!.takeReady() & READY_ENDED);
    server!.shutdown(pair.nowMs);
    pair.advance(200_000);
    assert.ok(server!.takeReady() & READY_CLOSED);
    assert.equal([pair.a.tcp.connectionCount, pair.b.tcp.connectionCount], [0, 0]);
    assert.equal([pair.a.nextTimeout(), pair.b.nextTimeout()], [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  test(`a closed TCP port at ${remote} refuses the connection`, () => {
    const pair = new StackPair();
    const client = pair.a.tcpConnect(pair.nowMs, ip(remote), 80);
    pair.run();
    assert.ok(client.takeReady() & READY_CLOSED);
    assert.is(client.error, 'ERR_CONNECTION_REFUSED');
    assert.is(pair.b.drops.get('tcp-no-connection'), 1);
  });
}

test('an MTU that no host may have is the caller’s mistake, and IPv6 wants 1280', () => {
  for (const mtu of [0, 575, 65_536, 1420.5, Number.NaN]) assert.throws(() => make({ mtu }), RangeError);
  const stack = make({ mtu: 1279 });
  assert.throws(() => stack.addAddress({ bytes: ip('fd00::1'), bits: 64 }), RangeError);
  make({ mtu: 576 });
  make({ mtu: 65_535 });
});

test('addresses are shown, and a removed one takes nothing any more', () => {
  const stack = make();
  assert.equal(
    stack.addresses.map(({ bits }) => bits),
    [24, 64],
  );
  const request = v4({ protocol: 1 }, icmp4(8, 0, 1, counting(4)));
  assert.is(say(stack, request), 0);
  stack.removeAddress(ip('10.0.0.1'));
  assert.ok(say(stack, request) < 0);
  assert.equal(stack.drops.snapshot(), { 'ip-not-local': 1 });
});

test('several own addresses of one family all answer, each as itself', () => {
  const stack = make();
  stack.addAddress({ bytes: ip('10.7.0.1'), bits: 24 });
  say(stack, v4({ protocol: 1, dst: '10.7.0.1' }, icmp4(8, 0, 1, counting(4))));
  say(stack, v4({ protocol: 1 }, icmp4(8, 0, 1, counting(4))));
  assert.equal(
    packetsOf(stack, 0).map(packet => [...packet.slice(12, 20)]),
    [
      [10, 7, 0, 1, 10, 0, 0, 2],
      [10, 0, 0, 1, 10, 0, 0, 2],
    ],
  );
});

test('connections leave from the own address that is nearest, or from the one that is asked for', () => {
  const stack = make();
  stack.addAddress({ bytes: ip('10.7.0.1'), bits: 24 });
  assert.is(stack.tcpConnect(0, ip('10.7.0.9'), 80).path.localText, '10.7.0.1');
  assert.is(stack.tcpConnect(0, ip('10.0.0.9'), 80).path.localText, '10.0.0.1');
  assert.is(stack.tcpConnect(0, ip('10.7.0.9'), 80, { local: ip('10.0.0.1') }).path.localText, '10.0.0.1');
  assert.is(stack.tcpConnect(0, ip('10.7.0.9'), 80, { localPort: 4000 }).localPort, 4000);
});

test('what cannot be reached or used as a source is an error of its own', () => {
  const stack = make();
  for (const text of ['224.0.0.1', '255.255.255.255', '127.0.0.1', '::1', 'ff02::1', '::ffff:10.0.0.2'])
    assert.throws(() => stack.tcpConnect(0, ip(text), 80), hasCode('ERR_ADDRESS_UNAVAILABLE'), text);
  assert.throws(() => stack.tcpConnect(0, new Uint8Array(5), 80), RangeError);
  assert.throws(
    () => stack.tcpConnect(0, ip('10.0.0.2'), 80, { local: ip('10.0.0.3') }),
    hasCode('ERR_ADDRESS_UNAVAILABLE'),
  );
  assert.throws(() => stack.tcpListen(80, { address: ip('10.0.0.3') }), hasCode('ERR_ADDRESS_UNAVAILABLE'));
  stack.removeAddress(ip('fd00::1'));
  assert.throws(() => stack.tcpConnect(0, ip('fd00::2'), 80), hasCode('ERR_ADDRESS_UNAVAILABLE'));
  stack.tcpListen(80);
  assert.throws(() => stack.tcpListen(80), hasCode('ERR_ADDRESS_IN_USE'));
});

test('a listener on one address does not take connections to another', () => {
  const pair = new StackPair();
  pair.b.tcpListen(80, { address: ip('10.0.0.2') });
  const refused = pair.a.tcpConnect(pair.nowMs, ip('fd00::2'), 80);
  const taken = pair.a.tcpConnect(pair.nowMs, ip('10.0.0.2'), 80);
  pair.run();
  assert.is(refused.error, 'ERR_CONNECTION_REFUSED');
  assert.ok(taken.takeReady() & READY_CONNECTED);
});

test('padding behind a packet is not data', () => {
  const stack = make();
  const socket = stack.udpBind(53);
  assert.is(say(stack, join(v4({}, udp({}, counting(4))), new Uint8Array(20))), 0);
  const out = udpDatagram();
  assert.ok(socket.receive(out));
  assert.is(out.end - out.start, 4);
});

// Loopback

test('a packet to an own address comes back inside: ping, UDP, TCP, errors', () => {
  const stack = make();
  const slot = new Slot(1420);
  for (const own of ['10.0.0.1', 'fd00::1']) {
    stack.ping(0, ip(own), 1, 2, 3000);
    assert.not.ok(stack.pollTransmit(0, slot));
    assert.equal(
      eventsOf(stack).map(event => event.type),
      [],
    ); // fragments need reassembly, which was not given
  }
  const whole = make({ reassembly: new Reassembly(REASSEMBLY_LIMITS_LARGE) });
  for (const own of ['10.0.0.1', 'fd00::1']) {
    whole.ping(0, ip(own), 1, 2, 3000);
    const socket = whole.udpBind(53);
    const client = whole.udpBind(0);
    client.send(0, counting(2000), 0, 2000, ip(own), 53);
    client.send(0, counting(1), 0, 1, ip(own), 54);
    assert.not.ok(whole.pollTransmit(0, slot));
    assert.equal(
      eventsOf(whole)
        .map(event => event.type)
        .sort(),
      ['echo-reply', 'udp', 'udp-error'],
    );
    assert.is(socket.readableDatagrams, 1);
    socket.close();
    const listener = whole.tcpListen(80);
    const connection = whole.tcpConnect(0, ip(own), 80);
    assert.not.ok(whole.pollTransmit(0, slot));
    const [accepted] = connectionsOf(whole).filter(other => other !== connection);
    assert.is(connection.write(0, counting(100), 0, 100), 100);
    assert.not.ok(whole.pollTransmit(0, slot));
    assert.is(accepted!.readableBytes, 100);
    connection.abort(0);
    listener.close();
    whole.pollTransmit(0, slot);
    eventsOf(whole);
  }
  assert.equal(whole.drops.snapshot(), { 'udp-no-socket': 2 });
});

test('what loops back is bounded per poll, and the rest asks for another at once', () => {
  const stack = make({ limits: { loopbackBurst: 10 } });
  const slot = new Slot(1420);
  const socket = stack.udpBind(53);
  for (let i = 0; i < 25; i++) socket.send(0, counting(10), 0, 10, ip('10.0.0.1'), 53);
  socket.send(0, counting(10), 0, 10, ip('10.0.0.2'), 53);
  assert.not.ok(stack.pollTransmit(5, slot));
  assert.is(socket.readableDatagrams, 10);
  assert.is(stack.nextTimeout(), 5);
  assert.not.ok(stack.pollTransmit(5, slot));
  assert.ok(stack.pollTransmit(5, slot));
  assert.is(socket.readableDatagrams, 25);
  assert.not.ok(stack.pollTransmit(5, slot));
  assert.is(stack.nextTimeout(), Number.POSITIVE_INFINITY);
});

test('from outside nobody can pretend to be us (land attack)', () => {
  const stack = make();
  stack.udpBind(53);
  stack.tcpListen(80);
  assert.ok(say(stack, v4({ src: '10.0.0.1' }, udp({ src: '10.0.0.1' }, counting(4)))) < 0);
  assert.ok(say(stack, v6({ src: 'fd00::1' }, udp({ src: 'fd00::1', dst: 'fd00::1' }, counting(4)))) < 0);
  assert.equal(stack.drops.snapshot(), { 'ip-bad-source': 2 });
  assert.equal(packetsOf(stack, 0), []);
});

// Fairness

test('a flood of UDP does not starve TCP, nor the other way round, nor does ICMP either', () => {
  const pair = new StackPair();
  pair.b.tcpListen(80);
  const client = pair.a.tcpConnect(pair.nowMs, ip('10.0.0.2'), 80);
  pair.run();
  const socket = pair.a.udpBind(0);
  // Grow the congestion window first.
  const [accepted] = connectionsOf(pair.b);
  carry(pair, client, accepted!, counting(300_000));
  client.write(pair.nowMs, counting(65_000), 0, 65_000);
  for (let i = 0; i < 150; i++) socket.send(pair.nowMs, counting(1300), 0, 1300, ip('10.0.0.2'), 7);
  for (let i = 0; i < 40; i++) say(pair.a, v4({ protocol: 1 }, icmp4(8, 0, i, counting(1300))), pair.nowMs);
  const packets = packetsOf(pair.a, pair.nowMs);
  const first = (protocol: number) => packets.findIndex(packet => packet[9] === protocol);
  for (const protocol of [6, 17])
    assert.ok(first(protocol) >= 8 && first(protocol) <= 16, `${protocol} came at ${first(protocol)}`);
  assert.is(first(1), 0);
  const lastTcp = packets.map(packet => packet[9]).lastIndexOf(6);
  const bytesOf = (protocol: number) =>
    packets.slice(0, lastTcp + 1).reduce((sum, packet) => sum + (packet[9] === protocol ? packet.length : 0), 0);
  assert.ok(
    bytesOf(6) > 40_000 && Math.abs(bytesOf(17) - bytesOf(6)) <= 5 * 1420,
    `${bytesOf(6)} TCP, ${bytesOf(17)} UDP`,
  );
});

test('without competition everybody gets everything', () => {
  const pair = new StackPair();
  const socket = pair.a.udpBind(0);
  for (let i = 0; i < 100; i++) socket.send(pair.nowMs, counting(1300), 0, 1300, ip('10.0.0.2'), 7);
  assert.is(packetsOf(pair.a, pair.nowMs).length, 100);
  for (let i = 0; i < 100; i++) say(pair.a, v4({ protocol: 1 }, icmp4(8, 0, i, counting(1300))), pair.nowMs);
  assert.is(packetsOf(pair.a, pair.nowMs).length, 100);
});

// Fragments

test('without a reassembler fragments are dropped under a name of their own', () => {
  const stack = make();
  assert.ok(say(stack, v4({ flags: 0x2000 }, counting(16))) < 0);
  assert.ok(say(stack, v6({ next: 44 }, join(fragmentHeader(17, 0, true, 9), counting(16)))) < 0);
  assert.equal(stack.drops.snapshot(), { 'ip-fragments-unsupported': 2 });
  // An atomic fragment is none.
  stack.udpBind(53);
  const whole = join(fragmentHeader(17, 0, false, 9), udp({ src: 'fd00::2', dst: 'fd00::1' }, counting(4)));
  assert.is(say(stack, v6({ next: 44 }, whole)), 0);
});

test('TCP works over fragments', () => {
  const pair = new StackPair();
  pair.b.tcpListen(80);
  const client = pair.a.tcpConnect(pair.nowMs, ip('10.0.0.2'), 80);
  for (const syn of packetsOf(pair.a, pair.nowMs)) {
    const body = syn.slice(20);
    const cut = 24; // within the options
    const piece = (data: Uint8Array, flags: number) =>
      v4({ src: '10.0.0.1', dst: '10.0.0.2', protocol: 6, id: 5, flags }, data);
    assert.ok(body.length > cut);
    assert.is(say(pair.b, piece(body.slice(cut), cut >> 3), pair.nowMs), 0);
    assert.is(say(pair.b, piece(body.slice(0, cut), 0x2000), pair.nowMs), 0);
  }
  pair.run();
  assert.ok(client.takeReady() & READY_CONNECTED);
});

test('a datagram that does not become whole is reported to its sender, unless its first fragment is missing', () => {
  for (const [offset, answers] of [
    [0, 1],
    [64, 0],
  ] as const) {
    const stack = make({ reassembly: new Reassembly(REASSEMBLY_LIMITS_LARGE) });
    const fragment4 = v4({ flags: 0x2000 | (offset >> 3), id: 5 }, counting(32));
    const fragment6 = v6({ next: 44 }, join(fragmentHeader(17, offset, true, 9), counting(32)));
    assert.is(say(stack, fragment4), 0);
    assert.is(say(stack, fragment6), 0);
    assert.is(stack.nextTimeout(), 30_000);
    stack.handleTimeout(29_999);
    assert.equal(packetsOf(stack, 29_999), []);
    stack.handleTimeout(30_000);
    const packets = packetsOf(stack, 30_000);
    assert.is(packets.length, answers * 2);
    assert.is(stack.drops.get('ip-reassembly-timeout'), 2);
    if (answers === 0) continue;
    assert.equal([packets[0]![20], packets[0]![21]], [11, 1]);
    assert.equal(packets[0]!.slice(28), fragment4);
    assert.equal([packets[1]![40], packets[1]![41]], [3, 1]);
    assert.equal(packets[1]!.slice(48), fragment6);
  }
});

test('a fragment inside a reassembled datagram goes nowhere', () => {
  const stack = make({ reassembly: new Reassembly(REASSEMBLY_LIMITS_LARGE) });
  const socket = stack.udpBind(53);
  const datagram = udp({ src: 'fd00::2', dst: 'fd00::1' }, counting(24));
  // The outer fragments carry [destination options, atomic fragment header, UDP]; cut so that no piece shows both.
  const inner = join(extension(44, [1, 0]), fragmentHeader(17, 0, false, 2), datagram);
  const cut = 32;
  assert.is(say(stack, v6({ next: 44 }, join(fragmentHeader(60, cut, false, 1), inner.slice(cut)))), 0);
  assert.ok(say(stack, v6({ next: 44 }, join(fragmentHeader(60, 0, true, 1), inner.slice(0, cut)))) < 0);
  assert.equal(stack.drops.snapshot(), { 'ip-malformed': 1 });
  assert.is(socket.readableDatagrams, 0);
});

test('a source route, a wrong checksum or a foreign address is not forgiven in fragments', () => {
  const stack = make({ reassembly: new Reassembly(REASSEMBLY_LIMITS_LARGE) });
  const first = udp({}, counting(24));
  for (const fields of [
    { options: [131, 7, 4, 10, 0, 0, 9, 0] },
    { checksum: 1 },
    { src: '127.0.0.1' },
    { dst: '10.0.0.9' },
  ])
    assert.ok(say(stack, v4({ flags: 0x2000, id: 5, ...fields }, first)) < 0);
  assert.equal(stack.drops.snapshot(), { 'ip-options': 1, 'ip-checksum': 1, 'ip-bad-source': 1, 'ip-not-local': 1 });
  assert.is(stack.nextTimeout(), Number.POSITIVE_INFINITY);
});

test('a ping of death is dropped fragment by fragment', () => {
  const reassembly = new Reassembly(REASSEMBLY_LIMITS_LARGE);
  const stack = make({ reassembly });
  const echo = icmp4(8, 0, 1, counting(1472 - 8));
  for (let offset = 0; offset < 65_536; offset += 1472) {
    const isLast = offset + 1472 >= 65_536;
    const result = say(stack, v4({ protocol: 1, id: 5, flags: (isLast ? 0 : 0x2000) | (offset >> 3) }, echo));
    assert.ok(offset + echo.length > 65_515 ? result < 0 : result === 0, `${offset}`);
  }
  assert.equal(packetsOf(stack, 0), []);
  assert.is(stack.drops.get('ip-malformed'), 1);
});

test('an unknown header in a reassembled datagram is reported', () => {
  const stack = make({ reassembly: new Reassembly(REASSEMBLY_LIMITS_LARGE) });
  const body = counting(64);
  say(stack, v6({ next: 44 }, join(fragmentHeader(132, 32, false, 1), body.slice(32))));
  assert.ok(say(stack, v6({ next: 44 }, join(fragmentHeader(132, 0, true, 1), body.slice(0, 32)))) < 0);
  const [answer] = packetsOf(stack, 0);
  assert.equal([answer![40], answer![41], answer![47]], [4, 1, 6]);
});

// Time and order

test('a clock that goes back changes nothing', () => {
  const pair = new StackPair();
  pair.a.ping(1000, ip('10.0.0.2'), 1, 1, 0);
  pair.run();
  pair.a.handleTimeout(-5000);
  pair.a.pollTransmit(-5000, new Slot(1420));
  const [event] = eventsOf(pair.a);
  assert.is(event!.type === 'echo-reply' && event.rttMs, 0);
});

test('the same inputs give the same bytes', () => {
  const record = () => {
    const pair = new StackPair({ seed: 5 });
    pair.isRecording = true;
    pair.b.tcpListen(80);
    const client = pair.a.tcpConnect(pair.nowMs, ip('10.0.0.2'), 80);
    pair.a.udpBind(0).send(pair.nowMs, counting(3000), 0, 3000, ip('fd00::2'), 9);
    pair.a.ping(pair.nowMs, ip('fd00::2'), 1, 2, 3000);
    pair.run();
    client.write(pair.nowMs, counting(5000), 0, 5000);
    pair.advance(1000);
    return pair.seen;
  };
  const seen = record();
  assert.ok(seen.length > 15);
  assert.equal(record(), seen);
});

test('every packet that leaves has a hop limit of 64, our source, and DF unless it is a fragment', () => {
  const pair = new StackPair();
  pair.isRecording = true;
  pair.b.tcpListen(80);
  for (const remote of ['10.0.0.2', 'fd00::2']) {
    pair.a.tcpConnect(pair.nowMs, ip(remote), 80);
    pair.a.tcpConnect(pair.nowMs, ip(remote), 81);
    pair.a.udpBind(0).send(pair.nowMs, counting(3000), 0, 3000, ip(remote), 9);
    pair.a.ping(pair.nowMs, ip(remote), 1, 2, 100);
  }
  pair.run();
  assert.ok(pair.seen.length > 20);
  for (const { from, packet } of pair.seen) {
    if (packet[0]! >> 4 === 4) {
      const word = readU16BE(packet, 6);
      assert.is(packet[8], 64);
      assert.is((word & 0x4000) !== 0, (word & 0x3fff) === 0);
      assert.equal([...packet.slice(12, 16)], [10, 0, 0, from === 'a' ? 1 : 2]);
    } else {
      assert.is(packet[7], 64);
      assert.equal(packet.slice(8, 24), ip(from === 'a' ? 'fd00::1' : 'fd00::2'));
    }
  }
});

test('the slot is reset before a packet is written, and left empty when there is none', () => {
  const stack = make();
  const slot = new Slot(1420);
  slot.start = 5;
  slot.end = 99;
  slot.to = { address: '1.2.3.4', port: 5 };
  assert.not.ok(stack.pollTransmit(0, slot));
  assert.equal([slot.start, slot.end, slot.to], [32, 32, undefined]);
});

test('ICMPv6 over IPv4 and ICMP over IPv6 are unknown protocols', () => {
  const stack = make();
  assert.ok(say(stack, v4({ protocol: 58 }, icmp6('fd00::2', 'fd00::1', 128, 0, 1, counting(4)))) < 0);
  assert.ok(say(stack, v6({ next: 1 }, icmp4(8, 0, 1, counting(4)))) < 0);
  assert.equal(stack.drops.snapshot(), { 'ip-unknown-protocol': 2 });
});

test.run();
