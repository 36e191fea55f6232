/**
 * The crypto suite for engines whose JavaScript is slow and which can carry no native code (a mod on XS): the same
 * primitives as the portable suite, written after what each operation costs there. A handshake and a full packet take
 * less than a third of the portable suite's instructions, and its modules a tenth of the memory.
 *
 * NOT CONSTANT TIME: BigInt arithmetic takes as long as its values are big, and a branch swaps the points of X25519.
 * Who can measure the time of handshakes closely may learn something of the static key. Where native code is possible
 * it is to be preferred; so is the portable suite where speed is no concern, though its X25519 uses BigInt too.
 *
 * Left out: machines that are not little-endian, which `provesItself` (proof.ts) finds out.
 */
import { isAllZero } from '../base/bytes.ts';
import { expectCounter, expectRange, expectSize, expectSizeBetween, KEY_BYTES, TAG_BYTES } from './arguments.ts';
import type { Cipher, CryptoSuite } from './suite.ts';
import { TunedAead } from './tuned-aead.ts';
import { TunedBlake2s } from './tuned-blake2s.ts';
import { tunedX25519 } from './tuned-x25519.ts';

/** What the suite's `warning` says. */
export const TUNED_WARNING =
  'the crypto suite "tuned" is not constant-time: who can time this device closely may learn about its private key; ' +
  'use the native module where the host can carry it';

/** Makes the tuned suite. It works in every ES2022 runtime with BigInt64 arrays on a little-endian machine. */
export function createTunedSuite(): CryptoSuite {
  return new TunedSuite();
}

class TunedSuite implements CryptoSuite {
  readonly name = 'tuned';
  readonly warning = TUNED_WARNING;
  readonly #aead = new TunedAead();
  readonly #blake2s = new TunedBlake2s();

  hash(out: Uint8Array, a: Uint8Array, b?: Uint8Array): void {
    expectSize('out', out, 32);
    const blake2s = this.#blake2s;
    blake2s.start(32);
    blake2s.update(a);
    if (b !== undefined) blake2s.update(b);
    out.set(blake2s.finish());
    blake2s.forget();
  }

  hmac(out: Uint8Array, key: Uint8Array, a: Uint8Array, b?: Uint8Array): void {
    expectSize('out', out, 32);
    expectSizeBetween('key', key, 0, 64);
    out.set(this.#blake2s.hmac(key, a, b));
    this.#blake2s.forget();
  }

  mac(out: Uint8Array, key: Uint8Array, buf: Uint8Array, start: number, end: number): void {
    if (out.length !== 16) expectSize('out', out, 32);
    expectSizeBetween('key', key, 1, 32);
    expectRange(buf, start, end);
    const blake2s = this.#blake2s;
    blake2s.start(out.length, key);
    blake2s.update(buf.subarray(start, end));
    out.set(blake2s.finish().subarray(0, out.length));
    blake2s.forget();
  }

  dh(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean {
    expectSize('out', out, KEY_BYTES);
    expectSize('secret', secret, KEY_BYTES);
    expectSize('publicKey', publicKey, KEY_BYTES);
    tunedX25519(out, secret, publicKey);
    if (isAllZero(out)) return false; // CHECK: tuned-dh-all-zero
    return true;
  }

  publicKey(out: Uint8Array, secret: Uint8Array): void {
    expectSize('out', out, KEY_BYTES);
    expectSize('secret', secret, KEY_BYTES);
    const base = new Uint8Array(KEY_BYTES);
    base[0] = 9;
    tunedX25519(out, secret, base);
  }

  aeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void {
    this.#seal(12, out, key, nonce, aad, plaintext);
  }

  aeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean {
    return this.#open(12, out, key, nonce, aad, ciphertext);
  }

  xaeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void {
    this.#seal(24, out, key, nonce, aad, plaintext);
  }

  xaeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean {
    return this.#open(24, out, key, nonce, aad, ciphertext);
  }

  boxKey(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean {
    if (!this.dh(out, secret, publicKey)) return false; // CHECK: tuned-box-low-order
    this.#aead.deriveBoxKey(out);
    return true;
  }

  boxSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): void {
    expectSize('key', key, KEY_BYTES);
    expectSize('nonce', nonce, 24);
    expectSize('out', out, plaintext.length + TAG_BYTES);
    this.#aead.useBox(key, nonce);
    out.set(plaintext, TAG_BYTES);
    this.#aead.sealBox(out);
  }

  boxOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): boolean {
    expectSize('key', key, KEY_BYTES);
    expectSize('nonce', nonce, 24);
    expectSize('out', out, ciphertext.length - TAG_BYTES);
    this.#aead.useBox(key, nonce);
    const tag = ciphertext.slice(0, TAG_BYTES);
    out.set(ciphertext.subarray(TAG_BYTES));
    const fits = this.#aead.openBox(out, tag);
    if (!fits) out.fill(0);
    return fits;
  }

  createCipher(sealKey: Uint8Array, openKey = sealKey): Cipher {
    expectSize('key', sealKey, KEY_BYTES);
    expectSize('key', openKey, KEY_BYTES);
    return new TunedCipher(this.#aead, sealKey, openKey);
  }

  #seal(
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
    this.#aead.useNonce(key, nonce);
    out.set(plaintext);
    this.#aead.seal(out, 0, plaintext.length, aad);
  }

  #open(
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
    this.#aead.useNonce(key, nonce);
    const copy = ciphertext.slice();
    const fits = this.#aead.open(copy, 0, out.length, aad);
    if (fits) out.set(copy.subarray(0, out.length));
    else out.fill(0);
    copy.fill(0);
    return fits;
  }
}

class TunedCipher implements Cipher {
  readonly #aead: TunedAead;
  readonly #sealKey: Uint8Array;
  readonly #openKey: Uint8Array;
  #isWiped = false;

  constructor(aead: TunedAead, sealKey: Uint8Array, openKey: Uint8Array) {
    this.#aead = aead;
    this.#sealKey = sealKey.slice();
    this.#openKey = openKey.slice();
  }

  seal(counter: number, buf: Uint8Array, start: number, end: number): void {
    expectRange(buf, start, end, TAG_BYTES);
    this.#prepare(this.#sealKey, counter);
    this.#aead.seal(buf, start, end);
  }

  open(counter: number, buf: Uint8Array, start: number, end: number): boolean {
    expectRange(buf, start, end);
    this.#prepare(this.#openKey, counter);
    if (end - start < TAG_BYTES) return false; // what lies in front is not to be read
    return this.#aead.open(buf, start, end - TAG_BYTES);
  }

  wipe(): void {
    this.#sealKey.fill(0);
    this.#openKey.fill(0);
    this.#isWiped = true;
  }

  /** The nonce of a packet: four zero bytes and the counter, little-endian. */
  #prepare(key: Uint8Array, counter: number): void {
    expectCounter(counter);
    if (this.#isWiped) throw new Error('the cipher is wiped'); // CHECK: tuned-cipher-wiped
    this.#aead.useChaCha(key, 0, counter | 0, Math.floor(counter / 0x1_0000_0000) | 0);
  }
}
