/** A UDP socket inside the tunnel, as promises and as an async iterable. */
import { type Endpoint, formatAddress, parseAddress } from '../base/address.ts';
import type { NetError } from '../base/errors.ts';
import type { Driver } from '../driver.ts';
import { type UdpDatagram, type UdpSocket as UdpMachine, udpDatagram } from '../netstack/udp.ts';
import { mustBeBytes } from './connection.ts';
import { closedError } from './listener.ts';

/** A datagram that arrived. */
export interface Datagram {
  /** The payload, a fresh array. */
  readonly data: Uint8Array;
  readonly from: Endpoint;
}

/** What a UDP socket needs of its mote. */
export interface UdpSocketOwner {
  readonly driver: Driver;
  /** The socket is closed. */
  forgetUdpSocket(socket: UdpMachine): void;
}

/** Sends and receives datagrams inside the tunnel. Made by `udp`. */
export class UdpSocket {
  readonly #owner: UdpSocketOwner;
  readonly #socket: UdpMachine;
  readonly #out: UdpDatagram = udpDatagram();
  readonly #receives: { resolve: (got: Datagram | undefined) => void; reject: (error: NetError) => void }[] = [];
  #isClosed = false;

  /** For the mote only. */
  constructor(owner: UdpSocketOwner, socket: UdpMachine) {
    this.#owner = owner;
    this.#socket = socket;
  }

  /** The port inside the tunnel. */
  get port(): number {
    return this.#socket.port;
  }

  /**
   * Sends one datagram of 0 to 65,507 bytes (IPv6: 65,527), in fragments when it is larger than the MTU.
   * False: it was dropped (queue full, no own address of that family, too large, or port 0, from which datagrams
   * come that want no answer), as any datagram may be.
   * Throws NetError `ERR_CLOSED` after close, TypeError and RangeError for data or an address that are none.
   */
  send(data: Uint8Array, to: Endpoint): boolean {
    if (this.#isClosed) throw closedError('the socket');
    mustBeBytes(data, 'data');
    const remote = parseAddress(to.address);
    if (remote === undefined) throw new RangeError(`"to" expected an IP address, got '${to.address}'`);
    if (to.port === 0) return false;
    const sent = this.#socket.send(this.#owner.driver.nowMs(), data, 0, data.length, remote, to.port);
    this.#owner.driver.kick();
    return sent >= 0;
  }

  /**
   * The next datagram, or undefined once the socket is closed. Rejects with NetError `ERR_CONNECTION_REFUSED` or
   * `ERR_UNREACHABLE` when a destination answered that it does not take what was sent; the socket stays usable.
   */
  receive(): Promise<Datagram | undefined> {
    if (this.#isClosed) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#receives.push({ resolve, reject });
      this.handleReadable();
    });
  }

  /** Datagrams until the socket is closed; leaving the loop closes it. Unreachable destinations are skipped. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Datagram, void, undefined> {
    try {
      while (!this.#isClosed) {
        const got = await this.receive().catch(() => 'unreachable' as const);
        if (got === undefined) return;
        if (got !== 'unreachable') yield got;
      }
    } finally {
      this.close();
    }
  }

  /** Closes; waiting receives end with undefined. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
    this.#owner.forgetUdpSocket(this.#socket);
    for (const { resolve } of this.#receives.splice(0)) resolve(undefined);
  }

  /** For the mote only: datagrams are waiting. */
  handleReadable(): void {
    const out = this.#out;
    while (this.#receives.length > 0 && this.#socket.receive(out)) {
      const from = { address: formatAddress(out.remote), port: out.remotePort };
      this.#receives.shift()!.resolve({ data: out.data.slice(out.start, out.end), from });
    }
  }

  /** For the mote only: an ICMP error came back for what this socket sent. */
  handleError(error: NetError): void {
    this.#receives.shift()?.reject(error);
  }
}
