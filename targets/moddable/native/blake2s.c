/*
 * BLAKE2s (RFC 7693), plain and keyed, and HMAC (RFC 2104) over it.
 *
 * Left out: salt, personalisation, tree hashing. Constant time: additions, XORs and rotations by fixed amounts; the
 * message schedule is a table with public indices.
 */
#include "common.h"
#include "mote-crypto.h"

static const uint32_t IV[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* RFC 7693 §2.7, two words' numbers in a byte: the first one above. */
static const uint8_t SIGMA[10][8] = {
    {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}, {0xea, 0x48, 0x9f, 0xd6, 0x1c, 0x02, 0xb7, 0x53},
    {0xb8, 0xc0, 0x52, 0xfd, 0xae, 0x36, 0x71, 0x94}, {0x79, 0x31, 0xdc, 0xbe, 0x26, 0x5a, 0x40, 0xf8},
    {0x90, 0x57, 0x24, 0xaf, 0xe1, 0xbc, 0x68, 0x3d}, {0x2c, 0x6a, 0x0b, 0x83, 0x4d, 0x75, 0xfe, 0x19},
    {0xc5, 0x1f, 0xed, 0x4a, 0x07, 0x63, 0x92, 0x8b}, {0xdb, 0x7e, 0xc1, 0x39, 0x50, 0xf4, 0x86, 0x2a},
    {0x6f, 0xe9, 0xb3, 0x08, 0xc2, 0xd7, 0x14, 0xa5}, {0xa2, 0x84, 0x76, 0x15, 0xfb, 0x9e, 0x3c, 0xd0}};

static void mix(uint32_t v[16], int a, int b, int c, int d, uint32_t x, uint32_t y) {
  v[a] += v[b] + x;
  v[d] = rotl32(v[d] ^ v[a], 16);
  v[c] += v[d];
  v[b] = rotl32(v[b] ^ v[c], 20);
  v[a] += v[b] + y;
  v[d] = rotl32(v[d] ^ v[a], 24);
  v[c] += v[d];
  v[b] = rotl32(v[b] ^ v[c], 25);
}

static void compress(mote_blake2s_t *state, const uint8_t *block, uint32_t last) {
  uint32_t v[16], m[16];
  for (int i = 0; i < 16; i++) m[i] = load32(block + 4 * i);
  for (int i = 0; i < 8; i++) {
    v[i] = state->h[i];
    v[8 + i] = IV[i];
  }
  v[12] ^= state->count[0];
  v[13] ^= state->count[1];
  v[14] ^= last;
  for (int round = 0; round < 10; round++) {
    const uint8_t *s = SIGMA[round];
    for (int i = 0; i < 4; i++) mix(v, i, 4 + i, 8 + i, 12 + i, m[s[i] >> 4], m[s[i] & 15]);
    s += 4;
    for (int i = 0; i < 4; i++)
      mix(v, i, 4 + ((i + 1) & 3), 8 + ((i + 2) & 3), 12 + ((i + 3) & 3), m[s[i] >> 4], m[s[i] & 15]);
  }
  for (int i = 0; i < 8; i++) state->h[i] ^= v[i] ^ v[8 + i];
  wipe(v, sizeof v);
  wipe(m, sizeof m);
}

/* Counts public lengths. */
static void count(mote_blake2s_t *state, uint32_t length) {
  state->count[0] += length;
  if (state->count[0] < length) state->count[1]++;
}

void mote_blake2s_init(mote_blake2s_t *state, unsigned out_length, const uint8_t *key, unsigned key_length) {
  memcpy(state->h, IV, sizeof IV);
  state->h[0] ^= 0x01010000u ^ (uint32_t)key_length << 8 ^ (uint32_t)out_length;
  state->count[0] = state->count[1] = 0;
  state->out_length = out_length;
  state->used = 0;
  if (key_length > 0) {
    memset(state->block, 0, sizeof state->block);
    memcpy(state->block, key, key_length);
    state->used = MOTE_BLAKE2S_BLOCK;
  }
}

void mote_blake2s_update(mote_blake2s_t *state, const uint8_t *data, size_t length) {
  while (length > 0) {
    if (state->used == MOTE_BLAKE2S_BLOCK) {
      /* A full block waits until more comes: the last one is marked. */
      count(state, MOTE_BLAKE2S_BLOCK);
      compress(state, state->block, 0);
      state->used = 0;
    }
    size_t part = MOTE_BLAKE2S_BLOCK - state->used;
    if (part > length) part = length;
    memcpy(state->block + state->used, data, part);
    state->used += (unsigned)part;
    data += part;
    length -= part;
  }
}

void mote_blake2s_final(mote_blake2s_t *state, uint8_t *out) {
  uint8_t digest[32];
  count(state, state->used);
  memset(state->block + state->used, 0, MOTE_BLAKE2S_BLOCK - state->used);
  compress(state, state->block, 0xffffffff);
  for (int i = 0; i < 8; i++) store32(digest + 4 * i, state->h[i]);
  memcpy(out, digest, state->out_length);
  wipe(digest, sizeof digest);
  wipe(state, sizeof *state);
}

void mote_hmac(uint8_t out[32], const uint8_t *key, unsigned key_length, const uint8_t *a, size_t a_length,
               const uint8_t *b, size_t b_length) {
  mote_blake2s_t state;
  uint8_t pad[MOTE_BLAKE2S_BLOCK], digest[32];
  memset(pad, 0, sizeof pad);
  copy_bytes(pad, key, key_length);
  for (int i = 0; i < MOTE_BLAKE2S_BLOCK; i++) pad[i] ^= 0x36;
  mote_blake2s_init(&state, 32, NULL, 0);
  mote_blake2s_update(&state, pad, sizeof pad);
  mote_blake2s_update(&state, a, a_length);
  mote_blake2s_update(&state, b, b_length);
  mote_blake2s_final(&state, digest);
  for (int i = 0; i < MOTE_BLAKE2S_BLOCK; i++) pad[i] ^= 0x36 ^ 0x5c;
  mote_blake2s_init(&state, 32, NULL, 0);
  mote_blake2s_update(&state, pad, sizeof pad);
  mote_blake2s_update(&state, digest, sizeof digest);
  mote_blake2s_final(&state, out);
  wipe(pad, sizeof pad);
  wipe(digest, sizeof digest);
}
