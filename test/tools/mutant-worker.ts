/**
 * The thread of the mutants runner in which bundled tests run: `{ path, off }` in, what happened out. A test that hangs
 * because its check is off hangs only this thread.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { performance } from 'node:perf_hooks';
import { parentPort } from 'node:worker_threads';

/** What is asked: run the bundle at `path` with one check switched off (or none). */
export interface MutantJob {
  readonly path: string;
  readonly off: string | undefined;
  /** Names of the tests to run; all without. */
  readonly only?: readonly string[];
}

/** What came of it. */
export interface MutantAnswer {
  /** The first test that failed. */
  readonly failed: string | undefined;
  /** For each check whose condition was true, the tests in which it was. */
  readonly reached: { readonly [check: string]: readonly string[] };
  readonly ms: number;
}

interface Globals {
  __check?: (name: string, condition: unknown) => unknown;
  __test?: string;
  __scale?: number;
}

const require = createRequire(import.meta.url);
const globals = globalThis as Globals;
const loaded = new Map<string, string>();
globals.__scale = 0.02;

parentPort!.on('message', async ({ path, off, only }: MutantJob) => {
  const reached: { [check: string]: Set<string> } = {};
  globals.__check = (name, condition) => {
    if (condition) (reached[name] ??= new Set()).add(globals.__test!);
    return name === off ? false : condition;
  };
  const code = loaded.get(path) ?? readFileSync(path, 'utf8');
  loaded.set(path, code);
  parentPort!.postMessage('started');
  const started = performance.now();
  const module = { exports: {} as { run?: (only?: ReadonlySet<string>) => Promise<string | undefined> } };
  let failed: string | undefined;
  try {
    new Function('module', 'exports', 'require', code)(module, module.exports, require);
    failed = await module.exports.run!(only === undefined ? undefined : new Set(only));
  } catch (error) {
    failed = `(${(error as Error).message})`;
  }
  const lists = Object.fromEntries(Object.entries(reached).map(([check, tests]) => [check, [...tests]]));
  const answer: MutantAnswer = { failed, reached: lists, ms: performance.now() - started };
  parentPort!.postMessage(answer);
});
