/** Packets that wait: order, bounds, and who gives way. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type StagedQueue, StagingPool } from '../../lib/wireguard/staging.ts';
import { seededWords } from './support.ts';

const test = suite('staging');

function queue(): StagedQueue {
  return { stagedCount: 0 };
}

function push(pool: StagingPool, to: StagedQueue, bytes: Uint8Array): number | undefined {
  const buf = new Uint8Array(bytes.length + 5).fill(0xee);
  buf.set(bytes, 2);
  return pool.push(to, buf, 2, 2 + bytes.length);
}

function shift(pool: StagingPool, from: StagedQueue): Uint8Array {
  const out = new Uint8Array(70_000).fill(0xee);
  assert.is(pool.peekLength(from) >= 0, true);
  const length = pool.shift(from, out, 3);
  assert.is(out[3 + length], 0xee, 'nothing is written behind the packet');
  return out.slice(3, 3 + length);
}

test('packets of all sizes come out as they went in, in their order', () => {
  const pool = new StagingPool(1 << 20, 128);
  const q = queue();
  const sizes = [0, 1, 255, 256, 257, 511, 512, 1420, 65_535];
  for (const size of sizes) assert.is(push(pool, q, new Uint8Array(size).fill(size & 0xff)), 0);
  for (const size of sizes) assert.equal(shift(pool, q), new Uint8Array(size).fill(size & 0xff));
  assert.is(q.stagedCount, 0);
});

test('a full queue drops its own oldest packet', () => {
  const pool = new StagingPool(1 << 20, 4);
  const q = queue();
  for (let i = 0; i < 4; i++) assert.is(push(pool, q, Uint8Array.of(i)), 0);
  assert.is(push(pool, q, Uint8Array.of(4)), 1);
  assert.equal(
    [0, 1, 2, 3].map(() => shift(pool, q)[0]),
    [1, 2, 3, 4],
  );
});

test('a full pool takes from the peer itself, so that a flood to one does not push out the others', () => {
  const pool = new StagingPool(8 * 256, 100);
  const [flooded, other] = [queue(), queue()];
  push(pool, other, new Uint8Array(256).fill(1));
  for (let i = 0; i < 1000; i++) push(pool, flooded, new Uint8Array(256).fill(2));
  assert.is(flooded.stagedCount, 7);
  assert.equal(shift(pool, other), new Uint8Array(256).fill(1));
});

test('a peer with nothing in a full pool takes from the one that waits longest', () => {
  const pool = new StagingPool(4 * 256, 100);
  const [first, second, late] = [queue(), queue(), queue()];
  for (const fill of [1, 2]) push(pool, first, new Uint8Array(256).fill(fill));
  for (const fill of [3, 4]) push(pool, second, new Uint8Array(256).fill(fill));
  assert.is(push(pool, late, new Uint8Array(512).fill(5)), 2);
  assert.equal([first.stagedCount, second.stagedCount, late.stagedCount], [0, 2, 1]);
  assert.equal(shift(pool, late), new Uint8Array(512).fill(5));
});

test('a packet larger than the pool, and any packet where none may wait, is refused', () => {
  assert.is(push(new StagingPool(512, 4), queue(), new Uint8Array(513)), undefined);
  assert.is(push(new StagingPool(512, 0), queue(), new Uint8Array(1)), undefined);
});

test('random use of many queues agrees with plain arrays and never exceeds the bound', () => {
  const word = seededWords(21);
  const pool = new StagingPool(64 * 256, 6);
  const queues = Array.from({ length: 8 }, () => ({ queue: queue(), expected: [] as Uint8Array[] }));
  const blocksOf = (bytes: Uint8Array) => Math.max(1, Math.ceil(bytes.length / 256));
  for (let step = 0; step < 5000; step++) {
    const { queue: q, expected } = queues[word() % 8]!;
    if (word() % 3 === 0) {
      if (q.stagedCount > 0) assert.equal(shift(pool, q), expected.shift());
    } else if (word() % 50 === 0) {
      assert.is(pool.clear(q), expected.length);
      expected.length = 0;
    } else {
      const bytes = new Uint8Array(word() % 1500).fill(step);
      push(pool, q, bytes);
      expected.push(bytes);
      // Whatever gave way was the oldest of its queue.
      for (const each of queues) while (each.expected.length > each.queue.stagedCount) each.expected.shift();
    }
    const blocks = queues.reduce((sum, each) => sum + each.expected.reduce((n, bytes) => n + blocksOf(bytes), 0), 0);
    assert.ok(blocks <= 64);
    assert.ok(queues.every(each => each.queue.stagedCount <= 6));
  }
});

test.run();
