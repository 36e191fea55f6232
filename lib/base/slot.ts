/**
 * The output slot: where one outgoing packet is written, sealed in place and handed to the socket.
 *
 * `[start, end)` is the packet. In front of it is HEADROOM for the WireGuard header, behind it TAILROOM for padding
 * and tag. A slot belongs to the core, is reused for the next packet, and is valid until the next poll.
 */
import type { Endpoint } from './address.ts';

/** Bytes kept free in front of an inner packet: a WireGuard data header is 16, and 32 keeps the packet aligned. */
export const HEADROOM_BYTES = 32;
/** Bytes kept free behind an inner packet: up to 15 of padding and a tag of 16. */
export const TAILROOM_BYTES = 32;

/** One reusable output packet. */
export class Slot {
  readonly buf: Uint8Array;
  /** First byte of the packet. */
  start = HEADROOM_BYTES;
  /** One past the last byte of the packet; `start === end` means empty. */
  end = HEADROOM_BYTES;
  /** Where the datagram goes, once a machine has decided it. */
  to: Endpoint | undefined = undefined;

  /** `capacity` is the largest inner packet in bytes; `buf` may be given by a crypto suite that likes its own memory. */
  constructor(capacity: number, buf: Uint8Array = new Uint8Array(HEADROOM_BYTES + capacity + TAILROOM_BYTES)) {
    if (buf.length < HEADROOM_BYTES + capacity + TAILROOM_BYTES)
      throw new RangeError(
        `"buf" expected at least ${HEADROOM_BYTES + capacity + TAILROOM_BYTES} bytes, got ${buf.length}`,
      );
    this.buf = buf;
  }

  /** Empties the slot for the next packet. */
  reset(): void {
    this.start = HEADROOM_BYTES;
    this.end = HEADROOM_BYTES;
    this.to = undefined;
  }
}
