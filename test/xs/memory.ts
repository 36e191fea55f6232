/**
 * What a mote takes on the 32-bit engine: module memory, memory of an idle member, and the peak of a story: it joins a
 * tailnet of 300 devices, four of them talk with it, and its HTTP server answers one of them.
 *
 * Memory is chunk heap plus slot heap above an engine that has the same scripts loaded and no mote made. Used memory is
 * counted after a collection. The peak is what the heaps have grown to, in steps of 1 KB and 64 slots as on a board,
 * which only happens when a collection has not made enough room.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildShell } from './engine.ts';
import { EngineLink, type MemoryFigures } from './engine-link.ts';
import { type SuiteName, writeMoteScript } from './remote-mote.ts';
import { TailnetWorld } from './tailnet-world.ts';

/** Devices of the tailnet beside the mote, and how many of them talk with it. */
export const DEVICES = 299;
const ACTIVE = 4;
const ANSWER_BYTES = 4000;
/** Until what a first packet sets going with a peer is done: the same before each figure that is compared. */
const SETTLED_MS = 100;

/** All in bytes. */
export interface MoteMemory {
  /** Of the scripts once loaded, without their bytecode, which is in flash on a board; nothing of it if preloaded. */
  readonly module: number;
  readonly code: number;
  /** A member of the tailnet that nobody talks with. */
  readonly idle: number;
  readonly peak: number;
  readonly perIdlePeer: number;
  readonly perActivePeer: number;
}

/** Bytes in use. */
export function usedBytes(figures: MemoryFigures): number {
  return figures.chunkUsed + figures.slotUsed;
}

/** Bytes that the heaps have. */
export function reservedBytes(figures: MemoryFigures): number {
  return figures.chunkReserved + figures.slotReserved;
}

/** Runs `story` with an engine that has the mote's script loaded, its memory once it is fitted, and before. */
export async function withMoteEngine<T>(
  suite: SuiteName,
  story: (link: EngineLink, base: MemoryFigures, loaded: MemoryFigures) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-xs-'));
  try {
    const script = await writeMoteScript(folder, suite);
    const link = new EngineLink(await buildShell(32), ['--serve', script]);
    const loaded = link.memory('collect');
    const result = await story(link, link.memory('fit'), loaded);
    const code = await link.close();
    if (code !== 0) throw new Error(`the engine ended with ${code}`);
    return result;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Memory of an engine with nothing loaded. */
async function emptyBytes(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-xs-'));
  const script = join(folder, 'empty.js');
  writeFileSync(script, ';');
  const link = new EngineLink(await buildShell(32), ['--serve', script]);
  const bytes = usedBytes(link.memory('collect'));
  await link.close();
  rmSync(folder, { recursive: true, force: true });
  return bytes;
}

/** Moments of the story: a member that nobody talks with; three members have talked with it; all four; the end. */
export type StoryMoment = 'idle' | 'three' | 'active' | 'answered';

/** Has a mote on `link` live the story; `look` is called at its moments. `isRestricted`: by the small map, else by a foreign one. */
export async function runMemoryStory(
  link: EngineLink,
  isRestricted: boolean,
  peers: number,
  look: (moment: StoryMoment) => void,
): Promise<void> {
  const world = await TailnetWorld.create(ACTIVE, peers - ACTIVE, isRestricted, !isRestricted);
  const mote = world.mote(link);
  await world.join(mote);
  await world.network.advance(10_000);
  look('idle');
  await world.network.until(mote.command({ type: 'serve', port: 80, bytes: ANSWER_BYTES }));
  for (const member of world.members.slice(1)) await world.network.until(member.ping('chip'));
  await world.network.advance(SETTLED_MS);
  look('three');
  await world.network.until(world.members[0]!.ping('chip'));
  await world.network.advance(SETTLED_MS);
  look('active');
  const length = await world.request(world.members[0]!);
  if (length <= ANSWER_BYTES) throw new Error(`the answer had ${length} bytes`);
  look('answered');
}

/** Measures all of it. `isRestricted`: by the small map; `peers` is how many devices there are beside the mote. */
export async function measureMemory(suite: SuiteName, isRestricted = false, peers = DEVICES): Promise<MoteMemory> {
  const empty = await emptyBytes();
  const few = await withMoteEngine(suite, (link, base) => idleBytes(link, base, ACTIVE));
  return withMoteEngine(suite, async (link, base, loaded) => {
    const used: { [moment in StoryMoment]?: number } = {};
    await runMemoryStory(link, isRestricted, peers, moment => {
      if (moment !== 'answered') used[moment] = usedBytes(link.memory('collect')) - usedBytes(base);
    });
    const { idle = 0, three = 0, active = 0 } = used;
    const perActivePeer = active - three;
    const peak = reservedBytes(link.memory('figures')) - reservedBytes(base);
    const module = usedBytes(loaded) - empty - loaded.codeBytes;
    const perIdlePeer = (idle - few) / (peers - ACTIVE);
    return { module, code: loaded.codeBytes, idle, peak, perIdlePeer, perActivePeer };
  });
}

/** How long the coordinator is away, and how long the mote has to come back to it. */
const AWAY_MS = 5000;
const RETURN_MS = 60_000;

/**
 * The peak of a member whose coordinator restarts, so that it reads its whole map a second time while it has the first;
 * nothing else happens. `joined` is the peak before.
 */
export async function measureReconnect(
  suite: SuiteName,
  isRestricted: boolean,
  peers = DEVICES,
): Promise<{ joined: number; reconnected: number }> {
  return withMoteEngine(suite, async (link, base) => {
    const world = await TailnetWorld.create(ACTIVE, peers - ACTIVE, isRestricted, !isRestricted);
    await world.join(world.mote(link));
    await world.network.advance(10_000);
    const grown = () => reservedBytes(link.memory('figures')) - reservedBytes(base);
    const joined = grown();
    world.coordinator.kill();
    await world.network.advance(AWAY_MS);
    world.coordinator.restart();
    await world.network.advance(RETURN_MS);
    return { joined, reconnected: grown() };
  });
}

async function idleBytes(link: EngineLink, base: MemoryFigures, peers: number): Promise<number> {
  const world = await TailnetWorld.create(peers, 0, false, true);
  await world.join(world.mote(link));
  await world.network.advance(10_000);
  return usedBytes(link.memory('collect')) - usedBytes(base);
}
