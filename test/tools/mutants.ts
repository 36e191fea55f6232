/**
 * `npm run mutants`: every security check of lib, by name, is switched off in turn, and a test must go red.
 *
 * `npm run mutants -- wg-replay` does it for the checks whose name contains the word; `--json` prints an object per
 * check. Exit code 1 when a check survives, when a mark cannot be used, or when the tests are red with every check on.
 *
 * The tree is not touched. Each test file is bundled once, with every marked condition behind a switch; a first run
 * shows which tests make which condition true, and only those run again with that check off.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build, type Plugin } from 'esbuild';
import { describe, parseFolders } from '../checks/source.ts';
import { findFiles, ROOT } from './files.ts';
import { type CheckMark, findMarks } from './marks.ts';
import type { MutantAnswer, MutantJob } from './mutant-worker.ts';
import { closingLine } from './tally.ts';

/** See {@link MutantOptions.leastTimeoutMs}. */
const LEAST_TIMEOUT_MS = 10_000;
const BASELINE_TIMEOUT_MS = 120_000;

/** Tests that need processes, networks or the tree itself say nothing about one condition. */
const UNSUITED =
  /^test\/(interop|targets|server|sim|contract|checks|purity|tools|cli|native|moddable)\/|\.slow\.test\.ts$/;

/** Result for one check. */
export interface Verdict {
  readonly name: string;
  readonly at: string;
  /** File and test that went red; undefined when the check survived. */
  readonly killedBy: string | undefined;
  /** How many test files make the condition true. */
  readonly reachedBy: number;
}

/** What {@link runMutants} takes. */
export interface MutantOptions {
  readonly marks: readonly CheckMark[];
  readonly files: readonly string[];
  /** Texts of files of lib and test that are not on disk, by path. */
  readonly extra?: { readonly [path: string]: string };
  /** A test with a check off has ten times its usual time, but at least this; then it counts as red. */
  readonly leastTimeoutMs?: number;
  readonly onVerdict?: (verdict: Verdict) => void;
  /** Called for a test file that is red with every check on: it is left out, since it proves nothing. */
  readonly onRed?: (file: string, failed: string) => void;
}

interface Subject {
  readonly file: string;
  readonly bundle: string;
  readonly reached: MutantAnswer['reached'];
  readonly ms: number;
}

/** Switches each check off in turn. */
export async function runMutants(options: MutantOptions): Promise<Verdict[]> {
  const { marks, files, extra, onVerdict, onRed, leastTimeoutMs = LEAST_TIMEOUT_MS } = options;
  const folder = mkdtempSync(join(tmpdir(), 'motenet-mutants-'));
  const lanes = Array.from({ length: availableParallelism() }, () => new Lane());
  try {
    const switches = switcher(marks, extra ?? {});
    const subjects: Subject[] = [];
    await share(lanes, files, async (lane, file) => {
      const bundle = join(folder, `${file.replaceAll('/', '_')}.cjs`);
      const problem = await bundleTest(file, bundle, switches);
      const job = { path: bundle, off: undefined };
      const { failed, reached, ms } =
        problem === undefined ? await lane.run(job, BASELINE_TIMEOUT_MS) : { failed: problem, reached: {}, ms: 0 };
      if (failed !== undefined) onRed?.(file, failed);
      else subjects.push({ file, bundle, reached, ms });
    });
    const verdicts: Verdict[] = [];
    await share(lanes, marks, async (lane, mark) => {
      const verdict = await judge(lane, mark, subjects, leastTimeoutMs);
      verdicts.push(verdict);
      onVerdict?.(verdict);
    });
    return verdicts;
  } finally {
    for (const lane of lanes) lane.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function share<T>(lanes: readonly Lane[], items: readonly T[], act: (lane: Lane, item: T) => Promise<void>) {
  const waiting = [...items];
  const serve = async (lane: Lane) => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await act(lane, item);
  };
  await Promise.all(lanes.map(serve));
}

/** Own folder first, then the quickest. */
async function judge(lane: Lane, mark: CheckMark, subjects: readonly Subject[], least: number): Promise<Verdict> {
  const own = `test/${mark.path.split('/')[1]}/`;
  const rank = (subject: Subject) => (subject.file.startsWith(own) ? 0 : 1e9) + subject.ms;
  const reaching = subjects.filter(({ reached }) => mark.name in reached).sort((a, b) => rank(a) - rank(b));
  let killedBy: string | undefined;
  for (const { file, bundle, ms, reached } of reaching) {
    const timeoutMs = Math.max(least, ms * 10);
    const job = { path: bundle, off: mark.name };
    const only = reached[mark.name]!;
    let { failed } = await lane.run({ ...job, only }, timeoutMs);
    if (failed === undefined) continue;
    const alone = await lane.run({ path: bundle, off: undefined, only }, timeoutMs);
    if (alone.failed !== undefined) ({ failed } = await lane.run(job, timeoutMs)); // its tests need each other
    if (failed === undefined) continue;
    killedBy = `${file.slice(5)} "${failed}"`;
    break;
  }
  return { name: mark.name, at: `${mark.path}:${mark.line}`, killedBy, reachedBy: reaching.length };
}

/** One thread at a time; a new one after a thread that hung. */
class Lane {
  #worker: Worker | undefined;

  run(job: MutantJob, timeoutMs: number): Promise<MutantAnswer> {
    const worker = (this.#worker ??= startWorker());
    return new Promise(resolve => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const onMessage = (message: MutantAnswer | 'started') => {
        if (message !== 'started') return finish(message);
        timer = setTimeout(() => abandon(`(no end within ${timeoutMs} ms)`), timeoutMs);
      };
      const finish = (answer: MutantAnswer) => {
        clearTimeout(timer);
        worker.off('message', onMessage).off('error', onError).off('exit', onExit);
        resolve(answer);
      };
      const abandon = (failed: string) => {
        this.#worker = undefined;
        void worker.terminate();
        finish({ failed, reached: {}, ms: timeoutMs });
      };
      const onError = (error: Error) => abandon(`(${error.message})`);
      const onExit = () => abandon('(the thread ended)');
      worker.on('message', onMessage).on('error', onError).on('exit', onExit);
      worker.postMessage(job);
    });
  }

  stop(): void {
    void this.#worker?.terminate();
  }
}

function startWorker(): Worker {
  // tsx does not reach into threads by itself: the worker registers it before it loads the TypeScript
  const target = JSON.stringify(new URL('mutant-worker.ts', import.meta.url).href);
  const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  const code = `import(${tsx}).then(({ register }) => { register(); return import(${target}); });`;
  return new Worker(code, { eval: true, stdout: true, stderr: true });
}

/** Bundles one test file; what went wrong, or undefined. */
async function bundleTest(file: string, outfile: string, switches: Plugin): Promise<string | undefined> {
  const runner = JSON.stringify(join(ROOT, 'test/tools/mutant-uvu.ts'));
  const contents = `import { runUntilFailure } from ${runner};
    export const run = only => runUntilFailure(() => import(${JSON.stringify(join(ROOT, file))}), only);`;
  try {
    await build({
      stdin: { contents, resolveDir: ROOT },
      outfile,
      bundle: true,
      format: 'cjs',
      platform: 'node',
      target: 'es2022',
      logLevel: 'silent',
      define: { 'import.meta.url': JSON.stringify(`file://${ROOT}/${file}`) },
      plugins: [switches],
    });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Puts every marked condition behind its switch. */
function switcher(marks: readonly CheckMark[], extra: { readonly [path: string]: string }): Plugin {
  return {
    name: 'switcher',
    setup(builder) {
      builder.onResolve({ filter: /^uvu$/ }, () => ({ path: join(ROOT, 'test/tools/mutant-uvu.ts') }));
      builder.onResolve({ filter: /\.ts$/ }, ({ path, resolveDir }) => {
        const absolute = join(path.startsWith('/') ? '' : resolveDir, path);
        return relative(ROOT, absolute) in extra ? { path: absolute } : undefined;
      });
      builder.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const name = relative(ROOT, path);
        const own = marks.filter(mark => mark.path === name).sort((a, b) => b.start - a.start);
        if (own.length === 0 && !(name in extra)) return undefined;
        let text = extra[name] ?? readFileSync(path, 'utf8');
        for (const { name: check, start, end } of own) {
          const wrapped = `globalThis.__check(${JSON.stringify(check)}, ${text.slice(start, end)})`;
          text = text.slice(0, start) + wrapped + text.slice(end);
        }
        return { contents: text, loader: 'ts' };
      });
    },
  };
}

async function main(args: readonly string[]): Promise<void> {
  const words = args.filter(arg => !arg.startsWith('--'));
  const isJson = args.includes('--json');
  const { marks, findings } = findMarks(parseFolders('lib'));
  for (const finding of describe(findings)) console.error(finding);
  const chosen = marks.filter(({ name }) => words.length === 0 || words.some(word => name.includes(word)));
  const files = findFiles('test', ['.test.ts']).filter(file => !UNSUITED.test(file));
  const started = performance.now();
  let killed = 0;
  let red = 0;
  await runMutants({
    marks: chosen,
    files,
    onRed: (file, failed) => {
      red++;
      console.error(`red with every check on: ${file} ${failed}`);
    },
    onVerdict: verdict => {
      if (verdict.killedBy !== undefined) killed++;
      if (isJson) return console.log(JSON.stringify(verdict));
      const unseen =
        verdict.reachedBy === 0 ? 'no test makes the condition true' : `${verdict.reachedBy} test files stay green`;
      console.log(
        `${verdict.name}: ${verdict.killedBy === undefined ? `SURVIVED (${verdict.at}: ${unseen})` : `killed by ${verdict.killedBy}`}`,
      );
    },
  });
  const failed = chosen.length - killed + findings.length + red;
  if (!isJson) console.log(`\n${Math.round((performance.now() - started) / 1000)} s`);
  console.log(closingLine({ passed: killed, failed, skipped: 0 }));
  process.exitCode = failed > 0 ? 1 : chosen.length > 0 ? 0 : 3;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
