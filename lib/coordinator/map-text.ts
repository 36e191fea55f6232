/**
 * Text of map messages: JSON that every reader takes (no escapes, since one client borrows strings as they stand; no
 * null; UTF-8), and times as RFC 3339, written without a calendar of the runtime.
 */
import { utf8Encode } from '../base/bytes.ts';

/** The last second that has a year of four digits. */
const LAST_TIME_MS = 253_402_300_799_000;
const DAY_MS = 86_400_000;

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

/** `2026-01-31T23:59:59Z` of ms since 1970, kept within the years 1970 to 9999; whole seconds, rounded down. */
export function formatTimeMs(unixMs: number): string {
  const ms = unixMs > 0 ? Math.min(unixMs, LAST_TIME_MS) : 0;
  const days = Math.floor(ms / DAY_MS);
  const seconds = Math.floor((ms - days * DAY_MS) / 1000);
  const time = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map(twoDigits).join(':');
  return `${dateOf(days)}T${time}Z`;
}

/** Years begin in March here, so that the leap day is the last of a year, and 400 of them are one era. */
function dateOf(days1970: number): string {
  const days = days1970 + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const leapDays = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(year).padStart(4, '0')}-${twoDigits(month)}-${twoDigits(day)}`;
}

function twoDigits(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}
