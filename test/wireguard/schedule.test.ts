/** The one timer of many. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Schedule, type Scheduled } from '../../lib/wireguard/schedule.ts';
import { seededWords } from './support.ts';

const test = suite('schedule');

class Entry implements Scheduled {
  dueMs = Number.POSITIVE_INFINITY;
  heapIndex = -1;
  deadline = Number.POSITIVE_INFINITY;
  asked = 0;
  earliestDeadline(): number {
    this.asked++;
    return this.deadline;
  }
}

test('the earliest deadline agrees with a slow search, whatever moves', () => {
  const word = seededWords(11);
  const schedule = new Schedule<Entry>();
  const entries = Array.from({ length: 60 }, () => new Entry());
  for (let step = 0; step < 20_000; step++) {
    const entry = entries[word() % entries.length]!;
    const kind = word() % 8;
    if (kind === 0) {
      entry.deadline = Number.POSITIVE_INFINITY;
      schedule.remove(entry);
    } else if (kind === 1) {
      entry.deadline = Number.POSITIVE_INFINITY;
    } else {
      entry.deadline = word() % 1000;
      schedule.add(entry, entry.deadline);
    }
    if (word() % 4 !== 0) continue;
    const expected = Math.min(...entries.map(({ deadline }) => deadline));
    assert.is(schedule.next(), expected, `step ${step}`);
    assert.is(schedule.due(expected - 1), undefined);
    if (expected < 1000) assert.is(schedule.due(expected)!.deadline, expected);
  }
});

test('an empty schedule has no deadline', () => {
  const schedule = new Schedule<Entry>();
  assert.is(schedule.next(), Number.POSITIVE_INFINITY);
  assert.is(schedule.due(1e15), undefined);
  schedule.remove(new Entry());
});

test('asking for the next of ten thousand does not look at them all', () => {
  const schedule = new Schedule<Entry>();
  const entries = Array.from({ length: 10_000 }, () => new Entry());
  entries.forEach((entry, i) => {
    entry.deadline = 1_000_000 - i;
    schedule.add(entry, entry.deadline);
  });
  for (const entry of entries) entry.asked = 0;
  // Every deadline moves later, as they do while packets flow.
  entries.forEach((entry, i) => (entry.deadline = 2_000_000 + i));
  assert.is(schedule.next(), 2_000_000);
  const first = entries.reduce((sum, { asked }) => sum + asked, 0);
  assert.ok(first <= 30_000, String(first));
  assert.is(schedule.next(), 2_000_000);
  assert.is(entries.reduce((sum, { asked }) => sum + asked, 0) - first, 1);
});

test('entries without a deadline leave the heap', () => {
  const schedule = new Schedule<Entry>();
  const entry = new Entry();
  schedule.add(entry, 5);
  assert.is(schedule.size, 1);
  assert.is(schedule.next(), Number.POSITIVE_INFINITY);
  assert.is(schedule.size, 0);
  assert.is(entry.heapIndex, -1);
});

test.run();
