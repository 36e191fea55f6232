/** The under-load rule by itself. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Admission, type Verdict } from '../../lib/wireguard/admission.ts';
import { sourceBytes } from '../../lib/wireguard/mac.ts';
import { seededWords } from './support.ts';

const test = suite('admission');
const source = (i: number) => sourceBytes({ address: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`, port: 1 });

function admission(burst = 100, perSecond = 50): Admission {
  return new Admission(0, { burst, perSecond, sources: 4096, seed: 1 });
}

/** Verdicts of `count` messages. */
function judge(a: Admission, nowMs: number, count: number, from: (i: number) => number, hasCookie = false) {
  const tally: Record<Verdict, number> = { process: 0, cookie: 0, refuse: 0 };
  for (let i = 0; i < count; i++) tally[a.judge(nowMs, source(from(i)), hasCookie)]++;
  return tally;
}

test('up to half of the burst everything goes on, from one source or many', () => {
  assert.equal(
    judge(admission(), 0, 50, () => 1),
    { process: 50, cookie: 0, refuse: 0 },
  );
  assert.equal(
    judge(admission(), 0, 50, i => i),
    { process: 50, cookie: 0, refuse: 0 },
  );
});

test('one loud source is then held to its own rate, and its neighbours notice nothing', () => {
  const a = admission();
  assert.equal(
    judge(a, 0, 1000, () => 1),
    { process: 55, cookie: 945, refuse: 0 },
  );
  assert.equal(
    judge(a, 0, 5, () => 2),
    { process: 5, cookie: 0, refuse: 0 },
  );
  assert.equal(
    judge(a, 0, 30, i => 10 + i),
    { process: 30, cookie: 0, refuse: 0 },
  );
});

test('a neighbour gets through at any time while one source floods', () => {
  const a = admission();
  for (let nowMs = 0; nowMs < 20_000; nowMs += 10) {
    judge(a, nowMs, 20, () => 1);
    if (nowMs % 100 === 0) assert.is(a.judge(nowMs, source(2), false), 'process', `at ${nowMs} ms`);
  }
});

test('a flood from many sources makes everybody show a cookie, and who has one gets through', () => {
  const a = admission();
  const flood = judge(a, 0, 10_000, i => 1000 + i);
  assert.equal(flood, { process: 100, cookie: 9900, refuse: 0 });
  assert.is(a.judge(0, source(1), false), 'cookie');
  assert.is(a.judge(0, source(1), true), 'process');
});

test('a cookie does not lift the rate of its source', () => {
  const a = admission();
  judge(a, 0, 10_000, i => 1000 + i);
  assert.equal(
    judge(a, 0, 20, () => 1, true),
    { process: 5, cookie: 0, refuse: 15 },
  );
  assert.is(a.judge(50, source(1), true), 'process');
});

test('who forges an address does not use up the rate of its owner', () => {
  const a = admission();
  judge(a, 0, 60, () => 1);
  assert.is(a.judge(0, source(1), false), 'cookie');
  assert.is(a.judge(0, source(1), true), 'process');
});

test('the work is bounded by burst and rate, even for sources that all show cookies', () => {
  const a = admission();
  const word = seededWords(2);
  let processed = 0;
  for (let nowMs = 0; nowMs <= 10_000; nowMs += 10) {
    processed += judge(a, nowMs, 5, () => word(), true).process;
    processed += judge(a, nowMs, 5, () => word()).process;
  }
  // 100 + 50 in debt at first, then 50 per second.
  assert.ok(processed > 500 && processed <= 151 + 50 * 10, String(processed));
});

test('calm returns as fast as the bucket fills', () => {
  const a = admission();
  judge(a, 0, 100, i => i);
  assert.not(a.isCalm(1_000));
  assert.ok(a.isCalm(1_001));
});

test.run();
