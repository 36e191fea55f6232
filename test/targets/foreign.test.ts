/** The contracts on Deno (with its own sockets, and with `node:dgram`) and on Bun. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BUN, DENO, DENO_STABLE, type Runtime, testOn } from '../tools/runtimes.ts';
import { expectGreen } from '../tools/uvu-queue.ts';

const test = suite('other runtimes');

/** `allContracts` queues at least so many tests; none is skipped. */
const LEAST_TESTS = 97;

function contractsOn(runtime: Runtime, title: string): void {
  if (runtime.program === undefined) {
    console.log(`skipped: ${title}: the program is not installed`);
    test.skip();
    return;
  }
  test(title, async () => {
    const { output, ...tally } = await testOn(runtime, [`test/targets/${runtime.name}.suite.ts`]);
    expectGreen(tally, output);
    assert.ok(tally.passed >= LEAST_TESTS, `${tally.passed} tests`);
    assert.is(tally.skipped, 0);
  });
}

contractsOn(DENO, 'the contracts hold on Deno with its own sockets');
contractsOn(DENO_STABLE, 'the contracts hold on Deno with node:dgram');
contractsOn(BUN, 'the contracts hold on Bun');

test.run();
