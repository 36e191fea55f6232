/**
 * Runs a Coordinator (lib/coordinator): makes its commits durable, hands out its replies and map streams, keeps its timer.
 *
 * All commits of one turn of the event loop, and of the time that the last write took, go into one transaction: a slow
 * disk makes larger groups, not a longer queue. When the store fails, the coordinator stops: its memory is ahead of the
 * disk, and nothing that was not written may leave.
 */
import { NetError } from '../../lib/base/errors.ts';
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import type { Coordinator, CoordinatorStatus } from '../../lib/coordinator/coordinator.ts';
import type { Commit } from '../../lib/coordinator/model.ts';
import type { Host, Timer } from '../../lib/ports.ts';
import { Pace } from './pace.ts';
import type { Store } from './store.ts';
import type { Actor, Log } from './types.ts';

/** Map streams are written in pieces of this size. */
const SLAB_BYTES = 65_536;
const SLAB_LEAST_BYTES = 4096;
/** Longest pause between two transactions, however slow the disk is. */
const MAX_PAUSE_MS = 50;

/** Commands that compile a whole policy. */
const PACED: readonly AdminCommand['type'][] = Object.freeze(['policy-set', 'policy-explain']);

/** How one request of a device is answered: by one `reply`, or by `begin`, writes and `end`. */
export interface Exchange {
  reply(status: number, body: Uint8Array, headers: Readonly<Record<string, string>> | undefined): void;
  begin(): void;
  /** Takes bytes, which belong to the stream from now on; false: it is full until `resume` is called. */
  write(bytes: Uint8Array): boolean;
  /** Whether anybody listens still. */
  readonly isOpen: boolean;
  end(): void;
}

/** A request of a device, out of its control connection. */
export interface DeviceRequest {
  readonly machineKey: Uint8Array;
  /** Remote address. */
  readonly source: string;
  readonly body: Uint8Array;
}

/** What it needs. */
export interface CoordinatorHostOptions {
  readonly host: Pick<Host, 'clock' | 'createTimer'>;
  readonly coordinator: Coordinator;
  readonly store: Pick<Store, 'commit'>;
  readonly log: Log;
  /** A node is no longer a member: its relay connections end. */
  readonly onRelayDisconnect: (tailnet: string, nodeKey: Uint8Array) => void;
  /** The store failed; everything is refused from now on. */
  readonly onFailure: (error: Error) => void;
}

/** A coordinator that runs; see the top of the file. */
export class CoordinatorHost {
  /** Why it stopped. */
  error: NetError | undefined = undefined;
  readonly #options: CoordinatorHostOptions;
  readonly #coordinator: Coordinator;
  readonly #timer: Timer;
  readonly #exchanges = new Map<number, Exchange>();
  /** Requests that are map streams, and those of them that are full. */
  readonly #streams = new Set<number>();
  readonly #full = new Set<number>();
  readonly #commands = new Map<number, { resolve(outcome: AdminOutcome): void; reject(error: Error): void }>();
  readonly #pace = new Pace(() => this.#nowMs);
  #slab = Buffer.alloc(0);
  #isScheduled = false;
  #commitAtMs = Number.NEGATIVE_INFINITY;
  #failure: Error | undefined = undefined;
  #commitTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: CoordinatorHostOptions) {
    this.#options = options;
    this.#coordinator = options.coordinator;
    this.#timer = options.host.createTimer(() => {
      this.#coordinator.handleTimeout(this.#nowMs, this.#unixMs);
      this.#settle();
    });
    this.#settle();
  }

  /** POST /machine/register. Returns the request's number. */
  register(request: DeviceRequest, exchange: Exchange): number {
    return this.#begin(exchange, () => this.#coordinator.register(this.#nowMs, this.#unixMs, request));
  }

  /** POST /machine/map; `version` is that of the Noise handshake. Returns the request's number. */
  map(request: DeviceRequest & { readonly version: number }, exchange: Exchange): number {
    return this.#begin(exchange, () => this.#coordinator.map(this.#nowMs, this.#unixMs, request));
  }

  /** The client of a request has gone, or everything is answered. */
  abandon(request: number): void {
    const isKnown = this.#exchanges.delete(request);
    this.#streams.delete(request);
    this.#full.delete(request);
    if (!isKnown || this.error !== undefined) return;
    this.#coordinator.abandon(this.#nowMs, request);
    this.#schedule();
  }

  /** The stream of a request takes bytes again. */
  resume(request: number): void {
    if (!this.#full.delete(request) || this.error !== undefined) return;
    this.#pump(request);
    this.#schedule();
  }

  /** Carries a command out; what it changed is durable when this resolves. Policies are read one after the other. */
  command(actor: Actor, command: AdminCommand): Promise<AdminOutcome> {
    return new Promise((resolve, reject) => {
      const run = () => {
        if (this.error !== undefined) return reject(this.error);
        const request = this.#coordinator.command(this.#nowMs, this.#unixMs, actor, command);
        this.#commands.set(request, { resolve, reject });
        this.#schedule();
      };
      if (PACED.includes(command.type)) this.#pace.run(run);
      else run();
    });
  }

  /** Whose token this is. */
  authenticate(token: string): Actor | undefined {
    return this.#coordinator.authenticate(this.#unixMs, token);
  }

  /** The tailnet that a node is a member of, for the relay. */
  tailnetOfNode(nodeKey: Uint8Array): string | undefined {
    return this.error === undefined ? this.#coordinator.tailnetOfNode(this.#unixMs, nodeKey) : undefined;
  }

  /** What the coordinator says of itself. */
  status(): CoordinatorStatus {
    return this.#coordinator.status();
  }

  /** Makes everything durable that was decided, then stops. */
  close(): void {
    this.#commitAtMs = Number.NEGATIVE_INFINITY;
    if (this.error === undefined) this.#settle();
    this.#stop(new NetError('ERR_CLOSED', 'the coordinator has stopped'));
  }

  #begin(exchange: Exchange, start: () => number): number {
    if (this.error !== undefined) {
      exchange.reply(503, new Uint8Array(0), undefined);
      return -1;
    }
    const request = start();
    this.#exchanges.set(request, exchange);
    this.#schedule();
    return request;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#settle());
  }

  /** Does what the machine asks for, until it asks for nothing. */
  #settle(): void {
    this.#isScheduled = false;
    if (this.error !== undefined) return;
    for (let isBusy = true; isBusy; ) {
      isBusy = this.#commit();
      for (let event = this.#coordinator.pollEvent(); event !== undefined; event = this.#coordinator.pollEvent()) {
        this.#handleEvent(event);
        isBusy = true;
      }
      for (let id = this.#coordinator.pollMap(); id !== undefined; id = this.#coordinator.pollMap()) {
        this.#pump(id);
        isBusy = true;
      }
    }
    if (this.#failure !== undefined) this.#fail(this.#failure);
    else this.#timer.arm(this.#coordinator.nextTimeout());
  }

  /** Writes all commits that wait, unless the disk needs a pause; whether anything was confirmed. */
  #commit(): boolean {
    const nowMs = this.#nowMs;
    if (this.#failure !== undefined) return false;
    if (nowMs < this.#commitAtMs) {
      this.#commitTimer ??= setTimeout(() => {
        this.#commitTimer = undefined;
        this.#settle();
      }, this.#commitAtMs - nowMs);
      return false;
    }
    const commits: Commit[] = [];
    for (let next = this.#coordinator.pollCommit(); next !== undefined; next = this.#coordinator.pollCommit())
      commits.push(next);
    if (commits.length === 0) return false;
    try {
      this.#options.store.commit(commits);
    } catch (error) {
      this.#failure = error as Error;
      this.#coordinator.handleCommitFailed(this.#nowMs, commits[0]!.id);
      return true;
    }
    const doneMs = this.#nowMs;
    this.#commitAtMs = doneMs + Math.min(MAX_PAUSE_MS, doneMs - nowMs);
    this.#coordinator.handleCommitted(doneMs, commits.at(-1)!.id);
    return true;
  }

  #handleEvent(event: NonNullable<ReturnType<Coordinator['pollEvent']>>): void {
    switch (event.type) {
      case 'reply':
        return this.#finish(event.request, exchange => exchange.reply(event.status, event.body, event.headers));
      case 'stream':
        this.#streams.add(event.request);
        return this.#exchanges.get(event.request)?.begin();
      case 'end':
        return this.#finish(event.request, exchange => exchange.end());
      case 'outcome':
        this.#commands.get(event.request)?.resolve(event.outcome);
        this.#commands.delete(event.request);
        return;
      case 'relay-disconnect':
        return this.#options.onRelayDisconnect(event.tailnet, event.nodeKey);
      case 'log':
        return this.#options.log(event.level, event.message);
    }
  }

  /** The coordinator is done with a request: it must not hear of it again. */
  #finish(request: number, answer: (exchange: Exchange) => void): void {
    const exchange = this.#exchanges.get(request);
    this.#exchanges.delete(request);
    this.#streams.delete(request);
    this.#full.delete(request);
    if (exchange?.isOpen) answer(exchange);
  }

  /** Moves what waits for a map stream into it, as far as it takes it. */
  #pump(request: number): void {
    const exchange = this.#exchanges.get(request);
    while (exchange?.isOpen && this.#streams.has(request) && !this.#full.has(request)) {
      if (this.#slab.length < SLAB_LEAST_BYTES) this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      const slab = this.#slab;
      const length = this.#coordinator.pollMapBytes(this.#nowMs, this.#unixMs, request, slab, 0, slab.length);
      if (length === 0) return;
      this.#slab = slab.subarray(length);
      if (!exchange.write(slab.subarray(0, length))) this.#full.add(request);
    }
  }

  #fail(error: Error): void {
    this.#options.log('error', `the coordinator stops: ${error.message}`);
    this.#stop(new NetError('ERR_STORE', `the coordinator has stopped: ${error.message}`, { cause: error }));
    this.#options.onFailure(error);
  }

  #stop(error: NetError): void {
    if (this.error !== undefined) return;
    this.error = error;
    this.#pace.close(); // what waits there is rejected
    this.#timer.cancel();
    clearTimeout(this.#commitTimer);
    for (const { reject } of this.#commands.values()) reject(error);
    this.#commands.clear();
    for (const [request, exchange] of this.#exchanges) {
      if (!exchange.isOpen) continue;
      if (this.#streams.has(request)) exchange.end();
      else exchange.reply(503, new Uint8Array(0), undefined);
    }
    this.#exchanges.clear();
    this.#streams.clear();
    this.#full.clear();
  }

  get #nowMs(): number {
    return this.#options.host.clock.nowMs();
  }

  get #unixMs(): number {
    return this.#options.host.clock.unixMs();
  }
}
