/**
 * The friendly face: one member of a private network, with `listen`, `dial`, `udp`, `serve` and `fetch` as promises.
 *
 * A mote owns one device, one driver and one UDP socket. Everything that the network does wrong arrives as an event
 * or as the NetError of the call that waits; everything that the caller does wrong throws at once.
 */
import { formatAddress, formatEndpoint, formatPrefix, parseAddress } from '../base/address.ts';
import { toBase64 } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import { Device, type DeviceEvent, type DeviceParts } from '../device/device.ts';
import { Driver, loadTimestampFloor } from '../driver.ts';
import type { NetcheckStatus } from '../netcheck/summary.ts';
import { READY_ACCEPTED, type TcpConnection, type TcpListener } from '../netstack/tcp.ts';
import type { UdpSocket as UdpMachine } from '../netstack/udp.ts';
import type { StackEvent } from '../netstack/stack.ts';
import type { Host } from '../ports.ts';
import type { Timers } from './byte-stream.ts';
import { Connection, type ConnectionContext } from './connection.ts';
import type { AbortSignalLike } from './common-options.ts';
import { ConfiguredPeers } from './configured-peers.ts';
import type { RuntimeRequestInit, RuntimeRequestInput, RuntimeResponse } from './fetch-types.ts';
import { Delays } from './delays.ts';
import { connected } from './dial.ts';
import { HttpClient } from './http-client.ts';
import { HttpServer } from './http-server.ts';
import type { HttpHandler, HttpServerOptions, MoteServer } from './http-server-options.ts';
import type { MoteEvent } from './events.ts';
import { HTTP_CLIENT_SMALL, HTTP_SERVER_SMALL } from './http-syntax.ts';
import { loadIdentity } from './identity.ts';
import { closedError, DEFAULT_BACKLOG, Listener, ownAddress } from './listener.ts';
import { Membership } from './membership.ts';
import { openSocket } from './open-socket.ts';
import {
  checkMoteOptions,
  checkPeerOptions,
  duration,
  integer,
  type MoteOptions,
  type MoteSettings,
  mustBeFunction,
  type PeerOptions,
} from './options.ts';
import { Pings } from './pings.ts';
import { type MoteStatus, type PathPing, peerStatuses } from './status.ts';
import { tailnetOptions } from './tailnet-options.ts';
import { UdpSocket } from './udp-socket.ts';
import { Watchers } from './watchers.ts';
import { configuredWhois, type Whois } from './whois.ts';

/** How long `dial` waits unless told. */
const DIAL_TIMEOUT_MS = 30_000;
/** How long `ping` waits unless told. */
const PING_TIMEOUT_MS = 5_000;

/** One member of a private network. */
export class Mote {
  readonly #host: Host;
  readonly #suite: CryptoSuite;
  readonly #settings: MoteSettings;
  readonly #device: Device;
  readonly #driver: Driver;
  readonly #peers: ConfiguredPeers;
  readonly #membership: Membership | undefined;
  readonly #context: ConnectionContext;
  readonly #connections = new Map<TcpConnection, Connection>();
  readonly #listeners = new Map<TcpListener, Listener>();
  readonly #udpSockets = new Map<UdpMachine, UdpSocket>();
  readonly #pings: Pings;
  readonly #watchers: Watchers;
  readonly #delays: Delays;
  #http: HttpClient | undefined;
  readonly #privateKey: SecretKey;
  /** Whether the private key is this mote's own copy, which is erased at the end. */
  readonly #isKeyOwn: boolean;
  #isClosed = false;

  private constructor(
    host: Host,
    suite: CryptoSuite,
    settings: MoteSettings,
    options: MoteOptions,
    parts: DeviceParts,
  ) {
    const timestampFloor = loadTimestampFloor(options.store);
    const { tailnet } = settings;
    const identity = tailnet === undefined ? undefined : loadIdentity(options.store, host.random);
    const privateKey = identity?.nodeKey ?? settings.privateKey!;
    this.#host = host;
    this.#delays = new Delays(host);
    this.#pings = new Pings(this.#delays.after);
    this.#watchers = new Watchers(host, options.onEvent);
    this.#suite = suite;
    this.#settings = settings;
    this.#privateKey = privateKey;
    this.#isKeyOwn = options.privateKey !== privateKey;
    this.#device = new Device({
      nowMs: host.clock.nowMs(),
      unixMs: host.clock.unixMs(),
      random: host.random,
      suite,
      privateKey,
      addresses: settings.addresses,
      mtu: settings.mtu,
      preset: settings.preset,
      ...(timestampFloor === undefined ? {} : { timestampFloor }),
      parts,
      ...(tailnet === undefined || identity === undefined
        ? {}
        : { tailnet: tailnetOptions(tailnet, identity, host, suite, options.store) }),
    });
    this.#driver = new Driver(
      host,
      this.#device,
      { event: event => this.#handleEvent(event), failed: error => this.#report(error) },
      options.store,
      tailnet?.authorities,
    );
    this.#context = {
      driver: this.#driver,
      delay: this.#delays.after,
      whois: address => this.whois(address),
    };
    this.#peers = new ConfiguredPeers({
      device: this.#device,
      driver: this.#driver,
      resolve: name => host.resolve(name),
      delay: this.#delays.after,
      failed: error => this.#report(error),
    });
    if (tailnet === undefined || this.#device.tailnet === undefined) return;
    this.#membership = new Membership({
      device: this.#device,
      tailnet: this.#device.tailnet,
      driver: this.#driver,
      store: options.store,
      control: tailnet.control,
      resumes: tailnet.resumes,
      retained: host.retained,
      delay: this.#delays.after,
      emit: event => this.#watchers.emit(event),
    });
  }

  /**
   * Brings a mote up: checks the options, opens the UDP socket, adds the peers. Each runtime's `up` calls this with its
   * host, its fastest suite and all optional parts.
   * Throws TypeError or RangeError for a mistake in the options; rejects with NetError `ERR_ADDRESS_IN_USE` or
   * `ERR_ADDRESS_UNAVAILABLE` when the port cannot be had, `ERR_STORE` when the store cannot be read.
   */
  static async up(host: Host, suite: CryptoSuite, options: MoteOptions, parts: DeviceParts = {}): Promise<Mote> {
    const settings = checkMoteOptions(options);
    const mote = new Mote(host, suite, settings, options, parts);
    await openSocket(mote.#driver, settings, mote.#device.tailnet?.resume.port ?? 0);
    try {
      for (const peer of settings.peers) mote.#peers.add(peer);
      mote.#driver.kick();
      await mote.#joined(options.signal);
    } catch (error) {
      await mote.close();
      throw error;
    }
    return mote;
  }

  /** Base64 of the own public key; another one after a tailnet's node key was renewed. */
  get publicKey(): string {
    return toBase64(this.#device.tunnel.publicKey);
  }

  /** Own addresses inside the tunnel, `10.0.0.2/24`. */
  get addresses(): readonly string[] {
    const { tailnet } = this.#device;
    return Object.freeze((tailnet?.addresses ?? this.#settings.addresses).map(formatPrefix));
  }

  /** The UDP port outside that is really in use; 0 once closed. */
  get listenPort(): number {
    return this.#driver.local[0]?.port ?? 0;
  }

  /**
   * Listens on a TCP port inside the tunnel. `address` limits it to one own address; `backlog` (128) is how many
   * accepted connections may wait. Rejects with NetError `ERR_ADDRESS_IN_USE`.
   */
  async listen(port: number, options: { address?: string; backlog?: number } = {}): Promise<Listener> {
    this.#mustBeOpen();
    integer(port, 'port', 1, 65535);
    const backlog = integer(options.backlog ?? DEFAULT_BACKLOG, 'backlog', 1, 65535);
    const address = options.address === undefined ? undefined : ownAddress(this.addresses, options.address);
    const tcp = this.#device.stack.tcpListen(port, { backlog, ...(address === undefined ? {} : { address }) });
    const listener = new Listener(tcp, options.address, backlog, () => {
      this.#listeners.delete(tcp);
      tcp.close();
      this.#driver.kick();
    });
    this.#listeners.set(tcp, listener);
    return listener;
  }

  /** The address that `dial` would take for a name. Throws NetError `ERR_NAME_NOT_FOUND`. */
  lookUp(host: string): string {
    return formatAddress(this.#lookUp(host));
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
    this.#mustBeOpen();
    integer(port, 'port', 1, 65535);
    const { signal, localPort } = options;
    const timeoutMs = duration(options.timeoutMs ?? DIAL_TIMEOUT_MS, 'timeoutMs');
    if (signal !== undefined) mustBeFunction(signal.addEventListener, 'signal.addEventListener');
    if (signal !== undefined) mustBeFunction(signal.removeEventListener, 'signal.removeEventListener');
    const remote = this.#lookUp(host);
    if (signal?.aborted === true) throw new NetError('ERR_ABORTED', `the dial to ${host} was aborted before it began`);
    const tcp = this.#device.stack.tcpConnect(
      this.#driver.nowMs(),
      remote,
      port,
      localPort === undefined ? {} : { localPort },
    );
    return connected({
      what: `${host} port ${port}`,
      timeoutMs,
      signal,
      delay: this.#delays.after,
      create: settled => {
        const connection = new Connection(this.#context, tcp, settled);
        this.#adopt(tcp, connection);
        this.#driver.kick();
        return connection;
      },
    });
  }

  /** Opens a UDP socket inside the tunnel; without a port a random free one. Rejects with NetError `ERR_ADDRESS_IN_USE`. */
  async udp(port = 0): Promise<UdpSocket> {
    this.#mustBeOpen();
    const machine = this.#device.stack.udpBind(integer(port, 'port', 0, 65535));
    const socket = new UdpSocket(this.#driver, machine, () => {
      this.#udpSockets.delete(machine);
    });
    this.#udpSockets.set(machine, socket);
    return socket;
  }

  /**
   * Serves HTTP/1.1 inside the tunnel on `port` (80): the handler takes a Request and returns a Response. Rejects with
   * NetError `ERR_ADDRESS_IN_USE`, and with TypeError where the runtime has no Fetch API.
   */
  async serve(handler: HttpHandler, options: HttpServerOptions & { port?: number } = {}): Promise<MoteServer> {
    const { port = 80, ...rest } = options;
    const { timers } = this;
    const sizes = this.#settings.preset === 'small' ? HTTP_SERVER_SMALL : {};
    const server = new HttpServer(handler, { timers, unixMs: () => this.#host.clock.unixMs(), ...sizes, ...rest });
    const listener = await this.listen(port);
    void server.listen(listener);
    return { port, close: graceMs => server.close(graceMs) };
  }

  /**
   * The Fetch API's `fetch` inside the tunnel, for `http:` URLs with an address or a name of the `hosts` option.
   * Rejects as `fetch` does, and with NetError as {@link dial} does.
   */
  async fetch(input: RuntimeRequestInput, init?: RuntimeRequestInit): Promise<RuntimeResponse> {
    this.#mustBeOpen();
    this.#http ??= new HttpClient({
      connect: ({ host, port }, signal) => this.dial(host, port, signal === undefined ? {} : { signal }),
      timers: this.timers,
      ...(this.#settings.preset === 'small' ? HTTP_CLIENT_SMALL : {}),
      secureAdvice: this.#host.secureFetchAdvice ?? 'speak TLS over a connection of dial()',
    });
    return this.#http.fetch(input, init);
  }

  /** Timers of the host for protocols on top; they end with the mote. */
  get timers(): Timers {
    return { after: this.#delays.after };
  }

  /** Sends an ICMP echo request inside the tunnel; resolves with the round-trip time in milliseconds. */
  async ping(host: string, options: { timeoutMs?: number; payloadBytes?: number } = {}): Promise<number> {
    this.#mustBeOpen();
    const remote = this.#lookUp(host);
    const timeoutMs = duration(options.timeoutMs ?? PING_TIMEOUT_MS, 'timeoutMs');
    const payloadBytes = integer(options.payloadBytes ?? 56, 'payloadBytes', 0, 65_000);
    return this.#pings.start(host, timeoutMs, (id, sequence) => {
      this.#device.stack.ping(this.#driver.nowMs(), remote, id, sequence, payloadBytes);
      this.#driver.kick();
    });
  }

  /** Adds a peer while running. Throws RangeError for a duplicate or a mistake, also in a tailnet. */
  addPeer(peer: PeerOptions): void {
    this.#mustBeConfigured();
    this.#peers.add(checkPeerOptions(peer));
  }

  /** Changes some settings of a peer while running. Throws RangeError when there is none with this key. */
  updatePeer(publicKey: string, changes: Partial<Omit<PeerOptions, 'publicKey'>>): void {
    this.#mustBeConfigured();
    this.#peers.update(publicKey, changes);
  }

  /** Removes a peer and erases its keys. Throws RangeError when there is none with this key. */
  removePeer(publicKey: string): void {
    this.#mustBeConfigured();
    this.#peers.remove(publicKey);
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
    return this.#member('pingPath').pingPath(this.#lookUp(host), timeoutMs);
  }

  /**
   * Who has an address inside: in a tailnet the device, its owner, tags and capabilities; else the peer whose allowed
   * IPs have it. Undefined for nobody. Throws RangeError for what is no address.
   */
  whois(address: string): Whois | undefined {
    const bytes = parseAddress(address);
    if (bytes === undefined) throw new RangeError(`"address" expected an IP address, got '${address}'`);
    if (this.#membership !== undefined) return this.#membership.whois(bytes);
    const id = this.#device.tunnel.peerOf(bytes);
    return id === undefined ? undefined : configuredWhois(this.#device.tunnel.peerStatus(id));
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
    return this.#watchers.add(watcher);
  }

  /** A plain snapshot: addresses, peers, counters, drops by reason. */
  status(): MoteStatus {
    return {
      publicKey: this.publicKey,
      addresses: this.addresses,
      listenPort: this.listenPort,
      local: this.#driver.local.map(formatEndpoint),
      mtu: this.#settings.mtu,
      suite: this.#suite.name,
      connections: this.#connections.size,
      listeners: this.#listeners.size,
      udpSockets: this.#udpSockets.size,
      drops: this.#device.drops(),
      peers: peerStatuses(this.#device),
      ...(this.#membership === undefined ? {} : { tailnet: this.#membership.status(this.#host.clock.unixMs()) }),
    };
  }

  /** Resets what is open, closes the socket, erases the session keys. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#http?.close();
    for (const listener of [...this.#listeners.values()]) listener.close();
    for (const socket of [...this.#udpSockets.values()]) socket.close();
    for (const connection of [...this.#connections.values()]) connection.abort();
    this.#isClosed = true;
    this.#peers.close();
    this.#membership?.close(closedError('the mote'));
    this.#pings.close(closedError('the mote'));
    this.#driver.close();
    this.#delays.close();
    this.#membership?.sleep();
    this.#device.close(this.#driver.nowMs());
    if (this.#isKeyOwn) this.#privateKey.wipe();
  }

  #lookUp(host: string): Uint8Array {
    const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
    const name = bare.toLowerCase();
    const address = parseAddress(bare) ?? this.#settings.hosts.get(name) ?? this.#membership?.resolve(name);
    if (address !== undefined) return address;
    const where = this.#membership === undefined ? 'name of the "hosts" option' : 'name in this tailnet';
    throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' is neither an address nor a ${where}`);
  }

  /** A tailnet's mote is up when it is a member; the signal gives it up. */
  async #joined(signal: AbortSignalLike | undefined): Promise<void> {
    const membership = this.#membership;
    if (membership === undefined) return;
    const onAbort = () => membership.close(new NetError('ERR_ABORTED', 'joining was aborted'));
    if (signal?.aborted === true) throw new NetError('ERR_ABORTED', 'joining was aborted before it began');
    signal?.addEventListener('abort', onAbort);
    try {
      await membership.joined();
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #member(what: string): Membership {
    this.#mustBeOpen();
    if (this.#membership === undefined) throw new RangeError(`"${what}" expected a mote of a tailnet`);
    return this.#membership;
  }

  #mustBeConfigured(): void {
    this.#mustBeOpen();
    if (this.#membership !== undefined)
      throw new RangeError(
        '"peer" expected a mote with peers of its own: in a tailnet the coordinator says who they are',
      );
  }

  #mustBeOpen(): void {
    if (this.#isClosed) throw closedError('the mote');
  }

  #adopt(tcp: TcpConnection, connection: Connection): void {
    this.#connections.set(tcp, connection);
    void connection.closed.then(() => this.#connections.delete(tcp));
  }

  #report(error: NetError): void {
    this.#watchers.emit({ type: 'error', code: error.code, message: error.message });
  }

  #handleEvent(event: DeviceEvent): void {
    switch (event.type) {
      case 'tcp':
        return this.#handleTcp(event.connection);
      case 'udp':
        return this.#udpSockets.get(event.socket)?.handleReadable();
      case 'udp-error': {
        const to = formatEndpoint(event.remote);
        return this.#udpSockets
          .get(event.socket)
          ?.handleError(new NetError(event.code, `${to} does not take datagrams`));
      }
      case 'tailnet':
        return this.#membership?.handleEvent(event.event);
      case 'echo-reply':
      case 'echo-error':
        return this.#pings.handleEcho(event);
      default:
        return this.#handlePeerEvent(event);
    }
  }

  #handleTcp(tcp: TcpConnection): void {
    const ready = tcp.takeReady();
    let connection = this.#connections.get(tcp);
    if (connection === undefined && (ready & READY_ACCEPTED) !== 0 && tcp.listener !== undefined) {
      const listener = this.#listeners.get(tcp.listener);
      connection = new Connection(this.#context, tcp);
      this.#adopt(tcp, connection);
      if (listener === undefined) connection.abort();
      else listener.handleConnection(connection);
    }
    connection?.handleReady(ready);
  }

  #handlePeerEvent(event: Exclude<DeviceEvent, { type: StackEvent['type'] | 'tailnet' }>): void {
    const publicKey = toBase64(this.#device.tunnel.peerStatus(event.peer).publicKey);
    switch (event.type) {
      case 'handshake':
        return this.#watchers.emit({ type: 'handshake', publicKey, isInitiator: event.isInitiator });
      case 'gave-up':
        this.#peers.refresh(event.peer);
        return this.#watchers.emit({ type: 'gave-up', publicKey });
      case 'endpoint':
        return this.#watchers.emit({ type: 'endpoint', publicKey, endpoint: formatEndpoint(event.endpoint) });
      case 'session-expired':
        return this.#watchers.emit({ type: 'session-expired', publicKey });
    }
  }
}
