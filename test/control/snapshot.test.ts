/** A netmap that was stored before sleep, and read again as a message of the map stream. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import type { Netmap } from '../../lib/control/netmap.ts';
import { snapshotOf } from '../../lib/control/snapshot.ts';
import { frames, node, self, TEST_LIMITS } from './map-support.ts';

const test = suite('snapshot');

const REGIONS = {
  Regions: Object.fromEntries(
    [901, 902].map(id => [
      id,
      {
        RegionID: id,
        RegionCode: `r${id}`,
        RegionName: 'here',
        Nodes: [
          {
            Name: `${id}a`,
            RegionID: id,
            HostName: `r${id}.example.com`,
            CertName: 'sha256-raw:00',
            IPv4: '192.0.2.1',
          },
        ],
      },
    ]),
  ),
};

function netmap(message: object): Netmap {
  const decoder = new MapDecoder(TEST_LIMITS);
  const bytes = frames(message);
  assert.is(decoder.handleBytes(bytes, 0, bytes.length), 0);
  return decoder.netmap;
}

function again(bytes: Uint8Array): Netmap {
  const decoder = new MapDecoder(TEST_LIMITS);
  assert.is(decoder.handleBytes(bytes, 0, bytes.length), 0);
  return decoder.netmap;
}

const peersOf = ({ peers }: Netmap) => Array.from({ length: peers.count }, (_, slot) => peers.peerAt(slot));

test('what is read again is what was stored, but for presence and rules', () => {
  const before = netmap({
    Node: self({ Tags: ['tag:button'] }),
    Domain: 'example',
    DERPMap: REGIONS,
    PacketFilters: { base: [{ SrcIPs: ['*'], DstPorts: [{ IP: '*', Ports: { First: 0, Last: 65_535 } }] }] },
    Peers: [
      node(1),
      node(2, { Tags: ['tag:a'], IsJailed: true }),
      node(3, { DiscoKey: undefined, KeyExpiry: undefined }),
    ],
  });
  const bytes = snapshotOf(before, { peers: peersOf(before), regions: [901, 902, 5] }, 4000)!;
  const after = again(bytes);
  const plain = peersOf(before).map(peer => ({ ...peer, isOnline: undefined }));
  assert.equal(peersOf(after), plain);
  assert.equal(after.regions, before.regions);
  assert.equal(after.self!.addresses, before.self!.addresses);
  assert.equal(after.self!.tags, ['tag:button']);
  assert.equal(after.self!.key, before.self!.key);
  assert.is(after.self!.keyExpiry, before.self!.keyExpiry);
  assert.is(after.domain, 'example');
  assert.equal(after.filterRules, []);
});

test('peers that have no room are left out from the end, and without room for this device there is nothing', () => {
  const before = netmap({ Node: self(), Peers: [node(1), node(2), node(3)] });
  const peers = peersOf(before).reverse();
  const whole = snapshotOf(before, { peers, regions: [] }, 10_000)!;
  const less = snapshotOf(before, { peers, regions: [] }, whole.length - 1)!;
  assert.ok(less.length < whole.length);
  assert.equal(
    peersOf(again(less)).map(({ id }) => id),
    [2, 3],
  );
  assert.is(snapshotOf(before, { peers, regions: [] }, 100), undefined);
});

test('a netmap without this device has no snapshot', () => {
  const decoder = new MapDecoder(TEST_LIMITS);
  assert.is(snapshotOf(decoder.netmap, { peers: [], regions: [] }, 4000), undefined);
});

test.run();
