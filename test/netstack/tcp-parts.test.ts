/** The parts of TCP, each for itself: keyed hash, estimator, congestion window, timers, rings, table, scoreboard. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { IpPath } from '../../lib/netstack/path.ts';
import { SipHash } from '../../lib/netstack/siphash.ts';
import { Cubic } from '../../lib/netstack/tcp-congestion.ts';
import { TCP_LIMITS_LARGE, TCP_LIMITS_SMALL } from '../../lib/netstack/tcp-limits.ts';
import { MemoryBudget, ReceiveRing, SendRing } from '../../lib/netstack/tcp-rings.ts';
import { RttEstimator } from '../../lib/netstack/tcp-rtt.ts';
import { Delivery, Scoreboard } from '../../lib/netstack/tcp-scoreboard.ts';
import { seqAfter, seqBefore, seqMax, seqMin } from '../../lib/netstack/tcp-sequence.ts';
import { TimerHeap, type TimerEntry } from '../../lib/netstack/tcp-timers.ts';
import { SeededRandom } from '../sim/link.ts';
import { CLIENT, Host, SERVER } from './tcp-world.ts';

const test = suite('tcp parts');

test('SipHash gives the results of its authors', () => {
  // The paper's example (15 bytes), and the first, second, third, fourth and ninth rows of the reference vectors.
  const known: readonly [number, string][] = [
    [0, '726fdb47dd0e0e31'],
    [1, '74f839c593dc67fd'],
    [2, '0d6c8009d9a94f5a'],
    [3, '85676696d7fb7e2d'],
    [8, '93f5f5799a932462'],
    [15, 'a129ca6149be45e5'],
  ];
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
  const hash = new SipHash(bytes);
  const hex = (word: number) => (word >>> 0).toString(16).padStart(8, '0');
  for (const [length, expected] of known) {
    assert.is(hash.hash(bytes, length), hash.low);
    assert.is(hex(hash.high) + hex(hash.low), expected, `${length} bytes`);
  }
});

test('a SipHash key of another length is a mistake', () => {
  assert.throws(() => new SipHash(new Uint8Array(15)), /"key" expected 16 bytes, got 15/);
});

test('sequence numbers are compared around the wrap', () => {
  assert.ok(seqBefore(0x7fffffff, 0x80000000 | 0));
  assert.ok(seqAfter(0, -1));
  assert.not(seqBefore(5, 5));
  assert.is(seqMax(-3, 2), 2);
  assert.is(seqMin(0x7ffffffe, -0x7ffffffe), 0x7ffffffe);
});

test('the first sample sets the timeout to three times it, but adds no less than 200 ms', () => {
  const rtt = new RttEstimator();
  assert.is(rtt.rtoMs, 1000);
  rtt.sample(0, 500, 1);
  assert.is(rtt.rtoMs, 1500);
  const near = new RttEstimator();
  near.sample(0, 10, 1);
  assert.is(near.rtoMs, 210);
});

test('later samples move the estimate by an eighth and the deviation by a quarter', () => {
  const rtt = new RttEstimator();
  rtt.sample(0, 800, 1);
  rtt.sample(0, 1600, 1);
  assert.is(rtt.smoothedMs, 900);
  assert.is(rtt.varianceMs, 500);
  assert.is(rtt.rtoMs, 2900);
});

test('many samples per round trip move it by as much together', () => {
  const one = new RttEstimator();
  const many = new RttEstimator();
  for (const rtt of [one, many]) rtt.sample(0, 100, 1);
  one.sample(0, 200, 1);
  for (let i = 0; i < 16; i++) many.sample(0, 200, 16);
  assert.ok(Math.abs(one.smoothedMs - many.smoothedMs) < 1);
});

test('backoff doubles up to a minute and ends with a sample', () => {
  const rtt = new RttEstimator();
  rtt.sample(0, 100, 1);
  const seen = Array.from({ length: 10 }, () => {
    rtt.backOff();
    return rtt.rtoMs;
  });
  assert.equal(seen, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 60_000, 60_000, 60_000]);
  rtt.sample(0, 100, 1);
  assert.is(rtt.backoffs, 0);
});

test('the smallest round trip is forgotten after five minutes', () => {
  const rtt = new RttEstimator();
  rtt.sample(0, 10, 1);
  rtt.sample(299_999, 50, 1);
  assert.is(rtt.minMs, 10);
  rtt.sample(300_001, 60, 1);
  assert.is(rtt.minMs, 60);
});

test('the initial window is ten segments, or 14,600 bytes, or two segments', () => {
  assert.is(new Cubic(536).window, 5360);
  assert.is(new Cubic(1460).window, 14_600);
  assert.is(new Cubic(4000).window, 14_600);
  assert.is(new Cubic(9000).window, 18_000);
});

/** Acknowledges a whole window per round trip of `rttMs`, `rounds` times; returns the window after each. */
function grow(cubic: Cubic, rounds: number, rttMs: number, startMs = 0, progress = { una: 0 }): number[] {
  return Array.from({ length: rounds }, (_, round) => {
    const nowMs = startMs + (round + 1) * rttMs;
    const flight = Math.floor(cubic.window);
    for (let left = flight; left > 0; left -= 2000) {
      const bytes = Math.min(left, 2000);
      progress.una += bytes;
      cubic.onAck(nowMs, bytes, progress.una, progress.una + flight, rttMs, rttMs, true);
    }
    return cubic.window;
  });
}

test('slow start doubles the window per round trip', () => {
  const cubic = new Cubic(1000);
  assert.equal(grow(cubic, 4, 100), [20_000, 40_000, 80_000, 160_000]);
});

test('slow start ends at the threshold', () => {
  const cubic = new Cubic(1000);
  grow(cubic, 3, 100);
  cubic.onTimeout(1000);
  assert.is(cubic.threshold, 56_000);
  grow(cubic, 6, 100);
  assert.ok(cubic.window >= 56_000 && cubic.window < 60_000);
});

test('a rising round trip slows slow start down, and if it stays up, ends it (HyStart++)', () => {
  const cubic = new Cubic(1000);
  const progress = { una: 0 };
  grow(cubic, 3, 100, 0, progress);
  const before = cubic.window;
  const rising = grow(cubic, 8, 125, 1000, progress);
  assert.ok(rising[0]! < before * 2, 'it notices in the round');
  assert.not(cubic.isSlowStart);
  assert.ok(cubic.threshold < before * 4);
});

test('a round trip that rises once and comes back does not end slow start', () => {
  const cubic = new Cubic(1000);
  const progress = { una: 0 };
  grow(cubic, 3, 100, 0, progress);
  grow(cubic, 1, 125, 1000, progress);
  grow(cubic, 2, 100, 2000, progress);
  const before = cubic.window;
  grow(cubic, 1, 100, 3000, progress);
  assert.is(cubic.window, before * 2);
});

test('a loss leaves 0.7 of the window', () => {
  const cubic = new Cubic(1000);
  cubic.window = 100_000;
  assert.is(cubic.onLoss(), 70_000);
});

test('no loss brings the threshold below two segments', () => {
  const cubic = new Cubic(1000);
  cubic.window = 1000;
  assert.is(cubic.onLoss(), 2000);
});

test('after a loss the window comes back to where it was in the time that CUBIC computes', () => {
  const cubic = new Cubic(1000);
  cubic.window = 1_000_000;
  cubic.window = cubic.onLoss();
  // K = cbrt((1000 - 700) / 0.4) = 9.09 s: concave until then, convex after.
  const windows = grow(cubic, 150, 100);
  assert.ok(windows[85]! < 1_000_000 && windows[85]! > 990_000, `${windows[85]}`);
  assert.ok(windows[93]! > 999_000 && windows[93]! < 1_010_000, `${windows[93]}`);
  assert.ok(windows[20]! - windows[10]! > windows[80]! - windows[70]!, 'first fast, then slow');
  assert.ok(windows[149]! - windows[139]! > windows[100]! - windows[90]!, 'then faster');
});

test('with a small window it grows as Reno with the same share would', () => {
  const cubic = new Cubic(1000);
  cubic.window = 20_000;
  cubic.window = cubic.onLoss();
  const windows = grow(cubic, 8, 10);
  const perRound = (windows[7]! - windows[0]!) / 7;
  assert.ok(Math.abs(perRound - 529) < 60, `${perRound} bytes per round trip, 0.529 segments expected`);
});

test('a second loss below the old peak makes room for others (fast convergence)', () => {
  const cubic = new Cubic(1000);
  cubic.window = 1_000_000;
  cubic.window = cubic.onLoss();
  cubic.window = 800_000;
  cubic.window = cubic.onLoss();
  // The peak aimed for is (1 + 0.7) / 2 * 800,000, so K is that of 680 and 560 segments: 6.69 s.
  const windows = grow(cubic, 67, 100);
  assert.ok(windows[66]! > 670_000 && windows[66]! < 690_000, `${windows[66]}`);
});

test('a reduction is taken back whole, and once', () => {
  const cubic = new Cubic(1000);
  cubic.window = 100_000;
  cubic.window = cubic.onLoss();
  cubic.undo();
  assert.is(cubic.window, 100_000);
  assert.is(cubic.threshold, Infinity);
  cubic.window = 50_000;
  cubic.undo();
  assert.is(cubic.window, 50_000);
});

test('a window that is not the limit does not grow', () => {
  const cubic = new Cubic(1000);
  for (let i = 0; i < 100; i++) cubic.onAck(i, 1000, i * 1000, i * 1000 + 1000, 50, 50, false);
  assert.is(cubic.window, 10_000);
  cubic.window = cubic.onLoss();
  for (let i = 0; i < 100; i++) cubic.onAck(i, 1000, i * 1000, i * 1000 + 1000, 50, 50, false);
  assert.is(cubic.window, 7000);
});

test('one acknowledgment of very much opens the window by a bounded step', () => {
  const cubic = new Cubic(1000);
  cubic.onAck(0, 1_000_000, 1_000_000, 2_000_000, 50, 50, true);
  assert.is(cubic.window, 42_000);
});

class Entry implements TimerEntry {
  wakeAt = Infinity;
  heapAt = 0;
  heapIndex = -1;
}

test('timers come in the order of their deadlines, whatever was re-armed or removed', () => {
  const random = new SeededRandom(3);
  const heap = new TimerHeap<Entry>();
  const entries = Array.from({ length: 200 }, () => new Entry());
  for (let i = 0; i < 5000; i++) {
    const entry = entries[random.below(200)]!;
    const kind = random.below(10);
    if (kind === 0) heap.remove(entry);
    else heap.schedule(entry, kind === 1 ? Infinity : random.below(10_000));
    const least = Math.min(...entries.map(({ wakeAt }) => wakeAt));
    if (i % 50 === 0) assert.ok(heap.next <= least, 'never late');
  }
  const expected = entries
    .map(({ wakeAt }) => wakeAt)
    .filter(at => at !== Infinity)
    .sort((a, b) => a - b);
  const taken: number[] = [];
  for (let now = 0; now <= 10_000; now += 7) {
    for (;;) {
      const at = heap.next;
      const entry = heap.take(now);
      if (entry === undefined) break;
      assert.ok(at <= now);
      taken.push(now);
    }
  }
  assert.is(taken.length, expected.length);
  expected.forEach((at, i) =>
    assert.ok(taken[i]! >= at && taken[i]! < at + 7, `deadline ${at} was taken at ${taken[i]}`),
  );
  assert.is(heap.next, Infinity);
});

test('a deadline that moves later costs nothing until the old one comes up', () => {
  const heap = new TimerHeap<Entry>();
  const entry = new Entry();
  heap.schedule(entry, 100);
  heap.schedule(entry, 500);
  assert.is(heap.next, 100);
  assert.is(heap.take(100), undefined);
  assert.is(heap.next, 500);
  assert.is(heap.take(499), undefined);
  assert.is(heap.take(500), entry);
});

const ringLimits = (totalBufferBytes: number, idleRingBytes = 1) => ({
  totalBufferBytes,
  ringBytes: 64,
  idleRingBytes,
  outOfOrderRanges: 6,
});

test('a send ring gives back what was put in, around its end, while it grows', () => {
  const random = new SeededRandom(4);
  const ring = new SendRing(new MemoryBudget(ringLimits(65_536)));
  let written = 0;
  let gone = 0;
  const source = Uint8Array.from({ length: 40_000 }, (_, i) => (i * 31) ^ (i >> 8));
  for (let i = 0; i < 2000 && written < 39_000; i++) {
    written += ring.write(source, written, written + random.below(120));
    if (ring.length > 0 && random.below(3) > 0) {
      const offset = random.below(ring.length);
      const count = random.below(ring.length - offset + 1);
      const out = new Uint8Array(count);
      ring.copyOut(offset, count, out, 0);
      assert.equal(out, source.slice(gone + offset, gone + offset + count));
      const drop = random.below(Math.min(ring.length, 150) + 1);
      ring.discard(drop);
      gone += drop;
    }
    assert.is(ring.length, written - gone);
  }
  assert.ok(written > 30_000);
});

test('a receive ring puts segments in any order together', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new SeededRandom(seed);
    const budget = new MemoryBudget(ringLimits(65_536));
    const ring = new ReceiveRing(budget);
    const source = new Uint8Array(4000);
    random.fill(source);
    const isn = random.u32() | 0;
    let next = 0;
    let read = 0;
    const out = new Uint8Array(500);
    for (let step = 0; read < source.length; step++) {
      assert.ok(step < 20_000, `seed ${seed} ends`);
      const start = random.below(3) === 0 ? next : next + 1 + random.below(400);
      const end = Math.min(start + 1 + random.below(150), source.length);
      if (start < end && start === next) next += ring.append((isn + next) | 0, source, start, end);
      else if (start < end) ring.insert((isn + next) | 0, (isn + start) | 0, source, start, end);
      for (let i = 0; i < ring.rangeCount; i++) {
        assert.ok(((ring.rangeStart(i) - isn - next) | 0) > 0, 'a range lies beyond a gap');
        if (i > 0) assert.ok(((ring.rangeStart(i) - ring.rangeEnd(i - 1)) | 0) > 0, 'ranges lie apart');
      }
      const count = ring.read(out, 0, random.below(300));
      for (let i = 0; i < count; i++)
        if (out[i] !== source[read + i]) assert.unreachable(`seed ${seed} byte ${read + i}`);
      read += count;
      assert.is(ring.readableBytes, next - read);
    }
    ring.trim();
    assert.is(budget.usedBytes, 0);
    assert.is(ring.capacity, 0);
  }
});

test('a budget that is used up denies growth, never the first size', () => {
  const budget = new MemoryBudget(ringLimits(64));
  const ring = new SendRing(budget);
  assert.is(ring.write(new Uint8Array(500), 0, 500), 64);
  assert.is(budget.usedBytes, 0);
  assert.is(ring.write(new Uint8Array(65), 0, 65), 0);
  ring.discard(64);
  assert.is(ring.write(new Uint8Array(128), 0, 128), 128);
  assert.is(budget.usedBytes, 64);
  assert.is(ring.write(new Uint8Array(1), 0, 1), 0);
  ring.clear();
  assert.is(budget.usedBytes, 0);
});

test('a small ring is given back as soon as it is empty, one that has grown when it is told to', () => {
  const budget = new MemoryBudget(ringLimits(65_536, 64));
  const ring = new SendRing(budget);
  ring.write(new Uint8Array(64), 0, 64);
  ring.discard(63);
  assert.is(ring.capacity, 64);
  ring.discard(1);
  assert.is(ring.capacity, 0);
  ring.write(new Uint8Array(65), 0, 65);
  ring.discard(65);
  assert.is(ring.capacity, 128);
  ring.trim();
  assert.is(ring.capacity, 0);
  const incoming = new ReceiveRing(budget);
  incoming.append(0, new Uint8Array(10), 0, 10);
  incoming.insert(10, 20, new Uint8Array(5), 0, 5);
  incoming.skip(10);
  assert.is(incoming.capacity, 64, 'what lies beyond a gap is not lost');
  incoming.append(10, new Uint8Array(10), 0, 10);
  incoming.skip(15);
  assert.is(incoming.capacity, 0);
  assert.is(budget.usedBytes, 0);
});

test('the scoreboard agrees with a simple list of segments', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const board = new Scoreboard(new Delivery());
    const start = random.u32() | 0;
    board.reset(start);
    const list: { end: number; length: number; state: string }[] = [];
    let end = 0;
    let una = 0;
    const sum = (state: string) =>
      list.filter(each => each.state === state).reduce((total, each) => total + each.length, 0);
    for (let step = 0; step < 400; step++) {
      const action = random.below(6);
      const i = list.length === 0 ? -1 : random.below(list.length);
      if (action < 2) {
        const length = 1 + random.below(100);
        end += length;
        board.push((start + end) | 0, step);
        list.push({ end, length, state: 'flight' });
      } else if (action === 2 && i >= 0) {
        board.markSacked(i);
        list[i]!.state = 'sacked';
      } else if (action === 3 && i >= 0) {
        board.markLost(i);
        if (list[i]!.state !== 'sacked') list[i]!.state = 'lost';
      } else if (action === 4) {
        const lost = list.findIndex(({ state }) => state === 'lost');
        assert.is(board.nextLost(), lost, `seed ${seed} step ${step}`);
        if (lost >= 0) {
          board.markRetransmitted(lost, step);
          list[lost]!.state = 'flight';
        }
      } else if (action === 5 && end > una && random.below(3) === 0) {
        una += 1 + random.below(Math.min(end - una, 250));
        board.beginAck(step, Infinity, 0);
        board.ackTo((start + una) | 0);
        while (list.length > 0 && list[0]!.end <= una) list.shift();
        if (list.length > 0) list[0]!.length = Math.min(list[0]!.length, list[0]!.end - una);
      }
      const context = `seed ${seed} step ${step}`;
      assert.is(board.count, list.length, context);
      assert.is(board.inFlightBytes, sum('flight'), context);
      assert.is(board.lostBytes, sum('lost'), context);
      assert.is(board.sackedBytes, sum('sacked'), context);
      assert.is(board.sackedCount, list.filter(({ state }) => state === 'sacked').length, context);
    }
  }
});

test('cutting the records keeps what is known of each part', () => {
  const board = new Scoreboard(new Delivery());
  board.reset(0);
  for (let i = 1; i <= 4; i++) board.push(i * 1000, i);
  board.markSacked(1);
  board.markLost(2);
  board.split(400);
  assert.is(board.count, 12);
  assert.is(board.sackedBytes, 1000);
  assert.is(board.sackedCount, 3);
  assert.is(board.lostBytes, 3000, 'what was too long never arrived');
  assert.is(board.inFlightBytes, 0);
  assert.equal(Array.from({ length: 12 }, (_, i) => board.endOf(i)).slice(0, 4), [400, 800, 1000, 1400]);
  assert.is(board.sentMsOf(4), 2);
});

test('connections are found among thousands, by all four of their numbers', () => {
  const host = new Host(0, CLIENT);
  const connections = Array.from({ length: 3000 }, (_, i) => {
    const path = new IpPath(CLIENT, Uint8Array.of(10, 0, 1 + (i % 200), 7), 1420);
    return host.tcp.connect(0, path, 1 + (i >> 3));
  });
  assert.is(host.tcp.connectionCount, 3000);
  assert.is(new Set(connections.map(({ id }) => id)).size, 3000);
  assert.is([...host.tcp.connections()].length, 3000);
  for (const connection of connections) connection.abort(0);
  assert.is(host.tcp.connectionCount, 0);
});

test('10,000 idle connections cost nothing per call', () => {
  const host = new Host(0, CLIENT, { limits: { connections: 20_000 } });
  const path = new IpPath(CLIENT, SERVER, 1420);
  const connections = Array.from({ length: 10_000 }, (_, i) => host.tcp.connect(0, path, 1 + (i % 60_000)));
  host.slot.reset();
  while (host.tcp.pollTransmit(0, host.slot)) host.slot.reset();
  for (const connection of connections) connection.setKeepAlive(0, 1_000_000);
  let touched = 0;
  for (const connection of connections)
    Object.defineProperty(connection, 'stateCode', {
      get: () => {
        touched++;
        return 1;
      },
    });
  for (let now = 1; now < 900; now += 3) {
    host.slot.reset();
    assert.not(host.tcp.pollTransmit(now, host.slot));
    host.tcp.handleTimeout(now);
    assert.is(host.tcp.pollEvent(), undefined);
  }
  assert.is(touched, 0, 'no connection is looked at');
});

test('the presets are consistent in themselves', () => {
  for (const limits of [TCP_LIMITS_SMALL, TCP_LIMITS_LARGE]) {
    for (const [name, value] of Object.entries(limits)) assert.ok(Number.isInteger(value) && value > 0, name);
    assert.ok(limits.giveUpMs >= 100_000, 'RFC 9293: R2 is at least 100 s');
    assert.ok(limits.connectGiveUpMs >= 180_000, 'RFC 9293 MUST-23');
    assert.ok(limits.halfOpen < limits.connections && limits.timeWait < limits.connections);
    assert.ok(limits.initialWindowBytes <= limits.receiveBufferBytes);
    assert.ok(limits.initialSendBytes <= limits.sendBufferBytes);
    assert.is(limits.ringBytes & (limits.ringBytes - 1), 0, 'a power of two');
    assert.ok(Object.isFrozen(limits));
  }
});

test.run();
