/**
 * One TCP connection inside the tunnel, as promises and as Web Streams.
 *
 * Back-pressure reaches both ways: `write` resolves when the send buffer has taken the bytes, and what is not read
 * stays in the receive buffer, whose window then closes. Reads and writes may be called without waiting for the one
 * before; they are served in order.
 */
import type { Endpoint } from '../base/address.ts';
import { type ErrorCode, NetError } from '../base/errors.ts';
import type { Driver } from '../driver.ts';
import {
  READY_CLOSED,
  READY_CONNECTED,
  READY_ENDED,
  READY_READABLE,
  READY_WRITABLE,
  type TcpConnection,
} from '../netstack/tcp.ts';
import type { ByteStream } from './byte-stream.ts';
import type { Whois } from './whois.ts';
import { type RuntimeReadableStream, type RuntimeWritableStream, streamClasses } from './stream-types.ts';

/** Largest piece that {@link Connection.read} returns. */
const READ_CHUNK_BYTES = 65_536;
/** How often a closed connection that waits for the other side is looked at, and how often at most. */
const LINGER_CHECK_MS = 15_000;
const LINGER_CHECKS = 20;

interface PendingRead {
  readonly into: Uint8Array | undefined;
  readonly resolve: (got: Uint8Array | undefined) => void;
  readonly reject: (error: NetError) => void;
}

interface PendingWrite {
  readonly data: Uint8Array;
  offset: number;
  readonly resolve: () => void;
  readonly reject: (error: NetError) => void;
}

/** What a connection needs of its mote. */
export interface ConnectionOwner {
  readonly driver: Driver;
  /** Calls `run` once after `ms`, unless the returned function is called before. */
  delay(ms: number, run: () => void): () => void;
  whois(address: string): Whois | undefined;
  /** The connection is gone. */
  forgetConnection(tcp: TcpConnection): void;
}

/** A TCP connection inside the tunnel. Made by `dial` and by listeners. */
export class Connection implements ByteStream {
  /** Own address and port inside the tunnel. */
  readonly local: Endpoint;
  /** The other side's address and port inside the tunnel. */
  readonly remote: Endpoint;
  /** Who is at the other end, as it was known when the connection was made; undefined for this mote itself. */
  readonly peer: Whois | undefined;
  /**
   * Called when {@link readableBytes}, {@link writableBytes} or {@link hasEnded} may say something new. With `readNow`
   * and `writeNow` it is for adapters whose callers do not wait for promises: do not mix the two ways.
   */
  onReady: (() => void) | undefined;
  readonly #owner: ConnectionOwner;
  readonly #tcp: TcpConnection;
  readonly #reads: PendingRead[] = [];
  readonly #writes: PendingWrite[] = [];
  readonly #ends: (() => void)[] = [];
  /** Made when somebody asks. */
  #closed: Promise<void> | undefined;
  #resolveClosed: (() => void) | undefined;
  #onConnected: ((error: NetError | undefined) => void) | undefined;
  #isEnding = false;
  #isDiscarding = false;
  #isGone = false;
  #cancelLinger: (() => void) | undefined;
  #localError: ErrorCode | undefined;
  #readable: RuntimeReadableStream | undefined;
  #writable: RuntimeWritableStream | undefined;

  /** For the mote only. `onConnected` is called once, for a connection that is being dialled. */
  constructor(owner: ConnectionOwner, tcp: TcpConnection, onConnected?: (error: NetError | undefined) => void) {
    this.#owner = owner;
    this.#tcp = tcp;
    this.#onConnected = onConnected;
    this.local = Object.freeze({ address: tcp.path.localText, port: tcp.localPort });
    this.remote = Object.freeze({ address: tcp.path.remoteText, port: tcp.remotePort });
    this.peer = owner.whois(tcp.path.remoteText);
  }

  /** Settles when the connection is gone, for whatever reason; never rejects (see {@link error}). */
  get closed(): Promise<void> {
    this.#closed ??= this.#isGone
      ? Promise.resolve()
      : new Promise(resolve => {
          this.#resolveClosed = resolve;
        });
    return this.#closed;
  }

  /** Why the connection broke; undefined while it is open and after a clean close. */
  get error(): NetError | undefined {
    const code = this.#localError ?? this.#tcp.error;
    return code === undefined ? undefined : new NetError(code, this.#describe(code));
  }

  /** Round-trip time, windows and counters of the TCP machine, for diagnosis. */
  info(): ReturnType<TcpConnection['info']> {
    return this.#tcp.info();
  }

  /**
   * The next bytes (1 to 65,536, a fresh array), or undefined at the end of the stream.
   * Rejects with NetError (`ERR_CONNECTION_RESET`, `ERR_TIMED_OUT`, `ERR_ABORTED`, …) when the connection broke.
   */
  read(): Promise<Uint8Array | undefined> {
    return this.#read(undefined);
  }

  /** Reads 1 to `out.length` bytes to the start of `out`; resolves with their number, 0 at the end of the stream. */
  async readInto(out: Uint8Array): Promise<number> {
    mustBeBytes(out, 'out');
    if (out.length === 0) throw new RangeError('"out" expected at least 1 byte, got 0');
    return (await this.#read(out))?.length ?? 0;
  }

  /**
   * Sends all of `data`, which must not change until the promise resolves: when the send buffer has taken it.
   * Rejects with NetError: `ERR_CLOSED` after {@link end}, else why the connection broke. TypeError for what is no
   * Uint8Array: text must be encoded first.
   */
  write(data: Uint8Array): Promise<void> {
    mustBeBytes(data, 'data');
    if (this.#isEnding) return Promise.reject(new NetError('ERR_CLOSED', 'write after end: this side was closed'));
    if (this.#isGone) return Promise.reject(this.#goneError());
    let offset = 0;
    if (this.#writes.length === 0) {
      offset = this.#tcp.write(this.#owner.driver.nowMs(), data, 0, data.length);
      this.#owner.driver.kick();
      if (offset === data.length) return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#writes.push({ data, offset, resolve, reject });
    });
  }

  /** Bytes that {@link readNow} would give. */
  get readableBytes(): number {
    return this.#tcp.readableBytes;
  }

  /** Bytes that {@link writeNow} would take. */
  get writableBytes(): number {
    return this.#isEnding || this.#isGone ? 0 : this.#tcp.writableBytes;
  }

  /** Whether nothing more will be read: the other side has ended, or the connection is gone, and all was read. */
  get hasEnded(): boolean {
    return this.#tcp.isEnded || (this.#isGone && this.#tcp.readableBytes === 0);
  }

  /** Moves what has arrived to `out[start, end)` and returns how many bytes, 0 when there are none. */
  readNow(out: Uint8Array, start: number, end: number): number {
    const length = this.#tcp.read(this.#owner.driver.nowMs(), out, start, end);
    if (length > 0) this.#owner.driver.kick();
    return length;
  }

  /** Sends of `data[start, end)` what the send buffer takes and returns how many bytes; `onReady` follows with room. */
  writeNow(data: Uint8Array, start: number, end: number): number {
    if (this.#isEnding || this.#isGone) return 0;
    const length = this.#tcp.write(this.#owner.driver.nowMs(), data, start, end);
    this.#tcp.wantRoom();
    this.#owner.driver.kick();
    return length;
  }

  /** Half close: a FIN follows what was written. Resolves when all of that is in the send buffer. Safe to repeat. */
  end(): Promise<void> {
    this.#isEnding = true;
    if (this.#isGone) return Promise.resolve();
    return new Promise(resolve => {
      this.#ends.push(resolve);
      this.#pumpWrites();
    });
  }

  /** Resets the connection at once; what was not sent or read is lost. Safe to repeat. */
  abort(): void {
    if (this.#isGone) return;
    this.#localError ??= 'ERR_ABORTED';
    this.#tcp.abort(this.#owner.driver.nowMs());
    this.#owner.driver.kick();
    this.#finish();
  }

  /** Half closes and discards all further input; resolves when the connection is gone. Safe to repeat. */
  close(): Promise<void> {
    if (!this.#isDiscarding && !this.#isGone) {
      this.#isDiscarding = true;
      this.#settleReads(new NetError('ERR_CLOSED', 'the connection was closed by this side'));
      this.#discard();
      void this.end();
      this.#linger(LINGER_CHECKS);
    }
    return this.closed;
  }

  /** Sends small writes at once (true) or waits to fill segments (false, RFC 9293 §3.7.4). */
  setNoDelay(isOn: boolean): void {
    this.#tcp.setNoDelay(isOn);
    this.#owner.driver.kick();
  }

  /** Probes an idle connection every `intervalMs` (RFC 9293 §3.8.4); 0 turns it off. */
  setKeepAlive(intervalMs: number): void {
    this.#tcp.setKeepAlive(this.#owner.driver.nowMs(), intervalMs);
    this.#owner.driver.kick();
  }

  /** The incoming bytes as a Web Stream, made on first use; do not mix with {@link read}. Cancelling discards input. */
  get readable(): RuntimeReadableStream {
    this.#readable ??= new (streamClasses().ReadableStream)(
      {
        pull: async controller => {
          const got = await this.read();
          if (got === undefined) controller.close();
          else controller.enqueue(got);
        },
        cancel: () => {
          this.#isDiscarding = true;
          this.#discard();
        },
      },
      { highWaterMark: 0 },
    );
    return this.#readable;
  }

  /** The outgoing bytes as a Web Stream, made on first use. Closing it half closes; aborting it resets. */
  get writable(): RuntimeWritableStream {
    this.#writable ??= new (streamClasses().WritableStream)({
      write: chunk => this.write(chunk),
      close: () => this.end(),
      abort: () => this.abort(),
    });
    return this.#writable;
  }

  /** For the mote only: the TCP machine says that something changed. */
  handleReady(ready: number): void {
    if ((ready & READY_CONNECTED) !== 0) this.#connected(undefined);
    if ((ready & (READY_READABLE | READY_ENDED)) !== 0) {
      if (this.#isDiscarding) this.#discard();
      this.#pumpReads();
    }
    if ((ready & READY_WRITABLE) !== 0) this.#pumpWrites();
    if ((ready & READY_CLOSED) !== 0) this.#finish();
    this.onReady?.();
  }

  #read(into: Uint8Array | undefined): Promise<Uint8Array | undefined> {
    if (this.#isDiscarding) return Promise.reject(new NetError('ERR_CLOSED', 'read after close: this side was closed'));
    return new Promise((resolve, reject) => {
      this.#reads.push({ into, resolve, reject });
      if (this.#reads.length === 1) this.#pumpReads();
    });
  }

  #pumpReads(): void {
    const tcp = this.#tcp;
    while (this.#reads.length > 0 && tcp.readableBytes > 0) {
      const { into, resolve } = this.#reads.shift()!;
      const out = into ?? new Uint8Array(Math.min(tcp.readableBytes, READ_CHUNK_BYTES));
      const length = tcp.read(this.#owner.driver.nowMs(), out, 0, out.length);
      this.#owner.driver.kick();
      resolve(length === out.length ? out : out.subarray(0, length));
    }
    if (this.#reads.length > 0 && (tcp.isEnded || this.#isGone)) this.#settleReads(this.error);
  }

  #settleReads(error: NetError | undefined): void {
    for (const { resolve, reject } of this.#reads.splice(0)) {
      if (error === undefined) resolve(undefined);
      else reject(error);
    }
  }

  #pumpWrites(): void {
    const { driver } = this.#owner;
    const nowMs = driver.nowMs();
    while (this.#writes.length > 0) {
      const first = this.#writes[0]!;
      first.offset += this.#tcp.write(nowMs, first.data, first.offset, first.data.length);
      if (first.offset < first.data.length) break;
      this.#writes.shift();
      first.resolve();
    }
    if (this.#isEnding && this.#writes.length === 0 && this.#ends.length > 0) {
      this.#tcp.shutdown(nowMs);
      for (const resolve of this.#ends.splice(0)) resolve();
    }
    driver.kick();
  }

  #discard(): void {
    const scratch = new Uint8Array(Math.min(this.#tcp.readableBytes, READ_CHUNK_BYTES));
    while (this.#tcp.readableBytes > 0) this.#tcp.read(this.#owner.driver.nowMs(), scratch, 0, scratch.length);
    this.#owner.driver.kick();
  }

  #linger(checksLeft: number): void {
    this.#cancelLinger = this.#owner.delay(LINGER_CHECK_MS, () => {
      if (this.#isGone) return;
      // Everything of ours has arrived and the other side never closes: nobody here will read what it may still say.
      if (checksLeft === 0 || this.#tcp.state === 'FIN-WAIT-2') this.abort();
      else this.#linger(checksLeft - 1);
    });
  }

  #connected(error: NetError | undefined): void {
    this.#onConnected?.(error);
    this.#onConnected = undefined;
  }

  #finish(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#cancelLinger?.();
    this.#connected(this.#goneError());
    this.#pumpReads();
    for (const { reject } of this.#writes.splice(0)) reject(this.#goneError());
    for (const resolve of this.#ends.splice(0)) resolve();
    this.#resolveClosed?.();
    this.#owner.forgetConnection(this.#tcp);
  }

  #goneError(): NetError {
    return this.error ?? new NetError('ERR_CLOSED', 'the connection is closed');
  }

  #describe(code: ErrorCode): string {
    const to = `${this.remote.address} port ${this.remote.port}`;
    if (code === 'ERR_CONNECTION_REFUSED') return `${to} refused the connection: nothing listens there`;
    if (code === 'ERR_CONNECTION_RESET') return `${to} reset the connection`;
    if (code === 'ERR_TIMED_OUT') return `${to} did not answer in time`;
    if (code === 'ERR_UNREACHABLE') return `${to} cannot be reached: no peer carries this address, or it said so`;
    if (code === 'ERR_NOT_ALLOWED') return `the rules of the tailnet no longer allow ${to} this connection`;
    if (code === 'ERR_ABORTED') return `the connection to ${to} was aborted by this side`;
    return `the connection to ${to} failed (${code})`;
  }
}

/** Throws TypeError unless `value` is a Uint8Array: anything else of some length would be sent as zeros, or never. */
export function mustBeBytes(value: unknown, name: string): void {
  if (!(value instanceof Uint8Array)) throw new TypeError(`"${name}" expected a Uint8Array, got ${typeOf(value)}`);
}

function typeOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value === null ? null : typeof value);
  return value.constructor?.name ?? 'object';
}
