/** TLS of Node over a connection inside the tunnel, as a byte stream again: what lets `fetch` speak `https:`. */
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect } from 'node:tls';
import type { Endpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { ByteStream } from '../../lib/mote/byte-stream.ts';
import { MoteSocket } from './socket.ts';
import { fromSocketError } from './socket-errors.ts';

/** A Node stream as a {@link ByteStream}. It takes over the stream's `error` event. */
export class DuplexStream implements ByteStream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly closed: Promise<void>;
  readonly #duplex: Duplex;
  #error: NetError | undefined;
  #wake: () => void = () => undefined;

  /** `ends` are the addresses to show. */
  constructor(duplex: Duplex, ends: { readonly local: Endpoint; readonly remote: Endpoint }) {
    this.#duplex = duplex;
    this.local = ends.local;
    this.remote = ends.remote;
    duplex.on('error', error => {
      this.#error ??= fromSocketError(error);
    });
    duplex.on('readable', () => this.#wake());
    duplex.on('end', () => this.#wake());
    this.closed = new Promise(resolve => {
      duplex.once('close', () => {
        this.#wake();
        resolve();
      });
    });
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#duplex.read() as Buffer | null;
      if (chunk !== null) return chunk;
      if (this.#duplex.readableEnded) return undefined;
      if (this.#duplex.destroyed) throw this.#error ?? new NetError('ERR_CLOSED', 'the connection is closed');
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#duplex.write(data, error => (error == null ? resolve() : reject(this.#error ?? fromSocketError(error))));
    });
  }

  end(): Promise<void> {
    return new Promise(resolve => {
      if (this.#duplex.destroyed) return resolve();
      this.#duplex.end(resolve);
    });
  }

  abort(): void {
    this.#duplex.destroy(new NetError('ERR_ABORTED', 'the connection was aborted by this side'));
  }

  async close(): Promise<void> {
    await this.end();
    this.#duplex.resume();
    return this.closed;
  }
}

/**
 * Speaks TLS over a stream, for the `secure` option of `HttpClient`. The certificate must be valid for `target.host`;
 * `options` may hold `ca` and whatever else `tls.connect` takes. Rejects with NetError.
 */
export function secureStream(
  stream: ByteStream,
  target: { readonly host: string },
  options: ConnectionOptions = {},
): Promise<ByteStream> {
  const { host } = target;
  const isName = !/^[0-9.]+$|:/.test(host);
  return new Promise((resolve, reject) => {
    const socket = new MoteSocket({ stream });
    const secured = connect({ ...(isName ? { servername: host } : {}), ...options, host, socket });
    const fail = (error: Error) => {
      secured.destroy();
      reject(new NetError(fromSocketError(error).code, `TLS with ${host} failed: ${error.message}`, { cause: error }));
    };
    secured.once('error', fail);
    secured.once('secureConnect', () => {
      secured.removeListener('error', fail);
      resolve(new DuplexStream(secured, stream));
    });
  });
}
