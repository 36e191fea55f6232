/** Devices that wake, send and sleep: what they go on from, and what that must not do. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import { Mote } from '../../lib/mote/mote.ts';
import { MemoryCoordinator } from '../sim/memory-coordinator.ts';
import { MemoryNetwork, MemoryStore } from '../sim/memory-host.ts';

const test = suite('resume');
const crypto = createNobleSuite();
const DAY_MS = 86_400_000;

/** A service that is always there, a coordinator, and a button that mostly sleeps. */
class World {
  readonly network = new MemoryNetwork();
  readonly coordinator = new MemoryCoordinator(this.network, '192.0.2.1');
  readonly store = new MemoryStore();
  /** Memory that survives sleep; undefined: the host has none. */
  retained: MemoryStore | undefined;
  /** Kinds of WireGuard datagrams that the button has sent. */
  sent: number[] = [];
  states: string[] = [];

  up(address: string, seed: number, o: object): Promise<Mote> {
    const onEvent = (event: { type: string; state?: string }) => {
      if (event.type === 'state') this.states.push(event.state!);
    };
    const options = { control: this.coordinator.url, preset: 'small' as const, onEvent, ...o };
    const { retained } = this;
    const host = { ...this.network.host(address, seed), ...(retained === undefined ? {} : { retained }) };
    return this.network.until(Mote.up(host, crypto, options, ALL_PARTS), 30_000);
  }

  /** The service repeats what it hears. */
  async service(): Promise<Mote> {
    const mote = await this.up('192.0.2.10', 10, { name: 'service', authKey: this.coordinator.authKey() });
    const listener = await mote.listen(7);
    void (async () => {
      for await (const connection of listener) {
        const bytes = await connection.read();
        if (bytes !== undefined) await connection.write(bytes);
        await connection.end();
      }
    })().catch(() => undefined);
    return mote;
  }

  button(seed = 20, o: object = {}): Promise<Mote> {
    this.states = [];
    this.sent = [];
    this.network.fate = (bytes, from) => {
      if (from.address === '192.0.2.20' && bytes[0]! <= 4 && bytes[1] === 0) this.sent.push(bytes[0]!);
      return { isDropped: false, delayMs: 1 };
    };
    return this.up('192.0.2.20', seed, { name: 'button', store: this.store, resume: true, ...o });
  }

  /** Joined once, talked with the service, and went to sleep. */
  async slept(): Promise<Mote> {
    const service = await this.service();
    const button = await this.button(20, { authKey: this.coordinator.authKey() });
    await this.network.until(ask(button, 'first'), 30_000);
    await this.network.advance(8000);
    await this.network.until(button.close());
    return service;
  }
}

async function ask(from: Mote, text: string): Promise<string> {
  const connection = await from.dial('service', 7);
  await connection.write(utf8Encode(text));
  await connection.end();
  const bytes = await connection.read();
  return bytes === undefined ? '' : utf8Decode(bytes);
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no failure',
    (error: { code?: string }) => error.code ?? 'no code',
  );
}

test('a device that wakes is up at once and talks by the path that it had, while the coordinator is dead', async () => {
  const world = new World();
  await world.slept();
  world.coordinator.kill();
  const wokenMs = world.network.nowMs;
  const button = await world.button(21);
  assert.is(world.network.nowMs, wokenMs, 'nobody was waited for');
  assert.is(await world.network.until(ask(button, 'second'), 10_000), 'second');
  assert.ok(world.network.nowMs - wokenMs < 30, `took ${world.network.nowMs - wokenMs} ms`);
  assert.equal(world.states, []);
  await world.network.until(button.close());
});

test('the coordinator is asked ten seconds later, and knows the device as the same', async () => {
  const world = new World();
  await world.slept();
  const button = await world.button(21);
  const { addresses } = button;
  await world.network.advance(9000);
  assert.is(button.status().tailnet!.state, 'starting');
  await world.network.advance(4000);
  assert.is(button.status().tailnet!.state, 'running');
  assert.equal(button.addresses, addresses);
  const devices = world.coordinator.command({ type: 'device-list', tailnet: 'default' }) as readonly unknown[];
  assert.is(devices.length, 2);
});

test('after a day without the coordinator it is asked at once', async () => {
  const world = new World();
  await world.slept();
  world.network.unixOffsetMs += DAY_MS;
  const button = await world.button(21);
  await world.network.advance(2000);
  assert.is(button.status().tailnet!.state, 'running');
});

test('a clock that has gone back to 1970 counts as a day, not as no time', async () => {
  const world = new World();
  await world.slept();
  world.network.unixOffsetMs -= 20_000 * DAY_MS;
  const button = await world.button(21);
  await world.network.advance(2000);
  assert.is(button.status().tailnet!.state, 'running');
});

test('until the coordinator is heard nobody may open anything', async () => {
  const world = new World();
  const service = await world.slept();
  const button = await world.button(21);
  await button.listen(9);
  assert.is(await world.network.until(ask(button, 'hello'), 5000), 'hello');
  const dial = failure(service.dial('button', 9, { timeoutMs: 3000 }));
  assert.is(await world.network.until(dial, 5000), 'ERR_TIMED_OUT');
  await world.network.advance(12_000);
  const open = await world.network.until(service.dial('button', 9, { timeoutMs: 3000 }), 5000);
  open.abort();
});

test('a device that was removed while it slept hears so, and is a member no more', async () => {
  const world = new World();
  await world.slept();
  world.coordinator.command({ type: 'device-remove', tailnet: 'default', device: 'button' });
  const button = await world.button(21);
  await world.network.advance(15_000);
  assert.is(button.status().tailnet!.state, 'needs-login');
  await world.network.until(button.close());
  assert.is(world.store.load('resume-0'), undefined, 'nothing is left to go on from');
});

test('what was left for another key, another coordinator, or is damaged, is not used', async () => {
  for (const spoil of [
    (world: World) => world.store.remove('node-key'),
    (world: World) => world.store.save('resume-0', world.store.load('resume-0')!.fill(0x20, 10, 11)),
    (world: World) => world.store.save('resume-0', world.store.load('resume-0')!.slice(0, -1)),
    (world: World) => world.store.save('resume-0', Uint8Array.of(1)),
    (world: World) => world.store.save('next-node-key', world.store.load('node-key')!),
  ]) {
    const world = new World();
    await world.slept();
    spoil(world);
    const button = await world.button(21, { authKey: world.coordinator.authKey() });
    assert.is(button.status().tailnet!.state, 'running', 'it has asked the coordinator');
  }
});

test('a device that has nothing new to leave does not write', async () => {
  const world = new World();
  await world.slept();
  const before = world.store.load('resume-0');
  let saves = 0;
  const save = world.store.save.bind(world.store);
  world.store.save = (name, value) => {
    if (name.startsWith('resume')) saves++;
    save(name, value);
  };
  for (const seed of [21, 22, 23]) {
    const button = await world.button(seed);
    assert.is(await world.network.until(ask(button, 'again'), 5000), 'again');
    await world.network.until(button.close());
    await world.network.advance(2000);
  }
  assert.is(saves, 0);
  assert.equal(world.store.load('resume-0'), before);
});

test('where memory survives sleep the first datagram is data, without a handshake', async () => {
  const world = new World();
  world.retained = new MemoryStore();
  await world.slept();
  for (const seed of [21, 22]) {
    const button = await world.button(seed);
    assert.is(world.retained.load('sessions'), undefined, 'a session goes on once, also when the device crashes');
    assert.is(await world.network.until(ask(button, 'again'), 1000), 'again');
    assert.is(world.sent[0], 4);
    assert.not.ok(world.sent.includes(1));
    await world.network.until(button.close());
    await world.network.advance(2000);
  }
});

test('sessions of another node key are not used, and are removed', async () => {
  const world = new World();
  world.retained = new MemoryStore();
  await world.slept();
  const kept = world.retained.load('sessions')!;
  assert.ok(kept.length > 1);
  world.store.remove('node-key');
  const button = await world.button(21, { authKey: world.coordinator.authKey() });
  assert.is(world.retained.load('sessions'), undefined);
  assert.is(await world.network.until(ask(button, 'new'), 10_000), 'new');
  assert.is.not(world.sent[0], 4);
});

test('a session that slept for two minutes is renewed', async () => {
  const world = new World();
  world.retained = new MemoryStore();
  await world.slept();
  await world.network.advance(120_000);
  const button = await world.button(21);
  assert.is(await world.network.until(ask(button, 'late'), 10_000), 'late');
  assert.is(world.sent[0], 1);
});

test('without a store there is nothing to go on from', async () => {
  const world = new World();
  const host = world.network.host('192.0.2.20', 1);
  const options = { control: world.coordinator.url, resume: true } as const;
  await Mote.up(host, crypto, options, ALL_PARTS).then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /"resume" expected a "store"/),
  );
});

test.run();
