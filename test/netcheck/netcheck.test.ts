import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NETCHECK_LIMITS_SMALL } from '../../lib/netcheck/limits.ts';
import { writeBindingRequest } from '../../lib/stun/message.ts';
import { Seeded } from '../crypto/support.ts';
import { answerTo, mapOf, region, SEEN_V4, SEEN_V6, World } from './support.ts';

const test = suite('netcheck');

function worldOf(ids: readonly number[], limits = {}): World {
  const world = new World(limits);
  world.check.setRegions(world.nowMs, mapOf(...ids.map(id => region(id))));
  world.check.setFamilies(true, false);
  return world;
}

test('a check tells families, addresses, round trips and home', () => {
  const world = worldOf([1, 2]);
  world.check.setFamilies(true, true);
  world.latencies({ 1: 40, 2: 25 }, { 1: 30, 2: 60 });
  const report = world.run();
  assert.equal([...report.latencies].sort(), [
    [1, 30],
    [2, 25],
  ]);
  assert.equal([...report.latenciesV4].sort(), [
    [1, 40],
    [2, 25],
  ]);
  assert.equal([...report.latenciesV6].sort(), [
    [1, 30],
    [2, 60],
  ]);
  const { udp, ipv4, ipv6, globalV4, globalV6, mappingVariesByDestIp, preferredRegion, preferredWhy } = report;
  assert.equal([udp, ipv4, ipv6], [true, true, true]);
  assert.equal([globalV4, globalV6, mappingVariesByDestIp], [SEEN_V4, SEEN_V6, false]);
  assert.equal([preferredRegion, preferredWhy], [2, 'nearest']);
  assert.equal(report.endpoints, [SEEN_V4, SEEN_V6]);
  assert.equal([report.tookMs, report.atMs, report.isFull], [60, 1060, true]);
  assert.is(world.check.nextTimeout(), Number.POSITIVE_INFINITY);
  assert.is(world.check.isRunning, false);
});

test('a full check asks each region three times on each family, 100 ms apart, until 3 seconds are over', () => {
  const world = worldOf([1, 2]);
  world.check.setFamilies(true, true);
  world.check.start(world.nowMs);
  const startMs = world.nowMs;
  world.advance(2999);
  const all = ['10.0.0.1', '2001:db8::1', '10.0.0.2', '2001:db8::2'];
  assert.equal(
    world.sentTexts(startMs),
    [0, 100, 200].flatMap(atMs => all.map(address => `${address}@${atMs}`)),
  );
  assert.equal(world.reports, []);
  assert.is(world.check.nextTimeout(), startMs + 3000);
  world.advance(1);
  assert.is(world.reports.length, 1);
  const [report] = world.reports;
  assert.equal([report!.udp, report!.ipv4, report!.ipv6, report!.tookMs], [false, false, false, 3000]);
  assert.equal([report!.globalV4, report!.mappingVariesByDestIp], [undefined, undefined]);
});

test('tries end with the answer, and one that tells nothing new is not sent', () => {
  const world = worldOf([1, 2, 3]);
  world.check.setFamilies(true, true);
  world.latencies({ 1: 20, 2: 30 }, { 1: 150 });
  const { nowMs } = world;
  world.run();
  assert.equal(world.sentTexts(nowMs).slice(6), [
    // Nothing came on IPv6 yet; region 3 said nothing at all.
    '2001:db8::1@100',
    '2001:db8::2@100',
    '10.0.0.3@100',
    '2001:db8::3@100',
    // The answer to 2001:db8::1 came at 150; region 2 is known, too.
    '10.0.0.3@200',
    '2001:db8::3@200',
  ]);
});

test('three regions are enough: in a full check twice the longest round trip more is waited', () => {
  const world = worldOf([1, 2, 3, 4]);
  world.latencies({ 1: 10, 2: 50, 3: 80, 4: 241 });
  const slow = world.run();
  assert.equal(slow.tookMs, 80 + 160);
  assert.equal(
    [...slow.latencies.keys()].sort((a, b) => a - b),
    [1, 2, 3],
  );
  const other = worldOf([1, 2, 3, 4]);
  other.latencies({ 1: 10, 2: 50, 3: 80, 4: 239 });
  assert.equal([...other.run().latencies.keys()].length, 4);
});

test('between full checks the longest round trip is waited once more', () => {
  const world = worldOf([1, 2, 3]);
  world.check.setFamilies(true, true);
  // Nobody answers on IPv6, so that the end comes early rather than because all is known.
  world.latencies({ 1: 10, 2: 50, 3: 80 });
  assert.is(world.run().tookMs, 80 + 160);
  const near = world.run();
  assert.equal([near.isFull, near.tookMs], [false, 80 + 80]);
});

test('a full check comes again 5 minutes after the last one, not a millisecond before', () => {
  const world = worldOf([1, 2, 3, 4, 5]);
  world.latencies({ 1: 10, 2: 20, 3: 30, 4: 40, 5: 50 });
  const startMs = world.nowMs;
  assert.ok(world.run().isFull);
  world.nowMs = startMs + 299_999;
  assert.not(world.run().isFull);
  world.nowMs = startMs + 300_000;
  assert.ok(world.run().isFull);
});

test('a full check follows one that measured nothing, a new region, and a change of families', () => {
  const world = worldOf([1, 2]);
  assert.ok(world.run().isFull);
  world.latencies({ 1: 10, 2: 20, 3: 30 });
  assert.ok(world.run().isFull, 'nothing was measured before');
  assert.not(world.run().isFull);
  world.check.setRegions(world.nowMs, mapOf(region(1), region(2)));
  assert.not(world.run().isFull, 'the same regions');
  world.check.setRegions(world.nowMs, mapOf(region(1), region(2), region(3)));
  assert.ok(world.run().isFull, 'a new one');
  world.check.setFamilies(true, false);
  assert.not(world.run().isFull, 'the same families');
  world.check.setFamilies(true, true);
  assert.ok(world.run().isFull, 'another family');
  world.check.makeNextFull();
  assert.ok(world.run().isFull);
});

test('a start while a check is under way gives one report', () => {
  const world = worldOf([1]);
  world.latencies({ 1: 50 });
  world.check.start(world.nowMs);
  world.advance(20);
  world.check.start(world.nowMs);
  world.advance(6000);
  assert.is(world.reports.length, 1);
  assert.is(world.reports[0]!.tookMs, 50);
  assert.is(world.sent.length, 1);
});

test('mappings vary when two servers name different ports, and do not when they name the same', () => {
  for (const [port, varies] of [
    [41_000, false],
    [41_001, true],
  ] as const) {
    const world = worldOf([1, 2]);
    world.reply = ({ address }) => ({
      latencyMs: 10,
      seen: { address: '198.51.100.7', port: address === '10.0.0.2' ? port : 41_000 },
    });
    assert.is(world.run().mappingVariesByDestIp, varies);
  }
});

test('one server’s word, or two at one address, does not tell that mappings do not vary', () => {
  const world = worldOf([1]);
  world.latencies({ 1: 10 });
  assert.is(world.run().mappingVariesByDestIp, undefined);
  const twins = new World();
  twins.check.setFamilies(true, false);
  twins.check.setRegions(0, mapOf(region(1, { STUNPort: 1000 }), region(2, { STUNPort: 1001, IPv4: '10.0.0.1' })));
  twins.latencies({ 1: 10 });
  assert.is(twins.run().mappingVariesByDestIp, undefined);
  twins.reply = ({ port }) => ({ latencyMs: 10, seen: { ...SEEN_V4, port } });
  assert.is(twins.run().mappingVariesByDestIp, true);
});

test('a machine with IPv6 alone asks on IPv6 alone', () => {
  const world = worldOf([1, 2]);
  world.check.setFamilies(false, true);
  world.latencies({ 1: 5, 2: 5 }, { 1: 40, 2: 30 });
  const report = world.run();
  assert.ok(world.sent.every(({ to }) => to.address.includes(':')));
  assert.equal([report.udp, report.ipv4, report.ipv6], [true, false, true]);
  assert.equal([report.globalV4, report.globalV6], [undefined, SEEN_V6]);
  assert.equal([report.mappingVariesByDestIp, report.preferredRegion], [undefined, 2]);
});

test('a machine without addresses still asks itself, and nobody else', () => {
  const world = new World();
  world.check.setRegions(0, mapOf(region(1), region(2, { IPv4: '127.0.0.1', IPv6: '::1' })));
  world.check.setFamilies(false, false);
  world.reply = ({ address }) => ({ latencyMs: 1, seen: { address, port: 5000 } });
  const report = world.run();
  assert.equal(
    world.sent.map(({ to }) => to.address),
    ['127.0.0.1', '::1'],
  );
  assert.equal([report.preferredRegion, report.udp], [2, true]);
});

test('where UDP is blocked, home stays', () => {
  const world = worldOf([1, 2]);
  world.latencies({ 1: 50, 2: 20 });
  assert.is(world.run().preferredRegion, 2);
  world.latencies({});
  for (let i = 0; i < 100; i++) {
    const report = world.run();
    assert.equal([report.udp, report.latencies.size, report.preferredRegion], [false, 0, 2]);
    world.nowMs += 60_000;
  }
});

test('an answer that was not asked for, or comes from elsewhere, counts for nothing', () => {
  const world = worldOf([1]);
  world.check.start(world.nowMs);
  const [sent] = world.flush();
  const hand = (bytes: Uint8Array, from = sent!.to) =>
    world.check.handleStun(world.nowMs + 5, bytes, 0, bytes.length, from);
  const good = answerTo(sent!, SEEN_V4);
  const guessed = good.slice();
  guessed[19]! ^= 1;
  assert.not(hand(guessed), 'another transaction');
  assert.not(hand(good, { ...sent!.to, port: 3479 }), 'another port');
  assert.not(hand(good, { ...sent!.to, address: '10.0.0.2' }), 'another address');
  const request = new Uint8Array(40);
  writeBindingRequest(request, 0, good.slice(8, 20));
  assert.not(hand(request), 'a request');
  assert.is(world.check.ignored, 4);
  assert.is(world.check.pollEvent(), undefined);
  assert.ok(hand(good), 'and the true one still counts');
  assert.not(hand(good), 'once');
  assert.equal(world.check.pollEvent()?.report.globalV4, SEEN_V4);
  assert.not(hand(good), 'when all is over neither');
});

test('a server that names an address which we cannot have is not believed', () => {
  for (const address of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', '169.254.1.1', '2001:db8::9']) {
    const world = worldOf([1]);
    world.reply = () => ({ latencyMs: 5, seen: { address, port: 41_000 } });
    const report = world.run();
    assert.equal([report.udp, report.globalV4, report.endpoints], [false, undefined, []], address);
    assert.is(world.check.refused, 3, address);
  }
  for (const address of ['::', '::1', 'ff02::1', 'fe80::1', '198.51.100.7']) {
    const world = worldOf([1]);
    world.check.setFamilies(false, true);
    world.reply = () => ({ latencyMs: 5, seen: { address, port: 41_000 } });
    assert.equal([world.run().endpoints, world.check.refused], [[], 3], address);
  }
});

test('an answer that comes after the check has ended counts for nothing', () => {
  const world = worldOf([1, 2, 3, 4]);
  world.latencies({ 1: 10, 2: 10, 3: 10, 4: 500 });
  const report = world.run();
  assert.is(report.tookMs, 30);
  assert.is(report.latencies.size, 3);
  assert.is(world.check.ignored, 1);
});

test('a flood of answers costs nothing but their count', () => {
  const world = worldOf([1, 2]);
  world.check.start(world.nowMs);
  const [one] = world.flush();
  const seeded = new Seeded(3);
  const good = answerTo(one!, SEEN_V4);
  for (let i = 0; i < 20_000; i++) {
    const bytes = good.slice();
    bytes.set(seeded.bytes(12), 8);
    assert.not(world.check.handleStun(world.nowMs, bytes, 0, bytes.length, one!.to));
  }
  assert.is(world.check.ignored, 20_000);
  assert.equal(world.flush(), [], 'nothing is sent for it');
  world.advance(3000);
  assert.equal(world.reports[0]?.endpoints, []);
});

test('any bytes are survived', () => {
  const world = worldOf([1]);
  world.check.start(world.nowMs);
  const [sent] = world.flush();
  const good = answerTo(sent!, SEEN_V4);
  let ours = 0;
  for (let seed = 1; seed < 2000; seed++) {
    const seeded = new Seeded(seed);
    const bytes = good.slice(0, seeded.below(good.length + 1));
    for (let i = seeded.below(3); i >= 0 && bytes.length > 0; i--)
      bytes[seeded.below(bytes.length)]! ^= seeded.below(256);
    if (world.check.handleStun(world.nowMs, bytes, 0, bytes.length, sent!.to)) ours++;
  }
  assert.ok(ours <= 1);
});

test('addresses that were seen are kept for 5 minutes, the newest first, and no more than the limit', () => {
  const world = worldOf([1], { endpoints: 3 });
  let port = 1;
  world.reply = () => ({ latencyMs: 10, seen: { address: '198.51.100.7', port } });
  const ports = () => world.run().endpoints.map(endpoint => endpoint.port);
  assert.equal(ports(), [1]);
  const firstMs = world.reports[0]!.atMs;
  port = 2;
  assert.equal(ports(), [2, 1]);
  port = 1;
  assert.equal(ports(), [1, 2], 'seen again');
  port = 3;
  assert.equal(ports(), [3, 1, 2]);
  port = 4;
  assert.equal(ports(), [4, 3, 1]);
  world.nowMs = world.reports[3]!.atMs + 300_000 - 10;
  port = 5;
  assert.equal(ports(), [5, 4], 'what is 5 minutes old is gone');
  assert.ok(world.reports.at(-1)!.atMs > firstMs);
});

test('requests under way are bounded: one more is not sent', () => {
  const world = worldOf([1, 2, 3, 4, 5], { probes: 3 });
  world.check.start(world.nowMs);
  world.advance(250);
  assert.is(world.sent.length, 3);
  world.advance(6000);
  assert.is(world.reports.length, 1);
  world.latencies({ 1: 1, 2: 1, 3: 1, 4: 1, 5: 1 });
  assert.ok(world.run().udp, 'the next check has room again');
});

test('regions of a full check are bounded, and home is among them', () => {
  const world = worldOf([1, 2, 3, 4, 5], { ...NETCHECK_LIMITS_SMALL, regions: 2 });
  const asked = () => [...new Set(world.sent.splice(0).map(({ to }) => to.address))];
  world.check.noteRelayHeard(world.nowMs, 5);
  assert.is(world.run().preferredRegion, 5);
  assert.equal(asked(), ['10.0.0.1', '10.0.0.2']);
  world.run();
  assert.equal(asked(), ['10.0.0.5', '10.0.0.1']);
});

test('a region that goes while it is asked is not in the report', () => {
  const world = worldOf([1, 2]);
  world.latencies({ 1: 10, 2: 50 });
  world.check.start(world.nowMs);
  world.advance(20);
  world.check.setRegions(world.nowMs, mapOf(region(2)));
  world.advance(3000);
  assert.equal([...world.reports[0]!.latencies], [[2, 50]]);
  assert.is(world.reports[0]!.preferredRegion, 2);
  world.check.start(world.nowMs);
  world.flush();
  world.check.setRegions(world.nowMs, mapOf());
  world.flush();
  assert.equal([world.reports[1]?.preferredRegion, world.reports[1]?.preferredWhy], [0, 'none']);
});

test('without regions the report comes at once and is empty', () => {
  const world = new World();
  world.check.start(world.nowMs);
  world.flush();
  assert.equal([world.reports[0]?.udp, world.reports[0]?.tookMs, world.sent.length], [false, 0, 0]);
});

test('on another network all is asked anew, and only home is remembered', () => {
  const world = worldOf([1, 2, 3, 4]);
  world.latencies({ 1: 30, 2: 20, 3: 40, 4: 50 });
  world.run();
  world.check.start(world.nowMs);
  world.advance(5);
  world.reply = () => ({ latencyMs: 100, seen: { address: '203.0.113.1', port: 7 } });
  world.check.linkChanged(world.nowMs);
  const changedMs = world.nowMs;
  world.advance(3000);
  assert.is(world.reports.length, 2);
  const report = world.reports[1]!;
  assert.equal([report.isFull, report.tookMs], [true, 100]);
  assert.is(world.sentTexts(changedMs).length, 4);
  assert.equal(report.endpoints, [{ address: '203.0.113.1', port: 7 }]);
  assert.is(report.preferredRegion, 2);
  world.check.linkChanged(world.nowMs);
  world.advance(10_000);
  assert.is(world.reports.length, 2, 'no check of its own');
  assert.ok(world.run().isFull);
});

test('the same input gives the same requests', () => {
  const once = () => {
    const world = worldOf([1, 2, 3]);
    world.latencies({ 1: 30, 2: 20 });
    world.run();
    return world.sent;
  };
  assert.equal(once(), once());
});

test.run();
