/**
 * GET /key: the coordinator's public key, over a stream of its own (control protocol, before ts2021). HTTP/1.0, so that
 * the answer ends with the stream and is never chunked (RFC 9112 §6.3).
 *
 * Left out: redirects, which would lead to another coordinator than the one that was named.
 */
import { utf8Decode, utf8Encode } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import { CAPABILITY_VERSION } from '../control/message.ts';
import type { StreamRequest, Streams, StreamUser } from './streams.ts';

/** What is read of an answer, head included. */
const ANSWER_BYTES = 65_536;
const TIMEOUT_MS = 15_000;

/** One fetch. `isDone` tells when `body` or `error` is there. */
export class KeyFetch implements StreamUser {
  isDone = false;
  body: Uint8Array | undefined;
  error: NetError | undefined;
  readonly #streams: Streams;
  readonly #id: number;
  readonly #host: string;
  #request: Uint8Array;
  #answer = new Uint8Array(1024);
  #length = 0;
  #deadlineMs: number;

  /** Starts it. `authority` is what stands in the Host header. */
  constructor(nowMs: number, streams: Streams, request: StreamRequest, authority: string, path: string) {
    this.#streams = streams;
    this.#host = authority;
    this.#request = utf8Encode(
      `GET ${path}/key?v=${CAPABILITY_VERSION} HTTP/1.0\r\nHost: ${authority}\r\nUser-Agent: motenet\r\nAccept: application/json\r\n\r\n`,
    );
    this.#deadlineMs = nowMs + TIMEOUT_MS;
    this.#id = streams.open(request, this);
  }

  /** When {@link handleTimeout} wants to be called. */
  nextTimeout(): number {
    return this.isDone ? Number.POSITIVE_INFINITY : this.#deadlineMs;
  }

  handleTimeout(nowMs: number): void {
    if (!this.isDone && nowMs >= this.#deadlineMs) this.#fail('ERR_TIMED_OUT', 'did not answer in time');
  }

  /** Gives it up. */
  cancel(): void {
    this.isDone = true;
    this.#streams.close(this.#id);
  }

  handleOpened(_nowMs: number): void {}

  handleBytes(_nowMs: number, buf: Uint8Array, start: number, end: number): void {
    if (this.isDone) return;
    const length = this.#length + end - start;
    if (length > ANSWER_BYTES) return this.#fail('ERR_PROTOCOL', 'sent too much'); // CHECK: key-answer-limit
    if (length > this.#answer.length) {
      const larger = new Uint8Array(Math.min(ANSWER_BYTES, Math.max(length, 2 * this.#answer.length)));
      larger.set(this.#answer.subarray(0, this.#length));
      this.#answer = larger;
    }
    this.#answer.set(buf.subarray(start, end), this.#length);
    this.#length = length;
    this.#look(false);
  }

  handleEnd(_nowMs: number): void {
    if (!this.isDone) this.#look(true);
  }

  handleFailed(_nowMs: number, error: NetError): void {
    if (this.isDone) return;
    this.isDone = true;
    this.error = error;
  }

  pollBytes(_nowMs: number, out: Uint8Array, start: number, end: number): number {
    const count = Math.min(this.#request.length, end - start);
    out.set(this.#request.subarray(0, count), start);
    this.#request = this.#request.subarray(count);
    return count;
  }

  /** The answer is whole when the stream ends, or when as much came as it announced. */
  #look(isEnd: boolean): void {
    const text = utf8Decode(this.#answer, 0, this.#length);
    const headEnd = text.indexOf('\r\n\r\n');
    if (headEnd < 0) {
      if (isEnd) this.#fail('ERR_PROTOCOL', 'did not answer in HTTP');
      return;
    }
    const head = text.slice(0, headEnd);
    const status = /^HTTP\/1\.[01] ([0-9]{3})/.exec(head)?.[1];
    if (status === undefined) return this.#fail('ERR_PROTOCOL', 'did not answer in HTTP');
    if (status !== '200') return this.#fail('ERR_PROTOCOL', `answers GET /key with HTTP status ${status}`);
    const announced = /\r\ncontent-length: *([0-9]{1,6}) *(?:\r\n|$)/i.exec(head)?.[1];
    // INVARIANT: the head is ASCII, or the key would not be found anyway: characters are bytes.
    const body = this.#answer.subarray(headEnd + 4, this.#length);
    if (!isEnd && (announced === undefined || body.length < Number(announced))) return;
    this.body = body.slice(0, announced === undefined ? body.length : Number(announced));
    this.cancel();
  }

  #fail(code: 'ERR_PROTOCOL' | 'ERR_TIMED_OUT', what: string): void {
    this.cancel();
    this.error = new NetError(code, `${this.#host} ${what}: is this the address of a coordinator?`);
  }
}
