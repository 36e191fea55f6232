/**
 * The names of the netmap, kept up with its changes: this device, its peers, and the records that the coordinator adds.
 */
import type { Netmap, NetmapChanges } from '../control/netmap.ts';
import { answerQuery } from '../dns/answer.ts';
import type { NameLimits } from '../dns/limits.ts';
import { NameTable, OWN_HOST } from '../dns/name-table.ts';

/** The names of one device's netmap. */
export class TailnetNames {
  readonly #netmap: Netmap;
  readonly #table: NameTable;

  constructor(netmap: Netmap, limits: NameLimits) {
    this.#netmap = netmap;
    this.#table = new NameTable(limits);
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
