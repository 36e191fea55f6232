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
  const { packetSeal, packetOpen } = native;
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
    createCipher(key: Uint8Array): Cipher {
      expectSize('key', key, KEY_BYTES);
      return new NativeCipher(packetSeal, packetOpen, key);
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
  readonly #seal: NativeCrypto['packetSeal'];
  readonly #open: NativeCrypto['packetOpen'];
  #key: Uint8Array | undefined;

  constructor(seal: NativeCrypto['packetSeal'], open: NativeCrypto['packetOpen'], key: Uint8Array) {
    this.#seal = seal;
    this.#open = open;
    this.#key = key.slice();
  }

  seal(counter: number, buf: Uint8Array, start: number, end: number): void {
    const key = this.#key;
    if (key === undefined) throw new Error('the cipher is wiped');
    this.#seal(key, counter, buf, start, end);
  }

  open(counter: number, buf: Uint8Array, start: number, end: number): boolean {
    const key = this.#key;
    if (key === undefined) throw new Error('the cipher is wiped');
    return this.#open(key, counter, buf, start, end);
  }

  wipe(): void {
    this.#key?.fill(0);
    this.#key = undefined;
  }
}
