/** Key derivation against the published vectors of WireGuard's KDF. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { kdf1, kdf2, kdf3 } from '../../lib/noise/kdf.ts';

const test = suite('kdf');
const crypto = createNobleSuite();

const VECTORS: readonly (readonly [key: string, input: string, t1: string, t2: string, t3: string])[] = [
  [
    'test-key',
    'test-input',
    '6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633',
    'df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a',
    'fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24',
  ],
  [
    'wireguard',
    'wireguard',
    '491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8',
    '1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f',
    '31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160',
  ],
  [
    '',
    '',
    '8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0',
    '58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e',
    '0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e',
  ],
];

for (const [keyText, inputText, t1, t2, t3] of VECTORS) {
  test(`one, two and three outputs of "${keyText}" and "${inputText}" are the published ones`, () => {
    const [key, input] = [utf8Encode(keyText), utf8Encode(inputText)];
    const [a, b, c] = [new Uint8Array(32), new Uint8Array(32), new Uint8Array(32)];
    kdf1(crypto, a, key, input);
    assert.is(toHex(a), t1);
    kdf2(crypto, a.fill(0), b, key, input);
    assert.equal([a, b].map(toHex), [t1, t2]);
    kdf3(crypto, a.fill(0), b.fill(0), c, key, input);
    assert.equal([a, b, c].map(toHex), [t1, t2, t3]);
  });
}

test('the first output may take the place of the key', () => {
  const key = new Uint8Array(32).fill(7);
  const apart = new Uint8Array(32);
  const second = new Uint8Array(32);
  kdf2(crypto, apart, new Uint8Array(32), key, key);
  kdf2(crypto, key, second, key, new Uint8Array(32).fill(7));
  assert.equal(key, apart);
});

test.run();
