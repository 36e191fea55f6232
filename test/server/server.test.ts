/** A whole server over real sockets: devices join and see each other, it restarts, it is administered, it keeps secrets. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toBase64, toHex } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import type { DeviceView, KeyView } from '../../lib/coordinator/commands.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import type { WireDerpMap } from '../../lib/derp/map.ts';
import { StunClient } from '../../lib/stun/client.ts';
import { openOffline } from '../../targets/server/offline.ts';
import { startServer } from '../../targets/server/server.ts';
import {
  command,
  messagesOf,
  publicOf,
  random,
  startTestServer,
  TestDevice,
  TestRelayClient,
  type TestResponse,
  until,
} from './support.ts';

const test = suite('server');

const keyCreate = { type: 'key-create', tailnet: 'default', isReusable: true, isPreapproved: true } as const;

/** A device that has joined and has a map stream. */
async function join_(url: string, key: string): Promise<{ device: TestDevice; map: TestResponse }> {
  const device = new TestDevice();
  await device.connect(url);
  const answer = await device.register(key);
  assert.is(answer['Error'] ?? '', '');
  assert.is(answer['MachineAuthorized'], true);
  const map = device.openMap();
  await until(() => messagesOf(map.body).length > 0, 'the first message');
  return { device, map };
}

/** Names of the peers that a map stream has told of so far. */
function peersOf(map: TestResponse): string[] {
  const keys = new Set<string>();
  for (const message of messagesOf(map.body))
    for (const field of ['Peers', 'PeersChanged'])
      for (const peer of (message[field] as { Key: string }[] | undefined) ?? []) keys.add(peer.Key);
  return [...keys].sort();
}

test('two devices join over ts2021, see each other, and reach each other over the pinned relay', async () => {
  const { server, stop } = await startTestServer();
  const { key } = await command<KeyView>(server, keyCreate);
  const one = await join_(server.url, key!);
  const two = await join_(server.url, key!);
  await until(() => peersOf(one.map).includes(two.device.node), 'the peer');
  await until(() => peersOf(two.map).includes(one.device.node), 'the peer');
  const { DERPMap } = messagesOf(one.map.body)[0] as { DERPMap: WireDerpMap };
  const [node] = DERPMap.Regions!['900']!.Nodes;
  assert.is(node!.HostName, '127.0.0.1');
  assert.is(node!.DERPPort, server.relayPort);
  assert.is(node!.STUNPort, server.stunPort);
  const tls = connectTls({ port: node!.DERPPort!, host: node!.HostName, rejectUnauthorized: false }) as TLSSocket;
  await once(tls, 'secureConnect');
  const { raw, subjectaltname } = tls.getPeerCertificate();
  assert.is(`sha256-raw:${createHash('sha256').update(raw).digest('hex')}`, node!.CertName);
  assert.is(subjectaltname, 'IP Address:127.0.0.1');
  tls.destroy();
  const [a, b] = [new TestRelayClient(one.device.nodeKey), new TestRelayClient(two.device.nodeKey)];
  await a.connect(server.relayPort!, 'tls');
  await b.connect(server.relayPort!, 'tls');
  a.send(b.key, 'over the relay');
  await until(() => b.packets.length === 1, 'the packet');
  const stranger = new TestRelayClient();
  await stranger.connect(server.relayPort!, 'tls');
  assert.ok(stranger.isClosed, 'who has not joined is sent away');
  const [device] = await command<DeviceView[]>(server, { type: 'device-list', tailnet: 'default' });
  await command(server, { type: 'device-remove', tailnet: 'default', device: String(device!.id) });
  await until(() => a.isClosed !== b.isClosed, 'the end of the removed device’s relay connection');
  for (const { device } of [one, two]) device.close();
  await stop();
});

test('after a restart the keys, the devices and the certificate are the same, and the log of what was done', async () => {
  const first = await startTestServer();
  const { key } = await command<KeyView>(first.server, keyCreate);
  const { device, map } = await join_(first.server.url, key!);
  const serverKey = await (await fetch(`${first.server.url}/key?v=113`)).text();
  const before = messagesOf(map.body)[0] as { DERPMap: WireDerpMap };
  await first.server.close();
  await until(() => device.isClosed, 'the end of the connection');
  const second = await startTestServer({}, first.folder);
  assert.is(await (await fetch(`${second.server.url}/key?v=113`)).text(), serverKey);
  await device.connect(second.server.url);
  const answer = await device.register('mote-auth-spent');
  assert.is(answer['Error'] ?? '', '', 'a device that is a member needs no key');
  const again = device.openMap();
  await until(() => messagesOf(again.body).length > 0, 'the map');
  const after = messagesOf(again.body)[0] as { DERPMap: WireDerpMap };
  const names = [before, after].map(({ DERPMap }) => DERPMap.Regions!['900']!.Nodes[0]!.CertName);
  assert.is(names[0], names[1]);
  device.close();
  await second.server.close();
  const offline = await openOffline(join(first.folder, 'data'));
  const actions = offline.audit({ limit: 100 }).map(({ action }) => action);
  assert.ok(actions.includes('key-create') && actions.includes('device-join'), actions.join(' '));
  await offline.close();
  await second.stop();
});

test('a store is administered offline while no server runs, and not while one does', async () => {
  const { server, folder, stop } = await startTestServer();
  const dataDir = join(folder, 'data');
  const failure = await openOffline(dataDir).then(
    () => undefined,
    error => error as { code: string; message: string },
  );
  assert.is(failure?.code, 'ERR_STORE');
  assert.match(failure!.message, 'another process');
  await server.close();
  const offline = await openOffline(dataDir);
  const outcome = await offline.command(
    { name: 'admin', tailnet: undefined },
    { ...keyCreate, description: 'made offline' },
  );
  assert.ok(outcome.isOk);
  await offline.close();
  const next = await startTestServer({}, folder);
  const keys = await command<KeyView[]>(next.server, { type: 'key-list', tailnet: 'default' });
  assert.equal(
    keys.map(({ description }) => description),
    ['made offline'],
  );
  await next.server.close();
  await stop();
});

test('an interactive login waits until it is approved', async () => {
  const { server, stop } = await startTestServer();
  const device = new TestDevice();
  await device.connect(server.url);
  const { AuthURL } = (await device.register('')) as { AuthURL: string };
  assert.ok(AuthURL.startsWith(`${server.url}/register/`), AuthURL);
  const page = await fetch(AuthURL);
  const id = AuthURL.split('/').at(-1)!;
  assert.ok((await page.text()).includes(`motenet devices approve ${id}`));
  const waiting = device.request('/machine/register', { Version: 113, NodeKey: device.node, Followup: AuthURL });
  await new Promise(resolve => setTimeout(resolve, 100));
  assert.not.ok(waiting.isEnded);
  await command(server, { type: 'device-approve', tailnet: 'default', device: id });
  await until(() => waiting.isEnded, 'the answer');
  assert.is(JSON.parse(Buffer.from(waiting.body).toString()).MachineAuthorized, true);
  device.close();
  await stop();
});

test('the pages stand alone and escape what came from outside', async () => {
  const { server, stop } = await startTestServer();
  for (const [path, status, expected] of [
    ['/', 200, 'Administration'],
    ['/admin', 200, 'Administration'],
    ['/register/0123456789abcdef', 200, 'devices approve 0123456789abcdef'],
    ['/register/%3Cscript%3Ealert(1)%3C/script%3E', 404, 'nothing'],
    ['/register/<script>x', 200, 'Not a login'],
    ['/health', 200, 'pass'],
    ['/derpmap/default', 200, '"RegionCode":"own"'],
    ['/robots.txt', 200, 'Disallow'],
    ['/derp', 426, 'upgrade'],
    ['/nothing', 404, 'nothing'],
  ] as const) {
    const response = await fetch(server.url + path);
    const text = await response.text();
    assert.is(response.status, status, path);
    assert.ok(text.includes(expected), `${path}: ${text}`);
    assert.not.match(text, /<script|src=|href=|url\(/i, path);
    if (!text.startsWith('<!doctype')) continue;
    assert.match(response.headers.get('content-security-policy') ?? '', "default-src 'none'");
    assert.is(response.headers.get('x-content-type-options'), 'nosniff');
  }
  assert.is((await fetch(`${server.url}/key`, { method: 'POST' })).status, 405);
  const probe = await fetch(`${server.url}/derp/probe`, { method: 'HEAD' });
  assert.is(probe.headers.get('access-control-allow-origin'), '*');
  await stop();
});

test('the socket in the folder needs no token and is its owner’s, the listener does', async () => {
  const { server, folder, stop } = await startTestServer();
  const path = join(folder, 'data/admin.sock');
  assert.is(statSync(path).mode & 0o777, 0o600);
  assert.is(statSync(join(folder, 'data')).mode & 0o777, 0o700);
  for (const name of readdirSync(join(folder, 'data/keys')))
    assert.is(statSync(join(folder, 'data/keys', name)).mode & 0o777, 0o600, name);
  const status = await new Promise(resolve =>
    get({ socketPath: path, path: '/api/v1/status' }, response => resolve(response.resume().statusCode)),
  );
  assert.is(status, 200);
  assert.is((await fetch(`${server.url}/api/v1/status`)).status, 401);
  await stop();
});

test('STUN answers on its own port', async () => {
  const { server, stop } = await startTestServer();
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const client = new StunClient({ random });
  const endpoint = { address: '127.0.0.1', port: server.stunPort! };
  client.probe(performance.now(), { region: 900, endpoint });
  const slot = new Slot(128);
  socket.on('message', (message, { address, port }) =>
    client.handleDatagram(performance.now(), message, 0, message.length, { address, port }),
  );
  assert.ok(client.pollTransmit(performance.now(), slot));
  socket.send(slot.buf.subarray(slot.start, slot.end), endpoint.port, endpoint.address);
  let found: ReturnType<StunClient['pollEvent']>;
  await until(() => (found ??= client.pollEvent()) !== undefined, 'the answer');
  assert.equal(found!.type === 'response' && found!.address, { address: '127.0.0.1', port: socket.address().port });
  socket.close();
  await stop();
});

test('no secret is in the log or in the database', async () => {
  const { server, folder, lines, stop } = await startTestServer();
  const { key } = await command<KeyView>(server, keyCreate);
  const { token } = await command<{ token: string }>(server, { type: 'token-create', tailnet: 'default' });
  const { device } = await join_(server.url, key!);
  const bad = new TestDevice();
  await bad.connect(server.url);
  const wrong = `mote-auth-000000000000-${'w'.repeat(43)}`;
  assert.ok((await bad.register(wrong))['Error'] !== '');
  await fetch(`${server.url}/api/v1/status`, { headers: { authorization: `Bearer ${token}` } });
  await fetch(`${server.url}/api/v1/status`, { headers: { authorization: 'Bearer mote-api-000000000000-wrongtoken' } });
  const relay = new TestRelayClient(device.nodeKey);
  await relay.connect(server.relayPort!, 'tls');
  const stranger = new TestRelayClient();
  await stranger.connect(server.relayPort!, 'tls');
  const keyFiles = readdirSync(join(folder, 'data/keys')).filter(name => name !== 'relay-cert');
  const secrets: [string, Uint8Array][] = keyFiles.map(name => [name, readFileSync(join(folder, 'data/keys', name))]);
  for (const [name, secret] of [
    ['machine', device.machineKey],
    ['node', device.nodeKey],
  ] as const)
    secrets.push([name, secret.bytes]);
  const texts = [key!, key!.split('-').at(-1)!, token, token.split('-').at(-1)!, wrong, 'wrongtoken'];
  for (const [, bytes] of secrets) texts.push(toHex(bytes), toBase64(bytes), Buffer.from(bytes).toString('latin1'));
  const databases = readdirSync(join(folder, 'data')).filter(name => name.startsWith('coordinator.db'));
  assert.ok(databases.length >= 2, databases.join());
  const stored = databases.map(name => readFileSync(join(folder, 'data', name)).toString('latin1')).join('\n');
  const log = lines.join('\n');
  assert.ok(log.length > 100 && stored.includes(device.node), 'there is something to look through');
  for (const text of texts) {
    assert.not.ok(log.includes(text), `${text.slice(0, 12)}… is in the log`);
    assert.not.ok(stored.includes(text), `${text.slice(0, 12)}… is in the database`);
  }
  // Public node keys are shown short.
  for (const { key } of [relay, stranger]) {
    assert.not.ok(log.includes(toHex(key)));
    assert.not.ok(log.includes(toBase64(key)));
  }
  assert.ok(log.includes(`[${toBase64(stranger.key).slice(0, 5)}]`), 'the stranger is named');
  device.close();
  bad.close();
  await stop();
});

test('a database copied during work is whole, with every answer that was given', async () => {
  const { server, folder, stop } = await startTestServer();
  const made: string[] = [];
  for (let i = 0; i < 20; i++) made.push((await command<KeyView>(server, keyCreate)).id);
  const many = Array.from({ length: 50 }, () => command<KeyView>(server, keyCreate));
  for (const { id } of await Promise.all(many)) made.push(id);
  const { transactions, commits } = server.status().store;
  assert.ok(commits >= 71);
  assert.ok(transactions < commits - 30, `${commits} commits in ${transactions} transactions`);
  await server.close();
  const offline = await openOffline(join(folder, 'data'));
  const outcome = await offline.command(
    { name: 'admin', tailnet: undefined },
    { type: 'key-list', tailnet: 'default' },
  );
  const listed = (outcome as { value: KeyView[] }).value.map(({ id }) => id);
  assert.equal(listed.sort(), made.sort());
  await offline.close();
  await stop();
});

test('devices that come and go at random break nothing, and leave nothing', async () => {
  const { server, lines, stop } = await startTestServer();
  const { key } = await command<KeyView>(server, keyCreate);
  const members = await Promise.all(Array.from({ length: 8 }, () => join_(server.url, key!)));
  for (let round = 0; round < 150; round++) {
    const { device } = members[Math.floor(Math.random() * members.length)]!;
    const dice = Math.random();
    if (dice < 0.1) {
      device.socket.destroy();
      await device.connect(server.url);
      device.openMap();
    } else if (dice < 0.2) device.openMap();
    else {
      const update = { Version: 113, NodeKey: device.node, OmitPeers: true, Endpoints: [`192.0.2.1:${round}`] };
      device.request('/machine/map', { ...update, Hostinfo: { Hostname: 'w', OS: 'linux' } });
    }
    if (round % 10 === 0) await new Promise(resolve => setTimeout(resolve, 5));
  }
  for (const { device } of members) device.close();
  await until(() => server.status().connections <= 1, 'the end of the connections');
  await until(() => server.status().controlSessions === 0, 'the end of the sessions');
  await until(() => server.status().coordinator['requests'] === 0, 'the end of the requests');
  assert.equal(
    lines.filter(line => /^(warn|error)/.test(line)),
    [],
  );
  await stop();
});

test('a start that fails leaves nothing behind', async () => {
  const { server, folder, stop } = await startTestServer();
  const port = Number(new URL(server.url).port);
  const other = join(folder, 'other');
  const options = { dataDir: other, listen: { host: '127.0.0.1', port }, stunPort: 0, log: () => undefined };
  const failure = await startServer(options).catch(error => error as { code: string; message: string });
  assert.is((failure as { code: string }).code, 'ERR_ADDRESS_IN_USE');
  const next = await startServer({ ...options, listen: { host: '127.0.0.1', port: 0 } });
  await next.close();
  await stop();
});

test('a TLS listener of its own when there is a certificate', async () => {
  const [cert, key] = ['cert', 'key'].map(name =>
    readFileSync(new URL(`../fixtures/test-only.${name}.pem`, import.meta.url), 'utf8'),
  );
  const { server, stop } = await startTestServer({ tls: { cert: cert!, key: key! }, url: 'https://localhost:8080' });
  assert.is(server.relayPort, undefined);
  const client = new TestRelayClient(SecretKey.generate(random));
  await client.connect(server.address.port, 'tls');
  assert.ok(client.isClosed, 'the relay answers there, and knows no such member');
  assert.is(publicOf(client.secret).length, 32);
  await stop();
});

test.run();
