/**
 * The names of the netmap, kept up with its changes: this device, its peers, and the records that the coordinator adds.
 */
import type { Prefix } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';
import type { Netmap, NetmapChanges } from '../control/netmap.ts';
import { answerQuery } from '../dns/answer.ts';
import type { NameLimits } from '../dns/limits.ts';
import { normalName } from '../dns/name.ts';
import { type NameDirectory, NameTable, OWN_HOST } from '../dns/name-table.ts';

/** The names of one device's netmap. */
export class TailnetNames {
  readonly #netmap: Netmap;
  readonly #table: NameTable;
  readonly #isIndexed: boolean;

  /** `isIndexed`: names are found at once, for 450 bytes a peer; else each question reads through the netmap. */
  constructor(netmap: Netmap, limits: NameLimits, isIndexed: boolean) {
    this.#netmap = netmap;
    this.#isIndexed = isIndexed;
    this.#table = new NameTable(limits, isIndexed ? undefined : new NetmapDirectory(netmap, limits.addresses));
  }

  /** Addresses of a name, IPv4 first; undefined when there is no such name. */
  resolve(name: string): readonly Uint8Array[] | undefined {
    return this.#table.resolve(name);
  }

  /** Answers a query by UDP: the length of the answer in `out`, 0 for none. */
  answer(query: Uint8Array, start: number, end: number, out: Uint8Array): number {
    return answerQuery(this.#table, query, start, end, out);
  }

  /** The netmap has changed. */
  handleChanges(changes: NetmapChanges): void {
    const netmap = this.#netmap;
    if (changes.self || changes.dns) this.#table.configure(netmap.suffix, netmap.dns);
    if (!this.#isIndexed) return this.#table.touch();
    if (changes.self && netmap.self !== undefined)
      this.#table.setHost(OWN_HOST, netmap.self.name, netmap.self.addresses);
    if (changes.peers !== 'all') {
      for (const id of changes.peers) this.#follow(id);
      return;
    }
    this.#table.clearHosts();
    if (netmap.self !== undefined) this.#table.setHost(OWN_HOST, netmap.self.name, netmap.self.addresses);
    for (let slot = 0; slot < netmap.peers.count; slot++) this.#follow(netmap.peers.idAt(slot));
  }

  #follow(id: number): void {
    const slot = this.#netmap.peers.find(id);
    if (slot < 0) return this.#table.removeHost(id);
    const { name, addresses } = this.#netmap.peers.peerAt(slot);
    this.#table.setHost(id, name, addresses);
  }
}

/** This device and the peers of a netmap, found by reading through them. */
class NetmapDirectory implements NameDirectory {
  readonly #netmap: Netmap;
  readonly #maxAddresses: number;

  constructor(netmap: Netmap, maxAddresses: number) {
    this.#netmap = netmap;
    this.#maxAddresses = maxAddresses;
  }

  find(name: string): readonly Uint8Array[] | undefined {
    const { peers, self } = this.#netmap;
    if (self !== undefined && normalName(self.name) === name) return this.#addressesOf(self);
    for (let slot = 0; slot < peers.count; slot++) {
      if (normalName(peers.nameAt(slot)) !== name) continue;
      const addresses = this.#addressesOf(peers.peerAt(slot));
      if (addresses !== undefined) return addresses;
    }
    return undefined;
  }

  /** Undefined for none. */
  #addressesOf({ addresses }: { readonly addresses: readonly Prefix[] }): readonly Uint8Array[] | undefined {
    if (addresses.length === 0) return undefined;
    return addresses.slice(0, this.#maxAddresses).map(({ bytes }) => bytes);
  }

  /** The name of a device in normal form, if it has this address and a name. */
  #nameIfHas(address: Uint8Array, name: string, addresses: readonly Prefix[]): string | undefined {
    const isOwn = addresses.slice(0, this.#maxAddresses).some(({ bytes }) => equalBytes(bytes, address));
    return isOwn ? normalName(name) : undefined;
  }

  reverse(address: Uint8Array): string | undefined {
    const { peers, self } = this.#netmap;
    const own = self === undefined ? undefined : this.#nameIfHas(address, self.name, self.addresses);
    if (own !== undefined) return own;
    for (let slot = 0; slot < peers.count; slot++) {
      if (!peers.hasBytes(slot, address)) continue;
      const peer = peers.peerAt(slot);
      const name = this.#nameIfHas(address, peer.name, peer.addresses);
      if (name !== undefined) return name;
    }
    return undefined;
  }

  hasBelow(name: string): boolean {
    const { peers, self } = this.#netmap;
    if (self !== undefined && normalName(self.name)?.endsWith(`.${name}`) === true) return true;
    for (let slot = 0; slot < peers.count; slot++)
      if (normalName(peers.nameAt(slot))?.endsWith(`.${name}`) === true) return true;
    return false;
  }
}
