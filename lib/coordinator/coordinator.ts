/**
 * The coordinator: a machine that knows who is a member of which tailnet. It answers `/machine/register` and
 * `/machine/map` (behind connections whose machine keys are proven) and administrators' commands, and yields commits
 * for a store.
 *
 * Changes are in memory as soon as their commit is made; nothing that follows from them leaves before the target calls
 * `handleCommitted`: no answer, no map change, no outcome, no disconnection at the relay. One commit may confirm many.
 * When a commit fails nobody knows whether the store has it, so the coordinator stops: whatever waited gets 503 or a
 * failed outcome, streams end, and every later request is refused. The target makes a new one over the store.
 *
 * Who may reach whom is what the tailnet's policy says (`policies.ts`), whose access tests are judged before whatever
 * could make them fail is committed; what happens by itself raises an alarm.
 *
 * Left out: HTTP, connections, the store (the target's).
 */
import { utf8Encode } from '../base/bytes.ts';
import { formatKey } from '../crypto/key-text.ts';
import type { WireDerpMap } from '../derp/map.ts';
import { runCommand } from './admin.ts';
import type { AdminCommand } from './commands.ts';
import type { Actor, CoordinatorEvent, CoordinatorOptions, MachineRequest, MapCarrier } from './coordinator-types.ts';
import { Core } from './core.ts';
import { removeDevice } from './join.ts';
import { MapSessions } from './map-sessions.ts';
import { type Change, type Commit, FIRST_TAILNET } from './model.ts';
import { pollMap } from './poll-request.ts';
import { Publisher } from './publisher.ts';
import { expireLogins, register } from './register.ts';
import { type Fields, readRequest } from './request-json.ts';
import { idOfSecret, isSecret } from './secrets.ts';
import { changeOf } from './state.ts';
import { NODE_KEY_LIFE_MS, newTailnet } from './users.ts';

const RETRY_SECONDS = '5';

/** What a coordinator holds. */
export interface CoordinatorStatus {
  readonly tailnets: number;
  readonly devices: number;
  readonly pendingLogins: number;
  /** Open requests, map streams included. */
  readonly requests: number;
  readonly openCommits: number;
  /** Tailnets whose policy needs somebody: its tests fail, or it is not the one that was set. */
  readonly policyAlarms: number;
  readonly isStopped: boolean;
}

/** The machine; see the top of the file. */
export class Coordinator {
  readonly #core: Core;
  readonly #sessions: MapCarrier;
  readonly #publisher: Publisher;

  /** Throws Error for records that contradict themselves. */
  constructor(options: CoordinatorOptions) {
    const { random, settings } = options;
    this.#sessions = options.sessions ?? new MapSessions({ random, limits: {}, derpMap: settings.derpMap });
    this.#core = new Core(options, this.#sessions);
    const { state } = this.#core;
    state.load(options.records ?? []);
    this.#core.policies.load(options.unixMs);
    this.#publisher = new Publisher(this.#core);
    this.#core.settlePolicies();
    if (state.tailnets.size === 0) newTailnet(this.#core, 'coordinator', FIRST_TAILNET, false, NODE_KEY_LIFE_MS);
  }

  /** New relays for all devices. */
  setDerpMap(nowMs: number, map: WireDerpMap): void {
    this.#core.nowMs = nowMs;
    this.#sessions.setDerpMap(nowMs, map);
  }

  /** A register request. Returns its number, by which the answer comes as an event. */
  register(nowMs: number, unixMs: number, o: MachineRequest): number {
    this.#setTime(nowMs, unixMs);
    const request = this.#core.requests.open(o.source);
    const fields = this.#admit(request, o);
    if (fields !== undefined) register(this.#core, request, o.machineKey, o.source, fields);
    this.#pump();
    return request;
  }

  /** A map request; `version` is what the connection announced. Returns its number. */
  map(nowMs: number, unixMs: number, o: MachineRequest & { readonly version: number }): number {
    this.#setTime(nowMs, unixMs);
    const request = this.#core.requests.open(o.source);
    const fields = this.#admit(request, o);
    if (fields !== undefined) pollMap(this.#core, request, o.machineKey, o.version, fields);
    this.#pump();
    return request;
  }

  /** A command. Its fields may be anything: what is wrong comes back as an outcome. Returns its number. */
  command(nowMs: number, unixMs: number, actor: Actor, command: AdminCommand): number {
    this.#setTime(nowMs, unixMs);
    const request = this.#core.requests.openCommand();
    this.#pump(); // what time has done by now is seen by the command
    if (this.#core.ledger.isStopped) this.#core.answer(request, STOPPED);
    else this.#core.answer(request, runCommand(this.#core, actor, command));
    this.#pump();
    return request;
  }

  /** Whom an administration token stands for; undefined when it is none, or over. */
  authenticate(unixMs: number, token: string): Actor | undefined {
    const id = idOfSecret('api', token);
    const record = id === undefined ? undefined : this.#core.state.tokens.get(id);
    if (record === undefined) return undefined;
    if (!isSecret(this.#core.suite, token, record.hash)) return undefined; // CHECK: coordinator-token-hash
    const isOver = record.expiresMs > 0 && record.expiresMs <= unixMs;
    if (isOver) return undefined; // CHECK: coordinator-token-expired
    return { name: `token:${record.id}`, tailnet: record.tailnet === '' ? undefined : record.tailnet };
  }

  /** The client of a request has gone. No event about it follows. */
  abandon(nowMs: number, request: number): void {
    this.#core.nowMs = nowMs;
    const isStream = this.#core.requests.isStream(request);
    this.#core.requests.abandon(request);
    if (isStream) this.#sessions.close(nowMs, request);
    this.#pump();
  }

  /** The next commit to make durable, in order. */
  pollCommit(): Commit | undefined {
    return this.#core.ledger.poll();
  }

  /** All commits up to this one are durable. RangeError for one that was not polled, or is confirmed already. */
  handleCommitted(nowMs: number, id: number): void {
    this.#setTime(nowMs, this.#core.unixMs + Math.max(0, nowMs - this.#core.nowMs));
    for (const { applied, effects } of this.#core.ledger.confirm(id)) {
      this.#publisher.publish(applied);
      for (const effect of effects) effect();
    }
    this.#pump();
  }

  /** This commit could not be made durable: the coordinator stops, see the top of the file. */
  handleCommitFailed(nowMs: number, id: number): void {
    const core = this.#core;
    core.nowMs = nowMs;
    core.ledger.stop(id);
    core.log('error', `commit ${id} failed: the coordinator has stopped`);
    const body = utf8Encode(JSON.stringify({ error: STOPPED.message }));
    const headers = { 'retry-after': RETRY_SECONDS };
    for (const { id: request, kind } of core.requests.endAll()) {
      if (kind === 'stream') this.#sessions.close(nowMs, request);
      if (kind === 'stream') core.emit({ type: 'end', request });
      else if (kind === 'outcome') core.emit({ type: 'outcome', request, outcome: STOPPED });
      else core.emit({ type: 'reply', request, status: 503, body, headers });
    }
    this.#pump();
  }

  /** The next event. */
  pollEvent(): CoordinatorEvent | undefined {
    return this.#core.pollEvent();
  }

  /** The next map stream that has bytes; undefined when none has. */
  pollMap(): number | undefined {
    return this.#sessions.pollReady();
  }

  /** Bytes of a map stream into `out[start, end)`; 0: nothing now. Call it only while the stream takes bytes. */
  pollMapBytes(nowMs: number, unixMs: number, request: number, out: Uint8Array, start: number, end: number): number {
    this.#setTime(nowMs, unixMs);
    const length = this.#sessions.pollBytes(nowMs, unixMs, request, out, start, end);
    this.#pump();
    return length;
  }

  /** The tailnet of an approved device whose node key (32 bytes) is valid; undefined for any other key. */
  tailnetOfNode(unixMs: number, nodeKey: Uint8Array): string | undefined {
    return this.#publisher.tailnetOfNode(unixMs, formatKey('nodekey', nodeKey));
  }

  /** A login that waits, for the page at its address: what is about to be let in. Undefined for one that is over. */
  pendingLogin(nowMs: number, id: string): { hostname: string; os: string; machineKey: string } | undefined {
    const join = this.#core.pending.find(nowMs, id)?.join;
    if (join === undefined) return undefined;
    return { hostname: join.host.hostname ?? '', os: join.host.os ?? '', machineKey: join.machineKey };
  }

  /** Every record, as changes that a store can be filled with. */
  records(): IterableIterator<Change> {
    return this.#core.state.records();
  }

  /** Time has passed. */
  handleTimeout(nowMs: number, unixMs: number): void {
    this.#setTime(nowMs, unixMs);
    this.#sessions.handleTimeout(nowMs, unixMs);
    if (!this.#core.ledger.isStopped) {
      this.#publisher.endKeys();
      this.#pump();
      this.#removeEphemeral();
      expireLogins(this.#core);
    }
    this.#pump();
  }

  /** When to call {@link handleTimeout}: absolute, monotonic; Infinity for never, and after a commit has failed. */
  nextTimeout(): number {
    if (this.#core.ledger.isStopped) return Infinity;
    return Math.min(
      this.#publisher.nextTimeout(),
      this.#core.ephemeral.nextMs,
      this.#core.pending.nextTimeout(),
      this.#sessions.nextTimeout(),
    );
  }

  /** Counts. */
  status(): CoordinatorStatus {
    const { state, pending, requests, ledger } = this.#core;
    return {
      tailnets: state.tailnets.size,
      devices: state.nodeKeys.size,
      pendingLogins: pending.size,
      requests: requests.size,
      openCommits: ledger.openCommits,
      policyAlarms: this.#core.policyAlarms,
      isStopped: ledger.isStopped,
    };
  }

  #setTime(nowMs: number, unixMs: number): void {
    this.#core.nowMs = nowMs;
    this.#core.unixMs = unixMs;
  }

  /** What every machine request goes through; undefined when it has been answered. */
  #admit(request: number, o: MachineRequest): Fields | undefined {
    const core = this.#core;
    if (o.machineKey.length !== 32) throw new RangeError(`"machineKey" expected 32 bytes, got ${o.machineKey.length}`);
    const isTooMany = core.requests.isOverLimit(o.source);
    if (core.ledger.isStopped) this.#refuse(request, 503, STOPPED.message);
    else if (isTooMany)
      this.#refuse(request, 429, 'too many requests wait'); // CHECK: coordinator-waiting
    else if (o.body.length > core.limits.bodyBytes)
      this.#refuse(request, 413, 'the request is too large'); // CHECK: coordinator-body
    else {
      const fields = readRequest(o.body, core.limits.jsonDepth);
      if (fields !== undefined) return fields;
      this.#refuse(request, 400, 'the request is not a JSON object');
    }
    return undefined;
  }

  #refuse(request: number, status: number, error: string): void {
    const isTemporary = status === 429 || status === 503;
    this.#core.reply(request, status, { error }, isTemporary ? { 'retry-after': RETRY_SECONDS } : undefined);
  }

  #removeEphemeral(): void {
    const core = this.#core;
    for (;;) {
      const due = this.#core.ephemeral.takeDue(core.nowMs);
      if (due === undefined) return;
      const device = core.state.tailnets.get(due.tailnet)?.devices.get(due.id);
      const isGone = device?.isEphemeral === true && !this.#sessions.isOnline(due.id);
      if (isGone) removeDevice(core, device, 'coordinator');
    }
  }

  /** What happened at the map streams. */
  #pump(): void {
    for (;;) {
      const event = this.#sessions.pollEvent();
      if (event === undefined) break;
      if (event.type === 'presence') this.#handlePresence(event.tailnet, event.device, event.isOnline);
      else if (this.#core.requests.end(event.id)) this.#core.emit({ type: 'end', request: event.id });
    }
    if (!this.#core.ledger.isStopped) this.#core.settlePolicies();
  }

  #handlePresence(tailnet: string, id: number, isOnline: boolean): void {
    const core = this.#core;
    const device = core.state.tailnets.get(tailnet)?.devices.get(id);
    if (device === undefined || core.ledger.isStopped) return;
    if (isOnline) return this.#core.ephemeral.remove(id);
    core.commit([changeOf('device', { ...device, lastSeenMs: core.unixMs })]);
    if (device.isEphemeral) this.#core.ephemeral.set(device, core.nowMs + core.limits.ephemeralGraceMs);
  }
}

const STOPPED = Object.freeze({
  isOk: false,
  code: 'conflict',
  message: 'the coordinator has stopped: a commit failed',
} as const);
