/*
 * Salsa20 (Bernstein, "Salsa20 specification") and HSalsa20 (Bernstein, "Extending the Salsa20 nonce"), for NaCl's box.
 *
 * Constant time: additions, XORs and rotations by fixed amounts of 32-bit words; no tables.
 */
#include "common.h"
#include "mote-crypto.h"

#define QUARTER(a, b, c, d)  \
  b ^= rotl32(a + d, 7);     \
  c ^= rotl32(b + a, 9);     \
  d ^= rotl32(c + b, 13);    \
  a ^= rotl32(d + c, 18)

static void rounds(uint32_t x[16]) {
  for (int i = 0; i < 10; i++) {
    QUARTER(x[0], x[4], x[8], x[12]);
    QUARTER(x[5], x[9], x[13], x[1]);
    QUARTER(x[10], x[14], x[2], x[6]);
    QUARTER(x[15], x[3], x[7], x[11]);
    QUARTER(x[0], x[1], x[2], x[3]);
    QUARTER(x[5], x[6], x[7], x[4]);
    QUARTER(x[10], x[11], x[8], x[9]);
    QUARTER(x[15], x[12], x[13], x[14]);
  }
}

/* The matrix of §9: constants on the diagonal, key in two halves, and 16 bytes between them. */
static void prepare(uint32_t state[16], const uint8_t key[32]) {
  state[0] = 0x61707865; /* "expand 32-byte k" */
  state[5] = 0x3320646e;
  state[10] = 0x79622d32;
  state[15] = 0x6b206574;
  for (int i = 0; i < 4; i++) {
    state[1 + i] = load32(key + 4 * i);
    state[11 + i] = load32(key + 16 + 4 * i);
  }
}

void mote_salsa20(uint8_t *buf, size_t length, const uint8_t key[32], const uint8_t nonce[8], unsigned offset) {
  uint32_t state[16], x[16];
  prepare(state, key);
  state[6] = load32(nonce);
  state[7] = load32(nonce + 4);
  state[8] = 0;
  state[9] = 0; /* the counter's upper half: 2^32 blocks are more than any buffer has */
  while (length > 0) {
    memcpy(x, state, sizeof x);
    rounds(x);
    for (int i = 0; i < 16; i++) x[i] += state[i];
    for (; offset < 64 && length > 0; offset++, length--) *buf++ ^= (uint8_t)(x[offset / 4] >> (8 * (offset & 3)));
    offset = 0;
    state[8]++;
  }
  wipe(state, sizeof state);
  wipe(x, sizeof x);
}

void mote_hsalsa20(uint8_t out[32], const uint8_t key[32], const uint8_t nonce[16]) {
  uint32_t x[16];
  prepare(x, key);
  for (int i = 0; i < 4; i++) x[6 + i] = load32(nonce + 4 * i);
  rounds(x);
  for (int i = 0; i < 4; i++) {
    store32(out + 4 * i, x[5 * i]);
    store32(out + 16 + 4 * i, x[6 + i]);
  }
  wipe(x, sizeof x);
}
