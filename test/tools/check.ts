/**
 * `npm run check`: types of every project, format and lint, then the repository rules of test/checks.
 * Words narrow the rules, as for `npm test`. Ends with `N passed, N failed, N skipped`.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { findFiles, ROOT } from './files.ts';
import { runFiles } from './run.ts';
import { addTally, closingLine, emptyTally, exitCode, type Tally } from './tally.ts';

/** The TypeScript projects: everything on Node's types, the core on none, Deno's and Moddable's targets on their own. */
const PROJECTS = ['.', 'lib', 'targets/deno', 'targets/moddable'];

async function main(words: readonly string[]): Promise<void> {
  const sum = emptyTally();
  const onFile = (name: string, output: string, result: Tally, ms: number) => {
    addTally(sum, result);
    console.log(`${result.failed > 0 ? 'FAIL' : 'ok  '} ${name}  ${Math.round(ms)} ms`);
    if (result.failed > 0) console.log(output);
  };
  if (words.length === 0) {
    for (const project of PROJECTS) await runTool(`types of ${project}`, 'tsc', ['-p', project], onFile);
    const limits = ['--max-diagnostics=60', '--error-on-warnings'];
    await runTool('format and lint', 'biome', ['check', ...limits, '.'], onFile);
  }
  const rules = findFiles('test/checks', ['.test.ts']);
  const wanted = rules.filter(file => words.length === 0 || words.some(word => file.includes(word)));
  await runFiles(wanted, { onFile });
  console.log(`\n${closingLine(sum)}`);
  process.exitCode = exitCode(sum);
}

type Report = (name: string, output: string, result: Tally, ms: number) => void;

async function runTool(name: string, program: string, args: readonly string[], report: Report): Promise<void> {
  const started = performance.now();
  const path = join(ROOT, 'node_modules/.bin', program);
  const output = await new Promise<string | undefined>(resolve => {
    execFile(path, args, { cwd: ROOT, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve(error === null ? undefined : `${stdout}${stderr}` || error.message);
    });
  });
  const isFine = output === undefined;
  const result = { passed: isFine ? 1 : 0, failed: isFine ? 0 : 1, skipped: 0 };
  report(name, output ?? '', result, performance.now() - started);
}

await main(process.argv.slice(2));
