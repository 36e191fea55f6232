/**
 * Where a region's STUN servers are: the address or the name of a relay per family, and the addresses that names have
 * turned out to have. Looking them up is the caller's.
 */
import { canonicalAddress, parseAddress } from '../base/address.ts';
import type { WireDerpNode } from '../derp/map.ts';
import { STUN_PORT, unmapAddress } from '../stun/message.ts';

/** Addresses of a name are used for this long before it is looked up again; meanwhile they still count. */
const FRESH_MS = 300_000;
/** Addresses of one name that are looked at. */
const MAX_ADDRESSES = 16;

/** A STUN server of a relay, on one family: its address, or the name to look up. */
export interface StunPlace {
  readonly port: number;
  readonly address: string | undefined;
  readonly name: string;
}

/** Where a relay answers STUN on a family; undefined when it does not. */
export function stunPlace(node: WireDerpNode, isV6: boolean): StunPlace | undefined {
  const port = node.STUNPort === undefined || node.STUNPort === 0 ? STUN_PORT : node.STUNPort;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  const name = node.HostName;
  const given = node.STUNTestIP || (isV6 ? node.IPv6 : node.IPv4) || '';
  if (given !== '') return literal(given, isV6, port, name);
  if (parseAddress(name) !== undefined) return literal(name, isV6, port, name);
  return isName(name) ? { port, address: undefined, name } : undefined;
}

/** Whether a place is this machine itself, which can be asked without any network. */
export function isLoopbackPlace(place: StunPlace): boolean {
  return place.address === undefined ? place.name === 'localhost' : isLoopback(place.address);
}

/**
 * The families of a machine with these addresses, for `Netcheck.setFamilies`: both when there are none, since a system
 * that does not tell may have any.
 */
export function familiesOf(addresses: readonly string[]): { readonly hasV4: boolean; readonly hasV6: boolean } {
  const isUnknown = addresses.length === 0;
  return {
    hasV4: isUnknown || addresses.some(address => !address.includes(':')),
    hasV6: isUnknown || addresses.some(address => address.includes(':')),
  };
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

function literal(text: string, isV6: boolean, port: number, name: string): StunPlace | undefined {
  const address = familyAddress(text, isV6);
  return address === undefined ? undefined : { port, address, name };
}

/** Canonical text when it is an address of that family, and no IPv4 address in IPv6 form. */
function familyAddress(text: string, isV6: boolean): string | undefined {
  const bytes = parseAddress(text);
  if (bytes === undefined || unmapAddress(bytes).length !== (isV6 ? 16 : 4) || (bytes.length === 16) !== isV6)
    return undefined;
  return canonicalAddress(text);
}

function isName(text: string): boolean {
  return text.length <= 253 && /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/.test(text);
}

interface Entry {
  v4: string | undefined;
  v6: string | undefined;
  /** When its addresses came; -Infinity: never. */
  atMs: number;
  isAsked: boolean;
}

/** The addresses of names. */
export class NameBook {
  readonly #limit: number;
  /** Undefined while no name was wanted. */
  #entries: Map<string, Entry> | undefined = undefined;
  #questions: string[] | undefined = undefined;

  /** Keeps `limit` names at most. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Forgets all names but those for which `isKept` is true. */
  keepOnly(isKept: (name: string) => boolean): void {
    for (const name of this.#entries?.keys() ?? []) if (!isKept(name)) this.#entries?.delete(name);
  }

  /** Asks anew for every name that is wanted again, be its addresses fresh or not. */
  expire(): void {
    for (const entry of this.#entries?.values() ?? []) entry.atMs = Number.NEGATIVE_INFINITY;
  }

  /** A name's addresses are wanted: asks for them unless they are fresh or asked for. */
  want(nowMs: number, name: string): void {
    this.#entries ??= new Map();
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      if (this.#entries.size >= this.#limit) return; // CHECK: netcheck-names
      entry = { v4: undefined, v6: undefined, atMs: Number.NEGATIVE_INFINITY, isAsked: false };
      this.#entries.set(name, entry);
    }
    if (entry.isAsked || nowMs - entry.atMs < FRESH_MS) return;
    entry.isAsked = true;
    this.#questions ??= [];
    this.#questions.push(name);
  }

  /** Takes the next name to look up. */
  pollQuestion(): string | undefined {
    for (let name = this.#questions?.shift(); name !== undefined; name = this.#questions?.shift())
      if (this.isAsked(name)) return name;
    this.#questions = undefined;
    return undefined;
  }

  /**
   * The addresses of a name, best first; none when it could not be looked up, and then those from before remain. False
   * when nobody asked.
   */
  answer(nowMs: number, name: string, addresses: readonly string[]): boolean {
    const entry = this.#entries?.get(name);
    if (entry === undefined || !entry.isAsked) return false; // CHECK: netcheck-name-unasked
    entry.isAsked = false;
    const known = addresses.slice(0, MAX_ADDRESSES);
    const v4 = known.map(text => familyAddress(text, false)).find(text => text !== undefined);
    const v6 = known.map(text => familyAddress(text, true)).find(text => text !== undefined);
    if (v4 === undefined && v6 === undefined) return true;
    entry.v4 = v4;
    entry.v6 = v6;
    entry.atMs = nowMs;
    return true;
  }

  /** The address to ask at; undefined when it is not known (yet). */
  addressOf(place: StunPlace, isV6: boolean): string | undefined {
    if (place.address !== undefined) return place.address;
    const entry = this.#entries?.get(place.name);
    return isV6 ? entry?.v6 : entry?.v4;
  }

  /** Whether a name is being looked up. */
  isAsked(name: string): boolean {
    return this.#entries?.get(name)?.isAsked === true;
  }
}
