/** Contract of the hash functions: BLAKE2s (RFC 7693), HMAC over it (RFC 2104), and WireGuard's key derivation. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import blake2s from '../vectors/blake2s.json' with { type: 'json' };
import kdf from '../vectors/wireguard-kdf.json' with { type: 'json' };
import { ramp, Seeded, thrownBy } from './support.ts';

/** Registers and runs the hash tests. */
export function hashContract(name: string, crypto: CryptoSuite): void {
  const test = suite(`${name}: BLAKE2s and HMAC`);
  const hash = (...parts: [Uint8Array, Uint8Array?]) => {
    const out = new Uint8Array(32);
    crypto.hash(out, ...parts);
    return out;
  };
  const mac = (key: Uint8Array, message: Uint8Array, length: number) => {
    const out = new Uint8Array(length);
    crypto.mac(out, key, message, 0, message.length);
    return out;
  };
  const hmac = (key: Uint8Array, ...parts: [Uint8Array, Uint8Array?]) => {
    const out = new Uint8Array(32);
    crypto.hmac(out, key, ...parts);
    return out;
  };
  /** One digest over the outputs that `each` gives. */
  const digestOf = (outputs: Uint8Array[]) => {
    const all = new Uint8Array(outputs.reduce((sum, output) => sum + output.length, 0));
    let at = 0;
    for (const output of outputs) {
      all.set(output, at);
      at += output.length;
    }
    return toHex(hash(all));
  };

  test('BLAKE2s of "abc" is that of RFC 7693 appendix B', () => {
    assert.is(toHex(hash(utf8Encode('abc'))), blake2s.abc);
    assert.is(toHex(hash(new Uint8Array(0))), blake2s.empty);
  });

  test('the self-test of RFC 7693 appendix E holds for the digest lengths in use', () => {
    const outputs: Uint8Array[] = [];
    for (const length of [16, 32]) {
      for (const inputLength of [0, 3, 64, 65, 255, 1024]) {
        const input = selfTestSequence(inputLength, inputLength);
        if (length === 32) outputs.push(hash(input));
        outputs.push(mac(selfTestSequence(length, length), input, length));
      }
    }
    assert.is(digestOf(outputs), blake2s.selfTest);
  });

  test('messages of 0 to 255 bytes hash as they should, plain, keyed, short and in HMAC', () => {
    const key = ramp(32);
    const messages = Array.from({ length: 256 }, (_, length) => ramp(length));
    assert.is(digestOf(messages.map(message => hash(message))), blake2s.hashOfLengths0To255);
    assert.is(digestOf(messages.map(message => mac(key, message, 32))), blake2s.keyedOfLengths0To255);
    assert.is(digestOf(messages.map(message => mac(key, message, 16))), blake2s.keyed16OfLengths0To255);
    assert.is(digestOf(messages.map(message => hmac(key, message))), blake2s.hmacOfLengths0To255);
  });

  test('keys of every length give the right digests', () => {
    const message = ramp(100);
    const hmacs = Array.from({ length: 65 }, (_, length) => hmac(ramp(length), message));
    assert.is(digestOf(hmacs), blake2s.hmacOfKeys0To64);
    const macs = Array.from({ length: 32 }, (_, i) => [mac(ramp(i + 1), message, 32), mac(ramp(i + 1), message, 16)]);
    assert.is(digestOf(macs.flat()), blake2s.keyedOfKeys1To32);
  });

  test('the key derivation gives WireGuard’s published outputs', () => {
    assert.is(kdf.length, 3);
    for (const { key, input, outputs } of kdf) {
      const prk = hmac(utf8Encode(key), utf8Encode(input));
      const t1 = hmac(prk, Uint8Array.of(1));
      const t2 = hmac(prk, t1, Uint8Array.of(2));
      const t3 = hmac(prk, t2, Uint8Array.of(3));
      assert.equal([toHex(t1), toHex(t2), toHex(t3)], outputs);
    }
  });

  test('two parts hash as their concatenation, wherever the cut is', () => {
    const message = new Seeded(1).bytes(200);
    const whole = toHex(hash(message));
    const wholeHmac = toHex(hmac(ramp(32), message));
    for (let cut = 0; cut <= message.length; cut++) {
      const parts: [Uint8Array, Uint8Array] = [message.subarray(0, cut), message.subarray(cut)];
      assert.is(toHex(hash(...parts)), whole);
      assert.is(toHex(hmac(ramp(32), ...parts)), wholeHmac);
    }
  });

  test('the output may be any of the inputs', () => {
    const [a, b] = [ramp(32, 1), ramp(32, 101)];
    const plain = toHex(hash(a, b));
    const keyed = toHex(hmac(a, b));
    for (const pick of [0, 1]) {
      const inputs = [a.slice(), b.slice()] as [Uint8Array, Uint8Array];
      crypto.hash(inputs[pick]!, ...inputs);
      assert.is(toHex(inputs[pick]!), plain);
      const again = [a.slice(), b.slice()] as [Uint8Array, Uint8Array];
      crypto.hmac(again[pick]!, ...again);
      assert.is(toHex(again[pick]!), keyed);
    }
  });

  test('a message of more than 64 KiB hashes like a short one', () => {
    const portable = createNobleSuite();
    const message = new Seeded(2).bytes(70_000);
    const expected = new Uint8Array(32);
    portable.hash(expected, message, ramp(10));
    assert.is(toHex(hash(message, ramp(10))), toHex(expected));
    portable.hmac(expected, ramp(32), message, ramp(10));
    assert.is(toHex(hmac(ramp(32), message, ramp(10))), toHex(expected));
    portable.mac(expected, ramp(32), message, 1, 69_999);
    const out = new Uint8Array(32);
    crypto.mac(out, ramp(32), message, 1, 69_999);
    assert.is(toHex(out), toHex(expected));
  });

  test('a MAC covers the range that it is given, and nothing else', () => {
    const buf = new Seeded(3).bytes(300);
    const out = new Uint8Array(16);
    for (const [start, end] of [
      [0, 0],
      [0, 300],
      [7, 7],
      [13, 129],
      [299, 300],
    ] as const) {
      crypto.mac(out, ramp(32), buf, start, end);
      assert.is(toHex(out), toHex(mac(ramp(32), buf.slice(start, end), 16)));
    }
  });

  test('wrong sizes throw a RangeError that names the argument', () => {
    const [ok, short, long] = [new Uint8Array(32), new Uint8Array(31), new Uint8Array(65)];
    const cases: [string, () => void][] = [
      ['out', () => crypto.hash(short, ok)],
      ['out', () => crypto.hmac(short, ok, ok)],
      ['key', () => crypto.hmac(ok, long, ok)],
      ['out', () => crypto.mac(short, ok, ok, 0, 32)],
      ['key', () => crypto.mac(ok, new Uint8Array(0), ok, 0, 32)],
      ['key', () => crypto.mac(ok, new Uint8Array(33), ok, 0, 32)],
      ['end', () => crypto.mac(ok, ok, ok, 0, 33)],
      ['end', () => crypto.mac(ok, ok, ok, -1, 3)],
      ['end', () => crypto.mac(ok, ok, ok, 4, 3)],
      ['end', () => crypto.mac(ok, ok, ok, 0.5, 3)],
      ['end', () => crypto.mac(ok, ok, ok, 0, Number.NaN)],
    ];
    for (const [argument, action] of cases) {
      const error = thrownBy(action);
      assert.instance(error, RangeError);
      assert.ok((error as Error).message.includes(`"${argument}"`), (error as Error).message);
    }
  });

  test.run();
}

/** The input of RFC 7693 appendix E: `length` bytes of a Fibonacci generator. */
function selfTestSequence(length: number, seed: number): Uint8Array {
  const out = new Uint8Array(length);
  let a = Math.imul(0xdead4bad, seed);
  let b = 1;
  for (let i = 0; i < length; i++) {
    const sum = (a + b) | 0;
    a = b;
    b = sum;
    out[i] = sum >>> 24;
  }
  return out;
}
