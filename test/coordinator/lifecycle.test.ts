/** What happens to devices by the clock: ephemeral ones go, node keys end. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DAY_MS, Machine, World } from './support.ts';

const test = suite('lifecycle');
const MINUTE_MS = 60_000;

function ephemeral(): { world: World; machine: Machine } {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key({ isEphemeral: true }));
  return { world, machine };
}

test('an ephemeral device that never connects goes 30 minutes after it joined, not before', () => {
  const { world } = ephemeral();
  world.advance(30 * MINUTE_MS - 1);
  assert.is(world.devices().length, 1, 'it has had no session yet, and may be slow');
  world.advance(1);
  assert.is(world.devices().length, 0);
  const { audit } = world.commits.at(-1)!;
  assert.is(audit!.actor, 'coordinator');
  assert.is(audit!.action, 'device-remove');
});

test('an ephemeral device that is connected stays, and goes 30 minutes after it has gone', () => {
  const { world, machine } = ephemeral();
  world.advance(29 * MINUTE_MS);
  const stream = machine.stream();
  world.advance(120 * MINUTE_MS);
  assert.is(world.devices().length, 1);
  world.coordinator.abandon(world.nowMs, stream);
  world.advance(10_000 + 30 * MINUTE_MS - 1);
  assert.is(world.devices().length, 1);
  world.advance(1);
  assert.is(world.devices().length, 0);
});

test('an ephemeral device that comes back in time stays', () => {
  const { world, machine } = ephemeral();
  const stream = machine.stream();
  world.coordinator.abandon(world.nowMs, stream);
  world.advance(30 * MINUTE_MS);
  machine.update({ Endpoints: ['192.0.2.1:1'] });
  machine.stream();
  world.advance(60 * MINUTE_MS);
  assert.is(world.devices().length, 1);
});

test('updates do not make an ephemeral device live longer, nor an unfinished one shorter', () => {
  const { world, machine } = ephemeral();
  world.advance(20 * MINUTE_MS);
  machine.update({ Endpoints: ['192.0.2.1:1'] });
  world.advance(10 * MINUTE_MS - 1);
  assert.is(world.devices().length, 1);
  world.advance(1);
  assert.is(world.devices().length, 0);
});

test('an ephemeral device that registers again has the whole time to connect', () => {
  const { world, machine } = ephemeral();
  world.advance(30 * MINUTE_MS - 1);
  machine.register();
  world.advance(30 * MINUTE_MS - 1);
  assert.is(world.devices().length, 1);
  world.advance(1);
  assert.is(world.devices().length, 0);
});

test('a device that asks to be ephemeral is, with a key that is not', () => {
  const world = new World();
  new Machine(world, 1).join(world.key(), { Ephemeral: true });
  new Machine(world, 2).join(world.key());
  assert.equal(
    world.devices().map(({ isEphemeral }) => isEphemeral),
    [true, false],
  );
  world.advance(31 * MINUTE_MS);
  assert.equal(
    world.devices().map(({ name }) => name),
    ['host-2'],
  );
});

test('after a restart ephemeral devices have the whole time to come back', () => {
  const { world } = ephemeral();
  world.advance(29 * MINUTE_MS);
  const after = new World({ records: [...world.coordinator.records()] });
  const machine = new Machine(after, 1);
  after.advance(30 * MINUTE_MS - 1);
  assert.is(after.devices().length, 1);
  machine.stream();
  after.advance(60 * MINUTE_MS);
  assert.is(after.devices().length, 1);
});

test('a node key ends while its device is connected: peers lose it, the relay lets go, the device stays', () => {
  const world = new World();
  world.run({ type: 'tailnet-update', tailnet: 'default', keyLifeMs: MINUTE_MS });
  const a = new Machine(world, 1);
  a.join(world.key());
  world.run({ type: 'tailnet-update', tailnet: 'default', keyLifeMs: 0 });
  const b = new Machine(world, 2);
  b.join(world.key());
  a.stream();
  const ofB = b.stream();
  world.advance(MINUTE_MS - 1);
  assert.is(world.events.filter(({ type }) => type === 'relay-disconnect').length, 0);
  const { length } = world.commits;
  world.advance(1);
  assert.is(world.events.filter(({ type }) => type === 'relay-disconnect').length, 1);
  world.advance(200);
  assert.ok(world.streams.get(ofB)!.text.includes(`"PeersRemoved":[${world.record('host-1').id}]`));
  assert.is(world.commits.length, length, 'nothing is decided, nothing is written');
  world.advance(DAY_MS / 24);
  assert.is(world.events.filter(({ type }) => type === 'relay-disconnect').length, 1, 'once');
});

test('an administrator ends a node key: at once', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  assert.is(world.events.filter(({ type }) => type === 'relay-disconnect').length, 1);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), undefined);
});

test('the wall clock may be set forward: keys that have ended meanwhile are noticed within a minute', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  world.unixMs += 181 * DAY_MS;
  world.advance(MINUTE_MS);
  assert.is(world.events.filter(({ type }) => type === 'relay-disconnect').length, 1);
});

test('without devices and logins there is nothing to wait for', () => {
  const world = new World();
  assert.is(world.coordinator.nextTimeout(), Infinity);
  new Machine(world, 1).register();
  assert.is(world.coordinator.nextTimeout(), world.nowMs + 15 * MINUTE_MS);
});

test.run();
