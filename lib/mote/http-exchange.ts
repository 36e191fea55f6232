/**
 * One incoming HTTP/1.1 connection: requests are handled one after the other, however many were sent ahead.
 *
 * What ends a connection early: a malformed message (answered with its status), a limit, a time limit, content that was
 * not read and is too long to skip, a response whose body failed. The last is a reset, so that the client sees the cut.
 * Left out: upgrades, trailers, content codings.
 */
import { NetError } from '../base/errors.ts';
import type { ByteStream } from './byte-stream.ts';
import type { FetchRequest, FetchResponse } from './fetch-types.ts';
import { IncomingBody } from './http-body.ts';
import { BODY_CHUNKED, BODY_UNTIL_CLOSE, isPersistent, type RequestHead } from './http-head.ts';
import { after, HttpInput, HttpOutput } from './http-io.ts';
import { createRequestParser } from './http-parser.ts';
import { createRequest } from './http-request.ts';
import type { ConnectionInfo, ServerSettings } from './http-server-options.ts';
import { HttpFault, latin1Encode } from './http-syntax.ts';
import { cancelQuietly, checkResponse, HANDLER_FIELDS_DROPPED, mayHaveContent, phraseOf } from './http-response.ts';
import { type BodyStart, formatHead, formatHttpDate, sendBody, startBody } from './http-write.ts';

/** What a handler returned, or threw. */
interface HandlerResult {
  readonly response?: FetchResponse;
  readonly error?: unknown;
}

type Fields = [name: string, value: string][];

/** One connection of a server. */
export class ServerConnection {
  /** Called when the connection begins or ceases to wait for a request. */
  onIdle: ((isIdle: boolean) => void) | undefined;
  readonly #stream: ByteStream;
  readonly #settings: ServerSettings;
  readonly #info: ConnectionInfo;
  readonly #input: HttpInput<RequestHead>;
  readonly #output: HttpOutput;
  #isIdle = false;
  #isClosing = false;
  #hasResponded = false;

  constructor(stream: ByteStream, settings: ServerSettings) {
    this.#stream = stream;
    this.#settings = settings;
    this.#info = Object.freeze({ remote: stream.remote, local: stream.local });
    this.#input = new HttpInput(stream, createRequestParser(settings.limits));
    this.#output = new HttpOutput(stream, settings.timers, settings.writeTimeoutMs);
  }

  /** Serves until the connection is through; never rejects. */
  async run(): Promise<void> {
    try {
      while (await this.#serveOne()) this.#input.parser.next();
      await this.#finish();
    } catch {
      this.#stream.abort();
    }
  }

  /** Answers 503 without looking at what is asked. */
  async refuse(): Promise<void> {
    try {
      await this.#answer(new HttpFault(503, 'busy', 'too many connections'));
      await this.#finish();
    } catch {
      this.#stream.abort();
    }
  }

  /** Lets the request under way finish, if there is one, and closes. */
  close(): void {
    this.#isClosing = true;
    if (this.#isIdle) this.#input.interrupt(CLOSING);
  }

  /** Resets the connection; a handler that is still at work learns it by its signal. */
  abort(): void {
    this.#stream.abort();
    this.#input.fail(new NetError('ERR_ABORTED', 'the server has closed'));
  }

  /** Serves one request; true when another may follow. */
  async #serveOne(): Promise<boolean> {
    this.#hasResponded = false;
    const head = await this.#readHead();
    if (head === undefined) return false;
    if (!(head instanceof HttpFault)) return this.#exchange(head);
    await this.#answer(head);
    return false;
  }

  /** The next head; a fault to be answered; or undefined when there is nobody to answer. */
  async #readHead(): Promise<RequestHead | HttpFault | undefined> {
    const { timers, idleTimeoutMs, headTimeoutMs } = this.#settings;
    const { parser } = this.#input;
    this.#setIdle(true);
    let cancel = after(timers, idleTimeoutMs, () => this.#input.interrupt(CLOSING));
    try {
      for (;;) {
        if (this.#isIdle && !parser.isIdle) {
          this.#setIdle(false);
          cancel();
          cancel = after(timers, headTimeoutMs, () => this.#input.interrupt(HEAD_TIMEOUT));
        }
        const event = parser.poll();
        if (event?.type === 'head') return event.head;
        if (event?.type === 'fault') return event.fault.reason === 'truncated' ? undefined : event.fault;
        if (event !== undefined || (this.#isClosing && this.#isIdle)) return undefined;
        await this.#input.fill();
      }
    } catch (reason) {
      if (reason === CLOSING) return undefined;
      if (reason === HEAD_TIMEOUT) return HEAD_TIMEOUT;
      throw reason;
    } finally {
      cancel();
      this.#setIdle(false);
    }
  }

  #setIdle(isIdle: boolean): void {
    if (this.#isIdle === isIdle) return;
    this.#isIdle = isIdle;
    this.onIdle?.(isIdle);
  }

  async #exchange(head: RequestHead): Promise<boolean> {
    const { classes, scheme } = this.#settings;
    const controller = new classes.AbortController();
    const gone = new Promise<never>((_, reject) => {
      this.#input.onBroken = error => {
        controller.abort(error);
        reject(error);
      };
    });
    gone.catch(() => undefined);
    const body = this.#createBody(head);
    body.prefetch();
    const request = createRequest(head.target === '*' ? { ...head, target: '/*' } : head, {
      classes,
      scheme,
      local: this.#stream.local,
      signal: controller.signal,
      body: () => body.createStream(classes),
    });
    const expectation = head.headers.get('expect');
    const isKnown = expectation === undefined || head.minor === 0 || /^100-continue$/i.test(expectation);
    const fault = request instanceof HttpFault ? request : isKnown ? undefined : EXPECTATION_FAILED;
    if (fault !== undefined || request instanceof HttpFault) {
      await this.#answer(fault!);
      return false;
    }
    // Only OPTIONS has this target: it asks about the server, not about anything that the handler knows.
    if (head.target === '*') await this.#send(this.#formatHead(head, 204, 'No Content', [], body), undefined, 0);
    else await this.#respond(head, await this.#ask(request, gone), body);
    this.#input.onBroken = undefined;
    if (!this.#mayPersist(head, body)) return false;
    return body.isDone || (await body.drain(this.#settings.drainBytes));
  }

  #createBody(head: RequestHead): IncomingBody<RequestHead> {
    const isExpecting = head.minor > 0 && head.headers.has('expect');
    return new IncomingBody(this.#input, {
      timers: this.#settings.timers,
      stallMs: this.#settings.bodyTimeoutMs,
      onFirstRead: async () => {
        if (!isExpecting || this.#hasResponded) return;
        await this.#output.put(formatHead('HTTP/1.1 100 Continue', []));
        await this.#output.flush();
      },
      // From here on a read serves only to notice that the client has gone.
      onDone: error => {
        if (error === undefined) this.#input.readAhead();
      },
    });
  }

  /** Calls the handler; resolves with what came of it, or rejects when the client is gone before. */
  async #ask(request: FetchRequest, gone: Promise<never>): Promise<HandlerResult> {
    const run = async () => checkResponse(await this.#settings.handler(request, this.#info));
    const asked = run().then(
      (response): HandlerResult => ({ response }),
      (error): HandlerResult => ({ error }),
    );
    try {
      return await Promise.race([asked, gone]);
    } catch (error) {
      // Nobody waits for it any more.
      void asked.then(late => late.response?.body && cancelQuietly(late.response.body, error));
      throw error;
    }
  }

  /** Sends what the handler returned. */
  async #respond(head: RequestHead, result: HandlerResult, body: IncomingBody<RequestHead>): Promise<void> {
    const { response } = result;
    let start: BodyStart | undefined;
    let prepared: { bytes: Uint8Array; framing: number };
    try {
      if (response === undefined) throw result.error;
      if (mayHaveContent(head, response)) start = await startBody(response.body!.getReader());
      prepared = this.#prepare(head, response, start, body);
    } catch (error) {
      this.#settings.onError(error);
      this.#isClosing ||= body.fault !== undefined;
      start?.reader.cancel(error).catch(() => undefined);
      if (response?.body != null) cancelQuietly(response.body, error);
      return this.#answer(body.fault ?? INTERNAL_ERROR, head, body);
    }
    if (start === undefined && response.body !== null) cancelQuietly(response.body, undefined);
    try {
      await this.#send(prepared.bytes, start, prepared.framing);
    } catch (error) {
      start?.reader.cancel(error).catch(() => undefined);
      if (!this.#output.isBroken) this.#settings.onError(error);
      throw error;
    }
  }

  /** The head of a response as bytes, and the framing of its body. Throws TypeError for what cannot be sent. */
  #prepare(head: RequestHead, response: FetchResponse, start: BodyStart | undefined, body: IncomingBody<RequestHead>) {
    const fields: Fields = [];
    let declared: number | undefined;
    response.headers.forEach((value, name) => {
      if (name === 'connection' && /\bclose\b/i.test(value)) this.#isClosing = true;
      if (name === 'content-length' && /^[0-9]{1,15}$/.test(value)) declared = Number(value);
      else if (!HANDLER_FIELDS_DROPPED.includes(name)) fields.push([name, value]);
    });
    let framing = declared ?? 0;
    if (start === undefined) {
      const isSilent = response.status === 204 || (declared === undefined && response.status === 304);
      const isUnknown = declared === undefined && head.method === 'HEAD';
      if (!isSilent && !isUnknown) fields.push(['content-length', String(framing)]);
    } else {
      const open = head.minor > 0 ? BODY_CHUNKED : BODY_UNTIL_CLOSE;
      framing = declared ?? (start.isWhole ? start.bytes : open);
      if (framing >= 0) fields.push(['content-length', String(framing)]);
      else if (framing === BODY_CHUNKED) fields.push(['transfer-encoding', 'chunked']);
      else this.#isClosing = true;
    }
    return { bytes: this.#formatHead(head, response.status, response.statusText, fields, body), framing };
  }

  async #send(bytes: Uint8Array, start: BodyStart | undefined, framing: number): Promise<void> {
    this.#hasResponded = true;
    await this.#output.put(bytes);
    if (start === undefined) return this.#output.flush();
    // A body that never ends (server-sent events) must learn that nobody listens any more.
    this.#input.onBroken = error => void start.reader.cancel(error).catch(() => undefined);
    await sendBody(this.#output, start, framing);
  }

  /** The head of a response, with the fields that are the connection's business. */
  #formatHead(
    head: RequestHead | undefined,
    status: number,
    statusText: string,
    fields: Fields,
    body: IncomingBody<RequestHead> | undefined,
  ): Uint8Array {
    const { unixMs } = this.#settings;
    const hasDate = unixMs === undefined || fields.some(([name]) => name === 'date');
    if (!hasDate) fields.push(['date', formatHttpDate(unixMs())]);
    const mayPersist = head !== undefined && body !== undefined && this.#mayPersist(head, body);
    if (!mayPersist) fields.push(['connection', 'close']);
    else if (head.minor === 0) fields.push(['connection', 'keep-alive']);
    return formatHead(`HTTP/1.1 ${status} ${statusText}`, fields);
  }

  /** Answers by itself: a fault of the client, or of the handler, of which nothing is told. */
  #answer(fault: HttpFault, head?: RequestHead, body?: IncomingBody<RequestHead>): Promise<void> {
    const phrase = phraseOf(fault.status);
    const text = latin1Encode(`${phrase}\n`);
    const fields: Fields = [
      ['content-type', 'text/plain; charset=utf-8'],
      ['content-length', String(text.length)],
    ];
    this.#hasResponded = true;
    const bytes = this.#formatHead(head, fault.status, phrase, fields, body);
    void this.#output.put(...(head?.method === 'HEAD' ? [bytes] : [bytes, text]));
    return this.#output.flush();
  }

  /** Whether the connection can carry another request after this one. */
  #mayPersist(head: RequestHead, body: IncomingBody<RequestHead>): boolean {
    const isOver = this.#isClosing || this.#input.parser.isDrained || body.fault !== undefined;
    if (isOver || !isPersistent(head)) return false;
    // The client still waits for a word before it sends its content: after a final answer it may send it or not.
    const isUndecided = head.headers.has('expect') && !body.isDone && !body.hasBegun;
    return !isUndecided && (body.isDone || head.bodyBytes <= this.#settings.drainBytes);
  }

  /**
   * Half closes, and reads on for a while: closing a connection with unread input would be a reset, which can destroy
   * the response before the client has read it (RFC 9112 §9.6).
   */
  async #finish(): Promise<void> {
    await this.#stream.end();
    if (this.#input.isEnded) return;
    const { timers, lingerMs, drainBytes } = this.#settings;
    const cancel = after(timers, lingerMs, () => this.#stream.abort());
    const isEnded = await this.#input.discard(drainBytes);
    cancel();
    if (!isEnded) this.#stream.abort();
  }
}

const CLOSING = Object.freeze(new NetError('ERR_CLOSED', 'the connection is closing'));
const HEAD_TIMEOUT = Object.freeze(new HttpFault(408, 'head-timeout', 'the request took too long'));
const EXPECTATION_FAILED = Object.freeze(new HttpFault(417, 'expectation', 'unknown expectation'));
const INTERNAL_ERROR = Object.freeze(new HttpFault(500, 'handler', 'the handler failed'));
