import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PacketQueue } from '../../lib/netstack/packet-queue.ts';
import { seededRandom } from './helpers.ts';

const test = suite('netstack/packet-queue');

function push(queue: PacketQueue, bytes: Uint8Array): boolean {
  const at = queue.reserve(bytes.length);
  if (at < 0) return false;
  queue.buf.set(bytes, at);
  queue.commit();
  return true;
}

function shift(queue: PacketQueue): Uint8Array | undefined {
  const at = queue.peek();
  if (at < 0) return undefined;
  const bytes = queue.buf.slice(at, at + queue.peekBytes());
  queue.shift();
  return bytes;
}

test('records come out in order, byte for byte, empty ones too', () => {
  const queue = new PacketQueue(1000, 10);
  assert.is(shift(queue), undefined);
  for (const length of [3, 0, 100, 1]) assert.ok(push(queue, new Uint8Array(length).fill(length)));
  assert.is(queue.count, 4);
  assert.is(queue.bytes, 104 + 4 * 4);
  for (const length of [3, 0, 100, 1]) assert.equal(shift(queue), new Uint8Array(length).fill(length));
  assert.is(shift(queue), undefined);
  assert.is(queue.bytes, 0);
});

test('an empty queue holds no memory, and its memory never passes the limit', () => {
  const queue = new PacketQueue(10_000, 1000);
  assert.is(queue.capacity, 0);
  while (push(queue, new Uint8Array(90)));
  assert.is(queue.capacity, 10_000);
  assert.is(queue.count, Math.floor(10_000 / 94));
});

test('a full queue refuses the newest and keeps the rest', () => {
  const queue = new PacketQueue(100, 10);
  assert.ok(push(queue, new Uint8Array(46).fill(1)));
  assert.ok(push(queue, new Uint8Array(46).fill(2)));
  assert.not.ok(push(queue, new Uint8Array(0)));
  assert.equal(shift(queue), new Uint8Array(46).fill(1));
  assert.equal(shift(queue), new Uint8Array(46).fill(2));
});

test('the number of records is bounded besides their bytes', () => {
  const queue = new PacketQueue(1000, 2);
  assert.ok(push(queue, new Uint8Array(1)));
  assert.ok(push(queue, new Uint8Array(1)));
  assert.not.ok(push(queue, new Uint8Array(1)));
  shift(queue);
  assert.ok(push(queue, new Uint8Array(1)));
});

test('a record of the whole limit fits into an empty queue, one byte more does not', () => {
  const queue = new PacketQueue(100, 10);
  assert.not.ok(push(queue, new Uint8Array(97)));
  assert.ok(push(queue, new Uint8Array(96)));
});

test('a reservation that is not committed leaves no trace', () => {
  const queue = new PacketQueue(100, 10);
  push(queue, Uint8Array.of(1));
  queue.reserve(50);
  queue.reserve(20);
  assert.is(queue.count, 1);
  push(queue, Uint8Array.of(2));
  assert.equal(shift(queue), Uint8Array.of(1));
  assert.equal(shift(queue), Uint8Array.of(2));
  assert.is(shift(queue), undefined);
});

test('a large ring is given back once it is empty, a small one is kept', () => {
  const queue = new PacketQueue(1_000_000, 10_000);
  push(queue, new Uint8Array(100));
  shift(queue);
  queue.trim();
  assert.ok(queue.capacity > 0 && queue.capacity <= 65_536);
  push(queue, new Uint8Array(200_000));
  queue.trim();
  assert.ok(queue.capacity >= 200_000);
  shift(queue);
  queue.trim();
  assert.is(queue.capacity, 0);
});

test('a small queue takes what it needs and keeps nothing while it is empty', () => {
  const queue = new PacketQueue(8192, 16);
  push(queue, new Uint8Array(84));
  assert.is(queue.capacity, 128);
  push(queue, new Uint8Array(1200));
  assert.is(queue.capacity, 2048);
  shift(queue);
  queue.trim();
  assert.is(queue.capacity, 2048);
  shift(queue);
  queue.trim();
  assert.is(queue.capacity, 0);
});

test('clearing forgets everything', () => {
  const queue = new PacketQueue(1000, 10);
  push(queue, new Uint8Array(10));
  queue.clear();
  assert.equal([queue.count, queue.bytes, queue.capacity, queue.peek()], [0, 0, 0, -1]);
  assert.ok(push(queue, Uint8Array.of(7)));
  assert.equal(shift(queue), Uint8Array.of(7));
});

test('random pushes and shifts agree with a plain list, through wraps and growth', () => {
  const random = seededRandom(31);
  const draw = new Uint8Array(3);
  for (const limit of [64, 300, 5000, 100_000]) {
    const queue = new PacketQueue(limit, 50);
    const list: Uint8Array[] = [];
    let refused = 0;
    for (let i = 0; i < 4000; i++) {
      random(draw);
      if (draw[0]! % 5 < 3) {
        const bytes = new Uint8Array(((draw[1]! << 8) | draw[2]!) % Math.ceil(limit / 3)).fill(i);
        const used = list.reduce((sum, record) => sum + record.length + 4, 0);
        if (push(queue, bytes)) list.push(bytes);
        else {
          refused++;
          // Refused only when the limits say so, or when the free space is in two pieces: never more waste than one record.
          const waste = Math.ceil(limit / 3) + 4;
          assert.ok(
            list.length >= 50 || used + bytes.length + 4 + waste > limit,
            `${used} + ${bytes.length} of ${limit}`,
          );
        }
      } else assert.equal(shift(queue), list.shift());
      assert.is(queue.count, list.length);
      assert.ok(queue.capacity <= limit);
    }
    while (list.length > 0) assert.equal(shift(queue), list.shift());
    assert.ok(refused > 0);
  }
});

test.run();
