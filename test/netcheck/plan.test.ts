import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { WireDerpRegion } from '../../lib/derp/map.ts';
import { makePlan, placesOf, type PlanInput } from '../../lib/netcheck/plan.ts';
import { mapOf, region } from './support.ts';

const test = suite('netcheck plan');

type Times = Readonly<Record<number, number>>;

/** A report with these round trips, as a plan needs it. */
function lastOf(v4: Times, v6: Times = {}): Pick<PlanInput, 'latencyOf' | 'had4' | 'had6'> {
  const latencyOf = (region: number) => {
    const ms = Math.min(v4[region] ?? Infinity, v6[region] ?? Infinity);
    return ms < Infinity ? ms : undefined;
  };
  return { latencyOf, had4: Object.keys(v4).length > 0, had6: Object.keys(v6).length > 0 };
}

function regions(count: number): WireDerpRegion[] {
  return Array.from({ length: count }, (_, i) => region(i + 1));
}

/** `REGION/FAMILY: delay delay …` */
function planTexts(map: readonly WireDerpRegion[], input: Partial<PlanInput>): string[] {
  const full = { hasV4: true, hasV6: true, home: 0, ...lastOf({}), isFull: false, limit: 99 };
  return makePlan({ regions: mapOf(...map), ...full, ...input }).map(
    set => `${set.region}/${set.isV6 ? 6 : 4}: ${set.delaysMs.map(ms => Math.round(ms)).join(' ')}`,
  );
}

test('a full plan asks all regions three times on both families', () => {
  assert.equal(planTexts(regions(2), { isFull: true }), [
    '1/4: 0 100 200',
    '1/6: 0 100 200',
    '2/4: 0 100 200',
    '2/6: 0 100 200',
  ]);
  assert.equal(planTexts(regions(2), { isFull: true, hasV6: false }), ['1/4: 0 100 200', '2/4: 0 100 200']);
  assert.equal(planTexts(regions(1), { isFull: true, hasV4: false }), ['1/6: 0 100 200']);
  assert.equal(planTexts(regions(1), { isFull: true, hasV4: false, hasV6: false }), []);
});

test('a full plan is bounded: home, then the nearest, then by id', () => {
  const input = { isFull: true, hasV6: false, limit: 3, home: 5, ...lastOf({ 4: 10 }) };
  assert.equal(
    planTexts(regions(6), input).map(text => text[0]),
    ['5', '4', '1'],
  );
});

test('regions not to be measured are left out, even home; those to be avoided unless they are home', () => {
  const map = [region(1, {}, { Avoid: true }), region(2, {}, { NoMeasureNoHome: true }), region(3)];
  for (const isFull of [true, false]) {
    const asked = (home: number, list = map) =>
      planTexts(list, { isFull, home, hasV6: false, ...lastOf({ 3: 5 }) }).map(text => Number(text[0]));
    assert.equal(asked(0), [3]);
    assert.equal(asked(1).sort(), [1, 3]);
    assert.equal(asked(2), [3]);
    assert.equal(asked(0, map.slice(0, 2)), [1], 'there is no other');
  }
});

test('in between, the nearest two are asked twice, the third once, home four times', () => {
  const last = lastOf({ 5: 10, 3: 20, 1: 30, 2: 40 });
  assert.equal(planTexts(regions(5), { ...last, home: 2, hasV6: false }), [
    '5/4: 0 12',
    '3/4: 0 24',
    '1/4: 0',
    '2/4: 0 48 196 294',
  ]);
  assert.equal(planTexts(regions(5), { ...last, home: 5, hasV6: false }), ['5/4: 0 12 124 186', '3/4: 0 24', '1/4: 0']);
  assert.equal(planTexts(regions(5), { ...last, home: 0, hasV6: false }), ['5/4: 0 12', '3/4: 0 24', '1/4: 0']);
});

test('where a round trip is not known, 200 ms lie between tries', () => {
  const last = lastOf({ 1: 10 });
  assert.equal(planTexts(regions(4), { ...last, home: 4, hasV6: false }), [
    '1/4: 0 12',
    '2/4: 0 200',
    '3/4: 0',
    '4/4: 0 200 500 750',
  ]);
});

test('with both families working, the third is asked on IPv4 alone', () => {
  const last = lastOf({ 1: 10, 2: 20, 3: 30, 4: 40 }, { 1: 9 });
  assert.equal(planTexts(regions(4), { ...last, home: 4 }), [
    '1/4: 0 11',
    '1/6: 0 11',
    '2/4: 0 24',
    '2/6: 0 24',
    '3/4: 0',
    '4/4: 0 48 196 294',
    '4/6: 0 48 196 294',
  ]);
});

test('where IPv6 gave nothing, only the nearest two and home are asked on it, once', () => {
  const last = lastOf({ 1: 10, 2: 20, 3: 30, 4: 40 });
  assert.equal(planTexts(regions(4), { ...last, home: 4 }), [
    '1/4: 0 12',
    '1/6: 0',
    '2/4: 0 24',
    '2/6: 0',
    '3/4: 0',
    '4/4: 0 48 196 294',
    '4/6: 0',
  ]);
});

test('where IPv4 gave nothing, all go on being asked on both', () => {
  const last = lastOf({}, { 1: 10, 2: 20, 3: 30 });
  assert.equal(planTexts(regions(3), { ...last }), [
    '1/4: 0 12',
    '1/6: 0 12',
    '2/4: 0 24',
    '2/6: 0 24',
    '3/4: 0',
    '3/6: 0',
  ]);
});

test('tries go round the servers of a region that answer STUN on the family', () => {
  const nodes = [
    region(1, { IPv4: '10.1.0.1', IPv6: 'none' }),
    region(1, { IPv4: '10.1.0.2', STUNPort: -1 }),
    region(1, { IPv4: 'none', IPv6: '2001:db8::3', STUNPort: 99 }),
    region(1, { IPv4: '10.1.0.4', IPv6: 'none', STUNOnly: true }),
  ].flatMap(({ Nodes }) => Nodes);
  const map = mapOf(region(1, {}, { Nodes: nodes }));
  const plan = makePlan({ regions: map, hasV4: true, hasV6: true, home: 0, ...lastOf({}), isFull: true, limit: 9 });
  assert.equal(
    plan.map(set => placesOf(map, set).map(({ address, port }) => `${address} ${port}`)),
    [['10.1.0.1 3478', '10.1.0.4 3478'], ['2001:db8::3 99']],
  );
  const none = makePlan({
    regions: mapOf(region(1, { STUNPort: -1 }), region(2, {}, { Nodes: [] })),
    hasV4: true,
    hasV6: true,
    home: 0,
    ...lastOf({}),
    isFull: true,
    limit: 9,
  });
  assert.equal(none, []);
});

test.run();
