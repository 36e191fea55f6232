/**
 * Running uvu suites by hand, so that they can be counted: in Node, Deno, Bun and the bare realm alike.
 *
 * uvu alone exits 0 when it finds no test, and when a `before` hook throws (its suite then just ends early). Here a
 * test that did not pass has failed. This file is neutral: no Node API.
 */
import type { Tally } from './tally.ts';

/** One suite as uvu queues it: resolves to `[errors text or true, passed, skipped, total]`. */
type UvuSuite = () => Promise<[string | true, number, number, number]>;

/** The globals by which uvu is steered. */
interface UvuGlobals {
  UVU_DEFER?: number;
  UVU_QUEUE?: (string | null | UvuSuite)[][];
  UVU_INDEX?: number;
}

/** Result of the suites of one file. */
export interface FileResult extends Tally {
  /** uvu's report of the failures, or ''. */
  report: string;
}

/** Must run before uvu is imported for the first time: suites are queued instead of started. */
export function deferUvu(): void {
  const globals = globalThis as UvuGlobals;
  globals.UVU_DEFER = 1;
  globals.UVU_QUEUE = [[null]];
  globals.UVU_INDEX = 0;
}

/** Runs what `load` queues. A failure to load, an early end and an empty file all count as one failed test. */
export async function runQueued(load: () => unknown): Promise<FileResult> {
  const globals = globalThis as UvuGlobals;
  const queue: (string | null | UvuSuite)[] = [];
  globals.UVU_QUEUE = [queue];
  const result: FileResult = { passed: 0, failed: 0, skipped: 0, report: '' };
  try {
    await load();
  } catch (error) {
    result.failed++;
    result.report += `\n  does not load: ${errorText(error)}\n`;
  }
  for (const run of queue) {
    if (typeof run !== 'function') continue;
    const [errors, passed, skipped, total] = await run();
    result.passed += passed;
    result.skipped += skipped;
    result.failed += total - passed;
    if (typeof errors === 'string') result.report += `\n${errors}`;
    else if (passed < total) result.report += `\n  ${total - passed} tests did not run: a hook threw\n`;
  }
  if (result.passed + result.failed + result.skipped === 0) {
    result.failed++;
    result.report += '\n  no test found (is `test.run()` missing?)\n';
  }
  return result;
}

/** Throws the report of tests that ran elsewhere when one of them failed, without the lines of those that passed. */
export function expectGreen(result: Tally, report: string): void {
  if (result.failed === 0) return;
  const lines = report.split('\n').filter(line => !/\(\d+ \/ \d+\)/.test(line) && !line.includes('{"passed"'));
  const error = new Error(`${result.failed} failed\n${lines.join('\n').replaceAll(/\n\s*\n+/g, '\n')}`);
  error.stack = 'Error'; // the tests' own stacks are in the report
  throw error;
}

function errorText(error: unknown): string {
  const { stack, message } = error as { stack?: string; message?: string };
  return stack?.includes(message ?? '') ? stack : `${message ?? error}\n${stack ?? ''}`;
}
