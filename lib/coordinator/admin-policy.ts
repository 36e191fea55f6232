/**
 * Administrators' commands about the policy of a tailnet. A policy is set when it can be read and all its access tests
 * pass on the devices that there are now; it is in force at once, and leaves when it is durable.
 */
import { utf8Encode } from '../base/bytes.ts';
import { diffAccess } from '../policy/access-diff.ts';
import type { PolicyCompiler } from '../policy/compiler.ts';
import { describeRule, explain } from '../policy/explain.ts';
import { formatKey, parseKey } from '../policy/ip-set.ts';
import { parsePolicy } from '../policy/parse.ts';
import type { Policy, PolicyResult } from '../policy/policy.ts';
import { formatProblem } from '../policy/problem.ts';
import { findDevice } from './admin-devices.ts';
import { refusal, refusalOfTests } from './admin-input.ts';
import type { AdminCommand, AdminOutcome } from './commands.ts';
import type { AuditDetails, Core } from './core.ts';
import { isMember } from './device-standing.ts';
import type { PolicyRecord } from './model.ts';
import type { ExplainView, PolicyChangeView, PolicyView } from './policy-commands.ts';
import { compileTailnet, PolicyGuard } from './policy-guard.ts';
import { changeOf, type TailnetState } from './state.ts';

type CommandOf<T extends AdminCommand['type']> = Extract<AdminCommand, { type: T }>;

/** What a tailnet has where nobody has set a policy. */
const ALLOW_ALL = '{}';

/** The policy of a tailnet, as it was set, and what is in force. */
export function getPolicy(core: Core, _actor: string, tailnet: TailnetState): AdminOutcome {
  const { id } = tailnet.record;
  const { version = 0, text = '', setMs = 0, setBy = '' } = tailnet.policies.get('current') ?? {};
  const standing = core.policies.standing(id);
  const alarm = core.policies.alarmOf(id);
  const value: PolicyView = {
    ...{ tailnet: id, version, text, setMs, setBy },
    inForce: standing?.inForce ?? 'allow-all',
    ...(alarm !== undefined && { alarm }),
    notes: standing?.notes ?? [],
  };
  return { isOk: true, value };
}

/** Sets a policy, or says what would come of it. */
export function setPolicy(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'policy-set'>,
): AdminOutcome {
  const { text, isDryRun = false } = command;
  const { id } = tailnet.record;
  const { policyBytes } = core.limits;
  const isTooLarge = text.length > policyBytes || utf8Encode(text).length > policyBytes;
  if (isTooLarge) return refusal('invalid', `"text" expected at most ${policyBytes} bytes`); // CHECK: policy-set-bytes
  const current = tailnet.policies.get('current');
  const version = current?.version ?? 0;
  const isStale = command.version !== undefined && command.version !== version;
  if (isStale) return refusal('conflict', `the policy has changed: version ${version} is in place by now`); // CHECK: policy-set-version
  const read = parsePolicy(text);
  if (read.policy === undefined) return refusalOfText(read);
  const compiler = compileTailnet(read.policy, tailnet, core.unixMs);
  const guard = new PolicyGuard(compiler, tailnet);
  const failed = guard.judge(core.unixMs);
  if (failed !== undefined) return refusalOfTests(failed); // CHECK: policy-set-tests
  const { rules, tests } = read.policy;
  const isChanged = current?.text !== text || core.policies.standing(id)?.inForce !== 'current';
  const diff = diffAccess(compilerInForce(core, tailnet), compiler, device => nameOf(tailnet, device));
  const notes = read.notes.map(formatProblem);
  const value: PolicyChangeView = {
    version: isChanged ? version + 1 : version,
    isDryRun,
    isChanged,
    tests: {
      passed: tests.reduce((sum, { accept, deny }) => sum + accept.length + deny.length, 0),
      failed: 0,
      lines: [],
    },
    diff,
    notes,
  };
  if (isDryRun || !isChanged) return { isOk: true, value };
  const counts = { rules: rules.length, tests: tests.length, gained: diff.gainedPairs, lost: diff.lostPairs };
  const record = commitPolicy(core, actor, tailnet, text, { version: version + 1, ...counts });
  const standing = { inForce: 'current', policy: read.policy, notes, fallback: undefined } as const;
  core.policies.accept(record, { ...standing, guard: tests.length === 0 ? undefined : guard }, core.unixMs);
  return { isOk: true, value };
}

/** A policy whose tests pass is the newest, and the one that a start falls back on. */
function commitPolicy(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  text: string,
  details: { readonly version: number } & AuditDetails,
): PolicyRecord {
  const { id } = tailnet.record;
  const { version } = details;
  const record = { tailnet: id, id: 'current', version, text, setMs: core.unixMs, setBy: actor } as const;
  const changes = [changeOf('policy', record), changeOf('policy', { ...record, id: 'good' })];
  core.commit(changes, core.audit(id, actor, 'policy-set', `policy:${id}`, details));
  return record;
}

/** Whether one may reach the other under the policy in force. */
export function explainPolicy(
  core: Core,
  _actor: string,
  tailnet: TailnetState,
  command: CommandOf<'policy-explain'>,
): AdminOutcome {
  const { port, protocol = 6 } = command;
  const ends = [command.source, command.destination].map(text => endOf(core, tailnet, text));
  for (const end of ends) if ('isOk' in end) return end;
  const [source, destination] = ends as End[];
  const out = ends.find((end): end is End => 'why' in end && end.why !== undefined);
  if (out !== undefined) {
    const value: ExplainView = { isAllowed: false, reason: out.why!, pairs: [] };
    return { isOk: true, value };
  }
  const answer = explain(compilerInForce(core, tailnet), source!.key, destination!.key, port, protocol);
  const value: ExplainView = {
    isAllowed: answer.isAllowed,
    reason: answer.reason,
    ...(answer.rule !== undefined && { rule: { name: answer.rule.name, line: answer.rule.line } }),
    pairs: answer.pairs.map(({ rule, ...pair }) => ({
      ...pair,
      ...(rule !== undefined && { rule: describeRule(rule) }),
    })),
  };
  return { isOk: true, value };
}

/** A device or an address; `why`: the reason why it takes no part. */
interface End {
  readonly key: number | string;
  readonly why?: string;
}

function endOf(core: Core, tailnet: TailnetState, text: string): End | AdminOutcome {
  const key = parseKey(text);
  const device = findDevice(tailnet, key === undefined ? text : formatKey(key));
  if (device === undefined && key === undefined) return refusal('not-found', `there is no device ${text}`);
  const isOut = device !== undefined && !isMember(device, core.unixMs);
  if (isOut) return { key: device.id, why: `${device.name} takes no part: ${reasonOf(device.isApproved)}` };
  return { key: key === undefined ? device!.id : formatKey(key) };
}

function reasonOf(isApproved: boolean): string {
  return isApproved ? 'its node key has expired' : 'it is not approved';
}

function refusalOfText(read: PolicyResult & { readonly policy: undefined }): AdminOutcome {
  const details = read.errors.map(formatProblem);
  const more = details.length === 1 ? '' : ` (and ${details.length - 1} more)`;
  return refusal('invalid', `the policy cannot be read: ${details[0]}${more}`, details);
}

function compilerInForce(core: Core, tailnet: TailnetState): PolicyCompiler {
  const policy = core.policies.standing(tailnet.record.id)?.policy ?? parsePolicy(ALLOW_ALL).policy!;
  return compileTailnet(policy as Policy, tailnet, core.unixMs);
}

function nameOf(tailnet: TailnetState, id: number): string {
  return tailnet.devices.get(id)?.name ?? `device ${id}`;
}
