/** Runs one administration command: asks whoever is in charge, and prints the answer for people or for programs. */
import { existsSync } from 'node:fs';
import { AdminRefusal, openAdmin } from './admin-client.ts';
import type { AdminOptions } from './admin-args.ts';
import { auditView, type View, viewOf } from './admin-views.ts';
import { ExitError, exitCodeOf, messageOf, UsageError } from './errors.ts';
import { runPolicyCheck } from './policy-check.ts';
import { type ReadInput, readDevicesFile, readPolicyFile } from './policy-files.ts';
import type { ServerModule } from './server-module.ts';
import { plainText } from './table.ts';

/** What {@link runAdmin} needs of its surroundings. */
export interface AdminEnvironment {
  /** One line without its end to standard output. */
  readonly out: (line: string) => void;
  /** The same to standard error. */
  readonly err: (line: string) => void;
  /** Wall clock in ms. */
  readonly now: () => number;
  readonly load: () => Promise<ServerModule>;
  /** Standard input. */
  readonly readInput: ReadInput;
}

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
    if ('url' in options.place && isOpenRoad(options.place.url))
      err(`warning: ${options.place.url.origin} is not https: whoever is on the way can read the token`);
    const { value, view } = await carryOut(options, environment);
    if (isJson) return out(JSON.stringify(value));
    for (const line of view.out) out(line);
    for (const line of view.err ?? []) err(line);
  } catch (cause) {
    if (cause instanceof ExitError) throw cause;
    const error = cause instanceof Error ? cause : new Error(String(cause));
    error.message = plainText(messageOf(error)); // parts of it may come from elsewhere
    if (isJson) {
      const code = error instanceof UsageError ? 'invalid' : error instanceof AdminRefusal ? error.code : 'failed';
      out(JSON.stringify({ error: { code, message: error.message, exitCode: exitCodeOf(error) } }));
    }
    throw error;
  }
}

async function carryOut(
  { place, task }: AdminOptions,
  { load, now }: AdminEnvironment,
): Promise<{ value: unknown; view: View }> {
  if (task.type === 'backup' && existsSync(task.path))
    throw new UsageError(`there is already something at ${task.path}: give another name`);
  const client = await openAdmin(place, load);
  try {
    if (task.type === 'command') {
      const value = await client.command(task.command);
      return { value, view: viewOf(task.command, value, now()) };
    }
    if (task.type === 'audit') {
      const value = await client.audit(task.query);
      return { value, view: auditView(value) };
    }
    const bytes = await client.backup(task.path);
    const text = `saved ${bytes} bytes to ${task.path}; the keys of the server are beside its data, in keys/, and not in it`;
    return { value: { path: task.path, bytes }, view: { out: [text] } };
  } finally {
    await client.close();
  }
}

/** Whether a token would travel unprotected over more than this machine. */
function isOpenRoad({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && !/^(localhost|127(\.[0-9]+){3}|\[::1\])$/.test(hostname);
}
