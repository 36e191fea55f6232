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

const MAX_DATAGRAM_BYTES = 65_507;
/** Datagrams that may be on their way into the kernel at once; further ones are dropped. */
const MAX_IN_FLIGHT = 1024;
/** Most datagrams fit into this; larger ones get memory of their own. */
const BUFFER_BYTES = 2048;

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
  readonly #free: Uint8Array[] = [];
  #inFlight = 0;
  #isClosed = false;

  constructor(socket: DenoDatagrams, sink: DatagramSink) {
    this.#socket = socket;
    const { hostname, port } = socket.addr;
    const addresses = hostname === '::' ? ['0.0.0.0', '::'] : [hostname];
    this.local = addresses.map(address => Object.freeze({ address, port }));
    this.#sendsV6 = hostname.includes(':');
    this.#sendsV4 = !this.#sendsV6 || hostname === '::';
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

  /** INVARIANT: Deno may read the bytes after `send` returns, so they are sent from memory that waits for its promise. */
  send(buf: Uint8Array, start: number, end: number, to: Endpoint): boolean {
    const length = end - start;
    const isSendable = to.address.includes(':') ? this.#sendsV6 : this.#sendsV4;
    if (!isSendable || this.#isClosed || length > MAX_DATAGRAM_BYTES || this.#inFlight >= MAX_IN_FLIGHT) return false;
    const memory = length > BUFFER_BYTES ? new Uint8Array(length) : (this.#free.pop() ?? new Uint8Array(BUFFER_BYTES));
    memory.set(buf.subarray(start, end));
    const done = () => {
      this.#inFlight--;
      if (memory.length === BUFFER_BYTES) this.#free.push(memory);
    };
    this.#inFlight++;
    const target: DenoAddress = { transport: 'udp', hostname: to.address, port: to.port };
    this.#socket.send(memory.subarray(0, length), target).then(done, done);
    return true;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }
}
