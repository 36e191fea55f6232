import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { flatHex } from '../../lib/disco/flat-hex.ts';
import { toHex } from '../../lib/base/bytes.ts';
import {
  at,
  Bench,
  callBytes,
  countingSuite,
  OWN,
  PEER,
  PEER_NODE,
  pingBytes,
  pongBytes,
  publicOf,
  sealed,
  text,
  unsealed,
} from './support.ts';

const test = suite('disco peers');

const A = '198.51.100.1:41641';
const B = '203.0.113.9:7';
const ME = '192.0.2.1:5';
const NEW = 0x66;

function benchOf(...endpoints: string[]): Bench {
  const bench = new Bench();
  bench.disco.setOwnEndpoints(bench.nowMs, [at(ME)]);
  bench.addPeer({ endpoints: endpoints.map(at) });
  return bench;
}

/** The key of peer number `i`: no real one, which saves time. */
function keyOf(i: number): Uint8Array {
  const key = new Uint8Array(32).fill(9);
  key[0] = i;
  key[1] = i >> 8;
  return key;
}

test('500 peers without traffic cost no packet, no timer and no key exchange', () => {
  const { suite: counting, exchanges } = countingSuite();
  const bench = new Bench({}, counting);
  for (let id = 1; id <= 500; id++)
    bench.addPeer({ nodeKey: keyOf(id), discoKey: keyOf(id + 1000), endpoints: [at(A), at(B)] }, id);
  bench.disco.setOwnEndpoints(bench.nowMs, [at(ME)]);
  bench.disco.linkChanged(bench.nowMs);
  for (let id = 1; id <= 500; id++) {
    bench.disco.updatePeer(bench.nowMs, id, { endpoints: [at(B)], region: 3 });
    bench.disco.noteReceived(bench.nowMs, id, at(`10.0.0.1:${id}`));
  }
  bench.until(bench.nowMs + 86_400_000);
  bench.disco.handleTimeout(bench.nowMs);
  assert.is(bench.disco.nextTimeout(), Infinity);
  assert.equal(bench.sent(), []);
  assert.equal(bench.events(), []);
  assert.is(exchanges(), 0);
});

test('500 peers that had traffic fall silent again', () => {
  const bench = new Bench();
  for (let id = 1; id <= 500; id++) bench.addPeer({ nodeKey: keyOf(id), endpoints: [at(A)] }, id);
  for (let id = 1; id <= 500; id++) bench.path(id);
  const drained = () => {
    let count = 0;
    while (bench.disco.pollTransmit(bench.nowMs, bench.slot)) count++;
    return count;
  };
  assert.is(drained(), 500);
  while (bench.disco.nextTimeout() < Infinity) {
    bench.until(bench.disco.nextTimeout());
    drained();
  }
  assert.ok(bench.nowMs <= 1000 + 48_000 + 5_000, `${bench.nowMs}`);
});

test('a new disco key makes all that was measured void', () => {
  const bench = benchOf(A);
  bench.relayed(sealed(PEER, OWN, callBytes(B)));
  bench.settle(A);
  bench.disco.ping(bench.nowMs, 1);
  const old = bench.sent();
  bench.disco.updatePeer(bench.nowMs, 1, { discoKey: publicOf(NEW) });
  assert.equal(bench.news(), ['path 1 relay -']);
  assert.is(bench.disco.nextTimeout(), Infinity);
  assert.is(bench.disco.status(1).candidates, 1, 'what the old one called is gone');
  for (const ping of old) assert.is.not(bench.answer(ping), 'ok');
  assert.is(bench.path(), 'relay');
  const [ping] = bench.sent();
  assert.is(text(ping!.to!), A);
  assert.is(unsealed(NEW, OWN, ping!.bytes).type, 'ping');
  assert.is(bench.answer(ping!, A, NEW), 'ok');
  assert.is(bench.path(), `direct ${A}`);
});

test('the old disco key is a stranger', () => {
  const bench = benchOf(A);
  bench.disco.updatePeer(bench.nowMs, 1, { discoKey: publicOf(NEW) });
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, publicOf(PEER_NODE))), A), 'disco-unknown-key');
});

test('the same disco key again changes nothing', () => {
  const bench = benchOf(A);
  bench.settle(A);
  bench.disco.updatePeer(bench.nowMs, 1, { discoKey: publicOf(PEER), region: 9 });
  assert.is(bench.path(), `direct ${A}`);
  assert.equal(bench.news(), []);
});

test('a disco key that comes later starts the search with the next packet', () => {
  const bench = new Bench();
  bench.disco.setOwnEndpoints(bench.nowMs, [at(ME)]);
  bench.addPeer({ discoKey: undefined, endpoints: [at(A)] });
  bench.path();
  assert.equal(bench.says(), []);
  bench.disco.updatePeer(bench.nowMs, 1, { discoKey: publicOf(PEER) });
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`]);
});

test('a disco key that is taken away ends it, and what waits is not sent', () => {
  const bench = benchOf(A);
  bench.path();
  bench.disco.updatePeer(bench.nowMs, 1, { discoKey: undefined });
  assert.equal(bench.sent(), []);
  assert.is(bench.disco.nextTimeout(), Infinity);
});

test('addresses follow the netmap, with what calls and pings have taught', () => {
  const bench = benchOf(A, B);
  bench.relayed(sealed(PEER, OWN, callBytes(B, '10.0.0.1:1')));
  bench.udp(sealed(PEER, OWN, pingBytes(1, publicOf(PEER_NODE))), '10.0.0.2:2');
  assert.is(bench.disco.status(1).candidates, 4);
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [at('10.0.0.3:3')] });
  bench.sent();
  bench.path();
  assert.equal(bench.says(), ['ping 10.0.0.2:2', 'ping 10.0.0.3:3', `call relay 7 ${ME}`]);
  assert.is(bench.disco.status(1).candidates, 4, 'only A is gone');
});

test('a path that the netmap no longer lists is none once nothing speaks for it', () => {
  const bench = benchOf(A);
  bench.settle(A);
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [at(B)] });
  assert.is(bench.path(), `direct ${A}`, 'it has answered just now');
  bench.nowMs += 45_001;
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [at(B)] });
  assert.equal(bench.news(), ['path 1 relay -']);
  assert.is(bench.path(), 'relay');
});

test('addresses of the netmap that nobody can be at are left out', () => {
  const bench = benchOf('0.0.0.0:1', '[fe80::1]:1', A, '127.3.3.40:7');
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`]);
});

test('another home relay is used from then on, and none ends calls that wait', () => {
  const bench = benchOf(A);
  bench.disco.updatePeer(bench.nowMs, 1, { region: 8 });
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 8 ${ME}`]);
  bench.nowMs += 5000;
  bench.path();
  bench.disco.updatePeer(bench.nowMs, 1, { region: 0 });
  assert.equal(bench.says(), [`ping ${A}`]);
});

test('another node key is where relayed messages go and come from', () => {
  const bench = benchOf();
  bench.disco.updatePeer(bench.nowMs, 1, { nodeKey: publicOf(NEW) });
  const call = sealed(PEER, OWN, callBytes(A));
  assert.is(bench.relayed(call), 'disco-unknown-peer');
  assert.is(bench.relayed(call, publicOf(NEW)), 'ok');
  bench.sent();
  bench.disco.ping(bench.nowMs, 1);
  assert.is(bench.sent()[0]!.relayPeer, toHex(publicOf(NEW)));
});

test('our new node key is in the pings that follow', () => {
  const bench = benchOf(A);
  bench.disco.setNodeKey(publicOf(NEW));
  bench.path();
  const message = unsealed(PEER, OWN, bench.sent()[0]!.bytes);
  assert.equal(message.type === 'ping' && message.nodeKey, publicOf(NEW));
});

test('a peer that is removed leaves nothing behind', () => {
  const bench = new Bench();
  bench.addPeer({ endpoints: [at(A)] });
  bench.path();
  const [ping] = bench.sent();
  bench.disco.ping(bench.nowMs, 1);
  bench.answer(ping!);
  bench.disco.removePeer(bench.nowMs, 1);
  bench.disco.removePeer(bench.nowMs, 1);
  assert.equal(bench.sent(), []);
  assert.equal(bench.news(), ['endpoints-wanted'], 'no news of a path');
  bench.disco.setOwnEndpoints(bench.nowMs, []);
  assert.equal(bench.sent(), [], 'and no call that waited');
  assert.is(bench.disco.nextTimeout(), Infinity);
  assert.is(bench.answer(ping!), 'disco-unknown-key');
  bench.addPeer();
  assert.is(bench.relayed(sealed(PEER, OWN, callBytes(A))), 'ok', 'it may come back');
});

test('a changed link forgets paths, asks where we are, and pings those with traffic at once', () => {
  const bench = benchOf(A);
  bench.addPeer({ nodeKey: publicOf(NEW), discoKey: publicOf(NEW), endpoints: [at(B)] }, 2);
  bench.settle(A);
  bench.disco.linkChanged(bench.nowMs);
  assert.equal(bench.news(), ['endpoints-wanted', 'path 1 relay -']);
  assert.equal(bench.says(), [`ping ${A}`], 'not the one without traffic');
  assert.is(bench.disco.status(1).endpoint, undefined);
  bench.disco.setOwnEndpoints(bench.nowMs, [at('10.9.9.9:9')]);
  assert.equal(bench.says(), ['call relay 7 10.9.9.9:9']);
});

test('a changed link forgets the pings that are under way', () => {
  const bench = benchOf(A);
  bench.path();
  const [ping] = bench.sent();
  bench.disco.linkChanged(bench.nowMs);
  assert.is(bench.answer(ping!), 'disco-unexpected-pong');
  bench.sent();
  assert.is(bench.disco.nextTimeout(), bench.nowMs + 3000);
});

test('a changed link after a long sleep pings nobody who has no traffic now', () => {
  const bench = benchOf(A);
  bench.settle(A);
  bench.nowMs += 3_600_000;
  bench.disco.linkChanged(bench.nowMs);
  assert.equal(bench.sent(), []);
  bench.disco.handleTimeout(bench.nowMs);
  assert.is(bench.disco.nextTimeout(), Infinity);
  assert.is(bench.path(), 'relay');
});

test('a node that names more addresses than the limit has the first of them', () => {
  const endpoints = Array.from({ length: 40 }, (_, i) => `10.0.1.${i}:1`);
  const bench = new Bench({ listed: 3, called: 2 });
  bench.addPeer({ endpoints: endpoints.map(at) });
  assert.is(bench.disco.status(1).candidates, 3);
  bench.relayed(sealed(PEER, OWN, callBytes('10.0.2.1:1', '10.0.2.2:1', '10.0.2.3:1')));
  assert.equal(bench.says(), [
    'ping 10.0.1.0:1',
    'ping 10.0.1.1:1',
    'ping 10.0.1.2:1',
    'ping 10.0.2.1:1',
    'ping 10.0.2.2:1',
  ]);
});

test('of too many addresses that pings came from, the one that was quiet longest gives way, the path last', () => {
  const bench = new Bench({ learned: 3 });
  bench.addPeer();
  let id = 0;
  const hear = (address: string) => {
    bench.nowMs += 10;
    bench.udp(sealed(PEER, OWN, pingBytes(++id, publicOf(PEER_NODE))), address);
    bench.sent();
  };
  hear('10.0.0.1:1');
  bench.path();
  bench.answer(bench.sent()[0]!);
  hear('10.0.0.2:1');
  hear('10.0.0.3:1');
  hear('10.0.0.2:1');
  hear('10.0.0.4:1');
  hear('10.0.0.5:1');
  assert.is(bench.disco.status(1).candidates, 3);
  assert.is(bench.path(), 'direct 10.0.0.1:1');
  bench.disco.linkChanged(bench.nowMs);
  assert.equal(
    bench
      .sent()
      .filter(({ to }) => to !== undefined)
      .map(({ to }) => to!.address),
    ['10.0.0.1', '10.0.0.4', '10.0.0.5'],
  );
});

test('a peer that calls with ever new addresses cannot have us flood them', () => {
  const bench = benchOf();
  let pings = 0;
  let most = 0;
  for (let i = 0; i < 1000; i++) {
    const endpoints = Array.from({ length: 32 }, (_, j) => `10.${i & 255}.${i >> 8}.${j}:${j + 1}`);
    assert.is(bench.relayed(sealed(PEER, OWN, callBytes(...endpoints))), 'ok');
    pings += bench.sent().length;
    most = Math.max(most, bench.disco.status(1).candidates);
    bench.after(10);
  }
  assert.is(most, 32);
  assert.ok(pings >= 128, `${pings}`);
  assert.ok(pings <= 128 + 32 * 10 + 1, `${pings} pings in 10 s`);
});

test('a round that ran into the limit goes on a second later', () => {
  const bench = new Bench({ pingBurst: 2, pingsPerSecond: 1 });
  bench.addPeer({ endpoints: ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1'].map(at), region: 0 });
  bench.path();
  assert.equal(bench.says(), ['ping 10.0.0.1:1', 'ping 10.0.0.2:1']);
  bench.nowMs += 999;
  bench.path();
  assert.equal(bench.says(), []);
  bench.nowMs += 1;
  bench.path();
  assert.equal(bench.says(), ['ping 10.0.0.3:1']);
});

test('pings that wait for one peer are bounded, also those of the user', () => {
  const bench = new Bench({ pings: 4 });
  bench.addPeer({ endpoints: [at(A), at(B)] });
  for (let i = 0; i < 10; i++) bench.disco.ping(bench.nowMs, 1);
  assert.is(bench.sent().length, 4);
  bench.disco.ping(bench.nowMs, 1);
  assert.is(bench.sent().length, 0);
  bench.until(bench.nowMs + 5000);
  bench.sent();
  bench.disco.ping(bench.nowMs, 1);
  assert.ok(bench.sent().length > 0);
});

test('messages that wait are bounded for one peer, so that others are answered', () => {
  const bench = new Bench({ queuedPerPeer: 3 });
  bench.addPeer();
  bench.addPeer({ nodeKey: publicOf(NEW), discoKey: publicOf(NEW) }, 2);
  const results = [1, 2, 3, 4, 5].map(id => bench.udp(sealed(PEER, OWN, pingBytes(id, publicOf(PEER_NODE))), A));
  assert.equal(results, ['ok', 'ok', 'ok', 'disco-queue-full', 'disco-queue-full']);
  assert.is(bench.udp(sealed(NEW, OWN, pingBytes(1, publicOf(NEW))), B), 'ok');
  assert.is(bench.sent().length, 4);
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(9, publicOf(PEER_NODE))), A), 'ok');
  assert.is(bench.drops.get('disco-queue-full'), 2);
});

test('messages that wait are bounded for all peers', () => {
  const bench = new Bench({ queued: 3 });
  for (let id = 1; id <= 5; id++) bench.addPeer({ nodeKey: keyOf(id), endpoints: [at(A)], region: 0 }, id);
  for (let id = 1; id <= 5; id++) bench.path(id);
  assert.is(bench.sent().length, 3);
  assert.is(bench.drops.get('disco-queue-full'), 2);
});

test('box keys of peers are kept while in use, and of others the last few', () => {
  const { suite: counting, exchanges } = countingSuite();
  const bench = new Bench({ strangers: 2 }, counting);
  bench.knows = () => true;
  const ping = (secret: number) => bench.udp(sealed(secret, OWN, pingBytes(1, undefined)), A);
  for (const secret of [1, 2, 1, 2]) assert.is(ping(secret), 'disco-unknown-peer');
  assert.is(exchanges(), 2);
  ping(3);
  ping(2);
  assert.is(exchanges(), 3);
  ping(1);
  assert.is(exchanges(), 4, 'the first had given way');
  bench.addPeer({ discoKey: publicOf(1) }, 1);
  bench.addPeer({ discoKey: publicOf(1), nodeKey: publicOf(NEW) }, 2);
  ping(1);
  assert.is(exchanges(), 4, 'a stranger that becomes a peer, and another peer with its key');
  for (const secret of [4, 5, 6]) ping(secret);
  ping(1);
  bench.disco.removePeer(bench.nowMs, 1);
  ping(1);
  assert.is(exchanges(), 7);
  bench.disco.removePeer(bench.nowMs, 2);
  ping(1);
  assert.is(exchanges(), 8, 'forgotten with the last that had it');
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, undefined), new Uint8Array(32)), A), 'disco-bad-key');
});

test('peers are found by their disco keys in whatever order they came and left', () => {
  const bench = new Bench();
  const ids = Array.from({ length: 20 }, (_, i) => (i * 7) % 20);
  for (const id of ids) bench.addPeer({ discoKey: publicOf(id + 101), nodeKey: keyOf(id) }, id);
  for (const id of [3, 19, 0]) bench.disco.removePeer(bench.nowMs, id);
  for (const id of ids) {
    const isThere = ![3, 19, 0].includes(id);
    const said = bench.udp(sealed(id + 101, OWN, pingBytes(id, keyOf(id))), `10.0.0.1:${id + 1}`);
    assert.is(said, isThere ? 'ok' : 'disco-unknown-key', `${id}`);
    if (isThere) assert.is(bench.disco.status(id).candidates, 1);
  }
  assert.throws(() => bench.addPeer({}, -1), /"id" expected a new one/);
  assert.throws(() => bench.addPeer({}, 5), /"id" expected a new one/);
});

test('a peer whose disco key is not known is taught it by an authentic message, once its owner agrees', () => {
  const bench = new Bench();
  bench.disco.setOwnEndpoints(bench.nowMs, [at(ME)]);
  bench.addPeer({ discoKey: undefined });
  assert.is(bench.path(), 'relay');
  assert.equal(bench.sent(), []);
  assert.is(bench.disco.discoKeyOf(1), undefined);
  const call = sealed(PEER, OWN, callBytes(A));
  assert.is(bench.relayed(call), 'disco-unknown-key');
  bench.knows = () => true;
  assert.is(bench.relayed(call), 'disco-unknown-peer');
  bench.resolve = () => 1;
  assert.is(bench.relayed(call), 'disco-unknown-peer', 'an owner that names it without its key');
  bench.resolve = (nowMs, discoKey) => {
    bench.disco.updatePeer(nowMs, 1, { discoKey });
    return 1;
  };
  assert.is(bench.relayed(call), 'ok');
  assert.equal(bench.disco.discoKeyOf(1), publicOf(PEER));
  const pings = bench.sent();
  assert.equal(
    pings.map(({ to }) => text(to!)),
    [A],
  );
  assert.is(bench.answer(pings[0]!), 'ok');
  assert.is(bench.path(), `direct ${A}`);
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [], region: 7 });
  assert.equal(bench.disco.discoKeyOf(1), publicOf(PEER), 'news without a disco key leave it');
  assert.is(bench.path(), `direct ${A}`);
  assert.is(bench.disco.discoKeyOf(99), undefined);
});

test('what an earlier run knew of the way stays when the disco key is learned', () => {
  const bench = new Bench();
  bench.addPeer({ discoKey: undefined });
  bench.disco.recall(bench.nowMs, 1, at(B));
  bench.disco.updatePeer(bench.nowMs, 1, { discoKey: publicOf(PEER) });
  assert.is(bench.path(), `both ${B}`);
});

test('hex in one piece is the same hex', () => {
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => (i * 37) & 255);
  assert.is(flatHex(bytes), toHex(bytes));
  assert.is(flatHex(new Uint8Array(0)), '');
});

test('a pong after the peer has come back as another is worth nothing', () => {
  const bench = benchOf(A);
  bench.path();
  const message = unsealed(PEER, OWN, bench.sent()[0]!.bytes);
  bench.disco.removePeer(bench.nowMs, 1);
  bench.addPeer({ endpoints: [at(A)] });
  assert.is(bench.udp(sealed(PEER, OWN, pongBytes((message as { id: Uint8Array }).id)), A), 'disco-unexpected-pong');
});

test.run();
