/** Stories of clients at a relay: packets, tailnets, slow readers, keys at several places, signs of life. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toHex } from '../../lib/base/bytes.ts';
import * as wire from '../../lib/derp/frame.ts';
import { RELAY_LIMITS_SMALL } from '../../lib/derp/relay-types.ts';
import { ramp, Seeded } from '../crypto/support.ts';
import { RelayWorld, type WorldClient } from './relay-world.ts';
import { describeFrames, frame, publicOf } from './support.ts';

const test = suite('derp relay');

function from(byte: number, packet: Uint8Array): string {
  return `${toHex(publicOf(byte).slice(0, 4))}:${toHex(packet)}`;
}

/** A disco packet (by its looks) with a number. */
function disco(number: number): Uint8Array {
  const out = new Uint8Array(70).fill(number);
  out.set([0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac]);
  return out;
}

function gone(client: WorldClient): string[] {
  return client.events.flatMap(event =>
    event.type === 'peer-gone' ? [`${toHex(event.peer.slice(0, 4))}:${event.reason}`] : [],
  );
}

function name(byte: number): string {
  return toHex(publicOf(byte).slice(0, 4));
}

for (const piece of [65_536, 1, 13]) {
  test(`two clients exchange packets of every size, in pieces of ${piece}`, () => {
    const world = new RelayWorld({}, piece);
    const [a, b] = [world.connect(1), world.connect(2)];
    const sizes = piece === 1 ? [0, 1, 1300] : [0, 1, 61, 62, 1300, 9000, 65_536];
    for (const size of sizes) {
      world.send(a, b.machine.publicKey, ramp(size));
      world.settle();
      world.send(b, a.machine.publicKey, ramp(size, 7));
      world.settle();
    }
    assert.equal(
      b.packets,
      sizes.map(size => from(1, ramp(size))),
    );
    assert.equal(
      a.packets,
      sizes.map(size => from(2, ramp(size, 7))),
    );
    assert.is(world.relay.status().forwardedPackets, 2 * sizes.length);
    assert.equal(
      a.events.map(({ type }) => type),
      ['connected', 'server-info'],
    );
    world.advance(66_000);
    assert.is(world.relay.status().memoryBytes, 0, 'nothing is held for long when nothing waits');
  });
}

test('packets pass within one tailnet only, and the other does not even learn who is there', () => {
  const world = new RelayWorld();
  const [a, b] = [world.connect(1, 'a'), world.connect(2, 'a')];
  const stranger = world.connect(3, 'b');
  for (const client of [a, stranger]) {
    for (const packet of [ramp(100), disco(1)]) {
      for (const to of [1, 2, 3, 4]) world.send(client, publicOf(to), packet);
      world.settle();
    }
  }
  assert.equal(b.packets, [from(1, ramp(100)), from(1, disco(1))]);
  assert.equal(a.packets, [from(1, ramp(100)), from(1, disco(1))], 'its own only');
  assert.equal(stranger.packets, [from(3, ramp(100)), from(3, disco(1))]);
  assert.equal(gone(stranger), [`${name(1)}:1`, `${name(2)}:1`, `${name(4)}:1`], 'as for a key that nobody has');
  world.leave(a);
  assert.equal(gone(stranger).length, 3);
  assert.equal(gone(b), [`${name(1)}:0`]);
});

test('after any history no byte of one tailnet, packet or key, has reached the other', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const seeded = new Seeded(seed);
    const world = new RelayWorld({}, 1 + seeded.below(3000));
    const all: WorldClient[] = [];
    let inside: WorldClient[] = [];
    for (let step = 0; step < 120; step++) {
      const action = seeded.below(12);
      if (action === 0 || inside.length < 3) {
        const tailnet = seeded.below(2) === 0 ? 'a' : 'b';
        const client = world.connect((tailnet === 'a' ? 0x10 : 0x20) + seeded.below(4), tailnet);
        all.push(client);
        inside.push(client);
        continue;
      }
      const client = inside[seeded.below(inside.length)]!;
      if (action === 1) {
        world.leave(client);
        inside = inside.filter(other => other !== client);
      } else if (action === 2) {
        world.advance(seeded.below(3000));
      } else {
        // Members of a also try keys of b; those of b know nothing of a.
        const to = client.tailnet === 'b' || seeded.below(2) === 0 ? 0x20 : 0x10;
        const packet = action < 7 ? disco(0) : new Uint8Array(100);
        packet.fill(client.tailnet === 'a' ? 0xa1 : 0xb2, 6);
        world.send(client, publicOf(to + seeded.below(5)), packet);
        world.settle();
      }
    }
    const seen = toHex(concatBytes(...all.flatMap(({ tailnet, raw }) => (tailnet === 'b' ? raw : []))));
    assert.ok(seen.includes('b2'.repeat(50)), 'b has traffic');
    assert.not(seen.includes('a1'.repeat(8)), `seed ${seed}`);
    for (let i = 0; i < 5; i++) assert.not(seen.includes(toHex(publicOf(0x10 + i))), `seed ${seed}`);
  }
});

test('the same key in two tailnets is two members', () => {
  const world = new RelayWorld();
  const [a, inA, b, inB] = [world.connect(1, 'a'), world.connect(9, 'a'), world.connect(2, 'b'), world.connect(9, 'b')];
  world.send(a, publicOf(9), ramp(5));
  world.send(b, publicOf(9), ramp(6));
  world.settle();
  assert.equal([inA.packets, inB.packets], [[from(1, ramp(5))], [from(2, ramp(6))]]);
  assert.is(world.relay.status().members, 4);
  world.leave(inA);
  world.send(b, publicOf(9), ramp(7));
  world.settle();
  assert.is(inB.packets.length, 2);
  assert.equal([gone(a), gone(b)], [[], []], 'it had sent to nobody');
});

test('a frozen receiver keeps the newest 32 of each kind, slows nobody, and is closed after two seconds', () => {
  const world = new RelayWorld();
  const [a, frozen, b] = [world.connect(1), world.connect(2), world.connect(3)];
  frozen.isFrozen = true;
  for (let i = 0; i < 100; i++) {
    world.send(a, publicOf(2), ramp(1000, i));
    world.send(a, publicOf(2), disco(i));
    world.send(a, publicOf(3), ramp(1000, i));
    world.settle();
  }
  assert.is(b.packets.length, 100);
  assert.is(world.relay.status().droppedQueueFull, 2 * 68);
  const held = world.take(frozen.id);
  assert.is(held.length, 64);
  const kinds = held.map(({ payload }) => (payload[32] === 0x54 && payload[33] === 0x53 ? 'disco' : 'data'));
  assert.equal(kinds.slice(0, 4), ['disco', 'data', 'disco', 'data'], 'in turn');
  assert.equal(toHex(held[0]!.payload.slice(32)), toHex(disco(68)));
  assert.equal(toHex(held[63]!.payload.slice(32)), toHex(ramp(1000, 99)));

  world.send(a, publicOf(2), ramp(10));
  world.settle();
  world.advance(1999);
  assert.equal(world.events, []);
  world.advance(1);
  assert.equal(world.events, [{ type: 'close', id: frozen.id, reason: 'stuck' }]);
  assert.is(world.relay.status().members, 2);
});

test('a receiver that takes a little every second is slow, not stuck', () => {
  const world = new RelayWorld();
  const [a, slow] = [world.connect(1), world.connect(2)];
  slow.isFrozen = true;
  for (let i = 0; i < 32; i++) world.send(a, publicOf(2), ramp(1000, i));
  world.settle();
  const out = new Uint8Array(100);
  for (let i = 0; i < 30; i++) {
    world.advance(1000);
    assert.is(world.relay.pollBytes(world.nowMs, slow.id, out, 0, 100), 100);
  }
  assert.equal(world.events, []);
  world.advance(2000);
  assert.is(world.events.length, 1);
});

test('disco to a key that is not here is answered so, three at once and one per second; other packets never', () => {
  const world = new RelayWorld();
  const a = world.connect(1);
  for (let i = 0; i < 10; i++) {
    world.send(a, publicOf(8), disco(i));
    world.send(a, publicOf(8), ramp(100));
    world.settle();
  }
  assert.equal(gone(a), Array(3).fill(`${name(8)}:1`));
  world.advance(999);
  world.send(a, publicOf(8), disco(1));
  world.settle();
  assert.is(gone(a).length, 3);
  world.advance(1);
  world.send(a, publicOf(8), disco(1));
  world.settle();
  assert.is(gone(a).length, 4);
  assert.is(world.relay.status().droppedNoDestination, 22);
});

test('who received something from a client learns that it left; who did not, does not', () => {
  const world = new RelayWorld();
  const [a, b, c] = [world.connect(1), world.connect(2), world.connect(3)];
  world.send(a, publicOf(2), ramp(3));
  world.send(c, publicOf(1), ramp(3));
  world.settle();
  assert.is(world.relay.status().pairs, 2);
  world.leave(a);
  assert.equal([gone(b), gone(c)], [[`${name(1)}:0`], []]);
  assert.is(world.relay.status().pairs, 0);
  world.connect(1);
  world.leave(c);
  assert.equal([gone(b)], [[`${name(1)}:0`]]);
});

test('remembered pairs are bounded, per sender and together', () => {
  const world = new RelayWorld({ pairs: 3, pairsPerSender: 2 });
  const clients = [1, 2, 3, 4].map(byte => world.connect(byte));
  for (const client of clients)
    for (const to of [1, 2, 3, 4]) {
      world.send(client, publicOf(to), ramp(3));
      world.settle();
    }
  assert.is(world.relay.status().pairs, 3);
  assert.ok(clients.every(({ packets }) => packets.length === 4));
  for (const client of clients) world.leave(client);
  assert.is(world.relay.status().pairs, 0);
});

test('a key at two places: both stay, who wrote last receives, and its peers hear of the last one to leave', () => {
  const world = new RelayWorld();
  const [peer, first, second] = [world.connect(1), world.connect(2), world.connect(2)];
  world.send(peer, publicOf(2), ramp(1));
  world.settle();
  assert.equal([first.packets.length, second.packets.length], [0, 1], 'the newest connection wrote last');
  world.advance(10);
  first.machine.ping(world.nowMs);
  world.settle();
  world.send(peer, publicOf(2), ramp(2));
  world.settle();
  assert.equal([first.packets.length, second.packets.length], [1, 1]);
  world.send(first, publicOf(1), ramp(3));
  world.settle();
  world.leave(first);
  world.send(peer, publicOf(2), ramp(4));
  world.settle();
  assert.equal([second.packets.length, gone(peer)], [2, []]);
  world.leave(second);
  assert.equal(gone(peer), [`${name(2)}:0`]);
});

test('connections of one key are bounded: the one that was quiet for longest makes room', () => {
  const world = new RelayWorld({ connectionsPerKey: 3 });
  const clients = [world.connect(1)];
  world.advance(10);
  clients.push(world.connect(1));
  world.advance(10);
  clients.push(world.connect(1));
  world.advance(10);
  clients[0]!.machine.ping(world.nowMs);
  world.settle();
  world.advance(10);
  world.connect(1);
  assert.equal(world.events, [{ type: 'close', id: clients[1]!.id, reason: 'replaced' }]);
  assert.is(world.relay.status().connections, 3);
});

test('a sign of life comes every 60 to 65 seconds, the same for a connection, and keeps the client content', () => {
  const world = new RelayWorld();
  const [a, frozen] = [world.connect(1), world.connect(2)];
  frozen.isFrozen = true;
  const everyMs: number[] = [];
  for (let i = 0; i < 3; i++) {
    const startMs = world.nowMs;
    const untilMs = startMs + 65_000;
    for (let isAlive = false; !isAlive && world.nowMs <= untilMs; ) {
      world.advance(world.relay.nextTimeout() - world.nowMs);
      isAlive = world.take(frozen.id).some(({ type }) => type === wire.FRAME_KEEP_ALIVE);
    }
    everyMs.push(world.nowMs - startMs);
  }
  assert.ok(everyMs[0]! >= 60_000 && everyMs[0]! <= 65_000, `${everyMs}`);
  assert.equal(everyMs, Array(3).fill(everyMs[0]));
  for (let i = 0; i < 20; i++) {
    world.advance(60_000);
    a.machine.handleTimeout(world.nowMs);
  }
  assert.is(a.machine.error, undefined);
});

test('a ping is answered with its first 8 bytes, many at once with one pong', () => {
  const world = new RelayWorld();
  const a = world.connect(1);
  a.isFrozen = true;
  for (let i = 0; i < 50; i++) world.feed(a.id, frame(wire.FRAME_PING, ramp(20, i)));
  assert.equal(describeFrames(world.take(a.id)), [`${wire.FRAME_PONG}:${toHex(ramp(8))}`]);
  world.feed(a.id, frame(wire.FRAME_PING, ramp(8, 9)));
  assert.equal(describeFrames(world.take(a.id)), [`${wire.FRAME_PONG}:${toHex(ramp(8, 9))}`]);
});

test('a client above its rate is paused until it has paid, and resumed', () => {
  const world = new RelayWorld({ bytesPerSecond: 10_000, burstBytes: 70_000 });
  const [a, b] = [world.connect(1), world.connect(2)];
  world.send(a, publicOf(2), new Uint8Array(60_000));
  world.settle();
  assert.equal(world.events, []);
  world.send(a, publicOf(2), new Uint8Array(30_000));
  world.settle();
  assert.equal(world.events, [{ type: 'pause', id: a.id }]);
  assert.is(b.packets.length, 2, 'what has come is carried');
  const owedMs = Math.ceil((90_074 + 5 + 104 + 1 - 70_000) / 10);
  world.advance(owedMs - 100);
  assert.is(world.events.length, 1);
  world.advance(200);
  assert.equal(world.events[1], { type: 'resume', id: a.id });
  assert.is(world.events.length, 2);
});

test('the small preset carries the largest packet, for each of its connections', () => {
  const world = new RelayWorld(RELAY_LIMITS_SMALL);
  const clients = [1, 2, 3].map(byte => world.connect(byte));
  for (const client of clients)
    for (const to of [1, 2, 3]) {
      world.send(client, publicOf(to), ramp(65_536));
      world.settle();
    }
  assert.ok(clients.every(({ packets }) => packets.length === 3));
  assert.ok(world.relay.status().memoryBytes <= RELAY_LIMITS_SMALL.memoryBytes);
});

test('memory is bounded over all clients, and comes back', () => {
  const world = new RelayWorld({ memoryBytes: 200_000 });
  const sender = world.connect(1);
  const frozen = [2, 3, 4, 5, 6].map(byte => world.connect(byte));
  for (const client of frozen) client.isFrozen = true;
  for (let i = 0; i < 40; i++)
    for (const client of frozen) {
      world.send(sender, client.machine.publicKey, ramp(4000, i));
      world.settle();
      assert.ok(world.relay.status().memoryBytes <= 200_000);
    }
  assert.ok(world.relay.status().memoryBytes > 100_000);
  for (const client of frozen) {
    const held = world.take(client.id);
    assert.ok(held.length > 0, 'everyone has a share');
    assert.is(held[held.length - 1]!.payload[32], 39, 'and the newest is in it');
  }
  for (const client of frozen) {
    client.isFrozen = false;
    world.leave(client);
  }
  assert.is(world.relay.status().memoryBytes, 0);
});

test('a removed device is cut off at once, on every connection, in its tailnet only', () => {
  const world = new RelayWorld();
  const [a, b, other] = [world.connect(1, 'a'), world.connect(1, 'a'), world.connect(1, 'b')];
  assert.is(world.relay.disconnect(world.nowMs, 'a', publicOf(1)), 2);
  assert.is(world.relay.disconnect(world.nowMs, 'a', publicOf(2)), 0);
  world.settle();
  assert.equal(
    world.events,
    [a, b].map(({ id }) => ({ type: 'close', id, reason: 'disconnected' })),
  );
  assert.is(other.machine.error, undefined);
  assert.equal([world.relay.status().connections, world.relay.status().members], [1, 1]);
});

test.run();
