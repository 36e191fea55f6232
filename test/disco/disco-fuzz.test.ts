import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, toHex } from '../../lib/base/bytes.ts';
import { DISCO_LIMITS_LARGE, DISCO_LIMITS_SMALL } from '../../lib/disco/limits.ts';
import { writeDiscoHeader } from '../../lib/disco/message.ts';
import { Seeded } from '../crypto/support.ts';
import { at, Bench, countingSuite, OWN, PEER, PEER_NODE, pingBytes, publicOf, sealed } from './support.ts';

const test = suite('disco fuzz');

const A = '198.51.100.1:41641';

/** A message inside a box: any bytes, mostly with a kind that is known and a length that might fit. */
function plainOf(seeded: Seeded): Uint8Array {
  const lengths = [0, 1, 2, 13, 14, 45, 46, 47, 32, 33, 20, 38, 200, 1000];
  const plain = seeded.bytes(seeded.below(3) === 0 ? seeded.below(300) : lengths[seeded.below(lengths.length)]!);
  if (plain.length > 0) plain[0] = seeded.below(6);
  if (plain.length > 1 && seeded.below(4) > 0) plain[1] = 0;
  return plain;
}

test('any bytes are dropped, counted once, and change nothing', () => {
  const seeded = new Seeded(1);
  const bench = new Bench();
  bench.addPeer({ endpoints: [at(A)] });
  bench.knows = () => seeded.below(2) === 0;
  for (let i = 0; i < 1000; i++) {
    let bytes = seeded.bytes(seeded.below(200));
    const kind = seeded.below(4);
    if (kind > 0 && bytes.length >= 62)
      writeDiscoHeader(bytes, 0, kind === 1 ? publicOf(PEER) : seeded.bytes(32), bytes.slice(38, 62));
    if (kind === 3) bytes = concatBytes(bytes.subarray(0, 62), bytes);
    const before = bench.drops.total;
    const result = seeded.below(2) === 0 ? bench.udp(bytes, A) : bench.relayed(bytes);
    assert.is.not(result, 'ok');
    assert.is(bench.drops.total, before + 1);
    bench.nowMs += 5;
  }
  assert.equal(bench.sent(), []);
  assert.equal(bench.asked, []);
  assert.is(bench.disco.status(1).candidates, 1);
  assert.is(bench.disco.nextTimeout(), Infinity);
});

test('a hostile peer can say what it likes', () => {
  for (const limits of [DISCO_LIMITS_SMALL, DISCO_LIMITS_LARGE]) {
    const seeded = new Seeded(2);
    const bench = new Bench(limits);
    bench.addPeer({ endpoints: [at(A)] });
    const bound = limits.listed + limits.called + limits.learned;
    let sent = 0;
    for (let i = 0; i < 1500; i++) {
      const bytes = sealed(PEER, OWN, plainOf(seeded));
      const from = `10.${seeded.below(200)}.1.${seeded.below(250) + 1}:${seeded.below(65_535) + 1}`;
      if (seeded.below(2) === 0) bench.udp(bytes, from);
      else bench.relayed(bytes);
      if (seeded.below(10) === 0) bench.path();
      if (seeded.below(10) === 0) sent += bench.sent().length;
      if (seeded.below(50) === 0) bench.disco.setOwnEndpoints(bench.nowMs, [at(A)]);
      if (seeded.below(100) === 0) bench.disco.linkChanged(bench.nowMs);
      assert.ok(bench.disco.status(1).candidates <= bound);
      bench.after(seeded.below(100));
      bench.events();
    }
    assert.ok(sent > 100, 'pings are answered all the same');
    bench.until(bench.nowMs + 60_000);
    bench.sent();
    bench.until(bench.nowMs + 60_000);
    assert.is(bench.disco.nextTimeout(), Infinity);
  }
});

test('pings from ever new addresses are answered and only the last few are remembered', () => {
  const bench = new Bench(DISCO_LIMITS_SMALL);
  bench.addPeer({ endpoints: [at(A)] });
  for (let i = 0; i < 2000; i++) {
    const from = `10.0.${i >> 8}.${i & 255}:9`;
    assert.is(bench.udp(sealed(PEER, OWN, pingBytes(i, publicOf(PEER_NODE))), from), 'ok');
    assert.is(bench.sent().length, 1);
    assert.ok(bench.disco.status(1).candidates <= 1 + DISCO_LIMITS_SMALL.learned);
  }
  bench.path();
  assert.is(bench.sent().length, 1 + DISCO_LIMITS_SMALL.learned);
});

test('addresses that packets came from are as few', () => {
  const bench = new Bench(DISCO_LIMITS_SMALL);
  bench.addPeer();
  for (let i = 0; i < 1000; i++) bench.disco.noteReceived(bench.nowMs + i, 1, at(`10.0.${i >> 8}.${i & 255}:9`));
  assert.is(bench.disco.status(1).candidates, DISCO_LIMITS_SMALL.learned);
});

test('addresses that were listed or called once and heard from do not pile up', () => {
  const bench = new Bench(DISCO_LIMITS_SMALL);
  bench.addPeer();
  for (let i = 0; i < 100; i++) {
    const endpoints = Array.from({ length: 12 }, (_, j) => at(`10.1.${i}.${j}:9`));
    bench.disco.updatePeer(bench.nowMs, 1, { endpoints });
    for (const from of endpoints) bench.disco.noteReceived(bench.nowMs, 1, from);
    assert.ok(bench.disco.status(1).candidates <= DISCO_LIMITS_SMALL.listed + DISCO_LIMITS_SMALL.learned);
  }
});

test('strangers whose keys are known cost no more key exchanges than the rate allows', () => {
  const { suite: counting, exchanges } = countingSuite();
  const bench = new Bench(DISCO_LIMITS_SMALL, counting);
  bench.knows = () => true;
  const seeded = new Seeded(3);
  for (let i = 0; i < 500; i++) {
    const bytes = seeded.bytes(124);
    writeDiscoHeader(bytes, 0, seeded.bytes(32), bytes.slice(38, 62));
    bench.udp(bytes, A);
    bench.nowMs += 2;
  }
  assert.ok(exchanges() >= DISCO_LIMITS_SMALL.strangerBurst);
  assert.ok(exchanges() <= DISCO_LIMITS_SMALL.strangerBurst + DISCO_LIMITS_SMALL.strangersPerSecond + 1);
  assert.is(bench.drops.get('disco-decrypt'), exchanges());
});

test('two peers that answer nothing but knock all the time do not make us louder than the limit', () => {
  const bench = new Bench();
  bench.addPeer({ region: 7 });
  bench.disco.setOwnEndpoints(bench.nowMs, [at(A)]);
  let pings = 0;
  for (let i = 0; i < 500; i++) {
    for (let j = 0; j < 4; j++)
      bench.udp(sealed(PEER, OWN, pingBytes(4 * i + j, publicOf(PEER_NODE))), `10.0.0.${j + 1}:1`);
    bench.path();
    pings += bench.sent().filter(({ to, bytes }) => to !== undefined && bytes.length === 124).length;
    bench.after(20);
  }
  assert.ok(pings <= 4 * (10_000 / 200 + 1) + 4, `${pings} in 10 s`);
});

test('the bytes that leave depend on nothing but what came in', () => {
  const run = () => {
    const seeded = new Seeded(4);
    const bench = new Bench();
    bench.addPeer({ endpoints: [at(A)] });
    const out: string[] = [];
    for (let i = 0; i < 200; i++) {
      bench.relayed(sealed(PEER, OWN, plainOf(seeded)));
      if (seeded.below(3) === 0) bench.path();
      for (const each of bench.sent()) out.push(toHex(each.bytes));
      bench.after(seeded.below(2000));
    }
    return out;
  };
  const first = run();
  assert.ok(first.length > 50);
  assert.equal(run(), first);
});

test.run();
