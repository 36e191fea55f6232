/** The Noise symmetric state. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { SymmetricState } from '../../lib/noise/symmetric.ts';

const test = suite('symmetric state');
const crypto = createNobleSuite();
const state = () => new SymmetricState(crypto, utf8Encode('Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s'));
const bytes = (value: number, length = 32) => new Uint8Array(length).fill(value);

test('the long protocol name is hashed, and the prologue of WireGuard gives its known hash', () => {
  const s = state();
  assert.is(toHex(s.chainingKey()), '60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36');
  s.mixHash(utf8Encode('WireGuard v1 zx2c4 Jason@zx2c4.com'));
  assert.is(toHex(s.handshakeHash()), '2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3');
});

test('a short protocol name is padded with zeros', () => {
  const s = new SymmetricState(crypto, utf8Encode('abc'));
  assert.equal(s.handshakeHash(), Uint8Array.from([97, 98, 99, ...new Array(29).fill(0)]));
  assert.equal(s.chainingKey(), s.handshakeHash());
});

test('without a key fields pass in the clear and are hashed', () => {
  const [a, b] = [state(), state()];
  const out = bytes(0, 5);
  a.encryptAndHash(out, bytes(9, 5));
  assert.equal(out, bytes(9, 5));
  b.mixHash(bytes(9, 5));
  assert.equal(a.handshakeHash(), b.handshakeHash());
  const back = bytes(0, 5);
  assert.ok(state().decryptAndHash(back, out));
  assert.equal(back, out);
});

test('two sides that mix the same inputs understand each other, field after field', () => {
  const [a, b] = [state(), state()];
  for (const s of [a, b]) {
    s.mixKey(bytes(1));
    s.mixPsk(bytes(2));
  }
  for (let i = 0; i < 3; i++) {
    const sealed = bytes(0, 10 + 16);
    const opened = bytes(0, 10);
    a.encryptAndHash(sealed, bytes(i, 10));
    assert.ok(b.decryptAndHash(opened, sealed));
    assert.equal(opened, bytes(i, 10));
  }
  assert.equal(a.handshakeHash(), b.handshakeHash());
});

test('the nonce goes up with each field, so equal fields differ on the wire', () => {
  const s = state();
  s.mixKey(bytes(1));
  const twin = state();
  twin.mixKey(bytes(1));
  const [first, second] = [bytes(0, 16), bytes(0, 16)];
  s.encryptAndHash(first, bytes(0, 0));
  twin.encryptAndHash(second, bytes(0, 0));
  assert.equal(first, second);
  s.encryptAndHash(second, bytes(0, 0));
  assert.not.equal(first, second);
});

test('a failed decryption leaves the state as it was, the nonce included', () => {
  const [a, b] = [state(), state()];
  for (const s of [a, b]) s.mixKey(bytes(1));
  const good = bytes(0, 20);
  a.encryptAndHash(good, bytes(3, 4));
  const before = [b.handshakeHash(), b.chainingKey()];
  for (let bit = 0; bit < good.length * 8; bit += 7) {
    const bad = good.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    assert.not(b.decryptAndHash(bytes(0, 4), bad));
  }
  assert.equal([b.handshakeHash(), b.chainingKey()], before);
  assert.ok(b.decryptAndHash(bytes(0, 4), good));
});

test('a psk of zeros is mixed like any other', () => {
  const [a, b] = [state(), state()];
  a.mixPsk(bytes(0));
  assert.not.equal(a.handshakeHash(), b.handshakeHash());
  assert.not.equal(a.chainingKey(), b.chainingKey());
});

test('wiping leaves nothing', () => {
  const s = state();
  s.mixKey(bytes(1));
  assert.not(s.isWiped);
  s.wipe();
  assert.ok(s.isWiped);
  assert.equal(s.handshakeHash(), bytes(0));
});

test.run();
