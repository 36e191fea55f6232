/** Flags of the administration commands: how they are parsed, what the help says, and how their values are read. */
import type { ParseArgsConfig } from 'node:util';
import { formatPrefix, parseAddress, parsePrefix } from '../../lib/base/address.ts';
import { equalBytes } from '../../lib/base/bytes.ts';
import { FIRST_TAILNET } from '../../lib/coordinator/model.ts';
import { isTag } from '../server/admin-syntax.ts';
import { quote } from './args.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { UsageError } from './errors.ts';

/** A flag: how it is parsed and what the help says. */
export interface AdminFlag {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  /** Name of the value in the help. */
  readonly value?: string;
  readonly help: string;
}

/** Values of flags by name, as they were given. */
export type FlagValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** The tailnet that a command is about. */
export const TAILNET: AdminFlag = /* @__PURE__ */ Object.freeze({
  type: 'string',
  value: 'NAME',
  help: `Tailnet that this is about; ${FIRST_TAILNET} unless told.`,
});

/** Flags of `parseArgs` out of ours. */
export function parserFlags(flags: Readonly<Record<string, AdminFlag>>): NonNullable<ParseArgsConfig['options']> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, { type, multiple = false }]) => [name, { type, multiple }]),
  );
}

/** An object with one field, or with none where there is no value. */
export function given<const N extends string, T>(name: N, value: T | undefined): { [K in N]?: T } {
  return (value === undefined ? {} : { [name]: value }) as { [K in N]?: T };
}

/** The value of a flag that has one. */
export function textOf(values: FlagValues, name: string): string | undefined {
  return values[name] as string | undefined;
}

/** The value of `--tailnet`, or the first tailnet. */
export function tailnetOf(values: FlagValues): string {
  return textOf(values, 'tailnet') ?? FIRST_TAILNET;
}

/** The tailnet, or empty for the whole server. */
export function scopeOf(values: FlagValues): string {
  if (values['server'] !== true) return tailnetOf(values);
  if (values['tailnet'] !== undefined) throw new UsageError('--server and --tailnet exclude each other: give one');
  return '';
}

/** A time such as 90d, in ms, at most `limitMs`. */
export function durationOf(values: FlagValues, name: string, limitMs: number): number | undefined {
  const text = textOf(values, name);
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new UsageError(
      `--${name} expected a time such as 30m, 12h or 90d (units s, m, h, d, w, y), got ${quote(text)}`,
    );
  if (ms > limitMs) throw new UsageError(`--${name} expected at most ${formatDuration(limitMs)}, got ${quote(text)}`);
  return ms;
}

/** A whole number from `least` to `most`. */
export function wholeNumberOf(values: FlagValues, name: string, most: number, least = 1): number | undefined {
  const text = textOf(values, name);
  if (text === undefined) return undefined;
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`--${name} expected a whole number from ${least} to ${most}, got ${quote(text)}`);
}

/** `server` and `tag:server` alike as `tag:server`. `what` is where it stands. */
export function tagOf(what: string, text: string): string {
  const tag = text.startsWith('tag:') ? text : `tag:${text}`;
  if (isTag(tag)) return tag;
  throw new UsageError(
    `${what} expected lower-case letters, digits and - that begin with a letter, such as server, got ${quote(text)}`,
  );
}

/** Routes of a list with commas, in canonical form, each once; `exit` is the two of an exit node. */
export function routesOf(flag: string, text: string): readonly string[] {
  const routes = text.split(',').flatMap(part => {
    const route = part.trim();
    if (route === 'exit') return ['0.0.0.0/0', '::/0'];
    const prefix = parsePrefix(route);
    if (prefix === undefined)
      throw new UsageError(`${flag} expected prefixes such as 10.0.0.0/8, or exit, got ${quote(route)}`);
    const written = parseAddress(route.split('/', 1)[0]!)!;
    if (equalBytes(written, prefix.bytes)) return [formatPrefix(prefix)];
    throw new UsageError(`${flag}: ${quote(route)} has host bits: write ${formatPrefix(prefix)}`);
  });
  return [...new Set(routes)];
}
