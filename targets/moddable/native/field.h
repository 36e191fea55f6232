/*
 * Numbers modulo p = 2^255 - 19, for X25519 and Ed25519.
 *
 * A number is ten limbs of 26 bits, 260 in all; several texts stand for one number. INVARIANT: between calls limb 0 is
 * less than 2^26 + 2^12 and the others are less than 2^26. Every function takes and leaves such limbs, and its result
 * may be any of its inputs. The bounds in field.c follow from that.
 *
 * Constant time: fixed loops over fixed indices, choices by masks.
 */
#ifndef MOTE_FIELD_H
#define MOTE_FIELD_H

#include <stdint.h>

typedef struct {
  uint32_t limb[10];
} fe_t;

/* A small number, less than 2^26. */
void fe_set(fe_t *out, uint32_t value);
/* 32 bytes, little-endian; the highest bit is ignored, and a number from p on is as good as any. */
void fe_load(fe_t *out, const uint8_t bytes[32]);
/* The one text from 0 to p - 1. */
void fe_store(uint8_t bytes[32], const fe_t *a);
void fe_add(fe_t *out, const fe_t *a, const fe_t *b);
void fe_subtract(fe_t *out, const fe_t *a, const fe_t *b);
void fe_multiply(fe_t *out, const fe_t *a, const fe_t *b);
void fe_square(fe_t *out, const fe_t *a);
/* Times a number less than 2^18. */
void fe_scale(fe_t *out, const fe_t *a, uint32_t factor);
/* a^(p - 2): the inverse, or 0 of 0. */
void fe_invert(fe_t *out, const fe_t *a);
/* a^((p - 5) / 8), of which square roots are made (RFC 8032 §5.1.3). */
void fe_power_root(fe_t *out, const fe_t *a);
/* Exchanges both where the mask is all ones, nothing where it is 0. */
void fe_swap(fe_t *a, fe_t *b, uint32_t mask);
/* `out` becomes `a` where the mask is all ones. */
void fe_choose(fe_t *out, const fe_t *a, uint32_t mask);

#endif
