/**
 * A world of hosts, links, routers and NATs on one virtual clock, made from one seed: the same seed gives the same
 * packets at the same times. Networks form a tree whose root is the internet; a router with a NAT, a firewall or
 * neither leads from a network to the one outside it, so that a NAT behind a NAT is a network in a network.
 *
 * Hosts offer the ports of `lib/ports.ts`; this file knows no protocol above UDP. Left out: ICMP, routing other than
 * along the tree, fragments (a datagram that is too large for a link vanishes there), the Ethernet level. Test-only.
 */
import { type LinkOptions, SeededRandom } from './link.ts';
import { type PcapRecorder, type WirePacket, wireBytes } from './pcap.ts';
import type { Pipe } from './pipe.ts';
import { WorldClock } from './world-clock.ts';
import { type WorldInterface, WorldHost } from './world-host.ts';
import { Network, Router, type RouterOptions } from './world-network.ts';
import { type StreamFate, WorldStreams } from './world-streams.ts';

/** The world. */
export class World {
  readonly clock = new WorldClock();
  readonly streams = new WorldStreams(this.clock);
  readonly random: SeededRandom;
  readonly internet = new Network('internet');
  /** The public DNS. */
  readonly names = new Map<string, readonly string[]>();
  readonly hosts = new Map<string, WorldHost>();
  readonly routers: Router[] = [];
  /** Set before anything is sent: takes down every packet on every link. */
  recorder: PcapRecorder | undefined;
  /** Datagrams that hosts sent. */
  sent = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  get nowMs(): number {
    return this.clock.nowMs;
  }

  /** A network inside another. */
  network(name: string, outside: Network, options: RouterOptions = {}): Network {
    const inside = new Network(name);
    this.routers.push(new Router(name, inside, outside, options, this.random));
    return inside;
  }

  /** A host with one interface; more by {@link WorldHost.attach}. */
  host(name: string, network: Network, addresses: readonly string[], link: LinkOptions = {}): WorldHost {
    if (this.hosts.has(name)) throw new RangeError(`there is a host ${name}`);
    const host = new WorldHost(this, name, this.random.u32());
    this.hosts.set(name, host);
    host.attach(network, addresses, link);
    return host;
  }

  /** The host that has a public address, for servers. */
  hostAt(address: string): WorldHost {
    const found = this.internet.interfaces.get(address);
    if (found === undefined) throw new RangeError(`nobody has ${address}`);
    return found.host;
  }

  /** A datagram leaves a host. */
  send(from: WorldInterface, packet: WirePacket): void {
    this.sent++;
    this.#through(from.wire.up, packet, () => this.#route(from.network, packet, false));
  }

  /** What a packet meets on a link; for streams, too. */
  pass(pipe: Pipe, packet: WirePacket, nowMs = this.nowMs): number[] {
    const arrivals = pipe.pass(nowMs, wireBytes(packet));
    this.recorder?.record(nowMs, pipe.name, packet, arrivals.length === 0);
    return arrivals;
  }

  /** Sends a segment of a stream through links one after the other. */
  carry(nowMs: number, pipes: readonly Pipe[], packet: WirePacket): StreamFate {
    let atMs = nowMs;
    for (const pipe of pipes) {
      const [first] = this.pass(pipe, packet, atMs);
      if (first === undefined) return 'lost';
      atMs = first;
    }
    return atMs;
  }

  #through(pipe: Pipe, packet: WirePacket, arrive: () => void): void {
    for (const atMs of this.pass(pipe, packet)) this.clock.at(atMs, arrive);
  }

  #route(network: Network, packet: WirePacket, isFromOutside: boolean): void {
    const { address } = packet.destination;
    const found = network.interfaces.get(address);
    if (found !== undefined) return this.#through(found.wire.down, packet, () => found.receive(packet));
    const inner = network.routes.get(address);
    if (inner !== undefined) return this.#through(inner.wire.down, packet, () => this.#inbound(inner, packet));
    if (network.router !== undefined && !isFromOutside) this.#outbound(network.router, packet);
  }

  #outbound(router: Router, packet: WirePacket): void {
    if (router.blocksUdp) return;
    const nat = router.filterOf(packet.destination.address);
    const source = nat?.outbound(this.nowMs, packet.source, packet.destination) ?? packet.source;
    const out = { ...packet, source };
    if (nat !== undefined && nat.address !== '' && packet.destination.address === nat.address) {
      if (nat.behaviour.hairpins === true) this.#inbound(router, out);
      return;
    }
    this.#through(router.wire.up, out, () => this.#route(router.outside, out, false));
  }

  #inbound(router: Router, packet: WirePacket): void {
    if (router.blocksUdp) return;
    const nat = router.filterOf(packet.destination.address);
    const destination =
      nat === undefined ? packet.destination : nat.inbound(this.nowMs, packet.destination, packet.source);
    if (destination !== undefined) this.#route(router.inside, { ...packet, destination }, true);
  }
}
