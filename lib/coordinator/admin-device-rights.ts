/** Administrators' commands about what a device is to the policy: its tags, and the routes that it may serve. */
import { changeDevice } from './admin-devices.ts';
import { refusal, refusalOfTests } from './admin-input.ts';
import type { AdminCommand, AdminOutcome } from './commands.ts';
import type { Core } from './core.ts';
import { isExpired } from './device-standing.ts';
import type { DeviceRecord } from './model.ts';
import { isSameList } from './node-view.ts';
import { canonicalRoute, hasHostBits } from './route-form.ts';
import { changeOf, type TailnetState } from './state.ts';
import { problemWithTags } from './tags.ts';

type CommandOf<T extends AdminCommand['type']> = Extract<AdminCommand, { type: T }>;

/**
 * Gives a device these tags and no others. With tags it belongs to nobody, and its node key does not end; without them
 * it is its owner's again, and the node key has the usual life from now on. A node key that is over stays over.
 */
export function tagDevice(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'device-tags'>,
): AdminOutcome {
  const tags = [...command.tags];
  const problem = problemWithTags(core, tailnet.record.id, tags);
  if (problem !== undefined) return refusal('invalid', problem);
  return changeDevice(core, tailnet, command.device, device => {
    if (isSameList(device.tags, tags)) return device;
    const { keyLifeMs } = tailnet.record;
    const isTurned = device.tags.length > 0 !== tags.length > 0 && !isExpired(device, core.unixMs);
    const usualMs = tags.length > 0 || keyLifeMs === 0 ? 0 : core.unixMs + keyLifeMs;
    const keyExpiryMs = isTurned ? usualMs : device.keyExpiryMs;
    const details = { name: device.name, tags: tags.join(','), before: device.tags.join(',') };
    return tryDevice(core, actor, 'device-tags', { ...device, tags, keyExpiryMs }, details);
  });
}

/** Approves these routes of a device and no others; those that it offers as well are in force. */
export function routeDevice(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'device-routes'>,
): AdminOutcome {
  const approvedRoutes: string[] = [];
  for (const text of command.routes) {
    const route = canonicalRoute(text);
    if (route === undefined)
      return refusal('invalid', `${text} cannot be a route: it is no prefix, or of this network`);
    if (hasHostBits(text)) return refusal('invalid', `${text} has bits behind its length: did you mean ${route}?`); // CHECK: policy-route-bits
    if (!approvedRoutes.includes(route)) approvedRoutes.push(route);
  }
  return changeDevice(core, tailnet, command.device, device => {
    if (isSameList(device.approvedRoutes, approvedRoutes)) return device;
    const before = device.approvedRoutes.join(',');
    const details = { name: device.name, routes: approvedRoutes.join(','), before };
    return tryDevice(core, actor, 'device-routes', { ...device, approvedRoutes }, details);
  });
}

function tryDevice(
  core: Core,
  actor: string,
  action: string,
  device: DeviceRecord,
  details: Readonly<Record<string, string>>,
): DeviceRecord | AdminOutcome {
  const audit = core.audit(device.tailnet, actor, action, `device:${device.id}`, details);
  const failed = core.tryCommit(device.tailnet, [changeOf('device', device)], audit);
  return failed === undefined ? device : refusalOfTests(failed);
}
