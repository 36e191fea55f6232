/**
 * `motenet status --server` and `motenet doctor --server`: how a coordinator is, and what somebody has to look at. It is
 * asked like every administration command: through its socket, by URL and token, or, where none runs, by its data.
 */
import type { PolicyView } from '../../lib/coordinator/policy-commands.ts';
import type { TailnetView } from '../../lib/coordinator/commands.ts';
import { FIRST_TAILNET } from '../../lib/coordinator/model.ts';
import type { PolicyFileStatus } from '../server/types.ts';
import { type AdminClient, type AdminPlace, AdminRefusal, type CoordinatorReport, openAdmin } from './admin-client.ts';
import { checkLines } from './doctor.ts';
import { bad, type Check, ok } from './doctor-checks.ts';
import { formatDuration, formatMoment, formatWhen } from './duration.ts';
import { messageOf, RunError } from './errors.ts';
import { countText } from './policy-text.ts';
import { policyText } from './policy-views.ts';
import type { ServerModule } from './server-module.ts';
import { bytesText } from './status-view.ts';
import { formatTable, plainText } from './table.ts';

/** What these commands were told. */
export interface ServerQuestion {
  readonly place: AdminPlace;
  readonly isJson: boolean;
}

/** What they run in. */
export interface ServerQuestionEnvironment {
  /** One line to standard output. */
  out(line: string): void;
  /** Wall clock in ms. */
  unixMs(): number;
  readonly load: () => Promise<ServerModule>;
}

/** A coordinator as it was found. */
export interface ServerFindings {
  readonly status: CoordinatorReport;
  readonly tailnets: readonly TailnetView[];
  /** Policies of the tailnets with an alarm. */
  readonly alarmed: readonly PolicyView[];
}

/** Policies with an alarm that are asked for, and lines of each that are shown. */
const MAX_ALARMED = 20;
const MAX_LINES = 5;

/** `motenet status --server`. */
export async function runServerStatus(question: ServerQuestion, environment: ServerQuestionEnvironment): Promise<void> {
  const { out, unixMs } = environment;
  const findings = await find(question.place, environment);
  if (question.isJson) out(JSON.stringify(findings));
  else for (const line of statusLines(findings, unixMs())) out(line);
}

/** `motenet doctor --server`. Rejects with {@link RunError} when there is a problem. */
export async function runServerDoctor(question: ServerQuestion, environment: ServerQuestionEnvironment): Promise<void> {
  const checks = await find(question.place, environment).then(
    findings => serverChecks(findings, environment.unixMs()),
    (error: unknown) => [notTold(error)],
  );
  const count = (verdict: Check['verdict']) => checks.filter(check => check.verdict === verdict).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  if (question.isJson) environment.out(JSON.stringify({ problems, warnings, checks }));
  else for (const line of checkLines(checks)) environment.out(line);
  if (problems > 0) throw new RunError(`${countText(problems, 'problem')} found`);
}

/** A coordinator that did not tell how it is; an answer of its own says what it wants. */
function notTold(error: unknown): Check {
  const refused = error instanceof AdminRefusal ? error.code : undefined;
  if (refused === 'forbidden' || refused === 'unauthorized')
    return bad('server', 'problem', messageOf(error), 'give another token with --token or MOTENET_TOKEN');
  const [what = '', next = 'look whether `motenet serve` runs, and where'] = messageOf(error).split(/: (?=start one )/);
  return bad('server', 'problem', what, next);
}

async function find(place: AdminPlace, { load }: ServerQuestionEnvironment): Promise<ServerFindings> {
  const client: AdminClient = await openAdmin(place, load);
  try {
    const status = await client.status();
    const tailnets = (await client.command({ type: 'tailnet-list' })) as readonly TailnetView[];
    const alarmed: PolicyView[] = [];
    for (const { id } of tailnets.filter(({ policyAlarm }) => policyAlarm !== undefined).slice(0, MAX_ALARMED))
      alarmed.push((await client.command({ type: 'policy-get', tailnet: id })) as PolicyView);
    return { status, tailnets, alarmed };
  } finally {
    await client.close();
  }
}

/** What people read of a coordinator. */
export function statusLines({ status, tailnets, alarmed }: ServerFindings, nowMs: number): string[] {
  const { url, uptimeMs, controlSessions, relay, store, warnings = [], policyFiles = [] } = status;
  const lines =
    url === undefined || uptimeMs === undefined
      ? ['no coordinator runs with these data']
      : [`${plainText(url)}, for ${formatDuration(uptimeMs)}`];
  if (controlSessions !== undefined) lines.push(`${countText(controlSessions, 'device')} connected to it`);
  if (relay !== undefined)
    lines.push(`${countText(relay.members, 'device')} connected to its relay, ${carried(relay.forwardedBytes)}`);
  if (store !== undefined) lines.push(`${countText(store.commits, 'change')} written to disk`);
  if (status.coordinator.pendingLogins > 0)
    lines.push(`${countText(status.coordinator.pendingLogins, 'login')} to be approved: \`motenet devices list\``);
  for (const warning of warnings) lines.push(plainText(`warning: ${warning}`));
  for (const file of policyFiles) lines.push(fileLine(file, nowMs));
  for (const policy of alarmed) lines.push(...alarmText(policy, nowMs));
  const rows = tailnets.map(t => [t.id, String(t.devices), String(t.users), policyText(t)]);
  return [...lines, '', ...formatTable(['TAILNET', 'DEVICES', 'USERS', 'POLICY'], rows)];
}

function carried(bytes: number): string {
  return bytes === 0 ? 'nothing carried yet' : `${bytesText(bytes)} carried`;
}

function fileLine({ tailnet, path, isInForce, version, readMs, problem }: PolicyFileStatus, nowMs: number): string {
  const what = `policy file ${path} of ${tailnet}`;
  const when = `read ${formatWhen(nowMs, readMs)}`;
  return plainText(
    isInForce
      ? `${what}: in force (${when})`
      : `ALARM: ${what} is not in force, version ${version} is: ${problem} (${when})`,
  );
}

function alarmText({ tailnet, alarm }: PolicyView, nowMs: number): string[] {
  const { message = '', sinceMs = nowMs, failing = [] } = alarm ?? {};
  const head = `ALARM: policy of ${tailnet}: ${message} (since ${formatMoment(sinceMs)}, ${formatWhen(nowMs, sinceMs)})`;
  return [head, ...shortened(failing).map(line => `  ${line}`)].map(plainText);
}

function shortened(lines: readonly string[]): readonly string[] {
  return lines.length <= MAX_LINES ? lines : [...lines.slice(0, MAX_LINES), `and ${lines.length - MAX_LINES} more`];
}

/** One line for each thing that was looked at. */
export function serverChecks({ status, tailnets, alarmed }: ServerFindings, nowMs: number): Check[] {
  const { url, uptimeMs, coordinator, warnings = [], policyFiles = [] } = status;
  const isRunning = url !== undefined && uptimeMs !== undefined;
  const checks = [
    isRunning
      ? ok('server', `${url} has run for ${formatDuration(uptimeMs)}`)
      : bad('server', 'problem', 'no coordinator runs with these data', 'start it: motenet serve'),
  ];
  if (coordinator.isStopped)
    checks.push(
      bad('store', 'problem', 'could not be written: nothing is answered', 'look at the disk, then start again'),
    );
  else checks.push(ok('store', `${countText(coordinator.openCommits, 'change')} not on disk yet`));
  for (const warning of warnings) checks.push(bad('setup', 'warning', warning, 'see `motenet help serve`'));
  for (const file of policyFiles) checks.push(fileCheck(file));
  checks.push(...policyChecks(tailnets, alarmed, nowMs));
  if (coordinator.pendingLogins > 0) {
    const text = `${countText(coordinator.pendingLogins, 'login')} waiting for an approval`;
    checks.push(bad('logins', 'warning', text, '`motenet devices list`, then `motenet devices approve ID`'));
  }
  return checks;
}

function fileCheck({ tailnet, path, isInForce, version, problem, details = [] }: PolicyFileStatus): Check {
  if (isInForce) return ok('policy', `${path} is in force in ${tailnet}`);
  const text = `${path} is not in force in ${tailnet}, version ${version} is: ${[problem, ...shortened(details.map(placeText))].join('; ')}`;
  return bad(
    'policy',
    'problem',
    text,
    `mend it (\`motenet policy check ${path}\`), then send SIGHUP to \`motenet serve\``,
  );
}

/** `2:1: message` or `2: message` as `line 2: message`. */
function placeText(detail: string): string {
  return detail.replace(/^([0-9]+)(?::[0-9]+)?: /, 'line $1: ');
}

function policyChecks(tailnets: readonly TailnetView[], alarmed: readonly PolicyView[], nowMs: number): Check[] {
  const problems = alarmed.map(({ tailnet, inForce, alarm }) => {
    const { message = '', sinceMs = nowMs, failing = [] } = alarm ?? {};
    const text = `${tailnet}, ${formatWhen(nowMs, sinceMs)}: ${[message, ...shortened(failing)].join('; ')}`;
    const about = tailnet === FIRST_TAILNET ? '' : ` --tailnet ${tailnet}`;
    const next =
      inForce === 'current'
        ? `change what made them fail (\`motenet audit${about}\`), or the policy: \`motenet policy edit${about}\``
        : `set one that passes: \`motenet policy edit${about}\``;
    return bad('policy', 'problem', text, next);
  });
  const more = tailnets.filter(({ policyAlarm }) => policyAlarm !== undefined).length - alarmed.length;
  if (more > 0)
    problems.push(
      bad('policy', 'problem', `${countText(more, 'more tailnet')} with an alarm`, '`motenet tailnets list`'),
    );
  if (problems.length > 0) return problems;
  const set = tailnets.filter(({ policyVersion }) => policyVersion > 0).length;
  const text =
    set === 0
      ? 'nobody has set one: within a tailnet every device may reach every other'
      : `set in ${set} of ${countText(tailnets.length, 'tailnet')}, without an alarm`;
  return [ok('policy', text)];
}
