/**
 * `Host.openStream` over ECMA-419 TCP and Moddable's TLSSocket.
 *
 * ECMA-419 has no half close and one `onError` for everything: the other side's end, a reset, a refusal. Before the
 * stream is open that is `ERR_CONNECTION_REFUSED`. After that it is told as the end, because a stream that ends is the
 * usual case, and then, unless the stream was closed meanwhile, as `ERR_CONNECTION_RESET`, because nothing more can be
 * written. A protocol on top must therefore know by itself when a message is whole; those of motenet do. IPv4 only.
 *
 * TLS needs a pin: of the certificate in the options, or of its public key in the host's `pins`. See `tls-watch.ts` for
 * why Moddable's own verification does not count, unless the application says that it does.
 */
import { parseAddress } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { HostStream, StreamOptions, StreamSink, StreamTlsOptions } from '../../lib/ports.ts';
import type { ModdableIo, TcpIo } from './io.ts';
import { type createWatchedTcp, openTls } from './tls.ts';
import { TlsWatch } from './tls-watch.ts';

const TIMEOUT_MS = 10_000;
const PIN_BYTES = 32;
/** What is read in one go: one segment of an ESP32. */
const READ_BYTES = 1460;
/** How long the end may stay unanswered before the stream fails. */
const END_GRACE_MS = 100;

/** What streams need of their host. */
export interface StreamHost {
  readonly io: ModdableIo;
  readonly watchedTcp: ReturnType<typeof createWatchedTcp>;
  /** Accepted public keys (SHA-256) by server name. */
  readonly pins: ReadonlyMap<string, readonly Uint8Array[]>;
  /** Whether a server without a pin is left to Moddable's verification. */
  readonly trustsModdable: boolean;
  resolve(name: string): Promise<readonly string[]>;
  /** Calls `run` after `ms` unless the returned function is called before. */
  after(ms: number, run: () => void): () => void;
}

/** Opens a stream. Throws RangeError for a port, an address or a pin that is none. */
export function openModdableStream(host: StreamHost, options: StreamOptions, sink: StreamSink): HostStream {
  const { port, addresses = [], tls } = options;
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new RangeError(`"port" expected 1 to 65535, got ${port}`);
  const wrong = addresses.find(address => parseAddress(address) === undefined);
  if (wrong !== undefined) throw new RangeError(`"addresses" expected IP addresses, got ${wrong}`);
  if (tls?.pin !== undefined && tls.pin.length !== PIN_BYTES)
    throw new RangeError(`"pin" expected ${PIN_BYTES} bytes, got ${tls.pin.length}`);
  return new ModdableStream(host, options, sink);
}

class ModdableStream implements HostStream {
  readonly #host: StreamHost;
  readonly #options: StreamOptions;
  readonly #sink: StreamSink;
  #waiting: string[] = [];
  #socket: TcpIo | undefined;
  #watch: TlsWatch | undefined;
  #cancelDeadline: () => void;
  #cancelAttempt: () => void = () => undefined;
  #cancelSoon: () => void = () => undefined;
  /** Bytes that the socket has announced and that were not read. */
  #readable = 0;
  /** Bytes that the socket takes. */
  #room = 0;
  #isOpen = false;
  #isDone = false;
  #isPaused = false;
  #hasEnded = false;
  #owesWritable = false;

  constructor(host: StreamHost, options: StreamOptions, sink: StreamSink) {
    this.#host = host;
    this.#options = options;
    this.#sink = sink;
    const { timeoutMs = TIMEOUT_MS } = options;
    this.#cancelDeadline = host.after(timeoutMs, () => {
      this.#fail(new NetError('ERR_TIMED_OUT', `${this.#target} did not answer within ${timeoutMs} ms`));
    });
    this.#cancelSoon = host.after(0, () => this.#start());
  }

  get #target(): string {
    return `${this.#options.host} port ${this.#options.port}`;
  }

  #start(): void {
    const { host, addresses, tls } = this.#options;
    const problem = tls === undefined ? undefined : this.#untrusted(tls);
    if (problem !== undefined) return this.#fail(new NetError('ERR_TLS', problem));
    const known = addresses ?? (parseAddress(host) === undefined ? undefined : [host]);
    if (known !== undefined) return this.#try(known);
    this.#host.resolve(host).then(
      found => this.#try(found),
      error => this.#fail(error as NetError),
    );
  }

  /** Why a TLS stream is not even tried. */
  #untrusted(tls: StreamTlsOptions): string | undefined {
    const { io, pins, trustsModdable } = this.#host;
    const { serverName, pin } = tls;
    if (io.tls === undefined) return `${serverName} wants TLS, which this host does not have`;
    if (pin !== undefined || pins.has(serverName) || trustsModdable) return undefined;
    return `${serverName} is not trusted: this host cannot judge certificates; add its public key to the option "pins"`;
  }

  #try(addresses: readonly string[]): void {
    if (this.#isDone) return;
    this.#waiting = addresses.filter(address => !address.includes(':'));
    if (this.#waiting.length > 0) return this.#next();
    this.#fail(new NetError('ERR_UNREACHABLE', `${this.#target} has no IPv4 address, and this host speaks no other`));
  }

  /** One address after the other, each with its share of the time. */
  #next(): void {
    this.#drop();
    const address = this.#waiting.shift();
    if (address === undefined)
      return this.#fail(new NetError('ERR_CONNECTION_REFUSED', `cannot connect to ${this.#target}`));
    const { timeoutMs = TIMEOUT_MS } = this.#options;
    if (this.#waiting.length > 0)
      this.#cancelAttempt = this.#host.after(timeoutMs / (this.#waiting.length + 1), () => this.#next());
    try {
      this.#connect(address);
    } catch {
      this.#cancelSoon = this.#host.after(0, () => this.#next());
    }
  }

  #connect(address: string): void {
    const { io, watchedTcp, pins } = this.#host;
    const { port, tls } = this.#options;
    // Late calls of a socket that was given up must not be taken for those of the next.
    const isCurrent = () => this.#socket === socket && !this.#isDone;
    const options = {
      address,
      port,
      nodelay: true,
      onReadable: (bytes: number) => isCurrent() && this.#handleReadable(bytes),
      onWritable: (bytes: number) => isCurrent() && this.#handleWritable(bytes),
      onError: () => isCurrent() && this.#handleError(),
    };
    let socket: TcpIo;
    if (tls === undefined || io.tls === undefined) {
      this.#watch = undefined;
      socket = new io.TCP(options);
    } else {
      const publicKeys = tls.pin === undefined ? pins.get(tls.serverName) : undefined;
      this.#watch = new TlsWatch(
        {
          ...(tls.pin === undefined ? {} : { certificate: tls.pin }),
          ...(publicKeys === undefined ? {} : { publicKeys }),
        },
        bytes => io.tls!.sha256(bytes),
      );
      const verifies = tls.pin === undefined && publicKeys === undefined;
      socket = openTls(io.tls, watchedTcp, { ...options, serverName: tls.serverName, watch: this.#watch, verifies });
    }
    this.#socket = socket;
  }

  #handleReadable(bytes: number): void {
    this.#readable = bytes;
    this.#deliver();
  }

  #deliver(): void {
    while (this.#isOpen && !this.#isPaused && !this.#isDone && this.#readable > 0) {
      const got = this.#socket!.read(Math.min(this.#readable, READ_BYTES));
      if (got === undefined) break;
      this.#readable -= got.byteLength;
      this.#sink.bytes(new Uint8Array(got), 0, got.byteLength);
    }
  }

  #handleWritable(bytes: number): void {
    this.#room = bytes;
    if (!this.#isOpen) return this.#open();
    if (!this.#owesWritable || bytes === 0) return;
    this.#owesWritable = false;
    this.#sink.writable();
  }

  #open(): void {
    const watch = this.#watch;
    const isTrusted = watch === undefined || watch.isSettled;
    if (!isTrusted) return this.#distrust(watch.problem ?? 'it did not finish the TLS handshake'); // CHECK: tls-settled
    this.#cancelDeadline();
    this.#cancelAttempt();
    this.#isOpen = true;
    this.#sink.opened();
    this.#deliver();
  }

  #handleError(): void {
    const problem = this.#watch?.problem;
    if (!this.#isOpen) {
      if (problem !== undefined) this.#distrust(problem);
      else this.#next();
      return;
    }
    if (problem !== undefined)
      return this.#fail(new NetError('ERR_TLS', `TLS with ${this.#target} failed: ${problem}`));
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#room = 0;
    this.#cancelSoon = this.#host.after(END_GRACE_MS, () =>
      this.#fail(new NetError('ERR_CONNECTION_RESET', `the connection to ${this.#target} is gone`)),
    );
    this.#sink.ended();
  }

  /** Fails a moment later: TLSSocket must not be closed from within its own callback. */
  #distrust(problem: string): void {
    const name = this.#options.tls?.serverName ?? this.#target;
    this.#cancelSoon = this.#host.after(0, () =>
      this.#fail(new NetError('ERR_TLS', `${name} is not trusted: ${problem}`)),
    );
  }

  write(buf: Uint8Array, start: number, end: number): number {
    if (!this.#isOpen || this.#isDone || this.#hasEnded || start >= end) return 0;
    const count = Math.min(end - start, this.#room);
    if (count < end - start) this.#owesWritable = true;
    if (count === 0) return 0;
    try {
      this.#room = this.#socket!.write(buf.subarray(start, start + count)) ?? this.#room - count;
      return count;
    } catch {
      this.#room = 0; // it takes less than it had said: until it says so again
      this.#owesWritable = true;
      return 0;
    }
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#deliver();
  }

  close(): void {
    if (this.#isDone) return;
    this.#finish();
    this.#drop();
  }

  #fail(error: NetError): void {
    if (this.#isDone) return;
    this.#finish();
    this.#drop();
    this.#sink.failed(error);
  }

  #finish(): void {
    this.#isDone = true;
    this.#cancelDeadline();
    this.#cancelSoon();
  }

  #drop(): void {
    this.#cancelAttempt();
    const socket = this.#socket;
    this.#socket = undefined;
    this.#readable = 0;
    socket?.close();
  }
}
