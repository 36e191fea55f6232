/**
 * Counting tests. Every program of this repository that runs tests ends with the line that {@link closingLine} makes,
 * and `.ci/run` adds those lines up.
 */

/** What a run of tests came to. */
export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

/** An empty tally. */
export function emptyTally(): Tally {
  return { passed: 0, failed: 0, skipped: 0 };
}

/** Adds `more` to `sum` in place. */
export function addTally(sum: Tally, more: Tally): void {
  sum.passed += more.passed;
  sum.failed += more.failed;
  sum.skipped += more.skipped;
}

/** `3 passed, 0 failed, 1 skipped`. */
export function closingLine(tally: Tally): string {
  return `${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`;
}

/** Exit code of a run: 0 only when something passed and nothing failed; 3 when no test ran at all. */
export function exitCode(tally: Tally): number {
  if (tally.failed > 0) return 1;
  return tally.passed > 0 ? 0 : 3;
}
