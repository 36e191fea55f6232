/**
 * Resets that belong to no connection (any more), waiting for the next poll (RFC 9293 §3.5.2).
 *
 * Bounded: while the queue is full, the newest is dropped. That also limits what a port scan gets out of a machine,
 * since the queue is drained once per batch of input.
 */
import type { Slot } from '../base/slot.ts';
import { TCP_ACK, TCP_HEADER_BYTES, TCP_RST, writeTcpHeader } from '../packet/tcp.ts';
import type { IpPath } from './path.ts';
import { finish } from './tcp-output.ts';

interface Reply {
  readonly path: IpPath;
  readonly localPort: number;
  readonly remotePort: number;
  readonly seq: number;
  readonly ack: number | undefined;
}

/** The queue; see the top of the file. */
export class ReplyQueue {
  readonly #limit: number;
  /** Oldest first; undefined while there is none. */
  #replies: Reply[] | undefined = undefined;

  /** `limit` is the number of replies. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Queues a reset, with ACK if `ack` is a number. False when the queue is full. */
  push(path: IpPath, localPort: number, remotePort: number, seq: number, ack: number | undefined): boolean {
    this.#replies ??= [];
    if (this.#replies.length >= this.#limit) return false; // CHECK: tcp-reply-limit
    this.#replies.push({ path, localPort, remotePort, seq, ack });
    return true;
  }

  /** Writes the oldest reset as a whole IP packet into the slot; false when there is none. */
  write(slot: Slot): boolean {
    const replies = this.#replies;
    const reply = replies?.shift();
    if (reply === undefined) return false;
    if (replies!.length === 0) this.#replies = undefined;
    const { path, localPort, remotePort, seq, ack } = reply;
    const tcpStart = slot.start + path.headerBytes;
    const flags = ack === undefined ? TCP_RST : TCP_RST | TCP_ACK;
    writeTcpHeader(slot.buf, tcpStart, localPort, remotePort, seq, ack ?? 0, TCP_HEADER_BYTES, flags, 0);
    finish(path, slot, tcpStart, tcpStart + TCP_HEADER_BYTES);
    return true;
  }
}
