/**
 * Whole IP packets on their way out, cut into fragments where the path is narrower than the packet (RFC 791 §3.2,
 * RFC 8200 §4.5, RFC 7739).
 *
 * A packet waits in its whole form; only when its turn comes is the path MTU looked up and the next fragment written,
 * so that a packet of 64 KiB costs the queue nothing but its bytes. Fragment identifications are random: predictable
 * ones let a stranger mix his fragments into ours.
 */
import { readU32BE } from '../base/bytes.ts';
import type { Slot } from '../base/slot.ts';
import {
  IPV4_DESTINATION,
  IPV4_HEADER_BYTES,
  IPV4_MORE_FRAGMENTS,
  IPV4_SOURCE,
  writeIpv4Header,
} from '../packet/ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_FRAGMENT_BYTES,
  IPV6_HEADER_BYTES,
  IPV6_SOURCE,
  writeFragmentHeader,
  writeIpv6Header,
} from '../packet/ipv6.ts';
import { HEADER_FRAGMENT } from '../packet/protocol.ts';
import { PacketQueue } from './packet-queue.ts';
import { HOP_LIMIT } from './path.ts';
import type { PathMtuTable } from './path-mtu.ts';

/** Packets that wait to be sent, with the place in the oldest where the next fragment begins. */
export class SendQueue extends PacketQueue {
  readonly #random: (out: Uint8Array) => void;
  /** Identification of the fragments of the oldest packet. */
  #id = 0;
  /** Bytes of the oldest packet's payload that were sent as fragments. */
  #sent = 0;

  /** Limits as of {@link PacketQueue}; `random` draws fragment identifications. */
  constructor(limitBytes: number, limitRecords: number, random: (out: Uint8Array) => void) {
    super(limitBytes, limitRecords);
    this.#random = random;
  }

  /** Whether a part of the oldest packet left already. */
  get isInsidePacket(): boolean {
    return this.#sent > 0;
  }

  /** Writes the oldest packet, or its next fragment, into the emptied `slot`. False when nothing waits. */
  poll(nowMs: number, slot: Slot, mtus: PathMtuTable): boolean {
    const at = this.peek();
    if (at < 0) return false;
    const { buf } = this;
    const bytes = this.peekBytes();
    const isV6 = buf[at]! >> 4 === 6;
    const mtu = isV6 ? mtus.get(nowMs, buf, at + IPV6_DESTINATION, 16) : mtus.get(nowMs, buf, at + IPV4_DESTINATION, 4);
    slot.reset();
    if (bytes <= mtu && this.#sent === 0) {
      slot.buf.set(buf.subarray(at, at + bytes), slot.start);
      slot.end = slot.start + bytes;
      this.shift();
    } else {
      if (this.#sent === 0) this.#drawId(slot);
      const left = isV6 ? this.#fragmentIpv6(buf, at, bytes, mtu, slot) : this.#fragmentIpv4(buf, at, bytes, mtu, slot);
      if (left === 0) {
        this.#sent = 0;
        this.shift();
      }
    }
    this.trim();
    return true;
  }

  override clear(): void {
    super.clear();
    this.#sent = 0;
  }

  /** Draws into the slot, which the fragment overwrites. */
  #drawId(slot: Slot): void {
    this.#random(slot.buf.subarray(slot.start, slot.start + 4));
    this.#id = readU32BE(slot.buf, slot.start);
  }

  /** Both return the bytes of payload that are left after the fragment they write. */
  #fragmentIpv4(buf: Uint8Array, at: number, bytes: number, mtu: number, slot: Slot): number {
    const left = bytes - IPV4_HEADER_BYTES - this.#sent;
    const length = Math.min(left, (mtu - IPV4_HEADER_BYTES) & ~7);
    const flags = (length < left ? IPV4_MORE_FRAGMENTS : 0) | (this.#sent >> 3);
    const total = IPV4_HEADER_BYTES + length;
    const id = this.#id & 0xffff;
    const source = at + IPV4_SOURCE;
    const destination = at + IPV4_DESTINATION;
    writeIpv4Header(slot.buf, slot.start, total, id, flags, HOP_LIMIT, buf[at + 9]!, buf, source, buf, destination);
    const from = at + IPV4_HEADER_BYTES + this.#sent;
    slot.buf.set(buf.subarray(from, from + length), slot.start + IPV4_HEADER_BYTES);
    slot.end = slot.start + total;
    this.#sent += length;
    return left - length;
  }

  #fragmentIpv6(buf: Uint8Array, at: number, bytes: number, mtu: number, slot: Slot): number {
    const headers = IPV6_HEADER_BYTES + IPV6_FRAGMENT_BYTES;
    const left = bytes - IPV6_HEADER_BYTES - this.#sent;
    const length = Math.min(left, (mtu - headers) & ~7);
    const payload = IPV6_FRAGMENT_BYTES + length;
    const source = at + IPV6_SOURCE;
    writeIpv6Header(slot.buf, slot.start, payload, HEADER_FRAGMENT, HOP_LIMIT, buf, source, buf, at + IPV6_DESTINATION);
    writeFragmentHeader(slot.buf, slot.start + IPV6_HEADER_BYTES, buf[at + 6]!, this.#sent, length < left, this.#id);
    const from = at + IPV6_HEADER_BYTES + this.#sent;
    slot.buf.set(buf.subarray(from, from + length), slot.start + headers);
    slot.end = slot.start + headers + length;
    this.#sent += length;
    return left - length;
  }
}
