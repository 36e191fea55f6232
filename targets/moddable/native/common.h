/* What several primitives share: byte order, rotation, erasing, comparing, and hiding a value from the compiler. */
#ifndef MOTE_COMMON_H
#define MOTE_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t load32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void store32(uint8_t *p, uint32_t x) {
  p[0] = (uint8_t)x;
  p[1] = (uint8_t)(x >> 8);
  p[2] = (uint8_t)(x >> 16);
  p[3] = (uint8_t)(x >> 24);
}

static inline uint32_t rotl32(uint32_t x, int n) {
  return x << n | x >> (32 - n);
}

/* The same value, of which the compiler knows nothing: so it cannot turn a mask back into a branch. */
static inline uint32_t hide(uint32_t x) {
#if defined(__GNUC__)
  __asm__("" : "+r"(x));
  return x;
#else
  volatile uint32_t hidden = x;
  return hidden;
#endif
}

/* All ones for a bit of 1, zero for 0. */
static inline uint32_t mask_of(uint32_t bit) {
  return hide(0u - bit);
}

/* Erases memory in a way that compilers keep although nobody reads it again. */
static inline void wipe(void *memory, size_t length) {
  memset(memory, 0, length);
#if defined(__GNUC__)
  __asm__ __volatile__("" : : "r"(memory) : "memory");
#else
  volatile uint8_t *p = memory;
  while (length-- > 0) *p++ = 0;
#endif
}

/* Where something that came from secrets becomes public. It does nothing; the constant-time check defines it. */
#ifndef MOTE_PUBLIC
#define MOTE_PUBLIC(variable) ((void)(variable))
#endif

/* 1 when `length` bytes are the same, in a time that does not depend on where they differ. */
static inline int same_bytes(const uint8_t *a, const uint8_t *b, size_t length) {
  uint32_t difference = 0;
  for (size_t i = 0; i < length; i++) difference |= (uint32_t)(a[i] ^ b[i]);
  return (int)((hide(difference) - 1) >> 31);
}

/* memcpy and memmove want pointers even for nothing; callers may have none. */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, size_t length) {
  if (length > 0) memcpy(to, from, length);
}

#endif
