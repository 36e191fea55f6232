/**
 * The answer to a request of the control client as it streams in: JSON of which only the fields of the table are kept,
 * or the beginning of a text that says what is wrong. Whatever a coordinator sends, memory stays bounded, and a text of
 * it is made harmless before anybody sees it.
 */
import { isAllZero, NO_BYTES, utf8Decode } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import { parseKeyText } from '../crypto/key-text.ts';
import type { Field } from '../http2/hpack-table.ts';
import { JsonCollector, type JsonObject } from './json-collector.ts';
import { JSON_BAD, JSON_MORE, JsonReader } from './json-stream.ts';
import { asObject } from './map-values.ts';

/** What is shown of an answer that is not 200, and of any text of a coordinator. */
const SHOWN_UNITS = 200;
/** A character of UTF-8 has at most 4 bytes. */
const SHOWN_BYTES = 4 * SHOWN_UNITS;
/** JSON of answers: nested this far, texts this long (a URL of 2,048 characters fits). */
const ANSWER_LIMITS = Object.freeze({ depth: 16, textUnits: 2048 });
const MAX_URL_UNITS = 2048;
/** GET /key: longest body that is looked at. */
const MAX_KEY_BODY_BYTES = 65_536;
const KEY_BUDGET_BYTES = 4096;

/**
 * Controls, format characters (bidirectional overrides), line separators, halves of pairs, private use, and what is no
 * character: Unicode 16, categories C, Zl and Zp but for what is not assigned between others. By number, because the
 * engine of a microcontroller has no tables of categories.
 */
const invisible = () =>
  /[\0-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff\ufdd0-\ufdef\ufeff\ufff0-\ufffb\ufffe\uffff\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{10ffff}]/gu;

/** A text of the coordinator for people: one line, cut, without what could fool a terminal, and without `secret`. */
export function shownText(text: string, secret: string | undefined): string {
  let shown = text;
  if (secret && shown.includes(secret)) shown = shown.replaceAll(secret, '[redacted]'); // CHECK: control-text-secret
  if (shown.length > SHOWN_UNITS) shown = `${shown.slice(0, SHOWN_UNITS)}…`;
  if (invisible().test(shown)) shown = shown.replaceAll(invisible(), ' '); // CHECK: control-text-visible
  return shown.trim();
}

/** Whether a person can be sent to this address: http or https, visible ASCII, of a length that can be shown. */
export function isWebUrl(url: string): boolean {
  return url.length <= MAX_URL_UNITS && /^https?:\/\/[\x21-\x7e]+$/i.test(url);
}

const NO_FIELDS: readonly Field[] = Object.freeze([]);

/** One answer. */
export class AnswerReader {
  status = 0;
  headers = NO_FIELDS;
  readonly #kind: string | undefined;
  readonly #budgetBytes: number;
  /** Made when there is JSON to read. */
  #reader: JsonReader | undefined = undefined;
  #collector: JsonCollector | undefined = undefined;
  #isComplete = false;
  #isBad = false;
  #text = NO_BYTES;

  /** A body with status 200 is JSON of `kind` (undefined: not looked at) and may need `budgetBytes`. */
  constructor(kind: string | undefined, budgetBytes: number) {
    this.#kind = kind;
    this.#budgetBytes = budgetBytes;
  }

  /** The head has arrived. */
  handleHead(status: number, headers: readonly Field[]): void {
    this.status = status;
    this.headers = headers.filter(([name]) => name === 'retry-after');
  }

  /** A piece of the body, lent for the call. */
  handleData(buf: Uint8Array, start: number, end: number): void {
    if (this.status !== 200) return this.#keepText(buf, start, end);
    if (this.#kind === undefined || this.#isBad) return;
    this.#reader ??= new JsonReader(ANSWER_LIMITS);
    this.#collector ??= startCollector(this.#kind, this.#budgetBytes);
    const [reader, collector] = [this.#reader, this.#collector];
    reader.write(buf, start, end);
    for (let token = reader.next(); token !== JSON_MORE; token = reader.next()) {
      if (token === JSON_BAD) this.#isBad = true;
      if (this.#isBad) return;
      this.#isComplete = collector.handle(token, reader);
    }
  }

  /** The object, once everything has arrived; undefined when it is none, is cut off or is too large. */
  get value(): JsonObject | undefined {
    const isWhole = this.#isComplete && !this.#isBad && this.#reader?.finish() === true;
    return isWhole ? asObject(this.#collector?.value) : undefined;
  }

  /** The beginning of a body that came with another status. */
  get text(): string {
    return utf8Decode(this.#text);
  }

  #keepText(buf: Uint8Array, start: number, end: number): void {
    const room = SHOWN_BYTES - this.#text.length;
    const kept = new Uint8Array(this.#text.length + Math.min(room, end - start));
    kept.set(this.#text);
    kept.set(buf.subarray(start, start + kept.length - this.#text.length), this.#text.length);
    this.#text = kept;
  }
}

function startCollector(kind: string, budgetBytes: number): JsonCollector {
  const collector = new JsonCollector();
  collector.begin(kind, budgetBytes);
  return collector;
}

/** An answer that is not the one that was asked for, as an error; `secret` is kept out of it. */
export function answerError(answer: AnswerReader, what: string, secret: string | undefined): NetError {
  if (answer.status === 200) return new NetError('ERR_PROTOCOL', `the answer to ${what} cannot be read`);
  const text = shownText(answer.text, secret);
  const end = text === '' ? '' : `: ${text}`;
  return new NetError('ERR_PROTOCOL', `the coordinator answered ${answer.status} to ${what}${end}`);
}

/** The coordinator's key (32 bytes) out of the body of GET /key; a text that says what is wrong otherwise. */
export function parseServerKey(body: Uint8Array): Uint8Array | string {
  if (body.length > MAX_KEY_BODY_BYTES) return 'the coordinator’s key is too large to be one'; // CHECK: control-key-size
  const answer = new AnswerReader('ServerKeys', KEY_BUDGET_BYTES);
  answer.handleHead(200, []);
  answer.handleData(body, 0, body.length);
  const text = answer.value?.['publicKey'];
  const key = typeof text === 'string' ? parseKeyText('mkey', text) : undefined;
  if (key === undefined) return 'what answers for the coordinator does not publish a key; check its address';
  if (isAllZero(key)) return 'the coordinator is too old: it has no key for this protocol'; // CHECK: control-key-zero
  return key;
}
