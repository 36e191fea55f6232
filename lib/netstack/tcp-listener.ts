/**
 * Listeners and their half-open connections.
 *
 * A flood of SYNs costs a bounded amount of memory: a half-open connection has no rings, there are at most `backlog`
 * of them per listener and `halfOpen` over all, and when either is full the oldest makes room. Under a flood of F SYNs
 * per second, an honest peer gets in if its round trip is shorter than `halfOpen / F`. SYN cookies were left out: they
 * would cost window scaling or SACK for exactly the peers that matter, and in a tunnel every SYN comes from a known peer.
 */
import { equalBytes } from '../base/bytes.ts';
import type { Tcb } from './tcp-tcb.ts';

/** A port on which connections are accepted. */
export class TcpListener {
  readonly port: number;
  /** Local address (4 or 16 bytes), undefined for all. */
  readonly address: Uint8Array | undefined;
  readonly backlog: number;
  /**
   * Set by the application that is behind with accepting: new SYNs are dropped without an answer, so that clients
   * try again a little later.
   */
  isPaused = false;
  /** Half-open connections, oldest first. Owned by the machine. */
  readonly halfOpen = new Set<Tcb>();
  /** Accepted connections that were not announced yet. Owned by the machine. */
  readonly unannounced = new Set<Tcb>();
  readonly #onClose: (listener: TcpListener) => void;

  constructor(
    port: number,
    address: Uint8Array | undefined,
    backlog: number,
    onClose: (listener: TcpListener) => void,
  ) {
    this.port = port;
    this.address = address;
    this.backlog = backlog;
    this.#onClose = onClose;
  }

  /** Stops listening; half-open connections are reset, accepted ones live on. Safe to call twice. */
  close(): void {
    this.#onClose(this);
  }
}

/** All listeners of a machine, by port. */
export class ListenerTable {
  readonly #byPort = new Map<number, TcpListener[]>();

  /** The listener for a port and local address `buf[start, start + length)`; one for exactly the address is preferred. */
  find(port: number, buf: Uint8Array, start: number, length: number): TcpListener | undefined {
    const listeners = this.#byPort.get(port);
    if (listeners === undefined) return undefined;
    let any: TcpListener | undefined;
    for (const listener of listeners) {
      if (listener.address === undefined) any = listener;
      else if (isAddress(listener.address, buf, start, length)) return listener;
    }
    return any;
  }

  /** Whether a listener on the port with the same address (or the same lack of one) exists. */
  has(port: number, address: Uint8Array | undefined): boolean {
    const listeners = this.#byPort.get(port);
    if (listeners === undefined) return false;
    for (const { address: other } of listeners) {
      if (other === address) return true;
      if (other !== undefined && address !== undefined && equalBytes(other, address)) return true;
    }
    return false;
  }

  /** Whether anybody listens on the port. */
  hasPort(port: number): boolean {
    return this.#byPort.has(port);
  }

  /** Adds a listener. */
  add(listener: TcpListener): void {
    const listeners = this.#byPort.get(listener.port);
    if (listeners === undefined) this.#byPort.set(listener.port, [listener]);
    else listeners.push(listener);
  }

  /** Removes a listener; false when it is not there. */
  remove(listener: TcpListener): boolean {
    const listeners = this.#byPort.get(listener.port);
    const at = listeners === undefined ? -1 : listeners.indexOf(listener);
    if (at < 0) return false;
    listeners!.splice(at, 1);
    if (listeners!.length === 0) this.#byPort.delete(listener.port);
    return true;
  }
}

function isAddress(address: Uint8Array, buf: Uint8Array, start: number, length: number): boolean {
  if (address.length !== length) return false;
  for (let i = 0; i < length; i++) if (address[i] !== buf[start + i]) return false;
  return true;
}
