/** Packets through a tunnel: padding, routing both ways, roaming, counters and what is refused. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readU32LE, writeU16BE } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { Handshaker } from '../../lib/wireguard/handshake.ts';
import { Session } from '../../lib/wireguard/session.ts';
import {
  A,
  A_ENDPOINT,
  at,
  B,
  B_ENDPOINT,
  connectedPair,
  counterOf,
  craftInitiation,
  createToySuite,
  eventTypes,
  packet,
  prefix,
  reason,
  repeated,
  seededRandom,
  sendAB,
  sendBA,
  START_MS,
  type TunnelPair,
  tunnel,
  tunnelPair,
  types,
} from './support.ts';

const test = suite('tunnel data');

/** Length of the datagram in which `a` sends a packet of `bytes` that has no IP header to be cut by. */
function wireLength(pair: TunnelPair, bytes: number): number {
  assert.ok(sendAB(pair, bytes) > 0);
  const [datagram] = pair.take();
  return datagram!.bytes.length;
}

test('a packet is padded to a multiple of 16, and a keepalive not at all', () => {
  const pair = connectedPair();
  assert.is(wireLength(pair, 33), 80);
  assert.is(wireLength(pair, 48), 80);
  assert.is(wireLength(pair, 49), 96);
  assert.is(wireLength(pair, 20), 64);
  pair.advance(10_000);
  assert.equal(
    pair.take().map(({ bytes }) => bytes.length),
    [32],
  );
});

test('padding never goes beyond the MTU', () => {
  const pair = connectedPair({ both: { mtu: 100 } });
  assert.is(wireLength(pair, 90), 96 + 32);
  assert.is(wireLength(pair, 97), 100 + 32);
  assert.is(wireLength(pair, 100), 100 + 32);
  // Above the MTU the last part of it counts, as in stock implementations.
  assert.is(wireLength(pair, 101), 116 + 32);
  assert.is(wireLength(pair, 199), 200 + 32);
  assert.is(wireLength(connectedPair({ both: { mtu: 1420 } }), 1420), 1420 + 32);
  assert.is(wireLength(connectedPair({ both: { mtu: 0 } }), 1419), 1424 + 32);
});

test('padding is zeros, and the other side cuts it off', () => {
  const pair = connectedPair();
  for (const bytes of [20, 21, 35, 36, 37, 1399, 1420]) {
    assert.ok(sendAB(pair, bytes) > 0);
    pair.settle();
    assert.equal(pair.b.received.at(-1), packet(A, B, bytes));
  }
});

test('all sizes up to 65,000 bytes pass, and what fits into no datagram is refused', () => {
  const pair = connectedPair();
  const slot = new Slot(65_535);
  const send = (bytes: number) => {
    slot.reset();
    slot.buf.set(packet(A, B, bytes), slot.start);
    slot.end = slot.start + bytes;
    return pair.a.machine.encapsulate(pair.nowMs, slot);
  };
  for (const bytes of [1500, 9000, 65_000]) {
    assert.ok(send(bytes) > 0);
    const datagram = slot.buf.slice(slot.start, slot.end);
    assert.is(pair.b.machine.decapsulate(pair.nowMs, datagram, 0, datagram.length, A_ENDPOINT), bytes);
  }
  assert.is(reason(send(65_500)), 'wg-too-big');
  const tight = new Slot(60);
  tight.buf.set(packet(A, B, 90), 32);
  tight.start = 32;
  tight.end = 32 + 90;
  assert.is(reason(pair.a.machine.encapsulate(pair.nowMs, tight)), 'wg-too-big', 'a slot without room for the tag');
  const headless = new Slot(200);
  headless.buf.set(packet(A, B, 60), 8);
  headless.start = 8;
  headless.end = 68;
  assert.is(
    reason(pair.a.machine.encapsulate(pair.nowMs, headless)),
    'wg-too-big',
    'a slot without room for the header',
  );
});

test('the sealed datagram lies in the slot, 16 bytes in front of where the packet was, with its destination', () => {
  const pair = connectedPair();
  const slot = new Slot(1500);
  slot.buf.set(packet(A, B, 60), slot.start);
  slot.end = slot.start + 60;
  const from = slot.start;
  assert.is(pair.a.machine.encapsulate(pair.nowMs, slot), 96);
  assert.equal([slot.start, slot.end], [from - 16, from + 80]);
  assert.equal(slot.to, B_ENDPOINT);
  assert.is(pair.a.machine.transmitPeer, 0);
  assert.equal(slot.buf.slice(slot.start, slot.start + 4), Uint8Array.of(4, 0, 0, 0));
});

test('the inner packet lies 16 bytes into the datagram, and its peer is named', () => {
  const pair = connectedPair();
  sendAB(pair);
  const [datagram] = pair.take();
  const buf = new Uint8Array(500);
  buf.set(datagram!.bytes, 100);
  assert.is(pair.b.machine.decapsulate(pair.nowMs, buf, 100, 100 + datagram!.bytes.length, A_ENDPOINT), 60);
  assert.is(pair.b.machine.decapsulatedPeer, 0);
  assert.equal(buf.slice(116, 176), packet(A, B));
  assert.ok(pair.b.machine.decapsulate(pair.nowMs, new Uint8Array(3), 0, 3, A_ENDPOINT) < 0);
  assert.is(pair.b.machine.decapsulatedPeer, -1);
});

test('a keepalive never surfaces as a packet', () => {
  const pair = connectedPair();
  pair.advance(10_000);
  const [keepalive] = pair.take();
  assert.equal(types([keepalive!]), [0]);
  assert.is(pair.inject(pair.a, keepalive!.bytes, B_ENDPOINT), 0);
  assert.is(pair.a.machine.decapsulatedPeer, 0);
  assert.is(reason(pair.inject(pair.a, keepalive!.bytes, B_ENDPOINT)), 'wg-replay');
});

test('outgoing packets go to the peer with the longest prefix, or nowhere', () => {
  const t = tunnel(1);
  const add = (byte: number, ...texts: string[]) =>
    t.addPeer(START_MS, {
      publicKey: tunnel(byte).publicKey,
      endpoint: at(`192.0.2.${byte}:1`),
      allowedIPs: texts.map(prefix),
    });
  const wide = add(2, '10.0.0.0/8', 'fd00::/16');
  const narrow = add(3, '10.1.0.0/16', 'fd00:1::/32');
  const route = (to: string) => {
    const bytes = packet(to.includes(':') ? 'fd00::9' : '10.9.9.9', to, 60);
    return t.routePeer(bytes, 0, bytes.length);
  };
  assert.equal(['10.0.0.1', '10.1.0.1', 'fd00::1', 'fd00:1::1'].map(route), [wide, narrow, wide, narrow]);
  assert.is(reason(route('11.0.0.1')), 'wg-no-route');
  assert.is(reason(route('fe00::1')), 'wg-no-route');
  assert.is(t.drops.total, 0, 'asking counts nothing');
});

test('what is no IP packet is not routed', () => {
  const t = tunnel(1);
  t.addPeer(START_MS, {
    publicKey: tunnel(2).publicKey,
    endpoint: B_ENDPOINT,
    allowedIPs: [prefix('0.0.0.0/0'), prefix('::/0')],
  });
  const route = (...bytes: number[]) => reason(t.routePeer(Uint8Array.from(bytes), 0, bytes.length));
  assert.is(route(), 'wg-inner-malformed');
  assert.is(route(0x45, ...new Array(18).fill(0)), 'wg-inner-malformed');
  assert.is(route(0x60, ...new Array(38).fill(0)), 'wg-inner-malformed');
  assert.is(route(0x50, ...new Array(60).fill(0)), 'wg-inner-malformed');
  assert.is(route(0x45, ...new Array(19).fill(0)), undefined);
});

test('without a route or an endpoint a packet is refused at once and counted', () => {
  const pair = tunnelPair();
  assert.is(reason(pair.send(pair.a, packet(A, '172.16.0.1'))), 'wg-no-route');
  assert.is(reason(sendBA(pair)), 'wg-no-endpoint');
  assert.is(pair.b.machine.activePeerCount, 0, 'and nothing is kept for it');
  pair.b.machine.connect(pair.nowMs, 0);
  assert.is(pair.b.machine.activePeerCount, 0);
  assert.equal(pair.flight, []);
});

/** A session with `b` that puts anything at all inside: what a peer with changed software could send. */
function malicious(allowedIPs: string[], others: string[] = []) {
  const suite = createToySuite();
  const b = tunnel(2);
  const id = b.addPeer(START_MS, { publicKey: tunnel(1).publicKey, allowedIPs: allowedIPs.map(prefix) });
  if (others.length > 0) b.addPeer(START_MS, { publicKey: tunnel(5).publicKey, allowedIPs: others.map(prefix) });
  const handshaker = new Handshaker(suite, seededRandom(1), SecretKey.fromBytes(repeated(1)));
  const buf = new Uint8Array(148);
  const pending = handshaker.writeInitiation(buf, 0, {
    peerId: 0,
    localIndex: 5,
    remoteStatic: b.publicKey,
    staticStatic: handshaker.staticStatic(b.publicKey)!,
    tick: 1,
    cookie: undefined,
  })!;
  b.decapsulate(START_MS, buf, 0, 148, A_ENDPOINT);
  const slot = new Slot(1500);
  b.pollTransmit(START_MS, slot);
  const keys = handshaker.readResponse(pending, slot.buf, slot.start, repeated(0));
  if (typeof keys === 'number') throw new Error('no session');
  const remoteIndex = readU32LE(slot.buf, slot.start + 4);
  const session = new Session(suite, {
    ...keys,
    peerId: 0,
    localIndex: 5,
    remoteIndex,
    isInitiator: true,
    createdMs: START_MS,
    limits: { replayBits: 1024, rejectAfterMessages: 2 ** 53 - 1 },
  });
  /** Result of one inner packet, of any bytes. */
  const inside = (inner: Uint8Array): number | string => {
    const datagram = new Uint8Array(inner.length + 32);
    datagram.set(inner, 16);
    session.seal(datagram, 16, 16 + inner.length);
    const result = b.decapsulate(START_MS, datagram, 0, datagram.length, A_ENDPOINT);
    return reason(result) ?? result;
  };
  return { b, id, inside };
}

test('a packet from an address of another peer is dropped, however the prefixes nest', () => {
  const { inside } = malicious(['10.0.0.0/8', 'fd00::/16'], ['10.1.0.0/16', 'fd00:1::/32']);
  assert.is(inside(packet('10.0.0.1', '10.9.9.9')), 60);
  assert.is(inside(packet('10.1.0.1', '10.9.9.9')), 'wg-inner-source');
  assert.is(inside(packet('fd00::1', 'fd00::9')), 60);
  assert.is(inside(packet('fd00:1::1', 'fd00::9')), 'wg-inner-source');
  assert.is(inside(packet('192.0.2.1', '10.9.9.9')), 'wg-inner-source');
  const narrow = malicious(['10.1.0.0/16'], ['10.0.0.0/8']);
  assert.is(narrow.inside(packet('10.1.0.1', '10.9.9.9')), 60);
  assert.is(narrow.inside(packet('10.0.0.1', '10.9.9.9')), 'wg-inner-source');
});

test('an inner packet whose length lies is dropped, and a true one is cut to it', () => {
  const { inside } = malicious(['0.0.0.0/0', '::/0']);
  const v4 = (total: number, bytes = 64) => {
    const out = packet(A, B, bytes);
    writeU16BE(out, 2, total);
    return inside(out);
  };
  assert.equal([v4(64), v4(63), v4(20)], [64, 63, 20]);
  assert.equal([v4(65), v4(0xffff), v4(19), v4(0)], new Array(4).fill('wg-inner-malformed'));
  const v6 = (payload: number, bytes = 64) => {
    const out = packet('fd00::1', 'fd00::2', bytes);
    writeU16BE(out, 4, payload);
    return inside(out);
  };
  assert.equal([v6(24), v6(0), v6(25), v6(0xffff)], [64, 40, 'wg-inner-malformed', 'wg-inner-malformed']);
  for (const bytes of [
    Uint8Array.of(0x45),
    new Uint8Array(19).fill(0x45),
    new Uint8Array(39).fill(0x60),
    new Uint8Array(64),
  ])
    assert.is(inside(bytes), 'wg-inner-malformed');
});

test('unpadded packets of other implementations are accepted', () => {
  const { inside } = malicious(['0.0.0.0/0']);
  for (const bytes of [20, 33, 61, 1399]) assert.is(inside(packet(A, B, bytes)), bytes);
});

test('the endpoint follows authenticated data and handshakes, and says so', () => {
  const pair = connectedPair();
  pair.a.endpoint = at('198.51.100.7:7');
  sendAB(pair);
  pair.settle();
  assert.equal(pair.b.machine.peerStatus(0).endpoint, at('198.51.100.7:7'));
  assert.equal(pair.b.events.at(-1), { type: 'endpoint', peer: 0, endpoint: at('198.51.100.7:7') });
  sendBA(pair);
  assert.equal(pair.flight[0]!.to, at('198.51.100.7:7'));
  pair.settle();
  assert.is(pair.a.received.length, 1);
  pair.live(200_000);
  pair.a.endpoint = at('198.51.100.8:8');
  sendAB(pair);
  assert.equal(types(pair.flight), [1]);
  pair.b.endpoint = at('198.51.100.9:9');
  pair.inject(pair.b, pair.take()[0]!.bytes, pair.a.endpoint);
  assert.equal(pair.b.machine.peerStatus(0).endpoint, at('198.51.100.8:8'));
  pair.settle();
  assert.equal(pair.a.machine.peerStatus(0).endpoint, at('198.51.100.9:9'));
  assert.is(pair.b.received.length, 3);
});

test('a keepalive moves the endpoint as well, and a response does', () => {
  const pair = tunnelPair();
  pair.a.machine.connect(pair.nowMs, 0);
  pair.drain();
  pair.deliver();
  const [response] = pair.take();
  pair.inject(pair.a, response!.bytes, at('198.51.100.1:1'));
  assert.equal(pair.a.machine.peerStatus(0).endpoint, at('198.51.100.1:1'));
  const [keepalive] = pair.take();
  pair.inject(pair.b, keepalive!.bytes, at('198.51.100.2:2'));
  assert.equal(pair.b.machine.peerStatus(0).endpoint, at('198.51.100.2:2'));
});

test('replays, forgeries, cookie replies and packets out of time do not move the endpoint', () => {
  const pair = tunnelPair();
  sendAB(pair);
  const initiation = pair.flight[0]!.bytes;
  pair.settle();
  sendAB(pair);
  const data = pair.flight[0]!.bytes;
  pair.settle();
  const thief = at('203.0.113.66:66');
  const forged = data.slice();
  forged[8] = 200;
  const short = data.slice(0, 31);
  const old = craftInitiation({ byte: 1, to: pair.b.machine.publicKey, tick: 1 });
  for (const bytes of [initiation, data, forged, short, old]) assert.ok(pair.inject(pair.b, bytes, thief) < 0);
  assert.equal(pair.b.machine.peerStatus(0).endpoint, A_ENDPOINT);
  pair.nowMs += 200_000;
  const late = data.slice();
  assert.ok(pair.inject(pair.b, late, thief) < 0);
  assert.equal(pair.b.machine.peerStatus(0).endpoint, A_ENDPOINT);
});

test('a peer that does not roam keeps its endpoint whatever comes from where', () => {
  const pair = connectedPair({ bPeer: { endpoint: A_ENDPOINT, roams: false } });
  pair.a.endpoint = at('192.0.2.77:77');
  sendAB(pair);
  pair.settle();
  assert.equal(eventTypes(pair.b), ['handshake']);
  assert.equal(pair.b.machine.peerStatus(0).endpoint, A_ENDPOINT);
  sendBA(pair);
  assert.equal(pair.take()[0]!.to, A_ENDPOINT);
  pair.b.machine.updatePeer(pair.nowMs, 0, { roams: true });
  sendAB(pair);
  pair.settle();
  assert.equal(pair.b.machine.peerStatus(0).endpoint, at('192.0.2.77:77'));
});

test('a peer that does not roam and has no endpoint leaves the path to the caller', () => {
  const t = tunnel(1);
  const id = t.addPeer(START_MS, { publicKey: tunnel(2).publicKey, allowedIPs: [prefix(`${B}/32`)], roams: false });
  t.connect(START_MS, id);
  const slot = new Slot(1500);
  assert.ok(t.pollTransmit(START_MS, slot));
  assert.is(slot.to, undefined);
  assert.is(t.transmitPeer, id);
});

test('bytes are counted per peer, headers and handshakes included', () => {
  const pair = connectedPair();
  sendBA(pair);
  pair.settle();
  const [a, b] = [pair.a.machine.peerStatus(0), pair.b.machine.peerStatus(0)];
  assert.equal([a.txBytes, a.rxBytes], [148 + 96, 92 + 96]);
  assert.equal([b.txBytes, b.rxBytes], [92 + 96, 148 + 96]);
  assert.is(a.lastHandshakeUnixMs, b.lastHandshakeUnixMs);
  assert.is(a.lastHandshakeUnixMs! > 1_700_000_000_000 - 1, true);
});

test('a session asks for its successor after so many messages, and stops at the limit', () => {
  const pair = connectedPair({ both: { limits: { rekeyAfterMessages: 10, rejectAfterMessages: 20 } } });
  pair.advance(6_000);
  for (let i = 1; i < 9; i++) {
    sendAB(pair);
    assert.equal(types(pair.take()), [4]);
  }
  sendAB(pair);
  assert.equal(types(pair.take()), [4, 1], 'the tenth');
  for (let i = 10; i < 20; i++) assert.ok(sendAB(pair) > 0, String(i));
  assert.equal(pair.take().map(counterOf), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  assert.is(sendAB(pair), 0, 'the 21st waits for a new session');
  pair.live(6_000);
  assert.ok(pair.b.received.length >= 1);
  assert.ok(pair.a.machine.peerStatus(0).hasSession);
});

test('a responder asks for a new session after so many messages as well', () => {
  const pair = connectedPair({ b: { limits: { rekeyAfterMessages: 3 } } });
  pair.advance(6_000);
  sendBA(pair);
  sendBA(pair);
  assert.equal(types(pair.take()), [4, 4]);
  sendBA(pair);
  assert.equal(types(pair.take()), [4, 1]);
});

test('ten minutes of steady traffic take five handshakes, not more', () => {
  const pair = connectedPair();
  for (let second = 1; second <= 600; second++) {
    pair.live(1_000);
    sendAB(pair);
    if (second % 3 === 0) sendBA(pair);
    pair.settle();
  }
  assert.is(eventTypes(pair.a).filter(type => type === 'handshake').length, 6);
  assert.is(pair.b.received.length, 601);
  assert.is(pair.a.received.length, 200);
  assert.is(pair.a.machine.drops.total + pair.b.machine.drops.total, 0);
});

test('what waits is bounded per peer: the oldest goes, and is counted', () => {
  const pair = tunnelPair({ a: { limits: { stagedPackets: 3 } } });
  for (let fill = 1; fill <= 5; fill++) assert.is(pair.send(pair.a, packet(A, B, 60, fill)), 0);
  assert.is(pair.a.machine.drops.get('wg-staged-overflow'), 2);
  pair.settle();
  assert.equal(
    pair.b.received.map(each => each[20]),
    [3, 4, 5],
  );
});

test('a packet larger than the pool for waiting packets is refused', () => {
  const pair = tunnelPair({ a: { limits: { stagedBytes: 512 } } });
  assert.is(reason(sendAB(pair, 600)), 'wg-too-big');
  assert.is(sendAB(pair, 500), 0);
});

test('a waiting packet that no longer fits into the slot is dropped and counted, and the next one leaves', () => {
  const pair = tunnelPair();
  sendAB(pair, 1400);
  sendAB(pair, 100);
  pair.deliver();
  const [response] = pair.take();
  const buf = response!.bytes.slice();
  pair.a.machine.decapsulate(pair.nowMs, buf, 0, buf.length, B_ENDPOINT);
  const small = new Slot(200);
  assert.ok(pair.a.machine.pollTransmit(pair.nowMs, small));
  assert.is(small.end - small.start, 112 + 32);
  assert.is(pair.a.machine.drops.get('wg-too-big'), 1);
  assert.not(pair.a.machine.pollTransmit(pair.nowMs, small));
});

test('a slot too small for a handshake is the caller’s mistake', () => {
  assert.throws(() => tunnel(1).pollTransmit(START_MS, new Slot(50)), /148/);
});

test.run();
