/**
 * Where packets of each rule may come from, kept as devices change. Rules that name the same sources share a list. Each
 * list is made once; a device that changes is taken out of the lists that it was in and put into those that it belongs
 * to, which copies a list and does not make it again. Who needs a list holds its slot and looks whether it is another
 * one than before.
 */
import type { Alias } from './alias.ts';
import type { Directory, Member, MemberChange } from './directory.ts';
import { IpSet } from './ip-set.ts';
import type { PolicyRule } from './policy.ts';

/** Sources of a rule: a set of addresses, or anybody. */
export type Sources = IpSet | 'anybody';

/** The list of one set of names. It is another object when it is another list. */
export interface Slot {
  /** Unique in its table. */
  readonly number: number;
  /** Now; made when it is first asked for. */
  readonly sources: Sources;
}

/** A list that all devices share. */
class SharedSlot implements Slot {
  readonly number: number;
  /** Numbers of the rules. */
  readonly rules: number[] = [];
  readonly hasWildcard: boolean;
  readonly #aliases: readonly Alias[];
  readonly #keys: ReadonlySet<string>;
  readonly #directory: Directory;
  readonly #owned = new Map<string, OwnedSlot>();
  #base: IpSet | undefined;
  #sources: Sources | undefined;

  constructor(number: number, aliases: readonly Alias[], directory: Directory) {
    this.number = number;
    this.#aliases = aliases;
    this.#keys = new Set(aliases.map(({ key }) => key));
    this.#directory = directory;
    this.hasWildcard = aliases.some(({ kind }) => kind === 'all');
  }

  get sources(): Sources {
    this.#sources ??= this.#make();
    return this.#sources;
  }

  /** Names of devices in it; addresses are not among them. */
  get names(): readonly string[] {
    return this.#aliases.filter(alias => alias.addresses === undefined).map(({ key }) => key);
  }

  #has(member: Member): boolean {
    for (const key of member.aliases) if (this.#keys.has(key)) return true;
    return false;
  }

  /** That part of it which is an owner's. */
  ownedBy(owner: string, newNumber: () => number): OwnedSlot {
    const known = this.#owned.get(owner);
    if (known !== undefined) return known;
    const slot = new OwnedSlot(newNumber(), owner, this, this.#directory);
    this.#owned.set(owner, slot);
    return slot;
  }

  /** Devices have become others, come or gone. False when that is nothing to this list. */
  change(changes: readonly MemberChange[]): boolean {
    const mine = changes.filter(({ before, after }) => {
      const was = before !== undefined && this.#has(before);
      const is = after !== undefined && this.#has(after);
      return was !== is || (was && before.own.id !== after!.own.id);
    });
    if (mine.length === 0 || this.#sources === 'anybody') return false;
    if (this.#sources === undefined) return true;
    let set = this.#sources;
    // First all that go: an address may pass from one device to another.
    for (const { before } of mine)
      if (before !== undefined && this.#has(before))
        for (const key of before.keys) if (this.#base?.has(key) !== true) set = set.without(key);
    for (const { after } of mine)
      if (after !== undefined && this.#has(after)) for (const key of after.keys) set = set.with(key);
    this.#sources = set;
    return true;
  }

  /** An owner's devices, or what they are called, have changed. */
  forgetOwner(owner: string): void {
    const slot = this.#owned.get(owner);
    if (slot === undefined) return;
    slot.forget();
    if (this.#directory.ownedBy(owner).size === 0) this.#owned.delete(owner);
  }

  /** All of it is to be made again. */
  forget(): void {
    this.#base = undefined;
    this.#sources = undefined;
    for (const slot of this.#owned.values()) slot.forget();
  }

  #make(): Sources {
    if (this.#aliases.some(({ kind }) => kind === 'danger-all')) return 'anybody';
    const fixed = this.#aliases.flatMap(alias => {
      if (alias.kind === 'all') return this.#directory.wildcard.ranges;
      return alias.addresses?.ranges ?? [];
    });
    if (fixed.length > 0) this.#base = IpSet.of(fixed);
    const own = this.#aliases.flatMap(alias => [...this.#directory.membersOf(alias)].flatMap(each => each.own.ranges));
    return own.length === 0 && this.#base !== undefined ? this.#base : IpSet.of([...fixed, ...own]);
  }
}

/** What of a list is one owner's: the sources of `autogroup:self`. */
class OwnedSlot implements Slot {
  readonly number: number;
  readonly #owner: string;
  readonly #whole: SharedSlot;
  readonly #directory: Directory;
  #sources: IpSet | undefined;

  constructor(number: number, owner: string, whole: SharedSlot, directory: Directory) {
    this.number = number;
    this.#owner = owner;
    this.#whole = whole;
    this.#directory = directory;
  }

  get sources(): IpSet {
    if (this.#sources !== undefined) return this.#sources;
    const whole = this.#whole.sources;
    const keys = [...this.#directory.ownedBy(this.#owner)].flatMap(member => member.keys);
    const wanted = whole === 'anybody' ? keys : keys.filter(key => whole.has(key));
    this.#sources = IpSet.of(wanted.map(key => [key, key] as const));
    return this.#sources;
  }

  forget(): void {
    this.#sources = undefined;
  }
}

/** The lists of all rules. */
export class SourceTable {
  readonly #slots: readonly SharedSlot[];
  /** The slot of each rule. */
  readonly #ofRule: readonly SharedSlot[];
  /** Slots by the names in them. */
  readonly #named = new Map<string, SharedSlot[]>();
  #numbers = 0;
  readonly #newNumber = (): number => this.#numbers++;

  constructor(rules: readonly PolicyRule[], directory: Directory) {
    const slots = new Map<string, SharedSlot>();
    this.#ofRule = rules.map(({ sources }, i) => {
      const aliases = new Map(sources.map(alias => [alias.key, alias] as const));
      const key = [...aliases.keys()].sort().join('\n');
      const slot = slots.get(key) ?? new SharedSlot(this.#newNumber(), [...aliases.values()], directory);
      slots.set(key, slot);
      slot.rules.push(i);
      return slot;
    });
    this.#slots = [...slots.values()];
    for (const slot of this.#slots) {
      for (const name of slot.names) {
        const named = this.#named.get(name);
        if (named === undefined) this.#named.set(name, [slot]);
        else named.push(slot);
      }
    }
  }

  /** The sources of a rule; with an owner those that are the owner's. */
  slotOf(rule: number, owner?: string): Slot {
    const slot = this.#ofRule[rule]!;
    if (owner === undefined) return slot;
    return slot.ownedBy(owner, this.#newNumber);
  }

  /** Takes changes of devices, at once; calls back for each rule whose list differs. */
  change(changes: readonly MemberChange[], differs: (rule: number) => void): void {
    const slots = new Set<SharedSlot>();
    for (const member of changes.flatMap(({ before, after }) => [before, after]))
      for (const alias of member?.aliases ?? []) for (const slot of this.#named.get(alias) ?? []) slots.add(slot);
    for (const slot of slots) if (slot.change(changes)) slot.rules.forEach(differs);
  }

  /** An owner's devices, or what they are called, have changed: lists of that owner are made again. */
  forgetOwner(owner: string): void {
    for (const slot of this.#slots) slot.forgetOwner(owner);
  }

  /** `*` means something else; calls back for each rule with it. */
  forgetWildcard(differs: (rule: number) => void): void {
    for (const slot of this.#slots) {
      if (!slot.hasWildcard) continue;
      slot.forget();
      slot.rules.forEach(differs);
    }
  }
}
