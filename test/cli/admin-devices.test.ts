/** Devices from join to removal: a real server, devices over real sockets, and the command line beside it. */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminResults, DeviceView } from '../../lib/coordinator/commands.ts';
import {
  messagesOf,
  startTestServer,
  TestDevice,
  type TestResponse,
  type TestServer,
  until,
} from '../server/support.ts';
import { runLine } from './admin-run.ts';

const test = suite('cli admin devices');

let server: TestServer;
const devices: TestDevice[] = [];

test.before(async () => {
  server = await startTestServer();
});

/** Runs a command line on the data folder of the server; never opens it offline. */
async function run(line: string) {
  const ran = await runLine([...line.split(' '), '--data', join(server.folder, 'data')]);
  if (ran.error !== undefined) throw ran.error;
  return ran;
}

async function json<T>(line: string): Promise<T> {
  return JSON.parse((await run(`${line} --json`)).out[0]!) as T;
}

const listed = (tailnet: string) => json<DeviceView[]>(`devices list --tailnet ${tailnet}`);

async function connect(): Promise<TestDevice> {
  const device = new TestDevice();
  devices.push(device);
  await device.connect(server.server.url);
  return device;
}

/** Whether the newest node of the device itself in a map stream is authorised. */
function isAuthorized(map: TestResponse): boolean | undefined {
  const nodes = messagesOf(map.body).flatMap(message => (message['Node'] as { MachineAuthorized?: boolean }) ?? []);
  return nodes.at(-1)?.MachineAuthorized === true;
}

test('a device that joins with a key is listed, online, and carries its tags', async () => {
  const { key } = await json<AdminResults['key-create']>('keys create --tag web');
  const device = await connect();
  await device.register(key!, { Hostinfo: { Hostname: 'Web One', OS: 'linux' } });
  device.openMap();
  await until(() => device.responses.size > 0);
  const [view] = await listed('default');
  assert.equal([view!.name, view!.tags, view!.state, view!.nodeKey], ['web-one', ['tag:web'], 'approved', device.node]);
  const { out } = await run('devices list');
  assert.match(out[0]!, /^ID +NAME +ADDRESS +OWNER +OS +STATE/);
  assert.match(out[1]!, /web-one +100\.\d+\.\d+\.\d+ +tag:web +linux +approved/);
  assert.equal((await json<AdminResults['key-list']>('keys list'))[0]!.state, 'used');
});

test('where an approval is needed a device waits, and is let in', async () => {
  await run('tailnets create lab --approval on');
  const { key } = await json<AdminResults['key-create']>('keys create --tailnet lab');
  const device = await connect();
  await device.register(key!, { Hostinfo: { Hostname: 'laptop', OS: 'linux' } });
  const map = device.openMap();
  await until(() => messagesOf(map.body).length > 0);
  assert.is(isAuthorized(map), false);
  assert.match((await run('devices list --tailnet lab')).out[1]!, /laptop .*needs approval/);
  const { out } = await run('devices approve laptop --tailnet lab');
  assert.match(out[0]!, /^approved laptop \(100\.\d+\.\d+\.\d+\)$/);
  await until(() => isAuthorized(map) === true, 'the approval');
  assert.is((await listed('lab'))[0]!.state, 'approved');
  assert.is((await listed('default')).length, 1, 'the other tailnet has its own');
});

test('a device is renamed by its address, expired by its name, removed by its id', async () => {
  const [before] = await listed('lab');
  await run(`devices rename ${before!.addresses[0]} db-1 --tailnet lab`);
  const [renamed] = await listed('lab');
  assert.equal([renamed!.name, renamed!.fullName], ['db-1', 'db-1.lab.mote.internal']);
  await run('devices expire db-1 --tailnet lab');
  assert.is((await listed('lab'))[0]!.state, 'expired');
  await assertFails('devices remove db-1', /db-1/, 'it is in another tailnet');
  const { out } = await run(`devices remove ${before!.id} --tailnet lab`);
  assert.equal(out, [`removed ${before!.id}`]);
  assert.equal(await listed('lab'), []);
});

test('a login that waits is listed by its id, and approved by it', async () => {
  const device = await connect();
  const first = JSON.parse(
    Buffer.from(
      (
        await device.ask('/machine/register', {
          ...{ Version: 113, NodeKey: device.node, Hostinfo: { Hostname: 'phone', OS: 'android' } },
        })
      ).body,
    ).toString(),
  ) as { AuthURL: string };
  assert.match(first.AuthURL, /\/register\//);
  const waiting = (await listed('default')).find(({ state }) => state === 'login');
  assert.ok(waiting?.pendingId !== undefined && first.AuthURL.includes(waiting.pendingId));
  const { out } = await run('devices list');
  assert.ok(out.some(line => line.includes(waiting.pendingId!) && /phone .*login waits/.test(line)));
  await run('users create ann');
  await run(`devices approve ${waiting.pendingId} --user ann`);
  await device.register('', { Auth: null, Followup: first.AuthURL, Hostinfo: { Hostname: 'phone', OS: 'android' } });
  const joined = (await listed('default')).find(({ name }) => name === 'phone');
  assert.equal([joined?.user, joined?.state, joined?.nodeKey], ['ann', 'approved', device.node]);
  await assertFails('users remove ann', /ann|device/, 'she owns a device');
});

test('a tailnet with devices goes only by force, and takes them along', async () => {
  const { key } = await json<AdminResults['key-create']>('keys create --tailnet lab --preapproved');
  const device = await connect();
  await device.register(key!);
  await assertFails('tailnets remove lab', /./, 'it has a device');
  await run('tailnets remove lab --force');
  await assertFails('devices list --tailnet lab', /lab/);
});

async function assertFails(line: string, expected: RegExp, why = ''): Promise<void> {
  const failure = await run(line).then(
    () => undefined,
    (error: Error) => error.message,
  );
  assert.type(failure, 'string', `${line}: ${why}`);
  assert.match(failure!, expected);
}

test.after(async () => {
  for (const device of devices) device.close();
  await server.stop();
});

test.run();
