/**
 * What a caller of the HTTP/2 client gives and gets.
 */
import type { NetError } from '../base/errors.ts';
import type { RequestHead } from './fields.ts';
import type { Field } from './hpack-table.ts';
import type { Http2Limits } from './limits.ts';

/** What an {@link Http2Client} needs. */
export interface Http2ClientOptions {
  readonly nowMs: number;
  /** Default {@link HTTP2_LIMITS_LARGE}. */
  readonly limits?: Http2Limits;
  /** Instead of the limit of that name, for a stream that does not begin at once. */
  readonly settingsTimeoutMs?: number;
  /** A server that was silent for this long is sent a ping. Default 0: never. */
  readonly keepAliveMs?: number;
}

/** A request; a body may go with any method. */
export interface Http2Request extends RequestHead {
  /** The body or its beginning; copied. */
  readonly body?: Uint8Array;
  /** Whether the request ends behind that; otherwise `sendData` continues it. Default true. */
  readonly endStream?: boolean;
}

/** What happened. For each request: `headers`, any `data`, perhaps `trailers`, then `end`; `reset` instead of the rest. */
export type Http2Event =
  /** The response's head; `headers` in order and without `:status`. Interim responses (1xx) are not told. */
  | { readonly type: 'headers'; readonly id: number; readonly status: number; readonly headers: readonly Field[] }
  /** A piece of the body, `buf[start, end)`, lent until the next call; `consumed` makes room for more. */
  | {
      readonly type: 'data';
      readonly id: number;
      readonly buf: Uint8Array;
      readonly start: number;
      readonly end: number;
    }
  /** Fields behind the body. */
  | { readonly type: 'trailers'; readonly id: number; readonly headers: readonly Field[] }
  /** The response is complete. What was not told as consumed counts as such. */
  | { readonly type: 'end'; readonly id: number }
  /** `sendData` took less than it was given before; now it takes more. */
  | { readonly type: 'writable'; readonly id: number }
  /** The request is over. `isRetryable`: the server has done nothing about it. */
  | {
      readonly type: 'reset';
      readonly id: number;
      readonly code: number;
      readonly isRetryable: boolean;
      readonly error: NetError;
    }
  /** The server takes no more requests; those up to `lastId` may still be answered. */
  | { readonly type: 'goaway'; readonly lastId: number; readonly code: number }
  /** The connection is dead; the last event. Requests without an `end` or `reset` failed with it. */
  | { readonly type: 'closed'; readonly error: NetError };
