/** Who gets into a relay, what it refuses, and that any bytes are survived. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toHex } from '../../lib/base/bytes.ts';
import * as wire from '../../lib/derp/frame.ts';
import { serverKeyPayload } from '../../lib/derp/login.ts';
import { DerpRelay } from '../../lib/derp/relay.ts';
import { ramp, Seeded } from '../crypto/support.ts';
import { RELAY_SECRET, RelayWorld } from './relay-world.ts';
import { describeFrames, frame, noble, publicOf, secretOf, seededRandom, utf8 } from './support.ts';

const test = suite('derp relay login');

/** A world with a stream that has logged in by hand and waits for admission. */
function waiting(limits = {}): { world: RelayWorld; id: number } {
  const world = new RelayWorld(limits);
  const id = world.open();
  world.feed(id, world.login(4));
  return { world, id };
}

function packetTo(byte: number, packet: Uint8Array): Uint8Array {
  return frame(wire.FRAME_SEND_PACKET, publicOf(byte), packet);
}

test('a stream begins with the relay’s key, and only admission brings the server’s information', () => {
  const world = new RelayWorld();
  const id = world.open();
  assert.equal(describeFrames(world.take(id)), [`1:${toHex(serverKeyPayload(publicOf(RELAY_SECRET)))}`]);
  world.feed(id, world.login(4));
  assert.equal(world.take(id), []);
  const [event] = world.events;
  assert.ok(event?.type === 'admission' && toHex(event.nodeKey) === toHex(publicOf(4)));
  assert.equal(event.info, { version: 2, canAckPings: true, isProber: false });
  assert.is(world.relay.status().unadmitted, 1);
  assert.is(world.relay.admit(world.nowMs, id, 'a'), true);
  assert.is(world.relay.admit(world.nowMs, id, 'b'), false, 'once');
  assert.equal(
    world.take(id).map(({ type }) => type),
    [wire.FRAME_SERVER_INFO],
  );
  assert.equal([world.relay.status().unadmitted, world.relay.status().members], [0, 1]);
});

test('a login that names another key than it is sealed with is forged', () => {
  const world = new RelayWorld();
  const forged = world.login(4);
  forged.set(publicOf(5), 5);
  const cut = world.login(4).slice(0, 5 + 32 + 24 + 15);
  cut[4] = cut.length - 5;
  const changed = world.login(4);
  changed[changed.length - 1]! ^= 1;
  const lowOrder = world.login(4);
  lowOrder.fill(0, 5, 37);
  for (const bytes of [forged, cut, changed, lowOrder]) {
    const id = world.open();
    assert.is(world.feed(id, bytes), -1);
    assert.equal(world.events.pop(), { type: 'close', id, reason: 'login-forged' });
  }
  assert.equal(world.events, [], 'nobody was asked');
  assert.equal([world.relay.status().connections, world.relay.status().unadmitted], [0, 0]);
});

test('a login with a low-order key that is sealed with the key that everybody knows is refused', () => {
  // X25519 with a low-order point is zero for every secret: without the check anybody could seal for it.
  const world = new RelayWorld();
  const zeroKey = new Uint8Array(32);
  const json = utf8('{"version":2}');
  const sealed = new Uint8Array(json.length + 16);
  noble.boxSeal(sealed, zeroKey, ramp(24), json);
  const id = world.open();
  assert.is(world.feed(id, frame(wire.FRAME_CLIENT_INFO, new Uint8Array(32), ramp(24), sealed)), -1);
  assert.equal(world.events, [{ type: 'close', id, reason: 'login-forged' }]);
});

test('another first frame, information that is none, or too much of it ends the stream', () => {
  const world = new RelayWorld({ clientInfoBytes: 2048 });
  const cases = [
    packetTo(1, ramp(10)),
    frame(wire.FRAME_PING, ramp(8)),
    frame(wire.FRAME_CLIENT_INFO, ramp(31)),
    world.login(4, []),
    world.login(4, { version: '2' }),
    frame(wire.FRAME_CLIENT_INFO, new Uint8Array(2049)),
    frame(0x77, new Uint8Array(2049)).slice(0, 6),
  ];
  for (const bytes of cases) {
    const id = world.open();
    assert.is(world.feed(id, bytes), -1);
    assert.equal(world.events.pop(), { type: 'close', id, reason: 'login-malformed' });
  }
  const id = world.open();
  assert.ok(world.feed(id, world.login(4, { version: 2, meshKey: '', more: 'x'.repeat(1900) })) > 0, 'unknown fields');
});

test('who is not admitted reaches nobody and is reached by nobody; what it sent goes out after admission', () => {
  const { world, id } = waiting();
  const member = world.connect(1);
  world.feed(id, concatBytes(packetTo(1, ramp(10)), frame(wire.FRAME_NOTE_PREFERRED, Uint8Array.of(1))));
  world.send(member, publicOf(4), ramp(5));
  world.settle();
  assert.equal(member.packets, []);
  world.relay.admit(world.nowMs, id, 'a');
  world.settle();
  assert.equal(member.packets, [`${toHex(publicOf(4).slice(0, 4))}:${toHex(ramp(10))}`]);
  assert.equal(
    world.take(id).map(({ type }) => type),
    [wire.FRAME_SERVER_KEY, wire.FRAME_SERVER_INFO],
  );
});

test('what comes before admission is bounded', () => {
  const { world, id } = waiting();
  const member = world.connect(1);
  for (let i = 0; i < 100; i++) world.feed(id, packetTo(1, ramp(10, i)));
  world.relay.admit(world.nowMs, id, 'a');
  world.settle();
  assert.is(member.packets.length, 32);
  assert.ok(member.packets[31]!.endsWith(toHex(ramp(10, 99))));
  assert.is(world.relay.status().droppedQueueFull, 68);
});

test('who is refused is closed', () => {
  const { world, id } = waiting();
  world.relay.refuse(world.nowMs, id);
  world.settle();
  assert.equal(world.events[1], { type: 'close', id, reason: 'refused' });
  assert.is(world.relay.admit(world.nowMs, id, 'a'), false);
  assert.is(world.feed(id, ramp(1)), -1);
  assert.is(world.relay.status().unadmitted, 0);
});

test('who has not been admitted after ten seconds is closed, to the millisecond', () => {
  for (const login of [false, true]) {
    const world = new RelayWorld();
    const id = world.open();
    world.take(id);
    if (login) world.feed(id, world.login(4));
    world.events.length = 0;
    world.advance(9999);
    assert.equal(world.events, []);
    world.advance(1);
    assert.equal(world.events, [{ type: 'close', id, reason: 'login-timeout' }]);
  }
  const { world, id } = waiting();
  world.relay.admit(world.nowMs, id, 'a');
  world.take(id);
  world.advance(20_000);
  assert.is(world.relay.status().connections, 1);
});

test('streams are bounded, and those that are not admitted more so', () => {
  const world = new RelayWorld({ connections: 3, unadmitted: 2 });
  const [first, second] = [world.open(), world.open()];
  assert.ok(first > 0 && second > first);
  assert.is(world.open(), -1);
  world.relay.handleEnd(world.nowMs, first);
  world.connect(1);
  world.connect(2);
  assert.is(world.relay.status().connections, 3);
  assert.is(world.open(), -1);
  const wide = new RelayWorld({ connections: 2 });
  wide.connect(1);
  wide.connect(2);
  assert.is(wide.open(), -1);
});

test('frames that no client may send end the stream; unknown ones are skipped', () => {
  const cases: [string, Uint8Array][] = [
    ['short packet', frame(wire.FRAME_SEND_PACKET, ramp(31))],
    ['large packet', frame(wire.FRAME_SEND_PACKET, new Uint8Array(32 + 65_537))],
    ['the head of a huge packet', Uint8Array.of(wire.FRAME_SEND_PACKET, 255, 255, 255, 255)],
    ['short ping', frame(wire.FRAME_PING, ramp(7))],
    ['long ping', frame(wire.FRAME_PING, new Uint8Array(1001))],
    ['preferred without a value', frame(wire.FRAME_NOTE_PREFERRED)],
    ['preferred with two', frame(wire.FRAME_NOTE_PREFERRED, ramp(2))],
    ['forward', frame(0x0a, ramp(70))],
    ['watch', frame(0x10)],
    ['close peer', frame(0x11, ramp(32))],
  ];
  for (const [what, bytes] of cases) {
    const { world, id } = waiting();
    world.relay.admit(world.nowMs, id, 'a');
    world.events.length = 0;
    assert.is(world.feed(id, bytes), -1, what);
    assert.equal(world.events, [{ type: 'close', id, reason: 'malformed' }], what);
  }
  const { world, id } = waiting();
  world.relay.admit(world.nowMs, id, 'a');
  world.take(id);
  const strange = concatBytes(
    frame(0x99, new Uint8Array(200_000)),
    frame(wire.FRAME_KEEP_ALIVE),
    frame(wire.FRAME_PING, ramp(1000)),
  );
  assert.ok(world.feed(id, strange) > 0);
  assert.equal(describeFrames(world.take(id)), [`${wire.FRAME_PONG}:${toHex(ramp(8))}`]);
});

test('limits under which a largest frame could never pass are the caller’s mistake', () => {
  const make = (limits: object) => () =>
    new DerpRelay({ random: seededRandom(1), suite: noble, privateKey: secretOf(1), limits });
  assert.throws(make({ burstBytes: 65_572 }), /"burstBytes" expected at least 65573, got 65572/);
  make({ burstBytes: 65_573 })();
});

test('ids and streams that are gone are harmless', () => {
  const world = new RelayWorld();
  assert.is(world.relay.handleBytes(0, 99, ramp(3), 0, 3), -1);
  assert.is(world.relay.pollBytes(0, 99, ramp(3), 0, 3), 0);
  assert.is(world.relay.admit(0, 99, 'a'), false);
  world.relay.refuse(0, 99);
  world.relay.handleEnd(0, 99);
  const client = world.connect(1);
  world.relay.refuse(world.nowMs, client.id);
  assert.is(world.relay.status().connections, 1, 'a member cannot be refused any more');
});

test('any bytes are survived, whole or in pieces alike, and leave no memory behind', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const seeded = new Seeded(seed);
    const parts: Uint8Array[] = [];
    for (let i = 0; i < 12; i++) {
      const type = seeded.below(3) === 0 ? seeded.below(256) : [4, 7, 0x12, 0x13, 6][seeded.below(5)]!;
      const payload =
        type === 4
          ? concatBytes(publicOf(1 + seeded.below(2)), seeded.bytes(seeded.below(80)))
          : seeded.bytes(seeded.below(20));
      const bytes = frame(type, type === 7 ? payload.slice(0, 1) : payload);
      if (seeded.below(12) === 0) bytes[seeded.below(5)]! ^= 1 << seeded.below(8);
      parts.push(bytes);
    }
    const stream = concatBytes(...parts);
    const run = (piece: number) => {
      const { world, id } = waiting();
      const member = world.connect(1);
      world.relay.admit(world.nowMs, id, 'a');
      for (let at = 0; at < stream.length; at += piece) world.feed(id, stream.slice(at, at + piece));
      const out = [member.packets, world.events.slice(1), describeFrames(world.take(id))];
      world.relay.handleEnd(world.nowMs, id);
      world.leave(member);
      assert.is(world.relay.status().memoryBytes, 0);
      assert.is(world.relay.status().connections, 0);
      return out;
    };
    const [packets, events] = run(stream.length);
    const [piecePackets, pieceEvents] = run(1 + seeded.below(7));
    assert.equal([piecePackets, pieceEvents], [packets, events], `seed ${seed}`);
  }
});

test.run();
