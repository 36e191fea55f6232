/**
 * ICMP and ICMPv6 as a host speaks them (RFC 792, RFC 1122 §3.2.2, RFC 4443, RFC 5927, RFC 8900).
 *
 * Answers echo requests, matches echo replies to our requests, sends errors about what cannot be delivered, and hands
 * the errors of others to the flow that they quote. An error is never sent about an error, about a later fragment, or
 * beyond a rate; the rate's bound varies at random, so that nobody can count our silence (SAD DNS, CVE-2020-25705).
 * Left out: redirects, source quench, timestamps, router and neighbour discovery, multicast listeners: a tunnel needs
 * none, and all are ignored.
 */
import { formatAddress } from '../base/address.ts';
import { equalRange, readU16BE, writeU16BE, writeU32BE } from '../base/bytes.ts';
import { sumBytes } from '../base/checksum.ts';
import { dropReason } from '../base/drop.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Slot } from '../base/slot.ts';
import { classifyQuote, Packet } from '../packet/classify.ts';
import * as icmp from '../packet/icmp.ts';
import { IPV4_DONT_FRAGMENT, IPV4_HEADER_BYTES, writeIpv4Header } from '../packet/ipv4.ts';
import { IPV6_HEADER_BYTES, skipExtensions, writeIpv6Header } from '../packet/ipv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../packet/protocol.ts';
import { HOP_LIMIT } from './path.ts';
import { MIN_MTU_IPV4_BYTES, MIN_MTU_IPV6_BYTES } from './path-mtu.ts';
import { SendQueue } from './send-queue.ts';
import type { StackContext } from './stack-context.ts';

/** Packets that wait to be sent, besides the bound in bytes. */
const QUEUE_PACKETS = 1024;
/** How long the answer to an echo request is awaited. */
const PING_EXPIRY_MS = 60_000;
/** Window of the rate limit for errors. */
const RATE_WINDOW_MS = 1000;

const MALFORMED = /* @__PURE__ */ dropReason('icmp-malformed');
const IGNORED = /* @__PURE__ */ dropReason('icmp-ignored');
const NO_FLOW = /* @__PURE__ */ dropReason('icmp-no-flow');
const RATE_LIMITED = /* @__PURE__ */ dropReason('icmp-rate-limited');
const QUEUE_FULL = /* @__PURE__ */ dropReason('ip-queue-full');

/** An echo request that may still be answered. */
interface Ping {
  readonly remote: Uint8Array;
  readonly id: number;
  readonly sequence: number;
  readonly sentMs: number;
}

/** The machine; see the top of the file. */
export class Icmp {
  readonly #context: StackContext;
  /** What waits to be sent; there is one only while it has memory. */
  #queue: SendQueue | undefined = undefined;
  /** Requests that wait for their answers, oldest first; undefined until the first. */
  #pings: Ping[] | undefined = undefined;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #errorsLeft = 0;

  constructor(context: StackContext) {
    this.#context = context;
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return this.#queue?.bytes ?? 0;
  }

  /** Takes a whole ICMP packet to one of our addresses. Returns 0 or a negative reason, which has been counted. */
  handlePacket(nowMs: number, buf: Uint8Array, packet: Packet): number {
    const { family, payload, end } = packet;
    const addressSum = family === 6 ? sumBytes(buf, packet.source, packet.source + 32) : 0;
    const reason = icmp.checkIcmp(buf, payload, end, family, addressSum);
    if (reason < 0) return this.#drop(reason);
    const type = buf[payload]!;
    const isV4 = family === 4;
    switch (type) {
      case isV4 ? icmp.ICMP_ECHO_REQUEST : icmp.ICMPV6_ECHO_REQUEST:
        return buf[payload + 1] === 0 ? this.#answerEcho(buf, packet) : this.#drop(IGNORED);
      case isV4 ? icmp.ICMP_ECHO_REPLY : icmp.ICMPV6_ECHO_REPLY:
        return buf[payload + 1] === 0 ? this.#matchEcho(nowMs, buf, packet) : this.#drop(IGNORED);
      case isV4 ? icmp.ICMP_UNREACHABLE : icmp.ICMPV6_UNREACHABLE:
      case isV4 ? icmp.ICMP_TIME_EXCEEDED : icmp.ICMPV6_TIME_EXCEEDED:
      case isV4 ? icmp.ICMP_PARAMETER_PROBLEM : icmp.ICMPV6_PARAMETER_PROBLEM:
        return this.#handleError(nowMs, buf, packet);
      case icmp.ICMPV6_TOO_BIG:
        return isV4 ? this.#drop(IGNORED) : this.#handleError(nowMs, buf, packet);
      default:
        return this.#drop(IGNORED);
    }
  }

  /** Queues an echo reply with the request's own body (RFC 1122 §3.2.2.6: whole and unchanged). */
  #answerEcho(buf: Uint8Array, packet: Packet): number {
    const { family, payload, end } = packet;
    const at = this.#reserve(buf, packet, end - payload);
    if (at < 0) return this.#drop(QUEUE_FULL);
    const out = this.#queue!.buf;
    out.set(buf.subarray(payload, end), at);
    out[at] = family === 4 ? icmp.ICMP_ECHO_REPLY : icmp.ICMPV6_ECHO_REPLY;
    this.#finish(buf, packet, at, end - payload);
    return 0;
  }

  #matchEcho(nowMs: number, buf: Uint8Array, packet: Packet): number {
    const ping = this.#takePing(nowMs, buf, packet.payload, packet.source, packet.addressBytes);
    if (ping === undefined) return this.#drop(NO_FLOW); // CHECK: echo-reply-unasked
    const payloadBytes = packet.end - packet.payload - icmp.ICMP_HEADER_BYTES;
    const { id, sequence, sentMs, remote } = ping;
    const event = { type: 'echo-reply', from: formatAddress(remote), id, sequence, payloadBytes } as const;
    return this.#context.flows.pushEvent({ ...event, rttMs: nowMs - sentMs }) ? 0 : this.#drop(IGNORED);
  }

  /** Finds and forgets the request that the echo header at `at` belongs to, sent to the address at `remote`. */
  #takePing(nowMs: number, buf: Uint8Array, at: number, remote: number, addressBytes: number): Ping | undefined {
    const id = readU16BE(buf, at + 4);
    const sequence = readU16BE(buf, at + 6);
    if (this.#pings === undefined) return undefined;
    const pings = this.#pings.filter(ping => nowMs - ping.sentMs < PING_EXPIRY_MS);
    this.#pings = pings;
    const found = pings.findIndex(
      ping =>
        ping.id === id &&
        ping.sequence === sequence &&
        ping.remote.length === addressBytes &&
        equalRange(ping.remote, 0, buf, remote, addressBytes),
    );
    return found < 0 ? undefined : pings.splice(found, 1)[0];
  }

  #handleError(nowMs: number, buf: Uint8Array, packet: Packet): number {
    const { family, payload, end } = packet;
    const { flows, routes } = this.#context;
    const quote = new Packet();
    const quoted = classifyQuote(buf, payload + icmp.ICMP_HEADER_BYTES, end, quote);
    if (quoted < 0) return this.#drop(MALFORMED); // CHECK: icmp-quote-malformed
    if (quote.family !== family) return this.#drop(MALFORMED); // CHECK: icmp-quote-family
    const isOurs = equalRange(buf, quote.source, buf, packet.destination, packet.addressBytes);
    if (!isOurs) return this.#drop(NO_FLOW); // CHECK: icmp-quote-not-ours
    const isOnPath = routes?.isSamePeer(buf, packet.source, quote.destination, packet.addressBytes) ?? true;
    if (!isOnPath) return this.#drop(NO_FLOW); // CHECK: icmp-error-off-path
    const type = buf[payload]!;
    const code = buf[payload + 1]!;
    const isTooBig =
      family === 6
        ? type === icmp.ICMPV6_TOO_BIG
        : type === icmp.ICMP_UNREACHABLE && code === icmp.UNREACHABLE_FRAGMENTATION_NEEDED;
    if (!isTooBig) return flows.handleFlowError(nowMs, buf, quote, type, code);
    const quotedBytes = readU16BE(buf, quote.start + (family === 4 ? 2 : 4)) + (family === 4 ? 0 : IPV6_HEADER_BYTES);
    const mtu = icmp.icmpNextHopMtu(buf, payload, family, quotedBytes);
    if (mtu >= quotedBytes) return this.#drop(IGNORED); // CHECK: too-big-that-fits
    return flows.handleFlowTooBig(nowMs, buf, quote, mtu);
  }

  /** An error quotes an ICMP packet of ours: 0 when it was an echo request that waits for its answer, else a counted reason. */
  handleQuotedEcho(nowMs: number, buf: Uint8Array, quote: Packet, code: ErrorCode): number {
    const isRequest = buf[quote.payload] === (quote.family === 4 ? icmp.ICMP_ECHO_REQUEST : icmp.ICMPV6_ECHO_REQUEST);
    if (!isRequest) return this.#drop(NO_FLOW);
    const ping = this.#takePing(nowMs, buf, quote.payload, quote.destination, quote.addressBytes);
    if (ping === undefined) return this.#drop(NO_FLOW); // CHECK: echo-error-unasked
    const { id, sequence, remote } = ping;
    const event = { type: 'echo-error', to: formatAddress(remote), id, sequence, code } as const;
    return this.#context.flows.pushEvent(event) ? 0 : this.#drop(IGNORED);
  }

  /** Whether an echo request of ours that waits for its answer is quoted; it goes on waiting. */
  hasQuotedEcho(buf: Uint8Array, quote: Packet): boolean {
    const id = readU16BE(buf, quote.payload + 4);
    const isQuoted = (ping: Ping) =>
      ping.id === id &&
      ping.remote.length === quote.addressBytes &&
      equalRange(ping.remote, 0, buf, quote.destination, quote.addressBytes);
    return this.#pings?.some(isQuoted) ?? false;
  }

  /**
   * Queues an error about `packet`, which came to one of our addresses from a single host, unless an error about it
   * is forbidden or too many were sent. `word` is what the four bytes after the checksum say.
   */
  sendError(nowMs: number, buf: Uint8Array, packet: Packet, type: number, code: number, word = 0): void {
    const { family } = packet;
    if (packet.fragmentOffset > 0) return; // CHECK: icmp-error-about-later-fragment
    if (isAboutError(buf, packet)) return; // CHECK: icmp-error-about-error
    if (!this.#maySendError(nowMs)) return; // CHECK: icmp-error-rate
    const overhead = icmp.ICMP_HEADER_BYTES + (family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
    const most = (family === 4 ? MIN_MTU_IPV4_BYTES : MIN_MTU_IPV6_BYTES) - overhead;
    const quoted = Math.min(packet.end - packet.start, most);
    const length = icmp.ICMP_HEADER_BYTES + quoted;
    const at = this.#reserve(buf, packet, length);
    if (at < 0) {
      this.#drop(QUEUE_FULL);
      return;
    }
    const out = this.#queue!.buf;
    out[at] = type;
    out[at + 1] = code;
    writeU32BE(out, at + 4, word);
    out.set(buf.subarray(packet.start, packet.start + quoted), at + icmp.ICMP_HEADER_BYTES);
    this.#finish(buf, packet, at, length);
  }

  #maySendError(nowMs: number): boolean {
    const most = this.#context.limits.icmpErrorsPerSecond;
    if (nowMs - this.#windowStartMs >= RATE_WINDOW_MS) {
      this.#windowStartMs = nowMs;
      const draw = new Uint8Array(1);
      this.#context.random(draw);
      this.#errorsLeft = most - Math.floor((most * draw[0]!) / 1024);
    }
    if (this.#errorsLeft <= 0) {
      this.#drop(RATE_LIMITED);
      return false;
    }
    this.#errorsLeft--;
    return true;
  }

  /**
   * Queues an echo request from `local` to `remote` and awaits its answer. `id` and `sequence` are 0 to 65535; the
   * caller has checked sizes and addresses. False when the queue is full.
   */
  ping(
    nowMs: number,
    local: Uint8Array,
    remote: Uint8Array,
    id: number,
    sequence: number,
    payloadBytes: number,
  ): boolean {
    const family = local.length === 4 ? 4 : 6;
    const headerBytes = family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    const length = icmp.ICMP_HEADER_BYTES + payloadBytes;
    const queue = this.#openQueue();
    const start = queue.reserve(headerBytes + length);
    if (start < 0) {
      this.#drop(QUEUE_FULL);
      return false;
    }
    const out = queue.buf;
    const at = start + headerBytes;
    writeHeader(out, start, length, family, local, 0, remote, 0);
    out[at] = family === 4 ? icmp.ICMP_ECHO_REQUEST : icmp.ICMPV6_ECHO_REQUEST;
    out[at + 1] = 0;
    writeU16BE(out, at + 4, id);
    writeU16BE(out, at + 6, sequence);
    for (let i = 0; i < payloadBytes; i++) out[at + icmp.ICMP_HEADER_BYTES + i] = i;
    const addressSum = family === 6 ? sumBytes(out, at - 32, at) : 0;
    icmp.writeIcmpChecksum(out, at, at + length, family, addressSum);
    queue.commit();
    this.#pings ??= [];
    if (this.#pings.length >= this.#context.limits.pings) this.#pings.shift(); // CHECK: ping-table-limit
    this.#pings.push({ remote: remote.slice(), id, sequence, sentMs: nowMs });
    return true;
  }

  /** Writes the next packet into `slot`. False when there is none. */
  pollTransmit(nowMs: number, slot: Slot): boolean {
    const queue = this.#queue;
    if (queue === undefined) return false;
    const isWritten = queue.poll(nowMs, slot, this.#context.mtus);
    if (queue.capacity === 0) this.#queue = undefined;
    return isWritten;
  }

  #openQueue(): SendQueue {
    const { limits, random } = this.#context;
    this.#queue ??= new SendQueue(limits.icmpQueueBytes, QUEUE_PACKETS, random);
    return this.#queue;
  }

  #drop(reason: number): number {
    return this.#context.drops.count(reason);
  }

  /** Room for an answer of `length` bytes to `packet`, its IP header written; the offset behind that, or -1. */
  #reserve(buf: Uint8Array, packet: Packet, length: number): number {
    const headerBytes = packet.family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    const queue = this.#openQueue();
    const start = queue.reserve(headerBytes + length);
    if (start < 0) return -1;
    writeHeader(queue.buf, start, length, packet.family, buf, packet.destination, buf, packet.source);
    return start + headerBytes;
  }

  #finish(buf: Uint8Array, packet: Packet, at: number, length: number): void {
    const addressSum = packet.family === 6 ? sumBytes(buf, packet.source, packet.source + 32) : 0;
    const queue = this.#queue!;
    icmp.writeIcmpChecksum(queue.buf, at, at + length, packet.family, addressSum);
    queue.commit();
  }
}

/** What an ICMP error means to a socket: refused for a closed port, else unreachable. */
export function errorCodeOf(family: 4 | 6, type: number, code: number): ErrorCode {
  const isClosedPort =
    family === 4
      ? type === icmp.ICMP_UNREACHABLE && code === icmp.UNREACHABLE_PORT
      : type === icmp.ICMPV6_UNREACHABLE && code === icmp.UNREACHABLE6_PORT;
  return isClosedPort ? 'ERR_CONNECTION_REFUSED' : 'ERR_UNREACHABLE';
}

/** Extension headers that were refused do not hide an error behind them (RFC 4443 §2.4 e.1). */
function isAboutError(buf: Uint8Array, packet: Packet): boolean {
  const { family, start, end } = packet;
  if (family === 4) {
    if (packet.protocol !== PROTOCOL_ICMP) return false;
    return packet.payload >= end || icmp.isIcmpError(4, buf[packet.payload]!);
  }
  const { protocolAt, at } = skipExtensions(buf, start, end);
  return buf[protocolAt] === PROTOCOL_ICMPV6 && (at >= end || icmp.isIcmpError(6, buf[at]!));
}

/** Writes the IP header of an ICMP message of `length` bytes. */
function writeHeader(
  out: Uint8Array,
  start: number,
  length: number,
  family: 4 | 6,
  source: Uint8Array,
  sourceOffset: number,
  remote: Uint8Array,
  remoteOffset: number,
): void {
  const total = IPV4_HEADER_BYTES + length;
  const flags = IPV4_DONT_FRAGMENT;
  if (family === 4)
    writeIpv4Header(out, start, total, 0, flags, HOP_LIMIT, PROTOCOL_ICMP, source, sourceOffset, remote, remoteOffset);
  else writeIpv6Header(out, start, length, PROTOCOL_ICMPV6, HOP_LIMIT, source, sourceOffset, remote, remoteOffset);
}
