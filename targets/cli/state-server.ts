/** The socket that a running `motenet up` serves in its state folder, mode 0600: one request per connection. */
import { chmodSync, existsSync, lstatSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { ByteStream } from '../../lib/mote/byte-stream.ts';
import { codeOf, messageOf, RunError } from './errors.ts';
import { SocketReader, writeAll } from './pipe.ts';
import {
  FRAME_BROKEN,
  FRAME_LIMIT_BYTES,
  frameHeader,
  LineReader,
  type MoteRequest,
  type MoteResults,
  parseRequest,
  REQUEST_LIMIT_BYTES,
} from './state-protocol.ts';

/** Clients at once; one more is turned away. */
const MAX_CLIENTS = 256;
/** How long a client may take for its request. */
const REQUEST_TIMEOUT_MS = 10_000;

/** Who answers. What it rejects with is told to the client by its code and message. */
export interface StateHandler {
  status(): MoteResults['status'];
  netcheck(): Promise<MoteResults['netcheck']>;
  whois(address: string): MoteResults['whois'];
  ping(name: string, timeoutMs: number): Promise<MoteResults['ping']>;
  pingPath(name: string, timeoutMs: number): Promise<MoteResults['ping-path']>;
  dial(name: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<ByteStream>;
  /** Called once the client that asked has its answer. */
  logout(): Promise<() => void>;
}

/** A served socket. */
export interface StateServer {
  /** Ends every client, stops listening, removes the socket. Safe to call twice. */
  close(): Promise<void>;
}

/** Serves the socket at `path`. Rejects with {@link RunError} when another process does. */
export async function serveState(path: string, handler: StateHandler): Promise<StateServer> {
  if (existsSync(path)) {
    if (!lstatSync(path).isSocket())
      throw new RunError(`${path} is no socket: remove it, or give --state another folder`);
    if (await answers(path)) throw new RunError(alreadyRuns(path)); // CHECK: state-one-process
    rmSync(path, { force: true });
  }
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => undefined);
    if (clients.size >= MAX_CLIENTS) {
      socket.destroy();
      return;
    }
    clients.add(socket);
    socket.once('close', () => clients.delete(socket));
    serveClient(socket, handler).catch(() => socket.destroy());
  });
  await listen(server, path);
  let isClosed = false;
  return {
    close: async () => {
      if (isClosed) return;
      isClosed = true;
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      for (const socket of clients) if (!socket.writableEnded) socket.destroy();
      await closed;
    },
  };
}

function alreadyRuns(path: string): string {
  return `another \`motenet up\` runs with this state (${path}): stop it, or give --state another folder`;
}

/** Whether a process listens there. */
function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', error => resolve(codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT'));
  });
}

/** Binds with a mask that leaves nobody else a moment to connect. */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const mask = process.umask(0o177);
    try {
      server.once('error', error => {
        const isTaken = codeOf(error) === 'EADDRINUSE';
        const text = isTaken ? alreadyRuns(path) : `cannot listen on ${path}: ${messageOf(error)}`;
        reject(new RunError(text, { cause: error }));
      });
      server.listen({ path }, () => {
        chmodSync(path, 0o600);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}

async function serveClient(socket: Socket, handler: StateHandler): Promise<void> {
  const reader = new SocketReader(socket);
  const timer = setTimeout(() => socket.destroy(), REQUEST_TIMEOUT_MS);
  const request = await readRequest(reader).finally(() => clearTimeout(timer));
  if (request === undefined) return answer(socket, { error: { code: 'ERR_PROTOCOL', message: 'not a request' } });
  try {
    await carryOut(request, socket, reader, handler);
  } catch (error) {
    answer(socket, { error: { code: codeOf(error), message: messageOf(error) } });
  }
}

async function readRequest(reader: SocketReader): Promise<MoteRequest | undefined> {
  const lines = new LineReader(REQUEST_LIMIT_BYTES);
  try {
    for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
      const whole = lines.push(chunk);
      if (whole === undefined) continue;
      reader.unread(whole.rest);
      return parseRequest(whole.line);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return undefined;
}

async function carryOut(
  request: MoteRequest,
  socket: Socket,
  reader: SocketReader,
  handler: StateHandler,
): Promise<void> {
  switch (request.command) {
    case 'status':
      return answer(socket, { result: handler.status() });
    case 'netcheck':
      return answer(socket, { result: await handler.netcheck() });
    case 'whois':
      return answer(socket, { result: handler.whois(request.address) });
    case 'ping':
      return answer(socket, { result: await handler.ping(request.name, request.timeoutMs) });
    case 'ping-path':
      return answer(socket, { result: await handler.pingPath(request.name, request.timeoutMs) });
    case 'logout': {
      const done = await handler.logout();
      if (socket.closed) done();
      else socket.once('close', done);
      return answer(socket, { result: { isLoggedOut: true } });
    }
    case 'nc': {
      const stream = await dial(request, socket, handler);
      socket.write(`${JSON.stringify({ result: { address: stream.remote.address } })}\n`);
      return carry(stream, socket, reader);
    }
  }
}

function answer(socket: Socket, value: unknown): void {
  if (!socket.writable) return;
  socket.end(`${JSON.stringify(value)}\n`, () => socket.destroy());
}

/** Dials on behalf of a client, and gives up when that goes away. */
async function dial(
  { name, port, timeoutMs }: Extract<MoteRequest, { command: 'nc' }>,
  socket: Socket,
  handler: StateHandler,
): Promise<ByteStream> {
  const abort = new AbortController();
  const onClose = () => abort.abort();
  socket.once('close', onClose);
  try {
    return await handler.dial(name, port, timeoutMs, abort.signal);
  } finally {
    socket.off('close', onClose);
  }
}

/** Carries both ways until both sides have ended or one broke. */
async function carry(stream: ByteStream, socket: Socket, reader: SocketReader): Promise<void> {
  let isOver = false;
  const fail = (error: unknown) => {
    if (isOver) return;
    isOver = true;
    stream.abort();
    if (!socket.writable) return;
    const why = JSON.stringify({ code: codeOf(error), message: messageOf(error) });
    socket.write(frameHeader(FRAME_BROKEN));
    socket.end(`${why}\n`, () => socket.destroy());
  };
  socket.once('close', () => fail(new Error('the client went away')));
  const send = async () => {
    for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) await stream.write(chunk);
    await stream.end();
  };
  const receive = async () => {
    for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read())
      for (let at = 0; at < chunk.length; at += FRAME_LIMIT_BYTES) {
        const part = chunk.subarray(at, at + FRAME_LIMIT_BYTES);
        socket.write(frameHeader(part.length));
        await writeAll(socket, part);
      }
    socket.write(frameHeader(0));
  };
  await Promise.all([send().catch(fail), receive().catch(fail)]);
  if (isOver) return;
  isOver = true;
  void stream.close?.();
  socket.end();
}
