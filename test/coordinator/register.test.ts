/** Register, rule by rule: auth keys, coming back, new node keys, ends of keys, leaving. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DAY_MS, Machine, START_UNIX_MS, World } from './support.ts';
import { formatTimeMs } from '../../lib/control/time.ts';

const test = suite('register');
const LOGOUT = '1970-01-01T00:02:03Z';

function time(unixMs: number): string {
  return formatTimeMs(unixMs);
}

test('an answer has every field', () => {
  const world = new World();
  const answer = new Machine(world, 1).join(world.key());
  assert.equal(Object.keys(answer).sort(), [
    'AuthURL',
    'Error',
    'Login',
    'MachineAuthorized',
    'NodeKeyExpired',
    'NodeKeySignature',
    'User',
  ]);
  assert.equal(Object.keys(answer.Login).sort(), ['DisplayName', 'ID', 'LoginName', 'Provider']);
  const refused = new Machine(world, 2).join('nonsense');
  assert.equal(Object.keys(refused).sort(), Object.keys(answer).sort());
});

test('a spent single-use key does not keep a device from coming back with it', () => {
  const world = new World();
  const key = world.key();
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  assert.is(a.join(key).Error, '');
  const commits = world.commits.length;
  for (let i = 0; i < 3; i++) assert.is(a.join(key).Error, '');
  assert.is(a.register().Error, '', 'nor without it');
  assert.is(world.commits.length, commits, 'and nothing is written for it');
  assert.is(b.join(key).Error, 'auth key already used: it was made for one device');
  assert.is(world.devices().length, 1);
});

test('a reusable key admits many, and counts them', () => {
  const world = new World();
  const key = world.key({ isReusable: true });
  for (let i = 1; i <= 3; i++) assert.is(new Machine(world, i).join(key).Error, '');
  const [view] = world.run({ type: 'key-list', tailnet: 'default' });
  assert.is(view!.uses, 3);
  assert.is(view!.lastUsedMs, world.unixMs);
  assert.is(view!.state, 'valid');
});

test('a key is refused once it is revoked', () => {
  const world = new World();
  const key = world.key({ isReusable: true });
  world.run({ type: 'key-revoke', tailnet: 'default', id: key.split('-')[2]! });
  assert.is(new Machine(world, 1).join(key).Error, 'auth key revoked');
  assert.is(world.devices().length, 0);
});

test('a key is good until one millisecond before its end', () => {
  const world = new World();
  const key = world.key({ isReusable: true, lifeMs: 10_000 });
  world.advance(9999);
  assert.is(new Machine(world, 1).join(key).Error, '');
  world.advance(1);
  assert.is(new Machine(world, 2).join(key).Error, 'auth key expired');
});

test('a key with another secret behind its id is no key', () => {
  const world = new World();
  const key = world.key();
  const forged = key.slice(0, -3) + (key.endsWith('AAA') ? 'BBB' : 'AAA');
  const before = world.commits.length;
  assert.is(new Machine(world, 1).join(forged).Error, 'auth key not valid');
  assert.is(new Machine(world, 1).join('mote-auth-000000000000-' + key.slice(-43)).Error, 'auth key not valid');
  assert.is(new Machine(world, 1).join(key.replace('auth', 'api')).Error, 'auth key not valid');
  assert.is(world.commits.length, before, 'a stranger writes nothing into the audit log');
});

test('who holds a key that is over is in the audit log, so many times an hour', () => {
  const world = new World({ limits: { auditedRefusalsPerHour: 3 } });
  const key = world.key();
  new Machine(world, 1).join(key);
  const refusals = () => world.auditLog.filter(line => line === 'coordinator device-refused').length;
  for (let i = 2; i < 10; i++) new Machine(world, i).join(key);
  assert.is(refusals(), 3);
  world.advance(3_600_000);
  new Machine(world, 2).join(key);
  assert.is(refusals(), 4);
  assert.is(
    world.events.filter(event => event.type === 'log' && event.level === 'warn').length,
    9,
    'the log has them all',
  );
});

test('a request needs a node key that is one', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const zero = `nodekey:${'0'.repeat(64)}`;
  for (const NodeKey of [undefined, null, '', 'x', 7, zero, machine.nodeKey + '0', machine.mkey]) {
    const reply = world.replies.get(machine.post({ NodeKey, Auth: { AuthKey: world.key() } }))!;
    assert.is(reply.status, 400, String(NodeKey));
  }
  assert.is(world.replies.get(machine.post({ OldNodeKey: 'x' }))!.status, 400);
  assert.is(world.devices().length, 0);
});

test('a node key of another machine is refused, with and without an auth key', () => {
  const world = new World();
  const key = world.key({ isReusable: true });
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  a.join(key);
  b.nodeKey = a.nodeKey;
  for (const o of [{}, { Auth: { AuthKey: key } }, { Expiry: LOGOUT }, { OldNodeKey: a.nodeKey }])
    assert.is(b.register(o).Error, 'this node key belongs to another machine');
  assert.is(a.register().Error, '');
  assert.is(world.devices().length, 1);
});

test('an old node key of another machine is refused', () => {
  const world = new World();
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  a.join(world.key());
  const key = world.key();
  for (const o of [{}, { Auth: { AuthKey: key } }])
    assert.is(b.register({ OldNodeKey: a.nodeKey, ...o }).Error, 'the old node key belongs to another machine');
  assert.is(world.record('host-1').nodeKey, a.nodeKey);
});

test('a device changes its node key by itself: id, addresses and name stay, its life begins anew', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  machine.stream();
  const before = world.record('host-1');
  world.jump(120 * DAY_MS);
  const old = machine.renew(1);
  assert.is(machine.register({ OldNodeKey: old }).Error, '');
  const after = world.record('host-1');
  assert.is(after.id, before.id);
  assert.equal(after.addresses, before.addresses);
  assert.is(after.nodeKey, machine.nodeKey);
  assert.is(after.keyExpiryMs, before.keyExpiryMs + 120 * DAY_MS);
  const gone = world.events.filter(event => event.type === 'relay-disconnect');
  assert.equal(gone.length, 1, 'the relay lets go of the old key');
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), 'default');
  assert.is(world.replies.get(world.postMap(machine.machineKey, { NodeKey: old }))!.status, 404);
  assert.is(machine.register({ OldNodeKey: old }).Error, '', 'the same request again is fine');
});

test('a new node key needs no auth key, even when the one that is sent along is spent', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const key = world.key();
  machine.join(key);
  const old = machine.renew(1);
  assert.is(machine.join(key, { OldNodeKey: old }).Error, '');
  assert.is(world.devices().length, 1);
  assert.is(world.record('host-1').nodeKey, machine.nodeKey);
});

test('a node key that has ended has to log in again', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  world.jump(180 * DAY_MS - 1);
  assert.is(machine.register().NodeKeyExpired, false);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), 'default');
  world.advance(1);
  assert.is(machine.register().NodeKeyExpired, true);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), undefined);
  assert.is(world.events.filter(event => event.type === 'relay-disconnect').length, 1);
  assert.is(world.devices()[0]!.state, 'expired');
  const old = machine.renew(1);
  assert.ok(machine.register({ OldNodeKey: old }).AuthURL.startsWith('https://control.test/register/'));
  assert.is(world.record('host-1').nodeKey, old);
  const before = world.record('host-1');
  assert.is(machine.join(world.key(), { OldNodeKey: old }).Error, '');
  const after = world.record('host-1');
  assert.is(after.id, before.id, 'an auth key of the same owner renews the same device');
  assert.equal(after.addresses, before.addresses);
});

test('a device that cannot change its node key renews it with an auth key', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const key = world.key();
  machine.join(key);
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  assert.is(machine.join(key).Error, 'auth key already used: it was made for one device');
  assert.is(machine.join(world.key()).NodeKeyExpired, false);
  assert.is(world.devices()[0]!.state, 'approved');
  assert.is(world.devices().length, 1);
});

test('the key of another owner makes another device, and the first one stays', () => {
  const world = new World();
  world.run({ type: 'user-create', tailnet: 'default', loginName: 'ann' });
  const machine = new Machine(world, 1);
  machine.join(world.key());
  const old = machine.renew(1);
  machine.join(world.key({ user: 'ann' }), { OldNodeKey: old });
  assert.equal(
    world.devices().map(({ name, user }) => `${name} ${user}`),
    ['host-1 owner', 'host-1-1 ann'],
  );
  assert.is(world.record('host-1').nodeKey, old);
});

test('a node key that has ended cannot be taken along to another owner or network', () => {
  const world = new World();
  world.run({ type: 'user-create', tailnet: 'default', loginName: 'ann' });
  world.run({ type: 'tailnet-create', tailnet: 'other' });
  const machine = new Machine(world, 1);
  machine.join(world.key());
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  for (const o of [{ user: 'ann' }, { tailnet: 'other' }]) assert.is(machine.join(world.key(o)).NodeKeyExpired, true);
  const old = machine.renew(1);
  assert.is(machine.join(world.key({ tailnet: 'other' }), { OldNodeKey: old }).Error, '');
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), 'other');
  assert.is(world.devices().length, 1);
});

test('an end in the past logs out: the key is over, the device stays', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  const answer = machine.register({ Expiry: LOGOUT, Auth: { AuthKey: world.key() } });
  assert.is(answer.NodeKeyExpired, true);
  assert.is(world.record('host-1').keyExpiryMs, world.unixMs);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), undefined);
  assert.is(machine.register().NodeKeyExpired, true);
  const commits = world.commits.length;
  machine.register({ Expiry: LOGOUT });
  assert.is(world.commits.length, commits, 'twice is once');
  assert.ok(world.auditLog.includes('device:… device-logout'));
  assert.is(new Machine(world, 2).register({ Expiry: LOGOUT }).NodeKeyExpired, true, 'a stranger may leave as well');
});

test('an ephemeral device that logs out is gone at once', () => {
  const world = new World();
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  a.join(world.key({ isEphemeral: true }));
  b.join(world.key());
  const stream = b.stream();
  a.stream();
  const { id } = world.record('host-1');
  world.advance(200);
  a.register({ Expiry: LOGOUT });
  world.advance(200);
  assert.is(world.devices().length, 1);
  assert.ok(world.streams.get(stream)!.text.includes(`"PeersRemoved":[${id}]`));
});

test('year 1 is no end; an earlier end is granted, a later one is not', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key(), { Expiry: '0001-01-01T00:00:00Z' });
  const usual = START_UNIX_MS + 180 * DAY_MS;
  assert.is(world.record('host-1').keyExpiryMs, usual);
  machine.register({ Expiry: time(usual + DAY_MS) });
  assert.is(world.record('host-1').keyExpiryMs, usual);
  machine.register({ Expiry: time(usual - DAY_MS) });
  assert.is(world.record('host-1').keyExpiryMs, usual - DAY_MS);
  machine.register({ Expiry: time(usual) });
  assert.is(world.record('host-1').keyExpiryMs, usual - DAY_MS);
  const other = new Machine(world, 2);
  other.join(world.key(), { Expiry: time(world.unixMs + 5000) });
  assert.is(world.record('host-2').keyExpiryMs, world.unixMs + 5000);
  const late = new Machine(world, 3);
  late.join(world.key(), { Expiry: time(usual + DAY_MS) });
  assert.is(world.record('host-3').keyExpiryMs, usual);
});

test('tags come from the key, and their devices do not end', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const key = world.key({ tags: ['tag:web', 'tag:eu'] });
  const answer = machine.join(key, { Hostinfo: { Hostname: 'w', RequestTags: ['tag:web'] } });
  assert.is(answer.Error, '');
  assert.is(answer.Login.LoginName, 'tagged-devices');
  const record = world.record('w');
  assert.equal(record.tags, ['tag:web', 'tag:eu']);
  assert.is(record.keyExpiryMs, 0);
});

test('a tag that the key does not have is refused, and the key is not used up', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const key = world.key({ tags: ['tag:web'] });
  const Hostinfo = { Hostname: 'w', RequestTags: ['tag:web', 'tag:admin'] };
  assert.ok(machine.join(key, { Hostinfo }).Error.includes('tag'));
  assert.is(world.devices().length, 0);
  assert.ok(machine.register({ Hostinfo }).Error.includes('tag'), 'nor by login');
  assert.is(machine.join(key).Error, '');
});

test('where devices need an approval they wait for it, unless their key has it', () => {
  const world = new World();
  world.run({ type: 'tailnet-update', tailnet: 'default', requiresApproval: true });
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  assert.is(a.join(world.key()).MachineAuthorized, false);
  assert.is(b.join(world.key({ isPreapproved: true })).MachineAuthorized, true);
  assert.equal(
    world.devices().map(({ state }) => state),
    ['waiting', 'approved'],
  );
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, a.nodeBytes), undefined, 'the relay is not for it');
  const [of_a, of_b] = [a.stream(), b.stream()];
  world.advance(200);
  assert.not(world.streams.get(of_a)!.text.includes('host-2'));
  assert.not(world.streams.get(of_b)!.text.includes('host-1'));
  assert.is(world.run({ type: 'device-approve', tailnet: 'default', device: 'host-1' }).state, 'approved');
  world.advance(200);
  assert.ok(world.streams.get(of_a)!.text.includes('host-2'));
  assert.ok(world.streams.get(of_b)!.text.includes('host-1'));
  assert.is(a.register().MachineAuthorized, true);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, a.nodeBytes), 'default');
});

test('a new node key does not approve a device that waits', () => {
  const world = new World();
  world.run({ type: 'tailnet-update', tailnet: 'default', requiresApproval: true });
  const machine = new Machine(world, 1);
  machine.join(world.key());
  const old = machine.renew(1);
  assert.is(machine.register({ OldNodeKey: old }).MachineAuthorized, false);
  assert.is(machine.join(world.key()).MachineAuthorized, false);
  const older = machine.renew(2);
  assert.is(machine.join(world.key(), { OldNodeKey: older }).MachineAuthorized, false);
  assert.is(world.devices().length, 1);
});

test('a signature is kept as it came, for its node key only', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key(), { NodeKeySignature: 'AAEC' });
  assert.is(world.record('host-1').keySignature, 'AAEC');
  machine.register({ NodeKeySignature: 'AAED' });
  assert.is(world.record('host-1').keySignature, 'AAED');
  machine.register({ NodeKeySignature: 'not base64!' });
  machine.register();
  assert.is(world.record('host-1').keySignature, 'AAED');
  const old = machine.renew(1);
  machine.register({ OldNodeKey: old });
  assert.is(world.record('host-1').keySignature, '');
});

test('what a device says of itself at register becomes its record', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  machine.hostname = 'renamed';
  machine.register({ Version: 120, Hostinfo: { HostName: 'Renamed', Os: 'macOS', IpnVersion: '2' } });
  const { name, hostname, os, version, capability } = world.record('renamed');
  assert.equal(
    { name, hostname, os, version, capability },
    {
      name: 'renamed',
      hostname: 'Renamed',
      os: 'macOS',
      version: '2',
      capability: 120,
    },
  );
  assert.is(world.commits.at(-1)!.audit?.action, 'device-rename');
});

test('a request without Hostinfo, or with fields of other types, is as good as one without them', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const answer = machine.join(world.key(), {
    Hostinfo: null,
    Expiry: 7,
    Followup: {},
    NodeKeySignature: [],
    Version: 'x',
  });
  assert.is(answer.Error, '');
  assert.is(world.devices()[0]!.name, 'device');
  assert.is(machine.register({ Hostinfo: [1], Auth: 'x' }).Error, '');
});

test('a network takes as many devices as it may, and the key stays good', () => {
  const world = new World({ limits: { devicesPerTailnet: 2 } });
  const key = world.key({ isReusable: true });
  for (let i = 1; i <= 2; i++) new Machine(world, i).join(key);
  assert.is(new Machine(world, 3).join(key).Error, 'this network has as many devices as it may');
  assert.is(world.run({ type: 'key-list', tailnet: 'default' })[0]!.uses, 2);
  world.run({ type: 'device-remove', tailnet: 'default', device: 'host-1' });
  assert.is(new Machine(world, 3).join(key).Error, '');
});

test('an address is never given again, and a network without addresses says so', () => {
  const world = new World({ limits: { addressesPerTailnet: 3 } });
  const key = world.key({ isReusable: true });
  const seen = new Set<string>();
  for (let i = 1; i <= 3; i++) {
    new Machine(world, i).join(key);
    seen.add(world.record(`host-${i}`).addresses[0]);
    world.run({ type: 'device-remove', tailnet: 'default', device: `host-${i}` });
  }
  assert.is(seen.size, 3);
  assert.is(new Machine(world, 4).join(key).Error, 'this network has no addresses left');
});

test.run();
