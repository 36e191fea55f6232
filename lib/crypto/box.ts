/**
 * NaCl's box from its parts: HSalsa20 over an X25519 result, and XSalsa20-Poly1305 with the tag in front (Bernstein,
 * "Cryptography in NaCl", §8 to §10). Shared by the suites, each of which brings its own X25519.
 *
 * Left out: detached tags and additional data, which NaCl's box does not have. Not for the data path: a call allocates.
 */
import { hsalsa, xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { expectSize, KEY_BYTES, TAG_BYTES } from './arguments.ts';

/** Bytes of a box's nonce. */
export const BOX_NONCE_BYTES = 24;
/** "expand 32-byte k" as four little-endian words. */
const SIGMA = Object.freeze([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);

/** Turns the X25519 result in `key` (32 bytes) into the key of a box, in place. */
export function deriveBoxKey(key: Uint8Array): void {
  const words = new Uint32Array(8);
  const shared = new Uint8Array(words.buffer);
  shared.set(key);
  // The words are in the machine's byte order, as `hsalsa` takes and gives them; so is the constant's.
  const sigma = new Uint32Array(4);
  const bytes = new Uint8Array(sigma.buffer);
  for (let i = 0; i < 16; i++) bytes[i] = SIGMA[i >> 2]! >>> (8 * (i & 3));
  hsalsa(sigma, words, new Uint32Array(4), words);
  key.set(shared);
  words.fill(0);
}

/** Seals `plaintext` to `out` (16 bytes more, the tag first). Sizes are checked; `out` may overlap `plaintext`. */
export function sealBox(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): void {
  expectSize('key', key, KEY_BYTES);
  expectSize('nonce', nonce, BOX_NONCE_BYTES);
  expectSize('out', out, plaintext.length + TAG_BYTES);
  out.set(xsalsa20poly1305(key, nonce).encrypt(plaintext));
}

/** The reverse: false, with `out` zeroed, when the tag does not fit. */
export function openBox(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): boolean {
  expectSize('key', key, KEY_BYTES);
  expectSize('nonce', nonce, BOX_NONCE_BYTES);
  expectSize('out', out, ciphertext.length - TAG_BYTES);
  try {
    const plaintext = xsalsa20poly1305(key, nonce).decrypt(ciphertext);
    out.set(plaintext);
    plaintext.fill(0);
    return true;
  } catch {
    out.fill(0);
    return false;
  }
}
