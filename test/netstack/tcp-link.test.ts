/**
 * Two machines over bad links, on a virtual clock: every byte arrives, in order, once; the rates are what the theory
 * of each link allows; nothing is left behind. A failing case prints its seed.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { TcpConnection } from '../../lib/netstack/tcp.ts';
import { TCP_LIMITS_SMALL } from '../../lib/netstack/tcp-limits.ts';
import type { LinkOptions } from '../sim/link.ts';
import { Transfer, World, type WorldOptions } from './tcp-world.ts';

const test = suite('tcp link');

interface Outcome {
  readonly near: TcpConnection;
  readonly mbps: number;
  readonly world: World;
}

/** Moves `bytes` up the link of a fresh world, and checks them. */
function transfer(
  seed: number,
  link: LinkOptions,
  bytes: number,
  options: WorldOptions = {},
  limitMs = 3_600_000,
): Outcome {
  const world = new World({ seed, link, ...options });
  const { near, far } = world.open();
  const up = new Transfer(near, far, bytes, seed);
  const startedMs = world.nowMs;
  world.onStep = now => up.pump(now);
  const context = `seed ${seed} ${JSON.stringify(link)}`;
  assert.ok(
    world.run(() => up.isDone, startedMs + limitMs),
    `${context}: ${up.read} of ${bytes} bytes after ${limitMs} ms`,
  );
  assert.ok(up.isIntact, `${context}: bytes are damaged`);
  return { near, world, mbps: (bytes * 8) / (up.finishedMs - startedMs) / 1000 };
}

/** Mean goodput of some seeds. */
function mean(seeds: number, run: (seed: number) => Outcome): number {
  let sum = 0;
  for (let seed = 1; seed <= seeds; seed++) sum += run(seed).mbps;
  return sum / seeds;
}

test('bytes arrive intact both ways at once, whatever the link does to packets', () => {
  const links: LinkOptions[] = [
    { delayMs: 10 },
    { delayMs: 10, loss: 0.02 },
    { delayMs: 10, reorder: 0.1, reorderMs: 7 },
    { delayMs: 10, reorder: 0.1, reorderMs: 50 },
    { delayMs: 10, duplicate: 0.2 },
    { delayMs: 10, jitterMs: 15, loss: 0.03, reorder: 0.05, reorderMs: 9, duplicate: 0.1 },
    { delayMs: 5, rate: 5e6, queueBytes: 12_000 },
    { delayMs: 200, rate: 1e6, queueBytes: 20_000, loss: 0.01 },
    { delayMs: 0.05, loss: 0.05 },
  ];
  for (const [i, link] of links.entries()) {
    for (const hasSack of [true, false]) {
      const seed = 100 + i * 2 + (hasSack ? 1 : 0);
      const world = new World({ seed, link, client: { hasSack } });
      const { near, far } = world.open();
      const up = new Transfer(near, far, 150_000, seed);
      const down = new Transfer(far, near, 90_000, seed + 1);
      world.onStep = now => {
        up.pump(now);
        down.pump(now);
      };
      const context = `seed ${seed} sack ${hasSack} ${JSON.stringify(link)}`;
      assert.ok(
        world.run(() => up.isDone && down.isDone, 3_600_000),
        `${context}: ${up.read} up, ${down.read} down`,
      );
      assert.ok(up.isIntact && down.isIntact, `${context}: bytes are damaged`);
      world.runFor(200_000);
      assert.is(near.state, 'CLOSED', context);
      assert.is(far.state, 'CLOSED', context);
      assert.is(near.error ?? far.error, undefined, context);
    }
  }
});

test('a quarter of all packets may get lost, and still everything arrives', () => {
  for (let seed = 1; seed <= 6; seed++) transfer(seed, { delayMs: 20, loss: 0.25 }, 30_000);
});

test('tiny buffers on both sides work over a bad link', () => {
  const limits = { ...TCP_LIMITS_SMALL, sendBufferBytes: 1500, receiveBufferBytes: 2000, initialSendBytes: 1500 };
  for (let seed = 1; seed <= 4; seed++) {
    const link = { delayMs: 5, loss: 0.02, reorder: 0.05, reorderMs: 6, duplicate: 0.05 };
    const { world } = transfer(seed, link, 60_000, { client: { limits }, server: { limits } });
    assert.ok(world.client.tcp.budget.usedBytes <= 4096);
  }
});

test('the small preset moves data over a bad link within its memory', () => {
  const options = { client: { limits: TCP_LIMITS_SMALL }, server: { limits: TCP_LIMITS_SMALL } };
  const world = new World({ seed: 8, link: { delayMs: 10, loss: 0.02 }, ...options });
  const { near, far } = world.open();
  const up = new Transfer(near, far, 200_000);
  let most = 0;
  world.onStep = now => {
    up.pump(now);
    most = Math.max(most, near.info().ringBytes, far.info().ringBytes);
  };
  assert.ok(world.run(() => up.isDone));
  assert.ok(up.isIntact);
  assert.ok(most <= 2 * 8192 + 32 * 13, `${most} bytes for one connection`);
});

test('a slow reader slows the writer down, loses nothing and is not overrun', () => {
  const world = new World({ seed: 4, link: { delayMs: 10 } });
  const { near, far } = world.open();
  const up = new Transfer(near, far, 600_000);
  up.readChunk = 2000;
  let nextReadMs = world.nowMs;
  let most = 0;
  world.onStep = now => {
    up.pumpWrite(now);
    most = Math.max(most, far.readableBytes);
    if (now >= nextReadMs) {
      up.pumpRead(now);
      nextReadMs = now + 10;
    }
    world.wakeAt = nextReadMs;
  };
  assert.ok(world.run(() => up.isDone));
  assert.ok(up.isIntact);
  assert.ok(most <= 65_535 + 128, `${most} bytes wait`);
  const readerMs = (600_000 / 2000) * 10;
  assert.ok(up.finishedMs - 1000 < readerMs * 1.1, 'and the reader never waits for data');
});

test('a reader that stops for minutes goes on where it stopped', () => {
  const world = new World({ seed: 4, link: { delayMs: 10, loss: 0.05 } });
  const { near, far } = world.open();
  const up = new Transfer(near, far, 400_000);
  world.onStep = now => up.pumpWrite(now);
  world.runFor(600_000);
  assert.is(near.state, 'FIN-WAIT-1' === near.state ? 'FIN-WAIT-1' : 'ESTABLISHED');
  world.onStep = now => up.pump(now);
  world.runFor(1);
  assert.ok(world.run(() => up.isDone, world.nowMs + 200_000));
  assert.ok(up.isIntact);
});

test('a clean path is filled: slow start doubles per round trip until the window is the limit', () => {
  const { mbps, near } = transfer(1, { delayMs: 25 }, 10_000_000);
  // 14 kB doubling each 50 ms reaches 10 MB in under ten round trips.
  assert.ok(mbps > 60, `${mbps} Mbit/s`);
  assert.is(near.info().retransmits, 0);
});

test('a bottleneck with a shallow queue is used to more than 85 %', () => {
  const { mbps } = transfer(1, { delayMs: 10, rate: 20e6, queueBytes: 50_000 }, 8_000_000);
  assert.ok(mbps > 17 && mbps < 20, `${mbps} of 20 Mbit/s`);
});

test('a bottleneck with a deep queue is left before it is full (HyStart++)', () => {
  const { mbps, near } = transfer(1, { delayMs: 10, rate: 20e6, queueBytes: 1_000_000 }, 8_000_000);
  assert.ok(mbps > 17, `${mbps} of 20 Mbit/s`);
  assert.is(near.info().retransmits, 0);
});

test('at 1 % loss and 50 ms the goodput is what the theory of CUBIC allows', () => {
  // RFC 9438 §4.3, §5: at this loss CUBIC acts as Reno would: sqrt(3/2p) segments per round trip.
  const theory = (Math.sqrt(1.5 / 0.01) * 1368 * 8) / 50 / 1000;
  const mbps = mean(4, seed => transfer(seed, { delayMs: 25, loss: 0.01 }, 3_000_000));
  assert.ok(mbps > theory * 0.9, `${mbps} Mbit/s, theory ${theory}`);
});

test('at 0.1 % loss it is at least what the theory allows', () => {
  const theory = (Math.sqrt(1.5 / 0.001) * 1368 * 8) / 50 / 1000;
  const mbps = mean(4, seed => transfer(seed, { delayMs: 25, loss: 0.001 }, 6_000_000));
  assert.ok(mbps > theory * 0.9, `${mbps} Mbit/s, theory ${theory}`);
});

test('at 5 % and 10 % loss the connection lives on retransmissions, not on timeouts', () => {
  const five = mean(3, seed => transfer(seed, { delayMs: 25, loss: 0.05 }, 600_000));
  assert.ok(five > 0.7, `${five} Mbit/s at 5 %`);
  const ten = mean(3, seed => transfer(seed, { delayMs: 25, loss: 0.1 }, 300_000));
  assert.ok(ten > 0.3, `${ten} Mbit/s at 10 %`);
});

test('without SACK, 1 % loss costs less than half of the goodput', () => {
  const theory = (Math.sqrt(1.5 / 0.01) * 1368 * 8) / 50 / 1000;
  const mbps = mean(4, seed => transfer(seed, { delayMs: 25, loss: 0.01 }, 3_000_000, { client: { hasSack: false } }));
  assert.ok(mbps > theory * 0.5, `${mbps} Mbit/s, theory ${theory}`);
});

test('reordering within a round trip does not bring the goodput down', () => {
  const clean = transfer(1, { delayMs: 25 }, 6_000_000).mbps;
  const mbps = mean(3, seed => transfer(seed, { delayMs: 25, reorder: 0.05, reorderMs: 10 }, 6_000_000));
  assert.ok(mbps > clean * 0.6, `${mbps} of ${clean} Mbit/s`);
});

test('reordering beyond a round trip costs less than the same share of losses would', () => {
  const asLosses = (Math.sqrt(1.5 / 0.03) * 1368 * 8) / 50 / 1000;
  const mbps = mean(3, seed => transfer(seed, { delayMs: 25, reorder: 0.03, reorderMs: 60 }, 4_000_000));
  assert.ok(mbps > 1.5 * asLosses, `${mbps} Mbit/s, ${asLosses} if all were losses`);
});

test('duplication does not bring the goodput down', () => {
  const clean = transfer(1, { delayMs: 25 }, 6_000_000).mbps;
  const mbps = mean(3, seed => transfer(seed, { delayMs: 25, duplicate: 0.1 }, 6_000_000));
  assert.ok(mbps > clean * 0.8, `${mbps} of ${clean} Mbit/s`);
});

test('two connections share a bottleneck', () => {
  const world = new World({ seed: 6, link: { delayMs: 10, rate: 20e6, queueBytes: 60_000 } });
  const pairs = [world.open(), world.open()];
  const transfers = pairs.map(({ near, far }, i) => new Transfer(near, far, 40_000_000, i));
  world.onStep = now => {
    for (const each of transfers) each.pump(now);
  };
  world.runFor(10_000);
  const [one, two] = transfers.map(({ read }) => read);
  assert.ok(one! + two! > 20e6, `${one} and ${two} bytes in ten seconds`);
  assert.ok(Math.min(one!, two!) / Math.max(one!, two!) > 0.4, `${one} against ${two} bytes`);
});

test('a path that goes away for seconds is used again when it comes back', () => {
  const world = new World({ seed: 3, link: { delayMs: 10 } });
  const { near, far } = world.open();
  const up = new Transfer(near, far, 3_000_000);
  world.onStep = now => up.pump(now);
  const isDown = () => world.nowMs > 1100 && world.nowMs < 6100;
  world.up.filter = isDown;
  world.down.filter = isDown;
  assert.ok(
    world.run(() => up.isDone, 20_000),
    `${up.read} bytes`,
  );
  assert.ok(up.isIntact);
  assert.ok(near.info().timeouts >= 1);
});

test('a peer that falls silent for good is given up', () => {
  const world = new World({ seed: 3, link: { delayMs: 10 }, client: { limits: { giveUpMs: 100_000 } } });
  const { near } = world.open();
  near.write(world.nowMs, new Uint8Array(1000), 0, 1000);
  world.up.filter = () => true;
  world.runFor(400_000);
  assert.is(near.state, 'CLOSED');
  assert.is(near.error, 'ERR_TIMED_OUT');
  assert.is(world.client.tcp.connectionCount, 0);
});

test('a peer that restarted is found out with the next segment', () => {
  const world = new World({ seed: 3, link: { delayMs: 10 } });
  const { near, far } = world.open();
  far.abort(world.nowMs);
  world.down.filter = () => true;
  world.runFor(100);
  world.down.filter = undefined;
  near.write(world.nowMs, new Uint8Array(10), 0, 10);
  world.runFor(100);
  assert.is(near.error, 'ERR_CONNECTION_RESET');
});

test('1,000 connections open, carry a request and a response, close, and leave nothing behind', () => {
  const world = new World({ seed: 9, link: { delayMs: 10, loss: 0.01 } });
  world.server.tcp.listen(80);
  const replied = new Set<number>();
  world.server.onEvent = (now, connection) => {
    const buf = new Uint8Array(100);
    if (connection.read(now, buf, 0, 100) === 100) {
      connection.write(now, new Uint8Array(2000), 0, 2000);
      connection.shutdown(now);
      replied.add(connection.id);
    }
  };
  const got = new Map<number, number>();
  world.client.onEvent = (now, connection) => {
    const buf = new Uint8Array(4000);
    const count = connection.read(now, buf, 0, 4000);
    got.set(connection.id, (got.get(connection.id) ?? 0) + count);
    if (connection.isEnded) connection.shutdown(now);
  };
  for (let i = 0; i < 1000; i++) {
    const connection = world.connect(80);
    connection.write(world.nowMs, new Uint8Array(100), 0, 100);
    world.runFor(1);
  }
  world.runFor(200_000);
  assert.is(replied.size, 1000);
  assert.is([...got.values()].filter(count => count === 2000).length, 1000);
  for (const host of [world.client, world.server]) {
    assert.is(host.tcp.connectionCount, 0);
    assert.is(host.tcp.timeWaitCount, 0);
    assert.is(host.tcp.halfOpenCount, 0);
    assert.is(host.tcp.budget.usedBytes, 0);
    assert.is(host.tcp.nextTimeout(), Infinity);
  }
  assert.is(world.next(), Infinity, 'nothing more happens');
});

test('the same seed gives the same packets', () => {
  const trace = () => {
    const world = new World({ seed: 12, link: { delayMs: 10, loss: 0.05, reorder: 0.1, reorderMs: 5 } });
    const { near, far } = world.open();
    const up = new Transfer(near, far, 200_000);
    let hash = 0;
    world.up.filter = packet => {
      for (const byte of packet) hash = (Math.imul(hash, 31) + byte) | 0;
      return false;
    };
    world.onStep = now => up.pump(now);
    world.run(() => up.isDone);
    return `${hash} ${world.up.sent} ${world.nowMs}`;
  };
  assert.is(trace(), trace());
});

test('a clock that jumps back, or stands still, is no harm', () => {
  const world = new World({ seed: 2, link: { delayMs: 10, loss: 0.02 } });
  const { near, far } = world.open();
  const up = new Transfer(near, far, 200_000);
  let steps = 0;
  world.onStep = now => {
    up.pump(++steps % 50 === 0 ? now - 5000 : now);
    if (steps % 70 === 0) world.client.tcp.handleTimeout(now - 100_000);
  };
  assert.ok(world.run(() => up.isDone));
  assert.ok(up.isIntact);
});

test.run();
