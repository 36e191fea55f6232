/**
 * The portable crypto suite: audited JavaScript by Paul Miller, and the reference that every other suite is tested
 * against. BLAKE2s (RFC 7693), HMAC (RFC 2104), X25519 (RFC 7748), ChaCha20-Poly1305 (RFC 8439), XChaCha20-Poly1305,
 * and NaCl's box.
 *
 * X25519 is assembled here from the Montgomery ladder alone: the ready-made curve module drags in Ed25519, its tables
 * and several hash-to-curve suites, which no microcontroller can hold. Public keys therefore cost a whole ladder.
 *
 * The library throws where we return false; this file holds the only try/catch around it.
 */
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { montgomery } from '@noble/curves/abstract/montgomery.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import { isAllZero, writeU64LE } from '../base/bytes.ts';
import { expectCounter, expectRange, expectSize, expectSizeBetween, KEY_BYTES, TAG_BYTES } from './arguments.ts';
import { deriveBoxKey, openBox, sealBox } from './box.ts';
import type { Cipher, CryptoSuite } from './suite.ts';

/** Makes the portable suite; it works in every ES2022 runtime with BigInt. Its `publicKey` costs as much as a `dh`. */
export function createNobleSuite(): CryptoSuite {
  return new NobleSuite();
}

type Aead = typeof chacha20poly1305 | typeof xchacha20poly1305;
type Curve = ReturnType<typeof montgomery>;

class NobleSuite implements CryptoSuite {
  readonly name = 'noble';
  readonly #curve: Curve = createX25519();

  hash(out: Uint8Array, a: Uint8Array, b?: Uint8Array): void {
    expectSize('out', out, 32);
    const state = blake2s.create({ dkLen: 32 }).update(a);
    if (b !== undefined) state.update(b);
    moveInto(out, state.digest());
  }

  hmac(out: Uint8Array, key: Uint8Array, a: Uint8Array, b?: Uint8Array): void {
    expectSize('out', out, 32);
    expectSizeBetween('key', key, 0, 64);
    const state = hmac.create(blake2s, key).update(a);
    if (b !== undefined) state.update(b);
    moveInto(out, state.digest());
  }

  mac(out: Uint8Array, key: Uint8Array, buf: Uint8Array, start: number, end: number): void {
    if (out.length !== 16) expectSize('out', out, 32);
    expectSizeBetween('key', key, 1, 32);
    expectRange(buf, start, end);
    moveInto(out, blake2s.create({ dkLen: out.length, key }).update(buf.subarray(start, end)).digest());
  }

  dh(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean {
    expectSize('out', out, KEY_BYTES);
    expectSize('secret', secret, KEY_BYTES);
    expectSize('publicKey', publicKey, KEY_BYTES);
    try {
      moveInto(out, this.#curve.scalarMult(secret, publicKey));
    } catch {
      out.fill(0);
    }
    // Asked of the bytes, not of the library: its own zero check compares BigInts, which XS gets wrong in flash.
    if (isAllZero(out)) return false; // CHECK: noble-dh-all-zero
    return true;
  }

  publicKey(out: Uint8Array, secret: Uint8Array): void {
    expectSize('out', out, KEY_BYTES);
    expectSize('secret', secret, KEY_BYTES);
    out.set(this.#curve.scalarMult(secret, this.#curve.GuBytes));
  }

  aeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void {
    seal(chacha20poly1305, 12, out, key, nonce, aad, plaintext);
  }

  aeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean {
    return open(chacha20poly1305, 12, out, key, nonce, aad, ciphertext);
  }

  xaeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void {
    seal(xchacha20poly1305, 24, out, key, nonce, aad, plaintext);
  }

  xaeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean {
    return open(xchacha20poly1305, 24, out, key, nonce, aad, ciphertext);
  }

  boxKey(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean {
    if (!this.dh(out, secret, publicKey)) return false; // CHECK: noble-box-low-order
    deriveBoxKey(out);
    return true;
  }

  boxSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): void {
    sealBox(out, key, nonce, plaintext);
  }

  boxOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): boolean {
    return openBox(out, key, nonce, ciphertext);
  }

  createCipher(sealKey: Uint8Array, openKey = sealKey): Cipher {
    expectSize('key', sealKey, KEY_BYTES);
    expectSize('key', openKey, KEY_BYTES);
    return new NobleCipher(sealKey, openKey);
  }
}

class NobleCipher implements Cipher {
  readonly #sealKey: Uint8Array;
  readonly #openKey: Uint8Array;
  readonly #nonce = new Uint8Array(12);
  #isWiped = false;

  constructor(sealKey: Uint8Array, openKey: Uint8Array) {
    this.#sealKey = sealKey.slice();
    this.#openKey = openKey.slice();
  }

  seal(counter: number, buf: Uint8Array, start: number, end: number): void {
    expectRange(buf, start, end, TAG_BYTES);
    this.#prepare(counter);
    chacha20poly1305(this.#sealKey, this.#nonce).encrypt(
      buf.subarray(start, end),
      buf.subarray(start, end + TAG_BYTES),
    );
  }

  open(counter: number, buf: Uint8Array, start: number, end: number): boolean {
    expectRange(buf, start, end);
    this.#prepare(counter);
    if (end - start < TAG_BYTES) return false;
    try {
      chacha20poly1305(this.#openKey, this.#nonce).decrypt(
        buf.subarray(start, end),
        buf.subarray(start, end - TAG_BYTES),
      );
      return true;
    } catch {
      return false;
    }
  }

  wipe(): void {
    this.#sealKey.fill(0);
    this.#openKey.fill(0);
    this.#isWiped = true;
  }

  #prepare(counter: number): void {
    expectCounter(counter);
    if (this.#isWiped) throw new Error('the cipher is wiped'); // CHECK: noble-cipher-wiped
    writeU64LE(this.#nonce, 4, counter);
  }
}

function seal(
  aead: Aead,
  nonceBytes: number,
  out: Uint8Array,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): void {
  expectSize('key', key, KEY_BYTES);
  expectSize('nonce', nonce, nonceBytes);
  expectSize('out', out, plaintext.length + TAG_BYTES);
  aead(key, nonce, aad).encrypt(plaintext, out);
}

function open(
  aead: Aead,
  nonceBytes: number,
  out: Uint8Array,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): boolean {
  expectSize('key', key, KEY_BYTES);
  expectSize('nonce', nonce, nonceBytes);
  expectSize('out', out, ciphertext.length - TAG_BYTES);
  try {
    aead(key, nonce, aad).decrypt(ciphertext, out);
    return true;
  } catch {
    out.fill(0);
    return false;
  }
}

/** Moves a result that the library allocated to where the caller wants it, leaving no second copy. */
function moveInto(out: Uint8Array, result: Uint8Array): void {
  out.set(result);
  result.fill(0);
}

/** X25519 over the generic Montgomery ladder. BigInts are made here, never at module level (XS: frozen ones differ). */
function createX25519(): Curve {
  const P = 2n ** 255n - 19n;
  return montgomery({
    P,
    type: 'x25519',
    adjustScalarBytes: clamp,
    powPminus2: x => invert(x, P),
    randomBytes: refuseRandom,
  });
}

function clamp(scalar: Uint8Array): Uint8Array<ArrayBuffer> {
  scalar[0]! &= 248;
  scalar[31]! &= 127;
  scalar[31]! |= 64;
  return scalar as Uint8Array<ArrayBuffer>;
}

function refuseRandom(): never {
  throw new Error('bug: the suite takes no randomness of its own');
}

/** `x^(P-2)` for P = 2^255-19: 254 squarings, 11 multiplications, the same for every `x`. */
function invert(x: bigint, P: bigint): bigint {
  const square = (value: bigint, times: number): bigint => {
    let result = value;
    for (let i = 0; i < times; i++) result = (result * result) % P;
    return result;
  };
  const x2 = square(x, 1);
  const x9 = (square(x2, 2) * x) % P;
  const x11 = (x9 * x2) % P;
  const ones5 = (square(x11, 1) * x9) % P; // 2^5 - 1
  const ones10 = (square(ones5, 5) * ones5) % P;
  const ones20 = (square(ones10, 10) * ones10) % P;
  const ones40 = (square(ones20, 20) * ones20) % P;
  const ones50 = (square(ones40, 10) * ones10) % P;
  const ones100 = (square(ones50, 50) * ones50) % P;
  const ones200 = (square(ones100, 100) * ones100) % P;
  const ones250 = (square(ones200, 50) * ones50) % P;
  return (square(ones250, 5) * x11) % P; // 2^255 - 32 + 11 = P - 2
}
