/**
 * Hostile segments: random, mutated, replayed, and plausible but wrong ones. Nothing throws, everything dropped is
 * counted, memory stays bounded, and honest connections go on.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dropName } from '../../lib/base/drop.ts';
import { foldChecksum, pseudoSum, sumBytes } from '../../lib/base/checksum.ts';
import { Slot } from '../../lib/base/slot.ts';
import { TCP_LIMITS_SMALL } from '../../lib/netstack/tcp-limits.ts';
import { pipeBytes } from '../../lib/netstack/tcp-tcb.ts';
import { PROTOCOL_TCP, writeTcpChecksum } from '../../lib/packet/tcp.ts';
import { SeededRandom } from '../sim/link.ts';
import { accepted, modern, plain, type Script } from './tcp-script.ts';
import { type Host, SERVER, Transfer, World } from './tcp-world.ts';

const test = suite('tcp fuzz');

/** Puts the right TCP checksum into an IPv4 packet. */
function reseal(packet: Uint8Array): Uint8Array {
  if (packet.length < 40) return packet;
  packet[36] = packet[37] = 0;
  const sum = sumBytes(
    packet,
    20,
    packet.length,
    pseudoSum(PROTOCOL_TCP, packet.length - 20, sumBytes(packet, 12, 20)),
  );
  writeTcpChecksum(packet, 20, foldChecksum(sum));
  return packet;
}

/** Gives a packet to a machine; the result must be 0 or a reason that was counted once. */
function deliver(script: Script, packet: Uint8Array, context: string): void {
  const before = script.drops.total;
  const result = script.tcp.handleSegment(script.nowMs, packet, 0, 4, 20, packet.length);
  if (result === 0) return;
  assert.ok(result < 0, context);
  assert.ok(dropName(result).startsWith('tcp-'), context);
  assert.ok(script.drops.total > before, `${context}: not counted`);
}

/** Lets a machine do all it wants to. */
function settle(script: Script): void {
  let packets = 0;
  while (script.poll() !== undefined) if (++packets > 5000) assert.unreachable('the machine sends without end');
  script.collect();
}

test('random bytes never throw, and every drop has a reason', () => {
  for (let seed = 1; seed <= 4; seed++) {
    const random = new SeededRandom(seed);
    const script = accepted({ limits: TCP_LIMITS_SMALL });
    for (let i = 0; i < 3000; i++) {
      const packet = new Uint8Array(20 + random.below(120));
      random.fill(packet);
      packet.set(script.peer, 12);
      packet.set(script.us, 16);
      if (packet.length >= 40 && random.below(2) === 0) {
        packet[32] = (5 + random.below(6)) << 4;
        packet.set([0, 80], 22);
        if (random.below(2) === 0) packet.set([5000 >> 8, 5000 & 255], 20);
        reseal(packet);
      }
      deliver(script, packet, `seed ${seed} packet ${i}`);
      if (i % 100 === 0) settle(script);
    }
    assert.ok(script.tcp.connectionCount <= TCP_LIMITS_SMALL.connections, `seed ${seed}`);
  }
});

test('truncated segments never throw', () => {
  const script = modern();
  const whole = script.build('A 1 ack 1 len 100 sack 1-2 3-4');
  for (let length = 20; length < whole.length; length++) deliver(script, whole.slice(0, length), `${length} bytes`);
  assert.is(script.connection!.state, 'ESTABLISHED');
  assert.is(script.connection!.readableBytes, 0);
});

test('plausible segments with any numbers leave every machine in a sound state', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    const make = [plain, modern, accepted][seed % 3]!;
    const script = make({ limits: { ...TCP_LIMITS_SMALL, giveUpMs: 100_000 } });
    const near = [0, 1, 2, 10, 100, 999, 1000, 1001, 5840, 8192, 65_536, -1, -1000, 1 << 30, 1 << 31];
    const pick = () => near[random.below(near.length)]! + random.below(3) - 1;
    let next = 1;
    for (let i = 0; i < 300; i++) {
      const context = `seed ${seed} step ${i}`;
      const connection = script.connection!;
      const flags = ['A', 'A', 'A', 'A', 'PA', 'FA', 'S', 'SA', 'R', 'RA', '', 'FSRPA'][
        random.below(i > 200 ? 12 : 5)
      ]!;
      const seq = random.below(3) > 0 ? next : next + pick();
      const length = random.below(3) === 0 ? 0 : random.below(900);
      const una = (connection.sndUna - connection.iss) | 0;
      const ack = random.below(2) === 0 ? (connection.sndNxt - connection.iss) | 0 : una + pick();
      const sack = random.below(4) === 0 ? ` sack ${una + pick()}-${una + pick()} ${una + pick()}-${una + pick()}` : '';
      const window = random.below(5) === 0 ? 0 : random.below(65_536);
      deliver(script, script.build(`${flags} ${seq} ack ${ack} len ${length} win ${window}${sack}`), context);
      next = (connection.rcvNxt - connection.irs) | 0;
      const action = random.below(20);
      if (action < 6) connection.write(script.nowMs, new Uint8Array(2000), 0, random.below(2000));
      else if (action < 9) connection.read(script.nowMs, new Uint8Array(3000), 0, random.below(3000));
      else if (action === 9 && i > 150) connection.shutdown(script.nowMs);
      else if (action === 10 && i > 250) connection.close(script.nowMs);
      if (random.below(4) === 0) script.advance(random.below(400));
      settle(script);
      check(script, context);
    }
    script.advance(2_000_000);
    settle(script);
  }
});

/** What must hold of a connection at any time. */
function check(script: Script, context: string): void {
  const { board, sendRing, receiveRing, sndUna, sndNxt, rcvNxt, rcvAdv, rcvTarget, stateCode, cubic } =
    script.connection!;
  if (stateCode === 0) return;
  const sum = board.inFlightBytes + board.lostBytes + board.sackedBytes;
  if (stateCode >= 3 && stateCode < 9) assert.is(sum, (sndNxt - sndUna) | 0, `${context}: bytes in flight add up`);
  assert.ok(board.inFlightBytes >= 0 && board.lostBytes >= 0 && board.sackedBytes >= 0, context);
  const pipe = pipeBytes(script.connection!);
  assert.ok(pipe >= 0, `${context}: the pipe is ${pipe}`);
  assert.ok(cubic.window > 0 && cubic.window < 1e7, `${context}: the window is ${cubic.window}`);
  assert.ok(((rcvAdv - rcvNxt) | 0) >= 0, `${context}: the promised edge is behind`);
  assert.ok(receiveRing.readableBytes + ((rcvAdv - rcvNxt) | 0) <= Math.max(rcvTarget, 65_535), context);
  assert.ok(sendRing.length <= TCP_LIMITS_SMALL.sendBufferBytes && sendRing.length >= 0, context);
  assert.ok(receiveRing.capacity <= 8192 && sendRing.capacity <= 8192, context);
  assert.ok(
    script.tcp.budget.usedBytes <= TCP_LIMITS_SMALL.totalBufferBytes && script.tcp.budget.usedBytes >= 0,
    context,
  );
}

test('mutated and replayed segments do not disturb a transfer', () => {
  for (let seed = 1; seed <= 5; seed++) {
    const random = new SeededRandom(seed);
    const world = new World({ seed, link: { delayMs: 5, loss: 0.01 } });
    const { near, far } = world.open();
    const up = new Transfer(near, far, 300_000, seed);
    const old: Uint8Array[] = [];
    const harm = (host: Host, packet: Uint8Array) => {
      if (old.length < 500) old.push(packet);
      else if (random.below(3) === 0) host.receive(world.nowMs, old[random.below(500)]!.slice());
      if (random.below(2) === 0) {
        const bad = packet.slice();
        const at = 20 + random.below(bad.length - 20);
        bad[at]! ^= 1 << random.below(8);
        host.receive(world.nowMs, bad);
      }
    };
    world.up.filter = packet => {
      harm(world.server, packet);
      return false;
    };
    world.down.filter = packet => {
      harm(world.client, packet);
      return false;
    };
    world.onStep = now => up.pump(now);
    assert.ok(
      world.run(() => up.isDone, 600_000),
      `seed ${seed}: ${up.read} bytes`,
    );
    assert.ok(up.isIntact, `seed ${seed}: bytes are damaged`);
  }
});

test('whoever guesses everything but the sequence numbers cannot inject or reset', () => {
  const world = new World({ seed: 1, link: { delayMs: 5 } });
  const { near, far } = world.open();
  const up = new Transfer(near, far, 200_000);
  const random = new SeededRandom(99);
  let forged = 0;
  world.up.filter = packet => {
    const fake = packet.slice(0, 60);
    if (packet.length < 60) return false;
    // Right addresses, ports and timestamps; a blind guess at both numbers, anywhere but near the window.
    const guess = ((far.rcvNxt + 0x0100_0000 + random.below(0x7000_0000)) | 0) >>> 0;
    fake.set([guess >>> 24, guess >>> 16, guess >>> 8, guess], 24);
    fake[33] = [0x04, 0x14, 0x02, 0x11, 0x18][random.below(5)]!;
    world.server.receive(world.nowMs, reseal(fake));
    forged++;
    return false;
  };
  world.onStep = now => up.pump(now);
  assert.ok(world.run(() => up.isDone, 60_000));
  assert.ok(up.isIntact && forged > 100);
  assert.is(near.error, undefined);
});

test('a flood of every kind leaves memory bounded and an honest client served', () => {
  const random = new SeededRandom(4);
  const world = new World({ seed: 4, link: { delayMs: 5 }, server: { limits: TCP_LIMITS_SMALL } });
  const { near, far } = world.open();
  const up = new Transfer(near, far, 50_000);
  world.onStep = now => {
    up.pump(now);
    for (let i = 0; i < 40; i++) {
      const packet = new Uint8Array(40 + random.below(20));
      random.fill(packet);
      packet.set(SERVER, 16);
      packet[12] = 10;
      packet[32] = 0x50;
      packet.set([0, 80], 22);
      world.server.receive(now, reseal(packet));
    }
  };
  assert.ok(
    world.run(() => up.isDone, 60_000),
    `${up.read} bytes`,
  );
  assert.ok(up.isIntact);
  const { tcp, drops } = world.server;
  assert.ok(tcp.connectionCount <= TCP_LIMITS_SMALL.connections);
  assert.ok(tcp.halfOpenCount <= TCP_LIMITS_SMALL.halfOpen);
  assert.ok(tcp.budget.usedBytes <= TCP_LIMITS_SMALL.totalBufferBytes);
  assert.ok(drops.total > 100);
});

test('a machine that is polled with too small a budget of time still makes progress', () => {
  // pollTransmit is called once per step only: the rest stays queued, nothing is lost or sent twice.
  const world = new World({ seed: 2, link: { delayMs: 1 } });
  const { near, far } = world.open();
  const slot = new Slot(1420);
  near.write(world.nowMs, new Uint8Array(5000), 0, 5000);
  let packets = 0;
  for (slot.reset(); world.client.tcp.pollTransmit(world.nowMs, slot); slot.reset()) {
    world.server.receive(world.nowMs, slot.buf.slice(slot.start, slot.end));
    packets++;
  }
  assert.is(packets, 4);
  assert.is(far.readableBytes, 5000);
});

test.run();
