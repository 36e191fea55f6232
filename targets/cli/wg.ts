/**
 * `motenet wg FILE.conf`: brings a mote up from a wg-quick file and runs the services that the flags ask for, until a
 * signal comes. Everything that can be checked is checked before anything is opened.
 */
import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { canonicalAddress, parseAddress, parsePrefix, prefixContains } from '../../lib/base/address.ts';
import { parseWgConfig, WG_CONFIG_LIMIT, type WgConfig, WgConfigError } from '../../lib/mote/wg-config.ts';
import type { MoteEvent, MoteOptions } from '../node/index.ts';
import { quote, type WgOptions } from './args.ts';
import { codeOf, messageOf, RunError, UsageError } from './errors.ts';
import type { Report } from './report.ts';
import { type CommandMote, openToOthers, shutDown, startServices, Stopper, watchMote } from './services.ts';
import { SERVICE_LIMITS, type Service, type ServiceContext } from './tunnel.ts';

/** Events of a mote that do not end the command: it goes on trying. */
const PASSING_ERRORS: readonly string[] = /* @__PURE__ */ Object.freeze(['ERR_NAME_NOT_FOUND', 'ERR_STORE']);

/** What the command runs in. */
export interface WgEnvironment {
  readonly version: string;
  readonly report: Report;
  up(options: MoteOptions): Promise<CommandMote>;
  /** The text of standard input. */
  readInput(): Promise<string>;
  /** Resolves with the reason when the command is to end. */
  readonly stopped: Promise<string>;
}

/**
 * Runs until `stopped`. Rejects with {@link UsageError} for mistakes in the file or the flags and with {@link RunError}
 * for failures; whatever was opened is closed then.
 */
export async function runWg(options: WgOptions, environment: WgEnvironment): Promise<void> {
  const { report, stopped } = environment;
  const flow = new Stopper(stopped);
  const watch = watchMote(report, code => PASSING_ERRORS.includes(code));
  const starting = load(options, environment).then(async ({ config, tell }) => {
    const mote = await bringUp(config, options, environment, watch.onEvent);
    tell();
    return mote;
  });
  const mote = await flow.until(starting);
  if (mote === undefined) return;
  const services: Service[] = [];
  try {
    const { suite, mtu, peers } = mote.status();
    const { publicKey, addresses, listenPort } = mote;
    report('up', { publicKey, addresses, listenPort, mtu, suite, peers: peers.length });
    const context: ServiceContext = { tunnel: mote, report, limits: SERVICE_LIMITS, resolveInside: resolver(options) };
    await startServices(options, context, services, () => flow.isStopped);
    if (!flow.isStopped)
      report('ready', { publicKey, addresses, listenPort, services: services.map(({ info }) => info) });
    const reason = await Promise.race([stopped, watch.failed]);
    report('stopping', { reason });
  } finally {
    await shutDown(mote, services, report);
  }
}

/** Reads and checks the file. `tell` says what is odd about it, for when it is known to work: a mistake is told alone. */
async function load(options: WgOptions, environment: WgEnvironment): Promise<{ config: WgConfig; tell(): void }> {
  const { file } = options;
  const { report } = environment;
  const name = file === '-' ? 'standard input' : file;
  const { text, mode } = file === '-' ? { text: await environment.readInput(), mode: 0 } : readConfigFile(file);
  let config: WgConfig;
  try {
    config = parseWgConfig(text);
  } catch (error) {
    if (!(error instanceof WgConfigError)) throw error;
    throw new UsageError(`${name}${error.line > 0 ? ' ' : ': '}${error.message}`, { cause: error });
  }
  const messages = warnings(config, options);
  if ((mode & 0o077) !== 0)
    messages.unshift(
      `${name} holds a private key and others may read it (mode ${mode.toString(8)}): chmod 600 ${name}`,
    );
  const tell = () => {
    report('start', { version: environment.version, file: name });
    for (const { line, key, why } of config.ignored) report('ignored', { line, key, why });
    for (const message of messages) report('warning', { message });
  };
  return { config, tell };
}

/** The text of a file, and its permissions (0 where there are none to speak of). */
function readConfigFile(file: string): { text: string; mode: number } {
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) throw new UsageError(`${quote(file)} is a folder: give the path of a wg-quick file`);
    if (stat.size > WG_CONFIG_LIMIT)
      throw new UsageError(
        `${quote(file)} has ${stat.size} bytes: expected a wg-quick file of at most ${WG_CONFIG_LIMIT}`,
      );
    const hasMode = process.platform !== 'win32' && stat.isFile();
    return { text: readFileSync(file, 'utf8'), mode: hasMode ? stat.mode & 0o777 : 0 };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(describeReadError(error, file), { cause: error });
  }
}

function describeReadError(error: unknown, file: string): string {
  const code = codeOf(error);
  if (code === 'EACCES' || code === 'EPERM')
    return `no permission to read ${quote(file)}: run as its owner, or copy it`;
  if (code !== 'ENOENT' && code !== 'ENOTDIR') return `cannot read ${quote(file)}: ${messageOf(error)}`;
  const isName = /^[A-Za-z0-9_=+.-]{1,15}$/.test(file) && !file.endsWith('.conf');
  const hint = isName ? `give a path, such as /etc/wireguard/${basename(file)}.conf` : 'check the path';
  return `there is no file ${quote(file)}: ${hint}`;
}

/** What works, but probably not as meant. */
function warnings(config: WgConfig, options: WgOptions): string[] {
  const out: string[] = [];
  if (config.peers.length === 0) out.push('the file has no [Peer]: nobody can be reached');
  if (config.dns.length + config.dnsSearch.length > 0 && options.socks.length > 0)
    out.push('DNS of the file is not asked: --socks knows addresses and the names of --host');
  if (options.expose.length > 0 && config.listenPort === undefined)
    for (const { endpoint, persistentKeepaliveMs } of config.peers)
      if (endpoint !== undefined && persistentKeepaliveMs === 0)
        out.push(
          `the peer at ${endpoint} cannot reach --expose before this side sends something: add PersistentKeepalive = 25 to it`,
        );
  out.push(...openToOthers(options));
  const prefixes = [
    ...config.peers.flatMap(peer => peer.allowedIPs),
    ...config.addresses.map(text => text.split('/')[0]!),
  ];
  const inside = prefixes.map(text => parsePrefix(text)!);
  for (const { host } of options.forward) {
    const address = resolver(options)(host);
    const bytes = address === undefined ? undefined : parseAddress(address);
    if (bytes === undefined)
      throw new UsageError(`--forward to ${quote(host)}: not an address, and no --host ${host}=ADDRESS says which`);
    if (!inside.some(prefix => prefix.bytes.length === bytes.length && prefixContains(prefix, bytes)))
      out.push(`--forward to ${address}: no peer's AllowedIPs contain it, so connections will fail`);
  }
  return out;
}

async function bringUp(
  config: WgConfig,
  options: WgOptions,
  environment: WgEnvironment,
  onEvent: (event: MoteEvent) => void,
): Promise<CommandMote> {
  const { ignored: _ignored, dns: _dns, dnsSearch: _search, ...moteOptions } = config;
  try {
    return await environment.up({ ...moteOptions, hosts: Object.fromEntries(options.hosts), onEvent });
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError)
      throw new UsageError(`${options.file === '-' ? 'standard input' : options.file}: ${messageOf(error)}`, {
        cause: error,
      });
    const text =
      codeOf(error) === 'ERR_ADDRESS_IN_USE'
        ? `UDP port ${config.listenPort} is in use: stop the program that has it (a kernel interface of the same file?) or change ListenPort`
        : messageOf(error);
    throw new RunError(text, { cause: error });
  }
}

function resolver(options: WgOptions): (host: string) => string | undefined {
  return host => canonicalAddress(host) ?? options.hosts.get(host.toLowerCase().replace(/\.$/, ''));
}
