/**
 * HPACK encoding (RFC 7541) without a dynamic table and without Huffman: fields of the static table as its index, all
 * others as literals. It keeps no state, which suits a sender of few, short requests.
 *
 * Secrets are literals that no one on the way may ever put into a table (§7.1.3).
 */
import { type Field, staticIndex } from './hpack-table.ts';

/** The first byte of a block that says: this encoder uses no table (size update to 0, RFC 7541 §6.3). */
export const NO_TABLE_UPDATE = 0x20;

/** Most bytes of an integer: a prefix, and the 31 bits of a text's length by sevens. */
const INTEGER_BYTES = 6;

/** Names whose values are secrets. */
const SECRET_NAMES: readonly string[] = Object.freeze(['authorization', 'cookie', 'proxy-authorization']);

/** The header block of a list of fields. Characters of names and values are octets (0 to 255); the caller checked that. */
export function encodeFields(fields: readonly Field[]): Uint8Array {
  // An upper bound: an array of numbers would take 16 bytes for each byte on XS.
  let most = 0;
  for (const [name, value] of fields) most += name.length + value.length + 3 * INTEGER_BYTES;
  const out: Block = { buf: new Uint8Array(most), end: 0 };
  for (const field of fields) writeField(out, field);
  return out.buf.slice(0, out.end);
}

/** What is being written: `buf[0, end)`. */
interface Block {
  readonly buf: Uint8Array;
  end: number;
}

function writeField(out: Block, [name, value]: Field): void {
  const isSecret = SECRET_NAMES.includes(name);
  const index = isSecret ? 0 : staticIndex(name, value);
  if (index > 0) return writeInteger(out, 0x80, 7, index);
  const nameIndex = staticIndex(name, undefined);
  writeInteger(out, isSecret ? 0x10 : 0, 4, nameIndex);
  if (nameIndex === 0) writeText(out, name);
  writeText(out, value);
}

function writeText(out: Block, text: string): void {
  writeInteger(out, 0, 7, text.length);
  for (let i = 0; i < text.length; i++) out.buf[out.end++] = text.charCodeAt(i);
}

/** RFC 7541 §5.1: `bits` bits of prefix behind the `flags`. */
function writeInteger(out: Block, flags: number, bits: number, value: number): void {
  const mask = (1 << bits) - 1;
  if (value < mask) {
    out.buf[out.end++] = flags | value;
    return;
  }
  out.buf[out.end++] = flags | mask;
  let rest = value - mask;
  for (; rest >= 128; rest >>>= 7) out.buf[out.end++] = (rest & 0x7f) | 0x80;
  out.buf[out.end++] = rest;
}
