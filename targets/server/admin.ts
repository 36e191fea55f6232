/**
 * The administration interface over HTTP: JSON in, JSON out, below `/api/v1/`.
 *
 * | Request | Answer |
 * |---|---|
 * | `POST /api/v1/command` with an {@link AdminCommand} | what {@link AdminResults} says for it |
 * | `GET /api/v1/tailnets`, `GET /api/v1/tailnets/NAME/users`, `keys`, `devices`, `tokens` | the list |
 * | `GET /api/v1/audit?tailnet=NAME&limit=N&before=SEQ` | lines of the audit log, newest first |
 * | `GET /api/v1/status` | counts, and what somebody has to look at |
 * | `GET /metrics` | the same as numbers, in the text format of Prometheus |
 * | `POST /api/v1/backup` | a copy of the database as a file (without the keys of the server, which are not in it) |
 *
 * A mistake is answered with `{"error":{"code","message"}}`: 400 `invalid`, 401 `unauthorized`, 403 `forbidden`,
 * 404 `not-found`, 405 `method`, 408 `timeout`, 409 `conflict`, 413 `too-large`, 415 `media-type`, 422 `tests-failed`,
 * 500 `failed`, 503 `busy`. What would make access tests fail, and a policy that is not valid, have `details`, too: the
 * lines that fail, or what is wrong where.
 * Whoever asks has a token (`Authorization: Bearer`, RFC 6750 §2.1), or comes through a socket that only the
 * administrator can open. A token is never taken from a query, and never written anywhere.
 */
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { AdminCommand, AdminErrorCode, AdminOutcome, TailnetView } from '../../lib/coordinator/commands.ts';
import { LargeBodies, Refusal, RequestBody } from './admin-body.ts';
import { isLabel } from './admin-syntax.ts';
import { METRICS_TYPE, metricsText } from './metrics.ts';
import type { Actor, AdminContext, AuditQuery } from './types.ts';

/** The administrator on the machine itself: whoever can open the data folder or its socket. */
export const LOCAL_ADMIN: Actor = /* @__PURE__ */ Object.freeze({ name: 'admin', tailnet: undefined });

/** What {@link handleAdmin} may be told beside its context. */
export interface AdminOptions {
  /** Hears of failures inside (answered with 500). `message` holds no secret of the request. */
  readonly onError?: (message: string) => void;
  /** Time for the whole body of a request; 10 seconds unless told. */
  readonly bodyTimeoutMs?: number;
  /** The count of large bodies that this request shares with others; unless told it is alone. */
  readonly largeBodies?: LargeBodies;
}

/** Where the metrics are. */
export const METRICS_PATH = '/metrics';
/** Time for the whole body of a request. */
const BODY_TIMEOUT_MS = 10_000;
/** Longest text that is looked up as a token; ours have 65 characters. */
const TOKEN_LIMIT = 256;
/** Lines of one audit answer: unless told, and at most. */
const AUDIT_USUAL = 100;
const AUDIT_LIMIT = 1000;

const STATUS: Readonly<Record<AdminErrorCode, number>> = /* @__PURE__ */ Object.freeze({
  invalid: 400,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  'tests-failed': 422,
});

/**
 * Answers one request whose path begins with `/api/`, or is {@link METRICS_PATH}. Never rejects: whatever goes wrong is an answer, or the end of the
 * connection where an answer has begun.
 */
export async function handleAdmin(
  request: IncomingMessage,
  response: ServerResponse,
  context: AdminContext,
  options: AdminOptions = {},
): Promise<void> {
  response.on('error', () => undefined); // the client went away: nobody is left to tell
  const { bodyTimeoutMs = BODY_TIMEOUT_MS, largeBodies = new LargeBodies() } = options;
  const body = new RequestBody(request, bodyTimeoutMs, largeBodies);
  try {
    const actor = authenticate(request, context);
    await route(request, response, context, actor, body);
  } catch (error) {
    if (response.headersSent) return void response.destroy();
    if (error instanceof Refusal) {
      // What is left of the body is not read, and cannot be the next request.
      const close = hasRest(request) ? { connection: 'close' } : {};
      answer(response, error.status, failure(error.code, error.message), { ...error.headers, ...close });
      return;
    }
    options.onError?.(error instanceof Error ? error.message.split('\n', 1)[0]! : 'failed');
    answer(response, 500, failure('failed', 'the coordinator failed: its log says why'), { connection: 'close' });
  } finally {
    body.close();
  }
}

/** Whether there may be more of the request's body to come. */
function hasRest(request: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
  return !request.complete && (coding !== undefined || (length !== undefined && length !== '0'));
}

/** Who asks. The same work for every wrong token, in whatever form: one look-up. */
function authenticate(request: IncomingMessage, context: AdminContext): Actor {
  if (context.isLocal) return LOCAL_ADMIN;
  const header = request.headers.authorization ?? '';
  const token = /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(header)?.[1] ?? '';
  const actor = context.authenticate(token.length <= TOKEN_LIMIT ? token : '');
  if (actor === undefined) throw unauthorized(header === ''); // CHECK: admin-token
  return actor;
}

function unauthorized(isAbsent: boolean): Refusal {
  const why = isAbsent
    ? 'a token is needed: Authorization: Bearer TOKEN'
    : 'the token is not valid: it is wrong, expired or revoked';
  return new Refusal(401, 'unauthorized', why, { 'www-authenticate': 'Bearer realm="motenet"' });
}

async function route(
  request: IncomingMessage,
  response: ServerResponse,
  context: AdminContext,
  actor: Actor,
  body: RequestBody,
): Promise<void> {
  const [whole, query = ''] = (request.url ?? '').split(/\?(.*)/s, 2) as [string, string?];
  if (whole === METRICS_PATH) {
    expectMethod(request, 'GET');
    expectWholeServer(actor, 'the metrics');
    return sendText(response, await metricsOf(context, actor));
  }
  const path = whole.replace(/^\/api\/v1(?=\/|$)/, '');
  if (path === whole) throw new Refusal(404, 'not-found', 'the administration interface is at /api/v1/');
  if (path === '/command') {
    expectMethod(request, 'POST');
    return finish(response, await context.command(actor, await body.readCommand()));
  }
  if (path === '/audit') {
    expectMethod(request, 'GET');
    return answer(response, 200, context.audit(auditQuery(new URLSearchParams(query), actor)));
  }
  if (path === '/status') {
    expectMethod(request, 'GET');
    expectWholeServer(actor, 'the status');
    return answer(response, 200, context.status());
  }
  if (path === '/backup') {
    expectMethod(request, 'POST');
    expectWholeServer(actor, 'a backup');
    return sendBackup(response, context);
  }
  const list = listCommand(path);
  if (list === undefined) throw new Refusal(404, 'not-found', 'there is nothing at this path below /api/v1/');
  expectMethod(request, 'GET');
  finish(response, await context.command(actor, list));
}

/** The list that a path names. */
function listCommand(path: string): AdminCommand | undefined {
  if (path === '/tailnets') return { type: 'tailnet-list' };
  const [, tailnet, kind] = /^\/tailnets\/([^/]+)\/(user|key|device|token)s$/.exec(path) ?? [];
  if (tailnet === undefined || kind === undefined || !isLabel(tailnet)) return undefined;
  return { type: `${kind as 'user' | 'key' | 'device' | 'token'}-list`, tailnet };
}

function auditQuery(search: URLSearchParams, actor: Actor): AuditQuery {
  for (const name of search.keys())
    if (!['tailnet', 'limit', 'before'].includes(name) || search.getAll(name).length > 1)
      throw new Refusal(400, 'invalid', 'the audit log takes "tailnet", "limit" and "before", once each');
  const limit = number(search, 'limit', AUDIT_LIMIT) ?? AUDIT_USUAL;
  const before = number(search, 'before', Number.MAX_SAFE_INTEGER);
  const asked = search.get('tailnet') ?? actor.tailnet;
  if (asked !== undefined && !isLabel(asked)) throw new Refusal(400, 'invalid', '"tailnet" is not a name of one');
  if (actor.tailnet !== undefined && asked !== actor.tailnet) throw outOfScope(actor); // CHECK: admin-audit-scope
  return {
    limit,
    ...(asked === undefined ? {} : { tailnet: asked }),
    ...(before === undefined ? {} : { before }),
  };
}

function number(search: URLSearchParams, name: string, most: number): number | undefined {
  const text = search.get(name);
  if (text === null) return undefined;
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= most) return value;
  throw new Refusal(400, 'invalid', `"${name}" expected a whole number from 1 to ${most}`);
}

function expectMethod(request: IncomingMessage, method: 'GET' | 'POST'): void {
  if (request.method === method) return;
  throw new Refusal(405, 'method', `this path takes ${method}`, { allow: method });
}

function expectWholeServer(actor: Actor, what: string): void {
  const needs = `${what} needs one of the whole server (\`motenet tokens create --server\`)`;
  if (actor.tailnet !== undefined) throw outOfScope(actor, needs); // CHECK: admin-whole-server
}

function outOfScope(actor: Actor, needs = 'this needs another'): Refusal {
  const message = `the token is for the tailnet "${actor.tailnet}" alone: ${needs}`;
  return new Refusal(403, 'forbidden', message);
}

function finish(response: ServerResponse, outcome: AdminOutcome): void {
  if (outcome.isOk) return answer(response, 200, outcome.value);
  const { code, message, details } = outcome;
  answer(response, STATUS[code] ?? 500, failure(code, message, details));
}

function failure(code: string, message: string, details?: readonly string[]): object {
  return { error: { code, message, ...(details === undefined ? {} : { details }) } };
}

function answer(response: ServerResponse, status: number, value: unknown, more: Record<string, string> = {}): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...more,
  });
  response.end(body);
}

/** The metrics, with what only a command tells. */
async function metricsOf(context: AdminContext, actor: Actor): Promise<string> {
  const command = { type: 'tailnet-list' } as const;
  const outcome = await context.command(actor, command).catch(() => undefined); // where the store has failed
  return metricsText(context.status(), outcome?.isOk === true ? (outcome.value as readonly TailnetView[]) : []);
}

function sendText(response: ServerResponse, text: string): void {
  const body = Buffer.from(text);
  response.writeHead(200, { 'content-type': METRICS_TYPE, 'content-length': body.length, 'cache-control': 'no-store' });
  response.end(body);
}

/** Makes a copy in a folder that nobody else can open, sends it and removes it. */
async function sendBackup(response: ServerResponse, context: AdminContext): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'motenet-backup-'));
  try {
    const path = join(folder, 'coordinator.db');
    await context.backup(path);
    const file = await open(path, 'r');
    try {
      await rm(folder, { recursive: true, force: true }).catch(() => undefined); // open it stays readable, where that is allowed
      response.writeHead(200, {
        'content-type': 'application/vnd.sqlite3',
        'content-length': (await file.stat()).size,
        'cache-control': 'no-store',
      });
      await pipeline(createReadStream('', { fd: file, autoClose: false }), response);
    } finally {
      await file.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
