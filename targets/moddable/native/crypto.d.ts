/** Types of crypto.js: what each function does is said where a suite has it (lib/crypto/suite.ts, ed25519.ts). */
import type { CryptoSuite } from '../../../lib/crypto/suite.ts';

/** The methods of a suite, under their names there. */
export const hash: CryptoSuite['hash'];
export const hmac: CryptoSuite['hmac'];
export const mac: CryptoSuite['mac'];
export const dh: CryptoSuite['dh'];
export const publicKey: CryptoSuite['publicKey'];
export const aeadSeal: CryptoSuite['aeadSeal'];
export const aeadOpen: CryptoSuite['aeadOpen'];
export const xaeadSeal: CryptoSuite['xaeadSeal'];
export const xaeadOpen: CryptoSuite['xaeadOpen'];
export const boxKey: CryptoSuite['boxKey'];
export const boxSeal: CryptoSuite['boxSeal'];
export const boxOpen: CryptoSuite['boxOpen'];
/** `Cipher.seal`; `keys` is 64 bytes, the key to seal with and the key to open with. */
export function packetSeal(keys: ArrayBuffer, counter: number, buf: Uint8Array, start: number, end: number): void;
/** `Cipher.open`; false leaves the ciphertext as it was. */
export function packetOpen(keys: ArrayBuffer, counter: number, buf: Uint8Array, start: number, end: number): boolean;
/** The public key (32) of a seed (32). */
export function ed25519PublicKey(out: Uint8Array, seed: Uint8Array): void;
/** The signature (64) of a message under a seed (32). */
export function ed25519Sign(out: Uint8Array, seed: Uint8Array, message: Uint8Array): void;
/** Whether a signature is valid by the rules of ZIP 215. */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
