/** Commits: nothing leaves before they are durable, one auth key admits one device, a failure stops, a restart forgets nothing. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Change } from '../../lib/coordinator/model.ts';
import { Machine, pendingIdOf, World } from './support.ts';
import { expectRestartable, stored } from './restart.ts';

const test = suite('commits');

function told(world: World): string[] {
  return world.events.splice(0).map(event => ('request' in event ? `${event.type} ${event.request}` : event.type));
}

test('no answer, outcome, stream, map change or relay event leaves before its commit is durable', () => {
  const world = new World();
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  a.join(world.key());
  const key = world.key();
  const stream = a.stream();
  world.advance(200);
  told(world);
  const before = world.streams.get(stream)!.text;

  world.isManual = true;
  const joining = b.post({ Auth: { AuthKey: key } });
  const listing = world.postCommand({ type: 'device-list', tailnet: 'default' });
  const again = b.post();
  const polling = b.stream();
  const removing = world.postCommand({ type: 'device-remove', tailnet: 'default', device: 'host-1' });
  world.drain();
  assert.equal(told(world), []);
  assert.is(world.streams.get(stream)!.text, before);
  assert.not(world.streams.get(stream)!.isOver);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, b.nodeBytes), undefined, 'not at the relay either');
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, a.nodeBytes), undefined, 'and who is to go goes at once');

  const ids = [
    world.coordinator.pollCommit()!.id,
    world.coordinator.pollCommit()!.id,
    world.coordinator.pollCommit()!.id,
  ];
  assert.is(world.coordinator.pollCommit(), undefined);
  world.coordinator.handleCommitted(world.nowMs, ids[0]!);
  world.drain();
  assert.equal(told(world), ['log', `reply ${joining}`, `outcome ${listing}`, `reply ${again}`]);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, b.nodeBytes), 'default');
  world.coordinator.handleCommitted(world.nowMs, ids[2]!);
  world.drain();
  assert.equal(told(world), [`stream ${polling}`, 'relay-disconnect', 'log', `outcome ${removing}`, `end ${stream}`]);
});

test('one commit may confirm many; one that was not given may not be confirmed', () => {
  const world = new World({ isManual: true });
  const { coordinator } = world;
  world.postCommand({ type: 'user-create', tailnet: 'default', loginName: 'a' });
  world.postCommand({ type: 'user-create', tailnet: 'default', loginName: 'b' });
  assert.throws(() => coordinator.handleCommitted(world.nowMs, 1), /expected a commit that was polled/);
  coordinator.pollCommit();
  coordinator.pollCommit();
  assert.throws(() => coordinator.handleCommitted(world.nowMs, 3), RangeError);
  assert.throws(() => coordinator.handleCommitted(world.nowMs, 0), RangeError);
  assert.throws(() => coordinator.handleCommitted(world.nowMs, 1.5), RangeError);
  coordinator.handleCommitted(world.nowMs, 2);
  world.collect();
  assert.equal(told(world), ['outcome 1']);
  assert.throws(() => coordinator.handleCommitted(world.nowMs, 2), RangeError);
  coordinator.pollCommit();
  coordinator.handleCommitted(world.nowMs, 3);
  world.collect();
  assert.equal(told(world), ['outcome 2']);
});

test('fifty machines with one single-use key at once: one is admitted, all others are in the audit log', () => {
  for (const isManual of [false, true]) {
    const world = new World();
    const key = world.key();
    world.isManual = isManual;
    const requests = Array.from({ length: 50 }, (_, i) => new Machine(world, i + 1).post({ Auth: { AuthKey: key } }));
    world.isManual = false;
    world.settle();
    const errors = requests.map(request => JSON.parse(world.replies.get(request)!.text).Error as string);
    assert.is(errors.filter(error => error === '').length, 1);
    assert.is(errors.filter(error => error.startsWith('auth key already used')).length, 49);
    assert.is(world.devices().length, 1);
    const [join] = world.commits.filter(({ audit }) => audit?.action === 'device-join');
    assert.equal(join!.changes.map(({ kind }) => kind).sort(), ['address', 'device', 'key'], 'all in one commit');
    assert.is(world.auditLog.filter(line => line.endsWith('device-refused')).length, 49);
  }
});

test('one machine that registers twenty times at once is one device', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const key = world.key();
  world.isManual = true;
  const requests = Array.from({ length: 20 }, () => machine.post({ Auth: { AuthKey: key } }));
  world.isManual = false;
  world.settle();
  for (const request of requests) assert.is(JSON.parse(world.replies.get(request)!.text).Error, '');
  assert.is(world.devices().length, 1);
  assert.is(world.run({ type: 'key-list', tailnet: 'default' })[0]!.uses, 1);
});

test('after a commit that failed nothing of it leaves, and everything is refused', () => {
  const world = new World();
  const [a, b, c] = [new Machine(world, 1), new Machine(world, 2), new Machine(world, 3)];
  a.join(world.key());
  const key = world.key();
  const stream = a.stream();
  const waiting = c.post({ Followup: c.register().AuthURL });
  world.isManual = true;
  const joining = b.post({ Auth: { AuthKey: key } });
  const command = world.postCommand({ type: 'device-list', tailnet: 'default' });
  const { id } = world.coordinator.pollCommit()!;
  assert.throws(() => world.coordinator.handleCommitFailed(world.nowMs, id + 1), RangeError);
  told(world);
  world.coordinator.handleCommitFailed(world.nowMs, id);
  world.drain();
  assert.is(world.replies.get(joining)!.status, 503);
  assert.is(world.replies.get(waiting)!.status, 503);
  assert.is(world.outcomes.get(command)!.isOk, false);
  assert.ok(world.streams.get(stream)!.isOver);
  assert.not(world.streams.get(stream)!.text.includes('host-2'));
  assert.is(world.coordinator.status().isStopped, true);
  assert.is(world.coordinator.status().requests, 0);

  for (const request of [a.post(), a.poll(), b.stream(), b.post({ Auth: { AuthKey: key } })])
    assert.is(world.replies.get(request)!.status, 503);
  assert.is(world.outcome({ type: 'device-list', tailnet: 'default' }).isOk, false);
  assert.is(world.outcome({ type: 'tailnet-create', tailnet: 'x' }).isOk, false);
  assert.is(world.coordinator.nextTimeout(), Infinity, 'and nothing is to be woken for');
  world.jump(200 * 24 * 3_600_000);
  assert.is(world.coordinator.pollCommit(), undefined);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, b.nodeBytes), undefined);
});

/** A life with everything in it. */
function life(): World {
  const world = new World();
  world.run({ type: 'tailnet-create', tailnet: 'lab', requiresApproval: true });
  world.run({ type: 'user-create', tailnet: 'lab', loginName: 'ann' });
  world.run({ type: 'token-create', tailnet: 'lab' });
  world.run({ type: 'token-create', tailnet: '' });
  const key = world.key({ isReusable: true });
  const machines = [1, 2, 3, 4, 5, 6].map(seed => new Machine(world, seed, seed < 4 ? 'same' : `host-${seed}`));
  for (const machine of machines.slice(0, 4)) machine.join(key);
  machines[4]!.join(world.key({ tailnet: 'lab', user: 'ann', tags: ['tag:x'] }));
  world.run({ type: 'device-approve', tailnet: 'lab', device: 'host-5' });
  world.run({ type: 'device-approve', tailnet: 'lab', device: pendingIdOf(machines[5]!.register()), user: 'ann' });
  world.run({ type: 'device-rename', tailnet: 'default', device: 'same-1', name: 'renamed' });
  const stream = machines[0]!.stream();
  machines[1]!.update({ Endpoints: ['192.0.2.1:1'], Hostinfo: { Hostname: 'same', NetInfo: { PreferredDERP: 1 } } });
  const old = machines[2]!.renew(1);
  machines[2]!.register({ OldNodeKey: old });
  world.coordinator.abandon(world.nowMs, stream);
  world.advance(20_000);
  machines[3]!.register({ Expiry: '1970-01-01T00:02:03Z' });
  world.run({ type: 'device-remove', tailnet: 'default', device: 'host-4' });
  machines[4]!.update({ Hostinfo: { Hostname: 'new name' } });
  world.run({ type: 'user-create', tailnet: 'default', loginName: 'bob' });
  world.run({ type: 'user-remove', tailnet: 'default', loginName: 'bob' });
  world.run({ type: 'tailnet-create', tailnet: 'gone' });
  new Machine(world, 7).join(world.key({ tailnet: 'gone' }));
  world.run({ type: 'token-create', tailnet: 'gone' });
  world.run({ type: 'tailnet-remove', tailnet: 'gone', force: true });
  return world;
}

test('at every commit the store gives back the state that was in memory, entry by entry, indexes included', () => {
  const world = life();
  expectRestartable(world);
  assert.ok(world.commits.length > 25);
});

test('after a restart devices go on, spent keys are spent, tokens are good', () => {
  const world = new World();
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  const key = world.key();
  a.join(key);
  const token = world.run({ type: 'token-create', tailnet: '' }).token!;
  const after = new World({ records: stored(world.commits.flatMap(({ changes }) => changes)), seed: 9 });
  assert.equal(after.commits, [], 'there is nothing to write');
  const [a2, b2] = [new Machine(after, 1), new Machine(after, 2)];
  assert.is(a2.join(key).Error, '');
  assert.ok(b2.join(key).Error.startsWith('auth key already used'));
  assert.ok(after.coordinator.authenticate(after.unixMs, token));
  assert.is(after.coordinator.tailnetOfNode(after.unixMs, a.nodeBytes), 'default');
  assert.is(after.coordinator.tailnetOfNode(after.unixMs, b.nodeBytes), undefined);
  const stream = a2.stream();
  after.advance(200);
  assert.ok(after.streams.get(stream)!.text.includes('host-1.default'));
});

test('a store that contradicts itself is refused', () => {
  const world = new World();
  new Machine(world, 1).join(world.key());
  const records = [...world.coordinator.records()];
  const device = records.find(({ kind }) => kind === 'device')!.value as object;
  const other = { ...device, id: 5, name: 'x', addresses: ['100.64.0.9', 'fd7a::9'] };
  const twin = (o: object) =>
    ({ kind: 'device', tailnet: 'default', id: '5', value: { ...other, ...o } }) as unknown as Change;
  const load = (...more: Change[]) => new World({ records: [...records, ...more] });
  assert.throws(() => load(twin({})), /same node key/);
  const nodeKey = `nodekey:${'5'.repeat(64)}`;
  load(twin({ nodeKey }));
  assert.throws(() => load(twin({ nodeKey, name: 'host-1' })), /same name/);
  assert.throws(() => load(twin({ nodeKey, addresses: (device as { addresses: unknown }).addresses })), /same address/);
  const lost = records.filter(({ kind }) => kind !== 'tailnet');
  assert.throws(() => new World({ records: lost }), /a tailnet that does not exist/);
});

test.run();
