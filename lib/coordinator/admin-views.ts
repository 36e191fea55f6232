/** Records as administrators see them: plain data, without hashes. */
import { stateOfKey } from './auth-keys.ts';
import type { DeviceView, KeyView, TailnetView, TokenView, UserView } from './commands.ts';
import type { Core } from './core.ts';
import { isExpired } from './device-standing.ts';
import { type AuthKeyRecord, type DeviceRecord, suffixOfTailnet, type TokenRecord, type UserRecord } from './model.ts';
import type { PendingLogin } from './pending-logins.ts';
import type { TailnetState } from './state.ts';

/** A tailnet as listed. */
export function tailnetView(core: Core, tailnet: TailnetState): TailnetView {
  const { id, createdMs, requiresApproval, keyLifeMs } = tailnet.record;
  const [devices, users] = [tailnet.devices.size, tailnet.users.size];
  const policyVersion = tailnet.policies.get('current')?.version ?? 0;
  const alarm = core.policies.alarmOf(id)?.message;
  return {
    ...{ id, suffix: suffixOfTailnet(id), createdMs, requiresApproval, keyLifeMs, devices, users, policyVersion },
    ...(alarm !== undefined && { policyAlarm: alarm }),
  };
}

/** A user as listed. */
export function userView(tailnet: TailnetState, user: UserRecord): UserView {
  const { id, loginName, displayName, createdMs } = user;
  return { id, loginName, displayName, createdMs, devices: tailnet.deviceCounts.get(id) ?? 0 };
}

/** An auth key as listed; `text` once, when it is made. */
export function keyView(core: Core, tailnet: TailnetState, key: AuthKeyRecord, text?: string): KeyView {
  const { tailnet: _, hash: _hash, revokedMs: _revoked, user, ...rest } = key;
  const state = stateOfKey(key, core.unixMs);
  return { ...rest, user: loginOf(tailnet, user), state, ...(text !== undefined && { key: text }) };
}

/** A token as listed; `text` once, when it is made. */
export function tokenView(record: TokenRecord, text?: string): TokenView {
  const { hash: _, ...rest } = record;
  return { ...rest, ...(text !== undefined && { token: text }) };
}

/** A device as listed. */
export function deviceView(core: Core, tailnet: TailnetState, device: DeviceRecord): DeviceView {
  const { id, name, addresses, tags, hostname, os, version, nodeKey, machineKey } = device;
  const { createdMs, keyExpiryMs, lastSeenMs, isEphemeral } = device;
  const isOver = isExpired(device, core.unixMs);
  return {
    id,
    name,
    fullName: `${name}.${suffixOfTailnet(device.tailnet)}`,
    addresses,
    user: loginOf(tailnet, device.user),
    tags,
    hostname,
    os,
    version,
    nodeKey,
    machineKey,
    createdMs,
    keyExpiryMs,
    lastSeenMs,
    isOnline: core.sessions.isOnline(id),
    isEphemeral,
    routes: routesOf(device),
    state: isOver ? 'expired' : device.isApproved ? 'approved' : 'waiting',
  };
}

/** A login that waits, as a device that is none yet. */
export function loginView(login: PendingLogin): DeviceView {
  const { machineKey, nodeKey, host, isEphemeral } = login.join;
  return {
    id: 0,
    name: '',
    fullName: '',
    addresses: ['', ''],
    user: '',
    tags: host.requestTags,
    hostname: host.hostname ?? '',
    os: host.os ?? '',
    version: host.version ?? '',
    nodeKey,
    machineKey,
    createdMs: login.createdUnixMs,
    keyExpiryMs: 0,
    lastSeenMs: 0,
    isOnline: false,
    isEphemeral,
    routes: [],
    state: 'login',
    pendingId: login.id,
  };
}

function routesOf({ advertisedRoutes, approvedRoutes }: DeviceRecord): DeviceView['routes'] {
  const all = [...new Set([...advertisedRoutes, ...approvedRoutes])];
  return all.map(route => ({
    route,
    isApproved: approvedRoutes.includes(route),
    isAdvertised: advertisedRoutes.includes(route),
  }));
}

function loginOf(tailnet: TailnetState, user: number): string {
  return tailnet.users.get(user)?.loginName ?? '';
}
