/**
 * Fields of map messages that are about one device or about nobody, as JSON text. What stands in them has been checked:
 * names of tailnets are DNS labels, and node-view.ts sees to the rest.
 */
import type { MapEntry } from './map-directory.ts';
import { selfNode } from './node-view.ts';
import { formatTimeMs } from '../control/time.ts';

const ALLOW_ALL = '[{"SrcIPs":["*"],"DstPorts":[{"IP":"*","Ports":{"First":0,"Last":65535}}]}]';

/** With the time in it, a keepalive is never taken for the one before it without being read. */
export function keepAliveText(unixMs: number): string {
  return `{"KeepAlive":true,"ControlTime":"${formatTimeMs(unixMs)}"}`;
}

/** The device itself. */
export function selfText(entry: MapEntry): string {
  return JSON.stringify(selfNode(entry.record, entry.tailnet.suffix));
}

/** What does not change while a session lasts, and the rest of a whole map that is no list. */
export function settingsText(entry: MapEntry, unixMs: number): string {
  return [
    `"Domain":"${entry.tailnet.record.id}"`,
    '"CollectServices":false,"Debug":{"DisableLogTail":true},"SSHPolicy":{"rules":[]}',
    viewText(entry),
    `"ControlTime":"${formatTimeMs(unixMs)}"`,
  ].join();
}

/** Names and filter: nothing for who is no member. */
export function viewText(entry: MapEntry): string {
  if (!entry.isMember) return '"DNSConfig":{},"PacketFilters":{"base":[]}'; // CHECK: map-view-member
  const { suffix } = entry.tailnet;
  const dns = { Proxied: true, Domains: [suffix], Routes: { [suffix]: [] } };
  return `"DNSConfig":${JSON.stringify(dns)},"PacketFilters":{"base":${ALLOW_ALL}}`;
}

/** Peers that are online again; when they were seen last is of no interest any more. */
export function onlineText(ids: readonly number[]): string {
  const entries = (value: boolean) => ids.map(id => `"${id}":${value}`).join();
  return `"PeerSeenChange":{${entries(false)}},"OnlineChange":{${entries(true)}}`;
}
