/**
 * Carries a TCP connection on this machine into a stream inside the tunnel and back (RFC 9293 semantics on both sides):
 * half close stays half close, a reset stays a reset, and a slow reader on one side stops the writer on the other.
 * At most one read of the socket (64 KiB) and its write buffer are held per direction.
 *
 * Two limits come from Node: a reset that arrives in the same instant as data is reported as an end, and a reset after
 * the end is noticed only when something is written.
 */
import type { Socket } from 'node:net';
import { NetError } from '../../lib/base/errors.ts';
import type { ByteStream } from '../../lib/mote/byte-stream.ts';

/** Silence after which both sides are asked whether they still live. */
export const KEEPALIVE_MS = 300_000;

/** What a finished pipe carried. */
export interface PipeResult {
  /** From the socket into the tunnel. */
  sentBytes: number;
  /** From the tunnel into the socket. */
  receivedBytes: number;
  /** Why it broke; undefined when both sides ended by themselves. */
  error: unknown;
}

/** Reads a socket one piece at a time, without flowing mode: what is not asked for stays in the kernel. */
export class SocketReader {
  readonly #socket: Socket;
  #wake: () => void = () => undefined;
  #error: unknown;
  #isEnded = false;

  /** The only reader of `socket` from now on; it also takes over the `error` event. */
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('readable', () => this.#wake());
    socket.on('end', () => {
      this.#isEnded = true;
      this.#wake();
    });
    socket.on('error', error => {
      this.#error ??= error;
    });
    socket.on('close', () => this.#wake());
  }

  /** The next bytes, or undefined at the end of the stream. Rejects when the socket broke. One call at a time. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#socket.read() as Uint8Array | null;
      if (chunk !== null) return chunk;
      if (this.#isEnded) return undefined;
      if (this.#socket.destroyed) throw this.#error ?? new NetError('ERR_CLOSED', 'the local connection was closed');
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  /** Puts bytes back, to be read first. */
  unread(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#socket.unshift(bytes);
  }
}

/**
 * Pipes both ways until both sides have ended or one broke; then both are closed (or reset). Never rejects.
 * `socket` must have been made with `allowHalfOpen`; a `reader` that was already used on it can be handed on.
 */
export async function pipe(stream: ByteStream, socket: Socket, reader = new SocketReader(socket)): Promise<PipeResult> {
  const result: PipeResult = { sentBytes: 0, receivedBytes: 0, error: undefined };
  let hasSentAll = false;
  let hasReceivedAll = false;
  const fail = (error: unknown) => {
    result.error ??= error;
    stream.abort();
    resetSocket(socket);
  };
  stream.setKeepAlive?.(KEEPALIVE_MS);
  socket.setKeepAlive(true, KEEPALIVE_MS);
  void stream.closed?.then(() => {
    // Gone while the socket had more to say: nobody waits for the stream if its reading side has ended before.
    const { error } = stream as { readonly error?: unknown };
    if (!hasSentAll) fail(error ?? new NetError('ERR_CONNECTION_RESET', 'the connection inside the tunnel was reset'));
  });
  socket.once('close', () => {
    if (!hasReceivedAll) fail(socket.errored ?? new NetError('ERR_CLOSED', 'the local connection was closed'));
  });
  const send = async () => {
    for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
      await stream.write(chunk);
      result.sentBytes += chunk.length;
    }
    hasSentAll = true;
    await stream.end();
  };
  const receive = async () => {
    for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) {
      result.receivedBytes += chunk.length;
      await writeAll(socket, chunk);
    }
    hasReceivedAll = true;
    socket.end();
  };
  await Promise.all([receive().catch(fail), send().catch(fail)]);
  if (!socket.closed) await new Promise<void>(resolve => socket.once('close', () => resolve()));
  if (socket.errored) fail(socket.errored);
  else if (result.error === undefined) void stream.close?.();
  return result;
}

/**
 * Resets a local connection at once. While its FIN is on the way (everything written, end not confirmed) Node cannot, and
 * would never close it (libuv refuses a reset during shutdown): then all data is with the kernel, and it is just closed.
 */
export function resetSocket(socket: Socket): void {
  const isShuttingDown = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
  if (socket.destroyed) return;
  if (isShuttingDown) socket.destroy();
  else socket.resetAndDestroy();
}

/** Writes, and waits while the socket's buffer is full. Rejects when the socket is gone. */
export async function writeAll(socket: Socket, chunk: Uint8Array): Promise<void> {
  if (socket.destroyed) throw socket.errored ?? new NetError('ERR_CLOSED', 'the local connection was closed');
  if (socket.write(chunk)) return;
  await new Promise<void>(resolve => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}
