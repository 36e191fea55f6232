/**
 * `npm run soak`: the tests that draw at random, ten times as long as usual (MOTENET_FUZZ=1000000 unless set otherwise),
 * and the slow ones; then the hostile cases of interop in their long form. `npm run soak -- stun` narrows the first part
 * to files whose path contains the word and leaves the second out.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFiles, ROOT } from './files.ts';
import { addTally, closingLine, exitCode } from './tally.ts';

process.env['MOTENET_FUZZ'] ??= '1000000';
process.env['MOTENET_TEST_TIMEOUT_MS'] ??= String(6 * 3600 * 1000);
const { runFiles } = await import('./run.ts'); // reads the timeout when it loads

const words = process.argv.slice(2);
const drawing = findFiles('test', ['.test.ts']).filter(file => {
  if (/^test\/(interop|checks|tools|purity)\//.test(file)) return false;
  return file.endsWith('.slow.test.ts') || readFileSync(join(ROOT, file), 'utf8').includes('/tools/scale.ts');
});
const files = drawing.filter(file => words.length === 0 || words.some(word => file.includes(word)));
const tally = await runFiles(files, {
  onFile: (file, output, _result, ms) => console.log(`${file}  ${Math.round(ms / 1000)} s\n${output}`),
});
if (words.length === 0) {
  const args = ['--import', 'tsx', join(ROOT, 'test/interop/run.ts'), 'wireguard', '--soak'];
  const { stdout } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 << 20 });
  console.log(stdout);
  const counts = /(\d+) passed, (\d+) failed, (\d+) skipped/.exec(stdout.trim().split('\n').at(-1) ?? '');
  const [passed, failed, skipped] = (counts?.slice(1) ?? ['0', '1', '0']).map(Number);
  addTally(tally, { passed: passed!, failed: failed!, skipped: skipped! });
}
console.log(`\n${closingLine(tally)}`);
process.exitCode = exitCode(tally);
