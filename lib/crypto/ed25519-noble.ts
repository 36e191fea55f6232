/**
 * Ed25519 by the portable library, the reference for every other implementation. Its tables take several hundred KB of
 * memory and its module some 118 KB on XS: nothing that is meant for a board may import this file.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { expectSize } from './arguments.ts';
import type { Ed25519 } from './ed25519.ts';

/** Makes the portable implementation. */
export function createNobleEd25519(): Ed25519 {
  return Object.freeze({ name: 'noble', publicKey, sign, verify });
}

function publicKey(out: Uint8Array, seed: Uint8Array): void {
  expectSize('out', out, 32);
  expectSize('seed', seed, 32);
  out.set(ed25519.getPublicKey(seed));
}

function sign(out: Uint8Array, seed: Uint8Array, message: Uint8Array): void {
  expectSize('out', out, 64);
  expectSize('seed', seed, 32);
  out.set(ed25519.sign(message, seed));
}

function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: true });
  } catch {
    return false; // wrong sizes, and what is no point
  }
}
