/**
 * The byte stream that application protocols of this library run over: a TCP connection inside the tunnel, or anything
 * of the same shape. Types only; {@link ByteStream} is the part of `Connection` that HTTP and the Node sockets need, so
 * that they can be tested over a pair in memory and used over a runtime's own sockets.
 */
import type { Endpoint } from '../base/address.ts';

/** A reliable, ordered stream of bytes in both directions, each of which ends on its own. */
export interface ByteStream {
  /** This side's address and port. */
  readonly local: Endpoint;
  /** The other side's address and port. */
  readonly remote: Endpoint;
  /**
   * The next bytes (at least one; the array belongs to the caller from then on), or `undefined` once the other side has
   * ended. Rejects with NetError when the stream is reset. At most one call may be pending.
   */
  read(): Promise<Uint8Array | undefined>;
  /**
   * Resolves when all of `data` is taken (that is the back-pressure); `data` may then be reused. Rejects with NetError.
   * At most one call may be pending.
   */
  write(data: Uint8Array): Promise<void>;
  /** Half close: nothing is written after this; reading goes on. */
  end(): Promise<void>;
  /** Resets the stream: both directions end now, and what is on the way is lost. Safe to call twice. */
  abort(): void;
  /** Ends writing and discards input, where the stream can do both at once. */
  close?(): Promise<void>;
  /** Settles when the stream is gone for good; never rejects. */
  readonly closed?: Promise<unknown>;
  /** Switches the sender's collecting of small writes off (true) or on (false). */
  setNoDelay?(isOn: boolean): void;
  /** Probes a silent connection every `intervalMs` milliseconds; 0 switches it off. */
  setKeepAlive?(intervalMs: number): void;
}

/** Where streams are accepted. */
export interface ByteListener {
  /** The port that is listened on. */
  readonly port: number;
  /** The next stream, or `undefined` once the listener is closed. At most one call may be pending. */
  accept(): Promise<ByteStream | undefined>;
  /** No further streams; those already accepted live on. */
  close(): void | Promise<void>;
}

/** The timers of a host, as the promises of this folder need them. */
export interface Timers {
  /** Calls `run` once, `ms` milliseconds from now, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void;
}
