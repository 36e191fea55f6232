/*
 * SHA-512 (FIPS 180-4 §6.4).
 *
 * Constant time: additions, XORs, ANDs, shifts and rotations by fixed amounts. A 64-bit sum is made of 32-bit ones,
 * with the carry computed from the bits, since Xtensa compilers branch on a carry (mote-crypto.h).
 */
#include "common.h"
#include "mote-crypto.h"

static const uint64_t INITIAL[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

static const uint64_t K[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};

static uint64_t sum(uint64_t a, uint64_t b) {
  uint32_t x = (uint32_t)a, y = (uint32_t)b, low = x + y;
  uint32_t carry = ((x & y) | ((x | y) & ~low)) >> 31;
  uint32_t high = (uint32_t)(a >> 32) + (uint32_t)(b >> 32) + carry;
  return (uint64_t)high << 32 | low;
}

static uint64_t rotr64(uint64_t x, int n) {
  return x >> n | x << (64 - n);
}

static uint64_t load64be(const uint8_t *p) {
  uint64_t x = 0;
  for (int i = 0; i < 8; i++) x = x << 8 | p[i];
  return x;
}

static void store64be(uint8_t *p, uint64_t x) {
  for (int i = 7; i >= 0; i--, x >>= 8) p[i] = (uint8_t)x;
}

static void compress(mote_sha512_t *state, const uint8_t *block) {
  uint64_t w[16], v[8];
  for (int i = 0; i < 16; i++) w[i] = load64be(block + 8 * i);
  memcpy(v, state->h, sizeof v);
  for (int t = 0; t < 80; t++) {
    if (t >= 16) {
      uint64_t x = w[(t + 1) & 15], y = w[(t + 14) & 15];
      uint64_t s0 = rotr64(x, 1) ^ rotr64(x, 8) ^ x >> 7;
      uint64_t s1 = rotr64(y, 19) ^ rotr64(y, 61) ^ y >> 6;
      w[t & 15] = sum(sum(w[t & 15], s0), sum(w[(t + 9) & 15], s1));
    }
    uint64_t e = v[4], a = v[0];
    uint64_t s1 = rotr64(e, 14) ^ rotr64(e, 18) ^ rotr64(e, 41);
    uint64_t t1 = sum(sum(v[7], s1), sum(sum((e & v[5]) ^ (~e & v[6]), K[t]), w[t & 15]));
    uint64_t s0 = rotr64(a, 28) ^ rotr64(a, 34) ^ rotr64(a, 39);
    uint64_t t2 = sum(s0, (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
    for (int i = 7; i > 0; i--) v[i] = v[i - 1];
    v[4] = sum(v[4], t1);
    v[0] = sum(t1, t2);
  }
  for (int i = 0; i < 8; i++) state->h[i] = sum(state->h[i], v[i]);
  wipe(w, sizeof w);
  wipe(v, sizeof v);
}

void mote_sha512_init(mote_sha512_t *state) {
  memcpy(state->h, INITIAL, sizeof INITIAL);
  state->count = 0;
  state->used = 0;
}

void mote_sha512_update(mote_sha512_t *state, const uint8_t *data, size_t length) {
  state->count += length;
  while (length > 0) {
    size_t part = sizeof state->block - state->used;
    if (part > length) part = length;
    memcpy(state->block + state->used, data, part);
    state->used += (unsigned)part;
    data += part;
    length -= part;
    if (state->used == sizeof state->block) {
      compress(state, state->block);
      state->used = 0;
    }
  }
}

void mote_sha512_final(mote_sha512_t *state, uint8_t out[64]) {
  /* The length in bits is 128 bits wide; the upper ones of our 64-bit count of bytes go into its upper half. */
  uint64_t high = state->count >> 61, low = state->count << 3;
  unsigned used = state->used;
  state->block[used++] = 0x80;
  if (used > 112) {
    memset(state->block + used, 0, sizeof state->block - used);
    compress(state, state->block);
    used = 0;
  }
  memset(state->block + used, 0, 112 - used);
  store64be(state->block + 112, high);
  store64be(state->block + 120, low);
  compress(state, state->block);
  for (int i = 0; i < 8; i++) store64be(out + 8 * i, state->h[i]);
  wipe(state, sizeof *state);
}
