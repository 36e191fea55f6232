/** The sources of access tests: addresses as bits by their numbers, and which of them a set of rules lets in. */
import type { PolicyCompiler } from './compiler.ts';
import type { Entrance } from './explain.ts';
import type { IpKey } from './ip-set.ts';
import { setBit } from './rule-index.ts';

/** Addresses by their numbers in {@link TestSources.keys}. */
export type SourceBits = Uint32Array;

/** The addresses that one name stands for, for one state of a compiler. */
export class TestSources {
  readonly keys: readonly IpKey[];
  /** Words of the bits. */
  readonly words: number;
  /** Numbers of the addresses of each device, by its id. */
  readonly #ofDevice = new Map<number, number[]>();
  readonly #ofOwner = new Map<string, number[]>();
  /** Those of IPv4 and of IPv6. */
  readonly #families: readonly [SourceBits, SourceBits];
  readonly #admitted = new Map<string, SourceBits>();
  readonly #unions = new Map<string, SourceBits>();
  readonly #meant: SourceBits;

  constructor(keys: readonly IpKey[], compiler: PolicyCompiler) {
    this.keys = keys;
    this.words = (keys.length + 31) >>> 5;
    this.#families = [this.#none(), this.#none()];
    this.#meant = this.#none();
    keys.forEach((key, i) => {
      setBit(this.#families[key.length === 9 ? 0 : 1], i);
      const sender = compiler.directory.ownerOf(key);
      if (sender === undefined) return;
      put(this.#ofDevice, sender.device.id, i);
      if (sender.owner !== undefined) put(this.#ofOwner, sender.owner, i);
    });
  }

  /** Logins of those who own any of them. */
  get owners(): Iterable<string> {
    return this.#ofOwner.keys();
  }

  /**
   * Those of the family of a destination, without the device `skipped` and, if `owner` is given, of that owner alone. The
   * array is written over by the next call.
   */
  meantFor(destination: IpKey, skipped: number | undefined, owner?: string): SourceBits {
    const meant = this.#meant;
    const family = this.#families[destination.length === 9 ? 0 : 1];
    if (owner === undefined) meant.set(family);
    else {
      meant.fill(0);
      for (const i of this.#ofOwner.get(owner) ?? []) meant[i >> 5]! |= family[i >> 5]! & (1 << (i & 31));
    }
    if (skipped !== undefined) for (const i of this.#ofDevice.get(skipped) ?? []) meant[i >> 5]! &= ~(1 << (i & 31));
    return meant;
  }

  /**
   * Those that any of the entrances lets in; `key` is equal for equal entrances. `spend` is told how many addresses are
   * looked for, or words put together; undefined when it says no.
   */
  admittedBy(
    entrances: readonly Entrance[],
    key: string,
    spend: (searches: number, words: number) => boolean,
  ): SourceBits | undefined {
    const known = this.#unions.get(key);
    if (known !== undefined) return known;
    const out = this.#none();
    for (const { id, sources } of entrances) {
      let bits = this.#admitted.get(id);
      const isAffordable = spend(bits === undefined ? this.keys.length : 0, this.words);
      if (!isAffordable) return undefined;
      if (bits === undefined) {
        bits = this.#none();
        for (let i = 0; i < this.keys.length; i++)
          if (sources === 'anybody' || sources.has(this.keys[i]!)) setBit(bits, i);
        this.#admitted.set(id, bits);
      }
      for (let word = 0; word < out.length; word++) out[word]! |= bits[word]!;
    }
    this.#unions.set(key, out);
    return out;
  }

  #none(): SourceBits {
    return new Uint32Array(this.words);
  }
}

function put<K>(map: Map<K, number[]>, key: K, value: number): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
