/** `motenet status`, `whois` and `logout`: questions to a running `motenet up`. */
import type { Whois } from '../node/index.ts';
import { RunError } from './errors.ts';
import { ask } from './state-client.ts';
import { statusLines } from './status-view.ts';
import { formatTable } from './table.ts';
import type { AskOptions } from './up-args.ts';

/** What these commands run in. */
export interface AskEnvironment {
  /** One line to standard output. */
  out(line: string): void;
  unixMs(): number;
  /** Resolves when the command is to end early; needed by `ping`. */
  readonly stopped: Promise<unknown>;
}

/** `motenet status`. */
export async function runStatus(options: AskOptions & { isVerbose: boolean }, { out, unixMs }: AskEnvironment) {
  const status = await ask<'status'>(options.stateDir, { command: 'status' });
  if (options.isJson) out(JSON.stringify(status));
  else for (const line of statusLines(status, unixMs(), options.isVerbose)) out(line);
}

/** `motenet whois`: exit by {@link RunError} when nobody has the address. */
export async function runWhois(options: AskOptions & { address: string }, { out }: AskEnvironment): Promise<void> {
  const { address } = options;
  const whois = await ask<'whois'>(options.stateDir, { command: 'whois', address });
  if (whois === null) throw new RunError(`nobody in this tailnet has the address ${address}`);
  if (options.isJson) out(JSON.stringify(whois));
  else for (const line of whoisLines(whois)) out(line);
}

function whoisLines({ name, addresses, user, tags, capabilities, publicKey }: Whois): string[] {
  const { loginName = '', displayName = '' } = user ?? {};
  const owner = displayName === '' || displayName === loginName ? loginName : `${loginName} (${displayName})`;
  const rows = [
    ['name', name ?? ''],
    ['addresses', addresses.join(', ')],
    ['user', owner],
    ['tags', tags.join(', ')],
    ['capabilities', capabilities.join(', ')],
    ['key', publicKey],
  ].filter(([, value]) => value !== '');
  const [, ...lines] = formatTable(['', ''], rows);
  return lines;
}

/** `motenet logout`. */
export async function runLogout(options: AskOptions, { out }: AskEnvironment): Promise<void> {
  const result = await ask<'logout'>(options.stateDir, { command: 'logout' });
  out(
    options.isJson ? JSON.stringify(result) : 'logged out: the device has left the tailnet, and `motenet up` has ended',
  );
}
