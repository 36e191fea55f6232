/** A suite proves itself before it is used, and one that does not is never chosen. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { provesItself } from '../../lib/crypto/proof.ts';
import { selectSuite } from '../../lib/crypto/select.ts';
import type { Cipher, CryptoSuite } from '../../lib/crypto/suite.ts';

const test = suite('choice of the crypto suite');
const noble = createNobleSuite();

/** The portable suite with some methods replaced. */
function altered(changes: Partial<CryptoSuite>): CryptoSuite {
  const bound: { [name: string]: unknown } = { name: 'altered' };
  const methods = ['hash', 'hmac', 'mac', 'dh', 'publicKey', 'aeadSeal', 'aeadOpen', 'xaeadSeal', 'xaeadOpen'] as const;
  const boxes = ['boxKey', 'boxSeal', 'boxOpen'] as const;
  for (const method of [...methods, ...boxes, 'createCipher'] as const) bound[method] = noble[method].bind(noble);
  return { ...bound, ...changes } as unknown as CryptoSuite;
}

/** The portable suite whose ciphers have some methods replaced. */
function withCipher(change: (cipher: Cipher) => Partial<Cipher>): CryptoSuite {
  return altered({
    createCipher(key) {
      const cipher = noble.createCipher(key);
      const whole: Cipher = {
        seal: cipher.seal.bind(cipher),
        open: cipher.open.bind(cipher),
        wipe: cipher.wipe.bind(cipher),
      };
      return { ...whole, ...change(cipher) };
    },
  });
}

/** Ways to be broken, one per proof and per way to fail open. */
const BROKEN: { readonly [what: string]: CryptoSuite } = {
  'hash that ignores its second part': altered({ hash: (out, a) => noble.hash(out, a) }),
  'hash that does nothing': altered({ hash: () => {} }),
  'HMAC that is a keyed hash': altered({ hmac: (out, key, a) => noble.mac(out, key, a, 0, a.length) }),
  'MAC that ignores its range': altered({ mac: (out, key, buf) => noble.mac(out, key, buf, 0, buf.length) }),
  'MAC that is cut off instead of shorter': altered({
    mac(out, key, buf, start, end) {
      const long = new Uint8Array(32);
      noble.mac(long, key, buf, start, end);
      out.set(long.subarray(0, out.length));
    },
  }),
  'public key that is the secret': altered({ publicKey: (out, secret) => out.set(secret) }),
  'DH that accepts a point of small order': altered({
    dh(out, secret, publicKey) {
      noble.dh(out, secret, publicKey);
      return true;
    },
  }),
  'DH that leaves bytes when it refuses': altered({
    dh(out, secret, publicKey) {
      const isGood = noble.dh(out, secret, publicKey);
      if (!isGood) out[0] = 1;
      return isGood;
    },
  }),
  'DH that refuses everything': altered({ dh: () => false }),
  'seal that flips a bit': altered({
    aeadSeal(out, ...rest) {
      noble.aeadSeal(out, ...rest);
      out[3]! ^= 1;
    },
  }),
  'open that believes everything': altered({
    aeadOpen(out, ...rest) {
      noble.aeadOpen(out, ...rest);
      return true;
    },
  }),
  'open that leaves bytes when it refuses': altered({
    aeadOpen(out, key, nonce, aad, ciphertext) {
      const isGood = noble.aeadOpen(out, key, nonce, aad, ciphertext);
      if (!isGood) out[0] = 1;
      return isGood;
    },
  }),
  'open that refuses everything': altered({ aeadOpen: () => false }),
  'extended seal with the short nonce': altered({
    xaeadSeal: (out, key, nonce, aad, plaintext) => noble.aeadSeal(out, key, nonce.subarray(0, 12), aad, plaintext),
  }),
  'extended open that believes everything': altered({
    xaeadOpen(out, ...rest) {
      noble.xaeadOpen(out, ...rest);
      return true;
    },
  }),
  'extended open that refuses everything': altered({ xaeadOpen: () => false }),
  'box key that is the bare DH': altered({ boxKey: (out, secret, publicKey) => noble.dh(out, secret, publicKey) }),
  'box key that accepts a point of small order': altered({
    boxKey(out, secret, publicKey) {
      noble.boxKey(out, secret, publicKey);
      return true;
    },
  }),
  'box with the tag behind': altered({
    boxSeal(out, ...rest) {
      noble.boxSeal(out, ...rest);
      const tag = out.slice(0, 16);
      out.copyWithin(0, 16);
      out.set(tag, out.length - 16);
    },
  }),
  'box that believes everything': altered({
    boxOpen(out, ...rest) {
      noble.boxOpen(out, ...rest);
      return true;
    },
  }),
  'box that refuses everything': altered({ boxOpen: () => false }),
  'box that leaves bytes when it refuses': altered({
    boxOpen(out, ...rest) {
      const isGood = noble.boxOpen(out, ...rest);
      if (!isGood) out[0] = 1;
      return isGood;
    },
  }),
  'cipher that drops the counter’s high half': withCipher(cipher => ({
    seal: (counter, buf, start, end) => cipher.seal(counter >>> 0, buf, start, end),
    open: (counter, buf, start, end) => cipher.open(counter >>> 0, buf, start, end),
  })),
  'cipher that believes everything': withCipher(cipher => ({
    open(counter, buf, start, end) {
      cipher.open(counter, buf, start, end);
      return true;
    },
  })),
  'cipher that does not decrypt': withCipher(() => ({ open: (_, buf) => buf[318] !== 0 })),
  'cipher that throws': withCipher(() => ({
    seal() {
      throw new Error('trap');
    },
  })),
};

test('the portable suite proves itself', () => assert.is(provesItself(noble), true));

test('an unbroken suite proves itself when its methods are only passed through', () => {
  assert.is(provesItself(altered({})), true);
  assert.is(provesItself(withCipher(() => ({}))), true);
});

for (const what in BROKEN) {
  test(`a ${what} does not pass`, () => assert.is(provesItself(BROKEN[what]!), false));
}

test('every kind of break above was tried', () => assert.is(Object.keys(BROKEN).length, 26));

test('the first candidate that proves itself is chosen', () => {
  const good = altered({});
  assert.is(selectSuite([() => undefined, () => good, () => noble]), good);
});

test('what is absent, throws or computes wrongly is passed over, and the portable suite is the last resort', () => {
  const failing = () => {
    throw new Error('not on this runtime');
  };
  assert.is(selectSuite([]).name, 'noble');
  assert.is(
    selectSuite([() => undefined, failing, ...Object.values(BROKEN).map(broken => () => broken)]).name,
    'noble',
  );
});

test.run();
