/**
 * UDP on Deno: one socket of Deno's own for both families, IPv4 addresses being freed of their IPv6-mapped form.
 *
 * Deno's UDP API needs `--unstable-net`. Without it `node:dgram` serves: it works, but sends and receives about a
 * fifth as many datagrams per second, and its receive buffer is the system's default.
 */
import type { Endpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { DatagramOptions, DatagramSink, Datagrams } from '../../lib/ports.ts';
import { bindError, openDgram, SenderCache } from '../node/datagrams.ts';
import { SendQueue } from '../node/send-queue.ts';

const MAX_DATAGRAM_BYTES = 65_507;
/** Opens UDP as {@link Host.openDatagrams} says. */
export async function openDeno(options: DatagramOptions, sink: DatagramSink): Promise<Datagrams> {
  if (Deno.listenDatagram === undefined) return openDgram(options, sink, { setsBuffers: false, sendsAtOnce: false });
  const { address, port } = options;
  if (address !== undefined) return new DenoSocket(listen(address, port), sink);
  let v6: DenoDatagrams;
  try {
    v6 = listen('::', port);
  } catch (error) {
    if ((error as NetError).code === 'ERR_ADDRESS_IN_USE') throw error;
    return new DenoSocket(listen('0.0.0.0', port), sink); // no IPv6 here
  }
  return new DenoSocket(v6, sink);
}

function listen(hostname: string, port: number): DenoDatagrams {
  try {
    return Deno.listenDatagram!({ transport: 'udp', hostname, port });
  } catch (error) {
    throw bindError(error, hostname, port);
  }
}

class DenoSocket implements Datagrams {
  readonly local: readonly Endpoint[];
  readonly #socket: DenoDatagrams;
  readonly #sendsV4: boolean;
  readonly #sendsV6: boolean;
  readonly #queue: SendQueue;
  #isClosed = false;

  constructor(socket: DenoDatagrams, sink: DatagramSink) {
    this.#socket = socket;
    const { hostname, port } = socket.addr;
    const addresses = hostname === '::' ? ['0.0.0.0', '::'] : [hostname];
    this.local = addresses.map(address => Object.freeze({ address, port }));
    this.#sendsV6 = hostname.includes(':');
    this.#sendsV4 = !this.#sendsV6 || hostname === '::';
    this.#queue = new SendQueue((bytes, to) => {
      return socket.send(bytes, { transport: 'udp', hostname: to.address, port: to.port });
    });
    void this.#receive(sink);
  }

  async #receive(sink: DatagramSink): Promise<void> {
    const input = new Uint8Array(65_536);
    const senders = new SenderCache();
    for (;;) {
      let received: [Uint8Array, DenoAddress];
      try {
        received = await this.#socket.receive(input);
      } catch (cause) {
        if (this.#isClosed) return;
        this.close();
        sink.failed(new NetError('ERR_CLOSED', `the UDP socket failed: ${(cause as Error).message}`, { cause }));
        return;
      }
      if (this.#isClosed) return;
      const [bytes, from] = received;
      const address = from.hostname.startsWith('::ffff:') ? from.hostname.slice(7) : from.hostname;
      sink.datagram(input, 0, bytes.length, senders.endpoint(address, from.port));
    }
  }

  send(buf: Uint8Array, start: number, end: number, to: Endpoint): boolean {
    const isSendable = to.address.includes(':') ? this.#sendsV6 : this.#sendsV4;
    if (!isSendable || this.#isClosed || end - start > MAX_DATAGRAM_BYTES) return false;
    return this.#queue.send(buf, start, end, to);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.clear();
    this.#socket.close();
  }
}
