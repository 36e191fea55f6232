/**
 * Reassembly of IPv4 and IPv6 fragments within named bounds (RFC 791 §3.2, RFC 815, RFC 1122 §3.3.2, RFC 5722,
 * RFC 8200 §4.5, RFC 8900).
 *
 * Fragments are kept as they came, so that memory is what was received and not what a fragment with a far offset
 * claims. Any overlap discards the datagram and everything else that arrives for it (RFC 5722; the same rule for
 * IPv4): overlaps have no honest cause. A fragment that is the same as one that is already there is a duplicate of the
 * network and is ignored. One source can fill half of the memory at most; within its half, and in the whole, the
 * oldest datagram makes room. A build without fragments simply does not construct this class.
 *
 * Left out: IPv4 options of fragments, and reports of congestion across fragments (RFC 3168 §5.3).
 */
import { concatBytes, equalRange, NO_BYTES, writeU16BE } from '../base/bytes.ts';
import { foldChecksum, sumBytes } from '../base/checksum.ts';
import { type DropCounters, dropReason } from '../base/drop.ts';
import type { Packet } from '../packet/classify.ts';
import { IPV4_HEADER_BYTES } from '../packet/ipv4.ts';
import { IPV6_FRAGMENT_BYTES, IPV6_HEADER_BYTES } from '../packet/ipv6.ts';

/** Bounds of {@link Reassembly}. */
export interface ReassemblyLimits {
  /** Bytes held for incomplete datagrams, {@link FRAGMENT_OVERHEAD_BYTES} per fragment included. */
  readonly bytes: number;
  /** Incomplete and discarded datagrams that are remembered. */
  readonly datagrams: number;
  /** Fragments of one datagram; one more discards it. */
  readonly fragments: number;
  /** How long a datagram may take from its first fragment to its last. */
  readonly timeoutMs: number;
}

/** For a microcontroller: one datagram of 8 KiB, or several small ones. */
export const REASSEMBLY_LIMITS_SMALL: ReassemblyLimits = /* @__PURE__ */ Object.freeze({
  bytes: 16_384,
  datagrams: 8,
  fragments: 16,
  timeoutMs: 10_000,
});
/** For a server: several datagrams of 64 KiB at once. */
export const REASSEMBLY_LIMITS_LARGE: ReassemblyLimits = /* @__PURE__ */ Object.freeze({
  bytes: 1_048_576,
  datagrams: 256,
  fragments: 128,
  timeoutMs: 30_000,
});

/** With at most this many bytes in all, none are kept for the next whole packet. */
const SMALL_BYTES = 65_536;

/** What a fragment costs on top of its data. */
export const FRAGMENT_OVERHEAD_BYTES = 192;

const MALFORMED = /* @__PURE__ */ dropReason('ip-malformed');
const LIMIT = /* @__PURE__ */ dropReason('ip-reassembly-limit');
const OVERLAP = /* @__PURE__ */ dropReason('ip-reassembly-overlap');
const TIMEOUT = /* @__PURE__ */ dropReason('ip-reassembly-timeout');

/** A whole packet that {@link Reassembly} put together; lent until the next fragment. */
export interface WholePacket {
  readonly buf: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** What the stack needs of a reassembler. */
export interface FragmentStore {
  /** The packet that the last {@link handleFragment} completed. */
  readonly whole: WholePacket;
  /**
   * Takes a classified fragment. Returns the whole packet's length in bytes when this one completes it, 0 when more
   * are missing, or a negative reason (not yet counted).
   */
  handleFragment(nowMs: number, buf: Uint8Array, packet: Packet, drops: DropCounters): number;
  /** {@link whole} has been used: its memory may be given back. */
  release?(): void;
  /** When {@link pollExpired} has something to do: absolute ms, `Infinity` for never. */
  nextTimeout(): number;
  /**
   * Forgets one datagram whose time is over and counts it. Returns its first fragment (a packet, for the time
   * exceeded message), an empty array when that never came, or undefined when nothing has expired.
   */
  pollExpired(nowMs: number, drops: DropCounters): Uint8Array | undefined;
}

interface Fragment {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** A datagram in the making, or (without fragments) the memory that it was discarded. */
interface Datagram {
  readonly family: 4 | 6;
  readonly id: number;
  /** Next header or protocol of the first fragment seen; part of the key in IPv4 only. */
  readonly protocol: number;
  /** Source and destination address together. */
  readonly addresses: Uint8Array;
  readonly expiresMs: number;
  /** In order of their offsets; never overlapping. */
  fragments: Fragment[];
  /** Bytes that count against the limits. */
  bytes: number;
  /** Bytes of data that arrived. */
  received: number;
  /** Bytes of the whole fragmentable part, -1 until the last fragment came. */
  total: number;
  /** Headers of the first fragment (IPv6: the fragment header included); empty until it came. */
  header: Uint8Array;
  isDiscarded: boolean;
}

/** Puts fragments together; see the top of the file. */
export class Reassembly implements FragmentStore {
  readonly #limits: ReassemblyLimits;
  /** In order of their age, oldest first. */
  readonly #datagrams: Datagram[] = [];
  readonly whole = { buf: NO_BYTES, start: 0, end: 0 };
  #bytes = 0;

  constructor(limits: ReassemblyLimits) {
    this.#limits = limits;
  }

  /** Bytes held now, overhead included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Incomplete and discarded datagrams that are remembered now. */
  get size(): number {
    return this.#datagrams.length;
  }

  handleFragment(nowMs: number, buf: Uint8Array, packet: Packet, drops: DropCounters): number {
    const dataStart = packet.family === 4 ? packet.payload : packet.fragmentHeader + IPV6_FRAGMENT_BYTES;
    const length = packet.end - dataStart;
    if (length === 0) return MALFORMED; // CHECK: reassembly-empty-fragment
    let datagram = this.#find(buf, packet);
    if (datagram?.isDiscarded === true) return OVERLAP; // CHECK: reassembly-stays-discarded
    if (datagram !== undefined && hasFragment(datagram, packet, buf, dataStart)) return 0;
    const headerBytes = packet.fragmentOffset === 0 ? dataStart - packet.start : 0;
    const cost = length + headerBytes + FRAGMENT_OVERHEAD_BYTES;
    const hasRoom = this.#makeRoom(buf, packet, cost, datagram, drops);
    datagram ??= this.#add(nowMs, buf, packet);
    if (!hasRoom) return this.#discard(datagram, LIMIT);
    const reason = this.#insert(datagram, buf, packet, dataStart, cost);
    if (reason < 0) return reason;
    return datagram.received === datagram.total ? this.#complete(datagram) : 0;
  }

  /** Gives the memory of the last whole packet back, unless there is plenty. */
  release(): void {
    if (this.#limits.bytes > SMALL_BYTES) return;
    this.whole.buf = NO_BYTES;
    this.whole.end = 0;
  }

  nextTimeout(): number {
    return this.#datagrams.length === 0 ? Number.POSITIVE_INFINITY : this.#datagrams[0]!.expiresMs;
  }

  pollExpired(nowMs: number, drops: DropCounters): Uint8Array | undefined {
    const datagram = this.#datagrams[0];
    if (datagram === undefined || datagram.expiresMs > nowMs) return undefined;
    this.#remove(datagram);
    if (datagram.isDiscarded) return NO_BYTES;
    drops.count(TIMEOUT);
    return datagram.header.length === 0 ? NO_BYTES : concatBytes(datagram.header, datagram.fragments[0]!.data);
  }

  #find(buf: Uint8Array, packet: Packet): Datagram | undefined {
    for (const datagram of this.#datagrams) {
      if (datagram.id !== packet.fragmentId || datagram.family !== packet.family) continue;
      if (packet.family === 4 && datagram.protocol !== packet.protocol) continue;
      if (equalRange(datagram.addresses, 0, buf, packet.source, packet.addressBytes * 2)) return datagram;
    }
    return undefined;
  }

  #add(nowMs: number, buf: Uint8Array, packet: Packet): Datagram {
    const datagram: Datagram = {
      family: packet.family,
      id: packet.fragmentId,
      protocol: packet.protocol,
      addresses: buf.slice(packet.source, packet.source + packet.addressBytes * 2),
      expiresMs: nowMs + this.#limits.timeoutMs,
      fragments: [],
      bytes: 0,
      received: 0,
      total: -1,
      header: NO_BYTES,
      isDiscarded: false,
    };
    this.#datagrams.push(datagram);
    return datagram;
  }

  /** Forgets the oldest datagrams, but not `keep`, until `cost` bytes fit. False when they cannot fit. */
  #makeRoom(buf: Uint8Array, packet: Packet, cost: number, keep: Datagram | undefined, drops: DropCounters): boolean {
    const { bytes, datagrams } = this.#limits;
    const added = keep === undefined ? 1 : 0;
    const isFarFromLimits = this.#bytes + cost <= bytes / 2 && this.#datagrams.length + added <= datagrams / 2;
    if (isFarFromLimits) return true;
    if ((keep?.bytes ?? 0) + cost > bytes / 2) return false; // CHECK: reassembly-datagram-bytes
    let hasRoom = this.#evict(bytes / 2 - cost, datagrams / 2 - added, buf, packet, keep, drops); // one source's half
    if (this.#bytes + cost > bytes || this.#datagrams.length + added > datagrams)
      hasRoom = this.#evict(bytes - cost, datagrams - added, buf, undefined, keep, drops) && hasRoom;
    return hasRoom;
  }

  /**
   * Forgets the oldest datagrams of the source of `packet`, or of everyone when that is undefined, until they use at
   * most `bytes` and `count`. False when that cannot be reached without `keep`.
   */
  #evict(
    bytes: number,
    count: number,
    buf: Uint8Array,
    packet: Packet | undefined,
    keep: Datagram | undefined,
    drops: DropCounters,
  ): boolean {
    const theirs = packet === undefined ? this.#datagrams.slice() : this.#datagrams.filter(d => isFrom(d, buf, packet));
    let usedBytes = theirs.reduce((sum, datagram) => sum + datagram.bytes, 0);
    let used = theirs.length;
    for (const datagram of theirs) {
      if (usedBytes <= bytes && used <= count) return true;
      if (datagram === keep) continue;
      this.#remove(datagram);
      if (!datagram.isDiscarded) drops.count(LIMIT);
      usedBytes -= datagram.bytes;
      used--;
    }
    return usedBytes <= bytes && used <= count;
  }

  /** Puts a fragment in its place. Returns 0, or the reason why the whole datagram was discarded. */
  #insert(datagram: Datagram, buf: Uint8Array, packet: Packet, dataStart: number, cost: number): number {
    const { fragments } = datagram;
    const offset = packet.fragmentOffset;
    const end = offset + packet.end - dataStart;
    const isLast = !packet.hasMoreFragments;
    if (fragments.length >= this.#limits.fragments) return this.#discard(datagram, LIMIT); // CHECK: reassembly-count
    let at = fragments.length;
    while (at > 0 && fragments[at - 1]!.offset >= offset) at--;
    const before = at > 0 ? fragments[at - 1]! : undefined;
    const beforeEnd = before === undefined ? 0 : before.offset + before.data.length;
    if (beforeEnd > offset) return this.#discard(datagram, OVERLAP); // CHECK: reassembly-overlap-before
    const afterStart = at < fragments.length ? fragments[at]!.offset : end;
    if (afterStart < end) return this.#discard(datagram, OVERLAP); // CHECK: reassembly-overlap-after
    if (isLast && at < fragments.length) return this.#discard(datagram, OVERLAP); // CHECK: reassembly-data-after-last
    const isBeyondEnd = datagram.total >= 0 && end > datagram.total;
    if (isBeyondEnd) return this.#discard(datagram, OVERLAP); // CHECK: reassembly-beyond-last
    if (isLast) datagram.total = end;
    if (offset === 0) datagram.header = buf.slice(packet.start, dataStart);
    fragments.splice(at, 0, { offset, data: buf.slice(dataStart, packet.end) });
    datagram.received += end - offset;
    datagram.bytes += cost;
    this.#bytes += cost;
    return 0;
  }

  /** Drops what there is of a datagram, and remembers to drop the rest of it (RFC 5722 §4). */
  #discard(datagram: Datagram, reason: number): number {
    this.#bytes -= datagram.bytes;
    datagram.bytes = 0;
    datagram.fragments = [];
    datagram.header = NO_BYTES;
    datagram.isDiscarded = true;
    return reason;
  }

  #remove(datagram: Datagram): void {
    this.#datagrams.splice(this.#datagrams.indexOf(datagram), 1);
    this.#bytes -= datagram.bytes;
  }

  #complete(datagram: Datagram): number {
    const headerBytes = datagram.family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    const length = headerBytes + datagram.total;
    const { whole } = this;
    if (whole.buf.length < length) whole.buf = new Uint8Array(length);
    const { buf } = whole;
    buf.set(datagram.header.subarray(0, headerBytes));
    for (const { offset, data } of datagram.fragments) buf.set(data, headerBytes + offset);
    if (datagram.family === 4) {
      buf[0] = 0x45;
      writeU16BE(buf, 2, length);
      writeU16BE(buf, 6, 0);
      writeU16BE(buf, 10, 0);
      writeU16BE(buf, 10, foldChecksum(sumBytes(buf, 0, IPV4_HEADER_BYTES)));
    } else {
      writeU16BE(buf, 4, datagram.total);
      buf[6] = datagram.header[datagram.header.length - IPV6_FRAGMENT_BYTES]!;
    }
    whole.end = length;
    this.#remove(datagram);
    return length;
  }
}

/** Whether exactly this fragment is there already, byte for byte (RFC 8200 §4.5: duplicates are no overlap). */
function hasFragment(datagram: Datagram, packet: Packet, buf: Uint8Array, dataStart: number): boolean {
  const length = packet.end - dataStart;
  for (const fragment of datagram.fragments) {
    if (fragment.offset !== packet.fragmentOffset || fragment.data.length !== length) continue;
    const isLast = fragment.offset + length === datagram.total;
    return isLast !== packet.hasMoreFragments && equalRange(fragment.data, 0, buf, dataStart, length);
  }
  return false;
}

function isFrom(datagram: Datagram, buf: Uint8Array, packet: Packet): boolean {
  if (datagram.family !== packet.family) return false;
  return equalRange(datagram.addresses, 0, buf, packet.source, packet.addressBytes);
}
