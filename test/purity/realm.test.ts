/** The core runs on the bare language: same tests, same count, every module frozen. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tally } from '../tools/tally.ts';
import { bundleTests, neutralTests, runInRealm } from '../tools/realm.ts';
import { expectGreen } from '../tools/uvu-queue.ts';

const test = suite('bare realm');

test('all neutral tests pass without any global of a runtime, on frozen modules', async () => {
  const files = neutralTests();
  const counting = await bundleTests(files, { freezes: false, onlyCounts: true });
  const counted = await runInRealm(counting, 'no-wasm');
  const everywhere = await runInRealm(counting, 'full');
  const result = await runInRealm(await bundleTests(files, { freezes: true }));
  expectGreen(result, result.report);
  assert.is(result.passed + result.skipped, counted.passed + counted.skipped);
  assert.ok(result.passed > 20);
  const count = ({ passed, skipped }: Tally) => passed + skipped;
  const wasm = count(everywhere) - count(counted);
  console.log(`bare realm: ${result.passed} passed, ${result.skipped} skipped, ${wasm} not there without WebAssembly`);
});

/** Runs one test, on a lib module of the given text. */
async function runBody(body: string, lib = 'export const a = 1;') {
  const extra = {
    'lib/base/probe.ts': lib,
    'test/base/probe.test.ts': `import { suite } from 'uvu'; import * as lib from '../../lib/base/probe.ts';
      const test = suite('probe'); test('probe', () => { ${body} }); test.run();`,
  };
  return runInRealm(await bundleTests(['test/base/probe.test.ts'], { freezes: true, extra }));
}

test('the realm is bare', async () => {
  assert.equal((await runBody('return lib.a;')).passed, 1);
  const missing = ['process', 'Buffer', 'setTimeout', 'TextEncoder', 'WebAssembly', 'Intl', 'Atomics', 'console'];
  for (const name of [...missing, 'structuredClone', 'queueMicrotask', 'performance', 'fetch', 'crypto', 'eval'])
    assert.is((await runBody(`${name}.toString();`)).failed, 1, name);
  for (const call of ['Date.now()', 'new Date()', 'Math.random()', 'Function("return 1")()'])
    assert.is((await runBody(call)).failed, 1, call);
});

test('state in modules is found', async () => {
  const table =
    'export const t = new Uint8Array(4);\nexport const o = { n: { m: 1 } };\nexport class C { static s = 1 }';
  assert.is((await runBody('return lib.t[0] + lib.o.n.m;', table)).failed, 0);
  assert.is((await runBody('lib.o.n.m = 2;', table)).failed, 1);
  assert.is((await runBody('lib.C.s = 2;', table)).failed, 1);
  assert.is((await runBody('lib.C.prototype.x = 2;', table)).failed, 1);
  const written = await runBody('lib.t[2] = 7;', table);
  assert.is(written.failed, 1);
  assert.match(written.report, 'tables were written to: lib/base/probe.ts');
});

test('a test that needs a module of Node cannot be bundled', async () => {
  const extra = { 'test/base/probe.test.ts': "import { join } from 'node:path'; join('a');" };
  const failed = await bundleTests(['test/base/probe.test.ts'], { freezes: false, extra }).then(
    () => false,
    () => true,
  );
  assert.ok(failed);
});

test.run();
