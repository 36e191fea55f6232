/** Heavy work one piece at a time, with pauses for the others. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Pace } from '../../targets/server/pace.ts';
import { until } from './support.ts';

const test = suite('pace');

test('the first piece is done at once, the next after four times as long as it took', async () => {
  let nowMs = 1000;
  const done: string[] = [];
  const pace = new Pace(() => nowMs);
  pace.run(() => {
    done.push('a');
    nowMs += 20;
  });
  assert.equal(done, ['a']);
  pace.run(() => done.push('b'));
  pace.run(() => done.push('c'));
  assert.equal([done, pace.length], [['a'], 2]);
  nowMs += 79;
  await sleep(120); // its timer has passed, its clock has not
  assert.equal(done, ['a']);
  nowMs += 1;
  await until(() => done.length === 3);
  assert.equal([done, pace.length], [['a', 'b', 'c'], 0]);
});

test('pieces that take no time wait for nothing', () => {
  const pace = new Pace(() => 5);
  let count = 0;
  for (let i = 0; i < 1000; i++) pace.run(() => void count++);
  assert.is(count, 1000);
});

test('a pause has an end, however long a piece took', async () => {
  let nowMs = 0;
  let isDone = false;
  const pace = new Pace(() => nowMs);
  pace.run(() => {
    nowMs += 3_600_000;
  });
  nowMs += 4999;
  pace.run(() => {
    isDone = true;
  });
  assert.is(isDone, false);
  nowMs += 1;
  await until(() => isDone);
});

test('at the end everything that waits is told', () => {
  let nowMs = 0;
  const done: number[] = [];
  const pace = new Pace(() => nowMs);
  for (let i = 0; i < 3; i++)
    pace.run(() => {
      done.push(i);
      nowMs += 1000;
    });
  assert.equal(done, [0]);
  pace.close();
  assert.equal([done, pace.length], [[0, 1, 2], 0]);
});

test.run();
