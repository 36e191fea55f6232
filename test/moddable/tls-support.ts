/** TLS 1.2 handshakes of a server, written by hand; and a TLSSocket that seals nothing. */
import { concatBytes, utf8Encode, writeU16BE } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { TcpIo, TlsIo, TlsIoOptions } from '../../targets/moddable/io.ts';

/** A record of a type. */
export function record(type: number, body: Uint8Array): Uint8Array {
  const header = Uint8Array.of(type, 3, 3, 0, 0);
  writeU16BE(header, 3, body.length);
  return concatBytes(header, body);
}

/** A handshake message. */
export function message(type: number, body: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(type, body.length >> 16, body.length >> 8, body.length), body);
}

/** ServerHello with a suite and a session id of some length. */
export function hello(suite: number, sessionBytes = 32): Uint8Array {
  const body = new Uint8Array(2 + 32 + 1 + sessionBytes + 3);
  body.set([3, 3]);
  body[34] = sessionBytes;
  writeU16BE(body, 35 + sessionBytes, suite);
  return message(2, body);
}

/** Certificate with any number of certificates. */
export function certificates(...list: readonly Uint8Array[]): Uint8Array {
  const sized = list.map(one => concatBytes(Uint8Array.of(one.length >> 16, one.length >> 8, one.length), one));
  const all = concatBytes(...sized);
  return message(11, concatBytes(Uint8Array.of(all.length >> 16, all.length >> 8, all.length), all));
}

/** ServerKeyExchange over a named curve with a hash, a signature algorithm and a signature. */
export function keyExchange(hash = 4, algorithm = 3, signatureBytes = 71, curveType = 3): Uint8Array {
  const body = new Uint8Array(4 + 65 + 4 + signatureBytes);
  body.set([curveType, 0, 23, 65]);
  body.set([hash, algorithm, signatureBytes >> 8, signatureBytes], 69);
  return message(12, body);
}

/** ServerHelloDone. */
export const DONE = message(14, new Uint8Array(0));
/** ChangeCipherSpec, as a record. */
export const SEALED = record(20, Uint8Array.of(1));
/** Any bytes do for a certificate that is pinned whole. */
export const LEAF = utf8Encode('a certificate, as far as a pin is concerned'.repeat(20));

/** A digest for pins; SHA-256 on a board. */
export function digest(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(32);
  createNobleSuite().hash(out, bytes);
  return out;
}

/** A whole handshake of a server, each message in a record of its own. */
export function handshake(...messages: readonly Uint8Array[]): Uint8Array {
  return concatBytes(...messages.map(body => record(22, body)), SEALED);
}

/** The usual messages. */
export function usual(leaf = LEAF): Uint8Array[] {
  return [hello(0xc02b), certificates(leaf), keyExchange(), DONE];
}

/**
 * As Moddable's TLSSocket, but for the secrets: it reads records from the TCP class that it is given, sends its own
 * ChangeCipherSpec when the server's has come (or when it sees an alert: then it believes that it is done), and passes on
 * what follows as it is. A record of type 99 makes it throw, as a bad signature would.
 */
export class PlainTls implements TcpIo {
  static readonly seen: TlsIoOptions[] = [];
  readonly #options: TlsIoOptions;
  readonly #socket: TcpIo;
  #bytes = new Uint8Array(0);
  #isReady = false;
  #room = 0;

  constructor(options: TlsIoOptions) {
    PlainTls.seen.push(options);
    this.#options = options;
    const Io = options.TCP.io as new (options: object) => TcpIo;
    this.#socket = new Io({
      ...options,
      onReadable: (count: number) => this.#handle(count),
      onWritable: (count: number) => {
        this.#room = count;
        if (this.#isReady) options.onWritable?.(count);
      },
      onError: () => options.onError?.(),
    });
  }

  #handle(count: number): void {
    if (this.#isReady) return this.#options.onReadable?.(count);
    const got = new Uint8Array(count);
    this.#socket.read(got);
    this.#bytes = concatBytes(this.#bytes, got) as Uint8Array<ArrayBuffer>;
    while (this.#bytes.length >= 5 && this.#bytes.length >= 5 + this.#bytes[4]! + (this.#bytes[3]! << 8)) {
      const type = this.#bytes[0]!;
      this.#bytes = this.#bytes.slice(5 + this.#bytes[4]! + (this.#bytes[3]! << 8));
      if (type === 99) throw new Error('bad signature');
      if (type === 20) this.#socket.write(SEALED);
      if (type !== 20 && type !== 21) continue;
      this.#isReady = true;
      return this.#options.onWritable?.(this.#room);
    }
  }

  read(count?: number): ArrayBuffer | undefined;
  read(into: Uint8Array): number | undefined;
  read(what?: number | Uint8Array): ArrayBuffer | number | undefined {
    return this.#socket.read(what as number) as ArrayBuffer | undefined;
  }

  write(buffer: Uint8Array): number | undefined {
    return this.#socket.write(buffer);
  }

  close(): void {
    this.#socket.close();
  }
}

/** For hosts of tests. */
export const tls: TlsIo = Object.freeze({ TLSSocket: PlainTls, sha256: digest });
