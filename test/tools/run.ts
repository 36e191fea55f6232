/**
 * The test runner: `npm test`, or `npm test -- wireguard tcp` for the files whose path contains one of the words.
 *
 * Runs every `test/**\/*.test.ts` except repository checks (`npm run check`), interop (`npm run interop`) and slow tests
 * (`*.slow.test.ts`, with `--slow`), each file once, in as many processes as there are cores. Prints each file's
 * output in one piece, and a closing line `N passed, N failed, N skipped`.
 * Exit code: 0 all passed, 1 something failed, 3 no test ran.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { findFiles } from './files.ts';
import { addTally, closingLine, emptyTally, exitCode, type Tally } from './tally.ts';
import type { FileResult } from './uvu-queue.ts';

/** A file that takes longer is stopped and counts as failed. */
const FILE_TIMEOUT_MS = Number(process.env['MOTENET_TEST_TIMEOUT_MS'] ?? 180_000);

/** What {@link runFiles} takes. */
interface RunOptions {
  readonly jobs?: number;
  /** Called with the output of each file as it finishes. */
  readonly onFile?: (file: string, output: string, result: Tally, milliseconds: number) => void;
}

/** Runs test files (paths relative to the repository) and adds their results up. */
export async function runFiles(files: readonly string[], options: RunOptions = {}): Promise<Tally> {
  const sum = emptyTally();
  const waiting = [...files];
  const lane = async () => {
    const worker = new Worker();
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const started = performance.now();
      const { output, ...result } = await worker.run(file);
      addTally(sum, result);
      options.onFile?.(file, output, result, performance.now() - started);
    }
    worker.stop();
  };
  const jobs = Math.min(options.jobs ?? availableParallelism(), files.length);
  await Promise.all(Array.from({ length: jobs }, lane));
  return sum;
}

/** A child process that runs one file after another; replaced when it dies. */
class Worker {
  #child: ChildProcess | undefined;

  async run(file: string): Promise<FileResult & { output: string }> {
    const child = (this.#child ??= startChild());
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk;
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    const result = await new Promise<FileResult>(resolve => {
      const fail = (report: string) => {
        this.#child = undefined;
        child.kill('SIGKILL');
        resolve({ passed: 0, failed: 1, skipped: 0, report });
      };
      const timer = setTimeout(() => fail(`\n  stopped after ${FILE_TIMEOUT_MS} ms\n`), FILE_TIMEOUT_MS);
      child.once('exit', code => fail(`\n  the process ended early (exit code ${code})\n`));
      child.once('message', message => {
        clearTimeout(timer);
        resolve(message as FileResult);
      });
      child.send({ file });
    });
    await new Promise(resolve => setTimeout(resolve, result.failed > 0 ? 50 : 0)); // the rest of its output
    for (const event of ['exit', 'message']) child.removeAllListeners(event);
    child.stdout?.off('data', collect);
    child.stderr?.off('data', collect);
    const compilerGoodbye = /context canceled\n/g; // what the TypeScript server says when it is closed
    return { ...result, output: output.replace(compilerGoodbye, '') + result.report };
  }

  stop(): void {
    this.#child?.kill();
  }
}

function startChild(): ChildProcess {
  return fork(fileURLToPath(new URL('run-worker.ts', import.meta.url)), {
    execArgv: [...process.execArgv, '--expose-gc'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
}

/** The files that a plain `npm test` runs, narrowed to those that contain one of `words`. */
export function selectFiles(
  words: readonly string[],
  withSlow = false,
  all = findFiles('test', ['.test.ts']),
): string[] {
  const usual = all.filter(
    file => !/^test\/(interop|checks)\//.test(file) && (withSlow || !file.endsWith('.slow.test.ts')),
  );
  if (words.length === 0) return usual;
  return all.filter(
    file => words.some(word => file.includes(word)) && (usual.includes(file) || words.some(isExplicit(file))),
  );
}

/** Repository checks, interop and slow files run only when a word names their folder or file. */
function isExplicit(file: string): (word: string) => boolean {
  return word => file.startsWith(word) || file.endsWith(word);
}

async function main(args: readonly string[]): Promise<void> {
  const words = args.filter(arg => !arg.startsWith('--'));
  const files = selectFiles(words, args.includes('--slow'));
  const failedFiles: string[] = [];
  const tally = await runFiles(files, {
    onFile: (file, output, result, milliseconds) => {
      if (result.failed > 0) failedFiles.push(file);
      console.log(`${file}  ${Math.round(milliseconds)} ms`);
      if (output.trim() !== '') console.log(output.replace(/\n+$/, ''));
    },
  });
  if (failedFiles.length > 0) console.log(`\nfailed: ${failedFiles.join(' ')}`);
  if (files.length === 0) console.log(`no test file matches ${words.join(' ') || 'test/**/*.test.ts'}`);
  console.log(`\n${closingLine(tally)}`);
  process.exitCode = exitCode(tally);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
