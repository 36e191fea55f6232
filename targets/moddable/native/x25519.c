/*
 * X25519 (RFC 7748 §5): the Montgomery ladder.
 *
 * Constant time: 255 equal steps; the bit of the scalar chooses by a mask which point is which.
 */
#include "common.h"
#include "field.h"
#include "mote-crypto.h"

/* Everything a ladder needs, so that one call erases it. */
typedef struct {
  uint8_t scalar[32];
  fe_t x1, x2, z2, x3, z3;
  fe_t a, b, c, d, e;
} ladder_t;

/* One step (RFC 7748 §5): doubles (x2, z2) and adds both points into (x3, z3). */
static void step(ladder_t *l) {
  fe_add(&l->a, &l->x2, &l->z2);
  fe_subtract(&l->b, &l->x2, &l->z2);
  fe_add(&l->c, &l->x3, &l->z3);
  fe_subtract(&l->d, &l->x3, &l->z3);
  fe_multiply(&l->d, &l->d, &l->a);
  fe_multiply(&l->c, &l->c, &l->b);
  fe_square(&l->a, &l->a);
  fe_square(&l->b, &l->b);
  fe_subtract(&l->e, &l->a, &l->b);
  fe_add(&l->x3, &l->d, &l->c);
  fe_square(&l->x3, &l->x3);
  fe_subtract(&l->z3, &l->d, &l->c);
  fe_square(&l->z3, &l->z3);
  fe_multiply(&l->z3, &l->z3, &l->x1);
  fe_multiply(&l->x2, &l->a, &l->b);
  fe_scale(&l->z2, &l->e, 121665);
  fe_add(&l->z2, &l->z2, &l->a);
  fe_multiply(&l->z2, &l->z2, &l->e);
}

void mote_x25519(uint8_t out[32], const uint8_t secret[32], const uint8_t point[32]) {
  ladder_t l;
  memcpy(l.scalar, secret, 32);
  l.scalar[0] &= 248;
  l.scalar[31] = (uint8_t)((l.scalar[31] & 127) | 64);
  fe_load(&l.x1, point);
  fe_set(&l.x2, 1);
  fe_set(&l.z2, 0);
  l.x3 = l.x1;
  fe_set(&l.z3, 1);
  uint32_t swapped = 0;
  for (int i = 254; i >= 0; i--) {
    uint32_t bit = (uint32_t)(l.scalar[i / 8] >> (i & 7)) & 1;
    uint32_t mask = mask_of(swapped ^ bit);
    fe_swap(&l.x2, &l.x3, mask);
    fe_swap(&l.z2, &l.z3, mask);
    swapped = bit;
    step(&l);
  }
  /* The lowest bits of a clamped scalar are 0: nothing is left swapped. */
  fe_invert(&l.z2, &l.z2);
  fe_multiply(&l.x2, &l.x2, &l.z2);
  fe_store(out, &l.x2);
  wipe(&l, sizeof l);
}
