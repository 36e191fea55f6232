/** The pattern IK: both roles byte for byte, and what each step refuses. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex, utf8Encode } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { IK_FIRST_BYTES, IK_SECOND_BYTES, Ik } from '../../lib/noise/ik.ts';
import { hex } from '../crypto/support.ts';

const test = suite('ik');
const crypto = createNobleSuite();
const NOTHING = new Uint8Array(0);
const PROLOGUE = utf8Encode('Tailscale Control Protocol v145');
const bytes = (value: number) => new Uint8Array(32).fill(value);
const publicOf = (secret: Uint8Array) => {
  const out = new Uint8Array(32);
  crypto.publicKey(out, secret);
  return out;
};
const [si, ei, sr, er] = [bytes(0x11), bytes(0x22), bytes(0x33), bytes(0x44)];
const [Si, Sr] = [publicOf(si), publicOf(sr)];

function first(prologue = PROLOGUE, responder = Sr) {
  const noise = new Ik(crypto, prologue, responder);
  const message = new Uint8Array(IK_FIRST_BYTES);
  const result = noise.writeFirst(message, ei, si, Si, NOTHING);
  return { noise, message, result };
}

function read(message: Uint8Array, secret = sr, prologue = PROLOGUE) {
  const noise = new Ik(crypto, prologue, publicOf(secret));
  const caller = new Uint8Array(32);
  const result = noise.readFirst(caller, NOTHING, message, secret);
  return { noise, caller, result };
}

function second(noise: Ik) {
  const message = new Uint8Array(IK_SECOND_BYTES);
  assert.is(noise.writeSecond(message, er, NOTHING), 'ok');
  return message;
}

test('messages, hash and keys are right byte for byte', () => {
  const initiator = first();
  assert.is(
    toHex(initiator.message),
    '0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f2061d2949213e755bc180b5d5dbbd8c50a' +
      '2a1beb69f8940d24cab4606a34cd5d417919c6f9474000703def54c272c14b2560acd658eb99aaf547a8893b9fd52502',
  );
  const responder = read(initiator.message);
  assert.is(responder.result, 'ok');
  assert.is(toHex(responder.caller), '7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13');
  const answer = second(responder.noise);
  assert.is(
    toHex(answer),
    'ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b8d49996f4858df908612ea5208c39084',
  );
  assert.is(initiator.noise.readSecond(NOTHING, answer, si), 'ok');
  for (const noise of [initiator.noise, responder.noise]) {
    const [clientKey, serverKey] = [new Uint8Array(32), new Uint8Array(32)];
    noise.split(clientKey, serverKey);
    assert.is(toHex(clientKey), 'd9811dd6a320dc8484bb37ea989640c99f99a8582f50b829e347bd75da510717');
    assert.is(toHex(serverKey), '8561e3fd4551ed82ee22220925e41e923d64b1c04b856f8ec1eaa544a511a427');
    assert.is(toHex(noise.handshakeHash()), 'e0b66189323d867a179fe6cf7af381b1a43ac77d51cefa32cb85ad923418974f');
  }
});

test('payloads travel in both messages', () => {
  const initiator = new Ik(crypto, PROLOGUE, Sr);
  const there = utf8Encode('there');
  const message = new Uint8Array(IK_FIRST_BYTES + there.length);
  assert.is(initiator.writeFirst(message, ei, si, Si, there), 'ok');
  const responder = new Ik(crypto, PROLOGUE, Sr);
  const got = new Uint8Array(there.length);
  assert.is(responder.readFirst(new Uint8Array(32), got, message, sr), 'ok');
  assert.equal(got, there);
  const back = utf8Encode('and back');
  const answer = new Uint8Array(IK_SECOND_BYTES + back.length);
  assert.is(responder.writeSecond(answer, er, back), 'ok');
  const gotBack = new Uint8Array(back.length);
  assert.is(initiator.readSecond(gotBack, answer, si), 'ok');
  assert.equal(gotBack, back);
});

test('any changed byte of the first message is refused', () => {
  const { message } = first();
  for (let i = 0; i < message.length; i++) {
    const changed = message.slice();
    changed[i]! ^= 1;
    assert.is(read(changed).result, 'decrypt', `byte ${i}`);
  }
});

test('any changed byte of the second message is refused', () => {
  const { message } = first();
  const answer = second(read(message).noise);
  for (let i = 0; i < answer.length; i++) {
    const changed = answer.slice();
    changed[i]! ^= 1;
    assert.is(first().noise.readSecond(NOTHING, changed, si), 'decrypt', `byte ${i}`);
  }
});

test('another prologue or another responder does not fit', () => {
  assert.is(read(first(utf8Encode('Tailscale Control Protocol v144')).message).result, 'decrypt');
  assert.is(read(first(PROLOGUE, publicOf(bytes(0x55))).message).result, 'decrypt');
});

test('keys of low order are refused on both sides', () => {
  const zero = new Uint8Array(32);
  assert.is(first(PROLOGUE, zero).result, 'low-order');
  const { message, noise } = first();
  const low = message.slice();
  low.fill(0, 0, 32);
  assert.is(read(low).result, 'low-order');
  assert.is(noise.readSecond(NOTHING, new Uint8Array(IK_SECOND_BYTES), si), 'low-order');
});

test('a static key of low order inside a genuine message is refused', () => {
  const noise = new Ik(crypto, PROLOGUE, Sr);
  const message = new Uint8Array(IK_FIRST_BYTES);
  assert.is(noise.writeFirst(message, ei, si, new Uint8Array(32), NOTHING), 'ok');
  assert.is(read(message).result, 'low-order');
});

test('after wiping, neither hash nor keys of the handshake are left', () => {
  const { noise } = first();
  noise.wipe();
  assert.equal(noise.handshakeHash(), hex('00'.repeat(32)));
});

test.run();
