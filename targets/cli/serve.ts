/**
 * `motenet serve`: checks what can be checked, starts the coordinator, says what to do next, and ends it in order.
 * Everything that is served is in the package `motenet-server`.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Server, ServerOptions } from '../server/types.ts';
import { quote } from './args.ts';
import { codeOf, describeListenError, messageOf, RunError, UsageError } from './errors.ts';
import type { ServeOptions } from './serve-args.ts';
import type { ServeReport } from './serve-report.ts';
import type { ServerModule } from './server-module.ts';
import { plainText } from './table.ts';

/** How long an orderly end may take. */
const STOP_TIMEOUT_MS = 10_000;
/** Less left of a certificate is worth a warning. */
const EXPIRES_SOON_MS = 14 * 86_400_000;

/** What the command runs in. */
export interface ServeEnvironment {
  readonly version: string;
  readonly report: ServeReport;
  readonly load: () => Promise<ServerModule>;
  /** Resolves with the reason when the command is to end. */
  readonly stopped: Promise<string>;
  /** Calls the listener whenever files are to be read again. */
  readonly onReload?: (listener: () => void) => void;
}

/** Runs until `stopped`. Rejects with {@link UsageError} for wrong files and with {@link RunError} for failures. */
export async function runServe(options: ServeOptions, environment: ServeEnvironment): Promise<void> {
  const { report, load, stopped, version } = environment;
  const tls = options.tls === undefined ? undefined : readTls(options, report);
  const { startServer } = await load();
  report('start', { version, dataDir: options.dataDir });
  const startedMs = performance.now();
  const server = await startServer(serverOptions(options, tls, report)).catch((error: unknown) => {
    throw startError(error, options);
  });
  try {
    if (options.policies.length > 0) environment.onReload?.(() => reload(server, report));
    tellReady(server, options, report);
    const reason = await Promise.race([stopped, server.failed]);
    if (typeof reason !== 'string') throw new RunError(`the coordinator has stopped: ${messageOf(reason)}`);
    report('stopping', { reason });
  } finally {
    await closeInTime(server);
  }
  report('stopped', { uptimeMs: Math.round(performance.now() - startedMs) });
}

function serverOptions(
  { dataDir, listen, url, stunPort, relayPort, policies }: ServeOptions,
  tls: ServerOptions['tls'],
  report: ServeReport,
): ServerOptions {
  return {
    ...{ dataDir, listen, stunPort, relayPort },
    ...(url === undefined ? {} : { url }),
    ...(tls === undefined ? {} : { tls }),
    ...(policies.length === 0 ? {} : { policies }),
    log: (level, message, details = {}) => {
      report('log', { level, message: plainText(message), details });
    },
  };
}

function tellReady(server: Server, options: ServeOptions, report: ServeReport): void {
  const { url, address, stunPort = null, relayPort = null } = server;
  const { dataDir } = options;
  const { hostname } = new URL(url);
  const isEverywhere = options.listen.host === '0.0.0.0' || options.listen.host === '::';
  if (isEverywhere && isOwnMachine(hostname))
    report('warning', { message: `only this machine reaches ${url}: --url says how others reach it` });
  report('ready', { url, address: address.host, port: address.port, stunPort, relayPort, dataDir });
  const data = options.isDataTold ? ` --data ${shellWord(dataDir)}` : '';
  report('next', { what: 'make a key to join with', command: `motenet keys create${data}` });
  report('next', { what: 'join with a mote', command: `motenet up --control ${url} --authkey KEY` });
  report('next', { what: 'join with Tailscale', command: `tailscale up --login-server ${url} --authkey KEY` });
  report('next', { what: 'see who has joined', command: `motenet devices list${data}` });
}

async function closeInTime(server: Server): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `the coordinator did not end within ${STOP_TIMEOUT_MS / 1000} s`;
    timer = setTimeout(() => reject(new RunError(message)), STOP_TIMEOUT_MS);
  });
  try {
    await Promise.race([server.close(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Reads certificate and key; refuses what no client could use, and warns of what some cannot. */
function readTls({ tls, url, listen }: ServeOptions, report: ServeReport): { cert: string; key: string } {
  const [cert, key] = [readPem('--tls-cert', tls!.certFile), readPem('--tls-key', tls!.keyFile)];
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch (cause) {
    throw new UsageError(`--tls-cert ${quote(tls!.certFile)} is not a certificate in PEM`, { cause });
  }
  let isPair: boolean;
  try {
    isPair = certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw new UsageError(`--tls-key ${quote(tls!.keyFile)} is not a private key in PEM without a password`); // the cause may show the key
  }
  if (!isPair) throw new UsageError('--tls-key is not the key of --tls-cert: give those that belong together');
  const host = url === undefined ? listen.host : new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
  for (const message of certificateWarnings(certificate, host, Date.now())) report('warning', { message });
  return { cert, key };
}

/** What is wrong with a certificate for `host` at `nowMs`, one line each. */
export function certificateWarnings(certificate: X509Certificate, host: string, nowMs: number): string[] {
  const warnings: string[] = [];
  const endMs = Date.parse(certificate.validTo);
  if (endMs <= nowMs) warnings.push(`the certificate has expired (${certificate.validTo}): no device will join`);
  else if (endMs - nowMs < EXPIRES_SOON_MS) warnings.push(`the certificate expires soon (${certificate.validTo})`);
  const isAll = host === '0.0.0.0' || host === '::';
  const isFor = isAll || (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
  if (!isFor) warnings.push(`the certificate is not for ${host}: no device will join`);
  if (certificate.issuer === certificate.subject)
    warnings.push('the certificate is signed by itself: devices join only where it is installed as an authority');
  return warnings;
}

function readPem(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = codeOf(cause);
    if (code === 'ENOENT') throw new UsageError(`${flag}: there is no file ${quote(path)}`, { cause });
    if (code === 'EACCES') throw new UsageError(`${flag}: no permission to read ${quote(path)}`, { cause });
    throw new UsageError(`${flag}: cannot read ${quote(path)}: ${messageOf(cause)}`, { cause });
  }
}

/** Reads policies again; what became of them is in the log. */
function reload(server: Server, report: ServeReport): void {
  server.readPolicies().catch((error: unknown) => {
    report('warning', { message: `the policy files could not be read: ${plainText(messageOf(error))}` });
  });
}

/** A policy file that is refused where nothing could stay in force is a mistake in it. */
function startError(error: unknown, options: ServeOptions): Error {
  const details: unknown = (error as { details?: unknown } | undefined)?.details;
  if (!Array.isArray(details)) return new RunError(describeStart(error, options), { cause: error });
  return new UsageError(plainText(messageOf(error)), { cause: error });
}

function describeStart(error: unknown, { listen }: ServeOptions): string {
  const system = [error, (error as Error).cause].find(one => (one as NodeJS.ErrnoException)?.syscall !== undefined);
  const {
    address = listen.host,
    port = listen.port,
    syscall,
  } = (system ?? {}) as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  if (syscall !== 'listen' && syscall !== 'bind') return messageOf(error);
  const flag = syscall === 'bind' ? '--stun-port' : port === listen.port ? '--listen' : '--relay-port';
  return describeListenError(system, address, port, flag);
}

function isOwnMachine(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.[0-9]+){3}$/.test(host);
}

/** A word as a shell takes it. */
function shellWord(text: string): string {
  return /^[A-Za-z0-9_./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
