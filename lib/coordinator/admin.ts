/**
 * Administrators' commands about tailnets, auth keys and tokens (the others: `admin-*.ts`). A command starts at one
 * tailnet and never looks into another; an actor with a tailnet may touch that one only.
 */
import { approveDevice, expireDevice, listDevices, removeDeviceOrLogin, renameDevice } from './admin-devices.ts';
import * as input from './admin-input.ts';
import { explainPolicy, getPolicy, setPolicy } from './admin-policy.ts';
import { routeDevice, tagDevice } from './admin-device-rights.ts';
import { createUser, listUsers, removeUser, renameUser } from './admin-users.ts';
import { keyView, tailnetView, tokenView } from './admin-views.ts';
import { stateOfKey } from './auth-keys.ts';
import type { AdminCommand, AdminOutcome } from './commands.ts';
import type { Actor } from './coordinator-types.ts';
import type { Core } from './core.ts';
import type { AuthKeyRecord, Change, TokenRecord } from './model.ts';
import { idOfSecret, makeSecret } from './secrets.ts';
import { changeOf, removalOf, type TailnetState } from './state.ts';
import { problemWithTags } from './tags.ts';
import { NODE_KEY_LIFE_MS, newTailnet, userOf } from './users.ts';

type CommandOf<T extends AdminCommand['type']> = Extract<AdminCommand, { type: T }>;
/** What a command that is about one tailnet gets. */
type Act<T extends AdminCommand['type']> = (
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<T>,
) => AdminOutcome;

const { refusal } = input;

/** Runs a command: its changes are committed, its outcome is to be told when they are durable. */
export function runCommand(core: Core, actor: Actor, command: AdminCommand): AdminOutcome {
  const problem = formOf(core, command);
  if (problem !== undefined) return refusal('invalid', problem);
  const { type } = command;
  const scope = actor.tailnet;
  const about = type === 'tailnet-list' ? undefined : command.tailnet;
  const isOutside = scope !== undefined && about !== undefined && about !== scope;
  if (isOutside) return refusal('forbidden', `${actor.name} may not touch this tailnet`); // CHECK: coordinator-scope
  const isForServer = type === 'tailnet-create' || type === 'tailnet-remove';
  if (isForServer && scope !== undefined) return refusal('forbidden', `${actor.name} may not do that`); // CHECK: coordinator-scope-server
  if (type === 'tailnet-list') return { isOk: true, value: listTailnets(core, scope) };
  if (type === 'tailnet-create') return createTailnet(core, actor.name, command);
  if (type === 'token-create') return createToken(core, actor.name, command);
  if (type === 'token-list') return { isOk: true, value: listTokens(core, command.tailnet) };
  if (type === 'token-revoke') return revokeToken(core, actor.name, command);
  const tailnet = core.state.tailnets.get(command.tailnet);
  if (tailnet === undefined) return refusal('not-found', `there is no tailnet ${command.tailnet}`);
  if (type === 'device-list') return { isOk: true, value: listDevices(core, tailnet, scope === undefined) };
  return ACTS[type](core, actor.name, tailnet, command as never);
}

/** What is wrong with the form of a command; undefined: nothing. */
function formOf(core: Core, command: AdminCommand): string | undefined {
  const type: unknown = (command as { type?: unknown } | null)?.type;
  if (typeof type !== 'string' || !isType(type)) return 'the command is unknown';
  const isServerToken = type.startsWith('token-') && (command as { tailnet?: unknown }).tailnet === '';
  const needed = [...(type === 'tailnet-list' || isServerToken ? [] : ['tailnet']), ...(NEEDED[type] ?? [])];
  const missing = needed.find(name => !Object.hasOwn(command, name) || command[name as never] === undefined);
  if (missing !== undefined) return `"${missing}" is missing`;
  return input.problemWith(command, {
    ...(!isServerToken && { tailnet: input.expectLabel }),
    requiresApproval: input.expectBoolean,
    keyLifeMs: input.expectDuration,
    force: input.expectBoolean,
    loginName: input.expectLogin,
    displayName: input.expectText,
    user: input.expectLogin,
    description: input.expectText,
    lifeMs: type === 'key-create' ? input.expectKeyLife : input.expectDuration,
    isReusable: input.expectBoolean,
    isEphemeral: input.expectBoolean,
    isPreapproved: input.expectBoolean,
    tags: input.expectTags(core.limits.tags),
    id: input.expectReference,
    device: input.expectReference,
    name: input.expectLabel,
    newLoginName: input.expectLogin,
    routes: input.expectRoutes(core.limits.routes),
    text: input.expectFile,
    version: input.expectNumber(Number.MAX_SAFE_INTEGER),
    isDryRun: input.expectBoolean,
    source: input.expectReference,
    destination: input.expectReference,
    port: input.expectNumber(65_535),
    protocol: input.expectNumber(255),
  });
}

/** Commands that {@link runCommand} runs by itself. */
const OTHERS = Object.freeze([
  'tailnet-list',
  'tailnet-create',
  'device-list',
  'token-create',
  'token-list',
  'token-revoke',
] as const);

function isType(type: string): boolean {
  return Object.hasOwn(ACTS, type) || (OTHERS as readonly string[]).includes(type);
}

/** Fields that commands cannot be without, but for `tailnet`. */
const NEEDED: Readonly<Record<string, readonly string[]>> = Object.freeze({
  'user-create': ['loginName'],
  'user-rename': ['loginName', 'newLoginName'],
  'user-remove': ['loginName'],
  'key-revoke': ['id'],
  'device-approve': ['device'],
  'device-rename': ['device', 'name'],
  'device-expire': ['device'],
  'device-remove': ['device'],
  'device-tags': ['device', 'tags'],
  'device-routes': ['device', 'routes'],
  'policy-set': ['text'],
  'policy-explain': ['source', 'destination', 'port'],
  'token-revoke': ['id'],
});

const ACTS: {
  readonly [T in AdminCommand['type'] as T extends (typeof OTHERS)[number] ? never : T]: Act<T>;
} = Object.freeze({
  'tailnet-update': updateTailnet,
  'tailnet-remove': removeTailnet,
  'user-list': listUsers,
  'user-create': createUser,
  'user-rename': renameUser,
  'user-remove': removeUser,
  'key-create': createKey,
  'key-list': (core, _actor, tailnet) => ({
    isOk: true,
    value: [...tailnet.keys.values()].map(key => keyView(core, tailnet, key)),
  }),
  'key-revoke': revokeKey,
  'device-approve': approveDevice,
  'device-rename': renameDevice,
  'device-expire': expireDevice,
  'device-remove': removeDeviceOrLogin,
  'device-tags': tagDevice,
  'device-routes': routeDevice,
  'policy-get': getPolicy,
  'policy-set': setPolicy,
  'policy-explain': explainPolicy,
});

function listTailnets(core: Core, scope: string | undefined): AdminOutcomeValue {
  const own = scope === undefined ? undefined : core.state.tailnets.get(scope);
  if (scope !== undefined) return own === undefined ? [] : [tailnetView(core, own)]; // CHECK: coordinator-scope-list
  return [...core.state.tailnets.values()].map(tailnet => tailnetView(core, tailnet));
}
type AdminOutcomeValue = readonly object[];

function createTailnet(core: Core, actor: string, command: CommandOf<'tailnet-create'>): AdminOutcome {
  const { tailnet: id, requiresApproval = false, keyLifeMs = NODE_KEY_LIFE_MS } = command;
  if (core.state.tailnets.has(id)) return refusal('conflict', `there is a tailnet ${id} already`);
  if (core.state.tailnets.size >= core.limits.tailnets)
    return refusal('conflict', 'there are as many tailnets as may be'); // CHECK: coordinator-tailnets
  newTailnet(core, actor, id, requiresApproval, keyLifeMs);
  return { isOk: true, value: tailnetView(core, core.state.tailnets.get(id)!) };
}

function updateTailnet(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'tailnet-update'>,
): AdminOutcome {
  const { requiresApproval = tailnet.record.requiresApproval, keyLifeMs = tailnet.record.keyLifeMs } = command;
  const record = { ...tailnet.record, requiresApproval, keyLifeMs };
  const audit = core.audit(record.id, actor, 'tailnet-update', `tailnet:${record.id}`, { requiresApproval, keyLifeMs });
  core.commit([changeOf('tailnet', record)], audit);
  return { isOk: true, value: tailnetView(core, tailnet) };
}

function removeTailnet(
  core: Core,
  actor: string,
  tailnet: TailnetState,
  command: CommandOf<'tailnet-remove'>,
): AdminOutcome {
  const { id } = tailnet.record;
  const isUsed = tailnet.devices.size > 0 && command.force !== true;
  if (isUsed) return refusal('conflict', `${id} has ${tailnet.devices.size} devices: remove them first, or use force`);
  if (core.state.tailnets.size === 1) return refusal('conflict', `${id} is the only tailnet`);
  const tokens = [...core.state.tokens.values()].filter(token => token.tailnet === id);
  const addresses = [...tailnet.takenAddresses].map(address => ({ tailnet: id, id: address }));
  const changes: Change[] = [
    ...[...tailnet.devices.values()].map(device => removalOf('device', device)),
    ...[...tailnet.keys.values()].map(key => removalOf('key', key)),
    ...[...tailnet.users.values()].map(user => removalOf('user', user)),
    ...addresses.map(address => removalOf('address', address)),
    ...[...tailnet.policies.values()].map(policy => removalOf('policy', policy)),
    ...tokens.map(token => removalOf('token', token)),
    removalOf('tailnet', tailnet.record),
  ];
  core.commit(changes, core.audit(id, actor, 'tailnet-remove', `tailnet:${id}`, { devices: tailnet.devices.size }));
  return { isOk: true, value: {} };
}

function createKey(core: Core, actor: string, tailnet: TailnetState, command: CommandOf<'key-create'>): AdminOutcome {
  const { description = '', lifeMs = input.DEFAULT_KEY_LIFE_MS, tags = [] } = command;
  const { isReusable = false, isEphemeral = false, isPreapproved = false } = command;
  const user = userOf(tailnet, command.user);
  if (user === undefined) return refusal('not-found', `there is no user ${command.user ?? 'in this tailnet'}`);
  const problem = problemWithTags(core, tailnet.record.id, tags);
  if (problem !== undefined) return refusal('invalid', problem);
  const isFull = tailnet.keys.size >= core.limits.keysPerTailnet;
  const dead = isFull ? [...tailnet.keys.values()].find(key => stateOfKey(key, core.unixMs) !== 'valid') : undefined;
  if (isFull && dead === undefined) return refusal('conflict', 'there are as many auth keys as may be'); // CHECK: coordinator-keys
  const { text, id, hash } = makeSecret(core.suite, core.random, 'auth', core.state.keyTailnets);
  const { unixMs } = core;
  const key: AuthKeyRecord = {
    tailnet: tailnet.record.id,
    id,
    hash,
    user: user.id,
    description,
    createdMs: unixMs,
    expiresMs: unixMs + lifeMs,
    isReusable,
    isEphemeral,
    isPreapproved,
    tags: [...tags],
    uses: 0,
    lastUsedMs: 0,
    revokedMs: 0,
  };
  const details = { user: user.loginName, isReusable, isEphemeral, isPreapproved, tags: tags.join(','), lifeMs };
  const audit = core.audit(key.tailnet, actor, 'key-create', `key:${id}`, details);
  core.commit([...(dead === undefined ? [] : [removalOf('key', dead)]), changeOf('key', key)], audit);
  return { isOk: true, value: keyView(core, tailnet, key, text) };
}

function revokeKey(core: Core, actor: string, tailnet: TailnetState, command: CommandOf<'key-revoke'>): AdminOutcome {
  const key = tailnet.keys.get(idOfSecret('auth', command.id) ?? command.id);
  if (key === undefined) return refusal('not-found', 'there is no auth key with this id');
  if (key.revokedMs > 0) return { isOk: true, value: keyView(core, tailnet, key) };
  const revoked = { ...key, revokedMs: core.unixMs };
  core.commit([changeOf('key', revoked)], core.audit(key.tailnet, actor, 'key-revoke', `key:${key.id}`));
  return { isOk: true, value: keyView(core, tailnet, revoked) };
}

function listTokens(core: Core, tailnet: string): AdminOutcomeValue {
  return [...core.state.tokens.values()].filter(token => token.tailnet === tailnet).map(token => tokenView(token));
}

function createToken(core: Core, actor: string, command: CommandOf<'token-create'>): AdminOutcome {
  const { tailnet, description = '', lifeMs = 0 } = command;
  const isKnown = tailnet === '' || core.state.tailnets.has(tailnet);
  if (!isKnown) return refusal('not-found', `there is no tailnet ${tailnet}`);
  const isFull = core.state.tokens.size >= core.limits.tokens;
  const isOver = ({ expiresMs }: TokenRecord) => expiresMs > 0 && expiresMs <= core.unixMs;
  const dead = isFull ? [...core.state.tokens.values()].find(isOver) : undefined;
  if (isFull && dead === undefined) return refusal('conflict', 'there are as many tokens as may be'); // CHECK: coordinator-tokens
  const { text, id, hash } = makeSecret(core.suite, core.random, 'api', core.state.tokens);
  const expiresMs = lifeMs === 0 ? 0 : core.unixMs + lifeMs;
  const token: TokenRecord = { tailnet, id, hash, description, createdMs: core.unixMs, expiresMs };
  const audit = core.audit(tailnet, actor, 'token-create', `token:${id}`, { lifeMs });
  core.commit([...(dead === undefined ? [] : [removalOf('token', dead)]), changeOf('token', token)], audit);
  return { isOk: true, value: tokenView(token, text) };
}

function revokeToken(core: Core, actor: string, command: CommandOf<'token-revoke'>): AdminOutcome {
  const token = core.state.tokens.get(idOfSecret('api', command.id) ?? command.id);
  const isOfTailnet = token?.tailnet === command.tailnet;
  if (token === undefined || !isOfTailnet) return refusal('not-found', 'there is no token with this id'); // CHECK: coordinator-token-tailnet
  core.commit([removalOf('token', token)], core.audit(token.tailnet, actor, 'token-revoke', `token:${token.id}`));
  return { isOk: true, value: {} };
}
