/**
 * Every command that an administrator may give, and everything that devices and time do: each either has a story in
 * which it would make an access test fail and is refused (or, where nobody can be refused, raises an alarm), or a reason
 * why it cannot. The types make sure that no command is left out.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import { hostinfo, PolicyWorld } from './policy-support.ts';
import { DAY_MS, Machine, pendingIdOf } from './support.ts';

const test = suite('policy refusals');
const DEFAULT = { tailnet: 'default' } as const;

type Command = AdminCommand['type'];
/** Makes a world in which the command would make a test fail, and gives the command. */
type Story = (world: PolicyWorld) => { readonly command: object; readonly fails: RegExp };

/** `laptop` may reach the database; whoever owns it may not. */
const BY_ADDRESS = (world: PolicyWorld, deny: string[] = []) => ({
  tagOwners: { 'tag:db': ['owner@'], 'tag:dev': ['owner@'], 'tag:ops': ['owner@'], 'tag:router': ['owner@'] },
  hosts: { laptop: world.record('laptop').addresses[0] },
  acls: [
    { action: 'accept', src: ['laptop', 'tag:ops', 'ann@'], dst: ['tag:db:22'] },
    { action: 'accept', src: ['*'], dst: ['tag:db:443'] },
  ],
  tests: [{ src: 'laptop', accept: ['tag:db:22'], ...(deny.length > 0 && { deny }) }],
});

/** A router that one test cannot do without. */
function withRouter(world: PolicyWorld): Machine {
  world.device('laptop');
  const router = world.device('router', { tags: ['tag:router'], routes: ['10.9.0.0/24'] });
  world.run({ type: 'device-routes', ...DEFAULT, device: 'router', routes: ['10.9.0.0/24'] });
  world.set({
    tagOwners: { 'tag:router': ['owner@'] },
    grants: [{ src: ['owner@'], dst: ['10.9.0.0/24'], ip: ['*'], via: ['tag:router'] }],
    tests: [{ src: 'owner@', accept: ['10.9.0.5:22'] }],
  });
  return router;
}

/** All of owner's devices must be able to do what `laptop` alone may do. */
function withLaptopOnly(world: PolicyWorld): void {
  world.device('laptop');
  world.device('db', { tags: ['tag:db'] });
  const policy = BY_ADDRESS(world);
  const hosts = { laptop: world.record('laptop').addresses[0], laptop6: world.record('laptop').addresses[1] };
  const acls = [{ action: 'accept', src: ['laptop', 'laptop6'], dst: ['tag:db:22'] }];
  world.set({ ...policy, hosts, acls, tests: [{ src: 'owner@', accept: ['tag:db:22'] }] });
}

const NO_OWNER_LEFT = /^line \d+: owner@ to tag:db:22 should be accepted, but no rule allows \d+ of \d+ pairs/;
const NO_ROUTER_LEFT = /^line \d+: owner@ to 10\.9\.0\.5:22 should be accepted, but no rule allows/;

const COMMANDS: { readonly [T in Command]: Story | string } = {
  'policy-set': world => {
    withLaptopOnly(world);
    const text = JSON.stringify({
      tagOwners: { 'tag:db': ['owner@'] },
      acls: [{ action: 'accept', src: ['owner@'], dst: ['tag:db:22'] }],
      tests: [{ src: 'owner@', deny: ['tag:db:22'] }],
    });
    return {
      command: { text },
      fails: /^line 1: owner@ to tag:db:22 should be denied, but acls\[0\] in line 1 allows/,
    };
  },
  'device-tags': world => {
    world.device('laptop');
    world.device('box', { tags: ['tag:dev'] });
    world.device('db', { tags: ['tag:db'] });
    const policy = BY_ADDRESS(world);
    world.set({ ...policy, tests: [{ src: 'tag:dev', deny: ['tag:db:22'] }] });
    return {
      command: { device: 'box', tags: ['tag:dev', 'tag:ops'] },
      fails: /^line \d+: tag:dev to tag:db:22 should be denied, but acls\[0\] in line \d+ allows/,
    };
  },
  'device-routes': world => {
    world.device('laptop');
    world.device('db', { tags: ['tag:db'] });
    world.device('router', { routes: ['10.9.0.0/24'] });
    const policy = BY_ADDRESS(world);
    world.set({
      ...policy,
      hosts: { ...policy.hosts, sensor: '10.9.0.5' },
      tests: [{ src: 'sensor', deny: ['tag:db:443'] }],
    });
    return {
      command: { device: 'router', routes: ['10.9.0.0/24'] },
      fails: /^line \d+: sensor to tag:db:443 should be denied, but acls\[1\] in line \d+ allows/,
    };
  },
  'device-approve': world => {
    withLaptopOnly(world);
    world.run({ type: 'tailnet-update', ...DEFAULT, requiresApproval: true });
    world.device('second');
    return { command: { device: 'second' }, fails: NO_OWNER_LEFT };
  },
  'device-expire': world => {
    withRouter(world);
    return { command: { device: 'router' }, fails: NO_ROUTER_LEFT };
  },
  'device-remove': world => {
    withRouter(world);
    return { command: { device: 'router' }, fails: NO_ROUTER_LEFT };
  },
  'user-rename': world => {
    world.device('laptop');
    world.device('db', { tags: ['tag:db'] });
    world.user('bob');
    world.device('box', { user: 'bob' });
    const policy = BY_ADDRESS(world);
    const hosts = { ...policy.hosts, box: world.record('box').addresses[0] };
    world.set({ ...policy, hosts, tests: [{ src: 'box', deny: ['tag:db:22'] }] });
    return {
      command: { loginName: 'bob', newLoginName: 'ann' },
      fails: /^line \d+: box to tag:db:22 should be denied, but acls\[0\] in line \d+ allows/,
    };
  },
  'tailnet-create': 'a new network has no policy and no devices',
  'tailnet-update':
    'whether new devices need an approval, and the life of new node keys, change no device that is there',
  'tailnet-remove': 'the policy goes with its network',
  'user-create': 'tests are about devices, and a new user has none',
  'user-remove': 'only a user without devices is removed',
  'key-create': 'a key is no device; who joins with it is judged then',
  'key-revoke': 'devices that have joined with the key stay as they are',
  'device-rename': 'a policy names no device: names in "hosts" are addresses',
  'token-create': 'a token is about administration',
  'token-revoke': 'a token is about administration',
  'tailnet-list': 'it reads',
  'user-list': 'it reads',
  'key-list': 'it reads',
  'device-list': 'it reads',
  'token-list': 'it reads',
  'policy-get': 'it reads',
  'policy-explain': 'it reads',
};

function recordsOf(world: PolicyWorld): string {
  return JSON.stringify([...world.coordinator.records()]);
}

for (const [type, story] of Object.entries(COMMANDS)) {
  if (typeof story === 'string') continue;
  test(`${type} is refused where it would make an access test fail, and nothing has changed`, () => {
    const world = new PolicyWorld();
    const { command, fails } = story(world);
    const before = recordsOf(world);
    const [heard, audited] = [world.sessions.heard.length, world.auditLog.length];
    const outcome = world.outcome({ type, ...DEFAULT, ...command }) as AdminOutcome & { isOk: false };
    assert.is(outcome.code, 'tests-failed', JSON.stringify(outcome));
    assert.match(outcome.details![0]!, fails);
    assert.ok(outcome.message.includes(outcome.details![0]!), 'the first line is in the message');
    assert.is(recordsOf(world), before);
    assert.equal([world.sessions.heard.length, world.auditLog.length], [heard, audited]);
    assert.is(world.policy.alarm, undefined, 'what was refused has not happened');
    // The tests, and nothing else, stood against it.
    if (type === 'policy-set') return;
    const { tests: _, ...rest } = JSON.parse(world.policy.text) as Record<string, unknown>;
    world.set(rest);
    assert.ok(world.outcome({ type, ...DEFAULT, ...command }).isOk);
    assert.is.not(recordsOf(world), before);
  });
}

test('what a reason excuses has been tried: no such command changes what tests say', () => {
  const world = new PolicyWorld();
  withLaptopOnly(world);
  world.user('carl');
  world.run({ type: 'tailnet-create', tailnet: 'other' });
  const key = world.run({ type: 'key-create', ...DEFAULT });
  const token = world.run({ type: 'token-create', ...DEFAULT });
  const fields: Partial<Record<Command, object>> = {
    'tailnet-create': { tailnet: 'third' },
    'tailnet-update': { requiresApproval: true, keyLifeMs: 1000 },
    'tailnet-remove': { tailnet: 'other' },
    'user-create': { loginName: 'ann' },
    'user-remove': { loginName: 'carl' },
    'key-create': { isPreapproved: true, tags: ['tag:ops'] },
    'key-revoke': { id: key.id },
    'device-rename': { device: 'laptop', name: 'db-1' },
    'token-revoke': { id: token.id },
    'policy-explain': { source: 'db', destination: 'db', port: 22 },
  };
  for (const [type, story] of Object.entries(COMMANDS)) {
    if (typeof story !== 'string') continue;
    const outcome = world.outcome({ type, ...DEFAULT, ...fields[type as Command] });
    assert.ok(outcome.isOk, `${type}: ${JSON.stringify(outcome)}`);
    assert.is(world.restarted().policy.alarm, undefined, type);
  }
});

test('a device that joins with an auth key is refused in one line, and the key is not used up', () => {
  const world = new PolicyWorld();
  withLaptopOnly(world);
  const key = world.key();
  const before = recordsOf(world);
  const machine = new Machine(world, 70, 'second');
  const { Error: error, MachineAuthorized } = machine.join(key);
  assert.match(error, /^an access test \(line \d+ of the policy\) would fail with this device in the network: ask /);
  assert.not(error.includes('owner@'), 'what tests say of others is not for it');
  assert.is(MachineAuthorized, false);
  assert.is(recordsOf(world), before);
  assert.ok(world.warnings().some(line => line.includes('owner@ to tag:db:22 should be accepted')));
  assert.ok(world.auditLog.at(-1)!.endsWith('device-refused'));
  world.set({});
  assert.is(machine.join(key).Error, '');
});

test('a login that would make a test fail is not approved, and waits on', () => {
  const world = new PolicyWorld();
  withLaptopOnly(world);
  const machine = new Machine(world, 70, 'second');
  const device = pendingIdOf(machine.register());
  const outcome = world.outcome({ type: 'device-approve', ...DEFAULT, device }) as AdminOutcome & { isOk: false };
  assert.is(outcome.code, 'tests-failed');
  assert.match(outcome.details![0]!, NO_OWNER_LEFT);
  assert.is(world.devices().filter(({ state }) => state === 'login').length, 1);
  world.set({});
  assert.ok(world.outcome({ type: 'device-approve', ...DEFAULT, device }).isOk);
});

test('a device that comes back after its key has ended is judged like one that joins', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  const second = world.device('second');
  world.device('db', { tags: ['tag:db'] });
  world.run({ type: 'device-expire', ...DEFAULT, device: 'second' });
  const policy = BY_ADDRESS(world);
  const hosts = { laptop: world.record('laptop').addresses[0], laptop6: world.record('laptop').addresses[1] };
  const acls = [{ action: 'accept', src: ['laptop', 'laptop6'], dst: ['tag:db:22'] }];
  world.set({ ...policy, hosts, acls, tests: [{ src: 'owner@', accept: ['tag:db:22'] }] });
  const key = world.key({ isReusable: true });
  assert.match(second.join(key).Error, /^an access test/);
  assert.match(second.join(key, { OldNodeKey: second.renew(1) }).Error, /^an access test/);
  world.set({});
  assert.is(second.join(key).Error, '');
});

test('routes that would be approved by themselves are not, with an alarm, where a test would fail', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  world.device('db', { tags: ['tag:db'] });
  const router = world.device('router');
  const policy = BY_ADDRESS(world);
  const hosts = { ...policy.hosts, sensor: '10.9.0.5' };
  const autoApprovers = { routes: { '10.0.0.0/8': ['owner@'] } };
  const tests = [{ src: 'sensor', deny: ['tag:db:443'] }];
  world.set({ ...policy, hosts, autoApprovers, tests });
  router.update({ Hostinfo: hostinfo('router', ['10.9.0.0/24']) });
  const [route] = world.devices().find(({ name }) => name === 'router')!.routes;
  assert.equal(route, { route: '10.9.0.0/24', isApproved: false, isAdvertised: true });
  assert.match(world.policy.alarm!.message, /^10\.9\.0\.0\/24 of device \d+ \(router\) would be approved, but tests/);
  assert.match(world.policy.alarm!.failing[0]!, /sensor to tag:db:443 should be denied/);
  assert.is(world.coordinator.status().policyAlarms, 1);
  const joining = new Machine(world, 71, 'third');
  assert.is(joining.join(world.key(), { Hostinfo: hostinfo('third', ['10.9.0.0/24', '10.8.0.0/16']) }).Error, '');
  const third = world.devices().find(({ name }) => name === 'third')!;
  assert.equal(
    third.routes.map(({ isApproved }) => isApproved),
    [false, false],
    'all that came at once',
  );
  router.update({ Hostinfo: hostinfo('router') });
  joining.update({ Hostinfo: hostinfo('third') });
  assert.is(world.policy.alarm, undefined, 'nobody offers it any more');
  assert.is(world.coordinator.status().policyAlarms, 0);
  router.update({ Hostinfo: hostinfo('router', ['10.8.0.0/16']) });
  assert.is(
    world.devices().find(({ name }) => name === 'router')!.routes[0]!.isApproved,
    true,
    'what harms no test is',
  );
});

test('an approval that was given before the route is offered counts when it is', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  world.device('db', { tags: ['tag:db'] });
  const router = world.device('router');
  world.run({ type: 'device-routes', ...DEFAULT, device: 'router', routes: ['10.9.0.0/24', '10.7.0.0/24'] });
  const policy = BY_ADDRESS(world);
  const hosts = { ...policy.hosts, sensor: '10.9.0.5' };
  world.set({ ...policy, hosts, tests: [{ src: 'sensor', deny: ['tag:db:443'] }] });
  router.update({ Hostinfo: hostinfo('router', ['10.9.0.0/24']) });
  assert.is(world.record('router').approvedRoutes.includes('10.9.0.0/24'), false);
  assert.ok(world.policy.alarm !== undefined);
  router.update({ Hostinfo: hostinfo('router', ['10.7.0.0/24']) });
  assert.equal(world.record('router').approvedRoutes, ['10.7.0.0/24']);
  assert.is(world.policy.alarm, undefined);
});

test('a logout, an ephemeral device that goes and a key that ends by itself raise an alarm, until tests pass again', () => {
  const acts: Record<string, (world: PolicyWorld, router: Machine) => void> = {
    logout: (_world, router) => void router.register({ Expiry: '1970-01-01T00:02:03Z' }),
    ephemeral: world => world.advance(31 * 60_000),
    expiry: world => world.jump(181 * DAY_MS),
    withdrawal: (_world, router) => void router.update({ Hostinfo: hostinfo('router') }),
  };
  for (const [name, act] of Object.entries(acts)) {
    const world = new PolicyWorld();
    world.device('server', { tags: ['tag:server'] });
    const isEphemeral = name === 'ephemeral';
    const router = world.device('router', { isEphemeral, routes: ['10.9.0.0/24'] });
    world.run({ type: 'device-routes', ...DEFAULT, device: 'router', routes: ['10.9.0.0/24'] });
    world.set({
      tagOwners: { 'tag:server': ['owner@'] },
      hosts: { sensor: '10.9.0.5' },
      acls: [{ action: 'accept', src: ['*'], dst: ['tag:server:22'] }],
      tests: [{ src: 'sensor', accept: ['tag:server:22'] }],
    });
    assert.is(world.policy.alarm, undefined, name);
    const since = world.unixMs;
    act(world, router);
    const { alarm } = world.policy;
    assert.ok(alarm !== undefined, name);
    assert.match(alarm.message, /^1 of 1 access tests fail$/);
    assert.match(alarm.failing[0]!, /^line \d+: sensor to tag:server:22 should be accepted/);
    assert.ok(alarm.sinceMs >= since && alarm.sinceMs <= world.unixMs);
    assert.is(world.coordinator.status().policyAlarms, 1);
    assert.is(world.warnings().filter(line => line.includes('access tests fail')).length, 1, `${name}: said once`);
    // A second router that does what the first did.
    new Machine(world, 90, 'other').join(world.key(), { Hostinfo: hostinfo('other', ['10.9.0.0/24']) });
    world.run({ type: 'device-routes', ...DEFAULT, device: 'other', routes: ['10.9.0.0/24'] });
    assert.is(world.policy.alarm, undefined, `${name}: over`);
    assert.is(world.coordinator.status().policyAlarms, 0);
  }
});

test('while a test fails, what does not make it worse is not held up, and what does is refused', () => {
  const world = new PolicyWorld();
  const router = withRouter(world);
  router.register({ Expiry: '1970-01-01T00:02:03Z' });
  assert.ok(world.policy.alarm !== undefined);
  world.user('carl');
  world.device('unrelated', { user: 'carl' });
  world.run({ type: 'device-expire', ...DEFAULT, device: 'unrelated' });
  const machine = new Machine(world, 91, 'second');
  assert.match(machine.join(world.key()).Error, /^an access test/, 'one more of owner, who cannot reach it either');
});

test('a device whose key has just ended is gone, also when a command comes before the clock does', () => {
  const ends: Record<string, (world: PolicyWorld) => void> = {
    remove: world => void world.run({ type: 'device-remove', ...DEFAULT, device: 'router' }),
    rename: world => void world.run({ type: 'device-rename', ...DEFAULT, device: 'laptop', name: 'renamed' }),
    tags: world => void world.run({ type: 'device-tags', ...DEFAULT, device: 'other', tags: ['tag:any'] }),
  };
  for (const [name, end] of Object.entries(ends)) {
    const world = new PolicyWorld();
    world.device('laptop');
    world.device('other', { user: 'owner' });
    world.device('router', { routes: ['10.9.0.0/24'] });
    world.run({ type: 'device-routes', ...DEFAULT, device: 'router', routes: ['10.9.0.0/24'] });
    world.device('server', { tags: ['tag:server'] });
    world.set({
      tagOwners: { 'tag:server': [], 'tag:any': [] },
      hosts: { sensor: '10.9.0.5' },
      acls: [{ action: 'accept', src: ['*'], dst: ['tag:server:22'] }],
      tests: [{ src: 'sensor', accept: ['tag:server:22'] }],
    });
    world.unixMs = world.record('router').keyExpiryMs;
    end(world);
    assert.match(world.policy.alarm?.failing[0] ?? '', /sensor to tag:server:22 should be accepted/, name);
  }
});

test('an alarm is heard of only when what it tells of is durable', () => {
  const world = new PolicyWorld();
  const router = withRouter(world);
  world.isManual = true;
  const before = world.warnings().length;
  router.post({ Expiry: '1970-01-01T00:02:03Z' });
  assert.equal([world.warnings().length, world.coordinator.status().policyAlarms], [before, 0]);
  world.store();
  world.drain();
  assert.equal([world.warnings().length, world.coordinator.status().policyAlarms], [before + 1, 1]);
});

test.run();
