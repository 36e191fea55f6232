/**
 * The crypto suite of a board: what native/crypto.js declares, in the shape that motenet wants (lib/crypto/suite.ts).
 * Arguments are checked once, in C; a call costs no JavaScript but itself.
 */
import { expectSize, KEY_BYTES } from '../../lib/crypto/arguments.ts';
import type { Ed25519 } from '../../lib/crypto/ed25519.ts';
import type { Cipher, CryptoSuite } from '../../lib/crypto/suite.ts';

/** The functions of native/crypto.js: `import * as native from './native/crypto.js'`. */
export type NativeCrypto = typeof import('./native/crypto.js');

/** A suite over the native functions. Constant time as they are (native/README.md); it holds no state of its own. */
export function createNativeSuite(native: NativeCrypto): CryptoSuite {
  return Object.freeze({
    name: 'native',
    hash: native.hash,
    hmac: native.hmac,
    mac: native.mac,
    dh: native.dh,
    publicKey: native.publicKey,
    aeadSeal: native.aeadSeal,
    aeadOpen: native.aeadOpen,
    xaeadSeal: native.xaeadSeal,
    xaeadOpen: native.xaeadOpen,
    boxKey: native.boxKey,
    boxSeal: native.boxSeal,
    boxOpen: native.boxOpen,
    createCipher(sealKey: Uint8Array, openKey = sealKey): Cipher {
      expectSize('key', sealKey, KEY_BYTES);
      expectSize('key', openKey, KEY_BYTES);
      return new NativeCipher(native, sealKey, openKey);
    },
  });
}

/** Signatures over the native functions, constant time likewise (except for verifying, which has no secret). */
export function createNativeEd25519(native: NativeCrypto): Ed25519 {
  return Object.freeze({
    name: 'native',
    publicKey: native.ed25519PublicKey,
    sign: native.ed25519Sign,
    verify: native.ed25519Verify,
  });
}

class NativeCipher implements Cipher {
  readonly #native: NativeCrypto;
  /** Both keys behind each other, in a buffer without a view: 120 bytes on XS instead of 304. */
  #keys: ArrayBuffer | undefined;

  constructor(native: NativeCrypto, sealKey: Uint8Array, openKey: Uint8Array) {
    this.#native = native;
    this.#keys = new ArrayBuffer(2 * KEY_BYTES);
    const view = new Uint8Array(this.#keys);
    view.set(sealKey);
    view.set(openKey, KEY_BYTES);
  }

  seal(counter: number, buf: Uint8Array, start: number, end: number): void {
    const keys = this.#keys;
    if (keys === undefined) throw new Error('the cipher is wiped');
    this.#native.packetSeal(keys, counter, buf, start, end);
  }

  open(counter: number, buf: Uint8Array, start: number, end: number): boolean {
    const keys = this.#keys;
    if (keys === undefined) throw new Error('the cipher is wiped');
    return this.#native.packetOpen(keys, counter, buf, start, end);
  }

  wipe(): void {
    if (this.#keys !== undefined) new Uint8Array(this.#keys).fill(0);
    this.#keys = undefined;
  }
}
