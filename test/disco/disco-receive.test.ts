import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex } from '../../lib/base/bytes.ts';
import {
  at,
  Bench,
  callBytes,
  countingSuite,
  idOf,
  OWN,
  OWN_NODE,
  PEER,
  PEER_NODE,
  pingBytes,
  pongBytes,
  publicOf,
  sealed,
  unsealed,
} from './support.ts';

const test = suite('disco receive');

const A = '198.51.100.1:41641';
const B = '203.0.113.9:7';
const STRANGER = 0x55;
const STRANGER_NODE = 0x56;

function benchOf(...endpoints: string[]): Bench {
  const bench = new Bench();
  bench.disco.setOwnEndpoints(bench.nowMs, []);
  bench.addPeer({ endpoints: endpoints.map(at) });
  return bench;
}

function ping(id = 1, node = PEER_NODE, secret = PEER): Uint8Array {
  return sealed(secret, OWN, pingBytes(id, publicOf(node)));
}

test('a ping is answered to where it came from, with its id and that address', () => {
  const bench = benchOf();
  assert.is(bench.udp(ping(77), B), 'ok');
  const [pong] = bench.sent();
  assert.equal(pong!.to, at(B));
  assert.equal(unsealed(PEER, OWN, pong!.bytes), { type: 'pong', id: idOf(77), observed: at(B) });
  assert.equal(toHex(pong!.bytes.subarray(6, 38)), toHex(publicOf(OWN)));
  assert.is(pong!.bytes.length, 110);
});

test('a ping through a relay is answered through the relay that it came from', () => {
  const bench = benchOf();
  assert.is(bench.relayed(ping(), publicOf(PEER_NODE), 12), 'ok');
  const [pong] = bench.sent();
  assert.is(pong!.to, undefined);
  assert.is(pong!.region, 12, 'not the home relay');
  assert.is(pong!.relayPeer, toHex(publicOf(PEER_NODE)));
  assert.equal(unsealed(PEER, OWN, pong!.bytes), { type: 'pong', id: idOf(1), observed: at('127.3.3.40:12') });
  assert.is(bench.disco.status(1).candidates, 0);
});

test('a ping without a node key, and one with padding, are answered', () => {
  const bench = benchOf();
  bench.resolve = () => 1;
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, undefined)), B), 'ok');
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(2, publicOf(PEER_NODE), 1200)), B), 'ok');
  assert.equal(bench.says(), [`pong ${B} saw ${B}`, `pong ${B} saw ${B}`]);
});

test('the address that a ping came from is one more that the peer may be at', () => {
  const bench = benchOf(A);
  bench.udp(ping(), B);
  bench.sent();
  bench.path();
  assert.equal(bench.says(), [`ping ${A}`, `ping ${B}`, 'call relay 7']);
});

test('IPv4 in its IPv6 form is the same address', () => {
  const bench = benchOf(A);
  const { address, port } = at(A);
  bench.disco.handleDatagram(bench.nowMs, ping(), 0, 124, { address: `::ffff:${address}`, port });
  assert.equal(bench.says(), [`pong ${A} saw ${A}`]);
  assert.is(bench.disco.status(1).candidates, 1);
});

test('the same ping from the same address is not answered twice, from another it is', () => {
  const bench = benchOf();
  assert.is(bench.udp(ping(5), B), 'ok');
  assert.is(bench.udp(ping(5), B), 'disco-duplicate');
  assert.is(bench.udp(ping(5), A), 'ok');
  assert.is(bench.udp(ping(6), B), 'ok');
  assert.is(bench.udp(ping(5), B), 'ok', 'only the last one is remembered');
  assert.is(bench.sent().length, 4);
  assert.is(bench.drops.get('disco-duplicate'), 1);
});

test('a ping again and again does not keep an address alive', () => {
  const bench = benchOf();
  bench.udp(ping(5), B);
  bench.nowMs += 40_000;
  assert.is(bench.udp(ping(5), B), 'disco-duplicate');
  bench.nowMs += 5_001;
  bench.path();
  assert.is(bench.disco.status(1).candidates, 0);
});

test('an address that only a ping has taught lives for 45 s', () => {
  const bench = benchOf();
  bench.udp(ping(5), B);
  bench.sent();
  bench.nowMs += 45_000;
  bench.path();
  assert.equal(bench.says(), [`ping ${B}`]);
  const late = benchOf();
  late.udp(ping(5), B);
  late.sent();
  late.nowMs += 45_001;
  late.path();
  assert.equal(late.says(), []);
  bench.nowMs += 5_000;
  bench.path();
  assert.is(bench.disco.status(1).candidates, 0);
});

test('an address that only a ping has taught lives on while it answers', () => {
  const bench = benchOf();
  bench.udp(ping(5), B);
  bench.sent();
  for (let i = 0; i < 40; i++) {
    bench.after(3000);
    bench.path();
    for (const each of bench.sent()) if (each.to !== undefined) bench.answer(each);
  }
  assert.is(bench.path(), `direct ${B}`);
  assert.is(bench.disco.status(1).candidates, 1);
});

test('what came back of our own pings is not answered', () => {
  const bench = benchOf(A);
  bench.path();
  const own = bench.sent()[0]!.bytes.slice();
  own.set(publicOf(PEER), 6);
  assert.is(bench.udp(own, A), 'disco-reflected');
  assert.equal(bench.sent(), [], 'or an eavesdropper could turn our pong into the one we wait for');
  bench.disco.setNodeKey(publicOf(0x77));
  assert.is(bench.udp(own, B), 'disco-reflected', 'also after our node key has changed');
  bench.disco.setNodeKey(publicOf(OWN_NODE));
  bench.until(bench.nowMs + 5000);
  assert.is(bench.udp(own, B), 'disco-reflected', 'also when nobody waits for it any more');
  assert.is(bench.disco.status(1).candidates, 1);
});

test('a pong needs a ping of that id', () => {
  const bench = benchOf(A);
  bench.path();
  bench.sent();
  assert.is(bench.udp(sealed(PEER, OWN, pongBytes(idOf(1))), A), 'disco-unexpected-pong');
  assert.is(bench.path(), 'relay');
});

test('a pong counts once', () => {
  const bench = benchOf(A);
  bench.path();
  const [sent] = bench.sent();
  assert.is(bench.answer(sent!), 'ok');
  assert.is(bench.answer(sent!), 'disco-unexpected-pong');
});

test('a pong needs the key of the peer that was pinged', () => {
  const bench = benchOf(A);
  bench.addPeer({ nodeKey: publicOf(STRANGER_NODE), discoKey: publicOf(STRANGER) }, 2);
  bench.path();
  const message = unsealed(PEER, OWN, bench.sent()[0]!.bytes);
  const { id } = message as { id: Uint8Array };
  assert.is(bench.udp(sealed(STRANGER, OWN, pongBytes(id)), A), 'disco-unexpected-pong');
  assert.is(bench.path(), 'relay');
});

test('a pong comes the way that its ping went', () => {
  const bench = benchOf(A);
  bench.disco.ping(bench.nowMs, 1);
  const [relayed, direct] = bench.sent();
  assert.is(bench.answer(relayed!, A), 'disco-unexpected-pong');
  assert.is(bench.answer(direct!, 'relay'), 'disco-unexpected-pong', 'a relay cannot make a path');
  assert.is(bench.path(), 'relay');
  assert.equal(bench.news(), []);
  assert.is(bench.answer(direct!), 'ok');
  assert.is(bench.path(), `direct ${A}`);
});

test('a pong of an address that is no longer one of the peer makes no path', () => {
  const bench = benchOf(A);
  bench.path();
  const [sent] = bench.sent();
  bench.disco.updatePeer(bench.nowMs, 1, { endpoints: [] });
  assert.is(bench.answer(sent!), 'ok');
  assert.is(bench.path(), 'relay');
});

test('a call is taken from a relay only', () => {
  const bench = benchOf();
  const call = sealed(PEER, OWN, callBytes(B));
  assert.is(bench.udp(call, A), 'disco-not-relayed');
  assert.equal(bench.sent(), []);
  assert.is(bench.relayed(call), 'ok');
  assert.equal(bench.says(), [`ping ${B}`]);
});

test('a call is taken from the node that has the disco key only', () => {
  const bench = benchOf();
  bench.addPeer({ nodeKey: publicOf(STRANGER_NODE), discoKey: publicOf(STRANGER) }, 2);
  const call = sealed(PEER, OWN, callBytes(B));
  assert.is(bench.relayed(call, publicOf(STRANGER_NODE)), 'disco-unknown-peer');
  assert.is(bench.relayed(call, publicOf(0x66)), 'disco-unknown-peer');
  assert.is(bench.relayed(ping(), publicOf(STRANGER_NODE)), 'disco-unknown-peer');
  assert.equal(bench.sent(), []);
});

test('what a call names is pinged at once, whatever was pinged a moment ago', () => {
  const bench = benchOf(A);
  bench.path();
  bench.sent();
  bench.nowMs += 1;
  bench.relayed(sealed(PEER, OWN, callBytes(A, B)));
  assert.equal(bench.says(), [`ping ${A}`, `ping ${B}`]);
});

test('a call needs no traffic of ours and starts no heartbeat', () => {
  const bench = benchOf();
  bench.relayed(sealed(PEER, OWN, callBytes(B)));
  const [sent] = bench.sent();
  bench.answer(sent!);
  assert.is(bench.disco.nextTimeout(), Infinity);
  assert.is(bench.path(), `direct ${B}`);
});

test('addresses in a call that nobody can be at are left out', () => {
  const bench = benchOf();
  bench.relayed(sealed(PEER, OWN, callBytes('[fe80::1]:1', '0.0.0.0:1', '127.3.3.40:7', '224.0.0.1:1', B)));
  assert.equal(bench.says(), [`ping ${B}`]);
});

test('what a later call leaves out is over, also as the path and if a ping was heard from there', () => {
  const bench = benchOf();
  bench.relayed(sealed(PEER, OWN, callBytes(A, B)));
  const [sent] = bench.sent();
  bench.answer(sent!);
  bench.udp(ping(), A);
  bench.sent();
  assert.is(bench.path(), `direct ${A}`);
  bench.news();
  bench.relayed(sealed(PEER, OWN, callBytes(B)));
  assert.is(bench.disco.status(1).candidates, 1);
  assert.equal(bench.news(), ['path 1 relay -']);
  assert.is(bench.path(), 'relay');
});

test('what a later call leaves out but the netmap has is asked again', () => {
  const bench = benchOf(A);
  bench.relayed(sealed(PEER, OWN, callBytes(A)));
  bench.answer(bench.sent()[0]!);
  assert.is(bench.path(), `direct ${A}`);
  bench.relayed(sealed(PEER, OWN, callBytes()));
  assert.equal(bench.says(), [`ping ${A}`]);
  assert.is(bench.path(), 'relay');
});

test('what a call names stays while it does, however long', () => {
  const bench = benchOf();
  bench.relayed(sealed(PEER, OWN, callBytes(B)));
  bench.sent();
  bench.until(bench.nowMs + 3_600_000);
  bench.path();
  assert.equal(bench.says(), [`ping ${B}`], 'and our own address is too old to be told');
  assert.equal(bench.news(), ['endpoints-wanted']);
});

test('kinds that are not spoken here are counted and nothing else', () => {
  const bench = benchOf();
  for (let type = 4; type <= 9; type++)
    assert.is(bench.relayed(sealed(PEER, OWN, Uint8Array.of(type, 0, 1, 2, 3))), 'disco-unknown-type');
  assert.is(bench.drops.get('disco-unknown-type'), 6);
  assert.equal(bench.sent(), []);
});

test('what is too short, too long, or broken inside its box is dropped', () => {
  const bench = new Bench({ messageBytes: 100 });
  bench.addPeer();
  assert.is(bench.udp(ping().subarray(0, 79), A), 'disco-too-short');
  assert.is(bench.udp(new Uint8Array(124), A), 'disco-too-short');
  assert.is(bench.udp(new Uint8Array(0), A), 'disco-too-short');
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, publicOf(PEER_NODE), 54)), A), 'ok');
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, publicOf(PEER_NODE), 55)), A), 'disco-too-long');
  assert.is(bench.udp(sealed(PEER, OWN, Uint8Array.of(1, 0, 3)), A), 'disco-malformed');
});

test('a box that does not open is dropped', () => {
  const bench = benchOf();
  const bytes = ping();
  for (const at of [38, 62, 78, 123]) {
    const broken = bytes.slice();
    broken[at]! ^= 1;
    assert.is(bench.udp(broken, A), 'disco-decrypt', `byte ${at}`);
  }
  assert.is(bench.udp(sealed(STRANGER, OWN, pingBytes(1, undefined), publicOf(PEER)), A), 'disco-decrypt');
  assert.is(bench.udp(bytes, A), 'ok');
});

test('a sender that no peer is costs no key exchange', () => {
  const { suite: counting, exchanges } = countingSuite();
  const bench = new Bench({}, counting);
  assert.is(bench.udp(ping(1, STRANGER_NODE, STRANGER), A), 'disco-unknown-key');
  assert.is(exchanges(), 0);
  assert.equal(bench.asked, []);
});

test('a peer that is not in use is taken into use by a message that its key has sealed, not before', () => {
  const bench = new Bench();
  bench.knows = discoKey => toHex(discoKey) === toHex(publicOf(STRANGER));
  bench.resolve = () => {
    bench.addPeer({ nodeKey: publicOf(STRANGER_NODE), discoKey: publicOf(STRANGER) }, 5);
    return 5;
  };
  const bytes = ping(1, STRANGER_NODE, STRANGER);
  bytes[100]! ^= 1;
  assert.is(bench.udp(bytes, A), 'disco-decrypt');
  assert.equal(bench.asked, [], 'its disco key is no secret, so anybody can write it');
  assert.is(bench.udp(ping(1, STRANGER_NODE, STRANGER), A), 'ok');
  assert.equal(bench.asked, [`${toHex(publicOf(STRANGER)).slice(0, 8)} ${toHex(publicOf(STRANGER_NODE)).slice(0, 8)}`]);
  assert.equal(bench.says(STRANGER), [`pong ${A} saw ${A}`]);
  assert.is(bench.disco.status(5).candidates, 1);
});

test('a call takes a peer into use by the node key that the relay names', () => {
  const bench = new Bench();
  bench.knows = () => true;
  bench.resolve = () => {
    bench.addPeer({}, 5);
    return 5;
  };
  assert.is(bench.relayed(sealed(PEER, OWN, callBytes(B))), 'ok');
  assert.equal(bench.asked, [`${toHex(publicOf(PEER)).slice(0, 8)} ${toHex(publicOf(PEER_NODE)).slice(0, 8)}`]);
  assert.equal(bench.says(), [`ping ${B}`]);
});

test('a peer that is not to be used is not answered', () => {
  const bench = new Bench();
  bench.knows = () => true;
  assert.is(bench.udp(ping(), A), 'disco-unknown-peer');
  assert.is(bench.relayed(ping()), 'disco-unknown-peer');
  assert.is(bench.asked.length, 3, 'by both keys, by the disco key alone, and by both');
  bench.resolve = () => 42;
  assert.is(bench.udp(ping(), A), 'disco-unknown-peer', 'nor one that was not added');
  bench.addPeer({ discoKey: publicOf(STRANGER), nodeKey: publicOf(STRANGER_NODE) }, 42);
  assert.is(bench.udp(ping(), A), 'disco-unknown-peer', 'nor by another');
  assert.is(bench.relayed(ping()), 'disco-unknown-peer');
  assert.equal(bench.sent(), []);
});

test('of peers that share a disco key a ping is from the one whose node key it names', () => {
  const bench = benchOf();
  bench.addPeer({ nodeKey: publicOf(STRANGER_NODE) }, 2);
  bench.udp(ping(1, STRANGER_NODE), A);
  assert.is(bench.disco.status(1).candidates, 0);
  assert.is(bench.disco.status(2).candidates, 1);
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(2, undefined)), A), 'disco-unknown-peer');
  bench.disco.removePeer(bench.nowMs, 2);
  bench.resolve = (_, __, nodeKey) => (nodeKey === undefined ? 1 : undefined);
  assert.is(bench.udp(ping(3, STRANGER_NODE), A), 'ok', 'a node key that nobody has, but one peer with the disco key');
  assert.is(bench.disco.status(1).candidates, 1);
});

test('nobody has our disco key', () => {
  const bench = new Bench();
  bench.knows = () => true;
  bench.resolve = () => 1;
  bench.addPeer({ discoKey: publicOf(OWN), endpoints: [at(A)] });
  assert.is(bench.path(), 'relay');
  assert.equal(bench.sent(), []);
  assert.is(bench.udp(sealed(OWN, OWN, pingBytes(1, publicOf(PEER_NODE))), A), 'disco-unknown-peer');
});

test('a disco key of low order is of no use', () => {
  const bench = new Bench();
  const zero = new Uint8Array(32);
  bench.addPeer({ discoKey: zero, endpoints: [at(A)] });
  assert.is(bench.path(), 'relay');
  assert.equal(bench.sent(), []);
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, undefined), zero), A), 'disco-bad-key');
});

test('strangers are looked at so often and no more, of UDP and of relays each', () => {
  const bench = new Bench({ strangerBurst: 4, strangersPerSecond: 2 });
  let asked = 0;
  bench.knows = () => {
    asked++;
    return false;
  };
  const results = Array.from({ length: 10 }, () => bench.udp(ping(), A));
  assert.equal(results, [...new Array(4).fill('disco-unknown-key'), ...new Array(6).fill('disco-rate-limited')]);
  assert.is(bench.relayed(ping()), 'disco-unknown-key', 'a flood of UDP does not close the relay');
  assert.is(asked, 5);
  bench.nowMs += 499;
  assert.is(bench.udp(ping(), A), 'disco-rate-limited');
  bench.nowMs += 1;
  assert.is(bench.udp(ping(), A), 'disco-unknown-key');
  bench.addPeer();
  assert.is(bench.udp(ping(), A), 'ok', 'peers in use are not strangers');
});

test('an address that an authentic packet came from is pinged with the others', () => {
  const bench = benchOf();
  bench.disco.noteReceived(bench.nowMs, 1, undefined);
  bench.disco.noteReceived(bench.nowMs, 99, at(B));
  assert.is(bench.disco.status(1).candidates, 0);
  bench.disco.noteReceived(bench.nowMs, 1, at(B));
  bench.disco.noteReceived(bench.nowMs, 1, at(B));
  assert.equal(bench.sent(), [], 'not before there is traffic of ours');
  bench.path();
  assert.equal(bench.says(), [`ping ${B}`, 'call relay 7']);
});

test.run();
