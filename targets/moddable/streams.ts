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
  readonly pins: ReadonlyMap<string, readonly Uint8Array[]> | undefined;
  /** Whether a server without a pin is left to Moddable's verification. */
  readonly trustsModdable: boolean;
  resolve(name: string): Promise<readonly string[]>;
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

/** What the callbacks of a socket find: its stream, until it is given up. For TCP that is the socket itself. */
interface SocketLink {
  target?: unknown;
}

/** One set of functions for all sockets. Late calls of a socket that was given up find nobody. */
const CALLBACKS = /* @__PURE__ */ Object.freeze({
  onReadable(this: SocketLink, bytes: number): void {
    (this.target as ModdableStream | undefined)?.handleReadable(bytes);
  },
  onWritable(this: SocketLink, bytes: number): void {
    (this.target as ModdableStream | undefined)?.handleWritable(bytes);
  },
  onError(this: SocketLink): void {
    (this.target as ModdableStream | undefined)?.handleError();
  },
});

class ModdableStream implements HostStream {
  readonly #host: StreamHost;
  readonly #options: StreamOptions;
  readonly #sink: StreamSink;
  #waiting: string[] | undefined;
  #socket: TcpIo | undefined;
  #link: SocketLink | undefined;
  #watch: TlsWatch | undefined;
  /** Timers: until the stream must be open, until the next address is tried, and for what happens after this call. */
  #deadline: unknown;
  #attempt: unknown;
  #soon: unknown;
  /** Bytes that the socket has announced and that were not read. */
  #readable = 0;
  /** Bytes that the socket takes. */
  #room = 0;
  #state: 'opening' | 'open' | 'ended' | 'done' = 'opening';
  #isPaused = false;
  #owesWritable = false;

  constructor(host: StreamHost, options: StreamOptions, sink: StreamSink) {
    this.#host = host;
    this.#options = options;
    this.#sink = sink;
    const { timeoutMs = TIMEOUT_MS } = options;
    this.#deadline = host.io.timer.set(() => {
      this.#deadline = undefined;
      this.#fail(new NetError('ERR_TIMED_OUT', `${this.#target} did not answer within ${timeoutMs} ms`));
    }, Math.ceil(timeoutMs));
    this.#later(0, () => this.#start());
  }

  /** Does something once this call is over, or after `ms`: there is one such thing at a time. */
  #later(ms: number, run: () => void): void {
    this.#clear(this.#soon);
    this.#soon = this.#host.io.timer.set(() => {
      this.#soon = undefined;
      run();
    }, ms);
  }

  #clear(timer: unknown): void {
    if (timer !== undefined) this.#host.io.timer.clear(timer);
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
    if (pin !== undefined || pins?.has(serverName) === true || trustsModdable) return undefined;
    return `${serverName} is not trusted: this host cannot judge certificates; add its public key to the option "pins"`;
  }

  #try(addresses: readonly string[]): void {
    if (this.#state === 'done') return;
    this.#waiting = addresses.filter(address => !address.includes(':'));
    if (this.#waiting.length > 0) return this.#next();
    this.#fail(new NetError('ERR_UNREACHABLE', `${this.#target} has no IPv4 address, and this host speaks no other`));
  }

  /** One address after the other, each with its share of the time. */
  #next(): void {
    this.#drop();
    const waiting = this.#waiting ?? [];
    const address = waiting.shift();
    if (address === undefined)
      return this.#fail(new NetError('ERR_CONNECTION_REFUSED', `cannot connect to ${this.#target}`));
    const { timeoutMs = TIMEOUT_MS } = this.#options;
    if (waiting.length > 0) {
      const shareMs = Math.ceil(timeoutMs / (waiting.length + 1));
      this.#attempt = this.#host.io.timer.set(() => {
        this.#attempt = undefined;
        this.#next();
      }, shareMs);
    }
    try {
      this.#connect(address);
    } catch {
      this.#later(0, () => this.#next());
    }
  }

  #connect(address: string): void {
    const host = this.#host;
    const { io, pins } = host;
    const { port, tls } = this.#options;
    const options = { address, port, nodelay: true };
    if (tls === undefined || io.tls === undefined) {
      this.#watch = undefined;
      this.#socket = new io.TCP({ ...options, ...CALLBACKS, target: this });
      this.#link = this.#socket;
    } else {
      const publicKeys = tls.pin === undefined ? pins?.get(tls.serverName) : undefined;
      this.#watch = new TlsWatch(
        {
          ...(tls.pin === undefined ? {} : { certificate: tls.pin }),
          ...(publicKeys === undefined ? {} : { publicKeys }),
        },
        bytes => io.tls!.sha256(bytes),
      );
      const verifies = tls.pin === undefined && publicKeys === undefined;
      // TLSSocket has no target, and calls without itself.
      const link: SocketLink = { target: this };
      const callbacks = {
        onReadable: CALLBACKS.onReadable.bind(link),
        onWritable: CALLBACKS.onWritable.bind(link),
        onError: CALLBACKS.onError.bind(link),
      };
      const { serverName } = tls;
      this.#link = link;
      this.#socket = openTls(io.tls, host.watchedTcp, {
        ...options,
        ...callbacks,
        serverName,
        watch: this.#watch,
        verifies,
      });
    }
  }

  /** The socket has so many bytes. */
  handleReadable(bytes: number): void {
    this.#readable = bytes;
    this.#deliver();
  }

  /** What came before the end is read also after it. */
  get #isReading(): boolean {
    return !this.#isPaused && (this.#state === 'open' || this.#state === 'ended');
  }

  #deliver(): void {
    while (this.#isReading && this.#readable > 0) {
      const got = this.#socket!.read(Math.min(this.#readable, READ_BYTES));
      if (got === undefined) break;
      this.#readable -= got.byteLength;
      this.#sink.bytes(new Uint8Array(got), 0, got.byteLength);
    }
  }

  /** The socket takes so many bytes. */
  handleWritable(bytes: number): void {
    this.#room = bytes;
    if (this.#state === 'opening') return this.#open();
    if (!this.#owesWritable || bytes === 0) return;
    this.#owesWritable = false;
    this.#sink.writable();
  }

  #open(): void {
    const watch = this.#watch;
    const isTrusted = watch === undefined || watch.isSettled;
    if (!isTrusted) return this.#distrust(watch.problem ?? 'it did not finish the TLS handshake'); // CHECK: tls-settled
    this.#clearTimers();
    this.#waiting = undefined;
    this.#state = 'open';
    this.#sink.opened();
    this.#deliver();
  }

  /** The socket was refused, broken, or ended by the other side. */
  handleError(): void {
    const problem = this.#watch?.problem;
    if (this.#state === 'opening') {
      if (problem !== undefined) this.#distrust(problem);
      else this.#next();
      return;
    }
    if (problem !== undefined)
      return this.#fail(new NetError('ERR_TLS', `TLS with ${this.#target} failed: ${problem}`));
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#room = 0;
    this.#later(END_GRACE_MS, () =>
      this.#fail(new NetError('ERR_CONNECTION_RESET', `the connection to ${this.#target} is gone`)),
    );
    this.#sink.ended();
  }

  /** Fails a moment later: TLSSocket must not be closed from within its own callback. */
  #distrust(problem: string): void {
    const name = this.#options.tls?.serverName ?? this.#target;
    this.#later(0, () => this.#fail(new NetError('ERR_TLS', `${name} is not trusted: ${problem}`)));
  }

  write(buf: Uint8Array, start: number, end: number): number {
    if (this.#state !== 'open' || start >= end) return 0;
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
    if (this.#state === 'done') return;
    this.#finish();
    this.#drop();
  }

  #fail(error: NetError): void {
    if (this.#state === 'done') return;
    this.#finish();
    this.#drop();
    this.#sink.failed(error);
  }

  #finish(): void {
    this.#state = 'done';
    this.#clearTimers();
    this.#clear(this.#soon);
    this.#soon = undefined;
  }

  /** Those that wait for the stream to open. */
  #clearTimers(): void {
    this.#clear(this.#deadline);
    this.#clear(this.#attempt);
    this.#deadline = undefined;
    this.#attempt = undefined;
  }

  #drop(): void {
    this.#clear(this.#attempt);
    this.#attempt = undefined;
    if (this.#link !== undefined) this.#link.target = undefined;
    this.#link = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    this.#readable = 0;
    socket?.close();
  }
}
