/** `motenet status`, `whois`, `ping` and `logout`: questions to a running `motenet up`. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Whois } from '../node/index.ts';
import { RunError } from './errors.ts';
import { ask, MoteRefusal } from './state-client.ts';
import { statusLines } from './status-view.ts';
import { formatTable, plainText } from './table.ts';
import type { AskOptions, parsePingArgs } from './up-args.ts';

/** Time between two pings. */
const PING_INTERVAL_MS = 1000;

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

/** `motenet ping`: fails when no reply came. */
export async function runPing(
  options: ReturnType<typeof parsePingArgs>,
  { out, stopped }: AskEnvironment,
  intervalMs = PING_INTERVAL_MS,
): Promise<void> {
  const { name, count, timeoutMs, isJson, stateDir } = options;
  let isStopped = false;
  const stop = stopped.then(() => {
    isStopped = true;
  });
  const times: number[] = [];
  let sent = 0;
  while (sent < count && !isStopped) {
    const answered = pingOnce({ stateDir, name, timeoutMs });
    const reply = await Promise.race([answered, stop]);
    if (reply === undefined) break;
    sent++;
    if ('ms' in reply) times.push(reply.ms);
    if (isJson) out(JSON.stringify({ name, sequence: sent, ...reply }));
    else if ('ms' in reply) out(`reply from ${plainText(name)} (${reply.address}) in ${millisecondsText(reply.ms)}`);
    else out(`no reply from ${plainText(name)} within ${timeoutMs / 1000} s`);
    if (sent < count) await Promise.race([sleep(intervalMs, undefined, { ref: true }), stop]);
  }
  if (times.length === 0) throw new RunError(`${plainText(name)} did not answer ${sent} of ${sent} pings`);
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  if (!isJson && sent > 1)
    out(
      `${times.length} of ${sent} replies, ${millisecondsText(Math.min(...times))} at best, ${millisecondsText(mean)} on average`,
    );
}

async function pingOnce(o: { stateDir: string; name: string; timeoutMs: number }) {
  const { stateDir, name, timeoutMs } = o;
  try {
    return await ask<'ping'>(stateDir, { command: 'ping', name, timeoutMs });
  } catch (error) {
    if (error instanceof MoteRefusal && error.code === 'ERR_TIMED_OUT') return { code: error.code };
    throw error;
  }
}

/** `motenet logout`. */
export async function runLogout(options: AskOptions, { out }: AskEnvironment): Promise<void> {
  const result = await ask<'logout'>(options.stateDir, { command: 'logout' });
  out(
    options.isJson ? JSON.stringify(result) : 'logged out: the device has left the tailnet, and `motenet up` has ended',
  );
}

function millisecondsText(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}
