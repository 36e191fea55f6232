/** A policy at work: whole tailnets in memory, and what becomes of connections and flows when a right is taken away. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import type { Connection } from '../../lib/mote/connection.ts';
import { Mote } from '../../lib/mote/mote.ts';
import { MemoryCoordinator } from '../sim/memory-coordinator.ts';
import { MemoryNetwork } from '../sim/memory-host.ts';

const test = suite('tailnet policy');
const crypto = createNobleSuite();

/** What is left of a right counts from this long after the command on: one message to everybody. */
const EFFECT_MS = 500;

/** A network, a coordinator, and motes with tags of their own. */
class World {
  readonly network = new MemoryNetwork();
  readonly coordinator = new MemoryCoordinator(this.network, '192.0.2.1');
  #next = 10;

  constructor(...grants: readonly object[]) {
    this.policy(...grants);
  }

  /** Replaces the policy. */
  policy(...grants: readonly object[]): void {
    const owners = ['a', 'b', 'c'].map(name => [`tag:${name}`, ['autogroup:member']] as const);
    const text = JSON.stringify({ tagOwners: Object.fromEntries(owners), grants });
    this.coordinator.command({ type: 'policy-set', tailnet: 'default', text });
  }

  async member(name: string): Promise<Mote> {
    const number = this.#next++;
    const authKey = this.coordinator.authKey({ tags: [`tag:${name}`] });
    const options = { control: this.coordinator.url, name, authKey };
    const host = this.network.host(`192.0.2.${number}`, number);
    const mote = await this.network.until(Mote.up(host, crypto, options, ALL_PARTS), 20_000);
    await this.network.advance(EFFECT_MS); // the others hear of it
    return mote;
  }

  until<T>(promise: Promise<T>, limitMs = 20_000): Promise<T> {
    return this.network.until(promise, limitMs);
  }
}

function grant(from: string, to: string, ...ip: readonly string[]): object {
  return { src: [`tag:${from}`], dst: [`tag:${to}`], ip };
}

function address(mote: Mote, family = 4): string {
  return mote.addresses.find(text => text.includes(':') === (family === 6))!.split('/')[0]!;
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    value => `no failure but ${String(value)}`,
    (error: { code?: string }) => error.code ?? 'no code',
  );
}

/** A connection of `from` to a port of `to`, both ends, used once. */
async function connected(world: World, from: Mote, to: Mote, port: number): Promise<[Connection, Connection]> {
  const listener = await to.listen(port);
  const near = await world.until(from.dial(address(to), port));
  const far = (await world.until(listener.accept()))!;
  await carry(world, near, far, 'there');
  await carry(world, far, near, 'back');
  return [near, far];
}

async function carry(world: World, from: Connection, to: Connection, text: string): Promise<void> {
  await world.until(from.write(utf8Encode(text)));
  assert.is(utf8Decode((await world.until(to.read()))!), text);
}

test('a member sees those whom a rule connects with it, and nobody else', async () => {
  const world = new World(grant('a', 'b', 'tcp:22'));
  const [a, b, c] = [await world.member('a'), await world.member('b'), await world.member('c')];
  await world.network.advance(EFFECT_MS);
  const names = (mote: Mote) => mote.status().tailnet!.peers.map(({ name }) => name.split('.')[0]);
  assert.equal(names(a), ['b']);
  assert.equal(names(b), ['a']);
  assert.equal(names(c), []);
});

test('a rule opens its port one way and no other', async () => {
  const world = new World(grant('a', 'b', 'tcp:22'));
  const [a, b] = [await world.member('a'), await world.member('b')];
  for (const port of [22, 23]) await b.listen(port);
  await a.listen(22);
  const open = await world.until(a.dial(address(b), 22));
  open.abort();
  const others = [
    failure(a.dial(address(b), 23, { timeoutMs: 3000 })),
    failure(b.dial(address(a), 22, { timeoutMs: 3000 })),
  ];
  assert.equal(await world.until(Promise.all(others)), ['ERR_TIMED_OUT', 'ERR_TIMED_OUT']);
});

test('a connection that is no longer allowed is cut at both ends, and one that still is goes on', async () => {
  const world = new World(grant('a', 'b', 'tcp:22', 'tcp:80'));
  const [a, b] = [await world.member('a'), await world.member('b')];
  const [cutNear, cutFar] = await connected(world, a, b, 22);
  const [near, far] = await connected(world, a, b, 80);
  world.policy(grant('a', 'b', 'tcp:80'));
  const fates = Promise.all([failure(cutNear.read()), failure(cutFar.read())]);
  assert.equal(await world.until(fates, EFFECT_MS), ['ERR_CONNECTION_RESET', 'ERR_NOT_ALLOWED']);
  await carry(world, near, far, 'still');
  await carry(world, far, near, 'here');
});

test('a right that moves to another device takes the connection along, although the port stays open', async () => {
  const world = new World(grant('a', 'b', 'tcp:22'));
  const [a, b, c] = [await world.member('a'), await world.member('b'), await world.member('c')];
  const [near] = await connected(world, a, b, 22);
  world.policy(grant('c', 'b', 'tcp:22'), grant('a', 'b', 'udp:1'));
  assert.is(await world.until(failure(near.read()), EFFECT_MS), 'ERR_CONNECTION_RESET');
  const other = await world.until(c.dial(address(b), 22));
  other.abort();
});

test('two devices that no rule connects any more lose each other, and their connections end at once', async () => {
  const world = new World(grant('a', 'b', '*'));
  const [a, b] = [await world.member('a'), await world.member('b')];
  const [near, far] = await connected(world, a, b, 22);
  world.policy();
  const fates = Promise.all([failure(near.read()), failure(far.read())]);
  assert.equal(await world.until(fates, EFFECT_MS), ['ERR_UNREACHABLE', 'ERR_UNREACHABLE']);
  assert.equal(a.status().tailnet!.peers, []);
  assert.equal(b.status().tailnet!.peers, []);
});

test('a flow of datagrams ends with its rule, also when it is the service that goes on sending', async () => {
  const world = new World(grant('a', 'b', 'udp:54', 'tcp:22'));
  const [a, b] = [await world.member('a'), await world.member('b')];
  const [asking, serving] = [await a.udp(4000), await b.udp(54)];
  const heard: string[] = [];
  for (const [name, socket] of [
    ['a', asking],
    ['b', serving],
  ] as const)
    void (async () => {
      for await (const { data } of socket) heard.push(`${name} ${utf8Decode(data)}`);
    })();
  const [question, answer] = [
    { address: address(b), port: 54 },
    { address: address(a), port: 4000 },
  ];
  const round = async (text: string) => {
    heard.length = 0;
    asking.send(utf8Encode(text), question);
    await world.network.advance(200);
    serving.send(utf8Encode(text), answer);
    await world.network.advance(200);
    return heard.join();
  };
  await round('first');
  assert.is(await round('1'), 'b 1,a 1');
  world.policy(grant('a', 'b', 'tcp:22'));
  await world.network.advance(EFFECT_MS);
  assert.is(await round('2'), '');
  assert.is(await round('3'), '', 'what the service sends does not make the flow its own');
  assert.ok(b.status().drops['filter-cut']! > 0);
  world.policy(grant('a', 'b', 'udp:54', 'tcp:22'));
  await world.network.advance(EFFECT_MS);
  assert.is(await round('4'), 'b 4,a 4');
});

test('a device that loses its tag loses what the tag gave it', async () => {
  const world = new World(grant('a', 'b', 'tcp:22'), grant('c', 'b', 'tcp:23'));
  const [a, b] = [await world.member('a'), await world.member('b')];
  const [near] = await connected(world, a, b, 22);
  world.coordinator.command({ type: 'device-tags', tailnet: 'default', device: 'a', tags: ['tag:c'] });
  assert.is(await world.until(failure(near.read()), EFFECT_MS), 'ERR_CONNECTION_RESET');
});

test.run();
