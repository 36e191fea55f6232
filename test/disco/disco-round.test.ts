import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at, Bench, OWN, PEER, publicOf, sealed, pingBytes, PEER_NODE } from './support.ts';

const test = suite('disco rounds');

const A = '198.51.100.1:41641';
const B = '203.0.113.9:7';

test('a packet to a peer pings all its addresses and then tells it through its relay where we are', () => {
  const bench = new Bench();
  bench.disco.setOwnEndpoints(bench.nowMs, [at('192.0.2.1:5'), at('[2001:db8::1]:6')]);
  bench.addPeer({ endpoints: [at(A), at(B)] });
  assert.equal(bench.says(), [], 'nothing without traffic');
  assert.is(bench.path(), 'relay');
  assert.equal(bench.says(), [`ping ${A}`, `ping ${B}`, 'call relay 7 192.0.2.1:5 [2001:db8::1]:6']);
});

test('the address that a ping was sent to becomes the path when it is answered', () => {
  const bench = new Bench();
  bench.addPeer({ endpoints: [at(A), at(B)] });
  bench.path();
  const [first] = bench.sent();
  bench.after(20);
  assert.is(bench.answer(first!, '192.0.2.77:1'), 'ok');
  assert.is(bench.path(), `direct ${A}`);
  assert.equal(bench.news(), ['endpoints-wanted', `path 1 ${A} 20`]);
});

test('a ping is answered to where it came from', () => {
  const bench = new Bench();
  bench.addPeer();
  assert.is(bench.udp(sealed(PEER, OWN, pingBytes(1, publicOf(PEER_NODE))), B), 'ok');
  assert.equal(bench.says(), [`pong ${B} saw ${B}`]);
});

test.run();
