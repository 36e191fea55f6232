/** One session: counters, limits, replays and ages. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeU32LE } from '../../lib/base/bytes.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { REJECT_AFTER_MESSAGES } from '../../lib/wireguard/constants.ts';
import { Session } from '../../lib/wireguard/session.ts';
import { ReplayWindow } from '../../lib/wireguard/replay.ts';
import { reason, repeated, seededWords } from './support.ts';

const test = suite('session');
const crypto = createNobleSuite();

function pairOf(rejectAfterMessages = REJECT_AFTER_MESSAGES) {
  const base = { peerId: 0, isInitiator: true, createdMs: 0, limits: { replayBits: 64, rejectAfterMessages } };
  const [one, two] = [repeated(1), repeated(2)];
  return {
    a: new Session(crypto, { ...base, localIndex: 10, remoteIndex: 20, sendKey: one, receiveKey: two }),
    b: new Session(crypto, { ...base, localIndex: 20, remoteIndex: 10, sendKey: two, receiveKey: one }),
  };
}

/** A sealed datagram at offset 3 of a larger buffer. */
function sealed(session: Session, length = 16): Uint8Array {
  const buf = new Uint8Array(length + 40).fill(0x55);
  session.seal(buf, 19, 19 + length);
  return buf.slice(3, 3 + length + 32);
}

function open(session: Session, datagram: Uint8Array): number | string {
  const result = session.open(datagram.slice(), 0, datagram.length);
  return reason(result) ?? result;
}

test('what one side seals the other opens, with receiver index and counter in the header', () => {
  const { a, b } = pairOf();
  const first = sealed(a);
  assert.equal(first.slice(0, 16), Uint8Array.of(4, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  assert.is(open(b, first), 16);
  const second = sealed(a, 0);
  assert.is(second[8], 1);
  assert.is(open(b, second), 0);
  assert.is(open(a, first), 'wg-data-decrypt');
});

for (const origin of [2 ** 31 - 2, 2 ** 32 - 2, 2 ** 33 + 5, 2 ** 48, REJECT_AFTER_MESSAGES - 4]) {
  test(`counters from ${origin} on go up by one and are all different on the wire`, () => {
    const { a, b } = pairOf();
    a.sendCounter = origin;
    const seen = new Set<string>();
    for (let i = 0; i < 4; i++) {
      const datagram = sealed(a);
      seen.add(datagram.slice(8, 16).join());
      const [low, high] = [(origin + i) % 2 ** 32, Math.floor((origin + i) / 2 ** 32)];
      const expected = new Uint8Array(8);
      writeU32LE(expected, 0, low);
      writeU32LE(expected, 4, high);
      assert.equal(datagram.slice(8, 16), expected);
      assert.is(open(b, datagram), 16);
      assert.is(open(b, datagram), 'wg-replay');
    }
    assert.is(seen.size, 4);
  });
}

test('a session stops sending at its limit, long before numbers lose their last digit', () => {
  const { a } = pairOf();
  a.sendCounter = REJECT_AFTER_MESSAGES - 1;
  assert.ok(a.canSend(0));
  sealed(a);
  assert.not(a.canSend(0));
  assert.ok(Number.isSafeInteger(a.sendCounter));
});

test('counters at the limit and above are refused, up to 2^64-1, and do no harm', () => {
  const { a, b } = pairOf(1000);
  for (const [low, high] of [
    [1000, 0],
    [1001, 0],
    [0, 1],
    [0, 0x20_0000],
    [0xffff_ffff, 0x1f_ffff],
    [0xffff_dfff, 0xffff_ffff],
    [0xffff_ffff, 0xffff_ffff],
  ] as const) {
    const datagram = sealed(a);
    writeU32LE(datagram, 8, low);
    writeU32LE(datagram, 12, high);
    assert.is(open(b, datagram), 'wg-counter-limit');
  }
  a.sendCounter = 999;
  assert.is(open(b, sealed(a)), 16);
});

test('the limit of the foreign list, 2^64 - 2^13 - 1, is refused', () => {
  const { a, b } = pairOf();
  const datagram = sealed(a);
  writeU32LE(datagram, 8, 0xffff_dfff);
  writeU32LE(datagram, 12, 0xffff_ffff);
  assert.is(open(b, datagram), 'wg-counter-limit');
});

test('a forged packet with a high counter does not move the window', () => {
  const { a, b } = pairOf();
  const datagrams = [0, 1, 2].map(() => sealed(a));
  const forged = datagrams[0]!.slice();
  writeU32LE(forged, 8, 1_000_000);
  assert.is(open(b, forged), 'wg-data-decrypt');
  for (const datagram of datagrams) assert.is(open(b, datagram), 16);
});

test('a changed tag is refused and the true packet still accepted', () => {
  const { a, b } = pairOf();
  const datagram = sealed(a, 0);
  for (let at = 16; at < 32; at++) {
    const bad = datagram.slice();
    bad[at]! ^= 1;
    assert.is(open(b, bad), 'wg-data-decrypt');
  }
  assert.is(open(b, datagram), 0);
});

test('a keepalive cannot be replayed either', () => {
  const { a, b } = pairOf();
  const datagram = sealed(a, 0);
  assert.is(open(b, datagram), 0);
  assert.is(open(b, datagram), 'wg-replay');
});

for (const inOrder of [0, 1, 5, 100]) {
  test(`${inOrder} packets in order, then losses, delays and replays: as by a window from the first packet on`, () => {
    const word = seededWords(inOrder + 1);
    const { a, b } = pairOf();
    const window = new ReplayWindow(64, REJECT_AFTER_MESSAGES);
    const datagrams: Uint8Array[] = [];
    const deliver = (counter: number) => {
      while (datagrams.length <= counter) datagrams.push(sealed(a));
      assert.is(open(b, datagrams[counter]!), window.isFresh(counter) ? 16 : 'wg-replay', `counter ${counter}`);
      if (window.isFresh(counter)) window.mark(counter);
      assert.is(b.receiveCounter, window.greatest);
    };
    for (let i = 0; i < inOrder; i++) deliver(i);
    for (let i = 0; i < inOrder; i += 3) deliver(i);
    for (let i = 0; i < 200; i++) deliver(Math.max(0, window.greatest + 3 - (word() % (word() % 8 === 0 ? 70 : 8))));
  });
}

test('it neither sends nor receives from 180 s on', () => {
  const { a } = pairOf();
  assert.ok(a.canSend(179_999) && a.canReceive(179_999));
  assert.not(a.canSend(180_000) || a.canReceive(180_000));
});

test('after wiping it can do nothing any more', () => {
  const { a, b } = pairOf();
  const datagram = sealed(a);
  a.wipe();
  b.wipe();
  assert.ok(a.isWiped);
  assert.throws(() => sealed(a), /wiped/);
  assert.throws(() => open(b, datagram), /wiped/);
});

test.run();
