/**
 * The C itself, in 32 and in 64 bits, with AddressSanitizer and UndefinedBehaviorSanitizer: equal to the portable
 * libraries on thousands of inputs, right on Wycheproof's, and within its buffers, each of which has exactly its size.
 */
import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildDriver, type DriverBuild, whenBuilt } from './build.ts';
import { type Case, curveCases, polyCases, randomCases, smallResultCases, wycheproofCases } from './cases.ts';

const groups: readonly (readonly [string, readonly Case[]])[] = [
  ['every case of Wycheproof comes out as it should', wycheproofCases()],
  ['ciphers and hashes agree with the portable libraries', randomCases(71, 450)],
  ['Poly1305 agrees where sums reach its modulus', polyCases(73, 1500)],
  ['results of X25519 that are close to 0 are reduced', smallResultCases(74, 700)],
  ['the curve agrees with the portable library', curveCases(72, 500)],
];

/** What the program answers, line by line; fails with what the sanitizers say. */
function answersOf(path: string, lines: readonly string[]): string[] {
  const environment = { ...process.env, ASAN_OPTIONS: 'abort_on_error=0', UBSAN_OPTIONS: 'print_stacktrace=1' };
  const options = { input: lines.join('\n') + '\n', encoding: 'utf8', env: environment, maxBuffer: 1 << 28 } as const;
  const run = spawnSync(path, [], options);
  if (run.status !== 0) throw new Error(`the program ended with ${run.status ?? run.signal}:\n${run.stderr}`);
  return run.stdout.split('\n').slice(0, -1);
}

/** Sanitizers make the curve slow: of its random cases they get every fifth. */
function casesFor(build: DriverBuild, name: string, cases: readonly Case[]): readonly Case[] {
  return build.includes('sanitizers') && name.startsWith('the curve') ? cases.filter((_, i) => i % 5 === 0) : cases;
}

function testBuild(build: DriverBuild): void {
  const test = suite(`native: the C, ${build}`);
  const built = buildDriver(build);
  whenBuilt(test, built, path => {
    for (const [name, all] of groups) {
      const cases = casesFor(build, name, all);
      test(`${name} (${cases.length} cases)`, () => {
        const answers = answersOf(
          path,
          cases.map(({ line }) => line),
        );
        assert.is(answers.length, cases.length);
        cases.forEach(({ line, answer }, i) => assert.is(answers[i], answer, line.slice(0, 500)));
        for (const word of ['01', 'no']) if (name.includes('Wycheproof')) assert.ok(answers.includes(word), word);
      });
    }
  });
  if (build === '32-bit, sanitizers' && 'path' in built) seesOverruns(test, built.path);
  test.run();
}

function seesOverruns(test: ReturnType<typeof suite>, path: string): void {
  test('a byte too few in a buffer is found by the sanitizers', () => {
    // 31 bytes of key, from which the C reads 32: the binding refuses them, the program does not.
    const found = /AddressSanitizer[\s\S]*READ of size/;
    assert.throws(() => answersOf(path, [`x25519 ${'00'.repeat(31)} ${'00'.repeat(32)}`]), found);
    assert.throws(() => answersOf(path, [`box ${'00'.repeat(32)} ${'00'.repeat(23)} -`]), found);
  });
}

for (const build of ['32-bit -Os', '32-bit, sanitizers', '64-bit, sanitizers'] as const) testBuild(build);
