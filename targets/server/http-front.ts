/**
 * The listeners of a server: HTTP/1.1 with or without TLS, behind the gate that bounds who may connect. What is asked for
 * is decided elsewhere (routes.ts); here a connection is let in, given its time limits, and closed.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { NetError } from '../../lib/base/errors.ts';
import type { Clock } from '../../lib/ports.ts';
import type { CertifiedKey } from './keys.ts';
import type { SourceGate, Ticket } from './source-gate.ts';
import type { ServerLimits } from './types.ts';

/** Largest head of a request. */
const HEAD_BYTES = 16_384;
const HEADERS = 100;
/** Requests over one connection, after each other. */
const REQUESTS_PER_CONNECTION = 100;
const KEEP_ALIVE_MS = 5000;
const BACKLOG = 1024;

/** Who answers. */
export interface HttpHandlers {
  onRequest(request: IncomingMessage, response: ServerResponse, ticket: Ticket): void;
  /** `head` are bytes behind the request. The socket has no time limits any more, and an error handler. */
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, ticket: Ticket): void;
}

/** What a listener needs. */
export interface HttpFrontOptions {
  readonly clock: Clock;
  readonly gate: SourceGate;
  readonly limits: ServerLimits;
  readonly tls: CertifiedKey | undefined;
  readonly handlers: HttpHandlers;
}

/** One listener. */
export class HttpFront {
  readonly #server: Server;
  readonly #options: HttpFrontOptions;
  readonly #sockets = new Set<Socket>();
  /** Tickets by the addresses of a connection: a TLS socket does not name the raw one below it. */
  readonly #tickets = new Map<string, Ticket>();
  /** Requests of a connection whose responses are not finished. */
  readonly #unanswered = new WeakMap<Socket, number>();

  constructor(options: HttpFrontOptions) {
    const { limits, tls, handlers } = options;
    this.#options = options;
    const common = {
      maxHeaderSize: HEAD_BYTES,
      headersTimeout: Math.min(limits.headTimeoutMs, limits.requestTimeoutMs),
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: Math.min(2000, limits.headTimeoutMs),
      noDelay: true,
    };
    const secure = { ...common, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: limits.headTimeoutMs } as const;
    this.#server = tls === undefined ? createServer(common) : createSecureServer(secure);
    this.#server.maxHeadersCount = HEADERS;
    this.#server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
    this.#server.prependListener('connection', (socket: Socket) => this.#letIn(socket));
    this.#server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const ticket = this.#ticketOf(request.socket);
      if (ticket === undefined) return request.socket.destroy();
      request.on('error', () => undefined);
      response.on('error', () => undefined);
      this.#count(request.socket, 1);
      response.once('close', () => this.#count(request.socket, -1));
      handlers.onRequest(request, response, ticket);
    });
    this.#server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const ticket = this.#ticketOf(request.socket);
      if (ticket === undefined) return socket.destroy();
      // Two answers would write to one socket: a client that asks for another protocol waits for what it asked before.
      const isBusy = (this.#unanswered.get(socket) ?? 0) > 0;
      if (isBusy) return socket.destroy(); // CHECK: server-upgrade-behind-request
      socket.setTimeout(0);
      socket.on('error', () => undefined);
      handlers.onUpgrade(request, socket, head, ticket);
    });
  }

  /** Starts to listen; resolves with the port. Rejects with NetError. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', cause => reject(listenError(cause, host, port)));
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.removeAllListeners('error');
        this.#server.on('error', () => undefined); // a connection that could not be accepted: no descriptors left
        resolve((this.#server.address() as { port: number }).port);
      });
    });
  }

  /** Stops listening and ends all connections. */
  close(): Promise<void> {
    return new Promise(resolve => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  /** The first to hear of a connection, before TLS and HTTP. */
  #letIn(socket: Socket): void {
    const { gate, clock } = this.#options;
    const ticket = gate.open(clock.nowMs(), socket.remoteAddress ?? '', () => void socket.destroy());
    if (ticket === undefined) {
      socket.destroy();
      return;
    }
    const key = keyOf(socket);
    this.#sockets.add(socket);
    this.#tickets.set(key, ticket);
    // Finds out that the other side is gone when nothing is sent.
    socket.setKeepAlive(true, 30_000);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#tickets.get(key) === ticket) this.#tickets.delete(key);
      ticket.close();
    });
  }

  #count(socket: Socket, by: number): void {
    this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 0) + by);
  }

  #ticketOf(socket: Socket): Ticket | undefined {
    return this.#tickets.get(keyOf(socket));
  }
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function listenError(cause: Error, host: string, port: number): NetError {
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  switch ((cause as { code?: string }).code) {
    case 'EADDRINUSE':
      return new NetError('ERR_ADDRESS_IN_USE', `cannot listen on ${where}: the port is taken; choose another`, {
        cause,
      });
    case 'EACCES':
      return new NetError('ERR_ADDRESS_UNAVAILABLE', `cannot listen on ${where}: not allowed; take a port above 1023`, {
        cause,
      });
    default:
      return new NetError('ERR_ADDRESS_UNAVAILABLE', `cannot listen on ${where}: ${cause.message}`, { cause });
  }
}
