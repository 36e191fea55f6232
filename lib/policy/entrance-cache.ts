/** The ways to ports of many devices, found once for those to which the same rules lead. */
import type { PolicyCompiler } from './compiler.ts';
import type { Member } from './directory.ts';
import { type Entrance, entrancesTo } from './explain.ts';
import type { IpKey } from './ip-set.ts';

/** Ways that devices share. */
export interface SharedEntrances {
  readonly entrances: readonly Entrance[];
  /** Equal for equal ways. */
  readonly key: string;
}

/** The ways to one port that were found so far. */
export interface WaysToPort {
  readonly port: number;
  readonly protocols: readonly number[];
  readonly known: Map<number | string, SharedEntrances>;
}

/** For one state of a compiler: it must not change while this is in use. */
export class EntranceCache {
  readonly #compiler: PolicyCompiler;
  readonly #classes = new Map<Member, number>();
  readonly #numbers = new Map<string, number>();
  readonly #known = new Map<string, Map<number | string, SharedEntrances>>();

  constructor(compiler: PolicyCompiler) {
    this.#compiler = compiler;
  }

  /** What is known of the ways to a port, for {@link find}. */
  waysTo(port: number, protocols: readonly number[]): WaysToPort {
    const place = `${port} ${protocols}`;
    const known = this.#known.get(place) ?? new Map<number | string, SharedEntrances>();
    this.#known.set(place, known);
    return { port, protocols, known };
  }

  /** The ways to an address, the owner's if it has one; `onNew` is told how many when they had to be looked for. */
  find(
    { port, protocols, known }: WaysToPort,
    destination: IpKey,
    owner: Member | undefined,
    onNew: (count: number) => void,
  ): SharedEntrances {
    const isIpv6 = destination.length !== 9;
    const kind = owner === undefined ? destination : this.#classOf(owner) * 2 + Number(isIpv6);
    const shared = known.get(kind);
    if (shared !== undefined) return shared;
    const entrances = protocols.flatMap(each => entrancesTo(this.#compiler, destination, port, each));
    const found = { entrances, key: entrances.map(({ id }) => id).join() };
    onNew(entrances.length);
    known.set(kind, found);
    return found;
  }

  /** Equal for devices that the same rules lead to in the same way. */
  #classOf(member: Member): number {
    const known = this.#classes.get(member);
    if (known !== undefined) return known;
    const numbers = this.#compiler.rulesAt(member);
    const aliases = numbers.flatMap(i => this.#compiler.rules[i]!.destinations.map(({ alias }) => alias));
    const hasAddresses = aliases.some(alias => alias.addresses !== undefined);
    const hasSelf = aliases.some(({ kind }) => kind === 'self');
    const which = hasAddresses ? `device ${member.device.id}` : hasSelf ? `owner ${member.owner}` : '';
    // Of a rule to several names a device may have one or another: its names say which.
    const key = `${numbers} ${which} ${[...member.aliases].sort()}`;
    const number = this.#numbers.get(key) ?? this.#numbers.size;
    this.#numbers.set(key, number);
    this.#classes.set(member, number);
    return number;
  }
}
