/** Timestamps: their form, their grid, and that they only ever increase. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex } from '../../lib/base/bytes.ts';
import { isLaterTimestamp, readTimestamp, TimestampClock, tickOf, writeTimestamp } from '../../lib/wireguard/tai64n.ts';
import { hex, seededWords } from './support.ts';

const test = suite('tai64n');
const HOUR_MS = 3_600_000;

function stamp(tick: number): string {
  const out = new Uint8Array(12);
  writeTimestamp(out, 0, tick);
  return toHex(out);
}

test('a wall clock has the known bytes', () => {
  assert.is(stamp(tickOf(0x6500_0000 * 1000)), '400000006500000a00000000');
  assert.is(stamp(tickOf(0)), '400000000000000a00000000');
  assert.is(stamp(tickOf(2 ** 32 * 1000)), '400000010000000a00000000');
});

test('nanoseconds are blunted to multiples of 2^24 and stay below a second', () => {
  assert.is(stamp(tickOf(16)), '400000000000000a00000000');
  assert.is(stamp(tickOf(17)), '400000000000000a01000000');
  assert.is(stamp(tickOf(999.9999)), '400000000000000a3b000000');
  assert.is(stamp(tickOf(1000)), '400000000000000b00000000');
});

test('10 ms later is not later, 20 ms later is', () => {
  const bytes = (ms: number) => hex(stamp(tickOf(ms)));
  const base = 1_700_000_000_000;
  assert.not(isLaterTimestamp(bytes(base + 10), 0, bytes(base), 0));
  assert.ok(isLaterTimestamp(bytes(base + 20), 0, bytes(base), 0));
});

test('clocks before 1970, after the year 30,000 and without a number give a valid stamp', () => {
  assert.is(stamp(tickOf(-1)), stamp(0));
  assert.is(stamp(tickOf(Number.NaN)), stamp(0));
  assert.is(stamp(tickOf(Number.POSITIVE_INFINITY)).length, 24);
  assert.is(readTimestamp(hex(stamp(tickOf(1e17)))), tickOf(1e17));
});

test('comparison is of all 12 bytes from the first, and equal is not later', () => {
  const a = hex('400000006500000a00000000');
  assert.not(isLaterTimestamp(a, 0, a, 0));
  for (let i = 0; i < 12; i++) {
    const b = a.slice();
    b[i]! += 1;
    if (i < 11) b[i + 1] = 0;
    assert.ok(isLaterTimestamp(b, 0, a, 0), `byte ${i}`);
    assert.not(isLaterTimestamp(a, 0, b, 0), `byte ${i}`);
  }
});

test('reading is the reverse of writing and rounds up to the grid', () => {
  for (const tick of [0, 1, 59, 60, 61, tickOf(1_700_000_000_123)]) assert.is(readTimestamp(hex(stamp(tick))), tick);
  assert.is(readTimestamp(hex('400000000000000a00000001')), 1);
  assert.is(readTimestamp(hex('400000000000000a3b9ac9ff')), 60);
});

test('a floor that is none is refused', () => {
  for (const text of ['', '400000006500000a000000', '400000006500000a0000000000'])
    assert.throws(() => readTimestamp(hex(text)));
  assert.throws(() => readTimestamp(hex('3fffffffffffffff00000000')));
  assert.throws(() => readTimestamp(hex('400000000000000900000000')));
  assert.throws(() => readTimestamp(hex('ffffffffffffffff00000000')));
  assert.throws(() => readTimestamp(hex('400000000000000a3b9aca00')));
});

test('ticks follow the wall clock, and one peer never gets the same twice', () => {
  const clock = new TimestampClock(HOUR_MS, undefined);
  const first = clock.next(1_000_000, -1);
  assert.is(first, tickOf(1_000_000));
  assert.is(clock.next(1_000_000, first), first + 1);
  assert.is(clock.next(2_000_000, first + 1), tickOf(2_000_000));
});

test('different peers may share a tick, so that many of them do not push the clock ahead', () => {
  const clock = new TimestampClock(HOUR_MS, undefined);
  for (let i = 0; i < 1000; i++) assert.is(clock.next(5_000_000, -1), tickOf(5_000_000));
});

test('a peer that was forgotten does not get a tick again that it may have used', () => {
  const clock = new TimestampClock(HOUR_MS, undefined);
  const used = clock.next(1_000_000, -1);
  clock.retire(used);
  assert.ok(clock.next(1_000_000, -1) > used);
  clock.retire(used);
  assert.is(clock.next(1_000_000, -1), used + 1);
});

test('ticks increase whatever the wall clock does', () => {
  const word = seededWords(7);
  const clock = new TimestampClock(HOUR_MS, undefined);
  let last = -1;
  for (let i = 0; i < 2000; i++) {
    const tick = clock.next((word() % 4_000_000) * 1000, last);
    assert.ok(tick > last);
    last = tick;
  }
});

test('the floor is given before its ticks are used up, once per window', () => {
  const clock = new TimestampClock(HOUR_MS, undefined);
  assert.is(clock.takeFloor(), undefined);
  let floor = -1;
  let floors = 0;
  let last = -1;
  for (let ms = 0; ms < 10 * HOUR_MS; ms += 60_000) {
    last = clock.next(1_700_000_000_000 + ms, last);
    const saved = clock.takeFloor();
    assert.is(clock.takeFloor(), undefined);
    if (saved !== undefined) {
      floors++;
      floor = readTimestamp(saved);
    }
    assert.ok(last <= floor);
  }
  assert.ok(floors >= 9 && floors <= 11, `${floors} writes in ten hours`);
});

test('after a reboot ticks go on above the floor, with the clock at 1970 or right', () => {
  const before = new TimestampClock(HOUR_MS, undefined);
  const used = before.next(1_700_000_000_000, -1);
  const floor = before.takeFloor()!;
  for (const unixMs of [0, 1_700_000_001_000, 1_600_000_000_000]) {
    const after = new TimestampClock(HOUR_MS, floor);
    assert.ok(after.next(unixMs, -1) > used);
    assert.ok(after.next(unixMs, -1) > readTimestamp(floor));
    assert.ok(after.takeFloor() !== undefined, 'a new window is reserved');
  }
  const later = new TimestampClock(HOUR_MS, floor);
  assert.is(later.next(1_800_000_000_000, -1), tickOf(1_800_000_000_000));
});

test.run();
