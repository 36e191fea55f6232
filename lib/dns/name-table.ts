/**
 * The names of a tailnet, both ways: devices with their full names, the extra records of the coordinator, and the zones
 * for which an absent name really does not exist.
 *
 * A short name is looked up below the tailnet's suffix and the search domains, as resolvers of operating systems do.
 * Where two devices claim a name the one with the lower id has it; this device is id 0. A host and an extra record of
 * the same name have their addresses together. Left out: wildcards, 4via6 names, records other than A and AAAA.
 */
import { formatAddress, type Prefix } from '../base/address.ts';
import { ExtraRecords, type WireExtraRecord } from './extra-records.ts';
import { HostIndex } from './host-index.ts';
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
  readonly ExtraRecords?: readonly WireExtraRecord[] | null;
}

/** Reverse zones of the addresses that tailnets have: 100.64.0.0/10 and fd7a:115c:a1e0::/48. And `onion` (RFC 7686). */
const fixedZone = (name: string): string | undefined =>
  /(?:^|\.)((?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.100\.in-addr\.arpa|0\.e\.1\.a\.c\.5\.1\.1\.a\.7\.d\.f\.ip6\.arpa|onion)$/.exec(
    name,
  )?.[1];
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
  readonly #limits: NameLimits;
  readonly #directory: NameDirectory | undefined;
  /** Made with the first device that is set here. */
  #hosts: HostIndex | undefined = undefined;
  /** Undefined while the coordinator adds none. */
  #records: ExtraRecords | undefined = undefined;
  /** Beside the fixed ones. */
  #zones: readonly string[] = [];
  #searched: readonly string[] = [];
  #malformed = 0;
  #overLimit = 0;
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

  /** How many devices have a name here, besides those of the directory. */
  get hostCount(): number {
    return this.#hosts?.size ?? 0;
  }

  /** Extra records, zones and search domains that were left out for their form. */
  get malformed(): number {
    return this.#malformed + (this.#records?.malformed ?? 0);
  }

  /** What was left out for a limit. */
  get overLimit(): number {
    return this.#overLimit + (this.#records?.overLimit ?? 0) + (this.#hosts?.overLimit ?? 0);
  }

  /** The tailnet's suffix (empty: none) and the coordinator's settings. Replaces those that were there. */
  configure(suffix: string, settings: DnsSettings): void {
    this.touch();
    this.#malformed = 0;
    this.#overLimit += this.#records?.overLimit ?? 0;
    const own = suffix === '' ? undefined : normalName(suffix);
    const zones = new Set(own === undefined ? [] : [own]);
    const searched = new Set(own === undefined ? [] : [own]);
    for (const [zone, resolvers] of Object.entries(settings.Routes ?? {}))
      if ((resolvers ?? []).length === 0) this.#addName(zones, zone, FIXED_ZONES);
    for (const domain of settings.Domains ?? []) this.#addName(searched, domain);
    this.#zones = [...zones];
    this.#searched = [...searched];
    const records = settings.ExtraRecords ?? [];
    this.#records = records.length === 0 ? undefined : new ExtraRecords(this.#limits, records);
  }

  #addName(names: Set<string>, text: string, fixed = 0): void {
    const name = normalName(text);
    if (name === undefined) return void this.#malformed++;
    if (fixed > 0 && fixedZone(name) === name) return;
    if (names.size + fixed >= this.#limits.zones) return void this.#overLimit++; // CHECK: dns-zone-limit
    names.add(name);
  }

  /**
   * Adds or replaces a device by its id. `name` is fully qualified, with or without the dot at the end; a device without
   * a name, or with one that is none, has only its place freed. Of prefixes the first address counts.
   */
  setHost(id: number, name: string, addresses: readonly Prefix[]): void {
    this.#hosts ??= new HostIndex(this.#limits);
    this.#hosts.set(id, name, addresses);
    this.touch();
  }

  /** Removes a device; an unknown id is fine. */
  removeHost(id: number): void {
    this.#hosts?.remove(id);
    this.touch();
  }

  /** Removes all devices. */
  clearHosts(): void {
    this.#hosts?.clear();
    this.touch();
  }

  /** Something has changed, here or in the directory. */
  touch(): void {
    this.#serial = this.#serial >= 0xffff_ffff ? 1 : this.#serial + 1;
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

  /** Addresses of a full name in normal form, IPv4 first, each once; undefined when nobody has it. */
  find(name: string): readonly Uint8Array[] | undefined {
    const found = [this.#directory?.find(name), this.#hosts?.find(name), this.#records?.find(name)];
    if (found.every(addresses => addresses === undefined)) return undefined;
    const distinct = new Map<string, Uint8Array>();
    for (const addresses of found) for (const address of addresses ?? []) distinct.set(formatAddress(address), address);
    return [...distinct.values()].sort((a, b) => a.length - b.length).slice(0, this.#limits.addresses);
  }

  /** The full name of the device, else of the extra record, that has an address of 4 or 16 bytes. */
  reverse(address: Uint8Array): string | undefined {
    return this.#hosts?.reverse(address) ?? this.#directory?.reverse(address) ?? this.#records?.reverse(address);
  }

  /** Whether a name in normal form exists, if only because others lie below it (RFC 8020). */
  exists(name: string): boolean {
    if (this.find(name) !== undefined || this.zoneOf(name) === name) return true;
    const sources = [this.#hosts, this.#records, this.#directory];
    return sources.some(source => source?.hasBelow(name) === true);
  }

  /** The longest zone that a name belongs to, of those that this table knows completely; undefined for none. */
  zoneOf(name: string): string | undefined {
    let longest = fixedZone(name);
    for (const zone of this.#zones) {
      const isLonger = longest === undefined || zone.length > longest.length;
      if (isLonger && isWithin(name, zone)) longest = zone;
    }
    return longest;
  }
}

/** Whether a name is a zone's own, or lies below it. */
function isWithin(name: string, zone: string): boolean {
  const at = name.length - zone.length;
  return at <= 0 ? name === zone : name[at - 1] === '.' && name.endsWith(zone);
}
