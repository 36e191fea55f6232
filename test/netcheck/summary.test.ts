import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { derpLatencies, netcheckStatus } from '../../lib/netcheck/summary.ts';
import { mapOf, region, World } from './support.ts';

const test = suite('netcheck summary');

const REGIONS = mapOf(region(1), region(2), region(3));

function world(): World {
  const made = new World();
  made.check.setRegions(0, REGIONS);
  return made;
}

test('a report becomes plain values that JSON keeps', () => {
  const made = world();
  made.latencies({ 1: 40.26, 2: 20 }, { 1: 30.04 });
  const summary = netcheckStatus(made.run(), REGIONS);
  assert.equal(summary, {
    udp: true,
    ipv4: true,
    ipv6: true,
    globalV4: '198.51.100.7:41000',
    globalV6: '[2001:db8:7::7]:41641',
    mappingVariesByDestIp: false,
    endpoints: ['198.51.100.7:41000', '[2001:db8:7::7]:41641'],
    home: { region: 2, code: 'r2', name: 'Region 2', why: 'nearest' },
    relays: [
      { region: 2, code: 'r2', name: 'Region 2', latencyMs: 20, latencyV4Ms: 20, latencyV6Ms: undefined, isHome: true },
      { region: 1, code: 'r1', name: 'Region 1', latencyMs: 30, latencyV4Ms: 40.3, latencyV6Ms: 30, isHome: false },
    ],
    tookMs: 3000,
  });
  assert.equal(JSON.parse(JSON.stringify(summary)).relays[1], summary.relays[1]);
});

test('what is not known is undefined', () => {
  const made = new World();
  made.check.start(made.nowMs);
  made.flush();
  assert.equal(netcheckStatus(made.reports[0]!, mapOf()), {
    udp: false,
    ipv4: false,
    ipv6: false,
    globalV4: undefined,
    globalV6: undefined,
    mappingVariesByDestIp: undefined,
    endpoints: [],
    home: undefined,
    relays: [],
    tookMs: 0,
  });
});

test('home is the relay that is connected, be it not the preferred one', () => {
  const made = world();
  made.latencies({ 1: 40, 2: 20 });
  const status = netcheckStatus(made.run(), REGIONS, 1);
  assert.equal(status.home, { region: 1, code: 'r1', name: 'Region 1', why: 'connected' });
  assert.equal(
    status.relays.map(relay => relay.isHome),
    [false, true],
  );
  assert.is(netcheckStatus(made.reports[0]!, REGIONS, 0).home, undefined);
});

test('a region that has left the map has no name', () => {
  const made = world();
  made.latencies({ 1: 40 });
  assert.equal(netcheckStatus(made.run(), mapOf()).home, { region: 1, code: '', name: '', why: 'nearest' });
});

test('a coordinator is told seconds by region and family', () => {
  const made = world();
  made.latencies({ 1: 40, 2: 25 }, { 2: 30 });
  assert.equal(derpLatencies(made.run()), { '1-v4': 0.04, '2-v4': 0.025, '2-v6': 0.03 });
});

test.run();
