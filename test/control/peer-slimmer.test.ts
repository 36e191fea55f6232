/** Slim records of many peers, and full lists of peers held as differences from what is known. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import { MAP_LIMITS_SMALL } from '../../lib/control/map-limits.ts';
import { recordLength, writePeer } from '../../lib/control/peer-record.ts';
import { PeerSlimmer } from '../../lib/control/peer-slimmer.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { Seeded } from '../crypto/support.ts';
import { fuzzRounds } from '../tools/scale.ts';
import {
  decoderWith,
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

const test = suite('peer-slimmer');
const crypto = createNobleSuite();
const slimmer = (secret = 7) => new PeerSlimmer(crypto, out => void out.fill(secret));
const full = (...peers: readonly object[]) => ({ Node: self(), Peers: peers });
const nodes = (count: number, more: object = {}) => Array.from({ length: count }, (_, i) => node(i + 1, more));

/** A small decoder that has read a full list. */
function smallDecoder(peers: readonly object[], keeps = slimmer()): MapDecoder {
  const decoder = new MapDecoder(MAP_LIMITS_SMALL, keeps);
  if (feedMap(decoder, frames(full(...peers)), 1000) !== 0) throw decoder.error;
  return decoder;
}

/** A new stream whose first message is a full list. */
function again(decoder: MapDecoder, peers: readonly object[]): void {
  decoder.startStream();
  if (feedMap(decoder, frames(full(...peers)), 1000) !== 0) throw decoder.error;
}

const slotOf = (decoder: MapDecoder, id: number) => decoder.netmap.peers.find(id);
const peerOf = (decoder: MapDecoder, id: number) => decoder.netmap.peers.peerAt(slotOf(decoder, id));

test('a tag is of its key and of this process', () => {
  const [one, other] = [slimmer(1), slimmer(2)];
  assert.is(one.tag(keyBytes(1)).length, 8);
  assert.equal([...one.tag(keyBytes(1))], [...slimmer(1).tag(keyBytes(1))]);
  assert.not.equal([...one.tag(keyBytes(1))], [...one.tag(keyBytes(2))]);
  assert.not.equal([...one.tag(keyBytes(1))], [...other.tag(keyBytes(1))]);
});

test('a slim record has all that a dial needs, a tag, no endpoints, and at most 66 bytes', () => {
  const buf = new Uint8Array(200);
  const Addresses = ['100.64.3.232/32', 'fd7a:115c:a1e0::6440:3e8/128'];
  const sensor = node(1000, { Name: 'sensor-123.tail1234.mote.internal.', HomeDERP: 1, Addresses });
  const whole = peersOf(smallDecoder([sensor]))[0]!;
  const length = writePeer(buf, whole, '.tail1234.mote.internal.', slimmer());
  assert.ok(length <= 66, `${length} bytes`);
  assert.is(recordLength(buf, 0), length);
  const peers = smallDecoder(nodes(300)).netmap.peers;
  const slim = peers.peerAt(peers.find(7));
  const known = peersOf(smallDecoder([node(7)]))[0]!;
  assert.equal({ ...slim, discoTag: undefined }, { ...known, discoKey: undefined, endpoints: [] });
  assert.equal([...slim.discoTag!], [...slimmer().tag(keyBytes(7, 2))]);
});

test('a small tailnet is whole, three hundred peers are slim and take at most 24 KB', () => {
  const few = smallDecoder(nodes(70));
  assert.ok(peersOf(few).every(({ discoKey, endpoints }) => discoKey !== undefined && endpoints.length === 2));
  const many = smallDecoder(nodes(300));
  assert.ok(peersOf(many).every(({ discoKey, discoTag }) => discoKey === undefined && discoTag !== undefined));
  assert.ok(many.netmap.peers.heldBytes <= 24 * 1024, `${many.netmap.peers.heldBytes} bytes`);
  assert.equal(
    peersOf(many).map(({ key }) => key),
    nodes(300).map((_, i) => keyBytes(i + 1)),
  );
  again(many, nodes(30));
  again(many, nodes(30)); // the table has become small before
  assert.ok(peersOf(many).every(({ discoKey, endpoints }) => discoKey !== undefined && endpoints.length === 2));
});

test('a disco key is found by its tag, and only that of the peer', () => {
  const { netmap } = smallDecoder([...nodes(299), node(300, { DiscoKey: keyText(5, 'discokey') })]);
  const { peers } = netmap;
  assert.is(peers.hasAnyDiscoKey(keyBytes(9, 2)), true);
  assert.is(peers.hasAnyDiscoKey(keyBytes(9, 3)), false);
  assert.is(peers.idAt(peers.findOnlyDiscoKey(keyBytes(9, 2))), 9);
  assert.is(peers.findOnlyDiscoKey(keyBytes(5, 2)), -1, 'two have it');
  assert.is(peers.hasDiscoKey(peers.find(9), keyBytes(9, 2)), true);
  assert.is(peers.hasDiscoKey(peers.find(9), keyBytes(8, 2)), false);
  const bare = smallDecoder([...nodes(298), node(299, { DiscoKey: null })]).netmap.peers;
  assert.is(bare.hasDiscoKey(bare.find(299), new Uint8Array(32)), false);
});

test('the tag follows the disco key of a patch, and stays with any other patch', () => {
  const decoder = smallDecoder(nodes(300));
  feedMap(decoder, frames({ PeersChangedPatch: [{ NodeID: 9, DERPRegion: 3, Endpoints: ['198.51.100.1:5'] }] }));
  const { peers } = decoder.netmap;
  assert.equal([peerOf(decoder, 9).homeRegion, peerOf(decoder, 9).endpoints], [3, []]);
  assert.is(peers.hasDiscoKey(peers.find(9), keyBytes(9, 2)), true);
  feedMap(decoder, frames({ PeersChangedPatch: [{ NodeID: 9, DiscoKey: keyText(1009, 'discokey') }] }));
  assert.is(peers.hasDiscoKey(peers.find(9), keyBytes(9, 2)), false);
  assert.is(peers.hasDiscoKey(peers.find(9), keyBytes(1009, 2)), true);
  assert.is(peerOf(decoder, 9).discoKey, undefined);
});

test('what comes of a peer in use is kept whole, until it is in use no more', () => {
  const decoder = smallDecoder(nodes(300));
  const { netmap } = decoder;
  const isWhole = (id: number) =>
    peerOf(decoder, id).discoKey !== undefined && peerOf(decoder, id).endpoints.length > 0;
  for (const id of [7, 7, 8, 9]) netmap.setWanted(id, true);
  feedMap(decoder, frames({ PeersChanged: [node(8), node(10)] }));
  assert.equal([7, 8, 9, 10].map(isWhole), [false, true, false, false]);
  const patch = { NodeID: 9, DiscoKey: keyText(1009, 'discokey'), Endpoints: ['198.51.100.1:5'] };
  feedMap(decoder, frames({ PeersChangedPatch: [patch] }));
  assert.is(isWhole(9), true);
  assert.equal([peerOf(decoder, 9).discoKey, peerOf(decoder, 9).discoTag], [keyBytes(1009, 2), undefined]);
  again(decoder, nodes(300));
  assert.equal([7, 8, 9, 10].map(isWhole), [true, true, true, false]);
  netmap.setWanted(8, false);
  again(decoder, nodes(300));
  assert.equal([7, 8, 9, 10].map(isWhole), [true, false, true, false], 'it gives its room back');
});

test('a new stream holds of three hundred known peers next to nothing beside them', () => {
  for (const keeps of [slimmer(), undefined]) {
    const decoder = new MapDecoder(MAP_LIMITS_SMALL, keeps);
    const bytes = frames(full(...nodes(300)));
    feedMap(decoder, bytes);
    const before = decoder.heldBytes;
    decoder.startStream();
    let most = 0;
    for (let at = 0; at < bytes.length; at += 50) {
      const end = Math.min(at + 50, bytes.length);
      assert.is(decoder.handleBytes(bytes, at, end), 0);
      most = Math.max(most, decoder.heldBytes);
    }
    assert.ok(most - before <= 4096, `${most - before} bytes beside ${before}`);
    assert.is(decoder.netmap.peers.count, 300);
  }
});

test('whatever list follows another, the netmap is as if it had come alone', () => {
  const seeded = new Seeded(11);
  const suffixes = ['tail1234.mote.internal.', 'other.mote.internal.'];
  for (let round = 0; round < fuzzRounds(30); round++) {
    const list = () => {
      const Name = (id: number) =>
        seeded.below(9) === 0 ? '' : `p${id}.${suffixes[round % 7 === 0 ? seeded.below(2) : 0]}`;
      const ids = Array.from({ length: seeded.below(40) }, () => 1 + seeded.below(50));
      return ids.map(id =>
        node(id, { Name: Name(id), HomeDERP: seeded.below(3), Key: keyText(seeded.below(20) === 0 ? 77 : id) }),
      );
    };
    const limits = { peers: 30, wholePeerBytes: [500, 2000, Infinity][round % 3]! };
    const make = () => new MapDecoder({ ...TEST_LIMITS, ...limits }, slimmer());
    const decoder = make();
    for (let n = 0; n < 3; n++) {
      const message = full(...list());
      decoder.startStream();
      assert.is(feedMap(decoder, frames(message), 1000), 0);
      const fresh = make();
      feedMap(fresh, frames(message), 1000);
      const bare = (of: MapDecoder) => peersOf(of).map(peer => ({ ...peer, endpoints: 0, discoKey: 0, discoTag: 0 }));
      if (decoder.netmap.overLimit === 0) assert.equal(bare(decoder), bare(fresh));
      for (const { id } of peersOf(decoder)) {
        const { peers } = decoder.netmap;
        const [listed] = (message.Peers as { ID: number; DiscoKey: string }[]).filter(({ ID }) => ID === id);
        assert.ok(listed !== undefined && peers.hasDiscoKey(peers.find(id), keyBytes(id, 2)));
      }
    }
  }
});

test('of a list beyond the limit what was known stays, and the rest as far as there is room', () => {
  const decoder = decoderWith([full(...nodes(3))], { peers: 4 });
  again(decoder, [node(9), node(8), node(1), node(2), node(3), node(7)]);
  assert.is(decoder.netmap.peers.count, 4);
  assert.ok([1, 2, 3].every(id => idsOf(decoder).includes(id)));
  again(decoder, [node(1, { HomeDERP: 7 }), node(4), node(5), node(6), node(7)]);
  assert.equal(idsOf(decoder), [1, 4, 5, 6]);
  assert.is(peerOf(decoder, 1).homeRegion, 7);
});

test('a peer that is not listed any more goes, and one whose new data cannot be kept', () => {
  const decoder = decoderWith([full(...nodes(5))]);
  again(decoder, [node(1), node(2, { Key: 'x' }), node(4, { HomeDERP: 2 })]);
  assert.equal(idsOf(decoder), [1, 4]);
  const twice = decoderWith([full(...nodes(5))]);
  again(twice, [node(1, { HomeDERP: 9 }), node(1), node(2), node(2, { HomeDERP: 9 })]);
  assert.equal(
    peersOf(twice).map(({ id, homeRegion }) => [id, homeRegion]),
    [[1, 901], [2, 9]],
    'of one that is listed twice the last counts',
  ); // biome-ignore format: a table
});

test('names are those of their own tailnet, though its suffix has changed', () => {
  const named = (suffix: string) => [1, 2, 3].map(id => node(id, { Name: `p${id}.${suffix}` }));
  const decoder = decoderWith([full(...named('one.test.'))]);
  again(decoder, named('two.test.'));
  assert.equal(
    peersOf(decoder).map(({ name }) => name),
    ['p1.two.test.', 'p2.two.test.', 'p3.two.test.'],
  );
  again(decoder, [node(1, { Name: 'p1.two.test.' }), node(2, { Name: 'p2.three.test.' }), node(3, { Name: '' })]);
  assert.equal(
    peersOf(decoder).map(({ name }) => name),
    ['p1.two.test.', 'p2.three.test.', ''],
  );
});

test('a new stream that is cut off in its list changes nothing, and the next one is read as ever', () => {
  const message = full(...[1, 2, 4, 5].map(id => node(id, { HomeDERP: id === 4 ? 3 : 901 })));
  const bytes = frames(message);
  const decoder = decoderWith([full(...nodes(4))]);
  const before = snapshot(decoder);
  for (let end = 5; end < bytes.length; end += 37) {
    decoder.startStream();
    assert.is(decoder.handleBytes(bytes, 0, end), 0);
    assert.is(decoder.handleEnd(), false);
    assert.is(snapshot(decoder), before);
  }
  decoder.startStream();
  assert.is(feedMap(decoder, bytes, 100), 0);
  assert.is(snapshot(decoder), snapshot(decoderWith([message])));
});

test('slim records come, go and grow for long in no more memory than they need', () => {
  const seeded = new Seeded(3);
  const decoder = smallDecoder(nodes(300));
  const fresh = decoder.netmap.peers.heldBytes;
  for (let i = 0; i < 40; i++) {
    const changed = Array.from({ length: 20 }, () => 1 + seeded.below(300));
    const Name = `${'n'.repeat(1 + seeded.below(60))}.tail1234.mote.internal.`;
    feedMap(
      decoder,
      frames({ PeersRemoved: [1 + seeded.below(300)], PeersChanged: changed.map(id => node(id, { Name })) }),
    );
    if (i % 10 === 9) again(decoder, nodes(300));
  }
  assert.is(decoder.netmap.peers.count, 300);
  assert.ok(decoder.netmap.peers.heldBytes < fresh * 1.25, `${decoder.netmap.peers.heldBytes} after ${fresh}`);
  for (const { id, key } of peersOf(decoder)) assert.equal(key, keyBytes(id));
});

test.run();
