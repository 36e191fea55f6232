/**
 * Two `motenet wg` processes over loopback, with a real tunnel between them: --expose on one side, --forward and --socks
 * on the other, TCP and UDP, IPv4 and IPv6 inside; what the proxies promise, and every JSON line against the table.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer as createHttpServer, get } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex, utf8Encode } from '../../lib/base/bytes.ts';
import { writeSocksDatagram } from '../../targets/cli/socks-machine.ts';
import { EVENTS, type Events } from '../../targets/cli/report.ts';
import { Command, configText, Folder, keyPair } from './command.ts';
import { closed, datagrams, open, readAll, serve, until } from './local.ts';

const test = suite('cli real');

const folder = new Folder();
const [keysA, keysB] = [keyPair(), keyPair()];
const psk = `PresharedKey = ${randomBytes(32).toString('base64')}`;
const content = randomBytes(3_000_000);
const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** What a client must see of the service behind the tunnel, one port each. */
const services: { close(): void }[] = [];
const ports = { http: 0, upper: 0, reset: 0, flood: 0, nobody: 0, echo: 0 };
let a: Command;
let b: Command;
const local: Record<string, number> = {};

async function startServices(): Promise<void> {
  const http = createHttpServer((request, response) => {
    if (request.method !== 'POST') return void response.end(content);
    const hash = createHash('sha256');
    request.on('data', chunk => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')));
  });
  await new Promise<void>(resolve => http.listen(0, '127.0.0.1', resolve));
  ports.http = (http.address() as AddressInfo).port;
  // Answers only after the client has ended, which needs half close all the way.
  const upper = await serve(async socket => {
    const all = await readAll(socket).catch(() => Buffer.alloc(0));
    socket.end(all.toString().toUpperCase());
  });
  const reset = await serve(socket => socket.once('data', () => socket.resetAndDestroy()));
  const flood = await serve(socket => {
    const more = () => {
      while (!socket.destroyed && socket.write(content));
    };
    socket.on('drain', more);
    more();
  });
  const nobody = await serve(() => undefined);
  nobody.server.close();
  const echo = await datagrams();
  echo.socket.on('message', (data, from) => echo.socket.send(`echo:${data}`, from.port, from.address));
  [ports.upper, ports.reset, ports.flood, ports.nobody, ports.echo] = [upper, reset, flood, nobody, echo].map(
    s => s.port,
  ) as [number, number, number, number, number];
  services.push(http, upper.server, reset.server, flood.server, echo.socket);
}

test.before(async () => {
  await startServices();
  const configA = folder.write(
    'a.conf',
    `${configText({ ...keysA, address: '10.7.0.1/24, fd07::1/64' }, { ...keysB, allowedIPs: '10.7.0.2/32, fd07::2/128' })}${psk}\n`,
  );
  const expose = Object.entries(ports).flatMap(([name, port], i) =>
    name === 'echo' ? ['--expose', `53=127.0.0.1:${port}/udp`] : ['--expose', `${81 + i}=127.0.0.1:${port}`],
  );
  a = new Command(['wg', configA, '--json', '--log', 'debug', ...expose]);
  const ready = JSON.parse(await a.line(/"ready"/));
  const configB = folder.write(
    'b.conf',
    `${configText(
      { ...keysB, address: '10.7.0.2/24, fd07::2/64' },
      { ...keysA, allowedIPs: '10.7.0.1/32, fd07::1/128', port: ready.listenPort },
    )}${psk}\nPersistentKeepalive = 25\n`,
  );
  const names = ['http', 'upper', 'reset', 'flood', 'nobody', 'nowhere', 'dns'];
  const targets = [
    '10.7.0.1:81',
    '[fd07::1]:82',
    '10.7.0.1:83',
    '10.7.0.1:84',
    '10.7.0.1:85',
    '10.7.0.1:99',
    'a.internal:53/udp',
  ];
  const forward = targets.flatMap(target => ['--forward', `0=${target}`]);
  b = new Command(['wg', configB, '--json', '--verbose', '--host', 'a.internal=10.7.0.1', ...forward, '--socks', '0']);
  const { services: listening } = JSON.parse(await b.line(/"ready"/)) as { services: { port: number }[] };
  for (const [i, name] of [...names, 'socks'].entries()) local[name] = listening[i]!.port;
});

test.after(() => {
  a?.child.kill('SIGKILL');
  b?.child.kill('SIGKILL');
  for (const service of services) service.close();
  folder.remove();
});

const httpGet = (path: string): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const request = get(`http://127.0.0.1:${local['http']}${path}`, { agent: false }, response => {
      const chunks: Buffer[] = [];
      response.on('data', chunk => chunks.push(chunk)).on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', reject);
    });
    request.on('error', reject);
  });

test('a download and an upload through both processes arrive unchanged', async () => {
  assert.is(digest(await httpGet('/')), digest(content));
  const response = await fetch(`http://127.0.0.1:${local['http']}/`, { method: 'POST', body: content });
  assert.is(await response.text(), digest(content));
});

test('twenty downloads at once arrive unchanged', async () => {
  const got = await Promise.all(Array.from({ length: 20 }, () => httpGet('/')));
  for (const bytes of got) assert.is(digest(bytes), digest(content));
});

test('half close passes through both processes, over IPv6 inside', async () => {
  const socket = await open(local['upper']!);
  const got = readAll(socket);
  socket.write('first ');
  await sleep(30);
  socket.end('then the end');
  assert.is((await got).toString(), 'FIRST THEN THE END');
});

test('a reset by the service reaches the client', async () => {
  const socket = await open(local['reset']!);
  let code = '';
  socket.on('error', error => {
    code = (error as NodeJS.ErrnoException).code ?? '';
  });
  socket.write('x');
  await closed(socket);
  assert.is(code, 'ECONNRESET');
});

test('a reset by the client reaches the service, and a slow reader stops it', async () => {
  const socket = await open(local['flood']!);
  socket.pause();
  const opened = () => a.events().filter(({ event, to }) => event === 'open' && to === `127.0.0.1:${ports.flood}`);
  await until(() => opened().length === 1);
  await sleep(500);
  socket.resetAndDestroy();
  const id = opened()[0]!['id'];
  const done = () => a.events().find(one => one.event === 'close' && one['id'] === id);
  await until(() => done() !== undefined, 'the close on the other side');
  assert.is(done()!['code'], 'ERR_CONNECTION_RESET');
  assert.ok((done()!['sentBytes'] as number) < 64 * 1_048_576, `${done()!['sentBytes']} bytes for who reads nothing`);
});

test('where nobody listens, the client is reset and each side says why', async () => {
  for (const name of ['nobody', 'nowhere']) {
    const socket = await open(local[name]!);
    await closed(socket.resume());
  }
  const refused = (command: Command) => command.events().filter(({ event }) => event === 'refused');
  await until(() => refused(a).length === 1 && refused(b).length >= 1);
  assert.is(refused(a)[0]!['message'], `nothing listens on 127.0.0.1:${ports.nobody}: start the service there`);
  assert.is(refused(b).at(-1)!['code'], 'ERR_CONNECTION_REFUSED');
});

test('datagrams pass both ways, each client with its own flow, large ones in fragments', async () => {
  const clients = [await datagrams(), await datagrams()];
  const large = 'x'.repeat(4000);
  for (const [i, { socket, got }] of clients.entries()) {
    // A datagram may be lost: asked again, as anybody over UDP does.
    const ask = (text: string) =>
      until(() => {
        socket.send(text, local['dns']!, '127.0.0.1');
        return got.includes(`echo:${text}`);
      });
    await ask(`client ${i}`);
    await ask(large);
    socket.close();
  }
});

async function socks(hex: string): Promise<{ socket: Socket; reply: Buffer }> {
  const socket = await open(local['socks']!);
  socket.write(fromHex(`050100${hex}`)!);
  let bytes = Buffer.alloc(0);
  while (bytes.length < 12) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) bytes = Buffer.concat([bytes, chunk]);
    else await new Promise(resolve => socket.once('readable', resolve));
  }
  return { socket, reply: bytes.subarray(2) };
}

test('the SOCKS proxy connects inside, refuses outside, and carries datagrams', async () => {
  const { socket, reply } = await socks('05010001' + '0a070001' + '0052');
  assert.is(reply.subarray(0, 8).toString('hex'), '05000001' + '0a070002');
  const got = readAll(socket);
  socket.end('socks');
  assert.is((await got).toString(), 'SOCKS');
  const outside = await socks('05010001' + '7f000001' + ports.http.toString(16).padStart(4, '0'));
  assert.is(outside.reply[1], 2);
  outside.socket.destroy();
  const control = await socks('05030001' + '00000000' + '0000');
  const relay = control.reply.readUInt16BE(8);
  const client = await datagrams();
  await until(() => {
    client.socket.send(writeSocksDatagram({ address: '10.7.0.1', port: 53 }, utf8Encode('q')), relay, '127.0.0.1');
    return client.got.length > 0;
  });
  assert.ok(client.got[0]!.endsWith('echo:q'));
  control.socket.destroy();
  client.socket.close();
});

test('SIGINT ends both with exit code 0; every JSON line fits the table, nothing went to standard error', async () => {
  const connection = await open(local['flood']!);
  connection.on('end', () => connection.end()).resume();
  await sleep(50);
  const outcomes = [await b.stop('SIGINT'), await a.stop('SIGINT')];
  await closed(connection);
  for (const [i, { code, stderr }] of outcomes.entries()) {
    assert.equal([code, stderr], [0, '']);
    const events = [b, a][i]!.events();
    for (const { event, time, ...fields } of events) {
      assert.equal(Object.keys(fields).sort(), [...EVENTS[event as keyof Events].fields].sort(), event);
      assert.ok(Math.abs(Date.parse(time as string) - Date.now()) < 600_000);
    }
    const names = events.map(({ event }) => event);
    for (const name of ['start', 'up', 'listening', 'ready', 'handshake', 'open', 'close', 'refused', 'stopping'])
      assert.ok(names.includes(name), `${name} was not told`);
    assert.is(names.at(-1), 'stopped');
    const ids = (name: string) => events.filter(({ event }) => event === name).map(one => one['id'] as number);
    assert.equal(
      ids('close').sort((x, y) => x - y),
      ids('open'),
      'what opened has closed',
    );
    const { rxBytes, txBytes } = events.at(-1)!;
    assert.ok((rxBytes as number) > content.length && (txBytes as number) > content.length);
  }
});

test.run();
