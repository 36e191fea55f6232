import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Encode } from '../../lib/base/bytes.ts';
import { fnv1a, foldChecksum, pseudoSum, sumBytes } from '../../lib/base/checksum.ts';
import { seededRandom } from '../netstack/helpers.ts';

const test = suite('base/checksum');

/** RFC 1071 §1 in its plainest form, with carries added at once: the oracle. */
function slowSum(buf: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial % 0xffff === 0 && initial > 0 ? 0xffff : initial % 0xffff;
  for (let i = start; i < end; i += 2) {
    sum += buf[i]! * 256 + (i + 1 < end ? buf[i + 1]! : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

test('the worked example of RFC 1071 §3 sums to ddf2', () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.is(foldChecksum(sumBytes(bytes, 0, 8)), ~0xddf2 & 0xffff);
});

test('a known IPv4 header has its known checksum, and verifies to zero with it', () => {
  // 192.168.0.1 -> 192.168.0.199, UDP, 115 bytes: the well-known textbook header with checksum b861
  const header = Uint8Array.of(
    0x45,
    0,
    0,
    0x73,
    0,
    0,
    0x40,
    0,
    0x40,
    0x11,
    0,
    0,
    0xc0,
    0xa8,
    0,
    1,
    0xc0,
    0xa8,
    0,
    0xc7,
  );
  assert.is(foldChecksum(sumBytes(header, 0, 20)), 0xb861);
  header.set([0xb8, 0x61], 10);
  assert.is(foldChecksum(sumBytes(header, 0, 20)), 0);
});

test('an empty range adds nothing', () => {
  assert.is(sumBytes(new Uint8Array(4), 2, 2, 17), 17);
  assert.is(foldChecksum(0), 0xffff);
});

test('an odd last byte counts as the high half of a word', () => {
  assert.is(foldChecksum(sumBytes(Uint8Array.of(0x12, 0x34, 0x56), 0, 3)), ~(0x1234 + 0x5600) & 0xffff);
});

test('every length, start and alignment agrees with the slow reference', () => {
  const random = seededRandom(1);
  const raw = new Uint8Array(1200);
  random(raw);
  for (let align = 0; align < 8; align++) {
    const buf = raw.subarray(align);
    for (let start = 0; start < 5; start++) {
      for (let length = 0; length < 420; length++) {
        const initial = (length * 7919) & 0xffff;
        const expected = ~slowSum(buf, start, start + length, initial) & 0xffff;
        const got = foldChecksum(sumBytes(buf, start, start + length, initial));
        // 0000 and ffff are the two zeros of one's complement
        assert.ok(got === expected || (got % 0xffff === 0 && expected % 0xffff === 0), `${align} ${start} ${length}`);
      }
    }
  }
});

test('bytes outside the range do not count', () => {
  const buf = new Uint8Array(600).fill(0xff);
  buf.fill(0, 3, 503);
  assert.is(sumBytes(buf, 3, 503), 0);
  assert.is(sumBytes(buf, 3, 3 + 40), 0);
});

test('the largest packet of all ones does not overflow', () => {
  const buf = new Uint8Array(131072).fill(0xff);
  assert.is(foldChecksum(sumBytes(buf, 0, 65535, 0x1ffff)), ~slowSum(buf, 0, 65535, 0x1ffff) & 0xffff);
  assert.is(foldChecksum(sumBytes(buf, 0, 131072)), 0);
  assert.is(foldChecksum(sumBytes(buf, 1, 131072)), ~slowSum(buf, 1, 131072) & 0xffff);
});

test('a sum split at even offsets is the sum of the whole', () => {
  const buf = new Uint8Array(1000);
  seededRandom(5)(buf);
  const whole = foldChecksum(sumBytes(buf, 0, 1000));
  for (let at = 0; at <= 1000; at += 2)
    assert.is(foldChecksum(sumBytes(buf, at, 1000, sumBytes(buf, 0, at))), whole, `split at ${at}`);
});

test('running sums stay below 2^17, so chains cannot overflow', () => {
  const buf = new Uint8Array(65535).fill(0xff);
  let sum = 0;
  for (let i = 0; i < 50; i++) {
    sum = sumBytes(buf, 0, 65534, sum);
    assert.ok(sum < 0x20000);
  }
});

test('a pseudo header sums like its bytes, for both families and for lengths over 65535', () => {
  const v4 = Uint8Array.of(10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0x12, 0x34);
  assert.is(foldChecksum(pseudoSum(17, 0x1234, sumBytes(v4, 0, 8))), foldChecksum(sumBytes(v4, 0, 12)));
  const v6 = new Uint8Array(40);
  seededRandom(9)(v6);
  v6.set([0, 1, 0xff, 0xfe, 0, 0, 0, 6], 32);
  assert.is(foldChecksum(pseudoSum(6, 0x1fffe, sumBytes(v6, 0, 32))), foldChecksum(sumBytes(v6, 0, 40)));
});

test('FNV-1a gives the published values, of the range alone', () => {
  for (const [text, sum] of [
    ['', 0x811c_9dc5],
    ['a', 0xe40c_292c],
    ['foobar', 0xbf9c_f968],
  ] as const) {
    const buf = utf8Encode(`x${text}y`);
    assert.is(fnv1a(buf, 1, buf.length - 1), sum);
  }
});

test.run();
