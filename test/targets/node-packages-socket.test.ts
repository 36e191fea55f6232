/** Our sockets beside Node's own: the same story is told over both, and what each side sees must be the same. */
import net from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import type { Mote } from '../../lib/mote/mote.ts';
import { createServer } from '../../targets/node/server.ts';
import { createConnection, MoteSocket } from '../../targets/node/socket.ts';
import { fromSocketError, type SocketError, toSocketError } from '../../targets/node/socket-errors.ts';
import { createPair, settle } from '../mote/http-support.ts';
import { FAR, NEAR, noise, once, pair, sha256, within } from './node-packages-support.ts';

const test = suite('node sockets');

type AnySocket = net.Socket | MoteSocket;
type AnyServer = Pick<net.Server, 'close' | 'address' | 'listening' | 'on' | 'getConnections'>;

/** One kind of sockets. */
interface Kind {
  readonly name: string;
  listen(
    o: { allowHalfOpen?: boolean },
    take: (socket: AnySocket) => void,
  ): Promise<{ server: AnyServer; port: number }>;
  connect(port: number, o?: { allowHalfOpen?: boolean }): AnySocket;
}

let motes: { near: Mote; far: Mote; close(): Promise<void> };

test.before(async () => {
  motes = await pair();
  await motes.near.ping(FAR);
});
test.after(() => motes?.close());

const NODE: Kind = {
  name: 'node:net',
  listen: async (o, take) => {
    const server = net.createServer(o, take).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { server, port: (server.address() as net.AddressInfo).port };
  },
  connect: (port, o = {}) => net.connect({ port, host: '127.0.0.1', ...o }),
};

const MOTE: Kind = {
  name: 'tunnel',
  listen: async (o, take) => {
    const server = createServer(motes.far, o, take).listen(0);
    await once(server, 'listening');
    return { server: server as unknown as AnyServer, port: server.address()!.port };
  },
  connect: (port, o = {}) => createConnection(motes.near, { port, host: FAR, ...o }),
};

/** Notes what a socket emits, data as text put together. */
function watch(socket: AnySocket, extra: string[] = []): string[] {
  const seen: string[] = [];
  for (const event of ['connect', 'ready', 'end', 'finish', 'timeout', ...extra])
    socket.on(event, () => seen.push(event));
  socket.on('close', (hadError: boolean) => seen.push(`close ${hadError}`));
  socket.on('error', (error: SocketError) => seen.push(`error ${error.syscall} ${error.code}`));
  return seen;
}

/** Tells one story over both kinds of sockets and compares what was seen. */
function story(name: string, tell: (kind: Kind) => Promise<unknown>): void {
  test(name, async () => {
    const expected = await within(30_000, tell(NODE));
    const seen = await within(30_000, tell(MOTE));
    assert.equal(seen, expected);
  });
}

const closed = (...sockets: AnySocket[]) =>
  Promise.all(sockets.map(socket => new Promise<void>(resolve => socket.once('close', () => resolve()))));
const pause = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms));

/** A connection between a listener and a socket, both with their logs. */
async function connected(kind: Kind, o: { allowHalfOpen?: boolean; paused?: boolean } = {}) {
  let accept: (socket: AnySocket) => void = () => undefined;
  const accepting = new Promise<AnySocket>(resolve => {
    accept = resolve;
  });
  let serverLog: string[] = [];
  const { server, port } = await kind.listen(o, socket => {
    serverLog = watch(socket);
    accept(socket);
  });
  const client = kind.connect(port, o);
  const clientLog = watch(client);
  const socket = await accepting;
  if (client.connecting) await once(client, 'connect');
  server.close();
  return { client, socket, clientLog, serverLog, port };
}

story('a talk ends on both sides with the same events', async kind => {
  const { client, socket, clientLog, serverLog } = await connected(kind);
  let text = '';
  socket.on('data', (data: Buffer) => {
    socket.write(data);
    socket.end(' bye');
  });
  client.on('data', (data: Buffer) => {
    text += data.toString();
  });
  client.write('hello');
  await closed(client, socket);
  return {
    text,
    clientLog,
    serverLog,
    bytes: [client.bytesRead, client.bytesWritten, socket.bytesRead, socket.bytesWritten],
  };
});

story('a refused connection is ECONNREFUSED, and a close with an error', async kind => {
  const { server, port } = await kind.listen({}, () => undefined);
  await new Promise(resolve => server.close(resolve));
  const client = kind.connect(port);
  const log = watch(client);
  let error: SocketError | undefined;
  client.on('error', (e: SocketError) => {
    error = e;
  });
  client.write('never', () => undefined);
  await closed(client);
  return { log, errno: error?.errno, port: error?.port === port, text: error?.message.replace(/ [0-9.:]+$/, '') };
});

story('properties tell the state at every stage', async kind => {
  const states: unknown[] = [];
  const { server, port } = await kind.listen({ allowHalfOpen: true }, peer => {
    peer.resume();
    peer.on('end', () => setTimeout(() => peer.end(), 30));
  });
  const client = kind.connect(port, { allowHalfOpen: true });
  const note = () =>
    states.push([client.readyState, client.pending, client.connecting, client.destroyed, client.remotePort === port]);
  note();
  states.push(client.address());
  await once(client, 'ready');
  note();
  states.push(
    Object.keys(client.address()).sort(),
    client.remoteFamily,
    (client as net.Socket).localFamily,
    client.timeout,
  );
  client.resume();
  const gone = closed(client);
  await new Promise<void>(resolve => client.end(() => resolve()));
  note();
  await gone;
  states.push(client.readyState, client.destroyed);
  await new Promise(resolve => server.close(resolve));
  return states;
});

story('what is written and ended before the connection is open arrives', async kind => {
  let text = '';
  const { server, port } = await kind.listen({}, socket => {
    socket.setEncoding('utf8').on('data', (data: unknown) => {
      text += String(data);
    });
  });
  const client = kind.connect(port);
  const log = watch(client);
  client.resume();
  client.cork();
  for (const word of ['one ', 'two ', 'three']) client.write(word);
  client.uncork();
  client.end('!');
  await closed(client);
  await new Promise(resolve => server.close(resolve));
  return { text, log };
});

story('a half-open side goes on talking after the other has ended', async kind => {
  const { client, socket, clientLog, serverLog } = await connected(kind, { allowHalfOpen: true });
  let text = '';
  client.on('data', (data: Buffer) => {
    text += data.toString();
  });
  socket.resume();
  client.end('question');
  await once(socket, 'end');
  socket.write('late ');
  await pause(20);
  socket.end('answer');
  await closed(client, socket);
  return { text, clientLog, serverLog };
});

story('a side that may not be half open ends when the other does', async kind => {
  const { client, socket, clientLog, serverLog } = await connected(kind);
  client.resume();
  socket.resume();
  socket.end();
  await closed(client, socket);
  return { clientLog, serverLog };
});

story('a reset is ECONNRESET on the other side', async kind => {
  const { client, socket, clientLog, serverLog } = await connected(kind);
  socket.resume();
  (client as net.Socket).resetAndDestroy();
  await closed(client, socket);
  return { clientLog, serverLog };
});

story('destroying without an error is a quiet end for the other side', async kind => {
  const { client, socket, clientLog, serverLog } = await connected(kind);
  socket.resume();
  client.destroy();
  await closed(client, socket);
  return { clientLog, serverLog };
});

story('destroying with an error shows it on this side', async kind => {
  const { client, socket, clientLog } = await connected(kind);
  socket.resume();
  client.destroy(Object.assign(new Error('own'), { code: 'OWN', syscall: 'none' }));
  await closed(client, socket);
  return clientLog;
});

story('destroying while the other side is still sending stops it with an error', async kind => {
  const { client, socket, serverLog } = await connected(kind);
  const chunk = Buffer.alloc(50_000);
  const send = () => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', send);
  send();
  const gone = closed(client, socket);
  client.once('data', () => client.destroy());
  await gone;
  return serverLog.at(-1);
});

story('destroySoon sends what waits first', async kind => {
  const { client, socket, clientLog } = await connected(kind);
  let bytes = 0;
  socket.on('data', (data: Buffer) => {
    bytes += data.length;
  });
  client.write(Buffer.alloc(300_000));
  client.destroySoon();
  await closed(client, socket);
  return { clientLog, bytes };
});

story('writing to a side that has ended, and to a socket that is gone, fails', async kind => {
  const { client, socket, clientLog } = await connected(kind);
  client.resume();
  socket.resume();
  socket.end();
  await closed(client, socket);
  const codes: unknown[] = [];
  await new Promise<void>(resolve => {
    client.write('x', error => {
      codes.push((error as SocketError).code);
      resolve();
    });
  });
  return { clientLog, codes };
});

story('a write after the own end fails with ERR_STREAM_WRITE_AFTER_END', async kind => {
  const { client, socket, clientLog } = await connected(kind);
  socket.resume();
  client.resume();
  const gone = closed(client, socket);
  client.end('x');
  const error = await new Promise(resolve => client.write('y', resolve));
  await gone;
  return { code: (error as SocketError).code, clientLog };
});

story('the timeout fires after silence, and only then', async kind => {
  const { client, socket, clientLog } = await connected(kind);
  socket.on('data', (data: Buffer) => socket.write(data));
  client.resume();
  let listener = 0;
  client.setTimeout(400, () => listener++);
  for (let i = 0; i < 8; i++) {
    await pause(60);
    client.write('x');
  }
  assert.not.ok(clientLog.includes('timeout'), 'traffic did not postpone the timeout');
  await once(client, 'timeout');
  const timeout = client.timeout;
  client.setTimeout(0);
  await pause(450);
  client.end();
  await closed(client, socket);
  return { clientLog, listener, timeout, off: client.timeout ?? 0 };
});

story('a reader that pauses holds the writer back, and gets everything in the end', async kind => {
  const { client, socket } = await connected(kind);
  const content = noise(8_000_000);
  let written = 0;
  const write = () => {
    while (written < content.length) {
      const more = socket.write(content.subarray(written, (written += 100_000)));
      if (!more) return void socket.once('drain', write);
    }
    socket.end();
  };
  client.pause();
  socket.resume();
  write();
  await pause(100);
  const held = written;
  const chunks: Buffer[] = [];
  client.on('data', (data: Buffer) => chunks.push(data));
  client.resume();
  await closed(client, socket);
  return { isHeld: held < content.length, hash: sha256(Buffer.concat(chunks)) };
});

story('a server counts its connections and closes when the last one is gone', async kind => {
  const sockets: AnySocket[] = [];
  const log: unknown[] = [];
  const { server, port } = await kind.listen({}, socket => sockets.push(socket.resume()));
  const clients = [kind.connect(port).resume(), kind.connect(port).resume()];
  await Promise.all(clients.map(client => once(client, 'connect')));
  while (sockets.length < 2) await pause(5);
  log.push(server.listening, Object.keys(server.address() as object).sort());
  log.push(await new Promise(resolve => server.getConnections((_error, count) => resolve(count))));
  let isClosed = false;
  server.on('close', () => {
    isClosed = true;
  });
  server.close();
  await pause(20);
  log.push(isClosed, server.listening, server.address());
  for (const client of clients) client.end();
  await closed(...sockets);
  await pause(20);
  log.push(isClosed);
  log.push(await new Promise(resolve => server.close(error => resolve((error as SocketError).code))));
  return log;
});

/** A test of our sockets alone. */
const only = (name: string, run: () => Promise<void>) => test(name, () => within(30_000, run()));

test('errors have the code, number and call that Node gives them, and the way back', () => {
  const at = { address: '10.0.0.9', port: 5432 };
  const unreachable = toSocketError(new NetError('ERR_UNREACHABLE', 'no peer'), 'connect', at);
  assert.is(unreachable.message, 'connect EHOSTUNREACH 10.0.0.9:5432');
  assert.equal({ ...unreachable }, { code: 'EHOSTUNREACH', syscall: 'connect', errno: -113, ...at });
  assert.is((unreachable.cause as NetError).code, 'ERR_UNREACHABLE');
  const unknown = toSocketError(new NetError('ERR_NAME_NOT_FOUND', 'x'), 'connect', { address: 'db', port: 1 });
  assert.is(unknown.message, 'getaddrinfo ENOTFOUND db');
  assert.equal({ ...unknown }, { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: 'db' });
  const codes = { ERR_TIMED_OUT: 'ETIMEDOUT', ERR_CONNECTION_RESET: 'ECONNRESET', ERR_CLOSED: 'EPIPE' } as const;
  for (const [ours, nodes] of Object.entries(codes)) {
    const error = toSocketError(new NetError(ours as keyof typeof codes, 'x'), 'write');
    assert.is(error.message, `write ${nodes}`);
    assert.is(fromSocketError(Object.assign(new Error('x'), { code: nodes })).code, ours);
  }
  const own = new RangeError('own');
  assert.is(toSocketError(own, 'write'), own);
  assert.is(fromSocketError(new Error('odd')).code, 'ERR_CONNECTION_RESET');
});

only('names, addresses without a peer and ports in use are told as Node tells them', async () => {
  const failed = async (target: { host: string; port: number }) => {
    const [error] = await once(createConnection(motes.near, target), 'error').then(args => args as [SocketError]);
    return error.message;
  };
  assert.is(await failed({ host: 'nowhere.test', port: 1 }), 'getaddrinfo ENOTFOUND nowhere.test');
  assert.is(await failed({ host: '10.99.0.1', port: 7 }), 'connect EHOSTUNREACH 10.99.0.1:7');
  const server = createServer(motes.far).listen(7007);
  await once(server, 'listening');
  const second = createServer(motes.far).listen(7007);
  const [error] = (await once(second, 'error')) as [SocketError];
  assert.is(error.message, 'listen EADDRINUSE :::7007');
  server.close();
  assert.throws(() => createConnection(motes.near, { port: 0 }), /"port" expected 1 to 65535, got 0/);
  assert.throws(() => new MoteSocket({}), /expected a mote or a stream, got neither/);
  assert.throws(() => new MoteSocket({ mote: motes.near }).setTimeout(-1), /"ms" expected 0 or more/);
});

only('destroying a socket that is still connecting gives the attempt up', async () => {
  const lonely = createConnection(motes.near, { host: FAR, port: 9999 });
  const log = watch(lonely);
  let code: string | undefined;
  lonely.write('x', error => {
    code = (error as SocketError).code;
  });
  lonely.destroy();
  await closed(lonely);
  await pause(20);
  assert.equal(log, ['close false']);
  assert.is(code, 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION');
  assert.is(lonely.readyState, 'closed');
});

only('a socket can be made first and connected later, but only once', async () => {
  const { server, port } = await MOTE.listen({}, socket => socket.end('x'));
  const socket = new MoteSocket({ mote: motes.near, noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 });
  assert.ok(socket.pending);
  const connecting = new Promise<void>(resolve => socket.connect(port, FAR, resolve));
  assert.throws(() => socket.connect(port, FAR), /EISCONN/);
  await connecting;
  assert.is(socket.remoteAddress, FAR);
  assert.is(socket.localAddress, NEAR);
  assert.equal(socket.address(), { address: NEAR, family: 'IPv4', port: socket.localPort });
  socket.resume();
  await closed(socket);
  server.close();
});

only('over the limit of connections a server drops, and says so', async () => {
  const server = createServer(motes.far);
  server.maxConnections = 1;
  server.listen(0);
  await once(server, 'listening');
  const dropped = once(server, 'drop');
  const { port } = server.address()!;
  const first = createConnection(motes.near, { host: FAR, port });
  await once(first, 'connect');
  const second = createConnection(motes.near, { host: FAR, port });
  const log = watch(second);
  second.resume();
  await closed(second);
  assert.is(((await dropped)[0] as { remoteAddress: string }).remoteAddress, NEAR);
  assert.ok(log.includes('error read ECONNRESET'), log.join());
  first.destroy();
  server.close();
});

only('what a listener throws reaches the process, not the socket', async () => {
  const [near, far] = createPair();
  const socket = new MoteSocket({ stream: near });
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const thrown = new Promise(resolve => process.once('uncaughtException', resolve));
  socket.once('data', () => {
    throw new Error('a mistake in the application');
  });
  await far.send('x');
  assert.match(((await thrown) as Error).message, 'a mistake');
  for (const listener of listeners) process.on('uncaughtException', listener);
  assert.not(socket.destroyed);
  await settle();
  socket.destroy();
});

test.run();
