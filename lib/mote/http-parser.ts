/**
 * The HTTP/1.1 parser as a machine: bytes are fed, events are polled (RFC 9112). No I/O, no promise, no throw on input.
 *
 * The same bytes give the same events however they are cut, but for where the content is cut. After each message the
 * parser waits for {@link HttpParser.next}, so that pipelined requests stay unparsed until it is their turn.
 * Left out: transfer codings other than chunked, and the meaning of trailers (their syntax is checked).
 */
import {
  BODY_CHUNKED,
  BODY_UNTIL_CLOSE,
  frameRequest,
  frameResponse,
  type MessageHead,
  parseField,
  parseRequestLine,
  parseStatusLine,
  type RequestHead,
  type ResponseHead,
} from './http-head.ts';
import { bad, HeaderList, HttpFault, type HttpLimits, isFieldValue, latin1Decode } from './http-syntax.ts';

/** What the parser found. */
export type HttpEvent<Head extends MessageHead> =
  /** Start line and fields are complete; the content, if any, follows. */
  | { readonly type: 'head'; readonly head: Head }
  /** Content: a view of what was fed. */
  | { readonly type: 'data'; readonly bytes: Uint8Array }
  /** The message is complete; {@link HttpParser.next} goes on. */
  | { readonly type: 'end'; readonly trailers: HeaderList }
  /** The stream ended between two messages. */
  | { readonly type: 'closed' }
  /** The message cannot be understood or goes over a limit. Nothing follows. */
  | { readonly type: 'fault'; readonly fault: HttpFault };

type State =
  | 'start'
  | 'fields'
  | 'fixed'
  | 'until-close'
  | 'size'
  | 'chunk'
  | 'chunk-end'
  | 'trailers'
  | 'done'
  | 'dead';

/** Empty lines that may precede a request line (RFC 9112 §2.2 asks for at least one). */
const LEADING_EMPTY_LINES = 2;

/** Makes a parser of requests. */
export function createRequestParser(limits: HttpLimits): HttpParser<RequestHead> {
  return new HttpParser(limits, parseRequestLine, frameRequest, LEADING_EMPTY_LINES);
}

/** Makes a parser of responses; set {@link HttpParser.method} before each one. */
export function createResponseParser(limits: HttpLimits): HttpParser<ResponseHead> {
  return new HttpParser(limits, parseStatusLine, frameResponse, 0);
}

/** The parser of one direction of one connection. */
export class HttpParser<Head extends MessageHead> {
  /** Method of the request that the next response answers: it decides whether there is content. */
  method = '';
  readonly #limits: HttpLimits;
  readonly #parseStart: (line: string) => Head | HttpFault;
  readonly #frame: (head: Head, method: string) => HttpFault | undefined;
  readonly #leadingEmptyLines: number;
  /** Chunks that are not consumed yet; the first one from `#at` on. */
  readonly #input: Uint8Array[] = [];
  #at = 0;
  #isEnded = false;
  #state: State = 'start';
  #emptyLines = 0;
  #head: Head | undefined;
  #trailers = new HeaderList();
  #headBytes = 0;
  #extensionBytes = 0;
  #contentBytes = 0;
  /** Bytes left of the content or of the chunk. */
  #left = 0;
  /** The beginning of a line that is not complete yet. */
  #partial: Uint8Array[] = [];
  #partialBytes = 0;
  #fault: HttpFault | undefined;

  constructor(
    limits: HttpLimits,
    parseStart: (line: string) => Head | HttpFault,
    frame: (head: Head, method: string) => HttpFault | undefined,
    leadingEmptyLines: number,
  ) {
    this.#limits = limits;
    this.#parseStart = parseStart;
    this.#frame = frame;
    this.#leadingEmptyLines = leadingEmptyLines;
  }

  /** Whether no byte of the next message has been seen. */
  get isIdle(): boolean {
    return this.#state === 'start' && this.#partialBytes === 0 && this.#emptyLines === 0 && this.#input.length === 0;
  }

  /** Whether the stream has ended and everything of it was consumed. */
  get isDrained(): boolean {
    return this.#isEnded && this.#input.length === 0;
  }

  /** Whether bytes are there that belong to no message yet. */
  get hasLeftover(): boolean {
    return this.#input.length > 0;
  }

  /** Takes bytes; they must stay unchanged until consumed, and data events are views of them. */
  feed(bytes: Uint8Array): void {
    if (bytes.length > 0 && this.#state !== 'dead') this.#input.push(bytes);
  }

  /** The stream has ended. */
  finish(): void {
    this.#isEnded = true;
  }

  /** After an `end` event: goes on to the next message. */
  next(): void {
    if (this.#state !== 'done') throw new Error('bug: the message before is not complete');
    this.#state = 'start';
    this.#headBytes = 0;
    this.#extensionBytes = 0;
    this.#contentBytes = 0;
    this.#emptyLines = 0;
    this.#trailers = new HeaderList();
    this.#head = undefined;
  }

  /** The next event, or `undefined` when more bytes are needed. */
  poll(): HttpEvent<Head> | undefined {
    for (;;) {
      const event = this.#step();
      if (event !== 'again') return event;
    }
  }

  #step(): HttpEvent<Head> | 'again' | undefined {
    switch (this.#state) {
      case 'start':
        return this.#startLine();
      case 'fields':
        return this.#fieldLine(this.#head!.headers);
      case 'trailers':
        return this.#fieldLine(this.#trailers);
      case 'size':
        return this.#sizeLine();
      case 'chunk-end':
        return this.#chunkEnd();
      case 'fixed':
      case 'chunk':
      case 'until-close':
        return this.#content();
      default:
        return undefined;
    }
  }

  #startLine(): HttpEvent<Head> | 'again' | undefined {
    const isAtEnd = this.#isEnded && this.#input.length === 0 && this.#partialBytes === 0;
    if (isAtEnd) return this.#stop({ type: 'closed' });
    const line = this.#line(this.#limits.startLineBytes);
    if (line === undefined) return this.#waiting();
    if (line === '' && this.#emptyLines++ < this.#leadingEmptyLines) return 'again';
    const head = this.#parseStart(line);
    if (head instanceof HttpFault) return this.#fail(head);
    this.#head = head;
    this.#state = 'fields';
    return 'again';
  }

  /** A field of the head or a trailer; an empty line ends either. */
  #fieldLine(headers: HeaderList): HttpEvent<Head> | 'again' | undefined {
    const room = this.#limits.headBytes - this.#headBytes;
    const line = this.#line(room);
    if (line === undefined) return this.#waiting();
    if (line === '') return this.#state === 'trailers' ? this.#complete() : this.#headComplete();
    const isFull = this.#head!.headers.count + this.#trailers.count >= this.#limits.headerCount;
    if (isFull) return this.#fail(new HttpFault(431, 'header-count', 'too many fields')); // CHECK: http-header-count
    const fault = parseField(line, headers);
    return fault === undefined ? 'again' : this.#fail(fault);
  }

  #headComplete(): HttpEvent<Head> {
    const head = this.#head!;
    const fault = this.#frame(head, this.method);
    if (fault !== undefined) return this.#fail(fault);
    if (head.bodyBytes > this.#limits.bodyBytes) return this.#fail(tooLarge()); // CHECK: http-content-limit
    this.#left = Math.max(head.bodyBytes, 0);
    this.#state =
      head.bodyBytes === BODY_CHUNKED ? 'size' : head.bodyBytes === BODY_UNTIL_CLOSE ? 'until-close' : 'fixed';
    return { type: 'head', head };
  }

  /** `chunk-size [ chunk-ext ]` (RFC 9112 §7.1). No blank around the size: DEVIATES, as smuggling lives there. */
  #sizeLine(): HttpEvent<Head> | 'again' | undefined {
    const line = this.#line(this.#limits.chunkLineBytes);
    if (line === undefined) return this.#waiting();
    const digits = /^([0-9A-Fa-f]{1,13})(;|$)/.exec(line)?.[1];
    if (digits === undefined) return this.#fail(bad('chunk-size', 'malformed size')); // CHECK: http-chunk-size
    if (!isFieldValue(line)) return this.#fail(bad('chunk-ext', 'malformed extension')); // CHECK: http-chunk-ext
    this.#extensionBytes += line.length - digits.length;
    const isOver = this.#extensionBytes > this.#limits.chunkExtensionBytes;
    if (isOver) return this.#fail(bad('chunk-ext-limit', 'extensions too large')); // CHECK: http-chunk-ext-limit
    this.#left = Number.parseInt(digits, 16);
    this.#contentBytes += this.#left;
    if (this.#contentBytes > this.#limits.bodyBytes) return this.#fail(tooLarge()); // CHECK: http-chunked-limit
    this.#state = this.#left === 0 ? 'trailers' : 'chunk';
    return 'again';
  }

  #chunkEnd(): HttpEvent<Head> | 'again' | undefined {
    if (this.#line(2) === undefined) return this.#waiting();
    this.#state = 'size';
    return 'again';
  }

  #content(): HttpEvent<Head> | 'again' | undefined {
    const isCounted = this.#state !== 'until-close';
    if (isCounted && this.#left === 0) {
      if (this.#state === 'fixed') return this.#complete();
      this.#state = 'chunk-end';
      return 'again';
    }
    const chunk = this.#input[0];
    if (chunk === undefined) return isCounted || !this.#isEnded ? this.#waiting() : this.#complete();
    const room = isCounted ? this.#left : this.#limits.bodyBytes - this.#contentBytes;
    if (room <= 0) return this.#fail(tooLarge()); // CHECK: http-unframed-limit
    // INVARIANT: every step consumes a byte, so that no input can keep the machine busy for ever.
    const end = Math.min(chunk.length, this.#at + Math.max(room, 1));
    const bytes = chunk.subarray(this.#at, end);
    if (isCounted) this.#left -= bytes.length;
    else this.#contentBytes += bytes.length;
    this.#consume(end);
    return { type: 'data', bytes };
  }

  #complete(): HttpEvent<Head> {
    this.#state = 'done';
    return { type: 'end', trailers: this.#trailers };
  }

  /** Nothing to do until more is fed; at the end of the stream that is a message cut off. */
  #waiting(): HttpEvent<Head> | undefined {
    if (this.#fault !== undefined) return this.#fail(this.#fault);
    if (!this.#isEnded || this.#input.length > 0) return undefined;
    return this.#fail(bad('truncated', 'the connection ended in the middle of a message'));
  }

  #fail(fault: HttpFault): HttpEvent<Head> {
    return this.#stop({ type: 'fault', fault });
  }

  #stop(event: HttpEvent<Head>): HttpEvent<Head> {
    this.#state = 'dead';
    this.#input.length = 0;
    this.#partial = [];
    return event;
  }

  /**
   * The next line without its CRLF, one character per byte; `undefined`: not complete, or `#fault` says what is wrong.
   * A line of more than `maxBytes` (CRLF included) is a fault, and no more than that is ever kept.
   */
  #line(maxBytes: number): string | undefined {
    for (let chunk = this.#input[0]; chunk !== undefined; chunk = this.#input[0]) {
      const lf = chunk.indexOf(10, this.#at);
      const end = lf < 0 ? chunk.length : lf + 1;
      const total = this.#partialBytes + end - this.#at;
      if (total > maxBytes) return this.#refuseLine(this.#limitFault()); // CHECK: http-header-limit
      if (lf >= 0 && this.#partialBytes === 0) return this.#endLine(chunk, this.#at, end);
      this.#partial.push(chunk.subarray(this.#at, end));
      this.#partialBytes = total;
      if (lf >= 0) return this.#endLine(joinParts(this.#partial, total), 0, total, end);
      this.#consume(end);
    }
    return undefined;
  }

  #endLine(bytes: Uint8Array, start: number, end: number, consumed = end): string | undefined {
    const hasCr = end - start >= 2 && bytes[end - 2] === 13;
    if (!hasCr) return this.#refuseLine(bad('bare-lf', 'bare LF')); // CHECK: http-bare-lf
    const line = latin1Decode(bytes, start, end - 2);
    // The lines around chunks are framing: with them content of many chunks would leave no room for its end.
    const isFraming = this.#state === 'size' || this.#state === 'chunk-end';
    if (!isFraming) this.#headBytes += end - start;
    this.#partial = [];
    this.#partialBytes = 0;
    this.#consume(consumed);
    return line;
  }

  /** What a line that is too long is called, by where it stands. */
  #limitFault(): HttpFault {
    switch (this.#state) {
      case 'start':
        return new HttpFault(414, 'start-line-limit', 'start line too long');
      case 'size':
        return bad('chunk-line-limit', 'chunk line too long');
      case 'chunk-end':
        return bad('chunk-end', 'chunk longer than its size');
      default:
        return new HttpFault(431, 'head-limit', 'fields too large');
    }
  }

  #refuseLine(fault: HttpFault): undefined {
    this.#fault = fault;
    return undefined;
  }

  #consume(end: number): void {
    this.#at = end;
    if (end < this.#input[0]!.length) return;
    this.#input.shift();
    this.#at = 0;
  }
}

function tooLarge(): HttpFault {
  return new HttpFault(413, 'content-limit', 'content too large');
}

function joinParts(parts: readonly Uint8Array[], total: number): Uint8Array {
  const out = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
