/** Contract of the one-shot AEADs: RFC 8439, the XChaCha draft, Project Wycheproof, agreement with the portable suite. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { concatBytes, isAllZero, toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import rfc8439 from '../vectors/rfc8439.json' with { type: 'json' };
import chacha from '../vectors/wycheproof-chacha20-poly1305.json' with { type: 'json' };
import xchacha from '../vectors/wycheproof-xchacha20-poly1305.json' with { type: 'json' };
import draft from '../vectors/xchacha.json' with { type: 'json' };
import { casesOf, hex, ramp, Seeded, thrownBy, type Wycheproof } from './support.ts';

/** Both AEADs of a suite under one shape. */
interface Aead {
  readonly nonceBytes: number;
  seal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void;
  open(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean;
}

function aeadsOf(crypto: CryptoSuite): { readonly aead: Aead; readonly xaead: Aead } {
  return {
    aead: { nonceBytes: 12, seal: crypto.aeadSeal.bind(crypto), open: crypto.aeadOpen.bind(crypto) },
    xaead: { nonceBytes: 24, seal: crypto.xaeadSeal.bind(crypto), open: crypto.xaeadOpen.bind(crypto) },
  };
}

const NONE = Object.freeze([]);

/** Registers and runs the AEAD tests. */
export function aeadContract(name: string, crypto: CryptoSuite): void {
  publishedVectors(name, crypto);
  const { aead, xaead } = aeadsOf(crypto);
  const portable = aeadsOf(createNobleSuite());
  wycheproof(name, 'ChaCha20-Poly1305', aead, chacha, 325);
  wycheproof(name, 'XChaCha20-Poly1305', xaead, xchacha, 315);
  behaviour(name, 'ChaCha20-Poly1305', aead, portable.aead);
  behaviour(name, 'XChaCha20-Poly1305', xaead, portable.xaead);
}

function publishedVectors(name: string, crypto: CryptoSuite): void {
  const test = suite(`${name}: RFC 8439`);
  const none = new Uint8Array(NONE);
  const sealed = (key: string, nonce: string, plaintext: Uint8Array) => {
    const out = new Uint8Array(plaintext.length + 16);
    crypto.aeadSeal(out, hex(key), hex(nonce), none, plaintext);
    return out;
  };

  test('the keystream is that of §2.3.2 and appendix A.1', () => {
    assert.is(rfc8439.keystreams.length, 4);
    for (const { section, key, nonce, block, stream } of rfc8439.keystreams) {
      const zeros = new Uint8Array(64 * block);
      assert.is(toHex(sealed(key, nonce, zeros).slice(64 * (block - 1), 64 * block)), stream, section);
    }
  });

  test('the ciphertext is that of §2.4.2', () => {
    const { key, nonce, plaintext, ciphertext } = rfc8439.encryption;
    assert.is(toHex(sealed(key, nonce, utf8Encode(plaintext)).slice(0, plaintext.length)), ciphertext);
  });

  test('the tag uses the one-time keys of §2.6.2 and appendix A.4', () => {
    // First the reference below against §2.5.2, then the suite against the reference: the tag of nothing at all is
    // Poly1305 of the block of two zero lengths.
    const { key: polyKey, message, tag } = rfc8439.poly1305;
    assert.is(toHex(poly1305(hex(polyKey), utf8Encode(message))), tag);
    assert.is(rfc8439.oneTimeKeys.length, 4);
    for (const { section, key, nonce, oneTimeKey } of rfc8439.oneTimeKeys) {
      const expected = poly1305(hex(oneTimeKey), new Uint8Array(16));
      assert.is(toHex(sealed(key, nonce, none)), toHex(expected), section);
    }
  });

  test('§2.8.2 seals, appendix A.5 opens, and the draft’s XChaCha20-Poly1305 does both', () => {
    const { aead, xaead } = aeadsOf(crypto);
    const rows = [
      [aead, rfc8439.sealed],
      [aead, rfc8439.opened],
      [xaead, draft],
    ] as const;
    for (const [algorithm, { section, key, nonce, aad, plaintext, sealed: expected }] of rows) {
      const text = utf8Encode(plaintext);
      const out = new Uint8Array(text.length + 16);
      algorithm.seal(out, hex(key), hex(nonce), hex(aad), text);
      assert.is(toHex(out), expected, section);
      const opened = new Uint8Array(text.length);
      assert.is(algorithm.open(opened, hex(key), hex(nonce), hex(aad), hex(expected)), true, section);
      assert.is(toHex(opened), toHex(text), section);
    }
  });

  test.run();
}

function wycheproof(name: string, algorithm: string, aead: Aead, file: Wycheproof, count: number): void {
  const test = suite(`${name}: Wycheproof ${algorithm}`);

  test(`${count} cases come out as they should`, () => {
    const seen = { opened: 0, refused: 0, wrongNonceSize: 0 };
    for (const { id, result, key, iv, aad, msg, ct, tag } of casesOf(file, count)) {
      const sealed = hex(ct! + tag!);
      const opened = new Uint8Array(Math.max(0, sealed.length - 16));
      const open = () => aead.open(opened, hex(key!), hex(iv!), hex(aad!), sealed);
      if (hex(iv!).length !== aead.nonceBytes) {
        assert.instance(thrownBy(open), RangeError, `test ${id}`);
        seen.wrongNonceSize++;
      } else if (result === 'valid') {
        assert.is(open(), true, `test ${id}`);
        assert.is(toHex(opened), msg, `test ${id}`);
        const out = new Uint8Array(sealed.length);
        aead.seal(out, hex(key!), hex(iv!), hex(aad!), hex(msg!));
        assert.is(toHex(out), toHex(sealed), `test ${id}`);
        seen.opened++;
      } else {
        opened.fill(1);
        assert.is(open(), false, `test ${id}`);
        assert.ok(isAllZero(opened), `test ${id}`);
        seen.refused++;
      }
    }
    assert.is(seen.opened + seen.refused + seen.wrongNonceSize, count);
    assert.ok(seen.opened > 200 && seen.refused > 50 && seen.wrongNonceSize > 2, JSON.stringify(seen));
  });

  test.run();
}

function behaviour(name: string, algorithm: string, aead: Aead, portable: Aead): void {
  const test = suite(`${name}: ${algorithm}`);
  const { nonceBytes } = aead;

  test('every length agrees with the portable suite, in both directions', () => {
    const seeded = new Seeded(11);
    for (const length of [...ramp(201), 255, 256, 257, 447, 448, 449, 511, 512, 513, 1420, 65_535, 70_000]) {
      const key = seeded.bytes(32);
      const nonce = seeded.bytes(nonceBytes);
      const aad = seeded.bytes(seeded.below(50));
      const plaintext = seeded.bytes(Math.min(length, 2000));
      const text = length === plaintext.length ? plaintext : concatBytes(plaintext, new Uint8Array(length - 2000));
      const out = new Uint8Array(length + 16);
      const expected = new Uint8Array(length + 16);
      aead.seal(out, key, nonce, aad, text);
      portable.seal(expected, key, nonce, aad, text);
      assert.is(toHex(out), toHex(expected), `length ${length}`);
      const opened = new Uint8Array(length);
      assert.is(aead.open(opened, key, nonce, aad, expected), true, `length ${length}`);
      assert.is(toHex(opened), toHex(text), `length ${length}`);
      expected[seeded.below(length + 16)]! ^= 1 << seeded.below(8);
      assert.is(aead.open(opened, key, nonce, aad, expected), false, `length ${length}`);
      assert.ok(isAllZero(opened));
    }
  });

  test('it seals and opens in place, at any alignment, with key and nonce out of one array', () => {
    const seeded = new Seeded(13);
    const secrets = seeded.bytes(40 + nonceBytes);
    const [key, nonce] = [secrets.subarray(5, 37), secrets.subarray(37, 37 + nonceBytes)];
    const aad = new Uint8Array(NONE);
    for (const length of [0, 1, 15, 63, 64, 65, 1024, 4077]) {
      const text = seeded.bytes(length);
      const expected = new Uint8Array(length + 16);
      portable.seal(expected, key, nonce, aad, text);
      for (let offset = 0; offset < 5; offset++) {
        const buf = new Uint8Array(offset + length + 20);
        buf.set(text, offset);
        const [plain, sealed] = [buf.subarray(offset, offset + length), buf.subarray(offset, offset + length + 16)];
        aead.seal(sealed, key, nonce, aad, plain);
        assert.is(toHex(sealed), toHex(expected), `length ${length}, offset ${offset}`);
        assert.is(aead.open(plain, key, nonce, aad, sealed), true, `length ${length}, offset ${offset}`);
        assert.is(toHex(plain), toHex(text), `length ${length}, offset ${offset}`);
        buf.set(expected, offset);
        sealed[length]! ^= 1;
        assert.is(aead.open(plain, key, nonce, aad, sealed), false);
        assert.ok(isAllZero(plain));
      }
    }
  });

  test('any changed bit of key, nonce, additional data or ciphertext is refused', () => {
    const seeded = new Seeded(12);
    const parts = [seeded.bytes(32), seeded.bytes(nonceBytes), seeded.bytes(17)] as const;
    const sealed = new Uint8Array(20 + 16);
    aead.seal(sealed, ...parts, seeded.bytes(20));
    const opened = new Uint8Array(20);
    assert.is(aead.open(opened, ...parts, sealed), true);
    for (const part of [...parts, sealed]) {
      for (let bit = 0; bit < part.length * 8; bit++) {
        part[bit >> 3]! ^= 1 << (bit & 7);
        assert.is(aead.open(opened, ...parts, sealed), false, `bit ${bit} of ${part.length} bytes`);
        part[bit >> 3]! ^= 1 << (bit & 7);
      }
    }
    assert.is(aead.open(opened, ...parts, sealed), true);
  });

  test('the lengths of additional data and ciphertext are part of what the tag covers', () => {
    const [key, nonce] = [ramp(32), ramp(nonceBytes)];
    const sealed = new Uint8Array(16 + 16);
    aead.seal(sealed, key, nonce, new Uint8Array(16), new Uint8Array(16));
    const opened = new Uint8Array(16);
    assert.is(aead.open(opened, key, nonce, new Uint8Array(15), sealed), false);
    assert.is(aead.open(opened, key, nonce, new Uint8Array(0), sealed), false);
    assert.is(aead.open(opened, key, nonce, new Uint8Array(16), sealed), true);
  });

  test('the output may begin where the plaintext or the ciphertext begins', () => {
    const [key, nonce, aad] = [ramp(32), ramp(nonceBytes), ramp(5)];
    for (const length of [0, 1, 15, 16, 300]) {
      const plaintext = new Seeded(13).bytes(length);
      const expected = new Uint8Array(length + 16);
      aead.seal(expected, key, nonce, aad, plaintext);
      const buf = new Uint8Array(length + 16);
      buf.set(plaintext);
      aead.seal(buf, key, nonce, aad, buf.subarray(0, length));
      assert.is(toHex(buf), toHex(expected));
      assert.is(aead.open(buf.subarray(0, length), key, nonce, aad, buf), true);
      assert.is(toHex(buf.subarray(0, length)), toHex(plaintext));
    }
  });

  test('inputs are left as they were', () => {
    const inputs = [ramp(32), ramp(nonceBytes), ramp(7), ramp(100)] as const;
    const before = inputs.map(toHex);
    const sealed = new Uint8Array(116);
    aead.seal(sealed, ...inputs);
    const copy = toHex(sealed);
    aead.open(new Uint8Array(100), inputs[0], inputs[1], inputs[2], sealed);
    assert.equal(inputs.map(toHex), before);
    assert.is(toHex(sealed), copy);
  });

  test('wrong sizes throw a RangeError that names the argument', () => {
    const [key, nonce, text, sealed] = [ramp(32), ramp(nonceBytes), ramp(20), ramp(36)];
    const none = new Uint8Array(0);
    const cases: [string, () => void][] = [
      ['key', () => aead.seal(sealed, ramp(31), nonce, none, text)],
      ['key', () => aead.open(text, ramp(33), nonce, none, sealed)],
      ['nonce', () => aead.seal(sealed, key, ramp(nonceBytes - 1), none, text)],
      ['nonce', () => aead.open(text, key, ramp(36 - nonceBytes), none, sealed)],
      ['out', () => aead.seal(ramp(35), key, nonce, none, text)],
      ['out', () => aead.seal(ramp(37), key, nonce, none, text)],
      ['out', () => aead.open(ramp(21), key, nonce, none, sealed)],
      ['out', () => aead.open(none, key, nonce, none, ramp(15))],
    ];
    for (const [argument, action] of cases) {
      const error = thrownBy(action);
      assert.instance(error, RangeError);
      assert.ok((error as Error).message.includes(`"${argument}"`), (error as Error).message);
    }
  });

  test.run();
}

/** Poly1305 (RFC 8439 §2.5.1) in the most direct form: the twin that the one-time keys are tested with. */
function poly1305(key: Uint8Array, message: Uint8Array): Uint8Array {
  const number = (bytes: Uint8Array) => BigInt(`0x0${toHex(bytes.slice().reverse())}`);
  const p = 2n ** 130n - 5n;
  const r = number(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  let sum = 0n;
  for (let i = 0; i < message.length; i += 16) {
    const block = message.subarray(i, i + 16);
    sum = ((sum + number(block) + 2n ** BigInt(8 * block.length)) * r) % p;
  }
  const tag = (sum + number(key.subarray(16))) % 2n ** 128n;
  return hex(tag.toString(16).padStart(32, '0')).reverse();
}
