/**
 * JSON (RFC 8259) as a stream: bytes in pieces of any size come in, tokens go out. Memory is bounded by the longest
 * text that is wanted and by the nesting, never by the size of the document; a value that nobody wants is checked and
 * skipped as it streams, without being stored.
 *
 * Strict: UTF-8, escapes, numbers and nesting are checked as they come, also in what is skipped. Whatever it accepts,
 * JSON.parse accepts with the same result. An unpaired surrogate written as an escape stays one. Duplicate names come
 * out as often as they stand there.
 */

/** The input is used up; go on after the next `write`. */
export const JSON_MORE = 0;
/** `{` and `}`. */
export const JSON_OBJECT = 1;
export const JSON_OBJECT_END = 2;
/** `[` and `]`. */
export const JSON_ARRAY = 3;
export const JSON_ARRAY_END = 4;
/** A name in an object, in `text`; its value follows. */
export const JSON_KEY = 5;
/** A string, in `text`. */
export const JSON_STRING = 6;
/** A number, in `number`. */
export const JSON_NUMBER = 7;
/** The three words. */
export const JSON_TRUE = 8;
export const JSON_FALSE = 9;
export const JSON_NULL = 10;
/** Not JSON, or beyond a limit: `problem` says what. Nothing follows. */
export const JSON_BAD = -1;

/** What a reader may hold. */
export interface JsonLimits {
  /** Containers inside each other. */
  readonly depth: number;
  /** Longest name, string or number that is kept, in UTF-16 units; of a longer one `isTooLong` is all that remains. */
  readonly textUnits: number;
}

// What the grammar expects next.
const WANT_VALUE = 0;
const WANT_VALUE_OR_END = 1;
const WANT_KEY_OR_END = 2;
const WANT_KEY = 3;
const WANT_COLON = 4;
const WANT_COMMA_OR_END = 5;
const WANT_NOTHING = 6;

// What the reader is in the middle of.
const IN_NOTHING = 0;
const IN_STRING = 1;
const IN_ESCAPE = 2;
const IN_HEX = 3;
const IN_UTF8 = 4;
const IN_NUMBER = 5;
const IN_WORD = 6;

// Where in a number: the comment is what came last.
const NUMBER_MINUS = 0;
const NUMBER_ZERO = 1;
const NUMBER_INTEGER = 2;
const NUMBER_POINT = 3;
const NUMBER_FRACTION = 4;
const NUMBER_E = 5;
const NUMBER_SIGN = 6;
const NUMBER_EXPONENT = 7;

/** So many units become text at a time, since they are arguments of one call. */
const TEXT_PIECE_UNITS = 256;
/** Units that a reader has room for at first; most texts are shorter. */
const FIRST_UNITS = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const WORDS = Object.freeze({ [JSON_TRUE]: 'true', [JSON_FALSE]: 'false', [JSON_NULL]: 'null' });
const ESCAPES: { readonly [letter: number]: number } = Object.freeze({
  [QUOTE]: QUOTE,
  [BACKSLASH]: BACKSLASH,
  47: 47, // slash
  98: 8, // b
  102: 12, // f
  110: 10, // n
  114: 13, // r
  116: 9, // t
});

/** Reads one JSON document after another; {@link JsonReader.reset} is between them. */
export class JsonReader {
  /** Why {@link JSON_BAD}. */
  problem: string | undefined = undefined;
  /** Whether the last name, string or number was longer than is kept; `text` is empty then, and `number` NaN. */
  isTooLong = false;
  readonly #stack: Uint8Array;
  /** Grows to the limit. */
  #units: Uint16Array;
  readonly #maxUnits: number;
  #unitCount = 0;
  #depth = 0;
  #want = WANT_VALUE;
  #in = IN_NOTHING;
  #isKey = false;
  /** Number state, hex digits read, bytes to come of a character, or letters of a word read. */
  #step = 0;
  #word = 0;
  #code = 0;
  /** What the next byte of a character in UTF-8 must be: 80 to BF, or less after some first bytes. */
  #least = 0x80;
  #most = 0xbf;
  /** Containers that are open when the value that is being skipped is over; -1: nothing is being skipped. */
  #skipTo = -1;
  #buf: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;

  constructor(limits: JsonLimits) {
    this.#stack = new Uint8Array(limits.depth);
    this.#maxUnits = limits.textUnits;
    this.#units = new Uint16Array(Math.min(FIRST_UNITS, limits.textUnits));
  }

  /** Forgets everything and expects a new document. */
  reset(): void {
    this.problem = undefined;
    this.#depth = 0;
    this.#want = WANT_VALUE;
    this.#in = IN_NOTHING;
    this.#skipTo = -1;
    this.#at = 0;
    this.#end = 0;
  }

  /** The next piece of input; `buf` is lent until {@link next} has returned {@link JSON_MORE}. */
  write(buf: Uint8Array, start: number, end: number): void {
    this.#buf = buf;
    this.#at = start;
    this.#end = end;
  }

  /** Containers that are open. */
  get depth(): number {
    return this.#depth;
  }

  /** Bytes of memory that this reader holds, whatever it reads. */
  get heldBytes(): number {
    return this.#stack.length + 2 * this.#units.length;
  }

  /** The name, string or number just read. */
  get text(): string {
    if (this.isTooLong) return '';
    let text = '';
    for (let at = 0; at < this.#unitCount; at += TEXT_PIECE_UNITS) {
      const piece = this.#units.subarray(at, Math.min(at + TEXT_PIECE_UNITS, this.#unitCount));
      // Not spread: XS goes through an iterator for that.
      text += String.fromCharCode.apply(undefined, piece as unknown as number[]);
    }
    return text;
  }

  /** The number just read. */
  get number(): number {
    return this.isTooLong ? Number.NaN : Number(this.text);
  }

  /** After {@link JSON_KEY}: its value will not come out. After `{` or `[`: neither will what is in it, nor its end. */
  skip(): void {
    this.#skipTo = this.#want === WANT_COLON ? this.#depth : this.#depth - 1;
  }

  /** The end of the document: true when it is whole. A number at the top is only over now, so fetch it with `next`. */
  finish(): boolean {
    if (this.problem !== undefined) return false;
    return this.#want === WANT_NOTHING && this.#in === IN_NOTHING;
  }

  /** The next token, {@link JSON_MORE} or {@link JSON_BAD}. */
  next(): number {
    for (;;) {
      const token = this.#scan();
      if (token <= JSON_MORE || this.#skipTo < 0) return token;
      const isValueOver = token !== JSON_KEY && this.#depth === this.#skipTo;
      if (isValueOver) this.#skipTo = -1;
    }
  }

  /** Ends a number that stands at the top of the document, where only the end of the input says that it is over. */
  end(): number {
    if (this.problem !== undefined || this.#in !== IN_NUMBER || this.#depth > 0) return JSON_MORE;
    return this.#endNumber();
  }

  #fail(problem: string): number {
    this.problem ??= problem;
    return JSON_BAD;
  }

  #scan(): number {
    if (this.problem !== undefined) return JSON_BAD;
    while (this.#at < this.#end) {
      const token = this.#in === IN_NOTHING ? this.#handleByte(this.#buf[this.#at++]!) : this.#goOn();
      if (token !== JSON_MORE) return token;
    }
    this.#buf = this.#stack; // lets go of the input
    return JSON_MORE;
  }

  #goOn(): number {
    if (this.#in === IN_STRING) return this.#readString();
    if (this.#in === IN_NUMBER) return this.#readNumber();
    const byte = this.#buf[this.#at++]!;
    if (this.#in === IN_ESCAPE) return this.#readEscape(byte);
    if (this.#in === IN_HEX) return this.#readHex(byte);
    if (this.#in === IN_UTF8) return this.#readUtf8(byte);
    return this.#readWord(byte);
  }

  /** A byte between tokens. */
  #handleByte(byte: number): number {
    const isSpace = byte <= 0x20 && (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
    if (isSpace) return JSON_MORE;
    switch (this.#want) {
      case WANT_VALUE:
        return this.#startValue(byte);
      case WANT_VALUE_OR_END:
        return byte === 0x5d ? this.#close(JSON_ARRAY) : this.#startValue(byte);
      case WANT_KEY_OR_END:
        return byte === 0x7d ? this.#close(JSON_OBJECT) : this.#startKey(byte);
      case WANT_KEY:
        return this.#startKey(byte);
      case WANT_COLON:
        if (byte !== 0x3a) return this.#fail('a name without a colon');
        this.#want = WANT_VALUE;
        return JSON_MORE;
      case WANT_COMMA_OR_END:
        return this.#handleSeparator(byte);
      default:
        return this.#fail('something behind the document');
    }
  }

  #handleSeparator(byte: number): number {
    const kind = this.#stack[this.#depth - 1]!;
    if (byte === 0x2c) {
      this.#want = kind === JSON_OBJECT ? WANT_KEY : WANT_VALUE;
      return JSON_MORE;
    }
    if (byte === (kind === JSON_OBJECT ? 0x7d : 0x5d)) return this.#close(kind);
    return this.#fail('neither a comma nor the end of a container');
  }

  #startKey(byte: number): number {
    if (byte !== QUOTE) return this.#fail('something else than a name');
    this.#isKey = true;
    return this.#start(IN_STRING);
  }

  #startValue(byte: number): number {
    if (byte === QUOTE) {
      this.#isKey = false;
      return this.#start(IN_STRING);
    }
    if (byte === 0x7b) return this.#open(JSON_OBJECT);
    if (byte === 0x5b) return this.#open(JSON_ARRAY);
    if (byte === 0x74) return this.#startWord(JSON_TRUE);
    if (byte === 0x66) return this.#startWord(JSON_FALSE);
    if (byte === 0x6e) return this.#startWord(JSON_NULL);
    const isDigit = byte >= 0x30 && byte <= 0x39;
    if (!isDigit && byte !== 0x2d) return this.#fail('something else than a value');
    this.#start(IN_NUMBER);
    this.#keep(byte);
    this.#step = isDigit ? (byte === 0x30 ? NUMBER_ZERO : NUMBER_INTEGER) : NUMBER_MINUS;
    return JSON_MORE;
  }

  #start(what: number): number {
    this.#in = what;
    this.#unitCount = 0;
    this.isTooLong = false;
    return JSON_MORE;
  }

  #startWord(token: number): number {
    this.#in = IN_WORD;
    this.#word = token;
    this.#step = 1;
    return JSON_MORE;
  }

  #open(kind: number): number {
    if (this.#depth >= this.#stack.length) return this.#fail('containers nested too deep'); // CHECK: json-depth
    this.#stack[this.#depth++] = kind;
    this.#want = kind === JSON_OBJECT ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    return kind;
  }

  #close(kind: number): number {
    this.#depth--;
    return this.#endValue(kind + 1);
  }

  #endValue(token: number): number {
    this.#in = IN_NOTHING;
    this.#want = this.#depth === 0 ? WANT_NOTHING : WANT_COMMA_OR_END;
    return token;
  }

  #keep(unit: number): void {
    if (this.#skipTo >= 0 || this.isTooLong) return;
    if (this.#unitCount === this.#maxUnits) {
      this.isTooLong = true;
      return;
    }
    if (this.#unitCount === this.#units.length) this.#growUnits(this.#unitCount + 1);
    this.#units[this.#unitCount++] = unit;
  }

  /** The same for plain characters, which are units as they are. */
  #keepAll(buf: Uint8Array, start: number, end: number): void {
    if (this.#skipTo >= 0 || this.isTooLong || start === end) return;
    const count = this.#unitCount + end - start;
    if (count > this.#maxUnits) {
      this.isTooLong = true;
      return;
    }
    if (count > this.#units.length) this.#growUnits(count);
    this.#units.set(buf.subarray(start, end), this.#unitCount);
    this.#unitCount = count;
  }

  #growUnits(least: number): void {
    const larger = new Uint16Array(Math.min(this.#maxUnits, Math.max(least, 2 * this.#units.length)));
    larger.set(this.#units);
    this.#units = larger;
  }

  #readString(): number {
    // Most bytes of a document go through this loop: nothing else is done in it.
    const buf = this.#buf;
    const start = this.#at;
    const end = this.#end;
    let at = start;
    let byte = 0;
    for (; at < end; at++) {
      byte = buf[at]!;
      const isPlain =
        byte > BACKSLASH ? byte < 0x80 : byte > QUOTE ? byte !== BACKSLASH : byte >= 0x20 && byte !== QUOTE;
      if (!isPlain) break;
    }
    this.#keepAll(buf, start, at);
    this.#at = Math.min(at + 1, end);
    if (at === end) return JSON_MORE;
    if (byte === QUOTE) return this.#endString();
    if (byte < 0x20) return this.#fail('a control character in a string'); // CHECK: json-control
    if (byte >= 0x80) return this.#startUtf8(byte);
    this.#in = IN_ESCAPE;
    return JSON_MORE;
  }

  #endString(): number {
    if (!this.#isKey) return this.#endValue(JSON_STRING);
    this.#in = IN_NOTHING;
    this.#want = WANT_COLON;
    return JSON_KEY;
  }

  #readEscape(byte: number): number {
    if (byte === 0x75) {
      this.#in = IN_HEX;
      this.#step = 0;
      this.#code = 0;
      return JSON_MORE;
    }
    const unit = ESCAPES[byte];
    if (unit === undefined) return this.#fail('an unknown escape'); // CHECK: json-escape
    this.#keep(unit);
    this.#in = IN_STRING;
    return JSON_MORE;
  }

  #readHex(byte: number): number {
    const lower = byte | 0x20;
    const isDigit = byte >= 0x30 && byte <= 0x39;
    const isHex = isDigit || (lower >= 0x61 && lower <= 0x66);
    if (!isHex) return this.#fail('an escape that is not four hex digits'); // CHECK: json-hex
    this.#code = this.#code * 16 + (isDigit ? byte - 0x30 : lower - 0x57);
    if (++this.#step < 4) return JSON_MORE;
    this.#keep(this.#code);
    this.#in = IN_STRING;
    return JSON_MORE;
  }

  /** The first byte of a character beyond ASCII (RFC 3629 §4: no overlong forms, no surrogates, up to U+10FFFF). */
  #startUtf8(byte: number): number {
    const more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    if (byte < 0xc2 || byte > 0xf4) return this.#fail('a string that is not UTF-8'); // CHECK: json-utf8-first
    this.#in = IN_UTF8;
    this.#step = more;
    this.#code = byte & (0x3f >> more);
    this.#least = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
    this.#most = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
    return JSON_MORE;
  }

  #readUtf8(byte: number): number {
    const isFine = byte >= this.#least && byte <= this.#most;
    if (!isFine) return this.#fail('a string that is not UTF-8'); // CHECK: json-utf8-next
    this.#least = 0x80;
    this.#most = 0xbf;
    this.#code = this.#code * 64 + (byte & 0x3f);
    if (--this.#step > 0) return JSON_MORE;
    if (this.#code < 0x10000) {
      this.#keep(this.#code);
    } else {
      this.#keep(0xd800 + ((this.#code - 0x10000) >> 10));
      this.#keep(0xdc00 + (this.#code & 0x3ff));
    }
    this.#in = IN_STRING;
    return JSON_MORE;
  }

  #readWord(byte: number): number {
    const word = WORDS[this.#word as keyof typeof WORDS];
    if (byte !== word.charCodeAt(this.#step)) return this.#fail('an unknown word');
    return ++this.#step === word.length ? this.#endValue(this.#word) : JSON_MORE;
  }

  #readNumber(): number {
    while (this.#at < this.#end) {
      const byte = this.#buf[this.#at]!;
      const step = nextNumberStep(this.#step, byte);
      if (step < 0) return this.#endNumber();
      this.#step = step;
      this.#keep(byte);
      this.#at++;
    }
    return JSON_MORE;
  }

  #endNumber(): number {
    const step = this.#step;
    const isWhole =
      step === NUMBER_ZERO || step === NUMBER_INTEGER || step === NUMBER_FRACTION || step === NUMBER_EXPONENT;
    if (!isWhole) return this.#fail('a number that breaks off'); // CHECK: json-number
    return this.#endValue(JSON_NUMBER);
  }
}

/** Where in a number a further byte leads; -1: it is not part of it. */
function nextNumberStep(step: number, byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) {
    if (step === NUMBER_MINUS) return byte === 0x30 ? NUMBER_ZERO : NUMBER_INTEGER;
    if (step === NUMBER_ZERO) return -1;
    if (step === NUMBER_POINT) return NUMBER_FRACTION;
    return step >= NUMBER_E ? NUMBER_EXPONENT : step;
  }
  if (byte === 0x2e) return step === NUMBER_ZERO || step === NUMBER_INTEGER ? NUMBER_POINT : -1;
  if (byte === 0x65 || byte === 0x45)
    return step === NUMBER_ZERO || step === NUMBER_INTEGER || step === NUMBER_FRACTION ? NUMBER_E : -1;
  if (byte === 0x2b || byte === 0x2d) return step === NUMBER_E ? NUMBER_SIGN : -1;
  return -1;
}
