/**
 * The memory of the WebAssembly module behind the fast suite (wasm.ts): what lies where, and the ciphers of sessions,
 * which seal and open packets in it.
 */
import { expectCounter, expectRange, KEY_BYTES, TAG_BYTES } from './arguments.ts';
import { createNobleSuite } from './noble.ts';
import type { Cipher, CryptoSuite } from './suite.ts';

/** Bytes that one call can hold when it works on a copy: a whole UDP datagram, additional data and a tag. */
export const SCRATCH_BYTES = 65_536 + 512;

/** What lib/crypto/wasm-src/index.as exports: functions, and the addresses of the places that they work on. */
export interface WasmModule {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly FREE: Address;
  readonly KEY: Address;
  readonly NONCE: Address;
  readonly MAC_KEY: Address;
  readonly DIGEST: Address;
  readonly SCALAR: Address;
  readonly POINT: Address;
  readonly RESULT: Address;
  seal(at: number, bytes: number, aad: number, aadBytes: number): void;
  open(at: number, bytes: number, aad: number, aadBytes: number): number;
  hchacha(): void;
  blake2s(outBytes: number, keyBytes: number, from: number, bytes: number): void;
  hmac(from: number, bytes: number): void;
  x25519(): void;
}

interface Address {
  readonly value: number;
}

/** The module with views of the places in its memory, shared by a suite and its ciphers. */
export class WasmCore {
  readonly module: WasmModule;
  /** INVARIANT: the memory never grows, so that this buffer and all views of it stay valid. */
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly digest: Uint8Array;
  readonly digest16: Uint8Array;
  readonly result: Uint8Array;
  /** Indices of the key and of the nonce's second word in `words`. */
  readonly keyWord: number;
  readonly nonceWord: number;
  /** Where copies of messages lie. */
  readonly scratch: number;
  /** What `allocate` gives out next. */
  #free: number;
  #portable: CryptoSuite | undefined = undefined;

  constructor(module: WasmModule) {
    const { buffer } = module.memory;
    this.module = module;
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.digest = new Uint8Array(buffer, module.DIGEST.value, 32);
    this.digest16 = new Uint8Array(buffer, module.DIGEST.value, 16);
    this.result = new Uint8Array(buffer, module.RESULT.value, KEY_BYTES);
    this.keyWord = module.KEY.value / 4;
    this.nonceWord = module.NONCE.value / 4 + 1;
    this.scratch = align(module.FREE.value);
    this.#free = align(this.scratch + SCRATCH_BYTES);
  }

  /** For what the module does not do. */
  get portable(): CryptoSuite {
    this.#portable ??= createNobleSuite();
    return this.#portable;
  }

  /** Places a key of eight words and the nonce of a packet: four zero bytes and the counter, little-endian. */
  setPacketKey(key: Int32Array, counter: number): void {
    const { words, keyWord, nonceWord } = this;
    words[keyWord] = key[0]!;
    words[keyWord + 1] = key[1]!;
    words[keyWord + 2] = key[2]!;
    words[keyWord + 3] = key[3]!;
    words[keyWord + 4] = key[4]!;
    words[keyWord + 5] = key[5]!;
    words[keyWord + 6] = key[6]!;
    words[keyWord + 7] = key[7]!;
    // The word before is zero: the module erases the nonce after every call.
    words[nonceWord] = counter; // stored modulo 2^32
    words[nonceWord + 1] = Math.floor(counter / 0x1_0000_0000);
  }

  /** Copies `a || b` to the scratch area; the length, or -1 when it does not fit. */
  place(a: Uint8Array, b: Uint8Array | undefined): number {
    const length = a.length + (b === undefined ? 0 : b.length);
    if (length > SCRATCH_BYTES) return -1;
    this.bytes.set(a, this.scratch);
    if (b !== undefined) this.bytes.set(b, this.scratch + a.length);
    return length;
  }

  /** Erases the first bytes of the scratch area. */
  clear(length: number): void {
    this.bytes.fill(0, this.scratch, this.scratch + length);
  }

  /** Memory that is never given back; an ordinary array when there is none left. */
  allocate(length: number): Uint8Array {
    const start = this.#free;
    if (length > this.buffer.byteLength - start) return new Uint8Array(length);
    this.#free = align(start + length);
    return new Uint8Array(this.buffer, start, length);
  }
}

function align(address: number): number {
  return Math.ceil(address / 64) * 64;
}

/** A session's keys in ordinary memory, copied into the module for each packet and erased there by it. */
export class WasmCipher implements Cipher {
  readonly #core: WasmCore;
  readonly #sealKey: Int32Array;
  readonly #openKey: Int32Array;
  #isWiped = false;

  constructor(core: WasmCore, sealKey: Uint8Array, openKey: Uint8Array) {
    this.#core = core;
    this.#sealKey = new Int32Array(sealKey.slice().buffer);
    this.#openKey = new Int32Array(openKey.slice().buffer);
  }

  seal(counter: number, buf: Uint8Array, start: number, end: number): void {
    expectRange(buf, start, end, TAG_BYTES);
    expectCounter(counter);
    const core = this.#core;
    const key = this.#live(this.#sealKey);
    const length = end - start;
    if (buf.buffer === core.buffer) {
      core.setPacketKey(key, counter);
      core.module.seal(buf.byteOffset + start, length, 0, 0);
    } else if (length + TAG_BYTES <= SCRATCH_BYTES) {
      core.bytes.set(buf.subarray(start, end), core.scratch);
      core.setPacketKey(key, counter);
      core.module.seal(core.scratch, length, 0, 0);
      buf.set(core.bytes.subarray(core.scratch, core.scratch + length + TAG_BYTES), start);
    } else {
      const cipher = this.#portable(key);
      cipher.seal(counter, buf, start, end);
      cipher.wipe();
    }
  }

  open(counter: number, buf: Uint8Array, start: number, end: number): boolean {
    expectRange(buf, start, end);
    expectCounter(counter);
    const core = this.#core;
    const key = this.#live(this.#openKey);
    const length = end - start - TAG_BYTES;
    if (length < 0) return false; // CHECK: wasm-open-short
    if (buf.buffer === core.buffer) {
      core.setPacketKey(key, counter);
      return core.module.open(buf.byteOffset + start, length, 0, 0) === 1;
    }
    if (end - start <= SCRATCH_BYTES) {
      core.bytes.set(buf.subarray(start, end), core.scratch);
      core.setPacketKey(key, counter);
      const fits = core.module.open(core.scratch, length, 0, 0) === 1;
      buf.set(core.bytes.subarray(core.scratch, core.scratch + length), start);
      core.clear(length);
      return fits;
    }
    const cipher = this.#portable(key);
    const fits = cipher.open(counter, buf, start, end);
    cipher.wipe();
    return fits;
  }

  wipe(): void {
    this.#sealKey.fill(0);
    this.#openKey.fill(0);
    this.#isWiped = true;
  }

  #live(key: Int32Array): Int32Array {
    if (this.#isWiped) throw new Error('the cipher is wiped'); // CHECK: wasm-cipher-wiped
    return key;
  }

  #portable(key: Int32Array): Cipher {
    return this.#core.portable.createCipher(new Uint8Array(key.buffer));
  }
}
