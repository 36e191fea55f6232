/** The native suite keeps the contracts of all suites: binding, crypto.js and native-suite.ts as a board has them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { provesItself } from '../../lib/crypto/proof.ts';
import { createNativeEd25519, createNativeSuite } from '../../targets/moddable/native-suite.ts';
import { ed25519Contract } from '../crypto/contract-ed25519.ts';
import { suiteContract } from '../crypto/contract.ts';
import { ramp } from '../crypto/support.ts';
import { loadNative } from './addon.ts';
import { buildAddon, whenBuilt } from './build.ts';

const test = suite('native: the suite');
const built = buildAddon(false);

if ('path' in built) {
  const native = await loadNative(built.path);
  suiteContract('native', () => createNativeSuite(native));
  ed25519Contract('native', createNativeEd25519(native));
  test('the suite proves itself', () => assert.is(provesItself(createNativeSuite(native)), true));
  test('a wiped cipher does not call the native code', () => {
    let calls = 0;
    const counting = { ...native, packetSeal: () => void calls++, packetOpen: () => ++calls > 0 };
    const cipher = createNativeSuite(counting).createCipher(ramp(32));
    cipher.seal(1, ramp(40), 0, 20);
    assert.is(calls, 1);
    cipher.wipe();
    assert.throws(() => cipher.seal(1, ramp(40), 0, 20), /wiped/);
    assert.throws(() => cipher.open(1, ramp(40), 0, 20), /wiped/);
    assert.is(calls, 1);
  });
} else {
  whenBuilt(test, built, () => {});
}

test.run();
