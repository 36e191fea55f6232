/**
 * Who answers administration commands: a coordinator that runs on this machine (through the socket in its data folder),
 * one elsewhere (URL and token), or, when none runs, the data folder itself.
 */
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createWriteStream, existsSync, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AdminCommand } from '../../lib/coordinator/commands.ts';
import type { AdminContext, AuditQuery, AuditRow } from '../server/types.ts';
import { codeOf, messageOf, RunError, UsageError } from './errors.ts';
import type { ServerModule } from './server-module.ts';

/** Longest answer that is read: 64 MiB, a list of some hundred thousand devices. */
const ANSWER_LIMIT_BYTES = 67_108_864;
/** Silence after which an answer is no longer waited for. */
const TIMEOUT_MS = 30_000;
/** How long a data folder that somebody else holds is waited for, and how often it is tried. */
const PATIENCE_MS = 10_000;
const RETRY_MS = 100;
/** Names of the socket and the database in a data folder. */
const SOCKET = 'admin.sock';
const DATABASE = 'coordinator.db';

/** What commands are put to. */
export interface AdminClient {
  /** The value of an outcome. Rejects with {@link AdminRefusal}, {@link UsageError} or {@link RunError}. */
  command(command: AdminCommand): Promise<unknown>;
  audit(query: AuditQuery): Promise<readonly AuditRow[]>;
  /** What the coordinator says of itself; of one that does not run, what its data say. */
  status(): Promise<CoordinatorReport>;
  /** Writes a copy of the database to a new file at `path`, mode 0600; its size in bytes. */
  backup(path: string): Promise<number>;
  close(): Promise<void>;
}

/** The status of a server; where none runs, of its data alone. */
export type CoordinatorReport = ReturnType<AdminContext['status']>;

/** A refusal of the coordinator. */
export class AdminRefusal extends RunError {
  /** `not-found`, `conflict`, `forbidden`, `unauthorized`, `tests-failed`, … */
  readonly code: string;
  /** Of a policy: what is wrong with it, or the tests that fail, one line each. */
  readonly details: readonly string[];

  constructor(code: string, message: string, details: readonly string[] = []) {
    super(message);
    this.name = 'AdminRefusal';
    this.code = code;
    this.details = details;
  }
}

/** Where the coordinator is. */
export type AdminPlace = { readonly dataDir: string } | { readonly url: URL; readonly token: string };

/**
 * Finds who answers. `load` brings the package of the coordinator, for a data folder that no coordinator serves. One that
 * is just starting, or another command, is waited for.
 */
export async function openAdmin(
  place: AdminPlace,
  load: () => Promise<ServerModule>,
  patienceMs = PATIENCE_MS,
): Promise<AdminClient> {
  if ('url' in place) return httpClient(place);
  const { dataDir } = place;
  const endMs = performance.now() + patienceMs;
  for (;;) {
    const running = httpClient({ socketPath: join(dataDir, SOCKET) });
    if (existsSync(join(dataDir, SOCKET)) && (await running.isThere())) return running;
    if (!existsSync(join(dataDir, DATABASE)))
      throw new RunError(
        `no coordinator has its data in ${dataDir}: start one with \`motenet serve\`, or say where with --data or --admin`,
      );
    const { openOffline } = await load();
    try {
      return offlineClient(await openOffline(dataDir));
    } catch (error) {
      const isHeld = codeOf((error as Error).cause) === 'SQLITE_BUSY';
      if (!isHeld || performance.now() >= endMs) throw error;
      await sleep(RETRY_MS);
    }
  }
}

type Target = { readonly socketPath: string } | { readonly url: URL; readonly token: string };

/** Asks over HTTP. Redirections are not followed: the token is for this place alone. */
function httpClient(target: Target): AdminClient & { isThere(): Promise<boolean> } {
  const ask = async (method: 'GET' | 'POST', path: string, body?: unknown) => {
    const response = await send(target, method, path, body === undefined ? undefined : JSON.stringify(body));
    if (response.statusCode !== 200) throw await refusal(target, response);
    return response;
  };
  const askJson = async (method: 'GET' | 'POST', path: string, body?: unknown) => {
    const text = await readText(await ask(method, path, body), nameOf(target));
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw new RunError(`${nameOf(target)} did not answer with JSON: is it a coordinator?`, { cause });
    }
  };
  return {
    command: command => askJson('POST', 'command', command),
    audit: async query => {
      const entries = Object.entries(query).filter(([, value]) => value !== undefined);
      const search = new URLSearchParams(entries.map(([name, value]): [string, string] => [name, String(value)]));
      return (await askJson('GET', `audit?${search}`)) as AuditRow[];
    },
    status: async () => (await askJson('GET', 'status')) as CoordinatorReport,
    backup: async path => saveBody(await ask('POST', 'backup'), path),
    close: async () => undefined,
    isThere: async () => {
      try {
        (await send(target, 'GET', '', undefined)).destroy(); // any answer will do
        return true;
      } catch (error) {
        const cause = (error as Error).cause ?? error;
        if (['ECONNREFUSED', 'ENOENT', 'ENOTSOCK'].includes(codeOf(cause))) return false; // left behind
        throw error;
      }
    },
  };
}

function offlineClient(context: AdminContext & { close(): Promise<void> }): AdminClient {
  return {
    command: async command => {
      const outcome = await context.command({ name: 'admin', tailnet: undefined }, command);
      if (outcome.isOk) return outcome.value;
      throw refused(outcome.code, outcome.message, outcome.details);
    },
    audit: async query => context.audit(query),
    status: async () => context.status(),
    backup: async path => {
      await context.backup(path);
      return statSync(path).size;
    },
    close: () => context.close(),
  };
}

function send(target: Target, method: string, path: string, body: string | undefined): Promise<IncomingMessage> {
  const isSocket = 'socketPath' in target;
  const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  if (!isSocket) headers['authorization'] = `Bearer ${target.token}`;
  const options: RequestOptions = {
    ...{ method, headers, agent: false, timeout: TIMEOUT_MS, path: `/api/v1/${path}` },
    ...(isSocket ? { socketPath: target.socketPath } : addressOf(target.url, path)),
  };
  const isTls = !isSocket && target.url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const request = (isTls ? httpsRequest : httpRequest)(options, resolve);
    request.on('timeout', () => request.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })));
    request.on('error', cause => reject(new RunError(describeFailure(cause, target), { cause })));
    request.end(body);
  });
}

function addressOf({ hostname, port, pathname }: URL, path: string): RequestOptions {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, ...(port === '' ? {} : { port }), path: `${pathname.replace(/\/$/, '')}/api/v1/${path}` };
}

function nameOf(target: Target): string {
  return 'socketPath' in target ? 'the coordinator on this machine' : target.url.origin;
}

function describeFailure(cause: unknown, target: Target): string {
  const code = codeOf(cause);
  const name = nameOf(target);
  if ('socketPath' in target) {
    if (code === 'EACCES' || code === 'EPERM')
      return `no permission to ask ${name}: run this as the user who runs it (${target.socketPath})`;
    return `cannot ask ${name}: ${messageOf(cause)}`;
  }
  if (code === 'ECONNREFUSED') return `nothing listens at ${name}: start the coordinator, or check --admin`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name in ${name} does not resolve: check --admin`;
  if (code === 'ETIMEDOUT') return `${name} did not answer in time`;
  if (code === 'EPROTO' || code === 'ERR_SSL_WRONG_VERSION_NUMBER')
    return `${name} does not speak TLS: try --admin ${target.url.href.replace('https:', 'http:')}`;
  if (/^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_)/.test(code))
    return `the certificate of ${name} is not trusted (${code}): NODE_EXTRA_CA_CERTS=FILE adds an authority`;
  if (code === 'ECONNRESET' || code === 'HPE_INVALID_CONSTANT')
    return `${name} broke off: is it a coordinator, and is it ${target.url.protocol}//?`;
  return `cannot ask ${name}: ${messageOf(cause)}`;
}

/** What an answer other than 200 means. */
async function refusal(target: Target, response: IncomingMessage): Promise<Error> {
  const status = response.statusCode ?? 0;
  const text = await readText(response, nameOf(target)).catch(() => '');
  let error: { code?: unknown; message?: unknown; details?: unknown } | undefined;
  try {
    error = (JSON.parse(text) as { error?: typeof error }).error;
  } catch {
    // not of a coordinator
  }
  if (typeof error?.code === 'string' && typeof error.message === 'string')
    return refused(error.code, error.message, Array.isArray(error.details) ? error.details.map(String) : []);
  return new RunError(`${nameOf(target)} answered ${status}, which no coordinator does: check --admin`);
}

/** A policy that is not valid is no wrong usage of the command. */
function refused(code: string, message: string, details: readonly string[] = []): Error {
  return code === 'invalid' && details.length === 0
    ? new UsageError(message)
    : new AdminRefusal(code, message, details);
}

async function readText(response: IncomingMessage, name: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > ANSWER_LIMIT_BYTES) throw new RunError(`${name} answered with more than ${ANSWER_LIMIT_BYTES} bytes`);
    }
  } catch (cause) {
    throw cause instanceof RunError ? cause : new RunError(`${name} broke off its answer`, { cause });
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Saves a body beside `path` and renames it when it is whole and on disk. */
async function saveBody(response: IncomingMessage, path: string): Promise<number> {
  const part = `${path}.${process.pid}.part`;
  try {
    const file = createWriteStream(part, { flags: 'wx', mode: 0o600, flush: true });
    await pipeline(response, file);
    const expected = response.headers['content-length'];
    if (expected !== undefined && Number(expected) !== file.bytesWritten)
      throw new Error(`${file.bytesWritten} bytes came of ${expected}`);
    await rename(part, path);
    return file.bytesWritten;
  } catch (cause) {
    await rm(part, { force: true });
    throw new RunError(`cannot save the backup to ${path}: ${messageOf(cause)}`, { cause });
  }
}
