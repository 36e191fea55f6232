/**
 * An address that a peer may be at, and what is known of it: who names it, when it was heard, asked and answered.
 */
import type { Endpoint } from '../base/address.ts';

/** Before all times. */
export const NEVER = Number.NEGATIVE_INFINITY;

/** The netmap has it. */
export const LISTED = 1;
/** The peer's last call has it. */
export const CALLED = 2;
/** It is no longer one of the peer's. */
export const GONE = 4;
/** A ping came from there after our last one left. */
export const KNOCKED = 8;

/** One address. It is an endpoint itself: packets are sent to it as it is. */
export class Candidate implements Endpoint {
  readonly address: string;
  readonly port: number;
  /** {@link LISTED}, {@link CALLED}, {@link GONE}, {@link KNOCKED}. */
  marks = 0;
  /** When the last new ping or packet came from there. */
  heardMs = NEVER;
  /** The last ping from there: the first 6 bytes of its transaction id as a number; -1: none. */
  lastPing = -1;
  /** When it was last pinged, and when it last answered; -Infinity for never. */
  pingedMs = NEVER;
  answeredMs = NEVER;
  /** Of the last answer. */
  latencyMs = 0;

  /** One that nobody names yet. */
  constructor({ address, port }: Endpoint) {
    this.address = address;
    this.port = port;
  }

  /** Whether it bears one of the marks. */
  is(marks: number): boolean {
    return (this.marks & marks) !== 0;
  }

  /** The address alone, for others to keep. */
  get endpoint(): Endpoint {
    return { address: this.address, port: this.port };
  }

  /** When it was last known to be the peer's. */
  get lastHeardMs(): number {
    return Math.max(this.heardMs, this.answeredMs);
  }
}
