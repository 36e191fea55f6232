/**
 * One request and its response: what is left to send, what waits for the caller, and the stream's two windows.
 */
import type { NetError } from '../base/errors.ts';
import type { ByteQueue } from './byte-queue.ts';
import type { ResponseHead } from './fields.ts';
import type { Field } from './hpack-table.ts';

/** Why a stream ended early. */
export interface StreamEnd {
  readonly code: number;
  readonly isRetryable: boolean;
  readonly error: NetError;
}

/** What the client has to say in a stream, until END_STREAM has left. */
export interface Upload {
  /** The request's header block until it is sent; undefined afterwards. */
  head: Uint8Array | undefined;
  /** What came with the request of its body and is not sent yet. */
  body: Uint8Array;
  /** END_STREAM follows what is in {@link body}. */
  endsAfterBody: boolean;
  /** The caller had more to write than there was room for. */
  wantsToWrite: boolean;
  /** A `writable` event waits. */
  isWritable: boolean;
  /** Since when bytes wait without any leaving; Infinity while none wait. */
  stalledSinceMs: number;
}

/** State only; {@link Session} and its helpers change it. */
export class Stream {
  readonly id: number;
  /** Undefined: we have sent END_STREAM, or have given the stream up. */
  upload: Upload | undefined;
  /** What the server still takes; counted beyond the end of the request, since a server may not let it overflow. */
  sendWindow = 0;

  /** What the server may still send. */
  window: number;
  /** Bytes that arrived, and are on their way in a frame whose header arrived, and that the caller has not consumed. */
  unconsumed = 0;
  /** Of these, the bytes that the caller was given. */
  lent = 0;
  /** Bytes of the body so far, and how many there must be; -1 when nothing says so. */
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

  /** `hasNoBody`: the response has none, whatever its fields say. */
  constructor(id: number, upload: Upload, window: number, hasNoBody: boolean) {
    this.id = id;
    this.upload = upload;
    this.window = window;
    if (hasNoBody) this.expected = 0;
  }

  /** Whether its HEADERS have not left. */
  get isUnsent(): boolean {
    return this.upload?.head !== undefined;
  }

  /** Whether its HEADERS left and one side has not finished. */
  get isOpen(): boolean {
    return !this.isDropped && !this.isUnsent && !(this.upload === undefined && this.isRemoteClosed);
  }

  /** Whether there is an event to take. */
  get hasEvent(): boolean {
    if (this.end !== undefined || this.response !== undefined || this.trailers !== undefined) return true;
    return this.data !== undefined || (this.isRemoteClosed && !this.isEndTold) || this.upload?.isWritable === true;
  }
}
