/**
 * Text of map messages: JSON that every reader takes (no escapes, since one client borrows strings as they stand; no
 * null; UTF-8).
 */
import { utf8Encode } from '../base/bytes.ts';

/** UTF-8 bytes of a text. */
export function encodeText(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 128) return utf8Encode(text);
    out[i] = code;
  }
  return out;
}

/**
 * A text of strangers that needs no escape in JSON: quotation marks, backslashes, control characters and unpaired
 * surrogates are left out, and what is beyond `most` characters.
 */
export function plainText(text: string, most: number): string {
  let out = '';
  let count = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    const isControl = code < 0x20 || (code >= 0x7f && code < 0xa0);
    const isEscaped = code === 0x22 || code === 0x5c || code === 0x2028 || code === 0x2029;
    if (isControl || isEscaped || (code >= 0xd800 && code < 0xe000)) continue;
    if (++count > most) break;
    out += character;
  }
  return out;
}
