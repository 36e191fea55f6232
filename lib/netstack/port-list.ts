/** Things that are bound to ports, in the order of their ports, found by halving. Any number may share a port. */

/** What has a port. */
export interface HasPort {
  readonly port: number;
}

/** The list; see the top of the file. */
export class PortList<T extends HasPort> {
  /** Entries by port; those of one port in the order of their addition. */
  readonly entries: T[] = [];

  /** Place of the first entry on `port`, or of the next higher one where there is none. */
  first(port: number): number {
    const { entries } = this;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (entries[middle]!.port < port) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether anything is bound to the port. */
  has(port: number): boolean {
    return this.entries[this.first(port)]?.port === port;
  }

  /** Adds an entry behind the others of its port. */
  add(entry: T): void {
    this.entries.splice(this.first(entry.port + 1), 0, entry);
  }

  /** Removes an entry; false when it is not there. */
  remove(entry: T): boolean {
    const at = this.entries.indexOf(entry, this.first(entry.port));
    if (at >= 0) this.entries.splice(at, 1);
    return at >= 0;
  }
}
