/** Who a connection belongs to, over real sockets: session keys with the node keys of others, and fifty hands on one key. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { DeviceView, KeyView } from '../../lib/coordinator/commands.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { command, random, startTestServer, TestDevice, TestRelayClient } from './support.ts';

const test = suite('key pairs over sockets');

test('a single-use key that fifty clients use at once admits one, and says so to the others', async () => {
  const { server, stop } = await startTestServer();
  const { key, id } = await command<KeyView>(server, { type: 'key-create', tailnet: 'default' });
  const devices = Array.from({ length: 50 }, () => new TestDevice());
  await Promise.all(devices.map(device => device.connect(server.url)));
  const answers = await Promise.all(devices.map(device => device.register(key!)));
  const errors = answers.map(answer => (answer['Error'] as string | undefined) ?? '');
  assert.is(errors.filter(error => error === '').length, 1);
  assert.is(errors.filter(error => error.startsWith('auth key already used')).length, 49);
  const listed = await command<DeviceView[]>(server, { type: 'device-list', tailnet: 'default' });
  assert.equal(
    listed.map(({ nodeKey }) => nodeKey),
    [devices[errors.indexOf('')]!.node],
  );
  const [used] = await command<KeyView[]>(server, { type: 'key-list', tailnet: 'default' });
  assert.equal([used!.id, used!.uses, used!.state], [id, 1, 'used']);
  // Those that were not admitted get no map and no relay.
  const refused = devices[errors.findIndex(error => error !== '')]!;
  assert.is((await refused.ask('/machine/map', { Version: 113, NodeKey: refused.node, Stream: false })).status, 404);
  const relay = new TestRelayClient(refused.nodeKey);
  await relay.connect(server.relayPort!, 'tls');
  assert.ok(relay.isClosed);
  for (const device of devices) device.close();
  await stop();
});

test('no session gets anything with the node key of another, on any endpoint', async () => {
  const { server, stop } = await startTestServer();
  await command(server, { type: 'tailnet-create', tailnet: 'other' });
  const devices: TestDevice[] = [];
  for (const tailnet of ['default', 'default', 'other']) {
    const { key } = await command<KeyView>(server, { type: 'key-create', tailnet });
    const device = new TestDevice();
    await device.connect(server.url);
    assert.is((await device.register(key!))['Error'] ?? '', '');
    devices.push(device);
  }
  const { key: spare } = await command<KeyView>(server, { type: 'key-create', tailnet: 'default', isReusable: true });
  const list = async () => {
    const views: DeviceView[] = [];
    for (const tailnet of ['default', 'other'])
      views.push(...(await command<DeviceView[]>(server, { type: 'device-list', tailnet })));
    return JSON.stringify(views.map(({ lastSeenMs: _, ...view }) => view));
  };
  const before = await list();
  const fresh = `nodekey:${'7'.repeat(64)}`;
  let pairs = 0;
  for (const machine of devices) {
    for (const { node: NodeKey } of devices.filter(other => other !== machine)) {
      for (const [path, body] of [
        ['register', { NodeKey }],
        ['register', { NodeKey, Auth: { AuthKey: spare } }],
        ['register', { NodeKey, Expiry: '1970-01-01T00:02:03Z' }],
        ['register', { NodeKey: fresh, OldNodeKey: NodeKey }],
        ['register', { NodeKey, Followup: `${server.url}/register/0123456789abcdef` }],
        ['map', { NodeKey, Stream: true }],
        ['map', { NodeKey, Stream: false }],
        ['map', { NodeKey, OmitPeers: true, Endpoints: ['192.0.2.66:6'] }],
      ] as const) {
        const answer = await machine.ask(`/machine/${path}`, { Version: 113, ...body });
        const text = Buffer.from(answer.body).toString();
        const isRefused =
          answer.status === 404 || (answer.status === 200 && /belongs to another machine/.test(JSON.parse(text).Error));
        assert.ok(isRefused, `${path} ${JSON.stringify(body)}: ${answer.status} ${text}`);
        pairs++;
      }
    }
  }
  assert.is(pairs, 3 * 2 * 8);
  assert.is(await list(), before);
  for (const device of devices) device.close();
  await stop();
});

test('the relay takes a node key from nobody but who can open with it', async () => {
  const { server, stop } = await startTestServer();
  const { key } = await command<KeyView>(server, { type: 'key-create', tailnet: 'default' });
  const device = new TestDevice();
  await device.connect(server.url);
  await device.register(key!);
  const honest = new TestRelayClient(device.nodeKey);
  await honest.connect(server.relayPort!, 'tls');
  assert.not.ok(honest.isClosed);
  // The member's public key in front of a box that another key has sealed.
  const thief = new TestRelayClient(SecretKey.generate(random));
  const connecting = thief.connect(server.relayPort!, 'tls');
  thief.machine.publicKey.set(honest.key);
  await connecting;
  assert.ok(thief.isClosed);
  assert.not.ok(honest.isClosed, 'and the member stays');
  device.close();
  honest.close();
  await stop();
});

test.run();
