/** What devices say of themselves in map requests: what is kept, what is cleaned, what is written. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Machine, World } from './support.ts';
import { formatTimeMs } from '../../lib/control/time.ts';

const test = suite('updates');

function joined(o: object = {}): { world: World; machine: Machine } {
  const world = new World(o);
  const machine = new Machine(world, 1);
  machine.join(world.key());
  return { world, machine };
}

test('an update is answered with nothing, and written without an entry in the audit log', () => {
  const { world, machine } = joined();
  const reply = machine.update({ Endpoints: ['192.0.2.1:41641'] });
  assert.equal([reply.status, reply.text], [200, '']);
  const last = world.commits.at(-1)!;
  assert.is(last.audit, undefined);
  assert.is(last.changes.length, 1);
  const { discoKey, endpoints } = world.record('host-1');
  assert.is(discoKey, machine.nodeKey.replace('node', 'disco'));
  assert.equal(endpoints, ['192.0.2.1:41641']);
});

test('an update without news writes nothing', () => {
  const { world, machine } = joined();
  const update = {
    Endpoints: ['192.0.2.1:41641', '[2001:db8::1]:1'],
    Hostinfo: {
      Hostname: 'host-1',
      OS: 'linux',
      NetInfo: { PreferredDERP: 3 },
      Services: [{ Proto: 'peerapi4', Port: 1 }],
    },
  };
  machine.update(update);
  const { length } = world.commits;
  machine.update(update);
  machine.update({});
  machine.update({ Hostinfo: null, Endpoints: null });
  assert.is(world.commits.length, length);
});

test('what is absent stays, an empty list of endpoints is a list', () => {
  const { world, machine } = joined();
  const Hostinfo = { OS: 'linux', NetInfo: { PreferredDERP: 901 }, Services: [{ Proto: 'peerapi4', Port: 7 }] };
  machine.update({ Endpoints: ['192.0.2.1:1'], Hostinfo });
  machine.update({ Hostinfo: { OS: '', Hostname: ' ', NetInfo: null } });
  machine.update({ Hostinfo: { NetInfo: { PreferredDERP: 0 } } });
  const record = world.record('host-1');
  assert.is(record.homeRegion, 901);
  assert.is(record.os, 'linux');
  assert.equal(record.endpoints, ['192.0.2.1:1']);
  assert.equal(record.services, [{ Proto: 'peerapi4', Port: 7 }]);
  machine.update({ Endpoints: [], Hostinfo: { Services: [] } });
  assert.equal(world.record('host-1').endpoints, []);
  assert.equal(world.record('host-1').services, []);
});

test('a stream is an update of the disco key, and of the rest only before version 68', () => {
  const { world, machine } = joined();
  machine.stream({ Endpoints: ['192.0.2.1:1'] });
  assert.equal(world.record('host-1').endpoints, []);
  assert.is(world.record('host-1').discoKey, machine.nodeKey.replace('node', 'disco'));
  machine.stream({ Version: 67, Endpoints: ['192.0.2.2:2'] });
  assert.equal(world.record('host-1').endpoints, ['192.0.2.2:2']);
  assert.is(world.record('host-1').capability, 67);
});

test('a request without a version has that of its connection', () => {
  const { world, machine } = joined();
  world.postMap(machine.machineKey, { NodeKey: machine.nodeKey, OmitPeers: true }, 99);
  assert.is(world.record('host-1').capability, 99);
});

test('a disco key that is none is not taken', () => {
  const { world, machine } = joined();
  machine.update();
  const { discoKey } = world.record('host-1');
  for (const DiscoKey of ['', 'x', 5, `discokey:${'0'.repeat(64)}`, machine.nodeKey]) machine.update({ DiscoKey });
  assert.is(world.record('host-1').discoKey, discoKey);
});

test('endpoints that cannot be tried are dropped alone, the first 32 stay', () => {
  const { world, machine } = joined();
  const bad = [
    'x',
    '',
    7,
    null,
    '192.0.2.1',
    '192.0.2.1:0',
    '0.0.0.0:1',
    '0.1.2.3:1',
    '[::]:1',
    '169.254.1.1:1',
    '[fe80::1]:1',
    '[fe80::1%eth0]:1',
    '[2001:db8::1%a]:1',
    '224.0.0.1:1',
    '255.255.255.255:1',
    '[ff02::1]:1',
    '1'.repeat(1e4),
  ];
  machine.update({ Endpoints: [...bad, '192.0.2.1:1', '[2001:DB8:0::1]:2', '192.0.2.1:1', '127.0.0.1:3'] });
  assert.equal(world.record('host-1').endpoints, ['192.0.2.1:1', '[2001:db8::1]:2', '127.0.0.1:3']);
  machine.update({ Endpoints: Array.from({ length: 100 }, (_, i) => `192.0.2.${i}:1`) });
  assert.is(world.record('host-1').endpoints.length, 32);
});

test('texts are cleaned and cut', () => {
  const { world, machine } = joined();
  const Hostname = `  A\u0000B\u001b[31m\u202eC\ud800D${'x'.repeat(5000)}  `;
  machine.update({ Hostinfo: { Hostname, OS: 'l\nx'.repeat(99), IPNVersion: `${'v'.repeat(63)}😀` } });
  const [record] = world.devices();
  assert.is(record!.hostname.length, 128);
  assert.ok(record!.hostname.startsWith('AB[31mCDxxx'));
  assert.is(record!.os.length, 64);
  assert.not(record!.os.includes('\n'));
  assert.is(record!.version, 'v'.repeat(63));
});

test('of services only those that others need are kept', () => {
  const { world, machine } = joined();
  const Services = [
    { Proto: 'tcp', Port: 22, Description: 'sshd' },
    { Proto: 'peerapi4', Port: 0 },
    { Proto: 'peerapi4', Port: 70_000 },
    { Proto: 'peerapi4', Port: 5 },
    { Proto: 'peerapi4', Port: 6 },
    { Proto: 'peerapi6', Port: 8, Description: 'secret' },
    null,
    'x',
  ];
  machine.update({ Hostinfo: { Services, NetInfo: { PreferredDERP: 70_000 } } });
  const { services, homeRegion } = world.record('host-1');
  assert.equal(services, [
    { Proto: 'peerapi4', Port: 5 },
    { Proto: 'peerapi6', Port: 8 },
  ]);
  assert.is(homeRegion, 0);
});

test('a new hostname is a new name, with an entry in the audit log, unless the name is fixed', () => {
  const { world, machine } = joined();
  machine.update({ Hostinfo: { Hostname: 'Web Server' } });
  assert.is(world.record('web-server').hostname, 'Web Server');
  assert.equal(world.commits.at(-1)!.audit?.details, { name: 'web-server', before: 'host-1' });
  machine.update({ Hostinfo: { Hostname: 'web_server' } });
  assert.is(world.commits.at(-1)!.audit, undefined, 'the same label is no new name');
  world.run({ type: 'device-rename', tailnet: 'default', device: 'web-server', name: 'www' });
  machine.update({ Hostinfo: { Hostname: 'other' } });
  assert.is(world.record('www').hostname, 'other');
});

test('a device that is renamed to the name of another gets a number', () => {
  const { world, machine } = joined();
  const other = new Machine(world, 2);
  other.join(world.key());
  other.update({ Hostinfo: { Hostname: machine.hostname } });
  assert.equal(
    world.devices().map(({ name }) => name),
    ['host-1', 'host-1-1'],
  );
  other.update({ Hostinfo: { Hostname: 'HOST-1' } });
  assert.equal(
    world.devices().map(({ name }) => name),
    ['host-1', 'host-1-1'],
  );
});

test('a map that is asked for once comes once', () => {
  const { world, machine } = joined();
  const request = machine.poll();
  const stream = world.streams.get(request)!;
  assert.ok(stream.isOver);
  assert.ok(stream.text.includes('host-1.default.mote.internal.'));
  assert.is(world.coordinator.status().requests, 0);
});

test('a newer stream takes the place of the older one; an update disturbs none', () => {
  const { world, machine } = joined();
  const first = machine.stream();
  machine.update({ Endpoints: ['192.0.2.1:1'] });
  assert.not(world.streams.get(first)!.isOver);
  const second = machine.stream();
  assert.ok(world.streams.get(first)!.isOver);
  assert.not(world.streams.get(second)!.isOver);
  assert.is(world.coordinator.status().requests, 1);
});

test('the time of last contact is written when a device has gone, and only then', () => {
  const { world, machine } = joined();
  const stream = machine.stream();
  world.advance(60_000);
  const { length } = world.commits;
  world.coordinator.abandon(world.nowMs, stream);
  world.advance(5000);
  const again = machine.stream();
  world.advance(60_000);
  assert.is(world.commits.length, length, 'who is back soon was never gone');
  assert.is(world.devices()[0]!.isOnline, true);
  world.coordinator.abandon(world.nowMs, again);
  world.advance(10_000);
  assert.is(world.commits.length, length + 1);
  assert.is(world.commits.at(-1)!.audit, undefined);
  assert.is(world.record('host-1').lastSeenMs, world.unixMs);
  assert.is(world.devices()[0]!.isOnline, false);
});

test('a request that is no JSON object, nests too deep or is too large is refused before it is read', () => {
  const { world, machine } = joined({ limits: { bodyBytes: 5000 } });
  const statusOf = (body: string) => world.replies.get(world.postMap(machine.machineKey, body))!.status;
  for (const body of ['', 'x', '[]', '"x"', 'null', '{', '{}}', '[{}]', '\u0000']) assert.is(statusOf(body), 400, body);
  const nested = (depth: number) =>
    `{"NodeKey":"${machine.nodeKey}","OmitPeers":true,"x":${'['.repeat(depth)}${']'.repeat(depth)}}`;
  assert.is(statusOf(nested(31)), 200);
  assert.is(statusOf(nested(32)), 400);
  assert.is(statusOf(nested(0).replace('"x":', `"x":"${'['.repeat(100)}\\"[[{"`)), 200, 'brackets in a text are none');
  assert.is(statusOf(nested(0).replace('"x":', `"x":"${'y'.repeat(5000)}"`)), 413);
  assert.is(world.replies.get(world.postRegister(machine.machineKey, '[]'))!.status, 400);
  assert.is(world.replies.get(world.postRegister(machine.machineKey, 'x'.repeat(5001)))!.status, 413);
});

test('a machine key of another size is the caller’s mistake', () => {
  const { world } = joined();
  assert.throws(() => world.postMap(new Uint8Array(31), {}), /"machineKey" expected 32 bytes, got 31/);
});

test('what a device decides by itself, and the audit log keeps for ever, is bounded per hour', () => {
  const world = new World({ limits: { ownActsPerHour: 3 } });
  const machine = new Machine(world, 1);
  machine.join(world.key());
  const lines = () => world.commits.filter(({ audit }) => audit?.actor.startsWith('device:')).length;
  const rename = (name: string) => machine.update({ Hostinfo: { Hostname: name, OS: 'linux' } });
  const name = () => world.devices()[0]!.name;
  for (let i = 1; i <= 10; i++) assert.is(rename(`name-${i}`).status, 200);
  assert.is(name(), 'name-3');
  assert.is(lines(), 3);
  const old = machine.renew(1);
  assert.is(world.replies.get(machine.post({ OldNodeKey: old }))!.status, 429, 'a new key');
  machine.nodeKey = old;
  const sooner = formatTimeMs(world.unixMs + 1e6);
  assert.is(world.replies.get(machine.post({ Expiry: sooner }))!.status, 429, 'an earlier end');
  assert.is(lines(), 3);
  world.advance(3_600_000);
  rename('name-10');
  assert.is(name(), 'name-10');
  machine.renew(1);
  assert.is(machine.register({ OldNodeKey: old }).AuthURL, '');
  assert.is(lines(), 5);
});

test('how often a device leaves and joins again is bounded per hour, for itself alone', () => {
  const world = new World({ limits: { ownActsPerHour: 3 } });
  const key = world.key({ isReusable: true, lifeMs: 7_200_000 });
  const machine = new Machine(world, 1);
  machine.join(key);
  const again = () => {
    machine.register({ Expiry: '2001-01-01T00:00:00Z' });
    return machine.join(key).Error;
  };
  for (let i = 0; i < 3; i++) assert.is(again(), '');
  const before = world.commits.length;
  for (let i = 0; i < 10; i++) assert.match(again(), /too often/);
  assert.is(world.commits.length, before + 1, 'it is out, once');
  assert.is(new Machine(world, 2).join(key).Error, '');
  world.advance(3_600_000);
  assert.is(again(), '');
});

test.run();
