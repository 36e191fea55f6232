/**
 * TCP connections of a world, as far as a program can tell: ordered, bounded, with back-pressure. What is lost on a
 * link is sent again after a timeout that doubles, so that loss, cuts and sleep delay a stream and do not damage it. A
 * connection whose NAT has restarted is reset when the inside sends; one whose own address is gone stands still.
 *
 * TLS is not spoken: the listener sees the options that were asked for and may refuse them.
 */
import { canonicalAddress, type Endpoint, formatEndpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { StreamOptions, StreamSink } from '../../lib/ports.ts';
import { type MemoryAccept, type MemoryStream, STREAM_BUFFER_BYTES } from './memory-streams.ts';
import { PROTOCOL_TCP, type WirePacket } from './pcap.ts';
import type { WorldClock } from './world-clock.ts';

const TIMEOUT_MS = 10_000;
/** The first retransmission (RFC 6298 §2.1 asks for 1 s before there is a measurement; systems take 200 ms after). */
const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 60_000;
/** Retransmission is given up after this (RFC 9293 §3.8.3 R2 and what systems do). */
const GIVE_UP_MS = 900_000;

/** What becomes of a segment: its time of arrival, lost, or answered by a reset. */
export type StreamFate = number | 'lost' | 'reset';

/** The way between a client and a listener, as it is at the time of each call. */
export interface StreamWay {
  /** Where the listener sees the connection come from. */
  readonly from: Endpoint;
  carry(nowMs: number, packet: WirePacket, isToServer: boolean): StreamFate;
}

/** Finds the way from a host to an address, for a connection from `port`; undefined: there is none. */
export type FindWay = (to: Endpoint, port: number) => StreamWay | undefined;

/** All streams of one world. */
export class WorldStreams {
  readonly clock: WorldClock;
  readonly #listeners = new Map<string, MemoryAccept>();
  readonly #open = new Set<Pair>();
  #nextPort = 40_000;

  constructor(clock: WorldClock) {
    this.clock = clock;
  }

  /** Accepts connections at an address and port until the returned function is called. */
  listen(at: Endpoint, accept: MemoryAccept): () => void {
    const name = formatEndpoint(at);
    if (this.#listeners.has(name)) throw new NetError('ERR_ADDRESS_IN_USE', `${name} is in use`);
    this.#listeners.set(name, accept);
    return () => this.#listeners.delete(name);
  }

  /** Ends every stream to a listener at this address, as a process that is killed does. */
  reset(address: string): void {
    for (const pair of [...this.#open]) {
      if (pair.to.address !== address) continue;
      this.#open.delete(pair);
      pair.server.isDone = true;
      pair.server.output.reset();
    }
  }

  /** `Host.openStream` of a host. */
  connect(
    options: StreamOptions,
    sink: StreamSink,
    findWay: FindWay,
    resolve: (name: string) => Promise<readonly string[]>,
  ): WorldStreamEnd {
    const client = new WorldStreamEnd();
    client.sink = sink;
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.clock.after(timeoutMs, () => {
      if (!client.isOpen) client.fail(new NetError('ERR_TIMED_OUT', `no answer within ${timeoutMs} ms`));
    });
    const known = options.addresses ?? (canonicalAddress(options.host) === undefined ? undefined : [options.host]);
    const found = known === undefined ? resolve(options.host) : Promise.resolve(known);
    found.then(
      addresses => this.#try(client, addresses, options, findWay),
      (error: NetError) => client.fail(error),
    );
    return client;
  }

  /** Addresses in turn; one that does not answer keeps the caller waiting until its time is up. */
  #try(client: WorldStreamEnd, addresses: readonly string[], options: StreamOptions, findWay: FindWay): void {
    const [address, ...rest] = addresses;
    if (client.isDone || address === undefined) return;
    const to = { address, port: options.port };
    const way = findWay(to, this.#nextPort++);
    if (way === undefined) {
      if (rest.length > 0) return this.#try(client, rest, options, findWay);
      this.clock.after(1, () => client.fail(new NetError('ERR_UNREACHABLE', `no route to ${address}`)));
      return;
    }
    const pair = new Pair(this, way, to, client, () => this.#open.delete(pair));
    const refuse = (error: NetError) => {
      if (rest.length > 0) this.#try(client, rest, options, findWay);
      else client.fail(error);
    };
    pair.shakeHands(() => {
      const accept = this.#listeners.get(formatEndpoint(to));
      if (accept === undefined)
        return () =>
          refuse(new NetError('ERR_CONNECTION_REFUSED', `${address} port ${to.port} refused the connection`));
      const answer = accept({ stream: pair.server, options, from: way.from });
      if (typeof answer === 'string') return () => client.fail(new NetError(answer, `${options.host}: ${answer}`));
      pair.server.sink = answer;
      pair.server.isOpen = true;
      this.#open.add(pair);
      return () => {
        client.isOpen = true;
        client.sink?.opened();
      };
    });
  }
}

/** A connection: two ends and what is on the way. */
class Pair {
  readonly to: Endpoint;
  readonly client: WorldStreamEnd;
  readonly server = new WorldStreamEnd();
  readonly streams: WorldStreams;
  readonly #way: StreamWay;

  constructor(streams: WorldStreams, way: StreamWay, to: Endpoint, client: WorldStreamEnd, forget: () => void) {
    this.streams = streams;
    this.#way = way;
    this.to = to;
    this.client = client;
    client.output = new Direction(this, client, this.server, true, forget);
    this.server.output = new Direction(this, this.server, client, false, forget);
    client.input = this.server.output;
    this.server.input = client.output;
  }

  /** One round trip, repeated until it succeeds or the client gives up; `arrive` runs at the listener, its result at the client. */
  shakeHands(arrive: () => () => void): void {
    let answer: (() => void) | undefined;
    let isOver = false;
    const { clock } = this.streams;
    const attempt = (retryMs: number) => {
      if (this.client.isDone || isOver) return;
      clock.after(retryMs, () => attempt(2 * retryMs));
      const there = this.carry(new Uint8Array(0), 0, true);
      if (typeof there !== 'number') return;
      clock.at(there, () => {
        if (this.client.isDone) return;
        const back = this.carry(new Uint8Array(0), 0, false);
        if (typeof back !== 'number') return;
        answer ??= arrive();
        clock.at(back, () => {
          if (this.client.isDone || isOver) return;
          isOver = true;
          answer!();
        });
      });
    };
    attempt(1000);
  }

  carry(bytes: Uint8Array, sequence: number, isToServer: boolean): StreamFate {
    const [source, destination] = isToServer ? [this.#way.from, this.to] : [this.to, this.#way.from];
    const packet = { protocol: PROTOCOL_TCP, source, destination, bytes, sequence } as const;
    return this.#way.carry(this.streams.clock.nowMs, packet, isToServer);
  }
}

/** What one end sends: undelivered bytes in order, of which the first may have to be sent again. */
class Direction {
  readonly #pair: Pair;
  readonly #from: WorldStreamEnd;
  readonly #to: WorldStreamEnd;
  readonly #isToServer: boolean;
  readonly #forget: () => void;
  readonly #unsent: (Uint8Array | 'end')[] = [];
  readonly #arrived: (Uint8Array | 'end')[] = [];
  #bytes = 0;
  #sequence = 0;
  #retryMs = FIRST_RETRY_MS;
  #stalledMs = 0;
  #isStalled = false;
  #lastAtMs = 0;
  #owesWritable = false;

  constructor(pair: Pair, from: WorldStreamEnd, to: WorldStreamEnd, isToServer: boolean, forget: () => void) {
    this.#pair = pair;
    this.#from = from;
    this.#to = to;
    this.#isToServer = isToServer;
    this.#forget = forget;
  }

  write(buf: Uint8Array, start: number, end: number): number {
    const length = Math.min(end - start, STREAM_BUFFER_BYTES - this.#bytes);
    if (length < end - start) this.#owesWritable = true;
    if (length > 0) this.#push(buf.slice(start, start + length));
    return length;
  }

  end(): void {
    this.#push('end');
  }

  /** Tells the other end that this one is gone. */
  reset(): void {
    const at = this.#pair.carry(new Uint8Array(0), this.#sequence, this.#isToServer);
    if (typeof at === 'number') this.#pair.streams.clock.at(at, () => this.#to.fail(resetBy()));
  }

  /** Hands over what has arrived, as far as the other end reads. */
  deliver(): void {
    const { clock } = this.#pair.streams;
    while (this.#arrived.length > 0 && (!this.#to.isPaused || this.#to.isDone)) {
      const chunk = this.#arrived.shift()!;
      if (chunk === 'end') {
        if (!this.#to.isDone) this.#to.sink?.ended();
        continue;
      }
      this.#bytes -= chunk.length;
      if (!this.#to.isDone) this.#to.sink?.bytes(chunk, 0, chunk.length);
    }
    if (!this.#owesWritable || this.#bytes >= STREAM_BUFFER_BYTES) return;
    this.#owesWritable = false;
    clock.after(1, () => {
      if (!this.#from.isDone) this.#from.sink?.writable();
    });
  }

  #push(chunk: Uint8Array | 'end'): void {
    this.#unsent.push(chunk);
    this.#bytes += chunk === 'end' ? 0 : chunk.length;
    this.#send();
  }

  #send(): void {
    const { clock } = this.#pair.streams;
    while (!this.#isStalled && this.#unsent.length > 0) {
      const chunk = this.#unsent[0]!;
      const bytes = chunk === 'end' ? new Uint8Array(0) : chunk;
      const fate = this.#pair.carry(bytes, this.#sequence, this.#isToServer);
      if (fate === 'reset') return this.#break(resetBy());
      if (fate === 'lost') return this.#stall();
      this.#unsent.shift();
      this.#sequence += bytes.length;
      this.#retryMs = FIRST_RETRY_MS;
      this.#stalledMs = 0;
      this.#lastAtMs = Math.max(this.#lastAtMs, fate);
      clock.at(this.#lastAtMs, () => {
        this.#arrived.push(chunk);
        this.deliver();
      });
    }
  }

  #stall(): void {
    this.#isStalled = true;
    this.#stalledMs += this.#retryMs;
    if (this.#stalledMs > GIVE_UP_MS) return this.#break(new NetError('ERR_TIMED_OUT', 'the other end is silent'));
    this.#pair.streams.clock.after(this.#retryMs, () => {
      this.#isStalled = false;
      this.#send();
    });
    this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
  }

  #break(error: NetError): void {
    this.#unsent.length = 0;
    this.#forget();
    this.#pair.streams.clock.after(1, () => this.#from.fail(error));
  }
}

function resetBy(): NetError {
  return new NetError('ERR_CONNECTION_RESET', 'the connection was reset');
}

/** One end. */
class WorldStreamEnd implements MemoryStream {
  sink: StreamSink | undefined;
  /** Set with the pair; absent while a name is being looked up. */
  output!: Direction;
  isOpen = false;
  isDone = false;
  isPaused = false;
  #other: Direction | undefined;
  #hasEnded = false;

  write(buf: Uint8Array, start: number, end: number): number {
    return this.isOpen && !this.isDone && !this.#hasEnded ? this.output.write(buf, start, end) : 0;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.#other?.deliver();
  }

  close(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.#other?.deliver(); // what still comes is dropped, so that its sender is not stopped
    if (this.isOpen && !this.#hasEnded) this.output.end();
  }

  end(): void {
    this.#hasEnded = true;
    this.output.end();
  }

  fail(error: NetError): void {
    if (this.isDone) return;
    this.isDone = true;
    this.sink?.failed(error);
  }

  /** What comes from the other end. */
  set input(direction: Direction) {
    this.#other = direction;
  }
}
