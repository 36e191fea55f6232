/**
 * A first-in first-out queue of connections. Each connection stands in it at most once (the caller keeps a flag), so
 * that the number of connections bounds it.
 */
import type { TcpConnection } from './tcp-connection.ts';

/** Taken entries that are kept before the rest is moved down. */
const COMPACT_FROM = 64;

/** The queue; see the top of the file. */
export class ConnectionQueue {
  #entries: TcpConnection[] = [];
  #head = 0;

  /** Connections that wait. */
  get size(): number {
    return this.#entries.length - this.#head;
  }

  /** Adds a connection at the end. */
  push(connection: TcpConnection): void {
    this.#entries.push(connection);
  }

  /** Takes the first connection; undefined when there is none. */
  shift(): TcpConnection | undefined {
    if (this.#head === this.#entries.length) return undefined;
    const connection = this.#entries[this.#head++];
    if (this.#head === this.#entries.length) {
      this.#entries.length = 0;
      this.#head = 0;
    } else if (this.#head >= COMPACT_FROM && this.#head * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    return connection;
  }
}
