/**
 * The policies of all tailnets: which is in force, whether its tests hold, and what somebody has to look at.
 *
 * What was set is in force. At the start the newest is read again: where it is broken, or its tests fail and it is not
 * the last one whose tests passed, that one is in force instead; without one nobody may do anything. A tailnet for which
 * nobody has set a policy allows everything. Nothing here leaves by itself: callers wait until what it depends on is
 * durable.
 */
import { parsePolicy } from '../policy/parse.ts';
import type { Policy, PolicyResult } from '../policy/policy.ts';
import { formatProblem } from '../policy/problem.ts';
import { standsElsewhere } from './device-standing.ts';
import { DeviceTimers } from './device-timers.ts';
import type { AppliedChange } from './ledger.ts';
import type { Change, DeviceRecord, PolicyRecord, UserRecord } from './model.ts';
import type { PolicyAlarm, PolicyView } from './policy-commands.ts';
import { compileTailnet, PolicyGuard, type TestsFailed } from './policy-guard.ts';
import type { CoordinatorState, TailnetState } from './state.ts';

/** The policy in force in a tailnet where one was set. */
export interface StandingPolicy {
  readonly inForce: Exclude<PolicyView['inForce'], 'allow-all'>;
  readonly policy: Policy;
  /** What is in the file and not evaluated. */
  readonly notes: readonly string[];
  /** Undefined: there are no tests. */
  readonly guard: PolicyGuard | undefined;
  /** Why it is not the newest. */
  readonly fallback: PolicyAlarm | undefined;
}

/** Routes that were not approved by themselves, since tests would fail. */
interface Declined {
  readonly routes: readonly string[];
  readonly alarm: PolicyAlarm;
}

/** What somebody has to look at in a tailnet. */
interface Alarms {
  tests: PolicyAlarm | undefined;
  /** By device. */
  readonly declined: Map<number, Declined>;
}

/** An alarm that was raised, or is over: a line for the log. */
export interface AlarmNews {
  readonly tailnet: string;
  readonly level: 'info' | 'warn';
  readonly message: string;
}

const DENY_ALL = '{"acls": []}';

/** See the top of the file. */
export class Policies {
  readonly #state: CoordinatorState;
  readonly #standing = new Map<string, StandingPolicy>();
  readonly #alarms = new Map<string, Alarms>();
  readonly #parsed = new WeakMap<PolicyRecord, PolicyResult>();
  /** Ends of node keys in tailnets with tests, by the wall clock. */
  readonly #expiries = new DeviceTimers();
  /** Tailnets whose tests may go otherwise than they went. */
  readonly #due = new Set<string>();
  #news: AlarmNews[] = [];

  constructor(state: CoordinatorState) {
    this.#state = state;
  }

  /** Looks at what the store held. */
  load(unixMs: number): void {
    for (const [id, tailnet] of this.#state.tailnets) {
      const standing = this.#resolve(tailnet, unixMs);
      if (standing !== undefined) this.#stand(id, standing);
    }
    for (const { devices } of this.#state.tailnets.values())
      for (const device of devices.values()) this.#watch(device, unixMs);
  }

  /** The policy in force; undefined where nobody has set one, and everything is allowed. */
  standing(tailnet: string): StandingPolicy | undefined {
    return this.#standing.get(tailnet);
  }

  /** The policy of a record; the same object for the same record. */
  read(record: PolicyRecord): PolicyResult {
    let result = this.#parsed.get(record);
    if (result === undefined) {
      result = parsePolicy(record.text);
      this.#parsed.set(record, result);
    }
    return result;
  }

  /** This policy, whose tests pass, was set: it is in force. */
  accept(record: PolicyRecord, standing: StandingPolicy, unixMs: number): void {
    const { tailnet } = record;
    this.#parsed.set(record, { policy: standing.policy, notes: [] });
    const before = this.alarmOf(tailnet);
    this.#stand(tailnet, standing);
    if (before !== undefined) this.#tell(tailnet, 'info', 'the alarm is over: another policy was set');
    for (const device of this.#state.tailnets.get(tailnet)!.devices.values()) this.#watch(device, unixMs);
  }

  /** What tests changes would make fail, before they are made. Undefined: they are fine, and are made at once. */
  judge(tailnet: string, changes: readonly Change[], unixMs: number): TestsFailed | undefined {
    this.#expire(unixMs);
    return this.#standing.get(tailnet)?.guard?.judgeChanges(unixMs, changes);
  }

  /** Changes that were made; `isJudged`: after {@link judge}. */
  noted(applied: readonly AppliedChange[], isJudged: boolean, unixMs: number): void {
    this.#expire(unixMs); // INVARIANT: whoever counts as gone below has been taken out of the compiler
    for (const { change, previous } of applied) {
      const { kind, tailnet, value } = change;
      if (kind === 'tailnet' && value === undefined) this.#forget(tailnet);
      const guard = this.#standing.get(tailnet)?.guard;
      if (kind === 'device') this.#noteDevice(tailnet, Number(change.id), previous as DeviceRecord, value, unixMs);
      if (guard === undefined) continue;
      const touched = this.#touchedBy(change, previous as DeviceRecord | UserRecord | undefined, unixMs);
      if (touched.length > 0) this.#due.add(tailnet);
      if (!isJudged) for (const id of touched) guard.touch(id);
    }
  }

  /** Routes of a device were not approved by themselves. The alarm does not outlive a restart: the routes then just wait. */
  decline(device: DeviceRecord, routes: readonly string[], failed: TestsFailed, unixMs: number): void {
    const { declined } = this.#alarmsOf(device.tailnet);
    const all = [...new Set([...(declined.get(device.id)?.routes ?? []), ...routes])];
    const open = all.filter(route => device.advertisedRoutes.includes(route));
    const message = `${open.join(', ')} of device ${device.id} (${device.name}) would be approved, but tests would fail`;
    declined.set(device.id, { routes: open, alarm: { sinceMs: unixMs, message, failing: failed.lines } });
    this.#tell(device.tailnet, 'warn', message);
  }

  /** Runs the tests that may go otherwise by now; what comes of it is in {@link takeNews}. */
  settle(unixMs: number): void {
    this.#expire(unixMs);
    for (const tailnet of this.#due) {
      this.#due.delete(tailnet);
      this.#judgeState(tailnet, unixMs);
    }
  }

  /** Alarms that were raised or are over since this was asked last. */
  takeNews(): readonly AlarmNews[] {
    if (this.#news.length === 0) return this.#news;
    const news = this.#news;
    this.#news = [];
    return news;
  }

  /** What somebody has to look at in a tailnet, as one alarm. */
  alarmOf(tailnet: string): PolicyAlarm | undefined {
    const { tests, declined } = this.#alarms.get(tailnet) ?? {};
    const { fallback } = this.#standing.get(tailnet) ?? {};
    const all = [fallback, tests, ...[...(declined?.values() ?? [])].map(({ alarm }) => alarm)];
    const [first, ...others] = all.filter(alarm => alarm !== undefined);
    if (first === undefined || others.length === 0) return first;
    const message = [first, ...others].map(alarm => alarm.message).join('; ');
    const sinceMs = Math.min(first.sinceMs, ...others.map(alarm => alarm.sinceMs));
    return { sinceMs, message, failing: [first, ...others].flatMap(({ failing }) => failing) };
  }

  #expire(unixMs: number): void {
    for (let due = this.#expiries.takeDue(unixMs); due !== undefined; due = this.#expiries.takeDue(unixMs)) {
      this.#standing.get(due.tailnet)?.guard?.touch(due.id);
      this.#due.add(due.tailnet);
    }
  }

  #stand(tailnet: string, standing: StandingPolicy): void {
    this.#standing.set(tailnet, standing);
    this.#alarms.delete(tailnet);
    if (standing.fallback !== undefined) this.#tell(tailnet, 'warn', standing.fallback.message);
    if (standing.guard !== undefined) this.#due.add(tailnet);
  }

  #resolve(tailnet: TailnetState, unixMs: number): StandingPolicy | undefined {
    const current = tailnet.policies.get('current');
    const good = tailnet.policies.get('good');
    if (current === undefined && good === undefined) return undefined;
    const found = current === undefined ? undefined : this.#examine(current, tailnet, unixMs);
    const [standing, lines] = found ?? [undefined, ['it is missing in the store']];
    // What was good stays in force when only the devices have changed since.
    const isBroken = standing === undefined || (lines.length > 0 && current!.text !== good?.text);
    const what = standing === undefined ? 'cannot be read' : 'fails its tests';
    const why = `the newest policy (version ${current?.version ?? '?'}) ${what}`;
    if (isBroken) return this.#fallBack(good, tailnet, why, lines, unixMs); // CHECK: policy-last-good
    return standing;
  }

  /** What is in force instead of the newest policy. */
  #fallBack(
    good: PolicyRecord | undefined,
    tailnet: TailnetState,
    why: string,
    failing: readonly string[],
    unixMs: number,
  ): StandingPolicy {
    const last = good === undefined ? undefined : this.#examine(good, tailnet, unixMs)[0];
    if (last === undefined) return denyAll(why, failing, unixMs); // CHECK: policy-deny-broken
    const message = `${why}: version ${good!.version}, the last whose tests passed, is in force instead`;
    return { ...last, inForce: 'good', fallback: { sinceMs: unixMs, message, failing } };
  }

  /** A record as a policy that could be in force, or nothing; and what is wrong with it. */
  #examine(
    record: PolicyRecord,
    tailnet: TailnetState,
    unixMs: number,
  ): readonly [StandingPolicy | undefined, readonly string[]] {
    const result = this.read(record);
    if (result.policy === undefined) return [undefined, result.errors.map(formatProblem)];
    const { policy } = result;
    const hasTests = policy.tests.length > 0;
    const guard = hasTests ? new PolicyGuard(compileTailnet(policy, tailnet, unixMs), tailnet) : undefined;
    const notes = result.notes.map(formatProblem);
    return [{ inForce: 'current', policy, notes, guard, fallback: undefined }, guard?.judge(unixMs)?.lines ?? []];
  }

  #judgeState(tailnet: string, unixMs: number): void {
    const guard = this.#standing.get(tailnet)?.guard;
    if (guard === undefined) return;
    const failed = guard.judge(unixMs);
    const alarms = this.#alarmsOf(tailnet);
    const before = alarms.tests;
    if (failed === undefined) {
      alarms.tests = undefined;
      if (before !== undefined) this.#tell(tailnet, 'info', 'all access tests pass again');
      return;
    }
    const count = failed.lines.length;
    const message = `${count} of ${count + failed.passed} access tests fail`;
    alarms.tests = { sinceMs: before?.sinceMs ?? unixMs, message, failing: failed.lines };
    if (before?.failing.join() !== failed.lines.join()) this.#tell(tailnet, 'warn', `${message}: ${failed.lines[0]}`);
  }

  /** Devices that the policy may judge otherwise after a change. */
  #touchedBy(change: Change, previous: DeviceRecord | UserRecord | undefined, unixMs: number): readonly number[] {
    if (change.kind === 'device')
      return standsElsewhere(previous as DeviceRecord, change.value, unixMs) ? [Number(change.id)] : [];
    const isRenamed = change.kind === 'user' && (previous as UserRecord)?.loginName !== change.value?.loginName;
    if (!isRenamed) return [];
    const devices = [...(this.#state.tailnets.get(change.tailnet)?.devices.values() ?? [])];
    return devices.filter(({ user }) => user === Number(change.id)).map(({ id }) => id);
  }

  #noteDevice(
    tailnet: string,
    id: number,
    previous: DeviceRecord | undefined,
    device: DeviceRecord | undefined,
    unixMs: number,
  ): void {
    if (device === undefined) this.#expiries.remove(id);
    else if (device.keyExpiryMs !== previous?.keyExpiryMs) this.#watch(device, unixMs);
    const declined = this.#alarms.get(tailnet)?.declined;
    const routes = declined?.get(id)?.routes;
    const isOpen = routes?.some(
      route => device?.advertisedRoutes.includes(route) && !device.approvedRoutes.includes(route),
    );
    if (isOpen !== false) return;
    declined!.delete(id);
    this.#tell(tailnet, 'info', 'no route waits for an approval that tests stand against any more');
  }

  #watch(device: DeviceRecord, unixMs: number): void {
    if (this.#standing.get(device.tailnet)?.guard === undefined) return;
    this.#expiries.set(device, device.keyExpiryMs > unixMs ? device.keyExpiryMs : Infinity);
  }

  #forget(tailnet: string): void {
    const alarm = this.alarmOf(tailnet);
    this.#standing.delete(tailnet);
    this.#alarms.delete(tailnet);
    this.#due.delete(tailnet);
    if (alarm !== undefined) this.#tell(tailnet, 'info', 'the tailnet is gone');
  }

  #alarmsOf(tailnet: string): Alarms {
    let alarms = this.#alarms.get(tailnet);
    if (alarms === undefined) this.#alarms.set(tailnet, (alarms = { tests: undefined, declined: new Map() }));
    return alarms;
  }

  #tell(tailnet: string, level: AlarmNews['level'], message: string): void {
    this.#news.push({ tailnet, level, message: `policy of tailnet ${tailnet}: ${message}` });
  }
}

function denyAll(why: string, failing: readonly string[], unixMs: number): StandingPolicy {
  const { policy } = parsePolicy(DENY_ALL) as { policy: Policy };
  const message = `${why}, and there is no other whose tests passed: nobody may reach anything`;
  return { inForce: 'deny-all', policy, notes: [], guard: undefined, fallback: { sinceMs: unixMs, message, failing } };
}
