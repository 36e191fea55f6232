/** Helpers of the JSON tests: a whole value out of tokens, and random documents. */
import {
  JSON_ARRAY,
  JSON_ARRAY_END,
  JSON_BAD,
  JSON_FALSE,
  JSON_KEY,
  JSON_MORE,
  JSON_NULL,
  JSON_NUMBER,
  JSON_OBJECT,
  JSON_OBJECT_END,
  JSON_STRING,
  type JsonLimits,
  JsonReader,
} from '../../lib/control/json-stream.ts';
import type { Seeded } from '../crypto/support.ts';

/** Limits that no test of the grammar reaches. */
export const WIDE: JsonLimits = { depth: 64, textUnits: 4096 };

/** All tokens of a document fed in pieces of `size`: names and values beside their tokens. Ends with JSON_BAD if bad. */
export function tokensOf(bytes: Uint8Array, size = bytes.length || 1, limits = WIDE): [number, unknown][] {
  const reader = new JsonReader(limits);
  const out: [number, unknown][] = [];
  const take = (token: number) => {
    const isText = token === JSON_KEY || token === JSON_STRING;
    out.push([token, isText ? reader.text : token === JSON_NUMBER ? reader.number : undefined]);
  };
  for (let at = 0; at < bytes.length; at += size) {
    const piece = bytes.slice(at, at + size);
    reader.write(piece, 0, piece.length);
    for (let token = reader.next(); token !== JSON_MORE; token = reader.next()) {
      take(token);
      if (token === JSON_BAD) return out;
    }
    piece.fill(0x22);
  }
  const last = reader.end();
  if (last !== JSON_MORE) take(last);
  if (!reader.finish()) out.push([JSON_BAD, undefined]);
  return out;
}

/** The value of a document, or undefined for a bad one. */
export function parsedValue(bytes: Uint8Array, size?: number, limits?: JsonLimits): { value: unknown } | undefined {
  const tokens = tokensOf(bytes, size, limits);
  if (tokens.at(-1)?.[0] === JSON_BAD) return undefined;
  return { value: build(tokens) };
}

function build(tokens: [number, unknown][]): unknown {
  const [token, value] = tokens.shift()!;
  if (token === JSON_OBJECT) {
    const entries: [string, unknown][] = [];
    for (let [next, name] = tokens.shift()!; next !== JSON_OBJECT_END; [next, name] = tokens.shift()!)
      entries.push([name as string, build(tokens)]);
    return Object.fromEntries(entries);
  }
  if (token === JSON_ARRAY) {
    const items: unknown[] = [];
    while (tokens[0]![0] !== JSON_ARRAY_END) items.push(build(tokens));
    tokens.shift();
    return items;
  }
  if (token === JSON_STRING || token === JSON_NUMBER) return value;
  return token === JSON_NULL ? null : token !== JSON_FALSE;
}

const PIECES = [
  '',
  'a',
  '"',
  '\\',
  '/',
  '\n',
  '\u0000',
  'ä',
  '€',
  '😀',
  '\ud800',
  '\udc00',
  '__proto__',
  'Peers',
  '\u007f',
];

/** A random text with everything that is special in JSON. */
export function randomText(seeded: Seeded): string {
  return Array.from({ length: seeded.below(4) }, () => PIECES[seeded.below(PIECES.length)]).join('');
}

/** A random value of limited size. */
export function randomValue(seeded: Seeded, depth = 4): unknown {
  const kind = seeded.below(depth > 0 ? 8 : 6);
  if (kind === 0) return null;
  if (kind === 1) return seeded.below(2) === 0;
  if (kind === 2) return seeded.below(1000) - 500;
  if (kind === 3) return (seeded.below(2 ** 31) - 2 ** 30) * 10 ** (seeded.below(40) - 30);
  if (kind < 6) return randomText(seeded);
  const items = Array.from({ length: seeded.below(4) }, () => randomValue(seeded, depth - 1));
  if (kind === 6) return items;
  return Object.fromEntries(items.map(item => [randomText(seeded), item]));
}
