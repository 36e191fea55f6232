/**
 * What the kill test knows: every change that was answered, and for each worker the one change that was asked for and not
 * answered when the server died. That one is there as a whole or not at all; everything else is there.
 */
import type { AuditEntry, Change } from '../../lib/coordinator/model.ts';

/** Fields of a record that a worker decides; null: there is no such record. */
export type Fields = Readonly<Record<string, string | number | boolean>>;
/** Records by name, in one change. */
export type Entries = readonly (readonly [name: string, fields: Fields | null])[];

/** What the process with the workers says, in order. */
export type LoadMessage =
  /** This is about to be asked for; `audit`: the line that it adds to the audit log of the worker's tailnet. */
  | {
      readonly type: 'ask';
      readonly worker: string;
      readonly what: string;
      readonly entries: Entries;
      readonly audit?: string;
    }
  /** It was answered; `entries`: what the answer told beyond what was asked for. */
  | { readonly type: 'ack'; readonly worker: string; readonly entries: Entries }
  /** The connection ended before the answer. */
  | { readonly type: 'unanswered'; readonly worker: string; readonly atMs: number }
  /** An answer that should not be. */
  | { readonly type: 'wrong'; readonly worker: string; readonly text: string }
  /** All workers have noticed that there is no server. */
  | { readonly type: 'down' };

/** What that process is told. */
export type LoadCommand =
  | { readonly type: 'go'; readonly url: string; readonly socketPath: string; readonly applied: readonly string[] }
  | { readonly type: 'stop' };

/** The records that workers decide, under their names. Others (a device's last contact, say) are left out. */
export function entryOf(change: Change): readonly [string, Fields] | undefined {
  const { kind, tailnet, id, value } = change;
  if (value === undefined) throw new Error('a store holds what is there');
  const path = `${tailnet}/${kind}/`;
  switch (kind) {
    case 'tailnet':
      return [`${path}${id}`, { requiresApproval: value.requiresApproval }];
    case 'user':
      return [`${path}${value.loginName}`, { displayName: value.displayName }];
    case 'key': {
      const { uses, isReusable, revokedMs } = value;
      return [`${path}${value.description}`, { id, uses, isReusable, isRevoked: revokedMs > 0 }];
    }
    case 'token':
      return [`${path}${value.description}`, { id }];
    case 'device': {
      const { nodeKey, name, authKey, endpoints, addresses } = value;
      return [
        `${path}${value.machineKey}`,
        { nodeKey, name, authKey, endpoints: endpoints.join(' '), address: addresses[0] },
      ];
    }
    case 'address':
      return undefined;
  }
}

/** The state that was answered; see the top of the file. */
export class AcknowledgedState {
  /** Answers so far. */
  acks = 0;
  /** Changes without an answer, and how many of them were found in the store. */
  unanswered = 0;
  found = 0;
  readonly wrong: string[] = [];
  /** When the workers lost their connections since the last comparison. */
  readonly lostMs: number[] = [];
  readonly #entries = new Map<string, Fields>();
  readonly #asked = new Map<string, Extract<LoadMessage, { type: 'ask' }>>();
  readonly #audit = new Map<string, string[]>();
  readonly #addresses = new Set<string>();

  get size(): number {
    return this.#entries.size;
  }

  handle(message: LoadMessage): void {
    if (message.type === 'wrong') this.wrong.push(`${message.worker}: ${message.text}`);
    else if (message.type === 'unanswered') this.lostMs.push(message.atMs);
    else if (message.type === 'ask') this.#asked.set(message.worker, message);
    else if (message.type === 'ack') {
      this.#apply(message.worker, message.entries);
      this.acks++;
    }
  }

  /** Compares with a store whose server is dead; returns what differs. `applied`: workers whose last change is there. */
  compare(changes: Iterable<Change>, audit: readonly AuditEntry[]): { differences: string[]; applied: string[] } {
    const [stored, addresses] = [new Map<string, Fields>(), new Set<string>()];
    const differences: string[] = [];
    for (const change of changes) {
      if (change.kind === 'address') addresses.add(`${change.tailnet} ${change.id}`);
      if (change.tailnet === 'default') continue; // the motes'
      const entry = entryOf(change);
      if (entry === undefined) continue;
      if (stored.has(entry[0])) differences.push(`${entry[0]} is there twice`);
      stored.set(entry[0], entry[1]);
    }
    const applied = this.#settle(stored, differences);
    for (const [name, fields] of this.#entries)
      if (!isSame(fields, stored.get(name)))
        differences.push(`${name}: ${text(fields)}, stored ${text(stored.get(name))}`);
    for (const [name, fields] of stored) {
      if (!this.#entries.has(name)) differences.push(`${name}: nobody asked for ${text(fields)}`);
      if (name.includes('/device/') && !addresses.has(`${name.split('/')[0]} ${fields['address']}`))
        differences.push(`${name}: its address is free`);
      this.#entries.set(name, fields); // what only the store knows so far is to stay as well
    }
    for (const address of this.#addresses) if (!addresses.has(address)) differences.push(`${address} is free again`);
    for (const address of addresses) this.#addresses.add(address);
    for (const [worker, actions] of this.#audit) {
      const lines = audit.filter(({ tailnet }) => tailnet === worker).map(({ action }) => action);
      if (lines.join() !== actions.join())
        differences.push(`audit of ${worker}: ${actions.slice(-5)}, stored ${lines.slice(-5)}`);
    }
    return { differences, applied };
  }

  /** Decides for each change without an answer whether it is in the store. */
  #settle(stored: ReadonlyMap<string, Fields>, differences: string[]): string[] {
    const applied: string[] = [];
    for (const { worker, what, entries } of [...this.#asked.values()]) {
      this.unanswered++;
      const isThere = entries.every(([name, fields]) => isSame(fields ?? undefined, stored.get(name)));
      const isNot = entries.every(([name]) => isSame(this.#entries.get(name), stored.get(name)));
      if (isThere) {
        this.found++;
        applied.push(worker);
        this.#apply(worker, []);
      } else if (!isNot) differences.push(`${worker}: ${what} is there in part`);
    }
    this.#asked.clear();
    this.lostMs.length = 0;
    return applied;
  }

  #apply(worker: string, more: Entries): void {
    const asked = this.#asked.get(worker)!;
    this.#asked.delete(worker);
    for (const [name, fields] of [...asked.entries, ...more]) {
      if (fields === null) this.#entries.delete(name);
      else this.#entries.set(name, { ...this.#entries.get(name), ...fields });
    }
    const lines = this.#audit.get(worker) ?? [];
    if (asked.audit !== undefined) lines.push(asked.audit);
    this.#audit.set(worker, lines);
  }
}

/** Whether all expected fields have their values; both absent is the same, too. */
function isSame(expected: Fields | undefined, stored: Fields | undefined): boolean {
  if (expected === undefined || stored === undefined) return expected === stored;
  return Object.entries(expected).every(([name, value]) => stored[name] === value);
}

function text(fields: Fields | undefined): string {
  return fields === undefined ? 'nothing' : JSON.stringify(fields);
}
