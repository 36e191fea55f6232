/**
 * The authenticated ciphers of the tuned suite: ChaCha20-Poly1305 (RFC 8439 §2.8), XChaCha20-Poly1305
 * (draft-irtf-cfrg-xchacha-03) and NaCl's XSalsa20-Poly1305, in place over a scratch area with words of 32 and 64 bits.
 *
 * Messages are verified before they are decrypted, and tags are compared without an early end. Otherwise not constant
 * time (tuned-poly1305.ts). Left out: machines that are not little-endian.
 */
import { TAG_BYTES } from './arguments.ts';
import { Poly1305 } from './tuned-poly1305.ts';
import { type Blocks, chachaBlocks, SIGMA, salsaBlocks } from './tuned-streams.ts';

/** Bytes that are worked on at once: a whole number of blocks. */
const SCRATCH_BYTES = 512;
/** Where in the stream a box's message starts: the 32 bytes before it are Poly1305's key. */
const BOX_OFFSET = 32;

/** What is done with each part of a message. */
type Pass = 'seal' | 'verify' | 'open';

/** The ciphers with the memory that they share. A `use…` method sets up one call of another method. */
export class TunedAead {
  readonly #bytes = new Uint8Array(SCRATCH_BYTES);
  readonly #words = new Int32Array(this.#bytes.buffer);
  readonly #longs = new BigUint64Array(this.#bytes.buffer);
  readonly #tag = this.#bytes.subarray(0, TAG_BYTES);
  readonly #state: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  readonly #poly = new Poly1305();

  /** Sets up ChaCha20 for a key of 32 bytes and the three words of a nonce. */
  useChaCha(key: Uint8Array, n0: number, n1: number, n2: number): void {
    const s = this.#state;
    const words = this.#words;
    this.#bytes.set(key);
    for (let i = 0; i < 4; i++) s[i] = SIGMA[i]!;
    for (let i = 0; i < 8; i++) s[4 + i] = words[i]!;
    s[12] = 0;
    s[13] = n0;
    s[14] = n1;
    s[15] = n2;
  }

  /** Sets up ChaCha20 for a key and a nonce of 12 bytes, or of 24 by way of HChaCha20. */
  useNonce(key: Uint8Array, nonce: Uint8Array): void {
    const [n0, n1, n2, n3, n4, n5] = this.#wordsOf(nonce) as [number, number, number, number?, number?, number?];
    if (n3 === undefined) return this.useChaCha(key, n0, n1, n2);
    this.useChaCha(key, n1, n2, n3);
    const s = this.#state;
    s[12] = n0;
    const x = this.#roundsOnly(chachaBlocks);
    for (let i = 0; i < 4; i++) {
      s[4 + i] = x[i]!;
      s[8 + i] = x[12 + i]!;
    }
    s[12] = 0;
    s[13] = 0;
    s[14] = n4!;
    s[15] = n5!;
    x.fill(0);
  }

  /** Seals `buf[start, end)` in place, the tag behind it, with additional data. */
  seal(buf: Uint8Array, start: number, end: number, aad?: Uint8Array): void {
    this.#begin(aad);
    this.#pass('seal', chachaBlocks, 0, buf, start, end);
    this.#finish(aad, end - start);
    buf.set(this.#tag, end);
    this.forget();
  }

  /** Opens `buf[start, end)` in place, the tag lying behind it; false leaves the ciphertext. */
  open(buf: Uint8Array, start: number, end: number, aad?: Uint8Array): boolean {
    this.#begin(aad);
    this.#pass('verify', chachaBlocks, 0, buf, start, end);
    this.#finish(aad, end - start);
    if (!this.#tagFits(buf, end)) return this.#refuse(); // CHECK: tuned-aead-tag
    this.#pass('open', chachaBlocks, 0, buf, start, end);
    this.forget();
    return true;
  }

  /** Turns the X25519 result in `key` into the key of a box, in place ("Cryptography in NaCl" §8). */
  deriveBoxKey(key: Uint8Array): void {
    this.#useHSalsa(key, [0, 0, 0, 0]);
    const s = this.#state;
    for (let i = 0; i < 4; i++) {
      this.#words[i] = s[1 + i]!;
      this.#words[4 + i] = s[11 + i]!;
    }
    key.set(this.#bytes.subarray(0, 32));
    this.forget();
  }

  /** Sets up a box for a key of 32 and a nonce of 24 bytes. */
  useBox(key: Uint8Array, nonce: Uint8Array): void {
    const n = this.#wordsOf(nonce);
    this.#useHSalsa(key, n);
    const s = this.#state;
    s[6] = n[4]!;
    s[7] = n[5]!;
    s[8] = 0;
    s[9] = 0;
    this.#bytes.fill(0, 0, 64);
    salsaBlocks(s, this.#words, 0, 1);
    this.#poly.start(this.#longs);
    s[8] = 0;
  }

  /** Seals all of `buf` behind its first 16 bytes in place, which become the tag. */
  sealBox(buf: Uint8Array): void {
    this.#pass('seal', salsaBlocks, BOX_OFFSET, buf, TAG_BYTES, buf.length);
    this.#poly.finish(this.#longs);
    buf.set(this.#tag);
    this.forget();
  }

  /** Opens all of `buf` in place, whose tag is apart; false leaves the ciphertext. */
  openBox(buf: Uint8Array, tag: Uint8Array): boolean {
    this.#pass('verify', salsaBlocks, BOX_OFFSET, buf, 0, buf.length);
    this.#poly.finish(this.#longs);
    if (!this.#tagFits(tag, 0)) return this.#refuse(); // CHECK: tuned-box-tag
    this.#pass('open', salsaBlocks, BOX_OFFSET, buf, 0, buf.length);
    this.forget();
    return true;
  }

  /** Erases keys, and what is left of the last message. */
  forget(): void {
    this.#bytes.fill(0);
    this.#state.fill(0);
  }

  #refuse(): false {
    this.forget();
    return false;
  }

  /** Makes Poly1305's key of the first block (RFC 8439 §2.6) and authenticates the additional data. */
  #begin(aad: Uint8Array | undefined): void {
    this.#bytes.fill(0, 0, 64);
    chachaBlocks(this.#state, this.#words, 0, 1);
    this.#poly.start(this.#longs);
    if (aad === undefined) return;
    for (let at = 0; at < aad.length; at += SCRATCH_BYTES) {
      const part = aad.subarray(at, at + SCRATCH_BYTES);
      this.#bytes.set(part);
      this.#absorb(0, part.length, true);
    }
  }

  /** Authenticates the lengths and writes the tag to the first 16 bytes of the scratch area. */
  #finish(aad: Uint8Array | undefined, length: number): void {
    const longs = this.#longs;
    longs[0] = aad === undefined ? 0n : BigInt(aad.length);
    longs[1] = BigInt(length);
    this.#poly.update(longs, 0, 2);
    this.#poly.finish(longs);
  }

  /** Takes a message through the scratch area; its first byte is the one at `offset` of the first block. */
  #pass(pass: Pass, blocks: Blocks, offset: number, buf: Uint8Array, start: number, end: number): void {
    const bytes = this.#bytes;
    for (let at = start; at < end; ) {
      const part = Math.min(SCRATCH_BYTES - offset, end - at);
      const view = buf.subarray(at, at + part);
      bytes.set(view, offset);
      if (pass !== 'verify') {
        blocks(this.#state, this.#words, 0, (offset + part + 63) >> 6);
        view.set(bytes.subarray(offset, offset + part));
      }
      if (pass !== 'open') this.#absorb(offset, part, blocks === chachaBlocks);
      offset = 0;
      at += part;
    }
  }

  /** Authenticates `length` bytes of the scratch area. What is no whole block is padded, or else marked as the last. */
  #absorb(from: number, length: number, isPadded: boolean): void {
    const to = from + length;
    const rest = length & 15;
    if (rest > 0) this.#bytes.fill(0, to, to + 16 - rest);
    const whole = isPadded && rest > 0 ? to + 16 - rest : to - rest;
    this.#poly.update(this.#longs, from >> 3, whole >> 3);
    if (!isPadded && rest > 0) this.#poly.updateLast(this.#longs, whole >> 3, rest);
  }

  /** Compares the tag in the scratch area with `tag[at, at + 16)`. */
  #tagFits(tag: Uint8Array, at: number): boolean {
    const own = this.#tag;
    let difference = 0;
    for (let i = 0; i < TAG_BYTES; i++) difference |= own[i]! ^ tag[at + i]!;
    return difference === 0;
  }

  /** The state of Salsa20 under the key that HSalsa20 makes of a key and 16 bytes. */
  #useHSalsa(key: Uint8Array, nonce: readonly number[]): void {
    const s = this.#state;
    this.#bytes.set(key);
    for (let i = 0; i < 4; i++) {
      s[5 * i] = SIGMA[i]!;
      s[1 + i] = this.#words[i]!;
      s[6 + i] = nonce[i]!;
      s[11 + i] = this.#words[4 + i]!;
    }
    const x = this.#roundsOnly(salsaBlocks);
    for (let i = 0; i < 4; i++) {
      s[1 + i] = x[5 * i]!;
      s[11 + i] = x[6 + i]!;
    }
    x.fill(0);
  }

  /** What the rounds make of the state: the core adds its input to that, which is taken off again. */
  #roundsOnly(blocks: Blocks): number[] {
    const x = this.#state.slice();
    this.#bytes.fill(0, 0, 64);
    blocks(this.#state, this.#words, 0, 1);
    for (let i = 0; i < 16; i++) x[i] = (this.#words[i]! - x[i]!) | 0;
    return x;
  }

  /** A nonce as 32-bit words. */
  #wordsOf(nonce: Uint8Array): number[] {
    this.#bytes.set(nonce);
    return Array.from(this.#words.subarray(0, nonce.length >> 2));
  }
}
