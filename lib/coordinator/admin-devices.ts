/** Administrators' commands about devices, and about logins that wait to become one. */
import { parseAddress, formatAddress } from '../base/address.ts';
import { refusal, refusalOfTests } from './admin-input.ts';
import { deviceView, loginView } from './admin-views.ts';
import type { AdminCommand, AdminOutcome, DeviceView } from './commands.ts';
import type { Core } from './core.ts';
import { isExpired } from './device-standing.ts';
import { admitByLogin, tryRemoveDevice } from './join.ts';
import { type DeviceRecord, suffixOfTailnet } from './model.ts';
import { isReservedName } from './names.ts';
import type { PendingLogin } from './pending-logins.ts';
import { refuseWaiters, welcomeWaiters } from './register.ts';
import { changeOf, type TailnetState } from './state.ts';
import { userOf } from './users.ts';

type CommandOf<T extends AdminCommand['type']> = Extract<AdminCommand, { type: T }>;

/** Devices, and the logins that wait for this tailnet; those that are for none yet are for who may see the server. */
export function listDevices(core: Core, tailnet: TailnetState, seesServer: boolean): readonly DeviceView[] {
  const devices = [...tailnet.devices.values()].map(device => deviceView(core, tailnet, device));
  const logins = [...core.pending.values()].filter(
    login => login.tailnet === tailnet.record.id || (login.tailnet === undefined && seesServer),
  );
  return [...devices, ...logins.map(loginView)];
}

/** Approves a device that waits; or makes a device of a login that waits. */
export function approveDevice(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'device-approve'>,
): AdminOutcome {
  const login = findLogin(core, tailnet, command.device);
  if (login !== undefined) return approveLogin(core, actor, tailnet, login, command.user);
  if (command.user !== undefined) return refusal('invalid', '"user" is for logins that wait: a device has an owner');
  return changeDevice(core, tailnet, command.device, device => {
    if (device.isApproved) return device;
    const audit = core.audit(device.tailnet, actor, 'device-approve', `device:${device.id}`, {
      name: device.name,
      machineKey: device.machineKey,
      nodeKey: device.nodeKey,
    });
    const approved = { ...device, isApproved: true };
    const failed = core.tryCommit(device.tailnet, [changeOf('device', approved)], audit);
    return failed === undefined ? approved : refusalOfTests(failed);
  });
}

function approveLogin(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  login: PendingLogin,
  loginName: string | undefined,
): AdminOutcome {
  const user = userOf(tailnet, loginName);
  if (user === undefined) return refusal('not-found', `there is no user ${loginName ?? 'in this tailnet'}`);
  const device = admitByLogin(core, tailnet, login.join, user.id, actor);
  if (typeof device === 'string') return refusal('conflict', device);
  if (!('id' in device)) return refusalOfTests(device);
  core.pending.remove(login);
  welcomeWaiters(core, login, device);
  return { isOk: true, value: deviceView(core, tailnet, device) };
}

/** Gives a device a name that stays. */
export function renameDevice(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'device-rename'>,
): AdminOutcome {
  const { name } = command;
  if (isReservedName(name)) return refusal('invalid', `${name} is a name that programs look up on their own`); // CHECK: coordinator-reserved-name
  return changeDevice(core, tailnet, command.device, device => {
    const other = tailnet.names.get(name);
    if (other !== undefined && other !== device.id) return refusal('conflict', `there is a device ${name} already`);
    const details = { name, before: device.name };
    const audit = core.audit(device.tailnet, actor, 'device-rename', `device:${device.id}`, details);
    const renamed = { ...device, name, isNameFixed: true };
    core.commit([changeOf('device', renamed)], audit);
    return renamed;
  });
}

/** Ends a device's node key now: it has to log in again. */
export function expireDevice(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'device-expire'>,
): AdminOutcome {
  return changeDevice(core, tailnet, command.device, device => {
    if (isExpired(device, core.unixMs)) return device;
    const expired = { ...device, keyExpiryMs: core.unixMs };
    const details = { name: device.name };
    const audit = core.audit(device.tailnet, actor, 'device-expire', `device:${device.id}`, details);
    const failed = core.tryCommit(device.tailnet, [changeOf('device', expired)], audit);
    return failed === undefined ? expired : refusalOfTests(failed);
  });
}

/** Removes a device; or refuses a login that waits. */
export function removeDeviceOrLogin(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'device-remove'>,
): AdminOutcome {
  const login = findLogin(core, tailnet, command.device);
  if (login !== undefined) {
    const details = { machineKey: login.join.machineKey, nodeKey: login.join.nodeKey };
    core.commit([], core.audit(tailnet.record.id, actor, 'login-refuse', 'login', details));
    core.pending.remove(login);
    refuseWaiters(core, login, 'the login was refused');
    return { isOk: true, value: {} };
  }
  const device = findDevice(tailnet, command.device);
  if (device === undefined) return refusal('not-found', `there is no device ${command.device}`);
  const failed = tryRemoveDevice(core, device, actor);
  return failed === undefined ? { isOk: true, value: {} } : refusalOfTests(failed);
}

/** Changes the device that the text names; the outcome shows it, or is what comes back instead. */
export function changeDevice(
  core: Core,
  tailnet: TailnetState,
  text: string,
  change: (device: DeviceRecord) => DeviceRecord | AdminOutcome,
): AdminOutcome {
  const device = findDevice(tailnet, text);
  if (device === undefined) return refusal('not-found', `there is no device ${text}`);
  const changed = change(device);
  return 'isOk' in changed ? changed : { isOk: true, value: deviceView(core, tailnet, changed) };
}

/** A device by its id, its name, its full name or an address. An id comes first: a device may call itself a number. */
export function findDevice(tailnet: TailnetState, text: string): DeviceRecord | undefined {
  const byId = /^[1-9][0-9]{0,15}$/.test(text) ? tailnet.devices.get(Number(text)) : undefined;
  if (byId !== undefined) return byId;
  const lower = text.toLowerCase().replace(/\.$/, '');
  const suffix = `.${suffixOfTailnet(tailnet.record.id)}`;
  const name = lower.endsWith(suffix) ? lower.slice(0, -suffix.length) : lower;
  const bytes = parseAddress(lower);
  const id = bytes === undefined ? tailnet.names.get(name) : tailnet.byAddress.get(formatAddress(bytes));
  return id === undefined ? undefined : tailnet.devices.get(id);
}

/** A login that waits, by its id; one of a device that was in a tailnet only in that tailnet. */
function findLogin(core: Core, tailnet: TailnetState, id: string): PendingLogin | undefined {
  const login = core.pending.find(core.nowMs, id);
  const isOfOther = login?.tailnet !== undefined && login.tailnet !== tailnet.record.id;
  if (isOfOther) return undefined; // CHECK: coordinator-login-tailnet
  return login;
}
