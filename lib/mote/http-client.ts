/**
 * `fetch` over byte streams: HTTP/1.1 with streaming bodies both ways, redirects, abort, connections kept for reuse.
 *
 * Rejects as the Fetch API does for the caller's mistakes (TypeError) and for an abort (the signal's reason), and with
 * NetError for what the network does. Left out: caches, cookies, CORS, content codings, HTTP/2, `integrity` (refused).
 */
import { utf8Decode } from '../base/bytes.ts';
import { NetError, isNetError } from '../base/errors.ts';
import type { ByteStream, Timers } from './byte-stream.ts';
import {
  type FetchClasses,
  type FetchInit,
  type FetchRequest,
  type FetchResponse,
  type FetchSignal,
  type FetchUrl,
  fetchClasses,
  type RuntimeRequestInit,
  type RuntimeRequestInput,
  type RuntimeResponse,
} from './fetch-types.ts';
import type { IncomingBody } from './http-body.ts';
import { exchange } from './http-call.ts';
import type { ResponseHead } from './http-head.ts';
import { toNetError } from './http-io.ts';
import { createBody, isRedirect, type OutgoingRequest, redirectRequest } from './http-outgoing.ts';
import { ClientConnection, ConnectionPool } from './http-pool.ts';
import { HTTP_LIMITS_LARGE, type HttpLimits, latin1Encode } from './http-syntax.ts';

/** Redirects that are followed before giving up (Fetch, "HTTP-redirect fetch"). */
const MAX_REDIRECTS = 20;
/** How much of a redirect's content is skipped to keep the connection, in bytes. */
const REDIRECT_DRAIN_BYTES = 65_536;
/** Methods whose requests may be sent again when the connection turns out to be dead (RFC 9110 §9.2.2). */
const IDEMPOTENT = Object.freeze(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** Where a connection goes. */
export interface HttpTarget {
  /** A name or address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Options of a client; only `connect` has no default. */
export interface HttpClientOptions {
  /** Opens a stream; rejects with NetError. The signal fires when the fetch that waits for it is aborted. */
  connect(target: HttpTarget, signal: FetchSignal | undefined): Promise<ByteStream>;
  /** Speaks TLS over a stream, for `https:`; without it `https:` is refused. */
  secure?(stream: ByteStream, target: HttpTarget): Promise<ByteStream>;
  /** What the refusal of `https:` recommends: the end of a sentence. */
  readonly secureAdvice?: string;
  /** The host's timers; without them nothing is limited in time. */
  readonly timers?: Timers;
  /** The Fetch API's classes, where the runtime has no global ones. */
  readonly classes?: FetchClasses;
  readonly limits?: HttpLimits;
  /** Sent as User-Agent where the caller sets none. */
  readonly userAgent?: string;
  /** Longest wait for the head of a response in milliseconds, from the sending of the request on (300,000). */
  readonly headTimeoutMs?: number;
  /** Longest wait for more of a response's content (300,000). */
  readonly bodyTimeoutMs?: number;
  /** Longest wait until the server takes more of a request (60,000). */
  readonly writeTimeoutMs?: number;
  /** How long a connection waits for its next request (15,000); less where the server says so. */
  readonly idleTimeoutMs?: number;
  /** Most idle connections per origin (8). */
  readonly maxIdlePerHost?: number;
  /** Most idle connections together (64). */
  readonly maxIdle?: number;
}

/** A client with its pool of connections. */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #classes: FetchClasses;
  readonly #pool: ConnectionPool;
  #isClosed = false;

  /** Throws TypeError where the runtime has no Fetch API and `classes` is not given. */
  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.#classes = options.classes ?? fetchClasses();
    this.#pool = new ConnectionPool({
      timers: options.timers,
      limits: options.limits ?? HTTP_LIMITS_LARGE,
      writeTimeoutMs: options.writeTimeoutMs ?? 60_000,
      idleTimeoutMs: options.idleTimeoutMs ?? 15_000,
      maxIdlePerHost: options.maxIdlePerHost ?? 8,
      maxIdle: options.maxIdle ?? 64,
    });
  }

  /** How many connections wait for their next request. */
  get idleCount(): number {
    return this.#pool.idleCount;
  }

  /**
   * The Fetch API's `fetch`. With `redirect: 'manual'` the redirect itself is returned, as servers' runtimes do. A body
   * that is not read to its end or cancelled keeps its connection.
   */
  async fetch(input: RuntimeRequestInput, init?: RuntimeRequestInit): Promise<RuntimeResponse> {
    const own = init as FetchInit | undefined;
    // Not the signal of the new Request: it is a follower, which some runtimes collect too early.
    const signal = own?.signal ?? (typeof input === 'string' ? undefined : (input as FetchRequest).signal);
    if (signal?.aborted === true) throw signal.reason;
    if (this.#isClosed) throw new NetError('ERR_CLOSED', 'the HTTP client is closed');
    const request = new this.#classes.Request(input, init as object);
    const isChecked = Boolean(own?.integrity ?? request.integrity);
    if (isChecked) throw new TypeError('"integrity" is not supported here'); // CHECK: http-integrity
    const url = new this.#classes.URL(request.url);
    if (url.username !== '' || url.password !== '') throw new TypeError('"url" expected no user name and no password');
    const first: OutgoingRequest = {
      method: request.method,
      url,
      headers: request.headers,
      body: await createBody(request, own),
    };
    return (await this.#follow(first, request.redirect ?? 'follow', signal)) as unknown as RuntimeResponse;
  }

  /** Closes idle connections and refuses further requests; those under way go on. */
  close(): void {
    this.#isClosed = true;
    this.#pool.close();
  }

  async #follow(first: OutgoingRequest, mode: string, signal: FetchSignal | undefined): Promise<FetchResponse> {
    let request = first;
    for (let redirects = 0; ; redirects++) {
      const { head, body } = await this.#send(request, signal);
      const location = isRedirect(head.status) && mode !== 'manual' ? head.headers.get('location') : undefined;
      if (location === undefined) return this.#createResponse(request, head, body, redirects > 0);
      void body.drain(REDIRECT_DRAIN_BYTES).then(isDone => {
        if (!isDone) body.fail(new NetError('ERR_ABORTED', 'the redirect was followed'));
      });
      const from = withoutHash(request.url);
      if (mode === 'error') throw refuse(from, 'redirects, and "redirect" is "error"');
      if (redirects >= MAX_REDIRECTS) throw refuse(from, 'redirects on and on'); // CHECK: http-redirect-limit
      request = redirectRequest(request, head.status, this.#resolve(location, request.url), this.#classes);
    }
  }

  /** The URL of a Location field: UTF-8 as browsers read it, the fragment kept where it has none of its own. */
  #resolve(location: string, base: FetchUrl): FetchUrl {
    let url: FetchUrl;
    try {
      url = new this.#classes.URL(utf8Decode(latin1Encode(location)), base.href);
    } catch (cause) {
      throw new NetError('ERR_PROTOCOL', `${withoutHash(base)} redirects to something that is no URL`, { cause });
    }
    const isPlain = url.username === '' && url.password === '' && /^https?:$/.test(url.protocol);
    if (!isPlain) throw refuse(withoutHash(base), 'redirects to where nobody follows'); // CHECK: http-redirect-url
    if (url.hash === '') url.hash = base.hash;
    return url;
  }

  /** Sends one request; once more on a new connection where a kept one turns out to be dead. */
  async #send(request: OutgoingRequest, signal: FetchSignal | undefined) {
    const { url } = request;
    const target = this.#target(url);
    const kept = this.#pool.take(url.origin);
    const settings = {
      pool: this.#pool,
      signal,
      timers: this.#options.timers,
      userAgent: this.#options.userAgent,
      headTimeoutMs: this.#options.headTimeoutMs ?? 300_000,
      bodyTimeoutMs: this.#options.bodyTimeoutMs ?? 300_000,
    };
    if (kept !== undefined) {
      kept.input.hasReceived = false;
      try {
        return await exchange(kept, request, settings);
      } catch (error) {
        const isReplayable = request.body === undefined || request.body.isReplayable;
        const isSafe = isReplayable && IDEMPOTENT.includes(request.method) && !kept.input.hasReceived;
        const mayRetry = isSafe && isLost(error) && signal?.aborted !== true;
        if (!mayRetry) throw error; // CHECK: http-retry
      }
    }
    return exchange(await this.#connect(url, target, signal), request, settings);
  }

  async #connect(url: FetchUrl, target: HttpTarget, signal: FetchSignal | undefined): Promise<ClientConnection> {
    let stream: ByteStream | undefined;
    try {
      stream = await this.#options.connect(target, signal);
      if (url.protocol === 'https:') stream = await this.#options.secure!(stream, target);
    } catch (error) {
      stream?.abort();
      throw signal?.aborted === true ? signal.reason : toNetError(error);
    }
    if (signal?.aborted === true) {
      stream.abort();
      throw signal.reason;
    }
    return new ClientConnection(url.origin, stream, this.#pool.options);
  }

  /** Where a URL leads. Throws TypeError for a scheme that is not spoken here. */
  #target(url: FetchUrl): HttpTarget {
    const isSecure = url.protocol === 'https:';
    if (isSecure && this.#options.secure === undefined) {
      const advice = this.#options.secureAdvice ?? 'give the client a { secure } function';
      throw new TypeError(
        `https: needs TLS, which is not spoken here; the tunnel encrypts already, so use http:, or ${advice}`,
      );
    }
    if (!isSecure && url.protocol !== 'http:')
      throw new TypeError(`"url" expected http: or https:, got ${url.protocol}`);
    const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
    return { host, port: url.port === '' ? (isSecure ? 443 : 80) : Number(url.port) };
  }

  #createResponse(
    request: OutgoingRequest,
    head: ResponseHead,
    body: IncomingBody<ResponseHead>,
    isRedirected: boolean,
  ): FetchResponse {
    const headers = new this.#classes.Headers();
    const { names, values } = head.headers;
    for (let i = 0; i < names.length; i++) headers.append(names[i]!, values[i]!);
    const { status, statusText } = head;
    const isEmpty = request.method === 'HEAD' || status === 204 || status === 205 || status === 304;
    if (isEmpty)
      void body.drain(0).then(isDone => isDone || body.fail(new NetError('ERR_PROTOCOL', 'unexpected body')));
    const stream = isEmpty ? null : body.createStream(this.#classes);
    const response = new this.#classes.Response(stream, { status, statusText, headers });
    Object.defineProperty(response, 'url', { value: withoutHash(request.url), configurable: true });
    Object.defineProperty(response, 'redirected', { value: isRedirected, configurable: true });
    return response;
  }
}

/** Whether an error says that the connection is gone, and not that somebody misbehaved. */
function isLost(error: unknown): boolean {
  return isNetError(error) && ['ERR_CONNECTION_RESET', 'ERR_CLOSED', 'ERR_UNREACHABLE'].includes(error.code);
}

function refuse(from: string, what: string): NetError {
  return new NetError('ERR_PROTOCOL', `${from} ${what}`);
}

function withoutHash(url: FetchUrl): string {
  return url.href.replace(/#.*$/, '');
}
