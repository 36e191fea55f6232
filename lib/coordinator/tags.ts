/**
 * Who may give a device a tag. Administrators may give any that the policy declares in "tagOwners", and any at all where
 * nobody has set a policy. Who logs in may ask for tags that the policy lets their owner give; an auth key has its own.
 */
import { mayTag } from '../policy/roles.ts';
import type { Core } from './core.ts';

/** Why an administrator may not give these tags; undefined: nothing is wrong with them. */
export function problemWithTags(core: Core, tailnet: string, tags: readonly string[]): string | undefined {
  const policy = core.policies.standing(tailnet)?.policy;
  const unknown = policy === undefined ? undefined : tags.find(tag => !policy.names.tags.has(tag));
  if (unknown !== undefined) return `the policy does not declare ${unknown}: add it to "tagOwners"`; // CHECK: policy-tag-declared
  return undefined;
}

const TAG = /^tag:[A-Za-z][A-Za-z0-9-]{0,62}$/;

/**
 * Why a login may not have the tags that its device asks for. Undefined `tailnet` or `loginName`: where it will be, or
 * whose, is not known yet.
 */
export function problemWithWish(
  core: Core,
  tailnet: string | undefined,
  tags: readonly string[],
  loginName: string | undefined,
): string | undefined {
  if (tags.length === 0) return undefined;
  if (tags.length > core.limits.tags) return `a device has at most ${core.limits.tags} tags`; // CHECK: policy-wish-tags
  const isForm = tags.every(tag => TAG.test(tag));
  if (!isForm) return 'a tag was asked for that is none: they look like tag:web'; // CHECK: policy-wish-form
  if (tailnet === undefined) return undefined;
  const policy = core.policies.standing(tailnet)?.policy;
  if (policy === undefined) return 'tags need an auth key that has them, or a policy that says who may give them';
  const unknown = tags.find(tag => !policy.names.tags.has(tag));
  if (unknown !== undefined) return 'a tag was asked for that the policy does not declare';
  const forbidden = loginName === undefined ? undefined : tags.find(tag => !mayTag(policy, loginName, tag));
  if (forbidden !== undefined) return `${loginName} may not give ${forbidden}: "tagOwners" of the policy says who may`; // CHECK: policy-wish-owner
  return undefined;
}
