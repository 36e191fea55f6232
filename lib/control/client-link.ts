/**
 * One connection to a coordinator as one machine over one byte stream: HTTP upgrade, Noise, records, and HTTP/2 inside.
 *
 * Nothing is queued between the two but what their own limits allow: plaintext goes on to HTTP/2 as soon as it is open,
 * and HTTP/2 is asked for bytes only as far as the transport takes them. Nothing of a request leaves before the
 * coordinator has proved its key.
 */
import type { NetError } from '../base/errors.ts';
import { Http2Client } from '../http2/client.ts';
import type { Http2Event } from '../http2/client-types.ts';
import type { ControlClientLimits } from './client-types.ts';
import type { TransportLimits } from './record-stream.ts';
import { ControlTransport, type ControlTransportOptions } from './transport.ts';

/** A server that was silent for this long is sent an HTTP/2 ping; longer than the time between two keepalives. */
const PING_AFTER_MS = 75_000;

/** What a link needs. */
export interface ControlLinkOptions extends Omit<ControlTransportOptions, 'limits'> {
  readonly limits: ControlClientLimits;
}

/** See the top of the file. */
export class ControlLink {
  readonly http2: Http2Client;
  readonly #transport: ControlTransport;
  readonly #scratch: Uint8Array;
  readonly #limits: TransportLimits;
  readonly #drain: (nowMs: number) => void;

  /** `drain` is called between two pieces of what came in: who takes events there has HTTP/2 keep one piece at most. */
  constructor(options: ControlLinkOptions, drain: (nowMs: number) => void = () => {}) {
    const { nowMs, limits } = options;
    this.#drain = drain;
    this.#limits = limits.transport;
    this.#transport = new ControlTransport({ ...options, limits: limits.transport });
    // HTTP/2 begins behind the handshake.
    const settingsTimeoutMs = limits.transport.handshakeTimeoutMs + limits.http2.settingsTimeoutMs;
    this.http2 = new Http2Client({
      nowMs,
      limits: { ...limits.http2, settingsTimeoutMs },
      keepAliveMs: PING_AFTER_MS,
    });
    this.#scratch = new Uint8Array(limits.scratchBytes);
  }

  /** Why it is dead; undefined while it is not. */
  get error(): NetError | undefined {
    return this.#transport.error ?? this.http2.error;
  }

  /** Whether the coordinator has proved its key. */
  get isEstablished(): boolean {
    return this.#transport.isEstablished;
  }

  /** How many bytes {@link handleBytes} takes now. */
  get receiveRoom(): number {
    return this.#transport.receiveRoom;
  }

  /** About how many bytes of memory it holds for what is under way. */
  get heldBytes(): number {
    const { sendRoom, receiveRoom } = this.#transport;
    const { sendBytes, receiveBytes } = this.#limits;
    return this.http2.memoryBytes + this.#scratch.length + sendBytes - sendRoom + receiveBytes - receiveRoom;
  }

  /** Bytes of the stream, at most {@link receiveRoom}. */
  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    this.#transport.handleBytes(nowMs, buf, start, end);
    this.#receive(nowMs);
  }

  /** The stream has ended. */
  handleEnd(nowMs: number): void {
    this.#transport.handleEnd(nowMs);
    this.#receive(nowMs);
    if (this.error === undefined) this.http2.handleEnd();
  }

  /** Writes what is to go to the stream into `out[start, end)`; returns how many bytes. */
  pollBytes(nowMs: number, out: Uint8Array, start: number, end: number): number {
    const transport = this.#transport;
    let at = start;
    for (;;) {
      const written = transport.pollBytes(out, at, end);
      at += written;
      const room = Math.min(transport.sendRoom, this.#scratch.length);
      const moved = at < end && room > 0 ? this.http2.pollBytes(this.#scratch, 0, room) : 0;
      if (moved > 0) transport.handlePlain(nowMs, this.#scratch, 0, moved);
      if (written === 0 && moved === 0) return at - start;
    }
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
    const scratch = this.#scratch;
    // What the transport tells can be asked of it as well; untaken it would stay.
    while (this.#transport.pollEvent() !== undefined);
    for (;;) {
      const length = this.#transport.pollPlain(scratch, 0, scratch.length);
      if (length === 0) return;
      this.http2.handleBytes(nowMs, scratch, 0, length);
      this.#drain(nowMs);
    }
  }
}
