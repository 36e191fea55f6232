/** The policy in maps, rule by rule: who is told of whom, which filter each has, what the policy adds to a device. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { device, hexKey, type Reader, user, World } from './map-support.ts';

const test = suite('map policy');

const TAGS = { 'tag:web': [], 'tag:db': [] };

/** A policy of `source destination` lines. */
function policy(lines: readonly string[], more: object = {}): string {
  const acls = lines.map(line => line.split(' ')).map(([src, dst]) => ({ action: 'accept', src: [src], dst: [dst] }));
  return JSON.stringify({ tagOwners: TAGS, acls, ...more });
}

/** A world: ann has devices 1 and 2, bob has 3; 4 is tagged `web`, 5 `db`. */
function worldOf(text?: string): World {
  const world = new World();
  for (const [id, name] of ['ann', 'bob'].entries()) {
    const record = user(id + 1, 'one', name);
    world.users.set(id + 1, record);
    world.sessions.userChanged(world.nowMs, record);
  }
  for (const id of [1, 2, 3]) world.put(device(id, { user: id === 3 ? 2 : 1 }));
  world.put(device(4, { tags: ['tag:web'] }));
  world.put(device(5, { tags: ['tag:db'] }));
  if (text !== undefined) world.setPolicyText(text);
  world.settle();
  return world;
}

/** Readers of these devices who have their whole map and are due nothing. */
function readersOf(world: World, ids: readonly number[]): Reader[] {
  const readers = ids.map(id => world.read(id));
  world.pass(1000);
  for (const reader of readers) {
    reader.messages.length = 0;
    reader.texts.length = 0;
  }
  return readers;
}

function peersOf({ decoder }: Reader): number[] {
  const { peers } = decoder.netmap;
  return Array.from({ length: peers.count }, (_, slot) => peers.peerAt(slot).id);
}

function see(world: World): Record<number, number[]> {
  const out: Record<number, number[]> = {};
  for (const id of world.records.keys()) out[id] = peersOf(world.read(id, { isStream: false }));
  return out;
}

const ids = (nodes: readonly { readonly ID: number }[] | null | undefined) => nodes?.map(({ ID }) => ID);

test('a device is told of those that a rule connects with it, in either direction, and of nobody else', () => {
  const world = worldOf(policy(['ann@ tag:web:80', 'tag:web tag:db:5432']));
  assert.equal(see(world), { 1: [4], 2: [4], 3: [], 4: [1, 2, 5], 5: [4] });
});

test('devices of one user who may reach their own are told of these alone', () => {
  const world = worldOf(policy(['autogroup:member autogroup:self:*']));
  world.put(device(6, { user: 2 }));
  assert.equal(see(world), { 1: [2], 2: [1], 3: [6], 4: [], 5: [], 6: [3] });
});

test('a policy that allows nothing shows nobody, and no policy everybody', () => {
  const world = worldOf('{"acls": []}');
  const [reader] = readersOf(world, [1]);
  assert.equal([see(world)[1], reader!.decoder.netmap.filterRules], [[], []]);
  world.setPolicyText(undefined);
  world.pass(500);
  assert.equal(peersOf(reader!), [2, 3, 4, 5]);
  assert.is(reader!.decoder.netmap.filterRules.length, 1);
});

test('without a policy the filter is that of a policy which says nothing, as routes come and go', () => {
  const worlds = [worldOf(undefined), worldOf('{}')];
  const readers = worlds.map(world => world.read(1));
  const routes = ['10.1.0.0/16', 'fd00::/64', '0.0.0.0/0', '::/0'];
  const steps: ((world: World) => void)[] = [
    () => undefined,
    world => world.change(3, { advertisedRoutes: routes }),
    world => world.change(3, { approvedRoutes: routes }),
    world => world.put(device(6, { advertisedRoutes: routes.slice(0, 1), approvedRoutes: routes.slice(0, 1) })),
    world => world.change(3, { isApproved: false }),
    world => world.remove(6),
    world => world.change(3, { isApproved: true }),
    world => world.change(3, { approvedRoutes: routes.slice(2) }),
  ];
  const seen = steps.map(step => {
    for (const world of worlds) step(world);
    for (const world of worlds) world.pass(1000);
    const [none, empty] = readers.map(({ decoder }) => decoder.netmap.filterRules);
    assert.equal(none, empty);
    const later = worlds[0]!.read(2, { isStream: false }).decoder.netmap.filterRules;
    assert.equal(later, none);
    return none![0]!.SrcIPs.filter(text => text.includes('/')).sort();
  });
  const tailnet = 'fd7a:115c:a1e0::/48';
  const both = ['10.1.0.0/16', 'fd00::/64', tailnet];
  const one = ['10.1.0.0/16', tailnet];
  assert.equal(seen, [[tailnet], [tailnet], both, both, one, [tailnet], both, [tailnet]]);
});

test('each device has the filter that is about it', () => {
  const world = worldOf(policy(['ann@ tag:web:80', '100.64.0.3 tag:db:1-9']));
  const port = () => ({ First: 80, Last: 80 });
  assert.equal(world.read(4).last.PacketFilters, {
    base: [
      {
        SrcIPs: ['100.64.0.1-100.64.0.2', 'fd7a:115c:a1e0::1:2/127'],
        DstPorts: [
          { IP: '100.64.0.4', Ports: port() },
          { IP: 'fd7a:115c:a1e0::1:5', Ports: port() },
        ],
      },
    ],
  });
  assert.equal(world.read(5).last.PacketFilters!['base']![0]!.SrcIPs, ['100.64.0.3']);
  assert.equal(world.read(1).last.PacketFilters, { base: [] });
});

test('a new policy takes peers and access away in one message, and brings others in it', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const [web] = readersOf(world, [4]);
  world.setPolicyText(policy(['bob@ tag:web:443']));
  world.settle();
  assert.is(web!.messages.length, 1);
  assert.equal(Object.keys(web!.last), ['PacketFilters', 'UserProfiles', 'PeersRemoved', 'PeersChanged']);
  assert.equal([web!.last.PeersRemoved, ids(web!.last.PeersChanged)], [[1, 2], [3]]);
  assert.equal(web!.last.PacketFilters!['base']![0]!.SrcIPs, ['100.64.0.3', 'fd7a:115c:a1e0::1:4']);
});

test('what a policy does not change for a device is not said to it again', () => {
  const world = worldOf(policy(['ann@ tag:web:80', 'ann@ tag:db:80']));
  const [one, web, db] = readersOf(world, [1, 4, 5]);
  world.setPolicyText(`// as before\n${policy(['ann@ tag:web:80', 'ann@ tag:db:80'])}`);
  world.pass(1000);
  assert.equal([one!.messages, web!.messages, db!.messages], [[], [], []]);
  world.setPolicyText(policy(['ann@ tag:web:80', 'ann@ tag:db:81']));
  world.pass(1000);
  assert.equal([one!.messages, web!.messages], [[], []]);
  assert.equal(db!.messages.map(Object.keys), [['PacketFilters']]);
});

test('a device that comes is told to those that a rule connects with it, and changes the filters that name it', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const [one, bob, web, db] = readersOf(world, [1, 3, 4, 5]);
  world.put(device(6));
  world.pass(500);
  assert.equal([one!.messages, bob!.messages, db!.messages], [[], [], []]);
  assert.equal(Object.keys(web!.last), ['PacketFilters', 'PeersChanged']);
  assert.equal(ids(web!.last.PeersChanged), [6]);
  world.remove(6);
  world.pass(500);
  assert.equal([Object.keys(web!.last), web!.last.PeersRemoved], [['PacketFilters', 'PeersRemoved'], [6]]);
});

test('a device that gets a tag is another one for everybody, at once', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const [one, two, bob, web] = readersOf(world, [1, 2, 3, 4]);
  world.change(2, { tags: ['tag:web'] });
  world.pass(500);
  assert.equal(ids(one!.last.PeersChanged), [2]);
  assert.equal([peersOf(two!), two!.decoder.netmap.filterRules.length], [[1], 1]);
  assert.equal(two!.last.PeersRemoved, [4]);
  assert.equal(web!.last.PeersRemoved, [2]);
  assert.equal(bob!.messages, []);
});

test('a user of another name is another one for the policy', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const [one, bob, web] = readersOf(world, [1, 3, 4]);
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'ann'));
  world.sessions.userChanged(world.nowMs, user(1, 'one', 'zoe'));
  world.pass(500);
  assert.equal([peersOf(one!), peersOf(bob!), peersOf(web!)], [[], [4], [3]]);
});

test("a device that is not approved, or whose key has expired, is in nobody's filter", () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const [web] = readersOf(world, [4]);
  world.put(device(6, { isApproved: false }));
  world.pass(500);
  assert.equal(web!.messages, []);
  world.change(2, { keyExpiryMs: world.unixMs + 1000 });
  world.pass(999);
  const before = web!.messages.length;
  world.pass(200);
  assert.is(web!.messages.length, before + 1);
  assert.equal(web!.last.PeersRemoved, [2]);
  assert.equal(web!.last.PacketFilters!['base']![0]!.SrcIPs, ['100.64.0.1', 'fd7a:115c:a1e0::1:2']);
});

test('profiles are those of peers that a device is told of', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const bob = world.read(3);
  assert.equal(
    [...bob.decoder.netmap.users.values()].map(({ LoginName }) => LoginName),
    ['bob'],
  );
  assert.not.match(world.read(1).texts.join(), /bob/);
  assert.equal([...world.read(4).decoder.netmap.users.keys()].sort(), [1, 2_147_455_555]);
});

test('a user whose devices are out of sight is not told any more', () => {
  const world = worldOf(policy(['bob@ tag:web:80', 'ann@ tag:web:80']));
  const [web] = readersOf(world, [4]);
  world.setPolicyText(policy(['ann@ tag:web:80']));
  world.pass(500);
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'secret'));
  world.sessions.userChanged(world.nowMs, user(1, 'one', 'ann'));
  world.pass(500);
  assert.not.match(web!.texts.join(), /secret/);
  assert.equal(
    web!.last.UserProfiles!.map(({ LoginName }) => LoginName),
    ['ann'],
  );
  world.setPolicyText(policy(['secret@ tag:web:80']));
  world.pass(500);
  assert.equal(
    web!.last.UserProfiles!.map(({ LoginName }) => LoginName),
    ['secret'],
  );
});

test('a reader that wants no peers gets its filter and nothing about others', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const web = world.read(4, { omitPeers: true });
  world.pass(500);
  world.setPolicyText(policy(['ann@ tag:web:81', 'bob@ tag:web:81']));
  world.pass(500);
  assert.equal(web.messages.slice(1).map(Object.keys), [['PacketFilters']]);
});

test('clients that do not know filters by name get the one without', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  const [old, named] = [world.read(4, { capability: 80 }), world.read(4, { capability: 81, isStream: false })];
  assert.not.ok('PacketFilters' in old.last);
  assert.equal(old.last.PacketFilter, named.last.PacketFilters!['base']);
  world.setPolicyText('{"acls": []}');
  world.pass(500);
  assert.equal(old.last.PacketFilter, []);
  assert.equal(old.decoder.netmap.filterRules, []);
});

test('a rule names protocols only where the policy does', () => {
  const acls = [
    { action: 'accept', src: ['ann@'], dst: ['tag:web:80'] },
    { action: 'accept', src: ['bob@'], proto: 'tcp', dst: ['tag:web:80'] },
  ];
  const world = worldOf(JSON.stringify({ tagOwners: TAGS, acls }));
  const [open, tcp] = world.read(4).last.PacketFilters!['base']!;
  assert.equal(['IPProto' in open!, tcp!.IPProto], [false, [6]]);
});

test('attributes are among what a device may do, while it is a member', () => {
  const nodeAttrs = [{ target: ['ann@'], attr: ['funnel', 'with "quotes"'] }];
  const text = policy(['* *:*'], { nodeAttrs, randomizeClientPort: true });
  const world = worldOf(text);
  const [one, bob] = readersOf(world, [1, 3]);
  const base = 'https://tailscale.com/cap/file-sharing';
  const capabilities = ({ decoder }: Reader) => decoder.netmap.self!.capabilities;
  assert.equal(capabilities(one!), [base, 'funnel', 'randomize-client-port']);
  assert.equal(capabilities(bob!), [base, 'randomize-client-port']);
  world.sessions.userChanged(world.nowMs, user(1, 'one', 'zoe'));
  world.pass(500);
  assert.equal(capabilities(one!), [base, 'randomize-client-port']);
  world.change(1, { isApproved: false });
  world.pass(500);
  assert.equal(capabilities(one!), [base]);
  world.setPolicyText(policy(['* *:*']));
  world.pass(500);
  assert.equal(bob!.messages.filter(({ Node }) => Node).length, 1);
  assert.equal(capabilities(bob!), [base]);
});

test('another sender for a route, with nothing else new, shows a device to those whom the policy lets go there', () => {
  const routes = { advertisedRoutes: ['10.1.0.0/16'], approvedRoutes: ['10.1.0.0/16'] };
  const world = worldOf(policy(['ann@ net:80'], { hosts: { net: '10.1.0.0/16' } }));
  world.change(4, routes);
  const [one] = readersOf(world, [1]);
  world.change(5, routes);
  world.pass(500);
  assert.equal([ids(one!.last.PeersChanged), peersOf(one!)], [[5], [4, 5]]);
});

test('what * means changes with the routes, also for pairs of other devices', () => {
  const world = worldOf();
  world.put(device(6, { addresses: ['100.115.92.6', 'fd7a:115c:a1e1::6'] }));
  world.setPolicyText(policy(['* 100.64.0.3:80']));
  const [bob] = readersOf(world, [3]);
  assert.not.ok(peersOf(bob!).includes(6));
  world.change(4, { advertisedRoutes: ['100.115.92.0/24'], approvedRoutes: ['100.115.92.0/24'] });
  world.pass(500);
  assert.ok(peersOf(bob!).includes(6));
});

test('devices with the address of another one, or with none, are nobody to the policy, and stop nothing', () => {
  const world = worldOf(policy(['ann@ ann@:80']));
  const [one] = readersOf(world, [1]);
  const twin = { nodeKey: `nodekey:${hexKey(77)}`, discoKey: `discokey:${hexKey(78)}` };
  world.put(device(7, { ...twin, addresses: [device(1).addresses[0], 'fd7a:115c:a1e0::77'] }));
  world.pass(500);
  assert.equal(peersOf(one!), [2]);
  world.put(device(7, { ...twin, addresses: ['100.64.0.77', 'fd7a:115c:a1e0::77'] }));
  world.pass(500);
  assert.equal(peersOf(one!), [2, 7]);
  world.put(device(7, { ...twin, addresses: ['nonsense', ''] as unknown as [string, string] }));
  world.pass(500);
  assert.equal(peersOf(one!), [2]);
  // Also when the policy is compiled anew over such devices.
  world.put(device(8, { ...twin, addresses: device(2).addresses }));
  world.setPolicyText(policy(['ann@ ann@:81']));
  world.pass(500);
  assert.equal(peersOf(one!), [2]);
});

test('devices that claim an address together are not both let in', () => {
  const world = worldOf(policy(['ann@ tag:web:80', 'bob@ tag:web:80']));
  const free = 'fd7a:115c:a1e0::77';
  for (const id of [7, 8])
    world.put(
      device(id, { user: 2, nodeKey: `nodekey:${hexKey(70 + id)}`, addresses: [device(id - 6).addresses[0], free] }),
    );
  const [web] = readersOf(world, [4]);
  assert.equal(peersOf(web!), [1, 2, 3]);
  world.remove(1);
  world.remove(2);
  world.sessions.userChanged(world.nowMs, user(2, 'one', 'ann'));
  world.pass(500);
  assert.equal(peersOf(web!), [3, 7]);
});

test('many devices that change at once are looked at together', () => {
  const world = worldOf(policy(['ann@ tag:web:80']));
  for (let id = 10; id < 40; id++) world.put(device(id));
  const [web, bob] = readersOf(world, [4, 3]);
  world.sessions.userChanged(world.nowMs, user(1, 'one', 'zoe'));
  world.pass(500);
  assert.equal([peersOf(web!), peersOf(bob!)], [[], []]);
  world.sessions.userChanged(world.nowMs, user(1, 'one', 'ann'));
  world.pass(500);
  assert.is(peersOf(web!).length, 32);
});

test("a policy is one tailnet's", () => {
  const world = worldOf();
  world.addTailnet('two', [user(90, 'two', 'ann')]);
  for (const id of [91, 92]) world.put(device(id, { tailnet: 'two', user: 90 }));
  const [one, other] = readersOf(world, [1, 91]);
  world.setPolicyText('{"acls": []}', 'two');
  world.setPolicyText('{"acls": []}', 'three');
  world.pass(500);
  assert.equal([peersOf(one!).length, one!.messages], [4, []]);
  assert.equal(peersOf(other!), []);
});

test('a policy that comes before the devices and their users is the one that they are judged by', () => {
  const world = new World();
  world.setPolicyText(policy(['ann@ tag:web:80']));
  world.put(device(1));
  world.put(device(2, { user: 7 }));
  world.put(device(4, { tags: ['tag:web'] }));
  const [web] = readersOf(world, [4]);
  assert.equal(peersOf(web!), []);
  world.sessions.userChanged(world.nowMs, user(7, 'one', 'ann'));
  world.pass(500);
  assert.equal(peersOf(web!), [2]);
});

test.run();
