import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isPossibleSource, ReflexiveAddresses } from '../../lib/netcheck/reflexive.ts';
import { familiesOf, isLoopbackPlace, NameBook, stunPlace } from '../../lib/netcheck/servers.ts';
import { mapOf, region, SEEN_V4, World } from './support.ts';

const test = suite('netcheck servers');

function place(node: Parameters<typeof region>[1], isV6 = false) {
  const [first] = region(1, node).Nodes;
  const found = stunPlace(first!, isV6);
  return found === undefined ? undefined : `${found.address ?? found.name} ${found.port}`;
}

test('a server is at the address of its family, else behind its name', () => {
  assert.is(place({}), '10.0.0.1 3478');
  assert.is(place({}, true), '2001:db8::1 3478');
  assert.is(place({ IPv4: '' }), 'relay1.example 3478');
  assert.is(place({ IPv6: '' }, true), 'relay1.example 3478');
  assert.is(place({ IPv6: '2001:DB8:0:0::5' }, true), '2001:db8::5 3478');
  assert.is(place({ IPv4: 'none' }), undefined);
  assert.is(place({ IPv4: '', HostName: '10.9.9.9' }), '10.9.9.9 3478');
  assert.is(place({ IPv6: '', HostName: '10.9.9.9' }, true), undefined);
  assert.is(place({ STUNTestIP: '127.0.0.1' }), '127.0.0.1 3478');
  assert.is(place({ STUNTestIP: '127.0.0.1' }, true), undefined);
});

test('an address of the wrong family or form, and a name that is none, are no server', () => {
  assert.is(place({ IPv4: '2001:db8::1' }), undefined);
  assert.is(place({ IPv6: '10.0.0.1' }, true), undefined);
  assert.is(place({ IPv6: '::ffff:10.0.0.1' }, true), undefined);
  assert.is(place({ IPv4: '10.0.0.256' }), undefined);
  for (const HostName of ['', 'a b', 'http://x', '-x', `${'a'.repeat(254)}`, 'x\n']) {
    assert.is(place({ IPv4: '', HostName }), undefined, HostName);
  }
});

test('0 is the usual port, below it is no STUN, beyond ports neither', () => {
  assert.is(place({ STUNPort: 0 }), '10.0.0.1 3478');
  assert.is(place({ STUNPort: 65_535 }), '10.0.0.1 65535');
  for (const STUNPort of [-1, 65_536, 1.5, Number.NaN]) assert.is(place({ STUNPort }), undefined, `${STUNPort}`);
});

test('this machine itself is known by its addresses and its name', () => {
  const isLoopback = (node: Parameters<typeof region>[1]) =>
    isLoopbackPlace(stunPlace(region(1, node).Nodes[0]!, false)!);
  assert.ok(isLoopback({ IPv4: '127.8.0.1' }) && isLoopback({ IPv4: '', HostName: 'localhost' }));
  assert.not(isLoopback({}) || isLoopback({ IPv4: '' }));
});

test('a machine has the families of its addresses, and may have both when it does not tell', () => {
  assert.equal(familiesOf(['10.0.0.1', '10.0.0.2']), { hasV4: true, hasV6: false });
  assert.equal(familiesOf(['fd00::1']), { hasV4: false, hasV6: true });
  assert.equal(familiesOf(['fd00::1', '10.0.0.1']), { hasV4: true, hasV6: true });
  assert.equal(familiesOf([]), { hasV4: true, hasV6: true });
});

test('where a server can see us: one host’s address, of its family', () => {
  assert.ok(isPossibleSource('198.51.100.7', '10.0.0.1') && isPossibleSource('10.0.0.2', '10.0.0.1'));
  assert.ok(isPossibleSource('100.64.0.7', '10.0.0.1'), 'behind a carrier’s NAT');
  assert.ok(isPossibleSource('2001:db8::1', '2001:db8::2') && isPossibleSource('fd00::1', '2001:db8::2'));
  assert.ok(isPossibleSource('127.0.0.1', '127.0.0.1') && isPossibleSource('::1', '::1'));
  for (const bad of ['0.1.2.3', '127.0.0.1', '169.254.0.1', '224.0.0.0', '255.255.255.255', '::1', 'x', ''])
    assert.not(isPossibleSource(bad, '10.0.0.1'), bad);
  for (const bad of ['::', '::1', 'febf::1', 'fe80::1', 'ff00::1', '10.0.0.1'])
    assert.not(isPossibleSource(bad, '2001:db8::2'), bad);
});

test('a name is looked up once, again after 5 minutes, and again after a failure', () => {
  const book = new NameBook(4);
  const v4 = () => book.addressOf({ port: 1, address: undefined, name: 'a' }, false);
  book.want(0, 'a');
  book.want(0, 'a');
  assert.equal([book.pollQuestion(), book.pollQuestion(), book.isAsked('a')], ['a', undefined, true]);
  book.want(1, 'a');
  assert.is(book.pollQuestion(), undefined, 'being looked up');
  assert.ok(book.answer(10, 'a', []));
  book.want(20, 'a');
  assert.is(book.pollQuestion(), 'a', 'it failed');
  assert.ok(book.answer(30, 'a', ['2001:db8::1', 'junk', '10.0.0.1', '10.0.0.2']));
  assert.is(v4(), '10.0.0.1');
  assert.is(book.addressOf({ port: 1, address: undefined, name: 'a' }, true), '2001:db8::1');
  book.want(300_029, 'a');
  assert.is(book.pollQuestion(), undefined);
  book.want(300_030, 'a');
  assert.is(book.pollQuestion(), 'a');
  assert.is(v4(), '10.0.0.1', 'the old one counts meanwhile');
  book.answer(300_040, 'a', []);
  assert.is(v4(), '10.0.0.1', 'and after a failure');
});

test('an answer that nobody asked for counts for nothing', () => {
  const book = new NameBook(4);
  assert.not(book.answer(0, 'a', ['10.0.0.1']));
  book.want(0, 'a');
  assert.ok(book.answer(0, 'a', ['10.0.0.1']));
  assert.not(book.answer(0, 'a', ['10.6.6.6']), 'twice');
  assert.is(book.addressOf({ port: 1, address: undefined, name: 'a' }, false), '10.0.0.1');
});

test('names are bounded and leave with the map; a question for one that has left is not asked', () => {
  const book = new NameBook(2);
  for (const name of ['a', 'b', 'c']) book.want(0, name);
  assert.equal([book.pollQuestion(), book.pollQuestion(), book.pollQuestion()], ['a', 'b', undefined]);
  book.keepOnly(name => name !== 'a');
  book.want(0, 'c');
  book.want(0, 'd');
  book.keepOnly(name => name === 'b');
  assert.is(book.pollQuestion(), undefined);
  assert.not(book.answer(0, 'a', ['10.0.0.1']));
});

function named(...ids: readonly number[]): World {
  const world = new World();
  world.check.setRegions(0, mapOf(...ids.map(id => region(id, { IPv4: '', IPv6: 'none' }))));
  world.check.setFamilies(true, false);
  return world;
}

test('a check waits for names, and its tries count from when they are known', () => {
  const world = named(1, 2);
  const { nowMs } = world;
  world.check.start(nowMs);
  assert.equal(
    [world.check.pollResolve(), world.check.pollResolve(), world.check.pollResolve()],
    ['relay1.example', 'relay2.example', undefined],
  );
  world.advance(500);
  assert.equal([world.sent.length, world.check.nextTimeout()], [0, nowMs + 3000]);
  world.check.handleResolved(world.nowMs, 'relay1.example', ['2001:db8::9', '10.0.0.1']);
  world.advance(400);
  assert.equal(world.sentTexts(nowMs), ['10.0.0.1@500', '10.0.0.1@600', '10.0.0.1@700']);
  world.latencies({ 2: 20 });
  world.check.handleResolved(world.nowMs, 'relay2.example', ['10.0.0.2']);
  world.advance(6000);
  assert.equal([world.reports[0]!.latencies.get(2), world.reports[0]!.tookMs], [20, 3000]);
});

test('slow names prolong a check that has measured nothing, to 5 seconds', () => {
  const world = named(1);
  world.latencies({ 1: 20 });
  world.check.start(world.nowMs);
  world.check.pollResolve();
  world.advance(4000);
  assert.equal(world.reports, []);
  world.check.handleResolved(world.nowMs, 'relay1.example', ['10.0.0.1']);
  world.advance(1000);
  assert.is(world.reports[0]!.tookMs, 4020);
  const never = named(1);
  never.check.start(never.nowMs);
  never.advance(4999);
  assert.equal(never.reports, []);
  never.advance(1);
  assert.is(never.reports[0]!.tookMs, 5000);
});

test('when no name has an address, the check is over at once', () => {
  const world = named(1, 2);
  world.check.start(world.nowMs);
  world.advance(30);
  world.check.handleResolved(world.nowMs, 'relay1.example', []);
  world.check.handleResolved(world.nowMs, 'relay2.example', ['2001:db8::2']);
  world.flush();
  assert.equal([world.reports[0]?.tookMs, world.reports[0]?.udp], [30, false]);
  world.check.handleResolved(world.nowMs, 'relay2.example', ['10.0.0.2']);
  assert.is(world.check.nextTimeout(), Number.POSITIVE_INFINITY);
});

test('one server of a region is asked while the name of another is looked up', () => {
  const world = new World();
  const [other] = region(1, { HostName: 'slow.example', IPv4: '', IPv6: 'none' }).Nodes;
  world.check.setRegions(0, mapOf(region(1, {}, { Nodes: [other!, ...region(7).Nodes] })));
  world.check.setFamilies(true, false);
  world.reply = () => ({ latencyMs: 30, seen: SEEN_V4 });
  assert.equal([world.run().latencies.get(1), world.sent[0]!.to.address], [30, '10.0.0.7']);
});

test('known names are asked at once in the next check, and as they are after a change of the map', () => {
  const world = named(1);
  world.latencies({ 1: 20 });
  world.check.start(world.nowMs);
  world.check.pollResolve();
  world.check.handleResolved(world.nowMs, 'relay1.example', ['10.0.0.1']);
  world.advance(1000);
  assert.is(world.run().tookMs, 20);
  assert.is(world.check.pollResolve(), undefined);
  world.check.linkChanged(world.nowMs);
  assert.is(world.run().tookMs, 20);
  assert.is(world.check.pollResolve(), 'relay1.example', 'another network may have other names');
});

test('no more addresses are kept than the limit: those that were seen last', () => {
  const seen = new ReflexiveAddresses(2);
  for (const port of [1, 2, 1, 3, 3]) seen.note(1000, { address: '198.51.100.7', port });
  assert.is(seen.size, 2);
  assert.equal(
    seen.list(1000, []).map(({ port }) => port),
    [3, 1],
  );
});

test.run();
