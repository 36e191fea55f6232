/**
 * What a device's record means at a time: whether its node key is over, whether it takes part, which of its routes are in
 * force, and what a policy gets to see of it.
 */
import type { PolicyDevice } from '../policy/directory.ts';
import type { DeviceRecord } from './model.ts';
import { isUsable } from './node-view.ts';

/** Whether a device's node key is over. */
export function isExpired(device: DeviceRecord, unixMs: number): boolean {
  return device.keyExpiryMs > 0 && device.keyExpiryMs <= unixMs;
}

/** Whether a device takes part: approved, with a valid node key, and in order. */
export function isMember(device: DeviceRecord, unixMs: number): boolean {
  return device.isApproved && !isExpired(device, unixMs) && isUsable(device);
}

/** Routes that a device offers and may serve. */
export function routesInForce(device: DeviceRecord): readonly string[] {
  return device.advertisedRoutes.filter(route => device.approvedRoutes.includes(route));
}

/** A device as a policy sees it; `loginName` is that of its owner. */
export function policyDeviceOf(device: DeviceRecord, loginName: string): PolicyDevice {
  const { id, addresses, tags } = device;
  return { id, addresses, user: loginName, tags, routes: routesInForce(device) };
}

/** Whether a policy may judge a device otherwise than before: it comes, goes, or is seen as another one. */
export function standsElsewhere(
  before: DeviceRecord | undefined,
  after: DeviceRecord | undefined,
  unixMs: number,
): boolean {
  const wasMember = before !== undefined && isMember(before, unixMs);
  const willBeMember = after !== undefined && isMember(after, unixMs);
  if (!wasMember || !willBeMember) return wasMember !== willBeMember;
  if (before.user !== after.user || !isSameList(before.tags, after.tags)) return true;
  return !isSameList(routesInForce(before), routesInForce(after));
}

/** Whether two lists have the same texts in the same order. */
export function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((text, i) => text === b[i]));
}
