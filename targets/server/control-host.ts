/**
 * Control connections of a server: Noise behind the HTTP upgrade, Node's HTTP/2 inside, and the requests of devices to
 * the coordinator. Anybody may open one: sessions, requests and bodies are bounded, and who is silent is cut off.
 */
import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { ControlResponder } from '../../lib/control/responder.ts';
import type { SecretKey } from '../../lib/crypto/keys.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import type { Clock } from '../../lib/ports.ts';
import type { CoordinatorHost, Exchange } from './coordinator-host.ts';
import { NoiseDuplex } from './noise-duplex.ts';
import { shortKey } from './short-key.ts';
import type { Ticket } from './source-gate.ts';
import type { Log, ServerLimits } from './types.ts';

/** How often sessions are looked at. */
const SWEEP_MS = 2000;
/** MB that Node lets one session hold before it refuses new streams. */
const SESSION_MEMORY_MB = 10;
const WINDOW_BYTES = 65_535;
const HEADER_LIST_BYTES = 16_384;
/** What a request costs a stranger beside its body. */
const REQUEST_BYTES = 1024;

/** What control connections need. */
export interface ControlHostOptions {
  readonly clock: Clock;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly privateKey: SecretKey;
  /** Its public key: 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly coordinator: CoordinatorHost;
  readonly limits: ServerLimits;
  readonly log: Log;
}

interface Session {
  readonly http2: ServerHttp2Session;
  readonly machineKey: Uint8Array;
  /** Capability version of the Noise handshake. */
  readonly version: number;
  readonly ticket: Ticket;
  streams: number;
  idleSinceMs: number;
  pingAtMs: number;
  /** When the answer to a ping is due; Infinity: none is awaited. */
  pongByMs: number;
}

/** All control connections; see the top of the file. */
export class ControlHost {
  readonly #options: ControlHostOptions;
  readonly #sessions = new Set<Session>();
  readonly #sweeper: ReturnType<typeof setInterval>;
  /** Bytes of bodies that are coming in. */
  #bodiesBytes = 0;

  constructor(options: ControlHostOptions) {
    this.#options = options;
    const { headTimeoutMs, idleTimeoutMs, pongTimeoutMs } = options.limits;
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(SWEEP_MS, headTimeoutMs, idleTimeoutMs, pongTimeoutMs));
  }

  /** Connections behind a finished Noise handshake. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Goes on with a raw stream behind the 101: `initiation` out of the request, `head` behind it. */
  open(socket: Duplex, initiation: Uint8Array, head: Uint8Array, ticket: Ticket): void {
    const { clock, random, suite, privateKey, publicKey, limits } = this.#options;
    const nowMs = clock.nowMs();
    const responder = new ControlResponder({ nowMs, suite, random, privateKey, publicKey, initiation });
    const { machineKey, version } = responder;
    if (machineKey === undefined) return endWith(socket, responder);
    const duplex = new NoiseDuplex(socket, responder, head, () => clock.nowMs());
    const http2 = performServerHandshake(duplex, {
      maxSessionMemory: SESSION_MEMORY_MB,
      settings: {
        maxConcurrentStreams: limits.requestsPerSession,
        initialWindowSize: WINDOW_BYTES,
        maxHeaderListSize: HEADER_LIST_BYTES,
      },
    });
    const pingAtMs = nowMs + limits.pingMs;
    const session = {
      http2,
      machineKey,
      version,
      ticket,
      streams: 0,
      idleSinceMs: nowMs,
      pingAtMs,
      pongByMs: Infinity,
    };
    this.#sessions.add(session);
    http2.on('error', () => undefined);
    http2.on('close', () => {
      this.#sessions.delete(session);
      duplex.destroy();
    });
    http2.on('stream', (stream, headers) => this.#handleStream(session, stream, headers));
  }

  /** Ends all of them. */
  close(): void {
    clearInterval(this.#sweeper);
    for (const { http2 } of this.#sessions) http2.destroy();
    this.#sessions.clear();
  }

  #sweep(): void {
    const nowMs = this.#options.clock.nowMs();
    const { idleTimeoutMs, pingMs, pongTimeoutMs } = this.#options.limits;
    for (const session of this.#sessions) {
      const isIdle = session.streams === 0 && nowMs - session.idleSinceMs >= idleTimeoutMs;
      if (isIdle) session.http2.destroy(); // CHECK: server-idle-session
      const isGone = nowMs >= session.pongByMs;
      if (isGone) session.http2.destroy(); // CHECK: server-no-pong
      if (session.http2.destroyed || nowMs < session.pingAtMs || session.pongByMs !== Infinity) continue;
      session.pongByMs = nowMs + pongTimeoutMs;
      session.http2.ping(error => {
        if (error !== null) return;
        session.pongByMs = Infinity;
        session.pingAtMs = this.#options.clock.nowMs() + pingMs;
      });
    }
  }

  #handleStream(session: Session, stream: ServerHttp2Stream, headers: Readonly<Record<string, unknown>>): void {
    session.streams++;
    stream.on('error', () => undefined);
    stream.on('close', () => {
      session.streams--;
      session.idleSinceMs = this.#options.clock.nowMs();
    });
    const path = String(headers[':path'] ?? '').split('?', 1)[0]!;
    const method = String(headers[':method'] ?? '');
    const kind = ROUTES[path];
    if (kind === undefined) return respond(stream, path.startsWith('/machine/') ? 501 : 404, 'not implemented here\n');
    if (method !== 'POST') return respond(stream, 405, 'method not allowed\n', { allow: 'POST' });
    this.#readBody(session.ticket, stream, body => {
      if (kind === 'update-health') return respond(stream, 204, '');
      this.#ask(kind, session, stream, body);
    });
  }

  #readBody(ticket: Ticket, stream: ServerHttp2Stream, then: (body: Uint8Array) => void): void {
    const { limits, clock } = this.#options;
    const parts: Uint8Array[] = [];
    let length = 0;
    let isOver = false;
    const timer = setTimeout(() => refuse(408, 'the request took too long\n'), limits.requestTimeoutMs);
    let wake: ReturnType<typeof setTimeout> | undefined;
    const charge = (bytes: number) => {
      const waitMs = ticket.charge(clock.nowMs(), bytes);
      if (waitMs === 0 || wake !== undefined) return;
      stream.pause();
      wake = setTimeout(() => {
        wake = undefined;
        stream.resume();
        if (isEnded) complete();
      }, waitMs);
    };
    let isEnded = false;
    const complete = () => {
      if (finish()) then(Buffer.concat(parts, length));
    };
    const finish = () => {
      if (isOver) return false;
      isOver = true;
      clearTimeout(timer);
      clearTimeout(wake);
      if (wake !== undefined) stream.resume();
      this.#bodiesBytes -= length;
      return true;
    };
    const refuse = (status: number, text: string) => {
      if (finish()) respond(stream, status, text);
    };
    stream.on('data', (part: Uint8Array) => {
      if (isOver) return;
      length += part.length;
      this.#bodiesBytes += part.length;
      parts.push(part);
      charge(part.length); // CHECK: server-stranger-bytes
      if (length > limits.bodyBytes) return refuse(413, 'the request is too large\n'); // CHECK: server-body
      if (this.#bodiesBytes > limits.bodiesBytes) return refuse(503, 'too many requests at once\n'); // CHECK: server-bodies
    });
    stream.on('end', () => {
      // A stream that is paused says that it has ended nevertheless.
      isEnded = true;
      if (wake === undefined) complete();
    });
    stream.on('close', finish);
    charge(REQUEST_BYTES);
  }

  #ask(kind: 'register' | 'map', session: Session, stream: ServerHttp2Stream, body: Uint8Array): void {
    if (stream.destroyed) return;
    const { coordinator, log } = this.#options;
    const { machineKey, version, ticket } = session;
    const exchange: Exchange = {
      reply: (status, bytes, headers) =>
        respond(stream, status, bytes, { 'content-type': 'application/json', ...headers }),
      begin: () => {
        // It is a member's: the coordinator streams to none else.
        ticket.prove();
        stream.respond({ ':status': 200, 'content-type': 'application/octet-stream' });
      },
      write: bytes => stream.write(bytes),
      get isOpen() {
        return !stream.destroyed && !stream.writableEnded;
      },
      end: () => void stream.end(),
    };
    stream.on('drain', () => coordinator.resume(request));
    stream.on('close', () => coordinator.abandon(request));
    const from = { machineKey, source: ticket.address, body };
    log('debug', `control: ${kind}`, { machine: shortKey(machineKey), address: ticket.address, version });
    const request =
      kind === 'map' ? coordinator.map({ ...from, version }, exchange) : coordinator.register(from, exchange);
  }
}

const ROUTES: Readonly<Record<string, 'register' | 'map' | 'update-health' | undefined>> = Object.freeze({
  __proto__: null,
  '/machine/register': 'register',
  '/machine/map': 'map',
  '/machine/update-health': 'update-health',
} as never);

function respond(
  stream: ServerHttp2Stream,
  status: number,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ':status': status, 'content-length': Buffer.byteLength(body), ...headers });
  stream.end(body);
  // Nobody reads the rest of the request: RFC 9113 §8.1.
  if (!stream.readableEnded) stream.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR));
}

/** Tells a client why its handshake is refused. */
function endWith(socket: Duplex, responder: ControlResponder): void {
  const out = Buffer.alloc(512);
  const length = responder.pollBytes(out, 0, out.length);
  socket.once('finish', () => socket.destroy());
  socket.end(out.subarray(0, length));
  responder.close();
}
