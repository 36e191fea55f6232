/** Rules as coordinators write them: every form of a source and destination, what is malformed, limits. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DropCounters } from '../../lib/base/drop.ts';
import { PacketFilter } from '../../lib/filter/filter.ts';
import { FILTER_LIMITS_LARGE, FILTER_LIMITS_SMALL } from '../../lib/filter/limits.ts';
import { parseRanges } from '../../lib/filter/ranges.ts';
import type { WireFilterRule } from '../../lib/filter/rule.ts';
import { toHex } from '../../lib/base/bytes.ts';
import { classify, Packet } from '../../lib/packet/classify.ts';
import {
  ALLOW_ALL,
  address,
  datagram,
  FilterWorld,
  icmp,
  ME4,
  ME6,
  PEER4,
  PEER6,
  prefixes,
  rule,
  sctp,
  segment,
} from './support.ts';

const test = suite('filter/rules');
const NO_RULE = 'filter-no-rule';

/** First and last address of each range in a text, in hex. */
function ranges(text: string): string[] | undefined {
  return parseRanges(text)?.map(({ first, last }) => `${toHex(first)}-${toHex(last)}`);
}

test('an address, a prefix, a range and a star are ranges of addresses', () => {
  assert.equal(ranges('1.2.3.4'), ['01020304-01020304']);
  assert.equal(ranges('100.64.0.0/10'), ['64400000-647fffff']);
  assert.equal(ranges('0.0.0.0/0'), ['00000000-ffffffff']);
  assert.equal(ranges('10.0.0.1/32'), ['0a000001-0a000001']);
  assert.equal(ranges('1.2.3.4-1.2.4.0'), ['01020304-01020400']);
  assert.equal(ranges('1.2.3.4-1.2.3.4'), ['01020304-01020304']);
  assert.equal(ranges('fd00::/7'), undefined, 'fc00::/7 has this bit as a host bit');
  assert.equal(ranges('fc00::/7'), [`fc${'0'.repeat(30)}-fd${'f'.repeat(30)}`]);
  assert.equal(ranges('2eff::1-2eff::800'), [`2eff${'0'.repeat(27)}1-2eff${'0'.repeat(25)}800`]);
  assert.equal(ranges('*'), ['00000000-ffffffff', `${'0'.repeat(32)}-${'f'.repeat(32)}`]);
});

test('a text that is none of these is malformed', () => {
  for (const text of [
    '',
    ' ',
    '**',
    '*/0',
    'host',
    '1.2.3',
    '1.2.3.4 ',
    '1.2.3.4/',
    '1.2.3.4/33',
    '10.0.0.1/8',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    'fd00::1/64',
    'fd00::/129',
    '1.2.3.4-',
    '-1.2.3.4',
    '1.2.3.4-1.2.3.3',
    '1.2.3.4-1.2.3.5-1.2.3.6',
    '1.2.3.4-fd00::1',
    'fd00::2-fd00::1',
    '1.2.3.4-1.2.3.0/24',
    '1.2.3.4,1.2.3.5',
    '1.2.3.4:80',
    'fe80::1%eth0',
  ])
    assert.is(parseRanges(text), undefined, text);
});

test('a malformed source or destination is dropped alone and counted', () => {
  const world = new FilterWorld([
    rule(['100.64.0.2/8', PEER4, 'nobody'], ['100.64.0.1/31', ME4, '1.2.3.4/'], '80'),
    rule([PEER6], [ME6], '80'),
  ]);
  assert.is(world.filter.malformed, 4);
  assert.is(world.inbound(segment(PEER4, ME4, 80)), 'in');
  assert.is(world.inbound(segment('100.64.0.3', ME4, 80)), NO_RULE);
  assert.is(world.inbound(segment(PEER6, ME6, 80)), 'in');
  world.setRules([]);
  assert.is(world.filter.malformed, 0, 'it is about the rules in force');
});

test('a prefix with host bits opens nothing', () => {
  const world = new FilterWorld([rule(['100.64.0.2/8'], ['*']), rule(['*'], ['100.64.0.1/8'])]);
  assert.is(world.inbound(segment(PEER4, ME4, 80)), NO_RULE);
  assert.is(world.filter.malformed, 2);
});

test('a rule with source bits is left out, and so is a destination with bits', () => {
  const old = { ...ALLOW_ALL, SrcBits: [8] } as WireFilterRule;
  const empty = { ...rule([PEER4], [ME4], '80'), SrcBits: [] } as WireFilterRule;
  const dst = { SrcIPs: ['*'], DstPorts: [{ IP: '*', Bits: 8, Ports: { First: 81, Last: 81 } }] };
  const world = new FilterWorld([old, empty, dst as WireFilterRule]);
  assert.is(world.inbound(segment(PEER4, ME4, 80)), 'in');
  assert.is(world.inbound(segment(PEER4, ME4, 81)), NO_RULE);
  assert.is(world.inbound(segment('100.64.0.3', ME4, 80)), NO_RULE);
  assert.is(world.filter.malformed, 2);
});

test('ports that are none are dropped alone', () => {
  const wrong = [
    [80, 79],
    [-1, 80],
    [0, 65_536],
    [1.5, 2],
    [Number.NaN, 1],
  ].map(([First, Last]) => ({ IP: '*', Ports: { First: First!, Last: Last! } }));
  const world = new FilterWorld([{ SrcIPs: ['*'], DstPorts: [...wrong, { IP: '*', Ports: { First: 9, Last: 9 } }] }]);
  assert.is(world.filter.malformed, 5);
  for (const [port, verdict] of [
    [9, 'in'],
    [0, NO_RULE],
    [1, NO_RULE],
    [79, NO_RULE],
    [80, NO_RULE],
    [65_535, NO_RULE],
  ] as const)
    assert.is(world.inbound(segment(PEER4, ME4, port)), verdict, `port ${port}`);
});

test('a list of protocols that is empty means TCP, UDP and both ICMPs, and one that is not means just those', () => {
  const judge = (protocols: number[] | undefined) => {
    const world = new FilterWorld([rule(['*'], ['*'], '*', protocols)]);
    return [
      segment(PEER4, ME4, 80),
      datagram(PEER4, 9, ME4, 80),
      sctp(PEER4, 9, ME4, 80),
      icmp(PEER4, ME4, 8),
      icmp(PEER6, ME6, 128),
    ].map(packet => world.inbound(packet) === 'in');
  };
  assert.equal(judge(undefined), [true, true, false, true, true]);
  assert.equal(judge([]), [true, true, false, true, true]);
  assert.equal(judge([6]), [true, false, false, true, true]);
  assert.equal(judge([17]), [false, true, false, true, true]);
  assert.equal(judge([132]), [false, false, true, true, true]);
  assert.equal(judge([1]), [false, false, false, true, true]);
});

test('protocol numbers that no packet can have are dropped alone; a rule with no other is none', () => {
  const world = new FilterWorld([
    rule(['*'], ['*'], '80', [0, 255, 256, -1, 1.5, 6]),
    rule(['*'], ['*'], '81', [0, 300]),
    rule(['*'], ['*'], '82', [6, 6]),
  ]);
  assert.is(world.filter.malformed, 7);
  assert.is(world.inbound(segment(PEER4, ME4, 80)), 'in');
  assert.is(world.inbound(datagram(PEER4, 9, ME4, 80)), NO_RULE);
  assert.is(world.inbound(segment(PEER4, ME4, 81)), NO_RULE);
  assert.is(world.inbound(segment(PEER4, ME4, 82)), 'in');
});

test('a source may be those who have a capability', () => {
  const world = new FilterWorld();
  const holders = (name: string) => (name === 'example.com/cap/x' ? prefixes(PEER4, PEER6) : []);
  const rules = [rule(['cap:example.com/cap/x'], ['*'], '80'), rule(['cap:other'], ['*'], '81')];
  world.filter.setRules(rules, prefixes(ME4, ME6), holders);
  assert.is(world.inbound(segment(PEER4, ME4, 80)), 'in');
  assert.is(world.inbound(segment(PEER6, ME6, 80)), 'in');
  assert.is(world.inbound(segment(PEER4, ME4, 81)), NO_RULE);
  assert.is(world.inbound(segment('100.64.0.3', ME4, 80)), NO_RULE);
  assert.is(world.filter.malformed, 0);
  world.setRules(rules);
  assert.is(world.inbound(segment(PEER4, ME4, 80)), NO_RULE, 'nobody is known to have it');
});

test('a capability is no destination', () => {
  const world = new FilterWorld([rule(['*'], ['cap:x'], '80')]);
  assert.is(world.filter.malformed, 1);
});

test('many rules about the same ports, each for other sources, all hold', () => {
  const rules = Array.from({ length: 100 }, (_, i) => rule([`100.64.1.${i}`, `fd7a::${i}:1`], [ME4, ME6], '443'));
  const world = new FilterWorld(rules);
  for (const i of [0, 1, 50, 99]) {
    assert.is(world.inbound(segment(`100.64.1.${i}`, ME4, 443)), 'in');
    assert.is(world.inbound(segment(`fd7a::${i}:1`, ME6, 443)), 'in');
    assert.is(world.inbound(segment(`100.64.1.${i}`, ME4, 444)), NO_RULE);
  }
  assert.is(world.inbound(segment('100.64.1.100', ME4, 443)), NO_RULE);
  assert.is(world.inbound(segment('100.64.0.255', ME4, 443)), NO_RULE);
});

test('many rules for everybody, each about another port, all hold', () => {
  const rules = Array.from({ length: 100 }, (_, i) => rule(i % 2 === 0 ? ['*'] : ['100.0.0.0/8'], ['*'], `${i * 3}`));
  const world = new FilterWorld(rules);
  for (let port = 0; port < 310; port++) {
    const isThere = port % 3 === 0 && port < 300;
    assert.is(world.inbound(segment(PEER4, ME4, port)), isThere ? 'in' : NO_RULE, `port ${port}`);
    assert.is(world.inbound(segment('10.1.1.1', ME4, port)), isThere && port % 2 === 0 ? 'in' : NO_RULE);
  }
});

test('rules about ports of many routes hold for each', () => {
  const world = new FilterWorld();
  const routes = Array.from({ length: 40 }, (_, i) => rule([`100.64.0.${i}`], [`10.0.${i}.0/24`]));
  const wide = [rule(['100.64.0.200'], ['10.0.0.0/8'], '80-90'), rule(['100.64.0.201'], ['10.0.0.0/8'], '443-444')];
  world.setRules([...routes, ...wide], prefixes('10.0.0.0/8'));
  for (let i = 0; i < 40; i++) {
    assert.is(world.inbound(segment('100.64.0.200', `10.0.${i}.7`, 85)), 'in');
    assert.is(world.inbound(segment('100.64.0.200', `10.0.${i}.7`, 91)), NO_RULE);
    assert.is(world.inbound(datagram('100.64.0.200', 9, `10.0.${i}.7`, 80)), 'in');
    for (const [port, verdict] of [
      [442, NO_RULE],
      [443, 'in'],
      [444, 'in'],
      [445, NO_RULE],
    ] as const)
      assert.is(world.inbound(segment('100.64.0.201', `10.0.${i}.7`, port)), verdict);
    assert.is(world.inbound(segment(`100.64.0.${i}`, `10.0.${i}.7`, 5)), 'in');
    assert.is(world.inbound(segment(`100.64.0.${i}`, `10.0.${i + 1}.7`, 5)), NO_RULE);
  }
  assert.is(world.inbound(segment('100.64.0.200', '10.255.255.255', 80)), 'in');
  assert.is(world.inbound(segment('100.64.0.201', '10.0.0.0', 443)), 'in');
  assert.is(world.inbound(segment('100.64.0.201', '10.255.255.255', 444)), 'in');
  assert.is(world.inbound(segment('100.64.0.201', '9.255.255.255', 443)), 'filter-not-local');
});

test('rules beyond the limit are left out and counted', () => {
  const limits = { ...FILTER_LIMITS_SMALL, rules: 2 };
  const world = new FilterWorld([rule(['*'], ['*'], '1'), rule(['*'], ['*'], '2'), rule(['*'], ['*'], '3')], limits);
  assert.is(world.inbound(segment(PEER4, ME4, 2)), 'in');
  assert.is(world.inbound(segment(PEER4, ME4, 3)), NO_RULE);
  assert.is(world.filter.overLimit, 1);
});

test('ranges beyond the limit are left out with their rule', () => {
  const limits = { ...FILTER_LIMITS_SMALL, ranges: 5 };
  const world = new FilterWorld([rule([PEER4, '10.0.0.1'], ['*'], '1'), rule([PEER4, '10.0.0.1'], ['*'], '2')], limits);
  assert.is(world.inbound(segment(PEER4, ME4, 1)), 'in');
  assert.is(world.inbound(segment(PEER4, ME4, 2)), NO_RULE);
  assert.is(world.filter.overLimit, 1);
  const holders = () => prefixes(PEER4, '10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5');
  world.filter.setRules([rule(['cap:x'], ['*'], '1')], prefixes(ME4), holders);
  assert.is(world.inbound(segment('10.0.0.2', ME4, 1)), 'in');
  assert.is(world.inbound(segment('10.0.0.3', ME4, 1)), NO_RULE, 'three of six have room');
  assert.is(world.filter.overLimit, 3);
});

test('rules that would take more memory than the limit are left out and counted', () => {
  const all = Array.from({ length: 40 }, (_, i) => rule([`100.64.0.${i}`], ['*'], `${i}`));
  const world = new FilterWorld(all, { ...FILTER_LIMITS_SMALL, pieces: 100 });
  assert.ok(world.filter.overLimit > 0);
  const allowed = all.filter((_, i) => world.inbound(segment(`100.64.0.${i}`, ME4, i)) === 'in').length;
  assert.ok(allowed > 0 && allowed < 40, `${allowed}`);
  for (let i = 0; i < 40; i++) assert.is(world.inbound(segment(`100.64.0.${i}`, ME4, i + 1)), NO_RULE);
});

test('a source that has no room left in the table is denied', () => {
  // One set of ports, but 200 separate addresses: only the places in the tree run out.
  const sources = Array.from({ length: 200 }, (_, i) => `100.64.1.${i & ~1}`).map((text, i) =>
    i % 2 ? '9.9.9.9' : text,
  );
  const world = new FilterWorld([rule(sources, [ME4], '1')], { ...FILTER_LIMITS_SMALL, pieces: 60 });
  const allowed = sources.filter(text => text !== '9.9.9.9' && world.inbound(segment(text, ME4, 1)) === 'in').length;
  assert.ok(allowed > 0 && allowed < 60, `${allowed}`);
  assert.ok(world.filter.overLimit > 0);
});

const GRANT = 'example.com/cap/files';

test('a grant gives its sources capabilities on its destinations, and lets no packet in', () => {
  const rules: WireFilterRule[] = [
    { SrcIPs: [PEER4, PEER6], CapGrant: [{ Dsts: [`${ME4}/32`, 'fd7a:115c:a1e0::/48'], Caps: ['drive', ''] }] },
    {
      SrcIPs: ['100.64.0.0/10'],
      CapGrant: [{ Dsts: ['100.64.0.1/8'], CapMap: { [GRANT]: [{ path: '/' }], drive: null } }],
    },
    { SrcIPs: [PEER4], CapGrant: [{ Dsts: [ME4], CapMap: { [GRANT]: [1, 2] } }] },
  ];
  const world = new FilterWorld(rules);
  const { filter } = world;
  assert.equal(filter.capabilities(address(PEER4), address(ME4)), ['drive', GRANT]);
  assert.equal(
    [...filter.capabilityValues(address(PEER4), address(ME4))],
    [
      ['drive', []],
      [GRANT, [{ path: '/' }, 1, 2]],
    ],
  );
  assert.equal(filter.capabilities(address(PEER6), address(ME6)), ['drive']);
  assert.equal(filter.capabilities(address('100.64.0.9'), address(ME4)), [GRANT, 'drive']);
  assert.equal(filter.capabilities(address('100.64.0.9'), address(ME6)), []);
  assert.equal(filter.capabilities(address('100.128.0.0'), address(ME4)), []);
  assert.equal(filter.capabilities(address('100.63.255.255'), address(ME4)), []);
  assert.equal(filter.capabilities(address(PEER4), address('101.0.0.1')), []);
  assert.equal(filter.capabilities(address(PEER4), address(ME6)), ['drive']);
  assert.is(world.inbound(segment(PEER4, ME4, 80)), NO_RULE);
  assert.is(world.inbound(icmp(PEER4, ME4, 8)), NO_RULE);
  assert.is(filter.malformed, 0);
});

test('grants have their limits and malformed parts as rules do', () => {
  const grant = { Dsts: ['*'], Caps: ['x'] };
  const filter = new PacketFilter({ limits: { ...FILTER_LIMITS_SMALL, rules: 1 }, drops: new DropCounters() });
  filter.setRules(
    [
      { SrcIPs: ['*'], SrcBits: [1], CapGrant: [grant] } as WireFilterRule,
      { SrcIPs: ['x', PEER4], CapGrant: [{ Dsts: ['y', ME4], Caps: ['one'] }] },
      { SrcIPs: ['*'], CapGrant: [grant] },
    ],
    prefixes(ME4),
  );
  assert.is(filter.overLimit, 1);
  assert.is(filter.malformed, 3);
  assert.equal(filter.capabilities(address(PEER4), address(ME4)), ['one']);
  assert.equal(filter.capabilities(address(PEER6), address(ME4)), []);
  filter.setRules([{ SrcIPs: ['cap:x'], CapGrant: [grant] }], prefixes(ME4), () => prefixes('10.0.0.0/8'));
  assert.equal(filter.capabilities(address('10.1.2.3'), address(ME4)), ['x']);
  assert.equal(filter.capabilities(address('11.1.2.3'), address(ME4)), []);
});

test('20,000 rules compile into a bounded table and are found without looking at them one by one', () => {
  const count = 20_000;
  const rules = Array.from({ length: count }, (_, i) =>
    rule([`100.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`], [ME4], `${1000 + (i % 5000)}`),
  );
  const drops = new DropCounters();
  const filter = new PacketFilter({ limits: FILTER_LIMITS_LARGE, drops });
  filter.setRules(rules, prefixes(ME4, ME6));
  assert.is(filter.malformed + filter.overLimit, 0);
  assert.ok(filter.heldBytes < count * 64, `${filter.heldBytes} bytes`);
  const packet = new Packet();
  for (let i = 0; i < count; i += 97) {
    const source = `100.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
    const judge = (port: number) => {
      const buf = segment(source, ME4, port);
      classify(buf, 0, buf.length, packet);
      return filter.handleInbound(0, packet, buf, 0, buf.length);
    };
    assert.is(judge(1000 + (i % 5000)), 0);
    assert.ok(judge(1000 + (i % 5000) + 1) < 0);
  }
});

test.run();
