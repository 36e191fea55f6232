/** The WebAssembly suite: the contract, where it runs at all, what it leaves in memory, and the memory that it lends. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { equalBytes, isAllZero, toHex } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { suiteContract } from './contract.ts';
import { ramp, Seeded } from './support.ts';

suiteContract('wasm', createWasmSuite);

interface Exports {
  [name: string]: unknown;
}

interface Api {
  validate(bytes: Uint8Array): boolean;
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { readonly exports: Exports };
}

const realm = globalThis as { WebAssembly?: Api | undefined };
const api = realm.WebAssembly;

/** Makes the suite in a runtime whose WebAssembly is another. */
function createWith(other: unknown): string {
  realm.WebAssembly = other as Api;
  try {
    return createWasmSuite()?.name ?? 'none';
  } finally {
    realm.WebAssembly = api;
  }
}

/** A function that gives a v128: valid exactly where there is SIMD. */
const SIMD_PROBE = Object.freeze([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
]);

const absence = suite('wasm: where it runs');

absence('the suite exists exactly where the runtime has WebAssembly with SIMD', () => {
  // Without this, a suite that fails its own proof would only be skipped.
  const isExpected = api?.validate(new Uint8Array(SIMD_PROBE)) === true;
  assert.is(createWasmSuite() !== undefined, isExpected);
});

absence('a runtime without WebAssembly has no such suite, and no error', () =>
  assert.is(createWith(undefined), 'none'),
);

absence('a runtime without SIMD has no such suite', () => assert.is(createWith({ validate: () => false }), 'none'));

absence('a runtime that forbids compiling has no such suite', () => {
  class Forbidden {
    constructor() {
      throw new Error('refused by policy');
    }
  }
  assert.is(createWith({ validate: () => true, Module: Forbidden, Instance: Forbidden }), 'none');
  assert.is(createWith({ validate: Forbidden }), 'none');
});

absence.run();

const test = suite('wasm: memory');
const crypto = createWasmSuite();

if (crypto === undefined || api === undefined) {
  test.skip('the wasm suite cannot run here');
} else {
  const allocate = (bytes: number) => crypto.allocate!(bytes);

  test('a module whose results are wrong is not used', () => {
    for (const name of ['x25519', 'seal', 'open', 'blake2s', 'hmac', 'hchacha']) {
      class Broken {
        readonly exports: Exports;
        constructor(module: object) {
          this.exports = { ...new api!.Instance(module).exports, [name]: () => 0 };
        }
      }
      assert.is(createWith({ validate: () => true, Module: api.Module, Instance: Broken }), 'none', name);
    }
  });

  test('lent buffers are zero, apart, aligned, and stay attached', () => {
    const buffers = [1, 64, 100, 2048].map(allocate);
    assert.equal(
      buffers.map(buffer => buffer.length),
      [1, 64, 100, 2048],
    );
    buffers.forEach((buffer, i) => {
      assert.ok(isAllZero(buffer));
      assert.is(buffer.byteOffset % 64, 0);
      buffer.fill(i + 1);
    });
    createWasmSuite();
    allocate(4096);
    for (const [i, buffer] of buffers.entries()) assert.ok(buffer.every(byte => byte === i + 1));
  });

  test('when the memory is used up, allocate gives ordinary memory, and nothing else changes', () => {
    const own = createWasmSuite()!;
    const buffers = Array.from({ length: 200 }, () => own.allocate!(65_536));
    assert.is(new Set(buffers.map(buffer => buffer.buffer)).size > 1, true);
    assert.ok(buffers.every(buffer => buffer.length === 65_536));
    const cipher = own.createCipher(ramp(32));
    for (const buf of [buffers[0]!, buffers[199]!]) {
      cipher.seal(7, buf, 0, 1000);
      assert.is(cipher.open(7, buf, 0, 1016), true);
      assert.ok(isAllZero(buf.subarray(0, 1000)));
    }
    assert.throws(() => own.allocate!(-1), /"bytes"/);
    assert.throws(() => own.allocate!(1.5), /"bytes"/);
  });

  test('no key, plaintext, keystream or intermediate value stays in the module’s memory', () => {
    const own = createWasmSuite()!;
    const memory = new Uint8Array(own.allocate!(64).buffer);
    own.hash(new Uint8Array(32), new Uint8Array(2000)); // clears the sealed copies of the suite's own proof
    const clean = memory.slice();
    const seeded = new Seeded(41);
    const [secret, other, nonce] = [seeded.bytes(32), seeded.bytes(32), seeded.bytes(24)];
    const out = new Uint8Array(32);
    const message = seeded.bytes(1000);
    const sealed = new Uint8Array(1016);
    const cipher = own.createCipher(secret);
    const packet = new Uint8Array(1016);
    const steps: [string, () => unknown][] = [
      ['hash', () => own.hash(out, message, other)],
      ['hmac', () => own.hmac(out, secret, message, other)],
      ['mac', () => own.mac(out, secret, message, 1, 900)],
      ['dh', () => own.dh(out, secret, other)],
      ['publicKey', () => own.publicKey(out, secret)],
      ['aeadSeal', () => own.aeadSeal(sealed, secret, nonce.subarray(12), other, message)],
      ['aeadOpen', () => own.aeadOpen(message, secret, nonce.subarray(12), other, sealed)],
      ['xaeadSeal', () => own.xaeadSeal(sealed, secret, nonce, other, message)],
      ['xaeadOpen', () => own.xaeadOpen(message, secret, nonce, other, sealed)],
      ['forged aeadOpen', () => own.aeadOpen(message.slice(), secret, nonce.subarray(12), secret, sealed)],
      ['boxKey', () => own.boxKey(out, secret, other)],
      ['open', () => cipher.open(1, packet, 0, 1016)],
    ];
    for (const [name, step] of steps) {
      step();
      assert.is(firstDifference(memory, clean), -1, name);
    }
    // A copy of what was sealed may stay, for it goes on the wire; nothing in front of it or behind it.
    cipher.seal(1, packet, 0, 1000);
    const at = firstDifference(memory, clean);
    assert.ok(equalBytes(memory.subarray(at, at + 1016), packet));
    memory.fill(0, at, at + 1016);
    assert.is(firstDifference(memory, clean), -1);
  });

  test('a packet that is not authentic leaves zeros in lent memory', () => {
    const buf = allocate(500);
    buf.fill(3);
    assert.is(crypto.createCipher(ramp(32)).open(1, buf, 10, 480), false);
    assert.ok(isAllZero(buf.subarray(10, 464)));
    assert.ok(buf.subarray(0, 10).every(byte => byte === 3) && buf.subarray(464).every(byte => byte === 3));
  });

  test('packets of two ciphers in lent and ordinary memory do not disturb each other', () => {
    const seeded = new Seeded(42);
    const portable = createNobleSuite();
    const keys = [seeded.bytes(32), seeded.bytes(32)];
    const ciphers = keys.map(key => crypto.createCipher(key));
    const references = keys.map(key => portable.createCipher(key));
    const buffers = [allocate(1500), new Uint8Array(1500)];
    for (let counter = 0; counter < 200; counter++) {
      const which = seeded.below(2);
      const buf = buffers[seeded.below(2)]!;
      const length = seeded.below(1480);
      buf.set(seeded.bytes(length));
      const expected = buf.slice(0, length + 16);
      references[which]!.seal(counter, expected, 0, length);
      ciphers[which]!.seal(counter, buf, 0, length);
      assert.is(toHex(buf.subarray(0, length + 16)), toHex(expected));
    }
  });
}

test.run();

/** Index of the first differing byte, or -1. */
function firstDifference(memory: Uint8Array, clean: Uint8Array): number {
  for (let i = 0; i < memory.length; i++) if (memory[i] !== clean[i]) return i;
  return -1;
}
