/** The compiled rules against a slow reading of the same rules, and the filter against any bytes. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, parsePrefix } from '../../lib/base/address.ts';
import { toHex } from '../../lib/base/bytes.ts';
import { DropCounters, dropName } from '../../lib/base/drop.ts';
import { PacketFilter } from '../../lib/filter/filter.ts';
import { FILTER_LIMITS_SMALL } from '../../lib/filter/limits.ts';
import type { WireFilterRule, WireNetPortRange } from '../../lib/filter/rule.ts';
import { classify, Packet } from '../../lib/packet/classify.ts';
import { seededRandom } from '../netstack/helpers.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { address, datagram, FilterWorld, ipPacket, ME4, ME6, PEER4, prefixes, segment, TCP, UDP } from './support.ts';

const test = suite('filter/fuzz');

/** Small numbers from a seed. */
class Dice {
  readonly #random: (out: Uint8Array) => void;
  readonly #bytes = new Uint8Array(4);

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  below(most: number): number {
    this.#random(this.#bytes);
    const [a, b, c] = this.#bytes;
    return (a! * 65_536 + b! * 256 + c!) % most;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** An address from a small space, so that ranges meet, with the corners of the whole space among them. */
function someAddress(dice: Dice, family: 4 | 6): string {
  const corner = dice.below(20);
  if (family === 4) {
    if (corner === 0) return '0.0.0.0';
    if (corner === 1) return '255.255.255.255';
    return `100.64.${dice.below(3)}.${dice.below(8)}`;
  }
  if (corner === 0) return '::';
  if (corner === 1) return 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
  return `fd7a:115c:a1e0::${dice.below(3).toString(16)}:${dice.below(8).toString(16)}`;
}

function someRange(dice: Dice): string {
  const family = dice.pick([4, 6] as const);
  const kind = dice.below(10);
  if (kind === 0) return '*';
  if (kind < 5) return someAddress(dice, family);
  if (kind < 7) {
    const two = [someAddress(dice, family), someAddress(dice, family)];
    two.sort((a, b) => (toHex(address(a)) < toHex(address(b)) ? -1 : 1));
    return two.join('-');
  }
  const bits = dice.pick(family === 4 ? [0, 8, 24, 29, 30, 31, 32] : [0, 48, 112, 125, 126, 127, 128]);
  const prefix = parsePrefix(`${someAddress(dice, family)}/${bits}`)!;
  return `${formatAddress(prefix.bytes)}/${bits}`;
}

function somePorts(dice: Dice): { First: number; Last: number } {
  if (dice.below(4) === 0) return { First: 0, Last: 65_535 };
  const first = dice.pick([0, 1, 20, 21, 22, 80, 65_534, 65_535]);
  return { First: first, Last: Math.min(65_535, first + dice.pick([0, 0, 1, 3, 60])) };
}

function someRule(dice: Dice): WireFilterRule {
  const list = <T>(make: () => T): T[] => Array.from({ length: 1 + dice.below(3) }, make);
  const destinations = list((): WireNetPortRange => ({ IP: someRange(dice), Ports: somePorts(dice) }));
  const wire = { SrcIPs: list(() => someRange(dice)), DstPorts: destinations };
  return dice.below(3) > 0 ? wire : { ...wire, IPProto: list(() => dice.pick([6, 17, 1, 58, 132, 47])) };
}

/** Whether a range text holds an address: on hex texts, apart from lib. */
function holds(range: string, text: string): boolean {
  if (range === '*') return true;
  if (range.includes(':') !== text.includes(':')) return false;
  const wanted = toHex(address(text));
  if (range.includes('-')) {
    const [first, last] = range.split('-').map(end => toHex(address(end)));
    return first! <= wanted && wanted <= last!;
  }
  if (!range.includes('/')) return toHex(address(range)) === wanted;
  const [base, bits] = range.split('/');
  const binary = (hex: string) =>
    [...hex].map(digit => Number.parseInt(digit, 16).toString(2).padStart(4, '0')).join('');
  return binary(toHex(address(base!))).slice(0, Number(bits)) === binary(wanted).slice(0, Number(bits));
}

/** What the reference says about a packet without state. */
function isAllowed(
  rules: readonly WireFilterRule[],
  src: string,
  dst: string,
  kind: 'tcp' | 'udp' | 'echo' | 'gre',
  port: number,
): boolean {
  return rules.some(({ SrcIPs, DstPorts, IPProto = [] }) => {
    if (!SrcIPs.some(range => holds(range, src))) return false;
    const protocols = IPProto.length === 0 ? [1, 6, 17, 58] : IPProto;
    return DstPorts!.some(({ IP, Ports: { First, Last } }) => {
      if (!holds(IP, dst)) return false;
      if (kind === 'echo') return true;
      if (kind === 'gre') return protocols.includes(47) && First === 0 && Last === 65_535;
      return protocols.includes(kind === 'tcp' ? 6 : 17) && First <= port && port <= Last;
    });
  });
}

const SELVES = [
  [ME4, ME6],
  ['100.64.0.0/23', 'fd7a:115c:a1e0::/112', '100.64.2.3'],
  ['0.0.0.0/0', '::/0'],
  ['100.64.1.4/30'],
];

test('compiled rules say what the rules say, one by one', () => {
  const rounds = fuzzRounds(150);
  let allowed = 0;
  let judged = 0;
  for (let round = 0; round < rounds; round++) {
    const dice = new Dice(1000 + round);
    const rules = Array.from({ length: dice.below(14) }, () => someRule(dice));
    const self = dice.pick(SELVES);
    const world = new FilterWorld();
    world.setRules(rules, prefixes(...self));
    assert.is(world.filter.malformed + world.filter.overLimit, 0, `round ${round}`);
    for (let i = 0; i < 60; i++) {
      const family = dice.pick([4, 6] as const);
      const [src, dst] = [someAddress(dice, family), someAddress(dice, family)];
      const port = dice.pick([0, 1, 19, 20, 21, 22, 23, 24, 80, 82, 83, 84, 140, 141, 65_534, 65_535]);
      const kind = dice.pick(['tcp', 'udp', 'echo', 'gre'] as const);
      const payload = new Uint8Array(20);
      payload[0] = kind === 'echo' ? (family === 4 ? 8 : 128) : 0;
      const packet =
        kind === 'tcp'
          ? segment(src, dst, port)
          : kind === 'udp'
            ? datagram(src, 9, dst, port)
            : ipPacket(src, dst, kind === 'gre' ? 47 : family === 4 ? 1 : 58, payload);
      const isDropped =
        ['::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '255.255.255.255'].includes(dst) && dst[0] === 'f';
      const isOwn = self.some(own => holds(own, dst));
      const expected = isDropped
        ? 'filter-multicast'
        : !isOwn
          ? 'filter-not-local'
          : isAllowed(rules, src, dst, kind, port)
            ? 'in'
            : 'filter-no-rule';
      assert.is(
        world.inbound(packet),
        expected,
        `round ${round}: ${kind} ${src} > ${dst}:${port} ${JSON.stringify(rules)}`,
      );
      judged++;
      if (expected === 'in') allowed++;
    }
  }
  assert.ok(allowed > judged / 20 && allowed < judged * 0.8, `${allowed} of ${judged}`);
});

test('flows follow a plain list of what left', () => {
  for (let round = 0; round < fuzzRounds(20); round++) {
    const dice = new Dice(round);
    const world = new FilterWorld();
    const open = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const [peer, port] = [`100.64.0.${2 + dice.below(3)}`, dice.below(4)];
      if (dice.below(2) === 0 && open.size < 6) {
        world.outbound(datagram(ME4, 7, peer, port));
        open.add(`${peer} ${port}`);
      }
      const expected = open.has(`${peer} ${port}`) ? 'in' : 'filter-no-rule';
      assert.is(world.inbound(datagram(peer, port, ME4, 7)), expected);
    }
  }
});

test('any packet that can be classified is let in or dropped for a reason, in both directions', () => {
  const drops = new DropCounters();
  const filter = new PacketFilter({ limits: FILTER_LIMITS_SMALL, drops });
  const packet = new Packet();
  const random = seededRandom(5);
  const choice = new Uint8Array(8);
  const bodies = [
    segment(PEER4, ME4, 80),
    datagram(PEER4, 9, ME4, 80),
    ipPacket('fd7a:115c:a1e0::2', ME6, 44, new Uint8Array(40)),
  ];
  let seen = 0;
  for (let i = 0; i < fuzzRounds(20_000); i++) {
    random(choice);
    if (i % 500 === 0) filter.setRules([someRule(new Dice(i)), someRule(new Dice(i + 1))], prefixes(ME4, ME6));
    const bytes = bodies[choice[0]! % 3]!.slice();
    for (let j = 1; j < 4; j++) bytes[choice[j]! % bytes.length] = choice[j + 3]!;
    // The header's checksum is the classifier's business.
    if (bytes[0]! >> 4 === 4) fixChecksum(bytes);
    if (classify(bytes, 0, bytes.length, packet) < 0) continue;
    seen++;
    const verdict = filter.handleInbound(i, packet, bytes, 0, bytes.length);
    if (verdict !== 0) assert.match(dropName(verdict), /^filter-/);
    filter.handleOutbound(i, packet, bytes, 0, bytes.length);
  }
  assert.ok(seen > fuzzRounds(20_000) / 4, `${seen}`);
});

function fixChecksum(bytes: Uint8Array): void {
  bytes[10] = 0;
  bytes[11] = 0;
  let sum = 0;
  for (let i = 0; i < (bytes[0]! & 15) * 4 && i + 1 < bytes.length; i += 2) sum += bytes[i]! * 256 + bytes[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes[10] = ~sum >>> 8;
  bytes[11] = ~sum;
}

test('rules of any form compile without a throw', () => {
  const texts = ['*', ME4, '1.2.3.4/0', '::', '-', '/', 'cap:', 'cap:x', '1.1.1.1-', '\u0000', 'é', '9'.repeat(300)];
  for (let round = 0; round < fuzzRounds(300); round++) {
    const dice = new Dice(round);
    const world = new FilterWorld();
    const list = <T>(items: readonly T[]) => Array.from({ length: dice.below(4) }, () => dice.pick(items));
    const ports = [-5, 0, 80, 65_535, 1e9, Number.NaN];
    const rule = (): WireFilterRule => ({
      SrcIPs: list(texts),
      DstPorts: list(texts).map(IP => ({ IP, Ports: { First: dice.pick(ports), Last: dice.pick(ports) } })),
      IPProto: list([TCP, UDP, -1, 1e9, 0]),
      CapGrant: [{ Dsts: list(texts), Caps: list(texts) }],
    });
    world.setRules(Array.from({ length: dice.below(6) }, rule));
    world.inbound(segment(PEER4, ME4, 80));
    world.filter.capabilities(address(PEER4), address(ME4));
  }
});

test.run();
