/*
 * A program that computes what it is asked for: one case per line, `NAME HEX HEX …` (`-` for no bytes), one line of
 * hex back, or `no` where the function refuses. Every argument lies in memory of exactly its size, so that
 * AddressSanitizer sees a byte too many.
 *
 * With the argument `secrets` all arguments that are secret are marked as undefined for valgrind's memcheck, which then
 * reports every branch and every index that depends on them; what a function gives out is marked as defined again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mote-crypto.h"

#ifdef WITH_VALGRIND
#include <valgrind/memcheck.h>
#define HIDE(at, length) (void)VALGRIND_MAKE_MEM_UNDEFINED(at, length)
#define SHOW(at, length) (void)VALGRIND_MAKE_MEM_DEFINED(at, length)
#else
#define HIDE(at, length) (void)(at), (void)(length)
#define SHOW(at, length) (void)(at), (void)(length)
#endif

typedef struct {
  uint8_t *at;
  size_t length;
} bytes_t;

enum { MOST_ARGUMENTS = 6 };

static int hides_secrets = 0;
static bytes_t args[MOST_ARGUMENTS];

static void fail(const char *message) {
  fprintf(stderr, "%s\n", message);
  exit(2);
}

static bytes_t allocate(size_t length) {
  bytes_t bytes = {length == 0 ? NULL : malloc(length), length};
  if (length > 0 && bytes.at == NULL) fail("no memory");
  return bytes;
}

static int digit(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

static bytes_t parse(const char *hex) {
  if (strcmp(hex, "-") == 0) return allocate(0);
  bytes_t bytes = allocate(strlen(hex) / 2);
  for (size_t i = 0; i < bytes.length; i++) bytes.at[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  return bytes;
}

static void print(bytes_t bytes) {
  SHOW(bytes.at, bytes.length);
  if (bytes.length == 0) putchar('-');
  for (size_t i = 0; i < bytes.length; i++) printf("%02x", bytes.at[i]);
  putchar('\n');
  free(bytes.at);
}

static void secret(int index) {
  if (hides_secrets) HIDE(args[index].at, args[index].length);
}

static void x25519(void) {
  bytes_t out = allocate(32);
  secret(0);
  mote_x25519(out.at, args[0].at, args[1].at);
  print(out);
}

/* key, nonce (of 12 or 24 bytes), additional data, plaintext */
static void seal(void) {
  uint8_t key[32], nonce[12];
  bytes_t out = allocate(args[3].length + MOTE_TAG);
  secret(0);
  secret(3);
  if (args[3].length > 0) memcpy(out.at, args[3].at, args[3].length);
  if (args[1].length == MOTE_XNONCE) {
    mote_xchacha_key(key, nonce, args[0].at, args[1].at);
  } else {
    memcpy(key, args[0].at, 32);
    memcpy(nonce, args[1].at, 12);
  }
  mote_seal(out.at, args[3].length, out.at + args[3].length, args[2].at, args[2].length, key, nonce);
  print(out);
}

static void open_sealed(void) {
  uint8_t key[32], nonce[12], tag[MOTE_TAG];
  bytes_t out = allocate(args[3].length - MOTE_TAG);
  secret(0);
  if (out.length > 0) memcpy(out.at, args[3].at, out.length);
  memcpy(tag, args[3].at + out.length, MOTE_TAG);
  if (args[1].length == MOTE_XNONCE) {
    mote_xchacha_key(key, nonce, args[0].at, args[1].at);
  } else {
    memcpy(key, args[0].at, 32);
    memcpy(nonce, args[1].at, 12);
  }
  int fits = mote_open(out.at, out.length, tag, args[2].at, args[2].length, key, nonce);
  if (fits)
    print(out);
  else
    puts("no"), free(out.at);
}

/* key, nonce, plaintext */
static void box(void) {
  bytes_t out = allocate(args[2].length + MOTE_TAG);
  secret(0);
  secret(2);
  if (args[2].length > 0) memcpy(out.at + MOTE_TAG, args[2].at, args[2].length);
  mote_box_seal(out.at + MOTE_TAG, args[2].length, out.at, args[0].at, args[1].at);
  print(out);
}

static void unbox(void) {
  bytes_t out = allocate(args[2].length - MOTE_TAG);
  secret(0);
  if (out.length > 0) memcpy(out.at, args[2].at + MOTE_TAG, out.length);
  int fits = mote_box_open(out.at, out.length, args[2].at, args[0].at, args[1].at);
  if (fits)
    print(out);
  else
    puts("no"), free(out.at);
}

/* key, message, a byte for the size of the pieces */
static void poly1305(void) {
  mote_poly1305_t state;
  bytes_t out = allocate(MOTE_TAG);
  size_t piece = args[2].at[0];
  secret(0);
  secret(1);
  mote_poly1305_init(&state, args[0].at);
  for (size_t done = 0; done < args[1].length; done += piece) {
    size_t rest = args[1].length - done;
    mote_poly1305_update(&state, args[1].at + done, rest < piece ? rest : piece);
  }
  mote_poly1305_final(&state, out.at);
  print(out);
}

static void hsalsa20(void) {
  secret(0);
  mote_hsalsa20(args[0].at, args[0].at, args[1].at);
  print(args[0]);
  args[0].at = NULL;
}

/* key, message, a byte for the digest's length, a byte for the size of the pieces */
static void blake2s(void) {
  mote_blake2s_t state;
  bytes_t out = allocate(args[2].at[0]);
  size_t piece = args[3].at[0];
  secret(0);
  secret(1);
  mote_blake2s_init(&state, args[2].at[0], args[0].at, (unsigned)args[0].length);
  for (size_t done = 0; done < args[1].length; done += piece) {
    size_t rest = args[1].length - done;
    mote_blake2s_update(&state, args[1].at + done, rest < piece ? rest : piece);
  }
  mote_blake2s_final(&state, out.at);
  print(out);
}

static void hmac(void) {
  bytes_t out = allocate(32);
  secret(0);
  secret(1);
  mote_hmac(out.at, args[0].at, (unsigned)args[0].length, args[1].at, args[1].length, args[2].at, args[2].length);
  print(out);
}

/* message, a byte for the size of the pieces */
static void sha512(void) {
  mote_sha512_t state;
  bytes_t out = allocate(64);
  size_t piece = args[1].at[0];
  secret(0);
  mote_sha512_init(&state);
  for (size_t done = 0; done < args[0].length; done += piece) {
    size_t rest = args[0].length - done;
    mote_sha512_update(&state, args[0].at + done, rest < piece ? rest : piece);
  }
  mote_sha512_final(&state, out.at);
  print(out);
}

static void ed25519_public(void) {
  bytes_t out = allocate(32);
  secret(0);
  mote_ed25519_public(out.at, args[0].at);
  print(out);
}

static void ed25519_sign(void) {
  bytes_t out = allocate(64);
  secret(0);
  mote_ed25519_sign(out.at, args[0].at, args[1].at, args[1].length);
  print(out);
}

/* public key, message, signature */
static void ed25519_verify(void) {
  puts(mote_ed25519_verify(args[2].at, args[0].at, args[1].at, args[1].length) ? "01" : "no");
}

/* What the constant-time check has to find: a branch and an index that depend on a secret. */
static void leak_branch(void) {
  secret(0);
  volatile int sink = 0;
  if (args[0].at[0] & 1) sink = 1;
  (void)sink;
  puts("-");
}

static void leak_index(void) {
  static const uint8_t table[256] = {1, 2, 3};
  secret(0);
  volatile uint8_t sink = table[args[0].at[0]];
  (void)sink;
  puts("-");
}

static const struct {
  const char *name;
  int arguments;
  void (*run)(void);
} OPERATIONS[] = {{"x25519", 2, x25519},
                  {"seal", 4, seal},
                  {"open", 4, open_sealed},
                  {"box", 3, box},
                  {"unbox", 3, unbox},
                  {"poly1305", 3, poly1305},
                  {"hsalsa20", 2, hsalsa20},
                  {"blake2s", 4, blake2s},
                  {"hmac", 3, hmac},
                  {"sha512", 2, sha512},
                  {"ed25519-public", 1, ed25519_public},
                  {"ed25519-sign", 2, ed25519_sign},
                  {"ed25519-verify", 3, ed25519_verify},
                  {"leak-branch", 1, leak_branch},
                  {"leak-index", 1, leak_index}};

static void run(char *line) {
  const char *name = strtok(line, " ");
  if (name == NULL) fail("an empty line");
  for (size_t i = 0; i < sizeof OPERATIONS / sizeof OPERATIONS[0]; i++) {
    if (strcmp(OPERATIONS[i].name, name) != 0) continue;
    for (int n = 0; n < OPERATIONS[i].arguments; n++) {
      const char *hex = strtok(NULL, " ");
      if (hex == NULL) fail("too few arguments");
      args[n] = parse(hex);
    }
    OPERATIONS[i].run();
    for (int n = 0; n < OPERATIONS[i].arguments; n++) free(args[n].at);
    return;
  }
  fail("an unknown operation");
}

int main(int argc, char **argv) {
  static char line[400000];
  hides_secrets = argc > 1 && strcmp(argv[1], "secrets") == 0;
  while (fgets(line, sizeof line, stdin) != NULL) {
    size_t length = strlen(line);
    if (length == 0 || line[length - 1] != '\n') fail("a line that is too long");
    line[length - 1] = 0;
    run(line);
  }
  return 0;
}
