import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, fromHex, toHex, utf8Decode } from '../../lib/base/bytes.ts';
import { DerpClient, type DerpClientOptions } from '../../lib/derp/client.ts';
import { DERP_CLIENT_LIMITS_SMALL, type DerpClientEvent } from '../../lib/derp/client-types.ts';
import * as wire from '../../lib/derp/frame.ts';
import { sealedFrame, serverKeyPayload } from '../../lib/derp/login.ts';
import { ramp, Seeded } from '../crypto/support.ts';
import {
  boxKeyOf,
  describeFrames,
  drain,
  frame,
  framesOf,
  noble,
  publicOf,
  secretOf,
  seededRandom,
  utf8,
} from './support.ts';

const test = suite('derp client');

const CLIENT = 0x44;
const PEER_SECRET = 0x66;
const SERVER = 0x55;
const SERVER_KEY = frame(wire.FRAME_SERVER_KEY, serverKeyPayload(publicOf(SERVER)));
const HTTP = utf8('HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n');
const PEER = ramp(32, 100);

function clientOf(changes: Partial<DerpClientOptions> = {}): DerpClient {
  return new DerpClient({
    nowMs: 1000,
    random: out => out.set(ramp(out.length)),
    suite: noble,
    privateKey: secretOf(CLIENT),
    host: undefined,
    ...changes,
  });
}

function loggedIn(changes: Partial<DerpClientOptions> = {}): DerpClient {
  const client = clientOf(changes);
  feed(client, 1000, SERVER_KEY);
  sent(client);
  events(client);
  return client;
}

function feed(client: DerpClient, nowMs: number, bytes: Uint8Array): number {
  return client.handleBytes(nowMs, bytes, 0, bytes.length);
}

function sent(client: DerpClient, room = 4096): Uint8Array {
  return drain((out, start, end) => client.pollBytes(out, start, end), room);
}

function events(client: DerpClient): DerpClientEvent[] {
  const out: DerpClientEvent[] = [];
  for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent()) out.push(event);
  return out;
}

/** `source:packet` of what came. */
function packets(client: DerpClient): string[] {
  const out: string[] = [];
  while (client.pollPacket()) {
    const { packet, packetSource, packetStart, packetEnd } = client;
    out.push(`${toHex(packet.slice(packetSource, packetSource + 32))}:${toHex(packet.slice(packetStart, packetEnd))}`);
  }
  return out;
}

function serverInfo(info: object, key = boxKeyOf(SERVER, CLIENT)): Uint8Array {
  return sealedFrame(noble, seededRandom(3), wire.FRAME_SERVER_INFO, new Uint8Array(0), key, info);
}

function send(client: DerpClient, nowMs: number, bytes: Uint8Array): boolean {
  return client.send(nowMs, PEER, bytes, 0, bytes.length);
}

test('the login has the known bytes: server key in, client info out', () => {
  const client = clientOf();
  const known = '010000002844455250f09f949138ab664bd86f77d7e66bdd9ae0792913a94fd8b33a1260027e4b46c1f4884c67';
  assert.ok(feed(client, 1000, fromHex(known)!) > 0);
  assert.is(
    toHex(sent(client)),
    '0200000068ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b' +
      '000102030405060708090a0b0c0d0e0f1011121314151617' +
      '1ec4283755d5511a434629c987ee474c265b8552c20a3da8cedeb142bf918ca1059e728095785edc65a3fda96c0a868c',
  );
  assert.ok(client.isLoggedIn);
  assert.equal(
    events(client).map(event => event.type),
    ['connected'],
  );
});

test('nothing is said before the relay’s key, then who we are, whether it is home, and what waited', () => {
  const client = clientOf({ isPreferred: true });
  send(client, 1000, Uint8Array.of(7));
  assert.is(sent(client).length, 0);
  feed(client, 1000, SERVER_KEY);
  const frames = framesOf(sent(client));
  assert.equal(
    frames.map(({ type }) => type),
    [wire.FRAME_CLIENT_INFO, wire.FRAME_NOTE_PREFERRED, wire.FRAME_SEND_PACKET],
  );
  assert.equal(toHex(frames[1]!.payload), '01');
  assert.equal(toHex(frames[2]!.payload), `${toHex(PEER)}07`);
});

test('the upgrade is asked for, and bytes behind the 101 are frames', () => {
  const client = clientOf({ host: 'relay.example' });
  assert.ok(utf8Decode(sent(client, 10)).startsWith('GET /derp HTTP/1.1\r\nHost: relay.example\r\n'));
  assert.ok(feed(client, 1000, concatBytes(HTTP, SERVER_KEY, frame(wire.FRAME_RECV_PACKET, PEER, ramp(3)))) > 0);
  assert.ok(client.isLoggedIn);
  assert.equal(packets(client), [`${toHex(PEER)}:000102`]);
});

test('another answer than 101 ends the stream and says which', () => {
  for (const [answer, text] of [
    ['HTTP/1.1 426 Upgrade Required\r\n\r\n', /HTTP status 426/],
    ['HTTP/1.1 200 OK\r\nUpgrade: DERP\r\n\r\n', /HTTP status 200/],
    ['hello\r\n\r\n', /did not answer in HTTP/],
    ['x'.repeat(9000), /did not answer in HTTP/],
  ] as const) {
    const client = clientOf({ host: 'relay.example' });
    assert.is(feed(client, 1000, utf8(answer)), -1);
    assert.match(client.error!.message, text);
    assert.is(client.error!.code, 'ERR_PROTOCOL');
    assert.is(feed(client, 1000, SERVER_KEY), -1);
    assert.is(sent(client).length, 0);
  }
});

test('a stream fed whole or in pieces of any size gives the same', () => {
  const stream = concatBytes(
    HTTP,
    SERVER_KEY,
    frame(wire.FRAME_RECV_PACKET, PEER, ramp(200)),
    frame(0x77, ramp(50)),
    serverInfo({ version: 2 }),
    frame(wire.FRAME_PEER_GONE, PEER, Uint8Array.of(1)),
    frame(wire.FRAME_RECV_PACKET, PEER, new Uint8Array(5000)),
    frame(wire.FRAME_HEALTH, utf8('crowded')),
    frame(wire.FRAME_PING, ramp(8, 3)),
    frame(wire.FRAME_RESTARTING, fromHex('0000000a00000fa0')!),
    frame(wire.FRAME_RECV_PACKET, PEER, ramp(100)),
  );
  const run = (piece: number, room: number) => {
    const client = clientOf({ host: 'relay.example', limits: DERP_CLIENT_LIMITS_SMALL });
    for (let at = 0; at < stream.length; at += piece)
      assert.ok(client.handleBytes(1000, stream, at, Math.min(stream.length, at + piece)) > 0);
    return {
      packets: packets(client),
      events: events(client),
      sent: toHex(sent(client, room)),
      n: client.droppedPackets,
    };
  };
  const whole = run(stream.length, 4096);
  assert.is(whole.packets.length, 2);
  assert.is(whole.n, 1, 'the packet above the small limit is skipped');
  assert.equal(
    whole.events.map(event => event.type),
    ['connected', 'server-info', 'peer-gone', 'health', 'restarting'],
  );
  for (const piece of [1, 2, 3, 5, 64, 300]) assert.equal(run(piece, 1 + (piece % 7)), whole, `pieces of ${piece}`);
});

test('a relay with another key than the pinned one is refused', () => {
  const client = clientOf({ serverKey: publicOf(0x56) });
  assert.is(feed(client, 1000, SERVER_KEY), -1);
  assert.match(client.error!.message, /another key/);
  assert.is(sent(client).length, 0, 'and learns nothing of us');
  assert.ok(feed(clientOf({ serverKey: publicOf(SERVER) }), 1000, SERVER_KEY) > 0);
  assert.throws(() => clientOf({ serverKey: ramp(31) }), /"serverKey" expected 32 bytes, got 31/);
});

test('a server key that is no key, has other magic, is short, or is not first ends the stream', () => {
  const cases = [
    frame(wire.FRAME_SERVER_KEY, serverKeyPayload(new Uint8Array(32))),
    frame(wire.FRAME_SERVER_KEY, ramp(40)),
    frame(wire.FRAME_SERVER_KEY, serverKeyPayload(ramp(31))),
    frame(wire.FRAME_RECV_PACKET, PEER, ramp(3)),
  ];
  for (const bytes of cases) {
    const client = clientOf();
    assert.is(feed(client, 1000, bytes), -1);
    assert.is(client.error?.code, 'ERR_PROTOCOL');
    assert.not(client.isLoggedIn);
    assert.is(sent(client).length, 0);
  }
  const longer = frame(wire.FRAME_SERVER_KEY, serverKeyPayload(publicOf(SERVER)), ramp(9));
  assert.ok(feed(clientOf(), 1000, longer) > 0, 'more bytes behind the key are for later versions');
});

test('server information that another key sealed, or that was changed, ends the stream', () => {
  const good = serverInfo({ version: 2 });
  const changed = good.slice();
  changed[40]! ^= 1;
  for (const bytes of [
    serverInfo({ version: 2 }, boxKeyOf(0x56, CLIENT)),
    changed,
    frame(wire.FRAME_SERVER_INFO, ramp(39)),
  ]) {
    const client = loggedIn();
    assert.is(feed(client, 1000, bytes), -1);
    assert.match(client.error!.message, /not sealed/);
  }
  const client = loggedIn();
  feed(client, 1000, good);
  assert.equal(events(client), [{ type: 'server-info', info: { version: 2, bytesPerSecond: 0, burstBytes: 0 } }]);
});

test('a relay’s rate is kept: what exceeds it is not sent', () => {
  const client = loggedIn();
  feed(client, 1000, serverInfo({ version: 2, TokenBucketBytesPerSecond: 1000, TokenBucketBytesBurst: 500 }));
  const packet = new Uint8Array(63); // 100 bytes with header and key
  for (let i = 0; i < 5; i++) assert.ok(send(client, 2000, packet));
  assert.is(send(client, 2000, packet), false);
  assert.is(send(client, 2099, packet), false);
  assert.is(send(client, 2100, packet), true);
  assert.is(client.rateLimited, 2);
});

test('the newest 32 packets wait; what is half out is finished', () => {
  const client = loggedIn();
  for (let i = 0; i < 40; i++) assert.ok(send(client, 1000, ramp(10, i)));
  assert.is(client.droppedPackets, 8);
  const out = new Uint8Array(20);
  assert.is(client.pollBytes(out, 0, 20), 20);
  for (let i = 40; i < 80; i++) send(client, 1000, ramp(10, i));
  const rest = framesOf(concatBytes(out, sent(client)));
  assert.equal(
    rest.map(({ payload }) => payload[32]),
    [8, ...Array.from({ length: 32 }, (_, i) => 48 + i)],
  );
});

test('a packet above what a relay carries is not queued, and a destination must be a key', () => {
  const client = loggedIn();
  assert.is(send(client, 1000, new Uint8Array(65_537)), false);
  assert.is(send(client, 1000, new Uint8Array(65_536)), true);
  assert.throws(() => client.send(1000, ramp(31), ramp(4), 0, 4), /"destination" expected 32 bytes, got 31/);
});

test('silence of 120 seconds ends it, any bytes put that off, and the login has its own time', () => {
  const client = clientOf();
  assert.is(client.nextTimeout(), 11_000);
  client.handleTimeout(10_999);
  assert.is(client.error, undefined);
  feed(client, 10_999, SERVER_KEY);
  assert.is(client.nextTimeout(), 130_999);
  feed(client, 60_000, frame(wire.FRAME_KEEP_ALIVE));
  assert.is(client.nextTimeout(), 180_000);
  client.handleTimeout(179_999);
  assert.is(client.error, undefined);
  client.handleTimeout(180_000);
  assert.is(client.error?.code, 'ERR_TIMED_OUT');
  assert.is(client.nextTimeout(), Infinity);
  const mute = clientOf({ host: 'relay.example' });
  feed(mute, 10_000, HTTP);
  mute.handleTimeout(11_000);
  assert.match((mute.error as Error).message, /did not answer in time/);
});

test('a ping is answered with its first 8 bytes, a flood of them with one pong at a time', () => {
  const client = loggedIn();
  for (let i = 0; i < 50; i++) feed(client, 1000, frame(wire.FRAME_PING, ramp(12, i)));
  feed(client, 1000, frame(wire.FRAME_PING, ramp(7)));
  assert.equal(describeFrames(framesOf(sent(client))), [`${wire.FRAME_PONG}:${toHex(ramp(8, 49))}`]);
  assert.is(client.malformed, 1);
});

test('our ping’s pong says how long it took; another pong says nothing', () => {
  const client = loggedIn();
  client.ping(2000);
  const [ping] = framesOf(sent(client));
  assert.is(ping?.type, wire.FRAME_PING);
  feed(client, 2010, frame(wire.FRAME_PONG, ramp(8, 77)));
  feed(client, 2010, frame(wire.FRAME_PONG, ramp(7)));
  assert.equal(events(client), []);
  feed(client, 2030, frame(wire.FRAME_PONG, ping!.payload));
  feed(client, 2040, frame(wire.FRAME_PONG, ping!.payload));
  assert.equal(events(client), [{ type: 'pong', rttMs: 30 }]);
});

test('a gone peer is told with its reason; the old form has none', () => {
  const client = loggedIn();
  feed(client, 1000, frame(wire.FRAME_PEER_GONE, PEER, Uint8Array.of(wire.GONE_NOT_HERE)));
  feed(client, 1000, frame(wire.FRAME_PEER_GONE, PEER));
  feed(client, 1000, frame(wire.FRAME_PEER_GONE, ramp(31)));
  assert.equal(events(client), [
    { type: 'peer-gone', peer: PEER, reason: 1 },
    { type: 'peer-gone', peer: PEER, reason: 0 },
  ]);
  assert.is(client.malformed, 1);
});

test('health texts are short and cannot move a cursor', () => {
  const client = loggedIn();
  feed(client, 1000, frame(wire.FRAME_HEALTH, utf8(`a\u001b[2J\r\nb${'x'.repeat(1000)}`)));
  feed(client, 1000, frame(wire.FRAME_HEALTH));
  const [first, second] = events(client);
  assert.ok(first?.type === 'health' && first.problem.startsWith('a [2J  bxx') && first.problem.length <= 512);
  assert.equal(second, { type: 'health', problem: '' });
});

test('home is told once per change', () => {
  const client = loggedIn();
  client.setPreferred(true);
  client.setPreferred(true);
  assert.equal(describeFrames(framesOf(sent(client))), [`${wire.FRAME_NOTE_PREFERRED}:01`]);
  client.setPreferred(false);
  assert.equal(describeFrames(framesOf(sent(client))), [`${wire.FRAME_NOTE_PREFERRED}:00`]);
});

test('what nobody takes is bounded: packets by bytes, events by number, and the end is still told', () => {
  const client = loggedIn({ limits: DERP_CLIENT_LIMITS_SMALL });
  for (let i = 0; i < 100; i++) {
    feed(client, 1000, frame(wire.FRAME_RECV_PACKET, PEER, new Uint8Array(1000).fill(i)));
    feed(client, 1000, frame(wire.FRAME_PEER_GONE, PEER));
  }
  assert.is(client.droppedEvents, 92);
  client.close();
  const seen = events(client);
  assert.is(seen.length, 9);
  assert.is(seen[8]?.type, 'closed');
  const kept = packets(client);
  assert.is(kept.length, 7);
  assert.ok(kept[6]!.endsWith('63'.repeat(1000)), 'the newest are kept');
});

test('memory that traffic took is given back 100 ms after it, not before', () => {
  const client = loggedIn();
  assert.is(client.memoryBytes, 0);
  assert.is(client.nextTimeout(), 121_000, 'a login leaves nothing to give back');
  for (let i = 0; i < 40; i++) {
    feed(client, 1000, frame(wire.FRAME_RECV_PACKET, PEER, new Uint8Array(1300)));
    send(client, 1000, new Uint8Array(1300));
  }
  assert.is(client.droppedPackets, 8);
  assert.is(client.nextTimeout(), 1100);
  client.handleTimeout(1100);
  assert.is(client.nextTimeout(), 1200, 'packets wait');
  assert.is(packets(client).length, 40);
  sent(client);
  assert.ok(client.memoryBytes > 90_000, `${client.memoryBytes}`);
  client.handleTimeout(1199);
  assert.ok(client.memoryBytes > 90_000);
  client.handleTimeout(1200);
  assert.is(client.memoryBytes, 0);
  assert.is(client.droppedPackets, 8, 'still counted');
  assert.is(client.nextTimeout(), 121_000);
  feed(client, 4000, frame(wire.FRAME_RECV_PACKET, PEER, ramp(3)).subarray(0, 39));
  client.handleTimeout(4100);
  feed(client, 5000, ramp(3).subarray(2));
  assert.equal(packets(client), [`${toHex(PEER)}:000102`], 'a frame in the midst is kept');
  assert.is(client.nextTimeout(), 5100);
  feed(client, 6000, frame(wire.FRAME_KEEP_ALIVE));
  client.handleTimeout(6100);
  assert.is(client.memoryBytes, 0);
});

test('server information is heard once', () => {
  const client = loggedIn();
  feed(client, 1000, serverInfo({ version: 2, TokenBucketBytesPerSecond: 1000, TokenBucketBytesBurst: 100 }));
  feed(client, 1000, serverInfo({ version: 2 }));
  feed(client, 1000, serverInfo({ version: 2 }, boxKeyOf(PEER_SECRET, CLIENT)));
  assert.equal(
    events(client).map(({ type }) => type),
    ['server-info'],
  );
  assert.ok(!send(client, 1000, new Uint8Array(200)), 'the first one counts');
});

test('the end of the stream and our own close are told once', () => {
  const client = loggedIn();
  client.handleEnd();
  client.close();
  assert.equal(
    events(client).map(event => event.type === 'closed' && event.error.code),
    ['ERR_CONNECTION_RESET'],
  );
  assert.is(send(client, 1000, ramp(3)), false);
  assert.is(feed(client, 1000, SERVER_KEY), -1);
});

test('any bytes are survived, and whole and piecewise feeding agree', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const seeded = new Seeded(seed);
    const parts = [SERVER_KEY];
    for (let i = 0; i < 6; i++) {
      const bytes = frame(seeded.below(0x18), seeded.bytes(seeded.below(seed % 3 === 0 ? 12 : 90)));
      if (seeded.below(4) === 0) bytes[1 + seeded.below(4)] = seeded.below(3);
      parts.push(bytes);
    }
    const stream = concatBytes(...parts);
    const run = (piece: number) => {
      const client = clientOf({ limits: DERP_CLIENT_LIMITS_SMALL });
      let isAlive = true;
      for (let at = 0; at < stream.length && isAlive; at += piece)
        isAlive = client.handleBytes(1000, stream, at, Math.min(stream.length, at + piece)) > 0;
      return [
        isAlive,
        client.error?.message,
        packets(client),
        events(client).map(({ type }) => type),
        toHex(sent(client)),
      ];
    };
    assert.equal(run(1 + seeded.below(9)), run(stream.length), `seed ${seed}`);
  }
});

test.run();
