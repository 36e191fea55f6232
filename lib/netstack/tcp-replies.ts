/**
 * Resets and acknowledgments that belong to no connection (any more), waiting for the next poll (RFC 9293 §3.5.2,
 * §3.6.1).
 *
 * Bounded: while the queue is full, the newest is dropped. That also limits what a port scan gets out of a machine,
 * since the queue is drained once per batch of input.
 */
import type { Slot } from '../base/slot.ts';
import { TCP_HEADER_BYTES, TIMESTAMPS_BYTES, writeTcpHeader, writeTimestamps } from '../packet/tcp.ts';
import { finish } from './tcp-output.ts';
import type { TcpReply } from './tcp-tcb.ts';

/** The queue; see the top of the file. */
export class ReplyQueue {
  readonly #limit: number;
  /** Oldest first; undefined while there is none. */
  #replies: TcpReply[] | undefined = undefined;

  /** `limit` is the number of replies. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Queues a reply. False when the queue is full. */
  push(reply: TcpReply): boolean {
    this.#replies ??= [];
    if (this.#replies.length >= this.#limit) return false; // CHECK: tcp-reply-limit
    this.#replies.push(reply);
    return true;
  }

  /** Writes the oldest reply as a whole IP packet into the slot; false when there is none. */
  write(slot: Slot): boolean {
    const replies = this.#replies;
    const reply = replies?.shift();
    if (reply === undefined) return false;
    if (replies!.length === 0) this.#replies = undefined;
    const { path, localPort, remotePort, flags, seq, ack, window, tsVal, tsEcr } = reply;
    const tcpStart = slot.start + path.headerBytes;
    const headerBytes = TCP_HEADER_BYTES + (tsVal === undefined ? 0 : TIMESTAMPS_BYTES);
    if (tsVal !== undefined) writeTimestamps(slot.buf, tcpStart + TCP_HEADER_BYTES, tsVal, tsEcr);
    writeTcpHeader(slot.buf, tcpStart, localPort, remotePort, seq, ack, headerBytes, flags, window);
    finish(path, slot, tcpStart, tcpStart + headerBytes);
    return true;
  }
}
