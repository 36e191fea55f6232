/**
 * Machine instructions on the 32-bit engine, counted by callgrind on one and the same binary, and the engine's own steps.
 *
 * Only what runs inside of one function of the shell is counted (`--toggle-collect`). Operations are counted N and 2N
 * times; the difference has no start in it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildShell } from './engine.ts';
import { EngineLink } from './engine-link.ts';
import { bundleForEngine, moduleText, type SuiteName, suiteImport, writeMoteScript } from './remote-mote.ts';
import { TailnetWorld } from './tailnet-world.ts';

/** What an operation costs. */
export interface OperationCost {
  readonly instructions: number;
  readonly steps: number;
}

/** Operations that can be counted. */
export type OperationName = 'handshake' | 'seal';

/** Throws Error when there is no valgrind, naming what to install. */
export function mustHaveValgrind(): void {
  if (spawnSync('valgrind', ['--version']).status !== 0)
    throw new Error('valgrind is not installed, run apt-get install valgrind');
}

function callgrindArgs(folder: string, watched: string): string[] {
  return ['--tool=callgrind', '--quiet', `--toggle-collect=${watched}`, `--callgrind-out-file=${join(folder, 'out')}`];
}

/** The sum that callgrind has left. */
function collected(folder: string): number {
  const sum = /^(?:summary|totals): (\d+)/m.exec(readFileSync(join(folder, 'out'), 'utf8'))?.[1];
  if (sum === undefined) throw new Error('callgrind has left no sum');
  return Number(sum);
}

async function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-xs-'));
  try {
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Counts one operation: 2N less N of them, divided by N. */
export async function countOperation(suite: SuiteName, what: OperationName, count: number): Promise<OperationCost> {
  const shell = await buildShell(32);
  const run = (times: number) =>
    inFolder(async folder => {
      const script = join(folder, 'ops.js');
      const code = await bundleForEngine(`${suiteImport(suite)}
        ${suiteImport('native').replaceAll(/\bcreate\b/g, 'createHelper')}
        import { runOps } from ${moduleText('test/xs/ops.ts')};
        runOps(globalThis.__shell, create(), createHelper(), '${what}', ${times});`);
      writeFileSync(script, `globalThis.native = globalThis.__shell.native;\n${code}`);
      const args = [...callgrindArgs(folder, 'shell_counted'), shell, script];
      const said = execFileSync('valgrind', args, { encoding: 'utf8', timeout: 300_000 });
      const { steps } = JSON.parse(said.split('\n')[0]!) as { steps: number };
      return { instructions: collected(folder), steps };
    });
  const [once, twice] = await Promise.all([run(count), run(2 * count)]);
  return {
    instructions: Math.round((twice.instructions - once.instructions) / count),
    steps: Math.round((twice.steps - once.steps) / count),
  };
}

/** Runs a story with a mote on an engine under callgrind; frames of the mote count while it says so. */
async function countStory(story: (link: EngineLink) => Promise<void>): Promise<number> {
  const shell = await buildShell(32);
  return inFolder(async folder => {
    const script = await writeMoteScript(folder, 'native');
    const args = [...callgrindArgs(folder, 'shell_handle_counted'), shell, '--serve', script];
    const link = new EngineLink('valgrind', args);
    await story(link);
    await link.close();
    return collected(folder);
  });
}

/** From the call of `up` until the mote is a member of a tailnet of `devices` devices, all of them in its map. */
export async function countMapJoin(devices: number): Promise<number> {
  return countStory(async link => {
    const world = await TailnetWorld.create(1, devices - 2);
    const mote = world.mote(link);
    mote.isCounted = true;
    await world.join(mote);
  });
}

/** From the call of `up`, with what an earlier run has stored, until the first encrypted packet leaves. */
export async function countWake(): Promise<number> {
  const world = await TailnetWorld.create(1, 0);
  const { network } = world;
  const [member] = world.members;
  const shell = await buildShell(32);
  const listener = await member!.listen(80);
  void (async () => {
    for await (const connection of listener) connection.abort();
  })();
  const stored = await inFolder(async folder => {
    const link = new EngineLink(shell, ['--serve', await writeMoteScript(folder, 'native')]);
    const mote = world.mote(link);
    await world.join(mote, { resume: true });
    await network.until(mote.command({ type: 'ping', host: 'member-0' }));
    await network.advance(5000);
    await network.until(mote.command({ type: 'close' }));
    await link.close();
    return mote.stored;
  });
  return countStory(async link => {
    const mote = world.mote(link, true);
    mote.isCounted = true;
    mote.onDatagram = bytes => {
      if (bytes[0] === 4 && bytes[1] === 0) mote.isCounted = false;
    };
    const options = { control: world.coordinator.url, name: 'chip', resume: true };
    await network.until(mote.up(options, 6, stored));
    await network.until(mote.command({ type: 'ping', host: 'member-0' }));
    if (mote.isCounted) throw new Error('no packet left');
  });
}
