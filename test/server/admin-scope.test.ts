/** A token for one tailnet, tried on everything of another and of the whole server: nothing is told, nothing changes. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminCommand, AdminResults } from '../../lib/coordinator/commands.ts';
import { COMMAND_TYPES } from '../../targets/server/admin-command.ts';
import { ask } from './admin-support.ts';
import { command, startTestServer, TestDevice, type TestServer } from './support.ts';

const test = suite('admin scope');

const CANARY = 'canary-5b1f';
const COMMAND = '/api/v1/command';
let server: TestServer;
let port = 0;
let labToken = '';
let device: TestDevice;

/** One of each command about the tailnet `default`. */
function about(ids: { key: string; token: string; device: string }): { [T in AdminCommand['type']]: object } {
  const tailnet = 'default';
  return {
    'tailnet-list': {},
    'tailnet-create': { tailnet: 'fresh' },
    'tailnet-update': { tailnet, requiresApproval: true },
    'tailnet-remove': { tailnet, force: true },
    'user-list': { tailnet },
    'user-create': { tailnet, loginName: 'eve' },
    'user-rename': { tailnet, loginName: CANARY, newLoginName: 'eve' },
    'user-remove': { tailnet, loginName: CANARY },
    'key-create': { tailnet },
    'key-list': { tailnet },
    'key-revoke': { tailnet, id: ids.key },
    'device-list': { tailnet },
    'device-approve': { tailnet, device: ids.device },
    'device-rename': { tailnet, device: ids.device, name: 'eve' },
    'device-expire': { tailnet, device: ids.device },
    'device-remove': { tailnet, device: ids.device },
    'device-tags': { tailnet, device: ids.device, tags: ['tag:eve'] },
    'device-routes': { tailnet, device: ids.device, routes: ['192.0.2.0/24'] },
    'policy-get': { tailnet },
    'policy-set': { tailnet, text: '{"acls": []}' },
    'policy-explain': { tailnet, source: ids.device, destination: ids.device, port: 22 },
    'token-create': { tailnet },
    'token-list': { tailnet },
    'token-revoke': { tailnet, id: ids.token },
  };
}

async function everything(): Promise<string> {
  const types = ['user-list', 'key-list', 'device-list', 'token-list'] as const;
  const lists = types.map(type => command(server.server, { type, tailnet: 'default' }));
  const tokens = command(server.server, { type: 'token-list', tailnet: '' });
  const tailnets = await command<AdminResults['tailnet-list']>(server.server, { type: 'tailnet-list' });
  const { devices: _, ...rest } = tailnets.find(({ id }) => id === 'default')!;
  return JSON.stringify([await Promise.all([...lists, tokens]), rest, tailnets.map(({ id }) => id)]);
}

test.before(async () => {
  server = await startTestServer();
  port = Number(new URL(server.server.url).port);
  await command(server.server, { type: 'tailnet-create', tailnet: 'lab' });
  await command(server.server, { type: 'user-create', tailnet: 'default', loginName: CANARY, displayName: CANARY });
  const lab = { type: 'token-create', tailnet: 'lab' } as const;
  labToken = (await command<AdminResults['token-create']>(server.server, lab)).token!;
});

test('nothing of another tailnet, or of the server, is done or told', async () => {
  const keyOf = { type: 'key-create', tailnet: 'default', description: CANARY, user: CANARY } as const;
  const key = await command<AdminResults['key-create']>(server.server, keyOf);
  const tokenOf = { type: 'token-create', tailnet: 'default', description: CANARY } as const;
  const token = await command<AdminResults['token-create']>(server.server, tokenOf);
  device = new TestDevice();
  await device.connect(server.server.url);
  await device.register(key.key!, { Hostinfo: { Hostname: CANARY, OS: CANARY } });
  const commands = about({ key: key.id, token: token.id, device: CANARY });
  assert.equal(Object.keys(commands).sort(), [...COMMAND_TYPES].sort());
  const before = await everything();
  assert.ok(before.includes(CANARY));
  const bodies: object[] = Object.entries(commands).map(([type, fields]) => ({ type, ...fields }));
  for (const type of ['token-create', 'token-list']) bodies.push({ type, tailnet: '' });
  bodies.push({ type: 'token-revoke', tailnet: '', id: token.id });
  // Its own tailnet, but things of the other one.
  for (const [type, fields] of Object.entries(commands))
    if ('id' in fields || 'device' in fields || 'user' in fields) bodies.push({ type, ...fields, tailnet: 'lab' });
  bodies.push({ type: 'tailnet-remove', tailnet: 'lab', force: true });
  for (const body of bodies) {
    const { type } = body as AdminCommand;
    const { status, text } = await ask(port, COMMAND, { token: labToken, body });
    // What was asked for may be repeated, and nothing else.
    if (!JSON.stringify(body).includes(CANARY)) assert.not(text.includes(CANARY), `${type}: ${text}`);
    else assert.ok(text.length < 120, text);
    if (type === 'tailnet-list')
      assert.equal(
        (JSON.parse(text) as { id: string }[]).map(({ id }) => id),
        ['lab'],
      );
    else assert.ok(status === 403 || status === 404, `${JSON.stringify(body)}: ${status} ${text}`);
  }
  for (const list of ['users', 'keys', 'devices', 'tokens']) {
    const { status, text } = await ask(port, `/api/v1/tailnets/default/${list}`, { token: labToken });
    assert.is(status, 403);
    assert.not(text.includes(CANARY));
  }
  for (const path of ['audit?tailnet=default', 'status'])
    assert.is((await ask(port, `/api/v1/${path}`, { token: labToken })).status, 403);
  const audit = await ask(port, '/api/v1/audit?limit=1000', { token: labToken });
  assert.is(audit.status, 200);
  assert.not(audit.text.includes(CANARY));
  assert.is(await everything(), before);
});

test('within its tailnet it may do everything, and nothing once it is revoked or the tailnet is gone', async () => {
  for (const body of [
    { type: 'user-create', tailnet: 'lab', loginName: 'ann' },
    { type: 'key-create', tailnet: 'lab', user: 'ann' },
    { type: 'device-list', tailnet: 'lab' },
  ])
    assert.is((await ask(port, COMMAND, { token: labToken, body })).status, 200);
  const more = await ask(port, COMMAND, { token: labToken, body: { type: 'token-create', tailnet: 'lab' } });
  const second = more.status === 200 ? (more.json as AdminResults['token-create']) : undefined;
  if (second !== undefined) {
    const revoke = { type: 'token-revoke', tailnet: 'lab', id: second.id };
    assert.is((await ask(port, COMMAND, { token: labToken, body: revoke })).status, 200);
    assert.is((await ask(port, '/api/v1/tailnets', { token: second.token })).status, 401);
  }
  await command(server.server, { type: 'tailnet-remove', tailnet: 'lab', force: true });
  assert.is((await ask(port, '/api/v1/tailnets', { token: labToken })).status, 401);
  await command(server.server, { type: 'tailnet-create', tailnet: 'lab' });
  assert.is((await ask(port, '/api/v1/tailnets', { token: labToken })).status, 401, 'a new one of the same name');
});

test.after(async () => {
  device?.close();
  await server.stop();
});

test.run();
