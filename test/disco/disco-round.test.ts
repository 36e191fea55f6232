import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Slot } from '../../lib/base/slot.ts';
import { at, Bench, callBytes, OWN, PEER, PEER_NODE, pingBytes, publicOf, sealed, text } from './support.ts';

const test = suite('disco rounds');

const A = '198.51.100.1:41641';
const B = '203.0.113.9:7';
const ME = '192.0.2.1:5';

/** A bench whose own address is fresh and whose peer is listed at these addresses. */
function benchOf(...endpoints: string[]): Bench {
  const bench = new Bench();
  bench.disco.setOwnEndpoints(bench.nowMs, [at(ME)]);
  bench.addPeer({ endpoints: endpoints.map(at) });
  return bench;
}

test('a packet to a peer pings all its addresses and then tells it through its relay where we are', () => {
  const bench = benchOf(A, B);
  assert.equal(bench.says(), [], 'nothing without traffic');
  assert.is(bench.path(), 'relay');
  assert.equal(bench.says(), [`ping ${A}`, `ping ${B}`, `call relay 7 ${ME}`]);
});

test('the path of an earlier run is taken beside the relay for ten seconds, unless it cannot be one', () => {
  const bench = benchOf();
  bench.disco.recall(bench.nowMs, 1, at(A));
  assert.is(bench.path(), `both ${A}`);
  bench.nowMs += 10_000;
  assert.is(bench.path(), `both ${A}`);
  bench.nowMs += 1;
  assert.is(bench.path(), 'relay');
  bench.disco.recall(bench.nowMs, 1, { address: '127.3.3.40', port: 7 });
  assert.is(bench.path(), 'relay', 'that stands for a relay');
  bench.disco.recall(bench.nowMs, 1, { address: '192.0.2.1', port: 0 });
  assert.is(bench.path(), 'relay');
});

test('the path of an earlier run counts no more when this device is elsewhere', () => {
  const bench = benchOf();
  bench.disco.recall(bench.nowMs, 1, at(A));
  bench.disco.linkChanged(bench.nowMs);
  assert.is(bench.path(), 'relay');
});

test('what goes to a relay says to whom and where', () => {
  const bench = benchOf(A);
  bench.path();
  const [ping, call] = bench.sent();
  assert.is(text(ping!.to!), A);
  assert.is(call!.to, undefined);
  assert.is(call!.region, 7);
  assert.is(
    call!.relayPeer,
    publicOf(PEER_NODE).reduce((out, byte) => out + byte.toString(16).padStart(2, '0'), ''),
  );
});

test('a peer of no relay is not called', () => {
  const bench = new Bench();
  bench.disco.setOwnEndpoints(bench.nowMs, [at(ME)]);
  bench.addPeer({ endpoints: [at(A)], region: 0 });
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`]);
});

test('a peer without addresses is not called, and a peer without a disco key is neither pinged nor watched', () => {
  const bench = benchOf();
  assert.is(bench.path(), 'relay');
  assert.equal(bench.says(), []);
  bench.addPeer({ discoKey: undefined, endpoints: [at(A)], nodeKey: publicOf(0x44) }, 2);
  assert.is(bench.path(2), 'relay');
  bench.disco.noteReceived(bench.nowMs, 2, at(B));
  assert.is(bench.disco.status(2).candidates, 1);
  assert.equal(bench.says(), []);
  bench.disco.removePeer(bench.nowMs, 1);
  assert.is(bench.disco.nextTimeout(), Infinity);
});

test('who is no peer is reached through relays', () => {
  const bench = benchOf();
  assert.is(bench.path(99), 'relay');
  assert.is(bench.disco.nextTimeout(), Infinity);
});

test('an address is pinged again after five seconds, not before, and so is the peer called', () => {
  const bench = benchOf(A);
  bench.path();
  bench.sent();
  const startMs = bench.nowMs;
  bench.nowMs = startMs + 4999;
  bench.path();
  assert.equal(bench.says(), []);
  bench.nowMs = startMs + 5000;
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`]);
});

test('a new address is pinged at once beside others that have to wait', () => {
  const bench = benchOf(A);
  bench.path();
  bench.sent();
  bench.nowMs += 100;
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [at(A), at(B)] });
  bench.path();
  assert.equal(bench.says(), [`ping ${B}`, `call relay 7 ${ME}`]);
  bench.nowMs += 4900;
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`]);
});

test('each ping has a transaction id and a nonce of its own', () => {
  const bench = benchOf(A, B);
  bench.path();
  const pings = bench.sent().slice(0, 2);
  assert.equal(
    pings.map(each => bench.answer(each)),
    ['ok', 'ok'],
  );
  assert.is(new Set(pings.map(({ bytes }) => bytes.slice(38, 62).join())).size, 2);
});

test('the address that a ping was sent to becomes the path, not the one that the pong came from', () => {
  const bench = benchOf(A, B);
  bench.path();
  const [first] = bench.sent();
  bench.after(20);
  assert.is(bench.answer(first!, '192.0.2.77:1'), 'ok');
  assert.is(bench.path(), `direct ${A}`);
  assert.equal(bench.news(), [`path 1 ${A} 20`]);
  assert.is(bench.disco.status(1).latencyMs, 20);
});

test('the better of two answers is the path, also when it comes second', () => {
  const bench = benchOf(A, '192.168.1.1:1');
  bench.path();
  const [slow, near] = bench.sent();
  bench.after(20);
  bench.answer(slow!);
  bench.after(1);
  bench.answer(near!);
  assert.is(bench.path(), 'direct 192.168.1.1:1');
  assert.equal(bench.news(), ['path 1 192.168.1.1:1 21'], 'two changes without a look are one piece of news');
});

test('a worse answer does not move a path that is trusted', () => {
  const bench = benchOf(A, B);
  bench.path();
  const [first, second] = bench.sent();
  bench.after(20);
  bench.answer(first!);
  bench.after(1);
  bench.answer(second!);
  assert.is(bench.path(), `direct ${A}`);
});

test('a path is trusted for 6.5 s after a pong, then packets go both ways', () => {
  const bench = benchOf(A);
  bench.settle(A, 20);
  const pongMs = bench.nowMs;
  bench.nowMs = pongMs + 6500;
  assert.is(bench.path(), `direct ${A}`);
  assert.is(bench.disco.status(1).why, '');
  bench.nowMs = pongMs + 6501;
  assert.is(bench.path(), `both ${A}`);
  assert.is(bench.disco.status(1).endpoint, undefined);
  assert.is(bench.disco.status(1, pongMs + 6500).latencyMs, 20);
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`], 'and it is looked for anew');
});

test('any answer is better than a path that is not trusted any more', () => {
  const bench = benchOf(A, B);
  bench.settle(A, 20);
  bench.nowMs += 6501;
  bench.path();
  const pings = bench.sent();
  assert.is(text(pings[1]!.to!), B);
  bench.nowMs += 900;
  bench.answer(pings[1]!);
  assert.is(bench.path(), `direct ${B}`);
});

test('a trusted path is pinged every three seconds and nothing else is', () => {
  const bench = benchOf(A, B);
  bench.settle(A, 4);
  const startMs = bench.nowMs - 4;
  for (let beat = 1; beat <= 5; beat++) {
    bench.until(startMs + 3000 * beat - 1);
    assert.equal(bench.sent(), []);
    bench.until(startMs + 3000 * beat);
    const pings = bench.sent();
    assert.equal(
      pings.map(({ to }) => text(to!)),
      [A],
    );
    bench.nowMs += 4;
    bench.answer(pings[0]!);
  }
  assert.is(bench.path(), `direct ${A}`);
});

test('the heartbeat stops when there was no traffic for 45 s', () => {
  const bench = benchOf(A);
  bench.settle(A, 0);
  const lastMs = bench.nowMs;
  let last = lastMs;
  for (let nextMs = bench.disco.nextTimeout(); nextMs !== Infinity; nextMs = bench.disco.nextTimeout()) {
    bench.until(nextMs);
    for (const ping of bench.sent()) {
      last = bench.nowMs;
      bench.answer(ping);
    }
  }
  assert.is(last, lastMs + 45_000, 'at 45 s there is still one, at 48 s none');
  assert.is(bench.nowMs, lastMs + 48_000);
});

test('traffic one millisecond later keeps the heartbeat going for one beat more', () => {
  const bench = benchOf();
  bench.path();
  const startMs = bench.nowMs;
  bench.nowMs = startMs + 2_999;
  bench.path();
  bench.until(startMs + 45_000);
  assert.is(bench.disco.nextTimeout(), startMs + 48_000);
  bench.until(startMs + 48_000 - 1);
  assert.is.not(bench.disco.nextTimeout(), Infinity);
  bench.until(startMs + 48_000);
  assert.is(bench.disco.nextTimeout(), Infinity, 'the last traffic is 45,001 ms ago');
});

test('an unanswered ping is given up after 5 s, and the path with it if it is not trusted', () => {
  const bench = benchOf(A);
  bench.settle(A, 20);
  bench.nowMs += 6501;
  assert.is(bench.path(), `both ${A}`);
  bench.sent();
  const sentMs = bench.nowMs;
  bench.until(sentMs + 4999);
  assert.is(bench.path(), `both ${A}`);
  assert.equal(bench.news(), []);
  bench.disco.handleTimeout(sentMs + 5000);
  bench.nowMs = sentMs + 5000;
  assert.equal(bench.news(), ['path 1 relay -']);
  assert.is(bench.path(), 'relay');
});

test('a lost ping to a path that is trusted changes nothing', () => {
  const bench = benchOf(A);
  bench.settle(A, 20);
  bench.until(bench.nowMs + 2980);
  const lost = bench.sent();
  assert.is(lost.length, 1);
  bench.until(bench.nowMs + 3000);
  bench.answer(bench.sent()[0]!);
  bench.until(bench.nowMs + 2000);
  assert.is(bench.path(), `direct ${A}`);
  assert.equal(bench.news(), []);
});

test('a pong is worth nothing after 5 s', () => {
  const bench = benchOf(A);
  bench.path();
  const [ping] = bench.sent();
  bench.until(bench.nowMs + 5000);
  assert.is(bench.answer(ping!), 'disco-unexpected-pong');
});

test('a path of more than 5 ms is compared with the others every 60 s', () => {
  const bench = benchOf(A, B);
  bench.settle(A, 6);
  const roundMs = bench.nowMs - 6;
  const seen: number[] = [];
  for (let nextMs = bench.disco.nextTimeout(); nextMs <= roundMs + 130_000; nextMs = bench.disco.nextTimeout()) {
    bench.until(nextMs);
    bench.path();
    for (const ping of bench.sent()) {
      if (ping.to !== undefined && text(ping.to) === B) seen.push(bench.nowMs - roundMs);
      if (ping.to === undefined || text(ping.to) === B) continue;
      bench.nowMs += 6;
      bench.answer(ping);
    }
  }
  assert.equal(
    seen.map(ms => Math.floor(ms / 1000)),
    [60, 120],
  );
});

test('a path of 5 ms is good enough', () => {
  const bench = benchOf(A, B);
  bench.settle(A, 5);
  const endMs = bench.nowMs + 130_000;
  for (let nextMs = bench.disco.nextTimeout(); nextMs <= endMs; nextMs = bench.disco.nextTimeout()) {
    bench.until(nextMs);
    bench.path();
    for (const ping of bench.sent()) {
      assert.is(ping.to && text(ping.to), A);
      bench.nowMs += 5;
      bench.answer(ping);
    }
  }
});

test('own addresses that are 27 s old are asked for before the peer is called', () => {
  const bench = benchOf(A);
  bench.nowMs += 26_999;
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`]);
  const old = benchOf(A);
  old.nowMs += 27_000;
  old.path();
  assert.equal(old.says(), [`ping ${A}`]);
  assert.equal(old.news(), ['endpoints-wanted']);
  assert.equal(old.news(), [], 'once');
  old.disco.setOwnEndpoints(old.nowMs, [at('192.0.2.2:2')]);
  assert.equal(old.says(), ['call relay 7 192.0.2.2:2']);
  old.disco.setOwnEndpoints(old.nowMs, [at(ME)]);
  assert.equal(old.says(), [], 'nobody waits any more');
});

test('own addresses are asked for again when nobody answers for 5 s', () => {
  const bench = new Bench();
  bench.addPeer({ endpoints: [at(A)] });
  bench.path();
  assert.equal(bench.news(), ['endpoints-wanted']);
  bench.nowMs += 4999;
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [at(A), at(B)] });
  bench.path();
  assert.equal(bench.news(), []);
  bench.nowMs += 1;
  bench.path();
  assert.equal(bench.news(), ['endpoints-wanted']);
  bench.sent();
  bench.disco.setOwnEndpoints(bench.nowMs, []);
  assert.equal(bench.says(), ['call relay 7'], 'an empty list is told, too, and once');
});

test('not more than the limit of own addresses is told', () => {
  const bench = new Bench({ own: 2 });
  bench.disco.setOwnEndpoints(bench.nowMs, [at('1.1.1.1:1'), at('1.1.1.1:2'), at('1.1.1.1:3')]);
  bench.addPeer({ endpoints: [at(A)] });
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, 'call relay 7 1.1.1.1:1 1.1.1.1:2']);
});

test('a ping for the user goes through the relay and to all addresses, and answers come one by one', () => {
  const bench = benchOf(A, B);
  assert.is(bench.disco.ping(bench.nowMs, 1), 1);
  const pings = bench.sent();
  assert.equal(
    pings.map(({ to, region }) => (to === undefined ? `relay ${region}` : text(to))),
    ['relay 7', A, B],
  );
  bench.nowMs += 30;
  bench.answer(pings[1]!);
  bench.nowMs += 30;
  bench.answer(pings[0]!);
  assert.equal(bench.news(), [`path 1 ${A} 30`, `pong 1 #1 ${A} 0 30`, 'pong 1 #1 relay 7 60']);
  assert.is(bench.disco.ping(bench.nowMs, 1), 2);
  assert.equal(bench.says(), ['ping relay 7', `ping ${A}`], 'a trusted path is the only one');
  assert.is.not(bench.disco.nextTimeout(), Infinity);
});

test('a pong through a relay is no path', () => {
  const bench = benchOf();
  bench.disco.ping(bench.nowMs, 1);
  assert.is(bench.answer(bench.sent()[0]!), 'ok');
  assert.equal(bench.news(), ['pong 1 #1 relay 7 0']);
  assert.is(bench.path(), 'relay');
});

test('a ping for the user of a peer that is not taking part is never answered', () => {
  const bench = new Bench();
  bench.addPeer({ discoKey: undefined, endpoints: [at(A)] });
  assert.is(bench.disco.ping(bench.nowMs, 1), 1);
  assert.equal(bench.sent(), []);
  assert.throws(() => bench.disco.ping(bench.nowMs, 9), /"id" expected a peer, got 9/);
});

test('answers to pings that nobody takes are bounded; the oldest give way', () => {
  const bench = new Bench({ pongEvents: 2 });
  bench.addPeer();
  for (let i = 0; i < 3; i++) {
    bench.disco.ping(bench.nowMs, 1);
    for (const ping of bench.sent()) bench.answer(ping);
  }
  assert.equal(bench.news(), ['pong 1 #2 relay 7 0', 'pong 1 #3 relay 7 0']);
});

test('status says why a relay is needed', () => {
  const bench = benchOf();
  const why = () => bench.disco.status(1).why;
  assert.is(why(), 'no endpoints known');
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [at(A), at(B)] });
  assert.is(why(), 'not tried yet');
  bench.path();
  bench.sent();
  assert.is(why(), 'waiting for an answer from 2 endpoints');
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [at(A)] });
  bench.disco.handleTimeout(bench.nowMs + 5000);
  bench.sent();
  assert.is(why(), 'no answer from 1 endpoint');
  bench.disco.updatePeer(bench.nowMs, 1, { discoKey: undefined });
  assert.is(why(), 'takes no part in path discovery');
  assert.throws(() => bench.disco.status(9), /"id" expected a peer, got 9/);
});

test('a slot that is too small is a mistake of the caller', () => {
  const bench = benchOf(A);
  bench.path();
  assert.throws(() => bench.disco.pollTransmit(bench.nowMs, new Slot(20)), /"slot" expected room for 124 bytes/);
});

test('mistakes in options and keys throw at once', () => {
  assert.throws(() => new Bench({ own: 33 }), /"own" expected 0 to 32, got 33/);
  assert.throws(() => new Bench({ messageBytes: 45 }), /"messageBytes" expected 46 or more, got 45/);
  const bench = benchOf();
  const short = new Uint8Array(31);
  assert.throws(() => bench.disco.setNodeKey(short), /"nodeKey" expected 32 bytes, got 31/);
  assert.throws(() => bench.addPeer({ nodeKey: short }, 2), /"nodeKey" expected 32 bytes, got 31/);
  assert.throws(() => bench.addPeer({ discoKey: short }, 2), /"discoKey" expected 32 bytes, got 31/);
  assert.throws(() => bench.disco.updatePeer(1, 1, { discoKey: short }), /"discoKey" expected 32 bytes, got 31/);
  assert.throws(() => bench.disco.setNodeKey('key' as never), /"nodeKey" expected a Uint8Array, got string/);
  assert.throws(() => bench.addPeer({}, 1), /"id" expected a new one, got 1/);
  assert.throws(() => bench.disco.updatePeer(1, 2, {}), /"id" expected a peer, got 2/);
});

test('latency counts from when a ping left, not from when it was decided', () => {
  const bench = benchOf(A);
  bench.path();
  bench.nowMs += 400;
  const [ping] = bench.sent();
  bench.nowMs += 20;
  bench.answer(ping!);
  assert.is(bench.disco.status(1).latencyMs, 20);
});

test('neither a call nor a ping is answered with the same', () => {
  const bench = benchOf(A);
  assert.is(bench.relayed(sealed(PEER, OWN, callBytes(B))), 'ok');
  assert.equal(bench.says(), [`ping ${A}`, `ping ${B}`]);
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, publicOf(PEER_NODE))), B), 'ok');
  assert.equal(bench.says(), [`pong ${B} saw ${B}`]);
});

test('an address that the peer has pinged us from is pinged with the next packet, after 200 ms, without a call', () => {
  const bench = benchOf(A);
  bench.path();
  bench.sent();
  const startMs = bench.nowMs;
  bench.nowMs += 50;
  bench.udp(sealed(PEER, OWN, pingBytes(1, publicOf(PEER_NODE))), A);
  assert.equal(bench.says(), [`pong ${A} saw ${A}`]);
  bench.nowMs = startMs + 199;
  bench.path();
  assert.equal(bench.says(), []);
  bench.nowMs = startMs + 200;
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`]);
  bench.nowMs = startMs + 200 + 4999;
  bench.path();
  assert.equal(bench.says(), [], 'once for each time');
  bench.nowMs += 1;
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`]);
});

test('pings that a call has brought about are told of by our next packet, but not more often than every 5 s', () => {
  const bench = benchOf(A);
  bench.relayed(sealed(PEER, OWN, callBytes(B)));
  assert.equal(bench.says(), [`ping ${A}`, `ping ${B}`], 'no call in answer to a call');
  const startMs = bench.nowMs;
  bench.nowMs += 1;
  bench.path();
  assert.equal(bench.says(), [`call relay 7 ${ME}`]);
  bench.relayed(sealed(PEER, OWN, callBytes(B)));
  assert.equal(bench.says(), [`ping ${A}`, `ping ${B}`]);
  bench.nowMs = startMs + 4999;
  bench.path();
  assert.equal(bench.says(), [], 'two that cannot reach each other do not call with every packet');
  bench.relayed(sealed(PEER, OWN, callBytes(B)));
  bench.sent();
  bench.nowMs = startMs + 5001;
  bench.path();
  assert.equal(bench.says(), [`call relay 7 ${ME}`], 'calls of the peer do not keep us from calling');
});

test('when relays can be reached again, peers without a trusted path are called anew, and no others', () => {
  const bench = benchOf(A);
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `call relay 7 ${ME}`]);
  bench.nowMs += 100;
  bench.disco.callAgain(bench.nowMs);
  assert.equal(bench.says(), [`call relay 7 ${ME}`]);
  bench.nowMs += 45_001;
  bench.says();
  bench.disco.callAgain(bench.nowMs);
  assert.equal(bench.says(), [], 'without traffic for 45 s');
});

test.run();
