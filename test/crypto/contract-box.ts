/** Contract of NaCl's box: the paper's example, a sealed disco ping, Go's results at block borders, and tampering. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isAllZero, toHex } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import vectors from '../vectors/nacl-box.json' with { type: 'json' };
import { hex, ramp, Seeded, thrownBy } from './support.ts';

function seal(crypto: CryptoSuite, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const out = new Uint8Array(plaintext.length + 16);
  crypto.boxSeal(out, key, nonce, plaintext);
  return out;
}

/** Registers and runs the tests of the box. */
export function boxContract(name: string, crypto: CryptoSuite): void {
  published(name, crypto);
  behaviour(name, crypto);
}

function published(name: string, crypto: CryptoSuite): void {
  const test = suite(`${name}: box vectors`);

  test('the paper’s example: key, ciphertext and the way back', () => {
    const { aliceSecret, bobPublic, key, nonce, plaintext, sealed } = vectors.paper;
    const out = new Uint8Array(32);
    assert.is(crypto.boxKey(out, hex(aliceSecret), hex(bobPublic)), true);
    assert.is(toHex(out), key);
    assert.is(toHex(seal(crypto, out, hex(nonce), hex(plaintext))), sealed);
    const opened = new Uint8Array(hex(plaintext).length);
    assert.is(crypto.boxOpen(opened, out, hex(nonce), hex(sealed)), true);
    assert.is(toHex(opened), plaintext);
  });

  test('a disco ping is sealed and opened as stock clients do, with the same key on both sides', () => {
    const { secret, public: own, peerSecret, peerPublic, key, nonce, plaintext, sealed } = vectors.disco;
    const [a, b] = [new Uint8Array(32), new Uint8Array(32)];
    assert.is(crypto.boxKey(a, hex(secret), hex(peerPublic)), true);
    assert.is(crypto.boxKey(b, hex(peerSecret), hex(own)), true);
    assert.equal([toHex(a), toHex(b)], [key, key]);
    assert.is(toHex(seal(crypto, a, hex(nonce), hex(plaintext))), sealed);
    const opened = new Uint8Array(46);
    assert.is(crypto.boxOpen(opened, b, hex(nonce), hex(sealed)), true);
    assert.is(toHex(opened), plaintext);
  });

  test('lengths around the block borders come out as Go’s', () => {
    assert.is(vectors.lengths.length, 15);
    const [key, nonce] = [hex(vectors.paper.key), ramp(24, 0x40)];
    for (const [length, sealed] of vectors.lengths as [number, string][]) {
      assert.is(toHex(seal(crypto, key, nonce, ramp(length))), sealed, `length ${length}`);
      const opened = new Uint8Array(length);
      assert.is(crypto.boxOpen(opened, key, nonce, hex(sealed)), true, `length ${length}`);
      assert.is(toHex(opened), toHex(ramp(length)), `length ${length}`);
    }
  });

  test.run();
}

function behaviour(name: string, crypto: CryptoSuite): void {
  const test = suite(`${name}: box`);

  test('keys agree with the portable suite', () => {
    const seeded = new Seeded(51);
    const portable = createNobleSuite();
    for (let i = 0; i < 5; i++) {
      const [secret, publicKey] = [seeded.bytes(32), seeded.bytes(32)];
      const [out, expected] = [new Uint8Array(32), new Uint8Array(32)];
      crypto.boxKey(out, secret, publicKey);
      portable.boxKey(expected, secret, publicKey);
      assert.is(toHex(out), toHex(expected));
    }
  });

  test('a low-order point gives no key, and zeros', () => {
    for (const point of [new Uint8Array(32), Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0))]) {
      const out = ramp(32);
      assert.is(crypto.boxKey(out, ramp(32, 1), point), false);
      assert.ok(isAllZero(out));
    }
  });

  test('any changed bit of key, nonce or ciphertext is refused and leaves zeros', () => {
    const [key, nonce] = [ramp(32), ramp(24)];
    const sealed = seal(crypto, key, nonce, ramp(20, 5));
    const opened = new Uint8Array(20);
    for (const part of [key, nonce, sealed]) {
      for (let bit = 0; bit < part.length * 8; bit++) {
        part[bit >> 3]! ^= 1 << (bit & 7);
        opened.fill(7);
        assert.is(crypto.boxOpen(opened, key, nonce, sealed), false, `bit ${bit} of ${part.length} bytes`);
        assert.ok(isAllZero(opened));
        part[bit >> 3]! ^= 1 << (bit & 7);
      }
    }
    assert.is(crypto.boxOpen(opened, key, nonce, sealed), true);
  });

  test('a ciphertext that is cut or grown is refused', () => {
    const sealed = seal(crypto, ramp(32), ramp(24), ramp(20));
    for (let length = 16; length < 36; length++) {
      const opened = new Uint8Array(length - 16);
      assert.is(crypto.boxOpen(opened, ramp(32), ramp(24), sealed.slice(0, length)), false, `${length}`);
    }
    const longer = new Uint8Array(37);
    longer.set(sealed);
    assert.is(crypto.boxOpen(new Uint8Array(21), ramp(32), ramp(24), longer), false);
  });

  test('the output may overlap the plaintext and the ciphertext, and inputs are left alone otherwise', () => {
    const [key, nonce, plaintext] = [ramp(32), ramp(24), ramp(100, 9)];
    const expected = toHex(seal(crypto, key, nonce, plaintext));
    assert.equal([toHex(key), toHex(nonce), toHex(plaintext)], [toHex(ramp(32)), toHex(ramp(24)), toHex(ramp(100, 9))]);
    const buf = new Uint8Array(116);
    buf.set(plaintext, 16);
    crypto.boxSeal(buf, key, nonce, buf.subarray(16));
    assert.is(toHex(buf), expected);
    assert.is(crypto.boxOpen(buf.subarray(16), key, nonce, buf), true);
    assert.is(toHex(buf.subarray(16)), toHex(plaintext));
  });

  test('wrong sizes throw a RangeError that names the argument', () => {
    const cases: [string, () => void][] = [
      ['out', () => crypto.boxKey(ramp(31), ramp(32), ramp(32))],
      ['secret', () => crypto.boxKey(ramp(32), ramp(33), ramp(32))],
      ['publicKey', () => crypto.boxKey(ramp(32), ramp(32), ramp(31))],
      ['key', () => crypto.boxSeal(ramp(36), ramp(31), ramp(24), ramp(20))],
      ['nonce', () => crypto.boxSeal(ramp(36), ramp(32), ramp(12), ramp(20))],
      ['out', () => crypto.boxSeal(ramp(35), ramp(32), ramp(24), ramp(20))],
      ['key', () => crypto.boxOpen(ramp(20), ramp(33), ramp(24), ramp(36))],
      ['nonce', () => crypto.boxOpen(ramp(20), ramp(32), ramp(25), ramp(36))],
      ['out', () => crypto.boxOpen(ramp(21), ramp(32), ramp(24), ramp(36))],
      ['out', () => crypto.boxOpen(ramp(0), ramp(32), ramp(24), ramp(15))],
    ];
    for (const [argument, action] of cases) {
      const error = thrownBy(action);
      assert.instance(error, RangeError);
      assert.ok((error as Error).message.includes(`"${argument}"`), (error as Error).message);
    }
  });

  test.run();
}
