/** Wall clocks that are wrong, jump, or start at 1970 after a reboot. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Slot } from '../../lib/base/slot.ts';
import { readTimestamp, tickOf } from '../../lib/wireguard/tai64n.ts';
import type { Tunnel, TunnelEvent } from '../../lib/wireguard/tunnel.ts';
import { Pair, Side } from '../sim/pair.ts';
import {
  A,
  A_ENDPOINT,
  B,
  B_ENDPOINT,
  connectedPair,
  eventTypes,
  packet,
  prefix,
  seededRandom,
  sendAB,
  START_MS,
  START_UNIX_MS,
  type TunnelPair,
  type TunnelSide,
  tunnel,
  tunnelPair,
} from './support.ts';

const test = suite('tunnel clocks');
const HOUR_MS = 3_600_000;

/** The floor that a side's driver would have in its store: that of the last event. */
function storedFloor(side: TunnelSide): Uint8Array | undefined {
  const floors = side.events
    .filter(event => event.type === 'timestamp')
    .map(event => (event as { floor: Uint8Array }).floor);
  return floors.at(-1);
}

/** Starts `a` anew, as after a power cut: same key, nothing kept but the floor. */
function reboot(pair: TunnelPair, unixMs: number, timestampFloor: Uint8Array | undefined): void {
  const machine = tunnel(1, {
    nowMs: pair.nowMs,
    unixMs,
    random: seededRandom(unixMs + 99),
    ...(timestampFloor === undefined ? {} : { timestampFloor }),
  });
  machine.addPeer(pair.nowMs, {
    publicKey: pair.b.machine.publicKey,
    endpoint: B_ENDPOINT,
    allowedIPs: [prefix(`${B}/32`)],
  });
  pair.a.machine = machine;
  pair.flight.length = 0;
}

/** Whether a packet from `a` arrives at once, with a new handshake. */
function connects(pair: TunnelPair): boolean {
  const before = pair.b.received.length;
  sendAB(pair);
  pair.settle();
  return pair.b.received.length === before + 1;
}

test('after a reboot with the clock at 1970 it connects, again and again', () => {
  const pair = connectedPair();
  for (let i = 0; i < 5; i++) {
    pair.live(30_000);
    reboot(pair, i * 1000, storedFloor(pair.a));
    assert.ok(connects(pair), `reboot ${i}`);
    pair.live(200_000);
    assert.ok(connects(pair), `a second handshake after reboot ${i}`);
  }
});

test('without the stored floor such a reboot is locked out, so the test above proves something', () => {
  const pair = connectedPair();
  pair.live(30_000);
  reboot(pair, 0, undefined);
  assert.not(connects(pair));
  assert.is(pair.b.machine.drops.get('wg-stale-timestamp'), 1);
});

test('after a reboot with the right clock it connects, also seconds after the last handshake', () => {
  const pair = connectedPair();
  pair.advance(1_000);
  reboot(pair, START_UNIX_MS + 1_000, storedFloor(pair.a));
  assert.ok(connects(pair));
});

test('a floor is stored before any initiation above the one before it leaves', () => {
  const pair = tunnelPair();
  const { machine } = pair.a;
  const slot = new Slot(1500);
  let floor = -1;
  let floors = 0;
  for (let minute = 0; minute < 600; minute += 4) {
    const nowMs = START_MS + minute * 60_000;
    machine.handleTimeout(nowMs);
    machine.connect(nowMs, 0);
    let initiations = 0;
    while (machine.pollTransmit(nowMs, slot)) {
      for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
        if (event.type !== 'timestamp') continue;
        floor = readTimestamp(event.floor);
        floors++;
      }
      initiations++;
      // The stamp is sealed in the message; what it can be at most is known from the clock.
      assert.ok(tickOf(START_UNIX_MS + minute * 60_000) <= floor);
    }
    assert.is(initiations, 1);
  }
  assert.ok(floors >= 9 && floors <= 11, `${floors} writes in ten hours`);
});

for (const stepMs of [-HOUR_MS, HOUR_MS, -20 * 365 * 24 * HOUR_MS]) {
  test(`the wall clock may step by ${stepMs / HOUR_MS} hours and handshakes go on`, () => {
    const pair = connectedPair();
    for (let i = 0; i < 4; i++) {
      pair.live(200_000);
      pair.a.machine.setWallClock(pair.nowMs, START_UNIX_MS + (i % 2 === 0 ? stepMs : 0));
      assert.ok(connects(pair), `step ${i}`);
    }
    assert.is(pair.b.machine.drops.total, 0);
  });
}

test('a peer that was idle and forgotten is not sent an equal timestamp, with a wall clock that stands still', () => {
  const pair = connectedPair();
  for (let i = 0; i < 3; i++) {
    pair.live(600_000);
    assert.is(pair.a.machine.activePeerCount, 0);
    pair.a.machine.setWallClock(pair.nowMs, 0);
    assert.ok(connects(pair), `round ${i}`);
  }
});

test('a peer that is removed and added again is not sent an equal timestamp', () => {
  const pair = connectedPair();
  const publicKey = pair.b.machine.publicKey;
  for (let i = 0; i < 3; i++) {
    pair.advance(25);
    pair.take();
    pair.a.machine.setWallClock(pair.nowMs, 0);
    pair.a.machine.removePeer(pair.nowMs, 0);
    pair.a.machine.addPeer(pair.nowMs, { publicKey, endpoint: B_ENDPOINT, allowedIPs: [prefix(`${B}/32`)] });
    assert.ok(connects(pair), `round ${i}`);
  }
});

test('the monotonic clock may be far from zero and have fractions', () => {
  const nowMs = 1e12 + 0.25;
  const [a, b] = [tunnel(1, { nowMs }), tunnel(2, { nowMs })];
  a.addPeer(nowMs, { publicKey: b.publicKey, endpoint: B_ENDPOINT, allowedIPs: [prefix(`${B}/32`)] });
  b.addPeer(nowMs, { publicKey: a.publicKey, allowedIPs: [prefix(`${A}/32`)] });
  const pair = new Pair<Tunnel, TunnelEvent>(
    nowMs,
    new Side<Tunnel, TunnelEvent>(a, A_ENDPOINT),
    new Side<Tunnel, TunnelEvent>(b, B_ENDPOINT),
  );
  pair.send(pair.a, packet(A, B));
  pair.settle();
  assert.is(pair.b.received.length, 1);
  pair.live(1_000_000.5);
  assert.is(pair.nextTimeout(), Number.POSITIVE_INFINITY);
  assert.is(eventTypes(pair.a).includes('session-expired'), true);
});

test('the time of the last handshake is told by the wall clock', () => {
  const pair = tunnelPair();
  assert.is(pair.a.machine.peerStatus(0).lastHandshakeUnixMs, undefined);
  pair.advance(1_234);
  sendAB(pair);
  pair.settle();
  assert.is(pair.a.machine.peerStatus(0).lastHandshakeUnixMs, START_UNIX_MS + 1_234);
});

test.run();
