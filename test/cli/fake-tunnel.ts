/**
 * Two ends of a tunnel in memory, in the shape that the proxies need: bounded streams, listeners and UDP, without
 * packets. What `real.test.ts` shows with motes, the other tests show faster and with full control here.
 */
import type { Endpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { ByteListener, ByteStream } from '../../lib/mote/byte-stream.ts';
import type { Tunnel, TunnelUdp } from '../../targets/cli/tunnel.ts';

/** Bytes that one direction of a stream holds. */
export const PIPE_BYTES = 65_536;

/** A queue with one waiting reader at a time. */
class Queue<T> {
  readonly items: T[] = [];
  #wake: () => void = () => undefined;
  isClosed = false;

  push(item: T): void {
    this.items.push(item);
    this.#wake();
  }

  close(): void {
    this.isClosed = true;
    this.#wake();
  }

  async take(): Promise<T | undefined> {
    while (this.items.length === 0 && !this.isClosed)
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    return this.items.shift();
  }
}

/** One direction of a stream. */
class Lane {
  bytes = 0;
  readonly chunks: Uint8Array[] = [];
  isEnded = false;
  #wakes: (() => void)[] = [];

  wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }

  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise<void>(resolve => this.#wakes.push(resolve));
  }
}

/** One end of a stream in memory. */
export class FakeStream implements ByteStream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly closed: Promise<void>;
  keepAliveMs = 0;
  isAborted = false;
  error: NetError | undefined;
  other!: FakeStream;
  readonly #in: Lane;
  readonly #out: Lane;
  #resolveClosed: () => void = () => undefined;

  constructor(local: Endpoint, remote: Endpoint, lanes: { in: Lane; out: Lane }) {
    this.local = local;
    this.remote = remote;
    this.#in = lanes.in;
    this.#out = lanes.out;
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve;
    });
  }

  static pair(near: Endpoint, far: Endpoint): [FakeStream, FakeStream] {
    const [up, down] = [new Lane(), new Lane()];
    const a = new FakeStream(near, far, { in: down, out: up });
    const b = new FakeStream(far, near, { in: up, out: down });
    a.other = b;
    b.other = a;
    return [a, b];
  }

  /** Bytes that were written and not yet read. */
  get inFlight(): number {
    return this.#out.bytes;
  }

  async read(): Promise<Uint8Array | undefined> {
    const lane = this.#in;
    await lane.until(() => lane.chunks.length > 0 || lane.isEnded || this.error !== undefined);
    if (this.error !== undefined) throw this.error;
    const chunk = lane.chunks.shift();
    lane.bytes -= chunk?.length ?? 0;
    lane.wake();
    return chunk;
  }

  async write(data: Uint8Array): Promise<void> {
    const lane = this.#out;
    if (lane.isEnded) throw new NetError('ERR_CLOSED', 'write after end');
    await lane.until(() => lane.bytes < PIPE_BYTES || this.error !== undefined);
    if (this.error !== undefined) throw this.error;
    lane.chunks.push(data.slice());
    lane.bytes += data.length;
    lane.wake();
  }

  async end(): Promise<void> {
    this.#out.isEnded = true;
    this.#out.wake();
    this.#settle();
  }

  abort(): void {
    if (this.isAborted || (this.#in.isEnded && this.#out.isEnded)) return;
    this.isAborted = true;
    this.#break(new NetError('ERR_ABORTED', 'aborted by this side'));
    this.other.#break(new NetError('ERR_CONNECTION_RESET', 'reset by the other side'));
  }

  async close(): Promise<void> {
    await this.end();
  }

  setKeepAlive(intervalMs: number): void {
    this.keepAliveMs = intervalMs;
  }

  #break(error: NetError): void {
    this.error ??= error;
    this.#in.wake();
    this.#out.wake();
    this.#resolveClosed();
  }

  #settle(): void {
    if (!this.#in.isEnded || !this.#out.isEnded) return;
    this.#resolveClosed();
    this.other.#resolveClosed();
  }
}

class FakeUdp implements TunnelUdp {
  readonly port: number;
  readonly queue = new Queue<{ data: Uint8Array; from: Endpoint } | NetError>();
  readonly #tunnel: FakeTunnel;

  constructor(tunnel: FakeTunnel, port: number) {
    this.#tunnel = tunnel;
    this.port = port;
  }

  send(data: Uint8Array, to: Endpoint): boolean {
    if (this.queue.isClosed) throw new NetError('ERR_CLOSED', 'closed');
    if (to.port < 1 || to.port > 65535) throw new RangeError('"to" expected a port');
    const socket = this.#tunnel.peerAt(to.address)?.sockets.get(to.port);
    socket?.queue.push({ data: data.slice(), from: { address: this.#tunnel.address, port: this.port } });
    return true;
  }

  async receive() {
    const got = await this.queue.take();
    if (got instanceof NetError) throw got;
    return got;
  }

  close(): void {
    this.#tunnel.sockets.delete(this.port);
    this.queue.close();
  }
}

/** One member of a network in memory. */
export class FakeTunnel implements Tunnel {
  readonly address: string;
  readonly sockets = new Map<number, FakeUdp>();
  readonly #listeners = new Map<number, Queue<FakeStream>>();
  readonly network: Map<string, FakeTunnel>;
  #nextPort = 40_000;
  /** Set to hold every dial until it resolves. */
  gate: Promise<void> | undefined;

  constructor(network: Map<string, FakeTunnel>, address: string) {
    this.network = network;
    this.address = address;
    network.set(address, this);
  }

  /** Two members of one network. */
  static pair(): [FakeTunnel, FakeTunnel] {
    const network = new Map<string, FakeTunnel>();
    return [new FakeTunnel(network, '10.0.0.1'), new FakeTunnel(network, '10.0.0.2')];
  }

  peerAt(address: string): FakeTunnel | undefined {
    return this.network.get(address);
  }

  async listen(port: number): Promise<ByteListener> {
    if (this.#listeners.has(port)) throw new NetError('ERR_ADDRESS_IN_USE', `port ${port} is in use`);
    const queue = new Queue<FakeStream>();
    this.#listeners.set(port, queue);
    return {
      port,
      accept: () => queue.take(),
      close: () => {
        this.#listeners.delete(port);
        queue.close();
      },
    };
  }

  async dial(host: string, port: number, { signal }: { signal?: AbortSignal } = {}): Promise<FakeStream> {
    const aborted = new Promise<never>((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new NetError('ERR_ABORTED', 'aborted')));
    });
    if (this.gate !== undefined) await Promise.race([this.gate, aborted]);
    const peer = this.peerAt(host);
    if (peer === undefined) throw new NetError('ERR_UNREACHABLE', `no peer carries ${host}`);
    const queue = peer.#listeners.get(port);
    if (queue === undefined) throw new NetError('ERR_CONNECTION_REFUSED', `${host} port ${port} refused`);
    const [near, far] = FakeStream.pair({ address: this.address, port: this.#nextPort++ }, { address: host, port });
    queue.push(far);
    return near;
  }

  async udp(port = 0): Promise<FakeUdp> {
    const chosen = port === 0 ? this.#nextPort++ : port;
    if (this.sockets.has(chosen)) throw new NetError('ERR_ADDRESS_IN_USE', `UDP port ${chosen} is in use`);
    const socket = new FakeUdp(this, chosen);
    this.sockets.set(chosen, socket);
    return socket;
  }
}
