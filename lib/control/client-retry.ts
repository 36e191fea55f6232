/**
 * When to try again: growing, jittered delays, and what `Retry-After` says (RFC 9110 §10.2.3).
 */
import { headerOf } from '../http2/fields.ts';
import type { Field } from '../http2/hpack-table.ts';
import { parseTimeMs } from './time.ts';

/** The longest delay between two attempts that merely failed. */
export const MAX_BACKOFF_MS = 30_000;
const FIRST_BACKOFF_MS = 1000;
/** What `Retry-After` may ask for. */
const MIN_RETRY_AFTER_MS = 1000;
const MAX_RETRY_AFTER_MS = 3_600_000;
/** Without a usable `Retry-After`: this and up to twice as long. */
const BUSY_RETRY_MS = 5000;

const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec';

/** A number of 0 to below 1. */
export function fraction(random: (out: Uint8Array) => void): number {
  const out = new Uint8Array(2);
  random(out);
  return (out[0]! * 256 + out[1]!) / 65_536;
}

/** Delays that double from attempt to attempt, each drawn from its upper half; made with the first failure, dropped with success. */
export class Backoff {
  readonly #random: (out: Uint8Array) => void;
  readonly #firstMs: number;
  readonly #mostMs: number;
  #failures = 0;

  /** The first delay is at most `firstMs`, every one at most `mostMs`. */
  constructor(random: (out: Uint8Array) => void, firstMs = FIRST_BACKOFF_MS, mostMs = MAX_BACKOFF_MS) {
    this.#random = random;
    this.#firstMs = firstMs;
    this.#mostMs = mostMs;
  }

  /** The delay after one more failure. */
  next(): number {
    const mostMs = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(this.#failures++, 30));
    return Math.round(mostMs / 2 + (fraction(this.#random) * mostMs) / 2);
  }
}

/** How long an answer with status 429 or 503 asks to wait: 1 second to 1 hour, 5 to 10 seconds when it does not say. */
export function retryAfterMs(headers: readonly Field[], unixMs: number, random: (out: Uint8Array) => void): number {
  const asked = parseRetryAfter(headerOf(headers, 'retry-after')?.trim() ?? '', unixMs);
  if (asked === undefined) return Math.round(BUSY_RETRY_MS * (1 + fraction(random)));
  return Math.min(Math.max(asked, MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS);
}

/** How long to wait after an answer that was not the one hoped for. */
export function answerDelayMs(
  answer: { readonly status: number; readonly headers: readonly Field[] },
  backoff: Backoff,
  unixMs: number,
  random: (out: Uint8Array) => void,
): number {
  const isBusy = answer.status === 429 || answer.status === 503;
  return isBusy ? retryAfterMs(answer.headers, unixMs, random) : backoff.next();
}

/** Seconds or a date (`Sun, 06 Nov 1994 08:49:37 GMT`). */
function parseRetryAfter(text: string, unixMs: number): number | undefined {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000;
  const date = /^[A-Za-z]{3}, ([0-9]{2}) ([A-Za-z]{3}) ([0-9]{4}) ([0-9]{2}:[0-9]{2}:[0-9]{2}) GMT$/.exec(text);
  if (date === null) return undefined;
  const index = MONTHS.indexOf(date[2]!);
  if (index < 0 || index % 3 !== 0) return undefined;
  const month = String(index / 3 + 1).padStart(2, '0');
  const atMs = parseTimeMs(`${date[3]}-${month}-${date[1]}T${date[4]}Z`);
  return atMs === undefined ? undefined : atMs - unixMs;
}
