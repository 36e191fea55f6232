/**
 * What the parts of an HTTP/2 connection share: its streams, the windows of both directions, the bytes to be sent, and
 * how streams and the connection end (RFC 9113 §5).
 *
 * INVARIANT: `unconsumed` of the session is the sum over its streams. A window that is given back plus what is not
 * consumed never exceeds the limit, except for the surplus that HTTP/2 starts with (see {@link Http2Limits}).
 */
import { writeU32BE } from '../base/bytes.ts';
import { type ErrorCode, NetError } from '../base/errors.ts';
import { ByteQueue } from './byte-queue.ts';
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  ENHANCE_YOUR_CALM,
  FRAME_GOAWAY,
  FRAME_RST_STREAM,
  FRAME_WINDOW_UPDATE,
  errorName,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  writeFrameHeader,
} from './frame.ts';
import type { Http2Limits } from './limits.ts';
import type { Stream } from './stream.ts';

/** See the top of the file. */
export class Session {
  readonly limits: Http2Limits;
  /** The latest time that any call has told. */
  nowMs: number;
  /** Why the connection is dead; undefined while it is not. */
  error: NetError | undefined = undefined;
  /** Every stream with something left to do, in the order of their ids. */
  readonly streams: Stream[] = [];
  /** Those with body bytes left, in the order of their turns. */
  readonly sending: Stream[] = [];
  /** Those with events, in the order of their turns. */
  readonly ready: Stream[] = [];
  /** Streams that the server counts. */
  openCount = 0;
  /** The highest id whose HEADERS left: higher ones are idle to the server. */
  lastSentId = -1;
  /** Bytes for `pollBytes`, whole frames but for the one being taken. */
  readonly out: ByteQueue;

  /** What the server may still send on all streams, and what it sent without its being consumed. */
  window = DEFAULT_WINDOW_BYTES;
  unconsumed = 0;
  /** What we may still send on all streams. */
  sendWindow = DEFAULT_WINDOW_BYTES;

  /** The server's settings. */
  peerInitialWindow = DEFAULT_WINDOW_BYTES;
  /** What that becomes when the frame with its settings is complete. */
  nextInitialWindow = DEFAULT_WINDOW_BYTES;
  peerFrameBytes = DEFAULT_FRAME_BYTES;
  peerStreams = Infinity;
  /** The next header block says that it uses no table: at first, and when the server has changed the table's size. */
  owesTableUpdate = true;

  /** The server's last word, and whether the caller has yet to be told. */
  goaway: { readonly lastId: number; readonly code: number; isNew: boolean } | undefined = undefined;

  constructor(nowMs: number, limits: Http2Limits) {
    this.nowMs = nowMs;
    this.limits = limits;
    this.out = new ByteQueue(limits.sendBufferBytes / 2);
  }

  /** Appends a short frame and returns where its payload is to be written. Too many waiting end the connection. */
  control(type: number, flags: number, id: number, payloadBytes: number): number {
    const { sendBufferBytes, requestHeadBytes, controlBytes } = this.limits;
    const isBacklog = this.out.length > sendBufferBytes + requestHeadBytes + controlBytes;
    if (isBacklog) this.breakOff(ENHANCE_YOUR_CALM, 'it asks for answers and does not take them'); // CHECK: http2-control-backlog
    return this.#put(type, flags, id, payloadBytes);
  }

  #put(type: number, flags: number, id: number, payloadBytes: number): number {
    // Two steps: `reserve` may replace the array.
    const at = this.out.reserve(9 + payloadBytes);
    return writeFrameHeader(this.out.buf, at, type, flags, id, payloadBytes);
  }

  /** Ends the connection because the server broke a rule; `text` continues "the server broke HTTP/2: ". */
  breakOff(code: number, text: string): void {
    this.fail('ERR_PROTOCOL', `the server broke HTTP/2: ${text} (${errorName(code)})`, code);
  }

  /** Ends the connection; with a code, the server is told. Events that wait can still be taken. */
  fail(reason: ErrorCode, text: string, code: number | undefined): void {
    if (this.error !== undefined) return;
    this.error = new NetError(reason, text);
    if (code === undefined) return this.out.clear();
    const at = this.#put(FRAME_GOAWAY, 0, 0, 8);
    writeU32BE(this.out.buf, at, 0);
    writeU32BE(this.out.buf, at + 4, code);
  }

  /** Puts a stream in the queue for events if it has any. */
  wake(stream: Stream): void {
    if (stream.isReady || !stream.hasEvent) return;
    stream.isReady = true;
    this.ready.push(stream);
  }

  /** The stream of an id, over or not. */
  find(id: number): Stream | undefined {
    const stream = this.streams[this.#place(id)];
    return stream?.id === id ? stream : undefined;
  }

  /** The next stream whose HEADERS are to leave: they leave in the order of their ids. */
  nextUnsent(): Stream | undefined {
    for (let at = this.#place(this.lastSentId + 1); at < this.streams.length; at++)
      if (!this.streams[at]!.isDropped) return this.streams[at];
    return undefined;
  }

  /** Nothing is left to do for a stream. */
  remove(stream: Stream): void {
    removeFrom(this.streams, stream);
  }

  /** Where the first stream stands whose id is not below this. */
  #place(id: number): number {
    let low = 0;
    for (let high = this.streams.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (this.streams[middle]!.id < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The stream of an id that frames may still change; undefined when it is over. */
  live(id: number): Stream | undefined {
    const stream = this.find(id);
    return stream === undefined || stream.isDropped || stream.isUnsent ? undefined : stream;
  }

  /** Ends a stream because the server broke a rule in it, which touches no other. */
  breakStream(stream: Stream, code: number, text: string): void {
    const error = new NetError('ERR_PROTOCOL', `the server broke HTTP/2: ${text} (${errorName(code)})`);
    this.abandon(stream, code, error, false);
  }

  /** Ends a stream from this side and tells the server. */
  abandon(stream: Stream, code: number, error: NetError, isRetryable: boolean): void {
    this.drop(stream, code);
    stream.end = { code, isRetryable, error };
    this.wake(stream);
  }

  /** The server ended a stream, or will not begin it. */
  handleReset(stream: Stream, code: number, text: string, isRetryable: boolean): void {
    this.drop(stream, undefined);
    stream.end = { code, isRetryable, error: new NetError('ERR_CONNECTION_RESET', text) };
    this.wake(stream);
  }

  /** Forgets all that a stream has; with a code, the server is told if it knows the stream. */
  drop(stream: Stream, code: number | undefined): void {
    if (stream.isDropped) return;
    if (stream.isOpen) {
      this.openCount--;
      if (code !== undefined && this.error === undefined)
        writeU32At(this, this.control(FRAME_RST_STREAM, 0, stream.id, 4), code);
    }
    stream.isDropped = true;
    stream.isEndTold = true;
    removeFrom(this.sending, stream);
    stream.upload = undefined;
    stream.response = stream.trailers = undefined;
    this.release(stream);
  }

  /** Counts everything that a stream has as consumed; what the caller was not given is forgotten. */
  release(stream: Stream): void {
    stream.data = undefined;
    this.unconsumed -= stream.unconsumed;
    stream.unconsumed = stream.lent = 0;
    this.giveBack(undefined);
  }

  /** We have sent END_STREAM. */
  closeLocal(stream: Stream): void {
    stream.upload = undefined;
    if (stream.isRemoteClosed) this.openCount--;
    if (stream.isEndTold) this.remove(stream);
  }

  /** The server has answered and wants no more of the request. */
  stopSending(stream: Stream): void {
    if (stream.upload === undefined) return;
    removeFrom(this.sending, stream);
    this.closeLocal(stream);
  }

  /** The server has sent END_STREAM. */
  closeRemote(stream: Stream): void {
    const isShort = stream.expected >= 0 && stream.received !== stream.expected;
    if (isShort) return this.breakStream(stream, PROTOCOL_ERROR, 'a body that is shorter than its content-length'); // CHECK: http2-body-short
    stream.isRemoteClosed = true;
    if (stream.upload === undefined) this.openCount--;
    this.wake(stream);
  }

  /** The server goes away: streams above `lastId`, and those that have not begun, can be asked for elsewhere. */
  handleGoaway(lastId: number, code: number): void {
    this.goaway = { lastId: Math.min(lastId, this.goaway?.lastId ?? lastId), code, isNew: true };
    for (const stream of [...this.streams]) {
      if (stream.isDropped || (!stream.isUnsent && stream.id <= this.goaway.lastId)) continue;
      if (stream.isRemoteClosed) continue; // it was answered after all
      this.handleReset(stream, REFUSED_STREAM, 'the server goes away and has not begun this request', true);
    }
  }

  /** Lets the server send more on the connection, and on a stream where one is given, once it is worth a frame. */
  giveBack(stream: Stream | undefined): void {
    if (this.error !== undefined) return;
    const { windowBytes, streamWindowBytes, initialStreamWindowBytes } = this.limits;
    const grant = worthwhile(windowBytes, this.window, this.unconsumed);
    if (grant > 0) {
      this.window += grant;
      writeU32At(this, this.control(FRAME_WINDOW_UPDATE, 0, 0, 4), grant);
    }
    if (stream === undefined || !stream.isOpen || stream.isRemoteClosed) return;
    // While the connection still has its surplus, the windows of the streams are what bounds memory.
    const hasSurplus = this.window + this.unconsumed > windowBytes;
    const target = hasSurplus ? initialStreamWindowBytes : streamWindowBytes;
    const streamGrant = worthwhile(target, stream.window, stream.unconsumed);
    if (streamGrant === 0) return;
    stream.window += streamGrant;
    writeU32At(this, this.control(FRAME_WINDOW_UPDATE, 0, stream.id, 4), streamGrant);
  }
}

/** How much to grant: nothing below half of the target, unless the server can send nothing at all. */
function worthwhile(target: number, window: number, unconsumed: number): number {
  const grant = target - window - unconsumed;
  return grant > 0 && (grant >= target / 2 || window === 0) ? grant : 0;
}

function writeU32At(session: Session, at: number, value: number): void {
  writeU32BE(session.out.buf, at, value);
}

function removeFrom(list: Stream[], stream: Stream): void {
  const index = list.indexOf(stream);
  if (index >= 0) list.splice(index, 1);
}
