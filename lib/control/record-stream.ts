/**
 * The encrypted part of ts2021, the same on both sides: records of at most 4096 bytes (type 4, a big-endian length, a
 * ChaCha20-Poly1305 ciphertext without additional data) that carry a byte stream. Borders of records mean nothing.
 *
 * The nonce is four zero bytes and a 64-bit counter in BIG endian, unlike Noise's own transport. A record that does not
 * open ends the stream for good. Both directions have bounded queues; {@link RecordStream.receiveRoom} and the return
 * of {@link RecordStream.handlePlain} are the back-pressure.
 */
import { copyBytes, readU16BE, writeU16BE, writeU64BE } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { ByteFifo } from './byte-fifo.ts';

/** Largest record on the wire, header included. */
export const RECORD_BYTES = 4096;
/** Type and length in front of a record, and of every handshake message but the initiation. */
export const HEADER_BYTES = 3;
const TAG_BYTES = 16;
/** Most plaintext in one record. */
export const RECORD_PLAIN_BYTES = RECORD_BYTES - HEADER_BYTES - TAG_BYTES;

/** Client to server: version, Noise's first message. */
export const TYPE_INITIATION = 1;
/** Server to client: Noise's second message. */
export const TYPE_RESPONSE = 2;
/** Server to client, during the handshake: why not, as text. */
export const TYPE_ERROR = 3;
/** Either way: encrypted data. */
export const TYPE_RECORD = 4;

/** What {@link RecordStream} and the machines above it may hold, and how long a handshake may take. */
export interface TransportLimits {
  /** Decrypted bytes that nobody has fetched yet, and the record under way; at least {@link RECORD_BYTES}. */
  readonly receiveBytes: number;
  /** Plaintext that has not left yet. */
  readonly sendBytes: number;
  /** Memory that a queue or a stage keeps while it is empty; at least {@link HEADER_BYTES}. */
  readonly keepBytes: number;
  /** The head of the server's HTTP answer. */
  readonly headBytes: number;
  /** The early payload, without its header; less than `receiveBytes`. */
  readonly earlyBytes: number;
  /** From construction to the keys. */
  readonly handshakeTimeoutMs: number;
}

/** For microcontrollers. */
export const TRANSPORT_LIMITS_SMALL: TransportLimits = Object.freeze({
  receiveBytes: 8192,
  sendBytes: 4096,
  keepBytes: 256,
  headBytes: 2048,
  earlyBytes: 1024,
  handshakeTimeoutMs: 10_000,
});
/** For everything else. */
export const TRANSPORT_LIMITS_LARGE: TransportLimits = Object.freeze({
  receiveBytes: 65_536,
  sendBytes: 65_536,
  keepBytes: 4096,
  headBytes: 8192,
  earlyBytes: 16_384,
  handshakeTimeoutMs: 10_000,
});

/** The prologue of the handshake for a protocol version. */
export function prologueText(version: number): string {
  return `Tailscale Control Protocol v${version}`;
}

/** Records both ways, once there are keys; until then it only queues what is to be sent. */
export class RecordStream {
  /** Why the stream is of no use any more. */
  problem: string | undefined = undefined;
  /** Decrypted bytes. */
  readonly plain: ByteFifo;
  readonly #suite: CryptoSuite;
  readonly #sendQueue: ByteFifo;
  readonly #sendKey = new Uint8Array(32);
  readonly #receiveKey = new Uint8Array(32);
  readonly #nonce = new Uint8Array(12);
  readonly #nothing = new Uint8Array(0);
  #sendCounter = 0;
  #receiveCounter = 0;
  #isStarted = false;
  readonly #keepBytes: number;
  /** The record that is coming in, from its header; made as large as its header says. */
  #record = new Uint8Array(0);
  #recordBytes = 0;
  /** The sealed record that is going out: `#stage[#stageStart, #stageEnd)` is left of it. */
  #stage = new Uint8Array(0);
  #stageStart = 0;
  #stageEnd = 0;

  constructor(suite: CryptoSuite, limits: TransportLimits) {
    if (limits.receiveBytes < RECORD_BYTES || limits.earlyBytes + 16 > limits.receiveBytes)
      throw new RangeError(`"receiveBytes" expected at least ${RECORD_BYTES} and more than "earlyBytes"`);
    this.#suite = suite;
    this.plain = new ByteFifo(limits.receiveBytes, limits.keepBytes);
    this.#sendQueue = new ByteFifo(limits.sendBytes, limits.keepBytes);
    this.#keepBytes = limits.keepBytes;
  }

  /** Begins with these keys (32 bytes each, copied); the counters are for tests. */
  start(sendKey: Uint8Array, receiveKey: Uint8Array, sendCounter = 0, receiveCounter = 0): void {
    this.#sendKey.set(sendKey);
    this.#receiveKey.set(receiveKey);
    this.#sendCounter = sendCounter;
    this.#receiveCounter = receiveCounter;
    this.#record = new Uint8Array(this.#keepBytes);
    this.#isStarted = true;
  }

  /** How many bytes {@link handleBytes} takes now. */
  get receiveRoom(): number {
    return this.plain.room - this.#recordBytes;
  }

  /** Plaintext that still fits into the queue for sending. */
  get sendRoom(): number {
    return this.#sendQueue.room;
  }

  /** Whether the stream stands in the middle of a record. */
  get isMidRecord(): boolean {
    return this.#recordBytes > 0;
  }

  /** Whether nothing is left to be sent. */
  get isDrained(): boolean {
    return this.#sendQueue.length === 0 && this.#stageStart === this.#stageEnd;
  }

  /** Goes on with `buf[start, end)`, at most {@link receiveRoom} bytes; false when the stream is dead, see `problem`. */
  handleBytes(buf: Uint8Array, start: number, end: number): boolean {
    if (this.problem !== undefined) return false;
    for (let at = start; at < end; ) {
      const wanted = this.#wanted();
      const take = Math.min(wanted - this.#recordBytes, end - at);
      copyBytes(this.#record, this.#recordBytes, buf, at, at + take);
      this.#recordBytes += take;
      at += take;
      if (this.#recordBytes < wanted) continue;
      const isFine = wanted === HEADER_BYTES ? this.#checkHeader() : this.#open();
      if (!isFine) return false;
    }
    return true;
  }

  /** Takes plaintext to be sent; returns how many bytes of it fitted. */
  handlePlain(buf: Uint8Array, start: number, end: number): number {
    return this.problem === undefined ? this.#sendQueue.push(buf, start, end) : 0;
  }

  /** Writes what is to be sent into `out[start, end)`; returns the bytes written, 0 for nothing now. */
  pollBytes(out: Uint8Array, start: number, end: number): number {
    let at = start;
    while (this.problem === undefined && this.#isStarted && at < end) {
      if (this.#stageStart === this.#stageEnd && !this.#seal()) break;
      const moved = Math.min(end - at, this.#stageEnd - this.#stageStart);
      copyBytes(out, at, this.#stage, this.#stageStart, this.#stageStart + moved);
      this.#stageStart += moved;
      at += moved;
    }
    if (this.#stageStart === this.#stageEnd && this.#stage.length > this.#keepBytes) this.#stage = new Uint8Array(0);
    return at - start;
  }

  /** Erases keys and queues; `problem` says why, from now on nothing comes out. */
  fail(problem: string): false {
    this.problem ??= problem;
    this.#sendKey.fill(0);
    this.#receiveKey.fill(0);
    this.#record.fill(0);
    this.plain.wipe();
    this.#sendQueue.wipe();
    this.#recordBytes = 0;
    this.#stageStart = this.#stageEnd;
    return false;
  }

  /** Where the record under way is complete: its header first, then all of it. */
  #wanted(): number {
    return this.#recordBytes < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + readU16BE(this.#record, 1);
  }

  #checkHeader(): boolean {
    const length = readU16BE(this.#record, 1);
    if (this.#record[0] !== TYPE_RECORD) return this.fail('a message that is not a record'); // CHECK: ts2021-record-type
    if (length > RECORD_BYTES - HEADER_BYTES) return this.fail('a record that is too long'); // CHECK: ts2021-record-long
    if (length < TAG_BYTES) return this.fail('a record without a tag'); // CHECK: ts2021-record-short
    if (this.#record.length >= HEADER_BYTES + length) return true;
    const larger = new Uint8Array(HEADER_BYTES + length);
    copyBytes(larger, 0, this.#record, 0, HEADER_BYTES);
    this.#record = larger;
    return true;
  }

  #open(): boolean {
    const { plain } = this;
    const length = this.#recordBytes - HEADER_BYTES - TAG_BYTES;
    if (this.#receiveCounter >= Number.MAX_SAFE_INTEGER) return this.fail('too many records'); // CHECK: ts2021-receive-counter
    plain.reserve(length);
    const out = plain.buf.subarray(plain.end, plain.end + length);
    const sealed = this.#record.subarray(HEADER_BYTES, this.#recordBytes);
    writeU64BE(this.#nonce, 4, this.#receiveCounter);
    const isAuthentic = this.#suite.aeadOpen(out, this.#receiveKey, this.#nonce, this.#nothing, sealed);
    if (!isAuthentic) return this.fail('a record that does not open'); // CHECK: ts2021-record-tag
    this.#receiveCounter++;
    plain.end += length;
    this.#recordBytes = 0;
    if (this.#record.length > this.#keepBytes) this.#record = new Uint8Array(this.#keepBytes);
    return true;
  }

  /** Puts the next record on the stage; false when there is none. */
  #seal(): boolean {
    const queue = this.#sendQueue;
    const length = Math.min(queue.length, RECORD_PLAIN_BYTES);
    if (length === 0) return false;
    if (this.#sendCounter >= Number.MAX_SAFE_INTEGER) return this.fail('too many records'); // CHECK: ts2021-send-counter
    this.#stageStart = 0;
    this.#stageEnd = HEADER_BYTES + length + TAG_BYTES;
    if (this.#stage.length < this.#stageEnd) this.#stage = new Uint8Array(this.#stageEnd);
    this.#stage[0] = TYPE_RECORD;
    writeU16BE(this.#stage, 1, length + TAG_BYTES);
    writeU64BE(this.#nonce, 4, this.#sendCounter++);
    const out = this.#stage.subarray(HEADER_BYTES, this.#stageEnd);
    const plain = queue.buf.subarray(queue.start, queue.start + length);
    this.#suite.aeadSeal(out, this.#sendKey, this.#nonce, this.#nothing, plain);
    queue.drop(length);
    return true;
  }
}
