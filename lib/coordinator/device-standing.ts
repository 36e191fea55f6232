/**
 * What a device's record means at a time: whether its node key is over, whether it takes part, and whether a policy may
 * judge it otherwise than before.
 */
import { routesInForce } from './map-routes.ts';
import type { DeviceRecord } from './model.ts';
import { isSameList, isUsable } from './node-view.ts';

/** Whether a device's node key is over. */
export function isExpired(device: DeviceRecord, unixMs: number): boolean {
  return device.keyExpiryMs > 0 && device.keyExpiryMs <= unixMs;
}

/** Whether a device takes part: approved, with a valid node key, and in order. */
export function isMember(device: DeviceRecord, unixMs: number): boolean {
  return device.isApproved && !isExpired(device, unixMs) && isUsable(device);
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
