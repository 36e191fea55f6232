/**
 * A device's record as it stands on the wire: as a peer for others, as itself for the device, and as a patch of what
 * has changed. One bad value makes some readers refuse a whole message for ever, so everything is checked on the way
 * out: what a peer cannot be without makes the record unusable, everything else that is malformed is left out.
 *
 * Both the old and the new form of home relay (`DERP` below capability 111) and the allowed IPs (implied from 112 on)
 * are always sent: every reader takes them, and the bytes can be shared between all viewers.
 */
import { formatAddress, formatEndpoint, parseAddress, parseEndpoint } from '../base/address.ts';
import { fromBase64, isAllZero } from '../base/bytes.ts';
import type { WireNode, WirePeerChange, WireUserProfile } from '../control/message.ts';
import { parseKeyText } from '../crypto/key-text.ts';
import { plainText } from './map-text.ts';
import type { DeviceRecord, UserRecord } from './model.ts';
import { formatTimeMs } from '../control/time.ts';

/** What of a peer differs: the peer as a whole, for what a patch cannot say. */
export const DIFFERS_WHOLE = 1;
/** What a patch can say. */
export const DIFFERS_ENDPOINTS = 2;
export const DIFFERS_REGION = 4;
export const DIFFERS_CAPABILITY = 8;
export const DIFFERS_DISCO = 16;
export const DIFFERS_EXPIRY = 32;
/** Online or not, and since when. */
export const DIFFERS_PRESENCE = 64;

/** Owner of all tagged devices, as every coordinator calls it. */
export const TAGGED_USER_ID = 2_147_455_555;

const MOST_ENDPOINTS = 32;
const MOST_SERVICES = 8;
const MOST_TAGS = 64;
const MOST_TEXT = 255;
/** What every device may do; values are empty lists. */
const SELF_CAPABILITIES = Object.freeze(['https://tailscale.com/cap/file-sharing']);
/** Endpoints that a small device keeps of a peer. */
const SMALL_ENDPOINTS = 8;
const NONE: readonly string[] = Object.freeze([]);

/** Whether others know a device as online, and when it was seen last (ms since 1970, 0: never). */
export interface Presence {
  readonly isOnline: boolean;
  readonly seenMs: number;
}

/** Whether a record has what neither a peer nor the device itself can be without. */
export function isUsable(device: DeviceRecord): boolean {
  const key = parseKeyText('nodekey', device.nodeKey);
  if (!Number.isSafeInteger(device.id) || device.id <= 0) return false; // CHECK: map-out-id
  if (key === undefined || isAllZero(key)) return false; // CHECK: map-out-key
  return addressesOf(device).length === 2; // exactly one of each family, IPv4 first: one client takes nothing else
}

/** Whether others can be told of a device: one without a disco key cannot be reached, so it is not shown yet. */
export function isPublishable(device: DeviceRecord): boolean {
  return isUsable(device) && discoKeyOf(device) !== undefined;
}

/** The user whose profile goes with a device. */
export function userIdOf(device: DeviceRecord): number {
  return device.tags.length > 0 ? TAGGED_USER_ID : device.user;
}

/** Profile of the owner of tagged devices. */
export function taggedProfile(): WireUserProfile {
  return { ID: TAGGED_USER_ID, LoginName: 'tagged-devices', DisplayName: 'Tagged Devices' };
}

/** A user's profile; a login name is never empty, since a client would not save its login. */
export function profileOf(user: Pick<UserRecord, 'id' | 'loginName' | 'displayName'>): WireUserProfile {
  const loginName = plainText(user.loginName, MOST_TEXT) || `user-${user.id}`;
  return { ID: user.id, LoginName: loginName, DisplayName: plainText(user.displayName, MOST_TEXT) || loginName };
}

/**
 * A device as others see it. `suffix` is the tailnet's, without dots around it; `routes` are what it serves, exit routes
 * included, canonical.
 */
export function peerNode(
  device: DeviceRecord,
  suffix: string,
  presence: Presence,
  routes: readonly string[] = NONE,
): WireNode {
  const region = regionOf(device);
  const capability = capabilityOf(device);
  const isSeen = !presence.isOnline && presence.seenMs > 0;
  return {
    ...commonNode(device, suffix, routes),
    ...(region > 0 ? { DERP: `127.3.3.40:${region}`, HomeDERP: region } : undefined),
    ...(capability > 0 ? { Cap: capability } : undefined),
    Online: presence.isOnline,
    ...(isSeen ? { LastSeen: formatTimeMs(presence.seenMs) } : undefined),
  };
}

/** A device as a small device sees it: what it takes to reach it and to know it again. */
export function smallPeerNode(device: DeviceRecord, suffix: string, routes: readonly string[]): Partial<WireNode> {
  const addresses = addressesOf(device);
  const endpoints = endpointsOf(device).slice(0, SMALL_ENDPOINTS);
  const tags = tagsOf(device);
  const disco = discoKeyOf(device);
  const region = regionOf(device);
  return {
    ID: device.id,
    Name: `${labelOf(device)}.${suffix}.`,
    Key: device.nodeKey,
    ...(device.keyExpiryMs > 0 ? { KeyExpiry: formatTimeMs(device.keyExpiryMs) } : undefined),
    ...(disco === undefined ? undefined : { DiscoKey: disco }),
    Addresses: addresses,
    ...(routes.length > 0 ? { AllowedIPs: [...addresses, ...routes] } : undefined),
    ...(endpoints.length > 0 ? { Endpoints: endpoints } : undefined),
    ...(region > 0 ? { HomeDERP: region } : undefined),
    ...(tags.length > 0 ? { Tags: tags } : undefined),
  };
}

/** A device as it sees itself, with what it serves and the attributes that the policy gives it. */
export function selfNode(
  device: DeviceRecord,
  suffix: string,
  routes: readonly string[] = NONE,
  attributes: readonly string[] = NONE,
): WireNode {
  const names = [...SELF_CAPABILITIES, ...attributes.filter(isPlain)];
  return {
    ...commonNode(device, suffix, routes),
    MachineAuthorized: device.isApproved,
    CapMap: Object.fromEntries(names.map(name => [name, []])),
  };
}

/** The same for a small device: without what it has said of itself. */
export function smallSelfNode(device: DeviceRecord, suffix: string, attributes: readonly string[]): Partial<WireNode> {
  const node: Partial<Record<string, unknown>> = { ...selfNode(device, suffix, NONE, attributes) };
  for (const name of ['DiscoKey', 'AllowedIPs', 'Endpoints', 'Hostinfo', 'Created']) delete node[name];
  return node;
}

function isPlain(name: string): boolean {
  return name !== '' && plainText(name, MOST_TEXT) === name;
}

/** What of a peer is to be said for these bits of `DIFFERS_…`; {@link DIFFERS_WHOLE} is none of them. */
export function peerPatch(device: DeviceRecord, bits: number, presence: Presence): WirePeerChange {
  const isNewProcess = (bits & DIFFERS_DISCO) !== 0;
  const region = isNewProcess || (bits & DIFFERS_REGION) !== 0 ? regionOf(device) : 0;
  const endpoints = isNewProcess || (bits & DIFFERS_ENDPOINTS) !== 0 ? endpointsOf(device) : [];
  const isGone = (bits & DIFFERS_PRESENCE) !== 0 && !presence.isOnline;
  return {
    NodeID: device.id,
    ...(region > 0 ? { DERPRegion: region } : undefined),
    ...((bits & DIFFERS_CAPABILITY) !== 0 ? { Cap: capabilityOf(device) } : undefined),
    ...(endpoints.length > 0 ? { Endpoints: endpoints } : undefined),
    ...(isNewProcess ? { DiscoKey: discoKeyOf(device)! } : undefined),
    ...(isGone ? { Online: false } : undefined),
    ...(isGone && presence.seenMs > 0 ? { LastSeen: formatTimeMs(presence.seenMs) } : undefined),
    ...((bits & DIFFERS_EXPIRY) !== 0 ? { KeyExpiry: formatTimeMs(device.keyExpiryMs) } : undefined),
  };
}

/** Whether a device can be reached anywhere directly, as far as it is known. */
export function hasEndpoints(device: DeviceRecord): boolean {
  return endpointsOf(device).length > 0;
}

/** A patch that takes all endpoints away: an empty list is one, where an absent one is not. */
export function noEndpoints(device: DeviceRecord): WirePeerChange {
  return { NodeID: device.id, Endpoints: [] };
}

/** What others have to be told when a record becomes another: bits of `DIFFERS_…`, 0 for nothing. */
export function peerDifference(before: DeviceRecord, after: DeviceRecord): number {
  let bits = 0;
  const isOther =
    isOtherNode(before, after) ||
    before.hostname !== after.hostname ||
    before.os !== after.os ||
    JSON.stringify(before.services) !== JSON.stringify(after.services);
  if (isOther) bits |= DIFFERS_WHOLE;
  // A patch cannot take anything away.
  if (before.discoKey !== after.discoKey)
    bits |= discoKeyOf(after) !== undefined && discoKeyOf(before) !== undefined ? DIFFERS_DISCO : DIFFERS_WHOLE;
  if (!isSameList(before.endpoints, after.endpoints))
    bits |= endpointsOf(after).length > 0 ? DIFFERS_ENDPOINTS : DIFFERS_WHOLE;
  if (before.homeRegion !== after.homeRegion) bits |= regionOf(after) > 0 ? DIFFERS_REGION : DIFFERS_WHOLE;
  if (before.capability !== after.capability) bits |= capabilityOf(after) > 0 ? DIFFERS_CAPABILITY : DIFFERS_WHOLE;
  if (before.keyExpiryMs !== after.keyExpiryMs) bits |= after.keyExpiryMs > 0 ? DIFFERS_EXPIRY : DIFFERS_WHOLE;
  return bits;
}

/** Whether the device itself has to be told. What it has said of itself is not repeated to it. */
export function selfDiffers(before: DeviceRecord, after: DeviceRecord): boolean {
  return (
    isOtherNode(before, after) || before.isApproved !== after.isApproved || before.keyExpiryMs !== after.keyExpiryMs
  );
}

/** What is not the device's own word. */
function isOtherNode(before: DeviceRecord, after: DeviceRecord): boolean {
  return (
    before.name !== after.name ||
    before.nodeKey !== after.nodeKey ||
    before.keySignature !== after.keySignature ||
    before.user !== after.user ||
    before.createdMs !== after.createdMs ||
    !isSameList(before.tags, after.tags) ||
    !isSameList(before.addresses, after.addresses)
  );
}

function commonNode(device: DeviceRecord, suffix: string, routes: readonly string[]): WireNode {
  const addresses = addressesOf(device);
  const endpoints = endpointsOf(device);
  const tags = tagsOf(device);
  const primary = routes.filter(route => !isExitRoute(route));
  const disco = discoKeyOf(device);
  const isSigned = device.keySignature !== '' && fromBase64(device.keySignature) !== undefined;
  return {
    ID: device.id,
    StableID: String(device.id),
    Name: `${labelOf(device)}.${suffix}.`,
    User: userIdOf(device),
    Key: device.nodeKey,
    ...(device.keyExpiryMs > 0 ? { KeyExpiry: formatTimeMs(device.keyExpiryMs) } : undefined),
    ...(isSigned ? { KeySignature: device.keySignature } : undefined),
    ...(disco === undefined ? undefined : { DiscoKey: disco }),
    Addresses: addresses,
    AllowedIPs: routes.length > 0 ? [...addresses, ...routes] : addresses,
    ...(primary.length > 0 ? { PrimaryRoutes: primary } : undefined),
    ...(endpoints.length > 0 ? { Endpoints: endpoints } : undefined),
    Hostinfo: {
      OS: plainText(device.os, MOST_TEXT),
      Hostname: plainText(device.hostname, MOST_TEXT),
      ...servicesOf(device),
    },
    Created: formatTimeMs(device.createdMs),
    ...(tags.length > 0 ? { Tags: tags } : undefined),
  };
}

function tagsOf(device: DeviceRecord): string[] {
  return device.tags.filter(tag => /^tag:[A-Za-z0-9_-]{1,63}$/.test(tag)).slice(0, MOST_TAGS);
}

function labelOf(device: DeviceRecord): string {
  const isLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(device.name);
  return isLabel ? device.name : `device-${device.id}`;
}

/** `1.2.3.4/32` and `fd7a::1/128`, canonical; fewer than two when the record has anything else. */
function addressesOf(device: DeviceRecord): string[] {
  const [v4, v6] = device.addresses.map(parseAddress);
  const out: string[] = [];
  if (v4?.length === 4) out.push(`${formatAddress(v4)}/32`);
  if (v6?.length === 16) out.push(`${formatAddress(v6)}/128`);
  return out;
}

function discoKeyOf(device: DeviceRecord): string | undefined {
  const key = parseKeyText('discokey', device.discoKey);
  return key === undefined || isAllZero(key) ? undefined : device.discoKey;
}

function endpointsOf(device: DeviceRecord): string[] {
  const out: string[] = [];
  for (const text of device.endpoints) {
    const endpoint = parseEndpoint(text);
    const isGood = endpoint !== undefined && !endpoint.address.includes('%');
    if (isGood && out.length < MOST_ENDPOINTS) out.push(formatEndpoint(endpoint));
  }
  return out;
}

function servicesOf(device: DeviceRecord): { Services?: { Proto: string; Port: number }[] } {
  const services = device.services
    .filter(({ Proto, Port }) => /^[a-z0-9-]{1,32}$/.test(Proto) && isWithin(Port, 1, 65_535))
    .slice(0, MOST_SERVICES)
    .map(({ Proto, Port }) => ({ Proto, Port }));
  return services.length > 0 ? { Services: services } : {};
}

function regionOf(device: DeviceRecord): number {
  return isWithin(device.homeRegion, 1, 65_535) ? device.homeRegion : 0;
}

function capabilityOf(device: DeviceRecord): number {
  return isWithin(device.capability, 1, 65_535) ? device.capability : 0;
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

/** Whether a route is one for a whole family. */
export function isExitRoute(route: string): boolean {
  return route === '0.0.0.0/0' || route === '::/0';
}

/** Whether two lists of texts are equal. */
export function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((text, i) => text === b[i]));
}
