/**
 * One request and its response: what is left to send, what waits for the caller, and the stream's two windows.
 */
import type { NetError } from '../base/errors.ts';
import type { ByteQueue } from './byte-queue.ts';
import type { ResponseHead } from './fields.ts';
import type { Field } from './hpack-table.ts';
import type { Http2Limits } from './limits.ts';

/** Why a stream ended early. */
export interface StreamEnd {
  readonly code: number;
  readonly isRetryable: boolean;
  readonly error: NetError;
}

/** State only; {@link Session} and its helpers change it. */
export class Stream {
  readonly id: number;
  /** Whether the response has no body whatever its fields say. */
  readonly isHead: boolean;

  /** The request's header block until it is sent; undefined afterwards. */
  head: Uint8Array | undefined;
  /** What came with the request of its body and is not sent yet. */
  body: Uint8Array;
  /** END_STREAM follows what is in {@link body}. */
  endsAfterBody: boolean;
  isLocalClosed = false;
  /** What the server still takes. */
  sendWindow = 0;
  /** The caller had more to write than there was room for. */
  wantsToWrite = false;
  /** A `writable` event waits. */
  isWritable = false;
  /** Since when bytes wait without any leaving; Infinity while none wait. */
  stalledSinceMs: number;

  /** What the server may still send. */
  window: number;
  /** Bytes that arrived, and are on their way in a frame whose header arrived, and that the caller has not consumed. */
  unconsumed = 0;
  /** Of these, the bytes that the caller was given. */
  lent = 0;
  /** Bytes of the body so far, and how many there must be; -1 when the response does not say. */
  received = 0;
  expected = -1;
  hasResponse = false;
  isRemoteClosed = false;
  /** The `end` event was taken. */
  isEndTold = false;

  /** What waits for the caller. */
  response: ResponseHead | undefined = undefined;
  data: ByteQueue | undefined = undefined;
  trailers: readonly Field[] | undefined = undefined;
  end: StreamEnd | undefined = undefined;
  /** Stands in the queue of streams that have events. */
  isReady = false;
  /** Reset or cancelled: frames that still arrive for it are skipped. */
  isDropped = false;

  constructor(
    nowMs: number,
    id: number,
    isHead: boolean,
    limits: Http2Limits,
    head: Uint8Array,
    body: Uint8Array,
    endsAfterBody: boolean,
  ) {
    this.id = id;
    this.isHead = isHead;
    this.window = limits.initialStreamWindowBytes;
    this.head = head;
    this.body = body;
    this.endsAfterBody = endsAfterBody;
    this.stalledSinceMs = nowMs;
  }

  /** Whether its HEADERS left and one side has not finished. */
  get isOpen(): boolean {
    return this.head === undefined && !this.isDropped && !(this.isLocalClosed && this.isRemoteClosed);
  }

  /** Whether there is an event to take. */
  get hasEvent(): boolean {
    if (this.end !== undefined || this.response !== undefined || this.trailers !== undefined) return true;
    return this.data !== undefined || (this.isRemoteClosed && !this.isEndTold) || this.isWritable;
  }
}
