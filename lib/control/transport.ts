/**
 * The client's side of ts2021, the way to a coordinator, over any byte stream (TLS or not: Noise proves who is there):
 * an HTTP/1.1 upgrade whose request already carries Noise IK's first message, then encrypted records with a byte stream
 * inside, on which HTTP/2 runs. The server may put an early payload in front of that stream.
 *
 * Feed the socket's bytes to {@link ControlTransport.handleBytes}, at most `receiveRoom` of them, and send what
 * {@link ControlTransport.pollBytes} writes; `handlePlain` and `pollPlain` are the stream inside. A transport that is
 * dead stays dead.
 * Left out: fetching the server's key (GET /key), the choice of port and TLS, the WebSocket variant for browsers.
 */
import { copyBytes, readU16BE, readU32BE, utf8Encode, writeU16BE } from '../base/bytes.ts';
import { type ErrorCode, NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { IK_FIRST_BYTES, IK_SECOND_BYTES, Ik } from '../noise/ik.ts';
import { ByteFifo } from './byte-fifo.ts';
import { CAPABILITY_VERSION } from './message.ts';
import {
  HEADER_BYTES,
  prologueText,
  RecordStream,
  TRANSPORT_LIMITS_LARGE,
  type TransportLimits,
  TYPE_ERROR,
  TYPE_INITIATION,
  TYPE_RESPONSE,
} from './record-stream.ts';
import { HeadReader, INITIATION_BYTES, upgradeRequest } from './upgrade.ts';

/** What `handleBytes` returns when the stream is dead. */
export const STREAM_DEAD = -1;

const INITIATION_HEADER_BYTES = 5;
const RESPONSE_BYTES = HEADER_BYTES + IK_SECOND_BYTES;
/** Longest text of a refusal that is shown. */
const MAX_REFUSAL_BYTES = 256;
/** FF FF FF 'T' 'S': no frame of HTTP/2 begins so. */
const EARLY_MAGIC = Object.freeze([0xff, 0xff, 0xff, 0x54, 0x53]);
const EARLY_HEADER_BYTES = 9;

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

/** What happens on a control connection. */
export type ControlTransportEvent =
  /** The server has proved who it is; records flow. `hash` binds to this handshake (32 bytes). */
  | { readonly type: 'established'; readonly hash: Uint8Array }
  /** JSON that the server sent ahead of the stream; bytes, not checked. */
  | { readonly type: 'early-payload'; readonly payload: Uint8Array }
  /** The server ended the stream, between two records; what has arrived can still be fetched. */
  | { readonly type: 'ended' }
  /** Dead; no event follows. Undefined: closed by this side. */
  | { readonly type: 'closed'; readonly error: NetError | undefined };

/** What is needed until there are keys, 2 KB on XS. */
interface Handshake {
  readonly noise: Ik;
  readonly machineKey: SecretKey;
  readonly head: HeadReader;
  /** The server's message: `[0, messageBytes)` of it have come. */
  readonly message: Uint8Array;
  messageBytes: number;
}

/** One control connection, client side. */
export class ControlTransport {
  /** Why it is dead. */
  error: NetError | undefined = undefined;
  /** Status of the server's HTTP answer, 0 before it. */
  status = 0;
  readonly #records: RecordStream;
  readonly #limits: TransportLimits;
  #handshake: Handshake | undefined;
  readonly #request: ByteFifo;
  readonly #events: ControlTransportEvent[] = [];
  #phase: 'head' | 'response' | 'early' | 'open' | 'dead' = 'head';
  #isEnded = false;
  #deadlineMs: number;

  constructor(options: ControlTransportOptions) {
    const { nowMs, suite, machineKey, host, path = '/ts2021', version = CAPABILITY_VERSION } = options;
    if (!Number.isInteger(version) || version < 1 || version > 65_535)
      throw new RangeError(`"version" expected 1 to 65535, got ${version}`);
    if (options.serverKey.length !== 32)
      throw new RangeError(`"serverKey" expected 32 bytes, got ${options.serverKey.length}`);
    this.#limits = { ...TRANSPORT_LIMITS_LARGE, ...options.limits };
    this.#records = new RecordStream(suite, this.#limits);
    this.#deadlineMs = nowMs + this.#limits.handshakeTimeoutMs;
    const noise = new Ik(suite, utf8Encode(prologueText(version)), options.serverKey);
    const head = new HeadReader(this.#limits.headBytes);
    const message = new Uint8Array(HEADER_BYTES + MAX_REFUSAL_BYTES);
    this.#handshake = { noise, machineKey, head, message, messageBytes: 0 };
    const initiation = new Uint8Array(INITIATION_BYTES);
    writeU16BE(initiation, 0, version);
    initiation[2] = TYPE_INITIATION;
    writeU16BE(initiation, 3, IK_FIRST_BYTES);
    const [ephemeral, publicKey] = [new Uint8Array(32), new Uint8Array(32)];
    options.random(ephemeral);
    suite.publicKey(publicKey, machineKey.bytes);
    const first = initiation.subarray(INITIATION_HEADER_BYTES);
    const result = noise.writeFirst(first, ephemeral, machineKey.bytes, publicKey, new Uint8Array(0));
    ephemeral.fill(0);
    const request = upgradeRequest(host, path, initiation);
    this.#request = new ByteFifo(request.length, 0);
    this.#request.push(request, 0, request.length);
    if (result !== 'ok') this.#fail('ERR_PROTOCOL', 'the control server’s key is not a usable key'); // CHECK: ts2021-server-key
  }

  /** Whether the handshake is over and the stream inside is usable. */
  get isEstablished(): boolean {
    return this.#phase === 'early' || this.#phase === 'open';
  }

  /** How many bytes {@link handleBytes} takes now; it grows with `pollPlain`. */
  get receiveRoom(): number {
    return this.#phase === 'dead' ? 0 : this.#records.receiveRoom;
  }

  /** Plaintext that {@link handlePlain} takes now. */
  get sendRoom(): number {
    return this.#phase === 'dead' ? 0 : this.#records.sendRoom;
  }

  /**
   * Bytes of the socket, `buf[start, end)`, lent for the call. All are taken: RangeError for more than
   * {@link receiveRoom} on a living stream. Returns 0, or {@link STREAM_DEAD}, then `error` says why.
   */
  handleBytes(_nowMs: number, buf: Uint8Array, start: number, end: number): number {
    if (this.#phase === 'dead') return STREAM_DEAD;
    if (this.#isEnded) return this.#fail('ERR_PROTOCOL', 'the control connection goes on after its end');
    if (end - start > this.receiveRoom)
      throw new RangeError(`"buf" expected at most ${this.receiveRoom} bytes, got ${end - start}`);
    let at = start;
    if (this.#phase === 'head') at = this.#handleHead(buf, at, end);
    if (this.#phase === 'response') at = this.#handleResponse(buf, at, end);
    if (!this.isEstablished) return this.error === undefined ? 0 : STREAM_DEAD;
    const isFine = this.#records.handleBytes(buf, at, end);
    if (!isFine) return this.#fail('ERR_PROTOCOL', `the control server sent ${this.#records.problem}`);
    if (this.#phase === 'early') this.#handleEarly();
    return this.error === undefined ? 0 : STREAM_DEAD;
  }

  /** The socket's stream has ended. What has arrived whole can still be fetched; anything cut off is an error. */
  handleEnd(_nowMs: number): void {
    if (this.#phase === 'dead' || this.#isEnded) return;
    this.#isEnded = true;
    const isCut = this.#phase !== 'open' || this.#records.isMidRecord;
    if (isCut) return this.#cutOff(); // CHECK: ts2021-cut-off
    this.#events.push({ type: 'ended' });
  }

  /** Writes what is to go to the socket into `out[start, end)`; returns the bytes written, 0 for nothing now. */
  pollBytes(out: Uint8Array, start: number, end: number): number {
    if (this.#phase === 'dead') return 0;
    const written = this.#request.shift(out, start, end);
    const sent = this.#records.pollBytes(out, start + written, end);
    if (this.#records.problem !== undefined) this.#fail('ERR_PROTOCOL', this.#records.problem);
    return written + sent;
  }

  /** Takes bytes of the stream inside, also before the handshake is over; returns how many fitted. */
  handlePlain(_nowMs: number, buf: Uint8Array, start: number, end: number): number {
    return this.#phase === 'dead' ? 0 : this.#records.handlePlain(buf, start, end);
  }

  /** Moves bytes of the stream inside to `out[start, end)`; returns how many, 0 for nothing now. */
  pollPlain(out: Uint8Array, start: number, end: number): number {
    return this.#phase === 'open' ? this.#records.plain.shift(out, start, end) : 0;
  }

  /** The next event, or undefined. */
  pollEvent(): ControlTransportEvent | undefined {
    return this.#events.shift();
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
    this.status = head.status;
    this.#phase = 'response';
    if (!isComplete) this.#fail('ERR_PROTOCOL', 'the control server does not answer in HTTP'); // CHECK: ts2021-head
    if (isComplete && !head.isUpgraded) this.#refuse(); // CHECK: ts2021-upgrade
    return head.offset;
  }

  #refuse(): void {
    const text = `the control server answered ${this.status} instead of upgrading; check its address and any proxy before it`;
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
    this.#events.push({ type: 'established', hash: noise.handshakeHash() });
    noise.wipe();
    this.#handshake = undefined;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#phase = 'early';
  }

  /** Nothing of the stream is given out before it is clear whether an early payload stands in front of it. */
  #handleEarly(): void {
    const { plain } = this.#records;
    const { buf, start, length } = plain;
    for (let i = 0; i < Math.min(length, EARLY_MAGIC.length); i++) {
      if (buf[start + i] === EARLY_MAGIC[i]) continue;
      this.#phase = 'open';
      return;
    }
    if (length < EARLY_HEADER_BYTES) return;
    const payloadBytes = readU32BE(buf, start + EARLY_MAGIC.length);
    if (payloadBytes > this.#limits.earlyBytes) return this.#refuseEarly(); // CHECK: ts2021-early-limit
    if (length < EARLY_HEADER_BYTES + payloadBytes) return;
    const payload = buf.slice(start + EARLY_HEADER_BYTES, start + EARLY_HEADER_BYTES + payloadBytes);
    plain.drop(EARLY_HEADER_BYTES + payloadBytes);
    this.#events.push({ type: 'early-payload', payload });
    this.#phase = 'open';
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
    this.#request.wipe();
    this.#records.fail('closed');
    this.#events.push({ type: 'closed', error });
  }
}

/** Where a message ends whose header has come, or what of it is kept. */
function bodyEnd(message: Uint8Array): number {
  return HEADER_BYTES + Math.min(readU16BE(message, 1), MAX_REFUSAL_BYTES);
}
