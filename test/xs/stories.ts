/**
 * Stories of a whole mote on the 32-bit engine, against a coordinator, a relay and members that run in this process: how
 * much memory a member of a large tailnet takes, and that an hour of its life leaves none behind.
 */
import { emptyTally, type Tally } from '../tools/tally.ts';
import { expectFlat, runCycles } from './cycles.ts';
import { measureMemory, measureReconnect } from './memory.ts';

/**
 * What the story of 300 devices may take at its peak above the engine with its modules, by a whole map and by the small
 * one: what is reached and a little more. More than 96 is never to be had.
 */
const PEAK_BUDGETS_KB = Object.freeze({ whole: 84, small: 54 });
/** The same for a member that nobody talks with, when the coordinator restarts and the map comes a second time. */
const RECONNECT_BUDGETS_KB = Object.freeze({ whole: 82, small: 49 });

const STORIES: { readonly [name: string]: () => Promise<string> } = Object.freeze({
  'a mote joins a tailnet of 300 devices, four talk with it, its HTTP server answers': () => joins('whole'),
  'the same where a policy leaves it only those four, by the small map': () => joins('small'),
  'a coordinator of 300 devices restarts, and the map comes again': () => reconnects('whole'),
  'the same by the small map': () => reconnects('small'),
  'memory is flat over an hour of rekeys, lost Wi-Fi and coordinator restarts': async () => {
    const used = await runCycles();
    expectFlat(used);
    return `${used.length} cycles, ${used.map(kilobytes).join(' ')} KB`;
  },
});

async function joins(map: 'whole' | 'small'): Promise<string> {
  const { idle, peak, perIdlePeer, perActivePeer } = await measureMemory('native', map === 'small');
  const budget = PEAK_BUDGETS_KB[map];
  const shown = `idle ${kilobytes(idle)} KB, peak ${kilobytes(peak)} KB of ${budget}`;
  if (peak > budget * 1024) throw new Error(`it takes too much memory: ${shown}`);
  const perPeer = map === 'small' ? '' : `${Math.round(perIdlePeer)} bytes an idle peer, `;
  return `${shown}; ${perPeer}${Math.round(perActivePeer)} an active one`;
}

async function reconnects(map: 'whole' | 'small'): Promise<string> {
  const { joined, reconnected } = await measureReconnect('native', map === 'small');
  const budget = RECONNECT_BUDGETS_KB[map];
  const shown = `peak of the join ${kilobytes(joined)} KB, afterwards ${kilobytes(reconnected)} KB of ${budget}`;
  if (reconnected > budget * 1024) throw new Error(`it takes too much memory: ${shown}`);
  return shown;
}

/** Runs them one after another and prints a line for each. */
export async function runStories(): Promise<Tally> {
  const tally = emptyTally();
  for (const [name, run] of Object.entries(STORIES)) {
    try {
      console.log(`XS 13, 32 bit  ${name}: ${await run()}`);
      tally.passed++;
    } catch (error) {
      console.log(`XS 13, 32 bit  FAILED  ${name}: ${(error as Error).message}`);
      tally.failed++;
    }
  }
  return tally;
}

function kilobytes(bytes: number): string {
  return (bytes / 1024).toFixed(1);
}
