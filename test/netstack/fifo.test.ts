import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Fifo } from '../../lib/netstack/fifo.ts';

const test = suite('netstack/fifo');

test('items come out in order, and a full queue refuses the newest', () => {
  const queue = new Fifo<number>(3);
  assert.is(queue.shift(), undefined);
  assert.equal(
    [1, 2, 3, 4].map(item => queue.push(item)),
    [true, true, true, false],
  );
  assert.equal([queue.shift(), queue.shift(), queue.shift(), queue.shift()], [1, 2, 3, undefined]);
  assert.ok(queue.push(5));
  assert.is(queue.size, 1);
});

test('a queue that is never quite empty keeps its order and its bound', () => {
  const queue = new Fifo<number>(200);
  let next = 0;
  let expected = 0;
  for (let i = 0; i < 1000; i++) {
    for (let j = 0; j < 3; j++) if (queue.push(next)) next++;
    for (let j = 0; j < 2; j++) assert.is(queue.shift(), expected++);
    assert.ok(queue.size <= 200);
    assert.is(queue.size, next - expected);
  }
});

test.run();
