/** The arguments of `motenet up` and of the commands that ask a running one. */
import { canonicalAddress } from '../../lib/base/address.ts';
import { parseFlags, portOf, quote, SERVICE_FLAGS, type ServiceOptions, serviceOptions } from './args.ts';
import { UsageError } from './errors.ts';
import { stateDirectory } from './state.ts';

/** Environment variable with an auth key. */
export const AUTH_KEY_VARIABLE = 'MOTENET_AUTHKEY';

/** What `motenet up` was told. */
export interface UpOptions extends ServiceOptions {
  /** URL of the coordinator. */
  readonly control: string;
  /** Where the auth key is: undefined for none. The key itself is not part of any message. */
  readonly authKey: { readonly from: 'flag' | 'environment'; readonly key: string } | AuthKeyFile | undefined;
  readonly name: string | undefined;
  /** The state folder, absolute. */
  readonly stateDir: string;
  readonly isEphemeral: boolean;
  /** File with certificates (PEM) of further authorities. */
  readonly caFile: string | undefined;
}

/** An auth key in a file, or in standard input (`-`). */
export interface AuthKeyFile {
  readonly from: 'file';
  readonly path: string;
}

/** What a command that asks a running mote was told. */
export interface AskOptions {
  readonly stateDir: string;
  readonly isJson: boolean;
}

const UP_FLAGS = {
  ...SERVICE_FLAGS,
  control: { type: 'string' },
  authkey: { type: 'string' },
  'authkey-file': { type: 'string' },
  name: { type: 'string' },
  state: { type: 'string' },
  ephemeral: { type: 'boolean' },
  ca: { type: 'string' },
} as const;

const ASK_FLAGS = {
  state: { type: 'string' },
  json: { type: 'boolean' },
  debug: { type: 'boolean' },
} as const;

/** Longest wait of `--timeout`, in seconds. */
const MAX_TIMEOUT_S = 3600;
const MAX_PINGS = 1_000_000;
const USUAL_PINGS = 4;
const USUAL_DIRECT_PINGS = 10;

/** Parses what follows `motenet up`. Throws {@link UsageError}. */
export function parseUpArgs(args: readonly string[], env: NodeJS.ProcessEnv): UpOptions {
  const { values, positionals } = parseFlags(args, UP_FLAGS, 'up');
  const [extra] = positionals;
  if (extra !== undefined) throw new UsageError(`up takes no arguments, got ${quote(extra)}: flags begin with --`);
  const { control, ephemeral, ca } = values;
  if (control === undefined) throw new UsageError('up expected --control URL, the address of the coordinator');
  return {
    control: checkControl(control),
    authKey: authKey(values.authkey, values['authkey-file'], env[AUTH_KEY_VARIABLE]),
    name: values.name === undefined ? undefined : checkName(values.name),
    stateDir: stateDirectory(values.state, env),
    isEphemeral: ephemeral === true,
    caFile: ca,
    ...serviceOptions(values),
  };
}

/** A coordinator's URL as it was given. Throws {@link UsageError} for anything else. */
export function checkControl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new UsageError(`--control expected a URL such as https://mote.example, got ${quote(text)}`, { cause });
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new UsageError(`--control expected a URL that begins with https:// or http://, got ${quote(text)}`);
  if (url.username !== '' || url.search !== '' || url.hash !== '')
    throw new UsageError('--control expected a URL without user, question mark or #');
  return text;
}

function authKey(flag: string | undefined, file: string | undefined, variable: string | undefined) {
  if (flag !== undefined && file !== undefined)
    throw new UsageError('--authkey and --authkey-file say the same: keep one');
  if (flag !== undefined) return { from: 'flag', key: checkAuthKey(flag, '--authkey') } as const;
  if (file === '') throw new UsageError('--authkey-file expected a file, got nothing');
  if (file !== undefined) return { from: 'file', path: file } as const;
  if (variable === undefined || variable === '') return undefined;
  return { from: 'environment', key: checkAuthKey(variable, AUTH_KEY_VARIABLE) } as const;
}

/** The text of a key without blanks around it. Throws {@link UsageError}, which shows nothing of it. */
export function checkAuthKey(text: string, where: string): string {
  const key = text.trim();
  if (/^[\x21-\x7e]{1,512}$/.test(key)) return key;
  throw new UsageError(`${where} expected the text of one auth key, got ${key === '' ? 'nothing' : 'something else'}`);
}

function checkName(text: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(text)) return text;
  throw new UsageError(`--name expected 1 to 63 letters, digits and hyphens, got ${quote(text)}`);
}

/** Parses what follows `motenet status`. Throws {@link UsageError}. */
export function parseStatusArgs(args: readonly string[], env: NodeJS.ProcessEnv): AskOptions & { isVerbose: boolean } {
  const flags = { ...ASK_FLAGS, verbose: { type: 'boolean', short: 'v' } } as const;
  const { values, positionals } = parseFlags(args, flags, 'status');
  takeArguments('status', [], positionals);
  return { ...askOptions(values, env), isVerbose: values.verbose === true };
}

/** Parses what follows `motenet nc`. Throws {@link UsageError}. */
export function parseNcArgs(args: readonly string[], env: NodeJS.ProcessEnv) {
  const flags = { ...ASK_FLAGS, timeout: { type: 'string' } } as const;
  const { values, positionals } = parseFlags(args, flags, 'nc');
  const [name, port] = takeArguments('nc', ['NAME', 'PORT'], positionals);
  const timeoutMs = seconds(values.timeout, 30);
  return { ...askOptions(values, env), name: hostOf(name!), port: portOf('nc', port!, 1), timeoutMs };
}

/** What `motenet ping` was told. */
export interface PingOptions extends AskOptions {
  readonly name: string;
  readonly count: number;
  readonly timeoutMs: number;
  /** Inside the tunnel by ICMP, rather than beneath it. */
  readonly isInside: boolean;
  /** The first direct answer is the end, and none a failure. */
  readonly isUntilDirect: boolean;
}

/** Parses what follows `motenet ping`. Throws {@link UsageError}. */
export function parsePingArgs(args: readonly string[], env: NodeJS.ProcessEnv): PingOptions {
  const flags = {
    ...ASK_FLAGS,
    timeout: { type: 'string' },
    count: { type: 'string', short: 'c' },
    icmp: { type: 'boolean' },
    'until-direct': { type: 'boolean' },
  } as const;
  const { values, positionals } = parseFlags(args, flags, 'ping');
  const [name] = takeArguments('ping', ['NAME'], positionals);
  const [isInside, isUntilDirect] = [values.icmp === true, values['until-direct'] === true];
  if (isInside && isUntilDirect)
    throw new UsageError('--icmp goes inside the tunnel, which does not show the path: leave out --until-direct');
  const usual = isUntilDirect ? USUAL_DIRECT_PINGS : USUAL_PINGS;
  const count = values.count === undefined ? usual : Number(values.count);
  if (!Number.isInteger(count) || count < 1 || count > MAX_PINGS)
    throw new UsageError(`--count expected 1 to ${MAX_PINGS}, got ${quote(values.count!)}`);
  const timeoutMs = seconds(values.timeout, 5);
  return { ...askOptions(values, env), name: hostOf(name!), count, timeoutMs, isInside, isUntilDirect };
}

/** Parses what follows `motenet doctor`. Throws {@link UsageError}. */
export function parseDoctorArgs(args: readonly string[], env: NodeJS.ProcessEnv): AskOptions {
  const { values, positionals } = parseFlags(args, ASK_FLAGS, 'doctor');
  takeArguments('doctor', [], positionals);
  return askOptions(values, env);
}

/** Parses what follows `motenet whois`. Throws {@link UsageError}. */
export function parseWhoisArgs(args: readonly string[], env: NodeJS.ProcessEnv): AskOptions & { address: string } {
  const { values, positionals } = parseFlags(args, ASK_FLAGS, 'whois');
  const [text] = takeArguments('whois', ['ADDRESS'], positionals);
  const address = canonicalAddress(hostOf(text!));
  if (address === undefined) throw new UsageError(`whois expected an address inside the tailnet, got ${quote(text!)}`);
  return { ...askOptions(values, env), address };
}

/** Parses what follows `motenet logout`. Throws {@link UsageError}. */
export function parseLogoutArgs(args: readonly string[], env: NodeJS.ProcessEnv): AskOptions {
  const { values, positionals } = parseFlags(args, ASK_FLAGS, 'logout');
  takeArguments('logout', [], positionals);
  return askOptions(values, env);
}

function askOptions(values: { state?: string; json?: boolean }, env: NodeJS.ProcessEnv): AskOptions {
  return { stateDir: stateDirectory(values.state, env), isJson: values.json === true };
}

function takeArguments(command: string, names: readonly string[], given: readonly string[]): readonly string[] {
  const form = ['motenet', command, ...names].join(' ');
  if (given.length < names.length)
    throw new UsageError(`${command} expected ${names[given.length]}, got none: ${form}`);
  if (given.length > names.length)
    throw new UsageError(`${command} does not know what to do with ${quote(given[names.length]!)}: ${form}`);
  return given;
}

/** A name or address without the brackets of IPv6. */
function hostOf(text: string): string {
  return /^\[(.*)\]$/.exec(text)?.[1] ?? text;
}

function seconds(text: string | undefined, usual: number): number {
  const value = text === undefined ? usual : Number(text);
  if (!(value > 0 && value <= MAX_TIMEOUT_S))
    throw new UsageError(`--timeout expected seconds, up to ${MAX_TIMEOUT_S}, got ${quote(text!)}`);
  return Math.ceil(value * 1000);
}
