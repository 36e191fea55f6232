/*
 * The cryptography as functions for JavaScript on XS (Moddable SDK, "XS in C"); crypto.js declares them.
 *
 * Whatever JavaScript passes, nothing outside of the given buffers is read or written: every argument is checked here.
 * - The count of arguments first, since the slot of one that is missing is not ours to read.
 * - Numbers before buffers, and only such that are numbers already: nothing here calls back into JavaScript, which
 *   could detach or resize a buffer in between.
 * - Buffers last: the engine moves their memory when it collects garbage, and it may do so at any allocation. Between
 *   the first pointer and the last use of one there is none, except by throwing, which does not come back.
 * What is wrong is thrown before anything is written: TypeError for what is no buffer, RangeError for a wrong size, in
 * the words of lib/crypto/arguments.ts.
 * Buffers may overlap in any way: keys and nonces are copied, and outputs are written when inputs have been read.
 */
#include "xsmc.h"

#include "common.h"
#include "crypto-xs.h"
#include "mote-crypto.h"

typedef struct {
  uint8_t *at;
  size_t length;
} view_t;

static void expect_arguments(xsMachine *the, int count) {
  if (xsmcArgc < count) xsTypeError("expected %d arguments, got %d", count, (int)xsmcArgc);
}

static void expect_size(xsMachine *the, const char *name, size_t length, size_t size) {
  if (length != size) xsRangeError("\"%s\" expected %d bytes, got %d", name, (int)size, (int)length);
}

static void expect_size_between(xsMachine *the, const char *name, size_t length, size_t least, size_t most) {
  if (length < least || length > most)
    xsRangeError("\"%s\" expected %d to %d bytes, got %d", name, (int)least, (int)most, (int)length);
}

static view_t readable(xsMachine *the, int index) {
  void *at = NULL;
  xsUnsignedValue length = 0;
  xsmcGetBufferReadable(xsArg(index), &at, &length);
  view_t view = {at, length};
  return view;
}

/* What is empty is not written to: it may lie in flash, whose buffers are read-only. */
static view_t writable(xsMachine *the, int index) {
  view_t view = readable(the, index);
  void *at = NULL;
  xsUnsignedValue length = 0;
  if (view.length == 0) return view;
  xsmcGetBufferWritable(xsArg(index), &at, &length);
  view.at = at;
  view.length = length;
  return view;
}

/* An argument that may be left out or undefined: then nothing. */
static view_t optional(xsMachine *the, int index) {
  view_t none = {NULL, 0};
  if (xsmcArgc <= index || xsmcTypeOf(xsArg(index)) == xsUndefinedType) return none;
  return readable(the, index);
}

static const uint8_t *readable_of(xsMachine *the, int index, const char *name, size_t size) {
  view_t view = readable(the, index);
  expect_size(the, name, view.length, size);
  return view.at;
}

static uint8_t *writable_of(xsMachine *the, int index, const char *name, size_t size) {
  view_t view = writable(the, index);
  expect_size(the, name, view.length, size);
  return view.at;
}

/* A number that is an integer of 0 to 2^53 - 1; -1 for anything else. Converts nothing, so that no JavaScript runs. */
static int64_t integer(xsMachine *the, int index) {
  xsType type = xsmcTypeOf(xsArg(index));
  if (type == xsIntegerType) {
    int32_t value = xsmcToInteger(xsArg(index));
    return value < 0 ? -1 : value;
  }
  if (type != xsNumberType) return -1;
  double number = xsmcToNumber(xsArg(index));
  if (!(number >= 0 && number <= 9007199254740991.0)) return -1;
  int64_t value = (int64_t)number;
  return (double)value == number ? value : -1;
}

/* The part of a buffer from the number at `index` to the one behind it, with `spare` bytes behind the part. */
typedef struct {
  int64_t start, end;
} range_t;

static range_t range(xsMachine *the, int index) {
  range_t r = {integer(the, index), integer(the, index + 1)};
  return r;
}

static view_t part(xsMachine *the, view_t buf, range_t r, unsigned spare) {
  if (r.start < 0 || r.end < r.start || r.end + spare > (int64_t)buf.length)
    xsRangeError("\"start\", \"end\" expected a range with %d bytes behind it in %d bytes", (int)spare,
                 (int)buf.length);
  view_t view = {buf.at + r.start, (size_t)(r.end - r.start)};
  return view;
}

static void move_bytes(uint8_t *to, const uint8_t *from, size_t length) {
  if (length > 0) memmove(to, from, length);
}

static void zero_bytes(uint8_t *at, size_t length) {
  if (length > 0) memset(at, 0, length);
}

/* hash(out, a, b?) */
void xs_mote_hash(xsMachine *the) {
  mote_blake2s_t state;
  expect_arguments(the, 2);
  uint8_t *out = writable_of(the, 0, "out", 32);
  view_t a = readable(the, 1), b = optional(the, 2);
  mote_blake2s_init(&state, 32, NULL, 0);
  mote_blake2s_update(&state, a.at, a.length);
  mote_blake2s_update(&state, b.at, b.length);
  mote_blake2s_final(&state, out);
}

/* hmac(out, key, a, b?) */
void xs_mote_hmac(xsMachine *the) {
  expect_arguments(the, 3);
  uint8_t *out = writable_of(the, 0, "out", 32);
  view_t key = readable(the, 1), a = readable(the, 2), b = optional(the, 3);
  expect_size_between(the, "key", key.length, 0, 64);
  mote_hmac(out, key.at, (unsigned)key.length, a.at, a.length, b.at, b.length);
}

/* mac(out, key, buf, start, end) */
void xs_mote_mac(xsMachine *the) {
  mote_blake2s_t state;
  expect_arguments(the, 5);
  range_t r = range(the, 3);
  view_t out = writable(the, 0), key = readable(the, 1), buf = readable(the, 2);
  if (out.length != 16) expect_size(the, "out", out.length, 32);
  expect_size_between(the, "key", key.length, 1, 32);
  buf = part(the, buf, r, 0);
  mote_blake2s_init(&state, (unsigned)out.length, key.at, (unsigned)key.length);
  mote_blake2s_update(&state, buf.at, buf.length);
  mote_blake2s_final(&state, out.at);
}

static int agree(xsMachine *the) {
  static const uint8_t zeros[32];
  expect_arguments(the, 3);
  uint8_t *out = writable_of(the, 0, "out", 32);
  const uint8_t *secret = readable_of(the, 1, "secret", 32), *point = readable_of(the, 2, "publicKey", 32);
  mote_x25519(out, secret, point);
  return !same_bytes(out, zeros, 32);
}

/* dh(out, secret, publicKey): false where the result is all zero. */
void xs_mote_dh(xsMachine *the) {
  xsmcSetBoolean(xsResult, agree(the));
}

/* boxKey(out, secret, publicKey) */
void xs_mote_box_key(xsMachine *the) {
  static const uint8_t zeros[16];
  int is_fit = agree(the);
  if (is_fit) {
    uint8_t *out = writable_of(the, 0, "out", 32);
    mote_hsalsa20(out, out, zeros);
  }
  xsmcSetBoolean(xsResult, is_fit);
}

/* publicKey(out, secret) */
void xs_mote_public_key(xsMachine *the) {
  static const uint8_t base[32] = {9};
  expect_arguments(the, 2);
  uint8_t *out = writable_of(the, 0, "out", 32);
  mote_x25519(out, readable_of(the, 1, "secret", 32), base);
}

/* The arguments of an AEAD, with a key and a nonce of 12 bytes of their own. */
typedef struct {
  view_t out, aad, text;
  uint8_t key[32], nonce[12];
} aead_t;

static void prepare_aead(xsMachine *the, aead_t *call, unsigned nonce_length, int is_seal) {
  expect_arguments(the, 5);
  call->out = writable(the, 0);
  const uint8_t *key = readable_of(the, 1, "key", 32), *nonce = readable_of(the, 2, "nonce", nonce_length);
  call->aad = readable(the, 3);
  call->text = readable(the, 4);
  if (is_seal)
    expect_size(the, "out", call->out.length, call->text.length + MOTE_TAG);
  else if (call->text.length < MOTE_TAG || call->out.length != call->text.length - MOTE_TAG)
    xsRangeError("\"out\" expected %d bytes, got %d", (int)call->text.length - MOTE_TAG, (int)call->out.length);
  if (nonce_length == MOTE_XNONCE) {
    mote_xchacha_key(call->key, call->nonce, key, nonce);
  } else {
    memcpy(call->key, key, 32);
    memcpy(call->nonce, nonce, 12);
  }
}

static void aead_seal(xsMachine *the, unsigned nonce_length) {
  aead_t call;
  prepare_aead(the, &call, nonce_length, 1);
  size_t length = call.text.length;
  move_bytes(call.out.at, call.text.at, length);
  mote_seal(call.out.at, length, call.out.at + length, call.aad.at, call.aad.length, call.key, call.nonce);
  wipe(&call, sizeof call);
}

static void aead_open(xsMachine *the, unsigned nonce_length) {
  aead_t call;
  uint8_t tag[MOTE_TAG];
  prepare_aead(the, &call, nonce_length, 0);
  size_t length = call.out.length;
  memcpy(tag, call.text.at + length, MOTE_TAG);
  move_bytes(call.out.at, call.text.at, length);
  int fits = mote_open(call.out.at, length, tag, call.aad.at, call.aad.length, call.key, call.nonce);
  if (!fits) zero_bytes(call.out.at, length);
  wipe(&call, sizeof call);
  xsmcSetBoolean(xsResult, fits);
}

/* aeadSeal(out, key, nonce, aad, plaintext), and so on. */
void xs_mote_aead_seal(xsMachine *the) {
  aead_seal(the, MOTE_NONCE);
}

void xs_mote_aead_open(xsMachine *the) {
  aead_open(the, MOTE_NONCE);
}

void xs_mote_xaead_seal(xsMachine *the) {
  aead_seal(the, MOTE_XNONCE);
}

void xs_mote_xaead_open(xsMachine *the) {
  aead_open(the, MOTE_XNONCE);
}

/* boxSeal(out, key, nonce, plaintext) */
void xs_mote_box_seal(xsMachine *the) {
  uint8_t key[32], nonce[24];
  expect_arguments(the, 4);
  view_t out = writable(the, 0), text = readable(the, 3);
  const uint8_t *key_at = readable_of(the, 1, "key", 32), *nonce_at = readable_of(the, 2, "nonce", 24);
  expect_size(the, "out", out.length, text.length + MOTE_TAG);
  memcpy(key, key_at, 32);
  memcpy(nonce, nonce_at, 24);
  move_bytes(out.at + MOTE_TAG, text.at, text.length);
  mote_box_seal(out.at + MOTE_TAG, text.length, out.at, key, nonce);
  wipe(key, sizeof key);
}

/* boxOpen(out, key, nonce, ciphertext) */
void xs_mote_box_open(xsMachine *the) {
  uint8_t key[32], nonce[24], tag[MOTE_TAG];
  expect_arguments(the, 4);
  view_t out = writable(the, 0), text = readable(the, 3);
  const uint8_t *key_at = readable_of(the, 1, "key", 32), *nonce_at = readable_of(the, 2, "nonce", 24);
  if (text.length < MOTE_TAG || out.length != text.length - MOTE_TAG)
    xsRangeError("\"out\" expected %d bytes, got %d", (int)text.length - MOTE_TAG, (int)out.length);
  memcpy(key, key_at, 32);
  memcpy(nonce, nonce_at, 24);
  memcpy(tag, text.at, MOTE_TAG);
  move_bytes(out.at, text.at + MOTE_TAG, out.length);
  int fits = mote_box_open(out.at, out.length, tag, key, nonce);
  if (!fits) zero_bytes(out.at, out.length);
  wipe(key, sizeof key);
  xsmcSetBoolean(xsResult, fits);
}

/* The arguments of a packet's cipher: keys, counter, buf, start, end. The keys are 64 bytes: to seal, to open. */
typedef struct {
  view_t text;
  uint8_t key[32], nonce[12];
} packet_t;

static void prepare_packet(xsMachine *the, packet_t *call, size_t key_at, unsigned spare) {
  expect_arguments(the, 5);
  int64_t counter = integer(the, 1);
  range_t r = range(the, 3);
  view_t keys = readable(the, 0), buf = writable(the, 2);
  call->text = part(the, buf, r, spare);
  if (counter < 0) xsRangeError("\"counter\" expected 0 to 2^53-1");
  expect_size(the, "keys", keys.length, 64);
  memcpy(call->key, keys.at + key_at, 32);
  memset(call->nonce, 0, 4);
  store32(call->nonce + 4, (uint32_t)counter);
  store32(call->nonce + 8, (uint32_t)(counter >> 32));
}

/* packetSeal(keys, counter, buf, start, end): in place, the tag behind. */
void xs_mote_packet_seal(xsMachine *the) {
  packet_t call;
  prepare_packet(the, &call, 0, MOTE_TAG);
  mote_seal(call.text.at, call.text.length, call.text.at + call.text.length, NULL, 0, call.key, call.nonce);
  wipe(&call, sizeof call);
}

/* packetOpen(keys, counter, buf, start, end): in place; false leaves the ciphertext. */
void xs_mote_packet_open(xsMachine *the) {
  packet_t call;
  prepare_packet(the, &call, 32, 0);
  int fits = 0;
  if (call.text.length >= MOTE_TAG) {
    size_t length = call.text.length - MOTE_TAG;
    fits = mote_open(call.text.at, length, call.text.at + length, NULL, 0, call.key, call.nonce);
  }
  wipe(&call, sizeof call);
  xsmcSetBoolean(xsResult, fits);
}

/* ed25519PublicKey(out, seed) */
void xs_mote_ed25519_public(xsMachine *the) {
  expect_arguments(the, 2);
  uint8_t *out = writable_of(the, 0, "out", 32);
  mote_ed25519_public(out, readable_of(the, 1, "seed", 32));
}

/* ed25519Sign(out, seed, message) */
void xs_mote_ed25519_sign(xsMachine *the) {
  expect_arguments(the, 3);
  uint8_t *out = writable_of(the, 0, "out", 64);
  const uint8_t *seed = readable_of(the, 1, "seed", 32);
  view_t message = readable(the, 2);
  mote_ed25519_sign(out, seed, message.at, message.length);
}

/* ed25519Verify(publicKey, message, signature): false also for a key or a signature of a wrong size. */
void xs_mote_ed25519_verify(xsMachine *the) {
  expect_arguments(the, 3);
  view_t key = readable(the, 0), message = readable(the, 1), signature = readable(the, 2);
  int fits = key.length == 32 && signature.length == MOTE_SIGNATURE &&
             mote_ed25519_verify(signature.at, key.at, message.at, message.length);
  xsmcSetBoolean(xsResult, fits);
}
