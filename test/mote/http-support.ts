/**
 * What the HTTP tests share: a pair of byte streams in memory with back-pressure, timers moved by hand, a seeded
 * generator. Runtime-neutral.
 */
import type { Endpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { ByteListener, ByteStream, Timers } from '../../lib/mote/byte-stream.ts';
import { latin1Decode, latin1Encode } from '../../lib/mote/http-syntax.ts';

/** One direction: a bounded queue of bytes. */
class Pipe {
  readonly chunks: Uint8Array[] = [];
  bytes = 0;
  isEnded = false;
  isBroken = false;
  readonly #waiting: (() => void)[] = [];

  changed(): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push(resolve);
    });
  }

  notify(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** One end of a pair in memory. It takes no more than `capacity` unread bytes, as a TCP window would. */
export class MemoryStream implements ByteStream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly closed: Promise<void>;
  readonly capacity: number;
  isAborted = false;
  isNoDelay = false;
  writtenBytes = 0;
  #incoming: Pipe;
  #outgoing: Pipe;
  #settleClosed: () => void = () => undefined;

  constructor(incoming: Pipe, outgoing: Pipe, local: Endpoint, remote: Endpoint, capacity: number) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.local = local;
    this.remote = remote;
    this.capacity = capacity;
    this.closed = new Promise(resolve => {
      this.#settleClosed = resolve;
    });
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#incoming.isBroken) throw new NetError('ERR_CONNECTION_RESET', 'reset');
      const chunk = this.#incoming.chunks.shift();
      if (chunk !== undefined) {
        this.#incoming.bytes -= chunk.length;
        this.#incoming.notify();
        return chunk;
      }
      if (this.#incoming.isEnded) {
        if (this.#outgoing.isEnded) this.#settleClosed();
        return undefined;
      }
      await this.#incoming.changed();
    }
  }

  async write(data: Uint8Array): Promise<void> {
    const pipe = this.#outgoing;
    for (let at = 0; at < data.length; ) {
      if (pipe.isBroken) throw new NetError('ERR_CONNECTION_RESET', 'reset');
      if (pipe.isEnded) throw new NetError('ERR_CLOSED', 'write after end');
      const room = this.capacity - pipe.bytes;
      if (room <= 0) {
        await pipe.changed();
        continue;
      }
      const piece = data.slice(at, at + room);
      pipe.chunks.push(piece);
      pipe.bytes += piece.length;
      this.writtenBytes += piece.length;
      at += piece.length;
      pipe.notify();
    }
    if (pipe.isBroken) throw new NetError('ERR_CONNECTION_RESET', 'reset');
  }

  async end(): Promise<void> {
    this.#outgoing.isEnded = true;
    this.#outgoing.notify();
  }

  setNoDelay(isOn: boolean): void {
    this.isNoDelay = isOn;
  }

  abort(): void {
    this.isAborted = true;
    for (const pipe of [this.#incoming, this.#outgoing]) {
      pipe.isBroken = true;
      pipe.notify();
    }
    this.#settleClosed();
  }

  /** Everything that the other side sends until it ends, as text; `(reset)` is appended when it resets. */
  async readAll(): Promise<string> {
    let text = '';
    try {
      for (let chunk = await this.read(); chunk !== undefined; chunk = await this.read())
        text += latin1Decode(chunk, 0, chunk.length);
    } catch {
      text += '(reset)';
    }
    return text;
  }

  /** Reads until `wanted` has come, and returns everything read. */
  async readUntil(wanted: string): Promise<string> {
    let text = '';
    while (!text.includes(wanted)) {
      const chunk = await this.read();
      if (chunk === undefined) return `${text}(end)`;
      text += latin1Decode(chunk, 0, chunk.length);
    }
    return text;
  }

  /** Writes a text, one byte per character. */
  send(text: string): Promise<void> {
    return this.write(latin1Encode(text));
  }
}

/** Two ends that are connected: the client's and the server's. */
export function createPair(capacity = 65536, port = 80): [client: MemoryStream, server: MemoryStream] {
  const up = new Pipe();
  const down = new Pipe();
  const client = { address: '10.0.0.1', port: 40000 };
  const server = { address: '10.0.0.2', port };
  return [new MemoryStream(down, up, client, server, capacity), new MemoryStream(up, down, server, client, capacity)];
}

/** A listener in memory: `connect` makes a pair and hands one end to `accept`. */
export class MemoryListener implements ByteListener {
  readonly port: number;
  readonly capacity: number;
  /** The clients' ends, in the order of connecting. */
  readonly clients: MemoryStream[] = [];
  readonly #waiting: MemoryStream[] = [];
  #accept: ((stream: MemoryStream | undefined) => void) | undefined;
  isClosed = false;

  constructor(port = 80, capacity = 65536) {
    this.port = port;
    this.capacity = capacity;
  }

  connect(): MemoryStream {
    if (this.isClosed) throw new NetError('ERR_CONNECTION_REFUSED', 'nothing listens');
    const [client, server] = createPair(this.capacity, this.port);
    this.clients.push(client);
    const accept = this.#accept;
    this.#accept = undefined;
    if (accept === undefined) this.#waiting.push(server);
    else accept(server);
    return client;
  }

  accept(): Promise<MemoryStream | undefined> {
    const stream = this.#waiting.shift();
    if (stream !== undefined || this.isClosed) return Promise.resolve(stream);
    return new Promise(resolve => {
      this.#accept = resolve;
    });
  }

  close(): void {
    this.isClosed = true;
    this.#accept?.(undefined);
  }
}

/** Timers that move only when the test says so. */
export class ManualTimers implements Timers {
  nowMs = 0;
  readonly #armed = new Set<{ atMs: number; run: () => void }>();

  get count(): number {
    return this.#armed.size;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.nowMs + ms, run };
    this.#armed.add(timer);
    return () => {
      this.#armed.delete(timer);
    };
  }

  /** Lets everything happen that is under way, moves the clock, fires what is due, and lets the consequences happen. */
  async advance(ms: number): Promise<void> {
    await settle();
    this.nowMs += ms;
    for (const timer of [...this.#armed].sort((a, b) => a.atMs - b.atMs)) {
      if (timer.atMs > this.nowMs || !this.#armed.delete(timer)) continue;
      timer.run();
      await settle();
    }
    await settle();
  }
}

/** Lets everything happen that needs no more input and no timer. */
export async function settle(turns = 400): Promise<void> {
  for (let i = 0; i < turns; i++) await undefined;
}

/** Small seeded generator (mulberry32): the same seed gives the same numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** `length` bytes with a pattern that shows shifts and swaps. */
export function pattern(length: number, seed = 1): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0, value = seed; i < length; i++) {
    value = (Math.imul(value, 1103515245) + 12345) >>> 0;
    out[i] = value >>> 16;
  }
  return out;
}

/** Whether this runtime has the Fetch API's classes. A bare realm and XS have not. */
export const HAS_FETCH = ['Headers', 'Request', 'Response', 'ReadableStream', 'URL', 'AbortController'].every(
  name => typeof (globalThis as unknown as Record<string, unknown>)[name] === 'function',
);
