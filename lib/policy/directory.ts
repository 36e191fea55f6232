/**
 * Who is in a tailnet, as a policy sees it: devices with their addresses, owners, tags and approved routes; and which of
 * a policy's names stand for which of them.
 *
 * A tagged device belongs to its tags alone: the names of users, groups, `autogroup:member` and `autogroup:self` never
 * mean it. Devices that are not approved, or whose key has expired, are left out by the caller.
 */
import { parsePrefix } from '../base/address.ts';
import type { Alias, Names } from './alias.ts';
import { type IpKey, type IpRange, IpSet, parseKey, rangeOfPrefix } from './ip-set.ts';

/** A device, as the caller knows it. */
export interface PolicyDevice {
  readonly id: number;
  /** Address texts, one or more. */
  readonly addresses: readonly string[];
  /** Login name of the owner; of no matter when it is tagged. */
  readonly user: string;
  /** `tag:x`. */
  readonly tags: readonly string[];
  /** Approved routes as prefixes; `0.0.0.0/0` or `::/0` make it an exit node. */
  readonly routes: readonly string[];
}

/** A device and what follows from it. */
export interface Member {
  readonly device: PolicyDevice;
  readonly keys: readonly IpKey[];
  readonly own: IpSet;
  /** Approved routes but those of an exit node. */
  readonly routes: IpSet;
  /** What an exit node leads to: public addresses of the families that it has a default route of. Else empty. */
  readonly internet: IpSet;
  /** Addresses and routes together: what sends from here. */
  readonly sends: IpSet;
  /** What a packet to this device may be addressed to: addresses, routes, the internet of an exit node. */
  readonly serves: IpSet;
  /** The same without its addresses: what a "via" rule is about. */
  readonly forwards: IpSet;
  /** Login of the owner, or undefined when it is tagged. */
  readonly owner: string | undefined;
  /** Keys of the aliases that mean this device. */
  readonly aliases: ReadonlySet<string>;
}

/** What a device was and is; undefined when it has come or gone. */
export interface MemberChange {
  readonly before: Member | undefined;
  readonly after: Member | undefined;
}

const TAILNET: readonly string[] = Object.freeze(['100.64.0.0/10', 'fd7a:115c:a1e0::/48']);
/** Kept out of the tailnet's range: ChromeOS has its own network there. */
const NOT_TAILNET: readonly string[] = Object.freeze(['100.115.92.0/23']);
const EVERYWHERE: readonly string[] = Object.freeze(['0.0.0.0/0', '2000::/3']);
const NOT_INTERNET: readonly string[] = Object.freeze([
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '100.64.0.0/10',
]);

/** Addresses of prefixes as texts; RangeError for what is none. */
export function setOfPrefixes(texts: readonly string[]): IpSet {
  return IpSet.of(texts.map(rangeOf));
}

function rangeOf(text: string): IpRange {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new RangeError(`"routes" expected prefixes, got ${JSON.stringify(text)}`);
  return rangeOfPrefix(prefix);
}

/** The addresses of a tailnet: what `*` means as a source, but for routes. */
export function tailnetAddresses(): IpSet {
  return setOfPrefixes(TAILNET).minus(setOfPrefixes(NOT_TAILNET));
}

/** The devices of a tailnet. */
export class Directory {
  readonly members = new Map<number, Member>();
  readonly tailnet = tailnetAddresses();
  /** What an exit node leads to. */
  readonly internet = setOfPrefixes(EVERYWHERE).minus(setOfPrefixes(NOT_INTERNET));
  readonly #groupsOf = new Map<string, string[]>();
  readonly #byAddress = new Map<IpKey, Member>();
  readonly #byAlias = new Map<string, Set<Member>>();
  readonly #routers = new Set<Member>();
  readonly #outsiders = new Set<Member>();
  #wildcard: IpSet | undefined;

  constructor(names: Names) {
    for (const [group, users] of names.groups) {
      for (const user of users) {
        const groups = this.#groupsOf.get(user);
        if (groups === undefined) this.#groupsOf.set(user, [group]);
        else groups.push(group);
      }
    }
  }

  /** What `*` means as a source: the tailnet and all approved routes but those of exit nodes. */
  get wildcard(): IpSet {
    this.#wildcard ??= IpSet.of([...this.tailnet.ranges, ...[...this.#routers].flatMap(({ routes }) => routes.ranges)]);
    return this.#wildcard;
  }

  /** Adds a device. TypeError when another has its id or an address. */
  add(device: PolicyDevice): Member {
    if (this.members.has(device.id)) throw new TypeError(`"id" expected a new device, got ${device.id}`);
    const changes = this.plan(new Map([[device.id, device]]));
    this.apply(changes);
    return changes[0]!.after!;
  }

  /**
   * What devices by their ids (undefined: it goes) would change. Nothing is changed yet. TypeError when two devices would
   * have one address, or a device another id; RangeError for what is no address or prefix.
   */
  plan(devices: ReadonlyMap<number, PolicyDevice | undefined>): readonly MemberChange[] {
    const taken = new Set<IpKey>();
    return [...devices].map(([id, device]) => {
      const before = this.members.get(id);
      if (device === undefined) return { before, after: undefined };
      if (device.id !== id) throw new TypeError(`"id" expected ${id}, got ${device.id}`);
      const after = this.#memberOf(device);
      for (const key of new Set(after.keys)) {
        const owner = this.#byAddress.get(key);
        const isTaken = taken.has(key) || (owner !== undefined && !devices.has(owner.device.id));
        if (isTaken) throw new TypeError(`"addresses" expected new ones, got ${device.addresses}`); // CHECK: policy-address-taken
        taken.add(key);
      }
      return { before, after };
    });
  }

  /** Does what {@link plan} gave. */
  apply(changes: readonly MemberChange[]): void {
    for (const { before } of changes) if (before !== undefined) this.#remove(before);
    for (const { after } of changes) if (after !== undefined) this.#add(after);
  }

  /** The devices that an alias of a user, group, tag or autogroup means. */
  membersOf(alias: Alias): ReadonlySet<Member> {
    return this.#byAlias.get(alias.key) ?? new Set();
  }

  /** The untagged devices of a login. */
  ownedBy(login: string): ReadonlySet<Member> {
    return this.#byAlias.get(`user ${login}`) ?? new Set();
  }

  /** Those whose addresses are all outside the tailnet's ranges: `*` may mean them or not as routes come and go. */
  get outsiders(): ReadonlySet<Member> {
    return this.#outsiders;
  }

  /** The device that has an address. */
  ownerOf(key: IpKey): Member | undefined {
    return this.#byAddress.get(key);
  }

  /** Those who take packets to an address: its owner, or routers with the narrowest route, or exit nodes. */
  serversOf(key: IpKey): readonly Member[] {
    const owner = this.#byAddress.get(key);
    if (owner !== undefined) return [owner];
    const routers = [...this.#routers].filter(({ routes }) => routes.has(key));
    return routers.length > 0 ? routers : [...this.#routers].filter(({ internet }) => internet.has(key));
  }

  #add(member: Member): void {
    this.members.set(member.device.id, member);
    for (const key of member.keys) this.#byAddress.set(key, member);
    for (const alias of member.aliases) {
      const members = this.#byAlias.get(alias);
      if (members === undefined) this.#byAlias.set(alias, new Set([member]));
      else members.add(member);
    }
    if (!member.forwards.isEmpty) this.#routers.add(member);
    if (!member.routes.isEmpty) this.#wildcard = undefined;
    const isInside = member.keys.some(key => this.tailnet.has(key));
    if (!isInside) this.#outsiders.add(member);
  }

  #remove(member: Member): void {
    this.members.delete(member.device.id);
    for (const key of member.keys) this.#byAddress.delete(key);
    for (const alias of member.aliases) {
      const members = this.#byAlias.get(alias);
      members?.delete(member);
      if (members?.size === 0) this.#byAlias.delete(alias);
    }
    this.#routers.delete(member);
    this.#outsiders.delete(member);
    if (!member.routes.isEmpty) this.#wildcard = undefined;
  }

  #memberOf(device: PolicyDevice): Member {
    const keys = device.addresses.map(text => {
      const key = parseKey(text);
      if (key === undefined) throw new RangeError(`"addresses" expected addresses, got ${JSON.stringify(text)}`);
      return key;
    });
    const isExitRoute = (text: string): boolean => text === '0.0.0.0/0' || text === '::/0';
    const own = IpSet.of(keys.map(key => [key, key] as const));
    const routes = setOfPrefixes(device.routes.filter(text => !isExitRoute(text)));
    const internet = this.internet.intersect(setOfPrefixes(device.routes.filter(isExitRoute)));
    const forwards = IpSet.of([...routes.ranges, ...internet.ranges]);
    const owner = device.tags.length > 0 || device.user === '' ? undefined : device.user;
    return {
      device,
      keys,
      own,
      routes,
      internet,
      sends: IpSet.of([...own.ranges, ...routes.ranges]),
      serves: IpSet.of([...own.ranges, ...forwards.ranges]),
      forwards,
      owner,
      aliases: this.#aliasesOf(device, owner),
    };
  }

  #aliasesOf(device: PolicyDevice, owner: string | undefined): ReadonlySet<string> {
    if (device.tags.length > 0) return new Set([...device.tags, 'autogroup:tagged']);
    if (owner === undefined) return new Set();
    return new Set([`user ${owner}`, ...(this.#groupsOf.get(owner) ?? []), 'autogroup:member']);
  }
}
