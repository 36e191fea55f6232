/**
 * Interop cases: hostile datagrams against a live mote while stock WireGuard talks to it.
 */
import { type Bench, type Case, expect, transfer } from './case.ts';
import { FAR, NEAR } from './pair.ts';
import { count } from './stock.ts';

/** What the process may grow by: room for young objects, which the runtime widens under load, and far below the traffic. */
const GROWTH_BYTES = 48e6;
/** What live objects and buffers may grow by. */
const HEAP_BYTES = 4e6;

/** Drops in WireGuard; what the stack above refuses is not the attacker's doing. */
function outerDrops(drops: Record<string, number>): number {
  return Object.entries(drops).reduce((sum, [name, times]) => (name.startsWith('wg-') ? sum + times : sum), 0);
}

async function hostile(bench: Bench): Promise<string> {
  const pair = await bench.pair({ hop: {} });
  const { near, kernel } = pair;
  const bytes = bench.isQuick ? 2e6 : 20e6;
  let port = 7000;
  const legitimate = () => [
    transfer(near, kernel, { host: FAR.v4, port: port++, bytes, seed: 41 }),
    transfer(kernel, near, { host: NEAR.v4, port: port++, bytes, seed: 42 }),
  ];
  await Promise.all(legitimate());
  // A first wave warms the code up, so that its compilation is not taken for a leak.
  await pair.hop!.call('attack', { count: 5000, perMs: 10 });
  const look = async () => {
    const { rss, heapUsed, arrayBuffers } = await near.call('memory');
    return { drops: (await pair.nearStatus()).drops, rss, heap: heapUsed + arrayBuffers };
  };
  const before = await look();
  const kernelDropsBefore = await pair.nearSpace.udpCounter('RcvbufErrors');
  const total = bench.isSoak ? 1_000_000 : bench.isQuick ? 10_000 : 100_000;
  let transfers = 0;
  let isOver = false;
  const traffic = (async () => {
    while (!isOver) {
      await Promise.all(legitimate());
      transfers += 2;
    }
  })();
  const kinds = await pair.hop!.call('attack', { count: total, perMs: 8 }, 600_000);
  isOver = true;
  await traffic;
  await near.call('ping', { host: FAR.v4 });
  await kernel.call('ping', { host: NEAR.v4 });
  // Connections of the last transfers may still be closing, each with its buffers: what stays is what counts.
  let after = await look();
  for (let tries = 0; tries < 20 && after.heap - before.heap >= HEAP_BYTES; tries++) {
    await new Promise(resolve => setTimeout(resolve, 500));
    after = await look();
  }
  const kernelDrops = (await pair.nearSpace.udpCounter('RcvbufErrors')) - kernelDropsBefore;
  const counted = outerDrops(after.drops) - outerDrops(before.drops);
  const reasons = Object.entries(after.drops)
    .map(([name, times]) => [name, times - (before.drops[name] ?? 0)] as const)
    .filter(([name, times]) => times > 0 && name.startsWith('wg-'))
    .map(([name, times]) => `${name} ${count(times)}`);
  // What overflowed in the kernel's buffer never reached the mote; whether it was friend or foe nobody knows.
  expect(
    Math.abs(counted - total) <= kernelDrops,
    `${counted} of ${total} are counted (${kernelDrops} lost in the kernel): ${reasons}`,
  );
  const heap = after.heap - before.heap;
  const rss = after.rss - before.rss;
  expect(heap < HEAP_BYTES, `the heap grew by ${heap} bytes`);
  expect(rss < GROWTH_BYTES, `the process grew by ${rss} bytes`);
  const sent = Object.entries(kinds).map(([name, times]) => `${count(times)} ${name}`);
  return (
    `${sent.join(', ')}; dropped: ${reasons.join(', ')}; ${transfers} transfers of ${count(bytes)} B intact meanwhile, ` +
    `heap ${(heap / 1e6).toFixed(1)} MB, process ${(rss / 1e6).toFixed(1)} MB more, ${await pair.far.evidence()}`
  );
}

/** Hostile cases. */
export const hostileCases: readonly Case[] = [
  {
    name: 'hostile-datagrams',
    title:
      '100,000 random, truncated, replayed, mutated and extended datagrams: every one is counted, memory is flat, transfers go on',
    isMoteOnly: true,
    timeoutMs: 900_000,
    run: hostile,
  },
];
