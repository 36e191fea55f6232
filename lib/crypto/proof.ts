/**
 * The proof of a crypto suite: a power-on test, not a test suite. One case per primitive and per way to fail, taken from
 * RFC 7693, RFC 7748 §6.1, RFC 8439 §2.8.2 and draft-irtf-cfrg-xchacha-03 §A.3.1, or (where those have none) computed
 * with an independent implementation. It exists because an engine or a native module can be broken where our tests
 * never ran.
 */
import { equalBytes, fromHex, isAllZero, utf8Encode } from '../base/bytes.ts';
import type { CryptoSuite } from './suite.ts';

/** Whether the suite gives the known results. A suite that throws or traps does not prove itself. Four `dh` of work. */
export function provesItself(suite: CryptoSuite): boolean {
  try {
    return PROOFS.every(proof => proof(suite));
  } catch {
    return false;
  }
}

const PROOFS = Object.freeze([
  provesHash,
  provesHmac,
  provesMac,
  provesPublicKey,
  provesDh,
  provesAead,
  provesXaead,
  provesBox,
  provesCipher,
]);

const SUNSCREEN =
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";

function provesHash(suite: CryptoSuite): boolean {
  const out = new Uint8Array(32);
  suite.hash(out, utf8Encode('abc'));
  if (!is(out, '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982')) return false;
  const input = ramp(0, 200);
  suite.hash(out, input.subarray(0, 77), input.subarray(77));
  return is(out, '6d244e1a06ce4ef578dd0f63aff0936706735119ca9c8d22d86c801414ab9741');
}

function provesHmac(suite: CryptoSuite): boolean {
  const out = new Uint8Array(32);
  suite.hmac(out, ramp(0, 32), ramp(0, 130), ramp(130, 70));
  return is(out, '543eec9b22646365ef782d72dae137cc761d018005f8d33d0f20bfbd01e62974');
}

function provesMac(suite: CryptoSuite): boolean {
  const out = new Uint8Array(16);
  suite.mac(out, ramp(0, 32), ramp(253, 110), 3, 103);
  return is(out, '0b67d33f8b859c3157fbabd9e6e47ed0');
}

/** RFC 7748 §6.1: Alice's secret and public key, Bob's public key, and what they share. */
const ALICE_SECRET = '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a';
const ALICE_PUBLIC = '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a';
const BOB_PUBLIC = 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f';
const SHARED = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';

function provesPublicKey(suite: CryptoSuite): boolean {
  const out = new Uint8Array(32);
  suite.publicKey(out, bytes(ALICE_SECRET));
  return is(out, ALICE_PUBLIC);
}

function provesDh(suite: CryptoSuite): boolean {
  const out = new Uint8Array(32);
  if (!suite.dh(out, bytes(ALICE_SECRET), bytes(BOB_PUBLIC)) || !is(out, SHARED)) return false;
  return !suite.dh(out, bytes(ALICE_SECRET), new Uint8Array(32)) && isAllZero(out);
}

/** RFC 8439 §2.8.2, also the additional data of the XChaCha case. */
const AAD = '50515253c0c1c2c3c4c5c6c7';
const SEALED =
  'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6' +
  '3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36' +
  '92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc' +
  '3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691';

function provesAead(suite: CryptoSuite): boolean {
  const key = ramp(0x80, 32);
  const nonce = bytes('070000004041424344454647');
  const aad = bytes(AAD);
  const sealed = new Uint8Array(SUNSCREEN.length + 16);
  suite.aeadSeal(sealed, key, nonce, aad, utf8Encode(SUNSCREEN));
  if (!is(sealed, SEALED)) return false;
  const opened = new Uint8Array(SUNSCREEN.length);
  if (!suite.aeadOpen(opened, key, nonce, aad, sealed) || !equalBytes(opened, utf8Encode(SUNSCREEN))) return false;
  sealed[sealed.length - 1]! ^= 0x80;
  return !suite.aeadOpen(opened, key, nonce, aad, sealed) && isAllZero(opened);
}

const XSEALED =
  'bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb' +
  '731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452' +
  '2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9' +
  '21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49';

function provesXaead(suite: CryptoSuite): boolean {
  const key = ramp(0x80, 32);
  const nonce = ramp(0x40, 24);
  const aad = bytes(AAD);
  const sealed = new Uint8Array(SUNSCREEN.length + 16);
  suite.xaeadSeal(sealed, key, nonce, aad, utf8Encode(SUNSCREEN));
  if (!is(sealed, XSEALED)) return false;
  const opened = new Uint8Array(SUNSCREEN.length);
  if (!suite.xaeadOpen(opened, key, nonce, aad, sealed) || !equalBytes(opened, utf8Encode(SUNSCREEN))) return false;
  sealed[0]! ^= 1;
  return !suite.xaeadOpen(opened, key, nonce, aad, sealed) && isAllZero(opened);
}

/** "Cryptography in NaCl" §8 (the key of a box between Alice and Bob), and a sealed ramp of 70 bytes. */
const BOX_KEY = '1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389';
const BOXED =
  'c98334e005a029c6deee8da8abe7c17f97192644ea6f1f228db40b4231aa93b6' +
  '13f7a3d2883830998d9a501039d5a47469df462ffdac69f37fc026665769273f' +
  '53a0ed0410912998e8ce91d943bad07c036a5246e56e';

function provesBox(suite: CryptoSuite): boolean {
  const key = new Uint8Array(32);
  if (!suite.boxKey(key, bytes(ALICE_SECRET), bytes(BOB_PUBLIC)) || !is(key, BOX_KEY)) return false;
  const nonce = ramp(0x40, 24);
  const sealed = new Uint8Array(86);
  suite.boxSeal(sealed, key, nonce, ramp(0, 70));
  if (!is(sealed, BOXED)) return false;
  const opened = new Uint8Array(70);
  if (!suite.boxOpen(opened, key, nonce, sealed) || !equalBytes(opened, ramp(0, 70))) return false;
  sealed[0]! ^= 1;
  if (suite.boxOpen(opened, key, nonce, sealed) || !isAllZero(opened)) return false;
  return !suite.boxKey(key, bytes(ALICE_SECRET), new Uint8Array(32)) && isAllZero(key);
}

/** 300 bytes at an odd offset, with a counter of more than 32 bits; checked by the hash of ciphertext and tag. */
function provesCipher(suite: CryptoSuite): boolean {
  const counter = 2 ** 32 + 1;
  const cipher = suite.createCipher(ramp(0, 32));
  const plaintext = new Uint8Array(300);
  for (let i = 0; i < plaintext.length; i++) plaintext[i] = i * 7;
  const buf = new Uint8Array(330);
  buf.set(plaintext, 3);
  cipher.seal(counter, buf, 3, 303);
  const digest = new Uint8Array(32);
  suite.hash(digest, buf.subarray(3, 319));
  if (!is(digest, '70ab88b9126e7ca332ba237137b89651827e267dad0bc97da701fe9028df701d')) return false;
  const tampered = buf.slice();
  tampered[318]! ^= 1;
  if (cipher.open(counter, tampered, 3, 319)) return false;
  return cipher.open(counter, buf, 3, 319) && equalBytes(buf.subarray(3, 303), plaintext);
}

function bytes(hex: string): Uint8Array {
  return fromHex(hex)!;
}

function is(value: Uint8Array, hex: string): boolean {
  return equalBytes(value, bytes(hex));
}

/** `length` bytes that count up from `first`. */
function ramp(first: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = first + i;
  return out;
}
