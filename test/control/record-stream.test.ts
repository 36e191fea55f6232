/** Records of ts2021 alone: the ends of the counters, queues and what wiping leaves. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { ByteFifo } from '../../lib/control/byte-fifo.ts';
import { RecordStream } from '../../lib/control/record-stream.ts';
import { Seeded } from '../crypto/support.ts';
import { noble, sent } from './support.ts';

const test = suite('record-stream');
const LAST = Number.MAX_SAFE_INTEGER - 1;
const [a, b] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
const HELLO = utf8Encode('hello');

function pair(counter: number) {
  const [left, right] = [new RecordStream(noble), new RecordStream(noble)];
  left.start(a, b, counter, counter);
  right.start(b, a, counter, counter);
  return { left, right };
}

/** What a stream makes of a text when it is asked for pieces of `room`. */
function sealed(stream: RecordStream, text: Uint8Array, room = 5000): Uint8Array {
  const source = new ByteFifo(100_000);
  source.push(text, 0, text.length);
  return sent({ pollBytes: (out, start, end) => stream.pollBytes(source, out, start, end) }, room);
}

/** What comes out of records in pieces of `size`; undefined: the stream is dead. */
function opened(stream: RecordStream, records: Uint8Array, size = records.length): Uint8Array | undefined {
  const plain: number[] = [];
  for (let at = 0; at < records.length; ) {
    const piece = records.slice(at, at + size);
    for (let from = 0; from < piece.length; ) {
      from = stream.handleBytes(piece, from, piece.length);
      if (from < 0) return undefined;
      plain.push(...(stream.plain ?? []));
    }
    at += piece.length;
  }
  return Uint8Array.from(plain);
}

test('the counter is 64 bits in big endian', () => {
  const { left } = pair(0x0102030405);
  const record = sealed(left, HELLO);
  const expected = new Uint8Array(21);
  const nonce = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5);
  noble.aeadSeal(expected, a, nonce, new Uint8Array(0), HELLO);
  assert.is(toHex(record), `040015${toHex(expected)}`);
});

test('the last counter is used, and then the stream ends before a number comes twice', () => {
  const { left, right } = pair(LAST);
  const last = sealed(left, HELLO);
  assert.is(last.length, 24);
  assert.equal(opened(right, last), HELLO);
  assert.is(sealed(left, HELLO).length, 0);
  assert.is(left.problem, 'too many records');
  assert.is(opened(right, last), undefined);
  assert.is(right.problem, 'too many records');
});

test('a record is opened where it lies, and held only while it is in pieces', () => {
  const { left, right } = pair(0);
  const record = sealed(left, new Uint8Array(1000).fill(7));
  const copy = record.slice();
  assert.is(right.handleBytes(record, 0, record.length), record.length);
  assert.is(right.plain?.buffer, record.buffer);
  assert.is(right.plain?.byteOffset, 3);
  assert.equal(right.plain, new Uint8Array(1000).fill(7));
  assert.is(right.heldBytes, 0);
  const { right: slow } = pair(0);
  assert.is(slow.handleBytes(copy, 0, 3), 3);
  assert.is(slow.heldBytes, 0, 'a header is not worth memory');
  assert.is(slow.handleBytes(copy, 3, 100), 100);
  assert.is(slow.heldBytes, 1016);
  assert.is(slow.partBytes, 100);
  assert.is(slow.plain, undefined);
  assert.is(slow.handleBytes(copy, 100, 1019), 1019);
  assert.equal(slow.plain, new Uint8Array(1000).fill(7));
  assert.is(slow.heldBytes, 0);
  assert.is(slow.partBytes, 0);
});

test('pieces and rooms of any size carry the same bytes, one record at a time', () => {
  const seeded = new Seeded(21);
  const text = seeded.bytes(10_000);
  for (const room of [1, 2, 19, 20, 127, 128, 129, 1024, 4095, 4096, 4097, 20_000]) {
    const { left, right } = pair(0);
    const records = sealed(left, text, room);
    assert.equal(opened(right, records, 1 + seeded.below(600)), text, `room ${room}`);
    assert.ok(left.isDrained);
    const overhead = (records.length - text.length) / 19;
    assert.ok(Number.isInteger(overhead) && overhead <= Math.ceil(text.length / 100), `${overhead} records`);
    assert.is(left.heldBytes + right.heldBytes, 0);
  }
  const { left, right } = pair(0);
  const two = Uint8Array.from([...sealed(left, HELLO), ...sealed(left, HELLO)]);
  assert.is(right.handleBytes(two, 0, two.length), 24, 'it stops behind each');
});

test('a dead stream holds and gives nothing', () => {
  const { left, right } = pair(0);
  const record = sealed(left, HELLO);
  right.handleBytes(record, 0, 20);
  assert.is(right.fail('why'), -1);
  assert.is(right.heldBytes, 0);
  assert.is(right.partBytes, 0);
  assert.is(right.handleBytes(record, 20, 24), -1);
  assert.is(sealed(right, HELLO).length, 0);
  assert.is(right.problem, 'why');
});

test('a receiver refuses the counter beyond the last even for a record that would open', () => {
  const { right } = pair(LAST + 1);
  const nonce = Uint8Array.of(0, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
  const record = new Uint8Array(24);
  record.set([4, 0, 21]);
  noble.aeadSeal(record.subarray(3), a, nonce, new Uint8Array(0), HELLO);
  assert.is(right.handleBytes(record, 0, 24), -1);
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
    const moved = fifo.pollBytes(out, 3, 3 + seeded.below(520));
    assert.equal([...out.subarray(3, 3 + moved)], expected.splice(0, moved));
    assert.is(fifo.length, expected.length);
    assert.ok(fifo.buf.length <= 10_000);
  }
  fifo.push(out, 0, 6000);
  while (fifo.pollBytes(out, 0, 6000) > 0);
  assert.ok(fifo.buf.length <= 4096);
  assert.throws(() => fifo.reserve(10_001), RangeError);
});

test.run();
