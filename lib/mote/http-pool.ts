/**
 * Client connections that wait for their next request. They are watched while they wait: whatever comes in then is an
 * end or a byte that nobody asked for, and either means that the connection is not used again (RFC 9112 §9.3, §9.5).
 */
import type { ByteStream, Timers } from './byte-stream.ts';
import type { ResponseHead } from './http-head.ts';
import { after, HttpInput, HttpOutput } from './http-io.ts';
import { createResponseParser } from './http-parser.ts';
import type { HttpLimits } from './http-syntax.ts';

/** How connections are kept. */
export interface PoolOptions {
  readonly timers: Timers | undefined;
  readonly limits: HttpLimits;
  readonly writeTimeoutMs: number;
  /** Longest wait of an idle connection in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Most idle connections per origin; one more closes the oldest of them. */
  readonly maxIdlePerHost: number;
  /** Most idle connections together; one more closes the oldest of all. */
  readonly maxIdle: number;
}

/** One connection to a server, for one request at a time. */
export class ClientConnection {
  /** The origin that it was made for, as `http://host:port`. */
  readonly origin: string;
  readonly stream: ByteStream;
  readonly input: HttpInput<ResponseHead>;
  readonly output: HttpOutput;
  /** Cancels the idle timer. */
  cancelIdle: () => void = () => undefined;

  constructor(origin: string, stream: ByteStream, options: PoolOptions) {
    this.origin = origin;
    this.stream = stream;
    this.input = new HttpInput(stream, createResponseParser(options.limits));
    this.output = new HttpOutput(stream, options.timers, options.writeTimeoutMs);
  }

  /** Closes a connection that is not used any more: both sides have said everything. */
  close(): void {
    const closing = this.stream.close === undefined ? this.stream.end() : this.stream.close();
    closing.catch(() => undefined);
  }
}

/** The idle connections of one client, oldest first. */
export class ConnectionPool {
  readonly options: PoolOptions;
  readonly #idle: ClientConnection[] = [];
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.options = options;
  }

  /** How many connections wait. */
  get idleCount(): number {
    return this.#idle.length;
  }

  /** The connection to an origin that was used last, or `undefined`. */
  take(origin: string): ClientConnection | undefined {
    const at = this.#idle.map(connection => connection.origin).lastIndexOf(origin);
    const connection = this.#idle[at];
    if (connection === undefined) return undefined;
    this.#remove(connection);
    return connection;
  }

  /** Takes a connection back whose response was read to its end; `idleMs` is how long the server may keep it. */
  put(connection: ClientConnection, idleMs: number): void {
    const { input } = connection;
    if (input.parser.hasLeftover) return connection.stream.abort(); // CHECK: http-unsolicited-bytes
    if (this.#isClosed || input.isEnded || input.isBroken || idleMs <= 0) return connection.close();
    input.parser.next();
    this.#idle.push(connection);
    input.onUnawaited = () => this.#drop(connection);
    input.onBroken = () => this.#drop(connection);
    input.readAhead();
    const { timers, idleTimeoutMs, maxIdlePerHost, maxIdle } = this.options;
    connection.cancelIdle = after(timers, Math.min(idleMs, idleTimeoutMs), () => this.#drop(connection));
    const same = this.#idle.filter(other => other.origin === connection.origin);
    if (same.length > maxIdlePerHost) this.#drop(same[0]!); // CHECK: http-pool-host-limit
    if (this.#idle.length > maxIdle) this.#drop(this.#idle[0]!); // CHECK: http-pool-limit
  }

  /** Closes what waits; what comes back later is closed too. */
  close(): void {
    this.#isClosed = true;
    for (const connection of [...this.#idle]) this.#drop(connection);
  }

  #drop(connection: ClientConnection): void {
    this.#remove(connection);
    if (connection.input.parser.hasLeftover) connection.stream.abort();
    else connection.close();
  }

  #remove(connection: ClientConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    connection.cancelIdle();
    connection.input.onUnawaited = undefined;
    connection.input.onBroken = undefined;
  }
}
