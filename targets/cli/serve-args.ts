/** Arguments of `motenet serve`. */
import { resolve } from 'node:path';
import { FIRST_TAILNET } from '../../lib/coordinator/model.ts';
import { isLabel } from '../server/admin-syntax.ts';
import type { PolicyFile } from '../server/types.ts';
import { type Environment, usualDataDir } from './admin-args.ts';
import { isLevel, parseBind, parseFlags, portOf, quote } from './args.ts';
import { UsageError } from './errors.ts';
import { LEVELS, type Level } from './report.ts';

/** What `motenet serve` was told. */
export interface ServeOptions {
  readonly dataDir: string;
  /** `--data` was given: the next steps name it, too. */
  readonly isDataTold: boolean;
  readonly listen: { readonly host: string; readonly port: number };
  readonly url: string | undefined;
  /** Paths of certificate and key. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** Undefined: the usual port; -1: none. */
  readonly stunPort: number | undefined;
  readonly relayPort: number | undefined;
  /** Files that policies are taken from, at most one for each tailnet. */
  readonly policies: readonly PolicyFile[];
  readonly isJson: boolean;
  readonly level: Level;
}

const FLAGS = {
  data: { type: 'string' },
  listen: { type: 'string' },
  url: { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'relay-port': { type: 'string' },
  'stun-port': { type: 'string' },
  policy: { type: 'string', multiple: true },
  json: { type: 'boolean' },
  log: { type: 'string' },
  verbose: { type: 'boolean', short: 'v' },
  debug: { type: 'boolean' },
} as const;
const ANY_ADDRESS = '0.0.0.0';
const USUAL_PORT = 8080;

/** Parses what follows `motenet serve`. Throws {@link UsageError}. */
export function parseServeArgs(args: readonly string[], environment: Environment): ServeOptions {
  const { values, positionals } = parseFlags(args, FLAGS, 'serve');
  if (positionals.length > 0) throw new UsageError(`serve takes no arguments, got ${quote(positionals[0]!)}`);
  const level = values.log ?? (values.verbose === true ? 'debug' : 'info');
  if (!isLevel(level)) throw new UsageError(`--log expected ${LEVELS.join(', ')}, got ${quote(level)}`);
  if (values.data === '') throw new UsageError('--data expected a folder, got an empty path');
  const { bind, port } =
    values.listen === undefined
      ? { bind: ANY_ADDRESS, port: USUAL_PORT }
      : parseBind('--listen', values.listen, true, ANY_ADDRESS);
  const [certFile, keyFile] = [values['tls-cert'], values['tls-key']];
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new UsageError(`${certFile === undefined ? '--tls-key' : '--tls-cert'} needs the other: give both`);
  const tls = certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
  const relayPort = values['relay-port'];
  if (relayPort !== undefined && tls !== undefined)
    throw new UsageError('--relay-port and --tls-cert exclude each other: with a certificate the relay is on --listen');
  const url = values.url === undefined ? undefined : parseUrl(values.url);
  if (url?.startsWith('http:') === true && tls !== undefined)
    throw new UsageError(`--url expected https://, since there is a certificate, got ${quote(url)}`);
  const stunPort = values['stun-port'];
  return {
    ...{ dataDir: values.data === undefined ? usualDataDir(environment) : resolve(values.data) },
    ...{ isDataTold: values.data !== undefined, listen: { host: bind, port }, url, tls },
    stunPort: stunPort === undefined ? undefined : stunPort === 'off' ? -1 : portOf('--stun-port', stunPort, 0),
    relayPort: relayPort === undefined ? undefined : portOf('--relay-port', relayPort, 0),
    ...{ policies: parsePolicies(values.policy ?? []), isJson: values.json === true, level },
  };
}

/** `FILE` or `TAILNET=FILE`, each. What is before a `=` and cannot be the name of a tailnet is part of the path. */
function parsePolicies(texts: readonly string[]): readonly PolicyFile[] {
  const policies = texts.map(text => {
    const [, name = '', rest = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    const isNamed = isLabel(name);
    const path = isNamed ? rest : text;
    if (path === '') throw new UsageError(`--policy expected FILE or TAILNET=FILE, got ${quote(text)}`);
    return { tailnet: isNamed ? name : FIRST_TAILNET, path: resolve(path) };
  });
  const twice = policies.find(({ tailnet }, i) => policies.findIndex(other => other.tailnet === tailnet) !== i);
  if (twice !== undefined) throw new UsageError(`--policy gives the tailnet ${twice.tailnet} two files: keep one`);
  return policies;
}

/** A URL of a host, with or without a port, and nothing else; without a slash at the end. */
function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isWeb = url?.protocol === 'http:' || url?.protocol === 'https:';
  if (url !== undefined && isWeb && url.href === `${url.protocol}//${url.host}/`) return url.href.slice(0, -1);
  throw new UsageError(
    `--url expected http:// or https:// with a host and nothing behind it, such as https://net.example, got ${quote(text)}`,
  );
}
