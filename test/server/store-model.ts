/**
 * Commits that follow from a number alone, and what a store holds after so many of them: what the crash tests compare
 * with. Also the program of the process that is killed: it commits, and says after each group how far it came.
 */
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { AuditEntry, Change, Commit, DeviceRecord } from '../../lib/coordinator/model.ts';
import { Store } from '../../targets/server/store.ts';

/** Ids of devices come round again, so that records change and go. */
const DEVICES = 40;

function hash(value: number): number {
  let mixed = Math.imul(value ^ 0x9e37_79b9, 0x85eb_ca6b);
  mixed ^= mixed >>> 13;
  return Math.imul(mixed, 0xc2b2_ae35) >>> 0;
}

function deviceChange(id: number, at: number): Change {
  const key = String((hash(id * 31 + at) % DEVICES) + 1);
  const isGone = hash(id + 7 * at) % 5 === 0;
  const value = { tailnet: 'default', id: Number(key), name: `d${id}-${at}`, endpoints: ['x'.repeat(hash(id) % 300)] };
  return {
    kind: 'device',
    tailnet: 'default',
    id: key,
    value: isGone ? undefined : (value as unknown as DeviceRecord),
  };
}

/** The commit of this number. */
export function commitOf(id: number): Commit {
  const changes = Array.from({ length: 1 + (hash(id) % 4) }, (_, at) => deviceChange(id, at));
  if (hash(id) % 3 === 0) return { id, changes };
  const audit: AuditEntry = {
    atMs: 1000 + id,
    tailnet: 'default',
    actor: 'admin',
    action: 'device-rename',
    target: `device:${id}`,
    details: { id },
  };
  return { id, changes, audit };
}

/** How many commits are in the group that begins with this one. */
export function groupSize(firstId: number): number {
  return 1 + (hash(firstId * 13) % 6);
}

/** The group that begins with this commit. */
export function groupOf(firstId: number): Commit[] {
  return Array.from({ length: groupSize(firstId) }, (_, at) => commitOf(firstId + at));
}

/** What a store holds after commits 1 to `last`, as text. */
export function expectedState(last: number): string {
  const records = new Map<string, unknown>();
  const audit: string[] = [];
  for (let id = 1; id <= last; id++) {
    const { changes, audit: entry } = commitOf(id);
    for (const change of changes) {
      if (change.value === undefined) records.delete(change.id);
      else records.set(change.id, change.value);
    }
    if (entry !== undefined) audit.push(JSON.stringify(entry));
  }
  const sorted = [...records].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify({ last, records: sorted, audit });
}

/** The same of a store. */
export function actualState(store: Store): string {
  const records = [...store.load()].map(({ id, value }) => [id, value] as const);
  const audit: string[] = [];
  for (let before = Number.MAX_SAFE_INTEGER; ; ) {
    const rows = store.audit({ limit: 1000, before });
    if (rows.length === 0) break;
    before = rows.at(-1)!.seq;
    for (const { seq: _, ...entry } of rows) audit.unshift(JSON.stringify(entry));
  }
  return JSON.stringify({ last: store.lastCommit, records, audit });
}

/** Whether a group ends with this commit (or there is none yet). */
export function isGroupEnd(id: number): boolean {
  let last = 0;
  while (last < id) last += groupSize(last + 1);
  return last === id;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const store = new Store(process.argv[2]!);
  for (;;) {
    const group = groupOf(store.lastCommit + 1);
    store.commit(group);
    writeSync(1, `${group.at(-1)!.id}\n`); // in the pipe: the other process has it, whatever becomes of this one
  }
}
