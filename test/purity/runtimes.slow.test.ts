/** The same neutral tests, from source, on Deno and Bun: none may be missing there. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bundleTests, neutralTests, runInRealm } from '../tools/realm.ts';
import { BUN, DENO, type Runtime, testOn } from '../tools/runtimes.ts';
import { expectGreen } from '../tools/uvu-queue.ts';

const test = suite('other runtimes');

/** A tenth of the usual random rounds: Node does them all. */
const FEWER_ROUNDS = { MOTENET_FUZZ: '10000' };

for (const runtime of [DENO, BUN]) addTest(runtime);

function addTest(runtime: Runtime): void {
  if (runtime.program === undefined) {
    console.log(`skipped: neutral tests on ${runtime.name}: the program is not installed`);
    test.skip();
    return;
  }
  test(`all neutral tests pass on ${runtime.name}`, async () => {
    const files = neutralTests();
    const counted = await runInRealm(await bundleTests(files, { freezes: false, onlyCounts: true }), 'full');
    const result = await testOn(runtime, files, { env: FEWER_ROUNDS });
    expectGreen(result, result.output);
    assert.is(result.passed + result.skipped, counted.passed + counted.skipped);
    console.log(`${runtime.name}: ${result.passed} passed, ${result.skipped} skipped`);
  });
}

test.run();
