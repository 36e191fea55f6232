/** ECMA-419 Listener (clause 12.3) over a mote: connections that were accepted wait to be read. */
import type { Listener as MoteListener } from '../../lib/mote/listener.ts';
import { Announcer, checkPort, ERROR, READABLE, setTarget } from './tunnel-callbacks.ts';
import type { TunnelTcp, TunnelTcpClass } from './tunnel-tcp.ts';
import type { TunnelMote } from './tunnel.ts';

/** Connections that wait for `read`; further ones are refused. */
const BACKLOG = 8;

/** Options of the constructor. */
export interface TunnelListenerOptions {
  readonly port: number;
  /** One own address; without it all of them. */
  readonly address?: string;
  readonly format?: 'socket/tcp';
  readonly target?: unknown;
  readonly onReadable?: (this: TunnelListener, connections: number) => void;
  /** The port is taken, or the address is not an own one; also called when the mote has closed. */
  readonly onError?: (this: TunnelListener) => void;
}

/** An instance. */
export interface TunnelListener {
  readonly port: number;
  format: 'socket/tcp';
  /** The oldest connection that waits, or undefined. Callbacks come from `new TCP({ from, … })`. */
  read(): TunnelTcp | undefined;
  /** Stops listening; connections that nobody read are reset. Safe to call twice. */
  close(): void;
}

/** The class. Throws RangeError for a port outside 1 to 65535. */
export type TunnelListenerClass = new (options: TunnelListenerOptions) => TunnelListener;

/** The class Listener of a mote. */
export function createListenerClass(mote: TunnelMote, TCP: TunnelTcpClass): TunnelListenerClass {
  return class Listener extends ListenerInstance {
    constructor(options: TunnelListenerOptions) {
      super(mote, TCP, options);
    }
  };
}

class ListenerInstance extends Announcer implements TunnelListener {
  readonly port: number;
  readonly #TCP: TunnelTcpClass;
  readonly #options: TunnelListenerOptions;
  readonly #waiting: TunnelTcp[] = [];
  #listener: MoteListener | undefined;
  #isAccepting = false;

  constructor(mote: TunnelMote, TCP: TunnelTcpClass, options: TunnelListenerOptions) {
    super();
    if (options.format !== undefined) this.format = options.format;
    this.port = checkPort(options.port, 1);
    this.#TCP = TCP;
    this.#options = options;
    setTarget(this, options);
    const { address } = options;
    mote.listen(this.port, { backlog: BACKLOG, ...(address === undefined ? {} : { address }) }).then(
      listener => {
        this.#listener = listener;
        if (this.isSilent) listener.close();
        else this.#accept();
      },
      () => this.raise(ERROR),
    );
  }

  protected override deliver(due: number): void {
    const { onError, onReadable } = this.#options;
    if ((due & ERROR) !== 0) onError?.call(this);
    else if (this.#waiting.length > 0) onReadable?.call(this, this.#waiting.length);
  }

  get format(): 'socket/tcp' {
    return 'socket/tcp';
  }

  set format(format: 'socket/tcp') {
    if (format !== 'socket/tcp') throw new RangeError(`invalid format: expected socket/tcp, got ${String(format)}`);
  }

  read(): TunnelTcp | undefined {
    if (this.isSilent) throw new Error('closed');
    const next = this.#waiting.shift();
    this.#accept();
    return next;
  }

  close(): void {
    if (this.isSilent) return;
    this.silence();
    this.#listener?.close();
    for (const tcp of this.#waiting.splice(0)) tcp.close();
  }

  #accept(): void {
    const listener = this.#listener;
    if (listener === undefined || this.#isAccepting || this.#waiting.length >= BACKLOG) return;
    this.#isAccepting = true;
    void listener.accept().then(connection => {
      this.#isAccepting = false;
      if (connection === undefined) return this.raise(ERROR);
      if (this.isSilent) return connection.abort();
      this.#waiting.push(this.#TCP.accepted(connection));
      this.raise(READABLE);
      this.#accept();
    });
  }
}
