/** Small helpers of the module: sizes, and erasing. */

/** Bytes of a ChaCha20 key and of an X25519 key. */
export const KEY_BYTES: i32 = 32;

/** Zeroes `bytes` (a multiple of 16) at `at`. */
// @ts-ignore: decorator
@inline
export function wipe(at: usize, bytes: usize): void {
  for (let end = at + bytes; at < end; at += 16) v128.store(at, i64x2.splat(0));
}
