/** `motenet up` and its questions as processes, with a real coordinator and its relay: what a user does in the first minutes. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { KeyView } from '../../lib/coordinator/commands.ts';
import { startServer } from '../../targets/server/index.ts';
import { Command, Folder, run } from './command.ts';
import { serve, until } from './local.ts';

const test = suite('cli up for real');
const folder = new Folder();
const ADMIN = { name: 'admin', tailnet: undefined };
const TAILNET = 'default';

const server = await startServer({
  dataDir: join(folder.path, 'data'),
  listen: { host: '127.0.0.1', port: 0 },
  stunPort: -1,
  log: () => undefined,
});

/** A local service that answers each line with itself in capitals, and ends after the client has. */
const service = await serve(socket => {
  socket.setEncoding('utf8').on('data', text => socket.write(text.toString().toUpperCase()));
  socket.on('end', () => socket.end());
});

async function command(value: object): Promise<unknown> {
  const outcome = (await server.command(ADMIN, value as never)) as { value?: unknown; error?: { message: string } };
  if (outcome.error !== undefined) throw new Error(outcome.error.message);
  return outcome.value;
}

const commands: Command[] = [];

/** `motenet up` for a device with a state folder of its own. */
function up(name: string, ...args: readonly string[]): Command {
  const started = new Command(['up', '--control', server.url, '--name', name, ...stateOf(name), ...args]);
  commands.push(started);
  return started;
}

const stateOf = (name: string) => ['--state', join(folder.path, name)];

test('two devices join, by an auth key and by an approved login, and reach each other by name', async () => {
  const created = (await command({ type: 'key-create', tailnet: TAILNET })) as KeyView;
  const file = folder.write('key', `${created.key}\n`);
  const alpha = up('alpha', '--authkey-file', file, '--expose', `80=127.0.0.1:${service.port}`);
  const ready = await alpha.line(/^ready/);
  assert.match(ready, new RegExp(`expose port 80/tcp -> 127\\.0\\.0\\.1:${service.port}$`));

  const beta = up('beta', '--json');
  const { url } = JSON.parse(await beta.line(/"auth-url"/));
  const before = await run(['status', ...stateOf('beta')]);
  assert.is(before.stdout, `joining ${server.url}: needs-login\nto let this device in, open ${url}\n`);
  const refused = await run(['ping', 'alpha', ...stateOf('beta')]);
  assert.equal([refused.code, refused.stderr.includes(`open ${url}`)], [1, true]);
  await command({ type: 'device-approve', tailnet: TAILNET, device: url.split('/').at(-1) });
  await beta.line(/"ready"/);

  const nc = await run(['nc', 'alpha', '80', ...stateOf('beta')], 'hello\n');
  assert.equal(nc, { code: 0, stdout: 'HELLO\n', stderr: '' });
  const ping = await run(['ping', 'alpha', '-c', '1', ...stateOf('beta')]);
  assert.match(ping.stdout, /^pong from alpha \(100\.[0-9.]+\) (directly at|through relay) \S+ in [0-9.]+ ms\n$/);
  const inside = await run(['ping', '--icmp', 'alpha', '-c', '1', ...stateOf('beta')]);
  assert.match(inside.stdout, /^reply from alpha \(100\.[0-9.]+\) in [0-9.]+ ms\n$/);
  const direct = await run(['ping', 'alpha', '--until-direct', ...stateOf('beta')]);
  assert.is(direct.code, 0);
  assert.match(direct.stdout, /^pong from alpha \(100\.[0-9.]+\) directly at \S+:\d+ in [0-9.]+ ms$/m);

  const status = JSON.parse((await run(['status', '--json', ...stateOf('beta')])).stdout);
  assert.equal([status.state, status.authUrl, status.mote.tailnet.name.split('.')[0]], ['running', null, 'beta']);
  const [peer] = status.mote.tailnet.peers;
  assert.equal([peer.name.split('.')[0], peer.isOnline, peer.path], ['alpha', true, 'direct']);
  assert.ok(peer.rxBytes > 0 && peer.txBytes > 0 && peer.lastHandshakeUnixMs > 0);
  const whois = await run(['whois', peer.addresses[0], ...stateOf('beta')]);
  assert.match(whois.stdout, /^name +alpha\.default\./);
});

test('nothing listens there, nobody has that name: one line and exit code 1', async () => {
  const [closed, nobody, unknown] = await Promise.all([
    run(['nc', 'alpha', '81', ...stateOf('beta')]),
    run(['nc', 'nobody', '81', ...stateOf('beta')]),
    run(['whois', '100.64.0.0', ...stateOf('beta')]),
  ]);
  for (const { code, stdout, stderr } of [closed, nobody, unknown]) {
    assert.equal([code, stdout], [1, '']);
    assert.match(stderr, /^motenet: [^\n]+\n$/);
  }
  assert.match(closed.stderr, 'port 81 refused the connection');
  assert.match(nobody.stderr, "'nobody' is neither an address nor a name in this tailnet");
});

test('the state folder is the device: it comes back as itself, without a key', async () => {
  const address = async () => JSON.parse((await run(['status', '--json', ...stateOf('alpha')])).stdout).mote.addresses;
  const before = await address();
  const { code } = await commands[0]!.stop('SIGTERM');
  assert.is(code, 0);
  assert.is(statSync(join(folder.path, 'alpha')).mode & 0o777, 0o700);
  const again = up('alpha');
  await again.line(/^ready/);
  assert.equal(await address(), before);
});

test('logout ends the running command with exit code 0, and the device is nobody afterwards', async () => {
  const beta = commands[1]!;
  const { code, stdout } = await run(['logout', ...stateOf('beta')]);
  assert.equal([code, stdout], [0, 'logged out: the device has left the tailnet, and `motenet up` has ended\n']);
  assert.is((await beta.ended).code, 0);
  assert.is(beta.events().at(-1)!.event, 'stopped');
  const after = await run(['status', ...stateOf('beta')]);
  assert.equal([after.code, after.stderr.startsWith('motenet: no mote runs with its state in ')], [1, true]);
  const next = up('beta', '--json');
  await next.line(/"auth-url"/);
});

test('a wrong auth key is refused with the next step and exit code 1', async () => {
  const { code, stderr } = await up('gamma', '--authkey', 'mote-auth-000000000000-wrong').ended;
  assert.is(code, 1);
  assert.match(stderr, /\nmotenet: the coordinator refuses this device: [^\n]*: ask for a new auth key\n$/);
  assert.not.match(stderr, '000000000000');
});

test('without a coordinator the command goes on trying and says so', async () => {
  const lonely = new Command(['up', '--control', 'http://127.0.0.1:9', ...stateOf('lonely')]);
  commands.push(lonely);
  await until(() => /next try in \d+ s \(ERR_CONNECTION_REFUSED\)\n/.test(lonely.stderr), 'trouble');
  assert.is((await lonely.stop()).code, 0);
});

test.after(async () => {
  await Promise.all(commands.filter(({ isEnded }) => !isEnded).map(started => started.stop('SIGTERM')));
  service.server.close();
  await server.close();
  folder.remove();
});

test.run();
