/**
 * What a mote is made of, as its user writes it: texts, checked and turned into bytes before anything is opened.
 * A mistake throws TypeError or RangeError that says what was expected; key material is never part of the text.
 */
import { canonicalAddress, parseAddress, parsePrefix, type Prefix, splitHostPort } from '../base/address.ts';
import { parseKey, SecretKey } from '../crypto/keys.ts';
import { type InterfaceAddress, type Preset, parseInterfaceAddress } from '../device/device.ts';
import type { CommonMoteOptions } from './common-options.ts';
import { checkTailnetOptions, type TailnetMoteOptions, type TailnetSettings } from './tailnet-options.ts';

/** One peer. */
export interface PeerOptions {
  /** Base64 of 32 bytes. */
  readonly publicKey: string;
  /** Base64 of 32 bytes; without it the peer has none. */
  readonly presharedKey?: string;
  /** `host:port` or `[v6]:port`; a name is resolved, and resolved again when the peer stops answering. */
  readonly endpoint?: string;
  /** Prefixes that the peer may use as sources and that are routed to it: `10.0.0.3/32`, `fd00::/64`. */
  readonly allowedIPs: readonly string[];
  /** Milliseconds between persistent keepalives; 0 or absent: none. */
  readonly persistentKeepaliveMs?: number;
}

/** A mote with a key, addresses and peers of its own configuration. */
export interface WireGuardMoteOptions extends CommonMoteOptions {
  /** Base64 of 32 bytes, or a {@link SecretKey}. */
  readonly privateKey: string | SecretKey;
  /** Own addresses inside the tunnel: `10.0.0.2/24`, `fd00::2/64`. At least one. */
  readonly addresses: readonly string[];
  readonly peers?: readonly PeerOptions[];
  readonly control?: undefined;
}

/** What `up` takes. */
export type MoteOptions = WireGuardMoteOptions | TailnetMoteOptions;

/** A peer after checking. */
export interface PeerSettings {
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  readonly endpoint: { readonly host: string; readonly port: number } | undefined;
  readonly allowedIPs: readonly Prefix[];
  readonly persistentKeepaliveMs: number;
}

/** Options after checking. */
export interface MoteSettings {
  /** Undefined in a tailnet. */
  readonly privateKey: SecretKey | undefined;
  readonly tailnet: TailnetSettings | undefined;
  readonly addresses: readonly InterfaceAddress[];
  readonly listenPort: number;
  readonly listenAddress: string | undefined;
  readonly mtu: number;
  readonly peers: readonly PeerSettings[];
  readonly preset: Preset;
  readonly hosts: ReadonlyMap<string, Uint8Array>;
}

/** MTU of a WireGuard interface over an outer IPv6 path of 1500 bytes. */
export const DEFAULT_MTU_BYTES = 1420;
/** MTU inside a tailnet, as all of its members have it. */
export const TAILNET_MTU_BYTES = 1280;

/** Checks all options. Throws TypeError or RangeError with the name of the option and what was expected. */
export function checkMoteOptions(options: MoteOptions): MoteSettings {
  const own = options.control === undefined ? checkOwn(options) : undefined;
  const tailnet = options.control === undefined ? undefined : checkTailnetOptions(options);
  const addresses = own?.addresses ?? [];
  const needsIpv6 = tailnet !== undefined || addresses.some(address => address.bytes.length === 16);
  const listenAddress = options.listenAddress === undefined ? undefined : canonicalAddress(options.listenAddress);
  if (options.listenAddress !== undefined && listenAddress === undefined)
    throw new RangeError(`"listenAddress" expected an IP address, got ${show(options.listenAddress)}`);
  const { onEvent, signal } = options;
  if (onEvent !== undefined) mustBeFunction(onEvent, 'onEvent');
  if (signal !== undefined) mustBeFunction(signal.addEventListener, 'signal.addEventListener');
  const preset = options.preset ?? 'large';
  if (preset !== 'large' && preset !== 'small')
    throw new RangeError(`"preset" expected small or large, got ${show(preset)}`);
  const defaultMtu = tailnet === undefined ? DEFAULT_MTU_BYTES : TAILNET_MTU_BYTES;
  return {
    privateKey: own?.privateKey,
    tailnet,
    addresses,
    listenPort: integer(options.listenPort ?? 0, 'listenPort', 0, 65535),
    listenAddress,
    mtu: integer(options.mtu ?? defaultMtu, 'mtu', needsIpv6 ? 1280 : 576, 65535),
    peers: own?.peers ?? [],
    preset,
    hosts: checkHosts(options.hosts ?? {}),
  };
}

function checkOwn(options: WireGuardMoteOptions): {
  privateKey: SecretKey;
  addresses: readonly InterfaceAddress[];
  peers: readonly PeerSettings[];
} {
  const addresses = list(options.addresses, 'addresses').map(text => {
    const address = typeof text === 'string' ? parseInterfaceAddress(text) : undefined;
    if (address === undefined)
      throw new RangeError(`"addresses" expected an address like 10.0.0.2/24, got ${show(text)}`);
    return address;
  });
  if (addresses.length === 0) throw new RangeError('"addresses" expected at least one address, got none');
  const { privateKey } = options;
  if (!(privateKey instanceof SecretKey) && typeof privateKey !== 'string')
    throw new TypeError(`"privateKey" expected base64 text or a SecretKey, got ${typeof privateKey}`);
  return {
    privateKey: privateKey instanceof SecretKey ? privateKey : SecretKey.fromBase64(privateKey),
    addresses,
    peers: list(options.peers ?? [], 'peers').map(checkPeerOptions),
  };
}

/** Checks one peer's options, as {@link checkMoteOptions} does. */
export function checkPeerOptions(peer: PeerOptions): PeerSettings {
  if (typeof peer !== 'object' || peer === null) throw new TypeError(`"peers" expected objects, got ${show(peer)}`);
  const presharedKey = peer.presharedKey === undefined ? undefined : key(peer.presharedKey, 'presharedKey');
  return {
    publicKey: key(peer.publicKey, 'publicKey'),
    presharedKey,
    endpoint: peer.endpoint === undefined ? undefined : checkEndpoint(peer.endpoint),
    allowedIPs: checkAllowedIPs(peer.allowedIPs),
    persistentKeepaliveMs: integer(peer.persistentKeepaliveMs ?? 0, 'persistentKeepaliveMs', 0, 65_535_000),
  };
}

/** Checks a list of prefixes. */
export function checkAllowedIPs(texts: readonly string[]): readonly Prefix[] {
  return list(texts, 'allowedIPs').map(text => {
    const prefix = typeof text === 'string' ? parsePrefix(text) : undefined;
    if (prefix === undefined)
      throw new RangeError(`"allowedIPs" expected prefixes like 10.0.0.3/32, got ${show(text)}`);
    return prefix;
  });
}

/** Checks `host:port`. */
export function checkEndpoint(text: string): { readonly host: string; readonly port: number } {
  const split = typeof text === 'string' ? splitHostPort(text) : undefined;
  if (split === undefined) throw new RangeError(`"endpoint" expected host:port or [v6]:port, got ${show(text)}`);
  return split;
}

/** Bytes of a base64 key; the text of the error holds no key material. */
export function key(text: string, name: string): Uint8Array {
  const bytes = typeof text === 'string' ? parseKey(text) : undefined;
  if (bytes === undefined) {
    const got = typeof text === 'string' ? `${text.length} characters` : typeof text;
    throw new RangeError(`"${name}" expected the base64 of 32 bytes (44 characters), got ${got} that are not`);
  }
  return bytes;
}

/** An integer in a range. */
export function integer(value: number, name: string, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most)
    throw new RangeError(`"${name}" expected an integer of ${least} to ${most}, got ${show(value)}`);
  return value;
}

/** A number of milliseconds, `Infinity` included. */
export function duration(value: number, name: string): number {
  if (typeof value !== 'number' || !(value >= 0))
    throw new RangeError(`"${name}" expected 0 or more milliseconds, got ${show(value)}`);
  return value;
}

/** Throws TypeError unless `value` is a function. */
export function mustBeFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw new TypeError(`"${name}" expected a function, got ${typeof value}`);
}

function checkHosts(hosts: Readonly<Record<string, string>>): ReadonlyMap<string, Uint8Array> {
  const out = new Map<string, Uint8Array>();
  for (const [name, text] of Object.entries(hosts)) {
    const address = typeof text === 'string' ? parseAddress(text) : undefined;
    if (address === undefined) throw new RangeError(`"hosts" expected an address for ${show(name)}, got ${show(text)}`);
    out.set(name.toLowerCase(), address);
  }
  return out;
}

function list<T>(value: readonly T[], name: string): readonly T[] {
  if (!Array.isArray(value)) throw new TypeError(`"${name}" expected an array, got ${typeof value}`);
  return value;
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value.slice(0, 80)}'` : String(value);
}
