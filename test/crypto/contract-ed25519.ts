/**
 * What every Ed25519 must do: RFC 8032, Project Wycheproof, the cases that ZIP 215 decides, agreement with the portable
 * implementation, and refusal of what is wrong.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { toHex } from '../../lib/base/bytes.ts';
import type { Ed25519 } from '../../lib/crypto/ed25519.ts';
import { createNobleEd25519 } from '../../lib/crypto/ed25519-noble.ts';
import rfc8032 from '../vectors/rfc8032.json' with { type: 'json' };
import wycheproof from '../vectors/wycheproof-ed25519.json' with { type: 'json' };
import { casesOf, hex, ramp, Seeded, thrownBy } from './support.ts';

/** The eight points of small order, and the six encodings of them that are not canonical. */
export const SMALL_ORDER = Object.freeze([
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '00'.repeat(32),
  `${'00'.repeat(31)}80`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  `01${'00'.repeat(30)}80`,
  `ec${'ff'.repeat(31)}`,
  `ee${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(31)}`,
  `ed${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(31)}`,
]);

/** The order of the base point, little-endian. */
const ORDER = 'edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010';

/** Registers and runs the contract. */
export function ed25519Contract(name: string, crypto: Ed25519): void {
  published(name, crypto);
  zip215(name, crypto);
  behaviour(name, crypto);
}

function sign(crypto: Ed25519, seed: Uint8Array, message: Uint8Array): Uint8Array {
  const out = new Uint8Array(64);
  crypto.sign(out, seed, message);
  return out;
}

function published(name: string, crypto: Ed25519): void {
  const test = suite(`${name}: Ed25519 vectors`);

  test('keys and signatures are those of RFC 8032 §7.1', () => {
    assert.is(rfc8032.length, 4);
    for (const { section, seed, publicKey, message, signature } of rfc8032) {
      const out = new Uint8Array(32);
      crypto.publicKey(out, hex(seed));
      assert.is(toHex(out), publicKey, section);
      assert.is(toHex(sign(crypto, hex(seed), hex(message))), signature, section);
      assert.is(crypto.verify(hex(publicKey), hex(message), hex(signature)), true, section);
    }
  });

  test('151 cases of Wycheproof come out as they should', () => {
    const seen = { valid: 0, invalid: 0 };
    for (const { id, result, pk, msg, sig } of casesOf(wycheproof, 151)) {
      // In 151 R is the identity with the sign of x set: not canonical, which ZIP 215 allows.
      const isValid = result === 'valid' || id === '151';
      assert.is(crypto.verify(hex(pk!), hex(msg!), hex(sig!)), isValid, `test ${id}`);
      seen[result as 'valid' | 'invalid']++;
    }
    assert.equal(seen, { valid: 88, invalid: 63 });
  });

  test.run();
}

function zip215(name: string, crypto: Ed25519): void {
  const test = suite(`${name}: Ed25519 by ZIP 215`);
  const message = ramp(20);

  test('every pair of small-order encodings is a signature of everything, with a scalar of 0', () => {
    let count = 0;
    for (const key of SMALL_ORDER) {
      for (const point of SMALL_ORDER) {
        const signature = hex(point + '00'.repeat(32));
        assert.is(crypto.verify(hex(key), message, signature), true, `${key} ${point}`);
        signature[32] = 1;
        assert.is(crypto.verify(hex(key), message, signature), false, `${key} ${point}`);
        count++;
      }
    }
    assert.is(count, 196);
  });

  test('the equation has the cofactor: what differs from it by a point of small order is valid', () => {
    const seeded = new Seeded(61);
    for (const torsion of SMALL_ORDER.slice(0, 8)) {
      // A key of small order: k A is of small order for any k, and R = r B, s = r leaves only that.
      const r = BigInt(`0x${toHex(seeded.bytes(31))}`);
      const R = ed25519.Point.BASE.multiply(r);
      const s = hex(r.toString(16).padStart(64, '0')).reverse();
      const signature = new Uint8Array([...R.toBytes(), ...s]);
      assert.is(crypto.verify(hex(torsion), message, signature), true, torsion);
      const mixed = new Uint8Array([...R.add(ed25519.Point.fromHex(torsion, true)).toBytes(), ...s]);
      assert.is(crypto.verify(hex(torsion), message, mixed), true, torsion);
      mixed[40]! ^= 1;
      assert.is(crypto.verify(hex(torsion), message, mixed), false, torsion);
    }
  });

  test('a key with a part of small order keeps its signatures', () => {
    const torsion = ed25519.Point.fromHex(SMALL_ORDER[4]!, true);
    const { scalar } = ed25519.utils.getExtendedPublicKey(ramp(32));
    const key = ed25519.Point.BASE.multiply(scalar).add(torsion).toBytes();
    // Signed as RFC 8032 says, but for this key.
    const signature = signAs(key, scalar);
    assert.is(crypto.verify(key, message, signature), true);
    signature[63]! ^= 1;
    assert.is(crypto.verify(key, message, signature), false);
  });

  test('a scalar of the order or more is refused, also where it stands for a valid one', () => {
    const identity = SMALL_ORDER[0]!;
    assert.is(crypto.verify(hex(identity), message, hex(identity + ORDER)), false);
    const { publicKey, message: text, signature } = rfc8032[2]!;
    const grown = hex(signature);
    let carry = 0;
    for (let i = 0; i < 32; i++) {
      carry += grown[32 + i]! + hex(ORDER)[i]!;
      grown[32 + i] = carry;
      carry >>= 8;
    }
    assert.is(crypto.verify(hex(publicKey), hex(text), grown), false);
    for (const scalar of [`ec${ORDER.slice(2)}`, `ee${ORDER.slice(2)}`, 'ff'.repeat(32)])
      assert.is(crypto.verify(hex(identity), message, hex(identity + scalar)), false, scalar);
  });

  test('the greatest scalar, which is one less than the order, is a scalar', () => {
    const negativeBase = `58${'66'.repeat(30)}e6`;
    const greatest = `ec${ORDER.slice(2)}`;
    assert.is(crypto.verify(hex(SMALL_ORDER[0]!), message, hex(negativeBase + greatest)), true);
    assert.is(crypto.verify(hex(SMALL_ORDER[0]!), message, hex(`58${'66'.repeat(31)}${greatest}`)), false);
  });

  test('text that is no point is refused, as a key and in a signature', () => {
    const seeded = new Seeded(62);
    const own = new Uint8Array(32);
    crypto.publicKey(own, ramp(32));
    let refused = 0;
    for (let i = 0; i < 40; i++) {
      const text = seeded.bytes(32);
      const isPoint = createNobleEd25519().verify(text, message, hex(SMALL_ORDER[0]! + '00'.repeat(32)));
      assert.is(crypto.verify(text, message, hex(SMALL_ORDER[0]! + '00'.repeat(32))), isPoint);
      const isOnCurve = noblePoint(text);
      if (isOnCurve) continue;
      refused++;
      assert.is(crypto.verify(own, message, new Uint8Array([...text, ...new Uint8Array(32)])), false);
    }
    assert.ok(refused > 8 && refused < 32, `${refused}`);
  });

  /** A signature of `message` for any point whose prime-order part has this scalar. */
  function signAs(key: Uint8Array, scalar: bigint): Uint8Array {
    const order = ed25519.Point.Fn.ORDER;
    const r = 123456789n;
    const R = ed25519.Point.BASE.multiply(r).toBytes();
    const digest = sha512(new Uint8Array([...R, ...key, ...message]));
    const k = BigInt(`0x${toHex(digest.reverse())}`) % order;
    const s = (r + k * scalar) % order;
    return new Uint8Array([...R, ...hex(s.toString(16).padStart(64, '0')).reverse()]);
  }

  test.run();
}

function noblePoint(text: Uint8Array): boolean {
  try {
    ed25519.Point.fromBytes(text, true);
    return true;
  } catch {
    return false;
  }
}

function behaviour(name: string, crypto: Ed25519): void {
  const test = suite(`${name}: Ed25519`);
  const portable = createNobleEd25519();

  test('keys and signatures agree with the portable implementation', () => {
    const seeded = new Seeded(63);
    for (let i = 0; i < 12; i++) {
      const [seed, message] = [seeded.bytes(32), seeded.bytes(seeded.below(300))];
      const [key, expected] = [new Uint8Array(32), new Uint8Array(32)];
      crypto.publicKey(key, seed);
      portable.publicKey(expected, seed);
      assert.is(toHex(key), toHex(expected));
      assert.is(toHex(sign(crypto, seed, message)), toHex(sign(portable, seed, message)));
    }
  });

  test('a changed bit of key, message or signature is refused', () => {
    const seeded = new Seeded(64);
    const message = seeded.bytes(9);
    const key = new Uint8Array(32);
    crypto.publicKey(key, ramp(32));
    const signature = sign(crypto, ramp(32), message);
    for (const part of [key, message, signature]) {
      for (let i = 0; i < part.length; i++) {
        const bit = 1 << seeded.below(8);
        part[i]! ^= bit;
        assert.is(crypto.verify(key, message, signature), false, `byte ${i} of ${part.length}`);
        part[i]! ^= bit;
      }
    }
    assert.is(crypto.verify(key, message, signature), true);
  });

  test('verifying refuses other sizes without throwing', () => {
    const [key, signature] = [hex(SMALL_ORDER[0]!), hex(SMALL_ORDER[0]! + '00'.repeat(32))];
    assert.is(crypto.verify(key, ramp(3), signature), true);
    for (const size of [0, 31, 33]) assert.is(crypto.verify(new Uint8Array(size).fill(1), ramp(3), signature), false);
    for (const size of [0, 32, 63]) assert.is(crypto.verify(key, ramp(3), signature.slice(0, size)), false);
    assert.is(crypto.verify(key, ramp(3), new Uint8Array([...signature, 0])), false);
  });

  test('wrong sizes of what is ours throw a RangeError that names the argument', () => {
    const cases: [string, () => void][] = [
      ['out', () => crypto.publicKey(ramp(31), ramp(32))],
      ['seed', () => crypto.publicKey(ramp(32), ramp(33))],
      ['out', () => crypto.sign(ramp(65), ramp(32), ramp(1))],
      ['seed', () => crypto.sign(ramp(64), ramp(31), ramp(1))],
    ];
    for (const [argument, action] of cases) {
      const error = thrownBy(action);
      assert.instance(error, RangeError);
      assert.ok((error as Error).message.includes(`"${argument}"`), (error as Error).message);
    }
  });

  test.run();
}
