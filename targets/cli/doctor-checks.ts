/**
 * What `motenet doctor` judges: from what a running mote and a look at the network say to one line per check, with the
 * next step where something is not well. Pure; asking is in `doctor.ts`.
 */
import type { NetcheckStatus } from '../../lib/netcheck/summary.ts';
import type { TailnetPeerStatus, TailnetStatus } from '../node/index.ts';
import { formatDuration, formatMoment, formatWhen, millisecondsText } from './duration.ts';
import type { UpStatus } from './state-protocol.ts';

/** `problem`: this device does not work as it should. `warning`: it does, but worse than it could, or not for long. */
export type Verdict = 'ok' | 'warning' | 'problem';

/** One line. */
export interface Check {
  /** What was looked at: `coordinator`, `clock`, … */
  readonly check: string;
  readonly verdict: Verdict;
  readonly text: string;
  /** What to do; null where there is nothing to be done. */
  readonly next: string | null;
}

/** What is known. */
export interface Findings {
  readonly status: UpStatus;
  /** A look at the network, or why there is none. */
  readonly network: NetcheckStatus | { readonly error: string };
  /** This machine's clock less the coordinator's, measured now; undefined: not known. */
  readonly clockAheadMs: number | undefined;
  readonly nowMs: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const WEEK_MS = 604_800_000;
/** Names that a line has at most. */
const MAX_NAMES = 5;

/** Something that is as it should be. */
export function ok(check: string, text: string): Check {
  return { check, verdict: 'ok', text, next: null };
}

/** Something that is not. */
export function bad(check: string, verdict: 'warning' | 'problem', text: string, next: string): Check {
  return { check, verdict, text, next };
}

/** All checks of a mote that runs, in the order in which one thing needs the other. */
export function checksOf(findings: Findings): Check[] {
  const { status, network, nowMs } = findings;
  const { version, pid, startedUnixMs, mote } = status;
  const checks = [
    ok('mote', `motenet ${version} was started ${formatWhen(nowMs, startedUnixMs)} (process ${pid})`),
    coordinatorCheck(status),
    clockCheck(findings),
    loginCheck(status),
    ...networkChecks(network),
  ];
  const tailnet = mote?.tailnet;
  if (tailnet === undefined) return checks;
  return [
    ...checks,
    relayCheck(tailnet),
    keyCheck(tailnet, nowMs),
    policyCheck(tailnet, status),
    peerCheck(tailnet.peers),
    ...pathChecks(tailnet.peers),
    ...tailnet.health.map(text =>
      bad(
        'health',
        'warning',
        `the coordinator says: ${text}`,
        'ask its administrator, if this does not say what to do',
      ),
    ),
  ];
}

function coordinatorCheck({ control, mote, trouble, state }: UpStatus): Check {
  const error = mote?.tailnet === undefined ? trouble?.message : mote.tailnet.controlError;
  if (error !== undefined)
    return bad(
      'coordinator',
      'problem',
      `${control} cannot be reached: ${error}`,
      'look whether it runs, and whether the address and the network here are right',
    );
  if (state === 'starting')
    return bad('coordinator', 'warning', `${control} has not answered yet`, 'ask again in a few seconds');
  return ok('coordinator', `${control} answers`);
}

function clockCheck({ clockAheadMs }: Findings): Check {
  if (clockAheadMs === undefined)
    return bad(
      'clock',
      'warning',
      'could not be compared: the coordinator has not said what time it is',
      'if logging in fails, look at the clock of this machine',
    );
  const off = Math.abs(clockAheadMs);
  if (off < MINUTE_MS) return ok('clock', `${off < 2000 ? 'agrees with' : `${formatSpan(off)} off`} the coordinator's`);
  const text = `this machine's clock is ${formatSpan(off)} ${clockAheadMs > 0 ? 'ahead of' : 'behind'} the coordinator's`;
  return bad('clock', off < HOUR_MS ? 'warning' : 'problem', text, 'set it: certificates and keys expire by it');
}

function formatSpan(ms: number): string {
  return formatDuration(Math.round(ms / 1000) * 1000);
}

function loginCheck({ state, authUrl, mote, control }: UpStatus): Check {
  const tailnet = mote?.tailnet;
  const name = tailnet?.name.split('.')[0] || 'NAME';
  switch (state) {
    case 'running': {
      if (tailnet === undefined)
        return bad('login', 'warning', 'let in, but not ready yet', 'ask again in a few seconds');
      const owner = tailnet.tags.length > 0 ? tailnet.tags.join(', ') : (tailnet.user ?? 'nobody');
      return ok('login', `member of ${tailnet.domain || 'the tailnet'} as ${tailnet.name}, owned by ${owner}`);
    }
    case 'needs-login': {
      const open = authUrl === null ? 'start `motenet up` again with an auth key' : `open ${authUrl}`;
      return bad('login', 'problem', 'nobody has let this device in yet', open);
    }
    case 'needs-approval':
      return bad(
        'login',
        'problem',
        'this device waits for the approval of an administrator',
        `who runs ${control}: motenet devices approve ${name}`,
      );
    case 'expired':
      return bad(
        'login',
        'problem',
        'the membership has expired',
        'log in again: `motenet logout`, then `motenet up --control URL`',
      );
    case 'logged-out':
      return bad('login', 'problem', 'this device has left the tailnet', 'start `motenet up` again');
    default:
      return bad('login', 'warning', `joining has come as far as "${state}"`, 'ask again in a few seconds');
  }
}

function networkChecks(network: Findings['network']): Check[] {
  if ('error' in network)
    return [bad('UDP', 'warning', `could not be checked: ${network.error}`, 'try `motenet netcheck`')];
  const { udp, ipv4, ipv6, globalV4, globalV6, mappingVariesByDestIp } = network;
  if (!udp)
    return [
      bad(
        'UDP',
        'warning',
        'is blocked, or no relay answers to STUN: everything goes through relays',
        'allow UDP out of this network, to port 3478 of the relays first of all',
      ),
    ];
  const families = [ipv4 ? 'IPv4' : '', ipv6 ? 'IPv6' : ''].filter(text => text !== '').join(' and ');
  const seen = [globalV4, globalV6].filter(text => text !== undefined).join(' and ');
  const works = ok('UDP', `works over ${families}${seen === '' ? '' : `, seen as ${seen}`}`);
  if (mappingVariesByDestIp === undefined)
    return [works, ok('NAT', 'its kind is unknown: that takes answers from two relays over IPv4')];
  if (!mappingVariesByDestIp)
    return [works, ok('NAT', 'one address for all destinations: good for direct paths, or there is none')];
  const text = 'another address for each destination: direct paths only to members with an easier NAT';
  return [works, bad('NAT', 'warning', text, 'if paths should be direct, forward a UDP port here, or use IPv6')];
}

function relayCheck({ relays }: TailnetStatus): Check {
  const home = relays.find(({ isHome }) => isHome);
  if (home?.isConnected === true) return ok('relay', `home relay ${home.code} (${home.host}) is connected`);
  const broken = home ?? relays.find(({ error }) => error !== undefined);
  if (broken === undefined)
    return bad(
      'relay',
      'problem',
      'there is no home relay: others cannot reach this device unless a direct path is open',
      'an administrator adds a relay to the coordinator, or looks why it has none',
    );
  return bad(
    'relay',
    'problem',
    `relay ${broken.code} (${broken.host}) is not connected${broken.error === undefined ? '' : `: ${broken.error}`}`,
    `allow TCP out of this network to ${broken.host}, and look whether the relay runs`,
  );
}

function keyCheck({ keyExpiryUnixMs }: TailnetStatus, nowMs: number): Check {
  if (keyExpiryUnixMs === 0) return ok('key', 'never expires');
  const leftMs = keyExpiryUnixMs - nowMs;
  const when = `${formatWhen(nowMs, keyExpiryUnixMs)} (${formatMoment(keyExpiryUnixMs)})`;
  const next = '`motenet logout`, then `motenet up --control URL`; or an administrator turns its expiry off';
  if (leftMs <= 0) return bad('key', 'problem', `has expired ${when}`, next);
  if (leftMs < WEEK_MS) return bad('key', 'warning', `expires ${when}, and could not be renewed so far`, next);
  return ok('key', `expires ${when}; it is renewed before`);
}

function policyCheck({ inboundRules }: TailnetStatus, { services }: UpStatus): Check {
  if (inboundRules > 0)
    return ok('policy', `${inboundRules} ${inboundRules === 1 ? 'rule lets' : 'rules let'} others reach this device`);
  const isExposing = services.some(({ service }) => service === 'expose');
  const next = 'an administrator adds a rule to the policy of the tailnet';
  return isExposing
    ? bad('policy', 'problem', 'lets nobody reach this device, so that what it exposes is of no use', next)
    : bad(
        'policy',
        'warning',
        'lets nobody reach this device; connections from here to others are not concerned',
        next,
      );
}

function peerCheck(peers: readonly TailnetPeerStatus[]): Check {
  if (peers.length === 0)
    return bad(
      'peers',
      'warning',
      'this device is alone, as far as it may know',
      'let another join (`motenet up` there), or look for a rule about this one: `motenet policy explain`',
    );
  const expired = peers.filter(({ isExpired }) => isExpired);
  const offline = peers.filter(({ isExpired, isOnline }) => !isExpired && isOnline === false);
  const online = peers.length - expired.length - offline.length;
  const facts = [
    `${online} of ${peers.length} online`,
    ...(offline.length > 0 ? [`offline: ${namesOf(offline)}`] : []),
    ...(expired.length > 0 ? [`expired: ${namesOf(expired)}`] : []),
  ].join('; ');
  if (expired.length > 0) return bad('peers', 'warning', facts, 'log in again on those that have expired');
  const isMissed = online === 0 || offline.some(({ path }) => path !== 'idle');
  return isMissed ? bad('peers', 'warning', facts, 'look whether `motenet up` runs there') : ok('peers', facts);
}

/** Peers in use that are there: direct, or relayed and why. */
function pathChecks(peers: readonly TailnetPeerStatus[]): Check[] {
  const used = peers.filter(({ path, isOnline }) => path !== 'idle' && isOnline !== false);
  if (used.length === 0) return [];
  const relayed = used.filter(({ path }) => path === 'relay');
  const best = Math.min(...used.map(({ latencyMs }) => latencyMs ?? Infinity));
  const direct = `${used.length - relayed.length} of ${used.length} in use are direct`;
  if (relayed.length === 0)
    return [ok('paths', Number.isFinite(best) ? `${direct}, ${millisecondsText(best)} at best` : direct)];
  const list = relayed.slice(0, MAX_NAMES).map(peer => `${shortName(peer)}${peer.why ? ` (${peer.why})` : ''}`);
  const text = `${direct}; relayed: ${list.join(', ')}${more(relayed.length)}`;
  const next = `motenet ping ${shortName(relayed[0]!)} --until-direct`;
  return [bad('paths', 'warning', text, next)];
}

function namesOf(peers: readonly TailnetPeerStatus[]): string {
  return `${peers.slice(0, MAX_NAMES).map(shortName).join(', ')}${more(peers.length)}`;
}

function more(count: number): string {
  return count > MAX_NAMES ? ` and ${count - MAX_NAMES} more` : '';
}

function shortName({ name, addresses }: TailnetPeerStatus): string {
  return name.split('.')[0] || (addresses[0] ?? '?');
}
