import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { DERP_CLIENT_LIMITS_SMALL } from '../../lib/derp/client-types.ts';
import { answerRelayRequest } from '../../lib/derp/http.ts';
import type { WireDerpNode, WireDerpRegion } from '../../lib/derp/map.ts';
import { RegionTable } from '../../lib/derp/region-table.ts';
import { DerpRelay } from '../../lib/derp/relay.ts';
import { RelayLinks, relayRequest } from '../../lib/device/relay-links.ts';
import { type StreamCommand, Streams } from '../../lib/device/streams.ts';
import { seededRandom } from '../sim/memory-host.ts';

const test = suite('relay-links');
const noble = createNobleSuite();
const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(0x21));
const OTHER = new Uint8Array(32).fill(9);

function region(id: number, hosts: readonly string[] = [`r${id}.test`], more: Partial<WireDerpRegion> = {}) {
  const Nodes = hosts.map((HostName, i): WireDerpNode => ({ Name: `${id}${i}`, RegionID: id, HostName }));
  return { RegionID: id, RegionCode: `r${id}`, RegionName: '', Nodes, ...more };
}

/** Links on a clock, with a real relay machine at the other end of every stream that is answered. */
class World {
  nowMs = 1000;
  readonly streams = new Streams();
  readonly links = new RelayLinks({
    random: seededRandom(3),
    suite: noble,
    privateKey: KEY,
    limits: DERP_CLIENT_LIMITS_SMALL,
    streams: this.streams,
    maxLinks: 2,
  });
  readonly opened: { id: number; host: string }[] = [];
  readonly closed: number[] = [];
  readonly events: string[] = [];
  readonly connected: string[] = [];

  regions(...regions: readonly WireDerpRegion[]): this {
    this.links.setRegions(this.nowMs, RegionTable.of(...regions));
    this.look();
    // Several regions are to be measured first.
    return this.opened.length === 0 ? this.wait(3000) : this;
  }

  look(): this {
    for (let event = this.links.pollEvent(this.nowMs); event !== undefined; event = this.links.pollEvent(this.nowMs))
      (event.type === 'relay-connected' ? this.connected : this.events).push(`${event.type} ${event.region}`);
    for (let command = this.streams.pollCommand(); command !== undefined; command = this.streams.pollCommand())
      this.#note(command);
    return this;
  }

  #note(command: StreamCommand): void {
    if (command.type === 'open') this.opened.push({ id: command.id, host: command.request.host });
    else this.closed.push(command.id);
  }

  /** Time passes, timers act. */
  wait(ms: number): this {
    const untilMs = this.nowMs + ms;
    for (let due = this.links.nextTimeout(); due <= untilMs; due = this.links.nextTimeout()) {
      this.nowMs = Math.max(this.nowMs, due);
      this.links.handleTimeout(this.nowMs);
      this.look();
    }
    this.nowMs = untilMs;
    return this.look();
  }

  fail(id: number): this {
    this.streams.handleFailed(this.nowMs, id, new NetError('ERR_CONNECTION_REFUSED', 'refused'));
    return this.look();
  }

  /** Lets a relay answer a stream and admit us, or hang up on us once it has heard who we are. */
  connect(id: number, isAdmitted = true): this {
    const relay = new DerpRelay({ random: seededRandom(5), suite: noble, privateKey: KEY });
    const request = { method: 'GET', target: '/derp', headers: { connection: 'Upgrade', upgrade: 'DERP' } };
    const answer = answerRelayRequest(request, relay.publicKey);
    if (answer?.type !== 'derp') throw new Error('no upgrade');
    this.streams.handleOpened(this.nowMs, id);
    this.streams.handleBytes(this.nowMs, id, answer.head, 0, answer.head.length);
    const connection = relay.open(this.nowMs);
    const out = new Uint8Array(4096);
    this.streams.pollBytes(this.nowMs, id, out, 0, out.length); // the request that was answered above
    const pull = () => relay.pollBytes(this.nowMs, connection, out, 0, out.length);
    this.streams.handleBytes(this.nowMs, id, out, 0, pull());
    this.look();
    const told = this.streams.pollBytes(this.nowMs, id, out, 0, out.length);
    relay.handleBytes(this.nowMs, connection, out, 0, told);
    if (isAdmitted) {
      assert.ok(relay.admit(this.nowMs, connection, 'one'));
      this.streams.handleBytes(this.nowMs, id, out, 0, pull());
    } else this.streams.handleEnd(this.nowMs, id);
    return this.look();
  }
}

test('the region with the lowest id that may be home is home, and is told once it is reached', () => {
  const world = new World();
  world.regions(region(5), region(2, ['a.test'], { Avoid: true }), region(3, ['b.test'], { NoMeasureNoHome: true }));
  assert.equal(world.opened, [{ id: 1, host: 'r5.test' }]);
  assert.is(world.links.home, 0);
  world.connect(1);
  assert.equal(world.events, ['home 5']);
  assert.is(world.links.home, 5);
});

test('of several regions the nearest is waited for, three seconds at most', () => {
  const regions = RegionTable.of(region(1), region(2));
  const measured = new World();
  measured.links.setRegions(1000, regions);
  assert.equal(measured.look().opened, []);
  measured.links.prefer(1000, 2);
  assert.equal(
    measured.look().opened.map(({ host }) => host),
    ['r2.test'],
  );
  const late = new World();
  late.links.setRegions(1000, regions);
  assert.equal(late.wait(2999).opened, []);
  assert.equal(
    late.wait(1).opened.map(({ host }) => host),
    ['r1.test'],
  );
  late.connect(1);
  late.links.prefer(late.nowMs, 2);
  late.look().connect(2);
  assert.equal(late.events, ['home 1', 'home 2']);
  late.links.prefer(late.nowMs, 99);
  assert.is(late.links.home, 2);
});

test('a link that is looked at connects anew unless it answers within three seconds', () => {
  const world = new World().regions(region(1)).connect(1);
  world.links.check(world.nowMs);
  world.wait(2999);
  assert.equal(world.events, ['home 1']);
  world.wait(1);
  assert.equal(world.events, ['home 1', 'relay-error 1']);
  assert.is(world.wait(1000).opened.length, 2);
  world.connect(2);
  world.links.check(world.nowMs);
  world.streams.handleBytes(world.nowMs, 2, Uint8Array.of(6, 0, 0, 0, 0), 0, 5);
  world.wait(6000);
  assert.is(world.opened.length, 2);
});

test('each time the home relay is connected it is told, another relay is not', () => {
  const world = new World().regions(region(1), region(2)).connect(1);
  world.links.send(world.nowMs, 2, OTHER, new Uint8Array(10), 0, 10);
  world.look().connect(2);
  assert.equal(world.connected, ['relay-connected 1']);
  world.fail(1).wait(100);
  world.connect(world.opened.at(-1)!.id);
  assert.equal(world.connected, ['relay-connected 1', 'relay-connected 1']);
});

test('after a move all links connect anew at once', () => {
  const world = new World().regions(region(1)).connect(1);
  world.links.reconnect(world.nowMs);
  world.look();
  assert.equal(world.closed, [1]);
  assert.is(world.opened.length, 2);
  world.connect(2);
  assert.is(world.links.home, 1);
});

test('a home that fails twice in a row is left for the next region', () => {
  const world = new World().regions(region(1), region(2));
  world.fail(1).wait(1000);
  assert.equal(
    world.opened.map(({ host }) => host),
    ['r1.test', 'r1.test'],
  );
  world.fail(2);
  assert.is(world.opened.at(-1)!.host, 'r2.test');
  world.connect(world.opened.at(-1)!.id);
  assert.ok(world.events.includes('home 2'));
});

test('pauses grow up to five seconds, and each try takes the next relay of the region', () => {
  const world = new World().regions(region(1, ['a.test', 'b.test']));
  const pauses: number[] = [];
  for (let i = 0; i < 30; i++) {
    world.fail(world.opened.at(-1)!.id);
    const [count, failedMs] = [world.opened.length, world.nowMs];
    while (world.opened.length === count && world.nowMs - failedMs < 20_000) world.wait(5);
    pauses.push(world.nowMs - failedMs);
  }
  const hosts = world.opened.map(({ host }) => host);
  assert.equal(hosts.slice(0, 4), ['a.test', 'b.test', 'a.test', 'b.test']);
  assert.ok(pauses[0]! <= 10 && pauses[9]! >= 500 && pauses[9]! <= 1005, pauses.join(' '));
  assert.ok(pauses.at(-1)! >= 2500 && pauses.at(-1)! <= 5005, pauses.join(' '));
});

test('a relay that does not admit us is tried ever more rarely, and at once when that may have changed', () => {
  const world = new World().regions(region(1));
  for (const endMs = world.nowMs + 60_000; world.nowMs < endMs; world.wait(10))
    if (world.opened.length > world.closed.length) world.connect(world.opened.at(-1)!.id, false);
  assert.ok(world.opened.length > 10 && world.opened.length < 40, String(world.opened.length));
  assert.ok(world.events.filter(event => event === 'relay-error 1').length <= 5, world.events.join(' '));
  const count = world.opened.length;
  world.links.check(world.nowMs);
  world.wait(0);
  assert.is(world.opened.length, count + 1);
  world.connect(world.opened.at(-1)!.id);
  world.fail(world.opened.at(-1)!.id).wait(10);
  assert.is(world.opened.length, count + 2, 'once admitted, the pauses begin anew');
});

test('a packet to another region opens a link there, which is closed after a minute without use', () => {
  const world = new World().regions(region(1), region(2)).connect(1);
  const packet = new Uint8Array(100);
  assert.is(world.links.send(world.nowMs, 2, OTHER, packet, 0, 100), true);
  world.look();
  assert.is(world.opened.at(-1)!.host, 'r2.test');
  world.connect(2);
  world.wait(59_999);
  assert.equal(world.closed, []);
  world.wait(1);
  assert.equal(world.closed, [2]);
  assert.is(world.links.send(world.nowMs, 7, OTHER, packet, 0, 100), false);
});

test('more links than allowed close the one that was unused for longest, never the home', () => {
  const world = new World().regions(region(1), region(2), region(3), region(4)).connect(1);
  for (const id of [2, 3, 4]) {
    world.nowMs += 10;
    world.links.send(world.nowMs, id, OTHER, new Uint8Array(10), 0, 10);
    world.look();
  }
  assert.equal(
    world.links.status().map(link => link.region),
    [1, 3, 4],
  );
});

test('regions that are gone lose their links, and stop closes all', () => {
  const world = new World().regions(region(1), region(2)).connect(1);
  world.links.send(world.nowMs, 2, OTHER, new Uint8Array(10), 0, 10);
  world.look().regions(region(2));
  assert.equal(
    world.links.status().map(link => link.region),
    [2],
  );
  world.links.stop();
  assert.equal(world.links.status(), []);
  assert.is(world.links.nextTimeout(), Number.POSITIVE_INFINITY);
});

test('a relay is reached by its addresses, port and certificate name; a pin alone is accepted when there is one', () => {
  const node = { Name: 'a', RegionID: 1, HostName: 'relay.test' };
  assert.equal(relayRequest(node), { host: 'relay.test', port: 443, tls: { serverName: 'relay.test' } });
  const named = relayRequest({ ...node, DERPPort: 8443, IPv4: '192.0.2.1', IPv6: 'none', CertName: 'other.test' });
  assert.equal(named, {
    host: 'relay.test',
    port: 8443,
    addresses: ['192.0.2.1'],
    tls: { serverName: 'other.test' },
  });
  const pin = new Uint8Array(32).fill(0xab);
  const pinned = relayRequest({ ...node, CertName: `sha256-raw:${'ab'.repeat(32)}` });
  assert.equal(pinned?.tls, { serverName: 'relay.test', pin });
});

test('a pin that is none, and a relay without addresses, are not used: nothing is ever left unverified', () => {
  const node = { Name: 'a', RegionID: 1, HostName: 'relay.test' };
  assert.is(relayRequest({ ...node, CertName: 'sha256-raw:abcd' }), undefined);
  assert.is(relayRequest({ ...node, CertName: 'sha256-raw:' }), undefined);
  assert.is(relayRequest({ ...node, IPv4: 'none', IPv6: 'none' }), undefined);
  assert.ok(relayRequest({ ...node, InsecureForTests: true })?.tls);
});

test.run();
