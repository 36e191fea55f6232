import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex } from '../../lib/base/bytes.ts';
import { type DropName, dropName } from '../../lib/base/drop.ts';
import { REASSEMBLY_LIMITS_SMALL, Reassembly } from '../../lib/netstack/reassembly.ts';
import { STACK_LIMITS_SMALL, Stack } from '../../lib/netstack/stack.ts';
import { udpDatagram } from '../../lib/netstack/udp.ts';
import { classify, Packet } from '../../lib/packet/classify.ts';
import {
  counting,
  extension,
  fragmentHeader,
  icmp4,
  icmp6,
  ip,
  join,
  slowChecksum,
  u16,
  udp,
  v4,
  v6,
  VECTORS,
} from '../packet/build.ts';
import { eventsOf, packetsOf, seededRandom } from './helpers.ts';
import { fuzzRounds } from '../tools/scale.ts';

const test = suite('netstack/stack-fuzz');
/** Never fewer, whatever the scale: it takes so many to meet every reason. */
const PACKETS = Math.max(30_000, fuzzRounds(30_000));

/** Counted beside the reason of the packet itself: what its arrival made us not send, or forget. */
const SIDE_REASONS = new Set<DropName>([
  'icmp-rate-limited',
  'ip-queue-full',
  'ip-reassembly-limit',
  'ip-reassembly-timeout',
  'tcp-limit',
  'tcp-backlog-full',
]);

const SEEDS: Uint8Array[] = [
  ...Object.values(VECTORS).map(hex => fromHex(hex)!),
  v4({}, udp({ to: 9 }, counting(40))),
  v4({ flags: 0x2000, id: 77 }, counting(24)),
  v4({ flags: 0x0003, id: 77 }, counting(21)),
  v4({ protocol: 6 }, counting(32)),
  v4({ protocol: 132, options: [7, 7, 4, 0, 0, 0, 0, 0] }, counting(32)),
  v4(
    { protocol: 1 },
    icmp4(3, 4, 900, v4({ src: '10.0.0.1', dst: '10.0.0.2' }, udp({ from: 53, to: 9 }, counting(9)))),
  ),
  v6(
    { next: 58 },
    icmp6(
      'fd00::2',
      'fd00::1',
      2,
      0,
      1280,
      v6({ src: 'fd00::1', dst: 'fd00::2' }, udp({ from: 53, to: 9 }, counting(9))),
    ),
  ),
  v6(
    { next: 0 },
    join(extension(60, [5, 2, 0, 0]), extension(43, [0x1e, 2, 0, 0]), extension(17, [4, 0, 0, 0, 0, 0]), counting(24)),
  ),
  v6({ next: 44 }, join(fragmentHeader(60, 0, true, 9), extension(6, [1, 0]), counting(24))),
  v6({ next: 44 }, join(fragmentHeader(17, 64, false, 9), counting(13))),
];

function make(seed: number): { stack: Stack; reassembly: Reassembly } {
  const reassembly = new Reassembly(REASSEMBLY_LIMITS_SMALL);
  const stack = new Stack({ nowMs: 0, random: seededRandom(seed), mtu: 1420, limits: STACK_LIMITS_SMALL, reassembly });
  stack.addAddress({ bytes: ip('10.0.0.1'), bits: 24 });
  stack.addAddress({ bytes: ip('fd00::1'), bits: 64 });
  return { stack, reassembly };
}

/** Makes checksums right again, so that mutations get past them: IPv4 header, then UDP and ICMP over IPv4. */
function mend(packet: Uint8Array): void {
  if (packet.length < 20 || packet[0]! >> 4 !== 4) return;
  const header = (packet[0]! & 15) * 4;
  if (header < 20 || header > packet.length) return;
  if (packet[9] === 1 && packet.length >= header + 8) {
    packet.set([0, 0], header + 2);
    packet.set(u16(slowChecksum(packet.slice(header))), header + 2);
  }
  packet.set([0, 0], 10);
  packet.set(u16(slowChecksum(packet.slice(0, header))), 10);
}

/** A packet that is random, or a mutated, cut or glued real one. */
function makeNoise(random: (out: Uint8Array) => void): Uint8Array {
  const draw = new Uint8Array(16);
  random(draw);
  let packet: Uint8Array;
  if (draw[0]! % 6 === 0) {
    packet = new Uint8Array(((draw[1]! << 8) | draw[2]!) % 1500);
    random(packet);
    if (packet.length > 40) packet.set(SEEDS[draw[3]! % SEEDS.length]!.subarray(0, draw[4]! % 40));
  } else {
    packet = SEEDS[draw[3]! % SEEDS.length]!.slice();
    for (let i = 0; i < draw[4]! % 4; i++) packet[draw[5 + i]! % packet.length] = draw[9 + i]!;
    if (draw[13]! % 5 === 0) packet = packet.slice(0, draw[14]! % (packet.length + 1));
    if (draw[13]! % 7 === 0) packet = join(packet, SEEDS[draw[14]! % SEEDS.length]!);
  }
  if (draw[15]! % 8 !== 0) mend(packet);
  return packet;
}

test(`${PACKETS} hostile packets: no throw, one reason each, bounded memory, and honest traffic goes on`, () => {
  const { stack, reassembly } = make(3);
  const random = seededRandom(99);
  const socket = stack.udpBind(53);
  stack.tcpListen(80);
  socket.send(0, counting(1), 0, 1, ip('10.0.0.2'), 9);
  const out = udpDatagram();
  const honest = v4({}, udp({}, counting(32)));
  const reasons = new Set<DropName>();
  const parsed = new Packet();
  let answered = 0;
  for (let i = 0; i < PACKETS; i++) {
    const nowMs = i;
    const packet = makeNoise(random);
    const before = stack.drops.snapshot();
    const result = stack.handlePacket(nowMs, packet, 0, packet.length);
    const after = stack.drops.snapshot();
    const grown = (Object.keys(after) as DropName[]).filter(name => after[name] !== before[name]);
    if (result === 0)
      assert.ok(
        grown.every(name => SIDE_REASONS.has(name)),
        `taken, but counted: ${grown}`,
      );
    else {
      assert.ok(result < 0);
      const name = dropName(result);
      reasons.add(name);
      if (!SIDE_REASONS.has(name)) assert.is(after[name]! - (before[name] ?? 0), 1, name);
      assert.ok(grown.includes(name));
      assert.ok(
        grown.every(other => other === name || SIDE_REASONS.has(other)),
        `${grown}`,
      );
    }
    assert.ok(reassembly.bytes <= REASSEMBLY_LIMITS_SMALL.bytes);
    assert.ok(reassembly.size <= REASSEMBLY_LIMITS_SMALL.datagrams);
    assert.ok(stack.tcp.connectionCount <= STACK_LIMITS_SMALL.tcp.connections);
    if (i % 16 === 0) {
      stack.handleTimeout(nowMs);
      for (const answer of packetsOf(stack, nowMs)) {
        answered++;
        assert.is(classify(answer, 0, answer.length, parsed), 0);
        assert.is(parsed.end, answer.length);
      }
      eventsOf(stack);
      while (socket.receive(out));
      assert.is(stack.handlePacket(nowMs, honest, 0, honest.length), 0);
      assert.ok(socket.receive(out));
      assert.equal(out.data.slice(out.start, out.end), counting(32));
    }
  }
  assert.ok(answered > 100);
  for (const name of [
    'ip-malformed',
    'ip-checksum',
    'ip-options',
    'ip-not-local',
    'ip-bad-source',
    'ip-unknown-protocol',
    'ip-reassembly-overlap',
    'icmp-malformed',
    'icmp-checksum',
    'icmp-ignored',
    'icmp-no-flow',
    'udp-malformed',
    'udp-checksum',
    'udp-no-socket',
    'tcp-checksum',
  ] as const)
    assert.ok(reasons.has(name), `never saw ${name}`);
});

test('every seed, cut off anywhere, is taken or dropped under one reason', () => {
  const { stack } = make(4);
  for (const seed of SEEDS) {
    for (let length = 0; length <= seed.length; length++) {
      const packet = seed.slice(0, length);
      mend(packet);
      assert.ok(stack.handlePacket(0, packet, 0, packet.length) <= 0);
    }
  }
});

test('bytes outside the given range are never read', () => {
  const random = seededRandom(5);
  for (let i = 0; i < 2000; i++) {
    const packet = makeNoise(random);
    const results = [0x00, 0xff].map(fill => {
      const { stack } = make(6);
      const buf = new Uint8Array(packet.length + 80).fill(fill);
      buf.set(packet, 40);
      const result = stack.handlePacket(0, buf, 40, 40 + packet.length);
      return { result, answers: packetsOf(stack, 0) };
    });
    assert.equal(results[0], results[1]);
  }
});

test('a flood of anything leaves the queues within their limits', () => {
  const { stack } = make(7);
  const request = v4({ protocol: 1 }, icmp4(8, 0, 1, counting(1000)));
  const closed = v4({}, udp({ to: 9 }, counting(1000)));
  for (let i = 0; i < 2000; i++) {
    stack.handlePacket(i, request, 0, request.length);
    stack.handlePacket(i, closed, 0, closed.length);
  }
  const bytes = packetsOf(stack, 2000).reduce((sum, packet) => sum + packet.length, 0);
  assert.ok(bytes > 0 && bytes <= STACK_LIMITS_SMALL.icmpQueueBytes);
});

test.run();
