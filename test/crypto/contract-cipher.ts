/** Contract of the packet cipher: in place, any alignment, counters as nonces, refusal of what is not authentic. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { equalBytes, toHex, writeU64LE } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { ramp, Seeded, thrownBy } from './support.ts';

/** What a cipher must produce: the portable one-shot AEAD under the nonce that WireGuard §5.4.6 gives a counter. */
function expectedSeal(key: Uint8Array, counter: number, plaintext: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(12);
  writeU64LE(nonce, 4, counter);
  const out = new Uint8Array(plaintext.length + 16);
  createNobleSuite().aeadSeal(out, key, nonce, new Uint8Array(0), plaintext);
  return out;
}

/** Registers and runs the cipher tests. */
export function cipherContract(name: string, crypto: CryptoSuite): void {
  agreement(name, crypto);
  refusals(name, crypto);
}

function agreement(name: string, crypto: CryptoSuite): void {
  const test = suite(`${name}: packet cipher`);

  /** Seals and opens at `start` of `buf`, checks every byte of the result, and that the bytes around stay. */
  const check = (buf: Uint8Array, start: number, plaintext: Uint8Array, key: Uint8Array, counter: number) => {
    const end = start + plaintext.length;
    const cipher = crypto.createCipher(key);
    buf.fill(0xa5);
    buf.set(plaintext, start);
    cipher.seal(counter, buf, start, end);
    const label = `${plaintext.length} bytes at ${start}`;
    assert.ok(equalBytes(buf.subarray(start, end + 16), expectedSeal(key, counter, plaintext)), label);
    assert.ok(isFilled(buf, 0, start) && isFilled(buf, end + 16, buf.length), label);
    assert.is(cipher.open(counter, buf, start, end + 16), true, label);
    assert.ok(equalBytes(buf.subarray(start, end), plaintext), label);
    assert.ok(isFilled(buf, 0, start) && isFilled(buf, end + 16, buf.length), label);
  };

  const memories: [string, (bytes: number) => Uint8Array][] = [
    ['memory of its own', bytes => crypto.allocate?.(bytes) ?? new Uint8Array(bytes)],
    ['ordinary memory', bytes => new Uint8Array(bytes)],
    ['a part of ordinary memory', bytes => new Uint8Array(bytes + 13).subarray(13)],
  ];
  for (const [place, allocate] of memories) {
    test(`lengths of 0 to 200 seal and open in ${place}, at changing alignments`, () => {
      const seeded = new Seeded(21);
      const buf = allocate(300);
      for (let length = 0; length <= 200; length++) {
        const start = (length * 7) % 32;
        check(buf, start, seeded.bytes(length), seeded.bytes(32), seeded.below(2 ** 31));
      }
    });

    test(`full packets seal and open in ${place} at every alignment`, () => {
      const seeded = new Seeded(22);
      const buf = allocate(1500);
      for (let start = 0; start <= 32; start++) check(buf, start, seeded.bytes(1420), seeded.bytes(32), start);
    });

    test(`the largest datagram seals and opens in ${place}`, () => {
      const seeded = new Seeded(23);
      check(allocate(65_600), 5, seeded.bytes(65_535), seeded.bytes(32), 1);
    });
  }

  test('a buffer that no datagram could fill still seals and opens', () => {
    const seeded = new Seeded(24);
    check(new Uint8Array(70_100), 3, seeded.bytes(70_000), seeded.bytes(32), 1);
  });

  test('the counter is the nonce, through 32 bits and up to 2^53 - 1', () => {
    const key = new Seeded(25).bytes(32);
    const plaintext = ramp(40);
    const cipher = crypto.createCipher(key);
    const counters = [0, 1, 255, 256, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 48, 2 ** 53 - 1];
    const seen = new Set<string>();
    for (const counter of counters) {
      const buf = new Uint8Array(56);
      buf.set(plaintext);
      cipher.seal(counter, buf, 0, 40);
      assert.is(toHex(buf), toHex(expectedSeal(key, counter, plaintext)), `counter ${counter}`);
      seen.add(toHex(buf));
      assert.is(cipher.open(counter, buf, 0, 56), true);
    }
    assert.is(seen.size, counters.length);
  });

  test('thousands of ciphers live side by side', () => {
    const count = 3000;
    const key = (i: number) => {
      const bytes = ramp(32);
      writeU64LE(bytes, 8, i);
      return bytes;
    };
    const ciphers = Array.from({ length: count }, (_, i) => crypto.createCipher(key(i)));
    const tags = new Set<string>();
    for (let i = 0; i < count; i++) {
      const buf = new Uint8Array(20);
      ciphers[i]!.seal(0, buf, 0, 4);
      tags.add(toHex(buf));
      if (i % 500 === 0) assert.is(toHex(buf), toHex(expectedSeal(key(i), 0, new Uint8Array(4))));
      if (i > 0) assert.is(ciphers[i - 1]!.open(0, buf.slice(), 0, 20), false);
    }
    assert.is(tags.size, count);
  });

  test('a cipher keeps copies of its keys', () => {
    const [sealKey, openKey] = [ramp(32), ramp(32, 1)];
    const cipher = crypto.createCipher(sealKey, openKey);
    sealKey.fill(0);
    openKey.fill(0);
    const buf = new Uint8Array(30);
    cipher.seal(3, buf, 0, 14);
    assert.is(toHex(buf), toHex(expectedSeal(ramp(32), 3, new Uint8Array(14))));
    buf.set(expectedSeal(ramp(32, 1), 3, new Uint8Array(14)));
    assert.ok(cipher.open(3, buf, 0, 30));
  });

  test('with two keys it seals with the first and opens with the second only', () => {
    const [sealKey, openKey] = [ramp(32), ramp(32, 1)];
    for (const length of [0, 40, 70_000]) {
      const [one, other] = [crypto.createCipher(sealKey, openKey), crypto.createCipher(openKey, sealKey)];
      const plaintext = new Seeded(26).bytes(length);
      const buf = new Uint8Array(length + 16);
      buf.set(plaintext);
      one.seal(5, buf, 0, length);
      assert.ok(equalBytes(buf, expectedSeal(sealKey, 5, plaintext)));
      assert.is(one.open(5, buf.slice(), 0, buf.length), false);
      assert.is(other.open(5, buf, 0, buf.length), true);
      assert.ok(equalBytes(buf.subarray(0, length), plaintext));
    }
  });

  test.run();
}

function refusals(name: string, crypto: CryptoSuite): void {
  const test = suite(`${name}: what a packet cipher refuses`);
  const cipher = crypto.createCipher(ramp(32));
  const memories: [string, (bytes: number) => Uint8Array][] = [
    ['memory of its own', bytes => crypto.allocate?.(bytes) ?? new Uint8Array(bytes)],
    ['ordinary memory', bytes => new Uint8Array(bytes)],
  ];

  for (const [place, allocate] of memories) {
    test(`no changed bit opens, and no plaintext is left behind, in ${place}`, () => {
      const plaintext = new Seeded(31).bytes(33);
      const sealed = expectedSeal(ramp(32), 9, plaintext);
      const buf = allocate(49);
      for (let bit = 0; bit < sealed.length * 8; bit++) {
        buf.set(sealed);
        buf[bit >> 3]! ^= 1 << (bit & 7);
        assert.is(cipher.open(9, buf, 0, 49), false, `bit ${bit}`);
        assert.not(equalBytes(buf.subarray(0, 33), plaintext));
        const rest = buf.subarray(1, 32);
        assert.not(equalBytes(rest, plaintext.subarray(1, 32)), `bit ${bit}`);
      }
      buf.set(sealed);
      assert.is(cipher.open(9, buf, 0, 49), true);
    });

    test(`a forged full packet, another counter and another key do not open in ${place}`, () => {
      const plaintext = new Seeded(32).bytes(1420);
      const sealed = expectedSeal(ramp(32), 9, plaintext);
      const buf = allocate(1436);
      const attempts: [number, number][] = [
        [0, 9],
        [191, 9],
        [192, 9],
        [1419, 9],
        [1420, 9],
        [1435, 9],
        [-1, 8],
        [-1, 10],
        [-1, 2 ** 32 + 9],
      ];
      for (const [at, counter] of attempts) {
        buf.set(sealed);
        if (at >= 0) buf[at]! ^= 0x40;
        assert.is(cipher.open(counter, buf, 0, 1436), false, `${at}, ${counter}`);
        assert.not(equalBytes(buf.subarray(448, 1000), plaintext.subarray(448, 1000)));
      }
      buf.set(sealed);
      assert.is(crypto.createCipher(ramp(32, 1)).open(9, buf, 0, 1436), false);
      buf.set(sealed);
      assert.is(cipher.open(9, buf, 0, 1436), true);
    });

    test(`what is shorter than a tag does not open in ${place}`, () => {
      const buf = allocate(64);
      const tag = expectedSeal(ramp(32), 0, new Uint8Array(0));
      for (let length = 0; length < 16; length++) {
        // Even where the bytes in front of it would make it the tag of nothing at all.
        buf.set(tag, 20 + length - 16);
        assert.is(cipher.open(0, buf, 20, 20 + length), false);
        assert.is(cipher.open(0, buf, 20 + length - 16, 20 + length), true);
      }
    });

    test(`a wrong range throws before anything is written, in ${place}`, () => {
      const buf = allocate(64);
      buf.set(ramp(64));
      const ranges = [
        [-1, 10],
        [10, 9],
        [0, 65],
        [0, 49, 'seal'],
        [64, 64, 'seal'],
        [0.5, 10],
        [0, 10.5],
        [Number.NaN, 10],
        [0, Number.POSITIVE_INFINITY],
      ] as const;
      for (const [start, end, only] of ranges) {
        assert.instance(
          thrownBy(() => cipher.seal(1, buf, start, end)),
          RangeError,
          `${start} ${end}`,
        );
        if (only === undefined)
          assert.instance(
            thrownBy(() => cipher.open(1, buf, start, end)),
            RangeError,
            `${start} ${end}`,
          );
      }
      assert.is(toHex(buf), toHex(ramp(64)));
    });

    test(`a counter that is no integer of 0 to 2^53 - 1 throws before anything is written, in ${place}`, () => {
      const buf = allocate(64);
      buf.set(ramp(64));
      for (const counter of [-1, 0.5, 2 ** 53, 2 ** 64, Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.instance(
          thrownBy(() => cipher.seal(counter, buf, 0, 48)),
          RangeError,
          String(counter),
        );
        assert.instance(
          thrownBy(() => cipher.open(counter, buf, 0, 64)),
          RangeError,
          String(counter),
        );
      }
      assert.is(toHex(buf), toHex(ramp(64)));
    });
  }

  test('a wiped cipher seals and opens nothing, wiping again is harmless, and others go on', () => {
    const wiped = crypto.createCipher(ramp(32));
    const sealed = expectedSeal(ramp(32), 0, ramp(10));
    wiped.wipe();
    wiped.wipe();
    for (const buf of [sealed.slice(), crypto.allocate?.(26) ?? new Uint8Array(26)]) {
      buf.set(sealed);
      for (const action of [() => wiped.seal(0, buf, 0, 10), () => wiped.open(0, buf, 0, 26)]) {
        assert.match(String(thrownBy(action)), 'wiped');
        assert.is(toHex(buf), toHex(sealed));
      }
    }
    assert.is(cipher.open(0, sealed, 0, 26), true);
  });

  test('a key of another length throws', () => {
    for (const length of [0, 31, 33])
      assert.instance(
        thrownBy(() => crypto.createCipher(ramp(length))),
        RangeError,
        String(length),
      );
    assert.instance(
      thrownBy(() => crypto.createCipher(ramp(32), ramp(31))),
      RangeError,
    );
  });

  test.run();
}

function isFilled(buf: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (buf[i] !== 0xa5) return false;
  return true;
}
