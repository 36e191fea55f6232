/**
 * An HTTP/1.1 server in the Fetch API's shape: a function from `Request` to `Response`, served over any byte streams.
 * The clock and the timers are given; without timers there are no time limits.
 */
import type { ByteListener, ByteStream } from './byte-stream.ts';
import { ServerConnection } from './http-exchange.ts';
import { after } from './http-io.ts';
import { type HttpHandler, type HttpServerOptions, type ServerSettings, settleOptions } from './http-server-options.ts';

/** A server: any number of listeners and connections, one handler. */
export class HttpServer {
  readonly #settings: ServerSettings;
  readonly #connections = new Set<ServerConnection>();
  /** In the order in which they became idle. */
  readonly #idle = new Set<ServerConnection>();
  readonly #listeners = new Set<ByteListener>();
  #isClosed = false;
  readonly #whenGone: (() => void)[] = [];

  /** Throws TypeError where the runtime has no Fetch API and `classes` is not given. */
  constructor(handler: HttpHandler, options: HttpServerOptions = {}) {
    this.#settings = settleOptions(handler, options);
  }

  /** How many connections are open. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Serves every connection of a listener; resolves when it is closed. {@link close} closes it. */
  async listen(listener: ByteListener): Promise<void> {
    if (this.#isClosed) return void (await listener.close());
    this.#listeners.add(listener);
    for (;;) {
      const stream = await listener.accept();
      if (stream === undefined) break;
      void this.handle(stream);
    }
    this.#listeners.delete(listener);
  }

  /** Serves one connection; resolves when it is through, and never rejects. */
  async handle(stream: ByteStream): Promise<void> {
    if (this.#isClosed) return stream.abort();
    const connection = new ServerConnection(stream, this.#settings);
    const isFull = this.#connections.size >= this.#settings.maxConnections && !this.#makeRoom();
    if (isFull) return connection.refuse(); // CHECK: http-connection-limit
    this.#connections.add(connection);
    connection.onIdle = isIdle => {
      if (isIdle) this.#idle.add(connection);
      else this.#idle.delete(connection);
    };
    await connection.run();
    this.#connections.delete(connection);
    if (this.#connections.size === 0) for (const resolve of this.#whenGone.splice(0)) resolve();
  }

  /**
   * Stops accepting, closes what is idle, lets requests under way finish for `graceMs` and resets what is left then.
   * Resolves when every connection is gone.
   */
  async close(graceMs = 5000): Promise<void> {
    this.#isClosed = true;
    for (const listener of this.#listeners) await listener.close();
    if (this.#connections.size === 0) return;
    const cancel = after(this.#settings.timers, graceMs, () => {
      for (const connection of this.#connections) connection.abort();
    });
    await new Promise<void>(resolve => {
      this.#whenGone.push(resolve);
      for (const connection of [...this.#connections]) connection.close();
    });
    cancel();
  }

  #makeRoom(): boolean {
    for (const connection of this.#idle) {
      this.#idle.delete(connection);
      connection.close();
      return true;
    }
    return false;
  }
}

/** Makes a server; {@link HttpServer.listen} or {@link HttpServer.handle} gives it connections. */
export function createServer(handler: HttpHandler, options: HttpServerOptions = {}): HttpServer {
  return new HttpServer(handler, options);
}

/** Serves one connection; resolves when it is through, and never rejects. */
export function handleConnection(
  stream: ByteStream,
  handler: HttpHandler,
  options: HttpServerOptions = {},
): Promise<void> {
  return new ServerConnection(stream, settleOptions(handler, options)).run();
}
