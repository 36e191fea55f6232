/** Map sessions rule by rule: what is in which message, when it leaves, who is told, and when a session ends. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MapSessions } from '../../lib/coordinator/map-sessions.ts';
import { DERP_MAP, device, hexKey, type Reader, START_UNIX_MS, tailnet, unzstd, user, World } from './map-support.ts';

const test = suite('map sessions');

/** A world with devices 1 to `count`. */
function worldOf(count: number, limits: ConstructorParameters<typeof World>[0] = {}): World {
  const world = new World(limits);
  for (let id = 1; id <= count; id++) world.put(device(id));
  world.settle();
  return world;
}

/** A world with devices 1 to `count`, and the reader of the first, which has its whole map and is due nothing. */
function readerOf(count: number): { world: World; reader: Reader } {
  const world = worldOf(count);
  const reader = world.read(1);
  world.pass(1000);
  reader.messages.length = 0;
  return { world, reader };
}

const ids = (nodes: readonly { readonly ID: number }[] | null | undefined) => nodes?.map(({ ID }) => ID);

test('the first message has everything, and peers in the order of their ids', () => {
  const world = new World();
  for (const id of [9, 2, 1, 5]) world.put(device(id));
  const reader = world.read(1);
  assert.is(reader.messages.length, 1);
  const [first] = reader.messages;
  assert.equal(
    Object.keys(first!),
    [
      'Node',
      'DERPMap',
      'Domain',
      'CollectServices',
      'Debug',
      'SSHPolicy',
      'DNSConfig',
      'UserProfiles',
      'PacketFilters',
      'ControlTime',
      'Peers',
    ].sort((a, b) => Object.keys(first!).indexOf(a) - Object.keys(first!).indexOf(b)),
  );
  assert.equal(ids(first!.Peers), [2, 5, 9]);
  assert.is(first!.Node!.ID, 1);
  assert.is(first!.Node!.StableID, '1');
  assert.equal(first!.DERPMap, DERP_MAP);
  assert.is(first!.Domain, 'one');
  assert.is(first!.CollectServices, false);
  assert.equal(first!.Debug, { DisableLogTail: true });
  assert.equal(first!.SSHPolicy, { rules: [] });
  assert.equal(first!.DNSConfig, {
    Proxied: true,
    Domains: ['one.mote.internal'],
    Routes: { 'one.mote.internal': [] },
  });
  assert.equal(first!.UserProfiles, [{ ID: 1, LoginName: 'user1', DisplayName: 'user1' }]);
  const tailnet = ['100.64.0.0-100.115.91.255', '100.115.94.0-100.127.255.255', 'fd7a:115c:a1e0::/48'];
  const allowAll = [{ SrcIPs: tailnet, DstPorts: [{ IP: '*', Ports: { First: 0, Last: 65_535 } }] }];
  assert.equal(first!.PacketFilters, { base: allowAll });
  assert.is(first!.ControlTime, '2026-01-02T03:04:05Z');
});

test('a device without peers gets a map without a list of them', () => {
  const reader = worldOf(1).read(1);
  assert.not.ok('Peers' in reader.last);
  assert.is(reader.decoder.netmap.peers.count, 0);
  assert.is(reader.decoder.netmap.users.size, 1);
});

test('a reader that does not want peers gets none, nor anything about them', () => {
  const world = worldOf(3);
  const reader = world.read(1, { omitPeers: true });
  world.change(2, { endpoints: ['192.0.2.9:9'], user: 1 });
  world.remove(3);
  world.pass(1000);
  assert.is(reader.messages.length, 1);
  assert.not.ok('Peers' in reader.last);
});

test('a request that is no stream is answered with one whole map, and ends', () => {
  const world = worldOf(3);
  const stream = world.read(1);
  const reader = world.read(1, { isStream: false });
  assert.equal([reader.messages.length, reader.end], [1, 'complete']);
  assert.equal(ids(reader.last.Peers), [2, 3]);
  assert.is(stream.end, undefined);
  assert.is(world.sessions.sessionCount, 1);
});

test('no message is null anywhere, needs an escape, or is malformed for the client', () => {
  const world = worldOf(2);
  const reader = world.read(1);
  world.put(device(3, { hostname: 'a"\\\u0001\ud800é', endpoints: [], homeRegion: 0, capability: 0, tags: ['tag:x'] }));
  world.pass(500);
  world.change(3, { endpoints: ['bad', '192.0.2.3:3'] });
  world.pass(500);
  world.change(3, { endpoints: [] });
  world.pass(500);
  assert.ok(reader.texts.length >= 4);
  for (const text of reader.texts) assert.not.match(text, /null|\\/);
  for (const { Name } of reader.messages.flatMap(({ Node, Peers, PeersChanged }) => [
    ...(Node ? [Node] : []),
    ...(Peers ?? []),
    ...(PeersChanged ?? []),
  ]))
    assert.match(Name, /^d[123]\.one\.mote\.internal\.$/);
});

test('a new endpoint, relay, version, disco key and expiry are patches', () => {
  const { world, reader } = readerOf(2);
  const patches: [Parameters<World['change']>[1], object][] = [
    [{ endpoints: ['192.0.2.9:9'] }, { Endpoints: ['192.0.2.9:9'] }],
    [{ homeRegion: 901 }, { DERPRegion: 901 }],
    [{ capability: 120 }, { Cap: 120 }],
    [{ keyExpiryMs: START_UNIX_MS + 86_400_000 }, { KeyExpiry: '2026-01-03T03:04:05Z' }],
    [
      { discoKey: `discokey:${hexKey(50)}` },
      { DERPRegion: 901, Endpoints: ['192.0.2.9:9'], DiscoKey: `discokey:${hexKey(50)}` },
    ],
  ];
  for (const [changes, patch] of patches) {
    world.change(2, changes);
    world.pass(500);
    assert.equal(reader.last, { PeersChangedPatch: [{ NodeID: 2, ...patch }] });
  }
  assert.is(reader.messages.length, patches.length);
});

test('a new name or node key is a whole peer', () => {
  const { world, reader } = readerOf(2);
  for (const changes of [{ name: 'renamed' }, { nodeKey: `nodekey:${hexKey(77)}` }, { hostname: 'other' }]) {
    world.change(2, changes);
    world.pass(500);
    assert.equal([Object.keys(reader.last), ids(reader.last.PeersChanged)], [['PeersChanged'], [2]]);
  }
  assert.equal(world.known(reader), world.expected(1));
});

test('endpoints that are gone are taken away by a whole peer and by an empty list', () => {
  const { world, reader } = readerOf(2);
  world.change(2, { endpoints: [] });
  world.pass(500);
  assert.equal(ids(reader.last.PeersChanged), [2]);
  assert.not.ok('Endpoints' in reader.last.PeersChanged![0]!);
  assert.equal(reader.last.PeersChangedPatch, [{ NodeID: 2, Endpoints: [] }]);
});

test('what concerns no peer is not said', () => {
  const { world, reader } = readerOf(2);
  world.change(2, { lastSeenMs: world.unixMs, version: '9.9', isEphemeral: true, isNameFixed: true });
  world.sessions.tailnetChanged(world.nowMs, { ...tailnet('one'), requiresApproval: true });
  world.pass(1000);
  assert.is(reader.messages.length, 0);
});

test('a device is not told what it has said itself, but what was decided about it', () => {
  const { world, reader } = readerOf(2);
  world.change(1, { endpoints: ['192.0.2.9:9'], homeRegion: 901, discoKey: `discokey:${hexKey(50)}` });
  world.pass(500);
  assert.is(reader.messages.length, 0);
  world.change(1, { name: 'renamed' });
  world.pass(500);
  assert.equal(Object.keys(reader.last), ['Node']);
  assert.is(reader.last.Node!.Name, 'renamed.one.mote.internal.');
  assert.is(reader.last.Node!.MachineAuthorized, true);
  assert.ok(Object.keys(reader.last.Node!.CapMap!).length > 0);
});

test('a patch is never the first mention of a peer', () => {
  const { world, reader } = readerOf(1);
  world.put(device(2, { discoKey: '' }));
  world.pass(500);
  assert.is(reader.messages.length, 0);
  world.change(2, { endpoints: ['192.0.2.9:9'] });
  world.change(2, { discoKey: `discokey:${hexKey(50)}` });
  world.settle();
  world.change(2, { homeRegion: 901 });
  world.pass(500);
  assert.is(reader.messages.length, 2);
  assert.equal([Object.keys(reader.messages[0]!), ids(reader.messages[0]!.PeersChanged)], [['PeersChanged'], [2]]);
  assert.equal(reader.last, { PeersChangedPatch: [{ NodeID: 2, DERPRegion: 901 }] });
});

test('a peer that goes is removed, and one that comes and goes unseen is never mentioned', () => {
  const { world, reader } = readerOf(3);
  world.remove(2);
  world.put(device(8));
  world.remove(8);
  world.pass(500);
  assert.equal(reader.messages, [{ PeersRemoved: [2] }]);
});

test('a peer that goes and comes back before it was said is in one place of the message only', () => {
  const { world, reader } = readerOf(3);
  world.change(1, { name: 'x' });
  world.settle();
  world.change(2, { isApproved: false });
  world.change(2, { isApproved: true, endpoints: ['192.0.2.9:9'] });
  world.pass(500);
  assert.equal(ids(reader.last.PeersChanged), [2]);
  assert.not.ok('PeersRemoved' in reader.last);
  assert.equal(world.known(reader), world.expected(1));
});

test('the first change in a quiet time leaves at once, the next ones together after 100 ms', () => {
  const { world, reader } = readerOf(4);
  world.change(2, { endpoints: ['192.0.2.9:1'] });
  world.settle();
  assert.is(reader.messages.length, 1);
  world.change(3, { endpoints: ['192.0.2.9:2'] });
  world.change(2, { homeRegion: 901 });
  world.change(3, { endpoints: ['192.0.2.9:3'] });
  world.change(4, { name: 'new' });
  world.pass(99);
  assert.is(reader.messages.length, 1);
  world.pass(1);
  assert.is(reader.messages.length, 2);
  assert.equal(ids(reader.last.PeersChanged), [4]);
  assert.equal(reader.last.PeersChangedPatch, [
    { NodeID: 2, DERPRegion: 901 },
    { NodeID: 3, Endpoints: ['192.0.2.9:3'] },
  ]);
});

test('a profile is sent once, with the first peer that needs it, and again when it changes', () => {
  const { world, reader } = readerOf(2);
  world.put(device(3, { tags: ['tag:a'] }));
  world.pass(500);
  assert.equal(
    reader.last.UserProfiles!.map(({ LoginName }) => LoginName),
    ['tagged-devices'],
  );
  world.put(device(4, { tags: ['tag:b'] }));
  world.pass(500);
  assert.not.ok('UserProfiles' in reader.last);
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'nobody'));
  world.pass(500);
  assert.is(reader.messages.length, 2);
  world.sessions.userChanged(world.nowMs, user(1, 'one', 'renamed'));
  world.pass(500);
  assert.equal(reader.last, { UserProfiles: [{ ID: 1, LoginName: 'renamed', DisplayName: 'renamed' }] });
});

test('profiles of users that no peer has are not told', () => {
  const world = worldOf(2);
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'absent'));
  world.sessions.userChanged(world.nowMs, user(3, 'one', 'unapproved'));
  world.put(device(3, { user: 3, isApproved: false }));
  assert.not.match(world.read(1).texts.join(), /absent|unapproved/);
  assert.not.match(world.read(3).texts.join(), /absent|user1/);
});

test('an unapproved device sees itself and nothing else, and nobody sees it', () => {
  const world = worldOf(2);
  const reader = world.read(1);
  world.put(device(3, { isApproved: false }));
  const waiting = world.read(3);
  world.change(3, { endpoints: ['192.0.2.9:9'] });
  world.change(2, { endpoints: ['192.0.2.9:8'] });
  world.pass(1000);
  assert.is(waiting.messages.length, 1);
  assert.is(waiting.last.Node!.MachineAuthorized, false);
  assert.equal([waiting.last.DNSConfig, waiting.last.PacketFilters], [{}, { base: [] }]);
  assert.not.ok('Peers' in waiting.last);
  assert.equal(waiting.last.DERPMap, DERP_MAP);
  assert.not.match(reader.texts.join(), /d3\./);
  assert.not.match(waiting.texts.join(), /d1\.|d2\./);
});

test('an approval brings the whole map to the device, and the device to the others', () => {
  const { world, reader } = readerOf(2);
  world.put(device(3, { isApproved: false }));
  const approved = world.read(3);
  world.pass(500);
  world.change(3, { isApproved: true });
  world.pass(500);
  assert.equal([ids(approved.last.Peers), approved.last.Node!.MachineAuthorized], [[1, 2], true]);
  assert.ok(Object.keys(approved.last.Node!.CapMap!).length > 0);
  assert.equal(ids(reader.last.PeersChanged), [3]);
  for (const [id, each] of [
    [1, reader],
    [3, approved],
  ] as const)
    assert.equal(world.known(each), world.expected(id));
});

test('a revocation takes everything from the device, and the device from the others', () => {
  const { world, reader } = readerOf(3);
  const revoked = world.read(2);
  world.pass(500);
  world.change(2, { isApproved: false });
  world.pass(500);
  assert.equal(revoked.last.PeersRemoved, [1, 3]);
  assert.is(revoked.last.Node!.MachineAuthorized, false);
  assert.equal([revoked.last.DNSConfig, revoked.last.PacketFilters], [{}, { base: [] }]);
  assert.equal(reader.last.PeersRemoved, [2]);
  const count = revoked.messages.length;
  world.sessions.userChanged(world.nowMs, { ...user(2), loginName: 'later' });
  world.change(3, { name: 'later' });
  world.put(device(9));
  world.pass(1000);
  assert.is(revoked.messages.length, count);
});

test('a key that expires takes its device from the others, to the millisecond', () => {
  const { world, reader } = readerOf(2);
  const expiring = world.read(2);
  world.change(2, { keyExpiryMs: world.unixMs + 20_000 });
  world.pass(19_999);
  assert.is(reader.decoder.netmap.peers.count, 1);
  assert.is(world.sessions.nextTimeout(), world.nowMs + 1);
  world.pass(1);
  assert.equal(reader.last, { PeersRemoved: [2] });
  assert.equal(expiring.last.PeersRemoved, [1]);
  assert.is(expiring.last.Node!.KeyExpiry, '2026-01-02T03:04:26Z');
  world.change(2, { keyExpiryMs: world.unixMs + 50_000, nodeKey: `nodekey:${hexKey(60)}` });
  world.pass(500);
  assert.equal(ids(reader.last.PeersChanged), [2]);
  assert.equal(ids(expiring.last.Peers), [1]);
});

test('a wall clock that jumps is noticed at the next timeout', () => {
  const { world, reader } = readerOf(2);
  world.change(2, { keyExpiryMs: world.unixMs + 1e9 });
  world.pass(500);
  world.unixMs += 2e9;
  world.sessions.handleTimeout(world.nowMs, world.unixMs);
  world.pass(200);
  assert.equal(reader.last, { PeersRemoved: [2] });
});

test('a new stream takes the place of the older one, and the device stays online', () => {
  const { world, reader } = readerOf(2);
  const older = world.read(2);
  world.pass(500);
  const newer = world.read(2);
  world.pass(30_000);
  assert.equal([older.end, newer.end], ['replaced', undefined]);
  assert.equal(world.events.filter(({ type }) => type === 'presence').length, 2);
  assert.equal(reader.messages, [{ PeerSeenChange: { 2: false }, OnlineChange: { 2: true } }]);
  assert.ok(world.sessions.isOnline(2));
});

test('a device that has gone is offline after 10 s, with the time at which it went', () => {
  const { world, reader } = readerOf(2);
  const session = world.open(2);
  world.pass(500);
  world.sessions.close(world.nowMs, session);
  world.pass(9999);
  assert.ok(world.sessions.isOnline(2));
  const before = reader.messages.length;
  world.pass(1);
  assert.not.ok(world.sessions.isOnline(2));
  assert.is(reader.messages.length, before + 1);
  assert.equal(reader.last, { PeersChangedPatch: [{ NodeID: 2, Online: false, LastSeen: '2026-01-02T03:04:06Z' }] });
  assert.equal(world.events[world.events.length - 1], { type: 'presence', tailnet: 'one', device: 2, isOnline: false });
});

test('a device that comes back within 10 s was never away', () => {
  const { world, reader } = readerOf(2);
  world.sessions.close(world.nowMs, world.open(2));
  world.pass(9999);
  world.read(2);
  const before = reader.messages.length;
  world.pass(20_000);
  assert.ok(world.sessions.isOnline(2));
  assert.is(reader.messages.length, before);
});

test('a request that is no stream makes nobody online', () => {
  const { world } = readerOf(2);
  world.read(2, { isStream: false });
  world.pass(15_000);
  assert.not.ok(world.sessions.isOnline(2));
});

test('a reader that takes nothing for 30 s is cut off, to the millisecond, and told everything anew', () => {
  const { world, reader } = readerOf(3);
  const id = [...world.readers].find(([, each]) => each === reader)![0];
  world.frozen.add(id);
  world.change(2, { endpoints: ['192.0.2.9:9'] });
  world.settle();
  for (let i = 0; i < 50; i++) world.change(3, { endpoints: [`192.0.2.9:${i + 1}`] });
  world.pass(29_999);
  assert.is(reader.end, undefined);
  world.pass(1);
  assert.is(reader.end, 'slow');
  assert.is(world.sessions.sessionCount, 0);
  assert.is(world.take(id, 1000), 0);
  assert.equal(world.known(world.read(1)), world.expected(1));
});

test('a reader that takes a little now and then is not cut off, and gets the latest state', () => {
  const { world, reader } = readerOf(3);
  const id = [...world.readers].find(([, each]) => each === reader)![0];
  world.frozen.add(id);
  world.change(2, { name: 'first' });
  world.settle();
  for (let i = 0; i < 8; i++) {
    world.pass(29_000);
    world.take(id, 7);
    world.change(3, { endpoints: [`192.0.2.9:${i + 1}`] });
  }
  assert.is(reader.end, undefined);
  world.frozen.clear();
  world.drain(id);
  world.pass(500);
  assert.equal(world.known(reader), world.expected(1));
  assert.ok(reader.messages.length <= 4);
});

test('a keepalive comes 50 to 59 s after the last message, with the time in it and nothing else', () => {
  const times: number[] = [];
  for (let seed = 1; seed <= 30; seed++) {
    let state = seed / 31;
    const world = new World({}, () => (state = (state * 7.13) % 1));
    world.put(device(1));
    const reader = world.read(1);
    const start = world.nowMs;
    while (reader.messages.length < 2) world.pass(1000 - (world.nowMs % 1000));
    times.push(world.nowMs - start);
    assert.equal(Object.keys(reader.last), ['KeepAlive', 'ControlTime']);
    assert.is(reader.last.KeepAlive, true);
  }
  assert.ok(Math.min(...times) >= 50_000 && Math.max(...times) <= 60_000);
  assert.ok(new Set(times).size > 5);
});

test('keepalives go on, a change puts the next one off, and who did not ask gets none', () => {
  const world = worldOf(2);
  const [reader, quiet] = [world.read(1), world.read(2, { keepAlive: false })];
  world.pass(40_000);
  world.change(2, { endpoints: ['192.0.2.9:9'] });
  world.pass(49_000);
  assert.not.ok(reader.messages.some(({ KeepAlive }) => KeepAlive));
  world.pass(300_000);
  const keepAlives = reader.messages.filter(({ KeepAlive }) => KeepAlive).length;
  assert.ok(keepAlives >= 5 && keepAlives <= 6, String(keepAlives));
  assert.not.ok(quiet.messages.some(({ KeepAlive }) => KeepAlive));
  assert.is(quiet.end, undefined);
});

test('no other message has the length of a keepalive', () => {
  const world = worldOf(2);
  const readers = [world.read(1), world.read(1, { isStream: false, isZstd: true })];
  const plain = readers[0]!;
  world.pass(65_000);
  const keepAlive = plain.texts.find(text => text.startsWith('{"KeepAlive"'))!.length;
  const found = new Set<number>();
  for (let digits = 1; digits <= 15; digits++) {
    const id = 10 ** digits + 3;
    world.put(device(id, { addresses: ['100.64.9.9', 'fd7a::9'] }));
    world.pass(500);
    world.change(id, { homeRegion: 9 });
    world.pass(500);
    world.remove(id);
    world.pass(500);
  }
  plain.texts.forEach((text, i) => {
    const trimmed = text.trimEnd();
    if (trimmed.length === keepAlive) found.add(i);
    if (!text.startsWith('{"KeepAlive"')) assert.is.not(plain.frameBytes[i], keepAlive, text);
  });
  assert.ok(found.size > 1, 'one of the messages would have had that length');
});

test('another relay map reaches everybody', () => {
  const { world, reader } = readerOf(1);
  world.put(device(2, { isApproved: false }));
  const waiting = world.read(2);
  const regions = { 901: { ...DERP_MAP.Regions!['900']!, RegionID: 901, Nodes: [] } };
  world.sessions.setDerpMap(world.nowMs, { Regions: regions });
  world.pass(500);
  for (const each of [reader, waiting]) assert.equal(each.last, { DERPMap: { Regions: regions } });
  assert.equal(world.read(1).last.DERPMap, { Regions: regions });
});

test('a device that is removed loses its session, and so does a tailnet with all of its devices', () => {
  const { world, reader } = readerOf(2);
  const removed = world.read(2);
  world.remove(2);
  world.settle();
  assert.is(removed.end, 'gone');
  assert.not.ok(world.sessions.isOnline(2));
  world.sessions.removeTailnet(world.nowMs, 'one');
  world.settle();
  assert.is(reader.end, 'gone');
  assert.is(world.sessions.sessionCount, 0);
  assert.is(world.sessions.cacheBytes, 0);
  assert.is(world.sessions.nextTimeout(), Infinity);
});

test('a session for a device that is not there, or not in order, ends at once', () => {
  const world = worldOf(1);
  world.records.set(5, device(5));
  assert.is(world.read(5).end, 'gone');
  world.put(device(6, { nodeKey: 'nodekey:00' }));
  assert.is(world.read(6).end, 'gone');
  const reader = world.read(1);
  world.change(1, { addresses: ['x', 'y'] });
  world.settle();
  assert.is(reader.end, 'gone');
});

test('a malformed device is shown to nobody, and poisons no message', () => {
  const { world, reader } = readerOf(2);
  world.put(device(5, { addresses: ['100.64.0.5/8', 'fd7a::5'] }));
  world.change(2, { nodeKey: 'nodekey:xyz' });
  world.pass(500);
  assert.equal(reader.messages, [{ PeersRemoved: [2] }]);
});

test('more changes than one message holds are several, each in order, without waiting', () => {
  const world = worldOf(40, { messageBytes: 2000 });
  const reader = world.read(1);
  world.pass(500);
  reader.messages.length = 0;
  const session = [...world.readers.keys()][0]!;
  world.frozen.add(session);
  for (let id = 40; id >= 2; id--) world.change(id, { name: `n${id}` });
  world.settle();
  world.frozen.clear();
  world.drain(session);
  const batches = reader.messages.map(({ PeersChanged }) => ids(PeersChanged)!);
  assert.ok(batches.length > 5 && batches.every(({ length }) => length <= 5));
  assert.equal(
    batches.flat(),
    Array.from({ length: 39 }, (_, i) => i + 2),
  );
});

test('a whole map that is taken slowly is whole, as it is when each peer has its turn', () => {
  const world = worldOf(200);
  const session = world.open(1);
  world.frozen.add(session);
  world.settle();
  const reader = world.readers.get(session)!;
  world.take(session, 20_000);
  world.change(2, { endpoints: [] }); // was said already
  world.change(190, { endpoints: ['192.0.2.99:9'] }); // not yet
  world.remove(150);
  world.remove(3);
  world.put(device(195.5 * 2 + 10)); // behind the others
  while (reader.messages.length === 0) world.take(session, 50);
  const first = reader.messages[0]!;
  const peers = ids(first.Peers)!;
  assert.ok(peers.includes(190) && !peers.includes(150) && peers.includes(3));
  assert.equal(first.Peers!.find(({ ID }) => ID === 190)!.Endpoints, ['192.0.2.99:9']);
  for (let id = 2; id <= 200; id++) if (id !== 150) assert.ok(peers.includes(id), `peer ${id}`);
  world.frozen.clear();
  world.drain(session);
  world.pass(500);
  assert.equal(world.known(reader), world.expected(1));
});

test('peers that grow beyond the room of a slow whole map come behind it', () => {
  const world = worldOf(60);
  const session = world.open(1);
  world.frozen.add(session);
  world.settle();
  world.take(session, 3000);
  const endpoints = Array.from({ length: 32 }, (_, i) => `198.51.100.${i}:60000`);
  for (let id = 20; id < 60; id++) world.change(id, { endpoints });
  world.frozen.clear();
  world.drain(session);
  world.pass(500);
  const reader = world.readers.get(session)!;
  assert.ok(reader.messages[0]!.Peers!.length < 59);
  assert.equal(world.known(reader), world.expected(1));
});

test('a user that grows while a whole map is taken slowly is told behind it', () => {
  const world = worldOf(1);
  const session = world.open(1);
  world.frozen.add(session);
  world.settle();
  world.take(session, 100);
  world.sessions.userChanged(world.nowMs, user(1, 'one', 'x'.repeat(90)));
  world.frozen.clear();
  world.drain(session);
  world.pass(500);
  const reader = world.readers.get(session)!;
  assert.is(reader.decoder.netmap.users.get(1)?.LoginName, 'x'.repeat(90));
});

test('a device that is revoked while it takes its whole map gets no more peers', () => {
  const world = worldOf(100);
  const session = world.open(1);
  world.frozen.add(session);
  world.settle();
  world.take(session, 20_000);
  world.change(1, { isApproved: false });
  world.frozen.clear();
  world.drain(session);
  world.pass(500);
  const reader = world.readers.get(session)!;
  assert.ok(reader.messages[0]!.Peers!.length < 99);
  assert.equal(world.known(reader), world.expected(1));
});

test('a device that is revoked before it takes the profiles of its whole map gets none of others', () => {
  const world = worldOf(2);
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'secret'));
  world.put(device(3, { user: 2 }));
  const session = world.open(1);
  world.frozen.add(session);
  world.settle();
  world.take(session, 100);
  world.change(1, { isApproved: false });
  world.frozen.clear();
  world.drain(session);
  world.pass(500);
  const reader = world.readers.get(session)!;
  assert.equal([...reader.decoder.netmap.users.keys()], [1]);
  assert.not.match(reader.texts.join(), /secret/);
});

test('the bytes of peers that are kept stay within their limit', () => {
  const world = worldOf(50, { cacheBytes: 5000 });
  for (let id = 1; id <= 50; id++) assert.equal(world.known(world.read(id)), world.expected(id));
  assert.ok(world.sessions.cacheBytes > 0 && world.sessions.cacheBytes <= 5000);
});

test('zstd is for who asks, and says the same', () => {
  const world = worldOf(300);
  const [plain, packed] = [world.read(1), world.read(2, { isZstd: true })];
  world.change(3, { name: 'x' });
  world.pass(60_000);
  assert.equal(world.known(plain), world.expected(1));
  assert.equal(world.known(packed), world.expected(2));
  assert.throws(() => unzstd(new Uint8Array(20)));
});

test('two worlds that are told the same say the same bytes', () => {
  const texts = [1, 2].map(() => {
    const world = worldOf(5);
    const reader = world.read(2, { isZstd: true });
    world.change(3, { name: 'x' });
    world.pass(200_000);
    return reader.texts.join('\n');
  });
  assert.is(texts[0], texts[1]);
});

test('what cannot be is refused', () => {
  const world = worldOf(1);
  world.open(1);
  const again = {
    device: device(1),
    capability: 1,
    isSmall: false,
    isZstd: false,
    isStream: true,
    omitPeers: false,
    keepAlive: true,
  };
  assert.throws(() => world.sessions.open(0, 0, 1, again), /"id"/);
  assert.throws(() => world.sessions.addTailnet(tailnet('one'), []), /"tailnet"/);
  const empty = new MapSessions({ random: () => {}, derpMap: DERP_MAP });
  empty.removeTailnet(0, 'none');
  empty.deviceChanged(0, 0, device(1), undefined);
  empty.close(0, 7);
  assert.equal([empty.pollReady(), empty.pollEvent(), empty.nextTimeout()], [undefined, undefined, Infinity]);
});

test.run();
