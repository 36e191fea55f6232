/**
 * What a device says of itself becomes its record: at register and in map requests. A record that stays the same is the
 * same object, so that nothing is committed.
 */
import type { Core } from './core.ts';
import type { HostFacts } from './hostinfo.ts';
import type { DeviceRecord } from './model.ts';
import { freeName, labelOf } from './names.ts';
import { commitOwnRoutes } from './routes.ts';
import { changeOf, type TailnetState } from './state.ts';

/** What of a device record a device may change by itself. */
export type OwnWords = Partial<
  Pick<DeviceRecord, 'capability' | 'discoKey' | 'endpoints' | 'keySignature' | 'lastSeenMs'>
>;

/**
 * A device's record with what it says of itself now. A new name of its own gives it a new DNS name, unless that is
 * fixed; `mayRename` is asked then: where it says no, the device keeps what it called itself before.
 */
export function withOwnWords(
  tailnet: TailnetState,
  device: DeviceRecord,
  host: HostFacts,
  words: OwnWords,
  mayRename: () => boolean = () => true,
): DeviceRecord {
  const { requestTags: _, ...facts } = host;
  const next = { ...device, ...facts, ...words };
  const isRenamed = !device.isNameFixed && labelOf(next.hostname) !== labelOf(device.hostname);
  if (isRenamed && !mayRename()) return withOwnWords(tailnet, device, { ...host, hostname: device.hostname }, words); // CHECK: coordinator-rename-rate
  const name = isRenamed ? freeName(tailnet.names, labelOf(next.hostname), device.id) : device.name;
  const changed = { ...next, name };
  return isSameRecord(device, changed) ? device : changed;
}

/**
 * Commits what a device says of itself, and returns the record that it has then; a new name is somebody's decision and
 * goes into the audit log. Routes have rules of their own, and come last.
 */
export function commitOwnWords(core: Core, before: DeviceRecord, after: DeviceRecord): DeviceRecord {
  if (after === before) return before;
  const actor = `device:${after.id}`;
  const isRenamed = after.name !== before.name;
  const details = { name: after.name, before: before.name };
  const audit = isRenamed ? core.audit(after.tailnet, actor, 'device-rename', actor, details) : undefined;
  const words = { ...after, advertisedRoutes: before.advertisedRoutes };
  const isOther = !isSameRecord(before, words);
  if (isOther) core.commit([changeOf('device', words)], audit);
  return commitOwnRoutes(core, isOther ? words : before, after.advertisedRoutes);
}

/** Whether two records of a device hold the same values. */
export function isSameRecord(a: DeviceRecord, b: DeviceRecord): boolean {
  if (a === b) return true;
  for (const name of Object.keys(b) as (keyof DeviceRecord)[]) {
    const [one, other] = [a[name], b[name]];
    if (one === other) continue;
    if (typeof one !== 'object' || JSON.stringify(one) !== JSON.stringify(other)) return false;
  }
  return true;
}
