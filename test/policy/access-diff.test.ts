/** What a change of policy or devices gives and takes. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type AccessDiff, diffAccess } from '../../lib/policy/access-diff.ts';
import { PolicyCompiler } from '../../lib/policy/compiler.ts';
import type { PolicyDevice } from '../../lib/policy/directory.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { Dice, someDevice, somePolicy } from './generate.ts';
import { Reference } from './reference.ts';
import { device, policyOf } from './support.ts';

const test = suite('policy/access-diff');

const DEVICES = [
  device(1, 'ann@example.com'),
  device(2, 'ann@example.com'),
  device(3, 'bob@example.com'),
  device(4, 'tag:web'),
  device(5, 'tag:router', '10.1.0.0/16', '0.0.0.0/0'),
];
const BASE = { tagOwners: { 'tag:web': [], 'tag:router': [] }, groups: { 'group:eng': ['bob@example.com'] } };

function diff(before: object, after: object, devices: readonly PolicyDevice[] = DEVICES, then = devices): AccessDiff {
  const one = new PolicyCompiler(policyOf({ ...BASE, ...before }), devices);
  const other = new PolicyCompiler(policyOf({ ...BASE, ...after }), then);
  return diffAccess(one, other, id => `d${id}`);
}

function lines(list: AccessDiff['gained']): string[] {
  return list.map(({ source, destination, access }) => `${source} > ${destination} ${access}`);
}

function acl(src: string, dst: string, proto = ''): object {
  return { action: 'accept', src: [src], dst: [dst], proto };
}

test('the same policy changes nothing', () => {
  const policy = { acls: [acl('*', '*:*')] };
  assert.equal(diff(policy, policy), { gainedPairs: 0, lostPairs: 0, gained: [], lost: [] });
});

test('a rule for one port gives that port and pings, and names itself', () => {
  const out = diff({ acls: [] }, { acls: [acl('bob@example.com', 'tag:web:443', 'tcp')] });
  assert.is(out.gainedPairs, 1);
  assert.is(out.lostPairs, 0);
  assert.equal(lines(out.gained), ['d3 > d4 tcp:443, icmp']);
  assert.match(out.gained[0]!.rule ?? '', /^acls\[0\] in line 1/);
});

test('a pair may gain one port and lose another, and what stays is not named', () => {
  const out = diff({ acls: [acl('group:eng', 'tag:web:20-30,80')] }, { acls: [acl('group:eng', 'tag:web:25-35,80')] });
  assert.equal(lines(out.gained), ['d3 > d4 tcp:31-35, udp:31-35']);
  assert.equal(lines(out.lost), ['d3 > d4 tcp:20-24, udp:20-24']);
  assert.equal([out.gainedPairs, out.lostPairs], [1, 1]);
});

test('the same access by another rule is no change', () => {
  const one = { acls: [acl('bob@example.com', 'tag:web:1-100'), acl('bob@example.com', 'tag:web:50-200')] };
  assert.is(diff(one, { acls: [acl('group:eng', 'tag:web:1-200')] }).gainedPairs, 0);
});

test('autogroup:self is about pairs of one owner', () => {
  const out = diff({ acls: [] }, { acls: [acl('autogroup:member', 'autogroup:self:*')] });
  assert.equal(lines(out.gained).sort(), ['d1 > d2 *', 'd2 > d1 *']);
});

test('a route, a part of it that a rule names, and the internet are targets of their own', () => {
  const rules = [acl('bob@example.com', '10.1.2.0/24:22', 'tcp'), acl('bob@example.com', 'autogroup:internet:*')];
  const out = diff({ acls: [] }, { acls: rules });
  const expected = ['d3 > 10.1.2.0/24 via d5 tcp:22, icmp', 'd3 > internet via d5 *'];
  assert.equal(lines(out.gained).sort(), expected);
});

test('a rule that is narrowed from a route to a part of it takes the rest', () => {
  const out = diff(
    { acls: [acl('bob@example.com', '10.1.0.0/16:*')] },
    { acls: [acl('bob@example.com', '10.1.2.0/24:*')] },
  );
  assert.equal(lines(out.lost), ['d3 > 10.1.0.0/16 via d5 *']);
  assert.is(out.gainedPairs, 0);
});

test('a rule about one family of addresses is a change of its own', () => {
  const out = diff({ acls: [] }, { acls: [acl('100.64.0.3', '100.64.0.4:53', 'udp')] });
  assert.equal(lines(out.gained), ['d3 > d4 udp:53, icmp']);
});

test('access that moves from one family of addresses to the other is gained and lost', () => {
  const out = diff({ acls: [acl('fd7a:115c:a1e0::3', 'tag:web:53')] }, { acls: [acl('100.64.0.3', 'tag:web:53')] });
  assert.equal(lines(out.gained), ['d3 > d4 tcp:53, udp:53, icmp']);
  assert.equal(lines(out.lost), ['d3 > d4 tcp:53, udp:53, icmp']);
});

test('protocols without ports are named', () => {
  const out = diff(
    { acls: [] },
    { acls: [acl('bob@example.com', 'tag:web:*', 'gre'), acl('bob@example.com', 'tag:web:*', '90')] },
  );
  assert.equal(lines(out.gained), ['d3 > d4 gre, 90, icmp']);
});

test('a device that changes hands, comes or goes changes pairs', () => {
  const policy = { acls: [acl('group:eng', 'tag:web:*')] };
  const [one, two, three, four, five] = DEVICES as [
    PolicyDevice,
    PolicyDevice,
    PolicyDevice,
    PolicyDevice,
    PolicyDevice,
  ];
  const passed = diff(policy, policy, DEVICES, [device(1, 'bob@example.com'), two, three, four, five]);
  assert.equal(lines(passed.gained), ['d1 > d4 *']);
  const gone = diff(policy, policy, DEVICES, [one, two, three, five]);
  assert.equal([gone.gainedPairs, lines(gone.lost)], [0, ['d3 > d4 *']]);
});

test('the first fifty changes are listed and all are counted', () => {
  const devices = Array.from({ length: 20 }, (_, i) => device(i + 1, 'ann@example.com'));
  const out = diff({ acls: [] }, { acls: [acl('*', '*:*')] }, devices);
  assert.is(out.gainedPairs, 380);
  assert.is(out.gained.length, 50);
});

test('random policies: a pair is counted when the reference lets a packet in that it did not, or no longer', () => {
  let counted = 0;
  for (let seed = 1; seed <= fuzzRounds(15); seed++) {
    const dice = new Dice(seed + 4_000_000);
    const texts = [somePolicy(dice), somePolicy(dice)] as const;
    const devices = [1, 2, 3, 4].map(id => ({ ...someDevice(dice, id), routes: [] }));
    const [before, after] = texts.map(text => new PolicyCompiler(policyOf(text), devices)) as [
      PolicyCompiler,
      PolicyCompiler,
    ];
    const [old, now] = texts.map(text => new Reference(text, devices)) as [Reference, Reference];
    let [gained, lost] = [0, 0];
    for (const a of devices) {
      for (const b of devices) {
        if (a === b) continue;
        const probes = a.addresses.flatMap(from => b.addresses.flatMap(to => probesOf(from, to)));
        const answers = probes.map(probe => [old.lets(b.id, ...probe), now.lets(b.id, ...probe)] as const);
        if (answers.some(([was, is]) => !was && is)) gained++;
        if (answers.some(([was, is]) => was && !is)) lost++;
      }
    }
    const out = diffAccess(before, after, String);
    assert.equal([out.gainedPairs, out.lostPairs], [gained, lost], `seed ${seed}`);
    counted += gained + lost;
  }
  assert.ok(counted > 0);
});

type Probe = [source: string, destination: string, port: number, protocol: number];

/** Packets about every port at which a rule of the generator may begin or end. */
function probesOf(from: string, to: string): Probe[] {
  const isIpv6 = from.includes(':');
  if (to.includes(':') !== isIpv6) return [];
  const ports = [0, 1, 19, 20, 22, 23, 24, 25, 30, 31, 53, 80, 81, 100, 101, 443, 65_534, 65_535];
  const withPorts = [6, 17, 132].flatMap(protocol => ports.map(port => [from, to, port, protocol] as Probe));
  return [...withPorts, ...[isIpv6 ? 58 : 1, 2, 4, 47, 50, 253].map(protocol => [from, to, 0, protocol] as Probe)];
}

test.run();
