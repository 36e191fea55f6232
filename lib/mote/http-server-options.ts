/** What an HTTP server can be told, and what it does when it is not. */
import type { Endpoint } from '../base/address.ts';
import type { Timers } from './byte-stream.ts';
import {
  type FetchClasses,
  type FetchRequest,
  type FetchResponse,
  fetchClasses,
  type RuntimeRequest,
  type RuntimeResponse,
} from './fetch-types.ts';
import { HTTP_LIMITS_LARGE, type HttpLimits } from './http-syntax.ts';

/** The two ends of the connection that a request came over. */
export interface ConnectionInfo {
  readonly remote: Endpoint;
  readonly local: Endpoint;
}

/**
 * Answers one request. `request.signal` fires when the client is gone. What it throws is answered with 500 and goes to
 * `onError`; nothing of it reaches the client.
 */
export type HttpHandler = (
  request: RuntimeRequest,
  info: ConnectionInfo,
) => RuntimeResponse | PromiseLike<RuntimeResponse>;

/** Options of a server; everything has a default. */
export interface HttpServerOptions {
  /** The host's timers; without them nothing is limited in time. */
  readonly timers?: Timers;
  /** The wall clock, for the Date field; without it there is none. */
  readonly unixMs?: () => number;
  /** The Fetch API's classes, where the runtime has no global ones. */
  readonly classes?: FetchClasses;
  readonly limits?: HttpLimits;
  /** The scheme of `request.url` (`http`). */
  readonly scheme?: 'http' | 'https';
  /** Longest wait for a request in milliseconds (60,000). */
  readonly idleTimeoutMs?: number;
  /** Longest time from the first to the last byte of a request's head (30,000), else 408. */
  readonly headTimeoutMs?: number;
  /** Longest wait for more of a request's content (60,000), else 408. */
  readonly bodyTimeoutMs?: number;
  /** Longest wait until the client takes more of a response (60,000), else the connection is reset. */
  readonly writeTimeoutMs?: number;
  /** How long a closed connection is still read (2,000). */
  readonly lingerMs?: number;
  /** How many bytes of content that the handler did not want are skipped to keep the connection (262,144). */
  readonly drainBytes?: number;
  /**
   * Most connections at a time (4,096). One more closes the one that has been idle longest; where none is idle, it is
   * answered with 503.
   */
  readonly maxConnections?: number;
  /** Called with what the handler threw, and with why a response could not be sent. */
  readonly onError?: (error: unknown) => void;
}

/** {@link HttpServerOptions} with everything decided. */
export interface ServerSettings {
  readonly handler: (request: FetchRequest, info: ConnectionInfo) => unknown;
  readonly timers: Timers | undefined;
  readonly unixMs: (() => number) | undefined;
  readonly classes: FetchClasses;
  readonly limits: HttpLimits;
  readonly scheme: 'http' | 'https';
  readonly idleTimeoutMs: number;
  readonly headTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly lingerMs: number;
  readonly drainBytes: number;
  readonly maxConnections: number;
  readonly onError: (error: unknown) => void;
}

/** Decides everything that the options leave open. Throws TypeError for a handler that is no function. */
export function settleOptions(handler: HttpHandler, options: HttpServerOptions): ServerSettings {
  if (typeof handler !== 'function') throw new TypeError(`"handler" expected a function, got ${typeof handler}`);
  return {
    handler: handler as unknown as (request: FetchRequest, info: ConnectionInfo) => PromiseLike<FetchResponse>,
    timers: options.timers,
    unixMs: options.unixMs,
    classes: options.classes ?? fetchClasses(),
    limits: options.limits ?? HTTP_LIMITS_LARGE,
    scheme: options.scheme ?? 'http',
    idleTimeoutMs: options.idleTimeoutMs ?? 60_000,
    headTimeoutMs: options.headTimeoutMs ?? 30_000,
    bodyTimeoutMs: options.bodyTimeoutMs ?? 60_000,
    writeTimeoutMs: options.writeTimeoutMs ?? 60_000,
    lingerMs: options.lingerMs ?? 2_000,
    drainBytes: options.drainBytes ?? 262_144,
    maxConnections: options.maxConnections ?? 4_096,
    onError: options.onError ?? (() => undefined),
  };
}

/** An HTTP server inside the tunnel. Made by `serve`. */
export interface MoteServer {
  /** The port inside the tunnel. */
  readonly port: number;
  /** Stops accepting and lets requests under way finish for `graceMs` (5,000); then resets what is left. */
  close(graceMs?: number): Promise<void>;
}
