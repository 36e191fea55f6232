/** The portable suite keeps the contract of all suites. */
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { suiteContract } from './contract.ts';

suiteContract('noble', createNobleSuite);
