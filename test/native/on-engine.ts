/** The contracts on the native functions of the engine that runs this: to be bundled as test/xs does, not for Node. */
import { createNativeEd25519, createNativeSuite } from '../../targets/moddable/native-suite.ts';
import * as native from '../../targets/moddable/native/crypto.js';
import { ed25519Contract } from '../crypto/contract-ed25519.ts';
import { suiteContract } from '../crypto/contract.ts';

suiteContract('native', () => createNativeSuite(native));
ed25519Contract('native', createNativeEd25519(native));
