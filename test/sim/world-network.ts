/**
 * What a world is made of: links, networks, and routers with a NAT, a firewall or neither. Test-only.
 */
import { type LinkOptions, SeededRandom } from './link.ts';
import { Nat, type NatBehaviour } from './nat.ts';
import { Pipe } from './pipe.ts';
import type { WorldInterface } from './world-host.ts';

/** What leads from one network to the one outside it. */
export interface RouterOptions {
  /** Outside IPv4 address, if IPv4 is translated. */
  readonly address?: string;
  /** How IPv4 is translated or filtered; without it IPv4 is routed. */
  readonly nat?: NatBehaviour;
  /** How IPv6 is filtered (`mapping: 'none'`); without it IPv6 is routed. */
  readonly firewall6?: NatBehaviour;
  /** Only streams pass. */
  readonly blocksUdp?: boolean;
  /** The link to the outside, each way. */
  readonly link?: LinkOptions;
}

/** A link's two directions. */
export class Wire {
  readonly up: Pipe;
  readonly down: Pipe;

  constructor(name: string, options: LinkOptions, random: SeededRandom) {
    this.up = new Pipe(`${name} up`, options, random.u32());
    this.down = new Pipe(`${name} down`, options, random.u32());
  }

  /** Changes properties in both directions. */
  set(options: LinkOptions): void {
    for (const pipe of [this.up, this.down]) pipe.options = { ...pipe.options, ...options };
  }

  cut(isCut: boolean): void {
    for (const pipe of [this.up, this.down]) pipe.isCut = isCut;
  }
}

/** Hosts that reach each other without a router. */
export class Network {
  readonly name: string;
  readonly interfaces = new Map<string, WorldInterface>();
  /** Where an address further inside is: a router's outside address, or an address behind one that only routes. */
  readonly routes = new Map<string, Router>();
  /** The way out; none from the internet. */
  router: Router | undefined;

  constructor(name: string) {
    this.name = name;
  }
}

/** A router between a network and the one outside. */
export class Router {
  readonly inside: Network;
  readonly outside: Network;
  readonly wire: Wire;
  readonly nat: Nat | undefined;
  readonly firewall6: Nat | undefined;
  blocksUdp: boolean;
  /** Counts restarts: a stream that began before one is unknown after it. */
  restarts = 0;

  constructor(name: string, inside: Network, outside: Network, options: RouterOptions, random: SeededRandom) {
    const { address = '', nat, firewall6, blocksUdp = false, link = {} } = options;
    this.inside = inside;
    this.outside = outside;
    this.wire = new Wire(name, link, random);
    this.nat = nat && new Nat(nat, address, new SeededRandom(random.u32()));
    this.firewall6 = firewall6 && new Nat(firewall6, '', new SeededRandom(random.u32()));
    this.blocksUdp = blocksUdp;
    if (address !== '') outside.routes.set(address, this);
    inside.router = this;
  }

  /** Forgets all mappings and permissions; what is mapped anew gets other ports, and another address if one is given. */
  reboot(address?: string): void {
    this.restarts++;
    this.nat?.reboot();
    this.firewall6?.reboot();
    if (address === undefined || this.nat === undefined) return;
    this.outside.routes.delete(this.nat.address);
    this.nat.address = address;
    this.outside.routes.set(address, this);
  }

  filterOf(address: string): Nat | undefined {
    return address.includes(':') ? this.firewall6 : this.nat;
  }
}

/** The routers on the way out from a network to one that has the address at hand; undefined: none has. */
export function wayOut(network: Network, address: string): readonly Router[] | undefined {
  const way: Router[] = [];
  let at = network;
  while (!at.interfaces.has(address)) {
    if (at.router === undefined) return undefined;
    way.push(at.router);
    at = at.router.outside;
  }
  return way;
}
