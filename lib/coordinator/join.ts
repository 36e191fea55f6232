/**
 * How a device comes to be, changes its node key, and goes: the records that change together, in one commit each.
 */
import { drawAddresses } from './addresses.ts';
import type { AuditDetails, Core } from './core.ts';
import { withOwnWords } from './device-updates.ts';
import type { AuditEntry, AuthKeyRecord, DeviceRecord, TailnetRecord } from './model.ts';
import { freeName, labelOf } from './names.ts';
import type { JoinRequest } from './pending-logins.ts';
import type { TestsFailed } from './policy-guard.ts';
import { commitOwnRoutes, commitWithRoutes } from './routes.ts';
import { changeOf, removalOf, type TailnetState } from './state.ts';
import { problemWithWish } from './tags.ts';

/** By what right a device joins. */
export interface Admission {
  readonly user: number;
  readonly tags: readonly string[];
  readonly isEphemeral: boolean;
  readonly isApproved: boolean;
  /** Id of an auth key, or empty. */
  readonly authKey: string;
}

/**
 * Admits a device with a valid auth key, and counts the use in the same commit. `known` is the device that it was, by
 * its node keys. Returns the device, or the reason why not, for the device's user, or the access tests that stand
 * against it.
 */
export function admitWithKey(
  core: Core,
  join: JoinRequest,
  key: AuthKeyRecord,
  known: DeviceRecord | undefined,
): DeviceRecord | string | TestsFailed {
  const tailnet = core.state.tailnets.get(key.tailnet)!;
  const forbidden = join.host.requestTags.find(tag => !key.tags.includes(tag));
  if (forbidden !== undefined) return 'a tag was asked for that the auth key does not have'; // CHECK: coordinator-request-tags
  const admission = {
    user: key.user,
    tags: key.tags,
    isEphemeral: key.isEphemeral || join.isEphemeral,
    isApproved: key.isPreapproved || !tailnet.record.requiresApproval,
    authKey: key.id,
  };
  const device = deviceFor(core, tailnet, join, admission, known);
  if (typeof device === 'string') return device;
  const isKnown = tailnet.devices.has(device.id);
  if (isKnown && !core.mayAct(device.id)) return 'this device joins too often: wait for an hour'; // CHECK: coordinator-rejoin-rate
  const used = { ...key, uses: key.uses + 1, lastUsedMs: core.unixMs };
  const details = { name: device.name, machineKey: device.machineKey, nodeKey: device.nodeKey, key: key.id };
  return commitDevice(core, tailnet, device, [changeOf('key', used)], `key:${key.id}`, 'device-join', details);
}

/** Admits a device because an administrator says so; see {@link admitWithKey} for what comes back. */
export function admitByLogin(
  core: Core,
  tailnet: TailnetState,
  join: JoinRequest,
  user: number,
  actor: string,
): DeviceRecord | string | TestsFailed {
  const { isEphemeral } = join;
  const tags = [...new Set(join.host.requestTags)];
  const problem = problemWithWish(core, tailnet.record.id, tags, tailnet.users.get(user)?.loginName);
  if (problem !== undefined) return problem;
  const admission = { user, tags, isEphemeral, isApproved: true, authKey: '' };
  const taken = core.state.deviceOfNodeKey(join.nodeKey);
  if (taken !== undefined) return 'this node key has become that of a device'; // CHECK: coordinator-login-node-key
  const old = join.oldNodeKey === '' ? undefined : core.state.deviceOfNodeKey(join.oldNodeKey);
  const known = old?.machineKey === join.machineKey ? old : undefined;
  const device = deviceFor(core, tailnet, join, admission, known);
  if (typeof device === 'string') return device;
  const details = { name: device.name, machineKey: device.machineKey, nodeKey: device.nodeKey };
  return commitDevice(core, tailnet, device, [], actor, 'device-approve', details);
}

/** Gives a device a new node key, on the word of the same machine while the old one is valid. */
export function rotate(core: Core, old: DeviceRecord, join: JoinRequest): DeviceRecord {
  const tailnet = core.state.tailnets.get(old.tailnet)!;
  const { advertisedRoutes } = old;
  const renewal = renewed(core, tailnet, old, join, old);
  const device = { ...renewal, advertisedRoutes };
  const actor = `device:${device.id}`;
  const details = { name: device.name, nodeKey: device.nodeKey };
  core.commit([changeOf('device', device)], core.audit(device.tailnet, actor, 'device-rotate', actor, details));
  return commitOwnRoutes(core, device, renewal.advertisedRoutes);
}

/** Takes a device away that goes by itself; its addresses stay taken. */
export function removeDevice(core: Core, device: DeviceRecord, actor: string, action = 'device-remove'): void {
  core.commit([removalOf('device', device)], removalAudit(core, device, actor, action));
  noteRemoval(core, device, actor);
}

/** Takes a device away because an administrator says so, unless access tests stand against it: those come back. */
export function tryRemoveDevice(core: Core, device: DeviceRecord, actor: string): TestsFailed | undefined {
  const audit = removalAudit(core, device, actor, 'device-remove');
  const failed = core.tryCommit(device.tailnet, [removalOf('device', device)], audit);
  if (failed === undefined) noteRemoval(core, device, actor);
  return failed;
}

function removalAudit(core: Core, device: DeviceRecord, actor: string, action: string): AuditEntry {
  const details = { name: device.name, machineKey: device.machineKey, isEphemeral: device.isEphemeral };
  return core.audit(device.tailnet, actor, action, `device:${device.id}`, details);
}

function noteRemoval(core: Core, device: DeviceRecord, actor: string): void {
  core.note(`device ${device.id} (${device.name}) removed: tailnet ${device.tailnet}, by ${actor}`);
}

function commitDevice(
  core: Core,
  tailnet: TailnetState,
  wanted: DeviceRecord,
  others: readonly ReturnType<typeof changeOf>[],
  actor: string,
  action: string,
  details: AuditDetails,
): DeviceRecord | TestsFailed {
  const before = tailnet.devices.get(wanted.id);
  const isNew = before === undefined;
  const address = { tailnet: wanted.tailnet, id: wanted.addresses[0] };
  const firsts = [...others, ...(isNew ? [changeOf('address', address)] : [])];
  const audit = core.audit(wanted.tailnet, actor, action, `device:${wanted.id}`, { ...details, isNew });
  const { device, failed } = commitWithRoutes(core, before, wanted, next =>
    core.tryCommit(next.tailnet, [...firsts, changeOf('device', next)], audit),
  );
  if (failed !== undefined) return failed;
  const how = isNew ? 'joined' : 'joined again';
  core.note(`device ${device.id} (${device.name}) ${how}: tailnet ${device.tailnet}, by ${actor}`);
  return device;
}

/** The record of a device that is admitted: the one that the machine has for this owner, renewed, or a new one. */
function deviceFor(
  core: Core,
  tailnet: TailnetState,
  join: JoinRequest,
  admission: Admission,
  known: DeviceRecord | undefined,
): DeviceRecord | string {
  const isSameOwner = known?.tailnet === tailnet.record.id && known.user === admission.user;
  const same = isSameOwner ? known : deviceOfOwner(tailnet, join.machineKey, admission.user);
  if (same !== undefined) {
    const isApproved = same.isApproved || admission.isApproved;
    return renewed(core, tailnet, same, join, { ...admission, isApproved });
  }
  const isFull = tailnet.devices.size >= core.limits.devicesPerTailnet;
  if (isFull) return 'this network has as many devices as it may'; // CHECK: coordinator-devices
  const hasNoAddress = tailnet.takenAddresses.size >= core.limits.addressesPerTailnet;
  const addresses = hasNoAddress ? undefined : drawAddresses(tailnet.takenAddresses, core.random);
  if (addresses === undefined) return 'this network has no addresses left';
  const { host } = join;
  const hostname = host.hostname ?? '';
  return {
    tailnet: tailnet.record.id,
    id: core.drawId(),
    machineKey: join.machineKey,
    nodeKey: join.nodeKey,
    discoKey: '',
    ...admission,
    name: freeName(tailnet.names, labelOf(hostname)),
    isNameFixed: false,
    hostname,
    addresses,
    createdMs: core.unixMs,
    keyExpiryMs: expiryOf(core, tailnet.record, admission, join),
    capability: join.capability,
    os: host.os ?? '',
    version: host.version ?? '',
    services: host.services ?? [],
    endpoints: [],
    homeRegion: host.homeRegion ?? 0,
    lastSeenMs: 0,
    keySignature: join.keySignature,
    advertisedRoutes: host.advertisedRoutes ?? [],
    approvedRoutes: [],
  };
}

function deviceOfOwner(tailnet: TailnetState, machineKey: string, user: number): DeviceRecord | undefined {
  const ids = tailnet.machines.get(machineKey) ?? [];
  return ids.map(id => tailnet.devices.get(id)!).find(device => device.user === user);
}

/** A device with a new life of a (new) node key: id, addresses and name stay. A signature is that of one node key. */
function renewed(
  core: Core,
  tailnet: TailnetState,
  device: DeviceRecord,
  join: JoinRequest,
  admission: Admission,
): DeviceRecord {
  const { user, tags, isEphemeral, isApproved, authKey } = admission;
  const isSameKey = device.nodeKey === join.nodeKey;
  const words = withOwnWords(tailnet, device, join.host, {
    capability: join.capability || device.capability,
    keySignature: join.keySignature || (isSameKey ? device.keySignature : ''),
  });
  const keyExpiryMs = expiryOf(core, tailnet.record, admission, join);
  return { ...words, nodeKey: join.nodeKey, user, tags, isEphemeral, isApproved, authKey, keyExpiryMs };
}

/** Tagged devices belong to nobody who could log in again: theirs do not end by themselves. A device may ask for less. */
function expiryOf(core: Core, tailnet: TailnetRecord, admission: Admission, join: JoinRequest): number {
  const isForEver = admission.tags.length > 0 || tailnet.keyLifeMs === 0;
  const latest = isForEver ? Number.POSITIVE_INFINITY : core.unixMs + tailnet.keyLifeMs;
  const expiryMs = join.expiryMs > 0 ? Math.min(latest, join.expiryMs) : latest;
  return expiryMs === Number.POSITIVE_INFINITY ? 0 : expiryMs;
}
