/** Receiver indices. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { drawIndex, IndexTable } from '../../lib/wireguard/index-table.ts';
import { hex, seededRandom, seededWords } from './support.ts';

const test = suite('index table');

test('random insertions and deletions agree with a map, also among colliding indices', () => {
  const word = seededWords(5);
  const table = new IndexTable<{ localIndex: number; step: number }>();
  const map = new Map<number, number>();
  const index = () => (word() % 4 === 0 ? word() : (word() & 7) * 0x2000_0000 + (word() & 31));
  for (let step = 0; step < 30_000; step++) {
    const key = index();
    // Growing and shrinking in turns.
    if (map.has(key) || (step >> 12) % 2 === 1) {
      table.delete(key);
      map.delete(key);
    } else {
      table.add({ localIndex: key, step });
      map.set(key, step);
    }
    const asked = index();
    assert.is(table.get(asked)?.step, map.get(asked), `step ${step}`);
  }
  assert.is(table.size, map.size);
  for (const [key, value] of map) assert.is(table.get(key)?.step, value);
});

test('the indices 0 and 2^32-1 are as good as any', () => {
  const [zero, last] = [{ localIndex: 0 }, { localIndex: 0xffff_ffff }];
  const table = new IndexTable<{ localIndex: number }>();
  table.add(zero);
  table.add(last);
  assert.equal([table.get(0), table.get(0xffff_ffff), table.get(1)], [zero, last, undefined]);
  table.delete(0);
  assert.equal([table.get(0), table.get(0xffff_ffff)], [undefined, last]);
});

test('an index that is taken is drawn again', () => {
  const draws = ['01000000', '01000000', '02000000'].map(hex);
  assert.is(
    drawIndex(
      out => out.set(draws.shift()!),
      index => index === 1,
    ),
    2,
  );
});

test('indices come from the generator and are not counted up', () => {
  const random = seededRandom(1);
  const drawn = Array.from({ length: 100 }, () => drawIndex(random, () => false));
  const steps = new Set(drawn.slice(1).map((index, i) => index - drawn[i]!));
  assert.ok(steps.size > 95);
});

test('a generator that repeats itself is reported instead of looping for ever', () => {
  assert.throws(
    () =>
      drawIndex(
        () => {},
        () => true,
      ),
    /repeats/,
  );
});

test.run();
