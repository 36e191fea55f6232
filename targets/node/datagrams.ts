/**
 * UDP over `node:dgram`, for Node and for what imitates it: one port, IPv4 and IPv6.
 *
 * Each family has a socket of its own, so that an IPv4 address is never seen in its IPv6-mapped form; a machine without
 * IPv6 just has one. `node:dgram` is fast when it is kept from doing more than is asked: no name look-up (the `lookup`
 * option answers at once), no callback per datagram, and socket buffers that hold a burst.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Endpoint } from '../../lib/base/address.ts';
import { type ErrorCode, NetError } from '../../lib/base/errors.ts';
import type { DatagramOptions, DatagramSink, Datagrams } from '../../lib/ports.ts';
import { SendQueue } from './send-queue.ts';

/** What is asked of the kernel for each direction; it gives what its administrator allows. */
const SOCKET_BUFFER_BYTES = 4 << 20;
/** The largest UDP payload over IPv4; IPv6 could carry 20 more. */
const MAX_DATAGRAM_BYTES = 65_507;
/** Datagrams that wait in the process because the kernel's buffer is full; further ones are dropped. */
const MAX_QUEUED = 64;
/** Senders whose address objects are kept; when there are more, all are forgotten at once. */
const MAX_KNOWN_SENDERS = 4096;
/** How often another port is tried when the one that IPv4 got is taken for IPv6. */
const PORT_ATTEMPTS = 8;

/** What differs between the runtimes that have `node:dgram`. */
export interface DgramTraits {
  /** Whether the socket buffers can be enlarged (on Deno that call enlarges the buffer per datagram instead). */
  readonly setsBuffers: boolean;
  /** Whether `send` has given the bytes to the kernel, or says by `getSendQueueCount` that it has not, on return. */
  readonly sendsAtOnce: boolean;
}

/** Binds one port for both families; rejects as {@link Host.openDatagrams} says. */
export async function openDgram(options: DatagramOptions, sink: DatagramSink, traits: DgramTraits): Promise<Datagrams> {
  const { port, address } = options;
  if (address !== undefined) return new DgramPair([await bind(address, port, traits)], sink, traits);
  for (let attempt = 1; ; attempt++) {
    const v4 = await bind('0.0.0.0', port, traits);
    try {
      const v6 = await bind('::', v4.address().port, traits);
      return new DgramPair([v4, v6], sink, traits);
    } catch (error) {
      const { code } = error as NetError;
      if (code !== 'ERR_ADDRESS_IN_USE') return new DgramPair([v4], sink, traits); // no IPv6 here
      v4.close();
      if (port !== 0 || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

function bind(address: string, port: number, traits: DgramTraits): Promise<Socket> {
  const isV6 = address.includes(':');
  const family = isV6 ? 6 : 4;
  const socket = createSocket({
    type: isV6 ? 'udp6' : 'udp4',
    ipv6Only: isV6,
    lookup: (host, _options, callback) => callback(null, host, family),
  });
  return new Promise((resolve, reject) => {
    const refuse = (error: Error) => {
      socket.close();
      reject(bindError(error, address, port));
    };
    socket.once('error', refuse);
    socket.bind(port, address, () => {
      socket.off('error', refuse);
      if (traits.setsBuffers) enlargeBuffers(socket);
      resolve(socket);
    });
  });
}

function enlargeBuffers(socket: Socket): void {
  for (let bytes = SOCKET_BUFFER_BYTES; bytes >= 1 << 18; bytes /= 2) {
    try {
      socket.setRecvBufferSize(bytes);
      socket.setSendBufferSize(bytes);
      return;
    } catch {
      // Linux gives what it can; other kernels refuse what is too much
    }
  }
}

/** The NetError for a failure to bind, whatever the runtime calls it. */
export function bindError(cause: unknown, address: string, port: number): NetError {
  const { code, name, message } = cause as { code?: string; name?: string; message?: string };
  const isInUse = code === 'EADDRINUSE' || name === 'AddrInUse';
  const netCode: ErrorCode = isInUse ? 'ERR_ADDRESS_IN_USE' : 'ERR_ADDRESS_UNAVAILABLE';
  const why = isInUse ? 'another program holds the port' : (code ?? message);
  return new NetError(netCode, `cannot bind UDP ${address} port ${port}: ${why}`, { cause });
}

class DgramPair implements Datagrams {
  readonly local: readonly Endpoint[];
  readonly #sockets: readonly Socket[];
  readonly #v4: Socket | undefined;
  readonly #v6: Socket | undefined;
  readonly #queue: SendQueue | undefined;
  readonly #input = new Uint8Array(65_536);
  readonly #senders = new SenderCache();
  #output = new Uint8Array(65_536);
  #isClosed = false;

  constructor(sockets: readonly Socket[], sink: DatagramSink, traits: DgramTraits) {
    this.#sockets = sockets;
    this.local = sockets.map(socket => {
      const { address, port } = socket.address();
      return Object.freeze({ address, port });
    });
    this.#v4 = sockets.find((_, i) => !this.local[i]!.address.includes(':'));
    this.#v6 = sockets.find((_, i) => this.local[i]!.address.includes(':'));
    this.#queue = traits.sendsAtOnce ? undefined : new SendQueue((bytes, to) => this.#sendLater(bytes, to));
    for (const socket of sockets) this.#deliver(socket, sink);
  }

  /** Datagrams go to the sink in a plain array of this object's own: a Buffer's `slice` would share memory. */
  #deliver(socket: Socket, sink: DatagramSink): void {
    const input = this.#input;
    socket.on('message', (message: Uint8Array, info: RemoteInfo) => {
      if (this.#isClosed) return;
      input.set(message);
      sink.datagram(input, 0, message.length, this.#senders.endpoint(info.address, info.port));
    });
    socket.on('error', error => {
      if (this.#isClosed || isPassing(error)) return;
      this.close();
      sink.failed(new NetError('ERR_CLOSED', `the UDP socket failed: ${error.message}`, { cause: error }));
    });
  }

  /**
   * INVARIANT: libuv may keep a datagram that the kernel did not take, and reads its bytes later. So every datagram is
   * sent from memory of this object, and that memory is given away once a datagram stays in the queue.
   */
  send(buf: Uint8Array, start: number, end: number, to: Endpoint): boolean {
    const socket = this.#socketFor(to);
    const length = end - start;
    if (socket === undefined || this.#isClosed || length > MAX_DATAGRAM_BYTES || to.port === 0) return false;
    if (this.#queue !== undefined) return this.#queue.send(buf, start, end, to);
    const queued = socket.getSendQueueCount();
    if (queued >= MAX_QUEUED) return false;
    this.#output.set(buf.subarray(start, end));
    socket.send(this.#output, 0, length, to.port, to.address);
    if (socket.getSendQueueCount() > queued) this.#output = new Uint8Array(65_536);
    return true;
  }

  #sendLater(bytes: Uint8Array, to: Endpoint): Promise<void> {
    return new Promise(resolve => {
      this.#socketFor(to)!.send(bytes, to.port, to.address, () => resolve());
    });
  }

  #socketFor(to: Endpoint): Socket | undefined {
    return to.address.includes(':') ? this.#v6 : this.#v4;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue?.clear();
    for (const socket of this.#sockets) socket.close();
  }
}

/**
 * Errors that a UDP socket reports about one datagram, after which it works on: whatever a send met with (an interface
 * that is down, an address without a zone), and what ICMP told.
 */
function isPassing(error: Error): boolean {
  const { code, syscall } = error as { code?: string; syscall?: string };
  if (syscall === 'send') return true;
  return /^E(CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|MSGSIZE|PERM|ACCES|AGAIN|INTR|NOBUFS|NOMEM)$/.test(
    code ?? '',
  );
}

/** Address objects of recent senders, so that a datagram does not make one each time. */
export class SenderCache {
  readonly #known = new Map<string, Endpoint>();
  #last: Endpoint = Object.freeze({ address: '', port: 0 });

  /** The endpoint of this address and port, usually the same object as last time. */
  endpoint(address: string, port: number): Endpoint {
    const last = this.#last;
    if (last.port === port && last.address === address) return last;
    let endpoint = this.#known.get(address);
    if (endpoint?.port !== port) {
      if (this.#known.size >= MAX_KNOWN_SENDERS) this.#known.clear();
      endpoint = Object.freeze({ address, port });
      this.#known.set(address, endpoint);
    }
    this.#last = endpoint;
    return endpoint;
  }
}
