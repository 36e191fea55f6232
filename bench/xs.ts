/**
 * A mote on a real XS engine, 32 bit: memory in a tailnet of 300 devices, machine instructions of the crypto suites.
 *
 * Memory is chunk heap plus slots above an engine with the same scripts loaded and no mote made (test/xs/memory.ts);
 * instructions are counted by callgrind on the same binary (test/xs/instructions.ts), with the engine's steps beside
 * them. The engine is XS 13 on x86, so instructions are a proxy for those of a board, and the crypto in C is compiled by
 * gcc -O3. The map is a whole one unless the name of a figure says otherwise.
 */
import { measureMemory } from '../test/xs/memory.ts';
import {
  countMapJoin,
  countOperation,
  countWake,
  mustHaveValgrind,
  type OperationCost,
} from '../test/xs/instructions.ts';

/** What {@link bench} gives. KB are 1024 bytes. */
export interface XsFigures {
  /** Of the modules once loaded into RAM, without bytecode; on a board they are preloaded into flash instead. */
  readonly moduleRamKB: number;
  readonly bytecodeKB: number;
  readonly ramIdleKB: number;
  /** By a whole map, as a foreign coordinator sends it; and where a policy leaves the device four of the 299. */
  readonly ramPeakKB300Peers: number;
  readonly ramIdleKBSmallMap: number;
  readonly ramPeakKB300PeersSmallMap: number;
  readonly ramPerIdlePeerBytes: number;
  readonly ramPerActivePeerBytes: number;
  /** The initiator's part of a handshake, and a packet of 1420 bytes sealed: tuned JavaScript, noble, native. */
  readonly handshakeInstr: number;
  readonly nobleHandshakeInstr: number;
  readonly seal1420Instr: number;
  readonly nobleSeal1420Instr: number;
  readonly nativeHandshakeInstr: number;
  readonly nativeSeal1420Instr: number;
  /** With what an earlier run has stored, from `up` to the first encrypted packet; native suite. */
  readonly wakeToFirstByteInstr: number;
  /** From `up` to a member of a tailnet of 300 devices; native suite. */
  readonly mapJoinInstr: number;
  /** How {@link XsFigures.mapJoinInstr} came about: counted, or a straight line through two smaller tailnets. */
  readonly mapJoinIs: 'counted' | 'extrapolated';
  /** The engine's own steps for the six operations. */
  readonly steps: { readonly [name: string]: number };
}

const DEVICES = 300;
/** Tailnets of so many devices give the line that a short run extrapolates from. */
const SMALL_TAILNETS = [4, 12] as const;

/** Measures all of it: a minute when short, some five otherwise. Throws Error when a program is missing. */
export async function bench({ isShort }: { isShort: boolean }): Promise<XsFigures> {
  mustHaveValgrind();
  const memory = await measureMemory('native');
  const small = await measureMemory('native', true);
  const [tunedShake, tunedSeal] = await both('tuned', isShort ? 1 : 4, isShort ? 1 : 20);
  const [nativeShake, nativeSeal] = await both('native', isShort ? 1 : 10, isShort ? 20 : 200);
  const [nobleShake, nobleSeal] = await both('noble', 1, isShort ? 1 : 10);
  return {
    moduleRamKB: kilobytes(memory.module),
    bytecodeKB: kilobytes(memory.code),
    ramIdleKB: kilobytes(memory.idle),
    ramPeakKB300Peers: kilobytes(memory.peak),
    ramIdleKBSmallMap: kilobytes(small.idle),
    ramPeakKB300PeersSmallMap: kilobytes(small.peak),
    ramPerIdlePeerBytes: Math.round(memory.perIdlePeer),
    ramPerActivePeerBytes: Math.round(memory.perActivePeer),
    handshakeInstr: tunedShake.instructions,
    nobleHandshakeInstr: nobleShake.instructions,
    seal1420Instr: tunedSeal.instructions,
    nobleSeal1420Instr: nobleSeal.instructions,
    nativeHandshakeInstr: nativeShake.instructions,
    nativeSeal1420Instr: nativeSeal.instructions,
    wakeToFirstByteInstr: await countWake(),
    mapJoinInstr: isShort ? await extrapolatedJoin() : await countMapJoin(DEVICES),
    mapJoinIs: isShort ? 'extrapolated' : 'counted',
    steps: {
      handshake: tunedShake.steps,
      nobleHandshake: nobleShake.steps,
      seal1420: tunedSeal.steps,
      nobleSeal1420: nobleSeal.steps,
      nativeHandshake: nativeShake.steps,
      nativeSeal1420: nativeSeal.steps,
    },
  };
}

async function both(
  suite: 'noble' | 'tuned' | 'native',
  handshakes: number,
  seals: number,
): Promise<[OperationCost, OperationCost]> {
  return [await countOperation(suite, 'handshake', handshakes), await countOperation(suite, 'seal', seals)];
}

async function extrapolatedJoin(): Promise<number> {
  const [few, more] = [await countMapJoin(SMALL_TAILNETS[0]), await countMapJoin(SMALL_TAILNETS[1])];
  const perDevice = (more - few) / (SMALL_TAILNETS[1] - SMALL_TAILNETS[0]);
  return Math.round(few + perDevice * (DEVICES - SMALL_TAILNETS[0]));
}

function kilobytes(bytes: number): number {
  return Math.round(bytes / 102.4) / 10;
}
