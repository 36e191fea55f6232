import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, readU16BE, toHex } from '../../lib/base/bytes.ts';
import { type ErrorCode, NetError } from '../../lib/base/errors.ts';
import { PATH_MTU_EXPIRY_MS } from '../../lib/netstack/path-mtu.ts';
import { REASSEMBLY_LIMITS_LARGE, Reassembly } from '../../lib/netstack/reassembly.ts';
import { Stack } from '../../lib/netstack/stack.ts';
import { READY_CLOSED } from '../../lib/netstack/tcp.ts';
import {
  counting,
  extension,
  fragmentHeader,
  icmp4,
  icmp6,
  ip,
  join,
  slowChecksum,
  udp,
  v4,
  v6,
  VECTORS,
} from '../packet/build.ts';
import { eventsOf, packetsOf, seededRandom, StackPair } from './helpers.ts';

const test = suite('netstack/icmp');

/** One stack, 10.0.0.1/24 and fd00::1/64, that tests talk to as 10.0.0.2 and fd00::2. */
function single(limits = {}): Stack & { say(packet: Uint8Array): number; answers(): Uint8Array[] } {
  const stack = new Stack({ nowMs: 0, random: seededRandom(1), mtu: 1420, limits });
  stack.addAddress({ bytes: ip('10.0.0.1'), bits: 24 });
  stack.addAddress({ bytes: ip('fd00::1'), bits: 64 });
  return Object.assign(stack, {
    say: (packet: Uint8Array) => stack.handlePacket(0, packet, 0, packet.length),
    answers: () => packetsOf(stack, 0),
  });
}

const v6icmp = (type: number, code: number, word: number, body: Uint8Array) =>
  v6({ next: 58 }, icmp6('fd00::2', 'fd00::1', type, code, word, body));
const v4icmp = (type: number, code: number, word: number, body: Uint8Array) =>
  v4({ protocol: 1 }, icmp4(type, code, word, body));

test('echo requests of another program are answered as that program would', () => {
  const stack = single();
  assert.is(stack.say(fromHex(VECTORS.echo4)!), 0);
  assert.is(stack.say(fromHex(VECTORS.echo6)!), 0);
  assert.equal(stack.answers().map(toHex), [VECTORS.echoReply4, VECTORS.echoReply6]);
});

test('echo works both ways at all sizes, and is reported once with its time', () => {
  const pair = new StackPair();
  let sequence = 0;
  for (const [remote, most] of [
    ['10.0.0.2', 65_507],
    ['fd00::2', 65_527],
  ] as const) {
    for (const payloadBytes of [0, 1, 56, 1392, 1393, 9001, most]) {
      pair.a.ping(pair.nowMs, ip(remote), 0xabcd, ++sequence, payloadBytes);
      pair.nowMs += 25;
      pair.run();
      const [event, ...more] = eventsOf(pair.a);
      assert.equal(event, { type: 'echo-reply', from: remote, id: 0xabcd, sequence, payloadBytes, rttMs: 25 });
      assert.equal(more, []);
    }
  }
  assert.is(pair.a.drops.total + pair.b.drops.total, 0);
});

test('a reply that nobody asked for, or asked again, is no event', () => {
  const pair = new StackPair();
  const { a } = pair;
  const reply = (id: number, sequence: number, src = '10.0.0.2') => {
    const packet = v4({ protocol: 1, src }, icmp4(0, 0, (id << 16) | sequence, counting(4)));
    return a.handlePacket(pair.nowMs, packet, 0, packet.length);
  };
  a.ping(pair.nowMs, ip('10.0.0.2'), 5, 6, 4);
  assert.ok(reply(5, 7) < 0);
  assert.ok(reply(4, 6) < 0);
  assert.ok(reply(5, 6, '10.0.0.3') < 0);
  assert.is(reply(5, 6), 0);
  assert.ok(reply(5, 6) < 0);
  assert.is(eventsOf(a).length, 1);
  assert.is(a.drops.get('icmp-no-flow'), 4);
});

test('an echo request is awaited for a minute', () => {
  for (const [after, events] of [
    [59_999, 1],
    [60_000, 0],
  ] as const) {
    const pair = new StackPair();
    pair.a.ping(pair.nowMs, ip('10.0.0.2'), 5, 6, 4);
    pair.nowMs += after;
    pair.run();
    assert.is(eventsOf(pair.a).length, events);
  }
});

test('only the last requests are awaited when there are too many', () => {
  const pair = new StackPair({ limits: { pings: 3 } });
  for (let i = 0; i < 5; i++) pair.a.ping(pair.nowMs, ip('10.0.0.2'), 1, i, 0);
  pair.run();
  assert.equal(
    eventsOf(pair.a).map(event => event.type === 'echo-reply' && event.sequence),
    [2, 3, 4],
  );
});

test('bad arguments of a ping throw, and one without a source is an error of its own', () => {
  const stack = single();
  for (const [id, sequence, payloadBytes] of [
    [65_536, 0, 0],
    [0, -1, 0],
    [0, 0, 65_508],
    [0, 0, 1.5],
  ] as const)
    assert.throws(() => stack.ping(0, ip('10.0.0.2'), id, sequence, payloadBytes), RangeError);
  assert.throws(() => stack.ping(0, new Uint8Array(3), 0, 0, 0), RangeError);
  const isUnavailable = (error: unknown) => error instanceof NetError && error.code === 'ERR_ADDRESS_UNAVAILABLE';
  assert.throws(() => stack.ping(0, ip('224.0.0.1'), 0, 0, 0), isUnavailable);
  stack.removeAddress(ip('fd00::1'));
  assert.throws(() => stack.ping(0, ip('fd00::2'), 0, 0, 0), isUnavailable);
});

test('damaged, foreign and unimportant messages are counted and not answered', () => {
  const stack = single();
  const damaged = fromHex(VECTORS.echo4)!;
  damaged[31]! ^= 1;
  assert.ok(stack.say(damaged) < 0);
  assert.ok(stack.say(v4({ protocol: 1 }, icmp4(8, 0, 1, counting(0)).slice(0, 7))) < 0);
  assert.equal(stack.drops.snapshot(), { 'icmp-checksum': 1, 'icmp-malformed': 1 });
  const ignored = [
    v4icmp(8, 1, 1, counting(4)), // echo with a code
    v4icmp(0, 1, 1, counting(4)),
    v4icmp(5, 1, 0x0a000009, counting(28)), // redirect
    v4icmp(4, 0, 0, counting(28)), // source quench
    v4icmp(13, 0, 1, counting(12)), // timestamp
    v4icmp(17, 0, 1, counting(4)), // address mask
    v4icmp(2, 0, 1280, counting(28)),
    v6icmp(133, 0, 0, counting(0)), // router solicitation
    v6icmp(134, 0, 0, counting(8)), // router advertisement
    v6icmp(135, 0, 0, counting(16)), // neighbour solicitation
    v6icmp(137, 0, 0, counting(32)), // redirect
    v6icmp(130, 0, 0, counting(16)), // multicast listener query
    v6icmp(128, 1, 1, counting(4)),
  ];
  for (const packet of ignored) assert.ok(stack.say(packet) < 0);
  assert.is(stack.drops.get('icmp-ignored'), ignored.length);
  assert.equal(stack.answers(), []);
});

test('a closed UDP port is reported as another program would', () => {
  const stack = single();
  stack.say(fromHex(VECTORS.udp4)!);
  stack.say(fromHex(VECTORS.udp6)!);
  const [four, six] = stack.answers();
  const quoted4 = four!.slice(28);
  assert.equal(quoted4, fromHex(VECTORS.udp4)!);
  assert.is(toHex(four!), VECTORS.portUnreachable4);
  assert.is(toHex(six!), VECTORS.portUnreachable6);
});

test('an unknown protocol is reported, by its place in IPv6; one that says that nothing follows is not', () => {
  const stack = single();
  assert.ok(stack.say(v4({ protocol: 132 }, counting(20))) < 0);
  assert.ok(stack.say(v4({ protocol: 58 }, counting(20))) < 0);
  assert.ok(stack.say(v6({ next: 132 }, counting(20))) < 0);
  assert.ok(stack.say(v6({ next: 60 }, join(extension(1, [1, 0]), counting(20)))) < 0);
  assert.ok(stack.say(v6({ next: 59 }, counting(20))) < 0);
  assert.is(stack.drops.get('ip-unknown-protocol'), 5);
  const answers = stack.answers();
  assert.equal(
    answers.map(packet => (packet[0]! >> 4 === 4 ? [...packet.slice(20, 22)] : [...packet.slice(40, 42), packet[47]])),
    [
      [3, 2],
      [3, 2],
      [4, 1, 6],
      [4, 1, 40],
    ],
  );
});

test('IPv6 parameter problems name the offending byte', () => {
  const stack = single();
  const problems: [Uint8Array, number[]][] = [
    [v6({ next: 43 }, join(extension(17, [0, 1]), counting(8))), [0, 42]],
    [v6({ next: 60 }, join(extension(17, [0x80, 0]), counting(8))), [2, 42]],
    [v6({ next: 60 }, join(extension(0, [1, 0]), extension(17, [1, 0]), counting(8))), [1, 40]],
    [v6({ next: 44 }, join(fragmentHeader(17, 65_528, false, 1), counting(16))), [0, 42]],
    [v6({ next: 44 }, join(fragmentHeader(17, 0, true, 1), counting(15))), [0, 4]],
  ];
  for (const [packet, [code, pointer]] of problems) {
    assert.ok(stack.say(packet) < 0);
    const answers = stack.answers();
    const isLaterFragment = packet[6] === 44 && readU16BE(packet, 42) > 7;
    if (isLaterFragment) assert.equal(answers, []);
    else {
      assert.is(answers.length, 1);
      assert.equal([answers[0]![40], answers[0]![41], answers[0]![47]], [4, code, pointer]);
      assert.equal(answers[0]!.slice(48), packet);
    }
  }
});

test('what asks to be dropped in silence is', () => {
  const stack = single();
  assert.ok(stack.say(v6({ next: 60 }, join(extension(17, [0x40, 0]), counting(8)))) < 0);
  assert.ok(stack.say(v4({ options: [131, 7, 4, 10, 0, 0, 9, 0] }, counting(8))) < 0);
  assert.equal(stack.drops.snapshot(), { 'ip-options': 2 });
  assert.equal(stack.answers(), []);
});

test('errors quote as much as fits into the smallest MTU, and are no larger', () => {
  const stack = single();
  stack.say(v4({}, udp({ to: 9 }, counting(1300))));
  stack.say(v6({}, udp({ src: 'fd00::2', dst: 'fd00::1', to: 9 }, counting(1350))));
  const [four, six] = stack.answers();
  assert.is(four!.length, 576);
  assert.is(six!.length, 1280);
  assert.is(slowChecksum(four!.slice(20)), 0);
  assert.is(
    slowChecksum(six!.slice(8, 40), Uint8Array.of(0, 0, 1240 >> 8, 1240 & 255, 0, 0, 0, 58), six!.slice(40)),
    0,
  );
});

test('an error answers with at most 28 bytes more than came (48 in IPv6): no amplifier', () => {
  const stack = single();
  for (let size = 0; size < 1300; size += 37) {
    for (const packet of [
      v4({}, udp({ to: 9 }, counting(size))),
      v6({}, udp({ src: 'fd00::2', dst: 'fd00::1', to: 9 }, counting(size))),
    ]) {
      stack.say(packet);
      for (const answer of stack.answers())
        assert.ok(answer.length <= packet.length + (packet[0]! >> 4 === 4 ? 28 : 48));
    }
  }
});

test('nothing is ever answered about an error, a redirect or an unknown message', () => {
  const stack = single();
  const quote = fromHex(VECTORS.udp4)!;
  for (const type of [3, 4, 5, 11, 12, 40, 255]) stack.say(v4icmp(type, 3, 0, quote));
  for (const type of [1, 2, 3, 4, 100, 127, 137]) stack.say(v6icmp(type, 0, 0, quote));
  // An error that carries what would otherwise be a parameter problem.
  const hidden = join(extension(58, [0x80, 0]), icmp6('fd00::2', 'fd00::1', 1, 4, 0, fromHex(VECTORS.udp6)!));
  stack.say(v6({ next: 60 }, hidden));
  stack.say(v6({ next: 43 }, join(extension(58, [0, 1]), icmp6('fd00::2', 'fd00::1', 1, 4, 0, counting(40)))));
  stack.say(v6({ next: 43 }, join(extension(44, [0, 1]), fragmentHeader(58, 0, false, 1), new Uint8Array(0))));
  assert.equal(stack.answers(), []);
  // The same headers in front of an echo request are reported.
  stack.say(v6({ next: 43 }, join(extension(58, [0, 1]), icmp6('fd00::2', 'fd00::1', 128, 0, 0, counting(40)))));
  assert.is(stack.answers().length, 1);
});

test('a piece of an error that never becomes whole is not answered', () => {
  const stack = new Stack({
    nowMs: 0,
    random: seededRandom(1),
    mtu: 1420,
    reassembly: new Reassembly(REASSEMBLY_LIMITS_LARGE),
  });
  stack.addAddress({ bytes: ip('10.0.0.1'), bits: 24 });
  const first = (type: number) => v4({ protocol: 1, flags: 0x2000, id: type }, icmp4(type, 0, 0, counting(24)));
  for (const type of [3, 8, 11]) stack.handlePacket(0, first(type), 0, 52);
  stack.handleTimeout(30_000);
  assert.is(stack.drops.get('ip-reassembly-timeout'), 3);
  const answers = packetsOf(stack, 30_000);
  assert.equal(
    answers.map(packet => packet.slice(28)),
    [first(8)],
  );
});

test('nothing is answered about a later fragment', () => {
  const stack = single();
  stack.say(v4({ protocol: 132, flags: 4 }, counting(20)));
  stack.say(v6({ next: 44 }, join(fragmentHeader(132, 64, false, 1), counting(16))));
  assert.equal(stack.answers(), []);
});

test('errors are limited in number per second, and the limit varies', () => {
  const counts = new Set<number>();
  for (let seed = 1; seed < 30; seed++) {
    const stack = new Stack({ nowMs: 0, random: seededRandom(seed), mtu: 1420, limits: { icmpErrorsPerSecond: 100 } });
    stack.addAddress({ bytes: ip('10.0.0.1'), bits: 24 });
    const packet = v4({}, udp({ to: 9 }, counting(4)));
    for (let i = 0; i < 300; i++) stack.handlePacket(0, packet, 0, packet.length);
    const sent = packetsOf(stack, 0).length;
    assert.ok(sent > 74 && sent <= 100, `${sent}`);
    assert.is(stack.drops.get('icmp-rate-limited'), 300 - sent);
    assert.is(stack.drops.get('udp-no-socket'), 300);
    counts.add(sent);
    stack.handlePacket(999, packet, 0, packet.length);
    assert.equal(packetsOf(stack, 999), []);
    stack.handlePacket(1000, packet, 0, packet.length);
    assert.is(packetsOf(stack, 1000).length, 1);
  }
  assert.ok(counts.size > 8, `only ${counts.size} different limits`);
});

test('the queue for answers is bounded, and what does not fit is counted', () => {
  const stack = single({ icmpQueueBytes: 4096 });
  const request = v4icmp(8, 0, 1, counting(1000));
  for (let i = 0; i < 10; i++) stack.say(request);
  assert.is(stack.answers().length, 3);
  assert.is(stack.drops.get('ip-queue-full'), 7);
  assert.is(stack.say(request), 0);
});

test('smurf and martians: nothing from a broadcast, multicast, loopback, zero, mapped or own address is answered', () => {
  const stack = single();
  for (const src of ['10.0.0.255', '255.255.255.255', '224.0.0.1', '127.0.0.1', '0.0.0.0', '10.0.0.1', '240.0.0.1']) {
    assert.ok(stack.say(v4({ protocol: 1, src }, icmp4(8, 0, 1, counting(4)))) < 0, src);
    assert.ok(stack.say(v4({ src }, udp({ src, to: 9 }, counting(4)))) < 0, src);
  }
  for (const src of ['::', '::1', 'ff02::1', '::ffff:10.0.0.2', '::10.0.0.2', 'fd00::1']) {
    assert.ok(stack.say(v6({ next: 58, src }, icmp6(src, 'fd00::1', 128, 0, 1, counting(4)))) < 0, src);
    assert.ok(stack.say(v6({ src, next: 43 }, join(extension(17, [0, 1]), counting(8)))) < 0, src);
  }
  assert.equal(stack.drops.snapshot(), { 'ip-bad-source': 26 });
  assert.equal(stack.answers(), []);
});

test('smurf, the other way: nothing to a broadcast, multicast or foreign address is taken or answered', () => {
  const stack = single();
  stack.udpBind(53);
  for (const dst of ['10.0.0.255', '255.255.255.255', '224.0.0.1', '10.0.0.3', '10.0.0.0']) {
    assert.ok(stack.say(v4({ protocol: 1, dst }, icmp4(8, 0, 1, counting(4)))) < 0, dst);
    assert.ok(stack.say(v4({ dst }, udp({ dst }, counting(4)))) < 0, dst);
    assert.ok(stack.say(v4({ dst, protocol: 132 }, counting(4))) < 0, dst);
  }
  for (const dst of ['ff02::1', 'fd00::3', '::ffff:10.0.0.1']) {
    assert.ok(stack.say(v6({ next: 58, dst }, icmp6('fd00::2', dst, 128, 0, 1, counting(4)))) < 0, dst);
    assert.ok(stack.say(v6({ dst, next: 60 }, join(extension(17, [0x80, 0]), counting(8)))) < 0, dst);
  }
  assert.equal(stack.drops.snapshot(), { 'ip-not-local': 21 });
  assert.equal(stack.answers(), []);
  assert.equal(eventsOf(stack), []);
});

test('an error whose quote is cut off, of another family, or not ours changes nothing', () => {
  const pair = new StackPair();
  const { a } = pair;
  const socket = a.udpBind(4000);
  socket.send(0, counting(1), 0, 1, ip('10.0.0.2'), 9);
  socket.send(0, counting(1), 0, 1, ip('fd00::2'), 9);
  const say = (packet: Uint8Array) => a.handlePacket(pair.nowMs, packet, 0, packet.length);
  const quote = (src: string, dst: string) => v4({ src, dst }, udp({ src, dst, from: 4000, to: 9 }, counting(1)));
  const good = quote('10.0.0.1', '10.0.0.2');
  const back = { protocol: 1, src: '10.0.0.2', dst: '10.0.0.1' };
  assert.ok(say(v4(back, icmp4(3, 3, 0, good.slice(0, 27)))) < 0);
  assert.ok(say(v4(back, icmp4(3, 3, 0, new Uint8Array(0)))) < 0);
  assert.ok(say(v6({ next: 58 }, icmp6('fd00::2', 'fd00::1', 1, 4, 0, good))) < 0);
  const six = v6(
    { src: 'fd00::1', dst: 'fd00::2' },
    udp({ src: 'fd00::1', dst: 'fd00::2', from: 4000, to: 9 }, counting(1)),
  );
  assert.ok(say(v4(back, icmp4(3, 3, 0, six))) < 0);
  assert.equal(a.drops.snapshot(), { 'icmp-malformed': 4 });
  assert.ok(say(v4(back, icmp4(3, 3, 0, quote('10.0.0.7', '10.0.0.2')))) < 0);
  assert.is(a.drops.get('icmp-no-flow'), 1);
  // A second own address: its packets are quoted to it, not to the first.
  a.addAddress({ bytes: ip('10.0.0.7'), bits: 24 });
  const other = a.udpBind(4001, { address: ip('10.0.0.7') });
  other.send(0, counting(1), 0, 1, ip('10.0.0.2'), 9);
  const quoteOfOther = v4({ src: '10.0.0.7', dst: '10.0.0.2' }, udp({ from: 4001, to: 9 }, counting(1)));
  assert.ok(say(v4(back, icmp4(3, 3, 0, quoteOfOther))) < 0);
  assert.equal(eventsOf(a), []);
  assert.is(say(v4({ ...back, dst: '10.0.0.7' }, icmp4(3, 3, 0, quoteOfOther))), 0);
  assert.is(say(v4(back, icmp4(3, 3, 0, good))), 0);
  assert.is(eventsOf(a).length, 2);
});

test('types and codes become the two errors that a socket knows', () => {
  const pair = new StackPair();
  const socket = pair.a.udpBind(4000);
  socket.send(0, counting(1), 0, 1, ip('10.0.0.2'), 9);
  socket.send(0, counting(1), 0, 1, ip('fd00::2'), 9);
  const four = v4({ src: '10.0.0.1', dst: '10.0.0.2' }, udp({ from: 4000, to: 9 }, counting(1)));
  const six = v6({ src: 'fd00::1', dst: 'fd00::2' }, udp({ from: 4000, to: 9 }, counting(1)));
  const code = (type: number, icmpCode: number, family: 4 | 6): ErrorCode | undefined => {
    const packet = family === 4 ? v4icmp(type, icmpCode, 0, four) : v6icmp(type, icmpCode, 0, six);
    pair.a.handlePacket(pair.nowMs, packet, 0, packet.length);
    const [event] = eventsOf(pair.a);
    return event?.type === 'udp-error' ? event.code : undefined;
  };
  assert.is(code(3, 3, 4), 'ERR_CONNECTION_REFUSED');
  assert.is(code(1, 4, 6), 'ERR_CONNECTION_REFUSED');
  for (const [type, icmpCode] of [
    [3, 0],
    [3, 1],
    [3, 2],
    [3, 13],
    [11, 0],
    [12, 0],
  ] as const)
    assert.is(code(type, icmpCode, 4), 'ERR_UNREACHABLE');
  for (const [type, icmpCode] of [
    [1, 0],
    [1, 1],
    [1, 3],
    [3, 0],
    [4, 1],
  ] as const)
    assert.is(code(type, icmpCode, 6), 'ERR_UNREACHABLE');
});

test('an echo request that cannot arrive is reported once', () => {
  const pair = new StackPair();
  pair.a.ping(pair.nowMs, ip('10.0.0.2'), 5, 6, 4);
  const [request] = packetsOf(pair.a, pair.nowMs);
  const error = v4icmp(3, 1, 0, request!);
  assert.is(pair.a.handlePacket(pair.nowMs, error, 0, error.length), 0);
  assert.ok(pair.a.handlePacket(pair.nowMs, error, 0, error.length) < 0);
  assert.equal(eventsOf(pair.a), [{ type: 'echo-error', to: '10.0.0.2', id: 5, sequence: 6, code: 'ERR_UNREACHABLE' }]);
  const reply = v4icmp(
    3,
    1,
    0,
    v4({ src: '10.0.0.1', dst: '10.0.0.2', protocol: 1 }, icmp4(0, 0, 0x50006, counting(4))),
  );
  assert.ok(pair.a.handlePacket(pair.nowMs, reply, 0, reply.length) < 0);
});

test('a packet that cannot be routed fails its flow at once: UDP, echo, TCP', () => {
  const pair = new StackPair();
  const { a } = pair;
  const socket = a.udpBind(4000);
  socket.send(pair.nowMs, counting(2000), 0, 2000, ip('10.0.0.9'), 9);
  a.ping(pair.nowMs, ip('fd00::9'), 5, 6, 4);
  const connection = a.tcpConnect(pair.nowMs, ip('10.0.0.9'), 80);
  for (const packet of packetsOf(a, pair.nowMs)) a.handleUnreachable(pair.nowMs, packet, 0, packet.length);
  const events = eventsOf(a);
  assert.equal(
    events.map(event => (event.type === 'tcp' ? event.type : `${event.type} ${'code' in event && event.code}`)).sort(),
    ['echo-error ERR_UNREACHABLE', 'tcp', 'udp-error ERR_UNREACHABLE'],
  );
  assert.ok(connection.takeReady() & READY_CLOSED);
  assert.is(connection.error, 'ERR_UNREACHABLE');
});

/** A "too big" about a packet of ours, from a router 10.0.0.254 or fd00::fe. */
function tooBig(packet: Uint8Array, mtu: number): Uint8Array {
  if (packet[0]! >> 4 === 4) return v4({ protocol: 1, src: '10.0.0.254' }, icmp4(3, 4, mtu, packet.slice(0, 28)));
  return v6({ next: 58, src: 'fd00::fe' }, icmp6('fd00::fe', 'fd00::1', 2, 0, mtu, packet.slice(0, 1232)));
}

test('a path that is too narrow is learned, for UDP and echo: what follows leaves in fragments and arrives', () => {
  for (const [remote, mtu] of [
    ['10.0.0.2', 900],
    ['fd00::2', 1300],
  ] as const) {
    const pair = new StackPair();
    const { a, b } = pair;
    const server = b.udpBind(9);
    const socket = a.udpBind(4000);
    const send = () => socket.send(pair.nowMs, counting(1350), 0, 1350, ip(remote), 9);
    const say = (packet: Uint8Array) => a.handlePacket(pair.nowMs, packet, 0, packet.length);
    send();
    const [packet] = packetsOf(a, pair.nowMs);
    assert.ok(packet!.length > mtu);
    assert.is(say(tooBig(packet!, mtu)), 0);
    send();
    a.ping(pair.nowMs, ip(remote), 1, 1, 1350);
    pair.isRecording = true;
    pair.run();
    assert.ok(pair.seen.filter(({ from }) => from === 'a').every(seen => seen.packet.length <= mtu));
    assert.is(server.readableDatagrams, 1);
    assert.is(eventsOf(a).filter(event => event.type === 'echo-reply').length, 1);
    // TCP that is opened later starts with what was learned.
    assert.is(a.tcpConnect(pair.nowMs, ip(remote), 80).path.mtu, mtu);
    pair.nowMs += PATH_MTU_EXPIRY_MS;
    assert.is(a.tcpConnect(pair.nowMs, ip(remote), 80).path.mtu, 1420);
  }
});

test('a "too big" for an echo request is believed while it is awaited', () => {
  const pair = new StackPair();
  pair.a.ping(pair.nowMs, ip('10.0.0.2'), 5, 6, 1350);
  const [packet] = packetsOf(pair.a, pair.nowMs);
  const message = tooBig(packet!, 900);
  assert.is(pair.a.handlePacket(pair.nowMs, message, 0, message.length), 0);
  assert.is(pair.a.tcpConnect(pair.nowMs, ip('10.0.0.2'), 80).path.mtu, 900);
});

test('a "too big" without a flow, or about a packet that would have fitted, changes nothing', () => {
  const pair = new StackPair();
  const { a } = pair;
  const socket = a.udpBind(4000);
  socket.send(pair.nowMs, counting(1350), 0, 1350, ip('10.0.0.2'), 9);
  const [packet] = packetsOf(a, pair.nowMs);
  const say = (message: Uint8Array) => a.handlePacket(pair.nowMs, message, 0, message.length);
  const foreign = packet!.slice();
  foreign[23] = 10; // another destination port
  assert.ok(say(tooBig(foreign, 900)) < 0);
  assert.ok(
    say(tooBig(v4({ src: '10.0.0.1', dst: '10.0.0.2', protocol: 1 }, icmp4(8, 0, 1, counting(1000))), 900)) < 0,
  );
  assert.ok(say(tooBig(v4({ src: '10.0.0.1', dst: '10.0.0.2', protocol: 6 }, counting(1000)), 900)) < 0);
  assert.equal(a.drops.snapshot(), { 'icmp-no-flow': 2, 'tcp-icmp-mismatch': 1 });
  assert.ok(say(tooBig(packet!, packet!.length)) < 0);
  assert.ok(say(tooBig(packet!, 9000)) < 0);
  assert.is(a.drops.get('icmp-ignored'), 2);
  assert.is(a.tcpConnect(pair.nowMs, ip('10.0.0.2'), 80).path.mtu, 1420);
});

test('nobody can push a path below 576 or 1280 bytes', () => {
  const pair = new StackPair();
  const { a } = pair;
  const socket = a.udpBind(4000);
  for (const [remote, least] of [
    ['10.0.0.2', 576],
    ['fd00::2', 1280],
  ] as const) {
    socket.send(pair.nowMs, counting(1350), 0, 1350, ip(remote), 9);
    const [packet] = packetsOf(a, pair.nowMs);
    const message = tooBig(packet!, 68);
    assert.is(a.handlePacket(pair.nowMs, message, 0, message.length), 0);
    assert.is(a.tcpConnect(pair.nowMs, ip(remote), 80).path.mtu, least);
    packetsOf(a, pair.nowMs);
  }
});

test('TCP goes on over a path that turns out to be narrow', () => {
  for (const [remote, mtu] of [
    ['10.0.0.2', 900],
    ['fd00::2', 1300],
  ] as const) {
    const pair = new StackPair();
    pair.b.tcpListen(80);
    pair.loses = (from, packet) => {
      if (from !== 'a' || packet.length <= mtu) return false;
      const message = tooBig(packet, mtu);
      assert.is(pair.a.handlePacket(pair.nowMs, message, 0, message.length), 0);
      return true;
    };
    const client = pair.a.tcpConnect(pair.nowMs, ip(remote), 80);
    pair.advance(100);
    const server = eventsOf(pair.b).map(event => event.type === 'tcp' && event.connection)[0];
    assert.ok(server);
    const data = counting(20_000);
    const got = new Uint8Array(20_000);
    let sent = 0;
    let received = 0;
    for (let i = 0; i < 500 && received < data.length; i++) {
      sent += client.write(pair.nowMs, data, sent, data.length);
      pair.advance(20);
      received += server.read(pair.nowMs, got, received, got.length);
    }
    assert.equal(got, data);
    assert.is(pair.a.tcpConnect(pair.nowMs, ip(remote), 81).path.mtu, mtu);
  }
});

test('too many events that nobody polls are dropped and counted', () => {
  const pair = new StackPair({ limits: { events: 2 } });
  for (let i = 0; i < 4; i++) pair.a.ping(pair.nowMs, ip('10.0.0.2'), 1, i, 0);
  pair.run();
  assert.equal(
    eventsOf(pair.a).map(event => event.type === 'echo-reply' && event.sequence),
    [0, 1],
  );
  assert.is(pair.a.drops.get('icmp-ignored'), 2);
});

test.run();
