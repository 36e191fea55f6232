/** The map of a small device: what it uses, and nothing else; and what that saves. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FIELDS } from '../../lib/control/fields.ts';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import { MAP_LIMITS_SMALL } from '../../lib/control/map-limits.ts';
import { SMALL_MAP_FLAG } from '../../lib/control/message.ts';
import { MapFilters } from '../../lib/coordinator/map-filter.ts';
import type { WireDerpMap } from '../../lib/derp/map.ts';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import type { WireFilterRule } from '../../lib/filter/rule.ts';
import { device, hexKey, user, World } from './map-support.ts';
import { World as Coordinated, Machine } from './support.ts';

const test = suite('map small');

/** A relay map of `count` regions, 901 and up. */
function derpMap(count: number): WireDerpMap {
  const ids = Array.from({ length: count }, (_, i) => 901 + i);
  const region = (RegionID: number) => ({
    RegionID,
    RegionCode: `r${RegionID}`,
    RegionName: `Region ${RegionID}`,
    Nodes: [
      { Name: `${RegionID}a`, RegionID, HostName: `relay${RegionID}.example`, IPv4: '192.0.2.1', STUNPort: 3478 },
    ],
  });
  return { Regions: Object.fromEntries(ids.map(id => [id, region(id)])) };
}

function worldOf(count: number, changes: (id: number) => Parameters<World['change']>[1] = () => ({})): World {
  const world = new World();
  world.sessions.setDerpMap(world.nowMs, derpMap(5));
  for (let id = 1; id <= count; id++) world.put(device(id, { homeRegion: 901, ...changes(id) }));
  world.settle();
  return world;
}

const regionsOf = (map: WireDerpMap | null | undefined) => Object.keys(map!.Regions!).map(Number);

test('a device gets the small map by asking for it, in whatever company of words, and no other one does', () => {
  const world = new Coordinated();
  const key = world.key({ isReusable: true });
  const machines = [1, 2, 3].map(seed => new Machine(world, seed));
  for (const machine of machines) machine.join(key);
  for (const machine of machines) machine.update();
  const textOf = (flags: unknown) => world.streams.get(machines[0]!.stream({ DebugFlags: flags }))!.text;
  assert.match(textOf(['other', SMALL_MAP_FLAG, 7]), /"Peers":\[\{"ID":\d+,"Name"/);
  for (const flags of [undefined, null, [], 'motenet:small-map=1', ['motenet:small-map=0'], { 0: SMALL_MAP_FLAG }])
    assert.match(textOf(flags), /"Peers":\[\{"ID":\d+,"StableID"/);
});

test('a peer has the fields that a small device reads, and a device its own', () => {
  const world = worldOf(3, id => (id === 2 ? { keyExpiryMs: 2e12, tags: ['tag:a'] } : {}));
  world.change(3, { advertisedRoutes: ['10.1.0.0/16'], approvedRoutes: ['10.1.0.0/16'] });
  const { last } = world.read(1, { isSmall: true });
  assert.equal(last.Peers![0], {
    ID: 2,
    Name: 'd2.one.mote.internal.',
    Key: `nodekey:${hexKey(2)}`,
    KeyExpiry: '2033-05-18T03:33:20Z',
    DiscoKey: `discokey:${hexKey(1_000_002)}`,
    Addresses: ['100.64.0.2/32', 'fd7a:115c:a1e0::1:3/128'],
    Endpoints: ['192.0.2.2:41641'],
    HomeDERP: 901,
    Tags: ['tag:a'],
  });
  assert.equal(last.Peers![1]!.AllowedIPs!.slice(2), ['10.1.0.0/16']);
  for (const name of Object.keys(last.Peers![0]!)) assert.is.not(FIELDS['Node']![name]!.verdict, 'ignored', name);
  for (const name of Object.keys(last.Node!)) assert.is.not(FIELDS['Self']![name]!.verdict, 'ignored', name);
  for (const name of Object.keys(last)) assert.is.not(FIELDS['MapResponse']![name]!.verdict, 'ignored', name);
});

test('no profiles of others are in it, also when these change', () => {
  const world = worldOf(2);
  world.users.set(2, user(2, 'one', 'secret'));
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'secret'));
  world.change(2, { user: 2 });
  const reader = world.read(1, { isSmall: true });
  world.put(device(3, { user: 2 }));
  world.pass(500);
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'secret2'));
  world.pass(500);
  assert.not.match(reader.texts.join(), /secret/);
  assert.equal([...reader.decoder.netmap.users.keys()], [1]);
  assert.equal(world.known(reader), world.expected(1, true));
});

test('who is online, and with which version, is nothing that wakes a small device', () => {
  const world = worldOf(3);
  const [small, full] = [world.read(1, { isSmall: true }), world.read(2)];
  world.pass(500);
  const before = small.messages.length;
  world.sessions.close(world.nowMs, world.open(3));
  world.change(3, { capability: 130 });
  world.pass(15_000);
  assert.is(small.messages.length, before);
  assert.ok(full.messages.length > 2);
  world.change(3, { endpoints: ['192.0.2.9:9'], capability: 131 });
  world.pass(500);
  assert.equal(small.last, { PeersChangedPatch: [{ NodeID: 3, Endpoints: ['192.0.2.9:9'] }] });
});

test('the relays in it are those that it and its peers use', () => {
  const world = worldOf(4, id => ({ homeRegion: [901, 902, 902, 905][id - 1]! }));
  const acls = [{ action: 'accept', src: ['100.64.0.1'], dst: ['100.64.0.2:*', '100.64.0.3:*'] }];
  world.setPolicyText(JSON.stringify({ acls }));
  const [small, full] = [world.read(1, { isSmall: true }), world.read(1, { isStream: false })];
  assert.equal(regionsOf(small.last.DERPMap), [901, 902]);
  assert.equal(regionsOf(full.last.DERPMap), [901, 902, 903, 904, 905]);
  world.change(3, { homeRegion: 904 });
  world.pass(500);
  assert.equal(regionsOf(small.last.DERPMap), [901, 902, 904]);
  assert.equal(small.last.PeersChangedPatch, [{ NodeID: 3, DERPRegion: 904 }]);
  world.change(2, { homeRegion: 904 });
  world.pass(500);
  assert.equal(small.last, { PeersChangedPatch: [{ NodeID: 2, DERPRegion: 904 }] });
  world.sessions.setDerpMap(world.nowMs, derpMap(4));
  world.pass(500);
  assert.equal(regionsOf(small.last.DERPMap), [901, 902, 904]);
});

test('a peer that comes into sight brings its relay', () => {
  const world = worldOf(2, id => ({ homeRegion: 900 + id }));
  world.setPolicyText('{"acls": []}');
  const small = world.read(1, { isSmall: true });
  assert.equal(regionsOf(small.last.DERPMap), [901]);
  world.setPolicyText(undefined);
  world.pass(500);
  assert.equal(regionsOf(small.last.DERPMap), [901, 902]);
  assert.equal(world.known(small), world.expected(1, true));
});

test('a device without a home relay is to choose one, and gets them all', () => {
  const world = worldOf(2, id => (id === 1 ? { homeRegion: 0 } : {}));
  assert.is(regionsOf(world.read(1, { isSmall: true }).last.DERPMap).length, 5);
  world.change(1, { homeRegion: 77 });
  assert.is(regionsOf(world.read(1, { isSmall: true }).last.DERPMap).length, 5, 'one that is not there any more');
});

test('a filter is cut into rules that a small device takes, and says the same', () => {
  const world = worldOf(201);
  const acls = [{ action: 'accept', src: ['user1@'], dst: ['tag:a:80,443'] }];
  for (let id = 3; id <= 201; id += 2) world.change(id, { addresses: [`100.65.0.${id}`, `fd7a:115c:a1e0::2:${id}0`] });
  world.change(1, { tags: ['tag:a'] });
  world.setPolicyText(JSON.stringify({ tagOwners: { 'tag:a': [] }, acls }));
  const [small, full] = [world.read(1, { isSmall: true }), world.read(1, { isStream: false })];
  const decoder = new MapDecoder(MAP_LIMITS_SMALL);
  decoder.startStream();
  const content = utf8Encode(small.texts[0]!);
  const framed = new Uint8Array(content.length + 4);
  new DataView(framed.buffer).setUint32(0, content.length, true);
  framed.set(content, 4);
  assert.is(decoder.handleBytes(framed, 0, framed.length), 0);
  assert.is(decoder.netmap.overLimit + decoder.netmap.malformed, 0);
  const pairs = (rules: readonly WireFilterRule[]) =>
    rules.flatMap(({ SrcIPs, DstPorts }) =>
      SrcIPs.flatMap(from => DstPorts!.map(to => `${from} ${JSON.stringify(to)}`)),
    );
  const whole = pairs(full.last.PacketFilters!['base']!);
  assert.equal(pairs(decoder.netmap.filterRules).sort(), whole.sort());
  assert.ok(decoder.netmap.filterRules.length > 2 && whole.length > 1000);
});

test('rules with many destinations are cut as well, and grants are left whole', () => {
  const DstPorts = Array.from({ length: 20 }, (_, i) => ({ IP: '100.64.0.1', Ports: { First: i, Last: i } }));
  const grant = { SrcIPs: ['*'], CapGrant: [{ Dsts: ['100.64.0.1/32'], CapMap: { 'example.com/x': [1] } }] };
  const parts = new MapFilters().field([{ SrcIPs: ['100.64.0.2'], IPProto: [6], DstPorts }, grant], 113, true);
  const { PacketFilters } = JSON.parse(`{${parts.map(part => utf8Decode(part)).join('')}}`);
  const { base } = PacketFilters as { base: WireFilterRule[] };
  assert.ok(base.length > 3);
  assert.equal(
    base.slice(0, -1).flatMap(rule => rule.DstPorts!),
    DstPorts,
  );
  for (const rule of base.slice(0, -1)) assert.equal([rule.SrcIPs, rule.IPProto], [['100.64.0.2'], [6]]);
  assert.equal(base.at(-1), grant);
});

test('the map of 300 peers takes three fifths of the bytes, and under a policy for two of them a hundredth', () => {
  const world = worldOf(301, id => ({ name: `laptop-of-somebody-${id}`, hostname: `Laptop-of-Somebody-${id}` }));
  world.sessions.setDerpMap(world.nowMs, derpMap(28));
  const bytesOf = (isSmall: boolean) => world.read(1, { isSmall, isStream: false }).texts[0]!.trimEnd().length;
  const [full, small] = [bytesOf(false), bytesOf(true)];
  const acls = [{ action: 'accept', src: ['100.64.0.2', '100.64.0.3'], dst: ['100.64.0.1:80'] }];
  world.setPolicyText(JSON.stringify({ acls }));
  const [narrow, fullNarrow] = [bytesOf(true), bytesOf(false)];
  assert.ok(
    small < 0.6 * full && narrow < 0.01 * full && narrow < fullNarrow / 4,
    `${[full, small, fullNarrow, narrow]}`,
  );
});

test.run();
