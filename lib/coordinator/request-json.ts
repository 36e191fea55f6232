/**
 * Requests as JSON (RFC 8259), read with the distrust that anybody's bytes deserve: size and nesting are bounded before
 * anything is parsed, field names match in any case (senders differ), and a value of another type than expected counts
 * as absent.
 */
import { utf8Decode } from '../base/bytes.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** `[` and `{`, `]` and `}` differ in this bit only. */
const BRACE_BIT = 0x20;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** The fields of an object, by name in any case; of names that differ in case only, the last counts (as Go reads it). */
export class Fields {
  readonly #values = new Map<string, unknown>();

  constructor(value: object) {
    for (const name of Object.keys(value))
      this.#values.set(name.toLowerCase(), (value as Record<string, unknown>)[name]);
  }

  /** A text; empty when there is none. */
  text(name: string): string {
    const value = this.#values.get(name.toLowerCase());
    return typeof value === 'string' ? value : '';
  }

  /** Whether the field is true. */
  isTrue(name: string): boolean {
    return this.#values.get(name.toLowerCase()) === true;
  }

  /** An integer of 0 to 2^53-1; 0 when there is none. */
  count(name: string): number {
    const value = this.#values.get(name.toLowerCase());
    return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : 0;
  }

  /** An object's fields; undefined when there is none. */
  object(name: string): Fields | undefined {
    return fieldsOf(this.#values.get(name.toLowerCase()));
  }

  /** An array; undefined when there is none. */
  array(name: string): readonly unknown[] | undefined {
    const value = this.#values.get(name.toLowerCase());
    return Array.isArray(value) ? value : undefined;
  }
}

/** The fields of a value that is an object; undefined for any other value. */
export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? new Fields(value) : undefined;
}

/** The object that a body is; undefined for one that is no JSON object or nests deeper than `depth`. */
export function readRequest(body: Uint8Array, depth: number): Fields | undefined {
  const isTooDeep = depthOf(body, depth) > depth;
  if (isTooDeep) return undefined; // CHECK: coordinator-json-depth
  try {
    return fieldsOf(JSON.parse(utf8Decode(body)));
  } catch {
    return undefined;
  }
}

/** How deep containers nest; the count stops above `limit`. */
function depthOf(body: Uint8Array, limit: number): number {
  let depth = 0;
  let deepest = 0;
  let isInText = false;
  for (let i = 0; i < body.length && deepest <= limit; i++) {
    const byte = body[i]!;
    if (isInText) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) isInText = false;
    } else if (byte === QUOTE) isInText = true;
    else if ((byte | BRACE_BIT) === OPEN) deepest = Math.max(deepest, ++depth);
    else if ((byte | BRACE_BIT) === CLOSE) depth--;
  }
  return deepest;
}
