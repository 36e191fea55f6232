/**
 * A `net.Socket` look-alike around a connection inside the tunnel, for packages that want a Node socket: the same
 * properties, methods, events, error codes and half-close rules (Node's `net` documentation).
 *
 * Not a `net.Socket` by `instanceof`: that class belongs to a file descriptor. `ref` and `unref` do nothing, since what
 * keeps the process alive is the mote's own UDP socket. Left out: IPC paths, `localAddress` of a connect.
 */
import { Duplex } from 'node:stream';
import { isIP } from 'node:net';
import type { Endpoint } from '../../lib/base/address.ts';
import type { ByteStream } from '../../lib/mote/byte-stream.ts';
import { socketError, toSocketError } from './socket-errors.ts';

/** What opens connections: a `Mote`, or anything of its shape. */
export interface Dialer {
  /** Opens a connection; rejects with NetError. */
  dial(host: string, port: number, options?: { signal?: AbortSignal; localPort?: number }): Promise<ByteStream>;
}

/** Options of a {@link MoteSocket}. */
export interface MoteSocketOptions {
  /** Opens the connection that {@link MoteSocket.connect} asks for. */
  readonly mote?: Dialer;
  /** A connection that is open already, instead. */
  readonly stream?: ByteStream;
  /** Whether this side stays open when the other one has ended (false). */
  readonly allowHalfOpen?: boolean;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
  /** Silence before the first probe in milliseconds. */
  readonly keepAliveInitialDelay?: number;
  readonly readableHighWaterMark?: number;
  readonly writableHighWaterMark?: number;
}

/** Where {@link MoteSocket.connect} goes. */
export interface ConnectTarget {
  /** A name or an address inside the tunnel (`localhost`, as Node has it). */
  readonly host?: string | undefined;
  readonly port: number | string;
  readonly localPort?: number | undefined;
  /** Milliseconds of silence after which `timeout` is emitted. */
  readonly timeout?: number | undefined;
}

/** Small writes that were corked together are sent as one up to this many bytes. */
const GATHER_BYTES = 65_536;
/** How long a destroyed socket waits for the other side to end, as Linux does. */
const ORPHAN_MS = 60_000;
/** What Linux takes where nothing is said. */
const KEEPALIVE_DELAY_MS = 7_200_000;

/** One socket: connecting, open, half closed or closed. */
export class MoteSocket extends Duplex {
  /** Whether {@link connect} was called and has not come to an end. */
  connecting = false;
  /** Bytes that came in. */
  bytesRead = 0;
  /** Milliseconds that {@link setTimeout} was given; undefined while there is no timeout. */
  timeout: number | undefined = undefined;
  readonly #dialer: Dialer | undefined;
  readonly #abort = new AbortController();
  #stream: ByteStream | undefined;
  /** Bytes of finished writes. */
  #takenBytes = 0;
  #isReset = false;
  /** The read that has not been delivered yet. */
  #reading: Promise<Uint8Array | undefined> | undefined;
  #isReadEnded = false;
  #noDelay: boolean | undefined;
  #keepAliveMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Neither `mote` nor `stream`: a TypeError. */
  constructor(options: MoteSocketOptions) {
    const { readableHighWaterMark, writableHighWaterMark } = options;
    super({
      allowHalfOpen: options.allowHalfOpen ?? false,
      autoDestroy: true,
      emitClose: false,
      ...(readableHighWaterMark === undefined ? {} : { readableHighWaterMark }),
      ...(writableHighWaterMark === undefined ? {} : { writableHighWaterMark }),
    });
    if (options.mote === undefined && options.stream === undefined)
      throw new TypeError('"options" expected a mote or a stream, got neither');
    this.#dialer = options.mote;
    if (options.noDelay !== undefined) this.setNoDelay(options.noDelay);
    if (options.keepAlive !== undefined) this.setKeepAlive(options.keepAlive, options.keepAliveInitialDelay);
    if (options.stream !== undefined) this.#adopt(options.stream);
    // As net.Socket does: a side that was ended by the other shows it even where nobody reads.
    this.on('end', () => {
      if (!this.allowHalfOpen) this.write = writeAfterEnd;
    });
  }

  /** Opens the connection; `listener` is called once it is open. What fails is emitted as `error`. */
  connect(target: ConnectTarget, listener?: () => void): this;
  connect(port: number | string, host?: string, listener?: () => void): this;
  connect(port: number | string, listener?: () => void): this;
  connect(first: ConnectTarget | number | string, second?: string | (() => void), third?: () => void): this {
    const listener = typeof second === 'function' ? second : third;
    const target = typeof first === 'object' ? first : { port: first, host: second as string | undefined };
    const port = Number(target.port);
    if (!Number.isInteger(port) || port < 1 || port > 65535)
      throw new RangeError(`"port" expected 1 to 65535, got ${String(target.port)}`);
    if (this.#dialer === undefined || this.#stream !== undefined || this.connecting)
      throw socketError('EISCONN', 'connect EISCONN: the socket is connected already');
    if (listener !== undefined) this.once('connect', listener);
    if (target.timeout !== undefined) this.setTimeout(target.timeout);
    this.connecting = true;
    void this.#dial(this.#dialer, target.host || 'localhost', port, target.localPort);
    return this;
  }

  async #dial(dialer: Dialer, host: string, port: number, localPort: number | undefined): Promise<void> {
    const { signal } = this.#abort;
    let stream: ByteStream;
    try {
      stream = await dialer.dial(host, port, localPort === undefined ? { signal } : { signal, localPort });
    } catch (error) {
      this.connecting = false;
      const known = toSocketError(error, 'connect', { address: host, port });
      process.nextTick(() => this.destroy(known));
      return;
    }
    // In a tick of its own: what a listener throws is not a rejection of this promise.
    process.nextTick(() => this.#connected(stream));
  }

  #connected(stream: ByteStream): void {
    if (this.destroyed) return stream.abort();
    this.connecting = false;
    this.#adopt(stream);
    this.#touch();
    this.emit('connect');
    this.emit('ready');
    if (this.readable && !this.isPaused()) this.read(0);
  }

  #adopt(stream: ByteStream): void {
    this.#stream = stream;
    if (this.#noDelay !== undefined) stream.setNoDelay?.(this.#noDelay);
    if (this.#keepAliveMs !== undefined) stream.setKeepAlive?.(this.#keepAliveMs);
  }

  /** Whether no connection is open yet. */
  get pending(): boolean {
    return this.#stream === undefined || this.connecting;
  }

  /** `opening`, `open`, `readOnly`, `writeOnly` or `closed`. */
  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening';
    if (this.#stream === undefined || this.destroyed) return 'closed';
    if (this.readable) return this.writable ? 'open' : 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  /** Bytes that were written, those that still wait included. */
  get bytesWritten(): number {
    return this.#takenBytes + this.writableLength;
  }

  /** Bytes that wait to be sent. */
  get bufferSize(): number {
    return this.writableLength;
  }

  get remoteAddress(): string | undefined {
    return this.#stream?.remote.address;
  }

  get remotePort(): number | undefined {
    return this.#stream?.remote.port;
  }

  get remoteFamily(): string | undefined {
    return familyOf(this.#stream?.remote);
  }

  get localAddress(): string | undefined {
    return this.#stream?.local.address;
  }

  get localPort(): number | undefined {
    return this.#stream?.local.port;
  }

  get localFamily(): string | undefined {
    return familyOf(this.#stream?.local);
  }

  /** This side's address; an empty object before the connection is open. */
  address(): { address?: string; family?: string; port?: number } {
    const local = this.#stream?.local;
    return local === undefined ? {} : { address: local.address, family: familyOf(local)!, port: local.port };
  }

  /** Sends small writes at once (true, the default of the argument) or collects them. */
  setNoDelay(noDelay = true): this {
    this.#noDelay = noDelay;
    this.#stream?.setNoDelay?.(noDelay);
    return this;
  }

  /** Probes a silent connection; `initialDelay` is the silence in milliseconds (two hours where it is 0). */
  setKeepAlive(enable = false, initialDelay = 0): this {
    this.#keepAliveMs = enable ? initialDelay || KEEPALIVE_DELAY_MS : 0;
    this.#stream?.setKeepAlive?.(this.#keepAliveMs);
    return this;
  }

  /** Emits `timeout` once after every `ms` without traffic; 0 switches it off. Nothing else happens by itself. */
  setTimeout(ms: number, listener?: () => void): this {
    if (typeof ms !== 'number' || !(ms >= 0)) throw new RangeError(`"ms" expected 0 or more, got ${String(ms)}`);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.timeout = ms === 0 ? undefined : ms;
    if (listener !== undefined) {
      if (ms === 0) this.removeListener('timeout', listener);
      else this.once('timeout', listener);
    }
    if (ms > 0 && !this.destroyed) this.#timer = setTimeout(() => this.emit('timeout'), ms).unref();
    return this;
  }

  /** Nothing happens: a mote's UDP socket keeps the process alive, not its connections. */
  ref(): this {
    return this;
  }

  /** Nothing happens: a mote's UDP socket keeps the process alive, not its connections. */
  unref(): this {
    return this;
  }

  /** Sends what waits, then destroys the socket. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** Resets the connection. */
  resetAndDestroy(): this {
    this.#isReset = true;
    return this.destroy();
  }

  override _read(): void {
    const stream = this.#stream;
    if (stream === undefined) {
      if (!this.destroyed) this.once('connect', () => this._read());
      return;
    }
    this.#reading = stream.read();
    this.#reading.then(
      bytes => process.nextTick(() => this.#received(bytes)),
      error => process.nextTick(() => this.destroy(toSocketError(error, 'read'))),
    );
  }

  #received(bytes: Uint8Array | undefined): void {
    if (this.destroyed) return;
    this.#reading = undefined;
    this.#isReadEnded = bytes === undefined;
    this.#touch();
    if (bytes === undefined) {
      this.push(null);
      // A socket that nobody reads must still learn that it is over.
      if (this.readableLength === 0) this.read(0);
      return;
    }
    this.bytesRead += bytes.length;
    this.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#send([chunk], callback);
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    const buffers = chunks.map(({ chunk }) => chunk);
    const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    this.#send(total <= GATHER_BYTES ? [Buffer.concat(buffers, total)] : buffers, callback);
  }

  #send(chunks: readonly Uint8Array[], callback: (error?: Error | null) => void): void {
    const stream = this.#stream;
    if (stream === undefined) {
      if (this.connecting) this.#sendLater(chunks, callback);
      else callback(socketError('ERR_SOCKET_CLOSED', 'Socket is closed'));
      return;
    }
    this.#touch();
    this.#sendAll(stream, chunks).then(
      () => process.nextTick(callback),
      error => process.nextTick(callback, toSocketError(error, 'write')),
    );
  }

  #sendLater(chunks: readonly Uint8Array[], callback: (error?: Error | null) => void): void {
    const onClose = () =>
      callback(socketError('ERR_SOCKET_CLOSED_BEFORE_CONNECTION', 'Socket closed before connecting'));
    this.once('close', onClose);
    this.once('connect', () => {
      this.removeListener('close', onClose);
      this.#send(chunks, callback);
    });
  }

  async #sendAll(stream: ByteStream, chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      // In pieces, because a timeout is for a connection that stands still, not for a large write.
      for (let at = 0; at < chunk.length; at += GATHER_BYTES) {
        await stream.write(chunk.subarray(at, at + GATHER_BYTES));
        this.#touch();
      }
      this.#takenBytes += chunk.length;
    }
  }

  override _final(callback: (error?: Error | null) => void): void {
    const stream = this.#stream;
    if (stream !== undefined)
      stream.end().then(
        () => process.nextTick(callback),
        error => process.nextTick(callback, toSocketError(error, 'shutdown')),
      );
    else if (this.connecting) this.once('connect', () => this._final(callback));
    else callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.connecting = false;
    this.#abort.abort();
    const stream = this.#stream;
    if (stream !== undefined) void this.#release(stream);
    callback(error);
    process.nextTick(() => this.emit('close', error !== null));
  }

  /**
   * What the system does with a closed socket: what was written still goes out and is followed by a FIN, and bytes that
   * come in then are answered with a reset, as nobody is there to read them.
   */
  async #release(stream: ByteStream): Promise<void> {
    if (this.#isReset) return stream.abort();
    const timer = setTimeout(() => stream.abort(), ORPHAN_MS).unref();
    try {
      await stream.end();
      if (!this.#isReadEnded && (await (this.#reading ?? stream.read())) !== undefined) stream.abort();
    } catch {
      // The connection is gone already.
    }
    clearTimeout(timer);
  }

  /** Starts the timeout anew. */
  #touch(): void {
    this.#timer?.refresh();
  }
}

function writeAfterEnd(this: MoteSocket, ...args: unknown[]): boolean {
  const callback = args.find(argument => typeof argument === 'function') as ((error: Error) => void) | undefined;
  const error = socketError('EPIPE', 'This socket has been ended by the other party');
  if (callback !== undefined) process.nextTick(callback, error);
  this.destroy(error);
  return false;
}

function familyOf(endpoint: Endpoint | undefined): 'IPv4' | 'IPv6' | undefined {
  if (endpoint === undefined) return undefined;
  return isIP(endpoint.address) === 6 ? 'IPv6' : 'IPv4';
}

/** Opens a connection inside the tunnel: a socket that is connecting, as `net.connect` returns it. */
export function createConnection(
  mote: Dialer,
  target: ConnectTarget & Omit<MoteSocketOptions, 'mote' | 'stream'>,
  listener?: () => void,
): MoteSocket {
  return new MoteSocket({ ...target, mote }).connect(target, listener);
}
