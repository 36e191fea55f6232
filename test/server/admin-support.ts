/** A coordinator for administration tests: remembers what it was asked, answers what it is told, knows two tokens. */
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { AdminCommand, AdminOutcome } from '../../lib/coordinator/commands.ts';
import { handleAdmin } from '../../targets/server/admin.ts';
import { LargeBodies } from '../../targets/server/admin-body.ts';
import type { Actor, AdminContext, AuditQuery, AuditRow } from '../../targets/server/types.ts';

/** Tokens that {@link FakeContext} knows: of the whole server, and of the tailnet `lab`. */
export const TOKENS = {
  server: `mote-api-0123456789ab-${'A'.repeat(43)}`,
  lab: `mote-api-ba9876543210-${'B'.repeat(43)}`,
};

/** A context in memory. */
export class FakeContext implements AdminContext {
  readonly isLocal: boolean;
  readonly commands: { readonly actor: Actor; readonly command: AdminCommand }[] = [];
  readonly asked: string[] = [];
  readonly queries: AuditQuery[] = [];
  readonly backups: string[] = [];
  /** What commands are answered with, or what they throw. */
  outcome: AdminOutcome | Error = { isOk: true, value: { done: true } };
  /** Before that: an answer to a certain command, or undefined. */
  answer: (command: AdminCommand) => AdminOutcome | undefined = () => undefined;

  constructor(isLocal = false) {
    this.isLocal = isLocal;
  }

  async command(actor: Actor, command: AdminCommand): Promise<AdminOutcome> {
    this.commands.push({ actor, command });
    if (this.outcome instanceof Error) throw this.outcome;
    return this.answer(command) ?? this.outcome;
  }

  authenticate(token: string): Actor | undefined {
    this.asked.push(token);
    if (token === TOKENS.server) return { name: 'token:0123456789ab', tailnet: undefined };
    return token === TOKENS.lab ? { name: 'token:ba9876543210', tailnet: 'lab' } : undefined;
  }

  audit(query: AuditQuery): AuditRow[] {
    this.queries.push(query);
    const target = 'key:0123456789ab';
    return [
      {
        seq: 7,
        atMs: 1000,
        tailnet: 'lab',
        actor: 'admin',
        action: 'key-create',
        target,
        details: { uses: 0, tags: '' },
      },
    ];
  }

  /** What the status is. */
  report: object = { url: 'http://127.0.0.1:8080' };

  status() {
    return this.report as ReturnType<AdminContext['status']>;
  }

  async backup(path: string): Promise<void> {
    this.backups.push(path);
    writeFileSync(path, 'SQLite format 3\0 and more', { flag: 'wx' });
  }
}

/** An answer. */
export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The text as JSON; undefined where it is none. */
  readonly json: unknown;
}

/** How {@link ask} asks. */
export interface Ask {
  readonly method?: string;
  readonly token?: string | undefined;
  readonly headers?: Record<string, string>;
  /** An object is sent as JSON. */
  readonly body?: object | string;
}

/** A server that is nothing but the administration interface. */
export async function serveAdmin(context: AdminContext, listen: string | number = 0, bodyTimeoutMs = 10_000) {
  const errors: string[] = [];
  const largeBodies = new LargeBodies();
  const options = { onError: (message: string) => errors.push(message), bodyTimeoutMs, largeBodies };
  const server = createServer((request, response) => void handleAdmin(request, response, context, options));
  await new Promise<void>(resolve =>
    typeof listen === 'string' ? server.listen(listen, resolve) : server.listen(listen, '127.0.0.1', resolve),
  );
  const { port } = (server.address() as AddressInfo | null) ?? { port: 0 };
  const close = () =>
    new Promise<void>(resolve => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { port, errors, server, close };
}

/** One request on a connection of its own. */
export function ask(port: number, path: string, { method, token, headers = {}, body }: Ask = {}): Promise<Reply> {
  const data = typeof body === 'object' ? JSON.stringify(body) : body;
  const type: Record<string, string> = data === undefined ? {} : { 'content-type': 'application/json' };
  const auth: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const usual = data === undefined ? 'GET' : 'POST';
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      ...{ host: '127.0.0.1', port, path, method: method ?? usual, agent: false },
      headers: { ...type, ...auth, ...headers },
    });
    request.on('error', reject).on('response', response => {
      const chunks: Buffer[] = [];
      response
        .on('data', chunk => chunks.push(chunk))
        .on('end', () => {
          const text = Buffer.concat(chunks).toString();
          let json: unknown;
          try {
            json = JSON.parse(text);
          } catch {
            // not JSON
          }
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
        });
    });
    request.end(data);
  });
}
