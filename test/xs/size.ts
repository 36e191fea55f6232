/**
 * The second half of `npm run size`: bytes that a board has in flash for the library. The bytecode is what XS 13 makes of
 * a whole mote (and of the few hundred lines by which a test drives it); beside it a preloaded module has in flash the
 * slots, names and texts that the engine makes of its classes, functions and tables. The native crypto is compiled with
 * -Os for 32-bit x86, which stands in for the chip's compiler. Fails above the budgets below. Without a compiler for 32
 * bit it says so, and fails only in continuous checks.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../tools/files.ts';
import { EngineLink } from './engine-link.ts';
import { buildShell, enginePackage } from './engine.ts';
import { usedBytes } from './memory.ts';
import { writeMoteScript } from './remote-mote.ts';

const BYTECODE_BUDGET_BYTES = 510_000;
const SLOTS_BUDGET_BYTES = 500_000;
const NATIVE_BUDGET_BYTES = 20_000;
const NATIVE = join(ROOT, 'targets/moddable/native');

/** Bytecode of a mote and what its modules make at their top level, less that of an engine that runs nothing. */
async function moduleBytes(folder: string): Promise<{ bytecode: number; slots: number }> {
  const shell = await buildShell(32);
  const empty = join(folder, 'empty.js');
  writeFileSync(empty, '0;\n');
  const [mote, nothing] = [await writeMoteScript(folder, 'native', true), empty].map(script => {
    const link = new EngineLink(shell, ['--serve', script]);
    const figures = link.memory('collect');
    link.close();
    return { bytecode: figures.codeBytes, slots: usedBytes(figures) - figures.codeBytes };
  });
  return { bytecode: mote!.bytecode - nothing!.bytecode, slots: mote!.slots - nothing!.slots };
}

/** Code and constants of the native crypto with its binding. */
function nativeBytes(folder: string): number {
  const sources = readFileSync(join(NATIVE, 'sources.txt'), 'utf8').trim().split('\n');
  const xs = join(enginePackage(), 'moddable/xs');
  const includes = [...['includes', 'platforms', 'sources'].map(name => join(xs, name)), NATIVE, join(ROOT, 'test/xs')];
  let sum = 0;
  for (const source of sources) {
    const object = join(folder, `${source}.o`);
    const platform = ['-DINCLUDE_XSPLATFORM', '-DXSPLATFORM="platform.h"'];
    const flags = [
      '-m32',
      '-Os',
      '-w',
      '-fno-pic',
      '-fno-asynchronous-unwind-tables',
      ...platform,
      ...includes.map(path => `-I${path}`),
    ];
    const compiled = spawnSync('gcc', [...flags, '-c', join(NATIVE, source), '-o', object], { encoding: 'utf8' });
    if (compiled.status !== 0) throw new Error(`gcc ${source}: ${compiled.stderr}`);
    const [text = 0, data = 0] = spawnSync('size', [object], { encoding: 'utf8' })
      .stdout.trim()
      .split('\n')[1]!
      .trim()
      .split(/\s+/)
      .map(Number);
    sum += text + data;
  }
  return sum;
}

/** Prints one line; true when it is within its budget. */
function report(name: string, bytes: number, budget: number): boolean {
  const isOver = bytes > budget;
  console.log(`${name.padEnd(22)}${String(bytes).padStart(8)} bytes, budget ${budget}${isOver ? '   OVER' : ''}`);
  return !isOver;
}

const folder = mkdtempSync(join(tmpdir(), 'motenet-size-'));
try {
  console.log('in flash, on a board');
  const { bytecode, slots } = await moduleBytes(folder);
  const isFine = [
    report('bytecode (XS 13)', bytecode, BYTECODE_BUDGET_BYTES),
    report('slots and names', slots, SLOTS_BUDGET_BYTES),
    report('native crypto (-Os)', nativeBytes(folder), NATIVE_BUDGET_BYTES),
  ];
  if (isFine.includes(false)) process.exitCode = 1;
} catch (error) {
  console.log(`not measured: ${error instanceof Error ? error.message : String(error)}`);
  if (process.env['CI'] === 'true') process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
