/**
 * The policy of a tailnet, over its devices as they are durable: what each viewer may be told, and whom a change of a
 * device concerns. It is compiled when somebody first needs it, so that a tailnet without viewers costs nothing. While
 * there is no policy everybody is told of everybody, and all have one filter: that of a policy which says nothing.
 *
 * Nothing in a device throws here: one whose addresses are no addresses, or another's, is nobody to the policy.
 */
import type { WireFilterRule } from '../filter/rule.ts';
import { PolicyCompiler } from '../policy/compiler.ts';
import { type Directory, type PolicyDevice, setOfPrefixes, tailnetAddresses } from '../policy/directory.ts';
import { type IpKey, IpSet, parseKey } from '../policy/ip-set.ts';
import type { Policy } from '../policy/policy.ts';
import { attributesOf } from '../policy/roles.ts';
import { routesInForce } from './map-routes.ts';
import type { DeviceRecord } from './model.ts';
import { isExitRoute, isSameList } from './node-view.ts';

/** More devices that change at once are as much work as all of them. */
const MANY = 16;
/** Kinds of devices whose pairs are kept as judged, which takes the square of that in bytes. */
const KEPT_SIGHTS = 1024;
const RANDOM_PORT = 'randomize-client-port';
const EVERYTHING = Object.freeze([Object.freeze({ IP: '*', Ports: Object.freeze({ First: 0, Last: 65_535 }) })]);
const NONE: readonly string[] = Object.freeze([]);

/** A device as policies know it. `login`: of its owner, which is of no matter when it is tagged. */
export function policyDeviceOf(device: DeviceRecord, login: string): PolicyDevice {
  const { id, addresses, tags } = device;
  return { id, addresses, user: tags.length > 0 ? '' : login, tags, routes: routesInForce(device) };
}

/** What all devices have that the policy treats alike: which others are seen. */
export interface Sight {
  readonly number: number;
  /** By the number of the other one: 1 no, 2 yes, otherwise not judged yet. */
  seen: Uint8Array;
}

/** A device, with its sight under the policy that `sightOf` says. */
export interface Viewer {
  readonly id: number;
  sight: Sight | undefined;
  sightOf: ReadonlyMap<string, Sight> | undefined;
}

/** A device that has changed; without `device` it is no member, or gone. */
export interface ViewerChange {
  readonly viewer: Viewer;
  readonly device: PolicyDevice | undefined;
}

/**
 * The filter without a policy: the tailnet's own addresses and the routes in force may be sources, as `*` means it, and
 * nobody else, such as who is behind an exit node.
 */
class OpenFilter {
  /** Routes but exit routes, of the devices that have any. */
  readonly #routes = new Map<number, readonly string[]>();
  #sources = tailnetAddresses();
  rules: readonly WireFilterRule[] = [];

  constructor(members: Iterable<PolicyDevice>) {
    for (const device of members) this.#note(device.id, device);
    this.#make();
  }

  /** Devices have changed, come or gone; whether the filter is another one now. */
  update(changes: readonly ViewerChange[]): boolean {
    const { id } = this.#sources;
    const noted = changes.filter(({ viewer, device }) => this.#note(viewer.id, device));
    if (noted.length > 0) this.#make();
    return this.#sources.id !== id;
  }

  #note(id: number, device: PolicyDevice | undefined): boolean {
    const routes = device?.routes.filter(route => !isExitRoute(route)) ?? NONE;
    if (isSameList(this.#routes.get(id) ?? NONE, routes)) return false;
    if (routes.length === 0) this.#routes.delete(id);
    else this.#routes.set(id, routes);
    return true;
  }

  #make(): void {
    const routes = setOfPrefixes([...new Set([...this.#routes.values()].flat())]);
    this.#sources = IpSet.of([...tailnetAddresses().ranges, ...routes.ranges]);
    this.rules = [{ SrcIPs: this.#sources.texts, DstPorts: EVERYTHING }];
  }
}

/** See the top of the file. */
export class MapPolicy {
  #policy: Policy | undefined = undefined;
  #compiler: PolicyCompiler | undefined = undefined;
  #open: OpenFilter | undefined = undefined;
  readonly #members: () => Iterable<PolicyDevice>;
  /** By what the compiler calls them. */
  #sights = new Map<string, Sight>();
  readonly #nobody: ReadonlySet<number> = new Set();

  /** `members` gives the devices that may take part, as they are now. */
  constructor(members: () => Iterable<PolicyDevice>) {
    this.#members = members;
  }

  /** Whether anybody has needed the policy; if not, whoever is told anything from now on is told by what then is. */
  get isCompiled(): boolean {
    return this.#compiler !== undefined || this.#open !== undefined;
  }

  /** Another policy; undefined: everything is allowed. It may concern everybody. */
  set(policy: Policy | undefined): void {
    this.#policy = policy;
    this.#forget();
  }

  /**
   * Devices have changed, come, or (without `device`) gone or lost their membership. Returns those whose filter may
   * differ, which has every device that differs for the policy; only pairs with one of these may see each other otherwise
   * than before. `all`: anybody may be concerned.
   */
  update(changes: readonly ViewerChange[]): ReadonlySet<number> | 'all' {
    const compiler = this.#compiler;
    if (this.#open?.update(changes) === true) return 'all';
    if (compiler === undefined) return this.#nobody;
    const { directory } = compiler;
    const real = changes.filter(({ viewer, device }) => !isSame(directory.members.get(viewer.id)?.device, device));
    if (real.length === 0) return this.#nobody;
    if (real.length > MANY) {
      this.#forget();
      return 'all';
    }
    for (const { viewer } of real) viewer.sightOf = undefined;
    // What * means is of no matter to who has an address that is always in it.
    const isRouting = real.some(
      ({ viewer, device }) => hasRoutes(directory.members.get(viewer.id)?.device) || hasRoutes(device),
    );
    const claims = new Map<IpKey, number>();
    const { filters } = compiler.update(
      real.map(({ viewer: { id }, device }) => ({ id, device: fits(directory, device, claims) ? device : undefined })),
    );
    if (!isRouting || directory.outsiders.size === 0) return filters;
    this.#sights = new Map();
    return 'all';
  }

  /** Whether a rule lets one of two members reach the other. */
  canSee(a: Viewer, b: Viewer): boolean {
    if (this.#policy === undefined) return true;
    const compiler = this.#compiled(this.#policy);
    if (a.sightOf !== this.#sights) this.#look(compiler, a);
    if (b.sightOf !== this.#sights) this.#look(compiler, b);
    const { sight } = a;
    const other = b.sight?.number ?? KEPT_SIGHTS;
    if (sight === undefined || sight.number >= KEPT_SIGHTS || other >= KEPT_SIGHTS) return compiler.canSee(a.id, b.id);
    if (other >= sight.seen.length) sight.seen = enlarged(sight.seen, other);
    if (sight.seen[other] === 0) sight.seen[other] = compiler.canSee(a.id, b.id) ? 2 : 1;
    return sight.seen[other] === 2;
  }

  /** The packet filter of a member. The same array: nothing has changed; another one may have the same content. */
  rulesFor(id: number): readonly WireFilterRule[] {
    if (this.#policy !== undefined) return this.#compiled(this.#policy).rulesFor(id);
    this.#open ??= new OpenFilter(this.#members());
    return this.#open.rules;
  }

  /** Names of what the policy gives a member beside access. */
  attributesOf(id: number): readonly string[] {
    const policy = this.#policy;
    if (policy === undefined) return NONE;
    if (policy.nodeAttributes.length === 0 && !policy.randomizeClientPort) return NONE;
    const attributes = attributesOf(policy, this.#compiled(policy).directory, id);
    return policy.randomizeClientPort ? [...new Set([...attributes, RANDOM_PORT])] : attributes;
  }

  #forget(): void {
    this.#compiler = undefined;
    this.#open = undefined;
    this.#sights = new Map();
  }

  #look(compiler: PolicyCompiler, viewer: Viewer): void {
    const name = compiler.sightOf(viewer.id);
    let sight = name === undefined ? undefined : this.#sights.get(name);
    if (name !== undefined && sight === undefined) {
      sight = { number: this.#sights.size, seen: new Uint8Array(0) };
      this.#sights.set(name, sight);
    }
    viewer.sight = sight;
    viewer.sightOf = this.#sights;
  }

  #compiled(policy: Policy): PolicyCompiler {
    if (this.#compiler !== undefined) return this.#compiler;
    const compiler = new PolicyCompiler(policy, []);
    const claims = new Map<IpKey, number>();
    for (const device of this.#members()) if (fits(compiler.directory, device, claims)) compiler.directory.add(device);
    this.#compiler = compiler;
    return compiler;
  }
}

/** Whether a device can be a member beside the others, and beside those that `claims` has the addresses of; adds its own. */
function fits(directory: Directory, device: PolicyDevice | undefined, claims: Map<IpKey, number>): boolean {
  for (const text of device?.addresses ?? []) {
    const key = parseKey(text);
    const owner = key === undefined ? undefined : (claims.get(key) ?? directory.ownerOf(key)?.device.id);
    if (key === undefined || (owner ?? device!.id) !== device!.id) return false; // CHECK: map-policy-address
  }
  for (const text of device?.addresses ?? []) claims.set(parseKey(text)!, device!.id);
  return device !== undefined;
}

function enlarged(bytes: Uint8Array, index: number): Uint8Array {
  const out = new Uint8Array(Math.min(KEPT_SIGHTS, 2 * index + 16));
  out.set(bytes);
  return out;
}

function hasRoutes(device: PolicyDevice | undefined): boolean {
  return device !== undefined && device.routes.length > 0;
}

function isSame(a: PolicyDevice | undefined, b: PolicyDevice | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const isSameOwner = a.user === b.user && isSameList(a.tags, b.tags);
  return isSameOwner && isSameList(a.addresses, b.addresses) && isSameList(a.routes, b.routes);
}
