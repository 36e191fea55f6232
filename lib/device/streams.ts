/**
 * Connections to the outside as machines want them: who wants one opens it here, the driver carries it out and tells
 * what becomes of it. One table for the coordinator's stream and those of relays.
 *
 * Left out: the connecting itself, TLS and names, which are the host's.
 */
import type { NetError } from '../base/errors.ts';

/** What is to be opened. */
export interface StreamRequest {
  readonly host: string;
  readonly port: number;
  /** Addresses to use instead of resolving `host`. */
  readonly addresses?: readonly string[];
  /** Absent: no TLS. `pin`: SHA-256 of the one certificate that is accepted, 32 bytes. */
  readonly tls?: { readonly serverName: string; readonly pin?: Uint8Array };
}

/** What the driver is to do. */
export type StreamCommand =
  | { readonly type: 'open'; readonly id: number; readonly request: StreamRequest }
  /** What was polled before is still to be sent. */
  | { readonly type: 'close'; readonly id: number };

/** The machine at this end of a stream. After `handleEnd` and `handleFailed` nothing more comes. */
export interface StreamUser {
  handleOpened(nowMs: number): void;
  /** Bytes `buf[start, end)`, lent for the call; all are taken. */
  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): void;
  /** The other side has ended the stream. */
  handleEnd(nowMs: number): void;
  handleFailed(nowMs: number, error: NetError): void;
  /** Writes what is to be sent into `out[start, end)`; returns the bytes written, 0 for nothing now. */
  pollBytes(nowMs: number, out: Uint8Array, start: number, end: number): number;
}

/** All streams of one device. */
export class Streams {
  readonly #users = new Map<number, StreamUser>();
  readonly #commands: StreamCommand[] = [];
  #lastId = 0;

  /** Asks for a stream and returns its id. */
  open(request: StreamRequest, user: StreamUser): number {
    const id = ++this.#lastId;
    this.#users.set(id, user);
    this.#commands.push({ type: 'open', id, request });
    return id;
  }

  /** Ends a stream from this side; its user hears no more of it. Safe to repeat. */
  close(id: number): void {
    if (!this.#users.delete(id)) return;
    const at = this.#commands.findIndex(command => command.id === id);
    if (at >= 0) this.#commands.splice(at, 1);
    else this.#commands.push({ type: 'close', id });
  }

  /** The next command, or undefined. */
  pollCommand(): StreamCommand | undefined {
    return this.#commands.shift();
  }

  /** The stream is open. */
  handleOpened(nowMs: number, id: number): void {
    this.#users.get(id)?.handleOpened(nowMs);
  }

  /** Bytes came. */
  handleBytes(nowMs: number, id: number, buf: Uint8Array, start: number, end: number): void {
    this.#users.get(id)?.handleBytes(nowMs, buf, start, end);
  }

  /** The other side ended the stream; the user may close it later or at once. */
  handleEnd(nowMs: number, id: number): void {
    const user = this.#users.get(id);
    this.close(id);
    user?.handleEnd(nowMs);
  }

  /** The stream is gone, or was never there. */
  handleFailed(nowMs: number, id: number, error: NetError): void {
    const user = this.#users.get(id);
    this.#users.delete(id);
    user?.handleFailed(nowMs, error);
  }

  /** What a stream wants to send; 0 for nothing now. */
  pollBytes(nowMs: number, id: number, out: Uint8Array, start: number, end: number): number {
    return this.#users.get(id)?.pollBytes(nowMs, out, start, end) ?? 0;
  }
}
