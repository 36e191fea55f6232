/** Administrators' commands: what they do, what they refuse, and who may give them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminErrorCode } from '../../lib/coordinator/commands.ts';
import { ADMIN, DAY_MS, Machine, World } from './support.ts';

const test = suite('admin');

function refused(world: World, code: AdminErrorCode, command: object, actor = ADMIN): string {
  const { length } = world.commits;
  const outcome = world.outcome(command, actor);
  assert.is(outcome.isOk ? JSON.stringify(outcome.value) : outcome.code, code, JSON.stringify(command));
  assert.is(world.commits.length, length, 'what is refused changes nothing');
  return outcome.isOk ? '' : outcome.message;
}

test('every command that changes something has an entry in the audit log with its actor', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  world.run({ type: 'tailnet-create', tailnet: 'lab' });
  world.run({ type: 'tailnet-update', tailnet: 'lab', requiresApproval: true, keyLifeMs: DAY_MS });
  world.run({ type: 'user-create', tailnet: 'lab', loginName: 'ann' });
  const key = world.key({ tailnet: 'lab', user: 'ann' });
  machine.join(key);
  world.run({ type: 'device-approve', tailnet: 'lab', device: 'host-1' });
  world.run({ type: 'device-rename', tailnet: 'lab', device: 'host-1', name: 'web' });
  world.run({ type: 'device-expire', tailnet: 'lab', device: 'web' });
  world.run({ type: 'device-remove', tailnet: 'lab', device: 'web' });
  world.run({ type: 'key-revoke', tailnet: 'lab', id: key.split('-')[2]! });
  world.run({ type: 'user-remove', tailnet: 'lab', loginName: 'ann' });
  const token = world.run({ type: 'token-create', tailnet: 'lab' });
  world.run({ type: 'token-revoke', tailnet: 'lab', id: token.id });
  world.run({ type: 'tailnet-remove', tailnet: 'lab' });
  assert.equal(world.auditLog, [
    'coordinator tailnet-create',
    'admin tailnet-create',
    'admin tailnet-update',
    'admin user-create',
    'admin key-create',
    'key:… device-join',
    'admin device-approve',
    'admin device-rename',
    'admin device-expire',
    'admin device-remove',
    'admin key-revoke',
    'admin user-remove',
    'admin token-create',
    'admin token-revoke',
    'admin tailnet-remove',
  ]);
  const ofLab = [...world.coordinator.records()].filter(({ tailnet }) => tailnet === 'lab');
  assert.equal(ofLab, [], 'nothing of a tailnet that is removed stays');
  assert.ok(world.commits.every(({ id }, i) => id === i + 1));
});

test('a tailnet is listed with what is in it', () => {
  const world = new World();
  new Machine(world, 1).join(world.key());
  world.run({ type: 'tailnet-create', tailnet: 'lab', requiresApproval: true, keyLifeMs: 0 });
  assert.equal(world.run({ type: 'tailnet-list' }), [
    {
      id: 'default',
      suffix: 'default.mote.internal',
      createdMs: world.unixMs,
      requiresApproval: false,
      keyLifeMs: 180 * DAY_MS,
      devices: 1,
      users: 1,
      policyVersion: 0,
    },
    {
      id: 'lab',
      suffix: 'lab.mote.internal',
      createdMs: world.unixMs,
      requiresApproval: true,
      keyLifeMs: 0,
      devices: 0,
      users: 1,
      policyVersion: 0,
    },
  ]);
  new Machine(world, 2).join(world.key({ tailnet: 'lab' }));
  assert.is(world.record('host-2', 'lab').keyExpiryMs, 0, 'keys of no end');
});

test('tailnets: names, twice, with devices, the last one, too many', () => {
  const world = new World({ limits: { tailnets: 2 } });
  for (const tailnet of ['', 'A', 'a.b', '-a', 'a-', 'x'.repeat(64), 'ä', undefined, 7, null])
    refused(world, 'invalid', { type: 'tailnet-create', tailnet });
  refused(world, 'conflict', { type: 'tailnet-create', tailnet: 'default' });
  refused(world, 'conflict', { type: 'tailnet-remove', tailnet: 'default' });
  world.run({ type: 'tailnet-create', tailnet: 'lab' });
  refused(world, 'conflict', { type: 'tailnet-create', tailnet: 'more' });
  const machine = new Machine(world, 1);
  machine.join(world.key({ tailnet: 'lab' }));
  const stream = machine.stream();
  refused(world, 'conflict', { type: 'tailnet-remove', tailnet: 'lab' });
  world.run({ type: 'tailnet-remove', tailnet: 'lab', force: true });
  assert.ok(world.streams.get(stream)!.isOver);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), undefined);
  refused(world, 'not-found', { type: 'device-list', tailnet: 'lab' });
  world.run({ type: 'tailnet-create', tailnet: 'lab' });
  assert.is(world.devices('lab').length, 0);
  assert.is(machine.poll() > 0 && machine.update().status, 404);
});

test('users: names, twice, with devices, keys that go with them', () => {
  const world = new World({ limits: { usersPerTailnet: 2 } });
  const user = { type: 'user-create', tailnet: 'default' } as const;
  for (const loginName of ['', 'a b', 'a\n', '@a', 'x'.repeat(128), 'tagged-devices', undefined, {}])
    refused(world, 'invalid', { ...user, loginName });
  refused(world, 'invalid', { ...user, loginName: 'a', displayName: 'a\nb' });
  refused(world, 'conflict', { ...user, loginName: 'owner' });
  world.run({ ...user, loginName: 'ann@example.com', displayName: 'Ann Ä' });
  refused(world, 'conflict', { ...user, loginName: 'bob' });
  const key = world.key({ user: 'ann@example.com', isReusable: true });
  new Machine(world, 1).join(key);
  assert.equal(
    world
      .run({ type: 'user-list', tailnet: 'default' })
      .map(({ loginName, displayName, devices }) => [loginName, displayName, devices]),
    [
      ['owner', 'owner', 0],
      ['ann@example.com', 'Ann Ä', 1],
    ],
  );
  refused(world, 'conflict', { type: 'user-remove', tailnet: 'default', loginName: 'ann@example.com' });
  refused(world, 'not-found', { type: 'user-remove', tailnet: 'default', loginName: 'zoe' });
  world.run({ type: 'device-remove', tailnet: 'default', device: 'host-1' });
  world.run({ type: 'user-remove', tailnet: 'default', loginName: 'ann@example.com' });
  assert.is(new Machine(world, 2).join(key).Error, 'auth key not valid');
});

test('auth keys: what they are made of, and the text only once', () => {
  const world = new World();
  const made = world.run({
    type: 'key-create',
    tailnet: 'default',
    description: 'ci',
    lifeMs: 5000,
    isReusable: true,
    isEphemeral: true,
    isPreapproved: true,
    tags: ['tag:ci'],
  });
  assert.match(made.key!, /^mote-auth-[0-9a-f]{12}-[A-Za-z0-9_-]{43}$/);
  const { key: text, ...rest } = made;
  assert.equal(world.run({ type: 'key-list', tailnet: 'default' }), [rest]);
  assert.equal(rest, {
    id: text!.split('-')[2]!,
    user: 'owner',
    description: 'ci',
    createdMs: world.unixMs,
    expiresMs: world.unixMs + 5000,
    isReusable: true,
    isEphemeral: true,
    isPreapproved: true,
    tags: ['tag:ci'],
    uses: 0,
    lastUsedMs: 0,
    state: 'valid',
  });
  world.advance(5000);
  assert.is(world.run({ type: 'key-list', tailnet: 'default' })[0]!.state, 'expired');
  assert.is(
    world.run({ type: 'key-revoke', tailnet: 'default', id: text! }).state,
    'revoked',
    'the whole text is as good as the id',
  );
  const single = world.run({ type: 'key-create', tailnet: 'default' });
  assert.is(single.expiresMs, world.unixMs + 3_600_000);
  new Machine(world, 1).join(single.key!);
  assert.is(world.run({ type: 'key-list', tailnet: 'default' })[1]!.state, 'used');
});

test('auth keys: what they cannot be', () => {
  const world = new World({ limits: { tags: 2 } });
  const key = { type: 'key-create', tailnet: 'default' };
  for (const lifeMs of [0, -1, 1.5, 366 * DAY_MS, '1', null, Number.NaN]) refused(world, 'invalid', { ...key, lifeMs });
  for (const tags of ['tag:a', ['a'], ['tag:'], ['tag:A'], ['tag:a', 'tag:a'], ['tag:a', 'tag:b', 'tag:c'], [7], {}])
    refused(world, 'invalid', { ...key, tags });
  for (const isReusable of [1, 'true', null]) refused(world, 'invalid', { ...key, isReusable });
  refused(world, 'invalid', { ...key, description: 'x'.repeat(257) });
  refused(world, 'invalid', { ...key, description: 'a\u001b[2J' });
  refused(world, 'not-found', { ...key, user: 'zoe' });
  refused(world, 'not-found', { type: 'key-revoke', tailnet: 'default', id: '000000000000' });
});

test('too many auth keys: one that is over gives way, one that is good does not', () => {
  const world = new World({ limits: { keysPerTailnet: 2 } });
  const first = world.key();
  world.key();
  refused(world, 'conflict', { type: 'key-create', tailnet: 'default' });
  new Machine(world, 1).join(first);
  world.key();
  assert.equal(
    world.run({ type: 'key-list', tailnet: 'default' }).map(({ state }) => state),
    ['valid', 'valid'],
  );
  assert.is(new Machine(world, 2).join(first).Error, 'auth key not valid');
});

test('a device goes by its id, its name, its full name and its addresses', () => {
  const world = new World();
  new Machine(world, 1, 'web').join(world.key());
  const [device] = world.devices();
  const [v4, v6] = device!.addresses;
  for (const text of [
    String(device!.id),
    'web',
    'WEB',
    'web.default.mote.internal',
    'web.default.mote.internal.',
    v4,
    v6,
    v6.toUpperCase(),
  ])
    assert.is(world.run({ type: 'device-approve', tailnet: 'default', device: text }).id, device!.id, text);
  for (const device of ['web.other.mote.internal', '100.64.0.0', 'x', '0', '1e3', '__proto__'])
    refused(world, 'not-found', { type: 'device-remove', tailnet: 'default', device });
  for (const device of ['', undefined, 7, 'x'.repeat(257)])
    refused(world, 'invalid', { type: 'device-remove', tailnet: 'default', device });
});

test('a device that calls itself as the id of another is not taken for it', () => {
  const world = new World();
  new Machine(world, 1, 'web').join(world.key());
  const { id } = world.devices()[0]!;
  new Machine(world, 2, String(id)).join(world.key());
  world.run({ type: 'device-remove', tailnet: 'default', device: String(id) });
  assert.equal(
    world.devices().map(({ name }) => name),
    [String(id)],
  );
});

test('names that an administrator gives are labels, free, and not looked up by programs on their own', () => {
  const world = new World();
  new Machine(world, 1, 'web').join(world.key());
  new Machine(world, 2, 'db').join(world.key());
  const rename = { type: 'device-rename', tailnet: 'default', device: 'web' };
  for (const name of ['', 'A', 'a.b', '-a', 'a_b', 'localhost', 'wpad', undefined])
    refused(world, 'invalid', { ...rename, name });
  refused(world, 'conflict', { ...rename, name: 'db' });
  assert.is(world.run({ type: 'device-rename', tailnet: 'default', device: 'web', name: 'web' }).name, 'web');
  assert.is(
    world.run({ type: 'device-rename', tailnet: 'default', device: 'web', name: 'www' }).fullName,
    'www.default.mote.internal',
  );
});

test('what has been done is not done again', () => {
  const world = new World();
  const key = world.key();
  const machine = new Machine(world, 1);
  machine.join(key);
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  world.run({ type: 'key-revoke', tailnet: 'default', id: key.split('-')[2]! });
  const { length } = world.commits;
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  world.run({ type: 'device-approve', tailnet: 'default', device: 'host-1' });
  world.run({ type: 'key-revoke', tailnet: 'default', id: key.split('-')[2]! });
  assert.is(world.commits.length, length);
  refused(world, 'invalid', { type: 'device-approve', tailnet: 'default', device: 'host-1', user: 'owner' });
});

test('a removed device is gone for its peers, its stream ends, and its node key is free', () => {
  const world = new World();
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  a.join(world.key());
  b.join(world.key());
  const [ofA, ofB] = [a.stream(), b.stream()];
  world.advance(200);
  const { id } = world.record('host-1');
  world.run({ type: 'device-remove', tailnet: 'default', device: 'host-1' });
  world.advance(200);
  assert.ok(world.streams.get(ofA)!.isOver);
  assert.ok(world.streams.get(ofB)!.text.includes(`"PeersRemoved":[${id}]`));
  const gone = world.events.find(event => event.type === 'relay-disconnect');
  assert.equal(gone?.nodeKey, a.nodeBytes);
  assert.is(gone?.tailnet, 'default');
  assert.is(a.update().status, 404);
  assert.ok(a.register().AuthURL !== '');
});

test('a command may be anything', () => {
  const world = new World();
  for (const command of [
    null,
    7,
    'x',
    [],
    {},
    { type: 7 },
    { type: 'constructor' },
    { type: '__proto__' },
    { type: 'toString', tailnet: 'default' },
  ])
    refused(world, 'invalid', command as never);
  const types = [
    'user-list',
    'key-list',
    'device-list',
    'tailnet-update',
    'user-create',
    'key-create',
    'token-list',
    'device-rename',
  ];
  for (const type of types) {
    refused(world, 'invalid', { type });
    for (const tailnet of [7, {}, 'A B', '../x'])
      refused(world, 'invalid', { type, tailnet, loginName: 'a', device: 'a', name: 'a' });
  }
  refused(world, 'not-found', { type: 'key-list', tailnet: 'constructor' });
  refused(world, 'invalid', { type: 'tailnet-update', tailnet: 'default', keyLifeMs: -1 });
  const inherited = Object.create({ tailnet: 'default', device: 'x' }) as object;
  refused(world, 'invalid', Object.assign(inherited, { type: 'tailnet-create' }));
});

test('tokens: shown once, good until their end, and then not', () => {
  const world = new World();
  const made = world.run({ type: 'token-create', tailnet: '', description: 'ci', lifeMs: 5000 });
  const { token: text, ...rest } = made;
  assert.match(text!, /^mote-api-[0-9a-f]{12}-[A-Za-z0-9_-]{43}$/);
  assert.equal(world.run({ type: 'token-list', tailnet: '' }), [rest]);
  assert.equal(world.run({ type: 'token-list', tailnet: 'default' }), []);
  assert.equal(world.coordinator.authenticate(world.unixMs, text!), { name: `token:${made.id}`, tailnet: undefined });
  assert.is(
    world.coordinator.authenticate(world.unixMs, `${text!.slice(0, -2)}${text!.endsWith('AA') ? 'BB' : 'AA'}`),
    undefined,
  );
  assert.is(world.coordinator.authenticate(world.unixMs, text!.replace('api', 'auth')), undefined);
  for (const other of ['', 'x', world.key()]) assert.is(world.coordinator.authenticate(world.unixMs, other), undefined);
  assert.ok(world.coordinator.authenticate(world.unixMs + 4999, text!));
  assert.is(world.coordinator.authenticate(world.unixMs + 5000, text!), undefined);
  const other = world.run({ type: 'token-create', tailnet: 'default' });
  assert.equal(world.coordinator.authenticate(world.unixMs, other.token!), {
    name: `token:${other.id}`,
    tailnet: 'default',
  });
  refused(world, 'not-found', { type: 'token-revoke', tailnet: '', id: other.id });
  world.run({ type: 'token-revoke', tailnet: 'default', id: other.id });
  assert.is(world.coordinator.authenticate(world.unixMs, other.token!), undefined);
  refused(world, 'not-found', { type: 'token-create', tailnet: 'nowhere' });
});

test('too many tokens: one that is over gives way', () => {
  const world = new World({ limits: { tokens: 1 } });
  world.run({ type: 'token-create', tailnet: 'default', lifeMs: 5000 });
  refused(world, 'conflict', { type: 'token-create', tailnet: 'default' });
  world.advance(5000);
  world.run({ type: 'token-create', tailnet: '' });
  assert.is(world.run({ type: 'token-list', tailnet: 'default' }).length, 0);
});

test('a token of one tailnet cannot touch another, nor the server', () => {
  const world = new World();
  world.run({ type: 'tailnet-create', tailnet: 'lab' });
  new Machine(world, 1).join(world.key());
  const key = world.key();
  const whole = world.run({ type: 'token-create', tailnet: '' });
  const text = world.run({ type: 'token-create', tailnet: 'lab' }).token!;
  const actor = world.coordinator.authenticate(world.unixMs, text)!;
  const foreign = { tailnet: 'default', loginName: 'owner', device: 'host-1', name: 'x', id: key.split('-')[2] };
  const types = [
    'tailnet-update',
    'tailnet-remove',
    'user-list',
    'user-create',
    'user-remove',
    'key-create',
    'key-list',
    'key-revoke',
    'device-list',
    'device-approve',
    'device-rename',
    'device-expire',
    'device-remove',
    'token-create',
    'token-list',
    'token-revoke',
  ];
  for (const type of types) refused(world, 'forbidden', { type, ...foreign }, actor);
  for (const type of ['token-create', 'token-list', 'token-revoke'])
    refused(world, 'forbidden', { type, tailnet: '', id: whole.id }, actor);
  refused(world, 'forbidden', { type: 'tailnet-create', tailnet: 'lab' }, actor);
  refused(world, 'forbidden', { type: 'tailnet-remove', tailnet: 'lab', force: true }, actor);
  refused(world, 'not-found', { type: 'token-revoke', tailnet: 'lab', id: whole.id }, actor);
  refused(world, 'not-found', { type: 'device-remove', tailnet: 'lab', device: 'host-1' }, actor);
  assert.equal(
    world.run({ type: 'tailnet-list' }, actor).map(({ id }) => id),
    ['lab'],
  );
  assert.is(world.run({ type: 'key-create', tailnet: 'lab' }, actor).state, 'valid');
  assert.is(world.commits.at(-1)!.audit!.actor, actor.name);
});

test.run();
