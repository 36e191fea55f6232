/**
 * Commits: changes are applied to memory when a commit is made, so that what comes next sees them, and whatever follows
 * from them (answers, map changes, events) waits here until the target says that the commit is durable. What was only
 * read waits as well while commits are open, since it may show what is not durable yet.
 *
 * A commit that fails may have reached the disk or not; only the store knows. So the ledger stops: nothing more is
 * committed, and nothing that waited ever leaves. A new coordinator over the store goes on.
 */
import type { AuditEntry, Change, Commit, RecordKind, Records } from './model.ts';
import type { CoordinatorState } from './state.ts';

/** A change and the record that it replaced. */
export interface AppliedChange {
  readonly change: Change;
  readonly previous: Records[RecordKind] | undefined;
}

/** What may leave now, in order: first the changes of a commit, then what waited for it. */
export interface Released {
  readonly applied: readonly AppliedChange[];
  readonly effects: readonly (() => void)[];
}

interface Entry {
  readonly commit: Commit;
  readonly applied: readonly AppliedChange[];
  readonly effects: (() => void)[];
}

/** See the top of the file. */
export class Ledger {
  readonly #state: CoordinatorState;
  /** Made and not durable, in order. */
  #open: Entry[] = [];
  /** How many of them the target has taken. */
  #polled = 0;
  #lastId: number;
  #isStopped = false;

  /** `lastId`: id of the last commit in the store. */
  constructor(state: CoordinatorState, lastId: number) {
    this.#state = state;
    this.#lastId = lastId;
  }

  /** Whether a commit failed: the state is no longer known to be that of the store. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Commits that are not durable yet. */
  get openCommits(): number {
    return this.#open.length;
  }

  /**
   * Applies changes and makes a commit of them; returns them with what they replaced. Without changes and without an
   * entry for the audit log it does nothing.
   */
  commit(changes: readonly Change[], audit?: AuditEntry): readonly AppliedChange[] {
    if (this.#isStopped) throw new Error('the coordinator has stopped: a commit failed');
    if (changes.length === 0 && audit === undefined) return [];
    const applied = changes.map(change => ({ change, previous: this.#state.apply(change) }));
    const commit = { id: ++this.#lastId, changes, ...(audit !== undefined && { audit }) };
    this.#open.push({ commit, applied, effects: [] });
    return applied;
  }

  /** Something that leaves: false when it may leave now, true when it was kept until all commits made so far are durable. */
  defer(effect: () => void): boolean {
    const last = this.#open.at(-1);
    if (last === undefined) return false;
    last.effects.push(effect);
    return true;
  }

  /** The next commit for the target; undefined when it has all. */
  poll(): Commit | undefined {
    if (this.#isStopped || this.#polled === this.#open.length) return undefined;
    return this.#open[this.#polled++]!.commit;
  }

  /** All commits up to this one are durable: what may leave. RangeError for one that the target was not given. */
  confirm(id: number): readonly Released[] {
    const count = this.#countUpTo(id);
    this.#polled -= count;
    return this.#open.splice(0, count);
  }

  /** This commit, which the target was given, did not become durable for sure; what waits is dropped. */
  stop(id: number): void {
    this.#countUpTo(id);
    this.#isStopped = true;
    this.#open = [];
    this.#polled = 0;
  }

  #countUpTo(id: number): number {
    const first = this.#open[0]?.commit.id ?? this.#lastId + 1;
    const count = id - first + 1;
    const isGiven = Number.isInteger(id) && count >= 1 && count <= this.#polled;
    if (!isGiven) throw new RangeError(`"id" expected a commit that was polled and is open, got ${id}`); // CHECK: coordinator-commit-id
    return count;
  }
}
