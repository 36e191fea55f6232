/** Names and addresses that a coordinator adds to those of devices. */
import { formatAddress, parseAddress } from '../base/address.ts';
import type { NameLimits } from './limits.ts';
import { Ancestors, normalName } from './name.ts';

/** A record as a coordinator sends it. */
export interface WireExtraRecord {
  readonly Name: string;
  readonly Type?: string;
  readonly Value: string;
}

/** The records of one table. */
export class ExtraRecords {
  /** Records that were left out for their form. */
  malformed = 0;
  /** Records that were left out for a limit. */
  overLimit = 0;
  readonly #limits: NameLimits;
  readonly #records = new Map<string, string[]>();
  /** The first name of an address. */
  readonly #byAddress = new Map<string, string>();
  readonly #ancestors = new Ancestors();

  constructor(limits: NameLimits, records: readonly WireExtraRecord[]) {
    this.#limits = limits;
    for (const record of records) this.#add(record);
    for (const name of this.#records.keys()) this.#ancestors.add(name);
  }

  /** Types other than addresses are for other programs; a type that its address has not is still the address's. */
  #add({ Name, Type = '', Value }: WireExtraRecord): void {
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
    if (!this.#byAddress.has(text)) this.#byAddress.set(text, name);
  }

  /** Addresses of a full name in normal form; undefined when no record has it. */
  find(name: string): readonly Uint8Array[] | undefined {
    return this.#records.get(name)?.map(text => parseAddress(text)!);
  }

  /** The name of the first record that has an address (4 or 16 bytes). */
  reverse(address: Uint8Array): string | undefined {
    return this.#byAddress.get(formatAddress(address));
  }

  /** Whether the name of a record lies below this one. */
  hasBelow(name: string): boolean {
    return this.#ancestors.has(name);
  }
}
