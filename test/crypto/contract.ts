/**
 * What every crypto suite must do: published vectors, agreement with the portable suite, and refusal of what is wrong.
 * One function, so that no suite can have easier tests than another.
 */
import { suite } from 'uvu';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { aeadContract } from './contract-aead.ts';
import { boxContract } from './contract-box.ts';
import { cipherContract } from './contract-cipher.ts';
import { hashContract } from './contract-hash.ts';
import { x25519Contract } from './contract-x25519.ts';

/**
 * Registers and runs the contract for the suite that `create` gives. Where it gives none (`undefined`: the runtime
 * lacks what the suite needs), one visibly skipped test takes its place.
 */
export function suiteContract(name: string, create: () => CryptoSuite | undefined): void {
  const crypto = create();
  if (crypto === undefined) {
    const test = suite(name);
    test.skip(`the ${name} suite cannot run here`);
    test.run();
    return;
  }
  hashContract(name, crypto);
  x25519Contract(name, crypto);
  aeadContract(name, crypto);
  boxContract(name, crypto);
  cipherContract(name, crypto);
}
