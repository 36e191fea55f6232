/** Commands about policies, tags, routes and names: their forms, their answers, and what they leave in the records. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminErrorCode, DeviceView } from '../../lib/coordinator/commands.ts';
import { hostinfo, PolicyWorld } from './policy-support.ts';
import { DAY_MS, Machine, pendingIdOf } from './support.ts';

const test = suite('policy commands');
const DEFAULT = { tailnet: 'default' } as const;
const TAGS = { tagOwners: { 'tag:web': ['owner@'], 'tag:db': ['owner@'], 'tag:ann': ['ann@'] } };

function refused(world: PolicyWorld, code: AdminErrorCode, command: object): string {
  const outcome = world.outcome({ ...DEFAULT, ...command });
  if (outcome.isOk) throw new Error(`${JSON.stringify(command)} was not refused`);
  assert.is(outcome.code, code, outcome.message);
  return outcome.message;
}

test('a policy that cannot be read is refused with every problem, its line and its column', () => {
  const world = new PolicyWorld();
  const outcome = world.trySet('{\n  "acls": [],\n  "grops": {},\n  "hosts": {"a": "1.2.3"}\n}');
  if (outcome.isOk) throw new Error('it was not refused');
  assert.is(outcome.code, 'invalid');
  assert.is(outcome.details!.length, 2);
  assert.match(outcome.details![0]!, /^3:3: .*grops.*groups/);
  assert.match(outcome.details![1]!, /^4:\d+: /);
  assert.match(outcome.message, /^the policy cannot be read: 3:3: .* \(and 1 more\)$/);
  assert.is(world.policy.version, 0);
});

test('the size of a policy is counted in bytes, up to the limit', () => {
  const world = new PolicyWorld({ limits: { policyBytes: 20 } });
  assert.ok(world.trySet('{/* 45678901234 */}').isOk);
  assert.is(world.policy.text.length, 19);
  assert.ok(world.trySet('{/* 456789012345 */}').isOk);
  assert.match(refused(world, 'invalid', { type: 'policy-set', text: '{/* 4567890123456 */}' }), /at most 20 bytes/);
  assert.match(refused(world, 'invalid', { type: 'policy-set', text: '{/* 45678901234ö */}' }), /at most 20 bytes/);
});

test('who changes another version than the one that was read is told so', () => {
  const world = new PolicyWorld();
  assert.is(world.set('{}', { version: 0 }).version, 1);
  assert.match(refused(world, 'conflict', { type: 'policy-set', text: '{ }', version: 0 }), /version 1 is in place/);
  assert.match(
    refused(world, 'conflict', { type: 'policy-set', text: '{ }', version: 2, isDryRun: true }),
    /version 1/,
  );
  assert.is(world.set('{ }', { version: 1 }).version, 2);
  assert.is(world.set('{  }').version, 3, 'or whatever is there');
});

test('a dry run says what would change, and changes nothing', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  world.device('web', { tags: ['tag:web'] });
  const records = JSON.stringify([...world.coordinator.records()]);
  const policy = { ...TAGS, acls: [{ action: 'accept', src: ['owner@'], dst: ['tag:web:443'] }], ssh: [] };
  const change = world.set(policy, { isDryRun: true });
  assert.equal([change.isDryRun, change.isChanged, change.version], [true, true, 1]);
  assert.equal([change.diff.gainedPairs, change.diff.lostPairs], [0, 2]);
  assert.equal(change.diff.lost.map(({ source, destination }) => [source, destination]).sort(), [
    ['laptop', 'web'],
    ['web', 'laptop'],
  ]);
  assert.is(change.notes.length, 1, 'ssh is not evaluated');
  assert.is(JSON.stringify([...world.coordinator.records()]), records);
  assert.equal([world.policy.version, world.sessions.heard.length], [0, 0]);
  const failing = { ...policy, tests: [{ src: 'owner@', accept: ['tag:web:80'] }] };
  assert.not(world.trySet(failing, { isDryRun: true }).isOk, 'its tests run as well');
});

test('the audit log has the version and the counts of a policy', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  world.device('web', { tags: ['tag:web'] });
  world.set({ ...TAGS, acls: [], tests: [{ src: 'owner@', deny: ['tag:web:22'] }] });
  const { audit, changes } = world.commits.at(-1)!;
  assert.equal(
    [audit!.action, audit!.target, audit!.details],
    ['policy-set', 'policy:default', { version: 1, rules: 0, tests: 1, gained: 0, lost: 2 }],
  );
  assert.equal(
    changes.map(({ id }) => id),
    ['current', 'good'],
    'both in one commit',
  );
});

test('explain answers for names, ids, addresses of devices and any other address', () => {
  const world = new PolicyWorld();
  world.device('laptop');
  world.device('web', { tags: ['tag:web'] });
  world.set({
    ...TAGS,
    hosts: { office: '192.0.2.0/24' },
    acls: [
      { action: 'accept', src: ['owner@'], dst: ['tag:web:443'] },
      { action: 'accept', src: ['office'], dst: ['tag:web:80'], proto: 'tcp' },
    ],
  });
  const [laptop, web] = [world.record('laptop'), world.record('web')];
  const ask = (source: string, destination: string, port: number, more: object = {}) =>
    world.run({ type: 'policy-explain', ...DEFAULT, source, destination, port, ...more });
  const answer = ask('laptop', 'web.default.mote.internal', 443);
  assert.equal([answer.isAllowed, answer.rule!.name, answer.pairs.length], [true, 'acls[0]', 2]);
  assert.match(answer.reason, /^allowed: acls\[0\] in line \d+$/);
  assert.ok(ask(String(laptop.id), web.addresses[1], 443).isAllowed);
  assert.is(ask(laptop.addresses[0], web.addresses[0], 443).pairs.length, 1, 'an address is itself alone');
  assert.is(ask('laptop', 'web', 22).isAllowed, false);
  assert.ok(ask('192.0.2.7', 'web', 80).isAllowed);
  assert.is(ask('192.0.2.7', 'web', 80, { protocol: 17 }).isAllowed, false);
  assert.is(ask('web', 'laptop', 443).reason, 'no rule allows it');
  refused(world, 'not-found', { type: 'policy-explain', source: 'nobody', destination: 'web', port: 1 });
  for (const bad of [{ port: 65_536 }, { port: -1 }, { port: 1.5 }, { port: 1, protocol: 256 }, {}])
    refused(world, 'invalid', { type: 'policy-explain', source: 'laptop', destination: 'web', ...bad });
  world.run({ type: 'device-expire', ...DEFAULT, device: 'laptop' });
  const expired = ask('laptop', 'web', 443);
  assert.equal([expired.isAllowed, expired.reason], [false, 'laptop takes no part: its node key has expired']);
  assert.is(ask(laptop.addresses[0], 'web', 443).isAllowed, false, 'nor by its address');
  assert.match(ask(`::ffff:${laptop.addresses[0]}`, 'web', 443).reason, /^laptop takes no part/, 'in either form');
});

test('tags that the policy does not declare are refused for keys and devices, and any are fine without a policy', () => {
  const world = new PolicyWorld();
  world.device('box');
  assert.equal(world.run({ type: 'device-tags', ...DEFAULT, device: 'box', tags: ['tag:any'] }).tags, ['tag:any']);
  world.key({ tags: ['tag:any'] });
  world.set(TAGS);
  for (const command of [{ type: 'key-create' }, { type: 'device-tags', device: 'box' }])
    assert.match(
      refused(world, 'invalid', { ...command, tags: ['tag:web', 'tag:other'] }),
      /does not declare tag:other: add it to "tagOwners"/,
    );
  world.key({ tags: ['tag:web'] });
  assert.equal(world.run({ type: 'device-tags', ...DEFAULT, device: 'box', tags: ['tag:web'] }).tags, ['tag:web']);
  refused(world, 'invalid', { type: 'device-tags', device: 'box', tags: ['web'] });
  refused(world, 'invalid', { type: 'device-tags', device: 'box' });
  refused(world, 'not-found', { type: 'device-tags', device: 'nobody', tags: [] });
});

test('with tags a node key does not end, without them it has the usual life again, and one that is over stays over', () => {
  const world = new PolicyWorld();
  world.device('box');
  const tag = (tags: string[]) => world.run({ type: 'device-tags', ...DEFAULT, device: 'box', tags });
  assert.is(tag(['tag:a']).keyExpiryMs, 0);
  world.jump(DAY_MS);
  assert.is(tag(['tag:b']).keyExpiryMs, 0);
  assert.is(tag([]).keyExpiryMs, world.unixMs + 180 * DAY_MS);
  world.run({ type: 'tailnet-update', ...DEFAULT, keyLifeMs: 0 });
  assert.is(tag(['tag:a']).keyExpiryMs, 0);
  assert.is(tag([]).keyExpiryMs, 0);
  const { keyExpiryMs } = world.run({ type: 'device-expire', ...DEFAULT, device: 'box' });
  assert.is(tag(['tag:a']).keyExpiryMs, keyExpiryMs);
  assert.is(tag([]).state, 'expired');
  const commits = world.commits.length;
  tag([]);
  assert.is(world.commits.length, commits, 'nothing to do');
});

test('routes are shown as offered and approved, and those that are both are in force', () => {
  const world = new PolicyWorld();
  const offered = ['10.9.0.5/24', '10.9.0.0/24', 'fd00:1::/48', '0.0.0.0/0'];
  world.device('router', { routes: offered });
  const approve = (routes: string[]) => world.run({ type: 'device-routes', ...DEFAULT, device: 'router', routes });
  const view: DeviceView = approve(['10.9.0.0/24', '10.8.0.0/24', '10.8.0.0/24']);
  assert.equal(view.routes, [
    { route: '10.9.0.0/24', isApproved: true, isAdvertised: true },
    { route: 'fd00:1::/48', isApproved: false, isAdvertised: true },
    { route: '0.0.0.0/0', isApproved: false, isAdvertised: true },
    { route: '10.8.0.0/24', isApproved: true, isAdvertised: false },
  ]);
  assert.equal(world.commits.at(-1)!.audit!.details, {
    name: 'router',
    routes: '10.9.0.0/24,10.8.0.0/24',
    before: '',
  });
  assert.match(
    refused(world, 'invalid', { type: 'device-routes', device: 'router', routes: ['10.9.0.5/24'] }),
    /mean 10\.9\.0\.0\/24/,
  );
  for (const route of [
    '10.9.0.0',
    'x',
    '100.64.0.0/10',
    '100.100.0.0/24',
    'fd7a:115c:a1e0::5/128',
    '::ffff:10.0.0.0/104',
    '',
  ])
    assert.match(
      refused(world, 'invalid', { type: 'device-routes', device: 'router', routes: [route] }),
      /cannot be a route/,
    );
  refused(world, 'invalid', { type: 'device-routes', device: 'router', routes: [7] });
  refused(world, 'invalid', { type: 'device-routes', device: 'router' });
  assert.equal(
    approve(['fd7a:115c:a1e0:b1a:0:7::/96', '0.0.0.0/0', '64.0.0.0/2']).routes.filter(r => r.isApproved).length,
    3,
  );
});

test('a device offers so many routes, and none that is none', () => {
  const world = new PolicyWorld({ limits: { routes: 3 } });
  const router = world.device('router', {
    routes: [
      '100.64.1.0/24',
      '::ffff:10.0.0.0/104',
      '10.1.0.0/16',
      'x',
      '10.1.2.3/16',
      '10.2.0.0/16',
      '10.3.0.0/16',
      '10.4.0.0/16',
    ],
  });
  assert.equal(world.record('router').advertisedRoutes, ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16']);
  router.update({ Hostinfo: hostinfo('router', ['10.5.0.0/16'], { RoutableIPs: ['10.5.0.0/16', 7, null] }) });
  assert.equal(world.record('router').advertisedRoutes, ['10.5.0.0/16']);
  router.update();
  assert.equal(world.record('router').advertisedRoutes, ['10.5.0.0/16'], 'nothing was said');
  router.update({ Hostinfo: hostinfo('router') });
  assert.equal(world.record('router').advertisedRoutes, []);
  refused(world, 'invalid', {
    type: 'device-routes',
    device: 'router',
    routes: ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16', '10.4.0.0/16'],
  });
});

test('routes are approved by themselves when they are offered, by owner and by tag, and not a second time', () => {
  const world = new PolicyWorld();
  world.set({
    ...TAGS,
    autoApprovers: { routes: { '10.0.0.0/8': ['owner@'], '172.16.0.0/12': ['tag:web'] }, exitNode: ['tag:web'] },
  });
  const isApproved = (name: string) =>
    world
      .devices()
      .find(device => device.name === name)!
      .routes.map(route => `${route.route} ${route.isApproved}`);
  const box = world.device('box', { routes: ['10.1.0.0/16', '172.16.0.0/16', '0.0.0.0/0'] });
  assert.equal(isApproved('box'), ['10.1.0.0/16 true', '172.16.0.0/16 false', '0.0.0.0/0 false']);
  world.device('web', { tags: ['tag:web'], routes: ['10.1.0.0/16', '172.16.0.0/16', '0.0.0.0/0'] });
  assert.equal(
    isApproved('web'),
    ['10.1.0.0/16 false', '172.16.0.0/16 true', '0.0.0.0/0 true'],
    'its tags count alone',
  );
  world.run({ type: 'device-routes', ...DEFAULT, device: 'box', routes: [] });
  box.update({ Hostinfo: hostinfo('box', ['10.1.0.0/16', '10.2.0.0/16']) });
  assert.equal(
    isApproved('box'),
    ['10.1.0.0/16 false', '10.2.0.0/16 true'],
    'what an administrator took away stays away',
  );
  assert.is(world.auditLog.at(-1), 'device:… device-routes');
});

test('a device that turns its routes on and off is held up after so many times', () => {
  const world = new PolicyWorld({ limits: { ownActsPerHour: 4 } });
  world.set({ autoApprovers: { routes: { '10.0.0.0/8': ['owner@'] } } });
  const box = world.device('box');
  for (let i = 0; i < 4; i++) box.update({ Hostinfo: hostinfo('box', i % 2 === 0 ? ['10.1.0.0/16'] : []) });
  assert.equal(world.record('box').advertisedRoutes, []);
  const commits = world.commits.length;
  for (let i = 0; i < 20; i++) box.update({ Hostinfo: hostinfo('box', i % 2 === 0 ? ['10.1.0.0/16'] : []) });
  assert.equal(world.record('box').advertisedRoutes, []);
  assert.is(world.commits.length, commits);
  box.update({ Hostinfo: hostinfo('box', ['192.168.0.0/16']) });
  assert.equal(world.record('box').advertisedRoutes, ['192.168.0.0/16'], 'what is not in force is no matter');
  world.jump(3_600_000);
  box.update({ Hostinfo: hostinfo('box', ['10.1.0.0/16']) });
  assert.equal(world.record('box').approvedRoutes, ['10.1.0.0/16']);
});

test('approvals of routes that are not offered any more give way when there are too many', () => {
  const world = new PolicyWorld({ limits: { routes: 2, ownActsPerHour: 100 } });
  world.set({ autoApprovers: { routes: { '10.0.0.0/8': ['owner@'] } } });
  const box = world.device('box');
  for (let i = 0; i < 5; i++) box.update({ Hostinfo: hostinfo('box', [`10.${i}.0.0/16`]) });
  assert.equal(world.record('box').approvedRoutes, ['10.4.0.0/16', '10.3.0.0/16']);
});

test('the wishes of a login for tags are looked at before somebody is asked', () => {
  const world = new PolicyWorld({ limits: { tags: 2 } });
  const errorOf = (tags: unknown[], seed: number) =>
    new Machine(world, seed, 'w').register({ Hostinfo: hostinfo('w', [], { RequestTags: tags }) });
  assert.match(errorOf(['tag:web'], 60).Error, /auth key that has them, or a policy/);
  world.set(TAGS);
  assert.match(errorOf(['tag:other'], 61).Error, /does not declare/);
  assert.match(errorOf(['tag:web', 'tag:db', 'tag:ann'], 62).Error, /at most 2 tags/);
  world.run({ type: 'tailnet-create', tailnet: 'other' });
  assert.match(errorOf([`tag:${'x'.repeat(5000)}`], 63).Error, /that is none/);
  assert.match(errorOf(['group:x'], 64).Error, /that is none/);
  const answer = errorOf(['tag:other'], 65);
  assert.is(answer.Error, '', 'which network it is for is not known');
  const device = pendingIdOf(answer);
  assert.match(refused(world, 'conflict', { type: 'device-approve', device }), /does not declare/);
  assert.match(
    refused(world, 'conflict', { type: 'device-approve', device, tailnet: 'other' }),
    /auth key that has them/,
  );
  const ann = pendingIdOf(errorOf(['tag:ann'], 66));
  assert.match(refused(world, 'conflict', { type: 'device-approve', device: ann }), /^owner may not give tag:ann/);
  assert.is(world.devices().filter(({ state }) => state === 'approved').length, 0);
});

test('a user has another login name, which is all that changes', () => {
  const world = new PolicyWorld();
  world.user('ann');
  world.run({ type: 'user-create', ...DEFAULT, loginName: 'bob', displayName: 'Bob B.' });
  const { id } = world.run({ type: 'user-list', ...DEFAULT }).find(({ loginName }) => loginName === 'ann')!;
  const renamed = world.run({ type: 'user-rename', ...DEFAULT, loginName: 'ann', newLoginName: 'ann@example.com' });
  assert.equal([renamed.id, renamed.loginName, renamed.displayName], [id, 'ann@example.com', 'ann@example.com']);
  assert.is(
    world.run({ type: 'user-rename', ...DEFAULT, loginName: 'bob', newLoginName: 'rob' }).displayName,
    'Bob B.',
  );
  refused(world, 'not-found', { type: 'user-rename', loginName: 'ann', newLoginName: 'anna' });
  refused(world, 'conflict', { type: 'user-rename', loginName: 'rob', newLoginName: 'owner' });
  refused(world, 'invalid', { type: 'user-rename', loginName: 'rob', newLoginName: 'tagged-devices' });
  refused(world, 'invalid', { type: 'user-rename', loginName: 'rob' });
  const commits = world.commits.length;
  world.run({ type: 'user-rename', ...DEFAULT, loginName: 'rob', newLoginName: 'rob' });
  assert.is(world.commits.length, commits);
});

test('the policy of one network is not that of another, and goes with it', () => {
  const world = new PolicyWorld();
  world.run({ type: 'tailnet-create', tailnet: 'lab' });
  const text = '{"acls": [], "tests": [{"src": "10.0.0.1", "deny": ["10.0.0.2:1"]}]}';
  world.run({ type: 'policy-set', tailnet: 'lab', text });
  assert.equal([world.policy.version, world.policy.inForce], [0, 'allow-all']);
  assert.equal(world.sessions.heard, [['lab', 0, 1]]);
  const token = world.run({ type: 'token-create', tailnet: 'lab' }).token!;
  const actor = world.coordinator.authenticate(world.unixMs, token)!;
  for (const type of ['policy-get', 'policy-set', 'policy-explain', 'device-tags', 'device-routes', 'user-rename']) {
    const fields = { text: '{}', source: 'a', destination: 'b', port: 1, device: 'a', tags: [], routes: [] };
    const command = { type, ...DEFAULT, ...fields, loginName: 'owner', newLoginName: 'x' };
    const outcome = world.outcome(command, actor);
    assert.equal([outcome.isOk, (outcome as { code?: string }).code], [false, 'forbidden'], type);
  }
  world.run({ type: 'tailnet-remove', tailnet: 'lab' });
  assert.not(JSON.stringify([...world.coordinator.records()]).includes('10.0.0.1'));
  world.run({ type: 'tailnet-create', tailnet: 'lab' });
  assert.is(world.run({ type: 'policy-get', tailnet: 'lab' }).inForce, 'allow-all');
});

test.run();
