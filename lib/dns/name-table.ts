/**
 * The names of a tailnet, both ways: devices with their full names, the extra records of the coordinator, and the zones
 * for which an absent name really does not exist.
 *
 * A short name is looked up below the tailnet's suffix and the search domains, as resolvers of operating systems do.
 * Where two devices claim a name the one with the lower id has it; this device is id 0. A host and an extra record of
 * the same name have their addresses together. Left out: wildcards, 4via6 names, records other than A and AAAA.
 */
import { formatAddress, type Prefix, parseAddress } from '../base/address.ts';
import type { NameLimits } from './limits.ts';
import { normalName } from './name.ts';

/** The id of this device itself. */
export const OWN_HOST = 0;

/** DNS settings as a coordinator sends them; what is not listed here is not looked at. */
export interface DnsSettings {
  /** Suffixes that are searched for short names. */
  readonly Domains?: readonly string[] | null;
  /** Suffixes and their resolvers; without resolvers only this table knows them. */
  readonly Routes?: Readonly<Record<string, readonly unknown[] | null>> | null;
  /** Names and addresses. */
  readonly ExtraRecords?: readonly { readonly Name: string; readonly Type?: string; readonly Value: string }[] | null;
}

/** Texts take a third of the memory of byte arrays, and are the keys of the other direction anyway. */
interface Host {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** The one id that claims something, or several, the lowest first. */
type Claims = number | readonly number[];

/** Reverse zones of the addresses that tailnets have: 100.64.0.0/10 and fd7a:115c:a1e0::/48. And `onion` (RFC 7686). */
const FIXED_ZONE =
  /^(?:(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.100\.in-addr\.arpa|0\.e\.1\.a\.c\.5\.1\.1\.a\.7\.d\.f\.ip6\.arpa|onion)$/;
const FIXED_ZONES = 66;

/**
 * Devices that are known elsewhere, for a table without a copy of them. Where two have a name or an address, it is the
 * one with the lower id.
 */
export interface NameDirectory {
  /** The addresses of the device that has this full name in normal form. */
  find(name: string): readonly Uint8Array[] | undefined;
  /** The full name in normal form of the device that has this address (4 or 16 bytes). */
  reverse(address: Uint8Array): string | undefined;
  /** Whether the name of a device lies below this one. */
  hasBelow(name: string): boolean;
}

/** Names and addresses. */
export class NameTable {
  /** Extra records and zones that were left out for their form. */
  malformed = 0;
  /** What was left out for a limit. */
  overLimit = 0;
  readonly #limits: NameLimits;
  readonly #hosts = new Map<number, Host>();
  readonly #byName = new Map<string, Claims>();
  /** By address text. */
  readonly #byAddress = new Map<string, Claims>();
  /** How many names lie below a name that need not be one itself. */
  readonly #above = new Map<string, number>();
  #records = new Map<string, string[]>();
  #recordByAddress = new Map<string, string>();
  #zones: ReadonlySet<string> = new Set();
  readonly #directory: NameDirectory | undefined;
  #searched: readonly string[] = [];
  #serial = 1;

  /** An empty table; devices of a directory count beside those that are set here. */
  constructor(limits: NameLimits, directory?: NameDirectory) {
    this.#limits = limits;
    this.#directory = directory;
  }

  /** Counts changes: the serial number of the zones, 1 to 2^32-1. */
  get serial(): number {
    return this.#serial;
  }

  /** How many devices have a name here. */
  get hostCount(): number {
    return this.#hosts.size;
  }

  /** The tailnet's suffix (empty: none) and the coordinator's settings. Replaces those that were there. */
  configure(suffix: string, settings: DnsSettings): void {
    this.#change();
    this.malformed = 0;
    const own = suffix === '' ? undefined : normalName(suffix);
    const zones = new Set(own === undefined ? [] : [own]);
    const searched = new Set(own === undefined ? [] : [own]);
    for (const [zone, resolvers] of Object.entries(settings.Routes ?? {}))
      if ((resolvers ?? []).length === 0) this.#addName(zones, zone, FIXED_ZONES);
    for (const domain of settings.Domains ?? []) this.#addName(searched, domain);
    this.#zones = zones;
    this.#searched = [...searched];
    for (const name of this.#records.keys()) this.#countAbove(name, -1);
    this.#records = new Map();
    this.#recordByAddress = new Map();
    for (const record of settings.ExtraRecords ?? []) this.#addRecord(record);
    for (const name of this.#records.keys()) this.#countAbove(name, 1);
  }

  #addName(names: Set<string>, text: string, fixed = 0): void {
    const name = normalName(text);
    if (name === undefined) return void this.malformed++;
    if (names.size + fixed >= this.#limits.zones) return void this.overLimit++; // CHECK: dns-zone-limit
    names.add(name);
  }

  /** Types other than addresses are for other programs; a type that its address has not is still the address's. */
  #addRecord({
    Name,
    Type = '',
    Value,
  }: {
    readonly Name: string;
    readonly Type?: string;
    readonly Value: string;
  }): void {
    if (Type !== '' && Type !== 'A' && Type !== 'AAAA') return;
    const name = normalName(Name);
    const address = parseAddress(Value);
    if (name === undefined || address === undefined) return void this.malformed++;
    const known = this.#records.get(name);
    const isOver =
      known === undefined ? this.#records.size >= this.#limits.records : known.length >= this.#limits.addresses;
    if (isOver) return void this.overLimit++; // CHECK: dns-record-limit
    const text = formatAddress(address);
    if (known === undefined) this.#records.set(name, [text]);
    else known.push(text);
    if (!this.#recordByAddress.has(text)) this.#recordByAddress.set(text, name);
  }

  /**
   * Adds or replaces a device by its id. `name` is fully qualified, with or without the dot at the end; a device without
   * a name, or with one that is none, has only its place freed. Of prefixes the first address counts.
   */
  setHost(id: number, name: string, addresses: readonly Prefix[]): void {
    this.removeHost(id);
    const normal = normalName(name);
    if (normal === undefined || addresses.length === 0) return;
    if (this.#hosts.size >= this.#limits.hosts) return void this.overLimit++; // CHECK: dns-host-limit
    const kept = addresses.slice(0, this.#limits.addresses).map(({ bytes }) => formatAddress(bytes));
    this.#hosts.set(id, { name: normal, addresses: kept });
    claim(this.#byName, normal, id);
    for (const address of kept) claim(this.#byAddress, address, id);
    this.#countAbove(normal, 1);
    this.#change();
  }

  /** Removes a device; an unknown id is fine. */
  removeHost(id: number): void {
    const host = this.#hosts.get(id);
    if (host === undefined) return;
    this.#hosts.delete(id);
    release(this.#byName, host.name, id);
    for (const address of host.addresses) release(this.#byAddress, address, id);
    this.#countAbove(host.name, -1);
    this.#change();
  }

  /** The directory has changed. */
  touch(): void {
    this.#change();
  }

  /** Removes all devices. */
  clearHosts(): void {
    for (const id of [...this.#hosts.keys()]) this.removeHost(id);
  }

  /**
   * Addresses (4 or 16 bytes) of a name, IPv4 first; undefined when there is no such name. A name without the dot at the
   * end is also looked up below the suffix and the search domains: before it stands for itself when it is one label,
   * afterwards when it is more.
   */
  resolve(text: string): readonly Uint8Array[] | undefined {
    const name = normalName(text);
    if (name === undefined) return undefined;
    if (text.endsWith('.')) return this.find(name);
    const below = this.#searched.map(suffix => `${name}.${suffix}`);
    for (const candidate of name.includes('.') ? [name, ...below] : [...below, name]) {
      const found = this.find(candidate);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Addresses of a full name in normal form, IPv4 first; undefined when nobody has it. */
  find(name: string): readonly Uint8Array[] | undefined {
    const claims = this.#byName.get(name);
    const host = claims === undefined ? undefined : this.#hosts.get(firstOf(claims));
    const records = this.#records.get(name);
    const listed = this.#directory?.find(name);
    if (host === undefined && records === undefined && listed === undefined) return undefined;
    const texts = new Set([
      ...(listed?.map(bytes => formatAddress(bytes)) ?? []),
      ...(host?.addresses ?? []),
      ...(records ?? []),
    ]);
    const sorted = [...texts].map(text => parseAddress(text)!).sort((a, b) => a.length - b.length);
    return sorted.slice(0, this.#limits.addresses);
  }

  /** The full name of the device, else of the extra record, that has an address of 4 or 16 bytes. */
  reverse(address: Uint8Array): string | undefined {
    const text = formatAddress(address);
    const claims = this.#byAddress.get(text);
    if (claims !== undefined) return this.#hosts.get(firstOf(claims))!.name;
    return this.#directory?.reverse(address) ?? this.#recordByAddress.get(text);
  }

  /** Whether a name in normal form exists, if only because others lie below it (RFC 8020). */
  exists(name: string): boolean {
    const isListed = this.#byName.has(name) || this.#records.has(name) || this.#above.has(name) || this.#isZone(name);
    return isListed || this.#directory?.find(name) !== undefined || this.#directory?.hasBelow(name) === true;
  }

  /** The longest zone that a name belongs to, of those that this table knows completely; undefined for none. */
  zoneOf(name: string): string | undefined {
    for (let zone = name; ; ) {
      if (this.#isZone(zone)) return zone;
      const dot = zone.indexOf('.');
      if (dot < 0) return undefined;
      zone = zone.slice(dot + 1);
    }
  }

  #isZone(name: string): boolean {
    return this.#zones.has(name) || FIXED_ZONE.test(name);
  }

  #change(): void {
    this.#serial = this.#serial >= 0xffff_ffff ? 1 : this.#serial + 1;
  }

  #countAbove(name: string, by: number): void {
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const above = name.slice(dot + 1);
      const count = (this.#above.get(above) ?? 0) + by;
      if (count === 0) this.#above.delete(above);
      else this.#above.set(above, count);
    }
  }
}

function firstOf(claims: Claims): number {
  return typeof claims === 'number' ? claims : claims[0]!;
}

function claim(table: Map<string, Claims>, key: string, id: number): void {
  const claims = table.get(key);
  if (claims === undefined) return void table.set(key, id);
  table.set(
    key,
    [...(typeof claims === 'number' ? [claims] : claims), id].sort((a, b) => a - b),
  );
}

function release(table: Map<string, Claims>, key: string, id: number): void {
  const claims = table.get(key);
  const left = claims === undefined || typeof claims === 'number' ? [] : claims.filter(other => other !== id);
  if (left.length === 0) table.delete(key);
  else table.set(key, left.length === 1 ? left[0]! : left);
}
