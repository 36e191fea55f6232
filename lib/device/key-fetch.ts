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
  /** Where the head may end at the earliest, as far as is known. */
  #lookedAt = 0;
  /** Where the body begins; -1 before. */
  #headEnd = -1;
  #announced = Number.POSITIVE_INFINITY;
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
    if (this.#headEnd < 0 && !this.#readHead()) {
      if (isEnd && !this.isDone) this.#fail('ERR_PROTOCOL', 'did not answer in HTTP');
      return;
    }
    const length = this.#length - this.#headEnd;
    if (!isEnd && length < this.#announced) return;
    const end = this.#headEnd + Math.min(length, this.#announced);
    this.body = this.#answer.slice(this.#headEnd, end);
    this.cancel();
  }

  /** Looks for the end of the head from where it was not found yet; true when it is there and says 200. */
  #readHead(): boolean {
    const answer = this.#answer;
    for (; this.#lookedAt + 4 <= this.#length; this.#lookedAt++) {
      const at = this.#lookedAt;
      const isEnd = answer[at] === 13 && answer[at + 1] === 10 && answer[at + 2] === 13 && answer[at + 3] === 10;
      if (!isEnd) continue;
      const head = utf8Decode(answer, 0, at);
      const status = /^HTTP\/1\.[01] ([0-9]{3})/.exec(head)?.[1];
      if (status === '200') {
        const announced = /\r\ncontent-length: *([0-9]{1,6}) *(?:\r\n|$)/i.exec(head)?.[1];
        this.#announced = announced === undefined ? Number.POSITIVE_INFINITY : Number(announced);
        this.#headEnd = at + 4;
        return true;
      }
      const what = status === undefined ? 'did not answer in HTTP' : `answers GET /key with HTTP status ${status}`;
      this.#fail('ERR_PROTOCOL', what);
      return false;
    }
    return false;
  }

  #fail(code: 'ERR_PROTOCOL' | 'ERR_TIMED_OUT', what: string): void {
    this.cancel();
    this.error = new NetError(code, `${this.#host} ${what}: is this the address of a coordinator?`);
  }
}
