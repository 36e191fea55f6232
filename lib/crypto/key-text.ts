/**
 * Keys of the control protocol as text: a prefix that says what the key is for, and the bytes in lower-case hex.
 * The zero key is written as zeros; an empty text is not a key.
 */
import { fromHex, toHex } from '../base/bytes.ts';

/** Every kind of text key, with its prefix. All are 32 bytes. */
export type KeyKind = 'mkey' | 'nodekey' | 'discokey' | 'chalpub' | 'nlpub' | 'privkey';

/** `nodekey:0123…`. Throws RangeError unless there are 32 bytes. */
export function formatKey(kind: KeyKind, bytes: Uint8Array): string {
  if (bytes.length !== 32) throw new RangeError(`"bytes" expected 32 bytes, got ${bytes.length}`);
  return `${kind}:${toHex(bytes)}`;
}

/** The 32 bytes of a text key of this kind (hex in either case), or undefined for any other text. */
export function parseKeyText(kind: KeyKind, text: string): Uint8Array | undefined {
  if (text.length !== kind.length + 65 || !text.startsWith(`${kind}:`)) return undefined;
  return fromHex(text.slice(kind.length + 1));
}
