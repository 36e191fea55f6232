/**
 * The server's side of ts2021 behind the HTTP upgrade: Noise IK's first message (out of the request's header, or as the
 * first bytes of the stream) is answered, then records flow both ways with a byte stream inside.
 *
 * Anybody may complete the handshake: it says which machine key is at the other end, not whether that machine is
 * welcome. A first message can be replayed; who replays it learns no key, so only bytes that came in records are the
 * machine's. The plaintext of both directions waits in bounded queues: `receiveRoom` and the return of `handlePlain` are
 * the back-pressure.
 * Left out: HTTP (see `answerControlRequest`), the early payload (stock clients need none).
 */
import { copyBytes, NO_BYTES, readU16BE, utf8Encode, writeU16BE } from '../base/bytes.ts';
import { type ErrorCode, NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { IK_FIRST_BYTES, IK_SECOND_BYTES, Ik } from '../noise/ik.ts';
import { ByteFifo } from './byte-fifo.ts';
import {
  HEADER_BYTES,
  prologueText,
  RECORD_BYTES,
  RecordStream,
  STREAM_DEAD,
  TYPE_ERROR,
  TYPE_INITIATION,
  TYPE_RESPONSE,
} from './record-stream.ts';
import { INITIATION_BYTES } from './upgrade.ts';

const INITIATION_HEADER_BYTES = 5;
const ANSWER_BYTES = 256;

/** What a {@link ControlResponder} may hold, and how long a handshake may take. */
export interface ResponderLimits {
  /** Decrypted bytes that nobody has fetched yet, and the record under way; at least {@link RECORD_BYTES}. */
  readonly receiveBytes: number;
  /** Plaintext that has not left yet. */
  readonly sendBytes: number;
  /** From construction to the keys. */
  readonly handshakeTimeoutMs: number;
}

const RESPONDER_LIMITS: ResponderLimits = Object.freeze({
  receiveBytes: 65_536,
  sendBytes: 65_536,
  handshakeTimeoutMs: 10_000,
});

/** What a responder needs. */
export interface ControlResponderOptions {
  readonly nowMs: number;
  readonly suite: CryptoSuite;
  readonly random: (out: Uint8Array) => void;
  /** The coordinator's Noise key; read during construction and the handshake. */
  readonly privateKey: SecretKey;
  /** Its public key, so that it is not computed for every connection: 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The 101 bytes out of the request's header; absent: they are the first bytes of the stream. */
  readonly initiation?: Uint8Array;
  /** Clients that announce less are told so and cut off. */
  readonly minVersion?: number;
  readonly limits?: Partial<ResponderLimits>;
}

/** What happens at a responder. */
export type ControlResponderEvent =
  /** `machineKey` (32 bytes) is at the other end; `version` is its capability version. */
  | { readonly type: 'established'; readonly machineKey: Uint8Array; readonly version: number }
  /** The client ended the stream, between two records. */
  | { readonly type: 'ended' }
  /** Dead; no event follows. Send what `pollBytes` still has, then close the socket. */
  | { readonly type: 'closed'; readonly error: NetError | undefined };

/** One control connection, server side. */
export class ControlResponder {
  /** Why it is dead. */
  error: NetError | undefined = undefined;
  /** The client's machine key: 32 bytes, once the handshake is over. */
  machineKey: Uint8Array | undefined = undefined;
  /** The version that the client announced, 0 before. */
  version = 0;
  readonly #options: ControlResponderOptions;
  readonly #records: RecordStream;
  /** What was decrypted and what is to be encrypted. */
  readonly #received: ByteFifo;
  readonly #sending: ByteFifo;
  /** Handshake answers, in front of the records; an error record outlives the connection. */
  readonly #answer = new ByteFifo(ANSWER_BYTES);
  readonly #events: ControlResponderEvent[] = [];
  #initiation: Uint8Array = new Uint8Array(INITIATION_BYTES);
  #initiationBytes = 0;
  #phase: 'initiation' | 'open' | 'dead' = 'initiation';
  #isEnded = false;
  #deadlineMs: number;

  constructor(options: ControlResponderOptions) {
    const limits = { ...RESPONDER_LIMITS, ...options.limits };
    if (limits.receiveBytes < RECORD_BYTES)
      throw new RangeError(`"receiveBytes" expected at least ${RECORD_BYTES}, got ${limits.receiveBytes}`);
    this.#options = options;
    this.#records = new RecordStream(options.suite);
    this.#received = new ByteFifo(limits.receiveBytes);
    this.#sending = new ByteFifo(limits.sendBytes);
    this.#deadlineMs = options.nowMs + limits.handshakeTimeoutMs;
    const { initiation } = options;
    if (initiation === undefined) return;
    if (initiation.length !== INITIATION_BYTES)
      throw new RangeError(`"initiation" expected ${INITIATION_BYTES} bytes, got ${initiation.length}`);
    this.#readInitiation(initiation, 0, INITIATION_BYTES);
  }

  /** Whether the handshake is over. */
  get isEstablished(): boolean {
    return this.#phase === 'open';
  }

  /** How many bytes {@link handleBytes} takes now; it grows with `pollPlain`. */
  get receiveRoom(): number {
    return this.#phase === 'dead' ? 0 : this.#received.room - this.#records.partBytes;
  }

  /** Plaintext that {@link handlePlain} takes now. */
  get sendRoom(): number {
    return this.#phase === 'dead' ? 0 : this.#sending.room;
  }

  /** Whether everything that was given to {@link handlePlain} has left. */
  get isDrained(): boolean {
    return this.#answer.length === 0 && this.#sending.length === 0 && this.#records.isDrained;
  }

  /**
   * Bytes of the socket, `buf[start, end)`, lent for the call, in which records are opened in place. All are taken:
   * RangeError for more than {@link receiveRoom} on a living stream. Returns 0, or {@link STREAM_DEAD}.
   */
  handleBytes(_nowMs: number, buf: Uint8Array, start: number, end: number): number {
    if (this.#phase === 'dead') return STREAM_DEAD;
    if (this.#isEnded) return this.#fail('ERR_PROTOCOL', 'the control connection goes on after its end');
    if (end - start > this.receiveRoom)
      throw new RangeError(`"buf" expected at most ${this.receiveRoom} bytes, got ${end - start}`);
    let at = start;
    if (this.#phase === 'initiation') at = this.#readInitiation(buf, start, end);
    if (!this.isEstablished) return this.error === undefined ? 0 : STREAM_DEAD;
    const records = this.#records;
    while (at < end) {
      at = records.handleBytes(buf, at, end);
      if (at < 0) return this.#fail('ERR_PROTOCOL', `the client sent ${records.problem}`);
      if (records.plain !== undefined) this.#received.push(records.plain, 0, records.plain.length);
      records.plain = undefined;
    }
    return 0;
  }

  /** The socket's stream has ended. */
  handleEnd(_nowMs: number): void {
    if (this.#phase === 'dead' || this.#isEnded) return;
    this.#isEnded = true;
    const isCut = this.#phase !== 'open' || this.#records.partBytes > 0;
    if (isCut) return this.#cutOff(); // CHECK: ts2021-client-cut-off
    this.#events.push({ type: 'ended' });
  }

  /** Writes what is to go to the socket into `out[start, end)`; returns the bytes written, 0 for nothing now. */
  pollBytes(out: Uint8Array, start: number, end: number): number {
    const written = this.#answer.pollBytes(out, start, end);
    if (this.#phase === 'dead') return written;
    const sent = this.#records.pollBytes(this.#sending, out, start + written, end);
    if (this.#records.problem !== undefined) this.#fail('ERR_PROTOCOL', this.#records.problem);
    return written + sent;
  }

  /** Takes bytes of the stream inside; returns how many fitted. */
  handlePlain(_nowMs: number, buf: Uint8Array, start: number, end: number): number {
    return this.#phase === 'dead' ? 0 : this.#sending.push(buf, start, end);
  }

  /** Moves bytes of the stream inside to `out[start, end)`; returns how many, 0 for nothing now. */
  pollPlain(out: Uint8Array, start: number, end: number): number {
    return this.#phase === 'open' ? this.#received.pollBytes(out, start, end) : 0;
  }

  /** The next event, or undefined. */
  pollEvent(): ControlResponderEvent | undefined {
    return this.#events.shift();
  }

  /** Time has passed. */
  handleTimeout(nowMs: number): void {
    if (nowMs >= this.#deadlineMs) this.#fail('ERR_TIMED_OUT', 'the client did not finish the handshake in time');
  }

  /** When the handshake must be over; Infinity afterwards. */
  nextTimeout(): number {
    return this.#deadlineMs;
  }

  /** Ends it from this side: keys and queues are erased, nothing more is sent. */
  close(): void {
    this.#die(undefined);
  }

  #readInitiation(buf: Uint8Array, start: number, end: number): number {
    const take = Math.min(INITIATION_BYTES - this.#initiationBytes, end - start);
    copyBytes(this.#initiation, this.#initiationBytes, buf, start, start + take);
    this.#initiationBytes += take;
    if (this.#initiationBytes === INITIATION_BYTES) this.#respond();
    return start + take;
  }

  #respond(): void {
    const { suite, privateKey, publicKey, random, minVersion = 1 } = this.#options;
    const initiation = this.#initiation;
    this.#initiation = NO_BYTES;
    const isInitiation = initiation[2] === TYPE_INITIATION && readU16BE(initiation, 3) === IK_FIRST_BYTES;
    if (!isInitiation) return this.#refuse('not an initiation'); // CHECK: ts2021-initiation-header
    this.version = readU16BE(initiation, 0);
    const isTooOld = this.version < minVersion;
    if (isTooOld) return this.#refuse(`client too old: version ${this.version}, needed ${minVersion}`); // CHECK: ts2021-min-version
    const noise = new Ik(suite, utf8Encode(prologueText(this.version)), publicKey);
    const machineKey = new Uint8Array(32);
    const first = initiation.subarray(INITIATION_HEADER_BYTES);
    const result = noise.readFirst(machineKey, new Uint8Array(0), first, privateKey.bytes);
    if (result !== 'ok') return this.#refuse('the handshake does not fit the key of this server'); // CHECK: ts2021-initiation
    const ephemeral = new Uint8Array(32);
    random(ephemeral);
    const answer = new Uint8Array(HEADER_BYTES + IK_SECOND_BYTES);
    answer[0] = TYPE_RESPONSE;
    writeU16BE(answer, 1, IK_SECOND_BYTES);
    noise.writeSecond(answer.subarray(HEADER_BYTES), ephemeral, NO_BYTES);
    const [receiveKey, sendKey] = [new Uint8Array(32), new Uint8Array(32)];
    noise.split(receiveKey, sendKey);
    this.#records.start(sendKey, receiveKey);
    for (const secret of [ephemeral, receiveKey, sendKey]) secret.fill(0);
    noise.wipe();
    this.#answer.push(answer, 0, answer.length);
    this.machineKey = machineKey;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#phase = 'open';
    this.#events.push({ type: 'established', machineKey, version: this.version });
  }

  /** Tells the client why, in an error record, and ends. */
  #refuse(text: string): void {
    const message = utf8Encode(text);
    const header = Uint8Array.of(TYPE_ERROR, message.length >> 8, message.length);
    this.#answer.push(header, 0, HEADER_BYTES);
    this.#answer.push(message, 0, message.length);
    this.#fail('ERR_PROTOCOL', text);
  }

  #cutOff(): void {
    this.#fail('ERR_CONNECTION_RESET', 'the client closed the connection too early');
  }

  #fail(code: ErrorCode, text: string): number {
    this.#die(new NetError(code, text));
    return STREAM_DEAD;
  }

  #die(error: NetError | undefined): void {
    if (this.#phase === 'dead') return;
    this.#phase = 'dead';
    this.error = error;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#records.fail('closed');
    this.#received.wipe();
    this.#sending.wipe();
    this.#events.push({ type: 'closed', error });
  }
}
