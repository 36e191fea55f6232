/**
 * ChaCha20-Poly1305 (RFC 8439 §2.8), in place, over any bytes of the module's memory.
 *
 * The first four blocks give the Poly1305 key (block 0) and 192 bytes of keystream, later ones 256 bytes each; a full
 * packet of 1420 bytes needs six rounds of four. `open` decrypts in the same pass in which it authenticates, so that
 * the two overlap; when the tag does not fit, it erases what it decrypted before it says so.
 */
import { KEY_BYTES, wipe } from './bytes';
import { KEY, keystream, NONCE, STREAM } from './chacha';
import { absorbPadded, finish, start, TAG } from './poly1305';

/** Xors `bytes` of keystream at `stream` into the bytes at `at`. */
// @ts-ignore: decorator
@inline
function mix(at: usize, stream: usize, bytes: usize): void {
  const end = at + bytes;
  for (; at + 16 <= end; at += 16, stream += 16) v128.store(at, v128.xor(v128.load(at), v128.load(stream)));
  for (; at < end; at++, stream++) store<u8>(at, load<u8>(at) ^ load<u8>(stream));
}

/** The Poly1305 key and the first 192 bytes of keystream; absorbs the additional data. */
// @ts-ignore: decorator
@inline
function begin(aad: usize, aadBytes: u32): void {
  keystream(0, 0, 0);
  start(STREAM);
  absorbPadded(aad, aad + aadBytes);
}

/** Seals `bytes` at `at` under KEY and NONCE, both erased after it; the tag follows the ciphertext. */
export function seal(at: usize, bytes: u32, aad: usize, aadBytes: u32): void {
  begin(aad, aadBytes);
  const end = at + bytes;
  let from = at;
  let to = min(from + 192, end);
  mix(from, STREAM + 64, to - from);
  for (let counter: u32 = 4; to < end; counter += 4) {
    keystream(counter, from, to);
    from = to;
    to = min(from + 256, end);
    mix(from, STREAM, to - from);
  }
  absorbPadded(from, end);
  finish(aadBytes, bytes);
  v128.store(end, v128.load(TAG));
  erase();
}

/** Opens `bytes` of ciphertext at `at`, a tag of 16 bytes behind it. 1, or 0 with the bytes erased: the tag is wrong. */
export function open(at: usize, bytes: u32, aad: usize, aadBytes: u32): i32 {
  begin(aad, aadBytes);
  const end = at + bytes;
  let to = min(at + 192, end);
  absorbPadded(at, to);
  mix(at, STREAM + 64, to - at);
  for (let counter: u32 = 4; to < end; counter += 4) {
    const from = to;
    to = min(from + 256, end);
    const whole = (to - from) & ~31;
    keystream(counter, from, from + whole);
    absorbPadded(from + whole, to);
    mix(from, STREAM, to - from);
  }
  finish(aadBytes, bytes);
  const difference = v128.xor(v128.load(end), v128.load(TAG));
  erase();
  if (v128.any_true(difference)) {
    memory.fill(at, 0, bytes);
    return 0;
  }
  return 1;
}

function erase(): void {
  wipe(STREAM, 256);
  wipe(KEY, KEY_BYTES);
  wipe(NONCE, 16);
  wipe(TAG, 16);
}
