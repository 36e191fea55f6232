/*
 * motenet's cryptography in C, for hosts whose JavaScript is too slow for it (an ESP32, foremost).
 *
 * Written for this project from the specifications named in each file. C99, no allocation, no global state, no
 * dependency but <stdint.h>, <stddef.h> and <string.h>; a call needs at most 2 KB of stack.
 *
 * Rules for all functions:
 * - Sizes are in bytes. Callers vouch for sizes and pointers; the binding for a JavaScript engine checks them.
 * - A pointer may be NULL where its length is 0.
 * - Constant time: no branch and no memory index depends on a secret. 32-bit operations do all work on secrets, since
 *   GCC for Xtensa makes a conditional jump of the carry of a 64-bit addition; the one 64-bit operation is the product
 *   of two 32-bit numbers, split at once into halves. Lengths are public, and so is whether a tag fits. Where that is
 *   not true of a function, its comment says so.
 * - Keys, scalars and states on the stack are erased before a function returns. Not erased are what the compiler spills
 *   and the columns of single multiplications in field.c, which the next call overwrites.
 */
#ifndef MOTE_CRYPTO_H
#define MOTE_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

enum {
  MOTE_KEY = 32, /* every key, and X25519 points */
  MOTE_TAG = 16,
  MOTE_NONCE = 12,
  MOTE_XNONCE = 24,
  MOTE_BLAKE2S_BLOCK = 64,
  MOTE_SHA512 = 64,
  MOTE_SIGNATURE = 64
};

/* X25519 (RFC 7748 §5): the result may be all zero, which callers refuse. `out` may be any input. */
void mote_x25519(uint8_t out[32], const uint8_t secret[32], const uint8_t point[32]);

/* XORs the ChaCha20 stream (RFC 8439 §2.4) from block `counter` on into `buf`. */
void mote_chacha20(uint8_t *buf, size_t length, const uint8_t key[32], const uint8_t nonce[12], uint32_t counter);
/* HChaCha20 (draft-irtf-cfrg-xchacha-03 §2.2). */
void mote_hchacha20(uint8_t out[32], const uint8_t key[32], const uint8_t nonce[16]);
/* XORs the Salsa20 stream from byte `offset` (0 to 63) of its first block on into `buf`. */
void mote_salsa20(uint8_t *buf, size_t length, const uint8_t key[32], const uint8_t nonce[8], unsigned offset);
/* HSalsa20 ("Cryptography in NaCl" §8). `out` may be `key`. */
void mote_hsalsa20(uint8_t out[32], const uint8_t key[32], const uint8_t nonce[16]);

/* Poly1305 (RFC 8439 §2.5) of a message in pieces. */
typedef struct {
  uint32_t r[9];
  uint32_t h[5];
  uint8_t pad[16];
  uint8_t block[16];
  unsigned used;
} mote_poly1305_t;
void mote_poly1305_init(mote_poly1305_t *state, const uint8_t key[32]);
void mote_poly1305_update(mote_poly1305_t *state, const uint8_t *data, size_t length);
/* Adds zeros up to a multiple of 16 (RFC 8439 §2.8.1). */
void mote_poly1305_align(mote_poly1305_t *state);
/* Writes the tag and erases the state. */
void mote_poly1305_final(mote_poly1305_t *state, uint8_t tag[16]);

/* ChaCha20-Poly1305 (RFC 8439 §2.8). Seals `buf` in place and writes the tag. */
void mote_seal(uint8_t *buf, size_t length, uint8_t tag[16], const uint8_t *aad, size_t aad_length,
               const uint8_t key[32], const uint8_t nonce[12]);
/* Opens `buf` in place: 1; or 0, with `buf` as it was, when the tag does not fit. */
int mote_open(uint8_t *buf, size_t length, const uint8_t tag[16], const uint8_t *aad, size_t aad_length,
              const uint8_t key[32], const uint8_t nonce[12]);
/* The key and nonce with which XChaCha20-Poly1305 is ChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 §2.3). */
void mote_xchacha_key(uint8_t out_key[32], uint8_t out_nonce[12], const uint8_t key[32], const uint8_t nonce[24]);
/* NaCl's secretbox, XSalsa20-Poly1305: as the two above, with the tag apart. */
void mote_box_seal(uint8_t *buf, size_t length, uint8_t tag[16], const uint8_t key[32], const uint8_t nonce[24]);
int mote_box_open(uint8_t *buf, size_t length, const uint8_t tag[16], const uint8_t key[32], const uint8_t nonce[24]);

/* BLAKE2s (RFC 7693) of a message in pieces. */
typedef struct {
  uint32_t h[8];
  uint32_t count[2];
  uint8_t block[64];
  unsigned used;
  unsigned out_length;
} mote_blake2s_t;
/* `out_length` 1 to 32, `key_length` 0 to 32. */
void mote_blake2s_init(mote_blake2s_t *state, unsigned out_length, const uint8_t *key, unsigned key_length);
void mote_blake2s_update(mote_blake2s_t *state, const uint8_t *data, size_t length);
/* Writes the digest and erases the state. */
void mote_blake2s_final(mote_blake2s_t *state, uint8_t *out);
/* HMAC (RFC 2104) with BLAKE2s-256 of `a || b`; `key_length` 0 to 64. `out` may be any input. */
void mote_hmac(uint8_t out[32], const uint8_t *key, unsigned key_length, const uint8_t *a, size_t a_length,
               const uint8_t *b, size_t b_length);

/* SHA-512 (FIPS 180-4) of a message in pieces. */
typedef struct {
  uint64_t h[8];
  uint64_t count;
  uint8_t block[128];
  unsigned used;
} mote_sha512_t;
void mote_sha512_init(mote_sha512_t *state);
void mote_sha512_update(mote_sha512_t *state, const uint8_t *data, size_t length);
/* Writes the digest and erases the state. */
void mote_sha512_final(mote_sha512_t *state, uint8_t out[64]);

/* Ed25519 (RFC 8032 §5.1). The public key of a seed. */
void mote_ed25519_public(uint8_t out[32], const uint8_t seed[32]);
/* Signs; the public key is computed, so that a wrong one cannot give the secret away. */
void mote_ed25519_sign(uint8_t out[64], const uint8_t seed[32], const uint8_t *message, size_t length);
/*
 * 1 when the signature is valid by the rules of ZIP 215: encodings need not be canonical, the scalar must be, and the
 * equation has the cofactor. Not constant time: all of its inputs are public.
 */
int mote_ed25519_verify(const uint8_t signature[64], const uint8_t public_key[32], const uint8_t *message,
                        size_t length);

#endif
