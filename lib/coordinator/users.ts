/** New tailnets and users, and whose device it is when nobody is named. */
import type { Core } from './core.ts';
import type { UserRecord } from './model.ts';
import { changeOf, type TailnetState } from './state.ts';

/** The user that a tailnet starts with. */
export const FIRST_USER = 'owner';
/** Life of a node key in a tailnet for which nobody has said anything: 180 days. */
export const NODE_KEY_LIFE_MS = 180 * 24 * 3_600_000;

/** Commits a tailnet with its first user. */
export function newTailnet(core: Core, actor: string, id: string, requiresApproval: boolean, keyLifeMs: number): void {
  const record = { id, createdMs: core.unixMs, requiresApproval, keyLifeMs };
  const user = newUser(core, id, FIRST_USER, FIRST_USER);
  const audit = core.audit(id, actor, 'tailnet-create', `tailnet:${id}`, { requiresApproval, keyLifeMs });
  core.commit([changeOf('tailnet', record), changeOf('user', user)], audit);
}

/** The record of a new user. */
export function newUser(core: Core, tailnet: string, loginName: string, displayName: string): UserRecord {
  return { tailnet, id: core.drawId(), loginName, displayName, createdMs: core.unixMs };
}

/** The user of that name; without a name the first that there was. */
export function userOf(tailnet: TailnetState, loginName: string | undefined): UserRecord | undefined {
  if (loginName !== undefined) return tailnet.users.get(tailnet.logins.get(loginName) ?? 0);
  let first: UserRecord | undefined;
  for (const user of tailnet.users.values()) {
    const isEarlier = first === undefined || user.createdMs < first.createdMs;
    if (isEarlier || (user.createdMs === first!.createdMs && user.id < first!.id)) first = user;
  }
  return first;
}
