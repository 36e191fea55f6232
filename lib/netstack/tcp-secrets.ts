/**
 * Numbers that nobody outside may guess: initial sequence numbers (RFC 6528), timestamp offsets (RFC 7323 §5.4) and
 * ephemeral ports (RFC 6056 §3.3.4), all from a keyed hash of the connection's addresses and ports.
 */
import type { IpPath } from './path.ts';
import { SIPHASH_KEY_BYTES, SipHash } from './siphash.ts';

/** First ephemeral port: the upper half, for RFC 6056 §3.2 wants a wide range. */
const EPHEMERAL_FIRST = 32_768;
const EPHEMERAL_COUNT = 65_536 - EPHEMERAL_FIRST;
const PORT_COUNTERS = 16;
/** Words that key the connection table. */
const TABLE_KEY_BYTES = 16;

/** The secrets of one machine. */
export class TcpSecrets {
  /** Four random words for the connection table. */
  readonly tableKeys: Int32Array;
  readonly #hash: SipHash;
  readonly #input = new Uint8Array(36);
  readonly #portCounters: Uint16Array;
  readonly #random: (out: Uint8Array) => void;

  /** Draws from `random` once; what it throws passes through. */
  constructor(random: (out: Uint8Array) => void) {
    const key = new Uint8Array(SIPHASH_KEY_BYTES);
    const tableKeys = new Uint8Array(TABLE_KEY_BYTES);
    const counters = new Uint8Array(2 * PORT_COUNTERS);
    random(key);
    random(tableKeys);
    random(counters);
    this.#hash = new SipHash(key);
    this.tableKeys = new Int32Array(tableKeys.buffer);
    this.#portCounters = new Uint16Array(counters.buffer);
    this.#random = random;
  }

  /** Initial sequence number, int32: a clock of four microseconds plus the hash of the connection (RFC 6528 §3). */
  initialSequence(nowMs: number, path: IpPath, localPort: number, remotePort: number): number {
    this.#hashTuple(path, localPort, remotePort);
    return (Math.floor(nowMs * 250) + this.#hash.low) | 0;
  }

  /** What the connection adds to its timestamps, int32; the same for the same four-tuple. */
  timestampOffset(path: IpPath, localPort: number, remotePort: number): number {
    this.#hashTuple(path, localPort, remotePort);
    return this.#hash.high;
  }

  /** The next port of 32768 to 65535 towards a destination for which `isFree` holds; 0 when there is none. */
  ephemeralPort(path: IpPath, remotePort: number, isFree: (port: number) => boolean): number {
    this.#hashTuple(path, 0, remotePort);
    const offset = this.#hash.low >>> 0;
    const counter = this.#hash.high & (PORT_COUNTERS - 1);
    for (let tries = 0; tries < EPHEMERAL_COUNT; tries++) {
      const port = EPHEMERAL_FIRST + ((offset + this.#portCounters[counter]++) % EPHEMERAL_COUNT);
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

  #hashTuple(path: IpPath, localPort: number, remotePort: number): void {
    const input = this.#input;
    const { local, remote } = path;
    input.set(local, 0);
    input.set(remote, local.length);
    const at = 2 * local.length;
    input[at] = localPort >>> 8;
    input[at + 1] = localPort;
    input[at + 2] = remotePort >>> 8;
    input[at + 3] = remotePort;
    this.#hash.hash(input, at + 4);
  }
}
