/**
 * `motenet doctor`: in one screen what is wrong with the device here, and what to do. It asks a running `motenet up`,
 * also one that still waits to be let in; where none runs, it looks at the state folder.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetcheckStatus } from '../../lib/netcheck/summary.ts';
import type { Host } from '../../lib/ports.ts';
import { type Check, checksOf, type Findings, ok } from './doctor-checks.ts';
import { stateChecks } from './doctor-state.ts';
import { codeOf, messageOf, RunError } from './errors.ts';
import { fetchRegions, measure } from './netcheck-run.ts';
import { ask, MoteRefusal } from './state-client.ts';
import type { UpStatus } from './state-protocol.ts';
import { formatTable } from './table.ts';
import type { AskOptions } from './up-args.ts';

/** How long a running mote may take to say how it is. */
const STATUS_TIMEOUT_MS = 5000;
/** How long a look at the network may take. */
const NETWORK_TIMEOUT_MS = 15_000;
/** How long the coordinator may take to say what time it is. */
const CLOCK_TIMEOUT_MS = 5000;

/** What the command runs in. */
export interface DoctorEnvironment {
  /** One line to standard output. */
  out(line: string): void;
  unixMs(): number;
  /** For a look at the network before the device is a member. */
  readonly host: Host;
  /** Where a coordinator keeps its data unless told. */
  readonly serverDir: string;
}

/** Checks and prints. Rejects with {@link RunError} when there is a problem. */
export async function runDoctor({ stateDir, isJson }: AskOptions, environment: DoctorEnvironment): Promise<void> {
  const checks = await examine(stateDir, environment);
  const count = (verdict: Check['verdict']) => checks.filter(check => check.verdict === verdict).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  if (isJson) environment.out(JSON.stringify({ problems, warnings, checks }));
  else for (const line of checkLines(checks)) environment.out(line);
  if (problems > 0) throw new RunError(`${problems} ${problems === 1 ? 'problem' : 'problems'} found`);
}

/** `problem  login  nobody has let this device in yet -> open …`, in columns. */
export function checkLines(checks: readonly Check[]): string[] {
  const rows = checks.map(({ verdict, check, text, next }) => [
    verdict,
    check,
    next === null ? text : `${text} -> ${next}`,
  ]);
  const [, ...lines] = formatTable(['', '', ''], rows);
  return lines;
}

async function examine(stateDir: string, environment: DoctorEnvironment): Promise<Check[]> {
  let status: UpStatus;
  try {
    status = await within(STATUS_TIMEOUT_MS, ask<'status'>(stateDir, { command: 'status' }));
  } catch (error) {
    const cause = codeOf((error as Error).cause);
    if (cause === 'ENOENT' || cause === 'ECONNREFUSED' || cause === 'ENOTDIR')
      return [...stateChecks(stateDir), ...serverHint(environment.serverDir)];
    const next = 'run this as the user who runs `motenet up`; if it hangs, start that again';
    return [{ check: 'mote', verdict: 'problem', text: messageOf(error), next }];
  }
  const [network, clockAheadMs] = await Promise.all([
    lookAround(stateDir, status, environment.host),
    compareClocks(status, environment.unixMs),
  ]);
  return checksOf({ status, network, clockAheadMs, nowMs: environment.unixMs() });
}

/** Whoever looks for a coordinator that runs here is told how. */
function serverHint(serverDir: string): Check[] {
  if (!existsSync(join(serverDir, 'coordinator.db'))) return [];
  return [ok('server', `a coordinator has its data in ${serverDir}: \`motenet doctor --server\` looks at that`)];
}

/** By the mote, which has the socket that counts; before it is a member, from here, where the coordinator tells its relays. */
async function lookAround(stateDir: string, status: UpStatus, host: Host): Promise<Findings['network']> {
  const look = async (): Promise<NetcheckStatus> =>
    status.mote === null
      ? measure(host, await fetchRegions(status.control))
      : ask<'netcheck'>(stateDir, { command: 'netcheck' });
  try {
    return await within(NETWORK_TIMEOUT_MS, look());
  } catch (error) {
    return { error: error instanceof MoteRefusal || error instanceof RunError ? error.message : messageOf(error) };
  }
}

/** What the mote was told when its map stream began; before that, the date of an answer of the coordinator. */
async function compareClocks({ mote, control }: UpStatus, unixMs: () => number): Promise<number | undefined> {
  if (mote?.tailnet?.clockAheadMs !== undefined) return mote.tailnet.clockAheadMs;
  try {
    const url = `${control.replace(/\/+$/, '')}/key?v=113`;
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(CLOCK_TIMEOUT_MS) });
    await response.body?.cancel();
    const date = Date.parse(response.headers.get('date') ?? '');
    return Number.isNaN(date) ? undefined : unixMs() - date;
  } catch {
    return undefined; // that it cannot be reached is what the mote says itself
  }
}

async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  const end = new AbortController();
  const tooLong = sleep(ms, undefined, { signal: end.signal }).then(() => {
    throw new RunError(`no answer within ${ms / 1000} s`);
  });
  tooLong.catch(() => undefined); // it is ended, too, once there is an answer
  try {
    return await Promise.race([answer, tooLong]);
  } finally {
    end.abort();
  }
}
