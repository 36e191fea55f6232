/**
 * The fast crypto suite: ChaCha20-Poly1305 with WebAssembly SIMD, and X25519, BLAKE2s and HMAC in WebAssembly. Its
 * sources are in wasm-src, their compiled form in wasm-bytes.ts.
 *
 * The module works on its own memory. Buffers from `allocate` lie in it and are sealed and opened in place; any other
 * buffer is copied in and out once. Keys are copied in for each call and erased by it, so that a suite can have any
 * number of ciphers. Left out, and done by the portable suite: messages longer than {@link SCRATCH_BYTES}. XSalsa20 of
 * NaCl's box is portable too: it serves handshakes and path discovery, never traffic.
 */
import { fromBase64, isAllZero } from '../base/bytes.ts';
import { expectRange, expectSize, expectSizeBetween, KEY_BYTES, TAG_BYTES } from './arguments.ts';
import { deriveBoxKey, openBox, sealBox } from './box.ts';
import { provesItself } from './proof.ts';
import type { Cipher, CryptoSuite } from './suite.ts';
import { WASM_BASE64 } from './wasm-bytes.ts';
import { SCRATCH_BYTES, WasmCipher, WasmCore, type WasmModule } from './wasm-core.ts';

/**
 * Makes the fast suite, or `undefined` where the runtime has no WebAssembly, no SIMD, forbids compiling, or does not
 * compute the known vectors. Compiles synchronously (a few milliseconds). Never throws.
 */
export function createWasmSuite(): CryptoSuite | undefined {
  const module = instantiate();
  if (module === undefined) return undefined;
  const suite = new WasmSuite(module);
  return provesItself(suite) ? suite : undefined;
}

/** The part of the WebAssembly interface that is used here (the core is compiled without the types of a browser). */
interface WebAssemblyLike {
  validate(bytes: Uint8Array): boolean;
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { readonly exports: unknown };
}

function instantiate(): WasmModule | undefined {
  const api = (globalThis as { WebAssembly?: WebAssemblyLike }).WebAssembly;
  const bytes = fromBase64(WASM_BASE64);
  if (api === undefined || bytes === undefined) return undefined;
  try {
    if (!api.validate(bytes)) return undefined;
    return new api.Instance(new api.Module(bytes)).exports as WasmModule;
  } catch {
    return undefined; // a policy forbids code that is made at run time
  }
}

class WasmSuite implements CryptoSuite {
  readonly name = 'wasm';
  readonly #core: WasmCore;

  constructor(module: WasmModule) {
    this.#core = new WasmCore(module);
  }

  hash(out: Uint8Array, a: Uint8Array, b?: Uint8Array): void {
    expectSize('out', out, 32);
    const core = this.#core;
    const length = core.place(a, b);
    if (length < 0) return core.portable.hash(out, a, b);
    core.module.blake2s(32, 0, core.scratch, length);
    core.clear(length);
    moveInto(out, core.digest);
  }

  hmac(out: Uint8Array, key: Uint8Array, a: Uint8Array, b?: Uint8Array): void {
    expectSize('out', out, 32);
    expectSizeBetween('key', key, 0, 64);
    const core = this.#core;
    const length = core.place(a, b);
    if (length < 0) return core.portable.hmac(out, key, a, b);
    core.bytes.set(key, core.module.MAC_KEY.value);
    core.module.hmac(core.scratch, length);
    core.clear(length);
    moveInto(out, core.digest);
  }

  mac(out: Uint8Array, key: Uint8Array, buf: Uint8Array, start: number, end: number): void {
    if (out.length !== 16) expectSize('out', out, 32);
    expectSizeBetween('key', key, 1, 32);
    expectRange(buf, start, end);
    const core = this.#core;
    const length = core.place(buf.subarray(start, end), undefined);
    if (length < 0) return core.portable.mac(out, key, buf, start, end);
    core.bytes.set(key, core.module.MAC_KEY.value);
    core.module.blake2s(out.length, key.length, core.scratch, length);
    core.clear(length);
    out.set(out.length === 16 ? core.digest16 : core.digest);
    core.digest.fill(0);
  }

  dh(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean {
    expectSize('out', out, KEY_BYTES);
    expectSize('secret', secret, KEY_BYTES);
    expectSize('publicKey', publicKey, KEY_BYTES);
    const { module, bytes, result } = this.#core;
    bytes.set(secret, module.SCALAR.value);
    bytes.set(publicKey, module.POINT.value);
    module.x25519();
    moveInto(out, result);
    if (isAllZero(out)) return false; // CHECK: wasm-dh-all-zero
    return true;
  }

  publicKey(out: Uint8Array, secret: Uint8Array): void {
    expectSize('out', out, KEY_BYTES);
    expectSize('secret', secret, KEY_BYTES);
    const { module, bytes, result } = this.#core;
    bytes.set(secret, module.SCALAR.value);
    bytes[module.POINT.value] = 9; // the base point (RFC 7748 §4.1); the module left the other bytes zero
    module.x25519();
    moveInto(out, result);
  }

  aeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void {
    this.#seal(12, out, key, nonce, aad, plaintext);
  }

  aeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean {
    return this.#open(12, out, key, nonce, aad, ciphertext);
  }

  xaeadSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): void {
    this.#seal(24, out, key, nonce, aad, plaintext);
  }

  xaeadOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): boolean {
    return this.#open(24, out, key, nonce, aad, ciphertext);
  }

  boxKey(out: Uint8Array, secret: Uint8Array, publicKey: Uint8Array): boolean {
    if (!this.dh(out, secret, publicKey)) return false; // CHECK: wasm-box-low-order
    deriveBoxKey(out);
    return true;
  }

  boxSeal(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): void {
    sealBox(out, key, nonce, plaintext);
  }

  boxOpen(out: Uint8Array, key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): boolean {
    return openBox(out, key, nonce, ciphertext);
  }

  createCipher(sealKey: Uint8Array, openKey = sealKey): Cipher {
    expectSize('key', sealKey, KEY_BYTES);
    expectSize('key', openKey, KEY_BYTES);
    return new WasmCipher(this.#core, sealKey, openKey);
  }

  allocate(bytes: number): Uint8Array {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`"bytes" expected 0 or more, got ${bytes}`);
    return this.#core.allocate(bytes);
  }

  /** Either AEAD, told apart by the length of its nonce. The message lies in front of the additional data. */
  #seal(
    nonceBytes: 12 | 24,
    out: Uint8Array,
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    plaintext: Uint8Array,
  ): void {
    expectSize('key', key, KEY_BYTES);
    expectSize('nonce', nonce, nonceBytes);
    expectSize('out', out, plaintext.length + TAG_BYTES);
    const core = this.#core;
    const { scratch, bytes, module } = core;
    const total = out.length + aad.length;
    if (total > SCRATCH_BYTES) {
      if (nonceBytes === 12) return core.portable.aeadSeal(out, key, nonce, aad, plaintext);
      return core.portable.xaeadSeal(out, key, nonce, aad, plaintext);
    }
    bytes.set(plaintext, scratch);
    bytes.set(aad, scratch + out.length);
    this.#setKey(key, nonce);
    module.seal(scratch, plaintext.length, scratch + out.length, aad.length);
    out.set(bytes.subarray(scratch, scratch + out.length));
    core.clear(total);
  }

  #open(
    nonceBytes: 12 | 24,
    out: Uint8Array,
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    ciphertext: Uint8Array,
  ): boolean {
    expectSize('key', key, KEY_BYTES);
    expectSize('nonce', nonce, nonceBytes);
    expectSize('out', out, ciphertext.length - TAG_BYTES);
    const core = this.#core;
    const { scratch, bytes, module } = core;
    const total = ciphertext.length + aad.length;
    if (total > SCRATCH_BYTES) {
      if (nonceBytes === 12) return core.portable.aeadOpen(out, key, nonce, aad, ciphertext);
      return core.portable.xaeadOpen(out, key, nonce, aad, ciphertext);
    }
    bytes.set(ciphertext, scratch);
    bytes.set(aad, scratch + ciphertext.length);
    this.#setKey(key, nonce);
    const fits = module.open(scratch, out.length, scratch + ciphertext.length, aad.length) === 1;
    out.set(bytes.subarray(scratch, scratch + out.length)); // all zero when the tag does not fit
    core.clear(total);
    return fits;
  }

  /** Places key and nonce; a nonce of 24 bytes becomes a subkey and one of 12 (draft-irtf-cfrg-xchacha-03 §2.3). */
  #setKey(key: Uint8Array, nonce: Uint8Array): void {
    const { bytes, module } = this.#core;
    const at = module.NONCE.value;
    bytes.set(key, module.KEY.value);
    if (nonce.length === 12) {
      bytes.set(nonce, at);
      return;
    }
    bytes.set(nonce.subarray(0, 16), at);
    module.hchacha();
    bytes.fill(0, at, at + 4);
    bytes.set(nonce.subarray(16), at + 4);
  }
}

/** Moves a result out of the module's memory, leaving no second copy. */
function moveInto(out: Uint8Array, result: Uint8Array): void {
  out.set(result);
  result.fill(0);
}
