/** Worlds with a policy: how it is set, what the carrier of maps hears of it, and devices with tags and routes. */
import { MapSessions } from '../../lib/coordinator/map-sessions.ts';
import type { AdminOutcome } from '../../lib/coordinator/commands.ts';
import type { Change, PolicyRecord } from '../../lib/coordinator/model.ts';
import type { PolicyChangeView, PolicyView } from '../../lib/coordinator/policy-commands.ts';
import type { Policy } from '../../lib/policy/policy.ts';
import { Machine, World, type WorldOptions } from './support.ts';

/** Map sessions that remember which policies they were told. */
export class ListeningSessions extends MapSessions {
  /** Tailnet, number of rules, number of tests; -1 each: everything is allowed. */
  readonly heard: [string, number, number][] = [];

  constructor() {
    super({ random: out => out.fill(1), limits: {}, derpMap: { Regions: {} } });
  }

  override policyChanged(nowMs: number, tailnet: string, policy: Policy | undefined): void {
    this.heard.push([tailnet, policy?.rules.length ?? -1, policy?.tests.length ?? -1]);
    super.policyChanged(nowMs, tailnet, policy);
  }
}

/** A world whose devices are made with a few words. */
export class PolicyWorld extends World {
  readonly sessions: ListeningSessions;
  #made = 0;

  constructor(o: WorldOptions = {}) {
    const sessions = new ListeningSessions();
    super({ ...o, sessions });
    this.sessions = sessions;
  }

  /** Sets a policy; throws when it is refused. */
  set(policy: object | string, o: { isDryRun?: boolean; version?: number } = {}): PolicyChangeView {
    const outcome = this.trySet(policy, o);
    if (!outcome.isOk) throw new Error(`${outcome.message}\n${outcome.details?.join('\n')}`);
    return outcome.value as PolicyChangeView;
  }

  trySet(policy: object | string, o: object = {}): AdminOutcome {
    const text = typeof policy === 'string' ? policy : JSON.stringify(policy, undefined, 1);
    return this.outcome({ type: 'policy-set', tailnet: 'default', text, ...o });
  }

  get policy(): PolicyView {
    return this.run({ type: 'policy-get', tailnet: 'default' });
  }

  /** A new device with this name, of `owner` unless told, that has joined. */
  device(name: string, o: { user?: string; tags?: string[]; routes?: string[]; isEphemeral?: boolean } = {}): Machine {
    const { routes, ...key } = o;
    const machine = new Machine(this, ++this.#made, name);
    const answer = machine.join(this.key(key), { Hostinfo: hostinfo(name, routes) });
    if (answer.Error !== '') throw new Error(answer.Error);
    return machine;
  }

  /** A user. */
  user(loginName: string): void {
    this.run({ type: 'user-create', tailnet: 'default', loginName });
  }

  /** Lines of the log with a warning, but for those that were there before. */
  warnings(): string[] {
    return this.events.flatMap(event => (event.type === 'log' && event.level === 'warn' ? [event.message] : []));
  }

  /** Another world over the same store, with policies as they are told. */
  restarted(policies: Partial<Record<'current' | 'good', Partial<PolicyRecord> | undefined>> = {}): PolicyWorld {
    const changes: Change[] = [];
    for (const change of this.coordinator.records()) {
      if (change.kind !== 'policy' || !(change.id in policies)) changes.push(change);
      else {
        const told = policies[change.id as 'current' | 'good'];
        if (told !== undefined) changes.push({ ...change, value: { ...change.value!, ...told } });
      }
    }
    const records = JSON.parse(JSON.stringify(changes)) as Change[];
    return new PolicyWorld({ records, unixMs: this.unixMs });
  }
}

/** What a device says of itself. */
export function hostinfo(name: string, routes?: readonly string[], more: object = {}): object {
  return { Hostname: name, OS: 'linux', ...(routes !== undefined && { RoutableIPs: routes }), ...more };
}
