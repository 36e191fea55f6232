/** The real heap of the map decoder on Node, in a process without compilers: 3,000 peers a byte at a time, 300 kept. */
import { execFile } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../tools/files.ts';

const test = suite('netmap heap');

test('a map of 3,000 peers takes no kilobyte more at its peak than one of 300, of which as many are kept', async () => {
  const flags = ['--expose-gc', '--single-threaded', '--jitless', '--import', 'tsx'];
  const output = await new Promise<string>((resolve, reject) => {
    const args = [...flags, 'test/control/netmap-heap.ts'];
    execFile(process.execPath, args, { cwd: ROOT, timeout: 150_000 }, (error, stdout, stderr) => {
      if (stdout === '') reject(error ?? new Error(stderr));
      else resolve(stdout);
    });
  });
  const { few, many, differenceBytes } = JSON.parse(output);
  assert.is(differenceBytes, many.peakBytes - few.peakBytes);
  assert.ok(differenceBytes <= 1024, output);
  assert.ok(few.keptBytes > 20_000 && Math.abs(many.keptBytes - few.keptBytes) <= 2048, output);
});

test.run();
