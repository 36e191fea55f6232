/** `motenet netcheck`: how this machine is connected, as a running `motenet up` sees it, or from here. */
import type { NetcheckStatus } from '../../lib/netcheck/summary.ts';
import type { Host } from '../../lib/ports.ts';
import { parseFlags, quote } from './args.ts';
import { UsageError } from './errors.ts';
import { fetchRegions, measure } from './netcheck-run.ts';
import { netcheckLines } from './netcheck-view.ts';
import { stateDirectory } from './state.ts';
import { ask } from './state-client.ts';
import { checkControl } from './up-args.ts';

/** Whom to ask: a coordinator for its relays, or the mote of a state folder. */
export interface NetcheckOptions {
  readonly isJson: boolean;
  readonly from: { readonly control: string } | { readonly stateDir: string };
}

const FLAGS = {
  control: { type: 'string' },
  state: { type: 'string' },
  json: { type: 'boolean' },
  debug: { type: 'boolean' },
} as const;

/** Parses what follows `motenet netcheck`. Throws {@link UsageError}. */
export function parseNetcheckArgs(args: readonly string[], env: NodeJS.ProcessEnv): NetcheckOptions {
  const { values, positionals } = parseFlags(args, FLAGS, 'netcheck');
  const [extra] = positionals;
  if (extra !== undefined) throw new UsageError(`netcheck takes no arguments, got ${quote(extra)}`);
  const { control, state } = values;
  if (control !== undefined && state !== undefined)
    throw new UsageError('--control and --state say two things: a coordinator, or the mote of a state folder');
  const from = control === undefined ? { stateDir: stateDirectory(state, env) } : { control: checkControl(control) };
  return { isJson: values.json === true, from };
}

/** What the command runs in. */
export interface NetcheckEnvironment {
  /** One line to standard output. */
  out(line: string): void;
  /** For `--control`. */
  readonly host: Host;
}

/** Checks and prints. Rejects with {@link RunError} when nobody could be asked. */
export async function runNetcheck(
  { isJson, from }: NetcheckOptions,
  { out, host }: NetcheckEnvironment,
): Promise<void> {
  const status: NetcheckStatus =
    'control' in from
      ? await measure(host, await fetchRegions(from.control))
      : await ask<'netcheck'>(from.stateDir, { command: 'netcheck' });
  if (isJson) out(JSON.stringify(status));
  else for (const line of netcheckLines(status)) out(line);
}
