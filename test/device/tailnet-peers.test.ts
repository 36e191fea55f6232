import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../lib/base/address.ts';
import { toHex } from '../../lib/base/bytes.ts';
import { DropCounters } from '../../lib/base/drop.ts';
import { MapDecoder } from '../../lib/control/map-decoder.ts';
import { MAP_LIMITS_SMALL } from '../../lib/control/map-limits.ts';
import type { NetmapChanges } from '../../lib/control/netmap.ts';
import { PeerSlimmer } from '../../lib/control/peer-slimmer.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { EarlyHandshakes } from '../../lib/device/early-handshakes.ts';
import { TailnetPaths } from '../../lib/device/tailnet-paths.ts';
import { KEYLESS_INTERVAL_MS, KEYLESS_MS, TailnetPeers } from '../../lib/device/tailnet-peers.ts';
import { Tunnel } from '../../lib/wireguard/tunnel.ts';
import { frames, NOW_MS, self } from '../control/map-support.ts';
import { seededRandom } from '../sim/memory-host.ts';
import { formatTimeMs } from '../../lib/control/time.ts';

const test = suite('tailnet-peers');
const suiteOf = createNobleSuite();
const EXPIRY = formatTimeMs(NOW_MS + 60_000);

function keyText(id: number): string {
  return `nodekey:${id.toString(16).padStart(2, '0').repeat(32)}`;
}

function peer(id: number, more: object = {}): object {
  return {
    ID: id,
    StableID: `n${id}`,
    Name: `p${id}.tail.test.`,
    User: 1,
    Key: keyText(id),
    DiscoKey: `discokey:${'77'.repeat(32)}`,
    Addresses: [`100.64.1.${id}/32`],
    AllowedIPs: [`100.64.1.${id}/32`, '10.0.0.0/8'],
    HomeDERP: 9,
    ...more,
  };
}

class World {
  readonly decoder: MapDecoder;
  readonly tunnel = new Tunnel({
    nowMs: 1000,
    unixMs: NOW_MS,
    random: seededRandom(1),
    suite: suiteOf,
    privateKey: SecretKey.fromBytes(new Uint8Array(32).fill(0x66)),
  });
  readonly removed: number[] = [];
  readonly owner = {
    tunnel: this.tunnel,
    removePeer: (nowMs: number, id: number) => {
      this.removed.push(id);
      this.tunnel.removePeer(nowMs, id);
    },
  };
  readonly peers: TailnetPeers;
  readonly paths = new TailnetPaths({
    nowMs: 1000,
    random: seededRandom(2),
    suite: suiteOf,
    preset: 'large',
    discoKey: SecretKey.fromBytes(new Uint8Array(32).fill(0x67)),
    nodeKey: new Uint8Array(32).fill(1),
    drops: new DropCounters(),
    owner: { knowsPeer: () => false, resolvePeer: () => undefined },
  });

  constructor(maxPeers = 100, decoder = new MapDecoder()) {
    this.decoder = decoder;
    this.decoder.startStream();
    this.send({ Node: self(), Peers: [1, 2, 3].map(id => peer(id)) });
    this.peers = new TailnetPeers(this.decoder.netmap, this.paths, maxPeers);
  }

  send(message: object): NetmapChanges {
    const bytes = frames(message);
    if (this.decoder.handleBytes(bytes, 0, bytes.length) < 0) throw this.decoder.error!;
    const event = this.decoder.pollEvent();
    if (event?.type !== 'netmap') throw new Error('no netmap');
    return event.changes;
  }

  change(message: object): void {
    this.peers.handleChanges(1000, NOW_MS, this.owner, this.send(message));
  }

  resolve(id: number, unixMs = NOW_MS): boolean {
    return this.peers.resolveAddress(1000, unixMs, this.owner, parseAddress(`100.64.1.${id}`)!);
  }
}

test('a peer is in the tunnel once it is used, with its own addresses alone', () => {
  const world = new World();
  assert.is(world.tunnel.peerCount, 0);
  assert.is(world.resolve(2), true);
  const id = world.peers.tunnelId(2)!;
  const { allowedIPs, roams } = world.tunnel.peerStatus(id);
  assert.equal(
    allowedIPs.map(({ bytes, bits }) => [[...bytes], bits]),
    [[[100, 64, 1, 2], 32]],
  );
  assert.is(roams, false);
  assert.is(world.peers.get(id)!.region, 9);
  assert.is(world.resolve(2), false);
  assert.is(world.resolve(77), false);
});

test('a key of the netmap joins by its handshake, another does not', () => {
  const world = new World();
  assert.is(world.peers.resolveKey(1000, NOW_MS, world.owner, new Uint8Array(32).fill(3)), true);
  assert.is(world.peers.resolveKey(1000, NOW_MS, world.owner, new Uint8Array(32).fill(0x44)), false);
});

test('a disco key leads to the peer that has it, together with the node key where that is known', () => {
  const world = new World();
  const disco = (byte: number) => new Uint8Array(32).fill(byte);
  const resolve = (discoKey: Uint8Array, key?: Uint8Array) =>
    world.peers.resolveDisco(1000, NOW_MS, world.owner, discoKey, key);
  assert.is(resolve(disco(0x77)), undefined, 'several have it');
  assert.is(resolve(disco(0x78), new Uint8Array(32).fill(2)), undefined, 'another disco key than the node has');
  assert.is(resolve(disco(0x78)), undefined, 'nobody has it');
  const second = resolve(disco(0x77), new Uint8Array(32).fill(2));
  assert.is(second, world.peers.tunnelId(2));
  assert.is(resolve(disco(0x77), new Uint8Array(32).fill(2)), second);
  world.change({ PeersChangedPatch: [{ NodeID: 3, DiscoKey: `discokey:${'79'.repeat(32)}` }] });
  assert.is(resolve(disco(0x79)), world.peers.tunnelId(3));
});

/** A device whose netmap has slim records, of peers with disco keys of their own. */
function slimWorld(): World {
  const slimmer = new PeerSlimmer(suiteOf, out => void out.fill(5));
  const world = new World(2, new MapDecoder({ ...MAP_LIMITS_SMALL, wholePeerBytes: 50 }, slimmer));
  world.change({ Peers: [1, 2, 3].map(id => peer(id, { DiscoKey: discoText(id) })) });
  return world;
}

const discoText = (id: number) => `discokey:${(0x70 + id).toString(16).repeat(32)}`;
const nodeKey = (id: number) => new Uint8Array(32).fill(id);
const discoKey = (id: number) => new Uint8Array(32).fill(0x70 + id);

test('a peer that is known by the tag of its disco key shows the key, and no other is taken for it', () => {
  for (const isInUse of [true, false]) {
    const world = slimWorld();
    const { disco } = world.paths;
    if (isInUse) world.resolve(2);
    const show = (id: number, of?: number) =>
      world.peers.resolveDisco(1000, NOW_MS, world.owner, discoKey(id), of === undefined ? of : nodeKey(of));
    const known = () => disco.discoKeyOf(world.peers.tunnelId(2) ?? -1);
    assert.is(known(), undefined);
    assert.is(show(3, 2), undefined, 'that of another peer');
    assert.is(show(9, 2), undefined, 'one that nobody has');
    assert.is(show(9), undefined);
    assert.is(known(), undefined);
    assert.is(show(2, isInUse ? 2 : undefined), world.peers.tunnelId(2));
    assert.equal(known(), discoKey(2));
    world.change({ PeersChangedPatch: [{ NodeID: 2, DERPRegion: 4 }] });
    assert.equal(known(), discoKey(2), 'other news of the peer leave the key alone');
    world.change({ PeersChangedPatch: [{ NodeID: 2, DiscoKey: discoText(4) }] });
    assert.equal(known(), discoKey(4), 'of a peer in use the netmap keeps the key');
  }
});

test('a key that a peer has shown is its key no more when the netmap says so', () => {
  const world = slimWorld();
  world.resolve(2);
  const tunnelId = world.peers.tunnelId(2)!;
  world.peers.resolveDisco(1000, NOW_MS, world.owner, discoKey(2), undefined);
  world.decoder.netmap.setWanted(2, false); // so that the record stays slim
  world.change({ PeersChangedPatch: [{ NodeID: 2, DiscoKey: discoText(4) }] });
  assert.is(world.paths.disco.discoKeyOf(tunnelId), undefined);
  assert.is(world.peers.resolveDisco(1000, NOW_MS, world.owner, discoKey(2), undefined), undefined);
  assert.is(world.peers.resolveDisco(1000, NOW_MS, world.owner, discoKey(4), undefined), tunnelId);
});

test('for a peer in use that shows no disco key the map is wanted again, once in ten minutes', () => {
  const world = slimWorld();
  const { peers } = world;
  assert.is(peers.nextKeylessMs(), Infinity);
  world.resolve(1);
  assert.is(peers.nextKeylessMs(), 1000 + KEYLESS_MS);
  assert.is(peers.takeKeyless(1000 + KEYLESS_MS - 1), false);
  assert.is(peers.takeKeyless(1000 + KEYLESS_MS), true);
  assert.is(peers.nextKeylessMs(), Infinity);
  world.resolve(2);
  assert.is(peers.nextKeylessMs(), 1000 + KEYLESS_MS + KEYLESS_INTERVAL_MS);
  world.change({ PeersChanged: [1, 2].map(id => peer(id, { DiscoKey: discoText(id) })) });
  assert.equal(world.paths.disco.discoKeyOf(peers.tunnelId(1)!), discoKey(1));
  assert.is(peers.takeKeyless(9_999_999), false, 'it has come meanwhile');
  world.resolve(3);
  assert.is(peers.tunnelId(1), undefined);
  world.change({ PeersChanged: [peer(1, { DiscoKey: discoText(1), HomeDERP: 3 })] });
  const { netmap } = world.decoder;
  assert.is(netmap.peers.peerAt(netmap.peers.find(1)).discoKey, undefined, 'what is not in use is slim again');
  const whole = new World();
  whole.resolve(1);
  assert.is(whole.peers.nextKeylessMs(), Infinity, 'nothing of this on a large device');
});

test('a peer that is removed, gets another key or expires leaves the tunnel; one that moves stays', () => {
  for (const message of [
    { PeersRemoved: [2] },
    { PeersChanged: [peer(2, { Key: keyText(0x22) })] },
    { PeersChanged: [peer(2, { Expired: true })] },
    { PeersChanged: [peer(2, { KeyExpiry: formatTimeMs(NOW_MS - 1000) })] },
    { Peers: [peer(1)] },
  ]) {
    const world = new World();
    world.resolve(2);
    world.change(message);
    assert.is(world.tunnel.peerCount, 0, JSON.stringify(message));
  }
  const world = new World();
  world.resolve(2);
  world.change({ PeersChangedPatch: [{ NodeID: 2, DERPRegion: 4 }] });
  assert.is(world.peers.get(world.peers.tunnelId(2)!)!.region, 4);
  world.change({ PeersChanged: [peer(2, { Addresses: ['100.64.1.99/32'] })] });
  assert.is(world.tunnel.peerOf(parseAddress('100.64.1.99')!), world.peers.tunnelId(2));
  assert.is(world.tunnel.peerOf(parseAddress('100.64.1.2')!), undefined);
});

test('a peer that is dropped because another has its key now leaves the tunnel, and the other can join', () => {
  for (const message of [
    { PeersChangedPatch: [{ NodeID: 2, Key: keyText(3) }] },
    { PeersChanged: [peer(2, { Key: keyText(3) })] },
    { Node: self({ ID: 3 }) },
  ]) {
    const world = new World();
    world.resolve(3);
    world.change(message);
    assert.is(world.peers.tunnelId(3), undefined, JSON.stringify(message));
    assert.is(world.tunnel.peerCount, 0);
    assert.is(world.resolve(2), true);
  }
});

test('a key that has gone over to another peer is used for that one before the news is read, and the own key for none', () => {
  const world = new World();
  world.resolve(3);
  const changes = world.send({ PeersRemoved: [3], PeersChanged: [peer(9, { Key: keyText(3) })] });
  assert.is(world.resolve(9), true);
  world.peers.handleChanges(1000, NOW_MS, world.owner, changes);
  assert.is(world.peers.tunnelId(3), undefined);
  assert.is(world.tunnel.peerCount, 1);
  assert.equal(world.tunnel.peerStatus(world.peers.tunnelId(9)!).publicKey, new Uint8Array(32).fill(3));
  world.change({ PeersChanged: [peer(5, { Key: `nodekey:${toHex(world.tunnel.publicKey)}` })] });
  assert.is(world.resolve(5), false);
});

test('nobody joins a tunnel that is about to be replaced, and everybody may join the next one', () => {
  const world = new World();
  world.resolve(3);
  world.peers.forget(1000, world.tunnel);
  assert.equal(
    [2, 3].map(id => world.resolve(id)),
    [false, false],
  );
  assert.equal(world.peers.inUse(), []);
  const other = new World();
  const resolve = (id: number) =>
    world.peers.resolveAddress(1000, NOW_MS, other.owner, parseAddress(`100.64.1.${id}`)!);
  assert.equal([2, 3].map(resolve), [true, true]);
  assert.is(other.tunnel.peerCount, 2);
});

test('an expired peer is not let in, and one in use goes when its time comes', () => {
  const world = new World();
  world.change({ PeersChanged: [peer(2, { KeyExpiry: EXPIRY }), peer(3, { Expired: true })] });
  assert.is(world.resolve(3), false);
  assert.is(world.resolve(2), true);
  assert.is(world.peers.nextExpiryUnixMs(), Math.floor((NOW_MS + 60_000) / 1000) * 1000);
  world.peers.expire(1000, NOW_MS + 58_000, world.owner);
  assert.is(world.tunnel.peerCount, 1);
  world.peers.expire(1000, NOW_MS + 60_000, world.owner);
  assert.is(world.tunnel.peerCount, 0);
  assert.is(world.resolve(2, NOW_MS + 60_000), false);
});

test('when there are too many, one without a session makes room', () => {
  const world = new World(2);
  world.resolve(1);
  world.resolve(2);
  world.tunnel.connect(1000, world.peers.tunnelId(1)!);
  assert.is(world.resolve(3), true);
  assert.is(world.peers.tunnelId(2), undefined);
  assert.is(world.tunnel.peerCount, 2);
  world.tunnel.connect(1000, world.peers.tunnelId(3)!);
  assert.is(world.resolve(2), false);
});

test('early handshakes are kept for four seconds, eight at most, and given once', () => {
  const early = new EarlyHandshakes();
  const from = { address: '192.0.2.1', port: 1 };
  for (let i = 0; i < 10; i++) early.keep(1000 + i, Uint8Array.of(i, 99), 0, 1, from);
  assert.equal(
    early.take(2000).map(({ bytes }) => [...bytes]),
    [[2], [3], [4], [5], [6], [7], [8], [9]],
  );
  assert.equal(early.take(2000), []);
  early.keep(1000, Uint8Array.of(1), 0, 1, from);
  assert.is(early.take(4999).length, 1);
  early.keep(1000, Uint8Array.of(1), 0, 1, from);
  assert.is(early.take(5000).length, 0);
});

test.run();
