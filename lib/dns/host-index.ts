/**
 * Devices by name and by address, each found at once: about 450 bytes a device. Where two claim a name or an address the
 * one with the lower id has it.
 */
import { formatAddress, type Prefix, parseAddress } from '../base/address.ts';
import type { NameLimits } from './limits.ts';
import { Ancestors, normalName } from './name.ts';

/** Texts take a third of the memory of byte arrays, and are the keys of the other direction anyway. */
interface Host {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** The one id that claims something, or several, the lowest first. */
type Claims = number | readonly number[];

/** Devices of one table. */
export class HostIndex {
  /** Devices that were left out for the limit. */
  overLimit = 0;
  readonly #limits: NameLimits;
  readonly #hosts = new Map<number, Host>();
  readonly #byName = new Map<string, Claims>();
  /** By address text. */
  readonly #byAddress = new Map<string, Claims>();
  readonly #ancestors = new Ancestors();

  constructor(limits: NameLimits) {
    this.#limits = limits;
  }

  /** How many devices have a name here. */
  get size(): number {
    return this.#hosts.size;
  }

  /**
   * Adds or replaces a device by its id. `name` is fully qualified, with or without the dot at the end; a device without
   * a name, or with one that is none, has only its place freed. Of prefixes the first address counts.
   */
  set(id: number, name: string, addresses: readonly Prefix[]): void {
    this.remove(id);
    const normal = normalName(name);
    if (normal === undefined || addresses.length === 0) return;
    if (this.#hosts.size >= this.#limits.hosts) return void this.overLimit++; // CHECK: dns-host-limit
    const kept = addresses.slice(0, this.#limits.addresses).map(({ bytes }) => formatAddress(bytes));
    this.#hosts.set(id, { name: normal, addresses: kept });
    claim(this.#byName, normal, id);
    for (const address of kept) claim(this.#byAddress, address, id);
    this.#ancestors.add(normal);
  }

  /** Removes a device; an unknown id is fine. */
  remove(id: number): void {
    const host = this.#hosts.get(id);
    if (host === undefined) return;
    this.#hosts.delete(id);
    release(this.#byName, host.name, id);
    for (const address of host.addresses) release(this.#byAddress, address, id);
    this.#ancestors.remove(host.name);
  }

  /** Removes all devices. */
  clear(): void {
    for (const id of [...this.#hosts.keys()]) this.remove(id);
  }

  /** Addresses of a full name in normal form; undefined when nobody has it. */
  find(name: string): readonly Uint8Array[] | undefined {
    const claims = this.#byName.get(name);
    if (claims === undefined) return undefined;
    return this.#hosts.get(firstOf(claims))!.addresses.map(text => parseAddress(text)!);
  }

  /** The full name in normal form of the device that has an address (4 or 16 bytes). */
  reverse(address: Uint8Array): string | undefined {
    const claims = this.#byAddress.get(formatAddress(address));
    return claims === undefined ? undefined : this.#hosts.get(firstOf(claims))!.name;
  }

  /** Whether the name of a device lies below this one. */
  hasBelow(name: string): boolean {
    return this.#ancestors.has(name);
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
