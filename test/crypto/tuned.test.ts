/** The tuned suite keeps the contract of all suites, and says what it is not. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createTunedSuite } from '../../lib/crypto/tuned.ts';
import { suiteContract } from './contract.ts';

suiteContract('tuned', createTunedSuite);

const test = suite('tuned: the suite');

test('the suite warns in one line that it is not constant-time', () => {
  const { warning } = createTunedSuite();
  assert.match(warning!, 'not constant-time');
  assert.not.match(warning!, '\n');
});

test.run();
