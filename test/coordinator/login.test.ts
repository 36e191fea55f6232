/** Logins without an auth key: an address is shown, somebody approves, the waiting request is answered. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { WireRegisterResponse } from '../../lib/control/message.ts';
import { Machine, pendingIdOf, World } from './support.ts';

const test = suite('login');

function answerOf(world: World, request: number): WireRegisterResponse {
  return JSON.parse(world.replies.get(request)!.text) as WireRegisterResponse;
}

test('a device shows an address, waits, and is told when somebody has approved it', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const { AuthURL } = machine.register();
  assert.match(AuthURL, /^https:\/\/control\.test\/register\/[0-9a-f]{32}$/);
  const waiting = machine.post({ Followup: AuthURL });
  world.advance(60_000);
  assert.not(world.replies.has(waiting), 'the request waits');
  const [login] = world.devices();
  assert.is(login!.state, 'login');
  assert.is(login!.hostname, 'host-1');
  assert.is(login!.machineKey, machine.mkey);
  assert.equal(world.coordinator.pendingLogin(world.nowMs, login!.pendingId!), {
    hostname: 'host-1',
    os: 'linux',
    machineKey: machine.mkey,
  });
  const view = world.run({ type: 'device-approve', tailnet: 'default', device: login!.pendingId! });
  assert.is(view.state, 'approved');
  const answer = answerOf(world, waiting);
  assert.is(answer.AuthURL, '');
  assert.is(answer.MachineAuthorized, true);
  assert.is(answer.Login.LoginName, 'owner');
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), 'default');
  assert.is(machine.register({ Followup: AuthURL }).AuthURL, '', 'who comes late is a device already');
  assert.is(world.outcome({ type: 'device-approve', tailnet: 'default', device: login!.pendingId! }).isOk, false);
});

test('an approval names the owner, and approves where devices need it', () => {
  const world = new World();
  world.run({ type: 'tailnet-create', tailnet: 'lab', requiresApproval: true });
  world.run({ type: 'user-create', tailnet: 'lab', loginName: 'ann@example.com' });
  const machine = new Machine(world, 1);
  const device = pendingIdOf(machine.register());
  assert.is(world.outcome({ type: 'device-approve', tailnet: 'lab', device, user: 'bob' }).isOk, false);
  world.run({ type: 'device-approve', tailnet: 'lab', device, user: 'ann@example.com' });
  const answer = machine.register();
  assert.is(answer.Login.LoginName, 'ann@example.com');
  assert.is(answer.MachineAuthorized, true);
  assert.is(world.coordinator.tailnetOfNode(world.unixMs, machine.nodeBytes), 'lab');
});

test('asking again gives the same address, another node key another one', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const first = machine.register().AuthURL;
  assert.is(machine.register().AuthURL, first);
  machine.renew(1);
  assert.is.not(machine.register().AuthURL, first);
});

test('the login of another machine or node key does not answer', () => {
  const world = new World();
  const [a, b] = [new Machine(world, 1), new Machine(world, 2)];
  const { AuthURL } = a.register();
  const refused = b.register({ Followup: AuthURL });
  assert.is(refused.Error, 'this login belongs to another machine');
  a.renew(1);
  assert.is(a.register({ Followup: AuthURL }).Error, 'this login belongs to another machine');
});

test('a login that is refused says so to the device that waits', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const { AuthURL } = machine.register();
  const waiting = machine.post({ Followup: AuthURL });
  world.run({ type: 'device-remove', tailnet: 'default', device: world.devices()[0]!.pendingId! });
  assert.is(answerOf(world, waiting).Error, 'the login was refused');
  assert.is(world.devices().length, 0);
  assert.ok(world.auditLog.includes('admin login-refuse'));
});

test('a login waits for 15 minutes from the last question; then the device is shown a new address', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const { AuthURL } = machine.register();
  world.advance(600_000);
  const waiting = machine.post({ Followup: AuthURL });
  world.advance(15 * 60_000 - 1);
  assert.not(world.replies.has(waiting));
  world.advance(1);
  const next = answerOf(world, waiting).AuthURL;
  assert.is.not(next, '');
  assert.is.not(next, AuthURL);
  const late = machine.register({ Followup: AuthURL });
  assert.is(late.AuthURL, next, 'an old address leads to the new one');
  world.advance(15 * 60_000);
  assert.is(world.devices().length, 0);
  assert.is(world.coordinator.status().pendingLogins, 0);
});

test('a login that is over cannot be approved, also before anybody has cleaned up', () => {
  const world = new World();
  const device = pendingIdOf(new Machine(world, 1).register());
  world.nowMs += 15 * 60_000;
  assert.is(world.outcome({ type: 'device-approve', tailnet: 'default', device }).isOk, false);
});

test('nobody hears of a client that has gone', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const answer = machine.register();
  const waiting = machine.post({ Followup: answer.AuthURL });
  world.coordinator.abandon(world.nowMs, waiting);
  world.run({ type: 'device-approve', tailnet: 'default', device: pendingIdOf(answer) });
  assert.not(world.replies.has(waiting));
  assert.is(world.coordinator.status().requests, 0);
});

test('when too many logins wait the least recently used gives way', () => {
  const world = new World({ limits: { pendingLogins: 3 } });
  const machines = [1, 2, 3].map(seed => new Machine(world, seed));
  const [first] = machines.map(
    (machine, i) => JSON.parse(world.replies.get(machine.post({}, `192.0.2.${i}`))!.text).AuthURL,
  );
  const waiting = machines[1]!.post({ Followup: machines[1]!.register().AuthURL });
  machines[0]!.register();
  assert.is(machines[2]!.register().Error, '');
  const late = new Machine(world, 4);
  late.post({}, '192.0.2.9');
  assert.is(answerOf(world, waiting).Error, 'this login is over: start it again');
  assert.equal(
    world
      .devices()
      .map(({ hostname }) => hostname)
      .sort(),
    ['host-1', 'host-3', 'host-4'],
  );
  assert.is(machines[0]!.register().AuthURL, first);
});

test('one source can only push out its own logins', () => {
  const world = new World({ limits: { pendingLogins: 100, pendingLoginsPerSource: 2 } });
  new Machine(world, 1).post({}, '192.0.2.1');
  for (let i = 2; i < 10; i++) new Machine(world, i).post({}, '198.51.100.7');
  assert.equal(
    world.devices().map(({ hostname }) => hostname),
    ['host-1', 'host-8', 'host-9'],
  );
});

test('one network of IPv6 is one source', () => {
  const world = new World({ limits: { pendingLogins: 100, pendingLoginsPerSource: 2 } });
  new Machine(world, 1).post({}, '2001:db8:0:1::1');
  for (let i = 2; i < 10; i++) new Machine(world, i).post({}, `2001:db8:0:2::${i}`);
  assert.equal(
    world.devices().map(({ hostname }) => hostname),
    ['host-1', 'host-8', 'host-9'],
  );
});

test('many sources together push out their own logins, as long as one of them has more than others', () => {
  const world = new World({ limits: { pendingLogins: 8, pendingLoginsPerSource: 4 } });
  new Machine(world, 1).post({}, '192.0.2.1');
  for (let i = 2; i < 40; i++) new Machine(world, i).post({}, `198.51.100.${i % 4}`);
  assert.ok(world.devices().some(({ hostname }) => hostname === 'host-1'));
  assert.is(world.devices().length, 8);
});

test('while a device logs in again its old key works, and afterwards it is the same device', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  const before = world.record('host-1');
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  const old = machine.renew(1);
  const login = machine.register({ OldNodeKey: old });
  assert.is(world.record('host-1').nodeKey, old);
  world.run({ type: 'device-approve', tailnet: 'default', device: pendingIdOf(login) });
  const after = world.record('host-1');
  assert.is(after.id, before.id);
  assert.equal(after.addresses, before.addresses);
  assert.is(after.nodeKey, machine.nodeKey);
  assert.is(world.devices().length, 1);
  assert.is(machine.register({ OldNodeKey: old }).AuthURL, '');
});

test('a login of a device of one network is not for another', () => {
  const world = new World();
  world.run({ type: 'tailnet-create', tailnet: 'other' });
  const machine = new Machine(world, 1);
  machine.join(world.key());
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  const old = machine.renew(1);
  const device = pendingIdOf(machine.register({ OldNodeKey: old }));
  assert.is(world.devices('other').length, 0);
  for (const type of ['device-approve', 'device-remove'])
    assert.is(world.outcome({ type, tailnet: 'other', device }).isOk, false);
  assert.is(world.devices().length, 2);
});

test('a login of no network is listed for the administrator of the server only; who has its id may approve it', () => {
  const world = new World();
  world.run({ type: 'tailnet-create', tailnet: 'other' });
  const actor = { name: 'token:1', tailnet: 'other' };
  const machine = new Machine(world, 1);
  const device = pendingIdOf(machine.register());
  assert.is(world.devices('other').length, 1);
  assert.equal(world.run({ type: 'device-list', tailnet: 'other' }, actor), []);
  assert.is(world.run({ type: 'device-approve', tailnet: 'other', device }, actor).state, 'approved');
});

test('a login whose node key has become a device with an auth key is over', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  const device = pendingIdOf(machine.register());
  machine.join(world.key());
  assert.is(world.outcome({ type: 'device-approve', tailnet: 'default', device }).isOk, false);
  assert.is(world.devices().filter(({ state }) => state === 'approved').length, 1);
});

test('a login goes on when its device is removed meanwhile', () => {
  const world = new World();
  const machine = new Machine(world, 1);
  machine.join(world.key());
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-1' });
  const old = machine.renew(1);
  const first = machine.register({ OldNodeKey: old });
  world.run({ type: 'device-remove', tailnet: 'default', device: 'host-1' });
  const second = machine.register({ OldNodeKey: old, Followup: first.AuthURL });
  assert.is.not(second.AuthURL, first.AuthURL);
  world.run({ type: 'device-approve', tailnet: 'default', device: pendingIdOf(second) });
  assert.is(world.devices().length, 1);
  assert.is(machine.register().AuthURL, '');
});

test('one source may only have so many requests that wait', () => {
  const world = new World({ limits: { waitingPerSource: 2 } });
  const machines = [1, 2, 3].map(seed => new Machine(world, seed));
  const urls = machines.map(machine => machine.register().AuthURL);
  const requests = machines.map((machine, i) => machine.post({ Followup: urls[i] }));
  const refused = world.replies.get(requests[2]!)!;
  assert.is(refused.status, 429);
  assert.equal(refused.headers, { 'retry-after': '5' });
  assert.is(world.replies.get(machines[2]!.poll())!.status, 429, 'maps count as well');
  world.coordinator.abandon(world.nowMs, requests[0]!);
  assert.is(machines[2]!.register().AuthURL, urls[2]);
  assert.not(world.replies.has(machines[2]!.post({ Followup: urls[2] })));
});

test.run();
