/** The content of an incoming message as a ReadableStream, read from the connection only as fast as it is consumed. */
import { NetError } from '../base/errors.ts';
import type { Timers } from './byte-stream.ts';
import type { FetchClasses, FetchStream, FetchStreamController } from './fetch-types.ts';
import type { MessageHead } from './http-head.ts';
import type { HttpEvent } from './http-parser.ts';
import { after, type HttpInput } from './http-io.ts';
import { HttpFault } from './http-syntax.ts';

/** How a body is read, and who is told. */
export interface BodyOptions {
  readonly timers: Timers | undefined;
  /** Longest wait for more content in milliseconds. */
  readonly stallMs: number;
  /** Called before the first read that has to wait for the other side. */
  onFirstRead?(): Promise<void>;
  /** Called once: the whole message was read (`undefined`), or why it will not be. */
  onDone(error: unknown): void;
}

/** One incoming body. */
export class IncomingBody<Head extends MessageHead> {
  /** What was wrong with the body, if anything was. */
  fault: HttpFault | undefined;
  readonly #input: HttpInput<Head>;
  readonly #options: BodyOptions;
  /** Content that came together with the head: at most what one read returned. */
  readonly #early: Uint8Array[] = [];
  #controller: FetchStreamController | undefined;
  #state: 'open' | 'done' | 'failed' = 'open';
  #error: unknown;
  #hasBegun = false;
  #isDetached = false;
  #pulling: Promise<void> | undefined;

  /** The input stands behind the head of the message. */
  constructor(input: HttpInput<Head>, options: BodyOptions) {
    this.#input = input;
    this.#options = options;
  }

  /** Whether the message was read to its end. */
  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** Whether anybody has asked for content that had not come yet. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Takes what has come already, without reading. To be called once, before the stream is made. */
  prefetch(): void {
    while (this.#state === 'open') {
      const event = this.#input.parser.poll();
      if (event === undefined) return;
      this.#handle(event, bytes => this.#early.push(bytes));
    }
  }

  /** Makes the stream. To be called at most once. */
  createStream(classes: FetchClasses): FetchStream {
    return new classes.ReadableStream(
      {
        start: controller => {
          for (const bytes of this.#early.splice(0)) controller.enqueue(bytes);
          if (this.#state === 'done') controller.close();
          else if (this.#state === 'failed') controller.error(this.#error);
          else this.#controller = controller;
        },
        pull: () => {
          this.#pulling = this.#pull();
          return this.#pulling;
        },
        cancel: reason => {
          this.#isDetached = true;
          this.#controller = undefined;
          if (this.#state === 'open')
            this.#options.onDone(reason ?? new NetError('ERR_ABORTED', 'the body was cancelled'));
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Fails the stream for its reader, unless the message is complete. */
  fail(reason: unknown): void {
    this.#settle('failed', reason);
  }

  /**
   * Takes the body away from its reader and drops what is left of it. True when the end was reached, false when that
   * would take more than `maxBytes` or the connection broke.
   */
  async drain(maxBytes: number): Promise<boolean> {
    this.#isDetached = true;
    await this.#pulling;
    for (let room = maxBytes; this.#state === 'open' && room >= 0; ) {
      room -= await this.#step(() => undefined);
    }
    return this.isDone;
  }

  async #pull(): Promise<void> {
    let got = 0;
    while (got === 0 && this.#state === 'open' && !this.#isDetached)
      got = await this.#step(bytes => this.#controller?.enqueue(bytes));
  }

  /** Handles one event, waiting for it if need be; resolves with the number of content bytes in it. */
  async #step(take: (bytes: Uint8Array) => void): Promise<number> {
    try {
      return this.#handle(this.#input.parser.poll() ?? (await this.#next()), take);
    } catch (error) {
      this.#settle('failed', error);
      return 0;
    }
  }

  async #next(): Promise<HttpEvent<Head>> {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      await this.#options.onFirstRead?.();
    }
    const cancel = after(this.#options.timers, this.#options.stallMs, () => {
      this.fault = new HttpFault(408, 'body-timeout', 'the content stalled');
      this.#input.interrupt(new NetError('ERR_TIMED_OUT', 'the body stalled'));
    });
    try {
      return await this.#input.next();
    } finally {
      cancel();
    }
  }

  #handle(event: HttpEvent<Head>, take: (bytes: Uint8Array) => void): number {
    if (event.type === 'data') {
      take(event.bytes);
      return event.bytes.length;
    }
    if (event.type === 'end') this.#settle('done', undefined);
    else {
      if (event.type === 'fault') this.fault = event.fault;
      const code = this.fault?.reason === 'truncated' ? 'ERR_CONNECTION_RESET' : 'ERR_PROTOCOL';
      this.#settle('failed', new NetError(code, `the body broke off: ${this.fault?.text ?? 'the connection ended'}`));
    }
    return 0;
  }

  #settle(state: 'done' | 'failed', error: unknown): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    this.#error = error;
    const controller = this.#controller;
    this.#controller = undefined;
    if (state === 'done') controller?.close();
    else controller?.error(error);
    this.#options.onDone(error);
  }
}
