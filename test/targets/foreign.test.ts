/** The contracts on Deno (with its own sockets, and with `node:dgram`) and on Bun. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BUN, DENO, DENO_STABLE, type Runtime, testOn } from '../tools/runtimes.ts';
import { expectGreen } from '../tools/uvu-queue.ts';

const test = suite('other runtimes');

/** Tests that `allContracts` queues on a machine without IPv6; none is skipped. */
const CONTRACT_TESTS = 51;

function contractsOn(runtime: Runtime, title: string): void {
  if (runtime.program === undefined) {
    console.log(`skipped: ${title}: the program is not installed`);
    test.skip();
    return;
  }
  test(title, async () => {
    const { output, ...tally } = await testOn(runtime, [`test/targets/${runtime.name}.suite.ts`]);
    expectGreen(tally, output);
    assert.equal(tally, { passed: CONTRACT_TESTS, failed: 0, skipped: 0 });
  });
}

contractsOn(DENO, 'the contracts hold on Deno with its own sockets');
contractsOn(DENO_STABLE, 'the contracts hold on Deno with node:dgram');
contractsOn(BUN, 'the contracts hold on Bun');

test.run();
