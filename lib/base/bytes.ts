/**
 * Byte helpers that the whole core shares: endian reads and writes, constant-time comparison, hex, base64, UTF-8.
 *
 * Everything works on `Uint8Array` with explicit offsets, so that the data path makes no view per field.
 * Left out on purpose: DataView (one allocation per packet), Buffer, TextEncoder (absent on XS).
 */

/**
 * No bytes: what a field holds that has nothing. One for all, because an empty array of its own takes 120 bytes on XS.
 * In flash it is read-only: `fill`, `set` and crypto must not be given it to write to, though nothing would be written.
 */
export const NO_BYTES: Uint8Array = /* @__PURE__ */ new Uint8Array(0);

/** Reads an unsigned 16-bit big-endian number at `offset`. The caller has checked the bounds. */
export function readU16BE(buf: Uint8Array, offset: number): number {
  return (buf[offset]! << 8) | buf[offset + 1]!;
}

/** Reads an unsigned 32-bit big-endian number (0 to 2^32-1) at `offset`. The caller has checked the bounds. */
export function readU32BE(buf: Uint8Array, offset: number): number {
  return ((buf[offset]! << 24) | (buf[offset + 1]! << 16) | (buf[offset + 2]! << 8) | buf[offset + 3]!) >>> 0;
}

/** Reads an unsigned 32-bit little-endian number (0 to 2^32-1) at `offset`. The caller has checked the bounds. */
export function readU32LE(buf: Uint8Array, offset: number): number {
  return ((buf[offset + 3]! << 24) | (buf[offset + 2]! << 16) | (buf[offset + 1]! << 8) | buf[offset]!) >>> 0;
}

/** Writes the low 16 bits of `value` big-endian at `offset`. */
export function writeU16BE(buf: Uint8Array, offset: number, value: number): void {
  buf[offset] = value >>> 8;
  buf[offset + 1] = value;
}

/** Writes the low 32 bits of `value` big-endian at `offset`. */
export function writeU32BE(buf: Uint8Array, offset: number, value: number): void {
  buf[offset] = value >>> 24;
  buf[offset + 1] = value >>> 16;
  buf[offset + 2] = value >>> 8;
  buf[offset + 3] = value;
}

/** Writes the low 32 bits of `value` little-endian at `offset`. */
export function writeU32LE(buf: Uint8Array, offset: number, value: number): void {
  buf[offset] = value;
  buf[offset + 1] = value >>> 8;
  buf[offset + 2] = value >>> 16;
  buf[offset + 3] = value >>> 24;
}

/** Writes a non-negative integer below 2^53 as 64-bit little-endian at `offset`. */
export function writeU64LE(buf: Uint8Array, offset: number, value: number): void {
  writeU32LE(buf, offset, value % 0x1_0000_0000);
  writeU32LE(buf, offset + 4, Math.floor(value / 0x1_0000_0000));
}

/** Writes a non-negative integer below 2^53 as 64-bit big-endian at `offset`. */
export function writeU64BE(buf: Uint8Array, offset: number, value: number): void {
  writeU32BE(buf, offset, Math.floor(value / 0x1_0000_0000));
  writeU32BE(buf, offset + 4, value % 0x1_0000_0000);
}

/** Whether two arrays hold the same bytes. Time depends on the lengths only, never on the content. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  return equalRange(a, 0, b, 0, a.length);
}

/** Whether `length` bytes at `aOffset` and `bOffset` agree, in time that depends on `length` only. */
export function equalRange(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, length: number): boolean {
  let difference = 0;
  for (let i = 0; i < length; i++) difference |= a[aOffset + i]! ^ b[bOffset + i]!;
  return difference === 0;
}

/** Whether every byte is zero, in time that depends on the length only. */
export function isAllZero(bytes: Uint8Array): boolean {
  let bits = 0;
  for (let i = 0; i < bytes.length; i++) bits |= bytes[i]!;
  return bits === 0;
}

/** Copies `source[start, end)` to `target` at `offset` (a memmove). */
export function copyBytes(target: Uint8Array, offset: number, source: Uint8Array, start: number, end: number): void {
  if (start === 0 && end === source.length) target.set(source, offset);
  else target.set(source.subarray(start, end), offset);
}

/** Joins arrays into a new one. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const HEX = '0123456789abcdef';

/** Lower-case hex of the bytes. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += HEX[bytes[i]! >> 4]! + HEX[bytes[i]! & 15]!;
  return text;
}

/** Bytes of a hex text of even length, upper or lower case; `undefined` when it is anything else. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0) return undefined;
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) {
    const high = hexDigit(text.charCodeAt(2 * i));
    const low = hexDigit(text.charCodeAt(2 * i + 1));
    if (high < 0 || low < 0) return undefined;
    out[i] = high * 16 + low;
  }
  return out;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  if (code >= 97 && code <= 102) return code - 87;
  if (code >= 65 && code <= 70) return code - 55;
  return -1;
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Standard base64 with padding (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const word = (bytes[i]! << 16) | ((left > 1 ? bytes[i + 1]! : 0) << 8) | (left > 2 ? bytes[i + 2]! : 0);
    text += BASE64[word >> 18]! + BASE64[(word >> 12) & 63]!;
    text += left > 1 ? BASE64[(word >> 6) & 63]! : '=';
    text += left > 2 ? BASE64[word & 63]! : '=';
  }
  return text;
}

/** Bytes of a canonical padded base64 text (RFC 4648 §4); `undefined` for any other text, also for stray low bits. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  let at = 0;
  for (let i = 0; i < text.length; i += 4) {
    let word = 0;
    for (let j = 0; j < 4; j++) {
      const isPadding = i + j >= text.length - padding;
      const digit = isPadding ? 0 : base64Digit(text.charCodeAt(i + j));
      if (digit < 0) return undefined;
      word = (word << 6) | digit;
    }
    for (let shift = 16; shift >= 0; shift -= 8) {
      if (at < out.length) out[at++] = word >> shift;
      else if (((word >> shift) & 0xff) !== 0) return undefined;
    }
  }
  return out;
}

function base64Digit(code: number): number {
  if (code >= 65 && code <= 90) return code - 65;
  if (code >= 97 && code <= 122) return code - 71;
  if (code >= 48 && code <= 57) return code + 4;
  if (code === 43) return 62;
  if (code === 47) return 63;
  return -1;
}

/** UTF-8 bytes of a text; an unpaired surrogate becomes U+FFFD, as TextEncoder does. */
export function utf8Encode(text: string): Uint8Array {
  // No array of numbers: it would take 16 bytes for each byte on XS.
  const out = new Uint8Array(3 * text.length);
  let at = 0;
  for (const character of text) {
    let code = character.codePointAt(0)!;
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) {
      out[at++] = code;
      continue;
    }
    const more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    out[at++] = ((0xff00 >> (more + 1)) & 0xff) | (code >> (6 * more));
    for (let left = more - 1; left >= 0; left--) out[at++] = 0x80 | ((code >> (6 * left)) & 63);
  }
  return out.slice(0, at);
}

/** Text of UTF-8 bytes `[start, end)`; every malformed byte becomes U+FFFD. */
export function utf8Decode(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = '';
  let at = start;
  while (at < end) {
    const lead = bytes[at++]!;
    if (lead < 0x80) {
      text += String.fromCharCode(lead);
      continue;
    }
    const extra =
      lead >= 0xf0 && lead < 0xf5 ? 3 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xc2 && lead < 0xe0 ? 1 : 0;
    let code = extra === 3 ? lead & 7 : extra === 2 ? lead & 15 : lead & 31;
    let taken = 0;
    while (taken < extra && at + taken < end && (bytes[at + taken]! & 0xc0) === 0x80) {
      code = (code << 6) | (bytes[at + taken]! & 63);
      taken++;
    }
    const least = extra === 3 ? 0x10000 : extra === 2 ? 0x800 : 0x80;
    const isValid =
      extra > 0 && taken === extra && code >= least && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000);
    text += isValid ? String.fromCodePoint(code) : '\ufffd';
    if (isValid) at += taken;
  }
  return text;
}
