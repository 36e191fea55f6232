/**
 * What the parts of a coordinator share: the state, the ledger, open requests, pending logins, and the ways in which
 * something leaves, all of which wait for the commits that it may depend on.
 */
import { utf8Encode, readU32BE } from '../base/bytes.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { AdminOutcome } from './commands.ts';
import type { CoordinatorEvent, CoordinatorOptions, MapCarrier, MapOpening } from './coordinator-types.ts';
import { DeviceTimers } from './device-timers.ts';
import { Ledger } from './ledger.ts';
import { COORDINATOR_LIMITS, type CoordinatorLimits } from './limits.ts';
import type { AuditEntry, Change } from './model.ts';
import { PendingLogins } from './pending-logins.ts';
import { Policies } from './policies.ts';
import type { TestsFailed } from './policy-guard.ts';
import { Requests } from './requests.ts';
import { CoordinatorState } from './state.ts';

/** What an entry of the audit log is made of; the time is that of the core. */
export type AuditDetails = AuditEntry['details'];

const HOUR_MS = 3_600_000;
/** Keys and devices that are counted at the same time. */
const MOST_COUNTED = 10_000;

interface HourCount {
  count: number;
  readonly untilMs: number;
}

/** See the top of the file. */
export class Core {
  /** The time of the call that is under way. */
  nowMs: number;
  unixMs: number;
  readonly url: string;
  readonly random: (out: Uint8Array) => void;
  readonly suite: CryptoSuite;
  readonly limits: CoordinatorLimits;
  readonly sessions: MapCarrier;
  readonly state = new CoordinatorState();
  readonly ledger: Ledger;
  readonly requests: Requests;
  readonly pending: PendingLogins;
  readonly policies: Policies;
  /** By the monotonic clock: when ephemeral devices that are not connected are removed. */
  readonly ephemeral = new DeviceTimers();
  #events: CoordinatorEvent[] = [];
  #nextEvent = 0;
  /** Refusals of an auth key in the audit log, and what devices did by themselves, within the hour. */
  readonly #refusals = new Map<string, HourCount>();
  readonly #acts = new Map<number, HourCount>();
  readonly #alarmed = new Set<string>();

  constructor(options: CoordinatorOptions, sessions: MapCarrier) {
    this.nowMs = options.nowMs;
    this.unixMs = options.unixMs;
    this.url = options.settings.url.replace(/\/+$/, '');
    this.random = options.random;
    this.suite = options.suite;
    this.limits = { ...COORDINATOR_LIMITS, ...options.settings.limits };
    this.sessions = sessions;
    this.ledger = new Ledger(this.state, options.lastCommit ?? 0);
    this.requests = new Requests(this.limits.waitingPerSource);
    this.pending = new PendingLogins(this.random, this.limits);
    this.policies = new Policies(this.state);
  }

  /**
   * Makes a commit of what has happened; `audit` is who decided it: absent, nobody did. Where access tests fail from now
   * on, an alarm is raised.
   */
  commit(changes: readonly Change[], audit?: AuditEntry): void {
    this.policies.noted(this.ledger.commit(changes, audit), false, this.unixMs);
  }

  /** Makes a commit of what somebody wants, unless access tests of the tailnet would fail then: those come back. */
  tryCommit(tailnet: string, changes: readonly Change[], audit?: AuditEntry): TestsFailed | undefined {
    const failed = this.policies.judge(tailnet, changes, this.unixMs);
    if (failed !== undefined) return failed; // CHECK: policy-tests-refuse
    this.policies.noted(this.ledger.commit(changes, audit), true, this.unixMs);
    return undefined;
  }

  /** Runs the access tests that may go otherwise by now. Alarms are heard of when what they tell of is durable. */
  settlePolicies(): void {
    this.policies.settle(this.unixMs);
    for (const { tailnet, level, message } of this.policies.takeNews()) {
      const isAlarm = this.policies.alarmOf(tailnet) !== undefined;
      this.whenDurable(() => {
        if (isAlarm) this.#alarmed.add(tailnet);
        else this.#alarmed.delete(tailnet);
        this.log(level, message);
      });
    }
  }

  /** Tailnets whose policy needs somebody. */
  get policyAlarms(): number {
    return this.#alarmed.size;
  }

  /** An entry of the audit log, now. */
  audit(tailnet: string, actor: string, action: string, target: string, details: AuditDetails = {}): AuditEntry {
    return { atMs: this.unixMs, tailnet, actor, action, target, details };
  }

  /** Answers a request with JSON, or with an empty body. */
  reply(request: number, status: number, value?: unknown, headers?: Readonly<Record<string, string>>): void {
    const body = value === undefined ? new Uint8Array(0) : utf8Encode(JSON.stringify(value));
    this.whenDurable(() => {
      if (this.requests.end(request))
        this.emit({ type: 'reply', request, status, body, ...(headers !== undefined && { headers }) });
    });
  }

  /** Answers a command. */
  answer(request: number, outcome: AdminOutcome): void {
    this.whenDurable(() => {
      if (this.requests.end(request)) this.emit({ type: 'outcome', request, outcome });
    });
  }

  /** Answers a request with a map stream. */
  stream(request: number, opening: MapOpening): void {
    this.whenDurable(() => {
      if (!this.requests.has(request)) return;
      this.requests.startStream(request);
      this.emit({ type: 'stream', request });
      this.sessions.open(this.nowMs, this.unixMs, request, opening);
    });
  }

  /** One line for the log, once what it tells of is durable. */
  note(message: string): void {
    this.whenDurable(() => this.log('info', message));
  }

  /** One line for the log. */
  log(level: 'info' | 'warn' | 'error', message: string): void {
    this.emit({ type: 'log', level, message });
  }

  /** Does something that others notice as soon as everything decided so far is durable. */
  whenDurable(effect: () => void): void {
    if (!this.ledger.defer(effect)) effect();
  }

  /** Hands an event to the target. */
  emit(event: CoordinatorEvent): void {
    this.#events.push(event);
  }

  /** The next event. */
  pollEvent(): CoordinatorEvent | undefined {
    const event = this.#events[this.#nextEvent];
    if (event !== undefined) this.#nextEvent++;
    else if (this.#nextEvent > 0) [this.#events, this.#nextEvent] = [[], 0];
    return event;
  }

  /** An id for a user or a device: random, 1 to 2^53-1, in use by nobody. */
  drawId(): number {
    const bytes = new Uint8Array(8);
    for (;;) {
      this.random(bytes);
      const id = (readU32BE(bytes, 0) & 0x1f_ffff) * 2 ** 32 + readU32BE(bytes, 4);
      if (id > 0 && !this.state.ids.has(id)) return id;
    }
  }

  /** Whether one more refusal of this auth key goes into the audit log. */
  mayAuditRefusal(key: string): boolean {
    return this.#countInHour(this.#refusals, key) <= this.limits.auditedRefusalsPerHour;
  }

  /** Whether a device may do one more thing by itself that goes into the audit log, which only grows. */
  mayAct(device: number): boolean {
    return this.#countInHour(this.#acts, device) <= this.limits.ownActsPerHour;
  }

  #countInHour<K>(counts: Map<K, HourCount>, key: K): number {
    let found = counts.get(key);
    if (found === undefined || found.untilMs <= this.nowMs) {
      if (counts.size >= MOST_COUNTED) counts.clear();
      found = { count: 0, untilMs: this.nowMs + HOUR_MS };
      counts.set(key, found);
    }
    return ++found.count;
  }
}
