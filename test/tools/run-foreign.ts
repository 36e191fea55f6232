/**
 * Runs test files in this very process, on Node, Deno or Bun: `run-foreign.ts FILE...` (paths relative to the
 * repository). The last line is the result as JSON. `runtimes.ts` starts it.
 */
import { resolve } from 'node:path';
import { exit, argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { ROOT } from './files.ts';
import { addTally, emptyTally } from './tally.ts';
import { deferUvu, runQueued } from './uvu-queue.ts';

deferUvu();
const sum = emptyTally();
for (const file of argv.slice(2)) {
  const result = await runQueued(() => import(pathToFileURL(resolve(ROOT, file)).href));
  addTally(sum, result);
  if (result.report !== '') console.log(`${file}${result.report}`);
}
console.log(`\n${JSON.stringify(sum)}`);
exit(sum.failed > 0 ? 1 : 0);
