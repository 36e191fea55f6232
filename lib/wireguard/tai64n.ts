/**
 * Timestamps of initiations (WireGuard §5.4.2, §5.1; TAI64N): strictly increasing for every peer, across reboots too.
 *
 * A stamp is kept as one number, its *tick*: 60 ticks per second of 2^24 ns each, the grid to which senders blunt
 * their clock so that it does not leak. On the wire it is 12 bytes, big-endian: 2^62 + 10 + seconds, then nanoseconds.
 *
 * How it survives a reboot: before a tick is used it lies below a *floor* that is in the store. The floor is reserved
 * a whole window ahead, so that storage is written once per window and not per handshake; after a reboot, stamps go on
 * above the stored floor whatever the clock says, 1970 included.
 * One clock serves all peers and they may share a tick. INVARIANT: a peer that has forgotten its last tick has used
 * only ticks below `#last`, so that nothing but this one number and each busy peer's last tick must be remembered.
 */
import { readU32BE, writeU32BE } from '../base/bytes.ts';

/** Bytes of a timestamp. */
export const TIMESTAMP_BYTES = 12;

const TICKS_PER_SECOND = 60;
const TICK_NANOSECONDS = 2 ** 24;
const TAI64_BASE_HIGH = 0x4000_0000;
const TAI64_OFFSET_SECONDS = 10;
/** Seconds beyond this (the year 35,000 and later) are no clock of ours. */
const MAX_SECONDS = 2 ** 40;

/** Writes a tick as a timestamp. */
export function writeTimestamp(out: Uint8Array, offset: number, tick: number): void {
  const seconds = Math.floor(tick / TICKS_PER_SECOND) + TAI64_OFFSET_SECONDS;
  writeU32BE(out, offset, TAI64_BASE_HIGH + Math.floor(seconds / 2 ** 32));
  writeU32BE(out, offset + 4, seconds % 2 ** 32);
  writeU32BE(out, offset + 8, (tick % TICKS_PER_SECOND) * TICK_NANOSECONDS);
}

/** The first tick at or after a timestamp of our own; RangeError for 12 bytes that are none. */
export function readTimestamp(bytes: Uint8Array): number {
  if (bytes.length !== TIMESTAMP_BYTES)
    throw new RangeError(`"timestampFloor" expected ${TIMESTAMP_BYTES} bytes, got ${bytes.length}`);
  const high = readU32BE(bytes, 0) - TAI64_BASE_HIGH;
  const seconds = high * 2 ** 32 + readU32BE(bytes, 4) - TAI64_OFFSET_SECONDS;
  const nanoseconds = readU32BE(bytes, 8);
  if (high < 0 || seconds < 0 || seconds > MAX_SECONDS || nanoseconds >= 1e9)
    throw new RangeError('"timestampFloor" expected a TAI64N timestamp');
  return seconds * TICKS_PER_SECOND + Math.ceil(nanoseconds / TICK_NANOSECONDS);
}

/** The tick of a wall clock in ms since 1970, rounded down; times before 1970 count as 1970. */
export function tickOf(unixMs: number): number {
  if (!(unixMs > 0)) return 0;
  const seconds = Math.min(Math.floor(unixMs / 1000), MAX_SECONDS);
  const nanoseconds = Math.floor((unixMs - seconds * 1000) * 1e6);
  return seconds * TICKS_PER_SECOND + Math.min(Math.floor(nanoseconds / TICK_NANOSECONDS), TICKS_PER_SECOND - 1);
}

/** Whether the 12 bytes at `a` are a later timestamp than those at `b`: a plain comparison of bytes, as all peers do. */
export function isLaterTimestamp(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number): boolean {
  for (let i = 0; i < TIMESTAMP_BYTES; i++) {
    const difference = a[aOffset + i]! - b[bOffset + i]!;
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** Hands out the ticks of one tunnel. */
export class TimestampClock {
  readonly #reserveTicks: number;
  #last: number;
  #floor: number;
  #hasUnsavedFloor = false;

  /** `floor` is what {@link takeFloor} gave an earlier run, if any; `reserveMs` the window reserved ahead. */
  constructor(reserveMs: number, floor: Uint8Array | undefined) {
    this.#reserveTicks = Math.ceil((reserveMs * TICKS_PER_SECOND) / 1000);
    this.#floor = floor === undefined ? -1 : readTimestamp(floor);
    this.#last = this.#floor + 1;
  }

  /** A tick above the peer's `previous` one (-1: none), near the clock where that is possible. */
  next(unixMs: number, previous: number): number {
    const tick = Math.max(tickOf(unixMs), this.#last, previous + 1);
    this.#last = tick;
    if (tick > this.#floor) {
      this.#floor = tick + this.#reserveTicks;
      this.#hasUnsavedFloor = true;
    }
    return tick;
  }

  /** Forgets a peer whose last tick was `previous`: see the INVARIANT of this file. */
  retire(previous: number): void {
    if (previous >= this.#last) this.#last = previous + 1; // CHECK: wg-timestamp-retire
  }

  /** The floor as 12 bytes, once after each change; it must be durable before a tick given since leaves. */
  takeFloor(): Uint8Array | undefined {
    if (!this.#hasUnsavedFloor) return undefined;
    this.#hasUnsavedFloor = false;
    const floor = new Uint8Array(TIMESTAMP_BYTES);
    writeTimestamp(floor, 0, this.#floor);
    return floor;
  }
}
