/*
 * Arithmetic modulo 2^255 - 19 (see field.h), after Bernstein, "Curve25519: new Diffie-Hellman speed records" §4, but
 * with limbs that need no 64-bit sum.
 *
 * The product of two limbs is split into its lower 26 bits and the rest. With both factors shifted left by 3 the rest
 * is the upper word of the 64-bit product, and the lower word shifted right by 6 is the lower part; each of them is
 * summed in 32 bits. Limbs are at most 2^26 + 2^12 =: B, so that a rest is at most B^2 / 2^26 < 2^26 + 2^14 and a
 * column of ten products, with the carry into it, less than 10 * 2^26 + 10 * (2^26 + 2^14) + 2^7 < 2^31.
 */
#include "field.h"

#include "common.h"

#define MASK26 0x3ffffffu
#define MASK21 0x1fffffu
#define LIMBS 10
/* 2^260 = 32 * 2^255, which is 32 * 19. */
#define FOLD 608u

/* Carries along all limbs and from the last one back to the first; limbs may be any 31 bits. */
static void carry_limbs(fe_t *a) {
  uint32_t carry = 0;
  for (int i = 0; i < LIMBS; i++) {
    carry += a->limb[i];
    a->limb[i] = carry & MASK26;
    carry >>= 26;
  }
  /* At most 6 is carried out (limbs of less than 2^28.8), so that limb 0 ends below 2^26 + 2^12. */
  a->limb[0] += FOLD * carry;
}

/* Adds factor * a[i] to out[i] and out[i + 1] in their two parts; gives what lies above the last limb. */
static uint32_t add_scaled(uint32_t out[LIMBS], const uint32_t a[LIMBS], uint32_t factor) {
  uint32_t rest = 0;
  for (int i = 0; i < LIMBS; i++) {
    uint64_t product = (uint64_t)(a[i] << 3) * (factor << 3);
    out[i] += ((uint32_t)product >> 6) + rest;
    rest = (uint32_t)(product >> 32);
  }
  return rest;
}

/* Sums of columns 0 to 18 in `low`, with the rests of each in `rest`, become a number. */
static void reduce(fe_t *out, uint32_t low[2 * LIMBS], const uint32_t rest[2 * LIMBS]) {
  uint32_t carry = 0;
  for (int k = 0; k < 2 * LIMBS; k++) {
    carry += low[k];
    low[k] = carry & MASK26;
    carry = (carry >> 26) + rest[k];
  }
  /* low[19] took all that was left: the product is less than 2^520.01, and 26 * 19 = 494. */
  low[2 * LIMBS - 1] += carry << 26;
  /* What is above is at most FOLD * 2^26.01 / 2^26 < 613, and comes back as less than 613 * FOLD < 2^19. */
  uint32_t above = add_scaled(low, low + LIMBS, FOLD);
  low[0] += FOLD * above;
  for (int i = 0; i < LIMBS; i++) out->limb[i] = low[i];
  carry_limbs(out);
}

void fe_multiply(fe_t *out, const fe_t *a, const fe_t *b) {
  uint32_t x[LIMBS], y[LIMBS], low[2 * LIMBS], rest[2 * LIMBS];
  for (int i = 0; i < LIMBS; i++) {
    x[i] = a->limb[i] << 3;
    y[i] = b->limb[i] << 3;
  }
  for (int k = 0; k < 2 * LIMBS - 1; k++) {
    int last = k < LIMBS ? k : LIMBS - 1;
    const uint32_t *p = x + (k - last), *q = y + last, *end = x + last;
    uint32_t lower = 0, upper = 0;
    do {
      uint64_t product = (uint64_t)*p * *q--;
      lower += (uint32_t)product >> 6;
      upper += (uint32_t)(product >> 32);
    } while (p++ != end);
    low[k] = lower;
    rest[k] = upper;
  }
  low[2 * LIMBS - 1] = rest[2 * LIMBS - 1] = 0;
  reduce(out, low, rest);
}

void fe_square(fe_t *out, const fe_t *a) {
  uint32_t x[LIMBS], low[2 * LIMBS], rest[2 * LIMBS];
  for (int i = 0; i < LIMBS; i++) x[i] = a->limb[i] << 3;
  for (int k = 0; k < 2 * LIMBS - 1; k++) {
    int last = k < LIMBS ? k : LIMBS - 1;
    const uint32_t *p = x + (k - last), *q = x + last;
    uint32_t lower = 0, upper = 0;
    /* Each pair counts twice, the square in the middle once. */
    for (; p < q; p++, q--) {
      uint64_t product = (uint64_t)*p * *q;
      lower += (uint32_t)product >> 6;
      upper += (uint32_t)(product >> 32);
    }
    lower <<= 1;
    upper <<= 1;
    if (p == q) {
      uint64_t product = (uint64_t)*p * *p;
      lower += (uint32_t)product >> 6;
      upper += (uint32_t)(product >> 32);
    }
    low[k] = lower;
    rest[k] = upper;
  }
  low[2 * LIMBS - 1] = rest[2 * LIMBS - 1] = 0;
  reduce(out, low, rest);
}

void fe_scale(fe_t *out, const fe_t *a, uint32_t factor) {
  fe_t sum;
  fe_set(&sum, 0);
  /* What is above is at most `factor`, less than 2^18: FOLD times that is less than 2^28. */
  uint32_t above = add_scaled(sum.limb, a->limb, factor);
  sum.limb[0] += FOLD * above;
  carry_limbs(&sum);
  *out = sum;
}

void fe_add(fe_t *out, const fe_t *a, const fe_t *b) {
  for (int i = 0; i < LIMBS; i++) out->limb[i] = a->limb[i] + b->limb[i];
  carry_limbs(out);
}

void fe_subtract(fe_t *out, const fe_t *a, const fe_t *b) {
  /* 64 p is added: 2^261 - 1216 in limbs that are greater than any limb of `b`. */
  for (int i = 0; i < LIMBS; i++) {
    uint32_t enough = i == 0 ? 0x8000000u - 1216 : 0x8000000u - 2;
    out->limb[i] = a->limb[i] + enough - b->limb[i];
  }
  carry_limbs(out);
}

void fe_set(fe_t *out, uint32_t value) {
  out->limb[0] = value;
  for (int i = 1; i < LIMBS; i++) out->limb[i] = 0;
}

void fe_load(fe_t *out, const uint8_t bytes[32]) {
  for (int i = 0; i < LIMBS; i++) {
    int word = 26 * i / 32, shift = 26 * i % 32;
    uint32_t limb = load32(bytes + 4 * word) >> shift;
    if (shift > 6) limb |= word < 7 ? load32(bytes + 4 * word + 4) << (32 - shift) : 0;
    out->limb[i] = limb & (i < LIMBS - 1 ? MASK26 : MASK21);
  }
}

/* Carries along the limbs, without an end: the last limb keeps what is above it. */
static void carry_up(fe_t *a) {
  for (int i = 0; i < LIMBS - 1; i++) {
    a->limb[i + 1] += a->limb[i] >> 26;
    a->limb[i] &= MASK26;
  }
}

void fe_store(uint8_t bytes[32], const fe_t *a) {
  fe_t t = *a;
  uint32_t words[9] = {0}, carry = 19;
  /* What lies from 2^255 on becomes 19 times as much below: less than 2^255 + 19 * 33 is left, so at most one p. */
  carry_up(&t);
  t.limb[0] += 19 * (t.limb[LIMBS - 1] >> 21);
  t.limb[LIMBS - 1] &= MASK21;
  /* With 19 added it reaches 2^255 if it is p or more; then that sum without 2^255 is what remains. */
  for (int i = 0; i < LIMBS - 1; i++) carry = (carry + t.limb[i]) >> 26;
  t.limb[0] += 19 * ((carry + t.limb[LIMBS - 1]) >> 21);
  carry_up(&t);
  t.limb[LIMBS - 1] &= MASK21;
  for (int i = 0; i < LIMBS; i++) {
    int word = 26 * i / 32, shift = 26 * i % 32;
    words[word] |= t.limb[i] << shift;
    if (shift > 6) words[word + 1] |= t.limb[i] >> (32 - shift);
  }
  for (int i = 0; i < 8; i++) store32(bytes + 4 * i, words[i]);
  wipe(&t, sizeof t);
  wipe(words, sizeof words);
}

static void square_times(fe_t *out, const fe_t *a, int times) {
  fe_square(out, a);
  while (--times > 0) fe_square(out, out);
}

/* a^(2^250 - 1), and a^11 on the way. */
static void power_ones(fe_t *ones250, fe_t *a11, const fe_t *a) {
  fe_t t, ones, ones50;
  fe_square(&t, a);
  square_times(&ones, &t, 2);
  fe_multiply(&ones, &ones, a); /* 9 */
  fe_multiply(a11, &ones, &t);
  fe_square(&t, a11);
  fe_multiply(&ones, &t, &ones); /* 2^5 - 1 */
  square_times(&t, &ones, 5);
  fe_multiply(&ones, &t, &ones); /* 2^10 - 1 */
  square_times(&t, &ones, 10);
  fe_multiply(&t, &t, &ones); /* 2^20 - 1 */
  square_times(&ones50, &t, 20);
  fe_multiply(&t, &ones50, &t); /* 2^40 - 1 */
  square_times(&t, &t, 10);
  fe_multiply(&ones50, &t, &ones); /* 2^50 - 1 */
  square_times(&t, &ones50, 50);
  fe_multiply(&ones, &t, &ones50); /* 2^100 - 1 */
  square_times(&t, &ones, 100);
  fe_multiply(&t, &t, &ones); /* 2^200 - 1 */
  square_times(&t, &t, 50);
  fe_multiply(ones250, &t, &ones50);
  wipe(&t, sizeof t);
  wipe(&ones, sizeof ones);
  wipe(&ones50, sizeof ones50);
}

void fe_invert(fe_t *out, const fe_t *a) {
  fe_t t, a11;
  power_ones(&t, &a11, a);
  square_times(&t, &t, 5);
  fe_multiply(out, &t, &a11); /* 2^255 - 32 + 11 */
  wipe(&t, sizeof t);
  wipe(&a11, sizeof a11);
}

void fe_power_root(fe_t *out, const fe_t *a) {
  fe_t t, a11;
  power_ones(&t, &a11, a);
  square_times(&t, &t, 2);
  fe_multiply(out, &t, a); /* 2^252 - 4 + 1 */
}

void fe_swap(fe_t *a, fe_t *b, uint32_t mask) {
  for (int i = 0; i < LIMBS; i++) {
    uint32_t difference = (a->limb[i] ^ b->limb[i]) & mask;
    a->limb[i] ^= difference;
    b->limb[i] ^= difference;
  }
}

void fe_choose(fe_t *out, const fe_t *a, uint32_t mask) {
  for (int i = 0; i < LIMBS; i++) out->limb[i] ^= (out->limb[i] ^ a->limb[i]) & mask;
}
