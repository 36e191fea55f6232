/**
 * One request and its response on one connection. The request is sent while the response is awaited, because a server
 * may answer before it has read everything, and then stop reading (RFC 9112 §9.5).
 */
import { NetError } from '../base/errors.ts';
import type { Timers } from './byte-stream.ts';
import type { FetchSignal } from './fetch-types.ts';
import { IncomingBody } from './http-body.ts';
import { BODY_UNTIL_CLOSE, isPersistent, type ResponseHead } from './http-head.ts';
import { after } from './http-io.ts';
import { formatRequest, type OutgoingRequest } from './http-outgoing.ts';
import type { ClientConnection, ConnectionPool } from './http-pool.ts';
import { type BodyStart, sendBody } from './http-write.ts';

/** What an exchange needs of its client. */
export interface CallSettings {
  readonly pool: ConnectionPool;
  readonly signal: FetchSignal | undefined;
  readonly timers: Timers | undefined;
  readonly userAgent: string | undefined;
  readonly headTimeoutMs: number;
  readonly bodyTimeoutMs: number;
}

/** The head of a response, and its body, of which nothing was read but what came with the head. */
export interface CallResult {
  readonly head: ResponseHead;
  readonly body: IncomingBody<ResponseHead>;
}

/**
 * Sends a request and waits for the head of the response. When the body is through, the connection goes back to the
 * pool or is closed; when the exchange fails, it is reset. Rejects with NetError, the signal's reason, or what
 * the request's body failed with.
 */
export async function exchange(
  connection: ClientConnection,
  request: OutgoingRequest,
  settings: CallSettings,
): Promise<CallResult> {
  return new Call(connection, request, settings).run();
}

class Call {
  readonly #connection: ClientConnection;
  readonly #request: OutgoingRequest;
  readonly #settings: CallSettings;
  readonly #onAbort: () => void;
  #start: BodyStart | undefined;
  #body: IncomingBody<ResponseHead> | undefined;
  #upload: 'running' | 'done' | 'failed' = 'running';
  #uploadError: unknown;
  #isLast = false;
  #hasHead = false;
  #cancelTimeout: () => void = () => undefined;

  constructor(connection: ClientConnection, request: OutgoingRequest, settings: CallSettings) {
    this.#connection = connection;
    this.#request = request;
    this.#settings = settings;
    this.#onAbort = () => this.#fail(settings.signal?.reason);
  }

  async run(): Promise<CallResult> {
    const { input } = this.#connection;
    this.#settings.signal?.addEventListener('abort', this.#onAbort);
    try {
      this.#start = await this.#request.body?.start();
      const { bytes, framing, isLast } = formatRequest(this.#request, this.#start, this.#settings.userAgent);
      this.#isLast = isLast;
      input.parser.method = this.#request.method;
      this.#send(bytes, framing).then(
        () => this.#sent(),
        error => this.#notSent(error),
      );
      const head = await this.#readHead();
      this.#hasHead = true;
      this.#body = this.#createBody(head);
      this.#body.prefetch();
      return { head, body: this.#body };
    } catch (error) {
      const cause = this.#uploadError !== undefined && !this.#connection.output.isBroken ? this.#uploadError : error;
      this.#fail(cause);
      throw cause;
    } finally {
      this.#cancelTimeout();
    }
  }

  async #send(head: Uint8Array, framing: number): Promise<void> {
    await this.#connection.output.put(head);
    if (this.#start === undefined) await this.#connection.output.flush();
    else await sendBody(this.#connection.output, this.#start, framing);
  }

  /** From here on the server has the time to answer; before, the output's stall limit counts. */
  #sent(): void {
    this.#upload = 'done';
    if (this.#hasHead) return;
    const { timers, headTimeoutMs } = this.#settings;
    this.#cancelTimeout = after(timers, headTimeoutMs, () => {
      this.#fail(new NetError('ERR_TIMED_OUT', `${this.#connection.origin} did not answer in time`));
    });
  }

  /** A body that fails ends everything; a connection that takes no more may still hold the answer. */
  #notSent(error: unknown): void {
    this.#upload = 'failed';
    this.#uploadError = error;
    this.#start?.reader.cancel(error).catch(() => undefined);
    if (!this.#connection.output.isBroken) this.#fail(error);
  }

  async #readHead(): Promise<ResponseHead> {
    const { input, origin } = this.#connection;
    for (let interim = 0; ; ) {
      const event = await input.next();
      if (event.type === 'head') {
        const { status } = event.head;
        if (status >= 200) return event.head;
        if (status === 101) throw protocolError(origin, 'it switched protocols unasked'); // CHECK: http-unasked-upgrade
        interim++;
        const isEndless = interim > this.#settings.pool.options.limits.interimResponses;
        if (isEndless) throw protocolError(origin, 'interim responses without end'); // CHECK: http-interim-limit
      } else if (event.type === 'end') input.parser.next();
      else if (event.type === 'fault' && event.fault.reason !== 'truncated')
        throw protocolError(origin, event.fault.text);
      else throw new NetError('ERR_CONNECTION_RESET', `${origin} closed the connection without an answer`);
    }
  }

  #createBody(head: ResponseHead): IncomingBody<ResponseHead> {
    return new IncomingBody(this.#connection.input, {
      timers: this.#settings.timers,
      stallMs: this.#settings.bodyTimeoutMs,
      onDone: error => this.#done(head, error),
    });
  }

  #done(head: ResponseHead, error: unknown): void {
    this.#settings.signal?.removeEventListener('abort', this.#onAbort);
    const isThrough = error === undefined && this.#upload === 'done';
    if (!isThrough) {
      this.#connection.stream.abort();
      this.#start?.reader.cancel(error).catch(() => undefined);
    } else if (this.#isLast || !isPersistent(head) || head.bodyBytes === BODY_UNTIL_CLOSE) this.#connection.close();
    else this.#settings.pool.put(this.#connection, keepAliveMs(head));
  }

  /** Resets the connection; whoever waits for the response or its body learns the reason. */
  #fail(reason: unknown): void {
    this.#settings.signal?.removeEventListener('abort', this.#onAbort);
    this.#connection.stream.abort();
    this.#connection.input.fail(reason);
    this.#start?.reader.cancel(reason).catch(() => undefined);
    this.#body?.fail(reason);
  }
}

/** How long the server keeps the connection, less half a second for the way; Infinity where it does not say. */
function keepAliveMs(head: ResponseHead): number {
  const timeout = /(?:^|[ ,])timeout=([0-9]{1,9})/i.exec(head.headers.get('keep-alive') ?? '')?.[1];
  return timeout === undefined ? Number.POSITIVE_INFINITY : Number(timeout) * 1000 - 500;
}

function protocolError(origin: string, what: string): NetError {
  return new NetError('ERR_PROTOCOL', `${origin} does not speak HTTP properly: ${what}`);
}
