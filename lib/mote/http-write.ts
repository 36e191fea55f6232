/**
 * Writing HTTP/1.1 messages: heads that nothing can be smuggled into, and bodies with exactly the announced framing
 * (RFC 9112 §2, §6, §7).
 */
import type { FetchReader } from './fetch-types.ts';
import { BODY_CHUNKED } from './http-head.ts';
import { COLLECT_BYTES, type HttpOutput } from './http-io.ts';
import { isFieldValue, isToken, latin1Encode } from './http-syntax.ts';

/** Turns of the microtask queue in which a read that needs no input settles. */
const SOON_TURNS = 12;

/**
 * Bytes of a start line and fields with the empty line after them. Throws TypeError for a name, value or start line
 * that would be read as something else: whatever the caller passes, it cannot add a line.
 */
export function formatHead(startLine: string, fields: readonly (readonly [name: string, value: string])[]): Uint8Array {
  let text = `${startLine}\r\n`;
  if (!isFieldValue(startLine)) throw new TypeError('malformed start line'); // CHECK: http-start-line-injection
  for (const [name, value] of fields) {
    const isClean = isToken(name) && isFieldValue(value);
    if (!isClean) throw new TypeError(`malformed field "${name}"`); // CHECK: http-field-injection
    text += `${name}: ${value}\r\n`;
  }
  return latin1Encode(`${text}\r\n`);
}

/** What was read of a body before its head is written. */
export interface BodyStart {
  readonly reader: FetchReader;
  /** Chunks so far. */
  readonly pieces: Uint8Array[];
  /** Length of the pieces together. */
  bytes: number;
  /** Whether the pieces are the whole body. */
  isWhole: boolean;
  /** The read that has not settled yet. */
  pending: Promise<{ done: boolean; value?: unknown }> | undefined;
}

/** Reads what a body has at hand, so that one that is complete at once can be sent with its length. */
export async function startBody(reader: FetchReader): Promise<BodyStart> {
  const start: BodyStart = { reader, pieces: [], bytes: 0, isWhole: false, pending: undefined };
  while (start.bytes < COLLECT_BYTES) {
    start.pending = reader.read();
    if (!(await settlesSoon(start.pending))) return start;
    const { done, value } = await start.pending;
    start.pending = undefined;
    start.isWhole = done;
    if (done) return start;
    const bytes = checkChunk(value);
    start.pieces.push(bytes);
    start.bytes += bytes.length;
  }
  return start;
}

/**
 * Sends a body: `framing` is its length in bytes, {@link BODY_CHUNKED}, or BODY_UNTIL_CLOSE. Rejects with RangeError
 * when the body is longer (before the excess is sent) or shorter than its length, with TypeError for a chunk that is no
 * bytes, with what the body failed with, or with the stream's NetError.
 */
export async function sendBody(output: HttpOutput, start: BodyStart, framing: number): Promise<void> {
  let left = framing;
  const send = async (bytes: Uint8Array) => {
    if (bytes.length === 0) return;
    if (framing !== BODY_CHUNKED) left -= bytes.length;
    const isOver = framing >= 0 && left < 0;
    if (isOver) throw new RangeError('"body" is longer than its Content-Length'); // CHECK: http-body-overrun
    if (framing !== BODY_CHUNKED) return output.put(bytes);
    await output.put(latin1Encode(`${bytes.length.toString(16)}\r\n`), bytes, latin1Encode('\r\n'));
  };
  for (const piece of start.pieces) await send(piece);
  while (!start.isWhole) {
    const next = start.pending ?? start.reader.read();
    start.pending = undefined;
    if (!(await settlesSoon(next))) await output.flush();
    const { done, value } = await next;
    if (done) break;
    await send(checkChunk(value));
  }
  if (left > 0) throw new RangeError('"body" is shorter than its Content-Length'); // CHECK: http-body-underrun
  if (framing === BODY_CHUNKED) await output.put(latin1Encode('0\r\n\r\n'));
  await output.flush();
}

/** Whether a promise settles without any input from outside. It only decides what is sent together. */
async function settlesSoon(promise: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  promise.then(settle, settle);
  for (let turn = 0; turn < SOON_TURNS && !isSettled; turn++) await undefined;
  return isSettled;
}

function checkChunk(value: unknown): Uint8Array {
  // Not instanceof: the chunk may come from another realm.
  if (Object.prototype.toString.call(value) === '[object Uint8Array]') return value as Uint8Array;
  throw new TypeError('"body" expected a stream of Uint8Array');
}

const DAYS = Object.freeze(['Thu', 'Fri', 'Sat', 'Sun', 'Mon', 'Tue', 'Wed']);
const MONTHS = Object.freeze(['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']);

/** `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7) of milliseconds since 1970; the core has no Date. */
export function formatHttpDate(unixMs: number): string {
  const seconds = Math.floor(unixMs / 1000);
  const days = Math.floor(seconds / 86400);
  // Days since 1 March of year 0, in eras of 400 years, so that the leap day is the last day of its year.
  const shifted = days + 719468;
  const era = Math.floor(shifted / 146097);
  const dayOfEra = shifted - era * 146097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = (monthFromMarch + 2) % 12;
  const year = era * 400 + yearOfEra + (month < 2 ? 1 : 0);
  const two = (value: number) => String(value).padStart(2, '0');
  const time = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return `${DAYS[days % 7]}, ${two(day)} ${MONTHS[month]} ${String(year).padStart(4, '0')} ${time} GMT`;
}
