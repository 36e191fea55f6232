/**
 * `Host.openDatagrams` over ECMA-419 UDP.
 *
 * What that interface does not have shapes this file: no IPv6, no binding to one address, no way to learn the port that
 * the system chose (so one is drawn here). On an ESP32 the SDK's `read` gives the first buffer of a datagram only:
 * what arrives in IP fragments is cut there, and dropped by the protocol above. On Linux the SDK polls for one datagram
 * every 20 ms.
 */
import { canonicalAddress, type Endpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { DatagramOptions, Datagrams, DatagramSink, Random } from '../../lib/ports.ts';
import type { UdpClass, UdpIo } from './io.ts';

/** The largest UDP payload over IPv4. */
const MAX_DATAGRAM_BYTES = 65_507;
/** The dynamic ports (RFC 6335 §6), of which one is drawn. */
const FIRST_PORT = 49_152;
const PORTS = 16_384;
const PORT_ATTEMPTS = 8;

/** Opens a socket; rejects as `Host.openDatagrams` says, with `ERR_ADDRESS_UNAVAILABLE` for any single address. */
export async function openModdableDatagrams(
  UDP: UdpClass,
  random: Random,
  options: DatagramOptions,
  sink: DatagramSink,
): Promise<Datagrams> {
  const { port, address } = options;
  if (address !== undefined && address !== '0.0.0.0')
    throw new NetError('ERR_ADDRESS_UNAVAILABLE', `cannot bind UDP ${address}: this host binds all addresses only`);
  if (port !== 0) return new ModdableDatagrams(UDP, port, sink);
  for (let attempt = 1; ; attempt++) {
    try {
      return new ModdableDatagrams(UDP, drawPort(random), sink);
    } catch (error) {
      if (attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

function drawPort(random: Random): number {
  const bytes = new Uint8Array(2);
  random(bytes);
  return FIRST_PORT + (((bytes[0]! << 8) | bytes[1]!) % PORTS);
}

/** One function for all sockets: the socket's `target` is who it is for. */
const CALLBACKS = /* @__PURE__ */ Object.freeze({
  onReadable(this: UdpIo, count: number): void {
    (this.target as ModdableDatagrams).handleReadable(count);
  },
});

class ModdableDatagrams implements Datagrams {
  readonly local: readonly Endpoint[];
  readonly #socket: UdpIo;
  readonly #sink: DatagramSink;
  #isClosed = false;

  constructor(UDP: UdpClass, port: number, sink: DatagramSink) {
    this.local = Object.freeze([Object.freeze({ address: '0.0.0.0', port })]);
    this.#sink = sink;
    try {
      this.#socket = new UDP({ port, target: this, ...CALLBACKS });
    } catch (cause) {
      throw new NetError('ERR_ADDRESS_IN_USE', `cannot bind UDP port ${port}: another socket holds it`, { cause });
    }
  }

  /** So many datagrams wait at least. */
  handleReadable(count: number): void {
    for (let left = count; left > 0 && !this.#isClosed; left--) {
      const message = this.#socket.read();
      if (message === undefined) return;
      const address = canonicalAddress(message.address);
      if (address === undefined) continue;
      this.#sink.datagram(new Uint8Array(message), 0, message.byteLength, { address, port: message.port });
    }
  }

  send(buf: Uint8Array, start: number, end: number, to: Endpoint): boolean {
    // An IPv6 address would be read as 255.255.255.255 by the SDK for Linux.
    if (this.#isClosed || end - start > MAX_DATAGRAM_BYTES || to.address.includes(':')) return false;
    try {
      this.#socket.write(buf.subarray(start, end), to.address, to.port);
      return true;
    } catch {
      return false; // its buffers are full, or there is no route: a lost datagram, as the network may lose any
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }
}
