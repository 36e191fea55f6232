/** Administrators' commands about users. */
import { refusal, refusalOfTests } from './admin-input.ts';
import { userView } from './admin-views.ts';
import type { AdminCommand, AdminOutcome } from './commands.ts';
import type { Core } from './core.ts';
import { changeOf, removalOf, type TailnetState } from './state.ts';
import { newUser } from './users.ts';

type CommandOf<T extends AdminCommand['type']> = Extract<AdminCommand, { type: T }>;

/** The users of a tailnet. */
export function listUsers(_core: Core, _actor: string, tailnet: TailnetState): AdminOutcome {
  return { isOk: true, value: [...tailnet.users.values()].map(user => userView(tailnet, user)) };
}

/** Makes a user. */
export function createUser(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'user-create'>,
): AdminOutcome {
  const { loginName, displayName = loginName } = command;
  if (tailnet.logins.has(loginName)) return refusal('conflict', `there is a user ${loginName} already`);
  const isFull = tailnet.users.size >= core.limits.usersPerTailnet;
  if (isFull) return refusal('conflict', 'there are as many users as may be'); // CHECK: coordinator-users
  const user = newUser(core, tailnet.record.id, loginName, displayName);
  const audit = core.audit(tailnet.record.id, actor, 'user-create', `user:${user.id}`, { loginName });
  core.commit([changeOf('user', user)], audit);
  return { isOk: true, value: userView(tailnet, user) };
}

/** Gives a user another login name. What the policy says of the old name is about the user no more. */
export function renameUser(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'user-rename'>,
): AdminOutcome {
  const { loginName, newLoginName } = command;
  const user = tailnet.users.get(tailnet.logins.get(loginName) ?? 0);
  if (user === undefined) return refusal('not-found', `there is no user ${loginName}`);
  if (newLoginName === loginName) return { isOk: true, value: userView(tailnet, user) };
  if (tailnet.logins.has(newLoginName)) return refusal('conflict', `there is a user ${newLoginName} already`);
  const displayName = user.displayName === loginName ? newLoginName : user.displayName;
  const renamed = { ...user, loginName: newLoginName, displayName };
  const details = { loginName: newLoginName, before: loginName };
  const audit = core.audit(tailnet.record.id, actor, 'user-rename', `user:${user.id}`, details);
  const failed = core.tryCommit(tailnet.record.id, [changeOf('user', renamed)], audit);
  return failed === undefined ? { isOk: true, value: userView(tailnet, renamed) } : refusalOfTests(failed);
}

/** Removes a user who owns no devices, with the auth keys. */
export function removeUser(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'user-remove'>,
): AdminOutcome {
  const { loginName } = command;
  const user = tailnet.users.get(tailnet.logins.get(loginName) ?? 0);
  if (user === undefined) return refusal('not-found', `there is no user ${loginName}`);
  const devices = tailnet.deviceCounts.get(user.id) ?? 0;
  const owned = devices === 1 ? '1 device: remove it' : `${devices} devices: remove them`;
  if (devices > 0) return refusal('conflict', `${loginName} owns ${owned} first`);
  const keys = [...tailnet.keys.values()].filter(key => key.user === user.id);
  const audit = core.audit(tailnet.record.id, actor, 'user-remove', `user:${user.id}`, {
    loginName,
    keys: keys.length,
  });
  core.commit([...keys.map(key => removalOf('key', key)), removalOf('user', user)], audit);
  return { isOk: true, value: {} };
}
