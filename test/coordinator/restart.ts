/** Whether a store that has the commits of a history gives the state back, at each of them. */
import * as assert from 'uvu/assert';
import type { Change } from '../../lib/coordinator/model.ts';
import { CoordinatorState } from '../../lib/coordinator/state.ts';
import type { World } from './support.ts';

/** Everything in a state, indexes included, in an order that does not depend on its history. */
function contentOf(value: unknown): unknown {
  if (value instanceof Map) return sorted([...value].map(([key, item]) => [key, contentOf(item)]));
  if (value instanceof Set) return sorted([...value]);
  if (value instanceof CoordinatorState || (typeof value === 'object' && value !== null && 'takenAddresses' in value))
    return Object.entries(value).map(([key, item]) => [key, contentOf(item)]);
  return value;
}

function sorted(items: unknown[]): string[] {
  return items.map(item => JSON.stringify(item)).sort();
}

/** What a store holds after these changes: the last value of each record. */
export function stored(changes: Iterable<Change>): Change[] {
  const rows = new Map<string, Change>();
  for (const change of changes) {
    const key = JSON.stringify([change.kind, change.tailnet, change.id]);
    if (change.value === undefined) rows.delete(key);
    else rows.set(key, JSON.parse(JSON.stringify(change)) as Change);
  }
  return [...rows.values()];
}

/** Throws unless, at every commit, the store gives back what was in memory, indexes included. */
export function expectRestartable(world: World): void {
  const live = new CoordinatorState();
  const changes: Change[] = [];
  for (const commit of world.commits) {
    for (const change of commit.changes) live.apply(change);
    changes.push(...commit.changes);
    const rebuilt = new CoordinatorState();
    rebuilt.load(stored(changes).reverse());
    assert.equal(contentOf(rebuilt), contentOf(live), `after commit ${commit.id}`);
  }
  assert.equal(sorted([...world.coordinator.records()]), sorted([...live.records()]), 'and that is what it has');
}
