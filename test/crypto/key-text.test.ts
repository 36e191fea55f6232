import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatKey, parseKeyText } from '../../lib/crypto/key-text.ts';

const test = suite('key text');
const BYTES = Uint8Array.from({ length: 32 }, (_, i) => i * 8);
const HEX = '0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8';

test('a key is its prefix and lower-case hex, and comes back from it', () => {
  assert.is(formatKey('nodekey', BYTES), `nodekey:${HEX}`);
  assert.equal(parseKeyText('nodekey', `nodekey:${HEX}`), BYTES);
  assert.equal(parseKeyText('mkey', `mkey:${HEX.toUpperCase()}`), BYTES);
});

test('a key of another kind, length or alphabet is none', () => {
  for (const text of [
    '',
    HEX,
    `mkey:${HEX}`,
    `nodekey:${HEX}00`,
    `nodekey:${HEX.slice(2)}`,
    `nodekey:${HEX.slice(1)}g`,
  ])
    assert.is(parseKeyText('nodekey', text), undefined, text);
  assert.throws(() => formatKey('mkey', new Uint8Array(31)), /32 bytes/);
});

test.run();
