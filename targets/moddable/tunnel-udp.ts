/** ECMA-419 UDP (clause 12.2) over a mote. */
import type { Datagram, UdpSocket } from '../../lib/mote/udp-socket.ts';
import { parseAddress } from '../../lib/base/address.ts';
import { Announcer, bytesOf, checkPort, ERROR, READABLE, setTarget } from './tunnel-callbacks.ts';
import type { TunnelMote } from './tunnel.ts';

/** Datagrams that wait for `read` here; more wait in the mote's own queue, which drops the newest when it is full. */
const WAITING = 8;
/** Datagrams that are written before the socket stands, a moment after the constructor. */
const EARLY = 4;

/** A datagram, with its sender written on it. */
export type TunnelMessage = ArrayBuffer & { readonly address: string; readonly port: number };

/** Options of the constructor. */
export interface TunnelUdpOptions {
  /** 0 or absent: a free one. */
  readonly port?: number;
  readonly format?: 'buffer';
  readonly target?: unknown;
  readonly onReadable?: (this: TunnelUdp, datagrams: number) => void;
  /** The port is taken, or the mote has closed. */
  readonly onError?: (this: TunnelUdp) => void;
}

/** An instance. */
export interface TunnelUdp {
  format: 'buffer';
  /** The oldest datagram that waits, or undefined. */
  read(): TunnelMessage | undefined;
  /** Sends a datagram, copied. Throws RangeError for what is no address, Error when it cannot be queued. */
  write(buffer: ArrayBuffer | ArrayBufferView, address: string, port: number): void;
  /** Safe to call twice. */
  close(): void;
}

/** The class. Throws RangeError for a port outside 0 to 65535, and for options of multicast. */
export type TunnelUdpClass = new (options?: TunnelUdpOptions) => TunnelUdp;

/** The class UDP of a mote. */
export function createUdpClass(mote: TunnelMote): TunnelUdpClass {
  return class UDP extends UdpInstance {
    constructor(options: TunnelUdpOptions = {}) {
      super(mote, options);
    }
  };
}

class UdpInstance extends Announcer implements TunnelUdp {
  readonly #options: TunnelUdpOptions;
  readonly #waiting: Datagram[] = [];
  /** Written before the socket stands. */
  #early: Datagram[] | undefined;
  #socket: UdpSocket | undefined;
  #isReceiving = false;

  constructor(mote: TunnelMote, options: TunnelUdpOptions) {
    super();
    this.#options = options;
    if (options.format !== undefined) this.format = options.format;
    if ('multicast' in options) throw new RangeError('invalid multicast: there is none inside the tunnel');
    setTarget(this, options);
    mote.udp(checkPort(options.port ?? 0, 0)).then(
      socket => this.#open(socket),
      () => this.raise(ERROR),
    );
  }

  protected override deliver(due: number): void {
    const { onError, onReadable } = this.#options;
    if ((due & ERROR) !== 0) onError?.call(this);
    else if (this.#waiting.length > 0) onReadable?.call(this, this.#waiting.length);
  }

  get format(): 'buffer' {
    return 'buffer';
  }

  set format(format: 'buffer') {
    if (format !== 'buffer') throw new RangeError(`invalid format: expected buffer, got ${String(format)}`);
  }

  read(): TunnelMessage | undefined {
    this.#mustBeOpen();
    const next = this.#waiting.shift();
    this.#receive();
    if (next === undefined) return undefined;
    const { data, from } = next;
    return Object.assign(data.buffer as ArrayBuffer, { address: from.address, port: from.port });
  }

  write(buffer: ArrayBuffer | ArrayBufferView, address: string, port: number): void {
    this.#mustBeOpen();
    const data = bytesOf(buffer);
    if (parseAddress(String(address)) === undefined) throw new RangeError(`invalid IP address: ${String(address)}`);
    const to = { address, port: checkPort(port, 1) };
    if (this.#socket === undefined) {
      this.#early ??= [];
      if (this.#early.length >= EARLY) throw new Error('UDP send failed: the socket is not ready');
      this.#early.push({ data: data.slice(), from: to });
    } else if (!this.#socket.send(data, to)) throw new Error('UDP send failed');
  }

  close(): void {
    if (this.isSilent) return;
    this.silence();
    this.#socket?.close();
  }

  #mustBeOpen(): void {
    if (this.isSilent) throw new Error('closed');
  }

  #open(socket: UdpSocket): void {
    if (this.isSilent) return socket.close();
    this.#socket = socket;
    for (const { data, from } of this.#early ?? []) socket.send(data, from);
    this.#early = undefined;
    this.#receive();
  }

  #receive(): void {
    const socket = this.#socket;
    if (socket === undefined || this.#isReceiving || this.#waiting.length >= WAITING) return;
    this.#isReceiving = true;
    const done = (got: Datagram | 'unreachable' | undefined) => {
      this.#isReceiving = false;
      if (this.isSilent) return;
      if (got === undefined) return this.raise(ERROR);
      if (got !== 'unreachable') {
        this.#waiting.push(got);
        this.raise(READABLE);
      }
      this.#receive();
    };
    void socket.receive().then(done, () => done('unreachable'));
  }
}
