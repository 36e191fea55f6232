/**
 * DERP frames, protocol version 2: a type byte, a 32-bit big-endian payload length, the payload.
 *
 * The decoder takes a byte stream in pieces of any size and gives one frame at a time, without copying a frame that
 * lies whole in one piece. A frame above the limit is skipped as it streams, never buffered.
 * Left out: the frames between relays of one mesh (forwarding, watching), which a region with one relay does not use.
 */
import { writeU32BE } from '../base/bytes.ts';
import { beyondFree, FREE_BYTES } from './frame-queue.ts';
import type { MemoryBudget } from './memory-budget.ts';

/** Bytes of type and length. */
export const FRAME_HEADER_BYTES = 5;
/** Largest packet that a relay carries. */
export const MAX_PACKET_BYTES = 65_536;
/** Bytes of a node key. */
export const KEY_BYTES = 32;

/** Server to client: magic and the server's public key. */
export const FRAME_SERVER_KEY = 0x01;
/** Client to server: its public key, a nonce, and sealed JSON. */
export const FRAME_CLIENT_INFO = 0x02;
/** Server to client: a nonce and sealed JSON. */
export const FRAME_SERVER_INFO = 0x03;
/** Client to server: destination key and packet. */
export const FRAME_SEND_PACKET = 0x04;
/** Server to client: source key and packet. */
export const FRAME_RECV_PACKET = 0x05;
/** Server to client: nothing, about once a minute. */
export const FRAME_KEEP_ALIVE = 0x06;
/** Client to server: one byte, whether this relay is its home. */
export const FRAME_NOTE_PREFERRED = 0x07;
/** Server to client: a key and why its packets stop. */
export const FRAME_PEER_GONE = 0x08;
/** Either way: 8 bytes to be echoed. */
export const FRAME_PING = 0x12;
/** Either way: the 8 bytes of a ping. */
export const FRAME_PONG = 0x13;
/** Server to client: a problem as UTF-8 text; empty when it is over. */
export const FRAME_HEALTH = 0x14;
/** Server to client: when to reconnect and for how long to try, two u32 of milliseconds. */
export const FRAME_RESTARTING = 0x15;

/** A peer's connection to the relay ended. */
export const GONE_DISCONNECTED = 0x00;
/** A peer has no connection to this relay. */
export const GONE_NOT_HERE = 0x01;

/** Writes the header of a frame at `start`; returns the offset of the payload. */
export function writeFrameHeader(out: Uint8Array, start: number, type: number, payloadBytes: number): number {
  out[start] = type;
  writeU32BE(out, start + 1, payloadBytes);
  return start + FRAME_HEADER_BYTES;
}

/** Takes a byte stream apart into frames. */
export class FrameDecoder {
  /** The payload of the frame just decoded is `payload[payloadStart, payloadEnd)`, valid until the next call. */
  payloadStart = 0;
  payloadEnd = 0;
  /** Frames that were larger than the limit, or for which there was no memory, and skipped. */
  skipped = 0;
  /** Those of them that carry a client's packet and were larger than the limit. */
  oversizedPackets = 0;
  readonly #maxPayloadBytes: number;
  readonly #budget: MemoryBudget | undefined;
  #payload: Uint8Array | undefined = undefined;
  /** What has come of a header: its type, and its length as far as `#headerBytes` says. */
  #type = 0;
  #length = 0;
  #headerBytes = 0;
  /** A frame that comes in pieces; undefined before the first one. */
  #pending: Uint8Array | undefined = undefined;
  #pendingBytes = 0;
  #skipBytes = 0;
  /** What {@link decode} has consumed of its input: the offset from which the next call goes on. */
  offset = 0;

  /**
   * Payloads above `maxPayloadBytes` are skipped. Memory grows with what has arrived of a frame that comes in pieces,
   * not with what it claims; more than {@link FREE_BYTES} comes out of `budget` and goes back after the frame.
   */
  constructor(maxPayloadBytes: number, budget?: MemoryBudget) {
    this.#maxPayloadBytes = maxPayloadBytes;
    this.#budget = budget;
  }

  /** See {@link payloadStart}; only after {@link decode} gave a frame. */
  get payload(): Uint8Array {
    return this.#payload!;
  }

  /**
   * Goes on with `buf[start, end)`. Returns the type of the next whole frame, or -1 when the input is used up; either
   * way {@link offset} says how far it went.
   */
  decode(buf: Uint8Array, start: number, end: number): number {
    let at = start;
    if (this.#pendingBytes === 0 && this.#pending !== undefined && this.#pending.length > FREE_BYTES) this.release();
    for (;;) {
      const skip = Math.min(this.#skipBytes, end - at);
      this.#skipBytes -= skip;
      at += skip;
      while (at < end && this.#headerBytes < FRAME_HEADER_BYTES) this.#readHeader(buf[at++]!);
      this.offset = at;
      if (this.#skipBytes > 0 || this.#headerBytes < FRAME_HEADER_BYTES) return this.#pause();
      const length = this.#length;
      const isOversized = length > this.#maxPayloadBytes;
      if (!isOversized && this.#makeRoom(at, end, length)) return this.#decodePayload(buf, at, end, length);
      this.#skipBytes = length - this.#pendingBytes;
      this.#startFrame();
      this.skipped++;
      if (isOversized && this.#type === FRAME_SEND_PACKET) this.oversizedPackets++;
    }
  }

  /** Bytes of memory that it holds. */
  get capacity(): number {
    return this.#pending?.length ?? 0;
  }

  /** Whether it is in the midst of a frame. */
  get isBusy(): boolean {
    return this.#headerBytes > 0;
  }

  /** Gives the memory of a frame in pieces back; the decoder is of no use afterwards unless it is between frames. */
  release(): void {
    this.#budget?.give(beyondFree(this.#pending?.length ?? 0));
    this.#pending = undefined;
    this.#payload = undefined;
  }

  #readHeader(byte: number): void {
    if (this.#headerBytes === 0) {
      this.#type = byte;
      this.#length = 0;
    } else {
      this.#length = this.#length * 256 + byte;
    }
    this.#headerBytes++;
  }

  /** The input is used up. */
  #pause(): number {
    this.#payload = undefined;
    return -1;
  }

  /** Room for what `[at, end)` adds to a frame that does not lie whole in it. False when the budget has none left. */
  #makeRoom(at: number, end: number, length: number): boolean {
    const available = Math.min(length, this.#pendingBytes + end - at);
    const capacity = this.#pending?.length ?? 0;
    if (available <= capacity || (this.#pendingBytes === 0 && available === length)) return true;
    const size = Math.min(length, Math.max(available, 2 * capacity));
    if (this.#budget?.take(beyondFree(size) - beyondFree(capacity)) === false) return false;
    const larger = new Uint8Array(size);
    if (this.#pending !== undefined) larger.set(this.#pending.subarray(0, this.#pendingBytes));
    this.#pending = larger;
    return true;
  }

  #startFrame(): void {
    this.#headerBytes = 0;
    this.#pendingBytes = 0;
  }

  #decodePayload(buf: Uint8Array, at: number, end: number, length: number): number {
    if (this.#pendingBytes === 0 && end - at >= length) return this.#finish(buf, at, at + length, at + length);
    const take = Math.min(length - this.#pendingBytes, end - at);
    this.#pending?.set(buf.subarray(at, at + take), this.#pendingBytes); // undefined: #makeRoom had nothing to hold yet
    this.#pendingBytes += take;
    this.offset = at + take;
    return this.#pendingBytes < length ? this.#pause() : this.#finish(this.#pending!, 0, length, at + take);
  }

  #finish(payload: Uint8Array, start: number, end: number, offset: number): number {
    this.#payload = payload;
    this.payloadStart = start;
    this.payloadEnd = end;
    this.offset = offset;
    this.#startFrame();
    return this.#type;
  }
}
