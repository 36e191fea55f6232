/** The map stream into a netmap: deltas in their order, all or nothing, limits, and memory that a message cannot grow. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatPrefix, parseAddress } from '../../lib/base/address.ts';
import { MAP_LIMITS_SMALL } from '../../lib/control/map-limits.ts';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import type { NetmapPeer } from '../../lib/control/peer-record.ts';
import { Seeded } from '../crypto/support.ts';
import {
  decoderWith,
  eventsOf,
  feedMap,
  frames,
  idsOf,
  keyBytes,
  keyText,
  node,
  peersOf,
  self,
  snapshot,
  TEST_LIMITS,
} from './map-support.ts';

const test = suite('map-decoder');
const first = (more: object = {}) => ({ Node: self(), ...more });
const ALLOW = { SrcIPs: ['*'], DstPorts: [{ IP: '*', Ports: { First: 0, Last: 65_535 } }] };
const allow = (port: number) => ({
  SrcIPs: ['100.64.0.1'],
  DstPorts: [{ IP: '*', Ports: { First: port, Last: port } }],
  IPProto: [6],
});

const FULL = first({
  Peers: [node(2), node(1, { Tags: ['tag:web'], Online: false, LastSeen: '2026-01-01T00:00:00Z' })],
  DERPMap: {
    HomeParams: null,
    Regions: {
      '901': {
        RegionID: 901,
        RegionCode: 'a',
        RegionName: 'A',
        Nodes: [{ Name: 'a1', RegionID: 901, HostName: 'a.test', InsecureForTests: true }],
      },
      '902': null,
    },
  },
  DNSConfig: {
    Proxied: true,
    Domains: ['tail1234.mote.internal'],
    Routes: { 'mote.internal': null },
    Resolvers: [{ Addr: '1.1.1.1' }],
  },
  PacketFilters: { base: [ALLOW] },
  UserProfiles: [{ ID: 9_003_957_396_904_828, LoginName: 'a@test', DisplayName: 'A' }],
  Domain: 'test',
  Health: ['one'],
  ControlTime: '2026-01-02T03:04:05.5Z',
  Debug: { DisableLogTail: true },
  Unknown: [{ deep: [1, 2, { x: null }] }],
});

test('a full message is read, whole or in pieces of any size', () => {
  const bytes = frames(FULL);
  const whole = decoderWith([FULL]);
  for (const size of [1, 2, 7, 100]) {
    const decoder = new MapDecoder(TEST_LIMITS);
    assert.is(feedMap(decoder, bytes, size), 0);
    assert.is(snapshot(decoder), snapshot(whole));
  }
  const { netmap } = whole;
  assert.equal(idsOf(whole), [1, 2]);
  const [one, two] = peersOf(whole);
  assert.is(one!.name, 'host-00001.tail1234.mote.internal.');
  assert.equal([...one!.tags], ['tag:web']);
  assert.is(one!.isOnline, false);
  assert.is(two!.isOnline, true);
  assert.equal(two!.key, keyBytes(2));
  assert.equal(two!.discoKey, keyBytes(2, 2));
  assert.is(two!.user, 9_003_957_396_904_828);
  assert.equal(two!.endpoints, [
    { address: '203.0.113.2', port: 41_641 },
    { address: '192.168.1.2', port: 41_641 },
  ]);
  assert.is(netmap.self!.name, 'me.tail1234.mote.internal.');
  assert.equal(netmap.self!.capabilities, ['https://tailscale.com/cap/ssh', 'tailnet-display-name']);
  assert.is(netmap.suffix, 'tail1234.mote.internal');
  assert.equal(netmap.regions.ids(), [901]);
  assert.is(netmap.regions.get(901)!.Nodes[0]!.HostName, 'a.test');
  assert.not.ok('InsecureForTests' in netmap.regions.get(901)!.Nodes[0]!);
  assert.equal(Object.keys(netmap.dns.Routes!), ['mote.internal']);
  assert.equal(netmap.dns.Domains, ['tail1234.mote.internal']);
  assert.equal(Object.keys(netmap.dns).sort(), ['Domains', 'ExtraRecords', 'Routes'], 'nothing that nobody reads');
  assert.equal(netmap.filterRules, [ALLOW]);
  assert.equal(netmap.health, ['one']);
  assert.is(netmap.controlTimeMs, 1_767_323_045_500);
  assert.is(netmap.whois(parseAddress('100.64.0.2')!)!.peer.id, 2);
  assert.is(netmap.whois(parseAddress('fd7a:115c:a1e0::1')!)!.user!.LoginName, 'a@test');
  assert.is(netmap.whois(parseAddress('100.64.0.3')!), undefined);
});

test('the small preset keeps of a peer neither its user nor the routes behind it, and two endpoints', () => {
  const Endpoints = ['203.0.113.1:1', '203.0.113.1:2', '203.0.113.1:3'];
  const message = first({ Peers: [node(1, { Endpoints, AllowedIPs: ['10.0.0.0/8'] })], UserProfiles: [{ ID: 3 }] });
  const decoder = new MapDecoder(MAP_LIMITS_SMALL);
  assert.is(feedMap(decoder, frames(message), 100), 0);
  const [peer] = peersOf(decoder);
  assert.equal([peer!.user, peer!.allowedIPs, peer!.endpoints.length], [0, peer!.addresses, 2]);
  assert.is(decoder.netmap.users.size + decoder.netmap.overLimit, 0);
});

test('three hundred peers take at most 40 KB on the small preset', () => {
  const peers = Array.from({ length: 300 }, (_, i) => node(i + 1));
  const decoder = new MapDecoder(MAP_LIMITS_SMALL);
  feedMap(decoder, frames(first({ Peers: peers })), 1000);
  assert.is(decoder.netmap.peers.count, 300);
  assert.ok(decoder.netmap.peers.heldBytes <= 40 * 1024, `${decoder.netmap.peers.heldBytes} bytes`);
});

test('peers that are there replace all; an empty list and null change nothing', () => {
  const decoder = decoderWith([FULL, { Peers: [] }, { Peers: null }, {}]);
  assert.equal(idsOf(decoder), [1, 2]);
  feedMap(
    decoder,
    frames({ Peers: [node(3)], PeersRemoved: [3], PeersChanged: [node(4)], OnlineChange: { '3': false } }),
  );
  assert.equal(idsOf(decoder), [3], 'other peer fields beside it are not looked at');
  assert.is(peersOf(decoder)[0]!.isOnline, true);
});

test('deltas apply in the order removed, changed, online, patch, however they stand in the message', () => {
  const parts: [string, unknown][] = [
    [
      'PeersChangedPatch',
      [
        { NodeID: 2, DERPRegion: 7, Online: true, LastSeen: '2026-05-05T00:00:00Z' },
        { NodeID: 3, DERPRegion: 9 },
      ],
    ],
    ['OnlineChange', { '2': false, '1': false, '3': true }],
    ['PeerSeenChange', { '2': true, '1': true, '3': true }],
    ['PeersChanged', [node(1, { HomeDERP: 5 }), node(3, { Online: false })]],
    ['PeersRemoved', [1, 99]],
  ];
  const snapshots = [parts, [...parts].reverse()].map(order => {
    const decoder = decoderWith([first({ Peers: [node(1), node(2)] }), Object.fromEntries(order)]);
    const [one, two, three] = peersOf(decoder);
    assert.is(one!.homeRegion, 5, 'removed first, then added');
    assert.is(one!.isOnline, false);
    assert.is(two!.isOnline, true, 'the patch comes last');
    assert.is(two!.homeRegion, 7);
    assert.equal([three!.isOnline, three!.homeRegion], [true, 9]);
    return snapshot(decoder);
  });
  assert.is(snapshots[0], snapshots[1]);
});

test('a change of a peer replaces all of it; when it was seen is not kept', () => {
  const decoder = decoderWith([first({ Peers: [node(1, { Tags: ['tag:a'], LastSeen: '2026-01-01T00:00:00Z' })] })]);
  const { Online, Endpoints, ...bare } = node(1) as { Online: unknown; Endpoints: unknown };
  feedMap(decoder, frames({ PeersChanged: [bare] }));
  const [one] = peersOf(decoder);
  assert.equal([one!.isOnline, one!.tags, one!.endpoints], [undefined, [], []]);
  assert.ok(Online !== undefined && Endpoints !== undefined);
  const before = snapshot(decoder);
  feedMap(decoder, frames({ PeerSeenChange: { '1': true } }));
  assert.is(snapshot(decoder), before);
});

test('connections may have to end when a peer has left or is jailed, and not for anything else', () => {
  const decoder = decoderWith([first({ Peers: [node(1), node(2)] })]);
  const { netmap } = decoder;
  const after = (id: number, message: object) => {
    feedMap(decoder, frames(message));
    return netmap.endsSomething(new Set([id]));
  };
  assert.is(after(1, { PeersChanged: [node(1, { Tags: ['tag:a'] })] }), false);
  assert.is(after(1, { PeersChanged: [node(1, { IsJailed: true })] }), true);
  assert.is(after(1, { PeersChanged: [node(1)] }), false);
  assert.is(after(2, { PeersRemoved: [2] }), true);
  assert.is(netmap.endsSomething('all'), true);
});

test('a patch changes what it names, and nothing for an unknown id', () => {
  const decoder = decoderWith([first({ Peers: [node(1)] })]);
  const patch = {
    Key: keyText(50),
    DiscoKey: keyText(51, 'discokey'),
    Endpoints: ['198.51.100.1:5'],
    KeyExpiry: '2028-01-01T00:00:00Z',
  };
  feedMap(
    decoder,
    frames({
      PeersChangedPatch: [
        { NodeID: 1, ...patch },
        { NodeID: 2, Online: true },
      ],
    }),
  );
  const [one, ...others] = peersOf(decoder);
  assert.is(others.length, 0);
  assert.equal(one!.key, keyBytes(50));
  assert.equal(one!.discoKey, keyBytes(51, 2));
  assert.equal(one!.endpoints, [{ address: '198.51.100.1', port: 5 }]);
  assert.is(one!.name, 'host-00001.tail1234.mote.internal.');
  assert.is(one!.homeRegion, 901);
});

test('the first message must have this device; without peers there are none', () => {
  const decoder = new MapDecoder(TEST_LIMITS);
  assert.is(feedMap(decoder, frames({ Peers: [node(1)] })), -1);
  assert.match(decoder.error!.message, 'lacks this device');
  assert.is(decoder.netmap.peers.count, 0);
  decoder.startStream();
  assert.is(feedMap(decoder, frames({ KeepAlive: true }, FULL)), 0);
  decoder.startStream();
  assert.equal(idsOf(decoder), [1, 2], 'the old netmap stays in force');
  assert.is(feedMap(decoder, frames({ KeepAlive: true })), 0);
  assert.equal(idsOf(decoder), [1, 2], 'a keepalive is no first message');
  assert.is(feedMap(decoder, frames(first())), 0);
  assert.equal(idsOf(decoder), []);
  const { netmap } = decoder;
  assert.equal(
    [netmap.filterRules, netmap.regions.size, netmap.domain, netmap.users.size, netmap.health],
    [[], 0, '', 0, []],
  );
});

test('a malformed peer is dropped alone and counted', () => {
  const bad: object[] = [
    { ID: 0 }, { ID: -1 }, { ID: 1.5 }, { ID: 2 ** 53 }, { ID: '5' }, { Key: '' }, { Key: `nodekey:${'0'.repeat(64)}` },
    { Key: 'nodekey:12' }, { DiscoKey: 'x' }, { Addresses: ['100.64.0.1/33'] }, { Addresses: 'x' }, { AllowedIPs: ['x'] },
    { Online: 'yes' }, { Tags: [1] }, { Name: 7 }, { User: -1 }, { KeyExpiry: 'soon' }, { HomeDERP: 70_000 },
    { IsJailed: 1 }, { Endpoints: {} }, { Name: 'x'.repeat(600) }, { Addresses: Array(500).fill('10.0.0.1/32') },
  ]; // biome-ignore format: a table
  for (const more of bad) {
    const decoder = decoderWith([first({ Peers: [node(1), node(7, more), node(2)] })]);
    assert.equal(idsOf(decoder), [1, 2], JSON.stringify(more).slice(0, 80));
    assert.is(decoder.netmap.malformed, 1);
  }
  for (const text of ['null', '7', '"x"', '[]', '[{}]', 'true']) {
    const message = JSON.stringify(first({ Peers: ['HERE', node(1)] })).replace('"HERE"', text);
    const decoder = decoderWith([message]);
    assert.equal(idsOf(decoder), [1], text);
    assert.is(decoder.netmap.malformed, 1);
  }
  const decoder = decoderWith([first({ Peers: [node(1)] }), { Peers: [{}] }]);
  assert.equal(idsOf(decoder), [], 'a list of nothing but malformed peers was not empty');
});

test('a peer whose change cannot be kept is not kept as it was either', () => {
  const decoder = decoderWith([first({ Peers: [node(1), node(2)] }), { PeersChanged: [node(1, { Key: 'x' })] }]);
  assert.equal(idsOf(decoder), [2]);
  assert.is(decoder.netmap.malformed, 1);
});

test('what is not quite right in a peer is left out without it', () => {
  const odd = node(1, {
    Name: 'evil\u001b[2J', Endpoints: ['x', '[fe80::1%eth0]:5', '10.0.0.1:0', '[2001:db8::1]:9'], Tags: ['tag:ok', 'nope', 'tag:a b'],
    AllowedIPs: null, HomeDERP: 0, DERP: '127.3.3.40:17', DiscoKey: `discokey:${'0'.repeat(64)}`, KeyExpiry: '0001-01-01T00:00:00Z',
  }); // biome-ignore format: a table
  const [peer] = peersOf(decoderWith([first({ Peers: [odd] })]));
  assert.is(peer!.name, '');
  assert.equal(peer!.endpoints, [{ address: '2001:db8::1', port: 9 }]);
  assert.equal(peer!.tags, ['tag:ok']);
  assert.equal(peer!.allowedIPs, peer!.addresses);
  assert.equal([peer!.homeRegion, peer!.discoKey, peer!.keyExpiry], [17, undefined, 0]);
});

test('addresses that are networks, or mean something else to every machine, are nobody’s', () => {
  const bad = ['0.0.0.0/0', '100.64.0.0/10', '::/0', '0.0.0.0/32', '127.0.0.1/32', '169.254.1.1/32', '224.0.0.1/32'];
  const bad6 = ['::1/128', '::/128', 'ff02::1/128', 'fe80::1/128', '::ffff:1.2.3.4/128', '255.255.255.255/32'];
  const resolvers = ['100.100.100.100/32', 'fd7a:115c:a1e0::53/128'];
  const many = Array.from({ length: 20 }, (_, i) => `100.65.0.${i}/32`);
  const Addresses = [...bad, '100.64.0.9/32', ...bad6, ...resolvers, 'fd7a:115c:a1e0::9/128'];
  const decoder = decoderWith([
    { Node: self({ Addresses }), Peers: [node(9, { Addresses, AllowedIPs: null }), node(8, { Addresses: many })] },
  ]);
  const texts = (addresses: NetmapPeer['addresses'] = []) => addresses.map(formatPrefix);
  const good = ['100.64.0.9/32', 'fd7a:115c:a1e0::9/128'];
  assert.equal(texts(decoder.netmap.self?.addresses), good);
  const [lavish, peer] = peersOf(decoder);
  assert.equal(texts(peer!.addresses), good);
  assert.equal(texts(peer!.allowedIPs), good);
  assert.equal(texts(lavish!.addresses), many.slice(0, 8));
});

test('two peers with one key: the lower id has it; this device’s own key and id are nobody else’s', () => {
  const decoder = decoderWith([
    first({ Peers: [node(5), node(3, { Key: keyText(5) }), node(4, { Key: keyText(1_000_000) })] }),
  ]);
  assert.equal(idsOf(decoder), [3]);
  assert.is(decoder.netmap.conflicting, 2);
  feedMap(decoder, frames({ PeersChanged: [node(1_000_000, { Key: keyText(77) })] }));
  assert.equal(idsOf(decoder), [3]);
  feedMap(decoder, frames({ PeersChanged: [node(9)] }, { PeersChangedPatch: [{ NodeID: 9, Key: keyText(5) }] }));
  assert.equal(idsOf(decoder), [3]);
  const prefix = [10, 11, 12].map(id => node(id, { Key: `nodekey:00000000${String(id).repeat(28)}` }));
  assert.equal(idsOf(decoderWith([first({ Peers: prefix })])), [10, 11, 12], 'keys that begin alike are not the same');
});

test('a message cut off at any byte changes nothing', () => {
  const decoder = decoderWith([FULL]);
  const before = snapshot(decoder);
  const message = {
    Node: self({ Name: 'new.test.' }),
    Peers: [node(8)],
    Domain: 'new',
    PacketFilters: { '*': null },
    UserProfiles: [{ ID: 4 }],
  };
  const bytes = frames(message);
  for (let end = 1; end < bytes.length; end += 3) {
    const cut = decoderWith([FULL]);
    assert.is(cut.handleBytes(bytes, 0, end), 0);
    assert.is(snapshot(cut), before);
    assert.is(cut.handleEnd(), false);
    assert.is(cut.error?.code, 'ERR_PROTOCOL');
  }
  assert.is(decoder.handleEnd(), true);
});

test('a message that cannot be decoded changes nothing and ends the stream', () => {
  const good = JSON.stringify({ Peers: [node(8)], Domain: 'new', Node: self({ Name: 'new.test.' }) });
  const bad = [
    good.slice(0, -1), `${good}x`, good.replace('8', '08'), '[]', '1', 'null', '{"Peers":{}}', '{"Peers":"x"}', '{"Node":7}',
    '{"Node":{}}', `{"Peers":[${JSON.stringify(node(8))}],"Node":{"ID":0}}`, '{"OnlineChange":[]}', '{"PacketFilters":[]}',
    '{"PacketFilters":{"base":7}}', '{"DERPMap":[]}', '{"DERPMap":{"Regions":[]}}', '{"DNSConfig":{"Routes":[]}}', '{"Domain":7}',
    '{"DNSConfig":[]}', '{"ControlTime":"noon"}', '{"KeepAlive":"x"}', '{"PeersRemoved":7}', '{"Domain":"\\x"}', '{"x":tru}',
    `{"x":${'['.repeat(40)}${']'.repeat(40)}}`, '{"Domain":"ab', `{"DNSConfig":{"Domains":["${'x'.repeat(400)}"${',"y"'.repeat(600)}]}}`,
  ]; // biome-ignore format: a table
  const before = snapshot(decoderWith([FULL]));
  for (const message of bad) {
    const decoder = decoderWith([FULL]);
    assert.is(feedMap(decoder, frames(message), 5), -1, message.slice(0, 60));
    assert.is(snapshot(decoder), before, message.slice(0, 60));
    assert.is(feedMap(decoder, frames({ Domain: 'later' })), -1, 'dead stays dead');
    decoder.startStream();
    assert.is(feedMap(decoder, frames(first())), 0);
  }
});

test('random damage never throws, and changes everything or nothing', () => {
  const seeded = new Seeded(5);
  const bytes = frames({
    PeersChanged: [node(1, { HomeDERP: 3 })],
    PeersRemoved: [2],
    Domain: 'new',
    OnlineChange: { '1': false },
  });
  const before = snapshot(decoderWith([FULL]));
  let refused = 0;
  for (let i = 0; i < 400; i++) {
    const damaged = bytes.slice();
    for (let n = 0; n < 1 + seeded.below(3); n++) damaged[4 + seeded.below(bytes.length - 4)] = seeded.below(256);
    const decoder = decoderWith([FULL]);
    const result = feedMap(decoder, damaged, 1 + seeded.below(50));
    if (result === 0) continue;
    refused++;
    assert.is(snapshot(decoder), before);
  }
  assert.ok(refused > 200, `${refused} refused`);
});

test('lengths of frames: none, too long, and just the limit', () => {
  for (const [length, result] of [[0, -1], [101, -1], [100, 0]] as const) {
    const decoder = decoderWith([], { messageBytes: 100 });
    assert.is(decoder.handleBytes(Uint8Array.of(length, 0, 0, 0), 0, 4), result);
  } // biome-ignore format: a table
});

test('filters: chunks are named, null deletes one, * clears all, and an old-style list is base', () => {
  const decoder = decoderWith([first({ PacketFilters: { b: [allow(2)], a: [allow(1)] } })]);
  const ports = () => decoder.netmap.filterRules.map(rule => rule.DstPorts![0]!.Ports.First);
  assert.equal(ports(), [1, 2]);
  feedMap(decoder, frames({ PacketFilters: { a: null } }));
  assert.equal(ports(), [2]);
  feedMap(decoder, frames({ PacketFilter: [allow(3)] }));
  assert.equal(ports(), [2, 3]);
  feedMap(decoder, frames({ PacketFilters: { c: [allow(4)], '*': null } }));
  assert.equal(ports(), [4]);
  feedMap(decoder, frames({ PacketFilters: { c: [] } }));
  assert.equal(ports(), []);
  feedMap(decoder, frames({ PacketFilter: null, PacketFilters: null }));
  assert.equal(ports(), []);
});

test('a rule that is malformed, says nothing, or is of the old form is left out alone', () => {
  const ports = [{ IP: '*', Ports: { First: 1, Last: 2 } }];
  const rules: [unknown, number][] = [
    [{ SrcIPs: [1], DstPorts: ports }, 1], [{ SrcIPs: ['*'], DstPorts: ports, SrcBits: [32] }, 1], [7, 1],
    [{ SrcIPs: ['*'], DstPorts: [{ IP: '*', Bits: 32, Ports: { First: 1, Last: 2 } }] }, 1], [null, 1],
    [{ SrcIPs: ['*'], DstPorts: [{ IP: '*', Ports: { First: 1, Last: 70_000 } }] }, 1], [{ SrcIPs: ['*'], DstPorts: ports, IPProto: [-1] }, 1],
    [{ SrcIPs: ['*'], DstPorts: [{ IP: '*' }] }, 1], [{ SrcIPs: ['*'], CapGrant: [] }, 0],
    [{ SrcIPs: ['*'], CapGrant: [{ Dsts: ['*'], Caps: [1] }] }, 1], [{ SrcIPs: ['*'], DstPorts: ports, CapGrant: [{ Dsts: 'x' }] }, 1],
    [{ SrcIPs: ['*'], DstPorts: ports, CapGrant: [{ Dsts: ['x'], CapMap: 7 }] }, 1], [{ SrcIPs: ['*'], CapGrant: [null] }, 1],
  ]; // biome-ignore format: a table
  for (const [rule, malformed] of rules) {
    const decoder = decoderWith([first({ PacketFilters: { base: [allow(1), rule, allow(2)] } })]);
    assert.equal(decoder.netmap.filterRules, [allow(1), allow(2)], JSON.stringify(rule));
    assert.is(decoder.netmap.malformed, malformed);
  }
});

test('rules beyond the limit are left out, in one message and over several', () => {
  const many = Array.from({ length: 12 }, (_, i) => allow(i));
  const decoder = decoderWith([first({ PacketFilters: { a: many } })], { rules: 10 });
  assert.is(decoder.netmap.filterRules.length, 10);
  assert.is(decoder.netmap.overLimit, 2);
  feedMap(decoder, frames({ PacketFilters: { b: [allow(99)] } }));
  assert.is(decoder.netmap.filterRules.length, 10);
  const bytes = decoderWith([first({ PacketFilters: { a: many } })], { ruleBytes: 1000 });
  assert.ok(bytes.netmap.filterRules.length > 0 && bytes.netmap.filterRules.length < 6);
});

test('relay regions: present replaces all, absent keeps; a malformed one is dropped alone', () => {
  const region = (id: number, more: object = {}) => ({
    RegionID: id, RegionCode: 'c', RegionName: 'n', Nodes: [1, 2, 3].map(n => ({ Name: `r${n}`, RegionID: id, HostName: 'h.test' })), ...more,
  }); // biome-ignore format: a table
  const decoder = decoderWith([
    first({ DERPMap: { Regions: { '1': region(1), '2': region(3), '4': region(4, { Nodes: 7 }) } } }),
  ]);
  assert.equal(decoder.netmap.regions.ids(), [1]);
  assert.is(decoder.netmap.regions.get(1)!.Nodes.length, 2, 'so many relays are kept');
  assert.is(decoder.netmap.malformed, 2);
  feedMap(decoder, frames({ DERPMap: { HomeParams: {}, Regions: null } }, { DERPMap: null }));
  assert.equal(decoder.netmap.regions.ids(), [1]);
  feedMap(decoder, frames({ DERPMap: { Regions: { '5': region(5) } } }));
  assert.equal(decoder.netmap.regions.ids(), [5]);
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [i + 1, region(i + 1)]));
  feedMap(decoder, frames({ DERPMap: { Regions: many } }));
  assert.is(decoder.netmap.regions.size, TEST_LIMITS.regions);
  const { overLimit } = decoder.netmap;
  feedMap(
    decoder,
    frames({ DERPMap: { Regions: { '1': region(1), '2': region(2, { RegionName: 'x'.repeat(256) }) } } }),
  );
  assert.equal(decoder.netmap.regions.ids(), [1], 'a name that is too long');
  assert.is(decoder.netmap.overLimit, overLimit + 1);
});

test('of DNS routes those without resolvers are kept, but for the reverse zones that every tailnet has', () => {
  const Routes: Record<string, unknown> = { 'a.test': [], 'b.test.': null, 'c.test': [{ Addr: '192.0.2.1' }] };
  for (let i = 63; i <= 128; i++) Routes[`${i}.100.in-addr.arpa.`] = i % 2 === 0 ? null : [];
  Routes['0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa'] = [{ Addr: '192.0.2.1' }];
  Routes['x.64.100.in-addr.arpa'] = null;
  const decoder = decoderWith([first({ DNSConfig: { Routes, Resolvers: [{ Addr: '192.0.2.1' }], Proxied: true } })]);
  const kept = ['128.100.in-addr.arpa.', '63.100.in-addr.arpa.', 'a.test', 'b.test.', 'x.64.100.in-addr.arpa'];
  assert.equal(Object.keys(decoder.netmap.dns.Routes!).sort(), kept);
});

test('events: what has changed, merged; keepalives, pings and pages', () => {
  const decoder = decoderWith([FULL]);
  const [event, ...none] = eventsOf(decoder);
  assert.is(none.length, 0);
  assert.ok(event?.type === 'netmap' && event.changes.isFirst && event.changes.peers === 'all');
  const messages = [
    { OnlineChange: { '1': true } },
    { PeersRemoved: [2] },
    { Domain: 'x' },
    { KeepAlive: true, Domain: 'ignored' },
  ];
  feedMap(
    decoder,
    frames(
      ...messages,
      { PingRequest: { URL: 'https://c/ping', Types: 'TSMP', IP: '100.64.0.1' } },
      { PopBrowserURL: 'javascript:x' },
      { PopBrowserURL: 'https://login.test/a' },
    ),
  );
  const events = eventsOf(decoder);
  assert.equal(
    events.map(({ type }) => type),
    ['netmap', 'ping', 'open-url', 'keepalive'],
  );
  const [changes, ping, page] = events;
  assert.ok(changes?.type === 'netmap' && !changes.changes.isFirst && changes.changes.domain && !changes.changes.dns);
  assert.equal(changes?.type === 'netmap' && changes.changes.peers, new Set([1, 2]));
  assert.ok(ping?.type === 'ping' && ping.ping.url === 'https://c/ping' && !ping.ping.isNoise);
  assert.ok(page?.type === 'open-url' && page.url === 'https://login.test/a');
  assert.is(decoder.netmap.domain, 'x');
});

test('peers beyond the limits in number or bytes are left out and counted; a change makes room again', () => {
  const peers = [5, 4, 3, 2, 1].map(id => node(id));
  const decoder = decoderWith([first({ Peers: peers })], { peers: 3 });
  assert.equal(idsOf(decoder), [3, 4, 5], 'the first of the list');
  assert.is(decoder.netmap.overLimit, 2);
  feedMap(decoder, frames({ PeersRemoved: [4], PeersChanged: [node(1)] }));
  assert.equal(idsOf(decoder), [1, 3, 5]);
  feedMap(decoder, frames({ PeersChanged: [node(9)] }));
  assert.equal(idsOf(decoder), [1, 3, 5]);
  const bytes = decoderWith([first({ Peers: peers })], { peerBytes: 290 });
  assert.equal(idsOf(bytes), [4, 5]);
  const grown = Array.from({ length: 8 }, (_, i) => `198.51.100.${i}:9`);
  feedMap(
    bytes,
    frames({
      PeersChangedPatch: [
        { NodeID: 4, Endpoints: [...grown] },
        { NodeID: 5, Endpoints: grown },
      ],
    }),
  );
  assert.ok(bytes.netmap.peers.count < 2, 'what no longer fits goes, it does not stay as it was');
});

test('more changes in one message than may wait: refused, the netmap as before', () => {
  const peers = Array.from({ length: 20 }, (_, i) => node(i + 1));
  const limits = { stagedBytes: 1000 };
  const patches = (from: number) => Array.from({ length: 20 }, (_, i) => ({ NodeID: from + i, Online: false }));
  const decoder = decoderWith([first({ Peers: peers })], limits);
  const before = snapshot(decoder);
  assert.is(feedMap(decoder, frames({ PeersChangedPatch: patches(1) })), -1);
  assert.is(snapshot(decoder), before);
  const unknown = decoderWith([first({ Peers: peers }), { PeersChangedPatch: patches(1000) }], limits);
  assert.is(snapshot(unknown), before, 'patches for strangers are forgotten');
  const late = decoderWith([first({ Peers: peers })], limits);
  assert.is(feedMap(late, frames({ PeersChangedPatch: patches(1000), PeersChanged: [node(1019)] })), -1);
  assert.is(snapshot(late), before, 'unless one of them comes after all');
});

/** Most bytes held while a message of `count` peers arrives byte by byte, and afterwards. */
function peak(count: number) {
  const decoder = decoderWith([first({ Peers: Array.from({ length: 300 }, (_, i) => node(i + 1)) })]);
  const bytes = frames(first({ Peers: Array.from({ length: count }, (_, i) => node(i + 1)) }));
  let most = 0;
  for (let at = 0; at < bytes.length; at++) {
    assert.is(decoder.handleBytes(bytes, at, at + 1), 0);
    const held = at % 64 === 0 || at === bytes.length - 1 ? decoder.heldBytes : 0;
    most = Math.max(most, held);
  }
  return { most, kept: decoder.netmap.peers.count, held: decoder.netmap.peers.heldBytes };
}

test('3,000 peers byte by byte need no more memory at their peak than 300, within a kilobyte', () => {
  const [few, many] = [peak(300), peak(3000)];
  assert.equal([few.kept, many.kept], [300, 300]);
  assert.ok(Math.abs(many.most - few.most) <= 1024, `${many.most} and ${few.most} bytes`);
  assert.ok(many.held / 300 <= 160, `${many.held / 300} bytes for a peer`);
});

test('coming, going and changing for long leaves no more memory than the peers need', () => {
  const seeded = new Seeded(3);
  const decoder = decoderWith([first({ Peers: Array.from({ length: 200 }, (_, i) => node(i + 1)) })]);
  const fresh = decoder.netmap.peers.heldBytes;
  for (let i = 0; i < 300; i++) {
    const ids = [seeded.below(200) + 1, seeded.below(200) + 1];
    const endpoints = Array.from({ length: seeded.below(3) }, (_, n) => `198.51.100.${n}:7`);
    feedMap(
      decoder,
      frames({ PeersRemoved: [ids[0]] }, { PeersChanged: ids.map(id => node(id, { Endpoints: endpoints })) }),
    );
  }
  assert.is(decoder.netmap.peers.count, 200);
  assert.ok(decoder.netmap.peers.heldBytes < fresh * 1.25, `${decoder.netmap.peers.heldBytes} after ${fresh}`);
  for (const peer of peersOf(decoder)) assert.equal(peer.key, keyBytes(peer.id));
});

test.run();
