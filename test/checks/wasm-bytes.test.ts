/** The compiled crypto module in the tree is what its sources give. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, isUpToDate } from '../tools/build-wasm.ts';

const test = suite('compiled crypto module');

test('lib/crypto/wasm-bytes.ts is what lib/crypto/wasm-src gives, and another binary is noticed', async () => {
  const { binary, text } = await compile();
  assert.is(isUpToDate(binary), true, 'run `node --import tsx test/tools/build-wasm.ts`');
  binary[binary.length - 1]! ^= 1;
  assert.is(isUpToDate(binary), false);
  assert.not.match(text, '(import ');
});

test.run();
