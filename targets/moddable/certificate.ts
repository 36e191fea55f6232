/**
 * The one thing that motenet reads in an X.509 certificate: where its public key is (RFC 5280 §4.1).
 *
 * Left out: everything else. A pin compares bytes; names, dates and chains play no part.
 */
import { fromBase64, fromHex } from '../../lib/base/bytes.ts';

const SEQUENCE = 0x30;
const VERSION = 0xa0;
const PIN_BYTES = 32;

/** The bytes of SubjectPublicKeyInfo in a certificate (DER), its own tag included; undefined for what is none. */
export function subjectPublicKeyInfo(der: Uint8Array): Uint8Array | undefined {
  const certificate = contents(der, 0, SEQUENCE);
  const tbs = certificate === undefined ? undefined : contents(der, certificate.start, SEQUENCE);
  if (tbs === undefined) return undefined;
  let at = tbs.start;
  if (der[at] === VERSION) at = endOf(der, at);
  // serialNumber, signature, issuer, validity, subject
  for (let field = 0; field < 5 && at < tbs.end; field++) at = endOf(der, at);
  const end = at < tbs.end && der[at] === SEQUENCE ? endOf(der, at) : Number.POSITIVE_INFINITY;
  return end <= tbs.end ? der.subarray(at, end) : undefined;
}

/** Start and end of what a tag holds; undefined when the tag is another one or its length leads out of the array. */
function contents(der: Uint8Array, at: number, tag: number): { start: number; end: number } | undefined {
  const end = der[at] === tag ? endOf(der, at) : Number.POSITIVE_INFINITY;
  return end <= der.length ? { start: at + headerBytes(der, at), end } : undefined;
}

/** Tag, and a length of one byte, or of `0x81` to `0x83` and one to three bytes. */
function headerBytes(der: Uint8Array, at: number): number {
  const first = der[at + 1] ?? 0xff;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

/** Where the element at `at` ends; `Infinity` for a length that no certificate has. */
function endOf(der: Uint8Array, at: number): number {
  const first = der[at + 1] ?? 0x80;
  const header = headerBytes(der, at);
  if (first === 0x80 || header > 5 || at + header > der.length) return Number.POSITIVE_INFINITY;
  let length = header === 2 ? first : 0;
  for (let i = 2; i < header; i++) length = length * 256 + der[at + i]!;
  return at + header + length;
}

/**
 * Reads a pin: `sha256//` and base64, as `curl --pinnedpubkey` takes it, or 64 hex digits. Throws RangeError, naming
 * the server whose pin it is.
 */
export function parsePin(text: string, server: string): Uint8Array {
  const bytes = text.startsWith('sha256//') ? fromBase64(text.slice(8)) : fromHex(text);
  if (bytes?.length === PIN_BYTES) return bytes;
  throw new RangeError(`"pins" expected sha256//BASE64 or 64 hex digits for ${server}, got '${text.slice(0, 80)}'`);
}
