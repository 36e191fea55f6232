import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { WireDerpRegion } from '../../lib/derp/map.ts';
import { HomeChooser } from '../../lib/netcheck/home.ts';
import { Seeded } from '../crypto/support.ts';
import { mapOf, region } from './support.ts';

const test = suite('netcheck home');

/** Reports that take a second each, on a clock of their own. */
class Story {
  nowMs = 1_000_000;
  readonly home: HomeChooser;

  constructor(regions: readonly WireDerpRegion[], scores: Readonly<Record<number, number>> = {}, seed = 1) {
    const seeded = new Seeded(seed);
    this.home = new HomeChooser(out => out.set(seeded.bytes(out.length)));
    this.setRegions(regions, scores);
  }

  setRegions(regions: readonly WireDerpRegion[], scores: Readonly<Record<number, number>> = {}): void {
    this.home.setRegions(mapOf(...regions), new Map(Object.entries(scores).map(([id, score]) => [Number(id), score])));
  }

  /** A report that ends now, with these round trips: `REGION why`. */
  report(latencies: Readonly<Record<number, number>>): string {
    const times = new Map(Object.entries(latencies).map(([id, ms]) => [Number(id), ms]));
    const { region, why } = this.home.choose(this.nowMs, this.nowMs - 1000, times);
    assert.is(this.home.region, region);
    return `${region} ${why}`;
  }

  /** The same, so many milliseconds later. */
  later(ms: number, latencies: Readonly<Record<number, number>>): string {
    this.nowMs += ms;
    return this.report(latencies);
  }
}

const THREE = [region(1), region(2), region(3)];
/** Long enough for all history to be gone. */
const FORGOTTEN_MS = 305_001;

test('the nearest region is home, of equals the one with the least id', () => {
  assert.is(new Story(THREE).report({ 1: 30, 2: 10, 3: 20 }), '2 nearest');
  assert.is(new Story(THREE).report({ 3: 10, 2: 10 }), '2 nearest');
});

test('of equals, home is', () => {
  const story = new Story(THREE);
  assert.is(story.report({ 3: 10 }), '3 nearest');
  assert.is(story.later(FORGOTTEN_MS, { 1: 10, 2: 10, 3: 10 }), '3 nearest');
});

test('home is kept while it is less than 10 ms farther', () => {
  const moved = (old: number, best: number) => {
    const story = new Story(THREE);
    story.report({ 1: old });
    return story.later(FORGOTTEN_MS, { 1: old, 2: best });
  };
  // A third nearer by far, so that the milliseconds decide.
  assert.is(moved(13, 3.001), '1 near-enough');
  assert.is(moved(13, 3), '2 nearest');
  // Tens of milliseconds nearer, so that the third decides.
  assert.is(moved(300, 201), '1 near-enough');
  assert.is(moved(300, 200.001), '1 near-enough');
  assert.is(moved(300, 200), '2 nearest');
});

test('the best of 5 minutes and 5 seconds counts, of regions that answered now', () => {
  const story = new Story(THREE);
  story.report({ 1: 50, 2: 20, 3: 5 });
  assert.is(story.home.region, 3);
  // Region 2 was at 20 lately; region 3, once at 5, does not answer any more.
  assert.is(story.later(305_000, { 1: 50, 2: 100 }), '2 nearest');
  const late = new Story(THREE);
  late.report({ 1: 50, 2: 20, 3: 5 });
  assert.is(late.later(FORGOTTEN_MS, { 1: 50, 2: 100 }), '1 nearest');
});

test('home’s own round trip is that of this report, not its best', () => {
  const story = new Story(THREE);
  story.report({ 1: 10 });
  assert.is(story.later(1000, { 1: 100, 2: 9 }), '2 nearest');
});

test('home that answered nothing is kept when its relay was heard since the check began', () => {
  for (const [heardMs, expected] of [
    [-1000, '2 nearest'],
    [-999, '1 heard'],
  ] as const) {
    const story = new Story(THREE);
    story.report({ 1: 10 });
    story.nowMs += 100_000;
    story.home.noteHeard(story.nowMs + heardMs, 1);
    // A check that began 1 second ago; but 8 seconds are more, so let it be a long one.
    const { region: home, why } = story.home.choose(story.nowMs + 9000, story.nowMs - 1000, new Map([[2, 5]]));
    assert.is(`${home} ${why}`, expected);
  }
});

test('and when its relay was heard within 8 seconds', () => {
  for (const [agoMs, expected] of [
    [8000, '2 nearest'],
    [7999, '1 heard'],
  ] as const) {
    const story = new Story(THREE);
    story.report({ 1: 10 });
    story.nowMs += 100_000;
    story.home.noteHeard(story.nowMs - agoMs, 1);
    assert.is(story.report({ 2: 5 }), expected);
  }
});

test('where nothing is measured, home is kept', () => {
  const story = new Story(THREE);
  story.report({ 2: 10 });
  assert.is(story.later(100_000, {}), '2 arbitrary');
  story.home.noteHeard(story.nowMs, 2);
  assert.is(story.later(119_999, {}), '2 unmeasured');
  assert.is(story.later(1, {}), '2 arbitrary', 'not heard for 2 minutes, and no other either');
});

test('where nothing is measured and home is silent for 2 minutes, a relay that is heard is home', () => {
  const story = new Story(THREE);
  story.report({ 2: 10 });
  story.home.noteHeard(story.nowMs, 2);
  story.home.noteHeard(story.nowMs + 60_000, 1);
  story.home.noteHeard(story.nowMs + 50_000, 3);
  assert.is(story.later(119_999, {}), '2 unmeasured');
  assert.is(story.later(1, {}), '1 unmeasured', 'the one that was heard last');
});

test('where nothing was ever measured, the choice is random, and stays', () => {
  const chosen = new Set<string>();
  for (let seed = 1; seed < 60; seed++) {
    const story = new Story(THREE, {}, seed);
    const first = story.report({});
    for (let i = 0; i < 5; i++) assert.is(story.later(30_000, {}), first);
    chosen.add(first);
  }
  assert.equal([...chosen].sort(), ['1 arbitrary', '2 arbitrary', '3 arbitrary']);
});

test('what must not be home is not: unmeasurable regions, STUN alone, no relay', () => {
  const map = [
    region(1, {}, { NoMeasureNoHome: true }),
    region(2, { STUNOnly: true }),
    region(3, {}, { Nodes: [] }),
    region(4),
  ];
  for (let seed = 1; seed < 9; seed++) assert.is(new Story(map, {}, seed).report({}), '4 arbitrary');
  assert.is(new Story(map).report({ 1: 1, 2: 1, 3: 1, 4: 50 }), '4 nearest');
  assert.is(new Story(map.slice(0, 3)).report({ 1: 1 }), '0 none');
  assert.is(new Story([]).report({}), '0 none');
});

test('a region to be avoided is not chosen at random while there is another', () => {
  const map = [region(1, {}, { Avoid: true }), region(2), region(3, {}, { Avoid: true })];
  for (let seed = 1; seed < 9; seed++) assert.is(new Story(map, {}, seed).report({}), '2 arbitrary');
  assert.is(new Story(map.slice(0, 1)).report({}), '1 arbitrary');
});

test('home that has gone from the map is not kept', () => {
  const story = new Story(THREE);
  story.report({ 1: 10 });
  story.home.noteHeard(story.nowMs, 1);
  story.setRegions(THREE.slice(1));
  assert.is(story.home.region, 0);
  assert.is(story.later(1000, { 2: 12, 3: 30 }), '2 nearest');
  story.setRegions([]);
  assert.is(story.later(1000, {}), '0 none');
});

test('a score makes a region nearer or farther; one that is not above 0 counts as 1', () => {
  assert.is(new Story(THREE, { 1: 0.5 }).report({ 1: 30, 2: 20 }), '1 nearest');
  assert.is(new Story(THREE, { 2: 2 }).report({ 1: 30, 2: 20 }), '1 nearest');
  for (const score of [0, -1, Number.NaN])
    assert.is(new Story(THREE, { 1: score }).report({ 1: 30, 2: 20 }), '2 nearest');
  const story = new Story(THREE, { 1: 3 });
  story.report({ 1: 100 });
  assert.is(story.later(FORGOTTEN_MS, { 1: 100, 2: 200 }), '2 nearest', '300 and 200: a third');
});

test('a relay that cannot be reached is not home for 5 minutes, whatever STUN says', () => {
  const story = new Story(THREE);
  story.report({ 1: 10, 2: 40, 3: 30 });
  story.home.noteFailed(story.nowMs, 1);
  assert.is(story.later(1000, { 1: 10, 2: 40, 3: 30 }), '3 nearest');
  assert.is(story.later(298_999, { 1: 10, 2: 40, 3: 30 }), '3 nearest');
  assert.is(story.later(1, { 1: 10, 2: 40, 3: 30 }), '1 nearest');
});

test('unless it is heard, or none can be reached', () => {
  const heard = new Story(THREE);
  heard.report({ 1: 10 });
  heard.home.noteFailed(heard.nowMs, 1);
  heard.home.noteHeard(heard.nowMs + 5, 1);
  assert.is(heard.later(1000, { 1: 10, 2: 9 }), '1 near-enough');
  const none = new Story(THREE);
  for (const { RegionID } of THREE) none.home.noteFailed(none.nowMs, RegionID);
  assert.is(none.report({ 1: 30, 2: 10 }), '2 nearest');
  const blocked = new Story(THREE);
  blocked.report({ 1: 10 });
  blocked.home.noteFailed(blocked.nowMs, 1);
  assert.not.match(blocked.later(1000, {}), /^1/);
});

test('after a change of network the old round trips do not count', () => {
  const story = new Story(THREE);
  story.report({ 1: 50, 2: 20 });
  story.home.forgetHistory(story.nowMs);
  assert.is(story.later(1000, { 1: 50, 2: 200 }), '1 nearest');
});

test('memory follows the map: regions that are unknown are not noted', () => {
  const story = new Story(THREE);
  for (let id = 4; id < 1000; id++) story.home.noteHeard(story.nowMs, id);
  story.setRegions([...THREE, region(900)]);
  for (let i = 0; i < 8; i++) assert.not.match(new Story(THREE, {}, i + 1).report({}), /900/);
  assert.match(story.report({}), /arbitrary$/);
});

test('the last report’s round trips are known until the next one, also on another network', () => {
  const story = new Story(THREE);
  assert.is(story.home.hasMeasured, false);
  story.report({ 1: 30, 2: 10 });
  assert.equal([story.home.latencyOf(1), story.home.latencyOf(2), story.home.latencyOf(3)], [30, 10, undefined]);
  story.later(20_000, { 1: 40, 3: 5 });
  assert.equal([story.home.latencyOf(1), story.home.latencyOf(2), story.home.latencyOf(3)], [40, undefined, 5]);
  story.home.forgetHistory(story.nowMs);
  assert.is(story.home.latencyOf(1), 40);
  assert.is(story.home.hasMeasured, true);
  story.later(20_000, {});
  assert.is(story.home.latencyOf(1), undefined);
  assert.is(story.home.hasMeasured, false);
});

test.run();
