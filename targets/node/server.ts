/**
 * A `net.Server` look-alike that listens inside the tunnel, and the way to attach a server that a package has made:
 * `http`, `https`, `tls` and whatever else takes its sockets from a `connection` event.
 */
import { randomInt } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { isNetError } from '../../lib/base/errors.ts';
import type { ByteListener } from '../../lib/mote/byte-stream.ts';
import { type ConnectTarget, MoteSocket, type MoteSocketOptions } from './socket.ts';
import { socketError, toSocketError } from './socket-errors.ts';

/** What listens inside the tunnel: a `Mote`, or anything of its shape. */
export interface ListeningMote {
  /** The mote's own addresses, with prefix lengths or without. */
  readonly addresses?: readonly string[];
  /** Listens on a port; rejects with NetError. */
  listen(port: number, options?: { address?: string; backlog?: number }): Promise<ByteListener>;
}

/** Options of a server, as `net.createServer` takes them. */
export interface MoteServerOptions extends Omit<MoteSocketOptions, 'mote' | 'stream'> {
  /** Whether accepted sockets are paused. */
  readonly pauseOnConnect?: boolean;
}

/** Where {@link MoteServer.listen} listens. */
export interface ListenTarget extends Partial<Pick<ConnectTarget, 'host'>> {
  /** 0 or nothing: a free one of the dynamic ports. */
  readonly port?: number | undefined;
  readonly backlog?: number | undefined;
}

/** The dynamic ports (RFC 6335 §6), and how many are tried. */
const DYNAMIC_PORT_FIRST = 49_152;
const DYNAMIC_PORT_TRIES = 32;

/** Listens inside the tunnel and emits `listening`, `connection`, `drop`, `error` and `close`. */
export class MoteServer extends EventEmitter {
  /** Most connections at a time; more are reset and emitted as `drop`. */
  maxConnections: number | undefined = undefined;
  readonly #mote: ListeningMote;
  readonly #options: MoteServerOptions;
  readonly #sockets = new Set<MoteSocket>();
  #listener: ByteListener | undefined;
  #host: string | undefined;
  #state: 'closed' | 'opening' | 'listening' = 'closed';

  constructor(mote: ListeningMote, options: MoteServerOptions = {}, onConnection?: (socket: MoteSocket) => void) {
    super();
    this.#mote = mote;
    this.#options = options;
    if (onConnection !== undefined) this.on('connection', onConnection);
  }

  /** Whether the server accepts connections. */
  get listening(): boolean {
    return this.#state === 'listening';
  }

  /** Begins to listen; `listening` or `error` follows. */
  listen(target: ListenTarget, listener?: () => void): this;
  listen(port?: number, host?: string, listener?: () => void): this;
  listen(port?: number, listener?: () => void): this;
  listen(first?: ListenTarget | number, second?: string | (() => void), third?: () => void): this {
    const listener = typeof second === 'function' ? second : third;
    const given =
      typeof first === 'object' ? first : { port: first, host: typeof second === 'string' ? second : undefined };
    if (this.#state !== 'closed') throw socketError('ERR_SERVER_ALREADY_LISTEN', 'Listen method has been called twice');
    if (listener !== undefined) this.once('listening', listener);
    this.#state = 'opening';
    void this.#open(given);
    return this;
  }

  async #open(target: ListenTarget): Promise<void> {
    let listener: ByteListener;
    try {
      listener = await listenAt(this.#mote, target);
    } catch (error) {
      this.#state = 'closed';
      const at = { address: target.host ?? '::', port: target.port ?? 0 };
      process.nextTick(() => this.emit('error', toSocketError(error, 'listen', at)));
      return;
    }
    // Closed in the meantime.
    if (this.#state !== 'opening') return void listener.close();
    this.#state = 'listening';
    this.#listener = listener;
    this.#host = target.host;
    process.nextTick(() => this.emit('listening'));
    void acceptAll(listener, stream => {
      const { maxConnections } = this;
      if (maxConnections !== undefined && this.#sockets.size >= maxConnections) {
        stream.abort();
        this.emit('drop', { remoteAddress: stream.remote.address, remotePort: stream.remote.port });
        return;
      }
      const socket = new MoteSocket({ ...this.#options, stream });
      if (this.#options.pauseOnConnect === true) socket.pause();
      this.#sockets.add(socket);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        this.#maybeClosed();
      });
      this.emit('connection', socket);
    });
  }

  /** Address and port; `null` while the server does not listen. */
  address(): { address: string; family: string; port: number } | null {
    if (this.#listener === undefined) return null;
    const address = this.#host ?? '::';
    return { address, family: address.includes(':') ? 'IPv6' : 'IPv4', port: this.#listener.port };
  }

  /** Stops accepting; `close` is emitted, and `callback` called, when the last connection is gone. */
  close(callback?: (error?: Error) => void): this {
    if (this.#state === 'closed') {
      if (callback !== undefined)
        process.nextTick(callback, socketError('ERR_SERVER_NOT_RUNNING', 'Server is not running.'));
      return this;
    }
    if (callback !== undefined) this.once('close', callback);
    this.#state = 'closed';
    const listener = this.#listener;
    this.#listener = undefined;
    void listener?.close();
    process.nextTick(() => this.#maybeClosed());
    return this;
  }

  #maybeClosed(): void {
    if (this.#state === 'closed' && this.#sockets.size === 0) this.emit('close');
  }

  /** How many connections are open. */
  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.#sockets.size);
    return this;
  }

  /** Nothing happens: a mote's UDP socket keeps the process alive. */
  ref(): this {
    return this;
  }

  /** Nothing happens: a mote's UDP socket keeps the process alive. */
  unref(): this {
    return this;
  }
}

/** Makes a server; {@link MoteServer.listen} starts it. */
export function createServer(
  mote: ListeningMote,
  options: MoteServerOptions = {},
  onConnection?: (socket: MoteSocket) => void,
): MoteServer {
  return new MoteServer(mote, options, onConnection);
}

/** What {@link attachServer} needs of a server: that it takes `connection` events, as `net.Server` and its heirs do. */
export interface AttachableServer {
  emit(event: string, ...args: unknown[]): boolean;
  readonly listening?: boolean;
  readonly allowHalfOpen?: boolean;
  closeIdleConnections?(): void;
}

/** A server that is reachable on a port inside the tunnel. */
export interface Attachment {
  /** The port inside the tunnel. */
  readonly port: number;
  /**
   * Stops accepting inside the tunnel, closes idle HTTP connections, waits up to `graceMs` (5,000) for the others and
   * resets what is left. The server itself stays as it is.
   */
  close(graceMs?: number): Promise<void>;
}

/**
 * Makes a server reachable inside the tunnel: `attachServer(mote, http.createServer(app), 80)`. It may listen on this
 * machine too, or not at all; then it is told `listening`, because `http.Server` starts its own time limits by that.
 * Rejects with NetError (`ERR_ADDRESS_IN_USE`).
 */
export async function attachServer(
  mote: ListeningMote,
  server: AttachableServer,
  port = 0,
  options: { address?: string } & MoteServerOptions = {},
): Promise<Attachment> {
  const listener = await listenAt(mote, { port, host: options.address });
  const sockets = new Set<MoteSocket>();
  const allowHalfOpen = server.allowHalfOpen ?? false;
  if (server.listening !== true) server.emit('listening');
  void acceptAll(listener, stream => {
    const socket = new MoteSocket({ noDelay: true, allowHalfOpen, ...options, stream });
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    server.emit('connection', socket);
  });
  return {
    port: listener.port,
    close: async (graceMs = 5000) => {
      await listener.close();
      const gone = Promise.all([...sockets].map(socket => new Promise(resolve => socket.once('close', resolve))));
      server.closeIdleConnections?.();
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.resetAndDestroy();
      }, graceMs);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** Calls `take` for every connection, each in a tick of its own, until the listener is closed. */
async function acceptAll(listener: ByteListener, take: (stream: StreamOf<ByteListener>) => void): Promise<void> {
  for (let stream = await listener.accept(); stream !== undefined; stream = await listener.accept())
    process.nextTick(take, stream);
}

type StreamOf<Listener extends ByteListener> = Exclude<Awaited<ReturnType<Listener['accept']>>, undefined>;

/** Listens on the port, or on a free dynamic one. */
async function listenAt(mote: ListeningMote, target: ListenTarget): Promise<ByteListener> {
  const { port = 0, host, backlog } = target;
  const isAny = host === undefined || host === '' || host === '0.0.0.0' || host === '::';
  const options = { ...(isAny ? {} : { address: host }), ...(backlog === undefined ? {} : { backlog }) };
  if (port !== 0) return mote.listen(port, options);
  for (let tries = 1; ; tries++) {
    try {
      return await mote.listen(randomInt(DYNAMIC_PORT_FIRST, 65_536), options);
    } catch (error) {
      const isTaken = isNetError(error) && error.code === 'ERR_ADDRESS_IN_USE';
      if (!isTaken || tries === DYNAMIC_PORT_TRIES) throw error;
    }
  }
}
