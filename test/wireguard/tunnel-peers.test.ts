/** Adding, changing and removing peers while the tunnel runs. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatPrefix } from '../../lib/base/address.ts';
import { isAllZero } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import type { Cipher, CryptoSuite } from '../../lib/crypto/suite.ts';
import { TUNNEL_LIMITS_LARGE, TUNNEL_LIMITS_SMALL } from '../../lib/wireguard/constants.ts';
import type { PeerConfig } from '../../lib/wireguard/types.ts';
import {
  A,
  A_ENDPOINT,
  at,
  B,
  B_ENDPOINT,
  connectedPair,
  createToySuite,
  eventTypes,
  packet,
  prefix,
  reason,
  repeated,
  seededRandom,
  seededWords,
  sendAB,
  sendBA,
  START_MS,
  tunnel,
  tunnelPair,
  types,
} from './support.ts';

const test = suite('tunnel peers');

test('a bad configuration throws, says what is wrong, and changes nothing', () => {
  const t = tunnel(1);
  const good = { publicKey: tunnel(2).publicKey, allowedIPs: [prefix('10.0.0.0/8')] };
  t.addPeer(START_MS, good);
  const bad: [object, RegExp][] = [
    [{ publicKey: repeated(1, 31) }, /"publicKey" expected 32 bytes, got 31/],
    [{ publicKey: 'AAAA' }, /"publicKey" expected a Uint8Array, got string/],
    [{ publicKey: t.publicKey }, /our own/],
    [{ publicKey: good.publicKey }, /already/],
    [{ presharedKey: repeated(1, 33) }, /"presharedKey" expected 32 bytes, got 33/],
    [{ allowedIPs: undefined }, /"allowedIPs"/],
    [{ allowedIPs: '10.0.0.0/8' }, /"allowedIPs"/],
    [{ allowedIPs: [{ bytes: repeated(0, 4), bits: 33 }] }, /0 to 32, got 33/],
    [{ allowedIPs: [{ bytes: repeated(0, 5), bits: 8 }] }, /4 or 16 bytes, got 5/],
    [{ allowedIPs: ['10.0.0.0/8'] }, /"allowedIPs"/],
    [{ endpoint: { address: 'example.org', port: 1 } }, /IP address, got example.org/],
    [{ endpoint: { address: '192.0.2.1', port: 0 } }, /port of 1 to 65535, got 0/],
    [{ endpoint: { address: '192.0.2.1', port: 65_536 } }, /port/],
    [{ persistentKeepaliveMs: 999 }, /1000 to 65535000, got 999/],
    [{ persistentKeepaliveMs: -1 }, /persistentKeepaliveMs/],
    [{ persistentKeepaliveMs: 1000.5 }, /persistentKeepaliveMs/],
  ];
  for (const [change, text] of bad) {
    const config = { publicKey: tunnel(3).publicKey, allowedIPs: [], ...change } as PeerConfig;
    assert.throws(() => t.addPeer(START_MS, config), text);
  }
  assert.is(t.peerCount, 1);
  assert.equal(t.peerStatus(0).allowedIPs.map(formatPrefix), ['10.0.0.0/8']);
  assert.throws(() => t.updatePeer(START_MS, 0, { persistentKeepaliveMs: 5 }), /persistentKeepaliveMs/);
  for (const id of [1, -1, 0.5, Number.NaN]) {
    assert.throws(() => t.updatePeer(START_MS, id, {}), /expected a peer/);
    assert.throws(() => t.removePeer(START_MS, id), /expected a peer/);
    assert.throws(() => t.peerStatus(id), /expected a peer/);
    assert.throws(() => t.connect(START_MS, id), /expected a peer/);
  }
});

test('a tunnel with impossible clocks, limits or floor cannot be made', () => {
  for (const options of [
    { nowMs: Number.NaN },
    { unixMs: Number.POSITIVE_INFINITY },
    { mtu: 65_536 },
    { mtu: -1 },
    { limits: { peers: -1 } },
    { limits: { sources: 0 } },
    { limits: { rejectAfterMessages: 2 ** 53 } },
    { limits: { rekeyAfterMessages: 2 ** 51 } },
    { timestampFloor: new Uint8Array(11) },
    { timestampFloor: new Uint8Array(12) },
  ])
    assert.throws(() => tunnel(1, options), RangeError, JSON.stringify(options));
});

test('the number of peers is bounded', () => {
  const t = tunnel(1, { limits: { peers: 2 } });
  t.addPeer(START_MS, { publicKey: tunnel(2).publicKey, allowedIPs: [] });
  t.addPeer(START_MS, { publicKey: tunnel(3).publicKey, allowedIPs: [] });
  assert.throws(() => t.addPeer(START_MS, { publicKey: tunnel(4).publicKey, allowedIPs: [] }), /at most 2 peers/);
  t.removePeer(START_MS, 0);
  t.addPeer(START_MS, { publicKey: tunnel(4).publicKey, allowedIPs: [] });
});

test('the presets work as they are, and the small one is smaller in everything', () => {
  for (const limits of [TUNNEL_LIMITS_SMALL, TUNNEL_LIMITS_LARGE]) {
    const pair = connectedPair({ both: { limits } });
    assert.is(pair.b.received.length, 1);
  }
  const [small, large] = [TUNNEL_LIMITS_SMALL, TUNNEL_LIMITS_LARGE];
  for (const name of Object.keys(small) as (keyof typeof small)[]) assert.ok(small[name] <= large[name], name);
});

test('status shows what was configured, as copies', () => {
  const t = tunnel(1);
  const publicKey = tunnel(2).publicKey;
  const id = t.addPeer(START_MS, {
    publicKey,
    presharedKey: repeated(3),
    endpoint: B_ENDPOINT,
    allowedIPs: [prefix('10.0.0.2/32'), prefix('fd00::2/128')],
    roams: false,
  });
  const status = t.peerStatus(id);
  assert.equal(status.publicKey, publicKey);
  assert.equal(status.endpoint, B_ENDPOINT);
  assert.equal(status.allowedIPs.map(formatPrefix), ['10.0.0.2/32', 'fd00::2/128']);
  assert.equal(
    [status.hasPresharedKey, status.roams, status.hasSession, status.isHandshaking, status.stagedPackets],
    [true, false, false, false, 0],
  );
  status.publicKey.fill(0);
  assert.is(t.findPeer(publicKey), id);
  assert.is(t.findPeer(repeated(9)), undefined);
  assert.is(t.findPeer(repeated(9, 5)), undefined);
  assert.equal([...t.peerIds()], [id]);
});

test('changes are in force at once: allowed IPs, endpoint', () => {
  const pair = connectedPair();
  pair.a.machine.updatePeer(pair.nowMs, 0, { allowedIPs: [prefix('10.7.0.0/16')] });
  assert.is(reason(sendAB(pair)), 'wg-no-route');
  assert.ok(pair.send(pair.a, packet(A, '10.7.0.1')) > 0);
  pair.settle();
  sendBA(pair);
  assert.is(reason(pair.deliver()), 'wg-inner-source');
  pair.a.machine.updatePeer(pair.nowMs, 0, { endpoint: at('198.51.100.5:5') });
  pair.send(pair.a, packet(A, '10.7.0.1'));
  assert.equal(pair.flight[0]!.to, at('198.51.100.5:5'));
  pair.a.machine.updatePeer(pair.nowMs, 0, { endpoint: undefined });
  assert.is(reason(pair.send(pair.a, packet(A, '10.7.0.1'))), 'wg-no-endpoint');
  assert.equal(pair.a.machine.peerStatus(0).allowedIPs.map(formatPrefix), ['10.7.0.0/16']);
});

test('an endpoint that is forgotten ends what waits for it', () => {
  const pair = tunnelPair();
  sendAB(pair);
  pair.take();
  pair.a.machine.updatePeer(pair.nowMs, 0, { endpoint: undefined });
  pair.advance(6_000);
  assert.equal(pair.take(), []);
  assert.is(pair.a.machine.drops.get('wg-gave-up'), 1);
});

test('a removed peer is gone: no route, no session, no timer, nothing that waits', () => {
  const pair = connectedPair();
  sendBA(pair);
  const [data] = pair.take();
  pair.a.machine.removePeer(pair.nowMs, 0);
  assert.is(pair.a.machine.peerCount, 0);
  assert.is(pair.a.machine.activePeerCount, 0);
  assert.is(pair.a.machine.nextTimeout(), Number.POSITIVE_INFINITY);
  assert.is(reason(sendAB(pair)), 'wg-no-route');
  assert.is(reason(pair.inject(pair.a, data!.bytes, B_ENDPOINT)), 'wg-unknown-receiver');
  pair.b.machine.connect(pair.nowMs, 0);
  pair.live(700_000);
  sendBA(pair);
  assert.is(reason(pair.deliver()), 'wg-unknown-peer');
});

test('a peer that is removed while its work waits to be sent leaves nothing to send', () => {
  const t = tunnel(1);
  const ids = [2, 3, 4].map(byte =>
    t.addPeer(START_MS, { publicKey: tunnel(byte).publicKey, endpoint: at(`192.0.2.${byte}:1`), allowedIPs: [] }),
  );
  for (const id of ids) t.connect(START_MS, id);
  t.removePeer(START_MS, ids[0]!);
  t.removePeer(START_MS, ids[2]!);
  const slot = new Slot(1500);
  assert.ok(t.pollTransmit(START_MS, slot));
  assert.is(t.transmitPeer, ids[1]);
  assert.not(t.pollTransmit(START_MS, slot));
});

/** The toy suite; it tells which ciphers it made and which were wiped. */
function watchedSuite(): { suite: CryptoSuite; alive: Set<Cipher> } {
  const suite = createToySuite();
  const alive = new Set<Cipher>();
  const createCipher = (sealKey: Uint8Array, openKey?: Uint8Array): Cipher => {
    const cipher = suite.createCipher(sealKey, openKey);
    const watched: Cipher = {
      seal: (counter, buf, start, end) => cipher.seal(counter, buf, start, end),
      open: (counter, buf, start, end) => cipher.open(counter, buf, start, end),
      wipe: () => {
        cipher.wipe();
        alive.delete(watched);
      },
    };
    alive.add(watched);
    return watched;
  };
  return { suite: { ...suite, createCipher }, alive };
}

test('keys are erased when a peer is removed, when sessions are replaced, and after 540 s', () => {
  const { suite, alive } = watchedSuite();
  const pair = connectedPair({ a: { suite } });
  assert.is(alive.size, 1);
  for (let i = 0; i < 5; i++) {
    pair.live(121_000);
    sendAB(pair);
    pair.settle();
    assert.is(alive.size, 2, 'the current and the one before');
  }
  pair.live(540_000);
  assert.is(alive.size, 0);
  sendAB(pair);
  pair.settle();
  assert.is(alive.size, 1);
  pair.a.machine.removePeer(pair.nowMs, 0);
  assert.is(alive.size, 0);
});

test('a responder keeps at most the current and the next session', () => {
  const { suite, alive } = watchedSuite();
  const pair = tunnelPair({ b: { suite } });
  for (let i = 0; i < 5; i++) {
    sendAB(pair);
    pair.deliver();
    pair.take();
    assert.is(alive.size, 1, 'answered, but never confirmed');
    pair.advance(5_333);
  }
});

test('when a session is confirmed no shared secret of its handshake is left, on either side', () => {
  const secrets: Uint8Array[] = [];
  const toy = createToySuite();
  const suite = {
    ...toy,
    dh: (out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array) => {
      secrets.push(out);
      return toy.dh(out, secret, publicKey);
    },
  };
  const pair = tunnelPair({ a: { suite }, b: { suite } });
  const left = () => secrets.filter(secret => !isAllZero(secret)).length;
  for (let i = 0; i < 3; i++) {
    sendAB(pair);
    pair.deliver();
    assert.ok(left() > 0, 'while it is not, that of the static keys is kept');
    pair.settle();
    assert.is(left(), 0);
    pair.live(121_000);
  }
});

test('closing erases everything', () => {
  const { suite, alive } = watchedSuite();
  const pair = connectedPair({ a: { suite } });
  pair.a.machine.close(pair.nowMs);
  assert.is(alive.size, 0);
  assert.is(pair.a.machine.peerCount, 0);
  assert.is(pair.a.machine.nextTimeout(), Number.POSITIVE_INFINITY);
});

test('an id that is used again has nothing of the peer before', () => {
  const pair = connectedPair({ aPeer: { persistentKeepaliveMs: 5_000, presharedKey: repeated(0) } });
  pair.a.machine.removePeer(pair.nowMs, 0);
  const id = pair.a.machine.addPeer(pair.nowMs, { publicKey: tunnel(7).publicKey, allowedIPs: [prefix(`${B}/32`)] });
  assert.is(id, 0);
  const status = pair.a.machine.peerStatus(id);
  assert.equal([status.rxBytes, status.txBytes, status.persistentKeepaliveMs], [0, 0, 0]);
  assert.equal([status.endpoint, status.lastHandshakeUnixMs, status.hasSession], [undefined, undefined, false]);
  sendBA(pair);
  assert.is(reason(pair.deliver()), 'wg-unknown-receiver');
});

test('a peer that restarts is answered at once, and its old session is replaced', () => {
  const pair = connectedPair();
  sendBA(pair);
  pair.settle();
  pair.advance(1_000);
  const publicKey = pair.b.machine.publicKey;
  pair.a.machine.removePeer(pair.nowMs, 0);
  pair.a.machine.addPeer(pair.nowMs, { publicKey, endpoint: B_ENDPOINT, allowedIPs: [prefix(`${B}/32`)] });
  sendAB(pair);
  pair.settle();
  sendBA(pair);
  pair.settle();
  assert.is(pair.a.received.length, 2);
  assert.is(pair.b.received.length, 2);
});

test('peers come and go by the thousand, and the ones that stay are found', () => {
  const t = tunnel(1);
  const word = seededWords(8);
  const random = seededRandom(8);
  const known = new Map<number, { key: Uint8Array; address: string }>();
  for (let step = 0; step < 6_000; step++) {
    if (known.size > 0 && word() % 5 === 0) {
      const id = [...known.keys()][word() % Math.min(known.size, 50)]!;
      t.removePeer(START_MS, id);
      known.delete(id);
    } else {
      const key = new Uint8Array(32);
      random(key);
      const address = `10.${(step >> 16) & 255}.${(step >> 8) & 255}.${step & 255}`;
      const id = t.addPeer(START_MS, { publicKey: key, endpoint: B_ENDPOINT, allowedIPs: [prefix(`${address}/32`)] });
      assert.not(known.has(id));
      known.set(id, { key, address });
    }
  }
  assert.is(t.peerCount, known.size);
  assert.equal(
    [...t.peerIds()],
    [...known.keys()].sort((a, b) => a - b),
  );
  for (const [id, { key, address }] of known) {
    assert.is(t.findPeer(key), id);
    assert.is(t.routePeer(packet('10.0.0.0', address), 0, 60), id);
  }
});

test('work of many peers leaves in turns, so that none waits for another’s packets', () => {
  const server = tunnel(9);
  const slot = new Slot(1500);
  const clients = [1, 2, 3].map(byte => {
    const client = tunnel(byte);
    client.addPeer(START_MS, { publicKey: server.publicKey, endpoint: B_ENDPOINT, allowedIPs: [] });
    const id = server.addPeer(START_MS, {
      publicKey: client.publicKey,
      endpoint: at(`192.0.2.${byte}:${byte}`),
      allowedIPs: [prefix(`10.0.0.${byte}/32`)],
    });
    return { client, id, byte };
  });
  const stage = (byte: number, count: number) => {
    for (let i = 0; i < count; i++) {
      slot.reset();
      slot.buf.set(packet('10.0.0.9', `10.0.0.${byte}`), slot.start);
      slot.end = slot.start + 60;
      assert.is(server.encapsulate(START_MS, slot), 0);
    }
  };
  for (const { byte } of clients) stage(byte, 3);
  const answers: Uint8Array[] = [];
  for (const { client } of clients) {
    assert.ok(server.pollTransmit(START_MS, slot));
    client.decapsulate(START_MS, slot.buf, slot.start, slot.end, A_ENDPOINT);
    client.pollTransmit(START_MS, slot);
    answers.push(slot.buf.slice(slot.start, slot.end));
  }
  for (const answer of answers) assert.is(server.decapsulate(START_MS, answer, 0, 92, B_ENDPOINT), 0);
  const order: number[] = [];
  while (server.pollTransmit(START_MS, slot)) order.push(server.transmitPeer);
  assert.equal(order, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
});

test('events that nobody takes are bounded, and the floor is never lost', () => {
  const t = tunnel(1, { limits: { events: 3, peers: 100 } });
  const random = seededRandom(5);
  const slot = new Slot(1500);
  const key = new Uint8Array(32);
  for (let i = 0; i < 10; i++) {
    random(key);
    t.connect(START_MS, t.addPeer(START_MS, { publicKey: key, endpoint: B_ENDPOINT, allowedIPs: [] }));
  }
  for (let nowMs = START_MS; nowMs < START_MS + 120_000; nowMs += 100) {
    t.handleTimeout(nowMs);
    while (t.pollTransmit(nowMs, slot));
  }
  const events: string[] = [];
  for (let event = t.pollEvent(); event !== undefined; event = t.pollEvent()) events.push(event.type);
  assert.equal(events, ['timestamp', 'gave-up', 'gave-up', 'gave-up']);
});

test('a session with one peer is none with another: its data is dropped after a mix-up of indices', () => {
  const pair = connectedPair();
  sendAB(pair);
  const [data] = pair.take();
  const other = data!.bytes.slice();
  other[4]! ^= 0xff;
  assert.is(reason(pair.inject(pair.b, other, A_ENDPOINT)), 'wg-unknown-receiver');
  assert.is(reason(pair.inject(pair.a, data!.bytes, B_ENDPOINT)), 'wg-unknown-receiver', 'sent back to its sender');
  assert.equal(types(pair.take()), []);
  assert.equal(eventTypes(pair.a), ['handshake']);
});

test("the events of a removed peer are forgotten: its id may be the next peer's", () => {
  const target = tunnel(2);
  const caller = tunnel(1);
  const id = target.addPeer(START_MS, { publicKey: caller.publicKey, allowedIPs: [] });
  caller.addPeer(START_MS, { publicKey: target.publicKey, endpoint: B_ENDPOINT, allowedIPs: [] });
  caller.connect(START_MS, 0);
  const slot = new Slot(2048);
  assert.ok(caller.pollTransmit(START_MS, slot));
  assert.is(target.decapsulate(START_MS, slot.buf, slot.start, slot.end, A_ENDPOINT), 0);
  target.removePeer(START_MS, id);
  assert.is(target.addPeer(START_MS, { publicKey: tunnel(3).publicKey, allowedIPs: [] }), id);
  assert.is(target.pollEvent(), undefined);
});

test.run();
