/**
 * One member of a private network, with `listen`, `dial` and `udp` as promises: all of a mote but HTTP, which mote.ts
 * adds where the runtime has the Fetch API. Boards use this one, with HTTP modules of their own.
 *
 * A mote owns one device, one driver and one UDP socket. Everything that the network does wrong arrives as an event
 * or as the NetError of the call that waits; everything that the caller does wrong throws at once.
 */
import { formatAddress, formatEndpoint, formatPrefix } from '../base/address.ts';
import { toBase64 } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { DeviceParts } from '../device/device.ts';
import type { NetcheckStatus } from '../netcheck/summary.ts';
import type { Host } from '../ports.ts';
import type { Timers } from './byte-stream.ts';
import type { AbortSignalLike } from './common-options.ts';
import type { ConfiguredPeers } from './configured-peers.ts';
import { Connection } from './connection.ts';
import { MoteCore } from './core.ts';
import { connected } from './dial.ts';
import type { MoteEvent } from './events.ts';
import { closedError, DEFAULT_BACKLOG, Listener, ownAddress } from './listener.ts';
import type { Membership } from './membership.ts';
import { checkPeerOptions, duration, integer, type MoteOptions, mustBeFunction, type PeerOptions } from './options.ts';
import { type MoteStatus, type PathPing, peerStatuses } from './status.ts';
import { UdpSocket } from './udp-socket.ts';
import type { Whois } from './whois.ts';

/** How long `dial` waits unless told. */
const DIAL_TIMEOUT_MS = 30_000;
/** How long `ping` waits unless told. */
const PING_TIMEOUT_MS = 5_000;

/** One member of a private network, without HTTP. */
export class BaseMote {
  /** What it is made of. */
  readonly #core: MoteCore;

  /** For `up` only. */
  protected constructor(core: MoteCore) {
    this.#core = core;
  }

  /**
   * Brings a mote up: checks the options, opens the UDP socket, adds the peers. Each runtime's `up` calls this with its
   * host, its fastest suite and all optional parts.
   * Throws TypeError or RangeError for a mistake in the options; rejects with NetError `ERR_ADDRESS_IN_USE` or
   * `ERR_ADDRESS_UNAVAILABLE` when the port cannot be had, `ERR_STORE` when the store cannot be read.
   */
  static async up(host: Host, suite: CryptoSuite, options: MoteOptions, parts: DeviceParts = {}): Promise<BaseMote> {
    return new BaseMote(await MoteCore.up(host, suite, options, parts));
  }

  /** Base64 of the own public key; another one after a tailnet's node key was renewed. */
  get publicKey(): string {
    return toBase64(this.#core.device.tunnel.publicKey);
  }

  /** Own addresses inside the tunnel, `10.0.0.2/24`. */
  get addresses(): readonly string[] {
    const { device, configured } = this.#core;
    return Object.freeze((device.tailnet?.addresses ?? configured).map(formatPrefix));
  }

  /** The UDP port outside that is really in use; 0 once closed. */
  get listenPort(): number {
    return this.#core.driver.local[0]?.port ?? 0;
  }

  /**
   * Listens on a TCP port inside the tunnel. `address` limits it to one own address; `backlog` (128) is how many
   * accepted connections may wait. Rejects with NetError `ERR_ADDRESS_IN_USE`.
   */
  async listen(port: number, options: { address?: string; backlog?: number } = {}): Promise<Listener> {
    this.mustBeOpen();
    integer(port, 'port', 1, 65535);
    const backlog = integer(options.backlog ?? DEFAULT_BACKLOG, 'backlog', 1, 65535);
    const address = options.address === undefined ? undefined : ownAddress(this.addresses, options.address);
    const tcp = this.#core.device.stack.tcpListen(port, { backlog, ...(address === undefined ? {} : { address }) });
    const listener = new Listener(this.#core, tcp, options.address, backlog);
    this.#core.listeners.set(tcp, listener);
    return listener;
  }

  /** The address that `dial` would take for a name. Throws NetError `ERR_NAME_NOT_FOUND`. */
  lookUp(host: string): string {
    return formatAddress(this.#core.lookUp(host));
  }

  /**
   * Opens a TCP connection to an address inside the tunnel, or to a name of the `hosts` option. Rejects with NetError:
   * `ERR_CONNECTION_REFUSED`, `ERR_TIMED_OUT` (after `timeoutMs`, 30 s), `ERR_UNREACHABLE` (no peer carries it),
   * `ERR_NAME_NOT_FOUND`, `ERR_ABORTED` (by the signal), `ERR_LIMIT`.
   */
  async dial(
    host: string,
    port: number,
    options: { signal?: AbortSignalLike; timeoutMs?: number; localPort?: number } = {},
  ): Promise<Connection> {
    this.mustBeOpen();
    integer(port, 'port', 1, 65535);
    const { signal, localPort } = options;
    const timeoutMs = duration(options.timeoutMs ?? DIAL_TIMEOUT_MS, 'timeoutMs');
    if (signal !== undefined) mustBeFunction(signal.addEventListener, 'signal.addEventListener');
    if (signal !== undefined) mustBeFunction(signal.removeEventListener, 'signal.removeEventListener');
    const remote = this.#core.lookUp(host);
    if (signal?.aborted === true) throw new NetError('ERR_ABORTED', `the dial to ${host} was aborted before it began`);
    const tcp = this.#core.device.stack.tcpConnect(
      this.#core.driver.nowMs(),
      remote,
      port,
      localPort === undefined ? {} : { localPort },
    );
    return connected({
      what: `${host} port ${port}`,
      timeoutMs,
      signal,
      owner: this.#core,
      create: settled => {
        const connection = new Connection(this.#core, tcp, settled);
        this.#core.connections.set(tcp, connection);
        this.#core.driver.kick();
        return connection;
      },
    });
  }

  /** Opens a UDP socket inside the tunnel; without a port a random free one. Rejects with NetError `ERR_ADDRESS_IN_USE`. */
  async udp(port = 0): Promise<UdpSocket> {
    this.mustBeOpen();
    const machine = this.#core.device.udpBind(integer(port, 'port', 0, 65535));
    const socket = new UdpSocket(this.#core, machine);
    this.#core.udpSockets.set(machine, socket);
    return socket;
  }

  /** Timers of the host for protocols on top; they end with the mote. */
  get timers(): Timers {
    return { after: (ms, run) => this.#core.delay(ms, run) };
  }

  /** Sends an ICMP echo request inside the tunnel; resolves with the round-trip time in milliseconds. */
  async ping(host: string, options: { timeoutMs?: number; payloadBytes?: number } = {}): Promise<number> {
    this.mustBeOpen();
    const remote = this.#core.lookUp(host);
    const timeoutMs = duration(options.timeoutMs ?? PING_TIMEOUT_MS, 'timeoutMs');
    const payloadBytes = integer(options.payloadBytes ?? 56, 'payloadBytes', 0, 65_000);
    return this.#core.pings.start(host, timeoutMs, (id, sequence) => {
      this.#core.device.stack.ping(this.#core.driver.nowMs(), remote, id, sequence, payloadBytes);
      this.#core.driver.kick();
    });
  }

  /** Adds a peer while running. Throws RangeError for a duplicate or a mistake, also in a tailnet. */
  addPeer(peer: PeerOptions): void {
    this.#configuredPeers.add(checkPeerOptions(peer));
  }

  /** Changes some settings of a peer while running. Throws RangeError when there is none with this key. */
  updatePeer(publicKey: string, changes: Partial<Omit<PeerOptions, 'publicKey'>>): void {
    this.#configuredPeers.update(publicKey, changes);
  }

  /** Removes a peer and erases its keys. Throws RangeError when there is none with this key. */
  removePeer(publicKey: string): void {
    this.#configuredPeers.remove(publicKey);
  }

  /** Looks at the network outside: UDP, addresses, mapping, relays. Rejects with RangeError without a tailnet. */
  async netcheck(): Promise<NetcheckStatus> {
    return this.#member('netcheck').netcheck();
  }

  /**
   * Pings a device of the tailnet beneath the tunnel, on all paths: the first answer, and by which path it came. Rejects
   * with NetError `ERR_NAME_NOT_FOUND`, `ERR_UNREACHABLE`, `ERR_TIMED_OUT` (5 s); RangeError without a tailnet.
   */
  async pingPath(host: string, options: { timeoutMs?: number } = {}): Promise<PathPing> {
    const timeoutMs = duration(options.timeoutMs ?? PING_TIMEOUT_MS, 'timeoutMs');
    return this.#member('pingPath').pingPath(this.#core.lookUp(host), timeoutMs);
  }

  /**
   * Who has an address inside: in a tailnet the device, its owner, tags and capabilities; else the peer whose allowed
   * IPs have it. Undefined for nobody. Throws RangeError for what is no address.
   */
  whois(address: string): Whois | undefined {
    return this.#core.whois(address);
  }

  /**
   * Leaves the tailnet for good and closes: the coordinator ends the membership, the store forgets the node key.
   * Rejects with NetError `ERR_TIMED_OUT` when the coordinator does not answer; then nothing is forgotten. RangeError
   * without a tailnet.
   */
  async logout(): Promise<void> {
    await this.#member('logout').logout();
    await this.close();
  }

  /**
   * Calls `watcher` for every event until the returned function is called. What it throws stops neither the mote nor
   * other watchers: the runtime hears of it a moment later, as of any uncaught error.
   */
  on(watcher: (event: MoteEvent) => void): () => void {
    return this.#core.watchers.add(watcher);
  }

  /** A plain snapshot: addresses, peers, counters, drops by reason. */
  status(): MoteStatus {
    const { membership } = this.#core;
    return {
      publicKey: this.publicKey,
      addresses: this.addresses,
      listenPort: this.listenPort,
      local: this.#core.driver.local.map(formatEndpoint),
      mtu: this.#core.mtu,
      suite: this.#core.suite.name,
      connections: this.#core.connections.size,
      listeners: this.#core.listeners.size,
      udpSockets: this.#core.udpSocketCount,
      drops: this.#core.device.drops(),
      peers: peerStatuses(this.#core.device),
      ...(membership === undefined ? {} : { tailnet: membership.status(this.#core.host.clock.unixMs()) }),
    };
  }

  /** Resets what is open, closes the socket, erases the session keys. Safe to call twice. */
  async close(): Promise<void> {
    this.#core.close();
  }

  /** Throws NetError `ERR_CLOSED` once the mote is closed. */
  protected mustBeOpen(): void {
    if (this.#core.isClosed) throw closedError('the mote');
  }

  #member(what: string): Membership {
    this.mustBeOpen();
    const { membership } = this.#core;
    if (membership === undefined) throw new RangeError(`"${what}" expected a mote of a tailnet`);
    return membership;
  }

  get #configuredPeers(): ConfiguredPeers {
    this.mustBeOpen();
    const { peers } = this.#core;
    if (peers !== undefined) return peers;
    throw new RangeError(
      '"peer" expected a mote with peers of its own: in a tailnet the coordinator says who they are',
    );
  }
}
