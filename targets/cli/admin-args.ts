/** Arguments of the administration commands, checked before anybody is asked. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { nearestWord } from '../../lib/mote/wg-config.ts';
import { CommandError, readCommand } from '../server/admin-command.ts';
import { isLabel } from '../server/admin-syntax.ts';
import { ADMIN_GROUPS } from './admin-commands.ts';
import type { AdminPlace } from './admin-client.ts';
import { type AdminFlag, type FlagValues, parserFlags, textOf, wholeNumberOf } from './admin-flags.ts';
import type { AdminEntry, AdminTask, AdminUsage } from './admin-task.ts';
import { parseFlags, quote } from './args.ts';
import { UsageError } from './errors.ts';

/** What an administration command was told. */
export interface AdminOptions {
  readonly place: AdminPlace;
  readonly isJson: boolean;
  readonly task: AdminTask;
}

/** The part of the environment that counts. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Flags that every command has. */
const COMMON_FLAGS: Readonly<Record<string, AdminFlag>> = /* @__PURE__ */ Object.freeze({
  json: { type: 'boolean', help: 'The answer as one line of JSON.' },
  debug: { type: 'boolean', help: 'Stack traces of errors.' },
});
/** Flags that every command has that asks a coordinator. */
const PLACE_FLAGS: Readonly<Record<string, AdminFlag>> = /* @__PURE__ */ Object.freeze({
  data: { type: 'string', value: 'DIR', help: 'Data folder of a coordinator on this machine, running or not.' },
  admin: { type: 'string', value: 'URL', help: 'A coordinator elsewhere.' },
  token: { type: 'string', value: 'T', help: 'Token for --admin; better in the environment, as MOTENET_TOKEN.' },
  ...COMMON_FLAGS,
});
/** Flags of `motenet audit`. */
export const AUDIT_FLAGS: Readonly<Record<string, AdminFlag>> = /* @__PURE__ */ Object.freeze({
  tailnet: { type: 'string', value: 'NAME', help: 'Lines about this tailnet alone.' },
  limit: { type: 'string', value: 'N', help: 'At most so many lines, 1 to 1000; 100 unless told.' },
  before: { type: 'string', value: 'SEQ', help: 'Lines before this one, for the next page.' },
});

/** Whether `word` is the first word of an administration command. */
export function isAdminCommand(word: string): boolean {
  return word === 'audit' || word === 'backup' || Object.hasOwn(ADMIN_GROUPS, word);
}

/** Parses what follows `motenet GROUP`. Throws {@link UsageError}. */
export function parseAdminArgs(group: string, args: readonly string[], environment: Environment): AdminOptions {
  if (group === 'audit') return parseAudit(args, environment);
  if (group === 'backup') return parseBackup(args, environment);
  const { entries } = ADMIN_GROUPS[group]!;
  const names = Object.keys(entries);
  const [name, ...rest] = args;
  if (name === undefined || name.startsWith('-'))
    throw new UsageError(`${group} expected ${names.join(', ')}, got ${name === undefined ? 'nothing' : quote(name)}`);
  if (!Object.hasOwn(entries, name)) {
    const near = nearestWord(name, names);
    const hint = near === undefined ? `known are ${names.join(', ')}` : `did you mean ${group} ${near}?`;
    throw new UsageError(`${group} has no ${quote(name)}: ${hint}`);
  }
  return parseEntry(`${group} ${name}`, entries[name]!, rest, environment);
}

/** The flags of an entry that are not its own. */
export function commonFlags({ isLocal }: Pick<AdminUsage, 'isLocal'>): Readonly<Record<string, AdminFlag>> {
  return isLocal === true ? COMMON_FLAGS : PLACE_FLAGS;
}

function parseEntry(
  command: string,
  entry: AdminEntry,
  args: readonly string[],
  environment: Environment,
): AdminOptions {
  const { values, taken, common } = parse(command, entry, args, environment);
  try {
    const task: AdminTask =
      'task' in entry ? entry.task(taken, values) : { type: 'command', command: entry.command(taken, values) };
    if ('command' in task) readCommand(task.command);
    return { ...common, task };
  } catch (error) {
    if (error instanceof CommandError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** Parses what follows `motenet status` or `doctor` where `--server` is one of it. Throws {@link UsageError}. */
export function parseServerQuestion(
  command: string,
  args: readonly string[],
  environment: Environment,
): Pick<AdminOptions, 'place' | 'isJson'> {
  const flags: Readonly<Record<string, AdminFlag>> = { server: { type: 'boolean', help: '' } };
  return parse(`${command} --server`, { takes: [], flags }, args, environment).common;
}

/** Where a coordinator keeps its data unless told. */
export function usualDataDir(environment: Environment): string {
  const base = environment['XDG_DATA_HOME'];
  // The specification says that a relative path is to be ignored.
  return join(base?.startsWith('/') === true ? base : join(homedir(), '.local', 'share'), 'motenet');
}

function parseAudit(args: readonly string[], environment: Environment): AdminOptions {
  const { values, common } = parse('audit', { takes: [], flags: AUDIT_FLAGS }, args, environment);
  const tailnet = textOf(values, 'tailnet');
  if (tailnet !== undefined && !isLabel(tailnet))
    throw new UsageError(`--tailnet expected the name of a tailnet, got ${quote(tailnet)}`);
  const limit = wholeNumberOf(values, 'limit', 1000) ?? 100;
  const before = wholeNumberOf(values, 'before', Number.MAX_SAFE_INTEGER);
  const query = { limit, ...(tailnet === undefined ? {} : { tailnet }), ...(before === undefined ? {} : { before }) };
  return { ...common, task: { type: 'audit', query } };
}

function parseBackup(args: readonly string[], environment: Environment): AdminOptions {
  const { taken, common } = parse('backup', { takes: ['FILE'], flags: {} }, args, environment);
  return { ...common, task: { type: 'backup', path: resolve(taken[0]!) } };
}

function parse(command: string, entry: Omit<AdminUsage, 'summary'>, args: readonly string[], environment: Environment) {
  const { takes, flags } = entry;
  const parsed = parseFlags(args, parserFlags({ ...flags, ...commonFlags(entry) }), command);
  const values = parsed.values as FlagValues;
  const taken = parsed.positionals;
  if (taken.length < takes.filter(name => !name.startsWith('[')).length)
    throw new UsageError(`${command} expected ${takes[taken.length]}, got none: motenet ${command} ${takes.join(' ')}`);
  if (taken.length > takes.length)
    throw new UsageError(
      `${command} takes ${takes.length === 0 ? 'no arguments' : takes.join(' and ')}, got also ${quote(taken[takes.length]!)}`,
    );
  return { values, taken, common: { place: placeOf(values, environment), isJson: values['json'] === true } };
}

function placeOf(values: FlagValues, environment: Environment): AdminPlace {
  const { data, admin, token } = values as Readonly<Record<string, string | undefined>>;
  if (admin === undefined) {
    if (token !== undefined) throw new UsageError('--token is for --admin URL, got none: give both');
    if (data === '') throw new UsageError('--data expected a folder, got an empty path');
    return { dataDir: data === undefined ? usualDataDir(environment) : resolve(data) };
  }
  if (data !== undefined) throw new UsageError('--data and --admin exclude each other: give one');
  const secret = token ?? environment['MOTENET_TOKEN'] ?? '';
  if (secret === '')
    throw new UsageError('--admin needs a token: --token T, or MOTENET_TOKEN; `motenet tokens create` makes one');
  if (!/^[\x21-\x7e]{1,256}$/.test(secret))
    throw new UsageError('the token is not one: it has spaces or odd characters');
  return { url: parseUrl(admin), token: secret };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isFine =
    url !== undefined &&
    (url.protocol === 'http:' || url.protocol === 'https:') &&
    url.username + url.password + url.search + url.hash === '';
  if (isFine) return url;
  // A URL with a name and password in it is not repeated.
  const shown = text.includes('@') ? 'one with more than that' : quote(text);
  throw new UsageError(`--admin expected a URL such as https://coordinator.example, got ${shown}`);
}
