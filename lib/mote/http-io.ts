/**
 * Between the HTTP parser and a byte stream: reading with read-ahead and interruption, writing with a stall limit.
 * Client and server use the same two classes. Nothing here knows what a message means.
 */
import { concatBytes } from '../base/bytes.ts';
import { NetError, isNetError } from '../base/errors.ts';
import type { ByteStream, Timers } from './byte-stream.ts';
import type { MessageHead } from './http-head.ts';
import type { HttpEvent, HttpParser } from './http-parser.ts';

/** Bytes that are collected before they go to the stream, unless nothing more is at hand. */
export const COLLECT_BYTES = 16384;
/** Largest piece that is given to the stream at once, so that the stall limit measures progress. */
const PIECE_BYTES = 65536;

/** Any thrown value as an Error of the environment. */
export function toNetError(error: unknown): NetError {
  if (isNetError(error)) return error;
  return new NetError('ERR_CONNECTION_RESET', 'the connection failed', { cause: error });
}

/** Arms a timer where there are timers and the time is finite; returns the function that cancels it. */
export function after(timers: Timers | undefined, ms: number, run: () => void): () => void {
  return timers === undefined || ms === Number.POSITIVE_INFINITY ? () => undefined : timers.after(ms, run);
}

/** The incoming half: reads when events are wanted, one read at a time. */
export class HttpInput<Head extends MessageHead> {
  readonly parser: HttpParser<Head>;
  /** Called once when the stream breaks, also when nobody is waiting for input. */
  onBroken: ((error: NetError) => void) | undefined;
  /** Called when bytes or the end come in while nobody waits for them. */
  onUnawaited: (() => void) | undefined;
  /** Whether anything has come in since this was last set to false. */
  hasReceived = false;
  readonly #stream: ByteStream;
  #isReading = false;
  #isEnded = false;
  #isDiscarding = false;
  #discardedBytes = 0;
  #error: unknown;
  #waiter: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  constructor(stream: ByteStream, parser: HttpParser<Head>) {
    this.#stream = stream;
    this.parser = parser;
  }

  /** Whether the stream broke or was failed by {@link fail}. */
  get isBroken(): boolean {
    return this.#error !== undefined;
  }

  /** Whether the other side has ended. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** The next event. Rejects with what broke or interrupted the stream; at most one call may be pending. */
  async next(): Promise<HttpEvent<Head>> {
    for (;;) {
      const event = this.parser.poll();
      if (event !== undefined) return event;
      await this.fill();
    }
  }

  /** Resolves when something has come in, or the other side has ended. */
  fill(): Promise<void> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#isEnded) return Promise.reject(new NetError('ERR_CLOSED', 'the connection has ended'));
    if (this.#waiter !== undefined) throw new Error('bug: two readers of one connection');
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.readAhead();
    });
  }

  /** Reads once although nobody waits, so that a break is noticed. What comes is kept for the next event. */
  readAhead(): void {
    if (this.#isReading || this.#isEnded || this.#error !== undefined) return;
    this.#isReading = true;
    this.#stream.read().then(
      bytes => this.#received(bytes),
      error => {
        this.#isReading = false;
        this.fail(toNetError(error));
      },
    );
  }

  /** Rejects the pending {@link fill}, if there is one; input can be read again afterwards. */
  interrupt(reason: unknown): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(reason);
  }

  /** Rejects the pending and every later {@link fill}. */
  fail(reason: unknown): void {
    if (this.#error !== undefined) return;
    this.#error = reason;
    this.interrupt(reason);
    this.onBroken?.(toNetError(reason));
  }

  /** Reads and drops until the other side ends (true), or more than `maxBytes` came or the stream broke (false). */
  async discard(maxBytes: number): Promise<boolean> {
    this.#isDiscarding = true;
    this.#discardedBytes = 0;
    try {
      while (!this.#isEnded && this.#discardedBytes <= maxBytes) await this.fill();
    } catch {
      return false;
    }
    return this.#isEnded;
  }

  #received(bytes: Uint8Array | undefined): void {
    this.#isReading = false;
    this.hasReceived ||= bytes !== undefined;
    if (bytes === undefined) {
      this.#isEnded = true;
      this.parser.finish();
    } else if (this.#isDiscarding) this.#discardedBytes += bytes.length;
    else this.parser.feed(bytes);
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) this.onUnawaited?.();
    else waiter.resolve();
  }
}

/** The outgoing half: collects small pieces, and resets a stream that takes nothing for too long. */
export class HttpOutput {
  readonly #stream: ByteStream;
  readonly #timers: Timers | undefined;
  readonly #stallMs: number;
  #isBroken = false;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** The stream takes one write at a time. */
  #sending: Promise<void> = Promise.resolve();

  constructor(stream: ByteStream, timers: Timers | undefined, stallMs: number) {
    this.#stream = stream;
    this.#timers = timers;
    this.#stallMs = stallMs;
    // Small pieces are collected here, by what belongs together; waiting for acknowledgements would only delay events.
    stream.setNoDelay?.(true);
  }

  /** Whether a write has failed. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Takes bytes, which must stay unchanged until they are sent; waits only when enough are collected. */
  async put(...pieces: Uint8Array[]): Promise<void> {
    for (const bytes of pieces) this.#heldBytes += bytes.length;
    this.#held.push(...pieces);
    if (this.#heldBytes >= COLLECT_BYTES) await this.flush();
  }

  /** Gives everything to the stream, in order; resolves when the stream has taken it. */
  flush(): Promise<void> {
    const held = this.#held;
    const isSmall = this.#heldBytes <= PIECE_BYTES;
    this.#held = [];
    this.#heldBytes = 0;
    const sent = this.#sending.then(() => this.#send(isSmall && held.length > 1 ? [concatBytes(...held)] : held));
    this.#sending = sent.catch(() => undefined);
    return sent;
  }

  async #send(held: readonly Uint8Array[]): Promise<void> {
    for (const bytes of held) await this.#write(bytes);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      let isStalled = false;
      const cancel = after(this.#timers, this.#stallMs, () => {
        isStalled = true;
        this.#stream.abort();
      });
      try {
        await this.#stream.write(bytes.subarray(at, at + PIECE_BYTES));
      } catch (error) {
        this.#isBroken = true;
        throw isStalled ? new NetError('ERR_TIMED_OUT', 'the other side takes no data') : toNetError(error);
      } finally {
        cancel();
      }
    }
  }
}
