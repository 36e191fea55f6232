/**
 * Streams between the hosts of a `MemoryNetwork`: ordered, bounded, with back-pressure, on its virtual clock. TLS is
 * not spoken: the listener sees the options that were asked for and may refuse them.
 */
import { canonicalAddress, type Endpoint, formatEndpoint } from '../../lib/base/address.ts';
import { type ErrorCode, NetError } from '../../lib/base/errors.ts';
import type { HostStream, StreamOptions, StreamSink } from '../../lib/ports.ts';

/** What is on the way in one direction; a writer is stopped here. */
export const STREAM_BUFFER_BYTES = 65_536;
/** How long a byte takes, one way. */
const DELAY_MS = 1;
/** How often what is held back by a cut is tried again. */
const RETRY_MS = 100;
const TIMEOUT_MS = 10_000;

/** A listener's end of a stream. */
export interface MemoryStream extends HostStream {
  /** Ends this half after what was written; what the other side sends still comes. */
  end(): void;
}

/** A connection that a listener is offered. */
export interface MemoryArrival {
  /** The listener's end of it. Open at once. */
  readonly stream: MemoryStream;
  /** What the other side asked for, TLS included. */
  readonly options: StreamOptions;
  readonly from: Endpoint;
}

/** Takes a connection by returning its sink, or fails it with a code (`ERR_TLS`, …). */
export type MemoryAccept = (arrival: MemoryArrival) => StreamSink | ErrorCode;

/** All streams of one network. */
export class MemoryStreams {
  /** Whether nothing passes between two hosts: connecting times out, what is sent waits. */
  isCut: (from: string, to: string) => boolean = () => false;
  readonly #after: (delayMs: number, run: () => void) => void;
  readonly #listeners = new Map<string, MemoryAccept>();
  readonly #open = new Set<Pair>();
  #nextPort = 50_000;

  constructor(after: (delayMs: number, run: () => void) => void) {
    this.#after = after;
  }

  /** Accepts connections at an address and port until the returned function is called. */
  listen(at: Endpoint, accept: MemoryAccept): () => void {
    const name = formatEndpoint(at);
    if (this.#listeners.has(name)) throw new NetError('ERR_ADDRESS_IN_USE', `${name} is in use`);
    this.#listeners.set(name, accept);
    return () => this.#listeners.delete(name);
  }

  /** Resets every stream that has an end at this address, as a host that restarts does. */
  reset(address: string): void {
    for (const pair of [...this.#open]) {
      if (pair.client.address !== address && pair.server.address !== address) continue;
      this.#open.delete(pair);
      pair.client.fail(new NetError('ERR_CONNECTION_RESET', `${pair.server.address} reset the connection`));
      pair.server.fail(new NetError('ERR_CONNECTION_RESET', `${pair.client.address} reset the connection`));
    }
  }

  /** `Host.openStream` of a host at `address`. */
  connect(
    address: string,
    options: StreamOptions,
    sink: StreamSink,
    resolve: (name: string) => Promise<readonly string[]>,
  ): HostStream {
    const client = new MemoryEnd(this, address);
    client.sink = sink;
    const from = { address, port: this.#nextPort++ };
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#after(timeoutMs, () => {
      if (!client.isOpen) client.fail(new NetError('ERR_TIMED_OUT', `no answer within ${timeoutMs} ms`));
    });
    const known = options.addresses ?? (canonicalAddress(options.host) === undefined ? undefined : [options.host]);
    const found = known === undefined ? resolve(options.host) : Promise.resolve(known);
    found.then(
      addresses => this.#try(client, from, addresses, options),
      (error: NetError) => client.fail(error),
    );
    return client;
  }

  /** Addresses in turn; a cut one keeps the caller waiting until its time is up. */
  #try(client: MemoryEnd, from: Endpoint, addresses: readonly string[], options: StreamOptions): void {
    const [address, ...rest] = addresses;
    if (client.isDone || address === undefined) return;
    this.#after(2 * DELAY_MS, () => {
      if (client.isDone || this.isCut(from.address, address)) return;
      const accept = this.#listeners.get(formatEndpoint({ address, port: options.port }));
      if (accept !== undefined) return this.#meet(client, from, address, accept, options);
      if (rest.length > 0) return this.#try(client, from, rest, options);
      client.fail(new NetError('ERR_CONNECTION_REFUSED', `${address} port ${options.port} refused the connection`));
    });
  }

  #meet(client: MemoryEnd, from: Endpoint, address: string, accept: MemoryAccept, options: StreamOptions): void {
    const server = new MemoryEnd(this, address);
    const pair = { client, server };
    client.other = server;
    server.other = client;
    server.isOpen = true;
    const answer = accept({ stream: server, options, from });
    if (typeof answer === 'string') return client.fail(new NetError(answer, `${options.host} failed: ${answer}`));
    server.sink = answer;
    this.#open.add(pair);
    client.isOpen = true;
    client.sink?.opened();
  }

  /** Runs `deliver` once the way from one end to the other is free. For {@link MemoryEnd}. */
  carry(from: MemoryEnd, to: MemoryEnd, deliver: () => void, delayMs = DELAY_MS): void {
    this.#after(delayMs, () => {
      if (this.isCut(from.address, to.address)) this.carry(from, to, deliver, RETRY_MS);
      else deliver();
    });
  }
}

interface Pair {
  readonly client: MemoryEnd;
  readonly server: MemoryEnd;
}

/** One end: its output is a queue that the other end's sink empties. */
class MemoryEnd implements MemoryStream {
  readonly address: string;
  sink: StreamSink | undefined;
  other: MemoryEnd | undefined;
  isOpen = false;
  isDone = false;
  readonly #network: MemoryStreams;
  readonly #output: Uint8Array[] = [];
  #outputBytes = 0;
  #isEnding = false;
  #hasEnded = false;
  #isCarrying = false;
  #isPaused = false;
  #owesWritable = false;

  constructor(network: MemoryStreams, address: string) {
    this.#network = network;
    this.address = address;
  }

  write(buf: Uint8Array, start: number, end: number): number {
    if (!this.isOpen || this.isDone || this.#hasEnded) return 0;
    const length = Math.min(end - start, STREAM_BUFFER_BYTES - this.#outputBytes);
    if (length < end - start) this.#owesWritable = true;
    if (length > 0) this.#output.push(buf.slice(start, start + length));
    this.#outputBytes += length;
    this.pump();
    return length;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.other?.pump();
  }

  close(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.other?.pump(); // what still comes is dropped, so that its sender is not stopped
    if (!this.#hasEnded) this.end();
  }

  end(): void {
    this.#isEnding = true;
    this.#hasEnded = true;
    this.pump();
  }

  fail(error: NetError): void {
    if (this.isDone) return;
    this.isDone = true;
    this.#output.length = 0;
    this.sink?.failed(error);
  }

  /** Sets out to deliver what waits. For the other end. */
  pump(): void {
    const other = this.other;
    if (other === undefined || this.#isCarrying || (this.#output.length === 0 && !this.#isEnding)) return;
    this.#isCarrying = true;
    this.#network.carry(this, other, () => {
      this.#isCarrying = false;
      this.#deliver(other);
    });
  }

  #deliver(other: MemoryEnd): void {
    while (this.#output.length > 0 && (!other.#isPaused || other.isDone)) {
      const bytes = this.#output.shift()!;
      this.#outputBytes -= bytes.length;
      if (!other.isDone) other.sink?.bytes(bytes, 0, bytes.length);
    }
    if (this.#owesWritable && !this.isDone && this.#outputBytes < STREAM_BUFFER_BYTES) {
      this.#owesWritable = false;
      this.sink?.writable();
    }
    if (!this.#isEnding || this.#output.length > 0) return;
    this.#isEnding = false;
    if (!other.isDone) other.sink?.ended();
  }
}
