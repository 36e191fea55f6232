/** Cookies and floods, between whole tunnels. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Endpoint } from '../../lib/base/address.ts';
import { isAllZero } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import { openCookieReply } from '../../lib/wireguard/mac.ts';
import type { Tunnel } from '../../lib/wireguard/tunnel.ts';
import {
  A_ENDPOINT,
  at,
  B_ENDPOINT,
  craftInitiation,
  createToySuite,
  eventTypes,
  reason,
  repeated,
  seededRandom,
  sendAB,
  sendBA,
  START_MS,
  tunnel,
  tunnelPair,
  types,
  withMacs,
} from './support.ts';

const test = suite('tunnel cookies');
/** Ten handshakes, five of them in calm, and no more for a long time. */
const TIGHT = { handshakeBurst: 10, handshakesPerSecond: 0 };
const toy = createToySuite();

/** Junk with a right mac1: what anybody who knows the public key can send. */
function junk(to: Tunnel, seed: number): Uint8Array {
  const bytes = new Uint8Array(148);
  seededRandom(seed)(bytes);
  bytes.set([1, 0, 0, 0]);
  return withMacs(bytes, to.publicKey);
}

/** Floods a tunnel; returns how often each reason occurred. */
function flood(target: Tunnel, count: number, from: (i: number) => Endpoint, nowMs = START_MS): Map<string, number> {
  const bytes = junk(target, 1);
  const tally = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const name = reason(target.decapsulate(nowMs, bytes.slice(), 0, 148, from(i)))!;
    tally.set(name, (tally.get(name) ?? 0) + 1);
  }
  return tally;
}

/** Takes the cookie replies that a flood has earned. */
function discard(target: Tunnel): void {
  const slot = new Slot(1500);
  while (target.pollTransmit(START_MS, slot));
}

const manySources = (i: number): Endpoint => ({
  address: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`,
  port: 9,
});
const oneSource = (): Endpoint => at('203.0.113.1:9');

test('under load an initiation is answered by a cookie and nothing else; the retry with it gets through', () => {
  const pair = tunnelPair({ b: { limits: TIGHT } });
  flood(pair.b.machine, 10, manySources);
  assert.ok(pair.b.machine.isUnderLoad(START_MS));
  sendAB(pair);
  assert.ok(isAllZero(pair.flight[0]!.bytes.subarray(132)));
  assert.is(reason(pair.deliver()), 'wg-cookie-required');
  assert.equal(types(pair.flight), [3]);
  assert.equal(pair.flight[0]!.to, A_ENDPOINT);
  assert.is(pair.deliver(), 0);
  assert.equal(pair.flight, [], 'the cookie does not hurry the retry');
  pair.advance(5_333);
  const [retry] = pair.flight;
  assert.not(isAllZero(retry!.bytes.subarray(132)));
  pair.settle();
  assert.is(pair.b.received.length, 1);
});

test('a flood from one source does not make its neighbours show cookies', () => {
  const pair = tunnelPair({ b: { limits: { handshakeBurst: 40, handshakesPerSecond: 20 } } });
  const tally = flood(pair.b.machine, 1_000, oneSource);
  assert.is(tally.get('wg-handshake-decrypt'), 25);
  assert.is(tally.get('wg-cookie-required'), 975);
  assert.ok(pair.b.machine.isUnderLoad(START_MS));
  discard(pair.b.machine);
  sendAB(pair);
  pair.settle();
  assert.is(pair.b.received.length, 1);
  assert.is(pair.a.machine.drops.total, 0);
});

test('a cookie for one port is not valid for another', () => {
  const target = tunnel(2, { limits: TIGHT });
  target.addPeer(START_MS, { publicKey: tunnel(1).publicKey, allowedIPs: [] });
  flood(target, 10, manySources);
  const first = craftInitiation({ byte: 1, to: target.publicKey, tick: 1 });
  const slot = new Slot(1500);
  assert.is(reason(target.decapsulate(START_MS, first.slice(), 0, 148, at('192.0.2.1:1001'))), 'wg-cookie-required');
  assert.ok(target.pollTransmit(START_MS, slot));
  const cookie = openCookieReply(toy, slot.buf, slot.start, target.publicKey, first.slice(116, 132))!;
  const retry = craftInitiation({ byte: 1, to: target.publicKey, tick: 2, cookie });
  assert.is(reason(target.decapsulate(START_MS, retry.slice(), 0, 148, at('192.0.2.1:1002'))), 'wg-cookie-required');
  assert.is(reason(target.decapsulate(START_MS, retry.slice(), 0, 148, at('192.0.2.9:1001'))), 'wg-cookie-required');
  assert.is(target.decapsulate(START_MS, retry.slice(), 0, 148, at('192.0.2.1:1001')), 0);
});

test('a cookie older than the secret behind it is refused', () => {
  const target = tunnel(2, { limits: TIGHT });
  flood(target, 10, manySources);
  const first = craftInitiation({ byte: 1, to: target.publicKey, tick: 1 });
  const slot = new Slot(1500);
  target.decapsulate(START_MS, first.slice(), 0, 148, A_ENDPOINT);
  target.pollTransmit(START_MS, slot);
  const cookie = openCookieReply(toy, slot.buf, slot.start, target.publicKey, first.slice(116, 132))!;
  const retry = craftInitiation({ byte: 1, to: target.publicKey, tick: 2, cookie });
  const take = (nowMs: number) => reason(target.decapsulate(nowMs, retry.slice(), 0, 148, A_ENDPOINT));
  assert.is(take(START_MS + 119_999), 'wg-unknown-peer', 'it went on to the handshake');
  assert.is(take(START_MS + 120_000), 'wg-cookie-required');
});

test('the total of handshakes is bounded even if every source shows a cookie', () => {
  const target = tunnel(2, { limits: TIGHT });
  const slot = new Slot(1500);
  flood(target, 10, manySources);
  const refused: string[] = [];
  for (let i = 0; i < 20; i++) {
    const other = { address: `198.51.${i}.1`, port: 5 };
    const first = junk(target, i);
    target.decapsulate(START_MS, first.slice(), 0, 148, other);
    target.pollTransmit(START_MS, slot);
    const cookie = openCookieReply(toy, slot.buf, slot.start, target.publicKey, first.slice(116, 132))!;
    refused.push(reason(target.decapsulate(START_MS, withMacs(first, target.publicKey, cookie), 0, 148, other))!);
  }
  assert.equal(refused, [...new Array(5).fill('wg-handshake-decrypt'), ...new Array(15).fill('wg-rate-limited')]);
});

test('a response is asked for a cookie as well, and the responder shows it in its next response', () => {
  const pair = tunnelPair({ a: { limits: TIGHT }, bPeer: { endpoint: A_ENDPOINT } });
  flood(pair.a.machine, 10, manySources);
  discard(pair.a.machine);
  sendAB(pair);
  pair.deliver();
  assert.equal(types(pair.flight), [2]);
  assert.is(reason(pair.deliver()), 'wg-cookie-required');
  assert.equal(types(pair.flight), [3]);
  assert.is(pair.deliver(), 0);
  pair.advance(5_333);
  assert.equal(types(pair.flight), [1]);
  pair.deliver();
  assert.equal(types(pair.flight), [2]);
  assert.not(isAllZero(pair.flight[0]!.bytes.subarray(76)));
  pair.settle();
  assert.is(pair.b.received.length, 1);
  assert.equal(eventTypes(pair.a), ['handshake']);
});

test('a cookie reply is taken once per message, only by whom it is for, and only if it is authentic', () => {
  const pair = tunnelPair({ b: { limits: TIGHT } });
  flood(pair.b.machine, 10, manySources);
  discard(pair.b.machine);
  sendAB(pair);
  pair.deliver();
  const [reply] = pair.take();
  const inject = (change: (bytes: Uint8Array) => void) => {
    const bytes = reply!.bytes.slice();
    change(bytes);
    return reason(pair.inject(pair.a, bytes, B_ENDPOINT));
  };
  assert.is(
    inject(bytes => (bytes[4]! ^= 1)),
    'wg-unknown-receiver',
  );
  assert.is(
    inject(bytes => (bytes[50]! ^= 1)),
    'wg-cookie-decrypt',
  );
  assert.is(
    inject(() => {}),
    undefined,
  );
  assert.is(
    inject(() => {}),
    'wg-unexpected-cookie',
  );
});

test('a cookie reply does not move the endpoint and is no sign of life', () => {
  const pair = tunnelPair({ b: { limits: TIGHT } });
  flood(pair.b.machine, 10, manySources);
  discard(pair.b.machine);
  sendAB(pair);
  pair.deliver();
  const [reply] = pair.take();
  assert.is(pair.inject(pair.a, reply!.bytes, at('203.0.113.66:66')), 0);
  assert.equal(pair.a.machine.peerStatus(0).endpoint, B_ENDPOINT);
  assert.equal(eventTypes(pair.a), []);
  assert.is(pair.a.machine.peerStatus(0).rxBytes, 0);
});

test('cookie replies that nobody fetches are bounded', () => {
  const target = tunnel(2, { limits: { ...TIGHT, cookieReplies: 3 } });
  flood(target, 100, manySources);
  const slot = new Slot(1500);
  let replies = 0;
  while (target.pollTransmit(START_MS, slot)) replies++;
  assert.is(replies, 3);
});

test('a wrong mac1 earns nothing, not even a cookie, and counts for no load', () => {
  const target = tunnel(2, { limits: TIGHT });
  for (let i = 0; i < 100; i++) {
    const bytes = junk(target, i);
    bytes[130]! ^= 1;
    assert.is(reason(target.decapsulate(START_MS, bytes, 0, 148, oneSource())), 'wg-bad-mac1');
  }
  assert.not(target.isUnderLoad(START_MS));
  assert.not(target.pollTransmit(START_MS, new Slot(1500)));
});

test('a response with a wrong mac1 or for nobody costs no handshake', () => {
  const pair = tunnelPair({ a: { limits: TIGHT } });
  sendAB(pair);
  pair.deliver();
  const [response] = pair.take();
  for (let i = 0; i < 100; i++) {
    const bytes = response!.bytes.slice();
    bytes[65]! ^= 1;
    assert.is(reason(pair.inject(pair.a, bytes, B_ENDPOINT)), 'wg-bad-mac1');
    const stray = response!.bytes.slice();
    stray[8]! ^= 1;
    const forged = withMacs(stray, pair.a.machine.publicKey);
    assert.is(reason(pair.inject(pair.a, forged, B_ENDPOINT)), 'wg-unknown-receiver');
  }
  assert.not(pair.a.machine.isUnderLoad(START_MS));
  assert.is(pair.inject(pair.a, response!.bytes, B_ENDPOINT), 0);
});

test('forged responses to a handshake on its way are bounded work too', () => {
  const pair = tunnelPair({ a: { limits: TIGHT } });
  sendAB(pair);
  pair.deliver();
  const [response] = pair.take();
  const tally = new Map<string, number>();
  for (let i = 0; i < 100; i++) {
    const bytes = response!.bytes.slice();
    bytes.set(repeated(i + 1), 12);
    const name = reason(pair.inject(pair.a, withMacs(bytes, pair.a.machine.publicKey), oneSource()))!;
    tally.set(name, (tally.get(name) ?? 0) + 1);
  }
  assert.is(tally.get('wg-handshake-decrypt'), 10);
  assert.is(tally.get('wg-cookie-required'), 90);
});

test('under load, data of a session flows on', () => {
  const pair = tunnelPair({ b: { limits: TIGHT } });
  sendAB(pair);
  pair.settle();
  flood(pair.b.machine, 1_000, manySources);
  sendBA(pair);
  sendAB(pair);
  pair.settle();
  assert.is(pair.b.received.length, 2);
  assert.is(pair.a.received.length, 1);
});

test('a sender at port 0 gets neither a cookie reply nor a session: nothing can be sent there', () => {
  const target = tunnel(2, { limits: TIGHT });
  const nowhere = { address: '203.0.113.1', port: 0 };
  assert.equal([...flood(target, 30, () => nowhere)], [['wg-source-port', 30]]);
  assert.not(target.pollTransmit(START_MS, new Slot(2048)));
  const pair = tunnelPair();
  sendAB(pair);
  const [initiation] = pair.take();
  assert.is(reason(pair.inject(pair.b, initiation!.bytes, { ...A_ENDPOINT, port: 0 })), 'wg-source-port');
  assert.is(pair.b.machine.peerStatus(0).endpoint, undefined);
  assert.is(pair.inject(pair.b, initiation!.bytes, A_ENDPOINT), 0, 'nothing of it was remembered');
});

test.run();
