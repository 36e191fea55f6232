/**
 * Numbers that nobody outside may guess: initial sequence numbers (RFC 6528), timestamp offsets (RFC 7323 §5.4) and
 * ephemeral ports (RFC 6056 §3.3.4), all from a keyed hash of the connection's addresses and ports.
 */
import type { IpPath } from './path.ts';
import { SIPHASH_KEY_BYTES, SipHash } from './siphash.ts';

/** First ephemeral port: the upper half, for RFC 6056 §3.2 wants a wide range. */
const EPHEMERAL_FIRST = 32_768;
const EPHEMERAL_COUNT = 65_536 - EPHEMERAL_FIRST;
/** Where in the words the keys of the connection table are, and behind them the counters of ports. */
const TABLE_KEYS_AT = SIPHASH_KEY_BYTES / 4;
const PORT_COUNTERS_AT = TABLE_KEYS_AT + 4;
const PORT_COUNTERS = 8;

/** The secrets of one machine: 64 bytes. */
export class TcpSecrets {
  /** The key of the hash, four words for the connection table, the counters of ports. */
  readonly #words = new Int32Array(PORT_COUNTERS_AT + PORT_COUNTERS);
  readonly #random: (out: Uint8Array) => void;

  /** Draws from `random` once; what it throws passes through. */
  constructor(random: (out: Uint8Array) => void) {
    random(new Uint8Array(this.#words.buffer));
    this.#random = random;
  }

  /** One of four random words for the connection table. */
  tableKey(i: number): number {
    return this.#words[TABLE_KEYS_AT + i];
  }

  /**
   * Hash of a connection. Its low half, added to {@link sequenceClock}, is the initial sequence number (RFC 6528 §3);
   * its high half is what the connection adds to its timestamps, the same for the same four-tuple.
   */
  hashOf(path: IpPath, localPort: number, remotePort: number): SipHash {
    const { addresses } = path;
    const at = addresses.length;
    const input = new Uint8Array(at + 4);
    input.set(addresses, 0);
    input[at] = localPort >>> 8;
    input[at + 1] = localPort;
    input[at + 2] = remotePort >>> 8;
    input[at + 3] = remotePort;
    const hash = new SipHash(new Uint8Array(this.#words.buffer, 0, SIPHASH_KEY_BYTES));
    hash.hash(input, input.length);
    return hash;
  }

  /** The next port of 32768 to 65535 towards a destination for which `isFree` holds; 0 when there is none. */
  ephemeralPort(path: IpPath, remotePort: number, isFree: (port: number) => boolean): number {
    const { low, high } = this.hashOf(path, 0, remotePort);
    const offset = low >>> 0;
    const counter = PORT_COUNTERS_AT + (high & (PORT_COUNTERS - 1));
    for (let tries = 0; tries < EPHEMERAL_COUNT; tries++) {
      const port = EPHEMERAL_FIRST + ((offset + (this.#words[counter]++ >>> 0)) % EPHEMERAL_COUNT);
      if (isFree(port)) return port;
    }
    return 0;
  }

  /** A random port of 32768 to 65535 for which `isFree` holds; 0 when none was found. */
  randomPort(isFree: (port: number) => boolean): number {
    const bytes = new Uint8Array(2);
    this.#random(bytes);
    const start = (bytes[0] << 8) | bytes[1];
    for (let tries = 0; tries < EPHEMERAL_COUNT; tries++) {
      const port = EPHEMERAL_FIRST + ((start + tries) % EPHEMERAL_COUNT);
      if (isFree(port)) return port;
    }
    return 0;
  }
}

/** The clock of initial sequence numbers: four microseconds (RFC 6528 §3). */
export function sequenceClock(nowMs: number): number {
  return Math.floor(nowMs * 250) | 0;
}
