/**
 * `npm run xs`: the neutral tests and whole motes on a real XS engine, 32 bit (16-byte slots, as on an ESP32) and 64 bit.
 *
 * Each file is a script of its own in a fresh engine; it must end with the sentinel line, must have as many tests as on
 * Node, and must not have written to a table of a module. `npm run xs -- http2 tcp` narrows to files whose path contains
 * one of the words, `--32` and `--64` to one engine. `npm run xs -- --sdk` runs the same scripts with the test shell
 * (xst) of the developer's own Moddable SDK, found by $MODDABLE. Ends with `N passed, N failed, N skipped`.
 * `npm run xs -- --memory whole` (or `small`) shows instead where the memory of a mote goes (heap-report.ts).
 * Exit codes: 0 all passed, 1 something failed, 3 no test ran.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { bundleTests, runInRealm } from '../tools/realm.ts';
import { addTally, closingLine, emptyTally, exitCode, type Tally } from '../tools/tally.ts';
import { EXCLUDED, ONLY_32, SENTINEL, XS_SCALE, xsScript, xsTests } from './bundles.ts';
import { buildShell } from './engine.ts';
import { reportHeap } from './heap-report.ts';
import { runStories } from './stories.ts';

/** A file that takes longer is stopped and counts as failed. */
const FILE_TIMEOUT_MS = 240_000;
/** Slots of the engine's stack: some tests spread long arrays into arguments. */
const STACK_SLOTS = 131_072;

/** An engine to run scripts on. */
interface Engine {
  readonly name: string;
  readonly program: string;
  readonly flags: readonly string[];
  readonly hasNative: boolean;
  /** Has 64 bits beside one of 32. */
  readonly isWide: boolean;
}

/** What a script printed as its last word. */
interface ScriptResult extends Tally {
  readonly report: string;
  readonly changed: readonly string[];
  readonly failure?: string;
}

/** What became of one script. */
interface Outcome extends Tally {
  readonly complaint: string;
  readonly cpuMs: number;
}

function runScript(engine: Engine, path: string): Promise<{ code: number | string; output: string }> {
  const limits = { timeout: FILE_TIMEOUT_MS, maxBuffer: 64 << 20 };
  return new Promise(resolve => {
    execFile(engine.program, [...engine.flags, path], limits, (error, stdout, stderr) => {
      const { code, signal } = (error ?? {}) as { code?: number; signal?: string };
      resolve({ code: error === null ? 0 : (code ?? signal ?? 1), output: stdout + stderr });
    });
  });
}

/** Judges one run: the sentinel, the number of tests, the tables of modules. */
function judge(code: number | string, output: string, counted: number): Outcome {
  const line = output.split('\n').find(text => text.startsWith(SENTINEL));
  const cpuMs = Number(/"cpuMs":(\d+)/.exec(output)?.[1] ?? 0);
  const failed = (complaint: string) => ({ passed: 0, failed: 1, skipped: 0, complaint, cpuMs });
  if (line === undefined) return failed(`no last word (exit code ${code}): ${output.trim().slice(-2000)}`);
  const result = JSON.parse(line.slice(SENTINEL.length)) as ScriptResult;
  if (result.failure !== undefined) return failed(result.failure);
  const complaints = result.failed > 0 ? [result.report] : [];
  const total = result.passed + result.failed + result.skipped;
  if (code !== 0) complaints.push(`exit code ${code}: ${output.trim().slice(-500)}`);
  if (total !== counted) complaints.push(`${total} tests, and ${counted} on Node`);
  if (result.changed.length > 0) complaints.push(`tables were written to: ${result.changed.join(', ')}`);
  const isWorse = complaints.length > 0 && result.failed === 0;
  return { ...result, failed: result.failed + (isWorse ? 1 : 0), complaint: complaints.join('\n'), cpuMs };
}

/** How many tests a file has on Node without WebAssembly, which no microcontroller has either. */
async function countTests(file: string): Promise<number> {
  const result = await runInRealm(await bundleTests([file], { freezes: false, onlyCounts: true }), 'no-wasm');
  return result.passed + result.skipped;
}

/** Runs all files on all engines, as many at a time as there are cores. */
async function runAll(engines: readonly Engine[], files: readonly string[]): Promise<Tally> {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-xs-'));
  const sums = new Map(engines.map(({ name }) => [name, emptyTally()]));
  const hasNative = engines.every(engine => engine.hasNative);
  const waiting = [...files];
  const lane = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const path = join(folder, `${file.replaceAll('/', '-')}.js`);
      writeFileSync(path, await xsScript(file, hasNative));
      const counted = await countTests(file);
      for (const engine of engines) {
        if (engine.isWide && ONLY_32[file] !== undefined) continue;
        const { code, output } = await runScript(engine, path);
        const outcome = judge(code, output, counted);
        addTally(sums.get(engine.name)!, outcome);
        console.log(`${engine.name}  ${file}  ${closingLine(outcome)}  ${outcome.cpuMs} ms`);
        if (outcome.complaint !== '') console.log(outcome.complaint);
      }
      rmSync(path);
    }
  };
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, lane));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const sum = emptyTally();
  for (const [name, tally] of sums) {
    addTally(sum, tally);
    console.log(`${name}: ${closingLine(tally)}`);
  }
  return sum;
}

/** The developer's own SDK; throws Error saying what to set. */
function sdkEngine(): Engine {
  const home = process.env['MODDABLE'];
  if (home === undefined)
    throw new Error('--sdk needs the Moddable SDK: set MODDABLE to its folder, then build its xst');
  for (const kind of ['release', 'debug']) {
    const program = join(home, 'build/bin/lin', kind, 'xst');
    if (existsSync(program))
      return { name: `${basename(home)} xst (${kind})`, program, flags: ['-s'], hasNative: false, isWide: false };
  }
  throw new Error(`${home} has no build/bin/lin/release/xst: run make in ${join(home, 'xs/makefiles/lin')} (xst.mk)`);
}

async function engines(args: readonly string[]): Promise<Engine[]> {
  if (args.includes('--sdk')) return [sdkEngine()];
  const wanted = ([32, 64] as const).filter(bits => !args.includes(bits === 32 ? '--64' : '--32'));
  const flags = ['--stack', String(STACK_SLOTS)];
  const found: Engine[] = [];
  for (const bits of wanted)
    found.push({
      name: `XS 13, ${bits} bit`,
      program: await buildShell(bits),
      flags,
      hasNative: true,
      isWide: bits === 64,
    });
  return found;
}

async function main(args: readonly string[]): Promise<Tally> {
  const words = args.filter(arg => !arg.startsWith('--'));
  const files = xsTests().filter(file => words.length === 0 || words.some(word => file.includes(word)));
  let list: Engine[];
  try {
    list = await engines(args);
  } catch (error) {
    console.log((error as Error).message);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  console.log(`random tests do ${XS_SCALE * 100} % of their usual rounds here`);
  for (const [file, reason] of Object.entries(EXCLUDED)) console.log(`not run: ${file}: ${reason}`);
  if (list.some(engine => engine.isWide))
    for (const [file, reason] of Object.entries(ONLY_32)) console.log(`32 bit only: ${file}: ${reason}`);
  const started = performance.now();
  const tally = await runAll(list, files);
  if (words.length === 0 && list.some(engine => engine.hasNative && !engine.isWide))
    addTally(tally, await runStories());
  console.log(`${((performance.now() - started) / 1000).toFixed(0)} s`);
  return tally;
}

const given = process.argv.slice(2);
if (given[0] === '--memory') {
  await reportHeap(given[1] === 'small' ? 'small' : 'whole', Number(given[2] ?? 300));
  process.exit(0);
}
const tally = await main(given);
console.log(`\n${closingLine(tally)}`);
process.exit(exitCode(tally)); // the compiler's server that reads sources would keep the process
