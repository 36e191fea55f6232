/** Every timer of a tunnel: 1 ms before its deadline nothing happens, at the deadline it acts. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isAllZero } from '../../lib/base/bytes.ts';
import {
  A_ENDPOINT,
  B_ENDPOINT,
  connectedPair,
  craftInitiation,
  eventTypes,
  reason,
  seededRandom,
  sendAB,
  sendBA,
  START_MS,
  type TunnelPair,
  tunnelPair,
  types,
} from './support.ts';

const test = suite('tunnel timers');
const NEVER = Number.POSITIVE_INFINITY;

/** Lets time pass to `ms` after the start of the story; what is sent stays on its way. */
function goTo(pair: TunnelPair, ms: number): void {
  pair.advance(START_MS + ms - pair.nowMs);
}

/** What leaves until the millisecond before `ms` after the start, and what at `ms`. All of it is delivered. */
function around(pair: TunnelPair, ms: number): [number[], number[]] {
  goTo(pair, ms - 1);
  const before = types(pair.flight);
  pair.settle();
  goTo(pair, ms);
  const then = types(pair.flight);
  pair.settle();
  return [before, then];
}

/** The same, and all of it is lost. */
function aroundLost(pair: TunnelPair, ms: number): [number[], number[]] {
  goTo(pair, ms - 1);
  const before = types(pair.take());
  goTo(pair, ms);
  return [before, types(pair.take())];
}

test('an unanswered initiation is repeated after 5 s and a jitter of at most 333 ms', () => {
  const waits: number[] = [];
  for (let seed = 1; seed <= 40; seed++) {
    const pair = tunnelPair({ a: { random: seededRandom(seed) } });
    sendAB(pair);
    pair.take();
    const deadline = pair.nextTimeout() - START_MS;
    assert.ok(deadline >= 5_000 && deadline <= 5_333, String(deadline));
    assert.equal(aroundLost(pair, deadline), [[], [1]]);
    waits.push(deadline);
  }
  assert.ok(Math.max(...waits) - Math.min(...waits) > 200, 'the jitter spreads');
});

test('the jitter is drawn when the timer is armed, so each wait is another', () => {
  const pair = tunnelPair();
  sendAB(pair);
  const waits = new Set<number>();
  for (let i = 0; i < 15; i++) {
    const from = pair.nowMs;
    assert.is(pair.nextTimeout(), pair.nextTimeout());
    pair.advance(pair.nextTimeout() - from);
    waits.add(pair.nowMs - from);
  }
  assert.ok(waits.size > 10);
});

test('after 20 initiations it gives up, drops what waits and says so; new traffic starts anew', () => {
  const pair = tunnelPair();
  sendAB(pair);
  sendAB(pair);
  let initiations = 1;
  pair.take();
  while (eventTypes(pair.a).length === 0) {
    assert.is(pair.a.machine.peerStatus(0).stagedPackets, 2);
    pair.advance(pair.nextTimeout() - pair.nowMs);
    initiations += pair.take().length;
  }
  assert.equal(eventTypes(pair.a), ['gave-up']);
  assert.is(initiations, 20);
  const elapsed = pair.nowMs - START_MS;
  assert.ok(elapsed >= 20 * 5_000 && elapsed <= 20 * 5_333, String(elapsed));
  assert.is(pair.a.machine.drops.get('wg-gave-up'), 2);
  assert.is(pair.a.machine.peerStatus(0).stagedPackets, 0);
  pair.advance(60_000);
  assert.equal(pair.take(), []);
  assert.is(sendAB(pair), 0);
  assert.equal(types(pair.flight), [1]);
  pair.settle();
  assert.is(pair.b.received.length, 1, 'the peer is back');
});

test('new traffic while initiations are repeated starts the count anew', () => {
  const pair = tunnelPair();
  sendAB(pair);
  for (let minute = 1; minute <= 5; minute++) {
    pair.advance(60_000);
    sendAB(pair);
  }
  assert.equal(eventTypes(pair.a), []);
  pair.take();
  pair.advance(90_000);
  assert.equal(eventTypes(pair.a), []);
  pair.advance(20_000);
  assert.equal(eventTypes(pair.a), ['gave-up']);
});

test('traffic does not start a second initiation within 5 s', () => {
  const pair = tunnelPair();
  sendAB(pair);
  pair.take();
  for (let ms = 100; ms < 5_000; ms += 100) {
    goTo(pair, ms);
    sendAB(pair);
    assert.equal(pair.take(), [], `at ${ms}`);
  }
});

test('no initiation leaves within 5 s of a response either, but one does when the confirmation never comes', () => {
  const pair = tunnelPair({ bPeer: { endpoint: A_ENDPOINT } });
  sendAB(pair);
  pair.deliver();
  pair.take();
  sendBA(pair);
  assert.equal(pair.take(), []);
  const deadline = pair.b.machine.nextTimeout() - START_MS;
  assert.ok(deadline >= 5_000 && deadline <= 5_333);
  const fromB = (flight: ReturnType<TunnelPair['take']>) =>
    types(flight.filter(({ from }) => from === pair.b.endpoint));
  goTo(pair, deadline - 1);
  assert.equal(fromB(pair.take()), []);
  goTo(pair, deadline);
  assert.equal(fromB(pair.take()), [1]);
});

test('received data that nothing answers is answered by one keepalive after exactly 10 s', () => {
  const pair = connectedPair();
  assert.equal(around(pair, 10_000), [[], [0]]);
  pair.advance(50_000);
  assert.equal(pair.take(), []);
});

test('data sent in the meantime is answer enough', () => {
  const pair = connectedPair();
  goTo(pair, 9_999);
  sendBA(pair);
  pair.settle();
  goTo(pair, 19_998);
  assert.equal(pair.take(), []);
  goTo(pair, 19_999);
  assert.equal(
    pair.take().map(({ from }) => from),
    [A_ENDPOINT],
    'only the answer to that data',
  );
});

test('data that comes while a keepalive is due earns a second one 10 s later', () => {
  const pair = connectedPair();
  goTo(pair, 4_000);
  sendAB(pair);
  pair.settle();
  assert.equal(around(pair, 10_000), [[], [0]]);
  assert.equal(around(pair, 20_000), [[], [0]]);
  pair.advance(20_000);
  assert.equal(pair.take(), []);
});

test('a keepalive is not answered by a keepalive', () => {
  const pair = tunnelPair();
  pair.a.machine.connect(pair.nowMs, 0);
  pair.drain();
  pair.settle();
  pair.live(100_000);
  assert.equal(pair.a.machine.peerStatus(0).rxBytes, 92);
  assert.equal(pair.b.machine.peerStatus(0).rxBytes, 148 + 32);
});

test('two idle peers exchange nothing but the one keepalive that answers the last data', () => {
  const pair = connectedPair();
  sendBA(pair);
  pair.settle();
  const before = pair.a.machine.peerStatus(0);
  pair.live(1_000_000);
  const after = pair.a.machine.peerStatus(0);
  assert.is(after.txBytes - before.txBytes, 32);
  assert.is(after.rxBytes - before.rxBytes, 0);
  assert.is(pair.nextTimeout(), NEVER);
});

test('data that nothing answers for 15 s and a jitter starts a handshake', () => {
  const waits = new Set<number>();
  for (let seed = 1; seed <= 20; seed++) {
    const pair = connectedPair({ a: { random: seededRandom(seed) } });
    sendBA(pair);
    pair.settle();
    sendAB(pair);
    pair.take();
    const deadline = pair.a.machine.nextTimeout() - START_MS;
    assert.ok(deadline >= 15_000 && deadline <= 15_333, String(deadline));
    assert.equal(aroundLost(pair, deadline), [[], [1]]);
    waits.add(deadline);
  }
  assert.ok(waits.size > 5, 'with jitter');
});

test('any authenticated packet counts as an answer: data, a keepalive, a handshake message', () => {
  const answers: ((pair: TunnelPair) => void)[] = [
    pair => sendBA(pair),
    pair => pair.advance(10_000),
    pair => {
      pair.b.machine.connect(pair.nowMs, 0);
      pair.drain();
    },
  ];
  for (const [i, answer] of answers.entries()) {
    const pair = connectedPair();
    if (i === 2) {
      // A peer that has lost its session initiates.
      pair.b.machine.removePeer(pair.nowMs, 0);
      const publicKey = pair.a.machine.publicKey;
      pair.b.machine.addPeer(pair.nowMs, { publicKey, endpoint: A_ENDPOINT, allowedIPs: [] });
      sendAB(pair);
      pair.take();
    }
    answer(pair);
    const [first] = pair.take();
    pair.inject(pair.a, first!.bytes, B_ENDPOINT);
    pair.take();
    goTo(pair, 16_000);
    const fromA = pair.take().filter(({ from }) => from === pair.a.endpoint);
    assert.not(types(fromA).includes(1), `answer ${i}`);
  }
});

test('the initiator renews a session when it sends at 120 s, not 1 ms before', () => {
  const pair = connectedPair();
  goTo(pair, 119_999);
  pair.take();
  sendAB(pair);
  assert.equal(types(pair.take()), [4]);
  goTo(pair, 120_000);
  sendAB(pair);
  assert.equal(types(pair.flight), [4, 1]);
  pair.settle();
  assert.is(eventTypes(pair.a).filter(type => type === 'handshake').length, 2);
  sendAB(pair);
  assert.equal(types(pair.take()), [4], 'once');
});

test('the initiator renews when it sends a keepalive at 120 s as well', () => {
  const pair = tunnelPair({ aPeer: { persistentKeepaliveMs: 60_000 } });
  pair.settle();
  pair.live(60_000);
  pair.take();
  assert.equal(around(pair, 120_000), [[], [0, 1]]);
});

test('the responder never renews by age', () => {
  const pair = connectedPair();
  for (const ms of [120_000, 150_000, 179_999]) {
    goTo(pair, ms);
    pair.take();
    sendBA(pair);
    assert.equal(types(pair.take()), [4], `at ${ms}`);
  }
});

test('the initiator that only receives renews at 165 s, once', () => {
  const pair = connectedPair();
  const receive = (ms: number) => {
    goTo(pair, ms);
    pair.take();
    sendBA(pair);
    const [data] = pair.take();
    pair.inject(pair.a, data!.bytes, B_ENDPOINT);
    return types(pair.take());
  };
  assert.equal(receive(164_999), []);
  assert.equal(receive(165_000), [1]);
  assert.equal(receive(165_001), []);
});

test('the responder that only receives does not renew', () => {
  const pair = connectedPair();
  goTo(pair, 110_000);
  sendAB(pair);
  const data = pair.take().at(-1)!;
  goTo(pair, 170_000);
  pair.take();
  assert.ok(pair.inject(pair.b, data.bytes, A_ENDPOINT) > 0);
  assert.equal(types(pair.take()), []);
});

test('a session stops sending at 180 s: packets wait for a new one', () => {
  const pair = connectedPair();
  goTo(pair, 179_999);
  pair.take();
  assert.ok(sendBA(pair) > 0);
  goTo(pair, 180_000);
  pair.take();
  assert.is(sendBA(pair), 0);
  assert.equal(types(pair.flight), [1]);
  pair.settle();
  assert.is(pair.a.received.length, 1);
});

test('a session stops receiving at 180 s, whether or not a timer has run', () => {
  const pair = connectedPair();
  pair.live(110_000);
  sendAB(pair);
  sendAB(pair);
  const [first, second] = pair.take();
  pair.nowMs = START_MS + 179_999;
  assert.ok(pair.inject(pair.b, first!.bytes, A_ENDPOINT) > 0);
  pair.nowMs = START_MS + 180_000;
  assert.is(reason(pair.inject(pair.b, second!.bytes, A_ENDPOINT)), 'wg-session-expired');
});

test('after a long sleep old keys are refused before any timer has run', () => {
  const pair = connectedPair();
  sendAB(pair);
  const [data] = pair.take();
  pair.nowMs += 3_600_000;
  assert.is(reason(pair.inject(pair.b, data!.bytes, A_ENDPOINT)), 'wg-session-expired');
  assert.is(sendAB(pair), 0);
  assert.equal(types(pair.flight), [1]);
  pair.settle();
  assert.is(pair.b.received.length, 2);
});

test('the end of a session is announced at 180 s, once, and not when another has taken its place', () => {
  const pair = connectedPair();
  const expired = () => eventTypes(pair.a).filter(type => type === 'session-expired').length;
  goTo(pair, 130_000);
  pair.take();
  sendAB(pair);
  pair.settle();
  goTo(pair, 130_000 + 179_999);
  assert.is(expired(), 0);
  goTo(pair, 130_000 + 180_000);
  assert.is(expired(), 1);
  goTo(pair, 2_000_000);
  assert.is(expired(), 1);
});

test('keys are erased 540 s after the last new session, on both sides', () => {
  const pair = connectedPair();
  sendBA(pair);
  pair.settle();
  for (const side of [pair.a, pair.b]) {
    goTo(pair, 539_999);
    assert.is(side.machine.activePeerCount, 1);
  }
  goTo(pair, 540_000);
  for (const side of [pair.a, pair.b]) assert.is(side.machine.activePeerCount, 0);
  assert.is(pair.nextTimeout(), NEVER);
});

test('a new session puts the erasure off', () => {
  const pair = connectedPair();
  goTo(pair, 300_000);
  pair.take();
  sendAB(pair);
  pair.settle();
  goTo(pair, 540_000 + 299_999);
  assert.is(pair.a.machine.activePeerCount, 1);
  goTo(pair, 540_000 + 300_000);
  assert.is(pair.a.machine.activePeerCount, 0);
});

test('a handshake that is being tried when keys are erased goes on', () => {
  const pair = connectedPair();
  sendBA(pair);
  pair.settle();
  goTo(pair, 539_900);
  pair.take();
  sendAB(pair);
  goTo(pair, 540_100);
  pair.settle();
  assert.is(pair.b.received.length, 2);
});

test('handshakes that were given up are erased 540 s later', () => {
  const pair = tunnelPair();
  sendAB(pair);
  while (eventTypes(pair.a).length === 0) pair.advance(pair.nextTimeout() - pair.nowMs);
  pair.take();
  const gaveUpMs = pair.nowMs - START_MS;
  goTo(pair, gaveUpMs + 539_999);
  assert.is(pair.a.machine.activePeerCount, 1);
  goTo(pair, gaveUpMs + 540_000);
  assert.is(pair.a.machine.activePeerCount, 0);
  assert.equal(pair.take(), []);
});

test('a persistent keepalive starts at once, with a handshake, and goes on at its interval', () => {
  const pair = tunnelPair({ aPeer: { persistentKeepaliveMs: 25_000 } });
  assert.equal(types(pair.flight), [1]);
  pair.settle();
  assert.equal(around(pair, 25_000), [[], [0]]);
  assert.equal(around(pair, 50_000), [[], [0]]);
});

test('any authenticated packet, sent or received, puts the persistent keepalive off', () => {
  const pair = tunnelPair({ aPeer: { persistentKeepaliveMs: 25_000 } });
  pair.settle();
  goTo(pair, 20_000);
  sendAB(pair);
  pair.settle();
  goTo(pair, 30_000);
  pair.settle();
  goTo(pair, 40_000);
  pair.take();
  sendBA(pair);
  pair.settle();
  // 50,000: a's answer to that data; 75,000: 25 s after it.
  assert.equal(around(pair, 50_000), [[], [0]]);
  assert.equal(around(pair, 75_000), [[], [0]]);
});

test('a persistent keepalive renews the session for ever and tries again after giving up', () => {
  const pair = tunnelPair({ aPeer: { persistentKeepaliveMs: 25_000 } });
  pair.live(1_000_000);
  assert.ok(eventTypes(pair.a).filter(type => type === 'handshake').length >= 6);
  assert.ok(pair.a.machine.peerStatus(0).hasSession);
  assert.not(eventTypes(pair.a).includes('session-expired'));
  pair.advance(400_000);
  assert.ok(eventTypes(pair.a).includes('gave-up'));
  pair.take();
  pair.advance(30_000);
  assert.ok(types(pair.take()).includes(1));
  pair.live(30_000);
  assert.ok(pair.a.machine.peerStatus(0).hasSession);
});

test('a persistent keepalive can be switched on, changed and off while running', () => {
  const pair = connectedPair();
  pair.live(20_000);
  pair.a.machine.updatePeer(pair.nowMs, 0, { persistentKeepaliveMs: 5_000 });
  pair.drain();
  assert.equal(types(pair.flight), [0], 'at once');
  pair.settle();
  const from = pair.nowMs - START_MS;
  assert.equal(around(pair, from + 5_000), [[], [0]]);
  pair.a.machine.updatePeer(pair.nowMs, 0, { persistentKeepaliveMs: 0 });
  pair.advance(60_000);
  assert.equal(pair.take(), []);
  assert.is(pair.a.machine.peerStatus(0).persistentKeepaliveMs, 0);
});

test('a cookie serves until 1 ms before 120 s and is forgotten at 120 s', () => {
  for (const [ms, isShown] of [
    [119_999, true],
    [120_000, false],
  ] as const) {
    const pair = tunnelPair({ b: { limits: { handshakeBurst: 1, handshakesPerSecond: 0 } } });
    // The only handshake that b will do without a cookie is used up by somebody else.
    pair.b.machine.decapsulate(START_MS, otherInitiation(pair), 0, 148, B_ENDPOINT);
    sendAB(pair);
    pair.deliver();
    assert.equal(types(pair.flight), [3]);
    pair.deliver();
    while (eventTypes(pair.a).length === 0) pair.advance(pair.nextTimeout() - pair.nowMs);
    pair.take();
    goTo(pair, ms);
    sendAB(pair);
    const [initiation] = pair.take();
    assert.is(!isAllZero(initiation!.bytes.subarray(132)), isShown, `at ${ms}`);
  }
});

function otherInitiation(pair: TunnelPair): Uint8Array {
  return craftInitiation({ byte: 9, to: pair.b.machine.publicKey, tick: 1 });
}

test('time that goes back stands still, and does no harm', () => {
  const pair = connectedPair();
  pair.nowMs -= 3_600_000;
  assert.ok(sendAB(pair) > 0);
  pair.settle();
  assert.is(pair.b.received.length, 2);
  pair.a.machine.handleTimeout(pair.nowMs);
  assert.equal(pair.take(), []);
  pair.nowMs += 3_600_000 + 10_000;
  pair.advance(0);
  assert.equal(types(pair.take()), [0]);
});

test('early, late and repeated timeouts are harmless', () => {
  const pair = connectedPair();
  for (let i = 0; i < 100; i++) pair.b.machine.handleTimeout(START_MS + i);
  pair.drain();
  assert.equal(pair.flight, []);
  // Two hours late: every timer is due at once, and none is due for ever.
  pair.nowMs += 7_200_000;
  pair.a.machine.handleTimeout(pair.nowMs);
  pair.b.machine.handleTimeout(pair.nowMs);
  assert.is(pair.nextTimeout(), NEVER);
});

test('ten thousand idle peers have no timer, and a busy one among them has its own', () => {
  const pair = connectedPair();
  const key = new Uint8Array(32);
  const random = seededRandom(3);
  for (let i = 0; i < 10_000; i++) {
    random(key);
    pair.a.machine.addPeer(pair.nowMs, { publicKey: key, endpoint: B_ENDPOINT, allowedIPs: [] });
  }
  assert.is(pair.a.machine.activePeerCount, 1);
  sendBA(pair);
  pair.settle();
  assert.is(pair.a.machine.nextTimeout(), START_MS + 10_000);
});

test.run();
