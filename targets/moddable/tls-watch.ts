/**
 * Watches the TLS 1.2 handshake that Moddable's TLSSocket conducts, and decides whether its other end is the pinned one.
 *
 * Moddable's TLS (8.2.3, `modules/crypt/ssl`, as read in its source) does not authenticate a server by itself. It skips
 * the check of the key exchange when the server calls its signature "anonymous"; it accepts a forged certificate that
 * is followed by a genuine intermediate one; it keeps no order of messages; and an alert in clear text makes it call
 * the handshake done. So this file reads the server's records as they pass to TLSSocket, in clear text until
 * ChangeCipherSpec, and demands exactly: ServerHello with an ECDHE suite, Certificate, [CertificateStatus],
 * ServerKeyExchange with a real signature, [CertificateRequest], ServerHelloDone, ChangeCipherSpec (RFC 5246 §7.3,
 * RFC 8422 §5). The signature itself is computed by TLSSocket, over the certificate that is compared here.
 *
 * Left out: TLS 1.3, RSA and DHE key exchange, session resumption (it shows no certificate), messages that span records
 * (TLSSocket cannot read them either).
 */
import { equalBytes, readU16BE } from '../../lib/base/bytes.ts';
import { subjectPublicKeyInfo } from './certificate.ts';

const RECORD_HEADER_BYTES = 5;
/** RFC 5246 §6.2.1: 2^14, and nothing is compressed or sealed yet. */
const MAX_RECORD_BYTES = 16_384;
const RECORD_CHANGE_CIPHER_SPEC = 20;
const RECORD_HANDSHAKE = 22;

const SERVER_HELLO = 2;
const CERTIFICATE = 11;
const SERVER_KEY_EXCHANGE = 12;
const CERTIFICATE_REQUEST = 13;
const SERVER_HELLO_DONE = 14;
const CERTIFICATE_STATUS = 22;

/** Which messages may follow which. */
const FOLLOWERS: Readonly<Record<number, readonly number[]>> = Object.freeze({
  0: Object.freeze([SERVER_HELLO]),
  [SERVER_HELLO]: Object.freeze([CERTIFICATE]),
  [CERTIFICATE]: Object.freeze([CERTIFICATE_STATUS, SERVER_KEY_EXCHANGE]),
  [CERTIFICATE_STATUS]: Object.freeze([SERVER_KEY_EXCHANGE]),
  [SERVER_KEY_EXCHANGE]: Object.freeze([CERTIFICATE_REQUEST, SERVER_HELLO_DONE]),
  [CERTIFICATE_REQUEST]: Object.freeze([SERVER_HELLO_DONE]),
  [SERVER_HELLO_DONE]: Object.freeze([]),
});

/** ECDHE_RSA with AES-128-CBC-SHA256 and AES-128-GCM, ECDHE_ECDSA with AES-128-GCM: what TLSSocket has of ECDHE. */
const SUITES: readonly number[] = Object.freeze([0xc027, 0xc02f, 0xc02b]);
const NAMED_CURVE = 3;
/** SHA-256, SHA-384, SHA-512; RSA, ECDSA (RFC 5246 §7.4.1.4.1). */
const HASHES: readonly number[] = Object.freeze([4, 5, 6]);
const SIGNATURES: readonly number[] = Object.freeze([1, 3]);
/** An ECDSA signature over P-256 has about 70. */
const LEAST_SIGNATURE_BYTES = 64;

/** What is demanded of a certificate. */
export interface Pins {
  /** SHA-256 of the whole certificate. */
  readonly certificate?: Uint8Array;
  /** SHA-256 of its public key (SubjectPublicKeyInfo); any of these. */
  readonly publicKeys?: readonly Uint8Array[];
}

/** The watcher of one connection. */
export class TlsWatch {
  readonly #pins: Pins;
  readonly #sha256: (bytes: Uint8Array) => Uint8Array;
  #record = new Uint8Array(RECORD_HEADER_BYTES);
  #length = 0;
  #last = 0;
  #problem: string | undefined;
  #isServerSealed = false;
  #isClientSealed = false;

  /** With no pins at all the certificate is TLSSocket's to judge; the handshake is held to its order all the same. */
  constructor(pins: Pins, sha256: (bytes: Uint8Array) => Uint8Array) {
    this.#pins = pins;
    this.#sha256 = sha256;
  }

  /** Why this connection must not be used; undefined as long as there is no reason. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Whether both sides have gone over to sealed records, the server after all that is demanded of it. */
  get isSettled(): boolean {
    return this.#isServerSealed && this.#isClientSealed && this.#problem === undefined;
  }

  /** The connection broke off, or TLSSocket threw. */
  broke(problem: string): void {
    this.#problem ??= problem;
  }

  /** What this side sends: one record per call. */
  sent(bytes: Uint8Array): void {
    if (bytes[0] === RECORD_CHANGE_CIPHER_SPEC) this.#isClientSealed = true;
  }

  /** Bytes that the server sent, in any pieces. Nothing is kept of what comes after ChangeCipherSpec. */
  received(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.#isServerSealed && this.#problem === undefined; ) {
      const count = Math.min(this.#record.length - this.#length, bytes.length - at);
      this.#record.set(bytes.subarray(at, at + count), this.#length);
      at += count;
      this.#length += count;
      if (this.#length === this.#record.length) this.#advance();
    }
  }

  /** A header is complete: room for its record. Or the record is. */
  #advance(): void {
    const length = readU16BE(this.#record, 3);
    if (length === 0 || length > MAX_RECORD_BYTES) return this.broke('a record has an impossible length');
    const end = RECORD_HEADER_BYTES + length;
    if (this.#record.length < end) {
      const header = this.#record;
      this.#record = new Uint8Array(end);
      this.#record.set(header);
      return;
    }
    const record = this.#record;
    this.#record = new Uint8Array(RECORD_HEADER_BYTES);
    this.#length = 0;
    this.#handleRecord(record[0]!, record.subarray(RECORD_HEADER_BYTES));
  }

  #handleRecord(type: number, body: Uint8Array): void {
    if (type === RECORD_CHANGE_CIPHER_SPEC) {
      if (this.#last !== SERVER_HELLO_DONE) return this.broke('the key exchange was cut short'); // CHECK: tls-cut-short
      this.#isServerSealed = true;
      return;
    }
    // An alert in clear text makes TLSSocket believe that the handshake is done.
    if (type !== RECORD_HANDSHAKE) return this.broke('something else came during the handshake'); // CHECK: tls-clear-record
    for (let at = 0; at < body.length && this.#problem === undefined; ) {
      const start = at + 4;
      const end = start + (body[at + 1]! << 16) + readU16BE(body, at + 2);
      if (!(end <= body.length)) return this.broke('a message does not end with its record'); // CHECK: tls-spanning-message
      this.#handleMessage(body[at]!, body.subarray(start, end));
      at = end;
    }
  }

  #handleMessage(type: number, body: Uint8Array): void {
    const isDue = FOLLOWERS[this.#last]!.includes(type);
    if (!isDue) return this.broke('its handshake messages are out of order'); // CHECK: tls-message-order
    this.#last = type;
    if (type === SERVER_HELLO) this.#handleHello(body);
    else if (type === CERTIFICATE) this.#handleCertificate(body);
    else if (type === SERVER_KEY_EXCHANGE) this.#handleKeyExchange(body);
  }

  /** Version, random, session id, suite. */
  #handleHello(body: Uint8Array): void {
    const at = 35 + (body[34] ?? 0);
    const suite = at + 2 <= body.length ? readU16BE(body, at) : 0;
    if (!SUITES.includes(suite)) this.broke('it chose another key exchange than ECDHE'); // CHECK: tls-suite
  }

  #handleCertificate(body: Uint8Array): void {
    const length = body.length < 6 ? 0 : (body[3]! << 16) | readU16BE(body, 4);
    if (length === 0 || 6 + length > body.length) return this.broke('it showed no certificate');
    const leaf = body.subarray(6, 6 + length);
    const { certificate, publicKeys } = this.#pins;
    const isPinned = certificate === undefined || equalBytes(this.#sha256(leaf), certificate);
    if (!isPinned) return this.broke('its certificate is not the one that is pinned'); // CHECK: tls-pin
    const key = publicKeys === undefined ? undefined : subjectPublicKeyInfo(leaf);
    const digest = key === undefined ? undefined : this.#sha256(key);
    const isKnown = publicKeys?.some(pin => digest !== undefined && equalBytes(pin, digest)) ?? true;
    if (!isKnown) this.broke('its public key is none of those that are pinned'); // CHECK: tls-key-pin
  }

  /** Curve type, curve, point, then hash, signature algorithm and signature (RFC 8422 §5.4). */
  #handleKeyExchange(body: Uint8Array): void {
    const at = 4 + (body[3] ?? 0);
    const bytes = at + 4 <= body.length ? readU16BE(body, at + 2) : 0;
    const isNamed = body[0] === NAMED_CURVE && HASHES.includes(body[at]!) && SIGNATURES.includes(body[at + 1]!);
    const isSigned = isNamed && bytes >= LEAST_SIGNATURE_BYTES && at + 4 + bytes === body.length;
    if (!isSigned) this.broke('its key exchange is not signed'); // CHECK: tls-signed-key-exchange
  }
}
