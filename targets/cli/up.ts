/**
 * `motenet up`: joins a tailnet, runs the services that the flags ask for, and answers `motenet status` and the others
 * through a socket in its state folder, until a signal or `motenet logout` comes.
 */
import { readFileSync } from 'node:fs';
import type { NetcheckStatus } from '../../lib/netcheck/summary.ts';
import type { Store } from '../../lib/ports.ts';
import type { MoteEvent, MoteStatus, PathPing, TailnetMoteOptions, Whois } from '../node/index.ts';
import { codeOf, messageOf, RunError, UsageError } from './errors.ts';
import { InsideNames } from './inside-names.ts';
import { pathAnswer } from './ping.ts';
import type { Report } from './report.ts';
import { type CommandMote, openToOthers, shutDown, startServices, Stopper, watchMote } from './services.ts';
import { prepareState, socketPath } from './state.ts';
import type { UpStatus } from './state-protocol.ts';
import { type StateHandler, type StateServer, serveState } from './state-server.ts';
import { SERVICE_LIMITS, type Service } from './tunnel.ts';
import { AUTH_KEY_VARIABLE, checkAuthKey, type UpOptions } from './up-args.ts';

/** Longest file of certificates: more than all public authorities together. */
const CA_LIMIT_BYTES = 4 << 20;

/** The mote as this command uses it. */
export interface UpMote extends CommandMote {
  ping(host: string, options: { timeoutMs: number }): Promise<number>;
  pingPath(host: string, options: { timeoutMs: number }): Promise<PathPing>;
  whois(address: string): Whois | undefined;
  /** Checks the network now. */
  netcheck(): Promise<NetcheckStatus>;
  /** Leaves the tailnet and closes. */
  logout(): Promise<void>;
}

/** What the command runs in. */
export interface UpEnvironment {
  readonly version: string;
  readonly pid: number;
  readonly report: Report;
  /** Joins; resolves once the device is a member. */
  up(options: TailnetMoteOptions): Promise<UpMote>;
  createStore(directory: string): Store;
  /** The text of standard input. */
  readInput(): Promise<string>;
  /** Shows a URL to be opened in a form that a camera reads; called for people only. */
  showCode(url: string): void;
  unixMs(): number;
  /** Resolves with the reason when the command is to end. */
  readonly stopped: Promise<string>;
}

/**
 * Runs until `stopped`, or until `motenet logout`. Rejects with {@link UsageError} for mistakes in the flags, the state
 * folder or the files, and with {@link RunError} for failures; whatever was opened is closed then.
 */
export async function runUp(options: UpOptions, environment: UpEnvironment): Promise<void> {
  const { report, stopped } = environment;
  prepareState(options.stateDir);
  const authKey = await readAuthKey(options, environment);
  const authorities = readAuthorities(options.caFile);
  const run = new UpRun(options, environment);
  const socket = await serveState(socketPath(options.stateDir), run);
  try {
    report('joining', { version: environment.version, control: options.control, stateDir: options.stateDir });
    for (const message of warnings(options)) report('warning', { message });
    const reason = await run.join(authKey, authorities, Promise.race([stopped, run.loggedOut]));
    if (reason !== undefined) report('stopping', { reason });
  } finally {
    await run.end(socket);
  }
}

/** What one run of the command knows, and what it answers to the socket. */
class UpRun implements StateHandler {
  readonly loggedOut: Promise<string>;
  readonly #options: UpOptions;
  readonly #environment: UpEnvironment;
  readonly #startedUnixMs: number;
  readonly #services: Service[] = [];
  readonly #names: InsideNames;
  #mote: UpMote | undefined;
  #state = 'starting';
  #authUrl: string | null = null;
  #trouble: UpStatus['trouble'] = null;
  /** What the mote had carried before it was logged out, which closes it. */
  #lastStatus: MoteStatus | undefined;
  #resolveLoggedOut: (reason: string) => void = () => undefined;

  constructor(options: UpOptions, environment: UpEnvironment) {
    this.#options = options;
    this.#environment = environment;
    this.#startedUnixMs = environment.unixMs();
    this.#names = new InsideNames(options.hosts, () => this.#mote?.status().tailnet);
    this.loggedOut = new Promise(resolve => {
      this.#resolveLoggedOut = resolve;
    });
  }

  /** Joins, runs the services and waits for the end; resolves with its reason, undefined when it came before joining. */
  async join(authKey: string | undefined, authorities: string | undefined, stopped: Promise<string>) {
    const { report } = this.#environment;
    const flow = new Stopper(stopped);
    const abort = new AbortController();
    void stopped.then(() => abort.abort());
    const watch = watchMote(report, code => code !== 'ERR_CLOSED');
    const mote = await flow.until(this.#up(authKey, authorities, abort.signal, watch.onEvent));
    if (mote === undefined) return undefined;
    this.#mote = mote;
    const { suite, mtu, tailnet } = mote.status();
    const { publicKey, addresses, listenPort } = mote;
    const { name = '', domain = '', user = null, peers = [] } = tailnet ?? {};
    report('joined', { name, domain, user, addresses, peers: peers.length });
    report('up', { publicKey, addresses, listenPort, mtu, suite, peers: peers.length });
    const resolveInside = (host: string) => this.#names.resolve(host);
    const context = { tunnel: mote, report, limits: SERVICE_LIMITS, resolveInside };
    await Promise.race([startServices(this.#options, context, this.#services, () => flow.isStopped), watch.failed]);
    const services = this.#services.map(({ info }) => info);
    if (!flow.isStopped) report('ready', { publicKey, addresses, listenPort, services });
    return Promise.race([stopped, watch.failed]);
  }

  /** Closes what is open. */
  async end(socket: StateServer): Promise<void> {
    const mote = this.#mote;
    try {
      if (mote !== undefined) await shutDown(mote, this.#services, this.#environment.report, this.#lastStatus);
    } finally {
      await socket.close();
    }
  }

  async #up(
    authKey: string | undefined,
    authorities: string | undefined,
    signal: AbortSignal,
    onEvent: (event: MoteEvent) => void,
  ): Promise<UpMote> {
    const { control, name, isEphemeral, stateDir, hosts } = this.#options;
    const watch = (event: MoteEvent) => {
      this.#note(event);
      onEvent(event);
      if (event.type === 'auth-url' && !this.#options.isJson) this.#environment.showCode(event.url);
    };
    try {
      return await this.#environment.up({
        control,
        isEphemeral,
        store: this.#environment.createStore(stateDir),
        hosts: Object.fromEntries(hosts),
        signal,
        onEvent: watch,
        ...(name === undefined ? {} : { name }),
        ...(authKey === undefined ? {} : { authKey }),
        ...(authorities === undefined ? {} : { authorities }),
      });
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError)
        throw new UsageError(messageOf(error), { cause: error });
      throw new RunError(describeJoinError(error, authKey !== undefined), { cause: error });
    }
  }

  #note(event: MoteEvent): void {
    if (event.type === 'netmap') this.#names.forget();
    if (event.type === 'auth-url') this.#authUrl = event.url;
    // A relay hinders nobody from becoming a member; before that it may refuse this device.
    if (event.type === 'error' && event.message.startsWith('relay ')) return;
    if (event.type === 'error') this.#trouble = { code: event.code, message: event.message };
    else this.#trouble = null;
    if (event.type !== 'state') return;
    this.#state = event.state;
    if (event.state !== 'needs-login') this.#authUrl = null;
  }

  status(): UpStatus {
    const { version, pid } = this.#environment;
    return {
      version,
      pid,
      startedUnixMs: this.#startedUnixMs,
      control: this.#options.control,
      state: this.#state,
      authUrl: this.#authUrl,
      trouble: this.#mote === undefined ? this.#trouble : null,
      services: this.#services.map(({ info }) => info),
      mote: this.#mote?.status() ?? null,
    };
  }

  async netcheck() {
    return this.#joined().netcheck();
  }

  whois(address: string) {
    return this.#joined().whois(address) ?? null;
  }

  async ping(name: string, timeoutMs: number) {
    const mote = this.#joined();
    const address = this.#address(name);
    return { address, ms: await mote.ping(address, { timeoutMs }) };
  }

  async pingPath(name: string, timeoutMs: number) {
    const mote = this.#joined();
    const address = this.#address(name);
    return pathAnswer(address, await mote.pingPath(address, { timeoutMs }));
  }

  async dial(name: string, port: number, timeoutMs: number, signal: AbortSignal) {
    return this.#joined().dial(this.#address(name), port, { timeoutMs, signal });
  }

  async logout(): Promise<() => void> {
    const mote = this.#joined();
    if (this.#lastStatus !== undefined) throw new RunError('`motenet logout` is under way already');
    this.#lastStatus = mote.status();
    try {
      await mote.logout();
    } catch (error) {
      this.#lastStatus = undefined;
      throw error;
    }
    return () => this.#resolveLoggedOut('logged out');
  }

  #joined(): UpMote {
    if (this.#mote !== undefined) return this.#mote;
    const next = this.#authUrl === null ? 'see `motenet status`' : `open ${this.#authUrl}`;
    throw new RunError(`this device is not a member yet (${this.#state}): ${next}`);
  }

  /** An address, or the name itself for the mote to judge. */
  #address(name: string): string {
    return this.#names.resolve(name) ?? name;
  }
}

async function readAuthKey({ authKey }: UpOptions, environment: UpEnvironment): Promise<string | undefined> {
  if (authKey === undefined || authKey.from !== 'file') return authKey?.key;
  const { path } = authKey;
  const text = path === '-' ? await environment.readInput() : readText(path, '--authkey-file', 4096);
  return checkAuthKey(text, path === '-' ? 'standard input' : path);
}

function readAuthorities(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const text = readText(path, '--ca', CA_LIMIT_BYTES);
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new UsageError(`--ca expected a file with certificates in PEM, ${path} has none`);
}

function readText(path: string, flag: string, limit: number): string {
  try {
    const bytes = readFileSync(path);
    if (bytes.length <= limit) return bytes.toString('utf8');
  } catch (error) {
    throw new UsageError(`${flag}: cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  throw new UsageError(`${flag}: ${path} has more than ${limit} bytes`);
}

function warnings(options: UpOptions): string[] {
  const out = openToOthers(options);
  if (options.authKey?.from === 'flag')
    out.unshift(
      `others on this machine can see an auth key of the command line: give it by --authkey-file or ${AUTH_KEY_VARIABLE}`,
    );
  return out;
}

/** Why joining failed, with the next step. */
function describeJoinError(error: unknown, hasAuthKey: boolean): string {
  const code = codeOf(error);
  if (code === 'ERR_LOGIN')
    return `${messageOf(error)}: ${hasAuthKey ? 'ask for a new auth key' : 'log in again, or use an auth key'}`;
  return messageOf(error);
}
