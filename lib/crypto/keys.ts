/**
 * Secret keys as objects that do not print, and the base64 text form of keys (wg(8): 44 characters of base64).
 *
 * JavaScript cannot promise that no copy of a key survives in memory (engines move objects, texts are immutable);
 * `wipe` erases the copy that this class holds.
 */
import { fromBase64, toBase64 } from '../base/bytes.ts';
import { expectSize, KEY_BYTES } from './arguments.ts';

const REDACTED = '[redacted]';

/** A 32-byte X25519 private key. In every way that a runtime prints a value it shows as `[redacted]`. */
export class SecretKey {
  // PRIVATE: nothing that lists properties may find a key, in what is built for boards neither.
  #bytes: Uint8Array | undefined;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** A copy of 32 bytes, as they are: X25519 clamps when it computes. RangeError for another length. */
  static fromBytes(bytes: Uint8Array): SecretKey {
    expectSize('privateKey', bytes, KEY_BYTES);
    return new SecretKey(bytes.slice());
  }

  /** A key from its base64 text. RangeError for any text that {@link parseKey} refuses; the text is not repeated in it. */
  static fromBase64(text: string): SecretKey {
    const bytes = parseKey(text);
    if (bytes === undefined)
      throw new RangeError(
        `"privateKey" expected 44 characters of base64 (32 bytes, as \`wg genkey\` prints), got ${text.length} characters that are not`,
      );
    return new SecretKey(bytes);
  }

  /** A new key from 32 random bytes, clamped as RFC 7748 §5 says (so that other programs print the same text). */
  static generate(random: (out: Uint8Array) => void): SecretKey {
    const bytes = new Uint8Array(KEY_BYTES);
    random(bytes);
    bytes[0]! &= 248;
    bytes[31] = (bytes[31]! & 127) | 64;
    return new SecretKey(bytes);
  }

  /** The 32 bytes themselves, not a copy: lend them to the suite, do not keep or change them. Throws after `wipe`. */
  get bytes(): Uint8Array {
    if (this.#bytes === undefined) throw new Error('the secret key is wiped');
    return this.#bytes;
  }

  /** The base64 text: a secret, for the user's own configuration only. Throws after `wipe`. */
  toBase64(): string {
    return toBase64(this.bytes);
  }

  /** Erases the key; `bytes` and `toBase64` throw from now on. */
  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  /** `[redacted]`, also in templates and concatenation. */
  toString(): string {
    return REDACTED;
  }

  /** `[redacted]` in JSON. */
  toJSON(): string {
    return REDACTED;
  }

  /** `[redacted]` for Node's and Bun's console and inspect. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return REDACTED;
  }

  /** `[redacted]` for Deno's console and inspect. */
  [Symbol.for('Deno.customInspect')](): string {
    return REDACTED;
  }
}

/** The 32 bytes of a public or preshared key in base64; `undefined` unless it is canonical base64 of 32 bytes. */
export function parseKey(base64: string): Uint8Array | undefined {
  if (base64.length !== 44) return undefined;
  const bytes = fromBase64(base64);
  return bytes?.length === KEY_BYTES ? bytes : undefined;
}
