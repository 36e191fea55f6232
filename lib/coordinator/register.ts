/**
 * `/machine/register`: who becomes a device, stays one, changes its node key, or leaves. The machine key is proven by
 * the connection; a node key and an old node key are only believed together with the machine that they are known of.
 *
 * In this order: leaving, a node key that is known and valid (success, whatever the auth key: a container comes back
 * with the key that it has used up), an auth key, a change of the node key by the device itself while the old one is
 * valid, and a login that somebody has to approve.
 * Left out: device certificates, tailnet-lock decisions (a signature is kept as it comes).
 */
import { isAllZero } from '../base/bytes.ts';
import { parseTimeMs } from '../control/time.ts';
import { formatKey, parseKeyText } from '../crypto/key-text.ts';
import { findAuthKey, refusalOf, stateOfKey } from './auth-keys.ts';
import type { Core } from './core.ts';
import { isExpired } from './device-standing.ts';
import { commitOwnWords, withOwnWords } from './device-updates.ts';
import { readCapability, readHostinfo, readSignature } from './hostinfo.ts';
import { admitWithKey, removeDevice, rotate } from './join.ts';
import type { AuthKeyRecord, DeviceRecord } from './model.ts';
import { profileOf, taggedProfile } from './node-view.ts';
import type { JoinRequest, PendingLogin } from './pending-logins.ts';
import type { TestsFailed } from './policy-guard.ts';
import type { Fields } from './request-json.ts';
import { changeOf } from './state.ts';
import { problemWithWish } from './tags.ts';

/** Handles a register request whose body has been read. */
export function register(core: Core, request: number, machineKey: Uint8Array, source: string, fields: Fields): void {
  const join = readJoin(core, formatKey('mkey', machineKey), source, fields);
  if (join === undefined) return core.reply(request, 400, { error: 'malformed node key' });
  const device = core.state.deviceOfNodeKey(join.nodeKey);
  const old = join.oldNodeKey === '' ? undefined : core.state.deviceOfNodeKey(join.oldNodeKey);
  const isOfOther = device !== undefined && device.machineKey !== join.machineKey;
  if (isOfOther) return refuse(core, request, 'this node key belongs to another machine'); // CHECK: coordinator-register-machine
  const isOldOfOther = old !== undefined && old.machineKey !== join.machineKey;
  if (isOldOfOther) return refuse(core, request, 'the old node key belongs to another machine'); // CHECK: coordinator-register-old-machine
  const isLeaving = join.expiryMs !== 0 && join.expiryMs <= core.unixMs;
  if (isLeaving) return leave(core, request, device);
  if (device !== undefined && !isExpired(device, core.unixMs)) return comeBack(core, request, join, device);
  if (join.authKey !== '') return registerWithKey(core, request, join, device, old);
  if (device !== undefined) return replyExpired(core, request, device);
  const mayRotate = old !== undefined && !isExpired(old, core.unixMs);
  if (mayRotate) return rotateOwn(core, request, join, old);
  const problem = problemWithTagsOf(core, join, old);
  if (problem !== undefined) return refuse(core, request, problem);
  waitForLogin(core, request, join, old);
}

/** A login may ask for tags; which network it is for is not always known before somebody approves it. */
function problemWithTagsOf(core: Core, join: JoinRequest, old: DeviceRecord | undefined): string | undefined {
  const only = core.state.tailnets.size === 1 ? [...core.state.tailnets.keys()][0] : undefined;
  return problemWithWish(core, old?.tailnet ?? only, join.host.requestTags, undefined);
}

function readJoin(core: Core, machineKey: string, source: string, fields: Fields): JoinRequest | undefined {
  const nodeKey = parseKeyText('nodekey', fields.text('NodeKey'));
  const oldText = fields.text('OldNodeKey');
  const oldNodeKey = oldText === '' ? new Uint8Array(32) : parseKeyText('nodekey', oldText);
  if (nodeKey === undefined || oldNodeKey === undefined) return undefined;
  if (isAllZero(nodeKey)) return undefined; // CHECK: coordinator-zero-node-key
  return {
    machineKey,
    nodeKey: formatKey('nodekey', nodeKey),
    oldNodeKey: isAllZero(oldNodeKey) ? '' : formatKey('nodekey', oldNodeKey),
    authKey: fields.object('Auth')?.text('AuthKey').trim() ?? '',
    expiryMs: parseTimeMs(fields.text('Expiry')) ?? 0,
    followup: fields.text('Followup'),
    isEphemeral: fields.isTrue('Ephemeral'),
    keySignature: readSignature(fields.text('NodeKeySignature'), core.limits),
    capability: readCapability(fields),
    host: readHostinfo(fields.object('Hostinfo'), core.limits),
    source,
  };
}

/** A device that logs out: an ephemeral one is gone, of another the node key is over. */
function leave(core: Core, request: number, device: DeviceRecord | undefined): void {
  if (device === undefined) return core.reply(request, 200, response({ NodeKeyExpired: true }));
  const actor = `device:${device.id}`;
  if (device.isEphemeral) removeDevice(core, device, actor, 'device-logout');
  else if (!isExpired(device, core.unixMs)) {
    const audit = core.audit(device.tailnet, actor, 'device-logout', actor, { name: device.name });
    core.commit([changeOf('device', { ...device, keyExpiryMs: core.unixMs })], audit);
  }
  replyExpired(core, request, device);
}

/** A device changes its node key by itself. */
function rotateOwn(core: Core, request: number, join: JoinRequest, old: DeviceRecord): void {
  if (!core.mayAct(old.id)) return tooOften(core, request); // CHECK: coordinator-rotate-rate
  replyDevice(core, request, rotate(core, old, join));
}

function tooOften(core: Core, request: number): void {
  core.reply(request, 429, { error: 'this device changes too often' }, { 'retry-after': '600' });
}

/** A node key that is known and valid: it may say what has changed, and ask for an earlier end. */
function comeBack(core: Core, request: number, join: JoinRequest, device: DeviceRecord): void {
  const tailnet = core.state.tailnets.get(device.tailnet)!;
  const words = {
    ...(join.capability > 0 && { capability: join.capability }),
    ...(join.keySignature !== '' && { keySignature: join.keySignature }),
  };
  const said = withOwnWords(tailnet, device, join.host, words, () => core.mayAct(device.id));
  const next = commitOwnWords(core, device, said);
  const isSooner = join.expiryMs > 0 && (next.keyExpiryMs === 0 || join.expiryMs < next.keyExpiryMs);
  if (isSooner && !core.mayAct(device.id)) return tooOften(core, request); // CHECK: coordinator-shorten-rate
  const shortened = isSooner ? { ...next, keyExpiryMs: join.expiryMs } : next;
  const actor = `device:${device.id}`;
  const audit = core.audit(device.tailnet, actor, 'device-expire', actor, { atMs: shortened.keyExpiryMs });
  if (isSooner) core.commit([changeOf('device', shortened)], audit);
  replyDevice(core, request, shortened);
}

function registerWithKey(
  core: Core,
  request: number,
  join: JoinRequest,
  device: DeviceRecord | undefined,
  old: DeviceRecord | undefined,
): void {
  const key = findAuthKey(core, join.authKey);
  const isValid = key !== undefined && stateOfKey(key, core.unixMs) === 'valid';
  if (!isValid) {
    const mayRotate = device === undefined && old !== undefined && !isExpired(old, core.unixMs);
    return mayRotate ? rotateOwn(core, request, join, old) : refuseKey(core, request, join, key);
  }
  // A node key is that of one device: who joins another network, or as another owner, needs a new one.
  const isElsewhere = device !== undefined && (device.tailnet !== key.tailnet || device.user !== key.user);
  if (isElsewhere) return replyExpired(core, request, device); // CHECK: coordinator-node-key-elsewhere
  const joined = admitWithKey(core, join, key, device ?? old);
  if (typeof joined === 'string') return refuse(core, request, joined);
  if (!('id' in joined)) return refuseJoin(core, request, join, key, joined);
  replyDevice(core, request, joined);
}

/** Access tests stand against a device that has a valid key. What they say of others is for administrators alone. */
function refuseJoin(core: Core, request: number, join: JoinRequest, key: AuthKeyRecord, failed: TestsFailed): void {
  const message = `register from ${join.source} refused (key ${key.id}): access tests would fail: ${failed.lines[0]}`;
  core.whenDurable(() => core.log('warn', message));
  if (core.mayAuditRefusal(key.id)) {
    const details = { reason: 'tests-failed', machineKey: join.machineKey, source: join.source, line: failed.line };
    core.commit([], core.audit(key.tailnet, 'coordinator', 'device-refused', `key:${key.id}`, details));
  }
  const test = `an access test (line ${failed.line} of the policy) would fail`;
  refuse(core, request, `${test} with this device in the network: ask who administers it`);
}

function refuseKey(core: Core, request: number, join: JoinRequest, key: AuthKeyRecord | undefined): void {
  const reason = refusalOf(key, core.unixMs);
  core.log('warn', `register from ${join.source} refused: ${reason}${key === undefined ? '' : ` (key ${key.id})`}`);
  if (key !== undefined && core.mayAuditRefusal(key.id)) {
    const details = { reason: stateOfKey(key, core.unixMs), machineKey: join.machineKey, source: join.source };
    core.commit([], core.audit(key.tailnet, 'coordinator', 'device-refused', `key:${key.id}`, details));
  }
  refuse(core, request, reason);
}

/** Shows the address at which somebody decides; who asks again with that address waits for the decision. */
function waitForLogin(core: Core, request: number, join: JoinRequest, old: DeviceRecord | undefined): void {
  const asked = /\/register\/([0-9a-f]{32})$/.exec(join.followup)?.[1];
  const known = asked === undefined ? undefined : core.pending.find(core.nowMs, asked);
  if (known !== undefined && known.tailnet === old?.tailnet) {
    const isOwn = known.join.machineKey === join.machineKey && known.join.nodeKey === join.nodeKey;
    if (!isOwn) return refuse(core, request, 'this login belongs to another machine'); // CHECK: coordinator-followup-machine
    core.pending.touch(core.nowMs, known);
    known.waiters.add(request);
    return core.requests.whenAbandoned(request, () => known.waiters.delete(request));
  }
  offerLogin(core, request, join, old?.tailnet);
}

/** Answers with the address of a login, a new one if there is none. */
function offerLogin(core: Core, request: number, join: JoinRequest, tailnet: string | undefined): void {
  const { login, evicted } = core.pending.open(core.nowMs, core.unixMs, { ...join, followup: '' }, tailnet);
  for (const other of evicted) refuseWaiters(core, other, 'this login is over: start it again');
  core.reply(request, 200, response({ AuthURL: `${core.url}/register/${login.id}` }));
}

/** Answers those who wait for a login that is over without a decision: they are shown a new address. */
export function expireLogins(core: Core): void {
  for (let login = core.pending.takeExpired(core.nowMs); login !== undefined; ) {
    const waiters = [...login.waiters];
    for (const request of waiters) offerLogin(core, request, login.join, login.tailnet);
    login = core.pending.takeExpired(core.nowMs);
  }
}

/** Answers those who wait for a login with a refusal. */
export function refuseWaiters(core: Core, login: PendingLogin, reason: string): void {
  for (const request of login.waiters) refuse(core, request, reason);
  login.waiters.clear();
}

/** Answers those who wait for a login with the device that it has become. */
export function welcomeWaiters(core: Core, login: PendingLogin, device: DeviceRecord): void {
  for (const request of login.waiters) replyDevice(core, request, device);
  login.waiters.clear();
}

function refuse(core: Core, request: number, reason: string): void {
  core.reply(request, 200, response({ Error: reason }));
}

/** The device is welcome; an ephemeral one that is not connected yet gets time for that. */
function replyDevice(core: Core, request: number, device: DeviceRecord): void {
  const isAwaited = core.ephemeral.has(device.id);
  if (isAwaited) core.ephemeral.set(device, core.nowMs + core.limits.ephemeralGraceMs);
  core.reply(request, 200, { ...response(ownerOf(core, device)), MachineAuthorized: device.isApproved });
}

function replyExpired(core: Core, request: number, device: DeviceRecord): void {
  core.reply(request, 200, { ...response(ownerOf(core, device)), NodeKeyExpired: true });
}

/** User and Login of a device's owner. */
function ownerOf(core: Core, device: DeviceRecord): object {
  const user = core.state.tailnets.get(device.tailnet)?.users.get(device.user);
  const isTagged = device.tags.length > 0 || user === undefined;
  const { ID, LoginName, DisplayName } = isTagged ? taggedProfile() : profileOf(user);
  return { User: { ID, DisplayName }, Login: { ID, Provider: 'motenet', LoginName, DisplayName } };
}

/** Every field is always sent: some clients have no defaults. */
function response(fields: object): object {
  return {
    User: { ID: 0, DisplayName: '' },
    Login: { ID: 0, Provider: '', LoginName: '', DisplayName: '' },
    NodeKeyExpired: false,
    MachineAuthorized: false,
    AuthURL: '',
    NodeKeySignature: null,
    Error: '',
    ...fields,
  };
}
