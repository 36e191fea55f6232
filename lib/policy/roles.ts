/**
 * What a policy says beside packets: attributes of devices, who may give a tag, whose routes need no approval.
 */
import { parsePrefix } from '../base/address.ts';
import type { Alias } from './alias.ts';
import type { Directory, Member } from './directory.ts';
import { rangeOfPrefix } from './ip-set.ts';
import type { Policy } from './policy.ts';

/** Attributes of a device ("nodeAttrs"), each once, in the order of the file. */
export function attributesOf(policy: Policy, directory: Directory, id: number): readonly string[] {
  const member = directory.members.get(id);
  const out = new Set<string>();
  if (member === undefined) return [];
  for (const { targets, attributes } of policy.nodeAttributes)
    if (targets.some(alias => isMeant(alias, member))) for (const each of attributes) out.add(each);
  return [...out];
}

/**
 * Whether a user may give a device a tag ("tagOwners"), directly, by a group, or as owner of a tag that owns it. Tags may
 * own each other in a ring, and themselves. Nobody may give a tag that is not declared.
 */
export function mayTag(policy: Policy, login: string, tag: string): boolean {
  const seen = new Set([tag]);
  for (const each of seen) {
    for (const owner of policy.tagOwners.get(each) ?? []) {
      if (owner.kind === 'tag') seen.add(owner.name);
      else if (ownsAs(policy, owner, login)) return true;
    }
  }
  return false;
}

/** Whether a route of a device needs no approval; `0.0.0.0/0` and `::/0` go by "exitNode". False for what is no prefix. */
export function isAutoApproved(policy: Policy, directory: Directory, id: number, route: string): boolean {
  const member = directory.members.get(id);
  const prefix = parsePrefix(route);
  if (member === undefined || prefix === undefined) return false;
  const { routes, exitNode } = policy.autoApprovers;
  if (prefix.bits === 0) return exitNode.some(alias => approves(policy, alias, member)); // CHECK: policy-exit-approver
  const [first, last] = rangeOfPrefix(prefix);
  return routes.some(({ range, approvers }) => {
    const isInside = range[0] <= first && last <= range[1] && range[0].length === first.length;
    return isInside && approvers.some(alias => approves(policy, alias, member));
  });
}

/** An owner of a tag that a device has approves as the device does; so does a tag itself. */
function approves(policy: Policy, alias: Alias, member: Member): boolean {
  if (alias.kind === 'tag' || member.owner === undefined) return isMeant(alias, member);
  return ownsAs(policy, alias, member.owner);
}

function ownsAs(policy: Policy, alias: Alias, login: string): boolean {
  if (alias.kind === 'user') return alias.name === login;
  if (alias.kind === 'group') return policy.names.groups.get(alias.name)?.includes(login) ?? false;
  return alias.kind === 'member';
}

function isMeant(alias: Alias, member: Member): boolean {
  if (alias.kind === 'all') return true;
  if (alias.addresses !== undefined) return member.keys.some(key => alias.addresses!.has(key));
  return member.aliases.has(alias.key);
}
