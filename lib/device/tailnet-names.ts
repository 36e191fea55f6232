/**
 * The names of the netmap, kept up with its changes: this device, its peers, and the records that the coordinator adds.
 */
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
    if (changes.self && netmap.self !== undefined)
      this.#table.setHost(OWN_HOST, netmap.self.name, netmap.self.addresses);
    if (!this.#isIndexed) return this.#table.touch();
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

/** The peers of a netmap, found by reading through them. */
class NetmapDirectory implements NameDirectory {
  readonly #netmap: Netmap;
  readonly #maxAddresses: number;

  constructor(netmap: Netmap, maxAddresses: number) {
    this.#netmap = netmap;
    this.#maxAddresses = maxAddresses;
  }

  find(name: string): readonly Uint8Array[] | undefined {
    const { peers, self } = this.#netmap;
    if (self !== undefined && normalName(self.name) === name) return undefined; // this device has it
    for (let slot = 0; slot < peers.count; slot++) {
      if (normalName(peers.nameAt(slot)) !== name) continue;
      const { addresses } = peers.peerAt(slot);
      if (addresses.length > 0) return addresses.slice(0, this.#maxAddresses).map(({ bytes }) => bytes);
    }
    return undefined;
  }

  reverse(address: Uint8Array): string | undefined {
    const { peers } = this.#netmap;
    for (let slot = 0; slot < peers.count; slot++) {
      if (!peers.hasBytes(slot, address)) continue;
      const { name, addresses } = peers.peerAt(slot);
      const isOwn = addresses.slice(0, this.#maxAddresses).some(({ bytes }) => equalBytes(bytes, address));
      const normal = isOwn ? normalName(name) : undefined;
      if (normal !== undefined) return normal;
    }
    return undefined;
  }

  hasBelow(name: string): boolean {
    const { peers } = this.#netmap;
    for (let slot = 0; slot < peers.count; slot++)
      if (normalName(peers.nameAt(slot))?.endsWith(`.${name}`) === true) return true;
    return false;
  }
}
