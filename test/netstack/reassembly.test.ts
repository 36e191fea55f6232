import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DropCounters, dropName } from '../../lib/base/drop.ts';
import {
  FRAGMENT_OVERHEAD_BYTES,
  REASSEMBLY_LIMITS_LARGE,
  REASSEMBLY_LIMITS_SMALL,
  Reassembly,
  type ReassemblyLimits,
} from '../../lib/netstack/reassembly.ts';
import { classify, Packet } from '../../lib/packet/classify.ts';
import { counting, extension, fragmentHeader, join, slowChecksum, v4, v6 } from '../packet/build.ts';
import { seededRandom } from './helpers.ts';

const test = suite('netstack/reassembly');

/** One piece of a datagram of UDP: where it lies, what it holds, whether more follow. */
interface Piece {
  offset: number;
  data: Uint8Array;
  more: boolean;
}

interface Flow {
  family?: 4 | 6;
  id?: number;
  src?: string;
  dst?: string;
  protocol?: number;
}

function packetOf(piece: Piece, flow: Flow = {}): Uint8Array {
  const {
    family = 4,
    id = 7,
    protocol = 17,
    src = family === 4 ? '10.0.0.2' : 'fd00::2',
    dst = family === 4 ? '10.0.0.1' : 'fd00::1',
  } = flow;
  if (family === 4)
    return v4({ src, dst, id, protocol, flags: (piece.more ? 0x2000 : 0) | (piece.offset >> 3) }, piece.data);
  return v6({ src, dst, next: 44 }, join(fragmentHeader(protocol, piece.offset, piece.more, id), piece.data));
}

class Rig {
  readonly drops = new DropCounters();
  readonly store: Reassembly;
  nowMs = 0;

  constructor(limits: Partial<ReassemblyLimits> = {}) {
    this.store = new Reassembly({ ...REASSEMBLY_LIMITS_LARGE, ...limits });
  }

  /** The whole packet, 'more', or the reason's name. */
  packet(bytes: Uint8Array): Uint8Array | string {
    const packet = new Packet();
    const buf = join([1, 2, 3], bytes, [4, 5]);
    const parsed = classify(buf, 3, 3 + bytes.length, packet);
    if (parsed < 0) return dropName(parsed);
    assert.ok(packet.isFragment);
    const result = this.store.handleFragment(this.nowMs, buf, packet, this.drops);
    buf.fill(0xdd); // lent for the call only
    if (result < 0) return dropName(result);
    const { whole } = this.store;
    return result === 0 ? 'more' : whole.buf.slice(whole.start, whole.end);
  }

  piece(piece: Piece, flow: Flow = {}): Uint8Array | string {
    return this.packet(packetOf(piece, flow));
  }
}

function cut(data: Uint8Array, size: number): Piece[] {
  const pieces: Piece[] = [];
  for (let offset = 0; offset < data.length; offset += size)
    pieces.push({ offset, data: data.slice(offset, offset + size), more: offset + size < data.length });
  return pieces;
}

/** Body of a whole IPv4 or IPv6 packet that {@link Rig} gave. */
function bodyOf(whole: Uint8Array | string): Uint8Array {
  assert.instance(whole, Uint8Array);
  const packet = whole as Uint8Array;
  if (packet[0]! >> 4 === 4) {
    assert.is(slowChecksum(packet.slice(0, 20)), 0);
    assert.is(packet[2]! * 256 + packet[3]!, packet.length);
    assert.equal([packet[6], packet[7]], [0, 0]);
    return packet.slice(20);
  }
  assert.is(packet[4]! * 256 + packet[5]!, packet.length - 40);
  assert.is(packet[6], 17);
  return packet.slice(40);
}

for (const family of [4, 6] as const) {
  const name = `IPv${family}`;

  test(`${name} fragments in order make the datagram, header and all`, () => {
    const rig = new Rig();
    const data = counting(4000);
    const pieces = cut(data, 1376);
    assert.is(rig.piece(pieces[0]!, { family }), 'more');
    assert.is(rig.piece(pieces[1]!, { family }), 'more');
    assert.equal(bodyOf(rig.piece(pieces[2]!, { family })), data);
    assert.equal([rig.store.bytes, rig.store.size, rig.store.nextTimeout()], [0, 0, Number.POSITIVE_INFINITY]);
    assert.is(rig.drops.total, 0);
  });

  test(`${name} fragments in any order, with duplicates, make the datagram`, () => {
    const random = seededRandom(family);
    const draw = new Uint8Array(2);
    for (let round = 0; round < 60; round++) {
      const rig = new Rig();
      const data = counting(100 + round * 71, round);
      const pieces = cut(data, 8 * (1 + (round % 40)) + 16).map(piece => ({ piece, key: 0 }));
      if (pieces.length < 2) continue;
      for (const entry of pieces) {
        random(draw);
        entry.key = draw[0]!;
      }
      pieces.sort((x, y) => x.key - y.key);
      let whole: Uint8Array | string = 'more';
      for (let i = 0; i < pieces.length; i++) {
        assert.is(whole, 'more');
        if (i > 0) assert.is(rig.piece(pieces[draw[1]! % i]!.piece, { family }), 'more');
        whole = rig.piece(pieces[i]!.piece, { family });
      }
      assert.equal(bodyOf(whole), data);
      assert.is(rig.store.bytes, 0);
      assert.is(rig.drops.total, 0);
    }
  });

  test(`${name} datagrams with different keys do not mix`, () => {
    const rig = new Rig();
    const flows: Flow[] = [
      { family },
      { family, id: 8 },
      { family, src: family === 4 ? '10.0.0.3' : 'fd00::3' },
      { family, dst: family === 4 ? '10.0.0.4' : 'fd00::4' },
      ...(family === 4 ? [{ family, protocol: 1 } as Flow] : []),
    ];
    const all = flows.map((_, i) => cut(counting(64, i * 50), 32));
    for (const [i, flow] of flows.entries()) assert.is(rig.piece(all[i]![1]!, flow), 'more');
    for (const [i, flow] of flows.entries()) {
      const whole = rig.piece(all[i]![0]!, flow) as Uint8Array;
      assert.equal(whole.slice(family === 4 ? 20 : 40), counting(64, i * 50));
    }
  });

  test(`${name}: an overlap discards the datagram, and everything that still comes for it`, () => {
    const data = counting(96);
    const overlaps: [string, Piece[], Piece][] = [
      [
        'over the end of the one before',
        [{ offset: 0, data: data.slice(0, 32), more: true }],
        { offset: 24, data: data.slice(24, 48), more: true },
      ],
      [
        'over the start of the one after',
        [{ offset: 32, data: data.slice(32, 64), more: true }],
        { offset: 8, data: data.slice(8, 40), more: true },
      ],
      [
        'inside another',
        [{ offset: 0, data: data.slice(0, 64), more: true }],
        { offset: 16, data: data.slice(16, 32), more: true },
      ],
      [
        'around another',
        [{ offset: 16, data: data.slice(16, 32), more: true }],
        { offset: 0, data: data.slice(0, 64), more: true },
      ],
      [
        'same place, other bytes',
        [{ offset: 0, data: data.slice(0, 32), more: true }],
        { offset: 0, data: data.slice(1, 33), more: true },
      ],
      [
        'same place, shorter',
        [{ offset: 0, data: data.slice(0, 32), more: true }],
        { offset: 0, data: data.slice(0, 24), more: true },
      ],
      [
        'data behind the last',
        [{ offset: 32, data: data.slice(0, 8), more: false }],
        { offset: 40, data: data.slice(0, 8), more: true },
      ],
      [
        'a last before data',
        [{ offset: 32, data: data.slice(0, 8), more: true }],
        { offset: 8, data: data.slice(0, 8), more: false },
      ],
      [
        'a second last behind the last',
        [{ offset: 8, data: data.slice(0, 8), more: false }],
        { offset: 16, data: data.slice(0, 8), more: false },
      ],
      [
        'the last again, as one with more to come',
        [{ offset: 8, data: data.slice(0, 8), more: false }],
        { offset: 8, data: data.slice(0, 8), more: true },
      ],
      [
        'one with more to come again, as the last',
        [{ offset: 8, data: data.slice(0, 8), more: true }],
        { offset: 8, data: data.slice(0, 8), more: false },
      ],
    ];
    for (const [text, before, bad] of overlaps) {
      const rig = new Rig();
      for (const piece of before) assert.is(rig.piece(piece, { family }), 'more', text);
      assert.is(rig.piece(bad, { family }), 'ip-reassembly-overlap', text);
      assert.is(rig.store.bytes, 0, text);
      for (const piece of cut(data, 32)) assert.is(rig.piece(piece, { family }), 'ip-reassembly-overlap', text);
      assert.is(rig.store.size, 1, text);
    }
  });
}

test('an IPv4 header with options comes out without them, and its bytes are those of the first fragment', () => {
  const rig = new Rig();
  const options = [7, 7, 4, 0, 0, 0, 0, 0];
  const data = counting(64);
  assert.is(rig.packet(v4({ id: 7, flags: 4, ttl: 9 }, data.slice(32))), 'more');
  const whole = rig.packet(v4({ id: 7, flags: 0x2000, ttl: 33, options }, data.slice(0, 32))) as Uint8Array;
  assert.equal(bodyOf(whole), data);
  assert.is(whole[8], 33);
});

test('IPv6 headers in front of the fragment header are left out of the whole', () => {
  const rig = new Rig();
  const data = counting(64);
  const front = extension(44, [5, 2, 0, 0]);
  assert.is(rig.packet(v6({ next: 0 }, join(front, fragmentHeader(17, 0, true, 7), data.slice(0, 32)))), 'more');
  assert.equal(bodyOf(rig.packet(v6({ next: 44 }, join(fragmentHeader(99, 32, false, 7), data.slice(32))))), data);
});

test('the largest datagrams of both families are put together', () => {
  for (const [family, length] of [
    [4, 65_515],
    [6, 65_535],
  ] as const) {
    const rig = new Rig();
    const data = counting(length);
    const pieces = cut(data, 1232);
    const results = pieces.map(piece => rig.piece(piece, { family }));
    assert.equal(bodyOf(results.at(-1)!), data);
  }
});

test('an empty fragment is malformed', () => {
  const rig = new Rig();
  assert.is(rig.piece({ offset: 8, data: new Uint8Array(0), more: true }), 'ip-malformed');
  assert.is(rig.piece({ offset: 8, data: new Uint8Array(0), more: false }), 'ip-malformed');
  assert.is(rig.store.size, 0);
});

test('an incomplete datagram is forgotten after its time, to the millisecond, and its first fragment is given back', () => {
  const rig = new Rig({ timeoutMs: 30_000 });
  rig.nowMs = 100;
  const first = packetOf({ offset: 0, data: counting(32), more: true });
  assert.is(rig.packet(first), 'more');
  rig.nowMs = 20_000;
  assert.is(rig.piece({ offset: 64, data: counting(32), more: true }), 'more'); // does not prolong it
  assert.is(rig.store.nextTimeout(), 30_100);
  assert.is(rig.store.pollExpired(30_099, rig.drops), undefined);
  assert.equal(rig.store.pollExpired(30_100, rig.drops), first);
  assert.is(rig.store.pollExpired(30_100, rig.drops), undefined);
  assert.equal(rig.drops.snapshot(), { 'ip-reassembly-timeout': 1 });
  assert.equal([rig.store.bytes, rig.store.size], [0, 0]);
});

test('a datagram without its first fragment expires without one to give back', () => {
  const rig = new Rig();
  rig.piece({ offset: 64, data: counting(32), more: true });
  assert.is(rig.store.pollExpired(30_000, rig.drops)!.length, 0);
  assert.is(rig.drops.get('ip-reassembly-timeout'), 1);
});

test('a discarded datagram is forgotten after its time without being counted again', () => {
  const rig = new Rig();
  rig.piece({ offset: 0, data: counting(32), more: true });
  rig.piece({ offset: 8, data: counting(32), more: true });
  assert.is(rig.store.pollExpired(30_000, rig.drops)!.length, 0);
  assert.is(rig.drops.total, 0);
  const data = counting(64);
  rig.nowMs = 30_001;
  assert.is(rig.piece(cut(data, 32)[0]!), 'more');
  assert.equal(bodyOf(rig.piece(cut(data, 32)[1]!)), data);
});

test('too many fragments of one datagram discard it', () => {
  const rig = new Rig({ fragments: 16 });
  const pieces = cut(counting(8 * 40), 8);
  for (let i = 1; i <= 16; i++) assert.is(rig.piece(pieces[i]!), 'more');
  assert.is(rig.piece(pieces[17]!), 'ip-reassembly-limit');
  assert.is(rig.store.bytes, 0);
  assert.is(rig.piece(pieces[18]!), 'ip-reassembly-overlap');
});

test('a datagram that would take more than half of the memory is discarded', () => {
  const rig = new Rig(REASSEMBLY_LIMITS_SMALL);
  let result: Uint8Array | string = 'more';
  for (const piece of cut(counting(16_000), 1376)) {
    result = rig.piece(piece);
    assert.ok(rig.store.bytes <= REASSEMBLY_LIMITS_SMALL.bytes / 2);
    if (result !== 'more') break;
  }
  assert.is(result, 'ip-reassembly-limit');
  assert.is(rig.store.bytes, 0);
});

test('a datagram that grows too large is discarded before it pushes out a smaller one of its source', () => {
  const rig = new Rig({ bytes: 10_000 });
  const data = counting(64);
  for (let i = 0; i < 2; i++) assert.is(rig.piece({ offset: 1400 * i, data: counting(1400), more: true }), 'more');
  assert.is(rig.piece(cut(data, 32)[0]!, { id: 8 }), 'more');
  assert.is(rig.piece({ offset: 2800, data: counting(2000), more: true }), 'ip-reassembly-limit');
  assert.equal(bodyOf(rig.piece(cut(data, 32)[1]!, { id: 8 })), data);
});

test('one source cannot push another’s datagram out, however much it sends', () => {
  const rig = new Rig({ bytes: 20_000, datagrams: 16 });
  const data = counting(64);
  assert.is(rig.piece(cut(data, 32)[0]!, { src: '10.0.0.9' }), 'more');
  for (let i = 0; i < 500; i++) rig.piece({ offset: 64, data: counting(600), more: true }, { id: i });
  assert.ok(rig.drops.get('ip-reassembly-limit') > 400);
  assert.ok(rig.store.bytes <= 20_000 / 2 + 32 + 20 + FRAGMENT_OVERHEAD_BYTES);
  assert.equal(bodyOf(rig.piece(cut(data, 32)[1]!, { src: '10.0.0.9' })), data);
});

test('many sources stay within the bytes and the datagrams, and the newest datagram still gets through', () => {
  const limits = { bytes: 20_000, datagrams: 16, fragments: 128, timeoutMs: 30_000 };
  const rig = new Rig(limits);
  for (let i = 0; i < 2000; i++) {
    const src = `10.9.${i >> 8}.${i & 255}`;
    rig.piece({ offset: 8 * (i % 100) + 8, data: counting(8 * (1 + (i % 150))), more: true }, { src, id: i });
    assert.ok(rig.store.bytes <= limits.bytes);
    assert.ok(rig.store.size <= limits.datagrams);
  }
  const data = counting(64);
  assert.is(rig.piece(cut(data, 32)[0]!), 'more');
  assert.equal(bodyOf(rig.piece(cut(data, 32)[1]!)), data);
});

test('tiny fragments cost what they cost us, not what they hold', () => {
  const rig = new Rig({ bytes: 10_000, datagrams: 1000 });
  for (let i = 0; i < 5000; i++) rig.piece({ offset: 8 * (1 + (i % 120)), data: counting(8), more: true }, { id: i });
  assert.ok(rig.store.size <= Math.floor(5000 / (8 + FRAGMENT_OVERHEAD_BYTES)));
});

test('a flood of duplicates changes nothing', () => {
  const rig = new Rig();
  rig.piece({ offset: 0, data: counting(1376), more: true });
  const before = rig.store.bytes;
  for (let i = 0; i < 1000; i++) assert.is(rig.piece({ offset: 0, data: counting(1376), more: true }), 'more');
  assert.is(rig.store.bytes, before);
});

/** What RFC 815 with RFC 5722 comes to, on plain arrays: the oracle. */
class SlowReassembly {
  readonly #pieces: Piece[] = [];
  #isBad = false;

  add(piece: Piece): Uint8Array | 'more' | 'bad' {
    const end = piece.offset + piece.data.length;
    const isSame = (other: Piece) =>
      other.offset === piece.offset && other.more === piece.more && `${other.data}` === `${piece.data}`;
    if (this.#isBad) return 'bad';
    if (this.#pieces.some(isSame)) return 'more';
    const last = this.#pieces.find(other => !other.more);
    this.#isBad =
      this.#pieces.some(other => other.offset < end && piece.offset < other.offset + other.data.length) ||
      (last !== undefined && end > last.offset + last.data.length) ||
      (!piece.more && this.#pieces.some(other => other.offset >= end));
    if (this.#isBad) return 'bad';
    this.#pieces.push(piece);
    this.#pieces.sort((a, b) => a.offset - b.offset);
    let at = 0;
    for (const other of this.#pieces) {
      if (other.offset !== at) return 'more';
      at += other.data.length;
    }
    return this.#pieces.at(-1)!.more ? 'more' : join(...this.#pieces.map(other => other.data));
  }
}

test('random fragments, overlapping or not, agree with a slow reference', () => {
  const random = seededRandom(77);
  const draw = new Uint8Array(8);
  const outcomes = { whole: 0, bad: 0 };
  for (let round = 0; round < 3000; round++) {
    const rig = new Rig();
    const slow = new SlowReassembly();
    random(draw);
    const blocks = 2 + (draw[0]! % 6);
    const source = counting(8 * blocks + 8, round);
    const mischief = draw[1]! % 3 === 0;
    for (let i = 0; i < 14; i++) {
      random(draw);
      const from = draw[2]! % blocks;
      const isLast = mischief ? draw[3]! % 5 === 0 : from === blocks - 1;
      const length = isLast ? 1 + (draw[4]! % 8) : mischief ? 8 * (1 + (draw[4]! % 2)) : 8;
      const data = source.slice(8 * from, 8 * from + (isLast && !mischief ? 5 : length));
      if (from === 0 && isLast) continue; // that is no fragment
      const piece = { offset: 8 * from, data, more: !isLast };
      if (mischief && draw[5]! % 9 === 0) piece.data = piece.data.map(byte => byte ^ 1);
      const got = rig.piece(piece);
      const expected = slow.add(piece);
      if (expected === 'more') assert.is(got, 'more');
      else if (expected === 'bad') assert.is(got, 'ip-reassembly-overlap');
      else assert.equal(bodyOf(got), expected);
      if (expected === 'bad') outcomes.bad++;
      if (expected instanceof Uint8Array) {
        outcomes.whole++;
        break;
      }
    }
  }
  assert.ok(outcomes.whole > 300 && outcomes.bad > 300, JSON.stringify(outcomes));
});

test('a small store keeps no memory of a whole packet that was used, a large one does', () => {
  for (const [limits, isKept] of [
    [REASSEMBLY_LIMITS_SMALL, false],
    [REASSEMBLY_LIMITS_LARGE, true],
  ] as const) {
    const rig = new Rig(limits);
    for (let round = 0; round < 2; round++) {
      const results = cut(counting(3000), 1200).map(piece => rig.piece(piece, { id: round }));
      assert.equal(bodyOf(results[2]!), counting(3000));
      rig.store.release();
      assert.is(rig.store.whole.buf.length > 0, isKept);
    }
  }
});

test.run();
