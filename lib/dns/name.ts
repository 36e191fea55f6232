/**
 * Domain names as text: lower case, without the dot at the end; the root is the empty text (RFC 1035 §2.3, RFC 4343).
 * Bytes of a label that a host name cannot have are written `\DDD`, so that no two names have one text.
 */
import { parseDecimal } from '../base/address.ts';

/** Longest name on the wire, lengths and root included (RFC 1035 §3.1). */
export const MAX_NAME_BYTES = 255;
/** Longest label (RFC 1035 §3.1). */
export const MAX_LABEL_BYTES = 63;

const ARPA4 = '.in-addr.arpa';
const ARPA6 = '.ip6.arpa';

/** The name in `text` (with or without the dot at the end), or undefined when it is no name of host labels. */
export function normalName(text: string): string | undefined {
  const name = (text.endsWith('.') ? text.slice(0, -1) : text).toLowerCase();
  const isName = name.length <= MAX_NAME_BYTES - 2 && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(name);
  return isName ? name : undefined;
}

/**
 * Text of the name at `buf[at]`, where no pointers are allowed, and the offset behind it; undefined when it is malformed
 * or goes beyond `end`.
 */
export function readPlainName(buf: Uint8Array, at: number, end: number): { text: string; next: number } | undefined {
  let text = '';
  for (let next = at; next < end; ) {
    const length = buf[next]!;
    if (length === 0) return { text, next: next + 1 };
    if (length > MAX_LABEL_BYTES) return undefined; // CHECK: dns-name-pointer
    if (next + length + 2 - at > MAX_NAME_BYTES) return undefined; // CHECK: dns-name-length
    if (next + length >= end) return undefined;
    if (text !== '') text += '.';
    for (let i = next + 1; i <= next + length; i++) text += labelText(buf[i]!);
    next += length + 1;
  }
  return undefined;
}

function labelText(byte: number): string {
  const lower = byte >= 65 && byte <= 90 ? byte + 32 : byte;
  const isPlain = lower > 32 && lower < 127 && lower !== 46 && lower !== 92;
  return isPlain ? String.fromCharCode(lower) : `\\${String(byte).padStart(3, '0')}`;
}

/** Offset behind the name at `buf[at]`, in which a pointer ends it; -1 when it is malformed or goes beyond `end`. */
export function skipName(buf: Uint8Array, at: number, end: number): number {
  for (let next = at; next < end; ) {
    const length = buf[next]!;
    if (length === 0) return next + 1;
    if (length >= 0xc0) return next + 2 <= end ? next + 2 : -1;
    if (length > MAX_LABEL_BYTES || next + length - at > MAX_NAME_BYTES) return -1;
    next += length + 1;
  }
  return -1;
}

/** Bytes that a normal name takes on the wire. */
export function wireNameBytes(name: string): number {
  return name === '' ? 1 : name.length + 2;
}

/** Writes a normal name without pointers; the caller has checked the room. Returns the offset behind it. */
export function writeName(out: Uint8Array, at: number, name: string): number {
  let next = at;
  for (const label of name === '' ? [] : name.split('.')) {
    out[next++] = label.length;
    for (let i = 0; i < label.length; i++) out[next++] = label.charCodeAt(i);
  }
  out[next++] = 0;
  return next;
}

/** The name under which an address (4 or 16 bytes) has its PTR record (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(address: Uint8Array): string {
  if (address.length === 4) return `${[...address].reverse().join('.')}${ARPA4}`;
  const nibbles = [...address].flatMap(byte => [byte >> 4, byte & 15]);
  return `${nibbles
    .reverse()
    .map(nibble => nibble.toString(16))
    .join('.')}${ARPA6}`;
}

/** Whether a name has the form of an address's, or of a beginning of addresses; the address when it is a whole one. */
export function parseReverseName(name: string): { readonly address: Uint8Array | undefined } | undefined {
  const isV4 = name.endsWith(ARPA4);
  if (!isV4 && !name.endsWith(ARPA6)) return undefined;
  const labels = name
    .slice(0, -(isV4 ? ARPA4 : ARPA6).length)
    .split('.')
    .reverse();
  const most = isV4 ? 4 : 32;
  const parts = labels.map(label => (isV4 ? parseDecimal(label, 255) : parseNibble(label)));
  if (parts.length > most || parts.some(part => part === undefined)) return undefined;
  if (parts.length < most) return { address: undefined };
  const values = parts as number[];
  const address = isV4
    ? Uint8Array.from(values)
    : Uint8Array.from({ length: 16 }, (_, i) => values[2 * i]! * 16 + values[2 * i + 1]!);
  return { address };
}

function parseNibble(label: string): number | undefined {
  return /^[0-9a-f]$/.test(label) ? Number.parseInt(label, 16) : undefined;
}

/** The names above those that were added, which need not be names themselves. */
export class Ancestors {
  /** How many names lie below each. */
  readonly #counts = new Map<string, number>();

  add(name: string): void {
    this.#count(name, 1);
  }

  /** Takes back one {@link add}. */
  remove(name: string): void {
    this.#count(name, -1);
  }

  /** Whether a name that was added lies below this one. */
  has(name: string): boolean {
    return this.#counts.has(name);
  }

  #count(name: string, by: number): void {
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const above = name.slice(dot + 1);
      const count = (this.#counts.get(above) ?? 0) + by;
      if (count === 0) this.#counts.delete(above);
      else this.#counts.set(above, count);
    }
  }
}
