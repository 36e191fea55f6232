/*
 * The functions that crypto-xs.c gives to JavaScript, by the names that crypto.js asks for. A Moddable build finds them
 * by itself; a shell that links them by hand makes its table of this list: F(function, number of arguments).
 */
#ifndef CRYPTO_XS_H
#define CRYPTO_XS_H

#define MOTE_XS_FUNCTIONS(F)    \
  F(xs_mote_hash, 3)            \
  F(xs_mote_hmac, 4)            \
  F(xs_mote_mac, 5)             \
  F(xs_mote_dh, 3)              \
  F(xs_mote_public_key, 2)      \
  F(xs_mote_aead_seal, 5)       \
  F(xs_mote_aead_open, 5)       \
  F(xs_mote_xaead_seal, 5)      \
  F(xs_mote_xaead_open, 5)      \
  F(xs_mote_box_key, 3)         \
  F(xs_mote_box_seal, 4)        \
  F(xs_mote_box_open, 4)        \
  F(xs_mote_packet_seal, 5)     \
  F(xs_mote_packet_open, 5)     \
  F(xs_mote_ed25519_public, 2)  \
  F(xs_mote_ed25519_sign, 3)    \
  F(xs_mote_ed25519_verify, 3)

#endif
