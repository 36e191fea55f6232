/**
 * A NAT, or a stateful firewall, for UDP in the words of RFC 4787: mapping behaviour (§4.1), port assignment (§4.2),
 * mapping refresh and expiry (§4.3), filtering behaviour (§5) and hairpinning (§6).
 *
 * Filtering is kept as §5 words it, by inside endpoint ("if X:x has not sent packets to Y previously"), not by mapping.
 * Left out: port parity and contiguity, ICMP, fragments, a limit of mappings. Test-only.
 */
import { type Endpoint, formatEndpoint } from '../../lib/base/address.ts';
import type { SeededRandom } from './link.ts';

/** What a mapping or a filter depends on besides the inside endpoint. */
export type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** How a NAT behaves; `mapping: 'none'` is a firewall that filters and translates nothing. */
export interface NatBehaviour {
  readonly mapping: Dependence | 'none';
  readonly filtering: Dependence;
  /** `preserved`: the inside port while no other inside endpoint has it. Default `random`. */
  readonly ports?: 'preserved' | 'random';
  /** Idle time after which a mapping and a permission are forgotten. Default 120 s, the least of §4.3 REQ-5. */
  readonly expiryMs?: number;
  /** Whether what comes in keeps a mapping alive, too (§4.3 REQ-6 asks only for what goes out). */
  readonly refreshesInbound?: boolean;
  /** Whether inside hosts reach each other by their outside endpoints (§6 REQ-9). */
  readonly hairpins?: boolean;
}

const DEFAULT_EXPIRY_MS = 120_000;
const FIRST_PORT = 1024;
const PORTS = 65_536 - FIRST_PORT;

interface Mapping {
  readonly inside: Endpoint;
  readonly port: number;
  /** What the mapping depends on; empty when on nothing. */
  readonly remote: string;
  usedAtMs: number;
}

/** One NAT with one outside address. Knows nothing of links; a router asks it about each datagram. */
export class Nat {
  behaviour: NatBehaviour;
  /** The outside address; without meaning for a firewall. */
  address: string;
  readonly #random: SeededRandom;
  readonly #mappings = new Map<string, Mapping>();
  readonly #ports = new Map<number, Mapping[]>();
  /** When an inside endpoint last sent to a remote: inside endpoint, then what the filter depends on. */
  readonly #permissions = new Map<string, Map<string, number>>();
  #preservesPorts: boolean;

  constructor(behaviour: NatBehaviour, address: string, random: SeededRandom) {
    this.behaviour = behaviour;
    this.address = address;
    this.#random = random;
    this.#preservesPorts = behaviour.ports === 'preserved';
  }

  /** A datagram goes out: the endpoint that the outside sees as its source. */
  outbound(nowMs: number, inside: Endpoint, to: Endpoint): Endpoint {
    const { mapping, filtering } = this.behaviour;
    const name = formatEndpoint(inside);
    let allowed = this.#permissions.get(name);
    if (allowed === undefined) this.#permissions.set(name, (allowed = new Map()));
    allowed.set(dependsOn(filtering, to), nowMs);
    if (mapping === 'none') return inside;
    const remote = dependsOn(mapping, to);
    const key = `${name} ${remote}`;
    let entry = this.#mappings.get(key);
    if (entry === undefined || this.#isOver(nowMs, entry.usedAtMs)) {
      if (entry !== undefined) this.#forget(key, entry);
      entry = { inside, port: this.#choosePort(nowMs, inside), remote, usedAtMs: nowMs };
      this.#mappings.set(key, entry);
      const sharing = this.#ports.get(entry.port);
      if (sharing === undefined) this.#ports.set(entry.port, [entry]);
      else sharing.push(entry);
    }
    entry.usedAtMs = nowMs;
    return { address: this.address, port: entry.port };
  }

  /** A datagram comes in for an outside endpoint: the inside endpoint that gets it, or undefined: dropped. */
  inbound(nowMs: number, to: Endpoint, from: Endpoint): Endpoint | undefined {
    const { mapping, filtering, refreshesInbound = false } = this.behaviour;
    let entry: Mapping | undefined;
    if (mapping !== 'none') {
      const alive = (this.#ports.get(to.port) ?? []).filter(({ usedAtMs }) => !this.#isOver(nowMs, usedAtMs));
      const remote = dependsOn(mapping, from);
      entry = alive.find(candidate => candidate.remote === remote) ?? alive[0];
      if (entry === undefined) return undefined;
    }
    const inside = entry?.inside ?? to;
    const allowed = this.#permissions.get(formatEndpoint(inside));
    const permission = dependsOn(filtering, from);
    if (filtering !== 'endpoint-independent' || entry === undefined) {
      const sentAtMs = allowed?.get(permission);
      if (sentAtMs === undefined || this.#isOver(nowMs, sentAtMs)) return undefined;
    }
    if (refreshesInbound) {
      if (entry !== undefined) entry.usedAtMs = nowMs;
      allowed?.set(permission, nowMs);
    }
    return inside;
  }

  /** Forgets everything, as after a restart. Ports are then chosen at random, so that every mapping is another one. */
  reboot(): void {
    this.#mappings.clear();
    this.#ports.clear();
    this.#permissions.clear();
    this.#preservesPorts = false;
  }

  #isOver(nowMs: number, usedAtMs: number): boolean {
    return nowMs - usedAtMs >= (this.behaviour.expiryMs ?? DEFAULT_EXPIRY_MS);
  }

  #forget(key: string, entry: Mapping): void {
    this.#mappings.delete(key);
    const sharing = this.#ports.get(entry.port)!.filter(other => other !== entry);
    if (sharing.length === 0) this.#ports.delete(entry.port);
    else this.#ports.set(entry.port, sharing);
  }

  #choosePort(nowMs: number, inside: Endpoint): number {
    const name = formatEndpoint(inside);
    const owners = (port: number) =>
      (this.#ports.get(port) ?? []).filter(({ usedAtMs }) => !this.#isOver(nowMs, usedAtMs));
    // A preserved port is shared by the mappings of one inside endpoint, never by two of them (§4.2.1 REQ-3).
    const isOwn = (entry: Mapping) => formatEndpoint(entry.inside) === name;
    if (this.#preservesPorts && owners(inside.port).every(isOwn)) return inside.port;
    for (;;) {
      const port = FIRST_PORT + this.#random.below(PORTS);
      if (owners(port).length === 0) return port;
    }
  }
}

function dependsOn(dependence: Dependence, remote: Endpoint): string {
  if (dependence === 'endpoint-independent') return '';
  return dependence === 'address-dependent' ? remote.address : formatEndpoint(remote);
}
