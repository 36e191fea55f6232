/** The mutants runner: what it takes for killed and for survived. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseSources } from '../checks/source.ts';
import { findMarks } from './marks.ts';
import { runMutants, type Verdict } from './mutants.ts';

const test = suite('mutants');

const LIB = `/** A guard with checks. */
export function guard(x: number): string {
  if (x < 0) return 'negative'; // CHECK: tested
  if (x > 1000) return 'ok'; // CHECK: without-effect
  if (x === 13) return 'unlucky'; // CHECK: never-true
  let i = x;
  while (true) {
    if (i <= 0) break; // CHECK: ends-the-loop
    i--;
  }
  return 'ok';
}
`;

const TESTS = `import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { guard } from '../../lib/base/probe.ts';
const test = suite('probe');
let before = 0;
test.before.each(() => { before++; });
test('small numbers are fine', () => assert.is(guard(3), 'ok'));
test('large numbers are fine', () => assert.is(guard(1001), 'ok'));
test('negative numbers are not', () => { assert.is(guard(-1), 'negative'); assert.ok(before > 0); });
test.run();
`;

async function run(tests: string): Promise<{ verdicts: { [name: string]: Verdict }; red: string[] }> {
  const { marks } = findMarks(parseSources({ 'lib/base/probe.ts': LIB }));
  const red: string[] = [];
  const verdicts = await runMutants({
    marks,
    files: ['test/base/probe.test.ts'],
    extra: { 'lib/base/probe.ts': LIB, 'test/base/probe.test.ts': tests },
    leastTimeoutMs: 4000,
    onRed: file => red.push(file),
  });
  return { verdicts: Object.fromEntries(verdicts.map(verdict => [verdict.name, verdict])), red };
}

test('a check is killed by the test that needs it, or by never ending; otherwise it survives', async () => {
  const { verdicts, red } = await run(TESTS);
  assert.equal(red, []);
  assert.is(verdicts['tested']!.killedBy, 'base/probe.test.ts "probe: negative numbers are not"');
  assert.is(verdicts['tested']!.at, 'lib/base/probe.ts:3');
  assert.match(verdicts['ends-the-loop']!.killedBy ?? '', 'no end within 4000 ms');
  assert.equal([verdicts['without-effect']!.killedBy, verdicts['without-effect']!.reachedBy], [undefined, 1]);
  assert.equal([verdicts['never-true']!.killedBy, verdicts['never-true']!.reachedBy], [undefined, 0]);
});

test('a test that is red by itself kills nothing', async () => {
  const { verdicts, red } = await run(TESTS.replace("guard(3), 'ok'", "guard(3), 'no'"));
  assert.equal(red, ['test/base/probe.test.ts']);
  assert.is(verdicts['tested']!.killedBy, undefined);
});

test('a test that only passes after another one does not kill by being alone', async () => {
  const first = "test('first', () => { state = 1; });";
  const second = "test('second', () => { assert.is(state, 1); guard(2000); });";
  const tests = TESTS.replace('let before', `let state = 0;\n${first}\n${second}\nlet before`);
  const { verdicts, red } = await run(tests);
  assert.equal(red, []);
  assert.is(verdicts['without-effect']!.killedBy, undefined);
  assert.ok(verdicts['tested']!.killedBy);
});

test.run();
