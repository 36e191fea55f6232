/**
 * BLAKE2s (RFC 7693), plain and keyed, and HMAC (RFC 2104) over BLAKE2s-256 with its block of 64 bytes.
 *
 * One message at a time, whole in memory. Left out: salt, personalisation, tree hashing, messages of 2^32 bytes.
 */
import { wipe } from './bytes';

/** The key, at most 64 bytes, zero-filled; erased by every call. */
export const MAC_KEY: usize = memory.data(64, 16);
/** Where the digest is left: 32 bytes, of which a shorter one uses the first. */
export const DIGEST: usize = memory.data(32, 16);

/** h0..h7. */
const STATE: usize = memory.data(32, 16);
/** One block: a key, a padded key of HMAC, or the end of a message. */
const BLOCK: usize = memory.data(64, 16);
/** IV (RFC 7693 §2.6). */
const IV: usize = memory.data<u32>([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);
/** SIGMA (RFC 7693 §2.7), as byte offsets of message words. */
const SIGMA: usize = memory.data<u8>([
  0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60,
  56, 40, 16, 32, 36, 60, 52, 24, 4, 48, 0, 8, 44, 28, 20, 12,
  44, 32, 48, 0, 20, 8, 60, 52, 40, 56, 12, 24, 28, 4, 36, 16,
  28, 36, 12, 4, 52, 48, 44, 56, 8, 24, 20, 40, 16, 0, 60, 32,
  36, 0, 20, 28, 8, 16, 40, 60, 56, 4, 44, 48, 24, 32, 12, 52,
  8, 48, 24, 40, 0, 44, 32, 12, 16, 52, 28, 20, 60, 56, 4, 36,
  48, 20, 4, 60, 56, 52, 16, 40, 0, 28, 24, 12, 36, 8, 32, 44,
  52, 44, 28, 56, 48, 4, 12, 36, 20, 0, 60, 16, 32, 24, 8, 40,
  24, 60, 56, 36, 44, 12, 0, 32, 48, 8, 52, 28, 4, 16, 40, 20,
  40, 8, 32, 16, 28, 24, 4, 20, 60, 44, 36, 56, 12, 48, 52, 0,
]);

/** `keyBytes` of MAC_KEY and the message `[from, from + bytes)` give a digest of `outBytes`. */
export function blake2s(outBytes: u32, keyBytes: u32, from: usize, bytes: u32): void {
  start(outBytes, keyBytes);
  if (keyBytes == 0) {
    finish(0, from, bytes);
  } else if (bytes == 0) {
    finish(0, MAC_KEY, 64);
  } else {
    compress(MAC_KEY, 64, 0);
    finish(64, from, bytes);
  }
  erase();
}

/** HMAC-BLAKE2s-256 with the zero-filled key in MAC_KEY over `[from, from + bytes)`. */
export function hmac(from: usize, bytes: u32): void {
  pad(0x36);
  start(32, 0);
  if (bytes == 0) {
    finish(0, BLOCK, 64);
  } else {
    compress(BLOCK, 64, 0);
    finish(64, from, bytes);
  }
  pad(0x5c);
  start(32, 0);
  compress(BLOCK, 64, 0);
  finish(64, DIGEST, 32);
  erase();
}

function start(outBytes: u32, keyBytes: u32): void {
  v128.store(STATE, v128.load(IV));
  v128.store(STATE, v128.load(IV, 16), 16);
  store<u32>(STATE, load<u32>(IV) ^ (0x01010000 | (keyBytes << 8) | outBytes));
}

/** BLOCK = the key xor a pad byte. */
function pad(byte: u8): void {
  for (let i: usize = 0; i < 64; i += 16) v128.store(BLOCK + i, v128.xor(v128.load(MAC_KEY + i), i8x16.splat(byte)));
}

/** Hashes the rest of the message, `before` bytes being done already, and leaves the digest. */
function finish(before: u32, from: usize, bytes: u32): void {
  while (bytes > 64) {
    before += 64;
    compress(from, before, 0);
    from += 64;
    bytes -= 64;
  }
  if (bytes < 64) {
    wipe(BLOCK, 64);
    memory.copy(BLOCK, from, bytes);
    from = BLOCK;
  }
  compress(from, before + bytes, -1);
  v128.store(DIGEST, v128.load(STATE));
  v128.store(DIGEST, v128.load(STATE, 16), 16);
}

function erase(): void {
  wipe(MAC_KEY, 64);
  wipe(STATE, 32);
  wipe(BLOCK, 64);
}

/** The compression function F: `total` bytes so far, `last` is -1 for the last block and 0 before. */
function compress(block: usize, total: u32, last: u32): void {
  let v0 = load<u32>(STATE, 0);
  let v1 = load<u32>(STATE, 4);
  let v2 = load<u32>(STATE, 8);
  let v3 = load<u32>(STATE, 12);
  let v4 = load<u32>(STATE, 16);
  let v5 = load<u32>(STATE, 20);
  let v6 = load<u32>(STATE, 24);
  let v7 = load<u32>(STATE, 28);
  let v8 = load<u32>(IV, 0);
  let v9 = load<u32>(IV, 4);
  let v10 = load<u32>(IV, 8);
  let v11 = load<u32>(IV, 12);
  let v12 = load<u32>(IV, 16) ^ total;
  let v13 = load<u32>(IV, 20);
  let v14 = load<u32>(IV, 24) ^ last;
  let v15 = load<u32>(IV, 28);

  for (let row = SIGMA; row < SIGMA + 160; row += 16) {
    // columns
    v0 += v4 + word(block, row, 0);
    v1 += v5 + word(block, row, 2);
    v2 += v6 + word(block, row, 4);
    v3 += v7 + word(block, row, 6);
    v12 = rotr<u32>(v12 ^ v0, 16);
    v13 = rotr<u32>(v13 ^ v1, 16);
    v14 = rotr<u32>(v14 ^ v2, 16);
    v15 = rotr<u32>(v15 ^ v3, 16);
    v8 += v12;
    v9 += v13;
    v10 += v14;
    v11 += v15;
    v4 = rotr<u32>(v4 ^ v8, 12);
    v5 = rotr<u32>(v5 ^ v9, 12);
    v6 = rotr<u32>(v6 ^ v10, 12);
    v7 = rotr<u32>(v7 ^ v11, 12);
    v0 += v4 + word(block, row, 1);
    v1 += v5 + word(block, row, 3);
    v2 += v6 + word(block, row, 5);
    v3 += v7 + word(block, row, 7);
    v12 = rotr<u32>(v12 ^ v0, 8);
    v13 = rotr<u32>(v13 ^ v1, 8);
    v14 = rotr<u32>(v14 ^ v2, 8);
    v15 = rotr<u32>(v15 ^ v3, 8);
    v8 += v12;
    v9 += v13;
    v10 += v14;
    v11 += v15;
    v4 = rotr<u32>(v4 ^ v8, 7);
    v5 = rotr<u32>(v5 ^ v9, 7);
    v6 = rotr<u32>(v6 ^ v10, 7);
    v7 = rotr<u32>(v7 ^ v11, 7);

    // diagonals
    v0 += v5 + word(block, row, 8);
    v1 += v6 + word(block, row, 10);
    v2 += v7 + word(block, row, 12);
    v3 += v4 + word(block, row, 14);
    v15 = rotr<u32>(v15 ^ v0, 16);
    v12 = rotr<u32>(v12 ^ v1, 16);
    v13 = rotr<u32>(v13 ^ v2, 16);
    v14 = rotr<u32>(v14 ^ v3, 16);
    v10 += v15;
    v11 += v12;
    v8 += v13;
    v9 += v14;
    v5 = rotr<u32>(v5 ^ v10, 12);
    v6 = rotr<u32>(v6 ^ v11, 12);
    v7 = rotr<u32>(v7 ^ v8, 12);
    v4 = rotr<u32>(v4 ^ v9, 12);
    v0 += v5 + word(block, row, 9);
    v1 += v6 + word(block, row, 11);
    v2 += v7 + word(block, row, 13);
    v3 += v4 + word(block, row, 15);
    v15 = rotr<u32>(v15 ^ v0, 8);
    v12 = rotr<u32>(v12 ^ v1, 8);
    v13 = rotr<u32>(v13 ^ v2, 8);
    v14 = rotr<u32>(v14 ^ v3, 8);
    v10 += v15;
    v11 += v12;
    v8 += v13;
    v9 += v14;
    v5 = rotr<u32>(v5 ^ v10, 7);
    v6 = rotr<u32>(v6 ^ v11, 7);
    v7 = rotr<u32>(v7 ^ v8, 7);
    v4 = rotr<u32>(v4 ^ v9, 7);
  }

  fold(0, v0 ^ v8);
  fold(4, v1 ^ v9);
  fold(8, v2 ^ v10);
  fold(12, v3 ^ v11);
  fold(16, v4 ^ v12);
  fold(20, v5 ^ v13);
  fold(24, v6 ^ v14);
  fold(28, v7 ^ v15);
}

/** The message word that the schedule names at `entry`. */
// @ts-ignore: decorator
@inline
function word(block: usize, entry: usize, index: usize): u32 {
  return load<u32>(block + load<u8>(entry + index));
}

// @ts-ignore: decorator
@inline
function fold(offset: usize, value: u32): void {
  store<u32>(STATE + offset, load<u32>(STATE + offset) ^ value);
}
