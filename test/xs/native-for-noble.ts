/** The native suite under the name of noble's, for tests that are not about a suite (bundles.ts puts it there). */
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import * as native from '../../targets/moddable/native/crypto.js';
import { createNativeSuite } from '../../targets/moddable/native-suite.ts';

/** As lib/crypto/noble.ts has it. */
export function createNobleSuite(): CryptoSuite {
  return { ...createNativeSuite(native), name: 'noble' };
}
