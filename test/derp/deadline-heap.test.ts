import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DeadlineHeap, type DeadlineOwner } from '../../lib/derp/deadline-heap.ts';
import { Seeded } from '../crypto/support.ts';

const test = suite('deadline heap');

test('random settings, moves and removals leave the earliest first, as sorting does', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const seeded = new Seeded(seed);
    const heap = new DeadlineHeap<DeadlineOwner>();
    const owners = Array.from({ length: 40 }, () => ({ dueMs: Infinity, heapIndex: -1 }));
    for (let step = 0; step < 1000; step++) {
      const owner = owners[seeded.below(40)]!;
      if (seeded.below(4) === 0) heap.remove(owner);
      else heap.set(owner, seeded.below(8) === 0 ? Infinity : seeded.below(500));
      const least = Math.min(...owners.map(({ dueMs }) => dueMs));
      assert.is(heap.nextMs, least, `seed ${seed} step ${step}`);
      assert.is(heap.first?.dueMs ?? Infinity, least);
      assert.is(heap.size, owners.filter(({ dueMs }) => dueMs < Infinity).length);
    }
    let last = -1;
    for (let owner = heap.first; owner !== undefined; owner = heap.first) {
      assert.ok(owner.dueMs >= last);
      last = owner.dueMs;
      heap.remove(owner);
      assert.is(owner.heapIndex, -1);
    }
  }
});

test.run();
