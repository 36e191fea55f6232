/** Handshakes between two tunnels, with all that can go wrong on the way. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Slot } from '../../lib/base/slot.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { tickOf } from '../../lib/wireguard/tai64n.ts';
import { Tunnel } from '../../lib/wireguard/tunnel.ts';
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
  receiverOf,
  repeated,
  seededRandom,
  sendAB,
  sendBA,
  START_MS,
  START_UNIX_MS,
  tunnel,
  tunnelPair,
  types,
  withMacs,
} from './support.ts';

const test = suite('tunnel handshakes');
const TOY = createToySuite();

test('the first packet waits for the handshake and then confirms it, without a keepalive', () => {
  const pair = tunnelPair();
  assert.is(sendAB(pair), 0);
  assert.equal(types(pair.flight), [1]);
  pair.deliver();
  assert.equal(types(pair.flight), [2]);
  assert.equal(eventTypes(pair.b), ['endpoint']);
  pair.deliver();
  assert.equal(types(pair.flight), [4]);
  assert.is(counterOf(pair.flight[0]!), 0);
  pair.deliver();
  assert.equal(pair.b.received, [packet(A, B)]);
  assert.equal(eventTypes(pair.a), ['handshake']);
  assert.equal(eventTypes(pair.b), ['endpoint', 'handshake']);
  assert.equal(pair.flight, []);
  assert.is(sendBA(pair) > 0, true);
  pair.settle();
  assert.equal(pair.a.received, [packet(B, A)]);
  assert.is(pair.a.machine.drops.total + pair.b.machine.drops.total, 0);
});

test('an initiation that is refused leaves no secret behind', () => {
  const secrets: { out: Uint8Array; publicKey: Uint8Array }[] = [];
  const suite = {
    ...TOY,
    dh: (out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array) => {
      secrets.push({ out, publicKey: publicKey.slice() });
      return TOY.dh(out, secret, publicKey);
    },
  };
  const pair = tunnelPair({ b: { suite } });
  sendAB(pair);
  const initiation = pair.flight[0]!.bytes.slice();
  pair.settle();
  secrets.length = 0;
  pair.b.machine.decapsulate(pair.nowMs + 1000, initiation, 0, initiation.length, A_ENDPOINT);
  const key = pair.a.machine.publicKey;
  const shared = secrets.filter(({ publicKey }) => publicKey.every((byte, i) => byte === key[i]));
  assert.is(shared.length, 1);
  for (const { out } of shared) assert.equal(out, new Uint8Array(32));
});

test('it works the same with the real curve, IPv6 inside and a preshared key', () => {
  const suiteOf = { suite: createNobleSuite() };
  const psk = { presharedKey: repeated(9) };
  const pair = tunnelPair({
    both: suiteOf,
    aPeer: { ...psk, allowedIPs: [prefix('fd00::2/128')] },
    bPeer: { ...psk, allowedIPs: [prefix('fd00::1/128')] },
  });
  assert.is(pair.send(pair.a, packet('fd00::1', 'fd00::2', 100)), 0);
  pair.settle();
  assert.ok(pair.send(pair.b, packet('fd00::2', 'fd00::1', 100)) > 0);
  pair.settle();
  assert.equal(pair.a.received, [packet('fd00::2', 'fd00::1', 100)]);
  assert.equal(pair.b.received, [packet('fd00::1', 'fd00::2', 100)]);
});

test('connecting without a packet is confirmed by a keepalive', () => {
  const pair = tunnelPair();
  pair.a.machine.connect(pair.nowMs, 0);
  pair.drain();
  pair.deliver();
  pair.deliver();
  assert.equal(types(pair.flight), [0]);
  assert.is(counterOf(pair.flight[0]!), 0);
  pair.settle();
  assert.equal(eventTypes(pair.b), ['endpoint', 'handshake']);
  pair.a.machine.connect(pair.nowMs, 0);
  pair.drain();
  assert.equal(pair.flight, [], 'there is a session already');
});

test('packets that wait leave in their order with counters 0, 1, 2', () => {
  const pair = tunnelPair();
  for (const fill of [1, 2, 3]) assert.is(pair.send(pair.a, packet(A, B, 60, fill)), 0);
  assert.equal(types(pair.flight), [1]);
  pair.deliver();
  pair.deliver();
  assert.equal(pair.flight.map(counterOf), [0, 1, 2]);
  pair.settle();
  assert.equal(
    pair.b.received,
    [1, 2, 3].map(fill => packet(A, B, 60, fill)),
  );
});

test('a packet does not overtake those that still wait', () => {
  const pair = tunnelPair();
  pair.send(pair.a, packet(A, B, 60, 1));
  pair.deliver();
  const [response] = pair.take();
  // The response comes in, and a packet is handed over before anything was polled.
  const { machine } = pair.a;
  const buf = response!.bytes.slice();
  assert.is(machine.decapsulate(pair.nowMs, buf, 0, buf.length, B_ENDPOINT), 0);
  assert.is(pair.send(pair.a, packet(A, B, 60, 2)), 0);
  pair.settle();
  assert.equal(
    pair.b.received.map(each => each[20]),
    [1, 2],
  );
});

test('the responder does not send on the key that is not confirmed yet', () => {
  const pair = tunnelPair();
  sendAB(pair);
  pair.deliver();
  const [response] = pair.take();
  assert.is(sendBA(pair), 0);
  pair.advance(4_000);
  assert.equal(pair.flight, [], 'nothing leaves before the initiator was heard');
  pair.flight.push(response!);
  pair.settle();
  assert.equal(pair.a.received, [packet(B, A)]);
  assert.equal(pair.b.received, [packet(A, B)]);
});

test('while a new session is not confirmed the responder goes on with the old one', () => {
  const pair = connectedPair();
  pair.advance(120_000);
  pair.take();
  sendBA(pair);
  const oldReceiver = receiverOf(pair.flight[0]!);
  pair.settle();
  sendAB(pair);
  const [data, initiation] = pair.take();
  assert.equal(types([data!, initiation!]), [4, 1]);
  pair.inject(pair.b, initiation!.bytes, A_ENDPOINT);
  const [response] = pair.take();
  sendBA(pair);
  assert.is(receiverOf(pair.flight[0]!), oldReceiver);
  pair.settle();
  assert.is(pair.a.received.length, 2);
  pair.inject(pair.a, response!.bytes, B_ENDPOINT);
  pair.settle();
  sendBA(pair);
  assert.is.not(receiverOf(pair.flight[0]!), oldReceiver);
  pair.settle();
  assert.is(pair.a.received.length, 3);
});

test('packets under the session before the current one are still accepted', () => {
  const pair = connectedPair();
  pair.live(119_990);
  sendAB(pair);
  const late = pair.take();
  pair.nowMs += 10;
  sendAB(pair);
  pair.settle();
  assert.is(eventTypes(pair.b).filter(type => type === 'handshake').length, 2);
  assert.ok(pair.inject(pair.b, late[0]!.bytes, A_ENDPOINT) > 0);
});

test('a response that comes twice is used once: no second session, no counter again', () => {
  const pair = tunnelPair();
  sendAB(pair);
  pair.deliver();
  const [response] = pair.flight;
  pair.settle();
  sendAB(pair);
  assert.is(counterOf(pair.flight[0]!), 1);
  assert.is(reason(pair.inject(pair.a, response!.bytes, B_ENDPOINT)), 'wg-unexpected-response');
  pair.settle();
  sendAB(pair);
  assert.is(counterOf(pair.flight[0]!), 2);
  pair.settle();
  assert.is(pair.b.received.length, 3);
  assert.equal(eventTypes(pair.a), ['handshake']);
});

test('forged responses leave the handshake as it is, and the good one is still accepted', () => {
  const pair = tunnelPair();
  sendAB(pair);
  pair.deliver();
  const [response] = pair.take();
  const publicA = pair.a.machine.publicKey;
  const forge = (at: number, change: (value: number) => number) => {
    const bytes = response!.bytes.slice();
    bytes[at] = change(bytes[at]!);
    return bytes;
  };
  const flip = (value: number) => value ^ 1;
  assert.is(reason(pair.inject(pair.a, forge(70, flip), B_ENDPOINT)), 'wg-bad-mac1');
  for (const at of [12, 44, 59])
    assert.is(
      reason(pair.inject(pair.a, withMacs(forge(at, flip), publicA), B_ENDPOINT)),
      'wg-handshake-decrypt',
      `${at}`,
    );
  const lowOrder = response!.bytes.slice().fill(0, 12, 44);
  assert.is(reason(pair.inject(pair.a, withMacs(lowOrder, publicA), B_ENDPOINT)), 'wg-low-order-key');
  assert.is(reason(pair.inject(pair.a, withMacs(forge(8, flip), publicA), B_ENDPOINT)), 'wg-unknown-receiver');
  assert.equal(eventTypes(pair.a), []);
  assert.is(pair.inject(pair.a, response!.bytes, B_ENDPOINT), 0);
  assert.equal(eventTypes(pair.a), ['handshake']);
  pair.settle();
  assert.is(pair.b.received.length, 1);
});

test('a response to an initiation that was given up for a newer one is ignored', () => {
  const pair = tunnelPair();
  sendAB(pair);
  pair.deliver();
  const [late] = pair.take();
  pair.advance(5_333);
  const [retry] = pair.take();
  assert.is(reason(pair.inject(pair.a, late!.bytes, B_ENDPOINT)), 'wg-unknown-receiver');
  pair.inject(pair.b, retry!.bytes, A_ENDPOINT);
  pair.settle();
  assert.is(pair.b.received.length, 1);
});

test('a lost response is made good by a retry with a new ephemeral key and a new index', () => {
  const pair = tunnelPair();
  sendAB(pair);
  const first = pair.flight[0]!.bytes.slice();
  pair.deliver();
  pair.take();
  pair.advance(5_333);
  assert.equal(types(pair.flight), [1]);
  const second = pair.flight[0]!.bytes;
  assert.not.equal(second.slice(4, 8), first.slice(4, 8));
  assert.not.equal(second.slice(8, 40), first.slice(8, 40));
  pair.settle();
  assert.is(pair.b.received.length, 1);
  sendBA(pair);
  pair.settle();
  assert.is(pair.a.received.length, 1);
});

test('a response is good after 400 ms, and after 4.9 s', () => {
  for (const delayMs of [400, 4_900]) {
    const pair = tunnelPair();
    sendAB(pair);
    pair.advance(delayMs / 2);
    pair.deliver();
    pair.advance(delayMs / 2);
    pair.deliver();
    assert.equal(eventTypes(pair.a), ['handshake']);
    pair.settle();
    assert.is(pair.b.received.length, 1);
  }
});

test('when both sides initiate at once both handshakes complete and packets flow both ways at once', () => {
  const pair = tunnelPair({ bPeer: { endpoint: A_ENDPOINT } });
  sendAB(pair);
  sendBA(pair);
  assert.equal(types(pair.flight), [1, 1]);
  pair.settle();
  assert.equal(pair.a.received, [packet(B, A)]);
  assert.equal(pair.b.received, [packet(A, B)]);
  for (let i = 0; i < 5; i++) {
    assert.ok(sendAB(pair) > 0);
    assert.ok(sendBA(pair) > 0);
  }
  pair.settle();
  assert.is(pair.a.received.length, 6);
  assert.is(pair.b.received.length, 6);
  assert.is(pair.a.machine.drops.total + pair.b.machine.drops.total, 0);
  pair.live(600_000);
  assert.is(pair.nextTimeout(), Number.POSITIVE_INFINITY, 'and they fall silent');
});

test('when both initiate at once, any order and loss of the four messages ends with a working tunnel', () => {
  for (let loss = 0; loss < 16; loss++) {
    for (const isReversed of [false, true]) {
      const pair = tunnelPair({ bPeer: { endpoint: A_ENDPOINT } });
      sendAB(pair);
      sendBA(pair);
      const initiations = pair.take().filter((_, i) => (loss & (1 << i)) === 0);
      pair.flight.push(...(isReversed ? initiations.reverse() : initiations));
      for (let left = initiations.length; left > 0; left--) pair.deliver();
      const responses = pair.take().filter((_, i) => (loss & (4 << i)) === 0);
      pair.flight.push(...(isReversed ? responses.reverse() : responses));
      pair.live(6_000);
      sendAB(pair);
      sendBA(pair);
      pair.live(6_000);
      const label = `loss ${loss}, reversed ${isReversed}`;
      assert.ok(pair.a.received.length >= 1, label);
      assert.ok(pair.b.received.length >= 1, label);
      assert.ok(pair.a.machine.peerStatus(0).hasSession && pair.b.machine.peerStatus(0).hasSession, label);
    }
  }
});

test('a replayed initiation is dropped, now and later', () => {
  const pair = tunnelPair();
  sendAB(pair);
  const initiation = pair.flight[0]!.bytes;
  pair.settle();
  assert.is(reason(pair.inject(pair.b, initiation, A_ENDPOINT)), 'wg-stale-timestamp');
  pair.advance(60_000);
  assert.is(reason(pair.inject(pair.b, initiation, A_ENDPOINT)), 'wg-stale-timestamp');
  pair.live(600_000);
  assert.is(pair.b.machine.activePeerCount, 0);
  assert.is(reason(pair.inject(pair.b, initiation, A_ENDPOINT)), 'wg-stale-timestamp', 'also when all keys are erased');
  assert.equal(pair.flight, []);
});

test('an initiation with an equal or an older timestamp is dropped, one tick later is accepted', () => {
  const b = tunnel(2);
  b.addPeer(START_MS, { publicKey: tunnel(1).publicKey, allowedIPs: [] });
  const take = (nowMs: number, tick: number, seed: number) => {
    const bytes = craftInitiation({ byte: 1, to: b.publicKey, tick, seed });
    return reason(b.decapsulate(nowMs, bytes, 0, 148, A_ENDPOINT));
  };
  assert.is(take(2_000, 1_000, 1), undefined);
  assert.is(take(3_000, 1_000, 2), 'wg-stale-timestamp');
  assert.is(take(3_000, 999, 3), 'wg-stale-timestamp');
  assert.is(take(3_000, 1_001, 4), undefined);
});

test('a second initiation is dropped until 19 ms after the first, and its timestamp is not kept', () => {
  const b = tunnel(2);
  b.addPeer(START_MS, { publicKey: tunnel(1).publicKey, allowedIPs: [] });
  const take = (nowMs: number, tick: number) => {
    const bytes = craftInitiation({ byte: 1, to: b.publicKey, tick });
    return reason(b.decapsulate(nowMs, bytes, 0, 148, A_ENDPOINT));
  };
  assert.is(take(2_000, 10), undefined);
  assert.is(take(2_000, 11), 'wg-flood');
  assert.is(take(2_019, 12), 'wg-flood');
  assert.is(take(2_020, 11), undefined);
});

test('a forged initiation with a late timestamp does not lock the true peer out', () => {
  const pair = tunnelPair();
  const tick = tickOf(START_UNIX_MS * 2);
  const forged = craftInitiation({ byte: 1, to: pair.b.machine.publicKey, tick });
  forged[100]! ^= 1;
  assert.is(
    reason(pair.inject(pair.b, withMacs(forged, pair.b.machine.publicKey), A_ENDPOINT)),
    'wg-handshake-decrypt',
  );
  assert.is(pair.b.machine.activePeerCount, 0, 'and leaves nothing behind');
  sendAB(pair);
  pair.settle();
  assert.is(pair.b.received.length, 1);
});

test('initiations of strangers, to others, and with a wrong mac1 are dropped for their reasons', () => {
  const pair = tunnelPair();
  const to = pair.b.machine.publicKey;
  const inject = (bytes: Uint8Array) => reason(pair.inject(pair.b, bytes, at('198.51.100.1:9')));
  assert.is(inject(craftInitiation({ byte: 9, to, tick: 1 })), 'wg-unknown-peer');
  assert.is(inject(craftInitiation({ byte: 2, to, tick: 1 })), 'wg-unknown-peer', 'our own key is no peer');
  assert.is(inject(craftInitiation({ byte: 1, to: tunnel(9).publicKey, tick: 1 })), 'wg-bad-mac1');
  const bad = craftInitiation({ byte: 1, to, tick: 1 });
  bad[120]! ^= 1;
  assert.is(inject(bad), 'wg-bad-mac1');
  const changed = craftInitiation({ byte: 1, to, tick: 1 });
  changed[60]! ^= 1;
  assert.is(inject(withMacs(changed, to)), 'wg-handshake-decrypt');
  const lowOrder = craftInitiation({ byte: 1, to, tick: 1 }).fill(0, 8, 40);
  assert.is(inject(withMacs(lowOrder, to)), 'wg-low-order-key');
  assert.equal(pair.flight, []);
  assert.is(pair.b.machine.drops.total, 6);
});

test('a peer key of low order is configured without harm and never shakes hands', () => {
  const pair = tunnelPair({ both: { suite: createNobleSuite() } });
  const id = pair.a.machine.addPeer(START_MS, {
    publicKey: new Uint8Array(32),
    endpoint: at('192.0.2.9:9'),
    allowedIPs: [prefix('10.0.0.9/32')],
  });
  assert.is(pair.send(pair.a, packet(A, '10.0.0.9')), 0);
  assert.equal(pair.flight, []);
  assert.is(pair.a.machine.drops.get('wg-low-order-key'), 1, 'the packet that waited');
  assert.is(pair.a.machine.peerStatus(id).stagedPackets, 0);

  // Its holder cannot prove to be it either: there is no secret to such a key, but anybody can claim it.
  const claim = craftInitiation({ byte: 1, to: pair.a.machine.publicKey, tick: 5, suite: lowOrderCaller() });
  assert.is(reason(pair.inject(pair.a, claim, A_ENDPOINT)), 'wg-low-order-key');
});

/** The real suite, but its public key is zero and so is what it agrees on with it. */
function lowOrderCaller() {
  const real = createNobleSuite();
  return Object.assign(Object.create(null), {
    hash: real.hash.bind(real),
    hmac: real.hmac.bind(real),
    mac: real.mac.bind(real),
    dh: real.dh.bind(real),
    aeadSeal: real.aeadSeal.bind(real),
    publicKey: (out: Uint8Array, secret: Uint8Array) =>
      secret.every(byte => byte === 1) ? out.fill(0) : real.publicKey(out, secret),
  });
}

test('different preshared keys make no session, and equal ones set later do', () => {
  const pair = tunnelPair({ aPeer: { presharedKey: repeated(1) }, bPeer: { presharedKey: repeated(2) } });
  sendAB(pair);
  pair.settle();
  assert.is(pair.a.machine.drops.get('wg-handshake-decrypt'), 1);
  assert.equal(eventTypes(pair.a), []);
  pair.b.machine.updatePeer(pair.nowMs, 0, { presharedKey: repeated(1) });
  pair.live(6_000);
  assert.is(pair.b.received.length, 1);
});

test('a changed preshared key is in force for the next handshake; the running session goes on', () => {
  const pair = connectedPair();
  pair.a.machine.updatePeer(pair.nowMs, 0, { presharedKey: repeated(7) });
  sendAB(pair);
  pair.settle();
  assert.is(pair.b.received.length, 2);
  pair.live(120_000);
  sendAB(pair);
  pair.settle();
  assert.is(pair.a.machine.drops.get('wg-handshake-decrypt'), 1, 'b still has the old one');
  pair.b.machine.updatePeer(pair.nowMs, 0, { presharedKey: repeated(7) });
  pair.live(6_000);
  assert.is(eventTypes(pair.b).filter(type => type === 'handshake').length, 2);
  assert.ok(pair.a.machine.peerStatus(0).hasPresharedKey);
  pair.a.machine.updatePeer(pair.nowMs, 0, { presharedKey: undefined });
  assert.not(pair.a.machine.peerStatus(0).hasPresharedKey);
});

test('a thousand handshakes in a row from different peers behind one address all work', () => {
  const server = tunnel(2);
  const slot = new Slot(1500);
  let answered = 0;
  for (let i = 0; i < 1000; i++) {
    const secret = repeated(1);
    secret.set([i & 0xff, i >> 8], 0);
    const client = new Tunnel({
      nowMs: START_MS,
      unixMs: START_UNIX_MS,
      random: seededRandom(i),
      suite: TOY,
      privateKey: SecretKey.fromBytes(secret),
    });
    client.addPeer(START_MS, { publicKey: server.publicKey, endpoint: B_ENDPOINT, allowedIPs: [] });
    server.addPeer(START_MS, { publicKey: client.publicKey, allowedIPs: [] });
    client.connect(START_MS, 0);
    client.pollTransmit(START_MS, slot);
    const from = { address: A_ENDPOINT.address, port: 1 + i };
    assert.is(server.decapsulate(START_MS, slot.buf, slot.start, slot.end, from), 0);
    assert.ok(server.pollTransmit(START_MS, slot));
    assert.equal(slot.to, from);
    if (client.decapsulate(START_MS, slot.buf, slot.start, slot.end, B_ENDPOINT) === 0) answered++;
  }
  assert.is(answered, 1000);
  assert.is(server.drops.total, 0);
  assert.is(server.activePeerCount, 1000);
});

test('a generator that fails lets no message leave, and nothing is broken when it works again', () => {
  let isBroken = false;
  const good = seededRandom(4);
  const random = (out: Uint8Array) => {
    if (isBroken) throw new Error('no entropy');
    good(out);
  };
  const pair = tunnelPair({ both: { random } });
  isBroken = true;
  assert.throws(() => sendAB(pair), /no entropy/);
  assert.equal(pair.flight, []);
  isBroken = false;
  pair.a.machine.connect(pair.nowMs, 0);
  pair.drain();
  assert.equal(types(pair.flight), [1]);
  isBroken = true;
  assert.throws(() => pair.deliver(), /no entropy/);
  assert.equal(pair.flight, []);
  isBroken = false;
  pair.live(6_000);
  assert.is(pair.b.received.length, 1);
});

test.run();
