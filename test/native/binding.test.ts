/**
 * The binding (crypto-xs.c) against JavaScript that means harm, with AddressSanitizer and UndefinedBehaviorSanitizer in
 * the process: wrong kinds, missing arguments, detached and overlapping buffers, ranges that overflow.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readFileSync } from 'node:fs';
import { ROOT } from '../tools/files.ts';
import { buildAddon, whenBuilt } from './build.ts';

const CALLS = 30_000;
const test = suite('native: hostile arguments');

whenBuilt(test, buildAddon(true), path => {
  const preload = spawnSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout.trim();

  test(`${CALLS} calls read and write nothing but what they were given`, () => {
    const run = spawnSync(
      process.execPath,
      ['--import', 'tsx', join(ROOT, 'test/native/hostile.ts'), path, `${CALLS}`],
      {
        cwd: ROOT,
        encoding: 'utf8',
        // Node frees little before it ends, and V8 handles its own traps.
        env: { ...process.env, LD_PRELOAD: preload, ASAN_OPTIONS: 'detect_leaks=0:handle_segv=0' },
      },
    );
    assert.is(run.status, 0, run.stdout + run.stderr);
    const counts = JSON.parse(run.stdout.trim()) as { [outcome: string]: number };
    assert.ok(counts['returned']! > 1500 && counts['TypeError']! > 1500 && counts['RangeError']! > 1500, run.stdout);
  });
});

test('crypto.js, its types and crypto-xs.h name the same functions', () => {
  const text = (name: string) => readFileSync(join(ROOT, 'targets/moddable/native', name), 'utf8');
  const names = (source: string, pattern: RegExp) => [...source.matchAll(pattern)].map(found => found[1]!).sort();
  const listed = names(text('crypto-xs.h'), /F\((xs_\w+), \d\)/g);
  assert.is(listed.length, 17);
  assert.equal(names(text('crypto.js'), /native\('(\w+)'\)/g), listed);
  assert.equal(names(text('crypto-xs.c'), /^void (xs_\w+)\(xsMachine \*the\)/gm), listed);
  assert.equal(
    names(text('crypto.js'), /export const (\w+) =/g),
    names(text('crypto.d.ts'), /export (?:const|function) (\w+)/g),
  );
});

test.run();
