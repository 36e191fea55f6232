/**
 * Listeners and their half-open connections.
 *
 * A flood of SYNs costs a bounded amount of memory: a half-open connection has no rings, there are at most `backlog`
 * of them per listener and `halfOpen` over all, and when either is full the oldest makes room. Under a flood of F SYNs
 * per second, an honest peer gets in if its round trip is shorter than `halfOpen / F`. SYN cookies were left out: they
 * would cost window scaling or SACK for exactly the peers that matter, and in a tunnel every SYN comes from a known peer.
 */
import { equalBytes, equalRange } from '../base/bytes.ts';
import { PortList } from './port-list.ts';

/** What a listener needs of its machine. */
export interface ListenerOwner {
  /** Takes the listener out and resets its half-open connections. */
  closeListener(listener: TcpListener): void;
}

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
  /** Half-open connections. Counted by the machine. */
  halfOpenCount = 0;
  /** Accepted connections that were not announced yet. Counted by the machine. */
  unannouncedCount = 0;
  readonly #owner: ListenerOwner;

  constructor(port: number, address: Uint8Array | undefined, backlog: number, owner: ListenerOwner) {
    this.port = port;
    this.address = address;
    this.backlog = backlog;
    this.#owner = owner;
  }

  /** Stops listening; half-open connections are reset, accepted ones live on. Safe to call twice. */
  close(): void {
    this.#owner.closeListener(this);
  }
}

/** All listeners of a machine, by port. */
export class ListenerTable extends PortList<TcpListener> {
  /** The listener for a port and local address `buf[start, start + length)`; one for exactly the address is preferred. */
  find(port: number, buf: Uint8Array, start: number, length: number): TcpListener | undefined {
    const { entries } = this;
    let any: TcpListener | undefined;
    for (let i = this.first(port); entries[i]?.port === port; i++) {
      const listener = entries[i]!;
      const { address } = listener;
      if (address === undefined) any = listener;
      else if (address.length === length && equalRange(address, 0, buf, start, length)) return listener;
    }
    return any;
  }

  /** Whether a listener on the port with the same address (or the same lack of one) exists. */
  hasAddress(port: number, address: Uint8Array | undefined): boolean {
    const { entries } = this;
    for (let i = this.first(port); entries[i]?.port === port; i++) {
      const other = entries[i]!.address;
      if (other === address) return true;
      if (other !== undefined && address !== undefined && equalBytes(other, address)) return true;
    }
    return false;
  }
}
