/**
 * The client's side of ts2021, the way to a coordinator, over any byte stream (TLS or not: Noise proves who is there):
 * an HTTP/1.1 upgrade whose request already carries Noise IK's first message, then encrypted records with a byte stream
 * inside, on which HTTP/2 runs. The server may put an early payload in front of that stream.
 *
 * Feed the socket's bytes to {@link ControlTransport.handleBytes}, take the plaintext of each record behind it with
 * `takePlain`, and send what {@link ControlTransport.pollBytes} writes, which fetches plaintext as there is room for it.
 * Between records nothing is held but the keys. A transport that is dead stays dead.
 * Left out: fetching the server's key (GET /key), the choice of port and TLS, the WebSocket variant for browsers, what
 * an early payload says (it is read over).
 */
import { concatBytes, copyBytes, NO_BYTES, readU16BE, readU32BE, utf8Encode, writeU16BE } from '../base/bytes.ts';
import { type ErrorCode, NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { IK_FIRST_BYTES, IK_SECOND_BYTES, Ik } from '../noise/ik.ts';
import { CAPABILITY_VERSION } from './message.ts';
import {
  HEADER_BYTES,
  type PlainSource,
  prologueText,
  RecordStream,
  STREAM_DEAD,
  TYPE_ERROR,
  TYPE_INITIATION,
  TYPE_RESPONSE,
} from './record-stream.ts';
import { HeadReader, INITIATION_BYTES, upgradeRequest } from './upgrade.ts';

const INITIATION_HEADER_BYTES = 5;
const RESPONSE_BYTES = HEADER_BYTES + IK_SECOND_BYTES;
/** Longest text of a refusal that is shown. */
const MAX_REFUSAL_BYTES = 256;
/** FF FF FF 'T' 'S': no frame of HTTP/2 begins so. */
const EARLY_MAGIC = Object.freeze([0xff, 0xff, 0xff, 0x54, 0x53]);
const EARLY_HEADER_BYTES = 9;

/** What a {@link ControlTransport} may hold, and how long a handshake may take. */
export interface TransportLimits {
  /** The head of the server's HTTP answer. */
  readonly headBytes: number;
  /** The early payload, without its header. */
  readonly earlyBytes: number;
  /** From construction to the keys. */
  readonly handshakeTimeoutMs: number;
}

/** For microcontrollers. */
export const TRANSPORT_LIMITS_SMALL: TransportLimits = Object.freeze({
  headBytes: 2048,
  earlyBytes: 1024,
  handshakeTimeoutMs: 10_000,
});
/** For everything else. */
export const TRANSPORT_LIMITS_LARGE: TransportLimits = Object.freeze({
  headBytes: 8192,
  earlyBytes: 16_384,
  handshakeTimeoutMs: 10_000,
});

/** What a control connection needs. */
export interface ControlTransportOptions {
  readonly nowMs: number;
  readonly suite: CryptoSuite;
  readonly random: (out: Uint8Array) => void;
  /** The device's own machine key; read during construction and the handshake. */
  readonly machineKey: SecretKey;
  /** The coordinator's key, as GET /key gave it: 32 bytes. */
  readonly serverKey: Uint8Array;
  /** For the Host header: visible ASCII. */
  readonly host: string;
  /** `/ts2021` unless told. */
  readonly path?: string;
  /** The capability version to announce: 1 to 65535, {@link CAPABILITY_VERSION} unless told. */
  readonly version?: number;
  readonly limits?: Partial<TransportLimits>;
}

/** What is needed until the stream inside has begun, 2 KB on XS. */
interface Handshake {
  readonly noise: Ik;
  readonly machineKey: SecretKey;
  readonly head: HeadReader;
  /** The server's message: `[0, messageBytes)` of it have come. */
  readonly message: Uint8Array;
  messageBytes: number;
  /** What has come of an early payload, its header included, and how long it may be without that. */
  early: Uint8Array;
  readonly earlyBytes: number;
}

/** One control connection, client side. */
export class ControlTransport {
  /** Why it is dead. */
  error: NetError | undefined = undefined;
  readonly #records: RecordStream;
  #handshake: Handshake | undefined;
  /** What is left to be sent of the request. */
  #request: Uint8Array;
  #phase: 'head' | 'response' | 'early' | 'open' | 'dead' = 'head';
  #isEnded = false;
  #deadlineMs: number;

  constructor(options: ControlTransportOptions) {
    const { nowMs, suite, machineKey, host, path = '/ts2021', version = CAPABILITY_VERSION } = options;
    if (!Number.isInteger(version) || version < 1 || version > 65_535)
      throw new RangeError(`"version" expected 1 to 65535, got ${version}`);
    if (options.serverKey.length !== 32)
      throw new RangeError(`"serverKey" expected 32 bytes, got ${options.serverKey.length}`);
    const { headBytes, earlyBytes, handshakeTimeoutMs } = { ...TRANSPORT_LIMITS_LARGE, ...options.limits };
    this.#records = new RecordStream(suite);
    this.#deadlineMs = nowMs + handshakeTimeoutMs;
    const noise = new Ik(suite, utf8Encode(prologueText(version)), options.serverKey);
    const head = new HeadReader(headBytes);
    const message = new Uint8Array(HEADER_BYTES + MAX_REFUSAL_BYTES);
    this.#handshake = { noise, machineKey, head, message, messageBytes: 0, early: NO_BYTES, earlyBytes };
    const initiation = new Uint8Array(INITIATION_BYTES);
    writeU16BE(initiation, 0, version);
    initiation[2] = TYPE_INITIATION;
    writeU16BE(initiation, 3, IK_FIRST_BYTES);
    const [ephemeral, publicKey] = [new Uint8Array(32), new Uint8Array(32)];
    options.random(ephemeral);
    suite.publicKey(publicKey, machineKey.bytes);
    const first = initiation.subarray(INITIATION_HEADER_BYTES);
    const result = noise.writeFirst(first, ephemeral, machineKey.bytes, publicKey, NO_BYTES);
    ephemeral.fill(0);
    this.#request = upgradeRequest(host, path, initiation);
    if (result !== 'ok') this.#fail('ERR_PROTOCOL', 'the control server’s key is not a usable key'); // CHECK: ts2021-server-key
  }

  /** Whether the handshake is over and the stream inside is usable. */
  get isEstablished(): boolean {
    return this.#phase === 'early' || this.#phase === 'open';
  }

  /** Bytes of memory that it holds for what is under way, the handshake aside. */
  get heldBytes(): number {
    return this.#request.length + this.#records.heldBytes;
  }

  /**
   * Bytes of the socket, `buf[start, end)`, lent for the call, in which records are opened in place. Returns where it
   * stopped: at `end`, or behind a record with plaintext, which {@link takePlain} gives before this is called again; or
   * {@link STREAM_DEAD}, then `error` says why.
   */
  handleBytes(_nowMs: number, buf: Uint8Array, start: number, end: number): number {
    if (this.#phase === 'dead') return STREAM_DEAD;
    if (this.#isEnded) return this.#fail('ERR_PROTOCOL', 'the control connection goes on after its end');
    let at = start;
    if (this.#phase === 'head') at = this.#handleHead(buf, at, end);
    if (this.#phase === 'response') at = this.#handleResponse(buf, at, end);
    const records = this.#records;
    while (this.isEstablished && at < end) {
      at = records.handleBytes(buf, at, end);
      if (at < 0) return this.#fail('ERR_PROTOCOL', `the control server sent ${records.problem}`);
      if (this.#phase === 'early' && records.plain !== undefined) this.#handleEarly(this.#handshake!, records.plain);
      if (records.plain !== undefined) break;
    }
    return this.error === undefined ? at : STREAM_DEAD;
  }

  /** The plaintext of the record that {@link handleBytes} stopped behind, lent until the next call; once. */
  takePlain(): Uint8Array | undefined {
    const { plain } = this.#records;
    this.#records.plain = undefined;
    return plain;
  }

  /** The socket's stream has ended. What has arrived whole can still be fetched; anything cut off is an error. */
  handleEnd(_nowMs: number): void {
    if (this.#phase === 'dead' || this.#isEnded) return;
    this.#isEnded = true;
    const isCut = this.#phase !== 'open' || this.#records.partBytes > 0;
    if (isCut) this.#cutOff(); // CHECK: ts2021-cut-off
  }

  /**
   * Writes what is to go to the socket into `out[start, end)`, with what `plain` has for the stream inside once the
   * handshake is over; returns the bytes written, 0 for nothing now.
   */
  pollBytes(plain: PlainSource, out: Uint8Array, start: number, end: number): number {
    if (this.#phase === 'dead') return 0;
    const written = Math.min(end - start, this.#request.length);
    copyBytes(out, start, this.#request, 0, written);
    if (written > 0) this.#request = written < this.#request.length ? this.#request.subarray(written) : NO_BYTES;
    const sent = this.#records.pollBytes(plain, out, start + written, end);
    if (this.#records.problem !== undefined) this.#fail('ERR_PROTOCOL', this.#records.problem);
    return written + sent;
  }

  /** Time has passed. */
  handleTimeout(nowMs: number): void {
    if (nowMs < this.nextTimeout()) return;
    this.#fail('ERR_TIMED_OUT', 'the control server did not finish the handshake in time');
  }

  /** When the handshake must be over; Infinity afterwards. */
  nextTimeout(): number {
    return this.#deadlineMs;
  }

  /** Ends it from this side: keys and queues are erased, nothing more is sent. */
  close(): void {
    this.#die(undefined);
  }

  #handleHead(buf: Uint8Array, start: number, end: number): number {
    const { head } = this.#handshake!;
    const isComplete = head.read(buf, start, end);
    if (isComplete === undefined) return end;
    this.#phase = 'response';
    if (!isComplete) this.#fail('ERR_PROTOCOL', 'the control server does not answer in HTTP'); // CHECK: ts2021-head
    if (isComplete && !head.isUpgraded) this.#refuse(head.status); // CHECK: ts2021-upgrade
    return head.offset;
  }

  #refuse(status: number): void {
    const text = `the control server answered ${status} instead of upgrading; check its address and any proxy before it`;
    this.#fail('ERR_CONNECTION_REFUSED', text);
  }

  #handleResponse(buf: Uint8Array, start: number, end: number): number {
    const handshake = this.#handshake!;
    const { message } = handshake;
    let at = start;
    while (at < end && this.#phase === 'response') {
      const isHeader = handshake.messageBytes < HEADER_BYTES;
      const wanted = isHeader ? HEADER_BYTES : bodyEnd(message);
      const take = Math.min(wanted - handshake.messageBytes, end - at);
      copyBytes(message, handshake.messageBytes, buf, at, at + take);
      handshake.messageBytes += take;
      at += take;
      if (handshake.messageBytes < wanted) continue;
      if (isHeader) this.#checkResponseHeader(message);
      else if (message[0] === TYPE_RESPONSE) this.#finishHandshake(handshake);
      else this.#showRefusal(message);
    }
    return at;
  }

  #checkResponseHeader(message: Uint8Array): void {
    const [type, length] = [message[0], readU16BE(message, 1)];
    const isResponse = type === TYPE_RESPONSE && length === IK_SECOND_BYTES;
    const isError = type === TYPE_ERROR;
    const isOther = !isResponse && !isError;
    if (isOther) return this.#refuseAnswer(); // CHECK: ts2021-response-header
    if (length === 0) this.#showRefusal(message);
  }

  /** The text is not authenticated: only what is printable is repeated. */
  #showRefusal(message: Uint8Array): void {
    const text = String.fromCharCode(...message.subarray(HEADER_BYTES, bodyEnd(message)));
    const visible = text.replaceAll(/[^\x20-\x7e]/g, '?');
    this.#fail(
      'ERR_CONNECTION_REFUSED',
      `the control server refused the handshake: ${visible || 'it does not say why'}`,
    );
  }

  #finishHandshake({ noise, machineKey, message }: Handshake): void {
    const second = message.subarray(HEADER_BYTES, RESPONSE_BYTES);
    const result = noise.readSecond(new Uint8Array(0), second, machineKey.bytes);
    if (result !== 'ok') return this.#refuteKey(); // CHECK: ts2021-response
    const [sendKey, receiveKey] = [new Uint8Array(32), new Uint8Array(32)];
    noise.split(sendKey, receiveKey);
    this.#records.start(sendKey, receiveKey);
    sendKey.fill(0);
    receiveKey.fill(0);
    noise.wipe();
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#phase = 'early';
  }

  /** Nothing of the stream is given out before it is clear whether an early payload stands in front of it. */
  #handleEarly(handshake: Handshake, plain: Uint8Array): void {
    const early = concatBytes(handshake.early, plain);
    handshake.early = early;
    this.#records.plain = undefined;
    for (let i = 0; i < Math.min(early.length, EARLY_MAGIC.length); i++)
      if (early[i] !== EARLY_MAGIC[i]) return this.#begin(early, 0);
    if (early.length < EARLY_HEADER_BYTES) return;
    const payloadBytes = readU32BE(early, EARLY_MAGIC.length);
    if (payloadBytes > handshake.earlyBytes) return this.#refuseEarly(); // CHECK: ts2021-early-limit
    const end = EARLY_HEADER_BYTES + payloadBytes;
    if (early.length < end) return;
    this.#begin(early, end);
  }

  /** The stream inside begins with `early[start, …)`. */
  #begin(early: Uint8Array, start: number): void {
    this.#phase = 'open';
    this.#handshake = undefined;
    if (start < early.length) this.#records.plain = early.subarray(start);
  }

  #refuseAnswer(): void {
    this.#fail('ERR_PROTOCOL', 'the control server does not speak ts2021');
  }

  #refuteKey(): void {
    this.#fail('ERR_PROTOCOL', 'the control server does not have the key that it published');
  }

  #refuseEarly(): void {
    this.#fail('ERR_LIMIT', 'the early payload of the control server is too large');
  }

  #cutOff(): void {
    this.#fail('ERR_CONNECTION_RESET', 'the control server closed the connection too early');
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
    this.#handshake?.noise.wipe();
    this.#handshake = undefined;
    this.#request = NO_BYTES;
    this.#records.fail('closed');
  }
}

/** Where a message ends whose header has come, or what of it is kept. */
function bodyEnd(message: Uint8Array): number {
  return HEADER_BYTES + Math.min(readU16BE(message, 1), MAX_REFUSAL_BYTES);
}
