/*
 * ChaCha20 (RFC 8439 §2.1 to §2.4) and HChaCha20 (draft-irtf-cfrg-xchacha-03 §2.2).
 *
 * Constant time: additions, XORs and rotations by fixed amounts of 32-bit words; no tables.
 */
#include "common.h"
#include "mote-crypto.h"

#define QUARTER(a, b, c, d)                      \
  a += b, d = rotl32(d ^ a, 16);                 \
  c += d, b = rotl32(b ^ c, 12);                 \
  a += b, d = rotl32(d ^ a, 8);                  \
  c += d, b = rotl32(b ^ c, 7)

static void rounds(uint32_t x[16]) {
  for (int i = 0; i < 10; i++) {
    QUARTER(x[0], x[4], x[8], x[12]);
    QUARTER(x[1], x[5], x[9], x[13]);
    QUARTER(x[2], x[6], x[10], x[14]);
    QUARTER(x[3], x[7], x[11], x[15]);
    QUARTER(x[0], x[5], x[10], x[15]);
    QUARTER(x[1], x[6], x[11], x[12]);
    QUARTER(x[2], x[7], x[8], x[13]);
    QUARTER(x[3], x[4], x[9], x[14]);
  }
}

static void prepare(uint32_t state[16], const uint8_t key[32]) {
  state[0] = 0x61707865; /* "expand 32-byte k" */
  state[1] = 0x3320646e;
  state[2] = 0x79622d32;
  state[3] = 0x6b206574;
  for (int i = 0; i < 8; i++) state[4 + i] = load32(key + 4 * i);
}

void mote_chacha20(uint8_t *buf, size_t length, const uint8_t key[32], const uint8_t nonce[12], uint32_t counter) {
  uint32_t state[16], x[16];
  prepare(state, key);
  state[12] = counter;
  for (int i = 0; i < 3; i++) state[13 + i] = load32(nonce + 4 * i);
  while (length > 0) {
    memcpy(x, state, sizeof x);
    rounds(x);
    for (int i = 0; i < 16; i++) x[i] += state[i];
    if (length >= 64) {
      for (int i = 0; i < 16; i++) store32(buf + 4 * i, load32(buf + 4 * i) ^ x[i]);
      buf += 64;
      length -= 64;
    } else {
      for (size_t i = 0; i < length; i++) buf[i] ^= (uint8_t)(x[i / 4] >> (8 * (i & 3)));
      length = 0;
    }
    state[12]++;
  }
  wipe(state, sizeof state);
  wipe(x, sizeof x);
}

void mote_hchacha20(uint8_t out[32], const uint8_t key[32], const uint8_t nonce[16]) {
  uint32_t x[16];
  prepare(x, key);
  for (int i = 0; i < 4; i++) x[12 + i] = load32(nonce + 4 * i);
  rounds(x);
  for (int i = 0; i < 4; i++) {
    store32(out + 4 * i, x[i]);
    store32(out + 16 + 4 * i, x[12 + i]);
  }
  wipe(x, sizeof x);
}
