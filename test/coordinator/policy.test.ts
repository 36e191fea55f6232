/** The policy of a tailnet: set, read, asked, versions, what is in force and who hears of it when. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Policies } from '../../lib/coordinator/policies.ts';
import { CoordinatorState } from '../../lib/coordinator/state.ts';
import { hostinfo, PolicyWorld } from './policy-support.ts';
import { Machine } from './support.ts';

const test = suite('policy');

const OPEN = { acls: [{ action: 'accept', src: ['*'], dst: ['*:*'] }] };
const WEB = {
  tagOwners: { 'tag:web': ['owner@'] },
  acls: [{ action: 'accept', src: ['owner@'], dst: ['tag:web:80,443'] }],
  tests: [{ src: 'owner@', accept: ['tag:web:443'], deny: ['tag:web:22'] }],
};

test('without a policy everything is allowed, and that is said', () => {
  const world = new PolicyWorld();
  assert.equal(world.policy, {
    tailnet: 'default',
    version: 0,
    text: '',
    setMs: 0,
    setBy: '',
    inForce: 'allow-all',
    notes: [],
  });
  assert.is(world.run({ type: 'tailnet-list' })[0]!.policyVersion, 0);
  assert.equal(world.sessions.heard, []);
});

test('a policy that was set is kept to the letter, counted, told to the maps, and survives a restart', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  world.device('web', { tags: ['tag:web'] });
  const text = `// who may do what\n${JSON.stringify(WEB)}\n`;
  const change = world.set(text);
  assert.is(change.version, 1);
  assert.ok(change.isChanged);
  assert.equal(change.tests, { passed: 2, failed: 0, lines: [] });
  assert.is(world.policy.text, text);
  assert.is(world.policy.setBy, 'admin');
  assert.is(world.policy.inForce, 'current');
  assert.equal(world.sessions.heard, [['default', 1, 1]]);
  assert.is(world.set({ ...WEB, ssh: [] }).version, 2);
  assert.is(world.run({ type: 'tailnet-list' })[0]!.policyVersion, 2);
  const again = world.restarted();
  assert.is(again.policy.version, 2);
  assert.equal(again.sessions.heard, [['default', 1, 1]]);
  assert.equal(again.warnings(), []);
});

test('nothing of a policy leaves before it is durable', () => {
  const world = new PolicyWorld({ isManual: true });
  world.store();
  const request = world.postCommand({ type: 'policy-set', tailnet: 'default', text: JSON.stringify(WEB) });
  const reading = world.postCommand({ type: 'policy-get', tailnet: 'default' });
  world.drain();
  assert.equal(world.sessions.heard, []);
  assert.is(world.outcomes.get(request), undefined);
  assert.is(world.outcomes.get(reading), undefined);
  world.store();
  world.drain();
  assert.equal(world.sessions.heard, [['default', 1, 1]]);
  assert.ok(world.outcomes.get(request)!.isOk);
  assert.ok(world.outcomes.get(reading)!.isOk);
});

test('a policy whose commit fails is in force nowhere, and its administrator is told', () => {
  const world = new PolicyWorld({ isManual: true });
  world.store();
  const request = world.postCommand({ type: 'policy-set', tailnet: 'default', text: JSON.stringify(WEB) });
  const commit = world.coordinator.pollCommit()!;
  world.coordinator.handleCommitFailed(world.nowMs, commit.id);
  world.drain();
  assert.equal(world.sessions.heard, []);
  assert.is(world.outcomes.get(request)!.isOk, false);
});

test('only a policy that has tests has something that follows every change of devices', () => {
  for (const [policy, hasGuard] of [
    [OPEN, false],
    [WEB, true],
  ] as const) {
    const world = new PolicyWorld();
    world.device('laptop');
    world.set(policy);
    const state = new CoordinatorState();
    state.load(world.coordinator.records());
    const policies = new Policies(state);
    policies.load(world.unixMs);
    assert.is(policies.standing('default')!.guard !== undefined, hasGuard);
  }
});

test('a text that is in force already changes nothing', () => {
  const world = new PolicyWorld();
  world.set(OPEN);
  const commits = world.commits.length;
  const again = world.set(OPEN);
  assert.equal([again.isChanged, again.version], [false, 1]);
  assert.is(world.commits.length, commits);
});

test('a device that asks for a tag by login gets it when its owner may give it', () => {
  const world = new PolicyWorld();
  world.set({ tagOwners: { 'tag:web': ['ann@'] } });
  world.user('ann');
  const machine = new Machine(world, 50, 'w');
  const url = machine.register({ Hostinfo: hostinfo('w', [], { RequestTags: ['tag:web'] }) }).AuthURL;
  const device = url.slice(url.lastIndexOf('/') + 1);
  assert.equal(world.devices()[0]!.tags, ['tag:web']);
  assert.not(world.outcome({ type: 'device-approve', tailnet: 'default', device }).isOk, 'owner may not');
  assert.ok(world.outcome({ type: 'device-approve', tailnet: 'default', device, user: 'ann' }).isOk);
  assert.equal(world.record('w').tags, ['tag:web']);
  assert.is(world.record('w').keyExpiryMs, 0);
});

test.run();
