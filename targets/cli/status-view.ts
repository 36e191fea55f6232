/** What `motenet status` shows to people. */
import type { TailnetPeerStatus, TailnetStatus } from '../node/index.ts';
import { formatMoment, formatWhen, millisecondsText } from './duration.ts';
import type { UpStatus } from './state-protocol.ts';
import { formatTable, plainText } from './table.ts';
import { serviceText } from './report.ts';

/** Lines about a running mote: itself, its services, its peers, with `isVerbose` also what was dropped and the keys. */
export function statusLines(status: UpStatus, nowMs: number, isVerbose: boolean): string[] {
  const { mote, control, authUrl, state, trouble, services } = status;
  const lines: string[] = [];
  const tailnet = mote?.tailnet;
  if (tailnet === undefined) lines.push(`joining ${plainText(control)}: ${state}`);
  else lines.push(...selfLines(status, tailnet, nowMs));
  if (trouble) lines.push(`problem: ${plainText(trouble.message)}`);
  if (tailnet?.controlError !== undefined)
    lines.push(`problem: the coordinator cannot be reached: ${plainText(tailnet.controlError)}`);
  if (authUrl !== null) lines.push(`to let this device in, open ${plainText(authUrl)}`);
  for (const problem of tailnet?.health ?? []) lines.push(`problem: ${plainText(problem)}`);
  for (const service of services) lines.push(`${service.service}: ${serviceText(service)}`);
  if (tailnet !== undefined) lines.push('', ...peerLines(tailnet.peers, nowMs, isVerbose));
  if (mote !== null && isVerbose) {
    const drops = Object.entries(mote.drops).map(([reason, times]) => [reason, String(times)]);
    if (drops.length > 0) lines.push('', ...formatTable(['DROPPED', 'PACKETS'], drops));
  }
  return lines;
}

function selfLines({ state, control, mote }: UpStatus, tailnet: TailnetStatus, nowMs: number): string[] {
  const addresses = mote!.addresses.map(text => text.replace(/\/\d+$/, '')).join(', ');
  const owner = tailnet.tags.length > 0 ? tailnet.tags.join(', ') : tailnet.user;
  const home = tailnet.relays.find(relay => relay.isHome);
  const relay = home === undefined ? 'no relay' : `relay ${home.code}${home.isConnected ? '' : ' (not connected)'}`;
  const expiry = tailnet.keyExpiryUnixMs;
  const key = expiry === 0 ? '' : `, key expires ${formatWhen(nowMs, expiry)} (${formatMoment(expiry)})`;
  const facts = [state, ...(owner === undefined ? [] : [owner]), relay].map(plainText).join(', ');
  return [`${plainText(tailnet.name)}  ${addresses}`, `${facts}${key}`, `coordinator ${plainText(control)}`];
}

function peerLines(peers: readonly TailnetPeerStatus[], nowMs: number, isVerbose: boolean): string[] {
  if (peers.length === 0) return ['no peers'];
  const headings = [
    'NAME',
    'ADDRESS',
    'OWNER',
    'STATE',
    'PATH',
    'ROUND TRIP',
    'IN',
    'OUT',
    'HANDSHAKE',
    'WHY RELAYED',
    ...(isVerbose ? ['KEY'] : []),
  ];
  const rows = peers.map(peer => [
    peer.name.split('.')[0] || '-',
    peer.addresses[0] ?? '',
    peer.tags.length > 0 ? peer.tags.join(',') : (peer.user ?? ''),
    peer.isExpired ? 'expired' : peer.isOnline === undefined ? 'unknown' : peer.isOnline ? 'online' : 'offline',
    pathText(peer),
    peer.latencyMs === undefined ? '' : millisecondsText(peer.latencyMs),
    bytesText(peer.rxBytes),
    bytesText(peer.txBytes),
    peer.lastHandshakeUnixMs === undefined ? '' : formatWhen(nowMs, peer.lastHandshakeUnixMs),
    peer.path === 'relay' ? (peer.why ?? '') : '',
    ...(isVerbose ? [peer.publicKey] : []),
  ]);
  return formatTable(headings, rows);
}

/** `idle`, `direct 192.0.2.1:41641`, `relay own`. */
function pathText({ path, endpoint, relay }: TailnetPeerStatus): string {
  const through = path === 'direct' ? endpoint : path === 'relay' ? relay : undefined;
  return through === undefined ? path : `${path} ${through}`;
}

/** `0`, `812 B`, `1.2 kB`, `34 MB`: decimal units. */
export function bytesText(bytes: number): string {
  if (bytes === 0) return '0';
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = -1;
  while (value >= 999.5) {
    value /= 1000;
    unit++;
  }
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${['kB', 'MB', 'GB', 'TB', 'PB'][unit]}`;
}
