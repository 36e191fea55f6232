/**
 * Named limits of the HTTP/2 client with its two presets. Nothing that a server does makes memory grow past them.
 */
import { DEFAULT_TABLE_BYTES } from './frame.ts';

/** What one connection may use. Bytes, milliseconds and counts as the names say. */
export interface Http2Limits {
  /** Requests under way at once; the server may allow fewer. */
  readonly streams: number;
  /** Requests that wait for one of those to end. Full: `request` returns -1. */
  readonly queuedRequests: number;
  /**
   * Response bytes of all streams that were not yet consumed. HTTP/2 starts every connection at 65,535: where this is
   * less, `streams` times `initialStreamWindowBytes` is the bound until the surplus is used up.
   */
  readonly windowBytes: number;
  /** The same for one stream; leave room in `windowBytes` for the others. */
  readonly streamWindowBytes: number;
  /** What a new stream begins with. */
  readonly initialStreamWindowBytes: number;
  /** Dynamic header table that the server may use; 0: none. */
  readonly headerTableBytes: number;
  /** A compressed header block, continuations included. More ends the connection: its state would be lost. */
  readonly headerBlockBytes: number;
  /**
   * Uncompressed header fields, each 32 bytes more than its text (RFC 9113 §6.5.2). The server is told. More ends the
   * request. At most `headerBlockBytes`, so that a server that keeps to it never breaks that.
   */
  readonly headerListBytes: number;
  /** CONTINUATION frames per block. More ends the connection. */
  readonly continuations: number;
  /** Header block of a request. More is a RangeError of `request`. */
  readonly requestHeadBytes: number;
  /** Bytes towards the server that wait for `pollBytes`; request heads and control frames may come on top. */
  readonly sendBufferBytes: number;
  /** Answers to the server's frames that wait for `pollBytes`. More ends the connection. */
  readonly controlBytes: number;
  /** Frames without use (pings, settings, empty data, …) at once, and per second on average. More ends the connection. */
  readonly idleFrames: number;
  readonly idleFramesPerSecond: number;
  /** The server must send its settings and acknowledge ours within this time. */
  readonly settingsTimeoutMs: number;
  /** A request that wants to send and may not is given up after this time. */
  readonly stallTimeoutMs: number;
  /** A ping that the server leaves unanswered, without any other byte, ends the connection after this time. */
  readonly pingTimeoutMs: number;
}

/** A microcontroller: at most 8 KB of unconsumed data, 2 KB of header block, 2 KB towards the server. */
export const HTTP2_LIMITS_SMALL: Http2Limits = Object.freeze({
  streams: 4,
  queuedRequests: 4,
  windowBytes: 8192,
  streamWindowBytes: 6144,
  initialStreamWindowBytes: 2048,
  headerTableBytes: 0,
  headerBlockBytes: 2048,
  headerListBytes: 2048,
  continuations: 4,
  requestHeadBytes: 2048,
  sendBufferBytes: 2048,
  controlBytes: 512,
  idleFrames: 50,
  idleFramesPerSecond: 5,
  settingsTimeoutMs: 10_000,
  stallTimeoutMs: 30_000,
  pingTimeoutMs: 15_000,
});

/** A computer. */
export const HTTP2_LIMITS_LARGE: Http2Limits = Object.freeze({
  streams: 100,
  queuedRequests: 1000,
  windowBytes: 4_194_304,
  streamWindowBytes: 1_048_576,
  initialStreamWindowBytes: 1_048_576,
  headerTableBytes: DEFAULT_TABLE_BYTES,
  headerBlockBytes: 65_536,
  headerListBytes: 65_536,
  continuations: 32,
  requestHeadBytes: 65_536,
  sendBufferBytes: 65_536,
  controlBytes: 16_384,
  idleFrames: 1000,
  idleFramesPerSecond: 100,
  settingsTimeoutMs: 10_000,
  stallTimeoutMs: 30_000,
  pingTimeoutMs: 15_000,
});
