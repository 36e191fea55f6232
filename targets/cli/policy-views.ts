/** Answers about policies as people read them: what is in force, who gains or loses access, why somebody may or not. */
import type { ExplainView, PolicyAlarm, PolicyChangeView, PolicyView } from '../../lib/coordinator/policy-commands.ts';
import type { TailnetView } from '../../lib/coordinator/commands.ts';
import type { AccessChange } from '../../lib/policy/access-diff.ts';
import { formatMoment, formatWhen } from './duration.ts';
import { EXIT_FAILED } from './errors.ts';
import { allText, countText } from './policy-text.ts';
import { formatTable, plainText } from './table.ts';

/** What is printed: on standard output `raw` as it is, or `out`; `err` beside it for people alone. */
export interface View {
  readonly out: readonly string[];
  readonly err?: readonly string[];
  readonly raw?: string;
  /** Exit code, where it is an answer, too. */
  readonly exitCode?: number;
}

/** Pairs that a list shows at most; JSON has more. */
const MAX_PAIRS = 20;

/** The policy itself on standard output, byte for byte; what to know of it on standard error. */
export function policyView(view: PolicyView, nowMs: number): View {
  const { version, text, inForce, alarm, notes } = view;
  if (version === 0)
    return {
      out: [],
      err: [
        `the tailnet ${view.tailnet} has no policy: every device may reach every other; \`motenet policy set FILE\` sets one`,
        ...alarmLines(alarm, nowMs),
      ],
    };
  const set = `version ${version}, set ${formatWhen(nowMs, view.setMs)} by ${view.setBy}`;
  const force = {
    current: '',
    good: '; NOT in force: the last good version is',
    'allow-all': '; NOT in force: everything is allowed',
    'deny-all': '; NOT in force: nothing is allowed',
  }[inForce];
  return {
    out: [],
    raw: text,
    err: [plainText(`${set}${force}`), ...alarmLines(alarm, nowMs), ...noteLines(notes)],
  };
}

/** What a policy has changed, or would. */
export function changeView(change: PolicyChangeView): View {
  const { version, isDryRun, isChanged, tests, diff, notes } = change;
  const put = isDryRun ? `nothing was changed; this would be version ${version}` : `version ${version} is in force`;
  const head = isChanged ? put : `nothing to change: this is version ${version}, which is there already`;
  return {
    out: [
      head,
      testsLine(tests.passed, tests.failed),
      ...tests.lines.map(line => plainText(`  ${line}`)),
      ...pairLines(isDryRun ? 'would gain access' : 'gained access', diff.gainedPairs, diff.gained),
      ...pairLines(isDryRun ? 'would lose access' : 'lost access', diff.lostPairs, diff.lost, 'until now: '),
      ...noteLines(notes),
    ],
  };
}

/** The policy of a tailnet in a table: `version 3`, and whether somebody has to look at it. */
export function policyText({ policyVersion, policyAlarm }: TailnetView): string {
  const version = policyVersion === 0 ? 'none' : `version ${policyVersion}`;
  return policyAlarm === undefined ? version : `${version}, ALARM`;
}

/** Whether one may reach the other; exit code 1 when not. */
export function explainView({ isAllowed, reason, pairs }: ExplainView): View {
  const rows = pairs.map(pair => [
    ...[pair.source, '->', pair.destination, pair.isAllowed ? 'allowed' : 'not allowed', pair.rule ?? ''],
  ]);
  const [, ...table] = formatTable(['', '', '', '', ''], rows);
  return {
    out: [plainText(isAllowed ? reason : `not allowed: ${reason}`), ...table.map(line => `  ${line}`)],
    ...(isAllowed ? {} : { exitCode: EXIT_FAILED }),
  };
}

/** An alarm with the lines that fail. */
export function alarmLines(alarm: PolicyAlarm | undefined, nowMs: number): string[] {
  if (alarm === undefined) return [];
  const since = `since ${formatMoment(alarm.sinceMs)}, ${formatWhen(nowMs, alarm.sinceMs)}`;
  return [`warning: ${alarm.message} (${since})`, ...alarm.failing.map(line => `  ${line}`)].map(plainText);
}

function noteLines(notes: readonly string[]): string[] {
  return notes.map(note => plainText(`note: ${note}`));
}

/** Tests that did not run never look as if they had passed. */
function testsLine(passed: number, failed: number): string {
  const all = passed + failed;
  if (all === 0) return 'no tests: nothing was tested; "tests" in the policy would watch over these rules';
  return failed === 0
    ? `tests: ${allText(all, 'line')} passed`
    : `tests: ${failed} of ${countText(all, 'line')} failed`;
}

/** `before`: stands before the rule; what is lost was given by a rule of the policy before, whose line that is. */
function pairLines(what: string, count: number, changes: readonly AccessChange[], before = ''): string[] {
  if (count === 0) return [`nobody ${what}`];
  const shown = changes.slice(0, MAX_PAIRS);
  const rows = shown.map(({ source, destination, access, rule }) => [
    ...[source, '->', destination, access, rule === undefined ? '' : `${before}${rule}`],
  ]);
  const [, ...table] = formatTable(['', '', '', '', ''], rows);
  const more = count > shown.length ? [`  and ${countText(count - shown.length, 'more pair')}`] : [];
  return [`${countText(count, 'pair')} ${what}:`, ...table.map(line => `  ${line}`), ...more];
}
