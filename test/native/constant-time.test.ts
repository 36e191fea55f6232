/**
 * Constant time, as far as a machine can see it: every secret is marked as undefined, and valgrind's memcheck reports
 * each branch and each memory index that depends on one. The compiled code of this machine is what is checked, small and
 * fast; compilers for other cores could still branch (targets/moddable/native/README.md says what is done about it).
 */
import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildDriver, type DriverBuild, whenBuilt } from './build.ts';
import { type Case, curveCases, randomCases } from './cases.ts';

/** Some cases of every operation that has a secret. */
function secretCases(): Case[] {
  const cases = [...randomCases(81, 200).filter((_, i) => i % 130 < 13), ...curveCases(82, 9)];
  return cases.filter(({ line }) => !line.startsWith('ed25519-verify'));
}

/** Number of places where memcheck sees a branch or an index that depends on a secret, with its report. */
function check(path: string, lines: readonly string[]): { places: number; report: string; answers: string[] } {
  const args = ['--quiet', '--error-exitcode=99', '--track-origins=no', path, 'secrets'];
  const run = spawnSync('valgrind', args, { input: lines.join('\n') + '\n', encoding: 'utf8', maxBuffer: 1 << 28 });
  if (run.status !== 0 && run.status !== 99) throw new Error(`valgrind ended with ${run.status}:\n${run.stderr}`);
  const places = run.stderr.match(/depends on uninitialised value|Use of uninitialised value/g)?.length ?? 0;
  assert.is(run.status === 99, places > 0, run.stderr);
  return { places, report: run.stderr, answers: run.stdout.split('\n').slice(0, -1) };
}

function testBuild(build: DriverBuild): void {
  const test = suite(`native: constant time, ${build}`);
  whenBuilt(test, buildDriver(build), path => {
    test('no branch and no index depends on a secret', () => {
      const cases = secretCases();
      const names = new Set(cases.map(({ line }) => line.split(' ')[0]));
      assert.is(names.size, 11, [...names].join(' '));
      const { places, report, answers } = check(
        path,
        cases.map(({ line }) => line),
      );
      assert.is(places, 0, report);
      assert.equal(
        answers,
        cases.map(({ answer }) => answer),
      );
    });

    test('a branch and an index that do are found', () => {
      assert.is(check(path, ['leak-branch 00']).places, 1);
      assert.is(check(path, ['leak-index 00']).places, 1);
    });
  });
  test.run();
}

for (const build of ['valgrind -Os', 'valgrind -O3'] as const) testBuild(build);
