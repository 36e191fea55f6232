/**
 * A UDP socket (RFC 768, RFC 1122 §4.1, RFC 8200 §8.1).
 *
 * A socket is bound to a port on one or on all own addresses. What arrives waits in the socket's bounded ring until
 * it is received; what is sent waits in a second ring until its turn comes (see udp-table.ts). ICMP errors are
 * believed about the destinations that the socket sent to last. Left out: connected sockets, multicast, broadcast,
 * UDP-Lite, checksum-free IPv6.
 */
import { equalRange, readU16BE, writeU16BE } from '../base/bytes.ts';
import { sumBytes } from '../base/checksum.ts';
import { type DropCounters, dropReason } from '../base/drop.ts';
import { NetError } from '../base/errors.ts';
import type { Packet } from '../packet/classify.ts';
import { IPV4_DONT_FRAGMENT, IPV4_HEADER_BYTES, IPV4_SOURCE, writeIpv4Header } from '../packet/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_SOURCE, writeIpv6Header } from '../packet/ipv6.ts';
import { PROTOCOL_UDP } from '../packet/protocol.ts';
import { UDP_HEADER_BYTES, writeUdpHeader } from '../packet/udp.ts';
import { type Addresses, isHostAddress } from './addresses.ts';
import { PacketQueue } from './packet-queue.ts';
import { HOP_LIMIT } from './path.ts';
import { SendQueue } from './send-queue.ts';
import type { StackLimits } from './stack-limits.ts';

/** Largest payload over IPv4. */
export const UDP_MAX_PAYLOAD_IPV4_BYTES = 65_507;
/** Largest payload over IPv6. */
export const UDP_MAX_PAYLOAD_IPV6_BYTES = 65_527;
/** Packets of one socket that wait to be sent, besides the bound in bytes. */
const SEND_PACKETS = 1024;
/** In front of each received payload: address length, port, remote and local address. */
const RECORD_HEADER_BYTES = 36;
const RECORD_REMOTE = 4;
const RECORD_LOCAL = 20;
/** A remembered destination: port, address length, address. */
const RECENT_BYTES = 19;

const QUEUE_FULL = /* @__PURE__ */ dropReason('udp-queue-full');
const TOO_BIG = /* @__PURE__ */ dropReason('udp-too-big');
const NO_SOURCE = /* @__PURE__ */ dropReason('ip-no-source');

/** A received datagram; one object is filled again and again. */
export interface UdpDatagram {
  /** The payload is `data[start, end)`; lent until the next call of the socket or the stack. */
  data: Uint8Array;
  start: number;
  end: number;
  /** Sender's address, 4 or 16 bytes; overwritten by the next receive into this object. */
  remote: Uint8Array;
  /** Sender's port, 0 to 65535; 0 means that no answer is expected. */
  remotePort: number;
  /** The own address that the datagram was sent to, as {@link remote}. */
  local: Uint8Array;
}

/** An object for {@link UdpSocket.receive} to fill. */
export function udpDatagram(): UdpDatagram {
  return {
    data: new Uint8Array(0),
    start: 0,
    end: 0,
    remote: new Uint8Array(4),
    remotePort: 0,
    local: new Uint8Array(4),
  };
}

/** What a socket needs of the table that it is in. */
export interface UdpHost {
  readonly random: (out: Uint8Array) => void;
  readonly limits: StackLimits;
  readonly drops: DropCounters;
  readonly addresses: Addresses;
  /** Room for a packet of `bytes` in a socket's queue, or -1. */
  reserve(queue: SendQueue, bytes: number): number;
  /** The packet that was reserved is complete. */
  commit(socket: UdpSocket): void;
  /** Frees the port. What the socket has queued still leaves. */
  release(socket: UdpSocket): void;
}

/** One bound UDP socket. Made by `UdpTable.bind`. */
export class UdpSocket {
  readonly #host: UdpHost;
  /** The bound port. */
  readonly port: number;
  /** The own address that it is bound to, or undefined for all of them. */
  readonly address: Uint8Array | undefined;
  /** For the table only: what waits to be sent. There is one only while it has memory. */
  queue: SendQueue | undefined = undefined;
  /** What waits to be received; there is one only while it has memory. */
  #received: PacketQueue | undefined = undefined;
  #recent: Uint8Array | undefined;
  #recentCount = 0;
  #recentNext = 0;
  #isNotified = false;
  #isClosed = false;

  /** For the table only. */
  constructor(host: UdpHost, port: number, address: Uint8Array | undefined) {
    this.#host = host;
    this.port = port;
    this.address = address;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Datagrams that wait to be received. */
  get readableDatagrams(): number {
    return this.#received?.count ?? 0;
  }

  /**
   * Queues the datagram `buf[start, end)` to `remote` (4 or 16 bytes) and `port`, in fragments if it is larger than
   * the path MTU. Returns its length in bytes, or a counted negative reason: `udp-too-big` (over 65,507 bytes with
   * IPv4, 65,527 with IPv6, or over the socket's queue), `udp-queue-full`, `ip-no-source` (no own address of that
   * family, or a destination that is no single host). Throws RangeError for a bad port or address, NetError
   * `ERR_CLOSED` after close.
   */
  send(_nowMs: number, buf: Uint8Array, start: number, end: number, remote: Uint8Array, port: number): number {
    if (this.#isClosed) throw new NetError('ERR_CLOSED', 'the UDP socket is closed');
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new RangeError(`"port" expected 1 to 65535, got ${port}`);
    if (remote.length !== 4 && remote.length !== 16)
      throw new RangeError(`"remote" expected 4 or 16 address bytes, got ${remote.length}`);
    const { drops, addresses, limits, random } = this.#host;
    const local = this.address ?? addresses.bytes;
    const localAt = this.address === undefined ? addresses.select(remote) : 0;
    const isUsable = this.address === undefined ? localAt >= 0 : local.length === remote.length;
    if (!isUsable || !isHostAddress(remote)) return drops.count(NO_SOURCE);
    const isV4 = remote.length === 4;
    const bytes = end - start;
    const headerBytes = (isV4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES) + UDP_HEADER_BYTES;
    const most = isV4 ? UDP_MAX_PAYLOAD_IPV4_BYTES : UDP_MAX_PAYLOAD_IPV6_BYTES;
    const isTooBig = bytes > most || bytes + headerBytes + 4 > limits.udpSendBytes;
    if (isTooBig) return drops.count(TOO_BIG); // CHECK: udp-too-big
    this.queue ??= new SendQueue(limits.udpSendBytes, SEND_PACKETS, random);
    const at = this.#host.reserve(this.queue, headerBytes + bytes);
    if (at < 0) return drops.count(QUEUE_FULL);
    const out = this.queue.buf;
    out.set(start === 0 && end === buf.length ? buf : buf.subarray(start, end), at + headerBytes);
    this.#writeHeaders(out, at, bytes, local, localAt, remote, port);
    this.#host.commit(this);
    this.#remember(remote, port);
    return bytes;
  }

  #writeHeaders(
    out: Uint8Array,
    at: number,
    bytes: number,
    local: Uint8Array,
    localAt: number,
    remote: Uint8Array,
    port: number,
  ): void {
    const length = UDP_HEADER_BYTES + bytes;
    if (remote.length === 4) {
      const total = IPV4_HEADER_BYTES + length;
      const flags = IPV4_DONT_FRAGMENT;
      writeIpv4Header(out, at, total, 0, flags, HOP_LIMIT, PROTOCOL_UDP, local, localAt, remote, 0);
      const sum = sumBytes(out, at + IPV4_SOURCE, at + IPV4_HEADER_BYTES);
      writeUdpHeader(out, at + IPV4_HEADER_BYTES, length, this.port, port, sum);
    } else {
      writeIpv6Header(out, at, length, PROTOCOL_UDP, HOP_LIMIT, local, localAt, remote, 0);
      const sum = sumBytes(out, at + IPV6_SOURCE, at + IPV6_HEADER_BYTES);
      writeUdpHeader(out, at + IPV6_HEADER_BYTES, length, this.port, port, sum);
    }
  }

  /** Takes the oldest datagram into `out`. False when none waits; then the stack will tell of the next one. */
  receive(out: UdpDatagram): boolean {
    const received = this.#received;
    const at = received === undefined ? -1 : received.peek();
    if (received === undefined || at < 0) {
      this.#isNotified = false;
      received?.trim();
      if (received?.capacity === 0) this.#received = undefined;
      return false;
    }
    const { buf } = received;
    const addressBytes = buf[at]!;
    if (out.remote.length !== addressBytes) {
      out.remote = new Uint8Array(addressBytes);
      out.local = new Uint8Array(addressBytes);
    }
    for (let i = 0; i < addressBytes; i++) {
      out.remote[i] = buf[at + RECORD_REMOTE + i]!;
      out.local[i] = buf[at + RECORD_LOCAL + i]!;
    }
    out.remotePort = readU16BE(buf, at + 2);
    out.data = buf;
    out.start = at + RECORD_HEADER_BYTES;
    out.end = at + received.peekBytes();
    received.shift();
    return true;
  }

  /** Frees the port and forgets what was not received. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#received = undefined;
    this.#recent = undefined;
    this.#recentCount = 0;
    this.#host.release(this);
  }

  /** For the table only: keeps the datagram of `length` bytes at `packet.payload`; false when there is no room. */
  deliver(buf: Uint8Array, packet: Packet, length: number): boolean {
    const { limits } = this.#host;
    this.#received ??= new PacketQueue(limits.udpReceiveBytes, limits.udpReceiveDatagrams);
    const received = this.#received;
    const bytes = length - UDP_HEADER_BYTES;
    const at = received.reserve(RECORD_HEADER_BYTES + bytes);
    if (at < 0) return false;
    const { source, addressBytes, payload } = packet;
    const out = received.buf;
    out[at] = addressBytes;
    writeU16BE(out, at + 2, packet.sourcePort);
    for (let i = 0; i < addressBytes; i++) {
      out[at + RECORD_REMOTE + i] = buf[source + i]!;
      out[at + RECORD_LOCAL + i] = buf[source + addressBytes + i]!;
    }
    const start = payload + UDP_HEADER_BYTES;
    out.set(buf.subarray(start, start + bytes), at + RECORD_HEADER_BYTES);
    received.commit();
    return true;
  }

  /** For the table only: whether the owner must be told that datagrams wait. */
  shouldNotify(): boolean {
    if (this.#isNotified) return false;
    this.#isNotified = true;
    return true;
  }

  /** For the table only: whether this destination is among the last ones. */
  hasSentTo(buf: Uint8Array, offset: number, length: number, port: number): boolean {
    const recent = this.#recent;
    if (recent === undefined) return false;
    for (let i = 0; i < this.#recentCount; i++) {
      const at = i * RECENT_BYTES;
      if (readU16BE(recent, at) !== port || recent[at + 2] !== length) continue;
      if (equalRange(recent, at + 3, buf, offset, length)) return true;
    }
    return false;
  }

  #remember(remote: Uint8Array, port: number): void {
    if (this.hasSentTo(remote, 0, remote.length, port)) return;
    const limit = this.#host.limits.udpRecentDestinations;
    this.#recent ??= new Uint8Array(limit * RECENT_BYTES);
    const at = this.#recentNext * RECENT_BYTES;
    writeU16BE(this.#recent, at, port);
    this.#recent[at + 2] = remote.length;
    this.#recent.set(remote, at + 3);
    this.#recentNext = (this.#recentNext + 1) % limit;
    this.#recentCount = Math.min(this.#recentCount + 1, limit);
  }
}
