/** The pattern IKpsk2: both roles, and what each step refuses. The bytes are checked in test/wireguard/vectors.test.ts. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { FIRST_MESSAGE_OVERHEAD, IkPsk2 } from '../../lib/noise/ikpsk2.ts';

const test = suite('ikpsk2');
const crypto = createNobleSuite();
const SECOND_MESSAGE_BYTES = 48;
const NOTHING = new Uint8Array(0);
const PROLOGUE = utf8Encode('prologue');
const bytes = (value: number, length = 32) => new Uint8Array(length).fill(value);
const publicOf = (secret: Uint8Array) => {
  const out = new Uint8Array(32);
  crypto.publicKey(out, secret);
  return out;
};
const shared = (secret: Uint8Array, publicKey: Uint8Array) => {
  const out = new Uint8Array(32);
  crypto.dh(out, secret, publicKey);
  return out;
};

const [si, ei, sr, er] = [bytes(1), bytes(2), bytes(3), bytes(4)];
const [Si, Sr] = [publicOf(si), publicOf(sr)];
const payload = utf8Encode('payload of the first message');

/** The first message and its writer. */
function first() {
  const noise = new IkPsk2(crypto, PROLOGUE, Sr);
  const message = new Uint8Array(FIRST_MESSAGE_OVERHEAD + payload.length + 16);
  assert.is(noise.writeFirst(message, ei, Si, shared(si, Sr), payload), 'ok');
  return { noise, message };
}

/** A responder that has read the first message. */
function responder(message: Uint8Array) {
  const noise = new IkPsk2(crypto, PROLOGUE, Sr);
  const caller = new Uint8Array(32);
  const read = new Uint8Array(payload.length);
  assert.is(noise.readFirstStatic(caller, message.subarray(0, FIRST_MESSAGE_OVERHEAD), sr), 'ok');
  assert.is(noise.readFirstPayload(read, message.subarray(FIRST_MESSAGE_OVERHEAD), shared(sr, Si)), 'ok');
  return { noise, caller, read };
}

/** A whole handshake up to the second message. */
function both(psk = bytes(5)) {
  const initiator = first();
  const { noise, caller, read } = responder(initiator.message);
  const second = new Uint8Array(SECOND_MESSAGE_BYTES);
  assert.is(noise.writeSecond(second, er, psk, NOTHING), 'ok');
  return { initiator: initiator.noise, responder: noise, caller, read, second };
}

test('both roles agree on keys, hash, caller and payload', () => {
  const { initiator, responder, caller, read, second } = both();
  assert.is(initiator.readSecond(NOTHING, second, si, bytes(5)), 'ok');
  assert.equal(caller, Si);
  assert.equal(read, payload);
  const keys = [0, 0, 0, 0].map(() => new Uint8Array(32));
  initiator.split(keys[0]!, keys[1]!);
  responder.split(keys[2]!, keys[3]!);
  assert.equal([keys[0], keys[1]], [keys[2], keys[3]]);
  assert.not.equal(keys[0], keys[1]);
  assert.equal(initiator.handshakeHash(), responder.handshakeHash());
});

test('messages, hash and keys are right byte for byte', () => {
  // Made with this code after it had given the published vector of the pattern; the keys are those of WireGuard's own.
  const { initiator, second } = both();
  const { message } = first();
  assert.is(
    toHex(message),
    'ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59e071c69040941f890172e72e6662f05122ee15ef25b328c29cd11010e779aa94018a52fbea9466626bda4b1649e1329dca1bd4f76564220e4a53ad551cabe5e75b779d428c9864eb304faf3623880deb777e1d0790465f6f270c4a70',
  );
  const noise = responder(message).noise;
  const payload = utf8Encode('payload of the second');
  const withPayload = new Uint8Array(48 + payload.length);
  assert.is(noise.writeSecond(withPayload, er, bytes(5), payload), 'ok');
  assert.is(
    toHex(withPayload),
    'ac01b2209e86354fb853237b5de0f4fab13c7fcbf433a61c019369617fecf10b981ff13d063cee3a422245a1b83a7a6d39db4bf15e087fedcfcbfebc3a90061c651730cd4d',
  );
  const read = new Uint8Array(payload.length);
  assert.is(initiator.readSecond(read, withPayload, si, bytes(5)), 'ok');
  assert.equal(read, payload);
  assert.is(toHex(initiator.handshakeHash()), '09ab26033d38cc58b435789578268b433fdb5e1e2a84d8e532886559c785cfc7');
  const [send, receive] = [new Uint8Array(32), new Uint8Array(32)];
  initiator.split(send, receive);
  assert.is(toHex(send), '03cbd449e17a6c83186e51c449f2e78e26ea3235f4210f71aa3bf24332b0fa7e');
  assert.is(toHex(receive), '539378d7413e9ea9a531524c1ecd1ffa5739c2c2b03e6b4691b6adeb22a75db6');
  assert.is(second.length, 48);
});

test('a different psk, static key or message is refused', () => {
  const { initiator, second } = both();
  assert.is(initiator.readSecond(NOTHING, second, si, bytes(6)), 'decrypt');
  assert.is(initiator.readSecond(NOTHING, second, bytes(9), bytes(5)), 'decrypt');
  assert.is(initiator.readSecond(NOTHING, second, si, bytes(5)), 'ok');
});

test('a second message that does not fit leaves the handshake as it was', () => {
  const { initiator, second } = both();
  const before = initiator.handshakeHash();
  for (let at = 0; at < second.length; at += 5) {
    const bad = second.slice();
    bad[at]! ^= 1;
    assert.is(initiator.readSecond(NOTHING, bad, si, bytes(5)), 'decrypt', `byte ${at}`);
    assert.equal(initiator.handshakeHash(), before);
  }
  assert.is(initiator.readSecond(NOTHING, new Uint8Array(SECOND_MESSAGE_BYTES), si, bytes(5)), 'low-order');
  assert.equal(initiator.handshakeHash(), before);
  assert.is(initiator.readSecond(NOTHING, second, si, bytes(5)), 'ok');
});

test('a changed byte anywhere in the first message is refused', () => {
  const { message } = first();
  for (let at = 0; at < message.length; at += 9) {
    const bad = message.slice();
    bad[at]! ^= 0x10;
    const noise = new IkPsk2(crypto, PROLOGUE, Sr);
    const opened = noise.readFirstStatic(new Uint8Array(32), bad.subarray(0, FIRST_MESSAGE_OVERHEAD), sr);
    if (at < FIRST_MESSAGE_OVERHEAD) {
      assert.is(opened, 'decrypt', `byte ${at}`);
      continue;
    }
    assert.is(opened, 'ok');
    const rest = bad.subarray(FIRST_MESSAGE_OVERHEAD);
    assert.is(noise.readFirstPayload(new Uint8Array(payload.length), rest, shared(sr, Si)), 'decrypt', `byte ${at}`);
  }
});

test('a caller that only claims a static key fails at the payload', () => {
  const noise = new IkPsk2(crypto, PROLOGUE, Sr);
  const message = new Uint8Array(FIRST_MESSAGE_OVERHEAD + payload.length + 16);
  noise.writeFirst(message, ei, Si, shared(bytes(9), Sr), payload);
  const reader = new IkPsk2(crypto, PROLOGUE, Sr);
  const caller = new Uint8Array(32);
  assert.is(reader.readFirstStatic(caller, message.subarray(0, FIRST_MESSAGE_OVERHEAD), sr), 'ok');
  assert.equal(caller, Si);
  const rest = message.subarray(FIRST_MESSAGE_OVERHEAD);
  assert.is(reader.readFirstPayload(new Uint8Array(payload.length), rest, shared(sr, Si)), 'decrypt');
});

test('a low-order key is refused wherever it comes in', () => {
  const zero = new Uint8Array(32);
  const one = new Uint8Array(32);
  one[0] = 1;
  for (const low of [zero, one]) {
    const toLow = new IkPsk2(crypto, PROLOGUE, low);
    assert.is(toLow.writeFirst(new Uint8Array(124), ei, Si, bytes(7), payload), 'low-order', 'initiator es');

    const { message } = first();
    const bad = message.slice();
    bad.set(low);
    const reader = new IkPsk2(crypto, PROLOGUE, Sr);
    assert.is(reader.readFirstStatic(new Uint8Array(32), bad.subarray(0, FIRST_MESSAGE_OVERHEAD), sr), 'low-order');

    const { initiator, second } = both();
    const badSecond = second.slice();
    badSecond.set(low);
    assert.is(initiator.readSecond(NOTHING, badSecond, si, bytes(5)), 'low-order', 'initiator ee, se');
  }
});

test('a responder mixes nothing of a low-order ephemeral or static key', () => {
  // The first steps are skipped, so that the two later ones meet the keys that the first ones would have refused.
  const fresh = new IkPsk2(crypto, PROLOGUE, Sr);
  assert.is(fresh.writeSecond(new Uint8Array(SECOND_MESSAGE_BYTES), er, bytes(5), NOTHING), 'low-order', 'ee');

  const low = new Uint8Array(32);
  const caller = new IkPsk2(crypto, PROLOGUE, Sr);
  const message = new Uint8Array(FIRST_MESSAGE_OVERHEAD + payload.length + 16);
  caller.writeFirst(message, ei, low, bytes(7), payload);
  const reader = new IkPsk2(crypto, PROLOGUE, Sr);
  assert.is(reader.readFirstStatic(new Uint8Array(32), message.subarray(0, FIRST_MESSAGE_OVERHEAD), sr), 'ok');
  assert.is(reader.writeSecond(new Uint8Array(SECOND_MESSAGE_BYTES), er, bytes(5), NOTHING), 'low-order', 'se');
});

test('wiping a handshake erases its hash', () => {
  const { noise } = first();
  noise.wipe();
  assert.equal(noise.handshakeHash(), new Uint8Array(32));
});

test.run();
