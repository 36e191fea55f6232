/** Contract of X25519: RFC 7748, Project Wycheproof, low-order points, agreement with the portable suite. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isAllZero, toHex } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import rfc7748 from '../vectors/rfc7748.json' with { type: 'json' };
import wycheproof from '../vectors/wycheproof-x25519.json' with { type: 'json' };
import { casesOf, hex, ramp, Seeded, thrownBy } from './support.ts';

/** All points of small order on the curve and its twist, canonical and not (RFC 7748 §6.1 lets them give zero). */
const LOW_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

/** Registers and runs the X25519 tests. */
export function x25519Contract(name: string, crypto: CryptoSuite): void {
  const test = suite(`${name}: X25519`);

  test('RFC 7748 §5.2: single multiplications', () => {
    assert.is(rfc7748.scalarMultiplications.length, 2);
    for (const { scalar, u, out } of rfc7748.scalarMultiplications) {
      const result = new Uint8Array(32);
      assert.is(crypto.dh(result, hex(scalar), hex(u)), true);
      assert.is(toHex(result), out);
    }
  });

  test('RFC 7748 §5.2: 1 and 1,000 iterations', () => {
    let k = hex(`09${'00'.repeat(31)}`);
    let u = k;
    for (let i = 1; i <= 1000; i++) {
      const result = new Uint8Array(32);
      crypto.dh(result, k, u);
      u = k;
      k = result;
      if (i === 1) assert.is(toHex(k), rfc7748.iterated['1']);
    }
    assert.is(toHex(k), rfc7748.iterated['1000']);
  });

  test('RFC 7748 §6.1: Alice and Bob agree', () => {
    const { aliceSecret, alicePublic, bobSecret, bobPublic, shared } = rfc7748.diffieHellman;
    const out = new Uint8Array(32);
    crypto.publicKey(out, hex(aliceSecret));
    assert.is(toHex(out), alicePublic);
    crypto.publicKey(out, hex(bobSecret));
    assert.is(toHex(out), bobPublic);
    assert.is(crypto.dh(out, hex(aliceSecret), hex(bobPublic)), true);
    assert.is(toHex(out), shared);
    assert.is(crypto.dh(out, hex(bobSecret), hex(alicePublic)), true);
    assert.is(toHex(out), shared);
  });

  test('Wycheproof: 518 multiplications, with twist, edge cases, and zero results refused', () => {
    let refused = 0;
    for (const { id, private: secret, public: point, shared } of casesOf(wycheproof, 518)) {
      const out = ramp(32, 1);
      const isAccepted = crypto.dh(out, hex(secret!), hex(point!));
      assert.is(toHex(out), shared, `test ${id}`);
      assert.is(isAccepted, !isAllZero(hex(shared!)), `test ${id}`);
      if (!isAccepted) refused++;
    }
    assert.is(refused, 31);
  });

  test('a point of small order is refused and leaves zeros, also with the ignored top bit set', () => {
    for (const point of LOW_ORDER) {
      for (const top of [0, 0x80]) {
        const publicKey = hex(point);
        publicKey[31]! |= top;
        const out = ramp(32, 1);
        assert.is(crypto.dh(out, new Seeded(7).bytes(32), publicKey), false, point);
        assert.ok(isAllZero(out));
      }
    }
  });

  test('the bits that clamping sets make no difference, and the secret is left as it was', () => {
    const secret = new Seeded(8).bytes(32);
    const point = hex(rfc7748.diffieHellman.bobPublic);
    const expected = new Uint8Array(32);
    crypto.dh(expected, secret, point);
    const other = secret.slice();
    other[0]! ^= 7;
    other[31]! ^= 0xc0;
    const before = toHex(other);
    const out = new Uint8Array(32);
    crypto.dh(out, other, point);
    assert.is(toHex(out), toHex(expected));
    crypto.publicKey(expected, secret);
    crypto.publicKey(out, other);
    assert.is(toHex(out), toHex(expected));
    assert.is(toHex(other), before);
  });

  test('random keys and points give what the portable suite gives', () => {
    const portable = createNobleSuite();
    const seeded = new Seeded(9);
    const [out, expected] = [new Uint8Array(32), new Uint8Array(32)];
    for (let i = 0; i < 60; i++) {
      const [secret, point] = [seeded.bytes(32), seeded.bytes(32)];
      if (i % 4 === 0) point.fill(0xff, 1 + seeded.below(30)); // near 2^255, where reductions differ
      if (i % 4 === 1) point.fill(0, 1 + seeded.below(30));
      assert.is(crypto.dh(out, secret, point), portable.dh(expected, secret, point));
      assert.is(toHex(out), toHex(expected));
      crypto.publicKey(out, secret);
      portable.publicKey(expected, secret);
      assert.is(toHex(out), toHex(expected));
    }
  });

  test('the output may be the secret or the public key', () => {
    const { aliceSecret, bobPublic, alicePublic, shared } = rfc7748.diffieHellman;
    const [secret, point, again] = [hex(aliceSecret), hex(bobPublic), hex(aliceSecret)];
    crypto.dh(secret, secret, point);
    assert.is(toHex(secret), shared);
    crypto.dh(point, again, point);
    assert.is(toHex(point), shared);
    crypto.publicKey(again, again);
    assert.is(toHex(again), alicePublic);
  });

  test('wrong sizes throw a RangeError that names the argument', () => {
    const [ok, short, long] = [ramp(32), ramp(31), ramp(33)];
    for (const wrong of [short, long]) {
      const cases: [string, () => void][] = [
        ['out', () => crypto.dh(wrong, ok, ok)],
        ['secret', () => crypto.dh(ok.slice(), wrong, ok)],
        ['publicKey', () => crypto.dh(ok.slice(), ok, wrong)],
        ['out', () => crypto.publicKey(wrong, ok)],
        ['secret', () => crypto.publicKey(ok.slice(), wrong)],
      ];
      for (const [argument, action] of cases) {
        const error = thrownBy(action);
        assert.instance(error, RangeError);
        assert.ok((error as Error).message.includes(`"${argument}" expected 32 bytes, got ${wrong.length}`));
      }
    }
  });

  test.run();
}
