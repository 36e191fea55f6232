/** How records stand on the wire: nothing that a reader could refuse, whatever is in them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode } from '../../lib/base/bytes.ts';
import { parseTimeMs } from '../../lib/control/time.ts';
import { cleanDerpMap } from '../../lib/coordinator/map-derp.ts';
import { DirtySet, SlotSet } from '../../lib/coordinator/map-dirty.ts';
import { encodeText, plainText } from '../../lib/coordinator/map-text.ts';
import {
  DIFFERS_CAPABILITY,
  DIFFERS_DISCO,
  DIFFERS_ENDPOINTS,
  DIFFERS_EXPIRY,
  DIFFERS_REGION,
  DIFFERS_WHOLE,
  isPublishable,
  isUsable,
  peerDifference,
  peerNode,
  peerPatch,
  profileOf,
  selfDiffers,
  selfNode,
} from '../../lib/coordinator/node-view.ts';
import type { DeviceRecord } from '../../lib/coordinator/model.ts';
import { DERP_MAP, device, hexKey, seeded, START_UNIX_MS, user } from './map-support.ts';
import { formatTimeMs } from '../../lib/control/time.ts';

const test = suite('map view');
const SUFFIX = 'one.mote.internal';
const ONLINE = { isOnline: true, seenMs: 5000 };

test('a peer has what every client needs, in the old and in the new form', () => {
  const record = device(7, { keyExpiryMs: START_UNIX_MS, keySignature: 'AAAA' });
  assert.equal(peerNode(record, SUFFIX, ONLINE), {
    ID: 7,
    StableID: '7',
    Name: 'd7.one.mote.internal.',
    User: 1,
    Key: `nodekey:${hexKey(7)}`,
    KeyExpiry: '2026-01-02T03:04:05Z',
    KeySignature: 'AAAA',
    DiscoKey: `discokey:${hexKey(1_000_007)}`,
    Addresses: ['100.64.0.7/32', 'fd7a:115c:a1e0::1:8/128'],
    AllowedIPs: ['100.64.0.7/32', 'fd7a:115c:a1e0::1:8/128'],
    Endpoints: ['192.0.2.7:41641'],
    Hostinfo: { OS: 'linux', Hostname: 'host7', Services: [{ Proto: 'peerapi4', Port: 4000 }] },
    Created: '2026-01-02T03:04:05Z',
    DERP: '127.3.3.40:900',
    HomeDERP: 900,
    Cap: 113,
    Online: true,
  });
});

test('a peer says when it was seen only while it is offline', () => {
  const offline = peerNode(device(7), SUFFIX, { isOnline: false, seenMs: START_UNIX_MS });
  assert.is(offline.Online, false);
  assert.is(offline.LastSeen, '2026-01-02T03:04:05Z');
  assert.not.ok('LastSeen' in peerNode(device(7), SUFFIX, { isOnline: false, seenMs: 0 }));
});

test('the device itself is told that it is authorized, or that it is not', () => {
  assert.is(selfNode(device(7), SUFFIX).MachineAuthorized, true);
  assert.is(selfNode(device(7, { isApproved: false }), SUFFIX).MachineAuthorized, false);
  assert.ok(Object.keys(selfNode(device(7), SUFFIX).CapMap!).length > 0);
});

test('a tagged device belongs to the owner of tagged devices', () => {
  const node = peerNode(device(7, { tags: ['tag:ci', 'bad', 'tag:'] }), SUFFIX, ONLINE);
  assert.is(node.User, 2_147_455_555);
  assert.equal(node.Tags, ['tag:ci']);
});

test('what is malformed and not needed is left out', () => {
  const record = device(7, {
    name: 'a b.c',
    hostname: 'a"b\\c\u0000d\u2028\ud800é😀',
    os: '\n',
    endpoints: ['1.2.3.4', '1.2.3.4:0', '[fe80::1%eth0]:5', '[2001:DB8::1]:7', 'x:1', '10.0.0.1:99999'],
    homeRegion: 70_000,
    capability: -1,
    keySignature: '*',
    services: [
      { Proto: 'peerapi4', Port: 70_000 },
      { Proto: 'a"b', Port: 5 },
    ],
    keyExpiryMs: Number.NaN,
    createdMs: -5,
  });
  const node = peerNode(record, SUFFIX, ONLINE);
  assert.is(node.Name, 'device-7.one.mote.internal.');
  assert.equal(node.Hostinfo, { OS: '', Hostname: 'abcdé😀' });
  assert.equal(node.Endpoints, ['[2001:db8::1]:7']);
  assert.is(node.Created, '1970-01-01T00:00:00Z');
  for (const name of ['DERP', 'HomeDERP', 'Cap', 'KeySignature', 'KeyExpiry']) assert.not.ok(name in node, name);
});

test('a device without what it cannot be without is not used', () => {
  assert.ok(isUsable(device(7)));
  const bad: Partial<DeviceRecord>[] = [
    { id: 0 },
    { id: 2 ** 53 },
    { id: 1.5 },
    { nodeKey: '' },
    { nodeKey: `nodekey:${'0'.repeat(64)}` },
    { nodeKey: `mkey:${hexKey(7)}` },
    { addresses: ['fd7a::1', '100.64.0.1'] },
    { addresses: ['100.64.0.1', 'no'] },
  ];
  for (const changes of bad) assert.not.ok(isUsable(device(7, changes)), JSON.stringify(changes));
});

test('a device that cannot be reached yet is not shown', () => {
  assert.not.ok(isPublishable(device(7, { discoKey: '' })));
  assert.not.ok(isPublishable(device(7, { discoKey: `discokey:${'0'.repeat(64)}` })));
  assert.ok(isUsable(device(7, { discoKey: '' })));
});

test('a user always has a login name', () => {
  assert.equal(profileOf(user(5, 'one', '"')), { ID: 5, LoginName: 'user-5', DisplayName: 'user-5' });
  const ann = { id: 5, loginName: 'ann', displayName: 'Ann "A"' };
  assert.equal(profileOf(ann), { ID: 5, LoginName: 'ann', DisplayName: 'Ann A' });
});

test('differences are a patch where a patch can say them', () => {
  const cases: [Partial<DeviceRecord>, number][] = [
    [{}, 0],
    [{ lastSeenMs: 5, version: '2', machineKey: 'x', isEphemeral: true, isNameFixed: true, authKey: 'k' }, 0],
    [{ endpoints: ['192.0.2.7:1'] }, DIFFERS_ENDPOINTS],
    [{ homeRegion: 901 }, DIFFERS_REGION],
    [{ capability: 114 }, DIFFERS_CAPABILITY],
    [{ discoKey: `discokey:${hexKey(99)}` }, DIFFERS_DISCO],
    [{ keyExpiryMs: 1000 }, DIFFERS_EXPIRY],
    [{ endpoints: ['192.0.2.7:1'], homeRegion: 901 }, DIFFERS_ENDPOINTS | DIFFERS_REGION],
  ];
  for (const [changes, bits] of cases)
    assert.is(peerDifference(device(7), device(7, changes)), bits, JSON.stringify(changes));
});

test('differences are a whole peer where a patch cannot say them', () => {
  const wholes: Partial<DeviceRecord>[] = [
    { name: 'new' },
    { nodeKey: `nodekey:${hexKey(99)}` },
    { keySignature: 'AAAA' },
    { user: 2 },
    { tags: ['tag:a'] },
    { addresses: ['100.64.0.9', 'fd7a::9'] },
    { hostname: 'x' },
    { os: 'x' },
    { services: [] },
    { endpoints: [] },
    { endpoints: ['nonsense'] },
    { homeRegion: 0 },
    { capability: 0 },
  ];
  for (const changes of wholes)
    assert.ok(peerDifference(device(7), device(7, changes)) & DIFFERS_WHOLE, JSON.stringify(changes));
  const expiring = device(7, { keyExpiryMs: 1000 });
  assert.is(peerDifference(expiring, device(7)), DIFFERS_WHOLE);
});

test('a patch says what differs, and a new process everything about reaching it', () => {
  const record = device(7, { keyExpiryMs: START_UNIX_MS });
  const [endpoints, time] = [['192.0.2.7:41641'], '2026-01-02T03:04:05Z'];
  assert.equal(peerPatch(record, DIFFERS_ENDPOINTS, ONLINE), { NodeID: 7, Endpoints: endpoints });
  assert.equal(peerPatch(record, DIFFERS_REGION, ONLINE), { NodeID: 7, DERPRegion: 900 });
  assert.equal(peerPatch(record, DIFFERS_CAPABILITY, ONLINE), { NodeID: 7, Cap: 113 });
  assert.equal(peerPatch(record, DIFFERS_EXPIRY, ONLINE), { NodeID: 7, KeyExpiry: time });
  assert.equal(peerPatch(record, DIFFERS_DISCO, ONLINE), {
    NodeID: 7,
    DERPRegion: 900,
    Endpoints: endpoints,
    DiscoKey: record.discoKey,
  });
});

test('a device is told of itself what others have decided, and not what it has said', () => {
  assert.not.ok(selfDiffers(device(7), device(7, { endpoints: [], homeRegion: 1, hostname: 'x', capability: 1 })));
  for (const changes of [{ name: 'x' }, { isApproved: false }, { keyExpiryMs: 5 }, { tags: ['tag:a'] }, { user: 2 }])
    assert.ok(selfDiffers(device(7), device(7, changes)), JSON.stringify(changes));
});

test('times are written as they are read', () => {
  const random = seeded(3);
  for (let i = 0; i < 2000; i++) {
    const ms = 1000 * Math.floor(random() * 253_402_300_799);
    assert.is(parseTimeMs(formatTimeMs(ms)), ms);
  }
  assert.is(formatTimeMs(951_782_399_999), '2000-02-28T23:59:59Z');
  assert.is(formatTimeMs(951_782_400_000), '2000-02-29T00:00:00Z');
  assert.is(formatTimeMs(-1), '1970-01-01T00:00:00Z');
  assert.is(formatTimeMs(Infinity), '9999-12-31T23:59:59Z');
});

test('text needs no escape and keeps its letters', () => {
  assert.is(plainText('a"\\\u0007\u009f\u2028\udfffbü', 255), 'abü');
  assert.is(plainText('😀😀😀', 2), '😀😀');
  for (const text of ['plain', 'ü😀']) assert.is(utf8Decode(encodeText(text)), text);
});

test('a relay map loses what no reader would take', () => {
  assert.equal(cleanDerpMap(DERP_MAP), DERP_MAP);
  const region = DERP_MAP.Regions!['900']!;
  const [node] = region.Nodes;
  const cleaned = cleanDerpMap({
    HomeParams: { RegionScore: { 900: 2, 7: 1 } },
    Regions: {
      1: null,
      2: { ...region },
      900: {
        ...region,
        Avoid: true,
        Nodes: [
          { ...node!, IPv4: 'x', IPv6: 'none', STUNPort: -1, DERPPort: 70_000, CanPort80: true },
          { ...node!, RegionID: 5 },
        ],
      },
    },
  });
  const expected = {
    Name: '900a',
    RegionID: 900,
    HostName: 'relay.example',
    IPv6: 'none',
    STUNPort: -1,
    CanPort80: true,
  };
  assert.equal(cleaned, {
    HomeParams: { RegionScore: { 900: 2 } },
    Regions: { 900: { ...region, Avoid: true, Nodes: [expected] } },
  });
});

test('sets of slots are what a Set and a Map would be', () => {
  const random = seeded(11);
  for (let round = 0; round < 30; round++) {
    const [dirty, bits] = [new DirtySet(), new Map<number, number>()];
    const [known, slots] = [new SlotSet(), new Set<number>()];
    for (let step = 0; step < 300; step++) {
      const slot = Math.floor(random() * (round < 10 ? 20 : 600));
      if (random() < 0.6) {
        const added = 1 << Math.floor(random() * 7);
        dirty.mark(slot, added);
        known.add(slot);
        slots.add(slot);
        bits.set(slot, (bits.get(slot) ?? 0) | added);
      } else {
        dirty.delete(slot);
        known.delete(slot);
        slots.delete(slot);
        bits.delete(slot);
      }
      assert.is(dirty.count, bits.size);
      assert.is(dirty.get(slot), bits.get(slot) ?? 0);
      assert.ok(bits.size === 0 ? dirty.first === -1 : bits.has(dirty.first));
    }
    assert.equal(
      dirty.slots().sort((a, b) => a - b),
      [...bits.keys()].sort((a, b) => a - b),
    );
    assert.equal(
      known.slots(),
      [...slots].sort((a, b) => a - b),
    );
    for (const [slot, expected] of bits) assert.is(dirty.get(slot), expected);
    dirty.clear();
    known.clear();
    assert.equal([dirty.count, dirty.slots(), known.slots()], [0, [], []]);
  }
});

test.run();
