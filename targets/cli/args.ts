/** The arguments of the commands: parsed with node:util, checked, and wrong ones explained in one line. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { canonicalAddress, parseAddress, parseDecimal } from '../../lib/base/address.ts';
import { nearestWord } from '../../lib/mote/wg-config.ts';
import { UsageError } from './errors.ts';
import { LEVELS, type Level } from './report.ts';
import type { Mapping } from './tcp-proxy.ts';

/** A TCP or UDP mapping as a flag asks for it. */
export interface MappingOption extends Mapping {
  readonly protocol: 'tcp' | 'udp';
}

/** The services that flags ask for. */
export interface ServiceOptions {
  readonly expose: readonly MappingOption[];
  readonly forward: readonly MappingOption[];
  readonly socks: readonly { readonly bind: string; readonly port: number }[];
  /** Names inside the tunnel, in lower case, with their canonical addresses. */
  readonly hosts: ReadonlyMap<string, string>;
  readonly isJson: boolean;
  readonly level: Level;
}

/** What `motenet wg` was told. */
export interface WgOptions extends ServiceOptions {
  /** Path, or `-` for standard input. */
  readonly file: string;
}

/** Flags of the commands that run services. */
export const SERVICE_FLAGS = {
  expose: { type: 'string', multiple: true },
  forward: { type: 'string', multiple: true },
  socks: { type: 'string', multiple: true },
  host: { type: 'string', multiple: true },
  json: { type: 'boolean' },
  log: { type: 'string' },
  verbose: { type: 'boolean', short: 'v' },
  debug: { type: 'boolean' },
} as const satisfies ParseArgsConfig['options'];

const LOOPBACK = '127.0.0.1';

/** Parses what follows `motenet wg`. Throws {@link UsageError}. */
export function parseWgArgs(args: readonly string[]): WgOptions {
  const { values, positionals } = parseFlags(args, SERVICE_FLAGS, 'wg');
  const [file, extra] = positionals;
  if (file === undefined)
    throw new UsageError(
      'wg expected a configuration file, got none: motenet wg FILE.conf (- reads it from standard input)',
    );
  if (extra !== undefined)
    throw new UsageError(`wg expected one configuration file, got also ${quote(extra)}: run one command per file`);
  return { file, ...serviceOptions(values) };
}

/** What {@link SERVICE_FLAGS} were given. Throws {@link UsageError}. */
export function serviceOptions(values: ReturnType<typeof parseFlags<typeof SERVICE_FLAGS>>['values']): ServiceOptions {
  const level = values.log ?? (values.verbose === true ? 'debug' : 'info');
  if (!isLevel(level)) throw new UsageError(`--log expected ${LEVELS.join(', ')}, got ${quote(level)}`);
  const expose = (values.expose ?? []).map(text => parseMapping('--expose', text));
  for (const [i, one] of expose.entries())
    if (expose.findIndex(other => other.port === one.port && other.protocol === one.protocol) !== i)
      throw new UsageError(`--expose leads ${one.protocol} port ${one.port} to two places: keep one`);
  return {
    expose,
    forward: (values.forward ?? []).map(text => parseMapping('--forward', text)),
    socks: (values.socks ?? []).map(parseSocks),
    hosts: new Map((values.host ?? []).map(parseHost)),
    isJson: values.json === true,
    level,
  };
}

/** Parses `args` by `flags`, turning each mistake into one line. Throws {@link UsageError}. */
export function parseFlags<const F extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  flags: F,
  command: string,
) {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(describeFlagError(error, flags, command), { cause: error });
  }
}

/** `PORT=HOST:PORT[/udp]`, for `--forward` with `[BIND:]` in front and port 0 for any free one. */
export function parseMapping(flag: '--expose' | '--forward', text: string): MappingOption {
  const isExpose = flag === '--expose';
  const form = isExpose
    ? 'PORT=HOST:PORT[/udp], such as 80=127.0.0.1:8080'
    : '[BIND:]PORT=HOST:PORT[/udp], such as 8080=10.0.0.1:80';
  const suffix = /\/([a-z]*)$/i.exec(text);
  const protocol = suffix === null ? 'tcp' : suffix[1]!.toLowerCase();
  if (protocol !== 'tcp' && protocol !== 'udp')
    throw new UsageError(`${flag} expected /udp or nothing at the end, got ${quote(text)}`);
  const body = suffix === null ? text : text.slice(0, suffix.index);
  const equals = body.indexOf('=');
  if (equals < 0) throw new UsageError(`${flag} expected ${form}, got ${quote(text)}`);
  const from = body.slice(0, equals);
  if (isExpose && !/^[0-9]*$/.test(from))
    throw new UsageError(`${flag} expected a port before "=", got ${quote(from)}: ${form}`);
  const { bind, port } = parseBind(flag, from, !isExpose);
  const target = splitTarget(body.slice(equals + 1));
  if (target === undefined) throw new UsageError(`${flag} expected ${form}, got ${quote(text)}`);
  const targetPort = portOf(flag, target.port, 1);
  return { protocol, bind: isExpose ? '' : bind, port, host: target.host, targetPort };
}

/** `[BIND:]PORT`. */
export function parseSocks(text: string): { bind: string; port: number } {
  return parseBind('--socks', text, true);
}

/** `NAME=ADDRESS`. */
export function parseHost(text: string): [string, string] {
  const equals = text.indexOf('=');
  const name = text.slice(0, Math.max(0, equals)).toLowerCase();
  const address = canonicalAddress(text.slice(equals + 1));
  if (!isHostName(name) || address === undefined || address.includes('%'))
    throw new UsageError(`--host expected NAME=ADDRESS, such as db.internal=10.0.0.7, got ${quote(text)}`);
  return [name, address];
}

/** Quotes an argument: short and printable. */
export function quote(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return `"${cut.replace(/[^\x20-\x7e…]/g, '?')}"`;
}

/** `[BIND:]PORT` of a flag: an address or name of this machine (IPv6 in brackets), `usual` where none is given. */
export function parseBind(
  flag: string,
  text: string,
  mayBeZero: boolean,
  usual = LOOPBACK,
): { bind: string; port: number } {
  const colon = text.lastIndexOf(':');
  const port = portOf(flag, text.slice(colon + 1), mayBeZero ? 0 : 1);
  if (colon < 0) return { bind: usual, port };
  const host = text.slice(0, colon);
  const inner = /^\[(.*)\]$/.exec(host)?.[1];
  const address = canonicalAddress(inner ?? host);
  const isBareV6 = inner === undefined && host.includes(':');
  if (address !== undefined && !isBareV6) return { bind: address, port };
  if (inner === undefined && isHostName(host)) return { bind: host, port };
  throw new UsageError(
    `${flag} expected an address of this machine before the port (IPv6 in brackets), got ${quote(host)}`,
  );
}

function splitTarget(text: string): { host: string; port: string } | undefined {
  const colon = text.lastIndexOf(':');
  if (colon <= 0) return undefined;
  const host = text.slice(0, colon);
  const inner = /^\[(.*)\]$/.exec(host)?.[1];
  const address = canonicalAddress(inner ?? host);
  if (address?.includes(':') === true)
    return inner === undefined ? undefined : { host: address, port: text.slice(colon + 1) };
  if (inner !== undefined || (address === undefined && !isHostName(host))) return undefined;
  return { host: address ?? host.toLowerCase(), port: text.slice(colon + 1) };
}

/** A port in decimal that a flag was given. Throws {@link UsageError}. */
export function portOf(flag: string, text: string, least: 0 | 1): number {
  const port = parseDecimal(text, 65535);
  if (port === undefined || port < least)
    throw new UsageError(`${flag} expected a port of ${least} to 65535, got ${quote(text)}`);
  return port;
}

function isHostName(text: string): boolean {
  if (text.length > 253 || parseAddress(text) !== undefined || /(^|\.)[0-9]+\.?$/.test(text)) return false;
  return text
    .replace(/\.$/, '')
    .split('.')
    .every(label => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label));
}

/** Whether a text is one of {@link LEVELS}. */
export function isLevel(text: string): text is Level {
  return (LEVELS as readonly string[]).includes(text);
}

function describeFlagError(error: unknown, flags: NonNullable<ParseArgsConfig['options']>, command: string): string {
  const { code, message } = error as { code?: string; message: string };
  const name = /'(-{1,2}[^ '=]+)/.exec(message)?.[1] ?? '';
  const known = Object.keys(flags).map(flag => `--${flag}`);
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const near = nearestWord(name, known);
    const hint = near === undefined ? `\`motenet help ${command}\` lists the flags` : `did you mean ${near}?`;
    return `${command} does not know the flag ${quote(name)}: ${hint}`;
  }
  const flag = known.find(candidate => message.includes(`${candidate}`)) ?? name;
  const takesValue = flags[flag.slice(2)]?.type === 'string';
  if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE')
    return takesValue ? `${flag} expected a value, got none` : `${flag} takes no value`;
  return `${command}: ${message.split('\n', 1)[0]}`;
}
