/** What the filter lets in, packet by packet: rules, replies, fragments, jailed peers. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DropCounters } from '../../lib/base/drop.ts';
import { PacketFilter } from '../../lib/filter/filter.ts';
import { FLOW_IDLE_MS } from '../../lib/filter/flows.ts';
import { FILTER_LIMITS_SMALL } from '../../lib/filter/limits.ts';
import { extension, icmp4, join, udp, v4, v6 } from '../packet/build.ts';
import {
  ALLOW_ALL,
  address,
  datagram,
  FilterWorld,
  fragment,
  icmp,
  ipPacket,
  ME4,
  ME6,
  PEER4,
  PEER6,
  prefixes,
  rule,
  SCTP,
  sctp,
  segment,
  TCP,
  tcpHeader,
  UDP,
} from './support.ts';

const test = suite('filter');
const NO_RULE = 'filter-no-rule';
const BOTH: readonly [string, string][] = [
  [ME4, PEER4],
  [ME6, PEER6],
];
const [ACK, SYN_ACK, RST, FIN_SYN] = [0x10, 0x12, 4, 3];

test('a filter without rules lets nothing in, and until it is told its addresses not even replies', () => {
  const world = new FilterWorld();
  for (const [me, peer] of BOTH) {
    assert.is(world.inbound(segment(peer, me, 22)), NO_RULE);
    assert.is(world.inbound(datagram(peer, 9, me, 22)), NO_RULE);
    assert.is(world.inbound(icmp(peer, me, me === ME4 ? 8 : 128)), NO_RULE);
  }
  world.setRules([], []);
  assert.is(world.inbound(segment(PEER4, ME4, 22, ACK)), 'filter-not-local');
  const fresh = new PacketFilter({ limits: FILTER_LIMITS_SMALL, drops: new DropCounters() });
  assert.is(fresh.malformed, 0);
});

test('an allow-all rule lets everything in that is for this device', () => {
  const world = new FilterWorld([ALLOW_ALL]);
  for (const [me, peer] of BOTH) {
    for (const port of [0, 1, 22, 65_535]) {
      assert.is(world.inbound(segment(peer, me, port)), 'in');
      assert.is(world.inbound(datagram(peer, 9, me, port)), 'in');
    }
    assert.is(world.inbound(icmp(peer, me, me === ME4 ? 8 : 128)), 'in');
    // Protocols that the rule does not name: the empty list means four of them.
    assert.is(world.inbound(sctp(peer, 9, me, 22)), NO_RULE);
    assert.is(world.inbound(ipPacket(peer, me, 47, new Uint8Array(20))), NO_RULE);
  }
});

test('a rule is about its sources, its destinations and its ports', () => {
  const world = new FilterWorld([rule([PEER4, PEER6], [ME4, ME6], '80-81')]);
  for (const [me, peer] of BOTH) {
    const stranger = me === ME4 ? '100.64.0.3' : 'fd7a:115c:a1e0::3';
    for (const [port, verdict] of [
      [79, NO_RULE],
      [80, 'in'],
      [81, 'in'],
      [82, NO_RULE],
    ] as const) {
      assert.is(world.inbound(segment(peer, me, port)), verdict);
      assert.is(world.inbound(datagram(peer, port, me, port)), verdict);
    }
    assert.is(world.inbound(segment(stranger, me, 80)), NO_RULE);
    assert.is(world.inbound(datagram(stranger, 9, me, 80)), NO_RULE);
  }
});

test('a rule about another destination opens nothing here', () => {
  const world = new FilterWorld([rule(['*'], ['100.64.0.9', 'fd7a::/64'])]);
  for (const [me, peer] of BOTH) assert.is(world.inbound(segment(peer, me, 80)), NO_RULE);
});

test('a packet for a foreign destination is dropped even when every rule allows it', () => {
  const world = new FilterWorld([ALLOW_ALL]);
  assert.is(world.inbound(segment(PEER4, '100.64.0.9', 80)), 'filter-not-local');
  assert.is(world.inbound(segment(PEER6, 'fd7a:115c:a1e0::9', 80, ACK)), 'filter-not-local');
  assert.is(world.inbound(fragment(PEER4, '10.0.0.1', UDP, 800, true, new Uint8Array(16))), 'filter-not-local');
  assert.is(world.inbound(ipPacket(PEER4, '10.0.0.1', 99, new Uint8Array(9))), 'filter-not-local');
});

test('routes that this device serves are destinations too, within what the rules say', () => {
  const world = new FilterWorld();
  world.setRules(
    [rule(['*'], ['10.1.0.0/16', ME4], '80'), rule(['*'], ['10.9.0.0-10.9.0.5'])],
    prefixes(ME4, '10.0.0.0/8'),
  );
  assert.is(world.inbound(segment(PEER4, '10.1.2.3', 80)), 'in');
  assert.is(world.inbound(segment(PEER4, '10.1.2.3', 81)), NO_RULE);
  assert.is(world.inbound(segment(PEER4, '10.2.0.1', 80)), NO_RULE);
  assert.is(world.inbound(segment(PEER4, '10.9.0.5', 9)), 'in');
  assert.is(world.inbound(segment(PEER4, '10.9.0.6', 9)), NO_RULE);
  assert.is(world.inbound(segment(PEER4, '11.0.0.0', 80)), 'filter-not-local');
  assert.is(world.inbound(segment(PEER4, ME4, 80)), 'in');
});

test('only the TCP segment that opens a connection needs a rule', () => {
  const world = new FilterWorld();
  for (const [me, peer] of BOTH) {
    for (const flags of [ACK, SYN_ACK, RST, 0, 0x18, 1])
      assert.is(world.inbound(segment(peer, me, 80, flags)), 'in', `flags ${flags}`);
    for (const flags of [2, FIN_SYN, 6, 0x2a, 0xc2]) assert.is(world.inbound(segment(peer, me, 80, flags)), NO_RULE);
  }
});

test('a TCP header that is cut off is dropped, whatever the rules say', () => {
  const world = new FilterWorld([ALLOW_ALL]);
  for (const [me, peer] of BOTH) {
    const header = tcpHeader(9, 80, ACK);
    assert.is(world.inbound(ipPacket(peer, me, TCP, header.subarray(0, 19))), 'filter-truncated');
    assert.is(world.inbound(ipPacket(peer, me, TCP, header)), 'in');
    assert.is(world.inbound(ipPacket(peer, me, UDP, new Uint8Array(7))), 'filter-truncated');
    assert.is(world.inbound(ipPacket(peer, me, SCTP, new Uint8Array(11))), 'filter-truncated');
    assert.is(world.inbound(ipPacket(peer, me, 99, new Uint8Array(6))), 'filter-truncated');
    assert.is(world.inbound(ipPacket(peer, me, me === ME4 ? 1 : 58, new Uint8Array(7))), 'filter-truncated');
  }
});

test('echo replies and errors pass without a rule, other ICMP needs one', () => {
  const world = new FilterWorld();
  for (const type of [0, 3, 11, 12]) assert.is(world.inbound(icmp(PEER4, ME4, type)), 'in', `type ${type}`);
  for (const type of [4, 5, 8, 9, 10, 13, 17]) assert.is(world.inbound(icmp(PEER4, ME4, type)), NO_RULE);
  assert.is(world.inbound(icmp(PEER4, ME4, 0, 1)), NO_RULE, 'an echo reply has code 0');
  for (const type of [1, 2, 3, 4, 129]) assert.is(world.inbound(icmp(PEER6, ME6, type)), 'in', `type ${type}`);
  for (const type of [0, 5, 100, 127, 128, 130, 133, 134, 137, 200])
    assert.is(world.inbound(icmp(PEER6, ME6, type)), NO_RULE, `type ${type}`);
  assert.is(world.inbound(icmp(PEER6, ME6, 129, 1)), NO_RULE);
});

test('an echo request passes when any rule goes from its source to its destination, whatever its ports', () => {
  const world = new FilterWorld([rule([PEER4, PEER6], [ME4, ME6], '80', [TCP])]);
  for (const [me, peer] of BOTH) {
    const request = me === ME4 ? 8 : 128;
    assert.is(world.inbound(icmp(peer, me, request)), 'in');
    assert.is(world.inbound(icmp(me === ME4 ? '100.64.0.3' : 'fd7a:115c:a1e0::3', me, request)), NO_RULE);
  }
});

test('the ICMP of the other family needs a rule that has it and allows all ports, as other protocols do', () => {
  const v4in6 = ipPacket(PEER6, ME6, 1, icmp4(0, 0, 1, new Uint8Array(8)));
  const v6in4 = ipPacket(PEER4, ME4, 58, icmp4(129, 0, 1, new Uint8Array(8)));
  for (const packet of [v4in6, v6in4]) {
    assert.is(new FilterWorld([rule(['*'], ['*'], '*', [1, 58])]).inbound(packet), 'in');
    assert.is(new FilterWorld([ALLOW_ALL]).inbound(packet), 'in');
    assert.is(new FilterWorld([rule(['*'], ['*'], '1-65535', [1, 58])]).inbound(packet), NO_RULE);
    assert.is(new FilterWorld([rule(['*'], ['*'], '*', [TCP, UDP])]).inbound(packet), NO_RULE);
  }
});

test('a reply to a datagram that left passes, from that address and port only', () => {
  for (const make of [datagram, sctp]) {
    const world = new FilterWorld();
    for (const [me, peer] of BOTH) {
      const stranger = me === ME4 ? '100.64.0.3' : 'fd7a:115c:a1e0::3';
      assert.is(world.inbound(make(peer, 53, me, 4000)), NO_RULE);
      world.outbound(make(me, 4000, peer, 53));
      assert.is(world.inbound(make(peer, 53, me, 4000)), 'in');
      assert.is(world.inbound(make(peer, 54, me, 4000)), NO_RULE);
      assert.is(world.inbound(make(peer, 53, me, 4001)), NO_RULE);
      assert.is(world.inbound(make(peer, 4000, me, 53)), NO_RULE);
      assert.is(world.inbound(make(stranger, 53, me, 4000)), NO_RULE);
    }
  }
});

test('a flow of one protocol lets no other protocol in', () => {
  const world = new FilterWorld();
  world.outbound(datagram(ME4, 4000, PEER4, 53));
  assert.is(world.inbound(sctp(PEER4, 53, ME4, 4000)), NO_RULE);
  assert.is(world.inbound(segment(PEER4, ME4, 4000, 2, 53)), NO_RULE);
  world.outbound(segment(ME4, PEER4, 53));
  world.outbound(icmp(ME4, PEER4, 8));
  assert.is(world.inbound(icmp(PEER4, ME4, 8)), NO_RULE, 'a ping of ours is no invitation');
});

test('another protocol without ports passes as a reply between the same addresses', () => {
  const world = new FilterWorld();
  const gre = (src: string, dst: string) => ipPacket(src, dst, 47, new Uint8Array(12));
  assert.is(world.inbound(gre(PEER4, ME4)), NO_RULE);
  world.outbound(gre(ME4, PEER4));
  assert.is(world.inbound(gre(PEER4, ME4)), 'in');
  assert.is(world.inbound(gre('100.64.0.3', ME4)), NO_RULE);
});

test('a flow is over when it was quiet both ways for its idle time', () => {
  const world = new FilterWorld();
  world.outbound(datagram(ME4, 4000, PEER4, 53));
  world.nowMs += FLOW_IDLE_MS - 1;
  assert.is(world.inbound(datagram(PEER4, 53, ME4, 4000)), 'in');
  world.nowMs += FLOW_IDLE_MS - 1;
  assert.is(world.inbound(datagram(PEER4, 53, ME4, 4000)), 'in', 'a reply keeps it alive');
  world.nowMs += FLOW_IDLE_MS;
  assert.is(world.inbound(datagram(PEER4, 53, ME4, 4000)), NO_RULE);
  world.outbound(datagram(ME4, 4000, PEER4, 53));
  assert.is(world.inbound(datagram(PEER4, 53, ME4, 4000)), 'in');
});

test('a flow that this device opened outlives a change of rules', () => {
  const world = new FilterWorld([rule(['*'], ['*'], '80')]);
  world.outbound(datagram(ME6, 4000, PEER6, 53));
  world.setRules([]);
  assert.is(world.inbound(datagram(PEER6, 53, ME6, 4000)), 'in');
});

test('a flow that a rule allowed ends with the rule', () => {
  const world = new FilterWorld([rule([PEER4], [ME4], '53')]);
  assert.is(world.inbound(datagram(PEER4, 4000, ME4, 53)), 'in');
  world.outbound(datagram(ME4, 53, PEER4, 4000));
  world.setRules([]);
  assert.is(world.inbound(datagram(PEER4, 4000, ME4, 53)), NO_RULE);
});

test('the table of flows is bounded: in a bucket the one that was quiet longest goes', () => {
  const world = new FilterWorld();
  const flows = 1000;
  for (let i = 0; i < flows; i++) {
    world.nowMs++;
    world.outbound(datagram(ME4, 10_000 + i, PEER4, 53));
  }
  let alive = 0;
  for (let i = 0; i < flows; i++) if (world.inbound(datagram(PEER4, 53, ME4, 10_000 + i)) === 'in') alive++;
  assert.is(alive, FILTER_LIMITS_SMALL.flows);
  assert.is(world.inbound(datagram(PEER4, 53, ME4, 10_000 + flows - 1)), 'in', 'the newest is there');
});

test('the table of flows grows with the flows that live, and none is lost by that', () => {
  const world = new FilterWorld();
  const before = world.filter.heldBytes;
  const open = (from: number) => {
    world.nowMs++;
    world.outbound(datagram(ME4, from, PEER4, 53));
  };
  for (let i = 0; i < 30; i++) {
    open(10_000 + i);
    for (let j = 0; j <= i; j++) assert.is(world.inbound(datagram(PEER4, 53, ME4, 10_000 + j)), 'in', `${j} of ${i}`);
  }
  const most = world.filter.heldBytes - before;
  assert.ok(most >= 32 * 52 && most <= FILTER_LIMITS_SMALL.flows * 52, `${most} bytes`);
  const idle = new FilterWorld();
  for (let i = 0; i < 30; i++) {
    idle.nowMs += FLOW_IDLE_MS;
    idle.outbound(datagram(ME4, 10_000 + i, PEER4, 53));
  }
  assert.is(idle.filter.heldBytes - before, 8 * 52, 'flows that are over make room');
});

test('a flow that is used stays, however many others are opened', () => {
  const world = new FilterWorld();
  for (let i = 0; i < 1000; i++) {
    world.nowMs++;
    world.outbound(datagram(ME4, 10_000 + i, PEER4, 53));
    world.outbound(datagram(ME4, 9, PEER4, 9));
  }
  assert.is(world.inbound(datagram(PEER4, 9, ME4, 9)), 'in');
});

test('what leaves from a foreign address opens nothing', () => {
  const world = new FilterWorld();
  world.outbound(datagram('100.64.0.77', 4000, PEER4, 53));
  world.setRules([], prefixes('100.64.0.77'));
  assert.is(world.inbound(datagram(PEER4, 53, '100.64.0.77', 4000)), NO_RULE);
});

test('later fragments pass unless they could overlap a transport header', () => {
  const world = new FilterWorld();
  for (const [me, peer] of BOTH) {
    const body = new Uint8Array(24);
    for (const protocol of [TCP, UDP]) {
      assert.is(world.inbound(fragment(peer, me, protocol, 8, true, body)), 'filter-fragment');
      assert.is(world.inbound(fragment(peer, me, protocol, 72, false, body)), 'filter-fragment');
      assert.is(world.inbound(fragment(peer, me, protocol, 80, true, body)), 'in');
      assert.is(world.inbound(fragment(peer, me, protocol, 8000, false, body)), 'in');
    }
  }
});

test('a first fragment is judged as a packet', () => {
  const world = new FilterWorld([rule(['*'], ['*'], '53')]);
  for (const [me, peer] of BOTH) {
    const first = (to: number) =>
      fragment(peer, me, UDP, 0, true, udp({ src: peer, dst: me, from: 9, to }, new Uint8Array(8)));
    assert.is(world.inbound(first(53)), 'in');
    assert.is(world.inbound(first(54)), NO_RULE);
    assert.is(world.inbound(fragment(peer, me, TCP, 0, true, join(tcpHeader(9, 54, 2), [0, 0, 0, 0]))), NO_RULE);
  }
});

test('a later fragment that leaves opens no flow', () => {
  const world = new FilterWorld();
  world.outbound(fragment(ME4, PEER4, 47, 800, false, new Uint8Array(16)));
  assert.is(world.inbound(ipPacket(PEER4, ME4, 47, new Uint8Array(16))), NO_RULE);
});

test('TSMP passes without a rule, but not in fragments', () => {
  const world = new FilterWorld();
  for (const [me, peer] of BOTH) {
    assert.is(world.inbound(ipPacket(peer, me, 99, new Uint8Array(9))), 'in');
    assert.is(world.inbound(fragment(peer, me, 99, 0, true, new Uint8Array(16))), 'filter-fragment');
  }
});

test('other protocols need a rule that names them and allows all ports', () => {
  const gre = (world: FilterWorld) => world.inbound(ipPacket(PEER4, ME4, 47, new Uint8Array(12)));
  assert.is(gre(new FilterWorld([ALLOW_ALL])), NO_RULE);
  assert.is(gre(new FilterWorld([rule(['*'], ['*'], '*', [47])])), 'in');
  assert.is(gre(new FilterWorld([rule(['*'], ['*'], '1-65535', [47])])), NO_RULE);
  assert.is(gre(new FilterWorld([rule(['*'], ['*'], '0-65534', [47])])), NO_RULE);
  const halves = [rule(['*'], ['*'], '0-100', [47]), rule(['*'], ['*'], '101-65535', [47])];
  assert.is(gre(new FilterWorld(halves)), NO_RULE, 'two rules are not one about all ports');
});

test('multicast and link-local destinations are dropped before any rule, except the metadata address', () => {
  const world = new FilterWorld();
  world.setRules([ALLOW_ALL], prefixes('0.0.0.0/0', '::/0'));
  assert.is(world.inbound(datagram(PEER4, 9, '224.0.0.251', 5353)), 'filter-multicast');
  assert.is(world.inbound(datagram(PEER4, 9, '239.255.255.255', 5353)), 'filter-multicast');
  assert.is(world.inbound(datagram(PEER4, 9, '240.0.0.1', 5353)), 'in');
  assert.is(world.inbound(datagram(PEER6, 9, 'ff02::fb', 5353)), 'filter-multicast');
  assert.is(world.inbound(datagram(PEER4, 9, '169.254.1.1', 80)), 'filter-link-local');
  assert.is(world.inbound(datagram(PEER4, 9, '169.254.169.253', 80)), 'filter-link-local');
  assert.is(world.inbound(datagram(PEER4, 9, '169.254.169.254', 80)), 'in');
  assert.is(world.inbound(datagram(PEER6, 9, 'fe80::1', 80)), 'filter-link-local');
  assert.is(world.inbound(datagram(PEER6, 9, 'febf::1', 80)), 'filter-link-local');
  assert.is(world.inbound(datagram(PEER6, 9, 'fec0::1', 80)), 'in');
});

test('IPv6 extension headers are dropped, but for a fragment header directly behind the fixed one', () => {
  const world = new FilterWorld([ALLOW_ALL]);
  const [src, dst] = [PEER6, ME6];
  const inner = udp({ src, dst, from: 9, to: 80 }, new Uint8Array(8));
  const packet = (next: number, payload: Uint8Array) => world.inbound(v6({ src, dst, next }, payload));
  assert.is(packet(17, inner), 'in');
  assert.is(packet(0, join(extension(17, []), inner)), 'filter-extension-header');
  assert.is(packet(60, join(extension(17, []), inner)), 'filter-extension-header');
  const atomic = join([17, 0, 0, 0, 0, 0, 0, 7], inner);
  assert.is(packet(44, atomic), 'in');
  assert.is(packet(60, join(extension(44, []), atomic)), 'filter-extension-header');
  assert.is(packet(44, join([60, 0, 0, 0, 0, 0, 0, 7], extension(17, []), inner)), 'filter-extension-header');
});

test('IPv4 options change nothing', () => {
  const world = new FilterWorld([rule(['*'], ['*'], '80')]);
  const packet = (to: number) =>
    v4({ src: PEER4, dst: ME4, protocol: TCP, options: [1, 1, 1, 0] }, tcpHeader(9, to, 2));
  assert.is(world.inbound(packet(80)), 'in');
  assert.is(world.inbound(packet(81)), NO_RULE);
});

test('nothing comes in from a jailed peer but replies', () => {
  const world = new FilterWorld([ALLOW_ALL]);
  for (const [me, peer] of BOTH) {
    assert.is(world.inbound(segment(peer, me, 80), true), NO_RULE);
    assert.is(world.inbound(icmp(peer, me, me === ME4 ? 8 : 128), true), NO_RULE);
    assert.is(world.inbound(datagram(peer, 53, me, 4000), true), NO_RULE);
    world.outbound(datagram(me, 4000, peer, 53), true);
    assert.is(world.inbound(datagram(peer, 53, me, 4000), true), 'in');
    assert.is(world.inbound(segment(peer, me, 80, ACK), true), 'in');
    assert.is(world.inbound(icmp(peer, me, me === ME4 ? 0 : 129), true), 'in');
  }
});

test('a rule about a handful of peers takes less than 1 KB', () => {
  const peers = [2, 3, 4, 5].flatMap(i => [`100.64.0.${i}`, `fd7a:115c:a1e0::${i}`]);
  const { filter } = new FilterWorld([rule(peers, [ME4, ME6], '80')]);
  assert.ok(filter.heldBytes > 300 && filter.heldBytes < 1000, `${filter.heldBytes} bytes`);
});

test('the flow table takes no memory before its first flow', () => {
  const world = new FilterWorld();
  const before = world.filter.heldBytes;
  world.outbound(datagram(ME4, 4000, PEER4, 53));
  assert.is(world.filter.heldBytes - before, 8 * 52);
});

test('a flow that a peer has opened ends with its rule, both ways, for as long as the peer goes on', () => {
  const world = new FilterWorld([rule(['*'], ['*'], '53')]);
  for (const [me, peer] of BOTH) {
    const question = datagram(peer, 4000, me, 53);
    const answer = datagram(me, 53, peer, 4000);
    world.setRules([rule(['*'], ['*'], '53')]);
    assert.is(world.inbound(question), 'in');
    assert.is(world.outbound(answer), 'out');
    world.setRules([rule(['*'], ['*'], '80')]);
    assert.is(world.inbound(question), NO_RULE);
    for (let i = 0; i < 3; i++) {
      assert.is(world.outbound(answer), 'filter-cut');
      world.nowMs += FLOW_IDLE_MS - 1;
      assert.is(world.inbound(question), NO_RULE, 'what we sent did not make it ours');
    }
    assert.is(world.outbound(datagram(me, 53, peer, 4001)), 'out', 'another flow is not touched');
    world.nowMs += FLOW_IDLE_MS;
    assert.is(world.outbound(answer), 'out', 'the peer is silent: now we open it');
    assert.is(world.inbound(question), 'in');
  }
});

test('a peer that opens more flows than the table holds does not make its flow ours', () => {
  for (const [me, peer] of BOTH) {
    const question = datagram(peer, 4000, me, 53);
    const answer = datagram(me, 53, peer, 4000);
    const world = new FilterWorld([rule(['*'], ['*'], '53')]);
    world.inbound(question);
    for (let i = 0; i < 2000; i++) {
      world.nowMs++;
      world.inbound(datagram(peer, 10_000 + i, me, 53));
    }
    assert.is(world.outbound(answer), 'out', 'the rule allows it; the table has forgotten who began');
    world.setRules([]);
    assert.is(world.outbound(answer), 'filter-cut');
    assert.is(world.inbound(question), NO_RULE);
    assert.is(world.outbound(datagram(me, 4000, peer, 53)), 'out', 'what we open from another port is ours');
    assert.is(world.inbound(datagram(peer, 53, me, 4000)), 'in');
  }
});

test('a flow that was cut stays cut when its peer opens others, to however many ports', () => {
  for (const ports of ['80', '10000-60000']) {
    for (const [me, peer] of BOTH) {
      const answer = datagram(me, 53, peer, 4000);
      const world = new FilterWorld([rule(['*'], ['*'], '53'), rule(['*'], ['*'], ports)]);
      world.inbound(datagram(peer, 4000, me, 53));
      world.outbound(answer);
      world.setRules([rule(['*'], ['*'], ports)]);
      for (let i = 0; i < 2000; i++) {
        world.nowMs++;
        world.inbound(datagram(peer, 10_000 + i, me, ports === '80' ? 80 : 10_000 + i));
      }
      assert.is(world.outbound(answer), 'filter-cut');
      assert.is(world.inbound(datagram(peer, 4000, me, 53)), NO_RULE);
      assert.is(world.outbound(datagram(me, 53, me === ME4 ? '100.64.0.3' : 'fd7a:115c:a1e0::3', 9)), 'out');
      world.nowMs += FLOW_IDLE_MS;
      assert.is(world.outbound(answer), 'out', 'all is quiet: now we open it');
    }
  }
});

test('a flow that we have opened goes on when the rule that would have allowed its replies goes', () => {
  for (const [me, peer] of BOTH) {
    const world = new FilterWorld([ALLOW_ALL]);
    assert.is(world.outbound(datagram(me, 4000, peer, 53)), 'out');
    assert.is(world.inbound(datagram(peer, 53, me, 4000)), 'in');
    world.setRules([]);
    assert.is(world.inbound(datagram(peer, 53, me, 4000)), 'in');
    assert.is(world.outbound(datagram(me, 4000, peer, 53)), 'out');
    assert.is(world.inbound(datagram(peer, 53, me, 4000)), 'in');
    assert.is(world.inbound(datagram(peer, 53, me, 4000), true), 'in', 'a reply may come from a jailed peer');
  }
});

test('a flow whose rule comes back goes on', () => {
  const world = new FilterWorld([ALLOW_ALL]);
  for (const [me, peer] of BOTH) {
    world.setRules([ALLOW_ALL]);
    assert.is(world.inbound(datagram(peer, 4000, me, 53)), 'in');
    world.setRules([]);
    assert.is(world.outbound(datagram(me, 53, peer, 4000)), 'filter-cut');
    world.setRules([ALLOW_ALL]);
    assert.is(world.outbound(datagram(me, 53, peer, 4000)), 'out');
    assert.is(world.inbound(datagram(peer, 4000, me, 53)), 'in');
  }
});

test('whether a rule allows an opening can be asked without a packet', () => {
  const { filter } = new FilterWorld([rule([PEER4, PEER6], ['*'], '22')]);
  for (const [me, peer] of BOTH) {
    const stranger = me === ME4 ? '100.64.0.3' : 'fd7a:115c:a1e0::3';
    assert.is(filter.allows(address(peer), address(me), TCP, 22), true);
    assert.is(filter.allows(address(peer), address(me), TCP, 23), false);
    assert.is(filter.allows(address(stranger), address(me), TCP, 22), false);
    assert.is(filter.allows(address(peer), address(stranger), TCP, 22), false, 'not ours');
  }
  assert.is(filter.allows(address(PEER4), address(ME6), TCP, 22), false);
});

test('a table of flows has a size that halves', () => {
  for (const flows of [16, 33, 100, 0])
    assert.throws(
      () => new PacketFilter({ limits: { ...FILTER_LIMITS_SMALL, flows }, drops: new DropCounters() }),
      /"flows" expected a power of two/,
    );
});

test.run();
