/** mac1, mac2 and cookies by themselves. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { MacChecker, openCookieReply, sourceBytes, writeMacs } from '../../lib/wireguard/mac.ts';
import { at, repeated, seededRandom } from './support.ts';

const test = suite('macs');
const crypto = createNobleSuite();
const OWN = repeated(3);
const OTHER = repeated(4);
const MAC1 = 116;
const SOURCE = sourceBytes(at('192.0.2.7:7'));

/** A checker and a message to it at offset 9. */
function setup(cookie?: Uint8Array) {
  const checker = new MacChecker(crypto, seededRandom(1), OWN);
  const message = new Uint8Array(170).fill(0x33);
  writeMacs(crypto, message, 9, MAC1, OWN, cookie);
  return { checker, message };
}

/** The cookie that a checker gives to a source. */
function cookieOf(checker: MacChecker, nowMs: number, source: Uint8Array): Uint8Array {
  const reply = new Uint8Array(64);
  checker.writeCookieReply(nowMs, reply, 1, repeated(9, 16), source);
  return openCookieReply(crypto, reply, 0, OWN, repeated(9, 16))!;
}

test('mac1 is keyed with the public key of the recipient, not of the sender', () => {
  const { checker, message } = setup();
  assert.ok(checker.hasMac1(message, 9, MAC1));
  writeMacs(crypto, message, 9, MAC1, OTHER, undefined);
  assert.not(checker.hasMac1(message, 9, MAC1));
});

test('mac1 covers every byte in front of it', () => {
  const { checker, message } = setup();
  for (let i = 9; i < 9 + MAC1 + 16; i++) {
    message[i]! ^= 1;
    assert.not(checker.hasMac1(message, 9, MAC1), `byte ${i}`);
    message[i]! ^= 1;
  }
  message[8]! ^= 1;
  assert.ok(checker.hasMac1(message, 9, MAC1));
});

test('mac2 is zero without a cookie and right with the one that was given', () => {
  const { checker, message } = setup();
  assert.equal(message.slice(9 + MAC1 + 16, 9 + MAC1 + 32), repeated(0, 16));
  const cookie = cookieOf(checker, 0, SOURCE);
  writeMacs(crypto, message, 9, MAC1, OWN, cookie);
  assert.ok(checker.hasMac2(0, message, 9, MAC1, SOURCE));
  message[9 + MAC1]! ^= 1;
  assert.not(checker.hasMac2(0, message, 9, MAC1, SOURCE), 'mac2 covers mac1');
});

test('a cookie for one port or address is not valid for another', () => {
  const { checker, message } = setup();
  writeMacs(crypto, message, 9, MAC1, OWN, cookieOf(checker, 0, SOURCE));
  for (const other of ['192.0.2.7:8', '192.0.2.8:7', '[2001:db8::7]:7'])
    assert.not(checker.hasMac2(0, message, 9, MAC1, sourceBytes(at(other))), other);
  assert.ok(checker.hasMac2(0, message, 9, MAC1, sourceBytes(at('[::ffff:192.0.2.7]:7'))));
});

test('no mac2 is right before a cookie was ever given, zeros included', () => {
  const { checker, message } = setup();
  assert.not(checker.hasMac2(0, message, 9, MAC1, SOURCE));
  const zeros = new Uint8Array(16);
  crypto.mac(zeros, new Uint8Array(32), SOURCE, 0, SOURCE.length);
  writeMacs(crypto, message, 9, MAC1, OWN, zeros);
  assert.not(checker.hasMac2(0, message, 9, MAC1, SOURCE));
});

test('cookies are good until 1 ms before 120 s, then the secret is new', () => {
  const { checker, message } = setup();
  const cookie = cookieOf(checker, 1000, SOURCE);
  writeMacs(crypto, message, 9, MAC1, OWN, cookie);
  assert.ok(checker.hasMac2(120_999, message, 9, MAC1, SOURCE));
  assert.equal(cookieOf(checker, 120_999, SOURCE), cookie);
  assert.not(checker.hasMac2(121_000, message, 9, MAC1, SOURCE));
  assert.not.equal(cookieOf(checker, 121_000, SOURCE), cookie);
});

test('a cookie reply is bound to the message that it answers and to who answers', () => {
  const { checker } = setup();
  const reply = new Uint8Array(64);
  checker.writeCookieReply(0, reply, 0x0403_0201, repeated(9, 16), SOURCE);
  assert.equal(reply.slice(0, 8), Uint8Array.of(3, 0, 0, 0, 1, 2, 3, 4));
  assert.ok(openCookieReply(crypto, reply, 0, OWN, repeated(9, 16)) !== undefined);
  assert.is(openCookieReply(crypto, reply, 0, OWN, repeated(8, 16)), undefined);
  assert.is(openCookieReply(crypto, reply, 0, OTHER, repeated(9, 16)), undefined);
  reply[40]! ^= 1;
  assert.is(openCookieReply(crypto, reply, 0, OWN, repeated(9, 16)), undefined);
});

test('nonces of cookie replies differ', () => {
  const { checker } = setup();
  const [one, two] = [new Uint8Array(64), new Uint8Array(64)];
  checker.writeCookieReply(0, one, 1, repeated(9, 16), SOURCE);
  checker.writeCookieReply(0, two, 1, repeated(9, 16), SOURCE);
  assert.not.equal(one.slice(8, 32), two.slice(8, 32));
});

test('the source is address and port; a zone does not count and nonsense does not throw', () => {
  assert.equal(sourceBytes({ address: 'fe80::1%eth0', port: 258 }), sourceBytes({ address: 'fe80::1', port: 258 }));
  assert.equal(
    sourceBytes({ address: '1.2.3.4', port: 258 }),
    Uint8Array.of(...new Array(10).fill(0), 255, 255, 1, 2, 3, 4, 1, 2),
  );
  assert.equal(sourceBytes({ address: 'nonsense', port: 0 }), new Uint8Array(18));
});

test('after wiping no cookie is good', () => {
  const { checker, message } = setup();
  writeMacs(crypto, message, 9, MAC1, OWN, cookieOf(checker, 0, SOURCE));
  checker.wipe();
  assert.not(checker.hasMac2(0, message, 9, MAC1, SOURCE));
});

test.run();
