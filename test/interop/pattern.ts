/**
 * Bytes that both ends can make and check without sending them to each other: a stream determined by its seed.
 *
 * A block of 64 KiB of random bytes repeats; the first 8 bytes of each repetition hold its number, so that a lost, doubled
 * or swapped block changes the hash.
 */
import { createHash } from 'node:crypto';

const BLOCK_BYTES = 65_536;

/** A generator of 32-bit numbers with 32 bits of state (mulberry32): good enough for tests, the same everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return (word ^ (word >>> 14)) >>> 0;
  };
}

/** The stream of one seed, in fresh chunks of at most 64 KiB. */
export function* patternChunks(seed: number, bytes: number): Generator<Uint8Array> {
  const random = seededRandom(seed);
  const words = new Uint32Array(BLOCK_BYTES / 4);
  for (let i = 0; i < words.length; i++) words[i] = random();
  const block = new Uint8Array(words.buffer);
  for (let at = 0, index = 0; at < bytes; at += BLOCK_BYTES, index++) {
    const chunk = block.slice(0, Math.min(BLOCK_BYTES, bytes - at));
    if (chunk.length >= 8) new DataView(chunk.buffer).setUint32(0, index);
    yield chunk;
  }
}

/** The first `bytes` bytes of a seed's stream as one array; meant for datagrams. */
export function patternBytes(seed: number, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of patternChunks(seed, bytes)) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** SHA-256 (hex) of the first `bytes` bytes of a seed's stream. */
export function patternHash(seed: number, bytes: number): string {
  const hash = createHash('sha256');
  for (const chunk of patternChunks(seed, bytes)) hash.update(chunk);
  return hash.digest('hex');
}
