/** Which policy is in force after a start, whatever the store holds, and what is said about it. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PolicyWorld } from './policy-support.ts';

const test = suite('policy at the start');

const RULES = {
  tagOwners: { 'tag:web': ['owner@'] },
  acls: [{ action: 'accept', src: ['owner@'], dst: ['tag:web:443'] }],
};
const GOOD = { ...RULES, tests: [{ src: 'owner@', accept: ['tag:web:443'] }] };
const FAILING = `${JSON.stringify({ ...RULES, tests: [{ src: 'owner@', accept: ['tag:web:80'] }] })}\n`;

function worldWith(policy: object): PolicyWorld {
  const world = new PolicyWorld();
  world.device('laptop');
  world.device('web', { tags: ['tag:web'] });
  world.set(policy);
  return world;
}

test('a newest policy that cannot be read gives way to the last that was good, and the alarm says where it is wrong', () => {
  const world = worldWith(GOOD).restarted({ current: { text: '{\n"acls": [}', version: 2 } });
  const { policy } = world;
  assert.equal([policy.inForce, policy.version], ['good', 2]);
  assert.is(policy.text, '{\n"acls": [}', 'what is broken can be read and mended');
  assert.match(policy.alarm!.message, /version 2\) cannot be read: version 1/);
  assert.match(policy.alarm!.failing[0]!, /^2:10: /);
  assert.equal(world.sessions.heard, [['default', 1, 1]]);
  assert.is(world.coordinator.status().policyAlarms, 1);
  assert.is(world.run({ type: 'tailnet-list' })[0]!.policyAlarm, policy.alarm!.message);
  assert.is(world.warnings().length, 1);
});

test('a newest policy whose tests fail gives way to the last that was good, and the alarm has the lines', () => {
  const { policy } = worldWith(GOOD).restarted({ current: { text: FAILING, version: 2 } });
  assert.is(policy.inForce, 'good');
  assert.equal(
    policy.alarm!.failing.map(line => line.replace(/ for .*| no rule .*/, '')),
    ['line 1: owner@ to tag:web:80 should be accepted, but'],
  );
});

test('where the last good one is broken as well, or missing, nobody may reach anything', () => {
  for (const good of [{ text: '{' }, undefined]) {
    const world = worldWith(GOOD).restarted({ current: { text: FAILING, version: 2 }, good });
    assert.is(world.policy.inForce, 'deny-all');
    assert.equal(world.sessions.heard, [['default', 0, 0]]);
    assert.is(world.coordinator.status().policyAlarms, 1);
    const ask = {
      type: 'policy-explain',
      tailnet: 'default',
      source: 'laptop',
      destination: 'web',
      port: 443,
    } as const;
    assert.is(world.run(ask).isAllowed, false);
  }
});

test('a newest policy that is missing while an older one is there is an alarm too', () => {
  const world = worldWith(GOOD).restarted({ current: undefined });
  assert.is(world.policy.inForce, 'good');
  assert.is(world.coordinator.status().policyAlarms, 1);
});

test('the last good policy stays in force when its tests fail by what has happened to devices, with an alarm', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  const routing = world.device('router', { tags: ['tag:router'], routes: ['10.9.0.0/24'] });
  world.run({ type: 'device-routes', tailnet: 'default', device: 'router', routes: ['10.9.0.0/24'] });
  world.set({
    tagOwners: { 'tag:router': ['owner@'] },
    grants: [{ src: ['owner@'], dst: ['10.9.0.0/24'], ip: ['*'], via: ['tag:router'] }],
    tests: [{ src: 'owner@', accept: ['10.9.0.5:22'] }],
  });
  routing.register({ Expiry: '1970-01-01T00:02:03Z' });
  const again = world.restarted();
  assert.is(again.policy.inForce, 'current');
  assert.is(again.policy.alarm!.failing.length, 1);
  assert.is(again.warnings().length, 1);
});

test('a policy that is set ends the alarm, and a text that was broken is accepted once its tests pass', () => {
  const world = worldWith(GOOD).restarted({ current: { text: FAILING, version: 2 } });
  assert.is(world.trySet(FAILING).isOk, false);
  const changed = world.set({ ...GOOD, randomizeClientPort: true }, { version: 2 });
  assert.is(changed.version, 3);
  assert.equal([world.policy.inForce, world.policy.alarm], ['current', undefined]);
  assert.is(world.coordinator.status().policyAlarms, 0);
});

test('devices of a store that is older than routes have none', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  const changes = [...world.coordinator.records()].map(change => {
    if (change.kind !== 'device') return change;
    const { advertisedRoutes: _, approvedRoutes: _approved, ...value } = change.value!;
    return { ...change, value } as typeof change;
  });
  const again = new PolicyWorld({ records: changes });
  assert.equal(again.devices()[0]!.routes, []);
  assert.equal(again.record('laptop').advertisedRoutes, []);
});

test.run();
