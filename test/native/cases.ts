/**
 * Cases for the program of harness/driver.c with the results that the portable libraries give: random ones of every
 * length and kind, and Wycheproof's. One line per case, as the program reads them.
 */
import { poly1305 } from '@noble/ciphers/_poly1305.js';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { ed25519 as ed25519Curve } from '@noble/curves/ed25519.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { toHex } from '../../lib/base/bytes.ts';
import { deriveBoxKey } from '../../lib/crypto/box.ts';
import { createNobleEd25519 } from '../../lib/crypto/ed25519-noble.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { SMALL_ORDER } from '../crypto/contract-ed25519.ts';
import { casesOf, hex, Seeded } from '../crypto/support.ts';
import chacha from '../vectors/wycheproof-chacha20-poly1305.json' with { type: 'json' };
import signatures from '../vectors/wycheproof-ed25519.json' with { type: 'json' };
import x25519 from '../vectors/wycheproof-x25519.json' with { type: 'json' };
import xchacha from '../vectors/wycheproof-xchacha20-poly1305.json' with { type: 'json' };

/** A line for the program and the line that it has to answer. */
export interface Case {
  readonly line: string;
  readonly answer: string;
}

const REFUSED = 'no';
const portable = createNobleSuite();
const ed25519 = createNobleEd25519();

function text(bytes: Uint8Array): string {
  return bytes.length === 0 ? '-' : toHex(bytes);
}

function makeCase(name: string, args: readonly Uint8Array[], answer: Uint8Array | string): Case {
  return { line: [name, ...args.map(text)].join(' '), answer: typeof answer === 'string' ? answer : text(answer) };
}

/** Wycheproof's cases of X25519, both AEADs and Ed25519; those with a nonce of another size are the binding's. */
export function wycheproofCases(): Case[] {
  const cases = casesOf(x25519, 518).map(({ private: secret, public: point, shared }) =>
    makeCase('x25519', [hex(secret!), hex(point!)], shared!),
  );
  for (const [file, count, nonceBytes] of [[chacha, 325, 12] as const, [xchacha, 315, 24] as const]) {
    for (const { result, key, iv, aad, msg, ct, tag } of casesOf(file, count)) {
      if (hex(iv!).length !== nonceBytes) continue;
      const parts = [hex(key!), hex(iv!), hex(aad!)];
      const isValid = result === 'valid';
      cases.push(makeCase('open', [...parts, hex(ct! + tag!)], isValid ? hex(msg!) : REFUSED));
      if (isValid) cases.push(makeCase('seal', [...parts, hex(msg!)], hex(ct! + tag!)));
    }
  }
  for (const { pk, msg, sig } of casesOf(signatures, 151)) {
    const [key, message, signature] = [hex(pk!), hex(msg!), hex(sig!)];
    if (signature.length !== 64) continue;
    cases.push(verifyCase(key, message, signature));
  }
  return cases;
}

function verifyCase(key: Uint8Array, message: Uint8Array, signature: Uint8Array): Case {
  const isValid = ed25519.verify(key, message, signature);
  return makeCase('ed25519-verify', [key, message, signature], isValid ? '01' : REFUSED);
}

/** `count` random cases; the same seed gives the same. Every length up to 200 comes first. */
export function randomCases(seed: number, count: number): Case[] {
  const seeded = new Seeded(seed);
  const cases: Case[] = [];
  for (let i = 0; i < count; i++) {
    const length = i < 200 ? i : seeded.below(1500);
    cases.push(...sealCases(seeded, length), ...boxCases(seeded, length), ...hashCases(seeded, length));
  }
  return cases;
}

function sealCases(seeded: Seeded, length: number): Case[] {
  const cases: Case[] = [];
  for (const nonceBytes of [12, 24]) {
    const key = seeded.bytes(32);
    const nonce = edgeBytes(seeded, nonceBytes);
    const aad = seeded.bytes(seeded.below(40));
    const plaintext = edgeBytes(seeded, length);
    const sealed = new Uint8Array(length + 16);
    if (nonceBytes === 12) portable.aeadSeal(sealed, key, nonce, aad, plaintext);
    else portable.xaeadSeal(sealed, key, nonce, aad, plaintext);
    cases.push(makeCase('seal', [key, nonce, aad, plaintext], sealed));
    cases.push(makeCase('open', [key, nonce, aad, sealed], plaintext));
    sealed[seeded.below(sealed.length)]! ^= 1 << seeded.below(8);
    cases.push(makeCase('open', [key, nonce, aad, sealed], REFUSED));
  }
  return cases;
}

function boxCases(seeded: Seeded, length: number): Case[] {
  const [key, nonce] = [seeded.bytes(32), seeded.bytes(24)];
  const plaintext = edgeBytes(seeded, length);
  const sealed = xsalsa20poly1305(key, nonce).encrypt(plaintext);
  const boxKey = key.slice();
  deriveBoxKey(boxKey);
  const tampered = sealed.slice();
  tampered[seeded.below(sealed.length)]! ^= 1 << seeded.below(8);
  return [
    makeCase('box', [key, nonce, plaintext], sealed),
    makeCase('unbox', [key, nonce, sealed], plaintext),
    makeCase('unbox', [key, nonce, tampered], REFUSED),
    makeCase('hsalsa20', [key, new Uint8Array(16)], boxKey),
  ];
}

function hashCases(seeded: Seeded, length: number): Case[] {
  const message = edgeBytes(seeded, length);
  const key = seeded.bytes(seeded.below(33));
  const dkLen = 1 + seeded.below(32);
  const piece = Uint8Array.of(1 + seeded.below(255));
  const macKey = seeded.bytes(seeded.below(65));
  const split = seeded.below(length + 1);
  const mac = new Uint8Array(32);
  portable.hmac(mac, macKey, message);
  const options = key.length === 0 ? { dkLen } : { dkLen, key };
  return [
    makeCase('blake2s', [key, message, Uint8Array.of(dkLen), piece], blake2s(message, options)),
    makeCase('hmac', [macKey, message.subarray(0, split), message.subarray(split)], mac),
    makeCase('sha512', [message, piece], sha512(message)),
  ];
}

/**
 * `count` cases of Poly1305 alone with multipliers and blocks at the borders of limbs, where sums reach p and 2^130: the
 * one-time keys of a cipher never come there.
 */
export function polyCases(seed: number, count: number): Case[] {
  const seeded = new Seeded(seed);
  const cases: Case[] = [];
  for (let i = 0; i < count; i++) {
    const key = edgeBytes(seeded, 32);
    if (i % 2 === 0) key.fill(0, 0, 16).fill(1 + seeded.below(4), 0, 1); // r = 1 to 4
    const message = new Uint8Array(1 + seeded.below(80)).fill(255);
    // Around 2^130 - 5: r = 1 and blocks of which the last decides.
    for (let changes = seeded.below(4); changes > 0; changes--)
      message[seeded.below(6) === 0 ? seeded.below(message.length) : 16 * seeded.below((message.length + 15) >> 4)] =
        seeded.below(2) === 0 ? 250 + seeded.below(6) : seeded.below(6);
    cases.push(makeCase('poly1305', [key, message, Uint8Array.of(1 + seeded.below(40))], poly1305(message, key)));
  }
  // RFC 8439 appendix A.3, the cases from 7 on: one block more or less than p, and a sum of 2^130.
  const f = 'ff'.repeat(15);
  for (const [r, s, message] of [
    ['02', '00', `ff${f}`],
    ['02', 'ff', `02${'00'.repeat(15)}`],
    ['01', '00', `ff${f}f0${f}11${'00'.repeat(15)}`],
    ['01', '00', `ff${f}fb${'fe'.repeat(15)}${'01'.repeat(16)}`],
    ['02', '00', `fd${f}`],
  ] as const) {
    const key = hex(r + '00'.repeat(15) + (s === 'ff' ? s.repeat(16) : '00'.repeat(16)));
    cases.push(makeCase('poly1305', [key, hex(message), Uint8Array.of(16)], poly1305(hex(message), key)));
  }
  return cases;
}

/**
 * X25519 with results from 1 to `limit`: numbers so small that they and their sum with p have the same upper limbs. The
 * point is the result divided by the scalar, for results that lie in the group of prime order.
 */
export function smallResultCases(seed: number, limit: number): Case[] {
  const seeded = new Seeded(seed);
  const { Point } = ed25519Curve;
  const { Fp, Fn } = Point;
  const cases: Case[] = [];
  for (let u = 2n; u <= BigInt(limit); u++) {
    const y = Fp.div(Fp.sub(u, 1n), Fp.add(u, 1n));
    const point = pointOf(Fp.toBytes(y));
    if (point === undefined || !point.isTorsionFree()) continue;
    const secret = seeded.bytes(32);
    secret[0]! &= 248;
    secret[31] = (secret[31]! & 127) | 64;
    const scalar = Fn.create(BigInt(`0x${toHex(secret.slice().reverse())}`));
    const { y: v } = point.multiply(Fn.inv(scalar)).toAffine();
    const from = Fp.toBytes(Fp.div(Fp.add(1n, v), Fp.sub(1n, v)));
    cases.push(makeCase('x25519', [secret, from], Fp.toBytes(u)));
  }
  return cases;
}

function pointOf(bytes: Uint8Array): InstanceType<typeof ed25519Curve.Point> | undefined {
  try {
    return ed25519Curve.Point.fromBytes(bytes);
  } catch {
    return undefined;
  }
}

/** `count` random cases of the curve: agreement, keys, signing and verifying, with points that are special. */
export function curveCases(seed: number, count: number): Case[] {
  const seeded = new Seeded(seed);
  const cases: Case[] = [];
  for (let i = 0; i < count; i++) {
    const [secret, point, shared] = [edgeBytes(seeded, 32), edgeBytes(seeded, 32), new Uint8Array(32)];
    portable.dh(shared, secret, point);
    cases.push(makeCase('x25519', [secret, point], shared));
    if (i % 4 > 0) continue;
    const message = seeded.bytes(seeded.below(200));
    const [key, signature] = [new Uint8Array(32), new Uint8Array(64)];
    ed25519.publicKey(key, secret);
    ed25519.sign(signature, secret, message);
    cases.push(makeCase('ed25519-public', [secret], key));
    cases.push(makeCase('ed25519-sign', [secret, message], signature));
    cases.push(verifyCase(key, message, signature));
    const special = hex(SMALL_ORDER[seeded.below(14)]! + SMALL_ORDER[seeded.below(14)]!);
    const zeros = new Uint8Array(32);
    cases.push(verifyCase(special.subarray(32), message, new Uint8Array([...special.subarray(0, 32), ...zeros])));
    signature[seeded.below(64)]! ^= 1 << seeded.below(8);
    cases.push(verifyCase(key, message, signature));
    cases.push(verifyCase(edgeBytes(seeded, 32), message, new Uint8Array([...special.subarray(0, 32), ...zeros])));
  }
  return cases;
}

/** Random bytes; one time in four with long runs of 00 or ff, where carries run far. */
function edgeBytes(seeded: Seeded, length: number): Uint8Array {
  const bytes = seeded.bytes(length);
  if (seeded.below(4) > 0) return bytes;
  const filler = seeded.below(2) === 0 ? 0 : 255;
  bytes.fill(filler, seeded.below(length + 1));
  if (seeded.below(2) === 0) bytes.fill(filler, 0, seeded.below(length + 1));
  return bytes;
}
