/** Runs one administration command: asks whoever is in charge, and prints the answer for people or for programs. */
import { existsSync } from 'node:fs';
import { FIRST_TAILNET } from '../../lib/coordinator/model.ts';
import { type AdminPlace, AdminRefusal, openAdmin } from './admin-client.ts';
import type { AdminOptions } from './admin-args.ts';
import type { AdminTask } from './admin-task.ts';
import { auditView, viewOf } from './admin-views.ts';
import { ExitError, exitCodeOf, messageOf, UsageError } from './errors.ts';
import { runPolicyCheck } from './policy-check.ts';
import { readDevicesFile, readPolicyFile } from './policy-files.ts';
import { type Done, type PolicyEnvironment, runPolicyTask, type UseClient } from './policy-put.ts';
import type { View } from './policy-views.ts';
import type { ServerModule } from './server-module.ts';
import { plainText } from './table.ts';

/** What {@link runAdmin} needs of its surroundings. */
export interface AdminEnvironment extends PolicyEnvironment {
  /** One line without its end to standard output. */
  readonly out: (line: string) => void;
  /** Wall clock in ms. */
  readonly now: () => number;
  readonly load: () => Promise<ServerModule>;
  /** Text to standard output, as it is. */
  readonly write: (text: string) => void;
}

/** What a coordinator is asked for. */
type Asking = Exclude<AdminTask, { type: 'policy-check' }>;

/**
 * Carries one command out. Rejects with UsageError, RunError or ExitError; with `--json` the error has been printed as JSON, too:
 * `{"error":{"code","message","exitCode"}}`.
 */
export async function runAdmin(options: AdminOptions, environment: AdminEnvironment): Promise<void> {
  const { out, err } = environment;
  const { task, isJson } = options;
  try {
    if (task.type === 'policy-check') {
      const { name, text } = await readPolicyFile(task.path, environment.readInput);
      const devices = task.devices === undefined ? undefined : readDevicesFile(task.devices);
      return runPolicyCheck({ name, text, devices, isJson }, environment);
    }
    const { place } = options;
    if ('url' in place && isOpenRoad(place.url))
      err(`warning: ${place.url.origin} is not https: whoever is on the way can read the token`);
    const { value, view } = await carryOut(place, task, environment);
    if (isJson) out(JSON.stringify(value));
    else show(view, environment);
    if (view.exitCode !== undefined) throw new ExitError(view.exitCode, '');
  } catch (cause) {
    throw told(cause, options, environment);
  }
}

function show(view: View, { out, err, write }: AdminEnvironment): void {
  if (view.raw !== undefined) write(view.raw);
  for (const line of view.out) out(line);
  for (const line of view.err ?? []) err(line);
}

/** The error to throw; what is to be known beside its one line has been printed. */
function told(cause: unknown, { isJson, task }: AdminOptions, { out, err }: AdminEnvironment): Error {
  if (cause instanceof ExitError) return cause;
  const error =
    cause instanceof AdminRefusal ? once(cause, task) : cause instanceof Error ? cause : new Error(String(cause));
  error.message = plainText(messageOf(error)); // parts of it may come from elsewhere
  const details = error instanceof AdminRefusal ? error.details.map(plainText) : [];
  if (isJson) {
    const code = error instanceof UsageError ? 'invalid' : error instanceof AdminRefusal ? error.code : 'failed';
    const more = details.length === 0 ? {} : { details };
    out(JSON.stringify({ error: { code, message: error.message, ...more, exitCode: exitCodeOf(error) } }));
  } else for (const line of details) if (!error.message.includes(line)) err(line);
  return error;
}

/** A command that access tests are against, with the next step; where there is one line, the message alone has it. */
function once(refusal: AdminRefusal, task: AdminTask): AdminRefusal {
  const { code, message, details } = refusal;
  if (task.type !== 'command' || code !== 'tests-failed' || details.length === 0) return refusal;
  const tailnet = 'tailnet' in task.command ? task.command.tailnet : FIRST_TAILNET;
  const about = tailnet === undefined || tailnet === FIRST_TAILNET ? '' : ` --tailnet ${tailnet}`;
  const next = `; nothing was changed: change the policy first (\`motenet policy edit${about}\`)`;
  const what = details.length === 1 ? message : `${details.length} access tests would fail`;
  return new AdminRefusal(code, `${what}${next}`, details);
}

async function carryOut(place: AdminPlace, task: Asking, environment: AdminEnvironment): Promise<Done> {
  if (task.type === 'backup' && existsSync(task.path))
    throw new UsageError(`there is already something at ${task.path}: give another name`);
  const use: UseClient = async run => {
    const client = await openAdmin(place, environment.load);
    try {
      return await run(client);
    } finally {
      await client.close();
    }
  };
  if (task.type === 'policy-put' || task.type === 'policy-edit' || task.type === 'policy-explain-icmp')
    return runPolicyTask(task, use, environment);
  return use(async client => {
    if (task.type === 'audit') {
      const value = await client.audit(task.query);
      return { value, view: auditView(value) };
    }
    if (task.type === 'command') {
      const value = await client.command(task.command);
      return { value, view: viewOf(task.command, value, environment.now()) };
    }
    const bytes = await client.backup(task.path);
    const text = `saved ${bytes} bytes to ${task.path}; the keys of the server are beside its data, in keys/, and not in it`;
    return { value: { path: task.path, bytes }, view: { out: [text] } };
  });
}

/** Whether a token would travel unprotected over more than this machine. */
function isOpenRoad({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && !/^(localhost|127(\.[0-9]+){3}|\[::1\])$/.test(hostname);
}
