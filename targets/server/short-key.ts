/** Node and machine keys as they stand in logs: recognisable, and of no other use. */
import { toBase64 } from '../../lib/base/bytes.ts';

/** `[` and the first five characters of the key's base64 and `]`. */
export function shortKey(key: Uint8Array): string {
  return `[${toBase64(key).slice(0, 5)}]`;
}
