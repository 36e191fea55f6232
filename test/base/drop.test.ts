import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DROP_NAMES, DropCounters, type DropName, dropName, dropReason } from '../../lib/base/drop.ts';

const test = suite('base/drop');

test('every name has a negative number of its own, and the number leads back', () => {
  const seen = new Set<number>();
  for (const name of DROP_NAMES) {
    const reason = dropReason(name);
    assert.ok(reason < 0 && Number.isInteger(reason));
    assert.is(dropName(reason), name);
    seen.add(reason);
  }
  assert.is(seen.size, DROP_NAMES.length);
});

test('an unknown name or number throws: a reason of 0 would pass a dropped packet off as a good one', () => {
  assert.throws(() => dropReason('no-such-reason' as DropName), RangeError);
  for (const reason of [0, 1, -DROP_NAMES.length - 1, Number.NaN]) assert.throws(() => dropName(reason), RangeError);
});

test('counting returns the reason and counts only that one', () => {
  const drops = new DropCounters();
  const reason = dropReason('ip-checksum');
  assert.is(drops.count(reason), reason);
  drops.count(reason);
  drops.count(dropReason('wg-too-short'));
  assert.is(drops.get('ip-checksum'), 2);
  assert.is(drops.get('ip-malformed'), 0);
  assert.is(drops.total, 3);
  assert.equal(drops.snapshot(), { 'ip-checksum': 2, 'wg-too-short': 1 });
});

test('fresh counters show nothing, and two sets do not share', () => {
  const a = new DropCounters();
  a.count(-1);
  assert.equal(new DropCounters().snapshot(), {});
  assert.is(new DropCounters().total, 0);
});

test('names are stable kebab-case and unique', () => {
  assert.is(new Set(DROP_NAMES).size, DROP_NAMES.length);
  for (const name of DROP_NAMES) assert.match(name, /^[a-z0-9]+(-[a-z0-9]+)+$/);
});

test.run();
