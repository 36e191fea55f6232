/**
 * DNS over a TCP connection: queries and answers with their length in two bytes in front (RFC 1035 §4.2.2, RFC 7766).
 * Queries may follow each other without waiting; one is answered at a time, in order, and while its answer waits to be
 * taken no more bytes are. Memory: what the longest query so far took, and one answer.
 */
import { readU16BE, writeU16BE } from '../base/bytes.ts';
import { answerQuery, MAX_ANSWER_BYTES } from './answer.ts';
import type { NameTable } from './name-table.ts';
import { HEADER_BYTES } from './query.ts';

/** A longer query breaks the connection: those for names are a few hundred bytes. */
export const MAX_STREAM_QUERY_BYTES = 4096;

/** One connection of a client. */
export class DnsStream {
  readonly #table: NameTable;
  readonly #answer = new Uint8Array(2 + MAX_ANSWER_BYTES);
  #query = new Uint8Array(512);
  /** Bytes of `query` that have come, its length in front included. */
  #have = 0;
  #sent = 0;
  #toSend = 0;
  #isBroken = false;

  constructor(table: NameTable) {
    this.#table = table;
  }

  /** The client breaks the rules: the connection is to be closed. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Takes bytes `buf[start, end)`, as many as it can now; returns how many. */
  handleBytes(buf: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && this.#toSend === 0 && !this.#isBroken) {
      this.#query[this.#have++] = buf[at++]!;
      if (this.#have === 2) this.#begin(readU16BE(this.#query, 0));
      else if (this.#have > 2 && this.#have === 2 + readU16BE(this.#query, 0)) this.#finish();
    }
    return at - start;
  }

  #begin(bytes: number): void {
    if (bytes < HEADER_BYTES || bytes > MAX_STREAM_QUERY_BYTES) return this.#break(); // CHECK: dns-stream-length
    if (this.#query.length >= 2 + bytes) return;
    const grown = new Uint8Array(2 + bytes);
    grown.set(this.#query.subarray(0, 2));
    this.#query = grown;
  }

  #finish(): void {
    const length = answerQuery(this.#table, this.#query, 2, this.#have, this.#answer.subarray(2), true);
    this.#have = 0;
    if (length === 0) return this.#break();
    writeU16BE(this.#answer, 0, length);
    this.#toSend = 2 + length;
    this.#sent = 0;
  }

  #break(): void {
    this.#isBroken = true;
  }

  /** Writes bytes for the client into `out[start, end)`; returns how many, 0 for nothing now. */
  pollBytes(out: Uint8Array, start: number, end: number): number {
    const bytes = Math.min(end - start, this.#toSend - this.#sent);
    out.set(this.#answer.subarray(this.#sent, this.#sent + bytes), start);
    this.#sent += bytes;
    if (this.#sent === this.#toSend) {
      this.#toSend = 0;
      this.#sent = 0;
    }
    return bytes;
  }
}
