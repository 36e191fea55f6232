/**
 * All UDP sockets of a stack: ports, demultiplexing, turns to send (RFC 768, RFC 6056, RFC 8085).
 *
 * Sockets take turns datagram by datagram, so that a busy one does not keep the others from sending; all together
 * are bounded in bytes. Ephemeral ports are drawn at random.
 */
import { type Endpoint, formatAddress } from '../base/address.ts';
import { equalRange, readU16BE } from '../base/bytes.ts';
import { sumBytes } from '../base/checksum.ts';
import { type DropCounters, dropReason } from '../base/drop.ts';
import { type ErrorCode, NetError } from '../base/errors.ts';
import type { Slot } from '../base/slot.ts';
import type { Packet } from '../packet/classify.ts';
import { checkUdp } from '../packet/udp.ts';
import type { Addresses } from './addresses.ts';
import { Fifo } from './fifo.ts';
import { PortList } from './port-list.ts';
import type { SendQueue } from './send-queue.ts';
import type { StackContext } from './stack-context.ts';
import type { StackLimits } from './stack-limits.ts';
import { type UdpHost, UdpSocket } from './udp.ts';

/** Ports that the stack chooses from: 32768 to 65535. */
const EPHEMERAL_FIRST = 32_768;
const EPHEMERAL_COUNT = 32_768;

const NO_SOCKET = /* @__PURE__ */ dropReason('udp-no-socket');
const QUEUE_FULL = /* @__PURE__ */ dropReason('udp-queue-full');
const NO_FLOW = /* @__PURE__ */ dropReason('icmp-no-flow');
const IGNORED = /* @__PURE__ */ dropReason('icmp-ignored');

/** All UDP sockets of a stack. */
export class UdpTable implements UdpHost {
  readonly #context: StackContext;
  readonly #sockets = new PortList<UdpSocket>();
  /** INVARIANT: a socket is in it at most once. */
  readonly #readable = new Fifo<UdpSocket>(Infinity);
  /** Sockets with something to send. */
  readonly #sending: UdpSocket[] = [];
  #turn = 0;
  #sendBytes = 0;

  constructor(context: StackContext) {
    this.#context = context;
  }

  get random(): (out: Uint8Array) => void {
    return this.#context.random;
  }

  get limits(): StackLimits {
    return this.#context.limits;
  }

  get drops(): DropCounters {
    return this.#context.drops;
  }

  get addresses(): Addresses {
    return this.#context.addresses;
  }

  /** Open sockets. */
  get size(): number {
    return this.#sockets.entries.length;
  }

  /** Bytes that wait to be sent in all sockets. */
  get queuedBytes(): number {
    return this.#sendBytes;
  }

  /**
   * Binds a socket to `port` (0 to 65535; 0 draws a free one at random) on `address`, or on all own addresses.
   * Throws NetError `ERR_ADDRESS_IN_USE`, `ERR_ADDRESS_UNAVAILABLE`, `ERR_LIMIT`; RangeError for a bad port.
   */
  bind(port: number, address?: Uint8Array): UdpSocket {
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new RangeError(`"port" expected 0 to 65535, got ${port}`);
    if (address !== undefined && !this.addresses.has(address, 0, address.length))
      throw new NetError('ERR_ADDRESS_UNAVAILABLE', 'the address to bind to is not one of this device');
    if (this.size >= this.limits.udpSockets)
      throw new NetError('ERR_LIMIT', `no more than ${this.limits.udpSockets} UDP sockets`);
    const local = address?.slice();
    const free = port === 0 ? this.#choosePort(local) : port;
    if (!this.#isFree(free, local)) throw new NetError('ERR_ADDRESS_IN_USE', `UDP port ${free} is in use`);
    const socket = new UdpSocket(this, free, local);
    this.#sockets.add(socket);
    return socket;
  }

  #isFree(port: number, address: Uint8Array | undefined): boolean {
    const { entries } = this.#sockets;
    for (let i = this.#sockets.first(port); entries[i]?.port === port; i++)
      if (overlaps(entries[i]!.address, address)) return false;
    return true;
  }

  /** RFC 6056 §3.3.1: a random start, then the next free one. */
  #choosePort(address: Uint8Array | undefined): number {
    const draw = new Uint8Array(2);
    this.random(draw);
    const start = readU16BE(draw, 0);
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const port = EPHEMERAL_FIRST + ((start + i) % EPHEMERAL_COUNT);
      if (this.#isFree(port, address)) return port;
    }
    throw new NetError('ERR_LIMIT', 'no free UDP port is left');
  }

  /** The open socket that takes what is sent to `port` at the own address at `offset`. */
  #find(port: number, buf: Uint8Array, offset: number, length: number): UdpSocket | undefined {
    const { entries } = this.#sockets;
    for (let i = this.#sockets.first(port); entries[i]?.port === port; i++) {
      const socket = entries[i]!;
      const { address } = socket;
      if (address === undefined) return socket;
      if (address.length === length && equalRange(address, 0, buf, offset, length)) return socket;
    }
    return undefined;
  }

  /** Takes a whole UDP packet to one of our addresses. Returns 0 or a counted negative reason. */
  handlePacket(buf: Uint8Array, packet: Packet): number {
    const { payload, end, family, source, addressBytes } = packet;
    const length = checkUdp(buf, payload, end, family, sumBytes(buf, source, source + addressBytes * 2));
    if (length < 0) return this.drops.count(length);
    const socket = this.#find(packet.destinationPort, buf, packet.destination, addressBytes);
    if (socket === undefined) return this.drops.count(NO_SOCKET);
    if (!socket.deliver(buf, packet, length)) return this.drops.count(QUEUE_FULL);
    if (socket.shouldNotify()) this.#readable.push(socket);
    return 0;
  }

  /** An error quotes a datagram of ours. Returns 0 when a socket sent to there lately, else a counted reason. */
  handleError(buf: Uint8Array, quote: Packet, code: ErrorCode): number {
    const socket = this.#findFlow(buf, quote);
    if (socket === undefined) return this.drops.count(NO_FLOW); // CHECK: udp-error-without-flow
    const address = formatAddress(buf, quote.destination, quote.addressBytes);
    const remote: Endpoint = { address, port: quote.destinationPort };
    return this.#context.flows.pushEvent({ type: 'udp-error', socket, code, remote }) ? 0 : this.drops.count(IGNORED);
  }

  /** Whether a quoted datagram is one that an open socket may have sent lately. */
  hasFlow(buf: Uint8Array, quote: Packet): boolean {
    return this.#findFlow(buf, quote) !== undefined;
  }

  #findFlow(buf: Uint8Array, quote: Packet): UdpSocket | undefined {
    const socket = this.#find(quote.sourcePort, buf, quote.source, quote.addressBytes);
    return socket?.hasSentTo(buf, quote.destination, quote.addressBytes, quote.destinationPort) ? socket : undefined;
  }

  reserve(queue: SendQueue, bytes: number): number {
    if (this.#sendBytes + bytes > this.limits.udpSendTotalBytes) return -1; // CHECK: udp-send-total
    return queue.reserve(bytes);
  }

  commit(socket: UdpSocket): void {
    const queue = socket.queue!;
    if (queue.count === 0) this.#sending.push(socket);
    const before = queue.bytes;
    queue.commit();
    this.#sendBytes += queue.bytes - before;
  }

  release(socket: UdpSocket): void {
    this.#sockets.remove(socket);
  }

  /** Writes the next packet or fragment into `slot`. Sockets take turns; fragments of one datagram stay together. */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    const sending = this.#sending;
    if (sending.length === 0) return false;
    if (this.#turn >= sending.length) this.#turn = 0;
    const socket = sending[this.#turn]!;
    const queue = socket.queue!;
    const before = queue.bytes;
    queue.poll(nowMs, slot, this.#context.mtus);
    this.#sendBytes -= before - queue.bytes;
    if (queue.capacity === 0) socket.queue = undefined;
    if (queue.count === 0) {
      const last = sending.pop()!;
      if (this.#turn < sending.length) sending[this.#turn] = last;
    } else if (!queue.isInsidePacket) this.#turn++;
    return true;
  }

  /** The next socket that became readable. */
  pollReadable(): UdpSocket | undefined {
    for (let socket = this.#readable.shift(); socket !== undefined; socket = this.#readable.shift())
      if (!socket.isClosed) return socket;
    return undefined;
  }
}

/** Whether two bindings to one port would compete: same address, or one of them takes all. */
function overlaps(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined || (a.length === b.length && equalRange(a, 0, b, 0, a.length));
}
