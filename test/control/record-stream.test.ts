/** Records of ts2021 alone: the ends of the counters, queues and what wiping leaves. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { ByteFifo } from '../../lib/control/byte-fifo.ts';
import { RecordStream, TRANSPORT_LIMITS_SMALL } from '../../lib/control/record-stream.ts';
import { Seeded } from '../crypto/support.ts';
import { noble, sent } from './support.ts';

const test = suite('record-stream');
const LAST = Number.MAX_SAFE_INTEGER - 1;
const [a, b] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
const HELLO = utf8Encode('hello');

function pair(counter: number) {
  const [left, right] = [
    new RecordStream(noble, TRANSPORT_LIMITS_SMALL),
    new RecordStream(noble, TRANSPORT_LIMITS_SMALL),
  ];
  left.start(a, b, counter, counter);
  right.start(b, a, counter, counter);
  return { left, right };
}

test('the counter is 64 bits in big endian', () => {
  const { left } = pair(0x0102030405);
  left.handlePlain(HELLO, 0, 5);
  const record = sent(left);
  const expected = new Uint8Array(21);
  const nonce = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5);
  noble.aeadSeal(expected, a, nonce, new Uint8Array(0), HELLO);
  assert.is(toHex(record), `040015${toHex(expected)}`);
});

test('the last counter is used, and then the stream ends before a number comes twice', () => {
  const { left, right } = pair(LAST);
  left.handlePlain(HELLO, 0, 5);
  const last = sent(left);
  assert.is(last.length, 24);
  assert.ok(right.handleBytes(last, 0, last.length));
  left.handlePlain(HELLO, 0, 5);
  assert.is(sent(left).length, 0);
  assert.is(left.problem, 'too many records');
  assert.not.ok(right.handleBytes(last, 0, last.length));
  assert.is(right.problem, 'too many records');
});

test('a receiver refuses the counter beyond the last even for a record that would open', () => {
  const { right } = pair(LAST + 1);
  const nonce = Uint8Array.of(0, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
  const record = new Uint8Array(24);
  record.set([4, 0, 21]);
  noble.aeadSeal(record.subarray(3), a, nonce, new Uint8Array(0), HELLO);
  assert.not.ok(right.handleBytes(record, 0, 24));
  assert.is(right.problem, 'too many records');
});

test('a queue of bytes gives what it took, never holds more than its limit, and lets memory go', () => {
  const seeded = new Seeded(11);
  const fifo = new ByteFifo(10_000);
  const expected: number[] = [];
  const out = new Uint8Array(6000);
  for (let i = 0; i < 2000; i++) {
    const bytes = seeded.bytes(seeded.below(500));
    const taken = fifo.push(bytes, 0, bytes.length);
    assert.is(taken, Math.min(bytes.length, 10_000 - expected.length));
    expected.push(...bytes.subarray(0, taken));
    const moved = fifo.shift(out, 3, 3 + seeded.below(520));
    assert.equal([...out.subarray(3, 3 + moved)], expected.splice(0, moved));
    assert.is(fifo.length, expected.length);
    assert.ok(fifo.buf.length <= 10_000);
  }
  fifo.push(out, 0, 6000);
  while (fifo.shift(out, 0, 6000) > 0);
  assert.ok(fifo.buf.length <= 4096);
  assert.throws(() => fifo.reserve(10_001), RangeError);
});

test.run();
