/** Names inside a tailnet for the services, which need addresses: those of `--host` first, then the devices'. */
import { canonicalAddress } from '../../lib/base/address.ts';
import type { TailnetStatus } from '../node/index.ts';

/** A table that is made anew when it is asked after {@link forget}. */
export class InsideNames {
  readonly #hosts: ReadonlyMap<string, string>;
  readonly #look: () => TailnetStatus | undefined;
  #table: Map<string, string> | undefined;

  /** `look` gives what is known of the tailnet now. */
  constructor(hosts: ReadonlyMap<string, string>, look: () => TailnetStatus | undefined) {
    this.#hosts = hosts;
    this.#look = look;
  }

  /** The tailnet has changed. */
  forget(): void {
    this.#table = undefined;
  }

  /** The first address of an address, a full name, or a name without the tailnet's domain; undefined for nobody. */
  resolve(host: string): string | undefined {
    const name = host.toLowerCase().replace(/\.$/, '');
    return canonicalAddress(host) ?? this.#hosts.get(name) ?? this.#devices().get(name);
  }

  #devices(): ReadonlyMap<string, string> {
    if (this.#table !== undefined) return this.#table;
    const table = new Map<string, string>();
    const tailnet = this.#look();
    if (tailnet === undefined) return table;
    const suffix = suffixOf(tailnet.name);
    for (const { name, addresses } of tailnet.peers) {
      const full = name.toLowerCase();
      const [address] = addresses;
      if (address === undefined || full === '') continue;
      table.set(full, address);
      if (suffix !== '' && full.endsWith(suffix)) table.set(full.slice(0, -suffix.length), address);
    }
    this.#table = table;
    return table;
  }
}

/** What follows the first label of this device's own name, with its dot: the domain that all devices here share. */
function suffixOf(name: string): string {
  const dot = name.indexOf('.');
  return dot < 0 ? '' : name.slice(dot).toLowerCase();
}
