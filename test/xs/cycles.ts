/**
 * An hour of a small device's life on the 32-bit engine, in virtual time: 20 cycles of three minutes with traffic, a
 * rekey, Wi-Fi that is lost and a coordinator that restarts. After a collection at the same phase of each cycle the
 * memory in use must be what it was.
 */
import type { MemoryNetwork } from '../sim/memory-host.ts';
import { usedBytes, withMoteEngine } from './memory.ts';
import { TailnetWorld } from './tailnet-world.ts';

const CYCLES = 20;
const CYCLE_MS = 180_000;
/** Cycles at the start in which tables are still filled. */
const WARM_UP = 3;
/** What later cycles may differ by: a timer more or less. */
const SLACK_BYTES = 1024;

/** Bytes in use at the end of each cycle, above the engine without a mote. */
export async function runCycles(cycles = CYCLES): Promise<number[]> {
  return withMoteEngine('native', async (link, base) => {
    const world = await TailnetWorld.create(2, 0);
    const { network, coordinator, members } = world;
    const mote = world.mote(link);
    await world.join(mote);
    await network.until(mote.command({ type: 'serve', port: 80, bytes: 1000 }));
    const used: number[] = [];
    for (let cycle = 0; cycle < cycles; cycle++) {
      const endMs = network.nowMs + CYCLE_MS;
      if ((await world.request(members[cycle % 2]!)) <= 1000) throw new Error('the answer was cut off');
      await loseWifi(network, 20_000);
      await world.request(members[(cycle + 1) % 2]!);
      coordinator.kill();
      await network.advance(3000);
      coordinator.restart();
      await network.advance(endMs - network.nowMs);
      used.push(usedBytes(link.memory('collect')) - usedBytes(base));
    }
    return used;
  });
}

async function loseWifi(network: MemoryNetwork, ms: number): Promise<void> {
  const { fate } = network;
  network.fate = () => ({ isDropped: true, delayMs: 1 });
  network.streams.isCut = () => true;
  await network.advance(ms);
  network.fate = fate;
  network.streams.isCut = () => false;
}

/** Throws Error when memory grows: the later half of the cycles against those before it. */
export function expectFlat(used: readonly number[]): void {
  const settled = used.slice(WARM_UP);
  const half = settled.length >> 1;
  const [early, late] = [Math.max(...settled.slice(0, half)), Math.max(...settled.slice(half))];
  if (late > early + SLACK_BYTES) throw new Error(`memory grows: ${used.join(' ')} bytes after each cycle`);
}
