/** The control client and our coordinator, machine against machine, over weeks of a clock that is moved by hand. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ControlClientOptions } from '../../lib/control/client.ts';
import { World } from '../coordinator/support.ts';
import { type Asked, type Backend, Story, textOf } from './client-support.ts';
import { publicOf, secretOf } from './support.ts';

const test = suite('control client and coordinator');
const DAY_MS = 86_400_000;

/** Our coordinator, reached through the story's connection. */
class Whole implements Backend {
  readonly world: World;
  /** Streams by the coordinator's request numbers. */
  readonly #ids = new Map<number, number>();
  #server: Story['server'] = undefined;
  #resets = 0;
  #heard = 0;

  constructor(world: World) {
    this.world = world;
  }

  handleRequest(story: Story, { kind, request }: Asked): void {
    const { coordinator } = this.world;
    this.#adopt(story);
    const o = { machineKey: publicOf(0x11), source: '192.0.2.1', body: request.body };
    const number =
      kind === 'register'
        ? coordinator.register(story.nowMs, story.unixMs, o)
        : coordinator.map(story.nowMs, story.unixMs, { ...o, version: 113 });
    this.#ids.set(number, request.id);
  }

  settle(story: Story): boolean {
    const { world } = this;
    this.#adopt(story);
    const server = story.server!;
    for (const id of server.resets.slice(this.#resets)) this.#abandon(story, id);
    this.#resets = server.resets.length;
    world.store();
    const out = new Uint8Array(4096);
    let any = this.#hear(story);
    for (let number = world.coordinator.pollMap(); number !== undefined; number = world.coordinator.pollMap()) {
      any = this.#hear(story) || any;
      for (;;) {
        const length = world.coordinator.pollMapBytes(story.nowMs, story.unixMs, number, out, 0, out.length);
        if (length === 0) break;
        any = true;
        const id = this.#ids.get(number);
        if (id !== undefined) server.write(id, out.slice(0, length));
      }
    }
    return this.#hear(story) || any;
  }

  nextTimeout(): number {
    return this.world.coordinator.nextTimeout();
  }

  handleTimeout(nowMs: number, unixMs: number): void {
    this.world.nowMs = nowMs;
    this.world.unixMs = unixMs;
    this.world.coordinator.handleTimeout(nowMs, unixMs);
  }

  /** A connection that is gone takes its requests with it. */
  #adopt(story: Story): void {
    if (story.server === this.#server) return;
    for (const number of this.#ids.keys()) this.world.coordinator.abandon(story.nowMs, number);
    this.#ids.clear();
    this.#server = story.server;
    this.#resets = 0;
  }

  #abandon(story: Story, id: number): void {
    for (const [number, other] of this.#ids)
      if (other === id) {
        this.#ids.delete(number);
        this.world.coordinator.abandon(story.nowMs, number);
      }
  }

  #hear(story: Story): boolean {
    const { events } = this.world;
    this.world.collect();
    const fresh = events.slice(this.#heard);
    this.#heard = events.length;
    for (const event of fresh) {
      if (!('request' in event)) continue;
      const id = this.#ids.get(event.request);
      if (id === undefined) continue;
      if (event.type === 'stream') story.server!.respond(id, 200);
      if (event.type === 'end') story.server!.end(id);
      if (event.type !== 'reply') continue;
      story.server!.respond(id, event.status, Object.entries(event.headers ?? {}));
      story.server!.write(id, event.body);
      story.server!.end(id);
      this.#ids.delete(event.request);
    }
    return fresh.length > 0;
  }
}

/** A client of a whole coordinator, not started yet. */
function storyOf(world: World, options: Partial<ControlClientOptions> = {}): Story {
  const story = new Story({ unixMs: world.unixMs, ...options });
  story.nowMs = world.nowMs;
  story.unixMs = world.unixMs;
  story.backend = new Whole(world);
  return story;
}

test('joins with an auth key, and stays for hours on keepalives alone', () => {
  const world = new World();
  const story = storyOf(world, { authKey: world.key() }).run();
  assert.equal(story.took('state', 'error'), ['state connecting', 'state running']);
  assert.match(story.client.netmap.self!.name, /^mote\.default\.mote\.internal\.$/);
  story.wait(DAY_MS / 8);
  assert.equal(story.took('state', 'error'), []);
  assert.is(story.of('map').length, 1);
  assert.is(world.devices()[0]!.name, 'mote');
});

test('a year passes: node keys change by themselves, the device stays what it is', () => {
  const world = new World();
  const story = storyOf(world, { authKey: world.key() }).run();
  const { addresses, id } = story.client.netmap.self!;
  // Months of keepalives would be a long test: the connection is cut, the clocks jump, and it comes back.
  for (let day = 0; day < 365; day += 5) {
    story.cut();
    story.nowMs += 5 * DAY_MS;
    story.unixMs += 5 * DAY_MS;
    story.backend!.handleTimeout(story.nowMs, story.unixMs);
    story.client.handleTimeout(story.nowMs, story.unixMs);
    story.wait(40_000);
    assert.is(story.client.state, 'running', `day ${day}`);
  }
  assert.is(story.stored.length, 3, '120 days each, less a few');
  assert.equal(story.client.netmap.self!.id, id);
  assert.equal(story.client.netmap.self!.addresses, addresses);
  assert.is(world.devices().length, 1);
  assert.equal(story.took('auth-url', 'login-failed', 'expiring'), []);
  assert.is(story.last('map').json['NodeKey'], textOf(story.stored.at(-1)!));
});

test('a device that was away for longer than its key lives comes back with its reusable auth key', () => {
  const world = new World();
  const story = storyOf(world, { authKey: world.key({ isReusable: true, lifeMs: 300 * DAY_MS }) }).run();
  const { id } = story.client.netmap.self!;
  story.cut();
  story.nowMs += 200 * DAY_MS;
  story.unixMs += 200 * DAY_MS;
  story.backend!.handleTimeout(story.nowMs, story.unixMs);
  story.client.handleTimeout(story.nowMs, story.unixMs);
  story.wait(60_000);
  assert.is(story.client.state, 'running');
  assert.is(story.client.netmap.self!.id, id);
  assert.is(story.stored.length, 1);
});

test('somebody approves the login of a device without an auth key', () => {
  const world = new World();
  const story = storyOf(world).run();
  assert.is(story.client.state, 'needs-login');
  const [url] = story.took('auth-url');
  const id = url!.split('/').at(-1)!;
  world.run({ type: 'device-approve', tailnet: 'default', device: id });
  story.run();
  assert.is(story.client.state, 'running');
  assert.is(story.of('register').length, 2);
});

test('a login that nobody decides becomes another, and the user hears of it', () => {
  const world = new World();
  const story = storyOf(world).run();
  story.wait(16 * 60_000);
  const urls = story.took('auth-url');
  assert.ok(urls.length >= 2, String(urls.length));
  assert.is(new Set(urls).size, urls.length);
  const [url] = urls.slice(-1);
  world.run({ type: 'device-approve', tailnet: 'default', device: url!.split('/').at(-1)! });
  story.run();
  assert.is(story.client.state, 'running');
});

test('a device waits for approval, is let in, is expired, and logs in anew', () => {
  const world = new World();
  world.run({ type: 'tailnet-update', tailnet: 'default', requiresApproval: true });
  const story = storyOf(world, { authKey: world.key() }).run();
  assert.is(story.client.state, 'needs-approval');
  world.run({ type: 'device-approve', tailnet: 'default', device: 'mote' });
  story.wait(1000);
  assert.is(story.client.state, 'running');
  world.run({ type: 'device-expire', tailnet: 'default', device: 'mote' });
  story.wait(1000);
  assert.is(story.client.state, 'needs-login');
  assert.is(story.stored.length, 1);
  const url = story.took('auth-url').at(-1)!;
  world.run({ type: 'device-approve', tailnet: 'default', device: url.split('/').at(-1)! });
  story.wait(3000);
  assert.is(story.client.state, 'running');
  assert.is(world.devices().length, 1);
});

test('a device that is removed needs a person', () => {
  const world = new World();
  const story = storyOf(world, { authKey: world.key() }).run();
  world.run({ type: 'device-remove', tailnet: 'default', device: 'mote' });
  story.wait(5000);
  assert.is(story.client.state, 'needs-login');
  assert.is(story.client.isConnected, false);
});

test('a device that logs out has no valid key any more', () => {
  const world = new World();
  const story = storyOf(world, { authKey: world.key() }).run();
  story.client.logout(story.nowMs);
  story.run();
  assert.equal(story.took('logged-out'), ['logged-out true']);
  assert.ok(world.record('mote').keyExpiryMs <= world.unixMs);
});

test('a crash between the coordinator’s yes and the note of it loses nothing', () => {
  const world = new World();
  const first = storyOf(world, { authKey: world.key() }).run();
  const next = secretOf(0x66);
  const { id } = first.client.netmap.self!;
  first.client.stop(first.nowMs);
  // The process before the crash has registered the next key, and did not live to say so.
  const before = storyOf(world, { nextNodeKey: next }).run();
  assert.equal(before.took('node-key-adopted', 'state'), ['state connecting', 'node-key-adopted', 'state running']);
  before.client.stop(before.nowMs);
  const after = storyOf(world, { nextNodeKey: next }).run();
  assert.equal(after.took('node-key-adopted', 'state'), ['state connecting', 'node-key-adopted', 'state running']);
  assert.is(after.client.netmap.self!.id, id);
  assert.is(world.devices().length, 1);
});

test.run();
