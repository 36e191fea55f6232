/** A coordinator as a whole: first start, what leaves when, a store that fails, requests that are refused. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Machine, World } from './support.ts';

const test = suite('coordinator');

test('the first start makes a tailnet with a user, in commit 1', () => {
  const world = new World();
  assert.equal(
    world.commits.map(({ id, changes }) => [id, changes.map(({ kind, tailnet }) => `${kind} ${tailnet}`)]),
    [[1, ['tailnet default', 'user default']]],
  );
  assert.equal(world.auditLog, ['coordinator tailnet-create']);
  assert.equal(
    world.run({ type: 'tailnet-list' }).map(({ id, suffix }) => [id, suffix]),
    [['default', 'default.mote.internal']],
  );
});

test('a device joins with an auth key, polls its map, and sees another', () => {
  const world = new World();
  const [a, b] = [new Machine(world, 1, 'a'), new Machine(world, 2, 'b')];
  const answer = a.join(world.key());
  assert.is(answer.Error, '');
  assert.is(answer.MachineAuthorized, true);
  assert.is(answer.Login.LoginName, 'owner');
  b.join(world.key());
  const stream = a.stream();
  b.stream();
  world.advance(200);
  const { text } = world.streams.get(stream)!;
  assert.ok(text.includes('"a.default.mote.internal."'));
  assert.ok(text.includes('"b.default.mote.internal."'));
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, a.nodeBytes), 'default');
});

test.run();
