/**
 * `motenet ping`: whether a device answers, by which path, and how fast. Beneath the tunnel unless told: that needs no
 * policy, and says whether the path is direct. With `--icmp` inside the tunnel, as any program's packets go.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PathPing, TailnetPeerStatus } from '../node/index.ts';
import type { AskEnvironment } from './ask.ts';
import { millisecondsText } from './duration.ts';
import { RunError } from './errors.ts';
import { ask, MoteRefusal } from './state-client.ts';
import type { PathAnswer } from './state-protocol.ts';
import { plainText } from './table.ts';
import type { PingOptions } from './up-args.ts';

/** Time between two pings. */
const PING_INTERVAL_MS = 1000;

/** Round trips of a run. */
interface Tally {
  sent: number;
  readonly times: number[];
  isDirect: boolean;
  /** Who answered. */
  address: string | undefined;
}

/** `motenet ping`: fails when no reply came, and with `--until-direct` when none came directly. */
export async function runPing(
  options: PingOptions,
  { out, stopped }: AskEnvironment,
  intervalMs = PING_INTERVAL_MS,
): Promise<void> {
  const { name, count, isJson, isUntilDirect } = options;
  const tally: Tally = { sent: 0, times: [], isDirect: false, address: undefined };
  let isStopped = false;
  const stop = stopped.then(() => {
    isStopped = true;
  });
  while (tally.sent < count && !isStopped) {
    const reply = await Promise.race([pingOnce(options), stop]);
    if (reply === undefined) break;
    tally.sent++;
    if ('ms' in reply) {
      tally.times.push(reply.ms);
      tally.address = reply.address;
    }
    tally.isDirect ||= 'path' in reply && reply.path === 'direct';
    if (isJson) out(JSON.stringify({ name, sequence: tally.sent, ...reply }));
    else out(replyLine(options, reply));
    if (isUntilDirect && tally.isDirect) break;
    if (tally.sent < count) await Promise.race([sleep(intervalMs, undefined, { ref: true }), stop]);
  }
  if (tally.times.length === 0) throw new RunError(silentText(options, tally.sent));
  if (!isJson && tally.sent > 1) out(summaryLine(tally));
  if (isUntilDirect && !tally.isDirect) throw new RunError(await relayedText(options, tally));
}

type Reply = PathAnswer | { readonly address: string; readonly ms: number } | { readonly code: string };

async function pingOnce({ stateDir, name, timeoutMs, isInside, isUntilDirect }: PingOptions): Promise<Reply> {
  try {
    if (isInside) return await ask<'ping'>(stateDir, { command: 'ping', name, timeoutMs });
    const reply = await ask<'ping-path'>(stateDir, { command: 'ping-path', name, timeoutMs });
    if (!isUntilDirect || reply.path === 'direct') return reply;
    // A near relay may answer sooner than the direct path that packets take.
    const { path, endpoint, latencyMs } = (await peerOf(stateDir, reply.address)) ?? {};
    if (path !== 'direct' || endpoint === undefined) return reply;
    return { address: reply.address, path, endpoint, relay: null, ms: latencyMs ?? reply.ms };
  } catch (error) {
    if (error instanceof MoteRefusal && error.code === 'ERR_TIMED_OUT') return { code: error.code };
    throw error;
  }
}

function replyLine({ name, timeoutMs, isInside }: PingOptions, reply: Reply): string {
  const who = plainText(name);
  if (!('ms' in reply)) return `no ${isInside ? 'reply' : 'answer'} from ${who} within ${timeoutMs / 1000} s`;
  const time = millisecondsText(reply.ms);
  const from = who === reply.address ? who : `${who} (${reply.address})`;
  return 'path' in reply ? `pong from ${from} ${pathText(reply)} in ${time}` : `reply from ${from} in ${time}`;
}

/** `directly at 192.0.2.1:41641`, `through relay own`. */
function pathText({ path, endpoint, relay }: PathAnswer): string {
  if (path === 'direct') return `directly at ${endpoint ?? 'an unknown address'}`;
  return relay === null ? 'through a relay' : `through relay ${plainText(relay)}`;
}

function summaryLine({ sent, times }: Tally): string {
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  const [best, average] = [Math.min(...times), mean].map(millisecondsText);
  return `${times.length} of ${sent} replies, ${best} at best, ${average} on average`;
}

function silentText({ name, isInside }: PingOptions, sent: number): string {
  const text = `${plainText(name)} did not answer ${sent} of ${sent} pings`;
  return isInside ? text : `${text}: \`motenet status\` says whether it is online, \`motenet ping --icmp\` asks inside`;
}

/** Why there is no direct path, as the mote sees it. */
async function relayedText({ stateDir, name }: PingOptions, { sent, address }: Tally): Promise<string> {
  const text = `${plainText(name)} did not answer directly in ${sent} pings`;
  const peer = address === undefined ? undefined : await peerOf(stateDir, address);
  const why = peer?.why === undefined || peer.why === '' ? '' : ` (${plainText(peer.why)})`;
  return `${text}${why}: \`motenet netcheck\` says what the network here allows, and there too`;
}

/** A peer as the mote sees it. */
async function peerOf(stateDir: string, address: string): Promise<TailnetPeerStatus | undefined> {
  const { mote } = await ask<'status'>(stateDir, { command: 'status' });
  return mote?.tailnet?.peers.find(({ addresses }) => addresses.includes(address));
}

/** An answer as it goes over the socket of the state folder. */
export function pathAnswer(address: string, { path, endpoint, relay, latencyMs }: PathPing): PathAnswer {
  return { address, path, endpoint: endpoint ?? null, relay: relay ?? null, ms: latencyMs };
}
