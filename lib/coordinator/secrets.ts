/**
 * Auth keys and administration tokens as text: a prefix, an id by which it is found, and a secret of 256 random bits,
 * of which only a hash is kept. With that much randomness a fast hash is enough: there is nothing to guess.
 */
import { equalBytes, fromBase64, toBase64, toHex, utf8Encode } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';

/** What a secret is for. */
export type SecretKind = 'auth' | 'api';

/** Characters of an id: 48 bits in hex. */
export const ID_CHARS = 12;

const PATTERN = /^mote-(auth|api)-([0-9a-f]{12})-[A-Za-z0-9_-]{43}$/;

/** A new secret with an id that is not in use: the text to show once, its id, and the hash to keep (base64). */
export function makeSecret(
  suite: CryptoSuite,
  random: (out: Uint8Array) => void,
  kind: SecretKind,
  ids: { has(id: string): boolean },
): { text: string; id: string; hash: string } {
  const idBytes = new Uint8Array(ID_CHARS / 2);
  do random(idBytes);
  while (ids.has(toHex(idBytes)));
  const secret = new Uint8Array(32);
  random(secret);
  const id = toHex(idBytes);
  const coded = toBase64(secret).replaceAll('+', '-').replaceAll('/', '_').replace('=', '');
  secret.fill(0);
  const text = `mote-${kind}-${id}-${coded}`;
  return { text, id, hash: toBase64(hashOf(suite, text)) };
}

/** The id in the text of a secret; undefined for a text that is none of this kind. */
export function idOfSecret(kind: SecretKind, text: string): string | undefined {
  const match = PATTERN.exec(text);
  return match !== null && match[1] === kind ? match[2] : undefined;
}

/** Whether the text is the one that was hashed. The time it takes does not tell how much of it was right. */
export function isSecret(suite: CryptoSuite, text: string, hash: string): boolean {
  const expected = fromBase64(hash);
  return expected !== undefined && equalBytes(hashOf(suite, text), expected);
}

function hashOf(suite: CryptoSuite, text: string): Uint8Array {
  const out = new Uint8Array(32);
  suite.hash(out, utf8Encode(text));
  return out;
}
