/**
 * The receiving half: frames as they stream, checked and applied (RFC 9113 §4 to §6, §8.1).
 *
 * DATA goes on to its stream piece by piece; only header blocks and the few bytes of control frames are put together.
 * All accounts are settled at a frame's header and at its end, so that pieces of any size lead to the same answers.
 */
import { copyBytes, readU16BE, readU32BE } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import { ByteQueue } from './byte-queue.ts';
import { parseResponseHead, trailersProblem } from './fields.ts';
import {
  COMPRESSION_ERROR,
  DEFAULT_FRAME_BYTES,
  ENHANCE_YOUR_CALM,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FLOW_CONTROL_ERROR,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_SIZE_ERROR,
  FRAME_WINDOW_UPDATE,
  MAX_31_BITS,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  STREAM_CLOSED,
  errorName,
} from './frame.ts';
import { HpackDecoder, type HeaderList } from './hpack-decoder.ts';
import { applySetting, applyWindow, SETTING_BYTES } from './settings.ts';
import type { Session } from './session.ts';
import type { Stream } from './stream.ts';

/** Sizes of the frames that have one. */
const FIXED_BYTES: { readonly [type: number]: number } = Object.freeze({
  [FRAME_PRIORITY]: 5,
  [FRAME_RST_STREAM]: 4,
  [FRAME_PING]: 8,
  [FRAME_WINDOW_UPDATE]: 4,
});

/** Frames of the connection (id 0), and frames of streams; others may be either. */
const ON_CONNECTION: readonly number[] = Object.freeze([FRAME_SETTINGS, FRAME_PING, FRAME_GOAWAY]);
const ON_STREAM: readonly number[] = Object.freeze([
  FRAME_DATA,
  FRAME_HEADERS,
  FRAME_PRIORITY,
  FRAME_RST_STREAM,
  FRAME_PUSH_PROMISE,
  FRAME_CONTINUATION,
]);

/** A header block that is being put together. */
interface HeaderBlock {
  readonly id: number;
  /** Whether the stream ends with it. */
  readonly isLast: boolean;
  readonly bytes: ByteQueue;
  continuations: number;
}

/** What is kept of a frame: its header, and the first bytes of its payload where they matter. */
const KEPT_BYTES = FRAME_HEADER_BYTES + 8;

/** One connection's; see the top of the file. */
export class Receiver {
  /** Whether the server has acknowledged our settings, and has sent its own. */
  isSettled = false;
  readonly #session: Session;
  readonly #decoder: HpackDecoder;
  /** How many frames without use the server may send now, and since when that holds. */
  #idleFrames: number;
  #idleSinceMs: number;
  /** The current frame: `[0, #fill)` of what is kept of it, and what is to come of its payload. */
  readonly #frame = new Uint8Array(KEPT_BYTES);
  #fill = 0;
  #left = 0;
  #hasSettings = false;
  /** The stream of the current DATA frame; undefined when its bytes go nowhere. */
  #stream: Stream | undefined = undefined;
  /** Bytes of padding at the end of the DATA frame; -1 until its length is known. */
  #padding = 0;
  /** Whether the DATA frame has no byte of body. */
  #isEmpty = false;
  #block: HeaderBlock | undefined = undefined;

  constructor(session: Session) {
    const { headerTableBytes, headerListBytes, idleFrames } = session.limits;
    this.#session = session;
    this.#decoder = new HpackDecoder(headerTableBytes, headerListBytes);
    this.#idleFrames = idleFrames;
    this.#idleSinceMs = session.nowMs;
  }

  /** Bytes of memory that grow with what the server sends. */
  get memoryBytes(): number {
    return (this.#block?.bytes.capacity ?? 0) + this.#decoder.tableBytes;
  }

  get #length(): number {
    return (this.#frame[0]! << 16) | readU16BE(this.#frame, 1);
  }

  get #type(): number {
    return this.#frame[3]!;
  }

  get #flags(): number {
    return this.#frame[4]!;
  }

  get #id(): number {
    return readU32BE(this.#frame, 5) & MAX_31_BITS;
  }

  /** Takes all of `buf[start, end)`, unless the connection ends within. */
  receive(buf: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end && this.#session.error === undefined) {
      if (this.#fill < FRAME_HEADER_BYTES) {
        this.#frame[this.#fill++] = buf[at++]!;
        if (this.#fill < FRAME_HEADER_BYTES) continue;
        this.#begin();
      } else {
        const count = Math.min(this.#left, end - at);
        this.#left -= count;
        this.#piece(buf, at, at + count);
        at += count;
      }
      if (this.#left > 0 || this.#session.error !== undefined) continue;
      this.#fill = 0;
      this.#finish();
    }
  }

  #begin(): void {
    this.#left = this.#length;
    const isFirst = !this.#hasSettings;
    this.#hasSettings = true;
    const session = this.#session;
    const isSettings = this.#type === FRAME_SETTINGS && (this.#flags & FLAG_ACK) === 0;
    if (isFirst && !isSettings) return session.breakOff(PROTOCOL_ERROR, 'it does not begin with its settings'); // CHECK: http2-first-settings
    if (this.#length > DEFAULT_FRAME_BYTES) return session.breakOff(FRAME_SIZE_ERROR, 'a frame above 16,384 bytes'); // CHECK: http2-frame-size
    const isNext = this.#block === undefined || (this.#type === FRAME_CONTINUATION && this.#id === this.#block.id);
    if (!isNext) return session.breakOff(PROTOCOL_ERROR, 'another frame within a header block'); // CHECK: http2-block-interrupted
    const fixed = FIXED_BYTES[this.#type];
    const isOdd = fixed !== undefined && fixed !== this.#length;
    if (isOdd) return session.breakOff(FRAME_SIZE_ERROR, `a frame of type ${this.#type} with a wrong size`); // CHECK: http2-fixed-size
    const isMisplaced = this.#id === 0 ? ON_STREAM.includes(this.#type) : ON_CONNECTION.includes(this.#type);
    if (isMisplaced) return session.breakOff(PROTOCOL_ERROR, `a frame of type ${this.#type} on the wrong stream`); // CHECK: http2-frame-place
    this.#beginTyped();
  }

  #beginTyped(): void {
    const session = this.#session;
    switch (this.#type) {
      case FRAME_DATA:
        if (this.#isKnown()) this.#beginData();
        return;
      case FRAME_HEADERS:
        if (this.#isKnown()) this.#beginBlock();
        return;
      case FRAME_RST_STREAM:
        this.#isKnown();
        return;
      case FRAME_WINDOW_UPDATE:
        if (this.#id !== 0) this.#isKnown();
        return;
      case FRAME_SETTINGS: {
        const isWrong = (this.#flags & FLAG_ACK) === 0 ? this.#length % 6 !== 0 : this.#length !== 0;
        if (isWrong) session.breakOff(FRAME_SIZE_ERROR, 'settings with a wrong size'); // CHECK: http2-settings-size
        return;
      }
      case FRAME_GOAWAY:
        if (this.#length < 8) session.breakOff(FRAME_SIZE_ERROR, 'a goodbye that is too short'); // CHECK: http2-goaway-size
        return;
      case FRAME_CONTINUATION: {
        const block = this.#block;
        if (block === undefined) return session.breakOff(PROTOCOL_ERROR, 'a continuation of nothing'); // CHECK: http2-stray-continuation
        const isFlood = ++block.continuations > session.limits.continuations;
        if (isFlood) return session.breakOff(ENHANCE_YOUR_CALM, 'too many continuations'); // CHECK: http2-continuation-flood
        return this.#growBlock(block);
      }
      case FRAME_PUSH_PROMISE:
        return session.breakOff(PROTOCOL_ERROR, 'a push, which we refused');
      default: // PING, PRIORITY and what later versions add
    }
  }

  /** Whether the frame's stream was ever opened; otherwise the connection ends. */
  #isKnown(): boolean {
    const isIdle = this.#id % 2 === 0 || this.#id > this.#session.lastSentId;
    if (isIdle) this.#session.breakOff(PROTOCOL_ERROR, 'a frame on a stream that nobody opened'); // CHECK: http2-idle-stream
    return this.#session.error === undefined;
  }

  /** A frame that leads to nothing; too many end the connection. */
  #countIdle(): void {
    const { nowMs, limits } = this.#session;
    const gained = ((nowMs - this.#idleSinceMs) * limits.idleFramesPerSecond) / 1000;
    this.#idleFrames = Math.min(limits.idleFrames, this.#idleFrames + gained) - 1;
    this.#idleSinceMs = nowMs;
    const isFlood = this.#idleFrames < 0;
    if (isFlood) this.#session.breakOff(ENHANCE_YOUR_CALM, 'too many frames without use'); // CHECK: http2-idle-flood
  }

  #beginData(): void {
    const session = this.#session;
    const length = this.#length;
    const isPadded = (this.#flags & FLAG_PADDED) !== 0;
    if (length > session.window) return session.breakOff(FLOW_CONTROL_ERROR, 'more data than the connection allows'); // CHECK: http2-connection-window
    if (isPadded && length === 0) return session.breakOff(FRAME_SIZE_ERROR, 'padding without its length'); // CHECK: http2-data-pad-size
    session.window -= length;
    this.#stream = this.#dataStream();
    const stream = this.#stream;
    if (stream !== undefined) {
      stream.window -= length;
      stream.unconsumed += length;
      session.unconsumed += length;
    }
    this.#padding = isPadded ? -1 : 0;
    if (!isPadded) this.#expectData(length);
  }

  /** The stream that may take a DATA frame of this length; a rule that is broken in it ends it. */
  #dataStream(): Stream | undefined {
    const session = this.#session;
    const stream = session.live(this.#id);
    if (stream === undefined) return undefined;
    if (stream.isRemoteClosed)
      session.breakStream(stream, STREAM_CLOSED, 'data after its end'); // CHECK: http2-data-after-end
    else if (!stream.hasResponse)
      session.breakStream(stream, PROTOCOL_ERROR, 'data before the response'); // CHECK: http2-data-before-head
    else if (this.#length > stream.window) session.breakStream(stream, FLOW_CONTROL_ERROR, 'more data than allowed'); // CHECK: http2-stream-window
    return stream.isDropped ? undefined : stream;
  }

  /** Now the number of bytes of body in the frame is known; padding counts as consumed. */
  #expectData(bytes: number): void {
    this.#isEmpty = bytes === 0;
    const stream = this.#stream;
    if (stream === undefined || stream.isDropped) return;
    stream.received += bytes;
    const isLong = stream.expected >= 0 && stream.received > stream.expected;
    if (isLong) this.#session.breakStream(stream, PROTOCOL_ERROR, 'a body that is longer than its content-length'); // CHECK: http2-body-long
    if (stream.isDropped) return;
    stream.unconsumed -= this.#length - bytes;
    this.#session.unconsumed -= this.#length - bytes;
  }

  #piece(buf: Uint8Array, start: number, end: number): void {
    switch (this.#type) {
      case FRAME_DATA:
        return this.#handleData(buf, start, end);
      case FRAME_HEADERS:
      case FRAME_CONTINUATION:
        return this.#block?.bytes.append(buf, start, end);
      case FRAME_SETTINGS:
        return this.#handleSettings(buf, start, end);
      default:
        for (let at = start; at < end && this.#fill < KEPT_BYTES; at++) this.#frame[this.#fill++] = buf[at]!;
    }
  }

  #handleSettings(buf: Uint8Array, start: number, end: number): void {
    const frame = this.#frame;
    for (let at = start; at < end && this.#session.error === undefined; at++) {
      frame[this.#fill++] = buf[at]!;
      if (this.#fill < FRAME_HEADER_BYTES + SETTING_BYTES) continue;
      this.#fill = FRAME_HEADER_BYTES;
      applySetting(this.#session, readU16BE(frame, FRAME_HEADER_BYTES), readU32BE(frame, FRAME_HEADER_BYTES + 2));
    }
  }

  #handleData(buf: Uint8Array, start: number, end: number): void {
    let at = start;
    if (this.#padding < 0) {
      this.#padding = buf[at++]!;
      const isTooMuch = this.#padding >= this.#length;
      if (isTooMuch) return this.#session.breakOff(PROTOCOL_ERROR, 'more padding than frame'); // CHECK: http2-data-padding
      this.#expectData(this.#length - 1 - this.#padding);
    }
    const stream = this.#stream;
    // What of this piece lies in front of the padding.
    const dataEnd = Math.min(end, end + this.#left - this.#padding);
    if (stream === undefined || stream.isDropped || dataEnd <= at) return;
    stream.data ??= new ByteQueue(this.#session.limits.streamWindowBytes / 8);
    stream.data.append(buf, at, dataEnd);
    this.#session.wake(stream);
  }

  #finish(): void {
    const session = this.#session;
    const value = readU32BE(this.#frame, FRAME_HEADER_BYTES);
    switch (this.#type) {
      case FRAME_DATA:
        return this.#finishData();
      case FRAME_HEADERS:
        return this.#finishHeaders(this.#block!);
      case FRAME_CONTINUATION:
        if ((this.#flags & FLAG_END_HEADERS) !== 0) this.#decodeBlock(this.#block!);
        return;
      case FRAME_RST_STREAM:
        return this.#handleReset(value);
      case FRAME_SETTINGS:
        return this.#finishSettings();
      case FRAME_PING:
        return this.#handlePing();
      case FRAME_GOAWAY:
        this.#countIdle();
        return session.handleGoaway(value & MAX_31_BITS, readU32BE(this.#frame, FRAME_HEADER_BYTES + 4));
      case FRAME_WINDOW_UPDATE:
        return this.#handleWindow(value & MAX_31_BITS);
      default:
        this.#countIdle();
    }
  }

  #handlePing(): void {
    const session = this.#session;
    this.#countIdle();
    if ((this.#flags & FLAG_ACK) !== 0 || session.error !== undefined) return;
    const at = session.control(FRAME_PING, FLAG_ACK, 0, 8);
    copyBytes(session.out.buf, at, this.#frame, FRAME_HEADER_BYTES, KEPT_BYTES);
  }

  #finishData(): void {
    const stream = this.#stream;
    const isEnd = (this.#flags & FLAG_END_STREAM) !== 0;
    this.#stream = undefined;
    const isLive = stream !== undefined && !stream.isDropped;
    if (isLive && isEnd) this.#session.closeRemote(stream);
    else if (this.#isEmpty) this.#countIdle();
    this.#session.giveBack(isLive ? stream : undefined);
  }

  #beginBlock(): void {
    const isLast = (this.#flags & FLAG_END_STREAM) !== 0;
    const bytes = new ByteQueue(this.#session.limits.headerBlockBytes / 8);
    this.#block = { id: this.#id, isLast, bytes, continuations: 0 };
    this.#growBlock(this.#block);
  }

  #growBlock(block: HeaderBlock): void {
    const isBomb = block.bytes.length + this.#length > this.#session.limits.headerBlockBytes;
    if (isBomb) this.#session.breakOff(ENHANCE_YOUR_CALM, 'a header block above the limit'); // CHECK: http2-header-block
  }

  #finishHeaders(block: HeaderBlock): void {
    const { bytes } = block;
    const isPadded = (this.#flags & FLAG_PADDED) !== 0;
    const padding = isPadded && bytes.length > 0 ? bytes.buf[bytes.start]! : 0;
    const front = (isPadded ? 1 : 0) + ((this.#flags & FLAG_PRIORITY) !== 0 ? 5 : 0);
    const isTooMuch = front + padding > bytes.length;
    if (isTooMuch) return this.#session.breakOff(PROTOCOL_ERROR, 'more padding than frame'); // CHECK: http2-headers-padding
    bytes.start += front;
    bytes.end -= padding;
    if ((this.#flags & FLAG_END_HEADERS) !== 0) this.#decodeBlock(block);
  }

  #decodeBlock({ bytes, isLast }: HeaderBlock): void {
    const session = this.#session;
    const list = this.#decoder.decode(bytes.buf, bytes.start, bytes.end);
    this.#block = undefined;
    if (list === undefined) return session.breakOff(COMPRESSION_ERROR, 'a header block that does not decode'); // CHECK: http2-compression
    const stream = session.live(this.#id);
    if (stream === undefined) return this.#countIdle();
    if (stream.isRemoteClosed) return session.breakStream(stream, STREAM_CLOSED, 'fields after its end'); // CHECK: http2-headers-after-end
    if (list.isTooLarge) return this.#refuseFields(stream);
    if (stream.hasResponse) this.#handleTrailers(stream, list, isLast);
    else this.#handleResponse(stream, list, isLast);
  }

  #refuseFields(stream: Stream): void {
    const { headerListBytes } = this.#session.limits;
    const error = new NetError('ERR_LIMIT', `the response has more header fields than ${headerListBytes} bytes`);
    this.#session.abandon(stream, ENHANCE_YOUR_CALM, error, false);
  }

  #handleResponse(stream: Stream, { fields }: HeaderList, isLast: boolean): void {
    const session = this.#session;
    const head = parseResponseHead(fields);
    if (typeof head === 'string') return session.breakStream(stream, PROTOCOL_ERROR, head); // CHECK: http2-response-head
    const isInterim = head.status < 200;
    if (isInterim && isLast) return session.breakStream(stream, PROTOCOL_ERROR, 'an end without a response'); // CHECK: http2-interim-end
    if (isInterim) return this.#countIdle();
    const hasNoBody = stream.expected === 0 || head.status === 204 || head.status === 304;
    stream.expected = hasNoBody ? 0 : head.contentLength;
    stream.hasResponse = true;
    stream.response = head;
    session.wake(stream);
    if (isLast) session.closeRemote(stream);
  }

  #handleTrailers(stream: Stream, { fields }: HeaderList, isLast: boolean): void {
    const session = this.#session;
    const problem = isLast ? trailersProblem(fields) : 'a second response';
    if (problem !== undefined) return session.breakStream(stream, PROTOCOL_ERROR, problem); // CHECK: http2-trailers
    stream.trailers = fields;
    session.closeRemote(stream);
  }

  #handleReset(code: number): void {
    const session = this.#session;
    const stream = session.live(this.#id);
    if (stream === undefined) return this.#countIdle();
    // The response is complete: the server only wants no more of the request (RFC 9113 §8.1).
    if (stream.isRemoteClosed) return session.stopSending(stream);
    const text = `the server ended the request (${errorName(code)})`;
    session.handleReset(stream, code, text, code === REFUSED_STREAM);
  }

  #finishSettings(): void {
    const session = this.#session;
    const isAck = (this.#flags & FLAG_ACK) !== 0;
    if (isAck && this.isSettled) return session.breakOff(PROTOCOL_ERROR, 'settings acknowledged twice'); // CHECK: http2-settings-ack
    if (isAck) {
      this.isSettled = true;
      return;
    }
    applyWindow(session);
    this.#countIdle();
    if (session.error === undefined) session.control(FRAME_SETTINGS, FLAG_ACK, 0, 0);
  }

  #handleWindow(increment: number): void {
    const session = this.#session;
    if (this.#id === 0) {
      if (increment === 0) return session.breakOff(PROTOCOL_ERROR, 'a window update of nothing'); // CHECK: http2-zero-update
      session.sendWindow += increment;
      if (session.sendWindow > MAX_31_BITS) session.breakOff(FLOW_CONTROL_ERROR, 'a window of 2 GB'); // CHECK: http2-window-overflow
      return;
    }
    const stream = session.live(this.#id);
    if (stream === undefined) return;
    if (increment === 0) return session.breakStream(stream, PROTOCOL_ERROR, 'a window update of nothing'); // CHECK: http2-stream-zero-update
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_31_BITS) session.breakStream(stream, FLOW_CONTROL_ERROR, 'a window of 2 GB'); // CHECK: http2-stream-window-overflow
  }
}
