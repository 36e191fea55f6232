/**
 * HuJSON: JSON (RFC 8259) with `//` and block comments and trailing commas, read into a tree that knows where
 * everything stands. Comments are kept as places in the text, and the text itself is kept, so that a program can change
 * one value and leave the rest as its author wrote it.
 *
 * The file may be hostile: length, depth, values and comments have limits, and reading takes time in proportion to the
 * length. Names of an object are unique; that is stricter than JSON, where a second one silently wins.
 *
 * Left out: writing HuJSON.
 */
import { LineIndex, type Place, type Problem, quote } from './problem.ts';

/** What a policy file may hold. */
export const HUJSON_LIMITS = /* @__PURE__ */ Object.freeze({
  /** UTF-16 units. */
  length: 4 << 20,
  /** Objects and lists within one another. */
  depth: 32,
  /** Values of all kinds together. */
  values: 250_000,
  comments: 50_000,
});

/** A value and where it stands: from `start` to before `end`. */
export type JsonNode =
  | { readonly kind: 'object'; readonly start: number; readonly end: number; readonly members: JsonMembers }
  | { readonly kind: 'list'; readonly start: number; readonly end: number; readonly items: readonly JsonNode[] }
  | { readonly kind: 'string'; readonly start: number; readonly end: number; readonly value: string }
  | { readonly kind: 'number'; readonly start: number; readonly end: number; readonly value: number }
  | { readonly kind: 'boolean'; readonly start: number; readonly end: number; readonly value: boolean }
  | { readonly kind: 'null'; readonly start: number; readonly end: number };

/** Members of an object in their order. */
export type JsonMembers = ReadonlyMap<string, JsonMember>;

/** A name and its value. */
export interface JsonMember {
  readonly name: string;
  /** Where the name stands. */
  readonly start: number;
  readonly value: JsonNode;
}

/** A comment with its marks. */
export interface JsonComment {
  readonly start: number;
  readonly end: number;
}

/** A file that was read. */
export interface JsonDocument {
  readonly text: string;
  readonly root: JsonNode;
  /** In their order. */
  readonly comments: readonly JsonComment[];
  readonly lines: LineIndex;
}

/** Reads a text; what is wrong comes as one problem, the first. */
export function parseHuJson(text: string): JsonDocument | Problem {
  if (text.length > HUJSON_LIMITS.length)
    return { line: 1, column: 1, message: `the file is longer than ${HUJSON_LIMITS.length} characters` };
  const reader = new Reader(text);
  try {
    const root = reader.readAll();
    return { text, root, comments: reader.comments, lines: new LineIndex(text) };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const place = new LineIndex(text).placeOf(error.offset);
    return { ...place, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) };
  }
}

/** Whether {@link parseHuJson} gave a problem. */
export function isProblem(result: JsonDocument | Problem): result is Problem {
  return 'message' in result;
}

/** The value of a node as plain data; objects have no prototype. */
export function plainValue(node: JsonNode): unknown {
  if (node.kind === 'null') return null;
  if (node.kind === 'list') return node.items.map(plainValue);
  if (node.kind !== 'object') return node.value;
  const out: Record<string, unknown> = Object.create(null);
  for (const [name, member] of node.members) out[name] = plainValue(member.value);
  return out;
}

/** The comments that stand right before an offset, with nothing but blanks between, without their marks. */
export function commentsBefore(document: JsonDocument, offset: number): readonly string[] {
  const { text, comments } = document;
  let low = 0;
  let high = comments.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (comments[middle]!.end <= offset) low = middle + 1;
    else high = middle;
  }
  const out: string[] = [];
  let until = offset;
  for (let i = low - 1; i >= 0; i--) {
    const { start, end } = comments[i]!;
    if (text.slice(end, until).trim() !== '') break;
    const isBlock = text[start + 1] === '*';
    out.push(text.slice(start + 2, isBlock ? end - 2 : end).trim());
    until = start;
  }
  return out.reverse();
}

/** The place of a node or member in a document. */
export function placeIn(document: JsonDocument, at: { readonly start: number }): Place {
  return document.lines.placeOf(at.start);
}

class Fault extends Error {
  readonly offset: number;
  readonly hint: string | undefined;

  constructor(offset: number, message: string, hint?: string) {
    super(message);
    this.offset = offset;
    this.hint = hint;
  }
}

class Reader {
  readonly comments: JsonComment[] = [];
  readonly #text: string;
  #at = 0;
  #values = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readAll(): JsonNode {
    if (this.#text.startsWith('\uFEFF')) this.#at = 1;
    this.#skip();
    if (this.#at === this.#text.length) throw new Fault(this.#at, 'the file is empty', 'write {} for an empty policy');
    const root = this.#readValue(0);
    this.#skip();
    if (this.#at < this.#text.length) throw new Fault(this.#at, 'there is something behind the end of the value');
    return root;
  }

  /** Blanks and comments. */
  #skip(): void {
    const text = this.#text;
    for (;;) {
      const char = text.charCodeAt(this.#at);
      if (char === 32 || char === 10 || char === 13 || char === 9) this.#at++;
      else if (char === 47) this.#readComment();
      else return;
    }
  }

  #readComment(): void {
    const [text, start] = [this.#text, this.#at];
    if (text[start + 1] === '/') {
      const end = text.indexOf('\n', start);
      this.#at = end < 0 ? text.length : end;
    } else if (text[start + 1] === '*') {
      const end = text.indexOf('*/', start + 2);
      if (end < 0) throw new Fault(start, 'a comment is not closed', 'it ends with */');
      this.#at = end + 2;
    } else {
      throw new Fault(start, 'a / alone means nothing here', 'a comment begins with // or /*');
    }
    this.comments.push({ start, end: this.#at });
    if (this.comments.length > HUJSON_LIMITS.comments)
      throw new Fault(start, `there are more than ${HUJSON_LIMITS.comments} comments`);
  }

  #readValue(depth: number): JsonNode {
    const start = this.#at;
    this.#values++;
    const isMany = this.#values > HUJSON_LIMITS.values;
    if (isMany) throw new Fault(start, `there are more than ${HUJSON_LIMITS.values} values`); // CHECK: hujson-values
    const isDeep = depth > HUJSON_LIMITS.depth;
    if (isDeep) throw new Fault(start, `lists and objects are nested deeper than ${HUJSON_LIMITS.depth}`); // CHECK: hujson-depth
    const char = this.#text[start];
    if (char === '{') return this.#readObject(start, depth);
    if (char === '[') return this.#readList(start, depth);
    if (char === '"') return { kind: 'string', start, value: this.#readString(), end: this.#at };
    if (char === "'") throw new Fault(start, 'a text begins with a single quote', 'use double quotes');
    if (char === undefined) throw new Fault(start, 'the file ends where a value was expected', 'is a bracket missing?');
    return this.#readWord(start);
  }

  #readObject(start: number, depth: number): JsonNode {
    const members = new Map<string, JsonMember>();
    this.#at++;
    for (;;) {
      this.#skip();
      if (this.#take('}')) break;
      const from = this.#at;
      if (this.#text[from] !== '"') throw this.#missing(from, start, 'a name in double quotes or }');
      const name = this.#readString();
      const first = members.get(name);
      if (first !== undefined) throw this.#repeated(from, name, first); // CHECK: hujson-duplicate
      this.#skip();
      if (!this.#take(':')) throw this.#missing(this.#at, start, `: behind ${quote(name)}`);
      this.#skip();
      members.set(name, { name, start: from, value: this.#readValue(depth + 1) });
      this.#skip();
      if (this.#take(',')) continue;
      if (!this.#take('}')) throw this.#missing(this.#at, start, ', or }');
      break;
    }
    return { kind: 'object', start, members, end: this.#at };
  }

  #readList(start: number, depth: number): JsonNode {
    const items: JsonNode[] = [];
    this.#at++;
    for (;;) {
      this.#skip();
      if (this.#take(']')) break;
      items.push(this.#readValue(depth + 1));
      this.#skip();
      if (this.#take(',')) continue;
      if (!this.#take(']')) throw this.#missing(this.#at, start, ', or ]');
      break;
    }
    return { kind: 'list', start, items, end: this.#at };
  }

  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #repeated(offset: number, name: string, first: JsonMember): Fault {
    const { line } = new LineIndex(this.#text).placeOf(first.start);
    return new Fault(offset, `${quote(name)} is there twice, first in line ${line}`, 'keep one of them');
  }

  /** The hint names the bracket that was opened, which is where the mistake often is. */
  #missing(offset: number, opened: number, expected: string): Fault {
    const found = this.#text[offset];
    const { line } = new LineIndex(this.#text).placeOf(opened);
    const hint = `the ${this.#text[opened]} that is open here is in line ${line}`;
    return new Fault(offset, `expected ${expected}, got ${found === undefined ? 'the end' : quote(found)}`, hint);
  }

  #readString(): string {
    const [text, start] = [this.#text, this.#at];
    for (let at = start + 1; at < text.length; at++) {
      const char = text.charCodeAt(at);
      if (char === 92) at++;
      else if (char < 32)
        throw new Fault(at, 'a text has a line break or control character in it', 'is a quote missing?');
      else if (char === 34) {
        this.#at = at + 1;
        try {
          return JSON.parse(text.slice(start, this.#at));
        } catch {
          throw new Fault(start, 'a text has an escape that JSON does not know', 'write \\\\ for a backslash');
        }
      }
    }
    throw new Fault(start, 'a text is not closed', 'it ends with a double quote');
  }

  #readWord(start: number): JsonNode {
    const text = this.#text;
    let end = start;
    while (end < text.length && end - start < 100 && /[A-Za-z0-9+._-]/.test(text[end]!)) end++;
    const word = text.slice(start, end);
    this.#at = end;
    if (word === 'true' || word === 'false') return { kind: 'boolean', start, value: word === 'true', end };
    if (word === 'null') return { kind: 'null', start, end };
    if (/^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(word))
      return { kind: 'number', start, value: Number(word), end };
    const hint = /^[A-Za-z]/.test(word) ? 'texts stand in double quotes' : undefined;
    throw new Fault(start, `${quote(word === '' ? text[start]! : word)} is not a value`, hint);
  }
}
