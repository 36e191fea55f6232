/** A TCP listener inside the tunnel: a queue of accepted connections, as promises and as an async iterable. */
import { formatAddress, parseAddress } from '../base/address.ts';
import { NetError } from '../base/errors.ts';
import type { TcpListener } from '../netstack/tcp.ts';
import type { Connection } from './connection.ts';

/** Connections that wait for {@link Listener.accept} at most, unless `listen` was told; one more is reset. */
export const DEFAULT_BACKLOG = 128;

/** What a listener needs of its mote. */
export interface ListenerOwner {
  /** No more connections. */
  closeListener(tcp: TcpListener): void;
}

/** Accepts connections on one port. Made by `listen`. */
export class Listener {
  /** The port inside the tunnel. */
  readonly port: number;
  /** The one address that it listens on; undefined for all of the mote's addresses. */
  readonly address: string | undefined;
  readonly #backlog: number;
  readonly #waiting: Connection[] = [];
  readonly #accepts: ((connection: Connection | undefined) => void)[] = [];
  readonly #owner: ListenerOwner;
  readonly #tcp: TcpListener;
  #isClosed = false;

  /** For the mote only. */
  constructor(owner: ListenerOwner, tcp: TcpListener, address: string | undefined, backlog: number) {
    this.#owner = owner;
    this.#tcp = tcp;
    this.port = tcp.port;
    this.address = address;
    this.#backlog = Math.min(backlog, tcp.backlog);
  }

  /** The next connection, or undefined once the listener is closed. */
  accept(): Promise<Connection | undefined> {
    const connection = this.#waiting.shift();
    if (connection !== undefined || this.#isClosed) return Promise.resolve(connection);
    return new Promise(resolve => {
      this.#accepts.push(resolve);
    });
  }

  /** Connections until the listener is closed; leaving the loop closes it. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection, void, undefined> {
    try {
      for (let next = await this.accept(); next !== undefined; next = await this.accept()) yield next;
    } finally {
      this.close();
    }
  }

  /** Stops listening; connections that nobody took are reset, those that were taken stay. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#owner.closeListener(this.#tcp);
    for (const connection of this.#waiting.splice(0)) connection.abort();
    for (const resolve of this.#accepts.splice(0)) resolve(undefined);
  }

  /** For the mote only: a handshake was completed. */
  handleConnection(connection: Connection): void {
    const accept = this.#accepts.shift();
    if (accept !== undefined) accept(connection);
    else if (this.#isClosed || this.#waiting.length >= this.#backlog) connection.abort();
    else this.#waiting.push(connection);
  }
}

/** Bytes of one of the addresses in `own` (`10.0.0.2/24`). Throws RangeError for any other text. */
export function ownAddress(own: readonly string[], text: string): Uint8Array {
  const bytes = parseAddress(text);
  if (bytes !== undefined && own.some(one => one.startsWith(`${formatAddress(bytes)}/`))) return bytes;
  throw new RangeError(`"address" expected one of ${own.join(', ')}, got '${text}'`);
}

/** The error of a call on something that was closed. */
export function closedError(what: string): NetError {
  return new NetError('ERR_CLOSED', `${what} is closed`);
}
