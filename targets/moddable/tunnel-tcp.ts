/**
 * ECMA-419 TCP (clause 12.1) over the connections of a mote.
 *
 * What a program may rely on, taken from Moddable's class: `onWritable(bytes)` first when the connection stands, then as
 * the other side acknowledges; `onReadable(bytes)` when more has arrived, with all that waits; `onError()` once, when
 * the connection is refused, broken or ended by the other side, and all that arrived before has been read. `write` takes
 * all or throws "would block"; it returns what more may be written. There is no half close.
 */
import type { Connection } from '../../lib/mote/connection.ts';
import { Announcer, bytesOf, checkPort, ERROR, READABLE, setTarget, WRITABLE } from './tunnel-callbacks.ts';
import type { TunnelMote } from './tunnel.ts';

/** `buffer` reads and writes ArrayBuffers, `number` single bytes. */
export type TcpFormat = 'buffer' | 'number';

/** Options of the constructor. Without `address`, `host` may be a name of the tailnet. */
export interface TunnelTcpOptions {
  readonly address?: string;
  readonly host?: string;
  readonly port?: number;
  /** A TCP instance of the same tunnel, whose connection this one takes over; that one is closed. */
  readonly from?: unknown;
  readonly nodelay?: boolean;
  readonly format?: TcpFormat;
  readonly target?: unknown;
  readonly onReadable?: (this: TunnelTcp, bytes: number) => void;
  readonly onWritable?: (this: TunnelTcp, bytes: number) => void;
  readonly onError?: (this: TunnelTcp) => void;
}

/** An instance. */
export interface TunnelTcp {
  /** Undefined before the connection stands. */
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  format: TcpFormat;
  /**
   * `number`: the next byte. `buffer`: all that waits, or `count` bytes of it. Undefined when nothing waits; throws Error
   * for more than waits.
   */
  read(count?: number): number | ArrayBuffer | undefined;
  /** Fills all of the buffer; returns how many bytes that were. */
  read(into: ArrayBuffer | ArrayBufferView): number | undefined;
  /**
   * Sends a byte or a buffer, copied. Returns how many bytes may be written now. Throws Error: `not ready` before the
   * first `onWritable` and after `onError`, `would block` for more than fits.
   */
  write(value: number | ArrayBuffer | ArrayBufferView, options?: unknown): number;
  /** Sends what was written, ends; no callback follows. Safe to call twice. */
  close(): void;
}

/** The class; instances of one tunnel may be handed on by `{ from }`. */
export type TunnelTcpClass = {
  new (options: TunnelTcpOptions): TunnelTcp;
  /** For the listener: an instance around a connection that stands, without callbacks. */
  accepted(connection: Connection): TunnelTcp;
};

/** What a new instance is made of, when it is not dialled. */
const ADOPTED: unique symbol = Symbol('adopted');
interface Adoption extends TunnelTcpOptions {
  readonly [ADOPTED]: Connection;
}

/** The class TCP of a mote. */
export function createTcpClass(mote: TunnelMote): TunnelTcpClass {
  return class TCP extends TcpInstance {
    constructor(options: TunnelTcpOptions) {
      super(mote, options);
    }

    static accepted(connection: Connection): TunnelTcp {
      const options: Adoption = { [ADOPTED]: connection };
      return new TCP(options);
    }
  };
}

class TcpInstance extends Announcer implements TunnelTcp {
  readonly #mote: TunnelMote;
  readonly #options: TunnelTcpOptions;
  #format: TcpFormat = 'buffer';
  #connection: Connection | undefined;
  #isBroken = false;
  /** Bytes that were announced and not read. */
  #announced = 0;
  /** Bytes that the caller knows it may write. */
  #room = 0;
  /** Accepted, and kept as it is until somebody takes it over: also one that has ended may have something to say. */
  readonly #isUnclaimed: boolean;

  constructor(mote: TunnelMote, options: TunnelTcpOptions) {
    super();
    this.#mote = mote;
    if (typeof options !== 'object' || options === null) throw new TypeError('invalid options: expected an object');
    this.#options = options;
    if (options.format !== undefined) this.format = options.format;
    const accepted = (options as Partial<Adoption>)[ADOPTED];
    this.#isUnclaimed = accepted !== undefined;
    const adopted = accepted ?? this.#takeFrom(options.from);
    if (adopted !== undefined) this.#attach(adopted);
    else this.#dial(options.address ?? options.host, checkPort(options.port, 1));
    setTarget(this, options);
  }

  get remoteAddress(): string | undefined {
    return this.#connection?.remote.address;
  }

  get remotePort(): number | undefined {
    return this.#connection?.remote.port;
  }

  get format(): TcpFormat {
    return this.#format;
  }

  set format(format: TcpFormat) {
    if (format !== 'buffer' && format !== 'number')
      throw new RangeError(`invalid format: expected buffer or number, got ${String(format)}`);
    this.#format = format;
  }

  read(count?: number): number | ArrayBuffer | undefined;
  read(into: ArrayBuffer | ArrayBufferView): number | undefined;
  read(what?: number | ArrayBuffer | ArrayBufferView): number | ArrayBuffer | undefined {
    this.#mustBeOpen();
    const waiting = this.#connection?.readableBytes ?? 0;
    if (waiting === 0) return undefined;
    if (this.#format === 'number') {
      const one = new Uint8Array(1);
      this.#take(one);
      return one[0];
    }
    const out = typeof what === 'object' ? bytesOf(what) : new Uint8Array(what ?? waiting);
    if (out.length === 0 || out.length > waiting)
      throw new Error(`invalid: ${out.length} bytes were asked for, ${waiting} wait`);
    this.#take(out);
    return typeof what === 'object' ? out.length : (out.buffer as ArrayBuffer);
  }

  write(value: number | ArrayBuffer | ArrayBufferView): number {
    this.#mustBeOpen();
    const connection = this.#connection;
    if (connection === undefined) throw new Error('not ready');
    const bytes = this.#format === 'number' ? Uint8Array.of(Number(value)) : bytesOf(value);
    if (bytes.length > connection.writableBytes) throw new Error('would block');
    const taken = connection.writeNow(bytes, 0, bytes.length);
    // INVARIANT: what was announced is taken. When memory is too short even so, half a message must not go out.
    if (taken < bytes.length) {
      connection.abort();
      throw new Error('no memory');
    }
    this.#room = connection.writableBytes;
    return this.#room;
  }

  close(): void {
    if (this.isSilent) return;
    this.silence();
    const connection = this.#release();
    void connection?.close();
  }

  #mustBeOpen(): void {
    if (this.isSilent) throw new Error('closed');
  }

  #take(out: Uint8Array): void {
    const connection = this.#connection!;
    connection.readNow(out, 0, out.length);
    this.#announced = Math.max(0, this.#announced - out.length);
    if (connection.hasEnded) this.raise(ERROR);
  }

  #dial(host: string | undefined, port: number): void {
    if (typeof host !== 'string' || host === '') throw new Error('invalid address');
    this.#mote.dial(host, port).then(
      connection => {
        if (this.isSilent) void connection.close();
        else this.#attach(connection);
      },
      () => this.raise(ERROR),
    );
  }

  #takeFrom(from: unknown): Connection | undefined {
    if (from === undefined) return undefined;
    const isOurs = from instanceof TcpInstance && from.#mote === this.#mote;
    const connection = isOurs ? from.#release() : undefined;
    if (connection === undefined) throw new Error('invalid from: expected a TCP of this tunnel that is connected');
    (from as TcpInstance).silence();
    return connection;
  }

  #attach(connection: Connection): void {
    this.#connection = connection;
    if (this.#options.nodelay !== undefined) connection.setNoDelay(this.#options.nodelay === true);
    connection.onReady = () => this.#ready();
    this.#ready();
  }

  /** Lets go of the connection. */
  #release(): Connection | undefined {
    const connection = this.#connection;
    if (connection !== undefined) connection.onReady = undefined;
    this.#connection = undefined;
    return connection;
  }

  #ready(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const { readableBytes, writableBytes, hasEnded } = connection;
    const readable = readableBytes > this.#announced ? READABLE : 0;
    const writable = writableBytes > this.#room ? WRITABLE : 0;
    this.raise(readable | writable | (hasEnded ? ERROR : 0));
  }

  protected override deliver(due: number): void {
    const { onReadable, onWritable } = this.#options;
    const readable = this.#connection?.readableBytes ?? 0;
    if ((due & READABLE) !== 0 && readable > 0) {
      this.#announced = readable;
      onReadable?.call(this, readable);
    }
    if (this.isSilent || this.#isBroken) return;
    // The end is told when all has been read: `read` raises it again.
    if ((due & ERROR) !== 0 && this.#connection?.hasEnded !== false)
      return this.#isUnclaimed ? undefined : this.#break();
    const writable = this.#connection?.writableBytes ?? 0;
    if ((due & WRITABLE) === 0 || writable === 0) return;
    this.#room = writable;
    onWritable?.call(this, writable);
  }

  #break(): void {
    this.#isBroken = true;
    void this.#release()?.close();
    this.#options.onError?.call(this);
  }
}
