/*
 * ChaCha20-Poly1305 (RFC 8439 §2.8), XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) and XSalsa20-Poly1305
 * ("Cryptography in NaCl" §9), all in place.
 *
 * Constant time: as the two parts are; tags are compared without an early end, and nothing is decrypted before.
 */
#include "common.h"
#include "mote-crypto.h"

/* The tag of a ciphertext. */
static void authenticate(uint8_t tag[16], const uint8_t *buf, size_t length, const uint8_t *aad, size_t aad_length,
                         const uint8_t key[32], const uint8_t nonce[12]) {
  mote_poly1305_t poly;
  uint8_t block[32] = {0};
  mote_chacha20(block, 32, key, nonce, 0);
  mote_poly1305_init(&poly, block);
  mote_poly1305_update(&poly, aad, aad_length);
  mote_poly1305_align(&poly);
  mote_poly1305_update(&poly, buf, length);
  mote_poly1305_align(&poly);
  store32(block, (uint32_t)aad_length);
  store32(block + 4, (uint32_t)((uint64_t)aad_length >> 32));
  store32(block + 8, (uint32_t)length);
  store32(block + 12, (uint32_t)((uint64_t)length >> 32));
  mote_poly1305_update(&poly, block, 16);
  mote_poly1305_final(&poly, tag);
  wipe(block, sizeof block);
}

void mote_seal(uint8_t *buf, size_t length, uint8_t tag[16], const uint8_t *aad, size_t aad_length,
               const uint8_t key[32], const uint8_t nonce[12]) {
  mote_chacha20(buf, length, key, nonce, 1);
  authenticate(tag, buf, length, aad, aad_length, key, nonce);
}

int mote_open(uint8_t *buf, size_t length, const uint8_t tag[16], const uint8_t *aad, size_t aad_length,
              const uint8_t key[32], const uint8_t nonce[12]) {
  uint8_t expected[16];
  authenticate(expected, buf, length, aad, aad_length, key, nonce);
  int fits = same_bytes(expected, tag, 16);
  MOTE_PUBLIC(fits);
  wipe(expected, sizeof expected);
  if (!fits) return 0;
  mote_chacha20(buf, length, key, nonce, 1);
  return 1;
}

void mote_xchacha_key(uint8_t out_key[32], uint8_t out_nonce[12], const uint8_t key[32], const uint8_t nonce[24]) {
  mote_hchacha20(out_key, key, nonce);
  memset(out_nonce, 0, 4);
  memcpy(out_nonce + 4, nonce + 16, 8);
}

/* The first 32 bytes of the stream are Poly1305's key, so that the message starts in the middle of a block. */
static void box_tag(uint8_t tag[16], const uint8_t *buf, size_t length, const uint8_t subkey[32],
                    const uint8_t nonce[8]) {
  mote_poly1305_t poly;
  uint8_t key[32] = {0};
  mote_salsa20(key, 32, subkey, nonce, 0);
  mote_poly1305_init(&poly, key);
  mote_poly1305_update(&poly, buf, length);
  mote_poly1305_final(&poly, tag);
  wipe(key, sizeof key);
}

void mote_box_seal(uint8_t *buf, size_t length, uint8_t tag[16], const uint8_t key[32], const uint8_t nonce[24]) {
  uint8_t subkey[32];
  mote_hsalsa20(subkey, key, nonce);
  mote_salsa20(buf, length, subkey, nonce + 16, 32);
  box_tag(tag, buf, length, subkey, nonce + 16);
  wipe(subkey, sizeof subkey);
}

int mote_box_open(uint8_t *buf, size_t length, const uint8_t tag[16], const uint8_t key[32], const uint8_t nonce[24]) {
  uint8_t subkey[32], expected[16];
  mote_hsalsa20(subkey, key, nonce);
  box_tag(expected, buf, length, subkey, nonce + 16);
  int fits = same_bytes(expected, tag, 16);
  MOTE_PUBLIC(fits);
  if (fits) mote_salsa20(buf, length, subkey, nonce + 16, 32);
  wipe(subkey, sizeof subkey);
  wipe(expected, sizeof expected);
  return fits;
}
