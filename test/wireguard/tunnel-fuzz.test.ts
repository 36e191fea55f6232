/** Any bytes at all: nothing throws, each datagram is used or dropped for exactly one reason, and the tunnel lives on. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeU32LE } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import {
  A,
  A_ENDPOINT,
  B,
  connectedPair,
  packet,
  reason,
  seededWords,
  sendAB,
  sendBA,
  START_MS,
  type TunnelPair,
  tunnel,
  withMacs,
} from './support.ts';
import { fuzzRounds } from '../tools/scale.ts';

const test = suite('tunnel fuzz');
const DATAGRAMS = fuzzRounds(100_000);
const LENGTHS = [0, 1, 3, 4, 31, 32, 33, 63, 64, 65, 91, 92, 93, 147, 148, 149, 1500];

/** One datagram: random, or a real one of the corpus changed, cut, lengthened, or given new macs. */
function mutate(word: () => number, corpus: readonly Uint8Array[], recipient: Uint8Array): Uint8Array {
  if (word() % 4 === 0) {
    const bytes = new Uint8Array(word() % 3 === 0 ? LENGTHS[word() % LENGTHS.length]! : word() % 300);
    for (let i = 0; i < bytes.length; i++) bytes[i] = word();
    if (bytes.length >= 4 && word() % 4 !== 0) writeU32LE(bytes, 0, 1 + (word() % 4));
    return bytes;
  }
  let bytes = corpus[word() % corpus.length]!.slice();
  for (let flips = word() % 4; flips > 0; flips--) bytes[word() % bytes.length]! ^= 1 << (word() & 7);
  if (word() % 8 === 0) bytes = bytes.slice(0, word() % (bytes.length + 1));
  if (word() % 8 === 0) {
    const longer = new Uint8Array(bytes.length + (word() % 40));
    longer.set(bytes);
    bytes = longer;
  }
  return bytes.length > 32 && word() % 4 === 0 ? withMacs(bytes, recipient) : bytes;
}

/** Real messages of all four types, fresh ones among them. */
function corpusOf(pair: TunnelPair): Uint8Array[] {
  const corpus: Uint8Array[] = [];
  const gather = () => corpus.push(...pair.take().map(({ bytes }) => bytes));
  for (let i = 0; i < 4; i++) {
    sendAB(pair, 40 + 90 * i);
    gather();
  }
  pair.nowMs += 121_000;
  sendAB(pair);
  gather();
  sendBA(pair);
  gather();
  const cookieReply = new Uint8Array(64).fill(3);
  cookieReply.set([3, 0, 0, 0]);
  const response = new Uint8Array(92).fill(2);
  response.set([2, 0, 0, 0]);
  corpus.push(cookieReply, response);
  return corpus;
}

test(`${DATAGRAMS} random, cut and changed datagrams never throw and count one reason each`, () => {
  const word = seededWords(2024);
  const pair = connectedPair({ both: { limits: { handshakesPerSecond: 2_000 } } });
  const corpus = corpusOf(pair);
  const { machine } = pair.b;
  const slot = new Slot(1500);
  let used = 0;
  for (let i = 0; i < DATAGRAMS; i++) {
    const bytes = mutate(word, corpus, machine.publicKey);
    const before = machine.drops.total;
    const from = { address: `10.${word() & 3}.0.${word() & 15}`, port: 1 + (word() % 65_535) };
    const result = machine.decapsulate(pair.nowMs, bytes, 0, bytes.length, from);
    assert.is(machine.drops.total - before, result < 0 ? 1 : 0, `datagram ${i}: ${reason(result) ?? result}`);
    if (result >= 0) used++;
    if (result < 0) assert.ok(reason(result)!.startsWith('wg-'));
    assert.ok(result <= Math.max(0, bytes.length - 32));
    if (i % 64 === 0) {
      pair.nowMs += 10;
      machine.handleTimeout(pair.nowMs);
      while (machine.pollTransmit(pair.nowMs, slot));
      while (machine.pollEvent() !== undefined);
    }
  }
  assert.ok(used > 0, 'some of the corpus is valid as it is');
  const reasons = Object.keys(machine.drops.snapshot());
  for (const expected of ['wg-too-short', 'wg-unknown-type', 'wg-bad-length', 'wg-bad-mac1', 'wg-handshake-decrypt'])
    assert.ok(reasons.includes(expected), expected);
  for (const expected of [
    'wg-data-decrypt',
    'wg-replay',
    'wg-unknown-receiver',
    'wg-counter-limit',
    'wg-stale-timestamp',
  ])
    assert.ok(reasons.includes(expected), expected);
  assert.is(machine.activePeerCount, 1);
  assert.is(machine.peerCount, 1);

  // Legitimate traffic still flows, from where the peer really is.
  pair.live(6_000);
  const received = pair.b.received.length;
  sendAB(pair);
  pair.live(6_000);
  assert.ok(pair.b.received.length > received);
  assert.equal(pair.b.received.at(-1), packet(A, B));
});

test('datagrams of every length from 0 to 65,535 are survived, whatever their type says', () => {
  const machine = tunnel(2);
  const buf = new Uint8Array(65_535);
  for (let type = 0; type <= 5; type++) {
    buf[0] = type;
    for (let length = 0; length <= 65_535; length += length < 200 ? 1 : 1_009) {
      const result = machine.decapsulate(START_MS, buf, 0, length, A_ENDPOINT);
      assert.ok(result < 0, `type ${type}, ${length} bytes`);
    }
    assert.ok(machine.decapsulate(START_MS, buf, 0, 65_535, A_ENDPOINT) < 0);
  }
});

test('the largest datagram with a session is opened or dropped, never thrown', () => {
  const pair = connectedPair();
  sendAB(pair);
  const [data] = pair.take();
  const huge = new Uint8Array(65_535);
  huge.set(data!.bytes);
  assert.is(reason(pair.inject(pair.b, huge, A_ENDPOINT)), 'wg-data-decrypt');
  assert.ok(pair.inject(pair.b, data!.bytes, A_ENDPOINT) > 0);
});

test('any bytes as a packet to send are staged, sealed or refused, never thrown', () => {
  const word = seededWords(7);
  const pair = connectedPair();
  const slot = new Slot(2_000);
  for (let i = 0; i < 3_000; i++) {
    slot.reset();
    slot.end = slot.start + (word() % 2_000);
    for (let at = slot.start; at < slot.end; at++) slot.buf[at] = word();
    if (word() % 2 === 0 && slot.end - slot.start > 40) slot.buf.set(packet(A, B, 40), slot.start);
    const before = pair.a.machine.drops.total;
    const result = pair.a.machine.encapsulate(pair.nowMs, slot);
    assert.is(pair.a.machine.drops.total - before, result < 0 ? 1 : 0);
  }
});

test.run();
