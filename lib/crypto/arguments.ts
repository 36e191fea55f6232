/**
 * Checks of what callers hand to a crypto suite. A wrong size is the caller's mistake: RangeError, saying what was
 * expected and what came. All suites share these, so that they agree on what they refuse.
 */

/** Bytes of a Poly1305 tag (RFC 8439 §2.5). */
export const TAG_BYTES = 16;
/** Bytes of X25519 keys, ChaCha20 keys and BLAKE2s-256 digests. */
export const KEY_BYTES = 32;

/** Throws RangeError unless `bytes` has exactly `size` bytes. */
export function expectSize(name: string, bytes: Uint8Array, size: number): void {
  if (bytes.length !== size) throw new RangeError(`"${name}" expected ${size} bytes, got ${bytes.length}`);
}

/** Throws RangeError unless `bytes` has `least` to `most` bytes. */
export function expectSizeBetween(name: string, bytes: Uint8Array, least: number, most: number): void {
  if (bytes.length < least || bytes.length > most)
    throw new RangeError(`"${name}" expected ${least} to ${most} bytes, got ${bytes.length}`);
}

/** Throws RangeError unless `[start, end)` lies in `buf` with `spare` bytes behind it. */
export function expectRange(buf: Uint8Array, start: number, end: number, spare = 0): void {
  if (!(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end && end + spare <= buf.length))
    throw new RangeError(
      `"start", "end" expected a range with ${spare} bytes behind it in ${buf.length} bytes, got ${start} to ${end}`,
    );
}

/** Throws RangeError unless `counter` is an integer of 0 to 2^53-1: any other value would repeat a nonce. */
export function expectCounter(counter: number): void {
  if (!Number.isSafeInteger(counter) || counter < 0)
    throw new RangeError(`"counter" expected 0 to 2^53-1, got ${counter}`); // CHECK: cipher-counter
}
