/**
 * Routes that devices serve, as others are told of them: those in force (offered and approved), each by one device of
 * the tailnet, since WireGuard keeps a prefix for one peer only. Exit routes are told of every device that has them:
 * who uses one chooses it.
 *
 * Left out: whether a router works. One that is online counts as working.
 */
import { formatPrefix, parsePrefix, prefixContains } from '../base/address.ts';
import type { DeviceRecord } from './model.ts';
import { isExitRoute, isSameList } from './node-view.ts';

const NONE: readonly string[] = Object.freeze([]);
/** IPv4 addresses in IPv6 form (RFC 4291 §2.5.5.2): policies read them as IPv4, WireGuard does not. */
const MAPPED = '::ffff:0:0/96';
const TAILNET: readonly string[] = Object.freeze(['100.64.0.0/10', 'fd7a:115c:a1e0::/48']);

/** A device that may serve routes. */
export interface Router {
  readonly id: number;
  readonly isOnline: boolean;
  /** Routes in force while others are told of it, and what of them they are told: see {@link RouteTable}. */
  routes: readonly string[];
  served: readonly string[];
}

/** Routes of a device that are in force, canonical, each once, in the order of their texts. What is none is left out. */
export function routesInForce(device: Pick<DeviceRecord, 'advertisedRoutes' | 'approvedRoutes'>): readonly string[] {
  const { advertisedRoutes, approvedRoutes } = device;
  if (advertisedRoutes.length === 0) return NONE;
  const inForce = new Set<string>();
  for (const route of advertisedRoutes) {
    if (!approvedRoutes.includes(route)) continue; // CHECK: map-route-approved
    if (isRoute(route)) inForce.add(route);
  }
  return [...inForce].sort();
}

function isRoute(text: string): boolean {
  const prefix = parsePrefix(text);
  if (prefix === undefined || formatPrefix(prefix) !== text) return false;
  const { bytes, bits } = prefix;
  const lies = (network: string) => {
    const { bytes: own, bits: least } = parsePrefix(network)!;
    return own.length === bytes.length && bits >= least && prefixContains({ bytes: own, bits: least }, bytes);
  };
  // One address of the tailnet's own belongs to a device, and WireGuard would take it from that one.
  if (bits === 8 * bytes.length && TAILNET.some(lies)) return false; // CHECK: map-route-own-address
  if (lies(MAPPED)) return false; // CHECK: map-route-mapped
  return true;
}

/** Who serves which route in one tailnet: of those that have it in force, the lowest id online, or else the lowest id. */
export class RouteTable<T extends Router> {
  readonly #routers = new Map<string, Set<T>>();
  readonly #primaries = new Map<string, T>();
  readonly #nobody: ReadonlySet<T> = new Set();

  /**
   * Sets the routes of a device: those in force while others are told of it, otherwise none. Returns the devices that
   * serve something else than before; {@link Router.served} is set.
   */
  set(router: T, routes: readonly string[]): ReadonlySet<T> {
    const before = router.routes;
    if (isSameList(before, routes)) return this.elect(router);
    router.routes = routes;
    for (const route of before) if (!routes.includes(route)) this.#leave(route, router);
    for (const route of routes) if (!before.includes(route)) this.#enter(route, router);
    return this.#elect([...before, ...routes], router);
  }

  /** A device has gone online or offline. Returns the devices that serve something else than before. */
  elect(router: T): ReadonlySet<T> {
    return router.routes.length === 0 ? this.#nobody : this.#elect(router.routes, router);
  }

  #enter(route: string, router: T): void {
    const routers = this.#routers.get(route);
    if (routers === undefined) this.#routers.set(route, new Set([router]));
    else routers.add(router);
  }

  #leave(route: string, router: T): void {
    const routers = this.#routers.get(route)!;
    routers.delete(router);
    if (routers.size === 0) this.#routers.delete(route);
  }

  #elect(routes: readonly string[], router: T): ReadonlySet<T> {
    const other = new Set<T>();
    for (const route of routes) {
      const before = this.#primaries.get(route);
      const after = isExitRoute(route) ? undefined : this.#first(route);
      if (isExitRoute(route)) other.add(router);
      if (before === after) continue;
      for (const each of [before, after]) if (each !== undefined) other.add(each);
      if (after === undefined) this.#primaries.delete(route);
      else this.#primaries.set(route, after);
    }
    for (const each of other) if (!this.#serve(each)) other.delete(each);
    return other;
  }

  #first(route: string): T | undefined {
    let best: T | undefined;
    for (const router of this.#routers.get(route) ?? []) {
      const isBetter =
        best === undefined || (router.isOnline === best.isOnline ? router.id < best.id : router.isOnline);
      if (isBetter) best = router;
    }
    return best;
  }

  /** Sets what a device serves; false when that is what it was. */
  #serve(router: T): boolean {
    const before = router.served;
    router.served = router.routes.filter(route => isExitRoute(route) || this.#primaries.get(route) === router);
    return !isSameList(before, router.served);
  }
}
