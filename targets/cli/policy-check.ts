/**
 * `motenet policy check`: reads a policy file and runs its access tests, without a coordinator, by the same code that the
 * coordinator runs. The tests are judged on the devices of a list that `motenet devices list --json` has printed, or, as
 * far as a name of a test means none of them, on devices that are made up for it.
 *
 * It never looks like success when nothing was tested: a policy without tests ends it with exit code 3.
 */
import { type TestOutcome, runTests } from '../../lib/policy/access-tests.ts';
import { PolicyCompiler } from '../../lib/policy/compiler.ts';
import type { PolicyDevice } from '../../lib/policy/directory.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import { MAX_PROBLEMS, type Problem } from '../../lib/policy/problem.ts';
import { EXIT_DONE, EXIT_FAILED, EXIT_NOT_TESTED, ExitError } from './errors.ts';
import { allText, countText, listText, problemLine } from './policy-text.ts';

/** One line of a test, as `--json` shows it. */
export interface TestLine {
  /** `tests[2]`. */
  readonly name: string;
  readonly line: number;
  readonly column: number;
  readonly source: string;
  readonly target: string;
  readonly expected: 'accept' | 'deny';
  readonly isPassed: boolean;
  /** Pairs of addresses that were judged, and those of them that are not as expected. */
  readonly pairs: number;
  readonly failing: number;
  readonly message: string;
}

/** What a check has found. */
export interface CheckReport {
  /** `not-tested`: the policy is valid, and nothing of it was tested. */
  readonly verdict: 'passed' | 'failed' | 'invalid' | 'not-tested';
  readonly errors: readonly Problem[];
  readonly notes: readonly Problem[];
  /** Every line of every test. */
  readonly tests: readonly TestLine[];
  /** Devices of the list that take part; null: no list was given. */
  readonly devices: number | null;
  /** Names of the tests for which devices were made up. */
  readonly invented: readonly string[];
}

/** Checks a policy. `devices` must have ids and addresses of their own: TypeError and RangeError otherwise. */
export function checkPolicy(text: string, devices: readonly PolicyDevice[] | undefined): CheckReport {
  const count = devices?.length ?? null;
  const parsed = parsePolicy(text);
  const { notes } = parsed;
  if (parsed.policy === undefined)
    return { verdict: 'invalid', errors: parsed.errors, notes, tests: [], devices: count, invented: [] };
  const { outcomes, invented, isPassed } = runTests(new PolicyCompiler(parsed.policy, devices ?? []));
  const isTested = outcomes.some(({ pairs }) => pairs > 0);
  const verdict = !isPassed ? 'failed' : isTested ? 'passed' : 'not-tested';
  return { verdict, errors: [], notes, tests: outcomes.map(lineOf), devices: count, invented };
}

function lineOf({ name, line, column, source, target, expected, ...rest }: TestOutcome): TestLine {
  const { isPassed, pairs, failing, message } = rest;
  return { name, line, column, source, target, expected, isPassed, pairs, failing, message };
}

/** What people read of a report on the file called `name`; the last line is about all of it where that is good. */
export function checkLines({ verdict, errors, notes, tests, devices, invented }: CheckReport, name: string): string[] {
  const unjudged = tests.filter(({ isPassed, pairs }) => isPassed && pairs === 0);
  const lines = [
    ...errors.map(problem => problemLine(name, problem)),
    ...tests
      .filter(({ isPassed }) => !isPassed)
      .map(test => problemLine(name, { ...test, message: `${test.name}: ${test.message}` })),
    ...unjudged.map(test =>
      problemLine(name, { ...test, message: `note: ${test.name}: ${test.source} to ${test.target} concerns nobody` }),
    ),
    // Where something is wrong, a note may be about what could not be read.
    ...(verdict === 'invalid'
      ? []
      : notes.map(note => problemLine(name, { ...note, message: `note: ${note.message}` }))),
  ];
  if (verdict !== 'passed') return lines;
  return [...lines, `${name}: ${allText(tests.length, 'test line')} passed, on ${devicesText(devices, invented)}`];
}

/** What the command ends with; undefined where every test has passed. */
export function endingOf({ verdict, errors, tests }: CheckReport): ExitError | undefined {
  if (verdict === 'passed') return undefined;
  if (verdict === 'invalid') {
    const count = countText(errors.length, 'problem');
    const all = errors.length < MAX_PROBLEMS ? count : `${count}, and maybe more`;
    return new ExitError(EXIT_FAILED, `the policy is not valid (${all}), so that no test ran`);
  }
  if (verdict === 'not-tested') {
    const why = tests.length === 0 ? 'the policy has none: add "tests"' : 'they concern nobody';
    return new ExitError(EXIT_NOT_TESTED, `the policy is valid, but no test ran: ${why}`);
  }
  const failed = tests.filter(({ isPassed }) => !isPassed).length;
  return new ExitError(EXIT_FAILED, `${failed} of ${countText(tests.length, 'test line')} failed`);
}

/** Checks and prints. Rejects with {@link ExitError}, unless every test has passed. */
export function runPolicyCheck(
  { name, text, devices, isJson }: PolicyCheckInput,
  { out }: { readonly out: (line: string) => void },
): void {
  const report = checkPolicy(text, devices);
  const ending = endingOf(report);
  if (isJson) out(JSON.stringify({ file: name, exitCode: ending?.exitCode ?? EXIT_DONE, ...report }));
  else for (const line of checkLines(report, name)) out(line);
  if (ending !== undefined) throw ending;
}

/** What is checked. */
export interface PolicyCheckInput {
  /** How the file is called in what is printed. */
  readonly name: string;
  readonly text: string;
  readonly devices: readonly PolicyDevice[] | undefined;
  readonly isJson: boolean;
}

function devicesText(devices: number | null, invented: readonly string[]): string {
  const listed = devices === null ? '' : `${countText(devices, 'device')} of the list`;
  const made = invented.length === 0 ? '' : `devices made up for ${listText(invented)}`;
  if (listed === '' && made === '') return 'addresses alone';
  return [listed, made].filter(Boolean).join(' and ');
}
