/**
 * An HTTP/2 client (RFC 9113, RFC 7541) as a machine over one byte stream that is known to speak it (prior knowledge):
 * the control protocol's inner stream, or TLS that has chosen `h2`.
 *
 * The server's window grows only with what the caller says it has consumed, ours is respected: back-pressure goes
 * through in both directions. All that waits is bounded by {@link Http2Limits}.
 * Left out: server push (refused), priorities, CONNECT, extended CONNECT, Huffman when sending, 1xx towards the caller.
 */
import { NO_BYTES, utf8Encode } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { Http2ClientOptions, Http2Event, Http2Request } from './client-types.ts';
import { requestFields } from './fields.ts';
import {
  CANCEL,
  CONNECTION_PREFACE,
  FRAME_PING,
  FRAME_SETTINGS,
  MAX_31_BITS,
  NO_ERROR,
  SETTINGS_TIMEOUT,
  errorName,
} from './frame.ts';
import { encodeFields } from './hpack-encoder.ts';
import { HTTP2_LIMITS_LARGE } from './limits.ts';
import { Receiver } from './receiver.ts';
import { fillBuffer, sendPiece, wakeWriters } from './sender.ts';
import { Session } from './session.ts';
import { settingsPayload } from './settings.ts';
import { Stream } from './stream.ts';

/** The machine; see the top of the file. */
export class Http2Client {
  readonly #session: Session;
  readonly #receiver: Receiver;
  readonly #keepAliveMs: number;
  readonly #settingsDeadlineMs: number;
  #lastReceivedMs: number;
  /** When the ping left that has no answer; Infinity without one. */
  #pingSentMs = Infinity;
  #nextId = 1;
  #isClosedTold = false;

  /** Throws RangeError for windows that HTTP/2 cannot express. */
  constructor(options: Http2ClientOptions) {
    const { limits = HTTP2_LIMITS_LARGE, settingsTimeoutMs = limits.settingsTimeoutMs } = options;
    const { windowBytes, streamWindowBytes, initialStreamWindowBytes } = limits;
    for (const bytes of [windowBytes, streamWindowBytes, initialStreamWindowBytes])
      if (!(bytes > 0 && bytes <= MAX_31_BITS)) throw new RangeError(`"limits" expected a window size, got ${bytes}`);
    const session = new Session(options.nowMs, limits);
    this.#session = session;
    this.#receiver = new Receiver(session);
    this.#keepAliveMs = options.keepAliveMs ?? 0;
    this.#lastReceivedMs = options.nowMs;
    this.#settingsDeadlineMs = options.nowMs + settingsTimeoutMs;
    const preface = utf8Encode(CONNECTION_PREFACE);
    session.out.append(preface, 0, preface.length);
    const payload = settingsPayload(limits);
    const at = session.control(FRAME_SETTINGS, 0, 0, payload.length);
    session.out.buf.set(payload, at);
    session.giveBack(undefined);
  }

  /** Why the connection is dead; undefined while it is not. */
  get error(): NetError | undefined {
    return this.#session.error;
  }

  /** Whether {@link request} takes another request now. */
  get canRequest(): boolean {
    const { error, goaway, streams, limits } = this.#session;
    const isFull = streams.length >= limits.streams + limits.queuedRequests;
    return error === undefined && goaway === undefined && !isFull && this.#nextId <= MAX_31_BITS;
  }

  /** Bytes of memory that it holds for what was received and what is to be sent, bodies of requests aside. */
  get memoryBytes(): number {
    let bytes = this.#session.out.capacity + this.#receiver.memoryBytes;
    for (const { data, upload } of this.#session.streams) bytes += (data?.capacity ?? 0) + (upload?.head?.length ?? 0);
    return bytes;
  }

  /** Bytes from the server. Returns how many (all of them), or -1 when the connection is dead. */
  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): number {
    const session = this.#session;
    if (session.error !== undefined) return -1;
    this.#advance(nowMs);
    if (end > start) {
      this.#lastReceivedMs = nowMs;
      this.#pingSentMs = Infinity;
    }
    this.#receiver.receive(buf, start, end);
    wakeWriters(session);
    return session.error === undefined ? end - start : -1;
  }

  /** The stream ended. */
  handleEnd(): void {
    const { goaway } = this.#session;
    if (goaway !== undefined) return this.#leave(goaway.code);
    this.#session.fail('ERR_CONNECTION_RESET', 'the server closed the connection', undefined);
  }

  /**
   * Writes what is to be sent to `out[start, end)`; returns the number of bytes, 0 when there is nothing now. A dead
   * connection may still have a last word for the server. Take events afterwards: there may be room to write again.
   */
  pollBytes(out: Uint8Array, start: number, end: number): number {
    const session = this.#session;
    let at = start;
    while (at < end) {
      fillBuffer(session);
      const taken = session.out.take(out, at, end);
      if (taken === 0) break;
      at += taken;
    }
    wakeWriters(session);
    return at - start;
  }

  /**
   * Asks for something. Returns the stream's id, or -1 when no request can be taken now (see {@link canRequest}).
   * Requests above the number that the server allows wait their turn; before its settings have arrived, they leave on
   * the assumption that they are not too many, and one that is comes back as a retryable reset. Throws TypeError for what cannot stand in a
   * request, RangeError for a head above the limit.
   */
  request(nowMs: number, request: Http2Request): number {
    const session = this.#session;
    const head = encodeFields(requestFields(request));
    const { requestHeadBytes } = session.limits;
    if (head.length > requestHeadBytes)
      throw new RangeError(`"headers" expected at most ${requestHeadBytes} bytes in all, got ${head.length}`);
    if (!this.canRequest) return -1;
    this.#advance(nowMs);
    const id = this.#nextId;
    this.#nextId += 2;
    const { method, body, endStream = true } = request;
    const upload = {
      head,
      body: body?.slice() ?? NO_BYTES,
      endsAfterBody: endStream,
      wantsToWrite: false,
      isWritable: false,
      stalledSinceMs: nowMs,
    };
    session.streams.push(new Stream(id, upload, session.limits.initialStreamWindowBytes, method === 'HEAD'));
    return id;
  }

  /**
   * Continues the body of a request that was begun with `endStream: false`. Returns how many bytes were taken, less than
   * all where a window or the buffer is full (a `writable` event follows), -1 when the request takes no more. With
   * `isLast`, the request ends as soon as all bytes were taken.
   */
  sendData(nowMs: number, id: number, buf: Uint8Array, start: number, end: number, isLast: boolean): number {
    const session = this.#session;
    const stream = session.find(id);
    if (stream === undefined || stream.isDropped || session.error !== undefined) return -1;
    const { upload } = stream;
    if (upload === undefined || upload.endsAfterBody) return -1;
    this.#advance(nowMs);
    const isNext = upload.head === undefined && upload.body.length === 0;
    if (start === end && isLast) {
      upload.endsAfterBody = true;
      if (isNext) sendPiece(session, stream, upload, buf, start, end, true);
      return 0;
    }
    let at = start;
    if (isNext)
      for (let taken = -1; taken !== 0 && at < end; at += taken)
        taken = sendPiece(session, stream, upload, buf, at, end, isLast);
    if (at < end) {
      upload.wantsToWrite = true;
      if (upload.stalledSinceMs === Infinity) upload.stalledSinceMs = nowMs;
    } else upload.stalledSinceMs = Infinity;
    return at - start;
  }

  /** The caller has used `bytes` of a stream's data: the server may send as many more. Unknown ids are ignored. */
  consumed(nowMs: number, id: number, bytes: number): void {
    const session = this.#session;
    const stream = session.find(id);
    if (stream === undefined || stream.isDropped || stream.isEndTold) return;
    if (!(bytes >= 0 && bytes <= stream.lent))
      throw new RangeError(`"bytes" expected at most the ${stream.lent} that were lent, got ${bytes}`);
    this.#advance(nowMs);
    stream.lent -= bytes;
    stream.unconsumed -= bytes;
    session.unconsumed -= bytes;
    session.giveBack(stream);
  }

  /** Gives a request up; no event of it follows. Unknown ids are ignored. */
  cancel(nowMs: number, id: number): void {
    const session = this.#session;
    const stream = session.find(id);
    if (stream === undefined) return;
    this.#advance(nowMs);
    session.drop(stream, CANCEL);
    stream.end = undefined;
    session.remove(stream);
  }

  /** Takes the oldest event. */
  pollEvent(): Http2Event | undefined {
    const session = this.#session;
    const { goaway } = session;
    if (goaway?.isNew === true) {
      goaway.isNew = false;
      return { type: 'goaway', lastId: goaway.lastId, code: goaway.code };
    }
    for (let stream = session.ready.shift(); stream !== undefined; stream = session.ready.shift()) {
      stream.isReady = false;
      const event = this.#take(stream);
      session.wake(stream);
      if (event !== undefined) return event;
    }
    if (goaway !== undefined && session.streams.length === 0) this.#leave(goaway.code);
    if (session.error === undefined || this.#isClosedTold) return undefined;
    this.#isClosedTold = true;
    return { type: 'closed', error: session.error };
  }

  /** When {@link handleTimeout} is due. */
  nextTimeout(): number {
    const session = this.#session;
    if (session.error !== undefined) return Infinity;
    let dueMs = this.#receiver.isSettled ? Infinity : this.#settingsDeadlineMs;
    for (const { upload } of session.streams)
      dueMs = Math.min(dueMs, (upload?.stalledSinceMs ?? Infinity) + session.limits.stallTimeoutMs);
    if (this.#keepAliveMs === 0) return dueMs;
    const isWaiting = this.#pingSentMs !== Infinity;
    const pingMs = isWaiting
      ? this.#pingSentMs + session.limits.pingTimeoutMs
      : this.#lastReceivedMs + this.#keepAliveMs;
    return Math.min(dueMs, pingMs);
  }

  /** Pings, and gives up what has waited too long. */
  handleTimeout(nowMs: number): void {
    const session = this.#session;
    if (session.error !== undefined) return;
    this.#advance(nowMs);
    const { stallTimeoutMs, pingTimeoutMs } = session.limits;
    const isUnsettled = !this.#receiver.isSettled && nowMs >= this.#settingsDeadlineMs;
    const isSilent = nowMs >= this.#pingSentMs + pingTimeoutMs;
    if (isUnsettled) return session.fail('ERR_TIMED_OUT', 'the server did not begin HTTP/2 in time', SETTINGS_TIMEOUT); // CHECK: http2-settings-timeout
    if (isSilent) return session.fail('ERR_TIMED_OUT', 'the server left a ping unanswered', NO_ERROR); // CHECK: http2-ping-timeout
    for (const stream of [...session.streams])
      if (nowMs >= (stream.upload?.stalledSinceMs ?? Infinity) + stallTimeoutMs) this.#giveUp(stream); // CHECK: http2-stall-timeout
    const isDue = this.#keepAliveMs > 0 && nowMs >= this.#lastReceivedMs + this.#keepAliveMs;
    if (!isDue || this.#pingSentMs !== Infinity) return;
    this.#pingSentMs = nowMs;
    const at = session.control(FRAME_PING, 0, 0, 8);
    session.out.buf.fill(0, at, at + 8); // whatever comes back is an answer
  }

  /** Ends it from this side: requests are given up, the server is told by what `pollBytes` still gives. */
  close(): void {
    const session = this.#session;
    session.fail('ERR_CLOSED', 'the connection was closed', NO_ERROR);
    for (const stream of session.streams) session.drop(stream, undefined);
    session.streams.length = 0;
    session.ready.length = 0;
    if (session.goaway !== undefined) session.goaway.isNew = false;
  }

  #advance(nowMs: number): void {
    this.#session.nowMs = Math.max(this.#session.nowMs, nowMs);
  }

  /** The server went away and no request is left, or it closed the connection as announced. */
  #leave(code: number): void {
    this.#session.fail('ERR_CLOSED', `the server has gone away (${errorName(code)})`, NO_ERROR);
  }

  #giveUp(stream: Stream): void {
    const { isUnsent } = stream;
    const what = isUnsent ? 'it allows no further request' : 'it takes no more of the request';
    const error = new NetError('ERR_TIMED_OUT', `the server has let the request wait for too long: ${what}`);
    this.#session.abandon(stream, CANCEL, error, isUnsent);
  }

  /** The next event of a stream. */
  #take(stream: Stream): Http2Event | undefined {
    const session = this.#session;
    const { id, response, trailers, data, end, upload } = stream;
    if (end !== undefined) {
      stream.end = undefined;
      session.remove(stream);
      return { type: 'reset', id, ...end };
    }
    if (response !== undefined) {
      stream.response = undefined;
      return { type: 'headers', id, status: response.status, headers: response.headers };
    }
    if (data !== undefined) {
      const lent = { type: 'data', id, buf: data.buf, start: data.start, end: data.end } as const;
      stream.lent += data.length;
      stream.data = undefined;
      return lent;
    }
    if (trailers !== undefined) {
      stream.trailers = undefined;
      return { type: 'trailers', id, headers: trailers };
    }
    if (upload?.isWritable === true) {
      upload.isWritable = false;
      return { type: 'writable', id };
    }
    if (!stream.isRemoteClosed || stream.isEndTold) return undefined;
    stream.isEndTold = true;
    session.release(stream);
    if (upload === undefined) session.remove(stream);
    return { type: 'end', id };
  }
}
