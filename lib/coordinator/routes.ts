/**
 * Routes that devices offer: which of them need nobody's approval ("autoApprovers"), and how they are committed.
 */
import { Directory } from '../policy/directory.ts';
import { isAutoApproved } from '../policy/roles.ts';
import type { Core } from './core.ts';
import { policyDeviceOf } from './map-policy.ts';
import { routesInForce } from './map-routes.ts';
import type { DeviceRecord } from './model.ts';
import { isSameList } from './node-view.ts';
import type { TestsFailed } from './policy-guard.ts';
import { changeOf } from './state.ts';

/** A device with the approvals that need nobody, of routes that it did not offer before. */
export function withAutoApproval(core: Core, before: DeviceRecord | undefined, device: DeviceRecord): DeviceRecord {
  const { advertisedRoutes, approvedRoutes } = device;
  const offered = advertisedRoutes.filter(
    route => !approvedRoutes.includes(route) && before?.advertisedRoutes.includes(route) !== true,
  );
  const policy = core.policies.standing(device.tailnet)?.policy;
  if (policy === undefined || offered.length === 0) return device;
  const loginName = core.state.tailnets.get(device.tailnet)?.users.get(device.user)?.loginName ?? '';
  const directory = new Directory(policy.names);
  directory.add(policyDeviceOf(device, loginName));
  const approved = offered.filter(route => isAutoApproved(policy, directory, device.id, route));
  if (approved.length === 0) return device;
  const all = [...approvedRoutes, ...approved];
  // Those that it offers now come first: of approvals for what it does not offer any more only so many are kept.
  const wanted = [
    ...all.filter(route => advertisedRoutes.includes(route)),
    ...all.filter(route => !advertisedRoutes.includes(route)),
  ];
  return { ...device, approvedRoutes: wanted.slice(0, core.limits.routes) };
}

/** Routes that are in force in the second record and not in the first. */
export function newRoutes(before: DeviceRecord | undefined, after: DeviceRecord): readonly string[] {
  const known = before === undefined ? [] : routesInForce(before);
  return routesInForce(after).filter(route => !known.includes(route));
}

/**
 * Commits a device with its routes. Where access tests would fail, routes that would be in force from now on are not
 * approved, which raises an alarm. What `commit` says then comes back with the record that was tried last.
 */
export function commitWithRoutes(
  core: Core,
  before: DeviceRecord | undefined,
  device: DeviceRecord,
  commit: (device: DeviceRecord) => TestsFailed | undefined,
): { readonly device: DeviceRecord; readonly failed: TestsFailed | undefined } {
  const wanted = withAutoApproval(core, before, device);
  const failed = commit(wanted);
  const routes = newRoutes(before, wanted);
  if (failed === undefined || routes.length === 0) return { device: wanted, failed };
  const plain = { ...wanted, approvedRoutes: wanted.approvedRoutes.filter(route => !routes.includes(route)) };
  const stillFailed = commit(plain);
  if (stillFailed === undefined) core.policies.decline(plain, routes, failed, core.unixMs);
  return { device: plain, failed: stillFailed };
}

/** Commits what a device offers by itself now. It happens anyway; what it may not have is not approved. */
export function commitOwnRoutes(core: Core, before: DeviceRecord, advertisedRoutes: readonly string[]): DeviceRecord {
  if (isSameList(before.advertisedRoutes, advertisedRoutes)) return before;
  const offered = { ...before, advertisedRoutes };
  const wanted = withAutoApproval(core, before, offered);
  const isInForceOther = !isSameList(routesInForce(before), routesInForce(wanted));
  if (isInForceOther && !core.mayAct(before.id)) return before; // CHECK: policy-routes-rate
  const actor = `device:${before.id}`;
  const auditOf = (device: DeviceRecord) => {
    const details = { name: device.name, inForce: routesInForce(device).join(',') };
    return isInForceOther ? core.audit(device.tailnet, actor, 'device-routes', actor, details) : undefined;
  };
  const { device, failed } = commitWithRoutes(core, before, offered, next =>
    core.tryCommit(next.tailnet, [changeOf('device', next)], auditOf(next)),
  );
  if (failed !== undefined) core.commit([changeOf('device', device)], auditOf(device));
  return device;
}
