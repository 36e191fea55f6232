/**
 * Connections by their four-tuple: a hash table with chains through the connections themselves.
 *
 * The hash is keyed with random words, so that a remote side cannot aim at one bucket; it need not be more than that,
 * since the number of connections is bounded. The connection found last is tried first.
 */
import { equalBytes, readU32BE } from '../base/bytes.ts';
import type { IpPath } from './path.ts';
import type { TcpSecrets } from './tcp-secrets.ts';

const FIRST_BUCKETS = 1;

/** What has a four-tuple: a connection, or what is left of one. */
export interface TableEntry {
  readonly path: IpPath;
  readonly localPort: number;
  readonly remotePort: number;
  /** Owned by the table. */
  nextInBucket: TableEntry | undefined;
}

/** The table; see the top of the file. */
export class ConnectionTable<T extends TableEntry> {
  #buckets: (T | undefined)[] = new Array(FIRST_BUCKETS).fill(undefined);
  #count = 0;
  #last: T | undefined = undefined;
  readonly #secrets: TcpSecrets;

  constructor(secrets: TcpSecrets) {
    this.#secrets = secrets;
  }

  /** Number of connections. */
  get size(): number {
    return this.#count;
  }

  /**
   * The connection for addresses of `length` bytes (4 or 16) at `remoteAt` and `localAt` in `buf`, and two ports;
   * undefined when there is none.
   */
  find(
    buf: Uint8Array,
    remoteAt: number,
    localAt: number,
    length: number,
    remotePort: number,
    localPort: number,
  ): T | undefined {
    const last = this.#last;
    if (last !== undefined && matches(last, buf, remoteAt, localAt, length, remotePort, localPort)) return last;
    let entry = this.#buckets[this.#hash(buf, remoteAt, localAt, length, remotePort, localPort) & this.#mask];
    while (entry !== undefined && !matches(entry, buf, remoteAt, localAt, length, remotePort, localPort))
      entry = entry.nextInBucket as T | undefined;
    if (entry !== undefined) this.#last = entry;
    return entry;
  }

  /** The connection over the addresses of `path` between two ports; undefined when there is none. */
  findByPath(path: IpPath, remotePort: number, localPort: number): T | undefined {
    const hash = this.#hashOf(path, remotePort, localPort);
    let entry = this.#buckets[hash & this.#mask];
    while (entry !== undefined && !isOver(entry, path, remotePort, localPort))
      entry = entry.nextInBucket as T | undefined;
    return entry;
  }

  /** Adds a connection whose four-tuple is not in the table. */
  add(connection: T): void {
    if (this.#count >= this.#buckets.length) this.#resize(this.#buckets.length * 2);
    this.#link(connection);
    this.#count++;
  }

  /** Removes a connection that is in the table. */
  remove(connection: T): void {
    const at = this.#bucketOf(connection);
    let entry = this.#buckets[at];
    if (entry === connection) this.#buckets[at] = connection.nextInBucket as T | undefined;
    else {
      while (entry!.nextInBucket !== connection) entry = entry!.nextInBucket as T;
      entry!.nextInBucket = connection.nextInBucket;
    }
    connection.nextInBucket = undefined;
    if (this.#last === connection) this.#last = undefined;
    this.#count--;
    if (this.#buckets.length > FIRST_BUCKETS && this.#count * 4 < this.#buckets.length)
      this.#resize(this.#buckets.length / 2);
  }

  /** All connections, in no particular order; the table must not be changed meanwhile. */
  *[Symbol.iterator](): Generator<T> {
    for (const first of this.#buckets)
      for (let entry = first; entry !== undefined; entry = entry.nextInBucket as T | undefined) yield entry;
  }

  get #mask(): number {
    return this.#buckets.length - 1;
  }

  #link(connection: T): void {
    const at = this.#bucketOf(connection);
    connection.nextInBucket = this.#buckets[at];
    this.#buckets[at] = connection;
  }

  #resize(size: number): void {
    const all = [...this];
    this.#buckets = new Array(size).fill(undefined);
    for (const connection of all) this.#link(connection);
  }

  #bucketOf({ path, remotePort, localPort }: TableEntry): number {
    return this.#hashOf(path, remotePort, localPort) & this.#mask;
  }

  #hashOf({ addresses }: IpPath, remotePort: number, localPort: number): number {
    const length = addresses.length >> 1;
    return this.#hash(addresses, length, 0, length, remotePort, localPort);
  }

  #hash(
    buf: Uint8Array,
    remoteAt: number,
    localAt: number,
    length: number,
    remotePort: number,
    localPort: number,
  ): number {
    const secrets = this.#secrets;
    let hash = mix(secrets.tableKey(0), (remotePort << 16) | localPort, secrets.tableKey(1));
    for (let i = 0; i < length; i += 4) {
      hash = mix(hash, readU32BE(buf, remoteAt + i), secrets.tableKey(2));
      hash = mix(hash, readU32BE(buf, localAt + i), secrets.tableKey(3));
    }
    return hash ^ (hash >>> 15);
  }
}

function mix(hash: number, word: number, key: number): number {
  const x = Math.imul(hash ^ word, 0x2c1b3c6d | 1) + key;
  return Math.imul(x ^ (x >>> 13), 0x297a2d39) ^ (x >>> 16);
}

function matches(
  connection: TableEntry,
  buf: Uint8Array,
  remoteAt: number,
  localAt: number,
  length: number,
  remotePort: number,
  localPort: number,
): boolean {
  if (connection.remotePort !== remotePort || connection.localPort !== localPort) return false;
  const { addresses } = connection.path;
  if (addresses.length !== 2 * length) return false;
  for (let i = 0; i < length; i++)
    if (addresses[length + i] !== buf[remoteAt + i] || addresses[i] !== buf[localAt + i]) return false;
  return true;
}

function isOver(connection: TableEntry, path: IpPath, remotePort: number, localPort: number): boolean {
  if (connection.remotePort !== remotePort || connection.localPort !== localPort) return false;
  return equalBytes(connection.path.addresses, path.addresses);
}
