/** The runner itself: what it counts, and that nothing passes by not running. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runFiles, selectFiles } from './run.ts';
import { closingLine, exitCode, type Tally } from './tally.ts';

const test = suite('runner');

async function run(...names: string[]): Promise<Tally & { output: string }> {
  let output = '';
  const files = names.map(name => `test/tools/fixtures/${name}.fixture.ts`);
  const tally = await runFiles(files, { jobs: 1, onFile: (_file, text) => (output += text) });
  return { ...tally, output };
}

test('passed and skipped tests are counted', async () => {
  const { output, ...tally } = await run('passing');
  assert.equal(tally, { passed: 2, failed: 0, skipped: 1 });
  assert.is(exitCode(tally), 0);
  assert.match(output, '(2 / 2)');
});

test('a failing test is counted, named and gives exit code 1', async () => {
  const { output, ...tally } = await run('failing', 'passing');
  assert.equal(tally, { passed: 3, failed: 1, skipped: 1 });
  assert.is(exitCode(tally), 1);
  assert.match(output, 'one is not two');
});

test('a file without a started test fails', async () => {
  assert.equal((await run('empty')).failed, 1);
});

test('a hook that throws fails its tests', async () => {
  assert.equal((await run('throwing-hook')).failed, 1);
});

test('a file that ends the process fails, and the next file still runs', async () => {
  const { output, ...tally } = await run('dying', 'passing');
  assert.equal(tally, { passed: 2, failed: 1, skipped: 1 });
  assert.match(output, 'ended early');
});

test('a file that does not load fails', async () => {
  const { output, ...tally } = await run('broken');
  assert.equal(tally, { passed: 0, failed: 1, skipped: 0 });
  assert.match(output, 'broken on purpose');
});

test('no file at all is not a success', async () => {
  const tally = await runFiles([]);
  assert.equal(closingLine(tally), '0 passed, 0 failed, 0 skipped');
  assert.is(exitCode(tally), 3);
});

test('checks, interop and slow files run only when named', () => {
  const all = ['test/a/x.test.ts', 'test/a/y.slow.test.ts', 'test/checks/z.test.ts', 'test/interop/i.test.ts'];
  assert.equal(selectFiles([], false, all), ['test/a/x.test.ts']);
  assert.equal(selectFiles([], true, all), ['test/a/x.test.ts', 'test/a/y.slow.test.ts']);
  assert.equal(selectFiles(['z'], false, all), []);
  assert.equal(selectFiles(['test/checks'], false, all), ['test/checks/z.test.ts']);
  assert.equal(selectFiles(['a/y.slow.test.ts'], false, all), ['test/a/y.slow.test.ts']);
});

test.run();
