/**
 * The encrypted part of ts2021, the same on both sides: records of at most 4096 bytes (type 4, a big-endian length, a
 * ChaCha20-Poly1305 ciphertext without additional data) that carry a byte stream. Borders of records mean nothing.
 *
 * The nonce is four zero bytes and a 64-bit counter in BIG endian, unlike Noise's own transport. A record that does not
 * open ends the stream for good.
 *
 * No bytes wait here: a record is sealed where it is to leave from and opened where it has arrived. Only one that comes
 * in pieces, or leaves in pieces of a few bytes, is held until it is complete; between records it holds 76 bytes.
 */
import { copyBytes, NO_BYTES, writeU16BE, writeU64BE } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';

/** Largest record on the wire, header included. */
export const RECORD_BYTES = 4096;
/** Type and length in front of a record, and of every handshake message but the initiation. */
export const HEADER_BYTES = 3;
const TAG_BYTES = 16;
/** Most plaintext in one record. */
export const RECORD_PLAIN_BYTES = RECORD_BYTES - HEADER_BYTES - TAG_BYTES;
/** With less room than this for a record, it is sealed aside: header and tag alone take 19 bytes. */
const LEAST_ROOM_BYTES = 128;

const KEY_BYTES = 32;
/** The nonce behind both keys, and its counter behind four zeros. */
const NONCE_AT = 2 * KEY_BYTES;
const COUNTER_AT = NONCE_AT + 4;
const SECRET_BYTES = NONCE_AT + 12;

/** Client to server: version, Noise's first message. */
export const TYPE_INITIATION = 1;
/** Server to client: Noise's second message. */
export const TYPE_RESPONSE = 2;
/** Server to client, during the handshake: why not, as text. */
export const TYPE_ERROR = 3;
/** Either way: encrypted data. */
export const TYPE_RECORD = 4;

/** The stream is dead: what {@link RecordStream.handleBytes} and the machines above it return then. */
export const STREAM_DEAD = -1;

/** Where the plaintext that is to be sent comes from. */
export interface PlainSource {
  /** Writes up to `end - start` bytes to `out` at `start`; returns how many, 0 for nothing now. */
  pollBytes(out: Uint8Array, start: number, end: number): number;
}

/** The prologue of the handshake for a protocol version. */
export function prologueText(version: number): string {
  return `Tailscale Control Protocol v${version}`;
}

/** Records both ways, once there are keys. */
export class RecordStream {
  /** Why the stream is of no use any more. */
  problem: string | undefined = undefined;
  /** What the last record carried: lent until the next call, and forgotten by whoever has taken it. */
  plain: Uint8Array | undefined = undefined;
  readonly #suite: CryptoSuite;
  /** The keys of sending and of receiving, and the nonce of the moment; nothing before there are keys. */
  #secrets = NO_BYTES;
  #sendCounter = 0;
  #receiveCounter = 0;
  /** What has come of the record that is under way, header included, and the header as one number. */
  #fill = 0;
  #header = 0;
  /** The rest of that record, if it has come in pieces. */
  #record = NO_BYTES;
  /** What is left of a sealed record that did not fit where it was to leave from. */
  #stage = NO_BYTES;

  constructor(suite: CryptoSuite) {
    this.#suite = suite;
  }

  /** Begins with these keys (32 bytes each, copied); the counters are for tests. */
  start(sendKey: Uint8Array, receiveKey: Uint8Array, sendCounter = 0, receiveCounter = 0): void {
    this.#secrets = new Uint8Array(SECRET_BYTES);
    this.#secrets.set(sendKey);
    this.#secrets.set(receiveKey, KEY_BYTES);
    this.#sendCounter = sendCounter;
    this.#receiveCounter = receiveCounter;
  }

  /** Bytes that have come of the record that is under way; 0 between two records. */
  get partBytes(): number {
    return this.#fill;
  }

  /** Whether nothing is left of a record that was sealed. */
  get isDrained(): boolean {
    return this.#stage.length === 0;
  }

  /** Bytes of memory that it holds for records that are under way. */
  get heldBytes(): number {
    return this.#record.length + this.#stage.length;
  }

  /**
   * Goes on with `buf[start, end)`, up to the end of one record, which is opened in place, into {@link plain}. Returns
   * where it stopped, or {@link STREAM_DEAD}, see {@link problem}.
   */
  handleBytes(buf: Uint8Array, start: number, end: number): number {
    if (this.problem !== undefined) return STREAM_DEAD;
    this.plain = undefined;
    let at = start;
    while (at < end && this.#fill < HEADER_BYTES) {
      this.#header = this.#header * 256 + buf[at++]!;
      this.#fill++;
      if (this.#fill === HEADER_BYTES && !this.#checkHeader()) return STREAM_DEAD;
    }
    if (this.#fill < HEADER_BYTES || at === end) return at;
    const length = this.#header & 0xffff;
    if (this.#fill === HEADER_BYTES && end - at >= length)
      return this.#open(buf.subarray(at, at + length)) ? at + length : STREAM_DEAD;
    if (this.#record.length === 0) this.#record = new Uint8Array(length);
    const record = this.#record;
    const done = this.#fill - HEADER_BYTES;
    const take = Math.min(length - done, end - at);
    copyBytes(record, done, buf, at, at + take);
    this.#fill += take;
    if (done + take < length) return at + take;
    this.#record = NO_BYTES;
    return this.#open(record) ? at + take : STREAM_DEAD;
  }

  /** Seals what `source` has into `out[start, end)`; returns the bytes written, 0 for nothing now. */
  pollBytes(source: PlainSource, out: Uint8Array, start: number, end: number): number {
    let at = start + this.#unstage(out, start, end);
    for (let length = -1; length !== 0 && end - at >= LEAST_ROOM_BYTES; at += length)
      length = this.#seal(source, out, at, end);
    const isTight = at === start && at < end && end - at < LEAST_ROOM_BYTES;
    if (!isTight) return at - start;
    const stage = new Uint8Array(LEAST_ROOM_BYTES);
    const length = this.#seal(source, stage, 0, LEAST_ROOM_BYTES);
    if (length > 0) this.#stage = stage.subarray(0, length);
    return this.#unstage(out, start, end);
  }

  /** Erases keys and what is under way; `problem` says why, from now on nothing comes out. Returns {@link STREAM_DEAD}. */
  fail(problem: string): number {
    this.problem ??= problem;
    this.plain = undefined;
    for (const bytes of [this.#secrets, this.#record, this.#stage]) if (bytes.length > 0) bytes.fill(0);
    this.#secrets = this.#record = this.#stage = NO_BYTES;
    this.#fill = 0;
    return STREAM_DEAD;
  }

  #checkHeader(): boolean {
    const length = this.#header & 0xffff;
    if (this.#header >>> 16 !== TYPE_RECORD) return this.#refuse('a message that is not a record'); // CHECK: ts2021-record-type
    if (length > RECORD_BYTES - HEADER_BYTES) return this.#refuse('a record that is too long'); // CHECK: ts2021-record-long
    if (length < TAG_BYTES) return this.#refuse('a record without a tag'); // CHECK: ts2021-record-short
    return true;
  }

  #open(sealed: Uint8Array): boolean {
    if (this.#receiveCounter >= Number.MAX_SAFE_INTEGER) return this.#refuse('too many records'); // CHECK: ts2021-receive-counter
    const plain = sealed.subarray(0, sealed.length - TAG_BYTES);
    const key = this.#secrets.subarray(KEY_BYTES, NONCE_AT);
    const isAuthentic = this.#suite.aeadOpen(plain, key, this.#nonce(this.#receiveCounter), NO_BYTES, sealed);
    if (!isAuthentic) return this.#refuse('a record that does not open'); // CHECK: ts2021-record-tag
    this.#receiveCounter++;
    this.#fill = this.#header = 0;
    if (plain.length > 0) this.plain = plain;
    return true;
  }

  /** Writes the next record to `buf[start, end)`; returns its length, 0 when there is none. */
  #seal(source: PlainSource, buf: Uint8Array, start: number, end: number): number {
    if (this.#secrets.length === 0) return 0;
    const from = start + HEADER_BYTES;
    const length = source.pollBytes(buf, from, Math.min(from + RECORD_PLAIN_BYTES, end - TAG_BYTES));
    if (length === 0) return 0;
    if (this.#sendCounter >= Number.MAX_SAFE_INTEGER) return this.#overflow(); // CHECK: ts2021-send-counter
    buf[start] = TYPE_RECORD;
    writeU16BE(buf, start + 1, length + TAG_BYTES);
    const stop = from + length + TAG_BYTES;
    const key = this.#secrets.subarray(0, KEY_BYTES);
    const nonce = this.#nonce(this.#sendCounter++);
    this.#suite.aeadSeal(buf.subarray(from, stop), key, nonce, NO_BYTES, buf.subarray(from, from + length));
    return stop - start;
  }

  #unstage(out: Uint8Array, start: number, end: number): number {
    const stage = this.#stage;
    const moved = Math.min(end - start, stage.length);
    copyBytes(out, start, stage, 0, moved);
    if (moved > 0) this.#stage = moved === stage.length ? NO_BYTES : stage.subarray(moved);
    return moved;
  }

  #nonce(counter: number): Uint8Array {
    writeU64BE(this.#secrets, COUNTER_AT, counter);
    return this.#secrets.subarray(NONCE_AT);
  }

  #overflow(): number {
    this.fail('too many records');
    return 0;
  }

  #refuse(problem: string): boolean {
    this.fail(problem);
    return false;
  }
}
