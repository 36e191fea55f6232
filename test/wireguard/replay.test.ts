/** The replay window, with the list that the kernel and wireguard-go share, and beyond 2^32. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ReplayWindow } from '../../lib/wireguard/replay.ts';
import { seededWords } from './support.ts';

const test = suite('replay window');
const REJECT = 2 ** 53 - 1;

/** Takes a counter as a session does. */
function take(window: ReplayWindow, counter: number): boolean {
  if (!window.isFresh(counter)) return false;
  window.mark(counter);
  return true;
}

for (const bits of [64, 1024, 8192]) {
  const fresh = (limit = REJECT) => new ReplayWindow(bits, limit);
  const W = fresh().windowBits;
  const L = W + 1;

  for (const R of [REJECT, 2 ** 32 + 5, 2 ** 40]) {
    test(`the shared list holds with ${bits} bits and the limit at ${R}`, () => {
      const window = fresh(R);
      const list: [number, boolean][] = [
        [0, true],
        [1, true],
        [1, false],
        [9, true],
        [8, true],
        [7, true],
        [7, false],
        [L, true],
        [L - 1, true],
        [L - 1, false],
        [L - 2, true],
        [2, true],
        [2, false],
        [L + 16, true],
        [3, false],
        [L + 16, false],
        [4 * L, true],
        [4 * L - (L - 1), true],
        [10, false],
        [4 * L - L, false],
        [4 * L - (L + 1), false],
        [4 * L - (L - 2), true],
        [4 * L + 1 - L, false],
        [0, false],
        [R, false],
        [R - 1, true],
        [R, false],
        [R - 1, false],
        [R - 2, true],
        [R + 1, false],
        [R + 2, false],
        [R - 2, false],
        [R - 3, true],
        [0, false],
      ];
      list.forEach(([counter, isExpected], i) => assert.is(take(window, counter), isExpected, `step ${i}: ${counter}`));
    });
  }

  const all = (window: ReplayWindow, from: number, to: number) => {
    const step = from <= to ? 1 : -1;
    for (let i = from; i !== to + step; i += step) assert.ok(take(window, i), String(i));
  };

  test(`the six bulk runs hold with ${bits} bits`, () => {
    let window = fresh();
    all(window, 1, W);
    assert.equal([take(window, 0), take(window, 0)], [true, false]);
    window = fresh();
    all(window, 2, W + 1);
    assert.equal([take(window, 1), take(window, 0)], [true, false]);
    window = fresh();
    all(window, W + 1, 1);
    window = fresh();
    all(window, W + 2, 2);
    assert.is(take(window, 0), false);
    window = fresh();
    all(window, W, 1);
    assert.equal([take(window, W + 1), take(window, 0)], [true, false]);
    window = fresh();
    all(window, W, 1);
    assert.equal([take(window, 0), take(window, W + 1)], [true, true]);
  });

  test(`with ${bits} bits it agrees with a slow window, also across 2^31, 2^32 and 2^52`, () => {
    const word = seededWords(bits);
    for (const origin of [0, 2 ** 31 - 500, 2 ** 32 - 500, 2 ** 33 + 7, 2 ** 52 - 500]) {
      const window = fresh();
      const seen = new Set<number>();
      let greatest = 0;
      for (let i = 0; i < 3000; i++) {
        const counter = origin + Math.floor(i / 2) + (word() % 100) - (word() % 8 === 0 ? word() % (2 * bits) : 0);
        if (counter < 0) continue;
        const isExpected = !seen.has(counter) && counter + W >= greatest;
        assert.is(take(window, counter), isExpected, `${counter} at greatest ${greatest}`);
        if (isExpected) seen.add(counter);
        if (isExpected && counter > greatest) greatest = counter;
      }
    }
  });
}

test('counters that agree modulo 2^32 are different counters', () => {
  const window = new ReplayWindow(64, REJECT);
  assert.ok(take(window, 5));
  assert.ok(take(window, 2 ** 32 + 5));
  assert.not(take(window, 5));
  assert.not(take(window, 2 ** 32 + 5));
  assert.ok(take(window, 2 ** 33 + 5));
});

test('asking changes nothing', () => {
  const window = new ReplayWindow(64, REJECT);
  for (let i = 0; i < 3; i++) assert.ok(window.isFresh(1_000_000));
  assert.ok(take(window, 0));
});

test('a size that is not a power of two of at least 64 is refused', () => {
  for (const bits of [0, 32, 63, 100, 2 ** 21, Number.NaN]) assert.throws(() => new ReplayWindow(bits, REJECT), /bits/);
});

test.run();
