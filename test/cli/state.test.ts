/** The state folder and its socket: whose they are, what is asked through them, what a stranger can do. */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import { UsageError } from '../../targets/cli/errors.ts';
import { prepareState, socketPath } from '../../targets/cli/state.ts';
import { ask, MoteRefusal } from '../../targets/cli/state-client.ts';
import { LineReader, parseRequest, type UpStatus } from '../../targets/cli/state-protocol.ts';
import { type StateHandler, type StateServer, serveState } from '../../targets/cli/state-server.ts';
import { Folder } from './command.ts';
import { readAll } from './local.ts';

const test = suite('cli state');
const folder = new Folder();
const servers: StateServer[] = [];
let folders = 0;

/** A fresh folder that is ready to be served. */
function fresh(): string {
  const directory = join(folder.path, `s${++folders}`);
  prepareState(directory);
  return directory;
}

const STATUS = { version: '1', state: 'running', mote: null } as UpStatus;

const NETCHECK = {
  udp: false,
  ipv4: false,
  ipv6: false,
  globalV4: undefined,
  globalV6: undefined,
  mappingVariesByDestIp: undefined,
  endpoints: [],
  home: undefined,
  relays: [],
  tookMs: 3000,
};

const HANDLER: StateHandler = {
  status: () => STATUS,
  netcheck: async () => NETCHECK,
  whois: () => null,
  ping: async () => {
    throw new NetError('ERR_TIMED_OUT', 'no answer\nsecond line');
  },
  pingPath: async name => ({ address: '10.0.0.1', path: 'relay', endpoint: null, relay: name, ms: 1 }),
  dial: async () => {
    throw new NetError('ERR_CONNECTION_REFUSED', 'refused');
  },
  logout: async () => () => undefined,
};

async function served(handler: Partial<StateHandler> = {}): Promise<string> {
  const directory = fresh();
  servers.push(await serveState(socketPath(directory), { ...HANDLER, ...handler }));
  return directory;
}

async function said(directory: string, bytes: string | Uint8Array): Promise<string> {
  const socket = connect({ path: socketPath(directory) });
  socket.end(bytes);
  return (await readAll(socket)).toString();
}

async function reason(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: Error) => error,
  );
}

test.after.each(async () => {
  for (const server of servers.splice(0)) await server.close();
});

test('the folder is made for its owner alone, and one that others may enter is refused', () => {
  const directory = join(folder.path, 'new', 'deep');
  prepareState(directory);
  assert.is(statSync(directory).mode & 0o777, 0o700);
  prepareState(directory);
  for (const mode of [0o750, 0o701, 0o755]) {
    chmodSync(directory, mode);
    assert.throws(
      () => prepareState(directory),
      (error: Error) => error instanceof UsageError && error.message.includes(`mode ${mode.toString(8)}`),
    );
  }
});

test('a folder of somebody else, a link to one and a file are refused', () => {
  const file = folder.write('file', 'x');
  assert.throws(() => prepareState(file), 'a file is in its way');
  const target = join(folder.path, 'target');
  mkdirSync(target, { mode: 0o700 });
  const link = join(folder.path, 'link');
  symlinkSync(target, link);
  assert.throws(() => prepareState(link), 'is not a folder');
  if (process.getuid?.() !== 0) return;
  chownSync(target, 12_345, 12_345);
  assert.throws(() => prepareState(target), 'belongs to another user');
});

test('a path that is too long for a socket is refused', () => {
  assert.throws(
    () => socketPath(`/${'x'.repeat(100)}`),
    (error: Error) => error instanceof UsageError && error.message.includes('too long'),
  );
});

test('the socket is readable by its owner only, answers, and is gone after close', async () => {
  const directory = await served();
  const path = socketPath(directory);
  assert.is(lstatSync(path).mode & 0o777, 0o600);
  assert.equal(await ask<'status'>(directory, { command: 'status' }), STATUS);
  assert.is(await ask<'whois'>(directory, { command: 'whois', address: '10.0.0.1' }), null);
  const server = servers.pop()!;
  await server.close();
  await server.close();
  assert.is(existsSync(path), false);
});

test('a second process with the same state is refused, and the first goes on', async () => {
  const directory = await served();
  const error = await reason(serveState(socketPath(directory), HANDLER));
  assert.match(error.message, /^another `motenet up` runs with this state/);
  assert.equal(await ask<'status'>(directory, { command: 'status' }), STATUS);
});

test('what a killed process left behind is no hindrance', async () => {
  const directory = fresh();
  const path = socketPath(directory);
  const dead = createServer();
  await new Promise<void>(resolve => dead.listen({ path }, resolve));
  // Closing removes the socket; renamed away before and back after, it is what a crash leaves.
  renameSync(path, `${path}.x`);
  await new Promise(resolve => dead.close(resolve));
  renameSync(`${path}.x`, path);
  servers.push(await serveState(path, HANDLER));
  assert.equal(await ask<'status'>(directory, { command: 'status' }), STATUS);
});

test('without a running mote every question says the next step', async () => {
  for (const directory of [join(folder.path, 'nowhere'), fresh()]) {
    const error = await reason(ask<'status'>(directory, { command: 'status' }));
    assert.match(error.message, /^no mote runs with its state in .*: start one with `motenet up --control URL`/);
    assert.not.match(error.message, '\n');
  }
});

test('a refusal arrives with its code and one line', async () => {
  const directory = await served();
  const error = await reason(ask<'ping'>(directory, { command: 'ping', name: 'a', timeoutMs: 1 }));
  assert.instance(error, MoteRefusal);
  assert.equal([(error as MoteRefusal).code, error.message], ['ERR_TIMED_OUT', 'no answer']);
});

test('whatever is no request gets an error, and the server lives on', async () => {
  const directory = await served();
  const refusal = '{"error":{"code":"ERR_PROTOCOL","message":"not a request"}}\n';
  const garbage = [
    '\n',
    'x\n',
    '1\n',
    'null\n',
    '[]\n',
    '{}\n',
    '{"command":"stop"}\n',
    '{"command":"nc","name":"a"}\n',
  ];
  for (const text of [...garbage, '', 'no end of line', 'x'.repeat(5000)])
    assert.is(await said(directory, text), refusal);
  assert.equal(await ask<'status'>(directory, { command: 'status' }), STATUS);
});

test('a request may come in pieces', async () => {
  const directory = await served();
  const socket: Socket = connect({ path: socketPath(directory) });
  for (const byte of '{"command":"whois","address":"10.0.0.1"}\n') {
    socket.write(byte);
    await new Promise(resolve => setImmediate(resolve));
  }
  assert.is((await readAll(socket)).toString(), '{"result":null}\n');
});

test('requests are read field by field', () => {
  const parse = (value: unknown) => parseRequest(JSON.stringify(value));
  assert.equal(parse({ command: 'status', more: 1 }), { command: 'status' });
  assert.equal(parse({ command: 'nc', name: 'a', port: 1, timeoutMs: 5 }), {
    command: 'nc',
    name: 'a',
    port: 1,
    timeoutMs: 5,
  });
  const nc = { command: 'nc', name: 'a', port: 1, timeoutMs: 5 };
  const bad = [{ port: 0 }, { port: 65_536 }, { port: '1' }, { name: 1 }, { timeoutMs: -1 }, { timeoutMs: 1e9 }];
  for (const change of bad) assert.is(parse({ ...nc, ...change }), undefined);
  assert.is(parse({ command: 'whois', address: 1 }), undefined);
});

test('a line of the limit passes, a byte more does not', () => {
  const read = (length: number) =>
    new LineReader(10).push(new Uint8Array([...new Uint8Array(length).fill(65), 10, 66]));
  assert.equal([read(10)!.line, [...read(10)!.rest]], ['A'.repeat(10), [66]]);
  assert.throws(
    () => read(11),
    (error: Error) => error instanceof RangeError,
  );
  const pieces = new LineReader(10);
  pieces.push(new Uint8Array(10));
  assert.throws(() => pieces.push(new Uint8Array(1)), 'more than 10 bytes');
});

test('a file in place of the socket is left alone', async () => {
  const directory = fresh();
  writeFileSync(socketPath(directory), 'not a socket');
  const error = await reason(serveState(socketPath(directory), HANDLER));
  assert.match(error.message, /mote\.sock is no socket: remove it/);
  assert.ok(existsSync(socketPath(directory)));
});

test.after(() => folder.remove());

test.run();
