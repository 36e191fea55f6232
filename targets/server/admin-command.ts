/**
 * Reads an administration command out of JSON that somebody sent: every field by name, type and form, nothing unknown,
 * nothing missing. What it lets through is an {@link AdminCommand} and nothing else; whether the things that it names
 * exist is for the coordinator to say.
 */
import type { AdminCommand } from '../../lib/coordinator/commands.ts';
import { nearestWord } from '../../lib/mote/wg-config.ts';
import * as syntax from './admin-syntax.ts';

/** A command that cannot be one; `message` is one line for people. */
export class CommandError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CommandError';
  }
}

/** Says what was expected when a value does not fit; undefined when it does. */
type Check = (value: unknown) => string | undefined;

interface Field {
  readonly isRequired: boolean;
  readonly check: Check;
}

type CommandType = AdminCommand['type'];
/** Names of all fields of a command, over its variants. */
type FieldsOf<T extends CommandType> = Exclude<keyof Extract<AdminCommand, { type: T }>, 'type'> & string;

function must(check: Check): Field {
  return { isRequired: true, check };
}

function may(check: Check): Field {
  return { isRequired: false, check };
}

function text(expected: string, fits: (value: string) => boolean): Check {
  return value => (typeof value === 'string' && fits(value) ? undefined : expected);
}

function life(limitMs: number, mayBeZero: boolean): Check {
  const least = mayBeZero ? '0 or ' : '';
  const expected = `${least}a whole number of ms from ${syntax.LIFE_LEAST_MS} to ${limitMs}`;
  return value => {
    if (mayBeZero && value === 0) return undefined;
    const isFine = Number.isSafeInteger(value) && Number(value) >= syntax.LIFE_LEAST_MS && Number(value) <= limitMs;
    return isFine ? undefined : expected;
  };
}

const flag: Check = value => (typeof value === 'boolean' ? undefined : 'true or false');
const words: Check = text(
  `at most ${syntax.TEXT_LIMIT} characters on one line, without control characters`,
  syntax.isText,
);
const label: Check = text('a name of 1 to 63 characters of a-z, 0-9 and - (not at an end)', syntax.isLabel);
const scope: Check = text('the name of a tailnet, or "" for the whole server', value =>
  value === '' ? true : syntax.isLabel(value),
);
const login: Check = text('a login name such as ann or ann@example.com, of at most 127 characters', syntax.isLoginName);
const id: Check = text('12 hex digits', syntax.isId);
const device: Check = text('the id, the name or an address of a device', syntax.isDeviceWord);
const tags: Check = value => {
  const isFine =
    Array.isArray(value) &&
    value.length <= syntax.TAGS_LIMIT &&
    value.every(tag => typeof tag === 'string' && syntax.isTag(tag)) &&
    new Set(value).size === value.length;
  return isFine ? undefined : `at most ${syntax.TAGS_LIMIT} different texts such as "tag:server"`;
};

const routes: Check = value => {
  const isFine = Array.isArray(value) && value.every(route => typeof route === 'string' && route.length < 64);
  return isFine ? undefined : 'texts such as "192.0.2.0/24"';
};
const file: Check = text('a text', () => true);
const count: Check = value =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : 'a whole number, 0 or more';

function upTo(most: number): Check {
  return value => (count(value) === undefined && Number(value) <= most ? undefined : `a whole number up to ${most}`);
}

const tailnet = must(label);
const onDevice = { tailnet, device: must(device) };
const settings = { tailnet, requiresApproval: may(flag), keyLifeMs: may(life(syntax.LIFE_LIMIT_MS, true)) };

/** Every command with its fields. The type makes sure that none is forgotten. */
const COMMANDS: { readonly [T in CommandType]: Readonly<Record<FieldsOf<T>, Field>> } = /* @__PURE__ */ Object.freeze({
  'tailnet-list': {},
  'tailnet-create': settings,
  'tailnet-update': settings,
  'tailnet-remove': { tailnet, force: may(flag) },
  'user-list': { tailnet },
  'user-create': { tailnet, loginName: must(login), displayName: may(words) },
  'user-rename': { tailnet, loginName: must(login), newLoginName: must(login) },
  'user-remove': { tailnet, loginName: must(login) },
  'key-create': {
    tailnet,
    user: may(login),
    description: may(words),
    lifeMs: may(life(syntax.KEY_LIFE_LIMIT_MS, false)),
    isReusable: may(flag),
    isEphemeral: may(flag),
    isPreapproved: may(flag),
    tags: may(tags),
  },
  'key-list': { tailnet },
  'key-revoke': { tailnet, id: must(id) },
  'device-list': { tailnet },
  'device-approve': { ...onDevice, user: may(login) },
  'device-rename': { ...onDevice, name: must(label) },
  'device-expire': onDevice,
  'device-remove': onDevice,
  'device-tags': { ...onDevice, tags: must(tags) },
  'device-routes': { ...onDevice, routes: must(routes) },
  'policy-get': { tailnet },
  'policy-set': { tailnet, text: must(file), version: may(count), isDryRun: may(flag) },
  'policy-explain': {
    tailnet,
    source: must(device),
    destination: must(device),
    port: must(upTo(65_535)),
    protocol: may(upTo(255)),
  },
  'token-create': { tailnet: must(scope), description: may(words), lifeMs: may(life(syntax.LIFE_LIMIT_MS, false)) },
  'token-list': { tailnet: must(scope) },
  'token-revoke': { tailnet: must(scope), id: must(id) },
});

/** Names of all commands. */
export const COMMAND_TYPES: readonly CommandType[] = /* @__PURE__ */ Object.freeze(
  Object.keys(COMMANDS) as CommandType[],
);

/** The command that `value` (parsed JSON) is, as a new object. Throws {@link CommandError}. */
export function readCommand(value: unknown): AdminCommand {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CommandError(`a command is a JSON object with "type", got ${show(value)}`);
  const given = value as Record<string, unknown>;
  const { type } = given;
  if (typeof type !== 'string' || !Object.hasOwn(COMMANDS, type))
    throw new CommandError(
      type === undefined
        ? 'a command expected "type", got none'
        : `no command ${show(type)}${hint(type, COMMAND_TYPES)}`,
    );
  const fields: Readonly<Record<string, Field>> = COMMANDS[type as CommandType];
  const read: Record<string, unknown> = { type };
  for (const name of Object.keys(given)) {
    if (name === 'type') continue;
    if (!Object.hasOwn(fields, name))
      throw new CommandError(`${type} has no field ${show(name)}${hint(name, Object.keys(fields))}`);
  }
  for (const [name, field] of Object.entries(fields)) {
    if (!Object.hasOwn(given, name)) {
      if (field.isRequired) throw new CommandError(`${type} expected "${name}", got none`);
      continue;
    }
    const expected = field.check(given[name]);
    if (expected !== undefined)
      throw new CommandError(`"${name}" of ${type} expected ${expected}, got ${show(given[name])}`);
    read[name] = given[name];
  }
  return read as AdminCommand;
}

function hint(word: unknown, known: readonly string[]): string {
  const near = typeof word === 'string' ? nearestWord(word, known) : undefined;
  if (near !== undefined) return `: did you mean "${near}"?`;
  return known.length === 0 ? ': it takes none' : `: known are ${known.join(', ')}`;
}

/** A short, printable form of what came. A text that may hold an auth key or a token is not shown. */
function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'; // any depth
  if (typeof value === 'string' && /mote-(auth|api)-/i.test(value)) return 'a key or token (not shown)'; // CHECK: admin-no-secret-echo
  const json = JSON.stringify(value) ?? String(value);
  const cut = json.length > 60 ? `${json.slice(0, 60)}…` : json;
  return cut.replace(/[^\x20-\x7e…]/g, '?');
}
