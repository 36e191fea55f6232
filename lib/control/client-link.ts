/**
 * One connection to a coordinator as one machine over one byte stream: HTTP upgrade, Noise, records, and HTTP/2 inside.
 *
 * Nothing is queued between the two: plaintext goes on to HTTP/2 where it was opened, and HTTP/2 writes where it is
 * sealed. Nothing of a request leaves before the coordinator has proved its key.
 */
import type { NetError } from '../base/errors.ts';
import { Http2Client } from '../http2/client.ts';
import type { Http2Event } from '../http2/client-types.ts';
import type { ControlClientLimits } from './client-types.ts';
import { ControlTransport, type ControlTransportOptions } from './transport.ts';

/** A server that was silent for this long is sent an HTTP/2 ping; longer than the time between two keepalives. */
const PING_AFTER_MS = 75_000;

/** What a link needs. */
export interface ControlLinkOptions extends Omit<ControlTransportOptions, 'limits'> {
  readonly limits: ControlClientLimits;
}

/** Who takes the events of HTTP/2 between two pieces of what comes in, so that no more than a piece waits there. */
export interface ControlLinkOwner {
  drain(nowMs: number): void;
}

/** See the top of the file. */
export class ControlLink {
  readonly http2: Http2Client;
  readonly #transport: ControlTransport;
  readonly #owner: ControlLinkOwner | undefined;
  readonly #pieceBytes: number;

  /** Without an owner, HTTP/2 keeps what came in as far as its windows go. */
  constructor(options: ControlLinkOptions, owner?: ControlLinkOwner) {
    const { nowMs, limits } = options;
    this.#owner = owner;
    this.#pieceBytes = limits.pieceBytes;
    this.#transport = new ControlTransport({ ...options, limits: limits.transport });
    // HTTP/2 begins behind the handshake.
    const settingsTimeoutMs = limits.transport.handshakeTimeoutMs + limits.http2.settingsTimeoutMs;
    this.http2 = new Http2Client({
      nowMs,
      limits: limits.http2,
      settingsTimeoutMs,
      keepAliveMs: PING_AFTER_MS,
    });
  }

  /** Why it is dead; undefined while it is not. */
  get error(): NetError | undefined {
    return this.#transport.error ?? this.http2.error;
  }

  /** Whether the coordinator has proved its key. */
  get isEstablished(): boolean {
    return this.#transport.isEstablished;
  }

  /** About how many bytes of memory it holds for what is under way. */
  get heldBytes(): number {
    return this.http2.memoryBytes + this.#transport.heldBytes;
  }

  /** Bytes of the stream, lent for the call and overwritten. */
  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    for (let at = start; at >= 0 && at < end; ) {
      at = this.#transport.handleBytes(nowMs, buf, at, end);
      this.#receive(nowMs);
    }
  }

  /** The stream has ended. */
  handleEnd(nowMs: number): void {
    this.#transport.handleEnd(nowMs);
    this.#receive(nowMs);
    if (this.error === undefined) this.http2.handleEnd();
  }

  /** Writes what is to go to the stream into `out[start, end)`; returns how many bytes. */
  pollBytes(_nowMs: number, out: Uint8Array, start: number, end: number): number {
    return this.#transport.pollBytes(this.http2, out, start, end);
  }

  /** What has happened to requests; data is lent until the next call. */
  pollEvent(): Http2Event | undefined {
    return this.http2.pollEvent();
  }

  handleTimeout(nowMs: number): void {
    this.#transport.handleTimeout(nowMs);
    this.http2.handleTimeout(nowMs);
  }

  nextTimeout(): number {
    return Math.min(this.#transport.nextTimeout(), this.http2.nextTimeout());
  }

  /** Erases keys and queues. */
  close(): void {
    this.#transport.close();
  }

  #receive(nowMs: number): void {
    const plain = this.#transport.takePlain();
    const length = plain?.length ?? 0;
    for (let at = 0; at < length; at += this.#pieceBytes) {
      this.http2.handleBytes(nowMs, plain!, at, Math.min(length, at + this.#pieceBytes));
      this.#owner?.drain(nowMs);
    }
  }
}
