/**
 * SNTP (RFC 4330, packets of RFC 5905 §7.3): sets a wall clock that starts at 1970.
 *
 * The answer is not authenticated: whoever is on the way can set the clock. WireGuard does not depend on it (its
 * timestamps only ever grow, from a stored floor); the expiry of keys does. An answer counts only when it repeats the
 * 64 random bits of the question and comes from where that went.
 * Left out: corrections of less than a second, several servers compared, the drift of the clock.
 */
import { equalRange, readU32BE } from '../../lib/base/bytes.ts';
import type { ModdableIo, UdpIo } from './io.ts';

const PORT = 123;
const PACKET_BYTES = 48;
const ORIGINATE = 24;
const TRANSMIT = 40;
/** Seconds from 1900 to 1970, and from era 0 to era 1 (2036). */
const UNIX_EPOCH_S = 2_208_988_800;
const ERA_S = 2 ** 32;
/** 2026: an earlier time is a server's fault, or one of era 1. */
const EARLIEST_S = 1_767_225_600;
/** Version 4, client. */
const CLIENT = 0x23;
const SERVER_MODE = 4;
const MAX_STRATUM = 15;
const RETRY_MS = 1000;

/** What {@link fetchTime} needs. */
export type SntpIo = Pick<ModdableIo, 'UDP' | 'timer' | 'random'> & {
  resolve(name: string): Promise<readonly string[]>;
};

/**
 * Asks the servers in turn, once a second, until one answers; resolves with seconds since 1970, or undefined after
 * `timeoutMs`. Never rejects.
 */
export async function fetchTime(
  io: SntpIo,
  servers: readonly string[],
  timeoutMs: number,
): Promise<number | undefined> {
  const found = await Promise.all(servers.map(name => io.resolve(name).catch(() => [])));
  const addresses = found.flatMap(list => list.slice(0, 1)).filter(address => !address.includes(':'));
  if (addresses.length === 0) return undefined;
  return new Promise(resolve => {
    const query = new Query(io, addresses, Math.ceil(timeoutMs / RETRY_MS), resolve);
    query.ask();
  });
}

class Query {
  readonly #io: SntpIo;
  readonly #addresses: readonly string[];
  readonly #done: (seconds: number | undefined) => void;
  readonly #request = new Uint8Array(PACKET_BYTES);
  #socket: UdpIo | undefined;
  #timer: unknown;
  #asked = 0;
  readonly #attempts: number;

  constructor(io: SntpIo, addresses: readonly string[], attempts: number, done: (seconds: number | undefined) => void) {
    this.#io = io;
    this.#addresses = addresses;
    this.#attempts = attempts;
    this.#done = done;
    this.#request[0] = CLIENT;
  }

  /** Asks the next server, or gives up. */
  ask(): void {
    this.#timer = undefined;
    if (this.#asked === this.#attempts) return this.#finish(undefined);
    try {
      this.#io.random(this.#request.subarray(TRANSMIT));
      this.#socket ??= new this.#io.UDP({ onReadable: count => this.#read(count) });
      this.#socket.write(this.#request, this.#address, PORT);
    } catch {
      // no socket, or no route yet: asked again
    }
    this.#asked++;
    this.#timer = this.#io.timer.set(() => this.ask(), RETRY_MS);
  }

  get #address(): string {
    return this.#addresses[this.#asked % this.#addresses.length]!;
  }

  #read(count: number): void {
    for (let left = count; left > 0 && this.#socket !== undefined; left--) {
      const answer = this.#socket.read();
      if (answer === undefined) return;
      const asked = this.#addresses[(this.#asked - 1) % this.#addresses.length];
      const isFrom = answer.address === asked && answer.port === PORT;
      if (!isFrom) continue; // CHECK: sntp-source
      const seconds = readAnswer(new Uint8Array(answer), this.#request);
      if (seconds !== undefined) this.#finish(seconds);
    }
  }

  #finish(seconds: number | undefined): void {
    if (this.#timer !== undefined) this.#io.timer.clear(this.#timer);
    this.#socket?.close();
    this.#socket = undefined;
    this.#done(seconds);
  }
}

/** Seconds since 1970 of an answer to `request`; undefined for anything else. */
export function readAnswer(answer: Uint8Array, request: Uint8Array): number | undefined {
  if (answer.length < PACKET_BYTES || (answer[0]! & 7) !== SERVER_MODE) return undefined;
  const isSynchronised = answer[0]! >> 6 !== 3 && answer[1]! >= 1 && answer[1]! <= MAX_STRATUM;
  if (!isSynchronised) return undefined;
  const isOurs = equalRange(answer, ORIGINATE, request, TRANSMIT, 8);
  if (!isOurs) return undefined; // CHECK: sntp-originate
  const stamp = readU32BE(answer, TRANSMIT);
  if (stamp === 0) return undefined;
  const seconds = stamp - UNIX_EPOCH_S;
  return seconds >= EARLIEST_S ? seconds : seconds + ERA_S;
}
