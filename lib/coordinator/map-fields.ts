/**
 * Fields of map messages that are about one device or about nobody, as JSON text. What stands in them has been checked:
 * names of tailnets are DNS labels, and node-view.ts sees to the rest.
 */
import type { WireFilterRule } from '../filter/rule.ts';
import type { MapEntry } from './map-directory.ts';
import { selfNode, smallSelfNode } from './node-view.ts';
import { formatTimeMs } from '../control/time.ts';

const ALLOW_NOTHING: readonly WireFilterRule[] = Object.freeze([]);
const NO_ATTRIBUTES: readonly string[] = Object.freeze([]);

/** With the time in it, a keepalive is never taken for the one before it without being read. */
export function keepAliveText(unixMs: number): string {
  return `{"KeepAlive":true,"ControlTime":"${formatTimeMs(unixMs)}"}`;
}

/** The device itself, with the attributes that it has. */
export function selfText(entry: MapEntry, attributes: readonly string[], isSmall: boolean): string {
  const { record, served, tailnet } = entry;
  if (isSmall) return JSON.stringify(smallSelfNode(record, tailnet.suffix, attributes));
  return JSON.stringify(selfNode(record, tailnet.suffix, served, attributes));
}

/** What does not change while a session lasts, and names. A small device has no use for more. */
export function settingsText(entry: MapEntry, unixMs: number, isSmall: boolean): string {
  const rest = '"CollectServices":false,"Debug":{"DisableLogTail":true},"SSHPolicy":{"rules":[]}';
  const time = `"ControlTime":"${formatTimeMs(unixMs)}"`;
  return [`"Domain":"${entry.tailnet.record.id}"`, ...(isSmall ? [] : [rest]), namesText(entry), time].join();
}

/** Names: none for who is no member. */
export function namesText(entry: MapEntry): string {
  if (!entry.isMember) return '"DNSConfig":{}'; // CHECK: map-view-member
  const { suffix } = entry.tailnet;
  return `"DNSConfig":${JSON.stringify({ Proxied: true, Domains: [suffix], Routes: { [suffix]: [] } })}`;
}

/** The packet filter: nothing may come in to who is no member. */
export function rulesOf(entry: MapEntry): readonly WireFilterRule[] {
  if (!entry.isMember) return ALLOW_NOTHING; // CHECK: map-filter-member
  return entry.tailnet.policy.rulesFor(entry.id);
}

/** What the policy gives the device beside access; nothing to who is no member. */
export function attributesOf(entry: MapEntry): readonly string[] {
  return entry.isMember ? entry.tailnet.policy.attributesOf(entry.id) : NO_ATTRIBUTES;
}

/** Peers that are online again; when they were seen last is of no interest any more. */
export function onlineText(ids: readonly number[]): string {
  const entries = (value: boolean) => ids.map(id => `"${id}":${value}`).join();
  return `"PeerSeenChange":{${entries(false)}},"OnlineChange":{${entries(true)}}`;
}
