/**
 * The access tests of one tailnet, held against its newest state, which may not be durable yet: how they would go after a
 * change, and how they go now. Only tailnets whose policy has tests have one, so that the others pay nothing.
 *
 * The compiler is changed to what is to be, the tests run, and what was changed is made again from the state before the
 * next question: whatever became of the change, the compiler never drifts from what is.
 */
import { runTests, type TestOutcome, type TestReport } from '../policy/access-tests.ts';
import { type DeviceChange, PolicyCompiler } from '../policy/compiler.ts';
import type { Policy } from '../policy/policy.ts';
import { isMember, standsElsewhere } from './device-standing.ts';
import { policyDeviceOf } from './map-policy.ts';
import type { Change, DeviceRecord, UserRecord } from './model.ts';
import type { TailnetState } from './state.ts';

/** Pairs that are told apart in a line that fails; with more of them every change of their number counts as worse. */
const MOST_PAIRS = 10_000;

/** Access tests that a change would make fail. */
export interface TestsFailed {
  /** One line each: where it is in the file, what fails, and the rule to blame. */
  readonly lines: readonly string[];
  /** Place of the first of them in the file. */
  readonly line: number;
  readonly passed: number;
}

/** A compiler over the members of a tailnet. */
export function compileTailnet(policy: Policy, tailnet: TailnetState, unixMs: number): PolicyCompiler {
  const members = [...tailnet.devices.values()].filter(device => isMember(device, unixMs));
  return new PolicyCompiler(
    policy,
    members.map(device => policyDeviceOf(device, loginOf(tailnet, device))),
  );
}

/** `line 14: group:dev to tag:db:22 should be denied, but acls[3] in line 12 allows …`. */
export function lineOf(outcome: TestOutcome): string {
  return `line ${outcome.line}: ${outcome.message}`;
}

/** What is wrong in a report; undefined for tests that pass. */
function failureOf(report: TestReport): TestsFailed | undefined {
  return failureIn(
    report,
    report.outcomes.filter(({ isPassed }) => !isPassed),
  );
}

/** See the top of the file. */
export class PolicyGuard {
  readonly #tailnet: TailnetState;
  readonly #compiler: PolicyCompiler;
  /** Devices that the compiler may have otherwise than the state. */
  readonly #stale = new Set<number>();
  /** Pairs on which tests fail in the state as it is. */
  #failing: ReadonlySet<string> = new Set();
  #failure: TestsFailed | undefined;
  #isJudged = false;

  /** `compiler` has the members as they are; from now on it belongs to the guard. */
  constructor(compiler: PolicyCompiler, tailnet: TailnetState) {
    this.#tailnet = tailnet;
    this.#compiler = compiler;
  }

  /** Whether the state has been judged since it changed. */
  get isJudged(): boolean {
    return this.#isJudged;
  }

  /** Something about a device has changed. */
  touch(id: number): void {
    this.#stale.add(id);
    this.#isJudged = false;
  }

  /** What of the tests fails in the state as it is. */
  judge(unixMs: number): TestsFailed | undefined {
    if (this.#isJudged) return this.#failure;
    this.#refresh(unixMs);
    this.#keep(runTests(this.#compiler, MOST_PAIRS));
    return this.#failure;
  }

  /**
   * What the changes would make fail that does not fail already: a line that passes now, or another pair of a line that
   * fails. Undefined for changes that are fine; they must be committed then.
   */
  judgeChanges(unixMs: number, changes: readonly Change[]): TestsFailed | undefined {
    const wanted = this.#deviceChanges(unixMs, changes);
    if (wanted.length === 0) return undefined;
    this.judge(unixMs);
    this.#refresh(unixMs);
    this.#compiler.update(wanted);
    const report = runTests(this.#compiler, MOST_PAIRS);
    const worse = report.outcomes.filter(outcome => pairsOf(outcome).some(pair => !this.#failing.has(pair)));
    if (worse.length === 0) this.#keep(report);
    else for (const { id } of wanted) this.#stale.add(id);
    return failureIn(report, worse);
  }

  #keep(report: TestReport): void {
    this.#failing = new Set(report.outcomes.flatMap(pairsOf));
    this.#failure = failureOf(report);
    this.#isJudged = true;
  }

  #refresh(unixMs: number): void {
    if (this.#stale.size === 0) return;
    const ids = [...this.#stale];
    this.#stale.clear();
    this.#compiler.update(ids.map(id => this.#changeOf(unixMs, id, this.#tailnet.devices.get(id))));
  }

  #deviceChanges(unixMs: number, changes: readonly Change[]): readonly DeviceChange[] {
    const out = new Map<number, DeviceChange>();
    const users = new Map<number, UserRecord>();
    for (const { kind, value } of changes) if (kind === 'user' && value !== undefined) users.set(value.id, value);
    for (const change of changes)
      if (change.kind === 'device') {
        const id = Number(change.id);
        const isOther = standsElsewhere(this.#tailnet.devices.get(id), change.value, unixMs);
        if (isOther) out.set(id, this.#changeOf(unixMs, id, change.value, users));
      }
    for (const user of users.values()) {
      if (user.loginName === this.#tailnet.users.get(user.id)?.loginName) continue;
      for (const device of this.#tailnet.devices.values())
        if (device.user === user.id && !out.has(device.id))
          out.set(device.id, this.#changeOf(unixMs, device.id, device, users));
    }
    return [...out.values()];
  }

  #changeOf(
    unixMs: number,
    id: number,
    device: DeviceRecord | undefined,
    users?: ReadonlyMap<number, UserRecord>,
  ): DeviceChange {
    if (device === undefined || !isMember(device, unixMs)) return { id, device: undefined };
    const loginName = users?.get(device.user)?.loginName ?? loginOf(this.#tailnet, device);
    return { id, device: policyDeviceOf(device, loginName) };
  }
}

function failureIn(report: TestReport, failing: readonly TestOutcome[]): TestsFailed | undefined {
  const [first] = failing;
  if (first === undefined) return undefined;
  const passed = report.outcomes.filter(({ isPassed }) => isPassed).length;
  return { lines: failing.map(lineOf), line: first.line, passed };
}

/** The pairs on which a line fails, as texts that tell them apart. */
function pairsOf(outcome: TestOutcome): readonly string[] {
  if (outcome.isPassed) return [];
  const what = `${outcome.line}:${outcome.column} ${outcome.expected}`;
  if (outcome.failing !== outcome.examples.length || outcome.failing === 0) return [`${what} ${outcome.failing}`];
  return outcome.examples.map(({ source, destination }) => `${what} ${source} ${destination}`);
}

function loginOf(tailnet: TailnetState, device: DeviceRecord): string {
  return tailnet.users.get(device.user)?.loginName ?? '';
}
