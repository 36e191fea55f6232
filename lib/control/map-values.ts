/**
 * From the JSON of a MapResponse to values that can be trusted in form: each reader gives its value, or undefined for
 * one that is malformed. Texts of peers come from strangers and are checked as such.
 */
import {
  type Endpoint,
  formatAddress,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parsePrefix,
} from '../base/address.ts';
import { isAllZero } from '../base/bytes.ts';
import { type KeyKind, parseKeyText } from '../crypto/key-text.ts';
import type { WireDerpNode, WireDerpRegion } from '../derp/map.ts';
import type { WireCapGrant, WireFilterRule, WireNetPortRange } from '../filter/rule.ts';
import type { JsonObject, JsonValue } from './json-collector.ts';
import type { MapLimits } from './map-limits.ts';
import type { WireDnsConfig, WireUserProfile } from './message.ts';
import type { NetmapPeer } from './peer-record.ts';
import { parseTimeMs } from './time.ts';

/** A value as it was collected; undefined: absent, or dropped for its size. */
export type Collected = JsonValue | undefined;

/** This device, as the coordinator sees it. */
export interface NetmapSelf {
  readonly id: number;
  readonly stableId: string;
  /** Fully qualified with the trailing dot; everything behind its first label is the tailnet's suffix. */
  readonly name: string;
  readonly user: number;
  readonly key: Uint8Array;
  /** Seconds since 1970; 0: never. */
  readonly keyExpiry: number;
  readonly addresses: readonly Prefix[];
  readonly tags: readonly string[];
  readonly isAuthorized: boolean;
  readonly isExpired: boolean;
  /** Names of what this device may do; none with {@link MapLimits.isLean}. */
  readonly capabilities: readonly string[];
}

/** A change of a known peer; undefined fields are unchanged. */
export interface PeerPatch {
  readonly id: number;
  readonly homeRegion?: number;
  readonly endpoints?: readonly Endpoint[];
  readonly key?: Uint8Array;
  readonly discoKey?: Uint8Array;
  readonly isOnline?: boolean;
  readonly keyExpiry?: number;
}

/** Something to be answered: what the coordinator wants to know. */
export interface MapPing {
  readonly url: string;
  readonly isNoise: boolean;
  readonly types: string;
  readonly ip: string;
  readonly payload: string;
}

/** The tailnet's resolver, as every member has it. */
const RESOLVERS = Object.freeze(['100.100.100.100', 'fd7a:115c:a1e0::53']);
/** A device has one of each family; some coordinators give more. */
const NONE: readonly string[] = Object.freeze([]);
const MAX_ADDRESSES = 8;
const MAX_NAME_LENGTH = 254;

/** The object itself, or undefined. */
export function asObject(value: Collected): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

/** An integer of 0 to `most`; null and absent are 0. */
export function natural(value: Collected, most = Number.MAX_SAFE_INTEGER): number | undefined {
  if (value === undefined || value === null) return 0;
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most ? value : undefined;
}

/** An id: a positive integer below 2^53. */
export function positive(value: Collected): number | undefined {
  const id = natural(value);
  return id === 0 ? undefined : id;
}

/** Text; null and absent are empty. */
function text(value: Collected): string | undefined {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : undefined;
}

/** A boolean; null and absent are false. */
function flag(value: Collected): boolean | undefined {
  if (value === undefined || value === null) return false;
  return typeof value === 'boolean' ? value : undefined;
}

/** A list; null and absent are empty. */
function list(value: Collected): JsonValue[] | undefined {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : undefined;
}

/** Texts of a list; undefined when anything else is in it. */
function texts(value: Collected): string[] | undefined {
  const items = list(value);
  return items?.every(item => typeof item === 'string') ? (items as string[]) : undefined;
}

/** Each element read; undefined when one of them is. */
function all<T>(items: readonly JsonValue[] | undefined, read: (item: JsonValue) => T | undefined): T[] | undefined {
  const out: T[] = [];
  for (const item of items ?? []) {
    const value = read(item);
    if (value === undefined) return undefined;
    out.push(value);
  }
  return items === undefined ? undefined : out;
}

/** Seconds since 1970 of an RFC 3339 text, 0 for none; a time before 1970 is 1, one after 2106 the last that fits. */
function seconds(value: Collected): number | undefined {
  const written = text(value);
  if (written === undefined || written === '') return written === '' ? 0 : undefined;
  const ms = parseTimeMs(written);
  if (ms === undefined || ms === 0) return ms;
  return Math.min(Math.max(Math.floor(ms / 1000), 1), 0xffff_ffff);
}

/** A key of this kind; zeros for absent. */
function keyOf(kind: KeyKind, value: Collected): Uint8Array | undefined {
  if (value === undefined || value === null) return new Uint8Array(32);
  return typeof value === 'string' ? parseKeyText(kind, value) : undefined;
}

const prefix = (value: JsonValue) => (typeof value === 'string' ? parsePrefix(value) : undefined);

/** Addresses with their prefix length; an address keeps its host bits. */
function address(value: JsonValue): Prefix | undefined {
  if (typeof value !== 'string') return undefined;
  const slash = value.indexOf('/');
  const bytes = parseAddress(slash < 0 ? value : value.slice(0, slash));
  if (bytes === undefined) return undefined;
  // Nearly all are whole addresses, which are read once only.
  const isWhole = slash < 0 || value.slice(slash + 1) === String(8 * bytes.length);
  const bits = isWhole ? 8 * bytes.length : parsePrefix(value)?.bits;
  return bits === undefined ? undefined : { bytes, bits };
}

/**
 * The addresses of one device: whole addresses of hosts. Networks, and what means something else to every machine
 * (unspecified, loopback, multicast, link-local, the resolver inside), are left out, and so are those behind the first
 * {@link MAX_ADDRESSES}.
 */
function hostAddresses(value: Collected): Prefix[] | undefined {
  return all(list(value), address)?.filter(isHost).slice(0, MAX_ADDRESSES);
}

function isHost({ bytes, bits }: Prefix): boolean {
  if (bits !== 8 * bytes.length) return false; // CHECK: map-address-network
  const [a, b] = [bytes[0]!, bytes[1]!];
  const isSpecialV4 = bytes.length === 4 && (a === 0 || a === 127 || a >= 224 || (a === 169 && b === 254));
  const isSpecialV6 = bytes.length === 16 && (a === 0 || a === 0xff || (a === 0xfe && (b & 0xc0) === 0x80));
  const isResolver = RESOLVERS.includes(formatAddress(bytes));
  if (isResolver) return false; // CHECK: map-address-resolver
  return !isSpecialV4 && !isSpecialV6; // what begins with a zero byte: unspecified, loopback, IPv4 in other forms
}

/** Endpoints that can be used, at most `most`. */
function endpoints(value: Collected, most: number): Endpoint[] | undefined {
  const out: Endpoint[] = [];
  const items = list(value);
  for (const item of items ?? []) {
    const endpoint = typeof item === 'string' ? parseEndpoint(item) : undefined;
    if (endpoint !== undefined && !endpoint.address.includes('%') && out.length < most) out.push(endpoint);
  }
  return items === undefined ? undefined : out;
}

/** The text when it is a DNS name, else empty. */
function dnsName(name: string): string {
  const isName = name.length <= MAX_NAME_LENGTH && /^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+$/.test(name);
  return isName ? name : '';
}

function tagsOf(value: Collected, most: number): string[] | undefined {
  return texts(value)
    ?.filter(tag => /^tag:[A-Za-z0-9_-]{1,63}$/.test(tag))
    .slice(0, most);
}

function regionOf(value: JsonObject): number | undefined {
  const home = natural(value['HomeDERP'], 65_535);
  if (home !== 0) return home;
  const match = /^127\.3\.3\.40:([0-9]{1,5})$/.exec(text(value['DERP']) ?? '');
  return natural(match === null ? 0 : Number(match[1]), 65_535);
}

/** A peer; undefined when it cannot be one. */
export function peerOf(value: Collected, limits: MapLimits): NetmapPeer | undefined {
  const node = asObject(value);
  if (node === undefined) return undefined;
  const key = keyOf('nodekey', node['Key']);
  const disco = keyOf('discokey', node['DiscoKey']);
  const name = text(node['Name']);
  const addresses = hostAddresses(node['Addresses']);
  const hasAllowed = node['AllowedIPs'] !== undefined && node['AllowedIPs'] !== null;
  const isOnline = node['Online'] ?? undefined;
  if (key === undefined || isAllZero(key)) return undefined; // CHECK: map-peer-key
  if (isOnline !== undefined && typeof isOnline !== 'boolean') return undefined;
  const fields = {
    id: positive(node['ID']),
    name: name === undefined ? undefined : dnsName(name),
    user: limits.isLean ? 0 : natural(node['User']),
    key,
    addresses,
    allowedIPs: hasAllowed && !limits.isLean ? all(list(node['AllowedIPs']), prefix) : addresses,
    endpoints: endpoints(node['Endpoints'], limits.endpoints),
    homeRegion: regionOf(node),
    keyExpiry: seconds(node['KeyExpiry']),
    tags: tagsOf(node['Tags'], limits.tags),
    isExpired: flag(node['Expired']),
    isWireGuardOnly: flag(node['IsWireGuardOnly']),
    isJailed: flag(node['IsJailed']),
    isUnsignedPeerApiOnly: flag(node['UnsignedPeerAPIOnly']),
  };
  const isWhole = Object.values(fields).every(field => field !== undefined);
  if (!isWhole || disco === undefined) return undefined; // CHECK: map-peer-form
  return {
    ...(fields as unknown as NetmapPeer),
    discoKey: isAllZero(disco) ? undefined : disco,
    discoTag: undefined,
    isOnline,
  };
}

/** A patch; undefined when it is malformed. */
export function patchOf(value: Collected, limits: MapLimits): PeerPatch | undefined {
  const change = asObject(value);
  const id = positive(change?.['NodeID']);
  if (change === undefined || id === undefined) return undefined;
  const patch: { -readonly [name in keyof PeerPatch]: PeerPatch[name] | undefined } = { id };
  const read = <N extends keyof PeerPatch>(name: N, field: string, reader: (value: JsonValue) => PeerPatch[N]) => {
    const given = change[field];
    if (given !== undefined && given !== null) patch[name] = reader(given);
    return given === undefined || given === null || patch[name] !== undefined;
  };
  const key = (kind: KeyKind) => (given: JsonValue) => {
    const bytes = keyOf(kind, given);
    return bytes === undefined || isAllZero(bytes) ? undefined : bytes;
  };
  const isFine =
    read('homeRegion', 'DERPRegion', given => natural(given, 65_535)) &&
    read('endpoints', 'Endpoints', given => endpoints(given, limits.endpoints)) &&
    read('key', 'Key', key('nodekey')) &&
    read('discoKey', 'DiscoKey', key('discokey')) &&
    read('isOnline', 'Online', given => (typeof given === 'boolean' ? given : undefined)) &&
    read('keyExpiry', 'KeyExpiry', seconds);
  return isFine ? (patch as PeerPatch) : undefined;
}

/** The self node; undefined makes its message undecodable. */
export function selfOf(value: Collected, limits: MapLimits): NetmapSelf | undefined {
  const node = asObject(value);
  const key = keyOf('nodekey', node?.['Key']);
  const caps = node?.['CapMap'] === undefined || node['CapMap'] === null ? {} : asObject(node['CapMap']);
  const listed = texts(node?.['Capabilities']);
  if (node === undefined || key === undefined || isAllZero(key)) return undefined;
  if (caps === undefined || listed === undefined) return undefined;
  const self = {
    id: positive(node['ID']),
    stableId: text(node['StableID']),
    name: text(node['Name']),
    user: natural(node['User']),
    key,
    keyExpiry: seconds(node['KeyExpiry']),
    addresses: hostAddresses(node['Addresses']),
    tags: tagsOf(node['Tags'], limits.tags),
    isAuthorized: flag(node['MachineAuthorized']),
    isExpired: flag(node['Expired']),
    capabilities: limits.isLean ? NONE : [...new Set([...Object.keys(caps), ...listed])],
  };
  return Object.values(self).every(field => field !== undefined) ? (self as unknown as NetmapSelf) : undefined;
}

function portRange(value: JsonValue): WireNetPortRange | undefined {
  const range = asObject(value);
  const ports = asObject(range?.['Ports']);
  const [first, last] = [natural(ports?.['First'], 65_535), natural(ports?.['Last'], 65_535)];
  const ip = range?.['IP'];
  if (ports === undefined || typeof ip !== 'string' || (range?.['Bits'] ?? null) !== null) return undefined;
  return first === undefined || last === undefined ? undefined : { IP: ip, Ports: { First: first, Last: last } };
}

function grantOf(value: JsonValue): WireCapGrant | undefined {
  const grant = asObject(value);
  const [destinations, names] = [texts(grant?.['Dsts']), texts(grant?.['Caps'])];
  const values = grant?.['CapMap'] ?? undefined;
  const map = values === undefined ? {} : asObject(values);
  if (grant === undefined || destinations === undefined || names === undefined || map === undefined) return undefined;
  return { Dsts: destinations, Caps: [...new Set([...names, ...Object.keys(map)])] };
}

/** A filter rule; undefined for one that is malformed, which is then left out: rules only ever allow. */
export function ruleOf(value: Collected): WireFilterRule | undefined {
  const rule = asObject(value);
  const sources = texts(rule?.['SrcIPs']);
  const ports = all(list(rule?.['DstPorts']), portRange);
  const protocols = all(list(rule?.['IPProto']), item => natural(item, 255));
  const grants = all(list(rule?.['CapGrant']), grantOf);
  const hasBits = (list(rule?.['SrcBits'])?.length ?? 1) > 0;
  if (rule === undefined || hasBits) return undefined; // CHECK: map-rule-bits
  if (sources === undefined || ports === undefined || protocols === undefined) return undefined; // CHECK: map-rule-form
  if (grants === undefined) return undefined; // CHECK: map-rule-grants
  const wire = { SrcIPs: sources, DstPorts: ports, ...(grants.length > 0 && { CapGrant: grants }) };
  return protocols.length === 0 ? wire : { ...wire, IPProto: protocols };
}

function relayOf(value: JsonValue): WireDerpNode | undefined {
  const node = asObject(value);
  const [name, host] = [text(node?.['Name']), text(node?.['HostName'])];
  if (node === undefined || name === undefined || host === undefined || !/^[\x21-\x7e]{0,253}$/.test(host))
    return undefined;
  const [certName, v4, v6] = [text(node['CertName']), text(node['IPv4']), text(node['IPv6'])];
  const [stunPort, derpPort] = [
    node['STUNPort'] === -1 ? -1 : natural(node['STUNPort'], 65_535),
    natural(node['DERPPort'], 65_535),
  ];
  const [region, stunOnly] = [positive(node['RegionID']), flag(node['STUNOnly'])];
  if (certName === undefined || v4 === undefined || v6 === undefined || region === undefined) return undefined;
  if (stunPort === undefined || derpPort === undefined || stunOnly === undefined) return undefined;
  const base = { Name: name, RegionID: region, HostName: host, CertName: certName, IPv4: v4, IPv6: v6 };
  return { ...base, STUNPort: stunPort, STUNOnly: stunOnly, DERPPort: derpPort };
}

/** A relay region under its decimal id, with its first relays; undefined when it is malformed. */
export function regionEntryOf(key: string, value: Collected, limits: MapLimits): WireDerpRegion | undefined {
  const region = asObject(value);
  const id = positive(region?.['RegionID']);
  const nodes = list(region?.['Nodes']);
  const [code, name] = [text(region?.['RegionCode']), text(region?.['RegionName'])];
  const [avoid, noHome] = [flag(region?.['Avoid']), flag(region?.['NoMeasureNoHome'])];
  if (id === undefined || String(id) !== key || id > 65_535 || nodes === undefined) return undefined;
  if (code === undefined || name === undefined || avoid === undefined || noHome === undefined) return undefined;
  const relays = nodes.map(relayOf).filter(node => node !== undefined && node.RegionID === id);
  const kept = relays.slice(0, limits.regionNodes) as WireDerpNode[];
  return { RegionID: id, RegionCode: code, RegionName: name, Avoid: avoid, NoMeasureNoHome: noHome, Nodes: kept };
}

/** What is used of the DNS settings; undefined makes their message undecodable. */
export function dnsOf(value: Collected): WireDnsConfig | undefined {
  const dns = asObject(value);
  const record = (item: JsonValue) => {
    const entry = asObject(item);
    const [name, type, given] = [entry?.['Name'], text(entry?.['Type']), entry?.['Value']];
    if (typeof name !== 'string' || type === undefined || typeof given !== 'string') return undefined;
    return { Name: name, Type: type, Value: given };
  };
  if (dns === undefined) return undefined;
  const wanted = dns['Routes'] ?? undefined;
  const given = wanted === undefined ? {} : asObject(wanted);
  const [domains, records] = [texts(dns['Domains']), all(list(dns['ExtraRecords']), record)];
  if (given === undefined || domains === undefined || records === undefined) return undefined;
  const routes: Record<string, null> = Object.create(null);
  for (const [suffix, value] of Object.entries(given)) {
    const resolvers = list(value);
    if (resolvers === undefined) return undefined;
    if (resolvers.length === 0) routes[suffix] = null;
  }
  return { Routes: routes, Domains: domains, ExtraRecords: records };
}

/** A user profile; undefined when it is malformed. */
export function userOf(value: Collected): WireUserProfile | undefined {
  const user = asObject(value);
  const [id, login, display] = [positive(user?.['ID']), text(user?.['LoginName']), text(user?.['DisplayName'])];
  if (id === undefined || login === undefined || display === undefined) return undefined;
  return { ID: id, LoginName: login, DisplayName: display };
}

/** A ping request; undefined when it is malformed. */
export function pingOf(value: Collected): MapPing | undefined {
  const ping = asObject(value);
  const [url, types, ip] = [text(ping?.['URL']), text(ping?.['Types']), text(ping?.['IP'])];
  const [payload, isNoise] = [text(ping?.['Payload']), flag(ping?.['URLIsNoise'])];
  if (ping === undefined || url === undefined || url === '' || types === undefined) return undefined;
  return ip === undefined || payload === undefined || isNoise === undefined
    ? undefined
    : { url, isNoise, types, ip, payload };
}

/** The texts of a list, at most `most`; undefined when it is none. */
export function healthOf(value: Collected, most: number): string[] | undefined {
  return texts(value)?.slice(0, most);
}
