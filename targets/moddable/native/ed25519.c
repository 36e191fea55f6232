/*
 * Ed25519 (RFC 8032 §5.1): signing, and verifying by the rules of ZIP 215, as signers and members of a tailnet must
 * agree on which signatures are valid.
 *
 * Points are in extended coordinates (RFC 8032 §5.1.4), whose addition is complete: it serves for any two points.
 * Constant time, except for verifying: a scalar's bits choose between two results of the same work by a mask; scalars
 * are reduced by 512 equal steps. No tables: signing is rare, and flash is dear.
 */
#include "common.h"
#include "field.h"
#include "mote-crypto.h"

typedef struct {
  fe_t x, y, z, t;
} point_t;

/* The curve's constant d, and a square root of -1. */
static const uint8_t D[32] = {
    0xa3, 0x78, 0x59, 0x13, 0xca, 0x4d, 0xeb, 0x75, 0xab, 0xd8, 0x41, 0x41, 0x4d, 0x0a, 0x70, 0x00,
    0x98, 0xe8, 0x79, 0x77, 0x79, 0x40, 0xc7, 0x8c, 0x73, 0xfe, 0x6f, 0x2b, 0xee, 0x6c, 0x03, 0x52};
static const uint8_t ROOT[32] = {
    0xb0, 0xa0, 0x0e, 0x4a, 0x27, 0x1b, 0xee, 0xc4, 0x78, 0xe4, 0x2f, 0xad, 0x06, 0x18, 0x43, 0x2f,
    0xa7, 0xd7, 0xfb, 0x3d, 0x99, 0x00, 0x4d, 0x2b, 0x0b, 0xdf, 0xc1, 0x4f, 0x80, 0x24, 0x83, 0x2b};
/* The base point. */
static const uint8_t BASE_X[32] = {
    0x1a, 0xd5, 0x25, 0x8f, 0x60, 0x2d, 0x56, 0xc9, 0xb2, 0xa7, 0x25, 0x95, 0x60, 0xc7, 0x2c, 0x69,
    0x5c, 0xdc, 0xd6, 0xfd, 0x31, 0xe2, 0xa4, 0xc0, 0xfe, 0x53, 0x6e, 0xcd, 0xd3, 0x36, 0x69, 0x21};
static const uint8_t BASE_Y[32] = {
    0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
    0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66};

/* The order of the base point, 2^252 + 27742317777372353535851937790883648493, in 16-bit limbs. */
static const uint16_t ORDER[16] = {0xd3ed, 0x5cf5, 0x631a, 0x5812, 0x9cd6, 0xa2f7, 0xf9de, 0x14de,
                                   0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x1000};

/* ---- scalars: 16 limbs of 16 bits ---- */

typedef struct {
  uint32_t limb[16];
} scalar_t;

/* 64 bytes modulo the order: bit by bit from above, doubling and subtracting the order where that leaves no debt. */
static void scalar_reduce(scalar_t *out, const uint8_t bytes[64]) {
  uint32_t less[16];
  for (int i = 0; i < 16; i++) out->limb[i] = 0;
  for (int bit = 511; bit >= 0; bit--) {
    uint32_t carry = (uint32_t)(bytes[bit / 8] >> (bit & 7)) & 1, debt = 0;
    for (int i = 0; i < 16; i++) {
      carry |= out->limb[i] << 1;
      out->limb[i] = carry & 0xffff;
      carry >>= 16;
      uint32_t difference = out->limb[i] - ORDER[i] - debt;
      less[i] = difference & 0xffff;
      debt = difference >> 31;
    }
    uint32_t keep = mask_of(debt);
    for (int i = 0; i < 16; i++) out->limb[i] = (out->limb[i] & keep) | (less[i] & ~keep);
  }
  wipe(less, sizeof less);
}

static void scalar_load(scalar_t *out, const uint8_t bytes[32]) {
  for (int i = 0; i < 16; i++) out->limb[i] = (uint32_t)bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8;
}

static void scalar_store(uint8_t bytes[32], const scalar_t *a) {
  for (int i = 0; i < 16; i++) {
    bytes[2 * i] = (uint8_t)a->limb[i];
    bytes[2 * i + 1] = (uint8_t)(a->limb[i] >> 8);
  }
}

/* a * b + c modulo the order. */
static void scalar_multiply_add(scalar_t *out, const scalar_t *a, const scalar_t *b, const scalar_t *c) {
  uint8_t wide[64];
  uint32_t carry = 0;
  for (int k = 0; k < 32; k++) {
    /* Lower and upper halves of at most 16 products apart: each sum is less than 2^20 and some. */
    uint32_t low = k < 16 ? c->limb[k] : 0, high = 0;
    for (int i = k < 16 ? 0 : k - 15; i < 16 && i <= k; i++) {
      uint32_t product = a->limb[i] * b->limb[k - i];
      low += product & 0xffff;
      high += product >> 16;
    }
    low += carry;
    wide[2 * k] = (uint8_t)low;
    wide[2 * k + 1] = (uint8_t)(low >> 8);
    carry = (low >> 16) + high;
  }
  scalar_reduce(out, wide);
  wipe(wide, sizeof wide);
}

/* Whether 32 bytes are less than the order. Only for signatures: they are public. */
static int scalar_is_canonical(const uint8_t bytes[32]) {
  for (int i = 31; i >= 0; i--) {
    uint32_t limit = (uint32_t)ORDER[i / 2] >> (8 * (i & 1)) & 0xff;
    if (bytes[i] != limit) return bytes[i] < limit;
  }
  return 0;
}

/* ---- points ---- */

static void point_identity(point_t *p) {
  fe_set(&p->x, 0);
  fe_set(&p->y, 1);
  fe_set(&p->z, 1);
  fe_set(&p->t, 0);
}

static void point_base(point_t *p) {
  fe_load(&p->x, BASE_X);
  fe_load(&p->y, BASE_Y);
  fe_set(&p->z, 1);
  fe_multiply(&p->t, &p->x, &p->y);
}

/* From E, F, G and H as RFC 8032 §5.1.4 calls them. */
static void point_finish(point_t *out, const fe_t *e, const fe_t *f, const fe_t *g, const fe_t *h) {
  fe_multiply(&out->x, e, f);
  fe_multiply(&out->y, g, h);
  fe_multiply(&out->t, e, h);
  fe_multiply(&out->z, f, g);
}

/* What adding and doubling need, so that the caller erases it once. */
typedef struct {
  fe_t c, e, f, g, h;
} work_t;

static void point_add(point_t *out, const point_t *p, const point_t *q, const fe_t *twice_d, work_t *w) {
  fe_subtract(&w->e, &p->y, &p->x);
  fe_subtract(&w->f, &q->y, &q->x);
  fe_multiply(&w->e, &w->e, &w->f); /* A */
  fe_add(&w->g, &p->y, &p->x);
  fe_add(&w->f, &q->y, &q->x);
  fe_multiply(&w->g, &w->g, &w->f); /* B */
  fe_add(&w->h, &w->g, &w->e);
  fe_subtract(&w->e, &w->g, &w->e);
  fe_multiply(&w->c, &p->t, &q->t);
  fe_multiply(&w->c, &w->c, twice_d); /* C */
  fe_multiply(&w->g, &p->z, &q->z);
  fe_add(&w->g, &w->g, &w->g); /* D */
  fe_subtract(&w->f, &w->g, &w->c);
  fe_add(&w->g, &w->g, &w->c);
  point_finish(out, &w->e, &w->f, &w->g, &w->h);
}

static void point_double(point_t *out, const point_t *p, work_t *w) {
  fe_square(&w->f, &p->x); /* A */
  fe_square(&w->g, &p->y); /* B */
  fe_add(&w->h, &w->f, &w->g);
  fe_add(&w->e, &p->x, &p->y);
  fe_square(&w->e, &w->e);
  fe_subtract(&w->e, &w->h, &w->e);
  fe_subtract(&w->g, &w->f, &w->g);
  fe_square(&w->f, &p->z);
  fe_add(&w->f, &w->f, &w->f);
  fe_add(&w->f, &w->f, &w->g);
  point_finish(out, &w->e, &w->f, &w->g, &w->h);
}

static void point_negate(point_t *p) {
  fe_t zero;
  fe_set(&zero, 0);
  fe_subtract(&p->x, &zero, &p->x);
  fe_subtract(&p->t, &zero, &p->t);
}

/* The scalar times the base point, encoded. 256 doublings and additions, of which the mask takes or leaves each sum. */
static void base_times(uint8_t out[32], const scalar_t *scalar) {
  struct {
    point_t base, sum, next;
    fe_t twice_d;
    work_t w;
  } s;
  uint8_t x[32];
  point_base(&s.base);
  point_identity(&s.sum);
  fe_load(&s.twice_d, D);
  fe_add(&s.twice_d, &s.twice_d, &s.twice_d);
  for (int bit = 255; bit >= 0; bit--) {
    point_double(&s.sum, &s.sum, &s.w);
    point_add(&s.next, &s.sum, &s.base, &s.twice_d, &s.w);
    uint32_t mask = mask_of(scalar->limb[bit / 16] >> (bit & 15) & 1);
    fe_choose(&s.sum.x, &s.next.x, mask);
    fe_choose(&s.sum.y, &s.next.y, mask);
    fe_choose(&s.sum.z, &s.next.z, mask);
    fe_choose(&s.sum.t, &s.next.t, mask);
  }
  fe_invert(&s.sum.z, &s.sum.z);
  fe_multiply(&s.sum.x, &s.sum.x, &s.sum.z);
  fe_multiply(&s.sum.y, &s.sum.y, &s.sum.z);
  fe_store(x, &s.sum.x);
  fe_store(out, &s.sum.y);
  out[31] |= (uint8_t)(x[0] << 7);
  wipe(&s, sizeof s);
  wipe(x, sizeof x);
}

/* ---- public: only verifying uses what follows ---- */

static int fe_equal(const fe_t *a, const fe_t *b) {
  uint8_t x[32], y[32];
  fe_store(x, a);
  fe_store(y, b);
  return same_bytes(x, y, 32);
}

/*
 * A point from its text (RFC 8032 §5.1.3), by ZIP 215's rules: y may be p or more, and x = 0 may have a sign. 0 where
 * no point has this y.
 */
static int point_load(point_t *p, const uint8_t bytes[32]) {
  fe_t u, v, t;
  uint8_t x[32];
  fe_load(&p->y, bytes);
  fe_set(&p->z, 1);
  fe_square(&u, &p->y);
  fe_load(&v, D);
  fe_multiply(&v, &v, &u);
  fe_add(&v, &v, &p->z);
  fe_subtract(&u, &u, &p->z);
  /* u v^3 (u v^7)^((p - 5) / 8) is a root of u / v, or of its negative. */
  fe_square(&t, &v);
  fe_multiply(&t, &t, &v);
  fe_multiply(&p->x, &t, &u);
  fe_square(&t, &t);
  fe_multiply(&t, &t, &v);
  fe_multiply(&t, &t, &u);
  fe_power_root(&t, &t);
  fe_multiply(&p->x, &p->x, &t);
  fe_square(&t, &p->x);
  fe_multiply(&t, &t, &v);
  if (!fe_equal(&t, &u)) {
    fe_set(&v, 0);
    fe_subtract(&u, &v, &u);
    if (!fe_equal(&t, &u)) return 0;
    fe_load(&t, ROOT);
    fe_multiply(&p->x, &p->x, &t);
  }
  fe_store(x, &p->x);
  if ((x[0] & 1) != bytes[31] >> 7) {
    fe_set(&t, 0);
    fe_subtract(&p->x, &t, &p->x);
  }
  fe_multiply(&p->t, &p->x, &p->y);
  return 1;
}

/* SHA-512 of two or three parts, modulo the order. */
static void hash_to_scalar(scalar_t *out, const uint8_t *a, const uint8_t *b, const uint8_t *message, size_t length) {
  mote_sha512_t hash;
  uint8_t digest[64];
  mote_sha512_init(&hash);
  mote_sha512_update(&hash, a, 32);
  if (b != NULL) mote_sha512_update(&hash, b, 32);
  mote_sha512_update(&hash, message, length);
  mote_sha512_final(&hash, digest);
  scalar_reduce(out, digest);
  wipe(digest, sizeof digest);
}

int mote_ed25519_verify(const uint8_t signature[64], const uint8_t public_key[32], const uint8_t *message,
                        size_t length) {
  point_t table[3], sum; /* -A, B and their sum: what a pair of bits adds */
  fe_t twice_d;
  work_t w;
  scalar_t s, k;
  if (!scalar_is_canonical(signature + 32)) return 0;
  if (!point_load(&table[0], public_key) || !point_load(&sum, signature)) return 0;
  hash_to_scalar(&k, signature, public_key, message, length);
  scalar_load(&s, signature + 32);
  fe_load(&twice_d, D);
  fe_add(&twice_d, &twice_d, &twice_d);
  point_negate(&table[0]);
  point_base(&table[1]);
  point_add(&table[2], &table[0], &table[1], &twice_d, &w);
  point_t r = sum;
  point_identity(&sum);
  for (int bit = 252; bit >= 0; bit--) {
    unsigned pair = (k.limb[bit / 16] >> (bit & 15) & 1) | (s.limb[bit / 16] >> (bit & 15) & 1) << 1;
    point_double(&sum, &sum, &w);
    if (pair != 0) point_add(&sum, &sum, &table[pair - 1], &twice_d, &w);
  }
  point_negate(&r);
  point_add(&sum, &sum, &r, &twice_d, &w);
  /* [8](S B - k A - R) is the identity: x = 0 and y = z. */
  for (int i = 0; i < 3; i++) point_double(&sum, &sum, &w);
  fe_set(&twice_d, 0);
  return fe_equal(&sum.x, &twice_d) && fe_equal(&sum.y, &sum.z);
}

/* ---- secret ---- */

/* The clamped scalar and the prefix of a seed (RFC 8032 §5.1.5). */
static void expand(scalar_t *scalar, uint8_t expanded[64], const uint8_t seed[32]) {
  mote_sha512_t hash;
  mote_sha512_init(&hash);
  mote_sha512_update(&hash, seed, 32);
  mote_sha512_final(&hash, expanded);
  expanded[0] &= 248;
  expanded[31] = (uint8_t)((expanded[31] & 127) | 64);
  scalar_load(scalar, expanded);
}

void mote_ed25519_public(uint8_t out[32], const uint8_t seed[32]) {
  scalar_t scalar;
  uint8_t expanded[64];
  expand(&scalar, expanded, seed);
  base_times(out, &scalar);
  wipe(&scalar, sizeof scalar);
  wipe(expanded, sizeof expanded);
}

void mote_ed25519_sign(uint8_t out[64], const uint8_t seed[32], const uint8_t *message, size_t length) {
  scalar_t scalar, nonce, k;
  uint8_t expanded[64], public_key[32], r[32];
  expand(&scalar, expanded, seed);
  base_times(public_key, &scalar);
  hash_to_scalar(&nonce, expanded + 32, NULL, message, length);
  base_times(r, &nonce);
  hash_to_scalar(&k, r, public_key, message, length);
  scalar_multiply_add(&k, &k, &scalar, &nonce);
  memcpy(out, r, 32); /* last, so that `out` may overlap the inputs */
  scalar_store(out + 32, &k);
  wipe(&scalar, sizeof scalar);
  wipe(&nonce, sizeof nonce);
  wipe(expanded, sizeof expanded);
}
