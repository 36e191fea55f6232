import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FrameQueue } from '../../lib/derp/frame-queue.ts';
import { MemoryBudget } from '../../lib/derp/memory-budget.ts';
import { Seeded } from '../crypto/support.ts';

const test = suite('derp frame queue');

function add(queue: FrameQueue, bytes: number, fill: number): boolean {
  const at = queue.push(bytes);
  if (at >= 0) queue.buf.fill(fill, at, at + bytes);
  return at >= 0;
}

/** `length:fill` of the oldest record, removed. */
function take(queue: FrameQueue): string {
  const record = queue.buf.slice(queue.start, queue.start + queue.length);
  queue.shift();
  assert.ok(record.every(byte => byte === record[0]));
  return `${record.length}:${record[0]}`;
}

test('records come out in order, whole, and the oldest goes first when there are too many', () => {
  const queue = new FrameQueue(3, 10_000, new MemoryBudget(Infinity));
  for (let i = 1; i <= 5; i++) assert.ok(add(queue, 10 * i, i));
  assert.is(queue.count, 3);
  assert.is(queue.dropped, 2);
  assert.equal([take(queue), take(queue), take(queue)], ['30:3', '40:4', '50:5']);
  assert.is(queue.count, 0);
});

test('bytes are bounded: the oldest make room, and what can never fit is refused alone', () => {
  const queue = new FrameQueue(100, 1000, new MemoryBudget(Infinity));
  for (let i = 1; i <= 4; i++) add(queue, 300, i);
  assert.ok(queue.capacity <= 1000);
  assert.is(queue.count, 3);
  assert.is(add(queue, 997, 9), false);
  assert.is(queue.count, 3);
  assert.is(queue.dropped, 2);
  assert.is(take(queue), '300:2');
});

test('memory beyond the first 4 KB comes out of the shared budget and goes back', () => {
  const budget = new MemoryBudget(20_000);
  const [a, b] = [new FrameQueue(32, 16_384, budget), new FrameQueue(32, 16_384, budget)];
  for (let i = 0; i < 12; i++) add(a, 1300, i);
  assert.is(a.capacity, 16_384);
  assert.is(budget.usedBytes, 16_384);
  for (let i = 0; i < 12; i++) add(b, 1300, i);
  assert.is(b.capacity, 4096, 'its own share stays');
  assert.is(b.count, 3);
  assert.is(take(b), '1300:9', 'the newest are kept');
  while (a.count > 0) take(a);
  a.trim();
  assert.is(budget.usedBytes, 0);
  assert.is(a.capacity, 0);
  for (let i = 0; i < 12; i++) add(b, 1300, i);
  assert.is(b.count, 12);
  b.clear();
  assert.is(budget.usedBytes, 0);
});

test('random pushes and shifts behave as a plain list does', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const seeded = new Seeded(seed);
    const queue = new FrameQueue(20, 3000, new MemoryBudget(Infinity));
    let twin: string[] = [];
    let pushed = 0;
    for (let step = 0; step < 600; step++) {
      if (seeded.below(5) < 3) {
        const bytes = 1 + seeded.below(400);
        const before = queue.dropped;
        assert.ok(add(queue, bytes, ++pushed & 255));
        twin = twin.slice(queue.dropped - before);
        twin.push(`${bytes}:${pushed & 255}`);
      } else if (queue.count > 0) {
        assert.is(take(queue), twin.shift(), `seed ${seed} step ${step}`);
      }
      assert.is(queue.count, twin.length);
      assert.ok(queue.count <= 20 && queue.capacity <= 3000);
    }
    assert.ok(queue.dropped > 10 && twin.length > 0);
  }
});

test.run();
