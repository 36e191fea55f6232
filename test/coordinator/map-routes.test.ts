/** Routes in maps: which are in force, and which device others send their packets to. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { routesInForce } from '../../lib/coordinator/map-routes.ts';
import { device, type Reader, World } from './map-support.ts';

const test = suite('map routes');
const NET = '10.1.0.0/16';
const ROUTER = Object.freeze({ advertisedRoutes: [NET], approvedRoutes: [NET] });

function worldOf(count: number): World {
  const world = new World();
  for (let id = 1; id <= count; id++) world.put(device(id));
  world.settle();
  return world;
}

/** Who serves a route for a reader. */
function serversOf({ decoder }: Reader, route = '10.1.0.0'): number[] {
  const { peers } = decoder.netmap;
  return Array.from({ length: peers.count }, (_, slot) => peers.peerAt(slot))
    .filter(({ allowedIPs }) => allowedIPs.some(({ bytes }) => bytes.join('.') === route))
    .map(({ id }) => id);
}

test('routes are in force that a device offers and may serve', () => {
  const both = { advertisedRoutes: [NET, '10.2.0.0/16', '::/0'], approvedRoutes: ['::/0', NET, '10.3.0.0/16'] };
  assert.equal(routesInForce(both), [NET, '::/0']);
  assert.equal(routesInForce({ advertisedRoutes: [NET], approvedRoutes: [] }), []);
  assert.equal(routesInForce({ advertisedRoutes: [], approvedRoutes: [NET] }), []);
});

test('what is no canonical prefix, an IPv4 prefix in IPv6 form or one address of the tailnet is not in force', () => {
  const wrong = ['10.1.0.1/16', '10.1.0.0', 'x', '10.0.0.0/33', '::ffff:10.0.0.0/104', '::ffff:0:0/96'];
  const own = ['100.64.0.9/32', 'fd7a:115c:a1e0::9/128'];
  const good = ['100.64.0.0/24', '192.0.2.1/32', '::/0', 'fd7a:115c:a1e0:b1a::/64'];
  const all = [...wrong, ...own, ...good, ...good];
  assert.equal(routesInForce({ advertisedRoutes: all, approvedRoutes: all }), good.sort());
});

test('a route in force is among what others send to a device, and named as its own', () => {
  const world = worldOf(2);
  const reader = world.read(1);
  const routes = [NET, '0.0.0.0/0', '::/0'];
  world.change(2, { advertisedRoutes: routes });
  world.pass(500);
  assert.is(reader.messages.length, 1);
  world.change(2, { approvedRoutes: routes });
  world.pass(500);
  const [peer] = reader.last.PeersChanged!;
  assert.equal(peer!.AllowedIPs!.slice(2), ['0.0.0.0/0', NET, '::/0']);
  assert.equal(peer!.PrimaryRoutes, [NET]);
  world.change(2, { approvedRoutes: [] });
  world.pass(500);
  assert.equal(reader.last.PeersChanged![0]!.AllowedIPs!.length, 2);
  assert.not.ok('PrimaryRoutes' in reader.last.PeersChanged![0]!);
});

test('the device itself is told what it serves', () => {
  const world = worldOf(2);
  const reader = world.read(2);
  world.change(2, ROUTER);
  world.pass(500);
  assert.equal(reader.last.Node!.PrimaryRoutes, [NET]);
  assert.equal(reader.last.Node!.AllowedIPs!.slice(2), [NET]);
});

test('one device serves a route: the lowest id that is online, else the lowest', () => {
  const world = worldOf(4);
  const reader = world.read(1);
  for (const id of [4, 3, 2]) world.change(id, ROUTER);
  world.pass(500);
  assert.equal(serversOf(reader), [2]);
  const [three, four] = [world.open(3), world.open(4)];
  world.pass(500);
  assert.equal(serversOf(reader), [3]);
  world.sessions.close(world.nowMs, three);
  world.pass(9000);
  assert.equal(serversOf(reader), [3], 'it may come back');
  world.pass(1500);
  assert.equal(serversOf(reader), [4]);
  world.sessions.close(world.nowMs, four);
  world.pass(11_000);
  assert.equal(serversOf(reader), [2]);
});

test('a device that goes, expires or loses its approval leaves its routes to the next', () => {
  const world = worldOf(5);
  const reader = world.read(1);
  for (const id of [2, 3, 4, 5]) world.change(id, ROUTER);
  world.pass(500);
  world.remove(2);
  world.pass(500);
  assert.equal(serversOf(reader), [3]);
  world.change(3, { isApproved: false });
  world.pass(500);
  assert.equal(serversOf(reader), [4]);
  world.change(4, { keyExpiryMs: world.unixMs + 1000 });
  world.pass(2000);
  assert.equal(serversOf(reader), [5]);
  world.change(3, { isApproved: true });
  world.pass(500);
  assert.equal(serversOf(reader), [3]);
  world.change(3, { discoKey: '' });
  world.pass(500);
  assert.equal(serversOf(reader), [5]);
});

test('exit routes are those of every device that has them', () => {
  const world = worldOf(3);
  const exit = { advertisedRoutes: ['0.0.0.0/0', '::/0'], approvedRoutes: ['0.0.0.0/0', '::/0'] };
  for (const id of [2, 3]) world.change(id, exit);
  const reader = world.read(1);
  assert.equal(
    reader.last.Peers!.map(({ AllowedIPs }) => AllowedIPs!.slice(2)),
    [
      ['0.0.0.0/0', '::/0'],
      ['0.0.0.0/0', '::/0'],
    ],
  );
});

test.run();
