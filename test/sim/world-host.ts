/**
 * A host of a world: interfaces, sockets, a clock of its own that sleep does not stop, and the ports of `lib/ports.ts`
 * over all that. Test-only.
 */
import { type Endpoint, formatEndpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type {
  DatagramOptions,
  Datagrams,
  DatagramSink,
  Host,
  StreamOptions,
  StreamSink,
  Timer,
} from '../../lib/ports.ts';
import { type LinkOptions, SeededRandom } from './link.ts';
import { PROTOCOL_UDP, type WirePacket } from './pcap.ts';
import type { World } from './world.ts';
import type { WorldEvent } from './world-clock.ts';
import { type Network, Wire, wayOut } from './world-network.ts';
import type { StreamWay } from './world-streams.ts';

const UNIX_ORIGIN_MS = 1_700_000_000_000;
const FIRST_EPHEMERAL_PORT = 32_768;
/** Bytes around a received datagram, to find code that ignores offsets. */
const MARGIN_BYTES = 7;

/** A host's place in a network. */
export class WorldInterface {
  readonly host: WorldHost;
  readonly wire: Wire;
  network: Network;
  addresses: readonly string[] = [];

  constructor(host: WorldHost, network: Network, wire: Wire) {
    this.host = host;
    this.network = network;
    this.wire = wire;
  }

  receive(packet: WirePacket): void {
    // An address may have gone while the packet was on its way.
    if (this.addresses.includes(packet.destination.address)) this.host.receive(packet);
  }
}

interface Socket {
  readonly address: string | undefined;
  readonly port: number;
  readonly sink: DatagramSink;
}

/** One host. */
export class WorldHost {
  readonly world: World;
  readonly name: string;
  readonly interfaces: WorldInterface[] = [];
  /** Added to the wall clock. */
  unixOffsetMs = 0;
  /** The ports, for a mote. */
  readonly port: Host;
  readonly #random: SeededRandom;
  readonly #sockets: Socket[] = [];
  #asleepUntilMs = 0;

  constructor(world: World, name: string, seed: number) {
    this.world = world;
    this.name = name;
    this.#random = new SeededRandom(seed);
    this.port = this.#ports();
  }

  /** Adds an interface. */
  attach(network: Network, addresses: readonly string[], link: LinkOptions = {}): WorldInterface {
    const wire = new Wire(`${this.name}-${this.interfaces.length}`, link, this.world.random);
    const added = new WorldInterface(this, network, wire);
    this.interfaces.push(added);
    this.move(network, addresses, added);
    return added;
  }

  /** Gives an interface other addresses, in another network perhaps. No address: it is down. */
  move(network: Network, addresses: readonly string[], which = this.interfaces[0]!): void {
    for (const address of which.addresses) {
      which.network.interfaces.delete(address);
      this.#announce(which.network, address, false);
    }
    which.network = network;
    which.addresses = addresses;
    for (const address of addresses) {
      if (network.interfaces.has(address)) throw new RangeError(`${address} is in use in ${network.name}`);
      network.interfaces.set(address, which);
      this.#announce(network, address, true);
    }
  }

  /** Nothing runs and nothing is received for this long. Timers that were due fire at the end; clocks have gone on. */
  sleep(ms: number): void {
    this.#asleepUntilMs = this.world.nowMs + ms;
  }

  get isAsleep(): boolean {
    return this.world.nowMs < this.#asleepUntilMs;
  }

  /** Runs `run` at `atMs`, or when the host is awake again. */
  at(atMs: number, run: () => void): WorldEvent {
    return this.world.clock.at(atMs, () => {
      if (this.isAsleep) this.world.clock.at(this.#asleepUntilMs, run);
      else run();
    });
  }

  /** Takes a datagram that has arrived. */
  receive({ source, destination, bytes }: WirePacket): void {
    if (this.isAsleep) return;
    for (const { address, port, sink } of [...this.#sockets]) {
      if (port !== destination.port || (address !== undefined && address !== destination.address)) continue;
      const buf = new Uint8Array(bytes.length + 2 * MARGIN_BYTES).fill(0xa5);
      buf.set(bytes, MARGIN_BYTES);
      sink.datagram(buf, MARGIN_BYTES, MARGIN_BYTES + bytes.length, source);
      return;
    }
  }

  /** Opens a UDP socket. Throws NetError. */
  open(options: DatagramOptions, sink: DatagramSink): Datagrams {
    const { address } = options;
    const port = options.port === 0 ? this.#freePort() : options.port;
    if (address !== undefined && this.#interfaceOf(address) === undefined)
      throw new NetError('ERR_ADDRESS_UNAVAILABLE', `${this.name} does not have ${address}`);
    if (this.#isTaken(port, address)) throw new NetError('ERR_ADDRESS_IN_USE', `port ${port} is in use`);
    const socket = { address, port, sink };
    this.#sockets.push(socket);
    const families = this.#addresses().some(text => text.includes(':')) ? ['0.0.0.0', '::'] : ['0.0.0.0'];
    return {
      local: (address === undefined ? families : [address]).map(text => ({ address: text, port })),
      send: (buf, start, end, to) => this.#sockets.includes(socket) && this.#send(socket, buf.slice(start, end), to),
      close: () => {
        const at = this.#sockets.indexOf(socket);
        if (at >= 0) this.#sockets.splice(at, 1);
      },
    };
  }

  #send(socket: Socket, bytes: Uint8Array, to: Endpoint): boolean {
    const found = this.#route(to.address, socket.address);
    if (found === undefined) return false;
    const source = { address: found.source, port: socket.port };
    this.world.send(found.from, { protocol: PROTOCOL_UDP, source, destination: { ...to }, bytes });
    return true;
  }

  /** The interface and source address for a destination: its own network first, then one that leads out. */
  #route(address: string, source?: string): { from: WorldInterface; source: string } | undefined {
    const isV6 = address.includes(':');
    const fits = (text: string) => text.includes(':') === isV6 && (source === undefined || text === source);
    const able = this.interfaces.filter(({ addresses }) => addresses.some(fits));
    const near = able.find(({ network }) => network.interfaces.has(address));
    const from = near ?? able.find(({ network }) => network.router !== undefined) ?? able[0];
    return from && { from, source: from.addresses.find(fits)! };
  }

  #addresses(): readonly string[] {
    return this.interfaces.flatMap(({ addresses }) => addresses);
  }

  #interfaceOf(address: string): WorldInterface | undefined {
    return this.interfaces.find(({ addresses }) => addresses.includes(address));
  }

  #isTaken(port: number, address: string | undefined): boolean {
    return this.#sockets.some(
      other =>
        other.port === port && (address === undefined || other.address === undefined || other.address === address),
    );
  }

  #freePort(): number {
    for (;;) {
      const port = FIRST_EPHEMERAL_PORT + this.#random.below(65_536 - FIRST_EPHEMERAL_PORT);
      if (!this.#isTaken(port, undefined)) return port;
    }
  }

  /** Makes an address that is routed, not translated, known outside. */
  #announce(network: Network, address: string, isThere: boolean): void {
    for (let router = network.router; router !== undefined; router = router.outside.router) {
      const nat = router.filterOf(address);
      if (nat !== undefined && nat.behaviour.mapping !== 'none') return;
      if (isThere) router.outside.routes.set(address, router);
      else router.outside.routes.delete(address);
    }
  }

  /** The way of a stream to an address, from the port `port` of this host. */
  #findWay(to: Endpoint, port: number): StreamWay | undefined {
    const found = this.#route(to.address);
    const routers = found && wayOut(found.from.network, to.address);
    if (found === undefined || routers === undefined) return undefined;
    const target = (routers.at(-1)?.outside ?? found.from.network).interfaces.get(to.address)!;
    const translating = routers.findLast(router => (router.filterOf(to.address)?.address ?? '') !== '');
    const source = translating?.filterOf(to.address)?.address ?? found.source;
    const restarts = routers.map(router => router.restarts);
    const toServer = [found.from.wire.up, ...routers.map(({ wire }) => wire.up), target.wire.down];
    const toClient = [target.wire.up, ...routers.map(({ wire }) => wire.down).reverse(), found.from.wire.down];
    return {
      from: { address: source, port },
      carry: (nowMs, packet, isToServer) => {
        if (this.isAsleep || target.host.isAsleep || !found.from.addresses.includes(found.source)) return 'lost';
        const isKnown = routers.every((router, i) => router.restarts === restarts[i]);
        if (!isKnown && !isToServer) return 'lost';
        const fate = this.world.carry(nowMs, isToServer ? toServer : toClient, packet);
        return isKnown || fate === 'lost' ? fate : 'reset';
      },
    };
  }

  #ports(): Host {
    const { world } = this;
    const resolve = async (name: string) => {
      const found = world.names.get(name);
      if (found === undefined) throw new NetError('ERR_NAME_NOT_FOUND', `no such name: ${name}`);
      return found;
    };
    return {
      name: 'world',
      clock: { nowMs: () => world.nowMs, unixMs: () => Math.floor(UNIX_ORIGIN_MS + world.nowMs + this.unixOffsetMs) },
      random: this.#random.fill,
      interfaces: () => this.#addresses(),
      createTimer: fire => this.#createTimer(fire),
      defer: run => this.at(world.nowMs, run),
      openDatagrams: async (options: DatagramOptions, sink: DatagramSink) => this.open(options, sink),
      openStream: (options: StreamOptions, sink: StreamSink) =>
        world.streams.connect(options, sink, (to, port) => this.#findWay(to, port), resolve),
      resolve,
    };
  }

  #createTimer(fire: () => void): Timer {
    let armed: WorldEvent | undefined;
    let generation = 0;
    const cancel = () => {
      if (armed !== undefined) armed.run = undefined;
      armed = undefined;
      generation++;
    };
    return {
      cancel,
      arm: atMs => {
        cancel();
        if (atMs === Number.POSITIVE_INFINITY) return;
        const own = generation;
        armed = this.at(atMs, () => {
          if (own === generation) fire();
        });
      },
    };
  }
}

/** A plain socket for tests: keeps what comes. */
export class TestSocket implements DatagramSink {
  readonly received: { readonly text: string; readonly from: Endpoint }[] = [];
  onDatagram: ((text: string, from: Endpoint) => void) | undefined;
  readonly #datagrams: Datagrams;

  constructor(host: WorldHost, port = 0, address?: string) {
    this.#datagrams = host.open({ port, ...(address === undefined ? {} : { address }) }, this);
  }

  get port(): number {
    return this.#datagrams.local[0]!.port;
  }

  send(text: string, to: Endpoint): boolean {
    const bytes = Uint8Array.from(text, char => char.charCodeAt(0));
    return this.#datagrams.send(bytes, 0, bytes.length, to);
  }

  close(): void {
    this.#datagrams.close();
  }

  /** Who sent a text, as `address:port`, in order. */
  sources(text: string): string[] {
    return this.received.filter(datagram => datagram.text === text).map(({ from }) => formatEndpoint(from));
  }

  datagram(buf: Uint8Array, start: number, end: number, from: Endpoint): void {
    const text = String.fromCharCode(...buf.subarray(start, end));
    this.received.push({ text, from: { ...from } });
    this.onDatagram?.(text, from);
  }

  failed(): void {}
}
