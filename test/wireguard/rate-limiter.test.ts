/** Rates per source: the list of the kernel's self-test, and what a full table does. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sourceBytes } from '../../lib/wireguard/mac.ts';
import { RateLimiter } from '../../lib/wireguard/rate-limiter.ts';
import { at, seededWords } from './support.ts';

const test = suite('rate limiter');
const source = (address: string) => sourceBytes({ address, port: 1 });

/** The self-test of the kernel: ms after the step before, and whether a message is allowed. */
const LIST: readonly (readonly [number, boolean])[] = [
  ...new Array(5).fill([0, true] as const),
  [0, false],
  [50, true],
  [0, false],
  [100, true],
  [0, true],
  [0, false],
  [1000, true],
  ...new Array(4).fill([0, true] as const),
  [0, false],
];

for (const address of ['192.0.2.1', '2001:db8::1']) {
  test(`the known list of allowed and refused messages holds for ${address}`, () => {
    const limiter = new RateLimiter(64, 1);
    let nowMs = 1000;
    LIST.forEach(([afterMs, isExpected], i) => {
      nowMs += afterMs;
      assert.is(limiter.allow(nowMs, source(address), 0), isExpected, `step ${i}`);
    });
  });
}

test('a refused message costs nothing', () => {
  const limiter = new RateLimiter(64, 1);
  for (let i = 0; i < 1000; i++) limiter.allow(0, source('192.0.2.1'), 0);
  assert.ok(limiter.allow(50, source('192.0.2.1'), 0));
  assert.not(limiter.allow(99, source('192.0.2.1'), 0));
  assert.ok(limiter.allow(100, source('192.0.2.1'), 0));
});

test('sources and classes are independent; ports are not', () => {
  const limiter = new RateLimiter(64, 1);
  for (let i = 0; i < 6; i++) limiter.allow(0, source('192.0.2.1'), 0);
  assert.not(limiter.allow(0, sourceBytes(at('192.0.2.1:99')), 0));
  assert.ok(limiter.allow(0, source('192.0.2.2'), 0));
  assert.ok(limiter.allow(0, source('2001:db8::1'), 0));
  assert.ok(limiter.allow(0, source('192.0.2.1'), 1));
});

test('an IPv6 /64 network is one source, and IPv4 in IPv6 is IPv4', () => {
  const limiter = new RateLimiter(64, 1);
  for (let i = 1; i <= 5; i++) assert.ok(limiter.allow(0, source(`2001:db8::${i}`), 0));
  assert.not(limiter.allow(0, source('2001:db8::ffff:6'), 0));
  assert.ok(limiter.allow(0, source('2001:db8:0:1::1'), 0));
  for (let i = 0; i < 5; i++) assert.ok(limiter.allow(0, source('192.0.2.1'), 0));
  assert.not(limiter.allow(0, source('::ffff:192.0.2.1'), 0));
  assert.ok(limiter.allow(0, source('::ffff:192.0.2.2'), 0));
});

test('a table that is full stays as large as it is and forgets the quietest', () => {
  const limiter = new RateLimiter(8, 1);
  const word = seededWords(3);
  for (let i = 0; i < 10_000; i++) {
    const bytes = new Uint8Array(16);
    bytes.set([0x20, 1, word(), word(), word(), word(), word(), word()]);
    assert.ok(limiter.allow(0, bytes, 0), 'a new source is never refused');
  }
});

test('a thousand sources at a time keep their own counts', () => {
  const limiter = new RateLimiter(4096, 99);
  let refused = 0;
  for (let round = 0; round < 6; round++)
    for (let i = 0; i < 1000; i++) if (!limiter.allow(0, source(`10.0.${i >> 8}.${i & 255}`), 0)) refused++;
  // Sets of four overflow now and then, which is in favour of the source.
  assert.ok(refused > 950 && refused <= 1000, String(refused));
});

test.run();
