/*
 * Poly1305 (RFC 8439 §2.5) with limbs of 26 bits.
 *
 * Constant time: fixed loops over fixed indices; the last subtraction is chosen by a mask. The products of limbs are
 * split into their lower 26 bits and the rest, both of which are summed in 32 bits: with both factors shifted left by
 * 3, the upper word of the product is the rest, and the lower word shifted right by 6 the 26 bits.
 *
 * Bounds: a limb of `h` is at most 2^26 between blocks, so at most 2^27 with a block added. A limb of `r` is less than
 * 2^26, five times it less than 5 * 2^26. A column sums 5 lower parts (< 2^26 each) and the rests of the column before,
 * at most 4 of them with a factor of 5: 5 * 2^26 + 4 * 5 * 2^27 + 2^27 < 2^32. The rests of the last column return to
 * the first one five-fold, without any factor of 5 before: 5 * 2^26 + 5 * 5 * 2^27 < 2^32.
 */
#include "common.h"
#include "mote-crypto.h"

#define MASK26 0x3ffffffu

void mote_poly1305_init(mote_poly1305_t *state, const uint8_t key[32]) {
  uint32_t t0 = load32(key) & 0x0fffffff, t1 = load32(key + 4) & 0x0ffffffc;
  uint32_t t2 = load32(key + 8) & 0x0ffffffc, t3 = load32(key + 12) & 0x0ffffffc;
  /* r[4 + j] is limb j of the multiplier, r[j - 1] is five times it: what multiplies past 2^130. Shifted by 3. */
  uint32_t *r = state->r + 4;
  r[0] = t0 & MASK26;
  r[1] = (t0 >> 26 | t1 << 6) & MASK26;
  r[2] = (t1 >> 20 | t2 << 12) & MASK26;
  r[3] = (t2 >> 14 | t3 << 18) & MASK26;
  r[4] = t3 >> 8;
  for (int j = 0; j < 5; j++) {
    r[j] <<= 3;
    if (j > 0) state->r[j - 1] = 5 * r[j];
  }
  for (int j = 0; j < 5; j++) state->h[j] = 0;
  memcpy(state->pad, key + 16, 16);
  state->used = 0;
}

/* Adds 16 bytes with the given bit above them (1, or 0 where the bytes contain it) and multiplies. */
static void add_block(mote_poly1305_t *state, const uint8_t *p, uint32_t top) {
  uint32_t t0 = load32(p), t1 = load32(p + 4), t2 = load32(p + 8), t3 = load32(p + 12);
  uint32_t *h = state->h, low[5], rest[5], a[5];
  a[0] = (h[0] + (t0 & MASK26)) << 3;
  a[1] = (h[1] + ((t0 >> 26 | t1 << 6) & MASK26)) << 3;
  a[2] = (h[2] + ((t1 >> 20 | t2 << 12) & MASK26)) << 3;
  a[3] = (h[3] + ((t2 >> 14 | t3 << 18) & MASK26)) << 3;
  a[4] = (h[4] + (t3 >> 8 | top << 24)) << 3;
  for (int k = 0; k < 5; k++) {
    const uint32_t *r = state->r + 4 + k;
    low[k] = rest[k] = 0;
    for (int i = 0; i < 5; i++) {
      uint64_t product = (uint64_t)a[i] * r[-i];
      low[k] += (uint32_t)product >> 6;
      rest[k] += (uint32_t)(product >> 32);
    }
  }
  uint32_t carry = 5 * rest[4];
  for (int k = 0; k < 5; k++) {
    h[k] = low[k] + carry;
    carry = (h[k] >> 26) + rest[k];
    h[k] &= MASK26;
  }
  /* What is carried out of the last column, without its rests, which the first one has: less than 2^7. */
  h[0] += 5 * (carry - rest[4]);
  h[1] += h[0] >> 26;
  h[0] &= MASK26;
}

void mote_poly1305_update(mote_poly1305_t *state, const uint8_t *data, size_t length) {
  if (state->used > 0) {
    while (state->used < 16 && length > 0) {
      state->block[state->used++] = *data++;
      length--;
    }
    if (state->used < 16) return;
    add_block(state, state->block, 1);
    state->used = 0;
  }
  for (; length >= 16; data += 16, length -= 16) add_block(state, data, 1);
  copy_bytes(state->block, data, length);
  state->used = (unsigned)length;
}

void mote_poly1305_align(mote_poly1305_t *state) {
  static const uint8_t zeros[16];
  if (state->used > 0) mote_poly1305_update(state, zeros, 16 - state->used);
}

void mote_poly1305_final(mote_poly1305_t *state, uint8_t tag[16]) {
  uint32_t *h = state->h, g[5], words[4], carry;
  if (state->used > 0) {
    state->block[state->used++] = 1;
    memset(state->block + state->used, 0, 16 - state->used);
    add_block(state, state->block, 0);
  }
  /* Two passes leave every limb below 2^26. */
  for (int pass = 0; pass < 2; pass++) {
    carry = 0;
    for (int k = 0; k < 5; k++) {
      h[k] += carry;
      carry = h[k] >> 26;
      h[k] &= MASK26;
    }
    h[0] += 5 * carry;
  }
  /* h - p, which is h + 5 without bit 130; taken when that bit is set. */
  carry = 5;
  for (int k = 0; k < 5; k++) {
    g[k] = h[k] + carry;
    carry = g[k] >> 26;
    g[k] &= MASK26;
  }
  uint32_t taken = mask_of(carry);
  for (int k = 0; k < 5; k++) h[k] = (h[k] & ~taken) | (g[k] & taken);
  words[0] = h[0] | h[1] << 26;
  words[1] = h[1] >> 6 | h[2] << 20;
  words[2] = h[2] >> 12 | h[3] << 14;
  words[3] = h[3] >> 18 | h[4] << 8;
  carry = 0;
  for (int i = 0; i < 16; i++) {
    carry += (words[i / 4] >> (8 * (i & 3)) & 0xff) + state->pad[i];
    tag[i] = (uint8_t)carry;
    carry >>= 8;
  }
  wipe(state, sizeof *state);
  wipe(g, sizeof g);
  wipe(words, sizeof words);
}
